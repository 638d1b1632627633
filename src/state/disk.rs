//! State on disk, in sled. The only file that names sled.
//!
//! sled's `flush` writes neither the file's size nor the disk's cache: after a power cut most
//! databases that were only flushed were empty or could not be opened. So each batch is followed
//! by a `sync_data` of our own on sled's file, and by the sidecar, which tells an emptied or
//! older database from a good one.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::lock::{LockError, StateLock};
use super::rebuild::{self, KnownSource, Rebuilt};
use super::sidecar::{self, Sidecar, SidecarError, SidecarIdentity, SidecarSource};
use super::{Batch, Change, Pair, SourceKey, SourceRecord, State, StateError, format, history, swap};
use crate::failpoint;

/// sled's cache; its whole footprint is about twice this.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How often sled's own thread syncs and collects garbage; without it memory is never returned.
const FLUSH_EVERY_MS: u64 = 200;

/// How often and how long sled's own lock is waited for.
const LOCK_TRIES: u32 = 300;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// Pairs written per batch where a database is made anew; larger ones make sled's memory run away.
const BUILD_BATCH: usize = 200;
/// Leaves named in the warning of a rebuild; the rest is counted.
const NAMED: usize = 50;

const SEQUENCE: &str = "sequence";
const INSTANCE: &str = "instance";

/// The state of one instance in its directory.
pub struct DiskState {
    db: sled::Db,
    file: File,
    dir: PathBuf,
    sidecar: Mutex<Sidecar>,
    lock: Arc<StateLock>,
}

/// When a database is written anew at start.
#[derive(Clone, Copy, Debug)]
struct Overgrown {
    /// The file is more than this many times its live data.
    factor: u64,
    /// And has more bytes than this.
    bytes: u64,
}

/// Measured by `a_month_of_closings` with 10,000 and with 100,000 keys a day, closed daily: the
/// file is 5 to 8 times the live data when it is new, 12 to 14 times from the second day on, and
/// stays there. Beyond 20 times it is the remains of a larger ledger, as a first sweep of years
/// leaves it. A file of less than 64 MiB is not worth the writing.
const OVERGROWN: Overgrown = Overgrown { factor: 20, bytes: 64 * 1024 * 1024 };

impl DiskState {
    /// Whether `dir` holds a state at all.
    pub fn exists(dir: &Path) -> bool {
        sidecar::path_of(dir).exists() || swap::live(dir).exists()
    }

    /// Opens the state of `instance` in `dir`, creating it when there is none. A database whose
    /// file is far larger than what lives in it is written anew.
    ///
    /// Fails when another instance holds it, when the database is behind its sidecar (emptied or
    /// restored from an old copy), or when it belongs to another instance and not `adopt`.
    pub fn open(dir: &Path, instance: &str, adopt: bool) -> Result<Self, StateError> {
        Self::open_unless(dir, instance, adopt, OVERGROWN)
    }

    fn open_unless(
        dir: &Path,
        instance: &str,
        adopt: bool,
        overgrown: Overgrown,
    ) -> Result<Self, StateError> {
        let lock = Arc::new(StateLock::acquire(dir)?);
        recover(dir)?;
        let state = Self::open_locked(dir, instance, adopt, sidecar::read(dir)?, &lock)?;
        if state.is_overgrown(overgrown)? { state.rewritten(instance) } else { Ok(state) }
    }

    /// Makes the state of `instance` in `dir` anew from what sidecar, history and the configured
    /// sources (`known`) tell, where the database or the sidecar is lost or damaged; logs what may
    /// be delivered a second time. What was there is moved to a folder `damaged-1`, never deleted.
    ///
    /// Fails with [`StateError::NothingToRebuild`] on a state that is whole, and like
    /// [`DiskState::open`] on one that is another's or a later version's.
    pub fn rebuild(
        dir: &Path,
        instance: &str,
        adopt: bool,
        known: &[KnownSource],
    ) -> Result<Self, StateError> {
        let lock = Arc::new(StateLock::acquire(dir)?);
        recover(dir)?;
        if !Self::exists(dir) && !has_history(dir)? {
            return Err(nothing_to_rebuild(dir));
        }
        let (sidecar, bad_sidecar) = match sidecar::read(dir) {
            Ok(sidecar) => (sidecar, None),
            Err(error @ SidecarError::Damaged { .. }) => (None, Some(error.to_string())),
            Err(other) => return Err(other.into()),
        };
        let opened = Self::open_locked(dir, instance, adopt, sidecar.clone(), &lock).and_then(|state| {
            state.verify()?;
            Ok(state)
        });
        let what = match (opened, bad_sidecar) {
            (Ok(state), bad_sidecar) if bad_sidecar.is_none() || state.sequence() > 0 => {
                return state.mended(bad_sidecar);
            }
            (Ok(_), bad_sidecar) => bad_sidecar.unwrap_or_default(),
            (Err(StateError::Damaged { what }), _) => what,
            (Err(other), _) => return Err(other),
        };
        if let Some(found) = sidecar.as_ref().map(|sidecar| &sidecar.instance)
            && found != instance
            && !adopt
        {
            return Err(foreign(dir, found, instance));
        }
        warn!("rebuilding the state: {what}");
        Self::made_anew(dir, instance, sidecar.as_ref(), known, &lock)
    }

    fn open_locked(
        dir: &Path,
        instance: &str,
        adopt: bool,
        sidecar: Option<Sidecar>,
        lock: &Arc<StateLock>,
    ) -> Result<Self, StateError> {
        let (db, file) = open_files(&swap::live(dir))?;
        let blank = Sidecar::new(instance.to_owned());
        let mut state =
            DiskState { db, file, dir: dir.to_owned(), sidecar: Mutex::new(blank), lock: lock.clone() };
        state.check(sidecar, instance, adopt)?;
        state.sync_folders()?;
        Ok(state)
    }

    /// A state whose database is whole, with sidecar and history brought to it.
    fn mended(self, bad_sidecar: Option<String>) -> Result<Self, StateError> {
        let changes = rebuild::mend_history(&self.dir, &(&self as &dyn State).history()?)?;
        if bad_sidecar.is_none() && changes.is_empty() {
            return Err(nothing_to_rebuild(&self.dir));
        }
        let aside =
            swap::make_aside(&self.dir).map_err(|source| io("keep what is damaged".into(), source))?;
        if let Some(what) = bad_sidecar {
            warn!(kept = %aside.display(), "the sidecar is made anew from the database, and nothing comes twice: {what}");
            keep_copy(&sidecar::path_of(&self.dir), &aside)?;
        }
        for change in &changes {
            let (Change::PutHistory(file, _) | Change::DeleteHistory(file)) = change else { continue };
            warn!(file, "a history file lost bytes: what was behind them is unknown to rechecks and audits");
            let path = history::path_of(&self.dir, file);
            if path.exists() {
                keep_copy(&path, &aside)?;
            }
        }
        for forgotten in rebuild::forget_rechecks(&self, &changes)?.chunks(BUILD_BATCH) {
            self.apply(&Batch(forgotten.to_vec()))?;
        }
        self.apply(&Batch(changes))?;
        Ok(self)
    }

    fn made_anew(
        dir: &Path,
        instance: &str,
        sidecar: Option<&Sidecar>,
        known: &[KnownSource],
        lock: &Arc<StateLock>,
    ) -> Result<Self, StateError> {
        let rebuilt = rebuild::rebuild(dir, sidecar, known)?;
        let aside = swap::make_aside(dir).map_err(|source| io("keep what is damaged".into(), source))?;
        tell(&rebuilt, &aside);
        let lost = rebuilt.damaged_history.iter().map(|file| history::path_of(dir, file));
        let unread = sidecar.is_none().then(|| sidecar::path_of(dir)).filter(|path| path.exists());
        for file in lost.chain(unread) {
            keep_copy(&file, &aside)?;
        }
        // one ahead of the sidecar: what was there cannot be taken for this one
        let sequence = sidecar.map_or(0, |sidecar| sidecar.sequence) + 1;
        let own = [
            (format::meta_key(SEQUENCE), format::json(&sequence)),
            (format::meta_key(INSTANCE), format::json(&instance)),
        ];
        let changes = rebuilt.changes.iter().map(format::encode);
        let pairs = changes.filter_map(|(key, value)| Some((key, value?))).chain(own).map(Ok);
        build(dir, pairs)?;
        swap::complete(dir)
            .and_then(|()| await_release(&swap::live(dir)))
            .and_then(|()| swap::set_aside(dir, &aside))
            .map_err(|source| io(format!("exchange the database in {}", dir.display()), source))?;
        let state = Self::open_locked(dir, instance, true, None, lock)?;
        {
            let fresh = state.sidecar.lock().unwrap_or_else(PoisonError::into_inner);
            sidecar::write(dir, &fresh)?;
        }
        Ok(state)
    }

    /// Reads everything once: sled finds damage only where it looks.
    fn verify(&self) -> Result<(), StateError> {
        let read = || -> Result<(), StateError> {
            for pair in self.db.iter() {
                let (key, value) = pair.map_err(|error| self.failed("read", error))?;
                format::check(&key, &value)?;
            }
            Ok(())
        };
        quietly(read).unwrap_or_else(|| Err(damaged(&self.dir, "the database cannot be read")))
    }

    fn is_overgrown(&self, overgrown: Overgrown) -> Result<bool, StateError> {
        let stored = self.db.size_on_disk().map_err(|error| self.failed("look at the size", error))?;
        if stored <= overgrown.bytes {
            return Ok(false);
        }
        let mut live = 0;
        for pair in self.db.iter() {
            let (key, value) = pair.map_err(|error| self.failed("read", error))?;
            live += (key.len() + value.len()) as u64;
        }
        Ok(stored > overgrown.factor.saturating_mul(live))
    }

    /// The same pairs in a new file. Where there is no room for it, the old one goes on.
    fn rewritten(self, instance: &str) -> Result<Self, StateError> {
        let dir = self.dir.clone();
        let before = self.db.size_on_disk().map_err(|error| self.failed("look at the size", error))?;
        let pairs = self.db.iter().map(|pair| {
            let (key, value) = pair.map_err(|error| self.failed("read", error))?;
            Ok((key.to_vec(), value.to_vec()))
        });
        match build(&dir, pairs) {
            Ok(()) => {}
            Err(StateError::Io { what, source }) => {
                warn!(error = %source, "the database has grown and cannot be written anew ({what}); it goes on as it is");
                return Ok(self);
            }
            Err(other) => return Err(other),
        }
        let DiskState { db, file, lock, .. } = self;
        drop((db, file));
        await_release(&swap::live(&dir))
            .and_then(|()| swap::complete(&dir))
            .and_then(|()| swap::exchange(&dir))
            .map_err(|source| io(format!("exchange the database in {}", dir.display()), source))?;
        let state = Self::open_locked(&dir, instance, true, sidecar::read(&dir)?, &lock)?;
        let after = state.db.size_on_disk().map_err(|error| state.failed("look at the size", error))?;
        info!(before, after, "the database had grown and was written anew; bytes");
        Ok(state)
    }

    fn sequence(&self) -> u64 {
        self.sidecar.lock().unwrap_or_else(PoisonError::into_inner).sequence
    }

    /// Directory of the state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn check(&mut self, sidecar: Option<Sidecar>, instance: &str, adopt: bool) -> Result<(), StateError> {
        let sequence = self.meta::<u64>(SEQUENCE)?.unwrap_or(0);
        let behind = sidecar.as_ref().map_or(0, |sidecar| sidecar.sequence);
        if sequence < behind {
            return Err(StateError::Damaged {
                what: format!(
                    "the database in {} ends at batch {sequence}, its sidecar at {behind}: it was emptied or is an old copy; \
                     restore both from one copy, or run once with --rebuild-state",
                    self.dir.display()
                ),
            });
        }
        if sequence == 0 && sidecar.is_none() && has_history(&self.dir)? {
            // Opening the history of an empty state would remove it.
            return Err(StateError::Damaged {
                what: format!(
                    "database and sidecar in {} are gone, but its history is there; restore them from a copy, \
                     or run once with --rebuild-state",
                    self.dir.display()
                ),
            });
        }
        let owner = self.meta::<String>(INSTANCE)?.or_else(|| sidecar.map(|sidecar| sidecar.instance));
        if let Some(found) = owner.filter(|found| found != instance && !adopt) {
            return Err(foreign(&self.dir, &found, instance));
        }
        let rebuilt = self.sidecar_from_state(instance, sequence)?;
        self.sidecar = Mutex::new(rebuilt);
        Ok(())
    }

    /// The sidecar that the database as it is would have.
    fn sidecar_from_state(&self, instance: &str, sequence: u64) -> Result<Sidecar, StateError> {
        let state: &dyn State = self;
        let mut sidecar = Sidecar::new(instance.to_owned());
        sidecar.sequence = sequence;
        sidecar.sink = state.sink()?;
        sidecar.dead_letter = state.dead_letter()?.unwrap_or(0);
        for (name, record) in state.sources()? {
            let leaves = state.leaves(record.key(), None, usize::MAX)?;
            let leaves =
                leaves.into_iter().map(|(head, leaf)| (head, leaf.closed_through.to_string())).collect();
            sidecar.sources.insert(name, SidecarSource { leaves, ..sidecar_source(&record) });
        }
        Ok(sidecar)
    }

    fn meta<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        self.get(&format::meta_key(name))?.map(|value| format::decode_json(&value)).transpose()
    }

    fn sync_folders(&self) -> Result<(), StateError> {
        for dir in [swap::live(&self.dir), self.dir.clone()] {
            File::open(&dir)
                .and_then(|folder| folder.sync_all())
                .map_err(|source| io(format!("sync {}", dir.display()), source))?;
        }
        Ok(())
    }

    fn failed(&self, what: &str, error: sled::Error) -> StateError {
        match error {
            sled::Error::Io(source) => io(format!("{what} in {}", self.dir.display()), source),
            other => damaged(&self.dir, &other.to_string()),
        }
    }
}

impl State for DiskState {
    fn apply(&self, batch: &Batch) -> Result<(), StateError> {
        let mut sidecar = self.sidecar.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = sidecar.sequence + 1;
        let mut stored = sled::Batch::default();
        for change in &batch.0 {
            match format::encode(change) {
                (key, Some(value)) => stored.insert(key, value),
                (key, None) => stored.remove(key),
            }
        }
        stored.insert(format::meta_key(SEQUENCE), format::json(&sequence));
        stored.insert(format::meta_key(INSTANCE), format::json(&sidecar.instance));
        self.db.apply_batch(stored).map_err(|error| self.failed("write a batch", error))?;
        self.db.flush().map_err(|error| self.failed("flush a batch", error))?;
        failpoint::hit("between-batch-and-sync");
        self.file
            .sync_data()
            .map_err(|source| io(format!("sync the state in {}", self.dir.display()), source))?;
        sidecar.sequence = sequence;
        note(&mut sidecar, batch);
        failpoint::hit("before-sidecar");
        Ok(sidecar::write(&self.dir, &sidecar)?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.db.get(key).map_err(|error| self.failed("read", error))?.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.db
            .range(from.to_vec()..to.to_vec())
            .take(limit)
            .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
            .collect::<Result<_, _>>()
            .map_err(|error| self.failed("read", error))
    }
}

/// Brings the sidecar up to what a batch changed.
fn note(sidecar: &mut Sidecar, batch: &Batch) {
    for change in &batch.0 {
        match change {
            Change::PutSink(position) => sidecar.sink = Some(position.clone()),
            Change::PutDeadLetter(length) => sidecar.dead_letter = *length,
            Change::PutSource(name, record) => note_source(sidecar, name, record),
            Change::PutLeaf(key, head, leaf) => {
                if let Some(source) = sidecar_source_of(sidecar, *key) {
                    source.leaves.insert(head.clone(), leaf.closed_through.to_string());
                }
            }
            Change::DeleteLeaf(key, head) => {
                if let Some(source) = sidecar_source_of(sidecar, *key) {
                    source.leaves.remove(head);
                }
            }
            Change::PutPaused(..)
            | Change::DeletePaused(..)
            | Change::PutMarker(..)
            | Change::DeleteMarker(..)
            | Change::PutEntry(..)
            | Change::DeleteEntry(..)
            | Change::PutFailed(..)
            | Change::DeleteFailed(..)
            | Change::PutProgress(..)
            | Change::DeleteProgress(..)
            | Change::PutRecheck(..)
            | Change::DeleteRecheck(..)
            | Change::PutQuarantined(..)
            | Change::PutHistory(..)
            | Change::DeleteHistory(..)
            | Change::PutCleanup(..)
            | Change::DeleteCleanup(..)
            | Change::DeleteStale(..) => {}
        }
    }
}

fn sidecar_source_of(sidecar: &mut Sidecar, key: SourceKey) -> Option<&mut SidecarSource> {
    let (id, generation) = (u64::from(key.id), u64::from(key.generation));
    sidecar.sources.values_mut().find(|source| source.id == id && source.generation == generation)
}

fn note_source(sidecar: &mut Sidecar, name: &str, record: &SourceRecord) {
    let mut fresh = sidecar_source(record);
    if let Some(known) = sidecar.sources.remove(name)
        && known.generation == fresh.generation
    {
        fresh.leaves = known.leaves;
    }
    sidecar.sources.insert(name.to_owned(), fresh);
}

fn sidecar_source(record: &SourceRecord) -> SidecarSource {
    SidecarSource {
        id: u64::from(record.id),
        generation: u64::from(record.generation),
        start: Some(record.start),
        identity: Some(SidecarIdentity {
            bucket: record.bucket.clone(),
            pattern: record.pattern.clone(),
            floor_settings: record.floor_settings.clone(),
            floor_epoch: record.floor_epoch,
        }),
        leaves: BTreeMap::new(),
    }
}

impl From<LockError> for StateError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held { directory } => StateError::Locked { dir: directory.display().to_string() },
            LockError::Io { directory, source } => io(format!("lock {}", directory.display()), source),
        }
    }
}

impl From<SidecarError> for StateError {
    fn from(error: SidecarError) -> Self {
        match error {
            SidecarError::Io { tried, path, source } => io(format!("{tried} {}", path.display()), source),
            SidecarError::Newer { .. } => StateError::Newer { what: error.to_string() },
            SidecarError::Damaged { .. } => StateError::Damaged { what: error.to_string() },
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

/// Opens the database in a folder, and its file for our own syncs.
fn open_files(db_dir: &Path) -> Result<(sled::Db, File), StateError> {
    remove_snapshot_leftovers(db_dir)?;
    let db = open_db(db_dir)?;
    let path = db_dir.join("db");
    let file = File::open(&path).map_err(|source| io(format!("open {}", path.display()), source))?;
    Ok((db, file))
}

/// Writes pairs into a new database beside the live one; when it returns nobody has it open.
fn build(dir: &Path, pairs: impl Iterator<Item = Result<Pair, StateError>>) -> Result<(), StateError> {
    let folder = swap::building(dir);
    let failed = |error: sled::Error| match error {
        sled::Error::Io(source) => io(format!("write {}", folder.display()), source),
        other => damaged(&folder, &other.to_string()),
    };
    let (db, file) = open_files(&folder)?;
    let mut pairs = pairs.peekable();
    while pairs.peek().is_some() {
        let mut batch = sled::Batch::default();
        for pair in pairs.by_ref().take(BUILD_BATCH) {
            let (key, value) = pair?;
            batch.insert(key, value);
        }
        db.apply_batch(batch).map_err(failed)?;
    }
    // once: a flush per batch writes the same pages again and again
    db.flush().map_err(failed)?;
    file.sync_data().map_err(|source| io(format!("sync {}", folder.display()), source))?;
    drop((db, file));
    await_release(&folder).map_err(|source| io(format!("close {}", folder.display()), source))
}

/// Waits until sled's threads have let go of a database that was dropped.
fn await_release(db_dir: &Path) -> std::io::Result<()> {
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

/// One warning with what the operator has to know before anything is delivered.
fn tell(rebuilt: &Rebuilt, aside: &Path) {
    let again: Vec<_> = rebuilt.again.iter().take(NAMED).map(String::as_str).collect();
    let more = rebuilt.again.len().saturating_sub(NAMED);
    warn!(
        leaves = again.join("; "),
        more,
        notes = rebuilt.notes.join("; "),
        kept = %aside.display(),
        "records of objects that were collected under these open prefixes may be delivered a second time; \
         what was kept of the quarantine is lost, what closed prefixes delivered does not come again"
    );
}

fn keep_copy(file: &Path, aside: &Path) -> Result<(), StateError> {
    swap::keep_copy(file, aside).map_err(|source| io(format!("keep a copy of {}", file.display()), source))
}

fn recover(dir: &Path) -> Result<(), StateError> {
    swap::recover(dir)
        .map_err(|source| io(format!("finish exchanging the database in {}", dir.display()), source))
}

fn has_history(dir: &Path) -> Result<bool, StateError> {
    let files = history::list(dir).map_err(|error| StateError::Damaged { what: error.to_string() })?;
    Ok(files.values().any(|length| *length > 0))
}

fn nothing_to_rebuild(dir: &Path) -> StateError {
    StateError::NothingToRebuild { dir: dir.display().to_string() }
}

fn foreign(dir: &Path, found: &str, expected: &str) -> StateError {
    StateError::Foreign {
        dir: dir.display().to_string(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}

fn damaged(dir: &Path, what: &str) -> StateError {
    StateError::Damaged {
        what: format!(
            "{} ({what}); restore the directory from a copy, or run once with --rebuild-state",
            dir.display()
        ),
    }
}

fn io(what: String, source: std::io::Error) -> StateError {
    StateError::Io { what: format!("failed to {what}"), source }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
