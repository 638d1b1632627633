//! The audit: the bucket is listed again and held against ledger and history.
//!
//! Every listed object of a span of time gets one [`Standing`]. Nothing is stored and no object is
//! read; [`repair`] hands what is missing to the recheck of its prefix, which collects it and
//! completes the history. One leaf holds a page, the ledger's page and the frames of one prefix.

mod coverage;
mod index;
mod report;
mod walk;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::report::Requests;
use super::{SweepContext, SweepError, Sweeper, Swept, open_source, plan};
use crate::collect::Collector;
use crate::failure;
use crate::pattern::{Leaf, PrefixTime};
use crate::state::SourceKey;
pub use coverage::Gap;
pub use index::Frames;
pub(super) use index::{Index, Owner};
pub use report::{Audited, AuditedObject, Counts, Estimate, Standing, Told};

/// What an audit looks at.
#[derive(Clone, Debug)]
pub struct Span {
    /// It begins with the prefixes of this instant.
    pub from: DateTime<Utc>,
    /// It ends with the prefixes of this instant.
    pub to: DateTime<Utc>,
    /// CloudTrail: a longer time without a file is told as a [`Gap`].
    pub max_gap: Duration,
    /// How long history is kept: older closings may be gone.
    pub keep_history: Duration,
    /// Tells every object, not those alone that need a look.
    pub every_object: bool,
}

/// A closed prefix that lacks objects, and what its history holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Head of its leaf.
    pub head: String,
    /// The prefix.
    pub time: PrefixTime,
    /// Its frames.
    pub frames: Frames,
}

/// An audit under way.
struct Audit {
    span: Span,
    index: Index,
    tell: mpsc::Sender<Told>,
    found: Mutex<Audited>,
}

impl Audit {
    fn note(&self, note: impl FnOnce(&mut Audited)) {
        note(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn tell(&self, told: Told) -> Result<(), SweepError> {
        self.tell.send(told).await.map_err(|_| SweepError::Unread)
    }
}

/// Audits a source: what is found is told as it comes, an [`Estimate`] before the first LIST. The
/// context's mode is [`Compare`](super::Mode::Compare), its state an overlay. Not to be run beside a
/// sweep of the same source: what that has in flight would be told as open or missing.
///
/// A leaf that cannot be listed stands in [`Audited::unreachable`]; an error means that the state
/// cannot be read, a stop, or that nobody takes what is told.
pub async fn audit(
    context: SweepContext,
    span: Span,
    tell: mpsc::Sender<Told>,
) -> Result<Audited, SweepError> {
    let (record, _) = open_source(&context).await?;
    let sweeper = Arc::new(Sweeper::new(context, record, None));
    let index = Index::read(&sweeper, &span)?;
    let found = Audited::new(&sweeper.config.name);
    let audit = Audit { span, index, tell, found: Mutex::new(found) };
    audit.tell(Told::Estimate(sweeper.estimate(&audit)?)).await?;
    let leaves = match sweeper.leaves().await {
        Ok(leaves) => leaves,
        Err(SweepError::Bucket(error)) => {
            sweeper.note_unreachable(&error.into());
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    audit.note(|found| found.leaves = leaves.len() as u64);
    let (limit, audited) = (sweeper.limits.list_concurrency, &audit);
    stream::iter(leaves)
        .map(|leaf| sweeper.audit_leaf(leaf, audited))
        .buffer_unordered(limit)
        .fold(Ok(()), |so_far, one| async { so_far.and(one) })
        .await?;
    let report = sweeper.final_report(Instant::now());
    let mut found = audit.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.lost_history = audit.index.into_lost();
    found.unreachable = report.unreachable;
    found.requests = Requests::of(&sweeper.counts);
    found.cost_usd = found.requests.cost_usd(&sweeper.config.prices);
    Ok(found)
}

/// Collects what an audit found missing: each prefix is listed once more as at a recheck, and what
/// is collected goes to the history. What fails is tried again by the next sweeps.
pub async fn repair(
    context: SweepContext,
    incomplete: Vec<Incomplete>,
    collector: impl FnOnce(SourceKey) -> Collector,
) -> Swept {
    let began = Instant::now();
    let name = context.config.name.clone();
    match open_source(&context).await {
        Ok((record, opened)) => {
            let collector = collector(record.key());
            let sweeper = Arc::new(Sweeper::new(context, record, Some(collector)));
            let ended = async {
                sweeper.open(&opened).await?;
                sweeper.recheck_now(incomplete).await
            };
            let ended = ended.await;
            Swept { report: sweeper.final_report(began), ended }
        }
        Err(error) => Swept { report: super::SourceReport::new(&name), ended: Err(error) },
    }
}

impl Sweeper {
    /// What an audit will cost, from the leaves and objects that are known.
    fn estimate(&self, audit: &Audit) -> Result<Estimate, SweepError> {
        let mut estimate = Estimate { source: self.config.name.clone(), ..Estimate::default() };
        let page = u64::from(self.config.list_page_size.max(1));
        for (head, record) in self.state.leaves(self.key, None, usize::MAX)? {
            let Some(leaf) = self.config.pattern.leaf(&head).filter(|_| !record.dropped) else { continue };
            let markers: BTreeMap<_, _> = self.state.markers(self.key, &head)?.into_iter().collect();
            estimate.leaves += 1;
            let (first, last) = self.audited_times(&leaf, &audit.span);
            for listing in plan::in_full(&leaf, first, last) {
                let mut known = 0;
                for time in leaf.times(first, last).filter(|time| listing.covered.contains(*time)) {
                    estimate.prefixes += 1;
                    known += audit.index.objects(&head, time);
                    known += markers.get(&time).map_or(0, |marker| marker.below_floor);
                }
                estimate.objects += known;
                estimate.lists += known / page + 1;
            }
        }
        estimate.cost_usd = self.config.prices.cost(estimate.lists, 0);
        Ok(estimate)
    }

    /// The prefixes of a leaf that a span covers; none after now, since they have not begun.
    fn audited_times(&self, leaf: &Leaf, span: &Span) -> (PrefixTime, PrefixTime) {
        (leaf.time_of(span.from), leaf.time_of(span.to.min(self.clock.now())))
    }

    /// A leaf that cannot be listed is named; the others go on.
    async fn audit_leaf(&self, leaf: Arc<Leaf>, audit: &Audit) -> Result<(), SweepError> {
        match self.walk_leaf(&leaf, audit).await {
            Err(SweepError::Bucket(error)) => {
                tracing::warn!(leaf = leaf.name(), error = failure::chain(&error), "not audited");
                let text = format!("{}: {}", leaf.name(), failure::chain(&error));
                self.tally(|report| report.cannot_reach(text));
                Ok(())
            }
            walked => walked,
        }
    }
}
