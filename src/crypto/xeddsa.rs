//! Signatures by a private key that is a scalar (the XEdDSA of libxeddsa: the key's real sign is kept). Their verification
//! is plain Ed25519: see [`super::identity::IdentityKey::verify`].

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

/// Clamps 32 bytes to a scalar that X25519 and Ed25519 understand alike (RFC 7748 5).
pub fn clamp(private: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(clamp_integer(*private))
}

/// The private scalar of an Ed25519 seed (RFC 8032 5.1.5).
pub fn seed_to_private(seed: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut hash: [u8; 64] = Sha512::digest(seed).into();
    let mut private = Zeroizing::new([0; 32]);
    private.iter_mut().zip(hash.iter()).for_each(|(out, byte)| *out = *byte);
    hash.zeroize();
    clamp(&private)
}

/// The Ed25519 form of the public key of a private key, with its real sign.
pub fn public_of(private: &[u8; 32]) -> [u8; 32] {
    EdwardsPoint::mul_base_clamped(*private).compress().0
}

/// Signs with a clamped scalar; `nonce` are 64 random bytes that are never used twice.
pub fn sign(private: &[u8; 32], message: &[u8], nonce: &[u8; 64]) -> [u8; 64] {
    let mut a = Scalar::from_bytes_mod_order(*private);
    let public = EdwardsPoint::mul_base(&a).compress();
    let mut prefix = [0xff; 32];
    if let Some(first) = prefix.first_mut() {
        *first = 0xfe;
    }
    let mut hash: [u8; 64] = Sha512::new()
        .chain_update(prefix)
        .chain_update(private)
        .chain_update(message)
        .chain_update(nonce)
        .finalize()
        .into();
    let mut r = Scalar::from_bytes_mod_order_wide(&hash);
    hash.zeroize();
    let commitment = EdwardsPoint::mul_base(&r).compress();
    let challenge: [u8; 64] = Sha512::new()
        .chain_update(commitment.as_bytes())
        .chain_update(public.as_bytes())
        .chain_update(message)
        .finalize()
        .into();
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "scalars are added and multiplied modulo the group's order"
    )]
    let s = r + Scalar::from_bytes_mod_order_wide(&challenge) * a;
    a.zeroize();
    r.zeroize();
    let mut signature = [0; 64];
    let halves = commitment.as_bytes().iter().chain(s.as_bytes().iter());
    signature.iter_mut().zip(halves).for_each(|(out, byte)| *out = *byte);
    signature
}
