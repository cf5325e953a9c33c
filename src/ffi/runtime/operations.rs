//! Running operations: how they start, how their end is delivered or kept, and the call that waits for it.

use super::super::api::operations::{omemo_done, omemo_op};
use super::super::api::results::omemo_result;
use super::super::boundary::guard;
use super::super::boundary::returns::Out;
use super::calls::CallGuard;
use super::completion::{Completion, Operation};
use super::events::EVENTS_PER_RUN;
use super::manager_handle::{OPERATIONS, omemo_manager};
use crate::error::{Result, Status};
use crate::manager::Manager;
use crate::manager::api::report::Outcome;
use crate::manager::api::services::Services;
use crate::runtime::next_number;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Results that are kept without a call that waits for them.
const RESULTS: usize = 1_000;

impl CallGuard {
    /// Starts an operation with the parameters that end every function of the header which starts one.
    ///
    /// # Safety
    /// `op` must be NULL or can be written until the call ends.
    pub(in crate::ffi) unsafe fn start_for(
        &self,
        done: omemo_done,
        user_data: *mut c_void,
        op: *mut omemo_op,
        begin: impl FnOnce(&Manager, u64) -> Result<()>,
    ) -> Result<()> {
        // SAFETY: the same promise; this call ends before that of the client.
        let number = unsafe { Out::new(op) };
        self.start(Completion::new(done, user_data, number.as_ref()), number, begin)
    }

    /// Starts an operation; its end is not delivered before this is over.
    pub(in crate::ffi) fn start(
        &self,
        completion: Completion,
        number: Option<Out<u64>>,
        begin: impl FnOnce(&Manager, u64) -> Result<()>,
    ) -> Result<()> {
        let op = next_number();
        let operation = Operation { completion, started: false, early: None };
        self.state.lock().operations.insert(op, operation);
        OPERATIONS.insert(op, self);
        let starting = Starting { manager: self, op, begun: false };
        begin(&self.manager, op)?;
        if let Some(number) = number {
            number.write(op);
        }
        starting.begun();
        Ok(())
    }
}

/// An operation whose start has not returned. If it fails, nothing is left of the operation.
struct Starting<'a> {
    manager: &'a omemo_manager,
    op: u64,
    begun: bool,
}

impl Starting<'_> {
    fn begun(mut self) {
        self.begun = true;
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if !self.begun {
            let operation = self.manager.state.lock().operations.remove(&self.op);
            drop(operation);
            OPERATIONS.remove(self.op);
            return;
        }
        let early = {
            let mut state = self.manager.state.lock();
            let operation = state.operations.get_mut(&self.op);
            let early = operation.and_then(|operation| {
                operation.started = true;
                operation.early.take()
            });
            early.map(|outcome| state.early.push_back((self.op, outcome))).is_some()
        };
        if early {
            self.manager.client.wakeup();
        }
    }
}

/// A call that waits for the end of an operation.
struct Waiting<'a>(&'a omemo_manager, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if let Some(count) = state.waiting.get_mut(&self.1) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.waiting.remove(&self.1);
            }
        }
    }
}

impl omemo_manager {
    /// Delivers the end of an operation, or keeps it.
    pub(super) fn finish(&self, op: u64, outcome: Outcome) {
        let completion = {
            let mut state = self.state.lock();
            match state.operations.get_mut(&op) {
                None => return,
                Some(operation) if !operation.started => {
                    operation.early = Some(outcome);
                    return;
                }
                // It stays in the table until its end was delivered: who waits for it must not find it gone.
                Some(operation) => std::mem::replace(&mut operation.completion, Completion::Forget),
            }
        };
        OPERATIONS.remove(op);
        let bare = omemo_result::bare(outcome.error.clone());
        let (kept, needed) = match completion {
            Completion::Forget => (bare, false),
            Completion::Keep => (omemo_result::new(outcome), true),
            Completion::Call(done, user_data) => {
                let result = omemo_result::new(outcome);
                // SAFETY: the client's function; the result lives until it returns.
                guard::event(|| unsafe { done(user_data.pointer(), op, result.status(), &raw const result) });
                (bare, false)
            }
        };
        let forgotten = {
            let mut state = self.state.lock();
            state.operations.remove(&op);
            if needed || state.waiting.contains_key(&op) {
                state.results.insert(op, kept);
            }
            if state.results.len() > RESULTS { state.results.pop_first() } else { None }
        };
        drop(forgotten);
        self.signal.notify();
    }

    /// Takes the result of an operation, if it is there.
    fn take_result(&self, op: u64) -> Result<Option<omemo_result>> {
        let mut state = self.state.lock();
        if let Some(result) = state.results.remove(&op) {
            return Ok(Some(result));
        }
        if state.freed {
            return Err(Status::Cancelled.into());
        }
        let running = state.operations.contains_key(&op) || state.early.iter().any(|(early, _)| *early == op);
        if running { Ok(None) } else { Err(Status::Stale.into()) }
    }

    /// See `omemo_manager_wait`.
    pub(in crate::ffi) fn wait(self: &Arc<Self>, op: u64, deadline: Option<Instant>) -> Result<omemo_result> {
        let _waiting = {
            let mut state = self.state.lock();
            if state.running == Some(guard::this_thread()) {
                return Err(Status::Busy.into());
            }
            let count = state.waiting.entry(op).or_default();
            *count = count.saturating_add(1);
            Waiting(self, op)
        };
        if let Some(result) = self.take_result(op)? {
            return Ok(result);
        }
        loop {
            let mut budget = EVENTS_PER_RUN;
            let before = self.signal.count();
            let elsewhere = match self.deliver_events(&mut budget) {
                Err(error) if error.status() == Status::Busy => true,
                other => {
                    other?;
                    false
                }
            };
            let seen = if elsewhere { before } else { self.signal.count() };
            if let Some(result) = self.take_result(op)? {
                return Ok(result);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Status::Pending.into());
            }
            if budget == 0 || !(elsewhere || self.manager.sleep()) {
                continue;
            }
            let wanted = if elsewhere { None } else { self.timeout() };
            let wanted = wanted.and_then(|wanted| now.checked_add(Duration::from_millis(wanted)));
            self.signal.wait(seen, [deadline, wanted].into_iter().flatten().min());
        }
    }
}
