//! `run`: sweeps on the recurrence until stopped.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::exit::{Exit, UsageError};
use super::{Global, instance, reload};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::service::control::Control;
use crate::service::http::{HttpServer, Site};
use crate::service::notify::Notifier;
use crate::service::socket::{ServeLimits, Server};
use crate::service::{Instance, Options, Roster, signals};

/// Sweep all sources on their recurrence until stopped
///
/// The first sweep starts at once. SIGTERM and SIGINT stop the listing, finish what is in flight
/// and exit with 0; a second signal exits at once, and the next start is still exact. One process
/// owns the state directory; a second one is refused with exit code 4. Other commands are answered
/// over the socket `control.sock` in the state directory; paused sources stay so (`sweep pause`).
/// SIGHUP reads the configuration anew: sources change between sweeps, a mistake changes nothing.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:\n  s3sweep run -c /etc/s3sweep/s3sweep.toml --log-format json")]
pub struct RunArgs {
    /// Take over a state directory that another host or instance wrote
    #[arg(long)]
    pub adopt_state: bool,

    /// Make a lost or damaged state anew from its sidecar and history
    ///
    /// Needed where a start ends with exit code 4 and says so. What closed prefixes delivered does
    /// not come again; what open ones did may come twice, and the log says first which. What is
    /// damaged is kept in a folder beside the new state. A state that is whole is refused.
    #[arg(long, conflicts_with = "source")]
    pub rebuild_state: bool,
}

pub(super) async fn run(args: &RunArgs, config: Config, global: &Global) -> anyhow::Result<Exit> {
    let signals = instance::Signals::watch();
    let hangups = signals::hangups().context("failed to watch for SIGHUP")?;
    let manager = Notifier::of_environment();
    let sources = instance::sources(&config)?;
    let options = Options {
        clock: Arc::new(SystemClock),
        adopt_state: args.adopt_state,
        rebuild_state: args.rebuild_state,
        give_up: false,
        stop: signals.stop(),
    };
    let http = bind(&config).await?;
    let state_dir = config.state_dir.clone();
    let roster = Roster::new(config.clone(), sources);
    let instance = Instance::open(config, options).await?;
    info!(sources = roster.sources().len(), "started");
    let control = Control { instance: &instance, roster: &roster };
    let server = listen(&state_dir);
    let stop = signals.stop();
    let beside = async {
        manager.ready(roster.sources().len());
        tokio::select! {
            _ = async { tokio::join!(serve(server.as_ref(), &control, &stop), show(http.as_ref(), &control, &stop)) } => {
                manager.stopping();
            }
            () = reload::keep_reloading(hangups, global, &roster, &manager) => {}
        }
        std::future::pending::<Infallible>().await // the sweeps end as they do
    };
    let ran = tokio::select! {
        biased;
        never = beside => match never {},
        never = manager.stay_alive() => match never {},
        ran = instance.run(&roster) => ran,
    };
    drop(server);
    // Why the committer stopped says more than that a sweep could not reach it.
    instance.close().await?;
    ran?;
    info!("stopped");
    Ok(Exit::Success)
}

/// Answers over the socket, where there is one, until `stop`.
async fn serve(server: Option<&Server>, control: &Control<'_>, stop: &CancellationToken) {
    match server {
        Some(server) => server.serve(control, stop).await,
        None => stop.cancelled().await,
    }
}

/// Answers over HTTP, where it is configured, until `stop`.
async fn show(http: Option<&HttpServer>, control: &Control<'_>, stop: &CancellationToken) {
    match http {
        Some(http) => http.serve(Arc::new(Site::new(control.instance)), stop).await,
        None => stop.cancelled().await,
    }
}

/// Takes the HTTP address, if there is one, before anything else is touched.
async fn bind(config: &Config) -> anyhow::Result<Option<HttpServer>> {
    let bound = HttpServer::bind(&config.http).await.map_err(|error| {
        let address = config.http.listen.map(|address| address.to_string()).unwrap_or_default();
        UsageError(format!(
            "failed to listen at {address}: {error}; change `http.listen`, or end what listens there"
        ))
    })?;
    if let Some(address) = bound.as_ref().and_then(|http| http.address().ok()) {
        info!(%address, "metrics, health and status page");
    }
    Ok(bound)
}

/// Without its socket the daemon goes on; commands then find the state directory locked.
fn listen(state_dir: &Path) -> Option<Server> {
    match Server::listen(state_dir, ServeLimits::default()) {
        Ok(server) => Some(server),
        Err(error) => {
            warn!(%error, dir = %state_dir.display(), "no control socket: other commands cannot be answered while this runs");
            None
        }
    }
}
