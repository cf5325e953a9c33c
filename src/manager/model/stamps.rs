//! The order of facts: of each subject (the list of a JID, the key of a device, the level of a key) the stamp of the
//! newest fact that was taken over. What the client said earlier never undoes what it said later.

use super::super::api::request::Stamp;
use super::bounded::ByStanding;
use super::standing::Standing;
use std::hash::Hash;

/// See the module.
pub(in crate::manager) struct NewestStamps<K> {
    newest: ByStanding<K, Stamp>,
    /// The newest stamp of a subject that is not remembered any more.
    floor: Stamp,
}

impl<K: Clone + Eq + Hash> NewestStamps<K> {
    pub(in crate::manager) fn new(known: usize, strangers: usize) -> NewestStamps<K> {
        NewestStamps { newest: ByStanding::new(known, strangers), floor: Stamp::default() }
    }

    /// Returns whether a fact is older than what its subject holds. Of a subject that is not remembered everything
    /// older than the last forgotten one counts as old: it is asked for again at worst.
    pub(in crate::manager) fn is_outdated(&self, subject: &K, stamp: Stamp) -> bool {
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("older-fact-applied") {
            return false;
        }
        stamp < *self.newest.get(subject).unwrap_or(&self.floor)
    }

    /// Takes note of a fact that was taken over.
    pub(in crate::manager) fn remember(&mut self, standing: Standing, subject: K, stamp: Stamp) {
        let stamp = self.newest.get(&subject).copied().unwrap_or_default().max(stamp);
        if let Some((_, gone)) = self.newest.insert(standing, subject, stamp) {
            self.floor = self.floor.max(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_fact_is_outdated_and_the_same_one_is_not() {
        let mut stamps = NewestStamps::new(2, 2);
        assert!(!stamps.is_outdated(&'a', Stamp(0)) && !stamps.is_outdated(&'a', Stamp(3)));
        stamps.remember(Standing::Known, 'a', Stamp(3));
        assert!(stamps.is_outdated(&'a', Stamp(2)));
        assert!(!stamps.is_outdated(&'a', Stamp(3)) && !stamps.is_outdated(&'b', Stamp(1)));
        // What comes late makes nothing older.
        stamps.remember(Standing::Known, 'a', Stamp(1));
        assert!(stamps.is_outdated(&'a', Stamp(2)));
    }

    #[test]
    fn everything_older_than_the_newest_forgotten_fact_is_outdated() {
        let mut stamps = NewestStamps::new(2, 2);
        for (subject, stamp) in [('a', 9), ('b', 5), ('c', 2), ('d', 3)] {
            stamps.remember(Standing::Stranger, subject, Stamp(stamp));
        }
        // Forgotten are a and b.
        for subject in ['a', 'b', 'x'] {
            assert!(stamps.is_outdated(&subject, Stamp(8)) && !stamps.is_outdated(&subject, Stamp(9)));
        }
        assert!(!stamps.is_outdated(&'c', Stamp(2)));
    }
}
