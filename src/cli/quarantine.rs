//! `quarantine`: the objects that failed for good.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::exit::Exit;
use super::instance;
use super::output::{Output, OutputArgs, print_lines};
use crate::config::Config;
use crate::state::{Quarantined, State, StateError};

/// Quarantined objects read at once.
const PAGE: usize = 500;

/// List, retry or drop the objects that failed for good
///
/// A quarantined object is named with its reason, its attempts, and how many of its records were
/// delivered before the damage.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep quarantine list -c s3sweep.toml --output json")]
pub struct QuarantineArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

/// What to do with the quarantine.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum QuarantineCommand {
    /// List the quarantined objects
    List(OutputArgs),
    /// Collect quarantined objects once more in the next sweep (not there yet)
    Retry(QuarantineKeys),
    /// Give quarantined objects up (not there yet)
    Drop(QuarantineKeys),
}

/// Which quarantined objects.
#[derive(Clone, Debug, clap::Args)]
pub struct QuarantineKeys {
    /// The keys as `quarantine list` shows them
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<String>,
}

pub(super) async fn quarantine(
    args: &QuarantineArgs,
    load: impl FnOnce() -> anyhow::Result<Config>,
) -> anyhow::Result<Exit> {
    match &args.command {
        QuarantineCommand::List(output) => list(output, load()?).await,
        QuarantineCommand::Retry(_) => Err(super::not_yet("quarantine retry")),
        QuarantineCommand::Drop(_) => Err(super::not_yet("quarantine drop")),
    }
}

/// One line of the list.
#[derive(Serialize)]
struct Line {
    source: String,
    bucket: String,
    key: String,
    etag: String,
    class: String,
    reason: String,
    offset: u64,
    records: u64,
    attempts: u32,
    at: DateTime<Utc>,
}

async fn list(output: &OutputArgs, config: Config) -> anyhow::Result<Exit> {
    let state = instance::stored_state(&config).await?;
    let mut lines = Vec::new();
    each(&*state, |object| {
        if config.sources.iter().any(|source| source.name == object.source) {
            lines.push(line(object));
        }
    })?;
    match output.output {
        Output::Json => print_lines([serde_json::json!({ "quarantine": lines }).to_string()])?,
        Output::Table => print_lines(lines.iter().map(|line| {
            format!(
                "{}  {}\n  {} ({} records delivered, byte {})",
                line.source, line.key, line.reason, line.records, line.offset
            )
        }))?,
    }
    Ok(Exit::Success)
}

fn line(object: Quarantined) -> Line {
    let Quarantined { source, bucket, key, etag, class, reason, offset, records, attempts, at } = object;
    Line { source, bucket, key, etag, class, reason, offset, records, attempts, at }
}

/// Visits the whole quarantine, in pages.
pub(super) fn each(state: &dyn State, mut visit: impl FnMut(Quarantined)) -> Result<(), StateError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = state.quarantine(after.as_deref(), PAGE)?;
        let full = page.len() == PAGE;
        after = page.last().map(|(key, _)| key.clone());
        page.into_iter().for_each(|(_, object)| visit(object));
        if !full {
            return Ok(());
        }
    }
}
