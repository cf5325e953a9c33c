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

    pub(in crate::manager) fn iter(&self) -> impl ExactSizeIterator<Item = &([u8; 32], String)> {
        self.0.iter()
    }

    /// Returns the levels as they were stored.
    pub(in crate::manager) fn from_stored(levels: Vec<([u8; 32], String)>) -> TrustLevels {
        TrustLevels(levels)
    }
}
