//! The promise against a model: whatever arrives in whatever order, late, below floors, while
//! pages fail and clocks step, every key that appeared before its prefix closed is collected
//! exactly once. The model is a set of keys.
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
    /// A sweep; the LIST and the GET with these numbers fail.
    Sweep { list: Option<u64>, get: Option<u64>, class: bool },
}

fn step() -> impl Strategy<Value = Step> {
    // On time, within the lateness of an hour, and beyond it.
    let delay = prop_oneof![6 => 0..10_i64, 3 => 20..59_i64, 2 => 61..2500_i64];
    prop_oneof![
        8 => (0..3_u8, 0..240_i64, delay, any::<u16>())
            .prop_map(|(account, ago, delay, suffix)| Step::File { account, ago, delay, suffix: suffix.into() }),
        3 => prop_oneof![3 => 1..30_i64, 2 => 30..300_i64, 1 => 300..3000_i64].prop_map(Step::Pass),
        1 => prop_oneof![2 => Just(0), 1 => -200..200_i64, 1 => -3000..3000_i64].prop_map(Step::Clock),
        4 => (proptest::option::weighted(0.3, 1..8_u64), proptest::option::weighted(0.3, 1..6_u64), any::<bool>())
            .prop_map(|(list, get, class)| Step::Sweep { list, get, class }),
    ]
}

/// What should be.
struct Model {
    world: World,
    now: DateTime<Utc>,
    offset: i64,
    /// Keys that are still to appear, by their time.
    coming: BTreeMap<DateTime<Utc>, BTreeSet<String>>,
    /// Keys that must be collected.
    owed: BTreeSet<String>,
    /// Keys that appeared after their prefix had closed.
    too_late: BTreeSet<String>,
}

impl Model {
    fn new() -> Self {
        let world = World::new(
            BEGIN,
            "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nstart = \"2026-06-01\"\nlateness = \"1H\"\n\
             discover_every = \"0M\"\nlist_page_size = 3\nfile_pattern = '.*'",
        );
        let now = at(BEGIN);
        let mut model = Model {
            world,
            now,
            offset: 0,
            coming: BTreeMap::new(),
            owed: BTreeSet::new(),
            too_late: BTreeSet::new(),
        };
        model.pass(0);
        model
    }

    /// The first instant whose prefixes are open in every case: what is before may be closed.
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
                let closed = self.is_closed(&key);
                if self.world.bucket.object(&key).is_none() {
                    self.world.put(&key, when);
                    if closed {
                        self.too_late.insert(key)
                    } else {
                        self.owed.insert(key)
                    };
                }
            }
        }
        self.world.bucket.set_clock(Some(self.now));
        self.world.clock.set(self.now + TimeDelta::minutes(self.offset));
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
            Step::Sweep { list, get, class } => {
                let class = if class { Class::Unreachable } else { Class::Object };
                if let Some(number) = list {
                    self.world.faulty.on_list(When::Nth(number), Fault::Fail(Class::Unreachable));
                }
                if let Some(number) = get {
                    self.world.faulty.on_get(When::Nth(number), Fault::Fail(class));
                }
                self.sweep().await;
            }
        }
    }

    async fn sweep(&mut self) {
        let floors = self.floors();
        let swept = self.world.sweep().await;
        swept.ended.unwrap();
        self.world.faulty.heal();
        self.check_counts(&swept.report);
        for (place, floor) in self.floors() {
            assert!(
                floors.get(&place).is_none_or(|before| *before <= floor),
                "a floor moved back: {place:?}"
            );
        }
        for (key, times) in self.world.sink.event_ids() {
            assert_eq!(times, 1, "{key} was delivered more than once");
        }
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

    /// Everything appears, every prefix closes; then the sink must hold what is owed.
    async fn settle(mut self) -> (usize, usize) {
        self.offset = 0;
        self.pass(0);
        for _ in 0..6 {
            self.sweep().await;
            self.pass(24 * 60);
        }
        self.sweep().await;
        let delivered: BTreeSet<String> = self.world.sink.event_ids().into_keys().collect();
        let lost: Vec<_> = self.owed.difference(&delivered).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        let open = self.owed.iter().filter(|key| !self.is_closed(key)).count();
        let record = self.world.record();
        let entries = self.world.state.entries(record.key(), None, usize::MAX).unwrap();
        let recent = entries.iter().filter(|(key, _)| !self.is_closed(key)).count();
        assert_eq!(entries.len(), recent, "closed prefixes have left the ledger");
        (self.owed.len() - open, self.too_late.len())
    }
}

fn cases() -> u32 {
    #[allow(clippy::disallowed_methods, reason = "the number of cases is a matter of the test run")]
    std::env::var("S3SWEEP_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
}

#[test]
fn every_key_that_appears_before_its_prefix_closes_is_collected_exactly_once() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let totals = std::cell::Cell::new((0_usize, 0_usize));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    });
    runner
        .run(&proptest::collection::vec(step(), 5..40), |steps| {
            let (closed, too_late) = runtime.block_on(async {
                let mut model = Model::new();
                for step in steps {
                    model.take(step).await;
                }
                model.settle().await
            });
            let (all, late) = totals.get();
            totals.set((all + closed, late + too_late));
            Ok(())
        })
        .unwrap();
    let (closed, too_late) = totals.get();
    println!("{} cases, {closed} keys owed, {too_late} after their prefix had closed", cases());
    assert!(closed > cases() as usize, "the cases hold too few keys to show anything");
}
