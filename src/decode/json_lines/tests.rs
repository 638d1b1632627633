//! What the decoder makes of sound, odd and broken objects.

use std::sync::LazyLock;

use super::*;
use crate::decode::testing::{Split, split_all, split_in_chunks};

const MAX: usize = 64;

fn decoder() -> JsonLinesDecoder {
    static FIELDS: LazyLock<Paths> = LazyLock::new(|| Paths::new(&["a", "b"]));
    JsonLinesDecoder::new(&FIELDS, MAX)
}

/// Splits `object` in one window, and makes sure that other windows give the same.
fn split(object: &[u8]) -> Split {
    let whole = split_all(&mut decoder(), object);
    for chunk in [1, 2, 3, 7, 64] {
        let pieces = split_in_chunks(&mut decoder(), object, std::iter::repeat(chunk));
        assert_eq!(pieces, whole, "in windows of {chunk}: {}", String::from_utf8_lossy(object));
    }
    whole
}

#[test]
fn records_are_found() {
    for (name, object, want) in [
        ("lines", "{\"a\":1}\n{\"b\":2}\n", &[r#"{"a":1}"#, r#"{"b":2}"#][..]),
        ("no line break at the end", "{\"a\":1}\n{}", &[r#"{"a":1}"#, "{}"]),
        ("one after the other", r#"{"a":1}{"b":2}{}"#, &[r#"{"a":1}"#, r#"{"b":2}"#, "{}"]),
        ("two on one line of two", "{\"a\":1} {}\r\n{\"b\":2}", &[r#"{"a":1}"#, "{}", r#"{"b":2}"#]),
        ("empty lines", "\n\n{}\r\n \n{}\n\n", &["{}", "{}"]),
        (
            "pretty-printed",
            "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{\n}\n",
            &["{\n  \"a\": {\n    \"b\": 1\n  }\n}", "{\n}"],
        ),
        ("without indentation", "{\n\"a\":\n{\n\"b\":1}}\n{}", &["{\n\"a\":\n{\n\"b\":1}}", "{}"]),
        (
            "brackets and quotes in strings",
            r#"{"a":"}{\"\\"}{"b":"{"}"#,
            &[r#"{"a":"}{\"\\"}"#, r#"{"b":"{"}"#],
        ),
        ("byte order mark", "\u{feff}{}", &["{}"]),
        ("nothing", "", &[]),
        ("blanks", " \r\n\t", &[]),
    ] {
        let split = split(object.as_bytes());
        assert_eq!(split.damage, None, "{name}");
        let want: Vec<&[u8]> = want.iter().map(|record| record.as_bytes()).collect();
        assert_eq!((split.records(), split.reasons().len()), (want, 0), "{name}");
    }
}

#[test]
fn malformed_records_do_not_end_the_object() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX));
    let just_fits = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX - 8));
    let garbage = "x".repeat(MAX);
    for (name, piece, reason) in [
        ("bad word", r#"{"a":nope}"#, "not valid JSON"),
        ("cut in an object", r#"{"a":{"b":1"#, NO_END),
        ("cut in a string", r#"{"a":"b"#, NO_END),
        ("cut in a name", r#"{"a":1,"b"#, NO_END),
        ("pretty and cut", "{\n  \"a\": {\n    \"b\": 1\n", NO_END),
        ("text", "not JSON at all", NO_RECORD),
        ("text of lines", "not JSON\n  at all", NO_RECORD),
        ("list", r#"[{"a":1},{"b":2}]"#, NO_RECORD),
        ("stray bracket", "}", NO_RECORD),
        ("stray bracket after a record", "}{\"b\":2}", NO_RECORD),
        ("too long", &long, "a record of 73 bytes, max_record_bytes is 64"),
        ("long text", &garbage, "expected '{' at the start of a record, and 65 bytes to the next one"),
        ("fits", &just_fits, ""),
    ] {
        let object = format!("{{\"a\":1}}\n{piece}\n{{\"b\":2}}\n{{}}");
        let split = split(object.as_bytes());
        assert_eq!(split.damage, None, "{name}");
        let reasons = split.reasons();
        if reason.is_empty() {
            assert_eq!((reasons.len(), split.records().len()), (0, 4), "{name}");
            continue;
        }
        assert_eq!((reasons.len(), split.records().len()), (1, 3), "{name}: {split:?}");
        assert!(reasons[0].starts_with(reason), "{name}: {}", reasons[0]);
        let held = if piece.len() >= MAX { "" } else { piece.trim_ascii_end() };
        assert_eq!(split.items[1].0.raw(), held.as_bytes(), "{name}");
    }
}

#[test]
fn a_broken_record_does_not_take_the_next_line_with_it() {
    // the string that is left open makes `\"}` of the next line look like the end
    let split = split(b"{\"a\":\"\n{\"b\":\"}\"}\n{}");
    assert_eq!(split.records(), [&b"{\"b\":\"}\"}"[..], b"{}"]);
    assert!(split.reasons()[0].starts_with("not valid JSON"), "{split:?}");
}

#[test]
fn every_broken_line_is_one_malformed_record() {
    let object = "{\"a\":\"x\n{\"a\":{\n{\"a\":1}\n".repeat(20);
    let split = split(object.as_bytes());
    assert_eq!((split.records().len(), split.reasons().len(), split.damage), (20, 40, None));
}

#[test]
fn after_a_broken_record_lines_part_records() {
    // else a search up to the longest record would follow each of many broken lines
    let split = split(b"{\"a\":{\n{\n\"a\":\n{\"b\":1}}\n{}");
    assert_eq!(split.records(), [&b"{\"b\":1}"[..], b"{}"]);
    assert_eq!(split.reasons().len(), 3, "{split:?}");
}

#[test]
fn a_cut_object_ends_in_a_malformed_record() {
    let split = split(b"{\"a\":1}\n{\"a\":{\"b");
    assert_eq!((split.records().len(), split.damage.as_ref()), (1, None));
    assert_eq!(split.reasons(), [CUT]);
}

#[test]
fn an_object_without_the_start_of_a_record_is_damaged() {
    let long = "x\n ".repeat(MAX);
    for (name, object, offset) in [
        ("text", "version account-id\n2 111122223333", 0),
        ("list", " [{\"a\":1}]", 1),
        ("half a byte order mark", "\u{fe00}", 0),
        ("string", "\"{\"", 0),
        ("long text", &long, long.len()),
    ] {
        let split = split(object.as_bytes());
        assert_eq!(split.items, [], "{name}");
        let damage = split.damage.unwrap_or_else(|| panic!("{name}: no damage"));
        assert_eq!((damage.reason.as_str(), damage.offset), (NO_RECORD, offset), "{name}");
    }
    let mut decoder = decoder();
    assert!(decoder.next(b"x", true).is_err());
    assert!(decoder.next(b"{}", true).is_err(), "damage stays");
}

#[test]
fn bytes_that_are_no_utf8_make_a_record_malformed() {
    let split = split(b"{\"a\":\"\xff\"}\n{}");
    assert_eq!((split.records().len(), split.damage.as_ref()), (1, None));
    assert!(split.reasons()[0].starts_with("not valid UTF-8"));
}

#[test]
fn long_values_are_not_held() {
    let object = format!("{{\"a\":\"{}\"}}\n{{}}", "x".repeat(1_000_000));
    let mut decoder = decoder();
    let (mut window, mut records, mut malformed) = (Vec::new(), 0, 0);
    let mut chunks = object.as_bytes().chunks(100);
    loop {
        assert!(window.len() <= MAX + 100, "holds {}", window.len());
        match decoder.next(&window, chunks.len() == 0).unwrap() {
            Step::End => break,
            Step::More { consumed } => {
                window.drain(..consumed);
                window.extend_from_slice(chunks.next().unwrap());
            }
            Step::Record { consumed, .. } => {
                records += 1;
                window.drain(..consumed);
            }
            Step::Malformed { consumed, .. } | Step::Dropped { consumed } => {
                malformed += 1;
                window.drain(..consumed);
            }
        }
    }
    assert_eq!((records, malformed), (1, 1));
}

#[test]
fn a_window_that_shrinks_does_not_panic() {
    let mut decoder = decoder();
    for window in [&b"{\"aaaaaaaaaaaaaaaa"[..], b"{", b"", b"x\n", b"}", b"{\"a", b""] {
        let _ = decoder.next(window, false);
    }
    let _ = decoder.next(b"", true);
}
