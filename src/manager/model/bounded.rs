//! Maps in memory that cannot grow without bound: the oldest entry makes room. What known JIDs and strangers cause lies
//! in two maps, so that strangers never push a known JID's entry out.

use super::standing::Standing;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map of so many entries at most.
pub(in crate::manager) struct Bounded<K, V> {
    most: usize,
    /// Each value with its number: the smaller, the longer it has been here.
    entries: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    pub(in crate::manager) fn new(most: usize) -> Bounded<K, V> {
        Bounded { most, entries: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    pub(in crate::manager) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    pub(in crate::manager) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    pub(in crate::manager) fn remove(&mut self, key: &K) -> Option<V> {
        let (number, value) = self.entries.remove(key)?;
        self.order.remove(&number);
        Some(value)
    }

    /// Adds an entry, or replaces its value in its place; returns the one that had to go.
    pub(in crate::manager) fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        if let Some(present) = self.get_mut(&key) {
            *present = value;
            return None;
        }
        self.order.insert(self.next, key.clone());
        self.entries.insert(key, (self.next, value));
        self.next = self.next.saturating_add(1);
        if self.entries.len() <= self.most {
            return None;
        }
        let (_, oldest) = self.order.pop_first()?;
        self.entries.remove(&oldest).map(|(_, value)| (oldest, value))
    }

    pub(in crate::manager) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut().map(|(_, value)| value)
    }

    pub(in crate::manager) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.entries.retain(|key, (_, value)| keep(key, value));
        self.order.retain(|_, key| self.entries.contains_key(key));
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
    fn what_is_removed_and_added_again_is_the_youngest() {
        let mut map = Bounded::new(3);
        for round in 0..100 {
            assert_eq!(map.insert(1, round), None);
            assert_eq!(map.insert(2, round), None);
            assert_eq!((map.remove(&1), map.remove(&1)), (Some(round), None));
        }
        assert_eq!((map.order.len(), map.get(&1), map.get(&2)), (1, None, Some(&99)));
        for key in [1, 3] {
            assert_eq!(map.insert(key, 100), None);
        }
        // A value that is replaced keeps its place.
        assert_eq!(map.insert(2, 101), None);
        assert_eq!(map.insert(4, 102), Some((2, 101)));
        assert_eq!(map.insert(5, 103), Some((1, 100)));
    }

    #[test]
    fn what_is_not_kept_leaves_room() {
        let mut map = ByStanding::new(2, 2);
        for key in 0..2 {
            map.insert(Standing::Known, key, 0);
            map.insert(Standing::Stranger, key + 10, 0);
        }
        map.values_mut().for_each(|value| *value += 1);
        map.retain(|key, value| *value == 1 && *key % 10 == 1);
        assert_eq!([0, 1, 10, 11].map(|key| map.get(&key).copied()), [None, Some(1), None, Some(1)]);
        assert_eq!((map.known.order.len(), map.strangers.order.len()), (1, 1));
        *map.get_mut(&11).unwrap() = 7;
        assert_eq!(map.insert(Standing::Stranger, 12, 2), None);
        assert_eq!(map.insert(Standing::Stranger, 13, 3), Some((11, 7)));
        assert_eq!((map.remove(&1), map.remove(&12)), (Some(1), Some(2)));
    }
}
