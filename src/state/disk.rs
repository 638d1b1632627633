//! State on disk, in sled. The only file that names sled.
//!
//! sled's `flush` writes neither the file's size nor the disk's cache: after a power cut most
//! databases that were only flushed were empty or could not be opened. So each batch is followed
//! by a `sync_data` of our own on sled's file, and by the sidecar, which tells an emptied or
//! older database from a good one.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::lock::{LockError, StateLock};
use super::sidecar::{self, Sidecar, SidecarError, SidecarSource};
use super::{Batch, Change, Pair, SourceRecord, State, StateError, format};
use crate::failpoint;

/// sled's cache; its whole footprint is about twice this.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How often sled's own thread syncs and collects garbage; without it memory is never returned.
const FLUSH_EVERY_MS: u64 = 200;

/// How often and how long sled's own lock is waited for.
const LOCK_TRIES: u32 = 300;
const LOCK_WAIT: Duration = Duration::from_millis(10);

const SEQUENCE: &str = "sequence";
const INSTANCE: &str = "instance";

/// The state of one instance in its directory.
pub struct DiskState {
    db: sled::Db,
    file: File,
    dir: PathBuf,
    sidecar: Mutex<Sidecar>,
    _lock: StateLock,
}

impl DiskState {
    /// Whether `dir` holds a state at all.
    pub fn exists(dir: &Path) -> bool {
        sidecar_of(dir).exists() || db_dir(dir).exists()
    }

    /// Opens the state of `instance` in `dir`, creating it when there is none.
    ///
    /// Fails when another instance holds it, when the database is behind its sidecar (emptied or
    /// restored from an old copy), or when it belongs to another instance and not `adopt`.
    pub fn open(dir: &Path, instance: &str, adopt: bool) -> Result<Self, StateError> {
        let lock = StateLock::acquire(dir)?;
        let sidecar = sidecar::read(dir)?;
        remove_snapshot_leftovers(&db_dir(dir))?;
        let db = open_db(&db_dir(dir))?;
        let path = db_dir(dir).join("db");
        let file = File::open(&path).map_err(|source| io(format!("open {}", path.display()), source))?;
        let blank = Sidecar::new(instance.to_owned());
        let mut state = DiskState { db, file, dir: dir.to_owned(), sidecar: Mutex::new(blank), _lock: lock };
        state.check(sidecar, instance, adopt)?;
        state.sync_folders()?;
        Ok(state)
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
                     restore both from one copy, or move the directory away to begin anew",
                    self.dir.display()
                ),
            });
        }
        let owner = self.meta::<String>(INSTANCE)?.or_else(|| sidecar.map(|sidecar| sidecar.instance));
        if let Some(found) = owner.filter(|found| found != instance && !adopt) {
            return Err(StateError::Foreign {
                dir: self.dir.display().to_string(),
                found,
                expected: instance.to_owned(),
            });
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
        for dir in [db_dir(&self.dir), self.dir.clone()] {
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
                let (id, generation) = (u64::from(key.id), u64::from(key.generation));
                let source = sidecar
                    .sources
                    .values_mut()
                    .find(|source| source.id == id && source.generation == generation);
                if let Some(source) = source {
                    source.leaves.insert(head.clone(), leaf.closed_through.to_string());
                }
            }
            Change::PutMarker(..)
            | Change::DeleteMarker(..)
            | Change::PutEntry(..)
            | Change::DeleteEntry(..)
            | Change::PutFailed(..)
            | Change::DeleteFailed(..)
            | Change::PutProgress(..)
            | Change::DeleteProgress(..)
            | Change::PutQuarantined(..)
            | Change::PutHistory(..)
            | Change::DeleteHistory(..)
            | Change::PutCleanup(..)
            | Change::DeleteCleanup(..)
            | Change::DeleteStale(..) => {}
        }
    }
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
    // The panic's own report would name sled's source lines; the error below says what to do.
    // The hook is the process's: two that take turns out of order would leave it silent.
    static HOOK: Mutex<()> = Mutex::new(());
    let _turn = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    std::panic::set_hook(hook);
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(source))) => {
            Err(io(format!("open the database in {}", db_dir.display()), source))
        }
        Ok(Err(other)) => Err(damaged(db_dir, &other.to_string())),
        Err(_) => Err(damaged(db_dir, "the database cannot be opened")),
    }
}

fn db_dir(dir: &Path) -> PathBuf {
    dir.join("sled")
}

fn sidecar_of(dir: &Path) -> PathBuf {
    dir.join("sidecar.json")
}

fn damaged(dir: &Path, what: &str) -> StateError {
    StateError::Damaged {
        what: format!(
            "{} ({what}); restore the directory from a copy, or move it away to begin anew",
            dir.display()
        ),
    }
}

fn io(what: String, source: std::io::Error) -> StateError {
    StateError::Io { what: format!("failed to {what}"), source }
}
