//! Where records go. A sink takes encoded bytes, makes them durable at a commit, and can go back
//! to what it had at an earlier commit.

pub mod dead_letter;
pub(crate) mod durable;
pub mod file;
mod folder;
mod recovery;
mod retention;
mod segment;
pub mod stdout;

use serde::{Deserialize, Serialize};

/// What a sink had made durable: for the file sink the open segment and its length.
///
/// It is stored with the objects that it settles, in one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Who wrote: the id kept in the sink's folder; empty for sinks without one.
    pub sink_id: String,
    /// The folder of the sink, so that a changed path is noticed; empty for sinks without one.
    pub path: String,
    /// Number of the segment, counted from 1; 0 before the first.
    pub sequence: u64,
    /// Bytes of that segment that are durable.
    pub length: u64,
    /// The segment is to be finished (renamed) at exactly this length, or is finished. In a folder
    /// that was just taken over from another one, the number is that of the last segment there.
    pub sealed: bool,
}

/// The order of calls: `recover` once at start, then any number of `write`, `commit`; after any
/// failed call, `recover` with the last committed position before anything else.
///
/// Right after `recover`, before the first `write`, `commit(false)` tells where the sink stands;
/// where that differs from what the state holds (a fresh state, a changed path), it is stored
/// first. A process that dies in its first commit is otherwise met by an open segment that no
/// state knows.
///
/// All calls block; the committer makes them from a thread of its own.
pub trait Sink: Send {
    /// Goes back to `committed`, the last position that the state knows (`None` for a fresh
    /// state), and finishes a sealed segment. Bytes after the position are removed.
    fn recover(&mut self, committed: Option<&Position>) -> Result<(), SinkError>;

    /// Appends whole records, each ending in a newline.
    fn write(&mut self, records: &[u8]) -> Result<(), SinkError>;

    /// Like [`Sink::write`] of each part in turn, which a sink may do at once.
    fn write_parts(&mut self, parts: &[Vec<u8>]) -> Result<(), SinkError> {
        parts.iter().try_for_each(|part| self.write(part))
    }

    /// Makes all written bytes durable and returns where the sink now stands. With `finish`, or
    /// when the segment is due by size or age, the position is `sealed`: once it is in the
    /// state, [`Sink::seal`] must follow.
    fn commit(&mut self, finish: bool) -> Result<Position, SinkError>;

    /// Finishes the sealed segment; a no-op when the last position was not sealed. It comes after
    /// the position is durable in the state and the sidecar, and before the next `write`.
    fn seal(&mut self) -> Result<(), SinkError>;

    /// When the open segment becomes due by age, if there is one; the committer then commits
    /// even with nothing to write. Zero after the clock was set back, until the commit that begins
    /// the age anew.
    fn due_in(&self) -> Option<std::time::Duration>;
}

/// A sink that cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The sink cannot take records now (disk full, I/O error); it may later. Exit code 5.
    #[error("the sink cannot take records: {what}")]
    Down {
        /// What was tried, with the path.
        what: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The reader of stdout has gone: nothing more will be taken. Exit code 5.
    #[error("the reader of stdout has closed it")]
    Closed,
    /// Another process holds the sink's folder. Exit code 4.
    #[error("the sink's folder {path} is in use by another process")]
    Locked {
        /// The folder.
        path: std::path::PathBuf,
    },
    /// The sink's folder does not fit the state. Exit code 4.
    #[error("the sink's folder does not fit the state: {what}")]
    Foreign {
        /// What was found, and what to do about it.
        what: String,
    },
}
