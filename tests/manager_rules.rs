//! What the manager promises, rule by rule, through its Rust face: the R-numbers of the design, each row of the table
//! of decryption, and what a store or a network that fails leaves behind.
//!
//! The world is in this file: a server of PEP nodes, a disk that counts and fails, clocks that stand still, and
//! strangers who know the protocol and nothing of the manager.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers

use omemo::crypto::identity::IdentityKeyPair;
use omemo::crypto::keys::KeyPair;
use omemo::crypto::rng::Rng;
use omemo::error::{Error, Result, Status};
use omemo::manager::decrypt::{Action, Decrypted};
use omemo::manager::devices::{Device, Verdict};
use omemo::manager::encrypt::{Draft, Policy};
use omemo::manager::host::{Answer, Event, LogLevel, Notice, NoticeKind, Question, Reason, Services};
use omemo::manager::report::Outcome;
use omemo::manager::{Config, Manager};
use omemo::protocol::address::{BareJid, DeviceId};
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::key_exchange::KeyExchange;
use omemo::protocol::limits;
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::protocol::payload;
use omemo::protocol::pre_key::SignedPreKey;
use omemo::protocol::ratchet_message::RatchetMessage;
use omemo::protocol::session::{Limits, Session};
use omemo::runtime::next_number;
use omemo::storage::{Batch, Storage};
use rand::{Rng as _, SeedableRng};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

// ---- the world ----

struct Seeded(rand::rngs::StdRng);

impl Seeded {
    fn new(seed: u64) -> Seeded {
        Seeded(rand::rngs::StdRng::seed_from_u64(seed))
    }

    fn fresh() -> Seeded {
        Seeded::new(next_number())
    }
}

impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

/// What a commit that fails leaves in the store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    Everything,
}

/// A store that counts, and fails when it is told to.
#[derive(Default)]
struct Disk {
    records: Mutex<BTreeMap<String, Vec<u8>>>,
    commits: AtomicUsize,
    written: AtomicUsize,
    fault: Mutex<Option<(usize, Fault)>>,
    unreadable: AtomicBool,
}

impl Disk {
    fn copy(&self) -> Arc<Disk> {
        Arc::new(Disk { records: Mutex::new(self.all()), ..Disk::default() })
    }

    fn all(&self) -> BTreeMap<String, Vec<u8>> {
        self.records.lock().unwrap().clone()
    }

    fn commits(&self) -> usize {
        self.commits.load(SeqCst)
    }

    /// The `n`th commit from now on fails.
    fn fail(&self, n: usize, fault: Fault) {
        *self.fault.lock().unwrap() = Some((self.commits() + n, fault));
    }

    fn has_failed(&self) -> bool {
        self.fault.lock().unwrap().is_none()
    }
}

impl Storage for Disk {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        if self.unreadable.load(SeqCst) {
            return Err(Status::Storage.into());
        }
        Ok(self.records.lock().unwrap().get(key).cloned().map(Zeroizing::new))
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        let number = self.commits.fetch_add(1, SeqCst) + 1;
        let fault = self.fault.lock().unwrap().take_if(|(at, _)| *at == number).map(|(_, fault)| fault);
        if fault != Some(Fault::Nothing) {
            let mut records = self.records.lock().unwrap();
            for change in batch.changes() {
                let size = change.value.as_ref().map_or(0, |value| value.len());
                self.written.fetch_add(size, SeqCst);
                match &change.value {
                    Some(value) => records.insert(change.key.clone(), value.to_vec()),
                    None => records.remove(&change.key),
                };
            }
        }
        if fault.is_some() { Err(Status::Storage.into()) } else { Ok(()) }
    }
}

/// Trust levels, clocks and a bell.
struct Desk {
    wall: AtomicI64,
    steady: AtomicU64,
    rung: AtomicUsize,
    knows_custom: AtomicBool,
}

impl Services for Desk {
    fn evaluate_trust(&self, device: &Device) -> Result<Verdict> {
        match device.level.as_str() {
            "trusted" => Ok(Verdict::Trusted),
            "undecided" => Ok(Verdict::Undecided),
            "distrusted" => Ok(Verdict::Distrusted),
            "custom" if self.knows_custom.load(SeqCst) => Ok(Verdict::Trusted),
            _ => Err(Status::UnknownTrustLevel.into()),
        }
    }

    fn wall_clock(&self) -> i64 {
        self.wall.load(SeqCst)
    }

    fn steady_clock(&self) -> Option<u64> {
        Some(self.steady.load(SeqCst))
    }

    fn wakeup(&self) {
        self.rung.fetch_add(1, SeqCst);
    }

    fn log(&self, _: LogLevel, _: &'static str, line: &str) {
        assert!(!line.contains('@'), "a JID in the log");
    }
}

/// PEP nodes, and messages on their way.
#[derive(Default)]
struct Server {
    lists: HashMap<(Namespace, BareJid), DeviceList>,
    bundles: HashMap<(Namespace, BareJid, u32), Bundle>,
    mail: Vec<(BareJid, BareJid, Message)>,
}

impl Server {
    fn answer(&mut self, client: &Client, question: &Question) -> Answer {
        let own = client.jid.clone();
        let missing = Answer::Rejected(Reason::NotFound);
        match question.clone() {
            Question::FetchDeviceList { namespace, jid } => {
                self.lists.get(&(namespace, jid)).map_or(missing, |list| Answer::DeviceList(list.clone()))
            }
            Question::FetchBundle { namespace, jid, device } => self
                .bundles
                .get(&(namespace, jid, device.get()))
                .map_or(missing, |bundle| Answer::Bundle(bundle.clone())),
            Question::PublishDeviceList { list } => {
                self.lists.insert((list.namespace, own), list);
                Answer::Done
            }
            Question::PublishBundle { device, bundle } => {
                self.bundles.insert((bundle.namespace, own, device.get()), bundle);
                Answer::Done
            }
            Question::DeleteBundle { namespace, device } => {
                self.bundles.remove(&(namespace, own, device.get()));
                Answer::Done
            }
            Question::SendMessage { jid, message } => {
                self.mail.push((own, jid, message));
                Answer::Done
            }
            Question::DecideTrust { .. } => Answer::Done,
        }
    }

    fn list(&self, jid: &BareJid) -> Vec<u32> {
        let list = self.lists.get(&(Omemo2, jid.clone()));
        list.map_or(Vec::new(), |list| list.devices.iter().map(|device| device.id).collect())
    }

    fn bundle(&self, client: &Client) -> Bundle {
        self.bundles[&(Omemo2, client.jid.clone(), client.id())].clone()
    }

    /// Delivers what lies on the server until nothing more comes.
    fn settle(&mut self, clients: &[&Client]) {
        for _ in 0..20 {
            for client in clients {
                client.run(self);
            }
            let mail = std::mem::take(&mut self.mail);
            if mail.is_empty() {
                return;
            }
            for (from, to, message) in mail {
                for client in clients.iter().filter(|client| client.jid == to) {
                    let _ = client.manager().decrypt(Some(&from), None, &message);
                }
            }
        }
        panic!("the clients answer each other for ever");
    }
}

type Header = (u32, u32, [u8; 32], u32);

/// A client: it keeps what the manager tells, and answers what the manager asks.
struct Client {
    jid: BareJid,
    config: Config,
    disk: Arc<Disk>,
    desk: Arc<Desk>,
    manager: RefCell<Option<Manager>>,
    done: RefCell<BTreeMap<u64, Outcome>>,
    order: RefCell<Vec<u64>>,
    asked: RefCell<Vec<Question>>,
    withdrawn: RefCell<Vec<u64>>,
    notices: RefCell<Vec<Notice>>,
    headers: RefCell<HashMap<Header, Vec<u8>>>,
    sent: RefCell<Vec<(BareJid, Message)>>,
}

fn jid(name: &str) -> BareJid {
    BareJid::from_normalized(name)
}

fn id(number: u32) -> DeviceId {
    DeviceId::new(number).unwrap()
}

fn config(name: &str, level: &str) -> Config {
    Config {
        jid: jid(name),
        namespaces: vec![Omemo2],
        default_level: level.to_owned(),
        request_timeout: 60_000,
        open_requests: 32,
        skipped_per_session: 1_000,
        skipped_per_message: 1_000,
    }
}

impl Client {
    fn closed(config: Config, disk: Arc<Disk>) -> Client {
        Client {
            jid: config.jid.clone(),
            config,
            disk,
            desk: Arc::new(Desk {
                wall: AtomicI64::new(1_700_000_000_000),
                steady: AtomicU64::new(1_000),
                rung: AtomicUsize::new(0),
                knows_custom: AtomicBool::new(true),
            }),
            manager: RefCell::default(),
            done: RefCell::default(),
            order: RefCell::default(),
            asked: RefCell::default(),
            withdrawn: RefCell::default(),
            notices: RefCell::default(),
            headers: RefCell::default(),
            sent: RefCell::default(),
        }
    }

    fn open(&self) -> Result<()> {
        let rng = Box::new(Seeded::fresh());
        let manager = Manager::open(self.config.clone(), self.disk.clone(), self.desk.clone(), rng)?;
        self.manager.replace(Some(manager));
        Ok(())
    }

    fn with(config: Config, server: &mut Server) -> Client {
        let client = Client::closed(config, Arc::default());
        client.open().unwrap();
        assert_eq!(client.connect(server).status(), Status::Ok);
        client
    }

    fn new(name: &str, server: &mut Server) -> Client {
        Client::with(config(name, "trusted"), server)
    }

    /// The process ends without a word and starts again.
    fn restart(&self) {
        self.manager.replace(None);
        self.open().unwrap();
    }

    fn manager(&self) -> Manager {
        self.manager.borrow().clone().unwrap()
    }

    fn id(&self) -> u32 {
        self.manager().devices(None).unwrap()[0].id
    }

    fn key(&self) -> [u8; 32] {
        self.manager().devices(None).unwrap()[0].identity_key.unwrap()
    }

    fn device(&self, jid: &BareJid, id: u32) -> Option<Device> {
        self.manager().devices(Some(jid)).unwrap().into_iter().find(|device| device.id == id)
    }

    fn advance(&self, ms: u64) {
        self.desk.steady.fetch_add(ms, SeqCst);
        self.desk.wall.fetch_add(i64::try_from(ms).unwrap(), SeqCst);
    }

    /// No key and counter of a ratchet ever protects two different things.
    fn note_headers(&self, message: &Message) {
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

    /// Everything that comes without an answer; gives the questions.
    fn step(&self) -> Vec<(u64, Question)> {
        let manager = self.manager();
        let mut asked = Vec::new();
        while let Some(event) = manager.next_event() {
            match event {
                Event::Ask(request, question) => {
                    if let Question::SendMessage { jid, message } = &question {
                        self.note_headers(message);
                        self.sent.borrow_mut().push((jid.clone(), message.clone()));
                    }
                    self.asked.borrow_mut().push(question.clone());
                    asked.push((request, question));
                }
                Event::Withdrawn(request) => self.withdrawn.borrow_mut().push(request),
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

    /// Runs until nothing more can happen; `answer` may leave a question open.
    fn run_with(&self, mut answer: impl FnMut(&Question) -> Option<Answer>) -> Vec<(u64, Question)> {
        let mut open = Vec::new();
        for _ in 0..10_000 {
            let asked = self.step();
            if asked.is_empty() {
                return open;
            }
            for (request, question) in asked {
                match answer(&question) {
                    Some(answer) => self.manager().answer(request, answer).unwrap(),
                    None => open.push((request, question)),
                }
            }
        }
        panic!("questions without end");
    }

    fn run(&self, server: &mut Server) {
        self.run_with(|question| Some(server.answer(self, question)));
    }

    /// As long as back-off may take.
    fn run_later(&self, server: &mut Server) {
        for _ in 0..6 {
            self.advance(61_000);
            self.run(server);
        }
    }

    fn take(&self, operation: u64) -> Outcome {
        self.done.borrow_mut().remove(&operation).expect("the operation is not over")
    }

    fn is_done(&self, operation: u64) -> bool {
        self.done.borrow().contains_key(&operation)
    }

    fn begin_connect(&self) -> u64 {
        let operation = next_number();
        self.manager().connected(operation).unwrap();
        operation
    }

    fn connect(&self, server: &mut Server) -> Outcome {
        let operation = self.begin_connect();
        self.run(server);
        self.take(operation)
    }

    fn reconnect(&self, server: &mut Server) -> Outcome {
        self.manager().disconnected().unwrap();
        self.connect(server)
    }

    fn refresh(&self, jid: &BareJid, server: &mut Server) -> Outcome {
        let operation = next_number();
        self.manager().refresh_devices(operation, Some(jid.clone()), None).unwrap();
        self.run(server);
        self.take(operation)
    }

    fn begin_encrypt(&self, to: &[&BareJid], text: &str, policy: Policy) -> u64 {
        let operation = next_number();
        self.manager().encrypt(operation, draft(to, text, policy)).unwrap();
        operation
    }

    fn encrypt(&self, to: &[&BareJid], text: &str, policy: Policy, server: &mut Server) -> Outcome {
        let operation = self.begin_encrypt(to, text, policy);
        self.run(server);
        self.take(operation)
    }

    /// One message to one JID, which must succeed.
    fn say(&self, to: &BareJid, text: &str, server: &mut Server) -> Message {
        let outcome = self.encrypt(&[to], text, Policy::Wait, server);
        assert_eq!(outcome.status(), Status::Ok, "{:?}", outcome.rows);
        assert_eq!(outcome.messages.len(), 1);
        outcome.messages[0].clone()
    }

    fn read(&self, from: &BareJid, message: &Message) -> Decrypted {
        self.manager().decrypt(Some(from), None, message).unwrap()
    }

    /// The message must be refused with this status, and leave no trace.
    fn refuse(&self, from: &BareJid, message: &Message, status: Status) -> Decrypted {
        let (before, commits) = (self.disk.all(), self.disk.commits());
        let decrypted = self.read(from, message);
        assert_eq!(decrypted.error.status(), status);
        assert!(decrypted.plaintext.is_none());
        assert!(
            self.disk.all() == before && self.disk.commits() == commits,
            "a refused message left a trace"
        );
        decrypted
    }

    fn push(&self, jid: &BareJid, server: &Server) {
        self.manager().update_device_list(jid, &server.lists[&(Omemo2, jid.clone())]).unwrap();
    }

    fn count_notices(&self, kind: NoticeKind) -> usize {
        self.notices.borrow().iter().filter(|notice| notice.kind == kind).count()
    }

    fn count_asked(&self, which: impl Fn(&Question) -> bool) -> usize {
        self.asked.borrow().iter().filter(|question| which(question)).count()
    }
}

fn draft(to: &[&BareJid], text: &str, policy: Policy) -> Draft {
    Draft {
        recipients: to.iter().map(|jid| (*jid).clone()).collect(),
        plaintexts: vec![(Omemo2, Zeroizing::new(text.as_bytes().to_vec()))],
        policy,
        ..Draft::default()
    }
}

fn text(decrypted: &Decrypted) -> String {
    assert_eq!(decrypted.error.status(), Status::Ok);
    String::from_utf8(decrypted.plaintext.as_ref().expect("no content").to_vec()).unwrap()
}

fn row(outcome: &Outcome, jid: &BareJid, device: u32) -> Option<Status> {
    let rows = outcome.rows.iter().filter(|row| row.jid.as_ref() == Some(jid) && row.device == device);
    rows.map(|row| row.error.status()).next()
}

fn is_send(question: &Question) -> bool {
    matches!(question, Question::SendMessage { .. })
}

fn is_bundle(question: &Question) -> bool {
    matches!(question, Question::FetchBundle { .. })
}

fn is_publish(question: &Question) -> bool {
    matches!(question, Question::PublishBundle { .. } | Question::PublishDeviceList { .. })
}

/// A device that speaks the protocol by hand.
struct Stranger {
    jid: BareJid,
    id: u32,
    namespace: Namespace,
    identity: IdentityKeyPair,
    signed: SignedPreKey,
    pre_keys: Vec<(u32, KeyPair)>,
    rng: Seeded,
}

impl Stranger {
    fn new(name: &str, id: u32) -> Stranger {
        Stranger::of(Omemo2, name, id)
    }

    fn of(namespace: Namespace, name: &str, id: u32) -> Stranger {
        let mut rng = Seeded::fresh();
        let identity = IdentityKeyPair::generate(&mut rng).unwrap();
        let signed = SignedPreKey::generate(namespace, &identity, 1, &mut rng).unwrap();
        let pre_keys = (1..=5).map(|id| (id, KeyPair::generate(&mut rng).unwrap())).collect();
        Stranger { jid: jid(name), id, namespace, identity, signed, pre_keys, rng }
    }

    fn key(&self) -> [u8; 32] {
        *self.identity.public().ed()
    }

    fn bundle(&self) -> Bundle {
        let public = |(id, pair): &(u32, KeyPair)| PublicPreKey { id: *id, key: *pair.public().as_bytes() };
        Bundle {
            namespace: self.namespace,
            identity_key: self.key(),
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public().as_bytes(),
            signature: self.signed.signature,
            pre_keys: self.pre_keys.iter().map(public).collect(),
        }
    }

    fn publish(&self, server: &mut Server) {
        let at = (self.namespace, self.jid.clone());
        let empty = DeviceList { namespace: self.namespace, devices: Vec::new() };
        let list = server.lists.entry(at).or_insert(empty);
        if list.devices.iter().all(|device| device.id != self.id) {
            list.devices.push(ListedDevice { id: self.id, label: None, label_signature: None });
        }
        server.bundles.insert((self.namespace, self.jid.clone(), self.id), self.bundle());
    }

    fn initiate(&mut self, bundle: &Bundle) -> Session {
        Session::initiate(&self.identity, bundle, &mut self.rng).unwrap()
    }

    fn write(&mut self, session: &mut Session, to: (&BareJid, u32), text: &str) -> Message {
        let sealed = payload::encrypt(self.namespace, text.as_bytes(), &mut self.rng).unwrap();
        let key = session.encrypt(&sealed.key).unwrap();
        let jid = (self.namespace == Omemo2).then(|| to.0.clone());
        Message {
            namespace: self.namespace,
            sender_device: self.id,
            keys: vec![MessageKey {
                jid,
                device: to.1,
                key_exchange: key.key_exchange,
                bytes: Some(key.bytes),
            }],
            payload: Some(sealed.payload),
            iv: sealed.iv,
        }
    }

    /// A first message in a session of its own beginning.
    fn greet(&mut self, client: &Client, server: &Server, text: &str) -> (Session, Message) {
        let mut session = self.initiate(&server.bundle(client));
        let message = self.write(&mut session, (&client.jid, client.id()), text);
        (session, message)
    }

    /// What a message holds for this device.
    fn bytes(&self, message: &Message) -> MessageKey {
        let mine =
            message.keys.iter().find(|key| key.device == self.id && key.jid.as_ref() == Some(&self.jid));
        mine.expect("no key for this device").clone()
    }

    fn open(&mut self, session: &mut Session, message: &Message) -> Zeroizing<Vec<u8>> {
        let ratchet = RatchetMessage::parse(self.namespace, &self.bytes(message).bytes.unwrap()).unwrap();
        let (limits, mut budget) = (Limits::default(), 2_000);
        let step = session.decrypt(&ratchet, None, &limits, &mut budget, &mut self.rng).unwrap();
        *session = step.session;
        step.plaintext
    }

    /// Takes up the session in a key exchange; gives the content.
    fn accept(&mut self, message: &Message) -> Result<String> {
        let key = self.bytes(message);
        assert!(key.key_exchange);
        let exchange = KeyExchange::parse(self.namespace, &key.bytes.unwrap())?;
        let wanted = exchange.id().pre_key_id;
        let pair = &self.pre_keys.iter().find(|(id, _)| *id == wanted).unwrap().1;
        let (limits, mut budget) = (Limits::default(), 2_000);
        let step = Session::accept(
            &self.identity,
            &self.signed.pair,
            pair,
            &exchange,
            &limits,
            &mut budget,
            &mut self.rng,
        )?;
        let payload = message.payload.as_ref().unwrap();
        let content = payload::decrypt(self.namespace, &step.plaintext, payload, message.iv.as_deref())?;
        Ok(String::from_utf8(content.to_vec()).unwrap())
    }
}

const ROMEO: &str = "romeo@montague.lit";
const JULIET: &str = "juliet@capulet.lit";
const MALLORY: u32 = 4_711;

/// Two clients who have never written to each other.
fn two() -> (Server, Client, Client) {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let juliet = Client::new(JULIET, &mut server);
    (server, romeo, juliet)
}

/// Two clients whose session both have used.
fn friends() -> (Server, Client, Client) {
    let (mut server, romeo, juliet) = two();
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    server.settle(&[&romeo, &juliet]);
    let welcome = juliet.say(&romeo.jid, "welcome", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &welcome)), "welcome");
    server.settle(&[&romeo, &juliet]);
    (server, romeo, juliet)
}

fn both_ways(romeo: &Client, juliet: &Client, server: &mut Server) {
    for (from, to) in [(romeo, juliet), (juliet, romeo), (romeo, juliet)] {
        let message = from.say(&to.jid, "still here", server);
        assert_eq!(text(&to.read(&from.jid, &message)), "still here");
        server.settle(&[romeo, juliet]);
    }
}

// ---- the ordinary path ----

#[test]
fn a_conversation_of_three_devices() {
    let (mut server, romeo, juliet) = two();
    let phone = Client::new(JULIET, &mut server);
    assert_eq!(server.list(&juliet.jid).len(), 2);
    juliet.push(&juliet.jid, &server);
    let message = romeo.say(&juliet.jid, "two of you", &mut server);
    assert_eq!(message.keys.len(), 2);
    for reader in [&juliet, &phone] {
        let read = reader.read(&romeo.jid, &message);
        assert_eq!(text(&read), "two of you");
        assert_eq!((read.action, read.new_session, read.device), (Action::Show, true, romeo.id()));
        assert_eq!((read.identity_key, read.from.as_ref()), (Some(romeo.key()), Some(&romeo.jid)));
    }
    server.settle(&[&romeo, &juliet, &phone]);
    let answer = juliet.say(&romeo.jid, "one of us", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &answer)), "one of us");
    assert_eq!(text(&phone.read(&juliet.jid, &answer)), "one of us");
    assert!(answer.keys.iter().all(|key| key.device != juliet.id()), "encrypted to itself");
}

#[test]
fn an_ordinary_message_writes_a_few_hundred_bytes() {
    let (mut server, romeo, juliet) = friends();
    for _ in 0..3 {
        let before = romeo.disk.written.load(SeqCst);
        let message = romeo.say(&juliet.jid, "x", &mut server);
        let after = romeo.disk.written.load(SeqCst);
        assert!((1..1_000).contains(&(after - before)), "{} bytes", after - before);
        let before = juliet.disk.written.load(SeqCst);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "x");
        let after = juliet.disk.written.load(SeqCst);
        assert!((1..1_000).contains(&(after - before)), "{} bytes", after - before);
    }
}

#[test]
fn the_index_names_a_jid_once() {
    let (server, romeo, juliet) = friends();
    let size = |client: &Client| -> usize {
        let all = client.disk.all();
        all.iter().filter(|(key, _)| key.starts_with("v1/index/")).map(|(_, value)| value.len()).sum()
    };
    let before = size(&romeo);
    assert!(before > 0);
    for level in ["undecided", "trusted", "distrusted", "trusted"] {
        romeo.manager().set_trust(&juliet.jid, &juliet.key(), level).unwrap();
        romeo.push(&juliet.jid, &server);
    }
    assert_eq!(size(&romeo), before, "a JID that changes is put on the index again");
}

#[test]
fn no_jid_stands_in_a_key_of_the_store() {
    let (_, romeo, _) = friends();
    for key in romeo.disk.all().keys() {
        assert!(!key.contains("juliet") && !key.contains("romeo"), "{key}");
        assert!(
            key.len() <= 200 && key.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'/')),
            "{key}"
        );
    }
}

// ---- R1, R2: identity ----

#[test]
fn r1_a_swapped_bundle_is_never_encrypted_to() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let juliet = Stranger::new(JULIET, 77);
    juliet.publish(&mut server);
    assert_eq!(romeo.refresh(&juliet.jid, &mut server).status(), Status::Ok);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    let mut mallory = Stranger::new(JULIET, 77);
    mallory.publish(&mut server);
    let outcome = romeo.encrypt(&[&juliet.jid], "secret", Policy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::IdentityChanged));
    assert_eq!(row(&outcome, &juliet.jid, 0), Some(Status::NoEligibleDevices));
    assert!(outcome.messages.is_empty());
    assert_eq!(romeo.count_notices(NoticeKind::IdentityChanged), 1);
    let device = romeo.device(&juliet.jid, 77).unwrap();
    assert_eq!((device.identity_key, device.shown_key), (Some(juliet.key()), Some(mallory.key())));
    // Whoever is shown another key has to name it.
    let accept = |key: &[u8; 32]| romeo.manager().accept_identity(&juliet.jid, id(77), key);
    assert_eq!(accept(&juliet.key()).unwrap_err().status(), Status::IdentityChanged);
    accept(&mallory.key()).unwrap();
    let device = romeo.device(&juliet.jid, 77).unwrap();
    assert_eq!((device.identity_key, device.shown_key), (Some(mallory.key()), None));
    romeo.reconnect(&mut server);
    let message = romeo.say(&juliet.jid, "to the new key", &mut server);
    assert_eq!(mallory.accept(&message).unwrap(), "to the new key");
}

#[test]
fn accept_identity_starts_undecided() {
    let mut server = Server::default();
    let romeo = Client::with(config(ROMEO, "undecided"), &mut server);
    let juliet = Stranger::new(JULIET, 77);
    juliet.publish(&mut server);
    romeo.refresh(&juliet.jid, &mut server);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    let accept = |key: &[u8; 32]| romeo.manager().accept_identity(&juliet.jid, id(77), key);
    assert_eq!(accept(&juliet.key()).unwrap_err().status(), Status::NotFound, "nothing is shown");
    let mut new = Stranger::new(JULIET, 77);
    new.publish(&mut server);
    let outcome = romeo.encrypt(&[&juliet.jid], "one", Policy::Wait, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::IdentityChanged));
    accept(&new.key()).unwrap();
    let device = romeo.device(&juliet.jid, 77).unwrap();
    assert_eq!((device.level.as_str(), device.verdict), ("undecided", Verdict::Undecided));
    let outcome = romeo.encrypt(&[&juliet.jid], "two", Policy::Now, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::Undecided));
    romeo.manager().set_trust(&juliet.jid, &new.key(), "trusted").unwrap();
    romeo.reconnect(&mut server);
    let message = romeo.say(&juliet.jid, "three", &mut server);
    assert_eq!(new.accept(&message).unwrap(), "three");
}

#[test]
fn r2_a_bundle_whose_signature_fails_pins_no_key() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let juliet = Stranger::new(JULIET, 77);
    juliet.publish(&mut server);
    let mut forged = Stranger::new(JULIET, 77).bundle();
    forged.signature[0] ^= 1;
    server.bundles.insert((Omemo2, juliet.jid.clone(), 77), forged);
    let outcome = romeo.encrypt(&[&juliet.jid], "x", Policy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::BundleBad));
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, None);
    juliet.publish(&mut server);
    romeo.reconnect(&mut server);
    romeo.say(&juliet.jid, "x", &mut server);
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, Some(juliet.key()));
}

#[test]
fn r2_a_key_with_the_other_sign_is_the_same_identity() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let juliet = Stranger::new(JULIET, 77);
    juliet.publish(&mut server);
    romeo.refresh(&juliet.jid, &mut server);
    let mut flipped = juliet.key();
    flipped[31] ^= 0x80;
    romeo.manager().set_trust(&juliet.jid, &flipped, "distrusted").unwrap();
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().level, "distrusted");
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().level, "trusted");
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, Some(juliet.key()));
}

#[test]
fn levels_that_nobody_knows_are_refused() {
    let (_, romeo, juliet) = two();
    let set = romeo.manager().set_trust(&juliet.jid, &juliet.key(), "mystery");
    assert_eq!(set.unwrap_err().status(), Status::UnknownTrustLevel);
    let client = Client::closed(config(ROMEO, "mystery"), Arc::default());
    assert_eq!(client.open().unwrap_err().status(), Status::UnknownTrustLevel);
    assert!(client.disk.all().is_empty());
}

// ---- R3: simultaneous initiation ----

#[test]
fn r3_simultaneous_initiation_recovers() {
    let (mut server, romeo, juliet) = two();
    let hers = juliet.say(&romeo.jid, "from her", &mut server);
    let his = romeo.say(&juliet.jid, "from him", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &his)), "from him");
    assert_eq!(text(&romeo.read(&juliet.jid, &hers)), "from her");
    // Both write once more before anything of the other's that was automatic has come.
    let his = romeo.say(&juliet.jid, "again from him", &mut server);
    let hers = juliet.say(&romeo.jid, "again from her", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &his)), "again from him");
    assert_eq!(text(&romeo.read(&juliet.jid, &hers)), "again from her");
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

// ---- R5: one commit ----

#[test]
fn r5_one_commit_per_call() {
    let (mut server, romeo, juliet) = friends();
    let count = |client: &Client, work: &mut dyn FnMut()| {
        let before = client.disk.commits();
        work();
        client.disk.commits() - before
    };
    let mut message = None;
    let encrypts = count(&romeo, &mut || message = Some(romeo.say(&juliet.jid, "x", &mut server)));
    assert_eq!(encrypts, 1);
    let message = message.unwrap();
    assert_eq!(count(&juliet, &mut || assert_eq!(text(&juliet.read(&romeo.jid, &message)), "x")), 1);
    assert_eq!(count(&juliet, &mut || drop(juliet.read(&romeo.jid, &message))), 0);
    let key = juliet.key();
    assert_eq!(count(&romeo, &mut || romeo.manager().set_trust(&juliet.jid, &key, "distrusted").unwrap()), 1);
    assert_eq!(count(&romeo, &mut || drop(romeo.manager().devices(Some(&juliet.jid)).unwrap())), 0);
    Stranger::new(JULIET, 77).publish(&mut server);
    assert_eq!(count(&romeo, &mut || romeo.push(&juliet.jid, &server)), 1);
    // A first message: the key exchange, the used pre key and the follow-ups are one commit.
    let mut stranger = Stranger::new("tybalt@capulet.lit", 5);
    let (_, greeting) = stranger.greet(&juliet, &server, "en garde");
    assert_eq!(
        count(&juliet, &mut || assert_eq!(text(&juliet.read(&stranger.jid, &greeting)), "en garde")),
        1
    );
}

#[test]
fn r5_many_devices_are_one_commit() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let crowd: Vec<_> = (1..=20).map(|id| Stranger::new(JULIET, id)).collect();
    crowd.iter().for_each(|device| device.publish(&mut server));
    romeo.refresh(&crowd[0].jid, &mut server);
    romeo.say(&crowd[0].jid, "x", &mut server);
    let before = romeo.disk.commits();
    let message = romeo.say(&crowd[0].jid, "y", &mut server);
    assert_eq!((message.keys.len(), romeo.disk.commits() - before), (20, 1));
}

// ---- R6, R7, R24: setting up ----

#[test]
fn r6_an_identity_is_never_made_anew_beside_what_an_older_one_left() {
    let (_, romeo, _) = friends();
    let open = |disk: Arc<Disk>, name: &str| {
        let before = disk.all();
        let client = Client::closed(config(name, "trusted"), disk.clone());
        let status = client.open().unwrap_err().status();
        assert!(disk.all() == before, "a store that was refused was changed");
        status
    };
    for missing in ["v1/account", "v1/anchor", "v1/own/2"] {
        let disk = romeo.disk.copy();
        disk.records.lock().unwrap().remove(missing).unwrap();
        assert_eq!(open(disk, ROMEO), Status::StorageCorrupt, "{missing}");
        let disk = romeo.disk.copy();
        disk.records.lock().unwrap().insert(missing.to_owned(), vec![0xff, 1]);
        assert_eq!(open(disk, ROMEO), Status::StorageCorrupt, "{missing}");
        let disk = romeo.disk.copy();
        // Field 1 of each record is its version; what comes last holds.
        disk.records.lock().unwrap().get_mut(missing).unwrap().extend([0x08, 99]);
        assert_eq!(open(disk, ROMEO), Status::StorageVersion, "{missing}");
    }
    let disk = romeo.disk.copy();
    disk.records.lock().unwrap().retain(|key, _| !matches!(key.as_str(), "v1/account" | "v1/anchor"));
    assert_eq!(open(disk, ROMEO), Status::StorageCorrupt);
    assert_eq!(open(romeo.disk.copy(), JULIET), Status::StorageAccount);
}

#[test]
fn opening_works_offline_and_the_identity_stays() {
    let romeo = Client::closed(config(ROMEO, "trusted"), Arc::default());
    romeo.open().unwrap();
    assert!(romeo.step().is_empty(), "something is asked before connected");
    let stored = romeo.disk.all();
    romeo.restart();
    assert!(romeo.disk.all() == stored, "keys are made on the first run only");
    let mut server = Server::default();
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    let key = romeo.key();
    romeo.restart();
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    assert_eq!(romeo.key(), key);
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    assert_eq!(server.bundle(&romeo).pre_keys.len(), 100);
}

#[test]
fn the_device_id_waits_for_the_own_list() {
    for reason in [Reason::Failed, Reason::Timeout] {
        let romeo = Client::closed(config(ROMEO, "trusted"), Arc::default());
        romeo.open().unwrap();
        let operation = romeo.begin_connect();
        romeo.run_with(|_| Some(Answer::Rejected(reason)));
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), Status::DeviceListDownloadFailed);
        assert_eq!(romeo.count_asked(is_publish), 0);
        let mut server = Server::default();
        assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
        assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    }
}

#[test]
fn the_bundle_is_published_before_the_list_and_nobody_is_taken_off() {
    let mut server = Server::default();
    let label = Some("Gajim".to_owned());
    let other = ListedDevice { id: 99, label, label_signature: Some([7; 64]) };
    let list = DeviceList { namespace: Omemo2, devices: vec![other.clone()] };
    server.lists.insert((Omemo2, jid(ROMEO)), list);
    let romeo = Client::new(ROMEO, &mut server);
    let publishes: Vec<_> =
        romeo.asked.borrow().iter().filter(|question| is_publish(question)).cloned().collect();
    assert!(matches!(publishes[..], [Question::PublishBundle { .. }, Question::PublishDeviceList { .. }]));
    let devices = &server.lists[&(Omemo2, romeo.jid.clone())].devices;
    assert_eq!(devices.len(), 2);
    assert!(devices.contains(&other), "a label was lost");
}

fn assert_set_up(romeo: &Client, server: &mut Server, others: usize) {
    let list = server.list(&romeo.jid);
    assert_eq!(list.len(), others + 1, "more than one id was announced");
    assert!(list.contains(&romeo.id()));
    let bundle = server.bundle(romeo);
    assert_eq!(bundle.identity_key, romeo.key());
    assert!(bundle.verify().is_ok());
    assert_eq!(bundle.pre_keys.len(), 100);
    let mut ids: Vec<_> = bundle.pre_keys.iter().map(|pre_key| pre_key.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100, "an id of a pre key was used twice");
    let mut stranger = Stranger::new("tybalt@capulet.lit", 5);
    let (_, greeting) = stranger.greet(romeo, server, "hello");
    assert_eq!(text(&romeo.read(&stranger.jid, &greeting)), "hello");
}

#[test]
fn r7_every_step_resumes_after_a_failed_commit() {
    for fault in [Fault::Nothing, Fault::Everything] {
        for restart in [false, true] {
            let mut n = 0;
            loop {
                n += 1;
                assert!(n < 50);
                let mut server = Server::default();
                Stranger::new(ROMEO, 99).publish(&mut server);
                let romeo = Client::closed(config(ROMEO, "trusted"), Arc::default());
                romeo.disk.fail(n, fault);
                if romeo.open().is_ok() {
                    let operation = romeo.begin_connect();
                    romeo.run(&mut server);
                    romeo.run_later(&mut server);
                    assert!(romeo.is_done(operation), "commit {n}, {fault:?}: connected never ended");
                }
                let failed = romeo.disk.has_failed();
                if !failed {
                    romeo.disk.fault.lock().unwrap().take();
                }
                if restart || romeo.manager.borrow().is_none() {
                    romeo.restart();
                }
                let again = romeo.begin_connect();
                romeo.run(&mut server);
                romeo.run_later(&mut server);
                assert_eq!(romeo.take(again).status(), Status::Ok, "commit {n}, {fault:?}");
                assert_set_up(&romeo, &mut server, 1);
                if !failed {
                    assert!(n > 3, "the first run makes {n} commits");
                    break;
                }
            }
        }
    }
}

#[test]
fn r7_every_step_resumes_after_a_failed_answer_and_after_a_crash() {
    for reason in [Some(Reason::Failed), Some(Reason::Timeout), None] {
        let mut n = 0;
        loop {
            n += 1;
            assert!(n < 50);
            let mut server = Server::default();
            Stranger::new(ROMEO, 99).publish(&mut server);
            let romeo = Client::closed(config(ROMEO, "trusted"), Arc::default());
            romeo.open().unwrap();
            let operation = romeo.begin_connect();
            let mut count = 0;
            let open = romeo.run_with(|question| {
                count += 1;
                match (count == n, reason) {
                    (false, _) => Some(server.answer(&romeo, question)),
                    (true, Some(reason)) => Some(Answer::Rejected(reason)),
                    (true, None) => None,
                }
            });
            match reason {
                Some(_) => {
                    assert!(romeo.is_done(operation), "question {n}: connected never ended");
                    romeo.reconnect(&mut server);
                }
                None => {
                    assert!(count < n || !open.is_empty());
                    romeo.restart();
                    romeo.connect(&mut server);
                }
            }
            romeo.run_later(&mut server);
            assert_set_up(&romeo, &mut server, 1);
            if count < n {
                assert!(n > 3, "the first run asks {n} questions");
                break;
            }
        }
    }
}

#[test]
fn publishing_that_fails_is_told_and_done_later() {
    let mut server = Server::default();
    let romeo = Client::closed(config(ROMEO, "trusted"), Arc::default());
    romeo.open().unwrap();
    let operation = romeo.begin_connect();
    romeo.run_with(|question| match is_publish(question) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&romeo, question)),
    });
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::BundleUploadFailed);
    assert_eq!(outcome.rows.len(), 1);
    assert_eq!(outcome.rows[0].namespace, Some(Omemo2));
    assert!(romeo.count_notices(NoticeKind::PublishFailed) >= 1);
    assert!(romeo.manager().timeout().is_some_and(|ms| ms > 0 && ms <= 5_000), "it is not tried again");
    romeo.run_later(&mut server);
    assert_set_up(&romeo, &mut server, 0);
}

#[test]
fn a_foreign_bundle_under_our_id_is_never_overwritten() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let old = romeo.id();
    let mut other = Stranger::new(ROMEO, old);
    other.id = old;
    other.publish(&mut server);
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    romeo.run_later(&mut server);
    assert_eq!(server.bundles[&(Omemo2, romeo.jid.clone(), old)].identity_key, other.key());
    assert!(romeo.id() != old);
    let list = server.list(&romeo.jid);
    assert!(list.contains(&old) && list.contains(&romeo.id()));
    assert_eq!(server.bundle(&romeo).identity_key, romeo.key());
    assert!(romeo.count_notices(NoticeKind::IdentityChanged) >= 1);
}

#[test]
fn an_own_list_without_us_is_repaired_but_not_for_ever() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let empty = DeviceList { namespace: Omemo2, devices: Vec::new() };
    let is_list = |question: &Question| matches!(question, Question::PublishDeviceList { .. });
    let before = romeo.count_asked(is_list);
    // Another client takes us off the list each time, twenty times in a minute.
    for _ in 0..20 {
        server.lists.insert((Omemo2, romeo.jid.clone()), empty.clone());
        romeo.push(&romeo.jid, &server);
        romeo.run(&mut server);
        romeo.advance(2_500);
        romeo.run(&mut server);
    }
    let published = romeo.count_asked(is_list) - before;
    assert!((1..=4).contains(&published), "{published} publishes in less than a minute");
    romeo.run_later(&mut server);
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
}

// ---- R9, R45: no message key twice ----

#[test]
fn r9_concurrent_encrypts_never_share_a_message_key() {
    // `note_headers` refuses any message key that is used twice.
    let (mut server, romeo, juliet) = two();
    let operations: Vec<_> =
        (0..5).map(|n| romeo.begin_encrypt(&[&juliet.jid], &format!("{n}"), Policy::Wait)).collect();
    romeo.run(&mut server);
    let messages: Vec<_> =
        operations.iter().map(|operation| romeo.take(*operation).messages.remove(0)).collect();
    for (n, message) in messages.iter().enumerate() {
        assert_eq!(text(&juliet.read(&romeo.jid, message)), n.to_string());
    }
    server.settle(&[&romeo, &juliet]);
    let greeting = juliet.say(&romeo.jid, "hi", &mut server);
    let operations: Vec<_> =
        (0..5).map(|n| romeo.begin_encrypt(&[&juliet.jid], &format!("{n}"), Policy::Now)).collect();
    assert_eq!(text(&romeo.read(&juliet.jid, &greeting)), "hi");
    romeo.run(&mut server);
    for (n, operation) in operations.iter().enumerate() {
        let message = romeo.take(*operation).messages.remove(0);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), n.to_string());
    }
    assert_eq!(romeo.count_asked(is_bundle), 1, "the bundle is asked for once for all");
}

#[test]
fn r45_what_is_sent_is_stored_first() {
    let (mut server, romeo, juliet) = two();
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    // The empty answer is asked to be sent; the process dies at once, and what it stored goes on.
    let open = juliet.run_with(|question| match is_send(question) {
        true => None,
        false => Some(server.answer(&juliet, question)),
    });
    assert_eq!(open.len(), 1);
    let Question::SendMessage { message: first, .. } = &open[0].1 else { panic!("no message") };
    juliet.restart();
    juliet.begin_connect();
    let operation = juliet.begin_encrypt(&[&romeo.jid], "after the crash", Policy::Wait);
    juliet.run_with(|question| match is_send(question) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&juliet, question)),
    });
    let message = juliet.take(operation).messages.remove(0);
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "after the crash");
    // If the answer had got out before the crash, it is no copy of anything else.
    let late = romeo.read(&juliet.jid, first);
    assert_eq!(late.error.status(), Status::Ok);
    assert!(late.plaintext.is_none());
}

#[test]
fn r45_nothing_is_sent_whose_commit_failed() {
    let (mut server, romeo, juliet) = two();
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.disk.fail(1, Fault::Nothing);
    for _ in 0..3 {
        let open = juliet.step();
        let failed = juliet.disk.has_failed();
        assert!(failed || !open.iter().any(|(_, question)| is_send(question)), "sent before it was stored");
        for (request, question) in open {
            juliet.manager().answer(request, server.answer(&juliet, &question)).unwrap();
        }
    }
    juliet.run_later(&mut server);
    assert!(juliet.disk.has_failed());
    assert_eq!(juliet.sent.borrow().len(), 1);
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

#[test]
fn a_follow_up_that_fails_sends_the_same_bytes_again() {
    let (mut server, romeo, juliet) = two();
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    let mut failures = 3;
    for _ in 0..4 {
        juliet.run_with(|question| match is_send(question) && failures > 0 {
            true => {
                failures -= 1;
                Some(Answer::Rejected(Reason::Failed))
            }
            false => Some(server.answer(&juliet, question)),
        });
        juliet.advance(10_000);
    }
    let sent = juliet.sent.borrow();
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|(to, message)| *to == romeo.jid && *message == sent[0].1));
}

#[test]
fn a_follow_up_survives_a_crash_and_ends_when_declined() {
    let (mut server, romeo, juliet) = two();
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.restart();
    let operation = juliet.begin_connect();
    juliet.run_with(|question| match is_send(question) {
        true => Some(Answer::Rejected(Reason::Declined)),
        false => Some(server.answer(&juliet, question)),
    });
    assert_eq!(juliet.take(operation).status(), Status::Ok);
    assert_eq!(juliet.sent.borrow().len(), 1, "the answer was lost in the crash");
    juliet.run_later(&mut server);
    juliet.restart();
    juliet.connect(&mut server);
    juliet.run_later(&mut server);
    assert_eq!(juliet.sent.borrow().len(), 1, "a declined message is sent again");
}

#[test]
fn an_answer_is_dropped_when_something_else_was_said() {
    let (mut server, romeo, juliet) = two();
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.manager().disconnected().unwrap();
    juliet.step();
    let operation = juliet.begin_encrypt(&[&romeo.jid], "hello yourself", Policy::Wait);
    assert_eq!(juliet.connect(&mut server).status(), Status::Ok);
    let reply = juliet.take(operation).messages.remove(0);
    assert_eq!(text(&romeo.read(&juliet.jid, &reply)), "hello yourself");
    juliet.run_later(&mut server);
    let retries = juliet.sent.borrow().len();
    assert!(retries <= 1, "{retries} empty messages");
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

// ---- R10, R12, R13, R18, R25, R46 ----

#[test]
fn r10_the_plaintext_is_given_whatever_becomes_of_the_follow_ups() {
    let (mut server, romeo, juliet) = two();
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.run_with(|question| match question {
        Question::FetchDeviceList { .. } | Question::FetchBundle { .. } => {
            Some(server.answer(&juliet, question))
        }
        _ => Some(Answer::Rejected(Reason::Failed)),
    });
    assert!(juliet.count_notices(NoticeKind::PublishFailed) >= 1);
    let more = romeo.say(&juliet.jid, "more", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &more)), "more");
    juliet.manager().disconnected().unwrap();
    let offline = romeo.say(&juliet.jid, "offline", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &offline)), "offline");
    // In the end the used pre key is gone from the server, and a full bundle is there.
    let used = KeyExchange::parse(Omemo2, hello.keys[0].bytes.as_ref().unwrap()).unwrap().id().pre_key_id;
    juliet.connect(&mut server);
    juliet.run_later(&mut server);
    let bundle = server.bundle(&juliet);
    assert!(bundle.pre_keys.iter().all(|pre_key| pre_key.id != used));
    assert_eq!(bundle.pre_keys.len(), 100);
}

#[test]
fn r12_one_bad_bundle_is_one_row() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let good = Stranger::new(JULIET, 1);
    good.publish(&mut server);
    let mut bundles = Vec::new();
    for id in 2..=7 {
        let device = Stranger::new(JULIET, id);
        device.publish(&mut server);
        bundles.push(device.bundle());
    }
    bundles[0].identity_key = [0; 32];
    bundles[1].identity_key = [0xff; 32];
    bundles[2].signature = [0; 64];
    bundles[3].pre_keys.clear();
    bundles[4].pre_keys.iter_mut().for_each(|pre_key| pre_key.key = [0; 32]);
    bundles[5].signed_pre_key = [0; 32];
    for (id, bundle) in (2..).zip(bundles) {
        server.bundles.insert((Omemo2, good.jid.clone(), id), bundle);
    }
    server.lists.get_mut(&(Omemo2, good.jid.clone())).unwrap().devices.push(ListedDevice {
        id: 8,
        label: None,
        label_signature: None,
    });
    let outcome = romeo.encrypt(&[&good.jid], "x", Policy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::Ok);
    assert_eq!(outcome.messages[0].keys.len(), 1);
    for id in 2..=7 {
        assert_eq!(row(&outcome, &good.jid, id), Some(Status::BundleBad), "device {id}");
    }
    assert_eq!(row(&outcome, &good.jid, 8), Some(Status::BundleNotFound));
    let outcome = romeo.encrypt(&[&good.jid], "x", Policy::All, &mut server);
    assert!(outcome.status() != Status::Ok && outcome.messages.is_empty());
}

#[test]
fn r13_one_heartbeat_for_each_ratchet_key() {
    let (mut server, romeo, juliet) = friends();
    let before = juliet.sent.borrow().len();
    for n in 0..120 {
        let message = romeo.say(&juliet.jid, &format!("{n}"), &mut server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), n.to_string());
        juliet.run(&mut server);
        // The heartbeat stays on its way: romeo goes on in the same chain.
        let sent = juliet.sent.borrow().len() - before;
        match n {
            0..=50 => assert_eq!(sent, 0, "message {n}"),
            60.. => assert_eq!(sent, 1, "message {n}"),
            _ => assert!(sent <= 1, "message {n}"),
        }
    }
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

#[test]
fn r14_what_could_not_be_fetched_is_not_fetched_again_at_once() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let good = Stranger::new(JULIET, 1);
    good.publish(&mut server);
    for device in 2..=20 {
        Stranger::new(JULIET, device).publish(&mut server);
        server.bundles.remove(&(Omemo2, good.jid.clone(), device));
    }
    for _ in 0..5 {
        assert_eq!(romeo.encrypt(&[&good.jid], "x", Policy::Wait, &mut server).status(), Status::Ok);
    }
    assert_eq!(romeo.count_asked(is_bundle), 20);
}

#[test]
fn r17_this_device_stays_active_while_its_list_is_on_its_way() {
    let (server, romeo, _) = two();
    let own = &romeo.manager().devices(None).unwrap()[0];
    assert_eq!(own.active, [Omemo2]);
    assert_eq!(server.list(&romeo.jid), [own.id]);
}

#[test]
fn r18_a_message_without_keys_is_none() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let nobody = jid("nobody@capulet.lit");
    for policy in [Policy::Wait, Policy::Now, Policy::All] {
        let outcome = romeo.encrypt(&[&nobody], "x", policy, &mut server);
        assert_eq!(outcome.status(), Status::NoEligibleDevices);
        assert!(outcome.messages.is_empty());
        assert!(row(&outcome, &nobody, 0).is_some());
    }
    let outcome = romeo.encrypt(&[], "note to myself", Policy::Wait, &mut server);
    assert_eq!((outcome.status(), outcome.messages.len()), (Status::Ok, 0));
}

#[test]
fn r25_the_last_message_of_a_chain_may_be_late_although_its_sender_counts_wrong() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    romeo.publish(&mut server);
    let to = (juliet.jid.clone(), juliet.id());
    let (mut session, first) = romeo.greet(&juliet, &server, "0");
    let second = romeo.write(&mut session, (&to.0, to.1), "1");
    let late = romeo.write(&mut session, (&to.0, to.1), "2");
    assert_eq!(text(&juliet.read(&romeo.jid, &first)), "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &second)), "1");
    let reply = juliet.say(&romeo.jid, "yes?", &mut server);
    romeo.open(&mut session, &reply);
    // Field 20 of a session is pn; what comes last holds. It was 3, and libsignal would say 2.
    let mut record = session.encode().to_vec();
    record.extend([0xa0, 0x01, 2]);
    let mut session = Session::decode(&record).unwrap();
    let next = romeo.write(&mut session, (&to.0, to.1), "3");
    assert_eq!(RatchetMessage::parse(Omemo2, next.keys[0].bytes.as_ref().unwrap()).unwrap().header().pn, 2);
    assert_eq!(text(&juliet.read(&romeo.jid, &next)), "3");
    assert_eq!(text(&juliet.read(&romeo.jid, &late)), "2");
    // Its key is gone with it.
    let again = juliet.read(&romeo.jid, &late);
    assert!(matches!(again.error.status(), Status::Duplicate | Status::DecryptionFailed));
}

#[test]
fn r46_a_key_exchange_is_answered_once_and_r52_the_bundle_is_published_once() {
    let (mut server, romeo, juliet) = two();
    let published = juliet.count_asked(is_publish);
    let messages: Vec<_> = (0..5).map(|n| romeo.say(&juliet.jid, &format!("{n}"), &mut server)).collect();
    assert!(messages.iter().all(|message| message.keys[0].key_exchange));
    for (n, message) in messages.iter().enumerate() {
        let read = juliet.read(&romeo.jid, message);
        assert_eq!((text(&read), read.new_session), (n.to_string(), n == 0));
    }
    for n in 0..3 {
        let mut stranger = Stranger::new(&format!("guest{n}@capulet.lit"), 5);
        let mut bundle = server.bundle(&juliet);
        bundle.pre_keys.retain(|pre_key| pre_key.id % 3 == n);
        let mut session = stranger.initiate(&bundle);
        let greeting = stranger.write(&mut session, (&juliet.jid, juliet.id()), "hello");
        let status = juliet.read(&stranger.jid, &greeting).error.status();
        assert!(matches!(status, Status::Ok | Status::PreKeyUnknown));
    }
    juliet.run(&mut server);
    juliet.run_later(&mut server);
    assert_eq!(juliet.sent.borrow().iter().filter(|(to, _)| *to == romeo.jid).count(), 1);
    assert_eq!(juliet.count_asked(is_publish) - published, 1);
}

// ---- the table of decryption ----

#[test]
fn table_no_key_for_us() {
    let (_, romeo, juliet) = friends();
    let mut stranger = Stranger::new("tybalt@capulet.lit", 5);
    let mut session = stranger.initiate(&Stranger::new(ROMEO, 3).bundle());
    let mut message = stranger.write(&mut session, (&romeo.jid, juliet.id()), "x");
    let refused = juliet.refuse(&stranger.jid, &message, Status::NotForUs);
    assert_eq!(refused.action, Action::Warn);
    message.payload = None;
    let refused = juliet.refuse(&stranger.jid, &message, Status::NotForUs);
    assert_eq!(refused.action, Action::Hide);
}

#[test]
fn table_own_echo() {
    let (mut server, romeo, juliet) = friends();
    let message = romeo.say(&juliet.jid, "x", &mut server);
    let echo = romeo.refuse(&romeo.jid, &message, Status::OwnEcho);
    assert_eq!(echo.action, Action::Hide);
}

#[test]
fn table_distrusted_sender() {
    let (mut server, romeo, juliet) = friends();
    juliet.manager().set_trust(&romeo.jid, &romeo.key(), "distrusted").unwrap();
    let message = romeo.say(&juliet.jid, "trust me", &mut server);
    juliet.refuse(&romeo.jid, &message, Status::SenderDistrusted);
    juliet.manager().set_trust(&romeo.jid, &romeo.key(), "trusted").unwrap();
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "trust me");
}

#[test]
fn table_distrusted_key_in_a_key_exchange() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut tybalt = Stranger::new("tybalt@capulet.lit", 5);
    juliet.manager().set_trust(&tybalt.jid, &tybalt.key(), "distrusted").unwrap();
    let (_, greeting) = tybalt.greet(&juliet, &server, "en garde");
    juliet.refuse(&tybalt.jid, &greeting, Status::SenderDistrusted);
    juliet.manager().set_trust(&tybalt.jid, &tybalt.key(), "trusted").unwrap();
    assert_eq!(text(&juliet.read(&tybalt.jid, &greeting)), "en garde");
}

#[test]
fn table_a_confirmed_key_differs() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let romeo = Stranger::new(ROMEO, 9);
    romeo.publish(&mut server);
    juliet.refresh(&romeo.jid, &mut server);
    let mut mallory = Stranger::new(ROMEO, 9);
    let (mut session, relayed) = mallory.greet(&juliet, &server, "in his name");
    juliet.refuse(&romeo.jid, &relayed, Status::PublicDataInconsistency);
    let again = mallory.write(&mut session, (&juliet.jid, juliet.id()), "in his name");
    juliet.refuse(&romeo.jid, &again, Status::PublicDataInconsistency);
    juliet.step();
    assert_eq!(juliet.count_notices(NoticeKind::IdentityChanged), 1, "told once in a run");
    assert_eq!(juliet.device(&romeo.jid, 9).unwrap().identity_key, Some(romeo.key()));
}

#[test]
fn table_a_key_exchange_relayed_in_somebodys_name() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, MALLORY);
    romeo.publish(&mut server);
    let mut mallory = Stranger::new(ROMEO, MALLORY);
    let (mut session, relayed) = mallory.greet(&juliet, &server, "I am Romeo");
    let read = juliet.read(&romeo.jid, &relayed);
    assert_eq!((text(&read), read.identity_key), ("I am Romeo".to_owned(), Some(mallory.key())));
    let device = juliet.device(&romeo.jid, MALLORY).unwrap();
    assert!(device.active.is_empty(), "a message makes no device active");
    // Whatever was thought of the relayed key, nothing but the key of his own node gets content.
    juliet.manager().set_trust(&romeo.jid, &mallory.key(), "trusted").unwrap();
    let message = juliet.say(&romeo.jid, "are you?", &mut server);
    assert_eq!(romeo.accept(&message).unwrap(), "are you?");
    assert_eq!(juliet.count_notices(NoticeKind::IdentityChanged), 1);
    assert_eq!(juliet.device(&romeo.jid, MALLORY).unwrap().identity_key, Some(romeo.key()));
    // The session in his name is given up: it never becomes the current one again.
    let more = mallory.write(&mut session, (&juliet.jid, juliet.id()), "I am Romeo!");
    let read = juliet.read(&romeo.jid, &more);
    assert!(matches!(read.error.status(), Status::Ok | Status::PublicDataInconsistency));
    let message = juliet.say(&romeo.jid, "who was that?", &mut server);
    assert_eq!(romeo.accept(&message).unwrap(), "who was that?");
}

#[test]
fn a_provisional_key_is_confirmed_by_the_bundle_and_its_session_goes_on() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    romeo.publish(&mut server);
    let (mut session, greeting) = romeo.greet(&juliet, &server, "hello");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "hello");
    let before = juliet.count_asked(is_bundle);
    let reply = juliet.say(&romeo.jid, "welcome", &mut server);
    assert_eq!(juliet.count_asked(is_bundle) - before, 1, "content went to a key that nobody vouched for");
    assert!(!romeo.bytes(&reply).key_exchange, "the session that was there is used");
    romeo.open(&mut session, &reply);
    assert_eq!(juliet.count_notices(NoticeKind::IdentityChanged), 0);
    juliet.say(&romeo.jid, "again", &mut server);
    assert_eq!(juliet.count_asked(is_bundle) - before, 1, "the bundle is fetched once");
}

#[test]
fn no_content_goes_to_a_provisional_key_without_its_bundle() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    romeo.publish(&mut server);
    let (_, greeting) = romeo.greet(&juliet, &server, "hello");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "hello");
    juliet.run(&mut server);
    server.bundles.remove(&(Omemo2, romeo.jid.clone(), 9));
    let outcome = juliet.encrypt(&[&romeo.jid], "x", Policy::Wait, &mut server);
    if juliet.count_asked(is_bundle) == 0 || row(&outcome, &romeo.jid, 9) == Some(Status::BundleNotFound) {
        assert_eq!(outcome.status(), Status::NoEligibleDevices);
        assert!(outcome.messages.is_empty());
    } else {
        panic!("{:?}", outcome.error);
    }
}

#[test]
fn table_a_key_exchange_that_is_known_is_its_session() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    let (mut first, greeting) = romeo.greet(&juliet, &server, "1");
    assert!(juliet.read(&romeo.jid, &greeting).new_session);
    let to = (juliet.jid.clone(), juliet.id());
    let again = romeo.write(&mut first, (&to.0, to.1), "2");
    let read = juliet.read(&romeo.jid, &again);
    assert_eq!((text(&read), read.new_session), ("2".to_owned(), false));
    juliet.refuse(&romeo.jid, &again, Status::Duplicate);
    // The same holds when another session has taken its place.
    juliet.run(&mut server);
    let (_, other) = romeo.greet(&juliet, &server, "3");
    assert!(juliet.read(&romeo.jid, &other).new_session);
    let late = romeo.write(&mut first, (&to.0, to.1), "4");
    let read = juliet.read(&romeo.jid, &late);
    assert_eq!((text(&read), read.new_session), ("4".to_owned(), false));
}

#[test]
fn table_a_key_exchange_processed_before_is_a_duplicate() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    let bundle = server.bundle(&juliet);
    let to = (juliet.jid.clone(), juliet.id());
    let mut greetings = Vec::new();
    // More than the archive holds: the first session is gone, but not forgotten.
    for n in 0..45 {
        let mut one = bundle.clone();
        one.pre_keys = vec![bundle.pre_keys[n].clone()];
        let mut session = romeo.initiate(&one);
        let greeting = romeo.write(&mut session, (&to.0, to.1), &format!("{n}"));
        assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), n.to_string());
        greetings.push(greeting);
    }
    for greeting in &greetings {
        juliet.refuse(&romeo.jid, greeting, Status::Duplicate);
    }
}

#[test]
fn table_a_new_key_exchange_replaces_the_session() {
    let (mut server, romeo, juliet) = friends();
    // Romeo's device lost its sessions and begins anew under the same key: as a copy of its store without them would.
    let on_its_way = romeo.say(&juliet.jid, "on its way", &mut server);
    let disk = romeo.disk.copy();
    disk.records.lock().unwrap().retain(|key, _| !key.starts_with("v1/session/"));
    let restored = Client::closed(config(ROMEO, "trusted"), disk);
    restored.open().unwrap();
    restored.connect(&mut server);
    let fresh = restored.say(&juliet.jid, "fresh", &mut server);
    assert!(fresh.keys[0].key_exchange);
    let read = juliet.read(&romeo.jid, &fresh);
    assert_eq!((text(&read), read.new_session), ("fresh".to_owned(), true));
    assert_eq!(text(&juliet.read(&romeo.jid, &on_its_way)), "on its way");
}

#[test]
fn table_no_session_and_its_repair() {
    let (mut server, romeo, juliet) = two();
    romeo.refresh(&juliet.jid, &mut server);
    juliet.refresh(&romeo.jid, &mut server);
    // A message of a session that juliet does not have.
    let forged = |device: u32, name: &str| {
        let mut stranger = Stranger::new(name, device);
        let mut peer = Stranger::new(JULIET, juliet.id());
        let mut session = stranger.initiate(&peer.bundle());
        let first = stranger.write(&mut session, (&juliet.jid, juliet.id()), "x");
        let bytes = peer.bytes(&first).bytes.unwrap();
        let exchange = KeyExchange::parse(Omemo2, &bytes).unwrap();
        let pair = &peer.pre_keys.iter().find(|(id, _)| *id == exchange.id().pre_key_id).unwrap().1;
        let (limits, mut budget) = (Limits::default(), 2_000);
        let own = &peer.identity;
        let step =
            Session::accept(own, &peer.signed.pair, pair, &exchange, &limits, &mut budget, &mut peer.rng)
                .unwrap();
        let mut theirs = step.session;
        let answer = theirs.encrypt(&[0; 32]).unwrap();
        let ratchet = RatchetMessage::parse(Omemo2, &answer.bytes).unwrap();
        let step = session.decrypt(&ratchet, None, &limits, &mut budget, &mut stranger.rng).unwrap();
        session = step.session;
        stranger.write(&mut session, (&juliet.jid, juliet.id()), "x")
    };
    let before = juliet.sent.borrow().len();
    // Of a device that no list names: no session is begun for it.
    let tybalt = forged(5, "tybalt@capulet.lit");
    juliet.refuse(&jid("tybalt@capulet.lit"), &tybalt, Status::NoSession);
    juliet.run(&mut server);
    assert_eq!(juliet.sent.borrow().len(), before);
    // Of a listed one: one session, and an empty message to say so, once an hour.
    let listed = forged(romeo.id(), ROMEO);
    assert_eq!(juliet.refuse(&romeo.jid, &listed, Status::NoSession).action, Action::Warn);
    juliet.run(&mut server);
    for _ in 0..3 {
        // There is a session now; it is not this one.
        juliet.refuse(&romeo.jid, &listed, Status::DecryptionFailed);
        juliet.run(&mut server);
    }
    assert_eq!(juliet.sent.borrow().len(), before + 1);
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

#[test]
fn table_what_no_session_decrypts() {
    let (mut server, romeo, juliet) = friends();
    let message = romeo.say(&juliet.jid, "x", &mut server);
    for position in [0, 10, 40, 60] {
        let mut forged = message.clone();
        let bytes = forged.keys[0].bytes.as_mut().unwrap();
        let at = bytes.len() - 1 - position;
        bytes[at] ^= 1;
        let (before, commits) = (juliet.disk.all(), juliet.disk.commits());
        let read = juliet.read(&romeo.jid, &forged);
        assert!(
            matches!(
                read.error.status(),
                Status::DecryptionFailed | Status::Malformed | Status::TooManySkipped | Status::NoSession
            ),
            "{:?}",
            read.error
        );
        assert!(juliet.disk.all() == before && juliet.disk.commits() == commits);
    }
    // The payload is authenticated, too: nothing moves when that fails.
    let mut forged = message.clone();
    *forged.payload.as_mut().unwrap().last_mut().unwrap() ^= 1;
    juliet.refuse(&romeo.jid, &forged, Status::DecryptionFailed);
    let mut broken = message.clone();
    broken.keys[0].bytes = None;
    juliet.refuse(&romeo.jid, &broken, Status::Malformed);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "x");
    assert_eq!(juliet.refuse(&romeo.jid, &message, Status::Duplicate).action, Action::Hide);
}

#[test]
fn table_too_many_skipped() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    let (mut session, greeting) = romeo.greet(&juliet, &server, "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "0");
    let to = (juliet.jid.clone(), juliet.id());
    let messages: Vec<_> =
        (1..=1_002).map(|n| romeo.write(&mut session, (&to.0, to.1), &format!("{n}"))).collect();
    juliet.refuse(&romeo.jid, &messages[1_001], Status::TooManySkipped);
    assert_eq!(text(&juliet.read(&romeo.jid, &messages[1_000])), "1001");
    assert_eq!(text(&juliet.read(&romeo.jid, &messages[1_001])), "1002");
    assert_eq!(text(&juliet.read(&romeo.jid, &messages[500])), "501");
    assert_eq!(text(&juliet.read(&romeo.jid, &messages[0])), "1");
    juliet.refuse(&romeo.jid, &messages[500], Status::Duplicate);
}

#[test]
fn table_a_pre_key_that_is_gone() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut bundle = server.bundle(&juliet);
    bundle.pre_keys.truncate(1);
    let to = (juliet.jid.clone(), juliet.id());
    let greet = |name: &str| {
        let mut stranger = Stranger::new(name, 9);
        let mut session = stranger.initiate(&bundle);
        (stranger.jid.clone(), stranger.write(&mut session, (&to.0, to.1), "hello"))
    };
    let (romeo, first) = greet(ROMEO);
    let (tybalt, second) = greet("tybalt@capulet.lit");
    assert_eq!(text(&juliet.read(&romeo, &first)), "hello");
    juliet.refuse(&tybalt, &second, Status::PreKeyUnknown);
    juliet.run(&mut server);
    assert!(server.bundle(&juliet).pre_keys.iter().all(|pre_key| pre_key.id != bundle.pre_keys[0].id));
}

#[test]
fn table_several_legacy_keys_with_our_id() {
    let mut server = Server::default();
    let juliet =
        Client::with(Config { namespaces: vec![Legacy, Omemo2], ..config(JULIET, "trusted") }, &mut server);
    let mut romeo = Stranger::of(Legacy, ROMEO, 9);
    let bundle = server.bundles[&(Legacy, juliet.jid.clone(), juliet.id())].clone();
    let mut stray = romeo.initiate(&Stranger::of(Legacy, "nurse@capulet.lit", juliet.id()).bundle());
    let to = (juliet.jid.clone(), juliet.id());
    for first in [true, false] {
        let mut session = romeo.initiate(&bundle);
        let mut message = romeo.write(&mut session, (&to.0, to.1), "for one of you");
        let other = romeo.write(&mut stray, (&to.0, to.1), "for somebody else").keys.remove(0);
        message.keys.insert(usize::from(first), other);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "for one of you", "first: {first}");
    }
}

#[test]
fn table_undecided_and_unknown_levels_are_shown() {
    let mut server = Server::default();
    let juliet = Client::with(config(JULIET, "undecided"), &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    romeo.publish(&mut server);
    let (mut session, greeting) = romeo.greet(&juliet, &server, "hello");
    let read = juliet.read(&romeo.jid, &greeting);
    assert_eq!(
        (text(&read), read.verdict, read.level.as_str()),
        ("hello".into(), Verdict::Undecided, "undecided")
    );
    juliet.manager().set_trust(&romeo.jid, &romeo.key(), "custom").unwrap();
    let to = (juliet.jid.clone(), juliet.id());
    let message = romeo.write(&mut session, (&to.0, to.1), "known");
    assert_eq!(juliet.read(&romeo.jid, &message).verdict, Verdict::Trusted);
    juliet.desk.knows_custom.store(false, SeqCst);
    let message = romeo.write(&mut session, (&to.0, to.1), "unknown");
    let read = juliet.read(&romeo.jid, &message);
    assert_eq!((text(&read), read.verdict), ("unknown".into(), Verdict::Undecided));
    let outcome = juliet.encrypt(&[&romeo.jid], "x", Policy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &romeo.jid, 9), Some(Status::UnknownTrustLevel));
}

#[test]
fn table_who_wrote_in_a_room() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let room = jid("balcony@rooms.capulet.lit");
    // Two members have the same device id.
    let mut sessions = Vec::new();
    for name in [ROMEO, "tybalt@capulet.lit"] {
        let mut member = Stranger::new(name, 9);
        member.publish(&mut server);
        let mut bundle = server.bundle(&juliet);
        bundle.pre_keys.drain(..sessions.len());
        bundle.pre_keys.truncate(1);
        let mut session = member.initiate(&bundle);
        let greeting = member.write(&mut session, (&juliet.jid, juliet.id()), "hello");
        assert_eq!(text(&juliet.read(&member.jid, &greeting)), "hello");
        sessions.push((member, session));
    }
    let to = (juliet.jid.clone(), juliet.id());
    for (member, session) in &mut sessions {
        let message = member.write(session, (&to.0, to.1), "in the room");
        let (before, commits) = (juliet.disk.all(), juliet.disk.commits());
        let wrong = juliet.manager().decrypt(Some(&room), Some(&room), &message).unwrap();
        assert_eq!(wrong.error.status(), Status::SenderNotFound);
        assert!(juliet.disk.all() == before && juliet.disk.commits() == commits);
        let read = juliet.manager().decrypt(None, Some(&room), &message).unwrap();
        assert_eq!((text(&read), read.from.as_ref()), ("in the room".to_owned(), Some(&member.jid)));
        assert_eq!(read.identity_key, Some(member.key()));
    }
}

#[test]
fn a_key_transport_has_no_content() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    let mut session = romeo.initiate(&server.bundle(&juliet));
    let mut message = romeo.write(&mut session, (&juliet.jid, juliet.id()), "x");
    message.payload = None;
    let read = juliet.read(&romeo.jid, &message);
    assert_eq!((read.error.status(), read.action), (Status::Ok, Action::Hide));
    assert!(read.plaintext.is_none() && read.new_session);
}

// ---- encryption: policies, trust, order ----

#[test]
fn messages_to_devices_that_are_distrusted_or_undecided() {
    let mut server = Server::default();
    let romeo = Client::with(config(ROMEO, "undecided"), &mut server);
    let devices: Vec<_> = (1..=3).map(|id| Stranger::new(JULIET, id)).collect();
    devices.iter().for_each(|device| device.publish(&mut server));
    let juliet = &devices[0].jid;
    romeo.refresh(juliet, &mut server);
    romeo.manager().set_trust(juliet, &devices[0].key(), "trusted").unwrap();
    romeo.manager().set_trust(juliet, &devices[1].key(), "distrusted").unwrap();
    let outcome = romeo.encrypt(&[juliet], "x", Policy::Now, &mut server);
    let rows = |outcome: &Outcome| [1, 2, 3].map(|id| row(outcome, juliet, id).unwrap_or(Status::Ok));
    assert_eq!(rows(&outcome)[1..], [Status::Distrusted, Status::Undecided]);
    assert_eq!(romeo.count_asked(|question| matches!(question, Question::DecideTrust { .. })), 0);
    // Two drafts that miss the same keys share one question.
    let operations = [Policy::Wait, Policy::Wait].map(|policy| romeo.begin_encrypt(&[juliet], "x", policy));
    let open = romeo.run_with(|question| match question {
        Question::DecideTrust { .. } => None,
        _ => Some(server.answer(&romeo, question)),
    });
    assert_eq!(open.len(), 1);
    let (request, Question::DecideTrust { devices: asked, .. }) = &open[0] else {
        panic!("another question")
    };
    assert_eq!(asked.iter().map(|device| device.id).collect::<Vec<_>>(), [3]);
    assert_eq!(
        romeo.manager().decide(*request, 0, "mystery").unwrap_err().status(),
        Status::UnknownTrustLevel
    );
    romeo.manager().decide(*request, 0, "trusted").unwrap();
    romeo.manager().answer(*request, Answer::Done).unwrap();
    romeo.run(&mut server);
    for operation in operations {
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), Status::Ok);
        assert_eq!(outcome.messages[0].keys.iter().map(|key| key.device).collect::<Vec<_>>(), [1, 3]);
    }
}

#[test]
fn a_shared_question_about_trust_judges_keys_and_not_positions() {
    let mut server = Server::default();
    let romeo = Client::with(config(ROMEO, "undecided"), &mut server);
    let (first, second) = (Stranger::new(JULIET, 1), Stranger::new(JULIET, 2));
    first.publish(&mut server);
    second.publish(&mut server);
    let juliet = &first.jid;
    let mut open = Vec::new();
    for step in 0..2 {
        if step == 1 {
            // The same two keys, now in another order.
            let list = server.lists.get_mut(&(Omemo2, juliet.clone())).unwrap();
            list.devices[0].id = 3;
            server.bundles.insert((Omemo2, juliet.clone(), 3), first.bundle());
            romeo.push(juliet, &server);
        }
        romeo.begin_encrypt(&[juliet], "x", Policy::Wait);
        open.extend(romeo.run_with(|question| match question {
            Question::DecideTrust { .. } => None,
            _ => Some(server.answer(&romeo, question)),
        }));
    }
    assert_eq!(open.len(), 1, "both share one question");
    let (request, Question::DecideTrust { devices, .. }) = &open[0] else { panic!("another question") };
    for (index, device) in devices.iter().enumerate() {
        let level = if device.identity_key == Some(first.key()) { "trusted" } else { "distrusted" };
        romeo.manager().decide(*request, index, level).unwrap();
    }
    romeo.manager().answer(*request, Answer::Done).unwrap();
    romeo.run(&mut server);
    assert_eq!(romeo.device(juliet, 3).unwrap().verdict, Verdict::Trusted);
    assert_eq!(romeo.device(juliet, 2).unwrap().verdict, Verdict::Distrusted);
}

#[test]
fn a_question_about_trust_that_decides_nothing() {
    let cases = [
        (Policy::Wait, Answer::Done, Status::NoEligibleDevices),
        (Policy::All, Answer::Done, Status::StillUndecided),
        (Policy::Wait, Answer::Rejected(Reason::Declined), Status::TrustDecisionFailed),
        (Policy::All, Answer::Rejected(Reason::Declined), Status::TrustDecisionFailed),
    ];
    for (policy, answer, expected) in cases {
        let mut server = Server::default();
        let romeo = Client::with(config(ROMEO, "undecided"), &mut server);
        let juliet = Stranger::new(JULIET, 1);
        juliet.publish(&mut server);
        let operation = romeo.begin_encrypt(&[&juliet.jid], "x", policy);
        romeo.run_with(|question| match question {
            Question::DecideTrust { .. } => Some(answer.clone()),
            _ => Some(server.answer(&romeo, question)),
        });
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), expected, "{policy:?}");
        assert!(outcome.messages.is_empty());
        if answer == Answer::Done {
            assert_eq!(row(&outcome, &juliet.jid, 1), Some(Status::Undecided), "{policy:?}");
        }
    }
}

#[test]
fn a_plaintext_that_is_missing_is_told_before_anything_happens() {
    let mut server = Server::default();
    let config = Config { namespaces: vec![Omemo2, Legacy], ..config(ROMEO, "trusted") };
    let romeo = Client::with(config, &mut server);
    Stranger::of(Legacy, JULIET, 1).publish(&mut server);
    let juliet = jid(JULIET);
    let before = romeo.disk.all();
    let operation = next_number();
    let started = romeo.manager().encrypt(operation, draft(&[&juliet], "x", Policy::Wait));
    let status = match started {
        Err(error) => error.status(),
        Ok(()) => {
            romeo.run(&mut server);
            romeo.take(operation).status()
        }
    };
    assert_eq!(status, Status::Plaintext);
    let sessions =
        |all: &BTreeMap<String, Vec<u8>>| all.keys().filter(|key| key.contains("/session/")).count();
    assert_eq!(sessions(&romeo.disk.all()), sessions(&before));
}

#[test]
fn a_hundred_new_devices_take_five_round_trips() {
    for split in [1, 100] {
        let mut server = Server::default();
        let romeo = Client::new(ROMEO, &mut server);
        let name = |n: u32| format!("friend{}@capulet.lit", n % split);
        (0..100).for_each(|n| Stranger::new(&name(n), n + 1).publish(&mut server));
        let recipients: Vec<_> = (0..split).map(|n| jid(&name(n))).collect();
        let recipients: Vec<_> = recipients.iter().collect();
        let start = romeo.desk.steady.load(SeqCst);
        let operation = romeo.begin_encrypt(&recipients, "x", Policy::Wait);
        let mut open = romeo.step();
        while !romeo.is_done(operation) {
            assert!(open.len() <= 32, "{} fetches at a time", open.len());
            romeo.advance(50);
            for (request, question) in open {
                romeo.manager().answer(request, server.answer(&romeo, &question)).unwrap();
            }
            open = romeo.step();
        }
        let rounds = (romeo.desk.steady.load(SeqCst) - start) / 50;
        let outcome = romeo.take(operation);
        assert_eq!((outcome.status(), outcome.messages[0].keys.len()), (Status::Ok, 100));
        // One list, then 32 bundles at a time; a hundred lists are fetched 32 at a time, too.
        let most = if split == 1 { 5 } else { 8 };
        assert!(rounds <= most, "{rounds} round trips for {split} JIDs");
    }
}

#[test]
fn encrypts_for_the_same_recipients_complete_in_order_and_now_overtakes() {
    let (mut server, romeo, juliet) = friends();
    let new = Stranger::new(JULIET, 77);
    new.publish(&mut server);
    romeo.push(&juliet.jid, &server);
    let first = romeo.begin_encrypt(&[&juliet.jid], "1", Policy::Wait);
    let second = romeo.begin_encrypt(&[&juliet.jid], "2", Policy::All);
    let now = romeo.begin_encrypt(&[&juliet.jid], "3", Policy::Now);
    let held = romeo
        .run_with(|question| if is_bundle(question) { None } else { Some(server.answer(&romeo, question)) });
    assert_eq!(held.len(), 1);
    assert!(romeo.is_done(now) && !romeo.is_done(first) && !romeo.is_done(second));
    // Another chat waits for nobody here.
    let tybalt = Stranger::new("tybalt@capulet.lit", 5);
    tybalt.publish(&mut server);
    let other = romeo.begin_encrypt(&[&tybalt.jid], "4", Policy::Wait);
    romeo.run(&mut server);
    assert!(romeo.is_done(other) && !romeo.is_done(first));
    romeo.manager().answer(held[0].0, Answer::Bundle(new.bundle())).unwrap();
    romeo.run(&mut server);
    assert!(romeo.is_done(first) && romeo.is_done(second));
    let order = romeo.order.borrow();
    let place = |operation: u64| order.iter().position(|done| *done == operation).unwrap();
    assert!(place(now) < place(first) && place(first) < place(second));
    drop(order);
    for (operation, content) in [(now, "3"), (first, "1"), (second, "2")] {
        let message = romeo.take(operation).messages.remove(0);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), content);
    }
}

#[test]
fn cancelling_the_first_lets_the_second_go_on() {
    let (mut server, romeo, juliet) = two();
    let first = romeo.begin_encrypt(&[&juliet.jid], "1", Policy::Wait);
    let second = romeo.begin_encrypt(&[&juliet.jid], "2", Policy::Wait);
    let held = romeo.run_with(|_| None);
    assert_eq!(held.len(), 1, "the list is asked for once");
    romeo.manager().cancel(first).unwrap();
    assert_eq!(romeo.manager().cancel(first).unwrap_err().status(), Status::Stale);
    romeo.step();
    assert_eq!(romeo.take(first).status(), Status::Cancelled);
    assert!(romeo.withdrawn.borrow().is_empty(), "the second still needs the answer");
    romeo.manager().answer(held[0].0, server.answer(&romeo, &held[0].1)).unwrap();
    romeo.run(&mut server);
    assert_eq!(romeo.take(second).status(), Status::Ok);
}

#[test]
fn a_question_that_nobody_needs_is_withdrawn() {
    let (_, romeo, juliet) = two();
    let operation = romeo.begin_encrypt(&[&juliet.jid], "1", Policy::Wait);
    let held = romeo.run_with(|_| None);
    romeo.manager().cancel(operation).unwrap();
    romeo.step();
    assert_eq!(*romeo.withdrawn.borrow(), [held[0].0]);
    let late = romeo.manager().answer(held[0].0, Answer::Rejected(Reason::NotFound));
    assert_eq!(late.unwrap_err().status(), Status::Stale);
}

#[test]
fn policies_without_a_stream() {
    let (mut server, romeo, juliet) = friends();
    romeo.manager().disconnected().unwrap();
    romeo.step();
    let stranger = Stranger::new("tybalt@capulet.lit", 5);
    stranger.publish(&mut server);
    // What has to be fetched waits for the stream, or is reported.
    let wait = romeo.begin_encrypt(&[&stranger.jid], "1", Policy::Wait);
    let all = romeo.begin_encrypt(&[&stranger.jid], "2", Policy::All);
    let now = romeo.begin_encrypt(&[&stranger.jid], "3", Policy::Now);
    assert!(romeo.step().is_empty(), "something is asked without a stream");
    assert!(!romeo.is_done(wait) && !romeo.is_done(all));
    let outcome = romeo.take(now);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert!(outcome.rows.iter().any(|row| row.error.status() == Status::Offline), "{:?}", outcome.rows);
    let known = romeo.begin_encrypt(&[&juliet.jid], "4", Policy::Now);
    romeo.step();
    let message = romeo.take(known).messages.remove(0);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "4");
    let refresh = romeo.manager().refresh_devices(next_number(), Some(stranger.jid.clone()), None);
    assert_eq!(refresh.unwrap_err().status(), Status::Offline);
    romeo.connect(&mut server);
    assert_eq!(romeo.take(wait).status(), Status::Ok);
    assert_eq!(romeo.take(all).status(), Status::Ok);
}

#[test]
fn the_end_of_the_stream_ends_connected_and_not_encrypts() {
    let (mut server, romeo, juliet) = two();
    let refresh = next_number();
    romeo.manager().refresh_devices(refresh, Some(juliet.jid.clone()), None).unwrap();
    let encrypt = romeo.begin_encrypt(&[&juliet.jid], "1", Policy::Wait);
    let held = romeo.run_with(|_| None);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    assert_eq!(romeo.take(refresh).status(), Status::Offline);
    assert!(!romeo.is_done(encrypt));
    assert_eq!(romeo.withdrawn.borrow().len(), held.len());
    let connect = romeo.begin_connect();
    romeo.run_with(|_| None);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    assert_eq!(romeo.take(connect).status(), Status::Offline);
    romeo.connect(&mut server);
    assert_eq!(romeo.take(encrypt).status(), Status::Ok);
}

#[test]
fn a_list_that_cannot_be_fetched_leaves_the_stored_one() {
    let (mut server, romeo, juliet) = friends();
    romeo.manager().disconnected().unwrap();
    romeo.connect(&mut server);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "x", Policy::Wait);
    romeo.run_with(|question| match question {
        Question::FetchDeviceList { .. } => Some(Answer::Rejected(Reason::Failed)),
        _ => Some(server.answer(&romeo, question)),
    });
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::Ok);
    assert_eq!(row(&outcome, &juliet.jid, 0), Some(Status::DeviceListDownloadFailed));
    assert_eq!(text(&juliet.read(&romeo.jid, &outcome.messages[0])), "x");
}

#[test]
fn a_bundle_that_does_not_come_in_time_is_a_row() {
    let (mut server, romeo, juliet) = friends();
    let new = Stranger::new(JULIET, 77);
    new.publish(&mut server);
    romeo.push(&juliet.jid, &server);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "x", Policy::Wait);
    let held = romeo
        .run_with(|question| if is_bundle(question) { None } else { Some(server.answer(&romeo, question)) });
    assert_eq!(held.len(), 1);
    assert!(romeo.manager().timeout().is_some_and(|ms| ms <= 60_000));
    romeo.advance(60_000);
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!((outcome.status(), row(&outcome, &juliet.jid, 77)), (Status::Ok, Some(Status::Timeout)));
    assert_eq!(*romeo.withdrawn.borrow(), [held[0].0]);
}

#[test]
fn a_question_rejected_as_offline_is_asked_again_under_a_new_number() {
    let (mut server, romeo, juliet) = two();
    let operation = romeo.begin_encrypt(&[&juliet.jid], "x", Policy::Wait);
    let held = romeo.run_with(|_| None);
    romeo.manager().answer(held[0].0, Answer::Rejected(Reason::Offline)).unwrap();
    assert!(romeo.step().is_empty(), "it is asked again at once");
    assert!(!romeo.is_done(operation));
    let stale = romeo.manager().answer(held[0].0, Answer::Rejected(Reason::NotFound));
    assert_eq!(stale.unwrap_err().status(), Status::Stale);
    romeo.connect(&mut server);
    assert_eq!(romeo.take(operation).status(), Status::Ok);
}

#[test]
fn devices_that_left_get_nothing_and_are_not_forgotten() {
    let (mut server, romeo, juliet) = friends();
    let empty = DeviceList { namespace: Omemo2, devices: Vec::new() };
    romeo.manager().update_device_list(&juliet.jid, &empty).unwrap();
    let outcome = romeo.encrypt(&[&juliet.jid], "x", Policy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &juliet.jid, 0), Some(Status::NoDevices));
    let device = romeo.device(&juliet.jid, juliet.id()).unwrap();
    assert_eq!((device.active, device.identity_key), (Vec::new(), Some(juliet.key())));
    romeo.push(&juliet.jid, &server);
    let message = romeo.say(&juliet.jid, "back", &mut server);
    assert!(!message.keys[0].key_exchange, "the session was forgotten");
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "back");
}

#[test]
fn a_list_of_too_many_devices_grows_nothing_without_bound() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let juliet = jid(JULIET);
    let list = |ids: std::ops::Range<u32>| DeviceList {
        namespace: Omemo2,
        devices: ids.map(|id| ListedDevice { id, label: None, label_signature: None }).collect(),
    };
    for start in (1..20_000).step_by(200) {
        romeo.manager().update_device_list(&juliet, &list(start..start + 200)).unwrap();
    }
    assert!(romeo.manager().devices(Some(&juliet)).unwrap().len() <= limits::KNOWN_DEVICES_PER_JID);
    let before = romeo.disk.all();
    let most = u32::try_from(limits::DEVICES_PER_JID).unwrap();
    let refused = romeo.manager().update_device_list(&juliet, &list(1..most + 2));
    assert_eq!(refused.unwrap_err().status(), Status::Limit);
    assert!(romeo.disk.all() == before);
}

// ---- found by looking for trouble ----

#[test]
fn r1_a_device_that_shows_its_key_again_is_served_again() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let mut juliet = Stranger::new(JULIET, 77);
    juliet.publish(&mut server);
    romeo.refresh(&juliet.jid, &mut server);
    Stranger::new(JULIET, 77).publish(&mut server);
    let outcome = romeo.encrypt(&[&juliet.jid], "x", Policy::Wait, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::IdentityChanged));
    // The swap is undone: nobody should have to accept a key that is not there any more.
    juliet.publish(&mut server);
    romeo.reconnect(&mut server);
    romeo.refresh(&juliet.jid, &mut server);
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().shown_key, None);
    let message = romeo.say(&juliet.jid, "y", &mut server);
    assert_eq!(juliet.accept(&message).unwrap(), "y");
}

#[test]
fn r13_a_heartbeat_comes_although_something_was_said_in_the_chain() {
    let (mut server, romeo, juliet) = friends();
    let first = romeo.say(&juliet.jid, "0", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &first)), "0");
    // This reply is lost on its way.
    juliet.say(&romeo.jid, "lost", &mut server);
    let before = juliet.sent.borrow().len();
    for n in 1..80 {
        let message = romeo.say(&juliet.jid, &format!("{n}"), &mut server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), n.to_string());
        juliet.run(&mut server);
    }
    assert_eq!(juliet.sent.borrow().len() - before, 1, "the sender's ratchet would never turn");
}

#[test]
fn a_server_that_lost_everything_is_repaired() {
    let mut server = Server::default();
    let romeo = Client::new(ROMEO, &mut server);
    let mut empty = Server::default();
    assert_eq!(romeo.reconnect(&mut empty).status(), Status::Ok);
    romeo.run_later(&mut empty);
    assert_set_up(&romeo, &mut empty, 0);
    // The list alone is lost, and the bundle alone.
    server.lists.clear();
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    server.bundles.clear();
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    romeo.run_later(&mut server);
    assert_set_up(&romeo, &mut server, 0);
}

#[test]
fn a_foreign_device_under_our_id_in_both_namespaces_costs_one_new_id() {
    let mut server = Server::default();
    let config = Config { namespaces: vec![Omemo2, Legacy], ..config(ROMEO, "trusted") };
    let romeo = Client::with(config, &mut server);
    let old = romeo.id();
    for namespace in [Omemo2, Legacy] {
        Stranger::of(namespace, ROMEO, old).publish(&mut server);
    }
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    romeo.run_later(&mut server);
    for namespace in [Omemo2, Legacy] {
        let list = &server.lists[&(namespace, romeo.jid.clone())];
        let mut ids: Vec<_> = list.devices.iter().map(|device| device.id).collect();
        let mut expected = vec![old, romeo.id()];
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected, "{namespace:?}");
    }
}

#[test]
fn a_distrusted_key_that_nobody_vouches_for_keeps_nobody_from_the_real_one() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, MALLORY);
    romeo.publish(&mut server);
    let mut mallory = Stranger::new(ROMEO, MALLORY);
    let (_, relayed) = mallory.greet(&juliet, &server, "I am Romeo");
    assert_eq!(text(&juliet.read(&romeo.jid, &relayed)), "I am Romeo");
    juliet.manager().set_trust(&romeo.jid, &mallory.key(), "distrusted").unwrap();
    let message = juliet.say(&romeo.jid, "I know you are not", &mut server);
    assert_eq!(romeo.accept(&message).unwrap(), "I know you are not");
}

#[test]
fn a_session_of_a_key_that_was_given_up_takes_no_place() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, MALLORY);
    romeo.publish(&mut server);
    let mut mallory = Stranger::new(ROMEO, MALLORY);
    let mut bundle = server.bundle(&juliet);
    let to = (juliet.jid.clone(), juliet.id());
    let mut sessions = Vec::new();
    for n in 0..2 {
        let mut session = mallory.initiate(&bundle);
        let message = mallory.write(&mut session, (&to.0, to.1), "I am Romeo");
        let used =
            KeyExchange::parse(Omemo2, message.keys[0].bytes.as_ref().unwrap()).unwrap().id().pre_key_id;
        bundle.pre_keys.retain(|pre_key| pre_key.id != used);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "I am Romeo", "{n}");
        // She answers, and whoever relays his messages reads that, too: what follows is no key exchange.
        juliet.run(&mut server);
        let answer = juliet.sent.borrow().last().unwrap().1.clone();
        mallory.open(&mut session, &answer);
        sessions.push(session);
    }
    // The bundle of his own node shows another key: both sessions are given up.
    let first = juliet.say(&romeo.jid, "one", &mut server);
    assert_eq!(romeo.accept(&first).unwrap(), "one");
    let bundles = juliet.count_asked(is_bundle);
    for session in &mut sessions {
        let late = mallory.write(session, (&to.0, to.1), "still Romeo");
        let _ = juliet.read(&romeo.jid, &late);
        juliet.run(&mut server);
        let message = juliet.say(&romeo.jid, "two", &mut server);
        let id = |message: &Message| {
            *KeyExchange::parse(Omemo2, &romeo.bytes(message).bytes.unwrap()).unwrap().id()
        };
        assert!(id(&message) == id(&first), "the session with the real device lost its place");
    }
    assert_eq!(juliet.count_asked(is_bundle), bundles);
}

#[test]
fn a_follow_up_goes_on_when_the_store_can_be_read_again() {
    let (mut server, romeo, juliet) = two();
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.disk.fail(1, Fault::Nothing);
    juliet.disk.unreadable.store(true, SeqCst);
    juliet.run(&mut server);
    juliet.advance(5_000);
    juliet.run(&mut server);
    juliet.disk.unreadable.store(false, SeqCst);
    juliet.run_later(&mut server);
    assert!(juliet.disk.has_failed());
    assert_eq!(juliet.sent.borrow().len(), 1, "nobody comes back for it");
}

#[test]
fn a_forged_message_costs_no_more_for_holding_many_keys() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    let (mut session, greeting) = romeo.greet(&juliet, &server, "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "0");
    // As one who was answered writes: no key exchange, and far ahead in its chain.
    let reply = Message { keys: juliet_answer(&juliet, &mut server, &romeo), ..greeting.clone() };
    romeo.open(&mut session, &reply);
    let to = (juliet.jid.clone(), juliet.id());
    let messages: Vec<_> =
        (0..990).map(|n| romeo.write(&mut session, (&to.0, to.1), &n.to_string())).collect();
    let with_forged = |genuine: &Message, forged: &Message, keys: usize| {
        let mut bad = forged.keys[0].clone();
        *bad.bytes.as_mut().unwrap().last_mut().unwrap() ^= 1;
        let mut keys = vec![bad; keys];
        keys.push(genuine.keys[0].clone());
        Message { keys, ..genuine.clone() }
    };
    // Keys that skip much share what a message may cost: after three of them nothing is left for the real one.
    juliet.refuse(&romeo.jid, &with_forged(&messages[989], &messages[989], 3), Status::DecryptionFailed);
    // Keys that cost little are few: the 17th is not looked at.
    juliet.refuse(&romeo.jid, &with_forged(&messages[0], &messages[0], 16), Status::DecryptionFailed);
    assert_eq!(text(&juliet.read(&romeo.jid, &with_forged(&messages[0], &messages[0], 15))), "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &with_forged(&messages[989], &messages[989], 1))), "989");
}

#[test]
fn a_commit_that_fails_elsewhere_ends_no_encryption() {
    let (mut server, romeo, juliet) = friends();
    let benvolio = jid("benvolio@montague.lit");
    let mut other = Stranger::new(benvolio.as_str(), 7);
    other.publish(&mut server);
    let operation = romeo.begin_encrypt(&[&benvolio], "x", Policy::Wait);
    let open = romeo.step();
    let message = juliet.say(&romeo.jid, "in between", &mut server);
    romeo.disk.fail(1, Fault::Nothing);
    assert!(romeo.manager().decrypt(Some(&juliet.jid), None, &message).is_err());
    for (request, question) in open {
        romeo.manager().answer(request, server.answer(&romeo, &question)).unwrap();
    }
    // What is read anew between the answers may fail, too: here only the commit in between did.
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::Ok, "{:?}", outcome.rows);
    assert_eq!(other.accept(&outcome.messages[0]).unwrap(), "x");
    // The same while everything is there and only the turn is waited for.
    let first = romeo.begin_encrypt(&[&benvolio, &juliet.jid], "1", Policy::Wait);
    romeo.disk.fail(1, Fault::Nothing);
    assert!(romeo.manager().set_trust(&juliet.jid, &juliet.key(), "undecided").is_err());
    romeo.run(&mut server);
    assert_eq!(romeo.take(first).status(), Status::Ok);
}

#[test]
fn a_list_that_was_refused_is_not_taken_for_the_newest() {
    let (mut server, romeo, juliet) = friends();
    let most = u32::try_from(limits::DEVICES_PER_JID).unwrap();
    let list = DeviceList {
        namespace: Omemo2,
        devices: (1..most + 2).map(|id| ListedDevice { id, label: None, label_signature: None }).collect(),
    };
    romeo.reconnect(&mut server);
    let kept = server.lists.insert((Omemo2, juliet.jid.clone()), list).unwrap();
    for _ in 0..2 {
        let outcome = romeo.encrypt(&[&juliet.jid], "x", Policy::Wait, &mut server);
        assert_eq!(outcome.status(), Status::Ok);
        assert_eq!(
            row(&outcome, &juliet.jid, 0),
            Some(Status::Limit),
            "nobody says that an old list was used"
        );
    }
    server.lists.insert((Omemo2, juliet.jid.clone()), kept);
    let outcome = romeo.encrypt(&[&juliet.jid], "x", Policy::Wait, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, 0), None);
}

#[test]
fn a_new_device_id_gives_all_sessions_up_the_archived_ones_too() {
    let mut server = Server::default();
    let juliet = Client::new(JULIET, &mut server);
    let mut romeo = Stranger::new(ROMEO, 9);
    romeo.publish(&mut server);
    let to = (juliet.jid.clone(), juliet.id());
    let (mut old, greeting) = romeo.greet(&juliet, &server, "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "0");
    let reply = Message { keys: juliet_answer(&juliet, &mut server, &romeo), ..greeting };
    romeo.open(&mut old, &reply);
    let next = romeo.write(&mut old, (&to.0, to.1), "in the same chain");
    assert_eq!(text(&juliet.read(&romeo.jid, &next)), "in the same chain");
    let (_, again) = romeo.greet(&juliet, &server, "1");
    assert_eq!(text(&juliet.read(&romeo.jid, &again)), "1");
    juliet.run_later(&mut server);
    // Somebody else has her id: whoever that is may hold a copy of what she had.
    Stranger::new(JULIET, to.1).publish(&mut server);
    juliet.reconnect(&mut server);
    juliet.run_later(&mut server);
    assert!(juliet.id() != to.1);
    let late = romeo.write(&mut old, (&juliet.jid, juliet.id()), "late");
    assert!(!late.keys[0].key_exchange);
    assert_eq!(text(&juliet.read(&romeo.jid, &late)), "late");
    let message = juliet.say(&romeo.jid, "anew", &mut server);
    assert_eq!(romeo.accept(&message).unwrap(), "anew");
}

#[test]
fn a_thousand_new_devices_cost_ten_times_a_hundred() {
    let cost = |count: u32| {
        let mut server = Server::default();
        let romeo = Client::new(ROMEO, &mut server);
        let name = |n: u32| format!("friend{}@capulet.lit", n % 10);
        (0..count).for_each(|n| Stranger::new(&name(n), n + 1).publish(&mut server));
        let recipients: Vec<_> = (0..10).map(|n| jid(&name(n))).collect();
        let recipients: Vec<_> = recipients.iter().collect();
        let before = romeo.disk.commits();
        let first = romeo.encrypt(&recipients, "x", Policy::Wait, &mut server);
        let fetched = romeo.disk.commits() - before;
        assert_eq!(first.messages[0].keys.len(), count as usize);
        let before = (romeo.disk.commits(), romeo.disk.written.load(SeqCst));
        romeo.encrypt(&recipients, "x", Policy::Wait, &mut server);
        assert_eq!(romeo.disk.commits() - before.0, 1);
        (fetched, romeo.disk.written.load(SeqCst) - before.1)
    };
    let (few, many) = (cost(100), cost(1_000));
    // One commit for each answer, and for the message what its sessions take.
    assert!(many.0 <= few.0 * 10, "commits of the first message: {few:?}, {many:?}");
    assert!(many.1 <= few.1 * 11, "written for the second message: {few:?}, {many:?}");
}

/// The empty answer to a key exchange.
fn juliet_answer(juliet: &Client, server: &mut Server, romeo: &Stranger) -> Vec<MessageKey> {
    juliet.run(server);
    let sent = juliet.sent.borrow();
    vec![romeo.bytes(&sent.last().unwrap().1)]
}

// ---- a store that fails ----

/// A conversation in which each call may be made again when the store failed.
fn conversation(romeo: &Client, juliet: &Client, server: &mut Server) {
    let again = |error: &Error| error.status() == Status::Storage;
    for n in 0..3 {
        let mut sent = None;
        for _ in 0..3 {
            let outcome = romeo.encrypt(&[&juliet.jid], &format!("{n}"), Policy::Wait, server);
            if !again(&outcome.error) {
                assert_eq!(outcome.status(), Status::Ok, "{:?}", outcome.rows);
                sent = Some(outcome.messages[0].clone());
                break;
            }
        }
        assert_eq!(text(&juliet.read(&romeo.jid, &sent.unwrap())), n.to_string());
        juliet.run(server);
        let reply = juliet.say(&romeo.jid, "reply", server);
        let mut read = romeo.manager().decrypt(Some(&juliet.jid), None, &reply);
        if read.as_ref().is_err_and(again) {
            read = romeo.manager().decrypt(Some(&juliet.jid), None, &reply);
        }
        // Where the store kept the step of a commit that failed, the content was lost with the process.
        let Ok(read) = read else { panic!("a store that fails once was asked twice") };
        assert!(matches!(read.error.status(), Status::Ok | Status::Duplicate));
        let mut trust = romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted");
        if trust.as_ref().is_err_and(again) {
            trust = romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted");
        }
        trust.unwrap();
        for (_, to, message) in std::mem::take(&mut server.mail) {
            let (reader, writer) = if to == juliet.jid { (juliet, romeo) } else { (romeo, juliet) };
            let read = reader.manager().decrypt(Some(&writer.jid), None, &message);
            assert!(read.is_ok_and(|read| read.plaintext.is_none()) || romeo.disk.has_failed());
        }
    }
}

#[test]
fn a_store_that_fails_at_any_commit_leaves_an_account_that_works() {
    for fault in [Fault::Nothing, Fault::Everything] {
        for restart in [false, true] {
            let mut n = 0;
            loop {
                n += 1;
                assert!(n < 100);
                let (mut server, romeo, juliet) = two();
                romeo.disk.fail(n, fault);
                conversation(&romeo, &juliet, &mut server);
                let failed = romeo.disk.has_failed();
                romeo.disk.fault.lock().unwrap().take();
                if restart {
                    romeo.restart();
                    assert_eq!(romeo.connect(&mut server).status(), Status::Ok, "commit {n}, {fault:?}");
                }
                romeo.run_later(&mut server);
                juliet.run_later(&mut server);
                server.settle(&[&romeo, &juliet]);
                both_ways(&romeo, &juliet, &mut server);
                if !failed {
                    assert!(n > 8, "the conversation makes {n} commits");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_decrypt_whose_commit_failed_may_be_made_again() {
    let (mut server, romeo, juliet) = friends();
    let message = romeo.say(&juliet.jid, "once more", &mut server);
    juliet.disk.fail(1, Fault::Nothing);
    let failed = juliet.manager().decrypt(Some(&romeo.jid), None, &message);
    assert_eq!(failed.err().unwrap().status(), Status::Storage);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "once more");
}

#[test]
fn an_encrypt_whose_commit_failed_hands_nothing_out() {
    let (mut server, romeo, juliet) = friends();
    for fault in [Fault::Nothing, Fault::Everything] {
        romeo.disk.fail(1, fault);
        let outcome = romeo.encrypt(&[&juliet.jid], "x", Policy::Wait, &mut server);
        assert_eq!((outcome.status(), outcome.messages.len()), (Status::Storage, 0));
        let message = romeo.say(&juliet.jid, "y", &mut server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "y");
    }
}
