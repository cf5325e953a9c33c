//! Open questions: who waits for which answer, what may be asked now, and when a question has waited for too long.
//!
//! Identical questions are asked once. Network questions are asked while the stream is up, fetches a limited number at
//! a time, and end at their deadline. Knows nothing of what an answer means.

use super::api::question::{Answer, Question, Reason, RequestId};
use crate::error::{Error, Result, Status};
use crate::runtime::next_number;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What makes two questions the same.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Topic {
    List(u32, String),
    Bundle(u32, String, u32),
    Trust(Vec<(String, [u8; 32])>),
    Alone(u64),
}

fn topic(question: &Question) -> Topic {
    match question {
        Question::FetchDeviceList { namespace, jid } => {
            Topic::List(namespace.code(), jid.as_str().to_owned())
        }
        Question::FetchBundle { namespace, jid, device } => {
            Topic::Bundle(namespace.code(), jid.as_str().to_owned(), device.get())
        }
        Question::DecideTrust { devices, .. } => {
            let mut keys: Vec<_> = devices
                .iter()
                .map(|device| (device.jid.as_str().to_owned(), device.identity_key.unwrap_or_default()))
                .collect();
            keys.sort();
            keys.dedup();
            Topic::Trust(keys)
        }
        _ => Topic::Alone(next_number()),
    }
}

fn is_network(question: &Question) -> bool {
    !matches!(question, Question::DecideTrust { .. })
}

fn is_fetch(question: &Question) -> bool {
    matches!(question, Question::FetchDeviceList { .. } | Question::FetchBundle { .. })
}

enum State {
    /// To be asked as soon as it may be; not before this time, unless the stream comes up again.
    Queued { not_before: u64 },
    /// Asked under this number; ends at this time. A question that is asked again gets a new number.
    Open { request: RequestId, deadline: Option<u64> },
}

struct Entry {
    topic: Topic,
    question: Question,
    state: State,
    levels: Vec<Option<String>>,
    waiters: HashMap<u64, Waker>,
    users: usize,
}

struct Answered {
    answer: Answer,
    users: usize,
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<u64, Entry>,
    topics: HashMap<Topic, u64>,
    requests: HashMap<RequestId, u64>,
    answered: HashMap<u64, Answered>,
    withdrawn: Vec<RequestId>,
    open_fetches: usize,
    online: bool,
}

/// All open questions of one manager.
pub(super) struct Desk {
    table: Mutex<Table>,
    timeout: u64,
    limit: usize,
}

impl Desk {
    /// `timeout`: milliseconds until a network question ends by itself. `limit`: fetches open at a time.
    pub(super) fn new(timeout: u64, limit: usize) -> Arc<Desk> {
        Arc::new(Desk { table: Mutex::default(), timeout, limit })
    }

    /// Asks, or joins those who wait for the same answer already.
    pub(super) fn ask(self: &Arc<Self>, question: Question) -> Ask {
        let mut table = self.table.lock();
        let topic = topic(&question);
        let key = match table.topics.get(&topic) {
            Some(key) => *key,
            None => {
                let key = next_number();
                let levels = match &question {
                    Question::DecideTrust { devices, .. } => vec![None; devices.len()],
                    _ => Vec::new(),
                };
                let state = State::Queued { not_before: 0 };
                let entry = Entry {
                    topic: topic.clone(),
                    question,
                    state,
                    levels,
                    waiters: HashMap::new(),
                    users: 0,
                };
                table.topics.insert(topic, key);
                table.entries.insert(key, entry);
                key
            }
        };
        if let Some(entry) = table.entries.get_mut(&key) {
            entry.users = entry.users.saturating_add(1);
        }
        Ask { desk: self.clone(), key, user: next_number(), done: false }
    }

    /// The next question that may be put to the client now.
    pub(super) fn next_ask(&self, now: u64) -> Option<(RequestId, Question)> {
        let mut table = self.table.lock();
        if !table.online {
            return None;
        }
        let may_fetch = table.open_fetches < self.limit;
        let (key, entry) = table.entries.iter_mut().find(|(_, entry)| {
            let due = matches!(entry.state, State::Queued { not_before } if not_before <= now);
            due && (may_fetch || !is_fetch(&entry.question))
        })?;
        let deadline = is_network(&entry.question).then(|| now.saturating_add(self.timeout));
        let request = next_number();
        entry.state = State::Open { request, deadline };
        let (key, question) = (*key, entry.question.clone());
        table.requests.insert(request, key);
        if is_fetch(&question) {
            table.open_fetches = table.open_fetches.saturating_add(1);
        }
        Some((request, question))
    }

    /// Questions that were asked and need no answer any more.
    pub(super) fn take_withdrawn(&self) -> Vec<RequestId> {
        std::mem::take(&mut self.table.lock().withdrawn)
    }

    /// Whether something could be delivered at `now`.
    pub(super) fn is_ready(&self, now: u64) -> bool {
        let table = self.table.lock();
        let may_fetch = table.open_fetches < self.limit;
        !table.withdrawn.is_empty()
            || table.entries.values().any(|entry| match entry.state {
                State::Queued { not_before } => {
                    table.online && not_before <= now && (may_fetch || !is_fetch(&entry.question))
                }
                State::Open { deadline, .. } => deadline.is_some_and(|deadline| deadline <= now),
            })
    }

    /// Notes the level of one device of a question about trust.
    pub(super) fn decide(&self, request: RequestId, index: usize, level: &str) -> Result<()> {
        let mut table = self.table.lock();
        let (_, entry) = table.open_entry(request)?;
        if !matches!(entry.question, Question::DecideTrust { .. }) {
            return Err(Status::WrongAnswer.into());
        }
        let slot = entry.levels.get_mut(index);
        *slot.ok_or_else(|| Error::new(Status::Argument, "No device of the question has this index."))? =
            Some(level.to_owned());
        Ok(())
    }

    /// The open question with this number.
    pub(super) fn question(&self, request: RequestId) -> Result<Question> {
        self.table.lock().open_entry(request).map(|(_, entry)| entry.question.clone())
    }

    /// Answers a question; whoever waits for it goes on in a later step.
    pub(super) fn answer(&self, request: RequestId, answer: Answer, now: u64) -> Result<()> {
        let mut table = self.table.lock();
        let (key, entry) = table.open_entry(request)?;
        let fits = match (&entry.question, &answer) {
            (_, Answer::Rejected(_)) => true,
            (Question::FetchDeviceList { namespace, .. }, Answer::DeviceList(list)) => {
                list.namespace == *namespace
            }
            (Question::FetchBundle { namespace, .. }, Answer::Bundle(bundle)) => {
                bundle.namespace == *namespace
            }
            (Question::FetchDeviceList { .. } | Question::FetchBundle { .. }, _) => false,
            (_, Answer::Done) => true,
            _ => false,
        };
        if !fits {
            return Err(Status::WrongAnswer.into());
        }
        if answer == Answer::Rejected(Reason::Offline) && is_network(&entry.question) {
            let not_before = match entry.state {
                State::Open { deadline, .. } => deadline.unwrap_or(now),
                State::Queued { not_before } => not_before,
            };
            table.requeue(key, not_before);
            return Ok(());
        }
        let answer = match (&entry.question, answer) {
            (Question::DecideTrust { devices, .. }, Answer::Done) => {
                // By key: who shares the question may know the same keys in another order.
                let levels = devices.iter().zip(std::mem::take(&mut entry.levels));
                let judged = levels
                    .filter_map(|(device, level)| Some((device.jid.clone(), device.identity_key?, level?)));
                Answer::Levels(judged.collect())
            }
            (_, answer) => answer,
        };
        let waiters = table.finish(key, answer);
        drop(table);
        waiters.into_values().for_each(Waker::wake);
        Ok(())
    }

    /// Ends what has waited for too long.
    pub(super) fn expire(&self, now: u64) {
        let mut waiters = Vec::new();
        let mut table = self.table.lock();
        let late: Vec<_> = table
            .entries
            .iter()
            .filter_map(|(key, entry)| match entry.state {
                State::Open { request, deadline: Some(at) } if at <= now => Some((*key, request)),
                _ => None,
            })
            .collect();
        for (key, request) in late {
            waiters.extend(table.finish(key, Answer::Rejected(Reason::Timeout)).into_values());
            table.withdrawn.push(request);
        }
        drop(table);
        waiters.into_iter().for_each(Waker::wake);
    }

    /// When, from `now` on, `expire` or `next_ask` has something to do although nobody came. A fetch that waits for
    /// other fetches has no time of its own: one of those ends first.
    pub(super) fn next_deadline(&self, now: u64) -> Option<u64> {
        let table = self.table.lock();
        let may_fetch = table.open_fetches < self.limit;
        let deadlines = table.entries.values().filter_map(|entry| match entry.state {
            State::Open { deadline, .. } => deadline,
            State::Queued { not_before } => {
                let may_ask = table.online && (may_fetch || !is_fetch(&entry.question));
                (may_ask && not_before > now).then_some(not_before)
            }
        });
        deadlines.min()
    }

    /// The stream is up: what was not answered for want of it is asked at once.
    pub(super) fn connected(&self) {
        let mut table = self.table.lock();
        table.online = true;
        for entry in table.entries.values_mut() {
            if let State::Queued { not_before } = &mut entry.state {
                *not_before = 0;
            }
        }
    }

    /// The stream is down: open network questions are withdrawn, and asked again (by a new number) when it is up.
    pub(super) fn disconnected(&self) {
        let mut table = self.table.lock();
        table.online = false;
        let open: Vec<_> =
            table.open().filter(|(_, _, entry)| is_network(&entry.question)).map(|o| (o.0, o.1)).collect();
        for (key, request) in open {
            table.withdrawn.push(request);
            table.requeue(key, 0);
        }
    }

    /// Whether the stream is up.
    pub(super) fn is_online(&self) -> bool {
        self.table.lock().online
    }

    /// The end: withdraws all that was asked; from now on every answer is stale.
    pub(super) fn close(&self) {
        let mut table = self.table.lock();
        table.online = false;
        let open: Vec<_> = table.open().map(|(_, request, _)| request).collect();
        table.withdrawn.extend(open);
        let entries = std::mem::take(&mut table.entries);
        table.topics.clear();
        table.requests.clear();
        drop(table);
        drop(entries);
    }
}

impl Table {
    fn open(&self) -> impl Iterator<Item = (u64, RequestId, &Entry)> {
        self.entries.iter().filter_map(|(key, entry)| match entry.state {
            State::Open { request, .. } => Some((*key, request, entry)),
            State::Queued { .. } => None,
        })
    }

    fn open_entry(&mut self, request: RequestId) -> Result<(u64, &mut Entry)> {
        let key = self.requests.get(&request).copied();
        key.and_then(|key| Some((key, self.entries.get_mut(&key)?))).ok_or(Status::Stale.into())
    }

    /// Its request, if it was asked, is over.
    fn unask(&mut self, key: u64) {
        let Some(entry) = self.entries.get(&key) else { return };
        if let State::Open { request, .. } = entry.state {
            let fetch = is_fetch(&entry.question);
            self.requests.remove(&request);
            self.open_fetches = self.open_fetches.saturating_sub(fetch.into());
        }
    }

    fn remove(&mut self, key: u64) -> Option<Entry> {
        self.unask(key);
        let entry = self.entries.remove(&key)?;
        self.topics.remove(&entry.topic);
        Some(entry)
    }

    fn finish(&mut self, key: u64, answer: Answer) -> HashMap<u64, Waker> {
        let Some(entry) = self.remove(key) else { return HashMap::new() };
        self.answered.insert(key, Answered { answer, users: entry.users });
        entry.waiters
    }

    fn requeue(&mut self, key: u64, not_before: u64) {
        self.unask(key);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = State::Queued { not_before };
        }
    }
}

/// A wait for an answer. Dropping it says that the answer is not needed here any more.
pub(super) struct Ask {
    desk: Arc<Desk>,
    key: u64,
    user: u64,
    done: bool,
}

impl Future for Ask {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let desk = self.desk.clone();
        let mut table = desk.table.lock();
        if let Some(answered) = table.answered.get_mut(&self.key) {
            answered.users = answered.users.saturating_sub(1);
            let (answer, users) = (answered.answer.clone(), answered.users);
            if users == 0 {
                table.answered.remove(&self.key);
            }
            self.done = true;
            return Poll::Ready(answer);
        }
        match table.entries.get_mut(&self.key) {
            Some(entry) => {
                let old = entry.waiters.insert(self.user, context.waker().clone());
                drop(table);
                drop(old);
                Poll::Pending
            }
            // Closed: the task is about to be dropped.
            None => Poll::Pending,
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let desk = self.desk.clone();
        let mut table = desk.table.lock();
        if let Some(answered) = table.answered.get_mut(&self.key) {
            answered.users = answered.users.saturating_sub(1);
            if answered.users == 0 {
                table.answered.remove(&self.key);
            }
            return;
        }
        let Some(entry) = table.entries.get_mut(&self.key) else { return };
        let waker = entry.waiters.remove(&self.user);
        entry.users = entry.users.saturating_sub(1);
        let removed = if entry.users == 0 { table.remove(self.key) } else { None };
        if let Some(State::Open { request, .. }) = removed.as_ref().map(|entry| &entry.state) {
            let request = *request;
            table.withdrawn.push(request);
        }
        drop(table);
        drop((waker, removed));
    }
}

#[cfg(test)]
mod tests;
