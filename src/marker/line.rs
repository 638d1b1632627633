//! The lines of an export: JSON objects, told apart by `kind`, in the order of the variants.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::pattern::PrefixTime;
use crate::state::history::{HistoryEntry, HistoryHeader};
use crate::state::{
    FailedObject, LeafRecord, LedgerEntry, Marker, Progress, Quarantined, Recheck, SourceRecord,
};

/// The version that this program writes; it reads no later one.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are those of the state, by their names")]
pub enum Line {
    /// The first line.
    Export { version: u32, instance: String, at: DateTime<Utc> },
    /// A source; the lines up to the next one are its own.
    Source { name: String, record: Box<SourceRecord> },
    /// A leaf.
    Leaf { head: String, record: LeafRecord },
    /// An open prefix, or one that closed before an earlier one.
    Marker { head: String, time: PrefixTime, marker: Box<Marker> },
    /// A closed prefix whose ledger is still to be deleted.
    Cleanup { head: String, time: PrefixTime },
    /// A settled object of an open prefix.
    Settled { key: String, entry: LedgerEntry },
    /// An object that failed and is tried again.
    Failed { key: String, object: Box<FailedObject> },
    /// An object in flight.
    Progress { key: String, progress: Box<Progress> },
    /// An object that failed for good.
    Quarantined { object: Box<Quarantined> },
    /// A planned recheck; its frames stand below as `closed`.
    Recheck { due: DateTime<Utc>, head: String, time: PrefixTime, recheck: Recheck },
    /// A frame of the history, and where it stood; the `object` lines below are its own.
    Closed { file: String, offset: u64, header: HistoryHeader },
    /// A settled object of a closed prefix.
    Object { entry: HistoryEntry },
    /// The last line: how many stand before it.
    End { lines: u64 },
}
