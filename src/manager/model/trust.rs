//! Trust: levels that belong to a JID and an identity key, whatever devices and namespaces show that key.
//!
//! A key is told from others by its Curve25519 form, so that the sign of its Ed25519 form, which legacy hides, makes no
//! second entry.

use super::super::policy;
use crate::error::{Error, Result, Status};

/// The levels of one JID's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct TrustLevels(Vec<([u8; 32], String)>);

impl TrustLevels {
    /// Returns the name of a key's level, if the key was judged.
    pub(in crate::manager) fn get(&self, mont: &[u8; 32]) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == mont).map(|(_, level)| level.as_str())
    }

    /// Judges a key.
    pub(in crate::manager) fn set(&mut self, mont: &[u8; 32], level: &str) -> Result<()> {
        let room = self.0.len() < policy::TRUST_ENTRIES;
        match self.0.iter_mut().find(|(key, _)| key == mont) {
            Some((_, known)) => level.clone_into(known),
            None if room => self.0.push((*mont, level.to_owned())),
            None => return Err(Error::new(Status::Limit, "Too many keys of this JID have a trust level.")),
        }
        Ok(())
    }

    /// Returns all levels.
    pub(in crate::manager) fn levels(&self) -> &[([u8; 32], String)] {
        &self.0
    }

    /// Forgets the level of a key.
    pub(in crate::manager) fn remove(&mut self, mont: &[u8; 32]) {
        self.0.retain(|(key, _)| key != mont);
    }

    pub(in crate::manager) fn iter(&self) -> impl ExactSizeIterator<Item = &([u8; 32], String)> {
        self.0.iter()
    }

    /// Returns the levels as they were stored.
    pub(in crate::manager) fn from_stored(levels: Vec<([u8; 32], String)>) -> TrustLevels {
        TrustLevels(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_judgement_of_a_key_counts_and_their_number_is_limited() {
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
            key
        };
        let mut levels = TrustLevels::default();
        for number in 0..policy::TRUST_ENTRIES {
            levels.set(&key(number), "trusted").unwrap();
        }
        let error = levels.set(&key(policy::TRUST_ENTRIES), "trusted").unwrap_err();
        assert_eq!(error.status(), Status::Limit);
        levels.set(&key(1), "distrusted").unwrap();
        assert_eq!((levels.get(&key(0)), levels.get(&key(1))), (Some("trusted"), Some("distrusted")));
        assert_eq!(
            (levels.get(&key(policy::TRUST_ENTRIES)), levels.iter().len()),
            (None, policy::TRUST_ENTRIES)
        );
        assert_eq!(TrustLevels::from_stored(levels.iter().cloned().collect()), levels);
    }
}
