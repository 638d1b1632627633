//! Requests by count: what a sweep costs must not grow with the bucket.

use chrono::TimeDelta;
use s3sweep::sweep::report::SourceReport;

use crate::world::{World, at, trail_key};

const SETTINGS: &str = "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nstart = \"2026-06-01\"\nlateness = \"1H\"\n\
                        discover_every = \"1D\"";

/// A bucket with `today` objects in each of two leaves, and many of earlier days that a source
/// which starts today never looks at.
fn world(today: usize, before: usize) -> World {
    let world = World::new("2026-06-01T12:00:00Z", SETTINGS);
    for account in 0..2 {
        for number in 0..today {
            let minute = at("2026-06-01T00:00:00Z") + TimeDelta::minutes(number as i64 % 600);
            world.put(&trail_key(account, minute, number as u64), minute);
        }
        for number in 0..before {
            let minute = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(number as i64);
            world.put(&trail_key(account, minute, number as u64), minute);
        }
    }
    world
}

async fn sweep(world: &World, now: &str) -> SourceReport {
    world.clock.set(at(now));
    let swept = world.sweep().await;
    swept.ended.unwrap();
    swept.report
}

/// Requests of an idle sweep: everything is settled and old.
async fn idle(today: usize, before: usize) -> (u64, u64) {
    let world = world(today, before);
    let first = sweep(&world, "2026-06-01T12:00:00Z").await;
    assert_eq!(first.objects.collected, 2 * today as u64);
    // The floors move once the objects are older than the lateness.
    sweep(&world, "2026-06-01T13:30:00Z").await;
    let idle = sweep(&world, "2026-06-01T13:35:00Z").await;
    assert_eq!(idle.objects.collected, 0);
    (idle.requests.list, idle.requests.get)
}

#[tokio::test(start_paused = true)]
async fn an_idle_sweep_costs_one_list_per_leaf_with_10_objects() {
    assert_eq!(idle(5, 0).await, (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_sweep_costs_one_list_per_leaf_with_100_000_objects() {
    assert_eq!(idle(1_500, 48_500).await, (2, 0));
}

/// A first sweep costs the discovery, one LIST per prefix at most, and a page per thousand keys.
#[tokio::test(start_paused = true)]
async fn a_first_sweep_costs_the_discovery_a_list_per_prefix_and_the_pages() {
    for (name, objects) in [("a few", 3_u64), ("three pages", 2_500)] {
        let world = world(objects as usize, 10);
        let report = sweep(&world, "2026-06-01T12:00:00Z").await;
        let (discovery, leaves, prefixes) = (1, 2, 1);
        let bound = discovery + leaves * (prefixes + objects / 1000);
        assert!(report.requests.list <= bound, "{name}: {} LIST, bound {bound}", report.requests.list);
        assert_eq!(report.requests.get, leaves * objects, "{name}");
    }
}

/// Twenty days of one leaf, as a range and one by one: with the folders of dates on top.
#[tokio::test(start_paused = true)]
async fn many_days_cost_a_list_per_prefix_and_the_pages_at_first_and_one_per_open_prefix_later() {
    const DAYS: u64 = 20;
    const PAGE: u64 = 100;
    // LISTs of folders: the years, the months of one, the days of two
    for (prefix, folders, open) in [("logs/{YYYY}/{mm}/{dd}", 0, 1), ("logs/{YYYY}/{m}/{d}", 1 + 1 + 2, 2)] {
        for (name, per_day) in [("a few keys", 3_u64), ("two pages a day", 150)] {
            let settings = format!(
                "prefix = \"{prefix}\"\nfile_pattern = '.*'\nstart = \"2026-05-24\"\nlateness = \"1H\"\n\
                 discover_every = \"1D\"\nkey_order = \"time\"\nlist_page_size = {PAGE}"
            );
            let world = World::new("2026-06-12T12:00:00Z", &settings);
            let leaf = world.config.sources[0].pattern.leaf("logs/").unwrap();
            for day in 0..DAYS {
                let midnight = at("2026-05-24T00:00:00Z") + TimeDelta::days(day as i64);
                let folder = leaf.prefix(leaf.time_of(midnight)).literal;
                for number in 0..per_day {
                    world.put(&format!("{folder}/{number:04}"), midnight);
                }
            }
            let first = sweep(&world, "2026-06-12T12:00:00Z").await;
            let objects = DAYS * per_day;
            assert_eq!(first.objects.collected, objects, "{prefix}, {name}");
            assert_eq!(first.requests.get, objects, "{prefix}, {name}");
            let bound = folders + DAYS + objects / PAGE;
            assert!(
                first.requests.list <= bound,
                "{prefix}, {name}: {} LIST, bound {bound}",
                first.requests.list
            );

            sweep(&world, "2026-06-12T14:00:00Z").await;
            let idle = sweep(&world, "2026-06-12T14:05:00Z").await;
            assert_eq!((idle.objects.collected, idle.requests.get), (0, 0), "{prefix}, {name}");
            assert!(idle.requests.list <= open, "{prefix}, {name}: {} LIST when idle", idle.requests.list);
            // between midnight and closing two days are open
            let night = sweep(&world, "2026-06-13T00:30:00Z").await;
            assert!(
                night.requests.list <= open + 1,
                "{prefix}, {name}: {} LIST at night",
                night.requests.list
            );
        }
    }
}

/// Between midnight and closing two days are open, and are one key range; closing yesterday
/// costs no call of its own.
#[tokio::test(start_paused = true)]
async fn closing_costs_no_call_of_its_own() {
    let world = world(50, 0);
    sweep(&world, "2026-06-01T12:00:00Z").await;
    sweep(&world, "2026-06-01T23:00:00Z").await;
    let open = sweep(&world, "2026-06-02T00:30:00Z").await;
    assert_eq!(open.requests.list, 2, "two open days of a leaf are listed together");
    let closing = sweep(&world, "2026-06-02T01:30:00Z").await;
    assert_eq!(closing.requests.list, 2, "closing lists yesterday from its start in the same call");
    let record = world.record();
    for (head, leaf) in world.state.leaves(record.key(), None, 9).unwrap() {
        assert_eq!(leaf.closed_through.to_string(), "2026-06-02T00:00", "{head}");
    }
    assert!(world.state.entries(record.key(), None, 9).unwrap().is_empty(), "the ledger went to the history");
}

/// A week of keys between two open prefixes is jumped over, not paged through.
#[tokio::test(start_paused = true)]
async fn closed_prefixes_between_open_ones_are_jumped_over() {
    // with and without a day that has no keys behind the one that waits
    for begin in ["2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z"] {
        let world = world(10, 0);
        let stuck = trail_key(0, at("2026-06-01T05:00:00Z"), 77);
        world.put(&stuck, at("2026-06-01T05:00:00Z"));
        world.bucket.set_archived(&stuck, true);
        for number in 0..4_000 {
            let minute = at(begin) + TimeDelta::minutes(number);
            world.put(&trail_key(0, minute, number as u64), minute);
        }
        let first = sweep(&world, "2026-06-06T12:00:00Z").await;
        assert_eq!((first.objects.failed, first.objects.collected), (1, 4_020), "{begin}: {first:?}");
        sweep(&world, "2026-06-06T14:00:00Z").await;
        let idle = sweep(&world, "2026-06-06T14:05:00Z").await;
        assert_eq!(idle.requests.get, 0, "{begin}: an archived object is looked at once a day");
        assert!(idle.requests.list <= 3, "{begin}: {} LIST for two leaves", idle.requests.list);
        assert_eq!(idle.objects.failed, 0, "{begin}: its prefix was listed in full: it waits by name");
    }
}

/// Behind the last prefix that is open nothing is paged through.
#[tokio::test(start_paused = true)]
async fn a_day_that_is_listed_again_costs_its_own_pages() {
    let settings = format!("{SETTINGS}\nlist_page_size = 100\nrecheck = [\"1D\", \"10D\"]");
    let world = World::new("2026-06-06T12:00:00Z", &settings);
    let stuck = trail_key(0, at("2026-06-01T05:00:00Z"), 77);
    world.put(&stuck, at("2026-06-01T05:00:00Z"));
    world.bucket.set_archived(&stuck, true);
    for number in 0..4_000 {
        let minute = at("2026-06-02T00:00:00Z") + TimeDelta::minutes(number);
        world.put(&trail_key(0, minute, number as u64), minute);
    }
    for day in 6..12 {
        sweep(&world, &format!("2026-06-{day:02}T14:00:00Z")).await;
    }
    // as old as the last recheck: its day is looked at once more
    let again = sweep(&world, "2026-06-12T14:00:00Z").await;
    assert_eq!(again.objects.collected, 0);
    assert!((3..=8).contains(&again.requests.list), "{} LIST, 40 pages are closed", again.requests.list);
}
