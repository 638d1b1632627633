//! Faults by count, over HTTP: a store refuses, resets, cuts, stalls and lies at a known request.
//! After each case has healed, every record stands exactly once in the finished segments, no
//! floor ever went past a key that was not settled, and each sweep cost what its row says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use flate2::{Compression, write::GzEncoder};
use futures_util::FutureExt as _;
use s3sweep::clock::FixedClock;
use s3sweep::config::{self, Config};
use s3sweep::service::{Instance, Options, Source};
use s3sweep::state::State;
use s3sweep::state::disk::DiskState;
use s3sweep::sweep::report::SourceReport;
use s3sweep::testing::{Asked, S3Server, ServerFault};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const BUCKET: &str = "acme-trail";
const EAST: &str = "111122223333";
const WEST: &str = "444455556666";
/// Records of each object.
const RECORDS: usize = 200;

/// The first sweep is at noon, the next ones follow every two hours: beyond the lateness, so that
/// floors may move.
fn time_of(sweep: usize) -> DateTime<Utc> {
    let noon: DateTime<Utc> = "2024-05-01T12:00:00Z".parse().unwrap();
    noon + TimeDelta::hours(2 * sweep as i64)
}

fn written() -> DateTime<Utc> {
    "2024-05-01T06:00:00Z".parse().unwrap()
}

fn key(account: &str, name: &str) -> String {
    format!(
        "AWSLogs/{account}/CloudTrail/us-east-1/2024/05/01/{account}_CloudTrail_us-east-1_20240501T{name}.json.gz"
    )
}

/// Three objects below one account and two below the other: the ids of their records begin with
/// the names.
fn objects() -> Vec<(String, &'static str)> {
    [
        (EAST, "0005Z_aaaaaaaaaaaaaaaa"),
        (EAST, "0010Z_bbbbbbbbbbbbbbbb"),
        (EAST, "0015Z_cccccccccccccccc"),
        (WEST, "0005Z_dddddddddddddddd"),
        (WEST, "0010Z_eeeeeeeeeeeeeeee"),
    ]
    .map(|(account, name)| (key(account, name), name))
    .into()
}

/// The object that faults of one key are for.
fn victim() -> String {
    key(EAST, "0010Z_bbbbbbbbbbbbbbbb")
}

fn id(tag: &str, number: usize) -> String {
    format!("{tag}-{number}")
}

/// A gzip object whose records cannot be told from their neighbours by a compressor.
fn trail(tag: &str) -> Bytes {
    let events = (0..RECORDS).map(|number| {
        let noise: String = std::iter::repeat_with(letters(tag, number)).take(100).collect();
        json!({"eventVersion": "1.09", "eventTime": "2024-05-01T00:01:00Z", "eventName": "GetObject",
            "eventSource": "s3.amazonaws.com", "eventID": id(tag, number), "userAgent": noise})
    });
    let text = json!({ "Records": events.collect::<Vec<_>>() }).to_string();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap().into()
}

/// Letters that are the same in every run.
fn letters(tag: &str, number: usize) -> impl FnMut() -> char {
    let mut state = tag.bytes().fold(number as u64 + 1, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte));
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + ((state >> 33) % 26) as u8)
    }
}

/// What one sweep is to do.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    exit: i32,
    lists: u64,
    gets: u64,
    /// Classes of `failures`, each once.
    failures: Vec<String>,
}

fn told(exit: i32, lists: u64, gets: u64, failures: &[&str]) -> Told {
    Told { exit, lists, gets, failures: failures.iter().map(ToString::to_string).collect() }
}

/// A sweep of which nothing is new: a discovery, and a LIST per leaf.
fn idle() -> Told {
    told(0, 2 + 1, 0, &[])
}

/// What becomes of the victim; the other objects are collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Collected,
    /// Nothing of it is delivered.
    Gone,
    /// The records of the object that took its key are delivered.
    Replaced,
    /// The records of the old object up to the overwriting are delivered, none of the new one.
    Ignored,
    /// It is quarantined after all its records.
    Quarantined,
}

type Script = fn(&S3Server);

struct Case {
    name: &'static str,
    script: Script,
    /// Sweeps, the last but one of which heals what is left; the last one is idle.
    sweeps: Vec<Told>,
    victim: Victim,
    /// Lines of `[limits]` and of the source.
    settings: (&'static str, &'static str),
    /// The server heals before this sweep.
    heal: usize,
    /// No byte of a body is taken twice, however many GETs bring it.
    in_one_go: bool,
}

fn case(name: &'static str, script: Script, sweeps: Vec<Told>) -> Case {
    Case {
        name,
        script,
        sweeps,
        victim: Victim::Collected,
        settings: ("", ""),
        heal: usize::MAX,
        in_one_go: false,
    }
}

fn error(code: &'static str, status: u16) -> ServerFault {
    ServerFault::Error { code, status, retry_after: None }
}

fn on_victim(server: &S3Server, faults: impl IntoIterator<Item = ServerFault>) {
    for fault in faults {
        server.fail(Asked::Key(victim()), 1, fault);
    }
}

fn below_east() -> Asked {
    Asked::Below(format!("AWSLogs/{EAST}/"))
}

/// A clean first sweep: a discovery, a LIST per leaf, a GET per object.
const LISTS: u64 = 3;
const GETS: u64 = 5;

/// One case under way.
struct Site {
    folder: tempfile::TempDir,
    server: S3Server,
    config: Config,
}

impl Site {
    async fn new(case: &Case) -> Self {
        let server = S3Server::start([BUCKET]).await.unwrap();
        for (key, name) in objects() {
            server.put(BUCKET, key, trail(name), written());
        }
        let folder = tempfile::tempdir().unwrap();
        let (limits, source) = case.settings;
        let text = format!(
            "state_dir = \"state\"\n[sink]\npath = \"out\"\n[limits]\n{limits}\n[[source]]\nname = \"main\"\n\
             log_type = \"cloudtrail\"\nbucket = \"{BUCKET}\"\nprefix = \"AWSLogs/*/CloudTrail/us-east-1\"\n\
             start = \"2024-05-01\"\nregion = \"us-east-1\"\nendpoint_url = \"{}\"\npath_style = true\n{source}\n\
             [source.credentials]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
            server.endpoint_url(),
            server.access_key_id(),
            server.secret_access_key()
        );
        let config = config::parse(folder.path().join("s3sweep.toml"), &text).unwrap();
        Site { folder, server, config }
    }

    async fn sweep(&self, number: usize) -> SourceReport {
        let options = Options {
            clock: Arc::new(FixedClock(time_of(number))),
            rebuild_state: false,
            adopt_state: false,
            give_up: true,
            stop: CancellationToken::new(),
        };
        let source = Source::new(&self.config.sources[0], &self.config).unwrap();
        let instance = Instance::open(self.config.clone(), options).await.unwrap();
        let swept = instance.sweep(&source).await;
        swept.ended.unwrap();
        instance.close().await.unwrap();
        swept.report
    }

    fn state(&self) -> DiskState {
        DiskState::open(&self.config.state_dir, &self.config.instance, false).unwrap()
    }

    /// No floor stands at or past a key of the bucket that is not in the ledger; returns the
    /// number of floors.
    fn check_floors(&self, name: &str) -> usize {
        let state: Arc<dyn State> = Arc::new(self.state());
        let Some(record) = state.source("main").unwrap() else { return 0 };
        let pattern = &self.config.sources[0].pattern;
        let mut floors = 0;
        for (head, _) in state.leaves(record.key(), None, usize::MAX).unwrap() {
            let leaf = pattern.leaf(&head).unwrap();
            for (time, marker) in state.markers(record.key(), &head).unwrap() {
                assert!(!marker.closed, "{name}: no prefix is due to be closed yet");
                let Some(floor) = marker.floor else { continue };
                floors += 1;
                for key in self.server.bucket(BUCKET).keys() {
                    if leaf.prefix_of_key(&key) == Some(time) && key <= floor {
                        let entry = state.entry(record.key(), &key).unwrap();
                        assert!(entry.is_some(), "{name}: the floor is past {key}, which is not settled");
                    }
                }
            }
        }
        floors
    }

    /// How often each id stands in the finished segments; nothing else is there.
    fn delivered(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for file in std::fs::read_dir(self.folder.path().join("out")).unwrap() {
            let path = file.unwrap().path();
            assert_ne!(path.extension().unwrap_or_default(), "open", "it is finished at the end");
            if path.extension().is_some_and(|extension| extension == "ndjson") {
                count_ids(&path, &mut ids);
            }
        }
        ids
    }

    fn quarantined(&self) -> Vec<String> {
        let state: Arc<dyn State> = Arc::new(self.state());
        state.quarantine(None, usize::MAX).unwrap().into_iter().map(|(_, object)| object.key).collect()
    }
}

fn count_ids(path: &Path, ids: &mut BTreeMap<String, u64>) {
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        *ids.entry(record["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
}

/// The exit code that `once` gives for one source.
fn exit_of(report: &SourceReport) -> i32 {
    if !report.unreachable.is_empty() { 3 } else { i32::from(report.has_failures()) }
}

async fn run(case: Case) {
    let name = case.name;
    let site = Site::new(&case).await;
    (case.script)(&site.server);
    let (mut records, mut read) = (0, 0);
    for (number, want) in case.sweeps.iter().enumerate() {
        if number == case.heal {
            site.server.heal();
        }
        site.server.counts().reset();
        let report = site.sweep(number).await;
        records += report.records;
        read += report.bytes.read;
        let classes: BTreeSet<_> = report.failures.iter().map(|line| line.class.to_string()).collect();
        let did = Told {
            exit: exit_of(&report),
            lists: report.requests.list,
            gets: report.requests.get,
            failures: classes.into_iter().collect(),
        };
        assert_eq!(did, *want, "{name}, sweep {number}: {:?} {:?}", report.failures, report.unreachable);
        let sent = (site.server.counts().list(), site.server.counts().get());
        assert_eq!(sent, (did.lists, did.gets), "{name}, sweep {number}: the server counts as the report");
        let objects = &report.objects;
        let ended = objects.collected + objects.empty + objects.failed + objects.quarantined;
        let skipped: u64 = objects.skipped.values().sum();
        assert_eq!(objects.listed, ended + skipped, "{name}, sweep {number}: each object ends in one way");
        let floors = site.check_floors(name);
        if number + 1 == case.sweeps.len() {
            assert_eq!(floors, 2, "{name}: in the end each leaf has its floor");
        }
    }
    let stored: usize = objects().into_iter().map(|(_, name)| trail(name).len()).sum();
    assert!(!case.in_one_go || read == stored as u64, "{name}: read {read} of {stored} bytes");
    let delivered = site.delivered();
    let twice: Vec<_> = delivered.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{name}: delivered more than once: {twice:?}");
    assert_eq!(records, delivered.len() as u64, "{name}: the reports count what was delivered");
    check_delivered(&case, &delivered.into_keys().collect());
    let quarantined = site.quarantined();
    let want = if case.victim == Victim::Quarantined { vec![victim()] } else { vec![] };
    assert_eq!(quarantined, want, "{name}");
    site.server.stop().await.unwrap();
}

fn check_delivered(case: &Case, delivered: &BTreeSet<String>) {
    let name = case.name;
    let all = |tag: &str| (0..RECORDS).map(|number| id(tag, number)).collect::<BTreeSet<_>>();
    let others: BTreeSet<_> =
        objects().into_iter().filter(|(key, _)| *key != victim()).flat_map(|(_, tag)| all(tag)).collect();
    let lost: Vec<_> = others.difference(delivered).collect();
    assert!(lost.is_empty(), "{name}: lost {lost:?}");
    let rest: BTreeSet<_> = delivered.difference(&others).cloned().collect();
    let old = all("0010Z_bbbbbbbbbbbbbbbb");
    match case.victim {
        Victim::Collected | Victim::Quarantined => assert!(rest == old, "{name}: {} records", rest.len()),
        Victim::Gone => assert!(rest.is_empty(), "{name}: {} records", rest.len()),
        Victim::Replaced => assert!(rest == all("new"), "{name}: {} records", rest.len()),
        Victim::Ignored => {
            let (some, all) = (rest.len(), old.len());
            assert!(rest.is_subset(&old) && some > 0 && some < all, "{name}: {some} of {all} records");
        }
    }
}

/// Runs the cases side by side: most of their time is waiting.
async fn run_all(cases: Vec<Case>) {
    let cases = cases.into_iter().map(|case| AssertUnwindSafe(run(case)).catch_unwind());
    let ended = futures_util::future::join_all(cases).await;
    let failed = ended.into_iter().filter(|ended| ended.is_err()).count();
    assert_eq!(failed, 0, "cases failed, each with its message above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_at_a_get() {
    run_all(vec![
        case("nothing happens", |_| {}, vec![told(0, LISTS, GETS, &[]), idle()]),
        case(
            "503 SlowDown once",
            |server| on_victim(server, [error("SlowDown", 503)]),
            vec![told(0, LISTS, GETS + 1, &[]), idle()],
        ),
        case(
            "503 SlowDown with Retry-After",
            |server| {
                on_victim(
                    server,
                    [ServerFault::Error { code: "SlowDown", status: 503, retry_after: Some(1) }],
                );
            },
            vec![told(0, LISTS, GETS + 1, &[]), idle()],
        ),
        case(
            "500 three times: the fourth GET is the last one of a sweep",
            |server| server.fail(Asked::Key(victim()), 3, error("InternalError", 500)),
            vec![told(0, LISTS, GETS + 3, &[]), idle()],
        ),
        case(
            "500 nine times: the object goes on by name, and the floor waits for it",
            |server| server.fail(Asked::Key(victim()), 9, error("InternalError", 500)),
            vec![
                told(1, LISTS, GETS + 3, &["transient"]),
                told(1, LISTS, 4, &["transient"]),
                told(0, LISTS, 2, &[]),
                idle(),
            ],
        ),
        case(
            "503 at every GET of a sweep",
            |server| server.fail(Asked::Gets, 4 * GETS as usize, error("ServiceUnavailable", 503)),
            vec![told(1, LISTS, 4 * GETS, &["transient"]), told(0, LISTS, GETS, &[]), idle()],
        ),
        case(
            "403 ExpiredToken at every GET of a sweep",
            |server| server.fail(Asked::Gets, GETS as usize, error("ExpiredToken", 403)),
            vec![told(3, LISTS, GETS, &["unreachable"]), told(0, LISTS, GETS, &[]), idle()],
        ),
        case(
            "403 AccessDenied at one GET",
            |server| on_victim(server, [error("AccessDenied", 403)]),
            vec![told(1, LISTS, GETS, &["object"]), told(0, LISTS, 1, &[]), idle()],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_at_a_list() {
    run_all(vec![
        case(
            "503 SlowDown at the first LIST",
            |server| server.fail(Asked::Lists, 1, error("SlowDown", 503)),
            vec![told(0, LISTS + 1, GETS, &[]), idle()],
        ),
        case(
            "500 at a leaf, three times",
            |server| server.fail(below_east(), 3, error("InternalError", 500)),
            vec![told(0, LISTS + 3, GETS, &[]), idle()],
        ),
        case(
            "500 at a leaf, through a sweep: the other leaf is collected",
            |server| server.fail(below_east(), 4, error("InternalError", 500)),
            vec![told(3, LISTS + 3, 2, &[]), told(0, LISTS, 3, &[]), idle()],
        ),
        case(
            "403 ExpiredToken at everything",
            |server| server.fail(Asked::Any, usize::MAX, error("ExpiredToken", 403)),
            vec![told(3, 1, 0, &[]), told(0, LISTS, GETS, &[]), idle()],
        )
        .healed(1),
        case(
            "403 ExpiredToken at the leaves",
            |server| {
                server.fail(Asked::Lists, 1, ServerFault::Nothing);
                server.fail(Asked::Any, usize::MAX, error("ExpiredToken", 403));
            },
            vec![told(3, LISTS, 0, &[]), told(0, LISTS, GETS, &[]), idle()],
        )
        .healed(1),
        case(
            "AccessDenied on one leaf, for two sweeps: the other one is collected",
            |server| server.fail(below_east(), usize::MAX, error("AccessDenied", 403)),
            vec![told(3, LISTS, 2, &[]), told(3, LISTS, 0, &[]), told(0, LISTS, 3, &[]), idle()],
        )
        .healed(2),
        case(
            "the connection breaks before the header",
            |server| server.fail(Asked::Lists, 2, ServerFault::Reset),
            vec![told(0, LISTS + 2, GETS, &[]), idle()],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_that_lie() {
    run_all(vec![
        case(
            "a page holds a key twice",
            |server| server.fail(below_east(), 1, ServerFault::RepeatedKey),
            vec![told(3, LISTS, GETS, &[]), idle(), idle()],
        ),
        case(
            "the keys of a page fall",
            |server| server.fail(below_east(), 1, ServerFault::Unsorted),
            vec![told(3, LISTS, 1 + 2, &[]), told(0, LISTS, 2, &[]), idle()],
        ),
        case(
            "truncated, and no token",
            |server| server.fail(below_east(), 1, ServerFault::NoToken),
            vec![told(0, LISTS + 1, GETS, &[]), idle()],
        ),
        case(
            "truncated, and no token, through a sweep",
            |server| server.fail(below_east(), 4, ServerFault::NoToken),
            vec![told(3, LISTS + 3, 2, &[]), told(0, LISTS, 3, &[]), idle()],
        ),
        case(
            "the second page of two comes again and again",
            |server| {
                server.fail(below_east(), 1, ServerFault::Nothing);
                server.fail(below_east(), 1, ServerFault::SameToken);
            },
            vec![told(3, LISTS + 1, 2 + 2, &[]), told(0, LISTS + 1, 1, &[]), idle()],
        )
        .with("", "list_page_size = 2"),
        case(
            "the second page of two fails through a sweep",
            |server| {
                server.fail(below_east(), 1, ServerFault::Nothing);
                server.fail(below_east(), 4, error("InternalError", 500));
            },
            // pages of two keys: two LISTs for the first leaf until its floor has moved
            vec![told(3, LISTS + 4, 2 + 2, &[]), told(0, LISTS + 1, 1, &[]), idle()],
        )
        .with("", "list_page_size = 2"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_break() {
    let once_more = || vec![told(0, LISTS, GETS + 1, &[]), idle()];
    run_all(vec![
        case(
            "the connection breaks before the header",
            |server| on_victim(server, [ServerFault::Reset]),
            once_more(),
        )
        .in_one_go(),
        case(
            "the connection breaks in the first chunk",
            |server| on_victim(server, [ServerFault::CutBody(1)]),
            once_more(),
        )
        .in_one_go(),
        case(
            "the connection breaks in the middle",
            |server| on_victim(server, [ServerFault::CutBody(9_000)]),
            once_more(),
        )
        .in_one_go(),
        case(
            "three times",
            |server| on_victim(server, [5, 5_000, 3_000].map(ServerFault::CutBody)),
            vec![told(0, LISTS, GETS + 3, &[]), idle()],
        )
        .in_one_go(),
        case(
            "five times: the object goes on by name",
            |server| on_victim(server, [3_000, 1, 1, 1, 7_000].map(ServerFault::CutBody)),
            vec![told(1, LISTS, GETS + 3, &["transient"]), told(0, LISTS, 2, &[]), idle()],
        ),
        case(
            "it breaks, and the next GET is refused and reset",
            |server| {
                on_victim(server, [ServerFault::CutBody(4_000), error("SlowDown", 503), ServerFault::Reset]);
            },
            vec![told(0, LISTS, GETS + 3, &[]), idle()],
        )
        .in_one_go(),
        case("it stalls", |server| on_victim(server, [ServerFault::StallBody(6_000)]), once_more())
            .with("stall_timeout = \"1S\"", "")
            .in_one_go(),
        case(
            "it stalls until the object has had its time",
            |server| on_victim(server, [ServerFault::StallBody(6_000)]),
            vec![told(1, LISTS, GETS, &["transient"]), told(0, LISTS, 1, &[]), idle()],
        )
        .with("object_timeout = \"2S\"", ""),
        case(
            "it is shorter than Content-Length",
            |server| on_victim(server, [ServerFault::ShortBody(5_000)]),
            once_more(),
        )
        .in_one_go(),
        case(
            "it and Content-Length are shorter than listed",
            |server| on_victim(server, [ServerFault::TruncatedBody(5_000)]),
            once_more(),
        )
        .in_one_go(),
        case(
            "it is longer than listed, once",
            |server| on_victim(server, [ServerFault::LongBody]),
            once_more(),
        ),
        Case {
            victim: Victim::Quarantined,
            ..case(
                "it is longer than listed, always",
                |server| server.fail(Asked::Key(victim()), usize::MAX, ServerFault::LongBody),
                vec![told(1, LISTS, GETS + 1, &["content"]), idle()],
            )
        },
        case(
            "it has a wrong Content-Encoding",
            |server| server.fail(Asked::Gets, GETS as usize, ServerFault::ContentEncoding("br")),
            vec![told(0, LISTS, GETS, &[]), idle()],
        ),
    ])
    .await;
}

fn deleting(server: &S3Server) -> ServerFault {
    let bucket = server.bucket(BUCKET);
    ServerFault::before(move || assert!(bucket.delete(&victim())))
}

fn overwriting(server: &S3Server) -> ServerFault {
    let bucket = server.bucket(BUCKET);
    ServerFault::before(move || {
        bucket.put(victim(), trail("new"), written());
    })
}

/// Enough of the object that some of its records have come, and not all.
const HALF: usize = 9_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_change_under_our_hands() {
    run_all(vec![
        Case {
            victim: Victim::Gone,
            ..case(
                "deleted between LIST and GET",
                |server| on_victim(server, [deleting(server)]),
                vec![told(0, LISTS, GETS, &[]), idle()],
            )
        },
        Case {
            victim: Victim::Ignored,
            ..case(
                "deleted between two GETs: what came stays, and the report names it",
                |server| on_victim(server, [ServerFault::CutBody(HALF), deleting(server)]),
                vec![told(0, LISTS, GETS + 1, &["gone"]), idle()],
            )
        },
        Case {
            victim: Victim::Replaced,
            ..case(
                "overwritten between LIST and GET: the key is listed again",
                |server| on_victim(server, [overwriting(server)]),
                vec![told(0, LISTS + 1, GETS + 1, &[]), idle()],
            )
        },
        Case {
            victim: Victim::Ignored,
            ..case(
                "overwritten between two GETs: what came stays, the new one is ignored",
                |server| on_victim(server, [ServerFault::CutBody(HALF), overwriting(server)]),
                vec![told(0, LISTS + 1, GETS + 1, &[]), idle()],
            )
        },
        Case {
            victim: Victim::Replaced,
            ..case(
                "overwritten between two GETs before a byte had come",
                |server| on_victim(server, [ServerFault::CutBody(0), overwriting(server)]),
                vec![told(0, LISTS + 1, GETS + 2, &[]), idle()],
            )
        },
    ])
    .await;
}

impl Case {
    fn healed(self, before: usize) -> Self {
        Case { heal: before, ..self }
    }

    fn in_one_go(self) -> Self {
        Case { in_one_go: true, ..self }
    }

    fn with(self, limits: &'static str, source: &'static str) -> Self {
        Case { settings: (limits, source), ..self }
    }
}
