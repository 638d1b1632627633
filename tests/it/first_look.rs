//! The first look at a leaf whose dates are listed one by one: the dates that exist are found by
//! delimiter, and a date that has just begun or ended is open although it has no folder yet.

use chrono::{DateTime, TimeDelta, Utc};
use s3sweep::sweep::report::SourceReport;

use crate::world::{World, at};

const SETTINGS: &str = "prefix = \"logs/{YYYY}/{m}/{d}\"\nfile_pattern = '.*'\nstart = \"2026-03-01\"\n\
                        lateness = \"1H\"\ndiscover_every = \"0M\"";

async fn sweep(world: &World, now: &str, ahead: i64) -> SourceReport {
    world.bucket.set_clock(Some(at(now)));
    world.clock.set(at(now) + TimeDelta::days(ahead));
    let swept = world.sweep().await;
    swept.ended.unwrap();
    swept.report
}

fn put(world: &World, key: &str, when: DateTime<Utc>) {
    world.put(&format!("logs/{key}"), when);
}

/// At two in the morning yesterday is due, and its files come at three.
#[tokio::test(start_paused = true)]
async fn a_date_without_a_folder_at_the_first_look_is_rechecked() {
    let world = World::new("2026-06-02T02:00:00Z", SETTINGS);
    put(&world, "2026/3/9/old", at("2026-03-09T10:00:00Z"));
    let first = sweep(&world, "2026-06-02T02:00:00Z", 0).await;
    assert_eq!(first.objects.collected, 1);
    assert!(
        first.requests.list < 15,
        "{} LISTs: empty dates of months ago are not listed",
        first.requests.list
    );
    put(&world, "2026/6/1/late", at("2026-06-02T03:00:00Z"));
    put(&world, "2026/6/2/new", at("2026-06-02T04:00:00Z"));
    assert_eq!(sweep(&world, "2026-06-02T05:00:00Z", 0).await.objects.collected, 1, "today's");
    let report = sweep(&world, "2026-06-03T03:00:00Z", 0).await;
    assert_eq!((report.objects.collected, report.objects.late), (1, 1), "yesterday's, a day after");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_at_the_first_look_hides_no_date() {
    let world = World::new("2026-06-02T02:00:00Z", SETTINGS);
    put(&world, "2026/3/9/old", at("2026-03-09T10:00:00Z"));
    sweep(&world, "2026-06-02T02:00:00Z", 40).await;
    put(&world, "2026/6/2/new", at("2026-06-02T04:00:00Z"));
    put(&world, "2026/6/3/new", at("2026-06-03T04:00:00Z"));
    assert_eq!(sweep(&world, "2026-06-03T05:00:00Z", 0).await.objects.collected, 2);
    let record = world.record();
    let (_, leaf) = world.state.leaves(record.key(), None, 1).unwrap().remove(0);
    assert!(leaf.closed_through.to_string().as_str() <= "2026-06-03T00:00", "{}", leaf.closed_through);
}
