//! Any bytes as an inflated object of JSON records: WAF, and any other log.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use s3sweep::decode::json_lines::{JsonLinesDecoder, WAF_FIELDS};
use s3sweep::decode::testing::{for_each_record, split_all, split_in_chunks};
use s3sweep::encode::interflow::{InterflowSettings, encoder};
use s3sweep::encode::{Encoder, Origin};
use s3sweep::record::json::{each_member, member};
use s3sweep::record::{LogType, Record};

use super::Numbers;

/// The steps do not depend on how the object is cut into windows; what is called a record is one
/// valid JSON object; its line is one JSON object that holds the original.
pub fn check(data: &[u8]) {
    let mut numbers = Numbers::of(data);
    for max_record_bytes in [1 << 20, 2 + numbers.below(80)] {
        let new = || JsonLinesDecoder::new(&WAF_FIELDS, max_record_bytes);
        let whole = split_all(&mut new(), data);
        for longest in [1, 2 + numbers.below(40), 2 + numbers.below(4_000)] {
            let chunks = std::iter::repeat_with(|| 1 + numbers.below(longest)).take(data.len());
            let pieces = split_in_chunks(&mut new(), data, chunks);
            assert_eq!(pieces, whole, "windows of up to {longest}, records of up to {max_record_bytes}");
        }
        let mut before = 0;
        for (item, end) in &whole.items {
            assert!(before < *end && *end <= data.len(), "steps go on, and stay within the object");
            assert!(item.raw().len() <= end - before, "a step's bytes are among those it is done with");
            before = *end;
        }
        let mut records = whole.records().into_iter();
        let damage = for_each_record(&mut new(), data, |record| {
            assert_eq!(records.next(), Some(record.raw()), "the same records");
            assert!(record.raw().len() <= max_record_bytes);
            check_record(record);
        });
        assert_eq!(records.next(), None, "all of them");
        assert_eq!(damage.err(), whole.damage);
    }
}

fn check_record(record: &Record<'_>) {
    let raw = std::str::from_utf8(record.raw()).expect("a record is UTF-8");
    assert!(raw.starts_with('{') && raw.ends_with('}'), "a record is an object without blanks around it");
    serde_json::from_str::<IgnoredAny>(raw).expect("a record is one valid JSON value");
    let one_line = raw.replace(['\n', '\r'], " ");
    let settings = InterflowSettings {
        mask_headers: Vec::new(),
        timestamp_field: Some("timestamp.a".to_owned()),
        ..InterflowSettings::default()
    };
    for log_type in [LogType::Waf, LogType::Jsonl] {
        let line = encoded(&*encoder(log_type, &settings).expect("good settings"), record);
        let original = member(line.as_bytes(), "aws").expect("a line holds the original");
        assert_eq!(std::str::from_utf8(original), Ok(one_line.as_str()), "the original is copied");
    }
    let line =
        encoded(&*encoder(LogType::Waf, &InterflowSettings::default()).expect("good settings"), record);
    let original = member(line.as_bytes(), "aws").expect("a line holds the original");
    // valid JSON may still hold what no tree can: a number beyond f64, half a surrogate pair
    if let (Ok(before), Ok(after)) =
        (serde_json::from_str::<Map<String, Value>>(raw), serde_json::from_slice::<Value>(original))
    {
        assert_eq!(after, hidden(Value::Object(before)), "all but secrets is equal as a value");
    }
}

/// A record with the secrets of its headers hidden.
fn hidden(mut record: Value) -> Value {
    let headers = record.pointer_mut("/httpRequest/headers").and_then(Value::as_array_mut);
    for header in headers.into_iter().flatten() {
        let name = header["name"].as_str().unwrap_or_default().trim().to_ascii_lowercase();
        let is_secret = ["authorization", "cookie", "x-amz-security-token", "set-cookie"].contains(&&*name);
        if is_secret && let Some(value) = header.get_mut("value") {
            *value = Value::from("REDACTED");
        }
    }
    record
}

/// The line of a record, without its newline.
fn encoded(encoder: &dyn Encoder, record: &Record<'_>) -> String {
    let origin = Origin::new("b", "k\"\\\n\u{1}", "e").at(1, 1_700_000_000_000);
    let mut line = b"before".to_vec();
    encoder.encode(record, &origin, &mut line);
    let line = line.strip_prefix(b"before").expect("what stood in the buffer stays");
    let line = std::str::from_utf8(line).expect("a line is UTF-8");
    let line = line.strip_suffix('\n').expect("a line ends in a newline");
    assert!(!line.contains(['\n', '\r']), "a line is one line: {line}");
    let mut names = Vec::new();
    each_member(line, |name, _| {
        assert!(!names.contains(&name), "{name} stands twice: {line}");
        names.push(name);
    })
    .expect("a line is an object");
    line.to_owned()
}
