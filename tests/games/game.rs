//! One game: the account under test, its client, and everybody else.

use crate::cast::{CAST, CONTACT, OWN, STRANGER, actor};
use crate::event::Kind;
use crate::model::{Fact, Model};
use crate::server::{Published, Server, Stanza};
use crate::support::world::rust::TestServices;
use crate::world::{FaultyStorage, Seeded, config, jid};
use omemo::manager::Manager;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::Event;
use omemo::manager::api::request::{Answer, Request};
use omemo::protocol::address::BareJid;
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace;
use omemo::protocol::session::Session;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Fetches that may be open at a time: few, so that shares matter.
pub const FETCHES: usize = 4;
/// Events that are shown of a game that differs.
const SHOWN: usize = 45;

/// A request that waits for its answer.
pub struct Open {
    pub request: Request,
    /// What the server had when it was asked.
    pub asked: Option<Answer>,
    pub asked_ms: u64,
    /// The own server has processed it; the result is on its way.
    pub processed: bool,
    /// A push has answered it.
    pub superseded: bool,
    /// The decisions so far, each with the number of its call.
    pub decisions: Vec<(u64, Fact)>,
}

/// An encryption that runs.
#[derive(Clone)]
pub struct Encryption {
    pub recipients: Vec<BareJid>,
}

/// A message that somebody sent to the account under test.
pub struct Mail {
    pub device: u32,
    pub identity: usize,
    pub message: Message,
    pub text: String,
    /// In whose names it was decrypted.
    pub decrypted: BTreeSet<String>,
}

/// A bundle that the client gave: which signed pre key, when, and in which stream.
pub struct Given {
    pub version: usize,
    pub at_ms: u64,
    pub stream: u64,
}

/// See the module.
pub struct Game {
    pub dice: StdRng,
    pub namespaces: Vec<Namespace>,
    pub level: String,
    pub storage: Arc<FaultyStorage>,
    pub services: Arc<TestServices>,
    pub manager: Option<Manager>,
    pub server: Server,
    pub model: Model,
    pub open: BTreeMap<u64, Open>,
    pub online: bool,
    pub stream: u64,
    pub encryptions: BTreeMap<u64, Encryption>,
    pub ends: BTreeMap<u64, omemo::manager::api::report::Outcome>,
    pub operation: u64,
    pub sessions: HashMap<(u32, Namespace), Session>,
    pub mails: Vec<Mail>,
    pub given: HashMap<(u32, Namespace), Vec<Given>>,
    pub exchanges: HashSet<[u8; 32]>,
    pub headers: HashMap<(u32, u32, [u8; 32], u32), Vec<u8>>,
    /// Devices that the account may have begun a session with by itself.
    pub repaired: BTreeSet<u32>,
    /// Lists whose fetch failed, before the run that takes note of it.
    pub failed: Vec<(Namespace, BareJid)>,
    pub list_failures: HashMap<(Namespace, BareJid), u64>,
    /// JIDs whose lists may be looked at by themselves.
    pub suggested: HashSet<BareJid>,
    /// Key exchanges that were sent without content, by device.
    pub repairs: BTreeMap<u32, usize>,
    kinds: Vec<Kind>,
    shown: usize,
    events: VecDeque<String>,
}

impl Game {
    pub fn new(seed: u64) -> Game {
        let mut dice = StdRng::seed_from_u64(seed);
        let namespaces = match dice.next_u32() % 4 {
            0 => vec![Namespace::Omemo2],
            1 => vec![Namespace::Legacy],
            2 => vec![Namespace::Omemo2, Namespace::Legacy],
            _ => vec![Namespace::Legacy, Namespace::Omemo2],
        };
        let level = if dice.next_u32() % 2 == 0 { "trusted" } else { "undecided" };
        let services = Arc::new(TestServices::default());
        let mut game = Game {
            dice,
            model: Model::new(&namespaces, level),
            namespaces,
            level: level.to_owned(),
            storage: Arc::default(),
            services,
            manager: None,
            server: Server::default(),
            open: BTreeMap::new(),
            online: false,
            stream: 0,
            encryptions: BTreeMap::new(),
            ends: BTreeMap::new(),
            operation: 0,
            sessions: HashMap::new(),
            mails: Vec::new(),
            given: HashMap::new(),
            exchanges: HashSet::new(),
            headers: HashMap::new(),
            repaired: BTreeSet::new(),
            failed: Vec::new(),
            list_failures: HashMap::new(),
            suggested: HashSet::new(),
            repairs: BTreeMap::new(),
            kinds: Vec::new(),
            shown: if std::env::var("OMEMO_SEED").is_ok() { 10_000 } else { SHOWN },
            events: VecDeque::new(),
        };
        game.set_up();
        game
    }

    /// What stands on the servers when the game begins.
    fn set_up(&mut self) {
        for namespace in self.namespaces.clone() {
            for name in [CONTACT, STRANGER] {
                if self.chance(80) {
                    self.change_list(namespace, &jid(name));
                }
            }
            for actor in CAST.iter() {
                let present = self.chance(85);
                let published = Published { identity: 0, version: 0, present };
                self.server.bundles.insert((actor.id, namespace), published);
                if actor.jid.as_str() == OWN && self.chance(50) {
                    self.announce(namespace, actor.id);
                }
            }
            if self.chance(60) {
                self.server.write_own_list(namespace, None);
            } else {
                self.server.foreign.retain(|(of, _), _| *of != namespace);
            }
        }
    }

    // -- Chance --

    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 {
            0
        } else {
            usize::try_from(self.dice.next_u64() % u64::try_from(end).unwrap()).unwrap()
        }
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let place = self.below(of.len());
        of.get(place).cloned()
    }

    pub fn namespace(&mut self) -> Namespace {
        self.pick(&self.namespaces.clone()).unwrap()
    }

    pub fn next_operation(&mut self) -> u64 {
        self.operation += 1;
        self.operation
    }

    pub fn rng(&mut self) -> Seeded {
        Seeded::new(self.dice.next_u64())
    }

    // -- What happened --

    pub fn tell(&mut self, line: impl Into<String>) {
        if self.events.len() == self.shown {
            self.events.pop_front();
        }
        let now = self.now() / 1_000;
        self.events.push_back(format!("  {now:>7} s  {}", line.into()));
    }

    pub fn last_events(&self) -> String {
        Vec::from(self.events.clone()).join("\n")
    }

    /// Returns the pairs of kinds of which the first one occurred before the second one.
    pub fn pairs(&self) -> BTreeSet<(usize, usize)> {
        let (mut before, mut pairs) = (BTreeSet::new(), BTreeSet::new());
        for kind in &self.kinds {
            let kind = Kind::ALL.iter().position(|other| other == kind).unwrap();
            pairs.extend(before.iter().map(|first: &usize| (*first, kind)));
            before.insert(kind);
        }
        pairs
    }

    // -- The client --

    pub fn now(&self) -> u64 {
        self.services.clock.steady_ms()
    }

    pub fn advance(&mut self, ms: u64) {
        self.services.clock.advance(ms);
    }

    pub fn manager(&self) -> Manager {
        self.manager.clone().unwrap()
    }

    pub fn own_id(&self) -> Option<u32> {
        self.manager().device_id().unwrap().map(|id| id.get())
    }

    pub fn start(&mut self) {
        let mut config = config(self.namespaces[0], OWN, &self.level);
        config.namespaces = self.namespaces.clone();
        config.max_open_fetches = FETCHES;
        let rng = Box::new(self.rng());
        self.manager = Some(Manager::open(config, self.storage.clone(), self.services.clone(), rng).unwrap());
    }

    /// The stream breaks: what was on its way is lost, and the server may have processed it or not. Not where a push
    /// is lost with it: then nobody could know what the publication has overwritten.
    pub fn lose_stream(&mut self, restart: bool) {
        let told = !self.server.inbox.iter().any(|stanza| matches!(stanza, Stanza::Push(_)));
        self.server.inbox.clear();
        for request_id in self.open.keys().copied().collect::<Vec<_>>() {
            let open = &self.open[&request_id];
            if told && !open.processed && is_publication(&open.request) && self.chance(50) {
                let request = self.open[&request_id].request.clone();
                self.server.publish(&request);
                self.tell(format!("the server has processed {request_id}"));
            }
        }
        if !told || restart {
            // Nobody remembers what crossed what: the others announce themselves again.
            for namespace in self.namespaces.clone() {
                let own = self.manager.as_ref().and_then(|_| self.own_id());
                self.server.write_own_list(namespace, own);
            }
        }
        // A person may still answer.
        self.open.retain(|_, open| matches!(open.request, Request::DecideTrust { .. }));
        self.online = false;
    }

    /// Gives the client's answer to a request to the manager. False: it is not open any more.
    pub fn answer(&mut self, request_id: u64, answer: Answer) -> bool {
        let Some(open) = self.open.remove(&request_id) else { return false };
        if self.manager().answer(request_id, answer.clone()).is_err() {
            return false;
        }
        match (&open.request, &answer) {
            (Request::FetchDeviceList { namespace, jid }, answer) => self.note_list(*namespace, jid, answer),
            (Request::FetchBundle { namespace, device, .. }, Answer::Bundle(bundle)) => {
                if let Some(actor) = actor(device.get()) {
                    let identity = actor.identity_of(&bundle.identity_key).unwrap();
                    let version = usize::try_from(bundle.signed_pre_key_id).unwrap() - 1;
                    let (at_ms, stream) = (self.now(), self.stream);
                    let given = self.given.entry((actor.id, *namespace)).or_default();
                    given.push(Given { version, at_ms, stream });
                    self.model.note(Fact::Bundle(*namespace, actor.id, identity));
                }
            }
            (Request::DecideTrust { .. }, Answer::Done) => {
                open.decisions.into_iter().for_each(|(stamp, fact)| self.model.note_at(stamp, fact));
            }
            _ => (),
        }
        true
    }

    fn note_list(&mut self, namespace: Namespace, jid: &BareJid, answer: &Answer) {
        let at = (namespace, jid.clone());
        let ids = match answer {
            Answer::DeviceList(list) => ids(list),
            Answer::Rejected(omemo::manager::api::request::Reason::NotFound) => BTreeSet::new(),
            _ => {
                self.failed.push(at);
                return;
            }
        };
        self.failed.retain(|failed| *failed != at);
        self.list_failures.remove(&at);
        self.model.note(Fact::List(namespace, jid.clone(), ids));
    }

    /// Gives a pushed list to the manager; returns whether it was taken.
    pub fn push(&mut self, jid: &BareJid, list: &DeviceList) -> bool {
        let pushed = self.manager().update_device_list(jid, list).is_ok();
        if pushed {
            self.supersede(list.namespace, jid);
            self.model.say(Fact::List(list.namespace, jid.clone(), ids(list)));
        }
        pushed
    }

    /// What was said of a list answers the open request for it.
    pub fn supersede(&mut self, namespace: Namespace, jid: &BareJid) {
        self.list_failures.remove(&(namespace, jid.clone()));
        for open in self.open.values_mut() {
            open.superseded |= list_of(&open.request).is_some_and(|(of, who)| (of, &who) == (namespace, jid));
        }
    }

    /// The own server processes a request.
    pub fn process(&mut self, request_id: u64) {
        let Some(open) = self.open.get_mut(&request_id) else { return };
        if std::mem::replace(&mut open.processed, true) {
            return;
        }
        let request = open.request.clone();
        let result = Stanza::Result(request_id, self.server.look(&request).unwrap_or(Answer::Done));
        self.server.publish(&request);
        let echo = match &request {
            Request::PublishDeviceList { list } if self.chance(60) => Some(Stanza::Push(list.clone())),
            _ => None,
        };
        if self.chance(50) {
            self.server.inbox.push_back(result);
            self.server.inbox.extend(echo);
        } else {
            self.server.inbox.extend(echo);
            self.server.inbox.push_back(result);
        }
    }

    /// Delivers the next stanza of the own server.
    pub fn deliver(&mut self) -> bool {
        match self.server.inbox.pop_front() {
            None => return false,
            Some(Stanza::Result(request_id, answer)) => {
                self.tell(format!("result of question {request_id}"));
                self.answer(request_id, answer);
            }
            Some(Stanza::Push(list)) => {
                self.tell(format!("own push {:?} {}", list.namespace, entries(&list)));
                self.push(&jid(OWN), &list);
            }
        }
        true
    }

    /// Everything that comes without an answer.
    pub fn run(&mut self) -> Result<(), String> {
        let before = self.model.clone();
        self.model.settle();
        let now = self.now();
        let late = |open: &Open| now >= open.asked_ms + 60_000 && !open.superseded;
        let late = self.open.values().filter(|open| late(open)).map(|open| open.request.clone());
        let mut failed: Vec<_> = late.filter_map(|request| list_of(&request)).collect();
        failed.append(&mut self.failed);
        let wanted: Vec<Encryption> = self.encryptions.values().cloned().collect();
        let manager = self.manager();
        for _ in 0..10_000 {
            let Some(event) = manager.next_event() else {
                // What failed is remembered from now on.
                for at in failed {
                    // Of several that want a list one may have asked again before the failure of another is noted.
                    let wants = |encryption: &Encryption| encryption.recipients.contains(&at.1);
                    if wanted.iter().filter(|encryption| wants(encryption)).count() < 2 {
                        self.list_failures.insert(at, now);
                    }
                }
                return self.compare();
            };
            match event {
                Event::Request(request_id, request) => self.asked(request_id, request)?,
                Event::Withdrawn(request_id) => {
                    self.tell(format!("question {request_id} is withdrawn"));
                    self.open.remove(&request_id);
                }
                Event::Done(operation, outcome) => self.done(operation, outcome, &before)?,
                Event::Notify(_) => (),
            }
        }
        Err("events without end".into())
    }

    fn asked(&mut self, request_id: u64, request: Request) -> Result<(), String> {
        if let Request::PublishDeviceList { list } = &request {
            self.server.ours.entry(list.namespace).or_default().push(list.clone());
        }
        self.tell(format!("question {request_id}: {}", describe(&request)));
        let (asked, asked_ms) = (self.server.look(&request), self.now());
        let open =
            Open { request, asked, asked_ms, processed: false, superseded: false, decisions: Vec::new() };
        self.open.insert(request_id, open);
        self.check_request(request_id)?;
        if is_own(&self.open[&request_id].request) && self.chance(40) {
            self.process(request_id);
        }
        Ok(())
    }

    fn done(
        &mut self,
        operation: u64,
        outcome: omemo::manager::api::report::Outcome,
        before: &Model,
    ) -> Result<(), String> {
        let rows: Vec<String> =
            outcome.rows.iter().map(|row| format!("{}:{}", row.device, row.error.status().name())).collect();
        self.tell(format!("operation {operation} ends: {} {}", outcome.status().name(), rows.join(" ")));
        if let Some(encryption) = self.encryptions.remove(&operation) {
            self.check_outcome(&encryption, &outcome, before)?;
        }
        self.ends.insert(operation, outcome);
        Ok(())
    }

    // -- The others --

    /// A contact's list changes on its server.
    pub fn change_list(&mut self, namespace: Namespace, jid: &BareJid) {
        let mut devices = Vec::new();
        for actor in CAST.iter().filter(|actor| actor.jid == *jid) {
            if self.chance(65) {
                devices.push(ListedDevice::new(actor.id));
            }
        }
        self.server.lists.insert((namespace, jid.clone()), DeviceList::of(namespace, devices));
    }

    /// Another device of the own account announces itself, with or without a label.
    pub fn announce(&mut self, namespace: Namespace, id: u32) {
        let mut signature = [0; 64];
        self.dice.fill_bytes(&mut signature);
        let entry = match namespace == Namespace::Omemo2 && self.chance(60) {
            true => ListedDevice::labelled(id, format!("label {}", signature[0]), signature),
            false => ListedDevice::new(id),
        };
        self.server.foreign.insert((namespace, id), entry);
    }

    /// The account writes to everybody; in some games others are installed anew after that, or keys are still to be
    /// judged.
    fn meet(&mut self) -> Result<(), String> {
        self.begin_encryption(&[CONTACT, STRANGER], EncryptPolicy::Wait);
        let judge = self.chance(50);
        self.answer_all(judge)?;
        if self.chance(40) {
            for actor in CAST.iter().filter(|actor| actor.jid.as_str() != OWN) {
                self.reinstall(actor)?;
            }
            self.answer_all(judge)?;
        }
        Ok(())
    }

    /// Plays so many events that do something, and the end.
    pub fn play(&mut self, events: usize) -> Result<(), String> {
        self.start();
        if self.chance(75) {
            self.connect();
            self.calm()?;
            if self.chance(70) {
                self.meet()?;
            }
        }
        let mut played = 0;
        for _ in 0..events * 20 {
            if played == events {
                break;
            }
            let kind = self.next_kind();
            if self.event(kind)? {
                played += 1;
                self.kinds.push(kind);
            }
        }
        if played < events {
            return Err(format!("{played} events only"));
        }
        self.end()
    }
}

/// Returns the list that a request asks for.
fn list_of(request: &Request) -> Option<(Namespace, BareJid)> {
    match request {
        Request::FetchDeviceList { namespace, jid } => Some((*namespace, jid.clone())),
        _ => None,
    }
}

/// Returns the ids of a list.
pub fn ids(list: &DeviceList) -> BTreeSet<u32> {
    list.devices.iter().map(|device| device.id).collect()
}

/// Returns the entries of a list for people: ids and labels.
pub fn entries(list: &DeviceList) -> String {
    let entry = |device: &ListedDevice| match &device.label {
        Some(label) => format!("{} ({label})", device.id),
        None => device.id.to_string(),
    };
    list.devices.iter().map(entry).collect::<Vec<_>>().join(", ")
}

pub fn is_publication(request: &Request) -> bool {
    use Request::{DeleteBundle, PublishBundle, PublishDeviceList};
    matches!(request, PublishDeviceList { .. } | PublishBundle { .. } | DeleteBundle { .. })
}

/// Returns whether the own server answers it.
pub fn is_own(request: &Request) -> bool {
    match request {
        Request::FetchDeviceList { jid, .. } | Request::FetchBundle { jid, .. } => jid.as_str() == OWN,
        request => is_publication(request),
    }
}

fn describe(request: &Request) -> String {
    match request {
        Request::FetchDeviceList { namespace, jid } => format!("list of {} in {namespace:?}", jid.as_str()),
        Request::FetchBundle { namespace, jid, device } => {
            format!("bundle of {} {} in {namespace:?}", jid.as_str(), device.get())
        }
        Request::PublishDeviceList { list } => format!("publish {:?} {}", list.namespace, entries(list)),
        Request::PublishBundle { bundle, .. } => format!("publish the bundle in {:?}", bundle.namespace),
        Request::DeleteBundle { .. } => "delete a bundle".into(),
        Request::SendMessage { message, .. } => {
            let keys: Vec<(u32, bool)> =
                message.keys.iter().map(|key| (key.device, key.key_exchange)).collect();
            format!("send an empty message to {keys:?}")
        }
        Request::DecideTrust { devices, .. } => {
            format!("judge {:?}", devices.iter().map(|device| device.id).collect::<Vec<_>>())
        }
    }
}
