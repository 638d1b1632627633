//! Rechecks of closed prefixes and the comparison in full of open-ended ones: what appears below a
//! floor or after the closing is collected once, and counted as late.

use chrono::TimeDelta;
use s3sweep::failure::Class;
use s3sweep::sweep::report::SourceReport;
use s3sweep::testing::{Fault, When};

use crate::world::{World, at, trail_key};

const SETTINGS: &str = "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nstart = \"2026-06-01\"\nlateness = \"1H\"\ndiscover_every = \"90D\"";

async fn sweep(world: &World, now: &str) -> SourceReport {
    world.clock.set(at(now));
    let swept = world.sweep().await;
    swept.ended.unwrap();
    swept.report
}

/// Collected, late, failed, LIST and GET requests.
fn figures(report: &SourceReport) -> (u64, u64, u64, u64, u64) {
    let objects = &report.objects;
    (objects.collected, objects.late, objects.failed, report.requests.list, report.requests.get)
}

fn put(world: &World, minute: &str, suffix: u64, appears: &str) -> String {
    let key = trail_key(0, at(minute), suffix);
    world.put(&key, at(appears));
    key
}

/// Closes 2026-06-01 with two objects.
async fn closed(settings: &str) -> World {
    let world = World::new("2026-06-01T12:00:00Z", settings);
    put(&world, "2026-06-01T10:00:00Z", 5, "2026-06-01T10:05:00Z");
    put(&world, "2026-06-01T11:00:00Z", 5, "2026-06-01T11:05:00Z");
    assert_eq!(figures(&sweep(&world, "2026-06-01T12:00:00Z").await).0, 2);
    sweep(&world, "2026-06-02T02:00:00Z").await;
    world
}

#[tokio::test(start_paused = true)]
async fn what_appears_after_the_closing_is_found_at_the_rechecks_and_once() {
    let world = closed(SETTINGS).await;
    put(&world, "2026-06-01T10:00:00Z", 1, "2026-06-02T10:00:00Z");
    assert_eq!(figures(&sweep(&world, "2026-06-02T20:00:00Z").await), (0, 0, 0, 1, 0), "closed");
    // A day after the closing: the live prefixes, and the closed day in one LIST of its own.
    assert_eq!(figures(&sweep(&world, "2026-06-03T03:00:00Z").await), (1, 1, 0, 2, 1), "the first recheck");
    assert_eq!(figures(&sweep(&world, "2026-06-03T04:00:00Z").await).0, 0);
    put(&world, "2026-06-01T23:00:00Z", 9, "2026-06-04T10:00:00Z");
    let second = sweep(&world, "2026-06-09T03:00:00Z").await;
    assert_eq!(
        (second.objects.collected, second.objects.late),
        (1, 1),
        "the second recheck knows both frames"
    );
    let last = sweep(&world, "2026-07-03T03:00:00Z").await;
    assert_eq!(last.objects.collected, 0, "the last recheck finds nothing new");
    put(&world, "2026-06-01T23:30:00Z", 9, "2026-07-04T10:00:00Z");
    assert_eq!(sweep(&world, "2026-08-20T03:00:00Z").await.objects.collected, 0, "after the last recheck");
    assert!(world.sink.event_ids().values().all(|times| *times == 1));
    let record = world.record();
    assert!(world.state.entries(record.key(), None, 9).unwrap().is_empty(), "the ledger went to the history");
}

#[tokio::test(start_paused = true)]
async fn a_day_without_any_object_is_rechecked_too() {
    let world = closed(SETTINGS).await;
    sweep(&world, "2026-06-03T02:00:00Z").await;
    put(&world, "2026-06-02T10:00:00Z", 1, "2026-06-03T10:00:00Z");
    let report = sweep(&world, "2026-06-04T03:00:00Z").await;
    assert_eq!((report.objects.collected, report.objects.late), (1, 1));
}

/// Bucket and s3sweep may have rested together: what was missed comes later.
#[tokio::test(start_paused = true)]
async fn days_without_any_object_that_close_after_a_rest_are_rechecked() {
    let world = closed(SETTINGS).await;
    sweep(&world, "2026-06-02T20:00:00Z").await;
    sweep(&world, "2026-06-12T12:00:00Z").await;
    for day in ["02", "05", "10"] {
        put(&world, &format!("2026-06-{day}T10:00:00Z"), 1, "2026-06-12T18:00:00Z");
    }
    let report = sweep(&world, "2026-06-13T13:00:00Z").await;
    assert_eq!((report.objects.collected, report.objects.late), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_rechecked_where_nobody_wants_it() {
    let world = closed(&format!("{SETTINGS}\nrecheck = []")).await;
    put(&world, "2026-06-01T10:00:00Z", 1, "2026-06-02T10:00:00Z");
    assert_eq!(sweep(&world, "2026-06-03T03:00:00Z").await.objects.collected, 0);
    let record = world.record();
    assert!(world.state.rechecks(record.key(), at("2030-01-01T00:00:00Z"), 9).unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_recheck_that_fails_is_done_again() {
    for (name, fail_list, class) in [
        ("the LIST", true, Class::Unreachable),
        ("the GET", false, Class::Object),
        ("no access", false, Class::Unreachable),
    ] {
        let world = closed(SETTINGS).await;
        put(&world, "2026-06-01T10:00:00Z", 1, "2026-06-02T10:00:00Z");
        world.faulty.heal(); // numbers the calls from 1
        if fail_list {
            world.faulty.on_list(When::Nth(2), Fault::Fail(class));
        } else {
            world.faulty.on_get(When::Always, Fault::Fail(class));
        }
        assert_eq!(sweep(&world, "2026-06-03T03:00:00Z").await.objects.collected, 0, "{name}");
        world.faulty.heal();
        for hour in 4..8 {
            sweep(&world, &format!("2026-06-03T{hour:02}:00:00Z")).await;
        }
        assert_eq!(world.sink.event_ids().len(), 3, "{name}: collected");
        assert!(world.sink.event_ids().values().all(|times| *times == 1), "{name}: once");
        let record = world.record();
        assert!(world.state.entries(record.key(), None, 9).unwrap().is_empty(), "{name}: in the history");
        let waiting = world.state.rechecks(record.key(), at("2026-06-03T09:00:00Z"), 9).unwrap();
        assert!(waiting.is_empty(), "{name}: done");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_ended_prefix_is_compared_in_full_from_time_to_time() {
    let settings = "prefix = \"logs/app-\"\nstart = \"2026-06-01\"\nlateness = \"1H\"\nkey_order = \"time\"\n\
                    reconcile_every = \"1D\"";
    let world = World::new("2026-06-01T12:00:00Z", settings);
    for number in 10..20 {
        world.put(&format!("logs/app-{number}.json.gz"), at("2026-06-01T10:00:00Z"));
    }
    assert_eq!(figures(&sweep(&world, "2026-06-01T12:00:00Z").await).0, 10);
    sweep(&world, "2026-06-01T14:00:00Z").await;
    world.put("logs/app-05.json.gz", at("2026-06-01T15:00:00Z"));
    let above = sweep(&world, "2026-06-01T16:00:00Z").await;
    assert_eq!((above.objects.collected, above.objects.listed), (0, 0), "listed from the floor");
    let full = sweep(&world, "2026-06-02T16:00:00Z").await;
    assert_eq!((full.objects.collected, full.objects.late), (1, 1), "the comparison in full");
    let again = sweep(&world, "2026-06-02T17:00:00Z").await;
    assert_eq!((again.objects.collected, again.objects.listed), (0, 0), "from the floor again");
    assert!(world.sink.event_ids().values().all(|times| *times == 1));
    let late = at("2026-06-03T18:00:00Z") - TimeDelta::days(3);
    world.put("logs/app-01.json.gz", late);
    let skipped = sweep(&world, "2026-06-03T18:00:00Z").await;
    assert_eq!(skipped.objects.skipped.get("before_start"), Some(&1), "{skipped:?}");
    // a comparison whose finds were not settled is made again
    world.put("logs/app-04.json.gz", at("2026-06-04T09:00:00Z"));
    world.faulty.on_get(When::Always, Fault::Fail(Class::Unreachable));
    world.clock.set(at("2026-06-04T19:00:00Z"));
    assert_eq!(world.sweep().await.report.objects.collected, 0);
    world.faulty.heal();
    assert_eq!(sweep(&world, "2026-06-04T20:00:00Z").await.objects.collected, 1);
}

/// Rechecks that cannot be done stand before all others.
#[tokio::test(start_paused = true)]
async fn rechecks_that_fail_keep_no_other_waiting() {
    let settings = "prefix = \"logs/{YYYY}/{mm}/{dd}/{HH}\"\nfile_pattern = '.*'\nstart = \"2026-05-20\"\nlateness = \"1H\"";
    let world = World::new("2026-06-01T12:00:00Z", settings);
    let hours = |number: i64| at("2026-05-20T00:00:00Z") + TimeDelta::hours(number);
    let key = |number: i64, name: &str| format!("logs/{}/{name}", hours(number).format("%Y/%m/%d/%H"));
    for number in 0..250 {
        world.put(&key(number, "a"), hours(number));
    }
    assert_eq!(sweep(&world, "2026-06-01T12:00:00Z").await.objects.collected, 250);
    let (first, last) = (key(0, "late"), key(249, "late"));
    for key in [&first, &last] {
        world.put(key, at("2026-06-01T18:00:00Z"));
    }
    world.faulty.on_list(When::key(key(0, "").trim_end_matches('/')), Fault::Fail(Class::Unreachable));
    let report = sweep(&world, "2026-06-02T13:00:00Z").await;
    assert_eq!((report.objects.late, report.unreachable.len()), (1, 1), "{report:?}");
    assert!(world.sink.event_ids().contains_key(&last), "the last one of all");
    world.faulty.heal();
    let report = sweep(&world, "2026-06-02T14:00:00Z").await;
    assert_eq!((report.objects.late, world.sink.event_ids().contains_key(&first)), (1, true));
}

/// Nobody restores an archived object: its day stays open, and is listed again at the same ages as
/// one that closed.
#[tokio::test(start_paused = true)]
async fn a_day_that_waits_for_a_failed_object_is_listed_again_at_the_ages_of_rechecks() {
    let world = World::new("2026-06-01T12:00:00Z", SETTINGS);
    let stuck = put(&world, "2026-06-01T10:00:00Z", 5, "2026-06-01T10:05:00Z");
    put(&world, "2026-06-01T11:00:00Z", 5, "2026-06-01T11:05:00Z");
    world.bucket.set_archived(&stuck, true);
    assert_eq!(figures(&sweep(&world, "2026-06-01T12:00:00Z").await).0, 1);
    sweep(&world, "2026-06-02T02:00:00Z").await;
    put(&world, "2026-06-01T10:30:00Z", 1, "2026-06-02T10:00:00Z");
    assert_eq!(sweep(&world, "2026-06-02T20:00:00Z").await.objects.collected, 0, "it waits by name");
    assert_eq!(sweep(&world, "2026-06-03T03:00:00Z").await.objects.collected, 1, "a day after");
    put(&world, "2026-06-01T10:40:00Z", 1, "2026-06-05T10:00:00Z");
    assert_eq!(sweep(&world, "2026-06-07T03:00:00Z").await.objects.collected, 0, "it waits again");
    assert_eq!(sweep(&world, "2026-06-09T03:00:00Z").await.objects.collected, 1, "a week after");
    put(&world, "2026-06-01T10:50:00Z", 1, "2026-06-10T10:00:00Z");
    assert_eq!(sweep(&world, "2026-07-02T03:00:00Z").await.objects.collected, 1, "a month after");
    put(&world, "2026-06-01T10:55:00Z", 1, "2026-07-03T10:00:00Z");
    assert_eq!(sweep(&world, "2026-09-02T03:00:00Z").await.objects.collected, 0, "not later");
    let lists = sweep(&world, "2026-09-02T04:00:00Z").await.requests.list;
    assert!(lists <= 2, "{lists} LISTs");

    world.bucket.set_archived(&stuck, false);
    let restored = sweep(&world, "2026-09-03T05:00:00Z").await;
    assert_eq!(restored.objects.collected, 2, "the object, and what closing the day finds: {restored:?}");
    assert!(world.sink.event_ids().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_recheck_waits_by_name_for_what_failed() {
    let world = closed(SETTINGS).await;
    put(&world, "2026-06-01T10:00:00Z", 1, "2026-06-02T10:00:00Z");
    world.faulty.on_get(When::Always, Fault::Fail(Class::Object));
    assert_eq!(figures(&sweep(&world, "2026-06-03T03:00:00Z").await), (0, 0, 1, 2, 1), "the recheck");
    assert_eq!(figures(&sweep(&world, "2026-06-03T04:00:00Z").await), (0, 0, 1, 1, 1), "it is not listed");
    let a_day_after = figures(&sweep(&world, "2026-06-04T03:30:00Z").await);
    // with the recheck of the day that closed meanwhile
    assert_eq!(a_day_after, (0, 0, 1, 3, 1), "it may have gone, or others come");
    world.faulty.heal();
    assert_eq!(
        figures(&sweep(&world, "2026-06-04T04:00:00Z").await),
        (1, 0, 0, 2, 1),
        "collected and listed"
    );
    assert_eq!(figures(&sweep(&world, "2026-06-04T05:00:00Z").await), (0, 0, 0, 1, 0), "done");
    let record = world.record();
    assert!(world.state.entries(record.key(), None, 9).unwrap().is_empty(), "in the history");
    assert!(world.sink.event_ids().values().all(|times| *times == 1));
}

/// After a month of downtime one listing answers for all three ages.
#[tokio::test(start_paused = true)]
async fn rechecks_that_were_missed_are_made_up_for_by_one_listing() {
    let world = closed(SETTINGS).await;
    put(&world, "2026-06-01T10:00:00Z", 1, "2026-06-02T10:00:00Z");
    let first = sweep(&world, "2026-07-20T03:00:00Z").await;
    assert_eq!(first.objects.late, 1);
    let record = world.record();
    let ahead = world.state.rechecks(record.key(), at("2036-01-01T00:00:00Z"), 999).unwrap();
    let of_day = |time: &str| ahead.iter().filter(|(_, _, of, _)| of.to_string() == time).count();
    assert_eq!((of_day("2026-06-01T00:00"), of_day("2026-07-18T00:00")), (0, 1), "all done, and all ahead");
}

#[tokio::test(start_paused = true)]
async fn an_object_overwritten_after_the_closing_is_told_once() {
    let world = closed(SETTINGS).await;
    let key = trail_key(0, at("2026-06-01T10:00:00Z"), 5);
    world.put_records(&key, &["another".to_owned()], at("2026-06-02T10:00:00Z"));
    let overwritten = |report: &SourceReport| report.objects.skipped.get("overwritten").copied().unwrap_or(0);
    assert_eq!(overwritten(&sweep(&world, "2026-06-03T03:00:00Z").await), 1, "the first recheck");
    assert_eq!(overwritten(&sweep(&world, "2026-06-09T03:00:00Z").await), 0, "the second one knows");
    let record = world.record();
    assert!(world.state.entries(record.key(), None, 9).unwrap().is_empty(), "in the history");
}

const OPEN_ENDED: &str = "prefix = \"logs/app-\"\nstart = \"all\"\nlateness = \"1H\"\nkey_order = \"time\"\n\
                          reconcile_every = \"1D\"";

/// An open-ended prefix with floors: what is older than the history leaves the ledger, and does not
/// come again.
#[tokio::test(start_paused = true)]
async fn an_open_ended_ledger_keeps_as_much_as_the_history() {
    let mut world = World::new("2026-06-01T12:00:00Z", OPEN_ENDED);
    for number in 10..20 {
        world.put(&format!("logs/app-{number}.json.gz"), at("2026-06-01T10:00:00Z"));
    }
    assert_eq!(sweep(&world, "2026-06-01T12:00:00Z").await.objects.collected, 10);
    sweep(&world, "2026-06-01T14:00:00Z").await;
    world.put("logs/app-20.json.gz", at("2027-06-01T10:00:00Z"));
    assert_eq!(sweep(&world, "2027-06-01T12:00:00Z").await.objects.collected, 1);
    let ledger = |world: &World| {
        let entries = world.state.entries(world.record().key(), None, 99).unwrap();
        entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(ledger(&world).len(), 11, "a year later");
    assert_eq!(sweep(&world, "2027-07-10T12:00:00Z").await.objects.collected, 0, "404 days later");
    assert_eq!(ledger(&world), ["logs/app-20.json.gz"]);

    // listed in full, from the start once floors are reset, and with a longer history
    for now in ["2027-07-12T12:00:00Z", "2027-07-12T12:05:00Z"] {
        let report = sweep(&world, now).await;
        assert_eq!(report.objects.collected, 0, "{now}: {report:?}");
    }
    world.configure(&format!("{OPEN_ENDED}\nfile_pattern = '.*'"));
    let reset = sweep(&world, "2027-07-12T13:00:00Z").await;
    assert_eq!((reset.objects.listed, reset.objects.collected), (11, 0), "{reset:?}");
    world.keep_history *= 2;
    world.configure(OPEN_ENDED);
    assert_eq!(sweep(&world, "2027-07-12T14:00:00Z").await.objects.collected, 0);

    world.put("logs/app-15.json.gz", at("2027-07-13T10:00:00Z"));
    world.put("logs/app-11b.json.gz", at("2027-07-13T10:00:00Z"));
    let late = sweep(&world, "2027-07-14T15:00:00Z").await;
    assert_eq!(late.objects.collected, 2, "what is written today is new, overwritten or below the floor");
}
