//! Raw JSON values: reading them without a tree, writing texts as JSON.
//!
//! In: slices of a record that a decoder found valid, still with quotes and escapes. Out: the
//! escaped text between the quotes, which can be copied into another JSON string as it is, or
//! the text it stands for. Nothing here fails on other bytes: they read as "no such value".

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr2_iter};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use wide::u8x32;

/// The still escaped text of a raw JSON string; `None` for every other value.
pub fn string_body(raw: &[u8]) -> Option<&[u8]> {
    raw.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// Like [`string_body`], and `None` as well for the two blank texts, `""` and `"-"`.
pub fn filled_string(raw: &[u8]) -> Option<&[u8]> {
    string_body(raw).filter(|body| !matches!(*body, b"" | b"-"))
}

/// Whether a raw value says nothing: `null`, `""` or `"-"`.
pub fn is_blank(raw: &[u8]) -> bool {
    matches!(raw, b"null" | b"\"\"" | b"\"-\"")
}

/// The text that an escaped string body stands for; borrowed when it has no escapes.
///
/// Half of a surrogate pair, which JSON's grammar allows, becomes U+FFFD.
pub fn unescape(body: &[u8]) -> Cow<'_, str> {
    let Some(first) = memchr(b'\\', body) else {
        return String::from_utf8_lossy(body);
    };
    let mut text = String::with_capacity(body.len());
    let (mut rest, mut at) = (body, first);
    loop {
        text.push_str(&String::from_utf8_lossy(&rest[..at]));
        rest = &rest[at..];
        let (meaning, used) = read_escape(rest);
        text.push(meaning);
        rest = &rest[used.min(rest.len())..];
        match memchr(b'\\', rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    text.push_str(&String::from_utf8_lossy(rest));
    Cow::Owned(text)
}

/// The character of the escape at the start of `rest`, and how many bytes it takes.
fn read_escape(rest: &[u8]) -> (char, usize) {
    let meaning = match rest.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&same @ (b'"' | b'\\' | b'/')) => char::from(same),
        Some(b'u') => return read_unicode_escape(rest),
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (meaning, 2)
}

fn read_unicode_escape(rest: &[u8]) -> (char, usize) {
    let Some(high) = hex4(rest.get(2..6)) else {
        return (char::REPLACEMENT_CHARACTER, 2);
    };
    if let Some(meaning) = char::from_u32(high) {
        return (meaning, 6);
    }
    if high < 0xDC00
        && rest.get(6..8) == Some(b"\\u")
        && let Some(low @ 0xDC00..=0xDFFF) = hex4(rest.get(8..12))
    {
        let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::REPLACEMENT_CHARACTER, 6)
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Appends a valid JSON value as a JSON string that holds it in compact form: blanks and line
/// breaks between its tokens are left out.
pub fn push_as_string(out: &mut Vec<u8>, raw: &[u8]) {
    out.push(b'"');
    let mut rest = raw;
    // An even piece lies outside the value's own strings, an odd one inside.
    while let Some(open) = memchr(b'"', rest) {
        push_tokens(out, &rest[..open]);
        let close = open + string_length(&rest[open..]);
        push_escaped(out, &rest[open..close]);
        rest = &rest[close..];
    }
    push_tokens(out, rest);
    out.push(b'"');
}

/// The length of the string that begins `raw`, quotes included; all of `raw` when it is cut.
pub(super) fn string_length(raw: &[u8]) -> usize {
    let mut at = plain_end(raw, 1);
    while let Some(byte) = raw.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at = plain_end(raw, at + 2),
            _ => at = plain_end(raw, at + 1),
        }
    }
    raw.len()
}

fn push_tokens(out: &mut Vec<u8>, tokens: &[u8]) {
    out.extend(tokens.iter().filter(|byte| !byte.is_ascii_whitespace()));
}

/// Appends the text of a JSON string, without its quotes.
pub fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut at = 0;
    loop {
        let end = plain_end(text, at);
        out.extend_from_slice(&text[at..end]);
        let Some(&byte) = text.get(end) else { return };
        at = end + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
}

/// The index of the first quote, backslash or control character of `text` at or after `at`, which
/// is where plain text within a JSON string ends; its length when there is none.
#[inline(always)]
pub fn plain_end(text: &[u8], mut at: usize) -> usize {
    while let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let plain = plain_bytes(block);
        if plain < BLOCK {
            return at + plain;
        }
        at += BLOCK;
    }
    while text.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | ..b' ')) {
        at += 1;
    }
    at
}

/// Whether `text` can stand within a JSON string as it is.
#[inline]
pub fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else { return plain_end(text, 0) == text.len() };
    let (blocks, _) = text.as_chunks();
    blocks.iter().chain([last]).all(|block| plain_bytes(block) == BLOCK)
}

/// Bytes looked at together.
const BLOCK: usize = 32;

/// How many bytes stand before the first quote, backslash or control character.
#[inline(always)]
pub fn plain_bytes(block: &[u8; BLOCK]) -> usize {
    let bytes = u8x32::new(*block);
    let backslashes = bytes.simd_eq(u8x32::splat(b'\\'));
    // with its second bit turned, a quote is the byte after the control characters, and no other is
    let turned = bytes ^ u8x32::splat(b'"' ^ b' ');
    let others = turned.min(u8x32::splat(b' ')).simd_eq(turned);
    // 32 where there is none
    (backslashes | others).to_bitmask().trailing_zeros() as usize
}

/// Appends a valid JSON value without the blanks and line breaks between its tokens, and of a
/// longer one the first `most` bytes, which may end within a character.
pub fn push_compact(out: &mut Vec<u8>, raw: &[u8], most: usize) {
    let (mut in_string, mut escaped) = (false, false);
    let full = out.len().saturating_add(most);
    for &byte in raw {
        if out.len() >= full {
            return;
        }
        if in_string || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
}

/// The text of a raw value: what a string stands for, a number or word as it is written, an
/// object or list in compact form; `None` for `null`.
pub fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    if let Some(body) = string_body(raw) {
        return Some(unescape(body));
    }
    match raw.first()? {
        b'n' => None,
        b'{' | b'[' => {
            let mut compact = Vec::with_capacity(raw.len());
            push_compact(&mut compact, raw, raw.len());
            Some(Cow::Owned(String::from_utf8_lossy(&compact).into_owned()))
        }
        _ => Some(String::from_utf8_lossy(raw)),
    }
}

/// Appends a valid JSON value byte for byte, except that line breaks become spaces: in valid
/// JSON they stand between tokens only.
pub fn push_one_line(out: &mut Vec<u8>, raw: &[u8]) {
    let mut copied = 0;
    for at in memchr2_iter(b'\n', b'\r', raw) {
        out.extend_from_slice(&raw[copied..at]);
        out.push(b' ');
        copied = at + 1;
    }
    out.extend_from_slice(&raw[copied..]);
}

/// The raw value of the member `name` of a raw JSON object; of twins the last one, `None` when
/// there is none or `object` is no JSON object.
pub fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut found = None;
    each_member(std::str::from_utf8(object).ok()?, |member, value| {
        if name_is(member, name) {
            found = Some(value.as_bytes());
        }
    })
    .ok()?;
    found
}

/// Whether a still escaped member name is `name`; case counts.
pub fn name_is(escaped: &str, name: &str) -> bool {
    body_is(escaped.as_bytes(), name)
}

/// Whether a still escaped string body stands for `text`; case counts.
pub fn body_is(body: &[u8], text: &str) -> bool {
    body == text.as_bytes() || (memchr(b'\\', body).is_some() && unescape(body) == text)
}

/// Calls `visit` with the still escaped name and the raw value of each member of a JSON object,
/// in their order, twins included.
///
/// # Errors
///
/// When `object` is not exactly one valid JSON object; members before the mistake were visited.
pub fn each_member<'a>(object: &'a str, visit: impl FnMut(&'a str, &'a str)) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    deserializer.deserialize_map(Members(visit))?;
    deserializer.end()
}

struct Members<F>(F);

impl<'de, F: FnMut(&'de str, &'de str)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        // Names are taken raw too, so that an odd escape in one is judged like in a value.
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            let name = name.get();
            let name = name.get(1..name.len().saturating_sub(1)).unwrap_or_default();
            (self.0)(name, map.next_value::<&'de RawValue>()?.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_bodies_and_blanks() {
        for (name, raw, body, filled, blank) in [
            ("text", r#""a\"b""#, Some(r#"a\"b"#), true, false),
            ("empty", r#""""#, Some(""), false, true),
            ("dash", r#""-""#, Some("-"), false, true),
            ("null", "null", None, false, true),
            ("number", "12", None, false, false),
            ("object", "{}", None, false, false),
            ("one quote", "\"", None, false, false),
            ("nothing", "", None, false, false),
        ] {
            let raw = raw.as_bytes();
            assert_eq!(string_body(raw), body.map(str::as_bytes), "{name}");
            assert_eq!(filled_string(raw).is_some(), filled, "{name}");
            assert_eq!(is_blank(raw), blank, "{name}");
        }
    }

    #[test]
    fn unescape_reads_each_escape() {
        for (name, body, want) in [
            ("plain", "grün", "grün"),
            ("short escapes", r#"\b\f\n\r\t\"\\\/"#, "\u{8}\u{c}\n\r\t\"\\/"),
            ("unicode", r"a\u00e9\u20ACz", "aé€z"),
            ("pair", r"\ud83d\ude00!", "😀!"),
            ("high half", r"\ud83dx", "\u{fffd}x"),
            ("high half and another escape", r"\ud83d\u0041", "\u{fffd}A"),
            ("low half", r"\ude00x", "\u{fffd}x"),
            ("text on both sides", r"ü\nö", "ü\nö"),
            ("cut escape", r"a\", "a\u{fffd}"),
            ("cut unicode", r"a\u12", "a\u{fffd}12"),
        ] {
            assert_eq!(unescape(body.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn strings_are_written_as_serde_reads_them() {
        for text in ["", "plain", "a\"b\\c/d", "line\nbreak\r\ttab", "\u{0}\u{1f}\u{7f}", "grün😀\u{2028}"]
        {
            let mut out = Vec::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text, "{text:?}");
        }
    }

    #[test]
    fn a_value_becomes_a_compact_string() {
        for (raw, want) in [
            ("{}", "{}"),
            ("{ \"a b\" :\r\n\t[ 1, \"x\\\" \\\\\" , null ] }", "{\"a b\":[1,\"x\\\" \\\\\",null]}"),
            (" 12 ", "12"),
            ("\"a b\"", "\"a b\""),
        ] {
            let mut out = Vec::new();
            push_as_string(&mut out, raw.as_bytes());
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), want, "{raw}");
        }
    }

    #[test]
    fn values_have_texts() {
        for (raw, want) in [
            ("\"a\\\"\\u00fc\"", Some("a\"ü")),
            ("\"\"", Some("")),
            ("null", None),
            ("false", Some("false")),
            ("-1.50", Some("-1.50")),
            ("{ \"a b\" :\r\n\t[ 1, \"x\\\" \\\\\" , null ] }", Some("{\"a b\":[1,\"x\\\" \\\\\",null]}")),
            ("", None),
        ] {
            assert_eq!(text(raw.as_bytes()).as_deref(), want, "{raw}");
        }
        let mut out = Vec::new();
        push_compact(&mut out, b"[ \"0123456789\"]", 6);
        assert_eq!(out, b"[\"0123");
    }

    #[test]
    fn line_breaks_become_spaces() {
        let mut out = Vec::new();
        push_one_line(&mut out, b"{\r\n\t\"a\": 1\n}");
        assert_eq!(out, b"{  \t\"a\": 1 }");
    }

    #[test]
    fn members_are_found_by_name() {
        let object = br#"{"a":1, "\u0062":{"a":2},"A":3,"a":"last","\ud800":0}"#;
        for (name, want) in [("a", Some("\"last\"")), ("b", Some("{\"a\":2}")), ("A", Some("3")), ("c", None)]
        {
            assert_eq!(member(object, name), want.map(str::as_bytes), "{name}");
        }
        for (name, bad) in
            [("no object", "[1]"), ("cut", "{\"a\":1"), ("two", "{\"a\":1}{}"), ("null", "null")]
        {
            assert_eq!(member(bad.as_bytes(), "a"), None, "{name}");
        }
    }
}
