//! Walks over JSON values by their grammar (RFC 8259): where do they end, and are they valid?
//!
//! In: bytes that begin with a value. Out: the index after it. Every token is checked, so what a
//! walk passes is valid JSON once its bytes are known to be UTF-8. A walk keeps nothing: bytes
//! that end within the value are walked again when there are more.

use crate::record::{Named, Span, json};

/// Why a walk did not reach the end of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The bytes end within the value.
    Starved,
    /// The bytes are no JSON, or nested too deep.
    Invalid,
}

/// What follows in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A name, which begins at this index.
    Name(usize),
    /// Nothing: the index after the object's bracket.
    End(usize),
}

/// Bytes that are walked over, and what the walk has met in them.
///
/// Indexes count from the start of the bytes. The walk is made for compact JSON: blanks between
/// tokens are read as well, off the straight way.
#[derive(Debug)]
pub struct Walk<'a> {
    /// The bytes; what follows the value may lie behind it.
    pub bytes: &'a [u8],
    /// Whether there were blanks between tokens, line breaks among them or not.
    pub has_blanks: bool,
}

impl<'a> Walk<'a> {
    /// Before the first value.
    pub fn new(bytes: &'a [u8]) -> Self {
        Walk { bytes, has_blanks: false }
    }

    /// The index after the value whose first byte is at `at`; at most `depth` brackets are open in it
    /// at a time, 128 at most.
    pub fn value(&mut self, at: usize, depth: usize) -> Result<usize, Stop> {
        match self.byte(at)? {
            b'"' => self.string(at),
            b'{' | b'[' => self.container(at, depth),
            _ => self.scalar(at),
        }
    }

    /// The byte at `at`.
    #[inline(always)]
    pub fn byte(&self, at: usize) -> Result<u8, Stop> {
        self.bytes.get(at).copied().ok_or(Stop::Starved)
    }

    /// The index of the first byte at or after `at` that is no blank.
    #[inline(always)]
    pub fn blanks(&mut self, at: usize) -> usize {
        match self.bytes.get(at) {
            // nearly always a token begins here
            Some(byte) if *byte > b' ' => at,
            _ => self.pass_blanks(at),
        }
    }

    #[cold]
    fn pass_blanks(&mut self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.has_blanks |= count > 0;
        at + count
    }

    /// The index after the list whose bracket is at `at`, if it holds [`Named`] elements only, one at
    /// least, and `note` takes each. `None` tells nothing of what is there.
    #[inline(always)]
    pub fn named_list(&self, at: usize, mut note: impl FnMut(Named) -> bool) -> Option<usize> {
        let mut at = at + 1;
        loop {
            let name = self.token(at, b"{\"name\":\"")?;
            let name_end = json::plain_end(self.bytes, name);
            let (value, end) = match self.token(name_end, b"\",\"value\":\"") {
                Some(value) => {
                    let end = self.string(value - 1).ok()?;
                    (span(value - 1, end), end)
                }
                None => (Span::default(), self.token(name_end, b"\"")?),
            };
            if !note(Named { name: span(name, name_end), value }) {
                return None;
            }
            at = match self.bytes.get(end..)?.first_chunk()? {
                b"}," => end + 2,
                b"}]" => return Some(end + 2),
                _ => return None,
            };
        }
    }

    /// The index after `token`, `None` when something else is at `at`.
    #[inline(always)]
    fn token<const N: usize>(&self, at: usize, token: &[u8; N]) -> Option<usize> {
        (self.bytes.get(at..)?.first_chunk() == Some(token)).then_some(at + N)
    }

    /// The index after the string whose opening quote is at `at`.
    #[inline(always)]
    pub fn string(&self, at: usize) -> Result<usize, Stop> {
        let end = json::plain_end(self.bytes, at + 1);
        match self.byte(end)? {
            b'"' => Ok(end + 1),
            _ => self.rest_of_string(end),
        }
    }

    /// The same for a string whose text begins `start` bytes, half of them at most, into those
    /// `ahead`, which are at `at`.
    #[inline(always)]
    pub fn string_ahead<const N: usize>(
        &self,
        at: usize,
        ahead: &[u8; N],
        start: usize,
    ) -> Result<usize, Stop> {
        let plain = ahead.get(start..).and_then(<[u8]>::first_chunk).map_or(0, json::plain_bytes);
        match ahead.get(start + plain) {
            Some(b'"') => Ok(at + start + plain + 1),
            _ => self.rest_of_string(at + start + plain),
        }
    }

    /// The index after a string, from a place within it on.
    #[inline(never)]
    fn rest_of_string(&self, mut at: usize) -> Result<usize, Stop> {
        loop {
            at = json::plain_end(self.bytes, at);
            match self.byte(at)? {
                b'"' => return Ok(at + 1),
                b'\\' => at = self.escape(at)?,
                _ => return Err(Stop::Invalid),
            }
        }
    }

    /// The index after the name whose opening quote is at `at`, and that of its member's value.
    #[inline(always)]
    pub fn name(&mut self, at: usize) -> Result<(usize, usize), Stop> {
        if self.byte(at)? != b'"' {
            return Err(Stop::Invalid);
        }
        let end = self.string(at)?;
        // nearly always compact
        if let Some([b':', value]) = self.bytes.get(end..).and_then(<[u8]>::first_chunk)
            && *value > b' '
        {
            return Ok((end, end + 1));
        }
        let colon = self.blanks(end);
        match self.byte(colon)? {
            b':' => Ok((end, self.blanks(colon + 1))),
            _ => Err(Stop::Invalid),
        }
    }

    /// What follows the bracket of an object at `at`.
    pub fn first_name(&mut self, at: usize) -> Result<Next, Stop> {
        let at = self.blanks(at + 1);
        Ok(if self.byte(at)? == b'}' { Next::End(at + 1) } else { Next::Name(at) })
    }

    /// What follows a member that ends before `at`.
    pub fn next_name(&mut self, at: usize) -> Result<Next, Stop> {
        let at = self.blanks(at);
        match self.byte(at)? {
            b',' => Ok(Next::Name(self.blanks(at + 1))),
            b'}' => Ok(Next::End(at + 1)),
            _ => Err(Stop::Invalid),
        }
    }

    /// The index after the object or list whose bracket is at `at`.
    fn container(&mut self, mut at: usize, depth: usize) -> Result<usize, Stop> {
        // one bit for each open bracket, the innermost lowest: 1 for an object
        let (mut objects, mut open) = (0_u128, 0);
        loop {
            // at the first byte of a value
            let opening = self.byte(at)?;
            match opening {
                b'"' => at = self.string(at)?,
                b'{' | b'[' if open == depth.min(128) => return Err(Stop::Invalid),
                b'{' => {
                    at = self.blanks(at + 1);
                    if self.byte(at)? == b'}' {
                        at += 1;
                    } else {
                        (objects, open) = (objects << 1 | 1, open + 1);
                        at = self.name(at)?.1;
                        continue;
                    }
                }
                b'[' => {
                    at = self.blanks(at + 1);
                    if self.byte(at)? == b']' {
                        at += 1;
                    } else {
                        (objects, open) = (objects << 1, open + 1);
                        continue;
                    }
                }
                _ => at = self.scalar(at)?,
            }
            // after a value
            loop {
                if open == 0 {
                    return Ok(at);
                }
                at = self.blanks(at);
                match (self.byte(at)?, objects & 1) {
                    (b',', 1) => {
                        let name = self.blanks(at + 1);
                        at = self.name(name)?.1;
                        break;
                    }
                    (b',', _) => {
                        at = self.blanks(at + 1);
                        break;
                    }
                    (b'}', 1) | (b']', 0) => (objects, open, at) = (objects >> 1, open - 1, at + 1),
                    _ => return Err(Stop::Invalid),
                }
            }
        }
    }

    /// The index after the number or word at `at`. That it ends there shows in the next byte, which
    /// is judged by what follows a value.
    fn scalar(&self, at: usize) -> Result<usize, Stop> {
        match self.byte(at)? {
            b't' => self.word(at, b"true"),
            b'f' => self.word(at, b"false"),
            b'n' => self.word(at, b"null"),
            b'-' => self.whole(at + 1),
            _ => self.whole(at),
        }
    }

    /// The index after the `true`, `false` or `null` at `at`; `None` tells nothing of what is there.
    #[inline(always)]
    pub fn known_word(&self, at: usize) -> Option<usize> {
        match self.bytes.get(at..)?.first_chunk()? {
            b"false" => Some(at + 5),
            [b't', b'r', b'u', b'e', _] | [b'n', b'u', b'l', b'l', _] => Some(at + 4),
            _ => None,
        }
    }

    fn word(&self, at: usize, word: &[u8]) -> Result<usize, Stop> {
        let rest = &self.bytes[at..];
        if rest.starts_with(word) {
            Ok(at + word.len())
        } else if word.starts_with(rest) {
            Err(Stop::Starved)
        } else {
            Err(Stop::Invalid)
        }
    }

    /// A number from its first digit on.
    fn whole(&self, at: usize) -> Result<usize, Stop> {
        let mut at = match self.byte(at)? {
            b'0' => at + 1,
            _ => self.digits(at)?,
        };
        if self.byte(at)? == b'.' {
            at = self.digits(at + 1)?;
        }
        if matches!(self.byte(at)?, b'e' | b'E') {
            at += 1;
            at += usize::from(matches!(self.byte(at)?, b'+' | b'-'));
            at = self.digits(at)?;
        }
        Ok(at)
    }

    /// One digit at least.
    fn digits(&self, at: usize) -> Result<usize, Stop> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.byte(at + count)?;
        if count == 0 { Err(Stop::Invalid) } else { Ok(at + count) }
    }

    /// The index after the escape whose backslash is at `at`.
    fn escape(&self, at: usize) -> Result<usize, Stop> {
        match self.byte(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
            b'u' => {
                let code = self.bytes.get(at + 2..at + 6).ok_or(Stop::Starved)?;
                if code.iter().all(u8::is_ascii_hexdigit) { Ok(at + 6) } else { Err(Stop::Invalid) }
            }
            _ => Err(Stop::Invalid),
        }
    }
}

/// Spans lie within a record, which is shorter than 4 GiB.
fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    /// Where serde_json finds the end of the value that begins `text`.
    fn oracle(text: &str) -> Option<usize> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        Some(values.byte_offset())
    }

    #[test]
    fn ends_are_found() {
        for (name, text, want) in [
            ("object", r#"{"a":{"b":"}"}},"#, Ok(15)),
            ("empty ones", "{\"a\" : [ ] ,\n\"b\":{\t}}]", Ok(21)),
            ("list", r#"[[1,-0.5e+7],"]",true,false,null]}"#, Ok(33)),
            ("string", r#""a\\\"\u00e9/" "#, Ok(14)),
            ("number", "10.25E-3,", Ok(8)),
            ("zero", "0]", Ok(1)),
            ("word", "null]", Ok(4)),
            ("long string", r#""0123456789abcdef0123456789abcdef","#, Ok(34)),
            ("cut object", "{\"a\":{}", Err(Stop::Starved)),
            ("cut name", "{\"a", Err(Stop::Starved)),
            ("cut before the colon", "{\"a\" ", Err(Stop::Starved)),
            ("cut escape", "\"a\\", Err(Stop::Starved)),
            ("cut code", "\"\\u12", Err(Stop::Starved)),
            ("cut number", "123", Err(Stop::Starved)),
            ("cut fraction", "1.", Err(Stop::Starved)),
            ("cut exponent", "1e", Err(Stop::Starved)),
            ("cut word", "tru", Err(Stop::Starved)),
            ("nothing", "", Err(Stop::Starved)),
            ("leading zero", "[01]", Err(Stop::Invalid)),
            ("no digit", "[-]", Err(Stop::Invalid)),
            ("no fraction", "[1.]", Err(Stop::Invalid)),
            ("no exponent", "[1e+]", Err(Stop::Invalid)),
            ("plus", "[+1]", Err(Stop::Invalid)),
            ("comma at the end of a list", "[1,]", Err(Stop::Invalid)),
            ("comma at the end of an object", "{\"a\":1,}", Err(Stop::Invalid)),
            ("comma for a colon", "{\"a\",1}", Err(Stop::Invalid)),
            ("a number for a name", "{1:1}", Err(Stop::Invalid)),
            ("no comma", "[1 2]", Err(Stop::Invalid)),
            ("mixed brackets", "[{\"a\":[}]", Err(Stop::Invalid)),
            ("odd word", "[nul]", Err(Stop::Invalid)),
            ("odd escape", r#""\x""#, Err(Stop::Invalid)),
            ("odd code", r#""\u12g4""#, Err(Stop::Invalid)),
            ("line break in a string", "\"a\nb\"", Err(Stop::Invalid)),
            ("NUL in a long string", "\"0123456789abcdef0123456\0\"", Err(Stop::Invalid)),
        ] {
            assert_eq!(Walk::new(text.as_bytes()).value(0, 100), want, "{name}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (levels, depth, fits) in [(5, 5, true), (6, 5, false), (128, 200, true), (129, 200, false)] {
            assert_eq!(
                Walk::new(nested(levels).as_bytes()).value(0, depth).is_ok(),
                fits,
                "{levels} of {depth}"
            );
        }
    }

    /// Texts that are JSON, or nearly.
    fn texts() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            4 => prop::sample::select(vec!["{", "}", "[", "]", ",", ":", " ", "\n", "\"a\"", "\"\"", "{\"b\":"]).prop_map(str::to_owned),
            2 => prop::sample::select(vec!["0", "-1", "1.5", "2e9", "1E-", "00", ".5", "true", "null", "fals"]).prop_map(str::to_owned),
            1 => "\"([a-z\\\\\"/\u{1}\u{1f} é]|\\\\n|\\\\u00[0-9a-g]{2}){0,40}\"",
        ];
        let soup = prop::collection::vec(token, 0..30).prop_map(|tokens| tokens.concat());
        let leaf = prop_oneof![
            any::<Option<bool>>().prop_map(|value| serde_json::json!(value)),
            any::<f64>().prop_map(|value| serde_json::json!(value)),
            "\\PC{0,60}".prop_map(|value| serde_json::json!(value)),
        ];
        let valid = leaf.prop_recursive(6, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|values| serde_json::json!(values)),
                prop::collection::btree_map("[a-z\"\\\\ü]{0,20}", inner, 0..6)
                    .prop_map(|members| serde_json::json!(members)),
            ]
        });
        let valid = (valid, any::<bool>()).prop_map(|(value, pretty)| match pretty {
            true => format!("{value:#}"),
            false => value.to_string(),
        });
        // one character changed
        let damaged =
            (valid.clone(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(text, at, by)| {
                let at = at.index(text.chars().count().max(1));
                text.chars().enumerate().map(|(n, char)| if n == at { by } else { char }).collect()
            });
        prop_oneof![soup, valid, damaged]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_walk_passes_what_serde_json_takes(text in texts()) {
            let text = format!("[{text}]");
            prop_assert_eq!(Walk::new(text.as_bytes()).value(0, 100).ok(), oracle(&text));
        }

        #[test]
        fn a_cut_value_is_starved(text in texts(), cut in any::<prop::sample::Index>()) {
            let text = format!("[{text}]");
            if let Ok(end) = Walk::new(text.as_bytes()).value(0, 100) {
                let cut = cut.index(end);
                prop_assert_eq!(Walk::new(&text.as_bytes()[..cut]).value(0, 100), Err(Stop::Starved));
            }
        }
    }
}
