//! What a bundle is in each namespace.

use super::*;
use crate::test_support::{Met, Seeded};

const SIGN: u8 = 0x80;

#[test]
fn the_sign_of_a_legacy_identity_key_is_in_the_key_or_in_the_signature() {
    for (key_sign, signature_sign, sign) in [(0, 0, 0), (0, SIGN, SIGN), (SIGN, 0, SIGN), (SIGN, SIGN, SIGN)]
    {
        let (mut key, mut signature) = ([0x15; 32], [0x23; 64]);
        (key[31], signature[63]) = (0x15 | key_sign, 0x23 | signature_sign);
        let mut expected = key;
        expected[31] = 0x15 | sign;
        assert_eq!(read_identity(Namespace::Legacy, &key, &mut signature), Some(expected));
        assert_eq!(signature, [0x23; 64], "what is left is the signature alone");
    }
}

#[test]
fn a_legacy_identity_key_in_its_wire_form_takes_its_sign_from_the_signature() {
    let mut rng = Seeded::new(8);
    let Met { ours, .. } = Met::new(Namespace::Legacy, &mut rng);
    let wire = published_key(Namespace::Legacy, ours.public().mont());
    for sign in [0, SIGN] {
        let mut signature = [0x23; 64];
        signature[63] |= sign;
        let mut expected = *ours.public().ed();
        expected[31] = (expected[31] & 0x7f) | sign;
        assert_eq!(read_identity(Namespace::Legacy, &wire, &mut signature), Some(expected));
        assert_eq!(signature, [0x23; 64]);
    }
    assert_eq!(read_identity(Namespace::Legacy, &wire[..32], &mut [0; 64]).map(|key| key[0]), Some(5));
    assert_eq!(read_identity(Namespace::Legacy, &[6; 33], &mut [0; 64]), None);
}

#[test]
fn an_omemo_2_bundle_shows_its_identity_key_and_its_signature_as_they_are() {
    let mut signature = [0xff; 64];
    assert_eq!(read_identity(Namespace::Omemo2, &[0x15; 32], &mut signature), Some([0x15; 32]));
    assert_eq!(signature, [0xff; 64]);
    assert_eq!(read_identity(Namespace::Omemo2, &[5; 33], &mut signature), None);
}

#[test]
fn a_published_signature_carries_the_sign_in_legacy_alone() {
    for namespace in Namespace::ALL {
        let Met { bundle, .. } = Met::new(namespace, &mut Seeded::new(8));
        for sign in [0, SIGN] {
            let mut bundle = bundle.clone();
            bundle.identity_key[31] = (bundle.identity_key[31] & 0x7f) | sign;
            let mut expected = bundle.signature;
            expected[63] |= if namespace == Namespace::Legacy { sign } else { 0 };
            assert_eq!(bundle.published_signature(), expected);
        }
    }
}

#[test]
fn a_pre_key_is_read_bare_or_in_its_wire_form() {
    for namespace in Namespace::ALL {
        assert_eq!(read_pre_key(namespace, &[7; 32]), Some([7; 32]));
        assert_eq!(read_pre_key(namespace, &published_key(namespace, &[7; 32])), Some([7; 32]));
        assert_eq!(read_pre_key(namespace, &[7; 33]), None);
        assert_eq!(read_published_key(namespace, &[7; 31]), None);
    }
}

#[test]
fn an_identity_key_is_published_in_the_form_of_its_namespace() {
    for namespace in Namespace::ALL {
        let Met { theirs, mut bundle, .. } = Met::new(namespace, &mut Seeded::new(8));
        let expected = match namespace {
            Namespace::Omemo2 => theirs.public().ed().to_vec(),
            Namespace::Legacy => [&[5], theirs.public().mont().as_slice()].concat(),
        };
        assert_eq!(bundle.published_identity_key().unwrap(), expected);
        // 2 is no y of the curve, which matters only where the key is converted.
        bundle.identity_key = [0; 32];
        bundle.identity_key[0] = 2;
        assert_eq!(bundle.published_identity_key().is_ok(), namespace == Namespace::Omemo2);
    }
}
