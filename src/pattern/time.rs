//! Date variables, the time that identifies a prefix within its leaf, and the UTC time it
//! covers. Local times are kept within the years 0 to 9999, which four digits can write.

use std::fmt;

use chrono::offset::LocalResult;
use chrono::{DateTime, Days, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono::{Datelike, Timelike};
use chrono_tz::{GapInfo, Tz};
use serde::{Deserialize, Serialize};

/// A unit of time that a date variable names, coarse to fine; also the step from one prefix of
/// a leaf to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// `YYYY`.
    Year,
    /// `mm`, `m`.
    Month,
    /// `dd`, `d`.
    Day,
    /// `HH`, `H`.
    Hour,
    /// `MM`, `M`.
    Minute,
}

impl Step {
    /// All steps, coarse to fine.
    pub const ALL: [Step; 5] = [Step::Year, Step::Month, Step::Day, Step::Hour, Step::Minute];

    /// Its place in [`Step::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// A date variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variable {
    pub unit: Step,
    /// With leading zeros; the year always is.
    pub padded: bool,
}

impl Variable {
    pub const ALL: [Variable; 9] = [
        Variable { unit: Step::Year, padded: true },
        Variable { unit: Step::Month, padded: true },
        Variable { unit: Step::Month, padded: false },
        Variable { unit: Step::Day, padded: true },
        Variable { unit: Step::Day, padded: false },
        Variable { unit: Step::Hour, padded: true },
        Variable { unit: Step::Hour, padded: false },
        Variable { unit: Step::Minute, padded: true },
        Variable { unit: Step::Minute, padded: false },
    ];

    /// The name between slashes or braces.
    pub fn name(self) -> &'static str {
        match (self.unit, self.padded) {
            (Step::Year, _) => "YYYY",
            (Step::Month, true) => "mm",
            (Step::Month, false) => "m",
            (Step::Day, true) => "dd",
            (Step::Day, false) => "d",
            (Step::Hour, true) => "HH",
            (Step::Hour, false) => "H",
            (Step::Minute, true) => "MM",
            (Step::Minute, false) => "M",
        }
    }

    /// The variable of exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variable| variable.name() == name)
    }

    /// The digits of a value when all have the same number: 4 for the year, 2 for the rest.
    pub fn width(self) -> usize {
        if self.unit == Step::Year { 4 } else { 2 }
    }

    /// Appends the value that `units` has for this variable.
    pub fn fill(self, text: &mut String, units: &Units) {
        let digits = units[self.unit.index()].to_string();
        if self.padded {
            text.extend(std::iter::repeat_n('0', self.width().saturating_sub(digits.len())));
        }
        text.push_str(&digits);
    }
}

/// Year, month, day, hour and minute.
pub(crate) type Units = [u16; 5];

/// The lowest values of the units.
pub(crate) const FIRST_UNITS: Units = [0, 1, 1, 0, 0];

/// The truncated local time of a prefix: its identity within its leaf.
///
/// A dated pattern makes times of the years 0 to 9999; steps beyond stay at the end. In state
/// keys it is a number of minutes, which sorts like the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PrefixTime(NaiveDateTime);

impl PrefixTime {
    /// The one prefix of a leaf without dates; lies before all other times.
    pub const OPEN_ENDED: PrefixTime = PrefixTime(NaiveDateTime::MIN);

    /// Minutes since 1970-01-01T00:00 of the local calendar; negative before it.
    pub fn as_minutes(self) -> i64 {
        self.0.and_utc().timestamp().div_euclid(60)
    }

    /// The time of [`PrefixTime::as_minutes`]; `None` outside the years 0 to 9999, except for
    /// [`PrefixTime::OPEN_ENDED`].
    pub fn from_minutes(minutes: i64) -> Option<Self> {
        if minutes == Self::OPEN_ENDED.as_minutes() {
            return Some(Self::OPEN_ENDED);
        }
        let local = DateTime::from_timestamp(minutes.checked_mul(60)?, 0)?.naive_utc();
        (0..=9999).contains(&local.year()).then_some(PrefixTime(local))
    }

    /// The step that covers an instant in a zone.
    pub(crate) fn covering(at: DateTime<Utc>, zone: Tz, step: Step) -> Self {
        // Near the ends of chrono's range the local time would not exist.
        let margin = TimeDelta::days(2);
        let at = at.clamp(first_local().and_utc() - margin, last_local().and_utc() + margin);
        PrefixTime(at.with_timezone(&zone).naive_local()).truncated(step)
    }

    /// The time of these units, lower ones than the step ignored; `None` for no day of the
    /// calendar.
    pub(crate) fn from_units(units: Units, step: Step) -> Option<Self> {
        let [year, month, day, hour, minute] = units.map(u32::from);
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
        Some(PrefixTime(date.and_hms_opt(hour, minute, 0)?).truncated(step))
    }

    /// Its units; the first or last possible ones for a time outside the years 0 to 9999.
    pub(crate) fn units(self) -> Units {
        let local = self.0.clamp(first_local(), last_local());
        let small = |value: u32| u16::try_from(value).expect("calendar fields are below 10,000");
        let year = small(local.year().unsigned_abs());
        [year, small(local.month()), small(local.day()), small(local.hour()), small(local.minute())]
    }

    /// The beginning of the step it lies in.
    pub(crate) fn truncated(self, step: Step) -> Self {
        let mut units = self.units();
        units[step.index() + 1..].copy_from_slice(&FIRST_UNITS[step.index() + 1..]);
        let [year, month, day, hour, minute] = units.map(u32::from);
        let local = NaiveDate::from_ymd_opt(year as i32, month, day)
            .and_then(|date| date.and_hms_opt(hour, minute, 0));
        PrefixTime(local.expect("the first day of a month exists"))
    }

    /// The next step, or this one at the end of the year 9999.
    pub(crate) fn next(self, step: Step) -> Self {
        let time = self.truncated(step);
        time.end(step).map(PrefixTime).filter(|next| next.0 <= last_local()).unwrap_or(time)
    }

    /// The step before, or this one at the beginning of the year 0.
    pub(crate) fn previous(self, step: Step) -> Self {
        let time = self.truncated(step);
        let before = time.0.checked_sub_signed(TimeDelta::minutes(1));
        before.filter(|local| *local >= first_local()).map_or(time, |local| PrefixTime(local).truncated(step))
    }

    /// The beginning of the step after the one that begins here.
    fn end(self, step: Step) -> Option<NaiveDateTime> {
        match step {
            Step::Year => self.0.checked_add_months(Months::new(12)),
            Step::Month => self.0.checked_add_months(Months::new(1)),
            Step::Day => self.0.checked_add_days(Days::new(1)),
            Step::Hour => self.0.checked_add_signed(TimeDelta::hours(1)),
            Step::Minute => self.0.checked_add_signed(TimeDelta::minutes(1)),
        }
    }

    /// The UTC time it covers.
    pub(crate) fn intervals(self, zone: Tz, step: Step) -> Intervals {
        let time = self.truncated(step);
        let end = time.end(step).expect("years up to 10000 are within chrono's range");
        let (first_start, second_start) = instants(zone, time.0);
        // The end itself may be another pass of the clock, or none: ask for the last second.
        let (first_last, second_last) = instants(zone, end - TimeDelta::seconds(1));
        // In a gap the last second is the instant of the gap.
        let after =
            |at: DateTime<Utc>| if local_at(zone, at) < end { at + TimeDelta::seconds(1) } else { at };
        let first = (first_start, after(first_last));
        let second = (second_start, after(second_last));
        if first_start == second_start || first_last == second_last || first.1 >= second.0 {
            Intervals { first: (first.0, second.1.max(first.1)), second: None }
        } else {
            Intervals { first, second: Some(second) }
        }
    }
}

/// The UTC time that a local step covers: twice when clocks were set back over all of it.
/// An interval is its beginning and its end, exclusive; they are equal for a step that clocks
/// jumped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intervals {
    pub first: (DateTime<Utc>, DateTime<Utc>),
    pub second: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Intervals {
    /// The end of the last interval.
    pub fn until(&self) -> DateTime<Utc> {
        self.second.unwrap_or(self.first).1
    }

    /// Whether an instant of the window, both ends included, is covered.
    pub fn meet(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        let meets = |(start, end): (DateTime<Utc>, DateTime<Utc>)| {
            start <= to && (end > from || (start == end && start == from))
        };
        meets(self.first) || self.second.is_some_and(meets)
    }
}

fn local_at(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// The first and the last instant of a local time; the end of the gap for a time that clocks
/// jumped over.
fn instants(zone: Tz, local: NaiveDateTime) -> (DateTime<Utc>, DateTime<Utc>) {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => (at.to_utc(), at.to_utc()),
        LocalResult::Ambiguous(a, b) => (a.min(b).to_utc(), a.max(b).to_utc()),
        LocalResult::None => {
            let gap_end = GapInfo::new(&local, &zone).and_then(|gap| gap.end);
            let at = gap_end.map_or_else(|| local.and_utc(), |end| end.to_utc());
            (at, at)
        }
    }
}

fn first_local() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(0, 1, 1)
        .and_then(|date| date.and_hms_opt(0, 0, 0))
        .expect("a day of the calendar")
}

fn last_local() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(9999, 12, 31)
        .and_then(|date| date.and_hms_opt(23, 59, 59))
        .expect("a day of the calendar")
}

impl fmt::Display for PrefixTime {
    /// `2024-02-29T23:00`, local time; `open-ended` for [`PrefixTime::OPEN_ENDED`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::OPEN_ENDED {
            return f.write_str("open-ended");
        }
        let [year, month, day, hour, minute] = self.units();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("a test instant")
    }

    fn covered(zone: Tz, step: Step, at: &str) -> (String, Vec<(String, String)>) {
        let time = PrefixTime::covering(utc(at), zone, step);
        let found = time.intervals(zone, step);
        let text = |at: DateTime<Utc>| at.format("%d %H:%M:%S").to_string();
        let pairs = [Some(found.first), found.second].into_iter().flatten();
        (time.to_string(), pairs.map(|(from, until)| (text(from), text(until))).collect())
    }

    #[test]
    fn intervals_follow_the_clock_of_the_zone() {
        use chrono_tz::{America::Sao_Paulo, Australia::Lord_Howe, Europe::Berlin, Tz::UTC};
        type Case =
            (&'static str, Tz, Step, &'static str, &'static str, &'static [(&'static str, &'static str)]);
        let cases: &[Case] = &[
            (
                "a day in UTC",
                UTC,
                Step::Day,
                "2024-02-29T12:00:00Z",
                "2024-02-29T00:00",
                &[("29 00:00:00", "01 00:00:00")],
            ),
            (
                "a day of 25 hours",
                Berlin,
                Step::Day,
                "2024-10-27T12:00:00Z",
                "2024-10-27T00:00",
                &[("26 22:00:00", "27 23:00:00")],
            ),
            (
                "a day of 23 hours",
                Berlin,
                Step::Day,
                "2024-03-31T12:00:00Z",
                "2024-03-31T00:00",
                &[("30 23:00:00", "31 22:00:00")],
            ),
            (
                "the hour before the double one",
                Berlin,
                Step::Hour,
                "2024-10-26T23:30:00Z",
                "2024-10-27T01:00",
                &[("26 23:00:00", "27 00:00:00")],
            ),
            (
                "the double hour, first pass",
                Berlin,
                Step::Hour,
                "2024-10-27T00:30:00Z",
                "2024-10-27T02:00",
                &[("27 00:00:00", "27 02:00:00")],
            ),
            (
                "the double hour, second pass",
                Berlin,
                Step::Hour,
                "2024-10-27T01:30:00Z",
                "2024-10-27T02:00",
                &[("27 00:00:00", "27 02:00:00")],
            ),
            (
                "a minute of the double hour",
                Berlin,
                Step::Minute,
                "2024-10-27T01:30:00Z",
                "2024-10-27T02:30",
                &[("27 00:30:00", "27 00:31:00"), ("27 01:30:00", "27 01:31:00")],
            ),
            (
                "the last minute before it",
                Berlin,
                Step::Minute,
                "2024-10-26T23:59:10Z",
                "2024-10-27T01:59",
                &[("26 23:59:00", "27 00:00:00")],
            ),
            (
                "half an hour back",
                Lord_Howe,
                Step::Hour,
                "2024-04-06T14:30:00Z",
                "2024-04-07T01:00",
                &[("06 14:00:00", "06 15:30:00")],
            ),
            (
                "half an hour forward",
                Lord_Howe,
                Step::Hour,
                "2024-10-05T15:40:00Z",
                "2024-10-06T02:00",
                &[("05 15:30:00", "05 16:00:00")],
            ),
            (
                "a day that begins at one",
                Sao_Paulo,
                Step::Day,
                "2018-11-04T12:00:00Z",
                "2018-11-04T00:00",
                &[("04 03:00:00", "05 02:00:00")],
            ),
            (
                "a day whose last hour is double",
                Sao_Paulo,
                Step::Day,
                "2018-02-17T12:00:00Z",
                "2018-02-17T00:00",
                &[("17 02:00:00", "18 03:00:00")],
            ),
        ];
        for (name, zone, step, at, time, want) in cases {
            let want = want.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
            assert_eq!(covered(*zone, *step, at), ((*time).to_owned(), want), "{name}");
        }
    }

    #[test]
    fn a_step_that_clocks_jump_over_is_empty() {
        let zone = chrono_tz::Europe::Berlin;
        let gap = PrefixTime::covering(utc("2024-03-31T00:59:00Z"), zone, Step::Hour).next(Step::Hour);
        assert_eq!(gap.to_string(), "2024-03-31T02:00");
        let found = gap.intervals(zone, Step::Hour);
        assert_eq!(found.first, (utc("2024-03-31T01:00:00Z"), utc("2024-03-31T01:00:00Z")));
        let day = PrefixTime::from_units([2011, 12, 30, 0, 0], Step::Day).expect("a day of the calendar");
        let found = day.intervals(chrono_tz::Pacific::Apia, Step::Day);
        assert_eq!(found.first, (utc("2011-12-30T10:00:00Z"), utc("2011-12-30T10:00:00Z")), "a day left out");
    }

    #[test]
    fn steps_end_at_the_ends_of_four_digits() {
        for step in Step::ALL {
            let last = PrefixTime::covering(DateTime::<Utc>::MAX_UTC, chrono_tz::Asia::Tokyo, step);
            assert_eq!(last.next(step), last, "{step:?}");
            assert!(last.previous(step) < last, "{step:?}");
            let first = PrefixTime::covering(DateTime::<Utc>::MIN_UTC, chrono_tz::America::Lima, step);
            assert_eq!(first.previous(step), first, "{step:?}");
            assert!(first.next(step) > first, "{step:?}");
            assert_eq!(first.next(step).previous(step), first, "{step:?}");
            assert!(last.intervals(chrono_tz::Asia::Tokyo, step).until() > utc("9999-12-31T00:00:00Z"));
        }
    }

    #[test]
    fn state_forms_come_back() {
        let day = PrefixTime::covering(utc("2024-02-29T12:34:56Z"), Tz::UTC, Step::Minute);
        for time in [PrefixTime::OPEN_ENDED, day, day.truncated(Step::Year)] {
            assert_eq!(PrefixTime::from_minutes(time.as_minutes()), Some(time));
            let json = serde_json::to_string(&time).expect("a time is JSON");
            assert_eq!(serde_json::from_str::<PrefixTime>(&json).expect("its own form"), time);
        }
        assert_eq!(PrefixTime::from_minutes(i64::MAX), None);
        assert_eq!(PrefixTime::from_minutes(10_000 * 366 * 1440), None);
        assert!(PrefixTime::OPEN_ENDED.as_minutes() < PrefixTime(first_local()).as_minutes());
    }
}
