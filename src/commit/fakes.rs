//! A sink, a state and the rest of what a committer needs, all in memory but the history, with
//! one log of the calls that they got.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::state::Pair;
use crate::state::memory::MemoryState;

pub(crate) const SOURCE: SourceKey = SourceKey { id: 1, generation: 1 };

/// What the fakes saw and what they are told to do, shared.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Inner>>);

#[derive(Default)]
pub(crate) struct Inner {
    /// The calls in their order.
    pub log: Vec<String>,
    /// Sizes of the applied batches.
    pub batches: Vec<usize>,
    /// Bytes in the sink: those before `committed` are durable.
    pub bytes: Vec<u8>,
    pub committed: Position,
    /// So many of the next calls of these names fail: the sink is down.
    pub down: BTreeMap<&'static str, u32>,
    /// The state refuses batches from this one on, counted from 0.
    pub fail_from: Option<usize>,
    /// The next commit seals.
    pub seal_next: bool,
    pub due_in: Option<Duration>,
    sealed_open: bool,
    /// What the sink held when each batch was applied.
    pub bytes_at_apply: Vec<u64>,
}

impl Script {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log so far, which begins anew.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().log)
    }

    /// What a reader of the sink sees that is durable.
    pub(crate) fn durable_text(&self) -> String {
        let inner = self.inner();
        String::from_utf8(inner.bytes[..inner.committed.length as usize].to_vec()).expect("text")
    }
}

impl Inner {
    fn call(&mut self, name: &'static str, text: String) -> Result<(), SinkError> {
        self.log.push(text);
        match self.down.get_mut(name) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Err(SinkError::Down { what: "scripted".into(), source: io::Error::other("disk full") })
            }
            _ => Ok(()),
        }
    }
}

pub(crate) struct FakeSink(pub Script);

impl Sink for FakeSink {
    fn recover(&mut self, committed: Option<&Position>) -> Result<(), SinkError> {
        let mut inner = self.0.inner();
        let length = committed.map_or(0, |position| position.length);
        inner.call("recover", format!("recover {length}"))?;
        assert!(length as usize <= inner.bytes.len(), "the state is ahead of the sink");
        inner.bytes.truncate(length as usize);
        inner.committed = committed.cloned().unwrap_or_default();
        inner.sealed_open = false;
        Ok(())
    }

    fn write(&mut self, records: &[u8]) -> Result<(), SinkError> {
        let mut inner = self.0.inner();
        assert!(!inner.sealed_open, "a write into a sealed segment");
        let text = format!("write {}", String::from_utf8_lossy(records).trim_end().replace('\n', ","));
        let failed = inner.call("write", text);
        // A failed write may have left a part behind.
        let part = if failed.is_err() { records.len() / 2 } else { records.len() };
        inner.bytes.extend_from_slice(&records[..part]);
        failed
    }

    fn commit(&mut self, finish: bool) -> Result<Position, SinkError> {
        let mut inner = self.0.inner();
        inner.call("commit", format!("commit{}", if finish { " finish" } else { "" }))?;
        let sealed = (finish || inner.seal_next) && !inner.bytes.is_empty();
        inner.seal_next = false;
        inner.due_in = None;
        let length = inner.bytes.len() as u64;
        inner.committed = Position { length, sealed, sequence: 1, ..Position::default() };
        inner.sealed_open = sealed;
        Ok(inner.committed.clone())
    }

    fn seal(&mut self) -> Result<(), SinkError> {
        let mut inner = self.0.inner();
        inner.call("seal", "seal".into())?;
        inner.sealed_open = false;
        Ok(())
    }

    fn due_in(&self) -> Option<Duration> {
        self.0.inner().due_in
    }
}

/// A state in memory that logs its batches and can refuse them.
pub(crate) struct LoggedState {
    pub inner: MemoryState,
    pub script: Script,
}

impl State for LoggedState {
    fn apply(&self, batch: &Batch) -> Result<(), StateError> {
        let mut inner = self.script.inner();
        let words: Vec<_> = batch.0.iter().map(word).collect();
        inner.log.push(format!("apply {}", words.join(" ")));
        inner.batches.push(batch.0.len());
        let length = inner.committed.length;
        inner.bytes_at_apply.push(length);
        if inner.fail_from.is_some_and(|from| inner.batches.len() > from) {
            return Err(StateError::Damaged { what: "scripted".into() });
        }
        self.inner.apply(batch)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        self.inner.scan(from, to, limit)
    }
}

fn word(change: &Change) -> String {
    match change {
        Change::PutEntry(_, key, _) => format!("+entry:{key}"),
        Change::DeleteEntry(_, key) => format!("-entry:{key}"),
        Change::PutProgress(_, key, progress) => format!("+progress:{key}@{}", progress.offset),
        Change::DeleteProgress(_, key) => format!("-progress:{key}"),
        Change::PutSink(position) => format!("sink@{}", position.length),
        Change::PutDeadLetter(length) => format!("dead@{length}"),
        Change::PutHistory(..) => "+history".into(),
        Change::DeleteHistory(_) => "-history".into(),
        Change::PutCleanup(_, _, time) => format!("+cleanup:{time}"),
        Change::DeleteCleanup(_, _, time) => format!("-cleanup:{time}"),
        Change::PutLeaf(_, head, _) => format!("+leaf:{head}"),
        Change::PutMarker(_, _, time, _) => format!("+marker:{time}"),
        other => format!("{other:?}"),
    }
}

/// A committer at work on the fakes.
pub(crate) struct Bench {
    pub script: Script,
    pub state: Arc<dyn State>,
    pub folder: Arc<tempfile::TempDir>,
    pub handle: CommitHandle,
    pub tasks: JoinSet<Result<(), CommitError>>,
    pub stop: CancellationToken,
}

pub(crate) fn settings() -> CommitSettings {
    CommitSettings {
        every: Duration::from_secs(1),
        bytes: 1000,
        operations: 120,
        buffer_bytes: 4000,
        sink_timeout: None,
    }
}

impl Bench {
    pub(crate) fn new(settings: CommitSettings) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("temporary folder"));
        let script = Script::default();
        let state = Arc::new(LoggedState { inner: MemoryState::default(), script: script.clone() });
        let bench = Self::open(settings, script, state, folder).expect("a fresh state opens");
        bench.script.take_log();
        bench.script.inner().batches.clear();
        bench.script.inner().bytes_at_apply.clear();
        bench
    }

    /// A committer on what an earlier one left.
    pub(crate) fn open(
        settings: CommitSettings,
        script: Script,
        state: Arc<dyn State>,
        folder: Arc<tempfile::TempDir>,
    ) -> Result<Self, CommitError> {
        let lengths = state.history()?.into_iter().collect();
        let durable = Durable {
            sink: Box::new(FakeSink(script.clone())),
            state: state.clone(),
            dead_letters: DeadLetters::new(folder.path().join("dead.ndjson")),
            history: History::open(folder.path(), &lengths)?,
            keep_history: Duration::from_secs(400 * 24 * 3600),
        };
        let stop = CancellationToken::new();
        let (committer, handle) = Committer::open(durable, settings, stop.clone())?;
        let mut tasks = JoinSet::new();
        tasks.spawn(committer.run());
        Ok(Bench { script, state, folder, handle, tasks, stop })
    }

    /// Lets the committer end and returns how it did.
    pub(crate) async fn end(self) -> Result<(), CommitError> {
        self.handle.end(self.tasks).await
    }
}
