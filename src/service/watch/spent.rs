//! What requests cost in the last 24 hours, hour by hour.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

/// How far back it is told.
const HOURS: i64 = 24;

/// Requests and their price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spent {
    /// LIST requests.
    pub list: u64,
    /// GET requests.
    pub get: u64,
    /// Their price.
    pub cost_usd: f64,
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, more: Self) {
        self.list += more.list;
        self.get += more.get;
        self.cost_usd += more.cost_usd;
    }
}

/// The hours of the last day in which something was spent, oldest first; at most 25.
#[derive(Debug, Default)]
pub(super) struct Hours(VecDeque<(i64, Spent)>);

impl Hours {
    /// Adds what was spent now.
    pub fn add(&mut self, now: DateTime<Utc>, spent: Spent) {
        let hour = now.timestamp().div_euclid(3_600);
        while self.0.front().is_some_and(|(first, _)| *first < hour - HOURS) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            // also where the clock was set back
            Some((last, sum)) if *last >= hour => *sum += spent,
            _ => self.0.push_back((hour, spent)),
        }
    }

    /// The sum of the hours that began in the 24 hours before `now`.
    pub fn last_day(&self, now: DateTime<Utc>) -> Spent {
        let since = (now - TimeDelta::hours(HOURS)).timestamp();
        let mut sum = Spent::default();
        for (_, spent) in self.0.iter().filter(|(hour, _)| hour * 3_600 > since) {
            sum += *spent;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_summed_and_what_is_older_goes() {
        let at = |minutes: i64| {
            DateTime::from_timestamp(1_700_000_000 - 1_700_000_000 % 3_600, 0).unwrap()
                + TimeDelta::minutes(minutes)
        };
        let one = Spent { list: 1, get: 2, cost_usd: 0.5 };
        let mut hours = Hours::default();
        assert_eq!(hours.last_day(at(0)), Spent::default());
        for minute in [0, 10, 70] {
            hours.add(at(minute), one);
        }
        for (now, lists) in [(70, 3), (23 * 60, 3), (24 * 60, 1), (24 * 60 + 59, 1), (25 * 60, 0)] {
            let sum = hours.last_day(at(now));
            assert_eq!((sum.list, sum.get), (lists, 2 * lists), "after {now} minutes");
        }
        for hour in 0..1_000 {
            hours.add(at(hour * 60), one);
        }
        assert!(hours.0.len() <= 25, "{}", hours.0.len());
        hours.add(at(0), one);
        assert_eq!(hours.last_day(at(999 * 60)).list, 25, "a clock set back loses nothing");
    }
}
