//! Reads one JSON record: is it valid, and where in it do the known fields lie?
//!
//! In: a table of dotted paths, then record after record. Out: one span per path. A record is
//! valid UTF-8, one strict JSON object, and nested at most [`MAX_DEPTH`] deep; any other is
//! refused with the reason. A step of a path that meets `null` or another type finds nothing.

use memchr::memchr_iter;

use crate::record::{Span, json};

/// The deepest nesting of a record, the record itself counted. A line holds its record one level
/// down and must still be readable where the limit is 128, which is common.
pub const MAX_DEPTH: usize = 120;

/// Notes the fields of one log type, record after record.
#[derive(Clone, Debug)]
pub struct FieldReader {
    roots: Vec<Node>,
    spans: Vec<Span>,
}

/// One step of the paths.
#[derive(Clone, Debug)]
struct Node {
    name: &'static str,
    /// Place in the table, where a path ends here.
    field: Option<usize>,
    children: Vec<Node>,
}

impl FieldReader {
    /// A reader of the fields at `paths`; a field's number is its place among them.
    pub fn new(paths: &[&'static str]) -> Self {
        let mut roots = Vec::new();
        for (field, path) in paths.iter().enumerate() {
            insert(&mut roots, path, field);
        }
        FieldReader { roots, spans: vec![Span::default(); paths.len()] }
    }

    /// Checks `raw`, which must be shorter than 4 GiB, and notes its fields. Of members of one
    /// name the last counts; names that differ in case are different.
    ///
    /// # Errors
    ///
    /// The reason, a lower-case fragment, when `raw` is no valid record.
    pub fn read(&mut self, raw: &[u8]) -> Result<(), String> {
        self.spans.fill(Span::default());
        let text = std::str::from_utf8(raw)
            .map_err(|error| format!("not valid UTF-8 at byte {} of the record", error.valid_up_to()))?;
        if is_too_deep(raw) {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let base = raw.as_ptr() as usize;
        note(&self.roots, text, base, &mut self.spans).map_err(|error| format!("not valid JSON: {error}"))
    }

    /// The spans of the record that was read last, in the order of the paths.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}

fn insert(nodes: &mut Vec<Node>, path: &'static str, field: usize) {
    let (name, below) = match path.split_once('.') {
        Some((name, below)) => (name, Some(below)),
        None => (path, None),
    };
    let at = nodes.iter().position(|node| node.name == name).unwrap_or_else(|| {
        nodes.push(Node { name, field: None, children: Vec::new() });
        nodes.len() - 1
    });
    match below {
        Some(below) => insert(&mut nodes[at].children, below, field),
        None => nodes[at].field = Some(field),
    }
}

/// Notes the fields of `object`; `base` is the address of the record's first byte.
fn note(nodes: &[Node], object: &str, base: usize, spans: &mut [Span]) -> serde_json::Result<()> {
    json::each_member(object, |name, value| {
        let Some(node) = nodes.iter().find(|node| json::name_is(name, node.name)) else {
            return;
        };
        // A twin before this member may have noted fields that this one does not have.
        clear(node, spans);
        if let Some(field) = node.field {
            let start = value.as_ptr() as usize - base;
            spans[field] = Span { start: start as u32, end: (start + value.len()) as u32 };
        }
        if !node.children.is_empty() && value.starts_with('{') {
            // Cannot fail: the value was checked as a part of the record.
            let _ = note(&node.children, value, base, spans);
        }
    })
}

fn clear(node: &Node, spans: &mut [Span]) {
    if let Some(field) = node.field {
        spans[field] = Span::default();
    }
    for child in &node.children {
        clear(child, spans);
    }
}

/// Whether brackets nest deeper than [`MAX_DEPTH`]; exact only when there are that many.
fn is_too_deep(raw: &[u8]) -> bool {
    if memchr_iter(b'{', raw).count() + memchr_iter(b'[', raw).count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut bytes) = (0usize, false, raw.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: &[&str] = &["a", "b.c", "b", "b.d.e"];

    fn values<'a>(reader: &FieldReader, raw: &'a str) -> Vec<&'a str> {
        reader.spans().iter().map(|span| &raw[span.start as usize..span.end as usize]).collect()
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
            let mut reader = FieldReader::new(PATHS);
            assert_eq!(reader.read(raw.as_bytes()), Ok(()), "{name}");
            assert_eq!(values(&reader, raw), want, "{name}");
        }
    }

    #[test]
    fn a_record_leaves_nothing_to_the_next() {
        let mut reader = FieldReader::new(PATHS);
        reader.read(br#"{"a":1,"b":{"c":2}}"#).unwrap();
        reader.read(b"{}").unwrap();
        assert!(reader.spans().iter().all(|span| *span == Span::default()));
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
            let refused = FieldReader::new(PATHS).read(raw).unwrap_err();
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
            assert_eq!(FieldReader::new(PATHS).read(raw.as_bytes()).is_err(), deep, "{name}");
        }
    }
}
