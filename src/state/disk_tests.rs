use super::*;
use crate::state::{LedgerEntry, Outcome, SourceKey};

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

#[test]
fn a_database_that_has_grown_is_written_anew_with_all_it_holds() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let dir = folder.path();
    let state = DiskState::open(dir, "collector", false).expect("opened");
    for number in 0..40 {
        let keys = (0..150).map(|at| entry(trail_key(1, 1, number * 150 + at)));
        state.apply(&Batch(keys.collect())).expect("applied");
    }
    for number in 0..40 {
        let kept = if number == 7 { 100 } else { 150 };
        let gone = (0..kept).map(|at| Change::DeleteEntry(SOURCE, trail_key(1, 1, number * 150 + at)));
        state.apply(&Batch(gone.collect())).expect("applied");
    }
    let (before, size) = (pairs(&state), state.db.size_on_disk().expect("size"));
    drop(state);
    let live: usize = before.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(size > 2 * live as u64, "{size} bytes of file for {live}");

    for (case, overgrown) in [
        ("it is not large enough", Overgrown { factor: 1, bytes: size * 2 }),
        ("it is not large for its data", Overgrown { factor: 1000, bytes: 0 }),
    ] {
        let state = DiskState::open_unless(dir, "collector", false, overgrown).expect("opened");
        assert!(state.db.size_on_disk().expect("size") >= size, "{case}");
    }
    let state =
        DiskState::open_unless(dir, "collector", false, Overgrown { factor: 1, bytes: 0 }).expect("opened");
    assert_eq!(pairs(&state), before);
    let names: Vec<_> =
        std::fs::read_dir(dir).expect("listed").flatten().map(|item| item.file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("sled.")), "{names:?}");
    let after = state.db.size_on_disk().expect("size");
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
    let cases: [(&str, &[u8], Refused); 3] = [
        ("a malformed entry", &[1, 9], None),
        ("one of a later version", &[9], Some(|error| matches!(error, StateError::Newer { .. }))),
        (
            "a whole one",
            &format::encode(&entry("k".into())).1.expect("it puts"),
            Some(|error| matches!(error, StateError::NothingToRebuild { .. })),
        ),
    ];
    for (case, value, refused) in cases {
        let folder = tempfile::tempdir().expect("temporary folder");
        let dir = folder.path();
        let state = DiskState::open(dir, "collector", false).expect("opened");
        state.apply(&Batch(vec![Change::PutDeadLetter(7)])).expect("applied");
        state.db.insert(format::named_key(format::ENTRY, SOURCE, "k"), value).expect("inserted");
        drop(state);
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
        build(dir, before[..part].iter().cloned().map(Ok)).expect("built");
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

/// How the file grows: S3SWEEP_MONTH=LEAVES,KEYS simulates 30 days in which each leaf settles that
/// many keys a day and closes the day before. Prints file and live bytes day by day.
#[test]
#[ignore = "a measurement, to be run by hand with S3SWEEP_MONTH=100,100 --nocapture"]
#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement tells its figures")]
fn a_month_of_closings() {
    let setting = std::env::var("S3SWEEP_MONTH").unwrap_or_else(|_| "10,100".to_owned());
    let (leaves, keys) = setting.split_once(',').expect("LEAVES,KEYS");
    let (leaves, keys): (u64, u64) = (leaves.parse().expect("a number"), keys.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut state = DiskState::open(folder.path(), "collector", false).expect("opened");
    for day in 1..=30 {
        let put =
            (0..keys).flat_map(|number| (0..leaves).map(move |leaf| entry(trail_key(leaf, day, number))));
        let gone = (0..leaves).flat_map(|leaf| {
            (0..keys).map(move |number| Change::DeleteEntry(SOURCE, trail_key(leaf, day - 1, number)))
        });
        let mut changes = put.chain(gone.filter(|_| day > 1)).peekable();
        while changes.peek().is_some() {
            state.apply(&Batch(changes.by_ref().take(150).collect())).expect("applied");
        }
        let live: usize = pairs(&state).iter().map(|(key, value)| key.len() + value.len()).sum();
        let size = state.db.size_on_disk().expect("size");
        println!(
            "day {day}: {} KiB of file for {} KiB live ({:.1})",
            size / 1024,
            live / 1024,
            size as f64 / live as f64
        );
        if day % 10 == 0 {
            drop(state);
            state = DiskState::open_unless(folder.path(), "collector", false, OVERGROWN).expect("opened");
            println!("  opened: {} KiB", state.db.size_on_disk().expect("size") / 1024);
        }
    }
    state = state.rewritten("collector").expect("rewritten");
    println!("written anew: {} KiB", state.db.size_on_disk().expect("size") / 1024);
}
