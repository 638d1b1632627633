//! One instance owns a state directory: a lock on the file `lock` in it, freed by the system when
//! the process ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::sink::durable::lock_file;

/// Holds a state directory until it is dropped.
#[derive(Debug)]
pub struct StateLock {
    /// The lock goes when the file is closed.
    _file: File,
}

/// A state directory that could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it. Exit code 4.
    #[error("another instance owns the state directory {}; stop it, or configure another state_dir", .directory.display())]
    Held {
        /// The state directory.
        directory: PathBuf,
    },
    /// The directory or its lock file cannot be made or opened. Exit code 4.
    #[error("cannot lock the state directory {}", .directory.display())]
    Io {
        /// The state directory.
        directory: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl StateLock {
    /// Locks `directory`, which is created when it is missing. Never waits.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { directory: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let path = directory.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        match lock_file(&file) {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { directory: directory.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let directory = folder.path().join("state");
        let first = StateLock::acquire(&directory).expect("free, and created");
        let error = StateLock::acquire(&directory).expect_err("held");
        assert!(matches!(error, LockError::Held { .. }));
        let text = error.to_string();
        assert!(
            text.contains(&directory.display().to_string()) && text.contains("another instance"),
            "{text}"
        );
        drop(first);
        StateLock::acquire(&directory).expect("free again");
    }

    #[test]
    fn a_file_in_its_place_is_an_error() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("state");
        fs::write(&path, "").expect("written");
        assert!(matches!(StateLock::acquire(&path), Err(LockError::Io { .. })));
    }
}
