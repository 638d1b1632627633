//! What survives a restart: typed changes in, typed readers out.
//!
//! A [`Batch`] is applied whole or not at all, and is durable when [`State::apply`] returns. Keys
//! carry the source's generation, so that a changed pattern starts anew in one batch. Two
//! implementations run: [`disk`] (sled) and [`memory`] (dry runs and tests).

mod database;
pub mod disk;
pub mod format;
pub mod history;
pub mod ledger;
pub mod lock;
pub mod memory;
pub mod overlay;
pub mod packed;
pub mod rebuild;
pub mod sidecar;
mod swap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Class;
use crate::pattern::PrefixTime;
use crate::sink::Position;

/// Changes that belong together; more stored pairs than this in one batch make sled's memory run
/// away.
pub const MAX_BATCH: usize = 200;

/// A source's place in the state: its number and the generation of its pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey {
    /// Number given to the source's name when it was first seen.
    pub id: u32,
    /// Raised when bucket or pattern change.
    pub generation: u32,
}

/// What is kept of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Number of the source.
    pub id: u32,
    /// Current generation.
    pub generation: u32,
    /// Bucket of this generation.
    pub bucket: String,
    /// Normal form of the pattern of this generation.
    pub pattern: String,
    /// Settings whose change resets the floors: time zone, file pattern, lateness.
    pub floor_settings: String,
    /// Markers of another epoch have no floor.
    pub floor_epoch: u32,
    /// Where every leaf begins.
    pub start: DateTime<Utc>,
    /// When the last complete discovery ended.
    pub discovered_at: Option<DateTime<Utc>>,
    /// Generations whose state is still to be deleted.
    pub stale: Vec<u32>,
    /// How the last sweep ended.
    pub last_sweep: Option<LastSweep>,
    /// Sweeps, and live rounds within them, that began.
    pub sweeps: u64,
    /// The last of them in which a GET was answered.
    #[serde(default)]
    pub readable_in: Option<u64>,
}

impl SourceRecord {
    /// The key of the current generation.
    pub fn key(&self) -> SourceKey {
        SourceKey { id: self.id, generation: self.generation }
    }
}

/// How a source's last sweep ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSweep {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// Records it delivered.
    pub records: u64,
    /// Objects it collected.
    pub collected: u64,
    /// Why the source or a leaf was unreachable.
    pub unreachable: Option<String>,
}

/// What is kept of a leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafRecord {
    /// Every prefix before this one is closed.
    pub closed_through: PrefixTime,
    /// Prefixes before this one are open only where a marker says so: the others did not exist
    /// when the dates were discovered. `None` where prefixes are listed as ranges.
    pub sparse_until: Option<PrefixTime>,
    /// Absent from a complete discovery with nothing open: not swept until it is seen again.
    pub dropped: bool,
}

impl LeafRecord {
    /// Whether keys of a prefix are to be collected; `marker` is the prefix's own.
    pub fn is_open(&self, time: PrefixTime, marker: Option<&Marker>) -> bool {
        if time < self.closed_through {
            return false;
        }
        match marker {
            Some(marker) => !marker.closed,
            None => self.sparse_until.is_none_or(|until| time >= until),
        }
    }
}

/// The persisted state of one prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The key at or below which everything is settled.
    pub floor: Option<String>,
    /// Epoch of the floor ([`SourceRecord::floor_epoch`]).
    pub floor_epoch: u32,
    /// Settled objects at or below the floor.
    pub below_floor: u64,
    /// The largest key seen.
    pub newest: Option<String>,
    /// Time of the newest settled object.
    pub newest_at: Option<DateTime<Utc>>,
    /// Closed while an earlier prefix is still open.
    pub closed: bool,
    /// Listed in full after its time; only failed keys are outstanding.
    pub drained: bool,
    /// An open-ended prefix, or a drained one: when it was last listed in full.
    #[serde(default)]
    pub listed_in_full: Option<DateTime<Utc>>,
    /// An open-ended prefix: what its ledger no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<Forgotten>,
}

/// Settled objects of an open-ended prefix that are no longer in the ledger, being older than the
/// history. It outlives a floor that is reset: without it they would come again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The largest key that may be among them.
    pub through: String,
    /// They were written before this.
    pub before: DateTime<Utc>,
}

impl Forgotten {
    /// Whether an object that the ledger does not hold may be one of them.
    pub fn holds(&self, key: &str, last_modified: DateTime<Utc>) -> bool {
        key <= self.through.as_str() && last_modified < self.before
    }
}

/// How an object was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All its records are in the sink.
    Collected,
    /// It has no bytes or no records.
    Empty,
    /// It failed for good.
    Quarantined,
    /// Another object took its key.
    Replaced,
    /// It is no longer there.
    Gone,
    /// It had failed for good, and an operator gave up what was missing of it.
    Dropped,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 6] = [
        Outcome::Collected,
        Outcome::Empty,
        Outcome::Quarantined,
        Outcome::Replaced,
        Outcome::Gone,
        Outcome::Dropped,
    ];

    /// The word of history files and reports.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Collected => "collected",
            Outcome::Empty => "empty",
            Outcome::Quarantined => "quarantined",
            Outcome::Replaced => "replaced",
            Outcome::Gone => "gone",
            Outcome::Dropped => "dropped",
        }
    }
}

/// One settled object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// ETag of the identity that was settled.
    pub etag: String,
    /// How it was settled.
    pub outcome: Outcome,
    /// Records it delivered.
    pub records: u64,
    /// When it was written, by the bucket's clock; whole seconds.
    pub last_modified: DateTime<Utc>,
    /// When it was settled, by ours; whole seconds.
    pub settled_at: DateTime<Utc>,
    /// Why an operator dropped it.
    pub reason: Option<String>,
}

impl Outcome {
    /// The outcome that [`Outcome::word`] names.
    pub fn from_word(word: &str) -> Option<Self> {
        Outcome::ALL.into_iter().find(|outcome| outcome.word() == word)
    }
}

impl LedgerEntry {
    /// Whether the entry settles the object with this ETag. What was gone and is there again was
    /// never delivered.
    pub fn settles(&self, etag: &str) -> bool {
        self.etag == etag && self.outcome != Outcome::Gone
    }

    /// Whether anything of the object reached sink or quarantine: nothing of an empty or deleted
    /// one did, so that another object under its key is a new one.
    pub fn delivered_nothing(&self) -> bool {
        match self.outcome {
            Outcome::Empty | Outcome::Gone => self.records == 0,
            Outcome::Collected | Outcome::Quarantined | Outcome::Replaced | Outcome::Dropped => false,
        }
    }
}

/// An object that failed and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedObject {
    /// ETag that was listed.
    pub etag: String,
    /// Stored size in bytes.
    pub size: u64,
    /// When it was written.
    pub last_modified: DateTime<Utc>,
    /// Whether it lay in an archive class.
    pub archived: bool,
    /// Head of its leaf.
    pub leaf: String,
    /// Its prefix.
    pub time: PrefixTime,
    /// The class, by its word.
    pub class: String,
    /// Why.
    pub reason: String,
    /// Sweeps that tried it.
    pub attempts: u32,
    /// The sweep or live round in which it failed first ([`SourceRecord::sweeps`]); 0 where an
    /// earlier version did not tell.
    #[serde(default)]
    pub since: u64,
    /// The sweep or live round that tried it last.
    pub sweep: u64,
    /// Not tried again before.
    pub retry_at: DateTime<Utc>,
}

impl FailedObject {
    /// The class; an unknown word (a later version's) counts as transient: it is tried again.
    pub fn class(&self) -> Class {
        Class::from_word(&self.class).unwrap_or(Class::Transient)
    }
}

/// How far an object in flight got: what is durable in the sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// ETag of the object.
    pub etag: String,
    /// Records passed in the object, dropped and dead-lettered ones included.
    pub ordinal: u64,
    /// Records of them that were delivered.
    pub delivered: u64,
    /// Records of them that went to the dead-letter file.
    pub dead_letters: u64,
    /// Byte offset after them in the inflated stream.
    pub offset: u64,
    /// Log type, by its word.
    pub log_type: String,
    /// Version of its decoder.
    pub decoder: u16,
    /// Whether the object might still have been written when this was read: another ETag is then
    /// its longer form, and no other object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
}

/// A closed prefix that is to be listed once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recheck {
    /// When the prefix closed.
    pub closed_at: DateTime<Utc>,
    /// Rechecks that were done.
    pub done: u32,
    /// Its frames in the history: file and first byte.
    pub frames: Vec<(String, u64)>,
    /// Asked for by an operator, beside those of `recheck`: it is not counted in `done`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extra: bool,
    /// When it was listed, with finds that failed: it is done once they are settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_since: Option<DateTime<Utc>>,
}

/// A recheck and where it stands: when it is due, the head of its leaf, its prefix.
pub type DueRecheck = (DateTime<Utc>, String, PrefixTime, Recheck);

/// An object that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Name of the source.
    pub source: String,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The ETag that failed.
    pub etag: String,
    /// The class, by its word.
    pub class: String,
    /// Why.
    pub reason: String,
    /// Inflated bytes that were read in order.
    pub offset: u64,
    /// Records already delivered.
    pub records: u64,
    /// GETs that tried it.
    pub attempts: u32,
    /// Stored size in bytes; 0 where an earlier version did not tell.
    #[serde(default)]
    pub size: u64,
    /// When it was given up.
    pub at: DateTime<Utc>,
    /// Where it stood, for whoever goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// One change of the state.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Stores a source under its name.
    PutSource(String, Box<SourceRecord>),
    /// Stores a leaf under its head.
    PutLeaf(SourceKey, String, LeafRecord),
    /// Forgets a leaf: it is found anew, from the source's start.
    DeleteLeaf(SourceKey, String),
    /// Stores a prefix of a leaf.
    PutMarker(SourceKey, String, PrefixTime, Box<Marker>),
    /// Forgets a prefix.
    DeleteMarker(SourceKey, String, PrefixTime),
    /// Settles a key.
    PutEntry(SourceKey, String, LedgerEntry),
    /// Forgets a settled key.
    DeleteEntry(SourceKey, String),
    /// Keeps a failed key by name.
    PutFailed(SourceKey, String, Box<FailedObject>),
    /// Forgets a failed key.
    DeleteFailed(SourceKey, String),
    /// Stores how far an object in flight got.
    PutProgress(SourceKey, String, Box<Progress>),
    /// Forgets it.
    DeleteProgress(SourceKey, String),
    /// Plans a recheck: when, the head of the leaf, the prefix.
    PutRecheck(SourceKey, DateTime<Utc>, String, PrefixTime, Box<Recheck>),
    /// Forgets it.
    DeleteRecheck(SourceKey, DateTime<Utc>, String, PrefixTime),
    /// Quarantines a key of a source (by number: it outlives generations).
    PutQuarantined(u32, Box<Quarantined>),
    /// Takes a key of a source out of the quarantine.
    DeleteQuarantined(u32, String),
    /// Where the sink stands.
    PutSink(Position),
    /// Length of the dead-letter file.
    PutDeadLetter(u64),
    /// Committed length of a history file.
    PutHistory(String, u64),
    /// Forgets a history file.
    DeleteHistory(String),
    /// The ledger of this closed prefix is still to be deleted.
    PutCleanup(SourceKey, String, PrefixTime),
    /// It is deleted.
    DeleteCleanup(SourceKey, String, PrefixTime),
    /// A source, by name, is not swept from this time on.
    PutPaused(String, DateTime<Utc>),
    /// It is swept again.
    DeletePaused(String),
    /// Deletes a stored key of an old generation, whatever it was.
    DeleteStale(Vec<u8>),
}

/// Changes that are applied together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch(pub Vec<Change>);

/// A name and what is stored under it.
pub type Named<T> = (String, T);

/// A stored key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The stored state. Readers see every applied batch; pages are in byte order of the name and
/// begin after `after` (exclusive; `None` from the beginning).
pub trait State: Send + Sync {
    /// Applies a batch, all or nothing; it is durable on return. Blocks. Only the committer
    /// calls it.
    fn apply(&self, batch: &Batch) -> Result<(), StateError>;

    /// One stored value.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// Up to `limit` stored pairs with `from <= key < to`, in byte order.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError>;
}

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
                Ok((due, head, time, format::decode_json(&value)?))
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

/// The state cannot be used. Every variant is exit code 4.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another instance owns the directory.
    #[error(
        "the state directory {dir} is in use by another instance; stop it, or give this one a state_dir of its own"
    )]
    Locked {
        /// The directory.
        dir: String,
    },
    /// What is stored cannot be read.
    #[error("the state is damaged: {what}")]
    Damaged {
        /// What was found, and what to do.
        what: String,
    },
    /// The state belongs to another instance.
    #[error(
        "the state in {dir} belongs to instance {found:?}, this is {expected:?}; if it was moved on purpose, run once with --adopt-state"
    )]
    Foreign {
        /// The directory.
        dir: String,
        /// Whose it is.
        found: String,
        /// Who we are.
        expected: String,
    },
    /// It is whole: a rebuild would only lose what it holds.
    #[error("the state in {dir} is whole, there is nothing to rebuild; start without --rebuild-state")]
    NothingToRebuild {
        /// The directory.
        dir: String,
    },
    /// A later version wrote it.
    #[error("the state was written by a later version of s3sweep ({what}); run that version or a newer one")]
    Newer {
        /// Which value.
        what: String,
    },
    /// The directory cannot be read or written.
    #[error("the state directory cannot be used: {what}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}
