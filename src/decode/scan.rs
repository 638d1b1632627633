//! Finds the end of one JSON value, over as many windows as it takes.
//!
//! In: bytes that begin with the value. Out: its length, once it is at hand. What has been
//! looked at is not looked at again. Only strings and brackets are followed, so a found value
//! need not be valid; brackets of the other kind are not counted, so that a stray one damages
//! its record and not the object.

use memchr::{memchr2, memchr3};

/// What a value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number, `true`, `false` or `null`: it ends before a blank, `,`, `]` or `}`.
    Scalar,
}

/// A search for the end of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    kind: Kind,
    /// Open brackets of the value's own kind.
    depth: usize,
    in_string: bool,
    scanned: usize,
}

impl Scan {
    /// A search for the end of the value that begins with `first`; `None` when no JSON value
    /// begins so.
    pub fn begin(first: u8) -> Option<Self> {
        let kind = match first {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Kind::Scalar,
            _ => return None,
        };
        Some(Scan { kind, depth: 0, in_string: false, scanned: 0 })
    }

    /// What the value is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The length of the value that begins `bytes`, `None` when they end within it: then call
    /// again with the same bytes and more after them.
    pub fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.kind {
            Kind::Object => self.find_bracket(bytes, b'{', b'}'),
            Kind::Array => self.find_bracket(bytes, b'[', b']'),
            // A string has no brackets: its first quote begins it, and its end is the value's.
            Kind::String => self.find_bracket(bytes, b'"', b'"'),
            Kind::Scalar => {
                let end = bytes.iter().skip(self.scanned).position(|byte| ends_scalar(*byte));
                let end = end.map(|found| self.scanned + found);
                self.scanned = end.unwrap_or(bytes.len());
                end
            }
        }
    }

    /// Lets go of the bytes looked at, of a value that nobody keeps: the next call is given the
    /// bytes after them. Returns how many they are.
    pub fn forget(&mut self) -> usize {
        // The end of a scalar shows in the byte after it only: its last byte so far stays, so
        // that the call that finds the end has a byte to be done with.
        let kept = usize::from(self.kind == Kind::Scalar);
        std::mem::take(&mut self.scanned).saturating_sub(kept)
    }

    fn find_bracket(&mut self, bytes: &[u8], open: u8, close: u8) -> Option<usize> {
        loop {
            if self.in_string {
                if !self.leave_string(bytes) {
                    return None;
                }
                self.in_string = false;
                if self.depth == 0 {
                    return Some(self.scanned);
                }
            }
            let rest = bytes.get(self.scanned..)?;
            let Some(found) = memchr3(b'"', open, close, rest) else {
                self.scanned = bytes.len();
                return None;
            };
            self.scanned += found + 1;
            match rest[found] {
                b'"' => self.in_string = true,
                byte if byte == open => self.depth += 1,
                _ => self.depth = self.depth.saturating_sub(1),
            }
            if self.depth == 0 && !self.in_string {
                return Some(self.scanned);
            }
        }
    }

    /// Moves behind the closing quote; `false` when the bytes end before it.
    fn leave_string(&mut self, bytes: &[u8]) -> bool {
        while let Some(rest) = bytes.get(self.scanned..) {
            let Some(found) = memchr2(b'"', b'\\', rest) else {
                self.scanned = bytes.len();
                return false;
            };
            if rest[found] == b'"' {
                self.scanned += found + 1;
                return true;
            }
            self.scanned += found;
            if found + 1 == rest.len() {
                // The escaped byte is not at hand: the backslash is looked at once more.
                return false;
            }
            self.scanned += 2;
        }
        false
    }
}

fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &[(&str, &str, Option<usize>)] = &[
        ("empty object", "{},", Some(2)),
        ("nested", "{\"a\":{\"b\":[{}]}}]", Some(16)),
        ("brackets in strings", "{\"}\":\"{\\\"}\"}x", Some(12)),
        ("stray bracket of the other kind", "{\"a\":]},", Some(7)),
        ("array", "[[1],\"]\"]}", Some(9)),
        ("string", "\"a\\\\\"\"", Some(5)),
        ("number", "-1.5e3,", Some(6)),
        ("word", "null]", Some(4)),
        ("cut object", "{\"a\":{}", None),
        ("cut string", "\"a\\\"", None),
        ("cut escape", "{\"a\\", None),
        ("cut number", "123", None),
    ];

    #[test]
    fn ends_are_found() {
        for (name, text, want) in CASES {
            let bytes = text.as_bytes();
            assert_eq!(Scan::begin(bytes[0]).unwrap().find_end(bytes), *want, "{name}");
        }
    }

    #[test]
    fn byte_by_byte_gives_the_same_ends() {
        for (name, text, want) in CASES {
            let bytes = text.as_bytes();
            let mut kept = Scan::begin(bytes[0]).unwrap();
            let found = (1..=bytes.len()).find_map(|end| kept.find_end(&bytes[..end]));
            assert_eq!(found, *want, "{name}, kept");

            let mut streamed = Scan::begin(bytes[0]).unwrap();
            let mut start = 0;
            let found = (1..=bytes.len()).find_map(|end| {
                let found = streamed.find_end(&bytes[start..end]).map(|length| start + length);
                start += if found.is_none() { streamed.forget() } else { 0 };
                found
            });
            assert_eq!(found, *want, "{name}, streamed");
        }
    }

    #[test]
    fn other_bytes_begin_no_value() {
        for byte in [b'}', b']', b',', b':', b' ', b'@', b'T', 0, 0xEF] {
            assert_eq!(Scan::begin(byte), None, "{byte}");
        }
    }
}
