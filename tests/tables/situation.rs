//! What stood before a message came: a device of this account, another device that it knows more or less well, and what
//! that device may send. Made once for many rows, each of which begins on a copy of the store.

use super::rules::Words;
use super::table::short;
use crate::support::world::FaultyStorage;
use crate::support::world::raw::content;
use crate::support::world::server::jid;
use crate::support::world::storage::Records;
use crate::support::{Answer, abi, settle};
use crate::support::{
    Client, JULIET, Kind, NS_2, NS_LEGACY, ROMEO, RawDevice, Setup, Store, TYBALT, Trust, World,
};
use omemo::protocol::namespace::Namespace;
use omemo::protocol::session::Session;
use omemo::stanza::{bundle, message};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ptr::null_mut;

/// The device is of somebody else, or another one of this account.
pub const CONTACT: &str = "contact";
pub const OWN: &str = "own";

/// The id of the device that sends.
pub const SENDER: u32 = 7;
/// More than any chain that is not answered.
const LONG: usize = 60;

pub struct Situation {
    pub ns: &'static str,
    pub world: World,
    /// The id for which the stanzas are.
    pub own_id: u32,
    /// The id that the client has.
    current_id: u32,
    /// What the client speaks.
    pub namespaces: Vec<&'static str>,
    /// What the device may send, by the name that the table has for it.
    pub stanzas: BTreeMap<&'static str, String>,
    name: &'static str,
    key: [u8; 32],
    records: Records,
    by_level: RefCell<BTreeMap<String, Records>>,
    own_items: Vec<(&'static str, String, String)>,
}

fn other(ns: &str) -> &'static str {
    if ns == NS_2 { NS_LEGACY } else { NS_2 }
}

fn namespace(ns: &str) -> Namespace {
    Namespace::from_uri(ns).unwrap()
}

/// All levels that a key may have; the rows do not know the last one.
fn levels() -> BTreeMap<String, i32> {
    let levels =
        [("undecided", 0), ("trusted", 1), ("distrusted", 2), ("blindly-trusted", 1), ("unknown", 1)];
    levels.map(|(name, value)| (name.to_owned(), value)).into()
}

fn setup(store: Store, namespaces: &[&'static str]) -> Setup {
    Setup {
        store,
        trust: Trust::Hold,
        namespaces: Some(namespaces.to_vec()),
        levels: levels(),
        ..Setup::default()
    }
}

/// How a client is set up that has these levels or this policy; the level of the table is in the store already.
fn setup_of(situation: &Situation, row: &Words) -> Setup {
    let levels = [("undecided", 0), ("trusted", 1), ("distrusted", 2), ("blindly-trusted", 1)];
    let levels: BTreeMap<String, i32> = levels.map(|(name, value)| (name.to_owned(), value)).into();
    let (levels, options) = match row["policy"].as_str() {
        "custom" => (levels, Vec::new()),
        "ask" => (BTreeMap::new(), vec![(9, 0)]),
        "tofu" => (BTreeMap::new(), vec![(9, 1)]),
        _ => (BTreeMap::new(), vec![(9, 2)]),
    };
    Setup {
        store: situation.store_with_level(&row["level"]),
        trust: Trust::Hold,
        namespaces: Some(situation.namespaces.clone()),
        levels,
        options,
        ..Setup::default()
    }
}

/// The server pushes somebody's list, if there is one; no bundle is looked at.
pub fn push(client: &Client, ns: &str, jid: &str) {
    if let Some(list) = client.world.list(ns, jid) {
        assert_eq!(client.push(jid, &list), abi::OK);
        settle(&[client]);
    }
}

/// The server takes no new list, and deletes nothing.
fn refuse_lists(world: &World) {
    world.set_fault(|request| {
        matches!(request.kind, Kind::PublishList | Kind::DeleteBundle)
            .then_some(Answer::Reject(abi::REJECT_FAILED))
    });
}

/// Devices while a situation is made.
struct Making {
    ns: &'static str,
    name: &'static str,
    world: World,
    romeo: Client,
    peer: RawDevice,
    stanzas: BTreeMap<&'static str, String>,
}

impl Making {
    fn new(ns: &'static str, account: &str, namespaces: &[&'static str]) -> Self {
        let world = World::speaking(ns, 1);
        world.set_push(false);
        let name = if account == OWN { ROMEO } else { JULIET };
        let romeo = Client::with(&world, ROMEO, setup(Store::default(), namespaces));
        romeo.connect().ok();
        let peer = RawDevice::of(namespace(ns), name, SENDER);
        peer.announce_bundle(&world);
        Self { ns, name, world, romeo, peer, stanzas: BTreeMap::new() }
    }

    fn to(&self) -> (&'static str, u32) {
        (ROMEO, self.romeo.id())
    }

    /// The device stands on its list, and the client knows.
    fn list(&self) {
        self.peer.announce_list(&self.world);
        push(&self.romeo, self.ns, self.name);
    }

    /// It does not any more.
    fn unlist(&self) {
        let list = match self.ns {
            NS_2 => "<devices xmlns='urn:xmpp:omemo:2'/>",
            _ => "<list xmlns='eu.siacs.conversations.axolotl'/>",
        };
        self.world.publish_list(self.ns, self.name, list);
        push(&self.romeo, self.ns, self.name);
    }

    /// A first message of this device under the account's name, on the bundle that is on the server.
    fn first_message(&self, device: &mut RawDevice) -> String {
        device.begin(&self.world, ROMEO, self.romeo.id());
        device.say(self.to(), "a first message")
    }

    /// Somebody whose key is confirmed.
    fn confirmed_tybalt(&self) -> RawDevice {
        let tybalt = RawDevice::of(namespace(self.ns), TYBALT, 8);
        tybalt.announce(&self.world);
        self.confirm(TYBALT, &tybalt);
        tybalt
    }

    /// The client looks at the bundle of a device, since it has something to say.
    fn confirm(&self, name: &str, device: &RawDevice) {
        assert_eq!(self.romeo.set_trust(name, &device.key(), "trusted"), abi::OK);
        self.romeo.encrypt(&[name], "hello").ok();
        assert!(self.known(name, device.id).identity.is_some());
    }

    fn known(&self, name: &str, id: u32) -> crate::support::Device {
        let devices = self.romeo.devices(if name == ROMEO { "" } else { name });
        devices.into_iter().find(|device| device.id == id).expect("a known device")
    }

    /// A session that both have, the client having answered; and what is sent before the answer comes.
    fn meet(&mut self) -> Session {
        let mut peer = self.peer.twin(self.peer.namespace, self.name, SENDER);
        let first = self.first_message(&mut peer);
        assert!(self.romeo.decrypt(self.name, &first).unwrap().body.is_some());
        self.stanzas.insert("duplicate-exchange", first);
        self.stanzas.insert("repeated-exchange", peer.say(self.to(), "a second message"));
        self.world.clear_journal();
        settle(&[&self.romeo]);
        let journal = self.world.journal();
        let answer = journal.iter().find(|request| request.kind == Kind::SendMessage).expect("an answer");
        let answer = message::parse(answer.xml.as_ref().unwrap().as_bytes()).unwrap();
        let mut session = peer.session.take().unwrap();
        peer.open(&mut session, &answer);
        session
    }

    /// Bundles show another key.
    fn contradict(&mut self, ns: &'static str) {
        let mut impostor = RawDevice::of(namespace(ns), self.name, SENDER);
        impostor.announce(&self.world);
        push(&self.romeo, ns, self.name);
        let shown = self.first_message(&mut impostor);
        let read = self.romeo.decrypt(self.name, &shown).unwrap();
        assert_eq!(read.status, abi::ERR_PUBLIC_DATA_INCONSISTENCY);
        settle(&[&self.romeo]);
        assert!(self.known(self.name, SENDER).conflicting_key.is_some());
        let mut here = impostor.twin(namespace(self.ns), self.name, SENDER);
        self.stanzas.insert("conflicting-exchange", self.first_message(&mut here));
    }

    fn say(&mut self, name: &'static str, on: &Session) {
        self.peer.session = Some(on.clone());
        let stanza = self.peer.say(self.to(), name);
        self.stanzas.insert(name, stanza);
    }

    /// What the device says on a session that stands.
    fn write_on(&mut self, session: &Session) {
        let mut peer = self.peer.twin(self.peer.namespace, self.name, SENDER);
        peer.session = Some(session.clone());
        let duplicate = peer.say(self.to(), "twice");
        assert!(self.romeo.decrypt(self.name, &duplicate).unwrap().body.is_some());
        self.stanzas.insert("duplicate", duplicate);
        let session = peer.session.take().unwrap();
        self.say("normal", &session);
        let (to, mut on) = (self.to(), session.clone());
        let text = content(peer.namespace, &jid(TYBALT), "in another name", &mut peer.rng);
        let written = peer.write(&mut on, (&jid(to.0), to.1), &text);
        self.stanzas.insert("other-from-inside", message::write(&written));
        peer.session = Some(session.clone());
        let iv = (self.ns == NS_LEGACY).then_some([0; 12]);
        let material = if self.ns == NS_LEGACY { &[1; 16][..] } else { &[0; 32][..] };
        let mut empty = peer.transport(to.1, material, None, iv.as_ref().map(|iv| &iv[..]));
        empty.keys[0].jid = (self.ns == NS_2).then(|| jid(ROMEO));
        self.stanzas.insert("empty", message::write(&empty));
        peer.session = Some(session);
        let long = (0..LONG).map(|_| peer.say(to, "one of many")).last().unwrap();
        self.stanzas.insert("long-chain", long);
    }

    /// What the device says without such a session.
    fn write_beside(&mut self) {
        let mut peer = self.peer.twin(self.peer.namespace, self.name, SENDER);
        let exchange = self.first_message(&mut peer);
        self.stanzas.insert("exchange", exchange);
        // On a session that another store of the client has.
        let mut double = RawDevice::of(self.peer.namespace, ROMEO, self.romeo.id());
        peer.begin_with(&double.bundle());
        double.accept_xml(&peer.say(self.to(), "to another store"));
        let answer = double.say((self.name, SENDER), "an answer");
        let mut session = peer.session.take().unwrap();
        peer.open(&mut session, &message::parse(answer.as_bytes()).unwrap());
        peer.session = Some(session);
        let stray = peer.say(self.to(), "stray");
        self.stanzas.insert("stray", stray);
        let own = self.world.bundle(self.ns, ROMEO, self.romeo.id()).unwrap();
        let mut own = bundle::parse(own.as_bytes(), Some(self.romeo.id())).unwrap();
        own.pre_keys.iter_mut().for_each(|key| key.id += 1_000_000);
        peer.begin_with(&own);
        let missing = peer.say(self.to(), "on a pre key that is gone");
        self.stanzas.insert("missing-pre-key", missing);
    }

    /// What others say in the name of the device.
    fn write_as_others(&mut self, tybalt: &RawDevice) {
        let mut impostor = RawDevice::of(self.peer.namespace, self.name, SENDER);
        let stanza = self.first_message(&mut impostor);
        self.stanzas.insert("impostor-exchange", stanza);
        let mut copied = tybalt.twin(self.peer.namespace, self.name, SENDER);
        let stanza = self.first_message(&mut copied);
        self.stanzas.insert("copied-exchange", stanza);
    }
}

impl Situation {
    pub fn new(ns: &'static str, account: &str, device: &str, key: &str) -> Self {
        let namespaces = if key == "mismatched" { vec![ns, other(ns)] } else { vec![ns] };
        let mut making = Making::new(ns, account, &namespaces);
        let tybalt = making.confirmed_tybalt();
        if device != "absent" {
            making.list();
        }
        if key == "fetched" {
            making.romeo.refresh(making.name).ok();
        }
        let session = (!matches!(key, "unmet" | "fetched")).then(|| making.meet());
        if matches!(key, "confirmed" | "changed" | "mismatched") {
            let peer = making.peer.twin(making.peer.namespace, making.name, SENDER);
            making.confirm(making.name, &peer);
        }
        match key {
            "changed" => making.contradict(ns),
            "mismatched" => making.contradict(other(ns)),
            _ => (),
        }
        if device == "left" {
            making.unlist();
        }
        if let Some(session) = &session {
            making.write_on(session);
        }
        making.write_beside();
        making.write_as_others(&tybalt);
        let own_id = making.romeo.id();
        if device == "given-up" {
            making.give_up();
        }
        making.finish(namespaces, own_id)
    }

    /// The server as it was, and nothing asked yet.
    pub fn reset(&self) {
        for (ns, list, bundle) in &self.own_items {
            self.world.publish_list(ns, ROMEO, list);
            self.world.publish_bundle(ns, ROMEO, self.current_id, bundle);
        }
        if self.has_given_up() {
            refuse_lists(&self.world);
        }
        self.world.clear_journal();
    }

    /// A copy of the client's store in which the device's key has this level.
    pub fn store_with_level(&self, level: &str) -> Store {
        let mut by_level = self.by_level.borrow_mut();
        let records = by_level.entry(level.to_owned()).or_insert_with(|| {
            let store = FaultyStorage::of(self.records.clone());
            let client = Client::with(&self.world, ROMEO, setup(store.clone(), &self.namespaces));
            assert_eq!(client.set_trust(self.name, &self.key, level), abi::OK);
            store.all()
        });
        FaultyStorage::of(records.clone())
    }

    /// A client for a row, offline.
    pub fn client(&self, row: &Words) -> Client {
        Client::with(&self.world, ROMEO, setup_of(self, row))
    }

    fn has_given_up(&self) -> bool {
        self.current_id != self.own_id
    }

    /// Connects a client; where its old id is to stay on the list, that cannot be published.
    pub fn connect(&self, client: &Client) {
        let expected = if self.has_given_up() { "DEVICE_LIST_UPLOAD_FAILED" } else { "OK" };
        assert_eq!(short(client.connect().status), expected);
    }

    /// The stanza with its key for a device that is not this one.
    pub fn for_nobody(&self, name: &str) -> String {
        let rid = |id: u32| format!("rid='{id}'");
        self.stanzas[name].replace(&rid(self.own_id), &rid(self.own_id ^ 1))
    }
}

impl Making {
    /// The client becomes another device, and its old id stays on the list for want of a server that takes a new one.
    fn give_up(&self) {
        let before = self.romeo.id();
        refuse_lists(&self.world);
        // SAFETY: a live manager; nobody is called at the end.
        let status =
            unsafe { abi::omemo_manager_reset_identity(self.romeo.raw(), None, null_mut(), null_mut()) };
        assert_eq!(status, abi::OK);
        settle(&[&self.romeo]);
        let list = self.world.list(self.ns, ROMEO).unwrap();
        assert!(self.romeo.id() != before && list.contains(&before.to_string()));
    }

    fn finish(self, namespaces: Vec<&'static str>, own_id: u32) -> Situation {
        settle(&[&self.romeo]);
        let current_id = self.romeo.id();
        let items = |ns: &&'static str| {
            let (list, bundle) = (self.world.list(ns, ROMEO), self.world.bundle(ns, ROMEO, current_id));
            (*ns, list.unwrap(), bundle.unwrap())
        };
        Situation {
            ns: self.ns,
            own_id,
            current_id,
            own_items: namespaces.iter().map(items).collect(),
            namespaces,
            stanzas: self.stanzas,
            name: self.name,
            key: self.peer.key(),
            records: self.romeo.store.all(),
            by_level: RefCell::default(),
            world: self.world,
        }
    }
}
