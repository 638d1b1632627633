//! `--now` and other instants of the command line.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::exit::UsageError;
use crate::clock::{Clock, FixedClock, SystemClock};
use crate::config::parse_instant;

/// Reads an instant of the command line.
pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    parse_instant(text).ok_or_else(|| {
        "expected an instant such as 2026-01-31T10:00:00Z, or a date, which means its midnight in UTC"
            .to_owned()
    })
}

/// The clock of a command: the machine's, or the instant of `--now`.
pub(super) fn clock(now: Option<DateTime<Utc>>) -> Arc<dyn Clock> {
    match now {
        Some(now) => Arc::new(FixedClock(now)),
        None => Arc::new(SystemClock),
    }
}

/// As [`clock`], for a command that changes state: a later time would close prefixes whose
/// objects are yet to come.
pub(super) fn past_clock(now: Option<DateTime<Utc>>) -> Result<Arc<dyn Clock>, UsageError> {
    let wall = SystemClock.now();
    match now {
        Some(now) if now > wall => Err(UsageError(format!(
            "--now {} is later than the clock of this machine ({}); `preview` takes later times, `once` does not",
            now.to_rfc3339(),
            wall.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        ))),
        now => Ok(clock(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_time_is_refused_where_state_changes() {
        let wall = SystemClock.now();
        assert!(past_clock(Some(wall + chrono::TimeDelta::hours(1))).is_err());
        let earlier = wall - chrono::TimeDelta::hours(1);
        assert_eq!(past_clock(Some(earlier)).unwrap().now(), earlier);
        assert!(past_clock(None).unwrap().now() >= wall);
    }
}
