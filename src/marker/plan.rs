//! Reset and set: what becomes of one leaf. Reads the state, changes nothing.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::commit::CommitError;
use crate::pattern::{Leaf, PrefixTime};
use crate::state::{Change, LeafRecord, Marker, SourceKey, SourceRecord, State, StateError};

/// Ledger entries or failed objects read at once.
const PAGE: usize = 500;
/// Prefixes of one leaf that a reset may open one by one.
const MAX_OPENED: usize = 100_000;

/// What is wanted of the markers of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkerChange {
    /// Forgets the prefixes that begin at `from` or later and before `to`, and all that is settled
    /// in them: they are collected again. Without both, the leaf begins anew.
    Reset {
        /// The first instant; `None` is the source's start.
        from: Option<DateTime<Utc>>,
        /// The end, exclusive; `None` has none.
        to: Option<DateTime<Utc>>,
    },
    /// Makes every prefix before this instant closed, and every later one open. Prefixes that stay
    /// open keep what is settled in them.
    Set {
        /// The beginning of the first open prefix.
        closed_through: DateTime<Utc>,
    },
}

/// What becomes of one leaf.
#[derive(Debug)]
pub struct LeafChange {
    /// The leaf.
    pub leaf: Leaf,
    /// Prefixes that close with what is settled in them; the ledger of each goes to the history.
    pub closing: Vec<PrefixTime>,
    /// What is stored after that, in this order; it may be cut into batches anywhere.
    pub changes: Vec<Change>,
    /// Whether objects may be left out for good.
    pub skips: bool,
}

/// Why markers are not changed.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// What is asked for makes no sense for this source or leaf.
    #[error("{0}")]
    Usage(String),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Plans a change of one leaf of a source; `None` when nothing would change.
pub fn plan(
    state: &dyn State,
    source: &SourceRecord,
    leaf: Leaf,
    change: MarkerChange,
    now: DateTime<Utc>,
) -> Result<Option<LeafChange>, MarkerError> {
    let head = leaf.head().to_owned();
    let Some(record) = state.leaf(source.key(), &head)? else { return Ok(None) };
    let markers = state.markers(source.key(), &head)?;
    let known = Known { state, key: source.key(), leaf, record, markers };
    if known.leaf.pattern().step().is_none() {
        return match change {
            MarkerChange::Reset { from: None, to: None } => known.forget_all(),
            _ => Err(MarkerError::Usage(format!(
                "{} has no dates: only a reset without times is possible",
                known.leaf.name()
            ))),
        };
    }
    match change {
        MarkerChange::Reset { from: None, to: None } => known.forget_all(),
        MarkerChange::Reset { from, to } => {
            let first = known.leaf.time_of(from.unwrap_or(source.start));
            // the last prefix that begins before `to`
            let end = to.unwrap_or(now).min(now);
            let last =
                known.leaf.time_of(end - TimeDelta::seconds(i64::from(to.is_some_and(|to| to <= now))));
            known.reopen(first, last)
        }
        MarkerChange::Set { closed_through } if closed_through > now => Err(MarkerError::Usage(format!(
            "{} lies ahead: what is yet to come cannot be closed",
            closed_through.to_rfc3339()
        ))),
        MarkerChange::Set { closed_through } => {
            let (to, was) = (known.leaf.time_of(closed_through), known.record.closed_through);
            match to.cmp(&was) {
                std::cmp::Ordering::Less => {
                    let last = known.leaf.previous(was);
                    known.reopen(to, last)
                }
                std::cmp::Ordering::Equal => Ok(None),
                std::cmp::Ordering::Greater => known.close(to),
            }
        }
    }
}

/// A leaf as it stands.
struct Known<'s> {
    state: &'s dyn State,
    key: SourceKey,
    leaf: Leaf,
    record: LeafRecord,
    markers: Vec<(PrefixTime, Marker)>,
}

impl Known<'_> {
    /// The leaf is found anew, as on its first sweep.
    fn forget_all(self) -> Result<Option<LeafChange>, MarkerError> {
        let head = || self.leaf.head().to_owned();
        let mut changes: Vec<_> =
            self.markers.iter().map(|(time, _)| Change::DeleteMarker(self.key, head(), *time)).collect();
        changes.push(Change::DeleteLeaf(self.key, head()));
        self.forget(|_| true, &mut changes)?;
        Ok(Some(LeafChange { leaf: self.leaf, closing: Vec::new(), changes, skips: false }))
    }

    /// Opens the prefixes from `first` to `last` again, with nothing settled in them.
    fn reopen(self, first: PrefixTime, last: PrefixTime) -> Result<Option<LeafChange>, MarkerError> {
        if first > last {
            return Ok(None);
        }
        let was = self.record.closed_through;
        let (through, mut sparse) = (was.min(first), self.record.sparse_until);
        if first < was && last < self.leaf.previous(was) {
            // what lies between stays closed: before this, only markers make prefixes open
            sparse = Some(sparse.map_or(was, |sparse| sparse.max(was)));
        }
        let head = || self.leaf.head().to_owned();
        let in_range = |time: PrefixTime| first <= time && time <= last;
        let mut changes = Vec::new();
        let mut marked = BTreeSet::new();
        if let Some(sparse) = sparse {
            let end = last.min(self.leaf.previous(sparse.min(was.max(first))));
            marked.extend(self.leaf.times(first, end).filter(|time| *time < was).take(MAX_OPENED + 1));
        }
        if marked.len() > MAX_OPENED {
            return Err(MarkerError::Usage(format!(
                "{} has more than {MAX_OPENED} prefixes in this time; reset less of it, or all without times",
                self.leaf.name()
            )));
        }
        for (time, _) in self.markers.iter().filter(|(time, _)| in_range(*time)) {
            if sparse.is_some_and(|sparse| *time < sparse) {
                marked.insert(*time);
            } else {
                changes.push(Change::DeleteMarker(self.key, head(), *time));
            }
        }
        changes
            .extend(marked.into_iter().map(|time| Change::PutMarker(self.key, head(), time, Box::default())));
        let record = LeafRecord { closed_through: through, sparse_until: sparse, ..self.record.clone() };
        changes.push(Change::PutLeaf(self.key, head(), record));
        self.forget(in_range, &mut changes)?;
        Ok(Some(LeafChange { leaf: self.leaf, closing: Vec::new(), changes, skips: false }))
    }

    /// Closes every prefix before `to`.
    fn close(self, to: PrefixTime) -> Result<Option<LeafChange>, MarkerError> {
        let (was, head) = (self.record.closed_through, self.leaf.head().to_owned());
        let is_open = |time: &PrefixTime| {
            *time >= was
                && *time < to
                && !self.markers.iter().any(|(marked, marker)| marked == time && marker.closed)
        };
        let mut closing = BTreeSet::new();
        self.each_entry(|key| closing.extend(self.leaf.prefix_of_key(key).filter(|time| is_open(time))))?;
        let passed = self.markers.iter().filter(|(time, _)| *time < to);
        let mut changes = Vec::new();
        self.forget_unsettled(|time| is_open(&time), &mut changes)?;
        let sparse_until = self.record.sparse_until.filter(|sparse| to < *sparse);
        let record = LeafRecord { closed_through: to, sparse_until, ..self.record.clone() };
        changes.push(Change::PutLeaf(self.key, head.clone(), record));
        changes.extend(passed.map(|(time, _)| Change::DeleteMarker(self.key, head.clone(), *time)));
        // closing marks each of them before the leaf's record takes them in
        changes.extend(closing.iter().map(|time| Change::DeleteMarker(self.key, head.clone(), *time)));
        Ok(Some(LeafChange { leaf: self.leaf, closing: closing.into_iter().collect(), changes, skips: true }))
    }

    /// Forgets all that is settled, failed, begun or planned in these prefixes.
    fn forget(&self, of: impl Fn(PrefixTime) -> bool, changes: &mut Vec<Change>) -> Result<(), StateError> {
        let head = self.leaf.head();
        for (cleaned, time) in self.state.cleanups(self.key)? {
            if cleaned == head && of(time) {
                changes.push(Change::DeleteCleanup(self.key, cleaned, time));
            }
        }
        for (due, planned, time, _) in self.state.rechecks(self.key, DateTime::<Utc>::MAX_UTC, usize::MAX)? {
            if planned == head && of(time) {
                changes.push(Change::DeleteRecheck(self.key, due, planned, time));
            }
        }
        self.forget_unsettled(&of, changes)?;
        self.each_entry(|key| {
            if self.leaf.prefix_of_key(key).is_some_and(&of) {
                changes.push(Change::DeleteEntry(self.key, key.to_owned()));
            }
        })
    }

    /// Forgets what failed or was begun in these prefixes.
    fn forget_unsettled(
        &self,
        of: impl Fn(PrefixTime) -> bool,
        changes: &mut Vec<Change>,
    ) -> Result<(), StateError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.state.all_failed(self.key, after.as_deref(), PAGE)?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|(key, _)| key.clone());
            let ours =
                page.into_iter().filter(|(_, failed)| failed.leaf == self.leaf.head() && of(failed.time));
            changes.extend(ours.map(|(key, _)| Change::DeleteFailed(self.key, key)));
            if is_last {
                break;
            }
        }
        let begun = self.state.all_progress(self.key)?.into_iter();
        let ours = begun.filter(|(key, _)| self.leaf.prefix_of_key(key).is_some_and(&of));
        changes.extend(ours.map(|(key, _)| Change::DeleteProgress(self.key, key)));
        Ok(())
    }

    /// Visits the keys of the leaf's ledger.
    fn each_entry(&self, mut visit: impl FnMut(&str)) -> Result<(), StateError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.state.entries_under(self.key, self.leaf.head(), after.as_deref(), PAGE)?;
            page.iter().for_each(|(key, _)| visit(key));
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.last().map(|(key, _)| key.clone());
        }
    }
}
