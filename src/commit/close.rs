//! Closing prefixes: history first, then ONE batch, then their ledger is deleted in parts. A crash
//! between any two leaves something that the next start finishes or repeats.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{CLEANUP_BATCH, Closing, CommitError, Durable};
use crate::failpoint;
use crate::pattern::{Leaf, PrefixTime};
use crate::state::history::{self, HistoryEntry, HistoryHeader};
use crate::state::{Batch, Change, LedgerEntry, Outcome, SourceKey, State, StateError};

pub(super) fn apply_in_parts(state: &dyn State, changes: Vec<Change>) -> Result<(), CommitError> {
    let mut changes = changes.into_iter().peekable();
    while changes.peek().is_some() {
        state.apply(&Batch(changes.by_ref().take(CLEANUP_BATCH).collect()))?;
    }
    Ok(())
}

/// Appends the ledgers to the history, closes the prefixes in one batch, deletes the ledgers.
pub(super) fn close(durable: &mut Durable, closing: Closing) -> Result<(), CommitError> {
    let Closing { source, source_name, prefixes, mut changes, at, recheck, found_by } = closing;
    let state = durable.state.clone();
    let mut lengths = BTreeMap::new();
    for (leaf, time) in &prefixes {
        let header = HistoryHeader {
            v: history::VERSION,
            source: source_name.clone(),
            generation: u64::from(source.generation),
            leaf: leaf.head().to_owned(),
            prefix: leaf.prefix(*time).name,
            closed_at: at,
            objects: None,
            recheck: found_by,
        };
        let entries = LedgerOf::new(&*state, source, leaf, *time);
        let appended = durable.history.append(&header, entries.map(|entry| entry.map(into_history)))?;
        changes.push(Change::PutCleanup(source, leaf.head().to_owned(), *time));
        if let Some((due, known)) = &recheck {
            let mut planned = known.clone();
            planned.frames.push((appended.file.clone(), appended.offset));
            changes.push(Change::PutRecheck(source, *due, leaf.head().to_owned(), *time, Box::new(planned)));
        }
        lengths.insert(appended.file, appended.length);
    }
    durable.history.sync()?;
    changes.extend(lengths.into_iter().map(|(file, length)| Change::PutHistory(file, length)));
    failpoint::hit("between-history-and-closing");
    state.apply(&Batch(changes))?;
    clean_up(&*state, source, &prefixes)?;
    prune(durable, at)
}

/// Deletes history files that are too old. Their lengths leave the state first: the other way
/// round, a crash in between would leave lengths of files that are gone.
fn prune(durable: &mut Durable, now: DateTime<Utc>) -> Result<(), CommitError> {
    let Some(oldest) =
        TimeDelta::from_std(durable.keep_history).ok().and_then(|keep| now.checked_sub_signed(keep))
    else {
        return Ok(());
    };
    let expired = durable.history.expired(oldest.date_naive())?;
    if !expired.is_empty() {
        apply_in_parts(&*durable.state, expired.into_iter().map(Change::DeleteHistory).collect())?;
        durable.history.prune(oldest.date_naive())?;
    }
    Ok(())
}

fn into_history((key, entry): (String, LedgerEntry)) -> HistoryEntry {
    HistoryEntry {
        key,
        etag: entry.etag,
        outcome: entry.outcome.word().to_owned(),
        records: entry.records,
        at: entry.settled_at,
        reason: entry.reason,
    }
}

/// Deletes the ledgers of closed prefixes, in few batches; may be repeated.
pub(super) fn clean_up(
    state: &dyn State,
    source: SourceKey,
    prefixes: &[(Leaf, PrefixTime)],
) -> Result<(), StateError> {
    let mut batch = Vec::with_capacity(CLEANUP_BATCH);
    let apply_when_full = |batch: &mut Vec<Change>| -> Result<(), StateError> {
        if batch.len() < CLEANUP_BATCH {
            return Ok(());
        }
        state.apply(&Batch(std::mem::take(batch)))?;
        failpoint::hit("mid-ledger-cleanup");
        Ok(())
    };
    for (leaf, time) in prefixes {
        for entry in LedgerOf::new(state, source, leaf, *time) {
            let (key, entry) = entry?;
            if entry.outcome == Outcome::Gone {
                batch.push(Change::DeleteProgress(source, key.clone()));
            }
            batch.push(Change::DeleteEntry(source, key));
            apply_when_full(&mut batch)?;
        }
        batch.push(Change::DeleteCleanup(source, leaf.head().to_owned(), *time));
        apply_when_full(&mut batch)?;
    }
    failpoint::hit("mid-ledger-cleanup");
    if batch.is_empty() { Ok(()) } else { state.apply(&Batch(batch)) }
}

/// The ledger entries of one prefix, in byte order, read in pages.
struct LedgerOf<'s> {
    state: &'s dyn State,
    source: SourceKey,
    leaf: &'s Leaf,
    time: PrefixTime,
    literal: String,
    after: Option<String>,
    page: std::vec::IntoIter<(String, LedgerEntry)>,
    ended: bool,
}

impl<'s> LedgerOf<'s> {
    const PAGE: usize = 500;

    fn new(state: &'s dyn State, source: SourceKey, leaf: &'s Leaf, time: PrefixTime) -> Self {
        let literal = leaf.prefix(time).literal;
        LedgerOf {
            state,
            source,
            leaf,
            time,
            literal,
            after: None,
            page: Vec::new().into_iter(),
            ended: false,
        }
    }

    fn turn(&mut self) -> Result<(), StateError> {
        let page = self.state.entries_under(self.source, &self.literal, self.after.as_deref(), Self::PAGE)?;
        self.ended = page.len() < Self::PAGE;
        self.after = page.last().map(|(key, _)| key.clone());
        self.page = page.into_iter();
        Ok(())
    }
}

impl Iterator for LedgerOf<'_> {
    type Item = Result<(String, LedgerEntry), StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.page.next() {
                // The literal may be shared with other prefixes (month=1, month=10).
                Some((key, entry)) if self.leaf.prefix_of_key(&key) == Some(self.time) => {
                    return Some(Ok((key, entry)));
                }
                Some(_) => {}
                None if self.ended => return None,
                None => {
                    if let Err(error) = self.turn() {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}
