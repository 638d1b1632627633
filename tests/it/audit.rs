//! The audit and the quarantine: what is missing is named and mended, what is damaged goes on.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use s3sweep::state::history;
use s3sweep::state::{Batch, Change, LeafRecord};
use s3sweep::sweep::audit::{Audited, Estimate, Told};
use s3sweep::sweep::mend::Action;

use crate::world::{World, at, trail_body, trail_key};

const SETTINGS: &str = "prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nstart = \"2026-06-01\"\nlateness = \"1H\"\ndiscover_every = \"90D\"\nfile_pattern = '.*'";
const FROM: &str = "2026-06-01T00:00:00Z";
const TO: &str = "2026-06-02T00:00:00Z";

async fn sweep(world: &World, now: &str) {
    world.clock.set(at(now));
    world.bucket.set_clock(Some(at(now)));
    world.sweep().await.ended.unwrap();
}

fn put(world: &World, minute: &str, suffix: u64) -> String {
    let key = trail_key(0, at(minute), suffix);
    world.put(&key, at(minute) + TimeDelta::minutes(5));
    key
}

/// Two days with two objects each: the first closed, the second open.
async fn two_days() -> (World, Vec<String>) {
    let world = World::new("2026-06-01T12:00:00Z", SETTINGS);
    let mut keys = vec![put(&world, "2026-06-01T10:00:00Z", 5), put(&world, "2026-06-01T11:00:00Z", 5)];
    sweep(&world, "2026-06-01T12:00:00Z").await;
    keys.extend([put(&world, "2026-06-02T00:30:00Z", 5), put(&world, "2026-06-02T01:00:00Z", 5)]);
    sweep(&world, "2026-06-02T03:00:00Z").await;
    (world, keys)
}

/// How each object stands.
fn standings(told: &[Told]) -> BTreeMap<String, String> {
    let standing = |told: &Told| match told {
        Told::Object(object) => Some((object.key.clone(), object.standing.clone())),
        Told::Estimate(_) | Told::Gap(_) => None,
    };
    told.iter().filter_map(standing).collect()
}

async fn audit(world: &World) -> (Audited, BTreeMap<String, String>) {
    let (audited, told) = world.audit(FROM, TO).await;
    (audited, standings(&told))
}

#[tokio::test(start_paused = true)]
async fn every_listed_object_has_its_standing() {
    let (world, keys) = two_days().await;
    let later = put(&world, "2026-06-02T02:00:00Z", 5);
    let below = put(&world, "2026-06-01T10:30:00Z", 1);
    world.bucket.put("AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/01/", "", at(FROM));
    world.bucket.put(
        "AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/01/1_CloudTrail-Digest_x",
        "x",
        at(FROM),
    );
    let (audited, told) = world.audit(FROM, TO).await;
    let standings = standings(&told);
    for key in &keys {
        assert_eq!(standings[key], "delivered");
    }
    assert_eq!((&*standings[&later], &*standings[&below]), ("open.unsettled", "missing"));
    let counts = &audited.counts;
    assert_eq!((counts.listed, counts.delivered, counts.records, counts.missing), (8, 4, 4, 1));
    assert_eq!(counts.skipped.values().sum::<u64>(), 2, "{counts:?}");
    assert_eq!(audited.requests.get, 0);
    let Some(Told::Estimate(estimate)) = told.first() else { panic!("the estimate comes first") };
    let Estimate { leaves, prefixes, lists, .. } = estimate;
    assert_eq!((*leaves, *prefixes, *lists, audited.requests.list), (1, 2, 1, 1));
}

/// Markers that are set back let days be collected that lie before `start`.
#[tokio::test(start_paused = true)]
async fn days_before_the_start_that_were_collected_all_the_same_are_compared_too() {
    let (world, _) = two_days().await;
    let source = world.record().key();
    let [early, lost, never] =
        ["2026-05-20T10:00:00Z", "2026-05-20T11:00:00Z", "2026-05-21T10:00:00Z"].map(|at| put(&world, at, 5));
    let leaf = &world.state.leaves(source, None, 9).unwrap()[0];
    let day = |text| world.config.sources[0].pattern.leaf(&leaf.0).unwrap().time_of(at(text));
    let back = LeafRecord { closed_through: day("2026-05-20T00:00:00Z"), ..leaf.1.clone() };
    world.bucket.delete(&never);
    world.state.apply(&Batch(vec![Change::PutLeaf(source, leaf.0.clone(), back)])).unwrap();
    sweep(&world, "2026-06-02T04:00:00Z").await;
    put(&world, "2026-05-21T10:00:00Z", 5);
    world.forget_in_history(&lost);
    let (audited, told) = world.audit("2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z").await;
    let standings = standings(&told);
    assert_eq!((&*standings[&early], &*standings[&lost]), ("delivered", "missing"));
    assert_eq!(standings[&never], "skipped.before_start", "it closed without any object");
    assert_eq!(audited.counts.missing, 1);
    let repaired = world.repair(audited.incomplete).await;
    repaired.ended.unwrap();
    assert_eq!(repaired.report.objects.collected, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_repaired_once_and_known_afterwards() {
    let (world, keys) = two_days().await;
    world.forget_in_history(&keys[0]);
    let late = put(&world, "2026-06-01T10:30:00Z", 1);
    let (audited, found) = audit(&world).await;
    let missing: Vec<_> = found.iter().filter(|(_, standing)| *standing == "missing").collect();
    assert_eq!(missing.len(), 2, "the one that is late and the one that the history lost: {found:?}");
    let repaired = world.repair(audited.incomplete).await;
    repaired.ended.unwrap();
    assert_eq!((repaired.report.objects.collected, repaired.report.objects.late), (2, 2));
    assert_eq!(audit(&world).await.0.counts.missing, 0);
    assert!(
        world
            .state
            .entries(world.record().key(), None, 99)
            .unwrap()
            .iter()
            .all(|(key, _)| key.contains("06/02"))
    );
    let planned = |world: &World| {
        let all = world.state.rechecks(world.record().key(), at("2036-06-09T03:00:00Z"), 99).unwrap();
        let of_the_day = all.into_iter().filter(|(_, _, time, _)| time.to_string() == "2026-06-01T00:00");
        of_the_day.map(|(due, _, _, recheck)| (due, recheck.frames.len(), recheck.extra)).collect::<Vec<_>>()
    };
    assert_eq!(planned(&world), [(at("2026-06-03T03:00:00Z"), 2, false)], "the first of three, as before");
    // the rechecks that were planned know of it
    for now in ["2026-06-03T03:00:00Z", "2026-06-09T03:00:00Z", "2026-07-09T03:00:00Z"] {
        sweep(&world, now).await;
    }
    let ids = world.sink.event_ids();
    assert_eq!((ids[&late], ids[&keys[1]], ids[&keys[0]]), (1, 1, 2), "only what was forgotten came twice");
    // after the last recheck too
    let last = put(&world, "2026-06-01T10:40:00Z", 1);
    let (audited, found) = audit(&world).await;
    assert_eq!(found[&last], "missing");
    world.repair(audited.incomplete).await.ended.unwrap();
    assert_eq!((world.sink.event_ids()[&last], world.sink.event_ids()[&late]), (1, 1));
    assert_eq!(audit(&world).await.0.counts.missing, 0);
    assert_eq!(planned(&world), []);
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_fails_is_done_by_the_next_sweeps() {
    use s3sweep::failure::Class;
    use s3sweep::testing::{Fault, When};
    let (world, _) = two_days().await;
    let late = put(&world, "2026-06-01T10:30:00Z", 1);
    for class in [Class::Unreachable, Class::Object] {
        let (audited, _) = audit(&world).await;
        world.faulty.on_get(When::Always, Fault::Fail(class));
        let repaired = world.repair(audited.incomplete).await;
        repaired.ended.unwrap();
        assert_eq!(repaired.report.objects.collected, 0);
        world.faulty.heal();
    }
    assert_eq!(audit(&world).await.1[&late], "open.failed", "kept by name");
    sweep(&world, "2026-06-02T04:00:00Z").await;
    assert_eq!(world.sink.event_ids()[&late], 1);
    assert_eq!(audit(&world).await.1[&late], "delivered");
}

#[tokio::test(start_paused = true)]
async fn lost_history_is_not_called_missing() {
    let (world, keys) = two_days().await;
    let (file, _) = world.state.history().unwrap().remove(0);
    let path = history::path_of(world.state_dir(), &file);
    let whole = std::fs::read(&path).unwrap();
    for (name, bytes) in [("removed", None), ("cut", Some(&whole[..whole.len() - 3]))] {
        match bytes {
            None => std::fs::remove_file(&path).unwrap(),
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        }
        let (audited, found) = audit(&world).await;
        assert_eq!((&*found[&keys[0]], &*found[&keys[2]]), ("unknown", "delivered"), "{name}");
        assert_eq!((audited.counts.unknown, audited.counts.missing), (2, 0), "{name}");
        assert_eq!((audited.lost_history.len(), audited.incomplete.len()), (1, 0), "{name}");
    }
    // the program deletes what is too old: the names of the files are days of closing
    std::fs::write(&path, whole).unwrap();
    world.state.apply(&Batch(vec![Change::DeleteHistory(file)])).unwrap();
    world.clock.set(at("2027-08-01T00:00:00Z"));
    let (audited, found) = audit(&world).await;
    assert_eq!((&*found[&keys[0]], audited.incomplete.len()), ("history_expired", 0));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_ledger_entry_is_open_again() {
    let (world, keys) = two_days().await;
    let source = world.record().key();
    world.state.apply(&Batch(vec![Change::DeleteEntry(source, keys[2].clone())])).unwrap();
    assert_eq!(audit(&world).await.1[&keys[2]], "open.unsettled");
    for now in ["2026-06-02T12:00:00Z", "2026-06-02T14:00:00Z"] {
        sweep(&world, now).await;
    }
    world.state.apply(&Batch(vec![Change::DeleteEntry(source, keys[2].clone())])).unwrap();
    assert_eq!(audit(&world).await.1[&keys[2]], "open.below_floor");
}

#[tokio::test(start_paused = true)]
async fn times_without_a_file_are_hints() {
    let (world, _) = two_days().await;
    let (audited, told) = world.audit(FROM, TO).await;
    let gaps = told.iter().filter_map(|told| match told {
        Told::Gap(gap) => Some(format!("{} {}", gap.from.format("%d %R"), gap.to.format("%d %R"))),
        Told::Estimate(_) | Told::Object(_) => None,
    });
    let gaps: Vec<_> = gaps.collect();
    assert_eq!(gaps, ["01 00:00 01 10:00", "01 11:00 02 00:30", "02 01:00 02 03:00"]);
    assert_eq!(audited.gap_count, 3);
}

#[tokio::test(start_paused = true)]
async fn a_leaf_that_cannot_be_listed_is_named() {
    use s3sweep::failure::Class;
    use s3sweep::testing::{Fault, When};
    let (world, _) = two_days().await;
    world.faulty.on_list(When::Always, Fault::Fail(Class::Unreachable));
    let (audited, _) = audit(&world).await;
    assert_eq!((audited.unreachable.len(), audited.counts.listed), (1, 0), "{audited:?}");
}

/// Ids of an object of five records.
fn five(key: &str) -> Vec<String> {
    (0..5).map(|number| format!("{key}#{number}")).collect()
}

/// The first half of an object of five records, then damage.
fn damaged(key: &str) -> String {
    let body = trail_body(&five(key));
    let end = trail_body(&five(key)[..2]).len() - 2;
    format!("{}, damage", &body[..end])
}

#[tokio::test(start_paused = true)]
async fn a_retried_object_delivers_what_was_missing_and_nothing_else() {
    // mended while its day is open, and after it has closed
    for mended_at in ["2026-06-01T13:00:00Z", "2026-06-02T03:00:00Z", "2026-07-20T03:00:00Z"] {
        let world = World::new("2026-06-01T12:00:00Z", SETTINGS);
        put(&world, "2026-06-01T11:00:00Z", 5);
        let key = trail_key(0, at("2026-06-01T10:00:00Z"), 1);
        world.bucket.put(&key, damaged(&key), at("2026-06-01T10:05:00Z"));
        sweep(&world, "2026-06-01T12:00:00Z").await;
        let quarantined = world.state.quarantine(None, 9).unwrap().remove(0).1;
        assert_eq!((quarantined.records, &quarantined.key), (2, &key));
        for now in
            ["2026-06-02T03:00:00Z", "2026-06-03T03:00:00Z", "2026-06-10T03:00:00Z", "2026-07-20T03:00:00Z"]
        {
            if now <= mended_at {
                sweep(&world, now).await;
            }
        }
        world.clock.set(at(mended_at));
        assert_eq!(audit(&world).await.1[&key], "quarantined");
        world.bucket.put(&key, trail_body(&five(&key)), at(mended_at));
        let mended = world.mend(Some(&BTreeSet::from([key.clone(), "other".to_owned()])), &Action::Retry);
        assert_eq!((mended.len(), &mended[0].refused), (1, &None), "{mended_at}");
        assert_eq!(audit(&world).await.1[&key], "open.failed");
        world.sweep().await.ended.unwrap();
        let ids = world.sink.event_ids();
        assert!(five(&key).iter().all(|id| ids[id] == 1), "{mended_at}: {ids:?}");
        assert_eq!(ids.len(), 6, "{mended_at}");
        assert!(world.state.quarantine(None, 9).unwrap().is_empty());
        let (audited, found) = audit(&world).await;
        assert_eq!((&*found[&key], audited.counts.records), ("delivered", 6), "{mended_at}");
        for later in ["2026-07-21T03:00:00Z", "2026-09-20T03:00:00Z"] {
            sweep(&world, later).await;
        }
        assert!(world.sink.event_ids().values().all(|times| *times == 1), "{mended_at}");
        assert_eq!(audit(&world).await.1[&key], "delivered", "{mended_at}");
        let record = world.record();
        assert!(
            world.state.entries(record.key(), None, 9).unwrap().is_empty(),
            "{mended_at}: in the history"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_still_damaged_is_quarantined_again() {
    let world = World::new("2026-06-01T12:00:00Z", SETTINGS);
    let key = trail_key(0, at("2026-06-01T10:00:00Z"), 1);
    world.bucket.put(&key, damaged(&key), at("2026-06-01T10:05:00Z"));
    sweep(&world, "2026-06-01T12:00:00Z").await;
    world.mend(None, &Action::Retry);
    assert!(world.state.quarantine(None, 9).unwrap().is_empty());
    sweep(&world, "2026-06-01T12:05:00Z").await;
    let again = world.state.quarantine(None, 9).unwrap().remove(0).1;
    assert_eq!((again.records, again.key == key), (2, true));
    assert_eq!(world.sink.event_ids().values().copied().collect::<Vec<_>>(), [1, 1]);
    // an object with another beginning is not taken for its end
    world.bucket.put(&key, trail_body(&["something-else-altogether".to_owned()]), at("2026-06-01T12:06:00Z"));
    world.mend(None, &Action::Retry);
    sweep(&world, "2026-06-01T12:10:00Z").await;
    let again = world.state.quarantine(None, 9).unwrap().remove(0).1;
    assert!(again.reason.contains("no end of a record"), "{}", again.reason);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_object_is_settled_with_the_reason() {
    for dropped_at in ["2026-06-01T13:00:00Z", "2026-06-02T03:00:00Z"] {
        let world = World::new("2026-06-01T12:00:00Z", SETTINGS);
        let key = trail_key(0, at("2026-06-01T10:00:00Z"), 1);
        world.bucket.put(&key, damaged(&key), at("2026-06-01T10:05:00Z"));
        sweep(&world, "2026-06-01T12:00:00Z").await;
        sweep(&world, dropped_at).await;
        let action = Action::Drop { reason: "beyond repair".into() };
        assert_eq!(world.mend(None, &action).len(), 1);
        assert!(world.state.quarantine(None, 9).unwrap().is_empty());
        for now in [dropped_at, "2026-06-02T04:00:00Z", "2026-06-03T06:00:00Z", "2026-06-10T06:00:00Z"] {
            sweep(&world, now).await;
            let (audited, told) = world.audit(FROM, TO).await;
            let Some(Told::Object(object)) = told.iter().find(|told| matches!(told, Told::Object(_))) else {
                panic!("{now}: it is told")
            };
            assert_eq!(
                (&*object.standing, object.reason.as_deref()),
                ("dropped", Some("beyond repair")),
                "{now}"
            );
            assert_eq!((audited.counts.dropped, audited.counts.records), (1, 2), "{now}");
        }
        let record = world.record();
        assert!(world.state.entries(record.key(), None, 9).unwrap().is_empty(), "in the history");
    }
}
