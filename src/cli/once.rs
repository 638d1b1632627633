//! `once`: one sweep of each source.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::error;

use super::exit::{Exit, UsageError, exit_of};
use super::output::{Output, OutputArgs, print_lines};
use super::progress::Bars;
use super::{instance, now};
use crate::config::{Config, SinkType};
use crate::service::{Instance, Options};
use crate::sweep::Swept;
use crate::sweep::report::SourceReport;

/// Sweep each source once, then exit (for cron)
///
/// Collects what is new since the last sweep, finishes the open segment of the file sink and
/// exits. Paused sources are left out. The exit code tells whether anything failed in this run; `--report` tells what.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep once -c s3sweep.toml --report /var/lib/s3sweep/last.json
  */5 * * * *  s3sweep once -q -c /etc/s3sweep/s3sweep.toml     (a line of a crontab)")]
pub struct OnceArgs {
    /// Write the summary of this run as JSON to this file
    ///
    /// A file that cannot be opened for writing is exit code 2, before anything is collected. Where
    /// writing fails later, the log says so, and the exit code is 1 unless the run has another of its own.
    #[arg(long, value_name = "PATH")]
    pub report: Option<PathBuf>,

    /// Sweep as if it were this instant, not later than now (tests, replays)
    #[arg(long, value_name = "T", value_parser = now::instant)]
    pub now: Option<DateTime<Utc>>,

    /// Take over a state directory that another host or instance wrote
    #[arg(long)]
    pub adopt_state: bool,

    /// Make a lost or damaged state anew from its sidecar and history
    ///
    /// Needed where a start ends with exit code 4 and says so. What closed prefixes delivered does
    /// not come again; what open ones did may come twice, and the log says first which. What is
    /// damaged is kept in a folder beside the new state. A state that is whole is refused.
    #[arg(long, conflicts_with = "source")]
    pub rebuild_state: bool,

    #[allow(missing_docs, reason = "described where it is defined")]
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The summary of a run.
#[derive(Serialize)]
struct Report<'a> {
    exit_code: u8,
    sources: Vec<&'a SourceReport>,
}

impl<'a> Report<'a> {
    fn of(exit: Exit, reports: &'a [SourceReport]) -> Self {
        Report { exit_code: exit.code(), sources: reports.iter().collect() }
    }
}

pub(super) async fn once(args: &OnceArgs, config: Config, quiet: bool, bars: &Bars) -> anyhow::Result<Exit> {
    let clock = now::past_clock(args.now)?;
    let signals = instance::Signals::watch();
    let sources = instance::sources(&config)?;
    // seen before anything is collected, and kept open: a pipe is opened once
    let report_file = args.report.as_deref().map(open_report).transpose()?;
    // With records on stdout there is no room for a summary.
    let stdout_is_free = config.sink.sink_type != SinkType::Stdout;
    let options = Options {
        clock,
        adopt_state: args.adopt_state,
        rebuild_state: args.rebuild_state,
        give_up: true,
        stop: signals.stop(),
    };
    let instance = Instance::open(config, options).await?;
    let bars = if stdout_is_free { bars.clone() } else { bars.beside_data() };
    let watched: Vec<_> = sources.iter().collect();
    let swept = bars.beside(&watched, instance.once(&sources)).await;
    let (reports, sweeps): (Vec<_>, Vec<_>) =
        swept.into_iter().map(|Swept { report, ended }| (report, ended)).unzip();
    let closed = instance.close().await.map_err(anyhow::Error::from);
    // Why the committer stopped says more than that a sweep could not reach it.
    let ended =
        closed.and_then(|()| sweeps.into_iter().collect::<Result<(), _>>().map_err(anyhow::Error::from));
    let mut exit = match &ended {
        Err(error) => exit_of(error),
        Ok(()) if signals.stop().is_cancelled() => Exit::Interrupted,
        Ok(()) => exit_for(&reports),
    };
    if let Some((path, file)) = args.report.as_ref().zip(report_file)
        && let Err(error) = write_report(file, &Report::of(exit, &reports))
    {
        error!(path = %path.display(), %error, "failed to write the report");
        // what ended the run says more
        exit = if exit == Exit::Success { Exit::Failed } else { exit };
    }
    ended?;
    match args.output.output {
        Output::Json if stdout_is_free => print_lines([serde_json::to_string(&Report::of(exit, &reports))?])?,
        Output::Table if stdout_is_free && !quiet => print_lines(reports.iter().flat_map(lines))?,
        Output::Json | Output::Table => {}
    }
    Ok(exit)
}

/// Opens the file of `--report`, or makes it. What it holds stays until the report is there.
fn open_report(path: &Path) -> Result<File, UsageError> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(|error| {
        UsageError(format!(
            "--report {}: {error}; name a file that this user may write, in a folder that is there",
            path.display()
        ))
    })
}

fn write_report(mut file: File, report: &Report<'_>) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(report)?;
    // a pipe or a device cannot be cut
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(&text)
}

/// The worst of what the sources report.
fn exit_for(reports: &[SourceReport]) -> Exit {
    if reports.iter().any(|report| !report.unreachable.is_empty()) {
        Exit::Unreachable
    } else if reports.iter().any(SourceReport::has_failures) {
        Exit::Failed
    } else {
        Exit::Success
    }
}

/// A report for people.
pub(super) fn lines(report: &SourceReport) -> Vec<String> {
    let objects = &report.objects;
    let skipped: Vec<_> = objects.skipped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let mut lines = vec![
        format!(
            "{}: {} records from {} objects in {:.1} s ({} LIST, {} GET, {:.6} USD)",
            report.name,
            report.records,
            objects.collected,
            report.seconds,
            report.requests.list,
            report.requests.get,
            report.cost_usd
        ),
        format!(
            "  listed {}: collected {} ({} late), empty {}, skipped {}, failed {}, quarantined {}",
            objects.listed,
            objects.collected,
            objects.late,
            objects.empty,
            if skipped.is_empty() { "0".to_owned() } else { skipped.join(" + ") },
            objects.failed,
            objects.quarantined
        ),
    ];
    if report.dropped > 0 {
        lines.push(format!("  {} flow rows without data were dropped (see keep_nodata)", report.dropped));
    }
    if report.filtered > 0 {
        let rules: Vec<_> =
            report.filtered_by.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
        lines.push(format!("  {} records were left out by filters: {}", report.filtered, rules.join(" + ")));
    }
    if report.dead_letters > 0 {
        lines.push(format!("  {} malformed records went to the dead-letter file", report.dead_letters));
    }
    if let Some(bound) = &report.bounded_by {
        lines.push(format!("  ended by {bound}: the rest follows with the next sweep"));
    }
    lines
        .extend(report.failures.iter().map(|line| format!("  {} {}: {}", line.class, line.key, line.reason)));
    if report.failures_omitted > 0 {
        lines.push(format!("  and {} failures more", report.failures_omitted));
    }
    lines.extend(report.unreachable.iter().map(|text| format!("  unreachable: {text}")));
    if report.unreachable_omitted > 0 {
        lines.push(format!("  and {} unreachable parts more", report.unreachable_omitted));
    }
    lines
}
