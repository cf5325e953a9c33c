//! The reference: what the client said last, by the order of its calls.

use crate::cast::{Actor, CAST};
use omemo::protocol::address::BareJid;
use omemo::protocol::namespace::Namespace;
use std::collections::{BTreeMap, BTreeSet};

/// What a call has said. An answer counts from its call on, although it is applied later.
#[derive(Clone, Debug)]
pub enum Fact {
    List(Namespace, BareJid, BTreeSet<u32>),
    /// The device's bundle shows one of its identities.
    Bundle(Namespace, u32, usize),
    Level(u32, usize, String),
    /// The device's other identity is accepted.
    Accept(u32, usize),
}

/// How well a key is vouched for: which identity, where it was seen, and the one that is shown instead, with where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    pub confirmed: Option<usize>,
    pub seen: BTreeSet<Namespace>,
    /// At most one a namespace, the newest last.
    pub conflicts: Vec<(usize, Namespace)>,
}

impl Key {
    fn see(&mut self, namespace: Namespace, identity: usize) {
        match self.confirmed {
            None => (self.confirmed, self.seen) = (Some(identity), BTreeSet::from([namespace])),
            Some(known) if known == identity => {
                self.seen.insert(namespace);
                self.conflicts.retain(|(_, shown_in)| *shown_in != namespace);
            }
            Some(_) => {
                self.conflicts.retain(|(_, shown_in)| *shown_in != namespace);
                self.conflicts.push((identity, namespace));
            }
        }
    }

    /// Whether nothing may be sent to the device in a namespace.
    pub fn blocks(&self, namespace: Namespace, active: &BTreeSet<Namespace>) -> bool {
        self.conflicts.iter().any(|(_, shown_in)| match self.seen.contains(shown_in) {
            true => *shown_in == namespace || active.contains(shown_in),
            false => *shown_in == namespace,
        })
    }
}

/// What holds, each with the number of the call that said it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub order: Vec<Namespace>,
    pub default_level: String,
    lists: BTreeMap<(Namespace, String), (u64, BTreeSet<u32>)>,
    pub keys: BTreeMap<u32, Key>,
    bundle_stamps: BTreeMap<(u32, Namespace), u64>,
    levels: BTreeMap<(u32, usize), (u64, String)>,
    pending: Vec<(u64, Fact)>,
    calls: u64,
}

impl Model {
    pub fn new(order: &[Namespace], default_level: &str) -> Model {
        Model { order: order.to_vec(), default_level: default_level.to_owned(), ..Model::default() }
    }

    fn stamp(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// A call whose effect is there when it returns.
    pub fn say(&mut self, fact: Fact) {
        let stamp = self.stamp();
        self.apply(stamp, fact);
    }

    /// An answer: its effect comes with the next run.
    pub fn note(&mut self, fact: Fact) {
        let stamp = self.stamp();
        self.pending.push((stamp, fact));
    }

    /// Decisions of a request that is answered: each has the number of its own call.
    pub fn note_at(&mut self, stamp: u64, fact: Fact) {
        self.pending.push((stamp, fact));
    }

    /// Takes a number for a call whose fact is told later.
    pub fn number(&mut self) -> u64 {
        self.stamp()
    }

    /// A run applies all answers.
    pub fn settle(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by_key(|(stamp, _)| *stamp);
        pending.into_iter().for_each(|(stamp, fact)| self.apply(stamp, fact));
    }

    /// The process ended: answers that were not applied are lost.
    pub fn forget_pending(&mut self) {
        self.pending.clear();
    }

    fn apply(&mut self, stamp: u64, fact: Fact) {
        match fact {
            Fact::List(namespace, jid, ids) => {
                let slot = self.lists.entry((namespace, jid.as_str().to_owned())).or_default();
                if slot.0 <= stamp {
                    *slot = (stamp, ids);
                }
            }
            Fact::Bundle(namespace, device, identity) => {
                let last = self.bundle_stamps.entry((device, namespace)).or_default();
                if *last <= stamp {
                    *last = stamp;
                    self.keys.entry(device).or_default().see(namespace, identity);
                }
            }
            Fact::Level(device, identity, level) => {
                let slot = self.levels.entry((device, identity)).or_default();
                if slot.0 <= stamp {
                    *slot = (stamp, level);
                }
            }
            Fact::Accept(device, identity) => {
                let key = self.keys.entry(device).or_default();
                let (same, conflicts): (Vec<_>, Vec<_>) =
                    key.conflicts.iter().partition(|(shown, _)| *shown == identity);
                let seen = same.into_iter().map(|(_, namespace)| namespace).collect();
                *key = Key { confirmed: Some(identity), seen, conflicts };
                Namespace::ALL.into_iter().for_each(|namespace| {
                    self.bundle_stamps.insert((device, namespace), stamp);
                });
                self.levels.insert((device, identity), (stamp, self.default_level.clone()));
            }
        }
    }

    /// Returns the ids that a JID announced last.
    pub fn list(&self, namespace: Namespace, jid: &BareJid) -> BTreeSet<u32> {
        let list = self.lists.get(&(namespace, jid.as_str().to_owned()));
        list.map(|(_, ids)| ids.clone()).unwrap_or_default()
    }

    /// Returns where a device is announced.
    pub fn active(&self, actor: &Actor) -> BTreeSet<Namespace> {
        let named = |namespace: &&Namespace| self.list(**namespace, &actor.jid).contains(&actor.id);
        self.order.iter().filter(named).copied().collect()
    }

    /// Returns the namespace that serves a device.
    pub fn delivery(&self, actor: &Actor) -> Option<Namespace> {
        let active = self.active(actor);
        self.order.iter().copied().find(|namespace| active.contains(namespace))
    }

    pub fn key(&self, device: u32) -> Key {
        self.keys.get(&device).cloned().unwrap_or_default()
    }

    pub fn level(&self, device: u32, identity: usize) -> &str {
        self.levels.get(&(device, identity)).map_or(&self.default_level, |(_, level)| level)
    }

    /// Returns why a device gets nothing in a namespace; empty: it may be served.
    pub fn refusals(&self, actor: &Actor, namespace: Namespace) -> BTreeSet<&'static str> {
        let (active, key) = (self.active(actor), self.key(actor.id));
        let mut refusals = BTreeSet::new();
        match key.confirmed.map(|identity| self.level(actor.id, identity)) {
            None => refusals.insert("no bundle vouches for its key"),
            Some("trusted") => false,
            Some(_) => refusals.insert("its key is not trusted"),
        };
        if key.blocks(namespace, &active) {
            refusals.insert("it shows another key");
        }
        if !active.contains(&namespace) {
            refusals.insert("it was taken off its list");
        }
        refusals
    }

    /// Returns the devices of the cast that a JID announces.
    pub fn announced(&self, jid: &BareJid) -> impl Iterator<Item = &'static Actor> {
        CAST.iter().filter(move |actor| actor.jid == *jid && self.delivery(actor).is_some())
    }
}
