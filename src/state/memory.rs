//! State in memory: for dry runs on a directory that does not exist yet, and for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Batch, Pair, State, StateError, format};

/// Keeps everything in one ordered map and loses it with the process.
#[derive(Debug, Default)]
pub struct MemoryState {
    pairs: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryState {
    /// Number of stored pairs.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        // A panic elsewhere cannot leave the map half-changed: every change is one insert.
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for MemoryState {
    fn apply(&self, batch: &Batch) -> Result<(), StateError> {
        let mut pairs = self.lock();
        for change in &batch.0 {
            match format::encode(change) {
                (key, Some(value)) => pairs.insert(key, value),
                (key, None) => pairs.remove(&key),
            };
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.lock().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let pairs = self.lock();
        Ok(pairs
            .range(from.to_vec()..to.to_vec())
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}
