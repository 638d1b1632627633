//! A machine's clock that is wrong for a while: what the bucket's clock contradicts counts for
//! nothing that cannot be taken back.

use chrono::{DateTime, TimeDelta, Utc};
use s3sweep::sweep::report::SourceReport;

use crate::world::{World, at, trail_key};

const SETTINGS: &str = "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nstart = \"2026-06-01\"\nlateness = \"1H\"\n\
                        discover_every = \"0M\"";

/// Sweeps at `now` by the bucket's clock, with ours so many days ahead.
async fn sweep(world: &World, now: &str, ahead: i64) -> SourceReport {
    world.bucket.set_clock(Some(at(now)));
    world.clock.set(at(now) + TimeDelta::days(ahead));
    let swept = world.sweep().await;
    swept.ended.unwrap();
    swept.report
}

fn put(world: &World, minute: &str, appears: &str) {
    world.put(&trail_key(0, at(minute), 1), at(appears));
}

fn rechecks(world: &World) -> Vec<DateTime<Utc>> {
    let all = world.state.rechecks(world.record().key(), at("2036-01-01T00:00:00Z"), 99).unwrap();
    all.into_iter().map(|(due, ..)| due).collect()
}

/// 2026-06-01 closes, an object of it appears afterwards.
async fn closed(ahead: i64) -> World {
    let world = World::new("2026-06-01T12:00:00Z", SETTINGS);
    put(&world, "2026-06-01T10:00:00Z", "2026-06-01T10:05:00Z");
    sweep(&world, "2026-06-01T12:00:00Z", 0).await;
    sweep(&world, "2026-06-02T02:00:00Z", ahead).await;
    put(&world, "2026-06-01T11:00:00Z", "2026-06-02T10:00:00Z");
    world
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_for_an_hour_uses_up_no_recheck() {
    let world = closed(0).await;
    let planned = rechecks(&world);
    sweep(&world, "2026-06-02T03:00:00Z", 31).await;
    assert_eq!(rechecks(&world), planned, "none was done");
    let report = sweep(&world, "2026-06-03T03:00:00Z", 0).await;
    assert_eq!((report.objects.collected, report.objects.late), (1, 1), "at the first recheck");
}

#[tokio::test(start_paused = true)]
async fn a_closing_by_a_clock_that_is_ahead_is_rechecked_in_time() {
    let world = closed(31).await;
    assert_eq!(rechecks(&world), [at("2026-06-03T02:00:00Z")], "a day after it, by the bucket's clock");
    let report = sweep(&world, "2026-06-03T03:00:00Z", 0).await;
    assert_eq!((report.objects.collected, report.objects.late), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_years_ahead_deletes_no_history() {
    let world = closed(0).await;
    let history = world.state.history().unwrap();
    assert_eq!(history.len(), 1);
    put(&world, "2026-06-02T10:00:00Z", "2026-06-02T10:05:00Z");
    sweep(&world, "2026-06-02T12:00:00Z", 0).await;
    sweep(&world, "2026-06-03T01:45:00Z", 500).await; // closes the second day
    let files: Vec<_> = world.state.history().unwrap().into_iter().map(|(file, _)| file).collect();
    assert!(files.contains(&history[0].0), "{files:?}");
    assert!(files.iter().all(|file| world.state_dir().join("history").join(file).exists()), "{files:?}");
    // the first recheck reads it
    let report = sweep(&world, "2026-06-03T03:00:00Z", 0).await;
    assert_eq!(report.objects.collected, 1);
    assert!(world.sink.event_ids().values().all(|times| *times == 1));
}
