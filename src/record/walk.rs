//! Steps through the values of JSON that a decoder found valid, without checking it again.
//!
//! In: a raw value. Out: slices of it. Other bytes give other slices or fewer of them; nothing
//! here fails on them.

use memchr::memchr3;

use super::{Field, Record, Span, json};

/// A place in a raw value.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Before the first byte of `raw`.
    pub fn new(raw: &'a [u8]) -> Self {
        Walk { rest: raw }
    }

    /// Steps into the object (`{`) or list (`[`) at hand; `false`, and nothing else, when there
    /// is none.
    pub fn open(&mut self, bracket: u8) -> bool {
        let is_there = self.first() == Some(bracket);
        if is_there {
            self.rest = &self.rest[1..];
        }
        is_there
    }

    /// Passes over a name or a whole value; at the end of an object or list steps out of it and
    /// returns `None`.
    pub fn pass(&mut self) -> Option<&'a [u8]> {
        let length = match self.first()? {
            b'}' | b']' => {
                self.rest = &self.rest[1..];
                return None;
            }
            b'"' => json::string_length(self.rest),
            b'{' => container_length(self.rest, b'{', b'}'),
            b'[' => container_length(self.rest, b'[', b']'),
            _ => self.rest.iter().position(|byte| is_between(*byte) || matches!(byte, b'}' | b']'))?,
        };
        let (value, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(value)
    }

    /// The first byte of what comes next.
    fn first(&mut self) -> Option<u8> {
        while let Some((first, rest)) = self.rest.split_first() {
            if !is_between(*first) {
                return Some(*first);
            }
            self.rest = rest;
        }
        None
    }
}

fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')
}

fn container_length(raw: &[u8], open: u8, close: u8) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(found) = raw.get(at..).and_then(|rest| memchr3(b'"', open, close, rest)) {
        at += found;
        match raw[at] {
            b'"' => {
                at += json::string_length(&raw[at..]);
                continue;
            }
            byte if byte == open => depth += 1,
            _ => depth = depth.saturating_sub(1),
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    raw.len()
}

/// Calls `visit` with each object in the list at `list` of `raw`. Elements of other types are
/// passed over.
pub fn each_object(raw: &[u8], list: Span, mut visit: impl FnMut(Span)) {
    let Some(bytes) = raw.get(list.start as usize..list.end as usize) else { return };
    let mut walk = Walk::new(bytes);
    if !walk.open(b'[') {
        return;
    }
    while let Some(element) = walk.pass() {
        if element.starts_with(b"{") {
            let end = list.end - walk.rest.len() as u32; // no more than the list
            visit(Span { start: end - element.len() as u32, end });
        }
    }
}

/// Calls `visit` with the raw member `name` of each object in a list of the record, of twins with
/// the last. What has none is passed over.
#[inline(always)]
pub fn each_name<'a>(record: &Record<'a>, list: Field, mut visit: impl FnMut(&'a [u8])) {
    match record.named(list) {
        Some(elements) => elements.iter().for_each(|element| {
            let Span { start, end } = element.name;
            visit(record.bytes(Span { start: start - 1, end: end + 1 }));
        }),
        None => each_name_of_any(record, list, visit),
    }
}

#[cold]
fn each_name_of_any<'a>(record: &Record<'a>, list: Field, mut visit: impl FnMut(&'a [u8])) {
    each_object(record.raw(), record.span(list).unwrap_or_default(), |object| {
        let mut last = None;
        each_member(record.bytes(object), |name, value| {
            if is_name(name, "name") {
                last = Some(value);
            }
        });
        last.into_iter().for_each(&mut visit);
    });
}

/// Calls `visit` with each name, raw, and each value of a raw object, in their order.
pub fn each_member<'a>(object: &'a [u8], mut visit: impl FnMut(&'a [u8], &'a [u8])) {
    let mut walk = Walk::new(object);
    if !walk.open(b'{') {
        return;
    }
    while let Some(name) = walk.pass() {
        if let Some(value) = walk.pass() {
            visit(name, value);
        }
    }
}

/// What stands between the quotes of the value at `value`; empty when that is no text or says
/// nothing, as [`json::filled_string`] has it.
#[inline(always)]
pub fn filled_body(raw: &[u8], value: Span) -> Span {
    let Span { start, end } = value;
    if raw.get(start as usize) != Some(&b'"') || end - start < 3 {
        return Span::default();
    }
    if end - start == 3 && raw.get(start as usize + 1) == Some(&b'-') {
        return Span::default();
    }
    Span { start: start + 1, end: end - 1 }
}

/// The raw value at a dotted path below a raw object. A member whose own name has dots is found
/// too: at each step the whole rest of the path is tried first.
pub fn at_path<'a>(object: &'a [u8], path: &str) -> Option<&'a [u8]> {
    let (step, below) = path.split_once('.').unwrap_or((path, ""));
    let (mut whole, mut first) = (None, None);
    each_member(object, |name, value| {
        if is_name(name, path) {
            whole = Some(value);
        } else if !below.is_empty() && is_name(name, step) {
            first = Some(value);
        }
    });
    whole.or_else(|| at_path(first?, below))
}

/// Whether a raw member name is `name`; case counts.
pub fn is_name(raw: &[u8], name: &str) -> bool {
    json::string_body(raw).is_some_and(|body| json::body_is(body, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stepped_through() {
        let raw = br#" { "a" : [1, {"b":"]\"}"}, []] , "c":-1.5e3,"d":{"e":[{}]},"f":null}"#;
        let mut walk = Walk::new(raw);
        assert!(!walk.open(b'['));
        assert!(walk.open(b'{'));
        assert_eq!(walk.pass(), Some(&b"\"a\""[..]));
        let mut inside = walk;
        assert!(inside.open(b'['));
        for want in [&b"1"[..], br#"{"b":"]\"}"}"#, b"[]"] {
            assert_eq!(inside.pass(), Some(want));
        }
        assert_eq!(inside.pass(), None);
        assert_eq!(inside.pass(), Some(&b"\"c\""[..]), "after the end of the list");
        for want in [r#"[1, {"b":"]\"}"}, []]"#, "\"c\"", "-1.5e3", "\"d\"", r#"{"e":[{}]}"#, "\"f\"", "null"]
        {
            assert_eq!(walk.pass(), Some(want.as_bytes()));
        }
        assert_eq!((walk.pass(), walk.pass()), (None, None));
    }

    /// The span of a whole value.
    fn whole(raw: &[u8]) -> Span {
        Span { start: 0, end: raw.len() as u32 }
    }

    #[test]
    fn names_of_each_object() {
        for (name, list, want) in [
            ("plain", r#"[{"name":"a"},{"name":"b\""},{"name":""}]"#, r#""a" "b\"" """#),
            ("blanks", "[ {\"name\": \"a\"} ,\n{\"name\":\"b\"}\n]", r#""a" "b""#),
            (
                "others beside it",
                r#"[ {"x":{"name":1}, "name":"a"},{"name":"b","x":1},{"x":2}]"#,
                r#""a" "b""#,
            ),
            ("twins", r#"[{"name":"a","name":"c"}]"#, r#""c""#),
            ("escaped", r#"[{"n\u0061me":"a"}]"#, r#""a""#),
            ("other types", r#"[{"name":1},{"name":[{"name":"no"}]}]"#, r#"1 [{"name":"no"}]"#),
            ("other elements", r#"[1,[{"name":"no"}],"x",null,{"name":"a"}]"#, r#""a""#),
            ("empty", "[]", ""),
            ("no list", r#"{"name":"a"}"#, ""),
            ("null", "null", ""),
        ] {
            let (spans, mut seen) = ([whole(list.as_bytes())], Vec::new());
            each_name(&Record::new(list.as_bytes(), &spans), Field(0), |name| {
                seen.push(String::from_utf8_lossy(name));
            });
            assert_eq!(seen.join(" "), want, "{name}");
        }
    }

    #[test]
    fn bodies_are_those_of_filled_strings() {
        for raw in ["\"text\"", "\"a\"", "\"--\"", "\"-\"", "\"\"", "null", "-12", "{}", "[\"-\"]", ""] {
            let body = filled_body(raw.as_bytes(), whole(raw.as_bytes()));
            let text = &raw[body.start as usize..body.end as usize];
            assert_eq!(text.as_bytes(), json::filled_string(raw.as_bytes()).unwrap_or_default(), "{raw}");
        }
    }

    #[test]
    fn objects_of_a_list() {
        for (list, want) in [
            (r#"[{"a":"]}"}, {} ,1,[{}],"x",null,{"b":{}}]"#, r#"{"a":"]}"} {} {"b":{}}"#),
            ("[]", ""),
            (r#"{"a":{}}"#, ""),
            ("null", ""),
        ] {
            let text = format!("before{list}");
            let list = Span { start: 6, end: text.len() as u32 };
            let mut seen = Vec::new();
            each_object(text.as_bytes(), list, |object| {
                seen.push(&text[object.start as usize..object.end as usize]);
            });
            assert_eq!(seen.join(" "), want, "{text}");
        }
    }

    #[test]
    fn paths_are_followed() {
        let object =
            br#"{"a":{"b":{"c":1},"b.c":2},"x.y":3,"x":{"y":4},"l":[{"a":1}],"t":5,"t":6,"u\u0076":7}"#;
        for (path, want) in [
            ("a.b.c", Some("2")),
            ("a.b", Some(r#"{"c":1}"#)),
            ("x.y", Some("3")),
            ("t", Some("6")),
            ("uv", Some("7")),
            ("l.a", None),
            ("t.a", None),
            ("A", None),
            ("", None),
            ("a.", None),
            (".", None),
        ] {
            assert_eq!(at_path(object, path), want.map(str::as_bytes), "{path}");
        }
        assert_eq!(at_path(b"[1]", "a"), None);
    }

    #[test]
    fn other_bytes_do_no_harm() {
        for raw in [
            &b"{"[..],
            b"{\"",
            b"{\"a",
            b"{\"a\":",
            b"{\"a\\",
            b"[[[",
            b"]",
            b"",
            b"{{\"a\":1",
            b"[}{",
            b"[{\"name\":\"a\\",
        ] {
            at_path(raw, "a.b");
            for end in [raw.len(), raw.len() + 1] {
                let spans = [Span { start: 0, end: end as u32 }];
                each_object(raw, spans[0], |_| {});
                each_name(&Record::new(raw, &spans), Field(0), |_| {});
            }
        }
    }
}
