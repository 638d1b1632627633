use super::*;
use crate::state::{LedgerEntry, Outcome, SourceKey};

const SOURCE: SourceKey = SourceKey { id: 1, generation: 1 };

fn entry(key: String) -> Change {
    let at = chrono::DateTime::UNIX_EPOCH;
    let etag = "0123456789abcdef0123456789abcdef".to_owned();
    let entry =
        LedgerEntry { etag, outcome: Outcome::Collected, records: 100, last_modified: at, settled_at: at };
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
