//! An instance at work: the loop of the daemon, one sweep of each source, and what an operator asks
//! of a running instance.

mod checking;
pub mod control;
pub mod http;
mod instance;
pub mod notify;
mod read_only;
mod roster;
pub mod signals;
pub mod socket;
mod source;
pub mod stored;
mod turn;
pub mod watch;
mod wiring;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use crate::sweep::{SweepError, Swept};
use crate::{allocator, schedule};

pub use instance::{Instance, InstanceError, Options};
pub use read_only::ReadOnly;
use roster::News;
pub use roster::{Changes, Roster};
pub use source::Source;
pub use turn::Holding;
pub use wiring::{configured, timeouts};

/// Why a wait for a source ended.
enum Waited {
    Due,
    /// The roster has other settings for it, or none.
    Changed,
    Stopped,
}

impl Instance {
    /// Sweeps every source of the roster on its recurrence until stopped, and checks those that are
    /// seldom swept in between.
    pub async fn run(&self, roster: &Roster) -> Result<(), SweepError> {
        tokio::select! {
            swept = self.keep_all_sweeping(roster) => swept,
            never = self.keep_checking(roster) => match never {},
        }
    }

    /// The first sweeps begin at once or after their delay, and at once those of a source that the roster adds or changes.
    async fn keep_all_sweeping(&self, roster: &Roster) -> Result<(), SweepError> {
        let mut news = roster.news();
        let under_way = AtomicUsize::new(0);
        let (mut loops, mut at_work) = (FuturesUnordered::new(), BTreeSet::new());
        let mut at_start = true;
        while !self.stop.is_cancelled() {
            self.watch.keep(&roster.sources());
            for source in roster.sources() {
                if at_work.insert(source.config.name.clone()) {
                    let delay = if at_start { source.config.startup_delay } else { Duration::ZERO };
                    loops.push(self.keep_sweeping(roster, source.config.name.clone(), delay, &under_way));
                }
            }
            at_start = false;
            tokio::select! {
                () = self.stop.cancelled() => {}
                Some(ended) = loops.next(), if !loops.is_empty() => {
                    at_work.remove(&ended?);
                }
                () = news.wait() => {}
            }
        }
        while let Some(ended) = loops.next().await {
            ended?;
        }
        Ok(())
    }

    /// Sweeps the source of this name while the roster has it; returns the name. What sweeps needed
    /// goes back to the system when none is under way.
    async fn keep_sweeping(
        &self,
        roster: &Roster,
        name: String,
        delay: Duration,
        under_way: &AtomicUsize,
    ) -> Result<String, SweepError> {
        let (first, mut wait) = (Instant::now() + delay, delay);
        loop {
            let mut news = roster.news();
            let Some(source) = roster.source(&name) else { return Ok(name) };
            let jitter = source.config.jitter.mul_f64(fastrand::f64());
            if let Some(standing) = self.watch.get(&name) {
                standing.waits(wait + jitter);
            }
            match self.until(Instant::now() + wait + jitter, &source, roster, &mut news).await {
                Waited::Due => {}
                Waited::Changed => {
                    wait = Duration::ZERO;
                    continue;
                }
                Waited::Stopped => return Ok(name),
            }
            let began = first.elapsed();
            under_way.fetch_add(1, Relaxed);
            let swept = self.sweep(&source).await;
            if under_way.fetch_sub(1, Relaxed) == 1 {
                allocator::give_back();
            }
            swept.ended?;
            // settings that changed meanwhile are due at once
            let is_same = roster.source(&name).is_some_and(|now| Arc::ptr_eq(&now, &source));
            wait = match is_same {
                true => schedule::until_next(source.config.recurrence, began, first.elapsed()),
                false => Duration::ZERO,
            };
        }
    }

    /// Waits until a source is due, by time or because somebody asks for a sweep.
    async fn until(&self, due: Instant, source: &Arc<Source>, roster: &Roster, news: &mut News) -> Waited {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Waited::Stopped,
                () = tokio::time::sleep_until(due) => return Waited::Due,
                () = source.turn.called() => return Waited::Due,
                () = news.wait() => {}
            }
            if !roster.source(&source.config.name).is_some_and(|now| Arc::ptr_eq(&now, source)) {
                return Waited::Changed;
            }
        }
    }

    /// Sweeps every source once, side by side.
    pub async fn once(&self, sources: &[Source]) -> Vec<Swept> {
        futures_util::future::join_all(sources.iter().map(|source| self.sweep(source))).await
    }
}
