//! A place for the binary: its configuration, state and sink in a folder of their own, and what
//! they must hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use s3sweep::state::disk::DiskState;
use s3sweep::state::{Batch, Change, LedgerEntry, Outcome, SourceKey, State, history};
use serde_json::Value;

/// Long after every day of the fixtures: all their prefixes close.
pub const NOW: &str = "2024-06-01T00:00:00Z";
pub const BUCKET: &str = "acme-trail";
pub const PREFIX: &str = "AWSLogs/*/CloudTrail/*";

/// Objects, and how often each of their events is to be delivered.
#[derive(Clone, Default)]
pub struct Fixture {
    pub objects: BTreeMap<String, Vec<u8>>,
    pub ids: BTreeMap<String, u64>,
}

impl Fixture {
    /// Adds `objects` objects of `records` events each, on the days from 1 May 2024 in turn.
    pub fn with(mut self, account: u8, days: usize, objects: usize, records: usize) -> Self {
        let account = 111_122_223_330_u64 + u64::from(account);
        for number in 0..objects {
            let (day, tag) = (1 + number % days, format!("{account}.{records}.{number}"));
            let key = format!(
                "AWSLogs/{account}/CloudTrail/us-east-1/2024/05/{day:02}/{account}_CloudTrail_us-east-1_202405{day:02}T0005Z_{records:08}{number:08}.json.gz"
            );
            let ids: Vec<_> = (0..records).map(|record| format!("{tag}-{record}")).collect();
            self.objects.insert(key, gzip(&events(&ids)));
            self.ids.extend(ids.into_iter().map(|id| (id, 1)));
        }
        self
    }

    /// Adds an object of `letters` records that are none, between two good ones, on 1 May 2024.
    pub fn with_dead_letters(mut self, account: u8, letters: usize) -> Self {
        let account = 111_122_223_330_u64 + u64::from(account);
        let key = format!(
            "AWSLogs/{account}/CloudTrail/us-east-1/2024/05/01/{account}_CloudTrail_us-east-1_20240501T0006Z_{letters:016}.json.gz"
        );
        let ids = ["first", "last"].map(|tag| format!("{account}.{tag}"));
        let bad = (0..letters).map(|number| format!("\"no object, number {number}\"")).collect::<Vec<_>>();
        let text = format!(r#"{{"Records":[{},{},{}]}}"#, event(&ids[0]), bad.join(","), event(&ids[1]));
        self.objects.insert(key, gzip(text.as_bytes()));
        self.ids.extend(ids.into_iter().map(|id| (id, 1)));
        self
    }

    /// These and those.
    pub fn and(mut self, other: &Fixture) -> Self {
        self.objects.extend(other.objects.clone());
        self.ids.extend(other.ids.clone());
        self
    }

    /// Writes the objects below `folder`.
    pub fn write(&self, folder: &Path) {
        for (key, bytes) in &self.objects {
            let path = folder.join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn keys(&self) -> BTreeMap<String, u64> {
        self.objects.keys().map(|key| (key.clone(), 1)).collect()
    }
}

fn event(id: &String) -> String {
    format!(
        r#"{{"eventVersion":"1.09","eventTime":"2024-05-01T00:01:00Z","eventName":"GetObject","eventSource":"s3.amazonaws.com","awsRegion":"us-east-1","userAgent":"a client that tells a little about itself, as they do","eventID":"{id}"}}"#
    )
}

fn events(ids: &[String]) -> Vec<u8> {
    format!(r#"{{"Records":[{}]}}"#, ids.iter().map(event).collect::<Vec<_>>().join(",")).into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Where the binary runs.
pub struct Site {
    folder: tempfile::TempDir,
}

/// What these tests look at in a record.
#[derive(serde::Deserialize)]
struct Record<'a> {
    event_id: &'a str,
}

/// What a run of the binary left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Site {
    /// On a file system in memory where there is one: what is tested is the order of writes, not
    /// the disk.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Site { folder: folder.unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration: `sink` are lines of its table, `source` those of the source.
    pub fn configure(&self, sink: &str, source: &str) {
        // the disks of tests are small
        let min_free = if sink.contains("min_free") { "" } else { "min_free = 0" };
        let text = format!(
            "state_dir = \"state\"\ninstance = \"site\"\n[sink]\npath = \"out\"\n{min_free}\n{sink}\n\
             [limits]\ncommit_bytes = \"64KiB\"\nbuffer_bytes = \"512KiB\"\n[[source]]\nname = \"main\"\n\
             log_type = \"cloudtrail\"\nstart = \"2024-05-01\"\n{source}\n"
        );
        std::fs::write(self.path("s3sweep.toml"), text).unwrap();
    }

    /// Lets the state's database outgrow what lives in it, so that the next start writes it anew.
    pub fn grow(&self, state: &str) {
        let state = DiskState::open(&self.path(state), "site", false).unwrap();
        let nobody = SourceKey { id: 99, generation: 1 };
        let at = chrono::DateTime::UNIX_EPOCH;
        let (etag, outcome) = ("0123456789abcdef".to_owned(), Outcome::Collected);
        let entry =
            LedgerEntry { etag, outcome, records: 1, last_modified: at, settled_at: at, reason: None };
        let is_grown = || {
            let (size, live) = state.footprint().unwrap();
            size > 2_100_000 && size > 3 * live
        };
        for number in (0..2000).take_while(|_| !is_grown()) {
            let keys = || (0..150).map(|at| format!("a key as long as they are, about {number}, {at}"));
            let put = keys().map(|key| Change::PutEntry(nobody, key, entry.clone()));
            state.apply(&Batch(put.collect())).unwrap();
            state.apply(&Batch(keys().map(|key| Change::DeleteEntry(nobody, key)).collect())).unwrap();
        }
        assert!(is_grown(), "{:?}", state.footprint());
    }

    /// The lines of a source over the folder `bucket` of this site.
    pub fn folder_source(&self, prefix: &str) -> String {
        format!("bucket = \"file://{}\"\nprefix = \"{prefix}\"\n", self.path("bucket").display())
    }

    /// The binary with nothing of our environment.
    pub fn command(&self, args: &[&str]) -> Command {
        self.command_under(&[env!("CARGO_BIN_EXE_s3sweep")], args)
    }

    /// The binary, started by another program: the first word of `program`.
    pub fn command_under(&self, program: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(args).arg("-c").arg(self.path("s3sweep.toml"));
        command.env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub fn once(&self) -> Command {
        self.command(&["once", "-q", "--now", NOW, "--report", "report.json"])
    }

    /// What the last run reported of its source.
    pub fn report(&self) -> Value {
        let report: Value =
            serde_json::from_slice(&std::fs::read(self.path("report.json")).unwrap()).unwrap();
        report["sources"][0].clone()
    }

    /// The names in the sink's folder with their sizes.
    pub fn sink_files(&self) -> BTreeMap<String, u64> {
        let Ok(entries) = std::fs::read_dir(self.path("out")) else { return BTreeMap::new() };
        let size = |entry: &std::fs::DirEntry| entry.metadata().map_or(0, |metadata| metadata.len());
        entries.flatten().map(|entry| (entry.file_name().into_string().unwrap(), size(&entry))).collect()
    }

    /// Bytes of all segments.
    pub fn sink_bytes(&self) -> u64 {
        self.sink_files().iter().filter(|(name, _)| name.starts_with("s3sweep-")).map(|(_, size)| size).sum()
    }

    /// How often each event id stands in the finished segments.
    pub fn delivered(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for name in self.sink_files().into_keys().filter(|name| name.starts_with("s3sweep-")) {
            let bytes = std::fs::read(self.path("out").join(&name)).unwrap();
            let mut text = String::new();
            match name.rsplit('.').next() {
                Some("ndjson") => text = String::from_utf8(bytes).unwrap(),
                Some("gz") => {
                    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
                }
                Some("zst") => text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap(),
                _ => continue,
            }
            for line in text.lines() {
                let record: Record =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
                *ids.entry(record.event_id.to_owned()).or_default() += 1;
            }
        }
        ids
    }

    /// Whole lines in all plain segments, those of the open one included.
    pub fn delivered_so_far(&self) -> usize {
        let names = self.sink_files().into_keys().filter(|name| name.starts_with("s3sweep-"));
        let lines = |name: String| {
            std::fs::read(self.path("out").join(name))
                .map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
        };
        names.map(lines).sum()
    }

    /// The finished segments hold each record of `want` once, and nothing unfinished lies there.
    pub fn assert_exact(&self, want: &Fixture, case: &str) {
        let found = self.delivered();
        let lost: Vec<_> = want.ids.keys().filter(|id| !found.contains_key(*id)).take(5).collect();
        let twice: Vec<_> = found.iter().filter(|(_, times)| **times != 1).take(5).collect();
        assert!(
            found == want.ids,
            "{case}: {} of {} records; lost {lost:?}, not once {twice:?}",
            found.len(),
            want.ids.len()
        );
        let unfinished = |name: &String| {
            [".open", ".compressing", ".complete"].iter().any(|ending| name.ends_with(ending))
        };
        let left: Vec<_> = self.sink_files().into_keys().filter(unfinished).collect();
        assert!(left.is_empty(), "{case}: {left:?}");
    }

    /// Every prefix is closed, each object stands once in the history, and nothing else is left.
    pub fn assert_closed(&self, want: &Fixture, case: &str) {
        // a copy: a program that another test starts just now would hold our lock a moment longer
        let looked_at = tempfile::tempdir_in(self.folder.path()).unwrap();
        let dir = looked_at.path().join("state");
        copy(&self.path("state"), &dir);
        let state = DiskState::open(&dir, "site", false).unwrap_or_else(|error| panic!("{case}: {error}"));
        let state: &dyn State = &state;
        let record = state.source("main").unwrap().unwrap();
        let key = record.key();
        assert!(record.stale.is_empty(), "{case}: {:?} are still to be deleted", record.stale);
        for generation in 1..key.generation {
            let old = s3sweep::state::SourceKey { generation, ..key };
            assert_eq!(state.stale_keys(old, 10).unwrap(), Vec::<Vec<u8>>::new(), "{case}: {generation}");
        }
        assert_eq!(state.all_progress(key).unwrap(), [], "{case}");
        assert_eq!(state.all_failed(key, None, 10).unwrap(), [], "{case}");
        assert_eq!(state.cleanups(key).unwrap(), [], "{case}");
        assert_eq!(state.entries(key, None, 10).unwrap(), [], "{case}");
        let mut closed = BTreeMap::new();
        for (file, length) in state.history().unwrap() {
            let mut frames = history::frames(&dir, &file, length);
            let keys = |frame: &mut history::Frame| frame.map(|entry| entry.map(|entry| entry.key)).collect();
            while let Some(keys) = frames.visit_next::<Vec<String>>(keys).unwrap() {
                keys.into_iter().for_each(|key| *closed.entry(key).or_default() += 1);
            }
        }
        assert_eq!(closed, want.keys(), "{case}");
    }

    /// Nothing is left to collect, as `preview` and another `once` tell.
    pub fn assert_idle(&self, case: &str) {
        let preview = run(&mut self.command(&["preview", "--now", NOW, "--output", "json"]));
        assert_eq!(preview.code, Some(0), "{case}: {}", preview.err);
        let preview: Value = serde_json::from_str(&preview.out).unwrap();
        assert_eq!(preview["sources"][0]["objects"], serde_json::json!([]), "{case}");
        self.assert_next_idle(case);
    }

    pub fn assert_next_idle(&self, case: &str) {
        let names: BTreeSet<_> = self.sink_files().into_keys().collect();
        let ran = run(&mut self.once());
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.err);
        let report = self.report();
        assert_eq!((&report["records"], &report["requests"]["get"]), (&0.into(), &0.into()), "{case}");
        assert_eq!(self.sink_files().into_keys().collect::<BTreeSet<_>>(), names, "{case}");
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
