//! Own pre keys: the signed one, and the one-time ones.

use super::bundle::signed_bytes;
use super::namespace::Namespace;
use crate::crypto::identity::{IdentityKey, IdentityKeyPair};
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::crypto::rng::Rng;
use crate::error::Result;

/// A signed pre key of our own.
#[derive(Clone)]
pub struct SignedPreKey {
    /// Its id.
    pub id: u32,
    /// The key.
    pub pair: KeyPair,
    /// The identity key's signature in its plain form.
    pub signature: [u8; 64],
}

impl SignedPreKey {
    /// Draws and signs a new one. In the two namespaces different bytes are signed.
    pub fn generate(
        namespace: Namespace,
        own: &IdentityKeyPair,
        id: u32,
        rng: &mut dyn Rng,
    ) -> Result<SignedPreKey> {
        let pair = KeyPair::generate(rng)?;
        let signature = own.sign(&signed_bytes(namespace, pair.public().as_bytes()), rng)?;
        Ok(SignedPreKey { id, pair, signature })
    }
}

/// Returns whether an identity key has signed a signed pre key in a namespace.
pub fn is_signed_by(
    identity: &IdentityKey,
    namespace: Namespace,
    pre_key: &PublicKey,
    signature: &[u8; 64],
) -> bool {
    identity.verify(&signed_bytes(namespace, pre_key.as_bytes()), signature).is_ok()
}

/// A one-time pre key of our own.
#[derive(Clone)]
pub struct PreKey {
    /// Its id.
    pub id: u32,
    /// The key.
    pub pair: KeyPair,
}
