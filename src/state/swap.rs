//! Putting a new database in the place of another one, so that a crash at any point leaves one
//! that is whole: built under one name, renamed when it is complete, and only then exchanged.
//!
//! | found at start | what it means | what is done |
//! |---|---|---|
//! | `sled.building` | it was not finished | removed |
//! | `sled`, `sled.new` | not exchanged yet, nothing was written since | `sled.new` is removed |
//! | `sled.new` alone | amid the exchange | it becomes `sled` |
//! | `sled`, `sled.old` | exchanged | `sled.old` is removed |
//! | `sled.old` alone | the new one was taken away | it becomes `sled` again |
//!
//! Only the owner of the state directory may call these.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::failpoint;
use crate::sink::durable::{create_folder, sync_folder};

const LIVE: &str = "sled";
const BUILDING: &str = "sled.building";
const NEW: &str = "sled.new";
const OLD: &str = "sled.old";

/// Where the database lies.
pub fn live(dir: &Path) -> PathBuf {
    dir.join(LIVE)
}

/// Where a new one is built.
pub fn building(dir: &Path) -> PathBuf {
    dir.join(BUILDING)
}

/// Makes room for a new one: what an earlier attempt left, which was never exchanged, is removed.
/// It must not be built upon: what was deleted meanwhile would come back.
pub fn clear_unfinished(dir: &Path) -> io::Result<()> {
    remove(&building(dir))?;
    remove(&dir.join(NEW))
}

/// Finishes or takes back what a crash interrupted; see the table above.
pub fn recover(dir: &Path) -> io::Result<()> {
    remove(&dir.join(BUILDING))?;
    if live(dir).symlink_metadata().is_err() {
        let left = [NEW, OLD].map(|name| dir.join(name)).into_iter().find(|path| path.exists());
        let Some(left) = left else { return Ok(()) };
        fs::rename(left, live(dir))?;
        sync_folder(dir)?;
    }
    remove(&dir.join(NEW))?;
    remove(&dir.join(OLD))
}

/// The database that was built is whole: makes that durable. Nobody may have it open.
pub fn complete(dir: &Path) -> io::Result<()> {
    sync_tree(&building(dir))?;
    failpoint::hit("rewrite-before-complete");
    fs::rename(building(dir), dir.join(NEW))?;
    failpoint::hit("rewrite-complete");
    sync_folder(dir)
}

/// Exchanges the databases and removes the old one.
pub fn exchange(dir: &Path) -> io::Result<()> {
    fs::rename(live(dir), dir.join(OLD))?;
    failpoint::hit("rewrite-old-moved");
    sync_folder(dir)?;
    fs::rename(dir.join(NEW), live(dir))?;
    failpoint::hit("rewrite-exchanged");
    sync_folder(dir)?;
    remove(&dir.join(OLD))?;
    failpoint::hit("rewrite-old-removed");
    Ok(())
}

/// Moves the database into the folder `aside`, where it stays, and puts the new one in its place.
pub fn set_aside(dir: &Path, aside: &Path) -> io::Result<()> {
    if live(dir).symlink_metadata().is_ok() {
        fs::rename(live(dir), aside.join(LIVE))?;
        sync_folder(aside)?;
        sync_folder(dir)?;
    }
    fs::rename(dir.join(NEW), live(dir))?;
    sync_folder(dir)
}

/// Makes the next free folder `damaged-1`, `damaged-2` and so on.
pub fn make_aside(dir: &Path) -> io::Result<PathBuf> {
    let free = (1..u32::MAX).map(|number| dir.join(format!("damaged-{number}")));
    let free = free.into_iter().find(|path| path.symlink_metadata().is_err());
    let path = free.ok_or(io::ErrorKind::AlreadyExists)?;
    create_folder(&path)?;
    Ok(path)
}

/// Copies a file into the folder `aside`, durably.
pub fn keep_copy(file: &Path, aside: &Path) -> io::Result<()> {
    let copy = aside.join(file.file_name().unwrap_or_default());
    fs::copy(file, &copy)?;
    File::open(&copy)?.sync_all()?;
    sync_folder(aside)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every set of names that a crash can leave, and the contents that are `sled` afterwards.
    #[test]
    fn whatever_a_crash_left_one_whole_database_comes_of_it() {
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("a fresh directory", &[], None),
            ("nothing under way", &["sled"], Some("sled")),
            ("while the first was built", &["sled.building"], None),
            ("while it was built", &["sled", "sled.building"], Some("sled")),
            ("complete, not exchanged", &["sled", "sled.new"], Some("sled")),
            ("the old one moved", &["sled.old", "sled.new"], Some("sled.new")),
            ("the damaged one set aside", &["sled.new"], Some("sled.new")),
            ("exchanged", &["sled", "sled.old"], Some("sled")),
            ("the new one was taken away", &["sled.old"], Some("sled.old")),
            ("everything", &["sled", "sled.new", "sled.old", "sled.building"], Some("sled")),
        ];
        for (case, names, want) in cases {
            let folder = tempfile::tempdir().expect("temporary folder");
            let dir = folder.path();
            for name in *names {
                fs::create_dir_all(dir.join(name).join("blobs")).expect("made");
                fs::write(dir.join(name).join("db"), name).expect("written");
            }
            for _ in 0..2 {
                recover(dir).expect(case);
                assert_eq!(fs::read_to_string(dir.join("sled/db")).ok().as_deref(), *want, "{case}");
                let left = fs::read_dir(dir).expect("listed").count();
                assert_eq!(left, usize::from(want.is_some()), "{case}: nothing else is left");
            }
        }
    }

    #[test]
    fn folders_set_aside_are_counted_and_never_replaced() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let dir = folder.path();
        for number in 1..=3 {
            fs::create_dir_all(live(dir)).expect("made");
            fs::write(live(dir).join("db"), number.to_string()).expect("written");
            fs::create_dir_all(building(dir)).expect("made");
            complete(dir).expect("complete");
            let aside = make_aside(dir).expect("made");
            set_aside(dir, &aside).expect("set aside");
            let kept = fs::read_to_string(dir.join(format!("damaged-{number}/sled/db"))).expect("kept");
            assert_eq!(kept, number.to_string());
            assert!(live(dir).is_dir() && !dir.join(NEW).exists());
        }
    }
}
