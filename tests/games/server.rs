//! The servers: nodes of the contacts, and the own server, whose results and pushes come in the order in which it has
//! processed what they are about.

use crate::cast::{Actor, CAST, OWN};
use crate::world::jid;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::address::BareJid;
use omemo::protocol::bundle::Bundle;
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::namespace::Namespace;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What the own server sends.
pub enum Stanza {
    Result(u64, Answer),
    Push(DeviceList),
}

/// The bundle of one device as it stands on its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    pub identity: usize,
    pub version: usize,
    pub present: bool,
}

/// See the module.
#[derive(Default)]
pub struct Server {
    pub lists: HashMap<(Namespace, BareJid), DeviceList>,
    pub bundles: HashMap<(u32, Namespace), Published>,
    pub own_bundles: HashMap<(Namespace, u32), Bundle>,
    /// What this device has asked to be published, the last one at the end.
    pub ours: HashMap<Namespace, Vec<DeviceList>>,
    /// What each other device of the own account announced last.
    pub foreign: BTreeMap<(Namespace, u32), ListedDevice>,
    pub inbox: VecDeque<Stanza>,
}

impl Server {
    /// Returns a list as it stands on the server.
    pub fn list(&self, namespace: Namespace, jid: &BareJid) -> Option<DeviceList> {
        self.lists.get(&(namespace, jid.clone())).cloned()
    }

    pub fn published(&self, actor: &Actor, namespace: Namespace) -> Published {
        let none = Published { identity: 0, version: 0, present: false };
        self.bundles.get(&(actor.id, namespace)).copied().unwrap_or(none)
    }

    /// Returns what a fetch would get now; `None`: it is no fetch.
    pub fn look(&self, request: &Request) -> Option<Answer> {
        let missing = Answer::Rejected(Reason::NotFound);
        Some(match request {
            Request::FetchDeviceList { namespace, jid } => {
                self.list(*namespace, jid).map_or(missing, Answer::DeviceList)
            }
            Request::FetchBundle { namespace, jid, device } => {
                let actor = CAST.iter().find(|actor| actor.id == device.get() && actor.jid == *jid);
                match actor {
                    Some(actor) => {
                        let Published { identity, version, present } = self.published(actor, *namespace);
                        let bundle = || Answer::Bundle(actor.bundle(identity, *namespace, version));
                        if present { bundle() } else { missing }
                    }
                    None if jid.as_str() == OWN => self
                        .own_bundles
                        .get(&(*namespace, device.get()))
                        .map_or(missing, |bundle| Answer::Bundle(bundle.clone())),
                    None => missing,
                }
            }
            _ => return None,
        })
    }

    /// Processes a publication: the node changes, and everybody is told.
    pub fn publish(&mut self, request: &Request) {
        match request {
            Request::PublishDeviceList { list } => {
                self.lists.insert((list.namespace, jid(OWN)), list.clone());
            }
            Request::PublishBundle { device, bundle } => {
                self.own_bundles.insert((bundle.namespace, device.get()), bundle.clone());
            }
            Request::DeleteBundle { namespace, device } => {
                self.own_bundles.remove(&(*namespace, device.get()));
            }
            _ => (),
        }
    }

    /// Another device of the own account writes the list: its own entry anew, and those of the others as it knows them.
    /// It keeps this device's entry as it finds it.
    pub fn write_own_list(&mut self, namespace: Namespace, own: Option<u32>) -> DeviceList {
        let before = self.list(namespace, &jid(OWN)).unwrap_or_else(|| DeviceList::new(namespace));
        let ours = before.devices.iter().filter(|device| Some(device.id) == own).cloned();
        let foreign = self.foreign.iter().filter(|((of, _), _)| *of == namespace);
        let list = DeviceList::of(namespace, ours.chain(foreign.map(|(_, entry)| entry.clone())).collect());
        self.lists.insert((namespace, jid(OWN)), list.clone());
        list
    }
}
