//! `preview`: a dry run.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tokio::sync::mpsc;

use super::exit::{Exit, Stopped};
use super::output::OutputArgs;
use super::progress::Bars;
use super::stream::{self, Stream};
use super::{instance, now};
use crate::bucket::ObjectRef;
use crate::config::Config;
use crate::service::{ReadOnly, Source};
use crate::state::State;
use crate::sweep::Swept;
use crate::sweep::report::{Requests, SourceReport};

/// Objects between the listing and the output.
const QUEUE: usize = 1000;

/// List what would be collected; read no object, change no state
///
/// Shows for each source the completed pattern, its leaves and prefixes, the keys that the next
/// sweep would collect and those that it would skip, with the number of requests and their cost.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep preview -c s3sweep.toml
  s3sweep preview -c s3sweep.toml --source prod-cloudtrail --output json")]
pub struct PreviewArgs {
    /// Preview as if it were this instant
    #[arg(long, value_name = "T", value_parser = now::instant)]
    pub now: Option<DateTime<Utc>>,

    #[allow(missing_docs, reason = "described where it is defined")]
    #[command(flatten)]
    pub output: OutputArgs,
}

/// One object, as the JSON shows it.
#[derive(Serialize)]
struct ObjectLine<'a> {
    key: &'a str,
    size: u64,
    etag: &'a str,
    last_modified: String,
}

/// What follows the objects of a source.
#[derive(Serialize)]
struct Totals<'a> {
    name: &'a str,
    pattern: String,
    leaves: u64,
    prefixes: &'a [String],
    skipped: &'a std::collections::BTreeMap<Cow<'static, str>, u64>,
    bytes: u64,
    requests: Requests,
    cost_usd: f64,
    unreachable: &'a [String],
}

pub(super) async fn preview(args: &PreviewArgs, config: Config, bars: &Bars) -> anyhow::Result<Exit> {
    stream::ended(show(args, config, bars).await)
}

async fn show(args: &PreviewArgs, config: Config, bars: &Bars) -> anyhow::Result<Exit> {
    let signals = instance::Signals::watch();
    let stored = instance::stored_state(&config).await?;
    let looking = ReadOnly::new(&config, stored, now::clock(args.now), signals.stop());
    let mut out = Stream::open(args.output.output);
    out.begin(&serde_json::Map::new())?;
    let mut exit = Exit::Success;
    for source in &instance::sources(&config)? {
        let report = bars.beside(&[source], show_source(&looking, source, &mut out)).await?;
        if !report.unreachable.is_empty() {
            exit = Exit::Unreachable;
        }
    }
    out.end()?;
    Ok(if signals.stop().is_cancelled() { Exit::Interrupted } else { exit })
}

/// Runs the real sweep over an overlay of the state, showing objects instead of collecting.
async fn show_source(
    looking: &ReadOnly<'_>,
    source: &Source,
    out: &mut Stream,
) -> anyhow::Result<SourceReport> {
    let (show, shown) = mpsc::channel(QUEUE);
    out.source(&format!("{}: {}", source.config.name, source.config.pattern))?;
    let mut bytes = 0;
    let write = stream::each(shown, |object: ObjectRef| {
        bytes += object.size;
        write_object(out, &object)
    });
    let (swept, written) = tokio::join!(looking.preview(source, show), write);
    written?;
    let Swept { report, ended } =
        swept.unwrap_or_else(|error| Swept::unreachable(&source.config.name, &error));
    ended?;
    end_source(out, source, &report, bytes)?;
    Ok(report)
}

fn write_object(out: &mut Stream, object: &ObjectRef) -> Result<(), stream::WriteError> {
    let line = ObjectLine {
        key: &object.key,
        size: object.size,
        etag: &object.etag,
        last_modified: object.last_modified.to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    out.item(&line, || format!("{:>12}  {}  {}", line.size, line.last_modified, line.key))
}

fn end_source(
    out: &mut Stream,
    source: &Source,
    report: &SourceReport,
    bytes: u64,
) -> Result<(), stream::WriteError> {
    let totals = Totals {
        name: &report.name,
        pattern: source.config.pattern.to_string(),
        leaves: report.leaves,
        prefixes: &report.prefix_names,
        skipped: &report.objects.skipped,
        bytes,
        requests: report.requests,
        cost_usd: report.cost_usd,
        unreachable: &report.unreachable,
    };
    let skipped: u64 = report.objects.skipped.values().sum();
    let found = report.objects.listed - skipped;
    let sums = format!(
        "  {found} objects, {bytes} bytes to collect; {skipped} skipped; {} leaves, {} prefixes, {} LIST requests",
        report.leaves, report.prefixes, report.requests.list
    );
    let unreachable = report.unreachable.iter().map(|text| format!("  unreachable: {text}"));
    out.end_source(&totals, std::iter::once(sums).chain(unreachable))
}

/// How many objects the next sweep of a source would collect in this state, which stays as it is.
pub(super) async fn count(config: &Config, source: &Source, state: Arc<dyn State>) -> anyhow::Result<u64> {
    let signals = instance::Signals::watch();
    let looking = ReadOnly::new(config, state, now::clock(None), signals.stop());
    let (show, mut shown) = mpsc::channel(QUEUE);
    let counting = async {
        let mut count = 0;
        while shown.recv().await.is_some() {
            count += 1;
        }
        count
    };
    let (swept, count) = tokio::join!(looking.preview(source, show), counting);
    let Swept { report, ended } = swept?;
    ended?;
    match report.unreachable.first() {
        None if signals.stop().is_cancelled() => {
            Err(Stopped { exit: Exit::Interrupted, message: "stopped while counting".to_owned() }.into())
        }
        None => Ok(count),
        Some(text) => Err(Stopped { exit: Exit::Unreachable, message: text.clone() }.into()),
    }
}
