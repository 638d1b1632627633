//! `quarantine`: the objects that failed for good.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::exit::Exit;
use super::instance;
use super::output::{Output, OutputArgs, note, print_lines};
use crate::config::Config;
use crate::service::socket::protocol::{Request, Response};
use crate::state::{Quarantined, State, StateError};
use crate::sweep::mend::{Action, Mended};

/// Quarantined objects read at once.
const PAGE: usize = 500;
/// Bytes of keys in one request, which holds 64 KiB: JSON writes up to six for one, and the reason
/// of a drop stands beside them.
const KEY_BYTES: usize = 4096;

/// List, retry or drop the objects that failed for good
///
/// A quarantined object is named with its reason, its attempts, and how many of its records were
/// delivered before the damage.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep quarantine list -c s3sweep.toml --output json
  s3sweep quarantine retry -c s3sweep.toml --all --source prod-cloudtrail
  s3sweep quarantine drop -c s3sweep.toml --reason 'truncated at its origin' KEY")]
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
    /// Collect quarantined objects once more in the next sweep
    ///
    /// Records that were delivered do not come again: the object goes on after them, also where
    /// another one with the same beginning was put in its place.
    Retry(QuarantineKeys),
    /// Give up what is missing of quarantined objects
    ///
    /// They are settled as dropped, with the reason; `audit --all` shows it.
    Drop(DropArgs),
}

/// Which quarantined objects.
#[derive(Clone, Debug, clap::Args)]
pub struct QuarantineKeys {
    /// The keys as `quarantine list` shows them
    #[arg(value_name = "KEY", required_unless_present = "all")]
    pub keys: Vec<String>,

    /// All quarantined objects, of the sources of --source where that is given
    #[arg(long, conflicts_with = "keys")]
    pub all: bool,

    /// In which form the result is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What to give up, and why.
#[derive(Clone, Debug, clap::Args)]
pub struct DropArgs {
    /// Why: it is kept with each object
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,

    /// Which.
    #[command(flatten)]
    pub which: QuarantineKeys,
}

pub(super) async fn quarantine(
    args: &QuarantineArgs,
    load: impl FnOnce() -> anyhow::Result<Config>,
) -> anyhow::Result<Exit> {
    match &args.command {
        QuarantineCommand::List(output) => list(output, load()?).await,
        QuarantineCommand::Retry(keys) => mend(keys, &Action::Retry, load()?).await,
        QuarantineCommand::Drop(args) => {
            mend(&args.which, &Action::Drop { reason: args.reason.clone() }, load()?).await
        }
    }
}

/// Retries or drops; exit code 1 when not all that was named was found and done.
async fn mend(args: &QuarantineKeys, action: &Action, config: Config) -> anyhow::Result<Exit> {
    let keys: BTreeSet<String> = args.keys.iter().cloned().collect();
    let mut requests = Vec::new();
    for source in config.sources.iter().map(|source| &source.name) {
        let request = |keys| Request::Quarantine { source: source.clone(), keys, action: action.clone() };
        match args.all {
            true => requests.push(request(None)),
            false => requests.extend(together(&keys).into_iter().map(|keys| request(Some(keys)))),
        }
    }
    let mut objects = Vec::new();
    for answer in instance::ask_each(&config, requests).await? {
        let Response::Mended { objects: mended } = answer else { return Err(instance::odd_answer()) };
        objects.extend(mended);
    }
    let found: BTreeSet<&str> = objects.iter().map(|object| object.key.as_str()).collect();
    let unknown: Vec<_> = keys.iter().filter(|key| !found.contains(key.as_str())).collect();
    let done = match action {
        Action::Retry => "retried",
        Action::Drop { .. } => "dropped",
    };
    match args.output.output {
        Output::Json => {
            print_lines([serde_json::json!({ done: objects, "unknown": unknown }).to_string()])?;
        }
        Output::Table => {
            let line = |object: &Mended| match &object.refused {
                None => format!(
                    "{done}  {}  {} ({} records delivered)",
                    object.source, object.key, object.records
                ),
                Some(why) => format!("refused  {}  {}: {why}", object.source, object.key),
            };
            print_lines(objects.iter().map(line))?;
        }
    }
    for key in &unknown {
        note(&format!("not in the quarantine: {key}"));
    }
    let all_done = unknown.is_empty() && objects.iter().all(|object| object.refused.is_none());
    Ok(if all_done { Exit::Success } else { Exit::Failed })
}

/// Keys in parts that fit into a request each.
fn together(keys: &BTreeSet<String>) -> Vec<BTreeSet<String>> {
    let (mut parts, mut bytes) = (vec![BTreeSet::new()], 0);
    for key in keys {
        if bytes + key.len() > KEY_BYTES {
            parts.push(BTreeSet::new());
            bytes = 0;
        }
        bytes += key.len();
        if let Some(part) = parts.last_mut() {
            part.insert(key.clone());
        }
    }
    parts
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
                "{}  {}\n  {} ({} records delivered, byte {}, {} attempts)",
                line.source, line.key, line.reason, line.records, line.offset, line.attempts
            )
        }))?,
    }
    Ok(Exit::Success)
}

fn line(object: Quarantined) -> Line {
    let Quarantined { source, bucket, key, etag, class, reason, offset, records, attempts, at, .. } = object;
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
