//! What the decoder makes of sound, odd and broken objects.

use proptest::prelude::*;

use super::*;
use crate::decode::testing::{Split, split_all, split_in_chunks};

const MAX: usize = 64;

/// Splits `object` in one window, and makes sure that other windows give the same.
fn split(object: &[u8]) -> Split {
    let whole = split_all(&mut CloudTrailDecoder::new(MAX), object);
    for chunk in [1, 2, 3, 7, 64] {
        let pieces = split_in_chunks(&mut CloudTrailDecoder::new(MAX), object, std::iter::repeat(chunk));
        assert_eq!(pieces, whole, "in windows of {chunk}: {}", String::from_utf8_lossy(object));
    }
    whole
}

#[test]
fn records_are_found() {
    let long = format!(r#"{{"{}":1,"x":"{}","Records":[{{"a":1}}]}}"#, "n".repeat(400), "v".repeat(1000));
    for (name, object, want) in [
        ("two", r#"{"Records":[{"a":1},{"b":2}]}"#, &[r#"{"a":1}"#, r#"{"b":2}"#][..]),
        ("none", r#"{"Records":[]}"#, &[]),
        ("null for none", r#"{"Records": null }"#, &[]),
        ("empty object", "", &[]),
        ("blanks only", " \r\n\t", &[]),
        ("byte order mark only", "\u{feff}", &[]),
        ("byte order mark", "\u{feff}{\"Records\":[{}]}", &["{}"]),
        ("blanks everywhere", " {\n\"Records\" :\r\n[ {\"a\": 1}\t,\n {} ] } \n", &["{\"a\": 1}", "{}"]),
        (
            "members around",
            r#"{"a":[{"Records":[{"no":1}]}],"b":-1.5,"Records":[{}],"c":{"d":"]}"},"e":null}"#,
            &["{}"],
        ),
        ("long members before", &long, &[r#"{"a":1}"#]),
        ("escaped name", r#"{"\u0052ecords":[{}]}"#, &["{}"]),
        ("list", r#"[{"a":1},{}]"#, &[r#"{"a":1}"#, "{}"]),
        ("empty list", "[]", &[]),
        (
            "documents in a row",
            "{\"Records\":[{}]}\n[{\"a\":1}]{\"Records\":[{\"b\":1}]}",
            &["{}", r#"{"a":1}"#, r#"{"b":1}"#],
        ),
        ("two lists", r#"{"Records":[{}],"Records":[{"a":1}]}"#, &["{}", r#"{"a":1}"#]),
        (
            "brackets and quotes in strings",
            r#"{"Records":[{"a":"}]\"\\"},{"b":"{["}]}"#,
            &[r#"{"a":"}]\"\\"}"#, r#"{"b":"{["}"#],
        ),
    ] {
        let split = split(object.as_bytes());
        assert_eq!(split.damage, None, "{name}");
        let want: Vec<&[u8]> = want.iter().map(|record| record.as_bytes()).collect();
        assert_eq!(split.records(), want, "{name}");
        assert_eq!(split.items.len(), want.len(), "{name}");
    }
}

#[test]
fn malformed_elements_do_not_end_the_object() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX));
    let just_fits = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX - 8));
    let deep = "[".repeat(30) + &"]".repeat(30);
    for (name, element, reason) in [
        ("number", "12", "a number or word"),
        ("null", "null", "a number or word"),
        ("misspelt word", "nope", "a number or word"),
        ("string", r#""a,\"]""#, "a string"),
        ("list", r#"[{"a":[1]},"]"]"#, "a list"),
        ("deep list", &deep, "a list"),
        ("bad word inside", r#"{"a":nope}"#, "not valid JSON"),
        ("brackets crossed", r#"{"a":[}"#, "not valid JSON"),
        ("stray bracket", r#"{"a":]}"#, "not valid JSON"),
        ("too long", &long, "a record of 72 bytes, max_record_bytes is 64"),
        ("long number", &"1".repeat(MAX), "a record of 64 bytes, max_record_bytes is 64"),
        ("fits", &just_fits, ""),
    ] {
        let object = format!("{{\"Records\":[{{}},{element},{{\"b\":1}}]}}");
        let split = split(object.as_bytes());
        assert_eq!(split.damage, None, "{name}");
        let reasons = split.reasons();
        if reason.is_empty() {
            assert_eq!((reasons.len(), split.records().len()), (0, 3), "{name}");
            continue;
        }
        assert_eq!((reasons.len(), split.records().len()), (1, 2), "{name}");
        assert!(reasons[0].starts_with(reason), "{name}: {}", reasons[0]);
        let held = if reason.starts_with("a record of") { "" } else { element };
        assert_eq!(split.items[1].0.raw(), held.as_bytes(), "{name}");
        assert_eq!(split.items[1].1, 15 + element.len(), "{name}");
    }
}

#[test]
fn a_broken_record_does_not_take_the_next_event_with_it() {
    for (name, element, reason) in [
        ("a bracket too few", r#"{"a":{"b":1}"#, "not valid JSON"),
        ("a bracket too few in a list", r#"{"a":[{"b":1},{"c":2]}"#, "not valid JSON"),
        ("a quote too many", r#"{"a":"b"c"}"#, "not valid JSON"),
        ("a quote too few", r#"{"a":b"}"#, "not valid JSON"),
        ("what looks like the next in a text", r#"{"a":b,"},{\"eventVersion\":":1}"#, "not valid JSON"),
    ] {
        for next in [r#",{"eventVersion":"2"},{}"#, " ,\r\n{ \"eventVersion\" : 2 },{}"] {
            let object = format!("{{\"Records\":[{{}},{element}{next}]}}");
            let split = split(object.as_bytes());
            assert_eq!((&split.damage, split.records().len()), (&None, 3), "{name}: {split:?}");
            assert_eq!(split.items[1].0.raw(), element.as_bytes(), "{name}");
            assert!(split.reasons()[0].starts_with(reason), "{name}: {split:?}");
        }
    }
}

#[test]
fn more_events_than_may_be_held_are_found_behind_a_broken_one() {
    let events: Vec<_> = (0..20).map(|n| format!("{{\"eventVersion\":\"{n}\"}}")).collect();
    let events = events.join(",");
    assert!(events.len() > 4 * MAX);
    for (name, element, reason) in [
        ("a bracket too few", r#"{"a":{"b":1}"#, "not valid JSON"),
        ("two too few", r#"{"a":[{"b":{"c":2}"#, "not valid JSON"),
        ("an event", r#"{"eventVersion":{"b":1}"#, "not valid JSON"),
        ("no JSON", r#"{"eventVersion":{{}}"#, "not valid JSON"),
        ("a list", r#"[{"b":{"c":2}}"#, "a list"),
    ] {
        let object = format!("{{\"Records\":[{{}},{element},{events},{element},{events}]}}");
        let split = split(object.as_bytes());
        assert_eq!((&split.damage, split.records().len()), (&None, 41), "{name}: {split:?}");
        for at in [1, 22] {
            assert_eq!(split.items[at].0.raw(), element.as_bytes(), "{name}");
        }
        assert!(split.reasons().iter().all(|told| told.starts_with(reason)), "{name}: {split:?}");
    }
}

#[test]
fn what_broken_elements_cost_grows_with_their_number_only() {
    const FAR: usize = 1 << 24;
    let looked_at = |object: &str, chunk: usize| {
        let mut decoder = CloudTrailDecoder::new(FAR);
        let split = split_in_chunks(&mut decoder, object.as_bytes(), std::iter::repeat(chunk));
        (split.reasons().len(), decoder.looked_at)
    };
    for (name, element, end) in [
        ("no JSON", r#"{"eventVersion":{{}},"#, ""),
        ("ends that are far away", r#"{"eventVersion":{{}},"#, "}"),
        ("a list without an end", r#"{"eventVersion":[{},"#, ""),
        ("lists without an end", r#"[{},{"eventVersion":1},"#, ""),
        ("no events", "{x},", ""),
        ("no events and blanks", "{x}     ,   ", ""),
    ] {
        let object = |count: usize| {
            let (elements, ends) = (element.repeat(count), end.repeat(count));
            format!("[{elements}{{\"eventVersion\":1}},{{}}{ends}")
        };
        for chunk in [1_000, usize::MAX >> 1] {
            let (few, cost_of_few) = looked_at(&object(5_000), chunk);
            let (many, cost_of_many) = looked_at(&object(10_000), chunk);
            assert_eq!((few, many), (5_000, 10_000), "{name}, in windows of {chunk}");
            let most = 50 * 10_000 * (element.len() + FIRST_REACH);
            assert!(cost_of_many < most, "{name}, in windows of {chunk}: {cost_of_many}");
            let ratio = cost_of_many as f64 / cost_of_few as f64;
            assert!(ratio < 2.5, "{name}, in windows of {chunk}: {cost_of_few}, {cost_of_many}");
        }
    }
}

#[test]
fn bytes_that_are_no_utf8_make_a_record_malformed() {
    let split = split(b"{\"Records\":[{\"a\":\"\xff\"},{}]}");
    assert_eq!((split.records().len(), split.damage.as_ref()), (1, None));
    assert!(split.reasons()[0].starts_with("not valid UTF-8"));
}

#[test]
fn damage_ends_the_object() {
    for (name, object, records, offset, reason) in [
        ("text", "hello", 0, 0, "expected '{' or '['"),
        ("half a byte order mark", "\u{fe00}", 0, 0, "expected '{' or '['"),
        ("rows", "version account-id", 0, 0, "expected '{' or '['"),
        ("after a document", r#"{"Records":[{}]} x"#, 1, 17, "expected '{' or '['"),
        ("no comma", r#"{"Records":[{} {}]}"#, 1, 15, "expected ',' or ']'"),
        ("comma at the end", r#"{"Records":[{},]}"#, 1, 15, "expected a record"),
        ("comma first", r#"{"Records":[,{}]}"#, 0, 12, "expected a record"),
        ("garbage as a record", r#"{"Records":[@]}"#, 0, 12, "expected a record"),
        ("brace for bracket", r#"{"Records":[{}}"#, 1, 14, "expected ',' or ']'"),
        ("no colon", r#"{"Records"[{}]}"#, 0, 10, "expected ':'"),
        ("no name", r#"{Records:[{}]}"#, 0, 1, "expected a name"),
        ("no value", r#"{"a":,"Records":[]}"#, 0, 5, "expected a value"),
        ("comma and no name", r#"{"Records":[],}"#, 0, 14, "expected a name"),
        ("no comma after the list", r#"{"Records":[] "a":1}"#, 0, 14, "expected ',' or '}'"),
        ("Records is an object", r#"{"Records":{}}"#, 0, 11, "`Records` is not a list"),
        ("Records is a word", r#"{"Records":nulk}"#, 0, 11, "`Records` is not a list"),
        ("ends in a record", r#"{"Records":[{},{"a":"}"#, 1, 22, "the object ends inside a record"),
        (
            "ends in a long record",
            &format!("[{{\"{}", "x".repeat(200)),
            0,
            203,
            "the object ends inside a record",
        ),
        ("ends after a comma", r#"{"Records":[{},"#, 1, 15, "the object ends inside the list"),
        ("ends after a record", r#"{"Records":[{}"#, 1, 14, "the object ends inside the list"),
        ("ends after the list", r#"{"Records":[{}]"#, 1, 15, "the object ends inside its top-level"),
        ("ends in a name", r#"{"Rec"#, 0, 5, "the object ends inside its top-level"),
        ("ends in null", r#"{"Records":nu"#, 0, 13, "the object ends inside its top-level"),
        ("ends in another value", r#"{"a":{"b":""#, 0, 11, "the object ends inside its top-level"),
        (
            "no Records",
            r#"{"digestStartTime":"x","logFiles":[]}"#,
            0,
            36,
            "no `Records` among the members digestStartTime, logFiles",
        ),
        ("empty object", "{}", 0, 1, "no `Records` in an empty object"),
        (
            "seven members",
            r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1}"#,
            0,
            42,
            "no `Records` among the 7 members a, b, c, d, e, …",
        ),
        ("second document without", r#"{"Records":[{}]}{"a":1}"#, 1, 22, "no `Records` among the members a"),
    ] {
        let split = split(object.as_bytes());
        let damage = split.damage.as_ref().unwrap_or_else(|| panic!("{name}: no damage"));
        assert!(damage.reason.starts_with(reason), "{name}: {}", damage.reason);
        assert_eq!((damage.offset, split.records().len()), (offset, records), "{name}");
    }
}

#[test]
fn names_in_a_message_are_bounded() {
    let object = format!("{{\"{}\":1}}", "n".repeat(100_000));
    let damage = split(object.as_bytes()).damage.unwrap();
    assert!(damage.reason.len() < 100, "{}", damage.reason);
}

#[test]
fn damage_stays() {
    let mut decoder = CloudTrailDecoder::new(MAX);
    assert!(decoder.next(b"{\"Records\":[@", false).is_err());
    assert!(decoder.next(b"{\"Records\":[{}]}", true).is_err());
}

#[test]
fn a_window_that_shrinks_does_not_panic() {
    let mut decoder = CloudTrailDecoder::new(MAX);
    for window in [&b"[{\"aaaaaaaaaaaaaaaa"[..], b"{", b"", b"{\"a", b"}"] {
        let _ = decoder.next(window, false);
    }
    assert!(decoder.next(b"", true).is_err());
}

#[test]
fn long_values_are_not_held() {
    let value = "x".repeat(1_000_000);
    for (name, object) in [
        ("member", format!("{{\"a\":\"{value}\",\"Records\":[{{}}]}}")),
        ("name", format!("{{\"{value}\":1,\"Records\":[{{}}]}}")),
        ("record", format!("[{{\"a\":\"{value}\"}},{{}}]")),
    ] {
        let mut decoder = CloudTrailDecoder::new(MAX);
        let (mut window, mut records) = (Vec::new(), 0);
        let mut chunks = object.as_bytes().chunks(100);
        loop {
            assert!(window.len() <= MAX_NAME + 200, "{name}: holds {}", window.len());
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
                    window.drain(..consumed);
                }
            }
        }
        assert_eq!(records, 1, "{name}");
    }
}

#[test]
fn the_window_need_not_outgrow_the_longest_record() {
    for (name, element) in [
        ("record", format!("{{\"a\":\"{}\"}}", "x".repeat(MAX))),
        ("number", "1".repeat(2 * MAX)),
        ("list", "[".repeat(2 * MAX)),
    ] {
        let mut decoder = CloudTrailDecoder::new(MAX);
        assert!(matches!(decoder.next(b"[", false), Ok(Step::More { consumed: 1 })), "{name}");
        let window = &element.as_bytes()[..MAX];
        assert!(matches!(decoder.next(&window[..MAX - 1], false), Ok(Step::More { consumed: 0 })), "{name}");
        match decoder.next(window, false) {
            Ok(Step::More { consumed }) => assert!(consumed >= MAX - 1, "{name}: {consumed}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Pieces of objects, sound and broken ones, of which the breaks and the events lie close together.
fn pieces() -> impl Strategy<Value = String> {
    let all = vec![
        r#"{"eventVersion":1}"#,
        r#",{"eventVersion":"x"}"#,
        r#"},{"eventVersion":{"a":[{}"#,
        " }\n, { \"eventVersion\" : 2",
        r#","a":{"b":[{},{"c":1}]}}"#,
        r#","a":[{"eventVersion":1},{"eventVersion":2}]"#,
        r#"{"a":"}]\"\\","#,
        r#""},{\"eventVersion\":""#,
        r#",[{}"#,
        "{",
        "}",
        "]",
        ",",
        "\"",
        "\\",
        "{}",
        "{x},",
        ",12",
        "                                                                                ",
    ];
    prop::collection::vec(prop::sample::select(all), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn windows_change_nothing_of_what_broken_records_are(records in pieces(), chunk in 1_usize..100) {
        let object = format!("[{{}},{records},{{\"eventVersion\":9}}]");
        for max in [MAX, 400, 1 << 20] {
            let whole = split_all(&mut CloudTrailDecoder::new(max), object.as_bytes());
            for chunk in [chunk, 1] {
                let chunks = std::iter::repeat(chunk);
                let pieces = split_in_chunks(&mut CloudTrailDecoder::new(max), object.as_bytes(), chunks);
                prop_assert_eq!(&pieces, &whole, "in windows of {}, at most {}: {}", chunk, max, object);
            }
        }
    }
}
