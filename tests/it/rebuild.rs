//! A lost or damaged state: refused by a plain start, made anew with `--rebuild-state`. What closed
//! prefixes delivered does not come again, nothing is lost, and the sweep after that is idle.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use s3sweep::clock::FixedClock;
use s3sweep::config;
use s3sweep::pattern::PrefixPattern;
use s3sweep::service::{Instance, InstanceError, Options, Source};
use s3sweep::state::disk::DiskState;
use s3sweep::state::history::{self, History, HistoryEntry, HistoryHeader};
use s3sweep::state::rebuild::KnownSource;
use s3sweep::state::{State, StateError, sidecar};
use s3sweep::sweep::report::SourceReport;
use tokio_util::sync::CancellationToken;

use crate::world::{at, trail_key};

const DAYS: &str = "AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}";
/// Listed one by one, and found by delimiter: a wildcard stands left of the day.
const SPARSE: &str = "AWSLogs/*/CloudTrail/us-*/{YYYY}/{m}/{dd}";
const FIRST_DAY: &str = "/2026/06/01/";

/// A bucket, a state and a sink in folders, and who sweeps.
struct Site {
    folder: tempfile::TempDir,
    pattern: &'static str,
    instance: &'static str,
}

/// How to start.
#[derive(Clone, Copy, Default)]
struct Start {
    rebuild: bool,
    adopt: bool,
}

const PLAIN: Start = Start { rebuild: false, adopt: false };
const REBUILD: Start = Start { rebuild: true, adopt: false };

impl Site {
    /// Two accounts: the first day is collected and closed, the second one collected and open.
    async fn new(pattern: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Site { folder, pattern, instance: "collector" };
        for account in 0..2 {
            for hour in 1..4 {
                site.put(account, &format!("2026-06-01T0{hour}:00:00Z"));
            }
        }
        site.sweep("2026-06-01T12:00:00Z", PLAIN).await.unwrap();
        for account in 0..2 {
            site.put(account, "2026-06-02T01:00:00Z");
        }
        site.sweep("2026-06-02T03:00:00Z", PLAIN).await.unwrap();
        assert_eq!(history::list(&site.state()).unwrap().len(), 1, "the first day is closed");
        site.assert_delivered(1);
        site
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn database(&self) -> PathBuf {
        self.state().join("sled/db")
    }

    fn put(&self, account: u8, written: &str) {
        let key = trail_key(account, at(written), 7).replace(".json.gz", ".json");
        let key = if self.pattern == SPARSE { key.replace("/06/", "/6/") } else { key };
        let path = self.folder.path().join("bucket").join(&key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(&path).unwrap();
        write!(file, r#"{{"Records":[{{"eventID":"{key}","eventTime":"2026-06-01T00:00:00Z"}}]}}"#).unwrap();
        file.set_modified(at(written).into()).unwrap();
    }

    fn configuration(&self) -> String {
        let root = self.folder.path().display();
        format!(
            "state_dir = \"{root}/state\"\ninstance = \"{}\"\nclose_spread = \"0M\"\n[sink]\npath = \"{root}/out\"\n\
             [[source]]\nname = \"main\"\nlog_type = \"cloudtrail\"\nbucket = \"file://{root}/bucket\"\n\
             prefix = '{}'\nfile_pattern = '.*'\nstart = \"2026-06-01\"\nlateness = \"1H\"\n",
            self.instance, self.pattern
        )
    }

    async fn sweep(&self, now: &str, start: Start) -> Result<SourceReport, InstanceError> {
        let config = config::parse(PathBuf::from("site.toml"), &self.configuration()).unwrap();
        let options = Options {
            clock: Arc::new(FixedClock(at(now))),
            adopt_state: start.adopt,
            rebuild_state: start.rebuild,
            give_up: true,
            stop: CancellationToken::new(),
        };
        let sources = [Source::new(&config.sources[0], &config).unwrap()];
        let instance = Instance::open(config, options).await?;
        let swept = instance.once(&sources).await.remove(0);
        instance.close().await?;
        swept.ended.unwrap();
        assert!(swept.report.unreachable.is_empty(), "{:?}", swept.report.unreachable);
        Ok(swept.report)
    }

    async fn refused(&self, start: Start) -> StateError {
        match self.sweep("2026-06-02T04:00:00Z", start).await {
            Err(InstanceError::State(error)) => error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it started"),
        }
    }

    /// How often each event stands in the sink.
    fn delivered(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for item in fs::read_dir(self.folder.path().join("out")).unwrap() {
            let path = item.unwrap().path();
            if !path.to_string_lossy().contains(".ndjson") {
                continue;
            }
            for line in fs::read_to_string(path).unwrap().lines() {
                let record: serde_json::Value = serde_json::from_str(line).unwrap();
                *ids.entry(record["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        ids
    }

    /// Every object came: those of the closed day once, the others up to `open` times.
    fn assert_delivered(&self, open: u64) {
        let delivered = self.delivered();
        assert_eq!(delivered.len(), 8, "nothing is lost: {delivered:?}");
        for (key, times) in delivered {
            let first_day = key.contains(FIRST_DAY) || key.contains("/2026/6/01/");
            assert_eq!(times, if first_day { 1 } else { open }, "{key}");
        }
    }

    /// Starts with `--rebuild-state`: `again` of the open objects are collected once more, and
    /// after that everything is as it ever was.
    async fn rebuild(&self, start: Start, again: u64, case: &str) {
        let report = self.sweep("2026-06-02T04:00:00Z", start).await.unwrap();
        assert_eq!((report.objects.collected, report.objects.failed), (again, 0), "{case}");
        self.assert_delivered(if again > 0 { 2 } else { 1 });
        let report = self.sweep("2026-06-02T04:10:00Z", PLAIN).await.unwrap();
        assert_eq!(report.objects.collected, 0, "{case}: the next sweep is idle");
        self.assert_delivered(if again > 0 { 2 } else { 1 });
        self.sweep("2026-06-03T03:00:00Z", PLAIN).await.unwrap();
        let closed = history::list(&self.state()).unwrap();
        assert_eq!(closed.len(), 2, "{case}: the second day closes too, and the history is kept: {closed:?}");
    }

    fn kept(&self) -> Vec<String> {
        let items = fs::read_dir(self.state().join("damaged-1")).unwrap();
        let mut names: Vec<_> = items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn is_damaged(error: &StateError) {
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("--rebuild-state"), "it names the way out: {error}");
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for byte in &mut bytes[used / 3..used] {
        *byte ^= 0x5a;
    }
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_lost_database_is_made_anew() {
    for pattern in [DAYS, SPARSE] {
        let site = Site::new(pattern).await;
        let before = sidecar::read(&site.state()).unwrap().unwrap();
        fs::remove_dir_all(site.state().join("sled")).unwrap();
        is_damaged(&site.refused(PLAIN).await);
        is_damaged(&site.refused(PLAIN).await);
        site.rebuild(REBUILD, 2, pattern).await;
        let after = sidecar::read(&site.state()).unwrap().unwrap();
        assert!(after.sequence > before.sequence);
        let source = |sidecar: &sidecar::Sidecar| {
            let source = sidecar.sources["main"].clone();
            (source.id, source.generation, source.start, source.identity)
        };
        assert_eq!(source(&after), source(&before), "the same source, in the same generation");
        let error = site.refused(REBUILD).await;
        assert!(matches!(error, StateError::NothingToRebuild { .. }), "and now it is whole: {error}");
    }
}

#[tokio::test]
async fn an_emptied_a_flipped_and_a_cut_database_are_made_anew() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 3] = [
        ("emptied", |db| fs::write(db, "").unwrap()),
        ("flipped", flip),
        ("garbage", |db| fs::write(db, [0x7f; 100_000]).unwrap()),
    ];
    for (case, damage) in cases {
        let site = Site::new(DAYS).await;
        damage(&site.database());
        is_damaged(&site.refused(PLAIN).await);
        site.rebuild(REBUILD, 2, case).await;
        assert_eq!(site.kept(), ["sled"], "{case}");
        // sled may cut what it cannot read when it opens a file, so the bytes are not compared
        assert!(site.state().join("damaged-1/sled/db").exists(), "{case}: what was damaged is kept");
    }
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_made_anew() {
    let site = Site::new(DAYS).await;
    let old = fs::read(site.database()).unwrap();
    site.sweep("2026-06-02T03:30:00Z", PLAIN).await.unwrap();
    fs::write(site.database(), old).unwrap();
    is_damaged(&site.refused(PLAIN).await);
    site.rebuild(REBUILD, 2, "an older copy").await;
}

/// The sidecar of version 1 did not tell bucket and pattern: the configuration does.
#[tokio::test]
async fn a_sidecar_of_the_first_version_does_not_raise_the_generation() {
    let site = Site::new(DAYS).await;
    let path = site.state().join("sidecar.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    json["version"] = 1.into();
    json["sources"]["main"].as_object_mut().unwrap().remove("identity").unwrap();
    let json = json.to_string();
    fs::write(&path, format!("{json}\n{:08x}\n", crate::state::crc(json.as_bytes()))).unwrap();
    fs::remove_dir_all(site.state().join("sled")).unwrap();
    site.rebuild(REBUILD, 2, "version 1").await;
    assert_eq!(sidecar::read(&site.state()).unwrap().unwrap().sources["main"].generation, 1);
}

#[tokio::test]
async fn a_damaged_sidecar_beside_a_good_database_costs_nothing() {
    let site = Site::new(DAYS).await;
    fs::write(site.state().join("sidecar.json"), "{}").unwrap();
    is_damaged(&site.refused(PLAIN).await);
    site.rebuild(REBUILD, 0, "a damaged sidecar").await;
    assert_eq!(site.kept(), ["sidecar.json"]);
}

/// What the history names as closed is not delivered again, though everything else is lost.
#[tokio::test]
async fn without_sidecar_the_history_keeps_closed_prefixes_closed() {
    for (pattern, sidecar_is) in [(DAYS, "gone"), (SPARSE, "gone"), (DAYS, "damaged")] {
        let site = Site::new(pattern).await;
        fs::remove_dir_all(site.state().join("sled")).unwrap();
        match sidecar_is {
            "gone" => fs::remove_file(site.state().join("sidecar.json")).unwrap(),
            _ => fs::write(site.state().join("sidecar.json"), "{}").unwrap(),
        }
        is_damaged(&site.refused(PLAIN).await);
        assert_eq!(history::list(&site.state()).unwrap().len(), 1, "a refused start leaves the history");
        site.rebuild(REBUILD, 2, sidecar_is).await;
    }
}

/// A crash between the frame in the history and its batch in the state, and then the state is
/// lost: the frame tells that all of the prefix is in the sink.
#[tokio::test]
async fn a_prefix_that_closed_above_an_open_one_stays_closed() {
    let site = Site::new(DAYS).await;
    let day = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/02";
    let key = trail_key(0, at("2026-06-02T01:00:00Z"), 7).replace(".json.gz", ".json");
    let mut history = History::open(&site.state(), &history::list(&site.state()).unwrap()).unwrap();
    let closed_at = at("2026-06-02T03:30:00Z");
    let header = HistoryHeader {
        v: history::VERSION,
        source: "main".into(),
        generation: 1,
        leaf: "AWSLogs/111122223333/CloudTrail/us-east-1/".into(),
        prefix: day.into(),
        closed_at,
        objects: None,
        recheck: None,
    };
    let entry = HistoryEntry {
        key,
        etag: "e".into(),
        outcome: "collected".into(),
        records: 1,
        at: closed_at,
        reason: None,
    };
    history.append(&header, [Ok::<_, std::io::Error>(entry)]).unwrap();
    fs::remove_dir_all(site.state().join("sled")).unwrap();
    let report = site.sweep("2026-06-02T04:00:00Z", REBUILD).await.unwrap();
    assert_eq!(report.objects.collected, 1, "that of the other account");
    let twice: Vec<_> = site.delivered().into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(matches!(&twice[..], [(key, 2)] if key.contains("111122223334")), "{twice:?}");
}

#[tokio::test]
async fn a_history_that_lost_bytes_is_kept_as_far_as_it_is_whole() {
    for (case, lose_state) in [("the state is whole", false), ("the state is lost too", true)] {
        let site = Site::new(DAYS).await;
        let (file, length) = history::list(&site.state()).unwrap().pop_first().unwrap();
        let path = site.state().join("history").join(&file);
        File::options().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
        if lose_state {
            fs::remove_dir_all(site.state().join("sled")).unwrap();
        }
        assert!(site.sweep("2026-06-02T04:00:00Z", PLAIN).await.is_err(), "{case}");
        let again = if lose_state { 2 } else { 0 };
        let report = site.sweep("2026-06-02T04:00:00Z", REBUILD).await.unwrap();
        assert_eq!(report.objects.collected, again, "{case}");
        site.assert_delivered(1 + again / 2);
        assert!(site.kept().contains(&file), "{case}: {:?}", site.kept());
        let left = history::list(&site.state()).unwrap()[&file];
        assert!(left > 0 && left < length - 3, "{case}: one of two frames is left, {left} of {length}");
    }
}

/// What appears in a closed prefix after the state was lost and made anew is found by its next
/// recheck, and so after a second loss; what was delivered before does not come again.
#[tokio::test]
async fn closed_prefixes_are_rechecked_after_a_rebuild() {
    for (pattern, with_sidecar) in [(DAYS, true), (SPARSE, true), (DAYS, false)] {
        let case = format!("{pattern}, sidecar: {with_sidecar}");
        let site = Site::new(pattern).await;
        let lose = || {
            fs::remove_dir_all(site.state().join("sled")).unwrap();
            if !with_sidecar {
                fs::remove_file(site.state().join("sidecar.json")).unwrap();
            }
        };
        let late = |minute: u32| format!("2026-06-01T05:{minute:02}:00Z");
        // rebuilt, put late, and looked for when the next recheck is due
        for (minute, rebuilt, due) in [
            (1, "2026-06-02T05:00:00Z", "2026-06-03T04:00:00Z"),
            (2, "2026-06-03T05:00:00Z", "2026-06-09T04:00:00Z"),
            (3, "2026-06-20T05:00:00Z", "2026-07-02T04:00:00Z"),
        ] {
            lose();
            site.sweep(rebuilt, REBUILD).await.unwrap();
            site.put(0, &late(minute));
            let report = site.sweep(due, PLAIN).await.unwrap();
            assert_eq!(report.objects.late, 1, "{case}, {due}: {:?}", report.objects);
        }
        let delivered = site.delivered();
        let first: Vec<_> = delivered.iter().filter(|(key, _)| key.contains("20260601T")).collect();
        assert_eq!(first.len(), 6 + 3, "{case}: {first:?}");
        assert!(first.iter().all(|(_, times)| **times == 1), "{case}: nothing twice: {first:?}");
    }
}

/// Rechecks of prefixes whose history is lost would deliver all of them again, or never end.
#[tokio::test]
async fn what_lost_its_history_is_not_rechecked() {
    let site = Site::new(DAYS).await;
    let (file, length) = history::list(&site.state()).unwrap().pop_first().unwrap();
    let path = site.state().join("history").join(&file);
    File::options().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
    site.sweep("2026-06-02T04:00:00Z", REBUILD).await.unwrap();
    for account in 0..2 {
        site.put(account, "2026-06-01T05:00:00Z");
    }
    let report = site.sweep("2026-06-03T04:00:00Z", PLAIN).await.unwrap();
    assert_eq!(report.objects.late, 1, "that of the leaf whose history is whole");
    let delivered = site.delivered();
    assert!(delivered.values().all(|times| *times == 1), "{delivered:?}");
}

#[tokio::test]
async fn another_instances_lost_state_is_rebuilt_only_when_adopted() {
    let mut site = Site::new(DAYS).await;
    site.instance = "other";
    let error = site.refused(REBUILD).await;
    assert!(matches!(error, StateError::Foreign { .. }), "whole, but another's: {error}");
    fs::remove_dir_all(site.state().join("sled")).unwrap();
    let error = site.refused(REBUILD).await;
    assert!(matches!(error, StateError::Foreign { .. }), "{error}");
    assert!(!site.state().join("damaged-1").exists(), "nothing was moved");
    site.rebuild(Start { rebuild: true, adopt: true }, 2, "adopted").await;
}

#[tokio::test]
async fn a_whole_or_missing_or_later_state_is_not_rebuilt() {
    let site = Site::new(DAYS).await;
    let error = site.refused(REBUILD).await;
    assert!(matches!(error, StateError::NothingToRebuild { .. }), "{error}");
    site.assert_delivered(1);
    site.sweep("2026-06-02T04:00:00Z", PLAIN).await.unwrap();
    site.assert_delivered(1);

    let text = "{\"version\":9}";
    fs::write(
        site.state().join("sidecar.json"),
        format!("{text}\n{:08x}\n", crate::state::crc(text.as_bytes())),
    )
    .unwrap();
    for start in [PLAIN, REBUILD] {
        assert!(matches!(site.refused(start).await, StateError::Newer { .. }));
    }
    let empty = tempfile::tempdir().unwrap();
    let Err(error) = DiskState::rebuild(&empty.path().join("state"), "collector", false, &[]) else {
        panic!("there was nothing")
    };
    assert!(matches!(error, StateError::NothingToRebuild { .. }), "{error}");
}

/// The sink is cut back to where the sidecar knows it, also when the lost batches wrote more.
#[tokio::test]
async fn records_behind_the_sidecars_position_are_cut_and_come_again() {
    let site = Site::new(DAYS).await;
    let before = fs::read(site.state().join("sidecar.json")).unwrap();
    let position = sidecar::read(&site.state()).unwrap().unwrap().sink.unwrap();
    assert!(position.sealed);
    // a crash in the middle of a commit: bytes of the next segment, and no batch that knows them
    let next = format!("s3sweep-{}-{:010}.ndjson.open", position.sink_id, position.sequence + 1);
    fs::write(site.folder.path().join("out").join(next), "{\"event_id\":\"torn").unwrap();
    fs::remove_dir_all(site.state().join("sled")).unwrap();
    fs::write(site.state().join("sidecar.json"), before).unwrap();
    site.rebuild(REBUILD, 2, "torn").await;
}

#[tokio::test]
async fn what_a_rebuild_stored_is_what_the_state_held() {
    let site = Site::new(DAYS).await;
    let open = || DiskState::open(&site.state(), "collector", false).unwrap();
    let stored = |state: &dyn State| {
        let mut source = state.source("main").unwrap().unwrap();
        (source.discovered_at, source.last_sweep) = (None, None);
        (source.sweeps, source.readable_in) = (0, None);
        let leaves = state.leaves(source.key(), None, 99).unwrap();
        (source, leaves, state.sink().unwrap(), state.dead_letter().unwrap(), state.history().unwrap())
    };
    let before = stored(&open());
    fs::remove_dir_all(site.state().join("sled")).unwrap();
    let pattern = PrefixPattern::parse(site.pattern).unwrap();
    let known = KnownSource { name: "main".into(), pattern, record: before.0.clone(), recheck: Vec::new() };
    let after = stored(&DiskState::rebuild(&site.state(), "collector", false, &[known]).unwrap());
    assert_eq!(after, before);
    assert_eq!(stored(&open()), before, "and it opens as any other");
}

/// Exit codes and texts as an operator meets them.
#[tokio::test]
async fn the_binary_refuses_names_the_way_out_and_warns_before_it_delivers() {
    let site = Site::new(DAYS).await;
    let file = site.folder.path().join("s3sweep.toml");
    fs::write(&file, site.configuration()).unwrap();
    let once = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_s3sweep"))
            .args(["once", "--now", "2026-06-02T04:00:00Z", "-c"])
            .arg(&file)
            .args(more)
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::remove_dir_all(site.state().join("sled")).unwrap();
    let (code, told) = once(&[]);
    assert_eq!(code, Some(4), "{told}");
    assert!(told.contains("--rebuild-state"), "{told}");
    let (code, told) = once(&["--rebuild-state", "--source", "main"]);
    assert_eq!(code, Some(2), "the other sources' patterns are needed: {told}");
    let (code, told) = once(&["--rebuild-state"]);
    assert_eq!(code, Some(0), "{told}");
    let warned = told.find("may be delivered a second time").expect("the warning");
    assert!(warned < told.find("swept").expect("the sweep"), "{told}");
    for account in ["111122223333", "111122223334"] {
        let leaf = format!("main: AWSLogs/{account}/CloudTrail/us-east-1/ from 2026-06-02T00:00 on");
        assert!(told.contains(&leaf), "{leaf}: {told}");
    }
    site.assert_delivered(2);
    let (code, told) = once(&["--rebuild-state"]);
    assert_eq!(code, Some(4), "{told}");
    assert!(told.contains("nothing to rebuild"), "{told}");
}
