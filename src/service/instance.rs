//! What owns state directory and sink, with the one committer of all sources.
//!
//! Every task that an instance starts is joined before [`Instance::close`] returns, with the last
//! commit done.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::watch::{Standing, TimedSink, Watch, Watched};
use super::wiring::{self, Shared};
use super::{ReadOnly, Source};
use crate::bucket::Bucket;
use crate::bucket::metered::RequestCounts;
use crate::buffers::Buffers;
use crate::clock::Clock;
use crate::collect::{self, Collector};
use crate::commit::{CommitError, CommitHandle, Committer, Durable};
use crate::config::{Config, SourceConfig};
use crate::marker::{self, MarkerChange, MarkerError};
use crate::prices;
use crate::sink::SinkError;
use crate::sink::dead_letter::DeadLetters;
use crate::state::disk::DiskState;
use crate::state::history::History;
use crate::state::{SourceKey, State, StateError};
use crate::sweep::audit::{self, Audited, Incomplete, Span, Told};
use crate::sweep::mend::{self, Action, Mended, Mending};
use crate::sweep::report::SourceReport;
use crate::sweep::{self, Mode, SweepContext, SweepError, SweepLimits, Swept};

/// How an instance is opened.
pub struct Options {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Take over the state of another instance.
    pub adopt_state: bool,
    /// Make a lost or damaged state anew from what is left of it.
    pub rebuild_state: bool,
    /// Give up when the sink has been down for `sink_timeout`.
    pub give_up: bool,
    /// Cancelled when the instance is to stop.
    pub stop: CancellationToken,
}

/// Why an instance cannot be opened or go on.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The committer: state, sink or history.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A bucket and what is counted of its requests.
type Metered = (Arc<dyn Bucket>, Arc<RequestCounts>);

/// One instance at work.
pub struct Instance {
    pub(super) config: Config,
    pub(super) shared: Shared,
    pub(super) handle: CommitHandle,
    committer: JoinSet<Result<(), CommitError>>,
    windows: Buffers,
    /// What is known of the sources while they are swept.
    pub(super) watch: Arc<Watch>,
    pub(super) stop: CancellationToken,
}

impl Instance {
    /// Takes the state directory and the sink, and brings them to one point.
    pub async fn open(config: Config, options: Options) -> Result<Self, InstanceError> {
        let Options { clock, adopt_state, rebuild_state, give_up, stop } = options;
        let settings = wiring::commit_settings(&config, give_up);
        let (own, its_stop) = (config.clone(), stop.clone());
        let watch = Arc::new(Watch::new(clock.clone()));
        let metrics = watch.metrics.clone();
        let known = rebuild_state.then(|| wiring::known_sources(&config, clock.now()));
        let opening = tokio::task::spawn_blocking(move || {
            let state = match &known {
                Some(known) => DiskState::rebuild(&own.state_dir, &own.instance, adopt_state, known)?,
                None => DiskState::open(&own.state_dir, &own.instance, adopt_state)?,
            };
            let state: Arc<dyn State> = Arc::new(state);
            let durable = Durable {
                sink: Box::new(TimedSink::new(wiring::sink(&own.sink)?, metrics)),
                state: state.clone(),
                dead_letters: DeadLetters::new(&own.sink.dead_letter_path),
                history: open_history(&own.state_dir, &*state)?,
                keep_history: own.history,
            };
            let (committer, handle) = Committer::open(durable, settings, its_stop)?;
            Ok::<_, InstanceError>((state, committer, handle))
        });
        let (state, committer, handle) = opening.await.map_err(CommitError::of_task)??;
        let limits = Arc::new(SweepLimits::new(&config.limits));
        Ok(Instance {
            windows: collect::windows(config.limits.get_concurrency),
            committer: JoinSet::from_iter([committer.run()]),
            config,
            shared: Shared { state, clock, limits },
            handle,
            watch,
            stop,
        })
    }

    /// Commits what is left, finishes the open segment, and gives state and sink back. The
    /// error, if any, is why the committer stopped.
    pub async fn close(self) -> Result<(), InstanceError> {
        let Instance { handle, committer, .. } = self;
        Ok(handle.end(committer).await?)
    }

    /// What is known of the sources, for those who show it.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The stored state, to be read only.
    pub fn state(&self) -> &Arc<dyn State> {
        &self.shared.state
    }

    /// Sweeps one source once, unless it is paused; ends early when somebody asks for its turn.
    pub async fn sweep(&self, source: &Source) -> Swept {
        let (_turn, stop) = source.turn.sweep(&self.stop).await;
        match (&**self.state() as &dyn State).paused(&source.config.name) {
            Ok(None) => self.sweep_now(source, stop).await,
            Ok(Some(since)) => {
                info!(source = source.config.name, %since, "paused: not swept");
                Swept { report: SourceReport::new(&source.config.name), ended: Ok(()) }
            }
            Err(error) => Swept { report: SourceReport::new(&source.config.name), ended: Err(error.into()) },
        }
    }

    async fn sweep_now(&self, source: &Source, stop: CancellationToken) -> Swept {
        let standing = self.watch.of(&source.config);
        standing.begins();
        let (bucket, counts) = match source.metered(&self.config.limits).await {
            Ok(opened) => watched(opened, &standing),
            Err(error) => {
                let swept = Swept::unreachable(&source.config.name, &error);
                standing.cannot_open(&error);
                standing.swept(&swept.report, false);
                return swept;
            }
        };
        let context = self.context(source, bucket.clone(), counts, stop.clone());
        let swept = sweep::sweep(context, |key| self.collector(source, bucket, key, stop.clone())).await;
        standing.swept(&swept.report, stop.is_cancelled() || swept.ended.is_err());
        summarise(&swept.report);
        tell_budget(&source.config, &swept.report);
        swept
    }

    /// Audits one source; see [`audit::audit`].
    pub async fn audit(
        &self,
        source: &Source,
        span: Span,
        tell: mpsc::Sender<Told>,
    ) -> Result<Audited, SweepError> {
        let looking = ReadOnly::sharing(&self.config, self.shared.clone(), self.stop.clone());
        looking.audit(source, span, tell).await
    }

    /// Collects what an audit of this source found missing, in turn with its sweeps; see
    /// [`audit::repair`].
    pub async fn repair(&self, source: &Source, incomplete: Vec<Incomplete>) -> Swept {
        let (_turn, stop) = source.turn.sweep(&self.stop).await;
        self.repair_now(source, incomplete, stop).await
    }

    /// Audits a source and collects what is missing. The caller holds the source's turn, so that
    /// no prefix closes in between: its objects would be taken for missing.
    pub(super) async fn audit_and_repair(
        &self,
        source: &Source,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Swept, SweepError> {
        let span =
            Span { from, to, max_gap: Duration::MAX, keep_history: self.config.history, every_object: false };
        let (tell, mut told) = mpsc::channel(1);
        let unread = async { while told.recv().await.is_some() {} };
        let (audited, ()) = tokio::join!(self.audit(source, span, tell), unread);
        Ok(self.repair_now(source, audited?.incomplete, self.stop.clone()).await)
    }

    async fn repair_now(
        &self,
        source: &Source,
        incomplete: Vec<Incomplete>,
        stop: CancellationToken,
    ) -> Swept {
        let standing = self.watch.of(&source.config);
        let (bucket, counts) = match source.metered(&self.config.limits).await {
            Ok(opened) => watched(opened, &standing),
            Err(error) => return Swept::unreachable(&source.config.name, &error),
        };
        let context = self.context(source, bucket.clone(), counts, stop.clone());
        let swept = audit::repair(context, incomplete, |key| self.collector(source, bucket, key, stop)).await;
        standing.count(&swept.report);
        summarise(&swept.report);
        swept
    }

    /// Retries or drops quarantined objects of a source: those of `keys`, or all where it is
    /// `None`. What is retried comes with the next sweep. The caller holds the source's turn.
    pub(super) async fn mend(
        &self,
        source: &SourceConfig,
        keys: Option<&BTreeSet<String>>,
        action: &Action,
    ) -> Result<Vec<Mended>, SweepError> {
        let (state, now) = (&**self.state(), self.shared.clock.now());
        let Mending { objects, changes } =
            mend::mend(source, state, &self.config.state_dir, keys, action, now)?;
        for together in changes {
            self.handle.apply(together).await?;
        }
        Ok(objects)
    }

    /// Changes the markers of a source. The caller holds its turn. Returns how many leaves change.
    pub(super) async fn change_markers(
        &self,
        source: &SourceConfig,
        leaves: &[String],
        change: MarkerChange,
    ) -> Result<usize, MarkerError> {
        let (state, now) = (&**self.state(), self.shared.clock.now());
        marker::change(state, &self.handle, &wiring::configured(source), leaves, change, now).await
    }

    /// Stores an export that was found whole.
    pub async fn import(&self, file: &Path) -> Result<u64, marker::import::ImportError> {
        marker::import::import(file, &**self.state(), &self.handle).await
    }

    fn context(
        &self,
        source: &Source,
        bucket: Arc<dyn Bucket>,
        counts: Arc<RequestCounts>,
        stop: CancellationToken,
    ) -> SweepContext {
        let mode = Mode::Collect(self.handle.clone());
        self.shared.context(&self.config, source, (bucket, counts), stop, mode)
    }

    fn collector(
        &self,
        source: &Source,
        bucket: Arc<dyn Bucket>,
        key: SourceKey,
        stop: CancellationToken,
    ) -> Collector {
        Collector {
            settings: wiring::collect_settings(&self.config, &source.config, key),
            bucket,
            encoder: source.encoder.clone(),
            committer: self.handle.clone(),
            clock: self.shared.clock.clone(),
            throttle: source.throttle.clone(),
            gets: self.shared.limits.gets.clone(),
            windows: self.windows.clone(),
            stop,
        }
    }
}

/// A bucket as [`Source::metered`] returns it, whose answers are noted.
fn watched((bucket, counts): Metered, standing: &Arc<Standing>) -> Metered {
    (Arc::new(Watched::new(bucket, standing.clone())), counts)
}

fn open_history(state_dir: &Path, state: &dyn State) -> Result<History, CommitError> {
    let committed = state.history()?.into_iter().collect();
    Ok(History::open(state_dir, &committed)?)
}

/// A sweep that asks for more than the source's budget, at its recurrence.
fn tell_budget(source: &SourceConfig, report: &SourceReport) {
    let Some(budget) = source.list_budget_per_hour else { return };
    let an_hour = prices::per_hour(report.requests.list as f64, source.recurrence).ceil() as u64;
    if an_hour > budget {
        warn!(
            source = report.name,
            lists_per_hour = an_hour,
            budget,
            "more LIST requests than list_budget_per_hour, at this recurrence"
        );
    }
}

/// One line per sweep.
fn summarise(report: &SourceReport) {
    let objects = &report.objects;
    info!(
        source = report.name,
        leaves = report.leaves,
        listed = objects.listed,
        collected = objects.collected,
        late = objects.late,
        failed = objects.failed,
        quarantined = objects.quarantined,
        records = report.records,
        lists = report.requests.list,
        gets = report.requests.get,
        seconds = report.seconds,
        bounded_by = report.bounded_by.as_deref(),
        "swept"
    );
    if !report.unreachable.is_empty() {
        warn!(
            source = report.name,
            parts = report.unreachable.len(),
            "unreachable; the next sweep tries again"
        );
    }
}
