//! Maps in memory that cannot grow without bound: the oldest entry makes room. What known JIDs and strangers cause lies
//! in two maps, so that strangers never push a known JID's entry out.

use super::standing::Standing;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map of so many entries at most.
pub(in crate::manager) struct Bounded<K, V> {
    most: usize,
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    pub(in crate::manager) fn new(most: usize) -> Bounded<K, V> {
        Bounded { most, entries: HashMap::new(), order: VecDeque::new() }
    }

    pub(in crate::manager) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(in crate::manager) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub(in crate::manager) fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.entries.remove(key);
        // The queue may name what is gone; it is rewritten before it grows beyond twice the map.
        if self.order.len() > self.most.saturating_mul(2) {
            self.order.retain(|key| self.entries.contains_key(key));
        }
        removed
    }

    /// Adds an entry; returns the one that had to go.
    pub(in crate::manager) fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        if self.entries.insert(key.clone(), value).is_some() {
            return None;
        }
        self.order.push_back(key);
        while self.entries.len() > self.most {
            let oldest = self.order.pop_front()?;
            if let Some(gone) = self.entries.remove(&oldest) {
                return Some((oldest, gone));
            }
        }
        if self.order.len() > self.most.saturating_mul(2) {
            let mut seen = std::collections::HashSet::new();
            self.order.retain(|key| self.entries.contains_key(key) && seen.insert(key.clone()));
        }
        None
    }

    pub(in crate::manager) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut()
    }

    pub(in crate::manager) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.entries.retain(|key, value| keep(key, value));
        self.order.retain(|key| self.entries.contains_key(key));
    }
}

/// Two bounded maps: of known JIDs, and of strangers.
pub(in crate::manager) struct ByStanding<K, V> {
    known: Bounded<K, V>,
    strangers: Bounded<K, V>,
}

impl<K: Clone + Eq + Hash, V> ByStanding<K, V> {
    pub(in crate::manager) fn new(known: usize, strangers: usize) -> ByStanding<K, V> {
        ByStanding { known: Bounded::new(known), strangers: Bounded::new(strangers) }
    }

    pub(in crate::manager) fn get(&self, key: &K) -> Option<&V> {
        self.known.get(key).or_else(|| self.strangers.get(key))
    }

    /// Returns whose entry one is, if it is there.
    pub(in crate::manager) fn standing(&self, key: &K) -> Option<Standing> {
        match (self.known.get(key), self.strangers.get(key)) {
            (Some(_), _) => Some(Standing::Known),
            (None, Some(_)) => Some(Standing::Stranger),
            (None, None) => None,
        }
    }

    pub(in crate::manager) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if self.known.get(key).is_some() { self.known.get_mut(key) } else { self.strangers.get_mut(key) }
    }

    /// Adds an entry; returns the one that had to go.
    pub(in crate::manager) fn insert(&mut self, standing: Standing, key: K, value: V) -> Option<(K, V)> {
        let (to, other) = match standing {
            Standing::Known => (&mut self.known, &mut self.strangers),
            Standing::Stranger => (&mut self.strangers, &mut self.known),
        };
        other.remove(&key);
        to.insert(key, value)
    }

    pub(in crate::manager) fn remove(&mut self, key: &K) -> Option<V> {
        self.known.remove(key).or_else(|| self.strangers.remove(key))
    }

    pub(in crate::manager) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.known.values_mut().chain(self.strangers.values_mut())
    }

    pub(in crate::manager) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.known.retain(&keep);
        self.strangers.retain(&keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_strangers_push_out_no_known_entry() {
        let mut map = ByStanding::new(2, 2);
        assert_eq!(map.insert(Standing::Known, 1, 'a'), None);
        for stranger in 10..1_000 {
            let gone = map.insert(Standing::Stranger, stranger, 's');
            assert_eq!(gone, (stranger >= 12).then(|| (stranger - 2, 's')));
        }
        assert_eq!(map.get(&1), Some(&'a'));
        assert_eq!(map.insert(Standing::Known, 999, 'k'), None, "it moves to the known ones");
        assert_eq!(map.insert(Standing::Known, 3, 'c'), Some((1, 'a')));
        assert_eq!((map.get(&999), map.strangers.entries.len()), (Some(&'k'), 1));
    }

    #[test]
    fn what_is_removed_and_added_again_does_not_let_the_queue_grow() {
        let mut map = Bounded::new(3);
        for round in 0..100 {
            map.insert(1, round);
            map.insert(2, round);
            map.remove(&1);
        }
        assert!(map.order.len() <= 7);
        assert!(map.get(&1).is_none() && map.get(&2) == Some(&99));
    }
}
