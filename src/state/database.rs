//! The database of the state, in sled. The only file that names sled.
//!
//! sled's `flush` writes neither the file's size nor the disk's cache: after a power cut most
//! databases that were only flushed were empty or could not be opened. So each batch is followed
//! by a `sync_data` of our own on sled's file. sled reuses the space of its file slowly, and a pair
//! costs several times its bytes: so what is many is packed, and a file that has outgrown its
//! live data is written anew and exchanged.

use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::error;

use super::blocks::{self, Blocks, Operation, Pairs, Stored};
use super::packed::Changes;
use super::{MAX_BATCH, Pair, StateError, disk::damaged, disk::io, format, swap};
use crate::{failpoint, failure};

/// sled's cache, in bytes of its file; in memory they are about twice as many.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;
/// sled has 256 caches, each of which looks at what it may let go at every 64th use of its pages
/// only: read once, a whole database stays in memory. So a pair that is read in a row counts as one
/// use of its page, and as another one for so many bytes of it.
const BYTES_PER_USE: usize = 1024;
/// How often sled's own thread syncs and collects garbage; without it memory is never returned.
const FLUSH_EVERY_MS: u64 = 200;

/// How often and how long sled's own lock is waited for.
const LOCK_TRIES: u32 = 300;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// How long closing a database is waited for; a large one on a slow disk takes seconds.
const CLOSING: Duration = Duration::from_secs(30);

/// Plain pairs that are packed at once.
const PLAIN_PAGE: usize = 1000;

/// An open database. Readers see every batch that was written and noted; while blocks change
/// nobody may read.
pub(super) struct Database {
    /// `None` only where opening failed after an exchange.
    files: Option<Files>,
    blocks: Blocks,
    /// The folder of the state.
    dir: PathBuf,
}

struct Files {
    db: sled::Db,
    file: File,
    folder: PathBuf,
    /// Closes the database when this goes.
    _closing: Closing,
}

impl Database {
    /// Opens the database of the state in `dir`, creating it when there is none.
    pub(super) fn open(dir: &Path) -> Result<Self, StateError> {
        let files = Files::open(&swap::live(dir))?;
        let blocks = Blocks::open(&files)?;
        Ok(Database { files: Some(files), blocks, dir: dir.to_owned() })
    }

    fn files(&self) -> Result<&Files, StateError> {
        self.files.as_ref().ok_or_else(|| damaged(&self.dir, "the database was not opened again"))
    }

    /// Whether it can go on after an error.
    pub(super) fn is_open(&self) -> bool {
        self.files.is_some()
    }

    /// Writes one batch, whole or not at all; it is durable on return. `changes` are those of
    /// packed pairs; readers see them once they are noted with the number that is returned.
    pub(super) fn write(
        &self,
        mut operations: Vec<Operation>,
        changes: &Changes,
    ) -> Result<usize, StateError> {
        let chunks = self.blocks.journal(changes);
        let number = chunks.len();
        operations.extend(chunks);
        self.files()?.write(operations)?;
        Ok(number)
    }

    /// Changes that were written in so many chunks.
    pub(super) fn note(&mut self, changes: Changes, chunks: usize) {
        self.blocks.note(changes, chunks);
    }

    /// Folds what waits into the blocks when there is enough of it; tells whether it did.
    pub(super) fn fold_when_due(&mut self) -> Result<bool, StateError> {
        if !self.blocks.is_due() {
            return Ok(false);
        }
        self.fold()?;
        Ok(true)
    }

    fn fold(&mut self) -> Result<(), StateError> {
        let files = self.files()?;
        files.write_steps(self.blocks.fold(files)?)?;
        self.blocks.folded();
        Ok(())
    }

    /// Whether it still holds pairs of their own that are packed by now, as earlier versions left
    /// them.
    pub(super) fn has_plain(&self) -> Result<bool, StateError> {
        let files = self.files()?;
        Ok(plain_pairs(files).next().transpose()?.is_some())
    }

    /// Packs them; may be repeated.
    pub(super) fn pack_plain(&mut self) -> Result<(), StateError> {
        let files = self.files()?;
        loop {
            let page: Changes = plain_pairs(files)
                .take(PLAIN_PAGE)
                .map(|pair| pair.map(|(key, value)| (key, Some(value))))
                .collect::<Result<_, _>>()?;
            if page.is_empty() {
                return Ok(());
            }
            let mut steps = blocks::fold(files, &page)?;
            steps.extend(page.into_keys().map(|key| vec![(key, None)]));
            files.write_steps(steps)?;
        }
    }

    /// One value.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let files = self.files()?;
        if format::is_packed(key) {
            return self.blocks.get(files, key);
        }
        Ok(files.call("read", |db| db.get(key))?.map(|value| value.to_vec()))
    }

    /// Up to `limit` pairs with `from <= key < to`, packed ones each on its own.
    pub(super) fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        let files = self.files()?;
        let mut page: Vec<Pair> = Vec::new();
        let mut begin = [format::FIRST];
        for tag in format::PACKED {
            let (first, behind) = ([tag], [tag + 1]);
            for pair in stretch(files, from.max(&begin), to.min(&first)).take(limit - page.len()) {
                page.push(pair?);
            }
            page.extend(self.blocks.scan(files, from.max(&first), to.min(&behind), limit - page.len())?);
            begin = behind;
        }
        for pair in stretch(files, from.max(&begin), to).take(limit - page.len()) {
            page.push(pair?);
        }
        Ok(page)
    }

    /// Reads everything once: sled finds damage only where it looks.
    pub(super) fn verify(&self) -> Result<(), StateError> {
        let files = self.files()?;
        let read =
            || files.all().try_for_each(|pair| pair.and_then(|(key, value)| format::check(&key, &value)));
        quietly(read).unwrap_or_else(|| Err(damaged(&self.dir, "the database cannot be read")))
    }

    /// Bytes of its file.
    pub(super) fn size(&self) -> Result<u64, StateError> {
        self.files()?.call("look at the size", |db| db.size_on_disk())
    }

    /// Bytes of all keys and values as they are stored.
    pub(super) fn live(&self) -> Result<u64, StateError> {
        self.files()?
            .all()
            .try_fold(0, |live, pair| pair.map(|(key, value)| live + (key.len() + value.len()) as u64))
    }

    /// The same pairs in a new file, which takes the place of the old one. A failure before the
    /// exchange leaves the old one open.
    pub(super) fn rewrite(&mut self) -> Result<(), StateError> {
        let files = self.files()?;
        let keys = files.all().map(|pair| pair.map(|(key, _)| key));
        let built = build(&self.dir, keys, files.all()).and_then(|()| {
            swap::complete(&self.dir)
                .map_err(|source| io(format!("complete a new database in {}", self.dir.display()), source))
        });
        if built.is_err() {
            // the room it takes may be what is missing; the next attempt and the next start remove it too
            let _ = swap::clear_unfinished(&self.dir);
        }
        built?;
        self.files = None;
        await_release(&swap::live(&self.dir))
            .and_then(|()| swap::exchange(&self.dir))
            .map_err(|source| io(format!("exchange the database in {}", self.dir.display()), source))?;
        self.files = Some(Files::open(&swap::live(&self.dir))?);
        Ok(())
    }
}

/// Stored pairs with `from <= key < to`; none where that is no range.
fn stretch<'f>(files: &'f Files, from: &[u8], to: &[u8]) -> Pairs<'f> {
    if from < to { files.range(from, to) } else { Box::new(std::iter::empty()) }
}

/// Pairs of kinds that are packed, each stored on its own.
fn plain_pairs(files: &Files) -> impl Iterator<Item = Result<Pair, StateError>> {
    format::PACKED.into_iter().flat_map(|tag| files.range(&[tag], &[tag + 1]))
}

impl Files {
    /// Opens the database in a folder.
    fn open(folder: &Path) -> Result<Self, StateError> {
        remove_snapshot_leftovers(folder)?;
        let db = open_db(folder)?;
        let path = folder.join("db");
        let file = File::open(&path).map_err(|source| io(format!("open {}", path.display()), source))?;
        let closing = Closing(Some(db.clone()));
        Ok(Files { db, file, folder: folder.to_owned(), _closing: closing })
    }

    /// Calls sled. What it does on damage that it meets is sometimes a panic, which becomes an error.
    fn call<T>(&self, what: &str, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StateError> {
        match catch_unwind(AssertUnwindSafe(|| work(&self.db))) {
            Ok(done) => done.map_err(|error| self.failed(what, error)),
            Err(panic) => {
                let said = failure::panic_text(&*panic);
                Err(damaged(&self.folder, &format!("cannot {what}: {said}")))
            }
        }
    }

    /// Writes one batch and makes it durable.
    fn write(&self, operations: Vec<Operation>) -> Result<(), StateError> {
        self.apply(operations)?;
        self.sync()
    }

    fn apply(&self, operations: Vec<Operation>) -> Result<(), StateError> {
        let mut batch = sled::Batch::default();
        for operation in operations {
            match operation {
                (key, Some(value)) => batch.insert(key, value),
                (key, None) => batch.remove(key),
            }
        }
        self.call("write a batch", |db| db.apply_batch(batch))
    }

    fn sync(&self) -> Result<(), StateError> {
        self.call("flush a batch", |db| db.flush())?;
        failpoint::hit("between-batch-and-sync");
        self.file
            .sync_data()
            .map_err(|source| io(format!("sync the state in {}", self.folder.display()), source))
    }

    /// Writes steps in this order, none in two batches.
    fn write_steps(&self, steps: Vec<Vec<Operation>>) -> Result<(), StateError> {
        let mut batch = Vec::new();
        for step in steps {
            if batch.len() + step.len() > MAX_BATCH / 2 && !batch.is_empty() {
                self.write(std::mem::take(&mut batch))?;
            }
            batch.extend(step);
        }
        self.write(batch)
    }

    /// Lets sled see that the page of a pair is used; see [`BYTES_PER_USE`].
    fn use_page(&self, key: &[u8], bytes: usize) -> Result<(), StateError> {
        for _ in 0..=bytes / BYTES_PER_USE {
            self.call("read", |db| db.contains_key(key))?;
        }
        Ok(())
    }

    /// All stored pairs.
    fn all(&self) -> Pairs<'_> {
        self.range(&[0], &[u8::MAX])
    }

    fn failed(&self, what: &str, error: sled::Error) -> StateError {
        match error {
            sled::Error::Io(source) => io(format!("{what} in {}", self.folder.display()), source),
            other => damaged(&self.folder, &other.to_string()),
        }
    }
}

impl Stored for Files {
    fn range(&self, from: &[u8], to: &[u8]) -> Pairs<'_> {
        let range = self.db.range(from.to_vec()..to.to_vec());
        Box::new(Stretch { files: self, range, ended: false })
    }
}

/// Stored pairs, up to the first error.
struct Stretch<'f> {
    files: &'f Files,
    range: sled::Iter,
    ended: bool,
}

/// A step at one of its ends.
type Step = fn(&mut sled::Iter) -> Option<sled::Result<(sled::IVec, sled::IVec)>>;

impl Stretch<'_> {
    fn step(&mut self, step: Step) -> Option<Result<Pair, StateError>> {
        if self.ended {
            return None;
        }
        let range = &mut self.range;
        let pair = self.files.call("read", |_| step(range).transpose()).transpose()?;
        self.ended = pair.is_err();
        Some(pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}

impl Iterator for Stretch<'_> {
    type Item = Result<Pair, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.step(sled::Iter::next);
        if let Some(Ok((key, value))) = &pair
            && let Err(error) = self.files.use_page(key, value.len())
        {
            self.ended = true;
            return Some(Err(error));
        }
        pair
    }
}

impl DoubleEndedIterator for Stretch<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(sled::Iter::next_back)
    }
}

/// A database that is closed when this goes. sled waits for its own thread, for ever where that has
/// panicked: closing is waited for, but not longer than [`CLOSING`].
struct Closing(Option<sled::Db>);

impl Drop for Closing {
    fn drop(&mut self) {
        let Some(db) = self.0.take() else { return };
        let (closed, closing) = mpsc::channel::<()>();
        let work = move || {
            let _closed = closed; // it goes after the database, also in a panic
            drop(db);
        };
        // without a thread the closure goes here, and the database with it
        if std::thread::Builder::new().name("close the state".into()).spawn(work).is_ok()
            && closing.recv_timeout(CLOSING) == Err(RecvTimeoutError::Timeout)
        {
            error!(
                "the database does not close; what was committed is durable, and the program goes on without it"
            );
        }
    }
}

/// sled leaves these behind when it is stopped while it writes a snapshot; an empty one makes
/// every later open fail. Deleting snapshots is harmless: the log is replayed.
fn remove_snapshot_leftovers(db_dir: &Path) -> Result<(), StateError> {
    let Ok(entries) = std::fs::read_dir(db_dir) else {
        return Ok(()); // not created yet
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let empty = entry.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if name.starts_with("snap.") && (name.ends_with(".generating") || empty) {
            std::fs::remove_file(entry.path())
                .map_err(|source| io(format!("remove {}", entry.path().display()), source))?;
        }
    }
    Ok(())
}

/// Opens sled. Its threads hold its own lock a moment longer than the database that was dropped:
/// ours says that nobody else is there, so that is waited for.
fn open_db(db_dir: &Path) -> Result<sled::Db, StateError> {
    let mut tries = 0;
    loop {
        match try_open_db(db_dir) {
            Err(StateError::Io { source, .. }) if tries < LOCK_TRIES && is_held(&source) => {
                tries += 1;
                #[allow(clippy::disallowed_methods, reason = "opening blocks, and nobody counts this time")]
                std::thread::sleep(LOCK_WAIT);
            }
            other => return other,
        }
    }
}

/// sled tells of its lock in words only.
fn is_held(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// What sled does on a damaged file is sometimes a panic, which becomes an error here.
fn try_open_db(db_dir: &Path) -> Result<sled::Db, StateError> {
    let config =
        sled::Config::new().path(db_dir).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
    match quietly(|| config.open()).ok_or(()) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(source))) => {
            Err(io(format!("open the database in {}", db_dir.display()), source))
        }
        Ok(Err(other)) => Err(damaged(db_dir, &other.to_string())),
        Err(()) => Err(damaged(db_dir, "the database cannot be opened")),
    }
}

/// Runs what may panic on damaged bytes; `None` when it did.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    // The panic's own report would name sled's source lines; the error says what to do.
    // The hook is the process's: two that take turns out of order would leave it silent.
    static HOOK: Mutex<()> = Mutex::new(());
    let _turn = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = catch_unwind(AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    done.ok()
}

/// Writes pairs into a new database beside the live one; when it returns nobody has it open.
///
/// The keys come first, without values, and split the nodes of the tree while they are small: sled
/// writes a node as a whole when it splits. The values then come once.
pub(super) fn build(
    dir: &Path,
    keys: impl Iterator<Item = Result<Vec<u8>, StateError>>,
    pairs: impl Iterator<Item = Result<Pair, StateError>>,
) -> Result<(), StateError> {
    let cleared = swap::clear_unfinished(dir);
    cleared.map_err(|source| io(format!("remove what is left in {}", dir.display()), source))?;
    let files = Files::open(&swap::building(dir))?;
    let shape = keys.map(|key| Ok((key?, Some(Vec::new()))));
    let values = pairs.map(|pair| pair.map(|(key, value)| (key, Some(value))));
    let mut operations = shape.chain(values).peekable();
    while operations.peek().is_some() {
        files.apply(operations.by_ref().take(MAX_BATCH).collect::<Result<_, _>>()?)?;
    }
    // once: a flush per batch writes the same pages again and again
    files.sync()?;
    let folder = files.folder.clone();
    drop(files);
    await_release(&folder).map_err(|source| io(format!("close {}", folder.display()), source))
}

/// Waits until sled's threads have let go of a database that was dropped.
pub(super) fn await_release(db_dir: &Path) -> std::io::Result<()> {
    let file = match File::open(db_dir.join("db")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            #[allow(clippy::disallowed_methods, reason = "opening blocks, and nobody counts this time")]
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_WAIT),
        }
    }
    Err(std::io::ErrorKind::WouldBlock.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_database_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let database = Database::open(folder.path()).expect("opened");
        let files = database.files().expect("open");
        let error = files.call::<()>("read", |_| panic!("not what I wrote")).expect_err("it panicked");
        let text = error.to_string();
        assert!(matches!(error, StateError::Damaged { .. }), "{text}");
        for part in [&*folder.path().to_string_lossy(), "cannot read: not what I wrote", "--rebuild-state"] {
            assert!(text.contains(part), "{text}");
        }
        let mut stretch = Stretch { files, range: files.db.range::<&[u8], _>(..), ended: false };
        assert!(stretch.step(|_| panic!("again")).is_some_and(|pair| pair.is_err()));
        assert!(stretch.next().is_none() && stretch.next_back().is_none(), "nothing after an error");
    }
}
