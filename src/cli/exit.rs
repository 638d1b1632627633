//! Exit codes: what a script or a service manager may rely on.

use std::process::ExitCode;

use crate::bucket::BucketError;
use crate::commit::CommitError;
use crate::config::ConfigError;
use crate::failure::Class;
use crate::service::InstanceError;
use crate::sink::SinkError;
use crate::state::StateError;
use crate::state::history::HistoryError;
use crate::sweep::SweepError;

/// How a command ended. The numbers are part of the interface and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// 0: nothing failed in this run.
    Success = 0,
    /// 1: objects failed or were quarantined in this run, or `audit` found some missing.
    Failed = 1,
    /// 2: a mistake in the command line or the configuration.
    Usage = 2,
    /// 3: a source could not be reached or refused us.
    Unreachable = 3,
    /// 4: the state directory or the sink's folder is locked, foreign or damaged.
    State = 4,
    /// 5: the sink cannot take records.
    Sink = 5,
    /// 130: an interrupted `once`, or a second signal.
    Interrupted = 130,
}

impl Exit {
    /// The number a shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// An error of the command line itself: exit code 2, whatever lies below it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// An error whose exit code its raiser knows.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Stopped {
    /// How the command ends.
    pub exit: Exit,
    /// A lower-case fragment that names the fix.
    pub message: String,
}

/// The exit code of an error: that of the first cause, from the outside in, that has one of its
/// own; 1 for any other.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    // a context is no link of the chain that could be asked for its type, but of the whole error
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return stopped.exit;
    }
    if error.is::<UsageError>() {
        return Exit::Usage;
    }
    error.chain().find_map(own_exit).unwrap_or(Exit::Failed)
}

fn own_exit(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(stopped) = cause.downcast_ref::<Stopped>() {
        return Some(stopped.exit);
    }
    if cause.is::<UsageError>() || cause.is::<ConfigError>() {
        return Some(Exit::Usage);
    }
    if cause.is::<StateError>() || cause.is::<HistoryError>() {
        return Some(Exit::State);
    }
    // Transparent errors show their cause's causes, not the cause: it is asked for by name.
    if let Some(error) = cause.downcast_ref::<InstanceError>() {
        return match error {
            InstanceError::State(error) => own_exit(error),
            InstanceError::Sink(error) => own_exit(error),
            InstanceError::Commit(error) => own_exit(error),
        };
    }
    if let Some(error) = cause.downcast_ref::<SweepError>() {
        return match error {
            SweepError::State(error) => own_exit(error),
            SweepError::Commit(error) => own_exit(error),
            SweepError::Bucket(error) => own_exit(error),
            SweepError::History(error) => own_exit(error),
            SweepError::Stopped => Some(Exit::Interrupted),
            SweepError::Unread | SweepError::Bounded => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<CommitError>() {
        return match error {
            CommitError::State(error) => own_exit(error),
            CommitError::Sink(error) => own_exit(error),
            CommitError::History(error) => own_exit(error),
            CommitError::Panicked { .. } => Some(Exit::State),
            CommitError::Stopped => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<SinkError>() {
        return Some(match error {
            SinkError::Down { .. } | SinkError::Closed => Exit::Sink,
            SinkError::Locked { .. } | SinkError::Foreign { .. } => Exit::State,
        });
    }
    let bucket = cause.downcast_ref::<BucketError>()?;
    Some(match bucket.class {
        Class::Transient | Class::Unreachable => Exit::Unreachable,
        Class::Content | Class::Object | Class::Archived | Class::Replaced | Class::Gone => Exit::Failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_exit_code() {
        let newer = || StateError::Newer { what: "a value".into() };
        let full = || SinkError::Down { what: "write".into(), source: std::io::Error::other("full") };
        let refused = |class| BucketError {
            class,
            operation: "LIST",
            bucket: "b".into(),
            key: String::new(),
            message: "refused".into(),
            retry_after: None,
            answer: None,
        };
        let cases: Vec<(&str, anyhow::Error, u8)> = vec![
            ("usage", UsageError("x".into()).into(), 2),
            ("usage as a context", anyhow::anyhow!("disk").context(UsageError("x".into())), 2),
            ("configuration", ConfigError::Wrong(vec![]).into(), 2),
            ("sink down", full().into(), 5),
            ("sink down, with context", anyhow::Error::from(full()).context("sweeping"), 5),
            ("sink locked", SinkError::Locked { path: "p".into() }.into(), 4),
            ("state", InstanceError::State(newer()).into(), 4),
            ("state, below the committer", SweepError::Commit(CommitError::State(newer())).into(), 4),
            (
                "sink, below the committer",
                InstanceError::Commit(CommitError::Sink(SinkError::Closed)).into(),
                5,
            ),
            (
                "a fault below the committer",
                InstanceError::Commit(CommitError::Panicked { what: "x".into() }).into(),
                4,
            ),
            ("source refused", refused(Class::Unreachable).into(), 3),
            ("one object", refused(Class::Object).into(), 1),
            ("its own", Stopped { exit: Exit::Interrupted, message: "x".into() }.into(), 130),
            ("anything else", anyhow::anyhow!("odd"), 1),
        ];
        for (case, error, code) in cases {
            assert_eq!(exit_of(&error).code(), code, "{case}");
        }
    }
}
