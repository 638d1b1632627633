//! The records of a throttled source go on at its rate: an object waits before it hands them over.

use tokio::time::Instant;

use super::{Interrupt, Run};

impl Run<'_> {
    /// Whether records of this object wait that the rate lets through together, and no more.
    pub(super) fn is_paced(&self) -> bool {
        self.collector.throttle.as_ref().is_some_and(|throttle| self.unpaid >= throttle.most_together())
    }

    /// Waits until the records at hand may go on. A stop ends the wait, and is told: they were read,
    /// and go.
    pub(super) async fn pace(&mut self) -> Result<(), Interrupt> {
        let records = std::mem::take(&mut self.unpaid);
        let Some(throttle) = self.collector.throttle.as_ref().filter(|_| records > 0) else { return Ok(()) };
        let (waiting, turn) = (Instant::now(), throttle.take(records));
        let waited = self.collector.unless_stopped(tokio::time::sleep_until(turn)).await;
        self.deadline += waiting.elapsed();
        if turn > waiting {
            // The body stood still meanwhile: where S3 broke it off, that is no failure of the object.
            self.budget.renew();
        }
        waited
    }
}
