//! What a running instance is asked from outside, and its answers; the socket carries them, and a
//! command that finds no daemon asks an instance of its own the same way.
//!
//! | request | what it does |
//! |---|---|
//! | `get`, `scan` | read the state: all commands that only look work on them |
//! | `hold` | no sweep of these sources begins until the connection ends |
//! | `marker` | changes markers between two sweeps |
//! | `quarantine` | retries or drops quarantined objects between two sweeps |
//! | `repair` | audits a source and collects what is missing, between two sweeps |
//! | `sweep` | sweeps now, pauses, resumes |

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::turn::Held;
use super::{Instance, Source};
use crate::commit::{Closing, CommitError};
use crate::config::SourceConfig;
use crate::failure;
use crate::marker::{self, LeafChange, MarkerChange, Refused};
use crate::pattern::Leaf;
use crate::sink::SinkError;
use crate::state::{Batch, Change, Marker, SourceRecord, State, StateError};
use crate::sweep::mend::{Action, Mended};
use crate::sweep::report::SourceReport;
use crate::sweep::{SweepError, Swept};

/// Version of requests and answers.
pub const VERSION: u32 = 1;
/// Pairs in one answer.
pub const SCAN_PAGE: usize = 500;
/// Prefixes that close in one batch.
const CLOSINGS: usize = 50;

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// The stored value of a key, in hexadecimal digits.
    Get {
        /// The key.
        key: String,
    },
    /// Stored pairs, at most [`SCAN_PAGE`].
    Scan {
        /// The first key, in hexadecimal digits.
        from: String,
        /// The first key after them.
        to: String,
        /// How many at most.
        limit: usize,
    },
    /// Keeps sources from being swept until the connection ends.
    Hold {
        /// Their names.
        sources: Vec<String>,
    },
    /// Changes the markers of a source.
    Marker {
        /// Its name.
        source: String,
        /// Heads or names of leaves; none stand for all.
        leaves: Vec<String>,
        /// The change.
        change: MarkerChange,
    },
    /// Retries or drops quarantined objects of a source.
    Quarantine {
        /// Its name; it may be disabled.
        source: String,
        /// Which objects; `None` stands for all.
        keys: Option<BTreeSet<String>>,
        /// What to do with them.
        action: Action,
    },
    /// Audits a source once more, and collects what is missing.
    Repair {
        /// Its name.
        source: String,
        /// It begins with the prefixes of this instant.
        from: DateTime<Utc>,
        /// It ends with the prefixes of this instant.
        to: DateTime<Utc>,
    },
    /// Sweeps, pauses or resumes.
    Sweep {
        /// The name of the source.
        source: String,
        /// Which of the three.
        action: SweepAction,
    },
}

/// What to do with the sweeps of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepAction {
    /// Sweep at once.
    Now,
    /// Sweep no more.
    Pause,
    /// Sweep again.
    Resume,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Answer {
    /// The value of a key, in hexadecimal digits.
    Value {
        /// `None` when nothing is stored.
        value: Option<String>,
    },
    /// Pairs in byte order, in hexadecimal digits.
    Pairs {
        /// Key and value.
        pairs: Vec<(String, String)>,
    },
    /// It is done; for people.
    Done {
        /// What was done.
        text: String,
    },
    /// What was done with quarantined objects; those that are none are left out.
    Mended {
        /// One by one.
        objects: Vec<Mended>,
    },
    /// How a repair ended.
    Repaired {
        /// What it did.
        report: Box<SourceReport>,
        /// [`SourceReport::waiting`], which the report's own form leaves out.
        waiting: u64,
    },
    /// It was not done.
    Refused {
        /// Whose fault it is.
        because: Because,
        /// Why, for people.
        message: String,
    },
}

/// Why something is refused: what the exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The request makes no sense.
    Usage,
    /// State or sink cannot be used.
    State,
    /// The sink cannot take records.
    Sink,
}

impl Answer {
    /// A refusal of a request that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Answer::Refused { because: Because::Usage, message: message.into() }
    }
}

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

impl From<Refused> for ControlError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Senseless(text) => ControlError::Usage(text),
            Refused::State(error) => ControlError::State(error),
        }
    }
}

impl From<ControlError> for Answer {
    fn from(error: ControlError) -> Self {
        let because = match &error {
            ControlError::Usage(_) => Because::Usage,
            ControlError::Commit(error) | ControlError::Sweep(SweepError::Commit(error)) => whose(error),
            ControlError::State(_) | ControlError::Sweep(_) => Because::State,
        };
        Answer::Refused { because, message: failure::chain(&error) }
    }
}

fn whose(error: &CommitError) -> Because {
    match error {
        CommitError::Sink(SinkError::Down { .. } | SinkError::Closed) => Because::Sink,
        _ => Because::State,
    }
}

/// What one asker holds until it goes.
#[derive(Default)]
pub struct Holding(Vec<(String, Held)>);

/// Answers for an instance and its sources.
pub struct Control<'i> {
    /// The instance at work.
    pub instance: &'i Instance,
    /// Its sources.
    pub sources: &'i [Source],
}

impl Control<'_> {
    /// Does what is asked.
    pub async fn answer(&self, request: Request, holding: &mut Holding) -> Answer {
        self.try_answer(request, holding).await.unwrap_or_else(Answer::from)
    }

    async fn try_answer(&self, request: Request, holding: &mut Holding) -> Result<Answer, ControlError> {
        let state = &*self.instance.state;
        match request {
            Request::Get { key } => {
                Ok(Answer::Value { value: state.get(&from_hex(&key)?)?.map(|value| to_hex(&value)) })
            }
            Request::Scan { from, to, limit } => {
                let pairs = state.scan(&from_hex(&from)?, &from_hex(&to)?, limit.min(SCAN_PAGE))?;
                let pairs = pairs.iter().map(|(key, value)| (to_hex(key), to_hex(value)));
                Ok(Answer::Pairs { pairs: pairs.collect() })
            }
            Request::Hold { sources } => {
                for name in sources {
                    self.hold(self.source(&name)?, holding).await;
                }
                self.instance.handle.flush().await?;
                Ok(Answer::Done { text: "held".to_owned() })
            }
            Request::Marker { source, leaves, change } => {
                let source = self.source(&source)?;
                self.hold(source, holding).await;
                let changed = self.change_markers(&source.config, &leaves, change).await;
                release(source, holding);
                let text = format!("{}: {} leaves changed", source.config.name, changed?);
                info!("{text}");
                Ok(Answer::Done { text })
            }
            Request::Quarantine { source, keys, action } => self.mend(&source, keys, &action, holding).await,
            Request::Repair { source, from, to } => {
                let source = self.source(&source)?;
                self.hold(source, holding).await;
                let swept = self.instance.audit_and_repair(source, from, to).await;
                release(source, holding);
                let Swept { report, ended } = swept?;
                ended?;
                Ok(Answer::Repaired { waiting: report.waiting, report: Box::new(report) })
            }
            Request::Sweep { source, action } => self.direct(self.source(&source)?, action, holding).await,
        }
    }

    fn source(&self, name: &str) -> Result<&Source, ControlError> {
        let found = self.sources.iter().find(|source| source.config.name == name);
        found.ok_or_else(|| {
            ControlError::Usage(format!("no source {name:?} is at work here: not configured, or not enabled"))
        })
    }

    async fn hold(&self, source: &Source, holding: &mut Holding) {
        if !holding.0.iter().any(|(held, _)| *held == source.config.name) {
            holding.0.push((source.config.name.clone(), source.turn.hold().await));
        }
    }

    /// Waits for the turn where the source is swept at all; a disabled one has a quarantine too.
    async fn mend(
        &self,
        name: &str,
        keys: Option<BTreeSet<String>>,
        action: &Action,
        holding: &mut Holding,
    ) -> Result<Answer, ControlError> {
        let configured = self.instance.config.sources.iter().find(|source| source.name == name);
        let config = configured
            .ok_or_else(|| ControlError::Usage(format!("no source {name:?} is configured for what runs")))?;
        let swept = self.sources.iter().find(|source| source.config.name == name);
        if let Some(source) = swept {
            self.hold(source, holding).await;
        }
        let mended = self.instance.mend(config, keys.as_ref(), action).await;
        if let Some(source) = swept {
            release(source, holding);
        }
        let objects = mended?;
        info!(source = name, objects = objects.len(), "quarantined objects retried or dropped");
        Ok(Answer::Mended { objects })
    }

    async fn change_markers(
        &self,
        source: &SourceConfig,
        leaves: &[String],
        change: MarkerChange,
    ) -> Result<usize, ControlError> {
        let Instance { state, handle, clock, .. } = self.instance;
        let (record, leaves) = chosen(&**state, source, leaves)?;
        let mut changed = 0;
        for leaf in leaves {
            let Some(planned) = marker::plan(&**state, &record, leaf, change, clock.now())? else { continue };
            let LeafChange { leaf, closing, changes, .. } = planned;
            for times in closing.chunks(CLOSINGS) {
                let closed = || Box::new(Marker { closed: true, ..Marker::default() });
                let head = || leaf.head().to_owned();
                let marked =
                    times.iter().map(|time| Change::PutMarker(record.key(), head(), *time, closed()));
                let closing = Closing {
                    source: record.key(),
                    source_name: source.name.clone(),
                    prefixes: times.iter().map(|time| (leaf.clone(), *time)).collect(),
                    changes: marked.collect(),
                    recheck: None, // it would find what is to be left out
                    found_by: None,
                    at: clock.now(),
                };
                handle.close(closing).await?;
            }
            handle.apply(changes).await?;
            changed += 1;
        }
        handle.apply(vec![look_again(source, &record)]).await?;
        Ok(changed)
    }

    async fn direct(
        &self,
        source: &Source,
        action: SweepAction,
        holding: &mut Holding,
    ) -> Result<Answer, ControlError> {
        let Instance { state, handle, clock, .. } = self.instance;
        let name = &source.config.name;
        let paused = (&**state as &dyn State).paused(name)?;
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
                self.hold(source, holding).await;
                let applied = handle.apply(vec![Change::PutPaused(name.clone(), clock.now())]).await;
                release(source, holding);
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
        Ok(Answer::Done { text })
    }
}

fn release(source: &Source, holding: &mut Holding) {
    holding.0.retain(|(held, _)| *held != source.config.name);
}

/// The leaves that are asked for, of a source that was swept.
fn chosen(
    state: &dyn State,
    source: &SourceConfig,
    wanted: &[String],
) -> Result<(SourceRecord, Vec<Leaf>), ControlError> {
    let name = &source.name;
    let Some(record) = state.source(name)? else {
        return Err(ControlError::Usage(format!("{name} has no markers yet; set its `start` instead")));
    };
    if record.pattern != source.pattern.to_string() || record.bucket != source.bucket.name() {
        return Err(ControlError::Usage(format!(
            "bucket or pattern of {name} changed since its last sweep: the next one begins anew anyway"
        )));
    }
    let leaves = state.leaves(record.key(), None, usize::MAX)?;
    let mut leaves: Vec<_> = leaves.iter().filter_map(|(head, _)| source.pattern.leaf(head)).collect();
    for text in wanted {
        if !leaves.iter().any(|leaf| is_called(leaf, text)) {
            return Err(ControlError::Usage(format!(
                "{name} has no leaf {text:?}; `s3sweep marker list` names them"
            )));
        }
    }
    leaves.retain(|leaf| wanted.is_empty() || wanted.iter().any(|text| is_called(leaf, text)));
    Ok((record, leaves))
}

fn is_called(leaf: &Leaf, text: &str) -> bool {
    leaf.head() == text || leaf.name() == text
}

/// Leaves that were forgotten are looked for in the next sweep.
fn look_again(source: &SourceConfig, record: &SourceRecord) -> Change {
    let record = SourceRecord { discovered_at: None, ..record.clone() };
    Change::PutSource(source.name.clone(), Box::new(record))
}

/// Changes markers in a state that is thrown away (an overlay), to see what would follow. Takes
/// only the leaves where objects may be left out (`skips`), or only the others. Returns how many
/// there are.
pub fn try_markers(
    state: &dyn State,
    source: &SourceConfig,
    leaves: &[String],
    change: MarkerChange,
    skips: bool,
    now: DateTime<Utc>,
) -> Result<usize, ControlError> {
    let (record, leaves) = chosen(state, source, leaves)?;
    let mut changed = 0;
    for leaf in leaves {
        let planned = marker::plan(state, &record, leaf, change, now)?;
        if let Some(planned) = planned.filter(|planned| planned.skips == skips) {
            state.apply(&Batch(planned.changes))?;
            changed += 1;
        }
    }
    state.apply(&Batch(vec![look_again(source, &record)]))?;
    Ok(changed)
}

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for.
pub fn from_hex(text: &str) -> Result<Vec<u8>, ControlError> {
    let wrong = || ControlError::Usage("not a number of hexadecimal digits".to_owned());
    let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or_else(wrong)?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).map_err(|_| wrong())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_garbage_does_not() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&all)).unwrap(), all);
        for text in ["0", "0g", "é1", "00 0"] {
            assert!(from_hex(text).is_err(), "{text}");
        }
    }
}
