//! What a pass over a leaf allows: floors, closings, and how far the leaf is closed. Pure.
//!
//! A floor moves only over keys that a complete listing showed as settled and old. A prefix
//! closes when its time and lateness are over, it was listed from its start, and nothing of it
//! has failed or is in flight. Neither ever moves back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::list::{Listed, Seen};
use super::plan::{ClosingRule, Covered, LeafView, back};
use crate::pattern::PrefixTime;
use crate::state::{Forgotten, LeafRecord, Marker};

/// What is to be stored after a pass over a leaf.
#[derive(Debug, Default, PartialEq)]
pub struct Settled {
    /// The leaf's record, when it changed.
    pub record: Option<LeafRecord>,
    /// Markers that changed, `None` where one is to be deleted.
    pub markers: Vec<(PrefixTime, Option<Marker>)>,
    /// Prefixes that close and have ledger entries.
    pub closing: Vec<PrefixTime>,
    /// Prefixes that close without any, and that may still get some.
    pub empty: Vec<PrefixTime>,
}

/// Settings of settling.
#[derive(Clone, Copy, Debug)]
pub struct SettleRule {
    /// When prefixes close.
    pub closing: ClosingRule,
    /// Epoch of new floors.
    pub floor_epoch: u32,
    /// Prefixes that close without objects, and ended longer ago than this, are not rechecked.
    pub empty_for: Duration,
}

/// Prefixes that must not close.
#[derive(Clone, Debug, Default)]
pub struct Outstanding {
    /// With objects that are kept by name as failed.
    pub failed: BTreeSet<PrefixTime>,
    /// With objects that were neither settled nor kept by name (a stop, an unreachable source):
    /// only another listing finds them.
    pub unsettled: BTreeSet<PrefixTime>,
}

impl Outstanding {
    fn contains(&self, time: PrefixTime) -> bool {
        self.failed.contains(&time) || self.unsettled.contains(&time)
    }

    fn first_from(&self, from: PrefixTime) -> Option<PrefixTime> {
        let first = |times: &BTreeSet<PrefixTime>| times.range(from..).next().copied();
        first(&self.failed).into_iter().chain(first(&self.unsettled)).min()
    }
}

/// Settles one leaf after a pass. `view` is what is stored of it now: it may be further than it was
/// when the listings were planned.
pub fn settle(view: &LeafView, listings: &[Listed], outstanding: &Outstanding, rule: &SettleRule) -> Settled {
    let mut markers = view.markers.clone();
    for listed in listings {
        let seen = listed.seen.iter().filter(|(time, seen)| seen.newest.is_some() && view.is_open(**time));
        for (time, seen) in seen {
            let is_whole = !outstanding.unsettled.contains(time);
            raise(markers.entry(*time).or_default(), seen, listed, *time, is_whole, rule);
        }
    }
    let closed = close(view, listings, outstanding, &mut markers, rule);
    let through = closed_through(view, listings, &closed, &markers, outstanding, rule);
    let empty = empty(view, listings, &closed, through, rule);
    Settled { empty, ..finish(view, markers, closed, through) }
}

/// Brings the marker of a prefix up to what was seen; nothing goes down. `is_whole`: all that was listed
/// is settled or kept by name.
fn raise(
    marker: &mut Marker,
    seen: &Seen,
    listed: &Listed,
    time: PrefixTime,
    is_whole: bool,
    rule: &SettleRule,
) {
    let below = if listed.listing.from_floor == Some(time) { marker.below_floor } else { 0 };
    if seen.floor > marker.floor {
        marker.floor.clone_from(&seen.floor);
        marker.floor_epoch = rule.floor_epoch;
        marker.below_floor = below + seen.below_floor;
    }
    if let Some((key, at)) = &seen.newest
        && marker.newest.as_ref().is_none_or(|newest| newest < key)
    {
        marker.newest = Some(key.clone());
        marker.newest_at = marker.newest_at.max(Some(*at));
    }
    if time == PrefixTime::OPEN_ENDED && listed.listing.from_floor.is_none() && is_whole {
        marker.listed_in_full = marker.listed_in_full.max(Some(listed.now));
    }
    if let Some(Forgotten { through, before }) = &seen.forgotten {
        let known = marker.forgotten.as_ref().map(|known| known.before);
        marker.forgotten =
            Some(Forgotten { through: through.clone(), before: known.unwrap_or(*before).max(*before) });
    }
}

/// Prefixes that this pass closes, and whether they have ledger entries.
fn close(
    view: &LeafView,
    listings: &[Listed],
    outstanding: &Outstanding,
    markers: &mut BTreeMap<PrefixTime, Marker>,
    rule: &SettleRule,
) -> BTreeMap<PrefixTime, bool> {
    let mut closed = BTreeMap::new();
    for listed in listings {
        let named = match &listed.listing.covered {
            Covered::Range(first, last) => {
                let seen = listed.seen.keys().copied();
                seen.chain(held_back(view, *first, *last, outstanding)).collect()
            }
            Covered::Set(times) => times.clone(),
        };
        for time in named {
            if !is_complete(view, listed, time, rule) || !view.is_open(time) {
                continue;
            }
            if outstanding.contains(time) {
                // Listed in full, and all that is missing is known by name: it need not be
                // listed again before those are settled.
                let marker = markers.entry(time).or_default();
                marker.drained = !outstanding.unsettled.contains(&time);
                marker.listed_in_full = marker.listed_in_full.max(Some(listed.now));
                continue;
            }
            let has_entries = listed.seen.get(&time).is_some_and(|seen| seen.has_entries);
            closed.insert(time, has_entries);
        }
    }
    closed
}

/// Open prefixes of a listed range that nothing passes, since one before them must not close: those without
/// keys would be listed for as long as that takes. Few in one pass, as each gets a marker.
fn held_back(
    view: &LeafView,
    first: PrefixTime,
    last: PrefixTime,
    outstanding: &Outstanding,
) -> impl Iterator<Item = PrefixTime> {
    const MOST: usize = 100;
    let blocking = outstanding.first_from(view.record.closed_through).filter(|time| *time <= last);
    let from = blocking.map(|time| time.max(first));
    from.into_iter()
        .flat_map(move |from| view.leaf.times(from, last))
        .filter(|time| view.is_open(*time) && !outstanding.contains(*time))
        .take(MOST)
}

/// Whether a listing showed all of a prefix after its time was over.
fn is_complete(view: &LeafView, listed: &Listed, time: PrefixTime, rule: &SettleRule) -> bool {
    listed.listing.covered.contains(time)
        && listed.next.is_none_or(|next| time < next)
        && !listed.jumped.contains(&time)
        && listed.listing.from_floor != Some(time)
        && rule.closing.is_due(view.leaf.prefix(time).until, listed.now)
}

/// The first prefix that is still open: everything before it is closed, or was shown to be empty
/// by a listing after its time.
fn closed_through(
    view: &LeafView,
    listings: &[Listed],
    closed: &BTreeMap<PrefixTime, bool>,
    markers: &BTreeMap<PrefixTime, Marker>,
    outstanding: &Outstanding,
    rule: &SettleRule,
) -> PrefixTime {
    let mut through = view.record.closed_through;
    loop {
        let before = through;
        if let Some(sparse) = view.record.sparse_until.filter(|sparse| through < *sparse) {
            // Unmarked prefixes before this did not exist when the dates were discovered.
            let marked = view.markers.range(through..sparse).map(|(time, _)| *time);
            through = marked.into_iter().next().unwrap_or(sparse);
        }
        if closed.contains_key(&through) || markers.get(&through).is_some_and(|marker| marker.closed) {
            through = view.leaf.next(through);
        }
        for listed in listings {
            if let Some(end) = end_of_run(view, listed, through, outstanding, rule) {
                through = through.max(end);
            }
        }
        if through == before {
            return through;
        }
    }
}

/// Where the run of closable prefixes that begins at `from` ends within one listed range.
fn end_of_run(
    view: &LeafView,
    listed: &Listed,
    from: PrefixTime,
    outstanding: &Outstanding,
    rule: &SettleRule,
) -> Option<PrefixTime> {
    let Covered::Range(first, last) = listed.listing.covered else { return None };
    if !(first..=last).contains(&from) || listed.listing.from_floor == Some(from) {
        return None;
    }
    let mut end = rule.closing.first_not_due(&view.leaf, listed.now).min(view.leaf.next(last));
    end = listed.next.map_or(end, |next| end.min(next));
    let jumped = listed.jumped.range(from..).next().copied();
    end = outstanding.first_from(from).into_iter().chain(jumped).fold(end, PrefixTime::min);
    (end > from).then_some(end)
}

/// Prefixes that closed without entries and are worth a recheck: a sweep that comes after a long rest may
/// close many, whose objects are as late as itself.
fn empty(
    view: &LeafView,
    listings: &[Listed],
    closed: &BTreeMap<PrefixTime, bool>,
    through: PrefixTime,
    rule: &SettleRule,
) -> Vec<PrefixTime> {
    /// Of short prefixes there would be too many: the last ones.
    const MOST: usize = 3_000;
    let Some(now) = listings.iter().map(|listed| listed.now).min() else { return Vec::new() };
    let oldest = rule.closing.first_not_due(&view.leaf, back(now, rule.empty_for));
    let from = view.record.closed_through.max(oldest);
    let passed = view.leaf.times(from, through).filter(|time| *time < through);
    let passed = passed.filter(|time| view.is_open(*time) && closed.get(time) != Some(&true));
    let above = closed.range(from.max(through)..).filter(|(_, has_entries)| !**has_entries);
    let mut empty: Vec<_> = passed.chain(above.map(|(time, _)| *time)).collect();
    empty.drain(..empty.len().saturating_sub(MOST));
    empty
}

fn finish(
    view: &LeafView,
    mut markers: BTreeMap<PrefixTime, Marker>,
    closed: BTreeMap<PrefixTime, bool>,
    through: PrefixTime,
) -> Settled {
    for time in closed.keys() {
        let marker = markers.entry(*time).or_default();
        *marker = Marker { closed: true, ..Marker::default() };
    }
    let mut changed = Vec::new();
    for (time, marker) in markers {
        let known = view.markers.get(&time);
        if time < through {
            if known.is_some() {
                changed.push((time, None));
            }
        } else if known != Some(&marker) {
            changed.push((time, Some(marker)));
        }
    }
    let sparse_until = view.record.sparse_until.filter(|sparse| through < *sparse);
    let record = LeafRecord { closed_through: through, sparse_until, ..view.record.clone() };
    Settled {
        record: (record != view.record).then_some(record),
        markers: changed,
        closing: closed.into_iter().filter_map(|(time, has_entries)| has_entries.then_some(time)).collect(),
        empty: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
