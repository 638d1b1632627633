use super::*;
use crate::pattern::PrefixPattern;

fn leaf(pattern: &str, zone: Tz) -> Leaf {
    let pattern = PrefixPattern::parse(pattern).expect("a pattern").in_timezone(zone);
    pattern.leaf("logs/").expect("its head")
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn zone(name: &str) -> Tz {
    name.parse().expect("a zone")
}

const DAYS: &str = "logs/{YYYY}/{mm}/{dd}";
const HOURS: &str = "logs/{YYYY}/{mm}/{dd}/{HH}";
const MINUTES: &str = "logs/{YYYY}/{mm}/{dd}/{HH}/{MM}";

#[test]
fn closed_prefixes_stay_closed_as_far_as_they_were_over() {
    // closed through the step that covers the instant in the old zone
    for (name, pattern, old, new, through, want) in [
        ("west", DAYS, "UTC", "America/Los_Angeles", "2026-06-10T00:00:00Z", "2026-06-09T00:00"),
        ("east", DAYS, "UTC", "Asia/Tokyo", "2026-06-10T00:00:00Z", "2026-06-10T00:00"),
        ("from east to west", DAYS, "Asia/Tokyo", "America/Lima", "2026-06-10T00:00:00Z", "2026-06-09T00:00"),
        (
            "over the date line",
            DAYS,
            "Pacific/Kiritimati",
            "Pacific/Pago_Pago",
            "2026-06-10T11:00:00Z",
            "2026-06-09T00:00",
        ),
        (
            "hours to the west",
            HOURS,
            "UTC",
            "America/Los_Angeles",
            "2026-06-10T10:00:00Z",
            "2026-06-10T03:00",
        ),
        (
            "hours to the east are not left out",
            HOURS,
            "UTC",
            "Asia/Kolkata",
            "2026-06-10T10:00:00Z",
            "2026-06-10T10:00",
        ),
        (
            "half an hour west",
            HOURS,
            "Asia/Kolkata",
            "Asia/Karachi",
            "2026-06-10T10:30:00Z",
            "2026-06-10T15:00",
        ),
        ("a double hour", HOURS, "UTC", "Europe/Berlin", "2026-10-25T01:00:00Z", "2026-10-25T01:00"),
        ("from a double hour", HOURS, "Europe/Berlin", "UTC", "2026-10-25T02:00:00Z", "2026-10-25T02:00"),
        ("a jump of the clock", HOURS, "Europe/Berlin", "UTC", "2026-03-29T01:00:00Z", "2026-03-29T01:00"),
        (
            "minutes that come twice",
            MINUTES,
            "Europe/Paris",
            "Europe/Berlin",
            "2026-10-25T00:30:00Z",
            "2026-10-25T02:00",
        ),
    ] {
        let (before, after) = (leaf(pattern, zone(old)), leaf(pattern, zone(new)));
        let was = before.time_of(utc(through));
        let record = LeafRecord { closed_through: was, sparse_until: None, dropped: false };
        let found = rezone(&after, zone(old), &record, &[], utc("2026-01-01T00:00:00Z")).expect("dates");
        assert_eq!(found.record.closed_through.to_string(), want, "{name}");
        let reopened: Vec<_> =
            after.times(found.record.closed_through, was).filter(|time| *time < was).collect();
        assert_eq!(found.reopened.into_iter().collect::<Vec<_>>(), reopened, "{name}");
        let ended = before.prefix(was).from;
        let last = after.previous(found.record.closed_through);
        assert!(after.prefix(last).until <= Some(ended), "{name}: what stays closed was over");
    }
}

#[test]
fn nothing_opens_before_the_start_nor_without_dates() {
    let after = leaf(DAYS, zone("America/Lima"));
    let start = utc("2026-06-10T12:00:00Z");
    let record = LeafRecord { closed_through: after.time_of(start), sparse_until: None, dropped: false };
    let found = rezone(&after, Tz::UTC, &record, &[], start).expect("dates");
    assert_eq!((found.record, found.reopened.len()), (record.clone(), 0));
    let open_ended = PrefixPattern::parse("logs/").expect("a pattern").leaf("logs").expect("its head");
    assert_eq!(rezone(&open_ended, Tz::UTC, &record, &[], start), None);
}

/// Closed above an open one, and where only markers tell what exists.
#[test]
fn markers_of_closed_prefixes_follow() {
    let (before, after) = (leaf(DAYS, Tz::UTC), leaf(DAYS, zone("America/Lima")));
    let day = |day: u32| before.time_of(utc(&format!("2026-06-{day:02}T00:00:00Z")));
    let record = LeafRecord { closed_through: day(5), sparse_until: Some(day(20)), dropped: false };
    let closed = Marker { closed: true, ..Marker::default() };
    let markers: Vec<_> = [6, 8, 9].map(|at| (day(at), closed.clone())).to_vec();
    let found = rezone(&after, Tz::UTC, &record, &markers, utc("2026-01-01T00:00:00Z")).expect("dates");
    let want = LeafRecord { closed_through: day(4), sparse_until: Some(day(19)), dropped: false };
    assert_eq!(found.record, want);
    assert_eq!(found.reopened, BTreeSet::from([day(4), day(9)]), "the last of each run");
    assert_eq!(found.marked, [day(4), day(9)]);
}
