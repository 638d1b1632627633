//! Real objects, where they are at hand: each ends as their index says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use s3sweep::record::LogType;

use super::fixtures::{Ledger, delivered, sweep};

/// The folder of real objects, when it is there.
fn real_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if folder.join("index.jsonl").is_file() {
        return Some(folder);
    }
    println!("skipped: no real objects in {}", folder.display());
    None
}

/// Copies the objects of one kind into a directory bucket, all of them old.
fn fill(bucket: &Path, data: &Path, rows: &[&Value]) {
    let old = "2026-01-01T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    for row in rows {
        let path = bucket.join(row["key"].as_str().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let stored = data.join("s3").join(row["bucket"].as_str().unwrap()).join(row["key"].as_str().unwrap());
        std::fs::copy(stored, &path).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(old.into()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_object_ends_as_the_index_says() {
    let Some(data) = real_data() else { return };
    let index = std::fs::read_to_string(data.join("index.jsonl")).unwrap();
    let index: Vec<Value> = index.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut seen = 0;
    for (log_type, kinds, least) in [
        (LogType::CloudTrail, &["cloudtrail", "cloudtrail-digest"][..], 10),
        (LogType::VpcFlow, &["vpcflow"], 4),
        (LogType::Waf, &["waf"], 3),
    ] {
        let rows: Vec<&Value> =
            index.iter().filter(|row| kinds.contains(&row["kind"].as_str().unwrap())).collect();
        assert!(rows.len() >= least, "{log_type:?}: the index has too few objects");
        seen += rows.len();
        let folder = tempfile::tempdir().unwrap();
        fill(&folder.path().join("bucket"), &data, &rows);
        let (report, ledger) = sweep(folder.path(), log_type, "AWSLogs").await;

        let mut want = Ledger::new();
        let mut skipped = 0;
        for row in &rows {
            let (key, records) = (row["key"].as_str().unwrap().to_owned(), row["events"].as_u64().unwrap());
            let outcome = match row["outcome"].as_str().unwrap() {
                "ok" => "collected",
                "empty" => "empty",
                "error" => "quarantined",
                _ => {
                    skipped += 1;
                    continue;
                }
            };
            want.insert(key, (outcome.to_owned(), records));
        }
        assert_eq!(ledger, want, "{log_type:?}");
        assert_eq!(report.objects.skipped.values().sum::<u64>(), skipped, "{log_type:?}");
        assert_eq!(report.dead_letters, 0, "{log_type:?}");
        let with_records: BTreeMap<String, u64> =
            want.into_iter().map(|(key, (_, records))| (key, records)).filter(|(_, n)| *n > 0).collect();
        assert_eq!(delivered(&folder.path().join("out")), with_records, "{log_type:?}");
    }
    assert_eq!(seen, index.len(), "no object is left out");
}
