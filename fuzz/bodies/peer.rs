//! A device that speaks the protocol by hand in one namespace, from a seed.

use omemo::crypto::identity::IdentityKeyPair;
use omemo::crypto::keys::KeyPair;
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace;
use omemo::protocol::payload;
use omemo::protocol::pre_key::SignedPreKey;
use omemo::protocol::session::{ChainBudget, Session, SkipLimits};
use omemo::protocol::x3dh::ResponderKeys;

use super::world::{Seeded, Server, jid};

pub struct Peer {
    pub namespace: Namespace,
    pub jid: &'static str,
    pub id: u32,
    identity: IdentityKeyPair,
    signed: SignedPreKey,
    pre_key: KeyPair,
    session: Option<Session>,
    rng: Seeded,
}

impl Peer {
    /// A device whose identity follows from its id, and all other keys from this number, too.
    pub fn new(namespace: Namespace, jid: &'static str, id: u32, number: u64) -> Peer {
        let identity = IdentityKeyPair::generate(&mut Seeded(u64::from(id))).unwrap();
        let mut rng = Seeded(u64::from(id) << 16 | number << 8 | u64::from(namespace.code()));
        let signed = SignedPreKey::generate(namespace, &identity, 1, &mut rng).unwrap();
        let pre_key = KeyPair::generate(&mut rng).unwrap();
        Peer { namespace, jid, id, identity, signed, pre_key, session: None, rng }
    }

    /// Adds itself to its list, and puts its bundle beside it.
    pub fn publish(&self, server: &mut Server) {
        let (code, jid) = (self.namespace.code(), self.jid.to_owned());
        let list = server.lists.entry((code, jid.clone())).or_insert(DeviceList::new(self.namespace));
        list.devices.push(ListedDevice::new(self.id));
        let bundle = Bundle {
            namespace: self.namespace,
            identity_key: *self.identity.public().ed(),
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public().as_bytes(),
            signature: self.signed.signature,
            pre_keys: vec![PublicPreKey { id: 1, key: *self.pre_key.public().as_bytes() }],
        };
        server.bundles.insert((code, jid, self.id), bundle);
    }

    /// Begins a session by a bundle.
    pub fn begin(&mut self, bundle: &Bundle) {
        self.session = Some(Session::initiate(&self.identity, bundle, &mut self.rng).unwrap());
    }

    /// Reads a message to this device, which may begin a session.
    pub fn read(&mut self, message: &Message) {
        let key = message.keys.iter().find(|key| key.device == self.id).unwrap();
        let (bytes, mut budget) = (key.bytes.as_ref().unwrap(), ChainBudget::new(SkipLimits::default()));
        let step = if key.key_exchange {
            let exchange = KeyExchange::parse(self.namespace, bytes).unwrap();
            let (own, signed) = (&self.identity, &self.signed.pair);
            Session::accept(
                &ResponderKeys::new(own, signed, &self.pre_key),
                &exchange,
                &mut budget,
                &mut self.rng,
            )
        } else {
            let message = RatchetMessage::parse(self.namespace, bytes).unwrap();
            let session = self.session.as_ref().unwrap();
            session.decrypt(&message, None, &mut |_| Ok(None), &mut budget, &mut self.rng)
        };
        self.session = Some(step.unwrap().session);
    }

    /// Writes the next message of the session; no text makes an empty one.
    pub fn write(&mut self, to: &str, device: u32, text: Option<&str>) -> Message {
        let (key, payload, iv) = match text {
            Some(text) => {
                let sealed = payload::encrypt(self.namespace, text.as_bytes(), &mut self.rng).unwrap();
                (sealed.key, sealed.payload, sealed.iv)
            }
            None => {
                let key = payload::empty_key(self.namespace, &mut self.rng).unwrap();
                (key, None, payload::empty_iv(self.namespace, &mut self.rng).unwrap())
            }
        };
        let key = self.session.as_mut().unwrap().encrypt(&key).unwrap();
        let jid = (self.namespace == Namespace::Omemo2).then(|| jid(to));
        let (key_exchange, bytes) = (key.key_exchange, Some(key.bytes));
        Message {
            namespace: self.namespace,
            sender_device: self.id,
            keys: vec![MessageKey { jid, device, key_exchange, bytes }],
            payload,
            iv,
        }
    }
}
