//! One source: how it stands by its last sweep or check.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::seconds_of;
use super::spent::{Hours, Spent};
use crate::bucket::{BucketError, ListRequest};
use crate::clock::Clock;
use crate::config::SourceConfig;
use crate::failure;
use crate::metrics::{self, Metric, Metrics};
use crate::sweep::report::{FailureLine, Requests, SourceReport};

/// Sweeps that are remembered one by one.
pub const RECENT: usize = 60;
/// Failures that are remembered of the last sweep.
const FAILURES: usize = 20;

/// One sweep that ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub seconds: f64,
    /// Records it delivered.
    pub records: u64,
    /// Objects it collected.
    pub collected: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Objects that it quarantined.
    pub quarantined: u64,
}

/// A part or all of the source refuses us or is not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreachable {
    /// Since when, without a good sweep or check in between.
    pub since: DateTime<Utc>,
    /// What the last refusal said.
    pub reason: String,
    /// Its code, by which the advice is found.
    pub code: Option<String>,
    /// A refused LIST: what to ask for again. `None` where every GET was refused.
    pub prefix: Option<String>,
}

/// Objects failed or were quarantined in the last sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// Since when, without a good sweep in between.
    pub since: DateTime<Utc>,
    /// The first of them.
    pub failures: Vec<FailureLine>,
}

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// When a LIST of a sweep was answered last.
    pub listed_at: Option<DateTime<Utc>>,
    /// When a LIST of a sweep or check was answered or refused last.
    pub asked_at: Option<DateTime<Utc>>,
    /// The prefix that was answered last.
    pub listed: Option<String>,
    /// Sweeps that ended.
    pub sweeps: u64,
    /// When the sweep under way began.
    pub sweeping_since: Option<DateTime<Utc>>,
    /// When the next one begins.
    pub next_at: Option<DateTime<Utc>>,
    /// The last sweeps, oldest first.
    pub recent: VecDeque<Point>,
    /// Whether a part is unreachable.
    pub unreachable: Option<Unreachable>,
    /// Whether objects failed.
    pub failing: Option<Trouble>,
    /// The last refused LIST of the sweep under way: its prefix and code.
    pub(in crate::service) refused: Option<(String, Option<String>)>,
}

/// A source that is watched.
pub struct Standing {
    name: String,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    began: DateTime<Utc>,
    config: Mutex<Arc<SourceConfig>>,
    known: Mutex<Known>,
    hours: Mutex<Hours>,
    /// No longer at work, though a sweep may end yet.
    gone: AtomicBool,
}

impl Standing {
    pub(super) fn new(config: Arc<SourceConfig>, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        let name = config.name.clone();
        for outcome in ["collected", "failed", "quarantined"] {
            metrics.add(&metrics::OBJECTS, &[&name, outcome], 0);
        }
        for metric in [&metrics::LIST_REQUESTS, &metrics::GET_REQUESTS] {
            ["ok", "failed"].iter().for_each(|outcome| metrics.add(metric, &[&name, outcome], 0));
        }
        for outcome in ["ok", "failing", "unreachable"] {
            metrics.add(&metrics::SWEEPS, &[&name, outcome], 0);
        }
        metrics.add(&metrics::RECORDS, &[&name, "delivered"], 0);
        let standing = Standing {
            name,
            metrics,
            began: clock.now(),
            clock,
            config: Mutex::new(config.clone()),
            known: Mutex::default(),
            hours: Mutex::default(),
            gone: AtomicBool::new(false),
        };
        standing.configure(&config);
        standing
    }

    /// Takes over changed settings.
    pub(super) fn configure(&self, config: &Arc<SourceConfig>) {
        *held(&self.config) = config.clone();
        self.metrics.set(&metrics::RECURRENCE, &[&self.name], Some(config.recurrence.as_secs_f64()));
    }

    /// Its settings.
    pub fn config(&self) -> Arc<SourceConfig> {
        held(&self.config).clone()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known now.
    pub fn known(&self) -> Known {
        held(&self.known).clone()
    }

    /// What its requests cost in the last 24 hours.
    pub fn last_day(&self) -> Spent {
        held(&self.hours).last_day(self.clock.now())
    }

    /// Since when no LIST was answered: since the last one, or since the first sweep was due.
    pub fn unlisted_since(&self) -> DateTime<Utc> {
        let delay = TimeDelta::from_std(self.config().startup_delay).unwrap_or(TimeDelta::MAX);
        let due = || self.began.checked_add_signed(delay).unwrap_or(DateTime::<Utc>::MAX_UTC);
        held(&self.known).listed_at.unwrap_or_else(due)
    }

    /// A request was answered, or failed.
    pub(super) fn answered(&self, metric: &Metric, well: bool) {
        self.metrics.add(metric, &[&self.name, if well { "ok" } else { "failed" }], 1);
    }

    /// A LIST was answered.
    pub(super) fn listed(&self, request: &ListRequest) {
        let now = self.clock.now();
        let mut known = held(&self.known);
        (known.listed_at, known.asked_at) = (Some(now), Some(now));
        if known.listed.as_ref() != Some(&request.prefix) {
            known.listed = Some(request.prefix.clone());
        }
        drop(known);
        self.metrics.set(&metrics::LAST_LIST, &[&self.name], Some(seconds_of(now)));
    }

    /// A LIST was refused.
    pub(super) fn refused(&self, request: &ListRequest, error: &BucketError) {
        let mut known = held(&self.known);
        known.asked_at = Some(self.clock.now());
        known.refused = Some((request.prefix.clone(), code_of(error)));
    }

    /// A sweep begins.
    pub fn begins(&self) {
        let now = self.clock.now();
        let mut known = held(&self.known);
        known.sweeping_since = Some(now);
        known.next_at = None;
        known.refused = None;
    }

    /// The bucket could not even be opened.
    pub fn cannot_open(&self, error: &BucketError) {
        held(&self.known).refused = Some((String::new(), code_of(error)));
    }

    /// The next sweep begins after `wait`.
    pub fn waits(&self, wait: Duration) {
        held(&self.known).next_at =
            self.clock.now().checked_add_signed(TimeDelta::from_std(wait).unwrap_or_default());
    }

    /// A sweep ended. One that was asked to end early proves nothing.
    pub fn swept(&self, report: &SourceReport, ended_early: bool) {
        self.count(report);
        let now = self.clock.now();
        let mut known = held(&self.known);
        known.sweeping_since = None;
        known.sweeps += 1;
        if known.recent.len() == RECENT {
            known.recent.pop_front();
        }
        known.recent.push_back(point(report, now));
        if ended_early && report.unreachable.is_empty() && !report.has_failures() {
            return;
        }
        known.judge(report, now);
        let outcome = match (&known.unreachable, &known.failing) {
            (Some(_), _) => "unreachable",
            (None, Some(_)) => "failing",
            (None, None) => "ok",
        };
        self.metrics.set(&metrics::UP, &[&self.name], Some(f64::from(u8::from(known.unreachable.is_none()))));
        self.metrics.add(&metrics::SWEEPS, &[&self.name, outcome], 1);
        self.metrics.observe(&metrics::SWEEP_DURATION, &[&self.name], report.seconds);
        if outcome == "ok" {
            self.metrics.set(&metrics::LAST_SUCCESS, &[&self.name], Some(seconds_of(now)));
        }
        if self.gone.load(Ordering::Relaxed) {
            self.forget_gauges();
        }
    }

    /// A check by one LIST ended; `wholly` when an operator's `check` found nothing wrong besides.
    pub fn checked(&self, prefix: &str, answer: &Result<(), BucketError>, wholly: bool) {
        self.answered(&metrics::LIST_REQUESTS, answer.is_ok());
        let asked = Requests { list: 1, get: 0 };
        let prices = held(&self.config).prices;
        self.spend(asked, asked.cost_usd(&prices));
        let now = self.clock.now();
        let mut known = held(&self.known);
        known.asked_at = Some(now);
        match answer {
            Ok(()) => {
                if wholly {
                    known.failing = None;
                }
                let clears = |seen: &Unreachable| wholly || seen.prefix.as_deref() == Some(prefix);
                if known.unreachable.as_ref().is_some_and(clears) {
                    known.unreachable = None;
                }
            }
            Err(error) => {
                let since = known.unreachable.as_ref().map_or(now, |seen| seen.since);
                known.unreachable = Some(Unreachable {
                    since,
                    reason: failure::chain(error),
                    code: code_of(error),
                    prefix: Some(prefix.to_owned()),
                });
            }
        }
        let up = known.unreachable.is_none();
        self.metrics.set(&metrics::UP, &[&self.name], Some(f64::from(u8::from(up))));
    }

    /// Counts what a sweep or a repair did.
    pub fn count(&self, report: &SourceReport) {
        let (name, add) = (&*self.name, |metric, values: &[&str], by| self.metrics.add(metric, values, by));
        let objects = &report.objects;
        for (outcome, count) in [
            ("collected", objects.collected),
            ("empty", objects.empty),
            ("failed", objects.failed),
            ("quarantined", objects.quarantined),
        ] {
            add(&metrics::OBJECTS, &[name, outcome], count);
        }
        for (reason, count) in &objects.skipped {
            add(&metrics::OBJECTS, &[name, &format!("skipped_{reason}")], *count);
        }
        add(&metrics::LATE_OBJECTS, &[name], objects.late);
        for (outcome, count) in [
            ("delivered", report.records),
            ("dropped", report.dropped),
            ("filtered", report.filtered),
            ("dead_letter", report.dead_letters),
        ] {
            add(&metrics::RECORDS, &[name, outcome], count);
        }
        add(&metrics::READ_BYTES, &[name], report.bytes.read);
        add(&metrics::INFLATED_BYTES, &[name], report.bytes.inflated);
        add(&metrics::WRITTEN_BYTES, &[name], report.bytes.written);
        self.spend(report.requests, report.cost_usd);
    }

    fn spend(&self, requests: Requests, cost_usd: f64) {
        let Requests { list, get } = requests;
        held(&self.hours).add(self.clock.now(), Spent { list, get, cost_usd });
    }

    /// It is at work no more: what it last was is not told any longer.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.forget_gauges();
    }

    fn forget_gauges(&self) {
        for metric in metrics::ALL.iter().filter(|metric| metric.labels == ["source"]) {
            self.metrics.set(metric, &[&self.name], None);
        }
    }
}

impl Known {
    /// How the source stands after a sweep.
    fn judge(&mut self, report: &SourceReport, now: DateTime<Utc>) {
        self.unreachable = report.unreachable.first().map(|reason| {
            let (prefix, code) =
                self.refused.take().map_or((None, None), |(prefix, code)| (Some(prefix), code));
            let since = self.unreachable.as_ref().map_or(now, |before| before.since);
            Unreachable { since, reason: reason.clone(), code, prefix }
        });
        self.failing = report.has_failures().then(|| Trouble {
            since: self.failing.as_ref().map_or(now, |before| before.since),
            failures: report.failures.iter().take(FAILURES).cloned().collect(),
        });
    }
}

fn point(report: &SourceReport, at: DateTime<Utc>) -> Point {
    Point {
        at,
        seconds: report.seconds,
        records: report.records,
        collected: report.objects.collected,
        failed: report.objects.failed,
        quarantined: report.objects.quarantined,
    }
}

fn code_of(error: &BucketError) -> Option<String> {
    error.answer.as_ref().map(|answer| answer.code.clone())
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
