//! One world of four implementations and two namespaces: what is delivered is read once by each device it is for.
//!
//! Romeo has a device of ours that speaks both namespaces and one of libomemo-c (legacy); Juliet has one of ours with
//! both, the other way round, and one of omemo-dr (legacy); Mercutio has one of ours with the legacy namespace alone,
//! and python-omemo with both. What the other implementations read is taken from the output of their processes.

use crate::support::store_file::StoreFile;
use crate::support::{Client, JULIET, Mail, NS_2, NS_LEGACY, Peer, ROMEO, Setup, World, abi, seeds};
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use prost::Message as _;

use crate::support::client::{settle, status_name};
use crate::support::peer::{Heard, Kind, namespace_of};
use crate::support::world::{Answering, Wire};

const MERCUTIO: &str = "mercutio@verona.lit";
const ACCOUNTS: [&str; 3] = [ROMEO, JULIET, MERCUTIO];

const MESSAGES: usize = 500;

#[test]
fn nothing_is_lost_where_the_network_behaves() {
    run("mixed world in calm", 1, Wire::default(), false, |seed, sum| {
        println!("seed {seed}: {sum:?}");
        assert_eq!((sum.excused, sum.lost, sum.twice), (0, 0, 0));
        assert_eq!(sum.read, sum.meant);
    });
}

#[test]
fn what_a_bad_network_delivers_is_read_once() {
    let wire = Wire { loss: 5, twice: 10, reorder: 25 };
    let (mut excused, mut meant) = (0, 0);
    run("mixed world with churn", 2, wire, true, |seed, sum| {
        println!("seed {seed}: {sum:?}");
        assert_eq!(sum.read + sum.excused + sum.lost, sum.meant);
        (excused, meant) = (excused + sum.excused, meant + sum.meant);
        assert!(sum.restarts >= 50 && sum.twice >= 80 && sum.reordered >= 100 && sum.lost >= 40, "{sum:?}");
        assert!(sum.crossed >= 5 && sum.late_last >= 5 && sum.by_others >= 300, "{sum:?}");
    });
    assert!(excused * 100 < meant, "{excused} of {meant} excused");
}

// ------------------------------------------------------------------------------------------------ the devices

enum Implementation {
    Ours(Box<Client>),
    Theirs { process: usize, name: &'static str },
}

struct Device {
    jid: &'static str,
    id: u32,
    endpoint: usize,
    namespaces: &'static [&'static str],
    implementation: Implementation,
}

/// The ratchet key of a chain, and the number of its last message.
type Chain = (Vec<u8>, u32);

/// What a device made of a stanza.
enum Got {
    Text(String),
    Nothing,
    NotForIt,
    Failed(String),
}

/// What came of a run; what is counted is a text for a device.
#[derive(Debug, Default)]
struct Sum {
    meant: usize,
    read: usize,
    by_others: usize,
    excused: usize,
    lost: usize,
    twice: usize,
    reordered: usize,
    restarts: usize,
    crossed: usize,
    late_last: usize,
}

struct Mixed<'p> {
    world: World,
    peers: &'p mut [Peer; 3],
    devices: Vec<Device>,
    sum: Sum,
    /// Stanzas with content: their text and number.
    texts: BTreeMap<String, (usize, String)>,
    /// What each device took from its inbox, and what it read of it.
    delivered: BTreeSet<(usize, String)>,
    read: BTreeSet<(usize, usize)>,
    /// The last number each device read of each.
    newest: BTreeMap<(usize, usize), usize>,
    /// Who read something of whom in a namespace, and who had sent a key exchange before.
    /// By whose pre key: the ephemeral keys of the key exchanges that were read on it.
    used: BTreeMap<(usize, &'static str, u32), BTreeSet<Vec<u8>>>,
    heard_of: BTreeSet<(usize, usize, &'static str)>,
    began: BTreeSet<(usize, usize, &'static str)>,
    /// The length of each legacy chain as sent, and what was read of later ones.
    chains: BTreeMap<(usize, usize), Vec<Chain>>,
    read_up_to: BTreeMap<(usize, usize), usize>,
}

/// Run the world in some seeds.
fn run(name: &str, most: u64, wire: Wire, churn: bool, mut check: impl FnMut(u64, &Sum)) {
    let kinds = [Kind::Python(&[NS_2, NS_LEGACY]), Kind::OmemoC(&[NS_LEGACY]), Kind::OmemoDr];
    let mut peers = kinds.map(Peer::start);
    seeds::at_most(name, most, |seed| {
        let mut mixed = Mixed::new(&mut peers, seed);
        mixed.acquaint(churn);
        mixed.world.set_wire(wire);
        for number in 10..MESSAGES {
            mixed.step(number, churn);
        }
        mixed.world.set_wire(Wire::default());
        mixed.take_all();
        mixed.count();
        check(seed, &mixed.sum);
    });
}

impl<'p> Mixed<'p> {
    fn new(peers: &'p mut [Peer; 3], seed: u64) -> Self {
        let world = World::new(seed);
        if seed.is_multiple_of(2) {
            world.set_answering(Answering::Later { least_ms: 1, most_ms: 300 });
        }
        for (peer, part) in peers.iter_mut().zip([0, 1 << 32, 2 << 32]) {
            peer.begin(&world, seed + part);
        }
        let mut devices = Vec::new();
        let all: [(&'static str, &'static [&'static str]); 3] =
            [(ROMEO, &[NS_LEGACY, NS_2]), (JULIET, &[NS_2, NS_LEGACY]), (MERCUTIO, &[NS_LEGACY])];
        for (jid, namespaces) in all {
            let file = Some(StoreFile::new());
            let setup = Setup { namespaces: Some(namespaces.to_vec()), file, ..Setup::default() };
            let client = Box::new(Client::with(&world, jid, setup));
            client.connect().ok();
            let (id, endpoint) = (client.id(), client.endpoint);
            devices.push(Device {
                jid,
                id,
                endpoint,
                namespaces,
                implementation: Implementation::Ours(client),
            });
        }
        for (process, name, jid) in [(0, "m2", MERCUTIO), (1, "r2", ROMEO), (2, "j2", JULIET)] {
            let namespaces = peers[process].kind.namespaces();
            let id = peers[process].device(name, jid);
            let endpoint = peers[process].endpoint(name);
            devices.push(Device {
                jid,
                id,
                endpoint,
                namespaces,
                implementation: Implementation::Theirs { process, name },
            });
            for account in ACCOUNTS {
                peers[process].learn(name, account);
            }
        }
        let mut mixed = Self {
            world,
            peers,
            devices,
            sum: Sum::default(),
            texts: BTreeMap::new(),
            delivered: BTreeSet::new(),
            read: BTreeSet::new(),
            newest: BTreeMap::new(),
            used: BTreeMap::new(),
            heard_of: BTreeSet::new(),
            began: BTreeSet::new(),
            chains: BTreeMap::new(),
            read_up_to: BTreeMap::new(),
        };
        mixed.settle();
        mixed.take_all();
        mixed
    }

    /// Python keeps one session with a device and so never survives that both begin at once: it begins, and is answered,
    /// before anything goes wrong. All others begin one after the other, or before they have heard of anybody; but then
    /// two may draw the same pre key of a third.
    fn acquaint(&mut self, at_once: bool) {
        self.say(PYTHON, 0, &[ROMEO, JULIET]);
        self.take_all();
        let mut others: Vec<usize> = (0..self.devices.len()).filter(|device| *device != PYTHON).collect();
        self.world.shuffle(&mut others);
        for (number, device) in others.into_iter().enumerate() {
            let own = self.devices[device].jid;
            let to: Vec<&str> = ACCOUNTS.into_iter().filter(|jid| *jid != own).collect();
            self.say(device, number + 1, &to);
            if !at_once {
                self.take_all();
            }
        }
    }

    /// Everybody reads everything, until nobody has anything to say to it.
    fn take_all(&mut self) {
        let mut busy = true;
        while busy {
            busy = false;
            for device in 0..self.devices.len() {
                busy |= self.take(device);
            }
        }
    }

    fn settle(&self) {
        let ours: Vec<&Client> = self.devices.iter().filter_map(Device::ours).collect();
        settle(&ours);
    }

    /// Somebody says something, somebody starts anew, and everybody reads some of their mail.
    fn step(&mut self, number: usize, churn: bool) {
        let speaker = self.world.dice(self.devices.len());
        let mut to: Vec<&str> =
            ACCOUNTS.into_iter().filter(|jid| *jid != self.devices[speaker].jid).collect();
        if self.world.dice(3) > 0 {
            to.remove(self.world.dice(2));
        }
        self.say(speaker, number, &to);
        if churn && self.world.dice(6) == 0 {
            self.restart(self.world.dice(self.devices.len()));
        }
        // Most are away most of the time, and some do not read all that lies there.
        for device in 0..self.devices.len() {
            let patience = match self.world.dice(14) {
                0 => usize::MAX,
                1 => 2,
                _ => 0,
            };
            for _ in 0..patience {
                if !self.take(device) {
                    break;
                }
            }
        }
    }

    fn restart(&mut self, device: usize) {
        self.sum.restarts += 1;
        match &mut self.devices[device].implementation {
            Implementation::Ours(client) => {
                client.restart();
                client.connect().ok();
            }
            Implementation::Theirs { process, name } => self.peers[*process].restart(name),
        }
    }

    /// A text for some accounts, and for the speaker's own other devices.
    fn say(&mut self, speaker: usize, number: usize, to: &[&str]) {
        let text = format!("message {number} of device {speaker}");
        let stanzas = match &self.devices[speaker].implementation {
            Implementation::Ours(client) => client.say(to, &text),
            Implementation::Theirs { process, name } => self.peers[*process].say(name, to, &text),
        };
        let own = self.devices[speaker].jid;
        for reader in 0..self.devices.len() {
            let device = &self.devices[reader];
            if reader == speaker || !(device.jid == own || to.contains(&device.jid)) {
                continue;
            }
            self.sum.meant += 1;
            let keys: Vec<_> =
                stanzas.iter().filter_map(|xml| Some((xml, key_for(xml, device.id)?))).collect();
            assert_eq!(keys.len(), 1, "{text} has one key for device {reader}");
            let (xml, key) = &keys[0];
            let ns = namespace_of(xml);
            assert!(device.namespaces.contains(&ns));
            let begins = key.is_key_exchange && !self.heard_of.contains(&(speaker, reader, ns));
            if begins
                && self.began.insert((speaker, reader, ns))
                && self.began.contains(&(reader, speaker, ns))
            {
                self.sum.crossed += 1;
            }
            if let Some((ratchet_key, n)) = key.legacy_header() {
                let chains = self.chains.entry((speaker, reader)).or_default();
                match chains.iter_mut().find(|chain| chain.0 == ratchet_key) {
                    Some(chain) => chain.1 = n,
                    None => chains.push((ratchet_key, n)),
                }
            }
        }
        for xml in stanzas {
            self.texts.insert(xml, (number, text.clone()));
        }
        self.settle();
    }

    /// Take the next thing from an inbox; false if there is none.
    fn take(&mut self, reader: usize) -> bool {
        if reader == PYTHON {
            // Python never reads the last message of a chain of libomemo-c or omemo-dr after the next chain: it believes
            // the length that they tell, which is one too small. So these come in order.
            for device in [OMEMO_C, OMEMO_DR] {
                let id = self.devices[device].id;
                self.world.put_in_order(self.devices[PYTHON].endpoint, |xml| sid(xml) == id);
            }
        }
        let Some(mail) = self.world.take(self.devices[reader].endpoint) else { return false };
        match mail {
            Mail::DeviceList { ns, jid, xml } => match &self.devices[reader].implementation {
                Implementation::Ours(client) => drop(client.push(&jid, &xml)),
                Implementation::Theirs { process, name } => self.peers[*process].push(name, &ns, &jid, &xml),
            },
            Mail::Stanza { from, xml } => self.judge(reader, &from, &xml),
        }
        self.settle();
        true
    }

    fn decrypt(&mut self, reader: usize, from: &str, xml: &str) -> Got {
        match &self.devices[reader].implementation {
            Implementation::Ours(client) => {
                let read = client.decrypt(from, xml).expect("a stanza is dealt with");
                match (read.status, read.body) {
                    (abi::OK, Some(text)) => Got::Text(text),
                    (abi::OK, None) => Got::Nothing,
                    (abi::ERR_NOT_FOR_US | abi::ERR_UNKNOWN_NAMESPACE, _) => Got::NotForIt,
                    (abi::ERR_PRE_KEY_UNKNOWN, _) => Got::Failed("pre key".to_owned()),
                    (status, _) => Got::Failed(format!("{} {}", status_name(status), read.text)),
                }
            }
            Implementation::Theirs { process, name } => {
                if !self.peers[*process].understands(name, xml) {
                    return Got::NotForIt;
                }
                match self.peers[*process].decrypt(name, from, xml) {
                    Heard::Text { text, .. } => Got::Text(text),
                    Heard::Empty => Got::Nothing,
                    Heard::Failed { class, .. } if class == "MessageNotForUs" => Got::NotForIt,
                    Heard::Failed { class, .. } if class == "KeyExchangeFailed" => {
                        Got::Failed("pre key".to_owned())
                    }
                    Heard::Failed { class, cause, why } => Got::Failed(format!("{class} {cause} {why}")),
                }
            }
        }
    }

    /// A stanza, and whether it was read as it must be.
    fn judge(&mut self, reader: usize, from: &str, xml: &str) {
        let speaker = self.devices.iter().position(|device| device.id == sid(xml)).expect("a known sender");
        let (ns, key) = (namespace_of(xml), key_for(xml, self.devices[reader].id));
        let again = !self.delivered.insert((reader, xml.to_owned()));
        let text = self.texts.get(xml).cloned();
        let got = self.decrypt(reader, from, xml);
        let what = format!("{text:?} from {speaker} to {reader} (given before: {again})");
        if let (Got::Text(_) | Got::Nothing, Some((pre_key, ephemeral))) =
            (&got, key.as_ref().and_then(Key::exchange))
        {
            self.used.entry((reader, ns, pre_key)).or_default().insert(ephemeral);
        }
        match (got, text, key) {
            (Got::NotForIt, _, None) => return,
            (Got::Text(_), _, _) if again => panic!("{what}: read twice"),
            (Got::Failed(_), text, Some(_)) if again => {
                self.sum.twice += usize::from(text.is_some());
                return;
            }
            (Got::Text(got), Some((number, text)), Some(key)) => {
                assert_eq!(got, text);
                assert!(self.read.insert((reader, number)), "{what}: the same text twice");
                self.sum.read += 1;
                self.sum.by_others += usize::from(reader >= PYTHON);
                let newest = self.newest.entry((reader, speaker)).or_default();
                self.sum.reordered += usize::from(*newest > number);
                *newest = (*newest).max(number);
                self.late(speaker, reader, &key);
            }
            (Got::Nothing, None, Some(_)) => {}
            (Got::Failed(why), Some(_), Some(key)) if why == "pre key" => {
                // Excused only if another key exchange has used that pre key up.
                let (pre_key, ephemeral) = key.exchange().expect("a key exchange");
                let used = self.used.get(&(reader, ns, pre_key));
                assert!(used.is_some_and(|used| !used.contains(&ephemeral)), "{what}: {why}");
                self.sum.excused += 1;
            }
            (Got::Failed(why), ..) => panic!("{what}: {why}"),
            (Got::Nothing | Got::NotForIt, ..) => panic!("{what}: nothing in it"),
            (Got::Text(got), ..) => panic!("{what}: {got:?} came out of it"),
        }
        self.heard_of.insert((reader, speaker, ns));
    }

    /// Count the last message of a chain when something of a later chain was read before.
    fn late(&mut self, speaker: usize, reader: usize, key: &Key) {
        let Some((ratchet_key, n)) = key.legacy_header() else { return };
        let chains = self.chains.entry((speaker, reader)).or_default();
        let Some(place) = chains.iter().position(|chain| chain.0 == ratchet_key) else { return };
        let up_to = self.read_up_to.entry((speaker, reader)).or_default();
        self.sum.late_last += usize::from(*up_to > place && chains[place].1 == n);
        *up_to = (*up_to).max(place);
    }

    /// What was meant for a device and never came out of its inbox is lost; everything else was judged.
    fn count(&mut self) {
        for xml in self.texts.keys() {
            let speaker = self.devices.iter().position(|device| device.id == sid(xml));
            for (reader, device) in self.devices.iter().enumerate() {
                let meant = Some(reader) != speaker && key_for(xml, device.id).is_some();
                self.sum.lost += usize::from(meant && !self.delivered.contains(&(reader, xml.clone())));
            }
        }
    }
}

const PYTHON: usize = 3;
const OMEMO_C: usize = 4;
const OMEMO_DR: usize = 5;

impl Device {
    fn ours(&self) -> Option<&Client> {
        match &self.implementation {
            Implementation::Ours(client) => Some(client),
            Implementation::Theirs { .. } => None,
        }
    }
}

// ------------------------------------------------------------------------------------------------ in a stanza

/// The value of an attribute, whichever quotes stand around it.
fn attribute<'x>(tag: &'x str, name: &str) -> Option<&'x str> {
    let start = tag.find(&format!(" {name}="))? + name.len() + 2;
    let quote = tag[start..].chars().next()?;
    tag[start + 1..].split(quote).next()
}

fn sid(xml: &str) -> u32 {
    attribute(xml, "sid").and_then(|id| id.parse().ok()).expect("a sender")
}

struct Key {
    ns: &'static str,
    is_key_exchange: bool,
    bytes: Vec<u8>,
}

/// The key for a device; ids are random, so that no two accounts have the same.
fn key_for(xml: &str, id: u32) -> Option<Key> {
    let tag = xml.split('<').find(|tag| attribute(tag, "rid").is_some_and(|rid| rid == id.to_string()))?;
    let (tag, text) = tag.split_once('>')?;
    let is_key_exchange = ["kex", "prekey"].iter().any(|name| attribute(tag, name).is_some());
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()?;
    Some(Key { ns: namespace_of(xml), is_key_exchange, bytes })
}

/// What stands before the MAC of a legacy message, as far as it is looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct RatchetMessage {
    #[prost(bytes = "vec", optional, tag = "1")]
    ratchet_key: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "2")]
    n: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyExchange {
    #[prost(uint32, optional, tag = "1")]
    pre_key_id: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    ephemeral_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    message: Option<Vec<u8>>,
}

/// The same of omemo:2.
#[derive(Clone, PartialEq, prost::Message)]
struct KeyExchange2 {
    #[prost(uint32, optional, tag = "1")]
    pre_key_id: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    ephemeral_key: Option<Vec<u8>>,
}

impl Key {
    /// The pre key and the ephemeral key of a key exchange.
    fn exchange(&self) -> Option<(u32, Vec<u8>)> {
        if !self.is_key_exchange {
            return None;
        }
        if self.ns == NS_LEGACY {
            let exchange = KeyExchange::decode(self.bytes.get(1..)?).ok()?;
            return Some((exchange.pre_key_id.unwrap_or_default(), exchange.ephemeral_key?));
        }
        let exchange = KeyExchange2::decode(self.bytes.as_slice()).ok()?;
        Some((exchange.pre_key_id.unwrap_or_default(), exchange.ephemeral_key?))
    }

    /// Ratchet key and number of a legacy message.
    fn legacy_header(&self) -> Option<(Vec<u8>, u32)> {
        if self.ns != NS_LEGACY {
            return None;
        }
        let message = match self.is_key_exchange {
            true => KeyExchange::decode(self.bytes.get(1..)?).ok()?.message?,
            false => self.bytes.clone(),
        };
        let end = message.len().checked_sub(8)?;
        let message = RatchetMessage::decode(message.get(1..end)?).ok()?;
        Some((message.ratchet_key?, message.n.unwrap_or_default()))
    }
}
