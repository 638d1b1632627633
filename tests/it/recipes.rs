//! The recipes of `docs/operate.md` run: the commands of each section, as they stand there, by
//! the binary, in a folder with a bucket of their days.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use chrono::TimeDelta;
use s3sweep::clock::{Clock as _, SystemClock};

use crate::world::{at, trail_key};

const PAGE: &str = include_str!("../../docs/operate.md");

/// The blocks of a kind in the section of this title.
fn blocks(title: &str, kind: &str) -> Vec<String> {
    let heading = format!("## {title}\n");
    let (_, rest) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no section {title}"));
    let section = rest.split("\n## ").next().unwrap();
    let fence = format!("```{kind}\n");
    section.split(&fence).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// The commands of a section, without the program's name.
fn commands(title: &str) -> Vec<Vec<String>> {
    let lines = blocks(title, "sh").concat();
    let commands: Vec<Vec<_>> = lines
        .lines()
        .map(|line| {
            let command = line.strip_prefix("s3sweep ").unwrap_or_else(|| panic!("{title}: {line}"));
            command.split(' ').map(str::to_owned).collect()
        })
        .collect();
    assert!(!commands.is_empty(), "{title} has commands");
    commands
}

/// A folder with a configuration and a bucket; the binary runs in it.
struct Site {
    folder: tempfile::TempDir,
}

/// A daemon that is killed when this goes away.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

impl Site {
    /// Two accounts with two files on each of three days; the last one is open.
    fn new() -> Self {
        let site = Site { folder: tempfile::tempdir().unwrap() };
        for day in 1..4 {
            site.put(&format!("2024-05-0{day}T00:05:00Z"));
            site.put(&format!("2024-05-0{day}T00:55:00Z"));
        }
        site.configure(&site.path("bucket"), "");
        site.once();
        site.assert_delivered(12, 0);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, bucket: &std::path::Path, more: &str) {
        let text = format!(
            "state_dir = \"state\"\nclose_spread = \"0M\"\nhistory = \"9000D\"\n{more}\n[sink]\npath = \"out\"\n[[source]]\n\
             name = \"prod-cloudtrail\"\nlog_type = \"cloudtrail\"\nbucket = \"file://{}\"\n\
             prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nfile_pattern = '.*'\nstart = \"2024-05-01\"\n",
            bucket.display()
        );
        fs::write(self.path("s3sweep.toml"), text).unwrap();
    }

    fn put(&self, written: &str) {
        for account in 0..2 {
            let key = trail_key(account, at(written), 7);
            let path = self.path("bucket").join(&key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = File::create(&path).unwrap();
            write!(file, r#"{{"Records":[{{"eventID":"{key}","eventTime":"2024-05-01T00:00:00Z"}}]}}"#)
                .unwrap();
            file.set_modified(at(written).into()).unwrap();
        }
    }

    fn command(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
        command.args(args).env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command says, which ends well.
    fn run(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> String {
        let output = self.output(args);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{err}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn once(&self) {
        self.run(&["once", "--now", "2024-05-03T02:00:00Z"]);
    }

    /// Starts a daemon that has answered once.
    fn daemon(&self) -> Daemon {
        let log = File::create(self.path("log")).unwrap();
        let daemon = Daemon(self.command(&["run"]).stderr(log).spawn().unwrap());
        for _ in 0..600 {
            if std::os::unix::net::UnixStream::connect(self.path("state/control.sock")).is_ok() {
                return daemon;
            }
            #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no socket: {}", fs::read_to_string(self.path("log")).unwrap());
    }

    /// How often each event stands in the sink, open segments included.
    fn delivered(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for item in fs::read_dir(self.path("out")).into_iter().flatten() {
            let path = item.unwrap().path();
            if !path.to_string_lossy().contains(".ndjson") {
                continue;
            }
            for line in fs::read_to_string(path).unwrap().lines() {
                let Ok(record) = serde_json::from_str::<serde_json::Value>(line) else { continue };
                *ids.entry(record["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        ids
    }

    /// `all` events, `again` of them twice.
    fn assert_delivered(&self, all: usize, again: usize) {
        let delivered = self.delivered();
        let twice = delivered.values().filter(|times| **times == 2).count();
        let once = delivered.values().filter(|times| **times == 1).count();
        assert_eq!((delivered.len(), twice, once), (all, again, all - again), "{delivered:?}");
    }

    /// Waits until a daemon has delivered that.
    fn await_delivered(&self, all: usize, again: usize) {
        for _ in 0..600 {
            let delivered = self.delivered();
            if delivered.len() == all && delivered.values().filter(|times| **times > 1).count() == again {
                break;
            }
            #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
            std::thread::sleep(Duration::from_millis(50));
        }
        self.assert_delivered(all, again);
    }
}

#[test]
fn status_reads_as_the_page_says() {
    let site = Site::new();
    let shown = site.run(&commands("Read `status`")[0]);
    let page = blocks("Read `status`", "text").concat();
    let form = |line: &str| {
        let line = line.split(", lag ").next().unwrap();
        line.replace("111122223334", "111122223333").trim_end().to_owned()
    };
    let shown: Vec<_> = shown.lines().map(form).collect();
    for line in page.lines().map(form) {
        let line = line.replace(", 4 records", ", 12 records");
        assert!(shown.contains(&line), "{line}\nis not in\n{}", shown.join("\n"));
    }
    for word in ["leaf ", "closed before ", "open ", "floor ", "lag "] {
        assert!(shown.iter().any(|line| line.starts_with(word)), "{word}is explained");
    }
}

#[test]
fn a_day_is_rewound_with_and_without_a_daemon() {
    let recipe = commands("Rewind a day");
    let counted = blocks("Rewind a day", "text").concat();
    let site = Site::new();
    let said = site.run(&recipe[0]);
    assert!(said.starts_with(&counted), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    site.once();
    site.assert_delivered(12, 0);
    site.run(&recipe[1]);
    site.once();
    site.assert_delivered(12, 4);

    let site = Site::new();
    let daemon = site.daemon();
    let said = site.run(&recipe[0]);
    assert!(said.starts_with(&counted), "{said}");
    site.run(&recipe[1]);
    site.await_delivered(12, 4);
    // the daemon answers what else is asked
    assert!(site.run(&["status"]).contains("closed before"));
    let json: serde_json::Value =
        serde_json::from_str(&site.run(&["marker", "list", "--output", "json"])).unwrap();
    assert_eq!(json["markers"][0]["leaves"].as_array().unwrap().len(), 2);
    assert!(site.run(&["preview"]).contains("0 objects"));
    assert_eq!(site.run(&["quarantine", "list"]), "");
    assert_eq!(site.output(&["once"]).status.code(), Some(4), "it owns the state directory");
    assert_eq!(site.output(&["marker", "import", "x"]).status.code(), Some(4));
    drop(daemon);
    assert!(site.path("state/control.sock").exists(), "killed, it leaves its socket");
    assert!(site.run(&["status"]).contains("closed before"), "which nobody minds");
    drop(site.daemon());
}

#[test]
fn what_would_be_left_out_needs_force() {
    let site = Site::new();
    site.put("2024-05-03T01:30:00Z");
    let set = ["marker", "set", "--closed-through", "2024-05-04", "--yes"];
    let refused = site.output(&set);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(
        said.contains("0 objects that are in the bucket now would be collected again, 2 left out"),
        "{said}"
    );
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    site.once();
    site.assert_delivered(14, 0);
    site.put("2024-05-03T01:40:00Z");
    site.run(&[&set[..], &["--force"]].concat());
    site.run(&["once"]);
    site.assert_delivered(14, 0);
}

#[test]
fn a_year_before_the_start_is_collected_once() {
    let site = Site::new();
    site.put("2023-05-01T03:00:00Z");
    site.put("2023-12-24T03:00:00Z");
    site.put("2023-04-30T03:00:00Z"); // before that year
    site.run(&commands("Backfill a year beside live collection")[0]);
    site.put("2024-05-03T01:30:00Z");
    site.once();
    site.assert_delivered(18, 0);
}

#[test]
fn a_paused_source_waits_for_its_end() {
    let recipe = commands("Pause a source");
    let site = Site::new();
    let daemon = site.daemon();
    site.run(&recipe[0]);
    assert!(site.run(&["status"]).contains("paused since"));
    assert_eq!(site.output(&["sweep", "now"]).status.code(), Some(2), "it is paused");
    drop(daemon);
    // of a day that is open by the daemon's clock too
    let now = SystemClock.now();
    site.put(&now.to_rfc3339());
    site.run(&["once"]);
    site.assert_delivered(12, 0);
    let daemon = site.daemon();
    site.run(&recipe[1]);
    site.await_delivered(14, 0);
    site.put(&(now - TimeDelta::minutes(1)).to_rfc3339());
    assert!(site.run(&["sweep", "now"]).contains("a sweep begins"));
    site.await_delivered(16, 0);
    drop(daemon);
    assert_eq!(site.output(&["sweep", "now"]).status.code(), Some(4), "nobody would sweep");
}

#[test]
fn a_host_is_moved() {
    let [export, import] = &commands("Move to another host")[..] else { panic!("two commands") };
    let one = Site::new();
    let exported = one.run(export);
    assert!(fs::read_dir(one.path("out")).unwrap().all(|item| !item.unwrap().path().ends_with(".open")));
    let two = Site { folder: tempfile::tempdir().unwrap() };
    two.configure(&one.path("bucket"), "instance = \"two\"");
    fs::write(two.path("markers.jsonl"), &exported).unwrap();
    let unasked = two.output(&["marker", "import", "markers.jsonl"]);
    assert_eq!(unasked.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&unasked.stderr).contains("--adopt-state"));
    let mut piped = two.command(&["marker", "import", "/dev/stdin", "--adopt-state"]);
    let piped = piped.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let refused = piped.wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "what is read twice cannot come from a pipe");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("write it to a file first"));
    two.run(import);
    assert_eq!(two.output(import).status.code(), Some(2), "a second time");
    one.put("2024-05-03T01:30:00Z");
    one.put("2024-05-01T12:00:00Z"); // late: for the rechecks
    two.once();
    two.assert_delivered(2, 0);
    two.run(&["once", "--now", "2024-05-12T00:00:00Z"]);
    two.assert_delivered(4, 0);
    // a daemon's export is the same but for its time
    let daemon = one.daemon();
    one.await_delivered(16, 0);
    let lines = one.run(export).lines().count();
    assert!(lines > exported.lines().count());
    drop(daemon);
}

#[test]
fn a_changed_pattern_begins_anew() {
    let [preview, once] = &commands("Change a pattern")[..] else { panic!("two commands") };
    let site = Site::new();
    let text = fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    fs::write(site.path("s3sweep.toml"), text.replace("AWSLogs/*/", "AWSLogs/111122223333/")).unwrap();
    assert!(site.run(preview).contains("6 objects"));
    site.run(once);
    site.assert_delivered(12, 6);
}

#[test]
fn a_lost_database_is_made_anew() {
    let site = Site::new();
    fs::remove_dir_all(site.path("state/sled")).unwrap();
    assert_eq!(site.output(&["once"]).status.code(), Some(4));
    site.run(&commands("Lost or damaged state")[0]);
    site.assert_delivered(12, 4);
}
