//! The beginning of a sweep: the record of its source, and what an earlier run left to do.

use tracing::{info, warn};

use super::open::{self, Opened};
use super::{Mode, PAGE, SweepContext, SweepError, Sweeper, zone};
use crate::failpoint;
use crate::state::{Batch, Change, SourceKey, SourceRecord, State};

/// Reads the source's record, or makes it; what changed is stored before this returns.
pub(super) async fn open_source(context: &SweepContext) -> Result<(SourceRecord, Opened), SweepError> {
    let _one_at_a_time = context.limits.opening.lock().await;
    let known = context.state.source(&context.config.name)?;
    let free_id = context.state.sources()?.iter().map(|(_, record)| record.id + 1).max().unwrap_or(1);
    let (record, opened) = open::open(known.clone(), &context.config, free_id, context.clock.now());
    if let Some(known) = known.filter(|_| opened == Opened::Floors) {
        zone::reopen(context, &known).await?;
    }
    // Stored before anything fails in this sweep: the next one tries that again, however this ends.
    let record = SourceRecord { sweeps: record.sweeps + 1, ..record };
    let put = Change::PutSource(context.config.name.clone(), Box::new(record.clone()));
    if opened == Opened::Generation {
        failpoint::hit("at-generation-change");
    }
    store(&context.mode, &*context.state, vec![put]).await?;
    Ok((record, opened))
}

/// Stores changes that may be repeated; a preview's state is an overlay, which keeps them.
pub(super) async fn store(mode: &Mode, state: &dyn State, changes: Vec<Change>) -> Result<(), SweepError> {
    match mode {
        Mode::Collect(committer) => Ok(committer.apply(changes).await?),
        Mode::Preview(_) | Mode::Compare => Ok(state.apply(&Batch(changes))?),
    }
}

impl Sweeper {
    /// Stores what opening changed, and does what an earlier run left to do.
    pub(super) async fn open(&self, opened: &Opened) -> Result<(), SweepError> {
        self.failed.read(&*self.state, self.key)?;
        let source = &self.config.name;
        match opened {
            Opened::AsBefore => {}
            Opened::New => info!(source, start = %self.record.start, "new source"),
            Opened::Generation => {
                let in_flight = self.state.all_progress(SourceKey {
                    generation: self.key.generation.saturating_sub(1),
                    ..self.key
                })?;
                let keys: Vec<_> = in_flight.iter().map(|(key, _)| key.as_str()).collect();
                warn!(
                    source,
                    in_flight = ?keys,
                    "bucket or pattern changed: markers are cleared, and all that matches since {} is collected",
                    self.record.start
                );
            }
            Opened::Floors => {
                warn!(
                    source,
                    "timezone, file_pattern or lateness changed: floors are reset, the ledger is kept"
                );
            }
        }
        let Mode::Collect(committer) = &self.mode else { return Ok(()) };
        for (head, time) in self.state.cleanups(self.key)? {
            if let Some(leaf) = self.config.pattern.leaf(&head) {
                committer.clean_up(self.key, leaf, time).await?;
            }
        }
        for generation in self.record.stale.iter().copied() {
            let old = SourceKey { generation, ..self.key };
            loop {
                failpoint::hit("at-generation-change");
                let keys = self.state.stale_keys(old, PAGE)?;
                if keys.is_empty() {
                    break;
                }
                committer.apply(keys.into_iter().map(Change::DeleteStale).collect()).await?;
            }
            let done = self.updated_source(|record| record.stale.retain(|stale| *stale != generation))?;
            committer.apply(vec![done]).await?;
        }
        Ok(())
    }

    /// How much a change of bucket or pattern brought, once all of it was listed.
    pub(super) fn tell_collected_anew(&self) {
        self.tally(|report| {
            let counts = &report.objects;
            let objects = counts.collected + counts.empty + counts.failed + counts.quarantined;
            warn!(
                source = self.config.name,
                objects, "found after the change of bucket or pattern, and collected anew"
            );
        });
    }
}
