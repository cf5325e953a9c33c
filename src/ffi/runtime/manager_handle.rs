//! A manager behind its handle: its parts, the calls that use it, and its end.
//!
//! Every call of a manager is a user of it. Freeing the manager marks it; the last user that leaves ends it, outside of
//! all locks and services. Events are delivered by one thread at a time.

use super::super::api::callbacks::Callbacks;
use super::super::api::log::Log;
use super::super::api::operations::omemo_done;
use super::super::api::results::omemo_result;
use super::super::api::storage::Store;
use super::super::boundary::ids::IdRegistry;
use super::super::boundary::returns::Out;
use super::super::boundary::user_data::UserData;
use super::super::boundary::{args, guard, handles};
use super::client_callbacks::ClientCallbacks;
use super::wakeup::WakeupSignal;
use crate::crypto::rng::SystemRng;
use crate::error::{Error, Result, Status};
use crate::manager::api::event::Event;
use crate::manager::api::question::Answer;
use crate::manager::api::report::Outcome;
use crate::manager::api::services::{LogLevel, Services};
use crate::manager::{Config, Manager};
use crate::protocol::address::BareJid;
use crate::runtime::next_number;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::c_void;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Events that one run delivers.
const EVENTS_PER_RUN: usize = 1_000;
/// Results that are kept without a call that waits for them.
const RESULTS: usize = 1_000;

/// Open questions.
pub(in crate::ffi) static REQUESTS: IdRegistry<omemo_manager> = IdRegistry::new();
/// Running operations.
static OPERATIONS: IdRegistry<omemo_manager> = IdRegistry::new();

/// One account, opened on its store.
///
/// Fill in an omemo_config and call omemo_manager_new. Call omemo_manager_connected for each new stream and
/// omemo_manager_disconnected when it is lost. Call omemo_manager_run when wakeup has been called or
/// omemo_manager_timeout has passed: it makes all progress and calls all events. A blocking program calls
/// omemo_manager_wait instead. Pass pushed device lists to omemo_manager_update_device_list and received stanzas to
/// omemo_manager_decrypt_xml; send with omemo_manager_encrypt. End it with omemo_manager_free.
///
/// All its functions may be called from every thread. Several managers are independent of each other.
pub struct omemo_manager {
    manager: Manager,
    jid: BareJid,
    client: Arc<ClientCallbacks>,
    signal: Arc<WakeupSignal>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: usize,
    freed: bool,
    ended: bool,
    /// The thread that delivers events.
    running: Option<usize>,
    /// Another thread tried to deliver events meanwhile.
    refused: bool,
    operations: HashMap<u64, Operation>,
    /// Ends that were not delivered, because the start had not returned.
    early: VecDeque<(u64, Outcome)>,
    results: BTreeMap<u64, omemo_result>,
    /// How many wait for an operation.
    waiting: HashMap<u64, usize>,
}

struct Operation {
    completion: Completion,
    started: bool,
    early: Option<Outcome>,
}

/// All that a manager is made of.
pub(in crate::ffi) struct Parts {
    pub(in crate::ffi) config: Config,
    pub(in crate::ffi) storage: Arc<Store>,
    pub(in crate::ffi) callbacks: Arc<Callbacks>,
    pub(in crate::ffi) log: Option<Arc<Log>>,
}

/// What happens with the end of an operation.
pub(in crate::ffi) enum Completion {
    /// The client is called.
    Call(
        unsafe extern "C" fn(*mut c_void, u64, super::super::api::status::omemo_status, *const omemo_result),
        UserData,
    ),
    /// The result is kept for `omemo_manager_wait`.
    Keep,
    /// The result is dropped.
    Forget,
}

impl Completion {
    /// Returns what the client wants: `number` is where it takes the operation's number to wait for it.
    pub(in crate::ffi) fn new(
        done: omemo_done,
        user_data: *mut c_void,
        number: Option<&Out<u64>>,
    ) -> Completion {
        match (done, number) {
            (Some(done), _) => Completion::Call(done, UserData::new(user_data, None)),
            (None, Some(_)) => Completion::Keep,
            (None, None) => Completion::Forget,
        }
    }
}

/// Opens an account, for the client.
pub(in crate::ffi) fn open(parts: Parts) -> Result<*mut omemo_manager> {
    let storage = parts.storage.open()?;
    let signal = Arc::new(WakeupSignal::default());
    let client = Arc::new(ClientCallbacks::new(parts.callbacks, parts.log, signal.clone()));
    let jid = parts.config.jid.clone();
    let manager = Manager::open(parts.config, storage, client.clone(), Box::new(SystemRng))?;
    let opened = omemo_manager { manager, jid, client, signal, state: Mutex::default() };
    Ok(handles::into_shared_handle(Arc::new(opened)))
}

/// Returns a manager for the length of a call.
///
/// # Safety
/// `handle` must be NULL or come from `open`, and not have ended.
pub(in crate::ffi) unsafe fn enter(handle: *const omemo_manager) -> Result<CallGuard> {
    // SAFETY: the same promise.
    CallGuard::enter(args::required(unsafe { handles::shared(handle) })?)
}

/// A call that uses a manager, which does not end meanwhile.
pub(in crate::ffi) struct CallGuard {
    manager: Arc<omemo_manager>,
    /// The thread was panicking before the call.
    panicking: bool,
}

/// The manager of an open question or a running operation, for the length of a call. One that was freed has neither.
fn enter_by_id(registry: &IdRegistry<omemo_manager>, id: u64) -> Result<CallGuard> {
    let guard = registry.owner(id).and_then(|manager| CallGuard::enter(manager).ok());
    guard.ok_or(Error::from(Status::Stale))
}

/// The manager of a running operation, for the length of a call.
pub(in crate::ffi) fn enter_by_operation(op: u64) -> Result<CallGuard> {
    enter_by_id(&OPERATIONS, op)
}

/// The manager of an open question, for the length of a call.
pub(in crate::ffi) fn enter_by_request(request: u64) -> Result<CallGuard> {
    enter_by_id(&REQUESTS, request)
}

/// Answers a request of any manager.
pub(in crate::ffi) fn answer(request: u64, answer: Answer) -> Result<()> {
    let manager = enter_by_request(request)?;
    answer_to(&manager, request, answer)
}

/// Answers a request of this manager.
pub(in crate::ffi) fn answer_to(manager: &omemo_manager, request: u64, answer: Answer) -> Result<()> {
    let answered = manager.manager().answer(request, answer);
    let over = answered.as_ref().err().is_none_or(|error| error.status() == Status::Stale);
    if over {
        REQUESTS.remove(request);
    }
    answered
}

impl Deref for CallGuard {
    type Target = Arc<omemo_manager>;

    fn deref(&self) -> &Arc<omemo_manager> {
        &self.manager
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.panicking {
            let client = self.manager.client.clone();
            guard::later(Box::new(move || client.log(LogLevel::Error, "omemo::ffi", &guard::last_panic())));
        }
        let last = {
            let mut state = self.manager.state.lock();
            state.users = state.users.saturating_sub(1);
            let last = state.freed && state.users == 0 && !state.ended;
            state.ended |= last;
            last
        };
        if last {
            let manager = self.manager.clone();
            guard::later(Box::new(move || manager.end()));
        }
    }
}

impl CallGuard {
    /// Fails once the manager was freed.
    pub(in crate::ffi) fn enter(manager: Arc<omemo_manager>) -> Result<CallGuard> {
        {
            let mut state = manager.state.lock();
            if state.freed {
                return Err(Status::Cancelled.into());
            }
            state.users = state.users.saturating_add(1);
        }
        Ok(CallGuard { manager, panicking: std::thread::panicking() })
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
        OPERATIONS.insert(op, &self.manager);
        let starting = Starting { manager: &self.manager, op, begun: false };
        begin(&self.manager.manager, op)?;
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
    pub(in crate::ffi) fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Returns the JID of the account.
    pub(in crate::ffi) fn jid(&self) -> &BareJid {
        &self.jid
    }

    /// Returns milliseconds since 1970 by the client's clock.
    pub(in crate::ffi) fn now(&self) -> i64 {
        self.client.wall_clock()
    }

    /// Marks the manager as freed. It ends when its last user leaves.
    pub(in crate::ffi) fn free(self: &Arc<Self>) {
        let user = {
            let mut state = self.state.lock();
            if state.freed {
                return;
            }
            state.freed = true;
            state.users = state.users.saturating_add(1);
            CallGuard { manager: self.clone(), panicking: std::thread::panicking() }
        };
        self.manager.shut();
        self.signal.notify();
        drop(user);
    }

    /// Ends the manager: delivers the last events, then drops the client's tables and its handle. No call uses the
    /// manager any more.
    fn end(self: Arc<Self>) {
        self.state.lock().running = Some(guard::this_thread());
        self.manager.close();
        while let Some(event) = self.next_event() {
            self.deliver(event);
        }
        let (left, results) = {
            let mut state = self.state.lock();
            let left: Vec<u64> = state.operations.keys().copied().collect();
            (left, std::mem::take(&mut state.results))
        };
        drop(results);
        for op in left {
            self.finish(op, Outcome::bare(Status::Cancelled));
        }
        self.client.close();
        let handle = Arc::as_ptr(&self);
        // SAFETY: the reference that `open` gave to the client, who has freed it.
        unsafe { handles::free_shared_handle(handle) };
    }

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
    fn deliver_events(self: &Arc<Self>, budget: &mut usize) -> Result<()> {
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

    fn next_event(&self) -> Option<Event> {
        let early = self.state.lock().early.pop_front();
        early.map(|(op, outcome)| Event::Done(op, outcome)).or_else(|| self.manager.next_event())
    }

    fn deliver(self: &Arc<Self>, event: Event) {
        match event {
            Event::Question(request, question) => {
                REQUESTS.insert(request, self);
                if let Err(reason) = self.client.ask(request, question) {
                    // It may have been withdrawn by another thread: then nobody needs this answer.
                    drop(answer_to(self, request, Answer::Rejected(reason)));
                }
            }
            Event::Withdrawn(request) => {
                REQUESTS.remove(request);
                self.client.withdrawn(request);
            }
            Event::Done(op, outcome) => self.finish(op, outcome),
            Event::Notify(notice) => self.client.notify(&notice),
        }
    }

    /// Delivers the end of an operation, or keeps it.
    fn finish(&self, op: u64, outcome: Outcome) {
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

    /// Returns milliseconds until `run` should be called.
    pub(in crate::ffi) fn timeout(&self) -> Option<u64> {
        if self.state.lock().early.is_empty() { self.manager.timeout() } else { Some(0) }
    }

    /// Returns whether nothing is left to do without new input.
    pub(in crate::ffi) fn is_idle(&self) -> bool {
        let delivered = self.state.lock().early.is_empty();
        delivered && self.manager.is_idle()
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
