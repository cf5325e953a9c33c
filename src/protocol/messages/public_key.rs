//! How Curve25519 keys are written on the wire: bare in omemo:2, behind a byte in the legacy namespace.

use super::super::profile::Wire;
use super::fields::malformed;
use super::signal::{KEY_PREFIX, prefixed};
use crate::crypto::keys::PublicKey;
use crate::error::Result;

/// Reads a Curve25519 key.
pub(in crate::protocol) fn read_key(wire: Wire, bytes: &[u8]) -> Result<PublicKey> {
    let bare = match wire {
        Wire::Omemo => Some(bytes),
        Wire::Signal => bytes.strip_prefix(&[KEY_PREFIX]),
    };
    let key = bare.and_then(|bare| <[u8; 32]>::try_from(bare).ok());
    key.map(PublicKey::from_bytes).ok_or_else(|| malformed("A key has the wrong length or form."))
}

/// Writes a Curve25519 key.
pub(in crate::protocol) fn write_key(wire: Wire, key: &[u8; 32]) -> Vec<u8> {
    match wire {
        Wire::Omemo => key.to_vec(),
        Wire::Signal => prefixed(key).to_vec(),
    }
}
