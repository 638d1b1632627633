//! When prefixes close, with clocks that are set back and forth, and plans as a property against
//! what each word means.

use proptest::prelude::*;

use super::tests::{DAYS, LATENESS, RULE, leaf, utc, view};
use super::*;

#[test]
fn closings_are_spread_by_leaf_and_within_bounds() {
    let hour = Duration::from_secs(3600);
    let spreads: BTreeSet<_> = (0..50)
        .map(|number| {
            let leaf = leaf("a/*/{YYYY}", chrono_tz::UTC, &format!("a/{number}/"));
            let rule = ClosingRule::of(&leaf, Duration::ZERO, hour);
            assert_eq!(
                rule.spread,
                ClosingRule::of(&leaf, Duration::ZERO, hour).spread,
                "the same each sweep"
            );
            assert!(rule.spread <= hour);
            rule.spread
        })
        .collect();
    assert!(spreads.len() > 40, "leaves close at different times: {spreads:?}");
    let leaf = leaf("a/{YYYY}", chrono_tz::UTC, "a/");
    assert_eq!(ClosingRule::of(&leaf, hour, Duration::ZERO).spread, Duration::ZERO);
    let rule = ClosingRule { lateness: hour, spread: hour / 2 };
    let until = Some(utc("2024-03-10T00:00:00Z"));
    for (now, due) in [("2024-03-10T01:29:59Z", false), ("2024-03-10T01:30:00Z", true)] {
        assert_eq!(rule.is_due(until, utc(now)), due, "{now}");
    }
    assert!(!rule.is_due(None, DateTime::<Utc>::MAX_UTC), "without dates never");
}

#[test]
fn a_double_hour_closes_after_its_second_pass() {
    use chrono_tz::Europe::Berlin;
    let none = ClosingRule { lateness: Duration::ZERO, spread: Duration::ZERO };
    // Clocks go from 03:00 back to 02:00 at 2024-10-27T01:00Z, and from 02:00 to 03:00 at
    // 2024-03-31T01:00Z.
    let hours = "a/{YYYY}/{mm}/{dd}/{HH}";
    let minutes = "a/{YYYY}/{mm}/{dd}/{HH}/{MM}";
    for (name, pattern, now, want) in [
        ("the first pass begins", hours, "2024-10-27T00:00:00Z", "2024-10-27T02:00"),
        ("the second pass begins", hours, "2024-10-27T01:00:00Z", "2024-10-27T02:00"),
        ("the second pass ends", hours, "2024-10-27T02:00:00Z", "2024-10-27T03:00"),
        ("the hour that is jumped over", hours, "2024-03-31T01:00:00Z", "2024-03-31T03:00"),
        (
            "minutes, in the first pass: all of it comes again",
            minutes,
            "2024-10-27T00:40:00Z",
            "2024-10-27T02:00",
        ),
        ("minutes, in the second pass", minutes, "2024-10-27T01:40:00Z", "2024-10-27T02:40"),
        ("a day of 25 hours", DAYS, "2024-10-27T22:59:59Z", "2024-10-27T00:00"),
        ("a day of 25 hours ends", DAYS, "2024-10-27T23:00:00Z", "2024-10-28T00:00"),
        ("a day of 23 hours ends", DAYS, "2024-03-31T22:00:00Z", "2024-04-01T00:00"),
    ] {
        let leaf = leaf(pattern, Berlin, "a/");
        assert_eq!(none.first_not_due(&leaf, utc(now)).to_string(), want, "{name}");
    }
}

proptest! {
    /// Around both changes of the clock, whatever the step: everything before the first prefix
    /// that is not due is due, and it is not.
    #[test]
    fn all_before_the_first_not_due_is_due(
        minutes in -300_i64..300,
        autumn in any::<bool>(),
        zone in prop::sample::select(vec![
            chrono_tz::UTC, chrono_tz::Europe::Berlin, chrono_tz::Australia::Lord_Howe,
            chrono_tz::America::Sao_Paulo,
        ]),
        step in prop::sample::select(vec!["{YYYY}", "{YYYY}{mm}", "{YYYY}{mm}{dd}", "{YYYY}{mm}{dd}{HH}", "{YYYY}{mm}{dd}{HH}{MM}"]),
        lateness in 0_u64..7200,
        spread in 0_u64..1800,
    ) {
        let change = match (zone, autumn) {
            (chrono_tz::Australia::Lord_Howe, true) => "2024-04-06T15:00:00Z",
            (chrono_tz::Australia::Lord_Howe, false) => "2024-10-05T15:30:00Z",
            (chrono_tz::America::Sao_Paulo, true) => "2018-02-18T02:00:00Z",
            (chrono_tz::America::Sao_Paulo, false) => "2018-11-04T03:00:00Z",
            (_, true) => "2024-10-27T01:00:00Z",
            (_, false) => "2024-03-31T01:00:00Z",
        };
        let leaf = leaf(step, zone, "");
        let rule = ClosingRule { lateness: Duration::from_secs(lateness), spread: Duration::from_secs(spread) };
        let now = utc(change) + TimeDelta::minutes(minutes);
        let first = rule.first_not_due(&leaf, now);
        let due = |time| rule.is_due(leaf.prefix(time).until, now);
        prop_assert!(!due(first), "{first} is due");
        let mut time = first;
        for _ in 0..150 {
            time = leaf.previous(time);
            prop_assert!(due(time), "{time} before {first} is not due");
        }
    }

    /// A plan lists each prefix that is to be listed exactly once, each due one from its start,
    /// and the others from there or from their floor.
    #[test]
    fn a_plan_covers_what_is_open(
        pattern in prop::sample::select(vec![DAYS, "a/{YYYY}/{m}/{d}", "a/{YYYY}/*/{mm}{dd}", "a/{YYYY}/{mm}/{dd}/x-*"]),
        closed_days in 0_i64..40,
        minutes in 0_i64..3000,
        marks in prop::collection::vec((0_i64..42, 0_usize..6, 900_u64..1100), 0..14),
        sparse in prop::option::of(0_i64..42),
        floors in any::<bool>(),
    ) {
        let mut view = view(leaf(pattern, chrono_tz::UTC, "a/"), "2023-12-10");
        let day = |view: &LeafView, days: i64| view.leaf.time_of(utc("2023-12-10T00:00:00Z") + TimeDelta::days(days));
        view.record.closed_through = day(&view, closed_days);
        if !view.leaf.pattern().is_range() {
            view.record.sparse_until = sparse.map(|days| day(&view, days));
        }
        let mut failed = BTreeSet::new();
        for (days, kind, below) in marks {
            let time = day(&view, days);
            let key = format!("{}/k", view.leaf.prefix(time).name.replace('*', "x"));
            match kind {
                0 => { view.markers.entry(time).or_default().closed = true; }
                1 => { view.markers.entry(time).or_default().drained = true; }
                2 => { failed.insert(time); }
                3 => { view.markers.entry(time).or_default(); }
                _ => {
                    let marker = view.markers.entry(time).or_default();
                    (marker.floor, marker.below_floor) = (Some(key), below);
                }
            }
        }
        let now = utc("2024-01-18T00:00:00Z") + TimeDelta::minutes(minutes);
        let rule = PlanRule { floors, ..RULE };
        view.waiting = waiting(&view.leaf, &view.markers, &failed, LATENESS, &[], now);
        let plan = plan(&view, now, &rule);
        let listings: Vec<_> = plan.backlog.iter().chain(&plan.live).collect();
        let mut time = view.record.closed_through;
        while time <= view.leaf.time_of(now) {
            let marker = view.markers.get(&time);
            let sparse = view.record.sparse_until.is_some_and(|until| time < until);
            let closed = marker.is_some_and(|marker| marker.closed) || (sparse && marker.is_none());
            let waits = marker.is_some_and(|marker| marker.drained) && failed.contains(&time);
            prop_assert_eq!(view.is_open(time), !closed, "{}", time);
            let covering: Vec<_> = listings.iter().filter(|listing| listing.covered.contains(time)).collect();
            if closed || waits {
                let alone = covering.iter().any(|listing| matches!(&listing.covered, Covered::Set(times) if times.contains(&time)));
                prop_assert!(!alone, "a LIST for {time}, which is closed or waits");
            } else {
                prop_assert_eq!(covering.len(), 1, "{} is listed once", time);
                let (listing, literal) = (covering[0], view.leaf.prefix(time).literal);
                prop_assert!(literal.starts_with(&listing.prefix));
                let after = listing.start_after.as_deref().unwrap_or("");
                let floor = marker.and_then(|marker| marker.floor.as_deref()).filter(|_| floors);
                let due = LATENESS.is_due(view.leaf.prefix(time).until, now);
                let from_floor = !due && Some(after) == floor && listing.from_floor == Some(time);
                prop_assert!(after < literal.as_str() || from_floor, "{time} from {after}");
            }
            time = view.leaf.next(time);
        }
    }
}
