//! A cache bounded by bytes: what was used longest ago goes first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

struct Slot<V> {
    value: Arc<V>,
    bytes: usize,
    used: u64,
}

/// See the module.
pub(super) struct Cache<K, V> {
    most: usize,
    bytes: usize,
    slots: HashMap<K, Slot<V>>,
    by_use: BTreeMap<u64, K>,
    last: u64,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// Makes an empty cache of so many bytes at most.
    pub(super) fn new(most: usize) -> Cache<K, V> {
        Cache { most, bytes: 0, slots: HashMap::new(), by_use: BTreeMap::new(), last: 0 }
    }

    /// Returns a value, which counts as used now.
    pub(super) fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let used = self.last.saturating_add(1);
        let slot = self.slots.get_mut(key)?;
        let (value, before) = (slot.value.clone(), std::mem::replace(&mut slot.used, used));
        self.last = used;
        if let Some(key) = self.by_use.remove(&before) {
            self.by_use.insert(used, key);
        }
        Some(value)
    }

    /// Returns a value as it is.
    pub(super) fn peek(&self, key: &K) -> Option<&Arc<V>> {
        self.slots.get(key).map(|slot| &slot.value)
    }

    /// Adds a value of about so many bytes.
    pub(super) fn insert(&mut self, key: K, value: Arc<V>, bytes: usize) {
        self.remove(&key);
        self.last = self.last.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.by_use.insert(self.last, key.clone());
        self.slots.insert(key, Slot { value, bytes, used: self.last });
        while self.bytes > self.most {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            if let Some(slot) = self.slots.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(slot.bytes);
            }
        }
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(slot) = self.slots.remove(key) {
            self.bytes = self.bytes.saturating_sub(slot.bytes);
            self.by_use.remove(&slot.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut cache = Cache::new(100);
        for key in 0..3 {
            cache.insert(key, Arc::new(key), 40);
        }
        assert!(cache.peek(&0).is_none() && cache.peek(&1).is_some());
        cache.get(&1);
        cache.insert(3, Arc::new(3), 40);
        assert!(cache.peek(&2).is_none() && cache.peek(&1).is_some());
        cache.remove(&1);
        cache.insert(1, Arc::new(1), 1_000);
        assert!(
            cache.slots.is_empty() && cache.by_use.is_empty() && cache.bytes == 0,
            "what is too large is not kept"
        );
    }
}
