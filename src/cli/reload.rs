//! SIGHUP: the configuration is read and checked whole, then takes effect between sweeps.

use tokio::signal::unix::Signal;
use tracing::{error, info, warn};

use super::{Global, instance, load};
use crate::config::Config;
use crate::service::Roster;
use crate::service::notify::Notifier;

/// Reads the configuration anew at each SIGHUP; never returns.
pub(super) async fn keep_reloading(
    mut hangups: Signal,
    global: &Global,
    roster: &Roster,
    manager: &Notifier,
) {
    while hangups.recv().await.is_some() {
        manager.reloading();
        // a folder that hangs must not hold up the sweeps
        let named = global.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&named)).await;
        if let Err(error) = loaded.map_err(anyhow::Error::from).flatten().and_then(|new| replace(roster, new))
        {
            error!("the configuration is not reloaded, and the one before stays: {error:#}");
        }
        manager.ready(roster.sources().len());
    }
    std::future::pending().await
}

fn replace(roster: &Roster, new: Config) -> anyhow::Result<()> {
    let (config, apart) = roster.take_over(new);
    let sources = instance::sources(&config)?;
    let changes = roster.replace(config, sources);
    info!(
        added = ?changes.added,
        changed = ?changes.changed,
        removed = ?changes.removed,
        "the configuration is reloaded; a sweep that runs ends by the settings of before"
    );
    if !apart.is_empty() {
        warn!(settings = ?apart, "changed settings that need a restart: the values of before stay in effect");
    }
    Ok(())
}
