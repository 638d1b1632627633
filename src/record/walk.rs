//! Steps through the values of JSON that a decoder found valid, without checking it again.
//!
//! In: a raw value. Out: slices of it. Other bytes give other slices or fewer of them; nothing
//! here fails on them.

use memchr::memchr3;
use wide::u8x32;

use super::{Span, json};

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

/// A header in a raw list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// `{"name":"…","value":"…"}` to the byte, as AWS writes it, with no escape in the name.
    Plain {
        /// What stands between the quotes of the name.
        name: Span,
        /// The value, its quotes included.
        value: Span,
    },
    /// An object in any other form.
    Other(Span),
}

/// Calls `visit` with each object in the list of headers at `list` of `raw`. Elements of other
/// types are passed over.
#[inline(always)]
pub fn each_header(raw: &[u8], list: Span, mut visit: impl FnMut(Header)) {
    each_element(raw, list, |place| match place {
        Place::Brace(at) => plain_header(raw, at).map(|(header, end)| {
            visit(header);
            end
        }),
        Place::Object(object) => {
            visit(Header::Other(object));
            None
        }
    });
}

#[inline(always)]
fn plain_header(raw: &[u8], at: usize) -> Option<(Header, usize)> {
    let name = after(raw, at, b"{\"name\":\"")?;
    let name_end = unescaped_end(raw, name);
    let value = after(raw, name_end, b"\",\"value\":\"")?;
    let value_end = string_end(raw, value);
    let end = after(raw, value_end, b"\"}")?;
    Some((Header::Plain { name: span(name, name_end), value: span(value - 1, value_end + 1) }, end))
}

/// Calls `visit` with the raw member `name` of each object in the list at `list` of `raw`, of
/// twins with the last. What has none is passed over.
#[inline(always)]
pub fn each_name<'a>(raw: &'a [u8], list: Span, mut visit: impl FnMut(&'a [u8])) {
    each_element(raw, list, |place| match place {
        Place::Brace(at) => {
            let name = after(raw, at, b"{\"name\":\"")?;
            let name_end = string_end(raw, name);
            let end = after(raw, name_end, b"\"}")?;
            visit(&raw[name - 1..=name_end]);
            Some(end)
        }
        Place::Object(object) => {
            let mut last = None;
            each_member(&raw[object.start as usize..object.end as usize], |name, value| {
                if is_name(name, "name") {
                    last = Some(value);
                }
            });
            last.into_iter().for_each(&mut visit);
            None
        }
    });
}

/// Something in a list.
enum Place {
    /// Most likely the brace of an object.
    Brace(usize),
    /// An object.
    Object(Span),
}

/// Calls `read` with the place of each element in the list at `list` of `raw`. When that finds an
/// object there in the form it knows, it returns the index after it; else it gets the object,
/// where there is one.
#[inline(always)]
fn each_element(raw: &[u8], list: Span, mut read: impl FnMut(Place) -> Option<usize>) {
    let (start, list_end) = (list.start as usize, list.end as usize);
    if raw.get(start) != Some(&b'[') {
        return;
    }
    let mut at = start + 1;
    loop {
        if let Some(end) = read(Place::Brace(at)) {
            at = end;
            match raw.get(at) {
                Some(b',') => at += 1,
                Some(b']') => return,
                _ => {}
            }
            continue;
        }
        let Some(object) = next_element(raw, &mut at, list_end) else { return };
        if raw[object.start as usize] == b'{' {
            read(Place::Object(object));
        }
        if raw.get(at) == Some(&b',') {
            at += 1;
        }
    }
}

/// Passes over the element of a list at or after `at`; `None` behind the last.
fn next_element(raw: &[u8], at: &mut usize, list_end: usize) -> Option<Span> {
    let mut walk = Walk::new(raw.get(*at..list_end)?);
    let length = walk.pass()?.len();
    let end = list_end - walk.rest.len();
    *at = end;
    Some(span(end - length, end))
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

/// The index after `token`, `None` when something else is at `at`.
#[inline(always)]
fn after<const N: usize>(raw: &[u8], at: usize, token: &[u8; N]) -> Option<usize> {
    (raw.get(at..)?.first_chunk() == Some(token)).then_some(at + N)
}

/// The index of the quote that ends a string, of which `at` is the first byte.
#[inline(always)]
fn string_end(raw: &[u8], at: usize) -> usize {
    let end = unescaped_end(raw, at);
    if raw.get(end) == Some(&b'"') { end } else { at - 2 + json::string_length(&raw[at - 1..]) }
}

/// The index of the first quote or backslash at or after `at`; the length of `raw` when there is
/// none.
#[inline(always)]
fn unescaped_end(raw: &[u8], mut at: usize) -> usize {
    const BLOCK: usize = 32;
    while let Some(block) = raw.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        let bytes = u8x32::new(*block);
        let found = bytes.simd_eq(u8x32::splat(b'"')) | bytes.simd_eq(u8x32::splat(b'\\'));
        let found = found.to_bitmask();
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += BLOCK;
    }
    let rest = raw.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len())
}

/// Spans lie within a record, which is shorter than 4 GiB.
fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
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

    /// The span of a whole list.
    fn whole(list: &str) -> Span {
        span(0, list.len())
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
            let mut seen = Vec::new();
            each_name(list.as_bytes(), whole(list), |name| seen.push(String::from_utf8_lossy(name)));
            assert_eq!(seen.join(" "), want, "{name}");
        }
    }

    #[test]
    fn bodies_are_those_of_filled_strings() {
        for raw in ["\"text\"", "\"a\"", "\"--\"", "\"-\"", "\"\"", "null", "-12", "{}", "[\"-\"]", ""] {
            let body = filled_body(raw.as_bytes(), whole(raw));
            let text = &raw[body.start as usize..body.end as usize];
            assert_eq!(text.as_bytes(), json::filled_string(raw.as_bytes()).unwrap_or_default(), "{raw}");
        }
    }

    #[test]
    fn headers_of_both_forms() {
        for (name, list, want) in [
            ("plain", r#"[{"name":"a","value":"b"},{"name":"c","value":"\"}]\\"}]"#, r#"a="b" c="\"}]\\""#),
            ("escaped name", r#"[{"name":"\u0061","value":"b"}]"#, r#"{"name":"\u0061","value":"b"}"#),
            (
                "another order",
                r#"[{"value":"b","name":"a"},{"name":"c","value":""}]"#,
                r#"{"value":"b","name":"a"} c="""#,
            ),
            ("twins", r#"[{"name":"a","value":"b","value":"c"}]"#, r#"{"name":"a","value":"b","value":"c"}"#),
            (
                "blanks",
                "[{\"name\":\"a\",\"value\":\"b\"} , {\"name\":\"c\",\"value\":\"d\"}\n]",
                r#"a="b" {"name":"c","value":"d"}"#,
            ),
            (
                "no text",
                r#"[{"name":"a","value":1},{"name":2,"value":"b"}]"#,
                r#"{"name":"a","value":1} {"name":2,"value":"b"}"#,
            ),
            ("other elements", r#"[1,[{"name":"a","value":"b"}],"x",{},null]"#, "{}"),
            ("empty", "[]", ""),
            ("no list", r#"{"name":"a","value":"b"}"#, ""),
        ] {
            let mut seen = Vec::new();
            let text = |span: Span| &list[span.start as usize..span.end as usize];
            each_header(list.as_bytes(), whole(list), |header| {
                seen.push(match header {
                    Header::Plain { name, value } => format!("{}={}", text(name), text(value)),
                    Header::Other(object) => text(object).to_owned(),
                });
            });
            assert_eq!(seen.join(" "), want, "{name}");
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
                each_header(raw, span(0, end), |_| {});
                each_name(raw, span(0, end), |_| {});
            }
        }
    }
}
