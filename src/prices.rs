//! What requests cost, by prices of the configuration. Pure.

use std::time::Duration;

/// USD for requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// For 1,000 LIST requests.
    pub list: f64,
    /// For 1,000 GET requests.
    pub get: f64,
}

impl Default for Prices {
    /// S3 Standard in us-east-1.
    fn default() -> Self {
        Prices { list: 0.005, get: 0.0004 }
    }
}

impl Prices {
    /// What so many requests cost, in USD.
    pub fn cost(&self, lists: u64, gets: u64) -> f64 {
        (lists as f64 * self.list + gets as f64 * self.get) / 1000.0
    }
}

/// So much each `recurrence` is how much in an hour.
pub fn per_hour(each: f64, recurrence: Duration) -> f64 {
    each * 3600.0 / recurrence.as_secs_f64().max(1.0)
}

/// LIST requests in an hour of a source that is idle: one for each leaf and sweep. What is new,
/// discoveries, and prefixes that are listed one by one come on top.
pub fn idle_lists_per_hour(leaves: u64, recurrence: Duration) -> u64 {
    per_hour(leaves as f64, recurrence).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_their_price() {
        let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(near(Prices::default().cost(2_000, 10_000), 0.014));
        assert!(near(Prices { list: 1.0, get: 0.0 }.cost(500, 10), 0.5));
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert!(near(per_hour(2.0, minutes(5)), 24.0));
        for (leaves, recurrence, want) in [(12, 5, 144), (1, 60, 1), (1, 1440, 1), (0, 5, 0), (7, 0, 25_200)]
        {
            assert_eq!(idle_lists_per_hour(leaves, minutes(recurrence)), want, "{leaves} at {recurrence}");
        }
    }
}
