//! `preview`: a dry run.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tokio::sync::mpsc;

use super::exit::{Exit, Stopped};
use super::output::OutputArgs;
use super::stream::{self, Stream};
use super::{instance, now};
use crate::bucket::metered::RequestCounts;
use crate::bucket::{Bucket, ObjectRef};
use crate::clock::Clock;
use crate::config::Config;
use crate::service::Source;
use crate::state::State;
use crate::state::overlay::OverlayState;
use crate::sweep::report::{Requests, SourceReport};
use crate::sweep::{self, Mode, SweepContext, SweepLimits, Swept};

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

pub(super) async fn preview(args: &PreviewArgs, config: Config) -> anyhow::Result<Exit> {
    stream::ended(show(args, config).await)
}

async fn show(args: &PreviewArgs, config: Config) -> anyhow::Result<Exit> {
    let clock = now::clock(args.now);
    let signals = instance::Signals::watch();
    let stored = instance::stored_state(&config).await?;
    let limits = Arc::new(SweepLimits::new(&config.limits));
    let mut out = Stream::open(args.output.output);
    out.begin(&serde_json::Map::new())?;
    let mut exit = Exit::Success;
    for source in &instance::sources(&config)? {
        let context = Dry { config: &config, stored: &stored, clock: &clock, limits: &limits };
        let report = context.preview(source, signals.stop(), &mut out).await?;
        if !report.unreachable.is_empty() {
            exit = Exit::Unreachable;
        }
    }
    out.end()?;
    Ok(if signals.stop().is_cancelled() { Exit::Interrupted } else { exit })
}

/// What a dry sweep works on.
struct Dry<'a> {
    config: &'a Config,
    stored: &'a Arc<dyn State>,
    clock: &'a Arc<dyn Clock>,
    limits: &'a Arc<SweepLimits>,
}

impl Dry<'_> {
    fn context(
        &self,
        source: &Source,
        bucket: Arc<dyn Bucket>,
        counts: Arc<RequestCounts>,
        stop: tokio_util::sync::CancellationToken,
        show: mpsc::Sender<ObjectRef>,
    ) -> SweepContext {
        SweepContext {
            config: source.config.clone(),
            bucket,
            counts,
            state: Arc::new(OverlayState::new(self.stored.clone())),
            clock: self.clock.clone(),
            limits: self.limits.clone(),
            close_spread: self.config.close_spread,
            state_dir: self.config.state_dir.clone(),
            stop,
            mode: Mode::Preview(show),
        }
    }

    /// Runs the real sweep over an overlay of the state, showing objects instead of collecting.
    async fn preview(
        &self,
        source: &Source,
        stop: tokio_util::sync::CancellationToken,
        out: &mut Stream,
    ) -> anyhow::Result<SourceReport> {
        let (show, shown) = mpsc::channel(QUEUE);
        out.source(&format!("{}: {}", source.config.name, source.config.pattern))?;
        let (bucket, counts) = match source.metered(&self.config.limits).await {
            Ok(opened) => opened,
            Err(error) => {
                let Swept { report, .. } = Swept::unreachable(&source.config.name, &error);
                end_source(out, source, &report, 0)?;
                return Ok(report);
            }
        };
        let sweep = sweep::preview(self.context(source, bucket, counts, stop, show));
        let mut bytes = 0;
        let write = stream::each(shown, |object| {
            bytes += object.size;
            write_object(out, &object)
        });
        let (Swept { report, ended }, written) = tokio::join!(sweep, write);
        written?;
        ended?;
        end_source(out, source, &report, bytes)?;
        Ok(report)
    }
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
    let dry = Dry {
        config,
        stored: &state,
        clock: &now::clock(None),
        limits: &Arc::new(SweepLimits::new(&config.limits)),
    };
    let (show, mut shown) = mpsc::channel(QUEUE);
    let (bucket, counts) = source.metered(&config.limits).await?;
    let sweep = sweep::preview(dry.context(source, bucket, counts, signals.stop(), show));
    let counting = async {
        let mut count = 0;
        while shown.recv().await.is_some() {
            count += 1;
        }
        count
    };
    let (Swept { report, ended }, count) = tokio::join!(sweep, counting);
    ended?;
    match report.unreachable.first() {
        None if signals.stop().is_cancelled() => {
            Err(Stopped { exit: Exit::Interrupted, message: "stopped while counting".to_owned() }.into())
        }
        None => Ok(count),
        Some(text) => Err(Stopped { exit: Exit::Unreachable, message: text.clone() }.into()),
    }
}
