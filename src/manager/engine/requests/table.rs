//! The state behind the lock: every open request, and the queues in which it stands. Each change costs O(log n).

use super::super::{Answer, Now, Request, RequestId, Stamp};
use super::key::{Lane, RequestKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::task::Waker;

/// How far a request has come.
#[derive(Clone, Copy)]
pub(super) enum State {
    /// It is asked as soon as its lane allows it.
    Queued,
    /// It is not asked before this time, unless the stream comes up again.
    Deferred { until_ms: u64 },
    /// It was asked under this number and ends at this time. A request that is asked again gets another number.
    Open { request_id: RequestId, deadline_ms: Option<u64> },
}

/// One request, for all who asked it.
pub(super) struct OpenRequest {
    pub(super) key: RequestKey,
    pub(super) request: Request,
    pub(super) lane: Lane,
    pub(super) state: State,
    /// The decisions so far, one place for each device of a request about trust.
    pub(super) levels: Vec<Option<(String, Stamp)>>,
    /// By the number of the future: they are woken in the order in which they asked.
    pub(super) waiters: BTreeMap<u64, Waker>,
    pub(super) users: usize,
}

impl OpenRequest {
    pub(super) fn new(key: RequestKey, request: Request, lane: Lane) -> OpenRequest {
        let levels = match &request {
            Request::DecideTrust { devices, .. } => vec![None; devices.len()],
            _ => Vec::new(),
        };
        OpenRequest { key, request, lane, state: State::Queued, levels, waiters: BTreeMap::new(), users: 0 }
    }
}

/// An answer, with when and where it was given.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::manager) struct Response {
    /// The answer.
    pub(in crate::manager) answer: Answer,
    /// The stamp of the call that gave it.
    pub(in crate::manager) stamp: Stamp,
    /// The stream in which it was given; see [`super::OpenRequests::stream`].
    pub(in crate::manager) stream: u64,
    /// When it was given.
    pub(in crate::manager) at: Now,
}

/// A response that was taken over, with what it amounted to.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::manager) struct Settled<F> {
    /// The response.
    pub(in crate::manager) response: Arc<Response>,
    /// What it amounted to.
    pub(in crate::manager) fact: F,
}

/// A response that is still to be taken over, or that not all who asked have fetched yet.
pub(super) struct Answered<F> {
    pub(super) key: RequestKey,
    pub(super) response: Arc<Response>,
    /// `None`: it is still to be taken over.
    pub(super) fact: Option<F>,
    pub(super) waiters: BTreeMap<u64, Waker>,
    pub(super) users: usize,
}

/// The requests by their numbers. It offers no way to walk through all of them: an event costs what it changes.
#[derive(Default)]
pub(super) struct Entries {
    map: HashMap<u64, OpenRequest>,
    /// How many entries were looked at, ever.
    #[cfg(test)]
    pub(super) visits: usize,
}

impl Entries {
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut OpenRequest> {
        self.visit();
        self.map.get_mut(&id)
    }

    pub(super) fn insert(&mut self, id: u64, entry: OpenRequest) {
        self.visit();
        self.map.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<OpenRequest> {
        self.visit();
        self.map.remove(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    #[cfg(test)]
    fn visit(&mut self) {
        self.visits = self.visits.saturating_add(1);
    }

    #[cfg(not(test))]
    fn visit(&self) {}
}

/// The requests of one lane. Numbers grow, so the smallest one has waited for longest.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) queued: BTreeSet<u64>,
    /// By the time until which each is deferred.
    pub(super) deferred: BTreeSet<(u64, u64)>,
    pub(super) open: usize,
}

/// All of it.
pub(super) struct RequestTable<F> {
    pub(super) entries: Entries,
    pub(super) keys: HashMap<RequestKey, u64>,
    pub(super) requests: HashMap<RequestId, u64>,
    /// Every open network request by its deadline.
    pub(super) deadlines: BTreeSet<(u64, u64)>,
    pub(super) answered: HashMap<u64, Answered<F>>,
    /// What is still to be taken over, in the order in which it was said.
    pub(super) noted: BTreeSet<(Stamp, u64)>,
    pub(super) withdrawn: Vec<RequestId>,
    unlimited: Queue,
    foreground: Queue,
    background: Queue,
    strangers: Queue,
    max_fetches: usize,
    pub(super) online: bool,
    pub(super) closed: bool,
    pub(super) stream: u64,
}

impl<F> RequestTable<F> {
    pub(super) fn new(max_fetches: usize) -> RequestTable<F> {
        RequestTable {
            entries: Entries::default(),
            keys: HashMap::new(),
            requests: HashMap::new(),
            deadlines: BTreeSet::new(),
            answered: HashMap::new(),
            noted: BTreeSet::new(),
            withdrawn: Vec::new(),
            unlimited: Queue::default(),
            foreground: Queue::default(),
            background: Queue::default(),
            strangers: Queue::default(),
            max_fetches,
            online: false,
            closed: false,
            stream: 0,
        }
    }

    pub(super) fn lane(&self, lane: Lane) -> &Queue {
        match lane {
            Lane::Unlimited => &self.unlimited,
            Lane::Foreground => &self.foreground,
            Lane::Background => &self.background,
            Lane::Stranger => &self.strangers,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Unlimited => &mut self.unlimited,
            Lane::Foreground => &mut self.foreground,
            Lane::Background => &mut self.background,
            Lane::Stranger => &mut self.strangers,
        }
    }

    /// Returns whether one more request of a lane may go out. The background has half of the places for fetches, strangers
    /// have half of these; each has at least one.
    pub(super) fn may_ask(&self, lane: Lane) -> bool {
        let max = self.max_fetches.max(1);
        let background = self.background.open.saturating_add(self.strangers.open);
        let free = self.foreground.open.saturating_add(background) < max;
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("background-takes-all-fetches") {
            return self.online && (lane == Lane::Unlimited || free);
        }
        let half = max.checked_div(2).unwrap_or(0).max(1);
        self.online
            && match lane {
                Lane::Unlimited => true,
                Lane::Foreground => free,
                Lane::Background => free && background < half,
                Lane::Stranger => {
                    let quarter = half.checked_div(2).unwrap_or(0).max(1);
                    free && background < half && self.strangers.open < quarter
                }
            }
    }

    /// Returns the request that is to be asked next. The background comes last, so that the foreground waits for no
    /// fetch of the background but those that are open already.
    pub(super) fn next_queued(&self) -> Option<u64> {
        let first = |lane| if self.may_ask(lane) { self.lane(lane).queued.first().copied() } else { None };
        let foreground = [first(Lane::Unlimited), first(Lane::Foreground)].into_iter().flatten().min();
        foreground.or_else(|| first(Lane::Background)).or_else(|| first(Lane::Stranger))
    }

    /// Queues what was deferred until `now_ms` or earlier.
    pub(super) fn queue_deferred(&mut self, now_ms: u64) {
        for lane in Lane::ALL {
            while let Some((until_ms, id)) = self.lane(lane).deferred.first().copied()
                && until_ms <= now_ms
            {
                self.set_state(id, State::Queued);
                // The entry has left by itself; this holds even if there were none.
                self.lane_mut(lane).deferred.remove(&(until_ms, id));
            }
        }
    }

    /// Adds a request, queued.
    pub(super) fn insert(&mut self, id: u64, entry: OpenRequest) {
        self.keys.insert(entry.key.clone(), id);
        self.lane_mut(entry.lane).queued.insert(id);
        self.entries.insert(id, entry);
    }

    /// Takes a request out of where its state has put it.
    fn leave(&mut self, id: u64, lane: Lane, state: State) {
        match state {
            State::Queued => {
                self.lane_mut(lane).queued.remove(&id);
            }
            State::Deferred { until_ms } => {
                self.lane_mut(lane).deferred.remove(&(until_ms, id));
            }
            State::Open { request_id, deadline_ms } => {
                self.requests.remove(&request_id);
                if let Some(deadline_ms) = deadline_ms {
                    self.deadlines.remove(&(deadline_ms, id));
                }
                let queue = self.lane_mut(lane);
                queue.open = queue.open.saturating_sub(1);
            }
        }
    }

    fn enter(&mut self, id: u64, lane: Lane, state: State) {
        match state {
            State::Queued => {
                self.lane_mut(lane).queued.insert(id);
            }
            State::Deferred { until_ms } => {
                self.lane_mut(lane).deferred.insert((until_ms, id));
            }
            State::Open { request_id, deadline_ms } => {
                self.requests.insert(request_id, id);
                if let Some(deadline_ms) = deadline_ms {
                    self.deadlines.insert((deadline_ms, id));
                }
                let queue = self.lane_mut(lane);
                queue.open = queue.open.saturating_add(1);
            }
        }
    }

    /// Changes how far a request has come.
    pub(super) fn set_state(&mut self, id: u64, state: State) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (lane, old) = (entry.lane, std::mem::replace(&mut entry.state, state));
        self.leave(id, lane, old);
        self.enter(id, lane, state);
    }

    /// Moves a fetch to a lane that is served earlier; others stay where they are.
    pub(super) fn lift(&mut self, id: u64, to: Lane) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let earlier = matches!(
            (entry.lane, to),
            (Lane::Background | Lane::Stranger, Lane::Foreground) | (Lane::Stranger, Lane::Background)
        );
        if earlier {
            let (from, state) = (std::mem::replace(&mut entry.lane, to), entry.state);
            self.leave(id, from, state);
            self.enter(id, to, state);
        }
    }

    /// Takes a request out; if it was asked, it is withdrawn where `withdraw` says so. What is returned must be dropped
    /// when the lock is released: wakers may own tasks.
    pub(super) fn remove(&mut self, id: u64, withdraw: Withdraw) -> Option<OpenRequest> {
        let entry = self.entries.remove(id)?;
        self.leave(id, entry.lane, entry.state);
        self.keys.remove(&entry.key);
        if let (State::Open { request_id, .. }, Withdraw::Yes) = (entry.state, withdraw) {
            self.withdrawn.push(request_id);
        }
        Some(entry)
    }

    /// Gives a request its response, which is still to be taken over. `fact`: it was taken over already.
    pub(super) fn finish(&mut self, id: u64, response: Response, fact: Option<F>, withdraw: Withdraw) {
        let Some(entry) = self.remove(id, withdraw) else { return };
        let OpenRequest { key, waiters, users, .. } = entry;
        if fact.is_none() {
            self.noted.insert((response.stamp, id));
        }
        self.answered.insert(id, Answered { key, response: Arc::new(response), fact, waiters, users });
    }

    /// Notes what a response amounted to. Returns those to wake, when the lock is released.
    pub(super) fn settle(&mut self, id: u64, fact: F) -> BTreeMap<u64, Waker> {
        let Some(answered) = self.answered.get_mut(&id) else { return BTreeMap::new() };
        answered.fact = Some(fact);
        let waiters = std::mem::take(&mut answered.waiters);
        if answered.users == 0 {
            self.answered.remove(&id);
        }
        waiters
    }

    /// Notes that one of those who asked needs the response no more. Returns whether there is one. It is taken over
    /// although nobody may need it any more.
    pub(super) fn release_response(&mut self, id: u64, user: u64) -> (bool, Option<Waker>) {
        let Some(answered) = self.answered.get_mut(&id) else { return (false, None) };
        answered.users = answered.users.saturating_sub(1);
        let waker = answered.waiters.remove(&user);
        if answered.users == 0 && answered.fact.is_some() {
            self.answered.remove(&id);
        }
        (true, waker)
    }
}

impl<F: Clone> RequestTable<F> {
    /// Fetches a response that was taken over for one of those who asked.
    pub(super) fn take_response(&mut self, id: u64, user: u64) -> Option<Settled<F>> {
        let answered = self.answered.get(&id)?;
        let settled = Settled { response: answered.response.clone(), fact: answered.fact.clone()? };
        self.release_response(id, user);
        Some(settled)
    }
}

/// Whether the client is told that a request which it was asked needs no answer any more.
#[derive(Clone, Copy)]
pub(super) enum Withdraw {
    Yes,
    /// The client has answered it.
    No,
}
