//! What an operator asks of a running instance: markers reset and set with exact counts, a state
//! that moves to another host, pauses, and the socket that carries all of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use s3sweep::clock::FixedClock;
use s3sweep::config;
use s3sweep::marker::export::Export;
use s3sweep::marker::{MarkerChange, import, try_change};
use s3sweep::service::control::Control;
use s3sweep::service::socket::protocol::{Because, Request, Response, SweepAction};
use s3sweep::service::socket::{Client, ClientError, NAME, RemoteState, ServeLimits, Server};
use s3sweep::service::{Holding, Instance, InstanceError, Options, Roster, Source, configured};
use s3sweep::state::overlay::OverlayState;
use s3sweep::state::{SourceRecord, State, StateError};
use s3sweep::sweep::mend::Action;
use s3sweep::sweep::report::SourceReport;
use s3sweep::testing::{Fault, FaultyBucket, MemoryBucket, When};
use tokio_util::sync::CancellationToken;

use crate::world::{at, trail_body, trail_key};

const DAYS: &str = "AWSLogs/*/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}";
/// Listed one by one: a wildcard stands left of the day.
const SPARSE: &str = "AWSLogs/*/CloudTrail/us-*/{YYYY}/{mm}/{dd}";

/// A bucket that hosts share.
#[derive(Clone)]
struct Trail {
    objects: MemoryBucket,
    bucket: Arc<FaultyBucket<MemoryBucket>>,
}

impl Trail {
    fn new() -> Self {
        let objects = MemoryBucket::new("acme-trail");
        Trail { bucket: Arc::new(FaultyBucket::new(objects.clone(), "acme-trail")), objects }
    }

    /// An object of one record for each account of two, written at `written`.
    fn put(&self, written: &str) {
        for account in 0..2 {
            self.put_one(account, written, 1);
        }
    }

    fn put_one(&self, account: u8, written: &str, records: usize) -> String {
        let key = trail_key(account, at(written), 7);
        let ids: Vec<_> = (0..records).map(|number| format!("{key}#{number}")).collect();
        self.objects.put(&key, trail_body(&ids), at(written));
        key
    }
}

/// An instance's folder.
struct Host {
    folder: tempfile::TempDir,
    name: &'static str,
    prefix: &'static str,
    trail: Trail,
}

impl Host {
    fn new(name: &'static str, prefix: &'static str, trail: &Trail) -> Self {
        Host { folder: tempfile::tempdir().unwrap(), name, prefix, trail: trail.clone() }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn config(&self) -> config::Config {
        let root = self.folder.path().display();
        let text = format!(
            "state_dir = \"{root}/state\"\ninstance = \"{}\"\nclose_spread = \"0M\"\n\
             [sink]\npath = \"{root}/out\"\n[[source]]\nname = \"main\"\nlog_type = \"cloudtrail\"\n\
             bucket = \"acme-trail\"\nprefix = '{}'\nstart = \"2026-06-01\"\nlateness = \"1H\"\nrecheck = [\"1D\"]\n\
             discover_every = \"0M\"\n",
            self.name, self.prefix
        );
        fs::write(self.folder.path().join("host.toml"), &text).unwrap(); // for commands
        config::parse(PathBuf::from("host.toml"), &text).unwrap()
    }

    async fn open(&self, now: &str, adopt: bool) -> Result<(Instance, Roster), InstanceError> {
        let config = self.config();
        let source = Source::new(&config.sources[0], &config).unwrap().over(self.trail.bucket.clone());
        let options = Options {
            clock: Arc::new(FixedClock(at(now))),
            adopt_state: adopt,
            rebuild_state: false,
            give_up: true,
            stop: CancellationToken::new(),
        };
        let roster = Roster::new(config.clone(), vec![source]);
        Ok((Instance::open(config, options).await?, roster))
    }

    async fn sweep(&self, now: &str) -> SourceReport {
        let (instance, roster) = self.open(now, false).await.unwrap();
        let swept = instance.sweep(&roster.sources()[0]).await;
        instance.close().await.unwrap();
        swept.ended.unwrap();
        swept.report
    }

    async fn ask(&self, now: &str, request: Request) -> Response {
        let (instance, roster) = self.open(now, false).await.unwrap();
        let control = Control { instance: &instance, roster: &roster };
        let answer = control.answer(request, &mut Holding::default()).await;
        instance.close().await.unwrap();
        answer
    }

    async fn change(&self, now: &str, change: MarkerChange) -> Response {
        self.ask(now, Request::Marker { source: "main".into(), leaves: vec![], change }).await
    }

    /// Writes an export beside the state.
    async fn export(&self, now: &str) -> PathBuf {
        let (instance, _) = self.open(now, false).await.unwrap();
        let file = self.folder.path().join("export.jsonl");
        let export =
            Export { state: &**instance.state(), dir: &self.state(), instance: self.name, at: at(now) };
        let lines = export.write(&["main".to_owned()], &mut fs::File::create(&file).unwrap()).unwrap();
        instance.close().await.unwrap();
        assert_eq!(lines, fs::read_to_string(&file).unwrap().lines().count() as u64);
        file
    }

    async fn import(&self, now: &str, file: &Path) {
        let (instance, _) = self.open(now, false).await.unwrap();
        let found = import::look(file, &**instance.state()).unwrap();
        assert_eq!(found.sources.len(), 1);
        instance.import(file).await.unwrap();
        instance.close().await.unwrap();
    }

    /// How often each event stands in the sink.
    fn delivered(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for item in fs::read_dir(self.folder.path().join("out")).unwrap() {
            let path = item.unwrap().path();
            assert!(path.extension().is_none_or(|ending| ending != "open"), "{} is finished", path.display());
            if path.extension().is_some_and(|ending| ending == "ndjson") {
                for line in fs::read_to_string(path).unwrap().lines() {
                    let record: serde_json::Value = serde_json::from_str(line).unwrap();
                    *ids.entry(record["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
                }
            }
        }
        ids
    }
}

/// Four days of two accounts, of which the last one is open.
async fn four_days(prefix: &'static str) -> (Trail, Host) {
    let trail = Trail::new();
    for day in 1..5 {
        trail.put(&format!("2026-06-0{day}T01:00:00Z"));
    }
    trail.put("2026-06-02T05:00:00Z");
    let host = Host::new("one", prefix, &trail);
    assert_eq!(host.sweep("2026-06-04T03:00:00Z").await.objects.collected, 10);
    assert_eq!(host.sweep("2026-06-04T03:05:00Z").await.objects.collected, 0);
    (trail, host)
}

fn reset(from: &str, to: &str) -> MarkerChange {
    let instant = |text: &str| (!text.is_empty()).then(|| at(text));
    MarkerChange::Reset { from: instant(from), to: instant(to) }
}

#[tokio::test]
async fn a_reset_collects_exactly_its_days_again() {
    let cases = [
        ("a closed day", "2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z", 4),
        ("the first day", "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z", 2),
        ("up to the last closed one", "2026-06-03T00:00:00Z", "2026-06-04T00:00:00Z", 2),
        ("the open day", "2026-06-04T00:00:00Z", "", 2),
        ("a closed day and the open one", "2026-06-03T00:00:00Z", "", 4),
        ("amid a day: the whole of it", "2026-06-02T12:00:00Z", "2026-06-02T13:00:00Z", 4),
        ("all", "", "", 10),
        ("days ahead", "2026-07-01T00:00:00Z", "", 0),
    ];
    for prefix in [DAYS, SPARSE] {
        for (case, from, to, again) in cases {
            let (_, host) = four_days(prefix).await;
            let answer = host.change("2026-06-04T03:10:00Z", reset(from, to)).await;
            assert!(matches!(answer, Response::Done { .. }), "{case}: {answer:?}");
            let report = host.sweep("2026-06-04T03:15:00Z").await;
            assert_eq!(report.objects.collected, again, "{case} of {prefix}");
            assert_eq!(host.sweep("2026-06-04T03:20:00Z").await.objects.collected, 0, "{case} of {prefix}");
            // closing, rechecks and what is new go on as ever
            host.trail.put("2026-06-05T01:00:00Z");
            assert_eq!(host.sweep("2026-06-05T03:30:00Z").await.objects.collected, 2, "{case} of {prefix}");
            assert_eq!(host.sweep("2026-06-07T04:00:00Z").await.objects.collected, 0, "{case} of {prefix}");
            let twice = host.delivered().values().filter(|times| **times == 2).count() as u64;
            assert_eq!((twice, host.delivered().len()), (again, 12), "{case} of {prefix}");
        }
    }
}

#[tokio::test]
async fn days_before_the_start_are_collected_beside_the_new_ones() {
    for prefix in [DAYS, SPARSE] {
        let (trail, host) = four_days(prefix).await;
        trail.put("2026-05-20T01:00:00Z");
        trail.put("2026-05-31T23:00:00Z");
        host.change("2026-06-04T03:10:00Z", reset("2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z")).await;
        trail.put("2026-06-04T03:11:00Z");
        assert_eq!(host.sweep("2026-06-04T03:15:00Z").await.objects.collected, 6, "{prefix}");
        assert!(host.delivered().values().all(|times| *times == 1), "{prefix}");
    }
}

#[tokio::test]
async fn set_forward_leaves_out_and_backward_collects_again() {
    for prefix in [DAYS, SPARSE] {
        let (trail, host) = four_days(prefix).await;
        let set = |to: &str| MarkerChange::Set { closed_through: at(to) };
        // what was collected of the open day goes to the history; what comes is left out
        trail.put("2026-06-04T04:00:00Z");
        let (instance, roster) = host.open("2026-06-05T00:10:00Z", false).await.unwrap();
        let over = OverlayState::new(instance.state().clone());
        let change = set("2026-06-05T00:00:00Z");
        let now = at("2026-06-05T00:10:00Z");
        let at_work = roster.source("main").unwrap();
        let source = configured(&at_work.config);
        let leaves = |skips| try_change(&over, &source, &[], change, skips, now).unwrap();
        assert_eq!((leaves(false), leaves(true)), (0, 2), "{prefix}: it could skip");
        drop(over);
        instance.close().await.unwrap();
        host.change("2026-06-05T00:10:00Z", change).await;
        assert_eq!(host.sweep("2026-06-05T00:15:00Z").await.objects.collected, 0, "{prefix}");
        assert_eq!(host.sweep("2026-06-07T00:15:00Z").await.objects.collected, 0, "{prefix}: no recheck");
        host.change("2026-06-07T00:20:00Z", set("2026-06-03T00:00:00Z")).await;
        assert_eq!(
            host.sweep("2026-06-07T00:25:00Z").await.objects.collected,
            6,
            "{prefix}: again from there"
        );
        let answer = host.change("2026-06-07T00:30:00Z", set("2026-07-01T00:00:00Z")).await;
        assert!(matches!(answer, Response::Refused { because: Because::Usage, .. }), "{answer:?}");
    }
}

#[tokio::test]
async fn a_change_of_an_unknown_leaf_or_source_is_refused() {
    let (_, host) = four_days(DAYS).await;
    let change = reset("", "");
    for (source, leaf, fragment) in [("mian", None, "mian"), ("main", Some("AWSLogs/1/"), "marker list")] {
        let leaves = leaf.map(str::to_owned).into_iter().collect();
        let answer =
            host.ask("2026-06-04T03:10:00Z", Request::Marker { source: source.into(), leaves, change }).await;
        let Response::Refused { because: Because::Usage, message } = answer else { panic!("{answer:?}") };
        assert!(message.contains(fragment), "{message}");
    }
    let leaves = vec!["AWSLogs/111122223333/CloudTrail/us-east-1/".to_owned()];
    host.ask("2026-06-04T03:10:00Z", Request::Marker { source: "main".into(), leaves, change }).await;
    assert_eq!(host.sweep("2026-06-04T03:15:00Z").await.objects.collected, 5, "one leaf of two");
}

/// Everything at once: closed and open days, an object amid its records, a failed one, one that
/// a recheck finds.
async fn moved(second: impl AsyncFn(&Host, &Trail) -> Host) {
    let (trail, first) = four_days(DAYS).await;
    let begun = trail.put_one(0, "2026-06-04T03:30:00Z", 60);
    trail.bucket.on_get(When::key(begun.as_str()), Fault::CutBody(900));
    assert_eq!(first.sweep("2026-06-04T03:35:00Z").await.objects.failed, 1);
    trail.bucket.heal();
    let second = second(&first, &trail).await;
    trail.put_one(1, "2026-06-03T23:59:00Z", 1); // found by a recheck alone
    trail.put("2026-06-04T03:45:00Z");
    let report = second.sweep("2026-06-04T03:50:00Z").await;
    assert_eq!((report.objects.collected, report.objects.failed), (3, 0), "the begun one and two new ones");
    let report = second.sweep("2026-06-05T04:00:00Z").await;
    assert_eq!((report.objects.collected, report.objects.late), (1, 1), "rechecks go on where they were");
    assert_eq!(second.sweep("2026-06-07T04:00:00Z").await.objects.collected, 0);
    let mut all = first.delivered();
    let (before, after) = (all.len(), second.delivered());
    assert!((11..70).contains(&before), "some records of the begun object were delivered: {before}");
    for (id, times) in after {
        *all.entry(id).or_default() += times;
    }
    assert_eq!(all.len(), 10 + 60 + 2 + 1);
    assert!(all.values().all(|times| *times == 1), "{all:?}");
}

#[tokio::test]
async fn an_exported_state_goes_on_exactly_elsewhere() {
    moved(async |first, trail| {
        let file = first.export("2026-06-04T03:40:00Z").await;
        let second = Host::new("two", DAYS, trail);
        second.import("2026-06-04T03:42:00Z", &file).await;
        second
    })
    .await;
}

#[tokio::test]
async fn a_copied_state_directory_goes_on_when_it_is_adopted() {
    moved(async |first, trail| {
        let second = Host::new("two", DAYS, trail);
        copy(&first.state(), &second.state());
        let refused = second.open("2026-06-04T03:42:00Z", false).await;
        assert!(matches!(refused, Err(InstanceError::State(StateError::Foreign { .. }))));
        let (instance, _) = second.open("2026-06-04T03:42:00Z", true).await.unwrap();
        instance.close().await.unwrap();
        second
    })
    .await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let path = item.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn an_import_is_whole_or_refused_and_may_be_repeated() {
    let (trail, first) = four_days(DAYS).await;
    let file = first.export("2026-06-04T03:40:00Z").await;
    let text = fs::read_to_string(&file).unwrap();
    let second = Host::new("two", DAYS, &trail);
    let (instance, _) = second.open("2026-06-04T03:42:00Z", false).await.unwrap();
    let lines: Vec<_> = text.lines().collect();
    let cases = [
        ("cut between lines", lines[..lines.len() - 1].join("\n") + "\n"),
        ("cut amid a line", text[..text.len() - 3].to_owned()),
        ("a line lost", lines[..3].iter().chain(&lines[4..]).map(|line| format!("{line}\n")).collect()),
        ("more behind it", text.clone() + lines[1] + "\n"),
        ("a later version", text.replacen("\"version\":1", "\"version\":2", 1)),
        ("something else", "{}\n".to_owned()),
        ("nothing", String::new()),
    ];
    for (case, text) in cases {
        fs::write(&file, text).unwrap();
        assert!(import::look(&file, &**instance.state()).is_err(), "{case}");
    }
    fs::write(&file, &text).unwrap();
    // cut off amid an import: the record that stands for the source is there, and half the rest
    let half = lines[..lines.len() / 2].join("\n") + "\n";
    fs::write(first.folder.path().join("half"), half).unwrap();
    let error = instance.import(&first.folder.path().join("half")).await.unwrap_err().to_string();
    assert!(error.contains("the end is missing"), "{error}");
    import::look(&file, &**instance.state()).unwrap();
    instance.import(&file).await.unwrap();
    let error = import::look(&file, &**instance.state()).unwrap_err().to_string();
    assert!(error.contains("swept here already"), "{error}");
    let stored: Option<SourceRecord> = (&**instance.state() as &dyn State).source("main").unwrap();
    assert!(stored.is_some_and(|record| record.bucket == "acme-trail"));
    instance.close().await.unwrap();
    assert_eq!(second.sweep("2026-06-04T03:45:00Z").await.objects.collected, 0);
}

#[tokio::test]
async fn a_paused_source_is_not_swept_until_it_is_resumed() {
    let (trail, host) = four_days(DAYS).await;
    let direct = |action| Request::Sweep { source: "main".into(), action };
    host.ask("2026-06-04T03:10:00Z", direct(SweepAction::Pause)).await;
    trail.put("2026-06-04T03:11:00Z");
    let report = host.sweep("2026-06-04T03:15:00Z").await;
    assert_eq!((report.objects.listed, report.requests.list), (0, 0), "also after a restart");
    let answer = host.ask("2026-06-04T03:20:00Z", direct(SweepAction::Now)).await;
    assert!(matches!(answer, Response::Refused { because: Because::Usage, .. }), "{answer:?}");
    host.ask("2026-06-04T03:20:00Z", direct(SweepAction::Resume)).await;
    assert_eq!(host.sweep("2026-06-04T03:25:00Z").await.objects.collected, 2);
}

/// Runs `work` beside an instance that answers on its socket.
async fn served<T: Send + 'static>(
    host: &Host,
    limits: ServeLimits,
    work: impl FnOnce(PathBuf) -> T + Send + 'static,
) -> T {
    let (instance, roster) = host.open("2026-06-04T03:10:00Z", false).await.unwrap();
    let server = Server::listen(&host.state(), limits).unwrap();
    let control = Control { instance: &instance, roster: &roster };
    let (dir, stop) = (host.state(), CancellationToken::new());
    let working = tokio::task::spawn_blocking(move || work(dir));
    let done = tokio::select! {
        () = server.serve(&control, &stop) => unreachable!("nobody stops it"),
        done = working => done.unwrap(),
    };
    drop(server);
    assert!(!host.state().join(NAME).exists(), "the socket goes with the server");
    instance.close().await.unwrap();
    done
}

fn say(stream: &mut BufReader<UnixStream>, line: &str) -> String {
    stream.get_mut().write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    answer
}

fn raw(dir: &Path) -> BufReader<UnixStream> {
    BufReader::new(UnixStream::connect(dir.join(NAME)).unwrap())
}

#[tokio::test]
async fn clients_read_the_state_side_by_side() {
    let (_, host) = four_days(DAYS).await;
    served(&host, ServeLimits::default(), |dir| {
        assert_eq!(fs::metadata(dir.join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
        let [one, two] = [(); 2].map(|()| RemoteState(Arc::new(Client::connect(&dir).unwrap().unwrap())));
        for remote in [&one, &two, &one] {
            let state: &dyn State = remote;
            let record = state.source("main").unwrap().unwrap();
            assert_eq!(state.leaves(record.key(), None, usize::MAX).unwrap().len(), 2);
            assert_eq!(state.leaves(record.key(), None, 1).unwrap().len(), 1);
            assert_eq!(state.source("mian").unwrap(), None);
        }
        assert!(one.apply(&Default::default()).is_err(), "only the daemon writes");
    })
    .await;
}

#[tokio::test]
async fn garbage_is_answered_and_too_much_of_it_ends_the_talk() {
    let (_, host) = four_days(DAYS).await;
    let limits = ServeLimits { line: 200, ..ServeLimits::default() };
    served(&host, limits, |dir| {
        let mut stream = raw(&dir);
        let get = r#"{"v":1,"request":{"op":"get","key":"00"}}"#;
        for (line, fragment) in [
            ("\n", "not a request"),
            ("{}\n", "not a request"),
            ("[1,2\n", "not a request"),
            ("\u{0}\u{1}é\n", "not a request"),
            ("{\"v\":2,\"request\":{\"op\":\"later\"}}\n", "version 1"),
            ("{\"v\":1,\"request\":{\"op\":\"later\"}}\n", "unknown variant"),
            ("{\"v\":1,\"request\":{\"op\":\"get\",\"key\":\"xyz\"}}\n", "hexadecimal"),
            ("{\"v\":1,\"request\":{\"op\":\"hold\",\"sources\":[\"mian\"]}}\n", "mian"),
        ] {
            let answer = say(&mut stream, line);
            assert!(answer.contains("refused") && answer.contains(fragment), "{line}: {answer}");
        }
        assert_eq!(
            say(&mut stream, &format!("{get}\n")),
            "{\"v\":1,\"response\":{\"is\":\"value\",\"value\":null}}\n"
        );
        let answer = say(&mut stream, &"x".repeat(200));
        assert!(answer.contains("at most 200 bytes"), "{answer}");
        assert_eq!(stream.read_line(&mut String::new()).unwrap_or(0), 0, "the daemon has ended it");
        let mut other = raw(&dir);
        assert!(say(&mut other, &format!("{get}\n")).contains("value"), "others are answered");
    })
    .await;
}

#[tokio::test]
async fn who_is_slow_or_one_too_many_is_sent_away() {
    let (_, host) = four_days(DAYS).await;
    let limits = ServeLimits { clients: 2, slow: Duration::from_millis(50), ..ServeLimits::default() };
    served(&host, limits, |dir| {
        let get = "{\"v\":1,\"request\":{\"op\":\"get\",\"key\":\"00\"}}\n";
        let mut quiet = raw(&dir);
        assert!(say(&mut quiet, get).contains("value"));
        let mut slow = raw(&dir);
        assert!(say(&mut slow, get).contains("value"));
        let Err(ClientError::Refused { message, .. }) =
            Client::connect(&dir).unwrap().unwrap().ask(Request::Hold { sources: vec![] })
        else {
            panic!("a third one is too many")
        };
        assert!(message.contains("as many clients"), "{message}");
        let answer = say(&mut slow, "{\"v\":1,");
        assert!(answer.contains("in time"), "{answer}");
        assert_eq!(slow.read_line(&mut String::new()).unwrap_or(0), 0);
        assert!(say(&mut quiet, get).contains("value"), "who is only quiet stays");
        let mut next = raw(&dir);
        assert!(say(&mut next, get).contains("value"), "the place of the slow one is free");
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_stops_in_between_is_told_from_an_answer() {
    let (_, host) = four_days(DAYS).await;
    let client = served(&host, ServeLimits::default(), |dir| {
        let client = Client::connect(&dir).unwrap().unwrap();
        client.ask(Request::Get { key: "00".into() }).unwrap();
        client
    })
    .await;
    assert!(matches!(client.ask(Request::Get { key: "00".into() }), Err(ClientError::Gone)));
    let remote: &dyn State = &RemoteState(Arc::new(client));
    assert!(matches!(remote.source("main"), Err(StateError::Io { .. })));
    assert!(Client::connect(&host.state()).unwrap().is_none(), "nobody is there");
}

#[tokio::test]
async fn the_file_of_a_dead_daemon_is_replaced_and_a_long_path_is_none() {
    let trail = Trail::new();
    let mut host = Host::new("one", DAYS, &trail);
    let deep = tempfile::Builder::new().prefix(&"deep".repeat(30)).tempdir().unwrap();
    for long in [false, true] {
        if long {
            host.folder = tempfile::tempdir_in(deep.path()).unwrap();
        }
        fs::create_dir_all(host.state()).unwrap();
        if !long {
            drop(std::os::unix::net::UnixListener::bind(host.state().join(NAME)).unwrap());
            assert!(Client::connect(&host.state()).unwrap().is_none(), "a dead daemon's file");
        }
        let answer = served(&host, ServeLimits::default(), |dir| {
            Client::connect(&dir).unwrap().unwrap().ask(Request::Get { key: "00".into() }).unwrap()
        })
        .await;
        assert_eq!(answer, Response::Value { value: None }, "long: {long}");
    }
}

#[tokio::test]
async fn who_holds_a_source_keeps_its_sweeps_waiting() {
    let (trail, host) = four_days(DAYS).await;
    trail.put("2026-06-04T03:05:00Z");
    let (instance, roster) = host.open("2026-06-04T03:10:00Z", false).await.unwrap();
    let control = Control { instance: &instance, roster: &roster };
    let mut holding = Holding::default();
    control.answer(Request::Hold { sources: vec!["main".into()] }, &mut holding).await;
    let source = roster.source("main").unwrap();
    let mut sweep = Box::pin(instance.sweep(&source));
    assert!(futures_util::poll!(&mut sweep).is_pending());
    // it may change markers itself meanwhile
    let request =
        Request::Marker { source: "main".into(), leaves: vec![], change: reset("2026-06-04T00:00:00Z", "") };
    assert!(matches!(control.answer(request, &mut holding).await, Response::Done { .. }));
    drop(holding);
    assert_eq!(sweep.as_mut().await.report.objects.collected, 4);
    drop(sweep);

    // whoever goes on to other sources lets it go
    let mut holding = Holding::default();
    control.answer(Request::Hold { sources: vec!["main".into()] }, &mut holding).await;
    let mut sweep = Box::pin(instance.sweep(&source));
    assert!(futures_util::poll!(&mut sweep).is_pending());
    control.answer(Request::Hold { sources: vec![] }, &mut holding).await;
    let swept = tokio::time::timeout(Duration::from_secs(60), sweep.as_mut()).await.expect("its turn came");
    swept.ended.unwrap();
    drop(sweep);
    instance.close().await.unwrap();
}

/// A command against the state of a host, by its configuration file; exit code and stdout.
fn command(host: &Path, arguments: &[&str]) -> (i32, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_s3sweep"))
        .args(arguments)
        .arg("-c")
        .arg(host.join("host.toml"))
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// Five records, and damage after the second of them; quarantined.
async fn damaged(host: &Host) -> (String, String) {
    let key = trail_key(0, at("2026-06-04T02:00:00Z"), 9);
    let ids: Vec<_> = (0..5).map(|number| format!("{key}#{number}")).collect();
    let (whole, begun) = (trail_body(&ids), trail_body(&ids[..2]));
    let body = format!("{}, damage", &begun[..begun.len() - 2]);
    host.trail.objects.put(&key, body, at("2026-06-04T03:06:00Z"));
    assert_eq!(host.sweep("2026-06-04T03:07:00Z").await.objects.quarantined, 1);
    (key, whole)
}

#[tokio::test]
async fn a_running_daemon_retries_quarantined_objects() {
    let (trail, host) = four_days(DAYS).await;
    let (key, whole) = damaged(&host).await;
    trail.objects.put(&key, whole, at("2026-06-04T03:08:00Z"));
    let (folder, asked) = (host.folder.path().to_owned(), key.clone());
    let told = served(&host, ServeLimits::default(), move |_| {
        let retry = ["quarantine", "retry", "--output", "json", &asked, "other"];
        [command(&folder, &retry), command(&folder, &["quarantine", "retry", "--all"])]
    })
    .await;
    let line = format!(
        "{{\"retried\":[{{\"key\":\"{key}\",\"records\":2,\"source\":\"main\"}}],\"unknown\":[\"other\"]}}\n"
    );
    assert_eq!(told, [(1, line), (0, String::new())], "the second finds an empty quarantine");
    assert_eq!(host.sweep("2026-06-04T03:15:00Z").await.objects.collected, 1);
    let delivered = host.delivered();
    assert_eq!((delivered.len(), delivered.values().sum::<u64>()), (15, 15), "each record once");
}

#[tokio::test]
async fn a_running_daemon_drops_quarantined_objects() {
    let (_, host) = four_days(DAYS).await;
    let (key, _) = damaged(&host).await;
    let folder = host.folder.path().to_owned();
    let told = served(&host, ServeLimits::default(), move |_| {
        [
            command(&folder, &["quarantine", "drop", "--all", "--reason", "beyond repair"]),
            command(&folder, &["quarantine", "list", "--output", "json"]),
        ]
    })
    .await;
    let line = format!("dropped  main  {key} (2 records delivered)\n");
    assert_eq!(told, [(0, line), (0, "{\"quarantine\":[]}\n".to_owned())]);
    let (instance, _) = host.open("2026-06-04T03:15:00Z", false).await.unwrap();
    let state: &dyn State = &**instance.state();
    let entry = state.entry(state.source("main").unwrap().unwrap().key(), &key).unwrap().unwrap();
    assert_eq!(entry.reason.as_deref(), Some("beyond repair"));
    instance.close().await.unwrap();
}

#[tokio::test]
async fn who_mends_the_quarantine_waits_for_the_turn() {
    let (_, host) = four_days(DAYS).await;
    damaged(&host).await;
    let (instance, roster) = host.open("2026-06-04T03:10:00Z", false).await.unwrap();
    let control = Control { instance: &instance, roster: &roster };
    let (mut other, mut holding) = (Holding::default(), Holding::default());
    control.answer(Request::Hold { sources: vec!["main".into()] }, &mut other).await;
    let retry =
        |source: &str| Request::Quarantine { source: source.into(), keys: None, action: Action::Retry };
    let mut mending = Box::pin(control.answer(retry("main"), &mut holding));
    assert!(futures_util::poll!(&mut mending).is_pending());
    drop(other);
    let answer = mending.as_mut().await;
    assert!(matches!(&answer, Response::Mended { objects } if objects.len() == 1), "{answer:?}");
    drop(mending);
    let answer = control.answer(retry("mian"), &mut holding).await;
    assert!(matches!(answer, Response::Refused { because: Because::Usage, .. }), "{answer:?}");
    // and gives it back
    instance.sweep(&roster.sources()[0]).await.ended.unwrap();
    instance.close().await.unwrap();
}
