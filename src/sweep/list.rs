//! One listing: pages of keys, merge-joined with ledger and failed keys, each key judged once.
//!
//! All of them rise in byte order, so memory is a page of each. A listing that ends
//! early, repeats or goes back is an error: what it saw moves no floor and closes nothing.

use std::cmp::Ordering::{Equal, Less};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tracing::{debug, warn};

use super::plan::{Covered, LeafView, Listing, back};
use super::recheck::History;
use super::report::Skip;
use super::{Found, Pass, SweepError, Sweeper};
use crate::bucket::{BucketError, ListPage, ListRequest, ObjectRef};
use crate::config::{KeyOrder, OnOverwrite};
use crate::failpoint;
use crate::failure::Class;
use crate::layout;
use crate::pattern::{PrefixTime, just_before};
use crate::state::{Change, FailedObject, Forgotten, LedgerEntry, Outcome, StateError};

/// LIST requests per page.
const MAX_LISTS: u32 = 4;
/// Ledger entries or failed keys read at once.
const STATE_PAGE: usize = 1000;
/// A range of backlog is settled in parts of about this many new objects.
const BACKLOG_UNIT: u64 = 10_000;
/// Ledger changes that one listing may bring; the rest follows with the next sweep.
const MAX_CHANGES: usize = 10_000;
/// Overwritten objects that are warned of one by one.
const WARNED_OVERWRITES: usize = 20;

/// What one listing saw.
#[derive(Debug)]
pub struct Listed {
    /// What was listed.
    pub listing: Listing,
    /// The earlier of our clock and the bucket's when it began.
    pub now: DateTime<Utc>,
    /// What was seen of each covered prefix that has keys or ledger entries.
    pub seen: BTreeMap<PrefixTime, Seen>,
    /// Where a part of the backlog ended: the first prefix that is still to be listed.
    pub next: Option<PrefixTime>,
    /// Open prefixes whose keys were left out, since they wait for failed objects.
    pub jumped: BTreeSet<PrefixTime>,
    /// Changes of the ledger that listing alone brings.
    pub changes: Vec<Change>,
    /// Failed keys that it lacks.
    pub gone: Vec<(String, FailedObject)>,
    /// Settled keys that leave the ledger once the marker says so ([`Seen::forgotten`]).
    pub forget: Vec<String>,
}

impl Listed {
    /// A listing that has seen nothing yet.
    pub fn new(listing: Listing, now: DateTime<Utc>) -> Self {
        Listed {
            listing,
            now,
            seen: BTreeMap::new(),
            next: None,
            jumped: BTreeSet::new(),
            changes: Vec::new(),
            gone: Vec::new(),
            forget: Vec::new(),
        }
    }
}

/// What a listing saw of one prefix.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The largest key such that it and all before it are settled and old enough.
    pub floor: Option<String>,
    /// Keys up to there.
    pub below_floor: u64,
    /// A key that is not settled or too young was seen: the floor stays before it.
    pub stopped: bool,
    /// The largest matched key and when it was written.
    pub newest: Option<(String, DateTime<Utc>)>,
    /// Whether anything of it is, or will be, in the ledger.
    pub has_entries: bool,
    /// What leaves the ledger.
    pub forgotten: Option<Forgotten>,
}

/// What becomes of a listed key.
pub(super) enum Verdict {
    Skip(Skip),
    Settled(LedgerEntry),
    /// Settled under another ETag, which alone counts.
    Overwritten(LedgerEntry),
    /// Kept by name: counted where it is tried again, unless it `waits` for another sweep.
    Failed {
        waits: bool,
    },
    New,
}

/// A listing under way.
struct Walk<'a> {
    view: &'a LeafView,
    listed: Listed,
    ledger: Cursor,
    failed: Cursor<FailedObject>,
    last_key: Option<String>,
    new_objects: u64,
    /// Whether the page held a key of an open prefix.
    useful: bool,
    limit: Option<u64>,
    /// A recheck: what the history says of the prefix; finds are late.
    history: Option<History>,
    /// Keys settled before this may lie below a floor.
    floor_cutoff: Option<DateTime<Utc>>,
    /// Objects written before this are older than the history.
    forget_before: DateTime<Utc>,
}

/// How a listing is run.
pub(super) enum Kind {
    /// To its end.
    Whole,
    /// It may end early, told by [`Listed::next`].
    InParts,
    /// Once more, over a closed prefix, against its history.
    Recheck(History),
}

/// What follows a key or page.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    End,
}

/// Where a listing goes on after a page.
#[derive(Debug, PartialEq, Eq)]
enum Jump {
    /// At the next page.
    None,
    /// After this key: what lies before it is not to be listed.
    To(String),
    /// Nowhere: nothing that follows is to be listed.
    End,
}

impl Sweeper {
    /// Runs one listing, handing new objects to `pass`.
    pub(super) async fn list(
        self: &Arc<Self>,
        view: &LeafView,
        listing: Listing,
        pass: &Pass,
        kind: Kind,
    ) -> Result<Listed, SweepError> {
        let (in_parts, history) = match kind {
            Kind::Whole => (false, None),
            Kind::InParts => (true, None),
            Kind::Recheck(history) => (false, Some(history)),
        };
        let mut request = ListRequest {
            prefix: listing.prefix.clone(),
            start_after: listing.start_after.clone(),
            by_folder: false,
            token: None,
            page_size: self.config.list_page_size,
        };
        let began = self.clock.ours();
        let mut page = self.page(&request).await?;
        let now = self.clock.earlier(&self.config.name, began, page.date);
        let mut walk = Walk {
            view,
            ledger: Cursor::new(&listing),
            failed: Cursor::of_failed(&listing),
            listed: Listed::new(listing, now),
            last_key: None,
            new_objects: 0,
            useful: false,
            limit: in_parts.then_some(BACKLOG_UNIT),
            history,
            floor_cutoff: (self.config.key_order == KeyOrder::Time).then(|| back(now, self.config.lateness)),
            forget_before: back(now, self.keep_history),
        };
        loop {
            let flow = self.take_page(&mut walk, &page, pass).await?;
            failpoint::hit("after-list-page");
            if flow == Flow::End {
                break;
            }
            let Some(token) = page.next.take() else { break };
            match walk.jump() {
                Jump::To(start_after) => {
                    request.token = None;
                    request.start_after = Some(start_after);
                }
                Jump::None => request.token = Some(token),
                Jump::End => break,
            }
            page = self.page(&request).await?;
        }
        self.drain(&mut walk)?;
        Ok(walk.listed)
    }

    /// One page, tried again while that may help.
    pub(super) async fn page(&self, request: &ListRequest) -> Result<ListPage, SweepError> {
        let mut tries = 0;
        loop {
            let permit = self.unless_stopped(self.limits.lists.acquire()).await?;
            let error = match self.unless_stopped(self.bucket.list(request)).await? {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            drop(permit);
            tries += 1;
            if !error.class.is_retryable() || tries == MAX_LISTS {
                return Err(error.into());
            }
            debug!(source = self.config.name, %error, tries, "trying the LIST again");
            let wait = self.limits.backoff.wait(tries, error.retry_after, fastrand::f64());
            self.unless_stopped(tokio::time::sleep(wait)).await?;
        }
    }

    async fn take_page(
        self: &Arc<Self>,
        walk: &mut Walk<'_>,
        page: &ListPage,
        pass: &Pass,
    ) -> Result<Flow, SweepError> {
        walk.useful = false;
        for _ in 0..page.not_utf8 {
            self.count_skip(pass, Skip::NotUtf8);
        }
        for object in &page.objects {
            if walk.last_key.as_ref().is_some_and(|last| *last >= object.key) {
                let last = walk.last_key.as_deref().unwrap_or_default();
                return Err(self.out_of_order(&walk.listed.listing.prefix, last, &object.key).into());
            }
            object.key.clone_into(walk.last_key.get_or_insert_default());
            if self.take(walk, object, pass).await? == Flow::End {
                return Ok(Flow::End);
            }
        }
        Ok(Flow::On)
    }

    pub(super) fn out_of_order(&self, prefix: &str, last: &str, key: &str) -> BucketError {
        BucketError {
            class: Class::Unreachable,
            operation: "LIST",
            bucket: self.bucket_name.clone(),
            key: prefix.to_owned(),
            message: format!(
                "the listing is not in byte order: {key:?} came after {last:?}; a directory bucket or a store without \
                 ordered listings cannot be swept"
            ),
            retry_after: None,
            answer: None,
        }
    }

    async fn take(
        self: &Arc<Self>,
        walk: &mut Walk<'_>,
        object: &ObjectRef,
        pass: &Pass,
    ) -> Result<Flow, SweepError> {
        let Some(time) = walk.view.leaf.prefix_of_key(&object.key) else {
            if walk.is_past(&object.key) {
                return Ok(Flow::End);
            }
            let reason = if object.key.ends_with('/') { Skip::Folder } else { Skip::Pattern };
            self.count_skip(pass, reason);
            return Ok(Flow::On);
        };
        if let Covered::Range(_, last) = walk.listed.listing.covered
            && time > last
        {
            return Ok(Flow::End);
        }
        if !walk.view.is_open(time) {
            self.count_skip(pass, Skip::Closed);
            return Ok(Flow::On);
        }
        if !walk.listed.listing.covered.contains(time) {
            return Ok(Flow::On); // another listing's: month=1 also lists month=10
        }
        if walk.is_full(time) {
            walk.listed.next = Some(time);
            return Ok(Flow::End);
        }
        walk.useful = true;
        let entry = self.ledger_entry(walk, &object.key)?;
        let verdict = self.judge(walk.view, object, entry)?;
        if matches!(verdict, Verdict::New) && self.bounds.leave() {
            return walk.leave(time);
        }
        self.carry_out(walk, object, time, verdict, pass).await?;
        Ok(Flow::On)
    }

    /// What becomes of a listed object of which ledger or history say `entry`.
    pub(super) fn judge(
        &self,
        view: &LeafView,
        object: &ObjectRef,
        entry: Option<LedgerEntry>,
    ) -> Result<Verdict, SweepError> {
        let key = object.key.as_str();
        // nearly every key is settled, and was found to be an object to collect when it came
        let entry = match entry {
            Some(entry) if !view.is_open_ended() && entry.settles(&object.etag) => {
                return Ok(Verdict::Settled(entry));
            }
            entry => entry,
        };
        if key.ends_with('/') && object.size == 0 {
            return Ok(Verdict::Skip(Skip::Folder));
        }
        if layout::is_digest(self.config.log_type, key) {
            return Ok(Verdict::Skip(Skip::Digest));
        }
        if !self.config.file_pattern.is_match(key) {
            return Ok(Verdict::Skip(Skip::Pattern));
        }
        if view.is_open_ended() {
            if object.last_modified < self.record.start {
                return Ok(Verdict::Skip(Skip::BeforeStart));
            }
            let forgotten = view.forgotten().filter(|_| entry.is_none());
            if forgotten.is_some_and(|forgotten| forgotten.holds(key, object.last_modified)) {
                return Ok(Verdict::Skip(Skip::Settled));
            }
        }
        match entry {
            Some(entry) if entry.settles(&object.etag) => Ok(Verdict::Settled(entry)),
            Some(entry) if !entry.delivered_nothing() && !self.is_begun(key, &entry)? => {
                match self.config.on_overwrite {
                    OnOverwrite::Collect => Ok(Verdict::New),
                    OnOverwrite::Ignore => Ok(Verdict::Overwritten(entry)),
                }
            }
            Some(_) | None => match self.state.failed(self.key, key)? {
                Some(failed) => Ok(Verdict::Failed { waits: failed.retry_at > self.clock.ours() }),
                None => Ok(Verdict::New),
            },
        }
    }

    /// Whether the object was deleted while it was collected, and may go on where it was left, or is
    /// to be tried again.
    fn is_begun(&self, key: &str, entry: &LedgerEntry) -> Result<bool, SweepError> {
        let was_gone = entry.outcome == Outcome::Gone && self.state.progress(self.key, key)?.is_some();
        Ok(was_gone || self.is_failed(key)?)
    }

    /// Notes a settled key whose ETag is another one now.
    fn note_overwritten(&self, changes: &mut Vec<Change>, object: &ObjectRef, entry: LedgerEntry) {
        if changes.len() < WARNED_OVERWRITES {
            warn!(
                source = self.config.name,
                key = object.key,
                "a collected object was overwritten and is not collected again; on_overwrite = \"collect\" would"
            );
        }
        if changes.len() < MAX_CHANGES {
            let entry = LedgerEntry { etag: object.etag.clone(), outcome: Outcome::Replaced, ..entry };
            changes.push(Change::PutEntry(self.key, object.key.clone(), entry));
        }
    }

    async fn carry_out(
        self: &Arc<Self>,
        walk: &mut Walk<'_>,
        object: &ObjectRef,
        time: PrefixTime,
        verdict: Verdict,
        pass: &Pass,
    ) -> Result<(), SweepError> {
        let view = walk.view;
        let seen = walk.listed.seen.entry(time).or_default();
        match verdict {
            Verdict::Overwritten(entry) => {
                seen.stopped = true;
                seen.has_entries = true;
                self.note_overwritten(&mut walk.listed.changes, object, entry);
                self.count_skip(pass, Skip::Overwritten);
            }
            Verdict::Skip(reason) => self.count_skip(pass, reason),
            Verdict::Settled(entry) => {
                seen.note_settled(object, &entry, walk.floor_cutoff);
                walk.forget_if_old(object);
                self.count_skip(pass, Skip::Settled);
            }
            Verdict::Failed { waits } => {
                seen.stopped = true;
                seen.has_entries = true;
                if waits && pass.counts {
                    self.tally(|report| report.count_waiting());
                }
            }
            Verdict::New => {
                seen.note_new(object);
                walk.new_objects += 1;
                let floor = view.markers.get(&time).and_then(|marker| marker.floor.as_deref());
                let late = walk.history.is_some() || floor.is_some_and(|floor| object.key.as_str() <= floor);
                let found = Found { object: object.clone(), leaf: view.leaf.clone(), time, late };
                self.found(found, pass).await?;
            }
        }
        Ok(())
    }

    fn count_skip(&self, pass: &Pass, reason: Skip) {
        if pass.counts {
            self.tally(|report| report.skip(reason));
        }
    }

    /// What ledger or history say of a listed key. What is stored of keys before it, the listing
    /// does not have.
    fn ledger_entry(&self, walk: &mut Walk<'_>, key: &str) -> Result<Option<LedgerEntry>, SweepError> {
        while let Beside::Before(absent, failed) = walk.failed.step(self, key)? {
            walk.note_gone(absent, failed);
        }
        loop {
            match walk.ledger.step(self, key)? {
                Beside::Before(absent, entry) => self.absent(walk, absent, entry),
                Beside::At(entry) => return Ok(Some(entry)),
                Beside::Nothing => break,
            }
        }
        match &mut walk.history {
            Some(history) => Ok(history.find(key)?),
            None => Ok(None),
        }
    }

    /// A ledger entry whose key the listing does not have.
    fn absent(&self, walk: &mut Walk<'_>, key: String, entry: LedgerEntry) {
        let Some(time) = walk.view.leaf.prefix_of_key(&key) else { return };
        if !walk.listed.listing.covered.contains(time) {
            return;
        }
        if walk.view.is_open_ended() && walk.listed.changes.len() < MAX_CHANGES {
            if entry.outcome == Outcome::Gone {
                walk.listed.changes.push(Change::DeleteProgress(self.key, key.clone()));
            }
            walk.listed.changes.push(Change::DeleteEntry(self.key, key));
        } else {
            walk.listed.seen.entry(time).or_default().has_entries = true;
        }
    }

    /// What is stored of keys after the last listed one, up to the end of what was covered.
    fn drain(&self, walk: &mut Walk<'_>) -> Result<(), SweepError> {
        while let Some((key, failed)) = walk.failed.pop(self)? {
            if walk.is_beyond(&key) {
                break;
            }
            walk.note_gone(key, failed);
        }
        while let Some((key, entry)) = walk.ledger.pop(self)? {
            if walk.is_beyond(&key) {
                break;
            }
            self.absent(walk, key, entry);
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// A failed key that the listing does not have: the object is gone.
    fn note_gone(&mut self, key: String, failed: FailedObject) {
        let Some(time) = self.view.leaf.prefix_of_key(&key) else { return };
        let is_listed = self.listed.listing.covered.contains(time)
            && self.view.is_open(time)
            && !self.listed.jumped.contains(&time);
        if is_listed && self.listed.gone.len() < MAX_CHANGES {
            self.listed.seen.entry(time).or_default().has_entries = true;
            self.listed.gone.push((key, failed));
        }
    }

    /// Lets a settled object below the floor of an open-ended prefix leave the ledger once it is
    /// older than the history, when the prefix is listed in full.
    fn forget_if_old(&mut self, object: &ObjectRef) {
        let before = self.forget_before;
        let in_full = self.view.is_open_ended() && self.listed.listing.from_floor.is_none();
        if !in_full || object.last_modified >= before || self.listed.forget.len() >= MAX_CHANGES {
            return;
        }
        let floor = self.view.floor(PrefixTime::OPEN_ENDED).filter(|floor| object.key.as_str() <= *floor);
        // A floor that was reset first comes back to where it was.
        let is_back =
            |floor: &&str| self.view.forgotten().is_none_or(|known| known.through.as_str() <= *floor);
        let Some(floor) = floor.filter(is_back) else { return };
        let seen = self.listed.seen.entry(PrefixTime::OPEN_ENDED).or_default();
        seen.forgotten.get_or_insert_with(|| Forgotten { through: floor.to_owned(), before });
        self.listed.forget.push(object.key.clone());
    }

    /// Whether a key of the leaf lies behind what was listed.
    fn is_beyond(&self, key: &str) -> bool {
        match (&self.listed.listing.covered, self.view.leaf.prefix_of_key(key)) {
            (Covered::Range(_, last), Some(time)) => {
                time > *last || self.listed.next.is_some_and(|next| time >= next)
            }
            _ => false,
        }
    }

    /// Whether a key lies behind everything that this listing covers.
    fn is_past(&self, key: &str) -> bool {
        self.listed.listing.covered.is_before(&self.view.leaf, key)
    }

    /// Ends the listing before an object that the next sweep collects: a range before the prefix of
    /// `time`; where prefixes do not follow each other, all of it is left.
    fn leave(&mut self, time: PrefixTime) -> Result<Flow, SweepError> {
        match self.listed.listing.covered {
            Covered::Range(..) => {
                self.listed.next = Some(time);
                Ok(Flow::End)
            }
            Covered::Set(_) => Err(SweepError::Bounded),
        }
    }

    /// Whether this part of the backlog ends before `time`, a prefix not yet begun.
    fn is_full(&self, time: PrefixTime) -> bool {
        let ranged = matches!(self.listed.listing.covered, Covered::Range(..));
        ranged
            && self.limit.is_some_and(|limit| self.new_objects >= limit)
            && !self.listed.seen.contains_key(&time)
    }

    /// After a page without any key of a prefix that is to be listed: where the next such one begins.
    fn jump(&mut self) -> Jump {
        let Covered::Range(first, last) = self.listed.listing.covered else { return Jump::None };
        let Some(key) = self.last_key.as_deref().filter(|_| !self.useful) else { return Jump::None };
        let leaf = &self.view.leaf;
        // The first prefix whose literal lies behind the key: literals rise with time.
        let (mut low, mut high) = (first.as_minutes(), last.as_minutes().saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(time) = PrefixTime::from_minutes(middle) else { return Jump::None };
            if leaf.prefix(time).literal.as_str() > key { high = middle } else { low = middle + 1 }
        }
        let Some(behind) = PrefixTime::from_minutes(low) else { return Jump::None };
        // The key may lie within an open prefix that holds keys of another kind first.
        let before = leaf.previous(behind.min(leaf.next(last)));
        if self.view.is_open(before) && key.starts_with(&leaf.prefix(before).literal) {
            return Jump::None;
        }
        let next = self.view.next_listed(behind);
        let jump = match just_before(&leaf.prefix(next).literal) {
            _ if behind > last || next > last => Jump::End,
            Some(bound) if bound.as_str() > key => Jump::To(bound),
            _ => return Jump::None,
        };
        let waiting = self.view.waiting.range(behind..).take_while(|time| **time < next && **time <= last);
        self.listed.jumped.extend(waiting);
        jump
    }
}

impl Seen {
    fn note(&mut self, object: &ObjectRef) {
        let (key, at) = self.newest.get_or_insert_default();
        object.key.clone_into(key);
        *at = object.last_modified;
        self.has_entries = true;
    }

    fn note_settled(&mut self, object: &ObjectRef, entry: &LedgerEntry, cutoff: Option<DateTime<Utc>>) {
        self.note(object);
        let old = cutoff.is_some_and(|cutoff| entry.last_modified.max(entry.settled_at) < cutoff);
        if old && !self.stopped {
            object.key.clone_into(self.floor.get_or_insert_default());
            self.below_floor += 1;
        } else {
            self.stopped = true;
        }
    }

    fn note_new(&mut self, object: &ObjectRef) {
        self.note(object);
        self.stopped = true;
    }
}

/// What is stored beside a listing, by key: the ledger or the failed keys, read in pages.
pub(super) struct Cursor<T = LedgerEntry> {
    prefix: String,
    after: Option<String>,
    page: VecDeque<(String, T)>,
    ended: bool,
    read: ReadPage<T>,
}

/// What a [`Cursor`] holds next, up to a listed key.
enum Beside<T> {
    /// Something of a key before it, which the listing does not have.
    Before(String, T),
    /// Something of the key itself.
    At(T),
    /// Nothing.
    Nothing,
}

/// Reads up to so many of the keys that begin with a text and lie behind another one.
type ReadPage<T> = fn(&Sweeper, &str, Option<&str>, usize) -> Result<Vec<(String, T)>, StateError>;

impl Cursor {
    /// The ledger beside `listing`.
    pub fn new(listing: &Listing) -> Self {
        Self::beside(listing, |sweeper, prefix, after, limit| {
            sweeper.state.entries_under(sweeper.key, prefix, after, limit)
        })
    }
}

impl Cursor<FailedObject> {
    /// The failed keys beside `listing`.
    fn of_failed(listing: &Listing) -> Self {
        Self::beside(listing, |sweeper, prefix, after, limit| {
            sweeper.state.failed_under(sweeper.key, prefix, after, limit)
        })
    }
}

impl<T> Cursor<T> {
    fn beside(listing: &Listing, read: ReadPage<T>) -> Self {
        Cursor {
            prefix: listing.prefix.clone(),
            after: listing.start_after.clone(),
            page: Default::default(),
            ended: false,
            read,
        }
    }

    fn peek(&mut self, sweeper: &Sweeper) -> Result<Option<&String>, SweepError> {
        if self.page.is_empty() && !self.ended {
            // A start before the prefix (its predecessor) means its beginning.
            let after = self.after.as_deref().filter(|after| *after >= self.prefix.as_str());
            let page = (self.read)(sweeper, &self.prefix, after, STATE_PAGE)?;
            self.ended = page.len() < STATE_PAGE;
            self.after = page.last().map(|(key, _)| key.clone());
            self.page = page.into();
        }
        Ok(self.page.front().map(|(key, _)| key))
    }

    /// What is stored of a key; keys must be asked for in byte order.
    pub fn find(&mut self, sweeper: &Sweeper, key: &str) -> Result<Option<T>, SweepError> {
        loop {
            match self.step(sweeper, key)? {
                Beside::Before(..) => {}
                Beside::At(stored) => return Ok(Some(stored)),
                Beside::Nothing => return Ok(None),
            }
        }
    }

    /// Takes the next one up to `key`, where there is one.
    fn step(&mut self, sweeper: &Sweeper, key: &str) -> Result<Beside<T>, SweepError> {
        let ordering = self.peek(sweeper)?.map(|head| head.as_str().cmp(key));
        let taken = if matches!(ordering, Some(Less | Equal)) { self.page.pop_front() } else { None };
        Ok(match taken {
            Some((_, stored)) if ordering == Some(Equal) => Beside::At(stored),
            Some((before, stored)) => Beside::Before(before, stored),
            None => Beside::Nothing,
        })
    }

    fn pop(&mut self, sweeper: &Sweeper) -> Result<Option<(String, T)>, SweepError> {
        self.peek(sweeper)?;
        Ok(self.page.pop_front())
    }
}
