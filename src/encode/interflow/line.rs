//! Appends members to a line, without a tree and without copies in between.

use crate::record::{Field, Span, walk};

/// Appends a whole number.
pub(in crate::encode) fn push_number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `,"name":`, which begins a member; `name` needs no escapes.
///
/// One piece, since a line has some fifty members and each piece costs a look at the room left.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use member;

/// `,"name":"`, which begins a member that is a text.
macro_rules! text_member {
    ($name:literal) => {
        concat!(",\"", $name, "\":\"")
    };
}
pub(super) use text_member;

/// Appends a [`member!`], whose value follows.
#[inline(always)]
pub(super) fn push_name(out: &mut Vec<u8>, member: &'static str) {
    out.extend_from_slice(member.as_bytes());
}

/// Appends a [`text_member!`] with its text, escaped already; nothing for `None`.
#[inline(always)]
pub(super) fn push_text(out: &mut Vec<u8>, member: &'static str, body: Option<&[u8]>) {
    let Some(body) = body else { return };
    out.extend_from_slice(member.as_bytes());
    out.extend_from_slice(body);
    out.push(b'"');
}

/// Appends a [`member!`] that is an object of [`text_member!`]s, those that have a text; nothing
/// when none has.
#[inline(always)]
pub(super) fn push_object<const N: usize>(
    out: &mut Vec<u8>,
    member: &'static str,
    members: [(&'static str, Option<&[u8]>); N],
) {
    push_nested(out, member, |out| {
        for (member, body) in members {
            push_text(out, member, body);
        }
    });
}

/// Appends a [`member!`] that is an object of what `push_members` appends, each member with a
/// comma before it; nothing when that is nothing.
#[inline(always)]
pub(super) fn push_nested(out: &mut Vec<u8>, member: &'static str, push_members: impl FnOnce(&mut Vec<u8>)) {
    let before = out.len();
    push_name(out, member);
    let open = out.len();
    push_members(out);
    if out.len() == open {
        out.truncate(before);
        return;
    }
    // The comma before the first member becomes the brace.
    out[open] = b'{';
    out.push(b'}');
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
        let length = (piece.end - piece.start) as usize;
        match self.raw.get(piece.start as usize..).and_then(<[u8]>::first_chunk::<32>) {
            Some(chunk) if length <= chunk.len() => {
                let end = self.out.len() + length;
                self.out.extend_from_slice(chunk);
                self.out.truncate(end);
            }
            _ => self.out.extend_from_slice(self.bytes(piece)),
        }
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

    /// Like [`push_nested`].
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
    fn members() {
        let mut out = Vec::new();
        push_text(&mut out, text_member!("a"), Some(b"x\\n"));
        push_text(&mut out, text_member!("b"), None);
        let texts = [
            (text_member!("d"), None),
            (text_member!("e"), Some(&b"y"[..])),
            (text_member!("f"), Some(b"z")),
        ];
        push_object(&mut out, member!("c"), texts);
        push_object(&mut out, member!("g"), [(text_member!("h"), None)]);
        push_nested(&mut out, member!("i"), |out| {
            push_object(out, member!("j"), [(text_member!("k"), None)])
        });
        push_nested(&mut out, member!("l"), |out| {
            push_object(out, member!("m"), [(text_member!("n"), Some(b"1"))]);
        });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#","a":"x\n","c":{"e":"y","f":"z"},"l":{"m":{"n":"1"}}"#
        );
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
            let want = format!(r#"before<short><{long}>,"e":{{"f":"short"}}"#);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
