//! One account: policy over traits. Knows no XML and no C.
//!
//! Starting an operation, answering a question and cancelling only take note; `next_event` is where operations
//! advance and where news come out. Decryption and the setters are done at once. An operation gathers what is missing
//! (`desk` asks for it) and then commits once, with no wait between loading a session and storing it.
//!
//! Locks: the account's is held while a service runs; those of `desk`, `operations`, `events` and `sleep` are leaves.
//! Nobody is woken, and `Services::wakeup` is not called, with one of them held.

mod account;
pub mod api;
pub mod clock;
pub mod config;
mod connection;
mod decrypt;
mod desk;
mod devices;
mod encrypt;
mod follow_up;
mod gather;
mod layout;
mod leaving;
mod own;
mod publish;
mod records;
mod sessions;
mod trust;
mod turns;

use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::device_list::DeviceList;
use crate::protocol::message::Message;
use crate::protocol::namespace::Namespace;
use crate::runtime::{Runtime, Signal};
use crate::storage::Storage;
use account::Account;
use api::decrypted::Decrypted;
use api::device::Device;
use api::draft::Draft;
use api::event::{Event, OperationId};
use api::question::{Answer, Question, RequestId};
use api::report::Outcome;
use api::services::Services;
use clock::{Clock, Now};
pub use config::Config;
use desk::Desk;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One account. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Manager {
    inner: Arc<Inner>,
}

/// What an operation is, as far as it matters to those who did not start it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It ends when the stream does.
    NeedsStream,
    /// It waits for the next stream.
    Patient,
}

struct Operation {
    kind: Kind,
    task: Option<async_task::Task<()>>,
}

struct Sleeping {
    asleep: bool,
    until: Option<u64>,
}

/// What all parts of the manager share.
pub(crate) struct Inner {
    config: Config,
    services: Arc<dyn Services>,
    clock: Clock,
    runtime: Runtime,
    desk: Arc<Desk>,
    /// Rings when there are follow-ups to do, or when the stream came up.
    work: Signal,
    /// Rings when a follow-up has succeeded or failed.
    progress: Signal,
    account: Mutex<Option<Account>>,
    /// Encryptions by their recipients, in the order in which they were started.
    turns: Mutex<turns::Turns>,
    /// Rings when an encryption is over.
    turned: Signal,
    operations: Mutex<BTreeMap<OperationId, Operation>>,
    background: Mutex<Vec<async_task::Task<()>>>,
    events: Mutex<VecDeque<Event>>,
    sleeping: Mutex<Sleeping>,
    closed: AtomicBool,
}

impl Inner {
    /// What time it is.
    fn now(&self) -> Now {
        self.clock.now(&*self.services)
    }

    /// Works on the account, with its lock held.
    fn account<T>(&self, work: impl FnOnce(&mut Account) -> Result<T>) -> Result<T> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Status::Cancelled.into());
        }
        let (result, notices, follow_ups) = {
            let mut slot = self.account.lock();
            let account = slot.as_mut().ok_or(Error::from(Status::Cancelled))?;
            // A commit that failed elsewhere is nobody else's failure. What cannot be read is told by whoever needs it.
            let _ = account.ensure_loaded();
            let result = work(account);
            (result, account.take_notices(), account.take_new_work())
        };
        self.events.lock().extend(notices.into_iter().map(Event::Notify));
        if follow_ups {
            self.work.notify();
        }
        result
    }

    /// Ends an operation, unless it has ended before.
    fn complete(&self, operation: OperationId, outcome: Outcome) {
        let ended = self.operations.lock().remove(&operation);
        if ended.is_some() {
            self.events.lock().push_back(Event::Done(operation, outcome));
        }
    }

    fn is_ready(&self) -> bool {
        let now = self.now().steady;
        let timer = self.runtime.next_timer().is_some_and(|at| at <= now);
        self.runtime.is_ready() || timer || !self.events.lock().is_empty() || self.desk.is_ready(now)
    }

    fn next_time(&self) -> Option<u64> {
        let now = self.now().steady;
        [self.runtime.next_timer(), self.desk.next_deadline(now)].into_iter().flatten().min()
    }

    /// Rings if there is work, or an earlier time to come back, that the client does not know of. No lock is held.
    fn wake(&self) {
        let next = self.next_time();
        let ready = self.is_ready();
        let ring = {
            let mut sleeping = self.sleeping.lock();
            let earlier = match (next, sleeping.until) {
                (Some(next), Some(until)) => next < until,
                (Some(_), None) => true,
                (None, _) => false,
            };
            let ring = sleeping.asleep && (ready || earlier);
            if ring {
                sleeping.asleep = false;
            }
            ring
        };
        if ring {
            self.services.wakeup();
        }
    }
}

impl Manager {
    /// Opens the account; works offline and asks nothing. Keys are made on the first run only.
    pub fn open(
        config: Config,
        storage: Arc<dyn Storage>,
        services: Arc<dyn Services>,
        rng: Box<dyn Rng>,
    ) -> Result<Manager> {
        let clock = Clock::default();
        let now = clock.now(&*services);
        let account = Account::open(config.clone(), storage, services.clone(), rng, now)?;
        let desk = Desk::new(config.request_timeout_ms, config.max_open_fetches);
        let inner = Arc::new(Inner {
            config,
            services,
            clock,
            runtime: Runtime::default(),
            desk,
            work: Signal::default(),
            progress: Signal::default(),
            turns: Mutex::default(),
            turned: Signal::default(),
            account: Mutex::new(Some(account)),
            operations: Mutex::default(),
            background: Mutex::default(),
            events: Mutex::default(),
            sleeping: Mutex::new(Sleeping { asleep: true, until: None }),
            closed: AtomicBool::new(false),
        });
        let worker = inner.runtime.spawn(follow_up::work(inner.clone()));
        inner.background.lock().push(worker);
        Ok(Manager { inner })
    }

    fn start(
        &self,
        operation: OperationId,
        kind: Kind,
        future: impl Future<Output = Outcome> + Send + 'static,
    ) -> Result<()> {
        if self.inner.closed.load(Ordering::SeqCst) {
            return Err(Status::Cancelled.into());
        }
        self.inner.operations.lock().insert(operation, Operation { kind, task: None });
        let inner = self.inner.clone();
        let task = self.inner.runtime.spawn(async move {
            let outcome = future.await;
            inner.complete(operation, outcome);
        });
        match self.inner.operations.lock().get_mut(&operation) {
            Some(slot) => slot.task = Some(task),
            None => drop(task),
        }
        self.inner.wake();
        Ok(())
    }

    /// The stream is up. First time: choose the device id, publish the bundle, then the list; later: compare and
    /// repair. `operation` is a fresh number.
    pub fn connected(&self, operation: OperationId) -> Result<()> {
        self.inner.account(|account| {
            account.connected();
            Ok(())
        })?;
        self.inner.desk.connected();
        self.inner.work.notify();
        // Begun here: an operation may be cancelled before it was ever polled.
        let comparison = publish::Comparison::begin(&self.inner)?;
        self.start(operation, Kind::NeedsStream, publish::connected(self.inner.clone(), comparison))
    }

    /// The stream is down: network questions are withdrawn, and asked again after the next `connected`.
    pub fn disconnected(&self) -> Result<()> {
        if self.inner.closed.load(Ordering::SeqCst) {
            return Err(Status::Cancelled.into());
        }
        self.inner.desk.disconnected();
        let ended: Vec<_> = {
            let operations = self.inner.operations.lock();
            operations.iter().filter(|(_, o)| o.kind == Kind::NeedsStream).map(|(id, _)| *id).collect()
        };
        for operation in ended {
            self.end(operation, Status::Offline);
        }
        self.inner.wake();
        Ok(())
    }

    /// Fetches device lists and unknown keys of a JID.
    pub fn refresh_devices(
        &self,
        operation: OperationId,
        jid: Option<BareJid>,
        namespace: Option<Namespace>,
    ) -> Result<()> {
        if namespace.is_some_and(|namespace| !self.inner.config.namespaces.contains(&namespace)) {
            return Err(Status::UnknownNamespace.into());
        }
        if !self.inner.desk.is_online() {
            return Err(Status::Offline.into());
        }
        let jid = jid.unwrap_or_else(|| self.inner.config.jid.clone());
        self.start(operation, Kind::NeedsStream, devices::refresh(self.inner.clone(), jid, namespace))
    }

    /// Encrypts; see [`Draft`].
    pub fn encrypt(&self, operation: OperationId, draft: Draft) -> Result<()> {
        let turn = encrypt::prepare(&self.inner, &draft)?;
        self.start(operation, Kind::Patient, encrypt::run(self.inner.clone(), draft, turn))
    }

    fn end(&self, operation: OperationId, status: Status) -> bool {
        let ended = self.inner.operations.lock().remove(&operation);
        let known = ended.is_some();
        if known {
            self.inner.events.lock().push_back(Event::Done(operation, Outcome::bare(status)));
        }
        drop(ended);
        known
    }

    /// Ends an operation with `Cancelled`. What it has committed stays.
    pub fn cancel(&self, operation: OperationId) -> Result<()> {
        let known = self.end(operation, Status::Cancelled);
        self.inner.wake();
        if known { Ok(()) } else { Err(Status::Stale.into()) }
    }

    /// The open question with this number.
    pub fn question(&self, request: RequestId) -> Result<Question> {
        self.inner.desk.question(request)
    }

    /// Notes the level of one device of a question about trust. The name of the level is checked at once.
    pub fn decide(&self, request: RequestId, index: usize, level: &str) -> Result<()> {
        let Question::DecideTrust { devices, .. } = self.inner.desk.question(request)? else {
            return Err(Status::WrongAnswer.into());
        };
        let asked = devices.get(index);
        let asked = asked.ok_or(Error::new(Status::Argument, "No device of the question has this index."))?;
        self.inner
            .services
            .evaluate_trust(&Device { trust_level_name: level.to_owned(), ..asked.clone() })?;
        self.inner.desk.decide(request, index, level)
    }

    /// Answers a question. The answer is noted; `next_event` commits what follows from it.
    pub fn answer(&self, request: RequestId, answer: Answer) -> Result<()> {
        let now = self.inner.now().steady;
        self.inner.desk.answer(request, answer, now)?;
        self.inner.wake();
        Ok(())
    }

    /// Decrypts at once, without network. `from` is the sender's real bare JID.
    pub fn decrypt(
        &self,
        from: Option<&BareJid>,
        room: Option<&BareJid>,
        message: &Message,
    ) -> Result<Decrypted> {
        let now = self.inner.now();
        let decrypted = self.inner.account(|account| account.decrypt(from, room, message, now));
        self.inner.wake();
        decrypted
    }

    /// A device list was pushed, or read by the client.
    pub fn update_device_list(&self, jid: &BareJid, list: &DeviceList) -> Result<()> {
        let now = self.inner.now();
        let updated = self.inner.account(|account| account.update_device_list(jid, list, now));
        self.inner.wake();
        updated
    }

    /// All that is known of a JID's devices; `None`: the own account, this device first.
    pub fn devices(&self, jid: Option<&BareJid>) -> Result<Vec<Device>> {
        self.inner.account(|account| account.devices(jid))
    }

    /// Judges a key of a JID, given in Ed25519 form.
    pub fn set_trust(&self, jid: &BareJid, key: &[u8; 32], level: &str) -> Result<()> {
        let set = self.inner.account(|account| account.set_trust(jid, key, level));
        self.inner.wake();
        set
    }

    /// Serves a device in a namespace whenever it announces it there, whatever the order says; `None`: by the order.
    pub fn prefer_namespace(
        &self,
        jid: &BareJid,
        device: DeviceId,
        namespace: Option<Namespace>,
    ) -> Result<()> {
        let preferred = self.inner.account(|account| account.prefer_namespace(jid, device, namespace));
        self.inner.wake();
        preferred
    }

    /// Accepts that a device shows this key (in Ed25519 form) now.
    pub fn accept_identity(&self, jid: &BareJid, device: DeviceId, key: &[u8; 32]) -> Result<()> {
        let now = self.inner.now();
        let accepted = self.inner.account(|account| account.accept_identity(jid, device, key, now));
        self.inner.wake();
        accepted
    }

    /// Lets operations advance until there is news, or nothing that can go on.
    pub fn next_event(&self) -> Option<Event> {
        let inner = &self.inner;
        let now = inner.now().steady;
        inner.desk.expire(now);
        inner.runtime.fire(now);
        loop {
            if let Some(event) = inner.events.lock().pop_front() {
                return Some(event);
            }
            let withdrawn = inner.desk.take_withdrawn();
            if !withdrawn.is_empty() {
                inner.events.lock().extend(withdrawn.into_iter().map(Event::Withdrawn));
            } else if !inner.runtime.step() {
                break;
            }
        }
        inner.desk.next_ask(now).map(|(request, question)| Event::Ask(request, question))
    }

    /// Goes to sleep: from now on, `Services::wakeup` rings. False: there is work again, call `next_event`.
    pub fn sleep(&self) -> bool {
        let until = self.inner.next_time();
        *self.inner.sleeping.lock() = Sleeping { asleep: true, until };
        if self.inner.is_ready() {
            let mut sleeping = self.inner.sleeping.lock();
            // Somebody else may have rung in between: then the client comes back by itself.
            let stay = sleeping.asleep;
            sleeping.asleep = false;
            return !stay;
        }
        true
    }

    /// The client is at it: nobody needs to be rung up until the next `sleep`.
    pub fn rouse(&self) {
        self.inner.sleeping.lock().asleep = false;
    }

    /// Rings, if nobody has rung since `sleep`: for callers that stop before all work is done.
    pub fn ring(&self) {
        self.inner.sleeping.lock().asleep = true;
        self.inner.wake();
    }

    /// Milliseconds until `next_event` is wanted although nobody rings; `None`: never.
    pub fn timeout(&self) -> Option<u64> {
        if self.inner.is_ready() {
            return Some(0);
        }
        let now = self.inner.now().steady;
        self.inner.next_time().map(|at| at.saturating_sub(now))
    }

    /// The end begins: every call but `next_event` and `close` fails from now on.
    pub fn shut(&self) {
        self.inner.closed.store(true, Ordering::SeqCst);
        self.inner.desk.close();
    }

    /// The end: all operations are cancelled, the store is closed. `next_event` gives the last events. Not to be
    /// called while `next_event` runs.
    pub fn close(&self) {
        self.shut();
        let operations = std::mem::take(&mut *self.inner.operations.lock());
        let ended = operations.keys().map(|id| Event::Done(*id, Outcome::bare(Status::Cancelled)));
        self.inner.events.lock().extend(ended);
        drop(operations);
        let background = std::mem::take(&mut *self.inner.background.lock());
        drop(background);
        while self.inner.runtime.step() {}
        let account = self.inner.account.lock().take();
        drop(account);
    }
}
