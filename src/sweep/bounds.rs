//! The bounds of one sweep: once one is reached nothing new begins, and the next sweep goes on.
//!
//! What is left counts as unsettled: no floor passes it and its prefix does not close. Objects under
//! way are finished.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::config::SourceConfig;

/// How much one sweep may do, and how much it did.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    objects: Option<u64>,
    records: Option<u64>,
    until: Option<Instant>,
    begun: AtomicU64,
    delivered: AtomicU64,
    /// The first bound for which something was left.
    ended_by: OnceLock<&'static str>,
}

impl Bounds {
    /// Those of a source's sweep that begins now.
    pub fn of(config: &SourceConfig) -> Self {
        Bounds {
            objects: config.max_objects_per_sweep,
            records: config.max_records_per_sweep,
            until: config.max_sweep_duration.map(|most| Instant::now() + most),
            ..Bounds::default()
        }
    }

    /// Whether something that is to be done must be left to the next sweep.
    pub fn leave(&self) -> bool {
        let full = |most: Option<u64>, done: &AtomicU64| {
            most.is_some_and(|most| done.load(Ordering::Relaxed) >= most)
        };
        let reached = if full(self.objects, &self.begun) {
            "max_objects_per_sweep"
        } else if full(self.records, &self.delivered) {
            "max_records_per_sweep"
        } else if self.until.is_some_and(|until| until <= Instant::now()) {
            "max_sweep_duration"
        } else {
            return false;
        };
        self.ended_by.get_or_init(|| reached);
        true
    }

    /// Counts an object that begins; `false` when it must be left.
    pub fn begin(&self) -> bool {
        if self.leave() {
            return false;
        }
        let most = self.objects.unwrap_or(u64::MAX);
        let counted = self
            .begun
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |begun| (begun < most).then_some(begun + 1));
        // Another one may have been the last: then this is left after all.
        counted.is_ok() || !self.leave()
    }

    /// Takes an object back that turned out not to begin.
    pub fn take_back(&self) {
        self.begun.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts records that were delivered.
    pub fn deliver(&self, records: u64) {
        self.delivered.fetch_add(records, Ordering::Relaxed);
    }

    /// The setting for which something was left.
    pub fn ended_by(&self) -> Option<&'static str> {
        self.ended_by.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_bound_ends_a_sweep_under_its_name() {
        let none = Bounds::default();
        assert!((0..1000).all(|_| none.begin()) && none.ended_by().is_none());

        let objects = Bounds { objects: Some(2), ..Bounds::default() };
        assert_eq!([objects.begin(), objects.begin()], [true; 2]);
        assert_eq!(objects.ended_by(), None, "nothing is left yet");
        objects.take_back();
        assert_eq!([objects.begin(), objects.begin()], [true, false]);
        assert_eq!(objects.ended_by(), Some("max_objects_per_sweep"));

        let records = Bounds { records: Some(10), ..Bounds::default() };
        records.deliver(9);
        assert!(records.begin());
        records.deliver(5);
        assert!(!records.begin() && records.leave());
        assert_eq!(records.ended_by(), Some("max_records_per_sweep"));

        let time = Bounds { until: Some(Instant::now() + Duration::from_secs(60)), ..Bounds::default() };
        assert!(time.begin());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!time.begin());
        assert_eq!(time.ended_by(), Some("max_sweep_duration"));
    }
}
