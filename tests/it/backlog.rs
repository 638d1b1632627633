//! A first sweep of years: new days stay live beside it, and what closes stays closed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use s3sweep::failure::Class;
use s3sweep::state::{Batch, Change, Pair, State, StateError};
use s3sweep::sweep::report::SourceReport;
use s3sweep::testing::{Fault, When};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::world::{Power, World, at, trail_key};

const SETTINGS: &str = "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nstart = \"2026-02-01\"\nlateness = \"1H\"\n\
                        recheck = []";
const NOW: &str = "2026-06-01T12:00:00Z";

/// An object at noon of each day from the start to today; returns how many.
fn put_days(world: &World) -> i64 {
    let days = (at(NOW) - at("2026-02-01T12:00:00Z")).num_days() + 1;
    for day in 0..days {
        put(world, 0, at("2026-02-01T12:00:00Z") + TimeDelta::days(day));
    }
    days
}

fn put(world: &World, account: u8, minute: DateTime<Utc>) -> String {
    let key = trail_key(account, minute, 1);
    world.put(&key, minute);
    key
}

async fn sweep(world: &World, now: &str) -> SourceReport {
    world.clock.set(at(now));
    let swept = world.sweep().await;
    swept.ended.unwrap();
    swept.report
}

/// A state that stops once amid many closings, until a test lets it go on.
struct Gate {
    inner: Arc<dyn State>,
    /// Prefixes closed so far.
    closed: AtomicUsize,
    reached: UnboundedSender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl State for Gate {
    fn apply(&self, batch: &Batch) -> Result<(), StateError> {
        let closes = |change: &&Change| matches!(change, Change::PutMarker(_, _, _, marker) if marker.closed);
        let closing = batch.0.iter().filter(closes).count();
        let before = self.closed.fetch_add(closing, Ordering::Relaxed);
        if (50..100).contains(&before) && closing > 0 {
            self.reached.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
        self.inner.apply(batch)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        self.inner.scan(from, to, limit)
    }
}

/// A leaf has more closings than one batch holds. A live pass begins between two of the batches, and
/// ends after the last.
#[tokio::test(start_paused = true)]
async fn a_live_pass_amid_many_closings_opens_nothing_again() {
    let mut world = World::new(NOW, &format!("{SETTINGS}\ndiscover_every = \"90D\""));
    let days = put_days(&world);
    let ((reached, mut is_reached), (go_on, may_go_on)) = (unbounded_channel(), mpsc::channel());
    world.state = Arc::new(Gate {
        inner: world.state.clone(),
        closed: AtomicUsize::new(0),
        reached,
        go_on: Mutex::new(may_go_on),
    });
    // discovery, live pass, backlog, and the second live pass: it is answered when all is closed
    world.faulty.on_list(When::Nth(4), Fault::Delay(Duration::from_secs(60)));
    let amid = async {
        is_reached.recv().await.unwrap();
        tokio::time::advance(world.config.sources[0].recurrence).await;
        for _ in 0..20 {
            tokio::task::yield_now().await; // the live pass sends its LIST
        }
        go_on.send(()).unwrap();
    };
    let (report, ()) = tokio::join!(sweep(&world, NOW), amid);
    assert_eq!((report.objects.collected, report.requests.list), (days as u64, 4));

    let record = world.record();
    let (_, leaf) = world.state.leaves(record.key(), None, 1).unwrap().remove(0);
    assert_eq!(leaf.closed_through.to_string(), "2026-06-01T00:00", "all days before today stay closed");
    assert_eq!(sweep(&world, "2026-06-01T12:05:00Z").await.objects.collected, 0);
    assert!(world.sink.event_ids().values().all(|times| *times == 1), "each once");
}

/// The backlog takes twenty minutes. Meanwhile a leaf appears, and an object that failed is there.
#[tokio::test(start_paused = true)]
async fn leaves_and_failed_objects_do_not_wait_for_the_backlog() {
    let world = World::new(NOW, &format!("{SETTINGS}\ndiscover_every = \"0M\""));
    put_days(&world);
    let (failing, old) = (trail_key(0, at(NOW), 1), trail_key(0, at("2026-02-01T12:00:00Z"), 1));
    let gets = Arc::new(AtomicUsize::new(0));
    let of_failing = failing.clone();
    let is_early = move |_, key: &str| key == of_failing && gets.fetch_add(1, Ordering::Relaxed) < 6;
    world.faulty.on_get(When::Matches(Box::new(is_early)), Fault::Fail(Class::Transient));
    world.faulty.on_list(When::Nth(3), Fault::Delay(Duration::from_secs(20 * 60)));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(6 * 60)).await;
        let appeared = put(&world, 7, at("2026-06-01T11:00:00Z"));
        tokio::time::sleep(Duration::from_secs(10 * 60)).await;
        let there = world.sink.event_ids();
        [&appeared, &failing, &old].map(|key| there.contains_key(key))
    };
    let (report, there) = tokio::join!(sweep(&world, NOW), meanwhile);
    assert_eq!(there, [true, true, false], "the new leaf, what had failed, and the backlog");
    assert!(world.sink.event_ids().values().all(|times| *times == 1), "each once");
    let objects = &report.objects;
    assert_eq!((objects.failed, report.has_failures(), report.leaves), (0, false, 2), "{report:?}");
    assert_eq!(objects.listed, objects.collected, "what was tried twice is counted once");
    assert!(report.failures.is_empty(), "{:?}", report.failures);
}

/// An object fails, and the sweep is cut off at any durable operation.
#[tokio::test(start_paused = true)]
async fn what_failed_in_a_sweep_that_did_not_end_is_tried_by_the_next() {
    let mut was_kept = 0;
    for number in 1..20 {
        let world = World::new(NOW, &format!("{SETTINGS}\ndiscover_every = \"90D\""));
        let key = put(&world, 0, at("2026-06-01T11:00:00Z"));
        world.faulty.on_get(When::Always, Fault::Fail(Class::Object));
        world.fuse.set(Power::Operation { number, after: false });
        let swept = world.sweep().await;
        assert_eq!(swept.ended.is_err(), world.fuse.mend().is_some(), "operation {number}");
        let is_cut = swept.ended.is_err();
        let record = world.state.source("main").unwrap();
        let kept = record.is_some_and(|record| world.state.failed(record.key(), &key).unwrap().is_some());
        was_kept += usize::from(is_cut && kept);
        world.faulty.heal();
        let report = sweep(&world, "2026-06-01T12:05:00Z").await;
        assert_eq!((report.objects.listed, report.objects.collected), (1, 1), "operation {number}");
    }
    assert!(was_kept > 0, "none of the sweeps was cut off with a failed object");
}
