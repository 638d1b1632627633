//! File operations that hold after a power cut.
//!
//! A file's bytes are durable after its own fsync, its name only after an fsync of its folder.
//! Every function here returns when both are done, or with the error that stopped it.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often, and with what pause, a lock that is held is asked for again.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Locks a file. A child process that is just being started holds copies of our open files until
/// it runs its own program, and with them a lock that we have let go: so a held lock is asked for
/// again for half a second before it counts as another's. Blocks.
pub(crate) fn lock_file(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            #[allow(clippy::disallowed_methods, reason = "locking blocks, and nobody counts this time")]
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
    Err(TryLockError::WouldBlock)
}

/// Makes the names in `folder` durable: creations, renames and removals.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that holds `path`; `.` for a bare name, the path itself for a root.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Creates `folder` and what is missing above it, each name durable. A folder that stands is fine.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder_of(folder);
    if parent != folder {
        create_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    sync_folder(parent)
}

/// Writes `bytes` as the whole of `path`: after a crash it holds the old bytes or the new ones.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_folder(folder_of(path))
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

/// Renames `from` to `to` within one folder and makes it durable; an existing `to` is
/// [`io::ErrorKind::AlreadyExists`] and both stay as they are.
///
/// Where the file system cannot refuse in the kernel, `to` is looked for first: only the holder of
/// the folder's lock writes such names. At no time do both names stand.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match kernel_rename_new(from, to) {
        Err(error) if is_unsupported(&error) => look_and_rename(from, to)?,
        other => other?,
    }
    sync_folder(folder_of(to))
}

fn look_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    match to.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn kernel_rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(target_os = "linux"))]
fn kernel_rename_new(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// EINVAL comes from file systems without the flag, ENOSYS from kernels without the call.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renaming_never_replaces() {
        for rename in [rename_new, look_and_rename] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let (from, to) = (folder.path().join("from"), folder.path().join("to"));
            fs::write(&from, "new").expect("write");
            fs::write(&to, "old").expect("write");
            let error = rename(&from, &to).expect_err("the name is taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&to).expect("read"), "old");
            assert_eq!(fs::read_to_string(&from).expect("read"), "new");
            fs::remove_file(&to).expect("remove");
            std::os::unix::fs::symlink("nowhere", &to).expect("a link to nothing");
            rename(&from, &to).expect_err("a link takes the name, too");
            fs::remove_file(&to).expect("remove");
            rename(&from, &to).expect("the name is free");
            assert_eq!(fs::read_to_string(&to).expect("read"), "new");
            assert!(!from.exists());
        }
    }

    #[test]
    fn folders_are_created_with_all_above_them() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let deep = folder.path().join("a/b/c");
        create_folder(&deep).expect("created");
        create_folder(&deep).expect("standing already");
        assert!(deep.is_dir());
        fs::write(folder.path().join("file"), "").expect("write");
        assert!(create_folder(&folder.path().join("file")).is_err(), "a file is no folder");
    }

    #[test]
    fn replacing_leaves_one_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("small");
        for text in ["first", "second"] {
            replace_file(&path, text.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("read"), text);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 1);
    }
}
