//! `check`: every code of the table is answered by a server and explained; what is asked for and
//! what is left alone.

mod newcomer;
mod sealed;

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use chrono::{DateTime, TimeDelta, Utc};
use s3sweep::aws::advice::{self, Stage, TABLE, before_answer as before};
use s3sweep::clock::{Clock as _, SystemClock};
use s3sweep::state::lock::StateLock;
use s3sweep::testing::{Asked, S3Server, ServerFault};
use serde_json::Value;

/// Must stand in no output.
const SECRET: &str = "hush/Secret+Access=Key";
const TOKEN: &str = "hush-session-token";

fn s3sweep() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
    // no proxy, no credentials, no configuration of whoever runs the tests
    command.env_clear();
    command.env("AWS_EC2_METADATA_DISABLED", "true").stdin(Stdio::null());
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// stdout as JSON; no secret in either stream.
fn json(output: &Output) -> Value {
    no_secret(output);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn no_secret(output: &Output) {
    for text in [out(output), String::from_utf8_lossy(&output.stderr).into_owned()] {
        assert!(!text.contains("hush"), "{text}");
    }
}

/// Writes a configuration of one source with the settings `source` and returns its path.
fn configuration(folder: &Path, source: &str) -> String {
    let path = folder.join("s3sweep.toml");
    let text = format!(
        "state_dir = \"state\"\n[sink]\npath = \"out\"\nmin_free = 0\n[[source]]\nname = \"main\"\n{source}\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// Settings of a source with a static key at an endpoint.
fn at(endpoint: &str, rest: &str) -> String {
    format!(
        "endpoint_url = \"{endpoint}\"\npath_style = true\nregion = \"eu-west-1\"\n{rest}\n\
         [source.credentials]\naccess_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"{SECRET}\"\n\
         session_token = \"{TOKEN}\""
    )
}

const JSONL: &str = "log_type = \"jsonl\"\nbucket = \"acme\"\nprefix = \"logs/\"\ntimestamp_field = \"t\"";

/// An HTTP server that answers each request by its head; it ends with this.
struct Answers {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answers {
    fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            std::thread::scope(|connections| {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    // a client may open a connection that it never uses
                    let (mut stream, answer) = (stream.unwrap(), &answer);
                    connections.spawn(move || {
                        if let Some(head) = head(&mut stream) {
                            // a client that went away is no matter here
                            let _ = stream.write_all(answer(&head).as_bytes());
                        }
                    });
                }
            });
        });
        Answers { address, stop, thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The head of a request; what is no HTTP (a TLS hello) counts too.
fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains("\r\n\r\n") || bytes[0] == 0x16 {
            return Some(text);
        }
    }
}

fn answer(status: u16, body: &str) -> String {
    let date = SystemClock.now().format("%a, %d %b %Y %H:%M:%S GMT");
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Some\r\ndate: {date}\r\ncontent-length: {length}\r\ncontent-type: application/xml\r\n\
         etag: \"e1\"\r\nconnection: close\r\n\r\n{body}"
    )
}

fn refusal(status: u16, code: &str, message: &str) -> String {
    answer(status, &format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
}

/// A page with one object below `logs/`.
fn page() -> String {
    answer(
        200,
        "<ListBucketResult><Name>acme</Name><Prefix>logs/</Prefix><IsTruncated>false</IsTruncated><Contents>\
         <Key>logs/one</Key><ETag>\"e1\"</ETag><Size>2</Size><LastModified>2026-06-01T00:00:00Z</LastModified>\
         </Contents></ListBucketResult>",
    )
}

const KEY_ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// What a server answers so that a request fails with a code of the table.
fn answer_of(code: &str) -> String {
    match code {
        "KMS.AccessDenied" => refusal(
            403,
            "AccessDenied",
            &format!(
                "User: arn:aws:iam::111122223333:user/s is not authorized to perform: kms:Decrypt on resource: {KEY_ARN} because no policy allows it"
            ),
        ),
        _ if code.starts_with("HTTP ") => answer(code[5..].parse().unwrap(), ""),
        before::VERSION_TWO => refusal(400, "InvalidArgument", "Unsupported Authorization Type"),
        "PermanentRedirect" => refusal(301, code, "use the other endpoint"),
        "SlowDown" | "ServiceUnavailable" => refusal(503, code, "busy"),
        "InternalError" => refusal(500, code, "accident"),
        "NoSuchBucket" | "NoSuchKey" => refusal(404, code, "not there"),
        "PreconditionFailed" => refusal(412, code, "another ETag"),
        "ExpiredToken" | "InvalidToken" | "AuthorizationHeaderMalformed" => refusal(400, code, "malformed"),
        _ if code.starts_with("KMS.") => refusal(400, code, "the key"),
        _ => refusal(403, code, "refused"),
    }
}

fn lines(findings: &Value) -> Vec<Value> {
    let own = findings["lines"].as_array().unwrap().iter();
    let sources = findings["sources"].as_array().unwrap().iter();
    own.chain(sources.flat_map(|source| source["lines"].as_array().unwrap())).cloned().collect()
}

fn line_of(findings: &Value, code: &str) -> Value {
    lines(findings)
        .into_iter()
        .find(|line| line["code"] == code)
        .unwrap_or_else(|| panic!("no {code} in {findings:#}"))
}

#[test]
fn each_code_of_the_table_is_explained() {
    let ours = [
        before::NO_CREDENTIALS,
        before::NAME_UNKNOWN,
        before::PROXY_UNKNOWN,
        before::PROXY_UNREACHABLE,
        before::PROXY_REFUSED,
        before::CERTIFICATE,
        before::TLS,
        before::NO_CONNECTION,
        before::TIMEOUT,
        before::BAD_REQUEST,
    ];
    for row in TABLE.iter().filter(|row| !ours.contains(&row.code)) {
        let of_get = matches!(row.stage, Stage::Object | Stage::Kms);
        let server = Answers::start(move |head| match head.contains("list-type=2") {
            true if of_get => page(),
            _ => answer_of(row.code),
        });
        let folder = tempfile::tempdir().unwrap();
        let path = configuration(folder.path(), &at(&server.url(), JSONL));
        let output = s3sweep().args(["check", "-vv", "--output", "json", "-c", &path]).output().unwrap();
        let findings = json(&output);
        let line = line_of(&findings, row.code);
        let detail = line["detail"].as_str().unwrap();
        assert!(detail.contains(row.meaning), "{}: {detail}", row.code);
        if row.stage == Stage::Credentials {
            assert!(detail.contains("access key AKIDEXAMPLE by the s3sweep configuration"), "{detail}");
        }
        let next = line["next"].as_str().unwrap();
        assert!(next.ends_with(row.next), "{}: {next}", row.code);
        assert_eq!(next != row.next, row.code == "AccessDenied", "it may be another bucket: {next}");
        let warned = matches!(row.code, "NoSuchKey" | "PreconditionFailed" | "InvalidObjectState");
        let (status, exit) = if warned { ("warning", 0) } else { ("failed", 3) };
        assert_eq!(
            (line["status"].as_str(), output.status.code()),
            (Some(status), Some(exit)),
            "{}",
            row.code
        );
        assert_eq!(findings["exit_code"], exit, "{}", row.code);
    }
}

#[test]
fn what_fails_before_an_answer_is_told_apart() {
    let server = Answers::start(|head| match head.starts_with("CONNECT") {
        true => answer(403, ""),
        false => page(),
    });
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    // a label of more than 63 letters is refused before any name server is asked
    let unknown = format!("http://{}.invalid", "x".repeat(64));
    let plain = format!("https://{}", server.address);
    for (code, endpoint, proxied) in [
        (before::NO_CONNECTION, format!("http://{nobody}"), None),
        (before::NAME_UNKNOWN, unknown, None),
        (before::TLS, plain, None),
        (before::PROXY_REFUSED, "https://s3.eu-west-1.example.net".to_owned(), Some(server.url())),
        (
            before::PROXY_UNREACHABLE,
            "https://s3.eu-west-1.example.net".to_owned(),
            Some(format!("http://{nobody}")),
        ),
        (
            before::PROXY_UNKNOWN,
            "https://s3.eu-west-1.example.net".to_owned(),
            Some(format!("http://{}.invalid:1", "x".repeat(64))),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = configuration(folder.path(), &at(&endpoint, &format!("{JSONL}\nallow_http = true")));
        let mut command = s3sweep();
        if let Some(proxy) = proxied {
            command.env("HTTPS_PROXY", proxy);
        }
        let output = command.args(["check", "--output", "json", "-c", &path]).output().unwrap();
        let line = line_of(&json(&output), code);
        assert_eq!(line["next"], advice::advice(code).unwrap().next, "{line}");
        let way = match code {
            before::PROXY_REFUSED | before::PROXY_UNREACHABLE => "The proxy is http://127.0.0.1:".to_owned(),
            before::PROXY_UNKNOWN => "The proxy is http://xxx".to_owned(),
            _ => format!("The endpoint is {endpoint}."),
        };
        assert!(line["detail"].as_str().unwrap().contains(&way), "{line}");
        assert_eq!((line["status"].as_str(), output.status.code()), (Some("failed"), Some(3)), "{code}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), "nothing").unwrap();
    let path = configuration(folder.path(), &at(&server.url(), &format!("{JSONL}\nca_bundle = \"ca.pem\"")));
    let output = s3sweep().args(["check", "--output", "json", "-c", &path]).output().unwrap();
    let line = line_of(&json(&output), before::BAD_REQUEST);
    assert!(line["detail"].as_str().unwrap().contains("ca_bundle"), "{line}");
    let source = format!(
        "endpoint_url = \"{}\"\npath_style = true\n{JSONL}\n[source.credentials]\nprofile = \"none\"",
        server.url()
    );
    let path = configuration(folder.path(), &source);
    let output = s3sweep().args(["check", "--output", "json", "-c", &path]).output().unwrap();
    let line = line_of(&json(&output), before::NO_CREDENTIALS);
    assert!(line["detail"].as_str().unwrap().contains("profile `none`"), "{line}");
}

#[test]
fn a_missing_permission_comes_with_its_statement() {
    for (asked, code, action, resource) in [
        ("list", "AccessDenied", "s3:ListBucket", "arn:aws:s3:::acme"),
        ("get", "AccessDenied", "s3:GetObject", "arn:aws:s3:::acme/logs*"),
        ("get", "KMS.AccessDenied", "kms:Decrypt", KEY_ARN),
    ] {
        let server = Answers::start(move |head| match (asked, head.contains("list-type=2")) {
            ("get", true) => page(),
            _ => answer_of(code),
        });
        let folder = tempfile::tempdir().unwrap();
        let path = configuration(folder.path(), &at(&server.url(), JSONL));
        let output = s3sweep().args(["check", "--output", "json", "-c", &path]).output().unwrap();
        let line = line_of(&json(&output), code);
        assert!(line["detail"].as_str().unwrap().contains(&format!("Missing action: {action}.")), "{line}");
        assert_eq!(line["statement"]["Action"], action);
        assert_eq!(line["statement"]["Resource"], resource);
        let output = s3sweep().args(["check", "-c", &path]).output().unwrap();
        no_secret(&output);
        let who = "accepted: access key AKIDEXAMPLE by the s3sweep configuration";
        assert!(out(&output).contains(who), "whose permission: {}", out(&output));
        let statement =
            out(&output).lines().find_map(|line| line.trim().strip_prefix("statement:")).map(str::to_owned);
        let statement: Value = serde_json::from_str(statement.unwrap().trim()).unwrap();
        assert_eq!(statement, line["statement"], "what a person sees is the same");
    }
}

/// Only before a LIST was answered.
#[test]
fn the_name_of_the_bucket_is_doubted_where_it_may_be_wrong() {
    type Refused = fn(&str) -> bool;
    for (case, is_refused, is_doubted) in [
        ("the first LIST", (|_| true) as Refused, true),
        ("a leaf's LIST", |head| head.contains("list-type=2") && !head.contains("max-keys=1&"), false),
        ("GET", |head| !head.contains("list-type=2"), false),
    ] {
        let server = Answers::start(move |head| match is_refused(head) {
            true => answer_of("AccessDenied"),
            false => page(),
        });
        let folder = tempfile::tempdir().unwrap();
        let path = configuration(folder.path(), &at(&server.url(), JSONL));
        let output = s3sweep().args(["check", "--output", "json", "-c", &path]).output().unwrap();
        let line = line_of(&json(&output), "AccessDenied");
        let next = line["next"].as_str().unwrap();
        assert_eq!(
            next.starts_with("See first that `bucket` is spelt right: `acme` may"),
            is_doubted,
            "{case}"
        );
        assert_eq!(next.contains("spelt"), is_doubted, "{case}: {next}");
    }
}

/// S3 tells a wrong one apart from a missing permission in no way.
#[test]
fn the_owner_that_is_expected_is_doubted_before_any_policy() {
    type Refused = fn(&str) -> bool;
    let owner = "See first that `expected_bucket_owner` (111122223333) is the account that owns the bucket: ";
    for (case, is_refused) in [
        ("the first LIST", (|_| true) as Refused),
        ("a leaf's LIST", |head| head.contains("list-type=2") && !head.contains("max-keys=1&")),
        ("GET", |head| !head.contains("list-type=2")),
    ] {
        for setting in ["expected_bucket_owner = \"111122223333\"", ""] {
            let server = Answers::start(move |head| match is_refused(head) {
                true => answer_of("AccessDenied"),
                false => page(),
            });
            let folder = tempfile::tempdir().unwrap();
            let path = configuration(folder.path(), &at(&server.url(), &format!("{JSONL}\n{setting}")));
            let output = s3sweep().args(["check", "--output", "json", "-c", &path]).output().unwrap();
            let line = line_of(&json(&output), "AccessDenied");
            let next = line["next"].as_str().unwrap();
            assert_eq!(next.starts_with(owner), !setting.is_empty(), "{case}: {next}");
            assert_eq!(next.contains("expected_bucket_owner"), !setting.is_empty(), "{case}: {next}");
            assert_eq!(next.contains("that `bucket` is spelt right"), case == "the first LIST", "{next}");
            assert!(next.ends_with(advice::advice("AccessDenied").unwrap().next), "{case}: {next}");
            assert!(next.matches("See first").count() <= 1, "{case}: {next}");
        }
    }
}

#[test]
fn one_of_a_kind_is_no_plural() {
    let server = Answers::start(|_| page());
    let folder = tempfile::tempdir().unwrap();
    let daily = JSONL.replace("logs/\"", "logs/{YYYY}\"\nrecurrence = \"60M\"");
    for source in [JSONL, &daily] {
        let path = configuration(folder.path(), &at(&server.url(), source));
        let output = s3sweep().args(["check", "-v", "-c", &path]).output().unwrap();
        let text = out(&output);
        assert!(text.contains("1 LIST request ") && text.contains("1 source in"), "{text}");
        for wrong in [" 1 LIST requests", " 1 leaves", " 1 sources", " 1 matching objects", " 1 minutes"] {
            assert!(!text.contains(wrong), "{wrong}: {text}");
        }
    }
}

const TRAIL: &str = "log_type = \"cloudtrail\"\nbucket = \"acme-trail\"";

/// Settings for the server's own key.
fn of_server(server: &S3Server, rest: &str) -> String {
    at(&server.endpoint_url(), rest)
        .replace("AKIDEXAMPLE", server.access_key_id())
        .replace(SECRET, server.secret_access_key())
        .replace(&format!("session_token = \"{TOKEN}\""), "")
}

fn put_trail(server: &S3Server, account: &str, region: &str, at: DateTime<Utc>) -> String {
    let day = at.format("%Y/%m/%d");
    let key = format!("AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_x.json.gz");
    server.put("acme-trail", &key, "bytes", at);
    key
}

async fn checked(path: &str) -> Value {
    let path = path.to_owned();
    let run = move || s3sweep().args(["check", "--output", "json", "-c", &path]).output().unwrap();
    json(&tokio::task::spawn_blocking(run).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_leaf_is_listed_and_read() {
    let server = S3Server::start(["acme-trail"]).await.unwrap();
    let now = SystemClock.now();
    put_trail(&server, "111122223333", "us-east-1", now - TimeDelta::days(1));
    put_trail(&server, "111122223333", "eu-west-1", now);
    put_trail(&server, "444455556666", "us-east-1", now - TimeDelta::days(90));
    let folder = tempfile::tempdir().unwrap();
    let path = configuration(
        folder.path(),
        &of_server(&server, &format!("{TRAIL}\nprefix = \"AWSLogs/*/CloudTrail/*\"")),
    );
    let before = server.counts().get();
    let findings = checked(&path).await;
    assert_eq!(findings["sources"][0]["leaves"], 3);
    assert_eq!(findings["exit_code"], 0);
    let of = |check: &str| -> Vec<(String, String)> {
        let own = lines(&findings).into_iter().filter(|line| line["check"] == check);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        own.map(|line| (text(&line["leaf"]), text(&line["status"]))).collect()
    };
    let leaf =
        |account: &str, region: &str| format!("AWSLogs/{account}/CloudTrail/{region}/{{YYYY}}/{{mm}}/{{dd}}");
    assert_eq!(
        of("list"),
        [
            (leaf("111122223333", "eu-west-1"), "ok".to_owned()),
            (leaf("111122223333", "us-east-1"), "ok".to_owned()),
            (leaf("444455556666", "us-east-1"), "warning".to_owned()),
        ]
    );
    assert_eq!(of("get").len(), 2);
    assert_eq!(server.counts().get() - before, 2, "one GET per leaf with objects");
    for check in ["configuration", "state", "sink", "dns", "credentials", "clock"] {
        assert!(of(check).iter().all(|(_, status)| status == "ok"), "{check} in {findings:#}");
        assert!(!of(check).is_empty(), "{check}");
    }
    assert_eq!(of("tls"), [], "plain HTTP");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_patterns_and_clocks_are_warned_of() {
    let server = S3Server::start(["acme-trail"]).await.unwrap();
    let now = SystemClock.now();
    put_trail(&server, "111122223333", "eu-west-1", now);
    let folder = tempfile::tempdir().unwrap();
    let warned = |findings: &Value, check: &str, fragment: &str| {
        let found = lines(findings).into_iter().any(|line| {
            let text = format!("{} {}", line["detail"], line["next"]);
            line["check"] == check && line["status"] == "warning" && text.contains(fragment)
        });
        assert!(found, "no {check} with {fragment:?} in {findings:#}");
    };

    let europe = format!("{TRAIL}\nprefix = \"AWSLogs/*/CloudTrail/eu-*\"");
    let path = configuration(folder.path(), &of_server(&server, &europe));
    server.bucket("acme-trail").set_clock(Some(now - TimeDelta::minutes(9)));
    let findings = checked(&path).await;
    warned(&findings, "coverage", "us-east-1");
    warned(&findings, "clock", "NTP");
    server.bucket("acme-trail").set_clock(None);

    // another source of the same bucket takes us-east-1
    let text = std::fs::read_to_string(&path).unwrap();
    let second = of_server(&server, &format!("{TRAIL}\nprefix = \"AWSLogs/*/CloudTrail/us-east-1\""));
    std::fs::write(&path, format!("{text}\n[[source]]\nname = \"second\"\n{second}\n")).unwrap();
    let findings = checked(&path).await;
    assert!(lines(&findings).iter().all(|line| line["check"] != "coverage"), "{findings:#}");

    let open =
        "log_type = \"jsonl\"\nbucket = \"acme-trail\"\nprefix = \"AWSLogs/\"\ntimestamp_field = \"t\"";
    let path = configuration(folder.path(), &of_server(&server, open));
    warned(&checked(&path).await, "cost", "288 a day");

    // what the bucket has instead
    let typo = format!("{TRAIL}\nprefix = \"AWSLog/*/CloudTrail/us-east-1\"");
    let path = configuration(folder.path(), &of_server(&server, &typo));
    warned(&checked(&path).await, "list", "the bucket's root has AWSLogs/");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_is_not_disturbed_and_nothing_is_made() {
    let server = S3Server::start(["acme-trail"]).await.unwrap();
    put_trail(&server, "111122223333", "us-east-1", SystemClock.now());
    let folder = tempfile::tempdir().unwrap();
    let path = configuration(
        folder.path(),
        &of_server(&server, &format!("{TRAIL}\nprefix = \"AWSLogs/*/CloudTrail/*\"")),
    );
    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    assert_eq!(checked(&path).await["exit_code"], 0);
    assert_eq!(names(), before, "no folder is made");
    let lock = StateLock::acquire(&folder.path().join("state")).unwrap();
    assert_eq!(checked(&path).await["exit_code"], 0);
    drop(lock);
    server.stop().await.unwrap();
}

#[test]
fn the_worst_line_decides_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let check = |source: &str, edit: &dyn Fn(String) -> String| {
        let path = configuration(folder.path(), source);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, edit(text)).unwrap();
        s3sweep().args(["check", "--output", "json", "-c", &path]).output().unwrap()
    };
    let mirror = folder.path().join("mirror");
    std::fs::create_dir(&mirror).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let there =
        format!("{JSONL}\nbucket = \"file://{}\"", mirror.display()).replace("bucket = \"acme\"\n", "");
    let gone = there.replace("mirror", "nowhere");
    let as_is = |text: String| text;
    for (case, output, exit) in [
        ("well", check(&there, &as_is), 0),
        ("a mistake", check(&there, &|text| text.replace("log_type", "lag_type")), 2),
        ("no bucket", check(&gone, &as_is), 3),
        ("no state", check(&gone, &|text| text.replace("\"state\"", "\"file\"")), 4),
        (
            "no sink",
            check(&gone, &|text| text.replace("\"out\"", "\"file\"").replace("\"state\"", "\"file\"")),
            5,
        ),
        ("no space", check(&there, &|text| text.replace("min_free = 0", "min_free = \"1024TiB\"")), 5),
    ] {
        let findings = json(&output);
        assert_eq!(output.status.code(), Some(exit), "{case}: {findings:#}");
        assert_eq!(findings["exit_code"], exit, "{case}");
    }
}

#[test]
fn the_documented_table_is_the_one_of_the_code() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md")).unwrap();
    assert!(text.contains(&advice::markdown()), "docs/errors.md should hold:\n{}", advice::markdown());
}
