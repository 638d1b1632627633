//! Rechecks: closed prefixes are listed once more, in full, at the ages of `recheck`.
//!
//! The listing is held against the prefix's history and whatever the ledger holds of it since.
//! What neither knows is collected and counted as late; it goes to the history in a frame of its
//! own, together with the plan of the next recheck.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt as _};
use tracing::warn;

use super::audit::Incomplete;
use super::list::Kind;
use super::pass::Pass;
use super::plan::{Covered, LeafView, Listing};
use super::{Mode, SweepError, Sweeper};
use crate::commit::Closing;
use crate::pattern::{Leaf, PrefixTime};
use crate::state::history::{self, Frame, HistoryEntry, HistoryError};
use crate::state::{Change, DueRecheck, LeafRecord, LedgerEntry, Outcome, Recheck, SourceKey, State};

/// Rechecks read at once.
const PAGE: usize = 200;
/// A recheck whose finds failed lists its prefix again after this long, or once they are settled.
const WAITS: TimeDelta = TimeDelta::days(1);

/// A closed prefix that was listed once more.
struct Rechecked<'a> {
    leaf: &'a Leaf,
    time: PrefixTime,
    recheck: Recheck,
    /// Whether the listing saw anything that is in ledger or history.
    found: bool,
    /// When the listing began, by the earlier clock.
    now: DateTime<Utc>,
}

/// What the history says of one prefix: its frames, each in byte order, read side by side.
pub(super) struct History {
    frames: Vec<(Frame, Option<HistoryEntry>)>,
}

impl History {
    /// Begins to read the frames; `None` when one of their files is gone.
    pub fn open(state_dir: &Path, frames: &[(String, u64)]) -> Result<Option<Self>, HistoryError> {
        let mut opened = Vec::new();
        for (file, offset) in frames {
            match history::read(state_dir, file, *offset) {
                Ok(mut frame) => {
                    let first = frame.next().transpose()?;
                    opened.push((frame, first));
                }
                Err(HistoryError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(History { frames: opened }))
    }

    /// What is known of a key; keys must be asked for in byte order.
    pub fn find(&mut self, key: &str) -> Result<Option<LedgerEntry>, HistoryError> {
        let mut found = None;
        for (frame, next) in &mut self.frames {
            while next.as_ref().is_some_and(|entry| entry.key.as_str() < key) {
                *next = frame.next().transpose()?;
            }
            if let Some(entry) = next.as_ref().filter(|entry| entry.key == key) {
                found = Some(into_ledger(entry)); // the later frame counts
            }
        }
        Ok(found)
    }
}

/// What the history says of an object, as the ledger says it.
pub(super) fn into_ledger(entry: &HistoryEntry) -> LedgerEntry {
    LedgerEntry {
        etag: entry.etag.clone(),
        // A word of a later version stands for something that was settled all the same.
        outcome: Outcome::from_word(&entry.outcome).unwrap_or(Outcome::Collected),
        records: entry.records,
        last_modified: entry.at,
        settled_at: entry.at,
        reason: entry.reason.clone(),
    }
}

impl Sweeper {
    /// Does the rechecks that are due, as many at once as leaves are listed. What cannot be done
    /// stays where it is: the next sweep tries again.
    pub(super) async fn recheck(self: &Arc<Self>) -> Result<(), SweepError> {
        let (now, mut after) = (self.clock.now(), None);
        loop {
            let due = self.state.due_rechecks(self.key, after.as_ref(), now, PAGE)?;
            let Some(last) = due.last().cloned() else { return Ok(()) };
            after = Some(last);
            self.recheck_all(due).await?;
        }
    }

    async fn recheck_all(self: &Arc<Self>, due: Vec<DueRecheck>) -> Result<(), SweepError> {
        stream::iter(due)
            .map(|due| self.recheck_prefix(due))
            .buffer_unordered(self.limits.list_concurrency)
            .fold(Ok(()), |so_far, one| async { so_far.and(one) })
            .await
    }

    /// Rechecks these closed prefixes now, beside those of `recheck`. The plans are stored first: what
    /// is cut off or fails is done by the next sweep.
    pub(super) async fn recheck_now(self: &Arc<Self>, prefixes: Vec<Incomplete>) -> Result<(), SweepError> {
        let planned = self.plan_extra(prefixes)?;
        let (due, changes): (Vec<_>, Vec<_>) = planned.into_iter().unzip();
        self.store(changes.into_iter().flatten().collect()).await?;
        self.recheck_all(due).await
    }

    fn plan_extra(&self, prefixes: Vec<Incomplete>) -> Result<Vec<(DueRecheck, Vec<Change>)>, SweepError> {
        let planned = Planned::read(&*self.state, self.key)?;
        let (now, done) = (self.clock.now(), self.config.recheck.len());
        Ok(prefixes.into_iter().map(|prefix| planned.extra(prefix, now, done)).collect())
    }

    async fn recheck_prefix(self: &Arc<Self>, due: DueRecheck) -> Result<(), SweepError> {
        let (at, head, time, recheck) = due;
        let forget = Change::DeleteRecheck(self.key, at, head.clone(), time);
        let stored = self.state.leaf(self.key, &head)?;
        let (Some(leaf), Some(stored)) = (self.config.pattern.leaf(&head), stored) else {
            return self.store(vec![forget]).await;
        };
        if stored.is_open(time, self.state.marker(self.key, &head, time)?.as_ref()) {
            return self.store(vec![forget]).await; // it will close once more, and be planned anew
        }
        if recheck.waits_since.is_some_and(|since| self.clock.now() < since + WAITS)
            && self.failed.holds(&head, time)
        {
            return Ok(()); // what failed is tried by name
        }
        let Some(history) = History::open(&self.state_dir, &recheck.frames)? else {
            warn!(
                source = self.config.name,
                leaf = head,
                prefix = leaf.prefix(time).name,
                "its history is gone: not rechecked"
            );
            return self.store(vec![forget]).await;
        };
        let (view, listing) = once_more(leaf, time);
        let pass = Pass::new(true);
        let listed = match self.list_or_note(&view, listing, &pass, Kind::Recheck(history)).await {
            Ok(Some(listed)) => listed,
            Ok(None) => return self.wait(&pass).await.map(|_| ()),
            Err(error) => return self.end_early(&pass, error).await,
        };
        let unsettled = self.wait(&pass).await?;
        if !unsettled.is_empty() || (at > listed.now && !recheck.extra) {
            return Ok(()); // the next sweep lists it again, or one when it is due by the bucket's clock
        }
        self.settle_gone(&listed.gone).await?;
        if self.failed.holds(&head, time) {
            let recheck = Recheck { waits_since: Some(listed.now), ..recheck };
            return self.store(vec![Change::PutRecheck(self.key, at, head, time, Box::new(recheck))]).await;
        }
        self.store(listed.changes).await?;
        let found = listed.seen.get(&time).is_some_and(|seen| seen.has_entries);
        self.end_recheck(Rechecked { leaf: &view.leaf, time, recheck, found, now: listed.now }, forget).await
    }

    /// Plans the next recheck; late finds go from the ledger to the history in the same batch.
    async fn end_recheck(&self, rechecked: Rechecked<'_>, forget: Change) -> Result<(), SweepError> {
        let Mode::Collect(committer) = &self.mode else { return Ok(()) };
        let Rechecked { leaf, time, mut recheck, found, now } = rechecked;
        recheck.waits_since = None;
        match recheck.extra {
            true => recheck.extra = false,
            // This listing was as good as all whose age is reached.
            false => loop {
                recheck.done += 1;
                if self.next_recheck(&recheck).is_none_or(|due| due > now) {
                    break;
                }
            },
        }
        let found_by = Some(recheck.done);
        let next = self.next_recheck(&recheck).map(|due| (due, recheck));
        let has_entries = found && !self.ledger_is_empty(leaf, time)?;
        if !has_entries {
            let put = next.map(|(due, recheck)| {
                Change::PutRecheck(self.key, due, leaf.head().to_owned(), time, Box::new(recheck))
            });
            return self.store(std::iter::once(forget).chain(put).collect()).await;
        }
        let closing = Closing {
            source: self.key,
            source_name: self.config.name.clone(),
            prefixes: vec![(leaf.clone(), time)],
            changes: vec![forget],
            recheck: next,
            found_by,
            at: now,
        };
        Ok(committer.close(closing).await?)
    }

    /// Whether the ledger holds nothing of a closed prefix.
    fn ledger_is_empty(&self, leaf: &Leaf, time: PrefixTime) -> Result<bool, SweepError> {
        let literal = leaf.prefix(time).literal;
        let mut after = None;
        loop {
            let page = self.state.entries_under(self.key, &literal, after.as_deref(), PAGE)?;
            if page.iter().any(|(key, _)| leaf.prefix_of_key(key) == Some(time)) {
                return Ok(false);
            }
            if page.len() < PAGE {
                return Ok(true);
            }
            after = page.last().map(|(key, _)| key.clone());
        }
    }

    /// The plan of a prefix that closes at this time; `None` when nothing is rechecked.
    pub(super) fn first_recheck(&self, at: DateTime<Utc>) -> Option<(DateTime<Utc>, Recheck)> {
        let recheck = Recheck { closed_at: at, done: 0, frames: Vec::new(), extra: false, waits_since: None };
        Some((self.next_recheck(&recheck)?, recheck))
    }

    fn next_recheck(&self, recheck: &Recheck) -> Option<DateTime<Utc>> {
        let age: &Duration = self.config.recheck.get(usize::try_from(recheck.done).ok()?)?;
        recheck.closed_at.checked_add_signed(TimeDelta::from_std(*age).ok()?)
    }
}

/// The rechecks that lie ahead, by leaf and prefix.
pub(super) struct Planned {
    source: SourceKey,
    plans: BTreeMap<(String, PrefixTime), (DateTime<Utc>, Recheck)>,
}

impl Planned {
    /// Reads all of them.
    pub fn read(state: &dyn State, source: SourceKey) -> Result<Self, SweepError> {
        let all = state.rechecks(source, DateTime::<Utc>::MAX_UTC, usize::MAX)?;
        let plans = all.into_iter().map(|(due, head, time, recheck)| ((head, time), (due, recheck)));
        Ok(Planned { source, plans: plans.collect() })
    }

    /// Plans one more recheck of a closed prefix, at `now`; the planned one takes its place again
    /// afterwards. `all_done` is the number of rechecks after which none is planned.
    pub fn extra(
        &self,
        prefix: Incomplete,
        now: DateTime<Utc>,
        all_done: usize,
    ) -> (DueRecheck, Vec<Change>) {
        let Incomplete { head, time, frames } = prefix;
        let mut changes = Vec::new();
        let recheck = match self.plans.get(&(head.clone(), time)) {
            Some((due, planned)) => {
                changes.push(Change::DeleteRecheck(self.source, *due, head.clone(), time));
                Recheck { extra: true, frames: frames.places, waits_since: None, ..planned.clone() }
            }
            None => Recheck {
                closed_at: frames.closed_at.unwrap_or(now),
                done: u32::try_from(all_done).unwrap_or(u32::MAX),
                frames: frames.places,
                extra: true,
                waits_since: None,
            },
        };
        // in whole seconds, as it is stored: else nobody would find it again
        let now = now.trunc_subsecs(0);
        changes.push(Change::PutRecheck(self.source, now, head.clone(), time, Box::new(recheck.clone())));
        ((now, head, time, recheck), changes)
    }
}

/// A view in which one closed prefix is open again, and the listing of it in full.
fn once_more(leaf: Leaf, time: PrefixTime) -> (LeafView, Listing) {
    let listing = Listing {
        prefix: leaf.prefix(time).literal,
        start_after: None,
        covered: Covered::Set(BTreeSet::from([time])),
        from_floor: None,
    };
    let record = LeafRecord { closed_through: time, sparse_until: None, dropped: false };
    let view =
        LeafView { leaf: Arc::new(leaf), record, markers: Default::default(), waiting: Default::default() };
    (view, listing)
}
