//! One scheduled pass over all open prefixes of one source.
//!
//! open the source → discover leaves → live pass → failed keys again → backlog ∥ live passes → rechecks. A pass
//! lists leaves in parallel, hands new objects to tasks, waits until each is settled or not, and
//! only then moves floors and closes prefixes. What fails stays named; nothing is stepped over.

pub mod audit;
mod begin;
mod bounds;
mod clocks;
pub mod discover;
mod failed;
mod list;
pub mod mend;
pub(crate) mod open;
mod outcome;
mod pass;
pub mod plan;
pub mod progress;
mod reach;
mod recheck;
pub mod report;
mod settle;
mod signer;
mod zone;

use std::borrow::Cow;
use std::collections::HashSet;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bucket::metered::RequestCounts;
use crate::bucket::{Bucket, BucketError, ObjectRef};
use crate::clock::Clock;
use crate::collect::Collector;
use crate::commit::{CommitError, CommitHandle};
use crate::config::{KeyOrder, SourceConfig};
use crate::failure::{self, Class};
use crate::pattern::{Leaf, PrefixTime};
use crate::retry::Backoff;
use crate::state::history::HistoryError;
use crate::state::{Change, SourceKey, SourceRecord, State, StateError};
use begin::{open_source, store};
use bounds::Bounds;
use clocks::Clocks;
use failed::FailedKeys;
use open::Opened;
use pass::Pass;
use plan::{ClosingRule, LeafView, Listing, PlanRule};
use progress::Progress;
use reach::Reachability;
use report::{Requests, SourceReport};

/// Objects in flight at once, for the whole instance: their progress goes into one batch.
pub const MAX_IN_FLIGHT: usize = 64;
/// State keys deleted or read at once.
const PAGE: usize = 150;

/// Bounds that all sources of an instance share.
pub struct SweepLimits {
    /// Leaves listed at once.
    pub list_concurrency: usize,
    /// LIST requests under way at once.
    pub lists: Semaphore,
    /// GET requests under way at once.
    pub gets: Arc<Semaphore>,
    /// Objects between their listing and their settling.
    pub in_flight: Arc<Semaphore>,
    /// Waits between tries.
    pub backoff: Backoff,
    /// Held while a source gets its number: two new ones must not get the same.
    opening: tokio::sync::Mutex<()>,
}

impl SweepLimits {
    /// The limits of a configuration.
    pub fn new(limits: &crate::config::Limits) -> Self {
        SweepLimits {
            list_concurrency: limits.list_concurrency,
            lists: Semaphore::new(limits.list_concurrency),
            gets: Arc::new(Semaphore::new(limits.get_concurrency)),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            backoff: Backoff::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }
}

/// What a sweep does with what it finds.
pub enum Mode {
    /// Collects it.
    Collect(CommitHandle),
    /// Shows it; no object is read, and the state given must be an overlay.
    Preview(mpsc::Sender<ObjectRef>),
    /// Holds it against what is known (an audit); no object is read, and the state given must be an
    /// overlay.
    Compare,
}

/// What a sweep needs.
pub struct SweepContext {
    /// The source.
    pub config: Arc<SourceConfig>,
    /// Its bucket; requests are counted in `counts`.
    pub bucket: Arc<dyn Bucket>,
    /// Requests of this sweep.
    pub counts: Arc<RequestCounts>,
    /// The stored state.
    pub state: Arc<dyn State>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Shared bounds.
    pub limits: Arc<SweepLimits>,
    /// Over how long closings are spread.
    pub close_spread: Duration,
    /// How long history is kept, and the ledger of open-ended prefixes with floors.
    pub keep_history: Duration,
    /// Folder that holds the history of closed prefixes.
    pub state_dir: PathBuf,
    /// Told how far the sweep is.
    pub progress: Arc<Progress>,
    /// Cancelled when the sweep is to end early.
    pub stop: CancellationToken,
    /// Collect or show.
    pub mode: Mode,
}

/// A new object that a listing found.
#[derive(Clone, Debug)]
struct Found {
    object: ObjectRef,
    leaf: Arc<Leaf>,
    time: PrefixTime,
    late: bool,
}

/// Why a sweep, or a part of it, ended early.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The bucket; the rest of the sweep goes on.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The committer.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The history of a closed prefix.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The sweep was asked to stop.
    #[error("the sweep was stopped")]
    Stopped,
    /// A bound of the sweep was reached; the next one lists the rest.
    #[error("a bound of the sweep was reached")]
    Bounded,
    /// Nobody waits for what an audit finds.
    #[error("the audit's reader has gone")]
    Unread,
}

/// One sweep of one source.
struct Sweeper {
    config: Arc<SourceConfig>,
    bucket: Arc<dyn Bucket>,
    bucket_name: Arc<str>,
    counts: Arc<RequestCounts>,
    state: Arc<dyn State>,
    clock: Clocks,
    /// When it began, by our clock.
    began: DateTime<Utc>,
    limits: Arc<SweepLimits>,
    close_spread: Duration,
    keep_history: Duration,
    state_dir: PathBuf,
    progress: Arc<Progress>,
    stop: CancellationToken,
    mode: Mode,
    collector: Option<Collector>,
    bounds: Bounds,
    key: SourceKey,
    /// As it was stored when the sweep began.
    record: SourceRecord,
    /// Raised with each live round: what failed before is due again.
    round: AtomicU64,
    report: Mutex<SourceReport>,
    in_flight: Mutex<HashSet<String>>,
    failed: FailedKeys,
    unreachable: Mutex<Reachability>,
    /// Held while records of leaves and markers are read, changed and stored: passes run side by
    /// side, and none may store what it made of an older record.
    settling: tokio::sync::Mutex<()>,
}

/// How a sweep ended.
#[derive(Debug)]
pub struct Swept {
    /// What it did, also when it ended early.
    pub report: SourceReport,
    /// An error means that state or committer cannot go on; leaves that were unreachable stand
    /// in the report.
    pub ended: Result<(), SweepError>,
}

impl Swept {
    /// A sweep that could not even begin.
    pub fn unreachable(name: &str, error: &BucketError) -> Self {
        let mut report = SourceReport::new(name);
        report.cannot_reach(failure::chain(error));
        Swept { report, ended: Ok(()) }
    }
}

/// Sweeps a source once, without collecting: the mode is [`Mode::Preview`].
pub async fn preview(context: SweepContext) -> Swept {
    sweep_with(context, |_| None).await
}

/// Sweeps a source once. `make_collector` is called with the source's key once it is known.
pub async fn sweep(context: SweepContext, make_collector: impl FnOnce(SourceKey) -> Collector) -> Swept {
    sweep_with(context, |key| Some(make_collector(key))).await
}

async fn sweep_with(context: SweepContext, collector: impl FnOnce(SourceKey) -> Option<Collector>) -> Swept {
    let began = Instant::now();
    let name = context.config.name.clone();
    match open_source(&context).await {
        Ok((record, opened)) => {
            let collector = collector(record.key());
            let bounds = collector.as_ref().map(|_| Bounds::of(&context.config)).unwrap_or_default();
            let sweeper = Arc::new(Sweeper { bounds, ..Sweeper::new(context, record, collector) });
            let ended = match on_the_runtime(&sweeper, opened).await {
                Ok(()) | Err(SweepError::Stopped) => sweeper.note_end().await,
                Err(SweepError::Bucket(error)) => {
                    sweeper.note_unreachable(&error.into());
                    sweeper.note_end().await
                }
                Err(error) => Err(error),
            };
            Swept { report: sweeper.final_report(began), ended }
        }
        Err(error) => Swept { report: SourceReport::new(&name), ended: Err(error) },
    }
}

/// Runs a sweep by a thread of the runtime, as the objects that it collects: in the main thread each of
/// its turns would cost a change of threads. Ends with whoever waits.
async fn on_the_runtime(sweeper: &Arc<Sweeper>, opened: Opened) -> Result<(), SweepError> {
    let (sweeper, mut task) = (sweeper.clone(), JoinSet::new());
    task.spawn(async move { sweeper.run(opened).await });
    match task.join_next().await.transpose() {
        Ok(ended) => ended.unwrap_or(Err(SweepError::Stopped)),
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(SweepError::Stopped), // the runtime ends
        },
    }
}

impl Sweeper {
    fn new(context: SweepContext, record: SourceRecord, collector: Option<Collector>) -> Self {
        context.progress.begin(context.counts.clone());
        Sweeper {
            bucket_name: context.config.bucket.name().into(),
            report: Mutex::new(SourceReport::new(&context.config.name)),
            config: context.config,
            bucket: context.bucket,
            counts: context.counts,
            state: context.state,
            began: context.clock.now(),
            clock: Clocks::new(context.clock),
            limits: context.limits,
            close_spread: context.close_spread,
            keep_history: context.keep_history,
            state_dir: context.state_dir,
            progress: context.progress,
            stop: context.stop,
            mode: context.mode,
            collector,
            bounds: Bounds::default(),
            key: record.key(),
            round: AtomicU64::new(record.sweeps),
            record,
            in_flight: Mutex::default(),
            failed: FailedKeys::default(),
            unreachable: Mutex::default(),
            settling: tokio::sync::Mutex::default(),
        }
    }
}

impl Sweeper {
    async fn run(self: &Arc<Self>, opened: Opened) -> Result<(), SweepError> {
        self.open(&opened).await?;
        self.settle_vanished().await?;
        let leaves = self.leaves().await?;
        self.live_pass(&leaves, true).await?;
        // After the first LIST: it tells whether the source is there at all.
        self.retry_failed().await?;
        let done = CancellationToken::new();
        let backlog = async {
            let _done = done.clone().drop_guard();
            stream::iter(leaves.iter().cloned())
                .map(|leaf| async move { self.backlog(&leaf).await })
                .buffer_unordered(self.limits.list_concurrency)
                .fold(Ok(()), |so_far, one| async { so_far.and(one) })
                .await
        };
        // Both to their ends: what is in flight is finished or noted, also when the other one failed.
        let (backlog, live) = tokio::join!(backlog, self.stay_live(&done));
        backlog.and(live)?;
        if opened == Opened::Generation {
            self.tell_collected_anew();
        }
        self.recheck().await
    }

    /// New days come before backlog: while it runs, each recurrence has a round of its own. Leaves
    /// are discovered, live prefixes listed, and failed keys tried again.
    async fn stay_live(self: &Arc<Self>, done: &CancellationToken) -> Result<(), SweepError> {
        if let Mode::Preview(_) = self.mode {
            return Ok(()); // nothing is settled, so the same objects would be shown again
        }
        loop {
            tokio::select! {
                () = done.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.config.recurrence) => {}
            }
            let round = self.round.fetch_add(1, Ordering::Relaxed) + 1;
            self.store(vec![self.updated_source(|record| record.sweeps = round)?]).await?;
            let leaves = self.leaves().await?;
            self.live_pass(&leaves, false).await?;
            self.retry_failed().await?;
        }
    }

    async fn store(&self, changes: Vec<Change>) -> Result<(), SweepError> {
        store(&self.mode, &*self.state, changes).await
    }

    /// What is stored of the source, changed.
    fn updated_source(&self, update: impl FnOnce(&mut SourceRecord)) -> Result<Change, StateError> {
        let mut record = self.state.source(&self.config.name)?.unwrap_or_else(|| self.record.clone());
        update(&mut record);
        Ok(Change::PutSource(self.config.name.clone(), Box::new(record)))
    }

    /// The number of this sweep or live round.
    fn round(&self) -> u64 {
        self.round.load(Ordering::Relaxed)
    }

    /// Tries the keys again, by name, that failed before this round.
    async fn retry_failed(self: &Arc<Self>) -> Result<(), SweepError> {
        let pass = Pass::new(true);
        let (now, round, mut after) = (self.clock.ours(), self.round(), None);
        loop {
            let page = self.state.all_failed(self.key, after.as_deref(), PAGE)?;
            let full = page.len() == PAGE;
            after = page.last().map(|(key, _)| key.clone());
            for (key, failed) in page {
                let Some(leaf) = self.config.pattern.leaf(&failed.leaf) else { continue };
                if failed.retry_at > now || failed.sweep == round {
                    continue;
                }
                if self.bounds.leave() {
                    return self.wait(&pass).await.map(|_| ());
                }
                if let Err(error) = self.retry(key, failed, leaf, &pass).await {
                    return self.end_early(&pass, error).await;
                }
            }
            if !full {
                break;
            }
        }
        self.wait(&pass).await.map(|_| ())
    }

    /// Lists the live prefixes of all leaves and settles what that allows. Keys that were counted
    /// by an earlier pass are counted again only when they are new.
    async fn live_pass(self: &Arc<Self>, leaves: &[Arc<Leaf>], is_first: bool) -> Result<(), SweepError> {
        let pass = Pass::new(is_first);
        let listed = stream::iter(leaves.iter().cloned())
            .map(|leaf| {
                let pass = &pass;
                async move { self.list_live(&leaf, pass).await }
            })
            .buffer_unordered(self.limits.list_concurrency)
            .fold(Ok(Vec::new()), |all, one| async {
                let mut all: Vec<_> = all?;
                all.extend(one?);
                Ok::<_, SweepError>(all)
            })
            .await;
        match listed {
            Ok(listed) => self.settle_pass(&pass, listed).await,
            Err(error) => self.end_early(&pass, error).await,
        }
    }

    /// A sweep that stops lets its objects end or checkpoint first.
    async fn end_early(&self, pass: &Pass, error: SweepError) -> Result<(), SweepError> {
        self.wait(pass).await?;
        Err(error)
    }

    async fn list_live(
        self: &Arc<Self>,
        leaf: &Arc<Leaf>,
        pass: &Pass,
    ) -> Result<Option<(LeafView, Vec<list::Listed>)>, SweepError> {
        let view = self.view(leaf)?;
        let plan = plan::plan(&view, self.planning_time(), &self.plan_rule(leaf));
        let mut listed = Vec::new();
        for listing in plan.live {
            if let Some(one) = self.list_or_note(&view, listing, pass, list::Kind::Whole).await? {
                listed.push(one);
            }
        }
        Ok(Some((view, listed)))
    }

    /// Lists what is long overdue of one leaf, a part at a time, each settled before the next.
    async fn backlog(self: &Arc<Self>, leaf: &Arc<Leaf>) -> Result<(), SweepError> {
        let view = self.view(leaf)?;
        // As of the beginning: no live pass is planned earlier, so that none lists the same prefix.
        let plan = plan::plan(&view, self.began, &self.plan_rule(leaf));
        for listing in plan.backlog {
            let mut part = Some(listing);
            while let Some(listing) = part.take() {
                let (pass, view) = (Pass::new(true), self.view(leaf)?);
                let listed = match self.list_or_note(&view, listing, &pass, list::Kind::InParts).await {
                    Ok(listed) => listed,
                    Err(error) => return self.end_early(&pass, error).await,
                };
                let Some(listed) = listed else {
                    self.wait(&pass).await?;
                    break;
                };
                part = plan::rest(&view, &listed.listing, listed.next);
                self.settle_pass(&pass, vec![(view, vec![listed])]).await?;
            }
        }
        Ok(())
    }

    /// A listing that fails is reported; the other leaves go on.
    async fn list_or_note(
        self: &Arc<Self>,
        view: &LeafView,
        listing: Listing,
        pass: &Pass,
        kind: list::Kind,
    ) -> Result<Option<list::Listed>, SweepError> {
        if self.is_given_up() || self.bounds.leave() {
            return Ok(None);
        }
        match self.list(view, listing, pass, kind).await {
            Err(SweepError::Bounded) => {
                self.reachability().answered += 1;
                Ok(None)
            }
            Ok(listed) => {
                self.reachability().answered += 1;
                Ok(Some(listed))
            }
            Err(SweepError::Bucket(error)) => {
                self.reachability().refused += usize::from(error.class == Class::Unreachable);
                self.note_unreachable(&error.into());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What is stored of a leaf now.
    fn view(&self, leaf: &Arc<Leaf>) -> Result<LeafView, SweepError> {
        let record = match self.state.leaf(self.key, leaf.head())? {
            Some(record) => record,
            None => open::new_leaf(leaf, self.record.start),
        };
        let epoch = self.record.floor_epoch;
        let markers = self.state.markers(self.key, leaf.head())?;
        let markers =
            markers.into_iter().map(|(time, marker)| (time, open::current(marker, epoch))).collect();
        let (failed, closing) = (self.failed.of(leaf.head()), self.closing_rule(leaf));
        let waiting =
            plan::waiting(leaf, &markers, &failed, closing, &self.config.recheck, self.planning_time());
        Ok(LeafView { leaf: leaf.clone(), record, markers, waiting })
    }

    /// Never before the sweep began, though our clock is set back.
    fn planning_time(&self) -> DateTime<Utc> {
        self.began.max(self.clock.ours())
    }

    fn closing_rule(&self, leaf: &Leaf) -> ClosingRule {
        ClosingRule::of(leaf, self.config.lateness, self.close_spread)
    }

    fn plan_rule(&self, leaf: &Leaf) -> PlanRule {
        PlanRule {
            closing: self.closing_rule(leaf),
            floors: self.config.key_order == KeyOrder::Time,
            reconcile_every: self.config.reconcile_every,
            page_size: self.config.list_page_size,
        }
    }

    /// Waits for something, unless the sweep is asked to stop.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, SweepError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SweepError::Stopped),
            done = work => Ok(done),
        }
    }

    fn tally(&self, count: impl FnOnce(&mut SourceReport)) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut report);
        self.progress.note(&report);
    }

    fn final_report(&self, began: Instant) -> SourceReport {
        self.tally(|report| {
            let (prices, recurrence) = (&self.config.prices, self.config.recurrence);
            report.finish(Requests::of(&self.counts), began.elapsed(), prices, recurrence);
            report.bounded_by = self.bounds.ended_by().map(Cow::Borrowed);
        });
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
