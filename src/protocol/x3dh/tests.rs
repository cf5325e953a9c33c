//! Which pre key of a bundle is taken.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::*;
use crate::test_support::Seeded;

#[test]
fn the_choice_of_a_pre_key_is_spread_over_the_bundle() {
    let pre_keys: Vec<_> = (0..100).map(|id| PublicPreKey { id, key: [1; 32] }).collect();
    let (mut rng, mut chosen) = (Seeded::new(3), [0_u32; 100]);
    for _ in 0..10_000 {
        chosen[choose(&pre_keys, &mut rng).unwrap().id as usize] += 1;
    }
    assert!(chosen.iter().all(|count| (50..200).contains(count)), "{chosen:?}");
    assert_eq!(choose(&pre_keys[..1], &mut rng).unwrap().id, 0);
    assert_eq!(choose(&[], &mut rng).unwrap_err().status(), Status::BundleBad);
}

#[test]
fn a_bundle_with_a_key_of_low_order_is_a_bad_one() {
    use crate::test_support::Met;
    for namespace in Namespace::ALL {
        let mut rng = Seeded::new(5);
        let Met { ours, theirs, bundle, .. } = Met::new(namespace, &mut rng);
        assert!(initiate(&ours, &bundle.clone().verified().unwrap(), &mut rng).is_ok());

        let mut low = bundle.clone();
        low.pre_keys.iter_mut().for_each(|pre_key| pre_key.key = [0; 32]);
        let mut low_signed = Bundle { signed_pre_key: [0; 32], ..bundle };
        let signed = super::super::bundle::signed_bytes(namespace, &low_signed.signed_pre_key);
        low_signed.signature = theirs.sign(&signed, &mut rng).unwrap();
        for bundle in [low, low_signed] {
            let error = initiate(&ours, &bundle.verified().unwrap(), &mut rng).err().unwrap();
            assert_eq!(error.status(), Status::BundleBad);
        }
    }
}
