//! The times that AWS writes into records, as epoch milliseconds.

use chrono::{Datelike, NaiveDate};

use super::json;

/// Days from 0001-01-01 (day 1 of chrono's count) to 1970-01-01.
const EPOCH_DAY: i64 = 719_163;

/// Numbers from here on are milliseconds, smaller ones seconds: as seconds this is the year 5138,
/// as milliseconds March 1973.
const LEAST_MILLIS: f64 = 1e11;

/// The first millisecond of the year 10000.
const END: f64 = 253_402_300_800_000.0;

/// Reads a raw JSON value that tells a time: text as in [`epoch_millis`], or the seconds or
/// milliseconds since 1970 as a number or as text, with a fraction or without. Milliseconds are
/// told by their size, 1e11 and more.
///
/// `None` for everything else, and for times after the year 9999.
pub fn any_epoch_millis(raw: &[u8]) -> Option<i64> {
    let text = json::string_body(raw).unwrap_or(raw);
    epoch_millis(text).or_else(|| epoch_number(std::str::from_utf8(text).ok()?))
}

fn epoch_number(text: &str) -> Option<i64> {
    // `inf` and `nan` are numbers for Rust
    if !text.ends_with(|last: char| last.is_ascii_digit()) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    let millis = if number.abs() < LEAST_MILLIS { (number * 1_000.0).round() } else { number.trunc() };
    (millis.abs() < END).then_some(millis as i64)
}

/// Reads an RFC 3339 time (`2023-07-10T12:06:33Z`, with a fraction or an offset too), or the
/// basic form of old CloudTrail records (`20131102T010628Z`), as epoch milliseconds.
///
/// Digits of a fraction beyond the third are dropped; a leap second is the second after it.
/// `None` for everything else, a time without a zone included.
pub fn epoch_millis(text: &[u8]) -> Option<i64> {
    usual_millis(text).or_else(|| any_form_millis(text))
}

/// The form of nearly all records, `2023-07-10T12:06:33Z`, of the years from 1970 on.
fn usual_millis(text: &[u8]) -> Option<i64> {
    const FORM: &[u8; 20] = b"0000-00-00T00:00:00Z";
    /// Days before each month of a common year, which begins with March.
    const DAYS_BEFORE: [i64; 12] = [306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275];
    const DAYS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let text: &[u8; 20] = text.try_into().ok()?;
    // what each byte is above that of the form: a digit, or nothing
    let above: [u8; 20] = std::array::from_fn(|at| text[at].wrapping_sub(FORM[at]));
    let most: [u8; 20] = FORM.map(|byte| if byte == b'0' { 9 } else { 0 });
    if (0..20).fold(false, |odd, at| odd | (above[at] > most[at])) {
        return None;
    }
    let two = |at: usize| 10 * i64::from(above[at]) + i64::from(above[at + 1]);
    let (year, month, day) = (100 * two(0) + two(2), two(5), two(8));
    let (hour, minute, second) = (two(11), two(14), two(17));
    let place = usize::try_from(month - 1).ok().filter(|place| *place < DAYS.len())?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = DAYS[place] + i64::from(month == 2 && is_leap);
    if year < 1970 || day < 1 || day > days || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // years that begin with March end with the leap day
    let years = year - i64::from(month < 3);
    let before = 365 * years + years / 4 - years / 100 + years / 400 - MARCH_OF_YEAR_0;
    let days = before + DAYS_BEFORE[place] + day - 1;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000)
}

/// Days from 0000-03-01 to 1970-01-01.
const MARCH_OF_YEAR_0: i64 = 719_468;

fn any_form_millis(text: &[u8]) -> Option<i64> {
    let mut reader = Reader(text);
    let year = reader.number(4)?;
    let separated = reader.take(b'-');
    let month = reader.number(2)?;
    reader.separator(b'-', separated)?;
    let day = reader.number(2)?;
    if !(reader.take(b'T') || reader.take(b't') || reader.take(b' ')) {
        return None;
    }
    let hour = reader.at_most(23)?;
    reader.separator(b':', separated)?;
    let minute = reader.at_most(59)?;
    reader.separator(b':', separated)?;
    let second = reader.at_most(60)?;
    let millis = reader.fraction()?;
    let offset = reader.offset()?;
    if !reader.0.is_empty() {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    let days = i64::from(date.num_days_from_ce()) - EPOCH_DAY;
    let seconds = days * 86_400 + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    Some((seconds - offset) * 1_000 + millis)
}

/// What is left of the text.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((&first, rest)) if first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes `byte` where the form has separators.
    fn separator(&mut self, byte: u8, separated: bool) -> Option<()> {
        (!separated || self.take(byte)).then_some(())
    }

    fn digit(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first()?;
        let digit = char::from(*first).to_digit(10)?;
        self.0 = rest;
        Some(digit)
    }

    fn number(&mut self, digits: usize) -> Option<u32> {
        (0..digits).try_fold(0, |number, _| Some(number * 10 + self.digit()?))
    }

    fn at_most(&mut self, largest: u32) -> Option<u32> {
        self.number(2).filter(|number| *number <= largest)
    }

    /// Milliseconds of an optional fraction.
    fn fraction(&mut self) -> Option<i64> {
        if !self.take(b'.') {
            return Some(0);
        }
        let mut millis = 100 * i64::from(self.digit()?);
        let mut worth = 10;
        while let Some(digit) = self.digit() {
            millis += worth * i64::from(digit);
            worth /= 10;
        }
        Some(millis)
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.take(b'Z') || self.take(b'z') {
            return Some(0);
        }
        let sign = if self.take(b'+') {
            1
        } else if self.take(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.at_most(23)?;
        self.take(b':');
        let minutes = self.at_most(59)?;
        Some(sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2023-07-10T12:06:33Z", Some(1_688_990_793_000)),
            ("2024-02-29T23:59:59.5Z", Some(1_709_251_199_500)),
            ("2024-02-29T23:59:59.123456Z", Some(1_709_251_199_123)),
            ("2023-07-10t12:06:33z", Some(1_688_990_793_000)),
            ("2023-07-10 12:06:33Z", Some(1_688_990_793_000)),
            ("2023-07-10T14:06:33+02:00", Some(1_688_990_793_000)),
            ("2023-07-10T07:36:33-0430", Some(1_688_990_793_000)),
            ("20131102T010628Z", Some(1_383_354_388_000)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200_000)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799_000)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2023-13-01T00:00:00Z", None),
            ("2023-07-10T24:00:00Z", None),
            ("2023-07-10T12:60:00Z", None),
            ("2023-07-10T12:06:33", None),
            ("2023-07-10T12:06:33.Z", None),
            ("2023-07-10T12:06:33Z ", None),
            ("2023-07-10", None),
            ("1688990793", None),
            ("2023-7-10T12:06:33Z", None),
            ("", None),
        ] {
            assert_eq!(epoch_millis(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn numbers_are_times_too() {
        for (raw, want) in [
            ("1688990793", Some(1_688_990_793_000)),
            ("1688990793000", Some(1_688_990_793_000)),
            ("\"1688990793\"", Some(1_688_990_793_000)),
            ("\"1688990793123\"", Some(1_688_990_793_123)),
            ("1688990793.1234", Some(1_688_990_793_123)),
            ("1688990793123.9", Some(1_688_990_793_123)),
            ("1.688990793E9", Some(1_688_990_793_000)),
            ("0", Some(0)),
            ("-1", Some(-1_000)),
            ("99999999999", Some(99_999_999_999_000)),
            ("100000000000", Some(100_000_000_000)),
            ("\"2023-07-10T12:06:33Z\"", Some(1_688_990_793_000)),
            ("1688990793123456", None),
            ("1e400", None),
            ("\"inf\"", None),
            ("\"nan\"", None),
            ("\"\"", None),
            ("null", None),
            ("true", None),
            ("{}", None),
            ("\"yesterday\"", None),
        ] {
            assert_eq!(any_epoch_millis(raw.as_bytes()), want, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn the_usual_form_is_read_as_any_other(
            text in prop_oneof![
                "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
                "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9][Z0+]",
            ],
        ) {
            let general = any_form_millis(text.as_bytes());
            match usual_millis(text.as_bytes()) {
                None => prop_assert!(general.is_none_or(|millis| millis <= 0), "{text}"),
                read => prop_assert_eq!(read, general),
            }
        }
    }

    #[test]
    fn every_day_has_its_number() {
        for days in 0..2_932_896 {
            let date = NaiveDate::from_num_days_from_ce_opt(days + EPOCH_DAY as i32).unwrap();
            let text = format!("{date}T00:00:00Z");
            assert_eq!(usual_millis(text.as_bytes()), Some(i64::from(days) * 86_400_000), "{text}");
        }
    }

    #[test]
    fn agrees_with_a_calendar() {
        for days in (-30_000..80_000i64).step_by(97) {
            let millis = days * 86_400_000 + 12_345_678;
            let text = chrono::DateTime::from_timestamp_millis(millis).unwrap().to_rfc3339();
            assert_eq!(epoch_millis(text.as_bytes()), Some(millis), "{text}");
        }
    }
}
