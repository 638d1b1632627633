//! What the commands that sweep, and those that only look, have in common.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Stopped, UsageError};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::service::control::Control;
use crate::service::socket::protocol::{Because, Request, Response};
use crate::service::socket::{Client, ClientError, RemoteState};
use crate::service::{Holding, Instance, Options, Roster, Source, signals};
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

/// The daemon that owns the state directory, if one runs.
pub(super) fn daemon(config: &Config) -> anyhow::Result<Option<Arc<Client>>> {
    let connected = Client::connect(&config.state_dir).map_err(|error| Stopped {
        exit: Exit::State,
        message: format!(
            "failed to reach the daemon that owns the state directory {}: {error}",
            config.state_dir.display()
        ),
    });
    Ok(connected?.map(Arc::new))
}

/// The stored state, to be read only, by way of the daemon where one runs; an empty one when
/// there is none yet. Fails while something else (`once`) has it open.
pub(super) async fn stored_state(config: &Config) -> anyhow::Result<Arc<dyn State>> {
    if let Some(client) = daemon(config)? {
        return Ok(Arc::new(RemoteState(client)));
    }
    let (dir, instance) = (config.state_dir.clone(), config.instance.clone());
    let opening = tokio::task::spawn_blocking(move || -> Result<Arc<dyn State>, StateError> {
        match DiskState::exists(&dir) {
            true => Ok(Arc::new(DiskState::open(&dir, &instance, false)?)),
            false => Ok(Arc::new(MemoryState::default())),
        }
    });
    let opened = opening
        .await
        .unwrap_or_else(|failed| Err(StateError::Damaged { what: format!("opening it failed: {failed}") }));
    Ok(opened?)
}

/// An instance of this command alone; it sweeps nothing by itself.
pub(super) async fn alone(config: &Config, adopt_state: bool) -> anyhow::Result<Instance> {
    let options = Options {
        clock: Arc::new(SystemClock),
        adopt_state,
        rebuild_state: false,
        give_up: true,
        stop: CancellationToken::new(),
    };
    Ok(Instance::open(config.clone(), options).await?)
}

/// Has a request done by the daemon, or by an instance of this command alone. Returns what was
/// done, for people.
pub(super) async fn ask(config: &Config, request: Request) -> anyhow::Result<String> {
    match ask_each(config, vec![request]).await?.pop() {
        Some(Response::Done { text }) => Ok(text),
        _ => Err(odd_answer()),
    }
}

/// Has requests done one after the other, up to the first that is refused.
pub(super) async fn ask_each(config: &Config, requests: Vec<Request>) -> anyhow::Result<Vec<Response>> {
    let answers: Result<Vec<_>, _> = match daemon(config)? {
        Some(client) => {
            let asking = move || requests.into_iter().map(|request| client.ask(request)).collect();
            tokio::task::spawn_blocking(asking).await?
        }
        None => {
            let instance = alone(config, false).await?;
            let sources = sources(config)?;
            let roster = Roster::new(config.clone(), sources);
            let answers = answers_of(&instance, &roster, requests).await;
            instance.close().await?;
            answers
        }
    };
    Ok(answers.map_err(stopped)?)
}

async fn answers_of(
    instance: &Instance,
    roster: &Roster,
    requests: Vec<Request>,
) -> Result<Vec<Response>, ClientError> {
    let (control, mut holding) = (Control { instance, roster }, Holding::default());
    let mut answers = Vec::new();
    for request in requests {
        match control.answer(request, &mut holding).await {
            Response::Refused { because, message } => return Err(ClientError::Refused { because, message }),
            answer => answers.push(answer),
        }
    }
    Ok(answers)
}

/// The answer is none to what was asked.
pub(super) fn odd_answer() -> anyhow::Error {
    anyhow::anyhow!("the daemon answered something else than it was asked")
}

/// What a daemon's refusal means for the exit code.
pub(super) fn stopped(error: ClientError) -> Stopped {
    let exit = match &error {
        ClientError::Refused { because: Because::Usage, .. } => Exit::Usage,
        ClientError::Refused { because: Because::Sink, .. } => Exit::Sink,
        ClientError::Refused { because: Because::State, .. } | ClientError::Gone | ClientError::Io(_) => {
            Exit::State
        }
    };
    Stopped { exit, message: crate::failure::chain(&error) }
}
