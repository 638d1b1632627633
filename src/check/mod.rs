//! Whether a configuration works: what `check` finds, line by line, each with what to do next.
//!
//! Nothing is changed: no lock is taken, no state opened, no folder made, and of the bucket only
//! listings and the first bytes of objects are asked for.

mod local;
mod refusal;
mod source;

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use serde_json::Value;

use crate::aws::Timeouts;
use crate::bucket::{Bucket, BucketError};
use crate::clock::Clock;
use crate::config::{Config, SourceConfig};

/// How a line came out; the order is that of badness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, and deserves a look.
    Warning,
    /// It does not work.
    Failed,
}

impl Status {
    /// The word that stands in front of a line.
    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failed => "failed",
        }
    }
}

/// Who is at fault when a line failed; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The configuration.
    Configuration,
    /// A source could not be reached, or refused us.
    Source,
    /// The state directory.
    State,
    /// The sink.
    Sink,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What was looked at: `configuration`, `state`, `sink`, `dns`, `list` and so on.
    pub check: &'static str,
    /// How it came out.
    pub status: Status,
    /// The leaf, where the line is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
    /// What was found.
    pub detail: String,
    /// The code in `docs/errors.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The statement that is missing in a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<Value>,
    /// Who is at fault.
    #[serde(skip)]
    pub fault: Fault,
}

impl Line {
    /// A line without more to it.
    pub fn new(check: &'static str, status: Status, fault: Fault, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Line { check, status, leaf: None, detail, code: None, next: None, statement: None, fault }
    }

    /// All is well with a source.
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Line::new(check, Status::Ok, Fault::Source, detail)
    }

    /// The same line with what to do next.
    pub fn next(self, next: impl Into<String>) -> Self {
        Line { next: Some(next.into()), ..self }
    }

    fn of(self, leaf: &str) -> Self {
        Line { leaf: Some(leaf.to_owned()), ..self }
    }
}

/// What was found about one source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceFindings {
    /// Its name.
    pub name: String,
    /// The worst of its lines.
    pub status: Status,
    /// One line for people.
    pub summary: String,
    /// How many leaves were looked at.
    pub leaves: usize,
    /// All lines, in the order of the way to the bucket.
    pub lines: Vec<Line>,
    /// The server's certificates, where they were asked for and came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
}

/// The certificates that a server shows.
#[derive(Clone, Debug, Serialize)]
pub struct Certificates {
    /// `host:port`.
    pub server: String,
    /// The proxy on the way, without user and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Why they are not trusted, where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distrust: Option<String>,
    /// The server's own first.
    pub chain: Vec<Certificate>,
}

/// One certificate.
#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    /// SHA-256 over its DER form, in pairs of hexadecimal digits.
    pub sha256: String,
    /// As a file for `ca_bundle` has it.
    pub pem: String,
}

/// How to look.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Of the requests that `check` makes itself.
    pub timeouts: Timeouts,
    /// This machine's.
    pub clock: &'a dyn Clock,
    /// Whether to ask for the servers' certificates.
    pub certificates: bool,
}

/// What was found about all that was asked.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// The worst of all lines.
    pub status: Status,
    /// About configuration, state and sink.
    pub lines: Vec<Line>,
    /// By source.
    pub sources: Vec<SourceFindings>,
}

impl Findings {
    /// From the lines about this instance and those of its sources.
    pub fn new(lines: Vec<Line>, sources: Vec<SourceFindings>) -> Self {
        let status =
            worst(&lines).max(sources.iter().map(|source| source.status).max().unwrap_or(Status::Ok));
        Findings { status, lines, sources }
    }

    /// Who is at fault; of several the one with the highest exit code. `None` when nothing failed.
    pub fn fault(&self) -> Option<Fault> {
        let all = self.lines.iter().chain(self.sources.iter().flat_map(|source| &source.lines));
        all.filter(|line| line.status == Status::Failed).map(|line| line.fault).max()
    }
}

fn worst(lines: &[Line]) -> Status {
    lines.iter().map(|line| line.status).max().unwrap_or(Status::Ok)
}

/// Where the buckets come from: the settings, or a test.
pub type Opened = Vec<(SourceConfig, Result<Arc<dyn Bucket>, BucketError>)>;

/// Looks at everything: this instance first, then its sources, several at once.
pub async fn check(config: &Config, sources: Opened, options: Options<'_>) -> Findings {
    let own = config.clone();
    let lines = tokio::task::spawn_blocking(move || local::lines(&own)).await;
    let lines = lines.unwrap_or_else(|failed| {
        let detail = format!("looking at state and sink failed: {failed}");
        vec![Line::new("state", Status::Failed, Fault::State, detail)]
    });
    let all: Vec<_> = sources.iter().map(|(source, _)| source.clone()).collect();
    let found = stream::iter(sources)
        .map(|(own, bucket)| source::findings(own, bucket, config, &all, options))
        .buffered(config.limits.list_concurrency)
        .collect()
        .await;
    Findings::new(lines, found)
}
