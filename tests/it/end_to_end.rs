//! The binary against an S3 server on loopback: HTTP, signatures, state, sink and exit codes are
//! the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use flate2::{Compression, write::GzEncoder};
use s3sweep::testing::{S3Server, ServerFault};
use serde_json::{Value, json};

/// `once` sweeps at this time: the first of its two days is over, but not yet to be closed.
const NOW: &str = "2024-05-02T00:30:00Z";
const ANY: &str = "AWSLogs/*/CloudTrail/*";
const EAST: &str = "AWSLogs/111122223333/CloudTrail/us-east-1";
const BUCKET: &str = "acme-trail";

async fn server() -> S3Server {
    S3Server::start([BUCKET]).await.expect("a loopback port is free")
}

/// Every object of these tests was written at this time.
fn written() -> DateTime<Utc> {
    "2024-05-01T06:00:00Z".parse().unwrap()
}

/// A key of CloudTrail's layout, of 1 May 2024.
fn trail_key(account: &str, region: &str, name: &str) -> String {
    format!(
        "AWSLogs/{account}/CloudTrail/{region}/2024/05/01/{account}_CloudTrail_{region}_20240501T{name}.json.gz"
    )
}

fn east(name: &str) -> String {
    trail_key("111122223333", "us-east-1", name)
}

/// An object of `count` events with the ids `tag-0`, `tag-1` and so on.
fn trail(tag: &str, count: usize) -> Bytes {
    let events: Vec<_> = (0..count)
        .map(|number| {
            json!({"eventVersion": "1.09", "eventTime": "2024-05-01T00:01:00Z", "eventName": "GetObject",
                "eventSource": "s3.amazonaws.com", "eventID": format!("{tag}-{number}")})
        })
        .collect();
    gzip(json!({ "Records": events }).to_string().as_bytes())
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

/// The ids that [`trail`] gives.
fn ids(tag: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{tag}-{number}")).collect()
}

/// A gzip file cut amid its fourth record.
fn damaged() -> Bytes {
    let day = "fixtures/bucket/AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/01";
    let name = "111122223333_CloudTrail_us-east-1_20260601T0035Z_2vKkWjqhIVlTJ85p.json.gz";
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(day).join(name)).unwrap().into()
}

/// A `[[source]]` on a server; what is not here are defaults.
struct Place<'a> {
    name: &'a str,
    bucket: &'a str,
    prefix: &'a str,
    endpoint: String,
    secret: &'a str,
    settings: &'a str,
}

impl<'a> Place<'a> {
    fn on(server: &'a S3Server, prefix: &'a str) -> Self {
        Place {
            name: "main",
            bucket: BUCKET,
            prefix,
            endpoint: server.endpoint_url(),
            secret: server.secret_access_key(),
            settings: "",
        }
    }

    fn text(&self) -> String {
        let Place { name, bucket, prefix, endpoint, secret, settings } = self;
        format!(
            "[[source]]\nname = \"{name}\"\nlog_type = \"cloudtrail\"\nbucket = \"{bucket}\"\n\
             prefix = \"{prefix}\"\nstart = \"2024-05-01\"\nregion = \"us-east-1\"\nendpoint_url = \"{endpoint}\"\n\
             path_style = true\n{settings}\n[source.credentials]\naccess_key_id = \"S3SWEEPTESTKEY\"\n\
             secret_access_key = \"{secret}\"\n"
        )
    }
}

/// Where a binary runs: its configuration, state, sink and report in a folder of their own.
struct Site {
    folder: tempfile::TempDir,
}

/// What a run of the binary left.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

impl Site {
    fn new(places: &[Place<'_>]) -> Self {
        Self::with_head("[sink]\npath = \"out\"\n", places)
    }

    fn with_head(head: &str, places: &[Place<'_>]) -> Self {
        let site = Site { folder: tempfile::tempdir().unwrap() };
        let sources: String = places.iter().map(Place::text).collect();
        let text = format!("state_dir = \"state\"\n{head}\n{sources}");
        std::fs::write(site.path("s3sweep.toml"), text).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary with nothing of our environment.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
        command.args(args).arg("-c").arg(self.path("s3sweep.toml"));
        command.env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("the binary is built with the tests");
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// `once` at [`NOW`], with its report.
    fn once(&self) -> (Ran, Value) {
        let ran = self.run(&["once", "--now", NOW, "--output", "json", "--report", "report.json"]);
        let report = std::fs::read(self.path("report.json"));
        let report = report.unwrap_or_else(|error| panic!("no report: {error}: {}", ran.err));
        (ran, serde_json::from_slice(&report).unwrap())
    }

    /// Starts the binary; it is killed when this goes away.
    fn start(&self, args: &[&str]) -> Running {
        let [out, err] = ["stdout", "stderr"].map(|name| File::create(self.path(name)).unwrap());
        Running(self.command(args).stdout(out).stderr(err).spawn().unwrap())
    }

    /// Names of the segments with this extension, in order.
    fn segments(&self, extension: &str) -> Vec<PathBuf> {
        let Ok(folder) = std::fs::read_dir(self.path("out")) else { return Vec::new() };
        let paths = folder.map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
        paths.sort();
        paths
    }

    /// The records of the finished segments.
    fn records(&self) -> Vec<Value> {
        let texts = self.segments("ndjson").into_iter().map(|path| std::fs::read_to_string(path).unwrap());
        texts.flat_map(|text| records_of(&text)).collect()
    }

    /// The ids of these, sorted.
    fn delivered(&self) -> Vec<String> {
        ids_of(&self.records())
    }

    /// Fails when a file of this site, but for the configuration, holds `secret`.
    fn assert_without(&self, secret: &str) {
        let (mut folders, mut files) = (vec![self.folder.path().to_owned()], 0);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path != self.path("s3sweep.toml") {
                    let bytes = std::fs::read(&path).unwrap();
                    let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                    assert!(!found, "the secret stands in {}", path.display());
                    files += 1;
                }
            }
        }
        assert!(files > 2, "state and report are there to be searched");
    }
}

fn records_of(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids_of(records: &[Value]) -> Vec<String> {
    let mut ids: Vec<_> =
        records.iter().map(|record| record["event_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn sorted(lists: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut all: Vec<_> = lists.into_iter().flatten().collect();
    all.sort();
    all
}

/// A process that ends with this.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.0.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    }

    async fn end(mut self) -> ExitStatus {
        for _ in 0..PATIENCE {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(TICK).await;
        }
        panic!("the process does not end");
    }

    /// Waits until `done`, which must be before the process ends.
    async fn until(&mut self, what: &str, done: impl Fn() -> bool) {
        for _ in 0..PATIENCE {
            if done() {
                return;
            }
            assert_eq!(self.0.try_wait().unwrap(), None, "the process ended before: {what}");
            tokio::time::sleep(TICK).await;
        }
        panic!("it does not come to: {what}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TICK: Duration = Duration::from_millis(10);
/// So many ticks mean that something hangs.
const PATIENCE: usize = 6000;

/// Two leaves with three objects of records, two empty ones, and two that are skipped.
fn fill(server: &S3Server) {
    for (key, bytes) in [
        (east("0005Z_aaaaaaaaaaaaaaaa"), trail("a", 3)),
        (east("0010Z_bbbbbbbbbbbbbbbb"), trail("b", 2)),
        (trail_key("444455556666", "eu-west-1", "0005Z_cccccccccccccccc"), trail("c", 4)),
        (east("0015Z_dddddddddddddddd"), gzip(b"{\"Records\":[]}")),
        (east("0020Z_eeeeeeeeeeeeeeee"), Bytes::new()),
        (format!("{EAST}/2024/05/01/"), Bytes::new()),
        (format!("{EAST}/2024/05/01/notes.txt"), Bytes::from("no log file")),
    ] {
        server.put(BUCKET, key, bytes, written());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_collects_and_reports_and_then_is_idle() {
    let server = server().await;
    fill(&server);
    let site = Site::new(&[Place::on(&server, ANY)]);
    let (ran, mut report) = site.once();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.json(), report, "stdout and the report say the same");

    // what varies is looked at, then taken out; the rest is compared whole
    let source = report["sources"][0].as_object_mut().unwrap();
    let bytes = source.remove("bytes").unwrap();
    assert!(["read", "inflated", "written"].iter().all(|name| bytes[name].as_u64() > Some(0)), "{bytes}");
    assert!(source.remove("seconds").unwrap().is_f64());
    let cost = source.remove("cost_usd").unwrap().as_f64().unwrap();
    let hourly = source.remove("cost_usd_per_hour").unwrap().as_f64().unwrap();
    assert!(cost > 0.0 && (hourly - 12.0 * cost).abs() < 1e-9, "{cost}, {hourly} at 5M");
    let want = json!({"exit_code": 0, "sources": [{"name": "main", "leaves": 2, "prefixes": 4,
        "objects": {"listed": 7, "collected": 3, "empty": 2, "skipped": {"folder": 1, "pattern": 1}, "late": 0,
            "failed": 0, "quarantined": 0},
        "records": 9, "dropped": 0, "filtered": 0, "filtered_by": {}, "dead_letters": 0,
        "requests": {"list": 5, "get": 4}, "failures": [], "failures_omitted": 0, "unreachable": [],
        "unreachable_omitted": 0}]});
    assert_eq!(report, want);
    assert_eq!((server.counts().list(), server.counts().get()), (5, 4));

    assert_eq!(site.delivered(), sorted([ids("a", 3), ids("b", 2), ids("c", 4)]));
    assert_eq!(site.segments("open"), Vec::<PathBuf>::new());
    let records = site.records();
    let third = records.iter().find(|record| record["event_id"] == "a-2").unwrap();
    let origin = json!({"bucket": BUCKET, "key": east("0005Z_aaaaaaaaaaaaaaaa"), "record": 2});
    assert_eq!((&third["s3"], &third["aws"]["eventID"]), (&origin, &json!("a-2")));
    site.assert_without(server.secret_access_key());

    server.counts().reset();
    let segments = site.segments("ndjson");
    let (ran, report) = site.once();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let source = &report["sources"][0];
    assert_eq!(source["requests"], json!({"list": 2, "get": 0}), "an idle sweep costs a LIST per leaf");
    assert_eq!((server.counts().list(), server.counts().get()), (2, 0));
    assert_eq!(source["objects"]["skipped"], json!({"settled": 5, "folder": 1, "pattern": 1}));
    assert_eq!((&source["records"], site.segments("ndjson")), (&json!(0), segments), "nothing is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_object_is_quarantined_once() {
    let server = server().await;
    let key = east("0035Z_ffffffffffffffff");
    server.put(BUCKET, &key, damaged(), written());
    server.put(BUCKET, east("0040Z_gggggggggggggggg"), trail("g", 2), written());
    let site = Site::new(&[Place::on(&server, EAST)]);
    let (ran, report) = site.once();
    assert_eq!((ran.code, &report["exit_code"]), (Some(1), &json!(1)), "{}", ran.err);
    let source = &report["sources"][0];
    let objects = &source["objects"];
    assert_eq!(
        (&objects["quarantined"], &objects["collected"], &objects["failed"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(source["requests"], json!({"list": 1, "get": 3}), "damage is believed at the second GET");
    let failure = &source["failures"][0];
    assert_eq!((&failure["key"], &failure["class"]), (&json!(key), &json!("content")));
    assert!(failure["reason"].as_str().unwrap().contains("gzip"), "{failure}");
    assert_eq!(site.records().len(), 3 + 2, "the records before the damage are delivered once");

    let listed = site.run(&["quarantine", "list", "--output", "json"]);
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    let listed = listed.json();
    assert_eq!(listed["quarantine"].as_array().unwrap().len(), 1);
    let object = &listed["quarantine"][0];
    for (name, value) in [
        ("source", json!("main")),
        ("bucket", json!(BUCKET)),
        ("key", json!(key)),
        ("reason", failure["reason"].clone()),
        ("records", json!(3)),
        ("attempts", json!(2)),
    ] {
        assert_eq!(object[name], value, "{name}");
    }
    assert!(object["offset"].as_u64() > Some(0), "{object}");

    let (ran, report) = site.once();
    assert_eq!(ran.code, Some(0), "nothing failed in this run: {report}");
    assert_eq!((&report["sources"][0]["requests"]["get"], site.records().len()), (&json!(0), 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_source_is_exit_code_3_and_no_secret_is_shown() {
    let server = server().await;
    fill(&server);
    let hush = "hush/Wrong+Secret0000000000000000000000000";
    let cases = [
        ("wrong secret", BUCKET, hush, "SignatureDoesNotMatch"),
        ("unknown bucket", "not-there", server.secret_access_key(), "NoSuchBucket"),
    ];
    for (case, bucket, secret, code) in cases {
        for log in ["s3sweep=info", "trace"] {
            let site = Site::new(&[Place { bucket, secret, ..Place::on(&server, ANY) }]);
            let args = ["once", "--now", NOW, "--report", "report.json"];
            let output = site.command(&args).env("RUST_LOG", log).output().unwrap();
            let shown =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert_eq!(output.status.code(), Some(3), "{case}");
            let report: Value =
                serde_json::from_slice(&std::fs::read(site.path("report.json")).unwrap()).unwrap();
            assert_eq!(report["exit_code"], 3, "{case}");
            let unreachable = report["sources"][0]["unreachable"][0].as_str().unwrap_or_default();
            assert!(unreachable.contains(code) && unreachable.contains(bucket), "{case}: {unreachable}");
            assert!(shown.iter().all(|text| text.contains(code)), "{case}: {shown:?}");
            assert!(shown.iter().all(|text| !text.contains(secret)), "{case}: the secret is shown");
            site.assert_without(secret);
            assert_eq!(site.records().len(), 0, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_cannot_be_written_hides_no_exit_code() {
    let server = server().await;
    fill(&server);
    let refused = Place { bucket: "not-there", ..Place::on(&server, ANY) };
    for (case, place, path, code, said) in [
        (
            "no folder",
            Place::on(&server, ANY),
            "/nonexistent/x.json",
            2,
            "--report /nonexistent/x.json: No such",
        ),
        ("refused and no space", refused, "/dev/full", 3, "failed to write the report"),
        ("no space", Place::on(&server, ANY), "/dev/full", 1, "failed to write the report"),
        ("no file to be cut", Place::on(&server, ANY), "/dev/stderr", 0, "\"exit_code\": 0"),
    ] {
        let site = Site::new(&[place]);
        let args = ["once", "--now", NOW, "--output", "json", "--report", path];
        let output = site.command(&args).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(code), "{case}: {err}");
        assert!(err.contains(said), "{case}: {err}");
        assert_eq!(site.path("state").exists(), code != 2, "{case}: it is seen before the run");
        if code != 2 {
            let report: Value = serde_json::from_str(&out).unwrap();
            assert_eq!(report["exit_code"], code, "{case}");
        }
    }
    // a longer one of before is replaced whole
    let site = Site::new(&[Place::on(&server, ANY)]);
    std::fs::write(site.path("report.json"), "x".repeat(100_000)).unwrap();
    assert_eq!(site.once().1["exit_code"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_source_is_collected_while_another_is_unreachable() {
    let server = server().await;
    fill(&server);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        ("no such bucket", "not-there", server.endpoint_url(), "NoSuchBucket"),
        ("nobody listens", BUCKET, format!("http://{unused}"), "no connection"),
    ];
    for (case, bucket, endpoint, fragment) in cases {
        let bad = Place { name: "bad", bucket, endpoint, ..Place::on(&server, EAST) };
        let site = Site::new(&[bad, Place { name: "good", ..Place::on(&server, ANY) }]);
        let (ran, report) = site.once();
        assert_eq!((ran.code, &report["exit_code"]), (Some(3), &json!(3)), "{case}: {}", ran.err);
        let [bad, good] = &report["sources"].as_array().unwrap()[..] else { panic!("{case}: {report}") };
        assert_eq!((&bad["name"], &bad["records"]), (&json!("bad"), &json!(0)), "{case}");
        assert!(bad["unreachable"][0].as_str().unwrap().contains(fragment), "{case}: {bad}");
        assert_eq!((&good["records"], &good["unreachable"]), (&json!(9), &json!([])), "{case}");
        assert_eq!(site.delivered(), sorted([ids("a", 3), ids("b", 2), ids("c", 4)]), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_begin_together_keep_their_own_ledgers() {
    let names = ["one", "two", "three"];
    let server = S3Server::start(names).await.unwrap();
    for name in names {
        server.put(name, east("0005Z_aaaaaaaaaaaaaaaa"), trail(name, 2), written());
    }
    let site = Site::new(&names.map(|name| Place { name, bucket: name, ..Place::on(&server, EAST) }));
    for (sweep, skipped) in [("first", json!({})), ("second", json!({"settled": 1}))] {
        let (ran, report) = site.once();
        assert_eq!(ran.code, Some(0), "{sweep}: {}", ran.err);
        for source in report["sources"].as_array().unwrap() {
            assert_eq!(source["objects"]["skipped"], skipped, "{sweep}: {source}");
        }
    }
    assert_eq!(site.delivered(), sorted(names.map(|name| ids(name, 2))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_fail_on_the_way_are_asked_for_again() {
    let server = server().await;
    let bytes = trail("long", 5000);
    let half = bytes.len() / 2;
    server.put(BUCKET, east("0005Z_aaaaaaaaaaaaaaaa"), bytes, written());
    let busy = || ServerFault::Error { code: "SlowDown", status: 503, retry_after: None };
    // the second LIST has no body to cut: it is answered
    for fault in [busy(), ServerFault::CutBody(0), ServerFault::CutBody(half), busy()] {
        server.fail_next(fault);
    }
    let site = Site::new(&[Place::on(&server, EAST)]);
    let (ran, report) = site.once();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(report["sources"][0]["requests"], json!({"list": 2, "get": 3}));
    assert_eq!(site.delivered(), sorted([ids("long", 5000)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_this_machine_is_reached_past_a_proxy() {
    let server = server().await;
    fill(&server);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = Site::new(&[Place::on(&server, ANY)]);
    let mut command = site.command(&["once", "--now", NOW]);
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        command.env(variable, format!("http://{unused}"));
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.delivered(), sorted([ids("a", 3), ids("b", 2), ids("c", 4)]));
}

/// What a signal waits for.
#[derive(Clone, Copy)]
enum Moment {
    Lists(u64),
    Gets(u64),
    AllDelivered,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_it_at_once_and_the_next_run_is_exact() {
    const OBJECTS: usize = 12;
    let cases = [
        ("run, with all delivered", "run", "TERM", Moment::AllDelivered, 0),
        ("run, amid the objects", "run", "TERM", Moment::Gets(3), 0),
        ("once, amid the listing", "once", "INT", Moment::Lists(1), 130),
        ("once, amid the objects", "once", "INT", Moment::Gets(3), 130),
    ];
    for (case, command, signal, moment, code) in cases {
        let server = S3Server::start([BUCKET, "other"]).await.unwrap();
        let mut all = Vec::new();
        for (bucket, number) in (0..OBJECTS).flat_map(|number| [(BUCKET, number), ("other", number)]) {
            let tag = format!("{bucket}.{number:02}");
            server.put(bucket, east(&format!("{number:02}00Z_aaaaaaaaaaaaaaaa")), trail(&tag, 5), written());
            all.push(ids(&tag, 5));
        }
        let all = sorted(all);
        let places =
            [Place::on(&server, EAST), Place { name: "second", bucket: "other", ..Place::on(&server, EAST) }];
        let site = Site::with_head("[sink]\npath = \"out\"\n[limits]\nget_concurrency = 1\n", &places);
        let slow = !matches!(moment, Moment::AllDelivered);
        server.set_delay(Duration::from_millis(if slow { 200 } else { 0 }));

        let args: &[_] = if command == "run" { &["run"] } else { &["once", "--report", "report.json"] };
        let mut running = site.start(args);
        let counts = server.counts().clone();
        match moment {
            Moment::Lists(count) => running.until(case, || counts.list() >= count).await,
            Moment::Gets(count) => running.until(case, || counts.get() >= count).await,
            Moment::AllDelivered => {
                let open = || site.segments("open").into_iter().chain(site.segments("ndjson"));
                // a segment may be finished between the look at the folder and that at the file
                let lines = |path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
                running.until(case, || open().map(lines).sum::<usize>() == all.len()).await;
            }
        }
        running.signal(signal);
        let ended = running.end().await;
        server.set_delay(Duration::ZERO);
        let err = std::fs::read_to_string(site.path("stderr")).unwrap();
        assert_eq!(ended.code(), Some(code), "{case}: {err}");
        assert!(!err.contains("panicked"), "{case}: {err}");
        if command == "once" {
            let report = std::fs::read(site.path("report.json")).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&report).unwrap()["exit_code"], code, "{case}");
        }
        assert_eq!(site.segments("open"), Vec::<PathBuf>::new(), "{case}");
        let first = site.delivered();
        let distinct: BTreeSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), first.len(), "{case}: a record came twice");
        assert_eq!(first.len() < all.len(), slow, "{case}: {} records of {}", first.len(), all.len());

        let ran = site.run(&["once"]);
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.err);
        assert_eq!(site.delivered(), all, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_instance_is_refused() {
    let server = server().await;
    fill(&server);
    let site = Site::new(&[Place::on(&server, ANY)]);
    let mut first = site.start(&["run"]);
    first.until("the first segment", || !site.segments("open").is_empty()).await;
    let text = std::fs::read_to_string(site.path("s3sweep.toml")).unwrap();
    let cases = [
        ("same state", text.clone(), "state"),
        ("same sink", text.replace("state_dir = \"state\"", "state_dir = \"state2\""), "out"),
    ];
    for (case, text, named) in cases {
        std::fs::write(site.path("s3sweep.toml"), text).unwrap();
        for command in ["once", "run"] {
            let ran = site.run(&[command]);
            assert_eq!(ran.code, Some(4), "{case}, {command}: {}", ran.err);
            assert_eq!(ran.out, "", "{case}, {command}");
            assert!(ran.err.contains(site.path(named).to_str().unwrap()), "{case}, {command}: {}", ran.err);
        }
    }
    first.signal("TERM");
    assert_eq!(first.end().await.code(), Some(0), "the first one is not disturbed");
    assert_eq!(site.delivered(), sorted([ids("a", 3), ids("b", 2), ids("c", 4)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_tells_where_each_leaf_stands() {
    let server = server().await;
    fill(&server);
    server.put(BUCKET, east("0035Z_ffffffffffffffff"), damaged(), written());
    let site = Site::new(&[Place::on(&server, ANY)]);
    let fresh = site.run(&["status", "--output", "json"]).json();
    assert_eq!(fresh["sources"][0]["last_sweep"], Value::Null);
    assert!(!site.path("state").exists(), "looking makes no state");
    site.once();

    let ran = site.run(&["status", "--output", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let status = ran.json();
    let source = &status["sources"][0];
    for (name, value) in [
        ("name", json!("main")),
        ("pattern", json!("AWSLogs/*/CloudTrail/*/{YYYY}/{mm}/{dd}")),
        ("start", json!("2024-05-01T00:00:00Z")),
        ("failed", json!([])),
        ("quarantined", json!(1)),
    ] {
        assert_eq!(source[name], value, "{name}");
    }
    let last = &source["last_sweep"];
    assert_eq!((&last["at"], &last["records"], &last["collected"]), (&json!(NOW), &json!(12), &json!(3)));
    let leaves = source["leaves"].as_array().unwrap();
    assert_eq!(leaves.len(), 2);
    let leaf = leaves.iter().find(|leaf| leaf["leaf"].as_str().unwrap().contains("1111")).unwrap();
    assert_eq!(leaf["dropped"], false);
    assert!(leaf["closed_through"].as_str().unwrap().ends_with("2024/05/01"), "{leaf}");
    assert!(leaf["lag_seconds"].as_i64() > Some(0), "{leaf}");
    let day = &leaf["open"][0];
    let newest = east("0035Z_ffffffffffffffff");
    assert_eq!((&day["prefix"], &day["newest"]), (&json!(format!("{EAST}/2024/05/01")), &json!(newest)));
    assert_eq!(
        (&day["floor"], &day["waiting"], &day["closed"]),
        (&Value::Null, &json!(false), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preview_shows_what_once_collects_and_changes_nothing() {
    let server = server().await;
    fill(&server);
    let site = Site::new(&[Place::on(&server, ANY)]);
    let preview = ["preview", "--now", NOW, "--output", "json"];
    let ran = site.run(&preview);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let shown = ran.json();
    let source = &shown["sources"][0];
    assert_eq!(source["name"], "main");
    assert_eq!(
        (&source["pattern"], &source["leaves"]),
        (&json!("AWSLogs/*/CloudTrail/*/{YYYY}/{mm}/{dd}"), &json!(2))
    );
    let prefixes: BTreeSet<_> =
        source["prefixes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(prefixes.contains(format!("{EAST}/2024/05/01").as_str()), "{prefixes:?}");
    assert_eq!(source["skipped"], json!({"folder": 1, "pattern": 1}));
    assert_eq!((&source["requests"]["list"], server.counts().get()), (&json!(5), 0));
    let stored = server.bucket(BUCKET);
    let objects = source["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 5, "those that are empty are shown, too");
    for object in objects {
        let found = stored.object(object["key"].as_str().unwrap()).unwrap();
        assert_eq!((&object["size"], &object["etag"]), (&json!(found.bytes.len()), &json!(found.etag)));
        assert_eq!(object["last_modified"], "2024-05-01T06:00:00Z");
    }
    let sizes: u64 = objects.iter().filter_map(|object| object["size"].as_u64()).sum();
    assert_eq!(source["bytes"], sizes);
    for folder in ["state", "out"] {
        assert!(!site.path(folder).exists(), "preview made {folder}");
    }

    site.once();
    let after = site.run(&preview).json();
    let source = &after["sources"][0];
    assert_eq!((&source["objects"], &source["skipped"]["settled"]), (&json!([]), &json!(5)));
    server.put(BUCKET, east("0007Z_hhhhhhhhhhhhhhhh"), trail("h", 1), written());
    for later in [NOW, "2024-05-02T00:40:00Z"] {
        let again = site.run(&["preview", "--now", later, "--output", "json"]).json();
        let objects = again["sources"][0]["objects"].as_array().unwrap();
        assert_eq!(objects.len(), 1, "a preview settles nothing");
        assert_eq!(objects[0]["key"], east("0007Z_hhhhhhhhhhhhhhhh"));
    }
    let status = site.run(&["status", "--output", "json"]).json();
    assert_eq!(status["sources"][0]["last_sweep"]["at"], NOW, "a preview is no sweep");
    assert_eq!(site.once().1["sources"][0]["records"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_stdout_settles_nothing() {
    let server = server().await;
    fill(&server);
    let site = Site::with_head("[sink]\ntype = \"stdout\"\n", &[Place::on(&server, ANY)]);
    let closed = |case: &str| {
        let mut command = site.command(&["once", "--now", NOW, "--report", "report.json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{case}: {err}");
        assert!(err.contains("stdout"), "{case}: {err}");
        let report: Value =
            serde_json::from_slice(&std::fs::read(site.path("report.json")).unwrap()).unwrap();
        assert_eq!(report["exit_code"], 5, "{case}");
        assert_eq!(report["sources"][0]["objects"]["collected"], 0, "{case}");
    };
    let all = || {
        let ran = site.run(&["once", "--now", NOW]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ids_of(&records_of(&ran.out))
    };
    closed("before the first record");
    assert_eq!(all(), sorted([ids("a", 3), ids("b", 2), ids("c", 4)]), "all come, none was settled");
    assert_eq!(all(), Vec::<String>::new(), "all are settled now");
    server.put(BUCKET, east("0030Z_iiiiiiiiiiiiiiii"), trail("i", 2), written());
    closed("with others settled before");
    assert_eq!(all(), ids("i", 2), "what was settled before stays so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_keys_are_collected_under_their_own_names() {
    let server = server().await;
    let mut wanted = BTreeMap::new();
    let names =
        ["a+b", "a b", "a%2Bb", "100%", "k=v&w", "é", "e\u{301}", "🦀", "q?x", "#h", "~'(\"!*)", "%", "a\\b"];
    let keys = names.iter().map(|name| format!("odd +%é/{name}.json.gz"));
    let doubled = ["odd +%é//x.json.gz", "odd +%é///.json.gz", "odd +%é/./y.json.gz"].map(str::to_owned);
    for (number, key) in keys.chain(doubled).enumerate() {
        let tag = format!("odd{number:02}");
        server.put(BUCKET, &key, trail(&tag, 1), written());
        wanted.insert(key, format!("{tag}-0"));
    }
    server.put(BUCKET, "odd/other.json.gz", trail("other", 1), written());
    for page_size in [1, 1000] {
        let settings = format!("list_page_size = {page_size}");
        let site = Site::new(&[Place { settings: &settings, ..Place::on(&server, "odd +%é") }]);
        for _ in 0..2 {
            let (ran, report) = site.once();
            assert_eq!(ran.code, Some(0), "{}: {report}", ran.err);
        }
        let records = site.records();
        let found: BTreeMap<_, _> = records
            .iter()
            .map(|record| (record["s3"]["key"].as_str().unwrap(), record["event_id"].as_str().unwrap()))
            .collect();
        assert_eq!(
            found,
            wanted.iter().map(|(key, id)| (key.as_str(), id.as_str())).collect(),
            "{page_size}"
        );
        assert_eq!(records.len(), wanted.len(), "{page_size}: each came once");
    }
}
