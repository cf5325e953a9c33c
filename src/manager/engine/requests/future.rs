//! The wait for a response.

use super::super::Question;
use super::OpenRequests;
use super::key::{Class, Lane, RequestKey};
use super::table::Entry;
use super::table::{Response, Withdraw};
use crate::runtime::next_number;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

impl OpenRequests {
    /// Asks a question, or joins those who wait for the same answer already; who joins from the foreground takes the
    /// question there.
    pub(in crate::manager) fn ask(self: &Arc<Self>, question: Question, class: Class) -> PendingRequest {
        let key = RequestKey::of(&question);
        let lane = Lane::of(&question, class);
        let mut table = self.table.lock();
        let id = match table.keys.get(&key).copied() {
            Some(id) => {
                if class == Class::Foreground {
                    table.lift(id);
                }
                id
            }
            None => {
                // Under the lock: a smaller number never comes into a queue after a greater one.
                let id = next_number();
                table.insert(id, Entry::new(key, question, lane));
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
pub(in crate::manager) struct PendingRequest {
    pub(super) requests: Arc<OpenRequests>,
    /// The number of the question.
    pub(super) id: u64,
    /// The number of this future among those that wait for the question.
    pub(super) user: u64,
    pub(super) done: bool,
}

impl Future for PendingRequest {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        let requests = self.requests.clone();
        let mut table = requests.table.lock();
        if let Some(response) = table.take_response(self.id) {
            self.done = true;
            return Poll::Ready(response);
        }
        // None: everything was closed, and the task is about to be dropped.
        let entry = table.entries.get_mut(self.id);
        let old = entry.and_then(|entry| entry.waiters.insert(self.user, context.waker().clone()));
        drop(table);
        drop(old);
        Poll::Pending
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut table = self.requests.table.lock();
        if table.release_response(self.id) {
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
