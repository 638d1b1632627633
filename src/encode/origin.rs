//! Where a record comes from and when it is written; and ids made of that.

use crate::hex;
use crate::record::json;

/// The object that records come from, in the forms that lines have of it, with the ordinal of the
/// record at hand. Made once per object.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `"bucket":"…","key":"…"`.
    members: Vec<u8>,
    /// What stands for bucket, key and ETag.
    object: IdHash,
    /// Ordinal of the record within the object, from 0.
    pub ordinal: u64,
    write_time: i64,
    /// The same in digits.
    write_digits: Digits,
}

/// The digits of a number.
#[derive(Clone, Copy, Debug)]
struct Digits {
    /// As many as the longest number has.
    bytes: [u8; 20],
    length: usize,
}

impl Digits {
    fn of(number: i64) -> Self {
        let mut digits = Digits { bytes: [0; 20], length: 0 };
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(number).as_bytes();
        digits.bytes[..text.len()].copy_from_slice(text);
        digits.length = text.len();
        digits
    }
}

impl Origin {
    /// The first record of an object, written at the epoch.
    pub fn new(bucket: &str, key: &str, etag: &str) -> Self {
        let mut members = b"\"bucket\":".to_vec();
        json::push_string(&mut members, bucket);
        members.extend_from_slice(b",\"key\":");
        json::push_string(&mut members, key);
        let parts = [bucket, key, etag].map(str::as_bytes);
        let object = parts.into_iter().fold(IdHash::new(), IdHash::with);
        Origin { members, object, ordinal: 0, write_time: 0, write_digits: Digits::of(0) }
    }

    /// Another record of the object.
    pub fn at(mut self, ordinal: u64, write_time: i64) -> Self {
        self.ordinal = ordinal;
        self.write_at(write_time);
        self
    }

    /// Says when this record and those after it are written, in epoch milliseconds.
    pub fn write_at(&mut self, write_time: i64) {
        self.write_time = write_time;
        self.write_digits = Digits::of(write_time);
    }

    /// When the record is written, in epoch milliseconds.
    pub fn write_time(&self) -> i64 {
        self.write_time
    }

    /// The digits of [`Origin::write_time`].
    pub(super) fn write_digits(&self) -> &[u8] {
        &self.write_digits.bytes[..self.write_digits.length]
    }

    /// `"bucket":"…","key":"…"`, the members of a JSON object.
    pub fn members(&self) -> &[u8] {
        &self.members
    }

    /// An id of a record that has none of its own: the same for the same bucket, key, ETag and
    /// ordinal in every run.
    pub fn record_id(&self) -> [u8; 32] {
        self.object.with(&self.ordinal.to_le_bytes()).digits()
    }
}

/// The steps of FNV-1a of 128 bits, taken with eight bytes each.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdHash(u128);

impl IdHash {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    pub(super) fn new() -> Self {
        IdHash(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn step(self, word: u64) -> Self {
        IdHash((self.0 ^ u128::from(word)).wrapping_mul(Self::PRIME))
    }

    /// Takes in one more part.
    #[inline(always)]
    pub(super) fn with(self, part: &[u8]) -> Self {
        let (words, rest) = part.as_chunks::<8>();
        let hash = words.iter().fold(self, |hash, word| hash.step(u64::from_le_bytes(*word)));
        let last = match (part.last_chunk(), rest.len()) {
            (_, 0) => 0,
            // the end of the part but for the bytes that are taken in already
            (Some(end), left) => u64::from_le_bytes(*end) >> (64 - 8 * left),
            (None, _) => rest.iter().rev().fold(0, |last, byte| last << 8 | u64::from(*byte)),
        };
        // With the length, no two parts end in the same steps.
        hash.step(last).step(part.len() as u64)
    }

    /// 32 hexadecimal digits that stand for all parts, in four pieces.
    #[inline(always)]
    pub(super) fn pieces(self) -> [[u8; 8]; 4] {
        // A product moves upwards what tells parts apart: the upper half is mixed into the lower.
        let hash = (self.0 ^ self.0 >> 64).wrapping_mul(Self::PRIME);
        hex::pieces(hash)
    }

    /// 32 hexadecimal digits that stand for all parts.
    pub(super) fn digits(self) -> [u8; 32] {
        hex::joined(self.pieces())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_places_apart() {
        let id = |bucket, key, etag, ordinal| Origin::new(bucket, key, etag).at(ordinal, 0).record_id();
        let own = id("b", "k", "e", 0);
        assert_eq!(own, Origin::new("b", "k", "e").at(0, 9).record_id(), "the time is no part");
        assert!(own.iter().all(u8::is_ascii_hexdigit));
        for (name, other) in [
            ("the next record", id("b", "k", "e", 1)),
            ("another key", id("b", "k2", "e", 0)),
            ("another bucket", id("b2", "k", "e", 0)),
            ("an overwritten object", id("b", "k", "e2", 0)),
            ("the same letters", id("bk", "", "e", 0)),
        ] {
            assert_ne!(own, other, "{name}");
        }
    }

    /// Word by word, as receivers know the ids.
    fn by_the_book(part: &[u8]) -> String {
        let mut words = part.to_vec();
        words.resize(part.len() / 8 * 8 + 8, 0);
        words.extend_from_slice(&(part.len() as u64).to_le_bytes());
        let step = |hash: u128, word: &[u8; 8]| {
            (hash ^ u128::from(u64::from_le_bytes(*word))).wrapping_mul(IdHash::PRIME)
        };
        let hash = words.as_chunks().0.iter().fold(IdHash::new().0, step);
        format!("{:032x}", (hash ^ hash >> 64).wrapping_mul(IdHash::PRIME))
    }

    #[test]
    fn ids_stay_as_they_are() {
        let text = "arn:aws:wafv2:eu-west-1:111122223333:ü";
        for length in 0..text.len() {
            let part = &text.as_bytes()[..length];
            let id = IdHash::new().with(part).digits();
            assert_eq!(String::from_utf8_lossy(&id), by_the_book(part), "{length}");
        }
    }

    #[test]
    fn members_are_json() {
        let origin = Origin::new("b", "k\"\\\n\u{1}ü", "e");
        let object = [b"{", origin.members(), b"}"].concat();
        let object: serde_json::Value = serde_json::from_slice(&object).unwrap();
        assert_eq!(object, serde_json::json!({"bucket": "b", "key": "k\"\\\n\u{1}ü"}));
    }
}
