//! What PEP nodes hold, in whatever form; and a server of typed items, for tests of the Rust face alone.

use super::rust::RustDevice;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::address::{BareJid, DeviceId};
use omemo::protocol::bundle::Bundle;
use omemo::protocol::device_list::DeviceList;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

/// The items of all accounts: a list a namespace and JID, a bundle a namespace, JID and device.
#[derive(Clone)]
pub struct Nodes<N, J, L, B> {
    pub lists: HashMap<(N, J), L>,
    pub bundles: HashMap<(N, J, u32), B>,
}

impl<N, J, L, B> Default for Nodes<N, J, L, B> {
    fn default() -> Self {
        Self { lists: HashMap::new(), bundles: HashMap::new() }
    }
}

/// PEP nodes of typed items, and messages on their way.
pub struct Server {
    /// What everybody speaks unless a test says otherwise.
    pub namespace: Namespace,
    pub nodes: Nodes<Namespace, BareJid, DeviceList, Bundle>,
    pub mail: Vec<(BareJid, BareJid, Message)>,
}

impl Deref for Server {
    type Target = Nodes<Namespace, BareJid, DeviceList, Bundle>;

    fn deref(&self) -> &Self::Target {
        &self.nodes
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.nodes
    }
}

impl Server {
    pub fn of(namespace: Namespace) -> Server {
        Server { namespace, nodes: Nodes::default(), mail: Vec::new() }
    }

    pub fn answer(&mut self, device: &RustDevice, request: &Request) -> Answer {
        let own = device.jid.clone();
        let missing = Answer::Rejected(Reason::NotFound);
        match request.clone() {
            Request::FetchDeviceList { namespace, jid } => {
                self.lists.get(&(namespace, jid)).map_or(missing, |list| Answer::DeviceList(list.clone()))
            }
            Request::FetchBundle { namespace, jid, device } => self
                .bundles
                .get(&(namespace, jid, device.get()))
                .map_or(missing, |bundle| Answer::Bundle(bundle.clone())),
            Request::PublishDeviceList { list } => {
                self.lists.insert((list.namespace, own), list);
                Answer::Done
            }
            Request::PublishBundle { device, bundle } => {
                self.bundles.insert((bundle.namespace, own, device.get()), bundle);
                Answer::Done
            }
            Request::DeleteBundle { namespace, device } => {
                self.bundles.remove(&(namespace, own, device.get()));
                Answer::Done
            }
            Request::SendMessage { jid, message } => {
                self.mail.push((own, jid, message));
                Answer::Done
            }
            Request::DecideTrust { .. } => Answer::Done,
        }
    }

    pub fn list(&self, jid: &BareJid) -> Vec<u32> {
        let list = self.lists.get(&(self.namespace, jid.clone()));
        list.map_or(Vec::new(), |list| list.devices.iter().map(|device| device.id).collect())
    }

    pub fn bundle(&self, device: &RustDevice) -> Bundle {
        self.bundles[&(self.namespace, device.jid.clone(), device.id())].clone()
    }

    /// Delivers what lies on the server until nothing more comes.
    pub fn settle(&mut self, devices: &[&RustDevice]) {
        for _ in 0..20 {
            for device in devices {
                device.run(self);
            }
            let mail = std::mem::take(&mut self.mail);
            if mail.is_empty() {
                return;
            }
            for (from, to, message) in mail {
                for device in devices.iter().filter(|device| device.jid == to) {
                    let _ = device.manager().decrypt(Some(&from), None, &message);
                }
            }
        }
        panic!("the devices answer each other for ever");
    }
}

pub fn jid(name: &str) -> BareJid {
    BareJid::from_normalized(name)
}

pub fn id(number: u32) -> DeviceId {
    DeviceId::new(number).unwrap()
}
