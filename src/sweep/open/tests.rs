use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config;
use crate::state::LastSweep;

/// A source with these settings beside bucket and prefix.
fn source(bucket: &str, prefix: &str, extra: &str) -> SourceConfig {
    let text = format!(
        "state_dir = \"/s\"\n[sink]\ntype = \"stdout\"\n[[source]]\nname = \"main\"\nlog_type = \"cloudtrail\"\n\
         bucket = \"{bucket}\"\nprefix = \"{prefix}\"\n{extra}\n"
    );
    let mut config = config::parse(PathBuf::from("/c.toml"), &text).expect("a good configuration");
    config.sources.remove(0)
}

fn now() -> DateTime<Utc> {
    "2024-03-10T12:00:00Z".parse().expect("an instant")
}

const BRACES: &str = "logs/{YYYY}/{mm}/{dd}";

#[test]
fn a_new_source_begins_at_its_start() {
    for (start, want) in [
        ("start = \"1D\"", "2024-03-09T12:00:00Z"),
        ("start = \"2024-01-15\"", "2024-01-15T00:00:00Z"),
        ("start = \"all\"", "0001-01-01T00:00:00Z"),
    ] {
        let (record, opened) = open(None, &source("acme", BRACES, start), 7, now());
        assert_eq!(opened, Opened::New, "{start}");
        assert_eq!((record.id, record.generation, record.floor_epoch), (7, 1, 1), "{start}");
        assert_eq!(record.start, want.parse::<DateTime<Utc>>().expect("an instant"), "{start}");
    }
}

#[test]
fn changes_raise_what_they_must_and_no_more() {
    let cases = [
        ("nothing", ("acme", BRACES, ""), Opened::AsBefore),
        ("the same pattern in slashes", ("acme", "logs///YYYY/////mm/////dd//", ""), Opened::AsBefore),
        ("a trailing slash", ("acme", "logs/{YYYY}/{mm}/{dd}/", ""), Opened::AsBefore),
        ("another start", ("acme", BRACES, "start = \"30D\""), Opened::AsBefore),
        (
            "settings that move no floor",
            ("acme", BRACES, "recurrence = \"1H\"\nmax_attempts = 9"),
            Opened::AsBefore,
        ),
        ("another bucket", ("other", BRACES, ""), Opened::Generation),
        ("another pattern", ("acme", "logs/{YYYY}/{mm}", ""), Opened::Generation),
        ("pattern and lateness", ("acme", "logs/{YYYY}/{mm}", "lateness = \"2H\""), Opened::Generation),
        ("the zone", ("acme", BRACES, "timezone = \"Europe/Berlin\""), Opened::Floors),
        ("the lateness", ("acme", BRACES, "lateness = \"2H\""), Opened::Floors),
        ("the file pattern", ("acme", BRACES, "file_pattern = 'x.*'"), Opened::Floors),
    ];
    let (first, _) = open(None, &source("acme", BRACES, ""), 7, now());
    let last_sweep =
        Some(LastSweep { at: now(), records: 5, collected: 1, unreachable: None, identity: None });
    let known = SourceRecord { discovered_at: Some(now()), last_sweep, stale: vec![], ..first };
    let later = now() + chrono::TimeDelta::days(9);
    for (name, (bucket, prefix, extra), want) in cases {
        let config = source(bucket, prefix, extra);
        let (record, opened) = open(Some(known.clone()), &config, 99, later);
        assert_eq!(opened, want, "{name}");
        assert_eq!((record.id, record.start), (known.id, known.start), "{name}: number and start stay");
        assert_eq!(record.last_sweep, known.last_sweep, "{name}");
        let expected = match want {
            Opened::AsBefore | Opened::New => (1, 1, known.discovered_at, vec![]),
            Opened::Floors => (1, 2, known.discovered_at, vec![]),
            Opened::Generation => (2, 2, None, vec![1]),
        };
        let found = (record.generation, record.floor_epoch, record.discovered_at, record.stale.clone());
        assert_eq!(found, expected, "{name}");
        let (again, opened) = open(Some(record.clone()), &config, 99, later);
        assert_eq!((again, opened), (record, Opened::AsBefore), "{name}: told once");
    }
}

#[test]
fn generations_that_are_not_deleted_yet_add_up() {
    let (first, _) = open(None, &source("one", BRACES, ""), 7, now());
    let (second, _) = open(Some(first), &source("two", BRACES, ""), 7, now());
    let (third, opened) = open(Some(second), &source("one", BRACES, ""), 7, now());
    assert_eq!((opened, third.generation, third.stale), (Opened::Generation, 3, vec![1, 2]));
}

#[test]
fn floors_of_another_epoch_are_none() {
    let marker = Marker {
        floor: Some("k".into()),
        floor_epoch: 3,
        below_floor: 9,
        newest: Some("z".into()),
        closed: true,
        drained: true,
        ..Marker::default()
    };
    assert_eq!(current(marker.clone(), 3), marker);
    let without = Marker { floor: None, below_floor: 0, ..marker.clone() };
    assert_eq!(current(marker, 4), without, "what else is known stays");
}

#[test]
fn a_new_leaf_begins_at_the_step_of_its_start() {
    let config = source("acme", BRACES, "timezone = \"Europe/Berlin\"\nlateness = \"1H\"");
    let leaf = config.pattern.leaf("logs/").expect("its head");
    let record = new_leaf(&leaf, "2024-03-09T23:30:00Z".parse().expect("an instant"));
    assert_eq!(record.closed_through.to_string(), "2024-03-10T00:00", "the day in the source's zone");
    assert_eq!((record.sparse_until, record.dropped), (None, false));
    assert_eq!(config.lateness, Duration::from_secs(3600));
}
