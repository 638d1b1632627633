//! Typed readers over stored pairs: what every implementation of [`State`] can tell.

use chrono::{DateTime, Utc};

use super::format;
use super::{
    DueRecheck, FailedObject, LeafRecord, LedgerEntry, Marker, Named, Progress, Quarantined, SourceKey,
    SourceRecord, State, StateError,
};
use crate::pattern::PrefixTime;
use crate::sink::Position;

impl dyn State + '_ {
    /// The record of a source.
    pub fn source(&self, name: &str) -> Result<Option<SourceRecord>, StateError> {
        self.read(&format::source_key(name), format::decode_json)
    }

    /// All sources that were ever seen.
    pub fn sources(&self) -> Result<Vec<Named<SourceRecord>>, StateError> {
        self.named(&format::tag_range(format::SOURCE), None, usize::MAX, format::decode_json)
    }

    /// Since when a source is paused; `None` when it is not.
    pub fn paused(&self, name: &str) -> Result<Option<DateTime<Utc>>, StateError> {
        self.read(&format::paused_key(name), format::decode_json)
    }

    /// A page of the leaves of a source, by head.
    pub fn leaves(
        &self,
        source: SourceKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Named<LeafRecord>>, StateError> {
        self.named(&format::source_range(format::LEAF, source), after, limit, format::decode_json)
    }

    /// One leaf.
    pub fn leaf(&self, source: SourceKey, head: &str) -> Result<Option<LeafRecord>, StateError> {
        self.read(&format::named_key(format::LEAF, source, head), format::decode_json)
    }

    /// The markers of a leaf, oldest first.
    pub fn markers(&self, source: SourceKey, head: &str) -> Result<Vec<(PrefixTime, Marker)>, StateError> {
        let (from, to) = format::marker_range(format::MARKER, source, head);
        self.timed(&from, &to, format::decode_json)
    }

    /// The marker of one prefix.
    pub fn marker(
        &self,
        source: SourceKey,
        head: &str,
        time: PrefixTime,
    ) -> Result<Option<Marker>, StateError> {
        self.read(&format::timed_key(format::MARKER, source, head, time), format::decode_json)
    }

    /// Closed prefixes of a leaf whose ledger is still to be deleted.
    pub fn cleanups(&self, source: SourceKey) -> Result<Vec<(String, PrefixTime)>, StateError> {
        let (from, to) = format::source_range(format::CLEANUP, source);
        self.scan(&from, &to, usize::MAX)?
            .iter()
            .map(|(key, _)| format::head_and_time(key))
            .collect::<Result<_, _>>()
    }

    /// Up to `limit` rechecks that are due at `now`, the longest due first.
    pub fn rechecks(
        &self,
        source: SourceKey,
        now: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<DueRecheck>, StateError> {
        self.due_rechecks(source, None, now, limit)
    }

    /// Up to `limit` rechecks that are due at `now`, the longest due first: those behind `after`.
    pub fn due_rechecks(
        &self,
        source: SourceKey,
        after: Option<&DueRecheck>,
        now: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<DueRecheck>, StateError> {
        let (first, to) = format::recheck_range(source, now);
        let from = match after {
            Some((due, head, time, _)) => format::successor(&format::recheck_key(source, *due, head, *time)),
            None => first,
        };
        self.scan(&from, &to, limit)?
            .into_iter()
            .map(|(key, value)| {
                let (due, head, time) = format::recheck_of(&key)?;
                Ok((due, head, time, format::decode_recheck(&value)?))
            })
            .collect()
    }

    /// A settled key.
    pub fn entry(&self, source: SourceKey, key: &str) -> Result<Option<LedgerEntry>, StateError> {
        self.read(&format::named_key(format::ENTRY, source, key), format::decode_entry)
    }

    /// A page of the ledger.
    pub fn entries(
        &self,
        source: SourceKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Named<LedgerEntry>>, StateError> {
        self.named(&format::source_range(format::ENTRY, source), after, limit, format::decode_entry)
    }

    /// A page of the ledger entries whose keys begin with `literal`.
    pub fn entries_under(
        &self,
        source: SourceKey,
        literal: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Named<LedgerEntry>>, StateError> {
        self.under((format::ENTRY, source, literal), after, limit, format::decode_entry)
    }

    /// A page of the failed keys that begin with `literal`.
    pub fn failed_under(
        &self,
        source: SourceKey,
        literal: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Named<FailedObject>>, StateError> {
        self.under((format::FAILED, source, literal), after, limit, format::decode_json)
    }

    /// A failed key.
    pub fn failed(&self, source: SourceKey, key: &str) -> Result<Option<FailedObject>, StateError> {
        self.read(&format::named_key(format::FAILED, source, key), format::decode_json)
    }

    /// A page of the failed keys.
    pub fn all_failed(
        &self,
        source: SourceKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Named<FailedObject>>, StateError> {
        self.named(&format::source_range(format::FAILED, source), after, limit, format::decode_json)
    }

    /// How far a key got.
    pub fn progress(&self, source: SourceKey, key: &str) -> Result<Option<Progress>, StateError> {
        self.read(&format::named_key(format::PROGRESS, source, key), format::decode_json)
    }

    /// All keys of a source that were in flight.
    pub fn all_progress(&self, source: SourceKey) -> Result<Vec<Named<Progress>>, StateError> {
        self.named(&format::source_range(format::PROGRESS, source), None, usize::MAX, format::decode_json)
    }

    /// A page of the quarantine, of all sources.
    pub fn quarantine(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Quarantined)>, StateError> {
        let (mut from, to) = format::tag_range(format::QUARANTINE);
        if let Some(after) = after {
            from = format::successor(after);
        }
        self.scan(&from, &to, limit)?
            .into_iter()
            .map(|(key, value)| Ok((key, format::decode_json(&value)?)))
            .collect()
    }

    /// Where the sink stands.
    pub fn sink(&self) -> Result<Option<Position>, StateError> {
        self.read(&format::meta_key("sink"), format::decode_json)
    }

    /// Committed length of the dead-letter file.
    pub fn dead_letter(&self) -> Result<Option<u64>, StateError> {
        self.read(&format::meta_key("dead_letter"), format::decode_json)
    }

    /// Committed lengths of the history files.
    pub fn history(&self) -> Result<Vec<Named<u64>>, StateError> {
        self.named(&format::tag_range(format::HISTORY), None, usize::MAX, format::decode_json)
    }

    /// Up to `limit` stored keys of one generation of a source, whatever they are.
    pub fn stale_keys(&self, source: SourceKey, limit: usize) -> Result<Vec<Vec<u8>>, StateError> {
        let mut keys = Vec::new();
        for tag in format::GENERATION_TAGS {
            let (from, to) = format::source_range(tag, source);
            keys.extend(self.scan(&from, &to, limit - keys.len())?.into_iter().map(|(key, _)| key));
            if keys.len() >= limit {
                break;
            }
        }
        Ok(keys)
    }

    /// A page of what has a kind and a source and a name that begins with a text.
    fn under<T>(
        &self,
        (tag, source, literal): (u8, SourceKey, &str),
        after: Option<&str>,
        limit: usize,
        decode: fn(&[u8]) -> Result<T, StateError>,
    ) -> Result<Vec<Named<T>>, StateError> {
        let start = format::source_range(tag, source).0.len();
        let first = format::named_key(tag, source, literal);
        let to = format::after_all(&first);
        let from = match after {
            Some(key) => format::successor(&format::named_key(tag, source, key)).max(first),
            None => first,
        };
        self.scan(&from, &to, limit)?
            .into_iter()
            .map(|(key, value)| Ok((format::name_after(&key, start)?, decode(&value)?)))
            .collect()
    }

    fn read<T>(
        &self,
        key: &[u8],
        decode: fn(&[u8]) -> Result<T, StateError>,
    ) -> Result<Option<T>, StateError> {
        self.get(key)?.map(|value| decode(&value)).transpose()
    }

    fn named<T>(
        &self,
        range: &(Vec<u8>, Vec<u8>),
        after: Option<&str>,
        limit: usize,
        decode: fn(&[u8]) -> Result<T, StateError>,
    ) -> Result<Vec<Named<T>>, StateError> {
        let from = match after {
            Some(name) => format::successor(&[range.0.as_slice(), name.as_bytes()].concat()),
            None => range.0.clone(),
        };
        self.scan(&from, &range.1, limit)?
            .into_iter()
            .map(|(key, value)| Ok((format::name_after(&key, range.0.len())?, decode(&value)?)))
            .collect()
    }

    fn timed<T>(
        &self,
        from: &[u8],
        to: &[u8],
        decode: fn(&[u8]) -> Result<T, StateError>,
    ) -> Result<Vec<(PrefixTime, T)>, StateError> {
        self.scan(from, to, usize::MAX)?
            .into_iter()
            .map(|(key, value)| Ok((format::head_and_time(&key)?.1, decode(&value)?)))
            .collect()
    }
}
