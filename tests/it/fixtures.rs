//! The fixtures are what their manifest says, and the code does with them what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use s3sweep::clock::FixedClock;
use s3sweep::config;
use s3sweep::record::LogType;
use s3sweep::service::{Instance, Options, Source};
use s3sweep::state::State;
use s3sweep::state::disk::DiskState;
use s3sweep::sweep::report::SourceReport;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Before the first day closes, so that its ledger can be read; all objects are there.
const NOW: &str = "2026-06-02T00:45:00Z";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn manifest() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("manifest.json")).unwrap()).unwrap()
}

fn objects(manifest: &Value) -> &Vec<Value> {
    manifest["objects"].as_array().expect("the manifest lists objects")
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry[name].as_str().unwrap_or_else(|| panic!("no {name} in {entry}"))
}

/// All files below a folder, relative to it.
fn files_below(folder: &Path, place: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder.join(place)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{place}/{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => files_below(folder, &path, found),
            false => assert!(found.insert(path)),
        }
    }
}

#[test]
fn every_file_is_listed_once_and_every_listed_file_is_there() {
    let manifest = manifest();
    let mut there = BTreeSet::new();
    files_below(&fixtures(), "bucket", &mut there);
    files_below(&fixtures(), "late", &mut there);
    let mut listed = BTreeSet::new();
    for entry in objects(&manifest) {
        let (key, file) = (text(entry, "key"), text(entry, "file"));
        let folder = if entry["late"] == true { "late" } else { "bucket" };
        assert_eq!(file, format!("{folder}/{key}"));
        assert!(listed.insert(file.to_owned()), "{file} is listed twice");
        text(entry, "last_modified").parse::<DateTime<Utc>>().expect("an instant");
    }
    assert_eq!(listed, there);
}

#[test]
fn totals_are_the_sums_of_the_objects() {
    let manifest = manifest();
    for (name, with_late) in [("before_late", false), ("all", true)] {
        let of: Vec<_> =
            objects(&manifest).iter().filter(|entry| with_late || entry["late"] == false).collect();
        let outcomes = |word: &str| of.iter().filter(|entry| entry["outcome"] == word).count();
        let sums = json!({
            "objects": of.len(),
            "collected": outcomes("collected"),
            "empty": outcomes("empty"),
            "quarantined": outcomes("quarantined"),
            "skipped": outcomes("skipped"),
            "late": of.iter().filter(|entry| entry["late"] == true).count(),
            "records": of.iter().map(|entry| entry["records"].as_u64().unwrap()).sum::<u64>(),
        });
        assert_eq!(manifest["totals"][name], sums, "{name}");
    }
}

#[test]
fn every_kind_of_outcome_is_there() {
    let manifest = manifest();
    let words: BTreeSet<_> = objects(&manifest).iter().map(|entry| text(entry, "outcome")).collect();
    assert_eq!(words, BTreeSet::from(["collected", "empty", "quarantined", "skipped"]));
    assert!(objects(&manifest).iter().any(|entry| entry["late"] == true));
}

/// Copies all objects into a directory bucket, each as old as the manifest says.
fn fill(folder: &Path, manifest: &Value) {
    for entry in objects(manifest) {
        let path = folder.join(text(entry, "key"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(fixtures().join(text(entry, "file")), &path).unwrap();
        let written: DateTime<Utc> = text(entry, "last_modified").parse().unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_modified(written.into()).unwrap();
    }
}

/// What a sweep made of each key: the ledger's word and number of records.
pub type Ledger = BTreeMap<String, (String, u64)>;

/// Sweeps `bucket` below `folder` once, as a source of its own state.
pub async fn sweep(folder: &Path, log_type: LogType, pattern: &str) -> (SourceReport, Ledger) {
    let text = format!(
        "state_dir = \"state\"\n[sink]\npath = \"out\"\n[[source]]\nname = \"main\"\nlog_type = \"{}\"\n\
         bucket = \"file://{}\"\nprefix = \"{pattern}\"\nstart = \"all\"\nkeep_nodata = true\n",
        log_type.word(),
        folder.join("bucket").display()
    );
    let config = config::parse(folder.join("s3sweep.toml"), &text).unwrap();
    let options = Options {
        clock: Arc::new(FixedClock(NOW.parse().unwrap())),
        adopt_state: false,
        rebuild_state: false,
        give_up: true,
        stop: CancellationToken::new(),
    };
    let source = Source::new(&config.sources[0], &config).unwrap();
    let instance = Instance::open(config.clone(), options).await.unwrap();
    let swept = instance.sweep(&source).await;
    swept.ended.unwrap();
    instance.close().await.unwrap();

    let state: Arc<dyn State> =
        Arc::new(DiskState::open(&config.state_dir, &config.instance, false).unwrap());
    let key = state.source("main").unwrap().unwrap().key();
    let entries = state.entries(key, None, usize::MAX).unwrap().into_iter();
    let ledger =
        entries.map(|(key, entry)| (key, (entry.outcome.word().to_owned(), entry.records))).collect();
    (swept.report, ledger)
}

/// How many records of each key the finished segments hold.
pub fn delivered(folder: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            for line in std::fs::read_to_string(path).unwrap().lines() {
                let record: Value = serde_json::from_str(line).unwrap();
                let count = counts.entry(text(&record["s3"], "key").to_owned()).or_insert(0);
                assert_eq!(record["s3"]["record"], *count, "records of an object keep their order");
                *count += 1;
            }
        }
    }
    counts
}

/// A mirror that was copied long after the time for which it is swept, but not just now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_mirror_are_whole_whatever_time_a_sweep_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bucket/logs/damaged.json.gz");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, r#"{"Records":[{"eventID":"1"}"#).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_modified(std::fs::metadata(&path).unwrap().modified().unwrap() - Duration::from_secs(3600))
        .unwrap();
    let (report, _) = sweep(folder.path(), LogType::CloudTrail, "logs").await;
    assert_eq!((report.objects.quarantined, report.objects.failed), (1, 0), "{:?}", report.failures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_code_does_with_each_object_what_the_manifest_says() {
    let manifest = manifest();
    let cases = [
        ("the manifest's own pattern", text(&manifest, "pattern"), json!({})),
        ("one that reaches the digest", "AWSLogs", json!({ "digest": manifest["totals"]["all"]["skipped"] })),
    ];
    for (case, pattern, skipped) in cases {
        let folder = tempfile::tempdir().unwrap();
        fill(&folder.path().join("bucket"), &manifest);
        let (report, ledger) = sweep(folder.path(), LogType::CloudTrail, pattern).await;
        let worked_on: Vec<_> =
            objects(&manifest).iter().filter(|entry| entry["outcome"] != "skipped").collect();
        let told: Ledger = worked_on
            .iter()
            .map(|entry| {
                let outcome = text(entry, "outcome").to_owned();
                (text(entry, "key").to_owned(), (outcome, entry["records"].as_u64().unwrap()))
            })
            .collect();
        assert_eq!(ledger, told, "{case}");
        assert_eq!(json!(report.objects.skipped), skipped, "{case}");
        let with_records = told.into_iter().filter(|(_, (_, records))| *records > 0);
        let with_records = with_records.map(|(key, (_, records))| (key, records)).collect();
        assert_eq!(delivered(&folder.path().join("out")), with_records, "{case}");
        assert_eq!(json!(report.records), manifest["totals"]["all"]["records"], "{case}");
    }
}

#[test]
fn the_script_makes_what_lies_there() {
    match Command::new("python3").arg(fixtures().join("make.py")).arg("--check").output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => println!("skipped: python3 does not start: {error}"),
    }
}
