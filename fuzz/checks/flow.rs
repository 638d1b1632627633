//! Any bytes as an inflated VPC flow log object.

use serde_json::Value;

use s3sweep::decode::DecodeSettings;
use s3sweep::decode::testing::{for_each_record, split_all, split_in_chunks};
use s3sweep::decode::vpcflow::VpcFlowDecoder;
use s3sweep::encode::interflow::InterflowSettings;
use s3sweep::encode::interflow::vpcflow::VpcFlowEncoder;
use s3sweep::encode::{Encoder, Origin};
use s3sweep::record::Record;
use s3sweep::record::json::each_member;

use super::Numbers;

/// The steps do not depend on how the object is cut into windows; a record is a part of one line;
/// its line is one JSON object without twins or blanks, and has
/// every column that no field is known for.
pub fn check(data: &[u8]) {
    let mut numbers = Numbers::of(data);
    for max_record_bytes in [1 << 20, 2 + numbers.below(80)] {
        let settings = DecodeSettings { max_record_bytes, keep_nodata: numbers.below(2) == 0 };
        let new = || VpcFlowDecoder::new(&settings);
        let whole = split_all(&mut new(), data);
        for longest in [1, 2 + numbers.below(40), 2 + numbers.below(4_000)] {
            let chunks = std::iter::repeat_with(|| 1 + numbers.below(longest)).take(data.len());
            let pieces = split_in_chunks(&mut new(), data, chunks);
            assert_eq!(pieces, whole, "windows of up to {longest}, {settings:?}");
        }
        let mut before = 0;
        for (item, end) in &whole.items {
            assert!(before < *end && *end <= data.len(), "steps go on, and stay within the object");
            assert!(item.raw().len() <= end - before, "a step's bytes are among those it is done with");
            before = *end;
        }
        let encoder = VpcFlowEncoder::new(&InterflowSettings::default()).expect("good settings");
        let damage = for_each_record(&mut new(), data, |record| {
            assert!(record.raw().len() <= max_record_bytes && !record.raw().contains(&b'\n'));
            check_record(record, &encoder);
        });
        assert_eq!(damage.err(), whole.damage);
    }
}

fn check_record(record: &Record<'_>, encoder: &VpcFlowEncoder) {
    let origin = Origin::new("b", "k\"\\\n\u{1}", "e").at(7, 1_700_000_000_000);
    let mut line = b"before".to_vec();
    encoder.encode(record, &origin, &mut line);
    let line = line.strip_prefix(b"before").expect("what stood in the buffer stays");
    let line = std::str::from_utf8(line).expect("a line is UTF-8");
    let line = line.strip_suffix('\n').expect("a line ends in a newline");
    assert!(!line.contains(['\n', '\r']), "a line is one line: {line}");
    let read: Value = serde_json::from_str(line).expect("a line is one valid JSON value");
    let mut names = Vec::new();
    let mut distinct = |object: &str| {
        names.clear();
        each_member(object, |name, value| {
            assert!(!names.contains(&name.to_owned()), "{name} stands twice: {line}");
            names.push(name.to_owned());
            assert!(!matches!(value, "null" | "\"\"" | "\"-\""), "{name} is blank: {line}");
        })
        .expect("an object");
    };
    distinct(line);
    distinct(&read["aws"].to_string());
    // What only the vendor object holds is there in full.
    for (column, value) in record.cells().filter(|(column, _)| column.field.is_none()) {
        assert_eq!(
            read["aws"][&column.member].as_str().map(str::as_bytes),
            Some(value),
            "{}: {line}",
            column.name
        );
    }
}
