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
