//! Which manager a number belongs to: operations and requests are numbers that are never used again, and need no manager
//! to be spoken of.
//!
//! The tables hold weak references, and their locks are held for nothing but a look: nothing else is locked meanwhile, so
//! that there is no order of locks between managers.

use super::super::runtime::core::{User, omemo_manager};
use crate::error::{Error, Result, Status};
use crate::manager::api::question::Answer;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Numbers, each with its manager.
pub(in crate::ffi) struct Numbers(Mutex<BTreeMap<u64, Weak<omemo_manager>>>);

/// Open questions.
pub(in crate::ffi) static REQUESTS: Numbers = Numbers(Mutex::new(BTreeMap::new()));
/// Running operations.
pub(in crate::ffi) static OPERATIONS: Numbers = Numbers(Mutex::new(BTreeMap::new()));

impl Numbers {
    pub(in crate::ffi) fn insert(&self, number: u64, manager: &Arc<omemo_manager>) {
        self.0.lock().insert(number, Arc::downgrade(manager));
    }

    pub(in crate::ffi) fn remove(&self, number: u64) {
        let removed = self.0.lock().remove(&number);
        drop(removed);
    }

    /// Returns the manager of a number; a freed manager has no numbers any more.
    pub(in crate::ffi) fn user(&self, number: u64) -> Result<User> {
        let manager = self.0.lock().get(&number).and_then(Weak::upgrade);
        let user = manager.and_then(|manager| User::enter(manager).ok());
        user.ok_or(Error::from(Status::Stale))
    }
}

/// Answers a request of any manager.
pub(in crate::ffi) fn answer(request: u64, answer: Answer) -> Result<()> {
    let manager = REQUESTS.user(request)?;
    answer_to(&manager, request, answer)
}

/// Answers a request of this manager.
pub(in crate::ffi) fn answer_to(manager: &omemo_manager, request: u64, answer: Answer) -> Result<()> {
    let answered = manager.manager().answer(request, answer);
    let over = answered.as_ref().err().is_none_or(|error| error.status() == Status::Stale);
    if over {
        REQUESTS.remove(request);
    }
    answered
}
