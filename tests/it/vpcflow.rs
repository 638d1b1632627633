//! VPC flow logs from stored bytes to lines: any rows, and real objects through the binary.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use s3sweep::decode::DecodeSettings;
use s3sweep::decode::testing::{Item, for_each_record, split_all, split_in_chunks};
use s3sweep::decode::vpcflow::VpcFlowDecoder;
use s3sweep::encode::interflow::InterflowSettings;
use s3sweep::encode::interflow::vpcflow::VpcFlowEncoder;
use s3sweep::encode::{Encoder, Origin};
use s3sweep::record::json::each_member;
use s3sweep::record::vpcflow::NAMES;

static ORIGIN: LazyLock<Origin> = LazyLock::new(|| Origin::new("b", "k\"ü", "e").at(3, 1_700_000_000_000));

fn decoder(max_record_bytes: usize) -> VpcFlowDecoder {
    VpcFlowDecoder::new(&DecodeSettings { max_record_bytes, keep_nodata: true })
}

/// The lines of an object's rows, up to its damage; checks what holds for every line.
fn encode(object: &[u8]) -> Vec<Value> {
    let encoder = VpcFlowEncoder::new(&InterflowSettings::default()).expect("settings of the tests are good");
    let mut lines = Vec::new();
    // Damage ends the object; the lines before it count.
    let _ = for_each_record(&mut decoder(1 << 20), object, |record| {
        let mut line = b"left alone".to_vec();
        encoder.encode(record, &ORIGIN, &mut line);
        let line = line.strip_prefix(b"left alone").expect("what stood in the buffer stays");
        lines.push(checked_line(line));
    });
    lines
}

fn checked_line(line: &[u8]) -> Value {
    let text = std::str::from_utf8(line).expect("a line is UTF-8");
    let text = text.strip_suffix('\n').expect("a line ends in a newline");
    assert!(!text.contains(['\n', '\r']), "one line: {text}");
    distinct(text, false);
    let line: Value = serde_json::from_str(text).expect("a line is JSON");
    distinct(&line["aws"].to_string(), true);
    assert!(line["timestamp"].is_i64() && line["write_time"].is_i64(), "{text}");
    for name in ["srcip", "dstip", "srcip_original", "dstip_original"] {
        if let Some(address) = line[name].as_str() {
            address.parse::<std::net::IpAddr>().expect("an address");
        }
    }
    for name in ["srcport", "dstport", "proto", "outpkts_delta", "outbytes_total", "duration"] {
        assert!(line[name].is_null() || line[name].is_u64(), "{name}: {text}");
    }
    line
}

/// No name stands twice, and blank values are left out.
fn distinct(object: &str, vendor: bool) {
    let mut names = BTreeSet::new();
    each_member(object, |name, value| {
        assert!(names.insert(name.to_owned()), "{name} stands twice: {object}");
        let blank = matches!(value, "null" | "\"\"" | "\"-\"") || (value == "{}" && name != "aws");
        assert!(!blank, "{name} is blank: {object}");
    })
    .unwrap_or_else(|error| panic!("vendor {vendor}: {error}: {object}"));
}

/// Cells that the mapping treats in their own ways, and any other.
fn cells() -> impl Strategy<Value = String> {
    let special: &'static [&'static str] = &[
        "-",
        "",
        "0",
        "6",
        "007",
        "-1",
        "99999999999999999999",
        "1418530010",
        "99999999999",
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "2001:db8::1",
        "fe80::1%eth0",
        "1.2.3",
        "ACCEPT",
        "REJECT",
        "OK",
        "NODATA",
        "SKIPDATA",
        "ingress",
        "egress",
        "IPv4",
        "IPv6",
        "EFA",
        "a%20b",
        "%",
        "%0A%00",
        "%C3%BC",
        "%FF",
        "\"",
        "\\",
        "}",
        "grün",
        "\u{2028}",
        "\t",
        "\u{0}",
        "63",
    ];
    prop_oneof![4 => proptest::sample::select(special).prop_map(str::to_owned), 1 => any::<String>()]
}

fn headers() -> impl Strategy<Value = Vec<String>> {
    let known = proptest::sample::subsequence(NAMES, 1..=NAMES.len()).prop_shuffle();
    (known, vec("[a-z]{1,6}[-_][a-z0-9]{1,6}", 0..3), any::<bool>()).prop_map(
        |(known, others, underscores)| {
            let spell = |name: &str| if underscores { name.replace('-', "_") } else { name.to_owned() };
            known.into_iter().map(spell).chain(others).collect()
        },
    )
}

/// Bytes that look much like flow objects, broken in every place.
fn soups() -> impl Strategy<Value = Vec<u8>> {
    let tokens: &'static [&'static [u8]] = &[
        b"version srcaddr log-status\n",
        b"srcaddr\n",
        b"2 10.0.0.1 OK\n",
        b"2 - NODATA\n",
        b"2",
        b" ",
        b"-",
        b"\n",
        b"\r\n",
        b"\r",
        b"version",
        b"10.0.0.1",
        b"\xFF",
        b"\0",
        b"\xEF\xBB\xBF",
        b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    prop_oneof![
        vec(proptest::sample::select(tokens), 0..30).prop_map(|tokens| tokens.concat()),
        vec(proptest::sample::select(tokens), 0..30).prop_map(|tokens| [
            b"version srcaddr log-status\n",
            &tokens.concat()[..]
        ]
        .concat()),
        vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #[test]
    fn any_cells_below_any_header(header in headers(), rows in vec(vec(cells(), 90), 1..4)) {
        let rows: Vec<_> = rows.iter().map(|row| row[..header.len()].join(" ")).collect();
        let object = format!("{}\n{}", header.join(" "), rows.join("\n"));
        let split = split_all(&mut decoder(1 << 20), object.as_bytes());
        let records = split.items.iter().filter(|(item, _)| matches!(item, Item::Record(_))).count();
        prop_assert_eq!(encode(object.as_bytes()).len(), records);
    }

    #[test]
    fn any_bytes_as_a_row(row in vec(any::<u8>(), 0..200), columns in 1..20usize) {
        let object = [NAMES[..columns].join(" ").as_bytes(), b"\n", &row].concat();
        encode(&object);
    }

    #[test]
    fn any_bytes_in_any_windows(object in soups(), chunks in vec(0..40usize, 0..100), max in 2..60usize) {
        let whole = split_all(&mut decoder(max), &object);
        let pieces = split_in_chunks(&mut decoder(max), &object, chunks);
        prop_assert_eq!(&pieces, &whole);
        prop_assert!(whole.records().iter().all(|record| record.len() <= max && !record.contains(&b'\n')));
        encode(&object);
    }

    /// A known value is found under its field or the vendor object, wherever its column stands.
    #[test]
    fn columns_may_stand_in_any_order(header in headers(), seed in 1..9_000u32) {
        let value = |at: usize| (seed as usize + at).to_string();
        let row: Vec<_> = (0..header.len()).map(value).collect();
        let object = format!("{}\n{}\n", header.join(" "), row.join(" "));
        let split = split_all(&mut decoder(1 << 20), object.as_bytes());
        if split.damage.is_some() {
            return Ok(()); // two of the made-up names are the same
        }
        let line = &encode(object.as_bytes())[0];
        for (at, name) in header.iter().enumerate() {
            let text = value(at);
            let number: u64 = text.parse().expect("digits");
            match name.replace('_', "-").as_str() {
                "srcport" => prop_assert_eq!(line["srcport"].as_u64(), Some(number)),
                "bytes" => prop_assert_eq!(line["totalbytes"].as_u64(), Some(number)),
                "start" => prop_assert_eq!(line["start_time"].as_u64(), Some(number * 1000)),
                "vpc-id" => prop_assert_eq!(line["aws"]["vpcId"].as_str(), Some(&*text)),
                "srcaddr" => prop_assert_eq!(line["aws"]["srcaddr"].as_str(), Some(&*text)),
                _ => {}
            }
        }
    }
}

#[test]
fn fixtures_end_as_they_should() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let manifest = std::fs::read(fixtures.join("vpcflow.json")).expect("the list of the fixtures");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let is_read = |row: &&Value| {
        cfg!(feature = "parquet") || row["key"].as_str().is_some_and(|key| key.ends_with(".gz"))
    };
    let objects: Vec<_> = manifest["objects"].as_array().expect("a list").iter().filter(is_read).collect();
    let sum = |name: &str| objects.iter().map(|row| row[name].as_u64().expect("a count")).sum::<u64>();
    let site = Site::new();
    for row in &objects {
        let key = row["key"].as_str().expect("a key");
        site.put(key, &std::fs::read(fixtures.join("vpcflow").join(key)).expect("there"));
    }
    let (report, lines) = (site.once(""), site.lines());
    for (at, source) in report["sources"].as_array().expect("two sources").iter().enumerate() {
        let hive = |row: &&&Value| row["key"].as_str().is_some_and(|key| key.contains("aws-service="));
        let own: Vec<_> = objects.iter().filter(|row| hive(row) == (at == 1)).collect();
        for outcome in ["collected", "empty", "quarantined"] {
            let want = own.iter().filter(|row| row["outcome"] == outcome).count() as u64;
            assert_eq!(source["objects"][outcome].as_u64(), Some(want), "{outcome}: {source}");
        }
        for name in ["records", "dropped", "dead_letters"] {
            let want = own.iter().map(|row| row[name].as_u64().expect("a count")).sum::<u64>();
            assert_eq!(source[name].as_u64(), Some(want), "{name}: {source}");
        }
    }
    assert_eq!(lines.len() as u64, sum("records"));
    let custom = lines.iter().find(|line| line["aws"]["laterColumn"] == "x").expect("the row of own columns");
    assert_eq!(
        (
            &custom["srcip"],
            &custom["srcip_original"],
            &custom["tcp_flags_name"],
            &custom["aws"]["instanceTag"]
        ),
        (&"10.0.0.1".into(), &"192.0.2.7".into(), &"SYN|ACK|FIN".into(), &"team a ü".into())
    );
}

/// The folder of real objects, when it is there.
fn real_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if folder.join("index.jsonl").is_file() {
        return Some(folder);
    }
    println!("skipped: no real objects in {}", folder.display());
    None
}

#[test]
fn real_objects_end_as_they_should() {
    let Some(data) = real_data() else { return };
    let index = std::fs::read_to_string(data.join("index.jsonl")).expect("the index is readable");
    let rows: Vec<Value> = index.lines().map(|row| serde_json::from_str(row).expect("JSON")).collect();
    let flows: Vec<_> = rows.iter().filter(|row| row["kind"] == "vpcflow").collect();
    assert!(flows.len() >= 4, "the index has flow objects");

    let site = Site::new();
    for row in &flows {
        let (bucket, key) = (row["bucket"].as_str().expect("a name"), row["key"].as_str().expect("a key"));
        site.put(key, &std::fs::read(data.join("s3").join(bucket).join(key)).expect("there"));
    }
    let (report, lines) = (site.once("keep_nodata = true"), site.lines());
    let ends = |outcome: &str| flows.iter().filter(|row| row["outcome"] == outcome).count();
    let objects = &report["sources"][0]["objects"];
    for (name, outcome) in [("collected", "ok"), ("empty", "empty"), ("quarantined", "error")] {
        assert_eq!(objects[name].as_u64(), Some(ends(outcome) as u64), "{name}: {report}");
    }
    let mut records: BTreeMap<String, u64> = BTreeMap::new();
    for line in &lines {
        *records.entry(line["s3"]["key"].as_str().expect("a key").to_owned()).or_default() += 1;
    }
    for row in flows {
        let key = row["key"].as_str().expect("a key");
        assert_eq!(
            records.get(key).copied().unwrap_or_default(),
            row["events"].as_u64().expect("a count"),
            "{key}"
        );
    }
}

/// A place for the binary: a bucket in a folder, swept as two sources, one for the default layout
/// and one for the Hive-compatible.
pub struct Site(tempfile::TempDir);

impl Site {
    pub fn new() -> Self {
        Site(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Puts an object that is no longer being written.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let to = self.path().join("bucket").join(key);
        std::fs::create_dir_all(to.parent().expect("a key has folders")).expect("made");
        std::fs::write(&to, bytes).expect("written");
        let written = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_750_000_000);
        let file = std::fs::OpenOptions::new().write(true).open(&to).expect("there");
        file.set_modified(written).expect("no longer being written");
    }

    /// Writes the configuration; `settings` are lines of both sources, or a table of its own.
    pub fn configure(&self, settings: &str) {
        let (table, settings) =
            if settings.starts_with('[') { (settings, "") } else { ("[limits]", settings) };
        let source = |name: &str, prefix: &str| {
            format!(
                "[[source]]\nname = \"{name}\"\nlog_type = \"vpcflow\"\nbucket = \"file://{}/bucket\"\n\
                 prefix = \"{prefix}\"\nstart = \"all\"\n{settings}\n",
                self.path().display()
            )
        };
        let config = format!(
            "state_dir = \"state\"\n[sink]\npath = \"out\"\nmin_free = 0\n{table}\n\
             commit_bytes = \"64KiB\"\nbuffer_bytes = \"512KiB\"\n{}{}",
            source("default", "AWSLogs/*/vpcflowlogs/*"),
            source("hive", "AWSLogs/aws-account-id=*/aws-service=vpcflowlogs/aws-region=*")
        );
        std::fs::write(self.path().join("s3sweep.toml"), config).expect("written");
    }

    /// The binary, to sweep once.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3sweep"));
        command.args(["once", "-c", "s3sweep.toml", "--now", "2026-06-10T00:00:00Z"]);
        command.args(["--report", "report.json"]);
        command.env_clear().current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Sweeps once and returns the report.
    pub fn once(&self, settings: &str) -> Value {
        self.configure(settings);
        let ran = self.command().output().expect("the binary is built");
        assert!(matches!(ran.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&ran.stderr));
        let report = std::fs::read(self.path().join("report.json")).expect("a report");
        serde_json::from_slice(&report).expect("JSON")
    }

    /// The lines of the finished segments, oldest first.
    pub fn lines(&self) -> Vec<Value> {
        let mut segments: Vec<_> = names(&self.path().join("out"));
        segments.retain(|name| name.ends_with(".ndjson"));
        segments.sort();
        let read = |name: &String| std::fs::read_to_string(self.path().join("out").join(name)).expect("text");
        let text: String = segments.iter().map(read).collect();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// The names in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect()
}
