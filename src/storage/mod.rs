//! Where records are kept: two functions, load one and commit a batch. Knows nothing of what a record means.

mod memory;

pub use memory::MemoryStorage;

use crate::error::Result;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// One change of a batch. Values are wiped when dropped.
pub struct Change {
    /// ASCII of at most 200 bytes, `[a-z0-9/]`.
    pub key: String,
    /// What is to be stored, or `None` to delete.
    pub value: Option<Zeroizing<Vec<u8>>>,
}

/// What one call changes: all of it or nothing. A key stands in it at most once.
#[derive(Default)]
pub struct Batch {
    changes: Vec<Change>,
    positions: HashMap<String, usize>,
}

impl Batch {
    /// Store `value` under `key`; an earlier change of the same key is replaced.
    pub fn put(&mut self, key: impl Into<String>, value: Vec<u8>) {
        self.push(key.into(), Some(Zeroizing::new(value)));
    }

    /// Delete `key`; an earlier change of the same key is replaced.
    pub fn delete(&mut self, key: impl Into<String>) {
        self.push(key.into(), None);
    }

    /// The changes, in the order in which their keys first came.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn push(&mut self, key: String, value: Option<Zeroizing<Vec<u8>>>) {
        let known = self.positions.get(&key).and_then(|position| self.changes.get_mut(*position));
        match known {
            Some(change) => change.value = value,
            None => {
                self.positions.insert(key.clone(), self.changes.len());
                self.changes.push(Change { key, value });
            }
        }
    }
}

/// A store. Both functions may block on a disk, never on a network or a person.
pub trait Storage: Send + Sync {
    /// What is stored under `key`.
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>>;

    /// Make all changes or none; durable on return. After a failure the store decides whether it happened.
    fn commit(&self, batch: &Batch) -> Result<()>;
}
