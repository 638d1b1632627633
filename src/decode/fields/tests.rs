use std::sync::LazyLock;

use super::*;
use crate::record::Field;

static PATHS: LazyLock<Paths> = LazyLock::new(|| Paths::new(&["a", "b.c", "b", "b.d.e"]));

/// A reader that remembers nothing.
fn fresh(paths: &'static Paths) -> FieldReader {
    FieldReader { paths, notes: Some(Notes::new(paths)) }
}

fn values<'a>(reader: &'a FieldReader, raw: &'a str) -> Vec<&'a str> {
    let record = reader.record(raw.as_bytes());
    let text = |field| record.get(Field(field)).unwrap_or_default();
    (0..4).map(|field| std::str::from_utf8(text(field)).unwrap()).collect()
}

#[test]
fn fields_are_noted() {
    for (name, raw, want) in [
        (
            "all",
            r#"{"a":1,"b":{"c":"x","d":{"e":[2]}}}"#,
            ["1", "\"x\"", r#"{"c":"x","d":{"e":[2]}}"#, "[2]"],
        ),
        ("none", r#"{"z":{"a":1}}"#, ["", "", "", ""]),
        ("blanks", "{ \"a\" : \"x\" ,\n\"b\" :\t{ } }", ["\"x\"", "", "{ }", ""]),
        ("null on the way", r#"{"a":null,"b":null}"#, ["null", "", "null", ""]),
        ("other types on the way", r#"{"b":{"d":"e"}}"#, ["", "", r#"{"d":"e"}"#, ""]),
        ("list on the way", r#"{"b":[{"c":1}]}"#, ["", "", r#"[{"c":1}]"#, ""]),
        (
            "the last twin counts",
            r#"{"a":1,"a":2,"b":{"c":1},"b":{"d":{"e":3}}}"#,
            ["2", "", r#"{"d":{"e":3}}"#, "3"],
        ),
        ("a null twin", r#"{"b":{"c":1},"b":null}"#, ["", "", "null", ""]),
        ("case counts", r#"{"A":1,"B":{"c":1}}"#, ["", "", "", ""]),
        ("escaped name", r#"{"\u0061":1,"b":{"\u0063":2}}"#, ["1", "2", r#"{"\u0063":2}"#, ""]),
        ("half a surrogate pair", r#"{"\ud800":"\ud800","a":"\udfff"}"#, [r#""\udfff""#, "", "", ""]),
    ] {
        let mut reader = fresh(&PATHS);
        assert_eq!(reader.read(raw.as_bytes()), Ok(()), "{name}");
        assert_eq!(values(&reader, raw), want, "{name}");
    }
}

#[test]
fn a_record_leaves_nothing_to_the_next() {
    let mut reader = fresh(&PATHS);
    reader.read(br#"{"a":1,"b":{"c":2}}"#).unwrap();
    reader.read(b"{}").unwrap();
    assert_eq!(values(&reader, "{}"), [""; 4]);
}

static WALKED: LazyLock<Paths> =
    LazyLock::new(|| Paths::new(&["a", "b.c", "b", "b.d.e", "f.g"]).with_named_lists(&[Field(4)]));
static REPEATING: LazyLock<Paths> = LazyLock::new(|| {
    let paths = Paths::new(&["a", "b.c", "b", "b.d.e", "f.g"]).with_named_lists(&[Field(4)]);
    paths.with_repeating(&["b", "f"])
});

/// All that a reader notes of a record.
fn all_noted(reader: &mut FieldReader, raw: &str) -> String {
    reader.read(raw.as_bytes()).unwrap();
    let record = reader.record(raw.as_bytes());
    let spans: Vec<_> = (0..5).map(|field| record.span(Field(field))).collect();
    let (twins, compact) =
        (reader.notes.as_ref().unwrap().shape.has_twins, reader.notes.as_ref().unwrap().shape.is_compact);
    format!("{spans:?} {twins} {compact} {:?}", record.named(Field(4)))
}

#[test]
fn objects_that_come_again_are_noted_as_at_first() {
    let long = "x".repeat(120);
    let long = long.as_str();
    let records: Vec<_> = [
        r#"{"b":{"c":"LONG"}}"#,
        r#"{"a":1,"b":{"c":"LONG"},"f":{"g":"LONG"}}"#,
        r#"{"b":{"z":"LONG","c":1}}"#,
        r#"{"b":{"z":"LONG","d":{"e":[{}]}},"a":{}}"#,
        r#"{"b":{"z":"LONG","d":{"e":[{}]},"c":true}}"#,
        r#"{"b":{"z":"LONG","\u0063":2}}"#,
        r#"{"b":{"z":"LONG", "c":2}}"#,
        r#"{ "b":{"c":"LONG"}}"#,
        r#"{"b":{"z":"LONG","c":1,"c":2}}"#,
        r#"{"a":1,"b":{"c":"LONG"},"b":{"z":"LONG","c":1}}"#,
        r#"{"b":{"z":"LONG","c":1},"b":{"d":"LONG"},"b":{"c":"LONG"}}"#,
        r#"{"b":{"z":"LONG","c":1},"b":null}"#,
        r#"{"b":{"z":"LONG","c":1},"b":{"z":"LONG","c":1}}"#,
        r#"{"f":{"z":"LONG","g":[{"name":"x"}]}}"#,
        r#"{"a":1,"f":{"z":"LONG","g":[{"name":"x"}]},"b":{"z":"LONG"}}"#,
        r#"{"b":{"z":"LONG"},"f":{"z":"LONG","g":[]}}"#,
        r#"{"b":{"c":"LONG?"},"f":{"g":["LONG"]}}"#,
    ]
    .map(|raw| raw.replace("LONG", long))
    .to_vec();
    let alone: Vec<_> = records.iter().map(|raw| all_noted(&mut fresh(&WALKED), raw)).collect();
    for first in 0..records.len() {
        for second in 0..records.len() {
            let mut reader = fresh(&REPEATING);
            for at in [first, second, first, second] {
                assert_eq!(all_noted(&mut reader, &records[at]), alone[at], "{}", records[at]);
            }
        }
    }
    let mut reader = fresh(&REPEATING);
    reader.read(records[0].as_bytes()).unwrap();
    assert!(
        reader.notes.as_ref().unwrap().repeats[0].find(&records[1].as_bytes()[11..], 11).is_some(),
        "it is kept"
    );
    let broken = records[0].replace("}}", "}");
    reader.read(broken.as_bytes()).expect_err("what is kept ends, the record does not");
}

#[test]
fn a_reader_remembers_what_those_before_it_read() {
    static PATHS: LazyLock<Paths> =
        LazyLock::new(|| Paths::new(&["a", "b.c", "b"]).with_repeating(&["b"]).with_named_lists(&[Field(0)]));
    let raw = format!(r#"{{"b":{{"c":"{}"}},"a":[{{"name":"x"}}]}}"#, "x".repeat(120));
    let remembers = |reader: &FieldReader| {
        reader.notes.as_ref().unwrap().repeats[0].find(&raw.as_bytes()[5..], 5).is_some()
    };
    let mut first = FieldReader::new(&PATHS);
    assert!(!remembers(&first));
    first.read(raw.as_bytes()).unwrap();
    drop(first);
    let mut second = FieldReader::new(&PATHS);
    assert!(remembers(&second));
    // and notes nothing of it
    second.read(br#"{"z":1}"#).unwrap();
    let record = second.record(br#"{"z":1}"#);
    assert_eq!([0, 1, 2].map(|field| record.get(Field(field))), [None; 3]);
    assert!(record.named(Field(0)).is_none());
    let third = FieldReader::new(&PATHS);
    assert!(!remembers(&third), "what is in use is no other's");
    drop([second, third]);
    drop(Vec::from_iter((0..2 * REMEMBERED).map(|_| FieldReader::new(&PATHS))));
    assert_eq!(PATHS.remembered.lock().unwrap().len(), REMEMBERED);
}

static LISTS: LazyLock<Paths> =
    LazyLock::new(|| Paths::new(&["a", "b.c"]).with_named_lists(&[Field(1), Field(0)]));

/// What is noted of the lists, `?` for one that is not.
fn noted(reader: &FieldReader, raw: &str) -> String {
    let record = reader.record(raw.as_bytes());
    let text = |span| std::str::from_utf8(record.bytes(span)).unwrap();
    let all = [Field(0), Field(1)].map(|field| match record.named(field) {
        Some(list) => {
            let elements = list.iter().map(|named| format!("{}={}", text(named.name), text(named.value)));
            elements.collect::<Vec<_>>().join(" ")
        }
        None => "?".to_owned(),
    });
    all.join("; ")
}

#[test]
fn lists_of_named_elements_are_noted() {
    let mut reader = fresh(&LISTS);
    let (name, value) = ("n".repeat(100), "v\\\"\\u00fc".repeat(20));
    let long = format!(r#"{{"a":[{{"name":"{name}","value":"{value}"}}]}}"#);
    let many = |count| format!(r#"{{"a":[{}]}}"#, [r#"{"name":"x"}"#].repeat(count).join(","));
    for (what, raw, want) in [
        (
            "both",
            r#"{"a":[{"name":"x","value":"1"},{"name":"","value":""}],"b":{"c":[{"name":"y"}]}}"#,
            r#"x="1" =""; y="#,
        ),
        ("long ones", &long, &format!("{name}=\"{value}\"; ?")),
        ("the last twin", r#"{"a":[{"name":"x"}],"a":[{"name":"y"}]}"#, "y=; ?"),
        ("a twin that is none", r#"{"a":[{"name":"x"}],"a":[1]}"#, "?; ?"),
        ("a twin of the same length", r#"{"b":{"c":[{"name":"x"}]},"b":{"d":[{"name":"x"}]}}"#, "?; ?"),
        ("empty", r#"{"a":[]}"#, "?; ?"),
        ("one of another form", r#"{"a":[{"name":"x"},{"value":"1","name":"y"}]}"#, "?; ?"),
        ("a third member", r#"{"a":[{"name":"x","value":"1","z":2}]}"#, "?; ?"),
        ("twins", r#"{"a":[{"name":"x","value":"1","value":"2"}]}"#, "?; ?"),
        ("another type", r#"{"a":[{"name":"x","value":1}]}"#, "?; ?"),
        ("an escape in a name", r#"{"a":[{"name":"\u0061"}]}"#, "?; ?"),
        ("blanks", r#"{"a":[{"name":"x"}, {"name":"y"}],"b":{"c":[ {"name":"y"}]}}"#, "?; ?"),
        ("no list", r#"{"a":{"name":"x"},"b":{"c":"[{}]"}}"#, "?; ?"),
        ("as many as are kept", &many(MAX_NAMED), &format!("{}; ?", ["x="].repeat(MAX_NAMED).join(" "))),
        ("one more", &many(MAX_NAMED + 1), "?; ?"),
    ] {
        assert_eq!(reader.read(raw.as_bytes()), Ok(()), "{what}");
        assert_eq!(noted(&reader, raw), want, "{what}");
    }
    for (what, raw) in [
        ("a comma at the end", r#"{"a":[{"name":"x"},]}"#),
        ("no comma", r#"{"a":[{"name":"x"}{"name":"y"}]}"#),
        ("another bracket", r#"{"a":[{"name":"x"}}}"#),
        ("a control character", "{\"a\":[{\"name\":\"\u{1}\"}]}"),
        ("an odd escape", r#"{"a":[{"name":"x","value":"\x"}]}"#),
    ] {
        reader.read(raw.as_bytes()).expect_err(what);
    }
    // the place of a list that was noted, and no list is there
    reader.read(br#"{"a":[{"name":"x"}]}"#).unwrap();
    let raw = r#"{"a":"[{'name':'']"}"#;
    reader.read(raw.as_bytes()).unwrap();
    assert_eq!(noted(&reader, raw), "?; ?");
}

#[test]
fn invalid_records_are_refused() {
    for (name, raw, reason) in [
        ("not UTF-8", &b"{\"a\":\"\xff\"}"[..], "not valid UTF-8 at byte 6"),
        ("not UTF-8 in an unknown field", b"{\"z\":[\"\xc3\"]}", "not valid UTF-8"),
        ("bare word", b"{\"a\":nope}", "not valid JSON"),
        ("no colon", b"{\"a\" 1}", "not valid JSON"),
        ("comma at the end", b"{\"a\":1,}", "not valid JSON"),
        ("leading zero", b"{\"z\":01}", "not valid JSON"),
        ("line break in a string", b"{\"z\":\"a\nb\"}", "not valid JSON"),
        ("bad escape", b"{\"z\":{\"y\":\"\\x\"}}", "not valid JSON"),
        ("bad escape in a name", b"{\"\\u12G4\":1}", "not valid JSON"),
        ("mixed brackets", b"{\"a\":[}", "not valid JSON"),
        ("no object", b"[1]", "not valid JSON"),
        ("two objects", b"{}{}", "not valid JSON"),
        ("nothing", b"", "not valid JSON"),
    ] {
        let refused = fresh(&PATHS).read(raw).unwrap_err();
        assert!(refused.starts_with(reason), "{name}: {refused}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| format!("{}1{}", "{\"b\":".repeat(levels), "}".repeat(levels));
    let lists = |levels: usize| format!("{{\"z\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let flat = format!("{{\"z\":\"{}\",\"a\":[{}0]}}", "[{\\\"".repeat(500), "[],{},".repeat(500));
    for (name, raw, deep) in [
        ("deepest object", nested(MAX_DEPTH), false),
        ("too deep object", nested(MAX_DEPTH + 1), true),
        ("deepest list", lists(MAX_DEPTH), false),
        ("too deep list", lists(MAX_DEPTH + 1), true),
        ("a million levels", lists(1_000_000), true),
        ("wide, and brackets in strings", flat, false),
    ] {
        assert_eq!(fresh(&PATHS).read(raw.as_bytes()).is_err(), deep, "{name}");
    }
}

#[test]
fn bytes_where_a_long_name_came_before_are_refused() {
    static PATHS: LazyLock<Paths> = LazyLock::new(|| Paths::new(&["requestBodySizeInspectedByWAF", "a"]));
    let mut reader = fresh(&PATHS);
    for first in ["{", "{\"a\":\"x\""] {
        let member = if first == "{" { "" } else { "," };
        let sound = format!("{first}{member}\"requestBodySizeInspectedByWAF\":1}}");
        for end in [&b"\""[..], b"1", b"\xff\""] {
            reader.read(sound.as_bytes()).unwrap();
            let mut raw = [first.as_bytes(), &[0xFF; 31], end].concat();
            raw.resize(first.len() + 100, b' ');
            for length in [first.len() + 63, raw.len()] {
                reader.read(&raw[..length]).expect_err(first);
            }
            raw.extend_from_slice(b"}");
            reader.read(&raw).expect_err(first);
        }
    }
    reader.read(br#"{"requestBodySizeInspectedByWAF":1}"#).unwrap();
    assert_eq!(reader.record(br#"{"requestBodySizeInspectedByWAF":1}"#).get(Field(0)), Some(&b"1"[..]));
}
