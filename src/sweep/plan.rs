//! Which LIST calls a leaf needs: open prefixes × markers → listings. Pure.
//!
//! Adjacent open prefixes whose literals sort by time are listed together as one key range, from
//! the first one's floor; others cost one LIST each. Prefixes whose time is over are listed from
//! their start, so that they can close.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::pattern::{Leaf, PrefixTime, just_before};
use crate::state::{Forgotten, LeafRecord, Marker};

/// A prefix this long overdue is backlog: live prefixes are listed before it and between.
const BACKLOG_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A prefix without objects that ended no longer than this before it was first looked at may still
/// get some: it is listed, and rechecked once it is closed.
pub(super) const RECENT: Duration = Duration::from_secs(2 * 24 * 3600);

/// When prefixes close.
#[derive(Clone, Copy, Debug)]
pub struct ClosingRule {
    /// How long after its time a prefix stays open.
    pub lateness: Duration,
    /// This leaf's share of the spread.
    pub spread: Duration,
}

impl ClosingRule {
    /// The rule of one leaf: closings of many leaves are spread by a hash of their heads.
    pub fn of(leaf: &Leaf, lateness: Duration, close_spread: Duration) -> Self {
        let hash = u64::from(crc32fast::hash(leaf.head().as_bytes()));
        let spread = close_spread.as_secs() * hash / u64::from(u32::MAX);
        ClosingRule { lateness, spread: Duration::from_secs(spread) }
    }

    /// Whether a prefix that ends at `until` is to close at `now`. `None` never is.
    pub fn is_due(&self, until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        until.is_some_and(|until| until <= back(now, self.lateness + self.spread))
    }

    /// The first prefix of a leaf that is not due at `now`.
    pub fn first_not_due(&self, leaf: &Leaf, now: DateTime<Utc>) -> PrefixTime {
        self.first_after(leaf, now, Duration::ZERO)
    }

    fn first_after(&self, leaf: &Leaf, now: DateTime<Utc>, overdue: Duration) -> PrefixTime {
        let at = back(now, self.lateness + self.spread + overdue);
        let mut time = leaf.time_of(at);
        // The hour that occurs twice covers `at` and may have ended its first pass only.
        while leaf.prefix(time).until.is_some_and(|until| until <= at) {
            let next = leaf.next(time);
            if next == time {
                break;
            }
            time = next;
        }
        // With minutes, those of the hour that occurs twice end in its second pass: later than
        // minutes that follow them.
        loop {
            let previous = leaf.previous(time);
            if previous == time || leaf.prefix(previous).until.is_none_or(|until| until <= at) {
                return time;
            }
            time = previous;
        }
    }
}

/// `duration` before `at`, as far back as time goes.
pub fn back(at: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(duration)
        .ok()
        .and_then(|delta| at.checked_sub_signed(delta))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// What is known of a leaf when a pass begins.
#[derive(Clone, Debug)]
pub struct LeafView {
    /// The leaf.
    pub leaf: Arc<Leaf>,
    /// Its record.
    pub record: LeafRecord,
    /// Its markers, with floors of the current epoch only.
    pub markers: BTreeMap<PrefixTime, Marker>,
    /// Prefixes that are not to be listed: see [`waiting`].
    pub waiting: BTreeSet<PrefixTime>,
}

impl LeafView {
    /// Whether keys of this prefix are to be collected.
    pub fn is_open(&self, time: PrefixTime) -> bool {
        self.record.is_open(time, self.markers.get(&time))
    }

    /// Open, and not merely waiting for failed objects.
    fn is_listed(&self, time: PrefixTime) -> bool {
        self.is_open(time) && !self.waiting.contains(&time)
    }

    /// The first prefix at or after `time` that is to be listed.
    pub fn next_listed(&self, mut time: PrefixTime) -> PrefixTime {
        time = time.max(self.record.closed_through);
        if let Some(sparse) = self.record.sparse_until.filter(|sparse| time < *sparse) {
            let marked = self.markers.range(time..sparse).map(|(time, _)| *time);
            if let Some(marked) = marked.into_iter().find(|time| self.is_listed(*time)) {
                return marked;
            }
            time = sparse;
        }
        while !self.is_listed(time) {
            let next = self.leaf.next(time);
            if next == time {
                break;
            }
            time = next;
        }
        time
    }

    /// Whether its one prefix has no dates and never closes.
    pub fn is_open_ended(&self) -> bool {
        self.leaf.pattern().step().is_none()
    }

    /// What the ledger of an open-ended prefix no longer holds.
    pub fn forgotten(&self) -> Option<&Forgotten> {
        self.markers.get(&PrefixTime::OPEN_ENDED)?.forgotten.as_ref()
    }

    /// The floor of a prefix, where it has one.
    pub fn floor(&self, time: PrefixTime) -> Option<&str> {
        self.markers.get(&time).and_then(|marker| marker.floor.as_deref())
    }
}

/// Of the prefixes with failed objects, those that wait for them by name: they were listed in full
/// after their time. As long as one is left it cannot close and be rechecked, so that it is listed
/// again at the ages of rechecks, `again`.
pub fn waiting(
    leaf: &Leaf,
    markers: &BTreeMap<PrefixTime, Marker>,
    failed: &BTreeSet<PrefixTime>,
    closing: ClosingRule,
    again: &[Duration],
    now: DateTime<Utc>,
) -> BTreeSet<PrefixTime> {
    let waits = |time: &PrefixTime| {
        let Some(marker) = markers.get(time).filter(|marker| marker.drained) else { return false };
        let until = leaf.prefix(*time).until;
        let is_missed = |age: &Duration| {
            let is_reached = |at| closing.is_due(until, back(at, *age));
            is_reached(now) && !marker.listed_in_full.is_some_and(is_reached)
        };
        !again.iter().any(is_missed)
    };
    failed.iter().copied().filter(waits).collect()
}

/// The prefixes that one listing covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Covered {
    /// All from the first to the last, both included.
    Range(PrefixTime, PrefixTime),
    /// These; they share one literal.
    Set(BTreeSet<PrefixTime>),
}

impl Covered {
    /// Whether `time` is among them.
    pub fn contains(&self, time: PrefixTime) -> bool {
        match self {
            Covered::Range(first, last) => (*first..=*last).contains(&time),
            Covered::Set(times) => times.contains(&time),
        }
    }

    /// Whether a key of `leaf`'s listing lies behind all of them.
    pub fn is_before(&self, leaf: &Leaf, key: &str) -> bool {
        match self {
            Covered::Range(_, last) => {
                let literal = leaf.prefix(*last).literal;
                key > literal.as_str() && !key.starts_with(&literal)
            }
            Covered::Set(_) => false,
        }
    }
}

/// One listing: pages of keys from one place on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Prefix of the LIST request.
    pub prefix: String,
    /// Where it begins, exclusive.
    pub start_after: Option<String>,
    /// What it covers.
    pub covered: Covered,
    /// The first covered prefix, when it is listed from its floor only.
    pub from_floor: Option<PrefixTime>,
}

/// The listings of one leaf, live ones apart from backlog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeafPlan {
    /// Prefixes that are open, or became due lately.
    pub live: Vec<Listing>,
    /// Prefixes long overdue.
    pub backlog: Vec<Listing>,
}

/// Settings of planning.
#[derive(Clone, Copy, Debug)]
pub struct PlanRule {
    /// When prefixes close.
    pub closing: ClosingRule,
    /// Whether floors are kept.
    pub floors: bool,
    /// How often an open-ended prefix is compared in full.
    pub reconcile_every: Duration,
    /// Keys per LIST page.
    pub page_size: u16,
}

/// Plans the listings of one leaf at `now`.
pub fn plan(view: &LeafView, now: DateTime<Utc>, rule: &PlanRule) -> LeafPlan {
    let leaf = &view.leaf;
    if leaf.pattern().step().is_none() {
        return LeafPlan { live: vec![open_ended(view, now, rule)], backlog: Vec::new() };
    }
    let last = leaf.time_of(now);
    let first = view.next_listed(view.record.closed_through);
    let live_from = rule.closing.first_after(leaf, now, BACKLOG_AFTER).min(last);
    let (backlog_last, live_first) = (leaf.previous(live_from), view.next_listed(live_from.max(first)));
    if leaf.pattern().is_range() {
        let mut plan = LeafPlan::default();
        if first <= backlog_last && first < live_from {
            plan.backlog.push(range(view, first, backlog_last, now, rule));
        }
        if live_first <= last {
            plan.live = split_at_floors(view, live_first, last, now, rule);
        }
        return plan;
    }
    LeafPlan {
        backlog: each(view, first, backlog_last, now, rule),
        live: each(view, live_first, last, now, rule),
    }
}

/// What is left of a listing that ended early, from `next` on.
pub fn rest(view: &LeafView, listing: &Listing, next: Option<PrefixTime>) -> Option<Listing> {
    let (next, Covered::Range(_, last)) = (next?, &listing.covered) else { return None };
    Some(Listing {
        prefix: listing.prefix.clone(),
        start_after: just_before(&view.leaf.prefix(next).literal),
        covered: Covered::Range(next, *last),
        from_floor: None,
    })
}

/// An open-ended prefix: from its floor, or in full when it has none or it is time to reconcile.
fn open_ended(view: &LeafView, now: DateTime<Utc>, rule: &PlanRule) -> Listing {
    let time = PrefixTime::OPEN_ENDED;
    let full = view.markers.get(&time).and_then(|marker| marker.listed_in_full);
    let is_recent = full.is_some_and(|full| full > back(now, rule.reconcile_every));
    let floor = view.floor(time).filter(|_| rule.floors && is_recent);
    Listing {
        prefix: view.leaf.prefix(time).literal,
        start_after: floor.map(str::to_owned),
        covered: Covered::Set(BTreeSet::from([time])),
        from_floor: floor.map(|_| time),
    }
}

/// One range from `first` to `last`.
fn range(
    view: &LeafView,
    first: PrefixTime,
    last: PrefixTime,
    now: DateTime<Utc>,
    rule: &PlanRule,
) -> Listing {
    let first_prefix = view.leaf.prefix(first);
    let due = rule.closing.is_due(first_prefix.until, now);
    let floor = view.floor(first).filter(|_| rule.floors && !due);
    Listing {
        prefix: common_start(&first_prefix.literal, &view.leaf.prefix(last).literal).to_owned(),
        start_after: floor.map(str::to_owned).or_else(|| just_before(&first_prefix.literal)),
        covered: Covered::Range(first, last),
        from_floor: floor.map(|_| first),
    }
}

/// A range is cut where a later prefix has more settled keys below its floor than a page holds:
/// another LIST from that floor is cheaper than the pages below it.
fn split_at_floors(
    view: &LeafView,
    first: PrefixTime,
    last: PrefixTime,
    now: DateTime<Utc>,
    rule: &PlanRule,
) -> Vec<Listing> {
    let worth_it = |time: &PrefixTime, marker: &Marker| {
        rule.floors
            && marker.floor.is_some()
            && marker.below_floor > u64::from(rule.page_size)
            && !rule.closing.is_due(view.leaf.prefix(*time).until, now)
    };
    let mut listings = Vec::new();
    let mut from = first;
    for (time, marker) in view.markers.range(view.leaf.next(first).min(last)..=last) {
        if *time > from && view.is_listed(*time) && worth_it(time, marker) {
            listings.push(range(view, from, view.leaf.previous(*time), now, rule));
            from = *time;
        }
    }
    listings.push(range(view, from, last, now, rule));
    listings
}

/// One listing per distinct literal, oldest first.
fn each(
    view: &LeafView,
    first: PrefixTime,
    last: PrefixTime,
    now: DateTime<Utc>,
    rule: &PlanRule,
) -> Vec<Listing> {
    let mut listings: Vec<Listing> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut time = view.next_listed(first);
    while time <= last {
        let prefix = view.leaf.prefix(time);
        match places.get(&prefix.literal) {
            Some(place) => share(&mut listings[*place], time),
            None => {
                let due = rule.closing.is_due(prefix.until, now);
                let floor = view.floor(time).filter(|_| rule.floors && !due);
                places.insert(prefix.literal.clone(), listings.len());
                listings.push(Listing {
                    prefix: prefix.literal,
                    start_after: floor.map(str::to_owned),
                    covered: Covered::Set(BTreeSet::from([time])),
                    from_floor: floor.map(|_| time),
                });
            }
        }
        let next = view.next_listed(view.leaf.next(time));
        if next <= time {
            break;
        }
        time = next;
    }
    listings
}

/// Prefixes that share a literal are told apart by matching alone: listed together, in full.
fn share(listing: &mut Listing, time: PrefixTime) {
    if let Covered::Set(times) = &mut listing.covered {
        times.insert(time);
    }
    listing.start_after = None;
    listing.from_floor = None;
}

/// The listings that show the prefixes of a leaf from `first` to `last`, open or not, in full.
pub fn in_full(leaf: &Leaf, first: PrefixTime, last: PrefixTime) -> Vec<Listing> {
    if leaf.pattern().is_range() {
        let literal = leaf.prefix(first).literal;
        return vec![Listing {
            prefix: common_start(&literal, &leaf.prefix(last).literal).to_owned(),
            start_after: just_before(&literal),
            covered: Covered::Range(first, last),
            from_floor: None,
        }];
    }
    let mut sets: BTreeMap<String, BTreeSet<PrefixTime>> = BTreeMap::new();
    for time in leaf.times(first, last) {
        sets.entry(leaf.prefix(time).literal).or_default().insert(time);
    }
    let whole = |(prefix, times)| Listing {
        prefix,
        start_after: None,
        covered: Covered::Set(times),
        from_floor: None,
    };
    sets.into_iter().map(whole).collect()
}

/// The characters that two literals begin with together.
fn common_start<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one.char_indices().zip(other.chars()).find(|((_, left), right)| left != right);
    match same {
        Some(((at, _), _)) => &one[..at],
        None => &one[..one.len().min(other.len())],
    }
}

#[cfg(test)]
mod rules;
#[cfg(test)]
pub(super) mod tests;
