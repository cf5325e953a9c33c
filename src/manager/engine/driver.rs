//! The parts of the engine put together: what `next_event` advances, and when the client is woken.

use super::clock::LONGEST_SLEEP_MS;
use super::operations::Events;
use super::wake::{WakeUp, Work};
use super::{
    Clock, Event, Noted, Now, OpenRequests, OperationId, OperationKind, Operations, Outcome, Services, Stamp,
    Stamps,
};
use crate::error::{Result, Status};
use crate::runtime::Runtime;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// All that advances in one manager.
pub(in crate::manager) struct Engine<F = ()> {
    services: Arc<dyn Services>,
    clock: Clock,
    stamps: Stamps,
    runtime: Runtime,
    requests: Arc<OpenRequests<F>>,
    operations: Arc<Operations>,
    events: Arc<Events>,
    wake_up: WakeUp,
    closed: AtomicBool,
}

impl<F: Default> Engine<F> {
    /// Makes an engine without any operation. `timeout_ms` and `max_fetches`: see [`OpenRequests::new`].
    pub(in crate::manager) fn new(
        services: Arc<dyn Services>,
        timeout_ms: u64,
        max_fetches: usize,
    ) -> Engine<F> {
        let (runtime, events) = (Runtime::default(), Arc::new(Events::default()));
        Engine {
            services,
            clock: Clock::default(),
            stamps: Stamps::default(),
            requests: OpenRequests::new(timeout_ms, max_fetches),
            operations: Operations::new(runtime.clone(), events.clone()),
            runtime,
            events,
            wake_up: WakeUp::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Reads the clocks.
    pub(in crate::manager) fn now(&self) -> Now {
        self.clock.now(&*self.services)
    }

    /// Takes the stamp of a call that brings a fact.
    pub(in crate::manager) fn stamp(&self) -> Stamp {
        self.stamps.take()
    }

    /// Returns the executor.
    pub(in crate::manager) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Returns the open requests.
    pub(in crate::manager) fn requests(&self) -> &Arc<OpenRequests<F>> {
        &self.requests
    }

    /// Returns the events that the client has not fetched yet.
    pub(in crate::manager) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Starts an operation, and wakes the client; fails once the end has begun.
    pub(in crate::manager) fn start(
        &self,
        operation: OperationId,
        kind: OperationKind,
        future: impl Future<Output = Outcome> + Send + 'static,
    ) -> Result<()> {
        self.check_open()?;
        self.operations.start(operation, kind, future);
        self.wake();
        Ok(())
    }

    /// Ends an operation as cancelled.
    pub(in crate::manager) fn cancel(&self, operation: OperationId) -> Result<()> {
        let cancelled = self.operations.cancel(operation);
        self.wake();
        cancelled
    }

    /// Notes that the stream is down: operations that need it end, network requests wait for the next one.
    pub(in crate::manager) fn disconnected(&self) {
        self.requests.disconnected();
        self.operations.end_all(OperationKind::EndsWithStream, Status::Offline);
    }

    /// Fails once the end has begun.
    pub(in crate::manager) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(Status::Cancelled.into()) } else { Ok(()) }
    }

    /// Advances until there is an event, or nothing that can go on. What was answered is taken over by `take_over` before
    /// any task goes on: what the client has said counts for all of them, whichever of them asked. A panic of a task
    /// goes out of this call; the next call goes on with the others.
    pub(in crate::manager) fn next_event(&self, take_over: impl Fn(Noted<F>)) -> Option<Event> {
        let now = self.now();
        self.requests.expire(now, &self.stamps);
        self.runtime.fire(now.steady_ms);
        loop {
            if let Some(event) = self.events.pop() {
                return Some(event);
            }
            if let Some(noted) = self.requests.next_noted() {
                take_over(noted);
                continue;
            }
            let withdrawn = self.requests.take_withdrawn();
            if !withdrawn.is_empty() {
                self.events.extend(withdrawn.into_iter().map(Event::Withdrawn));
            } else if !self.runtime.step() {
                break;
            }
        }
        self.requests.next_request(now).map(|(request_id, request)| Event::Request(request_id, request))
    }

    fn is_ready_at(&self, now: Now) -> bool {
        let timer = self.runtime.next_timer().is_some_and(|at| at <= now.steady_ms);
        self.runtime.is_ready() || timer || !self.events.is_empty() || self.requests.is_ready(now)
    }

    fn work(&self, now: Now) -> Work {
        if self.is_ready_at(now) { Work::Now } else { Work::Later(self.next_time(now)) }
    }

    fn next_time(&self, now: Now) -> Option<u64> {
        [self.runtime.next_timer(), self.requests.next_deadline(now)].into_iter().flatten().min()
    }

    /// Wakes the client if there is work, or an earlier time to come back, that it does not know of. Not to be called
    /// with a lock held.
    pub(in crate::manager) fn wake(&self) {
        let now = self.now();
        if self.wake_up.should_wake(self.work(now)) {
            self.services.wakeup();
        }
    }

    /// Notes that the client sleeps: from now on it is woken. Returns false if there is work again, and nobody else has
    /// woken the client for it: it must call `next_event`.
    pub(in crate::manager) fn sleep(&self) -> bool {
        let now = self.now();
        self.wake_up.sleep(self.next_time(now));
        // Work that came before the note has woken nobody.
        !(self.is_ready_at(now) && self.wake_up.mark_awake())
    }

    /// Notes that the client is awake: it is not woken until the next `sleep`.
    pub(in crate::manager) fn mark_awake(&self) {
        self.wake_up.mark_awake();
    }

    /// Wakes the client if there is work: for callers that stop before all of it is done.
    pub(in crate::manager) fn wake_again(&self) {
        self.wake_up.mark_asleep();
        self.wake();
    }

    /// Returns the milliseconds until `next_event` is wanted although nobody wakes the client, half an hour at most;
    /// `None`: never.
    pub(in crate::manager) fn timeout(&self) -> Option<u64> {
        let now = self.now();
        if self.is_ready_at(now) {
            Some(0)
        } else {
            self.next_time(now).map(|at| at.saturating_sub(now.steady_ms).min(LONGEST_SLEEP_MS))
        }
    }

    /// Returns whether nothing runs, waits or is ready. A timer alone, of a back-off for example, is no work.
    pub(in crate::manager) fn is_idle(&self) -> bool {
        self.operations.is_idle()
            && self.requests.is_idle()
            && self.events.is_empty()
            && !self.runtime.is_ready()
            && self.runtime.next_timer().is_none_or(|at| at > self.now().steady_ms)
    }

    /// Begins the end: nothing can be started any more, every answer is stale.
    pub(in crate::manager) fn shut(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.requests.close();
    }

    /// Begins the end out of an operation: nothing can be started any more, and all other operations are cancelled.
    pub(in crate::manager) fn shut_by(&self, operation: OperationId) {
        self.shut();
        self.operations.cancel_others(operation);
    }

    /// Ends all operations as cancelled and lets their tasks go. `next_event` still gives the last events. Background
    /// jobs are to be stopped before. Not to be called while `next_event` runs.
    pub(in crate::manager) fn close(&self) {
        self.shut();
        self.operations.end_all(OperationKind::EndsWithStream, Status::Cancelled);
        self.operations.end_all(OperationKind::SurvivesStream, Status::Cancelled);
        while self.runtime.step() {}
    }
}

#[cfg(test)]
mod tests;
