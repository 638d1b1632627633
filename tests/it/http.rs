//! Metrics and health of a running instance, asked for over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use s3sweep::config::{self, Config};
use s3sweep::failure::Class;
use s3sweep::metrics;
use s3sweep::service::control::Control;
use s3sweep::service::http::{HttpServer, Site};
use s3sweep::service::socket::protocol::{Request, Response, SweepAction};
use s3sweep::service::{Holding, Instance, Options, Roster, Source};
use s3sweep::testing::{Fault, FaultyBucket, MemoryBucket, When};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::needs::Need;
use crate::operate_docs::Place;
use crate::world::{HandClock, at, trail_body, trail_key};

/// An instance of one source, its bucket, and what answers for it.
pub struct Shown {
    folder: tempfile::TempDir,
    pub clock: HandClock,
    pub objects: MemoryBucket,
    pub bucket: Arc<FaultyBucket<MemoryBucket>>,
    pub instance: Arc<Instance>,
    pub roster: Roster,
    pub address: SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Shown {
    pub async fn at(now: &str, http: &str) -> Self {
        Self::with(now, http, "").await
    }

    #[allow(clippy::disallowed_methods, reason = "joined by `end`")]
    pub async fn with(now: &str, http: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (objects, clock) = (MemoryBucket::new("acme-trail"), HandClock::new(at(now)));
        let bucket = Arc::new(FaultyBucket::new(objects.clone(), "acme-trail"));
        let config = configuration(folder.path(), http, settings);
        let source = Source::new(&config.sources[0], &config).unwrap().over(bucket.clone());
        let options = Options {
            clock: Arc::new(clock.clone()),
            adopt_state: false,
            rebuild_state: false,
            give_up: true,
            stop: CancellationToken::new(),
        };
        let server = HttpServer::bind(&config.http).await.unwrap().expect("it names an address");
        let instance = Arc::new(Instance::open(config.clone(), options).await.unwrap());
        let roster = Roster::new(config, vec![source]);
        instance.watch().keep(&roster.sources());
        let site = Arc::new(Site::new(&instance).always_fresh());
        let (address, stop) = (server.address().unwrap(), CancellationToken::new());
        let stopped = stop.clone();
        let serving = tokio::spawn(async move { server.serve(site, &stopped).await });
        Shown { folder, clock, objects, bucket, instance, roster, address, stop, serving }
    }

    /// Puts an object of so many records for an account, written now and then.
    pub fn put(&self, account: u8, written: &str, records: usize) -> String {
        let key = trail_key(account, at(written), 7);
        let ids: Vec<_> = (0..records).map(|number| format!("{key}#{number}")).collect();
        self.objects.put(&key, trail_body(&ids), at(written));
        key
    }

    pub async fn sweep(&self) {
        self.instance.sweep(&self.roster.sources()[0]).await.ended.unwrap();
    }

    pub async fn direct(&self, action: SweepAction) {
        self.control(Request::Sweep { source: "main".into(), action }).await;
    }

    pub async fn control(&self, request: Request) -> Response {
        let control = Control { instance: &self.instance, roster: &self.roster };
        control.answer(request, &mut Holding::default()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let (address, line) = (self.address, format!("GET {path} HTTP/1.1"));
        tokio::task::spawn_blocking(move || ask(address, &line)).await.unwrap()
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
        let instance = Arc::into_inner(self.instance).expect("nobody else has it");
        instance.close().await.unwrap();
        drop(self.folder);
    }
}

fn configuration(folder: &Path, http: &str, settings: &str) -> Config {
    let root = folder.display();
    let text = format!(
        "state_dir = \"{root}/state\"\nclose_spread = \"0M\"\n[sink]\npath = \"{root}/out\"\nmin_free = 0\n\
         [http]\nlisten = \"0\"\n{http}\n\
         [[source]]\nname = \"main\"\nlog_type = \"cloudtrail\"\nbucket = \"acme-trail\"\n\
         prefix = 'AWSLogs/*/CloudTrail/us-east-1'\nstart = \"2026-06-01\"\ndiscover_every = \"0M\"\n{settings}\n"
    );
    config::parse(PathBuf::from("shown.toml"), &text).unwrap()
}

/// Asks over a connection of its own.
pub fn ask(address: SocketAddr, line: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(format!("{line}\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// The value of one series, written as it stands in the text.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

fn assert_values(text: &str, wanted: &[(&str, Option<f64>)]) {
    for (series, want) in wanted {
        assert_eq!(value(text, &format!("s3sweep_{series}")), *want, "{series} in\n{text}");
    }
}

#[tokio::test]
async fn metrics_tell_what_sweeps_and_state_say() {
    let shown = Shown::at("2026-06-02T01:00:00Z", "").await;
    let before = shown.get("/metrics").await;
    assert_values(
        &before.body,
        &[
            ("objects_total{source=\"main\",outcome=\"failed\"}", Some(0.0)),
            ("sweeps_total{source=\"main\",outcome=\"ok\"}", Some(0.0)),
            ("lag_seconds{source=\"main\"}", None),
            ("source_up{source=\"main\"}", None),
            ("unlisted_seconds{source=\"main\"}", Some(0.0)),
            ("recurrence_seconds{source=\"main\"}", Some(300.0)),
        ],
    );
    shown.put(0, "2026-06-02T00:30:00Z", 3);
    shown.put(1, "2026-06-02T00:50:00Z", 2);
    shown.objects.put(
        "AWSLogs/111122223333/CloudTrail/us-east-1/2026/06/02/x.txt",
        "",
        at("2026-06-02T00:30:00Z"),
    );
    shown.sweep().await;
    shown.clock.set(at("2026-06-02T01:10:00Z"));
    let after = shown.get("/metrics").await;
    assert_eq!(after.status, 200);
    assert!(after.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", after.head);
    let text = &after.body;
    assert_values(
        text,
        &[
            ("objects_total{source=\"main\",outcome=\"collected\"}", Some(2.0)),
            ("objects_total{source=\"main\",outcome=\"skipped_pattern\"}", Some(1.0)),
            ("records_total{source=\"main\",outcome=\"delivered\"}", Some(5.0)),
            ("get_requests_total{source=\"main\",outcome=\"ok\"}", Some(2.0)),
            ("get_requests_total{source=\"main\",outcome=\"failed\"}", Some(0.0)),
            ("list_requests_total{source=\"main\",outcome=\"failed\"}", Some(0.0)),
            ("sweeps_total{source=\"main\",outcome=\"ok\"}", Some(1.0)),
            ("sweep_duration_seconds_count{source=\"main\"}", Some(1.0)),
            ("last_success_timestamp_seconds{source=\"main\"}", Some(1_780_362_000.0)),
            ("last_list_timestamp_seconds{source=\"main\"}", Some(1_780_362_000.0)),
            ("source_up{source=\"main\"}", Some(1.0)),
            ("source_paused{source=\"main\"}", Some(0.0)),
            ("unlisted_seconds{source=\"main\"}", Some(600.0)),
            ("leaves{source=\"main\"}", Some(2.0)),
            ("lag_seconds{source=\"main\"}", Some(1_200.0)),
            ("worst_leaf_lag_seconds{source=\"main\"}", Some(2_400.0)),
            ("waiting_objects{source=\"main\"}", Some(0.0)),
            ("quarantined_objects{source=\"main\"}", Some(0.0)),
            ("sink_commits_total{outcome=\"failed\"}", Some(0.0)),
            ("start_timestamp_seconds", Some(1_780_362_000.0)),
            (concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), Some(1.0)),
        ],
    );
    let lists = value(text, "s3sweep_list_requests_total{source=\"main\",outcome=\"ok\"}").unwrap();
    assert!(lists >= 3.0, "the leaves and two days: {lists}");
    for series in [
        "s3sweep_state_size_bytes",
        "s3sweep_sink_commit_duration_seconds_count",
        "s3sweep_read_bytes_total{source=\"main\"}",
        "s3sweep_written_bytes_total{source=\"main\"}",
    ] {
        assert!(value(text, series).is_some_and(|value| value > 0.0), "{series} in\n{text}");
    }
    shown.end().await;
}

#[tokio::test]
async fn failures_are_counted_and_waiting_objects_told() {
    let shown = Shown::at("2026-06-02T01:00:00Z", "").await;
    let refused = shown.put(0, "2026-06-02T00:30:00Z", 1);
    let broken = trail_key(1, at("2026-06-02T00:20:00Z"), 9);
    shown.put(1, "2026-06-02T00:10:00Z", 1);
    shown.objects.put(&broken, "no JSON", at("2026-06-02T00:20:00Z"));
    shown.bucket.on_get(When::key(refused), Fault::Fail(Class::Object));
    shown.sweep().await;
    let text = shown.get("/metrics").await.body;
    assert_values(
        &text,
        &[
            ("objects_total{source=\"main\",outcome=\"failed\"}", Some(1.0)),
            ("objects_total{source=\"main\",outcome=\"quarantined\"}", Some(1.0)),
            ("get_requests_total{source=\"main\",outcome=\"failed\"}", Some(1.0)),
            ("sweeps_total{source=\"main\",outcome=\"failing\"}", Some(1.0)),
            ("waiting_objects{source=\"main\"}", Some(1.0)),
            ("quarantined_objects{source=\"main\"}", Some(1.0)),
            ("source_up{source=\"main\"}", Some(1.0)),
            ("last_success_timestamp_seconds{source=\"main\"}", None),
        ],
    );
    shown.bucket.heal();
    shown.bucket.on_list(When::Always, Fault::Fail(Class::Unreachable));
    shown.clock.set(at("2026-06-02T01:05:00Z"));
    shown.sweep().await;
    let text = shown.get("/metrics").await.body;
    assert_values(
        &text,
        &[
            ("source_up{source=\"main\"}", Some(0.0)),
            ("sweeps_total{source=\"main\",outcome=\"unreachable\"}", Some(1.0)),
            ("last_list_timestamp_seconds{source=\"main\"}", Some(1_780_362_000.0)),
        ],
    );
    assert!(value(&text, "s3sweep_list_requests_total{source=\"main\",outcome=\"failed\"}") >= Some(1.0));
    shown.end().await;
}

#[tokio::test]
async fn a_source_that_is_taken_out_is_told_of_no_more() {
    let shown = Shown::at("2026-06-02T01:00:00Z", "").await;
    shown.sweep().await;
    let gauge = "s3sweep_recurrence_seconds{source=\"main\"}";
    assert!(value(&shown.get("/metrics").await.body, gauge).is_some());
    let swept = shown.instance.watch().get("main").unwrap();
    shown.instance.watch().keep(&[]);
    // a sweep that was under way ends yet
    swept.swept(&s3sweep::sweep::report::SourceReport::new("main"), false);
    let text = shown.get("/metrics").await.body;
    assert!(
        !text.lines().any(|line| line.contains("source=\"main\"") && line.contains("_seconds{")),
        "{text}"
    );
    assert_eq!(value(&text, "s3sweep_source_up{source=\"main\"}"), None);
    assert_eq!(shown.get("/healthz").await.status, 200);
    shown.end().await;
}

/// Reads the text with Prometheus's own parser for Python, and shows what it found.
const PARSER: &str = r#"
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = {family.name: family for family in parse(sys.stdin.read())}
json.dump({name: [family.type, family.documentation, len(family.samples)] for name, family in families.items()}, sys.stdout)
"#;

#[tokio::test]
async fn the_exposition_is_read_by_an_independent_parser() {
    let shown = Shown::at("2026-06-02T01:00:00Z", "").await;
    shown.put(0, "2026-06-02T00:30:00Z", 3);
    shown.sweep().await;
    let text = shown.get("/metrics").await.body;
    shown.end().await;
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python");
    let mut parser = Command::new("python3");
    parser.env("PYTHONPATH", python).args(["-c", PARSER]);
    match piped(parser, &text) {
        Ok((true, out, _)) => {
            let found: serde_json::Value = serde_json::from_str(&out).unwrap();
            for metric in metrics::ALL {
                let family = &found[metric.name.trim_end_matches("_total")];
                let kind = match metric.kind {
                    metrics::Kind::Counter => "counter",
                    metrics::Kind::Gauge => "gauge",
                    metrics::Kind::Histogram(_) => "histogram",
                };
                assert_eq!(family[0], kind, "{}: {family}", metric.name);
                assert_eq!(family[1], format!("{}.", metric.meaning), "{}", metric.name);
                assert!(family[2].as_u64() >= Some(1), "{}: no samples", metric.name);
            }
        }
        Ok((_, _, err)) if err.contains("ModuleNotFoundError") => {
            Need::PrometheusClient.is_missing("pip install --target target/python prometheus_client");
        }
        Ok((_, _, err)) => panic!("{err}\n{text}"),
        Err(error) => Need::PrometheusClient.is_missing(error),
    }
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    match piped(promtool, &text) {
        Ok((good, out, err)) => assert!(good, "{out}{err}\n{text}"),
        Err(error) => Need::Promtool.is_missing(error),
    }
}

/// Runs a command on a text: whether it went well, what it printed.
pub fn piped(mut command: Command, text: &str) -> std::io::Result<(bool, String, String)> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // an interpreter without the module ends before it has read everything
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output()?;
    let shown = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), shown(&output.stdout), shown(&output.stderr)))
}

#[tokio::test]
async fn it_is_ready_once_listed_and_unhealthy_when_not_listed_for_three_recurrences() {
    let shown = Shown::at("2026-06-02T01:00:00Z", "").await;
    let probes = async |name: &str| {
        let (ready, healthy) = (shown.get("/readyz").await, shown.get("/healthz").await);
        assert_eq!(ready.status == 200, ready.body == "ready\n", "{name}: {}", ready.body);
        assert_eq!(healthy.status == 200, healthy.body == "healthy\n", "{name}: {}", healthy.body);
        (ready.status, healthy.status, healthy.body)
    };
    assert_eq!(probes("at the start").await.0, 503);
    shown.clock.set(at("2026-06-02T01:15:01Z"));
    assert_eq!(probes("three recurrences without a LIST").await.1, 503);
    shown.sweep().await;
    let (ready, healthy, _) = probes("after a sweep").await;
    assert_eq!((ready, healthy), (200, 200));
    shown.bucket.on_list(When::Always, Fault::Fail(Class::Unreachable));
    shown.clock.set(at("2026-06-02T01:30:01Z"));
    shown.sweep().await;
    assert_eq!(probes("three recurrences to the second").await.1, 200);
    shown.clock.set(at("2026-06-02T01:30:02Z"));
    let (ready, healthy, body) = probes("no LIST answered").await;
    assert_eq!((ready, healthy), (200, 503), "ready it stays");
    assert!(
        body.starts_with("not healthy\nmain: not listed since 2026-06-02T01:15:01Z: LIST s3://acme-trail/"),
        "{body}"
    );
    shown.direct(SweepAction::Pause).await;
    assert_eq!(probes("paused").await.1, 200);
    shown.direct(SweepAction::Resume).await;
    shown.bucket.heal();
    shown.sweep().await;
    assert_eq!(probes("listed again").await.1, 200);
    shown.end().await;
}

/// The folder of the sink goes away as a disk may, and comes back.
#[tokio::test]
async fn a_sink_that_is_down_is_told() {
    let shown = Shown::at("2026-06-02T01:00:00Z", "").await;
    shown.put(0, "2026-06-02T00:30:00Z", 1);
    shown.sweep().await;
    let (there, away) = (shown.folder.path().join("out"), shown.folder.path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    shown.put(0, "2026-06-02T00:31:00Z", 1);
    let failed = "s3sweep_sink_commits_total{outcome=\"failed\"}";
    let told = async {
        while value(&shown.get("/metrics").await.body, failed) < Some(1.0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        shown.clock.set(at("2026-06-02T01:15:01Z"));
        assert_eq!(shown.get("/healthz").await.status, 503, "the sweep does not go on");
        std::fs::rename(&away, &there).unwrap();
        shown.clock.set(at("2026-06-02T01:00:00Z"));
    };
    tokio::join!(shown.sweep(), told);
    let text = shown.get("/metrics").await.body;
    assert_values(&text, &[("objects_total{source=\"main\",outcome=\"collected\"}", Some(2.0))]);
    shown.end().await;
}

#[tokio::test]
async fn only_what_is_there_is_answered() {
    let shown = Shown::at("2026-06-02T01:00:00Z", "").await;
    let cases = [
        ("GET /metrics HTTP/1.1", 200),
        ("HEAD /metrics HTTP/1.1", 200),
        ("GET /metrics?x=1 HTTP/1.1", 200),
        ("GET /healthz HTTP/1.0", 200),
        ("GET /metrics/ HTTP/1.1", 404),
        ("GET /../etc/passwd HTTP/1.1", 404),
        ("GET /%2e%2e/x HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("DELETE / HTTP/1.1", 405),
        ("GET http://[ HTTP/1.1", 400),
        ("nonsense", 400),
    ];
    for (line, status) in cases {
        let address = shown.address;
        let answer = tokio::task::spawn_blocking(move || ask(address, line)).await.unwrap();
        assert_eq!(answer.status, status, "{line}: {}", answer.head);
        assert_eq!(
            answer.body.is_empty(),
            line.starts_with("HEAD") || status == 400,
            "{line}: {}",
            answer.body
        );
        if status != 400 {
            assert!(answer.head.contains("x-content-type-options: nosniff"), "{line}: {}", answer.head);
            assert!(
                answer.head.contains("connection: close") || line.ends_with("1.0"),
                "{line}: {}",
                answer.head
            );
        }
    }
    shown.end().await;
}

/// A head that never ends, one that is too long, and more connections than there are places.
#[tokio::test]
async fn nobody_who_is_slow_keeps_a_place() {
    let shown = Shown::at("2026-06-02T01:00:00Z", "max_connections = 2\nrequest_timeout = \"1S\"").await;
    let address = shown.address;
    let work = tokio::task::spawn_blocking(move || {
        let mut long = TcpStream::connect(address).unwrap();
        // it may be cut while we write
        let _ = long.write_all(format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(1 << 20)).as_bytes());
        let mut end = Vec::new();
        let _ = long.read_to_end(&mut end);
        assert!(!end.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&end));
        let begun = Instant::now();
        let idle: Vec<_> = (0..2)
            .map(|number| {
                let mut stream = TcpStream::connect(address).unwrap();
                let head = if number == 0 { "" } else { "GET /healthz HTTP/1.1\r\n" };
                stream.write_all(head.as_bytes()).unwrap();
                stream
            })
            .collect();
        let answer = ask(address, "GET /healthz HTTP/1.1");
        assert_eq!(answer.status, 200, "once a place is free");
        drop(idle);
        begun.elapsed()
    });
    let waited = work.await.unwrap();
    assert!((Duration::from_millis(500)..Duration::from_secs(10)).contains(&waited), "{waited:?}");
    shown.end().await;
}

/// The address of a free port of this machine.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn with_http(place: &Place, address: SocketAddr) {
    let file = place.folder.path().join("s3sweep.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n[http]\nlisten = \"{address}\"\n")).unwrap();
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_2() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    with_http(&place, taken.local_addr().unwrap());
    assert_eq!(place.run("s3sweep run -q").0, 2);
    assert!(!place.folder.path().join("state").exists(), "nothing else was touched");
}

/// Waits for something that a daemon comes to.
fn until(daemon: &mut Child, what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come to: {what}");
        assert_eq!(daemon.try_wait().unwrap(), None, "it runs");
        #[allow(clippy::disallowed_methods, reason = "waits for another process")]
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends with this.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

#[test]
fn a_check_of_an_operator_clears_what_a_daemon_tells() {
    let place = Place::new();
    place.put("0010", &trail_body(&["a".into()]));
    let address = free();
    with_http(&place, address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
    let mut daemon = Daemon(command.args(["run", "-q"]).current_dir(place.folder.path()).spawn().unwrap());
    let is = |state: &str| {
        TcpStream::connect(address).is_ok()
            && ask(address, "GET /api/status HTTP/1.1").body.contains(&format!("\"state\":\"{state}\""))
    };
    until(&mut daemon.0, "a good sweep", || is("ok"));
    let (there, away) = (place.folder.path().join("bucket"), place.folder.path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    assert_eq!(place.run("s3sweep sweep now --source prod-cloudtrail").0, 0);
    until(&mut daemon.0, "a sweep without the bucket", || is("unreachable"));
    assert_eq!(place.run("s3sweep check").0, 3);
    assert!(is("unreachable"), "what is not well is not cleared");
    std::fs::rename(&away, &there).unwrap();
    assert_eq!(place.run("s3sweep check").0, 0);
    until(&mut daemon.0, "what was read of the state is read anew", || is("ok"));
}

#[test]
fn a_daemon_answers_and_stops_with_it() {
    let place = Place::new();
    place.put("0010", &trail_body(&["a".into(), "b".into()]));
    let address = free();
    with_http(&place, address);
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_s3sweep"))
        .args(["run", "-q"])
        .current_dir(place.folder.path())
        .spawn()
        .unwrap();
    until(&mut daemon, "it is ready", || {
        TcpStream::connect(address).is_ok() && ask(address, "GET /readyz HTTP/1.1").status == 200
    });
    let text = ask(address, "GET /metrics HTTP/1.1").body;
    assert!(value(&text, "s3sweep_start_timestamp_seconds").is_some(), "{text}");
    let term = format!("kill -TERM {}", daemon.id());
    assert!(Command::new("/bin/sh").args(["-c", &term]).status().unwrap().success());
    assert!(daemon.wait().unwrap().success());
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
