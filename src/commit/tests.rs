//! The committer on fakes that log their calls, on paused time: what is done in which order, and
//! what is there after sink or state failed at each point.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::fakes::{Bench, SOURCE, Script, settings};
use super::*;
use crate::pattern::PrefixPattern;
use crate::state::history;
use crate::state::{LeafRecord, LedgerEntry, MAX_BATCH, Marker, Outcome};

const FOREVER: u32 = u32::MAX;

fn object(key: &str) -> ObjectId {
    ObjectId { source: SOURCE, key: key.to_owned() }
}

fn progress(offset: u64) -> Progress {
    Progress {
        etag: "e".into(),
        ordinal: offset,
        delivered: offset,
        dead_letters: 0,
        offset,
        log_type: "cloudtrail".into(),
        decoder: 1,
        unfinished: false,
    }
}

fn chunk(key: &str, text: &str, offset: u64) -> Chunk {
    // no room behind them, which would count as well
    let records = format!("{text}\n").into_bytes().into_boxed_slice().into_vec();
    Chunk { object: object(key), records, dead_letters: Vec::new(), progress: progress(offset) }
}

fn entry(key: &str) -> Change {
    let at = DateTime::UNIX_EPOCH;
    let entry = LedgerEntry {
        etag: "e".into(),
        outcome: Outcome::Collected,
        records: 1,
        last_modified: at,
        settled_at: at,
        reason: None,
    };
    Change::PutEntry(SOURCE, key.to_owned(), entry)
}

fn settlement(key: &str) -> Settlement {
    Settlement { object: object(key), changes: vec![entry(key)], keep_progress: false }
}

fn is_settled(bench: &Bench, key: &str) -> bool {
    bench.state.entry(SOURCE, key).expect("the state reads").is_some()
}

/// Whether a future is still waiting after a minute.
async fn waits<F: Future>(future: F) -> bool {
    tokio::time::timeout(Duration::from_secs(60), future).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_group_is_written_committed_applied_and_then_answered() {
    let bench = Bench::new(settings());
    bench.handle.write(chunk("a", "a1", 2)).await.expect("taken");
    bench.handle.write(chunk("b", "b1", 5)).await.expect("taken");
    bench.handle.write(chunk("a", "a2", 4)).await.expect("taken");
    bench.handle.settle(settlement("a")).await.expect("settled");
    let log = bench.script.take_log();
    let apply = "apply +entry:a +progress:b@5 sink@9 dead@0";
    assert_eq!(
        log,
        ["write a1", "write b1", "write a2", "commit", apply],
        "what is in flight is in the batch"
    );
    assert!(is_settled(&bench, "a"));

    bench.handle.write(chunk("b", "b2", 8)).await.expect("taken");
    bench.handle.settle(settlement("b")).await.expect("settled");
    let apply = "apply -progress:b +entry:b sink@12 dead@0";
    assert_eq!(bench.script.take_log(), ["write b2", "commit", apply], "progress goes with the settling");
    assert_eq!(bench.state.all_progress(SOURCE).expect("read"), []);

    bench.handle.settle(settlement("empty")).await.expect("settled");
    let apply = "apply +entry:empty sink@12 dead@0";
    assert_eq!(bench.script.take_log(), [apply], "without records the sink is left alone");

    let script = bench.script.clone();
    bench.end().await.expect("it ends well");
    assert_eq!(script.take_log(), ["commit finish", "apply sink@12 dead@0", "seal"]);
}

#[tokio::test(start_paused = true)]
async fn a_sealed_segment_is_sealed_after_the_batch_and_before_the_next_write() {
    let bench = Bench::new(settings());
    bench.script.inner().seal_next = true;
    bench.handle.write(chunk("a", "a1", 2)).await.expect("taken");
    bench.handle.settle(settlement("a")).await.expect("settled");
    let expected = ["write a1", "commit", "apply +entry:a sink@3 dead@0", "seal"];
    assert_eq!(bench.script.take_log(), expected);
    bench.script.inner().due_in = Some(Duration::from_secs(5));
    bench.handle.flush().await.expect("flushed");
    assert_eq!(bench.script.take_log(), [""; 0], "nothing to commit, and no segment is due yet");
    bench.script.inner().due_in = Some(Duration::ZERO);
    bench.handle.flush().await.expect("flushed");
    assert_eq!(bench.script.take_log()[0], "commit", "a segment that is due is committed without records");
}

#[tokio::test(start_paused = true)]
async fn progress_is_kept_for_an_object_that_is_tried_again() {
    let bench = Bench::new(settings());
    bench.handle.write(chunk("a", "a1", 2)).await.expect("taken");
    let later = Settlement { changes: vec![], keep_progress: true, ..settlement("a") };
    bench.handle.settle(later).await.expect("settled");
    assert_eq!(bench.state.progress(SOURCE, "a").expect("read"), Some(progress(2)));
    bench.handle.settle(settlement("a")).await.expect("settled");
    assert_eq!(bench.state.progress(SOURCE, "a").expect("read"), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_settled_while_the_sink_is_down_and_all_is_there_once_after() {
    for (name, down) in [
        ("the first write", vec![("write", 1)]),
        ("the commit, often", vec![("commit", 9)]),
        ("write, then commit", vec![("write", 1), ("commit", 1)]),
        ("going back fails too", vec![("write", 2), ("recover", 3)]),
    ] {
        let bench = Bench::new(settings());
        bench.handle.write(chunk("z", "before", 1)).await.expect("taken");
        bench.handle.flush().await.expect("flushed");
        bench.script.inner().down = down.iter().map(|(call, _)| (*call, FOREVER)).collect();
        bench.handle.write(chunk("a", "a1", 2)).await.expect("taken");
        bench.handle.write(chunk("a", "a2", 4)).await.expect("taken");
        assert!(waits(bench.handle.settle(settlement("a"))).await, "{name}: answered while the sink is down");
        assert!(!is_settled(&bench, "a"), "{name}");
        assert_eq!(bench.state.progress(SOURCE, "a").expect("read"), None, "{name}");
        assert_eq!(bench.script.durable_text(), "before\n", "{name}");
        bench.script.inner().down = down.into_iter().collect();
        bench.handle.flush().await.expect("flushed");
        assert!(is_settled(&bench, "a"), "{name}: what waited is settled");
        assert_eq!(bench.script.durable_text(), "before\na1\na2\n", "{name}");
        let position = bench.state.sink().expect("read").expect("stored");
        assert_eq!(position.length, 13, "{name}");
        assert!(bench.script.take_log().iter().any(|call| call == "recover 7"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_fails_is_made_good_by_recovery() {
    let bench = Bench::new(settings());
    {
        let mut script = bench.script.inner();
        script.seal_next = true;
        script.down.insert("seal", 1);
    }
    bench.handle.write(chunk("a", "a1", 2)).await.expect("taken");
    bench.handle.settle(settlement("a")).await.expect("settled");
    let expected = ["write a1", "commit", "apply +entry:a sink@3 dead@0", "seal", "recover 3"];
    assert_eq!(bench.script.take_log(), expected);
    bench.handle.write(chunk("b", "b1", 2)).await.expect("taken");
    bench.handle.settle(settlement("b")).await.expect("settled");
    assert_eq!(bench.script.durable_text(), "a1\nb1\n");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_stays_down_is_given_up_after_its_timeout() {
    let bench = Bench::new(CommitSettings { sink_timeout: Some(Duration::from_secs(300)), ..settings() });
    bench.script.inner().down.insert("commit", FOREVER);
    bench.handle.write(chunk("a", "a1", 2)).await.expect("taken");
    let began = Instant::now();
    let error = bench.handle.settle(settlement("a")).await.expect_err("given up");
    assert!(matches!(error, CommitError::Stopped), "{error}");
    let took = began.elapsed();
    assert!((300..330).contains(&took.as_secs()), "{took:?}");
    assert!(bench.stop.is_cancelled(), "everyone else is told to stop");
    assert!(!is_settled(&bench, "a"));
    assert!(matches!(bench.handle.write(chunk("b", "b1", 2)).await, Err(CommitError::Stopped)));
    let ended = bench.end().await.expect_err("it tells why");
    assert!(matches!(ended, CommitError::Sink(SinkError::Down { .. })), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_fails_is_fatal_and_a_restart_is_exact() {
    let bench = Bench::new(settings());
    bench.handle.write(chunk("a", "a1", 2)).await.expect("taken");
    bench.handle.settle(settlement("a")).await.expect("settled");
    bench.script.inner().fail_from = Some(1);
    bench.handle.write(chunk("b", "b1", 2)).await.expect("taken");
    let error = bench.handle.settle(settlement("b")).await.expect_err("never answered");
    assert!(matches!(error, CommitError::Stopped), "{error}");
    assert!(bench.stop.is_cancelled());
    let (script, state, folder) = (bench.script.clone(), bench.state.clone(), bench.folder.clone());
    let ended = bench.end().await.expect_err("it tells why");
    assert!(matches!(ended, CommitError::State(StateError::Damaged { .. })), "{ended}");
    assert_eq!(script.durable_text(), "a1\nb1\n", "the sink is ahead of the state");

    script.inner().fail_from = None;
    let again = Bench::open(settings(), script.clone(), state, folder).expect("it opens");
    assert_eq!(script.durable_text(), "a1\n", "and goes back to it");
    again.handle.write(chunk("b", "b1", 2)).await.expect("taken");
    again.handle.settle(settlement("b")).await.expect("settled");
    assert_eq!(script.durable_text(), "a1\nb1\n");
}

#[tokio::test(start_paused = true)]
async fn where_a_fresh_sink_stands_is_stored_before_the_first_record() {
    let script = Script::default();
    let state = Arc::new(super::fakes::LoggedState {
        inner: crate::state::memory::MemoryState::default(),
        script: script.clone(),
    });
    let folder = Arc::new(tempfile::tempdir().expect("temporary folder"));
    let bench = Bench::open(settings(), script.clone(), state, folder).expect("a fresh state opens");
    assert_eq!(script.take_log(), ["recover 0", "commit", "apply sink@0 dead@0"]);
    let (state, folder) = (bench.state.clone(), bench.folder.clone());
    bench.end().await.expect("it ends well");
    script.take_log();
    let again = Bench::open(settings(), script.clone(), state, folder).expect("it opens");
    assert_eq!(script.take_log(), ["recover 0", "commit"], "known already");
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn groups_are_due_by_age_bytes_and_lull() {
    let bench = Bench::new(settings());
    let began = Instant::now();
    bench.handle.write(chunk("a", "a1", 2)).await.expect("taken");
    tokio::time::sleep(Duration::from_millis(995)).await;
    assert_eq!(bench.script.take_log(), [""; 0], "nobody waits: the group gathers");
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(bench.script.take_log().len(), 3, "by age");

    let began_lull = Instant::now();
    bench.handle.settle(settlement("a")).await.expect("settled");
    let took = began_lull.elapsed();
    assert!((LULL..LULL * 3).contains(&took), "somebody waits and nothing more comes: {took:?}");

    bench.script.take_log();
    bench.handle.write(chunk("b", &"x".repeat(999), 2)).await.expect("taken");
    bench.handle.write(chunk("b", "y", 4)).await.expect("taken");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.script.take_log()[1], "commit", "by bytes, with the first chunk alone");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_due_at_its_operations() {
    for (operations, commits) in [(1, 4), (2, 2), (3, 2), (4, 1), (120, 1)] {
        let bench = Bench::new(CommitSettings { operations, ..settings() });
        bench.script.take_log();
        let keys = ["a", "b", "c", "d"];
        let settled = keys.map(|key| bench.handle.settle(settlement(key)));
        assert!(join_all(settled).await.into_iter().all(|answer| answer.is_ok()));
        let log = bench.script.take_log();
        assert_eq!(
            log.iter().filter(|line| line.starts_with("apply")).count(),
            commits,
            "{operations}: {log:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn writers_wait_while_the_buffer_is_full() {
    let bench = Bench::new(CommitSettings { buffer_bytes: 100, ..settings() });
    bench.script.inner().down.insert("commit", FOREVER);
    bench.handle.write(chunk("a", &"x".repeat(59), 1)).await.expect("taken");
    bench.handle.write(chunk("a", &"y".repeat(39), 2)).await.expect("the buffer is full to the byte");
    assert!(waits(bench.handle.write(chunk("a", "", 3))).await, "no room, not even for a newline");
    bench.script.inner().down.clear();
    bench.handle.write(chunk("a", &"z".repeat(500), 4)).await.expect("larger than the buffer goes alone");
    bench.handle.flush().await.expect("flushed");
    let text = bench.script.durable_text();
    let lines: Vec<_> = text.lines().map(|line| (line.chars().next(), line.len())).collect();
    assert_eq!(lines, [(Some('x'), 59), (Some('y'), 39), (Some('z'), 500)]);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_durable_with_their_object() {
    let bench = Bench::new(settings());
    let letters = b"{\"record\":0}\n".to_vec();
    let bad = Chunk { records: Vec::new(), dead_letters: letters.clone(), ..chunk("a", "", 2) };
    bench.script.inner().down.insert("commit", 2);
    bench.handle.write(bad).await.expect("taken");
    bench.handle.settle(settlement("a")).await.expect("settled");
    let path = bench.folder.path().join("dead.ndjson");
    assert_eq!(std::fs::read(&path).expect("written"), letters, "once, although the sink was down twice");
    assert_eq!(bench.state.dead_letter().expect("read"), Some(letters.len() as u64));
}

#[tokio::test(start_paused = true)]
async fn batches_stay_within_what_the_state_takes() {
    // The state on disk adds its sequence number and its instance.
    const MOST: usize = MAX_BATCH - 2;
    let bench = Bench::new(CommitSettings { bytes: 1 << 20, buffer_bytes: 1 << 20, ..settings() });
    let keys: Vec<_> = (0..64).map(|number| format!("k{number:02}")).collect();
    for round in 0..3 {
        for key in &keys {
            bench.handle.write(chunk(key, "r", round)).await.expect("taken");
        }
        if round > 0 {
            bench.handle.flush().await.expect("flushed");
        }
    }
    for key in &keys {
        bench.handle.write(chunk(key, "r", 9)).await.expect("taken");
    }
    let settled = keys.iter().map(|key| {
        let mut settlement = settlement(key);
        settlement.changes.extend(["p", "q", "r", "s", "t", "u"].map(entry));
        bench.handle.settle(settlement)
    });
    assert!(join_all(settled).await.into_iter().all(|answer| answer.is_ok()));
    bench
        .handle
        .apply((0..1000).map(|number| entry(&format!("x{number:04}"))).collect())
        .await
        .expect("applied");
    let batches = bench.script.inner().batches.clone();
    assert!(batches.iter().all(|size| *size <= MOST), "{batches:?}");
    assert!(batches.iter().any(|size| *size > 120), "groups are filled: {batches:?}");
    assert!(keys.iter().all(|key| is_settled(&bench, key)));
    assert_eq!(bench.state.entries(SOURCE, None, usize::MAX).expect("read").len(), 64 + 6 + 1000);
}

fn months() -> (Leaf, PrefixTime, PrefixTime) {
    let leaf = PrefixPattern::parse("a/{YYYY}/{m}").expect("a pattern").leaf("a/").expect("its head");
    let time = |day: &str| leaf.time_of(format!("{day}T00:00:00Z").parse().expect("an instant"));
    let (january, october) = (time("2024-01-01"), time("2024-10-01"));
    (leaf, january, october)
}

fn closing(leaf: &Leaf, time: PrefixTime) -> Closing {
    let closed = Marker { closed: true, ..Marker::default() };
    let record = LeafRecord { closed_through: leaf.next(time), sparse_until: None, dropped: false };
    Closing {
        found_by: None,
        recheck: None,
        source: SOURCE,
        source_name: "main".into(),
        prefixes: vec![(leaf.clone(), time)],
        changes: vec![
            Change::PutLeaf(SOURCE, leaf.head().to_owned(), record),
            Change::PutMarker(SOURCE, leaf.head().to_owned(), time, Box::new(closed)),
        ],
        at: "2024-02-03T00:00:00Z".parse().expect("an instant"),
    }
}

/// The keys in the committed part of the history.
fn history_keys(bench: &Bench) -> Vec<String> {
    let mut keys = Vec::new();
    for (file, length) in bench.state.history().expect("read") {
        let mut frames = history::frames(bench.folder.path(), &file, length);
        while let Some(found) = frames
            .visit_next(|frame| {
                assert_eq!(
                    (frame.header().source.as_str(), frame.header().prefix.as_str()),
                    ("main", "a/2024/1")
                );
                frame.map(|entry| entry.map(|entry| entry.key)).collect::<Result<Vec<_>, _>>()
            })
            .expect("a whole frame")
        {
            keys.extend(found);
        }
    }
    keys
}

fn ledger_keys(bench: &Bench) -> Vec<String> {
    let entries = bench.state.entries(SOURCE, None, usize::MAX).expect("read");
    entries.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test(start_paused = true)]
async fn closing_is_history_then_one_batch_then_the_ledger() {
    let bench = Bench::new(settings());
    let (leaf, january, _) = months();
    bench
        .handle
        .apply(vec![entry("a/2024/1/x"), entry("a/2024/10/x"), entry("a/2024/1/y")])
        .await
        .expect("applied");
    bench.script.take_log();
    bench.handle.write(chunk("in flight", "r", 2)).await.expect("taken");
    bench.handle.close(closing(&leaf, january)).await.expect("closed");
    let log = bench.script.take_log();
    let expected = [
        "write r",
        "commit",
        "apply +progress:in flight@2 sink@2 dead@0",
        "apply +leaf:a/ +marker:2024-01-01T00:00 +cleanup:2024-01-01T00:00 +history",
        "apply -entry:a/2024/1/x -entry:a/2024/1/y -cleanup:2024-01-01T00:00",
    ];
    assert_eq!(log, expected, "what came before is durable first");
    assert_eq!(history_keys(&bench), ["a/2024/1/x", "a/2024/1/y"]);
    assert_eq!(ledger_keys(&bench), ["a/2024/10/x"], "October begins with the same text, and stays");
}

/// Closing is cut off at each of its batches; the next start repeats what is left.
#[tokio::test(start_paused = true)]
async fn a_closing_that_is_cut_off_is_finished_by_the_next_start() {
    let (leaf, january, _) = months();
    let keys: BTreeSet<String> = (0..400).map(|number| format!("a/2024/1/{number:03}")).collect();
    let mut cut_off = 0;
    for batch in 0.. {
        let bench = Bench::new(settings());
        bench.handle.apply(keys.iter().map(|key| entry(key)).collect()).await.expect("applied");
        let before = bench.script.inner().batches.len();
        bench.script.inner().fail_from = Some(before + batch);
        let closed = bench.handle.close(closing(&leaf, january)).await;
        let (script, state, folder) = (bench.script.clone(), bench.state.clone(), bench.folder.clone());
        script.inner().fail_from = None;
        let bench = match closed {
            Ok(()) => bench,
            Err(_) => {
                cut_off += 1;
                assert!(bench.end().await.is_err());
                Bench::open(settings(), script, state, folder).expect("it opens")
            }
        };
        let is_closed = !bench.state.markers(SOURCE, "a/").expect("read").is_empty();
        let known: BTreeSet<_> = history_keys(&bench).into_iter().chain(ledger_keys(&bench)).collect();
        assert_eq!(known, keys, "batch {batch}: no settled key is forgotten");
        if !is_closed {
            assert_eq!(history_keys(&bench), [""; 0], "batch {batch}: history that was not committed is cut");
            bench.handle.close(closing(&leaf, january)).await.expect("closed");
        }
        for (head, time) in bench.state.cleanups(SOURCE).expect("read") {
            assert_eq!(head, leaf.head());
            bench.handle.clean_up(SOURCE, leaf.clone(), time).await.expect("cleaned up");
        }
        assert_eq!(
            history_keys(&bench),
            keys.iter().cloned().collect::<Vec<_>>(),
            "batch {batch}: each once"
        );
        assert_eq!(ledger_keys(&bench), [""; 0], "batch {batch}");
        assert_eq!(bench.state.cleanups(SOURCE).expect("read"), []);
        assert!(bench.script.inner().batches.iter().all(|size| *size <= MAX_BATCH - 2));
        if closed.is_ok() {
            break;
        }
    }
    assert_eq!(cut_off, 4, "the closing batch and three of clean-up");
}
