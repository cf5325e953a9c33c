//! A bundle for tests that read and write bundles, and do not verify them.

use omemo::protocol::bundle::Bundle;
use omemo::protocol::namespace::Namespace;

/// Returns a bundle without pre keys whose identity key has this sign.
pub(crate) fn with_sign(namespace: Namespace, sign: u8) -> Bundle {
    let identity_key = (0_u8..)
        .map(|seed| ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes())
        .find(|key| key[31] >> 7 == sign)
        .unwrap();
    let mut signature = [9; 64];
    signature[63] = 1;
    let (signed_pre_key_id, signed_pre_key, pre_keys) = (4, [3; 32], Vec::new());
    Bundle { namespace, identity_key, signed_pre_key_id, signed_pre_key, signature, pre_keys }
}
