//! Does what a running instance is asked for from outside; the socket carries it, and a command that
//! finds no daemon asks an instance of its own the same way.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::info;

use super::socket::protocol::Because;
use super::socket::protocol::{NotHex, Request, Response, SCAN_PAGE, SweepAction, from_hex, to_hex};
use super::turn::Holding;
use super::{Instance, Roster, Source};
use crate::commit::CommitError;
use crate::failure;
use crate::marker::MarkerError;
use crate::sink::SinkError;
use crate::state::{Change, State, StateError};
use crate::sweep::mend::Action;
use crate::sweep::{SweepError, Swept};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The committer.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What a sweep needs too.
    #[error(transparent)]
    Sweep(#[from] SweepError),
}

impl From<MarkerError> for ControlError {
    fn from(error: MarkerError) -> Self {
        match error {
            MarkerError::Usage(text) => ControlError::Usage(text),
            MarkerError::State(error) => ControlError::State(error),
            MarkerError::Commit(error) => ControlError::Commit(error),
        }
    }
}

impl From<NotHex> for ControlError {
    fn from(error: NotHex) -> Self {
        ControlError::Usage(error.to_string())
    }
}

impl From<ControlError> for Response {
    fn from(error: ControlError) -> Self {
        let because = match &error {
            ControlError::Usage(_) => Because::Usage,
            ControlError::Commit(error) | ControlError::Sweep(SweepError::Commit(error)) => whose(error),
            ControlError::State(_) | ControlError::Sweep(_) => Because::State,
        };
        Response::Refused { because, message: failure::chain(&error) }
    }
}

fn whose(error: &CommitError) -> Because {
    match error {
        CommitError::Sink(SinkError::Down { .. } | SinkError::Closed) => Because::Sink,
        _ => Because::State,
    }
}

/// Answers for an instance and its sources.
pub struct Control<'i> {
    /// The instance at work.
    pub instance: &'i Instance,
    /// Its sources.
    pub roster: &'i Roster,
}

impl Control<'_> {
    /// Does what is asked.
    pub async fn answer(&self, request: Request, holding: &mut Holding) -> Response {
        self.try_answer(request, holding).await.unwrap_or_else(Response::from)
    }

    async fn try_answer(&self, request: Request, holding: &mut Holding) -> Result<Response, ControlError> {
        let state = &**self.instance.state();
        match request {
            Request::Get { key } => {
                Ok(Response::Value { value: state.get(&from_hex(&key)?)?.map(|value| to_hex(&value)) })
            }
            Request::Scan { from, to, limit } => {
                let pairs = state.scan(&from_hex(&from)?, &from_hex(&to)?, limit.min(SCAN_PAGE))?;
                let pairs = pairs.iter().map(|(key, value)| (to_hex(key), to_hex(value)));
                Ok(Response::Pairs { pairs: pairs.collect() })
            }
            Request::Hold { sources } => {
                holding.release_others(&sources);
                for name in sources {
                    holding.hold(&*self.source(&name)?).await;
                }
                self.instance.handle.flush().await?;
                Ok(Response::Done { text: "held".to_owned() })
            }
            Request::Marker { source, leaves, change } => {
                let source = &*self.source(&source)?;
                holding.hold(source).await;
                let changed = self.instance.change_markers(&source.config, &leaves, change).await;
                holding.release(source);
                let text = format!("{}: {} leaves changed", source.config.name, changed?);
                info!("{text}");
                Ok(Response::Done { text })
            }
            Request::Quarantine { source, keys, action } => self.mend(&source, keys, &action, holding).await,
            Request::Repair { source, from, to } => {
                let source = &*self.source(&source)?;
                holding.hold(source).await;
                let swept = self.instance.audit_and_repair(source, from, to).await;
                holding.release(source);
                let Swept { report, ended } = swept?;
                ended?;
                Ok(Response::Repaired { waiting: report.waiting, report: Box::new(report) })
            }
            Request::Checked { source } => {
                let source = self.source(&source)?;
                let name = &source.config.name;
                let text = match self.instance.check(&source, true).await {
                    Ok(()) => format!("{name}: well"),
                    Err(error) => format!("{name}: {}", failure::chain(&error)),
                };
                Ok(Response::Done { text })
            }
            Request::Sweep { source, action } => self.direct(&*self.source(&source)?, action, holding).await,
        }
    }

    fn source(&self, name: &str) -> Result<Arc<Source>, ControlError> {
        self.roster.source(name).ok_or_else(|| {
            ControlError::Usage(format!("no source {name:?} is at work here: not configured, or not enabled"))
        })
    }

    /// Waits for the turn where the source is swept at all; a disabled one has a quarantine too.
    async fn mend(
        &self,
        name: &str,
        keys: Option<BTreeSet<String>>,
        action: &Action,
        holding: &mut Holding,
    ) -> Result<Response, ControlError> {
        let whole = self.roster.config();
        let configured = whole.sources.iter().find(|source| source.name == name);
        let config = configured
            .ok_or_else(|| ControlError::Usage(format!("no source {name:?} is configured for what runs")))?;
        let swept = self.roster.source(name);
        if let Some(source) = &swept {
            holding.hold(source).await;
        }
        let mended = self.instance.mend(config, keys.as_ref(), action).await;
        if let Some(source) = &swept {
            holding.release(source);
        }
        let objects = mended?;
        info!(source = name, objects = objects.len(), "quarantined objects retried or dropped");
        Ok(Response::Mended { objects })
    }

    async fn direct(
        &self,
        source: &Source,
        action: SweepAction,
        holding: &mut Holding,
    ) -> Result<Response, ControlError> {
        let (handle, now) = (&self.instance.handle, self.instance.shared.clock.now());
        let name = &source.config.name;
        let paused = (&**self.instance.state() as &dyn State).paused(name)?;
        let text = match (action, paused) {
            (SweepAction::Now, Some(since)) => {
                return Err(ControlError::Usage(format!(
                    "{name} is paused since {}; resume it",
                    since.to_rfc3339()
                )));
            }
            (SweepAction::Now, None) => {
                source.turn.call();
                format!("{name}: a sweep begins, or follows the one under way")
            }
            (SweepAction::Pause, Some(_)) => format!("{name}: was paused already"),
            (SweepAction::Pause, None) => {
                holding.hold(source).await;
                let applied = handle.apply(vec![Change::PutPaused(name.clone(), now)]).await;
                holding.release(source);
                applied?;
                format!("{name}: paused; `s3sweep sweep resume` ends that, a restart does not")
            }
            (SweepAction::Resume, None) => format!("{name}: was not paused"),
            (SweepAction::Resume, Some(_)) => {
                handle.apply(vec![Change::DeletePaused(name.clone())]).await?;
                source.turn.call();
                format!("{name}: resumed")
            }
        };
        info!("{text}");
        Ok(Response::Done { text })
    }
}
