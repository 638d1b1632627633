//! Reads what an export wrote into a state that does not know its sources.
//!
//! The file is read twice: first to see that it is whole and fits, then to store it. The record of
//! a source comes last; until then a record without a bucket stands for it, which a sweep would
//! take for a changed one and a repeated import takes over.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::line::{Line, VERSION};
use crate::commit::{CommitError, CommitHandle};
use crate::state::history::{HistoryEntry, HistoryHeader};
use crate::state::{Change, DueRecheck, SourceRecord, State, StateError};

/// Changes handed over at once.
const PAGE: usize = 1000;
/// No line is longer: a key has at most 1,024 bytes, a reason a few thousand.
const MAX_LINE: u64 = 1024 * 1024;
const CUT: &str = "the end is missing: the file was cut; export again";
const CHANGED: &str = "lines are missing, or there are more than were exported; export again";

/// An import that cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no export, or not a whole one, or does not fit here.
    #[error("{}, line {line}: {what}", .path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What does not fit, and what to do.
        what: String,
    },
    /// It cannot be read twice.
    #[error("{} is no regular file: an export is read twice, so write it to a file first", .path.display())]
    NoFile {
        /// The pipe, device or folder.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What a whole export holds.
#[derive(Debug)]
pub struct Found {
    /// Name of the instance that wrote it.
    pub instance: String,
    /// Its sources.
    pub sources: Vec<(String, SourceRecord)>,
}

/// Looks through a whole export; nothing is stored. It is an error when it was cut, or when the
/// state knows one of its sources already.
pub fn look(path: &Path, state: &dyn State) -> Result<Found, ImportError> {
    let mut lines = Lines::open(path)?;
    let mut found = match lines.next()? {
        Some(Line::Export { instance, .. }) => Found { instance, sources: Vec::new() },
        _ => return Err(lines.unfit("it does not begin as an export does")),
    };
    loop {
        let before = lines.number;
        match lines.next()? {
            Some(Line::End { lines: count }) if count == before => break,
            Some(Line::End { .. }) => return Err(lines.unfit(CHANGED)),
            Some(Line::Source { name, record }) => {
                if state.source(&name)?.is_some_and(|known| !is_unfinished(&known)) {
                    return Err(lines.unfit(&format!(
                        "the source {name:?} was swept here already; import into a state directory of its own, \
                         before the first sweep"
                    )));
                }
                found.sources.push((name, *record));
            }
            Some(Line::Export { .. }) => return Err(lines.unfit("a second export begins here")),
            Some(_) if found.sources.is_empty() => return Err(lines.unfit("it stands before any source")),
            Some(_) => {}
            None => return Err(lines.unfit(CUT)),
        }
    }
    match lines.next()? {
        Some(_) => Err(lines.unfit("it goes on after its end")),
        None => Ok(found),
    }
}

/// Whether a record stands for a source whose import was cut off.
fn is_unfinished(record: &SourceRecord) -> bool {
    record.bucket.is_empty() && record.pattern.is_empty()
}

/// Stores an export that [`look`] found whole. Returns the number of its lines.
pub async fn import(path: &Path, state: &dyn State, committer: &CommitHandle) -> Result<u64, ImportError> {
    let mut lines = Lines::open(path)?;
    let mut importer =
        Importer { committer, changes: Vec::new(), current: None, history: Committed::default() };
    loop {
        let before = lines.number;
        let Some(line) = lines.next()? else { return Err(lines.unfit(CUT)) };
        match line {
            Line::Source { name, record } => {
                importer.end_source().await?;
                importer.begin_source(state, name, *record).await?;
            }
            Line::Closed { file, offset, header } => {
                importer.end_frame().await?;
                if let Some(current) = &mut importer.current {
                    current.frame = Some(((file, offset), header, Vec::new()));
                }
            }
            Line::End { lines: count } if count == before => {
                importer.end_source().await?;
                return Ok(lines.number);
            }
            Line::End { .. } => return Err(lines.unfit(CHANGED)),
            line => importer.take(line),
        }
        if importer.changes.len() >= PAGE {
            importer.flush().await?;
        }
    }
}

/// A place in the history: file and first byte.
type Place = (String, u64);

/// Lengths of the history files that were written.
type Committed = HashMap<String, u64>;

/// A source that is read.
struct Current {
    name: String,
    record: SourceRecord,
    rechecks: Vec<DueRecheck>,
    /// Where frames stood that rechecks need, and where they stand now.
    moved: HashMap<Place, Place>,
    needed: HashSet<Place>,
    frame: Option<(Place, HistoryHeader, Vec<HistoryEntry>)>,
}

struct Importer<'c> {
    committer: &'c CommitHandle,
    changes: Vec<Change>,
    current: Option<Current>,
    history: Committed,
}

impl Importer<'_> {
    async fn flush(&mut self) -> Result<(), ImportError> {
        Ok(self.committer.apply(std::mem::take(&mut self.changes)).await?)
    }

    async fn begin_source(
        &mut self,
        state: &dyn State,
        name: String,
        record: SourceRecord,
    ) -> Result<(), ImportError> {
        let begun = state.source(&name)?.map(|begun| begun.id);
        let free = state.sources()?.iter().map(|(_, known)| known.id + 1).max().unwrap_or(1);
        let record = SourceRecord { id: begun.unwrap_or(free), stale: Vec::new(), ..record };
        let stands_for = SourceRecord { bucket: String::new(), pattern: String::new(), ..record.clone() };
        self.committer.apply(vec![Change::PutSource(name.clone(), Box::new(stands_for))]).await?;
        self.current = Some(Current {
            name,
            record,
            rechecks: Vec::new(),
            moved: HashMap::new(),
            needed: HashSet::new(),
            frame: None,
        });
        Ok(())
    }

    fn take(&mut self, line: Line) {
        let Some(current) = &mut self.current else { return };
        let key = current.record.key();
        let change = match line {
            Line::Leaf { head, record } => Change::PutLeaf(key, head, record),
            Line::Marker { head, time, marker } => Change::PutMarker(key, head, time, marker),
            Line::Cleanup { head, time } => Change::PutCleanup(key, head, time),
            Line::Settled { key: object, entry } => Change::PutEntry(key, object, entry),
            Line::Failed { key: name, object } => Change::PutFailed(key, name, object),
            Line::Progress { key: object, progress } => Change::PutProgress(key, object, progress),
            Line::Quarantined { object } => Change::PutQuarantined(key.id, object),
            Line::Recheck { due, head, time, recheck } => {
                current.needed.extend(recheck.frames.iter().cloned());
                current.rechecks.push((due, head, time, recheck));
                return;
            }
            Line::Object { entry } => {
                if let Some((_, _, entries)) = &mut current.frame {
                    entries.push(entry);
                }
                return;
            }
            Line::Export { .. } | Line::Source { .. } | Line::Closed { .. } | Line::End { .. } => return,
        };
        self.changes.push(change);
    }

    async fn end_frame(&mut self) -> Result<(), ImportError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let Some((place, header, entries)) = current.frame.take() else { return Ok(()) };
        let appended = self.committer.append(header, entries).await?;
        if current.needed.contains(&place) {
            current.moved.insert(place, (appended.file.clone(), appended.offset));
        }
        self.history.insert(appended.file, appended.length);
        Ok(())
    }

    /// The history counts, then rechecks rest on it, then the source is there.
    async fn end_source(&mut self) -> Result<(), ImportError> {
        self.end_frame().await?;
        let Some(current) = self.current.take() else { return Ok(()) };
        let key = current.record.key();
        self.changes.extend(self.history.drain().map(|(file, length)| Change::PutHistory(file, length)));
        for (due, head, time, mut recheck) in current.rechecks {
            let moved: Option<Vec<_>> =
                recheck.frames.iter().map(|place| current.moved.get(place).cloned()).collect();
            // without its history all of a prefix would be taken for new
            let Some(frames) = moved else { continue };
            recheck.frames = frames;
            self.changes.push(Change::PutRecheck(key, due, head, time, Box::new(recheck)));
        }
        self.flush().await?;
        self.changes.push(Change::PutSource(current.name, Box::new(current.record)));
        self.flush().await
    }
}

/// The lines of a file, counted.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, ImportError> {
        let failed = |source| ImportError::Read { path: path.to_owned(), source };
        // before it is opened: to open a pipe waits for its writer
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(ImportError::NoFile { path: path.to_owned() });
        }
        let file = File::open(path).map_err(failed)?;
        Ok(Lines { path: path.to_owned(), reader: BufReader::new(file), number: 0 })
    }

    fn unfit(&self, what: &str) -> ImportError {
        ImportError::Unfit { path: self.path.clone(), line: self.number, what: what.to_owned() }
    }

    fn next(&mut self) -> Result<Option<Line>, ImportError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let mut line = Vec::new();
        (&mut self.reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|source| ImportError::Read { path: self.path.clone(), source })?;
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if line.last() != Some(&b'\n') {
            return Err(self.unfit("the line has no end: the file was cut; export again"));
        }
        // before the rest is read: a later version may have another form
        if self.number == 1
            && let Ok(Versioned { version }) = serde_json::from_slice(&line)
            && version > VERSION
        {
            return Err(self.unfit(&format!("version {version}, this program knows {VERSION}")));
        }
        serde_json::from_slice(&line).map(Some).map_err(|error| self.unfit(&error.to_string()))
    }
}
