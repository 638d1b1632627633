//! A sink whose commits are timed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::{self, Metrics};
use crate::sink::{Position, Sink, SinkError};

/// Times the commits of a sink, and is that sink otherwise.
pub(in crate::service) struct TimedSink {
    inner: Box<dyn Sink>,
    metrics: Arc<Metrics>,
}

impl TimedSink {
    /// Times the commits of `inner`.
    pub fn new(inner: Box<dyn Sink>, metrics: Arc<Metrics>) -> Self {
        TimedSink { inner, metrics }
    }

    /// A write that fails ends the commit it belongs to.
    fn count_failed(&self, written: Result<(), SinkError>) -> Result<(), SinkError> {
        if written.is_err() {
            self.metrics.add(&metrics::COMMITS, &["failed"], 1);
        }
        written
    }
}

impl Sink for TimedSink {
    fn recover(&mut self, committed: Option<&Position>) -> Result<(), SinkError> {
        self.inner.recover(committed)
    }

    fn write(&mut self, records: &[u8]) -> Result<(), SinkError> {
        let written = self.inner.write(records);
        self.count_failed(written)
    }

    fn write_parts(&mut self, parts: &[Vec<u8>]) -> Result<(), SinkError> {
        let written = self.inner.write_parts(parts);
        self.count_failed(written)
    }

    fn commit(&mut self, finish: bool) -> Result<Position, SinkError> {
        let began = Instant::now();
        let committed = self.inner.commit(finish);
        let outcome = if committed.is_ok() { "ok" } else { "failed" };
        self.metrics.add(&metrics::COMMITS, &[outcome], 1);
        if committed.is_ok() {
            self.metrics.observe(&metrics::COMMIT_DURATION, &[], began.elapsed().as_secs_f64());
        }
        committed
    }

    fn seal(&mut self) -> Result<(), SinkError> {
        self.inner.seal()
    }

    fn due_in(&self) -> Option<Duration> {
        self.inner.due_in()
    }
}
