//! The file sink: records in segments, each record exactly once in the finished ones.
//!
//! Bytes are appended to one open segment. A commit makes them durable and tells the position;
//! after a failure or a crash the folder is brought back to the committed position exactly, by
//! the rules of `sink/recovery.rs`. A segment is finished only right after a commit, at the
//! length that the state knows. Any failed call leaves the sink waiting for `recover`.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::durable::sync_folder;
use super::folder::{self, Folder, down, read_sink_id};
use super::recovery::{Own, check_fresh, plan};
use super::retention::{self, Keep};
pub use super::segment::Compression;
use super::segment::{self, Contents, Form, SegmentName};
use super::{Position, Sink, SinkError};
use crate::clock::Clock;
use crate::failpoint;

/// Free space is looked up again after this many bytes, and after each commit.
const CHECK_FREE_EVERY: u64 = 64 * 1024 * 1024;

/// What the file sink needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct FileSinkSettings {
    /// The folder; created when it is missing.
    pub path: PathBuf,
    /// A segment of at least this many bytes is finished at the next commit.
    pub rotate_size: u64,
    /// A segment whose first byte is at least this old is finished at the next commit. After a
    /// restart the age of an open segment begins again.
    pub rotate_every: Duration,
    /// What happens to a segment's bytes when it is finished.
    pub compression: Compression,
    /// Finished segments last written longer ago than this are deleted; `None` keeps them.
    pub keep_age: Option<Duration>,
    /// The oldest finished segments beyond this total of bytes are deleted; `None` keeps them.
    pub keep_size: Option<u64>,
    /// With less free space than this, in bytes, the sink is down.
    pub min_free: u64,
}

/// Writes segments into a folder that it holds the lock of. Nothing is touched before `recover`.
pub struct FileSink {
    settings: FileSinkSettings,
    clock: Arc<dyn Clock>,
    folder: Option<Folder>,
    /// Where this process began in a folder that it took over and the state does not know yet.
    taken: Option<Position>,
    /// It stood in its folder before: a folder that is gone now may come back.
    was_up: bool,
    /// Where the sink stands; `None` before `recover` and after any failure.
    stand: Option<Stand>,
}

/// Where a sink stands between two calls.
struct Stand {
    /// The last position committed or recovered to.
    last: Position,
    open: Option<OpenSegment>,
    /// Bytes written since the free space was looked up; `None` when that is due.
    unchecked: Option<u64>,
}

struct OpenSegment {
    file: File,
    sequence: u64,
    /// All bytes written, committed or not.
    length: u64,
    /// When its first byte came, or when the sink recovered.
    born: DateTime<Utc>,
}

impl FileSink {
    /// A sink that has touched nothing yet. `clock` is the wall clock, also where sweeps run with
    /// a fixed instant: it tells the age of segments.
    pub fn new(settings: FileSinkSettings, clock: Arc<dyn Clock>) -> Self {
        FileSink { settings, clock, folder: None, taken: None, was_up: false, stand: None }
    }

    /// Takes the folder for a state that knows no position in it; segments begin after `sequence`.
    fn take_over(&mut self, sequence: u64) -> Result<Stand, SinkError> {
        if let Some(taken) = self.taken.clone() {
            // this process took it before: what it wrote since is uncommitted
            return self.resume(&taken);
        }
        let folder = self.hold_folder(true)?;
        let contents = read_folder(folder.path())?;
        check_fresh(&contents).map_err(|what| foreign(folder.path(), &what))?;
        let sink_id = folder.renew_sink_id()?;
        tracing::info!(folder = %folder.path().display(), sink_id, "took the sink's folder");
        let last = Position {
            sink_id,
            path: folder.path_text(),
            sequence,
            length: 0,
            // so that nothing but the next segment is looked for; see `Position`
            sealed: sequence > 0,
        };
        self.taken = Some(last.clone());
        Ok(Stand { last, open: None, unchecked: None })
    }

    /// Brings the folder back to a position that was committed in it.
    fn resume(&mut self, committed: &Position) -> Result<Stand, SinkError> {
        let compression = self.settings.compression;
        let now = self.clock.now();
        let folder = self.hold_folder(false)?;
        let own = bring_back(folder, committed, compression)?;
        let mut last = Position { path: folder.path_text(), ..committed.clone() };
        let open = match own {
            Own::Open => Some(OpenSegment::reopen(folder.path(), &last, now)?),
            Own::Finish | Own::Publish(_) | Own::Finished => {
                last.sealed = last.sequence > 0;
                None
            }
        };
        Ok(Stand { last, open, unchecked: None })
    }

    /// The folder of the settings, locked; with `create` it is made when missing.
    fn hold_folder(&mut self, create: bool) -> Result<&Folder, SinkError> {
        let path = &self.settings.path;
        if !create && !path.is_dir() {
            let what = "the folder is missing; mount its volume or bring it back, or configure another path";
            return Err(foreign(path, what));
        }
        // the lock is kept while it is good: between two locks another process could come in
        let kept = self.folder.take().filter(|folder| folder.still_holds(path));
        let folder = match kept {
            Some(folder) => folder,
            None => Folder::create(path)?,
        };
        Ok(self.folder.insert(folder))
    }

    /// Whether `committed` is a position in the folder of the settings: by its path, or because
    /// the folder was moved as a whole.
    fn is_here(&self, committed: &Position) -> Result<bool, SinkError> {
        let path = &self.settings.path;
        let Ok(here) = std::fs::canonicalize(path) else {
            // a missing folder is known only by the path that was configured
            return Ok(std::path::absolute(path).is_ok_and(|path| path == Path::new(&committed.path)));
        };
        if here.to_string_lossy() == committed.path {
            return Ok(true);
        }
        let there = Path::new(&committed.path);
        let moved = read_sink_id(&here)?.is_some_and(|id| id == committed.sink_id);
        Ok(moved && (!there.is_dir() || read_sink_id(there)?.as_ref() != Some(&committed.sink_id)))
    }

    fn write_to(&mut self, stand: &mut Stand, mut parts: Vec<IoSlice<'_>>) -> Result<(), SinkError> {
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        if bytes == 0 {
            return Ok(());
        }
        let folder = self.folder.as_ref().ok_or_else(not_recovered)?;
        let now = self.clock.now();
        stand.check_free(folder.path(), self.settings.min_free, bytes)?;
        if stand.is_to_be_sealed() {
            return Err(wrong_order("write", "the sealed segment is not finished yet"));
        }
        if stand.open.is_none() {
            if !folder.still_holds(folder.path()) {
                // what lies there now may be the empty place where its volume was
                return Err(folder::gone(folder.path()));
            }
            let sequence = stand.last.sequence.saturating_add(1);
            stand.open = Some(OpenSegment::create(folder.path(), &stand.last.sink_id, sequence, now)?);
        }
        let open = stand.open.as_mut().expect("made two lines above where it was missing");
        write_all(&open.file, &mut parts).map_err(down("write to the open segment in", folder.path()))?;
        open.length += bytes;
        Ok(())
    }

    fn commit_to(&mut self, stand: &mut Stand, finish: bool) -> Result<Position, SinkError> {
        let folder = self.folder.as_ref().ok_or_else(not_recovered)?;
        if stand.is_to_be_sealed() {
            return Ok(stand.last.clone());
        }
        let Some(open) = stand.open.as_mut() else { return Ok(stand.last.clone()) };
        let now = self.clock.now();
        failpoint::hit("after-write-before-fsync");
        open.make_durable(folder.path(), &stand.last.sink_id)?;
        // a clock that was set back makes a segment younger, never older than it is
        open.born = open.born.min(now);
        let due = open.length >= self.settings.rotate_size || open.age(now) >= self.settings.rotate_every;
        stand.last.sequence = open.sequence;
        stand.last.length = open.length;
        stand.last.sealed = (finish || due) && open.length > 0;
        stand.unchecked = None;
        Ok(stand.last.clone())
    }

    fn seal_to(&mut self, stand: &mut Stand) -> Result<(), SinkError> {
        let folder = self.folder.as_ref().ok_or_else(not_recovered)?;
        if !stand.is_to_be_sealed() {
            return Ok(());
        }
        stand.open = None;
        finish_segment(folder.path(), &stand.last, self.settings.compression)?;
        let keep = Keep { age: self.settings.keep_age, size: self.settings.keep_size };
        retention::enforce(folder.path(), &stand.last.sink_id, keep, self.clock.now().into());
        Ok(())
    }

    /// Runs one call on the stand; a failure leaves the sink without one, until `recover`.
    fn with_stand<T>(
        &mut self,
        call: impl FnOnce(&mut Self, &mut Stand) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let mut stand = self.stand.take().ok_or_else(not_recovered)?;
        let result = call(self, &mut stand)?;
        self.stand = Some(stand);
        Ok(result)
    }
}

impl Sink for FileSink {
    fn recover(&mut self, committed: Option<&Position>) -> Result<(), SinkError> {
        self.stand = None;
        if self.was_up {
            folder::find_again(&self.settings.path)?;
        }
        // a position without an id comes from a sink that keeps none
        let committed = committed.filter(|position| !position.sink_id.is_empty());
        let stand = match committed {
            None => self.take_over(0)?,
            Some(position) if self.is_here(position)? => {
                let stand = self.resume(position)?;
                self.taken = None;
                stand
            }
            Some(position) => {
                finish_elsewhere(position, self.settings.compression)?;
                self.take_over(position.sequence)?
            }
        };
        self.stand = Some(stand);
        self.was_up = true;
        Ok(())
    }

    fn write(&mut self, records: &[u8]) -> Result<(), SinkError> {
        self.with_stand(|sink, stand| sink.write_to(stand, vec![IoSlice::new(records)]))
    }

    fn write_parts(&mut self, parts: &[Vec<u8>]) -> Result<(), SinkError> {
        let parts = parts.iter().map(|part| IoSlice::new(part)).collect();
        self.with_stand(|sink, stand| sink.write_to(stand, parts))
    }

    fn commit(&mut self, finish: bool) -> Result<Position, SinkError> {
        self.with_stand(|sink, stand| sink.commit_to(stand, finish))
    }

    fn seal(&mut self) -> Result<(), SinkError> {
        self.with_stand(|sink, stand| sink.seal_to(stand))
    }

    fn due_in(&self) -> Option<Duration> {
        let open = self.stand.as_ref()?.open.as_ref()?;
        let now = self.clock.now();
        if now < open.born {
            // the clock was set back: a commit begins the age anew, and nothing else would while
            // no records come
            return Some(Duration::ZERO);
        }
        Some(self.settings.rotate_every.saturating_sub(open.age(now)))
    }
}

/// Bytes that are written in one call, up to the end of a part: the page cache takes a megabyte for less
/// than eight parts of it, and nothing was seen to be gained by more.
const AT_ONCE: usize = 1024 * 1024;

/// Writes all parts in few calls.
fn write_all(mut file: &File, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    // empty ones at the start are none that a call could write
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let mut bytes = 0;
        let enough = parts.iter().position(|part| {
            bytes += part.len();
            bytes >= AT_ONCE
        });
        let next = &parts[..enough.map_or(parts.len(), |last| last + 1)];
        failpoint::hit("before-sink-write");
        match file.write_vectored(next) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Stand {
    /// Whether the last commit sealed the open segment, and `seal` has not come yet.
    fn is_to_be_sealed(&self) -> bool {
        self.last.sealed && self.open.as_ref().is_some_and(|open| open.sequence == self.last.sequence)
    }

    /// Looks up the free space where that is due.
    fn check_free(&mut self, folder: &Path, min_free: u64, coming: u64) -> Result<(), SinkError> {
        if let Some(unchecked) = self.unchecked.filter(|bytes| *bytes < CHECK_FREE_EVERY) {
            self.unchecked = Some(unchecked.saturating_add(coming));
            return Ok(());
        }
        let space = rustix::fs::statvfs(folder)
            .map_err(|error| down("look up the free space of", folder)(error.into()))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if free < min_free {
            return Err(SinkError::Down {
                what: format!("{} has {free} bytes free, min_free is {min_free}", folder.display()),
                source: io::ErrorKind::StorageFull.into(),
            });
        }
        self.unchecked = Some(coming);
        Ok(())
    }
}

impl OpenSegment {
    /// Makes a new segment, its name durable.
    fn create(folder: &Path, sink_id: &str, sequence: u64, now: DateTime<Utc>) -> Result<Self, SinkError> {
        let path = folder.join(SegmentName::new(sink_id, sequence, Form::Open).to_string());
        let file = match OpenOptions::new().append(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let what = format!("{} appeared while the sink was running; move it away", path.display());
                return Err(SinkError::Foreign { what });
            }
            other => other.map_err(down("create", &path))?,
        };
        sync_folder(folder).map_err(down("sync", folder))?;
        Ok(OpenSegment { file, sequence, length: 0, born: now })
    }

    /// Opens the segment of `position`, which has exactly its length.
    fn reopen(folder: &Path, position: &Position, now: DateTime<Utc>) -> Result<Self, SinkError> {
        let path =
            folder.join(SegmentName::new(&position.sink_id, position.sequence, Form::Open).to_string());
        let file = OpenOptions::new().append(true).open(&path).map_err(down("open", &path))?;
        Ok(OpenSegment { file, sequence: position.sequence, length: position.length, born: now })
    }

    /// Syncs the bytes, and sees that the segment still is what was written: a reader that takes
    /// or cuts an open segment would otherwise lose records unnoticed.
    fn make_durable(&self, folder: &Path, sink_id: &str) -> Result<(), SinkError> {
        self.file.sync_data().map_err(down("sync the open segment in", folder))?;
        let found = self.file.metadata().map_err(down("look at the open segment in", folder))?;
        if found.nlink() > 0 && found.len() == self.length {
            return Ok(());
        }
        let name = SegmentName::new(sink_id, self.sequence, Form::Open);
        let what = format!("{name} was removed or changed while it was being written; readers must leave it");
        Err(foreign(folder, &what))
    }

    fn age(&self, now: DateTime<Utc>) -> Duration {
        (now - self.born).to_std().unwrap_or(Duration::ZERO)
    }
}

/// Finishes the segment of `committed` in the folder where it lies, which is no longer the sink's:
/// the path of the sink was changed, or its type. It may be repeated.
///
/// A folder that is gone is an error while it held an open segment; after a sealed one it is
/// only logged, as its files were the reader's.
pub(super) fn finish_elsewhere(committed: &Position, compression: Compression) -> Result<(), SinkError> {
    let path = Path::new(&committed.path);
    if !path.is_dir() {
        if committed.sealed || committed.sequence == 0 {
            tracing::warn!(folder = committed.path, "the sink's earlier folder is gone");
            return Ok(());
        }
        let what = "the sink was moved away from this folder, which is gone and held an open segment; \
                    bring it back until it is finished, or move the state directory away to begin anew";
        return Err(foreign(path, what));
    }
    let folder = Folder::lock(path)?;
    if bring_back(&folder, committed, compression)? == Own::Open {
        // the state learns of it with the first commit in the new folder; until then the note
        // tells a finished segment that was taken from one that was lost
        folder.note_finished(committed)?;
        finish_segment(folder.path(), committed, compression)?;
    }
    tracing::info!(folder = committed.path, "finished the last segment in the sink's earlier folder");
    Ok(())
}

/// Brings a folder to `committed`; a sealed segment is finished.
fn bring_back(folder: &Folder, committed: &Position, compression: Compression) -> Result<Own, SinkError> {
    let path = folder.path();
    match folder.sink_id()? {
        Some(id) if id == committed.sink_id => {}
        Some(id) => {
            let what = format!(
                "it belongs to sink {id}, the state to sink {}: another state directory has taken it over; \
                 configure another path",
                committed.sink_id
            );
            return Err(foreign(path, &what));
        }
        None => {
            let what = format!(
                "it lacks the file with the id of sink {}; mount its volume or bring its files back, or \
                 configure another path",
                committed.sink_id
            );
            return Err(foreign(path, &what));
        }
    }
    let contents = read_folder(path)?;
    let noted = folder.is_noted(committed)?;
    let plan = plan(&contents, &committed.sink_id, committed, noted).map_err(|what| foreign(path, &what))?;
    for name in &plan.remove {
        let file = path.join(name);
        std::fs::remove_file(&file).map_err(down("remove", &file))?;
    }
    if !plan.remove.is_empty() {
        sync_folder(path).map_err(down("sync", path))?;
    }
    if plan.cut {
        cut(path, committed)?;
    }
    match plan.own {
        Own::Finish => finish_segment(path, committed, compression)?,
        Own::Publish(form) => {
            let name = SegmentName::new(&committed.sink_id, committed.sequence, form);
            segment::publish(path, &name).map_err(unfinished(path, committed))?;
        }
        Own::Open | Own::Finished => {}
    }
    Ok(plan.own)
}

fn cut(folder: &Path, committed: &Position) -> Result<(), SinkError> {
    let path = folder.join(SegmentName::new(&committed.sink_id, committed.sequence, Form::Open).to_string());
    let shorten = || {
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(committed.length)?;
        file.sync_all()
    };
    shorten().map_err(down("cut", &path))
}

fn finish_segment(folder: &Path, sealed: &Position, compression: Compression) -> Result<(), SinkError> {
    segment::finish(folder, &sealed.sink_id, sealed.sequence, compression).map_err(unfinished(folder, sealed))
}

/// What it means that the segment of `sealed` could not be finished.
fn unfinished(folder: &Path, sealed: &Position) -> impl FnOnce(io::Error) -> SinkError {
    let open = SegmentName::new(&sealed.sink_id, sealed.sequence, Form::Open);
    move |error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            foreign(folder, &format!("a finished file of {open} stands already; move it out of the folder"))
        }
        _ => down("finish", &folder.join(open.to_string()))(error),
    }
}

fn read_folder(path: &Path) -> Result<Contents, SinkError> {
    Contents::read(path).map_err(down("list", path))
}

fn foreign(folder: &Path, what: &str) -> SinkError {
    SinkError::Foreign { what: format!("{}: {what}", folder.display()) }
}

fn not_recovered() -> SinkError {
    wrong_order("use the sink", "it has to recover first")
}

/// The caller broke the order of calls; nothing was written.
fn wrong_order(tried: &str, why: &str) -> SinkError {
    SinkError::Down { what: format!("cannot {tried}"), source: io::Error::other(why.to_owned()) }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
