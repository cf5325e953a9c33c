//! A cache bounded by bytes: what was not used for long goes first.
//!
//! Use only notes a number: entries stand in a queue in the order in which they were added, and one that was used since
//! it was queued gets a second chance, at the end of the queue, when its turn to go comes. So a use costs one lookup
//! however much is kept. What was added last has all others before it.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

struct Entry<V> {
    value: Arc<V>,
    bytes: usize,
    used: u64,
    /// The number under which it stands in the queue.
    queued: u64,
}

/// See the module.
pub(super) struct Cache<K, V> {
    most: usize,
    bytes: usize,
    entries: HashMap<K, Entry<V>>,
    /// By when they were queued; some may have been taken out since.
    queue: VecDeque<(u64, K)>,
    last: u64,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// Makes an empty cache of so many bytes at most.
    pub(super) fn new(most: usize) -> Cache<K, V> {
        Cache { most, bytes: 0, entries: HashMap::new(), queue: VecDeque::new(), last: 0 }
    }

    /// Returns a value, which counts as used now.
    pub(super) fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let entry = self.entries.get_mut(key)?;
        self.last = self.last.saturating_add(1);
        entry.used = self.last;
        Some(entry.value.clone())
    }

    /// Returns a value as it is.
    pub(super) fn peek(&self, key: &K) -> Option<&Arc<V>> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Adds a value of about so many bytes.
    pub(super) fn insert(&mut self, key: K, value: Arc<V>, bytes: usize) {
        if bytes > self.most {
            return self.remove(&key);
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            self.last = self.last.saturating_add(1);
            self.bytes = self.bytes.saturating_sub(entry.bytes).saturating_add(bytes);
            (entry.value, entry.bytes, entry.used) = (value, bytes, self.last);
            return self.shrink(0);
        }
        self.shrink(bytes);
        self.last = self.last.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.queue.push_back((self.last, key.clone()));
        self.entries.insert(key, Entry { value, bytes, used: self.last, queued: self.last });
    }

    /// Lets entries go until so many bytes have room.
    fn shrink(&mut self, wanted: usize) {
        while self.bytes.saturating_add(wanted) > self.most {
            let Some((queued, key)) = self.queue.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.queued == queued) else {
                continue;
            };
            if entry.used > queued {
                entry.queued = entry.used;
                self.queue.push_back((entry.used, key));
            } else {
                self.remove(&key);
            }
        }
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, key: &K) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        // What was taken out leaves its place in the queue; these do not become more than what is kept.
        if self.queue.len() > self.entries.len().saturating_mul(2).saturating_add(16) {
            let entries = &self.entries;
            self.queue.retain(|(queued, key)| entries.get(key).is_some_and(|entry| entry.queued == *queued));
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
        assert!(cache.peek(&1).is_none() && cache.bytes == 40, "what is too large is not kept");
        cache.insert(3, Arc::new(3), 1_000);
        assert!(cache.entries.is_empty() && cache.bytes == 0, "nor what has become too large");
    }

    #[test]
    fn what_was_added_last_does_not_go_where_all_others_were_used() {
        let mut cache = Cache::new(100);
        cache.insert(0, Arc::new(0), 40);
        cache.insert(1, Arc::new(1), 40);
        cache.get(&1);
        cache.get(&0);
        cache.insert(2, Arc::new(2), 40);
        assert!(cache.peek(&2).is_some() && cache.bytes == 80);
    }

    #[test]
    fn a_value_that_is_replaced_counts_as_used_and_with_its_new_size() {
        let mut cache = Cache::new(100);
        cache.insert(0, Arc::new(0), 40);
        cache.insert(1, Arc::new(1), 40);
        cache.insert(0, Arc::new(7), 50);
        assert_eq!((cache.bytes, cache.peek(&0)), (90, Some(&Arc::new(7))));
        cache.insert(2, Arc::new(2), 40);
        assert!(cache.peek(&1).is_none() && cache.peek(&0).is_some() && cache.bytes == 90);
    }

    #[test]
    fn places_in_the_queue_do_not_become_more_and_more() {
        let mut cache = Cache::new(1_000);
        for round in 0..10_000 {
            cache.insert(round % 7, Arc::new(round), 100);
            cache.get(&(round % 5));
            cache.remove(&(round % 3));
        }
        assert!(cache.entries.len() <= 7 && cache.bytes == cache.entries.len() * 100, "{}", cache.bytes);
        assert!(cache.queue.len() <= 2 * 7 + 17, "{}", cache.queue.len());
        // One that was taken out and added again goes by its new place.
        let mut cache = Cache::new(100);
        cache.insert(0, Arc::new(0), 40);
        cache.insert(1, Arc::new(1), 40);
        cache.remove(&0);
        cache.insert(0, Arc::new(0), 40);
        cache.insert(2, Arc::new(2), 40);
        assert!(cache.peek(&1).is_none() && cache.peek(&0).is_some());
    }
}
