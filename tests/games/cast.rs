//! Who takes part in a game beside the account under test: devices of a contact, of a stranger and of the own account,
//! with keys that are made once for all games.

use crate::world::{RawDevice, Seeded, jid};
use omemo::crypto::identity::IdentityKeyPair;
use omemo::crypto::keys::KeyPair;
use omemo::protocol::address::BareJid;
use omemo::protocol::bundle::Bundle;
use omemo::protocol::namespace::Namespace;
use omemo::protocol::pre_key::SignedPreKey;
use std::sync::LazyLock;

pub const OWN: &str = "romeo@montague.lit";
pub const CONTACT: &str = "juliet@capulet.lit";
pub const STRANGER: &str = "paris@verona.lit";
/// Signed pre keys of each device, one after the other.
pub const VERSIONS: usize = 3;
/// Identity keys of each device: the first one, and the one after it was installed anew.
pub const IDENTITIES: usize = 2;

/// One device of somebody else.
pub struct Actor {
    pub jid: BareJid,
    pub id: u32,
    /// By identity, namespace and version.
    keys: Vec<Vec<Vec<RawDevice>>>,
}

impl Actor {
    fn new(jid_text: &str, id: u32, rng: &mut Seeded) -> Actor {
        let mut of_identity = |_| {
            let identity = IdentityKeyPair::generate(rng).unwrap();
            let mut in_namespace = |namespace: &Namespace| {
                let pre_keys: Vec<(u32, KeyPair)> =
                    (1..=2).map(|id| (id, KeyPair::generate(rng).unwrap())).collect();
                let mut version = |version: usize| {
                    let number = u32::try_from(version).unwrap() + 1;
                    let signed = SignedPreKey::generate(*namespace, &identity, number, rng).unwrap();
                    let (jid, identity) = (jid(jid_text), identity.clone());
                    let (pre_keys, rng) = (pre_keys.clone(), Seeded::new(0));
                    RawDevice {
                        jid,
                        id,
                        namespace: *namespace,
                        identity,
                        signed,
                        pre_keys,
                        rng,
                        session: None,
                    }
                };
                (0..VERSIONS).map(&mut version).collect()
            };
            Namespace::ALL.iter().map(&mut in_namespace).collect()
        };
        let keys = (0..IDENTITIES).map(&mut of_identity).collect();
        Actor { jid: jid(jid_text), id, keys }
    }

    /// Returns what the device holds with one of its identities, in a namespace, with one of its signed pre keys.
    pub fn keys(&self, identity: usize, namespace: Namespace, version: usize) -> &RawDevice {
        let place = Namespace::ALL.iter().position(|other| *other == namespace).unwrap();
        &self.keys[identity][place][version]
    }

    /// Returns the identity key in Ed25519 form.
    pub fn key(&self, identity: usize) -> [u8; 32] {
        self.keys[identity][0][0].key()
    }

    pub fn bundle(&self, identity: usize, namespace: Namespace, version: usize) -> Bundle {
        self.keys(identity, namespace, version).bundle()
    }

    /// Returns which of its identities has this key; the sign bit, which legacy hides, does not count.
    pub fn identity_of(&self, key: &[u8; 32]) -> Option<usize> {
        let unsigned = |mut key: [u8; 32]| {
            key[31] &= 0x7f;
            key
        };
        (0..IDENTITIES).find(|identity| unsigned(self.key(*identity)) == unsigned(*key))
    }
}

/// All devices that games are played with.
pub static CAST: LazyLock<Vec<Actor>> = LazyLock::new(|| {
    let mut rng = Seeded::new(7);
    let all =
        [(CONTACT, 11), (CONTACT, 12), (CONTACT, 13), (STRANGER, 21), (STRANGER, 22), (OWN, 31), (OWN, 32)];
    all.into_iter().map(|(jid, id)| Actor::new(jid, id, &mut rng)).collect()
});

/// Returns the device with this id.
pub fn actor(id: u32) -> Option<&'static Actor> {
    CAST.iter().find(|actor| actor.id == id)
}
