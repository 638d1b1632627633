//! The promise against a model: whatever arrives in whatever order, late, below floors, overwritten
//! or deleted, while pages, objects and the sink fail, clocks step and the power goes at any durable
//! operation and any named place, every object is delivered exactly once, in every layout. The model
//! is a set of keys.
//!
//! `S3SWEEP_MODEL_CASES=50000 cargo test --test it model` runs more cases.

mod layout;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use s3sweep::failpoint;
use s3sweep::failure::Class;
use s3sweep::sweep::audit::{Audited, Told};
use s3sweep::sweep::report::SourceReport;
use s3sweep::testing::{Fault, When};

use crate::needs;
use crate::world::{Cut, Fuse, Power, World, at, trail_body};
use step::{Change, PLACES, Rules, Step, rules, step};

const BEGIN: &str = "2026-06-01T22:00:00Z";

/// Records of a version of an object.
const RECORDS: u64 = 3;

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
    troubles: usize,
    power_cuts: BTreeMap<Cut, usize>,
}

/// What the cases held together.
#[derive(Clone, Debug, Default)]
struct Totals {
    owed: usize,
    too_late: usize,
    changed: usize,
    troubles: usize,
    power_cuts: BTreeMap<Cut, usize>,
    missing: usize,
}

impl Totals {
    fn add(&mut self, one: Totals) {
        self.owed += one.owed;
        self.too_late += one.too_late;
        self.changed += one.changed;
        self.troubles += one.troubles;
        self.missing += one.missing;
        for (cut, times) in one.power_cuts {
            *self.power_cuts.entry(cut).or_default() += times;
        }
    }
}

/// The lines of a source's table.
fn settings(rules: Rules, place: &str) -> String {
    let recheck = if rules.rechecks { "" } else { "recheck = []\n" };
    let overwrite = if rules.collect { "on_overwrite = \"collect\"" } else { "" };
    let bound = rules.bound.map(|bound| format!("\nmax_objects_per_sweep = {bound}")).unwrap_or_default();
    format!(
        "{place}\nstart = \"2026-06-01\"\nlateness = \"1H\"\ndiscover_every = \"0M\"\nlist_page_size = 3\n\
         file_pattern = '.*'\nmax_attempts = 1000\n{recheck}{overwrite}{bound}"
    )
}

impl Model {
    fn new(rules: Rules) -> Self {
        let world = World::new(BEGIN, &settings(rules, rules.layout.settings()));
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
            troubles: 0,
            power_cuts: BTreeMap::new(),
        };
        model.pass(0);
        model
    }

    /// A sweep with another pattern, under which nothing lies, and one amid whose change to this one
    /// the power goes.
    async fn with_another_pattern(&mut self, number: u64) {
        self.world.configure(&settings(self.rules, "prefix = \"elsewhere/*/{YYYY}/{mm}/{dd}\""));
        self.sweep().await;
        self.world.configure(&settings(self.rules, self.rules.layout.settings()));
        self.sweep_with(Some(Power::Place { name: "at-generation-change", number })).await;
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
                self.coming
                    .entry(appears)
                    .or_default()
                    .insert(self.rules.layout.key(account, minute, suffix));
                self.pass(0);
            }
            Step::Pass(minutes) => self.pass(minutes),
            Step::Clock(offset) => {
                self.offset = offset;
                self.pass(0);
            }
            Step::Sweep { list, get, class, down, power } => {
                let class = [Class::Unreachable, Class::Object, Class::Transient][class];
                if let Some(number) = list {
                    self.world.faulty.on_list(When::Nth(number), Fault::Fail(Class::Unreachable));
                }
                if let Some(number) = get {
                    self.world.faulty.on_get(When::Nth(number), Fault::Fail(class));
                }
                if let Some(down) = down {
                    self.world.trouble.set(down.first, down.calls, down.fault);
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
                self.interrupt(self.rules.layout.key(account, minute, suffix), change, at_once, power).await;
            }
            Step::Grow { account, suffix, cut, minutes, power } => {
                let key = self.rules.layout.key(account, self.now, suffix);
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

    async fn interrupt(&mut self, key: String, change: Change, at_once: bool, power: Option<Power>) {
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

    async fn sweep_with(&mut self, power: Option<Power>) {
        if let Some(power) = power {
            self.world.fuse.set(power);
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
        self.troubles += usize::from(self.world.trouble.end());
        if let Some(cut) = self.world.fuse.mend() {
            *self.power_cuts.entry(cut).or_default() += 1;
            // a place may be the last thing that a sweep passes
            let ends_well = swept.ended.is_ok();
            assert!(!ends_well || cut != Cut::Operation, "a sweep without power does not end well");
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
        for (number, days) in [1, 1, 1, 1, 1, 1, 3, 7, 31].into_iter().enumerate() {
            if let Some(power) = self.rules.closing.filter(|_| number == 1) {
                self.world.fuse.set(power);
            }
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
            troubles: self.troubles,
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
        // what has no dates has no history
        let keys = delivered.keys().filter(|_| !self.rules.layout.is_open_ended());
        let mut keys = keys.filter(|key| self.owed.contains(*key) && self.version(key) == 0);
        let forgotten = keys.next();
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

fn cases() -> u32 {
    needs::variable("S3SWEEP_MODEL_CASES").unwrap_or(1000)
}

/// A runtime with paused time; each thread of it tells the fuse of the case what it passes.
fn runtime(fuse: &Arc<Mutex<Fuse>>) -> tokio::runtime::Runtime {
    let watch = {
        let fuse = fuse.clone();
        move || {
            let fuse = fuse.clone();
            failpoint::watch(move |place| fuse.lock().unwrap().passes(place));
        }
    };
    watch();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).on_thread_start(watch).build().unwrap()
}

/// Runs so many cases; what they held together.
fn run(cases: u32) -> Totals {
    let fuse = Arc::<Mutex<Fuse>>::default();
    let runtime = runtime(&fuse);
    let totals = std::cell::RefCell::new(Totals::default());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    });
    runner
        .run(&(proptest::collection::vec(step(), 5..40), rules()), |(steps, rules)| {
            let one = runtime.block_on(async {
                let mut model = Model::new(rules);
                *fuse.lock().unwrap() = model.world.fuse.clone();
                if let Some(number) = rules.had_another {
                    model.with_another_pattern(number).await;
                }
                for step in steps {
                    model.take(step).await;
                }
                model.settle().await
            });
            totals.borrow_mut().add(one);
            Ok(())
        })
        .unwrap();
    totals.into_inner()
}

#[test]
fn every_object_is_delivered_exactly_once() {
    // two lanes: a case is one thread's work
    let totals = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(cases() / 2));
        let mut totals = run(cases() - cases() / 2);
        totals.add(other.join().unwrap());
        totals
    });
    let cuts: usize = totals.power_cuts.values().sum();
    println!("{} cases with {cuts} power cuts: {totals:?}", cases());
    let enough = cases() as usize;
    let Totals { owed, too_late, changed, troubles, power_cuts, missing } = &totals;
    assert!(
        *owed > enough && *too_late > 0 && *missing > 0 && *changed > 0 && *troubles > 0 && cuts > 0,
        "the cases hold too little to show anything"
    );
    let never = PLACES.into_iter().filter(|place| !power_cuts.contains_key(&Cut::Place(place)));
    let never: Vec<_> = never.collect();
    assert!(never.is_empty() || enough < 1000, "the power never went at {never:?}");
}
