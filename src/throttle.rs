//! Records per second, over all objects of a source.
//!
//! A token bucket that is kept as one instant: the time at which whatever was let through is paid
//! for. Nothing is locked while somebody waits. Few objects of a throttled source are collected at a
//! time, so that it does not hold what other sources need.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Objects at a time, at most.
const MOST_OBJECTS: u64 = 8;
/// One more object at a time for so many records per second.
const RECORDS_PER_OBJECT: u64 = 100;

/// Lets records through at a rate.
#[derive(Debug)]
pub struct Throttle {
    per_second: NonZeroU64,
    /// When all records that were let through are paid for.
    paid: Mutex<Instant>,
    objects: Arc<Semaphore>,
}

impl Throttle {
    /// Lets so many records through in a second.
    pub fn new(per_second: NonZeroU64) -> Self {
        let objects = (per_second.get() / RECORDS_PER_OBJECT).clamp(1, MOST_OBJECTS);
        Throttle {
            per_second,
            paid: Mutex::new(Instant::now()),
            objects: Arc::new(Semaphore::new(usize::try_from(objects).unwrap_or(1))),
        }
    }

    /// Records that may go together: those of a second.
    pub fn most_together(&self) -> u64 {
        self.per_second.get()
    }

    /// Takes the time of `records`; they may go at the instant that is returned.
    pub fn take(&self, records: u64) -> Instant {
        let nanos = u128::from(records) * 1_000_000_000 / u128::from(self.per_second.get());
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*paid).max(Instant::now());
        *paid = begin + Duration::from_nanos_u128(nanos);
        begin
    }

    /// Waits until one more object may begin: not while records wait. The object is over when the
    /// answer is dropped; dropping the wait gives its place up.
    pub async fn begin(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.objects.clone().acquire_owned().await.ok();
        loop {
            let paid = *self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            if paid <= Instant::now() {
                return place;
            }
            tokio::time::sleep_until(paid).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(per_second: u64) -> Throttle {
        Throttle::new(NonZeroU64::new(per_second).expect("rates of this test are some"))
    }

    #[tokio::test(start_paused = true)]
    async fn records_go_at_the_rate_and_idle_time_is_not_saved_up() {
        let (throttle, begin) = (throttle(100), Instant::now());
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        assert_eq!(throttle.most_together(), 100);
        for (records, want) in [(100, 0.0), (50, 1.0), (1, 1.5), (0, 1.51), (49, 1.51), (7, 2.0)] {
            assert_eq!(throttle.take(records), at(want), "{records}");
        }
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(throttle.take(100), at(3600.0));
        assert_eq!(throttle.take(1), at(3601.0), "an idle hour lets no more than a second's through");
    }

    #[tokio::test(start_paused = true)]
    async fn objects_begin_while_nothing_waits_and_are_few() {
        for (rate, most) in [(1, 1), (199, 1), (500, 5), (u64::MAX, 8)] {
            let throttle = throttle(rate);
            let mut held = Vec::new();
            for _ in 0..most {
                held.push(throttle.begin().await.expect("the semaphore is never closed"));
            }
            assert!(futures_util::poll!(std::pin::pin!(throttle.begin())).is_pending(), "{rate}: full");
            held.clear();
            let begin = Instant::now();
            throttle.take(rate);
            drop(throttle.begin().await);
            assert_eq!(begin.elapsed().as_secs(), 1, "{rate}: until the records are paid for");
        }
    }
}
