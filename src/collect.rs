//! One object: get → inflate → split → filter → encode → committer; and on again where it was left.
//! Parquet is spooled to a file first, and inflates to text.
//!
//! Records are handed over in order. Whatever ends the object early — a cut body, damage, a
//! stop — what was handed over is described by its progress, and the next try begins after it.
//! Memory is the window and one chunk, whatever the object's size.

pub mod body;
mod pace;
#[cfg(feature = "parquet")]
mod parquet;
mod place;
mod window;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::io::{AsyncBufRead, AsyncRead};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::bucket::{Bucket, BucketError, ObjectRef};
use crate::buffers::Buffers;
use crate::clock::Clock;
use crate::commit::{CHUNK, Chunk, CommitError, CommitHandle, ObjectId};
use crate::decode::inflate::{self, FileType, Form, Inflate, InflateError, InflateLimits};
use crate::decode::{self, DecodeSettings, Decoder, Step};
use crate::encode::mask::HeaderMask;
use crate::encode::{Encoder, Origin};
use crate::failpoint;
use crate::failure::{self, Class, Failure};
use crate::filter::Filter;
use crate::record::{LogType, Record};
use crate::retry::Backoff;
use crate::sink::dead_letter::{self, DeadLetter};
use crate::state::{Progress, SourceKey};
use crate::throttle::Throttle;
use body::{Fetch, GetBudget};
use place::Place;
use window::{WINDOW, Window};

/// Looks at the bytes after which damage is believed.
const MAX_DAMAGED_GETS: u32 = 2;

/// What a collector needs to know of its source.
#[derive(Clone, Debug)]
pub struct CollectSettings {
    /// Name of the source.
    pub source_name: String,
    /// The source in the state.
    pub source: SourceKey,
    /// What the objects hold.
    pub log_type: LogType,
    /// gzip, text, Parquet, or by the first bytes.
    pub file_type: FileType,
    /// What becomes of long records, and of those that a rule may leave out.
    pub decode: DecodeSettings,
    /// Which records go on.
    pub filter: Filter,
    /// What is hidden of malformed WAF records; the encoder hides it in all others.
    pub mask: HeaderMask,
    /// Bounds of inflation.
    pub inflate: InflateLimits,
    /// Where an object that is read at any place, as Parquet is, lies meanwhile: a file without
    /// a name in this folder, of at most `max_object_bytes`.
    pub spool_dir: PathBuf,
    /// Most bytes of Parquet pages held at a time, for one object.
    pub max_page_bytes: u64,
    /// Waits between the GETs of one object.
    pub backoff: Backoff,
    /// A body that sends nothing for this long is broken off; another GET goes on there.
    pub stall_timeout: Duration,
    /// How long one object may take in one sweep; waiting for a free GET or for the sink does
    /// not count. The next sweep goes on where it was left.
    pub object_timeout: Duration,
    /// GETs per object and sweep.
    pub get_attempts: u32,
}

/// A stock of windows for so many objects at a time.
pub fn windows(objects: usize) -> Buffers {
    Buffers::new(WINDOW, objects)
}

/// Collects the objects of one source.
pub struct Collector {
    /// What it needs to know.
    pub settings: CollectSettings,
    /// Where objects come from.
    pub bucket: Arc<dyn Bucket>,
    /// The form of the records.
    pub encoder: Arc<dyn Encoder>,
    /// Where records go.
    pub committer: CommitHandle,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Bounds the records per second of the source.
    pub throttle: Option<Arc<Throttle>>,
    /// GETs under way at once, for the whole instance.
    pub gets: Arc<Semaphore>,
    /// Windows that are used again, from [`windows`].
    pub windows: Buffers,
    /// Cancelled when collection is to end at the next window.
    pub stop: CancellationToken,
}

/// How collecting one object ended.
#[derive(Debug)]
pub enum Ending {
    /// All records are handed over.
    Complete,
    /// It failed; `progress` tells what was handed over before.
    Failed(Failure),
    /// The process is asked to stop; the next start goes on after `progress`.
    Stopped,
}

/// What became of one object.
#[derive(Debug)]
pub struct Collected {
    /// How it ended.
    pub ending: Ending,
    /// Where it stands, this run's and earlier runs' records counted.
    pub progress: Progress,
    /// What this run did.
    pub work: Work,
}

/// Work done for one object in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// GET requests.
    pub gets: u32,
    /// Records handed over.
    pub records: u64,
    /// Records left out by rule.
    pub dropped: u64,
    /// Records left out by the user's filters, by the numbers of [`Filter::name`].
    pub filtered: Vec<u64>,
    /// Records sent to the dead-letter file.
    pub dead_letters: u64,
    /// Bytes of bodies.
    pub read: u64,
    /// Bytes after inflating.
    pub inflated: u64,
    /// Bytes handed to the sink.
    pub written: u64,
}

impl Work {
    fn leave_out(&mut self, rule: usize) {
        if self.filtered.len() <= rule {
            self.filtered.resize(rule + 1, 0);
        }
        self.filtered[rule] += 1;
    }
}

/// Why an attempt ended before the object did.
enum Interrupt {
    Failure(Failure, Option<Duration>),
    Stopped,
    /// The object has had its time in this sweep.
    Overdue,
    Commit(CommitError),
}

impl From<CommitError> for Interrupt {
    fn from(error: CommitError) -> Self {
        Interrupt::Commit(error)
    }
}

impl From<BucketError> for Interrupt {
    fn from(error: BucketError) -> Self {
        let asked = error.retry_after;
        Interrupt::Failure(Failure::new(error.class, failure::chain(&error)), asked)
    }
}

fn content(reason: String) -> Interrupt {
    Interrupt::Failure(Failure::new(Class::Content, reason), None)
}

impl Collector {
    /// Collects `object` from its beginning, or after `resume`. An error means that the
    /// committer has stopped; everything else is told by [`Collected`].
    pub async fn collect(
        &self,
        object: &ObjectRef,
        resume: Option<Progress>,
    ) -> Result<Collected, CommitError> {
        let progress = self.progress(object, resume);
        let mut run = Run {
            collector: self,
            object,
            earlier: progress.offset,
            progress,
            work: Work::default(),
            budget: GetBudget::new(self.settings.get_attempts),
            deadline: Instant::now() + self.settings.object_timeout,
            damaged: 0,
            origin: Origin::new(&object.bucket, &object.key, &object.etag),
            unpaid: 0,
            records: Vec::new(),
            dead_letters: Vec::new(),
        };
        let ending = run.with_retries().await?;
        Ok(Collected { ending, progress: run.progress, work: run.work })
    }

    /// Waits for something, unless the process is asked to stop.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Interrupt> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Interrupt::Stopped),
            done = work => Ok(done),
        }
    }

    /// Where an object stands: as `resume` says when that is of this identity, else at its
    /// beginning.
    pub fn progress(&self, object: &ObjectRef, resume: Option<Progress>) -> Progress {
        resume.filter(|progress| progress.etag == object.etag).unwrap_or_else(|| Progress {
            etag: object.etag.clone(),
            ordinal: 0,
            delivered: 0,
            dead_letters: 0,
            offset: 0,
            log_type: self.settings.log_type.word().to_owned(),
            decoder: decode::version(self.settings.log_type),
            unfinished: false,
        })
    }
}

/// One object in flight.
struct Run<'a> {
    collector: &'a Collector,
    object: &'a ObjectRef,
    /// Inflated bytes that earlier runs delivered.
    earlier: u64,
    /// After the last record that was passed; what is still in `records` included.
    progress: Progress,
    work: Work,
    budget: GetBudget,
    /// Moves by what was waited for others than the bucket, and while bytes come that earlier runs
    /// delivered: else a large object would have no time left for new ones.
    deadline: Instant,
    /// GETs that met damage.
    damaged: u32,
    /// Of the record at hand; its time of writing is that of the window.
    origin: Origin,
    /// Records at hand that the throttle has not let through.
    unpaid: u64,
    records: Vec<u8>,
    dead_letters: Vec<u8>,
}

impl Run<'_> {
    async fn with_retries(&mut self) -> Result<Ending, CommitError> {
        loop {
            let attempt = self.attempt().await;
            self.work.gets = self.budget.made();
            // A stop ends the object elsewhere, or comes too late for it.
            let _ = self.pace().await;
            // What was passed before the interruption is good: it is delivered once, now.
            self.hand_over().await?;
            let (failure, asked) = match attempt {
                Ok(()) => return Ok(Ending::Complete),
                Err(Interrupt::Stopped) => return Ok(Ending::Stopped),
                Err(Interrupt::Overdue) => return Ok(self.overdue()),
                Err(Interrupt::Commit(error)) => return Err(error),
                Err(Interrupt::Failure(failure, asked)) => (self.judge(failure), asked),
            };
            self.damaged += u32::from(failure.class == Class::Content);
            if !failure.class.is_retryable() || self.damaged == MAX_DAMAGED_GETS {
                return Ok(Ending::Failed(failure));
            }
            if self.budget.is_spent() {
                return Ok(Ending::Failed(unconfirmed(failure)));
            }
            debug!(key = self.object.key, %failure, tries = self.work.gets, "trying the object again");
            let wait = self.collector.settings.backoff.wait(self.work.gets, asked, fastrand::f64());
            match self.in_time(tokio::time::sleep(wait)).await {
                Ok(()) => {}
                Err(Interrupt::Overdue) => return Ok(self.overdue()),
                Err(_) => return Ok(Ending::Stopped),
            }
        }
    }

    /// Waits for something of the bucket, unless the process is asked to stop or the object has
    /// had its time.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Interrupt> {
        tokio::select! {
            biased;
            () = self.collector.stop.cancelled() => Err(Interrupt::Stopped),
            () = tokio::time::sleep_until(self.deadline) => Err(Interrupt::Overdue),
            done = work => Ok(done),
        }
    }

    fn overdue(&self) -> Ending {
        let seconds = self.collector.settings.object_timeout.as_secs();
        let reason =
            format!("not done within object_timeout, {seconds} s; the next sweep goes on where it is");
        Ending::Failed(Failure::new(Class::Transient, reason))
    }

    /// Damage in an object that may still be written is no damage yet.
    fn judge(&self, failure: Failure) -> Failure {
        match failure.class {
            Class::Content if self.may_be_unfinished() => {
                Failure::new(Class::Transient, format!("{} (the file may still be written)", failure.reason))
            }
            _ => failure,
        }
    }

    fn may_be_unfinished(&self) -> bool {
        self.collector.bucket.may_be_unfinished(self.object.last_modified)
    }

    async fn attempt(&mut self) -> Result<(), Interrupt> {
        let collector = self.collector;
        let waiting = Instant::now();
        let _permit =
            collector.unless_stopped(collector.gets.acquire()).await?.map_err(|_| Interrupt::Stopped)?;
        self.deadline += waiting.elapsed();
        let fetch = Fetch {
            bucket: collector.bucket.clone(),
            budget: self.budget.clone(),
            stall_timeout: collector.settings.stall_timeout,
            backoff: collector.settings.backoff,
            random: fastrand::f64,
        };
        failpoint::hit("before-get");
        let reader = StreamReader::new(fetch.body(self.object).map_err(std::io::Error::other));
        let mut inflated = inflate::reader(reader, collector.settings.file_type, collector.settings.inflate);
        if self.damaged > 0 {
            // the last look at a damaged object: every record before the damage counts
            inflated = inflated.byte_by_byte();
        }
        let read = self.read(&mut inflated).await;
        self.work.read += inflated.stored_bytes();
        read
    }

    /// Reads an object in the form that it has.
    async fn read(
        &mut self,
        object: &mut Inflate<impl AsyncBufRead + Send + Unpin>,
    ) -> Result<(), Interrupt> {
        let form = self.in_time(object.form()).await?;
        match form.map_err(|error| self.classify(error))? {
            Form::Gzip | Form::Text => {
                let split = self.split(object).await;
                self.work.inflated += object.inflated_bytes();
                split
            }
            #[cfg(feature = "parquet")]
            Form::Parquet => self.read_parquet(object).await,
            #[cfg(not(feature = "parquet"))]
            Form::Parquet => {
                Err(content("the object is Parquet: this build lacks the feature `parquet`".to_owned()))
            }
        }
    }

    async fn split(&mut self, inflated: &mut (impl AsyncRead + Unpin + Send)) -> Result<(), Interrupt> {
        let settings = &self.collector.settings;
        let mut decoder = decode::decoder(settings.log_type, &settings.decode).ok_or_else(|| {
            let reason = format!("log type {} has no decoder in this version", settings.log_type.word());
            Interrupt::Failure(Failure::new(Class::Object, reason), None)
        })?;
        let mut window = Window::new(&self.collector.windows);
        let mut at = Place::default();
        let resume = self.progress.clone();
        loop {
            let eof = self.fill(&mut window, inflated).await?;
            if at.offset < self.earlier {
                self.deadline = Instant::now() + settings.object_timeout;
            }
            self.origin.write_at(self.collector.clock.now().timestamp_millis());
            failpoint::hit("mid-body");
            loop {
                match self.step(&mut *decoder, &mut window, &mut at, &resume, eof)? {
                    Next::Record
                        if self.records.len() + self.dead_letters.len() >= CHUNK || self.is_paced() =>
                    {
                        let paced = self.pace().await;
                        self.hand_over().await?;
                        paced?;
                    }
                    Next::Record => {}
                    Next::Fill if eof => return Err(content("the object ends within a record".to_owned())),
                    Next::Fill => break,
                    Next::End => return at.end(&resume),
                }
            }
        }
    }

    async fn fill(
        &self,
        window: &mut Window,
        inflated: &mut (impl AsyncRead + Unpin),
    ) -> Result<bool, Interrupt> {
        match self.in_time(window.fill(inflated)).await? {
            Ok(read) => Ok(read == 0),
            Err(error) => Err(self.classify(error)),
        }
    }

    /// One step of the decoder.
    fn step(
        &mut self,
        decoder: &mut dyn Decoder,
        window: &mut Window,
        at: &mut Place,
        resume: &Progress,
        eof: bool,
    ) -> Result<Next, Interrupt> {
        let step = decoder.next(window.bytes(), eof).map_err(|damage| {
            let offset = at.offset + damage.offset as u64;
            content(format!("{} at byte {offset} of the inflated object", damage.reason))
        })?;
        let consumed = match step {
            Step::Record { record, consumed } => {
                if at.pass(consumed, resume)? {
                    match self.collector.settings.filter.leaves_out(&record) {
                        Some(rule) => self.work.leave_out(rule),
                        None => self.encode(&record, at.ordinal - 1),
                    }
                    self.progress.ordinal = at.ordinal;
                    self.progress.offset = at.offset;
                }
                consumed
            }
            Step::Malformed { raw, reason, consumed } => {
                if at.pass(consumed, resume)? {
                    self.progress.dead_letters += 1;
                    self.work.dead_letters += 1;
                    let raw = match self.collector.settings.log_type {
                        LogType::Waf => self.collector.settings.mask.hide_in_broken(raw),
                        LogType::CloudTrail | LogType::VpcFlow | LogType::Jsonl => raw.into(),
                    };
                    let letter = DeadLetter {
                        source: &self.collector.settings.source_name,
                        bucket: &self.object.bucket,
                        key: &self.object.key,
                        etag: &self.object.etag,
                        record: at.ordinal - 1,
                        reason: &reason,
                        raw: &raw,
                        at: self.collector.clock.now(),
                    };
                    self.dead_letters.extend_from_slice(&dead_letter::encode(&letter));
                    self.progress.ordinal = at.ordinal;
                    self.progress.offset = at.offset;
                }
                consumed
            }
            Step::Dropped { consumed } => {
                if at.pass(consumed, resume)? {
                    self.work.dropped += 1;
                    self.progress.ordinal = at.ordinal;
                    self.progress.offset = at.offset;
                }
                consumed
            }
            Step::More { consumed } => {
                at.offset += consumed as u64;
                window.consume(consumed);
                return Ok(Next::Fill);
            }
            Step::End => return Ok(Next::End),
        };
        window.consume(consumed);
        Ok(Next::Record)
    }

    fn encode(&mut self, record: &Record<'_>, ordinal: u64) {
        self.progress.delivered += 1;
        self.work.records += 1;
        self.unpaid += 1;
        self.origin.ordinal = ordinal;
        if self.records.capacity() == 0 {
            self.records = self.collector.committer.buffer();
        }
        self.collector.encoder.encode(record, &self.origin, &mut self.records);
    }

    async fn hand_over(&mut self) -> Result<(), CommitError> {
        if self.records.is_empty() && self.dead_letters.is_empty() {
            return Ok(());
        }
        failpoint::hit("after-decode");
        self.work.written += self.records.len() as u64;
        self.progress.unfinished = self.may_be_unfinished();
        let chunk = Chunk {
            object: ObjectId { source: self.collector.settings.source, key: self.object.key.clone() },
            records: std::mem::take(&mut self.records),
            dead_letters: std::mem::take(&mut self.dead_letters),
            progress: self.progress.clone(),
        };
        let waiting = Instant::now();
        let written = self.collector.committer.write(chunk).await;
        self.deadline += waiting.elapsed();
        written
    }

    /// An error of the reader is the bucket's, the gzip stream's, or that of a Parquet object.
    fn classify(&self, error: std::io::Error) -> Interrupt {
        match error.downcast::<BucketError>() {
            Ok(bucket) => bucket.into(),
            Err(error) => {
                #[cfg(feature = "parquet")]
                if let Some(interrupt) = parquet::interrupt_of(&error) {
                    return interrupt;
                }
                match InflateError::of(&error) {
                    Some(damage) => content(failure::chain(damage)),
                    None => content(format!("unreadable: {error}")),
                }
            }
        }
    }
}

/// Damage that no GET is left to look at again is not believed yet.
fn unconfirmed(failure: Failure) -> Failure {
    match failure.class {
        Class::Content => {
            let reason =
                format!("{} (the next sweep looks again: no GET is left in this one)", failure.reason);
            Failure::new(Class::Transient, reason)
        }
        _ => failure,
    }
}

/// What follows a step of the decoder.
enum Next {
    Record,
    Fill,
    End,
}

#[cfg(test)]
mod tests;
