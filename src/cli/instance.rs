//! What the commands that sweep, and those that only look, have in common.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::exit::UsageError;
use crate::config::Config;
use crate::service::{Source, signals};
use crate::state::disk::DiskState;
use crate::state::memory::MemoryState;
use crate::state::{State, StateError};

/// The task that watches for signals; it ends with this.
pub(super) struct Signals {
    stop: CancellationToken,
    /// Aborts the task when it is dropped.
    _task: JoinSet<()>,
}

impl Signals {
    /// Watches from now on.
    pub fn watch() -> Self {
        let stop = CancellationToken::new();
        let watched = stop.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = signals::watch(watched).await {
                tracing::warn!(%error, "signals cannot be watched: SIGTERM ends the process at once");
            }
        });
        Signals { stop, _task: task }
    }

    /// Cancelled by the first signal.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// The enabled sources.
pub(super) fn sources(config: &Config) -> Result<Vec<Source>, UsageError> {
    let enabled = config.sources.iter().filter(|source| source.enabled);
    enabled.map(|source| Source::new(source, config).map_err(|error| UsageError(error.to_string()))).collect()
}

/// The stored state, to be read only; an empty one when there is none yet. Fails while another
/// instance has it open.
pub(super) async fn stored_state(config: &Config) -> Result<Arc<dyn State>, StateError> {
    let (dir, instance) = (config.state_dir.clone(), config.instance.clone());
    let opening = tokio::task::spawn_blocking(move || -> Result<Arc<dyn State>, StateError> {
        match DiskState::exists(&dir) {
            true => Ok(Arc::new(DiskState::open(&dir, &instance, false)?)),
            false => Ok(Arc::new(MemoryState::default())),
        }
    });
    opening
        .await
        .unwrap_or_else(|failed| Err(StateError::Damaged { what: format!("opening it failed: {failed}") }))
}
