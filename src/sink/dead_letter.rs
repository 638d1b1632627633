//! The dead-letter file: malformed records of readable objects, one JSON line each.
//!
//! Lines are durable after `sync`, whose length goes into the state with the objects they belong
//! to; after a crash the file is cut back to it. The reader may rotate the file at any time: the
//! next line then begins a new one, and a line may come twice if the process dies in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::SinkError;
use super::durable::{create_folder, folder_of, sync_folder};

/// At most this many bytes of a malformed record are kept.
pub const RAW_LIMIT: usize = 64 * 1024;

/// Encoded lines are handed to the file in pieces of about this size.
const BUFFER: usize = 256 * 1024;

/// A malformed record and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The object's key.
    pub key: &'a str,
    /// The object's ETag.
    pub etag: &'a str,
    /// The record's place in the object, counted from 0.
    pub record: u64,
    /// Why it is no record.
    pub reason: &'a str,
    /// Its bytes, as they stand in the object.
    pub raw: &'a [u8],
    /// When it was found.
    pub at: DateTime<Utc>,
}

/// The line of a dead letter, with its newline. Bytes that are not UTF-8 become U+FFFD; `raw`
/// holds at most [`RAW_LIMIT`] bytes and ends with a whole character.
pub fn encode(letter: &DeadLetter<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        source: &'a str,
        bucket: &'a str,
        key: &'a str,
        etag: &'a str,
        record: u64,
        reason: &'a str,
        raw: &'a str,
        at: String,
    }
    let raw = lossy(letter.raw);
    let line = Line {
        source: letter.source,
        bucket: letter.bucket,
        key: letter.key,
        etag: letter.etag,
        record: letter.record,
        reason: letter.reason,
        raw: &raw,
        at: letter.at.to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    let mut bytes = serde_json::to_vec(&line).expect("text and a number always serialise");
    bytes.push(b'\n');
    bytes
}

fn lossy(raw: &[u8]) -> String {
    let mut cut = &raw[..raw.len().min(RAW_LIMIT)];
    if cut.len() < raw.len()
        && let Err(error) = std::str::from_utf8(cut)
        && error.error_len().is_none()
    {
        // the limit fell into a character
        cut = &cut[..error.valid_up_to()];
    }
    let mut text = String::from_utf8_lossy(cut).into_owned();
    // a replaced byte takes three, so the text may be longer than the bytes
    text.truncate(text.floor_char_boundary(RAW_LIMIT));
    text
}

/// Appends lines to the dead-letter file. The file is made with the first line.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    file: Option<File>,
    pending: Vec<u8>,
    is_synced: bool,
    length: u64,
}

impl DeadLetters {
    /// Nothing is touched before [`DeadLetters::recover`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        DeadLetters { path: path.into(), file: None, pending: Vec::new(), is_synced: true, length: 0 }
    }

    /// Goes back to the `committed` length: later lines are removed, buffered ones forgotten.
    /// `None` is a fresh state: what an earlier one left stays, up to its last whole line.
    ///
    /// A file that is missing begins anew at 0. One that is shorter is kept up to its last whole
    /// line. Both are logged, as the reader may have rotated it away. So is a new file whose lines
    /// do not end at that length: it is cut before the line that stands there. Needed at start and
    /// after any failure.
    pub fn recover(&mut self, committed: Option<u64>) -> Result<(), SinkError> {
        self.pending.clear();
        self.file = None;
        self.is_synced = true;
        self.length = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            found => self.keep(found.map_err(self.down("look at"))?.len(), committed)?,
        };
        if let Some(committed) = committed.filter(|committed| self.length < *committed) {
            let (path, length) = (self.path.display(), self.length);
            tracing::warn!(%path, committed, length, "the dead-letter file was rotated or cut");
        }
        Ok(())
    }

    /// Cuts a file of `length` bytes to what of it stays, and returns that.
    fn keep(&self, length: u64, committed: Option<u64>) -> Result<u64, SinkError> {
        // a committed length ends a line in the file that it is of, but not in one that came after it
        let end = committed.map_or(length, |committed| committed.min(length));
        let kept = whole_lines(&self.path, end).map_err(self.down("read"))?;
        if kept < length {
            let cut = || {
                let file = OpenOptions::new().write(true).open(&self.path)?;
                file.set_len(kept)?;
                file.sync_all()
            };
            cut().map_err(self.down("cut"))?;
        }
        Ok(kept)
    }

    /// Appends one line as [`encode`] makes it. After an error, [`DeadLetters::recover`] must
    /// come before anything else.
    pub fn append(&mut self, line: &[u8]) -> Result<(), SinkError> {
        self.pending.extend_from_slice(line);
        if self.pending.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Makes all lines durable and returns the length of the file; costs nothing when no line
    /// was appended since the last call.
    pub fn sync(&mut self) -> Result<u64, SinkError> {
        self.flush()?;
        if let Some(file) = self.file.as_ref().filter(|_| !self.is_synced) {
            file.sync_data().map_err(self.down("sync"))?;
            // asked of the file: the reader may have cut it
            self.length = file.metadata().map_err(self.down("look at"))?.len();
            self.is_synced = true;
        }
        Ok(self.length)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let file = match self.file.take().filter(|file| is_at(file, &self.path)) {
            Some(file) => file,
            None => open(&self.path).map_err(self.down("open"))?,
        };
        let file = self.file.insert(file);
        let written = file.write_all(&self.pending);
        written.map_err(self.down("write to"))?;
        self.pending.clear();
        self.is_synced = false;
        Ok(())
    }

    fn down(&self, tried: &str) -> impl FnOnce(io::Error) -> SinkError + use<> {
        let what = format!("cannot {tried} the dead-letter file {}", self.path.display());
        move |source| SinkError::Down { what, source }
    }
}

/// Whether `path` still names the open file; not when the reader renamed or removed it.
fn is_at(file: &File, path: &Path) -> bool {
    let held = file.metadata().map(|file| (file.dev(), file.ino()));
    let there = fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((held, there), (Ok(held), Ok(there)) if held == there)
}

/// A new file is for its owner alone: a record that is none may hold anything.
fn open(path: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    if is_new {
        create_folder(folder_of(path))?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if is_new {
        sync_folder(folder_of(path))?;
    }
    Ok(file)
}

/// The length up to and with the last newline among the first `length` bytes.
fn whole_lines(path: &Path, length: u64) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut end = length;
    let mut block = vec![0; 64 * 1024];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(newline) = memchr::memrchr(b'\n', part) {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>(record: u64, raw: &'a [u8]) -> DeadLetter<'a> {
        DeadLetter {
            source: "prod",
            bucket: "acme-trail",
            key: "AWSLogs/x.json.gz",
            etag: "e1",
            record,
            reason: "no JSON object",
            raw,
            at: DateTime::from_timestamp(1_780_000_000, 0).expect("an instant"),
        }
    }

    #[test]
    fn a_line_holds_where_and_why() {
        let expected = "{\"source\":\"prod\",\"bucket\":\"acme-trail\",\"key\":\"AWSLogs/x.json.gz\",\"etag\":\"e1\",\
             \"record\":7,\"reason\":\"no JSON object\",\"raw\":\"a\\n\\\"b\u{fffd}\",\"at\":\"2026-05-28T20:26:40Z\"}\n";
        assert_eq!(String::from_utf8(encode(&letter(7, b"a\n\"b\xff"))).expect("UTF-8"), expected);
    }

    #[test]
    fn raw_text_is_capped_at_a_character() {
        let after = |count: usize, tail: &str| [vec![b'x'; count], tail.as_bytes().to_vec()].concat();
        let cases = [
            ("empty", vec![], 0),
            ("exactly the limit", after(RAW_LIMIT, ""), RAW_LIMIT),
            ("one more", after(RAW_LIMIT, "x"), RAW_LIMIT),
            ("the limit within a character", after(RAW_LIMIT - 1, "ö"), RAW_LIMIT - 1),
            ("a character that just fits", after(RAW_LIMIT - 2, "öx"), RAW_LIMIT),
            ("bytes that grow", vec![0xff; RAW_LIMIT], RAW_LIMIT / 3 * 3),
        ];
        for (case, raw, expected) in cases {
            let text = lossy(&raw);
            assert_eq!(text.len(), expected, "{case}");
            assert_eq!(text.contains('\u{fffd}'), case == "bytes that grow", "{case}");
        }
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|_| "(none)".to_owned())
    }

    #[test]
    fn recovery_cuts_to_what_was_committed() {
        let cases = [
            ("nothing yet", None, Some(0), "(none)", 0),
            ("as committed", Some("a\nb\n"), Some(4), "a\nb\n", 4),
            ("uncommitted lines", Some("a\nb\nc\n"), Some(4), "a\nb\n", 4),
            ("all uncommitted", Some("a\n"), Some(0), "", 0),
            ("rotated away", None, Some(4), "(none)", 0),
            ("a new, shorter one", Some("z\n"), Some(4), "z\n", 2),
            ("a new, longer one", Some("first\nsecond\n"), Some(4), "", 0),
            ("a new, longer one, cut within its second line", Some("z\nsecond\n"), Some(4), "z\n", 2),
            ("shorter and torn", Some("z\ny"), Some(4), "z\n", 2),
            ("shorter, torn, no line", Some("z"), Some(4), "", 0),
            ("a fresh state", None, None, "(none)", 0),
            ("a fresh state, lines of an earlier one", Some("a\nb\n"), None, "a\nb\n", 4),
            ("a fresh state, a torn line", Some("a\nb"), None, "a\n", 2),
        ];
        for (case, file, committed, expected, length) in cases {
            let folder = tempfile::tempdir().expect("temporary folder");
            let path = folder.path().join("deep/dead-letter.ndjson");
            if let Some(text) = file {
                create_folder(folder_of(&path)).expect("created");
                fs::write(&path, text).expect("write");
            }
            let mut letters = DeadLetters::new(&path);
            letters.recover(committed).expect(case);
            assert_eq!(read(&path), expected, "{case}");
            assert_eq!(letters.sync().expect(case), length, "{case}");
            letters.append(b"new\n").expect(case);
            assert_eq!(letters.sync().expect(case), length + 4, "{case}");
            let kept = if expected == "(none)" { "" } else { expected };
            assert_eq!(read(&path), format!("{kept}new\n"), "{case}");
        }
    }

    #[test]
    fn lines_wait_for_the_sync_unless_they_are_many() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("dead-letter.ndjson");
        let mut letters = DeadLetters::new(&path);
        letters.recover(Some(0)).expect("recovered");
        letters.append(b"a\n").expect("buffered");
        assert_eq!(read(&path), "(none)");
        assert_eq!(letters.sync().expect("synced"), 2);
        let line = vec![b'x'; BUFFER];
        letters.append(&line).expect("written");
        assert_eq!(read(&path).len(), 2 + BUFFER);
        letters.append(b"forgotten\n").expect("buffered");
        letters.recover(Some(2)).expect("recovered");
        assert_eq!(letters.sync().expect("synced"), 2);
        assert_eq!(read(&path), "a\n");
    }

    #[test]
    fn a_rotated_file_begins_anew() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("dead-letter.ndjson");
        let mut letters = DeadLetters::new(&path);
        letters.recover(Some(0)).expect("recovered");
        letters.append(b"first\n").expect("buffered");
        assert_eq!(letters.sync().expect("synced"), 6);
        fs::rename(&path, folder.path().join("dead-letter.1")).expect("rotated");
        letters.append(b"second\n").expect("buffered");
        assert_eq!(letters.sync().expect("synced"), 7);
        assert_eq!(read(&path), "second\n");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600, "for its owner alone");
        fs::write(&path, "").expect("cut by the reader");
        letters.append(b"3\n").expect("buffered");
        assert_eq!(letters.sync().expect("synced"), 2);
        assert_eq!(read(&path), "3\n");
    }
}
