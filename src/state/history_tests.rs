//! Tests of the history files.

use std::convert::Infallible;

use tempfile::TempDir;

use super::*;

const FILE: &str = "2026-06-02.jsonl.zst";

fn state_dir() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn header(prefix: &str, closed_at: &str) -> HistoryHeader {
    HistoryHeader {
        v: VERSION,
        source: "prod".into(),
        generation: 1,
        leaf: "AWSLogs/111122223333/CloudTrail/us-east-1/".into(),
        prefix: prefix.into(),
        closed_at: instant(closed_at),
        objects: None,
        recheck: None,
    }
}

fn entry(number: u64) -> HistoryEntry {
    HistoryEntry {
        key: format!("AWSLogs/{number:06}.json.gz"),
        etag: format!("etag{number}"),
        outcome: if number.is_multiple_of(7) { "empty" } else { "collected" }.into(),
        records: number,
        at: instant("2026-06-01T10:00:00Z"),
        reason: None,
    }
}

fn entries(count: u64) -> impl Iterator<Item = Result<HistoryEntry, Infallible>> {
    (0..count).map(|number| Ok(entry(number)))
}

fn open(folder: &TempDir, committed: &[(&str, u64)]) -> Result<History, HistoryError> {
    let committed = committed.iter().map(|(file, length)| ((*file).to_owned(), *length)).collect();
    History::open(folder.path(), &committed)
}

fn path(folder: &TempDir, file: &str) -> PathBuf {
    folder.path().join("history").join(file)
}

fn length(folder: &TempDir, file: &str) -> u64 {
    fs::metadata(path(folder, file)).expect("the file is there").len()
}

fn count(folder: &TempDir, offset: u64) -> Result<usize, HistoryError> {
    let mut count = 0;
    for entry in read(folder.path(), FILE, offset)? {
        entry?;
        count += 1;
    }
    Ok(count)
}

#[test]
fn frames_come_back_as_they_were_appended() {
    let folder = state_dir();
    let mut history = open(&folder, &[]).expect("opened");
    let counted = HistoryHeader { objects: Some(3000), ..header("a/", "2026-06-02T00:00:00Z") };
    let first = history.append(&counted, entries(3000)).expect("appended");
    let second = history.append(&header("b/", "2026-06-02T23:59:59Z"), entries(0)).expect("appended");
    let other = history.append(&header("c/", "2026-06-03T00:00:00Z"), entries(1)).expect("appended");
    assert_eq!((first.file.as_str(), first.offset, first.length), (FILE, 0, second.offset));
    assert_eq!(second.length, length(&folder, FILE));
    assert_eq!((other.file.as_str(), other.offset), ("2026-06-03.jsonl.zst", 0));

    let frame = read(folder.path(), FILE, 0).expect("begun");
    assert_eq!(frame.header(), &counted);
    let read_back: Vec<HistoryEntry> = frame.collect::<Result<_, _>>().expect("read");
    assert_eq!(read_back, (0..3000).map(entry).collect::<Vec<_>>());
    assert_eq!(read(folder.path(), FILE, second.offset).expect("begun").header().prefix, "b/");
    assert_eq!(count(&folder, second.offset).expect("read"), 0);

    let mut walk = frames(folder.path(), FILE, second.length);
    let mut seen = Vec::new();
    while let Some(prefix) = walk.visit_next(|frame| Ok(frame.header().prefix.clone())).expect("walked") {
        seen.push(prefix);
    }
    assert_eq!(seen, ["a/", "b/"]);
    assert_eq!(list(folder.path()).expect("listed")[FILE], second.length);
}

#[test]
fn the_lines_have_their_documented_form() {
    let folder = state_dir();
    let mut history = open(&folder, &[]).expect("opened");
    let counted = HistoryHeader { objects: Some(1), ..header("a/", "2026-06-02T01:02:03Z") };
    history.append(&counted, entries(1)).expect("appended");
    let bytes = zstd::decode_all(File::open(path(&folder, FILE)).expect("opened")).expect("zstd");
    let expected = concat!(
        r#"{"v":1,"source":"prod","generation":1,"leaf":"AWSLogs/111122223333/CloudTrail/us-east-1/","#,
        r#""prefix":"a/","closed_at":"2026-06-02T01:02:03Z","objects":1}"#,
        "\n",
        r#"{"key":"AWSLogs/000000.json.gz","etag":"etag0","outcome":"empty","records":0,"at":"2026-06-01T10:00:00Z"}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(bytes).expect("text"), expected);
}

#[test]
fn opening_goes_back_to_what_was_committed() {
    let folder = state_dir();
    let mut history = open(&folder, &[]).expect("opened");
    let first = history.append(&header("a/", "2026-06-02T01:00:00Z"), entries(500)).expect("appended");
    history.append(&header("b/", "2026-06-02T02:00:00Z"), entries(500)).expect("appended");
    history.append(&header("c/", "2026-06-05T02:00:00Z"), entries(5)).expect("appended");
    drop(history);
    fs::write(path(&folder, "notes.txt"), "mine").expect("written");

    // a torn second frame: some of its bytes, and others after a power cut
    let torn = first.length + 40;
    OpenOptions::new().write(true).open(path(&folder, FILE)).expect("opened").set_len(torn).expect("torn");
    let mut history = open(&folder, &[(FILE, first.length)]).expect("opened");
    assert_eq!(length(&folder, FILE), first.length);
    assert!(!path(&folder, "2026-06-05.jsonl.zst").exists(), "no length of it was committed");
    assert!(path(&folder, "notes.txt").exists());
    let again = history.append(&header("b/", "2026-06-02T02:00:00Z"), entries(7)).expect("appended");
    assert_eq!(again.offset, first.length);
    assert_eq!(count(&folder, 0).expect("read"), 500);
    assert_eq!(count(&folder, again.offset).expect("read"), 7);
}

#[test]
fn committed_bytes_that_are_gone_are_an_error_and_change_nothing() {
    let folder = state_dir();
    let mut history = open(&folder, &[]).expect("opened");
    let first = history.append(&header("a/", "2026-06-02T01:00:00Z"), entries(5)).expect("appended");
    let other = history.append(&header("a/", "2026-06-01T01:00:00Z"), entries(5)).expect("appended");
    drop(history);
    type Case<'a> = (&'a str, &'a [(&'a str, u64)], &'a str);
    let cases: [Case; 2] = [
        ("shorter", &[(FILE, first.length + 1)], FILE),
        ("missing", &[(FILE, first.length), ("2026-05-01.jsonl.zst", 9)], "2026-05-01.jsonl.zst"),
    ];
    for (case, committed, file) in cases {
        let error = open(&folder, committed).expect_err(case);
        assert!(
            matches!(&error, HistoryError::Short { path: bad, .. } if bad.ends_with(file)),
            "{case}: {error}"
        );
        assert_eq!(length(&folder, &other.file), other.length, "{case}");
    }
    open(&folder, &[(FILE, first.length), ("2026-05-01.jsonl.zst", 0)]).expect("nothing was committed of it");
}

#[test]
fn a_failed_append_leaves_no_frame() {
    let folder = state_dir();
    let mut history = open(&folder, &[]).expect("opened");
    let first = history.append(&header("a/", "2026-06-02T01:00:00Z"), entries(5)).expect("appended");
    let failing = (0..20_000).map(|number| match number {
        19_999 => Err(io::Error::other("the database is gone")),
        number => Ok(HistoryEntry { etag: format!("{:x}", number * 0x9e37_79b9_7f4a_u64), ..entry(number) }),
    });
    let error =
        history.append(&header("b/", "2026-06-02T02:00:00Z"), failing).expect_err("an error among them");
    assert!(matches!(error, HistoryError::Entries { .. }), "{error}");
    assert_eq!(length(&folder, FILE), first.length);
    let wrong = HistoryHeader { objects: Some(4), ..header("b/", "2026-06-02T02:00:00Z") };
    let error = history.append(&wrong, entries(5)).expect_err("another number");
    assert!(matches!(error, HistoryError::Count { found: 5, expected: 4, .. }), "{error}");
    assert_eq!(length(&folder, FILE), first.length);

    // bytes that even the cut after a failure could not take away
    let mut file = OpenOptions::new().append(true).open(path(&folder, FILE)).expect("opened");
    file.write_all(b"torn").expect("written");
    let second = history.append(&header("b/", "2026-06-02T02:00:00Z"), entries(5)).expect("appended");
    assert_eq!(second.offset, first.length);
    assert_eq!(count(&folder, second.offset).expect("read"), 5);
}

#[test]
fn damage_is_an_error_and_never_a_shorter_ledger() {
    let folder = state_dir();
    let mut history = open(&folder, &[]).expect("opened");
    let frame = history.append(&header("a/", "2026-06-02T01:00:00Z"), entries(200)).expect("appended");
    let good = fs::read(path(&folder, FILE)).expect("read");
    for cut in 0..good.len() {
        fs::write(path(&folder, FILE), &good[..cut]).expect("written");
        assert!(count(&folder, 0).is_err(), "cut at {cut} of {}", frame.length);
    }
    let whole: Vec<HistoryEntry> = (0..200).map(entry).collect();
    let mut damaged = 0;
    for at in (0..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(path(&folder, FILE), bad).expect("written");
        // some bits of a frame mean nothing: then the very same entries come out
        let read_back: Result<Vec<HistoryEntry>, _> =
            read(folder.path(), FILE, 0).and_then(Iterator::collect);
        let same = || read_back.as_ref().is_ok_and(|entries| *entries == whole);
        assert!(read_back.is_err() || same(), "byte {at}");
        damaged += usize::from(read_back.is_err());
    }
    assert!(damaged * 3 > good.len() * 9 / 10, "nearly every flipped bit is noticed: {damaged}");
    fs::write(path(&folder, FILE), &good).expect("written");
    assert_eq!(count(&folder, 0).expect("whole again"), 200);
    assert!(
        matches!(read(folder.path(), FILE, 7), Err(HistoryError::Damaged { offset: 7, .. })),
        "amid a frame"
    );
    assert!(read(folder.path(), FILE, frame.length).is_err(), "behind the last frame");
}

#[test]
fn frames_of_other_forms_are_refused() {
    let folder = state_dir();
    open(&folder, &[]).expect("opened");
    let fine = serde_json::to_string(&header("a/", "2026-06-02T01:00:00Z")).expect("encoded");
    let cases = [
        (fine.replace("\"v\":1", "\"v\":2") + "\n", "use the newer program"),
        (fine.clone(), "does not end"),
        (fine.clone() + "\n{\"key\":1}\n", "invalid type"),
        (fine + "\n" + &"x".repeat(LINE_LIMIT as usize + 1), "too long"),
        ("{}\n".to_owned(), "missing field"),
        (String::new(), "no header"),
    ];
    for (text, expected) in cases {
        fs::write(path(&folder, FILE), zstd::encode_all(text.as_bytes(), 1).expect("zstd")).expect("written");
        let error = count(&folder, 0).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn old_files_are_pruned_by_the_day_in_their_name() {
    let folder = state_dir();
    let mut history = open(&folder, &[]).expect("opened");
    for day in ["2026-05-31", "2026-06-01", "2026-06-02"] {
        history.append(&header("a/", &format!("{day}T12:00:00Z")), entries(1)).expect("appended");
    }
    fs::write(path(&folder, "2026-5-1.jsonl.zst"), "not ours").expect("written");
    let day = NaiveDate::from_ymd_opt(2026, 6, 2).expect("a day");
    let old = ["2026-05-31.jsonl.zst", "2026-06-01.jsonl.zst"];
    assert_eq!(history.expired(day).expect("listed"), old);
    assert_eq!(history.prune(day).expect("pruned"), old);
    assert_eq!(history.prune(day).expect("pruned"), [""; 0]);
    assert_eq!(list(folder.path()).expect("listed").into_keys().collect::<Vec<_>>(), [FILE]);
    assert!(path(&folder, "2026-5-1.jsonl.zst").exists());
}
