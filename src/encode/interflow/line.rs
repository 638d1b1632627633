//! Appends members to a line, without a tree and without copies in between.

use super::address;
use crate::record::{Field, Span, walk};

/// Appends a whole number.
pub(in crate::encode) fn push_number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A line on its way, most of whose texts are pieces of one record.
pub(super) struct Line<'o, 'r> {
    /// The bytes of the record.
    pub raw: &'r [u8],
    /// Where its fields lie.
    pub spans: &'r [Span],
    /// Where the line is written to.
    pub out: &'o mut Vec<u8>,
}

impl<'r> Line<'_, 'r> {
    /// The piece of the record that is the text of a field, still escaped; empty where the field
    /// says nothing or is none.
    #[inline(always)]
    pub fn text(&self, field: Field) -> Span {
        match self.spans.get(usize::from(field.0)) {
            Some(span) => walk::filled_body(self.raw, *span),
            None => Span::default(),
        }
    }

    /// The bytes of a piece.
    #[inline(always)]
    pub fn bytes(&self, piece: Span) -> &'r [u8] {
        self.raw.get(piece.start as usize..piece.end as usize).unwrap_or_default()
    }

    /// Appends bytes that are known beforehand.
    #[inline(always)]
    pub fn push<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends a piece of the record. Most are short: a copy of 32 bytes that is cut back costs
    /// less than one of any length.
    #[inline(always)]
    pub fn push_piece(&mut self, piece: Span) {
        if !self.push_short(piece.start as usize, (piece.end - piece.start) as usize) {
            self.out.extend_from_slice(self.bytes(piece));
        }
    }

    /// Appends that many bytes of the record, if they are few; `false`, and nothing else, where they
    /// are many or the record has not enough behind them.
    #[inline(always)]
    fn push_short(&mut self, start: usize, length: usize) -> bool {
        match self.raw.get(start..).and_then(<[u8]>::first_chunk::<32>) {
            Some(chunk) if length <= chunk.len() => {
                let end = self.out.len() + length;
                self.out.extend_from_slice(chunk);
                self.out.truncate(end);
                true
            }
            _ => false,
        }
    }

    /// Appends a text; like [`Line::push_piece`] where it lies in the record, as nearly all do.
    #[inline(always)]
    fn push_body(&mut self, body: &[u8]) {
        // beyond the record for one that lies elsewhere
        let start = (body.as_ptr() as usize).wrapping_sub(self.raw.as_ptr() as usize);
        if !self.push_short(start, body.len()) {
            self.out.extend_from_slice(body);
        }
    }

    /// Appends a text, escaped already, between what is before and after it; nothing for `None`.
    #[inline(always)]
    pub fn push_given<const B: usize, const A: usize>(
        &mut self,
        before: &[u8; B],
        body: Option<&[u8]>,
        after: &[u8; A],
    ) {
        let Some(body) = body else { return };
        self.push(before);
        self.push_body(body);
        self.push(after);
    }

    /// Appends the source's address with its version and reach; `false`, and nothing else, when it
    /// is no IP address.
    #[inline(always)]
    pub fn push_srcip(&mut self, source: &[u8]) -> bool {
        let Some(ip) = address::parse(source) else { return false };
        self.push(b",\"srcip\":\"");
        self.push_body(source);
        match (address::is_private(ip), ip.is_ipv4()) {
            (true, true) => self.push(b"\",\"srcip_type\":\"private\",\"srcip_version\":4"),
            (true, false) => self.push(b"\",\"srcip_type\":\"private\",\"srcip_version\":6"),
            (false, true) => self.push(b"\",\"srcip_type\":\"public\",\"srcip_version\":4"),
            (false, false) => self.push(b"\",\"srcip_type\":\"public\",\"srcip_version\":6"),
        }
        true
    }

    /// Appends a piece between what is before and after it; nothing for an empty one.
    #[inline(always)]
    pub fn push_text<const B: usize, const A: usize>(
        &mut self,
        before: &[u8; B],
        piece: Span,
        after: &[u8; A],
    ) {
        if piece.start < piece.end {
            self.push(before);
            self.push_piece(piece);
            self.push(after);
        }
    }

    /// Appends a member that is an object of what `push_members` appends, each member with a comma
    /// before it; nothing when that is nothing.
    #[inline(always)]
    pub fn push_nested<const N: usize>(&mut self, member: &[u8; N], push_members: impl FnOnce(&mut Self)) {
        let before = self.out.len();
        self.push(member);
        let open = self.out.len();
        push_members(self);
        if self.out.len() == open {
            self.out.truncate(before);
            return;
        }
        // The comma before the first member becomes the brace.
        self.out[open] = b'{';
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for number in [0, 7, 10, -1, 1_688_990_793_000, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }

    #[test]
    fn pieces_of_a_record() {
        let long = "x".repeat(33);
        for behind in ["", &" ".repeat(40)] {
            let raw = format!(r#"{{"a":"short","b":"{long}","c":"-","d":7}}{behind}"#);
            let span = |value: &str| {
                let start = raw.find(value).unwrap();
                Span { start: start as u32, end: (start + value.len()) as u32 }
            };
            let spans = [span("\"short\""), span(&format!("\"{long}\"")), span("\"-\""), span("7")];
            let mut out = b"before".to_vec();
            let mut line = Line { raw: raw.as_bytes(), spans: &spans, out: &mut out };
            for field in (0..5).map(Field) {
                line.push_text(b"<", line.text(field), b">");
            }
            line.push_nested(b",\"e\":", |line| line.push_nested(b",\"f\":", |_| {}));
            line.push_nested(b",\"e\":", |line| line.push_text(b",\"f\":\"", line.text(Field(0)), b"\""));
            // of the record, of it and long, of something else, none
            let record = line.raw;
            for body in [Some(&record[6..11]), Some(&record[6..]), Some(b"x\\n"), Some(b""), None] {
                line.push_given(b"(", body, b")");
            }
            let want = format!(r#"before<short><{long}>,"e":{{"f":"short"}}(short)({})(x\n)()"#, &raw[6..]);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
