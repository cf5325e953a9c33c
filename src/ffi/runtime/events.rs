//! Delivering events to the client, in `omemo_manager_run`.

use super::super::boundary::guard;
use super::manager_handle::{REQUESTS, omemo_manager};
use crate::error::{Result, Status};
use crate::manager::api::event::Event;
use crate::manager::api::request::Answer;
use std::sync::Arc;

/// Events that one run delivers.
pub(super) const EVENTS_PER_RUN: usize = 1_000;

/// The right to deliver events.
struct Running<'a>(&'a omemo_manager);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let refused = {
            let mut state = self.0.state.lock();
            state.running = None;
            std::mem::take(&mut state.refused)
        };
        if refused {
            self.0.signal.notify();
        }
    }
}

impl omemo_manager {
    /// Takes the right to deliver events.
    fn take_turn(&self) -> Result<Running<'_>> {
        let mut state = self.state.lock();
        if state.freed {
            return Err(Status::Cancelled.into());
        }
        if state.running.is_some() {
            state.refused = true;
            return Err(Status::Busy.into());
        }
        state.running = Some(guard::this_thread());
        Ok(Running(self))
    }

    /// Delivers events until there is none or the budget is used up.
    pub(super) fn deliver_events(self: &Arc<Self>, budget: &mut usize) -> Result<()> {
        let running = self.take_turn()?;
        self.manager.mark_awake();
        while *budget > 0 {
            let Some(event) = self.next_event() else { break };
            *budget = budget.saturating_sub(1);
            self.deliver(event);
            if self.state.lock().freed {
                return Err(Status::Cancelled.into());
            }
        }
        drop(running);
        Ok(())
    }

    pub(super) fn next_event(&self) -> Option<Event> {
        let early = self.state.lock().early.pop_front();
        early.map(|(op, outcome)| Event::Done(op, outcome)).or_else(|| self.manager.next_event())
    }

    pub(super) fn deliver(self: &Arc<Self>, event: Event) {
        match event {
            Event::Request(request_id, request) => {
                REQUESTS.insert(request_id, self);
                if let Err(reason) = self.client.ask(request_id, request) {
                    // It may have been withdrawn by another thread: then nobody needs this answer.
                    drop(self.answer(request_id, Answer::Rejected(reason)));
                }
            }
            Event::Withdrawn(request_id) => {
                REQUESTS.remove(request_id);
                self.client.withdrawn(request_id);
            }
            Event::Done(op, outcome) => self.finish(op, outcome),
            Event::Notify(notice) => self.client.notify(&notice),
        }
    }

    /// See `omemo_manager_run`.
    pub(in crate::ffi) fn run(self: &Arc<Self>) -> Result<()> {
        let mut budget = EVENTS_PER_RUN;
        self.deliver_events(&mut budget)?;
        loop {
            if budget == 0 {
                self.manager.wake_again();
                return Ok(());
            }
            if self.manager.sleep() {
                return Ok(());
            }
            match self.deliver_events(&mut budget) {
                // Another thread has begun to run, and does what there is to do.
                Err(error) if error.status() == Status::Busy => return Ok(()),
                other => other?,
            }
        }
    }
}
