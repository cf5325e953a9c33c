//! The calls that use a manager, and its end: the last one that leaves a freed manager ends it.

use super::super::boundary::ids::IdRegistry;
use super::super::boundary::{args, guard, handles};
use super::manager_handle::{OPERATIONS, REQUESTS, omemo_manager};
use crate::error::{Error, Result, Status};
use crate::manager::api::report::Outcome;
use crate::manager::api::request::Answer;
use crate::manager::api::services::{LogLevel, Services};
use std::ops::Deref;
use std::sync::Arc;

/// Returns a manager for the length of a call.
///
/// # Safety
/// `handle` must be NULL or come from `open`, and not have ended.
pub(in crate::ffi) unsafe fn enter(handle: *const omemo_manager) -> Result<CallGuard> {
    // SAFETY: the same promise.
    CallGuard::enter(args::required(unsafe { handles::shared(handle) })?)
}

/// A call that uses a manager, which does not end meanwhile.
pub(in crate::ffi) struct CallGuard {
    manager: Arc<omemo_manager>,
    /// The thread was panicking before the call.
    panicking: bool,
}

/// The manager of an open request or a running operation, for the length of a call. One that was freed has neither.
fn enter_by_id(registry: &IdRegistry<omemo_manager>, id: u64) -> Result<CallGuard> {
    let guard = registry.owner(id).and_then(|manager| CallGuard::enter(manager).ok());
    guard.ok_or(Error::from(Status::Stale))
}

/// The manager of a running operation, for the length of a call.
pub(in crate::ffi) fn enter_by_operation(op: u64) -> Result<CallGuard> {
    enter_by_id(&OPERATIONS, op)
}

/// The manager of an open request, for the length of a call.
pub(in crate::ffi) fn enter_by_request(request_id: u64) -> Result<CallGuard> {
    enter_by_id(&REQUESTS, request_id)
}

/// Answers a request of any manager.
pub(in crate::ffi) fn answer(request_id: u64, answer: Answer) -> Result<()> {
    enter_by_request(request_id)?.answer(request_id, answer)
}

impl Deref for CallGuard {
    type Target = Arc<omemo_manager>;

    fn deref(&self) -> &Arc<omemo_manager> {
        &self.manager
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.panicking {
            let client = self.manager.client.clone();
            guard::later(Box::new(move || client.log(LogLevel::Error, "omemo::ffi", &guard::last_panic())));
        }
        let last = {
            let mut state = self.manager.state.lock();
            state.users = state.users.saturating_sub(1);
            let last = state.freed && state.users == 0 && !state.ended;
            state.ended |= last;
            last
        };
        if last {
            let manager = self.manager.clone();
            guard::later(Box::new(move || manager.end()));
        }
    }
}

impl CallGuard {
    /// Fails once the manager was freed.
    pub(in crate::ffi) fn enter(manager: Arc<omemo_manager>) -> Result<CallGuard> {
        {
            let mut state = manager.state.lock();
            if state.freed {
                return Err(Status::Cancelled.into());
            }
            state.users = state.users.saturating_add(1);
        }
        Ok(CallGuard { manager, panicking: std::thread::panicking() })
    }
}

impl omemo_manager {
    /// Marks the manager as freed. It ends when its last user leaves.
    pub(in crate::ffi) fn free(self: &Arc<Self>) {
        let user = {
            let mut state = self.state.lock();
            if state.freed {
                return;
            }
            state.freed = true;
            state.users = state.users.saturating_add(1);
            CallGuard { manager: self.clone(), panicking: std::thread::panicking() }
        };
        self.manager.shut();
        self.signal.notify();
        drop(user);
    }

    /// Ends the manager: delivers the last events, then drops the client's tables and its handle. No call uses the
    /// manager any more.
    fn end(self: Arc<Self>) {
        self.state.lock().running = Some(guard::this_thread());
        self.manager.close();
        while let Some(event) = self.next_event() {
            self.deliver(event);
        }
        let (left, results) = {
            let mut state = self.state.lock();
            let left: Vec<u64> = state.operations.keys().copied().collect();
            (left, std::mem::take(&mut state.results))
        };
        drop(results);
        for op in left {
            self.finish(op, Outcome::bare(Status::Cancelled));
        }
        self.client.close();
        let handle = Arc::as_ptr(&self);
        // SAFETY: the reference that `open` gave to the client, who has freed it.
        unsafe { handles::free_shared_handle(handle) };
    }
}
