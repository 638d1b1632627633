//! `audit`: is it complete?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, UsageError};
use super::output::{Output, OutputArgs, note};
use super::progress::Bars;
use super::stream::{self, Stream, WriteError};
use super::{instance, now};
use crate::clock::SystemClock;
use crate::config::{Config, SinkType, parse_duration};
use crate::failure;
use crate::service::socket::protocol::{Request, Response};
use crate::service::socket::{Client, RemoteState};
use crate::service::{Instance, Options, ReadOnly, Source};
use crate::state::State;
use crate::sweep::SweepError;
use crate::sweep::audit::{Audited, AuditedObject, Estimate, Gap, Incomplete, Span, Told};
use crate::sweep::report::SourceReport;

/// What is told before it is written.
const QUEUE: usize = 100;
/// Times without a file that are listed one by one.
const LISTED_GAPS: usize = 1000;

/// List the bucket, compare with ledger and history, prove completeness
///
/// Each object below the prefixes of that time is delivered, empty, quarantined, dropped, skipped by
/// a named rule, still open, or missing: its prefix is closed and nobody knows it. Where history is
/// too old or lost, that is said instead. Objects that need a look are listed, all of them with
/// --all. Costs LIST requests alone, and tells on stderr first about how many. The exit code is 1 when
/// something is missing, 3 when a leaf could not be listed, 4 when history is lost. While a daemon
/// runs, its state directory is locked and this ends with exit code 4.
///
/// For CloudTrail, times without any file in a leaf that has some are told as hints.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  s3sweep audit -c s3sweep.toml --from 2026-01-01 --to 2026-01-31
  s3sweep audit -c s3sweep.toml --from 2026-01-01 --to 2026-01-31 --source prod-cloudtrail --repair")]
pub struct AuditArgs {
    /// Begin with the prefixes of this instant
    #[arg(long, value_name = "T", value_parser = now::instant)]
    pub from: DateTime<Utc>,

    /// End with the prefixes of this instant
    #[arg(long, value_name = "T", value_parser = now::instant)]
    pub to: DateTime<Utc>,

    /// Collect what is missing
    ///
    /// Each prefix with something missing is listed once more, as at a recheck. The exit code is 1
    /// when not all of it came. A running daemon does it: it lists that time once more, and its
    /// sweeps of the source wait meanwhile.
    #[arg(long)]
    pub repair: bool,

    /// List every object, not those alone that need a look
    #[arg(long)]
    pub all: bool,

    /// Tell times without a CloudTrail file that are longer than this
    #[arg(long, value_name = "DURATION", default_value = "1H", value_parser = duration)]
    pub max_gap: Duration,

    /// In which form the result is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a number with M, H or D, such as 30M or 1H".to_owned())
}

/// What stands before the sources.
#[derive(Serialize)]
struct Head {
    from: String,
    to: String,
}

/// What follows the objects of a source.
#[derive(Serialize)]
struct Totals<'a> {
    #[serde(flatten)]
    audited: &'a Audited,
    gaps: &'a [Gap],
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<&'a SourceReport>,
}

/// How a source ended.
struct Ended {
    audited: Audited,
    repaired: Option<SourceReport>,
}

pub(super) async fn audit(args: &AuditArgs, config: Config, bars: &Bars) -> anyhow::Result<Exit> {
    if args.from > args.to {
        return Err(UsageError("--from is later than --to; swap them".to_owned()).into());
    }
    let (signals, sources) = (instance::Signals::watch(), instance::sources(&config)?);
    let opened = Opened::open(&config, args.repair, signals.stop()).await?;
    let audited = audit_all(args, &config, &opened, &sources, bars).await;
    let closed = opened.close().await;
    let exit = stream::ended(audited)?;
    closed?;
    Ok(if signals.stop().is_cancelled() { Exit::Interrupted } else { exit })
}

/// The state: read only, or owned with the sink where things are repaired.
enum Opened {
    Looking(Arc<dyn State>, CancellationToken),
    Repairing(Box<Instance>),
    /// A running daemon repairs.
    Asking(Arc<Client>, CancellationToken),
}

impl Opened {
    async fn open(config: &Config, repair: bool, stop: CancellationToken) -> anyhow::Result<Self> {
        if !repair {
            return Ok(Opened::Looking(instance::stored_state(config).await?, stop));
        }
        if let Some(client) = instance::daemon(config)? {
            return Ok(Opened::Asking(client, stop));
        }
        let clock = Arc::new(SystemClock);
        let options = Options { clock, adopt_state: false, rebuild_state: false, give_up: true, stop };
        Ok(Opened::Repairing(Box::new(Instance::open(config.clone(), options).await?)))
    }

    async fn audit(
        &self,
        config: &Config,
        source: &Source,
        span: Span,
        tell: mpsc::Sender<Told>,
    ) -> anyhow::Result<Audited> {
        let (state, stop) = match self {
            Opened::Repairing(instance) => return Ok(instance.audit(source, span, tell).await?),
            Opened::Looking(state, stop) => (state.clone(), stop.clone()),
            Opened::Asking(client, stop) => {
                // what closes meanwhile would be taken for missing
                ask(client, Request::Hold { sources: vec![source.config.name.clone()] }).await?;
                let state: Arc<dyn State> = Arc::new(RemoteState(client.clone()));
                (state, stop.clone())
            }
        };
        Ok(ReadOnly::new(config, state, Arc::new(SystemClock), stop).audit(source, span, tell).await?)
    }

    /// Collects what is missing, where that is asked for.
    async fn repair(
        &self,
        args: &AuditArgs,
        source: &Source,
        incomplete: Vec<Incomplete>,
    ) -> anyhow::Result<Option<SourceReport>> {
        if incomplete.is_empty() {
            return Ok(None);
        }
        match self {
            Opened::Looking(..) => Ok(None),
            Opened::Repairing(instance) => {
                let swept = instance.repair(source, incomplete).await;
                swept.ended?;
                Ok(Some(swept.report))
            }
            Opened::Asking(client, _) => {
                let source = source.config.name.clone();
                match ask(client, Request::Repair { source, from: args.from, to: args.to }).await? {
                    Response::Repaired { report, waiting } => Ok(Some(SourceReport { waiting, ..*report })),
                    _ => Err(instance::odd_answer()),
                }
            }
        }
    }

    /// Where the result goes: a repair goes on without a reader, and leaves stdout to its records.
    fn output(&self, form: Output, config: &Config) -> Stream {
        match self {
            Opened::Looking(..) => Stream::open(form),
            Opened::Repairing(_) if config.sink.sink_type == SinkType::Stdout => {
                Stream::on_stderr(form).for_work()
            }
            Opened::Repairing(_) | Opened::Asking(..) => Stream::open(form).for_work(),
        }
    }

    async fn close(self) -> anyhow::Result<()> {
        match self {
            Opened::Repairing(instance) => Ok(instance.close().await?),
            Opened::Looking(..) | Opened::Asking(..) => Ok(()),
        }
    }
}

async fn ask(client: &Arc<Client>, request: Request) -> anyhow::Result<Response> {
    let client = client.clone();
    Ok(tokio::task::spawn_blocking(move || client.ask(request)).await?.map_err(instance::stopped)?)
}

async fn audit_all(
    args: &AuditArgs,
    config: &Config,
    opened: &Opened,
    sources: &[Source],
    bars: &Bars,
) -> anyhow::Result<Exit> {
    let mut out = opened.output(args.output.output, config);
    let at = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    out.begin(&Head { from: at(args.from), to: at(args.to) })?;
    let mut exits = Vec::new();
    for source in sources {
        let ended = bars.beside(&[source], audit_one(args, config, opened, source, &mut out, bars)).await?;
        exits.push(exit_for(&ended));
    }
    out.end()?;
    // what is missing for sure matters most
    let order = [Exit::Failed, Exit::Unreachable, Exit::State];
    Ok(order.into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Success))
}

async fn audit_one(
    args: &AuditArgs,
    config: &Config,
    opened: &Opened,
    source: &Source,
    out: &mut Stream,
    bars: &Bars,
) -> anyhow::Result<Ended> {
    let span = Span {
        from: args.from,
        to: args.to,
        max_gap: args.max_gap,
        keep_history: config.history,
        every_object: args.all,
    };
    out.source(&format!("{}: {}", source.config.name, source.config.pattern))?;
    let (tell, told) = mpsc::channel(QUEUE);
    let mut gaps = Vec::new();
    let write = stream::each(told, |told| {
        match told {
            Told::Estimate(estimate) => bars.above(|| tell_estimate(&estimate)),
            Told::Object(object) => write_object(out, &object)?,
            Told::Gap(gap) if gaps.len() < LISTED_GAPS => gaps.push(gap),
            Told::Gap(_) => {} // counted
        }
        Ok(())
    });
    let (audited, written) = tokio::join!(opened.audit(config, source, span, tell), write);
    written?;
    let mut audited = match audited.map_err(anyhow::Error::downcast) {
        Err(Ok(SweepError::Bucket(error))) => {
            Audited::unreachable(&source.config.name, failure::chain(&error))
        }
        Err(Ok(error)) => return Err(error.into()),
        Err(Err(error)) => return Err(error),
        Ok(audited) => audited,
    };
    let repaired = opened.repair(args, source, std::mem::take(&mut audited.incomplete)).await?;
    let totals = Totals { audited: &audited, gaps: &gaps, repaired: repaired.as_ref() };
    out.end_source(&totals, lines(&totals))?;
    Ok(Ended { audited, repaired })
}

fn tell_estimate(estimate: &Estimate) {
    note(&format!(
        "{}: about {} LIST requests (USD {:.4}) for {} prefixes of {} known leaves with {} known objects; finding new leaves comes on top",
        estimate.source,
        estimate.lists,
        estimate.cost_usd,
        estimate.prefixes,
        estimate.leaves,
        estimate.objects
    ));
}

fn exit_for(Ended { audited, repaired }: &Ended) -> Exit {
    let missing = audited.counts.missing;
    let came = repaired.as_ref().map_or(0, |report| report.objects.collected + report.objects.empty);
    let failed = repaired.as_ref().is_some_and(SourceReport::has_failures);
    let refused = repaired.as_ref().is_some_and(|report| !report.unreachable.is_empty());
    if came < missing || failed {
        Exit::Failed
    } else if !audited.unreachable.is_empty() || refused {
        Exit::Unreachable
    } else if !audited.lost_history.is_empty() {
        Exit::State
    } else {
        Exit::Success
    }
}

fn write_object(out: &mut Stream, object: &AuditedObject) -> Result<(), WriteError> {
    out.item(object, || {
        let records = object.records.map(|records| format!(", {records} records")).unwrap_or_default();
        let reason = object.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("  {:<18} {}{records}{reason}", object.standing, object.key)
    })
}

/// The sums for people.
fn lines(Totals { audited, gaps, repaired }: &Totals<'_>) -> Vec<String> {
    let counts = &audited.counts;
    let by_word = |words: &BTreeMap<String, u64>| match words.is_empty() {
        true => "0".to_owned(),
        false => words.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(" + "),
    };
    let mut lines = vec![
        format!(
            "  listed {} objects of {} leaves: delivered {} with {} records, empty {}, quarantined {}, dropped {}",
            counts.listed,
            audited.leaves,
            counts.delivered,
            counts.records,
            counts.empty,
            counts.quarantined,
            counts.dropped
        ),
        format!("  skipped {}; still open {}", by_word(&counts.skipped), by_word(&counts.open)),
        format!(
            "  missing {}; history expired {}, unknown {} ({} LIST requests)",
            counts.missing, counts.history_expired, counts.unknown, audited.requests.list
        ),
    ];
    lines.extend(gap_lines(gaps, audited.gap_count));
    lines.extend(audited.lost_history.iter().map(|text| format!("  history lost: {text}")));
    lines.extend(audited.unreachable.iter().map(|text| format!("  unreachable: {text}")));
    lines.extend(
        repaired
            .iter()
            .flat_map(|report| super::once::lines(report))
            .map(|line| format!("  repaired {line}")),
    );
    lines
}

/// The gaps that are listed, and how many more there are.
fn gap_lines(gaps: &[Gap], all: u64) -> Vec<String> {
    let time = |at: DateTime<Utc>| at.format("%F %R").to_string();
    let mut lines: Vec<_> = gaps
        .iter()
        .map(|gap| format!("  hint: no file of {} from {} to {}", gap.leaf, time(gap.from), time(gap.to)))
        .collect();
    let more = all.saturating_sub(gaps.len() as u64);
    if more > 0 {
        lines.push(format!("  hint: and {more} more times without a file; a larger --max-gap lists fewer"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_that_are_not_listed_are_counted() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let gap = Gap { leaf: "l".into(), from: at("2026-06-01T00:00:00Z"), to: at("2026-06-01T03:00:00Z") };
        let line = "  hint: no file of l from 2026-06-01 00:00 to 2026-06-01 03:00";
        let gaps = [gap.clone(), gap];
        assert_eq!(gap_lines(&gaps[..1], 1), [line]);
        let more = "  hint: and 7 more times without a file; a larger --max-gap lists fewer";
        assert_eq!(gap_lines(&gaps, 9), [line, line, more]);
    }
}
