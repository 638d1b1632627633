use proptest::prelude::*;

use super::*;
use crate::state::{LastSweep, StoredIdentity};

const SOURCE: SourceKey = SourceKey { id: 3, generation: 2 };

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("an instant")
}

fn time(minutes: i64) -> PrefixTime {
    PrefixTime::from_minutes(minutes).expect("a time")
}

/// Minutes of the times that a pattern can make, and the open-ended one.
fn any_minutes() -> impl Strategy<Value = i64> {
    prop_oneof![Just(PrefixTime::OPEN_ENDED.as_minutes()), -900_000_000_i64..4_000_000_000, -3_i64..3,]
}

#[test]
fn ledger_entries_have_a_fixed_form() {
    let entry = LedgerEntry {
        etag: "ab-2".into(),
        outcome: Outcome::Replaced,
        records: 258,
        last_modified: at(1),
        settled_at: at(-1),
        reason: None,
    };
    let bytes = encode_entry(&entry);
    assert_eq!(bytes, b"\x02\x03\x82\x02\x02\x03ab-2");
    assert_eq!(decode_entry(&bytes).expect("its own form"), entry);

    let short = LedgerEntry { etag: "00ff0000000000000000000000000001".into(), ..entry.clone() };
    let bytes = encode_entry(&short);
    assert_eq!(bytes, b"\x02\x83\x82\x02\x02\x03\0\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\x01");
    assert_eq!(decode_entry(&bytes).expect("its own form"), short);
    for etag in [
        "00FF0000000000000000000000000001",
        "00ff000000000000000000000000001",
        "+0ff0000000000000000000000000001",
    ] {
        let text = LedgerEntry { etag: etag.into(), ..entry.clone() };
        assert_eq!(decode_entry(&encode_entry(&text)).expect("its own form"), text);
    }
}

#[test]
fn the_first_version_of_ledger_entries_is_read() {
    let mut bytes = vec![1, 3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1];
    bytes.extend([0xff; 8]);
    bytes.extend(b"ab-2");
    let entry = decode_entry(&bytes).expect("an earlier form");
    assert_eq!((entry.etag.as_str(), entry.outcome, entry.records), ("ab-2", Outcome::Replaced, 258));
    assert_eq!((entry.last_modified, entry.settled_at), (at(1), at(-1)));
    for (at, byte) in [(1, 6), (26, 0xff)] {
        let mut damaged = bytes.clone();
        damaged[at] = byte;
        assert!(matches!(decode_entry(&damaged), Err(StateError::Damaged { .. })), "byte {at}");
    }
    assert!(matches!(decode_entry(&bytes[..25]), Err(StateError::Damaged { .. })));
}

#[test]
fn a_ledger_entry_with_a_reason_keeps_it() {
    let entry = LedgerEntry {
        etag: "ab-2".into(),
        outcome: Outcome::Dropped,
        records: 2,
        last_modified: at(1),
        settled_at: at(2),
        reason: Some("beyond repair".into()),
    };
    let bytes = encode_entry(&entry);
    assert_eq!(bytes, b"\x02\x45\x02\x02\x02\x04ab-2beyond repair");
    assert_eq!(decode_entry(&bytes).expect("its own form"), entry);
    let short = LedgerEntry { etag: "00ff0000000000000000000000000001".into(), ..entry.clone() };
    assert_eq!(decode_entry(&encode_entry(&short)).expect("its own form"), short);
    for length in 0..10 {
        assert!(decode_entry(&bytes[..length]).is_err(), "{length} bytes of it");
    }
}

#[test]
fn every_outcome_comes_back_under_its_own_number() {
    for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
        let entry = LedgerEntry {
            etag: String::new(),
            outcome,
            records: 0,
            last_modified: at(0),
            settled_at: at(0),
            reason: None,
        };
        let bytes = encode_entry(&entry);
        assert_eq!((usize::from(bytes[1]), decode_entry(&bytes).expect("its own form")), (number, entry));
    }
}

#[test]
fn rechecks_sort_by_when_they_are_due() {
    let mut keys: Vec<_> = [(7, "", 3), (0, "a/", -1), (-5, "z/", 9), (0, "a/b", 0), (7, "a\0", 2)]
        .into_iter()
        .map(|(due, head, minutes)| {
            (recheck_key(SOURCE, at(due), head, time(minutes)), (at(due), head.to_owned(), time(minutes)))
        })
        .collect();
    keys.sort();
    assert!(keys.is_sorted_by_key(|(_, (due, ..))| *due));
    for (key, parts) in &keys {
        assert_eq!(recheck_of(key).expect("its own form"), *parts);
    }
    let (from, to) = recheck_range(SOURCE, at(0));
    let due = keys.iter().filter(|(key, _)| (&from..&to).contains(&key)).count();
    assert_eq!(due, 3, "those of the last instant are due too");
}

#[test]
fn rechecks_are_short_and_read_in_both_forms() {
    let frame = ("2026-06-02.jsonl.zst".to_owned(), 70_000);
    let recheck = Recheck {
        closed_at: at(1_780_000_000),
        done: 1,
        frames: vec![frame.clone()],
        extra: false,
        waits_since: None,
    };
    let nanos = chrono::TimeDelta::nanoseconds(1_234_567);
    let mut forms = vec![recheck.clone(), Recheck { frames: Vec::new(), ..recheck.clone() }];
    forms.push(Recheck {
        extra: true,
        frames: vec![frame.clone(), (String::new(), u64::MAX)],
        ..recheck.clone()
    });
    forms.push(Recheck { waits_since: Some(at(-5) + nanos), closed_at: at(0) + nanos, ..recheck.clone() });
    forms.push(Recheck { waits_since: Some(at(9)), extra: true, done: u32::MAX, ..recheck.clone() });
    for form in forms {
        let bytes = encode_recheck(&form);
        assert_eq!(decode_recheck(&bytes).expect("its own form"), form);
        assert_eq!(decode_recheck(&json(&form)).expect("the first form"), form);
        for length in 0..bytes.len() {
            // cut between two frames it is another one
            let cut = decode_recheck(&bytes[..length]);
            assert!(cut.is_err() || cut.is_ok_and(|cut| cut.frames.len() < form.frames.len()));
        }
    }
    assert!(encode_recheck(&recheck).len() < 35);
    assert!(matches!(decode_recheck(&[3, 0]), Err(StateError::Newer { .. })));
    assert!(matches!(decode_recheck(&[2, 4, 0, 0, 0]), Err(StateError::Damaged { .. })), "an unknown flag");
}

#[test]
fn blocks_hold_what_is_packed_and_nothing_else() {
    let recheck = Change::PutRecheck(
        SOURCE,
        at(5),
        "a/".into(),
        time(5),
        Box::new(Recheck { closed_at: at(0), done: 0, frames: Vec::new(), extra: false, waits_since: None }),
    );
    for (change, is_packed) in [(recheck, true), (Change::PutDeadLetter(5), false)] {
        let (key, value) = encode(&change);
        assert_eq!(super::is_packed(&key), is_packed);
        let block = [&[BLOCK], key.as_slice()].concat();
        let mut packer = crate::state::packed::Packer::new(&key);
        packer.push(&key, value.as_deref());
        assert_eq!(check(&block, &packer.finish()).is_ok(), is_packed, "{change:?}");
    }
    assert!(PACKED.is_sorted());
}

#[test]
fn a_later_version_is_refused_by_name_and_damage_is_told_from_it() {
    let entry = LedgerEntry {
        etag: "e".into(),
        outcome: Outcome::Empty,
        records: 0,
        last_modified: at(0),
        settled_at: at(0),
        reason: None,
    };
    let entry = encode_entry(&entry);
    let with = |mut bytes: Vec<u8>, at: usize, byte: u8| {
        bytes[at] = byte;
        bytes
    };
    let number = json(&7_u64);
    type Decoded = Result<(), StateError>;
    let entry_of = |bytes: &[u8]| -> Decoded { decode_entry(bytes).map(|_| ()) };
    let json_of = |bytes: &[u8]| -> Decoded { decode_json::<u64>(bytes).map(|_| ()) };
    let cases: [(&str, Decoded, Option<bool>); 12] = [
        ("an entry", entry_of(&entry), None),
        ("an entry of a later version", entry_of(&with(entry.clone(), 0, 3)), Some(true)),
        ("one of a much later version, in another form", entry_of(&[200]), Some(true)),
        ("version 0", entry_of(&with(entry.clone(), 0, 0)), Some(false)),
        ("an unknown outcome", entry_of(&with(entry.clone(), 1, 6)), Some(false)),
        ("cut", entry_of(&entry[..4]), Some(false)),
        ("empty", entry_of(&[]), Some(false)),
        ("an ETag that is no text", entry_of(&with(entry, 5, 0xff)), Some(false)),
        ("a value", json_of(&number), None),
        ("a value of a later version", json_of(&with(number.clone(), 0, 2)), Some(true)),
        ("no JSON", json_of(&[1, b'x']), Some(false)),
        ("no value", json_of(&[]), Some(false)),
    ];
    for (name, decoded, newer) in cases {
        let found = decoded.err().map(|error| match error {
            StateError::Newer { .. } => true,
            StateError::Damaged { .. } => false,
            other => panic!("{name}: {other}"),
        });
        assert_eq!(found, newer, "{name}");
    }
}

#[test]
fn values_of_every_kind_come_back() {
    fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(decode_json::<T>(&json(&value)).expect("its own form"), value);
    }
    let identity = StoredIdentity { provider: "ö".into(), access_key_id: "AKIA".into(), arn: None };
    let sweep = LastSweep {
        at: at(9),
        records: u64::MAX,
        collected: 0,
        unreachable: Some("no\n\"".into()),
        identity: Some(identity),
    };
    same(SourceRecord {
        id: u32::MAX,
        generation: 1,
        bucket: "file:///srv/ö".into(),
        pattern: "a/{YYYY}".into(),
        floor_settings: "UTC 3600 .*".into(),
        floor_epoch: 4,
        start: DateTime::<Utc>::MIN_UTC,
        discovered_at: Some(at(5) + chrono::TimeDelta::nanoseconds(7)),
        stale: vec![1, 2],
        last_sweep: Some(sweep),
        sweeps: u64::MAX,
        readable_in: Some(3),
    });
    for minutes in [PrefixTime::OPEN_ENDED.as_minutes(), 0, -1] {
        same(LeafRecord { closed_through: time(minutes), sparse_until: Some(time(minutes)), dropped: true });
    }
    same(LeafRecord { closed_through: time(1), sparse_until: None, dropped: false });
    same(Marker::default());
    same(Marker {
        floor: Some("a/\u{10ffff}\0".into()),
        floor_epoch: 1,
        below_floor: u64::MAX,
        newest: Some(String::new()),
        newest_at: Some(at(-5)),
        closed: true,
        drained: true,
        listed_in_full: Some(at(7)),
        forgotten: Some(crate::state::Forgotten { through: "k".into(), before: at(8) }),
    });
    same(FailedObject {
        etag: "e".into(),
        size: u64::MAX,
        last_modified: at(1),
        archived: true,
        leaf: "a/".into(),
        time: time(5),
        class: "object".into(),
        reason: "403".into(),
        attempts: u32::MAX,
        since: 2,
        sweep: 3,
        retry_at: at(2),
    });
    same(Progress {
        etag: "e".into(),
        ordinal: 1,
        delivered: 2,
        dead_letters: 3,
        offset: u64::MAX,
        log_type: "cloudtrail".into(),
        decoder: u16::MAX,
        unfinished: false,
    });
    same(Quarantined {
        source: "s".into(),
        bucket: "b".into(),
        key: "k".into(),
        etag: "e".into(),
        class: "content".into(),
        reason: "r".into(),
        offset: 1,
        records: 2,
        attempts: 3,
        at: at(4),
        size: 5,
        progress: None,
    });
    same(Position { sink_id: "i".into(), path: "/p".into(), sequence: 1, length: 2, sealed: true });
}

/// Values as an earlier version wrote them, without fields that came later, and as a later one of
/// the same form would, with fields that this one does not know. Written by hand: they must be
/// read for ever.
#[test]
fn values_of_earlier_and_later_writers_of_the_same_form_are_read() {
    fn of<T: DeserializeOwned>(text: &str) -> T {
        decode_json(&[&[1], text.as_bytes()].concat()).expect("the same form")
    }
    let marker: Marker = of(
        r#"{"floor":"k","floor_epoch":2,"below_floor":3,"newest":null,"newest_at":null,"closed":false,"drained":true}"#,
    );
    assert_eq!((marker.floor.as_deref(), marker.drained, marker.listed_in_full), (Some("k"), true, None));
    let marker: Marker = of(
        r#"{"floor":null,"floor_epoch":2,"below_floor":3,"newest":null,"newest_at":null,"closed":true,"drained":false,"checked":["x"]}"#,
    );
    assert!(marker.closed);
    let leaf: LeafRecord =
        of(r#"{"closed_through":"2026-06-02T00:00:00","sparse_until":null,"dropped":false,"colour":7}"#);
    assert_eq!(leaf.closed_through.to_string(), "2026-06-02T00:00");
    let source: SourceRecord = of(
        r#"{"id":3,"generation":2,"bucket":"b","pattern":"p","floor_settings":"f","floor_epoch":1,"start":"2026-06-01T00:00:00Z","discovered_at":null,"stale":[1],"last_sweep":{"at":"2026-06-01T00:00:00Z","records":1,"collected":2,"unreachable":null,"seconds":4},"sweeps":9,"later":{}}"#,
    );
    assert_eq!((source.key(), source.sweeps), (SourceKey { id: 3, generation: 2 }, 9));
    let position: Position =
        of(r#"{"sink_id":"i","path":"/p","sequence":1,"length":2,"sealed":true,"later":0}"#);
    assert_eq!((position.sequence, position.length, position.sealed), (1, 2, true));
    let failed: FailedObject = of(
        r#"{"etag":"e","size":1,"last_modified":"2026-06-01T00:00:00Z","archived":false,"leaf":"a/","time":"2026-06-01T00:00:00","class":"a later class","reason":"r","attempts":1,"sweep":2,"retry_at":"2026-06-01T00:00:00Z","later":0}"#,
    );
    assert_eq!(failed.class(), crate::failure::Class::Transient, "tried again");
}

#[test]
fn every_kind_of_pair_is_checked() {
    let head = || "a/".to_owned();
    let good = [
        (source_key("s"), &b"\x01{}"[..]),
        (named_key(LEAF, SOURCE, "a/"), b"\x01{}"),
        (timed_key(MARKER, SOURCE, "a/", time(5)), b"\x01{}"),
        (named_key(ENTRY, SOURCE, "k"), b"\x01\x09"),
        (named_key(FAILED, SOURCE, "k"), b"\x01{}"),
        (named_key(PROGRESS, SOURCE, "k"), b"\x01{}"),
        (quarantine_key(1, "k"), b"\x01{}"),
        (encode(&Change::PutHistory("f".into(), 1)).0, b"\x01{}"),
        (paused_key("s"), b"\x01{}"),
        (meta_key("sink"), b"\x01{}"),
        (meta_key("dead_letter"), b"\x01{}"),
    ];
    for (key, value) in good {
        assert!(matches!(check(&key, value), Err(StateError::Damaged { .. })), "{key:?}");
        let newer = [&[9], value].concat();
        assert!(matches!(check(&key, &newer), Err(StateError::Newer { .. })), "{key:?}");
    }
    let changes = [
        Change::PutMarker(SOURCE, head(), time(5), Box::default()),
        Change::PutCleanup(SOURCE, head(), time(5)),
        Change::PutHistory("f".into(), 1),
        Change::PutDeadLetter(5),
        Change::PutPaused("s".into(), DateTime::UNIX_EPOCH),
        Change::PutSink(Position::default()),
    ];
    for change in changes {
        let (key, value) = encode(&change);
        check(&key, &value.expect("it puts")).expect("its own form");
    }
    assert!(check(&[CLEANUP, 1, 2], &[]).is_err(), "a key that names no prefix");
    check(b"zzz", b"anything").expect("a kind of a later version");
}

#[test]
fn a_head_that_begins_another_has_markers_of_its_own() {
    let heads = ["", "a", "a/", "a/b/", "b", "\u{10ffff}"];
    for head in heads {
        let (from, to) = marker_range(MARKER, SOURCE, head);
        for other in heads {
            for minutes in [PrefixTime::OPEN_ENDED.as_minutes(), -1, 0, 4_000_000_000] {
                let key = timed_key(MARKER, SOURCE, other, time(minutes));
                assert_eq!(from <= key && key < to, head == other, "{head:?} {other:?} {minutes}");
            }
        }
    }
}

#[test]
fn keys_that_name_no_prefix_are_damage() {
    let good = timed_key(MARKER, SOURCE, "é", time(5));
    assert_eq!(head_and_time(&good).expect("its own form"), ("é".to_owned(), time(5)));
    for length in 0..21 {
        assert!(head_and_time(&good[..length]).is_err(), "{length} bytes");
    }
    let beyond = [&good[..good.len() - 8], &[0xff; 8]].concat();
    assert!(head_and_time(&beyond).is_err(), "a time beyond the calendar");
    assert!(name_after(&[b'e', 0xff], 1).is_err(), "a name that is no text");
}

#[test]
fn ends_of_ranges_lie_behind_all_that_begins_so() {
    for (start, end) in
        [(&b"a"[..], &b"b"[..]), (b"a\xff", b"b"), (b"a\xff\xff", b"b"), (b"a\x00", b"a\x01"), (b"ab", b"ac")]
    {
        assert_eq!(after_all(start), end, "{start:?}");
    }
    let last = SourceKey { id: u32::MAX, generation: u32::MAX };
    let (from, to) = source_range(ENTRY, last);
    let key = named_key(ENTRY, last, "\u{10ffff}");
    assert!(from <= key && key < to);
    assert!(to <= tag_range(ENTRY).1, "the last source ends with its kind");
}

proptest! {
    /// The ledger sorts as the keys of S3 do.
    #[test]
    fn ledger_keys_sort_as_object_keys(one in ".{0,12}", other in ".{0,12}") {
        let stored = |key: &str| named_key(ENTRY, SOURCE, key);
        prop_assert_eq!(stored(&one).cmp(&stored(&other)), one.as_bytes().cmp(other.as_bytes()));
        prop_assert_eq!(name_after(&stored(&one), stored("").len()).unwrap(), one);
    }

    /// Markers of one leaf sort by time.
    #[test]
    fn markers_sort_by_time(head in "[a/]{0,4}", one in any_minutes(), other in any_minutes()) {
        let (Some(first), Some(second)) = (PrefixTime::from_minutes(one), PrefixTime::from_minutes(other)) else { return Ok(()) };
        let stored = |time| timed_key(MARKER, SOURCE, &head, time);
        prop_assert_eq!(stored(first).cmp(&stored(second)), first.cmp(&second));
        prop_assert_eq!(head_and_time(&stored(first)).unwrap(), (head.clone(), first));
    }

    /// A key of one kind, source and generation lies in no other's range.
    #[test]
    fn kinds_sources_and_generations_never_mix(
        one in (0_usize..6, any::<u32>(), any::<u32>(), ".{0,6}"),
        other in (0_usize..6, any::<u32>(), any::<u32>()),
        near in any::<bool>(),
    ) {
        let key_of = |kind: usize, id, generation| (GENERATION_TAGS[kind], SourceKey { id, generation });
        let (tag, source) = key_of(one.0, one.1, one.2);
        let (other_tag, other_source) = match near {
            true => key_of(one.0, one.1, one.2.wrapping_add(1)),
            false => key_of(other.0, other.1, other.2),
        };
        let key = named_key(tag, source, &one.3);
        let (from, to) = source_range(other_tag, other_source);
        prop_assert_eq!(from <= key && key < to, (tag, source) == (other_tag, other_source));
        let (from, to) = source_range(tag, source);
        prop_assert!(from <= key && key < to);
    }

    /// Whatever bytes are stored, reading them is an error or a value.
    #[test]
    fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), version in 0_u8..3) {
        let versioned = [&[version][..], &bytes].concat();
        for bytes in [&bytes, &versioned] {
            if let Ok(entry) = decode_entry(bytes) {
                prop_assert_eq!(&decode_entry(&encode_entry(&entry)).unwrap(), &entry);
                if bytes[0] == 2 {
                    prop_assert_eq!(&encode_entry(&entry), bytes, "one form per value");
                }
            }
            let _ = decode_json::<Marker>(bytes);
            let _ = decode_json::<SourceRecord>(bytes);
            let _ = decode_json::<Position>(bytes);
            let _ = head_and_time(bytes);
            let _ = name_after(bytes, 9);
        }
    }

    #[test]
    fn ledger_entries_come_back(etag in ".{0,40}", records in any::<u64>(), one in 0_i64..4_000_000_000, other in -9_i64..9) {
        let entry = LedgerEntry { etag, outcome: Outcome::Collected, records, last_modified: at(one), settled_at: at(other), reason: None };
        prop_assert_eq!(decode_entry(&encode_entry(&entry)).unwrap(), entry);
    }
}
