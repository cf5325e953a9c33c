//! The order of encryptions: those for the same recipients end in the order in which they were started.
//!
//! Knows no drafts and no sessions: a queue of numbers for each set of recipients. The end of one wakes only the next one
//! of the same queue.

use crate::protocol::address::BareJid;
use crate::runtime::next_number;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Those that are not over, by the number of their ticket, each with the waker of its task.
type Queue = BTreeMap<u64, Option<Waker>>;

/// Encryptions by their recipients, in the order in which they were started.
#[derive(Default)]
pub(in crate::manager) struct SendOrder {
    queues: Mutex<HashMap<Arc<[BareJid]>, Queue>>,
}

/// The place of one encryption among those for the same recipients. Dropping it lets the next one go on.
pub(in crate::manager) struct Ticket {
    order: Arc<SendOrder>,
    /// `None` for an encryption that overtakes.
    place: Option<(Arc<[BareJid]>, u64)>,
}

impl SendOrder {
    /// Takes the next place among the encryptions for the same set of recipients; `None` takes no place: that
    /// encryption waits for no other, and no other waits for it.
    pub(in crate::manager) fn enqueue(self: &Arc<Self>, recipients: Option<Vec<BareJid>>) -> Ticket {
        let place = recipients.map(|mut recipients| {
            recipients.sort();
            recipients.dedup();
            let recipients: Arc<[BareJid]> = recipients.into();
            let mut queues = self.queues.lock();
            // Under the lock: a smaller number never comes into a queue after a greater one.
            let number = next_number();
            queues.entry(recipients.clone()).or_default().insert(number, None);
            (recipients, number)
        });
        Ticket { order: self.clone(), place }
    }
}

impl Ticket {
    /// Waits until all that were started before are over.
    pub(in crate::manager) async fn wait(&self) {
        poll_fn(|context| self.poll_first(context)).await;
    }

    /// Returns whether `wait` would not wait.
    pub(in crate::manager) fn is_first(&self) -> bool {
        let Some((recipients, number)) = &self.place else { return true };
        let queues = self.order.queues.lock();
        let first = queues.get(recipients).and_then(|queue| queue.first_key_value());
        first.is_none_or(|(first, _)| first == number)
    }

    fn poll_first(&self, context: &Context<'_>) -> Poll<()> {
        let Some((recipients, number)) = &self.place else { return Poll::Ready(()) };
        let mut queues = self.order.queues.lock();
        let Some(queue) = queues.get_mut(recipients) else { return Poll::Ready(()) };
        if queue.first_key_value().is_none_or(|(first, _)| first == number) {
            return Poll::Ready(());
        }
        let old = queue.get_mut(number).and_then(|entry| entry.replace(context.waker().clone()));
        drop(queues);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some((recipients, number)) = self.place.take() else { return };
        let mut queues = self.order.queues.lock();
        let Some(queue) = queues.get_mut(&recipients) else { return };
        let was_first = queue.first_key_value().is_some_and(|(first, _)| *first == number);
        let own = queue.remove(&number);
        let next =
            if was_first { queue.first_entry().and_then(|mut first| first.get_mut().take()) } else { None };
        if queue.is_empty() {
            queues.remove(&recipients);
        }
        drop(queues);
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::jid;
    use super::*;
    use crate::runtime::Runtime;

    fn both() -> Option<Vec<BareJid>> {
        Some(vec![jid("juliet@capulet.lit"), jid("romeo@montague.lit")])
    }

    /// Starts a task that waits for its turn and then notes its name.
    fn start(
        runtime: &Runtime,
        ticket: Ticket,
        name: usize,
        seen: &Arc<Mutex<Vec<usize>>>,
    ) -> async_task::Task<()> {
        let seen = seen.clone();
        runtime.spawn(async move {
            ticket.wait().await;
            seen.lock().push(name);
        })
    }

    fn drain(runtime: &Runtime) -> usize {
        std::iter::from_fn(|| runtime.step().then_some(())).count()
    }

    #[test]
    fn ten_thousand_end_in_their_order_and_each_is_woken_once() {
        let (runtime, order, seen) = (Runtime::default(), Arc::new(SendOrder::default()), Arc::default());
        let first = order.enqueue(both());
        let tickets: Vec<_> = (0..10_000).map(|_| order.enqueue(both())).collect();
        // The last one is polled first.
        let tasks: Vec<_> = tickets
            .into_iter()
            .enumerate()
            .rev()
            .map(|(n, ticket)| start(&runtime, ticket, n, &seen))
            .collect();
        assert_eq!(drain(&runtime), 10_000);
        assert!(seen.lock().is_empty());
        drop(first);
        assert_eq!(drain(&runtime), 10_000, "each is woken once, by the one before");
        assert!(seen.lock().iter().copied().eq(0..10_000));
        assert!(order.queues.lock().is_empty());
        drop(tasks);
    }

    #[test]
    fn other_sets_and_overtakers_wait_for_nobody() {
        let (runtime, order, seen) = (Runtime::default(), Arc::new(SendOrder::default()), Arc::default());
        let first = order.enqueue(both());
        let mut reversed = both().unwrap();
        reversed.reverse();
        reversed.push(jid("juliet@capulet.lit"));
        let places = [Some(reversed), None, Some(vec![jid("juliet@capulet.lit")]), Some(Vec::new()), both()];
        let tasks: Vec<_> = places
            .into_iter()
            .enumerate()
            .map(|(n, set)| start(&runtime, order.enqueue(set), n, &seen))
            .collect();
        drain(&runtime);
        assert_eq!(*seen.lock(), [1, 2, 3]);
        drop(first);
        drain(&runtime);
        assert_eq!(*seen.lock(), [1, 2, 3, 0, 4]);
        drop(tasks);
    }

    #[test]
    fn one_that_is_cancelled_in_the_middle_wakes_nobody_and_holds_up_nobody() {
        let (runtime, order, seen) = (Runtime::default(), Arc::new(SendOrder::default()), Arc::default());
        let first = order.enqueue(both());
        let mut tasks: Vec<_> = (0..3).map(|n| start(&runtime, order.enqueue(both()), n, &seen)).collect();
        drain(&runtime);
        drop(tasks.remove(1));
        assert_eq!(drain(&runtime), 1, "its own end");
        drop(first);
        assert_eq!(drain(&runtime), 2);
        assert_eq!(*seen.lock(), [0, 2]);
    }

    #[test]
    fn one_that_panics_lets_the_next_go_on() {
        let (runtime, order, seen) = (Runtime::default(), Arc::new(SendOrder::default()), Arc::default());
        let ticket = order.enqueue(both());
        let bad = runtime.spawn(async move {
            ticket.wait().await;
            panic!("planted");
        });
        let next = start(&runtime, order.enqueue(both()), 7, &seen);
        let stepped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.step()));
        assert!(stepped.is_err());
        drain(&runtime);
        assert_eq!(*seen.lock(), [7]);
        drop((bad, next));
    }
}
