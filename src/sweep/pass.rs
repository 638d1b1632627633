//! A pass: the tasks that a set of listings started, and what they leave behind.
//!
//! Objects become tasks here, bounded by the in-flight limit; a pass ends when every task has
//! ended, and only then floors and closings are looked at.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use tracing::error;

use super::list::Listed;
use super::plan::{LeafView, RECENT};
use super::settle::{Outstanding, SettleRule, Settled, settle};
use super::{Found, Mode, SweepError, Sweeper};
use crate::bucket::ObjectRef;
use crate::commit::{Closing, CommitError, CommitHandle};
use crate::failure::{Class, Failure};
use crate::pattern::{Leaf, PrefixTime};
use crate::state::{Change, FailedObject, Marker};

/// Prefixes whose history frames are appended, and whose closing is stored, together.
const CLOSINGS: usize = 50;

/// A leaf of which prefixes close.
struct LeafClosing {
    leaf: Arc<Leaf>,
    settled: Settled,
    /// When they close, by the earlier clock.
    at: DateTime<Utc>,
}

/// Prefixes that close in one batch.
#[derive(Default)]
struct ClosingGroup {
    prefixes: Vec<(Leaf, PrefixTime)>,
    changes: Vec<Change>,
    at: Option<DateTime<Utc>>,
}

/// A prefix of a leaf.
type Place = (String, PrefixTime);

/// The tasks of a set of listings.
pub(super) struct Pass {
    tasks: tokio::sync::Mutex<JoinSet<Result<(), CommitError>>>,
    /// Prefixes with an object that this pass neither settled nor kept by name.
    unsettled: Arc<Mutex<BTreeSet<Place>>>,
    /// Whether keys that are skipped are counted: not when an earlier pass counted them.
    pub(super) counts: bool,
}

impl Pass {
    /// A pass without tasks.
    pub fn new(counts: bool) -> Self {
        Pass { tasks: Default::default(), unsettled: Default::default(), counts }
    }
}

/// A task under way: unless it is told otherwise, its prefix is unsettled when it ends, however
/// it ends.
struct Unsettled {
    sweeper: Arc<Sweeper>,
    place: Place,
    key: String,
    among: Arc<Mutex<BTreeSet<Place>>>,
    settled: bool,
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.among.lock().unwrap_or_else(PoisonError::into_inner).insert(self.place.clone());
        if std::thread::panicking() {
            let failure = Failure::new(Class::Transient, "an internal error while it was collected");
            self.sweeper.tally(|report| {
                report.objects.failed += 1;
                report.fail(&self.key, &failure);
            });
        }
    }
}

/// A key in flight; it leaves the set when this is dropped.
pub(super) struct InFlight {
    sweeper: Arc<Sweeper>,
    key: String,
}

/// What came of marking a key as in flight.
enum Entered {
    Free(InFlight),
    InFlight,
    /// Settled, or kept by name as failed.
    Settled,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.sweeper.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Sweeper {
    /// Takes a new object: shows it, or starts its task once there is room.
    pub(super) async fn found(self: &Arc<Self>, found: Found, pass: &Pass) -> Result<(), SweepError> {
        if let Mode::Preview(show) = &self.mode {
            self.tally(|report| {
                report.objects.listed += 1;
                report.objects.empty += u64::from(found.object.size == 0);
            });
            return self.unless_stopped(show.send(found.object)).await?.map_err(|_| SweepError::Stopped);
        }
        self.start(found, None, pass).await
    }

    /// Takes a key that failed in an earlier sweep.
    pub(super) async fn retry(
        self: &Arc<Self>,
        key: String,
        failed: FailedObject,
        leaf: Leaf,
        pass: &Pass,
    ) -> Result<(), SweepError> {
        let object = ObjectRef {
            bucket: self.bucket_name.clone(),
            key,
            etag: failed.etag.clone(),
            size: failed.size,
            last_modified: failed.last_modified,
            archived: false, // it may have been restored: the GET tells
        };
        let found = Found { object, leaf: Arc::new(leaf), time: failed.time, late: false };
        if let Mode::Preview(_) = self.mode {
            return self.found(found, pass).await;
        }
        self.start(found, Some(failed), pass).await
    }

    async fn start(
        self: &Arc<Self>,
        found: Found,
        failed: Option<FailedObject>,
        pass: &Pass,
    ) -> Result<(), SweepError> {
        let throttle = self.collector.as_ref().and_then(|collector| collector.throttle.clone());
        let place = match &throttle {
            Some(throttle) => self.unless_stopped(throttle.begin()).await?,
            None => None,
        };
        let room = self.limits.in_flight.clone().acquire_owned();
        let permit = self.unless_stopped(room).await?.map_err(|_| SweepError::Stopped)?;
        let mut unsettled = Unsettled {
            sweeper: self.clone(),
            place: (found.leaf.head().to_owned(), found.time),
            key: found.object.key.clone(),
            among: pass.unsettled.clone(),
            settled: false,
        };
        if !self.bounds.begin() {
            return Ok(()); // unsettled: the next sweep finds it again
        }
        let in_flight = match self.enter(&found.object, failed.is_some())? {
            Entered::Free(in_flight) => in_flight,
            entered => {
                self.bounds.take_back();
                // in flight, it is not settled yet, as far as this pass knows
                unsettled.settled = matches!(entered, Entered::Settled);
                return Ok(());
            }
        };
        self.tally(|report| match &failed {
            // Counted when it failed earlier in this sweep: what becomes of it now counts.
            Some(failed) if self.is_of_this_sweep(failed) => {
                report.take_back(&found.object.key, failed.class())
            }
            _ => report.objects.listed += 1,
        });
        let sweeper = self.clone();
        let mut tasks = pass.tasks.lock().await;
        tasks.spawn(async move {
            let settled = sweeper.work(found, failed).await;
            unsettled.settled = matches!(settled, Ok(true));
            drop((unsettled, in_flight, permit, place));
            settled.map(|_| ())
        });
        while let Some(ended) = tasks.try_join_next() {
            check(ended)?;
        }
        Ok(())
    }

    /// Marks a key as in flight, unless it is already, or was settled since its page of the
    /// ledger was read. A key leaves the set only after it is in the ledger, so that looking
    /// there after entering misses nothing.
    fn enter(self: &Arc<Self>, object: &ObjectRef, is_retry: bool) -> Result<Entered, SweepError> {
        let fresh = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).insert(object.key.clone());
        if !fresh {
            return Ok(Entered::InFlight);
        }
        let guard = InFlight { sweeper: self.clone(), key: object.key.clone() };
        let entry = self.state.entry(self.key, &object.key)?;
        let settled = entry.is_some_and(|entry| entry.settles(&object.etag));
        // A failed key that is not failed any more was found to be gone.
        if settled || is_retry != self.is_failed(&object.key)? {
            return Ok(Entered::Settled);
        }
        Ok(Entered::Free(guard))
    }

    /// Whether a key is in flight now.
    pub(super) fn is_in_flight(&self, key: &str) -> bool {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Whether a key is kept by name as failed.
    pub(super) fn is_failed(&self, key: &str) -> Result<bool, SweepError> {
        Ok(self.state.failed(self.key, key)?.is_some())
    }

    /// Waits until every task of a pass has ended; returns the prefixes it left unsettled.
    pub(super) async fn wait(&self, pass: &Pass) -> Result<BTreeSet<Place>, SweepError> {
        let mut tasks = pass.tasks.lock().await;
        while let Some(ended) = tasks.join_next().await {
            check(ended)?;
        }
        Ok(std::mem::take(&mut *pass.unsettled.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Ends a pass: floors, closings, records of leaves.
    pub(super) async fn settle_pass(
        &self,
        pass: &Pass,
        leaves: Vec<(LeafView, Vec<Listed>)>,
    ) -> Result<(), SweepError> {
        let unsettled = self.wait(pass).await?;
        for (_, listings) in &leaves {
            for listed in listings {
                self.settle_gone(&listed.gone).await?;
            }
        }
        let _settling = self.settling.lock().await;
        let (mut changes, mut forget) = (Vec::new(), Vec::new());
        let mut closing = Vec::new();
        for (view, mut listings) in leaves {
            // A pass beside this one may have settled since the view was read.
            let view = self.view(&view.leaf)?;
            let head = view.leaf.head();
            let outstanding = Outstanding {
                failed: self.failed.of(head),
                unsettled: unsettled.iter().filter(|(leaf, _)| leaf == head).map(|(_, time)| *time).collect(),
            };
            if pass.counts {
                self.count_prefixes(&view, &listings);
            }
            let longest = self.config.recheck.iter().max().copied().unwrap_or_default();
            let rule = SettleRule {
                closing: self.closing_rule(&view.leaf),
                floor_epoch: self.record.floor_epoch,
                empty_for: longest.max(RECENT),
            };
            let Some(at) = listings.iter().map(|listed| listed.now).min() else { continue };
            let settled = settle(&view, &listings, &outstanding, &rule);
            for listed in &mut listings {
                changes.append(&mut listed.changes);
                forget.append(&mut listed.forget);
            }
            match settled.closing.is_empty() {
                true => changes.extend(self.changes_of(&view.leaf, settled, at)),
                false => closing.push(LeafClosing { leaf: view.leaf, settled, at }),
            }
        }
        let Mode::Collect(committer) = &self.mode else { return Ok(()) };
        committer.apply(changes).await?;
        // Only now: their markers are stored.
        committer.apply(forget.into_iter().map(|key| Change::DeleteEntry(self.key, key)).collect()).await?;
        self.close(committer, closing).await
    }

    /// Closes what settled leaves allow: in few batches, each with the history that it needs.
    async fn close(&self, committer: &CommitHandle, leaves: Vec<LeafClosing>) -> Result<(), SweepError> {
        let mut group = ClosingGroup::default();
        for LeafClosing { leaf, settled, at } in leaves {
            if settled.closing.len() + settled.markers.len() + settled.empty.len() > CLOSINGS {
                self.close_many(committer, &leaf, settled, at).await?;
                continue;
            }
            let operations = 2 * (group.prefixes.len() + settled.closing.len())
                + group.changes.len()
                + settled.markers.len()
                + settled.empty.len();
            if operations > 3 * CLOSINGS {
                self.close_group(committer, std::mem::take(&mut group)).await?;
            }
            group.at = group.at.into_iter().chain([at]).min();
            group.prefixes.extend(settled.closing.iter().map(|time| (Leaf::clone(&leaf), *time)));
            group.changes.extend(self.changes_of(&leaf, settled, at));
        }
        self.close_group(committer, group).await
    }

    /// More closings of one leaf than a batch holds: each group closes above `closed_through`
    /// first, then the leaf's record takes them in.
    async fn close_many(
        &self,
        committer: &CommitHandle,
        leaf: &Arc<Leaf>,
        settled: Settled,
        at: DateTime<Utc>,
    ) -> Result<(), SweepError> {
        let head = leaf.head();
        for times in settled.closing.chunks(CLOSINGS) {
            let prefixes = times.iter().map(|time| (Leaf::clone(leaf), *time)).collect();
            let closed = Box::new(Marker { closed: true, ..Marker::default() });
            let changes = times
                .iter()
                .map(|time| Change::PutMarker(self.key, head.to_owned(), *time, closed.clone()))
                .collect();
            self.close_group(committer, ClosingGroup { prefixes, changes, at: Some(at) }).await?;
        }
        let through = settled.record.as_ref().map(|record| record.closed_through);
        let absorbed = settled.closing.iter().filter(|time| through.is_some_and(|through| **time < through));
        let absorbed: Vec<_> =
            absorbed.map(|time| Change::DeleteMarker(self.key, head.to_owned(), *time)).collect();
        let mut changes = self.changes_of(leaf, settled, at);
        changes.extend(absorbed);
        Ok(committer.apply(changes).await?)
    }

    async fn close_group(&self, committer: &CommitHandle, group: ClosingGroup) -> Result<(), SweepError> {
        let Some(at) = group.at else { return Ok(()) };
        let closing = Closing {
            found_by: None,
            recheck: self.first_recheck(at),
            source: self.key,
            source_name: self.config.name.clone(),
            prefixes: group.prefixes,
            changes: group.changes,
            at,
        };
        Ok(committer.close(closing).await?)
    }

    /// Rechecks first, then the record: a marker that goes is one that the record has taken in.
    fn changes_of(&self, leaf: &Leaf, settled: Settled, at: DateTime<Utc>) -> Vec<Change> {
        let head = || leaf.head().to_owned();
        let recheck = self.first_recheck(at);
        let rechecks = settled.empty.into_iter().filter_map(|time| {
            let (due, recheck) = recheck.clone()?;
            Some(Change::PutRecheck(self.key, due, head(), time, Box::new(recheck)))
        });
        let record = settled.record.map(|record| Change::PutLeaf(self.key, head(), record));
        let markers = settled.markers.into_iter().map(|(time, marker)| match marker {
            Some(marker) => Change::PutMarker(self.key, head(), time, Box::new(marker)),
            None => Change::DeleteMarker(self.key, head(), time),
        });
        rechecks.chain(record).chain(markers).collect()
    }

    fn count_prefixes(&self, view: &LeafView, listings: &[Listed]) {
        let mut names = BTreeSet::new();
        for listed in listings {
            names.extend(listed.seen.keys().copied());
            match &listed.listing.covered {
                super::plan::Covered::Set(times) => names.extend(times.iter().copied()),
                super::plan::Covered::Range(first, last) => {
                    let rule = self.closing_rule(&view.leaf);
                    let live = rule.first_not_due(&view.leaf, listed.now).max(*first);
                    names.extend(view.leaf.times(live, *last));
                }
            }
        }
        let preview = matches!(self.mode, Mode::Preview(_));
        self.tally(|report| {
            report.prefixes += names.len() as u64;
            if preview {
                report.prefix_names.extend(names.into_iter().map(|time| view.leaf.prefix(time).name));
            }
        });
    }
}

/// A task that panicked has counted its object as failed and left it unsettled; the others go on.
fn check(ended: Result<Result<(), CommitError>, tokio::task::JoinError>) -> Result<(), SweepError> {
    match ended {
        Ok(result) => Ok(result?),
        Err(failed) => {
            error!(error = %failed, "a collecting task failed; its object is tried again in the next sweep");
            Ok(())
        }
    }
}
