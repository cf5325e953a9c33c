//! Which manager a number belongs to: operations and requests are numbers that are never used again, and need no manager
//! to be spoken of.
//!
//! The tables hold weak references, and their locks are held for nothing but a look: nothing else is locked meanwhile, so
//! that there is no order of locks between managers.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Ids, and what each belongs to.
pub(in crate::ffi) struct IdRegistry<T>(Mutex<BTreeMap<u64, Weak<T>>>);

impl<T> IdRegistry<T> {
    pub(in crate::ffi) const fn new() -> IdRegistry<T> {
        IdRegistry(Mutex::new(BTreeMap::new()))
    }

    pub(in crate::ffi) fn insert(&self, id: u64, owner: &Arc<T>) {
        self.0.lock().insert(id, Arc::downgrade(owner));
    }

    pub(in crate::ffi) fn remove(&self, id: u64) {
        let removed = self.0.lock().remove(&id);
        drop(removed);
    }

    /// What an id belongs to; `None` where it is over.
    pub(in crate::ffi) fn owner(&self, id: u64) -> Option<Arc<T>> {
        self.0.lock().get(&id).and_then(Weak::upgrade)
    }
}
