//! State on disk: the database, and the sidecar, which tells an emptied or older database from a
//! good one. Each batch is durable in the database before the sidecar tells of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tracing::{debug, warn};

use super::blocks::Operation;
use super::database::{Database, await_release, build};
use super::lock::{LockError, StateLock};
use super::packed::Changes;
use super::rebuild::{self, KnownSource, Rebuilt};
use super::sidecar::{self, Sidecar, SidecarError, SidecarIdentity, SidecarSource};
use super::{
    Batch, Change, MAX_BATCH, Pair, SourceKey, SourceRecord, State, StateError, format, history, swap,
};
use crate::failpoint;

/// Leaves named in the warning of a rebuild; the rest is counted.
const NAMED: usize = 50;

const SEQUENCE: &str = "sequence";
const INSTANCE: &str = "instance";

/// The state of one instance in its directory.
pub struct DiskState {
    database: RwLock<Database>,
    dir: PathBuf,
    overgrown: Overgrown,
    /// Not written anew below this size: at half of it there was no room for a new file.
    too_large_from: AtomicU64,
    sidecar: Mutex<Sidecar>,
    _lock: Arc<StateLock>,
}

/// When a database is written anew.
#[derive(Clone, Copy, Debug)]
struct Overgrown {
    /// The file has more than this many hundredths of its live data.
    percent: u64,
    /// And has more bytes than this.
    bytes: u64,
}

/// So the file stays under 3 times its live data, or under 4 MiB, eight of sled's segments: it is
/// looked at after each fold, and grows by 1 to 2 MiB until the next one. A new file is 1.7 to 2
/// times its live data. `benches/state.rs` measures it over a month.
const OVERGROWN: Overgrown = Overgrown { percent: 250, bytes: 2 * 1024 * 1024 };

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
        state.pack_plain()?;
        let state = DiskState { overgrown, ..state };
        state.rewrite_when_overgrown(&mut state.database_mut())?;
        Ok(state)
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
            state.database().verify()?;
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
        let mut state = DiskState {
            database: RwLock::new(Database::open(dir)?),
            dir: dir.to_owned(),
            overgrown: OVERGROWN,
            too_large_from: AtomicU64::new(0),
            sidecar: Mutex::new(Sidecar::new(instance.to_owned())),
            _lock: lock.clone(),
        };
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
        // what is kept lies aside by now: this writes the sidecar
        self.pack_plain()?;
        for forgotten in rebuild::forget_rechecks(&self, &changes)?.chunks(MAX_BATCH / 2) {
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
        let changes = rebuilt.changes.iter().map(format::encode);
        let pairs =
            changes.filter_map(|(key, value)| Some((key, value?))).chain(own(sequence, instance)).map(Ok);
        build(dir, std::iter::empty(), pairs)?;
        swap::complete(dir)
            .and_then(|()| await_release(&swap::live(dir)))
            .and_then(|()| swap::set_aside(dir, &aside))
            .map_err(|source| io(format!("exchange the database in {}", dir.display()), source))?;
        let state = Self::open_locked(dir, instance, true, None, lock)?;
        {
            let fresh = state.sidecar.lock().unwrap_or_else(PoisonError::into_inner);
            sidecar::write(dir, &fresh)?;
        }
        state.pack_plain()?;
        Ok(state)
    }

    fn database(&self) -> RwLockReadGuard<'_, Database> {
        // A panic elsewhere leaves the database as it is on disk, or without what is only noted.
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn database_mut(&self) -> RwLockWriteGuard<'_, Database> {
        self.database.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What versions before the packing kept in pairs of their own. The sidecar of this version
    /// comes first: from then on those versions refuse the state.
    fn pack_plain(&self) -> Result<(), StateError> {
        let mut database = self.database_mut();
        if !database.has_plain()? {
            return Ok(());
        }
        {
            let sidecar = self.sidecar.lock().unwrap_or_else(PoisonError::into_inner);
            sidecar::write(&self.dir, &sidecar)?;
        }
        database.pack_plain()
    }

    /// Exchanges a database whose file is far larger than what lives in it. Where there is no room
    /// for a new file, the old one goes on until it has doubled.
    fn rewrite_when_overgrown(&self, database: &mut Database) -> Result<(), StateError> {
        let before = database.size()?;
        let least = self.overgrown.bytes.max(self.too_large_from.load(Ordering::Relaxed));
        if before <= least || before <= self.overgrown.percent.saturating_mul(database.live()?) / 100 {
            return Ok(());
        }
        match database.rewrite() {
            Ok(()) => {
                let after = database.size()?;
                debug!(before, after, "the database had grown and was written anew; bytes");
                Ok(())
            }
            Err(StateError::Io { what, source }) if database.is_open() => {
                warn!(error = %source, "the database has grown and cannot be written anew ({what}); it goes on as it is");
                self.too_large_from.store(before.saturating_mul(2), Ordering::Relaxed);
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    fn sequence(&self) -> u64 {
        self.sidecar.lock().unwrap_or_else(PoisonError::into_inner).sequence
    }

    /// Bytes of the database's file, and of all keys and values in it as they are stored; reads
    /// everything.
    pub fn footprint(&self) -> Result<(u64, u64), StateError> {
        let database = self.database();
        Ok((database.size()?, database.live()?))
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
}

impl State for DiskState {
    fn apply(&self, batch: &Batch) -> Result<(), StateError> {
        let mut sidecar = self.sidecar.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = sidecar.sequence + 1;
        let (packed, mut others): (Vec<Operation>, Vec<Operation>) =
            batch.0.iter().map(format::encode).partition(|(key, _)| format::is_packed(key));
        let packed: Changes = packed.into_iter().collect();
        others.extend(own(sequence, &sidecar.instance).map(|(key, value)| (key, Some(value))));
        let chunks = self.database().write(others, &packed)?;
        self.database_mut().note(packed, chunks);
        sidecar.sequence = sequence;
        note(&mut sidecar, batch);
        failpoint::hit("before-sidecar");
        sidecar::write(&self.dir, &sidecar)?;
        let mut database = self.database_mut();
        if database.fold_when_due()? {
            self.rewrite_when_overgrown(&mut database)?;
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.database().get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        self.database().scan(from, to, limit)
    }
}

/// Stored beside every batch: its number, and whose state it is.
fn own(sequence: u64, instance: &str) -> [Pair; 2] {
    [
        (format::meta_key(SEQUENCE), format::json(&sequence)),
        (format::meta_key(INSTANCE), format::json(&instance)),
    ]
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
            | Change::DeleteQuarantined(..)
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

pub(super) fn damaged(dir: &Path, what: &str) -> StateError {
    StateError::Damaged {
        what: format!(
            "{} ({what}); restore the directory from a copy, or run once with --rebuild-state",
            dir.display()
        ),
    }
}

pub(super) fn io(what: String, source: std::io::Error) -> StateError {
    StateError::Io { what: format!("failed to {what}"), source }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
