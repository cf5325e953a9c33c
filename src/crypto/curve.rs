//! Who computes X25519 and verifies Ed25519: the one place to put a faster implementation behind.

use curve25519_dalek::MontgomeryPoint;
use ed25519_dalek::{Signature, VerifyingKey};
use zeroize::Zeroizing;

/// X25519 (RFC 7748 5); the scalar is clamped here, bit 255 of the point is ignored.
pub(super) fn x25519(scalar: &[u8; 32], point: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(x25519_dalek::x25519(*scalar, *point))
}

/// X25519 with the base point.
pub(super) fn x25519_base(scalar: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*scalar).to_bytes()
}

/// Ed25519 verification (RFC 8032 5.1.7) without cofactor: s below the order of the group, neither the key nor R of
/// small order. That the key is canonical is the caller's to check.
pub(super) fn ed25519_verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
