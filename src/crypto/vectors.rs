//! The vectors of the reference implementation for signatures, conversions and agreements.

use super::identity::{IdentityKey, IdentityKeyPair};
use super::keys::{KeyPair, PublicKey};
use super::{convert, fingerprint, xeddsa};
use crate::test_support::{Seeded, fixed, hex, list, secret, vectors};

/// Whether the key is taken in and the signature is the key's.
fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    IdentityKey::from_ed(key).is_ok_and(|key| key.verify(message, signature).is_ok())
}

#[test]
fn xeddsa_vectors() {
    let all = vectors("xeddsa.json");
    let mut checks = 0;
    for case in list(&all, "sign_with_priv") {
        let private = secret(&case["priv"]);
        let signature = xeddsa::sign(&private, &hex(&case["message"]), &fixed(&case["nonce64"]));
        assert_eq!(signature, fixed::<64>(&case["signature"]));
        assert!(verifies(&fixed(&case["ed25519_pub"]), &hex(&case["message"]), &signature));
        checks += 1;
    }
    for case in list(&all, "sign_with_seed") {
        let pair = IdentityKeyPair::from_seed(secret(&case["seed"]));
        let signature = fixed::<64>(&case["signature_rfc8032"]);
        assert!(pair.public().verify(&hex(&case["message"]), &signature).is_ok());
        checks += 1;
    }
    for case in list(&all, "verify") {
        let (key, message) = (fixed(&case["ed25519_pub"]), hex(&case["message"]));
        let valid = verifies(&key, &message, &fixed(&case["signature"]));
        assert_eq!(valid, case["valid"].as_bool().unwrap(), "{}", case["case"]);
        checks += 1;
    }
    for case in list(&all, "force_sign") {
        // A scalar that was negated to change its sign, which is not clamped again.
        let signature =
            xeddsa::sign(&fixed(&case["priv_out"]), &hex(&case["message"]), &fixed(&case["nonce64"]));
        assert_eq!(signature, fixed::<64>(&case["signature"]));
        checks += 1;
    }
    for case in list(&all, "seed_derivation") {
        let pair = IdentityKeyPair::from_seed(secret(&case["seed"]));
        assert_eq!(*pair.private(), fixed(&case["priv"]));
        assert_eq!(*pair.public().ed(), fixed(&case["ed25519_pub"]));
        assert_eq!(*pair.public().mont(), fixed(&case["curve25519_pub"]));
        assert_eq!(u64::from(pair.public().sign()), case["ed25519_sign_bit"].as_u64().unwrap());
        assert_eq!(pair.seed(), Some(&fixed(&case["seed"])));
        checks += 1;
    }
    let quirk = &all["unclamped_private_key_quirk"];
    let signature = xeddsa::sign(&fixed(&quirk["priv"]), &hex(&quirk["message"]), &fixed(&quirk["nonce64"]));
    assert_eq!(signature, fixed::<64>(&quirk["signature"]));
    let public = xeddsa::public_of(&fixed(&quirk["priv"]));
    assert_eq!(public, fixed(&quirk["ed25519_pub_from_priv_to_ed25519_pub"]));
    assert!(!verifies(&public, &hex(&quirk["message"]), &signature));
    // Our pair clamps first, so that its signatures do verify.
    let pair = IdentityKeyPair::from_private(&fixed(&quirk["priv"]));
    assert_eq!((pair.public().ed(), pair.seed()), (&public, None));
    assert!(pair.sign(&hex(&quirk["message"]), &mut Seeded::new(1)).is_ok());
    assert_eq!(checks, 48);
}

#[test]
fn conversion_vectors() {
    let all = vectors("conversion.json");
    let mut checks = 0;
    for case in list(&all, "curve25519_to_ed25519") {
        let ed =
            convert::mont_to_ed(&fixed(&case["curve25519_pub"]), case["set_sign_bit"].as_bool().unwrap());
        assert_eq!(ed, Some(fixed(&case["ed25519_pub"])));
        checks += 1;
    }
    for case in list(&all, "ed25519_to_curve25519") {
        let mont = convert::ed_to_mont(&fixed(&case["ed25519_pub"]));
        assert_eq!(mont, Some(fixed(&case["curve25519_pub"])));
        checks += 1;
    }
    for case in list(&all, "ed25519_to_curve25519_rejected") {
        assert_eq!(convert::ed_to_mont(&fixed(&case["ed25519_pub"])), None, "{}", case["case"]);
        checks += 1;
    }
    for case in list(&all, "x25519") {
        let pair = KeyPair::from_private(secret(&case["priv"]));
        let shared = pair.agree(&PublicKey::from_bytes(fixed(&case["pub"]))).unwrap();
        assert_eq!(*shared, fixed(&case["shared"]));
        checks += 1;
    }
    for case in list(&all, "x25519_rejected") {
        let pair = KeyPair::from_private(secret(&case["priv"]));
        assert!(pair.agree(&PublicKey::from_bytes(fixed(&case["pub"]))).is_err(), "{}", case["case"]);
        checks += 1;
    }
    for case in list(&all, "fingerprints") {
        let key = IdentityKey::from_ed(&fixed(&case["identity_key_ed25519"])).unwrap();
        let groups: Vec<_> = list(case, "groups").iter().map(|group| group.as_str().unwrap()).collect();
        assert_eq!(fingerprint::fingerprint(key.mont()), groups.join(" "));
        checks += 1;
    }
    assert_eq!(checks, 46);
}

/// y = p .. 2^255-1 with both signs, and x = 0 with sign 1: encodings that decode to a point with another encoding.
#[test]
fn no_other_encoding_of_a_point_is_an_identity_key() {
    let mut encodings = Vec::new();
    for low in 0xed_u8..=0xff {
        for high in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            encodings.push(bytes);
        }
    }
    for (first, rest) in [(0x01, 0x00), (0xec, 0xff)] {
        let mut bytes = [rest; 32];
        (bytes[0], bytes[31]) = (first, if rest == 0 { 0x80 } else { 0xff });
        encodings.push(bytes);
    }
    assert_eq!(encodings.len(), 40);
    let point = |bytes: &[u8; 32]| curve25519_dalek::edwards::CompressedEdwardsY(*bytes).decompress();
    let other =
        encodings.iter().filter(|bytes| point(bytes).is_some_and(|p| p.compress().0 != **bytes)).count();
    assert!(other >= 24, "{other} of these decode to a point that is written otherwise");
    for bytes in &encodings {
        assert!(IdentityKey::from_ed(bytes).is_err());
    }
}

#[test]
fn every_flipped_bit_breaks_a_signature() {
    let mut rng = Seeded::new(7);
    let (mut signs, mut refused) = ([0; 2], 0);
    for round in 0..20_u8 {
        let pair = IdentityKeyPair::generate(&mut rng).unwrap();
        signs[usize::from(pair.public().sign())] += 1;
        let signature = pair.sign(&[round], &mut rng).unwrap();
        for bit in 0..512 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused += usize::from(pair.public().verify(&[round], &flipped).is_err());
        }
        assert!(pair.public().verify(&[round, 0], &signature).is_err());
    }
    assert_eq!(refused, 20 * 512);
    assert!(signs[0] > 2 && signs[1] > 2, "{signs:?}");
}

#[test]
fn secrets_are_not_printed() {
    let pair = IdentityKeyPair::generate(&mut Seeded::new(3)).unwrap();
    assert_eq!(format!("{:?}", pair.public()), "IdentityKey(..)");
}
