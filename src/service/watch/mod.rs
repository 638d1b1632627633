//! What is known of each source while the daemon runs: how its last sweeps went, when it was listed
//! last, what its requests cost. Metrics, health and status page are made of it.
//!
//! Fed where a sweep ends, where a request is answered and where the sink commits. What the state
//! holds is not repeated here. Memory is bounded per source.

mod bucket;
mod sink;
mod spent;
mod standing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::config::SourceConfig;
use crate::metrics::{self, Metrics};
use crate::service::Source;

pub(super) use bucket::Watched;
pub(super) use sink::TimedSink;
pub use spent::Spent;
pub use standing::{Known, Point, RECENT, Standing, Trouble, Unreachable};

/// All sources at work.
pub struct Watch {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    began: DateTime<Utc>,
    standings: Mutex<BTreeMap<String, Arc<Standing>>>,
}

impl Watch {
    /// Begins to watch; nothing is known yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
        let began = clock.now();
        metrics.set(&metrics::START, &[], Some(seconds_of(began)));
        for outcome in ["ok", "failed"] {
            metrics.add(&metrics::COMMITS, &[outcome], 0);
        }
        Watch { metrics: Arc::new(metrics), began, clock, standings: Mutex::default() }
    }

    /// When it began.
    pub fn began(&self) -> DateTime<Utc> {
        self.began
    }

    /// The current time.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// What is known of a source, with the settings it has now.
    pub fn of(&self, config: &Arc<SourceConfig>) -> Arc<Standing> {
        let mut standings = self.standings();
        if let Some(standing) = standings.get(&config.name) {
            standing.configure(config);
            return standing.clone();
        }
        let (metrics, clock) = (self.metrics.clone(), self.clock.clone());
        let standing = Arc::new(Standing::new(config.clone(), metrics, clock));
        standings.insert(config.name.clone(), standing.clone());
        standing
    }

    /// Watches these sources, and forgets all others.
    pub fn keep(&self, sources: &[Arc<Source>]) {
        sources.iter().for_each(|source| drop(self.of(&source.config)));
        self.standings().retain(|name, standing| {
            let stays = sources.iter().any(|source| source.config.name == *name);
            if !stays {
                standing.leave();
            }
            stays
        });
    }

    /// What is known of the source of this name, while it is at work.
    pub fn get(&self, name: &str) -> Option<Arc<Standing>> {
        self.standings().get(name).cloned()
    }

    /// All sources, by name.
    pub fn all(&self) -> Vec<Arc<Standing>> {
        self.standings().values().cloned().collect()
    }

    fn standings(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Standing>>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instant as Prometheus has it.
pub(super) fn seconds_of(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}
