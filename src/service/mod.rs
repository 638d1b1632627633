//! An instance at work: what it owns, one sweep of a source, and the loop of the daemon.
//!
//! The instance holds the state directory, the sink and the one committer of all sources. Every
//! task it starts is joined before [`Instance::close`] returns, with the last commit done.

pub mod control;
pub mod signals;
pub mod socket;
mod turn;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::aws::Timeouts;
use crate::bucket::metered::{Metered, RequestCounts};
use crate::bucket::{self, Bucket, BucketError};
use crate::buffers::Buffers;
use crate::clock::{Clock, SystemClock};
use crate::collect::{self, CollectSettings, Collector};
use crate::commit::{CommitError, CommitHandle, CommitSettings, Committer, Durable};
use crate::config::{self, Config, FileType, FreeForm, Limits, SinkConfig, SinkType, SourceConfig};
use crate::decode::DecodeSettings;
use crate::decode::inflate::{self, InflateLimits};
use crate::encode::interflow::InterflowSettings;
use crate::encode::{EncodeSettings, Encoder, SettingsError};
use crate::marker::import::{self, ImportError};
use crate::retry::Backoff;
use crate::schedule;
use crate::sink::dead_letter::DeadLetters;
use crate::sink::file::{Compression, FileSink, FileSinkSettings};
use crate::sink::stdout::StdoutSink;
use crate::sink::{Sink, SinkError};
use crate::state::disk::DiskState;
use crate::state::history::History;
use crate::state::overlay::OverlayState;
use crate::state::rebuild::KnownSource;
use crate::state::{SourceKey, State, StateError};
use crate::sweep::audit::{self, Audited, Incomplete, Span, Told};
use crate::sweep::mend::{self, Action, Mended, Mending};
use crate::sweep::report::SourceReport;
use crate::sweep::{self, Mode, SweepContext, SweepError, SweepLimits, Swept};
use turn::Turn;

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

/// A source and the bucket that it reads.
pub struct Source {
    /// Its settings.
    pub config: Arc<SourceConfig>,
    encoder: Arc<dyn Encoder>,
    /// Made at the first sweep; a failure is tried again at the next.
    bucket: OnceCell<Arc<dyn Bucket>>,
    /// Who may touch its state now.
    turn: Turn,
}

impl Source {
    /// A source of `whole`; no request is made yet.
    pub fn new(config: &SourceConfig, whole: &Config) -> Result<Self, SettingsError> {
        let interflow = InterflowSettings {
            vendor_object: config.vendor_object.clone(),
            free_form_as_strings: config.free_form == FreeForm::String,
            mask_headers: config.mask_headers.clone(),
            timestamp_field: config.timestamp_field.clone(),
            tenantid: config.tenantid.clone(),
            tenant_name: config.tenant_name.clone(),
            engid_name: Some(whole.instance.clone()),
        };
        let settings = EncodeSettings { interflow, cef: whole.sink.cef.clone() };
        Ok(Source {
            config: Arc::new(config.clone()),
            encoder: whole.sink.encoder.encoder(config.log_type, &settings)?,
            bucket: OnceCell::new(),
            turn: Turn::default(),
        })
    }

    /// The same over another bucket than the one that its settings name.
    #[cfg(feature = "testing")]
    pub fn over(self, bucket: Arc<dyn Bucket>) -> Self {
        Source { bucket: OnceCell::new_with(Some(bucket)), ..self }
    }

    /// The bucket, with its requests counted anew.
    pub async fn metered(
        &self,
        limits: &Limits,
    ) -> Result<(Arc<dyn Bucket>, Arc<RequestCounts>), BucketError> {
        let open = || bucket::open(&self.config.bucket, &self.config.access, timeouts(limits));
        let bucket = self.bucket.get_or_try_init(open).await?.clone();
        let counts = Arc::new(RequestCounts::default());
        Ok((Arc::new(Metered::new(bucket, counts.clone())), counts))
    }
}

/// The time-outs of requests by the limits.
pub fn timeouts(limits: &Limits) -> Timeouts {
    Timeouts {
        connect: limits.connect_timeout,
        first_byte: limits.first_byte_timeout,
        // the client watches bodies too, and must not be the stricter one
        stalled: limits.stall_timeout,
    }
}

/// One instance at work.
pub struct Instance {
    config: Config,
    state: Arc<dyn State>,
    handle: CommitHandle,
    committer: JoinSet<Result<(), CommitError>>,
    limits: Arc<SweepLimits>,
    windows: Buffers,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl Instance {
    /// Takes the state directory and the sink, and brings them to one point.
    pub async fn open(config: Config, options: Options) -> Result<Self, InstanceError> {
        let Options { clock, adopt_state, rebuild_state, give_up, stop } = options;
        let settings = CommitSettings {
            every: config.limits.commit_every,
            bytes: config.limits.commit_bytes,
            operations: config.limits.commit_operations,
            buffer_bytes: config.limits.buffer_bytes,
            sink_timeout: give_up.then_some(config.sink.sink_timeout),
        };
        let (own, its_stop) = (config.clone(), stop.clone());
        let known = rebuild_state.then(|| known_sources(&config, clock.now()));
        let opening = tokio::task::spawn_blocking(move || {
            let state = match &known {
                Some(known) => DiskState::rebuild(&own.state_dir, &own.instance, adopt_state, known)?,
                None => DiskState::open(&own.state_dir, &own.instance, adopt_state)?,
            };
            let state: Arc<dyn State> = Arc::new(state);
            let durable = Durable {
                sink: open_sink(&own.sink)?,
                state: state.clone(),
                dead_letters: DeadLetters::new(&own.sink.dead_letter_path),
                history: open_history(&own.state_dir, &*state)?,
                keep_history: own.history,
            };
            let (committer, handle) = Committer::open(durable, settings, its_stop)?;
            Ok::<_, InstanceError>((state, committer, handle))
        });
        let (state, committer, handle) = opening.await.map_err(|_| CommitError::Stopped)??;
        Ok(Instance {
            limits: Arc::new(SweepLimits::new(&config.limits)),
            windows: collect::windows(config.limits.get_concurrency),
            committer: JoinSet::from_iter([committer.run()]),
            config,
            state,
            handle,
            clock,
            stop,
        })
    }

    /// Sweeps one source once, unless it is paused; ends early when somebody asks for its turn.
    pub async fn sweep(&self, source: &Source) -> Swept {
        let (_turn, stop) = source.turn.sweep(&self.stop).await;
        match (&*self.state as &dyn State).paused(&source.config.name) {
            Ok(None) => self.sweep_now(source, stop).await,
            Ok(Some(since)) => {
                info!(source = source.config.name, %since, "paused: not swept");
                Swept { report: SourceReport::new(&source.config.name), ended: Ok(()) }
            }
            Err(error) => Swept { report: SourceReport::new(&source.config.name), ended: Err(error.into()) },
        }
    }

    async fn sweep_now(&self, source: &Source, stop: CancellationToken) -> Swept {
        let (bucket, counts) = match source.metered(&self.config.limits).await {
            Ok(opened) => opened,
            Err(error) => return Swept::unreachable(&source.config.name, &error),
        };
        let context = self.context(source, bucket.clone(), counts, stop.clone());
        let swept = sweep::sweep(context, |key| self.collector(source, bucket, key, stop)).await;
        summarise(&swept.report);
        swept
    }

    fn context(
        &self,
        source: &Source,
        bucket: Arc<dyn Bucket>,
        counts: Arc<RequestCounts>,
        stop: CancellationToken,
    ) -> SweepContext {
        SweepContext {
            config: source.config.clone(),
            bucket,
            counts,
            state: self.state.clone(),
            clock: self.clock.clone(),
            limits: self.limits.clone(),
            close_spread: self.config.close_spread,
            state_dir: self.config.state_dir.clone(),
            stop,
            mode: Mode::Collect(self.handle.clone()),
        }
    }

    /// Audits one source; see [`audit::audit`].
    pub async fn audit(
        &self,
        source: &Source,
        span: Span,
        tell: mpsc::Sender<Told>,
    ) -> Result<Audited, SweepError> {
        let looker = Looker {
            config: &self.config,
            state: self.state.clone(),
            clock: self.clock.clone(),
            limits: self.limits.clone(),
            stop: self.stop.clone(),
        };
        looker.audit(source, span, tell).await
    }

    /// Collects what an audit of this source found missing, in turn with its sweeps; see
    /// [`audit::repair`].
    pub async fn repair(&self, source: &Source, incomplete: Vec<Incomplete>) -> Swept {
        let (_turn, stop) = source.turn.sweep(&self.stop).await;
        self.repair_now(source, incomplete, stop).await
    }

    /// Audits a source and collects what is missing. The caller holds the source's turn, so that
    /// no prefix closes in between: its objects would be taken for missing.
    async fn audit_and_repair(
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
        let (bucket, counts) = match source.metered(&self.config.limits).await {
            Ok(opened) => opened,
            Err(error) => return Swept::unreachable(&source.config.name, &error),
        };
        let context = self.context(source, bucket.clone(), counts, stop.clone());
        let swept = audit::repair(context, incomplete, |key| self.collector(source, bucket, key, stop)).await;
        summarise(&swept.report);
        swept
    }

    /// Retries or drops quarantined objects of a source: those of `keys`, or all where it is
    /// `None`. What is retried comes with the next sweep.
    pub async fn mend(
        &self,
        source: &SourceConfig,
        keys: Option<&BTreeSet<String>>,
        action: &Action,
    ) -> Result<Vec<Mended>, SweepError> {
        let (state, now) = (&*self.state, self.clock.now());
        let Mending { objects, changes } =
            mend::mend(source, state, &self.config.state_dir, keys, action, now)?;
        for together in changes {
            self.handle.apply(together).await?;
        }
        Ok(objects)
    }

    fn collector(
        &self,
        source: &Source,
        bucket: Arc<dyn Bucket>,
        key: SourceKey,
        stop: CancellationToken,
    ) -> Collector {
        let limits = &self.config.limits;
        Collector {
            settings: CollectSettings {
                source_name: source.config.name.clone(),
                source: key,
                log_type: source.config.log_type,
                file_type: match source.config.file_type {
                    FileType::Auto => inflate::FileType::Auto,
                    FileType::Gzip => inflate::FileType::Gzip,
                    FileType::Text => inflate::FileType::Text,
                    FileType::Parquet => inflate::FileType::Parquet,
                },
                filter: source.config.filter.clone(),
                decode: DecodeSettings {
                    max_record_bytes: limits.max_record_bytes,
                    keep_nodata: source.config.keep_nodata,
                },
                inflate: InflateLimits {
                    max_object_bytes: limits.max_object_bytes,
                    max_ratio: limits.max_inflate_ratio,
                },
                spool_dir: self.config.state_dir.clone(),
                max_page_bytes: limits.max_page_bytes,
                backoff: Backoff::default(),
                stall_timeout: limits.stall_timeout,
                object_timeout: limits.object_timeout,
                get_attempts: limits.get_attempts,
            },
            bucket,
            encoder: source.encoder.clone(),
            committer: self.handle.clone(),
            clock: self.clock.clone(),
            gets: self.limits.gets.clone(),
            windows: self.windows.clone(),
            stop,
        }
    }

    /// Sweeps every source on its recurrence until stopped; the first sweeps begin at once.
    pub async fn run(&self, sources: &[Source]) -> Result<(), SweepError> {
        let loops = sources.iter().map(|source| self.keep_sweeping(source));
        futures_util::future::try_join_all(loops).await.map(|_| ())
    }

    async fn keep_sweeping(&self, source: &Source) -> Result<(), SweepError> {
        let first = Instant::now();
        loop {
            let began = first.elapsed();
            self.sweep(source).await.ended?;
            let wait = schedule::until_next(source.config.recurrence, began, first.elapsed());
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = source.turn.called() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Sweeps every source once, side by side.
    pub async fn once(&self, sources: &[Source]) -> Vec<Swept> {
        futures_util::future::join_all(sources.iter().map(|source| self.sweep(source))).await
    }

    /// The stored state, to be read only.
    pub fn state(&self) -> &Arc<dyn State> {
        &self.state
    }

    /// Stores an export that was found whole.
    pub async fn import(&self, file: &Path) -> Result<u64, ImportError> {
        import::import(file, &*self.state, &self.handle).await
    }

    /// Commits what is left, finishes the open segment, and gives state and sink back. The
    /// error, if any, is why the committer stopped.
    pub async fn close(self) -> Result<(), InstanceError> {
        let Instance { handle, committer, .. } = self;
        Ok(handle.end(committer).await?)
    }
}

/// What looks at sources and changes nothing.
pub struct Looker<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The stored state, which stays as it is.
    pub state: Arc<dyn State>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Shared bounds.
    pub limits: Arc<SweepLimits>,
    /// Cancelled when it is to end early.
    pub stop: CancellationToken,
}

impl Looker<'_> {
    /// Audits one source; see [`audit::audit`].
    pub async fn audit(
        &self,
        source: &Source,
        span: Span,
        tell: mpsc::Sender<Told>,
    ) -> Result<Audited, SweepError> {
        let (bucket, counts) = source.metered(&self.config.limits).await?;
        let context = SweepContext {
            config: source.config.clone(),
            bucket,
            counts,
            state: Arc::new(OverlayState::new(self.state.clone())),
            clock: self.clock.clone(),
            limits: self.limits.clone(),
            close_spread: self.config.close_spread,
            state_dir: self.config.state_dir.clone(),
            stop: self.stop.clone(),
            mode: Mode::Compare,
        };
        audit::audit(context, span, tell).await
    }
}

fn open_sink(sink: &SinkConfig) -> Result<Box<dyn Sink>, SinkError> {
    match (sink.sink_type, &sink.path) {
        (SinkType::File, Some(path)) => {
            let settings = FileSinkSettings {
                path: path.clone(),
                rotate_size: sink.rotate_size,
                rotate_every: sink.rotate_every,
                compression: match sink.compression {
                    config::Compression::None => Compression::None,
                    config::Compression::Gzip => Compression::Gzip,
                    config::Compression::Zstd => Compression::Zstd,
                },
                keep_age: sink.keep_age,
                keep_size: sink.keep_size,
                min_free: sink.min_free,
            };
            // The age of segments is real time, also in a replay.
            Ok(Box::new(FileSink::new(settings, Arc::new(SystemClock))))
        }
        (SinkType::File | SinkType::Stdout, _) => Ok(Box::new(StdoutSink::new(std::io::stdout()))),
    }
}

/// What the configuration tells a rebuild of the state.
fn known_sources(config: &Config, now: DateTime<Utc>) -> Vec<KnownSource> {
    let known = |source: &SourceConfig| KnownSource {
        name: source.name.clone(),
        pattern: source.pattern.clone(),
        record: sweep::open::open(None, source, 1, now).0,
        recheck: source.recheck.clone(),
    };
    config.sources.iter().map(known).collect()
}

fn open_history(state_dir: &Path, state: &dyn State) -> Result<History, CommitError> {
    let committed = state.history()?.into_iter().collect();
    Ok(History::open(state_dir, &committed)?)
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
