//! A changed time zone: prefixes keep their names and cover other times, so that some that are
//! closed are not over yet. Those open again, with what the history says of them back in the
//! ledger: they are compared in full, and nothing of them comes twice.
//!
//! Everything here is stored before the source's record tells the new zone; cut off anywhere, it
//! is done again, and opens one prefix more at most.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use tracing::warn;

use super::plan::ClosingRule;
use super::recheck::into_ledger;
use super::{PAGE, SweepContext, SweepError, open, store};
use crate::pattern::{Leaf, PrefixTime};
use crate::state::history::{self, HistoryError};
use crate::state::{Change, LeafRecord, Marker, SourceKey, SourceRecord};

/// A leaf in its new zone.
#[derive(Debug, PartialEq)]
struct Rezoned {
    record: LeafRecord,
    /// Prefixes that were closed, and are open now.
    reopened: BTreeSet<PrefixTime>,
    /// Those of them that need a marker to be open.
    marked: Vec<PrefixTime>,
}

/// Opens the closed prefixes again that are not over in the configured zone. `known` is the
/// source's record with the old one; nothing happens when they are the same.
pub(super) async fn reopen(context: &SweepContext, known: &SourceRecord) -> Result<(), SweepError> {
    let (source, key) = (&context.config.name, known.key());
    let Some(old) = open::zone_of(known).filter(|old| *old != context.config.timezone) else {
        return Ok(());
    };
    let mut leaves = Vec::new();
    for (head, record) in context.state.leaves(key, None, usize::MAX)? {
        let Some(leaf) = context.config.pattern.leaf(&head) else { continue };
        let markers = context.state.markers(key, &head)?;
        let rezoned = rezone(&leaf, old, &record, &markers, known.start);
        leaves.extend(
            rezoned
                .filter(|rezoned| rezoned.record != record || !rezoned.reopened.is_empty())
                .map(|rezoned| (leaf, rezoned)),
        );
    }
    let prefixes: usize = leaves.iter().map(|(_, rezoned)| rezoned.reopened.len()).sum();
    warn!(source, %old, new = %context.config.timezone, prefixes, "timezone changed: closed prefixes that are not over in the new one are opened again");
    restore(context, key, old, &leaves).await?;
    forget_rechecks(context, key, &leaves).await?;
    for (leaf, rezoned) in leaves {
        let head = || leaf.head().to_owned();
        let markers = rezoned.marked.into_iter();
        let mut changes: Vec<_> =
            markers.map(|time| Change::PutMarker(key, head(), time, Box::default())).collect();
        changes.extend(rezoned.reopened.into_iter().map(|time| Change::DeleteCleanup(key, head(), time)));
        changes.push(Change::PutLeaf(key, head(), rezoned.record));
        store(&context.mode, &*context.state, changes).await?;
    }
    Ok(())
}

/// How a leaf stands in its new zone: what was closed stays closed as far as it was over, in the
/// new zone as well, when the last of it ended in the old one. It is never further than before:
/// names between the two were never listed.
fn rezone(
    leaf: &Leaf,
    old: Tz,
    record: &LeafRecord,
    markers: &[(PrefixTime, Marker)],
    start: DateTime<Utc>,
) -> Option<Rezoned> {
    leaf.pattern().step()?;
    let before = leaf.pattern().clone().in_timezone(old).leaf(leaf.head())?;
    let at_once = ClosingRule { lateness: Duration::ZERO, spread: Duration::ZERO };
    let not_over = |at| at_once.first_not_due(leaf, at);
    let was = record.closed_through;
    let through = not_over(before.prefix(was).from).max(leaf.time_of(start)).min(was);
    let sparse_until = record
        .sparse_until
        .map(|sparse| not_over(before.prefix(sparse).from).min(sparse))
        .filter(|sparse| through < *sparse);

    let closed = || markers.iter().filter(|(_, marker)| marker.closed).map(|(time, _)| *time);
    let ended = closed().filter_map(|time| before.prefix(time).until).max();
    let above: Vec<_> = closed().filter(|time| leaf.prefix(*time).until > ended).collect();
    let below = leaf.times(through, leaf.previous(was)).filter(|time| *time < was);
    let mut reopened: BTreeSet<_> = below.collect();
    let needs_marker = |time: &&PrefixTime| sparse_until.is_some_and(|sparse| **time < sparse);
    let marked = reopened.iter().filter(needs_marker).chain(&above).copied().collect();
    reopened.extend(above);
    let record = LeafRecord { closed_through: through, sparse_until, ..record.clone() };
    Some(Rezoned { record, reopened, marked })
}

/// Puts back into the ledger what the history says of the prefixes that open again. What the
/// ledger holds already is newer.
async fn restore(
    context: &SweepContext,
    key: SourceKey,
    old: Tz,
    leaves: &[(Leaf, Rezoned)],
) -> Result<(), SweepError> {
    let mut wanted = BTreeSet::new();
    let mut since: Option<NaiveDate> = None;
    for (leaf, rezoned) in leaves {
        let before = leaf.pattern().clone().in_timezone(old).leaf(leaf.head());
        for time in &rezoned.reopened {
            wanted.insert((leaf.head().to_owned(), leaf.prefix(*time).name));
            let ended = before.as_ref().and_then(|before| before.prefix(*time).until);
            since = since.into_iter().chain(ended.map(|at| at.date_naive())).min();
        }
    }
    let Some(since) = since else { return Ok(()) };
    let frames = frames_of(context, key, &wanted, since)?;
    for (file, offset) in frames.iter().rev() {
        let mut changes = Vec::new();
        for entry in history::read(&context.state_dir, file, *offset)? {
            let entry = entry?;
            if context.state.entry(key, &entry.key)?.is_none() {
                changes.push(Change::PutEntry(key, entry.key.clone(), into_ledger(&entry)));
            }
            if changes.len() == PAGE {
                store(&context.mode, &*context.state, std::mem::take(&mut changes)).await?;
            }
        }
        store(&context.mode, &*context.state, changes).await?;
    }
    Ok(())
}

/// The frames of these prefixes (head of the leaf, name) in files of the day `since` and later,
/// oldest first: file and first byte.
fn frames_of(
    context: &SweepContext,
    key: SourceKey,
    wanted: &BTreeSet<(String, String)>,
    since: NaiveDate,
) -> Result<Vec<(String, u64)>, HistoryError> {
    let mut found = Vec::new();
    let files = context.state.history().map_err(|error| HistoryError::Entries {
        prefix: context.config.name.clone(),
        source: error.into(),
    })?;
    for (file, length) in files.into_iter().filter(|(file, _)| history::is_since(file, since)) {
        let mut frames = history::frames(&context.state_dir, &file, length);
        loop {
            let offset = frames.offset();
            let is_wanted = frames.visit_next(|frame| {
                let header = frame.header();
                let ours =
                    header.source == context.config.name && header.generation == u64::from(key.generation);
                Ok(ours && wanted.contains(&(header.leaf.clone(), header.prefix.clone())))
            })?;
            match is_wanted {
                Some(true) => found.push((file.clone(), offset)),
                Some(false) => {}
                None => break,
            }
        }
    }
    Ok(found)
}

/// Prefixes that open again close again, and are planned anew with all that is found until then:
/// their old plans know less.
async fn forget_rechecks(
    context: &SweepContext,
    key: SourceKey,
    leaves: &[(Leaf, Rezoned)],
) -> Result<(), SweepError> {
    let is_reopened = |head: &str, time: &PrefixTime| {
        leaves.iter().any(|(leaf, rezoned)| leaf.head() == head && rezoned.reopened.contains(time))
    };
    let planned = context.state.rechecks(key, DateTime::<Utc>::MAX_UTC, usize::MAX)?;
    let forgotten = planned
        .into_iter()
        .filter(|(_, head, time, _)| is_reopened(head, time))
        .map(|(due, head, time, _)| Change::DeleteRecheck(key, due, head, time));
    store(&context.mode, &*context.state, forgotten.collect()).await
}

#[cfg(test)]
mod tests;
