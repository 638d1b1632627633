//! A state over another one that it never changes: what a dry run would store stays in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Batch, Pair, State, StateError, format};

/// Reads through to a base, keeps all changes to itself.
pub struct OverlayState {
    base: Arc<dyn State>,
    /// `None` hides a pair of the base.
    changes: Mutex<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl OverlayState {
    /// An overlay without changes.
    pub fn new(base: Arc<dyn State>) -> Self {
        OverlayState { base, changes: Mutex::default() }
    }

    fn changes(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for OverlayState {
    fn apply(&self, batch: &Batch) -> Result<(), StateError> {
        self.changes().extend(batch.0.iter().map(format::encode));
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        match self.changes().get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let changes = self.changes();
        let changed: Vec<_> = changes.range(from.to_vec()..to.to_vec()).collect();
        // Hidden pairs take up room in the base's page, so that much more is read.
        let below = self.base.scan(from, to, limit.saturating_add(changed.len()))?;
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = below.into_iter().collect();
        for (key, value) in changed {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().take(limit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::memory::MemoryState;
    use crate::state::{Change, SourceKey};

    const SOURCE: SourceKey = SourceKey { id: 1, generation: 1 };

    fn leaf(head: &str) -> Change {
        let record = crate::state::LeafRecord {
            closed_through: crate::pattern::PrefixTime::OPEN_ENDED,
            sparse_until: None,
            dropped: false,
        };
        Change::PutLeaf(SOURCE, head.to_owned(), record)
    }

    #[test]
    fn changes_are_seen_and_the_base_stays() {
        let base: Arc<dyn State> = Arc::new(MemoryState::default());
        base.apply(&Batch(vec![leaf("a"), leaf("b"), leaf("c")])).unwrap();
        let over: Arc<dyn State> = Arc::new(OverlayState::new(base.clone()));
        let hidden = format::encode(&leaf("a")).0;
        over.apply(&Batch(vec![Change::DeleteStale(hidden), leaf("d")])).unwrap();
        let heads = |state: &Arc<dyn State>, limit| -> Vec<String> {
            state.leaves(SOURCE, None, limit).unwrap().into_iter().map(|(head, _)| head).collect()
        };
        assert_eq!(heads(&over, 9), ["b", "c", "d"]);
        assert_eq!(heads(&over, 1), ["b"], "a page is full although the base's first pair is hidden");
        assert_eq!(heads(&base, 9), ["a", "b", "c"]);
    }
}
