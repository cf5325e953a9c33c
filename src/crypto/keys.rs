//! Curve25519 key pairs: pre keys, ephemeral keys, ratchet keys.

use super::curve;
use super::rng::{Rng, draw};
use crate::error::{Error, Result, Status};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A public key: the u-coordinate, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Takes any 32 bytes: whether they are of use is seen at the agreement.
    pub fn from_bytes(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }

    /// The u-coordinate.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A private key with its public key. Kept as drawn; X25519 clamps. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct KeyPair {
    private: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl KeyPair {
    /// Draws a new one.
    pub fn generate(rng: &mut dyn Rng) -> Result<KeyPair> {
        Ok(KeyPair::from_private(draw(rng)?))
    }

    /// The pair of a private key.
    pub fn from_private(private: Zeroizing<[u8; 32]>) -> KeyPair {
        let public = PublicKey(curve::x25519_base(&private));
        KeyPair { private, public }
    }

    /// A pair that was stored together, without computing the public key again.
    pub fn from_stored(private: Zeroizing<[u8; 32]>, public: PublicKey) -> KeyPair {
        KeyPair { private, public }
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The private key, to be stored.
    pub fn private(&self) -> &[u8; 32] {
        &self.private
    }

    /// X25519. Refuses public keys that leave no contribution of ours in the result (those of low order).
    pub fn agree(&self, theirs: &PublicKey) -> Result<Zeroizing<[u8; 32]>> {
        agree(&self.private, theirs)
    }
}

/// X25519 with a bare private key; see [`KeyPair::agree`].
pub(super) fn agree(private: &[u8; 32], theirs: &PublicKey) -> Result<Zeroizing<[u8; 32]>> {
    let shared = curve::x25519(private, &theirs.0);
    if bool::from(shared.ct_eq(&[0; 32])) {
        return Err(Error::new(Status::KeyExchangeFailed, "A public key is of low order."));
    }
    Ok(shared)
}
