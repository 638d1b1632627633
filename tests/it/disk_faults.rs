//! Disks that are full, read-only or damaged: each fault has its exit code and an error that names
//! it, and once its cause is gone the next run delivers each record exactly once.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::needs::Need;
use crate::restart::site::{Fixture, PREFIX, Ran, Site, copy, run};

/// Exit codes of the design's section 6.
const STATE: Option<i32> = Some(4);
const SINK: Option<i32> = Some(5);
/// `sink_timeout` where it is not set; here it is a second.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// A site over a folder, whose sink gives up soon.
fn site(fixture: &Fixture) -> Site {
    let site = Site::new();
    fixture.write(&site.path("bucket"));
    configure(&site, "256KiB");
    site
}

fn configure(site: &Site, rotate_size: &str) {
    let sink = format!("rotate_size = \"{rotate_size}\"\nsink_timeout = \"1 S\"");
    site.configure(&sink, &site.folder_source(PREFIX));
}

/// More than two megabytes of records, in objects that each fill a commit or more.
fn large() -> Fixture {
    Fixture::default().with(1, 2, 12, 500).with(2, 2, 10, 2)
}

fn small() -> Fixture {
    Fixture::default().with(1, 2, 4, 30)
}

fn assert_fails(ran: &Ran, code: Option<i32>, words: &[&str], case: &str) {
    assert_eq!(ran.code, code, "{case}: {}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{case}: nothing of {word:?} in: {}", ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{case}: {}", ran.err);
}

fn assert_completes(site: &Site, fixture: &Fixture, case: &str) {
    let ran = run(&mut site.once());
    assert_eq!(ran.code, Some(0), "{case}: {}", ran.err);
    site.assert_exact(fixture, case);
    site.assert_closed(fixture, case);
    site.assert_idle(case);
}

/// A small file system in memory, gone with this.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where this process may not mount.
    fn new(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "s3sweep-test"]).arg(at);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Mounted(at.to_owned())),
            Ok(output) => {
                Need::Mount.is_missing(String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                Need::Mount.is_missing(error);
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(&self.0);
        let output = mount.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // a failure leaves it to the end of the machine: nothing to do about it here
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

/// `once` in a shell that lets no file grow over so many blocks of 512 bytes.
fn limited(site: &Site, blocks: u32) -> Command {
    // the signal would end the process; ignored, the write is an error, as on a full disk
    let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let program = ["/bin/sh", "-c", &limit, env!("CARGO_BIN_EXE_s3sweep")];
    site.command_under(&program, &["once", "-q", "--now", crate::restart::site::NOW])
}

#[test]
fn a_full_disk_below_the_sink_is_exit_code_5_and_costs_nothing() {
    let fixture = large();
    let site = site(&fixture);
    let Some(disk) = Mounted::new(&site.path("out"), "600k") else {
        // without a disk of its own: files that may not grow to the size of a segment
        let began = Instant::now();
        let ran = run(&mut limited(&site, 200));
        assert_fails(&ran, SINK, &["the sink cannot take records", "File too large"], "a limited file");
        assert!(began.elapsed() < DEFAULT_TIMEOUT, "it did not give up after its own `sink_timeout`");
        return assert_completes(&site, &fixture, "a limited file");
    };
    for size in ["600k", "900k"] {
        disk.remount(&format!("size={size}"));
        let began = Instant::now();
        let ran = run(&mut site.once());
        assert_fails(&ran, SINK, &["the sink cannot take records", "No space left"], size);
        assert!(began.elapsed() < DEFAULT_TIMEOUT, "{size}: it did not give up after its own `sink_timeout`");
    }
    disk.remount("size=16m");
    assert_completes(&site, &fixture, "a sink with space again");
}

#[test]
fn a_sink_below_min_free_is_exit_code_5() {
    let fixture = small();
    let site = site(&fixture);
    let Some(disk) = Mounted::new(&site.path("out"), "2m") else {
        return;
    };
    site.configure(
        "rotate_size = \"256KiB\"\nsink_timeout = \"1 S\"\nmin_free = \"4MiB\"",
        &site.folder_source(PREFIX),
    );
    let ran = run(&mut site.once());
    assert_fails(&ran, SINK, &["the sink cannot take records", "min_free"], "below min_free");
    disk.remount("size=16m");
    assert_completes(&site, &fixture, "above min_free");
}

#[test]
fn a_full_disk_below_the_state_is_exit_code_4_and_costs_nothing() {
    let fixture = large();
    let site = site(&fixture);
    let mut full = 0;
    for size in ["4k", "12k", "24k", "36k", "48k", "64k"] {
        let Some(disk) = Mounted::new(&site.path("state"), size) else {
            return;
        };
        let ran = run(&mut site.once());
        if ran.code == Some(0) {
            println!("a state of {size} is enough");
        } else {
            assert_fails(&ran, STATE, &["state", "No space left"], size);
            full += 1;
        }
        disk.remount("size=32m");
        assert_completes(&site, &fixture, size);
        fs::remove_dir_all(site.path("out")).unwrap();
    }
    assert!(full >= 3, "only {full} of the disks were full");
}

#[test]
fn a_read_only_state_is_exit_code_4() {
    let fixture = small();
    let site = site(&fixture);
    let Some(disk) = Mounted::new(&site.path("state"), "32m") else {
        return;
    };
    for case in ["fresh", "in use"] {
        disk.remount("ro");
        let ran = run(&mut site.once());
        assert_fails(&ran, STATE, &["state", "Read-only file system"], case);
        disk.remount("rw");
        assert_completes(&site, &fixture, case);
    }
}

/// Stops a run amid its records, with an open segment that the state knows.
fn interrupted(fixture: &Fixture) -> Site {
    let site = site(fixture);
    // never due for rotation: a segment that a commit sealed may be gone, its reader took it
    configure(&site, "256MiB");
    let ran = run(site.once().env("S3SWEEP_FAILPOINT", "before-sidecar:6"));
    assert_eq!(ran.code, None, "it dies: {}", ran.err);
    assert!(open_segment(&site).is_some(), "{:?}", site.sink_files());
    site
}

fn open_segment(site: &Site) -> Option<PathBuf> {
    let name = site.sink_files().into_keys().find(|name| name.ends_with(".open"))?;
    Some(site.path("out").join(name))
}

#[test]
fn a_damaged_database_is_exit_code_4_until_it_is_restored() {
    let fixture = large();
    let site = interrupted(&fixture);
    for folder in ["state", "out"] {
        copy(&site.path(folder), &site.path(&format!("{folder}.kept")));
    }
    let db = site.path("state/sled/db");
    let length = fs::metadata(&db).unwrap().len();
    let mut random = fastrand::Rng::with_seed(0x5eed_0003);
    let (mut refused, mut harmless) = (0, 0);
    for number in 0..24 {
        // a place among what was written, not in the part that only lies ready
        let bytes = fs::read(&db).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        let (at, run_length) = (random.u64(0..used), random.usize(1..64));
        let case = format!("{run_length} bytes flipped at {at} of {used} ({length}), number {number}");
        let flipped: Vec<_> = bytes[at as usize..].iter().take(run_length).map(|byte| byte ^ 0xff).collect();
        let mut file = OpenOptions::new().write(true).open(&db).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&flipped).unwrap();
        drop(file);
        let before = site.sink_files();
        let ran = run(&mut site.once());
        if ran.code == Some(0) {
            // it lay where nothing live is: then it must not matter
            site.assert_exact(&fixture, &case);
            harmless += 1;
        } else {
            assert_fails(&ran, STATE, &["the state is damaged", "restore"], &case);
            assert_eq!(site.sink_files(), before, "{case}: a refused state changes nothing in the sink");
            refused += 1;
        }
        for folder in ["state", "out"] {
            fs::remove_dir_all(site.path(folder)).unwrap();
            copy(&site.path(&format!("{folder}.kept")), &site.path(folder));
        }
    }
    println!("{refused} damaged databases refused, {harmless} without harm");
    assert!(refused > 0);
    assert_completes(&site, &fixture, "restored");
}

/// The name of a file is a device on which there is never space.
fn fill(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", path).unwrap();
}

#[test]
fn a_full_disk_below_the_dead_letters_is_exit_code_5_and_costs_nothing() {
    let fixture = small().with_dead_letters(3, 40);
    let site = site(&fixture);
    let letters = site.path("state/dead-letter.ndjson");
    fill(&letters);
    let ran = run(&mut site.once());
    assert_fails(&ran, SINK, &["dead-letter.ndjson", "No space left"], "full");
    fs::remove_file(&letters).unwrap();
    assert_completes(&site, &fixture, "space again");
    let text = fs::read_to_string(&letters).unwrap();
    let once = (0..40).all(|number| text.matches(&format!("no object, number {number}\\")).count() == 1);
    assert!(once && text.lines().count() == 40, "each once: {text}");
}

#[test]
fn a_full_disk_below_the_sidecar_is_exit_code_4_and_costs_nothing() {
    let fixture = large();
    let site = site(&fixture);
    for case in ["at the first batch", "amid the records"] {
        if case == "amid the records" {
            let ran = run(site.once().env("S3SWEEP_FAILPOINT", "before-sidecar:5"));
            assert_eq!(ran.code, None, "it dies: {}", ran.err);
        }
        let temporary = site.path("state/.sidecar.json.tmp");
        let _ = fs::remove_file(&temporary); // where a death left it
        fill(&temporary);
        let ran = run(&mut site.once());
        assert_fails(&ran, STATE, &["sidecar.json", "No space left"], case);
        fs::remove_file(&temporary).unwrap();
    }
    assert_completes(&site, &fixture, "space again");
}

#[test]
fn a_full_disk_below_the_history_is_exit_code_4_and_costs_nothing() {
    let fixture = Fixture::default().with(1, 1, 900, 1);
    let site = site(&fixture);
    let Some(disk) = Mounted::new(&site.path("state/history"), "4k") else {
        return;
    };
    for _ in 0..2 {
        let ran = run(&mut site.once());
        assert_fails(&ran, STATE, &["2024-06-01.jsonl.zst", "No space left"], "full");
    }
    disk.remount("size=16m");
    assert_completes(&site, &fixture, "space again");
}

/// When the first recheck of what closed at [`NOW`] is due.
const RECHECK: &str = "2024-06-02T12:00:00Z";

#[test]
fn a_damaged_history_is_exit_code_4_until_it_is_restored_or_given_up() {
    let fixture = small();
    let site = site(&fixture);
    assert_completes(&site, &fixture, "the days close");
    for folder in ["state", "out"] {
        copy(&site.path(folder), &site.path(&format!("{folder}.kept")));
    }
    let history = site.path("state/history/2024-06-01.jsonl.zst");
    let (whole, before) = (fs::read(&history).unwrap(), site.sink_files());
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 24 + 1) {
        let case = format!("byte {at} of {} flipped", whole.len());
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(&history, &bytes).unwrap();
        let ran = run(&mut site.command(&["once", "-q", "--now", RECHECK]));
        if ran.code != Some(0) {
            assert_fails(&ran, STATE, &["2024-06-01.jsonl.zst", "damaged", "--rebuild-state"], &case);
            assert_eq!(site.sink_files(), before, "{case}: nothing comes again");
            // given up: what is lost is said, and nothing comes twice for it
            let ran = run(&mut site.command(&["once", "--now", RECHECK, "--rebuild-state"]));
            assert_eq!(ran.code, Some(0), "{case}: {}", ran.err);
            assert!(
                ran.err.contains("lost bytes") && ran.err.contains("2024-06-01.jsonl.zst"),
                "{}",
                ran.err
            );
            assert_eq!(fs::read(site.path("state/damaged-1/2024-06-01.jsonl.zst")).unwrap(), bytes, "{case}");
            refused += 1;
        }
        site.assert_exact(&fixture, &case);
        for folder in ["state", "out"] {
            fs::remove_dir_all(site.path(folder)).unwrap();
            copy(&site.path(&format!("{folder}.kept")), &site.path(folder));
        }
    }
    assert!(refused >= 20, "{refused} damaged files refused");
    let ran = run(&mut site.command(&["once", "-q", "--now", RECHECK]));
    assert_eq!(ran.code, Some(0), "restored: {}", ran.err);
    site.assert_exact(&fixture, "restored");
    site.assert_closed(&fixture, "restored");
}

#[test]
fn an_emptied_or_older_database_is_exit_code_4_until_it_is_restored() {
    let fixture = large();
    let site = site(&fixture);
    let died = |place: &str| {
        let ran = run(site.once().env("S3SWEEP_FAILPOINT", place));
        assert_eq!(ran.code, None, "it dies: {}", ran.err);
    };
    died("before-sidecar:5");
    copy(&site.path("state/sled"), &site.path("older"));
    died("before-sidecar:5");
    copy(&site.path("state"), &site.path("kept"));
    let empty = site.path("empty");
    fs::create_dir(&empty).unwrap();
    for (case, database) in [("emptied", &empty), ("older", &site.path("older"))] {
        fs::remove_dir_all(site.path("state/sled")).unwrap();
        copy(database, &site.path("state/sled"));
        let before = site.sink_files();
        let ran = run(&mut site.once());
        assert_fails(&ran, STATE, &["sidecar", "emptied or is an old copy"], case);
        assert_eq!(site.sink_files(), before, "{case}");
        fs::remove_dir_all(site.path("state")).unwrap();
        copy(&site.path("kept"), &site.path("state"));
    }
    assert_completes(&site, &fixture, "restored");
}

#[test]
fn an_open_segment_that_was_touched_is_exit_code_4_until_it_is_restored() {
    let fixture = large();
    let site = interrupted(&fixture);
    let open = open_segment(&site).unwrap();
    let (bytes, name) = (fs::read(&open).unwrap(), open.file_name().unwrap().to_str().unwrap());
    let foreign = site.path("out/s3sweep-ffffffff-0000000001.ndjson.open");
    let cases: [(&str, &[&str]); 3] = [
        ("truncated", &[name, "were committed"]),
        ("removed", &[name, "was removed"]),
        ("a foreign one", &["s3sweep-ffffffff-0000000001.ndjson.open", "unknown to this state"]),
    ];
    for (case, words) in cases {
        match case {
            "truncated" => fs::write(&open, &bytes[..10]).unwrap(),
            "removed" => fs::remove_file(&open).unwrap(),
            _ => fs::write(&foreign, "x\n").unwrap(),
        }
        let before = site.sink_files();
        let ran = run(&mut site.once());
        assert_fails(&ran, STATE, words, case);
        assert_eq!(site.sink_files(), before, "{case}: nothing is changed");
        fs::write(&open, &bytes).unwrap();
        if foreign.exists() {
            assert_eq!(fs::read(&foreign).unwrap(), b"x\n", "it is never cut");
            fs::remove_file(&foreign).unwrap();
        }
    }
    assert_completes(&site, &fixture, "restored");
}
