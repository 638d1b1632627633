//! Sweeps that end at a bound: the next ones bring the rest, once, and nothing closes before.

use std::time::Duration;

use chrono::TimeDelta;
use s3sweep::sweep::report::SourceReport;
use s3sweep::testing::{Fault, When};

use crate::world::{World, at, trail_key};

const NOW: &str = "2026-06-04T12:00:00Z";
/// A day of the first sweep that is long over, and closes with it.
const START: &str = "start = \"2026-06-01\"\nlateness = \"1H\"\nrecheck = []";

/// Patterns whose listings are a range of days, one for each day, and one that never closes.
const PATTERNS: [(&str, &str); 4] = [
    ("a range", "prefix = \"AWSLogs/*/CloudTrail/us-east-1\""),
    ("a range without floors", "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nkey_order = \"none\""),
    (
        "a listing for each day",
        "prefix = \"AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}/*_CloudTrail_*Z_\"",
    ),
    ("open-ended", "prefix = \"AWSLogs/\"\nkey_order = \"none\""),
];

/// Ten objects of two records on each of four days, in two leaves.
fn world(pattern: &str, bound: &str) -> World {
    let world = World::new(NOW, &format!("{pattern}\n{START}\n{bound}\nlist_page_size = 3"));
    for number in 0..40_i64 {
        let minute = at("2026-06-01T01:00:00Z") + TimeDelta::hours(24 * (number / 10) + number % 10);
        let key = trail_key((number % 2) as u8, minute, number as u64);
        world.put_records(&key, &[0, 1].map(|record| format!("{key}#{record}")), minute);
    }
    world
}

async fn sweep(world: &World) -> SourceReport {
    let swept = world.sweep().await;
    swept.ended.unwrap();
    swept.report
}

/// The objects whose prefix is closed; each was delivered.
fn closed(world: &World) -> usize {
    let (record, pattern) = (world.record(), &world.config.sources[0].pattern);
    let leaves = world.state.leaves(record.key(), None, usize::MAX).unwrap();
    let is_closed = |key: &String| {
        leaves.iter().any(|(head, stored)| {
            let leaf = pattern.leaf(head).unwrap();
            let Some(time) = leaf.prefix_of_key(key) else { return false };
            let marker = world.state.marker(record.key(), head, time).unwrap();
            !stored.is_open(time, marker.as_ref())
        })
    };
    let keys: Vec<_> = world.bucket.keys().into_iter().filter(is_closed).collect();
    let delivered = world.sink.event_ids();
    let left: Vec<_> = keys.iter().filter(|key| !delivered.contains_key(&format!("{key}#0"))).collect();
    assert!(left.is_empty(), "closed over {left:?}");
    keys.len()
}

#[tokio::test(start_paused = true)]
async fn the_rest_follows_with_the_next_sweeps() {
    for (name, pattern) in PATTERNS {
        for (bound, sweeps, most) in [
            ("max_objects_per_sweep = 7", 6, 7),
            ("max_objects_per_sweep = 40", 1, 40),
            ("max_objects_per_sweep = 1", 40, 1),
            // objects under way are finished: with a throttle eight at a time
            ("max_records_per_sweep = 20\neps_throttle = 100000", 4, 10 + 8),
        ] {
            let (world, mut collected, mut made) = (world(pattern, bound), 0, 0);
            loop {
                let report = sweep(&world).await;
                made += 1;
                assert!((1..=most).contains(&report.objects.collected), "{name}, {bound}: {report:?}");
                collected += report.objects.collected;
                let word = bound.split(' ').next();
                match report.bounded_by.as_deref() {
                    None => break,
                    Some(by) => assert_eq!(Some(by), word, "{name}"),
                }
                closed(&world);
                let counts = &report.objects;
                let skipped: u64 = counts.skipped.values().sum();
                assert_eq!(
                    counts.listed,
                    counts.collected + skipped,
                    "{name}, {bound}: what is left is not counted"
                );
                assert!(made < 60, "{name}, {bound}: no end");
            }
            assert_eq!(collected, 40, "{name}, {bound}");
            assert!(made <= sweeps, "{name}, {bound}: {made} sweeps");
            let delivered = world.sink.event_ids();
            assert_eq!(delivered.len(), 80, "{name}, {bound}");
            assert!(delivered.values().all(|times| *times == 1), "{name}, {bound}: each record once");
            assert_eq!(sweep(&world).await.objects.collected, 0, "{name}, {bound}");
            assert_eq!(closed(&world), if name == "open-ended" { 0 } else { 30 }, "{name}, {bound}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_had_its_time_lists_no_more() {
    for (name, pattern) in PATTERNS {
        let mut world = world(pattern, "max_sweep_duration = \"30S\"\neps_throttle = 1");
        // two records an object, one a second
        let report = sweep(&world).await;
        assert_eq!(report.bounded_by.as_deref(), Some("max_sweep_duration"), "{name}");
        assert!((10..=18).contains(&report.objects.collected), "{name}: {report:?}");
        assert!(report.seconds < 40.0, "{name}: {report:?}");
        // a first LIST that takes all of it leaves its finds, too
        world.faulty.on_list(When::Always, Fault::Delay(Duration::from_secs(31)));
        let report = sweep(&world).await;
        assert_eq!((report.objects.collected, report.bounded_by.is_some()), (0, true), "{name}: {report:?}");
        world.faulty.heal();
        world.configure(&format!("{pattern}\n{START}"));
        sweep(&world).await;
        let delivered = world.sink.event_ids();
        assert_eq!((delivered.len(), delivered.values().sum::<u64>()), (80, 80), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_objects_wait_for_a_sweep_with_room() {
    let world = world(PATTERNS[0].1, "max_objects_per_sweep = 39");
    world.faulty.on_get(When::numbers(1..=4), Fault::Fail(s3sweep::failure::Class::Object));
    let first = sweep(&world).await;
    assert_eq!((first.objects.failed, first.bounded_by.as_deref()), (4, Some("max_objects_per_sweep")));
    world.faulty.heal();
    while sweep(&world).await.bounded_by.is_some() {}
    let delivered = world.sink.event_ids();
    assert_eq!((delivered.len(), delivered.values().sum::<u64>()), (80, 80));
}
