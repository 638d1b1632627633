//! Reads Thrift's compact protocol, in which Parquet's footer and page headers are written.
//!
//! In: bytes at hand. Nothing is allocated by what a length says, and nesting is bounded.
//! Source: the Thrift project's `doc/specs/thrift-compact-protocol.md`.

/// Types of fields and elements.
pub const TRUE: u8 = 1;
pub const FALSE: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 7;
pub const BINARY: u8 = 8;
pub const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
pub const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Structures within each other; Parquet's own have fewer than ten.
const DEEPEST: u8 = 32;

/// Why bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They end too early.
    Short,
    /// They are no Thrift, or not of the expected types.
    Bad,
}

/// A place in the bytes.
#[derive(Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A field of a structure: its number and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub id: i64,
    pub kind: u8,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn byte(&mut self) -> Result<u8, Unreadable> {
        Ok(self.take(1)?[0])
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or(Unreadable::Short)?;
        self.at += length;
        Ok(taken)
    }

    /// An unsigned number of 7 bits a byte.
    pub fn varint(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Unreadable::Bad)
    }

    pub fn zigzag(&mut self) -> Result<i64, Unreadable> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub fn binary(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.length()?;
        self.take(length)
    }

    /// The next field of a structure whose last field was `last` (0 before the first); `None`
    /// at its end.
    pub fn field(&mut self, last: &mut i64) -> Result<Option<Field>, Unreadable> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        let id = match i64::from(head >> 4) {
            0 => self.zigzag()?,
            delta => last.checked_add(delta).ok_or(Unreadable::Bad)?,
        };
        *last = id;
        Ok(Some(Field { id, kind: head & 0x0F }))
    }

    /// The number of elements of a list of `kind`, each of which takes a byte at least.
    pub fn list(&mut self, kind: u8) -> Result<usize, Unreadable> {
        match self.list_head()? {
            (found, length) if found == kind || length == 0 => Ok(length),
            _ => Err(Unreadable::Bad),
        }
    }

    /// Passes over a value.
    pub fn skip(&mut self, kind: u8) -> Result<(), Unreadable> {
        self.skip_within(kind, DEEPEST)
    }

    fn skip_within(&mut self, kind: u8, depth: u8) -> Result<(), Unreadable> {
        let depth = depth.checked_sub(1).ok_or(Unreadable::Bad)?;
        match kind {
            TRUE | FALSE => {}
            BYTE => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            DOUBLE => drop(self.take(8)?),
            BINARY => drop(self.binary()?),
            LIST | SET => {
                let (kind, length) = self.list_head()?;
                for _ in 0..length {
                    self.skip_element(kind, depth)?;
                }
            }
            MAP => {
                let length = self.length()?;
                let kinds = if length > 0 { self.byte()? } else { 0 };
                for _ in 0..length {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0x0F, depth)?;
                }
            }
            STRUCT => {
                let mut last = 0;
                while let Some(field) = self.field(&mut last)? {
                    self.skip_within(field.kind, depth)?;
                }
            }
            UUID => drop(self.take(16)?),
            _ => return Err(Unreadable::Bad),
        }
        Ok(())
    }

    /// A truth value has its byte in a list, and none as a field.
    fn skip_element(&mut self, kind: u8, depth: u8) -> Result<(), Unreadable> {
        self.skip_within(if kind <= FALSE { BYTE } else { kind }, depth)
    }

    fn list_head(&mut self) -> Result<(u8, usize), Unreadable> {
        let head = self.byte()?;
        let length = match usize::from(head >> 4) {
            15 => self.length()?,
            length => length,
        };
        Ok((head & 0x0F, length))
    }

    fn length(&mut self) -> Result<usize, Unreadable> {
        usize::try_from(self.varint()?).map_err(|_| Unreadable::Bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        for (bytes, varint, zigzag) in [
            (&[0][..], 0, 0),
            (&[1], 1, -1),
            (&[2], 2, 1),
            (&[0xAC, 2], 300, 150),
            (&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1], u64::MAX, i64::MIN),
        ] {
            assert_eq!(Cursor::new(bytes).varint(), Ok(varint), "{bytes:?}");
            assert_eq!(Cursor::new(bytes).zigzag(), Ok(zigzag), "{bytes:?}");
        }
        assert_eq!(Cursor::new(&[0x80; 11]).varint(), Err(Unreadable::Bad));
        assert_eq!(Cursor::new(&[0x80; 3]).varint(), Err(Unreadable::Short));
    }

    #[test]
    fn fields_are_read_and_skipped() {
        // 1: i32 -3, 2: list of two bools, 17: struct { 1: "ab" }, 18: map { 1: true }, 19: true
        let bytes =
            [0x15, 5, 0x19, 0x21, 1, 2, 0x0C, 34, 0x18, 2, b'a', b'b', 0, 0x1B, 1, 0x51, 2, 1, 0x11, 0, 99];
        let (mut cursor, mut last, mut ids) = (Cursor::new(&bytes), 0, Vec::new());
        while let Some(field) = cursor.field(&mut last).unwrap() {
            ids.push(field.id);
            cursor.skip(field.kind).unwrap();
        }
        assert_eq!((ids, cursor.position()), (vec![1, 2, 17, 18, 19], bytes.len() - 1));
    }

    #[test]
    fn lies_end_at_once() {
        for (name, bytes, kind, want) in [
            ("a long text", &[0xFF, 0xFF, 0xFF, 0xFF, 7][..], BINARY, Unreadable::Short),
            (
                "a text beyond all memory",
                &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
                BINARY,
                Unreadable::Short,
            ),
            ("a long list", &[0xF5, 0xFF, 0xFF, 0xFF, 0xFF, 7], LIST, Unreadable::Short),
            ("lists in lists", &[0x19; 64], LIST, Unreadable::Bad),
            ("structures in structures", &[0x1C; 64], STRUCT, Unreadable::Bad),
            ("no type", &[0x1F, 0], STRUCT, Unreadable::Bad),
        ] {
            assert_eq!(Cursor::new(bytes).skip(kind), Err(want), "{name}");
        }
    }
}
