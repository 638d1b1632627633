//! Any bytes as a stored object.

use std::io::{Read as _, Write as _};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::{Crc, GzBuilder};
use tokio::io::{AsyncBufRead, AsyncReadExt as _, BufReader};

use s3sweep::decode::inflate::{FileType, Inflate, InflateError, InflateLimits, reader};

use super::Numbers;

/// Enough for everything that inputs of some kilobytes inflate to, but for bombs.
const LIMIT: u64 = 4 << 20;

/// Inflating ends, without a panic, whatever the bytes and however they arrive; what a second
/// inflater reads without complaint is read the same.
pub fn check(data: &[u8]) {
    check_stored(data);
    check_stored(&members_of(data));
}

/// Several members made of the bytes, as writers make them, with all kinds of headers, and
/// sometimes one byte of them changed or the end missing.
fn members_of(data: &[u8]) -> Vec<u8> {
    let mut numbers = Numbers::of(data);
    let (mut stored, mut rest) = (Vec::new(), data);
    for _ in 0..numbers.below(4) {
        let (part, left) = rest.split_at(numbers.below(rest.len() + 1));
        rest = left;
        let mut header = GzBuilder::new().mtime(numbers.below(1 << 31) as u32);
        if numbers.below(2) == 0 {
            header = header.filename("name.json").comment("a comment");
        }
        if numbers.below(3) == 0 {
            header = header.extra(&part[..part.len().min(40)]);
        }
        let level = Compression::new(numbers.below(10) as u32);
        let mut member = header.write(Vec::new(), level);
        member.write_all(part).expect("memory takes all");
        stored.extend(member.finish().expect("memory takes all"));
        if numbers.below(4) == 0 {
            stored.extend(member_with_header_checksum(part));
        }
    }
    match numbers.below(4) {
        0 if !stored.is_empty() => {
            let at = numbers.below(stored.len());
            stored[at] ^= 1 << numbers.below(8);
        }
        1 => stored.truncate(numbers.below(stored.len() + 1)),
        2 if numbers.below(3) == 0 => stored.extend_from_slice(rest),
        _ => {}
    }
    stored
}

/// A member of one stored block, with the checksum of its header that few writers make.
fn member_with_header_checksum(part: &[u8]) -> Vec<u8> {
    let part = &part[..part.len().min(usize::from(u16::MAX))];
    let mut member = vec![0x1f, 0x8b, 8, 0b10, 0, 0, 0, 0, 0, 255];
    let mut checksum = Crc::new();
    checksum.update(&member);
    member.extend_from_slice(&(checksum.sum() as u16).to_le_bytes());
    let length = part.len() as u16;
    member.push(1);
    member.extend_from_slice(&length.to_le_bytes());
    member.extend_from_slice(&(!length).to_le_bytes());
    member.extend_from_slice(part);
    let mut checksum = Crc::new();
    checksum.update(part);
    member.extend_from_slice(&checksum.sum().to_le_bytes());
    member.extend_from_slice(&u32::from(length).to_le_bytes());
    member
}

fn check_stored(stored: &[u8]) {
    let mut numbers = Numbers::of(stored);
    let limits = InflateLimits { max_object_bytes: LIMIT, max_ratio: u64::MAX };
    let whole = inflate(stored, FileType::Gzip, limits, stored.len().max(1), 64 * 1024);
    let pieces = inflate(stored, FileType::Gzip, limits, 1 + numbers.below(40), 1 + numbers.below(5_000));
    match &whole.1 {
        // How much of what lies before damage comes out depends on how the bytes arrive.
        Some(error) if error.is_damage() => {
            assert!(pieces.1.as_ref().is_some_and(InflateError::is_damage), "{:?}", pieces.1);
            assert!(whole.0.starts_with(&pieces.0) || pieces.0.starts_with(&whole.0));
        }
        _ => assert!(pieces == whole, "{:?} or {:?}, as the bytes arrive", pieces.1, whole.1),
    }
    let slow = inflate_slowly(stored, limits, 1 + numbers.below(5_000));
    let other = inflate_slowly(stored, limits, 64 * 1024);
    assert!(slow == other, "{:?} or {:?}, byte by byte", slow.1, other.1);
    assert!(slow.0.starts_with(&whole.0) && slow.1.is_some() == whole.1.is_some());

    let mut other = Vec::new();
    match MultiGzDecoder::new(stored).take(LIMIT + 1).read_to_end(&mut other) {
        Ok(_) if other.len() as u64 > LIMIT => {
            assert_eq!(whole.1, Some(InflateError::TooLarge { limit: LIMIT }));
        }
        Ok(_) => assert_eq!(whole, (other, None), "as the other inflater reads it"),
        Err(_) => {
            // An empty object is empty here and an unexpected end there; reserved flags of a
            // header are passed over here, where the checksum of the data tells, and refused there.
            let may_be_taken = stored.is_empty() || has_reserved_flags(stored);
            assert!(may_be_taken || whole.1.is_some(), "what the other inflater refuses is taken");
            assert!(whole.0.starts_with(&other) || other.starts_with(&whole.0));
        }
    }

    let auto = inflate(stored, FileType::Auto, limits, 1, 4_096);
    match stored.starts_with(&[0x1f, 0x8b]) {
        true => assert!(auto == whole || whole.1.is_some() && auto.1.is_some()),
        false => assert_eq!(auto, (stored.to_vec(), None), "what is no gzip is text"),
    }
    let tight = InflateLimits { max_object_bytes: 1 + numbers.below(2_000) as u64, max_ratio: 1 };
    let (bytes, error) = inflate(stored, FileType::Gzip, tight, stored.len().max(1), 700);
    assert!(bytes.len() as u64 <= tight.max_object_bytes);
    assert!(whole.0.starts_with(&bytes) || bytes.starts_with(&whole.0));
    if whole.0.len() as u64 > tight.max_object_bytes {
        assert!(error.is_some(), "more than allowed is an error");
    }
}

/// Whether the header of a member, or what looks like one, has flags that mean nothing yet.
fn has_reserved_flags(stored: &[u8]) -> bool {
    stored.windows(4).any(|bytes| bytes.starts_with(&[0x1f, 0x8b, 8]) && bytes[3] & 0b1110_0000 != 0)
}

/// The bytes before the end or the error. `arriving` bytes are at hand at a time, `asked` bytes
/// are asked for at a time.
fn inflate(
    stored: &[u8],
    file_type: FileType,
    limits: InflateLimits,
    arriving: usize,
    asked: usize,
) -> (Vec<u8>, Option<InflateError>) {
    read_all(reader(BufReader::with_capacity(arriving, stored), file_type, limits), asked)
}

fn inflate_slowly(stored: &[u8], limits: InflateLimits, arriving: usize) -> (Vec<u8>, Option<InflateError>) {
    let source = BufReader::with_capacity(arriving, stored);
    read_all(reader(source, FileType::Gzip, limits).byte_by_byte(), 1 + arriving * 3)
}

fn read_all<R: AsyncBufRead + Send + Unpin>(
    mut inflate: Inflate<R>,
    asked: usize,
) -> (Vec<u8>, Option<InflateError>) {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; asked]);
    loop {
        let read = match pin!(inflate.read(&mut piece)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(read) => read,
            Poll::Pending => panic!("a source that never waits is waited for"),
        };
        match read {
            Ok(0) => return (bytes, None),
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) => {
                let error = InflateError::of(&error).expect("the source never fails").clone();
                assert!(!error.to_string().is_empty());
                return (bytes, Some(error));
            }
        }
    }
}
