//! Running operations: each is a task, and ends exactly once, by its outcome, by being cancelled, with the stream, or
//! because its task panicked. Also the events that wait for the client.

use super::{Event, OperationId, Outcome};
use crate::error::{Result, Status};
use crate::runtime::Runtime;
use async_task::Task;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::Arc;

/// What the end of the stream means for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum OperationKind {
    /// It ends with the stream.
    EndsWithStream,
    /// It waits for the next stream.
    SurvivesStream,
}

/// The events that the client has not fetched yet, oldest first.
#[derive(Default)]
pub(in crate::manager) struct Events {
    queue: Mutex<VecDeque<Event>>,
}

impl Events {
    /// Adds an event.
    pub(in crate::manager) fn push(&self, event: Event) {
        self.queue.lock().push_back(event);
    }

    /// Adds events.
    pub(in crate::manager) fn extend(&self, events: impl IntoIterator<Item = Event>) {
        // Collected first: the iterator may be anything, and the lock is a leaf.
        let events: Vec<Event> = events.into_iter().collect();
        self.queue.lock().extend(events);
    }

    /// Takes the oldest event.
    pub(in crate::manager) fn pop(&self) -> Option<Event> {
        self.queue.lock().pop_front()
    }

    /// Returns whether no event waits.
    pub(in crate::manager) fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }
}

struct Running {
    kind: OperationKind,
    /// `None` for the moment in which the operation is being started.
    task: Option<Task<()>>,
}

#[derive(Default)]
struct Table {
    running: BTreeMap<OperationId, Running>,
    needs_stream: BTreeSet<OperationId>,
}

impl Table {
    fn remove(&mut self, operation: OperationId) -> Option<Running> {
        self.needs_stream.remove(&operation);
        self.running.remove(&operation)
    }
}

/// All running operations of one manager.
pub(in crate::manager) struct Operations {
    runtime: Runtime,
    events: Arc<Events>,
    table: Mutex<Table>,
}

impl Operations {
    /// Makes an empty table. Operations run on `runtime`, their ends go to `events`.
    pub(in crate::manager) fn new(runtime: Runtime, events: Arc<Events>) -> Arc<Operations> {
        Arc::new(Operations { runtime, events, table: Mutex::default() })
    }

    /// Starts an operation. It first runs in a later step.
    pub(in crate::manager) fn start(
        self: &Arc<Self>,
        operation: OperationId,
        kind: OperationKind,
        future: impl Future<Output = Outcome> + Send + 'static,
    ) {
        {
            let mut table = self.table.lock();
            table.running.insert(operation, Running { kind, task: None });
            if kind == OperationKind::EndsWithStream {
                table.needs_stream.insert(operation);
            }
        }
        let completion = Completion { operations: self.clone(), operation };
        let task = self.runtime.spawn(async move {
            // Bound in here: it is dropped after all that the operation holds.
            let completion = completion;
            let outcome = future.await;
            completion.operations.complete(completion.operation, outcome);
        });
        let unused = match self.table.lock().running.get_mut(&operation) {
            Some(running) => running.task.replace(task),
            // It was ended by another thread in between.
            None => Some(task),
        };
        drop(unused);
    }

    /// Ends an operation with an outcome. Returns false if it has ended before.
    pub(in crate::manager) fn complete(&self, operation: OperationId, outcome: Outcome) -> bool {
        let ended = self.table.lock().remove(operation);
        let known = ended.is_some();
        if known {
            self.events.push(Event::Done(operation, outcome));
        }
        // Its task is dropped with no lock held.
        drop(ended);
        known
    }

    /// Ends an operation as cancelled. What it has committed stays.
    pub(in crate::manager) fn cancel(&self, operation: OperationId) -> Result<()> {
        if self.complete(operation, Outcome::bare(Status::Cancelled)) {
            Ok(())
        } else {
            Err(Status::Stale.into())
        }
    }

    /// Ends all operations of a kind with this status, in the order of their numbers.
    pub(in crate::manager) fn end_all(&self, kind: OperationKind, status: Status) {
        let ended: Vec<(OperationId, Running)> = {
            let mut table = self.table.lock();
            let ids: Vec<OperationId> = match kind {
                OperationKind::EndsWithStream => {
                    std::mem::take(&mut table.needs_stream).into_iter().collect()
                }
                OperationKind::SurvivesStream => {
                    let of_kind = table.running.iter().filter(|(_, running)| running.kind == kind);
                    of_kind.map(|(id, _)| *id).collect()
                }
            };
            ids.into_iter().filter_map(|id| Some((id, table.running.remove(&id)?))).collect()
        };
        self.events.extend(ended.iter().map(|(id, _)| Event::Done(*id, Outcome::bare(status))));
        drop(ended);
    }

    /// Ends all operations but one as cancelled, in the order of their numbers.
    pub(in crate::manager) fn cancel_others(&self, kept: OperationId) {
        let others: Vec<OperationId> =
            self.table.lock().running.keys().copied().filter(|operation| *operation != kept).collect();
        for operation in others {
            self.complete(operation, Outcome::bare(Status::Cancelled));
        }
    }

    /// Returns whether no operation runs.
    pub(in crate::manager) fn is_idle(&self) -> bool {
        self.table.lock().running.is_empty()
    }
}

/// Lives in the task of an operation. An operation that is still in the table when its task is dropped has panicked: all
/// other ends take it out first.
struct Completion {
    operations: Arc<Operations>,
    operation: OperationId,
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.operations.complete(self.operation, Outcome::bare(Status::Internal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Signal;
    use std::future::pending;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn setup() -> (Runtime, Arc<Events>, Arc<Operations>) {
        let (runtime, events) = (Runtime::default(), Arc::new(Events::default()));
        let operations = Operations::new(runtime.clone(), events.clone());
        (runtime, events, operations)
    }

    fn ends(events: &Events) -> Vec<(OperationId, Status)> {
        let ends = std::iter::from_fn(|| events.pop()).map(|event| match event {
            Event::Done(operation, outcome) => (operation, outcome.status()),
            other => panic!("{other:?}"),
        });
        ends.collect()
    }

    /// Steps until nothing is ready; returns how many steps panicked.
    fn drain(runtime: &Runtime) -> usize {
        let steps = std::iter::from_fn(|| {
            runtime.is_ready().then(|| catch_unwind(AssertUnwindSafe(|| runtime.step())))
        });
        steps.filter(|step| step.is_err()).count()
    }

    #[test]
    fn an_operation_ends_once_with_its_outcome() {
        let (runtime, events, operations) = setup();
        operations.start(7, OperationKind::EndsWithStream, async { Outcome::bare(Status::Ok) });
        assert!(ends(&events).is_empty() && !operations.is_idle());
        drain(&runtime);
        assert_eq!(ends(&events), [(7, Status::Ok)]);
        assert!(operations.is_idle());
        assert_eq!(operations.cancel(7).unwrap_err().status(), Status::Stale);
        assert!(!operations.complete(7, Outcome::bare(Status::Ok)) && events.is_empty());
    }

    #[test]
    fn an_operation_that_panics_ends_as_internal_and_the_panic_goes_on() {
        let (runtime, events, operations) = setup();
        let signal = Signal::default();
        operations.start(1, OperationKind::SurvivesStream, async { panic!("planted, at once") });
        let wait = signal.changed(signal.generation());
        operations.start(2, OperationKind::EndsWithStream, async move {
            wait.await;
            panic!("planted, after a wait")
        });
        operations.start(3, OperationKind::EndsWithStream, pending());
        assert_eq!(drain(&runtime), 1);
        assert_eq!(ends(&events), [(1, Status::Internal)]);
        signal.notify();
        assert_eq!(drain(&runtime), 1);
        assert_eq!(ends(&events), [(2, Status::Internal)]);
        // Others are not touched, and what is started afterwards runs.
        operations.start(4, OperationKind::EndsWithStream, async { Outcome::bare(Status::Ok) });
        assert_eq!(drain(&runtime), 0);
        assert_eq!(ends(&events), [(4, Status::Ok)]);
        assert!(operations.cancel(3).is_ok());
    }

    #[test]
    fn what_an_operation_holds_is_released_before_its_end_is_told() {
        struct Held(Arc<Events>, Arc<Mutex<Vec<bool>>>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.1.lock().push(self.0.is_empty());
            }
        }
        let (runtime, events, operations) = setup();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (returns, panics) = (Held(events.clone(), seen.clone()), Held(events.clone(), seen.clone()));
        operations.start(1, OperationKind::EndsWithStream, async move {
            drop(returns);
            Outcome::bare(Status::Ok)
        });
        drain(&runtime);
        ends(&events);
        operations.start(2, OperationKind::EndsWithStream, async move {
            let _held = panics;
            panic!("planted")
        });
        drain(&runtime);
        assert_eq!(*seen.lock(), [true, true]);
    }

    #[test]
    fn cancelled_is_cancelled_whether_the_task_has_run_or_not() {
        let (runtime, events, operations) = setup();
        operations.start(1, OperationKind::EndsWithStream, pending());
        operations.cancel(1).unwrap();
        operations.start(2, OperationKind::EndsWithStream, pending());
        drain(&runtime);
        operations.cancel(2).unwrap();
        operations.start(3, OperationKind::EndsWithStream, async { panic!("planted") });
        operations.cancel(3).unwrap();
        assert_eq!(drain(&runtime), 0);
        assert_eq!(ends(&events), [1, 2, 3].map(|id| (id, Status::Cancelled)));
        assert!(operations.is_idle());
    }

    #[test]
    fn the_end_of_the_stream_ends_those_that_need_it() {
        let (runtime, events, operations) = setup();
        for operation in 1..=10_000 {
            let kind = if operation % 2 == 0 {
                OperationKind::EndsWithStream
            } else {
                OperationKind::SurvivesStream
            };
            operations.start(operation, kind, pending());
        }
        operations.cancel(4).unwrap();
        ends(&events);
        operations.end_all(OperationKind::EndsWithStream, Status::Offline);
        let ended = ends(&events);
        assert!(ended.iter().all(|(id, status)| id % 2 == 0 && *status == Status::Offline));
        assert!(ended.len() == 4_999 && ended.is_sorted());
        operations.end_all(OperationKind::EndsWithStream, Status::Offline);
        assert!(events.is_empty() && !operations.is_idle());
        operations.end_all(OperationKind::SurvivesStream, Status::Cancelled);
        assert_eq!(ends(&events).len(), 5_000);
        assert!(operations.is_idle());
        assert_eq!(drain(&runtime), 0);
        assert!(events.is_empty());
    }
}
