//! A fault of the program at every place that matters: the process ends soon, with an exit code and
//! a message, or goes on without the object at hand; the run after it is exact.

use std::process::{Child, Stdio};
use std::time::Duration;

use super::site::{Fixture, NOW, PREFIX, Ran, Site, run};

/// What a run ends with.
const STATE: Option<i32> = Some(4);
const FAILED: Option<i32> = Some(1);
/// As any program of this language whose main thread panics.
const PANICKED: Option<i32> = Some(101);
const TICK: Duration = Duration::from_millis(10);
/// A run that takes so many ticks hangs.
const PATIENCE: u32 = 12_000;

/// Objects that each fill a commit of their own, so that a run passes the committer's places at least
/// so often, however slow the machine is.
const COMMITS: usize = 10;

/// The places: below the committer nothing may go on; a task that collects leaves its object to the
/// next sweep; a sweep takes the process with it.
const PLACES: &[(&str, Option<i32>)] = &[
    ("before-sink-write:1", STATE),
    ("before-sink-write:9", STATE),
    ("after-write-before-fsync:2", STATE),
    ("after-fsync-before-state:2", STATE),
    ("between-batch-and-sync:1", STATE),
    ("between-batch-and-sync:4", STATE),
    ("before-sidecar:1", STATE),
    ("before-sidecar:5", STATE),
    ("before-rotation-rename:1", STATE),
    ("after-rotation-rename:1", STATE),
    ("complete-beside-open:1", STATE),
    ("between-history-and-closing:1", STATE),
    ("mid-ledger-cleanup:1", STATE),
    ("before-get:2", FAILED),
    ("mid-body:3", FAILED),
    ("after-decode:2", FAILED),
    ("after-list-page:2", PANICKED),
];

#[test]
fn a_panic_anywhere_ends_well_and_the_next_run_is_exact() {
    for (place, code) in PLACES {
        let site = Site::new();
        let fixture = Fixture::default().with(1, 2, COMMITS, 300).with(2, 2, 6, 2);
        fixture.write(&site.path("bucket"));
        let source = site.folder_source(PREFIX);
        let compression = if place.starts_with("complete-beside-open") { "gzip" } else { "none" };
        site.configure(&format!("rotate_size = \"64KiB\"\ncompression = \"{compression}\""), &source);
        let ran = ended(site.once().env("S3SWEEP_FAILPOINT", format!("{place}:panic")), place);
        assert_eq!(ran.code, *code, "{place}: {}", ran.err);
        let name = place.split(':').next().unwrap();
        assert!(ran.err.contains(&format!("the failpoint {name}")), "{place}: {}", ran.err);
        if *code == STATE {
            assert!(ran.err.contains("error: a fault of the program"), "{place}: {}", ran.err);
        }
        let ran = run(&mut site.once());
        assert_eq!(ran.code, Some(0), "{place}: {}", ran.err);
        site.assert_exact(&fixture, place);
        site.assert_closed(&fixture, place);
        site.assert_next_idle(place);
    }
}

#[test]
fn a_daemon_whose_state_fails_ends() {
    let site = Site::new();
    let fixture = Fixture::default().with(1, 2, COMMITS, 300);
    fixture.write(&site.path("bucket"));
    site.configure("rotate_size = \"64KiB\"", &site.folder_source(PREFIX));
    let mut command = site.command(&["run", "-q"]);
    let ran = ended(command.env("S3SWEEP_FAILPOINT", "before-sidecar:3:panic"), "run");
    assert_eq!(ran.code, STATE, "{}", ran.err);
    assert!(ran.err.contains("error: a fault of the program"), "{}", ran.err);
    let ran = run(&mut site.command(&["once", "-q", "--now", NOW]));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    site.assert_exact(&fixture, "after the daemon");
}

/// Runs a command that has to end soon.
fn ended(command: &mut std::process::Command, case: &str) -> Ran {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let child = wait(child, case);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::new(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn wait(mut child: Child, case: &str) -> Child {
    for _ in 0..PATIENCE {
        if child.try_wait().unwrap().is_some() {
            return child;
        }
        #[allow(clippy::disallowed_methods, reason = "a process is waited for")]
        std::thread::sleep(TICK);
    }
    child.kill().unwrap();
    panic!("{case}: it hangs: {:?}", child.wait_with_output());
}
