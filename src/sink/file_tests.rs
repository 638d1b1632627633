//! Tests of the file sink: what lies in the folder, what is called, what lies there after.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use proptest::prelude::*;
use tempfile::TempDir;

use super::segment::testing::read_segment;
use super::*;

const ID: &str = "0a1b2c3d";

/// A clock that tests move.
struct Moved(Mutex<DateTime<Utc>>);

impl Moved {
    fn new() -> Arc<Self> {
        Arc::new(Moved(Mutex::new(DateTime::from_timestamp(1_780_000_000, 0).expect("an instant"))))
    }

    fn by(&self, seconds: i64) {
        *self.0.lock().expect("not poisoned") += chrono::Duration::seconds(seconds);
    }
}

impl Clock for Moved {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("not poisoned")
    }
}

fn settings(path: &Path) -> FileSinkSettings {
    FileSinkSettings {
        path: path.to_owned(),
        rotate_size: 1000,
        rotate_every: Duration::from_secs(60),
        compression: Compression::None,
        keep_age: None,
        keep_size: None,
        min_free: 0,
    }
}

fn sink(path: &Path) -> FileSink {
    FileSink::new(settings(path), Moved::new())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

/// The folder's absolute path as positions hold it.
fn text(path: &Path) -> String {
    fs::canonicalize(path).expect("the folder is there").to_string_lossy().into_owned()
}

/// Segments in the folder, `5.ndjson.open` for short, and work in progress, with what they hold.
fn files(path: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).expect("listed") {
        let name = entry.expect("entry").file_name().into_string().expect("UTF-8");
        if [".s3sweep.lock", ".s3sweep-sink", ".s3sweep-finished"].contains(&name.as_str()) {
            continue;
        }
        let bytes = read_segment(&path.join(&name));
        let short = match SegmentName::parse(&name) {
            Some(parsed) => {
                format!("{}{}", parsed.sequence, name.split_at(name.find(".nd").expect("ending")).1)
            }
            None => name,
        };
        files.insert(short, String::from_utf8(bytes).expect("text"));
    }
    files
}

fn shown(path: &Path) -> String {
    let files = files(path);
    files.iter().map(|(name, bytes)| format!("{name}={bytes}")).collect::<Vec<_>>().join(" ")
}

/// A folder of sink [`ID`] that holds `files`, written as `5.ndjson.open=abc`.
fn prepared(files: &[&str]) -> TempDir {
    let folder = folder();
    fs::write(folder.path().join(".s3sweep-sink"), format!("{ID}\n")).expect("written");
    for file in files {
        let (name, bytes) = file.split_once('=').expect("name=bytes");
        let name = match name.split_once(".ndjson") {
            Some((sequence, ending)) => format!("s3sweep-{ID}-{sequence:0>10}.ndjson{ending}"),
            None => name.to_owned(),
        };
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    folder
}

fn at(path: &Path, sequence: u64, length: u64, sealed: bool) -> Position {
    Position { sink_id: ID.to_owned(), path: text(path), sequence, length, sealed }
}

#[test]
fn recovery_on_disk() {
    // in the folder; position; after recovery, or `!` and part of the refusal; after one record
    type Case<'a> = (&'a str, &'a [&'a str], Option<(u64, u64, bool)>, &'a str, &'a str);
    let cases: &[Case] = &[
        ("a fresh state", &[], None, "", "1.ndjson.open=z"),
        (
            "a fresh state beside finished files",
            &["3.ndjson=abc"],
            None,
            "3.ndjson=abc",
            "1.ndjson.open=z 3.ndjson=abc",
        ),
        ("a fresh state, an open segment", &["1.ndjson.open=abc"], None, "! unknown to this state", ""),
        (
            "as committed",
            &["5.ndjson.open=abc"],
            Some((5, 3, false)),
            "5.ndjson.open=abc",
            "5.ndjson.open=abcz",
        ),
        (
            "torn bytes",
            &["5.ndjson.open=abcde"],
            Some((5, 3, false)),
            "5.ndjson.open=abc",
            "5.ndjson.open=abcz",
        ),
        ("truncated", &["5.ndjson.open=ab"], Some((5, 3, false)), "! truncated by someone", ""),
        ("removed", &[], Some((5, 3, false)), "! the open segment was removed", ""),
        (
            "sealed, open",
            &["5.ndjson.open=abcde"],
            Some((5, 3, true)),
            "5.ndjson=abc",
            "5.ndjson=abc 6.ndjson.open=z",
        ),
        (
            "sealed, finished",
            &["5.ndjson=abc"],
            Some((5, 3, true)),
            "5.ndjson=abc",
            "5.ndjson=abc 6.ndjson.open=z",
        ),
        ("sealed, taken", &[], Some((5, 3, true)), "", "6.ndjson.open=z"),
        (
            "sealed, both names",
            &["5.ndjson=abc", "5.ndjson.open=abc"],
            Some((5, 3, true)),
            "5.ndjson=abc",
            "5.ndjson=abc 6.ndjson.open=z",
        ),
        (
            "sealed, compressing",
            &["5.ndjson.open=abc", ".s3sweep-0a1b2c3d-0000000005.compressing=x"],
            Some((5, 3, true)),
            "5.ndjson=abc",
            "5.ndjson=abc 6.ndjson.open=z",
        ),
        ("the next one uncommitted", &["6.ndjson.open=torn"], Some((5, 3, true)), "", "6.ndjson.open=z"),
        ("before the first commit", &["1.ndjson.open=torn"], Some((0, 0, false)), "", "1.ndjson.open=z"),
        ("a later one", &["7.ndjson.open=abc"], Some((5, 3, true)), "! unknown to this state", ""),
        ("an older state", &["6.ndjson=abc"], Some((5, 3, true)), "! older than the folder", ""),
        (
            "the sink's files beside others",
            &["5.ndjson.open=abc", "notes.open=x"],
            Some((5, 3, false)),
            "5.ndjson.open=abc notes.open=x",
            "5.ndjson.open=abcz notes.open=x",
        ),
    ];
    for (case, before, position, recovered, written) in cases {
        let folder = prepared(before);
        let position = position.map(|(sequence, length, sealed)| at(folder.path(), sequence, length, sealed));
        let untouched = shown(folder.path());
        let mut sink = sink(folder.path());
        match (sink.recover(position.as_ref()), recovered.strip_prefix("! ")) {
            (Ok(()), None) => assert_eq!(shown(folder.path()), *recovered, "{case}"),
            (Err(SinkError::Foreign { what }), Some(part)) => {
                assert!(what.contains(part), "{case}: {what}");
                assert_eq!(shown(folder.path()), untouched, "{case}: a refusal changes nothing");
                assert!(sink.write(b"z").is_err(), "{case}");
                continue;
            }
            (got, _) => panic!("{case}: {got:?}"),
        }
        sink.write(b"z").expect(case);
        assert_eq!(shown(folder.path()), *written, "{case}");
        // a failed call leads back here, however often
        sink.recover(position.as_ref()).expect(case);
        assert_eq!(shown(folder.path()), *recovered, "{case}: recovered again");
    }
}

/// More parts than the system takes in one call, empty ones among them.
#[test]
fn parts_follow_each_other() {
    let folder = folder();
    let mut sink = sink(folder.path());
    sink.recover(None).expect("recovered");
    sink.write_parts(&[]).expect("nothing to write");
    sink.write_parts(&[Vec::new(), Vec::new()]).expect("nothing to write");
    assert_eq!(files(folder.path()).len(), 0, "no segment for nothing");
    let parts: Vec<Vec<u8>> = (0..3000).map(|part| "x".repeat(part % 3).into_bytes()).collect();
    sink.write(b"first\n").expect("written");
    sink.write_parts(&parts).expect("written");
    sink.write(b"last\n").expect("written");
    let position = sink.commit(false).expect("committed");
    let want = format!("first\n{}last\n", "x".repeat(3000));
    assert_eq!(position.length, want.len() as u64);
    assert_eq!(files(folder.path()).into_values().collect::<Vec<_>>(), [want]);
}

#[test]
fn a_segment_is_finished_by_size_by_age_and_at_the_end() {
    let folder = folder();
    let clock = Moved::new();
    let mut sink = FileSink::new(settings(folder.path()), clock.clone());
    sink.recover(None).expect("fresh");
    let first = sink.commit(false).expect("where it stands");
    assert_eq!((first.sequence, first.length, first.sealed), (0, 0, false));
    assert_eq!(first.path, text(folder.path()));
    assert!(segment::is_sink_id(&first.sink_id));
    assert_eq!(sink.due_in(), None);

    sink.write(b"").expect("no records make no segment");
    assert_eq!(shown(folder.path()), "");
    sink.write(b"a").expect("written");
    clock.by(59);
    assert_eq!(sink.due_in(), Some(Duration::from_secs(1)));
    let position = sink.commit(false).expect("committed");
    assert_eq!((position.sequence, position.length, position.sealed), (1, 1, false));
    sink.seal().expect("nothing to seal");
    clock.by(1);
    assert_eq!(sink.due_in(), Some(Duration::ZERO));
    let position = sink.commit(false).expect("committed");
    assert!(position.sealed, "due by age, with nothing new");
    assert_eq!(sink.commit(false).expect("committed again"), position);
    sink.seal().expect("sealed");
    sink.seal().expect("sealed already");
    assert_eq!(shown(folder.path()), "1.ndjson=a");
    assert_eq!(sink.commit(true).expect("nothing new"), position);

    sink.write(&[b'b'; 600]).expect("written");
    sink.write(&[b'b'; 400]).expect("written");
    let position = sink.commit(false).expect("committed");
    assert_eq!((position.sequence, position.length, position.sealed), (2, 1000, true), "due by size");
    sink.seal().expect("sealed");

    sink.write(b"c").expect("written");
    let position = sink.commit(true).expect("committed");
    assert_eq!((position.sequence, position.length, position.sealed), (3, 1, true), "told to finish");
    sink.seal().expect("sealed");
    assert_eq!(files(folder.path()).into_keys().collect::<Vec<_>>(), ["1.ndjson", "2.ndjson", "3.ndjson"]);
}

#[test]
fn a_clock_set_back_delays_no_segment_beyond_its_age() {
    let folder = folder();
    let clock = Moved::new();
    let mut sink = FileSink::new(settings(folder.path()), clock.clone());
    sink.recover(None).expect("fresh");
    sink.write(b"a").expect("written");
    clock.by(-3600);
    assert_eq!(sink.due_in(), Some(Duration::ZERO), "a commit is due, which begins the age anew");
    assert!(!sink.commit(false).expect("committed").sealed);
    assert_eq!(sink.due_in(), Some(Duration::from_secs(60)));
    clock.by(60);
    assert!(sink.commit(false).expect("committed").sealed);
}

/// As the committer does where no records come: it waits as long as it is told, and commits only
/// then.
#[test]
fn an_idle_segment_is_finished_though_the_clock_was_set_back() {
    for set_back_after in [0, 1, 59] {
        let folder = folder();
        let clock = Moved::new();
        let mut sink = FileSink::new(settings(folder.path()), clock.clone());
        sink.recover(None).expect("fresh");
        sink.write(b"a").expect("written");
        assert!(!sink.commit(false).expect("committed").sealed);
        clock.by(set_back_after);
        clock.by(-3600);
        let (mut waited, mut commits) = (Duration::ZERO, 0);
        for _ in 0..10 {
            let due = sink.due_in().expect("a segment is open");
            if due.is_zero() {
                commits += 1;
                if sink.commit(false).expect("committed").sealed {
                    sink.seal().expect("sealed");
                    break;
                }
            }
            clock.by(i64::try_from(due.as_secs()).expect("a minute"));
            waited += due;
        }
        assert_eq!(shown(folder.path()), "1.ndjson=a", "set back after {set_back_after} s");
        assert_eq!((waited, commits), (Duration::from_secs(60), 2), "set back after {set_back_after} s");
    }
}

#[test]
fn each_compression_keeps_the_records() {
    for (compression, name) in [(Compression::Gzip, "1.ndjson.gz"), (Compression::Zstd, "1.ndjson.zst")] {
        let folder = folder();
        let mut sink =
            FileSink::new(FileSinkSettings { compression, ..settings(folder.path()) }, Moved::new());
        sink.recover(None).expect("fresh");
        sink.write(b"abc\n").expect("written");
        let position = sink.commit(true).expect("committed");
        sink.seal().expect("sealed");
        assert_eq!(shown(folder.path()), format!("{name}=abc\n"));
        sink.recover(Some(&position)).expect("as it was left");
        assert_eq!(shown(folder.path()), format!("{name}=abc\n"));
    }
}

const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

/// The places that a seal passes; the first one only where it compresses.
const PLACES: [&str; 3] = ["complete-beside-open", "before-rotation-rename", "after-rotation-rename"];

/// Lets a sink seal and die at `place`, as with its process; whether it came to that.
fn die_in_seal(mut sink: FileSink, place: &'static str) -> bool {
    let dying = std::thread::spawn(move || {
        failpoint::watch(move |name| {
            if name == place {
                std::panic::resume_unwind(Box::new("the process dies"));
            }
        });
        sink.seal().expect("sealed");
    });
    dying.join().is_err()
}

/// What a reader does: the records of the finished segments, which are gone then.
fn take(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut segments = Contents::read(path).expect("read").segments;
    segments.retain(|segment| segment.name.form != Form::Open);
    let taken = segments.iter().map(|segment| {
        let path = path.join(segment.name.to_string());
        let bytes = read_segment(&path);
        fs::remove_file(path).expect("taken");
        (segment.name.sequence, bytes)
    });
    taken.collect()
}

#[test]
fn what_a_reader_took_after_a_death_in_the_seal_does_not_come_again() {
    let next_sinks: Vec<_> = COMPRESSIONS.into_iter().map(Some).chain([None]).collect();
    for (place, compression) in PLACES.iter().flat_map(|place| COMPRESSIONS.map(|next| (*place, next))) {
        for next in &next_sinks {
            let case = format!("{place}, {compression:?}, then {next:?}");
            let folder = folder();
            let with = |compression| {
                FileSink::new(FileSinkSettings { compression, ..settings(folder.path()) }, Moved::new())
            };
            let mut sink = with(compression);
            sink.recover(None).expect("fresh");
            sink.write(b"abc\n").expect("written");
            let position = sink.commit(true).expect("committed");
            let passes = compression != Compression::None || place != "complete-beside-open";
            assert_eq!(die_in_seal(sink, place), passes, "{case}");

            let mut taken = take(folder.path());
            let mut next: Box<dyn Sink> = match next {
                Some(compression) => Box::new(with(*compression)),
                None => Box::new(super::super::stdout::StdoutSink::new(Vec::new(), || Ok(()))),
            };
            for _ in 0..2 {
                next.recover(Some(&position)).expect(&case);
                taken.extend(take(folder.path()));
            }
            assert_eq!(taken, [(1, b"abc\n".to_vec())], "{case}");
            assert_eq!(files(folder.path()), BTreeMap::new(), "{case}");
        }
    }
}

#[test]
fn a_changed_path_finishes_the_old_segment_first() {
    let (old, new) = (folder(), folder());
    let mut first = sink(old.path());
    first.recover(None).expect("fresh");
    first.write(b"abc").expect("written");
    let position = first.commit(false).expect("committed");
    first.write(b"torn").expect("written");
    drop(first);

    let mut second = sink(new.path());
    for taken in [false, true] {
        // the second time the process died before its first commit, and the reader was quick
        second.recover(Some(&position)).expect("moved");
        if !taken {
            assert_eq!(shown(old.path()), "1.ndjson=abc");
            fs::remove_file(old.path().join(format!("s3sweep-{}-0000000001.ndjson", position.sink_id)))
                .expect("taken");
            second.write(b"lost").expect("written");
        }
        assert_eq!(shown(new.path()), if taken { "" } else { "2.ndjson.open=lost" });
    }
    let moved = second.commit(false).expect("where it stands");
    assert_eq!((moved.sequence, moved.length, moved.sealed), (1, 0, true));
    assert_ne!(moved.sink_id, position.sink_id);
    second.write(b"lost too").expect("written");
    drop(second);
    let mut third = sink(new.path());
    third.recover(Some(&moved)).expect("as it was left");
    third.write(b"def").expect("written");
    assert_eq!(shown(new.path()), "2.ndjson.open=def");
    assert_eq!(third.commit(false).expect("committed").sequence, 2);

    // and back again: the old folder gets a new id, so that no name comes twice
    let position = third.commit(false).expect("committed");
    drop(third);
    let mut fourth = sink(old.path());
    fourth.recover(Some(&position)).expect("moved back");
    assert_eq!(shown(new.path()), "2.ndjson=def");
    fourth.write(b"ghi").expect("written");
    assert_eq!(shown(old.path()), "3.ndjson.open=ghi");
}

#[test]
fn a_folder_that_is_gone() {
    let new = folder();
    let gone = Position {
        sink_id: ID.to_owned(),
        path: new.path().join("gone").to_string_lossy().into_owned(),
        sequence: 5,
        length: 3,
        sealed: false,
    };
    let error = sink(new.path()).recover(Some(&gone)).expect_err("records are lost");
    assert!(matches!(&error, SinkError::Foreign { what } if what.contains("bring it back")), "{error}");
    let sealed = Position { sealed: true, ..gone.clone() };
    sink(new.path()).recover(Some(&sealed)).expect("its files were the reader's");
    let same = sink(&new.path().join("gone")).recover(Some(&sealed)).expect_err("perhaps not mounted");
    assert!(matches!(&same, SinkError::Foreign { what } if what.contains("volume")), "{same}");
    assert!(!new.path().join("gone").exists(), "a refusal makes no folder");
}

/// A volume that goes while the sink runs: unmounted, with its mount point left, or broken.
#[test]
fn a_folder_that_goes_while_the_sink_runs_is_waited_for() {
    for left in ["nothing", "an empty folder", "a file"] {
        for moment in ["before the first record", "amid a segment", "before it is finished", "between two"] {
            let case = format!("{moment}, {left}");
            let above = folder();
            let (here, away) = (above.path().join("here"), above.path().join("away"));
            let mut sink = sink(&here);
            sink.recover(None).expect("fresh");
            let mut position = None;
            let mut commit = |sink: &mut FileSink, finish| {
                let at = sink.commit(finish).expect("committed");
                position = Some(at);
            };
            if moment != "before the first record" {
                sink.write(b"abc").expect("written");
                commit(&mut sink, moment != "amid a segment");
            }
            if moment == "between two" {
                sink.seal().expect("sealed");
            }
            fs::rename(&here, &away).expect("away");
            match left {
                "an empty folder" => fs::create_dir(&here).expect("made"),
                "a file" => fs::write(&here, "").expect("written"),
                _ => {}
            }
            let down = |result: Result<(), SinkError>| {
                let error = result.expect_err(&case);
                assert!(matches!(error, SinkError::Down { .. }), "{case}: {error}");
            };
            match moment {
                // the segment may take records wherever it lies now; they are not committed
                "amid a segment" => {
                    let _ = sink.write(b"torn");
                    sink.stand = None;
                }
                "before it is finished" => down(sink.seal()),
                _ => down(sink.write(b"def")),
            }
            for _ in 0..2 {
                down(sink.recover(position.as_ref()));
            }
            match left {
                "an empty folder" => fs::remove_dir(&here).expect("nothing was made in it"),
                "a file" => fs::remove_file(&here).expect("removed"),
                _ => {}
            }
            fs::rename(&away, &here).expect("back");
            sink.recover(position.as_ref()).expect("it is there again");
            sink.write(b"def").expect("written");
            sink.commit(true).expect("committed");
            sink.seal().expect("sealed");
            let all = files(&here);
            assert!(all.keys().all(|name| name.ends_with(".ndjson")), "{case}: {all:?}");
            let records = all.into_values().collect::<String>();
            assert_eq!(records, if moment == "before the first record" { "def" } else { "abcdef" }, "{case}");
        }
    }
}

#[test]
fn a_folder_moved_as_a_whole_goes_on() {
    let above = folder();
    let (before, after) = (above.path().join("before"), above.path().join("after"));
    let mut first = sink(&before);
    first.recover(None).expect("fresh");
    first.write(b"abc").expect("written");
    let position = first.commit(false).expect("committed");
    drop(first);
    fs::rename(&before, &after).expect("moved");
    let mut second = sink(&after);
    second.recover(Some(&position)).expect("the id tells");
    second.write(b"def").expect("written");
    let moved = second.commit(false).expect("committed");
    assert_eq!(shown(&after), "1.ndjson.open=abcdef");
    assert_eq!((moved.path, moved.sink_id), (text(&after), position.sink_id));
}

#[test]
fn a_copied_folder_is_another_one() {
    let (old, copy) = (prepared(&["5.ndjson.open=abc"]), prepared(&[]));
    let position = at(old.path(), 5, 3, false);
    let mut sink = sink(copy.path());
    sink.recover(Some(&position)).expect("moved");
    assert_eq!(shown(old.path()), "5.ndjson=abc");
    assert_ne!(sink.commit(false).expect("where it stands").sink_id, ID);
}

#[test]
fn other_states_and_processes_are_kept_out() {
    let folder = prepared(&[]);
    let mut holder = sink(folder.path());
    let stranger = Position { sink_id: "ffffffff".to_owned(), ..at(folder.path(), 5, 3, true) };
    let error = holder.recover(Some(&stranger)).expect_err("another id");
    assert!(matches!(&error, SinkError::Foreign { what } if what.contains("0a1b2c3d")), "{error}");
    holder.recover(None).expect("a fresh state takes over");
    let error = sink(folder.path()).recover(None).expect_err("held");
    assert!(matches!(error, SinkError::Locked { .. }), "{error}");
    drop(holder);
    let error = sink(folder.path()).recover(Some(&at(folder.path(), 5, 3, true))).expect_err("taken over");
    assert!(matches!(error, SinkError::Foreign { .. }), "{error}");
    fs::remove_file(folder.path().join(".s3sweep-sink")).expect("removed");
    let error = sink(folder.path()).recover(Some(&at(folder.path(), 5, 3, true))).expect_err("no id");
    assert!(matches!(&error, SinkError::Foreign { what } if what.contains("volume")), "{error}");
}

#[test]
fn a_position_of_another_kind_of_sink_begins_afresh() {
    let folder = prepared(&["1.ndjson=abc"]);
    let mut sink = sink(folder.path());
    sink.recover(Some(&Position::default())).expect("stdout keeps no id");
    sink.write(b"z").expect("written");
    assert_eq!(shown(folder.path()), "1.ndjson=abc 1.ndjson.open=z");
    assert_ne!(sink.commit(false).expect("committed").sink_id, ID, "so the two names differ");
}

#[test]
fn leaving_for_stdout_finishes_the_segment() {
    let folder = prepared(&["5.ndjson.open=abctorn"]);
    let mut stdout = super::super::stdout::StdoutSink::new(Vec::new(), || Ok(()));
    stdout.recover(Some(&at(folder.path(), 5, 3, false))).expect("finished");
    assert_eq!(shown(folder.path()), "5.ndjson=abc");
    stdout.recover(Some(&at(folder.path(), 5, 3, false))).expect("finished already");
}

#[test]
fn without_free_space_the_sink_is_down_and_comes_back() {
    let folder = folder();
    let mut sink =
        FileSink::new(FileSinkSettings { min_free: u64::MAX, ..settings(folder.path()) }, Moved::new());
    sink.recover(None).expect("fresh");
    let error = sink.write(b"a").expect_err("no disk is that large");
    assert!(matches!(&error, SinkError::Down { what, .. } if what.contains("min_free")), "{error}");
    assert_eq!(shown(folder.path()), "");
    assert!(sink.commit(false).is_err(), "recover comes first");
    sink.settings.min_free = 0;
    sink.recover(None).expect("recovered");
    sink.write(b"a").expect("there is space again");
    sink.settings.min_free = u64::MAX;
    sink.write(b"b").expect("looked up at most once per commit");
    sink.commit(false).expect("committed");
    sink.write(b"c").expect_err("looked up again");
}

#[test]
fn a_failed_write_is_cut_back() {
    let folder = folder();
    let mut sink = sink(folder.path());
    sink.recover(None).expect("fresh");
    sink.write(b"abc").expect("written");
    let position = sink.commit(false).expect("committed");
    // a file that only reads fails the write as a full disk does
    let open = sink.stand.as_mut().and_then(|stand| stand.open.as_mut()).expect("open");
    open.file.write_all(b"half a rec").expect("part of a write");
    let name = format!("s3sweep-{}-0000000001.ndjson.open", position.sink_id);
    open.file = File::open(folder.path().join(&name)).expect("opened");
    assert!(matches!(sink.write(b"ord"), Err(SinkError::Down { .. })));
    assert!(matches!(sink.write(b"more"), Err(SinkError::Down { .. })), "recover comes first");
    sink.recover(Some(&position)).expect("recovered");
    sink.write(b"def").expect("written");
    sink.commit(true).expect("committed");
    sink.seal().expect("sealed");
    assert_eq!(shown(folder.path()), "1.ndjson=abcdef");
}

#[test]
fn an_open_segment_taken_by_a_reader_is_noticed() {
    for change in ["removed", "cut", "appended to"] {
        let folder = folder();
        let mut sink = sink(folder.path());
        sink.recover(None).expect("fresh");
        sink.write(b"abc").expect("written");
        let position = sink.commit(false).expect("committed");
        let path = folder.path().join(format!("s3sweep-{}-0000000001.ndjson.open", position.sink_id));
        match change {
            "removed" => fs::remove_file(&path).expect(change),
            "cut" => fs::write(&path, "a").expect(change),
            _ => fs::write(&path, "abcx").expect(change),
        }
        sink.write(b"def").expect("written");
        let error = sink.commit(false).expect_err(change);
        assert!(
            matches!(&error, SinkError::Foreign { what } if what.contains("readers")),
            "{change}: {error}"
        );
    }
}

#[test]
fn a_sealed_segment_takes_no_more() {
    let folder = folder();
    let mut sink = sink(folder.path());
    sink.recover(None).expect("fresh");
    sink.write(b"abc").expect("written");
    let position = sink.commit(true).expect("sealed");
    assert!(sink.write(b"def").is_err(), "seal comes first");
    sink.recover(Some(&position)).expect("recovered");
    sink.write(b"def").expect("written");
    assert_eq!(shown(folder.path()), "1.ndjson=abc 2.ndjson.open=def");
}

#[test]
fn finished_segments_go_as_the_settings_say() {
    let folder = folder();
    let mut sink =
        FileSink::new(FileSinkSettings { keep_size: Some(2), ..settings(folder.path()) }, Moved::new());
    sink.recover(None).expect("fresh");
    fs::write(folder.path().join("s3sweep-ffffffff-0000000009.ndjson"), "another sink's").expect("written");
    for records in [b"a", b"b", b"c"] {
        sink.write(records).expect("written");
        sink.commit(true).expect("committed");
        sink.seal().expect("sealed");
    }
    assert_eq!(shown(folder.path()), "2.ndjson=b 3.ndjson=c 9.ndjson=another sink's");
}

/// One step of a random life of a sink.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    /// A commit whose position reaches the state, and the seal that follows.
    Commit(bool),
    /// A commit whose position does not reach the state; then `recover`.
    LostCommit(bool),
    /// The process dies, with so many bytes more in the open segment than were committed.
    Crash(usize),
    /// A commit that seals; the process dies in the seal, the reader may take what is finished then,
    /// and the next process begins with this compression.
    CrashInSeal(Death, bool, Compression),
    /// The reader takes all finished segments.
    Take,
}

/// Where a process dies in a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Amid the compression.
    Compressing,
    /// At one of the [`PLACES`].
    At(&'static str),
    /// Between the last name and the end of the open one, which earlier versions let stand
    /// together.
    BothNames,
}

fn death() -> impl Strategy<Value = Death> {
    let place = prop::sample::select(&PLACES[..]).prop_map(Death::At);
    prop_oneof![1 => Just(Death::Compressing), 1 => Just(Death::BothNames), 3 => place]
}

fn compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(&COMPRESSIONS[..])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40usize).prop_map(Step::Write),
        3 => any::<bool>().prop_map(Step::Commit),
        1 => any::<bool>().prop_map(Step::LostCommit),
        2 => (0..20usize).prop_map(Step::Crash),
        2 => (death(), any::<bool>(), compression())
            .prop_map(|(death, taken, next)| Step::CrashInSeal(death, taken, next)),
        1 => Just(Step::Take),
    ]
}

/// A sink, the state that knows its position, and what should be in the segments.
struct Life {
    folder: TempDir,
    settings: FileSinkSettings,
    sink: FileSink,
    state: Option<Position>,
    committed: Vec<u8>,
    pending: Vec<u8>,
    taken: BTreeMap<u64, Vec<u8>>,
    count: u32,
}

impl Life {
    fn new(compression: Compression) -> Self {
        let folder = folder();
        let settings = FileSinkSettings { compression, rotate_size: 100, ..settings(folder.path()) };
        let mut sink = FileSink::new(settings.clone(), Moved::new());
        sink.recover(None).expect("fresh");
        let state = Some(sink.commit(false).expect("where it stands"));
        let (committed, pending, taken) = Default::default();
        Life { folder, settings, sink, state, committed, pending, taken, count: 0 }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(length) => {
                self.count += 1;
                let record = format!("{}:{}\n", self.count, "x".repeat(*length));
                self.sink.write(record.as_bytes()).expect("written");
                self.pending.extend_from_slice(record.as_bytes());
            }
            Step::Commit(finish) => {
                if self.commit(*finish).sealed {
                    self.sink.seal().expect("sealed");
                }
            }
            Step::LostCommit(finish) => {
                self.sink.commit(*finish).expect("committed");
                self.recover();
            }
            Step::Crash(garbage) => self.crash(*garbage),
            Step::CrashInSeal(death, taken, next) => {
                let position = self.commit(true);
                self.leave_seal_at(&position, *death);
                if *taken && *death != Death::BothNames {
                    self.take();
                }
                self.settings.compression = *next;
                self.crash(0);
            }
            Step::Take => self.take(),
        }
    }

    fn commit(&mut self, finish: bool) -> Position {
        let position = self.sink.commit(finish).expect("committed");
        self.committed.append(&mut self.pending);
        self.state = Some(position.clone());
        position
    }

    fn open_path(&self, position: &Position) -> PathBuf {
        let name = SegmentName::new(&position.sink_id, position.sequence, Form::Open);
        self.folder.path().join(name.to_string())
    }

    /// Leaves on disk what a seal that died there leaves.
    fn leave_seal_at(&mut self, position: &Position, death: Death) {
        let open = self.open_path(position);
        let Ok(bytes) = fs::read(&open) else { return };
        let temporary = self
            .folder
            .path()
            .join(format!(".s3sweep-{}-{:010}.compressing", position.sink_id, position.sequence));
        match death {
            Death::Compressing => fs::write(temporary, &bytes[..bytes.len() / 2]).expect("half compressed"),
            Death::At(place) => {
                let next = FileSink::new(self.settings.clone(), Moved::new());
                die_in_seal(std::mem::replace(&mut self.sink, next), place);
            }
            Death::BothNames => {
                self.sink.seal().expect("sealed");
                fs::write(open, bytes).expect("the open one still stands");
            }
        }
    }

    fn crash(&mut self, garbage: usize) {
        let position = self.state.clone().expect("stored at the start");
        for sequence in [position.sequence, position.sequence + 1] {
            let path = self.open_path(&Position { sequence, ..position.clone() });
            if let Ok(mut file) = OpenOptions::new().append(true).open(path) {
                file.write_all(&vec![b'?'; garbage]).expect("torn");
            }
        }
        // the lock goes with the process
        self.sink.folder = None;
        self.sink = FileSink::new(self.settings.clone(), Moved::new());
        self.recover();
    }

    fn recover(&mut self) {
        self.sink.recover(self.state.as_ref()).expect("recovered");
        self.pending.clear();
    }

    fn take(&mut self) {
        for (sequence, bytes) in take(self.folder.path()) {
            assert_eq!(self.taken.insert(sequence, bytes), None, "a finished name comes once");
        }
    }

    /// All that a reader has or will get, in order.
    fn delivered(&self) -> Vec<u8> {
        let mut segments = self.taken.clone();
        for file in Contents::read(self.folder.path()).expect("read").segments {
            if file.name.form != Form::Open {
                let bytes = read_segment(&self.folder.path().join(file.name.to_string()));
                let earlier = segments.insert(file.name.sequence, bytes);
                assert_eq!(earlier, None, "a finished name comes once");
            }
        }
        let position = self.state.clone().expect("stored at the start");
        let mut bytes: Vec<u8> = segments.into_values().flatten().collect();
        if let Ok(open) = fs::read(self.open_path(&position)) {
            assert!(!position.sealed, "a sealed segment does not stay open");
            bytes.extend_from_slice(&open[..position.length as usize]);
        }
        bytes
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_committed_is_delivered_once(
        steps in prop::collection::vec(step(), 1..40),
        compression in compression(),
    ) {
        let mut life = Life::new(compression);
        for step in &steps {
            life.step(step);
            prop_assert_eq!(
                String::from_utf8_lossy(&life.delivered()).into_owned(),
                String::from_utf8_lossy(&life.committed).into_owned(),
                "after {:?}", step
            );
        }
        life.step(&Step::Commit(true));
        prop_assert_eq!(life.delivered(), &life.committed[..]);
        life.step(&Step::Take);
        prop_assert!(files(life.folder.path()).is_empty(), "nothing stays behind");
    }
}
