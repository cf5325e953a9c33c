//! A store in memory, for tests and for clients that want to be a new device at each start.

use super::{Batch, Storage};
use crate::error::Result;
use parking_lot::Mutex;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Keeps everything until it is dropped, and wipes it then.
#[derive(Default)]
pub struct MemoryStorage {
    records: Mutex<HashMap<String, Zeroizing<Vec<u8>>>>,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> MemoryStorage {
        MemoryStorage::default()
    }
}

impl Storage for MemoryStorage {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(self.records.lock().get(key).cloned())
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        let mut records = self.records.lock();
        for (key, value) in batch.into_changes() {
            match value {
                Some(value) => records.insert(key, value),
                None => records.remove(&key),
            };
        }
        Ok(())
    }

    fn keys(&self) -> Result<Option<Vec<String>>> {
        Ok(Some(self.records.lock().keys().cloned().collect()))
    }
}
