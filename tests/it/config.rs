//! Configurations, right and wrong: what is typed, what it means, and what is said about mistakes.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use s3sweep::config::{
    self, BucketLocation, Config, ConfigError, Credentials, IpVersion, KeyOrder, Secret, SinkType, Start,
};
use s3sweep::encode::cef::{CefSettings, Outcome};

const MINUTE: Duration = Duration::from_secs(60);

/// A configuration with one source `main`; `extra` is added to it.
fn with(extra: &str) -> String {
    format!(
        r#"state_dir = "/var/lib/s3sweep"
[sink]
type = "file"
path = "/var/log/s3sweep"
[[source]]
name = "main"
log_type = "cloudtrail"
bucket = "acme-trail"
prefix = "AWSLogs/111122223333/CloudTrail/us-east-1"
{extra}
"#
    )
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    config::parse(PathBuf::from("/etc/s3sweep/s3sweep.toml"), text)
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("refused: {error}\n{text}"))
}

/// The message for a wrong configuration; everything that is wrong has one.
fn message(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

fn assert_all(case: &str, message: &str, fragments: &[&str]) {
    for fragment in fragments {
        assert!(message.contains(fragment), "{case}: no {fragment:?} in: {message}");
    }
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = good(&with(""));
    assert_eq!(config.history, 400 * 24 * 60 * MINUTE);
    assert_eq!(config.close_spread, 30 * MINUTE);
    assert!(!config.instance.is_empty());
    assert_eq!(config.sink.rotate_size, 256 << 20);
    assert_eq!(config.sink.rotate_every, MINUTE);
    assert_eq!(config.sink.min_free, 256 << 20);
    assert_eq!(config.sink.sink_timeout, 5 * MINUTE);
    assert_eq!(config.sink.dead_letter_path, PathBuf::from("/var/lib/s3sweep/dead-letter.ndjson"));
    assert_eq!((config.sink.keep_age, config.sink.keep_size), (None, None));
    assert_eq!((config.limits.list_concurrency, config.limits.get_concurrency), (8, 16));
    assert_eq!((config.limits.buffer_bytes, config.limits.max_record_bytes), (22 << 20, 16 << 20));
    assert_eq!((config.limits.max_object_bytes, config.limits.max_inflate_ratio), (16 << 30, 1_000));
    assert_eq!((config.limits.stall_timeout, config.limits.object_timeout), (MINUTE / 2, 60 * MINUTE));
    let timeouts = (config.limits.connect_timeout, config.limits.first_byte_timeout);
    assert_eq!(timeouts, (MINUTE / 12, MINUTE / 2));
    assert_eq!(config.limits.get_attempts, 4);
    assert_eq!(config.limits.commit_operations, 120);
    let source = &config.sources[0];
    assert!(source.enabled);
    assert_eq!(source.recurrence, 5 * MINUTE);
    assert_eq!(source.start, Start::Ago(24 * 60 * MINUTE));
    assert_eq!(source.lateness, 60 * MINUTE);
    assert_eq!(source.discover_every, 15 * MINUTE);
    assert_eq!(source.recheck, [1, 7, 30].map(|days| days * 24 * 60 * MINUTE));
    assert_eq!((source.max_attempts, source.list_page_size), (5, 1_000));
    assert_eq!(source.vendor_object, "aws");
    assert_eq!(source.timezone, chrono_tz::UTC);
    assert_eq!(source.file_pattern.as_str(), r".*\.json\.gz");
    assert!(source.file_pattern.is_match("a/b.json.gz"));
    assert!(!source.file_pattern.is_match("a/b.json.gz.tmp"));
    assert_eq!(config.warnings, [] as [&str; 0]);
}

#[test]
fn a_known_layout_is_completed_and_keeps_floors() {
    let config = good(&with(""));
    let source = &config.sources[0];
    assert_eq!(source.pattern.to_string(), "AWSLogs/111122223333/CloudTrail/us-east-1/{YYYY}/{mm}/{dd}");
    assert_eq!(source.key_order, KeyOrder::Time);
    let config = good(&with("").replace("AWSLogs/111122223333/CloudTrail/us-east-1", "exports/app-"));
    assert_eq!(config.sources[0].key_order, KeyOrder::None);
}

#[test]
fn each_log_type_has_its_files_and_settings() {
    let of = |log_type: &str, extra: &str| {
        good(&with(extra).replace("\"cloudtrail\"", &format!("\"{log_type}\""))).sources.remove(0)
    };
    let waf = of("waf", "");
    for (key, want) in [
        (
            "AWSLogs/1/WAFLogs/cloudfront/a/2026/01/31/10/05/1_waflogs_cloudfront_a_20260131T1005Z_0a1b.log.gz",
            true,
        ),
        ("mirror/1_waflogs_cloudfront_a_20260131T1005Z_0a1b.log", true),
        ("2026/01/31/10/aws-waf-logs-acme-1-2026-01-31-10-04-00-01234567-89ab-cdef-0123-456789abcdef", true),
        (
            "2026/01/31/10/aws-waf-logs-acme-1-2026-01-31-10-04-00-01234567-89ab-cdef-0123-456789abcdef.gz",
            true,
        ),
        (
            "2026/01/31/10/aws-waf-logs-acme-1-2026-01-31-10-04-00-01234567-89ab-cdef-0123-456789abcdef.parquet",
            false,
        ),
        ("AWSLogs/1/WAFLogs/", false),
        ("aws-waf-logs-acme/readme.txt", false),
    ] {
        assert_eq!(waf.file_pattern.is_match(key), want, "{key}");
    }
    assert_eq!(waf.mask_headers, ["Authorization", "Cookie", "X-Amz-Security-Token", "Set-Cookie"]);
    assert_eq!(of("waf", "mask_headers = []").mask_headers, [] as [&str; 0]);
    assert_eq!(of("waf", "mask_headers = [\"X-Api-Key\"]").mask_headers, ["X-Api-Key"]);

    let jsonl = of("jsonl", "timestamp_field = \"a.b\"");
    assert!(jsonl.file_pattern.is_match("any/key"));
    assert_eq!((jsonl.timestamp_field.as_deref(), jsonl.layout), (Some("a.b"), None));
    let config = good(&with("").replace("\"cloudtrail\"", "\"jsonl\""));
    assert!(config.warnings[0].contains("timestamp_field"), "{:?}", config.warnings);
}

#[test]
fn values_are_read_in_all_their_forms() {
    let config = good(&with(
        "recurrence = \"15 m\"\nstart = 2026-01-31\nlateness = \"0M\"\ntimezone = \"Europe/Berlin\"\nenabled = false",
    ));
    let source = &config.sources[0];
    assert_eq!(source.recurrence, 15 * MINUTE);
    assert_eq!(source.start, Start::At("2026-01-31T00:00:00Z".parse().unwrap()));
    assert_eq!(source.lateness, Duration::ZERO);
    assert_eq!(source.timezone, chrono_tz::Europe::Berlin);
    assert!(!source.enabled);
    let start = |text: &str| good(&with(&format!("start = {text}"))).sources[0].start;
    assert_eq!(start("\"all\""), Start::All);
    assert_eq!(start("\"2D\""), Start::Ago(Duration::from_secs(2 * 86_400)));
    assert_eq!(start("2026-01-31T10:00:00+01:00"), Start::At("2026-01-31T09:00:00Z".parse().unwrap()));
    let text = with("").replace("type = \"file\"\npath = \"/var/log/s3sweep\"", "type = \"stdout\"");
    let config = good(&text);
    assert_eq!((config.sink.sink_type, config.sink.path), (SinkType::Stdout, None));
    let text = with("").replace("acme-trail", "file:///srv/mirror");
    assert_eq!(good(&text).sources[0].bucket, BucketLocation::Dir("/srv/mirror".into()));
    let text = with("").replace("[sink]", "[limits]\nbuffer_bytes = 1048576\n[sink]\nrotate_size = \"1 GB\"");
    let config = good(&text);
    assert_eq!((config.limits.buffer_bytes, config.sink.rotate_size), (1 << 20, 1_000_000_000));
}

/// What is named may be a device or a pipe; what it gives is bounded.
#[test]
fn endless_files_are_refused_and_pipes_are_read() {
    let keys = "[source.credentials]\naccess_key_id = \"A\"\nsecret_access_key";
    let refused = message(&with(&format!("{keys} = {{ file = \"/dev/zero\" }}")));
    assert_all("a secret", &refused, &["secret_access_key", "/dev/zero", "more than 64 KiB", "name a file"]);
    let error = config::load(&[PathBuf::from("/dev/zero")]).expect_err("it never ends");
    let told = s3sweep::failure::chain(&error);
    assert_all("a configuration", &told, &["/dev/zero", "more than 4096 KiB", "name a file"]);

    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let written = pipe.clone();
    let writer = std::thread::spawn(move || std::fs::write(written, "SECRET\n").unwrap());
    let config = good(&with(&format!("{keys} = {{ file = \"{}\" }}", pipe.display())));
    writer.join().unwrap();
    let Credentials::Static { secret_access_key, .. } = &config.sources[0].access.credentials else {
        panic!("static credentials were given")
    };
    assert_eq!(secret_access_key.expose(), "SECRET", "a pipe, as a process substitution gives one");
}

#[test]
fn encoders_are_known_by_their_words() {
    for word in ["interflow", "cef", "raw"] {
        let config = good(&with("").replace("[sink]", &format!("[sink]\nencoder = \"{word}\"")));
        assert_eq!(config.sink.encoder.word, word);
    }
    let cef = "[sink]\nencoder = \"cef\"\ndevice_domain_key = \"deviceNtDomain\"\nevent_outcome = \"plain\"";
    let config = good(&with("").replace("[sink]", cef));
    assert_eq!(config.sink.cef.device_domain_key, "deviceNtDomain");
    assert_eq!(config.sink.cef.outcome, Outcome::Plain);
    let again = good(&config.render());
    assert_eq!(again.sink.cef, config.sink.cef);
    assert_eq!(good(&with("")).sink.cef, CefSettings::default());
}

const RULES: &str = r#"
[[source.include]]
name = "writes"
field = "readOnly"
equals = false
[[source.exclude]]
name = "own-network"
all = [
  { field = "sourceIPAddress", cidr = ["10.0.0.0/8", "fd00::/8"] },
  { field = "eventName", prefix = "Put" },
  { field = "requestParameters.bucketName", regex = "^tmp-" },
  { field = "errorCode", exists = false },
]
[[source.exclude]]
name = "accounts"
field = "recipientAccountId"
one_of = ["111122223333", 444455556666]
"#;

#[test]
fn rules_are_read_and_shown() {
    let config = good(&with(RULES));
    let shape = |config: &Config| {
        let filter = &config.sources[0].filter;
        (format!("{:?}", filter.include), format!("{:?}", filter.exclude))
    };
    let filter = &config.sources[0].filter;
    assert_eq!((filter.include.len(), filter.exclude.len()), (1, 2));
    assert_eq!((filter.exclude[0].name.as_str(), filter.exclude[0].conditions.len()), ("own-network", 4));
    assert_eq!(shape(&good(&config.render())), shape(&config), "what is shown means the same");
    let none = good(&with("")).sources[0].filter.clone();
    assert!(none.include.is_empty() && none.exclude.is_empty());
}

#[test]
fn wrong_rules_are_named_with_the_way_out() {
    for (case, old, new, fragments) in [
        (
            "unknown field",
            "\"readOnly\"",
            "\"readonly\"",
            &["source.main.include.writes.field", "did you mean `readOnly`"][..],
        ),
        ("far field", "\"readOnly\"", "\"dstport\"", &["no field \"dstport\"", "cloudtrail"]),
        ("no name", "name = \"writes\"", "", &["source.main.include.1.name", "missing"]),
        ("name with a blank", "\"writes\"", "\"all writes\"", &["include.all writes.name", "letters"]),
        ("reserved name", "\"writes\"", "\"not_included\"", &["not_included"]),
        ("two of a name", "\"writes\"", "\"accounts\"", &["source.main.exclude.accounts.name", "two rules"]),
        ("no field", "field = \"readOnly\"", "", &["source.main.include.writes.field", "missing"]),
        ("no test", "equals = false", "", &["source.main.include.writes", "0 tests", "`equals`"]),
        ("two tests", "equals = false", "equals = false\nprefix = \"f\"", &["2 tests"]),
        (
            "nothing",
            "field = \"readOnly\"\nequals = false",
            "",
            &["source.main.include.writes", "asks for nothing"],
        ),
        (
            "typo",
            "equals = false",
            "equal = false",
            &["source.main.include.writes.equal", "did you mean `equals`"],
        ),
        (
            "typo below",
            "prefix = \"Put\"",
            "prefx = \"Put\"",
            &["exclude.own-network.all.2.prefx", "did you mean `prefix`"],
        ),
        ("wrong expression", "^tmp-", "(tmp", &["exclude.own-network.all.3.regex", "no regular expression"]),
        ("wrong network", "10.0.0.0/8", "10.0.0.1/8", &["own-network.all.1.cidr", "10.0.0.0/8"]),
        ("no network", "\"fd00::/8\"", "\"ec2\"", &["\"ec2\" is not allowed", "2001:db8::/32"]),
        ("empty list", "[\"111122223333\", 444455556666]", "[]", &["one_of", "is empty"]),
        ("wrong type", "equals = false", "equals = 1.5", &["equals", "not float"]),
        ("a table", "[[source.include]]", "[source.include]", &["include"]),
    ] {
        assert!(RULES.contains(old), "{case}: nothing to replace");
        assert_all(case, &message(&with(&RULES.replacen(old, new, 1))), fragments);
    }
}

#[test]
fn relative_paths_are_taken_from_the_folder_of_the_file() {
    let config = good(&with("").replace("/var/lib/s3sweep", "state").replace("/var/log/s3sweep", "../out"));
    assert_eq!(config.state_dir, PathBuf::from("/etc/s3sweep/state"));
    assert_eq!(config.sink.path, Some(PathBuf::from("/etc/s3sweep/../out")));
}

#[test]
fn wrong_source_settings_are_named_with_the_way_out() {
    let long_name = format!("name = \"{}\"", "x".repeat(101));
    let replaced: &[(&str, &str, &str, &[&str])] = &[
        ("no name", "name = \"main\"", "", &["source.1.name", "missing", "line 5"]),
        ("name with a blank", "name = \"main\"", "name = \"a b\"", &["name", "\"a b\"", "digits"]),
        ("empty name", "name = \"main\"", "name = \"\"", &["source.1.name"]),
        ("name that is a folder", "name = \"main\"", "name = \"..\"", &["name"]),
        ("long name", "name = \"main\"", &long_name, &["1 to 100"]),
        (
            "wrong log type",
            "\"cloudtrail\"",
            "\"cloudtrial\"",
            &["log_type", "cloudtrial", "did you mean `cloudtrail`"],
        ),
        (
            "leading slash",
            "\"AWSLogs/1",
            "\"/AWSLogs/1",
            &["source.main.prefix", "/AWSLogs/1", "line 9, column 10"],
        ),
        ("no prefix", "prefix = ", "description = ", &["source.main.prefix", "missing"]),
        ("no bucket", "bucket = ", "description = ", &["source.main.bucket", "missing"]),
        (
            "bucket as address",
            "\"acme-trail\"",
            "\"s3://acme-trail/AWSLogs\"",
            &["bucket", "here: \"acme-trail\""],
        ),
        (
            "bucket as ARN",
            "\"acme-trail\"",
            "\"arn:aws-cn:s3:::acme-trail/AWSLogs\"",
            &["bucket", "here: \"acme-trail\""],
        ),
        ("another ARN", "\"acme-trail\"", "\"arn:aws:iam::111122223333:role/logs\"", &["bucket"]),
        ("relative directory", "\"acme-trail\"", "\"file://mirror\"", &["bucket", "absolute"]),
        ("bucket with a blank", "\"acme-trail\"", "\"acme trail\"", &["bucket"]),
        (
            "a recheck older than the history",
            "state_dir",
            "history = \"30D\"\nstate_dir",
            &["history", "recheck", "main", "contradict"],
        ),
    ];
    for (case, old, new, fragments) in replaced {
        let text = with("");
        assert!(text.contains(old), "{case}: nothing to replace");
        assert_all(case, &message(&text.replacen(old, new, 1)), fragments);
    }
    let added: &[(&str, &str, &[&str])] = &[
        (
            "seconds",
            "recurrence = \"30S\"",
            &["source.main.recurrence", "30S", "at least 1M", "line 10, column 14"],
        ),
        ("half minutes", "recurrence = \"90S\"", &["recurrence", "whole minutes"]),
        ("nothing", "recurrence = \"0M\"", &["recurrence", "at least 1M"]),
        ("a number", "recurrence = 5", &["source.main.recurrence", "integer `5`", "a text in quotes"]),
        (
            "typo",
            "recurence = \"5M\"",
            &["source.main.recurence", "did you mean `recurrence`", "line 10, column 1"],
        ),
        ("setting of another table", "rotate_size = \"1MiB\"", &["belongs to [sink]"]),
        ("wrong start", "start = \"yesterdayish\"", &["source.main.start", "yesterdayish", "\"all\""]),
        ("start without zone", "start = 2026-01-31T10:00:00", &["start", "2026-01-31T10:00:00Z"]),
        ("start as number", "start = 5", &["start", "not integer"]),
        ("wrong expression", "file_pattern = \"*.gz\"", &["file_pattern", "*.gz", "repetition operator"]),
        ("page size 0", "list_page_size = 0", &["list_page_size", "from 1 to 1000"]),
        ("page size 1001", "list_page_size = 1001", &["list_page_size", "1001"]),
        ("negative number", "max_attempts = -1", &["max_attempts", "-1"]),
        ("wrong zone", "timezone = \"Europe/Berln\"", &["timezone", "did you mean \"Europe/Berlin\""]),
        ("wrong word", "key_order = \"tim\"", &["key_order", "did you mean `time`"]),
        ("wrong age", "recheck = [\"1D\", \"soon\"]", &["recheck", "soon", "column 18"]),
        ("empty vendor object", "vendor_object = \"\"", &["vendor_object"]),
        (
            "no header",
            "mask_headers = [\"Cookie\", \"a b\"]",
            &["mask_headers", "\"a b\"", "names of headers"],
        ),
        ("time of CloudTrail", "timestamp_field = \"eventTime\"", &["timestamp_field", "log_type", "jsonl"]),
        (
            "taken vendor object",
            "vendor_object = \"msg_class\"",
            &["vendor_object", "msg_class", "Interflow"],
        ),
        ("no protocol", "endpoint_url = \"s3.example.net\"", &["endpoint_url", "https://"]),
        ("other protocol", "endpoint_url = \"ftp://s3.example.net\"", &["endpoint_url", "https://"]),
        ("no host", "endpoint_url = \"https:///x\"", &["endpoint_url"]),
        (
            "jitter beyond",
            "recurrence = \"5M\"\njitter = \"6M\"",
            &["main.jitter", "contradicts", "recurrence`, which is 5M"],
        ),
        ("a long delay", "startup_delay = \"1H\"", &["main.startup_delay", "contradicts", "main.recurrence"]),
        ("a price below nothing", "list_price = -0.1", &["main.list_price", "from 0 to 1000"]),
        ("no price", "get_price = nan", &["main.get_price", "USD"]),
        ("eps", "eps_throttle = 1000000001", &["eps_throttle", "from 0 to 1000000000"]),
        ("eps below", "eps_throttle = -5", &["eps_throttle", "`-5`, expected a whole number, 0 or more"]),
        ("eps as text", "eps_throttle = \"5\"", &["eps_throttle", "expected a whole number, 0 or more"]),
        ("a number for a text", "description = 5", &["description", "`5`, expected a text in quotes"]),
        ("a text for a word", "enabled = \"yes\"", &["enabled", "expected true or false"]),
        (
            "plain HTTP",
            "endpoint_url = \"http://s3.example.net\"",
            &["source.main.endpoint_url", "not encrypted", "allow_http"],
        ),
        (
            "plain HTTP to STS",
            "[source.credentials]\nsts_endpoint_url = \"http://sts.example.net\"",
            &["credentials.sts_endpoint_url", "allow_http"],
        ),
        (
            "fips elsewhere",
            "use_fips = true\nendpoint_url = \"https://s3.example.net\"",
            &["source.main.use_fips", "contradicts `endpoint_url`"],
        ),
        (
            "dual stack elsewhere",
            "dual_stack = true\nendpoint_url = \"https://s3.example.net\"",
            &["source.main.dual_stack", "contradicts `endpoint_url`"],
        ),
        ("owner", "expected_bucket_owner = \"1\"", &["expected_bucket_owner", "12 digits"]),
        ("empty bundle", "ca_bundle = \"\"", &["ca_bundle", "empty"]),
        ("ip version", "ip_version = \"5\"", &["ip_version", "\"auto\" or \"4\" or \"6\""]),
        ("IPv6 without addresses", "ip_version = \"6\"", &["ip_version", "dual_stack"]),
        ("proxy without address", "[source.proxy]\nno_proxy = \"*\"", &["source.main.proxy.url", "missing"]),
        ("no proxy", "[source.proxy]\nurl = \"proxy:3128\"", &["source.main.proxy.url", "http://"]),
        ("port without host", "[source.proxy]\nurl = \"http://:3128\"", &["proxy.url", "host"]),
        (
            "user without password",
            "[source.proxy]\nurl = \"http://p:1\"\nuser = \"u\"",
            &["proxy.user", "`password`"],
        ),
        (
            "user without password in the address",
            "[source.proxy]\nurl = \"http://u@p:1\"",
            &["proxy.url", "without password"],
        ),
        (
            "password without user",
            "[source.proxy]\nurl = \"http://p:1\"\npassword = \"x\"",
            &["proxy.password", "`user`"],
        ),
        (
            "two users",
            "[source.proxy]\nurl = \"http://u:x@p:1\"\nuser = \"u\"\npassword = \"x\"",
            &["proxy.url", "`user`"],
        ),
        ("SOCKS", "[source.proxy]\nurl = \"socks5://p:1080\"", &["proxy.url", "SOCKS", "CONNECT"]),
        (
            "NTLM",
            "[source.proxy]\nurl = \"http://p:1\"\ndomain = \"ACME\"",
            &["proxy.domain", "NTLM", "Basic"],
        ),
        ("no role", "[source.credentials]\nrole_arn = \"logs\"", &["credentials.role_arn", "arn:aws:iam::"]),
        ("empty list", "[source.credentials]\nrole_arn = []", &["credentials.role_arn", "arn:aws:iam::"]),
        ("session name", "[source.credentials]\nrole_session_name = \"x\"", &["`role_arn`"]),
        ("duration alone", "[source.credentials]\nrole_duration = \"1H\"", &["`role_arn`"]),
        ("external id", "[source.credentials]\nexternal_id = \"x\"", &["`role_arn`"]),
        (
            "bad session name",
            "[source.credentials]\nrole_arn = \"arn:aws:iam::111122223333:role/a\"\nrole_session_name = \"a b\"",
            &["role_session_name", "a b"],
        ),
        (
            "short session",
            "[source.credentials]\nrole_arn = \"arn:aws:iam::111122223333:role/a\"\nrole_duration = \"14M\"",
            &["role_duration", "from 15M"],
        ),
        (
            "long session",
            "[source.credentials]\nrole_arn = \"arn:aws:iam::111122223333:role/a\"\nrole_duration = \"13H\"",
            &["role_duration", "12H"],
        ),
        (
            "long chain",
            "[source.credentials]\nrole_arn = [\"arn:aws:iam::111122223333:role/a\", \
             \"arn:aws:iam::111122223333:role/b\"]\nrole_duration = \"2H\"",
            &["role_duration", "role_arn", "one hour"],
        ),
        ("token alone", "[source.credentials]\nweb_identity_token_file = \"t\"", &["`role_arn`"]),
        (
            "token and external id",
            "[source.credentials]\nweb_identity_token_file = \"t\"\nexternal_id = \"x\"\n\
             role_arn = \"arn:aws:iam::111122223333:role/a\"",
            &["external_id", "web_identity_token_file"],
        ),
        (
            "token and profile",
            "[source.credentials]\nweb_identity_token_file = \"t\"\nprofile = \"p\"",
            &["web_identity_token_file", "profile", "contradict"],
        ),
        (
            "key without secret",
            "[source.credentials]\naccess_key_id = \"A\"",
            &["access_key_id", "secret_access_key"],
        ),
        (
            "secret without key",
            "[source.credentials]\nsecret_access_key = \"A\"",
            &["access_key_id", "secret_access_key"],
        ),
        ("token alone", "[source.credentials]\nsession_token = \"A\"", &["session_token", "access_key_id"]),
        (
            "profile and key",
            "[source.credentials]\nprofile = \"a\"\naccess_key_id = \"A\"\nsecret_access_key = \"B\"",
            &["profile", "access_key_id", "contradict"],
        ),
        (
            "no variable",
            "[source.credentials]\naccess_key_id = \"A\"\nsecret_access_key = { env = \"S3SWEEP_NOT_SET\" }",
            &["S3SWEEP_NOT_SET"],
        ),
        (
            "no file",
            "[source.credentials]\naccess_key_id = \"A\"\nsecret_access_key = { file = \"none\" }",
            &["/etc/s3sweep/none"],
        ),
        ("placeholder", "tenant_name = \"CHANGE_ME\"", &["source.main.tenant_name", "CHANGE_ME", "line 10"]),
        (
            "two sources of a name",
            &with("").split("[[source]]").nth(1).map(|s| format!("[[source]]{s}")).unwrap_or_default(),
            &["\"main\"", "line 6", "line 11"],
        ),
    ];
    for (case, extra, fragments) in added {
        assert_all(case, &message(&with(extra)), fragments);
    }
}

#[test]
fn a_wildcard_among_dates_contradicts_time_order() {
    let text = with("key_order = \"time\"")
        .replace("AWSLogs/111122223333/CloudTrail/us-east-1", "logs/{YYYY}/*/{mm}/{dd}");
    assert_all("wildcard", &message(&text), &["source.main.key_order", "source.main.prefix"]);
    let text = text.replace("{YYYY}/*/{mm}/{dd}", "{YYYY}/{mm}/{dd}/*");
    assert_eq!(good(&text).sources[0].key_order, KeyOrder::Time);
}

#[test]
fn wrong_top_and_sink_settings_are_named() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("no TOML", "[sink]", "[sink", &["s3sweep.toml", "line 2", "no TOML"]),
        ("no state", "state_dir = \"/var/lib/s3sweep\"", "", &["state_dir", "missing"]),
        ("empty state", "\"/var/lib/s3sweep\"", "\" \"", &["state_dir", "empty"]),
        ("typo", "state_dir", "statedir", &["statedir", "did you mean `state_dir`"]),
        ("single brackets", "[[source]]", "[source]", &["[[source]]"]),
        ("no path", "path = \"/var/log/s3sweep\"", "", &["sink.path", "missing"]),
        ("stdout with path", "type = \"file\"", "type = \"stdout\"", &["sink.path", "sink.type", "stdout"]),
        ("wrong sink", "type = \"file\"", "type = \"fiel\"", &["sink.type", "did you mean `file`"]),
        (
            "encoder",
            "[sink]",
            "[sink]\nencoder = \"ceff\"",
            &["sink.encoder", "\"interflow\" or \"cef\" or \"raw\"", "did you mean `cef`"],
        ),
        (
            "CEF with another encoder",
            "[sink]",
            "[sink]\nevent_outcome = \"plain\"",
            &["sink.event_outcome", "contradicts `sink.encoder` = \"interflow\""],
        ),
        (
            "no mapping of the log type",
            "[sink]",
            "[defaults]\nlog_type = \"jsonl\"\n[[source]]\nname = \"other\"\nbucket = \"acme\"\nprefix = \"p\"\n\
             [sink]\nencoder = \"cef\"",
            &["source.other.log_type", "contradicts `sink.encoder`", "encoder cef has no mapping", "jsonl"],
        ),
        (
            "domain key",
            "[sink]",
            "[sink]\nencoder = \"cef\"\ndevice_domain_key = \"deviceDNSDomain\"",
            &["sink.device_domain_key", "did you mean `deviceDnsDomain`"],
        ),
        ("wrong size", "[sink]", "[sink]\nrotate_size = \"lots\"", &["sink.rotate_size", "lots", "256MiB"]),
        ("negative size", "[sink]", "[sink]\nmin_free = -1", &["sink.min_free", "a size such as"]),
        ("wrong unit", "[sink]", "[sink]\nrotate_every = \"1Y\"", &["sink.rotate_every", "1Y"]),
        ("limit", "[sink]", "[limits]\nget_concurrency = 0\n[sink]", &["limits.get_concurrency", "from 1"]),
        (
            "no time",
            "[sink]",
            "[limits]\nstall_timeout = \"0M\"\n[sink]",
            &["limits.stall_timeout", "from 1S"],
        ),
        (
            "no time",
            "[sink]",
            "[limits]\nobject_timeout = \"0M\"\n[sink]",
            &["limits.object_timeout", "from 1S"],
        ),
        (
            "more than a batch holds",
            "[sink]",
            "[limits]\ncommit_operations = 121\n[sink]",
            &["limits.commit_operations", "from 1 to 120"],
        ),
        (
            "wrong limit",
            "[sink]",
            "[limits]\nget_concurency = 1\n[sink]",
            &["did you mean `get_concurrency`"],
        ),
        ("name as default", "[sink]", "[defaults]\nname = \"x\"\n[sink]", &["defaults.name"]),
        (
            "typo in defaults",
            "[sink]",
            "[defaults]\nregoin = \"x\"\n[sink]",
            &["defaults.regoin", "`region`"],
        ),
        (
            "table as text",
            "[sink]\ntype = \"file\"\npath = \"/var/log/s3sweep\"",
            "sink = 5",
            &["`sink`", "integer"],
        ),
    ];
    for (case, old, new, fragments) in cases {
        let text = with("");
        assert!(text.contains(old), "{case}: nothing to replace");
        assert_all(case, &message(&text.replacen(old, new, 1)), fragments);
    }
    assert_all("no source", &message("state_dir = \"/s\"\n[sink]\npath = \"/o\""), &["[[source]]"]);
}

#[test]
fn all_mistakes_are_shown_at_once_in_the_order_of_the_file() {
    let text =
        with("recurrence = \"1S\"").replace("[sink]", "[sink]\nencoder = \"xml\"").replace("state_dir", "#");
    let Err(ConfigError::Wrong(mistakes)) = parse(&text) else { panic!("accepted") };
    let settings: Vec<_> = mistakes.iter().map(|mistake| mistake.setting.as_str()).collect();
    assert_eq!(settings, ["state_dir", "sink.encoder", "source.main.recurrence"]);
}

#[test]
fn defaults_reach_every_source_and_yield_to_its_own() {
    let text = with("region = \"eu-west-1\"").replace(
        "[[source]]",
        "[defaults]\nregion = \"us-east-1\"\nlateness = \"2H\"\ncredentials = { profile = \"p\" }\n[[source]]",
    ) + "[[source]]\nname = \"second\"\nlog_type = \"cloudtrail\"\nbucket = \"other\"\nprefix = \"x\"\n\
         credentials = { access_key_id = \"A\", secret_access_key = \"B\" }\n";
    let config = good(&text);
    let regions: Vec<_> = config.sources.iter().map(|source| source.access.region.as_deref()).collect();
    assert_eq!(regions, [Some("eu-west-1"), Some("us-east-1")]);
    assert!(config.sources.iter().all(|source| source.lateness == 120 * MINUTE));
    assert!(matches!(&config.sources[0].access.credentials, Credentials::Profile(name) if name == "p"));
    assert!(matches!(&config.sources[1].access.credentials, Credentials::Static { .. }));
    let wrong = text.replace("lateness = \"2H\"", "lateness = \"2X\"");
    assert_eq!(message(&wrong).matches("2X").count(), 1, "one mistake in [defaults] is told once");
}

#[test]
fn several_files_make_one_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let base = write(
        "0-base.toml",
        "state_dir = \"state\"\n[sink]\npath = \"out\"\n[defaults]\nlateness = \"3H\"\n",
    );
    let source = |name: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nlog_type = \"cloudtrail\"\nbucket = \"{name}\"\nprefix = \"x\"\n"
        )
    };
    let one = write("1.toml", &source("one"));
    write("2.toml", &source("two"));
    let config = config::load(&[folder.path().to_owned()]).unwrap();
    let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(config.state_dir, folder.path().join("state"));
    assert_eq!(config.sources[1].lateness, 180 * MINUTE);
    assert_eq!(config.files.len(), 3);
    assert_eq!(config::load(&[base.clone(), one.clone()]).unwrap().sources.len(), 1);

    write("3.toml", &format!("{}[sink]\npath = \"else\"\n", ""));
    let error = config::load(&[folder.path().to_owned()]).unwrap_err().to_string();
    assert_all("two sinks", &error, &["`sink`", "3.toml, line 1", "0-base.toml"]);
    write("3.toml", &source("one"));
    let error = config::load(&[folder.path().to_owned()]).unwrap_err().to_string();
    assert_all("two of a name", &error, &["\"one\"", "3.toml, line 2", "1.toml, line 2"]);
    let missing = folder.path().join("none.toml");
    let error = config::load(std::slice::from_ref(&missing)).unwrap_err();
    assert!(matches!(error, ConfigError::Read { path, .. } if path == missing));
}

#[test]
fn odd_but_usable_settings_give_warnings() {
    let written = |encoder: &str, extra: &str| {
        with(extra).replacen("type = \"file\"", &format!("type = \"file\"\nencoder = \"{encoder}\""), 1)
    };
    let overlap = with(
        "[[source]]\nname = \"twin\"\nlog_type = \"cloudtrail\"\nbucket = \"acme-trail\"\nprefix = \"AWSLogs/*/CloudTrail/us-east-1\"",
    );
    for (case, text, fragments) in [
        ("zone", with("timezone = \"Europe/Berlin\""), &["main", "Europe/Berlin", "UTC"][..]),
        ("overlap", overlap.clone(), &["main", "twin", "overlap", "acme-trail"]),
        (
            "raw",
            written("raw", "tenant_name = \"a\"\ntenantid = \"1\"\ncust_id = \"2\"\nvendor_object = \"v\""),
            &["main", "`tenantid`, `tenant_name`, `cust_id`, `vendor_object`:", "\"raw\"", "\"interflow\""],
        ),
        ("cef", written("cef", "free_form = \"string\""), &["main", "of `free_form`:", "\"cef\""]),
    ] {
        let warnings = good(&text).warnings;
        assert_eq!(warnings.len(), 1, "{case}: {warnings:?}");
        assert_all(case, &warnings[0], fragments);
    }
    let said = "tenant_name = \"a\"\nfree_form = \"string\"";
    assert_eq!(good(&written("interflow", said)).warnings, [] as [&str; 0]);
    let defaults = "vendor_object = \"aws\"\nfree_form = \"object\"";
    assert_eq!(good(&written("raw", defaults)).warnings, [] as [&str; 0], "as `config show` writes them");
    let apart = overlap.replace("AWSLogs/*/CloudTrail/us-east-1", "AWSLogs/*/CloudTrail/eu-west-1");
    assert_eq!(good(&apart).warnings, [] as [&str; 0]);
    let elsewhere = overlap.replacen("\"acme-trail\"", "\"other\"", 1);
    assert_eq!(good(&elsewhere).warnings, [] as [&str; 0]);
}

#[test]
fn sources_are_selected_by_name() {
    let text =
        with("[[source]]\nname = \"second\"\nlog_type = \"cloudtrail\"\nbucket = \"other\"\nprefix = \"x\"");
    let mut config = good(&text);
    config.select(&[]).unwrap();
    assert_eq!(config.sources.len(), 2);
    config.select(&["second".into()]).unwrap();
    assert_eq!(config.sources[0].name, "second");
    let error = good(&text).select(&["secnd".into()]).unwrap_err().to_string();
    assert_all("unknown", &error, &["secnd", "did you mean `second`", "main, second"]);
}

const ACCESS: &str = r#"
use_fips = true
dual_stack = true
ip_version = "6"
requester_pays = true
expected_bucket_owner = "111122223333"
ca_bundle = "ca"
[source.credentials]
profile = "p"
role_arn = ["arn:aws:iam::111122223333:role/hop", "arn:aws:iam::444455556666:role/logs"]
role_session_name = "nightly"
role_duration = "30M"
external_id = "hunter2hunter2"
sts_endpoint_url = "https://sts.example.net"
[source.proxy]
url = "http://proxy.example.net:3128/"
user = "u"
password = "hunter2hunter2"
no_proxy = ["10.0.0.0/8", ".example.org"]
"#;

const TOKEN: &str = r#"
endpoint_url = "http://s3.example.net"
allow_http = true
[source.credentials]
web_identity_token_file = "/run/token"
role_arn = "arn:aws:iam::111122223333:role/logs"
"#;

#[test]
fn every_way_in_is_read() {
    let access = good(&with(ACCESS)).sources.remove(0).access;
    assert!(access.use_fips && access.dual_stack && access.requester_pays && !access.allow_http);
    assert_eq!(access.ip_version, IpVersion::V6);
    assert_eq!(access.expected_bucket_owner.as_deref(), Some("111122223333"));
    assert_eq!(access.ca_bundle, Some("/etc/s3sweep/ca".into()));
    assert_eq!(access.sts_endpoint_url.as_deref(), Some("https://sts.example.net"));
    let roles = access.roles.unwrap();
    assert_eq!(roles.arns.len(), 2);
    assert_eq!((roles.session_name.as_str(), roles.duration), ("nightly", Some(30 * MINUTE)));
    assert_eq!(roles.external_id, Some(Secret::new(HIDDEN.into())));
    assert_eq!(access.proxy.no_proxy.as_deref(), Some("10.0.0.0/8,.example.org"));
    let server = access.proxy.https.unwrap();
    assert_eq!(server.url, "http://proxy.example.net:3128");
    assert_eq!(server.login, Some(("u".into(), Secret::new(HIDDEN.into()))));

    let access = good(&with(TOKEN)).sources.remove(0).access;
    assert!(matches!(&access.credentials, Credentials::WebIdentity(path) if path.ends_with("run/token")));
    let roles = access.roles.unwrap();
    assert_eq!((roles.session_name.as_str(), roles.duration, roles.external_id), ("s3sweep", None, None));
    assert_eq!((access.allow_http, access.endpoint_url.as_deref()), (true, Some("http://s3.example.net")));

    let limits = "[limits]\nconnect_timeout = \"2S\"\nfirst_byte_timeout = \"3S\"\nget_attempts = 9\n[sink]";
    let limits = good(&with("").replace("[sink]", limits)).limits;
    assert_eq!((limits.connect_timeout.as_secs(), limits.first_byte_timeout.as_secs()), (2, 3));
    assert_eq!(limits.get_attempts, 9);
}

#[test]
fn what_is_rendered_is_the_same_configuration() {
    for text in [
        with(""),
        with(
            "start = \"2026-01-31T10:00:00.5Z\"\nrecheck = []\nfile_pattern = 'a|b\"'\ntenant_name = \"a\\nb\"",
        ),
        with("[source.credentials]\nprofile = \"p\""),
        with(ACCESS),
        with(TOKEN),
        with("").replace("type = \"file\"\npath = \"/var/log/s3sweep\"", "type = \"stdout\""),
        with("timezone = \"Europe/Berlin\"\nendpoint_url = \"http://[::1]:9000\"\npath_style = true")
            .replace("AWSLogs/111122223333/CloudTrail/us-east-1", "p///YYYY///m=///mm///x"),
    ] {
        let rendered = good(&text).render();
        assert_eq!(good(&rendered).render(), rendered, "from:\n{text}");
        let json: serde_json::Value = serde_json::from_str(&good(&text).render_json()).unwrap();
        assert_eq!(json["source"][0]["name"], "main");
    }
    assert!(
        good(&with("")).render().contains("us-east-1/{YYYY}/{mm}/{dd}"),
        "the completed pattern is shown"
    );
}

const HIDDEN: &str = "hunter2hunter2";

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{HIDDEN}\r\n")).unwrap();
    for shown in [good(&with(ACCESS)).render(), format!("{:?}", good(&with(ACCESS)))] {
        assert!(!shown.contains(HIDDEN), "{shown}");
        assert!(shown.contains("[secret]"), "{shown}");
    }
    let given = [
        format!("secret_access_key = \"{HIDDEN}\"\nsession_token = \"{HIDDEN}\""),
        format!("secret_access_key = {{ file = \"{}\" }}", file.display()),
    ];
    for secret in given {
        let config = good(&with(&format!("[source.credentials]\naccess_key_id = \"AKIA\"\n{secret}")));
        let Credentials::Static { secret_access_key, .. } = &config.sources[0].access.credentials else {
            panic!("no static credentials")
        };
        assert_eq!(secret_access_key.expose(), HIDDEN);
        for shown in [format!("{config:?}"), format!("{config:#?}"), config.render(), config.render_json()] {
            assert!(!shown.contains(HIDDEN), "{shown}");
            assert!(shown.contains("[secret]"), "{shown}");
        }
    }
}

#[test]
fn no_message_quotes_a_secret() {
    for extra in [
        "[source.credentials]\nsecret_access_key = hunter2hunter2",
        "[source.credentials]\nsecret_access_key = \"hunter2hunter2",
        "[source.credentials]\nsecret_acess_key = \"hunter2hunter2\"",
        "[source.credentials]\nsecret_access_key = [\"hunter2hunter2\"]",
        "[source.credentials]\naccess_key_id = \"A\"\nsecret_access_key = { value = \"hunter2hunter2\" }",
        "[source.credentials]\naccess_key_id = \"A\"\nsecret_access_key = { env = [\"hunter2hunter2\"] }",
        "[source.credentials]\nsecret_access_key = \"hunter2hunter2\"",
        "[source.credentials]\nprofile = \"p\"\nsecret_access_key = \"hunter2hunter2\"",
        "[source.credentials]\nexternal_id = \"hunter2hunter2\"",
        "[source.credentials]\nrole_arn = [\"hunter2hunter2\"]",
        "credentials = \"hunter2hunter2\"",
        "credentials = [\"hunter2hunter2\"]",
        "secret_access_key = \"hunter2hunter2\"",
        "[source.proxy]\nurl = \"http://u:hunter2hunter2@p\"\npassword = \"hunter2hunter2\"",
        "[source.proxy]\nurl = \"http://u:hunter2hunter2@\"",
        "[source.proxy]\nurl = \"u:hunter2hunter2@p\"",
        "[source.proxy]\nurl = \"http://p:1\"\npassword = \"hunter2hunter2\"",
        "[source.credentials]\nrole_arn = \"hunter2hunter2\"",
        "[source.proxy]\nuser = [\"hunter2hunter2\"]",
        "proxy = \"http://u:hunter2hunter2@p\"",
        "endpoint_url = \"https://u:hunter2hunter2@s3.example.net\"",
        "endpoint_url = \"u:hunter2hunter2@s3.example.net\"",
        "endpoint_url = \"HTTPS://u:hunter2hunter2@s3.example.net\"",
        "endpoint_url = \"https:/u:hunter2hunter2@s3.example.net\"",
        "endpoint_url = \"s3://u:hunter2hunter2@bucket\"",
        "endpoint_url = \"https://u:hunter2/hunter2@s3.example.net\"",
        "[source.credentials]\nsts_endpoint_url = \"https//u:hunter2hunter2@sts.example.net\"",
    ] {
        let text = with(extra);
        let error = parse(&text).expect_err(extra);
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("hunter2"), "{extra}: {shown}");
        }
    }
    for number in ["12345678", "-12345678", "1234.5678", "99999999999999999999", "true", "1979-05-27"] {
        let text =
            with(&format!("[source.credentials]\naccess_key_id = \"A\"\nsecret_access_key = {number}"));
        let error = message(&text);
        assert!(!error.contains(number.trim_start_matches('-')), "{number}: {error}");
        assert_all(number, &error, &["secret_access_key"]);
    }
}

#[test]
fn the_examples_of_the_readme_load() {
    for page in [include_str!("../../README.md"), include_str!("../../docs/access.md")] {
        let blocks = page.split("```toml\n").skip(1);
        let examples: Vec<&str> =
            blocks.map(|rest| rest.split("```").next().expect("split gives at least one part")).collect();
        assert!(!examples.is_empty(), "the page shows a configuration");
        for example in examples {
            let config = good(example);
            assert_eq!(config.warnings, [] as [&str; 0], "{example}");
        }
    }
}

/// Texts that are TOML more often than chance has it.
fn settings() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "name",
        "bucket",
        "prefix",
        "start",
        "recheck",
        "credentials",
        "proxy",
        "recurrence",
        "list_page_size",
        "file_pattern",
        "timezone",
        "endpoint_url",
        "vendor_object",
        "path_style",
        "source",
        "sink",
        "x.y",
        "credentials.secret_access_key",
        "key_order",
        "log_type",
    ]);
    let value = prop_oneof![
        "\"[^\"\\\\\\x00-\\x1f]{0,12}\"",
        "-?[0-9]{1,20}",
        Just("true".to_owned()),
        Just("2026-01-31T10:00:00Z".to_owned()),
        Just("{ env = \"NO\\u0000NE\" }".to_owned()),
        Just("{ file = \"/\" }".to_owned()),
        Just("[[1], {a = 2}]".to_owned()),
        "\\PC{0,8}",
    ];
    prop::collection::vec((key, value), 0..6)
        .prop_map(|lines| lines.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect())
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_settings_panic(extra in settings(), top in settings()) {
        let _ = parse(&with(&extra));
        let _ = parse(&format!("{top}{}", with(&extra)));
        let _ = parse(&with("").replace("[sink]", &format!("[defaults]\n{extra}[sink]\n{top}")));
    }
}
