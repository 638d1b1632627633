//! Any bytes as a stored value, as the sidecar, and as a history file.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use s3sweep::sink::Position;
use s3sweep::state::format::{ENTRY, MARKER, decode_entry, decode_json, encode, head_and_time, json};
use s3sweep::state::format::{name_after, timed_key};
use s3sweep::state::history::{self, HistoryEntry, HistoryHeader};
use s3sweep::state::{
    Change, FailedObject, LeafRecord, Marker, Progress, Quarantined, SourceKey, SourceRecord, packed, sidecar,
};

/// A history file like any other.
const FILE: &str = "2026-06-03.jsonl.zst";

/// Readers refuse or return what is written the same; they end, and never panic.
pub fn check(data: &[u8]) {
    check_values(data);
    let folder = tempfile::tempdir().expect("a folder for the files");
    check_sidecar(folder.path(), data);
    check_history(folder.path(), data);
}

fn check_values(data: &[u8]) {
    comes_back::<SourceRecord>(data);
    comes_back::<LeafRecord>(data);
    comes_back::<Marker>(data);
    comes_back::<FailedObject>(data);
    comes_back::<Progress>(data);
    comes_back::<Quarantined>(data);
    comes_back::<Position>(data);
    comes_back::<u64>(data);
    let source = SourceKey { id: 7, generation: 2 };
    if let Ok(entry) = decode_entry(data) {
        let (key, value) = encode(&Change::PutEntry(source, "k".to_owned(), entry));
        let value = value.expect("it puts");
        assert_eq!((key[0], decode_entry(&value).ok()), (ENTRY, decode_entry(data).ok()));
        if data[0] > 1 {
            assert_eq!(value, data, "an entry has one form since version 2");
        }
    }
    if let Ok(items) = packed::unpack(b"e1", data).collect::<Result<Vec<_>, _>>() {
        let mut packer = packed::Packer::new(b"e1");
        items.iter().for_each(|(key, value)| packer.push(key, value.as_deref()));
        assert_eq!(packer.finish(), data, "packed entries have one form");
    }
    if let Ok(name) = name_after(data, 9) {
        assert_eq!(data.get(9..).unwrap_or_default(), name.as_bytes());
    }
    if let Ok((head, time)) = head_and_time(data) {
        let key = timed_key(MARKER, source, &head, time);
        assert_eq!(head_and_time(&key).ok(), Some((head, time)));
        assert_eq!(key[13..], data[13..], "a key has one form");
    }
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    for data in [data.to_vec(), [&[1], data].concat()] {
        if let Ok(value) = decode_json::<T>(&data) {
            let again = decode_json::<T>(&json(&value)).expect("what was written can be read");
            assert_eq!(again, value);
        }
    }
}

/// The text as it is, and as the first line over a checksum that fits.
fn check_sidecar(folder: &Path, data: &[u8]) {
    let sealed = [data, format!("\n{:08x}\n", crc32fast::hash(data)).as_bytes()].concat();
    for bytes in [data, &sealed] {
        fs::write(folder.join("sidecar.json"), bytes).expect("the folder takes files");
        match sidecar::read(folder) {
            Ok(read) => {
                let read = read.expect("the file is there");
                sidecar::write(folder, &read).expect("the folder takes files");
                assert_eq!(sidecar::read(folder).ok(), Some(Some(read)));
            }
            Err(error) => assert!(error.to_string().contains("sidecar.json"), "{error}"),
        }
    }
}

/// The bytes as the file; as the lines of one frame; and those of two.
fn check_history(folder: &Path, data: &[u8]) {
    fs::create_dir(folder.join("history")).expect("the folder takes folders");
    check_frames(folder, data);
    let frame = |lines: &[u8]| zstd::encode_all(lines, 1).expect("memory takes all");
    check_frames(folder, &frame(data));
    if let Some(empty) = data.windows(2).position(|pair| pair == b"\n\n") {
        check_frames(folder, &[frame(&data[..=empty]), frame(&data[empty + 2..])].concat());
    }
}

fn check_frames(folder: &Path, file: &[u8]) {
    let path = folder.join("history").join(FILE);
    fs::write(&path, file).expect("the folder takes files");
    let mut frames = history::frames(folder, FILE, file.len() as u64);
    let mut whole: Vec<(HistoryHeader, Vec<HistoryEntry>)> = Vec::new();
    let is_sound = loop {
        let next = frames.visit_next(|frame| {
            let header = frame.header().clone();
            Ok((header, frame.collect::<Result<Vec<_>, _>>()?))
        });
        match next {
            Ok(Some(frame)) => whole.push(frame),
            Ok(None) => break true,
            Err(error) => {
                assert!(error.to_string().contains(FILE), "{error}");
                break false;
            }
        }
        assert!(whole.len() <= file.len(), "frames have bytes");
    };
    if is_sound {
        for (header, entries) in whole {
            let written: Vec<u8> = std::iter::once(serde_json::to_vec(&header))
                .chain(entries.iter().map(serde_json::to_vec))
                .flat_map(|line| line.expect("plain structs are JSON").into_iter().chain([b'\n']))
                .collect();
            fs::write(&path, zstd::encode_all(&written[..], 1).expect("memory takes all"))
                .expect("the folder takes files");
            let frame = history::read(folder, FILE, 0).expect("what was written can be read");
            assert_eq!(*frame.header(), header);
            assert_eq!(frame.collect::<Result<Vec<_>, _>>().expect("all of it"), entries);
        }
    }
}
