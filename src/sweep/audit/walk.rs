//! One leaf: its prefixes listed in full, each key held against ledger and history in byte order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::coverage::Coverage;
use super::{Audit, AuditedObject, Incomplete, Standing, Told};
use crate::bucket::{ListRequest, ObjectRef};
use crate::pattern::{Leaf, PrefixTime};
use crate::record::LogType;
use crate::state::{LedgerEntry, Outcome};
use crate::sweep::list::{Cursor, Verdict};
use crate::sweep::plan::{self, Covered, LeafView, Listing};
use crate::sweep::recheck::History;
use crate::sweep::report::Skip;
use crate::sweep::{SweepError, Sweeper};

/// A listing of one leaf under way.
struct Walk<'a> {
    audit: &'a Audit,
    view: &'a LeafView,
    listing: &'a Listing,
    ledger: Cursor,
    /// The history of the prefixes that the listing is in: one, unless they share a literal.
    history: BTreeMap<PrefixTime, Option<History>>,
    incomplete: BTreeSet<PrefixTime>,
    last_key: Option<String>,
}

/// What follows a key.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    End,
}

impl Sweeper {
    /// Audits one leaf.
    pub(super) async fn walk_leaf(&self, leaf: &Arc<Leaf>, audit: &Audit) -> Result<(), SweepError> {
        let view = self.view(leaf)?;
        let (first, last) = self.audited_times(leaf, &audit.span);
        let mut coverage = (self.config.log_type == LogType::CloudTrail).then(|| {
            let from = audit.span.from.max(self.record.start);
            let end = leaf.prefix(leaf.time_of(audit.span.to)).until.unwrap_or(audit.span.to);
            Coverage::new(leaf.name(), from, end.min(self.clock.now()), audit.span.max_gap)
        });
        for listing in plan::in_full(leaf, first, last) {
            let mut walk = Walk {
                audit,
                view: &view,
                listing: &listing,
                ledger: Cursor::new(&listing),
                history: BTreeMap::new(),
                incomplete: BTreeSet::new(),
                last_key: None,
            };
            self.walk(&mut walk, coverage.as_mut()).await?;
            audit.note(|found| {
                found.incomplete.extend(walk.incomplete.into_iter().map(|time| Incomplete {
                    head: leaf.head().to_owned(),
                    time,
                    frames: audit.index.frames(leaf.head(), time),
                }));
            });
        }
        match coverage.and_then(Coverage::end) {
            Some(gap) => self.tell_gap(audit, gap).await,
            None => Ok(()),
        }
    }

    async fn walk(&self, walk: &mut Walk<'_>, mut coverage: Option<&mut Coverage>) -> Result<(), SweepError> {
        let mut request = ListRequest {
            prefix: walk.listing.prefix.clone(),
            start_after: walk.listing.start_after.clone(),
            by_folder: false,
            token: None,
            page_size: self.config.list_page_size,
        };
        loop {
            let page = self.page(&request).await?;
            for object in &page.objects {
                if let Some(last) = walk.last_key.as_deref().filter(|last| *last >= object.key.as_str()) {
                    return Err(self.out_of_order(&request.prefix, last, &object.key).into());
                }
                walk.last_key = Some(object.key.clone());
                if self.look_at(walk, object, coverage.as_deref_mut()).await? == Flow::End {
                    return Ok(());
                }
            }
            match page.next {
                Some(token) => request.token = Some(token),
                None => return Ok(()),
            }
        }
    }

    async fn look_at(
        &self,
        walk: &mut Walk<'_>,
        object: &ObjectRef,
        coverage: Option<&mut Coverage>,
    ) -> Result<Flow, SweepError> {
        let Some(time) = walk.view.leaf.prefix_of_key(&object.key) else {
            if walk.listing.covered.is_before(&walk.view.leaf, &object.key) {
                return Ok(Flow::End);
            }
            let skip = if object.key.ends_with('/') { Skip::Folder } else { Skip::Pattern };
            self.say(walk, object, Standing::Skipped(skip), None).await?;
            return Ok(Flow::On);
        };
        if !walk.listing.covered.contains(time) {
            let past = matches!(walk.listing.covered, Covered::Range(_, last) if time > last);
            return Ok(if past { Flow::End } else { Flow::On });
        }
        let (standing, entry) = self.standing(walk, object, time)?;
        let is_file = !matches!(standing, Standing::Skipped(Skip::Digest | Skip::Pattern | Skip::Folder));
        if let Some(gap) = coverage.filter(|_| is_file).and_then(|coverage| coverage.file(&object.key)) {
            self.tell_gap(walk.audit, gap).await?;
        }
        if standing == Standing::Missing {
            walk.incomplete.insert(time);
        }
        self.say(walk, object, standing, entry).await?;
        Ok(Flow::On)
    }

    /// What became of a listed object of the prefix `time`, and what is written of it.
    fn standing(
        &self,
        walk: &mut Walk<'_>,
        object: &ObjectRef,
        time: PrefixTime,
    ) -> Result<(Standing, Option<LedgerEntry>), SweepError> {
        let is_open = walk.view.is_open(time);
        let mut entry = walk.ledger.find(self, &object.key)?;
        if entry.is_none() && !is_open {
            entry = self.in_history(walk, time, &object.key)?;
            // markers that were set back may have let it be collected all the same
            let leaf = &walk.view.leaf;
            let is_before = entry.is_none() && time < leaf.time_of(self.record.start);
            if is_before && walk.audit.index.frames(leaf.head(), time).closed_at.is_none() {
                return Ok((Standing::Skipped(Skip::BeforeStart), None));
            }
        }
        match self.judge(walk.view, object, entry.clone())? {
            Verdict::Skip(reason) => Ok((Standing::Skipped(reason), entry)),
            Verdict::Settled(entry) => Ok((settled(&entry), Some(entry))),
            Verdict::Overwritten(entry) => Ok((Standing::Skipped(Skip::Overwritten), Some(entry))),
            Verdict::Failed { .. } => Ok((Standing::Failed, None)),
            Verdict::New if is_open => Ok((self.still_open(walk.view, object, time)?, None)),
            Verdict::New => Ok((walk.closed_without(time), None)),
        }
    }

    fn still_open(
        &self,
        view: &LeafView,
        object: &ObjectRef,
        time: PrefixTime,
    ) -> Result<Standing, SweepError> {
        if self.state.progress(self.key, &object.key)?.is_some() {
            return Ok(Standing::InFlight);
        }
        let floor = view.markers.get(&time).and_then(|marker| marker.floor.as_ref());
        let below = floor.is_some_and(|floor| object.key <= *floor);
        Ok(if below { Standing::BelowFloor } else { Standing::Open })
    }

    /// What the history has of a key.
    fn in_history(
        &self,
        walk: &mut Walk<'_>,
        time: PrefixTime,
        key: &str,
    ) -> Result<Option<LedgerEntry>, SweepError> {
        if matches!(walk.listing.covered, Covered::Range(..)) {
            walk.history.retain(|begun, _| *begun == time); // days rise: the others are over
        }
        if !walk.history.contains_key(&time) {
            let frames = walk.audit.index.frames(walk.view.leaf.head(), time);
            walk.history.insert(time, History::open(&self.state_dir, &frames.places)?);
        }
        match walk.history.get_mut(&time) {
            Some(Some(history)) => Ok(history.find(key)?),
            Some(None) | None => Ok(None),
        }
    }

    async fn say(
        &self,
        walk: &Walk<'_>,
        object: &ObjectRef,
        standing: Standing,
        entry: Option<LedgerEntry>,
    ) -> Result<(), SweepError> {
        let (records, reason) = match entry {
            Some(entry) => (Some(entry.records), entry.reason),
            None => (None, None),
        };
        walk.audit.note(|found| found.counts.count(standing, records.unwrap_or(0)));
        if !standing.is_notable() && !walk.audit.span.every_object {
            return Ok(());
        }
        let told = AuditedObject {
            key: object.key.clone(),
            size: object.size,
            last_modified: object.last_modified,
            standing: standing.word(),
            records,
            reason,
        };
        self.unless_stopped(walk.audit.tell(Told::Object(told))).await?
    }

    async fn tell_gap(&self, audit: &Audit, gap: super::Gap) -> Result<(), SweepError> {
        audit.note(|found| found.gap_count += 1);
        self.unless_stopped(audit.tell(Told::Gap(gap))).await?
    }
}

impl Walk<'_> {
    /// An object of a closed prefix that neither ledger nor history has.
    fn closed_without(&self, time: PrefixTime) -> Standing {
        let (index, leaf) = (&self.audit.index, &self.view.leaf);
        if index.is_lost(leaf, time) {
            Standing::Unknown
        } else if index.is_expired(leaf, time) {
            Standing::Expired
        } else {
            Standing::Missing
        }
    }
}

fn settled(entry: &LedgerEntry) -> Standing {
    match entry.outcome {
        Outcome::Collected => Standing::Delivered,
        Outcome::Empty => Standing::Empty,
        Outcome::Quarantined => Standing::Quarantined,
        Outcome::Replaced => Standing::Skipped(Skip::Replaced),
        Outcome::Gone => Standing::Skipped(Skip::Gone),
        Outcome::Dropped => Standing::Dropped,
    }
}
