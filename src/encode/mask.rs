//! Hides the values of secret request headers in WAF records, sound ones and broken ones, wherever
//! in them AWS WAF writes headers.

use std::borrow::Cow;

use memchr::memmem;

use super::push_in_one_line;
use crate::record::waf::{PATHS, field};
use crate::record::walk;
use crate::record::{Field, Named, Record, Span, json};

/// What stands in place of a value: the word that AWS WAF itself writes for redacted fields.
const REDACTED: &[u8] = b"\"REDACTED\"";

/// The members of a record, beside the request, that have values of headers.
const RATE_BASED_RULE_LIST: &str = name_of(field::RATE_BASED_RULE_LIST);
const REQUEST_HEADERS_INSERTED: &str = name_of(field::REQUEST_HEADERS_INSERTED);

const fn name_of(field: Field) -> &'static str {
    PATHS[field.0 as usize]
}

/// The headers whose values are hidden.
#[derive(Clone, Debug, Default)]
pub struct HeaderMask {
    names: Vec<String>,
    /// A bit for each length that a name of them has; the last one for all longer ones too.
    lengths: u64,
}

impl HeaderMask {
    /// Hides the values of these headers; upper and lower case are the same.
    pub fn new(names: &[String]) -> Self {
        let lengths = names.iter().fold(0, |lengths, name| lengths | length_bit(name.len()));
        HeaderMask { names: names.to_vec(), lengths }
    }

    /// Appends a WAF record in one line, byte for byte but for line breaks and hidden values.
    pub fn push_one_line(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.judge(record, |_, _| {}).push_one_line(record, out);
    }

    /// What is hidden of a WAF record. Calls `shown` with the name, still escaped, and the place of
    /// the value of each header that is not.
    #[inline(always)]
    pub(super) fn judge<'r>(&self, record: &Record<'r>, mut shown: impl FnMut(&'r [u8], Span)) -> Hidden {
        let (mut hidden, raw) = (Hidden::default(), record.raw());
        let list = record.span(field::HEADERS).unwrap_or_default();
        let has_twins = record.shape().has_twins;
        if has_twins {
            self.judge_twins(raw, list, &mut hidden);
        }
        self.judge_request(record, list, &mut hidden, &mut shown);
        // nearly always empty
        let others =
            [field::RATE_BASED_RULE_LIST, field::REQUEST_HEADERS_INSERTED].map(|list| record.span(list));
        if has_twins || others.iter().flatten().any(|list| may_have_elements(raw, *list)) {
            self.judge_others(raw, &mut hidden);
        }
        hidden
    }

    /// Judges the headers of the request, which lie at `list`.
    #[inline(always)]
    fn judge_request<'r>(
        &self,
        record: &Record<'r>,
        list: Span,
        hidden: &mut Hidden,
        shown: &mut impl FnMut(&'r [u8], Span),
    ) {
        let raw = record.raw();
        let Some(headers) = record.named(field::HEADERS) else {
            self.judge_any(raw, list, hidden, shown);
            return;
        };
        for Named { name, value } in headers.iter().copied().filter(|header| header.value != Span::default())
        {
            let name = bytes(raw, name);
            match self.hides_unescaped(name) {
                true => hidden.push(value),
                false => shown(name, value),
            }
        }
    }

    /// Hides the values of the lists of headers before `last`, which readers of JSON do not see.
    #[cold]
    fn judge_twins(&self, raw: &[u8], last: Span, hidden: &mut Hidden) {
        walk::each_member(raw, |name, request| {
            if !walk::is_name(name, "httpRequest") {
                return;
            }
            walk::each_member(request, |name, list| {
                let list = span_in(raw, list);
                if walk::is_name(name, "headers") && list != last {
                    self.judge_any(raw, list, hidden, &mut |_, _| {});
                }
            });
        });
    }

    /// Hides the values of headers that stand elsewhere than in the request: what rules counted
    /// requests by, and what they inserted. These lists may stand before the request, or twice.
    #[cold]
    fn judge_others(&self, raw: &[u8], hidden: &mut Hidden) {
        walk::each_member(raw, |name, list| {
            let list = span_in(raw, list);
            if walk::is_name(name, REQUEST_HEADERS_INSERTED) {
                self.judge_any(raw, list, hidden, &mut |_, _| {});
            } else if walk::is_name(name, RATE_BASED_RULE_LIST) {
                walk::each_object(raw, list, |rule| self.judge_rule(raw, rule, hidden));
            }
        });
        hidden.sort();
    }

    /// Hides what a rule counted requests by, where that is a hidden header or a cookie.
    fn judge_rule(&self, raw: &[u8], rule: Span, hidden: &mut Hidden) {
        walk::each_member(bytes(raw, rule), |name, keys| {
            if walk::is_name(name, "customValues") {
                walk::each_object(raw, span_in(raw, keys), |key| self.judge_key(raw, key, hidden));
            }
        });
    }

    /// Hides all values of a key that has the kind and the name of a hidden one, twins included.
    fn judge_key(&self, raw: &[u8], key: Span, hidden: &mut Hidden) {
        let (mut is_header, mut is_cookie, mut is_named, mut values) = (false, false, false, Vec::new());
        walk::each_member(bytes(raw, key), |name, value| {
            let text = json::string_body(value);
            if walk::is_name(name, "key") {
                let kind = text.map(json::unescape).unwrap_or_default();
                is_header |= kind.trim().eq_ignore_ascii_case("HEADER");
                is_cookie |= kind.trim().eq_ignore_ascii_case("COOKIE");
            } else if walk::is_name(name, "name") {
                is_named |= text.is_some_and(|name| self.hides(name));
            } else if walk::is_name(name, "value") {
                values.push(span_in(raw, value));
            }
        });
        if is_header && is_named || is_cookie && self.hides(b"Cookie") {
            values.into_iter().for_each(|value| hidden.push(value));
        }
    }

    /// Judges a list of headers in any form.
    #[cold]
    fn judge_any<'r>(
        &self,
        raw: &'r [u8],
        list: Span,
        hidden: &mut Hidden,
        shown: &mut impl FnMut(&'r [u8], Span),
    ) {
        walk::each_object(raw, list, |header| {
            if let Some((name, value)) = self.judge_header(raw, header, hidden) {
                shown(name, value);
            }
        });
    }

    /// Hides all values of a header one of whose names is hidden; of any other returns the last
    /// name and the last value, as readers of JSON take them.
    fn judge_header<'r>(&self, raw: &'r [u8], object: Span, hidden: &mut Hidden) -> Option<(&'r [u8], Span)> {
        let header = bytes(raw, object);
        let (mut is_hidden, mut last_name, mut values) = (false, None, Vec::new());
        walk::each_member(header, |name, value| {
            if walk::is_name(name, "name") {
                last_name = json::string_body(value);
                is_hidden |= last_name.is_some_and(|name| self.hides(name));
            } else if walk::is_name(name, "value") {
                values.push(span_in(raw, value));
            }
        });
        if is_hidden {
            values.into_iter().for_each(|value| hidden.push(value));
            return None;
        }
        last_name.zip(values.pop())
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

    /// Whether the value of a header is hidden, by its name, in which nothing is escaped.
    #[inline(always)]
    fn hides_unescaped(&self, name: &[u8]) -> bool {
        match name {
            // nearly all names: there is nothing to trim
            [first @ b'!'..=b'~', .., b'!'..=b'~'] => {
                self.lengths & length_bit(name.len()) != 0
                    && self.names.iter().map(String::as_bytes).any(|hidden| {
                        hidden.first().is_some_and(|own| own.eq_ignore_ascii_case(first))
                            && hidden.eq_ignore_ascii_case(name)
                    })
            }
            _ => self.hides(name),
        }
    }

    /// Whether the value of a header is hidden, by its still escaped name.
    #[cold]
    fn hides(&self, name: &[u8]) -> bool {
        let name = json::unescape(name);
        self.names.iter().any(|hidden| hidden.eq_ignore_ascii_case(name.trim()))
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn bytes(raw: &[u8], span: Span) -> &[u8] {
    &raw[span.start as usize..span.end as usize]
}

/// Whether there is a list, and not an empty one as AWS writes it.
#[inline(always)]
fn may_have_elements(raw: &[u8], list: Span) -> bool {
    list.end - list.start > 2 && raw.get(list.start as usize) == Some(&b'[')
}

/// Where a slice of a record lies in it.
fn span_in(raw: &[u8], slice: &[u8]) -> Span {
    let start = (slice.as_ptr() as usize - raw.as_ptr() as usize) as u32;
    Span { start, end: start + slice.len() as u32 }
}

/// The values of a record that are hidden, in their order.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// The first ones; hardly a request has more secrets.
    few: [Span; FEW],
    count: usize,
    more: Vec<Span>,
}

const FEW: usize = 6;

impl Hidden {
    fn push(&mut self, value: Span) {
        match self.few.get_mut(self.count) {
            Some(place) => {
                *place = value;
                self.count += 1;
            }
            None => self.more.push(value),
        }
    }

    /// Puts them in their order.
    fn sort(&mut self) {
        let mut all = [&self.few[..self.count], &self.more].concat();
        all.sort_unstable_by_key(|value| value.start);
        *self = Hidden::default();
        all.into_iter().for_each(|value| self.push(value));
    }

    /// Appends the bytes of the record in one line, as they are but for line breaks and these
    /// values.
    pub(super) fn push_one_line(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let (raw, mut copied) = (record.raw(), 0);
        for value in self.few[..self.count].iter().chain(&self.more) {
            push_in_one_line(record, &raw[copied..value.start as usize], out);
            out.extend_from_slice(REDACTED);
            copied = value.end as usize;
        }
        push_in_one_line(record, &raw[copied..], out);
    }
}

/// The member of a header that has its value.
const VALUE: &str = "\"value\"";

/// Where the object of a header ends, of which the value is at hand: at the first brace after a
/// quote that is not escaped, as those of JSON within the value are.
fn header_end(value: &[u8]) -> usize {
    let ends = |at: &usize| match value[..*at].trim_ascii_end() {
        [before @ .., b'"'] => before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0,
        _ => false,
    };
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
            (
                "JSON in it",
                r#"{"h":[{"name":"Cookie","value":"p={\"a\":\"b\"}; s3cret"}],x}"#,
                r#"{"h":[{"name":"Cookie:"REDACTED"}],x}"#,
            ),
            (
                "a backslash at its end",
                r#"{"h":[{"name":"Cookie","value":"s3cret\\"}],x}"#,
                r#"{"h":[{"name":"Cookie:"REDACTED"}],x}"#,
            ),
            (
                "cut in JSON in it",
                r#"{"h":[{"name":"Cookie","value":"p={\"a\":\"b\"}; s3cret"#,
                r#"{"h":[{"name":"Cookie:"REDACTED""#,
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
