//! What a sweep did, in the numbers that `once --report` prints.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bucket::metered::RequestCounts;
use crate::failure::{Class, Failure};
use crate::filter::Filter;
use crate::prices::{self, Prices};

/// Failures, and parts that are unreachable, that are listed one by one; more are only counted.
const LISTED: usize = 1000;

/// Why an object was skipped; the words of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// An earlier sweep settled it.
    Settled,
    /// Its prefix is closed.
    Closed,
    /// It does not match the prefix pattern or `file_pattern`.
    Pattern,
    /// A folder marker.
    Folder,
    /// A digest, validation or query file.
    Digest,
    /// Written before `start`.
    BeforeStart,
    /// Another object took the key of a settled one, and `on_overwrite` is `ignore`.
    Overwritten,
    /// Its key was taken by another object before it was read.
    Replaced,
    /// It was deleted before it was read.
    Gone,
    /// Its key is not UTF-8: it can be neither named nor asked for.
    NotUtf8,
    /// The process was asked to stop; the next start goes on with it.
    Stopped,
}

impl Skip {
    /// The word of the report.
    pub fn word(self) -> &'static str {
        match self {
            Skip::Settled => "settled",
            Skip::Closed => "closed",
            Skip::Pattern => "pattern",
            Skip::Folder => "folder",
            Skip::Digest => "digest",
            Skip::BeforeStart => "before_start",
            Skip::Overwritten => "overwritten",
            Skip::Replaced => "replaced",
            Skip::Gone => "gone",
            Skip::NotUtf8 => "not_utf8",
            Skip::Stopped => "stopped",
        }
    }
}

/// Objects by what became of them; `listed` is the sum of all but `late`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCounts {
    /// Objects that a listing showed, and failed ones that were tried again.
    pub listed: u64,
    /// Collected with at least one record.
    pub collected: u64,
    /// Without bytes or records.
    pub empty: u64,
    /// Skipped, by reason.
    pub skipped: BTreeMap<Cow<'static, str>, u64>,
    /// Of the collected: found only by closing, recheck or reconcile.
    pub late: u64,
    /// To be tried again.
    pub failed: u64,
    /// Given up in this sweep.
    pub quarantined: u64,
}

/// Bytes on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteCounts {
    /// Bodies of GETs.
    pub read: u64,
    /// After inflating.
    pub inflated: u64,
    /// Handed to the sink.
    pub written: u64,
}

/// Requests to the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// LIST requests.
    pub list: u64,
    /// GET requests.
    pub get: u64,
}

impl Requests {
    /// What has been counted so far.
    pub fn of(counts: &RequestCounts) -> Self {
        Requests { list: counts.list(), get: counts.get() }
    }

    /// What they cost in USD.
    pub fn cost_usd(self, prices: &Prices) -> f64 {
        prices.cost(self.list, self.get)
    }
}

/// One object that failed, was quarantined, or is gone after a part of it was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureLine {
    /// Its key.
    pub key: String,
    /// Class of the failure.
    pub class: Cow<'static, str>,
    /// Why.
    pub reason: String,
}

/// What one sweep of one source did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Name of the source.
    pub name: String,
    /// Leaves that were swept.
    pub leaves: u64,
    /// Open prefixes that were listed and have keys or are live.
    pub prefixes: u64,
    /// Objects by what became of them.
    pub objects: ObjectCounts,
    /// Records delivered.
    pub records: u64,
    /// Records left out by rule.
    pub dropped: u64,
    /// Records left out by the user's filters.
    pub filtered: u64,
    /// The same by the name of the rule.
    pub filtered_by: BTreeMap<String, u64>,
    /// Records sent to the dead-letter file.
    pub dead_letters: u64,
    /// Bytes on their way.
    pub bytes: ByteCounts,
    /// Requests to the bucket.
    pub requests: Requests,
    /// Objects that failed, were quarantined, or are gone with a part of their records
    /// delivered; the first thousand.
    pub failures: Vec<FailureLine>,
    /// Failures beyond those.
    pub failures_omitted: u64,
    /// Leaves or the whole source that refused us or were not there; the first thousand.
    pub unreachable: Vec<String>,
    /// Those beyond.
    #[serde(default)]
    pub unreachable_omitted: u64,
    /// The bound of a sweep for which something is left to the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounded_by: Option<Cow<'static, str>>,
    /// How long the sweep took.
    pub seconds: f64,
    /// What the requests cost, by the source's prices.
    pub cost_usd: f64,
    /// The same for an hour of such sweeps at the source's recurrence.
    #[serde(default)]
    pub cost_usd_per_hour: f64,
    /// The prefixes, in a preview.
    #[serde(skip)]
    pub prefix_names: Vec<String>,
    /// Objects that failed by name but are no reason for an exit code: archived ones, and those
    /// that were not tried in this sweep.
    #[serde(skip)]
    pub waiting: u64,
}

impl SourceReport {
    /// An empty report of a source.
    pub fn new(name: &str) -> Self {
        SourceReport { name: name.to_owned(), ..SourceReport::default() }
    }

    /// Counts a listed object that was skipped.
    pub fn skip(&mut self, reason: Skip) {
        self.objects.listed += 1;
        self.skip_known(reason);
    }

    /// Counts an object, listed already, that turned out to be skipped.
    pub fn skip_known(&mut self, reason: Skip) {
        *self.objects.skipped.entry(reason.word().into()).or_default() += 1;
    }

    /// Counts records that the filter left out, given by the numbers of its rules.
    pub fn count_filtered(&mut self, filtered: &[u64], filter: &Filter) {
        for (rule, count) in filtered.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.filtered += count;
            *self.filtered_by.entry(filter.name(rule).to_owned()).or_default() += count;
        }
    }

    /// Counts a listed object that failed earlier and is not due to be tried again.
    pub fn count_waiting(&mut self) {
        self.objects.listed += 1;
        self.objects.failed += 1;
        self.waiting += 1;
    }

    /// Names an object that did not come whole.
    pub fn fail(&mut self, key: &str, failure: &Failure) {
        self.waiting += u64::from(failure.class == Class::Archived);
        if self.failures.len() < LISTED {
            let line = FailureLine {
                key: key.to_owned(),
                class: failure.class.word().into(),
                reason: failure.reason.clone(),
            };
            self.failures.push(line);
        } else {
            self.failures_omitted += 1;
        }
    }

    /// Names a part of the source that could not be listed or read.
    pub fn cannot_reach(&mut self, what: String) {
        if self.unreachable.len() < LISTED {
            self.unreachable.push(what);
        } else {
            self.unreachable_omitted += 1;
        }
    }

    /// Takes back a failure that was counted in this sweep: the object is tried again.
    pub fn take_back(&mut self, key: &str, class: Class) {
        self.objects.failed = self.objects.failed.saturating_sub(1);
        self.waiting = self.waiting.saturating_sub(u64::from(class == Class::Archived));
        match self.failures.iter().position(|line| line.key == key) {
            Some(at) => drop(self.failures.remove(at)),
            None => self.failures_omitted = self.failures_omitted.saturating_sub(1),
        }
    }

    /// Sets what is known only at the end of a sweep that is due each `recurrence`.
    pub fn finish(&mut self, requests: Requests, took: Duration, prices: &Prices, recurrence: Duration) {
        self.requests = requests;
        self.cost_usd = requests.cost_usd(prices);
        self.cost_usd_per_hour = prices::per_hour(self.cost_usd, recurrence);
        self.seconds = took.as_secs_f64();
    }

    /// Whether objects failed or were quarantined in this sweep.
    pub fn has_failures(&self) -> bool {
        self.objects.failed + self.objects.quarantined > self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_word_and_counts_once() {
        let mut report = SourceReport::new("main");
        let reasons = [
            (Skip::Settled, "settled"),
            (Skip::Closed, "closed"),
            (Skip::Pattern, "pattern"),
            (Skip::Folder, "folder"),
            (Skip::Digest, "digest"),
            (Skip::BeforeStart, "before_start"),
            (Skip::Overwritten, "overwritten"),
            (Skip::Replaced, "replaced"),
            (Skip::Gone, "gone"),
            (Skip::NotUtf8, "not_utf8"),
            (Skip::Stopped, "stopped"),
        ];
        for (reason, _) in reasons {
            report.skip(reason);
        }
        report.skip_known(Skip::Gone);
        let counts = &report.objects;
        assert_eq!(counts.listed, 11, "one that was listed already is not listed again");
        assert_eq!(counts.skipped.values().sum::<u64>(), 12);
        assert!(reasons.iter().all(|(_, word)| counts.skipped[*word] == if *word == "gone" { 2 } else { 1 }));
    }

    #[test]
    fn failures_and_leaves_are_listed_up_to_a_thousand_and_counted_beyond() {
        let mut report = SourceReport::new("main");
        for number in 0..1003 {
            report.fail(&format!("k{number}"), &Failure::new(Class::Object, "refused"));
        }
        assert_eq!((report.failures.len(), report.failures_omitted), (1000, 3));
        let line = FailureLine { key: "k0".into(), class: "object".into(), reason: "refused".into() };
        assert_eq!(report.failures.first(), Some(&line));
        for number in 0..1003 {
            report.cannot_reach(format!("leaf {number}"));
        }
        assert_eq!((report.unreachable.len(), report.unreachable_omitted), (1000, 3));
    }

    #[test]
    fn a_failure_that_is_tried_again_is_taken_back() {
        let mut report = SourceReport::new("main");
        for (key, class) in [("a", Class::Object), ("b", Class::Archived)] {
            report.objects.failed += 1;
            report.fail(key, &Failure::new(class, "refused"));
        }
        report.take_back("b", Class::Archived);
        assert_eq!((report.objects.failed, report.waiting, report.has_failures()), (1, 0, true));
        assert_eq!(report.failures.iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), ["a"]);
        report.take_back("a", Class::Object);
        assert!(!report.has_failures() && report.failures.is_empty());
    }

    #[test]
    fn archived_objects_alone_are_no_failure_of_a_run() {
        for (name, failed, quarantined, archived, want) in [
            ("nothing", 0, 0, 0, false),
            ("an archived one", 1, 0, 1, false),
            ("an archived and another one", 2, 0, 1, true),
            ("a quarantined one", 0, 1, 0, true),
            ("a quarantined and an archived one", 1, 1, 1, true),
        ] {
            let mut report = SourceReport::new("main");
            (report.objects.failed, report.objects.quarantined) = (failed, quarantined);
            for _ in 0..archived {
                report.fail("k", &Failure::new(Class::Archived, "archived"));
            }
            assert_eq!(report.has_failures(), want, "{name}");
        }
    }

    #[test]
    fn requests_have_their_price() {
        let mut report = SourceReport::new("main");
        let (took, hourly) = (Duration::from_millis(1500), Duration::from_secs(1800));
        report.finish(
            Requests { list: 2_000, get: 10_000 },
            took,
            &Prices { list: 0.005, get: 0.0004 },
            hourly,
        );
        assert!((report.cost_usd - 0.014).abs() < 1e-9, "{}", report.cost_usd);
        assert!((report.cost_usd_per_hour - 0.028).abs() < 1e-9, "{}", report.cost_usd_per_hour);
        assert!((report.seconds - 1.5).abs() < 1e-9);
        assert_eq!(report.requests, Requests { list: 2_000, get: 10_000 });
    }
}
