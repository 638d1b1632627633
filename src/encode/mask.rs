//! Hides the values of secret request headers in WAF records, sound ones and broken ones.

use std::borrow::Cow;

use memchr::memmem;

use crate::record::{Record, json, waf::field, walk};

/// What stands in place of a value: the word that AWS WAF itself writes for redacted fields.
const REDACTED: &[u8] = b"\"REDACTED\"";

/// The headers whose values are hidden.
#[derive(Clone, Debug, Default)]
pub struct HeaderMask {
    names: Vec<String>,
}

impl HeaderMask {
    /// Hides the values of these headers; upper and lower case are the same.
    pub fn new(names: &[String]) -> Self {
        HeaderMask { names: names.to_vec() }
    }

    /// Appends a WAF record in one line, byte for byte but for line breaks and hidden values.
    pub fn push_one_line(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let mut hidden = Vec::new();
        walk::each_object(record.get(field::HEADERS).unwrap_or_default(), ["name", "value"], |header| {
            if let [Some(name), Some(value)] = header
                && self.hides(json::string_body(name).unwrap_or_default())
            {
                hidden.push(value);
            }
        });
        push_hiding(&hidden, record, out);
    }

    /// What may be shown of bytes that should be a WAF record and are none. In them nobody can
    /// tell which value belongs to which header, nor where a value that is cut ends: what follows
    /// any `"value"` or hidden name is hidden, to the end of the header or of the bytes; and bytes
    /// that do not begin as a record does may begin within a value, so nothing is shown of those.
    pub fn hide_in_broken<'r>(&self, raw: &'r [u8]) -> Cow<'r, [u8]> {
        if self.names.is_empty() || raw.is_empty() {
            return Cow::Borrowed(raw);
        }
        if !raw.starts_with(b"{") {
            return Cow::Borrowed(b"REDACTED");
        }
        let (mut shown, mut copied) = (Vec::with_capacity(raw.len()), 0);
        for end in self.secrets_begin(raw) {
            if end >= copied {
                shown.extend_from_slice(&raw[copied..end]);
                shown.push(b':');
                shown.extend_from_slice(REDACTED);
                copied = end + header_end(&raw[end..]);
            }
        }
        shown.extend_from_slice(&raw[copied..]);
        Cow::Owned(shown)
    }

    /// The ends of all that a secret may follow, in their order.
    fn secrets_begin(&self, raw: &[u8]) -> Vec<usize> {
        let lower_case = raw.to_ascii_lowercase();
        let names = self.names.iter().map(|name| name.to_ascii_lowercase());
        let mut ends = Vec::new();
        for before in names.chain([VALUE.to_owned()]) {
            ends.extend(memmem::find_iter(&lower_case, &before).map(|at| at + before.len()));
        }
        ends.sort_unstable();
        ends
    }

    /// Whether the value of a header is hidden, by its still escaped name.
    pub(super) fn hides(&self, name: &[u8]) -> bool {
        // nearly all names are plain: there is nothing to unescape and to trim
        if name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\') {
            return self.names.iter().any(|hidden| hidden.as_bytes().eq_ignore_ascii_case(name));
        }
        let name = json::unescape(name);
        self.names.iter().any(|hidden| hidden.eq_ignore_ascii_case(name.trim()))
    }
}

/// Appends a record in one line, byte for byte but for line breaks and these of its values, which
/// are in their order.
pub(super) fn push_hiding(hidden: &[&[u8]], record: &Record<'_>, out: &mut Vec<u8>) {
    let raw = record.raw();
    let mut copied = 0;
    for value in hidden {
        let start = value.as_ptr() as usize - raw.as_ptr() as usize;
        json::push_one_line(out, &raw[copied..start]);
        out.extend_from_slice(REDACTED);
        copied = start + value.len();
    }
    json::push_one_line(out, &raw[copied..]);
}

/// The member of a header that has its value.
const VALUE: &str = "\"value\"";

/// Where the object of a header ends, of which the value is at hand: at the first brace after a
/// quote.
fn header_end(value: &[u8]) -> usize {
    let ends = |at: &usize| value[..*at].trim_ascii_end().ends_with(b"\"");
    memchr::memchr_iter(b'}', value).find(ends).unwrap_or(value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_shown_of_broken_records() {
        let mask = HeaderMask::new(&["Cookie".to_owned()]);
        for (name, raw, want) in [
            ("nothing", "", ""),
            ("no headers", r#"{"a":nope}"#, r#"{"a":nope}"#),
            (
                "a bad word behind",
                r#"{"h":[{"name":"Cookie","value":"s3cret"},{"name":"Host","value":"s3cret"}],"a":nope}"#,
                r#"{"h":[{"name":"Cookie:"REDACTED"},{"name":"Host","value":"REDACTED"}],"a":nope}"#,
            ),
            (
                "cut within the value",
                r#"{"h":[{"name":"Cookie","value":"s3cr"#,
                r#"{"h":[{"name":"Cookie:"REDACTED""#,
            ),
            (
                "a quote too many",
                r#"{"h":[{"name":"Cookie","value":"s3"cret" } ],"a":1}"#,
                r#"{"h":[{"name":"Cookie:"REDACTED"} ],"a":1}"#,
            ),
            (
                "braces and commas in it",
                r#"{"h":[{"name":"Cookie","value":"s3{cret},\"s3cret\""},nope]}"#,
                r#"{"h":[{"name":"Cookie:"REDACTED"},nope]}"#,
            ),
            (
                "the value first, no colon",
                r#"{"h":[{"value" "s3cret","name":"Cookie"}],}"#,
                r#"{"h":[{"value":"REDACTED"}],}"#,
            ),
            (
                "another spelling of the name",
                r#"{"h":[{"name":"cOOkie","valu":"s3cret"}],}"#,
                r#"{"h":[{"name":"cOOkie:"REDACTED"}],}"#,
            ),
            ("a value of lines", "{\"value\":\"s3cret\ns3cret\n", "{\"value\":\"REDACTED\""),
            ("begun within a value", r#"s3cret"},{"name":"a"}]}"#, "REDACTED"),
        ] {
            let shown = mask.hide_in_broken(raw.as_bytes());
            assert_eq!(String::from_utf8_lossy(&shown), want, "{name}");
            let all = HeaderMask::default().hide_in_broken(raw.as_bytes()).into_owned();
            assert_eq!(all, raw.as_bytes(), "{name}: nothing is to be hidden");
        }
    }
}
