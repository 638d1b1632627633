//! From stored bytes to Interflow lines: inflate, decode and encode together, on made-up shapes,
//! on any JSON and any bytes, and on real objects where they are at hand.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::io::AsyncReadExt;

use s3sweep::decode::cloudtrail::{CloudTrailDecoder, PATHS};
use s3sweep::decode::inflate::{FileType, InflateError, InflateLimits, reader};
use s3sweep::decode::testing::{Item, for_each_record, split_all, split_in_chunks};
use s3sweep::encode::interflow::InterflowSettings;
use s3sweep::encode::interflow::cloudtrail::CloudTrailEncoder;
use s3sweep::encode::{Encoder, Origin};
use s3sweep::record::LogType;

use super::any_json::{checked_line, objects, values, write};

const MAX_RECORD: usize = 1 << 20;
static ORIGIN: LazyLock<Origin> = LazyLock::new(|| Origin::new("b", "k", "e").at(3, 1_700_000_000_000));

/// Encodes all records of an inflated object, and checks what holds for every line.
fn encode(object: &[u8], settings: &InterflowSettings) -> Vec<Value> {
    let encoder = CloudTrailEncoder::new(settings).expect("settings of the tests are good");
    let mut lines = Vec::new();
    let mut decoder = CloudTrailDecoder::new(MAX_RECORD);
    for_each_record(&mut decoder, object, |record| {
        let mut line = b"left alone".to_vec();
        encoder.encode(record, &ORIGIN, &mut line);
        let line = line.strip_prefix(b"left alone").expect("what stood in the buffer stays");
        lines.push(checked_line(LogType::CloudTrail, line));
    })
    .expect("the object is sound");
    lines
}

#[test]
fn shapes_beside_the_plain_event() {
    for (name, object, want) in [
        (
            "insight",
            r#"{"Records":[{"eventVersion":"1.08","eventTime":"2024-01-02T03:04:00Z","awsRegion":"us-east-1",
              "eventID":"i1","eventType":"AwsCloudTrailInsight","recipientAccountId":"111122223333","sharedEventID":"s1",
              "insightDetails":{"state":"Start","eventSource":"ec2.amazonaws.com","eventName":"RunInstances",
              "insightType":"ApiErrorRateInsight","errorCode":"Client.Limit","insightContext":{"statistics":{"baseline":{"average":0.02}}}},
              "eventCategory":"Insight"}]}"#,
            json!({"timestamp": 1_704_164_640_000_i64, "event_name": "RunInstances", "event_source": "ec2.amazonaws.com",
                "event_category": "Insight", "event_status": null, "srcip": null, "user": null}),
        ),
        (
            "network activity",
            r#"{"Records":[{"eventVersion":"1.09","userIdentity":{"type":"AWSAccount","principalId":"AROA:x","accountId":"1"},
              "eventTime":"2024-01-02T03:04:05Z","eventSource":"s3.amazonaws.com","eventName":"ListObjects","awsRegion":"us-east-1",
              "sourceIPAddress":"10.1.2.3","errorCode":"VpceAccessDenied","errorMessage":"policy","eventID":"n1",
              "eventType":"AwsVpceEvents","eventCategory":"NetworkActivity","vpcEndpointId":"vpce-1"}]}"#,
            json!({"event_status": "failure", "srcip_type": "private", "event_type": "AwsVpceEvents",
                "srcip_username": "AROA:x", "event_category": "NetworkActivity"}),
        ),
        (
            "aggregated, as a list",
            r#"[{"eventVersion":"1.0","accountId":"111122223333","eventId":"a1","eventCategory":"Aggregated",
              "eventType":"AwsAggregatedEvent","awsRegion":"us-east-1","eventSource":"s3.amazonaws.com",
              "timeWindow":{"windowStart":"2025-11-20T10:00:00Z","windowEnd":"2025-11-20T10:05:00Z","windowSize":"PT5M"},
              "summary":{"primaryDimension":{"dimension":"eventName","statistics":[{"name":"GetObject","value":7}]}}}]"#,
            json!({"timestamp": 1_763_632_800_000_i64, "event_id": "a1", "_id": "a1", "event_status": null,
                "cloud": {"region": "us-east-1", "account": {"id": "111122223333"}}}),
        ),
        (
            "null identity",
            r#"{"Records":[{"eventID":"e","userIdentity":null,"sourceIPAddress":"AWS Internal"}]}"#,
            json!({"user": null, "srcip_username": null, "srcip": null, "srcip_host": null, "event_id": "e"}),
        ),
        (
            "identity without a type",
            r#"{"Records":[{"userIdentity":{"accountId":"1","invokedBy":"lambda.amazonaws.com"}}]}"#,
            json!({"user": {"name": "lambda.amazonaws.com", "domain": "1"}}),
        ),
        (
            "stubs for what was too large",
            r#"{"Records":[{"eventID":"e","requestParameters":{"omitted":"true","originalSize":"1","reason":"too large"},
              "responseElements":{"omitted":true,"originalSize":123456,"reason":"too large"}}]}"#,
            json!({"event_id": "e", "event_status": "success"}),
        ),
        (
            "a version that is a number",
            r#"{"Records":[{"eventVersion":1.10,"eventID":"e"}]}"#,
            json!({"event_id": "e"}),
        ),
        (
            "names that differ in case only",
            r#"{"Records":[{"eventId":"lower","eventID":"upper","EventName":"no","eventName":"yes",
              "requestParameters":{"Host":"a","host":"b"},"tlsDetails":{"ClientProvidedHostHeader":"no"}}]}"#,
            json!({"event_id": "upper", "event_name": "yes", "dstip_host": null}),
        ),
        (
            "line breaks between tokens",
            "{\n\"Records\" :\r\n[\n{\n\"eventID\"\n:\n\"e\"\n,\r\"userIdentity\":\n{\n\"userName\"\n:\n\"u\"\n}\n}\n]\n}\n",
            json!({"event_id": "e", "srcip_username": "u"}),
        ),
    ] {
        let lines = encode(object.as_bytes(), &InterflowSettings::default());
        assert_eq!(lines.len(), 1, "{name}");
        for (field, value) in want.as_object().expect("wants are objects") {
            assert_eq!(lines[0].get(field).unwrap_or(&Value::Null), value, "{name}: {field}");
        }
        let object: Value = serde_json::from_str(object).expect("the sample is JSON");
        let original = object.get("Records").unwrap_or(&object);
        assert_eq!(lines[0]["aws"], original[0], "{name}");
    }
}

/// Bytes that look much like CloudTrail objects, broken in every place.
fn soups() -> impl Strategy<Value = Vec<u8>> {
    let tokens: &'static [&'static [u8]] = &[
        b"{\"Records\":[",
        b"{\"Records\":[{\"a\":\"x\"},",
        b"]}",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\"Records\"",
        b"\"a\"",
        b"\"a\":",
        b"1",
        b"-",
        b"null",
        b"true",
        b" ",
        b"\n",
        b"\xEF\xBB\xBF",
        b"\xFF",
        b"{\"eventID\":\"\\u00e9\"}",
        b"{\"a\":{\"b\":[1,{}]}}",
        b"{}",
        b"},{\"eventVersion\":1}",
        b"\0",
        b"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    prop_oneof![
        vec(proptest::sample::select(tokens), 0..30).prop_map(|tokens| tokens.concat()),
        (vec(proptest::sample::select(tokens), 0..30)).prop_map(|tokens| [
            b"{\"Records\":[",
            &tokens.concat()[..]
        ]
        .concat()),
        vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #[test]
    fn any_object_as_a_record(record in objects(PATHS, values(PATHS)), style: u8, as_strings: bool) {
        let settings = InterflowSettings { free_form_as_strings: as_strings, ..Default::default() };
        let object = format!("{{\"Records\":[{}]}}", write(&record, style));
        let lines = encode(object.as_bytes(), &settings);
        prop_assert_eq!(lines.len(), 1);
        let mut want = record;
        if as_strings {
            for name in ["requestParameters", "responseElements", "additionalEventData", "serviceEventDetails"] {
                match want.get_mut(name) {
                    None | Some(Value::Null | Value::String(_)) => {}
                    Some(value) => {
                        let text = lines[0]["aws"][name].as_str().expect("free-form fields are strings");
                        prop_assert!(!text.contains(['\n', '\r']));
                        let held: Value = serde_json::from_str(text).expect("the string holds JSON");
                        prop_assert_eq!(&held, &*value);
                        *value = Value::from(text);
                    }
                }
            }
        }
        prop_assert_eq!(&lines[0]["aws"], &want);
    }

    #[test]
    fn the_elements_of_any_list(
        elements in vec(values(PATHS), 0..8), before in objects(PATHS, values(PATHS)), after in objects(PATHS, values(PATHS)), style: u8,
        chunks in vec(0..60usize, 0..60),
    ) {
        let members = |object: &Value| -> String {
            let object = object.as_object().expect("an object was made");
            let other = object.iter().filter(|(name, _)| *name != "Records");
            other.map(|(name, value)| format!("{}:{},", json!(name), write(value, style))).collect()
        };
        let list = write(&Value::from(elements.clone()), style);
        let object = format!("{{{}\"Records\": {list} ,{}\"z\":0}}\n", members(&before), members(&after));
        let split = split_in_chunks(&mut CloudTrailDecoder::new(MAX_RECORD), object.as_bytes(), chunks);
        prop_assert_eq!(split.damage, None);
        let got: Vec<(bool, Value)> = split.items.iter()
            .map(|(item, _)| (matches!(item, Item::Record(_)), serde_json::from_slice(item.raw()).expect("valid JSON")))
            .collect();
        let want: Vec<(bool, Value)> = elements.into_iter().map(|element| (element.is_object(), element)).collect();
        prop_assert_eq!(got, want);
    }

    #[test]
    fn any_bytes_in_any_windows(object in soups(), chunks in vec(0..40usize, 0..100), max in 2..40usize) {
        let whole = split_all(&mut CloudTrailDecoder::new(max), &object);
        let pieces = split_in_chunks(&mut CloudTrailDecoder::new(max), &object, chunks);
        prop_assert_eq!(&pieces, &whole);
        for record in whole.records() {
            prop_assert!(record.len() <= max);
            prop_assert!(serde_json::from_slice::<Map<String, Value>>(record).is_ok());
        }
    }

    #[test]
    fn any_stored_bytes(mut stored in vec(any::<u8>(), 0..300), magic: bool) {
        if magic {
            stored.splice(0..0, [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff]);
        }
        let (inflated, error) = inflate(&stored);
        prop_assert!(error.is_none_or(|error| error.is_damage()));
        prop_assert!(magic || inflated == stored || stored.starts_with(&[0x1f, 0x8b]));
    }
}

/// All bytes before the end or the error.
fn inflate(stored: &[u8]) -> (Vec<u8>, Option<InflateError>) {
    let limits = InflateLimits { max_object_bytes: 1 << 30, max_ratio: 1_000 };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    runtime.block_on(async {
        let mut inflate = reader(stored, FileType::Auto, limits);
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match inflate.read(&mut piece).await {
                Ok(0) => return (bytes, None),
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(error) => {
                    return (bytes, Some(InflateError::of(&error).expect("a slice never fails").clone()));
                }
            }
        }
    })
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
fn real_objects() {
    let Some(folder) = real_data() else { return };
    let index = std::fs::read_to_string(folder.join("index.jsonl")).expect("the index is readable");
    let (mut objects, mut records) = (0, 0);
    for row in index.lines() {
        let row: Value = serde_json::from_str(row).expect("a row of the index is JSON");
        let text = |name: &str| row[name].as_str().expect("rows are complete").to_owned();
        let (kind, key) = (text("kind"), text("key"));
        if !kind.starts_with("cloudtrail") {
            continue;
        }
        let stored =
            std::fs::read(folder.join("s3").join(text("bucket")).join(&key)).expect("the object is there");
        let (inflated, error) = inflate(&stored);
        assert_eq!(error.is_some(), text("outcome") == "error", "{key}: {error:?}");
        assert!(error.is_none_or(|error| error.is_damage()), "{key}");
        let split = split_all(&mut CloudTrailDecoder::new(MAX_RECORD), &inflated);
        if kind == "cloudtrail-digest" {
            let reason = split.damage.expect("a digest has no records").reason;
            assert!(reason.contains("awsAccountId, digestStartTime"), "{key}: {reason}");
            continue;
        }
        assert_eq!((&split.damage, split.reasons().len()), (&None, 0), "{key}");
        assert_eq!(Some(split.records().len() as u64), row["events"].as_u64(), "{key}");
        (objects, records) = (objects + 1, records + check_real_lines(&inflated, &key));
    }
    assert!(objects > 10 && records > 100, "the index has too few objects: {objects}, {records}");
}

/// Compares each line with its original, read by serde_json alone; returns how many there are.
fn check_real_lines(inflated: &[u8], key: &str) -> usize {
    if inflated.is_empty() {
        return 0;
    }
    let lines = encode(inflated, &InterflowSettings::default());
    let object: Value = serde_json::from_slice(inflated).expect("the object is JSON");
    let originals = object["Records"].as_array().expect("the object has records");
    assert_eq!(lines.len(), originals.len(), "{key}");
    for (line, original) in lines.iter().zip(originals) {
        assert_eq!(&line["aws"], original, "{key}");
        assert_eq!(line["event_id"], original["eventID"], "{key}");
        assert_eq!(line["event_name"], original["eventName"], "{key}");
        assert_eq!(line["event_source"], original["eventSource"], "{key}");
        assert_ne!(line["timestamp"], line["write_time"], "{key}: every real record has its time");
        let failed = line["event_status"] == "failure";
        assert!(failed || original.get("errorCode").is_none(), "{key}");
        let address = &original["sourceIPAddress"];
        assert!(
            [&line["srcip"], &line["srcip_host"]].contains(&address)
                || address.is_null()
                || *address == "AWS Internal",
            "{key}: {address}"
        );
    }
    lines.len()
}
