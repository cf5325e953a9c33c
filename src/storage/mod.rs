//! Where records are kept: two functions, load one and commit a batch. Knows nothing of what a record means.

#[cfg(test)]
pub(crate) mod laws;
pub mod memory;
pub mod sqlite;
mod sqlite_error;
mod sqlite_file;
#[cfg(feature = "bundled-sqlite")]
mod sqlite_memory;
mod sqlite_schema;
#[cfg(test)]
mod tests;

use crate::error::Result;
use indexmap::IndexMap;
use zeroize::Zeroizing;

/// What one call changes: all of it or nothing. A key stands in it at most once. Values are wiped when dropped.
#[derive(Default)]
pub struct Batch {
    changes: IndexMap<String, Option<Zeroizing<Vec<u8>>>>,
}

impl Batch {
    /// Store `value` under `key`, which is ASCII of at most 200 bytes, `[a-z0-9/]`; an earlier change of the same key is
    /// replaced.
    pub fn put(&mut self, key: impl Into<String>, value: impl Into<Zeroizing<Vec<u8>>>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    /// Delete `key`; an earlier change of the same key is replaced.
    pub fn delete(&mut self, key: impl Into<String>) {
        self.changes.insert(key.into(), None);
    }

    /// The change of a key, if there is one; `None` within: it is deleted.
    pub fn get(&self, key: &str) -> Option<&Option<Zeroizing<Vec<u8>>>> {
        self.changes.get(key)
    }

    /// Adds the changes of another batch, which replace earlier ones of the same keys.
    pub fn append(&mut self, later: Batch) {
        self.changes.extend(later.changes);
    }

    /// Each key with its new value, or with nothing where it is deleted, in the order in which the keys first came.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = (&str, Option<&[u8]>)> {
        self.changes.iter().map(|(key, value)| (key.as_str(), value.as_ref().map(|value| value.as_slice())))
    }

    /// The same, taken over.
    pub fn into_changes(self) -> impl ExactSizeIterator<Item = (String, Option<Zeroizing<Vec<u8>>>)> {
        self.changes.into_iter()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A store. Both functions may block on a disk, never on a network or a person.
pub trait Storage: Send + Sync {
    /// What is stored under `key`.
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>>;

    /// Make all changes or none; durable on return. After a failure the store decides whether it happened.
    fn commit(&self, batch: Batch) -> Result<()>;

    /// All keys, if the store can tell them. The account never needs them: they find what nothing refers to.
    fn keys(&self) -> Result<Option<Vec<String>>> {
        Ok(None)
    }
}
