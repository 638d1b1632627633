//! What an audit says of objects, and its sums. The words are part of the interface.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Gap, Incomplete};
use crate::sweep::report::{Requests, Skip};

/// What becomes, or became, of a listed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All its records are in the sink.
    Delivered,
    /// It has no bytes or no records.
    Empty,
    /// It failed for good; the records before the damage are in the sink.
    Quarantined,
    /// Left out by a rule.
    Skipped(Skip),
    /// It had failed for good, and an operator dropped it.
    Dropped,
    /// Its prefix is open: the next sweep, or the closing, collects it.
    Open,
    /// As [`Standing::Open`], and it lies at or below the floor: the closing collects it.
    BelowFloor,
    /// A sweep has begun it; the next goes on with it.
    InFlight,
    /// It failed and is tried again.
    Failed,
    /// Its prefix is closed and nobody knows it: only a repair, or a recheck, collects it.
    Missing,
    /// Its prefix closed so long ago that its history need not be there any more.
    Expired,
    /// A history file that may have told it is gone or damaged.
    Unknown,
}

impl Standing {
    /// Its word: `skipped` and `open` have their reason after a dot.
    pub fn word(self) -> String {
        match self {
            Standing::Delivered => "delivered".to_owned(),
            Standing::Empty => "empty".to_owned(),
            Standing::Quarantined => "quarantined".to_owned(),
            Standing::Skipped(reason) => format!("skipped.{}", reason.word()),
            Standing::Dropped => "dropped".to_owned(),
            Standing::Open => "open.unsettled".to_owned(),
            Standing::BelowFloor => "open.below_floor".to_owned(),
            Standing::InFlight => "open.in_flight".to_owned(),
            Standing::Failed => "open.failed".to_owned(),
            Standing::Missing => "missing".to_owned(),
            Standing::Expired => "history_expired".to_owned(),
            Standing::Unknown => "unknown".to_owned(),
        }
    }

    /// Whether an operator should look at it.
    pub fn is_notable(self) -> bool {
        match self {
            Standing::Quarantined | Standing::Failed | Standing::Missing | Standing::Unknown => true,
            Standing::Delivered
            | Standing::Empty
            | Standing::Skipped(_)
            | Standing::Dropped
            | Standing::Open
            | Standing::BelowFloor
            | Standing::InFlight
            | Standing::Expired => false,
        }
    }
}

/// One audited object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditedObject {
    /// Its key.
    pub key: String,
    /// Stored bytes.
    pub size: u64,
    /// When it was written.
    pub last_modified: DateTime<Utc>,
    /// [`Standing::word`].
    pub standing: String,
    /// Records that it delivered, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Why, where somebody wrote that down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an audit tells on its way.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Before the first LIST.
    Estimate(Estimate),
    /// An object: those that need a look, or every one.
    Object(AuditedObject),
    /// A hint: a time without any file.
    Gap(Gap),
}

/// What an audit is about to cost; discovery of new leaves comes on top.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Name of the source.
    pub source: String,
    /// Leaves that are known.
    pub leaves: u64,
    /// Their prefixes in the span.
    pub prefixes: u64,
    /// Objects of these that are known.
    pub objects: u64,
    /// LIST requests.
    pub lists: u64,
    /// Their price, S3 Standard in us-east-1.
    pub cost_usd: f64,
}

/// Listed objects by what became of them; `listed` is the sum of the others but `records`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Listed objects of the span.
    pub listed: u64,
    /// Delivered whole.
    pub delivered: u64,
    /// Records of all that were delivered, quarantined ones included.
    pub records: u64,
    /// Without bytes or records.
    pub empty: u64,
    /// Failed for good.
    pub quarantined: u64,
    /// Failed for good and dropped by an operator.
    pub dropped: u64,
    /// Left out by rule, by its name.
    pub skipped: BTreeMap<String, u64>,
    /// Still to come, by why.
    pub open: BTreeMap<String, u64>,
    /// Missing.
    pub missing: u64,
    /// Too old to tell.
    pub history_expired: u64,
    /// Not to be told, because history is lost.
    pub unknown: u64,
}

impl Counts {
    /// Counts one object that delivered so many records.
    pub(super) fn count(&mut self, standing: Standing, records: u64) {
        self.listed += 1;
        self.records += records;
        let (group, word) = (standing.word(), |word: &str| word.split('.').nth(1).map(str::to_owned));
        match standing {
            Standing::Delivered => self.delivered += 1,
            Standing::Empty => self.empty += 1,
            Standing::Quarantined => self.quarantined += 1,
            Standing::Dropped => self.dropped += 1,
            Standing::Skipped(_) => *self.skipped.entry(word(&group).unwrap_or(group)).or_default() += 1,
            Standing::Open | Standing::BelowFloor | Standing::InFlight | Standing::Failed => {
                *self.open.entry(word(&group).unwrap_or(group)).or_default() += 1;
            }
            Standing::Missing => self.missing += 1,
            Standing::Expired => self.history_expired += 1,
            Standing::Unknown => self.unknown += 1,
        }
    }
}

/// What an audit of one source found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Audited {
    /// Name of the source.
    pub name: String,
    /// Leaves that were listed.
    pub leaves: u64,
    /// Objects by what became of them.
    pub counts: Counts,
    /// Times without any file that were told.
    pub gap_count: u64,
    /// History files that are gone or damaged, and how.
    pub lost_history: Vec<String>,
    /// Leaves or the whole source that refused us or were not there.
    pub unreachable: Vec<String>,
    /// Requests to the bucket: LIST alone.
    pub requests: Requests,
    /// Their price, S3 Standard in us-east-1.
    pub cost_usd: f64,
    /// Closed prefixes with missing objects: what [`super::repair`] takes.
    #[serde(skip)]
    pub incomplete: Vec<Incomplete>,
}

impl Audited {
    pub(super) fn new(name: &str) -> Self {
        Audited { name: name.to_owned(), ..Audited::default() }
    }

    /// The audit of a source whose bucket could not be opened.
    pub fn unreachable(name: &str, why: String) -> Self {
        Audited { unreachable: vec![why], ..Audited::new(name) }
    }
}
