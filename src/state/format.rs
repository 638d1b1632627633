//! Stored keys and values as bytes. Every value begins with the version of its form; a value of
//! a later version is refused by name, never guessed at.

use chrono::{DateTime, TimeZone as _, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::packed::{put_number, take_number};
use super::{
    Change, FailedObject, LeafRecord, LedgerEntry, Marker, Outcome, Progress, Quarantined, Recheck,
    SourceKey, SourceRecord, StateError, blocks,
};
use crate::hex;
use crate::pattern::PrefixTime;
use crate::sink::Position;

/// No kind that readers see comes before this; [`BLOCK`] and [`JOURNAL`] do.
pub const FIRST: u8 = b'a';

/// First byte of the keys of each kind.
pub const META: u8 = b'm';
/// A source, by name.
pub const SOURCE: u8 = b's';
/// A leaf, by source and head.
pub const LEAF: u8 = b'l';
/// A prefix, by source, head and time.
pub const MARKER: u8 = b'p';
/// A settled object, by source and key: the ledger, in byte order of the keys.
pub const ENTRY: u8 = b'e';
/// A failed object, by source and key.
pub const FAILED: u8 = b'f';
/// An object in flight, by source and key.
pub const PROGRESS: u8 = b'i';
/// A closed prefix whose ledger is to be deleted.
pub const CLEANUP: u8 = b'c';
/// A planned recheck, by source, time and prefix.
pub const RECHECK: u8 = b'r';
/// A quarantined object, by source number and key.
pub const QUARANTINE: u8 = b'q';
/// A history file, by name.
pub const HISTORY: u8 = b'h';
/// A paused source, by name: it outlives generations.
pub const PAUSED: u8 = b'w';
/// A block of packed pairs, by the first of them: how [`super::disk`] keeps the kinds of [`PACKED`].
/// Capitals are kinds that only the disk has; no reader sees them.
pub const BLOCK: u8 = b'B';
/// A part of the journal of packed pairs, by number.
pub const JOURNAL: u8 = b'J';

/// Kinds of which there may be one for every object or closed prefix, rising.
pub const PACKED: [u8; 2] = [ENTRY, RECHECK];

/// Whether the disk packs the pair of this key.
pub fn is_packed(key: &[u8]) -> bool {
    key.first().is_some_and(|tag| PACKED.contains(tag))
}

/// The kinds that belong to one generation of a source.
pub const GENERATION_TAGS: [u8; 7] = [LEAF, MARKER, ENTRY, FAILED, PROGRESS, CLEANUP, RECHECK];

/// Version of values in JSON.
const JSON_V1: u8 = 1;
/// First version of ledger entries: fixed widths and the ETag as text.
const ENTRY_V1: u8 = 1;
/// Version of ledger entries that is written.
const ENTRY_V2: u8 = 2;
/// Version of rechecks that is written; the first is JSON.
const RECHECK_V2: u8 = 2;
/// Bits of a recheck's flags.
const EXTRA: u8 = 1;
const WAITS: u8 = 2;
/// Bit of the outcome's byte: the ETag is the 16 bytes that its 32 digits spell.
const SHORT_ETAG: u8 = 0x80;
/// Bit of the outcome's byte: a reason stands behind the ETag.
const WITH_REASON: u8 = 0x40;

/// Key of a single value of the whole state.
pub fn meta_key(name: &str) -> Vec<u8> {
    [&[META], name.as_bytes()].concat()
}

/// Key of a source.
pub fn source_key(name: &str) -> Vec<u8> {
    [&[SOURCE], name.as_bytes()].concat()
}

/// Key of the pause of a source.
pub fn paused_key(name: &str) -> Vec<u8> {
    [&[PAUSED], name.as_bytes()].concat()
}

/// Key of something of a source that has a name.
pub fn named_key(tag: u8, source: SourceKey, name: &str) -> Vec<u8> {
    [source_start(tag, source).as_slice(), name.as_bytes()].concat()
}

/// Key of something of a leaf that has a time.
pub fn timed_key(tag: u8, source: SourceKey, head: &str, time: PrefixTime) -> Vec<u8> {
    let mut key = marker_start(tag, source, head);
    key.extend_from_slice(&sortable(time.as_minutes()));
    key
}

fn quarantine_key(source: u32, key: &str) -> Vec<u8> {
    [&[QUARANTINE][..], &source.to_be_bytes(), key.as_bytes()].concat()
}

/// All keys of a kind: from, and the first key after them.
pub fn tag_range(tag: u8) -> (Vec<u8>, Vec<u8>) {
    (vec![tag], vec![tag + 1])
}

/// All keys of a kind and source.
pub fn source_range(tag: u8, source: SourceKey) -> (Vec<u8>, Vec<u8>) {
    let from = source_start(tag, source);
    let to = after_all(&from);
    (from, to)
}

/// All keys of a kind and leaf.
pub fn marker_range(tag: u8, source: SourceKey, head: &str) -> (Vec<u8>, Vec<u8>) {
    let from = marker_start(tag, source, head);
    let to = after_all(&from);
    (from, to)
}

/// The smallest key after `key`.
pub fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The first key that does not begin with `start`; empty starts do not occur.
pub fn after_all(start: &[u8]) -> Vec<u8> {
    let mut end = start.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

fn source_start(tag: u8, source: SourceKey) -> Vec<u8> {
    [&[tag][..], &source.id.to_be_bytes(), &source.generation.to_be_bytes()].concat()
}

/// The head's length stands before it, so that no head is the beginning of another.
fn marker_start(tag: u8, source: SourceKey, head: &str) -> Vec<u8> {
    let mut key = source_start(tag, source);
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(head.as_bytes());
    key
}

/// Bytes whose order is the order of the numbers.
fn sortable(number: i64) -> [u8; 8] {
    number.wrapping_sub(i64::MIN).to_be_bytes()
}

/// The name that stands after the first `at` bytes of a stored key.
pub fn name_after(key: &[u8], at: usize) -> Result<String, StateError> {
    let name = key.get(at..).unwrap_or_default();
    String::from_utf8(name.to_vec()).map_err(|_| damaged("a stored name is not UTF-8"))
}

/// Head and time of a key made by [`timed_key`].
pub fn head_and_time(key: &[u8]) -> Result<(String, PrefixTime), StateError> {
    let wrong = || damaged("the key of a stored prefix is malformed");
    let rest = key.get(13..).ok_or_else(wrong)?;
    let (head, time) = rest.split_at_checked(rest.len().wrapping_sub(8)).ok_or_else(wrong)?;
    let minutes = i64::from_be_bytes(time.try_into().map_err(|_| wrong())?).wrapping_add(i64::MIN);
    let time = PrefixTime::from_minutes(minutes).ok_or_else(wrong)?;
    Ok((String::from_utf8(head.to_vec()).map_err(|_| wrong())?, time))
}

/// Rechecks sort by when they are due, so that a sweep reads only those that are.
/// Key of a planned recheck.
pub fn recheck_key(source: SourceKey, due: DateTime<Utc>, head: &str, time: PrefixTime) -> Vec<u8> {
    let mut key = source_start(RECHECK, source);
    key.extend_from_slice(&sortable(due.timestamp()));
    key.extend_from_slice(head.as_bytes());
    key.extend_from_slice(&sortable(time.as_minutes()));
    key
}

/// All rechecks of a source that are due at `now`.
pub fn recheck_range(source: SourceKey, now: DateTime<Utc>) -> (Vec<u8>, Vec<u8>) {
    let from = source_start(RECHECK, source);
    let to = [from.as_slice(), &sortable(now.timestamp().saturating_add(1))].concat();
    (from, to)
}

/// Due time, head and prefix of a stored recheck.
pub fn recheck_of(key: &[u8]) -> Result<(DateTime<Utc>, String, PrefixTime), StateError> {
    let wrong = || damaged("the key of a stored recheck is malformed");
    let due = key.get(9..17).and_then(|due| due.try_into().ok()).ok_or_else(wrong)?;
    let due = i64::from_be_bytes(due).wrapping_add(i64::MIN);
    let due = Utc.timestamp_opt(due, 0).single().ok_or_else(wrong)?;
    let (head, time) = key.split_at_checked(key.len().wrapping_sub(8)).ok_or_else(wrong)?;
    let head = String::from_utf8(head.get(17..).ok_or_else(wrong)?.to_vec()).map_err(|_| wrong())?;
    let minutes = i64::from_be_bytes(time.try_into().map_err(|_| wrong())?).wrapping_add(i64::MIN);
    Ok((due, head, PrefixTime::from_minutes(minutes).ok_or_else(wrong)?))
}

/// A change as the key it touches and the value it leaves there (`None` deletes).
pub fn encode(change: &Change) -> (Vec<u8>, Option<Vec<u8>>) {
    match change {
        Change::PutSource(name, record) => (source_key(name), Some(json(record))),
        Change::PutLeaf(source, head, record) => (named_key(LEAF, *source, head), Some(json(record))),
        Change::DeleteLeaf(source, head) => (named_key(LEAF, *source, head), None),
        Change::PutMarker(source, head, time, marker) => {
            (timed_key(MARKER, *source, head, *time), Some(json(marker)))
        }
        Change::DeleteMarker(source, head, time) => (timed_key(MARKER, *source, head, *time), None),
        Change::PutEntry(source, key, entry) => (named_key(ENTRY, *source, key), Some(encode_entry(entry))),
        Change::DeleteEntry(source, key) => (named_key(ENTRY, *source, key), None),
        Change::PutFailed(source, key, failed) => (named_key(FAILED, *source, key), Some(json(failed))),
        Change::DeleteFailed(source, key) => (named_key(FAILED, *source, key), None),
        Change::PutProgress(source, key, progress) => {
            (named_key(PROGRESS, *source, key), Some(json(progress)))
        }
        Change::DeleteProgress(source, key) => (named_key(PROGRESS, *source, key), None),
        Change::PutRecheck(source, due, head, time, recheck) => {
            (recheck_key(*source, *due, head, *time), Some(encode_recheck(recheck)))
        }
        Change::DeleteRecheck(source, due, head, time) => (recheck_key(*source, *due, head, *time), None),
        Change::PutQuarantined(source, object) => (quarantine_key(*source, &object.key), Some(json(object))),
        Change::DeleteQuarantined(source, key) => (quarantine_key(*source, key), None),
        Change::PutSink(position) => (meta_key("sink"), Some(json(position))),
        Change::PutDeadLetter(length) => (meta_key("dead_letter"), Some(json(length))),
        Change::PutHistory(file, length) => ([&[HISTORY], file.as_bytes()].concat(), Some(json(length))),
        Change::DeleteHistory(file) => ([&[HISTORY], file.as_bytes()].concat(), None),
        Change::PutCleanup(source, head, time) => (timed_key(CLEANUP, *source, head, *time), Some(vec![])),
        Change::DeleteCleanup(source, head, time) => (timed_key(CLEANUP, *source, head, *time), None),
        Change::PutPaused(name, since) => (paused_key(name), Some(json(since))),
        Change::DeletePaused(name) => (paused_key(name), None),
        Change::DeleteStale(key) => (key.clone(), None),
    }
}

/// A value as version byte and JSON.
pub fn json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![JSON_V1];
    serde_json::to_writer(&mut bytes, value)
        .expect("plain structs with text keys always serialise to memory");
    bytes
}

/// Reads what [`json`] wrote.
pub fn decode_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    match bytes.split_first() {
        Some((&JSON_V1, text)) => serde_json::from_slice(text)
            .map_err(|error| damaged(&format!("a stored value cannot be read: {error}"))),
        Some((&version, _)) if version > JSON_V1 => Err(newer(version)),
        _ => Err(damaged("a stored value has no version")),
    }
}

/// Ledger entries are many, so they are short: version, outcome, records, last modified, settled
/// after that, ETag. Numbers are LEB128, times are seconds in zigzag. With a reason, an ETag of text
/// has its length before it, and the reason stands behind.
fn encode_entry(entry: &LedgerEntry) -> Vec<u8> {
    let outcome = match entry.outcome {
        Outcome::Collected => 0,
        Outcome::Empty => 1,
        Outcome::Quarantined => 2,
        Outcome::Replaced => 3,
        Outcome::Gone => 4,
        Outcome::Dropped => 5,
    };
    let (modified, settled) = (entry.last_modified.timestamp(), entry.settled_at.timestamp());
    let short = short_etag(&entry.etag);
    let flags = short.map_or(0, |_| SHORT_ETAG) | entry.reason.as_ref().map_or(0, |_| WITH_REASON);
    let mut bytes = Vec::with_capacity(16 + entry.etag.len());
    bytes.extend_from_slice(&[ENTRY_V2, outcome | flags]);
    put_number(&mut bytes, entry.records);
    put_number(&mut bytes, zigzag(modified));
    put_number(&mut bytes, zigzag(settled.wrapping_sub(modified)));
    match short {
        Some(etag) => bytes.extend_from_slice(&etag.to_be_bytes()),
        None => {
            if entry.reason.is_some() {
                put_number(&mut bytes, entry.etag.len() as u64);
            }
            bytes.extend_from_slice(entry.etag.as_bytes());
        }
    }
    bytes.extend_from_slice(entry.reason.as_deref().unwrap_or_default().as_bytes());
    bytes
}

/// The number that an ETag of 32 lower-case hexadecimal digits spells.
fn short_etag(etag: &str) -> Option<u128> {
    let is_short = etag.len() == 32 && etag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(etag, 16).ok().filter(|_| is_short)
}

/// Numbers near zero become small ones, whatever their sign.
fn zigzag(number: i64) -> u64 {
    (number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Reads a ledger entry.
pub fn decode_entry(bytes: &[u8]) -> Result<LedgerEntry, StateError> {
    match bytes.first() {
        Some(&ENTRY_V1) => decode_entry_v1(bytes),
        Some(&ENTRY_V2) => decode_entry_v2(&bytes[1..]).ok_or_else(malformed_entry),
        Some(&version) if version > ENTRY_V2 => Err(newer(version)),
        _ => Err(malformed_entry()),
    }
}

fn malformed_entry() -> StateError {
    damaged("a ledger entry is malformed")
}

fn outcome_of(byte: u8) -> Option<Outcome> {
    match byte {
        0 => Some(Outcome::Collected),
        1 => Some(Outcome::Empty),
        2 => Some(Outcome::Quarantined),
        3 => Some(Outcome::Replaced),
        4 => Some(Outcome::Gone),
        5 => Some(Outcome::Dropped),
        _ => None,
    }
}

fn decode_entry_v2(bytes: &[u8]) -> Option<LedgerEntry> {
    let (&outcome, rest) = bytes.split_first()?;
    let (records, rest) = take_number(rest)?;
    let (modified, rest) = take_number(rest)?;
    let (settled_after, rest) = take_number(rest)?;
    let modified = unzigzag(modified);
    let time = |seconds: i64| Utc.timestamp_opt(seconds, 0).single();
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let has_reason = outcome & WITH_REASON != 0;
    let (etag, rest) = if outcome & SHORT_ETAG != 0 {
        let (etag, rest) = rest.split_first_chunk()?;
        let digits = hex::joined(hex::pieces(u128::from_be_bytes(*etag)));
        (text(&digits)?, rest)
    } else {
        let (length, rest) = if has_reason { take_number(rest)? } else { (rest.len() as u64, rest) };
        let (etag, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        (text(etag).filter(|etag| short_etag(etag).is_none())?, rest)
    };
    Some(LedgerEntry {
        outcome: outcome_of(outcome & !(SHORT_ETAG | WITH_REASON))?,
        records,
        last_modified: time(modified)?,
        settled_at: time(modified.wrapping_add(unzigzag(settled_after)))?,
        etag,
        reason: match (has_reason, rest) {
            (true, reason) => Some(text(reason)?),
            (false, []) => None,
            (false, _) => return None,
        },
    })
}

fn decode_entry_v1(bytes: &[u8]) -> Result<LedgerEntry, StateError> {
    let wrong = malformed_entry;
    let number = |at: usize| -> Result<[u8; 8], StateError> {
        bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).ok_or_else(wrong)
    };
    let time = |at: usize| -> Result<DateTime<Utc>, StateError> {
        Utc.timestamp_opt(i64::from_be_bytes(number(at)?), 0).single().ok_or_else(wrong)
    };
    Ok(LedgerEntry {
        outcome: bytes.get(1).copied().and_then(outcome_of).ok_or_else(wrong)?,
        records: u64::from_be_bytes(number(2)?),
        last_modified: time(10)?,
        settled_at: time(18)?,
        etag: bytes.get(26..).and_then(|etag| String::from_utf8(etag.to_vec()).ok()).ok_or_else(wrong)?,
        reason: None,
    })
}

/// Rechecks are as many as closed prefixes, so they are short: version, flags, when the prefix
/// closed, rechecks done, when it was listed (where it waits), then each frame's file, with its
/// length before it, and first byte. A time is seconds in zigzag and nanoseconds.
fn encode_recheck(recheck: &Recheck) -> Vec<u8> {
    let Recheck { closed_at, done, frames, extra, waits_since } = recheck;
    let flags = if *extra { EXTRA } else { 0 } | waits_since.map_or(0, |_| WAITS);
    let mut bytes = vec![RECHECK_V2, flags];
    put_time(&mut bytes, *closed_at);
    put_number(&mut bytes, u64::from(*done));
    if let Some(since) = waits_since {
        put_time(&mut bytes, *since);
    }
    for (file, offset) in frames {
        put_number(&mut bytes, file.len() as u64);
        bytes.extend_from_slice(file.as_bytes());
        put_number(&mut bytes, *offset);
    }
    bytes
}

fn put_time(bytes: &mut Vec<u8>, time: DateTime<Utc>) {
    put_number(bytes, zigzag(time.timestamp()));
    put_number(bytes, u64::from(time.timestamp_subsec_nanos()));
}

fn take_time(bytes: &[u8]) -> Option<(DateTime<Utc>, &[u8])> {
    let (seconds, rest) = take_number(bytes)?;
    let (nanos, rest) = take_number(rest)?;
    let time = Utc.timestamp_opt(unzigzag(seconds), u32::try_from(nanos).ok()?).single()?;
    Some((time, rest))
}

/// Reads a planned recheck.
pub fn decode_recheck(bytes: &[u8]) -> Result<Recheck, StateError> {
    match bytes.first() {
        Some(&RECHECK_V2) => {
            decode_recheck_v2(&bytes[1..]).ok_or_else(|| damaged("a stored recheck is malformed"))
        }
        Some(&version) if version > RECHECK_V2 => Err(newer(version)),
        _ => decode_json(bytes),
    }
}

fn decode_recheck_v2(bytes: &[u8]) -> Option<Recheck> {
    let (&flags, rest) = bytes.split_first().filter(|(flags, _)| **flags <= EXTRA | WAITS)?;
    let (closed_at, rest) = take_time(rest)?;
    let (done, rest) = take_number(rest)?;
    let (waits_since, mut rest) = match flags & WAITS {
        0 => (None, rest),
        _ => take_time(rest).map(|(since, rest)| (Some(since), rest))?,
    };
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (length, name) = take_number(rest)?;
        let (name, behind) = name.split_at_checked(usize::try_from(length).ok()?)?;
        let (offset, behind) = take_number(behind)?;
        frames.push((std::str::from_utf8(name).ok()?.to_owned(), offset));
        rest = behind;
    }
    let done = u32::try_from(done).ok()?;
    Some(Recheck { closed_at, done, frames, extra: flags & EXTRA != 0, waits_since })
}

/// Reads a stored pair of whatever kind, only to see that it can be read. Kinds of a later
/// version are passed over.
pub fn check(key: &[u8], value: &[u8]) -> Result<(), StateError> {
    let number = || decode_json::<u64>(value).map(drop);
    match key.first() {
        Some(&META) if key == meta_key("sink") => decode_json::<Position>(value).map(drop),
        Some(&META) if key == meta_key("dead_letter") => number(),
        Some(&SOURCE) => decode_json::<SourceRecord>(value).map(drop),
        Some(&LEAF) => decode_json::<LeafRecord>(value).map(drop),
        Some(&MARKER) => {
            head_and_time(key)?;
            decode_json::<Marker>(value).map(drop)
        }
        Some(&ENTRY) => decode_entry(value).map(drop),
        Some(&BLOCK | &JOURNAL) => blocks::check(key, value),
        Some(&FAILED) => decode_json::<FailedObject>(value).map(drop),
        Some(&PROGRESS) => decode_json::<Progress>(value).map(drop),
        Some(&CLEANUP) => head_and_time(key).map(drop),
        Some(&RECHECK) => {
            recheck_of(key)?;
            decode_recheck(value).map(drop)
        }
        Some(&QUARANTINE) => decode_json::<Quarantined>(value).map(drop),
        Some(&HISTORY) => number(),
        Some(&PAUSED) => decode_json::<DateTime<Utc>>(value).map(drop),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn damaged(what: &str) -> StateError {
    StateError::Damaged {
        what: format!("{what}; restore the state directory from a copy, or run once with --rebuild-state"),
    }
}

pub(super) fn newer(version: u8) -> StateError {
    StateError::Newer { what: format!("a value of form {version}") }
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
