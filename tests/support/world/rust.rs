//! The Rust face: a device over `omemo::manager::Manager`. It keeps what the manager says and hands on what it asks, to
//! a `Server` of typed items or, as a `Device`, to a `World` of stanzas.

use super::World;
use super::clock::Clock;
use super::device::Prompt;
use super::rng::Seeded;
use super::server::{Server, jid};
use super::storage::FaultyStorage;
use omemo::error::{Result, Status};
use omemo::manager::api::decrypted::Decrypted;
use omemo::manager::api::device::{CoreTrust, Device as Known};
use omemo::manager::api::draft::{Draft, EncryptPolicy};
use omemo::manager::api::event::{Event, Notice, NoticeKind};
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::{Answer, Request};
use omemo::manager::api::services::{LogLevel, Services};
use omemo::manager::api::trust_policy::TrustPolicy;
use omemo::manager::config::{Delivery, Habits, Healing, StartMark};
use omemo::manager::{Config, Manager};
use omemo::protocol::address::{BareJid, DeviceId};
use omemo::protocol::message::Message;
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace;
use omemo::runtime::next_number;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// Trust levels, clocks, the log and the wake-up signal.
#[derive(Default)]
pub struct TestServices {
    pub clock: Arc<Clock>,
    /// The manager gets no monotonic clock and takes it from the steps of the wall clock.
    pub wall_clock_only: AtomicBool,
    pub wakeups: AtomicUsize,
    /// How often a device's trust was evaluated.
    pub evaluations: AtomicUsize,
    /// The levels whose names begin with "custom" are not known any more.
    pub forgets_custom: AtomicBool,
    /// The next trust evaluation of a JID that begins so panics.
    pub panics_at: Mutex<Option<String>>,
    /// Takes the place of the levels below.
    pub policy: Mutex<Option<&'static dyn TrustPolicy>>,
    pub lines: Mutex<Vec<String>>,
}

impl Services for TestServices {
    fn evaluate_trust(&self, device: &Known) -> Result<CoreTrust> {
        self.evaluations.fetch_add(1, SeqCst);
        let planned =
            self.panics_at.lock().unwrap().take_if(|start| device.jid.as_str().starts_with(&**start));
        assert!(planned.is_none(), "a planned panic");
        match device.trust_level_name.as_str() {
            "trusted" => Ok(CoreTrust::Trusted),
            "undecided" => Ok(CoreTrust::Undecided),
            "distrusted" => Ok(CoreTrust::Distrusted),
            name if name.starts_with("custom") && !self.forgets_custom.load(SeqCst) => Ok(CoreTrust::Trusted),
            _ => Err(Status::UnknownTrustLevel.into()),
        }
    }

    fn trust_policy(&self) -> Option<&dyn TrustPolicy> {
        *self.policy.lock().unwrap()
    }

    fn wall_clock(&self) -> i64 {
        self.clock.wall_ms()
    }

    fn steady_clock(&self) -> Option<u64> {
        (!self.wall_clock_only.load(SeqCst)).then(|| self.clock.steady_ms())
    }

    fn wakeup(&self) {
        self.wakeups.fetch_add(1, SeqCst);
    }

    fn log(&self, level: LogLevel, target: &'static str, line: &str) {
        assert!(!line.contains('@'), "a JID in the log");
        self.lines.lock().unwrap().push(format!("{level:?} {target} {line}"));
    }
}

pub type Header = (u32, u32, [u8; 32], u32);

pub struct RustDevice {
    pub jid: BareJid,
    pub config: Config,
    pub storage: Arc<FaultyStorage>,
    pub services: Arc<TestServices>,
    pub manager: RefCell<Option<Manager>>,
    pub done: RefCell<BTreeMap<u64, Outcome>>,
    pub order: RefCell<Vec<u64>>,
    pub asked: RefCell<Vec<Request>>,
    pub withdrawn: RefCell<Vec<u64>>,
    pub notices: RefCell<Vec<Notice>>,
    pub prompts: RefCell<Vec<Prompt>>,
    pub headers: RefCell<HashMap<Header, Vec<u8>>>,
    pub sent: RefCell<Vec<(BareJid, Message)>>,
    /// Where it lives as a `Device`.
    pub place: Option<(World, usize)>,
}

pub fn config(namespace: Namespace, name: &str, level: &str) -> Config {
    Config {
        jid: jid(name),
        namespaces: vec![namespace],
        default_trust_level_name: level.to_owned(),
        request_timeout_ms: 60_000,
        max_open_fetches: 32,
        skipped_per_session: 1_000,
        skipped_per_message: 1_000,
        healing: Healing::Manual,
        start_mark: StartMark::None,
        max_unanswered_messages: None,
        signed_pre_key_period_ms: 604_800_000,
        pre_key_threshold: 99,
        habits: Habits::Own,
        delivery: Delivery::Direct,
    }
}

impl RustDevice {
    pub fn closed(config: Config, storage: Arc<FaultyStorage>) -> Self {
        Self {
            jid: config.jid.clone(),
            config,
            storage,
            services: Arc::default(),
            manager: RefCell::default(),
            done: RefCell::default(),
            order: RefCell::default(),
            asked: RefCell::default(),
            withdrawn: RefCell::default(),
            notices: RefCell::default(),
            prompts: RefCell::default(),
            headers: RefCell::default(),
            sent: RefCell::default(),
            place: None,
        }
    }

    pub fn open(&self) -> Result<()> {
        let rng = Box::new(self.rng());
        let manager = Manager::open(self.config.clone(), self.storage.clone(), self.services.clone(), rng)?;
        self.manager.replace(Some(manager));
        Ok(())
    }

    /// Randomness of its own; in a world it comes from the seed of that.
    pub fn rng(&self) -> Seeded {
        self.place.as_ref().map_or_else(Seeded::fresh, |(world, _)| Seeded::new(world.draw()))
    }

    pub fn with(config: Config, server: &mut Server) -> Self {
        let device = Self::closed(config, Arc::default());
        device.open().unwrap();
        assert_eq!(device.connect(server).status(), Status::Ok);
        device
    }

    pub fn new(name: &str, server: &mut Server) -> Self {
        Self::with(config(server.namespace, name, "trusted"), server)
    }

    /// The process ends without a word and starts again.
    pub fn restart(&self) {
        self.manager.replace(None);
        self.open().unwrap();
    }

    /// The process ends, the store is changed, and it starts again, offline.
    pub fn restart_after<T>(&self, change: impl FnOnce(&FaultyStorage) -> T) -> T {
        self.manager.replace(None);
        let changed = change(&self.storage);
        self.open().unwrap();
        changed
    }

    pub fn manager(&self) -> Manager {
        self.manager.borrow().clone().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.manager().devices(None).unwrap()[0].id
    }

    pub fn key(&self) -> [u8; 32] {
        self.manager().devices(None).unwrap()[0].identity_key.unwrap()
    }

    pub fn device(&self, jid: &BareJid, id: u32) -> Option<Known> {
        self.manager().devices(Some(jid)).unwrap().into_iter().find(|device| device.id == id)
    }

    pub fn is_active(&self, jid: &BareJid, id: u32) -> bool {
        self.device(jid, id).is_some_and(|device| !device.active.is_empty())
    }

    pub fn advance(&self, ms: u64) {
        self.services.clock.advance(ms);
    }

    /// No key and counter of a ratchet ever protects two different things.
    pub fn note_headers(&self, message: &Message) {
        for key in &message.keys {
            let bytes = key.bytes.as_ref().unwrap();
            let ratchet = match key.key_exchange {
                true => KeyExchange::parse(message.namespace, bytes).unwrap().message().clone(),
                false => RatchetMessage::parse(message.namespace, bytes).unwrap(),
            };
            let header = ratchet.header();
            let at = (message.namespace.code(), key.device, *header.ratchet_key.as_bytes(), header.n);
            let before = self.headers.borrow_mut().insert(at, bytes.clone());
            assert!(before.is_none_or(|before| before == *bytes), "a message key was used twice");
        }
    }

    /// Everything that comes without an answer; gives the requests.
    pub fn step(&self) -> Vec<(u64, Request)> {
        let manager = self.manager();
        let mut asked = Vec::new();
        while let Some(event) = manager.next_event() {
            match event {
                Event::Request(request_id, request) => {
                    if let Request::SendMessage { jid, message } = &request {
                        self.note_headers(message);
                        self.sent.borrow_mut().push((jid.clone(), message.clone()));
                    }
                    self.asked.borrow_mut().push(request.clone());
                    asked.push((request_id, request));
                }
                Event::Withdrawn(request_id) => self.withdrawn.borrow_mut().push(request_id),
                Event::Done(operation, outcome) => {
                    outcome.messages.iter().for_each(|message| self.note_headers(message));
                    self.order.borrow_mut().push(operation);
                    assert!(self.done.borrow_mut().insert(operation, outcome).is_none(), "ended twice");
                }
                Event::Notify(notice) => self.notices.borrow_mut().push(notice),
            }
        }
        asked
    }

    /// Runs until nothing more can happen; `answer` may leave a request open.
    pub fn run_with(&self, mut answer: impl FnMut(&Request) -> Option<Answer>) -> Vec<(u64, Request)> {
        let mut open = Vec::new();
        for _ in 0..10_000 {
            let asked = self.step();
            if asked.is_empty() {
                return open;
            }
            for (request_id, request) in asked {
                match answer(&request) {
                    Some(answer) => self.manager().answer(request_id, answer).unwrap(),
                    None => open.push((request_id, request)),
                }
            }
        }
        panic!("questions without end");
    }

    pub fn run(&self, server: &mut Server) {
        self.run_with(|request| Some(server.answer(self, request)));
    }

    /// Lets days pass as a client has them that is online once a day: no longer step of the clock accumulates as a whole.
    pub fn run_days(&self, days: u32, server: &mut Server) {
        for _ in 0..days {
            self.advance(24 * 3_600_000);
            self.run(server);
        }
    }

    /// Runs and leaves open what is `held`; the server answers everything else.
    pub fn run_holding(&self, server: &mut Server, held: impl Fn(&Request) -> bool) -> Vec<(u64, Request)> {
        self.run_with(|request| (!held(request)).then(|| server.answer(self, request)))
    }

    /// As long as back-off may take.
    pub fn run_later(&self, server: &mut Server) {
        for _ in 0..6 {
            self.advance(61_000);
            self.run(server);
        }
    }

    /// Runs once an hour, as long as this.
    pub fn run_hours(&self, hours: u32, server: &mut Server) {
        for _ in 0..hours {
            self.advance(3_600_000);
            self.run(server);
        }
    }

    pub fn take(&self, operation: u64) -> Outcome {
        self.done.borrow_mut().remove(&operation).expect("the operation is not over")
    }

    pub fn is_done(&self, operation: u64) -> bool {
        self.done.borrow().contains_key(&operation)
    }

    pub fn begin_connect(&self) -> u64 {
        let operation = next_number();
        self.manager().connected(operation, omemo::manager::api::catch_up::CatchUp::None).unwrap();
        operation
    }

    pub fn connect(&self, server: &mut Server) -> Outcome {
        let operation = self.begin_connect();
        self.run(server);
        self.take(operation)
    }

    pub fn reconnect(&self, server: &mut Server) -> Outcome {
        self.manager().disconnected().unwrap();
        self.connect(server)
    }

    pub fn begin_refresh(&self, jid: &BareJid) -> u64 {
        let operation = next_number();
        self.manager().refresh_devices(operation, Some(jid.clone()), None).unwrap();
        operation
    }

    pub fn refresh(&self, jid: &BareJid, server: &mut Server) -> Outcome {
        let operation = self.begin_refresh(jid);
        self.run(server);
        self.take(operation)
    }

    /// Replaces sessions: with one device, all of a JID, or everybody.
    pub fn replace_sessions(&self, jid: Option<&BareJid>, device: u32, server: &mut Server) -> Outcome {
        let operation = next_number();
        self.manager().replace_sessions(operation, jid.cloned(), DeviceId::new(device)).unwrap();
        self.run(server);
        self.take(operation)
    }

    pub fn begin_encrypt(&self, to: &[&BareJid], text: &str, policy: EncryptPolicy) -> u64 {
        let operation = next_number();
        self.manager().encrypt(operation, draft(self.config.namespaces[0], to, text, policy)).unwrap();
        operation
    }

    pub fn encrypt(
        &self,
        to: &[&BareJid],
        text: &str,
        policy: EncryptPolicy,
        server: &mut Server,
    ) -> Outcome {
        let operation = self.begin_encrypt(to, text, policy);
        self.run(server);
        self.take(operation)
    }

    /// One message to one JID, which must succeed.
    pub fn say(&self, to: &BareJid, text: &str, server: &mut Server) -> Message {
        let outcome = self.encrypt(&[to], text, EncryptPolicy::Wait, server);
        assert_eq!(outcome.status(), Status::Ok, "{:?}", outcome.rows);
        assert_eq!(outcome.messages.len(), 1);
        outcome.messages[0].clone()
    }

    pub fn read(&self, from: &BareJid, message: &Message) -> Decrypted {
        self.manager().decrypt(Some(from), None, message).unwrap()
    }

    /// The message must be refused with this status, and leave no trace.
    pub fn refuse(&self, from: &BareJid, message: &Message, status: Status) -> Decrypted {
        let (before, commits) = (self.storage.all(), self.storage.commits());
        let decrypted = self.read(from, message);
        assert_eq!(decrypted.error.status(), status);
        assert!(decrypted.plaintext.is_none());
        assert!(
            self.storage.all() == before && self.storage.commits() == commits,
            "a refused message left a trace"
        );
        decrypted
    }

    pub fn push(&self, jid: &BareJid, server: &Server) {
        self.manager().update_device_list(jid, &server.lists[&(server.namespace, jid.clone())]).unwrap();
    }

    pub fn count_notices(&self, kind: NoticeKind) -> usize {
        self.notices.borrow().iter().filter(|notice| notice.kind == kind).count()
    }

    pub fn count_asked(&self, which: impl Fn(&Request) -> bool) -> usize {
        self.asked.borrow().iter().filter(|request| which(request)).count()
    }
}

pub fn draft(namespace: Namespace, to: &[&BareJid], text: &str, policy: EncryptPolicy) -> Draft {
    Draft {
        recipients: to.iter().map(|jid| (*jid).clone()).collect(),
        plaintexts: vec![(namespace, Zeroizing::new(text.as_bytes().to_vec()))],
        policy,
        ..Draft::default()
    }
}

thread_local! {
    /// Devices that have ended in this test.
    static ENDED: Cell<usize> = const { Cell::new(0) };
}

/// Whatever a test has done with a device, its store is healthy in the end, and every record in it is named by another. A
/// test that ends many devices has a sixteenth of them looked at: a look takes some milliseconds.
impl Drop for RustDevice {
    fn drop(&mut self) {
        let before = ENDED.get();
        ENDED.set(before + 1);
        let is_looked_at = before < 2 || before.is_multiple_of(16);
        if is_looked_at && !std::thread::panicking() && !self.storage.damaged.load(SeqCst) {
            self.manager.replace(None);
            let findings = self.storage.findings();
            assert!(findings.is_empty(), "what {:?} stored is not healthy: {findings:?}", self.jid);
        }
    }
}
