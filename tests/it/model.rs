//! The promise against a model: whatever arrives in whatever order, late, below floors, overwritten
//! or deleted, while pages and objects fail, clocks step and the power goes at any durable
//! operation, every object is delivered exactly once. The model is a set of keys.
//!
//! `S3SWEEP_MODEL_CASES=50000 cargo test --test it model` runs more cases.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use s3sweep::failure::Class;
use s3sweep::testing::{Fault, When};

use crate::world::{World, at, trail_key};

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
}

fn step() -> impl Strategy<Value = Step> {
    // On time, within the lateness of an hour, and beyond it.
    let delay = prop_oneof![6 => 0..10_i64, 3 => 20..59_i64, 2 => 61..2500_i64];
    prop_oneof![
        8 => (0..3_u8, 0..240_i64, delay, any::<u16>())
            .prop_map(|(account, ago, delay, suffix)| Step::File { account, ago, delay, suffix: suffix.into() }),
        3 => prop_oneof![3 => 1..30_i64, 2 => 30..300_i64, 1 => 300..3000_i64].prop_map(Step::Pass),
        1 => prop_oneof![2 => Just(0), 1 => -200..200_i64, 1 => -3000..3000_i64].prop_map(Step::Clock),
        6 => (
            proptest::option::weighted(0.2, 1..8_u64),
            proptest::option::weighted(0.2, 1..6_u64),
            0..3_usize,
            proptest::option::weighted(0.3, (1..25_u64, any::<bool>())),
        )
            .prop_map(|(list, get, class, power)| Step::Sweep { list, get, class, power }),
        1 => any::<usize>().prop_map(Step::Overwrite),
        1 => any::<usize>().prop_map(Step::Delete),
        1 => any::<usize>().prop_map(Step::DeleteBeforeGet),
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
    rechecks: bool,
    versions: usize,
    power_cuts: usize,
}

/// What the cases held together.
#[derive(Clone, Copy, Default)]
struct Totals {
    owed: usize,
    too_late: usize,
    power_cuts: usize,
}

impl Model {
    fn new(rechecks: bool) -> Self {
        let settings = "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nstart = \"2026-06-01\"\nlateness = \"1H\"\n\
             discover_every = \"0M\"\nlist_page_size = 3\nfile_pattern = '.*'\nmax_attempts = 1000";
        let world = World::new(BEGIN, &format!("{settings}\n{}", if rechecks { "" } else { "recheck = []" }));
        let mut model = Model {
            world,
            now: at(BEGIN),
            offset: 0,
            coming: BTreeMap::new(),
            owed: BTreeSet::new(),
            deleted: BTreeSet::new(),
            too_late: BTreeSet::new(),
            below: BTreeSet::new(),
            rechecks,
            versions: 0,
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
                self.world.put(&key, when);
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
                if let Some((number, after)) = power {
                    self.world.fuse.set(number, after);
                }
                self.sweep().await;
            }
            Step::Overwrite(number) => {
                if let Some(key) = self.pick(number) {
                    self.versions += 1;
                    self.world.put_records(&key, &[format!("{key}#{}", self.versions)], self.now);
                    self.below.insert(key);
                }
            }
            Step::Delete(number) => {
                if let Some(key) = self.pick(number) {
                    self.world.bucket.delete(&key);
                    self.owed.remove(&key);
                    self.deleted.insert(key);
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
                        self.owed.remove(&key);
                        self.deleted.insert(key);
                    }
                }
            }
        }
    }

    async fn sweep(&mut self) {
        let floors = self.floors();
        let swept = self.world.sweep().await;
        self.world.faulty.heal();
        if self.world.fuse.mend() {
            self.power_cuts += 1;
            assert!(swept.ended.is_err(), "a sweep without power does not end well");
            return;
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
    }

    /// The keys in the sink, none twice in whatever versions.
    fn delivered(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for (id, times) in self.world.sink.event_ids() {
            let key = id.split('#').next().unwrap_or_default().to_owned();
            assert!(times == 1 && keys.insert(key), "{id} was delivered more than once");
        }
        keys
    }

    fn check_counts(&self, report: &s3sweep::sweep::report::SourceReport) {
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
            self.sweep().await;
            self.pass(days * 24 * 60);
        }
        self.sweep().await;
        let delivered = self.delivered();
        let is_owed = |key: &&String| self.rechecks || !self.too_late.contains(*key);
        let lost: Vec<_> = self.owed.difference(&delivered).filter(is_owed).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        let invented: Vec<_> = delivered
            .iter()
            .filter(|key| !self.owed.contains(*key) && !self.deleted.contains(*key))
            .collect();
        assert!(invented.is_empty(), "nobody put {invented:?}");
        let record = self.world.record();
        let entries = self.world.state.entries(record.key(), None, usize::MAX).unwrap();
        assert!(entries.iter().all(|(key, _)| !self.is_closed(key)), "closed prefixes have left the ledger");
        let rechecks = self.world.state.rechecks(record.key(), self.now, 9).unwrap();
        assert!(rechecks.is_empty(), "all rechecks that are due were done: {rechecks:?}");
        Totals { owed: self.owed.len(), too_late: self.too_late.len(), power_cuts: self.power_cuts }
    }
}

fn cases() -> u32 {
    #[allow(clippy::disallowed_methods, reason = "the number of cases is a matter of the test run")]
    std::env::var("S3SWEEP_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
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
        .run(&(proptest::collection::vec(step(), 5..40), any::<bool>()), |(steps, rechecks)| {
            let one = runtime.block_on(async {
                let mut model = Model::new(rechecks);
                for step in steps {
                    model.take(step).await;
                }
                model.settle().await
            });
            let all = totals.get();
            totals.set(Totals {
                owed: all.owed + one.owed,
                too_late: all.too_late + one.too_late,
                power_cuts: all.power_cuts + one.power_cuts,
            });
            Ok(())
        })
        .unwrap();
    let Totals { owed, too_late, power_cuts } = totals.get();
    println!(
        "{} cases, {owed} objects owed, {too_late} of them after their prefix had closed, {power_cuts} power cuts",
        cases()
    );
    let enough = cases() as usize;
    assert!(owed > enough && too_late > 0 && power_cuts > 0, "the cases hold too little to show anything");
}
