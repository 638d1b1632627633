//! The recipes of `docs/operate.md`, as an operator types them: a directory as bucket, the binary,
//! exit codes and JSON.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

const DOCS: &str = include_str!("../../docs/operate.md");
const DAY: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2020/03/01";

/// A configuration, its bucket and its sink.
pub struct Place {
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "state_dir = \"state\"\n[sink]\npath = \"out\"\n[[source]]\nname = \"prod-cloudtrail\"\n\
             log_type = \"cloudtrail\"\nbucket = \"file://{}\"\n\
             prefix = \"AWSLogs/*/CloudTrail/us-east-1\"\nstart = \"2020-03-01\"\n",
            folder.path().join("bucket").display()
        );
        fs::write(folder.path().join("s3sweep.toml"), text).unwrap();
        Place { folder }
    }

    /// Puts a file of this minute, written long ago: a younger one might still be written.
    pub fn put(&self, minute: &str, body: &str) -> String {
        let key =
            format!("{DAY}/111122223333_CloudTrail_us-east-1_20200301T{minute}Z_aaaaaaaaaaaaaaaa.json.gz");
        let path = self.folder.path().join("bucket").join(&key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, body).unwrap();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_583_100_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        key
    }

    /// Runs a line of the docs in the folder of the configuration; the exit code and what it printed.
    pub fn run(&self, line: &str) -> (i32, String) {
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        assert_eq!(words[0], "s3sweep");
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
        let output = command.args(&words[1..]).current_dir(self.folder.path()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    fn json(&self, line: &str) -> (i32, Value) {
        let (code, text) = self.run(line);
        (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}")))
    }

    /// How often each event id stands in the finished segments.
    pub fn ids(&self) -> Vec<String> {
        let finished = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "ndjson");
        let files = fs::read_dir(self.folder.path().join("out")).unwrap().map(|entry| entry.unwrap().path());
        let mut ids: Vec<String> = files.filter(finished).flat_map(|path| lines(&path)).collect();
        ids.sort();
        ids
    }
}

fn lines(path: &Path) -> Vec<String> {
    let id =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["event_id"].as_str().unwrap().to_owned();
    fs::read_to_string(path).unwrap().lines().map(id).collect()
}

/// A line of the docs, which has to stand there.
fn documented(line: &str) -> &str {
    assert!(DOCS.contains(line), "docs/operate.md does not have {line:?}");
    line
}

#[test]
fn is_it_complete() {
    let place = Place::new();
    place.put("0010", &crate::world::trail_body(&["a".into(), "b".into()]));
    assert_eq!(place.run("s3sweep once -q").0, 0);
    let audit = documented("s3sweep audit --from 2020-03-01 --to 2020-03-31");
    let (code, text) = place.run(audit);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("delivered 1 with 2 records") && text.contains("missing 0"), "{text}");
    let late = place.put("0005", &crate::world::trail_body(&["c".into()]));
    let (code, found) = place.json(&format!("{audit} --output json"));
    let source = &found["sources"][0];
    assert_eq!((code, source["counts"]["missing"].as_u64()), (1, Some(1)), "{found}");
    assert_eq!(
        (source["objects"][0]["key"].as_str(), source["objects"][0]["standing"].as_str()),
        (Some(&*late), Some("missing"))
    );
    for field in ["from", "to", "sources"] {
        assert!(found.get(field).is_some(), "{field}");
    }
    for field in [
        "name",
        "leaves",
        "counts",
        "gaps",
        "gap_count",
        "lost_history",
        "unreachable",
        "requests",
        "cost_usd",
    ] {
        assert!(source.get(field).is_some(), "{field}");
    }
    let repair = documented("s3sweep audit --from 2020-03-01 --to 2020-03-31 --repair");
    let (code, repaired) = place.json(&format!("{repair} --output json"));
    assert_eq!(
        (code, repaired["sources"][0]["repaired"]["objects"]["collected"].as_u64()),
        (0, Some(1)),
        "{repaired}"
    );
    let (code, all) = place.json(&format!("{audit} --all --output json"));
    let standings: Vec<_> =
        all["sources"][0]["objects"].as_array().unwrap().iter().map(|one| &one["standing"]).collect();
    assert_eq!((code, standings), (0, vec![&Value::from("delivered"); 2]));
    assert_eq!(place.ids(), ["a", "b", "c"], "each once");
    // history that is gone is said to be, and nothing is taken for missing
    for entry in fs::read_dir(place.folder.path().join("state/history")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let (code, lost) = place.json(&format!("{audit} --output json"));
    assert_eq!((code, lost["sources"][0]["counts"]["unknown"].as_u64()), (4, Some(2)), "{lost}");
}

/// A daemon that is ended with the test.
struct Daemon(std::process::Child);

impl Daemon {
    #[allow(clippy::disallowed_methods, reason = "no runtime here")]
    fn start(place: &Place) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
        let daemon = Daemon(command.args(["run", "-q"]).current_dir(place.folder.path()).spawn().unwrap());
        for _ in 0..600 {
            if place.folder.path().join("state/control.sock").exists() {
                return daemon;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the daemon has no socket")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_daemon_repairs_what_an_audit_finds_missing() {
    let place = Place::new();
    place.put("0010", &crate::world::trail_body(&["a".into(), "b".into()]));
    assert_eq!(place.run("s3sweep once -q").0, 0);
    place.put("0005", &crate::world::trail_body(&["c".into()]));
    let daemon = Daemon::start(&place);
    let repair = "s3sweep audit --from 2020-03-01 --to 2020-03-31 --repair";
    let (code, repaired) = place.json(&format!("{repair} --output json"));
    let source = &repaired["sources"][0];
    assert_eq!((code, source["counts"]["missing"].as_u64()), (0, Some(1)), "{repaired}");
    let report = &source["repaired"];
    assert_eq!(
        (report["records"].as_u64(), report["objects"]["late"].as_u64()),
        (Some(1), Some(1)),
        "{report}"
    );
    let (code, text) = place.run(repair);
    assert!(code == 0 && text.contains("delivered 2 with 3 records"), "{text}");
    assert!(!text.contains("repaired"), "nothing was missing: {text}");
    drop(daemon);
    assert_eq!(place.run("s3sweep once -q").0, 0, "ends what the daemon left open");
    assert_eq!(place.ids(), ["a", "b", "c"], "each once");
}

#[test]
fn mend_a_quarantined_object() {
    let place = Place::new();
    let whole = crate::world::trail_body(&["a".into(), "b".into(), "c".into()]);
    let key = place.put("0010", &format!("{}, damage", &whole[..whole.find(r#",{"eventID":"c""#).unwrap()]));
    let hopeless = place.put("0020", "damage");
    assert_eq!(place.run("s3sweep once -q").0, 1);
    let (code, list) = place.json(documented("s3sweep quarantine list --output json"));
    assert_eq!(code, 0);
    let lines = list["quarantine"].as_array().unwrap();
    assert_eq!(
        (lines.len(), &lines[0]["key"], &lines[0]["records"]),
        (2, &Value::from(&*key), &Value::from(2))
    );
    assert!(lines[0]["offset"].as_u64() > Some(0) && lines[0]["attempts"].as_u64() > Some(0), "{list}");
    place.put("0010", &whole);
    documented("s3sweep quarantine retry KEY");
    let (code, retried) = place.json(&format!("s3sweep quarantine retry {key} --output json"));
    assert_eq!((code, retried["retried"][0]["key"].as_str()), (0, Some(&*key)), "{retried}");
    documented("s3sweep quarantine drop --reason 'TEXT' KEY");
    let (code, dropped) =
        place.json(&format!("s3sweep quarantine drop --reason hopeless {hopeless} --output json"));
    assert_eq!((code, dropped["dropped"][0]["key"].as_str()), (0, Some(&*hopeless)), "{dropped}");
    assert_eq!(place.run("s3sweep once -q").0, 0);
    assert_eq!(place.ids(), ["a", "b", "c"], "each once");
    assert_eq!(place.run(&format!("s3sweep quarantine retry {key}")).0, 1, "not there any more");
    let (code, all) = place.json("s3sweep audit --from 2020-03-01 --to 2020-03-31 --all --output json");
    let found: Vec<_> = all["sources"][0]["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["standing"], &one["reason"]))
        .collect();
    assert_eq!(
        (code, found),
        (
            0,
            vec![
                (&Value::from("delivered"), &Value::Null),
                (&Value::from("dropped"), &Value::from("hopeless"))
            ]
        )
    );
}
