//! What goes over the socket: one JSON request per line, `{"v":1,"request":{"op":…}}`, one JSON
//! response per line, `{"v":1,"response":{"is":…}}`.
//!
//! | request | what it does |
//! |---|---|
//! | `get`, `scan` | read the state: all commands that only look work on them |
//! | `hold` | no sweep of these sources begins until the connection ends |
//! | `marker` | changes markers between two sweeps |
//! | `quarantine` | retries or drops quarantined objects between two sweeps |
//! | `repair` | audits a source and collects what is missing, between two sweeps |
//! | `sweep` | sweeps now, pauses, resumes |
//! | `checked` | asks a source that a `check` found well, so that it is told of as well again |

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::marker::MarkerChange;
use crate::sweep::mend::{Action, Mended};
use crate::sweep::report::SourceReport;

/// Version of requests and responses.
pub const VERSION: u32 = 1;
/// Pairs in one response.
pub const SCAN_PAGE: usize = 500;
/// A request as it goes over the line.
#[derive(Serialize, Deserialize)]
pub(super) struct RequestLine {
    pub v: u32,
    pub request: Request,
}

/// A response as it goes over the line.
#[derive(Serialize, Deserialize)]
pub(super) struct ResponseLine {
    pub v: u32,
    pub response: Response,
}

/// What is asked for.
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
    /// Keeps these sources, and none that were held before, from being swept until the connection ends.
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
    /// A `check` found nothing wrong with a source.
    Checked {
        /// Its name.
        source: String,
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

/// What comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Response {
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

impl Response {
    /// A refusal of a request that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Response::Refused { because: Because::Usage, message: message.into() }
    }
}

/// Not what bytes are written as.
#[derive(Debug, thiserror::Error)]
#[error("not a number of hexadecimal digits")]
pub struct NotHex;

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for.
pub fn from_hex(text: &str) -> Result<Vec<u8>, NotHex> {
    let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or(NotHex)?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).map_err(|_| NotHex)).collect()
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
