//! Texts of CEF: what a value says, cut to its length, then escaped; all within the buffer.

use crate::record::json;

/// The end of a text that was cut.
pub(super) const CUT: &str = "…";

/// What stands behind the backslash for a byte, `None` for a byte that stands as it is.
pub(super) type Escapes = fn(u8) -> Option<u8>;

/// Escapes of header fields; line breaks are not allowed in them and become spaces before.
pub(super) const HEADER: Escapes = |byte| matches!(byte, b'\\' | b'|').then_some(byte);

/// Escapes of extension values.
pub(super) const EXTENSION: Escapes = |byte| match byte {
    b'\\' | b'=' => Some(byte),
    b'\n' => Some(b'n'),
    b'\r' => Some(b'r'),
    _ => None,
};

/// Appends what a raw JSON value says: a string's text, any other value in compact form, nothing
/// for a blank one. Of a long value at least `limit` + 1 bytes; 0 is no limit.
pub(super) fn push_said(out: &mut Vec<u8>, raw: &[u8], limit: usize) {
    if json::is_blank(raw) {
        return;
    }
    match json::string_body(raw) {
        Some(body) => out.extend_from_slice(json::unescape(body).as_bytes()),
        None => json::push_compact(out, raw, if limit == 0 { usize::MAX } else { limit + 1 }),
    }
}

/// Cuts what stands in `out` from `start` to `limit` bytes (0 is no limit), at the end of a
/// character and marked by [`CUT`], and escapes it.
pub(super) fn finish(out: &mut Vec<u8>, start: usize, limit: usize, escapes: Escapes) {
    if limit > 0 && out.len() - start > limit {
        let within = |at: &usize| out.get(*at).is_some_and(|byte| byte & 0xC0 != 0x80);
        let end = (start..=start + limit.saturating_sub(CUT.len())).rev().find(within).unwrap_or(start);
        out.truncate(end);
        out.extend_from_slice(CUT.as_bytes());
    }
    if escapes(b'\n').is_none() {
        let breaks = out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r'));
        breaks.for_each(|byte| *byte = b' ');
    }
    escape(out, start, escapes);
}

/// Escapes what stands in `out` from `start`, from its end on, so that no byte moves twice.
fn escape(out: &mut Vec<u8>, start: usize, escapes: Escapes) {
    let more = out[start..].iter().filter(|byte| escapes(**byte).is_some()).count();
    let mut from = out.len();
    out.resize(from + more, b'\\');
    let mut to = out.len();
    while from < to {
        from -= 1;
        let byte = out[from];
        to -= 1;
        out[to] = escapes(byte).unwrap_or(byte);
        if escapes(byte).is_some() {
            to -= 1;
            out[to] = b'\\';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(text: &str, limit: usize, escapes: Escapes) -> String {
        let mut out = b"=|\\before".to_vec();
        let start = out.len();
        out.extend_from_slice(text.as_bytes());
        finish(&mut out, start, limit, escapes);
        String::from_utf8(out).unwrap().strip_prefix("=|\\before").unwrap().to_owned()
    }

    #[test]
    fn escapes_of_headers_and_extensions() {
        for (name, text, header, extension) in [
            ("nothing", "", "", ""),
            ("plain", "a b", "a b", "a b"),
            ("backslash", "\\", "\\\\", "\\\\"),
            ("backslashes", "a\\\\n", "a\\\\\\\\n", "a\\\\\\\\n"),
            ("pipe", "a|b||", "a\\|b\\|\\|", "a|b||"),
            ("equals", "=a=b", "=a=b", "\\=a\\=b"),
            ("line breaks", "a\r\nb\n", "a  b ", "a\\r\\nb\\n"),
            ("wide", "ü=ö|", "ü=ö\\|", "ü\\=ö|"),
        ] {
            assert_eq!(finished(text, 0, HEADER), header, "{name}");
            assert_eq!(finished(text, 0, EXTENSION), extension, "{name}");
        }
    }

    #[test]
    fn long_texts_are_cut_before_they_are_escaped() {
        for (name, text, limit, want) in [
            ("as long as allowed", "abcdef", 6, "abcdef"),
            ("one too many", "abcdefg", 6, "abc…"),
            ("escapes do not count", "======", 6, "\\=\\=\\=\\=\\=\\="),
            ("cut, then escaped", "=======", 6, "\\=\\=\\=…"),
            ("wide, as long as allowed", "üüü", 6, "üüü"),
            ("within a character", "üüüü", 6, "ü…"),
            ("within a longer one", "😀😀", 7, "😀…"),
            ("no room but for the mark", "😀", 3, "…"),
        ] {
            let got = finished(text, limit, EXTENSION);
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn values_say() {
        for (name, raw, want) in [
            ("text", r#""a\"\u00fc""#, "a\"ü"),
            ("line break", r#""a\nb""#, "a\nb"),
            ("number", "1.50", "1.50"),
            ("word", "true", "true"),
            ("null", "null", ""),
            ("empty", "\"\"", ""),
            ("dash", "\"-\"", ""),
            ("empty object", "{ }", "{}"),
            (
                "object",
                "{ \"a b\" :\r\n\t[ 1, \"x\\\" \\\\\" , null ] }",
                "{\"a b\":[1,\"x\\\" \\\\\",null]}",
            ),
        ] {
            let mut out = Vec::new();
            push_said(&mut out, raw.as_bytes(), 100);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{name}");
        }
        let mut out = Vec::new();
        push_said(&mut out, b"[\"0123456789\"]", 5);
        assert_eq!(out, b"[\"0123", "no more is copied than tells that it is too long");
    }
}
