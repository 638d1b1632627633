use super::*;
use chrono::{DateTime, Utc};

use crate::pattern::PrefixTime;
use crate::state::packed::Packer;
use crate::state::{LedgerEntry, Outcome, Recheck, SourceKey};

const SOURCE: SourceKey = SourceKey { id: 1, generation: 1 };

fn entry(key: String) -> Change {
    let at = chrono::DateTime::UNIX_EPOCH;
    let etag = "0123456789abcdef0123456789abcdef".to_owned();
    let entry = LedgerEntry {
        etag,
        outcome: Outcome::Collected,
        records: 100,
        last_modified: at,
        settled_at: at,
        reason: None,
    };
    Change::PutEntry(SOURCE, key, entry)
}

fn pairs(state: &DiskState) -> Vec<Pair> {
    state.scan(&[], &[0xff], usize::MAX).expect("read")
}

/// A key as long as CloudTrail's are.
fn trail_key(leaf: u64, day: u64, number: u64) -> String {
    let account = 111_122_223_333 + leaf;
    format!(
        "AWSLogs/{account}/CloudTrail/us-east-1/2026/06/{day:02}/{account}_CloudTrail_us-east-1_202606{day:02}T{:04}Z_{number:016x}.json.gz",
        number % 1440
    )
}

/// Which file the database is.
fn inode(dir: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(dir.join("sled/db")).expect("it is there"))
}

#[test]
fn a_database_that_has_grown_is_written_anew_with_all_it_holds() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let dir = folder.path();
    let never = Overgrown { percent: 0, bytes: u64::MAX };
    let state = DiskState::open_unless(dir, "collector", false, never).expect("opened");
    for number in 0..40 {
        let keys = (0..150).map(|at| entry(trail_key(1, 1, number * 150 + at)));
        state.apply(&Batch(keys.collect())).expect("applied");
    }
    for number in 0..40 {
        let kept = if number == 7 { 100 } else { 150 };
        let gone = (0..kept).map(|at| Change::DeleteEntry(SOURCE, trail_key(1, 1, number * 150 + at)));
        state.apply(&Batch(gone.collect())).expect("applied");
    }
    let (before, size) = (pairs(&state), state.database().size().expect("size"));
    drop(state);
    let live: usize = before.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(size > 2 * live as u64, "{size} bytes of file for {live}");

    for (case, overgrown) in [
        ("it is not large enough", Overgrown { percent: 100, bytes: size * 2 }),
        ("it is not large for its data", Overgrown { percent: 100_000, bytes: 0 }),
    ] {
        let file = inode(dir);
        drop(DiskState::open_unless(dir, "collector", false, overgrown).expect("opened"));
        assert_eq!(inode(dir), file, "{case}");
    }
    let file = inode(dir);
    let state = DiskState::open_unless(dir, "collector", false, Overgrown { percent: 100, bytes: 0 })
        .expect("opened");
    assert_ne!(inode(dir), file, "another file");
    assert_eq!(pairs(&state), before);
    let names: Vec<_> =
        std::fs::read_dir(dir).expect("listed").flatten().map(|item| item.file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("sled.")), "{names:?}");
    let after = state.database().size().expect("size");
    assert!(after < size, "{size} bytes became {after}");
    state.apply(&Batch(vec![entry("and on".into())])).expect("applied");
    drop(state);
    assert_eq!(pairs(&DiskState::open(dir, "collector", false).expect("opened")).len(), before.len() + 1);
}

/// Damage that a start does not meet is found when a rebuild reads everything; what a later version
/// wrote is no damage.
#[test]
fn a_rebuild_reads_every_value() {
    type Refused = Option<fn(&StateError) -> bool>;
    let (key, value) = format::encode(&entry("k".into()));
    let packed = |value: &[u8]| {
        let mut packer = Packer::new(&key);
        packer.push(&key, Some(value));
        packer.finish()
    };
    let (whole, malformed) = (packed(&value.expect("it puts")), packed(&[2, 9]));
    let cases: [(&str, &[u8], Refused); 4] = [
        ("a malformed block", &[1, 9], None),
        ("a malformed entry", &malformed, None),
        ("one of a later version", &[9], Some(|error| matches!(error, StateError::Newer { .. }))),
        ("a whole one", &whole, Some(|error| matches!(error, StateError::NothingToRebuild { .. }))),
    ];
    for (case, value, refused) in cases {
        let folder = tempfile::tempdir().expect("temporary folder");
        let dir = folder.path();
        let state = DiskState::open(dir, "collector", false).expect("opened");
        state.apply(&Batch(vec![Change::PutDeadLetter(7)])).expect("applied");
        drop(state);
        let key = [&[format::BLOCK], key.as_slice()].concat();
        plain(dir, vec![(key, Some(value.to_vec()))]);
        drop(DiskState::open(dir, "collector", false).expect("a start does not read it"));
        match (DiskState::rebuild(dir, "collector", false, &[]), refused) {
            (Ok(state), None) => {
                assert_eq!((&state as &dyn State).dead_letter().expect("read"), Some(7), "{case}");
                assert_eq!((&state as &dyn State).entry(SOURCE, "k").expect("readable"), None, "{case}");
                assert!(dir.join("damaged-1/sled/db").exists(), "{case}");
            }
            (Err(error), Some(refused)) if refused(&error) => assert!(!dir.join("damaged-1").exists()),
            (Err(error), _) => panic!("{case}: {error}"),
            (Ok(_), Some(_)) => panic!("{case}: it was rebuilt"),
        }
    }
}

/// A crash after each step of a rewriting, with real databases: what was stored is there.
#[test]
fn a_rewriting_that_a_crash_cut_short_loses_nothing() {
    let steps = ["built in part", "complete", "the old one moved", "exchanged"];
    for (number, case) in steps.into_iter().enumerate() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let dir = folder.path();
        let state = DiskState::open(dir, "collector", false).expect("opened");
        state.apply(&Batch((0..100).map(|at| entry(format!("{at}"))).collect())).expect("applied");
        let before = pairs(&state);
        drop(state);
        await_release(&swap::live(dir)).expect("released");
        let part = if number == 0 { 40 } else { before.len() };
        build(dir, std::iter::empty(), before[..part].iter().cloned().map(Ok)).expect("built");
        if number >= 1 {
            swap::complete(dir).expect("complete");
        }
        if number >= 2 {
            std::fs::rename(dir.join("sled"), dir.join("sled.old")).expect("moved");
        }
        if number >= 3 {
            std::fs::rename(dir.join("sled.new"), dir.join("sled")).expect("moved");
        }
        let state = DiskState::open(dir, "collector", false).expect(case);
        assert!(pairs(&state) == before, "{case}");
        assert_eq!(std::fs::read_dir(dir).expect("listed").count(), 3, "{case}: lock, sidecar, database");
    }
}

/// What an earlier attempt left is no part of a new database: it holds what was deleted since.
#[test]
fn a_rewriting_takes_nothing_from_one_that_failed() {
    for left in ["sled.building", "sled.new"] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let dir = folder.path();
        let state = DiskState::open(dir, "collector", false).expect("opened");
        state.apply(&Batch((0..100).map(|at| entry(format!("{at}"))).collect())).expect("applied");
        build(dir, std::iter::empty(), pairs(&state).into_iter().map(Ok)).expect("built");
        if left == "sled.new" {
            swap::complete(dir).expect("complete");
        }
        let gone = (0..90).map(|at| Change::DeleteEntry(SOURCE, format!("{at}")));
        state.apply(&Batch(gone.collect())).expect("applied");
        let before = pairs(&state);
        state.database_mut().rewrite().expect("written anew");
        assert!(pairs(&state) == before, "{left}");
        drop(state);
        assert_eq!(std::fs::read_dir(dir).expect("listed").count(), 3, "{left}: lock, sidecar, database");
        assert!(pairs(&DiskState::open(dir, "collector", false).expect("opened")) == before, "{left}");
    }
}

/// A rewriting that fails leaves the database open and nothing beside it.
#[test]
fn a_rewriting_that_fails_costs_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let dir = folder.path();
    let state = DiskState::open(dir, "collector", false).expect("opened");
    state.apply(&Batch((0..100).map(|at| entry(format!("{at}"))).collect())).expect("applied");
    let before = pairs(&state);
    // a file where the new database is to be
    std::fs::write(dir.join("sled.new"), "in the way").expect("written");
    let error = state.database_mut().rewrite().expect_err("no room");
    assert!(matches!(error, StateError::Io { .. }), "{error}");
    assert!(state.database().is_open() && pairs(&state) == before);
    assert!(!dir.join("sled.building").exists());
    std::fs::remove_file(dir.join("sled.new")).expect("removed");
    state.database_mut().rewrite().expect("written anew");
    assert!(pairs(&state) == before);
}

/// Puts pairs into the database behind the state's back.
fn plain(dir: &Path, pairs: Vec<Operation>) {
    let database = Database::open(dir).expect("opened");
    database.write(pairs, &Changes::new()).expect("written");
}

/// A state with `count` rechecks, one due each second, each in a pair of its own, as earlier versions
/// kept them.
fn with_plain_rechecks(dir: &Path, count: i64) -> Recheck {
    let state = DiskState::open(dir, "collector", false).expect("opened");
    state.apply(&Batch(vec![entry("a".into())])).expect("applied");
    drop(state);
    let recheck = Recheck {
        closed_at: second(5),
        done: 1,
        frames: vec![("2026-06-02.jsonl.zst".into(), 7)],
        extra: false,
        waits_since: None,
    };
    let time = PrefixTime::OPEN_ENDED;
    let stored = (1..=count)
        .map(|due| (format::recheck_key(SOURCE, second(due), "a/", time), Some(format::json(&recheck))));
    for part in stored.collect::<Vec<_>>().chunks(150) {
        plain(dir, part.to_vec());
    }
    recheck
}

fn second(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(number, 0).expect("a time")
}

#[test]
fn plain_rechecks_are_packed_at_start() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let recheck = with_plain_rechecks(folder.path(), 400);
    for _ in 0..2 {
        let state = DiskState::open(folder.path(), "collector", false).expect("opened");
        assert!(!state.database().has_plain().expect("read"));
        let due = (&state as &dyn State).rechecks(SOURCE, second(300), usize::MAX).expect("read");
        assert_eq!(due.len(), 300);
        assert!(due.iter().all(|(_, head, _, found)| head == "a/" && *found == recheck));
        assert!((&state as &dyn State).entry(SOURCE, "a").expect("read").is_some());
    }
}

/// Packing writes the sidecar: a damaged one is kept before.
#[test]
fn a_rebuild_packs_rechecks_and_keeps_what_was_damaged() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let dir = folder.path();
    with_plain_rechecks(dir, 3);
    std::fs::write(sidecar::path_of(dir), "torn").expect("written");
    let state = DiskState::rebuild(dir, "collector", false, &[]).expect("rebuilt");
    assert_eq!((&state as &dyn State).rechecks(SOURCE, second(9), usize::MAX).expect("read").len(), 3);
    assert_eq!(std::fs::read_to_string(dir.join("damaged-1/sidecar.json")).expect("kept"), "torn");
}

/// A database of a version that kept a pair per ledger entry.
#[test]
fn plain_ledger_entries_are_packed_at_start() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let dir = folder.path();
    let state = DiskState::open(dir, "collector", false).expect("opened");
    state.apply(&Batch(vec![Change::PutDeadLetter(7)])).expect("applied");
    drop(state);
    let mut v1 = vec![1, 0];
    v1.extend([0; 24]);
    v1.extend(b"etag");
    let keys: Vec<_> = (0..2500).map(|number| trail_key(number % 3, 1, number)).collect();
    for part in keys.chunks(150) {
        let part = part.iter().map(|key| (format::named_key(format::ENTRY, SOURCE, key), Some(v1.clone())));
        plain(dir, part.collect());
    }
    let old = std::fs::read_to_string(sidecar::path_of(dir)).expect("read");
    for _ in 0..2 {
        let state = DiskState::open(dir, "collector", false).expect("opened");
        assert!(!state.database().has_plain().expect("read"));
        let mut want = keys.clone();
        want.sort();
        let entries = (&state as &dyn State).entries(SOURCE, None, usize::MAX).expect("read");
        assert!(entries.iter().all(|(_, entry)| entry.etag == "etag"));
        assert_eq!(entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), want);
        drop(state);
    }
    assert_eq!(std::fs::read_to_string(sidecar::path_of(dir)).expect("read"), old, "the same batch");
}

/// A database that is written anew between two batches goes on with all it holds.
#[test]
fn a_file_that_grows_is_exchanged_while_it_is_used() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let dir = folder.path();
    let overgrown = Overgrown { percent: 200, bytes: 0 };
    let state = DiskState::open_unless(dir, "collector", false, overgrown).expect("opened");
    // held open, so that no later file gets its number
    let (first, held) = (inode(dir), File::open(dir.join("sled/db")).expect("opened"));
    let mut want = std::collections::BTreeSet::new();
    for round in 0..60 {
        let keys: Vec<_> = (0..150).map(|at| trail_key(at % 5, 1 + round / 20, round * 150 + at)).collect();
        let gone =
            want.iter().filter(|key: &&String| key.contains(&format!("/{:02}/", round / 20))).take(140);
        let gone: Vec<String> = gone.cloned().collect();
        let changes = gone.iter().map(|key| Change::DeleteEntry(SOURCE, key.clone()));
        state.apply(&Batch(changes.collect())).expect("applied");
        state.apply(&Batch(keys.iter().cloned().map(entry).collect())).expect("applied");
        want.retain(|key| !gone.contains(key));
        want.extend(keys);
    }
    let keys = |state: &DiskState| -> Vec<String> {
        let entries = (state as &dyn State).entries(SOURCE, None, usize::MAX).expect("read");
        entries.into_iter().map(|(key, _)| key).collect()
    };
    assert!(keys(&state).iter().eq(&want));
    assert_ne!(inode(dir), first, "it was exchanged");
    drop(held);
    drop(state);
    let state = DiskState::open(dir, "collector", false).expect("opened");
    assert!(keys(&state).iter().eq(&want), "opened again");
}
