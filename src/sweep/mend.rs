//! What an operator does with quarantined objects: have them collected once more, or drop them.
//!
//! Both are changes of the state alone. A retried object is kept by name as failed, with its
//! progress: the next sweep goes on after the records that it delivered. A dropped one is settled
//! with the reason. Where its prefix is closed, one more recheck brings the end into the history.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Days, Utc};
use serde::{Deserialize, Serialize};

use super::audit::{Incomplete, Index, Owner};
use super::recheck::Planned;
use super::{SweepError, open};
use crate::config::SourceConfig;
use crate::pattern::{Leaf, PrefixTime};
use crate::state::{Change, FailedObject, LedgerEntry, Outcome, Progress, Quarantined, SourceRecord, State};

/// Quarantined objects or leaves read at once.
const PAGE: usize = 500;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Collect what is missing of them with the next sweep.
    Retry,
    /// Give up what is missing of them.
    Drop {
        /// Why.
        reason: String,
    },
}

/// What was done with one quarantined object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mended {
    /// Name of its source.
    pub source: String,
    /// Its key.
    pub key: String,
    /// Records that it delivered before.
    pub records: u64,
    /// Why nothing was done; `None` when it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What is to be stored, and what it does.
#[derive(Debug, Default)]
pub struct Mending {
    /// The objects.
    pub objects: Vec<Mended>,
    /// Changes that belong together, each less than a batch, to be stored in this order.
    pub changes: Vec<Vec<Change>>,
}

/// A prefix of a leaf.
type Place = (Leaf, PrefixTime);

/// The quarantine of one source and what it stands in.
struct Ward<'a> {
    config: &'a SourceConfig,
    state: &'a dyn State,
    record: SourceRecord,
    now: DateTime<Utc>,
}

/// Retries or drops quarantined objects of a source: those of `keys`, or all where it is `None`.
/// Keys that are not quarantined are left out. Reads state and history, and changes neither.
pub fn mend(
    config: &SourceConfig,
    state: &dyn State,
    state_dir: &Path,
    keys: Option<&BTreeSet<String>>,
    action: &Action,
    now: DateTime<Utc>,
) -> Result<Mending, SweepError> {
    let Some(record) = state.source(&config.name)? else { return Ok(Mending::default()) };
    let ward = Ward { config, state, record, now };
    let (mut mending, mut closed) = (Mending::default(), BTreeMap::new());
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = state.quarantine(after.as_deref(), PAGE)?;
        let full = page.len() == PAGE;
        after = page.last().map(|(key, _)| key.clone());
        for (_, object) in page {
            if object.source == config.name && keys.is_none_or(|keys| keys.contains(&object.key)) {
                ward.mend(object, action, &mut mending, &mut closed)?;
            }
        }
        if !full {
            break;
        }
    }
    // first: a recheck that finds nothing yet costs a LIST, an end that never reaches the history
    // would stay in the ledger for good
    let plans = ward.plans(state_dir, closed)?;
    mending.changes.splice(0..0, plans);
    Ok(mending)
}

impl Ward<'_> {
    fn mend(
        &self,
        object: Quarantined,
        action: &Action,
        mending: &mut Mending,
        closed: &mut BTreeMap<(String, PrefixTime), Leaf>,
    ) -> Result<(), SweepError> {
        let entry = self.state.entry(self.record.key(), &object.key)?;
        let since = entry.as_ref().map(|entry| entry.outcome).filter(|was| *was != Outcome::Quarantined);
        let place = self.place(&object)?;
        let refused = match (action, &place, since) {
            (Action::Drop { .. }, ..) => None,
            (Action::Retry, None, _) => {
                Some("the source's bucket and pattern do not hold it any more".into())
            }
            (Action::Retry, Some(_), Some(since)) => Some(format!("its key is {} since", since.word())),
            (Action::Retry, Some(_), None) => None,
        };
        let is_done = refused.is_none();
        let mended = Mended {
            source: object.source.clone(),
            key: object.key.clone(),
            records: object.records,
            refused,
        };
        mending.objects.push(mended);
        if !is_done {
            return Ok(());
        }
        let mut changes = vec![Change::DeleteQuarantined(self.record.id, object.key.clone())];
        if let Some(place) = place.filter(|_| since.is_none()) {
            if !self.is_open(&place)? {
                closed.insert((place.0.head().to_owned(), place.1), place.0.clone());
            }
            changes.extend(match action {
                Action::Retry => self.retry(object, entry, &place),
                Action::Drop { reason } => vec![self.drop(object, entry, reason)],
            });
        }
        mending.changes.push(changes);
        Ok(())
    }

    /// The prefix of an object, where the source still holds it.
    fn place(&self, object: &Quarantined) -> Result<Option<Place>, SweepError> {
        let is_ours = self.config.bucket.name() == self.record.bucket
            && self.config.pattern.to_string() == self.record.pattern
            && object.bucket == self.record.bucket;
        let mut after: Option<String> = None;
        loop {
            let page = self.state.leaves(self.record.key(), after.as_deref(), PAGE)?;
            for (head, _) in page.iter().filter(|(head, _)| is_ours && object.key.starts_with(head.as_str()))
            {
                let leaf = self.config.pattern.leaf(head);
                let time = leaf.as_ref().and_then(|leaf| leaf.prefix_of_key(&object.key));
                if let Some(place) = leaf.zip(time) {
                    return Ok(Some(place));
                }
            }
            if page.len() < PAGE {
                return Ok(None);
            }
            after = page.last().map(|(head, _)| head.clone());
        }
    }

    fn is_open(&self, (leaf, time): &Place) -> Result<bool, SweepError> {
        let key = self.record.key();
        let stored = self.state.leaf(key, leaf.head())?;
        let through = stored
            .map_or(open::new_leaf(leaf, self.record.start).closed_through, |stored| stored.closed_through);
        let markers = self.state.markers(key, leaf.head())?;
        let closed_above = markers.iter().any(|(marked, marker)| marked == time && marker.closed);
        Ok(*time >= through && !closed_above)
    }

    fn retry(&self, object: Quarantined, entry: Option<LedgerEntry>, (leaf, time): &Place) -> Vec<Change> {
        let key = self.record.key();
        let progress = object.progress.unwrap_or_else(|| Progress {
            etag: object.etag.clone(),
            ordinal: object.records,
            delivered: object.records,
            dead_letters: 0,
            offset: object.offset,
            log_type: self.config.log_type.word().to_owned(),
            decoder: 0,
            unfinished: false,
        });
        let failed = FailedObject {
            etag: object.etag,
            size: object.size.max(1), // without bytes it had not been quarantined
            last_modified: entry.map_or(object.at, |entry| entry.last_modified),
            archived: false,
            leaf: leaf.head().to_owned(),
            time: *time,
            class: object.class,
            reason: format!("taken out of the quarantine: {}", object.reason),
            attempts: 0,
            since: self.record.sweeps,
            sweep: u64::MAX, // of no sweep
            retry_at: self.now,
        };
        let mut changes = vec![
            Change::DeleteEntry(key, object.key.clone()),
            Change::PutFailed(key, object.key.clone(), Box::new(failed)),
        ];
        if progress.ordinal > 0 {
            // who mends an object puts another one in its place, with the same beginning
            let progress = Progress { unfinished: true, ..progress };
            changes.push(Change::PutProgress(key, object.key, Box::new(progress)));
        }
        changes
    }

    fn drop(&self, object: Quarantined, entry: Option<LedgerEntry>, reason: &str) -> Change {
        let dropped = LedgerEntry {
            etag: object.etag,
            outcome: Outcome::Dropped,
            records: object.records,
            last_modified: entry.map_or(object.at, |entry| entry.last_modified),
            settled_at: self.now,
            reason: Some(reason.to_owned()),
        };
        Change::PutEntry(self.record.key(), object.key, dropped)
    }

    /// One more recheck for each closed prefix whose whole history is there: without it, all of the
    /// prefix would be taken for new, and the end stays in the ledger.
    fn plans(
        &self,
        state_dir: &Path,
        closed: BTreeMap<(String, PrefixTime), Leaf>,
    ) -> Result<Vec<Vec<Change>>, SweepError> {
        let ends = closed.iter().filter_map(|((_, time), leaf)| leaf.prefix(*time).until);
        let Some(first) = ends.min() else { return Ok(Vec::new()) };
        let owner = Owner {
            name: &self.config.name,
            key: self.record.key(),
            pattern: &self.config.pattern,
            state: self.state,
            state_dir,
        };
        let since = first.date_naive();
        let since = since.checked_sub_days(Days::new(1)).unwrap_or(since);
        let index =
            Index::since(&owner, since, |leaf, time| closed.contains_key(&(leaf.head().to_owned(), time)))?;
        let planned = Planned::read(self.state, self.record.key())?;
        let plan = |((head, time), leaf): ((String, PrefixTime), Leaf)| {
            let frames = index.frames(&head, time);
            if frames.closed_at.is_none() || index.is_lost(&leaf, time) {
                return None;
            }
            let prefix = Incomplete { head, time, frames };
            Some(planned.extra(prefix, self.now, self.config.recheck.len()).1)
        };
        Ok(closed.into_iter().filter_map(plan).collect())
    }
}
