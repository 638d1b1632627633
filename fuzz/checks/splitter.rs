//! Any bytes as an inflated CloudTrail object.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use s3sweep::decode::cloudtrail::CloudTrailDecoder;
use s3sweep::decode::testing::{for_each_record, split_all, split_in_chunks};
use s3sweep::encode::SettingsError;
use s3sweep::encode::interflow::InterflowSettings;
use s3sweep::encode::interflow::cloudtrail::CloudTrailEncoder;
use s3sweep::encode::{Encoder, Origin};
use s3sweep::record::Record;
use s3sweep::record::json::{each_member, member};

use super::Numbers;

const FREE_FORM: [&str; 4] =
    ["requestParameters", "responseElements", "additionalEventData", "serviceEventDetails"];

/// The steps do not depend on how the object is cut into windows; what is called a record is one
/// valid JSON object; its line is one JSON object that holds the original.
pub fn check(data: &[u8]) {
    let mut numbers = Numbers::of(data);
    for max_record_bytes in [1 << 20, 2 + numbers.below(80)] {
        let new = || CloudTrailDecoder::new(max_record_bytes);
        let whole = split_all(&mut new(), data);
        for longest in [1, 2 + numbers.below(40), 2 + numbers.below(4_000)] {
            let chunks = std::iter::repeat_with(|| 1 + numbers.below(longest)).take(data.len());
            let pieces = split_in_chunks(&mut new(), data, chunks);
            assert_eq!(pieces, whole, "windows of up to {longest}, records of up to {max_record_bytes}");
        }
        let (mut records, mut before) = (whole.records().into_iter(), 0);
        for (item, end) in &whole.items {
            assert!(before < *end && *end <= data.len(), "steps go on, and stay within the object");
            assert!(item.raw().len() <= end - before, "a step's bytes are among those it is done with");
            before = *end;
        }
        let encoders = [false, true].map(|as_strings| encoder(as_strings).expect("good settings"));
        let mut seen = 0;
        let damage = for_each_record(&mut new(), data, |record| {
            assert_eq!(records.next(), Some(record.raw()), "the same records");
            assert!(record.raw().len() <= max_record_bytes);
            check_record(record, &encoders, seen);
            seen += 1;
        });
        assert_eq!(records.next(), None, "all of them");
        assert_eq!(damage.err(), whole.damage);
    }
}

fn encoder(free_form_as_strings: bool) -> Result<CloudTrailEncoder, SettingsError> {
    CloudTrailEncoder::new(&InterflowSettings { free_form_as_strings, ..InterflowSettings::default() })
}

fn check_record(record: &Record<'_>, [plain, as_strings]: &[CloudTrailEncoder; 2], ordinal: u64) {
    let raw = std::str::from_utf8(record.raw()).expect("a record is UTF-8");
    assert!(raw.starts_with('{') && raw.ends_with('}'), "a record is an object without blanks around it");
    serde_json::from_str::<IgnoredAny>(raw).expect("a record is one valid JSON value");

    let line = encoded(plain, record, ordinal);
    let original = member(line.as_bytes(), "aws").expect("a line holds the original");
    let one_line = raw.replace(['\n', '\r'], " ");
    assert_eq!(std::str::from_utf8(original), Ok(one_line.as_str()), "the original is copied");
    // Valid JSON may still hold what no tree can: a number beyond f64, half a surrogate pair.
    if let Ok(original) = serde_json::from_str::<Map<String, Value>>(raw) {
        let read: Map<String, Value> = serde_json::from_str(&line).expect("a line is a JSON object");
        assert_eq!(read["aws"], Value::Object(original.clone()), "the original is equal as a value");

        let line = encoded(as_strings, record, ordinal);
        let read: Map<String, Value> = serde_json::from_str(&line).expect("a line is a JSON object");
        check_strings(&read["aws"], original);
    }
}

/// The line of a record, without its newline.
fn encoded(encoder: &CloudTrailEncoder, record: &Record<'_>, ordinal: u64) -> String {
    let origin = Origin::new("b", "k\"\\\n\u{1}", "e").at(ordinal, 1_700_000_000_000);
    let mut line = b"before".to_vec();
    encoder.encode(record, &origin, &mut line);
    let line = line.strip_prefix(b"before").expect("what stood in the buffer stays");
    let line = std::str::from_utf8(line).expect("a line is UTF-8");
    let line = line.strip_suffix('\n').expect("a line ends in a newline");
    assert!(!line.contains(['\n', '\r']), "a line is one line: {line}");
    serde_json::from_str::<IgnoredAny>(line).expect("a line is one valid JSON value");
    let mut names = Vec::new();
    each_member(line, |name, _| {
        assert!(!names.contains(&name), "{name} stands twice: {line}");
        names.push(name);
    })
    .expect("a line is an object");
    line.to_owned()
}

/// With free forms as strings, each of them holds its value; all else is as it was.
fn check_strings(read: &Value, original: Map<String, Value>) {
    assert_eq!(read.as_object().map(Map::len), Some(original.len()));
    for (name, value) in original {
        match &read[&name] {
            Value::String(text) if FREE_FORM.contains(&name.as_str()) && !value.is_string() => {
                let held: Value = serde_json::from_str(text).expect("the string holds JSON");
                assert_eq!(held, value, "{name} is equal as a value");
            }
            same => assert_eq!(*same, value, "{name} is as it was"),
        }
    }
}
