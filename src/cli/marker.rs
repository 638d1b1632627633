//! `marker`: where each leaf stands, and moving it.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::exit::{Exit, Stopped, UsageError};
use super::output::{Output, OutputArgs, note, print_lines};
use super::{instance, now, preview, status};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, SourceConfig};
use crate::marker::export::Export;
use crate::marker::{self, MarkerChange, MarkerError, import};
use crate::service::socket::RemoteState;
use crate::service::socket::protocol::Request;
use crate::service::{Source, configured};
use crate::state::State;
use crate::state::overlay::OverlayState;

/// List, reset, set, export or import markers
///
/// A marker tells how far a leaf (one account and region, say) is settled: every prefix (one day,
/// say) before `closed through` is collected and was compared with the bucket after its time; of
/// an open one, listing starts after its floor. `reset` and `set` list the bucket and say how many
/// objects would be collected again or left out; only with --yes do they change anything.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep marker list -c s3sweep.toml
  s3sweep marker reset -c s3sweep.toml --source prod-cloudtrail --from 2026-06-01 --to 2026-06-02
  s3sweep marker set -c s3sweep.toml --source prod-cloudtrail --closed-through 2026-06-01 --yes
  s3sweep marker export -c s3sweep.toml > markers.jsonl
  s3sweep marker import -c s3sweep.toml markers.jsonl --adopt-state")]
pub struct MarkerArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: MarkerCommand,
}

/// What to do with markers.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum MarkerCommand {
    /// List the markers of all leaves
    List(OutputArgs),
    /// Forget what is settled, so that it is collected again
    ///
    /// Takes the prefixes that begin at --from or later and before --to; records of them are
    /// delivered a second time. Days before the source's `start` can be reset too: they are
    /// collected beside the new ones. Without both times a leaf begins anew.
    Reset(ResetArgs),
    /// Make all before a time closed and all after it open
    ///
    /// A later time than now stands leaves objects out that were not collected: that needs
    /// --force, and they are not found by rechecks either. An earlier one collects again.
    Set(SetArgs),
    /// Write all that is known of the sources to stdout, as JSON lines
    ///
    /// Another state directory goes on with it exactly here: settled, failed and begun objects,
    /// quarantine, rechecks and history are in it. Without a daemon the sink's open segment is
    /// finished first; with one, sweeps wait until all is written.
    Export,
    /// Read what `export` wrote, into a state that does not know its sources yet
    Import(ImportArgs),
}

/// Which leaves, and whether to do it.
#[derive(Clone, Debug, clap::Args)]
pub struct ChangeArgs {
    /// Only the leaf of this name, as `marker list` shows it (repeatable)
    #[arg(long, value_name = "LEAF")]
    pub leaf: Vec<String>,
    /// Do it; otherwise only what would follow is told
    #[arg(long)]
    pub yes: bool,
}

/// `marker reset`.
#[derive(Clone, Debug, clap::Args)]
pub struct ResetArgs {
    /// Begin with the prefix of this instant
    #[arg(long, value_name = "T", value_parser = now::instant)]
    pub from: Option<DateTime<Utc>>,
    /// End before the prefix that begins at this instant
    #[arg(long, value_name = "T", value_parser = now::instant)]
    pub to: Option<DateTime<Utc>>,
    #[allow(missing_docs, reason = "described where it is defined")]
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `marker set`.
#[derive(Clone, Debug, clap::Args)]
pub struct SetArgs {
    /// The prefix of this instant is the first open one
    #[arg(long, value_name = "T", value_parser = now::instant)]
    pub closed_through: DateTime<Utc>,
    /// Also where objects are left out
    #[arg(long)]
    pub force: bool,
    #[allow(missing_docs, reason = "described where it is defined")]
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `marker import`.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Take over what another host or instance exported; it must not sweep any more
    #[arg(long)]
    pub adopt_state: bool,
}

pub(super) async fn marker(args: &MarkerArgs, config: Config, named: &[String]) -> anyhow::Result<Exit> {
    match &args.command {
        MarkerCommand::List(output) => list(output, &config).await,
        MarkerCommand::Reset(args) => {
            if args.from.zip(args.to).is_some_and(|(from, to)| from >= to) {
                return Err(UsageError("--from is not before --to; swap them".to_owned()).into());
            }
            let change = MarkerChange::Reset { from: args.from, to: args.to };
            Wanted { change, args: &args.change, force: false }.carry_out(&config, named).await
        }
        MarkerCommand::Set(args) => {
            let change = MarkerChange::Set { closed_through: args.closed_through };
            Wanted { change, args: &args.change, force: args.force }.carry_out(&config, named).await
        }
        MarkerCommand::Export => export(&config).await,
        MarkerCommand::Import(args) => import(args, &config).await,
    }
}

#[derive(Serialize)]
struct Markers<'a> {
    markers: Vec<SourceMarkers<'a>>,
}

#[derive(Serialize)]
struct SourceMarkers<'a> {
    source: &'a str,
    leaves: &'a [status::LeafStatus],
}

async fn list(output: &OutputArgs, config: &Config) -> anyhow::Result<Exit> {
    let state = instance::stored_state(config).await?;
    let now = SystemClock.now();
    let sources = config.sources.iter().map(|source| status::source_status(&*state, source, now));
    let sources: Vec<_> = sources.collect::<Result<_, _>>()?;
    match output.output {
        Output::Json => {
            let markers =
                sources.iter().map(|source| SourceMarkers { source: &source.name, leaves: &source.leaves });
            let markers = Markers { markers: markers.collect() };
            print_lines([serde_json::to_string(&markers)?])?;
        }
        Output::Table => print_lines(sources.iter().flat_map(|source| {
            std::iter::once(source.name.clone()).chain(source.leaves.iter().flat_map(status::leaf_lines))
        }))?,
    }
    Ok(Exit::Success)
}

/// A change that is asked for.
struct Wanted<'a> {
    change: MarkerChange,
    args: &'a ChangeArgs,
    force: bool,
}

/// What would follow from a change of one source.
struct Outlook {
    leaves: usize,
    again: u64,
    skipped: u64,
    /// Leaves where objects may be left out, though none is there now.
    skips: bool,
}

impl Wanted<'_> {
    async fn carry_out(&self, config: &Config, named: &[String]) -> anyhow::Result<Exit> {
        if named.is_empty() && config.sources.len() > 1 {
            return Err(UsageError("name the sources, each with --source".to_owned()).into());
        }
        for source in &config.sources {
            let outlook = self.outlook(config, source).await?;
            let Outlook { leaves, again, skipped, skips } = outlook;
            print_lines([format!(
                "{}: {leaves} leaves change; {again} objects that are in the bucket now would be collected again, \
                 {skipped} left out",
                source.name
            )])?;
            if skips && !self.force {
                let message = format!(
                    "{}: this leaves out what is not collected yet; --force does it all the same",
                    source.name
                );
                return Err(Stopped { exit: Exit::Usage, message }.into());
            }
            if !self.args.yes {
                print_lines(["nothing was changed; --yes does it"])?;
                continue;
            }
            let request = Request::Marker {
                source: source.name.clone(),
                leaves: self.args.leaf.clone(),
                change: self.change,
            };
            print_lines([instance::ask(config, request).await?])?;
        }
        Ok(Exit::Success)
    }

    /// Sweeps over the state as it is and as it would be, without reading an object. A daemon's
    /// sweeps of the source wait until it is done.
    async fn outlook(&self, config: &Config, source: &SourceConfig) -> anyhow::Result<Outlook> {
        let stored: Arc<dyn State> = match instance::daemon(config)? {
            Some(client) => {
                // a sweep meanwhile would settle what is being counted
                client
                    .ask(Request::Hold { sources: vec![source.name.clone()] })
                    .map_err(instance::stopped)?;
                Arc::new(RemoteState(client))
            }
            None => instance::stored_state(config).await?,
        };
        let at_work = Source::new(source, config).map_err(|error| UsageError(error.to_string()))?;
        let now = SystemClock.now();
        let changed = |skips| -> anyhow::Result<(usize, Arc<dyn State>)> {
            let over = OverlayState::new(stored.clone());
            let source = configured(source);
            let leaves = marker::try_change(&over, &source, &self.args.leaf, self.change, skips, now)
                .map_err(usage)?;
            Ok((leaves, Arc::new(over)))
        };
        let (back, again) = changed(false)?;
        let (ahead, left_out) = changed(true)?;
        let before = preview::count(config, &at_work, stored.clone()).await?;
        let again = if back > 0 { preview::count(config, &at_work, again).await? } else { before };
        let rest = if ahead > 0 { preview::count(config, &at_work, left_out).await? } else { before };
        Ok(Outlook {
            leaves: back + ahead,
            again: again.saturating_sub(before),
            skipped: before.saturating_sub(rest),
            skips: ahead > 0,
        })
    }
}

fn usage(error: MarkerError) -> anyhow::Error {
    match error {
        MarkerError::Usage(text) => UsageError(text).into(),
        MarkerError::State(error) => error.into(),
        MarkerError::Commit(error) => error.into(),
    }
}

async fn export(config: &Config) -> anyhow::Result<Exit> {
    let names: Vec<_> = config.sources.iter().map(|source| source.name.clone()).collect();
    let write = |state: &dyn State| {
        let export =
            Export { state, dir: &config.state_dir, instance: &config.instance, at: SystemClock.now() };
        export.write(&names, &mut BufWriter::new(io::stdout().lock()))
    };
    let lines = match instance::daemon(config)? {
        Some(client) => {
            let enabled = config.sources.iter().filter(|source| source.enabled);
            let sources = enabled.map(|source| source.name.clone()).collect();
            client.ask(Request::Hold { sources }).map_err(instance::stopped)?;
            note("a daemon runs: stop it before another host goes on with this");
            write(&RemoteState(client))
        }
        None => {
            // finishes the sink's open segment, so that what is settled here can be read
            let alone = instance::alone(config, false).await?;
            let written = write(&**alone.state());
            alone.close().await?;
            written
        }
    };
    note(&format!("{} lines exported", lines.context("failed to export")?));
    Ok(Exit::Success)
}

async fn import(args: &ImportArgs, config: &Config) -> anyhow::Result<Exit> {
    if instance::daemon(config)?.is_some() {
        let message = "a daemon runs on this state directory; stop it, then import".to_owned();
        return Err(Stopped { exit: Exit::State, message }.into());
    }
    let alone = instance::alone(config, false).await?;
    let imported = checked_import(args, config, &alone).await;
    alone.close().await?;
    note(&format!("{} lines imported", imported?));
    Ok(Exit::Success)
}

async fn checked_import(
    args: &ImportArgs,
    config: &Config,
    alone: &crate::service::Instance,
) -> anyhow::Result<u64> {
    let found = import::look(&args.file, &**alone.state()).map_err(refused)?;
    if found.instance != config.instance && !args.adopt_state {
        let message = format!(
            "instance {:?} exported this, and this is {:?}; once that one has stopped for good, import with --adopt-state",
            found.instance, config.instance
        );
        return Err(Stopped { exit: Exit::State, message }.into());
    }
    for (name, record) in &found.sources {
        let fits = config.sources.iter().any(|source| {
            source.name == *name
                && source.pattern.to_string() == record.pattern
                && source.bucket.name() == record.bucket
        });
        if !fits {
            return Err(UsageError(format!(
                "source {name:?} is not configured here with the bucket {} and the prefix {}: all of it would be \
                 collected anew",
                record.bucket, record.pattern
            ))
            .into());
        }
    }
    alone.import(&args.file).await.map_err(refused)
}

fn refused(error: import::ImportError) -> anyhow::Error {
    let exit = match &error {
        import::ImportError::Unfit { .. }
        | import::ImportError::NoFile { .. }
        | import::ImportError::Read { .. } => Exit::Usage,
        import::ImportError::State(_) | import::ImportError::Commit(_) => Exit::State,
    };
    Stopped { exit, message: crate::failure::chain(&error) }.into()
}
