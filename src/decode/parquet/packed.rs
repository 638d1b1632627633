//! Numbers in few bits: runs of levels and dictionary places, and differences.
//!
//! Source: the Parquet project's `parquet-format`, `Encodings.md` (RLE / bit-packing hybrid,
//! DELTA_BINARY_PACKED). All are read one at a time, and hold nothing but their place.

use bytes::Bytes;

use super::ParquetError;
use super::thrift::Cursor;

/// Levels and dictionary places: runs of one number, and numbers packed by eight.
#[derive(Debug)]
pub struct Hybrid {
    bytes: Bytes,
    width: u32,
    run: Run,
}

/// What is left of a run.
#[derive(Debug)]
enum Run {
    Same {
        left: u64,
        value: u32,
    },
    /// `at` counts bits from the start of the bytes.
    Packed {
        left: u64,
        at: u64,
    },
}

impl Hybrid {
    /// Numbers of `width` bits.
    pub fn new(bytes: Bytes, width: u8) -> Result<Self, ParquetError> {
        if width > 32 {
            return Err(ParquetError::damaged("numbers of more than 32 bits"));
        }
        Ok(Hybrid { bytes, width: u32::from(width), run: Run::Same { left: 0, value: 0 } })
    }

    pub fn next(&mut self) -> Result<u32, ParquetError> {
        loop {
            match &mut self.run {
                Run::Same { left: 0, .. } => self.next_run()?,
                Run::Packed { left: 0, at } => {
                    let done = usize::try_from(at.div_ceil(8)).unwrap_or(usize::MAX);
                    self.bytes = self.bytes.split_off(done.min(self.bytes.len()));
                    self.run = Run::Same { left: 0, value: 0 };
                }
                Run::Same { left, value } => {
                    *left -= 1;
                    return Ok(*value);
                }
                Run::Packed { left, at } => {
                    let number = unpack(&self.bytes, *at, self.width)?;
                    *left -= 1;
                    *at += u64::from(self.width);
                    // At most 32 bits were asked for.
                    return Ok(number as u32);
                }
            }
        }
    }

    fn next_run(&mut self) -> Result<(), ParquetError> {
        let mut cursor = Cursor::new(&self.bytes);
        let head = cursor.varint()?;
        let count = head >> 1;
        if head & 1 == 1 {
            let left =
                count.checked_mul(8).ok_or_else(|| ParquetError::damaged("a run beyond all numbers"))?;
            let done = cursor.position();
            self.bytes = self.bytes.split_off(done);
            // What the last eight are short of is padding that some writers leave out.
            self.run = Run::Packed { left, at: 0 };
        } else {
            let mut value = [0; 4];
            let width = self.width.div_ceil(8) as usize;
            value[..width].copy_from_slice(cursor.take(width)?);
            let done = cursor.position();
            self.bytes = self.bytes.split_off(done);
            self.run = Run::Same { left: count, value: u32::from_le_bytes(value) };
        }
        Ok(())
    }
}

/// `width` bits, at most 64, from bit `at` on; the lowest first.
fn unpack(bytes: &[u8], at: u64, width: u32) -> Result<u64, ParquetError> {
    let start = usize::try_from(at / 8).unwrap_or(usize::MAX);
    let shift = (at % 8) as u32;
    let needed = (shift + width).div_ceil(8) as usize;
    let found = bytes.get(start..).and_then(|rest| rest.get(..needed));
    let found = found.ok_or_else(|| ParquetError::damaged("packed numbers end too early"))?;
    let mut word = [0; 16];
    word[..needed].copy_from_slice(found);
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    Ok((u128::from_le_bytes(word) >> shift) as u64 & mask)
}

/// Numbers of which the differences are stored, in blocks.
#[derive(Debug)]
pub struct Delta {
    bytes: Bytes,
    /// Numbers of a part of a block that share a width.
    part: u64,
    parts: usize,
    left: u64,
    next: i64,
    /// The widths of the parts of this block that are not begun.
    widths: Bytes,
    smallest: i64,
    in_part: u64,
    width: u32,
    /// Bits of the part that are read.
    at: u64,
}

impl Delta {
    /// At most `most` numbers.
    pub fn new(bytes: Bytes, most: u64) -> Result<Self, ParquetError> {
        let mut cursor = Cursor::new(&bytes);
        let (block, parts, left) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
        let next = cursor.zigzag()?;
        let part = block.checked_div(parts).unwrap_or_default();
        let parts = usize::try_from(parts).unwrap_or(usize::MAX);
        // The format asks for multiples of 32.
        if part == 0 || part % 32 != 0 || part > u64::from(u32::MAX) {
            return Err(ParquetError::damaged("blocks of no allowed size"));
        }
        if left > most {
            return Err(ParquetError::damaged("more values than a page says"));
        }
        let done = cursor.position();
        let bytes = bytes.slice(done..);
        Ok(Delta {
            bytes,
            part,
            parts,
            left,
            next,
            widths: Bytes::new(),
            smallest: 0,
            in_part: 0,
            width: 0,
            at: 0,
        })
    }

    pub fn next(&mut self) -> Result<i64, ParquetError> {
        self.left =
            self.left.checked_sub(1).ok_or_else(|| ParquetError::damaged("fewer values than rows"))?;
        let number = self.next;
        if self.left > 0 {
            if self.in_part == 0 {
                self.next_part()?;
            }
            let difference = unpack(&self.bytes, self.at, self.width)?;
            self.at += u64::from(self.width);
            self.in_part -= 1;
            self.next = number.wrapping_add(self.smallest).wrapping_add(difference.cast_signed());
        }
        Ok(number)
    }

    /// The bytes after the numbers, which are passed over: part by part, since a part of very
    /// many numbers may take a single byte.
    pub fn rest(mut self) -> Result<Bytes, ParquetError> {
        // the first number has no difference
        let mut left = self.left.saturating_sub(1);
        while left > 0 {
            if self.in_part == 0 {
                self.next_part()?;
            }
            let passed = left.min(self.in_part);
            left -= passed;
            self.in_part -= passed;
            self.at += passed * u64::from(self.width);
            if self.at.div_ceil(8) > self.bytes.len() as u64 {
                return Err(ParquetError::damaged("packed numbers end too early"));
            }
        }
        self.end_part();
        Ok(self.bytes)
    }

    fn next_part(&mut self) -> Result<(), ParquetError> {
        self.end_part();
        if self.widths.is_empty() {
            let mut cursor = Cursor::new(&self.bytes);
            self.smallest = cursor.zigzag()?;
            let start = cursor.position();
            cursor.take(self.parts)?;
            let end = cursor.position();
            self.widths = self.bytes.slice(start..end);
            self.bytes = self.bytes.split_off(end);
        }
        self.width = u32::from(self.widths[0]);
        self.widths = self.widths.slice(1..);
        if self.width > 64 {
            return Err(ParquetError::damaged("numbers of more than 64 bits"));
        }
        self.in_part = self.part;
        Ok(())
    }

    /// Parts are stored whole, with padding; the last one of some writers is not.
    fn end_part(&mut self) {
        let bits = (self.at + self.in_part * u64::from(self.width)).div_ceil(8);
        let whole = usize::try_from(bits).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes = self.bytes.split_off(whole);
        (self.in_part, self.at) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packed_numbers_are_read() {
        // the format's own example: 0 to 7 in three bits; then five times 4; then 1 and padding
        let bytes = Bytes::from_static(&[3, 0b1000_1000, 0b1100_0110, 0b1111_1010, 10, 4, 3, 1, 0, 0]);
        let mut hybrid = Hybrid::new(bytes, 3).unwrap();
        let read: Vec<_> = (0..14).map(|_| hybrid.next().unwrap()).collect();
        assert_eq!(read, [0, 1, 2, 3, 4, 5, 6, 7, 4, 4, 4, 4, 4, 1]);
        let rest: Vec<_> = (0..7).map(|_| hybrid.next().unwrap()).collect();
        assert_eq!(rest, [0; 7]);
        assert!(hybrid.next().is_err());
    }

    #[test]
    fn numbers_of_no_bits_are_zeros() {
        let mut hybrid = Hybrid::new(Bytes::from_static(&[6]), 0).unwrap();
        assert_eq!((0..3).map(|_| hybrid.next().unwrap()).collect::<Vec<_>>(), [0; 3]);
        assert!(hybrid.next().is_err());
        assert!(Hybrid::new(Bytes::new(), 33).is_err());
        // runs of nothing end
        assert!(Hybrid::new(Bytes::from_static(&[0; 64]), 0).unwrap().next().is_err());
    }

    #[test]
    fn differences_are_read() {
        // the format's own examples: 1 to 5, and 7 5 3 1 2 3 4 5, in blocks of 128 and 4 parts
        let first = [0x80, 1, 4, 5, 2, 2, 0, 0, 0, 0, b'r'];
        let second = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0, b'r'];
        for (bytes, want) in [(&first[..], &[1, 2, 3, 4, 5][..]), (&second, &[7, 5, 3, 1, 2, 3, 4, 5])] {
            let bytes = Bytes::copy_from_slice(bytes);
            let mut delta = Delta::new(bytes.clone(), 8).unwrap();
            let read: Vec<_> = want.iter().map(|_| delta.next().unwrap()).collect();
            assert_eq!(read, want);
            assert!(delta.next().is_err());
            assert_eq!(&Delta::new(bytes, 8).unwrap().rest().unwrap()[..], b"r");
        }
    }

    #[test]
    fn lies_are_damage() {
        for (name, bytes) in [
            ("no parts", &[0x80, 1, 0, 5, 2][..]),
            ("parts of no numbers", &[2, 4, 5, 2]),
            ("more parts than bytes", &[0x80, 0x80, 0x80, 0x80, 1, 0x80, 0x80, 0x80, 2, 5, 2, 0]),
            ("wide numbers", &[0x80, 1, 4, 5, 2, 2, 65, 65, 65, 65]),
            ("more numbers than told", &[0x80, 1, 4, 6, 2, 2, 0, 0, 0, 0]),
            ("no numbers", &[0x80, 1, 4, 5, 2, 2, 64, 64, 64, 64]),
        ] {
            let rest = Delta::new(Bytes::from_static(bytes), 5).and_then(Delta::rest);
            assert!(rest.is_err(), "{name}: {rest:?}");
        }
    }
}
