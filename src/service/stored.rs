//! What the state holds of each source, counted and bounded, for metrics and the status page.
//!
//! Reads only, in pages; blocks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::SourceConfig;
use crate::state::{FailedObject, LastSweep, Quarantined, SourceKey, State, StateError};

/// Objects and leaves that are named one by one.
pub const NAMED: usize = 20;
/// Objects that are counted at most.
pub const COUNTED: u64 = 100_000;
/// Objects read at once.
const PAGE: usize = 500;

/// One source.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Not swept since then.
    pub paused: Option<DateTime<Utc>>,
    /// How the last sweep ended, of any run.
    pub last_sweep: Option<LastSweep>,
    /// Leaves that are known and still there.
    pub leaves: usize,
    /// The newest settled object of each leaf that has one, the oldest first: those that lag most.
    pub newest: Vec<(String, DateTime<Utc>)>,
    /// Objects that wait to be tried again.
    pub failed: u64,
    /// The first of them, by key.
    pub failed_objects: Vec<(String, FailedObject)>,
    /// Objects in the quarantine.
    pub quarantined: u64,
    /// The first of them, by key.
    pub quarantined_objects: Vec<Quarantined>,
}

impl Stored {
    /// Time of the newest settled object of the source.
    pub fn newest_of_all(&self) -> Option<DateTime<Utc>> {
        self.newest.last().map(|(_, at)| *at)
    }

    /// The leaf that lags most.
    pub fn worst_leaf(&self) -> Option<&(String, DateTime<Utc>)> {
        self.newest.first()
    }
}

/// Reads what the state holds of these sources, by name. `remembered` is what an earlier reading
/// found: a leaf whose open prefixes have no object keeps the newest one of before.
pub fn read(
    state: &dyn State,
    configs: &[Arc<SourceConfig>],
    remembered: &BTreeMap<String, Stored>,
) -> Result<BTreeMap<String, Stored>, StateError> {
    let mut all = BTreeMap::new();
    for config in configs {
        all.insert(config.name.clone(), read_source(state, config, remembered.get(&config.name))?);
    }
    let (mut after, mut counted): (Option<Vec<u8>>, u64) = (None, 0);
    while counted < COUNTED {
        let page = state.quarantine(after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        counted += page.len() as u64;
        after = page.last().map(|(key, _)| key.clone());
        for (_, object) in page {
            let Some(stored) = all.get_mut(&object.source) else { continue };
            stored.quarantined += 1;
            if stored.quarantined_objects.len() < NAMED {
                stored.quarantined_objects.push(object);
            }
        }
        if is_last {
            break;
        }
    }
    Ok(all)
}

fn read_source(
    state: &dyn State,
    config: &SourceConfig,
    before: Option<&Stored>,
) -> Result<Stored, StateError> {
    let mut stored = Stored { paused: state.paused(&config.name)?, ..Stored::default() };
    let Some(record) = state.source(&config.name)? else { return Ok(stored) };
    stored.last_sweep = record.last_sweep.clone();
    // A changed pattern begins anew with the next sweep: what is stored is of the old one.
    if record.pattern != config.pattern.to_string() || record.bucket != config.bucket.name() {
        return Ok(stored);
    }
    read_failed(state, record.key(), &mut stored)?;
    let before: BTreeMap<_, _> =
        before.iter().flat_map(|before| &before.newest).map(|(leaf, at)| (leaf.as_str(), *at)).collect();
    for (head, leaf_record) in state.leaves(record.key(), None, usize::MAX)? {
        let Some(leaf) = config.pattern.leaf(&head).filter(|_| !leaf_record.dropped) else { continue };
        stored.leaves += 1;
        let name = leaf.name();
        let markers = state.markers(record.key(), &head)?;
        let newest = markers.iter().filter_map(|(_, marker)| marker.newest_at);
        if let Some(at) = newest.chain(before.get(name.as_str()).copied()).max() {
            stored.newest.push((name, at));
        }
    }
    stored.newest.sort_by(|(a, a_at), (b, b_at)| a_at.cmp(b_at).then_with(|| a.cmp(b)));
    Ok(stored)
}

fn read_failed(state: &dyn State, key: SourceKey, stored: &mut Stored) -> Result<(), StateError> {
    let mut after: Option<String> = None;
    while stored.failed < COUNTED {
        let page = state.all_failed(key, after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        stored.failed += page.len() as u64;
        after = page.last().map(|(key, _)| key.clone());
        let room = NAMED - stored.failed_objects.len();
        stored.failed_objects.extend(page.into_iter().take(room));
        if is_last {
            break;
        }
    }
    Ok(())
}

/// Size of the files in a folder and those below it. What goes away meanwhile is not counted.
pub fn size_of(folder: &Path) -> u64 {
    let (mut sum, mut waiting) = (0, vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // of the entry itself: links are not followed
            match entry.metadata() {
                Ok(entry_is) if entry_is.is_dir() => waiting.push(entry.path()),
                Ok(entry_is) if entry_is.is_file() => sum += entry_is.len(),
                Ok(_) | Err(_) => {}
            }
        }
    }
    sum
}
