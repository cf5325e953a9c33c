//! The tap on the wire, outside all stores: it reads what devices publish and send, holds it against I1 and I10, and fails
//! requests where the script wants it.

use crate::rule::{Failure, Rule};
use crate::support::world::{Answer, Kind, Request};
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::{bundle, device_list, message};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// I10: a month, the longest that a signed pre key is published.
const SIGNED_PRE_KEY_MS: i64 = 31 * 86_400_000;
/// When an answer has come for sure.
const LATEST_MS: i64 = 500;

/// What a key exchange names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub ephemeral: [u8; 32],
    pub pre_key: u32,
}

/// What a message holds for one device.
#[derive(Clone, Debug)]
pub struct Key {
    pub device: u32,
    pub ratchet: [u8; 32],
    pub n: u32,
    pub exchange: Option<Exchange>,
    pub bytes: Vec<u8>,
}

/// A message as it is on the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    pub namespace: Namespace,
    pub keys: Vec<Key>,
}

/// Reads a stanza.
pub fn read(xml: &str) -> Seen {
    let message = message::parse(xml.as_bytes()).expect("what a device wrote can be read");
    let namespace = message.namespace;
    let key = |key: omemo::protocol::message::MessageKey| {
        let bytes = key.bytes.expect("a key has bytes");
        let (ratchet, exchange) = if key.key_exchange {
            let exchange = KeyExchange::parse(namespace, &bytes).expect("a key exchange can be read");
            let id = exchange.id();
            let named = Exchange { ephemeral: *id.ephemeral.as_bytes(), pre_key: id.pre_key_id };
            (exchange.message().header(), Some(named))
        } else {
            (RatchetMessage::parse(namespace, &bytes).expect("a message can be read").header(), None)
        };
        Key { device: key.device, ratchet: *ratchet.ratchet_key.as_bytes(), n: ratchet.n, exchange, bytes }
    };
    Seen { namespace, keys: message.keys.into_iter().map(key).collect() }
}

/// An answer that must have come counts as learnt.
fn settle(learnt: &mut Learnt, now_ms: i64) {
    if let Some((tick, _)) = learnt.1.filter(|(_, at_ms)| now_ms - at_ms > LATEST_MS) {
        *learnt = (learnt.0.max(tick), None);
    }
}

/// By pre key, the ephemeral keys of the exchanges that used it up.
pub type Used = BTreeMap<u32, Vec<[u8; 32]>>;

/// A message key on the wire: who sends to whom, on which ratchet key, with which number.
type Header = (Namespace, usize, u32, [u8; 32], u32);

/// A key that was used twice: by whom, to which device, and when first.
#[derive(Clone, Copy, Debug)]
pub struct Reused {
    pub sender: usize,
    pub id: u32,
    pub first: u64,
}

/// When a list was learnt, and when and at what time it was asked for since.
type Learnt = (u64, Option<(u64, i64)>);

/// What a device has published in a namespace.
#[derive(Clone, Default)]
pub struct Published {
    /// Signed pre keys in the order in which they came, with when that was.
    pub signed: Vec<(u32, [u8; 32], i64)>,
    pre_keys: BTreeMap<u32, [u8; 32]>,
    pub now: BTreeSet<u32>,
    /// Pre keys that a bundle was published without.
    pub removed: BTreeSet<u32>,
    pub used: Used,
    /// When a pre key was used up first.
    pub used_at: BTreeMap<u32, i64>,
}

impl Published {
    /// The highest id of a pre key that may have been made: for each one that was used there may be another already.
    pub fn may_have(&self) -> u32 {
        let waiting = self.now.iter().filter(|id| self.used.contains_key(id)).count();
        self.pre_keys.last_key_value().map_or(0, |(id, _)| *id) + waiting as u32
    }
}

/// See the module.
#[derive(Default)]
pub struct Tap {
    /// Counts everything that is sent or read.
    pub tick: u64,
    /// What was sent under each key, and when first.
    headers: HashMap<Header, (Vec<u8>, u64)>,
    /// An older copy of a store may use keys again for a while.
    pub reused: Vec<Reused>,
    pub wrong: Vec<Failure>,
    /// Empty messages that were sent: by whom, to whom.
    pub sent: Vec<(usize, String, String)>,
    pub published: HashMap<(Namespace, u32), Published>,
    /// When an id came upon the list of its account.
    pub announced: HashMap<(Namespace, String, u32), u64>,
    /// When a device last learnt a list, and when it last asked for it: the answer may take a while.
    learnt: HashMap<(usize, Namespace, String), Learnt>,
    /// When a bundle was last refused to a device.
    pub refused: HashMap<(usize, u32), i64>,
    /// The next requests of an endpoint that fail, and how.
    failing: HashMap<usize, (Answer, usize)>,
    /// Devices whose own bundle the server always shows: a server that hides it hides an older copy of a store as well
    /// (docs/sessions.md), and then nothing holds.
    pub restored: BTreeSet<usize>,
    pub failed: usize,
    /// A device whose bundle the server hides, of which nobody knows: see `spoilt.rs`.
    pub hidden: Option<u32>,
    /// The first time an ephemeral key was seen.
    pub begun: HashMap<[u8; 32], u64>,
}

impl Tap {
    pub fn tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// The next requests of an endpoint fail so.
    pub fn fail(&mut self, endpoint: usize, answer: Answer, count: usize) {
        self.failing.insert(endpoint, (answer, count));
    }

    pub fn fail_nothing(&mut self) {
        self.failing.clear();
    }

    /// A request on its way to the server; what takes the place of the server's answer.
    pub fn hear(&mut self, request: &Request) -> Option<Answer> {
        if let Some((answer, left)) = self.failing.get_mut(&request.endpoint).filter(|(_, left)| *left > 0) {
            let bundle = request.kind == Kind::FetchBundle;
            let spared = bundle && self.restored.contains(&request.endpoint);
            if (*answer != Answer::Reject(1) || bundle) && !spared {
                *left -= 1;
                let answer = answer.clone();
                self.failed += 1;
                if request.kind == Kind::FetchBundle {
                    self.refused.insert((request.endpoint, request.device), request.at_ms);
                }
                return Some(answer);
            }
        }
        if request.kind == Kind::FetchBundle && self.hidden == Some(request.device) {
            return Some(Answer::Reject(1));
        }
        let xml = request.xml.as_deref().unwrap_or_default();
        let namespace = Namespace::from_uri(&request.ns);
        match request.kind {
            Kind::SendMessage => {
                self.sent.push((request.endpoint, request.jid.clone(), xml.to_owned()));
                return Some(Answer::Done);
            }
            Kind::PublishList => self.note_list(namespace.unwrap(), &request.jid, xml),
            Kind::PublishBundle => self.note_bundle(namespace.unwrap(), request, xml),
            Kind::FetchList => {
                let tick = self.tick();
                let at = (request.endpoint, namespace.unwrap(), request.jid.clone());
                let learnt = self.learnt.entry(at).or_default();
                settle(learnt, request.at_ms);
                learnt.1 = Some((tick, request.at_ms));
            }
            Kind::FetchBundle | Kind::DeleteBundle => (),
        }
        None
    }

    /// A list was pushed to a device.
    pub fn note_learnt(&mut self, endpoint: usize, namespace: Namespace, jid: &str) {
        let tick = self.tick();
        self.learnt.entry((endpoint, namespace, jid.to_owned())).or_default().0 = tick;
    }

    /// A device has forgotten the lists of an account, or of all.
    pub fn forget_lists(&mut self, endpoint: usize, jid: Option<&str>) {
        self.learnt.retain(|(of, _, name), _| *of != endpoint || jid.is_some_and(|jid| jid != name));
    }

    /// Nothing that a device asked is answered any more; answers that were due by a time were given.
    pub fn forget_asked(&mut self, endpoint: usize, given_ms: i64) {
        for (_, learnt) in self.learnt.iter_mut().filter(|((of, ..), _)| *of == endpoint) {
            settle(learnt, given_ms);
            learnt.1 = None;
        }
    }

    /// Whether a device knew for sure that another one had been announced.
    pub fn knew(&mut self, endpoint: usize, of: (Namespace, &str, u32), now_ms: i64) -> bool {
        let (namespace, jid, id) = of;
        let announced = self.announced.get(&(namespace, jid.to_owned(), id)).copied();
        let learnt = self.learnt.get_mut(&(endpoint, namespace, jid.to_owned()));
        let learnt = learnt.map(|learnt| {
            settle(learnt, now_ms);
            learnt.0
        });
        announced.is_some_and(|announced| learnt.is_some_and(|learnt| learnt >= announced))
    }

    /// A list was published.
    pub fn note_list(&mut self, namespace: Namespace, jid: &str, xml: &str) {
        let list = device_list::parse(xml.as_bytes()).expect("a list that was published can be read");
        let tick = self.tick();
        let ids: BTreeSet<u32> = list.devices.iter().map(|device| device.id).collect();
        self.announced.retain(|(of, name, id), _| *of != namespace || name != jid || ids.contains(id));
        for id in ids {
            self.announced.entry((namespace, jid.to_owned(), id)).or_insert(tick);
        }
    }

    fn note_bundle(&mut self, namespace: Namespace, request: &Request, xml: &str) {
        let bundle = bundle::parse(xml.as_bytes(), Some(request.device)).expect("a bundle can be read");
        let published = self.published.entry((namespace, request.device)).or_default();
        let mut wrong = Vec::new();
        let ids: BTreeSet<u32> = bundle.pre_keys.iter().map(|key| key.id).collect();
        if !(25..=100).contains(&ids.len()) || ids.len() != bundle.pre_keys.len() {
            wrong.push(format!("{} pre keys are published", bundle.pre_keys.len()));
        }
        for key in &bundle.pre_keys {
            if published.pre_keys.insert(key.id, key.key).is_some_and(|before| before != key.key) {
                wrong.push(format!("pre key {} stands for two keys", key.id));
            }
            if published.used.contains_key(&key.id) {
                wrong.push(format!("pre key {} was used and is published", key.id));
            }
        }
        let (id, key) = (bundle.signed_pre_key_id, bundle.signed_pre_key);
        match published.signed.iter().find(|(known, ..)| *known == id) {
            Some((_, before, _)) if *before != key => {
                wrong.push(format!("signed pre key {id} stands for two keys"));
            }
            Some(_) => (),
            None => published.signed.push((id, key, request.at_ms)),
        }
        published.removed.extend(published.now.difference(&ids).copied().collect::<Vec<_>>());
        published.now = ids;
        let name = format!("bundle of {}", request.endpoint);
        self.wrong
            .extend(wrong.into_iter().map(|what| Failure::new(Rule::PreKeys, format!("{name}: {what}"))));
    }

    /// The signed pre key that a device has on the server is not too old.
    pub fn check_age(&mut self, namespace: Namespace, device: u32, now_ms: i64) {
        let Some(published) = self.published.get(&(namespace, device)) else { return };
        let old = published.signed.last().is_some_and(|(.., at_ms)| now_ms - at_ms > SIGNED_PRE_KEY_MS);
        if old {
            let what = format!("the signed pre key of {device} is older than a month");
            self.wrong.push(Failure::new(Rule::PreKeys, what));
        }
    }

    /// A message is sent: I1.
    pub fn note_message(&mut self, sender: usize, seen: &Seen) {
        let tick = self.tick();
        for key in &seen.keys {
            if let Some(exchange) = &key.exchange {
                self.begun.entry(exchange.ephemeral).or_insert(tick);
            }
            let at = (seen.namespace, sender, key.device, key.ratchet, key.n);
            let (bytes, first) = self.headers.entry(at).or_insert_with(|| (key.bytes.clone(), tick));
            if *bytes != key.bytes {
                self.reused.push(Reused { sender, id: key.device, first: *first });
                bytes.clone_from(&key.bytes);
            }
        }
    }

    /// A key exchange was opened by a device.
    pub fn note_opened(&mut self, at: (Namespace, u32), exchange: &Exchange, now_ms: i64) {
        let published = self.published.entry(at).or_default();
        published.used_at.entry(exchange.pre_key).or_insert(now_ms);
        let used = published.used.entry(exchange.pre_key).or_default();
        if !used.contains(&exchange.ephemeral) {
            used.push(exchange.ephemeral);
        }
    }
}
