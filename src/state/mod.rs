//! What survives a restart: typed changes in, typed readers out.
//!
//! A [`Batch`] is applied whole or not at all, and is durable when [`State::apply`] returns. Keys
//! carry the source's generation, so that a changed pattern starts anew in one batch. Two
//! implementations run: [`disk`] (sled) and [`memory`] (dry runs and tests).

pub mod blocks;
mod database;
pub mod disk;
pub mod format;
pub mod history;
pub mod lock;
pub mod memory;
mod object;
pub mod overlay;
pub mod packed;
mod readers;
pub mod rebuild;
pub mod sidecar;
mod source;
mod swap;

use chrono::{DateTime, Utc};

use crate::pattern::PrefixTime;
use crate::sink::Position;
pub use object::{FailedObject, LedgerEntry, Outcome, Progress, Quarantined};
pub use source::{
    DueRecheck, Forgotten, LastSweep, LeafRecord, Marker, Recheck, SourceKey, SourceRecord, StoredIdentity,
};

/// Changes that belong together; more stored pairs than this in one batch make sled's memory run
/// away.
pub const MAX_BATCH: usize = 200;

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
