//! What a device publishes: its public keys.

use super::namespace::Namespace;
use super::profile::Wire;
use super::wire;
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
        Wire::Plain => signed_pre_key.to_vec(),
        Wire::Versioned => wire::prefixed(signed_pre_key).to_vec(),
    }
}

impl Bundle {
    /// Checks that the identity key is fit for use and signed the signed pre key; gives the identity key.
    pub fn verify(&self) -> Result<IdentityKey> {
        let bad = |_| Error::from(Status::BundleBad);
        let identity = IdentityKey::from_ed(&self.identity_key).map_err(bad)?;
        let signed = signed_bytes(self.namespace, &self.signed_pre_key);
        identity.verify(&signed, &self.signature).map_err(bad)?;
        Ok(identity)
    }
}
