//! A world for sweeps: a bucket in memory, a sink in memory, a clock that tests move.

mod power;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use s3sweep::bucket::Bucket;
use s3sweep::bucket::metered::{Metered, RequestCounts};
use s3sweep::clock::Clock;
use s3sweep::collect::{CollectSettings, Collector};
use s3sweep::commit::{CommitSettings, Committer, Durable};
use s3sweep::config::{self, Config};
use s3sweep::decode::DecodeSettings;
use s3sweep::decode::inflate::{FileType, InflateLimits};
use s3sweep::encode::interflow::InterflowSettings;
use s3sweep::encode::interflow::cloudtrail::CloudTrailEncoder;
use s3sweep::retry::Backoff;
use s3sweep::sink::dead_letter::DeadLetters;
use s3sweep::state::history::{self, History};
use s3sweep::state::memory::MemoryState;
use s3sweep::state::overlay::OverlayState;
use s3sweep::state::{Batch, Change, SourceKey, SourceRecord, State};
use s3sweep::sweep::audit::{self, Audited, Incomplete, Span, Told};
use s3sweep::sweep::mend::{self, Action, Mended, Mending};
use s3sweep::sweep::report::SourceReport;
use s3sweep::sweep::{self, Mode, SweepContext, SweepLimits, Swept};
use s3sweep::testing::{FaultyBucket, MemoryBucket};
use s3sweep::throttle::Throttle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use power::{Cut, Fuse, HandSink, Power, SinkFault, Trouble};
use power::{FusedSink, FusedState};

/// A clock that stands where it was put.
#[derive(Clone)]
pub struct HandClock(Arc<Mutex<DateTime<Utc>>>);

impl HandClock {
    pub fn new(now: DateTime<Utc>) -> Self {
        HandClock(Arc::new(Mutex::new(now)))
    }

    pub fn set(&self, now: DateTime<Utc>) {
        *self.0.lock().unwrap() = now;
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// Makes the collector of a source.
type MakeCollector = Box<dyn FnOnce(SourceKey) -> Collector>;

/// How long history is kept unless a test says otherwise.
const KEEP_HISTORY: Duration = Duration::from_secs(400 * 24 * 3600);

/// One source and everything around it.
pub struct World {
    pub fuse: Fuse,
    pub trouble: Trouble,
    pub bucket: MemoryBucket,
    pub faulty: Arc<FaultyBucket<MemoryBucket>>,
    pub sink: HandSink,
    pub clock: HandClock,
    pub state: Arc<dyn State>,
    pub config: Config,
    /// How long history is kept.
    pub keep_history: Duration,
    folder: tempfile::TempDir,
}

/// The instant of a text.
pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A folder whose syncs cost nothing, where there is one.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// The configuration of a world; `settings` are lines of its source's table.
fn configuration(settings: &str) -> Config {
    let text = format!(
        "state_dir = \"/nowhere\"\n[sink]\ntype = \"stdout\"\n[[source]]\nname = \"main\"\n\
         log_type = \"cloudtrail\"\nbucket = \"acme-trail\"\n{settings}\n"
    );
    config::parse(PathBuf::from("world.toml"), &text).unwrap()
}

impl World {
    /// A source over an empty bucket; `settings` are lines of its table.
    pub fn new(now: &str, settings: &str) -> Self {
        let bucket = MemoryBucket::new("acme-trail");
        World {
            fuse: Fuse::default(),
            trouble: Trouble::default(),
            faulty: Arc::new(FaultyBucket::new(bucket.clone(), "acme-trail")),
            bucket,
            sink: HandSink::default(),
            clock: HandClock(Arc::new(Mutex::new(at(now)))),
            state: Arc::new(MemoryState::default()),
            config: configuration(settings),
            keep_history: KEEP_HISTORY,
            folder: folder(),
        }
    }

    /// Changes the settings of the source.
    pub fn configure(&mut self, settings: &str) {
        self.config = configuration(settings);
    }

    /// Puts an object of one record, written at `when`; its event id is the key.
    pub fn put(&self, key: &str, when: DateTime<Utc>) {
        self.put_records(key, &[key.to_owned()], when);
    }

    /// Puts an object with a record for each event id.
    pub fn put_records(&self, key: &str, ids: &[String], when: DateTime<Utc>) {
        self.bucket.put(key, trail_body(ids), when);
    }

    /// Sweeps once, as `once` does, and leaves everything committed.
    pub async fn sweep(&self) -> Swept {
        self.sweep_over(self.faulty.clone()).await
    }

    async fn sweep_over(&self, bucket: Arc<dyn Bucket>) -> Swept {
        let work = |context, collector: MakeCollector| async move { sweep::sweep(context, collector).await };
        self.collecting(bucket, work).await
    }

    /// Collects what an audit found missing.
    pub async fn repair(&self, incomplete: Vec<Incomplete>) -> Swept {
        let work = |context, collector: MakeCollector| async move {
            audit::repair(context, incomplete, collector).await
        };
        self.collecting(self.faulty.clone(), work).await
    }

    /// Audits from `from` to `to`: the sums, and every object.
    pub async fn audit(&self, from: &str, to: &str) -> (Audited, Vec<Told>) {
        let counts = Arc::new(RequestCounts::default());
        let context = SweepContext {
            progress: Default::default(),
            config: Arc::new(self.config.sources[0].clone()),
            bucket: Arc::new(Metered::new(self.faulty.clone() as Arc<dyn Bucket>, counts.clone())),
            counts,
            state: Arc::new(OverlayState::new(self.state.clone())),
            clock: Arc::new(self.clock.clone()),
            limits: Arc::new(SweepLimits::new(&self.config.limits)),
            close_spread: self.config.close_spread,
            keep_history: self.keep_history,
            state_dir: self.folder.path().to_owned(),
            stop: CancellationToken::new(),
            mode: Mode::Compare,
        };
        let span = Span {
            from: at(from),
            to: at(to),
            max_gap: Duration::from_secs(3600),
            keep_history: self.keep_history,
            every_object: true,
        };
        let (tell, mut told) = tokio::sync::mpsc::channel(10);
        let mut all = Vec::new();
        let take = async {
            while let Some(one) = told.recv().await {
                all.push(one);
            }
        };
        let (audited, ()) = tokio::join!(audit::audit(context, span, tell), take);
        (audited.unwrap(), all)
    }

    /// Retries or drops what is quarantined.
    pub fn mend(&self, keys: Option<&BTreeSet<String>>, action: &Action) -> Vec<Mended> {
        let source = &self.config.sources[0];
        let Mending { objects, changes } =
            mend::mend(source, &*self.state, self.folder.path(), keys, action, self.clock.now()).unwrap();
        for together in changes {
            self.state.apply(&Batch(together)).unwrap();
        }
        objects
    }

    /// Writes the history anew without this key, as if it had never been there.
    pub fn forget_in_history(&self, forgotten: &str) {
        for (file, length) in self.state.history().unwrap() {
            let mut frames = history::frames(self.state_dir(), &file, length);
            let (mut kept, mut found) = (Vec::new(), false);
            while let Some(frame) = frames
                .visit_next(|frame| {
                    let header = frame.header().clone();
                    Ok((header, frame.by_ref().collect::<Result<Vec<_>, _>>()?))
                })
                .unwrap()
            {
                found |= frame.1.iter().any(|entry| entry.key == forgotten);
                kept.push(frame);
            }
            if !found {
                continue;
            }
            let mut lengths: BTreeMap<_, _> = self.state.history().unwrap().into_iter().collect();
            lengths.remove(&file);
            let mut anew = History::open(self.state_dir(), &lengths).unwrap();
            for (header, entries) in kept {
                let entries = entries.into_iter().filter(|entry| entry.key != forgotten);
                let appended = anew.append(&header, entries.map(Ok::<_, std::io::Error>)).unwrap();
                self.state.apply(&Batch(vec![Change::PutHistory(appended.file, appended.length)])).unwrap();
            }
        }
    }

    /// The folder with the history.
    pub fn state_dir(&self) -> &Path {
        self.folder.path()
    }

    async fn collecting<F: Future<Output = Swept>>(
        &self,
        bucket: Arc<dyn Bucket>,
        work: impl FnOnce(SweepContext, MakeCollector) -> F,
    ) -> Swept {
        let stop = CancellationToken::new();
        let durable = Durable {
            sink: Box::new(FusedSink::new(&self.sink, &self.fuse, &self.trouble)),
            state: Arc::new(FusedState::new(&self.state, &self.fuse)),
            dead_letters: DeadLetters::new(self.folder.path().join("dead-letter.ndjson")),
            history: History::open(self.folder.path(), &self.state.history().unwrap().into_iter().collect())
                .unwrap(),
            keep_history: self.keep_history,
        };
        let settings = CommitSettings {
            every: Duration::from_secs(1),
            bytes: 1 << 20,
            operations: 120,
            buffer_bytes: 4 << 20,
            sink_timeout: None,
        };
        let (committer, handle) = match Committer::open(durable, settings, stop.clone()) {
            Ok(opened) => opened,
            Err(error) => return Swept { report: SourceReport::new("main"), ended: Err(error.into()) },
        };
        let committer = JoinSet::from_iter([committer.run()]);
        let source = Arc::new(self.config.sources[0].clone());
        let counts = Arc::new(RequestCounts::default());
        let bucket: Arc<dyn Bucket> = Arc::new(Metered::new(bucket, counts.clone()));
        let limits = Arc::new(SweepLimits::new(&self.config.limits));
        let context = SweepContext {
            progress: Default::default(),
            config: source.clone(),
            bucket: bucket.clone(),
            counts,
            state: self.state.clone(),
            clock: Arc::new(self.clock.clone()),
            limits: limits.clone(),
            close_spread: self.config.close_spread,
            keep_history: self.keep_history,
            state_dir: self.folder.path().to_owned(),
            stop: stop.clone(),
            mode: Mode::Collect(handle.clone()),
        };
        let committing = handle.clone();
        let throttle = NonZeroU64::new(source.eps_throttle).map(|rate| Arc::new(Throttle::new(rate)));
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let make: MakeCollector = Box::new(move |source_key| Collector {
            settings: CollectSettings {
                source_name: source.name.clone(),
                source: source_key,
                log_type: source.log_type,
                file_type: FileType::Auto,
                filter: source.filter.clone(),
                mask: Default::default(),
                decode: DecodeSettings { max_record_bytes: 1 << 20, ..Default::default() },
                inflate: InflateLimits { max_object_bytes: 1 << 30, max_ratio: 1000 },
                spool_dir: std::env::temp_dir(),
                max_page_bytes: 1 << 20,
                backoff: Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(4) },
                stall_timeout: Duration::from_secs(30),
                object_timeout: Duration::from_secs(3600),
                get_attempts: 4,
            },
            bucket,
            encoder: Arc::new(CloudTrailEncoder::new(&InterflowSettings::default()).unwrap()),
            committer: committing,
            clock,
            throttle,
            gets: limits.gets.clone(),
            windows: s3sweep::collect::windows(4),
            stop,
        });
        let swept = work(context, make).await;
        match handle.end(committer).await {
            Ok(()) => swept,
            Err(error) => Swept { ended: Err(error.into()), ..swept },
        }
    }

    /// What is stored of the source.
    pub fn record(&self) -> SourceRecord {
        self.state.source("main").unwrap().unwrap()
    }
}

/// An object with a record for each event id.
pub fn trail_body(ids: &[String]) -> String {
    let record = |id: &String| format!(r#"{{"eventID":"{id}","eventTime":"2026-06-01T00:00:00Z"}}"#);
    let records: Vec<_> = ids.iter().map(record).collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

/// A CloudTrail key of 2026 with a suffix of its own.
pub fn trail_key(account: u8, minute: DateTime<Utc>, suffix: u64) -> String {
    let account = 111_122_223_333_u64 + u64::from(account);
    let (day, stamp) = (minute.format("%Y/%m/%d"), minute.format("%Y%m%dT%H%MZ"));
    format!(
        "AWSLogs/{account}/CloudTrail/us-east-1/{day}/{account}_CloudTrail_us-east-1_{stamp}_{suffix:016}.json.gz"
    )
}
