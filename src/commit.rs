//! The committer: the only caller of the sink's `commit` and of `state.apply`, for all sources.
//!
//! Collectors hand it encoded records and, after the last of an object, what settles it. It
//! gathers them into a group; when the group is due it writes and syncs the sink, then applies
//! ONE batch {settled objects, progress of those in flight, positions}, then answers. Nothing is
//! settled before it is durable; a crash at any point leaves sink and state at one group's edge.

mod close;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::buffers::Buffers;
use crate::failpoint;
use crate::failure;
use crate::pattern::{Leaf, PrefixTime};
use crate::retry::Backoff;
use crate::sink::dead_letter::DeadLetters;
use crate::sink::{Position, Sink, SinkError};
use crate::state::history::{Appended, History, HistoryEntry, HistoryError, HistoryHeader};
use crate::state::{Batch, Change, Progress, Recheck, SourceKey, State, StateError};
use close::{apply_in_parts, clean_up, close};

/// Messages that wait for the committer; their bytes are bounded by the buffer.
const QUEUE: usize = 256;
/// Settled objects that wait for their answer after which a group is due: half of those that may
/// be in flight, so that the others go on meanwhile.
const GROUP_WAITING: usize = 32;
/// With answers waiting, a group is due when nothing more came for this long.
const LULL: Duration = Duration::from_millis(10);
/// Encoded bytes handed over together.
pub const CHUNK: usize = 128 * 1024;
/// Ledger entries deleted per batch.
const CLEANUP_BATCH: usize = 150;

/// When a group is due, and how long a sink may be down.
#[derive(Clone, Debug)]
pub struct CommitSettings {
    /// After this time from its first record.
    pub every: Duration,
    /// At this many encoded bytes.
    pub bytes: usize,
    /// At this many state operations; progress of objects in flight comes on top and has to stay
    /// below [`crate::state::MAX_BATCH`] with them.
    pub operations: usize,
    /// Encoded bytes that may wait, the group included.
    pub buffer_bytes: usize,
    /// Give up when the sink has been down this long; `None` waits for ever.
    pub sink_timeout: Option<Duration>,
}

/// Which object something belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId {
    /// Its source.
    pub source: SourceKey,
    /// Its key.
    pub key: String,
}

/// Encoded records of one object, in order, and where the object stands after them.
#[derive(Debug)]
pub struct Chunk {
    /// The object.
    pub object: ObjectId,
    /// Whole lines.
    pub records: Vec<u8>,
    /// Whole lines for the dead-letter file.
    pub dead_letters: Vec<u8>,
    /// Progress after these records.
    pub progress: Progress,
}

/// What ends an object in this sweep.
#[derive(Debug)]
pub struct Settlement {
    /// The object.
    pub object: ObjectId,
    /// What is stored with its last records.
    pub changes: Vec<Change>,
    /// Whether stored progress stays: the object is tried again later.
    pub keep_progress: bool,
}

/// Prefixes of one source that close together.
#[derive(Debug)]
pub struct Closing {
    /// The source.
    pub source: SourceKey,
    /// Its name, for the history.
    pub source_name: String,
    /// The prefixes that have ledger entries.
    pub prefixes: Vec<(Leaf, PrefixTime)>,
    /// What closes them in the state.
    pub changes: Vec<Change>,
    /// What is known of their rechecks: how many were done, with the frames so far, and when the
    /// next one is due. `None`: there are no more.
    pub recheck: Option<(DateTime<Utc>, Recheck)>,
    /// The number of the recheck (from 1) that found the ledger entries of a prefix closed long
    /// ago; `None` where prefixes close.
    pub found_by: Option<u32>,
    /// The time of closing.
    pub at: DateTime<Utc>,
}

/// Why the committer stopped.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The history files.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A fault of the program below the committer. What is stored is whole, and nothing more is
    /// written. Exit code 4.
    #[error(
        "a fault of the program while sink or state were written ({what}); the next start goes on \
         from what is stored"
    )]
    Panicked {
        /// What the panic said.
        what: String,
    },
    /// The committer ended before it answered.
    #[error("the committer has stopped")]
    Stopped,
}

impl CommitError {
    /// Why a task of the committer did not end by itself.
    pub fn of_task(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => CommitError::Panicked { what: failure::panic_text(&*panic).to_owned() },
            Err(_) => CommitError::Stopped,
        }
    }
}

enum Message {
    Write(Chunk, OwnedSemaphorePermit),
    Settle(Settlement, oneshot::Sender<()>),
    Apply(Vec<Change>, oneshot::Sender<()>),
    Close(Box<Closing>, oneshot::Sender<()>),
    CleanUp(SourceKey, Box<Leaf>, PrefixTime, oneshot::Sender<()>),
    Append(Box<HistoryHeader>, Vec<HistoryEntry>, oneshot::Sender<Appended>),
    Flush(oneshot::Sender<()>),
}

/// The way to the committer; clones share it.
#[derive(Clone)]
pub struct CommitHandle {
    sender: mpsc::Sender<Message>,
    buffer: Arc<Semaphore>,
    buffer_bytes: usize,
    chunks: Buffers,
}

impl CommitHandle {
    /// An empty buffer for the records of a chunk, with room for somewhat more than [`CHUNK`].
    pub fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.chunks.take();
        buffer.clear();
        buffer
    }

    /// Hands over records; waits while the buffer is full. Not cancel safe in the middle of an
    /// object: a dropped future may or may not have handed them over.
    pub async fn write(&self, chunk: Chunk) -> Result<(), CommitError> {
        // what the buffers take up, not what is in them
        let bytes = (chunk.records.capacity() + chunk.dead_letters.capacity()).clamp(1, self.buffer_bytes);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit =
            self.buffer.clone().acquire_many_owned(permits).await.map_err(|_| CommitError::Stopped)?;
        self.sender.send(Message::Write(chunk, permit)).await.map_err(|_| CommitError::Stopped)
    }

    /// Settles an object; returns when that and all its records are durable.
    pub async fn settle(&self, settlement: Settlement) -> Result<(), CommitError> {
        self.ask(|answer| Message::Settle(settlement, answer)).await
    }

    /// Applies changes that may be repeated (floors, discoveries), in as many batches as needed.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.ask(|answer| Message::Apply(changes, answer)).await
    }

    /// Closes prefixes: history first, then one batch, then their ledger is deleted.
    pub async fn close(&self, closing: Closing) -> Result<(), CommitError> {
        self.ask(|answer| Message::Close(Box::new(closing), answer)).await
    }

    /// Deletes the ledger of a prefix that an earlier run closed.
    pub async fn clean_up(&self, source: SourceKey, leaf: Leaf, time: PrefixTime) -> Result<(), CommitError> {
        self.ask(|answer| Message::CleanUp(source, Box::new(leaf), time, answer)).await
    }

    /// Appends one frame to the history. It counts once the state holds the file's length: until
    /// then the next start cuts it.
    pub async fn append(
        &self,
        header: HistoryHeader,
        entries: Vec<HistoryEntry>,
    ) -> Result<Appended, CommitError> {
        self.ask(|answer| Message::Append(Box::new(header), entries, answer)).await
    }

    /// Commits what was handed over so far.
    pub async fn flush(&self) -> Result<(), CommitError> {
        self.ask(Message::Flush).await
    }

    /// Lets go of the committer and waits for its end: it commits the rest once every handle is
    /// gone. Returns why it stopped early, if it did.
    pub async fn end(self, mut committer: JoinSet<Result<(), CommitError>>) -> Result<(), CommitError> {
        drop(self);
        let ended = committer.join_next().await.ok_or(CommitError::Stopped)?;
        ended.map_err(CommitError::of_task)?
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, CommitError> {
        let (answer, answered) = oneshot::channel();
        self.sender.send(message(answer)).await.map_err(|_| CommitError::Stopped)?;
        answered.await.map_err(|_| CommitError::Stopped)
    }
}

/// Everything durable, which only one thread touches at a time.
pub struct Durable {
    /// Where records go.
    pub sink: Box<dyn Sink>,
    /// What survives a restart.
    pub state: Arc<dyn State>,
    /// Where malformed records go.
    pub dead_letters: DeadLetters,
    /// Ledgers of closed prefixes.
    pub history: History,
    /// How long those are kept.
    pub keep_history: Duration,
}

/// The committer, to be spawned once by whoever owns the instance.
pub struct Committer {
    durable: Option<Durable>,
    position: Option<Position>,
    dead_letter_length: u64,
    receiver: mpsc::Receiver<Message>,
    settings: CommitSettings,
    group: Group,
    with_progress: HashSet<ObjectId>,
    chunks: Buffers,
    stop: CancellationToken,
}

/// What is to become durable together.
#[derive(Default)]
struct Group {
    records: Vec<Vec<u8>>,
    dead_letters: Vec<u8>,
    bytes: usize,
    progress: HashMap<ObjectId, Progress>,
    changes: Vec<Change>,
    answers: Vec<oneshot::Sender<()>>,
    permits: Vec<OwnedSemaphorePermit>,
    began: Option<Instant>,
    last: Option<Instant>,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.began.is_none()
    }

    fn touch(&mut self) {
        let now = Instant::now();
        self.began.get_or_insert(now);
        self.last = Some(now);
    }

    /// Due by age, or in a lull while someone waits for an answer.
    fn due_at(&self, every: Duration) -> Option<Instant> {
        let by_age = self.began? + every;
        let by_lull = self.last.filter(|_| !self.answers.is_empty()).map(|last| last + LULL);
        Some(by_lull.map_or(by_age, |lull| lull.min(by_age)))
    }
}

impl Committer {
    /// Brings sink, dead letters and history to what the state says, and makes the committer.
    /// When it stops for a reason, `stop` is cancelled. Blocks.
    pub fn open(
        mut durable: Durable,
        settings: CommitSettings,
        stop: CancellationToken,
    ) -> Result<(Committer, CommitHandle), CommitError> {
        let (stored, stored_length) = (durable.state.sink()?, durable.state.dead_letter()?);
        durable.sink.recover(stored.as_ref())?;
        durable.dead_letters.recover(stored_length)?;
        // Where recovery ended is stored before the first record: a crash in the first commit
        // would otherwise leave an open segment that the state does not know.
        let (position, dead_letter_length) = (durable.sink.commit(false)?, durable.dead_letters.sync()?);
        if stored.as_ref() != Some(&position) || stored_length != Some(dead_letter_length) {
            let changes = vec![Change::PutSink(position.clone()), Change::PutDeadLetter(dead_letter_length)];
            durable.state.apply(&Batch(changes))?;
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let chunks = Buffers::new(CHUNK + CHUNK / 8, settings.buffer_bytes / CHUNK);
        let handle = CommitHandle {
            sender,
            buffer: Arc::new(Semaphore::new(settings.buffer_bytes)),
            buffer_bytes: settings.buffer_bytes,
            chunks: chunks.clone(),
        };
        let committer = Committer {
            durable: Some(durable),
            position: Some(position),
            dead_letter_length,
            receiver,
            settings,
            group: Group::default(),
            with_progress: HashSet::new(),
            chunks,
            stop,
        };
        Ok((committer, handle))
    }

    /// Serves until every handle is dropped, then commits the rest and finishes the open
    /// segment. Returns what was durable last.
    pub async fn run(mut self) -> Result<(), CommitError> {
        let ended = self.serve().await;
        if let Err(error) = &ended {
            // Answers of the group are dropped: whoever waits learns that nothing was settled.
            error!(error = %failure::chain(error), "the committer stops");
            self.stop.cancel();
        }
        ended
    }

    async fn serve(&mut self) -> Result<(), CommitError> {
        loop {
            let message = match self.due_at() {
                Some(at) => match tokio::time::timeout_at(at, self.receiver.recv()).await {
                    Ok(message) => message,
                    Err(_) => {
                        self.commit(false).await?;
                        continue;
                    }
                },
                None => self.receiver.recv().await,
            };
            match message {
                Some(message) => self.take(message).await?,
                None => return self.commit(true).await,
            }
        }
    }

    fn due_at(&self) -> Option<Instant> {
        let group = self.group.due_at(self.settings.every);
        let segment =
            self.durable.as_ref().and_then(|durable| durable.sink.due_in()).map(|due| Instant::now() + due);
        group.into_iter().chain(segment).min()
    }

    async fn take(&mut self, message: Message) -> Result<(), CommitError> {
        match message {
            Message::Write(chunk, permit) => self.take_chunk(chunk, permit),
            Message::Settle(settlement, answer) => self.take_settlement(settlement, answer),
            Message::Flush(answer) => {
                self.commit(false).await?;
                reply(answer, ());
                return Ok(());
            }
            Message::Apply(changes, answer) => {
                self.commit(false).await?;
                self.with_durable(move |durable| apply_in_parts(&*durable.state, changes)).await?;
                reply(answer, ());
                return Ok(());
            }
            Message::Close(closing, answer) => {
                self.commit(false).await?;
                self.with_durable(move |durable| close(durable, *closing)).await?;
                reply(answer, ());
                return Ok(());
            }
            Message::Append(header, entries, answer) => {
                let appended = self
                    .with_durable(move |durable| {
                        let entries = entries.into_iter().map(Ok::<_, HistoryError>);
                        let appended = durable.history.append(&header, entries)?;
                        durable.history.sync()?;
                        Ok(appended)
                    })
                    .await?;
                reply(answer, appended);
                return Ok(());
            }
            Message::CleanUp(source, leaf, time, answer) => {
                self.with_durable(move |durable| Ok(clean_up(&*durable.state, source, &[(*leaf, time)])?))
                    .await?;
                reply(answer, ());
                return Ok(());
            }
        }
        if self.is_due() { self.commit(false).await } else { Ok(()) }
    }

    fn take_chunk(&mut self, chunk: Chunk, permit: OwnedSemaphorePermit) {
        let group = &mut self.group;
        group.touch();
        group.bytes += chunk.records.len() + chunk.dead_letters.len();
        group.dead_letters.extend_from_slice(&chunk.dead_letters);
        if !chunk.records.is_empty() {
            group.records.push(chunk.records);
        }
        group.permits.push(permit);
        group.progress.insert(chunk.object, chunk.progress);
    }

    fn take_settlement(&mut self, settlement: Settlement, answer: oneshot::Sender<()>) {
        let group = &mut self.group;
        group.touch();
        if !settlement.keep_progress {
            group.progress.remove(&settlement.object);
            if self.with_progress.remove(&settlement.object) {
                let ObjectId { source, key } = settlement.object;
                group.changes.push(Change::DeleteProgress(source, key));
            }
        }
        group.changes.extend(settlement.changes);
        group.answers.push(answer);
    }

    fn is_due(&self) -> bool {
        // By age here too: while messages keep coming nobody waits for the timer.
        let is_old = self.group.began.is_some_and(|began| began.elapsed() >= self.settings.every);
        is_old
            || self.group.bytes >= self.settings.bytes
            || self.group.changes.len() >= self.settings.operations
            || self.group.answers.len() >= GROUP_WAITING
    }

    /// Makes the group durable: sink, then one batch, then the answers.
    async fn commit(&mut self, finish: bool) -> Result<(), CommitError> {
        let segment_due =
            self.durable.as_ref().and_then(|durable| durable.sink.due_in()).is_some_and(|due| due.is_zero());
        if self.group.is_empty() && !finish && !segment_due {
            return Ok(());
        }
        let group = std::mem::take(&mut self.group);
        let records = Arc::new(group.records);
        if !records.is_empty() || !group.dead_letters.is_empty() || finish || segment_due {
            self.commit_sink(records.clone(), Arc::new(group.dead_letters), finish).await?;
            failpoint::hit("after-fsync-before-state");
        }
        let mut changes = group.changes;
        for (object, progress) in group.progress {
            changes.push(Change::PutProgress(object.source, object.key.clone(), Box::new(progress)));
            self.with_progress.insert(object);
        }
        changes.extend(self.position.clone().map(Change::PutSink));
        changes.push(Change::PutDeadLetter(self.dead_letter_length));
        self.with_durable(move |durable| Ok(durable.state.apply(&Batch(changes))?)).await?;
        if self.position.as_ref().is_some_and(|position| position.sealed) {
            self.seal().await?;
        }
        Arc::into_inner(records).into_iter().flatten().for_each(|records| self.chunks.give(records));
        drop(group.permits);
        group.answers.into_iter().for_each(|answer| reply(answer, ()));
        Ok(())
    }

    /// Writes and syncs; a sink that is down is tried until it takes the whole group, going back
    /// to the last committed position each time.
    async fn commit_sink(
        &mut self,
        records: Arc<Vec<Vec<u8>>>,
        dead_letters: Arc<Vec<u8>>,
        finish: bool,
    ) -> Result<(), CommitError> {
        let (before, dead_before) = (self.position.clone(), self.dead_letter_length);
        self.until_up(move |durable, again| {
            if again {
                durable.sink.recover(before.as_ref())?;
                durable.dead_letters.recover(Some(dead_before))?;
            }
            durable.sink.write_parts(&records)?;
            durable.dead_letters.append(&dead_letters)?;
            let position = durable.sink.commit(finish)?;
            Ok((position, durable.dead_letters.sync()?))
        })
        .await
        .map(|(position, dead_letter_length)| {
            self.position = Some(position);
            self.dead_letter_length = dead_letter_length;
        })
    }

    async fn seal(&mut self) -> Result<(), CommitError> {
        let position = self.position.clone();
        self.until_up(
            move |durable, again| {
                if again { durable.sink.recover(position.as_ref()) } else { durable.sink.seal() }
            },
        )
        .await
    }

    /// Repeats `work` with backoff while the sink is down.
    async fn until_up<T: Send + 'static>(
        &mut self,
        work: impl Fn(&mut Durable, bool) -> Result<T, SinkError> + Clone + Send + 'static,
    ) -> Result<T, CommitError> {
        let began = Instant::now();
        let backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(15) };
        let mut tries = 0;
        loop {
            let again = tries > 0;
            let attempt = work.clone();
            let result = self.with_durable(move |durable| Ok(attempt(durable, again))).await?;
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error @ SinkError::Down { .. }) => error,
                Err(other) => return Err(other.into()),
            };
            tries += 1;
            let down_for = began.elapsed();
            if self.settings.sink_timeout.is_some_and(|limit| down_for >= limit) {
                return Err(error.into());
            }
            warn!(error = %failure::chain(&error), ?down_for, "the sink is down; nothing is settled meanwhile");
            tokio::select! {
                () = tokio::time::sleep(backoff.wait(tries, None, fastrand::f64())) => {}
                () = self.stop.cancelled() => return Err(error.into()),
            }
        }
    }

    /// Runs blocking work on a thread that may block.
    async fn with_durable<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Durable) -> Result<T, CommitError> + Send + 'static,
    ) -> Result<T, CommitError> {
        let mut durable = self.durable.take().ok_or(CommitError::Stopped)?;
        let joined = tokio::task::spawn_blocking(move || {
            let result = work(&mut durable);
            (durable, result)
        })
        .await;
        // A panic in there leaves the durable things in an unknown state: nothing more is done.
        let (durable, result) = joined.map_err(CommitError::of_task)?;
        self.durable = Some(durable);
        result
    }
}

fn reply<T>(answer: oneshot::Sender<T>, value: T) {
    // Whoever asked may have been stopped meanwhile; what was asked for is done all the same.
    let _ = answer.send(value);
}

#[cfg(test)]
pub(crate) mod fakes;
#[cfg(test)]
mod tests;
