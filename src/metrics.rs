//! What the daemon tells Prometheus: every metric with its name, unit and meaning, and where it is
//! counted.
//!
//! Labels are `source` and `outcome`, never a key; the version is the one of the build. Whoever
//! makes a report counts it here, once per sweep, request or commit; nothing counts per record.

use std::collections::BTreeMap;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only upwards, from the start of the daemon.
    Counter,
    /// Up and down.
    Gauge,
    /// Observations, by these upper bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// As it is exposed; the unit is its last word.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means, without a full stop.
    pub meaning: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Metric {
    Metric { name, kind, labels, meaning }
}

const SOURCE: &[&str] = &["source"];
const BOTH: &[&str] = &["source", "outcome"];
const OUTCOME: &[&str] = &["outcome"];
const SWEEP_SECONDS: Kind =
    Kind::Histogram(&[0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0]);
const COMMIT_SECONDS: Kind =
    Kind::Histogram(&[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0]);

/// Objects.
pub const OBJECTS: Metric = metric(
    "s3sweep_objects_total",
    Kind::Counter,
    BOTH,
    "Objects that sweeps listed, by what became of them: collected, empty, failed (once per try), quarantined, or skipped_ and the reason",
);
/// Late objects.
pub const LATE_OBJECTS: Metric = metric(
    "s3sweep_late_objects_total",
    Kind::Counter,
    SOURCE,
    "Collected objects that only a closing, recheck or reconcile found",
);
/// Records.
pub const RECORDS: Metric = metric(
    "s3sweep_records_total",
    Kind::Counter,
    BOTH,
    "Records of collected objects: delivered, dropped by rule, filtered by your filters, or dead_letter",
);
/// Bodies.
pub const READ_BYTES: Metric =
    metric("s3sweep_read_bytes_total", Kind::Counter, SOURCE, "Bytes of bodies that GET requests brought");
/// Inflated.
pub const INFLATED_BYTES: Metric =
    metric("s3sweep_inflated_bytes_total", Kind::Counter, SOURCE, "The same bytes inflated");
/// Written.
pub const WRITTEN_BYTES: Metric =
    metric("s3sweep_written_bytes_total", Kind::Counter, SOURCE, "Bytes handed to the sink");
/// LIST requests.
pub const LIST_REQUESTS: Metric = metric(
    "s3sweep_list_requests_total",
    Kind::Counter,
    BOTH,
    "LIST requests: ok, or failed; those of audits are not counted",
);
/// GET requests.
pub const GET_REQUESTS: Metric = metric(
    "s3sweep_get_requests_total",
    Kind::Counter,
    BOTH,
    "GET requests: ok where a body began to come, or failed",
);
/// Sweeps.
pub const SWEEPS: Metric = metric(
    "s3sweep_sweeps_total",
    Kind::Counter,
    BOTH,
    "Sweeps that ended: ok, failing (an object failed or was quarantined), or unreachable (a part or all of the source)",
);
/// Sweep duration.
pub const SWEEP_DURATION: Metric =
    metric("s3sweep_sweep_duration_seconds", SWEEP_SECONDS, SOURCE, "How long sweeps took");
/// Recurrence.
pub const RECURRENCE: Metric =
    metric("s3sweep_recurrence_seconds", Kind::Gauge, SOURCE, "The recurrence that is configured");
/// Last good sweep.
pub const LAST_SUCCESS: Metric = metric(
    "s3sweep_last_success_timestamp_seconds",
    Kind::Gauge,
    SOURCE,
    "When the last sweep ended whose outcome was ok",
);
/// Last LIST.
pub const LAST_LIST: Metric = metric(
    "s3sweep_last_list_timestamp_seconds",
    Kind::Gauge,
    SOURCE,
    "When a LIST of a sweep was answered last",
);
/// How long not listed.
pub const UNLISTED: Metric = metric(
    "s3sweep_unlisted_seconds",
    Kind::Gauge,
    SOURCE,
    "How long no sweep had a LIST answered: since the last one, or since the first sweep was due; /healthz fails beyond 3 recurrences",
);
/// Reachable.
pub const UP: Metric = metric(
    "s3sweep_source_up",
    Kind::Gauge,
    SOURCE,
    "1, or 0 while a part or all of the source is unreachable; none before the first sweep ended",
);
/// Paused.
pub const PAUSED: Metric =
    metric("s3sweep_source_paused", Kind::Gauge, SOURCE, "1 while the source is paused, else 0");
/// Leaves.
pub const LEAVES: Metric =
    metric("s3sweep_leaves", Kind::Gauge, SOURCE, "Leaves that are known and still there");
/// Lag.
pub const LAG: Metric = metric(
    "s3sweep_lag_seconds",
    Kind::Gauge,
    SOURCE,
    "The age of the newest settled object; none where no open prefix has one",
);
/// Lag of the worst leaf.
pub const WORST_LEAF_LAG: Metric =
    metric("s3sweep_worst_leaf_lag_seconds", Kind::Gauge, SOURCE, "The same of the leaf that lags most");
/// Waiting.
pub const WAITING: Metric = metric(
    "s3sweep_waiting_objects",
    Kind::Gauge,
    SOURCE,
    "Objects that failed and wait to be tried again; counted up to 100,000",
);
/// Quarantined.
pub const QUARANTINED: Metric = metric(
    "s3sweep_quarantined_objects",
    Kind::Gauge,
    SOURCE,
    "Objects in the quarantine; of all sources 100,000 are counted at most",
);
/// Sink commit time.
pub const COMMIT_DURATION: Metric = metric(
    "s3sweep_sink_commit_duration_seconds",
    COMMIT_SECONDS,
    &[],
    "How long the sink took to make a commit durable",
);
/// Sink commits.
pub const COMMITS: Metric = metric(
    "s3sweep_sink_commits_total",
    Kind::Counter,
    OUTCOME,
    "Commits of the sink: ok, or failed (the sink is down)",
);
/// State size.
pub const STATE_SIZE: Metric =
    metric("s3sweep_state_size_bytes", Kind::Gauge, &[], "Size of the files in the state directory");
/// When the daemon started.
pub const START: Metric =
    metric("s3sweep_start_timestamp_seconds", Kind::Gauge, &[], "When the daemon started");
/// Build.
pub const BUILD: Metric =
    metric("s3sweep_build_info", Kind::Gauge, &["version"], "Always 1, with the version of the program");

/// All metrics, in the order in which they are told.
pub const ALL: &[&Metric] = &[
    &OBJECTS,
    &LATE_OBJECTS,
    &RECORDS,
    &READ_BYTES,
    &INFLATED_BYTES,
    &WRITTEN_BYTES,
    &LIST_REQUESTS,
    &GET_REQUESTS,
    &SWEEPS,
    &SWEEP_DURATION,
    &RECURRENCE,
    &LAST_SUCCESS,
    &LAST_LIST,
    &UNLISTED,
    &UP,
    &PAUSED,
    &LEAVES,
    &LAG,
    &WORST_LEAF_LAG,
    &WAITING,
    &QUARANTINED,
    &COMMIT_DURATION,
    &COMMITS,
    &STATE_SIZE,
    &START,
    &BUILD,
];

/// A value of each label of a metric.
type LabelSet = Vec<(&'static str, String)>;

/// Makes histograms with the bounds of a metric.
#[derive(Clone, Copy)]
struct Bounds(&'static [f64]);

impl MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Gauges = Family<LabelSet, Gauge<f64, std::sync::atomic::AtomicU64>>;

/// What is counted, by metric and labels.
pub struct Metrics {
    registry: Registry,
    counters: BTreeMap<&'static str, Family<LabelSet, Counter>>,
    gauges: BTreeMap<&'static str, Gauges>,
    histograms: BTreeMap<&'static str, Family<LabelSet, Histogram, Bounds>>,
}

impl Metrics {
    /// All metrics, with nothing counted, of a program of this version.
    pub fn new(version: &str) -> Self {
        let mut metrics = Metrics {
            registry: Registry::default(),
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            histograms: BTreeMap::new(),
        };
        for metric in ALL {
            metrics.register(metric, version);
        }
        metrics
    }

    fn register(&mut self, metric: &'static Metric, version: &str) {
        let (name, meaning) = (metric.name, metric.meaning);
        // the library adds these words itself
        let base = name.trim_end_matches("_total").trim_end_matches("_info");
        match metric.kind {
            Kind::Gauge if base != name => {
                self.registry.register(base, meaning, Info::new(vec![("version", version.to_owned())]));
            }
            Kind::Counter => {
                let family = Family::default();
                self.registry.register(base, meaning, family.clone());
                self.counters.insert(name, family);
            }
            Kind::Gauge => {
                let family = Family::default();
                self.registry.register(base, meaning, family.clone());
                self.gauges.insert(name, family);
            }
            Kind::Histogram(bounds) => {
                let family = Family::new_with_constructor(Bounds(bounds));
                self.registry.register(base, meaning, family.clone());
                self.histograms.insert(name, family);
            }
        }
    }

    /// Counts; `values` are those of the metric's labels, in their order. Zero makes the series
    /// appear, so that a first failure shows as an increase.
    pub fn add(&self, metric: &Metric, values: &[&str], by: u64) {
        if let Some(family) = self.counters.get(metric.name) {
            family.get_or_create(&labels(metric, values)).inc_by(by);
        }
    }

    /// Sets; without a value the series disappears.
    pub fn set(&self, metric: &Metric, values: &[&str], value: Option<f64>) {
        let Some(family) = self.gauges.get(metric.name) else { return };
        match value {
            Some(value) => drop(family.get_or_create(&labels(metric, values)).set(value)),
            None => drop(family.remove(&labels(metric, values))),
        }
    }

    /// Observes a duration, say.
    pub fn observe(&self, metric: &Metric, values: &[&str], value: f64) {
        if let Some(family) = self.histograms.get(metric.name) {
            family.get_or_create(&labels(metric, values)).observe(value);
        }
    }

    /// All of it in Prometheus's text format, of type [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry).expect("a string takes all text");
        text
    }
}

fn labels(metric: &Metric, values: &[&str]) -> LabelSet {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}: a value for each label", metric.name);
    metric.labels.iter().copied().zip(values.iter().map(|value| (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_rules_and_are_exposed_as_they_stand_here() {
        let metrics = Metrics::new("1.2.3");
        let mut names = BTreeSet::new();
        for metric in ALL {
            let Metric { name, kind, labels, meaning } = metric;
            assert!(names.insert(name), "{name} stands once");
            assert!(name.starts_with("s3sweep_") && !meaning.ends_with('.') && meaning.len() > 10, "{name}");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            let known = |label: &&str| ["source", "outcome"].contains(label);
            assert!(*name == BUILD.name || labels.iter().all(known), "{name}: {labels:?}");
            let values = vec!["x\"y"; labels.len()];
            metrics.add(metric, &values, 1);
            metrics.set(metric, &values, Some(1.5));
            metrics.observe(metric, &values, 0.2);
        }
        let text = metrics.text();
        let exposed: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(exposed, names.into_iter().copied().collect(), "{text}");
        for line in [
            "s3sweep_build_info{version=\"1.2.3\"} 1",
            "s3sweep_late_objects_total{source=\"x\\\"y\"} 1",
            "s3sweep_lag_seconds{source=\"x\\\"y\"} 1.5",
            "s3sweep_sink_commit_duration_seconds_bucket{le=\"0.25\"} 1",
            "s3sweep_state_size_bytes 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_gauge_without_a_value_disappears() {
        let metrics = Metrics::new("1");
        metrics.set(&LAG, &["a"], Some(1.0));
        metrics.set(&LAG, &["a"], None);
        metrics.set(&LAG, &["b"], None);
        assert!(!metrics.text().contains("s3sweep_lag_seconds{"));
    }
}
