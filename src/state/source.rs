//! What is kept of a source, its leaves and its prefixes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::pattern::PrefixTime;

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
    /// Who signed its requests; `None` where nobody did.
    #[serde(default)]
    pub identity: Option<StoredIdentity>,
}

/// Who signed the requests of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredIdentity {
    /// Where the credentials came from, in words.
    pub provider: String,
    /// The access key id, which is no secret.
    pub access_key_id: String,
    /// Whose they are, where STS told.
    pub arn: Option<String>,
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
