//! What a device publishes: its public keys.

use super::messages::{public_key, signal};
use super::namespace::Namespace;
use super::profile::Wire;
use crate::crypto::convert;
use crate::crypto::identity::IdentityKey;
use crate::error::{Error, Result, Status};

/// A public one-time pre key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPreKey {
    /// Its id, 0..2^32-1 in what others publish.
    pub id: u32,
    /// Curve25519 form.
    pub key: [u8; 32],
}

/// A bundle (XEP-0384 5.3.2) in the same form for both namespaces. Nothing in it holds before `verify` says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Which namespace it was published in.
    pub namespace: Namespace,
    /// Identity key in Ed25519 form, the sign bit being the real one.
    pub identity_key: [u8; 32],
    /// Id of the signed pre key.
    pub signed_pre_key_id: u32,
    /// Signed pre key in Curve25519 form.
    pub signed_pre_key: [u8; 32],
    /// Plain Ed25519 signature; the sign bit that legacy hides in it was taken out.
    pub signature: [u8; 64],
    /// One-time pre keys.
    pub pre_keys: Vec<PublicPreKey>,
}

/// What the identity key signs of a signed pre key.
pub(super) fn signed_bytes(namespace: Namespace, signed_pre_key: &[u8; 32]) -> Vec<u8> {
    match namespace.profile().wire {
        Wire::Omemo => signed_pre_key.to_vec(),
        Wire::Signal => signal::prefixed(signed_pre_key).to_vec(),
    }
}

/// A public key as a namespace publishes it.
pub fn published_key(namespace: Namespace, key: &[u8; 32]) -> Vec<u8> {
    public_key::write_key(namespace.profile().wire, key)
}

/// Reads a Curve25519 key as a namespace publishes it.
pub fn read_published_key(namespace: Namespace, bytes: &[u8]) -> Option<[u8; 32]> {
    public_key::read_key(namespace.profile().wire, bytes).ok().map(|key| *key.as_bytes())
}

/// Reads a pre key, of 32 bytes in Curve25519 form or as the namespace publishes it.
pub fn read_pre_key(namespace: Namespace, key: &[u8]) -> Option<[u8; 32]> {
    <[u8; 32]>::try_from(key).ok().or_else(|| read_published_key(namespace, key))
}

/// Reads an identity key, of 32 bytes in Ed25519 form or as the namespace publishes it, and takes out of the signature
/// what legacy hides there: the sign that the key has in Ed25519 form, in a bit that no signature sets.
pub fn read_identity(namespace: Namespace, key: &[u8], signature: &mut [u8; 64]) -> Option<[u8; 32]> {
    if namespace.profile().wire == Wire::Omemo {
        return key.try_into().ok();
    }
    let [.., last] = signature;
    let sign = *last & 0x80;
    *last &= 0x7f;
    if let Ok(mut ed) = <[u8; 32]>::try_from(key) {
        // Whoever computed the key from its Curve25519 form does not know its sign, unless the signature tells.
        let [.., top] = &mut ed;
        *top |= sign;
        return Some(ed);
    }
    convert::mont_to_ed(&read_published_key(namespace, key)?, sign != 0)
}

impl Bundle {
    /// The identity key as its namespace publishes it. Fails in legacy if it is no point of the curve.
    pub fn published_identity_key(&self) -> Result<Vec<u8>> {
        match self.namespace.profile().wire {
            Wire::Omemo => Ok(self.identity_key.to_vec()),
            Wire::Signal => {
                let key = convert::ed_to_mont(&self.identity_key).ok_or_else(|| {
                    Error::new(Status::Argument, "The identity key of a bundle is no point of the curve.")
                })?;
                Ok(published_key(self.namespace, &key))
            }
        }
    }

    /// The signature as its namespace publishes it: in legacy with the sign of the identity key.
    pub fn published_signature(&self) -> [u8; 64] {
        let mut signature = self.signature;
        if self.namespace.profile().wire == Wire::Signal {
            let ([.., last], [.., top]) = (&mut signature, &self.identity_key);
            *last |= top & 0x80;
        }
        signature
    }

    /// Checks that the identity key is fit for use and signed the signed pre key; gives the identity key.
    pub fn verify(&self) -> Result<IdentityKey> {
        let bad = |_| Error::from(Status::BundleBad);
        let identity = IdentityKey::from_ed(&self.identity_key).map_err(bad)?;
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("signature-unverified") {
            return Ok(identity);
        }
        let signed = signed_bytes(self.namespace, &self.signed_pre_key);
        identity.verify(&signed, &self.signature).map_err(bad)?;
        Ok(identity)
    }

    /// Verifies the bundle, once and for all: what is returned cannot be changed any more.
    pub fn verified(self) -> Result<VerifiedBundle> {
        let identity = self.verify()?;
        Ok(VerifiedBundle { bundle: self, identity })
    }
}

/// A bundle whose identity key is fit for use and signed its signed pre key.
#[derive(Clone)]
pub struct VerifiedBundle {
    bundle: Bundle,
    identity: IdentityKey,
}

impl VerifiedBundle {
    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Its identity key.
    pub fn identity(&self) -> &IdentityKey {
        &self.identity
    }
}

#[cfg(test)]
mod tests;
