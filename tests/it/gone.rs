//! Failed objects that are deleted, in a bucket that answers 403 to the GET of a missing key: S3 does
//! so for whom it does not let list the key, as the printed policy does not beyond the pattern.

use s3sweep::failure::Class;
use s3sweep::state::Outcome;
use s3sweep::sweep::report::SourceReport;
use s3sweep::testing::{Fault, When};

use crate::world::{World, at};

async fn sweep(world: &World, now: &str) -> SourceReport {
    world.clock.set(at(now));
    let swept = world.sweep().await;
    swept.ended.unwrap();
    swept.report
}

/// Failed, gone, LIST and GET requests.
fn figures(report: &SourceReport) -> (u64, u64, u64, u64) {
    let gone = report.objects.skipped.get("gone").copied().unwrap_or(0);
    (report.objects.failed, gone, report.requests.list, report.requests.get)
}

/// What is stored of a key: its outcome in the ledger, and whether it is kept as failed.
fn stored(world: &World, key: &str) -> (Option<Outcome>, bool) {
    let source = world.record().key();
    let entry = world.state.entry(source, key).unwrap();
    (entry.map(|entry| entry.outcome), world.state.failed(source, key).unwrap().is_some())
}

const SETTINGS: &str =
    "file_pattern = '.*'\nstart = \"2026-06-01\"\nlateness = \"1H\"\ndiscover_every = \"90D\"";

#[tokio::test(start_paused = true)]
async fn a_failed_object_that_a_complete_listing_lacks_is_gone() {
    for (prefix, folder, lists) in [
        ("logs/{YYYY}/{mm}/{dd}", "logs/2026/06/01/", 1),
        ("logs/{YYYY}/{m}/{d}", "logs/2026/6/1/", 3), // the last two days are looked at one by one
        ("logs/app-", "logs/app-", 1),
    ] {
        let world = World::new("2026-06-01T12:00:00Z", &format!("prefix = \"{prefix}\"\n{SETTINGS}"));
        for name in ["a", "b", "c"] {
            world.put(&format!("{folder}{name}"), at("2026-06-01T10:00:00Z"));
        }
        let key = format!("{folder}b");
        world.faulty.on_get(When::key(&key), Fault::Fail(Class::Object));
        let first = sweep(&world, "2026-06-01T12:00:00Z").await;
        assert_eq!((first.objects.collected, figures(&first).0), (2, 1), "{prefix}");
        assert_eq!(stored(&world, &key), (None, true), "{prefix}");

        assert!(world.bucket.delete(&key));
        world.faulty.on_list(When::Always, Fault::Fail(Class::Unreachable));
        let no_list = figures(&sweep(&world, "2026-06-01T12:05:00Z").await);
        assert_eq!((no_list.0, no_list.1), (1, 0), "{prefix}: without a listing it is still refused");
        world.faulty.heal();
        world.faulty.on_get(When::key(&key), Fault::Fail(Class::Object));
        let gone = figures(&sweep(&world, "2026-06-01T12:10:00Z").await);
        assert_eq!((gone.0, gone.1, gone.3), (0, 1, 0), "{prefix}: the listing tells, no GET is made");
        assert!(gone.2 <= lists, "{prefix}: {} LISTs", gone.2);
        assert_eq!(stored(&world, &key), (Some(Outcome::Gone), false), "{prefix}");

        world.faulty.heal();
        world.put(&key, at("2026-06-01T12:12:00Z"));
        assert_eq!(sweep(&world, "2026-06-01T12:15:00Z").await.objects.collected, 1, "{prefix}: there again");
    }
}

/// Its day waits for it by name and is not listed any more.
#[tokio::test(start_paused = true)]
async fn an_object_is_looked_for_before_it_is_quarantined() {
    for is_there in [true, false] {
        let settings = format!("prefix = \"logs/{{YYYY}}/{{mm}}/{{dd}}\"\n{SETTINGS}\nmax_attempts = 3");
        let world = World::new("2026-06-01T12:00:00Z", &settings);
        let key = "logs/2026/06/01/b";
        for name in ["a", "b", "c"] {
            world.put(&format!("logs/2026/06/01/{name}"), at("2026-06-01T10:00:00Z"));
        }
        world.faulty.on_get(When::key(key), Fault::Fail(Class::Object));
        sweep(&world, "2026-06-01T12:00:00Z").await;
        assert_eq!(figures(&sweep(&world, "2026-06-02T02:00:00Z").await), (1, 0, 1, 1), "the day is over");
        if !is_there {
            world.bucket.delete(key);
        }
        let report = sweep(&world, "2026-06-02T03:00:00Z").await;
        assert_eq!(report.requests.list, 2, "the live prefixes, and the key");
        let outcome = if is_there { Outcome::Quarantined } else { Outcome::Gone };
        assert_eq!(stored(&world, key), (Some(outcome), false));
        assert_eq!((report.objects.quarantined, figures(&report).1), if is_there { (1, 0) } else { (0, 1) });
    }
}

/// The listing of an hour before it jumps over the one that waits.
#[tokio::test(start_paused = true)]
async fn what_a_listing_jumps_over_is_not_gone() {
    let settings = format!(
        "prefix = \"logs/{{YYYY}}/{{mm}}/{{dd}}/{{HH}}\"\n{SETTINGS}\nlist_page_size = 3\nrecheck = []\n\
         max_attempts = 50"
    );
    let world = World::new("2026-06-01T13:30:00Z", &settings);
    let put = |key: &str| world.put(&format!("logs/2026/06/01/{key}"), at("2026-06-01T13:00:00Z"));
    (0..12).for_each(|number| put(&format!("02/k{number:02}")));
    ["01/x", "03/x", "04/k", "12/k"].into_iter().for_each(put);
    let (early, late) = ("logs/2026/06/01/01/x", "logs/2026/06/01/03/x");
    for key in [early, late] {
        world.faulty.on_get(When::key(key), Fault::Fail(Class::Object));
    }
    sweep(&world, "2026-06-01T13:30:00Z").await;
    assert_eq!(figures(&sweep(&world, "2026-06-01T18:00:00Z").await).0, 2, "two hours wait");

    world.faulty.heal();
    world.faulty.on_get(When::key(late), Fault::Fail(Class::Object));
    for hour in 19..24 {
        let report = sweep(&world, &format!("2026-06-01T{hour}:00:00Z")).await;
        assert_eq!(figures(&report).1, 0, "{hour} h: {report:?}");
    }
    assert_eq!((stored(&world, early).1, stored(&world, late)), (false, (None, true)));

    world.faulty.heal();
    for hour in 0..9 {
        sweep(&world, &format!("2026-06-02T{hour:02}:00:00Z")).await;
    }
    assert_eq!(world.sink.event_ids().len(), 16);
    let source = world.record().key();
    assert!(world.state.entries(source, None, 9).unwrap().is_empty(), "all are closed, and in the history");
}

/// A recheck finds an object that is refused, and then deleted.
#[tokio::test(start_paused = true)]
async fn a_find_of_a_recheck_that_is_gone_ends_the_recheck() {
    let world =
        World::new("2026-06-01T12:00:00Z", &format!("prefix = \"logs/{{YYYY}}/{{mm}}/{{dd}}\"\n{SETTINGS}"));
    world.put("logs/2026/06/01/a", at("2026-06-01T10:00:00Z"));
    sweep(&world, "2026-06-01T12:00:00Z").await;
    sweep(&world, "2026-06-02T02:00:00Z").await;
    let key = "logs/2026/06/01/b";
    world.put(key, at("2026-06-02T10:00:00Z"));
    world.faulty.on_get(When::Always, Fault::Fail(Class::Object));
    assert_eq!(sweep(&world, "2026-06-03T03:00:00Z").await.objects.failed, 1);
    world.bucket.delete(key);
    sweep(&world, "2026-06-04T04:00:00Z").await;
    let source = world.record().key();
    assert!(world.state.failed(source, key).unwrap().is_none(), "found to be gone a day later");
    assert!(world.state.entries(source, None, 9).unwrap().is_empty(), "in the history");
    let due = world.state.rechecks(source, at("2026-06-04T05:00:00Z"), 9).unwrap();
    assert!(due.is_empty(), "{due:?}");
}
