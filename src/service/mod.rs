//! An instance at work: the loop of the daemon, one sweep of each source, and what an operator asks
//! of a running instance.

pub mod control;
mod instance;
mod read_only;
pub mod signals;
pub mod socket;
mod source;
mod turn;
mod wiring;

use tokio::time::Instant;

use crate::schedule;
use crate::sweep::{SweepError, Swept};

pub use instance::{Instance, InstanceError, Options};
pub use read_only::ReadOnly;
pub use source::Source;
pub use turn::Holding;
pub use wiring::{configured, timeouts};

impl Instance {
    /// Sweeps every source on its recurrence until stopped; the first sweeps begin at once.
    pub async fn run(&self, sources: &[Source]) -> Result<(), SweepError> {
        let loops = sources.iter().map(|source| self.keep_sweeping(source));
        futures_util::future::try_join_all(loops).await.map(|_| ())
    }

    async fn keep_sweeping(&self, source: &Source) -> Result<(), SweepError> {
        let first = Instant::now();
        loop {
            let began = first.elapsed();
            self.sweep(source).await.ended?;
            let wait = schedule::until_next(source.config.recurrence, began, first.elapsed());
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = source.turn.called() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Sweeps every source once, side by side.
    pub async fn once(&self, sources: &[Source]) -> Vec<Swept> {
        futures_util::future::join_all(sources.iter().map(|source| self.sweep(source))).await
    }
}
