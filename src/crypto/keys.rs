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

    /// Whether this is how the key is written: below 2^255 - 19. X25519 takes other writings for the same key, so a key
    /// that tells one thing from another must be canonical.
    pub fn is_canonical(&self) -> bool {
        let [first, middle @ .., last] = &self.0;
        *last < 0x7f || (*last == 0x7f && (*first < 0xed || middle.iter().any(|byte| *byte != 0xff)))
    }

    /// The u-coordinate.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A private key with its public key. Kept as drawn; X25519 clamps. Wiped when dropped, never printed. Where it
/// is moved, as in a list that grows, it belongs into a box: what is moved leaves a copy behind that nothing wipes.
#[derive(Clone)]
pub struct KeyPair {
    private: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl KeyPair {
    /// Draws a new one.
    pub fn generate(rng: &mut dyn Rng) -> Result<KeyPair> {
        let private = draw(rng)?;
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("secret-not-wiped") {
            std::mem::forget(std::hint::black_box(private.to_vec()));
        }
        Ok(KeyPair::from_private(private))
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
    #[cfg(omemo_planted)]
    if crate::planted::is_planted("low-order-key") {
        return Ok(shared);
    }
    if bool::from(shared.ct_eq(&[0; 32])) {
        return Err(Error::new(Status::KeyExchangeFailed, "A public key is of low order."));
    }
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_in_one_way() {
        let key = |first: u8, middle: u8, last: u8| {
            let mut bytes = [middle; 32];
            (bytes[0], bytes[31]) = (first, last);
            PublicKey::from_bytes(bytes).is_canonical()
        };
        assert!(key(0, 0, 0) && key(0xff, 0, 0x7f) && key(0xec, 0xff, 0x7f) && key(0xff, 0xff, 0x7e));
        assert!(!key(0xed, 0xff, 0x7f) && !key(0xff, 0xff, 0x7f) && !key(0, 0, 0x80) && !key(9, 0, 0xff));
        let mut almost = [0xff; 32];
        (almost[15], almost[31]) = (0xfe, 0x7f);
        assert!(PublicKey::from_bytes(almost).is_canonical());
    }
}
