//! The promise against a model: whatever arrives in whatever order, late, below floors, overwritten
//! or deleted, while pages and objects fail, clocks step and the power goes at any durable
//! operation, every object is delivered exactly once. The model is a set of keys.
//!
//! `S3SWEEP_MODEL_CASES=50000 cargo test --test it model` runs more cases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use s3sweep::failure::Class;
use s3sweep::sweep::audit::{Audited, Told};
use s3sweep::sweep::report::SourceReport;
use s3sweep::testing::{Fault, When};

use crate::needs;
use crate::world::{World, at, trail_body, trail_key};

const BEGIN: &str = "2026-06-01T22:00:00Z";

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A file of this minute appears after a delay.
    File { account: u8, ago: i64, delay: i64, suffix: u64 },
    /// Time passes, in minutes.
    Pass(i64),
    /// Our clock is off by so many minutes from now on; the bucket's is right.
    Clock(i64),
    /// A sweep; the LIST and the GET with these numbers fail, the power goes at (or after) the
    /// durable operation with this one.
    Sweep { list: Option<u64>, get: Option<u64>, class: usize, power: Option<(u64, bool)> },
    /// One of the objects is overwritten.
    Overwrite(usize),
    /// One of the objects is deleted.
    Delete(usize),
    /// One of the objects is deleted between its LIST and its GET.
    DeleteBeforeGet(usize),
    /// A new file is cut off after its first record; something happens to it before the next GET
    /// that is answered, in the same sweep or after it.
    Interrupt {
        account: u8,
        ago: i64,
        suffix: u64,
        change: Change,
        at_once: bool,
        power: Option<(u64, bool)>,
    },
    /// A directory's file is swept while it is written, `cut` of 100 parts of it, and complete so
    /// many minutes later.
    Grow { account: u8, suffix: u64, cut: usize, minutes: i64, power: Option<(u64, bool)> },
}

/// What happens to an object in flight.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Overwrite,
    Delete,
}

/// What a case is about.
#[derive(Clone, Copy, Debug)]
struct Rules {
    rechecks: bool,
    /// `on_overwrite = "collect"`.
    collect: bool,
    /// Objects may still be written, as in a directory; nothing is overwritten there.
    grows: bool,
    /// `max_objects_per_sweep`.
    bound: Option<u64>,
}

/// Records of a version of an object.
const RECORDS: u64 = 3;

/// The durable operation at (or after) which the power goes.
fn power() -> impl Strategy<Value = Option<(u64, bool)>> {
    proptest::option::weighted(0.3, (1..25_u64, any::<bool>()))
}

fn step() -> impl Strategy<Value = Step> {
    // On time, within the lateness of an hour, and beyond it.
    let delay = prop_oneof![6 => 0..10_i64, 3 => 20..59_i64, 2 => 61..2500_i64];
    let change = prop_oneof![Just(Change::Nothing), Just(Change::Overwrite), Just(Change::Delete)];
    prop_oneof![
        8 => (0..3_u8, 0..240_i64, delay, any::<u16>())
            .prop_map(|(account, ago, delay, suffix)| Step::File { account, ago, delay, suffix: suffix.into() }),
        3 => prop_oneof![3 => 1..30_i64, 2 => 30..300_i64, 1 => 300..3000_i64].prop_map(Step::Pass),
        1 => prop_oneof![2 => Just(0), 1 => -200..200_i64, 1 => -3000..3000_i64].prop_map(Step::Clock),
        6 => (
            proptest::option::weighted(0.2, 1..8_u64),
            proptest::option::weighted(0.2, 1..6_u64),
            0..3_usize,
            power(),
        )
            .prop_map(|(list, get, class, power)| Step::Sweep { list, get, class, power }),
        1 => any::<usize>().prop_map(Step::Overwrite),
        1 => any::<usize>().prop_map(Step::Delete),
        1 => any::<usize>().prop_map(Step::DeleteBeforeGet),
        1 => (0..3_u8, 0..240_i64, any::<u16>(), change, any::<bool>(), power())
            .prop_map(|(account, ago, suffix, change, at_once, power)| {
                Step::Interrupt { account, ago, suffix: suffix.into(), change, at_once, power }
            }),
        1 => (0..3_u8, any::<u16>(), 1..100_usize, 0..30_i64, power())
            .prop_map(|(account, suffix, cut, minutes, power)| {
                Step::Grow { account, suffix: suffix.into(), cut, minutes, power }
            }),
    ]
}

/// What should be.
struct Model {
    world: World,
    now: DateTime<Utc>,
    offset: i64,
    /// Keys that are still to appear, by their time.
    coming: BTreeMap<DateTime<Utc>, BTreeSet<String>>,
    /// Keys that must be delivered, in one of their versions.
    owed: BTreeSet<String>,
    /// Keys that were deleted: delivered or not, but not twice.
    deleted: BTreeSet<String>,
    /// Keys that appeared after their prefix had closed: owed where it is rechecked.
    too_late: BTreeSet<String>,
    /// Keys that appeared at or below the floor, or anew in its place.
    below: BTreeSet<String>,
    rules: Rules,
    /// How often each key was overwritten.
    versions: BTreeMap<String, u64>,
    /// Keys overwritten after their prefix had closed: the last version need not come.
    loose: BTreeSet<String>,
    /// Keys changed while they were in flight.
    changed: usize,
    power_cuts: usize,
}

/// What the cases held together.
#[derive(Clone, Copy, Default)]
struct Totals {
    owed: usize,
    too_late: usize,
    changed: usize,
    power_cuts: usize,
    missing: usize,
}

impl Model {
    fn new(rules: Rules) -> Self {
        let settings = "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nstart = \"2026-06-01\"\nlateness = \"1H\"\n\
             discover_every = \"0M\"\nlist_page_size = 3\nfile_pattern = '.*'\nmax_attempts = 1000";
        let recheck = if rules.rechecks { "" } else { "recheck = []\n" };
        let overwrite = if rules.collect { "on_overwrite = \"collect\"" } else { "" };
        let bound = rules.bound.map(|bound| format!("\nmax_objects_per_sweep = {bound}")).unwrap_or_default();
        let world = World::new(BEGIN, &format!("{settings}\n{recheck}{overwrite}{bound}"));
        world.bucket.set_grows(rules.grows);
        let mut model = Model {
            world,
            now: at(BEGIN),
            offset: 0,
            coming: BTreeMap::new(),
            owed: BTreeSet::new(),
            deleted: BTreeSet::new(),
            too_late: BTreeSet::new(),
            below: BTreeSet::new(),
            rules,
            versions: BTreeMap::new(),
            loose: BTreeSet::new(),
            changed: 0,
            power_cuts: 0,
        };
        model.pass(0);
        model
    }

    fn is_closed(&self, key: &str) -> bool {
        let Some(record) = self.world.state.source("main").unwrap() else { return false };
        let source = &self.world.config.sources[0];
        for (head, stored) in self.world.state.leaves(record.key(), None, usize::MAX).unwrap() {
            let leaf = source.pattern.leaf(&head).unwrap();
            let Some(time) = leaf.prefix_of_key(key) else { continue };
            let markers = self.world.state.markers(record.key(), &head).unwrap();
            let above = markers.iter().any(|(marked, marker)| *marked == time && marker.closed);
            return time < stored.closed_through || above;
        }
        false
    }

    fn pass(&mut self, minutes: i64) {
        self.now += TimeDelta::minutes(minutes);
        let later = self.coming.split_off(&(self.now + TimeDelta::seconds(1)));
        for (when, keys) in std::mem::replace(&mut self.coming, later) {
            for key in keys {
                if self.deleted.contains(&key) || !self.owed.insert(key.clone()) {
                    continue;
                }
                if self.is_closed(&key) {
                    self.too_late.insert(key.clone());
                }
                if self.is_below_its_floor(&key) {
                    self.below.insert(key.clone());
                }
                self.world.put_records(&key, &ids(&key, 0), when);
            }
        }
        self.world.bucket.set_clock(Some(self.now));
        self.world.clock.set(self.now + TimeDelta::minutes(self.offset));
    }

    /// A floor stands only over what is settled, but for keys that appeared below it.
    fn check_floors(&self) {
        let record = self.world.record();
        for key in self.owed.iter().filter(|key| !self.below.contains(*key)) {
            let settled = self.world.state.entry(record.key(), key).unwrap().is_some();
            let open = !self.is_closed(key);
            assert!(settled || !open || !self.is_below_its_floor(key), "a floor passed {key}");
        }
    }

    fn is_below_its_floor(&self, key: &str) -> bool {
        let source = &self.world.config.sources[0];
        self.floors().iter().any(|((head, time), floor)| {
            let leaf = source.pattern.leaf(head).unwrap();
            leaf.prefix_of_key(key).is_some_and(|of| of.to_string() == *time) && key <= floor.as_str()
        })
    }

    fn pick(&self, number: usize) -> Option<String> {
        self.owed.iter().nth(number.checked_rem(self.owed.len())?).cloned()
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::File { account, ago, delay, suffix } => {
                let minute = (self.now - TimeDelta::minutes(ago)).max(at("2026-06-01T00:00:00Z"));
                let appears = (minute + TimeDelta::minutes(delay)).max(self.now);
                self.coming.entry(appears).or_default().insert(trail_key(account, minute, suffix));
                self.pass(0);
            }
            Step::Pass(minutes) => self.pass(minutes),
            Step::Clock(offset) => {
                self.offset = offset;
                self.pass(0);
            }
            Step::Sweep { list, get, class, power } => {
                let class = [Class::Unreachable, Class::Object, Class::Transient][class];
                if let Some(number) = list {
                    self.world.faulty.on_list(When::Nth(number), Fault::Fail(Class::Unreachable));
                }
                if let Some(number) = get {
                    self.world.faulty.on_get(When::Nth(number), Fault::Fail(class));
                }
                self.sweep_with(power).await;
            }
            Step::Overwrite(number) => {
                if let Some(key) = self.pick(number).filter(|_| !self.rules.grows) {
                    self.world.put_records(&key, &ids(&key, self.version(&key) + 1), self.now);
                    self.overwritten(key);
                }
            }
            Step::Delete(number) => {
                if let Some(key) = self.pick(number) {
                    self.world.bucket.delete(&key);
                    self.was_deleted(key);
                }
            }
            Step::DeleteBeforeGet(number) => {
                if let Some(key) = self.pick(number) {
                    let (bucket, gone) = (self.world.bucket.clone(), key.clone());
                    let delete = Fault::before(move || {
                        bucket.delete(&gone);
                    });
                    self.world.faulty.on_get(When::key(&key), delete);
                    self.sweep().await;
                    if self.world.bucket.object(&key).is_none() {
                        self.was_deleted(key);
                    }
                }
            }
            Step::Interrupt { account, ago, suffix, change, at_once, power } => {
                let minute = (self.now - TimeDelta::minutes(ago)).max(at("2026-06-01T00:00:00Z"));
                self.interrupt(trail_key(account, minute, suffix), change, at_once, power).await;
            }
            Step::Grow { account, suffix, cut, minutes, power } => {
                let key = trail_key(account, self.now, suffix);
                if self.rules.grows && self.offset == 0 && self.appears(&key) {
                    let body = trail_body(&ids(&key, 0));
                    let written = body[..body.len() * cut / 100].to_owned();
                    self.world.bucket.put(&key, written, self.now);
                    self.sweep_with(power).await;
                    self.world.bucket.put(&key, body, self.now + TimeDelta::seconds(2));
                    self.pass(minutes);
                }
            }
        }
    }

    fn version(&self, key: &str) -> u64 {
        self.versions.get(key).copied().unwrap_or(0)
    }

    fn overwritten(&mut self, key: String) {
        *self.versions.entry(key.clone()).or_default() += 1;
        if self.is_closed(&key) {
            self.loose.insert(key.clone());
        }
        self.below.insert(key);
    }

    fn was_deleted(&mut self, key: String) {
        self.owed.remove(&key);
        self.deleted.insert(key);
    }

    /// Puts a new key; `false` when it was there before.
    fn appears(&mut self, key: &str) -> bool {
        if self.owed.contains(key) || self.deleted.contains(key) {
            return false;
        }
        self.coming.entry(self.now).or_default().insert(key.to_owned());
        self.pass(0);
        true
    }

    async fn interrupt(&mut self, key: String, change: Change, at_once: bool, power: Option<(u64, bool)>) {
        if matches!(change, Change::Overwrite) && self.rules.grows || !self.appears(&key) {
            return;
        }
        let first = trail_body(&ids(&key, 0)[..1]).len() as u64;
        let (gets, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (bucket, now, flag, of) = (self.world.bucket.clone(), self.now, done.clone(), key.clone());
        let apply = move || {
            flag.store(true, Ordering::Relaxed);
            match change {
                Change::Nothing => {}
                Change::Overwrite => drop(bucket.put(&of, trail_body(&ids(&of, 1)), now)),
                Change::Delete => drop(bucket.delete(&of)),
            }
        };
        // the first GET is asked for by all three, in this order: it counts
        let (asked, counted) = (key.clone(), gets.clone());
        let is_first = move |_, of: &str| of == asked && counted.fetch_add(1, Ordering::Relaxed) == 0;
        let (asked, counted) = (key.clone(), gets);
        let is_second = move |_, of: &str| of == asked && counted.load(Ordering::Relaxed) == 2;
        self.world.faulty.on_get(When::Matches(Box::new(is_first)), Fault::CutBody(first));
        // long enough that what came before is committed
        self.world
            .faulty
            .on_get(When::Matches(Box::new(is_second)), Fault::RetryAfter(Duration::from_secs(3)));
        let third = if at_once { Fault::before(apply.clone()) } else { Fault::Fail(Class::Transient) };
        self.world.faulty.on_get(When::key(&key), third);
        self.sweep_with(power).await;
        if !at_once {
            apply();
        }
        if done.load(Ordering::Relaxed) {
            self.changed += 1;
            match change {
                Change::Nothing => {}
                Change::Overwrite => self.overwritten(key),
                Change::Delete => self.was_deleted(key),
            }
        }
    }

    async fn sweep_with(&mut self, power: Option<(u64, bool)>) {
        if let Some((number, after)) = power {
            self.world.fuse.set(number, after);
        }
        self.sweep().await;
    }

    /// Sweeps until no bound ends it.
    async fn sweep_out(&mut self) {
        for _ in 0..1000 {
            if self.sweep().await.is_none_or(|report| report.bounded_by.is_none()) {
                return;
            }
        }
        panic!("bounded sweeps come to no end");
    }

    /// Sweeps; no report when the power was cut.
    async fn sweep(&mut self) -> Option<SourceReport> {
        let floors = self.floors();
        let swept = self.world.sweep().await;
        self.world.faulty.heal();
        if self.world.fuse.mend() {
            self.power_cuts += 1;
            assert!(swept.ended.is_err(), "a sweep without power does not end well");
            return None;
        }
        swept.ended.unwrap();
        self.check_counts(&swept.report);
        for (place, floor) in self.floors() {
            assert!(
                floors.get(&place).is_none_or(|before| *before <= floor),
                "a floor moved back: {place:?}"
            );
        }
        self.check_floors();
        self.delivered();
        let objects = &swept.report.objects;
        let done = objects.collected + objects.quarantined;
        assert!(self.rules.bound.is_none_or(|bound| done <= bound), "more than the bound: {objects:?}");
        Some(swept.report)
    }

    /// How many records of each version of each key are in the sink: none twice, and the first
    /// ones of each version; of one version alone where overwriting is ignored.
    fn delivered(&self) -> BTreeMap<String, BTreeMap<u64, u64>> {
        let mut keys: BTreeMap<String, BTreeMap<u64, BTreeSet<u64>>> = BTreeMap::new();
        for (id, times) in self.world.sink.event_ids() {
            assert_eq!(times, 1, "{id} was delivered more than once");
            let mut parts = id.split('#');
            let key = parts.next().unwrap().to_owned();
            let [version, record] = [(); 2].map(|()| parts.next().unwrap().parse::<u64>().unwrap());
            keys.entry(key).or_default().entry(version).or_default().insert(record);
        }
        let count = |(key, versions): (String, BTreeMap<u64, BTreeSet<u64>>)| {
            assert!(
                self.rules.collect || versions.len() == 1,
                "{key}: {versions:?}, though the first counts"
            );
            let records = versions.into_iter().map(|(version, records)| {
                assert!(records.iter().copied().eq(0..records.len() as u64), "{key}: a gap in {records:?}");
                (version, records.len() as u64)
            });
            let records = records.collect();
            (key, records)
        };
        keys.into_iter().map(count).collect()
    }

    /// Whether what is in the sink of a key is what the rule of its class asks for.
    fn is_whole(&self, key: &str, versions: &BTreeMap<u64, u64>) -> bool {
        let last = self.version(key);
        match (self.rules.collect, last) {
            (_, 0) => versions.get(&0) == Some(&RECORDS),
            (true, _) => self.loose.contains(key) || versions.get(&last) == Some(&RECORDS),
            // the old one with what was delivered of it, settled as replaced; or a whole one
            (false, _) => versions.iter().all(|(version, records)| *version < last || *records == RECORDS),
        }
    }

    fn check_counts(&self, report: &SourceReport) {
        let objects = &report.objects;
        let skipped: u64 = objects.skipped.values().sum();
        let sum = objects.collected + objects.empty + skipped + objects.failed + objects.quarantined;
        assert_eq!(objects.listed, sum, "each listed object ends in exactly one way: {objects:?}");
    }

    fn floors(&self) -> BTreeMap<(String, String), String> {
        let mut floors = BTreeMap::new();
        let Some(record) = self.world.state.source("main").unwrap() else { return floors };
        for (head, _) in self.world.state.leaves(record.key(), None, usize::MAX).unwrap() {
            for (time, marker) in self.world.state.markers(record.key(), &head).unwrap() {
                if let Some(floor) = marker.floor {
                    floors.insert((head.clone(), time.to_string()), floor);
                }
            }
        }
        floors
    }

    /// Everything appears, every prefix closes and is rechecked; then the sink holds what is owed.
    async fn settle(mut self) -> Totals {
        self.offset = 0;
        self.pass(0);
        for days in [1, 1, 1, 1, 1, 1, 3, 7, 31] {
            self.sweep_out().await;
            self.pass(days * 24 * 60);
        }
        self.sweep_out().await;
        let delivered = self.delivered();
        let is_owed = |key: &&String| self.rules.rechecks || !self.too_late.contains(*key);
        let is_whole = |key: &String| delivered.get(key).is_some_and(|versions| self.is_whole(key, versions));
        let lost: Vec<_> = self.owed.iter().filter(is_owed).filter(|key| !is_whole(key)).collect();
        let found: Vec<_> = lost.iter().map(|key| delivered.get(*key)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}, of which came {found:?}");
        let invented: Vec<_> = delivered
            .keys()
            .filter(|key| !self.owed.contains(*key) && !self.deleted.contains(*key))
            .collect();
        assert!(invented.is_empty(), "nobody put {invented:?}");
        let record = self.world.record();
        let entries = self.world.state.entries(record.key(), None, usize::MAX).unwrap();
        assert!(entries.iter().all(|(key, _)| !self.is_closed(key)), "closed prefixes have left the ledger");
        let rechecks = self.world.state.rechecks(record.key(), self.now, 9).unwrap();
        assert!(rechecks.is_empty(), "all rechecks that are due were done: {rechecks:?}");
        let missing = self.audit(&delivered).await;
        Totals {
            missing,
            owed: self.owed.len(),
            too_late: self.too_late.len(),
            changed: self.changed,
            power_cuts: self.power_cuts,
        }
    }
}

impl Model {
    /// The audit names what is missing and nothing else, one key more that history forgets behind its
    /// back; a repair brings all of that, once. Returns how many were missing.
    async fn audit(&self, delivered: &BTreeMap<String, BTreeMap<u64, u64>>) -> usize {
        // what was overwritten after its prefix had closed is new again where that is collected
        let is_sure = |key: &&String| !self.loose.contains(*key);
        let never: BTreeSet<String> =
            self.owed.iter().filter(is_sure).filter(|key| !delivered.contains_key(*key)).cloned().collect();
        let forgotten = delivered.keys().find(|key| self.owed.contains(*key) && self.version(key) == 0);
        let mut expected = never;
        if let Some(key) = forgotten {
            self.world.forget_in_history(key);
            expected.insert(key.clone());
        }
        let (named, audited) = self.missing().await;
        assert_eq!(named, expected, "named by the audit, and by the model; {forgotten:?} was forgotten");
        self.world.repair(audited.incomplete).await.ended.unwrap();
        assert_eq!(self.missing().await.0, BTreeSet::new(), "repaired");
        for (id, times) in self.world.sink.event_ids() {
            let twice = forgotten.is_some_and(|key| id.starts_with(&format!("{key}#")));
            assert_eq!(times, 1 + u64::from(twice), "{id} after the repair");
        }
        let ids_there = self.world.sink.event_ids();
        let is_there = |key: &&String| ids(key, 0).iter().all(|id| ids_there.contains_key(id));
        let lost: Vec<_> = self.owed.iter().filter(|key| self.version(key) == 0 && !is_there(key)).collect();
        assert!(lost.is_empty(), "after the repair: {lost:?}");
        expected.len()
    }

    /// What an audit of all time names as missing, but for what may be.
    async fn missing(&self) -> (BTreeSet<String>, Audited) {
        let (audited, told) = self.world.audit("2026-05-01T00:00:00Z", "2026-12-31T00:00:00Z").await;
        let named = told.into_iter().filter_map(|told| match told {
            Told::Object(object) => (object.standing == "missing").then_some(object.key),
            Told::Estimate(_) | Told::Gap(_) => None,
        });
        (named.filter(|key| !self.loose.contains(key)).collect(), audited)
    }
}

/// The event ids of a version of an object.
fn ids(key: &str, version: u64) -> Vec<String> {
    (0..RECORDS).map(|record| format!("{key}#{version}#{record}")).collect()
}

fn rules() -> impl Strategy<Value = Rules> {
    let bound = proptest::option::weighted(0.3, 1..6_u64);
    (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.25), bound)
        .prop_map(|(rechecks, collect, grows, bound)| Rules { rechecks, collect, grows, bound })
}

fn cases() -> u32 {
    needs::variable("S3SWEEP_MODEL_CASES").unwrap_or(1000)
}

#[test]
fn every_object_is_delivered_exactly_once() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let totals = std::cell::Cell::new(Totals::default());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    });
    runner
        .run(&(proptest::collection::vec(step(), 5..40), rules()), |(steps, rules)| {
            let one = runtime.block_on(async {
                let mut model = Model::new(rules);
                for step in steps {
                    model.take(step).await;
                }
                model.settle().await
            });
            let all = totals.get();
            totals.set(Totals {
                owed: all.owed + one.owed,
                too_late: all.too_late + one.too_late,
                changed: all.changed + one.changed,
                power_cuts: all.power_cuts + one.power_cuts,
                missing: all.missing + one.missing,
            });
            Ok(())
        })
        .unwrap();
    let Totals { owed, too_late, changed, power_cuts, missing } = totals.get();
    println!(
        "{} cases, {owed} objects owed, {too_late} of them after their prefix had closed, {changed} changed in flight, {missing} missing and repaired, {power_cuts} power cuts",
        cases()
    );
    let enough = cases() as usize;
    assert!(
        owed > enough && too_late > 0 && missing > 0 && changed > 0 && power_cuts > 0,
        "the cases hold too little to show anything"
    );
}
