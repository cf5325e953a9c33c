//! What the simulation knows for a fact because it did it: devices, who wrote what for whom, who read it, and what was done
//! to stores and trust.

use crate::tap::{Key, Seen, Tap, Used};
use omemo::manager::config::Habits;
use omemo::protocol::limits;
use omemo::protocol::namespace::Namespace;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What breaks the sessions of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Restored,
    Purged,
}

/// Something that broke sessions of a device: all, or those with one JID.
#[derive(Clone, Debug)]
struct Break {
    tick: u64,
    reason: Reason,
    with: Option<String>,
}

/// A device of an account, from its first login until it is thrown away.
pub struct Device {
    pub jid: String,
    pub id: u32,
    pub key: [u8; 32],
    pub namespaces: Vec<Namespace>,
    pub alive: bool,
    pub habits: Habits,
    /// What a key has that nobody has judged.
    pub default_level: &'static str,
    pub levels: HashMap<[u8; 32], &'static str>,
    /// Stanzas that its store has decrypted, and when.
    pub decrypted: BTreeMap<usize, u64>,
    breaks: Vec<Break>,
    /// When the copies were made on which it was put back.
    copies: Vec<u64>,
    /// When it retired all its sessions last.
    retired: u64,
}

/// A stanza that was written.
pub struct Written {
    pub sender: usize,
    /// The number of its text; `None`: an empty message.
    pub text: Option<usize>,
    pub namespace: Namespace,
    pub tick: u64,
    /// By the endpoint that it is for.
    pub keys: BTreeMap<usize, Key>,
}

/// A copy of what a device knew, to go with a backup of its store.
#[derive(Clone)]
pub struct Memory {
    tick: u64,
    /// What it had published: signed pre keys, and the highest id that a pre key may have.
    made: Vec<(Namespace, usize, u32)>,
    levels: HashMap<[u8; 32], &'static str>,
    decrypted: BTreeMap<usize, u64>,
    used: Vec<(Namespace, Used)>,
}

#[derive(Default)]
struct Chain {
    place: usize,
    most: u32,
}

/// The chains and sessions in one direction.
#[derive(Default)]
struct Direction {
    chains: HashMap<[u8; 32], Chain>,
    newest_read: usize,
    /// When something was written that needs more than what the other one's messages say: its bundle vouches for its key.
    written: Vec<u64>,
    exchanges: BTreeSet<[u8; 32]>,
    opened: BTreeSet<[u8; 32]>,
    /// Sessions that this direction's reader took up: when the exchange was first seen, and from when on it was used.
    fresh: Vec<(u64, u64)>,
    /// What was read: when it was written, and when it was read.
    reads: Vec<(u64, u64)>,
}

/// See the module.
#[derive(Default)]
pub struct Facts {
    pub devices: BTreeMap<usize, Device>,
    by_id: HashMap<u32, usize>,
    pub stanzas: Vec<Written>,
    directions: HashMap<(usize, usize, Namespace), Direction>,
    pub simultaneous: usize,
    pub late_last: usize,
}

/// A key without its sign, which nobody knows in legacy.
fn unsigned(mut key: [u8; 32]) -> [u8; 32] {
    key[31] &= 0x7f;
    key
}

impl Facts {
    pub fn add(&mut self, endpoint: usize, jid: &str, own: (u32, [u8; 32]), namespaces: &[Namespace]) {
        let (id, key) = own;
        let device = Device {
            jid: jid.to_owned(),
            id,
            key,
            namespaces: namespaces.to_vec(),
            alive: true,
            habits: Habits::Own,
            default_level: "trusted",
            levels: HashMap::new(),
            decrypted: BTreeMap::new(),
            breaks: Vec::new(),
            copies: Vec::new(),
            retired: 0,
        };
        self.devices.insert(endpoint, device);
        self.by_id.insert(id, endpoint);
    }

    pub fn endpoint_of(&self, id: u32) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    // -- trust

    pub fn level(&self, of: usize, key: &[u8; 32]) -> &'static str {
        let device = &self.devices[&of];
        device.levels.get(&unsigned(*key)).copied().unwrap_or(device.default_level)
    }

    pub fn judge(&mut self, of: usize, key: [u8; 32], level: &'static str) {
        self.devices.get_mut(&of).unwrap().levels.insert(unsigned(key), level);
    }

    pub fn distrusts(&self, of: usize, whom: usize) -> bool {
        self.level(of, &self.devices[&whom].key) == "distrusted"
    }

    /// The devices of an account that a sender has to serve if it can.
    pub fn owed(&self, sender: usize, jid: &str) -> Vec<usize> {
        let namespaces = &self.devices[&sender].namespaces;
        let owed = |(endpoint, device): &(&usize, &Device)| {
            let common = device.namespaces.iter().any(|of| namespaces.contains(of));
            let other = **endpoint != sender && device.jid == jid;
            device.alive && other && common && !self.distrusts(sender, **endpoint)
        };
        self.devices.iter().filter(owed).map(|(endpoint, _)| *endpoint).collect()
    }

    // -- stores

    pub fn remember(&self, endpoint: usize, tap: &Tap) -> Memory {
        let device = &self.devices[&endpoint];
        let made = |namespace: &Namespace| {
            let published = tap.published.get(&(*namespace, device.id));
            published.map_or((*namespace, 0, 0), |published| {
                (*namespace, published.signed.len(), published.may_have())
            })
        };
        let used = |namespace: &Namespace| {
            let used = tap.published.get(&(*namespace, device.id)).map(|published| published.used.clone());
            (*namespace, used.unwrap_or_default())
        };
        Memory {
            tick: tap.tick,
            made: device.namespaces.iter().map(made).collect(),
            levels: device.levels.clone(),
            decrypted: device.decrypted.clone(),
            used: device.namespaces.iter().map(used).collect(),
        }
    }

    /// Whether what stands on the server shows that a store is an older copy.
    pub fn shows(&self, endpoint: usize, memory: &Memory, tap: &Tap) -> bool {
        let id = self.devices[&endpoint].id;
        memory.made.iter().any(|(namespace, signed, highest)| {
            let published = tap.published.get(&(*namespace, id));
            published.is_some_and(|published| {
                published.signed.len() > *signed || published.now.last().is_some_and(|last| last > highest)
            })
        })
    }

    /// A device runs on an older copy of its store from now on.
    pub fn restore(&mut self, endpoint: usize, memory: Memory, tap: &mut Tap) {
        let tick = tap.tick();
        tap.restored.insert(endpoint);
        tap.forget_lists(endpoint, None);
        let device = self.devices.get_mut(&endpoint).unwrap();
        for (namespace, used) in memory.used {
            tap.published.entry((namespace, device.id)).or_default().used = used;
        }
        (device.levels, device.decrypted) = (memory.levels, memory.decrypted);
        device.copies.push(memory.tick);
        device.breaks.push(Break { tick, reason: Reason::Restored, with: None });
    }

    pub fn was_restored(&self, endpoint: usize) -> bool {
        self.devices[&endpoint].breaks.iter().any(|cause| cause.reason == Reason::Restored)
    }

    /// Whether a device has decrypted this message to it before: an empty one is sent again if nobody said that it was.
    pub fn has_decrypted(&self, stanza: usize, reader: usize) -> bool {
        let is_same = |other: &usize| {
            let (one, other) = (&self.stanzas[stanza], &self.stanzas[*other]);
            let bytes = |written: &Written| written.keys.get(&reader).map(|key| key.bytes.clone());
            one.sender == other.sender && bytes(one) == bytes(other)
        };
        self.devices[&reader].decrypted.keys().any(is_same)
    }

    /// Whether a device was put back on a copy that was made before this, so that it does not know what it did then.
    pub fn has_forgotten(&self, endpoint: usize, tick: u64) -> bool {
        self.devices[&endpoint].copies.iter().any(|copy| *copy < tick)
    }

    /// Whether a device has forgotten another one's account since.
    pub fn purged(&self, endpoint: usize, other: usize, since: u64) -> bool {
        let jid = Some(&self.devices[&other].jid);
        self.devices[&endpoint].breaks.iter().any(|cause| cause.tick > since && cause.with.as_ref() == jid)
    }

    /// A device has retired all its sessions.
    pub fn retire_all(&mut self, endpoint: usize, tap: &mut Tap) {
        self.devices.get_mut(&endpoint).unwrap().retired = tap.tick();
    }

    /// Whether a device had written to another one at a time, and has kept the session since.
    pub fn had_session(&self, from: usize, to: usize, at: u64) -> bool {
        let (device, jid) = (&self.devices[&from], &self.devices[&to].jid);
        let concerns = |cause: &&Break| cause.with.as_ref().is_none_or(|with| with == jid);
        let broken = device.breaks.iter().filter(concerns).map(|cause| cause.tick).max();
        let since = device.retired.max(broken.unwrap_or_default());
        let directions = Namespace::ALL.map(|namespace| self.directions.get(&(from, to, namespace)));
        let mut written = directions.into_iter().flatten().flat_map(|direction| &direction.written);
        written.any(|tick| (since + 1..=at).contains(tick))
    }

    pub fn purge(&mut self, endpoint: usize, jid: &str, tap: &mut Tap) {
        let tick = tap.tick();
        tap.forget_lists(endpoint, Some(jid));
        let device = self.devices.get_mut(&endpoint).unwrap();
        device.breaks.push(Break { tick, reason: Reason::Purged, with: Some(jid.to_owned()) });
    }

    /// What broke the session on which a device wrote to another: none had been begun since, or what the other wrote before
    /// that brought an older one back.
    pub fn broken(&self, from: usize, to: usize, tick: u64) -> Option<Reason> {
        let of = |from, to| {
            let directions = Namespace::ALL.map(|namespace| self.directions.get(&(from, to, namespace)));
            directions.into_iter().flatten()
        };
        let is_open = |cause: u64| {
            let fresh = of(from, to).flat_map(|direction| &direction.fresh);
            let fresh =
                fresh.filter(|(begun, used)| *begun > cause && *used <= tick).map(|(_, used)| *used).max();
            let stale = of(to, from).flat_map(|direction| &direction.reads);
            let stale = stale
                .filter(|(written, read)| *written <= cause && *read <= tick)
                .map(|(_, read)| *read)
                .max();
            fresh.is_none_or(|fresh| stale.is_some_and(|stale| stale > fresh))
        };
        [(from, to), (to, from)].into_iter().find_map(|(one, other)| {
            let jid = &self.devices[&other].jid;
            let concerns = |cause: &&Break| cause.with.as_ref().is_none_or(|with| with == jid);
            let mut breaks = self.devices[&one].breaks.iter().filter(concerns);
            breaks.find(|cause| is_open(cause.tick)).map(|cause| cause.reason)
        })
    }

    // -- chains and sessions

    /// Whether a device keeps a single session. Which one that is nobody else knows, since what it sends on it may wait.
    pub fn has_single_sessions(&self, reader: usize) -> bool {
        self.devices[&reader].habits == Habits::SingleSession
    }

    /// Whether the chain of a stanza had more gaps, as its reader read it, than are remembered of a chain (docs/limits.md).
    pub fn had_many_gaps(&self, stanza: usize, reader: usize) -> bool {
        let (written, key) = (&self.stanzas[stanza], &self.stanzas[stanza].keys[&reader]);
        let numbers = |(other, tick): (&usize, &u64)| {
            let other = &self.stanzas[*other];
            let is_same = other.sender == written.sender && other.namespace == written.namespace;
            other
                .keys
                .get(&reader)
                .filter(|other| is_same && other.ratchet == key.ratchet)
                .map(|key| (*tick, key.n))
        };
        let mut read: Vec<(u64, u32)> = self.devices[&reader].decrypted.iter().filter_map(numbers).collect();
        read.sort_unstable();
        let chain = self.directions.get(&(written.sender, reader, written.namespace));
        let most = chain.and_then(|chain| chain.chains.get(&key.ratchet)).map_or(key.n, |chain| chain.most);
        let mut known = BTreeSet::new();
        read.into_iter().any(|(_, n)| {
            known.insert(n);
            let ends = known.iter().filter(|n| **n < most && !known.contains(&(**n + 1))).count();
            ends + usize::from(!known.contains(&0)) > limits::CLOSED_CHAIN_RANGES
        })
    }

    // -- messages

    /// A stanza was written; its number must be the network's.
    pub fn write(&mut self, sender: usize, text: Option<usize>, seen: Seen, tap: &mut Tap) {
        let namespace = seen.namespace;
        let mut keys = BTreeMap::new();
        for key in seen.keys {
            let Some(endpoint) = self.endpoint_of(key.device) else { continue };
            if let Some(exchange) = &key.exchange {
                self.note_begun(sender, endpoint, namespace, exchange.ephemeral);
            }
            let direction = self.directions.entry((sender, endpoint, namespace)).or_default();
            let place = direction.chains.len();
            let chain = direction.chains.entry(key.ratchet).or_insert(Chain { place, ..Chain::default() });
            chain.most = chain.most.max(key.n);
            if text.is_some() || key.exchange.is_some() {
                direction.written.push(tap.tick);
            }
            keys.insert(endpoint, key);
        }
        self.stanzas.push(Written { sender, text, namespace, tick: tap.tick, keys });
    }

    /// Both begin at the same time if the other's key exchange is on its way.
    fn note_begun(&mut self, sender: usize, to: usize, namespace: Namespace, ephemeral: [u8; 32]) {
        let direction = self.directions.entry((sender, to, namespace)).or_default();
        let is_new = direction.exchanges.insert(ephemeral);
        let other = self.directions.entry((to, sender, namespace)).or_default();
        if is_new && other.exchanges.len() > other.opened.len() {
            self.simultaneous += 1;
        }
    }

    /// A device has read a stanza that is for it.
    pub fn note_read(&mut self, stanza: usize, reader: usize, tap: &mut Tap, now_ms: i64) {
        let tick = tap.tick();
        let (sender, namespace) = (self.stanzas[stanza].sender, self.stanzas[stanza].namespace);
        let (key, written) = (self.stanzas[stanza].keys[&reader].clone(), self.stanzas[stanza].tick);
        let device = self.devices.get_mut(&reader).unwrap();
        device.decrypted.insert(stanza, tick);
        let direction = self.directions.entry((sender, reader, namespace)).or_default();
        direction.reads.push((written, tick));
        if let Some(chain) = direction.chains.get_mut(&key.ratchet) {
            if chain.place < direction.newest_read && key.n == chain.most {
                self.late_last += 1;
            }
            direction.newest_read = direction.newest_read.max(chain.place);
        }
        if let Some(exchange) = &key.exchange {
            tap.note_opened((namespace, device.id), exchange, now_ms);
            direction.opened.insert(exchange.ephemeral);
            let begun = tap.begun[&exchange.ephemeral];
            if !direction.fresh.iter().any(|(known, _)| *known == begun) {
                direction.fresh.push((begun, begun));
                self.directions.entry((reader, sender, namespace)).or_default().fresh.push((begun, tick));
            }
        }
    }
}
