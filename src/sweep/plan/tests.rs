//! Planning, as tables of what a leaf looks like and the LIST calls that follow.

use super::*;
use crate::pattern::PrefixPattern;

pub(crate) fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("a test instant")
}

pub(crate) fn leaf(pattern: &str, zone: chrono_tz::Tz, head: &str) -> Leaf {
    let pattern = PrefixPattern::parse(pattern).expect("a test pattern").in_timezone(zone);
    pattern.leaf(head).expect("a head of the pattern")
}

/// The time of a leaf at a UTC day or instant.
pub(crate) fn at(leaf: &Leaf, text: &str) -> PrefixTime {
    leaf.time_of(if text.len() == 10 { utc(&format!("{text}T00:00:00Z")) } else { utc(text) })
}

pub(crate) fn view(leaf: Leaf, closed_through: &str) -> LeafView {
    let record = LeafRecord { closed_through: at(&leaf, closed_through), sparse_until: None, dropped: false };
    LeafView { leaf: Arc::new(leaf), record, markers: BTreeMap::new(), waiting: BTreeSet::new() }
}

pub(super) const LATENESS: ClosingRule =
    ClosingRule { lateness: Duration::from_secs(3600), spread: Duration::ZERO };
pub(super) const RULE: PlanRule = PlanRule {
    closing: LATENESS,
    floors: true,
    reconcile_every: Duration::from_secs(24 * 3600),
    page_size: 1000,
};
pub(super) const DAYS: &str = "a/{YYYY}/{mm}/{dd}";

/// What a case says of one prefix.
#[derive(Clone, Copy)]
enum Known {
    Floor(&'static str, u64),
    Closed,
    Drained,
    Failed,
    Seen,
}
use Known::{Closed, Drained, Failed, Floor, Seen};

fn known(view: &mut LeafView, time: PrefixTime, known: Known) {
    if let Failed = known {
        view.waiting.insert(time); // where it is drained
        return;
    }
    let marker = view.markers.entry(time).or_default();
    match known {
        Floor(key, below) => (marker.floor, marker.below_floor) = (Some(key.to_owned()), below),
        Closed => marker.closed = true,
        Drained => marker.drained = true,
        Failed | Seen => {}
    }
}

/// A listing as `prefix | where it starts | what it covers`.
fn show(view: &LeafView, listing: &Listing) -> String {
    let (first, covered) = match &listing.covered {
        Covered::Range(first, last) => (*first, format!("{first}..{last}")),
        Covered::Set(times) => {
            let names: Vec<_> = times.iter().map(ToString::to_string).collect();
            (*times.first().expect("a set is never empty"), names.join("+"))
        }
    };
    let start = just_before(&view.leaf.prefix(first).literal);
    let start = match &listing.start_after {
        None => "all".to_owned(),
        after if *after == start => "start".to_owned(),
        Some(key) => format!("after {key}"),
    };
    let from_floor = if listing.from_floor.is_some() { " (floor)" } else { "" };
    if let Some(time) = listing.from_floor {
        assert_eq!(time, first, "only the first prefix is listed from its floor");
    }
    format!("{} | {start}{from_floor} | {}", listing.prefix, covered.replace("T00:00", ""))
}

fn shown(view: &LeafView, listings: &[Listing]) -> Vec<String> {
    listings.iter().map(|listing| show(view, listing)).collect()
}

struct Case {
    name: &'static str,
    closed_through: &'static str,
    now: &'static str,
    known: &'static [(&'static str, Known)],
    backlog: &'static [&'static str],
    live: &'static [&'static str],
}

fn check(pattern: &str, head: &str, rule: &PlanRule, cases: &[Case]) {
    for case in cases {
        let mut view = view(leaf(pattern, chrono_tz::UTC, head), case.closed_through);
        for (time, what) in case.known {
            let time = at(&view.leaf, time);
            known(&mut view, time, *what);
        }
        view.waiting = waiting(&view.leaf, &view.markers, &view.waiting, LATENESS, &[], utc(case.now));
        let plan = plan(&view, utc(case.now), rule);
        assert_eq!(shown(&view, &plan.backlog), case.backlog, "backlog: {}", case.name);
        assert_eq!(shown(&view, &plan.live), case.live, "live: {}", case.name);
    }
}

#[test]
fn adjacent_prefixes_are_one_range() {
    let cases = [
        Case {
            name: "one day, never listed",
            closed_through: "2024-03-10",
            now: "2024-03-10T12:00:00Z",
            known: &[],
            backlog: &[],
            live: &["a/2024/03/10 | start | 2024-03-10..2024-03-10"],
        },
        Case {
            name: "from the floor",
            closed_through: "2024-03-10",
            now: "2024-03-10T12:00:00Z",
            known: &[("2024-03-10", Floor("a/2024/03/10/k", 7))],
            backlog: &[],
            live: &["a/2024/03/10 | after a/2024/03/10/k (floor) | 2024-03-10..2024-03-10"],
        },
        Case {
            name: "the day before is not due yet: from its floor into today",
            closed_through: "2024-03-09",
            now: "2024-03-10T00:59:59Z",
            known: &[("2024-03-09", Floor("a/2024/03/09/k", 1)), ("2024-03-10", Floor("a/2024/03/10/k", 1))],
            backlog: &[],
            live: &["a/2024/03/ | after a/2024/03/09/k (floor) | 2024-03-09..2024-03-10"],
        },
        Case {
            name: "the day before is due at the very second: back to its start, so that it can close",
            closed_through: "2024-03-09",
            now: "2024-03-10T01:00:00Z",
            known: &[("2024-03-09", Floor("a/2024/03/09/k", 1)), ("2024-03-10", Floor("a/2024/03/10/k", 1))],
            backlog: &[],
            live: &["a/2024/03/ | start | 2024-03-09..2024-03-10"],
        },
        Case {
            name: "over the end of February",
            closed_through: "2024-02-29",
            now: "2024-03-01T00:30:00Z",
            known: &[],
            backlog: &[],
            live: &["a/2024/0 | start | 2024-02-29..2024-03-01"],
        },
        Case {
            name: "over the end of September",
            closed_through: "2024-09-30",
            now: "2024-10-01T00:30:00Z",
            known: &[],
            backlog: &[],
            live: &["a/2024/ | start | 2024-09-30..2024-10-01"],
        },
        Case {
            name: "over the end of the year, from the floor",
            closed_through: "2023-12-31",
            now: "2024-01-01T00:30:00Z",
            known: &[("2023-12-31", Floor("a/2023/12/31/k", 1))],
            backlog: &[],
            live: &["a/202 | after a/2023/12/31/k (floor) | 2023-12-31..2024-01-01"],
        },
        Case {
            name: "a week of downtime is backlog, listed apart from the live days",
            closed_through: "2024-03-01",
            now: "2024-03-10T12:00:00Z",
            known: &[("2024-03-01", Floor("a/2024/03/01/k", 1))],
            backlog: &["a/2024/03/0 | start | 2024-03-01..2024-03-08"],
            live: &["a/2024/03/ | start | 2024-03-09..2024-03-10"],
        },
        Case {
            name: "a day becomes backlog one day after it is due",
            closed_through: "2024-03-08",
            now: "2024-03-10T01:00:00Z",
            known: &[],
            backlog: &["a/2024/03/08 | start | 2024-03-08..2024-03-08"],
            live: &["a/2024/03/ | start | 2024-03-09..2024-03-10"],
        },
        Case {
            name: "all is closed into the future: nothing to list",
            closed_through: "2024-03-12",
            now: "2024-03-10T12:00:00Z",
            known: &[],
            backlog: &[],
            live: &[],
        },
    ];
    check(DAYS, "a/", &RULE, &cases);
}

#[test]
fn closed_and_drained_prefixes_are_not_listed() {
    let cases = [
        Case {
            name: "a drained one with failed objects waits; the closed one behind it is passed",
            closed_through: "2024-03-08",
            now: "2024-03-10T12:00:00Z",
            known: &[("2024-03-08", Drained), ("2024-03-08", Failed), ("2024-03-09", Closed)],
            backlog: &[],
            live: &["a/2024/03/10 | start | 2024-03-10..2024-03-10"],
        },
        Case {
            name: "drained, and nothing failed any more: listed once more, to close",
            closed_through: "2024-03-08",
            now: "2024-03-10T12:00:00Z",
            known: &[("2024-03-08", Drained), ("2024-03-09", Closed)],
            backlog: &["a/2024/03/08 | start | 2024-03-08..2024-03-08"],
            live: &["a/2024/03/10 | start | 2024-03-10..2024-03-10"],
        },
        Case {
            name: "failed but not listed in full yet",
            closed_through: "2024-03-09",
            now: "2024-03-10T12:00:00Z",
            known: &[("2024-03-09", Seen), ("2024-03-09", Failed)],
            backlog: &[],
            live: &["a/2024/03/ | start | 2024-03-09..2024-03-10"],
        },
        Case {
            name: "a closed one within the range does not cut it",
            closed_through: "2024-03-09",
            now: "2024-03-11T00:30:00Z",
            known: &[("2024-03-10", Closed)],
            backlog: &[],
            live: &["a/2024/03/ | start | 2024-03-09..2024-03-11"],
        },
    ];
    check(DAYS, "a/", &RULE, &cases);
}

#[test]
fn a_range_is_cut_where_more_than_a_page_lies_below_a_floor() {
    let two =
        |below| [("2024-03-09", Floor("a/2024/03/09/k", 1)), ("2024-03-10", Floor("a/2024/03/10/k", below))];
    let whole = "a/2024/03/ | after a/2024/03/09/k (floor) | 2024-03-09..2024-03-10";
    let cut = [
        "a/2024/03/09 | after a/2024/03/09/k (floor) | 2024-03-09..2024-03-09",
        "a/2024/03/10 | after a/2024/03/10/k (floor) | 2024-03-10..2024-03-10",
    ];
    let now = "2024-03-10T00:30:00Z";
    for (name, below, floors, want) in [
        ("one page exactly", 1000, true, &[whole][..]),
        ("one key more", 1001, true, &cut[..]),
        ("floors are not kept", 5000, false, &["a/2024/03/ | start | 2024-03-09..2024-03-10"][..]),
    ] {
        let mut view = view(leaf(DAYS, chrono_tz::UTC, "a/"), "2024-03-09");
        for (time, what) in two(below) {
            let time = at(&view.leaf, time);
            known(&mut view, time, what);
        }
        let plan = plan(&view, utc(now), &PlanRule { floors, ..RULE });
        assert_eq!(shown(&view, &plan.live), want, "{name}");
    }
    let due = [Case {
        name: "due days are listed from their start, however many keys they have",
        closed_through: "2024-03-08",
        now: "2024-03-10T02:00:00Z",
        known: &[
            ("2024-03-09", Floor("a/2024/03/09/k", 5000)),
            ("2024-03-10", Floor("a/2024/03/10/k", 5000)),
        ],
        backlog: &["a/2024/03/08 | start | 2024-03-08..2024-03-08"],
        live: &[
            "a/2024/03/09 | start | 2024-03-09..2024-03-09",
            "a/2024/03/10 | after a/2024/03/10/k (floor) | 2024-03-10..2024-03-10",
        ],
    }];
    check(DAYS, "a/", &RULE, &due);
}

#[test]
fn prefixes_that_do_not_sort_by_time_are_listed_one_by_one() {
    let cases = [
        Case {
            name: "one LIST each, due ones from their start",
            closed_through: "2024-09-30",
            now: "2024-10-01T02:00:00Z",
            known: &[("2024-09-30", Floor("a/2024/9/30/k", 1)), ("2024-10-01", Floor("a/2024/10/1/k", 1))],
            backlog: &[],
            live: &[
                "a/2024/9/30 | all | 2024-09-30",
                "a/2024/10/1 | after a/2024/10/1/k (floor) | 2024-10-01",
            ],
        },
        Case {
            name: "backlog apart, closed ones left out",
            closed_through: "2024-09-28",
            now: "2024-10-01T02:00:00Z",
            known: &[("2024-09-29", Closed)],
            backlog: &["a/2024/9/28 | all | 2024-09-28"],
            live: &["a/2024/9/30 | all | 2024-09-30", "a/2024/10/1 | all | 2024-10-01"],
        },
    ];
    check("a/{YYYY}/{m}/{d}", "a/", &RULE, &cases);
    let shared = [Case {
        name: "one literal, so one LIST, in full although both have floors",
        closed_through: "2024-03-09",
        now: "2024-03-10T00:30:00Z",
        known: &[("2024-03-09", Floor("a/2024/x/09/k", 1)), ("2024-03-10", Floor("a/2024/x/10/k", 1))],
        backlog: &[],
        live: &["a/2024/ | all | 2024-03-09+2024-03-10"],
    }];
    check("a/{YYYY}/*/{mm}-{dd}", "a/", &RULE, &shared);
}

#[test]
fn a_sparse_leaf_is_listed_where_dates_were_found() {
    let mut view = view(leaf("a/{YYYY}/{m}/{d}", chrono_tz::UTC, "a/"), "2020-01-01");
    for day in ["2021-05-05", "2024-02-02"] {
        let time = at(&view.leaf, day);
        known(&mut view, time, Seen);
    }
    view.record.sparse_until = Some(at(&view.leaf, "2024-03-09"));
    let found = plan(&view, utc("2024-03-10T00:30:00Z"), &RULE);
    assert_eq!(
        shown(&view, &found.backlog),
        ["a/2021/5/5 | all | 2021-05-05", "a/2024/2/2 | all | 2024-02-02"]
    );
    assert_eq!(
        shown(&view, &found.live),
        ["a/2024/3/9 | all | 2024-03-09", "a/2024/3/10 | all | 2024-03-10"]
    );
    assert!(!view.is_open(at(&view.leaf, "2021-05-06")), "a date that did not exist is not open");
    assert!(view.is_open(at(&view.leaf, "2024-03-09")), "from the discovery on every date is");
}

#[test]
fn an_open_ended_prefix_is_one_list() {
    let open = |floor: Option<&str>, floors, in_full: Option<&str>| {
        let mut view = view(leaf("logs/app", chrono_tz::UTC, "logs/app"), "2024-03-09");
        assert_eq!(view.record.closed_through, PrefixTime::OPEN_ENDED);
        let (floor, listed_in_full) = (floor.map(str::to_owned), in_full.map(utc));
        let marker = Marker { floor, listed_in_full, ..Marker::default() };
        view.markers.insert(PrefixTime::OPEN_ENDED, marker);
        let plan = plan(&view, utc("2024-03-10T00:30:00Z"), &PlanRule { floors, ..RULE });
        assert!(plan.backlog.is_empty());
        shown(&view, &plan.live)
    };
    let (lately, long_ago) = (Some("2024-03-09T12:00:00Z"), Some("2024-03-08T12:00:00Z"));
    let (in_full, from_floor) =
        ("logs/app | all | open-ended", "logs/app | after logs/app-7 (floor) | open-ended");
    for (name, floor, floors, last, want) in [
        ("no floor yet", None, true, lately, in_full),
        ("from its floor", Some("logs/app-7"), true, lately, from_floor),
        ("time to reconcile", Some("logs/app-7"), true, long_ago, in_full),
        ("never compared in full", Some("logs/app-7"), true, None, in_full),
        ("floors are not kept", Some("logs/app-7"), false, lately, in_full),
    ] {
        assert_eq!(open(floor, floors, last), [want], "{name}");
    }
}

#[test]
fn what_is_left_of_a_part_begins_at_its_next_prefix() {
    let view = view(leaf(DAYS, chrono_tz::UTC, "a/"), "2024-03-01");
    let backlog = plan(&view, utc("2024-03-10T12:00:00Z"), &RULE).backlog.remove(0);
    assert_eq!(rest(&view, &backlog, None), None, "it came to its end");
    let left = rest(&view, &backlog, Some(at(&view.leaf, "2024-03-04"))).expect("five days are left");
    assert_eq!(show(&view, &left), "a/2024/03/0 | start | 2024-03-04..2024-03-08");
}

#[test]
fn literals_share_whole_characters() {
    for (one, other, want) in [
        ("a/2024/02/29", "a/2024/03/01", "a/2024/0"),
        ("a", "a", "a"),
        ("a", "ab", "a"),
        ("ab", "a", "a"),
        ("", "x", ""),
        ("é1", "è1", ""),
        ("xé", "xè", "x"),
    ] {
        assert_eq!(common_start(one, other), want, "{one} {other}");
    }
}

#[test]
fn a_prefix_that_waits_is_listed_at_the_ages_of_rechecks() {
    let view = view(leaf(DAYS, chrono_tz::UTC, "a/"), "2024-03-01");
    let day = at(&view.leaf, "2024-03-01"); // due on the second, at one
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    let ages = [days(1), days(7)];
    for (name, listed, now, waits) in [
        ("listed when it was due", Some("2024-03-02T02:00:00Z"), "2024-03-03T00:59:59Z", true),
        ("a day after that", Some("2024-03-02T02:00:00Z"), "2024-03-03T01:00:00Z", false),
        ("listed then", Some("2024-03-03T01:00:00Z"), "2024-03-03T01:05:00Z", true),
        ("a week after", Some("2024-03-03T01:00:00Z"), "2024-03-09T01:00:00Z", false),
        ("one listing for both ages", Some("2024-03-20T00:00:00Z"), "2024-06-01T00:00:00Z", true),
        ("by a version that did not write it down, the first day", None, "2024-03-02T12:00:00Z", true),
        ("and later", None, "2024-03-05T12:00:00Z", false),
    ] {
        let marker = Marker { drained: true, listed_in_full: listed.map(utc), ..Marker::default() };
        let (markers, failed) = (BTreeMap::from([(day, marker)]), BTreeSet::from([day]));
        let (none, new) = (BTreeSet::new(), BTreeMap::new());
        let waiting = |markers, failed| waiting(&view.leaf, markers, failed, LATENESS, &ages, utc(now));
        assert_eq!(waiting(&markers, &failed).contains(&day), waits, "{name}");
        assert!(waiting(&markers, &none).is_empty(), "{name}: nothing is failed");
        assert!(waiting(&new, &failed).is_empty(), "{name}: never listed in full");
    }
}
