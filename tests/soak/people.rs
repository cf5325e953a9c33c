//! Everybody else: devices of contacts and of the own account, and what is done with their lists by hand.

use crate::support::world::{Device, Mail, Read, RustDevice, World};
use crate::tested::Tested;
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::namespace::Namespace::{self, Legacy};
use omemo::stanza::{device_list, message};
use std::collections::BTreeMap;

/// What a stanza's key exchange for a device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub sender: u32,
    pub pre_key: u32,
}

impl Exchange {
    /// `None`: the stanza has none for it.
    pub fn of(xml: &str, device: u32) -> Option<Self> {
        let parsed = message::parse(xml.as_bytes()).unwrap();
        let key = parsed.keys.iter().find(|key| key.device == device && key.key_exchange)?;
        let exchange = KeyExchange::parse(parsed.namespace, key.bytes.as_ref()?).ok()?;
        Some(Self { sender: parsed.sender_device, pre_key: exchange.id().pre_key_id })
    }
}

/// A stanza that a device has taken from its inbox.
pub struct Heard {
    pub endpoint: usize,
    pub exchange: Option<Exchange>,
    pub read: Read,
    pub xml: String,
}

/// An account and its devices, the oldest first.
pub struct Person {
    pub jid: String,
    pub devices: Vec<RustDevice>,
}

pub fn list_xml(namespace: Namespace, ids: &[u32]) -> String {
    let name = if namespace == Legacy { "list" } else { "devices" };
    let devices: String = ids.iter().map(|id| format!("<device id='{id}'/>")).collect();
    format!("<{name} xmlns='{}'>{devices}</{name}>", namespace.uri())
}

pub fn listed(world: &World, jid: &str) -> Vec<u32> {
    let list = world.list(world.namespace(), jid);
    let list = list.and_then(|xml| device_list::parse(xml.as_bytes()).ok());
    list.map_or(Vec::new(), |list| list.devices.iter().map(|device| device.id).collect())
}

/// Somebody's client publishes the list without this device, and with nothing else than ids.
pub fn take_off(world: &World, namespace: Namespace, (jid, id): (&str, u32)) {
    let mut ids = listed(world, jid);
    ids.retain(|other| *other != id);
    world.publish_list(namespace.uri(), jid, &list_xml(namespace, &ids));
}

impl Person {
    pub fn new(world: &World, jid: &str, devices: usize) -> Self {
        let mut person = Self { jid: jid.to_owned(), devices: Vec::new() };
        (0..devices).for_each(|_| person.add_device(world));
        person
    }

    pub fn add_device(&mut self, world: &World) {
        self.devices.push(RustDevice::online(world, &self.jid));
    }

    /// The oldest device goes, its id from the list as well.
    pub fn remove_oldest(&mut self, world: &World, namespace: Namespace) {
        let oldest = self.devices.remove(0);
        let id = oldest.own_id();
        take_off(world, namespace, (&self.jid, id));
        world.delete_bundle(namespace.uri(), &self.jid, id);
        world.leave(oldest.endpoint());
    }

    /// Its devices take their mail: the newest lists that concern them, and what came out of the stanzas.
    pub fn take_mail(&self, world: &World, friend: &str) -> Vec<Heard> {
        let mut all = Vec::new();
        for device in &self.devices {
            let (mut lists, mut stanzas) = (BTreeMap::new(), Vec::new());
            while let Some(mail) = world.take(device.endpoint()) {
                match mail {
                    Mail::DeviceList { jid, xml, .. } => drop(lists.insert(jid, xml)),
                    Mail::Stanza { from, xml } => stanzas.push((from, xml)),
                }
            }
            for (jid, xml) in lists.iter().filter(|(jid, _)| **jid == self.jid || *jid == friend) {
                let _ = device.update_device_list(jid, xml);
            }
            device.go_on();
            for (from, xml) in &stanzas {
                let exchange = Exchange::of(xml, device.own_id());
                let read = Device::read(device, from, xml);
                all.push(Heard { endpoint: device.endpoint(), exchange, read, xml: xml.clone() });
                device.go_on();
            }
        }
        all
    }

    pub fn forget(&self) {
        self.devices.iter().for_each(Tested::forget);
    }
}
