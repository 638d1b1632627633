//! How far the sweep of a source is, for whoever watches it meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::report::{Requests, SourceReport};
use crate::bucket::metered::RequestCounts;

/// The sweep, preview or audit of a source that is under way, or the last one.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: Arc<RequestCounts>,
    seen: Seen,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests to the bucket.
    pub requests: Requests,
    /// Objects that listings showed; an audit counts its own.
    pub listed: u64,
    /// Objects that are settled, or failed.
    pub done: u64,
    /// Records delivered.
    pub records: u64,
}

impl Progress {
    /// Begins anew, with the requests that are counted here.
    pub(super) fn begin(&self, counts: Arc<RequestCounts>) {
        *self.inner() = Inner { counts, seen: Seen::default() };
    }

    /// Notes how far a report is.
    pub(super) fn note(&self, report: &SourceReport) {
        let objects = &report.objects;
        let seen = &mut self.inner().seen;
        seen.listed = objects.listed;
        seen.done = objects.collected + objects.empty + objects.failed + objects.quarantined;
        seen.records = report.records;
    }

    /// What was done so far.
    pub fn seen(&self) -> Seen {
        let inner = self.inner();
        Seen { requests: Requests::of(&inner.counts), ..inner.seen }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
