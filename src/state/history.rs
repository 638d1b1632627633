//! The history: ledgers of closed prefixes, in one compressed file per day of closing.
//!
//! `history/YYYY-MM-DD.jsonl.zst` is a row of zstd frames, one per closed prefix: a header line,
//! then a line per object. A frame counts once the state holds the file's length after it; what
//! lies behind that length is cut at open. Frames are written and read as streams. Only the owner
//! of the state directory may open the history for writing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use zstd::stream::raw::{self, CParameter};
use zstd::zstd_safe::CCtx;

use crate::sink::durable::{create_folder, sync_folder};

/// The version of header and entries that this program writes; it reads no later one.
pub const VERSION: u32 = 1;

const ENDING: &str = ".jsonl.zst";

/// A reader of a frame holds this much, as a power of two. Lines resemble those just before them,
/// so that the 2 MiB that zstd would take compress no better.
const WINDOW_LOG: u32 = 18;

/// A line longer than this is damage: keys have at most 1,024 bytes.
const LINE_LIMIT: u64 = 1024 * 1024;

/// The first line of a frame: which prefix was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryHeader {
    /// Version of the form, [`VERSION`].
    pub v: u32,
    /// Name of the source.
    pub source: String,
    /// Its generation.
    pub generation: u64,
    /// The leaf's head.
    pub leaf: String,
    /// The prefix as it was listed.
    pub prefix: String,
    /// When it was closed; its UTC day names the file.
    pub closed_at: DateTime<Utc>,
    /// Number of entries, where the writer knew it beforehand; a frame with another number is
    /// neither written nor read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Rechecks that were done, this one included, where a frame holds what one of them found;
    /// `None` in the frame of a closing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recheck: Option<u32>,
}

/// One settled object of a closed prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Its key.
    pub key: String,
    /// Its ETag.
    pub etag: String,
    /// The word of its outcome (`collected`, `empty`, …).
    pub outcome: String,
    /// Records delivered of it.
    pub records: u64,
    /// When it was settled.
    pub at: DateTime<Utc>,
    /// Why an operator dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where a frame was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Name of the file within the history folder.
    pub file: String,
    /// First byte of the frame.
    pub offset: u64,
    /// The file's length after the frame: what the state commits.
    pub length: u64,
}

/// A history that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Bytes that the state committed are gone. Exit code 4.
    #[error(
        "the history file {} has {length} bytes where {committed} were committed; restore it from a \
         backup, or run once with --rebuild-state to go on with what is left of it",
        .path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Its length, 0 when it is missing.
        length: u64,
        /// The length in the state.
        committed: u64,
    },
    /// A later version of the program wrote a frame. Exit code 4.
    #[error(
        "the history file {} has a frame of version {found} at byte {offset}, this program knows {VERSION}; \
         use the newer program",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// First byte of the frame.
        offset: u64,
        /// Its version.
        found: u32,
    },
    /// A frame is not what was written. Exit code 4.
    #[error(
        "the history file {} is damaged in the frame at byte {offset} ({what}); restore it from a backup, \
         or run once with --rebuild-state to go on with what is whole before it",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// First byte of the frame.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// The entries to be appended ended with an error; nothing was appended.
    #[error("cannot read the ledger of the prefix {prefix}")]
    Entries {
        /// The prefix.
        prefix: String,
        /// The reader's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The number of entries is not that of the header; nothing was appended.
    #[error("the ledger of the prefix {prefix} has {found} entries where {expected} were counted")]
    Count {
        /// The prefix.
        prefix: String,
        /// Entries that came.
        found: u64,
        /// Entries that the header tells.
        expected: u64,
    },
    /// The system refused.
    #[error("cannot {tried} {}", .path.display())]
    Io {
        /// What was tried.
        tried: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// The history of a state directory, open for appending.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    /// Good length of each file: what lies behind it is a frame that was not finished.
    lengths: BTreeMap<String, u64>,
    /// Files with frames that are not durable yet. They stay open: what the system could not write of
    /// them it tells those who had them open then.
    unsynced: BTreeMap<String, File>,
    /// More than a megabyte, used again for each frame.
    compressor: Compressor,
}

impl History {
    /// Opens the history in `state_dir` and goes back to the `committed` length of each file: the
    /// rest is cut, files without a committed length are removed. Files with other names stay.
    ///
    /// A rebuild of the state must read the files (see [`frames`]) before it opens the history.
    pub fn open(state_dir: &Path, committed: &BTreeMap<String, u64>) -> Result<Self, HistoryError> {
        let folder = folder_in(state_dir);
        create_folder(&folder).map_err(failed("create", &folder))?;
        let compressor = Compressor::new(&folder)?;
        let mut history =
            History { folder, lengths: committed.clone(), unsynced: BTreeMap::new(), compressor };
        history.recover()?;
        Ok(history)
    }

    fn recover(&mut self) -> Result<(), HistoryError> {
        let found = files(&self.folder)?;
        // everything is checked before anything is changed
        for (file, &committed) in &self.lengths {
            let length = found.get(file).copied().unwrap_or(0);
            if length < committed {
                return Err(HistoryError::Short { path: self.folder.join(file), length, committed });
            }
        }
        for (file, length) in found {
            match self.lengths.get(&file) {
                Some(&committed) if committed < length => self.cut(&file, committed)?,
                Some(_) => {}
                None => self.remove(&file)?,
            }
        }
        sync_folder(&self.folder).map_err(failed("sync", &self.folder))
    }

    fn cut(&self, file: &str, length: u64) -> Result<(), HistoryError> {
        let path = self.folder.join(file);
        let shorten = || {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(length)?;
            file.sync_all()
        };
        shorten().map_err(failed("cut", &path))
    }

    fn remove(&self, file: &str) -> Result<(), HistoryError> {
        let path = self.folder.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Appends one closed prefix as one frame, which is durable after [`History::sync`]. The entries
    /// are taken one by one; an error among them, or any other, leaves no frame behind.
    pub fn append<E>(
        &mut self,
        header: &HistoryHeader,
        entries: impl IntoIterator<Item = Result<HistoryEntry, E>>,
    ) -> Result<Appended, HistoryError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let name = file_name(header.closed_at.date_naive());
        let path = self.folder.join(&name);
        let offset = self.lengths.get(&name).copied().unwrap_or(0);
        let file = match self.unsynced.entry(name.clone()) {
            Entry::Occupied(unsynced) => unsynced.into_mut(),
            Entry::Vacant(place) => {
                let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
                place.insert(file.map_err(failed("open", &path))?)
            }
        };
        // what an earlier failure may have left behind the last good frame
        file.set_len(offset)
            .and_then(|()| file.seek(SeekFrom::Start(offset)))
            .map_err(failed("cut", &path))?;
        let written = write_frame(&mut self.compressor, file, &path, header, entries)
            .and_then(|()| Ok(file.metadata().map_err(failed("look at", &path))?.len()));
        match written {
            Ok(length) => {
                self.lengths.insert(name.clone(), length);
                Ok(Appended { file: name, offset, length })
            }
            Err(error) => {
                // the error at hand matters more; the next append or open cuts again
                let _ = file.set_len(offset);
                Err(error)
            }
        }
    }

    /// Makes what was appended durable, with the names of new files.
    pub fn sync(&mut self) -> Result<(), HistoryError> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        for (name, file) in &self.unsynced {
            file.sync_all().map_err(failed("sync", &self.folder.join(name)))?;
        }
        sync_folder(&self.folder).map_err(failed("sync", &self.folder))?;
        self.unsynced.clear();
        Ok(())
    }

    /// The files whose day of closing lies before `day`, oldest first.
    ///
    /// To delete them: take their lengths out of the state first, then [`History::prune`]. The
    /// other way round, a crash in between would leave committed lengths of files that are gone.
    pub fn expired(&self, day: NaiveDate) -> Result<Vec<String>, HistoryError> {
        let is_old = |file: &String| day_of(file).is_some_and(|closed| closed < day);
        Ok(files(&self.folder)?.into_keys().filter(is_old).collect())
    }

    /// Deletes the files whose day of closing lies before `day` and returns their names.
    pub fn prune(&mut self, day: NaiveDate) -> Result<Vec<String>, HistoryError> {
        let expired = self.expired(day)?;
        for file in &expired {
            self.remove(file)?;
            self.lengths.remove(file);
            self.unsynced.remove(file);
        }
        if !expired.is_empty() {
            sync_folder(&self.folder).map_err(failed("sync", &self.folder))?;
        }
        Ok(expired)
    }
}

/// What compresses frames, with its settings.
struct Compressor(CCtx<'static>);

impl Compressor {
    fn new(folder: &Path) -> Result<Self, HistoryError> {
        let mut context = CCtx::create();
        let mut settings = raw::Encoder::with_context(&mut context);
        for setting in [
            CParameter::CompressionLevel(zstd::DEFAULT_COMPRESSION_LEVEL),
            CParameter::ChecksumFlag(true),
            CParameter::WindowLog(WINDOW_LOG),
        ] {
            settings.set_parameter(setting).map_err(failed("compress for", folder))?;
        }
        drop(settings);
        Ok(Compressor(context))
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compressor")
    }
}

fn write_frame<E>(
    compressor: &mut Compressor,
    file: &File,
    path: &Path,
    header: &HistoryHeader,
    entries: impl IntoIterator<Item = Result<HistoryEntry, E>>,
) -> Result<(), HistoryError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io_failed = |error: io::Error| failed("write", path)(error);
    let frame = zstd::Encoder::with_context(file, &mut compressor.0);
    let mut lines = BufWriter::with_capacity(64 * 1024, frame);
    write_line(&mut lines, header).map_err(io_failed)?;
    let mut found = 0;
    for entry in entries {
        let entry = entry
            .map_err(|error| HistoryError::Entries { prefix: header.prefix.clone(), source: error.into() })?;
        write_line(&mut lines, &entry).map_err(io_failed)?;
        found += 1;
    }
    if let Some(expected) = header.objects.filter(|expected| *expected != found) {
        return Err(HistoryError::Count { prefix: header.prefix.clone(), found, expected });
    }
    let frame = lines.into_inner().map_err(|error| io_failed(error.into_error()))?;
    frame.finish().map_err(io_failed)?;
    Ok(())
}

fn write_line(lines: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, value)?;
    lines.write_all(b"\n")
}

/// Names and lengths of the history files in `state_dir`, by day; empty when there is no history.
pub fn list(state_dir: &Path) -> Result<BTreeMap<String, u64>, HistoryError> {
    let folder = folder_in(state_dir);
    match folder.exists() {
        true => files(&folder),
        false => Ok(BTreeMap::new()),
    }
}

/// Whether a history file holds closings of the day `day`, or of a later one.
pub fn is_since(file: &str, day: NaiveDate) -> bool {
    day_of(file).is_some_and(|closed| closed >= day)
}

/// Begins to read the frame at `offset` of a history file. It was read to its end before: its
/// checksum comes last, and damage may show as other keys until then.
pub fn read(state_dir: &Path, file: &str, offset: u64) -> Result<Frame, HistoryError> {
    let path = folder_in(state_dir).join(file);
    Frame::begin(path.clone(), offset)?.next_offset()?;
    Frame::begin(path, offset)
}

/// All frames of a history file, first to last, up to the byte `length`: for a rebuild of the
/// state, which no longer knows where the frames begin.
pub fn frames(state_dir: &Path, file: &str, length: u64) -> Frames {
    Frames { path: folder_in(state_dir).join(file), offset: 0, length }
}

/// Walks through the frames of one history file; see [`frames`].
#[derive(Debug)]
pub struct Frames {
    path: PathBuf,
    offset: u64,
    length: u64,
}

impl Frames {
    /// Where the next frame begins: everything before it was read and is whole.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Hands the next frame to `visit`, which may stop anywhere in it, and goes behind it; `None`
    /// after the last one. After an error nothing behind that frame can be found.
    pub fn visit_next<T>(
        &mut self,
        visit: impl FnOnce(&mut Frame) -> Result<T, HistoryError>,
    ) -> Result<Option<T>, HistoryError> {
        if self.offset >= self.length {
            return Ok(None);
        }
        let mut frame = Frame::begin(self.path.clone(), self.offset)?;
        let value = visit(&mut frame)?;
        self.offset = frame.next_offset()?;
        Ok(Some(value))
    }
}

/// One frame as it is read: the header, then its entries as an iterator. An entry is an error
/// when the frame is cut or damaged; the iterator then ends.
pub struct Frame {
    path: PathBuf,
    offset: u64,
    header: HistoryHeader,
    lines: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    found: u64,
    is_done: bool,
}

impl Frame {
    fn begin(path: PathBuf, offset: u64) -> Result<Self, HistoryError> {
        let open = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            zstd::Decoder::with_buffer(BufReader::new(file))
        };
        let decoder = open().map_err(failed("open", &path))?.single_frame();
        let mut lines = BufReader::new(decoder);
        let damaged = |what: String| HistoryError::Damaged { path: path.clone(), offset, what };
        let line = read_line(&mut lines).map_err(&damaged)?;
        let line = line.ok_or_else(|| damaged("it has no header".to_owned()))?;
        let header = match parse_header(&line).map_err(damaged)? {
            Header::Known(header) => header,
            Header::Newer(found) => return Err(HistoryError::Newer { path, offset, found }),
        };
        Ok(Frame { path, offset, header, lines, found: 0, is_done: false })
    }

    /// The frame's header.
    pub fn header(&self) -> &HistoryHeader {
        &self.header
    }

    /// Reads what is left of the frame and returns the offset of the next one.
    pub fn next_offset(mut self) -> Result<u64, HistoryError> {
        for entry in &mut self {
            entry?;
        }
        let mut reader = self.lines.into_inner().finish();
        reader.stream_position().map_err(failed("read", &self.path))
    }

    fn entry(&mut self) -> Result<Option<HistoryEntry>, String> {
        if let Some(line) = read_line(&mut self.lines)? {
            self.found += 1;
            return serde_json::from_str(&line).map(Some).map_err(|error| error.to_string());
        }
        match self.header.objects {
            Some(objects) if objects != self.found => {
                Err(format!("it has {} entries, its header tells {objects}", self.found))
            }
            _ => Ok(None),
        }
    }
}

impl Iterator for Frame {
    type Item = Result<HistoryEntry, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let entry = self.entry();
        self.is_done = !matches!(entry, Ok(Some(_)));
        let (path, offset) = (&self.path, self.offset);
        entry.map_err(|what| HistoryError::Damaged { path: path.clone(), offset, what }).transpose()
    }
}

enum Header {
    Known(HistoryHeader),
    /// Of this later version, which may have another form.
    Newer(u32),
}

fn parse_header(line: &str) -> Result<Header, String> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let Versioned { v } = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if v > VERSION {
        return Ok(Header::Newer(v));
    }
    serde_json::from_str(line).map(Header::Known).map_err(|error| error.to_string())
}

/// One line without its newline; `None` at the end of the frame.
fn read_line(lines: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut line = String::new();
    // one byte more, so that a line of exactly the limit still shows its newline
    lines.take(LINE_LIMIT + 1).read_line(&mut line).map_err(|error| error.to_string())?;
    if line.is_empty() {
        return Ok(None);
    }
    match line.pop() {
        Some('\n') => Ok(Some(line)),
        _ => Err("a line is too long or does not end".to_owned()),
    }
}

/// The path of a history file in `state_dir`.
pub fn path_of(state_dir: &Path, file: &str) -> PathBuf {
    folder_in(state_dir).join(file)
}

fn folder_in(state_dir: &Path) -> PathBuf {
    state_dir.join("history")
}

fn file_name(day: NaiveDate) -> String {
    format!("{}{ENDING}", day.format("%Y-%m-%d"))
}

/// The day in the name of a history file; `None` for any other name.
fn day_of(file: &str) -> Option<NaiveDate> {
    let day = NaiveDate::parse_from_str(file.strip_suffix(ENDING)?, "%Y-%m-%d").ok()?;
    (file_name(day) == file).then_some(day)
}

fn files(folder: &Path) -> Result<BTreeMap<String, u64>, HistoryError> {
    let read = || {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && day_of(&name).is_some()
            {
                files.insert(name, entry.metadata()?.len());
            }
        }
        Ok(files)
    };
    read().map_err(failed("list", folder))
}

fn failed(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HistoryError {
    let path = path.to_owned();
    move |source| HistoryError::Io { tried, path, source }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
