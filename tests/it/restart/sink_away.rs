//! The sink's folder goes while the binary runs, and comes back: meanwhile the sink counts as down,
//! nothing is made where it was, and afterwards each record stands there once.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::site::{Fixture, NOW, PREFIX, Site, run};

/// What a run ends with whose sink cannot take records.
const SINK: Option<i32> = Some(5);
const TICK: Duration = Duration::from_millis(2);
/// So many ticks mean that something hangs.
const PATIENCE: u32 = 60_000;

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended already
        let _ = self.0.wait();
    }
}

fn start(site: &Site, args: &[&str]) -> Running {
    let err = File::create(site.path("stderr")).unwrap();
    Running(site.command(args).stdout(Stdio::null()).stderr(err).spawn().unwrap())
}

fn stderr(site: &Site) -> String {
    fs::read_to_string(site.path("stderr")).unwrap()
}

/// Waits until something is so.
fn until(site: &Site, what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..PATIENCE {
        if is_so() {
            return;
        }
        #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
        std::thread::sleep(TICK);
    }
    panic!("{what}: not so: {}", stderr(site));
}

fn has_finished_segment(site: &Site) -> bool {
    site.sink_files().keys().any(|name| name.ends_with(".ndjson"))
}

/// Puts an empty folder where the sink's was, as a volume leaves that is unmounted.
fn take_away(site: &Site, leave_empty: bool) {
    fs::rename(site.path("out"), site.path("away")).unwrap();
    if leave_empty {
        fs::create_dir(site.path("out")).unwrap();
    }
}

fn bring_back(site: &Site) {
    if site.path("out").exists() {
        fs::remove_dir(site.path("out")).expect("nothing was made in it");
    }
    fs::rename(site.path("away"), site.path("out")).unwrap();
}

#[test]
fn once_gives_up_on_a_folder_that_goes_and_the_next_run_is_exact() {
    for leave_empty in [false, true] {
        let (site, fixture) = (Site::new(), Fixture::default().with(1, 2, 40, 500));
        fixture.write(&site.path("bucket"));
        let sink = "rotate_size = \"64KiB\"\nsink_timeout = \"1 S\"";
        site.configure(sink, &site.folder_source(PREFIX));
        let mut running = start(&site, &["once", "-q", "--now", NOW]);
        until(&site, "a finished segment", || has_finished_segment(&site));
        take_away(&site, leave_empty);
        let status = running.0.wait().unwrap();
        assert_eq!(status.code(), SINK, "{}", stderr(&site));
        assert!(stderr(&site).contains("the sink cannot take records"), "{}", stderr(&site));
        bring_back(&site);
        let ran = run(&mut site.once());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        site.assert_exact(&fixture, "back");
        site.assert_closed(&fixture, "back");
        site.assert_idle("back");
    }
}

#[test]
fn a_daemon_waits_for_a_folder_that_goes() {
    for leave_empty in [false, true] {
        let site = Site::new();
        let (first, second) = (Fixture::default().with(1, 2, 6, 300), Fixture::default().with(2, 2, 20, 300));
        first.write(&site.path("bucket"));
        let source = format!("{}discover_every = \"0M\"", site.folder_source(PREFIX));
        site.configure("rotate_size = \"64KiB\"", &source);
        let mut running = start(&site, &["run"]);
        until(&site, "all of the first", || site.delivered_so_far() == first.ids.len());
        second.write(&site.path("bucket"));
        take_away(&site, leave_empty);
        let ran = run(&mut site.command(&["sweep", "now"]));
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        until(&site, "it says so", || stderr(&site).contains("the sink is down"));
        assert!(running.0.try_wait().unwrap().is_none(), "it waits: {}", stderr(&site));
        bring_back(&site);
        let all = first.clone().and(&second);
        until(&site, "all of both", || site.delivered_so_far() == all.ids.len());
        drop(running);
        let ran = run(&mut site.once());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        site.assert_exact(&all, "back");
        site.assert_next_idle("back");
    }
}
