//! How many failed keys each prefix has, counted once and kept up to date while a sweep runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::pattern::PrefixTime;
use crate::state::{SourceKey, State, StateError};

/// Failed keys read at once.
const PAGE: usize = 150;

/// The numbers of failed keys, by head of the leaf and prefix.
#[derive(Debug, Default)]
pub(super) struct FailedKeys(Mutex<BTreeMap<String, BTreeMap<PrefixTime, u64>>>);

impl FailedKeys {
    /// Counts those of a source anew.
    pub fn read(&self, state: &dyn State, source: SourceKey) -> Result<(), StateError> {
        self.counts().clear();
        let mut after: Option<String> = None;
        loop {
            let page = state.all_failed(source, after.as_deref(), PAGE)?;
            for (_, object) in &page {
                self.add(&object.leaf, object.time);
            }
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }

    /// A key of this prefix is failed now, and was not before.
    pub fn add(&self, head: &str, time: PrefixTime) {
        let mut counts = self.counts();
        let of_leaf = match counts.get_mut(head) {
            Some(of_leaf) => of_leaf,
            None => counts.entry(head.to_owned()).or_default(),
        };
        *of_leaf.entry(time).or_default() += 1;
    }

    /// A failed key of this prefix is settled.
    pub fn remove(&self, head: &str, time: PrefixTime) {
        let mut counts = self.counts();
        let Some(of_leaf) = counts.get_mut(head) else { return };
        if let Some(count) = of_leaf.get_mut(&time) {
            *count -= 1;
            if *count == 0 {
                of_leaf.remove(&time);
            }
        }
        if of_leaf.is_empty() {
            counts.remove(head);
        }
    }

    /// The prefixes of a leaf that have failed keys.
    pub fn of(&self, head: &str) -> BTreeSet<PrefixTime> {
        self.counts().get(head).map(|of_leaf| of_leaf.keys().copied().collect()).unwrap_or_default()
    }

    /// Whether a prefix has any.
    pub fn holds(&self, head: &str, time: PrefixTime) -> bool {
        self.counts().get(head).is_some_and(|of_leaf| of_leaf.contains_key(&time))
    }

    /// Whether a leaf has any.
    pub fn holds_any(&self, head: &str) -> bool {
        self.counts().contains_key(head)
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<PrefixTime, u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_there_as_long_as_one_of_its_keys_failed() {
        let time = |minutes| PrefixTime::from_minutes(minutes).expect("a time");
        let failed = FailedKeys::default();
        failed.add("a/", time(0));
        failed.add("a/", time(0));
        failed.add("a/", time(1440));
        assert_eq!(failed.of("a/"), BTreeSet::from([time(0), time(1440)]));
        failed.remove("a/", time(0));
        assert!(failed.holds("a/", time(0)), "one is left");
        failed.remove("a/", time(0));
        assert!(!failed.holds("a/", time(0)) && failed.holds_any("a/"));
        failed.remove("a/", time(1440));
        failed.remove("a/", time(1440));
        assert!(!failed.holds_any("a/") && failed.of("b/").is_empty());
    }
}
