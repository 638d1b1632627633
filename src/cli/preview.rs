//! `preview`: a dry run.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tokio::sync::mpsc;

use super::exit::{Exit, Stopped};
use super::output::{Output, OutputArgs};
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
    match show(args, config).await {
        // Whoever read stdout has what it wanted.
        Err(error) if is_broken_pipe(&error) => Ok(Exit::Success),
        shown => shown,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn show(args: &PreviewArgs, config: Config) -> anyhow::Result<Exit> {
    let clock = now::clock(args.now);
    let signals = instance::Signals::watch();
    let stored = instance::stored_state(&config).await?;
    let limits = Arc::new(SweepLimits::new(&config.limits));
    let mut page =
        Page { out: io::BufWriter::new(io::stdout()), form: args.output.output, sources: 0, first: true };
    page.begin()?;
    let mut exit = Exit::Success;
    for source in &instance::sources(&config)? {
        let context = Dry { config: &config, stored: &stored, clock: &clock, limits: &limits };
        let report = context.preview(source, signals.stop(), &mut page).await?;
        if !report.unreachable.is_empty() {
            exit = Exit::Unreachable;
        }
    }
    page.end()?;
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
        page: &mut Page,
    ) -> anyhow::Result<SourceReport> {
        let (show, shown) = mpsc::channel(QUEUE);
        page.begin_source(source)?;
        let (bucket, counts) = match source.metered(&self.config.limits).await {
            Ok(opened) => opened,
            Err(error) => {
                let Swept { report, .. } = Swept::unreachable(&source.config.name, &error);
                page.end_source(source, &report, 0)?;
                return Ok(report);
            }
        };
        let sweep = sweep::preview(self.context(source, bucket, counts, stop, show));
        let write = async {
            // Dropped when writing fails, so that the sweep ends too.
            let (mut shown, mut bytes) = (shown, 0);
            while let Some(object) = shown.recv().await {
                bytes += object.size;
                page.object(&object)?;
            }
            anyhow::Ok(bytes)
        };
        let (Swept { report, ended }, bytes) = tokio::join!(sweep, write);
        let bytes = bytes?;
        ended?;
        page.end_source(source, &report, bytes)?;
        Ok(report)
    }
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

/// stdout: objects are written as they come, so that a bucket of any size fits.
struct Page {
    out: io::BufWriter<io::Stdout>,
    form: Output,
    sources: usize,
    first: bool,
}

impl Page {
    fn begin(&mut self) -> anyhow::Result<()> {
        self.json("{\"sources\":[")
    }

    fn begin_source(&mut self, source: &Source) -> anyhow::Result<()> {
        self.sources += 1;
        self.first = true;
        if self.form == Output::Table {
            writeln!(self.out, "{}: {}", source.config.name, source.config.pattern).context(WRITE)?;
        }
        let comma = if self.sources > 1 { "," } else { "" };
        self.json(&format!("{comma}{{\"objects\":["))
    }

    fn object(&mut self, object: &ObjectRef) -> anyhow::Result<()> {
        let line = ObjectLine {
            key: &object.key,
            size: object.size,
            etag: &object.etag,
            last_modified: object.last_modified.to_rfc3339_opts(SecondsFormat::Secs, true),
        };
        if self.form == Output::Table {
            return writeln!(self.out, "{:>12}  {}  {}", line.size, line.last_modified, line.key)
                .context(WRITE);
        }
        let comma = if std::mem::take(&mut self.first) { "" } else { "," };
        self.json(&format!("{comma}{}", serde_json::to_string(&line)?))
    }

    fn end_source(&mut self, source: &Source, report: &SourceReport, bytes: u64) -> anyhow::Result<()> {
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
        if self.form == Output::Json {
            let rest = serde_json::to_string(&totals)?;
            return self.json(&format!("],{}", rest.trim_start_matches('{')));
        }
        let skipped: u64 = report.objects.skipped.values().sum();
        let found = report.objects.listed - skipped;
        writeln!(
            self.out,
            "  {found} objects, {bytes} bytes to collect; {skipped} skipped; {} leaves, {} prefixes, {} LIST requests",
            report.leaves, report.prefixes, report.requests.list
        )
        .context(WRITE)?;
        for text in &report.unreachable {
            writeln!(self.out, "  unreachable: {text}").context(WRITE)?;
        }
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.json("]}\n")?;
        self.out.flush().context(WRITE)
    }

    fn json(&mut self, text: &str) -> anyhow::Result<()> {
        if self.form == Output::Json {
            self.out.write_all(text.as_bytes()).context(WRITE)?;
        }
        Ok(())
    }
}

const WRITE: &str = "failed to write to stdout";
