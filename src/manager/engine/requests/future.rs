//! The wait for a response.

use super::super::Request;
use super::OpenRequests;
use super::key::{Class, Lane, RequestKey};
use super::table::{OpenRequest, RequestTable, Settled, Withdraw};
use crate::runtime::next_number;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

impl<F: Clone> OpenRequests<F> {
    /// Asks a request, or joins those who wait for the same answer already; who joins from the foreground takes the
    /// request there.
    pub(in crate::manager) fn ask(self: &Arc<Self>, request: Request, class: Class) -> PendingRequest<F> {
        let key = RequestKey::of(&request);
        let lane = Lane::of(&request, class);
        let mut table = self.table.lock();
        let id = match table.keys.get(&key).copied() {
            Some(id) => {
                table.lift(id, lane);
                id
            }
            None => {
                // Under the lock: a smaller number never comes into a queue after a greater one.
                let id = next_number();
                table.insert(id, OpenRequest::new(key, request, lane));
                id
            }
        };
        if let Some(entry) = table.entries.get_mut(id) {
            entry.users = entry.users.saturating_add(1);
        }
        PendingRequest { requests: self.clone(), id, user: next_number(), done: false }
    }
}

/// Waits for a response. Dropping it says that the response is not needed here any more.
pub(in crate::manager) struct PendingRequest<F: Clone = ()> {
    pub(super) requests: Arc<OpenRequests<F>>,
    /// The number of the request.
    pub(super) id: u64,
    /// The number of this future among those that wait for the request.
    pub(super) user: u64,
    pub(super) done: bool,
}

impl<F: Clone> Future for PendingRequest<F> {
    type Output = Settled<F>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled<F>> {
        let requests = self.requests.clone();
        let mut table = requests.table.lock();
        if let Some(settled) = table.take_response(self.id, self.user) {
            self.done = true;
            return Poll::Ready(settled);
        }
        // None: everything was closed, and the task is about to be dropped.
        let RequestTable { entries, answered, .. } = &mut *table;
        let waiters = match answered.get_mut(&self.id) {
            Some(answered) => Some(&mut answered.waiters),
            None => entries.get_mut(self.id).map(|entry| &mut entry.waiters),
        };
        let old = waiters.and_then(|waiters| waiters.insert(self.user, context.waker().clone()));
        drop(table);
        drop(old);
        Poll::Pending
    }
}

impl<F: Clone> Drop for PendingRequest<F> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut table = self.requests.table.lock();
        let (answered, waker) = table.release_response(self.id, self.user);
        if answered {
            drop(table);
            drop(waker);
            return;
        }
        let Some(entry) = table.entries.get_mut(self.id) else { return };
        let waker = entry.waiters.remove(&self.user);
        entry.users = entry.users.saturating_sub(1);
        let removed = match entry.users {
            0 => table.remove(self.id, Withdraw::Yes),
            _ => None,
        };
        drop(table);
        drop((waker, removed));
    }
}
