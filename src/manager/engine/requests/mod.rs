//! Open requests: who waits for which response, what may be asked now, and when a request has waited for too long.
//!
//! Identical requests are made once, for all who need the answer. The client is asked only while the stream is up, and
//! for a limited number of fetches at a time, those of the foreground first. A request to the network ends at its
//! deadline; one to the user has none.
//!
//! Knows nothing of what an answer means. Each answer is handed out once, in the order in which the client gave them, to
//! be taken over, even if nobody waits for it any more. Those who wait go on after that, with the fact that it brought.

mod future;
mod key;
mod table;

use super::{Answer, Now, Reason, Request, RequestId, Stamp, Stamps};
use crate::error::{Error, Result, Status};
use crate::runtime::next_number;
pub(in crate::manager) use key::{Class, RequestKey};
use key::{Lane, fits, is_fetch, is_network};
use parking_lot::Mutex;
use std::sync::Arc;
use std::task::Waker;
use table::{OpenRequest, RequestTable, State, Withdraw};
pub(in crate::manager) use table::{Response, Settled};

/// All open requests of one manager.
pub(in crate::manager) struct OpenRequests<F = ()> {
    table: Mutex<RequestTable<F>>,
    timeout_ms: u64,
}

/// An answer that is still to be taken over. Those who wait for it go on when this is dropped: with the fact that
/// `settle` has noted, or with the default if a panic came before.
pub(in crate::manager) struct Noted<F: Default> {
    requests: Arc<OpenRequests<F>>,
    id: u64,
    /// What was asked.
    pub(in crate::manager) key: RequestKey,
    /// What was answered.
    pub(in crate::manager) response: Arc<Response>,
    fact: F,
}

impl<F: Default> Noted<F> {
    /// Notes what it amounted to.
    pub(in crate::manager) fn settle(mut self, fact: F) {
        self.fact = fact;
    }
}

impl<F: Default> Drop for Noted<F> {
    fn drop(&mut self) {
        let fact = std::mem::take(&mut self.fact);
        let waiters = self.requests.table.lock().settle(self.id, fact);
        waiters.into_values().for_each(Waker::wake);
    }
}

impl<F: Default> OpenRequests<F> {
    /// Takes the oldest answer that is still to be taken over.
    pub(in crate::manager) fn next_noted(self: &Arc<Self>) -> Option<Noted<F>> {
        let mut table = self.table.lock();
        let (_, id) = table.noted.pop_first()?;
        let (key, response) =
            table.answered.get(&id).map(|noted| (noted.key.clone(), noted.response.clone()))?;
        Some(Noted { requests: self.clone(), id, key, response, fact: F::default() })
    }
}

impl<F> OpenRequests<F> {
    /// Makes an empty table. `timeout_ms`: until a network request ends by itself. `max_fetches`: fetches open at a
    /// time, at least 1.
    pub(in crate::manager) fn new(timeout_ms: u64, max_fetches: usize) -> Arc<OpenRequests<F>> {
        let table = RequestTable::new(max_fetches);
        Arc::new(OpenRequests { table: Mutex::new(table), timeout_ms })
    }

    /// Returns the next request for the client, now open under a new number.
    pub(in crate::manager) fn next_request(&self, now: Now) -> Option<(RequestId, Request)> {
        let mut table = self.table.lock();
        table.queue_deferred(now.steady_ms);
        let id = table.next_queued()?;
        let request = table.entries.get_mut(id)?.request.clone();
        let deadline_ms = is_network(&request).then(|| now.steady_ms.saturating_add(self.timeout_ms));
        let request_id = next_number();
        #[cfg(omemo_planted)]
        let request_id = if crate::planted::is_planted("request-number-again") {
            id.saturating_add(1)
        } else {
            request_id
        };
        table.set_state(id, State::Open { request_id, deadline_ms });
        Some((request_id, request))
    }

    /// Takes the numbers of requests that were asked and need no answer any more.
    pub(in crate::manager) fn take_withdrawn(&self) -> Vec<RequestId> {
        std::mem::take(&mut self.table.lock().withdrawn)
    }

    /// Returns whether `expire`, `next_noted`, `take_withdrawn` or `next_request` has something to do now.
    pub(in crate::manager) fn is_ready(&self, now: Now) -> bool {
        let mut table = self.table.lock();
        table.queue_deferred(now.steady_ms);
        let late = table.deadlines.first().is_some_and(|(at, _)| *at <= now.steady_ms);
        late || !table.noted.is_empty() || !table.withdrawn.is_empty() || table.next_queued().is_some()
    }

    /// Returns when, after `now`, `expire` or `next_request` has something to do although nobody called, by
    /// `Now::steady_ms`. A fetch that waits for a place has no time of its own: an open one ends first.
    pub(in crate::manager) fn next_deadline(&self, now: Now) -> Option<u64> {
        let mut table = self.table.lock();
        table.queue_deferred(now.steady_ms);
        let deferred = Lane::ALL.into_iter().filter(|lane| table.may_ask(*lane));
        let deferred = deferred.filter_map(|lane| table.lane(lane).deferred.first());
        deferred.chain(table.deadlines.first()).map(|(at, _)| *at).min()
    }

    /// Returns the open request with this number.
    pub(in crate::manager) fn request(&self, request_id: RequestId) -> Result<Request> {
        let mut table = self.table.lock();
        table.open(request_id).map(|(_, entry)| entry.request.clone())
    }

    /// Fails unless the request is one about trust and has a device with this index. Nothing of it is copied: ten
    /// thousand devices are judged by ten thousand calls.
    pub(in crate::manager) fn check_decision(&self, request_id: RequestId, index: usize) -> Result<()> {
        decision(self.table.lock().open(request_id)?.1, index).map(|_| ())
    }

    /// Notes the level of one device of a request about trust. Of two decisions about one device the one with the
    /// greater stamp holds.
    pub(in crate::manager) fn decide(
        &self,
        request_id: RequestId,
        index: usize,
        level: &str,
        stamp: Stamp,
    ) -> Result<()> {
        let mut table = self.table.lock();
        let place = decision(table.open(request_id)?.1, index)?;
        if place.as_ref().is_none_or(|(_, noted)| *noted <= stamp) {
            *place = Some((level.to_owned(), stamp));
        }
        Ok(())
    }

    /// Answers a request. The answer is noted; see [`OpenRequests::next_noted`]. A network request that is rejected as offline
    /// stays: it is asked again after the next `connected`, or after its deadline.
    pub(in crate::manager) fn answer(
        &self,
        request_id: RequestId,
        answer: Answer,
        now: Now,
        stamp: Stamp,
    ) -> Result<()> {
        let mut table = self.table.lock();
        let (id, entry) = table.open(request_id)?;
        if !fits(&entry.request, &answer) {
            return Err(Status::WrongAnswer.into());
        }
        if answer == Answer::Rejected(Reason::Offline)
            && let State::Open { deadline_ms: Some(until_ms), .. } = entry.state
        {
            table.set_state(id, State::Deferred { until_ms });
            return Ok(());
        }
        let answer = with_levels(entry, answer);
        let response = Response { answer, stamp, stream: table.stream, at: now };
        table.finish(id, response, None, Withdraw::No);
        Ok(())
    }

    /// Answers a fetch with what came in another way, such as a push, and was taken over there. The client is told that it
    /// need not answer any more. Returns false if there is no such fetch, or the answer does not fit it.
    pub(in crate::manager) fn supersede(
        &self,
        key: &RequestKey,
        answer: Answer,
        fact: F,
        stamp: Stamp,
        now: Now,
    ) -> bool {
        let mut table = self.table.lock();
        let Some(id) = table.keys.get(key).copied() else { return false };
        let Some(entry) = table.entries.get_mut(id) else { return false };
        if !is_fetch(&entry.request) || !fits(&entry.request, &answer) {
            return false;
        }
        let response = Response { answer, stamp, stream: table.stream, at: now };
        table.finish(id, response, None, Withdraw::Yes);
        table.noted.remove(&(stamp, id));
        let waiters = table.settle(id, fact);
        drop(table);
        waiters.into_values().for_each(Waker::wake);
        true
    }

    /// Rejects the requests whose deadline has passed as timed out, with a stamp of this moment.
    pub(in crate::manager) fn expire(&self, now: Now, stamps: &Stamps) {
        let mut table = self.table.lock();
        while let Some((at, id)) = table.deadlines.first().copied()
            && at <= now.steady_ms
        {
            let answer = Answer::Rejected(Reason::Timeout);
            let response = Response { answer, stamp: stamps.take(), stream: table.stream, at: now };
            table.finish(id, response, None, Withdraw::Yes);
            // `finish` has removed the deadline with its request; without a request the loop must end all the same.
            table.deadlines.remove(&(at, id));
        }
    }

    /// Notes that the stream is up: a new one, unless it was up already. What was deferred is asked at once.
    pub(in crate::manager) fn connected(&self) {
        let mut table = self.table.lock();
        if table.closed {
            return;
        }
        if !table.online {
            table.online = true;
            table.stream = table.stream.wrapping_add(1);
        }
        table.queue_deferred(u64::MAX);
    }

    /// Notes that the stream is down: open network requests are withdrawn, and asked again, by new numbers, when it is
    /// up.
    pub(in crate::manager) fn disconnected(&self) {
        let mut table = self.table.lock();
        table.online = false;
        while let Some((at, id)) = table.deadlines.pop_first() {
            let state = table.entries.get_mut(id).map(|entry| entry.state);
            if let Some(State::Open { request_id, .. }) = state {
                table.withdrawn.push(request_id);
                table.set_state(id, State::Queued);
            }
            table.deadlines.remove(&(at, id));
        }
    }

    /// Returns whether the stream is up.
    pub(in crate::manager) fn is_online(&self) -> bool {
        self.table.lock().online
    }

    /// Returns the number of the stream that is up, or was up last; 0 before the first one.
    pub(in crate::manager) fn stream(&self) -> u64 {
        self.table.lock().stream
    }

    /// Returns whether somebody waits for the answer to this request.
    #[cfg(test)]
    fn pending_for(&self, key: &RequestKey) -> bool {
        self.table.lock().keys.contains_key(key)
    }

    /// Returns whether no request is open or queued, and nothing is still to be taken over or withdrawn.
    pub(in crate::manager) fn is_idle(&self) -> bool {
        let table = self.table.lock();
        table.entries.is_empty() && table.noted.is_empty() && table.withdrawn.is_empty()
    }

    /// Ends everything: what was asked is withdrawn, and from now on every answer is stale.
    pub(in crate::manager) fn close(&self) {
        let mut table = self.table.lock();
        let mut old = std::mem::replace(&mut *table, RequestTable::new(0));
        let mut asked: Vec<RequestId> = old.requests.keys().copied().collect();
        asked.sort_unstable();
        table.withdrawn = old.withdrawn.iter().copied().chain(asked).collect();
        table.answered = std::mem::take(&mut old.answered);
        table.noted = std::mem::take(&mut old.noted);
        table.stream = old.stream;
        table.closed = true;
        drop(table);
        drop(old);
    }
}

/// Returns the place of a decision about one device of a request about trust.
fn decision(entry: &mut OpenRequest, index: usize) -> Result<&mut Option<(String, Stamp)>> {
    if !matches!(entry.request, Request::DecideTrust { .. }) {
        return Err(Status::WrongAnswer.into());
    }
    let place = entry.levels.get_mut(index);
    place.ok_or(Error::new(Status::Argument, "The request has no device with this index."))
}

/// Replaces the end of a request about trust by the decisions.
fn with_levels(entry: &mut OpenRequest, answer: Answer) -> Answer {
    let (Request::DecideTrust { devices, .. }, Answer::Done) = (&entry.request, &answer) else {
        return answer;
    };
    // By key: those who share the request may know the same keys in another order.
    let decided = devices.iter().zip(std::mem::take(&mut entry.levels));
    let levels = decided.filter_map(|(device, decision)| {
        let (level, stamp) = decision?;
        Some((device.jid.clone(), device.identity_key?, level, stamp))
    });
    Answer::Levels(levels.collect())
}

impl<F> RequestTable<F> {
    fn open(&mut self, request_id: RequestId) -> Result<(u64, &mut OpenRequest)> {
        let id = self.requests.get(&request_id).copied().ok_or(Error::from(Status::Stale))?;
        let entry = self.entries.get_mut(id).ok_or(Error::from(Status::Stale))?;
        Ok((id, entry))
    }
}

#[cfg(test)]
mod tests;
