//! A sink's folder: created, locked, and marked with the id of the sink that writes there.
//!
//! The id is made when a state takes the folder for the first time, and made anew when another
//! state takes it over, so that no two states ever write the same names.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::durable::{create_folder, lock_file, replace_file};
use super::segment::is_sink_id;
use super::{Position, SinkError};

const LOCK: &str = ".s3sweep.lock";
const ID: &str = ".s3sweep-sink";
const NOTE: &str = ".s3sweep-finished";

/// A folder that this process holds the lock of.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Creates the folder where it is missing, and locks it.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        create_folder(path).map_err(down("create the folder", path))?;
        Self::lock(path)
    }

    /// Locks a folder that stands.
    pub fn lock(path: &Path) -> Result<Self, SinkError> {
        let path = fs::canonicalize(path).map_err(down("open the folder", path))?;
        let name = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)
            .map_err(down("open", &name))?;
        match lock_file(&lock) {
            Ok(()) => Ok(Folder { path, lock }),
            Err(TryLockError::WouldBlock) => Err(SinkError::Locked { path }),
            Err(TryLockError::Error(error)) => Err(down("lock", &name)(error)),
        }
    }

    /// Whether the lock still guards what lies at `path`: not when the folder or the lock file
    /// was replaced meanwhile.
    pub fn still_holds(&self, path: &Path) -> bool {
        let held = self.lock.metadata().map(|file| (file.dev(), file.ino()));
        let there = fs::metadata(path.join(LOCK)).map(|file| (file.dev(), file.ino()));
        matches!((held, there), (Ok(held), Ok(there)) if held == there)
    }

    /// The folder's absolute path, links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as it stands in a [`Position`].
    pub fn path_text(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// The id kept in the folder.
    pub fn sink_id(&self) -> Result<Option<String>, SinkError> {
        read_sink_id(&self.path)
    }

    /// Gives the folder a new id, durably, and returns it.
    pub fn renew_sink_id(&self) -> Result<String, SinkError> {
        let id = format!("{:08x}", fastrand::u32(..));
        let path = self.path.join(ID);
        replace_file(&path, format!("{id}\n").as_bytes()).map_err(down("write", &path))?;
        Ok(id)
    }

    /// Notes durably that the segment of `position` is finished at its length although the state
    /// may not know yet: its reader may then take it.
    pub fn note_finished(&self, position: &Position) -> Result<(), SinkError> {
        let path = self.path.join(NOTE);
        replace_file(&path, note(position).as_bytes()).map_err(down("write", &path))
    }

    /// Whether [`Folder::note_finished`] was called with the same segment and length.
    pub fn is_noted(&self, position: &Position) -> Result<bool, SinkError> {
        let path = self.path.join(NOTE);
        Ok(read_small(&path)?.is_some_and(|text| text == note(position)))
    }
}

fn note(position: &Position) -> String {
    format!("{} {} {}\n", position.sink_id, position.sequence, position.length)
}

/// The id kept in the folder at `path`; `None` when no sink ever used it.
pub(super) fn read_sink_id(path: &Path) -> Result<Option<String>, SinkError> {
    let Some(text) = read_small(&path.join(ID))? else { return Ok(None) };
    let id = text.trim_end();
    if !is_sink_id(id) {
        let what = format!("{} holds no sink id; restore it from a backup", path.join(ID).display());
        return Err(SinkError::Foreign { what });
    }
    Ok(Some(id.to_owned()))
}

fn read_small(path: &Path) -> Result<Option<String>, SinkError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(down("read", path)(error)),
    }
}

/// Looks for a folder that this process has used before: it may be gone for a while, with its volume,
/// and an empty mount point in its place. Nothing is made there.
pub(super) fn find_again(path: &Path) -> Result<(), SinkError> {
    match read_sink_id(path)? {
        Some(_) => Ok(()),
        None => Err(gone(path)),
    }
}

/// The folder of a running sink is not where it was.
pub(super) fn gone(path: &Path) -> SinkError {
    let what = format!("its folder {} is gone; mount its volume or bring it back", path.display());
    SinkError::Down { what, source: io::ErrorKind::NotFound.into() }
}

/// Makes a [`SinkError::Down`] out of what was tried at a path.
pub(super) fn down(tried: &str, path: &Path) -> impl FnOnce(io::Error) -> SinkError {
    let what = format!("cannot {tried} {}", path.display());
    move |source| SinkError::Down { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let held = Folder::create(folder.path()).expect("held");
        assert!(held.still_holds(folder.path()));
        assert!(matches!(Folder::create(folder.path()), Err(SinkError::Locked { .. })));
        fs::remove_file(folder.path().join(LOCK)).expect("remove");
        assert!(!held.still_holds(folder.path()), "the lock file was removed");
        drop(held);
        Folder::create(folder.path()).expect("free again");
    }

    #[test]
    fn an_id_is_made_once_and_read_back() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let held = Folder::create(&folder.path().join("deep/er")).expect("created");
        assert_eq!(held.sink_id().expect("read"), None);
        let first = held.renew_sink_id().expect("written");
        assert_eq!(held.sink_id().expect("read"), Some(first));
        fs::write(held.path().join(ID), "nonsense").expect("write");
        assert!(matches!(held.sink_id(), Err(SinkError::Foreign { .. })));
    }

    #[test]
    fn a_note_holds_for_one_segment_and_length() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let held = Folder::create(folder.path()).expect("held");
        let position = Position { sink_id: "0a1b2c3d".into(), sequence: 4, length: 9, ..Position::default() };
        assert!(!held.is_noted(&position).expect("read"));
        held.note_finished(&position).expect("written");
        assert!(held.is_noted(&position).expect("read"));
        assert!(!held.is_noted(&Position { length: 8, ..position.clone() }).expect("read"));
        assert!(!held.is_noted(&Position { sequence: 5, ..position }).expect("read"));
    }
}
