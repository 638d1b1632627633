//! What can be asked for: what is watched, and what the state holds, read when somebody asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::health;
use super::overview::Overview;
use crate::metrics;
use crate::service::stored::{self, Stored};
use crate::service::watch::{Standing, Watch};
use crate::service::{Instance, watch};
use crate::state::{State, StateError};

/// How long what was read of the state serves further requests.
const FRESH: Duration = Duration::from_secs(5);

/// What was read, and when.
struct Reading {
    at: Instant,
    sources: Arc<BTreeMap<String, Stored>>,
    state_bytes: u64,
}

/// Everything that is shown.
pub struct Site {
    watch: Arc<Watch>,
    state: Arc<dyn State>,
    state_dir: PathBuf,
    instance: String,
    fresh: Duration,
    /// One request at a time reads; the others wait for what it finds.
    reading: Mutex<Option<Reading>>,
}

impl Site {
    /// Shows an instance.
    pub fn new(instance: &Instance) -> Self {
        Site {
            watch: instance.watch().clone(),
            state: instance.state().clone(),
            state_dir: instance.config.state_dir.clone(),
            instance: instance.config.instance.clone(),
            fresh: FRESH,
            reading: Mutex::default(),
        }
    }

    /// The same, with the state read for each request.
    #[cfg(feature = "testing")]
    pub fn always_fresh(self) -> Self {
        Site { fresh: Duration::ZERO, ..self }
    }

    /// What the state holds of each source, and its size in bytes.
    async fn stored(&self) -> Result<(Arc<BTreeMap<String, Stored>>, u64), StateError> {
        let mut reading = self.reading.lock().await;
        if let Some(known) = &*reading
            && known.at.elapsed() < self.fresh
        {
            return Ok((known.sources.clone(), known.state_bytes));
        }
        let configs: Vec<_> = self.watch.all().iter().map(|standing| standing.config()).collect();
        let before = reading.as_ref().map(|known| known.sources.clone()).unwrap_or_default();
        let (state, dir) = (self.state.clone(), self.state_dir.clone());
        let read = tokio::task::spawn_blocking(move || {
            Ok((stored::read(&*state, &configs, &before)?, stored::size_of(&dir)))
        });
        let (sources, state_bytes) = read.await.unwrap_or_else(|failed| {
            Err(StateError::Damaged { what: format!("reading it failed: {failed}") })
        })?;
        let sources = Arc::new(sources);
        *reading = Some(Reading { at: Instant::now(), sources: sources.clone(), state_bytes });
        Ok((sources, state_bytes))
    }

    /// Each source at work with what the state holds of it.
    async fn sources(&self) -> Result<Vec<(Arc<Standing>, Stored)>, StateError> {
        let (stored, _) = self.stored().await?;
        let of = |standing: &Arc<Standing>| stored.get(standing.name()).cloned().unwrap_or_default();
        Ok(self.watch.all().into_iter().map(|standing| (standing.clone(), of(&standing))).collect())
    }

    /// The metrics, as they are exposed.
    pub async fn metrics(&self) -> Result<String, StateError> {
        let (stored, state_bytes) = self.stored().await?;
        self.watch.metrics.set(&metrics::STATE_SIZE, &[], Some(state_bytes as f64));
        for standing in self.watch.all() {
            if let Some(stored) = stored.get(standing.name()) {
                self.set_gauges(&standing, stored);
            }
        }
        Ok(self.watch.metrics.text())
    }

    fn set_gauges(&self, standing: &Standing, stored: &Stored) {
        let (name, now) = (standing.name(), watch::seconds_of(self.watch.now()));
        let lag = |at| (now - watch::seconds_of(at)).max(0.0);
        let paused = f64::from(u8::from(stored.paused.is_some()));
        for (metric, value) in [
            (&metrics::PAUSED, Some(paused)),
            (&metrics::UNLISTED, Some(lag(standing.unlisted_since()))),
            (&metrics::LEAVES, Some(stored.leaves as f64)),
            (&metrics::LAG, stored.newest_of_all().map(lag)),
            (&metrics::WORST_LEAF_LAG, stored.worst_leaf().map(|(_, at)| lag(*at))),
            (&metrics::WAITING, Some(stored.failed as f64)),
            (&metrics::QUARANTINED, Some(stored.quarantined as f64)),
        ] {
            self.watch.metrics.set(metric, &[name], value);
        }
    }

    /// How everything stands.
    pub async fn overview(&self) -> Result<Overview, StateError> {
        let sources = self.sources().await?;
        Ok(Overview::of(&self.instance, self.watch.began(), self.watch.now(), &sources))
    }

    /// Why this is not healthy; nothing where it is.
    pub async fn unhealthy(&self) -> Result<Vec<String>, StateError> {
        let now = self.watch.now();
        let sources = self.sources().await?;
        Ok(sources.iter().filter_map(|(standing, stored)| health::unlisted(standing, stored, now)).collect())
    }

    /// Why this is not ready; nothing where it is.
    pub async fn unready(&self) -> Result<Vec<String>, StateError> {
        let sources = self.sources().await?;
        Ok(sources.iter().filter_map(|(standing, stored)| health::unstarted(standing, stored)).collect())
    }
}
