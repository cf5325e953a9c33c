//! A device that speaks the protocol by hand, and so can write what no client of ours would. The server's side and the
//! stanzas are XML; of the library it uses the parts below the manager.

use omemo::crypto::identity::IdentityKeyPair;
use omemo::crypto::keys::KeyPair;
use omemo::crypto::rng::SystemRng;
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::key_exchange::KeyExchange;
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::namespace::Namespace;
use omemo::protocol::pre_key::SignedPreKey;
use omemo::protocol::session::{Limits, Session};
use omemo::stanza::{bundle, device_list, message};

use super::World;

/// One device, and its session with one other.
pub struct Hand {
    pub namespace: Namespace,
    pub jid: String,
    pub id: u32,
    pub identity: IdentityKeyPair,
    pub signed: SignedPreKey,
    pub pre_keys: Vec<(u32, KeyPair)>,
    session: Option<Session>,
}

impl Hand {
    pub fn new(namespace: Namespace, jid: &str, id: u32) -> Self {
        Self::with_pre_keys(namespace, jid, id, 1, &[1, 2, 3])
    }

    /// With these ids for its pre keys.
    pub fn with_pre_keys(namespace: Namespace, jid: &str, id: u32, signed: u32, ids: &[u32]) -> Self {
        let identity = IdentityKeyPair::generate(&mut SystemRng).unwrap();
        let signed = SignedPreKey::generate(namespace, &identity, signed, &mut SystemRng).unwrap();
        let pre_keys = ids.iter().map(|id| (*id, KeyPair::generate(&mut SystemRng).unwrap())).collect();
        Self { namespace, jid: jid.to_owned(), id, identity, signed, pre_keys, session: None }
    }

    /// The identity key as the client sees it where it knows the sign.
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

    /// Publishes its list, with nobody else on it, and its bundle.
    pub fn publish(&self, world: &World) {
        let devices = vec![ListedDevice { id: self.id, label: None, label_signature: None }];
        let list = device_list::write(&DeviceList { namespace: self.namespace, devices });
        world.publish_list(self.namespace.uri(), &self.jid, &list);
        let bundle = bundle::write(&self.bundle()).unwrap();
        world.publish_bundle(self.namespace.uri(), &self.jid, self.id, &bundle);
    }

    /// Begins a session by the bundle that the server has of a device.
    pub fn begin(&mut self, world: &World, jid: &str, device: u32) {
        let xml = world.bundle(self.namespace.uri(), jid, device).unwrap();
        self.begin_with(&bundle::parse(xml.as_bytes(), Some(device)).unwrap());
    }

    /// Begins a session.
    pub fn begin_with(&mut self, bundle: &Bundle) {
        self.session = Some(Session::initiate(&self.identity, bundle, &mut SystemRng).unwrap());
    }

    /// The next message of the session, with this going through the ratchet, and this payload and IV beside it. Its key
    /// names no JID: in omemo:2 that is left to do.
    pub fn write(&mut self, to: u32, material: &[u8], payload: Option<&[u8]>, iv: Option<&[u8]>) -> Message {
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

    /// What a key exchange for this device transports; the session goes on from it.
    pub fn accept(&mut self, stanza: &str) -> Vec<u8> {
        let message = message::parse(stanza.as_bytes()).unwrap();
        let key = message.keys.iter().find(|key| key.device == self.id).unwrap();
        assert!(key.key_exchange);
        let exchange = KeyExchange::parse(self.namespace, key.bytes.as_ref().unwrap()).unwrap();
        let wanted = *exchange.id();
        assert_eq!(wanted.signed_pre_key_id, self.signed.id);
        let (_, pre_key) = self.pre_keys.iter().find(|(id, _)| *id == wanted.pre_key_id).unwrap();
        let (own, signed, mut budget) = (&self.identity, &self.signed.pair, 2_000);
        let limits = Limits::default();
        let step = Session::accept(own, signed, pre_key, &exchange, &limits, &mut budget, &mut SystemRng);
        let step = step.unwrap();
        self.session = Some(step.session);
        step.plaintext.to_vec()
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
