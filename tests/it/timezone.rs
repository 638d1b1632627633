//! A source whose `timezone` changes: nothing is lost and nothing comes twice, to the east and to
//! the west and over a change of the clocks, also where no recheck would find it.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use s3sweep::pattern::PrefixPattern;

use crate::world::{World, at};

const DAYS: &str = "logs/{YYYY}/{mm}/{dd}";
const HOURS: &str = "logs/{YYYY}/{mm}/{dd}/{HH}";
/// The clocks of Berlin and Paris are set back on the 25th, at 01:00 UTC.
const BEGIN: &str = "2026-10-24T00:00:00Z";
/// Hours between two sweeps.
const EVERY: i64 = 2;

fn settings(pattern: &str, zone: Tz) -> String {
    format!(
        "prefix = \"{pattern}\"\ntimezone = \"{zone}\"\nstart = \"2026-10-20\"\nlateness = \"1H\"\nrecheck = []\nfile_pattern = '.*'"
    )
}

/// Writes an object at `when` into the folder that a writer in `zone` uses.
fn write(world: &World, pattern: &str, zone: Tz, when: DateTime<Utc>, number: usize) -> String {
    let pattern = PrefixPattern::parse(pattern).unwrap().in_timezone(zone);
    let leaf = pattern.leaf("logs/").unwrap();
    let key = format!("{}/{number:04}.json", leaf.prefix(leaf.time_of(when)).literal);
    world.put(&key, when);
    key
}

/// Sweeps from [`BEGIN`] on; after `change` hours writers and configuration change their zone.
async fn change_after(pattern: &str, old: Tz, new: Tz, change: i64) {
    let case = format!("{pattern}, {old} to {new} after {change} hours");
    let mut world = World::new(BEGIN, &settings(pattern, old));
    let mut keys = Vec::new();
    for hour in 0..change + 40 {
        let now = at(BEGIN) + TimeDelta::hours(hour);
        if hour == change {
            world.configure(&settings(pattern, new));
        }
        let zone = if hour < change { old } else { new };
        // on time, and within the lateness
        for (minutes, number) in [(1, 0), (50, 1)] {
            let written = now - TimeDelta::minutes(minutes);
            if zone == old || written >= at(BEGIN) + TimeDelta::hours(change) {
                keys.push(write(&world, pattern, zone, written, keys.len() + number));
            }
        }
        if hour % EVERY == change % EVERY {
            world.clock.set(now);
            world.sweep().await.ended.unwrap();
        }
    }
    for days in 3..6 {
        world.clock.set(at(BEGIN) + TimeDelta::days(days));
        world.sweep().await.ended.unwrap();
    }
    let delivered = world.sink.event_ids();
    let lost: Vec<_> = keys.iter().filter(|key| !delivered.contains_key(*key)).collect();
    assert!(lost.is_empty(), "{case}: lost {lost:?}");
    let twice: Vec<_> = delivered.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{case}: more than once: {twice:?}");
    let record = world.record();
    let left = world.state.entries(record.key(), None, 9).unwrap();
    let open = at(BEGIN) + TimeDelta::days(4);
    assert!(left.iter().all(|(_, entry)| entry.last_modified > open), "{case}: all has closed: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_and_nothing_comes_twice_when_it_changes() {
    let zones = ["UTC", "America/Los_Angeles", "Asia/Kolkata", "Europe/Berlin"];
    let zones = zones.map(|name| name.parse::<Tz>().unwrap());
    for (number, old) in zones.into_iter().enumerate() {
        for new in zones.into_iter().filter(|new| *new != old) {
            for pattern in [DAYS, HOURS] {
                change_after(pattern, old, new, 7 + 6 * number as i64).await;
            }
        }
    }
}

/// There and back again: what opened twice is still delivered once, and rechecked with all that is
/// known of it.
#[tokio::test(start_paused = true)]
async fn a_zone_that_changes_back_brings_nothing_twice() {
    let (utc, west) = (Tz::UTC, "America/Los_Angeles".parse::<Tz>().unwrap());
    let rechecked = |zone| settings(DAYS, zone).replace("recheck = []", "recheck = [\"1D\", \"7D\"]");
    let mut world = World::new(BEGIN, &rechecked(utc));
    let mut keys = vec![write(&world, DAYS, utc, at("2026-10-24T10:00:00Z"), 1)];
    for (now, zone) in [
        ("2026-10-25T02:00:00Z", utc), // the 24th closes
        ("2026-10-25T03:00:00Z", west),
        ("2026-10-25T04:00:00Z", utc),
        ("2026-10-25T05:00:00Z", west),
        ("2026-10-25T09:00:00Z", west), // and closes again
        ("2026-10-26T03:00:00Z", west),
        ("2026-11-02T12:00:00Z", west),
    ] {
        let now = at(now);
        world.configure(&rechecked(zone));
        world.clock.set(now);
        keys.push(write(&world, DAYS, zone, now - TimeDelta::minutes(1), keys.len() + 1));
        world.sweep().await.ended.unwrap();
    }
    let delivered = world.sink.event_ids();
    assert!(keys.iter().all(|key| delivered.get(key) == Some(&1)), "{keys:?} {delivered:?}");
    assert_eq!(delivered.len(), keys.len());
}
