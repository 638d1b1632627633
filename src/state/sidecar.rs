//! The sidecar: a small file beside the database that tells whether the database is the one, and
//! as new as, the last commit left it; and what a rebuild cannot find elsewhere.
//!
//! `sidecar.json` has two lines: one JSON object, and the CRC-32 of that line without its newline
//! in 8 hexadecimal digits. It is replaced as a whole: a crash leaves the old one or the new one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::sink::Position;
use crate::sink::durable::replace_file;

/// The version that this program writes; it reads no later one. Version 1 lacked what a source's
/// generation stands for ([`SidecarSource::identity`]); up to version 2 the database beside it had
/// a pair for each ledger entry, in version 3 one for each planned recheck.
pub const VERSION: u32 = 4;

const NAME: &str = "sidecar.json";

/// What the sidecar holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Version of the form, [`VERSION`].
    pub version: u32,
    /// Name of the instance that the state is bound to.
    pub instance: String,
    /// Number of the last committed batch.
    pub sequence: u64,
    /// The sink's position in that batch; `None` before the first.
    pub sink: Option<Position>,
    /// Bytes of the dead-letter file that are durable.
    pub dead_letter: u64,
    /// The sources by name.
    pub sources: BTreeMap<String, SidecarSource>,
}

impl Sidecar {
    /// The sidecar of a state without any batch.
    pub fn new(instance: String) -> Self {
        Sidecar {
            version: VERSION,
            instance,
            sequence: 0,
            sink: None,
            dead_letter: 0,
            sources: BTreeMap::new(),
        }
    }
}

/// What the sidecar holds of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidecarSource {
    /// Its number in the keys of the state.
    pub id: u64,
    /// Its generation.
    pub generation: u64,
    /// The instant that its `start` meant when it was first swept; `None` stands for "all".
    pub start: Option<DateTime<Utc>>,
    /// What the generation stands for; `None` in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<SidecarIdentity>,
    /// Per leaf, by its head, the end of the contiguous run of closed prefixes.
    pub leaves: BTreeMap<String, String>,
}

/// What a source's generation stands for: without it a rebuilt source would look as if its
/// pattern had changed, and everything would be collected anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidecarIdentity {
    /// Its bucket.
    pub bucket: String,
    /// The normal form of its pattern.
    pub pattern: String,
    /// Settings whose change resets the floors.
    pub floor_settings: String,
    /// Epoch of the floors.
    pub floor_epoch: u32,
}

/// A sidecar that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// It is not what was written. Exit code 4.
    #[error("{} is damaged: {what}; restore it from a backup, or run once with --rebuild-state", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A later version of the program wrote it. Exit code 4.
    #[error("{} has version {found}, this program knows {VERSION}; use the newer program", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The system refused.
    #[error("cannot {tried} {}", .path.display())]
    Io {
        /// `read` or `write`.
        tried: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// The path of the sidecar in a state directory.
pub fn path_of(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// Reads the sidecar of a state directory; `None` when there is none.
pub fn read(directory: &Path) -> Result<Option<Sidecar>, SidecarError> {
    let path = directory.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SidecarError::Io { tried: "read", path, source }),
    };
    match decode(&bytes) {
        Ok(sidecar) => Ok(Some(sidecar)),
        Err(Unreadable::Newer(found)) => Err(SidecarError::Newer { path, found }),
        Err(Unreadable::Damaged(what)) => Err(SidecarError::Damaged { path, what }),
    }
}

/// Replaces the sidecar of a state directory, durably.
pub fn write(directory: &Path, sidecar: &Sidecar) -> Result<(), SidecarError> {
    let path = directory.join(NAME);
    encode(sidecar).and_then(|bytes| replace_file(&path, &bytes)).map_err(|source| SidecarError::Io {
        tried: "write",
        path,
        source,
    })
}

/// Why bytes are no sidecar.
enum Unreadable {
    Newer(u32),
    Damaged(String),
}

fn encode(sidecar: &Sidecar) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(sidecar)?;
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(format!("\n{checksum:08x}\n").as_bytes());
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Sidecar, Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let damaged = |what: &str| Unreadable::Damaged(what.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
    let (json, rest) = text.split_once('\n').ok_or_else(|| damaged("its first line does not end"))?;
    if rest != format!("{:08x}\n", crc32fast::hash(json.as_bytes())) {
        return Err(damaged("its checksum does not fit"));
    }
    let parse = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
    let Versioned { version } = serde_json::from_str(json).map_err(parse)?;
    // before the rest is read: a later version may have another form
    if version > VERSION {
        return Err(Unreadable::Newer(version));
    }
    serde_json::from_str(json).map_err(parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sidecar {
        let leaf = ("AWSLogs/111122223333/CloudTrail/us-east-1/".to_owned(), "2026/06/02".to_owned());
        let source = SidecarSource {
            id: 3,
            generation: 1,
            start: DateTime::from_timestamp(1_780_000_000, 5),
            identity: Some(SidecarIdentity {
                bucket: "acme".to_owned(),
                pattern: "AWSLogs/*".to_owned(),
                floor_settings: "UTC 3600 .*".to_owned(),
                floor_epoch: 2,
            }),
            leaves: BTreeMap::from([leaf]),
        };
        Sidecar {
            version: VERSION,
            instance: "collector-1".to_owned(),
            sequence: u64::MAX,
            sink: Some(Position {
                sink_id: "0a1b2c3d".into(),
                path: "/out".into(),
                sequence: 7,
                length: 9,
                sealed: true,
            }),
            dead_letter: 12,
            sources: BTreeMap::from([("prod\n\"x\"".to_owned(), source)]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert_eq!(read(folder.path()).expect("none yet"), None);
        let mut empty = Sidecar { sink: None, sources: BTreeMap::new(), ..sample() };
        empty.sequence = 0;
        let mut earliest = sample();
        for source in earliest.sources.values_mut() {
            source.start = Some(DateTime::<Utc>::MIN_UTC);
        }
        for sidecar in [sample(), earliest, empty] {
            write(folder.path(), &sidecar).expect("written");
            assert_eq!(read(folder.path()).expect("read"), Some(sidecar));
        }
    }

    #[test]
    fn its_form_is_fixed() {
        let sidecar = Sidecar { sources: BTreeMap::new(), sink: None, sequence: 4, ..sample() };
        let text = String::from_utf8(encode(&sidecar).expect("encoded")).expect("text");
        let json = r#"{"version":4,"instance":"collector-1","sequence":4,"sink":null,"dead_letter":12,"sources":{}}"#;
        assert_eq!(text, format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes())));
    }

    #[test]
    fn the_first_version_and_unknown_fields_are_read() {
        let json = r#"{"version":1,"instance":"c","sequence":7,"sink":null,"dead_letter":12,"later":[1],"sources":{"main":{"id":3,"generation":2,"start":"2026-06-01T00:00:00Z","leaves":{"a/":"2026-06-02T00:00"},"more":{}}}}"#;
        let text = format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()));
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join(NAME), text).expect("written");
        let sidecar = read(folder.path()).expect("read").expect("there");
        let source = &sidecar.sources["main"];
        assert_eq!((sidecar.sequence, source.id, source.generation, &source.identity), (7, 3, 2, &None));
        assert_eq!(source.leaves["a/"], "2026-06-02T00:00");
    }

    #[test]
    fn every_single_damaged_byte_is_noticed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let good = encode(&sample()).expect("encoded");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x04;
            fs::write(folder.path().join(NAME), bad).expect("written");
            let error = read(folder.path()).expect_err("damaged");
            assert!(matches!(error, SidecarError::Damaged { .. }), "byte {at}: {error}");
        }
        for length in 0..good.len() {
            fs::write(folder.path().join(NAME), &good[..length]).expect("written");
            assert!(matches!(read(folder.path()), Err(SidecarError::Damaged { .. })), "cut at {length}");
        }
        fs::write(folder.path().join(NAME), [&good[..], b"x"].concat()).expect("written");
        assert!(read(folder.path()).is_err(), "bytes after the end");
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let cases = [
            (r#"{"version":5,"other":true}"#, "has version 5"),
            (r#"{"version":1}"#, "is damaged"),
            (r#"{"version":"x"}"#, "is damaged"),
        ];
        for (json, expected) in cases {
            let text = format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()));
            fs::write(folder.path().join(NAME), text).expect("written");
            let error = read(folder.path()).expect_err(json).to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
