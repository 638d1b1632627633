//! A walk over the files of a directory tree in the byte order of their keys.
//!
//! It holds the entries of the directories on the way from the root to where it stands, less
//! those that prefix and start rule out. Blocking; runs on the blocking pool.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::vec;

/// Where a walk begins and what it takes.
pub(super) struct Scope<'a> {
    /// Only keys that begin with this.
    pub prefix: &'a str,
    /// Only keys and folders greater than this.
    pub after: Option<String>,
    /// Group keys at the first `/` after the prefix.
    pub by_folder: bool,
}

/// What a walk comes upon.
#[derive(Debug)]
pub(super) enum Found {
    /// A file, or a link to one.
    Object { key: String, metadata: Metadata },
    /// A directory with at least one file somewhere in it; ends in `/`.
    Folder(String),
}

/// A directory or file that could not be read.
#[derive(Debug)]
pub(super) struct WalkError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Remembers whether names that are not UTF-8 were warned of: once per bucket.
#[derive(Clone, Debug, Default)]
pub(super) struct OddNames(Arc<AtomicBool>);

impl OddNames {
    fn warn(&self, directory: &Path, name: &OsStr) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                directory = %directory.display(),
                ?name,
                "file name is not UTF-8 and can be no key, left out (further ones are not reported)"
            );
        }
    }
}

/// A walk that stands between two keys.
#[derive(Debug)]
pub(super) struct Walk {
    root: PathBuf,
    after: Option<String>,
    by_folder: bool,
    levels: Vec<Level>,
    ahead: Option<Found>,
    odd_names: OddNames,
    /// Files left out for their names since these were asked for.
    not_utf8: u64,
}

/// The entries of one directory that the walk has not come to.
#[derive(Debug)]
struct Level {
    /// The directory's key: empty, or ending in `/`.
    at: String,
    /// Names in byte order; a directory's ends in `/`, which is how its keys sort.
    names: vec::IntoIter<String>,
}

/// What an entry of a directory is to a bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    /// A socket, a dangling link, a link to a directory.
    Nothing,
}

impl Walk {
    /// Stands before the first key that `scope` allows.
    pub fn begin(root: &Path, scope: Scope<'_>, odd_names: OddNames) -> Result<Self, WalkError> {
        let Scope { prefix, after, by_folder } = scope;
        let root = root.to_owned();
        let mut walk = Walk { root, after, by_folder, levels: vec![], ahead: None, odd_names, not_utf8: 0 };
        // the directories above the prefix need not be read
        let at = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        if at.is_empty() || walk.is_directory(at)? {
            walk.enter(at.to_owned(), &prefix[at.len()..])?;
        }
        Ok(walk)
    }

    /// The next key or folder; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Found>, WalkError> {
        match self.ahead.take() {
            Some(found) => Ok(Some(found)),
            None => self.step(),
        }
    }

    /// Whether there is a next key or folder.
    pub fn has_more(&mut self) -> Result<bool, WalkError> {
        if self.ahead.is_none() {
            self.ahead = self.step()?;
        }
        Ok(self.ahead.is_some())
    }

    /// How many files were passed since the last time whose names are not UTF-8. A directory with
    /// such a name is not looked into.
    pub fn take_not_utf8(&mut self) -> u64 {
        std::mem::take(&mut self.not_utf8)
    }

    fn step(&mut self) -> Result<Option<Found>, WalkError> {
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let key = format!("{}{name}", level.at);
            if !name.ends_with('/') {
                // gone since its directory was read: as if it had not been there
                if let Some(metadata) = present(fs::metadata(self.root.join(&key)), || self.root.join(&key))?
                {
                    return Ok(Some(Found::Object { key, metadata }));
                }
            } else if !self.by_folder {
                self.enter(key, "")?;
            } else if self.has_file(&key)? {
                return Ok(Some(Found::Folder(key)));
            }
        }
        Ok(None)
    }

    /// Whether `at`, a key that ends in `/`, is a directory that is reached without links.
    fn is_directory(&self, at: &str) -> Result<bool, WalkError> {
        let folder = at.strip_suffix('/').unwrap_or(at);
        Ok(present(real_directories(&self.root, folder), || self.root.join(at))? == Some(true))
    }

    /// Reads a directory and makes it the walk's last level. `name_prefix` restricts its names.
    fn enter(&mut self, at: String, name_prefix: &str) -> Result<(), WalkError> {
        let (mut names, mut not_utf8) = (Vec::new(), 0);
        self.read(&at, |kind, mut name| {
            if kind == Kind::Directory {
                name.push("/");
            }
            let bytes = name.as_bytes();
            if bytes.starts_with(name_prefix.as_bytes()) && self.may_hold(kind, &at, bytes) {
                match name.into_string() {
                    Ok(name) => names.push(name),
                    Err(name) => {
                        self.odd_names.warn(&self.root.join(&at), &name);
                        not_utf8 += u64::from(kind == Kind::File);
                    }
                }
            }
            true
        })?;
        self.not_utf8 += not_utf8;
        names.sort_unstable();
        self.levels.push(Level { at, names: names.into_iter() });
        Ok(())
    }

    /// Whether an entry, or for a directory something in it, lies after the start.
    fn may_hold(&self, kind: Kind, at: &str, name: &[u8]) -> bool {
        let Some(after) = &self.after else { return true };
        let key = [at.as_bytes(), name].concat();
        key.as_slice() > after.as_bytes()
            || (kind == Kind::Directory && !self.by_folder && after.as_bytes().starts_with(&key))
    }

    /// Whether there is a file in or below the directory `at`.
    fn has_file(&self, at: &str) -> Result<bool, WalkError> {
        let mut open = vec![at.to_owned()];
        let mut found = false;
        while let (false, Some(at)) = (found, open.pop()) {
            self.read(&at, |kind, name| {
                let Ok(name) = name.into_string() else { return true };
                found = kind == Kind::File;
                if kind == Kind::Directory {
                    open.push(format!("{at}{name}/"));
                }
                !found
            })?;
        }
        Ok(found)
    }

    /// Gives each file and directory of `at` to `take`, in no order, until it returns `false`. A
    /// directory that is no longer there has no entries.
    fn read(&self, at: &str, mut take: impl FnMut(Kind, OsString) -> bool) -> Result<(), WalkError> {
        let path = self.root.join(at);
        let Some(entries) = present(fs::read_dir(&path), || path.clone())? else { return Ok(()) };
        for entry in entries {
            let entry = entry.map_err(|source| WalkError { path: path.clone(), source })?;
            let kind = match present(kind(&entry), || path.join(entry.file_name()))? {
                Some(kind @ (Kind::File | Kind::Directory)) => kind,
                Some(Kind::Nothing) | None => continue,
            };
            if !take(kind, entry.file_name()) {
                break;
            }
        }
        Ok(())
    }
}

/// The path of a key's file; `None` when the key can be none of this directory's: it has an
/// empty segment, `.` or `..`, leads through a link, or names no file.
pub(super) fn object_path(root: &Path, key: &str) -> io::Result<Option<PathBuf>> {
    let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
    let real = is_name(name) && (!key.contains('/') || real_directories(root, folder)?);
    let path = root.join(key);
    Ok((real && fs::metadata(&path)?.is_file()).then_some(path))
}

/// Whether each segment of `folder` is a directory and not a link to one.
fn real_directories(root: &Path, folder: &str) -> io::Result<bool> {
    let mut path = root.to_owned();
    for segment in folder.split('/') {
        path.push(segment);
        if !is_name(segment) || !fs::symlink_metadata(&path)?.is_dir() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a segment can be the name of a file.
fn is_name(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..") && !segment.contains('\0')
}

fn kind(entry: &fs::DirEntry) -> io::Result<Kind> {
    let file_type = entry.file_type()?;
    let link_to_file = || fs::metadata(entry.path()).is_ok_and(|target| target.is_file());
    Ok(if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_file() || (file_type.is_symlink() && link_to_file()) {
        Kind::File
    } else {
        Kind::Nothing
    })
}

/// What is there; `None` when it is not.
fn present<T>(result: io::Result<T>, path: impl FnOnce() -> PathBuf) -> Result<Option<T>, WalkError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
                Ok(None)
            }
            _ => Err(WalkError { path: path(), source: error }),
        },
    }
}
