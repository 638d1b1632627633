//! One contract for every state, and the rules by which the state on disk opens: it is the one,
//! and as new as, the last batch left it, or it is an error that says so.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;
use s3sweep::pattern::PrefixTime;
use s3sweep::sink::Position;
use s3sweep::state::disk::DiskState;
use s3sweep::state::memory::MemoryState;
use s3sweep::state::overlay::OverlayState;
use s3sweep::state::{
    Batch, Change, LeafRecord, LedgerEntry, Outcome, Pair, Quarantined, Recheck, SourceKey, SourceRecord,
    State, StateError, format,
};

const ONE: SourceKey = SourceKey { id: 1, generation: 1 };
const TWO: SourceKey = SourceKey { id: 1, generation: 2 };

fn entry(source: SourceKey, key: &str) -> Change {
    let at = DateTime::UNIX_EPOCH;
    let entry = LedgerEntry {
        etag: format!("e-{key}"),
        outcome: Outcome::Collected,
        records: 3,
        last_modified: at,
        settled_at: at,
        reason: None,
    };
    Change::PutEntry(source, key.to_owned(), entry)
}

fn time(minutes: i64) -> PrefixTime {
    PrefixTime::from_minutes(minutes).unwrap()
}

fn marker(head: &str, minutes: i64) -> Change {
    Change::PutMarker(ONE, head.to_owned(), time(minutes), Box::default())
}

fn source() -> SourceRecord {
    SourceRecord {
        id: 1,
        generation: 1,
        bucket: "acme".into(),
        pattern: "a".into(),
        floor_settings: String::new(),
        floor_epoch: 1,
        start: DateTime::UNIX_EPOCH,
        discovered_at: None,
        stale: vec![],
        last_sweep: None,
        sweeps: 0,
        readable_in: None,
    }
}

fn apply(state: &dyn State, changes: impl Into<Vec<Change>>) {
    state.apply(&Batch(changes.into())).unwrap();
}

fn pairs(state: &dyn State) -> Vec<Pair> {
    state.scan(&[], &[0xff], usize::MAX).unwrap()
}

fn names<T>(page: Vec<(String, T)>) -> Vec<String> {
    page.into_iter().map(|(name, _)| name).collect()
}

/// What every state does.
fn contract(state: &dyn State) {
    assert_eq!(pairs(state), [], "it begins empty");
    assert_eq!((state.source("s").unwrap(), state.sink().unwrap()), (None, None));

    let keys = ["a/1/x", "a/1", "a/10/x", "b", "a/1/é", "a/1/y"];
    apply(state, keys.map(|key| entry(ONE, key)));
    apply(state, [entry(TWO, "a/1/other generation"), entry(SourceKey { id: 2, generation: 1 }, "a/1/z")]);
    let sorted = ["a/1", "a/1/x", "a/1/y", "a/1/é", "a/10/x", "b"];
    assert_eq!(names(state.entries(ONE, None, 99).unwrap()), sorted, "byte order, one generation");
    assert_eq!(state.entry(ONE, "b").unwrap().unwrap().etag, "e-b");
    assert_eq!(state.entry(TWO, "b").unwrap(), None);

    for (name, literal, after, limit, want) in [
        ("all that begins so", "a/1/", None, 99, &["a/1/x", "a/1/y", "a/1/é"][..]),
        ("shared beginnings", "a/1", None, 99, &sorted[..5]),
        ("a page", "a/1", None, 2, &sorted[..2]),
        ("after a key, exclusive", "a/1", Some("a/1/x"), 2, &sorted[2..4]),
        ("after a key that is not there", "a/1", Some("a/1/xx"), 99, &sorted[2..5]),
        ("after the last", "a/1", Some("a/10/x"), 99, &[]),
        ("after a key before the beginning", "a/1/", Some("a/"), 99, &sorted[1..4]),
        ("after a key behind the end", "a/1/", Some("c"), 99, &[]),
        ("everything", "", None, 99, &sorted[..]),
        ("nothing", "z", None, 99, &[]),
    ] {
        assert_eq!(names(state.entries_under(ONE, literal, after, limit).unwrap()), want, "{name}");
    }

    let mut paged = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = names(state.entries(ONE, after.as_deref(), 2).unwrap());
        after = page.last().cloned();
        paged.extend(page);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, sorted, "pages miss and repeat nothing");

    // deletes, and several changes of one key in a batch: the last one counts
    apply(state, [Change::DeleteEntry(ONE, "b".into()), Change::DeleteEntry(ONE, "never was".into())]);
    assert_eq!(state.entry(ONE, "b").unwrap(), None);
    apply(state, [entry(ONE, "b"), Change::DeleteEntry(ONE, "b".into())]);
    assert_eq!(state.entry(ONE, "b").unwrap(), None, "put, then deleted");
    apply(state, [Change::DeleteEntry(ONE, "a/1".into()), entry(ONE, "a/1")]);
    assert!(state.entry(ONE, "a/1").unwrap().is_some(), "deleted, then put");

    apply(state, [marker("a/", 5), marker("a/b/", 1), marker("a/", -5), marker("a", 9)]);
    let times =
        |head| state.markers(ONE, head).unwrap().into_iter().map(|(time, _)| time).collect::<Vec<_>>();
    assert_eq!(times("a/"), [time(-5), time(5)], "oldest first, of this head alone");
    apply(state, [Change::DeleteMarker(ONE, "a/".into(), time(5))]);
    assert_eq!((times("a/"), times("a/b/")), (vec![time(-5)], vec![time(1)]));

    apply(
        state,
        [Change::PutCleanup(ONE, "a/".into(), time(7)), Change::PutCleanup(TWO, "a/".into(), time(8))],
    );
    assert_eq!(state.cleanups(ONE).unwrap(), [("a/".to_owned(), time(7))]);
    apply(state, [Change::DeleteCleanup(ONE, "a/".into(), time(7))]);
    assert_eq!(state.cleanups(ONE).unwrap(), []);

    let record = LeafRecord { closed_through: time(3), sparse_until: None, dropped: false };
    apply(
        state,
        [
            Change::PutLeaf(ONE, "a/".into(), record.clone()),
            Change::PutSource("s".into(), Box::new(source())),
        ],
    );
    assert_eq!(state.leaf(ONE, "a/").unwrap(), Some(record.clone()));
    assert_eq!(state.leaves(ONE, None, 9).unwrap(), [("a/".to_owned(), record)]);
    assert_eq!(state.sources().unwrap(), [("s".to_owned(), source())]);

    let position = Position { sequence: 3, length: 9, ..Position::default() };
    apply(
        state,
        [Change::PutSink(position.clone()), Change::PutDeadLetter(4), Change::PutHistory("h".into(), 5)],
    );
    assert_eq!((state.sink().unwrap(), state.dead_letter().unwrap()), (Some(position), Some(4)));
    assert_eq!(state.history().unwrap(), [("h".to_owned(), 5)]);
    apply(state, [Change::DeleteHistory("h".into())]);
    assert_eq!(state.history().unwrap(), []);

    let quarantined = |key: &str| Quarantined {
        source: "s".into(),
        bucket: "acme".into(),
        key: key.into(),
        etag: "e".into(),
        class: "content".into(),
        reason: "r".into(),
        offset: 0,
        records: 0,
        attempts: 2,
        at: DateTime::UNIX_EPOCH,
        size: 5,
        progress: None,
    };
    apply(state, ["q2", "q1"].map(|key| Change::PutQuarantined(1, Box::new(quarantined(key)))));
    let first = state.quarantine(None, 1).unwrap().remove(0);
    assert_eq!(first.1.key, "q1");
    assert_eq!(state.quarantine(Some(&first.0), 9).unwrap().remove(0).1.key, "q2");

    // what belongs to a generation is found and deleted whatever it is
    let (before, mut deleted) = (pairs(state).len(), 0);
    loop {
        let keys = state.stale_keys(ONE, 3).unwrap();
        if keys.is_empty() {
            break;
        }
        assert!(keys.len() <= 3);
        deleted += keys.len();
        apply(state, keys.into_iter().map(Change::DeleteStale).collect::<Vec<_>>());
    }
    assert_eq!((deleted, pairs(state).len()), (9, before - 9), "5 entries, 3 markers, 1 leaf");
    assert_eq!(names(state.entries(TWO, None, 9).unwrap()), ["a/1/other generation"]);
    assert_eq!(state.quarantine(None, 9).unwrap().len(), 2, "the quarantine outlives generations");
    assert_eq!(state.scan(b"z", b"a", 9).unwrap(), [], "a range that ends before it begins");
}

fn open(dir: &Path) -> Result<DiskState, StateError> {
    DiskState::open(dir, "collector", false)
}

#[test]
fn the_state_in_memory_keeps_the_contract() {
    contract(&MemoryState::default());
}

#[test]
fn an_overlay_keeps_the_contract() {
    contract(&OverlayState::new(Arc::new(MemoryState::default())));
}

/// Every pair of the base is hidden by the overlay: what is left must behave like an empty state.
#[test]
fn an_overlay_that_hides_its_base_keeps_the_contract() {
    let base: Arc<dyn State> = Arc::new(MemoryState::default());
    apply(&*base, ["a/1", "a/1/x", "a/2", "zz"].map(|key| entry(ONE, key)));
    let stored = pairs(&*base);
    let over = OverlayState::new(base.clone());
    apply(&over, stored.iter().map(|(key, _)| Change::DeleteStale(key.clone())).collect::<Vec<_>>());
    contract(&over);
    assert_eq!(pairs(&*base), stored, "the base is never changed");
}

#[test]
fn the_state_on_disk_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    {
        let state = open(folder.path()).unwrap();
        // What it adds of its own (sequence, instance) is no part of the contract's beginning.
        contract(&WithoutOwn(&state));
    }
    let state = open(folder.path()).unwrap();
    assert_eq!(names((&state as &dyn State).entries(TWO, None, 9).unwrap()), ["a/1/other generation"]);
}

/// The state on disk without the pairs that it keeps of itself.
struct WithoutOwn<'a>(&'a DiskState);

impl State for WithoutOwn<'_> {
    fn apply(&self, batch: &Batch) -> Result<(), StateError> {
        self.0.apply(batch)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.0.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        let own = [format::meta_key("sequence"), format::meta_key("instance")];
        let pairs = self.0.scan(from, to, usize::MAX)?;
        Ok(pairs.into_iter().filter(|(key, _)| !own.contains(key)).take(limit).collect())
    }
}

/// A change of one of the kinds, packed on disk or not, before, between and behind each other.
fn change(key: u8, put: bool, kind: u8) -> Change {
    let (due, minutes) = (DateTime::UNIX_EPOCH + TimeDelta::seconds(key.into()), time(i64::from(key % 5)));
    let head = || "a/".to_owned();
    match (kind, put) {
        (0, true) => entry(ONE, &format!("k{key}")),
        (0, false) => Change::DeleteEntry(ONE, format!("k{key}")),
        (1, true) => {
            let frames = vec![("2026-06-02.jsonl.zst".to_owned(), key.into())];
            let recheck = Recheck { closed_at: due, done: 0, frames, extra: put, waits_since: None };
            Change::PutRecheck(ONE, due, head(), minutes, Box::new(recheck))
        }
        (1, false) => Change::DeleteRecheck(ONE, due, head(), minutes),
        (2, true) => Change::PutMarker(ONE, head(), minutes, Box::default()),
        (2, false) => Change::DeleteMarker(ONE, head(), minutes),
        (_, true) => Change::PutPaused(format!("s{key}"), due),
        (_, false) => Change::DeletePaused(format!("s{key}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Memory, disk (reopened now and then) and overlay hold the same after the same batches.
    #[test]
    fn all_states_agree(batches in prop::collection::vec(
        (prop::collection::vec((0_u8..12, any::<bool>(), 0_u8..4), 1..20), any::<bool>()), 1..6),
        limit in 1..30_usize)
    {
        let folder = tempfile::tempdir().unwrap();
        let memory = MemoryState::default();
        let over = OverlayState::new(Arc::new(MemoryState::default()));
        let mut disk = Some(open(folder.path()).unwrap());
        for (changes, reopen) in batches {
            let changes: Vec<_> = changes.into_iter().map(|(key, put, kind)| change(key, put, kind)).collect();
            if reopen {
                drop(disk.take());
                disk = Some(open(folder.path()).unwrap());
            }
            let disk = disk.as_ref().unwrap();
            for state in [&memory as &dyn State, &over, disk] {
                apply(state, changes.clone());
            }
            let want = pairs(&memory);
            prop_assert_eq!(&pairs(&over), &want);
            prop_assert_eq!(&pairs(&WithoutOwn(disk)), &want);
            prop_assert_eq!(WithoutOwn(disk).scan(&[], &[0xff], limit).unwrap(), &want[..want.len().min(limit)]);
            for (key, value) in &want {
                prop_assert_eq!(disk.get(key).unwrap(), Some(value.clone()));
            }
        }
    }
}

fn sequence(dir: &Path) -> u64 {
    s3sweep::state::sidecar::read(dir).unwrap().unwrap().sequence
}

#[test]
fn a_reopened_state_is_equal_and_counts_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert!(!DiskState::exists(dir));
    let before = {
        let state = open(dir).unwrap();
        apply(&state, [entry(ONE, "a"), Change::PutSource("s".into(), Box::new(source()))]);
        let record = LeafRecord { closed_through: time(1440), sparse_until: None, dropped: false };
        apply(&state, [Change::PutLeaf(ONE, "a/".into(), record), Change::PutSink(Position::default())]);
        pairs(&state)
    };
    assert!(DiskState::exists(dir));
    let state = open(dir).unwrap();
    assert_eq!(pairs(&state), before);
    assert_eq!(sequence(dir), 2);
    apply(&state, [Change::PutDeadLetter(5)]);
    let sidecar = s3sweep::state::sidecar::read(dir).unwrap().unwrap();
    assert_eq!((sidecar.sequence, sidecar.dead_letter, sidecar.instance.as_str()), (3, 5, "collector"));
    assert_eq!(sidecar.sources["s"].leaves["a/"], "1970-01-02T00:00", "what earlier runs stored is kept");
    assert_eq!(sidecar.sink, Some(Position::default()));
}

#[test]
fn a_second_instance_is_refused_while_the_first_runs() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(StateError::Locked { .. })));
    drop(first);
    assert!(open(folder.path()).is_ok());
}

#[test]
fn another_instances_state_must_be_adopted() {
    let folder = tempfile::tempdir().unwrap();
    apply(&open(folder.path()).unwrap(), [entry(ONE, "a")]);
    let as_other = |adopt| DiskState::open(folder.path(), "other", adopt);
    let Err(StateError::Foreign { found, expected, .. }) = as_other(false) else { panic!("taken") };
    assert_eq!((found.as_str(), expected.as_str()), ("collector", "other"));
    {
        let adopted = as_other(true).unwrap();
        assert!((&adopted as &dyn State).entry(ONE, "a").unwrap().is_some(), "what is there stays");
        apply(&adopted, [entry(ONE, "b")]);
    }
    assert!(as_other(false).is_ok(), "adopted once");
    assert!(matches!(open(folder.path()), Err(StateError::Foreign { .. })), "and no longer the first one's");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        match item.file_type().unwrap().is_dir() {
            true => copy(&item.path(), &target),
            false => drop(fs::copy(item.path(), target).unwrap()),
        }
    }
}

/// A closed state with some hundred entries, and its pairs.
fn filled() -> (tempfile::TempDir, Vec<Pair>) {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path()).unwrap();
    for batch in 0..5 {
        apply(&state, (0..100).map(|number| entry(ONE, &format!("{batch}/{number:03}"))).collect::<Vec<_>>());
    }
    let stored = pairs(&state);
    drop(state);
    (folder, stored)
}

fn damaged(dir: &Path, case: &str) -> String {
    match open(dir) {
        Err(StateError::Damaged { what }) => what,
        Err(other) => panic!("{case}: {other}"),
        Ok(_) => panic!("{case}: it opened"),
    }
}

#[test]
fn a_database_behind_its_sidecar_is_damaged() {
    let (folder, _) = filled();
    let dir = folder.path();
    let old = tempfile::tempdir().unwrap();
    copy(&dir.join("sled"), old.path());
    apply(&open(dir).unwrap(), [entry(ONE, "later")]);

    fs::remove_dir_all(dir.join("sled")).unwrap();
    copy(old.path(), &dir.join("sled"));
    let what = damaged(dir, "an older copy");
    assert!(what.contains("batch 5") && what.contains("at 6"), "{what}");

    fs::remove_dir_all(dir.join("sled")).unwrap();
    for round in ["deleted", "deleted, and opened once since"] {
        let what = damaged(dir, round);
        assert!(what.contains("batch 0") && what.contains("at 6"), "{round}: {what}");
    }
}

#[test]
fn a_database_ahead_of_its_sidecar_is_a_commit_that_was_cut_off() {
    let (folder, _) = filled();
    let dir = folder.path();
    let sidecar = fs::read(dir.join("sidecar.json")).unwrap();
    apply(&open(dir).unwrap(), [entry(ONE, "later")]);
    fs::write(dir.join("sidecar.json"), sidecar).unwrap();
    let state = open(dir).unwrap();
    assert!((&state as &dyn State).entry(ONE, "later").unwrap().is_some());
    apply(&state, [entry(ONE, "and on")]);
    assert_eq!(sequence(dir), 7, "it counts on from the database");
}

#[test]
fn a_damaged_or_later_sidecar_is_refused() {
    let (folder, _) = filled();
    let path = folder.path().join("sidecar.json");
    fs::write(&path, "{}").unwrap();
    damaged(folder.path(), "a sidecar without its checksum");
    let json = format!("{{\"version\":{}}}", s3sweep::state::sidecar::VERSION + 1);
    fs::write(&path, format!("{json}\n{:08x}\n", crc(json.as_bytes()))).unwrap();
    assert!(matches!(open(folder.path()), Err(StateError::Newer { .. })));
}

/// CRC-32 as in zip, bit by bit.
pub fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn what_a_stopped_snapshot_left_is_survived() {
    let (folder, stored) = filled();
    let db = folder.path().join("sled");
    for name in ["snap.0000000000000042.generating", "snap.0000000000000042"] {
        fs::write(db.join(name), "").unwrap();
    }
    let state = open(folder.path()).unwrap();
    assert_eq!(pairs(&state), stored);
    assert!(!db.join("snap.0000000000000042.generating").exists());
}

/// Whatever happens to the database's bytes: it is as it was, or an error; never a panic, and
/// never other contents.
#[test]
fn damage_is_an_error_and_no_panic() {
    let (folder, stored) = filled();
    let good = fs::read(folder.path().join("sled/db")).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut cases = vec![
        ("empty".to_owned(), Vec::new()),
        ("zeroes".to_owned(), vec![0; good.len()]),
        ("garbage".to_owned(), (0..good.len()).map(|at| (at * 31 % 251) as u8).collect()),
        ("half".to_owned(), good[..used / 2].to_vec()),
    ];
    for step in 0..60 {
        let at = step * used / 60;
        let mut bytes = good.clone();
        for byte in bytes.iter_mut().skip(at).take(3) {
            *byte ^= 0x55;
        }
        cases.push((format!("flipped at {at}"), bytes));
    }
    let mut refused = 0;
    for (case, bytes) in cases {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        fs::write(copied.path().join("sled/db"), bytes).unwrap();
        let found = catch_unwind(AssertUnwindSafe(|| match open(copied.path()) {
            Ok(state) => state.scan(&[], &[0xff], usize::MAX),
            Err(error) => Err(error),
        }));
        match found {
            Ok(Ok(pairs)) => assert!(pairs == stored, "{case}: it opened with other contents"),
            Ok(Err(StateError::Damaged { .. })) => refused += 1,
            Ok(Err(other)) => panic!("{case}: {other}"),
            Err(_) => panic!("{case}: a panic"),
        }
    }
    assert!(refused > 10, "{refused} of the damaged databases were refused");
}
