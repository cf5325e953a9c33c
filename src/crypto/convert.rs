//! The birational map between the Ed25519 and the Curve25519 form of a public key (RFC 7748 4.1).

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::montgomery::MontgomeryPoint;

/// The point of a public key that is fit for use: canonical, on the curve, of the prime order subgroup and not its
/// neutral element.
pub(super) fn strict_point(ed: &[u8; 32]) -> Option<EdwardsPoint> {
    let point = CompressedEdwardsY(*ed).decompress()?;
    #[cfg(omemo_planted)]
    if crate::planted::is_planted("weak-identity-key") {
        return Some(point);
    }
    let strict = point.compress().0 == *ed && !point.is_small_order() && point.is_torsion_free();
    strict.then_some(point)
}

/// The Curve25519 form of an Ed25519 public key; `None` for keys that are not fit for use.
pub fn ed_to_mont(ed: &[u8; 32]) -> Option<[u8; 32]> {
    strict_point(ed).map(|point| point.to_montgomery().to_bytes())
}

/// The Ed25519 form of a Curve25519 public key, whose sign has to come from elsewhere; `None` for points of the twist.
/// Bit 255 of `mont` is ignored.
pub fn mont_to_ed(mont: &[u8; 32], sign: bool) -> Option<[u8; 32]> {
    MontgomeryPoint(*mont).to_edwards(sign.into()).map(|point| point.compress().0)
}
