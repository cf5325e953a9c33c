//! A device that speaks the protocol by hand, and so writes what no client would. Of the library it uses the parts below
//! the manager; it reads and writes typed items (`Server`) and stanzas (`World`).

use super::World;
use super::rng::Seeded;
use super::rust::RustDevice;
use super::server::{Server, jid};
use omemo::crypto::identity::IdentityKeyPair;
use omemo::crypto::keys::KeyPair;
use omemo::error::Result;
use omemo::protocol::address::BareJid;
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::protocol::payload;
use omemo::protocol::pre_key::SignedPreKey;
use omemo::protocol::session::{ChainBudget, Session, SkipLimits};
use omemo::protocol::x3dh::ResponderKeys;
use omemo::stanza::envelope;
use omemo::stanza::{bundle, device_list, message};
use zeroize::Zeroizing;

pub struct RawDevice {
    pub jid: BareJid,
    pub id: u32,
    pub namespace: Namespace,
    pub identity: IdentityKeyPair,
    pub signed: SignedPreKey,
    pub pre_keys: Vec<(u32, KeyPair)>,
    pub rng: Seeded,
    /// The session that `begin` began or `accept_xml` accepted.
    pub session: Option<Session>,
}

impl RawDevice {
    pub fn of(namespace: Namespace, name: &str, id: u32) -> Self {
        Self::with_pre_keys(namespace, name, id, 1, &[1, 2, 3, 4, 5])
    }

    /// With these ids for its pre keys.
    pub fn with_pre_keys(namespace: Namespace, name: &str, id: u32, signed: u32, ids: &[u32]) -> Self {
        let mut rng = Seeded::fresh();
        let identity = IdentityKeyPair::generate(&mut rng).unwrap();
        Self::with_identity(namespace, name, id, identity, signed, ids, rng)
    }

    fn with_identity(
        namespace: Namespace,
        name: &str,
        id: u32,
        identity: IdentityKeyPair,
        signed: u32,
        ids: &[u32],
        mut rng: Seeded,
    ) -> Self {
        let signed = SignedPreKey::generate(namespace, &identity, signed, &mut rng).unwrap();
        let pre_keys = ids.iter().map(|id| (*id, KeyPair::generate(&mut rng).unwrap())).collect();
        Self { jid: jid(name), id, namespace, identity, signed, pre_keys, rng, session: None }
    }

    /// A device of another account or with another id that has the same identity key.
    pub fn twin(&self, namespace: Namespace, name: &str, id: u32) -> Self {
        let identity = IdentityKeyPair::from_private(self.identity.private());
        Self::with_identity(namespace, name, id, identity, 1, &[1, 2, 3, 4, 5], Seeded::fresh())
    }

    /// The same device, with the same identity, in another namespace.
    pub fn in_namespace(&self, namespace: Namespace) -> Self {
        self.twin(namespace, self.jid.as_str(), self.id)
    }

    /// The identity key as others see it where they know the sign.
    pub fn key(&self) -> [u8; 32] {
        *self.identity.public().ed()
    }

    pub fn bundle(&self) -> Bundle {
        let public = |(id, pair): &(u32, KeyPair)| PublicPreKey { id: *id, key: *pair.public().as_bytes() };
        Bundle {
            namespace: self.namespace,
            identity_key: self.key(),
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public().as_bytes(),
            signature: self.signed.signature,
            pre_keys: self.pre_keys.iter().map(public).collect(),
        }
    }

    // -- its items on a server

    fn join(&self, list: &mut DeviceList) {
        if list.devices.iter().all(|device| device.id != self.id) {
            list.devices.push(ListedDevice::new(self.id));
        }
    }

    /// Joins its JID's list and publishes its bundle.
    pub fn publish(&self, server: &mut Server) {
        let at = (self.namespace, self.jid.clone());
        let empty = DeviceList::new(self.namespace);
        self.join(server.lists.entry(at).or_insert(empty));
        server.bundles.insert((self.namespace, self.jid.clone(), self.id), self.bundle());
    }

    /// The same in a world of stanzas.
    pub fn announce(&self, world: &World) {
        self.announce_bundle(world);
        self.announce_list(world);
    }

    /// Joins the list only.
    pub fn announce_list(&self, world: &World) {
        let (ns, jid) = (self.namespace.uri(), self.jid.as_str());
        let known = world.list(ns, jid).and_then(|xml| device_list::parse(xml.as_bytes()).ok());
        let mut list = known.unwrap_or(DeviceList::new(self.namespace));
        self.join(&mut list);
        world.publish_list(ns, jid, &device_list::write(&list));
    }

    /// Publishes the bundle only.
    pub fn announce_bundle(&self, world: &World) {
        let xml = bundle::write(&self.bundle()).unwrap();
        world.publish_bundle(self.namespace.uri(), self.jid.as_str(), self.id, &xml);
    }

    // -- sessions that the test keeps

    pub fn initiate(&mut self, bundle: &Bundle) -> Session {
        Session::initiate(&self.identity, bundle, &mut self.rng).unwrap()
    }

    pub fn write(&mut self, session: &mut Session, to: (&BareJid, u32), text: &str) -> Message {
        let sealed = payload::encrypt(self.namespace, text.as_bytes(), &mut self.rng).unwrap();
        let key = session.encrypt(&sealed.key).unwrap();
        let jid = (self.namespace == Omemo2).then(|| to.0.clone());
        let key = MessageKey { jid, device: to.1, key_exchange: key.key_exchange, bytes: Some(key.bytes) };
        Message {
            namespace: self.namespace,
            sender_device: self.id,
            keys: vec![key],
            payload: sealed.payload,
            iv: sealed.iv,
        }
    }

    /// A first message in a session of its own beginning.
    pub fn greet(&mut self, device: &RustDevice, server: &Server, text: &str) -> (Session, Message) {
        let mut session = self.initiate(&server.bundle(device));
        let message = self.write(&mut session, (&device.jid, device.id()), text);
        (session, message)
    }

    /// What a message holds for this device.
    pub fn bytes(&self, message: &Message) -> MessageKey {
        let mine =
            |key: &&MessageKey| key.device == self.id && key.jid.as_ref().is_none_or(|jid| *jid == self.jid);
        message.keys.iter().find(mine).expect("no key for this device").clone()
    }

    pub fn open(&mut self, session: &mut Session, message: &Message) -> Zeroizing<Vec<u8>> {
        let ratchet = RatchetMessage::parse(self.namespace, &self.bytes(message).bytes.unwrap()).unwrap();
        let mut budget = ChainBudget::new(SkipLimits::default());
        let step = session.decrypt(&ratchet, None, &mut |_| Ok(None), &mut budget, &mut self.rng).unwrap();
        *session = step.session;
        step.plaintext
    }

    fn accepted(&mut self, message: &Message) -> Result<(Session, Zeroizing<Vec<u8>>)> {
        let key = self.bytes(message);
        assert!(key.key_exchange);
        let exchange = KeyExchange::parse(self.namespace, &key.bytes.unwrap())?;
        let wanted = *exchange.id();
        let (_, pair) = self.pre_keys.iter().find(|(id, _)| *id == wanted.pre_key_id).unwrap();
        let (own, signed, mut budget) =
            (&self.identity, &self.signed.pair, ChainBudget::new(SkipLimits::default()));
        let step =
            Session::accept(&ResponderKeys::new(own, signed, pair), &exchange, &mut budget, &mut self.rng)?;
        Ok((step.session, step.plaintext))
    }

    /// Takes up the session in a key exchange; gives it and the content.
    pub fn take_up(&mut self, message: &Message) -> Result<(Session, String)> {
        let (session, key) = self.accepted(message)?;
        let payload = message.payload.as_ref().unwrap();
        let content = payload::decrypt(self.namespace, &key, payload, message.iv.as_deref())?;
        Ok((session, String::from_utf8(content.to_vec()).unwrap()))
    }

    /// The content of a key exchange.
    pub fn accept(&mut self, message: &Message) -> Result<String> {
        self.take_up(message).map(|(_, text)| text)
    }

    // -- the session that it keeps

    /// Begins a session by the bundle that the world's server has of a device.
    pub fn begin(&mut self, world: &World, jid: &str, device: u32) {
        let xml = world.bundle(self.namespace.uri(), jid, device).unwrap();
        self.begin_with(&bundle::parse(xml.as_bytes(), Some(device)).unwrap());
    }

    pub fn begin_with(&mut self, bundle: &Bundle) {
        self.session = Some(self.initiate(bundle));
    }

    /// The next message of the session, with this going through the ratchet, and this payload and IV beside it. Its key
    /// names no JID: in omemo:2 that is left to do.
    pub fn transport(
        &mut self,
        to: u32,
        material: &[u8],
        payload: Option<&[u8]>,
        iv: Option<&[u8]>,
    ) -> Message {
        let key = self.session.as_mut().unwrap().encrypt(material).unwrap();
        let key =
            MessageKey { jid: None, device: to, key_exchange: key.key_exchange, bytes: Some(key.bytes) };
        Message {
            namespace: self.namespace,
            sender_device: self.id,
            keys: vec![key],
            payload: payload.map(<[u8]>::to_vec),
            iv: iv.map(<[u8]>::to_vec),
        }
    }

    /// The next message of the session as a stanza with a body, as a client writes it.
    pub fn say(&mut self, to: (&str, u32), text: &str) -> String {
        let content = content(self.namespace, &self.jid, text, &mut self.rng);
        let mut session = self.session.take().unwrap();
        let written = self.write(&mut session, (&jid(to.0), to.1), &content);
        self.session = Some(session);
        message::write(&written)
    }

    /// What a key exchange for this device transports; the session goes on from it.
    pub fn accept_xml(&mut self, stanza: &str) -> Vec<u8> {
        let (session, plaintext) = self.accepted(&message::parse(stanza.as_bytes()).unwrap()).unwrap();
        self.session = Some(session);
        plaintext.to_vec()
    }
}

/// The plaintext that carries a text: itself in legacy, an envelope in omemo:2.
pub fn content(namespace: Namespace, from: &BareJid, text: &str, rng: &mut Seeded) -> String {
    match namespace {
        Legacy => text.to_owned(),
        Omemo2 => envelope::write_body(text, from, 1_700_000_000_000, rng).unwrap().to_string(),
    }
}

/// AES-128-GCM as a sender of the legacy namespace does it, with an IV of 12 or 16 bytes: the ciphertext and its tag.
pub fn gcm(key: [u8; 16], iv: &[u8], plaintext: &[u8]) -> (Vec<u8>, [u8; 16]) {
    use aes_gcm::aead::{AeadInOut, KeyInit};
    use aes_gcm::aes::cipher::consts::{U12, U16};
    use aes_gcm::{AesGcm, Nonce};
    let mut buffer = plaintext.to_vec();
    let inout = buffer.as_mut_slice().into();
    let tag = match iv.len() {
        12 => AesGcm::<aes::Aes128, U12>::new(&key.into()).encrypt_inout_detached(
            &Nonce::<U12>::try_from(iv).unwrap(),
            &[],
            inout,
        ),
        16 => AesGcm::<aes::Aes128, U16>::new(&key.into()).encrypt_inout_detached(
            &Nonce::<U16>::try_from(iv).unwrap(),
            &[],
            inout,
        ),
        other => panic!("nobody sends an IV of {other} bytes"),
    };
    (buffer, tag.unwrap().into())
}
