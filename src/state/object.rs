//! What is kept of an object: settled, failed, in flight or given up.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Class;
use crate::pattern::PrefixTime;

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

    /// The outcome that [`Outcome::word`] names.
    pub fn from_word(word: &str) -> Option<Self> {
        Outcome::ALL.into_iter().find(|outcome| outcome.word() == word)
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
    /// The sweep or live round in which it failed first ([`sweeps`](super::SourceRecord::sweeps)); 0 where an
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
