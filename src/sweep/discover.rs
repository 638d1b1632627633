//! Finding leaves by delimiter, and the dates that exist below a new one.
//!
//! A discovery only adds. It is stored, and trusted for `discover_every`, only when every page of
//! every folder came; a failure is reported and the known leaves are swept.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tracing::warn;

use super::plan::{RECENT, back};
use super::{SweepError, Sweeper, open};
use crate::bucket::{ListPage, ListRequest};
use crate::pattern::{Dates, Discovery, FolderQuery, Leaf, PrefixPattern, PrefixTime};
use crate::state::{Change, LeafRecord, Marker};

/// What a discovery found.
#[derive(Debug, Default)]
pub struct Discovered {
    /// Leaves, complete or not.
    pub leaves: Vec<Leaf>,
    /// Why it is not complete.
    pub failures: Vec<SweepError>,
}

impl Sweeper {
    /// The leaves of this sweep: known ones, and those that a discovery adds.
    pub(super) async fn leaves(&self) -> Result<Vec<Arc<Leaf>>, SweepError> {
        let known = self.state.leaves(self.key, None, usize::MAX)?;
        let now = self.clock.ours();
        let discovered_at = self.state.source(&self.config.name)?.and_then(|record| record.discovered_at);
        let trusted = discovered_at.is_some_and(|at| {
            at <= now && (now - at).to_std().is_ok_and(|age| age < self.config.discover_every)
        });
        let mut leaves: Vec<(Leaf, LeafRecord)> = known
            .into_iter()
            .filter_map(|(head, record)| Some((self.config.pattern.leaf(&head)?, record)))
            .collect();
        if !trusted {
            self.add_discovered(&mut leaves).await?;
        }
        let live = leaves.into_iter().filter(|(_, record)| !record.dropped);
        let live: Vec<_> = live.map(|(leaf, _)| Arc::new(leaf)).collect();
        self.tally(|report| report.leaves = report.leaves.max(live.len() as u64));
        Ok(live)
    }

    async fn add_discovered(&self, leaves: &mut Vec<(Leaf, LeafRecord)>) -> Result<(), SweepError> {
        let now = self.clock.ours();
        let mut found = self.discover().await?;
        let known: HashSet<&str> = leaves.iter().map(|(leaf, _)| leaf.head()).collect();
        let (seen, new): (Vec<_>, Vec<_>) =
            found.leaves.drain(..).partition(|leaf| known.contains(leaf.head()));
        let mut changes = Vec::new();
        let mut added = Vec::new();
        for leaf in new {
            match self.new_leaf(&leaf).await {
                Ok((record, stored)) => {
                    changes.extend(stored);
                    added.push((leaf, record));
                }
                Err(SweepError::Bucket(error)) => found.failures.push(error.into()),
                Err(error) => return Err(error),
            }
        }
        let _settling = self.settling.lock().await;
        if found.failures.is_empty() {
            changes.extend(self.drop_absent(leaves, &seen)?);
        }
        leaves.extend(added);
        if leaves.is_empty() && found.failures.is_empty() {
            // Not trusted either: what is configured today may well begin to log tomorrow.
            warn!(source = self.config.name, pattern = %self.config.pattern, "nothing in the bucket matches the pattern yet");
        } else if found.failures.is_empty() {
            // Behind the leaves that it found.
            changes.push(self.updated_source(|record| record.discovered_at = Some(now))?);
        }
        for failure in &found.failures {
            self.note_unreachable(failure);
        }
        self.store(changes).await
    }

    /// Drops the leaves that a complete discovery did not see and of which nothing is open, and takes
    /// back those that are there again.
    fn drop_absent(
        &self,
        leaves: &mut [(Leaf, LeafRecord)],
        seen: &[Leaf],
    ) -> Result<Vec<Change>, SweepError> {
        let seen: HashSet<&str> = seen.iter().map(Leaf::head).collect();
        let mut changes = Vec::new();
        for (leaf, record) in leaves {
            let head = leaf.head();
            let is_idle = || -> Result<bool, SweepError> {
                Ok(self.state.markers(self.key, head)?.is_empty() && !self.failed.holds_any(head))
            };
            let dropped = !seen.contains(head) && is_idle()?;
            if record.dropped != dropped {
                // A pass beside this discovery may have closed prefixes since the record was read.
                let stored = self.state.leaf(self.key, head)?.unwrap_or_else(|| record.clone());
                *record = LeafRecord { dropped, ..stored };
                changes.push(Change::PutLeaf(self.key, head.to_owned(), record.clone()));
            }
        }
        Ok(changes)
    }

    /// A leaf seen for the first time; where prefixes are no range, with the dates that exist.
    async fn new_leaf(&self, leaf: &Leaf) -> Result<(LeafRecord, Vec<Change>), SweepError> {
        let mut record = open::new_leaf(leaf, self.record.start);
        let mut changes = Vec::new();
        if leaf.pattern().step().is_some() && !leaf.pattern().is_range() {
            let (dates, now) = self.dates(leaf, record.closed_through).await?;
            // What was over shortly before may still come: only older dates are known to be all.
            let sparse = self.closing_rule(leaf).first_not_due(leaf, back(now, RECENT));
            // A rebuilt state knows closed prefixes of leaves that it does not know.
            let known = self.state.markers(self.key, leaf.head())?;
            let known: BTreeSet<_> = known.into_iter().map(|(time, _)| time).collect();
            for time in dates.range(..sparse).copied().filter(|time| !known.contains(time)) {
                let marker = Box::new(Marker::default());
                changes.push(Change::PutMarker(self.key, leaf.head().to_owned(), time, marker));
            }
            record.sparse_until = Some(sparse).filter(|sparse| record.closed_through < *sparse);
        }
        changes.push(Change::PutLeaf(self.key, leaf.head().to_owned(), record.clone()));
        Ok((record, changes))
    }

    /// Walks the wildcards left of the first date, folder by folder, in parallel.
    async fn discover(&self) -> Result<Discovered, SweepError> {
        let concurrency = self.limits.list_concurrency;
        let (leaves, failures) =
            discover_leaves(&self.config.pattern, concurrency, |query| self.folders(query)).await;
        // once stopped, every question still waiting is answered so at once
        if failures.iter().any(|failure| matches!(failure, SweepError::Stopped)) {
            return Err(SweepError::Stopped);
        }
        Ok(Discovered { leaves, failures })
    }

    async fn folders(&self, query: FolderQuery) -> Result<Vec<Discovery>, SweepError> {
        let mut found = Vec::new();
        self.each_page(query.prefix(), |page| {
            found.extend(page.folders.iter().filter_map(|folder| query.accept(folder)));
        })
        .await?;
        Ok(found)
    }

    /// The dates that exist below a leaf, from `first` on, and the time at which that was so.
    async fn dates(
        &self,
        leaf: &Leaf,
        first: PrefixTime,
    ) -> Result<(BTreeSet<PrefixTime>, DateTime<Utc>), SweepError> {
        let (mut now, mut times) = (self.clock.ours(), BTreeSet::new());
        let mut waiting: Vec<_> = leaf.dates().into_iter().collect();
        while let Some(query) = waiting.pop() {
            self.each_page(query.prefix(), |page| {
                now = now.min(self.clock.earlier(&self.config.name, self.clock.ours(), page.date));
                let keys = page.objects.iter().map(|object| object.key.as_str());
                for name in page.folders.iter().map(String::as_str).chain(keys) {
                    match query.accept(name) {
                        Some(Dates::At(time)) if time >= first => {
                            times.insert(time);
                        }
                        // Years before the start are not looked into.
                        Some(Dates::Deeper(query)) if query.latest() >= first => waiting.push(query),
                        Some(Dates::At(_) | Dates::Deeper(_)) | None => {}
                    }
                }
            })
            .await?;
        }
        Ok((times, now))
    }

    async fn each_page(&self, prefix: &str, mut take: impl FnMut(&ListPage)) -> Result<(), SweepError> {
        let mut request = ListRequest {
            prefix: prefix.to_owned(),
            start_after: None,
            by_folder: true,
            token: None,
            page_size: self.config.list_page_size,
        };
        loop {
            let page = self.page(&request).await?;
            take(&page);
            if page.next.is_none() {
                return Ok(());
            }
            request.token = page.next;
        }
    }
}

/// The leaves of a pattern in byte order, as far as `folders` finds them, and its failures.
/// `folders` lists the folders that a query asks for, and is called `concurrency` times at once.
pub async fn discover_leaves<E, F>(
    pattern: &PrefixPattern,
    concurrency: usize,
    folders: impl Fn(FolderQuery) -> F,
) -> (Vec<Leaf>, Vec<E>)
where
    F: Future<Output = Result<Vec<Discovery>, E>>,
{
    let (mut leaves, mut failures, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    sort_in(pattern.discovery(), &mut leaves, &mut waiting);
    let mut asking = FuturesUnordered::new();
    loop {
        while asking.len() < concurrency
            && let Some(query) = waiting.pop()
        {
            asking.push(folders(query));
        }
        match asking.next().await {
            Some(Ok(discoveries)) => {
                discoveries.into_iter().for_each(|found| sort_in(found, &mut leaves, &mut waiting));
            }
            Some(Err(error)) => failures.push(error),
            None => break,
        }
    }
    leaves.sort_by(|one, other| one.head().cmp(other.head()));
    (leaves, failures)
}

fn sort_in(discovery: Discovery, leaves: &mut Vec<Leaf>, waiting: &mut Vec<FolderQuery>) {
    match discovery {
        Discovery::Leaf(leaf) => leaves.push(leaf),
        Discovery::Folders(query) => waiting.push(query),
    }
}
