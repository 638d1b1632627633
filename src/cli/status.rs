//! `status`: where each leaf stands.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::exit::Exit;
use super::instance;
use super::output::{Output, OutputArgs, print_lines};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, SourceConfig};
use crate::pattern::Leaf;
use crate::prices;
use crate::state::{LastSweep, LeafRecord, SourceRecord, State, StateError};

/// Leaves or failed objects read at once.
const PAGE: usize = 500;

/// Show per leaf the marker, the lag, the last sweep and failures
///
/// Reads the state, by way of the daemon where one runs; sends no request to a bucket. Below the
/// table stands what its words mean; docs/operate.md tells what to make of it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep status -c s3sweep.toml --output json")]
pub struct StatusArgs {
    #[allow(missing_docs, reason = "described where it is defined")]
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Serialize)]
struct Status {
    sources: Vec<SourceStatus>,
}

#[derive(Serialize)]
pub(super) struct SourceStatus {
    pub name: String,
    pattern: String,
    /// Where every leaf begins; absent before the first sweep.
    start: Option<DateTime<Utc>>,
    last_sweep: Option<LastSweep>,
    failed: Vec<FailedLine>,
    quarantined: u64,
    /// Not swept since then.
    paused: Option<DateTime<Utc>>,
    /// LIST requests while nothing is new: one for each leaf and sweep.
    idle_lists_per_hour: u64,
    idle_cost_usd_per_hour: f64,
    pub leaves: Vec<LeafStatus>,
}

#[derive(Serialize)]
struct FailedLine {
    key: String,
    class: String,
    reason: String,
    attempts: u32,
}

#[derive(Serialize)]
pub(super) struct LeafStatus {
    leaf: String,
    closed_through: String,
    dropped: bool,
    lag_seconds: Option<i64>,
    open: Vec<MarkerStatus>,
}

#[derive(Serialize)]
struct MarkerStatus {
    prefix: String,
    floor: Option<String>,
    /// Settled objects up to the floor.
    below_floor: u64,
    newest: Option<String>,
    /// Listed in full after its time; closes once its failed objects are settled.
    waiting: bool,
    closed: bool,
}

pub(super) async fn status(args: &StatusArgs, config: Config) -> anyhow::Result<Exit> {
    let state = instance::stored_state(&config).await?;
    let now = SystemClock.now();
    let sources = config.sources.iter().map(|source| source_status(&*state, source, now));
    let status = Status { sources: sources.collect::<Result<_, _>>()? };
    match args.output.output {
        Output::Json => print_lines([serde_json::to_string(&status)?])?,
        Output::Table => {
            print_lines(status.sources.iter().flat_map(table).chain(WORDS.lines().map(str::to_owned)))?
        }
    }
    Ok(Exit::Success)
}

pub(super) fn source_status(
    state: &dyn State,
    config: &SourceConfig,
    now: DateTime<Utc>,
) -> Result<SourceStatus, StateError> {
    let record = state.source(&config.name)?;
    let mut status = SourceStatus {
        name: config.name.clone(),
        pattern: config.pattern.to_string(),
        start: record.as_ref().map(|record| record.start),
        last_sweep: record.as_ref().and_then(|record| record.last_sweep.clone()),
        failed: Vec::new(),
        quarantined: quarantined(state, &config.name)?,
        paused: state.paused(&config.name)?,
        idle_lists_per_hour: 0,
        idle_cost_usd_per_hour: 0.0,
        leaves: Vec::new(),
    };
    // A changed pattern begins anew with the next sweep: what is stored is of the old one.
    let is_current =
        |record: &SourceRecord| record.pattern == status.pattern && record.bucket == config.bucket.name();
    if let Some(record) = record.filter(is_current) {
        status.failed = failed(state, &record)?;
        for (head, leaf_record) in state.leaves(record.key(), None, usize::MAX)? {
            if let Some(leaf) = config.pattern.leaf(&head) {
                status.leaves.push(leaf_status(state, &record, &leaf, leaf_record, now)?);
            }
        }
    }
    let leaves = status.leaves.iter().filter(|leaf| !leaf.dropped).count() as u64;
    status.idle_lists_per_hour = prices::idle_lists_per_hour(leaves, config.recurrence);
    status.idle_cost_usd_per_hour = config.prices.cost(status.idle_lists_per_hour, 0);
    Ok(status)
}

fn leaf_status(
    state: &dyn State,
    source: &SourceRecord,
    leaf: &Leaf,
    record: LeafRecord,
    now: DateTime<Utc>,
) -> Result<LeafStatus, StateError> {
    let markers = state.markers(source.key(), leaf.head())?;
    let newest = markers.iter().filter_map(|(_, marker)| marker.newest_at).max();
    let open = markers.into_iter().map(|(time, marker)| MarkerStatus {
        prefix: leaf.prefix(time).name,
        below_floor: if marker.floor_epoch == source.floor_epoch { marker.below_floor } else { 0 },
        floor: marker.floor.filter(|_| marker.floor_epoch == source.floor_epoch),
        newest: marker.newest,
        waiting: marker.drained,
        closed: marker.closed,
    });
    Ok(LeafStatus {
        leaf: leaf.name(),
        closed_through: leaf.prefix(record.closed_through).name,
        dropped: record.dropped,
        lag_seconds: newest.map(|newest| (now - newest).num_seconds()),
        open: open.collect(),
    })
}

fn failed(state: &dyn State, source: &SourceRecord) -> Result<Vec<FailedLine>, StateError> {
    let mut lines: Vec<FailedLine> = Vec::new();
    loop {
        let after = lines.last().map(|line| line.key.as_str());
        let page = state.all_failed(source.key(), after, PAGE)?;
        let full = page.len() == PAGE;
        lines.extend(page.into_iter().map(|(key, failed)| FailedLine {
            key,
            class: failed.class,
            reason: failed.reason,
            attempts: failed.attempts,
        }));
        if !full {
            return Ok(lines);
        }
    }
}

fn quarantined(state: &dyn State, source: &str) -> Result<u64, StateError> {
    let mut count = 0;
    super::quarantine::each(state, |object| count += u64::from(object.source == source))?;
    Ok(count)
}

fn table(source: &SourceStatus) -> Vec<String> {
    let swept = match &source.last_sweep {
        Some(last) => format!("last sweep {}, {} records", last.at.format("%F %T"), last.records),
        None => "never swept".to_owned(),
    };
    let mut lines = vec![
        format!("{}: {}", source.name, source.pattern),
        format!("  {swept}; {} failed, {} quarantined", source.failed.len(), source.quarantined),
    ];
    if !source.leaves.is_empty() {
        lines.push(format!(
            "  {} LIST requests an hour while nothing is new, {:.2} USD in 30 days",
            source.idle_lists_per_hour,
            source.idle_cost_usd_per_hour * 24.0 * 30.0
        ));
    }
    if let Some(reason) = source.last_sweep.as_ref().and_then(|last| last.unreachable.as_ref()) {
        lines.push(format!("  unreachable: {reason}"));
    }
    if let Some(identity) = source.last_sweep.as_ref().and_then(|last| last.identity.as_ref()) {
        let whose = identity.arn.as_ref().map_or_else(String::new, |arn| format!("{arn}, "));
        lines.push(format!("  as {whose}access key {} by {}", identity.access_key_id, identity.provider));
    }
    if let Some(since) = source.paused {
        lines.push(format!("  paused since {}; `s3sweep sweep resume` ends that", since.format("%F %T")));
    }
    lines.extend(source.leaves.iter().flat_map(leaf_lines));
    lines.extend(source.failed.iter().map(|line| format!("  {} {}: {}", line.class, line.key, line.reason)));
    lines
}

/// A leaf and its open prefixes, for people.
pub(super) fn leaf_lines(leaf: &LeafStatus) -> Vec<String> {
    let lag = leaf.lag_seconds.map_or("none yet".to_owned(), |lag| format!("{} min", lag / 60));
    let dropped = if leaf.dropped { ", no longer there" } else { "" };
    let mut lines =
        vec![format!("  {}  closed before {}, lag {lag}{dropped}", leaf.leaf, leaf.closed_through)];
    for marker in leaf.open.iter().filter(|marker| !marker.closed) {
        let waiting = if marker.waiting { ", waits for failed objects" } else { "" };
        let floor = match &marker.floor {
            Some(floor) => format!("floor {floor}, {} objects up to there", marker.below_floor),
            None => "floor none".to_owned(),
        };
        lines.push(format!("    open: {}  {floor}{waiting}", marker.prefix));
    }
    lines
}

/// What stands below the table.
const WORDS: &str = "
leaf           one account and region, say, of the pattern: its wildcards filled in, the dates open
closed before  everything earlier is collected, and was compared with the bucket after its time
open           a day, say, that is still listed in each sweep: files may come late
floor          all objects up to this key are settled; listing starts after it (none: at the beginning)
lag            how old the newest collected object is; in a quiet leaf that grows without anything missing";
