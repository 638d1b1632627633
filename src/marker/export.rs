//! Writes all that a state knows of some sources as lines, so that another state goes on exactly
//! where this one stands. The sink's position stays: the other state has a sink of its own.

use std::io::{self, Write};
use std::path::Path;

use chrono::{DateTime, Utc};

use super::line::{Line, VERSION};
use crate::state::history::{self, HistoryError};
use crate::state::{Named, SourceRecord, State, StateError};

/// Ledger entries or failed objects read at once.
const PAGE: usize = 500;

/// An export that came to no end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The lines cannot be written.
    #[error("the export cannot be written")]
    Write(#[from] io::Error),
}

/// Who exports what.
pub struct Export<'s> {
    /// The state; none of the sources may be swept meanwhile.
    pub state: &'s dyn State,
    /// Its directory, which holds the history.
    pub dir: &'s Path,
    /// Name of the instance.
    pub instance: &'s str,
    /// When.
    pub at: DateTime<Utc>,
}

impl Export<'_> {
    /// Writes the sources of these names that the state knows. Returns how many lines there are.
    pub fn write(&self, names: &[String], out: &mut dyn Write) -> Result<u64, ExportError> {
        let mut lines = Lines { out, count: 0 };
        lines.put(&Line::Export { version: VERSION, instance: self.instance.to_owned(), at: self.at })?;
        for (name, record) in self.state.sources()? {
            if names.contains(&name) {
                self.source(name, record, &mut lines)?;
            }
        }
        let count = lines.count;
        lines.put(&Line::End { lines: count })?;
        lines.out.flush()?;
        Ok(lines.count)
    }

    fn source(&self, name: String, record: SourceRecord, lines: &mut Lines<'_>) -> Result<(), ExportError> {
        let (state, key) = (self.state, record.key());
        lines.put(&Line::Source { name: name.clone(), record: Box::new(record) })?;
        for (head, record) in state.leaves(key, None, usize::MAX)? {
            let markers = state.markers(key, &head)?;
            lines.put(&Line::Leaf { head: head.clone(), record })?;
            for (time, marker) in markers {
                lines.put(&Line::Marker { head: head.clone(), time, marker: Box::new(marker) })?;
            }
        }
        for (head, time) in state.cleanups(key)? {
            lines.put(&Line::Cleanup { head, time })?;
        }
        pages(
            |after| state.entries(key, after, PAGE),
            |(key, entry)| lines.put(&Line::Settled { key, entry }),
        )?;
        pages(
            |after| state.all_failed(key, after, PAGE),
            |(key, object)| lines.put(&Line::Failed { key, object: Box::new(object) }),
        )?;
        for (key, progress) in state.all_progress(key)? {
            lines.put(&Line::Progress { key, progress: Box::new(progress) })?;
        }
        self.quarantine(&name, lines)?;
        for (due, head, time, recheck) in state.rechecks(key, DateTime::<Utc>::MAX_UTC, usize::MAX)? {
            lines.put(&Line::Recheck { due, head, time, recheck })?;
        }
        self.history(&name, lines)
    }

    fn quarantine(&self, name: &str, lines: &mut Lines<'_>) -> Result<(), ExportError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.state.quarantine(after.as_deref(), PAGE)?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|(key, _)| key.clone());
            for (_, object) in page.into_iter().filter(|(_, object)| object.source == name) {
                lines.put(&Line::Quarantined { object: Box::new(object) })?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn history(&self, name: &str, lines: &mut Lines<'_>) -> Result<(), ExportError> {
        for (file, length) in self.state.history()? {
            let mut frames = history::frames(self.dir, &file, length);
            loop {
                let offset = frames.offset();
                let mut failed = None;
                let visited = frames.visit_next(|frame| {
                    if frame.header().source != name {
                        return Ok(());
                    }
                    let header = frame.header().clone();
                    let mut written = lines.put(&Line::Closed { file: file.clone(), offset, header });
                    for entry in frame.by_ref() {
                        let entry = entry?;
                        written = written.and_then(|()| lines.put(&Line::Object { entry }));
                    }
                    failed = written.err();
                    Ok(())
                })?;
                if let Some(error) = failed {
                    return Err(error.into());
                }
                if visited.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Visits all of something that is read in pages by name.
fn pages<T>(
    read: impl Fn(Option<&str>) -> Result<Vec<Named<T>>, StateError>,
    mut visit: impl FnMut(Named<T>) -> io::Result<()>,
) -> Result<(), ExportError> {
    let mut after: Option<String> = None;
    loop {
        let page = read(after.as_deref())?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(name, _)| name.clone());
        for item in page {
            visit(item)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

struct Lines<'w> {
    out: &'w mut dyn Write,
    count: u64,
}

impl Lines<'_> {
    fn put(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, line)?;
        self.count += 1;
        self.out.write_all(b"\n")
    }
}
