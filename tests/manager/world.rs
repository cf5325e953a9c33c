//! The world of these tests: a server of PEP nodes, a disk that counts and fails, clocks that stand still, clients, and
//! strangers who know the protocol and nothing of the manager.

use omemo::crypto::identity::IdentityKeyPair;
use omemo::crypto::keys::KeyPair;
use omemo::crypto::rng::Rng;
use omemo::error::{Result, Status};
use omemo::manager::api::decrypted::Decrypted;
use omemo::manager::api::device::{CoreTrust, Device};
use omemo::manager::api::draft::{Draft, EncryptPolicy};
use omemo::manager::api::event::{Event, Notice, NoticeKind};
use omemo::manager::api::question::{Answer, Question, Reason};
use omemo::manager::api::report::Outcome;
use omemo::manager::api::services::{LogLevel, Services};
use omemo::manager::{Config, Manager};
use omemo::protocol::address::{BareJid, DeviceId};
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::key_exchange::KeyExchange;
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::namespace::Namespace::{self, Omemo2};
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

pub struct Seeded(rand::rngs::StdRng);

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded(rand::rngs::StdRng::seed_from_u64(seed))
    }

    pub fn fresh() -> Seeded {
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
pub enum Fault {
    Nothing,
    Everything,
}

/// A store that counts, and fails when it is told to.
#[derive(Default)]
pub struct Disk {
    pub records: Mutex<BTreeMap<String, Vec<u8>>>,
    pub commits: AtomicUsize,
    pub written: AtomicUsize,
    pub fault: Mutex<Option<(usize, Fault)>>,
    pub unreadable: AtomicBool,
}

impl Disk {
    pub fn copy(&self) -> Arc<Disk> {
        Arc::new(Disk { records: Mutex::new(self.all()), ..Disk::default() })
    }

    pub fn all(&self) -> BTreeMap<String, Vec<u8>> {
        self.records.lock().unwrap().clone()
    }

    pub fn commits(&self) -> usize {
        self.commits.load(SeqCst)
    }

    /// The `n`th commit from now on fails.
    pub fn fail(&self, n: usize, fault: Fault) {
        *self.fault.lock().unwrap() = Some((self.commits() + n, fault));
    }

    pub fn has_failed(&self) -> bool {
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
pub struct Desk {
    pub wall: AtomicI64,
    pub steady: AtomicU64,
    pub rung: AtomicUsize,
    pub knows_custom: AtomicBool,
}

impl Services for Desk {
    fn evaluate_trust(&self, device: &Device) -> Result<CoreTrust> {
        match device.trust_level_name.as_str() {
            "trusted" => Ok(CoreTrust::Trusted),
            "undecided" => Ok(CoreTrust::Undecided),
            "distrusted" => Ok(CoreTrust::Distrusted),
            "custom" if self.knows_custom.load(SeqCst) => Ok(CoreTrust::Trusted),
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
pub struct Server {
    /// What everybody speaks who is not told otherwise.
    pub namespace: Namespace,
    pub lists: HashMap<(Namespace, BareJid), DeviceList>,
    pub bundles: HashMap<(Namespace, BareJid, u32), Bundle>,
    pub mail: Vec<(BareJid, BareJid, Message)>,
}

impl Server {
    pub fn of(namespace: Namespace) -> Server {
        Server { namespace, lists: HashMap::new(), bundles: HashMap::new(), mail: Vec::new() }
    }

    pub fn answer(&mut self, client: &Client, question: &Question) -> Answer {
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

    pub fn list(&self, jid: &BareJid) -> Vec<u32> {
        let list = self.lists.get(&(self.namespace, jid.clone()));
        list.map_or(Vec::new(), |list| list.devices.iter().map(|device| device.id).collect())
    }

    pub fn bundle(&self, client: &Client) -> Bundle {
        self.bundles[&(self.namespace, client.jid.clone(), client.id())].clone()
    }

    /// Delivers what lies on the server until nothing more comes.
    pub fn settle(&mut self, clients: &[&Client]) {
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

pub type Header = (u32, u32, [u8; 32], u32);

/// A client: it keeps what the manager tells, and answers what the manager asks.
pub struct Client {
    pub jid: BareJid,
    pub config: Config,
    pub disk: Arc<Disk>,
    pub desk: Arc<Desk>,
    pub manager: RefCell<Option<Manager>>,
    pub done: RefCell<BTreeMap<u64, Outcome>>,
    pub order: RefCell<Vec<u64>>,
    pub asked: RefCell<Vec<Question>>,
    pub withdrawn: RefCell<Vec<u64>>,
    pub notices: RefCell<Vec<Notice>>,
    pub headers: RefCell<HashMap<Header, Vec<u8>>>,
    pub sent: RefCell<Vec<(BareJid, Message)>>,
}

pub fn jid(name: &str) -> BareJid {
    BareJid::from_normalized(name)
}

pub fn id(number: u32) -> DeviceId {
    DeviceId::new(number).unwrap()
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
    }
}

impl Client {
    pub fn closed(config: Config, disk: Arc<Disk>) -> Client {
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

    pub fn open(&self) -> Result<()> {
        let rng = Box::new(Seeded::fresh());
        let manager = Manager::open(self.config.clone(), self.disk.clone(), self.desk.clone(), rng)?;
        self.manager.replace(Some(manager));
        Ok(())
    }

    pub fn with(config: Config, server: &mut Server) -> Client {
        let client = Client::closed(config, Arc::default());
        client.open().unwrap();
        assert_eq!(client.connect(server).status(), Status::Ok);
        client
    }

    pub fn new(name: &str, server: &mut Server) -> Client {
        Client::with(config(server.namespace, name, "trusted"), server)
    }

    /// The process ends without a word and starts again.
    pub fn restart(&self) {
        self.manager.replace(None);
        self.open().unwrap();
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

    pub fn device(&self, jid: &BareJid, id: u32) -> Option<Device> {
        self.manager().devices(Some(jid)).unwrap().into_iter().find(|device| device.id == id)
    }

    pub fn advance(&self, ms: u64) {
        self.desk.steady.fetch_add(ms, SeqCst);
        self.desk.wall.fetch_add(i64::try_from(ms).unwrap(), SeqCst);
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

    /// Everything that comes without an answer; gives the questions.
    pub fn step(&self) -> Vec<(u64, Question)> {
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
    pub fn run_with(&self, mut answer: impl FnMut(&Question) -> Option<Answer>) -> Vec<(u64, Question)> {
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

    pub fn run(&self, server: &mut Server) {
        self.run_with(|question| Some(server.answer(self, question)));
    }

    /// As long as back-off may take.
    pub fn run_later(&self, server: &mut Server) {
        for _ in 0..6 {
            self.advance(61_000);
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
        self.manager().connected(operation).unwrap();
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

    pub fn refresh(&self, jid: &BareJid, server: &mut Server) -> Outcome {
        let operation = next_number();
        self.manager().refresh_devices(operation, Some(jid.clone()), None).unwrap();
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

    pub fn push(&self, jid: &BareJid, server: &Server) {
        self.manager().update_device_list(jid, &server.lists[&(server.namespace, jid.clone())]).unwrap();
    }

    pub fn count_notices(&self, kind: NoticeKind) -> usize {
        self.notices.borrow().iter().filter(|notice| notice.kind == kind).count()
    }

    pub fn count_asked(&self, which: impl Fn(&Question) -> bool) -> usize {
        self.asked.borrow().iter().filter(|question| which(question)).count()
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

pub fn text(decrypted: &Decrypted) -> String {
    assert_eq!(decrypted.error.status(), Status::Ok);
    String::from_utf8(decrypted.plaintext.as_ref().expect("no content").to_vec()).unwrap()
}

pub fn row(outcome: &Outcome, jid: &BareJid, device: u32) -> Option<Status> {
    let rows = outcome.rows.iter().filter(|row| row.jid.as_ref() == Some(jid) && row.device == device);
    rows.map(|row| row.error.status()).next()
}

/// What a key exchange tells of an identity key in Ed25519 form: legacy does not tell its sign.
pub fn as_told(namespace: Namespace, mut key: [u8; 32]) -> [u8; 32] {
    if namespace == Namespace::Legacy {
        key[31] &= 0x7f;
    }
    key
}

pub fn is_send(question: &Question) -> bool {
    matches!(question, Question::SendMessage { .. })
}

pub fn is_bundle(question: &Question) -> bool {
    matches!(question, Question::FetchBundle { .. })
}

pub fn is_publish(question: &Question) -> bool {
    matches!(question, Question::PublishBundle { .. } | Question::PublishDeviceList { .. })
}

/// A device that speaks the protocol by hand.
pub struct Stranger {
    pub jid: BareJid,
    pub id: u32,
    pub namespace: Namespace,
    pub identity: IdentityKeyPair,
    pub signed: SignedPreKey,
    pub pre_keys: Vec<(u32, KeyPair)>,
    pub rng: Seeded,
}

impl Stranger {
    pub fn of(namespace: Namespace, name: &str, id: u32) -> Stranger {
        let mut rng = Seeded::fresh();
        let identity = IdentityKeyPair::generate(&mut rng).unwrap();
        let signed = SignedPreKey::generate(namespace, &identity, 1, &mut rng).unwrap();
        let pre_keys = (1..=5).map(|id| (id, KeyPair::generate(&mut rng).unwrap())).collect();
        Stranger { jid: jid(name), id, namespace, identity, signed, pre_keys, rng }
    }

    /// The same device, with the same identity, in another namespace.
    pub fn in_namespace(&self, namespace: Namespace) -> Stranger {
        let mut rng = Seeded::fresh();
        let identity = IdentityKeyPair::from_private(self.identity.private());
        let signed = SignedPreKey::generate(namespace, &identity, 1, &mut rng).unwrap();
        let pre_keys = (1..=5).map(|id| (id, KeyPair::generate(&mut rng).unwrap())).collect();
        Stranger { jid: self.jid.clone(), id: self.id, namespace, identity, signed, pre_keys, rng }
    }

    pub fn key(&self) -> [u8; 32] {
        *self.identity.public().ed()
    }

    pub fn bundle(&self) -> Bundle {
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

    pub fn publish(&self, server: &mut Server) {
        let at = (self.namespace, self.jid.clone());
        let empty = DeviceList { namespace: self.namespace, devices: Vec::new() };
        let list = server.lists.entry(at).or_insert(empty);
        if list.devices.iter().all(|device| device.id != self.id) {
            list.devices.push(ListedDevice { id: self.id, label: None, label_signature: None });
        }
        server.bundles.insert((self.namespace, self.jid.clone(), self.id), self.bundle());
    }

    pub fn initiate(&mut self, bundle: &Bundle) -> Session {
        Session::initiate(&self.identity, bundle, &mut self.rng).unwrap()
    }

    pub fn write(&mut self, session: &mut Session, to: (&BareJid, u32), text: &str) -> Message {
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
            payload: sealed.payload,
            iv: sealed.iv,
        }
    }

    /// A first message in a session of its own beginning.
    pub fn greet(&mut self, client: &Client, server: &Server, text: &str) -> (Session, Message) {
        let mut session = self.initiate(&server.bundle(client));
        let message = self.write(&mut session, (&client.jid, client.id()), text);
        (session, message)
    }

    /// What a message holds for this device.
    pub fn bytes(&self, message: &Message) -> MessageKey {
        let mine = message
            .keys
            .iter()
            .find(|key| key.device == self.id && key.jid.as_ref().is_none_or(|jid| *jid == self.jid));
        mine.expect("no key for this device").clone()
    }

    pub fn open(&mut self, session: &mut Session, message: &Message) -> Zeroizing<Vec<u8>> {
        let ratchet = RatchetMessage::parse(self.namespace, &self.bytes(message).bytes.unwrap()).unwrap();
        let (limits, mut budget) = (Limits::default(), 2_000);
        let step = session.decrypt(&ratchet, None, &limits, &mut budget, &mut self.rng).unwrap();
        *session = step.session;
        step.plaintext
    }

    /// Takes up the session in a key exchange; gives the content.
    pub fn accept(&mut self, message: &Message) -> Result<String> {
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

pub const ROMEO: &str = "romeo@montague.lit";
pub const JULIET: &str = "juliet@capulet.lit";
pub const MALLORY: u32 = 4_711;

/// Two clients who have never written to each other.
pub fn two(namespace: Namespace) -> (Server, Client, Client) {
    let mut server = Server::of(namespace);
    let romeo = Client::new(ROMEO, &mut server);
    let juliet = Client::new(JULIET, &mut server);
    (server, romeo, juliet)
}

/// Two clients whose session both have used.
pub fn friends(namespace: Namespace) -> (Server, Client, Client) {
    let (mut server, romeo, juliet) = two(namespace);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    server.settle(&[&romeo, &juliet]);
    let welcome = juliet.say(&romeo.jid, "welcome", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &welcome)), "welcome");
    server.settle(&[&romeo, &juliet]);
    (server, romeo, juliet)
}

pub fn both_ways(romeo: &Client, juliet: &Client, server: &mut Server) {
    for (from, to) in [(romeo, juliet), (juliet, romeo), (romeo, juliet)] {
        let message = from.say(&to.jid, "still here", server);
        assert_eq!(text(&to.read(&from.jid, &message)), "still here");
        server.settle(&[romeo, juliet]);
    }
}
