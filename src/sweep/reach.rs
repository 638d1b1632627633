//! Whether a source lets us list and read: what it refuses alone is not the fault of one object.

use std::sync::PoisonError;

use tracing::warn;

use super::{PAGE, SweepError, Sweeper};
use crate::failure;
use crate::state::{FailedObject, LastSweep, StateError};

/// A source that refuses this many leaves, and answered none, is given up for this sweep.
const UNREACHABLE_LEAVES: usize = 3;
/// A source that refuses this many GETs, and answered none, is unreachable: a missing permission
/// must not quarantine every object.
const REFUSED_GETS: usize = 3;

/// How many leaves, and how many GETs, were answered or refused.
#[derive(Default)]
pub(super) struct Reachability {
    pub answered: usize,
    pub refused: usize,
    /// The sweep or live round in which a GET was answered last.
    pub read_in: Option<u64>,
    /// Of objects that may be refused because all are.
    pub gets_refused: usize,
    /// What the first of those said.
    pub refusal: Option<String>,
}

impl Sweeper {
    pub(super) fn note_unreachable(&self, error: &SweepError) {
        let text = failure::chain(error);
        warn!(source = self.config.name, error = text, "a part of the source could not be listed");
        self.tally(|report| report.cannot_reach(text));
    }

    pub(super) fn is_given_up(&self) -> bool {
        let seen = self.reachability();
        seen.answered == 0 && seen.refused >= UNREACHABLE_LEAVES
    }

    pub(super) fn reachability(&self) -> std::sync::MutexGuard<'_, Reachability> {
        self.unreachable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every LIST was refused.
    pub(super) fn refuses_lists(&self) -> bool {
        let seen = self.reachability();
        seen.answered == 0 && seen.refused > 0
    }

    /// Whether every LIST or every GET was refused: then it is the source, not the objects.
    pub(super) fn refuses_all(&self) -> Result<bool, StateError> {
        let lists_refused = self.refuses_lists();
        let (read, gets_refused) = {
            let seen = self.reachability();
            (seen.read_in.is_some(), seen.gets_refused)
        };
        if read || (gets_refused == 0 && !lists_refused) {
            return Ok(false);
        }
        let failed = self.state.all_failed(self.key, None, PAGE)?;
        let doubtful = failed.iter().filter(|(_, failed)| !self.is_refused_alone(failed)).count();
        Ok(lists_refused || gets_refused >= REFUSED_GETS || doubtful >= REFUSED_GETS)
    }

    /// Whether others were read since this object failed first: it is refused alone, also in a
    /// sweep that finds nothing new to read.
    pub(super) fn is_refused_alone(&self, failed: &FailedObject) -> bool {
        self.record.readable_in.is_some_and(|read| failed.since <= read)
    }

    /// Stores how the sweep ended, for `status`.
    pub(super) async fn note_end(&self) -> Result<(), SweepError> {
        let refusal = self.reachability().refusal.take();
        if let Some(refusal) = refusal
            && self.refuses_all()?
        {
            self.tally(|report| {
                if report.unreachable.is_empty() {
                    report.cannot_reach(format!("every GET was refused: {refusal}"));
                }
            });
        }
        let identity = self.identity().await;
        let mut last =
            LastSweep { at: self.clock.ours(), records: 0, collected: 0, unreachable: None, identity };
        self.tally(|report| {
            last.records = report.records;
            last.collected = report.objects.collected;
            last.unreachable = report.unreachable.first().cloned();
        });
        let read_in = self.reachability().read_in;
        let ended = self.updated_source(|record| {
            record.last_sweep = Some(last);
            record.readable_in = record.readable_in.max(read_in);
        })?;
        self.store(vec![ended]).await
    }
}
