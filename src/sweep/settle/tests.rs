//! Settling, as tables of what a pass saw and what follows, and as properties: what is closed was
//! listed and settled, and nothing goes back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::super::plan::Listing;
use super::super::plan::tests::{at, leaf, utc, view};
use super::*;

const RULE: SettleRule = SettleRule {
    closing: ClosingRule { lateness: Duration::from_secs(3600), spread: Duration::ZERO },
    floor_epoch: 2,
    empty_for: Duration::from_secs(2 * 86_400),
};
const DAYS: &str = "a/{YYYY}/{mm}/{dd}";

fn days(closed_through: &str) -> LeafView {
    view(leaf(DAYS, chrono_tz::UTC, "a/"), closed_through)
}

/// A complete listing of a range, from the start of its first prefix.
fn listed(view: &LeafView, range: (&str, &str), now: &str) -> Listed {
    let covered = Covered::Range(at(&view.leaf, range.0), at(&view.leaf, range.1));
    let listing = Listing { prefix: "a/".into(), start_after: None, covered, from_floor: None };
    Listed::new(listing, utc(now))
}

fn seen(floor: Option<&str>, newest: &str) -> Seen {
    Seen {
        floor: floor.map(str::to_owned),
        below_floor: u64::from(floor.is_some()),
        stopped: floor.is_none_or(|floor| floor != newest),
        newest: Some((newest.to_owned(), utc("2024-03-10T08:00:00Z"))),
        has_entries: true,
        forgotten: None,
    }
}

fn settle_days(view: &LeafView, listings: &[Listed], failed: &[&str]) -> Settled {
    let failed = failed.iter().map(|day| at(&view.leaf, day)).collect();
    settle(view, listings, &Outstanding { failed, unsettled: BTreeSet::new() }, &RULE)
}

#[test]
fn prefixes_that_close_without_entries_are_told_when_they_ended_lately() {
    let view = view(leaf(DAYS, chrono_tz::UTC, "a/"), "2024-02-20");
    let mut pass = listed(&view, ("2024-02-20", "2024-03-10"), "2024-03-10T12:00:00Z");
    pass.seen.insert(at(&view.leaf, "2024-03-08"), seen(None, "k"));
    let settled = settle_days(&view, &[pass], &[]);
    assert_eq!(through(&view, &settled), "2024-03-10");
    let empty: Vec<_> = settled.empty.iter().map(|time| time.to_string().replace("T00:00", "")).collect();
    assert_eq!(empty, ["2024-03-09"], "8 has entries, 7 and before ended long ago");
    assert_eq!(closing(&settled), ["2024-03-08"]);
}

#[test]
fn short_prefixes_without_entries_are_told_up_to_a_number() {
    let view = view(leaf("a/{YYYY}/{mm}/{dd}/{HH}/{MM}", chrono_tz::UTC, "a/"), "2024-02-20");
    let pass = listed(&view, ("2024-02-20", "2024-03-10T12:00:00Z"), "2024-03-10T12:00:00Z");
    let rule = SettleRule { empty_for: Duration::from_secs(30 * 86_400), ..RULE };
    let settled = settle(&view, &[pass], &Outstanding::default(), &rule);
    assert_eq!(settled.empty.len(), 3_000);
    assert_eq!(settled.empty.last(), Some(&at(&view.leaf, "2024-03-10T10:59:00Z")));
}

#[test]
fn prefixes_that_were_jumped_over_neither_close_nor_count_as_listed() {
    let mut view = days("2024-03-06");
    let times = ["2024-03-07", "2024-03-08"].map(|day| at(&view.leaf, day));
    for time in times {
        view.markers.insert(time, Marker { drained: true, ..Marker::default() });
    }
    view.waiting = BTreeSet::from(times);
    let mut pass = listed(&view, ("2024-03-06", "2024-03-09"), "2024-03-10T12:00:00Z");
    pass.jumped = BTreeSet::from(times);
    // as the ledger tells
    for time in times {
        pass.seen.insert(time, Seen { has_entries: true, ..Seen::default() });
    }
    // what failed in the first was settled beside the listing
    let settled = settle_days(&view, &[pass], &["2024-03-08"]);
    assert_eq!(through(&view, &settled), "2024-03-07");
    assert_eq!(closing(&settled), [""; 0]);
    let changed: Vec<_> = settled.markers.iter().map(|(time, _)| time.to_string()).collect();
    assert_eq!(changed, ["2024-03-09T00:00"], "without keys, and closed above what waits");
}

#[test]
fn an_open_ended_prefix_with_something_unsettled_was_not_compared_in_full() {
    let view = view(leaf("a", chrono_tz::UTC, "a"), "2024-03-07");
    let time = PrefixTime::OPEN_ENDED;
    let covered = Covered::Set(BTreeSet::from([time]));
    let listing = Listing { prefix: "a/".into(), start_after: None, covered, from_floor: None };
    let mut pass = Listed::new(listing, utc("2024-03-10T12:00:00Z"));
    pass.seen.insert(time, seen(None, "a/k"));
    for (unsettled, in_full) in [(BTreeSet::new(), true), (BTreeSet::from([time]), false)] {
        let outstanding = Outstanding { unsettled, ..Outstanding::default() };
        let settled = settle(&view, std::slice::from_ref(&pass), &outstanding, &RULE);
        let marker = settled.markers[0].1.as_ref().unwrap();
        assert_eq!(marker.listed_in_full.is_some(), in_full);
    }
}

#[test]
fn a_prefix_waits_by_name_only_when_all_that_is_missing_has_a_name() {
    let view = view(leaf(DAYS, chrono_tz::UTC, "a/"), "2024-03-07");
    let day = at(&view.leaf, "2024-03-07");
    let mut pass = listed(&view, ("2024-03-07", "2024-03-09"), "2024-03-10T12:00:00Z");
    pass.seen.insert(day, seen(None, "k"));
    for (name, is_failed, is_unsettled, want) in [
        ("failed, kept by name", true, false, true),
        ("stopped: only another listing finds it", false, true, false),
        ("both", true, true, false),
    ] {
        let days = |wanted: bool| if wanted { BTreeSet::from([day]) } else { BTreeSet::new() };
        let outstanding = Outstanding { failed: days(is_failed), unsettled: days(is_unsettled) };
        let settled = settle(&view, std::slice::from_ref(&pass), &outstanding, &RULE);
        let drained = settled
            .markers
            .iter()
            .any(|(time, marker)| *time == day && marker.as_ref().is_some_and(|m| m.drained));
        assert_eq!((drained, settled.closing.contains(&day)), (want, false), "{name}");
    }
}

/// How far a leaf is closed after settling.
fn through(view: &LeafView, settled: &Settled) -> String {
    settled.record.as_ref().unwrap_or(&view.record).closed_through.to_string().replace("T00:00", "")
}

fn marker<'s>(settled: &'s Settled, view: &LeafView, day: &str) -> Option<&'s Option<Marker>> {
    let time = at(&view.leaf, day);
    settled.markers.iter().find(|(found, _)| *found == time).map(|(_, marker)| marker)
}

fn closing(settled: &Settled) -> Vec<String> {
    settled.closing.iter().map(|time| time.to_string().replace("T00:00", "")).collect()
}

#[test]
fn floors_rise_and_never_fall() {
    let known = |floor: Option<&str>| Marker {
        floor: floor.map(str::to_owned),
        floor_epoch: 2,
        below_floor: 5,
        newest: Some("m".into()),
        newest_at: Some(utc("2024-03-10T07:00:00Z")),
        ..Marker::default()
    };
    let cases = [
        ("a first floor", None, false, seen(Some("k"), "z"), Some("k"), 1),
        (
            "a higher one, listed from the floor: the keys below add up",
            Some("h"),
            true,
            seen(Some("k"), "z"),
            Some("k"),
            6,
        ),
        (
            "a higher one, listed in full: the keys below are counted anew",
            Some("h"),
            false,
            seen(Some("k"), "z"),
            Some("k"),
            1,
        ),
        ("a late key stopped it lower: it stays", Some("k"), false, seen(Some("h"), "z"), Some("k"), 5),
        ("the first key is new, failed or young: it stays", Some("k"), false, seen(None, "z"), Some("k"), 5),
        ("no floor at all", None, false, seen(None, "z"), None, 5),
    ];
    for (name, floor, from_floor, what, want, below) in cases {
        let mut view = days("2024-03-10");
        let day = at(&view.leaf, "2024-03-10");
        view.markers.insert(day, known(floor));
        let mut pass = listed(&view, ("2024-03-10", "2024-03-10"), "2024-03-10T12:00:00Z");
        pass.listing.from_floor = from_floor.then_some(day);
        pass.seen.insert(day, what);
        let settled = settle_days(&view, &[pass], &[]);
        let found = marker(&settled, &view, "2024-03-10").and_then(Option::as_ref).expect("it changed");
        assert_eq!((found.floor.as_deref(), found.below_floor), (want, below), "{name}");
        assert_eq!(found.newest.as_deref(), Some("z"), "{name}");
        assert_eq!(found.newest_at, Some(utc("2024-03-10T08:00:00Z")), "{name}");
        assert_eq!((settled.record, settled.closing), (None, vec![]), "{name}: nothing is due");
    }
}

#[test]
fn floors_carry_the_epoch_that_made_them_and_newest_never_falls() {
    let mut view = days("2024-03-10");
    let day = at(&view.leaf, "2024-03-10");
    let newest_at = Some(utc("2024-03-10T09:00:00Z"));
    let newest = Marker { newest: Some("zz".into()), newest_at, floor_epoch: 1, ..Marker::default() };
    view.markers.insert(day, newest);
    let mut pass = listed(&view, ("2024-03-10", "2024-03-10"), "2024-03-10T12:00:00Z");
    pass.seen.insert(day, seen(Some("k"), "z"));
    let settled = settle_days(&view, &[pass], &[]);
    let found = marker(&settled, &view, "2024-03-10").and_then(Option::as_ref).expect("it changed");
    assert_eq!((found.floor_epoch, found.newest.as_deref(), found.newest_at), (2, Some("zz"), newest_at));
}

#[test]
fn a_pass_without_news_stores_nothing() {
    let mut view = days("2024-03-10");
    let mut pass = listed(&view, ("2024-03-10", "2024-03-10"), "2024-03-10T12:00:00Z");
    pass.seen.insert(at(&view.leaf, "2024-03-10"), seen(Some("k"), "k"));
    let first = settle_days(&view, std::slice::from_ref(&pass), &[]);
    let time = at(&view.leaf, "2024-03-10");
    let stored = marker(&first, &view, "2024-03-10").cloned().flatten().expect("it is new");
    view.markers.insert(time, stored);
    assert_eq!(settle_days(&view, &[pass], &[]), Settled::default());
}

#[test]
fn prefixes_close_when_due_listed_from_their_start_and_settled() {
    struct Case {
        name: &'static str,
        now: &'static str,
        from_floor: bool,
        next: Option<&'static str>,
        unsettled: &'static [&'static str],
        through: &'static str,
        closing: &'static [&'static str],
        closed_above: &'static [&'static str],
        drained: &'static [&'static str],
    }
    let base = Case {
        name: "",
        now: "2024-03-10T12:00:00Z",
        from_floor: false,
        next: None,
        unsettled: &[],
        through: "2024-03-10",
        closing: &["2024-03-07", "2024-03-09"],
        closed_above: &[],
        drained: &[],
    };
    // Days 7 and 9 have keys, day 8 has none, day 10 is today.
    let cases = [
        Case { name: "all due days close, the empty one is jumped over", ..base },
        Case {
            name: "one second before the last is due",
            now: "2024-03-10T00:59:59Z",
            through: "2024-03-09",
            closing: &["2024-03-07"],
            ..base
        },
        Case { name: "at the second it is due", now: "2024-03-10T01:00:00Z", ..base },
        Case {
            name: "the first was listed from its floor only: it blocks, the later one closes above it",
            from_floor: true,
            through: "2024-03-07",
            closing: &["2024-03-09"],
            closed_above: &["2024-03-09"],
            ..base
        },
        Case {
            name: "the part ended at day 9",
            next: Some("2024-03-09"),
            through: "2024-03-09",
            closing: &["2024-03-07"],
            ..base
        },
        Case {
            name: "a failed object in the first blocks and drains it",
            unsettled: &["2024-03-07"],
            through: "2024-03-07",
            closing: &["2024-03-09"],
            closed_above: &["2024-03-08", "2024-03-09"],
            drained: &["2024-03-07"],
            ..base
        },
        Case {
            name: "a failed object in the last",
            unsettled: &["2024-03-09"],
            through: "2024-03-09",
            closing: &["2024-03-07"],
            drained: &["2024-03-09"],
            ..base
        },
        Case { name: "a failed object today changes nothing", unsettled: &["2024-03-10"], ..base },
        Case {
            name: "a failed key whose prefix the listing does not show any more",
            unsettled: &["2024-03-08"],
            through: "2024-03-08",
            closed_above: &["2024-03-09"],
            ..base
        },
    ];
    for case in cases {
        let view = days("2024-03-07");
        let mut pass = listed(&view, ("2024-03-07", "2024-03-10"), case.now);
        pass.listing.from_floor = case.from_floor.then(|| at(&view.leaf, "2024-03-07"));
        pass.next = case.next.map(|day| at(&view.leaf, day));
        for day in ["2024-03-07", "2024-03-09", "2024-03-10"] {
            pass.seen.insert(at(&view.leaf, day), seen(None, &format!("a/{day}")));
        }
        let settled = settle_days(&view, &[pass], case.unsettled);
        assert_eq!(through(&view, &settled), case.through, "{}", case.name);
        assert_eq!(closing(&settled), case.closing, "{}", case.name);
        let with = |wanted: fn(&Marker) -> bool| {
            let marked = settled.markers.iter().filter(|(_, marker)| marker.as_ref().is_some_and(wanted));
            marked.map(|(time, _)| time.to_string().replace("T00:00", "")).collect::<Vec<_>>()
        };
        assert_eq!(with(|marker| marker.closed), case.closed_above, "{}", case.name);
        assert_eq!(with(|marker| marker.drained), case.drained, "{}", case.name);
    }
}

#[test]
fn a_prefix_closed_above_is_taken_in_when_the_blocker_closes() {
    let mut view = days("2024-03-07");
    let time = |day| at(&view.leaf, day);
    let (drained, closed, later) = (time("2024-03-07"), time("2024-03-08"), time("2024-03-09"));
    let mut pass = listed(&view, ("2024-03-07", "2024-03-07"), "2024-03-10T12:00:00Z");
    pass.seen.insert(drained, seen(None, "k"));
    view.markers.insert(drained, Marker { drained: true, ..Marker::default() });
    view.markers.insert(closed, Marker { closed: true, ..Marker::default() });
    view.markers.insert(later, Marker::default());
    let settled = settle_days(&view, &[pass], &[]);
    assert_eq!(through(&view, &settled), "2024-03-09", "it stops at the next open one");
    assert_eq!(settled.markers, [(drained, None), (closed, None)], "the record has taken them in");
    assert_eq!(closing(&settled), ["2024-03-07"]);
}

#[test]
fn prefixes_without_entries_close_without_history() {
    let view = days("2024-03-08");
    let mut pass = listed(&view, ("2024-03-08", "2024-03-10"), "2024-03-10T12:00:00Z");
    let skipped = Seen { has_entries: false, ..Seen::default() };
    pass.seen.insert(at(&view.leaf, "2024-03-08"), skipped);
    let settled = settle_days(&view, &[pass], &[]);
    assert_eq!((through(&view, &settled).as_str(), closing(&settled)), ("2024-03-10", vec![]));
}

#[test]
fn prefixes_listed_one_by_one_close_one_by_one() {
    let one = |view: &LeafView, day: &str| {
        let mut one = listed(view, (day, day), "2024-03-10T12:00:00Z");
        one.listing.covered = Covered::Set(BTreeSet::from([at(&view.leaf, day)]));
        one
    };
    let mut view = view(leaf("a/{YYYY}/{m}/{d}", chrono_tz::UTC, "a/"), "2024-03-07");
    let all =
        |view: &LeafView| ["2024-03-07", "2024-03-08", "2024-03-09", "2024-03-10"].map(|day| one(view, day));
    let settled = settle_days(&view, &all(&view), &[]);
    assert_eq!(through(&view, &settled), "2024-03-10", "empty ones too, each was listed");
    let settled = settle_days(&view, &[one(&view, "2024-03-07"), one(&view, "2024-03-09")], &[]);
    assert_eq!(through(&view, &settled), "2024-03-08", "one that was not listed blocks");
    assert_eq!(settled.empty, [at(&view.leaf, "2024-03-09")], "and the one behind it is rechecked");
    let settled = settle_days(&view, &all(&view), &["2024-03-08"]);
    assert_eq!(through(&view, &settled), "2024-03-08");
    assert!(
        marker(&settled, &view, "2024-03-08").is_some_and(|found| found.as_ref().is_some_and(|m| m.drained))
    );

    // Where dates were discovered, those that did not exist are no obstacle.
    view.record.closed_through = at(&view.leaf, "2020-01-01");
    view.record.sparse_until = Some(at(&view.leaf, "2024-03-09"));
    view.markers.insert(at(&view.leaf, "2024-03-07"), Marker::default());
    let settled = settle_days(&view, &[one(&view, "2024-03-10")], &[]);
    assert_eq!(through(&view, &settled), "2024-03-07", "up to the one that does");
    let record = settled.record.clone().expect("it moved");
    assert_eq!(record.sparse_until, view.record.sparse_until);
    let settled = settle_days(&view, &[one(&view, "2024-03-07")], &[]);
    let record = settled.record.clone().expect("it moved");
    assert_eq!((through(&view, &settled).as_str(), record.sparse_until), ("2024-03-09", None));
}

#[test]
fn an_open_ended_prefix_never_closes() {
    let view = view(leaf("logs", chrono_tz::UTC, "logs"), "2024-03-07");
    let time = PrefixTime::OPEN_ENDED;
    let mut pass = listed(&view, ("2024-03-07", "2024-03-07"), "2999-01-01T00:00:00Z");
    pass.listing.covered = Covered::Set(BTreeSet::from([time]));
    pass.seen.insert(time, seen(Some("k"), "k"));
    let settled = settle(&view, &[pass], &Outstanding::default(), &RULE);
    assert_eq!((settled.record, settled.closing), (None, vec![]));
    assert_eq!(settled.markers.len(), 1, "its floor moves");
}

proptest! {
    /// Whatever was seen: `closed_through` never goes back and takes in only prefixes that are
    /// due, settled, and listed from their start (or closed or known not to exist); markers go
    /// only when they are taken in; floors never fall.
    #[test]
    fn what_closes_was_listed_and_settled(
        by_range in any::<bool>(),
        hours in 0_i64..600,
        parts in prop::collection::vec((0_i64..24, 0_i64..24, any::<bool>(), prop::option::of(0_i64..24)), 0..4),
        keys in prop::collection::btree_map(0_i64..24, (prop::option::of("[a-e]"), any::<bool>()), 0..14),
        failing in prop::collection::btree_set(0_i64..24, 0..4),
        marks in prop::collection::btree_map(0_i64..24, (prop::option::of("[a-e]"), 0_usize..4), 0..8),
        sparse in prop::option::of(0_i64..24),
        closed_days in 0_i64..12,
    ) {
        let pattern = if by_range { DAYS } else { "a/{YYYY}/{m}/{d}" };
        let mut view = view(leaf(pattern, chrono_tz::UTC, "a/"), "2024-02-20");
        let leaf = view.leaf.clone();
        let day = move |days: i64| leaf.time_of(utc("2024-02-20T00:00:00Z") + TimeDelta::days(days));
        view.record.closed_through = day(closed_days);
        view.record.sparse_until = sparse.filter(|_| !by_range).map(&day);
        for (days, (floor, kind)) in marks {
            let marker = Marker { floor, closed: kind == 0, drained: kind == 1, ..Marker::default() };
            view.markers.insert(day(days), marker);
        }
        let unsettled: BTreeSet<_> = failing.into_iter().map(&day).filter(|time| view.is_open(*time)).collect();
        let now: DateTime<Utc> = utc("2024-02-20T00:00:00Z") + TimeDelta::hours(hours);
        let passes: Vec<_> = parts.iter().map(|(from, to, from_floor, next)| {
            let (first, last) = (day(*from.min(to)), day(*from.max(to)));
            let covered = match by_range {
                true => Covered::Range(first, last),
                false => Covered::Set(view.leaf.times(first, last).collect()),
            };
            let next = next.map(&day).filter(|next| by_range && (first..=last).contains(next));
            let mut seen = BTreeMap::new();
            for (days, (floor, has_entries)) in &keys {
                let time = day(*days);
                if covered.contains(time) && view.is_open(time) && next.is_none_or(|next| time < next) {
                    let newest = floor.clone().map(|floor| (floor, now));
                    let one = Seen { floor: floor.clone(), newest, has_entries: *has_entries, ..Seen::default() };
                    seen.insert(time, one);
                }
            }
            let listing = Listing { prefix: "a/".into(), start_after: None, covered, from_floor: from_floor.then_some(first) };
            Listed { seen, next, ..Listed::new(listing, now) }
        }).collect();
        let outstanding = Outstanding { failed: unsettled.clone(), unsettled: BTreeSet::new() };
        let settled = settle(&view, &passes, &outstanding, &RULE);

        let due = |time| RULE.closing.is_due(view.leaf.prefix(time).until, now);
        let in_full = |time: PrefixTime| passes.iter().any(|listed| {
            listed.listing.covered.contains(time) && listed.listing.from_floor != Some(time) && listed.next.is_none_or(|next| time < next)
        });
        let may_close = |time| due(time) && in_full(time) && !unsettled.contains(&time);
        let (before, after) = (view.record.closed_through, settled.record.as_ref().map_or(view.record.closed_through, |record| record.closed_through));
        prop_assert!(after >= before, "closed_through went back");
        let mut time = before;
        while time < after {
            prop_assert!(!view.is_open(time) || may_close(time), "{time} was taken in");
            let with_entries = passes.iter().any(|listed| listed.seen.get(&time).is_some_and(|seen| seen.has_entries));
            let open = view.is_open(time);
            prop_assert!(!(open && with_entries) || settled.closing.contains(&time), "the ledger of {time} is lost");
            time = view.leaf.next(time);
        }
        for time in &settled.closing {
            prop_assert!(view.is_open(*time) && may_close(*time), "{time} closes");
        }
        for (time, marker) in &settled.markers {
            let known = view.markers.get(time);
            match marker {
                None => prop_assert!(*time < after && known.is_some(), "the marker of {time} goes"),
                Some(marker) if marker.closed => {
                    prop_assert!(*time >= after && (may_close(*time) || known.is_some_and(|known| known.closed)));
                }
                Some(marker) => {
                    prop_assert!(known.is_none_or(|known| marker.floor >= known.floor), "the floor of {time} fell");
                }
            }
        }
    }
}
