//! What a device publishes: its public keys. Nothing in here is verified before `x3dh` uses it.

use super::namespace::Namespace;

/// A public one-time pre key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPreKey {
    /// Its id, 0..2^32-1 in what others publish.
    pub id: u32,
    /// Curve25519 form.
    pub key: [u8; 32],
}

/// A bundle (XEP-0384 5.3.2) in the same form for both namespaces.
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
