//! Durations, sizes and starts: from what is typed to a value and back. Pure.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};

use super::model::Start;

/// No setting needs more; it keeps sums with instants far from their limits.
const LONGEST: u64 = 36_500 * DAY;
const DAY: u64 = 86_400;

const DURATION_UNITS: [(char, u64); 4] = [('D', DAY), ('H', 3_600), ('M', 60), ('S', 1)];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads an integer and one of `S`, `M`, `H`, `D`; a blank between and lower case are fine.
/// `None` for anything else, and for more than 36500D.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let mut letters = unit.chars();
    let letter = letters.next()?.to_ascii_uppercase();
    if letters.next().is_some() {
        return None;
    }
    let (_, seconds) = DURATION_UNITS.into_iter().find(|(known, _)| *known == letter)?;
    let total = number.checked_mul(seconds).filter(|total| *total <= LONGEST)?;
    Some(Duration::from_secs(total))
}

/// Writes a duration in the largest unit that divides it: `1D`, `90M`, `0M`.
pub(super) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return "0M".to_owned();
    }
    let (letter, unit) =
        DURATION_UNITS.into_iter().find(|(_, unit)| seconds.is_multiple_of(*unit)).unwrap_or(('S', 1));
    format!("{}{letter}", seconds / unit)
}

/// Reads `256MiB`, `1GB`, `32 KiB`, `100`; units in any case, binary with an `i`.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    if unit.is_empty() {
        return Some(number);
    }
    let (_, bytes) = SIZE_UNITS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(unit))?;
    number.checked_mul(bytes)
}

/// Writes a size in the largest binary unit that divides it: `256MiB`, `1000B`.
pub(super) fn show_size(bytes: u64) -> String {
    let binary = SIZE_UNITS[..4].iter().chain(SIZE_UNITS.last());
    match binary.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => "0B".to_owned(),
    }
}

/// Reads a duration, a date (midnight UTC), an RFC 3339 instant, or `all`.
pub(super) fn parse_start(text: &str) -> Option<Start> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("all") {
        return Some(Start::All);
    }
    if let Some(duration) = parse_duration(text) {
        return Some(Start::Ago(duration));
    }
    parse_instant(text).map(Start::At)
}

/// Writes a start so that [`parse_start`] reads the same.
pub(super) fn show_start(start: Start) -> String {
    match start {
        Start::Ago(duration) => show_duration(duration),
        Start::At(instant) => instant.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        Start::All => "all".to_owned(),
    }
}

/// Reads an RFC 3339 instant, or a date, which means its midnight in UTC.
pub fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    let date: NaiveDate = text.parse().ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc())
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("5M", Some(300)),
            ("15 M", Some(900)),
            ("15m", Some(900)),
            (" 1D ", Some(86_400)),
            ("0M", Some(0)),
            ("30S", Some(30)),
            ("36500D", Some(LONGEST)),
            ("36501D", None),
            ("99999999999999999999D", None),
            ("5", None),
            ("M", None),
            ("5MM", None),
            ("5Y", None),
            ("-5M", None),
            ("1.5H", None),
            ("", None),
            ("5ü", None),
        ] {
            assert_eq!(parse_duration(text).map(|d| d.as_secs()), seconds, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("256MiB", Some(256 << 20)),
            ("1GB", Some(1_000_000_000)),
            ("32 KiB", Some(32 << 10)),
            ("32kib", Some(32 << 10)),
            ("10b", Some(10)),
            ("100", Some(100)),
            ("", None),
            ("1 XB", None),
            ("1.5GiB", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn starts() {
        let day = |text| Start::At(DateTime::parse_from_rfc3339(text).unwrap().to_utc());
        for (text, start) in [
            ("all", Some(Start::All)),
            ("All", Some(Start::All)),
            ("1D", Some(Start::Ago(Duration::from_secs(86_400)))),
            ("2024-02-29", Some(day("2024-02-29T00:00:00Z"))),
            ("2024-02-29T01:00:00+02:00", Some(day("2024-02-28T23:00:00Z"))),
            ("2023-02-29", None),
            ("yesterdayish", None),
            ("2024-02-29T01:00:00", None),
        ] {
            assert_eq!(parse_start(text), start, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_is_read_back(seconds in 0..=LONGEST, bytes: u64) {
            let duration = Duration::from_secs(seconds);
            proptest::prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
            proptest::prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (parse_duration(&text), parse_size(&text), parse_start(&text));
        }
    }
}
