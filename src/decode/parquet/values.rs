//! The values of a page, one after the other, as text.
//!
//! Source: the Parquet project's `parquet-format`, `Encodings.md`.

use std::io::Write as _;

use bytes::Bytes;

use super::ParquetError;
use super::footer::Kind;
use super::packed::{Delta, Hybrid};

/// Values in the encoding of their page.
#[derive(Debug)]
pub enum Values {
    /// Each as many bytes.
    Fixed { bytes: Bytes, width: usize },
    /// Each with its length before it.
    Lengths { bytes: Bytes },
    /// Truth values, a bit each.
    Bits { bytes: Bytes, at: usize },
    /// Truth values in runs.
    Runs(Hybrid),
    /// Places in the dictionary.
    Places(Hybrid),
    /// Integers by their differences.
    Differences(Delta),
    /// Lengths by their differences, then the bytes.
    DeltaLengths { lengths: Delta, bytes: Bytes },
    /// How much each has in common with the one before, then the rest of each.
    DeltaBytes { common: Delta, lengths: Delta, bytes: Bytes, value: Vec<u8> },
}

/// The distinct values of a chunk.
#[derive(Debug)]
pub struct Dictionary {
    bytes: Bytes,
    /// Where each value ends, and with a length before it the next one's length begins.
    ends: Vec<u32>,
    /// Bytes before each value.
    before: usize,
}

impl Dictionary {
    /// Bytes that a dictionary of so many values takes beside its page.
    pub fn places_bytes(values: u32) -> u64 {
        u64::from(values) * size_of::<u32>() as u64
    }

    /// The plain values of a dictionary page.
    pub fn read(kind: Kind, bytes: Bytes, values: u32) -> Result<Self, ParquetError> {
        let before = if kind == Kind::Bytes { size_of::<u32>() } else { 0 };
        let mut plain = Values::plain(kind, bytes.clone())?;
        // Each value takes a byte at least, which keeps the list within what the page takes.
        if values as usize > bytes.len() || matches!(plain, Values::Bits { .. }) {
            return Err(ParquetError::damaged("a dictionary has more values than bytes"));
        }
        let mut ends = Vec::with_capacity(values as usize);
        let mut end = 0;
        for _ in 0..values {
            end += before + plain.next_bytes(|value| value.len())?;
            ends.push(u32::try_from(end).map_err(|_| ParquetError::damaged("a dictionary of over 4 GiB"))?);
        }
        Ok(Dictionary { bytes, ends, before })
    }

    fn get(&self, place: u32) -> Option<&[u8]> {
        let place = place as usize;
        let start = match place.checked_sub(1) {
            Some(last) => *self.ends.get(last)? as usize,
            None => 0,
        };
        self.bytes.get(start + self.before..*self.ends.get(place)? as usize)
    }
}

impl Values {
    /// The values in the `bytes` of a page that says to have `count`; `has_dictionary` tells
    /// whether one came before.
    pub fn new(
        kind: Kind,
        encoding: i64,
        bytes: Bytes,
        count: u32,
        has_dictionary: bool,
    ) -> Result<Self, ParquetError> {
        let most = u64::from(count);
        match (encoding, kind) {
            (0, _) => Values::plain(kind, bytes),
            // the older and the newer number of the same
            (2 | 8, _) if has_dictionary => {
                // A page of nulls alone may lack the width.
                let width = bytes.first().copied().unwrap_or_default();
                let places = bytes.slice(bytes.len().min(1)..);
                Ok(Values::Places(Hybrid::new(places, width)?))
            }
            (2 | 8, _) => Err(ParquetError::damaged("a page needs a dictionary and there is none")),
            (3, Kind::Boolean) => {
                let runs = bytes.slice(bytes.len().min(size_of::<u32>())..);
                Ok(Values::Runs(Hybrid::new(runs, 1)?))
            }
            (5, Kind::Int32 { .. } | Kind::Int64 { .. }) => Ok(Values::Differences(Delta::new(bytes, most)?)),
            (6, Kind::Bytes) => {
                let (lengths, bytes) = delta_lengths(bytes, most)?;
                Ok(Values::DeltaLengths { lengths, bytes })
            }
            (7, Kind::Bytes | Kind::Fixed(_)) => {
                let rest = Delta::new(bytes.clone(), most)?.rest()?;
                let (lengths, suffixes) = delta_lengths(rest, most)?;
                let common = Delta::new(bytes, most)?;
                Ok(Values::DeltaBytes { common, lengths, bytes: suffixes, value: Vec::new() })
            }
            _ => Err(ParquetError::unread(format!("values in encoding {encoding}"))),
        }
    }

    fn plain(kind: Kind, bytes: Bytes) -> Result<Self, ParquetError> {
        Ok(match kind {
            Kind::Boolean => Values::Bits { bytes, at: 0 },
            Kind::Int32 { .. } | Kind::Float => Values::Fixed { bytes, width: 4 },
            Kind::Int64 { .. } | Kind::Double => Values::Fixed { bytes, width: 8 },
            Kind::Fixed(width) => Values::Fixed { bytes, width },
            Kind::Bytes => Values::Lengths { bytes },
        })
    }

    /// Appends the next value to a row.
    pub fn write_next(
        &mut self,
        kind: Kind,
        dictionary: Option<&Dictionary>,
        row: &mut Vec<u8>,
    ) -> Result<(), ParquetError> {
        match self {
            Values::Bits { bytes, at } => {
                let byte = bytes.get(*at / 8).ok_or_else(too_few)?;
                write_bool(byte >> (*at % 8) & 1 == 1, row);
                *at += 1;
            }
            Values::Runs(runs) => write_bool(runs.next()? == 1, row),
            Values::Differences(delta) => write_integer(kind, delta.next()?, row),
            Values::Places(places) => {
                let value = dictionary.and_then(|dictionary| dictionary.get(places.next().ok()?));
                write_value(
                    kind,
                    value.ok_or_else(|| ParquetError::damaged("a place beyond the dictionary"))?,
                    row,
                );
            }
            _ => self.next_bytes(|value| write_value(kind, value, row))?,
        }
        Ok(())
    }

    /// Hands over the next value of those that are stored as bytes.
    fn next_bytes<T>(&mut self, visit: impl FnOnce(&[u8]) -> T) -> Result<T, ParquetError> {
        match self {
            Values::Fixed { bytes, width } => Ok(visit(&split_to(bytes, *width)?)),
            Values::Lengths { bytes } => {
                let length = split_to(bytes, size_of::<u32>())?;
                let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
                Ok(visit(&split_to(bytes, length)?))
            }
            Values::DeltaLengths { lengths, bytes } => Ok(visit(&split_to(bytes, length(lengths)?)?)),
            Values::DeltaBytes { common, lengths, bytes, value } => {
                let common = length(common)?;
                if common > value.len() {
                    return Err(ParquetError::damaged("more in common than there is"));
                }
                value.truncate(common);
                value.extend_from_slice(&split_to(bytes, length(lengths)?)?);
                Ok(visit(value))
            }
            Values::Bits { .. } | Values::Runs(_) | Values::Places(_) | Values::Differences(_) => {
                Err(ParquetError::damaged("values of no bytes"))
            }
        }
    }
}

/// Lengths, and the bytes behind them.
fn delta_lengths(bytes: Bytes, most: u64) -> Result<(Delta, Bytes), ParquetError> {
    let rest = Delta::new(bytes.clone(), most)?.rest()?;
    Ok((Delta::new(bytes, most)?, rest))
}

fn length(lengths: &mut Delta) -> Result<usize, ParquetError> {
    usize::try_from(lengths.next()?).map_err(|_| ParquetError::damaged("a length of less than nothing"))
}

fn split_to(bytes: &mut Bytes, length: usize) -> Result<Bytes, ParquetError> {
    if length > bytes.len() { Err(too_few()) } else { Ok(bytes.split_to(length)) }
}

fn too_few() -> ParquetError {
    ParquetError::damaged("fewer values than rows")
}

fn write_bool(value: bool, row: &mut Vec<u8>) {
    row.extend_from_slice(if value { b"true" } else { b"false" });
}

fn write_value(kind: Kind, value: &[u8], row: &mut Vec<u8>) {
    match (kind, value) {
        (Kind::Float, &[a, b, c, d]) => display(f32::from_le_bytes([a, b, c, d]), row),
        (Kind::Double, &[a, b, c, d, e, f, g, h]) => {
            display(f64::from_le_bytes([a, b, c, d, e, f, g, h]), row);
        }
        (Kind::Int32 { .. }, &[a, b, c, d]) => {
            write_integer(kind, i64::from(i32::from_le_bytes([a, b, c, d])), row);
        }
        (Kind::Int64 { .. }, &[a, b, c, d, e, f, g, h]) => {
            write_integer(kind, i64::from_le_bytes([a, b, c, d, e, f, g, h]), row);
        }
        _ => write_text(value, row),
    }
}

fn write_integer(kind: Kind, value: i64, row: &mut Vec<u8>) {
    match kind {
        // differences wrap within 32 bits
        Kind::Int32 { unsigned: true } => display(value as u32, row),
        Kind::Int32 { unsigned: false } => display(value as i32, row),
        Kind::Int64 { unsigned: true, .. } => display(value.cast_unsigned(), row),
        Kind::Int64 { per_second, .. } => display(value.div_euclid(per_second), row),
        _ => display(value, row),
    }
}

fn display(value: impl std::fmt::Display, row: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(row, "{value}");
}

/// Writes a cell: blanks and control characters, which would part or end it, and bytes that are
/// no UTF-8 as `%` and two digits, as AWS writes tags; a percent sign as it is. Nothing is a `-`.
pub fn write_text(value: &[u8], row: &mut Vec<u8>) {
    if value.is_empty() {
        row.push(b'-');
        return;
    }
    for chunk in value.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            if byte <= b' ' || byte == 0x7F { write_escaped(byte, row) } else { row.push(byte) }
        }
        for &byte in chunk.invalid() {
            write_escaped(byte, row);
        }
    }
}

fn write_escaped(byte: u8, row: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    row.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xF)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_cells() {
        let cell = |kind, value: &[u8]| {
            let mut row = Vec::new();
            write_value(kind, value, &mut row);
            String::from_utf8(row).unwrap()
        };
        let seconds = Kind::Int64 { unsigned: false, per_second: 1 };
        let micros = Kind::Int64 { unsigned: false, per_second: 1_000_000 };
        for (name, kind, value, want) in [
            ("text", Kind::Bytes, &b"10.0.0.1"[..], "10.0.0.1"),
            ("nothing", Kind::Bytes, b"", "-"),
            ("a dash", Kind::Bytes, b"-", "-"),
            ("blanks and lines", Kind::Bytes, b"a b\tc\r\nd\0\x7f", "a%20b%09c%0D%0Ad%00%7F"),
            ("percent signs", Kind::Bytes, b"team%20a 100%", "team%20a%20100%"),
            ("letters", Kind::Bytes, "grün".as_bytes(), "grün"),
            ("no UTF-8", Kind::Bytes, b"\xFFa\xC3", "%FFa%C3"),
            ("as many bytes", Kind::Fixed(3), b"abc", "abc"),
            ("32 bits", Kind::Int32 { unsigned: false }, &[0xFE, 0xFF, 0xFF, 0xFF], "-2"),
            ("32 bits, no sign", Kind::Int32 { unsigned: true }, &[0xFE, 0xFF, 0xFF, 0xFF], "4294967294"),
            ("64 bits", seconds, &1_780_272_000_i64.to_le_bytes(), "1780272000"),
            ("no sign", Kind::Int64 { unsigned: true, per_second: 1 }, &[0xFF; 8], "18446744073709551615"),
            ("a time", micros, &1_780_272_000_999_999_i64.to_le_bytes(), "1780272000"),
            ("a float", Kind::Float, &1.5_f32.to_le_bytes(), "1.5"),
            ("a double", Kind::Double, &(-0.25_f64).to_le_bytes(), "-0.25"),
        ] {
            assert_eq!(cell(kind, value), want, "{name}");
        }
    }

    #[test]
    fn a_dictionary_is_no_larger_than_its_page() {
        let words = Bytes::from_static(b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c");
        let dictionary = Dictionary::read(Kind::Bytes, words.clone(), 3).unwrap();
        let read: Vec<_> = (0..4).map(|place| dictionary.get(place)).collect();
        assert_eq!(read, [Some(&b"ab"[..]), Some(b""), Some(b"c"), None]);
        for values in [4, 16, u32::MAX] {
            assert!(Dictionary::read(Kind::Bytes, words.clone(), values).is_err(), "{values}");
        }
        assert!(Dictionary::read(Kind::Boolean, words, 3).is_err());
    }
}
