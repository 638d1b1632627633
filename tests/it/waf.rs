//! WAF and other JSON logs, from inflated bytes to Interflow lines: on any JSON and any bytes.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use s3sweep::decode::json_lines::{JsonLinesDecoder, NO_FIELDS, WAF_FIELDS};
use s3sweep::decode::testing::{Item, for_each_record, split_all, split_in_chunks};
use s3sweep::encode::interflow::{InterflowSettings, encoder};
use s3sweep::encode::mask::HeaderMask;
use s3sweep::encode::{ENCODINGS, EncodeSettings, Encoding, Origin};
use s3sweep::record::LogType;
use s3sweep::record::waf::{PATHS, SECRET_HEADERS};

use super::any_json::{checked_line, objects, values, write};

const MAX_RECORD: usize = 1 << 20;
static ORIGIN: LazyLock<Origin> = LazyLock::new(|| Origin::new("b", "k", "e").at(3, 1_700_000_000_000));

/// Encodes all records of an inflated object, and checks what holds for every line.
fn encode(log_type: LogType, object: &[u8]) -> Vec<Value> {
    let settings = InterflowSettings { timestamp_field: Some("timestamp".to_owned()), ..Default::default() };
    let encoder = encoder(log_type, &settings).expect("settings of the tests are good");
    let mut lines = Vec::new();
    let mut decoder =
        JsonLinesDecoder::new(if log_type == LogType::Waf { &WAF_FIELDS } else { &NO_FIELDS }, MAX_RECORD);
    for_each_record(&mut decoder, object, |record| {
        let mut line = b"left alone".to_vec();
        encoder.encode(record, &ORIGIN, &mut line);
        let line = line.strip_prefix(b"left alone").expect("what stood in the buffer stays");
        lines.push(checked_line(log_type, line));
    })
    .expect("the object is sound");
    lines
}

/// The line of one record.
fn line(encoding: &Encoding, settings: &EncodeSettings, record: &str) -> String {
    let encoder = encoding.encoder(LogType::Waf, settings).expect("mapped");
    let mut line = Vec::new();
    let mut decoder = JsonLinesDecoder::new(&WAF_FIELDS, MAX_RECORD);
    for_each_record(&mut decoder, record.as_bytes(), |record| encoder.encode(record, &ORIGIN, &mut line))
        .expect("a record");
    String::from_utf8(line).expect("UTF-8")
}

/// The raw line of one record.
fn raw_line(object: &[u8]) -> Value {
    let raw = ENCODINGS.iter().find(|encoding| encoding.word == "raw").expect("known");
    let encoder = raw.encoder(LogType::Waf, &EncodeSettings::default()).expect("mapped");
    let mut line = Vec::new();
    let mut decoder = JsonLinesDecoder::new(&WAF_FIELDS, MAX_RECORD);
    for_each_record(&mut decoder, object, |record| encoder.encode(record, &ORIGIN, &mut line))
        .expect("sound");
    assert_eq!(line.iter().position(|byte| matches!(byte, b'\n' | b'\r')), Some(line.len() - 1), "one line");
    serde_json::from_slice(&line).expect("JSON")
}

/// A record with its secrets hidden, by serde_json alone.
fn hidden(mut record: Value) -> Value {
    let headers = record.pointer_mut("/httpRequest/headers").and_then(Value::as_array_mut);
    for header in headers.into_iter().flatten() {
        let is_secret = header["name"]
            .as_str()
            .is_some_and(|name| SECRET_HEADERS.iter().any(|secret| secret.eq_ignore_ascii_case(name.trim())));
        if is_secret && let Some(value) = header.get_mut("value") {
            *value = json!("REDACTED");
        }
    }
    record
}

/// Lists of headers, odd ones among them.
fn headers() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        proptest::sample::select(&SECRET_HEADERS[..]).prop_map(str::to_lowercase),
        proptest::sample::select(&["COOKIE", "Host", "user-agent", "Referer", "Cookie2"][..])
            .prop_map(str::to_owned),
        any::<String>(),
    ];
    let header = (name, values(PATHS), any::<bool>()).prop_map(|(name, value, has_value)| {
        if has_value { json!({"name": name, "value": value}) } else { json!({"name": name}) }
    });
    vec(prop_oneof![9 => header, 1 => values(PATHS)], 0..6).prop_map(Value::from)
}

/// A header of any members in any order, twins among them, as JSON; and whether one of its names is
/// secret. Values tell of a secret exactly when it is.
fn twin_header() -> impl Strategy<Value = (String, bool)> {
    let names: &'static [&'static str] = &[
        r#""name":"Cookie""#,
        r#""n\u0061me":" c\u006fokie""#,
        r#""name":"Host""#,
        r#""name":"user-agent""#,
        r#""name":7"#,
    ];
    let values: &'static [&'static str] = &[
        r#""value":"S""#,
        r#""v\u0061lue":"S\"}]""#,
        r#""value":["S",{"value":"S"}]"#,
        r#""x":{"value":1}"#,
    ];
    let member = prop_oneof![proptest::sample::select(names), proptest::sample::select(values)];
    (vec(member, 0..6), any::<bool>()).prop_map(|(members, blanks)| {
        let is_secret = members.iter().any(|member| member.to_lowercase().contains("okie"));
        let header = format!("{{{}}}", members.join(if blanks { " ,\n" } else { "," }));
        (header.replace('S', if is_secret { "s3cret" } else { "shown" }), is_secret)
    })
}

/// A record with a secret in a header, and where in it the secret stands.
fn with_secret() -> (Vec<u8>, std::ops::Range<usize>) {
    let record = concat!(
        r#"{"timestamp":1780315200000,"action":"ALLOW","labels":[{"name":"a"}],"httpRequest":{"headers":["#,
        r#"{"name":"Host","value":"h"},{"name":"Cookie","value":"s3cret"},{"name":"x","value":"y"}],"uri":"/a"}}"#,
    );
    let at = record.find("s3cret").expect("there");
    (record.as_bytes().to_vec(), at..at + 6)
}

/// Bytes that look much like lines of JSON, broken in every place.
fn soups() -> impl Strategy<Value = Vec<u8>> {
    let tokens: &'static [&'static [u8]] = &[
        b"{\"a\":\"x\"}",
        b"{\"a\":{\"b\":[1,{}]}}\n",
        b"{\n  \"a\": {\n  }\n}\n",
        b"{}",
        b"{",
        b"}",
        b"[",
        b"\n",
        b"\n{",
        b"\r\n",
        b"\"",
        b"\\",
        b":",
        b" ",
        b"x",
        b"\xEF\xBB\xBF",
        b"\xFF",
        b"\0",
        b"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    prop_oneof![
        9 => vec(proptest::sample::select(tokens), 0..30).prop_map(|tokens| tokens.concat()),
        1 => vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #[test]
    fn any_object_as_a_record(record in objects(PATHS, values(PATHS)), headers in headers(), style: u8) {
        let mut with_headers = record.clone();
        if let Some(object) = with_headers.as_object_mut() {
            let request = object.entry("httpRequest").or_insert_with(|| json!({}));
            match request.as_object_mut() {
                Some(request) => drop(request.insert("headers".to_owned(), headers)),
                None => *request = json!({"headers": headers}),
            }
        }
        for record in [record, with_headers] {
            let lines = encode(LogType::Waf, write(&record, style).as_bytes());
            prop_assert_eq!(lines.len(), 1);
            prop_assert_eq!(&lines[0]["aws"], &hidden(record.clone()));
            prop_assert_eq!(raw_line(write(&record, style).as_bytes()), hidden(record.clone()));
            let lines = encode(LogType::Jsonl, write(&record, style).as_bytes());
            prop_assert_eq!(lines.len(), 1);
            prop_assert_eq!(&lines[0]["aws"], &record);
        }
    }

    #[test]
    fn no_twin_of_a_secret_is_shown(
        headers in vec(twin_header(), 0..12), lists in 0..12usize,
        between in proptest::sample::select(&[",", r#"],"headers":["#, r#"]},"httpRequest":{"headers":["#,
            r#"],"h\u0065aders":["#, "],\n \"headers\" : ["][..]),
    ) {
        let list: Vec<&str> = headers.iter().map(|(header, _)| header.as_str()).collect();
        let (before, after) = list.split_at(lists.min(list.len()));
        let lists = match (before, after) {
            ([], _) | (_, []) if between == "," => list.join(","),
            _ => [before.join(","), after.join(",")].join(between),
        };
        let record = format!(r#"{{"httpRequest":{{"headers":[{lists}],"uri":"/a"}},"z":1}}"#);
        for encoding in ENCODINGS {
            let line = line(encoding, &EncodeSettings::default(), &record);
            prop_assert!(!line.contains("s3cret"), "{:?}: {}", encoding, line);
            if encoding.word != "cef" {
                for shown in headers.iter().filter(|(_, is_secret)| !is_secret) {
                    prop_assert!(line.contains(&shown.0.replace('\n', " ")), "{:?}: {}", encoding, line);
                }
            }
        }
    }

    #[test]
    fn a_byte_that_breaks_a_record_shows_no_secret(
        at in 0..300usize, byte in proptest::sample::select(&b"\"\\{}[],: x0\xFF"[..]), change in 0..4usize,
    ) {
        let (mut record, secret) = with_secret();
        let at = at % record.len();
        prop_assume!(!secret.contains(&at));
        match change {
            0 => record[at] = byte,
            1 => record.insert(at, byte),
            2 => drop(record.remove(at)),
            _ => record.truncate(at),
        }
        let object = [&with_secret().0[..], b"\n", &record, b"\n", &with_secret().0].concat();
        let split = split_all(&mut JsonLinesDecoder::new(&WAF_FIELDS, MAX_RECORD), &object);
        let mask = HeaderMask::new(&SECRET_HEADERS.map(str::to_owned));
        for (item, _) in split.items.iter().filter(|(item, _)| !matches!(item, Item::Record(_))) {
            let shown = String::from_utf8_lossy(&mask.hide_in_broken(item.raw())).into_owned();
            prop_assert!(!shown.contains("s3cret"), "{}", shown);
        }
    }

    #[test]
    fn objects_in_a_row(
        records in vec(objects(PATHS, values(PATHS)), 0..6), style: u8, between in 0..4usize,
        chunks in vec(0..60usize, 0..60),
    ) {
        let between = ["", "\n", " ", "\r\n\n"][between];
        let object: String = records.iter().map(|record| write(record, style) + between).collect();
        let split = split_in_chunks(&mut JsonLinesDecoder::new(&WAF_FIELDS, MAX_RECORD), object.as_bytes(), chunks);
        prop_assert_eq!((&split.damage, split.reasons().len()), (&None, 0));
        let got: Vec<Value> =
            split.records().into_iter().map(|raw| serde_json::from_slice(raw).expect("valid JSON")).collect();
        prop_assert_eq!(got, records);
    }

    #[test]
    fn any_bytes_in_any_windows(object in soups(), chunks in vec(0..40usize, 0..100), max in 2..40usize) {
        let whole = split_all(&mut JsonLinesDecoder::new(&WAF_FIELDS, max), &object);
        let pieces = split_in_chunks(&mut JsonLinesDecoder::new(&WAF_FIELDS, max), &object, chunks);
        prop_assert_eq!(&pieces, &whole);
        let mut before = 0;
        for (item, end) in &whole.items {
            prop_assert!(before < *end && *end <= object.len() && item.raw().len() <= max);
            if let Item::Record(raw) = item {
                prop_assert!(serde_json::from_slice::<serde_json::Map<String, Value>>(raw).is_ok());
            }
            before = *end;
        }
    }
}

/// One object: sound records, a broken one between them, bytes that begin in no record, and a record
/// that is cut; each has secrets.
const SECRETS: &str = concat!(
    r#"{"timestamp":1780315200000,"action":"ALLOW","httpRequest":{"clientIp":"192.0.2.1","headers":["#,
    r#"{"name":"Host","value":"shop.example"},{"name":"COOKIE","value":"session=s3cret"},"#,
    r#"{"name":"x-Amz-security-TOKEN","value":"s3cret"},{"name":"author\u0069zation","value":"Basic s3cret"},"#,
    r#"{"value":"a=s3cret; HttpOnly","name":"set-cookie"}],"uri":"/a"}}"#,
    "\n",
    r#"{"action":BLOCK,"httpRequest":{"headers":[{"name":"Cookie","value":"s3cret"},{"name":"b","value":"s3cret"}]}}"#,
    "\n",
    r#"{"action":"COUNT","httpRequest":{"uri":"/a","headers":[{"name":"cookie","value":"s3cret"}]}}"#,
    "\n",
    r#"s3cret"},{"name":"b"}]}}"#,
    "\n",
    r#"{"action":"BLOCK","httpRequest":{"headers":[{"name":"Cookie","value":"s3cret"#,
);

#[test]
fn no_secret_is_in_any_file() {
    for encoder in ["interflow", "raw", "cef"] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("bucket/waf")).unwrap();
        std::fs::write(path("bucket/waf/a.log"), SECRETS).unwrap();
        let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_780_315_200);
        std::fs::File::options()
            .write(true)
            .open(path("bucket/waf/a.log"))
            .unwrap()
            .set_modified(written)
            .unwrap();
        let config = format!(
            "state_dir = \"state\"\n[sink]\npath = \"out\"\nmin_free = 0\nencoder = \"{encoder}\"\n\
             dead_letter_path = \"dead.ndjson\"\n[[source]]\nname = \"main\"\nlog_type = \"waf\"\n\
             bucket = \"file://{}\"\nprefix = \"waf\"\nstart = \"all\"\n",
            path("bucket").display()
        );
        std::fs::write(path("s3sweep.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
        command.args(["once", "-c", "s3sweep.toml", "--report", "report.json", "-vv"]);
        let ran = command.env_clear().current_dir(folder.path()).output().expect("the binary is built");
        let shown = String::from_utf8_lossy(&ran.stderr).into_owned();
        let report: Value = serde_json::from_slice(&std::fs::read(path("report.json")).unwrap()).unwrap();
        let source = &report["sources"][0];
        assert_eq!(
            (&source["records"], &source["dead_letters"]),
            (&json!(2), &json!(3)),
            "{encoder}: {report}"
        );
        let mut files = vec![path("dead.ndjson"), path("report.json")];
        files.extend(std::fs::read_dir(path("out")).unwrap().map(|entry| entry.unwrap().path()));
        assert!(files.len() > 2, "{encoder}: a segment");
        for file in files {
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
            assert!(!text.contains("s3cret"), "{encoder}, {}: {text}", file.display());
        }
        assert!(!shown.contains("s3cret"), "{encoder}: {shown}");
        let dead = std::fs::read_to_string(path("dead.ndjson")).unwrap();
        assert_eq!((dead.lines().count(), dead.matches("REDACTED").count()), (3, 4), "{encoder}: {dead}");
        let mode = std::fs::metadata(path("dead.ndjson")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{encoder}: the dead letters are for their owner alone");
    }
}

#[test]
fn a_hidden_header_has_no_field_of_its_own() {
    let record = r#"{"httpRequest":{"uri":"/a","scheme":"https","headers":[{"name":"Host","value":"s3cret"},
        {"name":"user-agent","value":"s3cret"},{"name":"Referer","value":"s3cret"},{"name":"x","value":"shown"}]}}"#;
    let mask_headers = ["HOST", "User-Agent", "referer"].map(str::to_owned).to_vec();
    let settings = EncodeSettings {
        interflow: InterflowSettings { mask_headers, ..Default::default() },
        ..Default::default()
    };
    for encoding in ENCODINGS {
        let line = line(encoding, &settings, record);
        assert!(!line.contains("s3cret") && line.contains("/a"), "{encoding:?}: {line}");
    }
}
