//! The time of a sweep: ours, or the bucket's where that is earlier.
//!
//! What cannot be taken back (a floor, a closing, a recheck that is done, history that is deleted)
//! goes by the earlier of both, so that a machine whose clock is ahead does none of it too soon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use crate::clock::Clock;

/// Clocks that differ by more are reported.
const MAX_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Our clock, and how the bucket's compares with it.
pub(super) struct Clocks {
    ours: Arc<dyn Clock>,
    /// How far ours was ahead of the bucket's at the last page that told; never negative.
    ahead: Mutex<TimeDelta>,
    /// Whether a difference was reported in this sweep.
    reported: AtomicBool,
}

impl Clocks {
    pub fn new(ours: Arc<dyn Clock>) -> Self {
        Clocks { ours, ahead: Mutex::new(TimeDelta::zero()), reported: AtomicBool::new(false) }
    }

    /// Our clock, for times that are only written down.
    pub fn ours(&self) -> DateTime<Utc> {
        self.ours.now()
    }

    /// The earlier of both clocks now; ours as long as no page has told the bucket's.
    pub fn now(&self) -> DateTime<Utc> {
        let ahead = *self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = self.ours();
        ours.checked_sub_signed(ahead).unwrap_or(ours)
    }

    /// The earlier of both clocks when a listing began: `began` by ours, and `date` as its first
    /// page tells the bucket's.
    pub fn earlier(&self, source: &str, began: DateTime<Utc>, date: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let Some(theirs) = date else { return began };
        let ahead = began - theirs;
        if ahead.abs() > MAX_SKEW && !self.reported.swap(true, Ordering::Relaxed) {
            warn!(source, ours = %began, bucket = %theirs, "the clocks of this machine and of the bucket differ by more than 5 minutes; the earlier one counts");
        }
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead.max(TimeDelta::zero());
        began.min(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    #[test]
    fn the_earlier_clock_counts() {
        let noon: DateTime<Utc> = "2024-03-10T12:00:00Z".parse().expect("an instant");
        let hours = TimeDelta::hours;
        for (name, bucket, now) in [
            ("no page told", None, noon),
            ("ours is right", Some(noon), noon),
            ("ours is ahead", Some(noon - hours(30)), noon - hours(30)),
            ("ours is behind", Some(noon + hours(30)), noon),
        ] {
            let clocks = Clocks::new(Arc::new(FixedClock(noon)));
            assert_eq!(clocks.earlier("main", noon, bucket), now, "{name}");
            assert_eq!((clocks.now(), clocks.ours()), (now, noon), "{name}");
            clocks.earlier("main", noon, None);
            assert_eq!(clocks.now(), now, "{name}: a page without a date changes nothing");
            let differs = bucket.is_some_and(|bucket| bucket != noon);
            assert_eq!(clocks.reported.load(Ordering::Relaxed), differs, "{name}");
        }
    }
}
