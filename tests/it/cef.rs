//! CEF lines: of any record one line that reads back, and of all real records what an independent
//! parser (`cefp` of PyPI, in Python) makes of them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use s3sweep::decode::testing::{for_each_record, split_all};
use s3sweep::decode::{self, DecodeSettings};
use s3sweep::encode::{ENCODINGS, EncodeSettings, Encoding, Origin};
use s3sweep::record::LogType;
use s3sweep::record::{cloudtrail, vpcflow, waf};

use crate::any_json::{objects, values, write};

static ORIGIN: LazyLock<Origin> = LazyLock::new(|| Origin::new("b", "k", "e").at(3, 1_700_000_000_000));

fn encoding(word: &str) -> &'static Encoding {
    ENCODINGS.iter().find(|encoding| encoding.word == word).expect("known")
}

/// The lines of an inflated object, one for each record.
fn lines(word: &str, log_type: LogType, object: &[u8]) -> Vec<String> {
    let encoder = encoding(word).encoder(log_type, &EncodeSettings::default()).expect("mapped");
    let mut decoder = decode::decoder(log_type, &DecodeSettings::default()).expect("there");
    let mut lines = Vec::new();
    // What stands before damage counts.
    let _ = for_each_record(&mut *decoder, object, |record| {
        let mut out = b"left alone".to_vec();
        encoder.encode(record, &ORIGIN, &mut out);
        let line = String::from_utf8(out).expect("UTF-8");
        let line = line.strip_prefix("left alone").and_then(|line| line.strip_suffix('\n'));
        lines.push(line.expect("appended, and ended").to_owned());
    });
    lines
}

/// Header fields and pairs, read by the rules of the format alone.
fn read(line: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (mut header, mut rest) = (vec![String::new()], line.chars());
    while header.len() < 8 {
        let last = header.last_mut().expect("never empty");
        match rest.next().expect("a header has seven pipes") {
            '\\' => last.push(rest.next().expect("an escape has a second character")),
            '|' => header.push(String::new()),
            other => last.push(other),
        }
    }
    header.pop();
    let rest = rest.as_str();
    // A key is the letters and digits between a blank and an equals sign that is not escaped.
    let mut starts = Vec::new();
    let mut escaped = false;
    for (at, character) in rest.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' => starts.push((rest[..at].rfind(' ').map_or(0, |blank| blank + 1), at)),
            _ => {}
        }
    }
    let ends = starts.iter().skip(1).map(|(key, _)| key - 1).chain([rest.len()]);
    let pairs = starts.iter().zip(ends);
    (
        header,
        pairs.map(|((key, at), end)| (rest[*key..*at].to_owned(), unescape(&rest[at + 1..end]))).collect(),
    )
}

fn unescape(value: &str) -> String {
    let (mut text, mut rest) = (String::new(), value.chars());
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next().expect("an escape has a second character") {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                same @ ('\\' | '=') => text.push(same),
                other => panic!("no escape: \\{other} in {value}"),
            },
            other => text.push(other),
        }
    }
    text
}

fn check_line(line: &str) -> Map<String, Value> {
    assert!(!line.contains(['\n', '\r']), "one line: {line}");
    let (header, pairs) = read(line);
    assert_eq!((header[0].as_str(), header[1].as_str()), ("CEF:0", "Amazon"), "{line}");
    assert!(header.iter().all(|field| !field.is_empty()), "{line}");
    let count = pairs.len();
    let pairs: Map<String, Value> = pairs.into_iter().map(|(key, value)| (key, value.into())).collect();
    assert_eq!(pairs.len(), count, "a key stands twice: {line}");
    assert!(pairs.contains_key("devicePayloadId"), "{line}");
    pairs.iter().for_each(|(key, value)| check_type(key, value.as_str().expect("a text"), line));
    pairs
}

/// The types that the format gives to keys.
fn check_type(key: &str, value: &str, line: &str) {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let fits = match key {
        "spt" | "dpt" => value.parse::<u16>().is_ok(),
        "out" | "cn1" | "cn2" | "cn3" => {
            value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<i64>().is_ok()
        }
        "rt" | "start" | "end" | "deviceCustomDate1" => value.parse::<i64>().is_ok(),
        "deviceDirection" => matches!(value, "0" | "1"),
        "cfp1" => value.parse::<f64>().is_ok_and(f64::is_finite),
        "src" | "dst" => value.parse::<Ipv4Addr>().is_ok(),
        "c6a2" | "c6a3" => value.parse::<Ipv6Addr>().is_ok(),
        _ => true,
    };
    assert!(fits && !value.is_empty(), "{key} is {value:?}: {line}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_json_is_one_line_that_reads_back(
        trail in objects(cloudtrail::PATHS, values(cloudtrail::PATHS)),
        acl in objects(waf::PATHS, values(waf::PATHS)),
        message in any::<String>(),
        style in any::<u8>(),
    ) {
        let mut trail = trail;
        trail["errorMessage"] = message.clone().into();
        let object = write(&json!({ "Records": [trail] }), style);
        let [line] = &lines("cef", LogType::CloudTrail, object.as_bytes())[..] else { panic!("one record") };
        let pairs = check_line(line);
        if !matches!(message.as_str(), "" | "-") && message.len() <= 1023 {
            prop_assert_eq!(&pairs["msg"], &Value::from(message));
        }
        let [line] = &lines("cef", LogType::Waf, write(&acl, style).as_bytes())[..] else { panic!("one record") };
        check_line(line);
    }

    #[test]
    fn raw_lines_are_the_record(
        record in objects(cloudtrail::PATHS, values(cloudtrail::PATHS)),
        style in any::<u8>(),
    ) {
        let object = write(&json!({ "Records": [record] }), style);
        let [line] = &lines("raw", LogType::CloudTrail, object.as_bytes())[..] else { panic!("one record") };
        prop_assert!(!line.contains(['\n', '\r']));
        prop_assert_eq!(serde_json::from_str::<Value>(line).expect("JSON"), record);
    }

    #[test]
    fn any_flow_row_is_one_line(
        names in proptest::sample::subsequence(vpcflow::NAMES, 1..40).prop_shuffle(),
        cells in proptest::collection::vec(
            prop_oneof![1 => "[ -~ü|=\\\\]{0,12}", 2 => "[+-]?[0-9]{1,6}", 1 => "[0-9]{1,2}(\\.[0-9]{1,3}){3}", 1 => "(e|in)gress"], 40
        ),
    ) {
        let (header, cells) = (names.join(" "), &cells[..names.len()]);
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace(' ', "_")).collect();
        for line in lines("cef", LogType::VpcFlow, format!("{header}\n{}\n", cells.join(" ")).as_bytes()) {
            check_line(&line);
        }
    }
}

const PARSER: &str = "
import cefp, json, sys
for line in sys.stdin.buffer.read().decode().split('\\n')[:-1]:
    print(json.dumps(cefp.parse(line)))
";

/// What the parser makes of the lines; `None`, and a word why, where it is not installed.
fn parse(lines: &[String]) -> Option<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python");
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(arguments).env("PYTHONPATH", &folder).env("PYTHONIOENCODING", "utf-8");
        command
    };
    let there = python(&["-c", "import cefp"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        println!("skipped: no Python with cefp; pip install --target target/python cefp==0.0.2");
        return None;
    }
    let mut child =
        python(&["-c", PARSER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
    let mut stdin = child.stdin.take().expect("piped");
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()).expect("python reads"));
    let output = child.wait_with_output().expect("python ends");
    writer.join().expect("written");
    assert!(output.status.success(), "the parser failed");
    let parsed = String::from_utf8(output.stdout).expect("UTF-8");
    Some(parsed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// Keys whose values are texts of the record, with the place there.
fn texts(log_type: LogType) -> &'static [(&'static str, &'static str)] {
    match log_type {
        LogType::CloudTrail => &[
            ("duid", "/recipientAccountId"),
            ("cfp1", "/eventVersion"),
            ("cs1", "/requestParameters"),
            ("cs2", "/responseElements"),
            ("cs3", "/userIdentity/sessionContext/attributes/mfaAuthenticated"),
            ("deviceDnsDomain", "/awsRegion"),
            ("devicePayloadId", "/eventID"),
            ("fileId", "/userIdentity/principalId"),
            ("filePath", "/userIdentity/arn"),
            ("filePermission", "/userIdentity/accessKeyId"),
            ("fileType", "/userIdentity/type"),
            ("msg", "/errorMessage"),
            ("oldFileHash", "/userIdentity/sessionContext/sessionIssuer/accountId"),
            ("oldFileId", "/userIdentity/sessionContext/sessionIssuer/principalId"),
            ("oldFileName", "/userIdentity/sessionContext/sessionIssuer/userName"),
            ("oldFilePath", "/userIdentity/sessionContext/sessionIssuer/arn"),
            ("oldFileType", "/userIdentity/sessionContext/sessionIssuer/type"),
            ("reason", "/errorCode"),
            ("requestClientApplication", "/userAgent"),
            ("sproc", "/userIdentity/invokedBy"),
            ("suid", "/userIdentity/accountId"),
            ("suser", "/userIdentity/userName"),
        ],
        LogType::Waf => &[
            ("rt", "/timestamp"),
            ("act", "/action"),
            ("requestMethod", "/httpRequest/httpMethod"),
            ("cs1", "/webaclId"),
            ("cs3", "/httpSourceId"),
            ("cs4", "/httpSourceName"),
            ("reason", "/terminatingRuleType"),
        ],
        LogType::VpcFlow => &[
            ("act", "/action"),
            ("spt", "/srcport"),
            ("dpt", "/dstport"),
            ("out", "/bytes"),
            ("cn1", "/packets"),
            ("deviceExternalId", "/interface-id"),
            ("duid", "/account-id"),
            ("cs1", "/vpc-id"),
            ("cs2", "/subnet-id"),
            ("cs3", "/instance-id"),
        ],
        LogType::Jsonl => &[],
    }
}

/// Compares what the parser read with the record as serde_json reads it.
fn check_parsed(log_type: LogType, record: &Value, parsed: &Value, key: &str) {
    let pairs = &parsed["extension"];
    for (name, place) in texts(log_type) {
        let value = record
            .pointer(place)
            .filter(|value| !matches!(value.as_str(), Some("" | "-")) && !value.is_null());
        let said = pairs[name].as_str();
        match (value, said) {
            (None, None) => {}
            // made of the record's place
            (None, Some(said)) if *name == "devicePayloadId" && said.len() == 32 => {}
            (Some(Value::String(text)), Some(said)) => is_said(said, text, &format!("{key}: {name}")),
            (Some(value), Some(said)) if said.ends_with('…') => {
                is_said(said, &value.to_string(), &format!("{key}: {name}"));
            }
            (Some(value), Some(said)) => {
                assert_eq!(&serde_json::from_str::<Value>(said).expect("JSON"), value, "{key}: {name}");
            }
            other => panic!("{key}: {name}: {other:?}"),
        }
    }
    let address =
        ["/sourceIPAddress", "/httpRequest/clientIp", "/srcaddr"].iter().find_map(|at| record.pointer(at));
    let sent = ["src", "c6a2", "shost", "sourceServiceName"].map(|name| pairs.get(name));
    assert_eq!(sent.iter().flatten().count(), usize::from(address.is_some_and(|text| text != "-")), "{key}");
    assert!(sent.into_iter().flatten().all(|sent| Some(sent) == address), "{key}: {address:?}");
    check_made(log_type, record, pairs, key);
    if log_type == LogType::CloudTrail {
        let time = record["eventTime"].as_str().expect("real events have a time");
        let millis = chrono::DateTime::parse_from_rfc3339(time).expect("a time").timestamp_millis();
        assert_eq!(pairs["rt"], millis.to_string(), "{key}");
        assert_eq!(
            (&parsed["name"], &parsed["device"]["product"]),
            (&record["eventName"], &record["eventSource"])
        );
        let outcome = record.get("errorCode").and_then(Value::as_str);
        let said = pairs["outcome"].as_str().expect("real events have an outcome");
        assert!(
            outcome == Some(said) || outcome.is_none() && ["Success", "Failure"].contains(&said),
            "{key}"
        );
    }
}

/// A value is said in whole, or cut to the length of its key and marked.
fn is_said(said: &str, text: &str, place: &str) {
    match said.strip_suffix('…').filter(|_| said != text) {
        Some(start) => {
            assert!(text.starts_with(start) && (1_000..=4_000).contains(&said.len()), "{place}: {said}");
        }
        None => assert_eq!(said, text, "{place}"),
    }
}

/// The pairs of flow rows and web requests that are no copies of a member.
fn check_made(log_type: LogType, record: &Value, pairs: &Value, key: &str) {
    let text = |place: &str| record.pointer(place).and_then(Value::as_str).filter(|text| *text != "-");
    let header = |name: &str| {
        let headers = record.pointer("/httpRequest/headers").and_then(Value::as_array).into_iter().flatten();
        let found =
            headers.filter(|header| header["name"].as_str().is_some_and(|at| at.eq_ignore_ascii_case(name)));
        found.filter_map(|header| header["value"].as_str()).find(|text| !matches!(*text, "" | "-"))
    };
    let millis = |place: &str| text(place).map(|seconds| format!("{seconds}000"));
    let wants: Vec<(&str, Option<String>)> = match log_type {
        LogType::VpcFlow => vec![
            ("start", millis("/start")),
            ("end", millis("/end")),
            ("rt", millis("/end").or(millis("/start"))),
            ("dst", text("/dstaddr").filter(|text| !text.contains(':')).map(str::to_owned)),
            ("c6a3", text("/dstaddr").filter(|text| text.contains(':')).map(str::to_owned)),
            ("deviceDirection", text("/flow-direction").map(|text| u8::from(text == "egress").to_string())),
            (
                "proto",
                text("/protocol").map(|number| match number {
                    "1" => "icmp".to_owned(),
                    "6" => "tcp".to_owned(),
                    "17" => "udp".to_owned(),
                    other => other.to_owned(),
                }),
            ),
        ],
        LogType::Waf => vec![
            ("dhost", text("/httpRequest/host").or(header("host")).map(str::to_owned)),
            ("requestClientApplication", header("user-agent").map(str::to_owned)),
            (
                "cs2",
                record["labels"].as_array().filter(|labels| !labels.is_empty()).map(|labels| {
                    labels.iter().filter_map(|label| label["name"].as_str()).collect::<Vec<_>>().join(",")
                }),
            ),
        ],
        LogType::CloudTrail | LogType::Jsonl => Vec::new(),
    };
    for (name, want) in wants {
        match (want, pairs[name].as_str()) {
            (None, None) => {}
            (Some(want), Some(said)) => is_said(said, &want, &format!("{key}: {name}")),
            other => panic!("{key}: {name}: {other:?}"),
        }
    }
}

/// The records of an object, read without this project's decoders.
fn plain_records(log_type: LogType, object: &str) -> Vec<Value> {
    match log_type {
        LogType::CloudTrail => serde_json::from_str::<Value>(object).expect("JSON")["Records"]
            .as_array()
            .expect("a list")
            .clone(),
        LogType::Waf | LogType::Jsonl => {
            serde_json::Deserializer::from_str(object).into_iter().map(|value| value.expect("JSON")).collect()
        }
        LogType::VpcFlow => {
            let mut rows = object.lines().map(|line| line.split_whitespace());
            let names: Vec<_> = rows.next().expect("a header").collect();
            let rows = rows
                .map(|row| names.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), Value::from(cell))));
            let rows = rows.map(|row| Value::Object(row.collect()));
            rows.filter(|row| row["log-status"] == "OK" || row.get("log-status").is_none()).collect()
        }
    }
}

fn real_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if folder.join("index.jsonl").is_file() {
        return Some(folder);
    }
    println!("skipped: no real objects in {}", folder.display());
    None
}

fn inflate(stored: &[u8]) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    match stored.starts_with(&[0x1f, 0x8b]) {
        true => flate2::read::MultiGzDecoder::new(stored).read_to_string(&mut text).ok().map(|_| text),
        false => String::from_utf8(stored.to_vec()).ok(),
    }
}

#[test]
fn real_records_are_read_by_another_parser() {
    let Some(folder) = real_data() else { return };
    let index = std::fs::read_to_string(folder.join("index.jsonl")).expect("the index is readable");
    let (mut sent, mut records) = (Vec::new(), Vec::new());
    for row in index.lines() {
        let row: Value = serde_json::from_str(row).expect("a row of the index is JSON");
        let text = |name: &str| row[name].as_str().expect("rows are complete").to_owned();
        let log_type = match text("kind").as_str() {
            "cloudtrail" => LogType::CloudTrail,
            kind if kind.contains("waf") => LogType::Waf,
            kind if kind.contains("vpc") => LogType::VpcFlow,
            _ => continue,
        };
        let stored = std::fs::read(folder.join("s3").join(text("bucket")).join(text("key"))).expect("there");
        let Some(object) = inflate(&stored).filter(|object| !object.is_empty() && text("outcome") == "ok")
        else {
            continue;
        };
        let mut decoder = decode::decoder(log_type, &DecodeSettings::default()).expect("there");
        assert_eq!(split_all(&mut *decoder, object.as_bytes()).damage, None, "{}", text("key"));
        let originals = plain_records(log_type, &object);
        let lines = lines("cef", log_type, object.as_bytes());
        assert_eq!(lines.len(), originals.len(), "{}", text("key"));
        lines.iter().for_each(|line| drop(check_line(line)));
        records.extend(originals.into_iter().map(|record| (log_type, record, text("key"))));
        sent.extend(lines);
    }
    let of = |wanted| records.iter().filter(|(log_type, ..)| *log_type == wanted).count();
    let counts = [of(LogType::CloudTrail), of(LogType::VpcFlow), of(LogType::Waf)];
    assert!(counts[0] > 1000 && counts[1] > 50 && counts[2] > 30, "too few real records: {counts:?}");
    let Some(parsed) = parse(&sent) else { return };
    assert_eq!(parsed.len(), sent.len());
    for ((log_type, record, key), parsed) in records.iter().zip(&parsed) {
        check_parsed(*log_type, record, parsed, key);
    }
}
