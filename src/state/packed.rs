//! Many pairs in one stored value: sorted by key, each key told by what it does not share with the
//! one before it.
//!
//! A version byte, then per pair: bytes shared with the key before, length of the rest, the rest,
//! length of the value plus one (0 tells of a deleted key), the value. Numbers are LEB128 in their
//! shortest form, so that pairs have one form only.

use std::collections::BTreeMap;

use super::StateError;
use super::format::{damaged, newer};

const VERSION: u8 = 1;

/// Keys and what is under them; `None` where the key is deleted.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A packed key and what is under it.
pub type Item = (Vec<u8>, Option<Vec<u8>>);

/// Packs pairs one by one, in rising order of their keys.
pub struct Packer {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Packer {
    /// Begins; the first key is told against `start`, which [`unpack`] has to be given again.
    pub fn new(start: &[u8]) -> Self {
        Packer { bytes: vec![VERSION], last: start.to_vec() }
    }

    /// Adds a pair.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let shared = self.last.iter().zip(key).take_while(|(last, next)| last == next).count();
        put_number(&mut self.bytes, shared as u64);
        put_number(&mut self.bytes, (key.len() - shared) as u64);
        self.bytes.extend_from_slice(&key[shared..]);
        put_number(&mut self.bytes, value.map_or(0, |value| value.len() as u64 + 1));
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
    }

    /// Bytes so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The packed bytes.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what a [`Packer`] with the same `start` wrote; ends after the first error.
pub fn unpack<'b>(start: &[u8], bytes: &'b [u8]) -> Unpacked<'b> {
    let (version, rest) = bytes.split_first().map_or((None, bytes), |(first, rest)| (Some(*first), rest));
    Unpacked { version, rest, last: start.to_vec(), is_first: true }
}

/// Pairs of packed bytes.
pub struct Unpacked<'b> {
    /// Checked with the first pair.
    version: Option<u8>,
    rest: &'b [u8],
    last: Vec<u8>,
    is_first: bool,
}

impl<'b> Unpacked<'b> {
    fn read(&mut self) -> Result<Item, StateError> {
        let wrong = || damaged("packed entries are malformed");
        let shared = self.length().ok_or_else(wrong)?;
        let own = self.length().and_then(|length| self.take(length)).ok_or_else(wrong)?;
        let before = self.last.get(shared..).ok_or_else(wrong)?;
        // The smallest difference: otherwise one key would have several forms.
        let rises = match (before.first(), own.first()) {
            (None, None) => self.is_first,
            (None, Some(_)) => true,
            (Some(_), None) => self.is_first,
            (Some(last), Some(next)) => last < next || (self.is_first && last != next),
        };
        if !rises {
            return Err(wrong());
        }
        self.is_first = false;
        self.last.truncate(shared);
        self.last.extend_from_slice(own);
        let value = match self.length().ok_or_else(wrong)? {
            0 => None,
            length => Some(self.take(length - 1).ok_or_else(wrong)?.to_vec()),
        };
        Ok((self.last.clone(), value))
    }

    fn length(&mut self) -> Option<usize> {
        let (number, rest) = take_number(self.rest)?;
        self.rest = rest;
        usize::try_from(number).ok()
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

impl Iterator for Unpacked<'_> {
    type Item = Result<Item, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        let wrong_version = match self.version.take() {
            Some(VERSION) => None,
            Some(version) if version > VERSION => Some(newer(version)),
            Some(_) => Some(damaged("packed entries have no version")),
            None if self.is_first => Some(damaged("packed entries are empty")),
            None => None,
        };
        if let Some(error) = wrong_version {
            (self.rest, self.is_first) = (&[], false);
            return Some(Err(error));
        }
        if self.rest.is_empty() {
            self.is_first = false;
            return None;
        }
        let read = self.read();
        if read.is_err() {
            (self.rest, self.is_first) = (&[], false);
        } else {
            self.version = Some(VERSION);
        }
        Some(read)
    }
}

/// Appends a number as LEB128.
pub fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads a number that [`put_number`] wrote, and what follows it; `None` on another form.
pub fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let (own, rest) = bytes.split_at(length);
    if length > 10 || (length > 1 && own.last() == Some(&0)) || (length == 10 && own[9] > 1) {
        return None;
    }
    let number = own.iter().rev().fold(0_u64, |number, byte| number << 7 | u64::from(byte & 0x7f));
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(start: &[u8], items: &[Item]) -> Vec<u8> {
        let mut packer = Packer::new(start);
        items.iter().for_each(|(key, value)| packer.push(key, value.as_deref()));
        packer.finish()
    }

    #[test]
    fn the_form_is_fixed() {
        let item =
            |key: &str, value: Option<&str>| (key.as_bytes().to_vec(), value.map(|value| value.into()));
        let items = [item("aab", Some("x")), item("aac", None), item("aacd", Some(""))];
        let bytes = packed(b"aab", &items);
        assert_eq!(bytes, b"\x01\x03\x00\x02x\x02\x01c\x00\x03\x01d\x01");
        assert_eq!(unpack(b"aab", &bytes).collect::<Result<Vec<_>, _>>().expect("whole"), items);
    }

    #[test]
    fn other_bytes_are_refused() {
        let cases: [(&str, &[u8]); 11] = [
            ("no version", b""),
            ("version 0", b"\0"),
            ("a later version", b"\x02"),
            ("shares more than there is", b"\x01\x01\x00\x00"),
            ("ends in the key", b"\x01\x00\x05ab"),
            ("ends in the value", b"\x01\x00\x01a\x05x"),
            ("no value", b"\x01\x00\x01a"),
            ("falls", b"\x01\x00\x01b\x00\x00\x01a\x00"),
            ("repeats", b"\x01\x00\x01b\x00\x01\x00\x00"),
            ("shares less than it could", b"\x01\x00\x01a\x00\x00\x02ab\x00"),
            ("a long number", b"\x01\x80\x00\x01a\x00"),
        ];
        for (case, bytes) in cases {
            let read: Vec<_> = unpack(b"", bytes).take(9).collect();
            assert!(read.last().is_some_and(|last| last.is_err()), "{case}: {read:?}");
        }
    }

    #[test]
    fn numbers_have_one_form() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            bytes.push(7);
            assert_eq!(take_number(&bytes), Some((number, &[7][..])));
        }
        for bytes in [
            &[0x80, 0][..],
            &[0x80],
            &[],
            &[0xff; 10],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert_eq!(take_number(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            items: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
            start: Vec<u8>,
        ) {
            let items: Vec<_> = items.into_iter().collect();
            let read: Vec<_> = unpack(&start, &packed(&start, &items)).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read, items);
        }

        #[test]
        fn any_bytes_are_refused_or_have_one_form(start: Vec<u8>, mut bytes: Vec<u8>) {
            bytes.insert(0, VERSION);
            if let Ok(items) = unpack(&start, &bytes).collect::<Result<Vec<_>, _>>() {
                prop_assert_eq!(packed(&start, &items), bytes);
            }
        }
    }
}
