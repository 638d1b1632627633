//! Segments as files: their names, what lies in a sink's folder, and how one is finished.
//!
//! `s3sweep-<sink id>-<sequence>.ndjson.open` is being written; without `.open`, or with `.gz` or
//! `.zst` instead, it is finished and belongs to the reader. Names of work in progress begin with
//! a dot and hold no `.ndjson`, so that no reader's glob takes them: `.compressing` is cut off
//! anywhere, `.gz.complete` or `.zst.complete` is whole and takes the place of the open one.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::durable::{rename_new, sync_folder};
use crate::failpoint;

/// What happens to a segment's bytes when it is finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// The segment is renamed as it is.
    #[default]
    None,
    /// gzip, `.ndjson.gz`.
    Gzip,
    /// Zstandard, `.ndjson.zst`.
    Zstd,
}

/// The state of a segment as its name tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// Being written; may be cut back.
    Open,
    /// Finished, not compressed.
    Plain,
    /// Finished, gzip.
    Gzip,
    /// Finished, Zstandard.
    Zstd,
}

impl Form {
    const ALL: [Form; 4] = [Form::Open, Form::Plain, Form::Gzip, Form::Zstd];

    fn ending(self) -> &'static str {
        match self {
            Form::Open => ".ndjson.open",
            Form::Plain => ".ndjson",
            Form::Gzip => ".ndjson.gz",
            Form::Zstd => ".ndjson.zst",
        }
    }

    fn of(compression: Compression) -> Self {
        match compression {
            Compression::None => Form::Plain,
            Compression::Gzip => Form::Gzip,
            Compression::Zstd => Form::Zstd,
        }
    }
}

/// The name of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentName {
    /// Who wrote it: 8 lower-case hexadecimal digits.
    pub sink_id: String,
    /// Its number, from 1.
    pub sequence: u64,
    /// Open or finished.
    pub form: Form,
}

impl SegmentName {
    /// The name of segment `sequence` of the sink `sink_id`.
    pub fn new(sink_id: &str, sequence: u64, form: Form) -> Self {
        SegmentName { sink_id: sink_id.to_owned(), sequence, form }
    }

    /// Reads a file name; `None` when it is not exactly what [`SegmentName`] writes.
    pub fn parse(name: &str) -> Option<Self> {
        let form = Form::ALL.into_iter().find(|form| name.ends_with(form.ending()))?;
        let stem = name.strip_suffix(form.ending())?.strip_prefix("s3sweep-")?;
        let (sink_id, digits) = stem.split_once('-')?;
        let parsed = SegmentName::new(sink_id, digits.parse().ok()?, form);
        (is_sink_id(sink_id) && parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3sweep-{}-{:010}{}", self.sink_id, self.sequence, self.form.ending())
    }
}

/// Whether `text` is a sink id: 8 lower-case hexadecimal digits.
pub(super) fn is_sink_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A segment file that lies in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentFile {
    /// Its name.
    pub name: SegmentName,
    /// Its size in bytes.
    pub length: u64,
    /// When it was last written; `None` where the file system does not tell.
    pub modified: Option<SystemTime>,
}

/// What lies in a sink's folder, other people's files left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// All segments, of this and other sinks, by name.
    pub segments: Vec<SegmentFile>,
    /// Names of compressions that did not end.
    pub compressing: Vec<String>,
    /// Compressions that ended, by the names that they are to get.
    pub complete: Vec<SegmentName>,
    /// Files that look like open segments but were not named or made by a sink.
    pub strange: Vec<String>,
}

impl Contents {
    /// Reads the folder.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut contents = Contents::default();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // names that are not UTF-8 are none of ours
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(".s3sweep-") && name.ends_with(".compressing") {
                contents.compressing.push(name);
            } else if let Some(complete) = parse_complete(&name) {
                contents.complete.push(complete);
            } else if name.starts_with("s3sweep-") {
                match entry.metadata() {
                    Ok(metadata) => contents.add(name, &metadata),
                    // the reader took it between listing and looking
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        contents.segments.sort_by_key(|segment| segment.name.to_string());
        contents.compressing.sort();
        contents.complete.sort_by_key(SegmentName::to_string);
        contents.strange.sort();
        Ok(contents)
    }

    fn add(&mut self, name: String, metadata: &fs::Metadata) {
        match SegmentName::parse(&name) {
            // a link or folder in place of an open segment must not be cut
            Some(parsed) if parsed.form != Form::Open || metadata.is_file() => {
                self.segments.push(SegmentFile {
                    name: parsed,
                    length: metadata.len(),
                    modified: metadata.modified().ok(),
                });
            }
            _ if name.ends_with(Form::Open.ending()) => self.strange.push(name),
            _ => {}
        }
    }

    /// The segments of one sink, by sequence.
    pub fn of<'a>(&'a self, sink_id: &'a str) -> impl Iterator<Item = &'a SegmentFile> {
        self.segments.iter().filter(move |segment| segment.name.sink_id == sink_id)
    }

    /// The files of one segment, open and finished.
    pub fn of_name<'a>(&'a self, name: &'a SegmentName) -> impl Iterator<Item = &'a SegmentFile> {
        self.of(&name.sink_id).filter(|segment| segment.name.sequence == name.sequence)
    }
}

/// Finishes the open segment `sequence`: gives it its last name, compressed if asked to. An existing
/// finished name is never replaced.
///
/// The open one never stands beside the last name, which the reader may take at once: whoever finds
/// the open one after a crash then knows that no reader has its records. A complete compression that
/// a crash leaves is for [`publish`], and the open one beside it to be removed.
pub(super) fn finish(
    folder: &Path,
    sink_id: &str,
    sequence: u64,
    compression: Compression,
) -> io::Result<()> {
    let name = SegmentName::new(sink_id, sequence, Form::of(compression));
    let open = folder.join(SegmentName::new(sink_id, sequence, Form::Open).to_string());
    if compression == Compression::None {
        return rename_last(&open, folder, &name);
    }
    if folder.join(name.to_string()).symlink_metadata().is_ok() {
        // the rename refuses it too, but the open one would be gone by then
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let temporary = compressing_name(folder, sink_id, sequence);
    compress(&open, &temporary, compression)?;
    fs::rename(&temporary, folder.join(complete_name(&name)))?;
    sync_folder(folder)?;
    failpoint::hit("complete-beside-open");
    fs::remove_file(&open)?;
    sync_folder(folder)?;
    publish(folder, &name)
}

/// Gives a complete compression its last name, that of `finished`, once its open segment is gone. An
/// existing one is never replaced.
pub(super) fn publish(folder: &Path, finished: &SegmentName) -> io::Result<()> {
    rename_last(&folder.join(complete_name(finished)), folder, finished)
}

fn rename_last(from: &Path, folder: &Path, finished: &SegmentName) -> io::Result<()> {
    failpoint::hit("before-rotation-rename");
    rename_new(from, &folder.join(finished.to_string()))?;
    failpoint::hit("after-rotation-rename");
    Ok(())
}

/// The name of a complete compression that is to be `finished`.
pub(super) fn complete_name(finished: &SegmentName) -> String {
    format!(".{}.complete", finished.to_string().replacen(".ndjson", "", 1))
}

/// What a complete compression is to be called; `None` where `name` is none.
fn parse_complete(name: &str) -> Option<SegmentName> {
    let (stem, ending) = name.strip_prefix('.')?.strip_suffix(".complete")?.split_once('.')?;
    SegmentName::parse(&format!("{stem}.ndjson.{ending}")).filter(|parsed| parsed.form != Form::Open)
}

/// Where a segment is compressed to.
fn compressing_name(folder: &Path, sink_id: &str, sequence: u64) -> PathBuf {
    folder.join(format!(".s3sweep-{sink_id}-{sequence:010}.compressing"))
}

/// Whether `name` is a compression of the sink `sink_id`.
pub(super) fn is_compressing(name: &str, sink_id: &str) -> bool {
    name.strip_prefix(".s3sweep-")
        .and_then(|rest| rest.strip_prefix(sink_id))
        .is_some_and(|rest| rest.starts_with('-') && rest.ends_with(".compressing"))
}

fn compress(from: &Path, to: &Path, compression: Compression) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(128 * 1024, File::open(from)?);
    let mut file = File::create(to)?;
    match compression {
        Compression::None => {
            io::copy(&mut reader, &mut file)?;
        }
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut file, flate2::Compression::default());
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(&mut file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            encoder.include_checksum(true)?;
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?;
        }
    }
    file.flush()?;
    file.sync_all()
}

#[cfg(test)]
pub(super) mod testing {
    use std::io::Read;
    use std::path::Path;

    /// The records of a segment, whatever its form.
    pub fn read_segment(path: &Path) -> Vec<u8> {
        let bytes = std::fs::read(path).expect("the segment is there");
        let mut records = Vec::new();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => {
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut records).expect("gzip");
            }
            Some("zst") => records = zstd::decode_all(&bytes[..]).expect("zstd"),
            _ => records = bytes,
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_exactly_as_written() {
        let cases = [
            ("s3sweep-0a1b2c3d-0000000001.ndjson.open", Some((1, Form::Open))),
            ("s3sweep-0a1b2c3d-0000000042.ndjson", Some((42, Form::Plain))),
            ("s3sweep-0a1b2c3d-0000000042.ndjson.gz", Some((42, Form::Gzip))),
            ("s3sweep-0a1b2c3d-0000000042.ndjson.zst", Some((42, Form::Zstd))),
            ("s3sweep-0a1b2c3d-12345678901.ndjson", Some((12_345_678_901, Form::Plain))),
            ("s3sweep-0a1b2c3d-42.ndjson", None),
            ("s3sweep-0a1b2c3d-00000000042.ndjson", None),
            ("s3sweep-0a1b2c3d-+000000042.ndjson", None),
            ("s3sweep-0A1B2C3D-0000000042.ndjson", None),
            ("s3sweep-0a1b2c3-0000000042.ndjson", None),
            ("s3sweep-0a1b2c3d-0000000042.ndjson.bak", None),
            ("0a1b2c3d-0000000042.ndjson", None),
            ("", None),
        ];
        for (name, expected) in cases {
            let parsed = SegmentName::parse(name);
            assert_eq!(parsed.as_ref().map(|parsed| (parsed.sequence, parsed.form)), expected, "{name}");
            if let Some(parsed) = parsed {
                assert_eq!(parsed.to_string(), name);
                assert_eq!(parsed.sink_id, "0a1b2c3d");
            }
        }
    }

    #[test]
    fn finishing_keeps_every_byte_and_leaves_one_file() {
        let text = "{\"a\":1}\n".repeat(50_000);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let open = folder.path().join("s3sweep-0a1b2c3d-0000000007.ndjson.open");
            fs::write(&open, &text).expect("write");
            finish(folder.path(), "0a1b2c3d", 7, compression).expect("finished");
            let contents = Contents::read(folder.path()).expect("read");
            assert_eq!(contents.segments.len(), 1, "{compression:?}");
            assert_eq!(contents.segments[0].name.form, Form::of(compression));
            assert!(contents.compressing.is_empty() && contents.complete.is_empty());
            let path = folder.path().join(contents.segments[0].name.to_string());
            assert_eq!(testing::read_segment(&path), text.as_bytes(), "{compression:?}");
        }
    }

    #[test]
    fn a_finished_name_is_never_replaced() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let open = folder.path().join("s3sweep-0a1b2c3d-0000000007.ndjson.open");
            fs::write(&open, "new\n").expect("write");
            let taken = SegmentName::new("0a1b2c3d", 7, Form::of(compression)).to_string();
            fs::write(folder.path().join(&taken), "old").expect("write");
            let error = finish(folder.path(), "0a1b2c3d", 7, compression).expect_err("the name is taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{compression:?}");
            assert_eq!(fs::read(folder.path().join(&taken)).expect("read"), b"old");
            assert_eq!(fs::read(&open).expect("read"), b"new\n");
            assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 2, "{compression:?}");
        }
    }

    #[test]
    fn a_folder_tells_segments_from_the_rest() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for name in [
            "s3sweep-0a1b2c3d-0000000002.ndjson.open",
            "s3sweep-0a1b2c3d-0000000001.ndjson.gz",
            "s3sweep-mine.ndjson.open",
            ".s3sweep-0a1b2c3d-0000000001.compressing",
            ".s3sweep-0a1b2c3d-0000000004.zst.complete",
            ".s3sweep-0a1b2c3d-0000000003.gz.complete",
            ".s3sweep-0a1b2c3d-0000000003.open.complete",
            ".s3sweep-0a1b2c3d-0000000003.complete",
            ".s3sweep-0a1b2c3d-3.gz.complete",
            ".s3sweep-sink",
            "notes.txt",
        ] {
            fs::write(folder.path().join(name), "x").expect("write");
        }
        fs::create_dir(folder.path().join("s3sweep-0a1b2c3d-0000000003.ndjson.open")).expect("folder");
        let contents = Contents::read(folder.path()).expect("read");
        let sequences: Vec<u64> = contents.of("0a1b2c3d").map(|segment| segment.name.sequence).collect();
        assert_eq!(sequences, [1, 2]);
        assert_eq!(contents.compressing, [".s3sweep-0a1b2c3d-0000000001.compressing"]);
        assert_eq!(contents.strange, ["s3sweep-0a1b2c3d-0000000003.ndjson.open", "s3sweep-mine.ndjson.open"]);
        let complete = |sequence, form| SegmentName::new("0a1b2c3d", sequence, form);
        assert_eq!(contents.complete, [complete(3, Form::Gzip), complete(4, Form::Zstd)]);
        assert_eq!(complete_name(&contents.complete[0]), ".s3sweep-0a1b2c3d-0000000003.gz.complete");
        assert!(is_compressing(&contents.compressing[0], "0a1b2c3d"));
        assert!(!is_compressing(&contents.compressing[0], "0a1b2c3"));
    }
}
