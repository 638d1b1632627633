//! Hides the values of secret request headers in the original of a WAF record.

use crate::record::{Record, json, waf::field, walk};

/// What stands in place of a value: the word that AWS WAF itself writes for redacted fields.
const REDACTED: &[u8] = b"\"REDACTED\"";

/// The headers whose values are hidden.
#[derive(Clone, Debug)]
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
        let raw = record.raw();
        let mut copied = 0;
        walk::each_object(record.get(field::HEADERS).unwrap_or_default(), ["name", "value"], |header| {
            if let [Some(name), Some(value)] = header
                && self.hides(name)
            {
                let start = value.as_ptr() as usize - raw.as_ptr() as usize;
                json::push_one_line(out, &raw[copied..start]);
                out.extend_from_slice(REDACTED);
                copied = start + value.len();
            }
        });
        json::push_one_line(out, &raw[copied..]);
    }

    fn hides(&self, name: &[u8]) -> bool {
        let name = json::unescape(json::string_body(name).unwrap_or_default());
        self.names.iter().any(|hidden| hidden.eq_ignore_ascii_case(name.trim()))
    }
}
