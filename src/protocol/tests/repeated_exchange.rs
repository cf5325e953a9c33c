//! Key exchanges that are repeated: what makes two of them the same.

use super::super::messages::key_exchange::KeyExchange;
use super::super::namespace::Namespace;
use super::super::session::{ChainBudget, Session, SkipLimits};
use super::super::x3dh::ResponderKeys;
use crate::test_support::{Met, Seeded};

#[test]
fn a_repeated_exchange_with_the_other_sign_is_another_one() {
    let namespace = Namespace::Omemo2;
    let mut rng = Seeded::new(1);
    let Met { ours, theirs, signed, pre_key, bundle } = Met::new(namespace, &mut rng);
    let mut session = Session::initiate(&ours, &bundle, &mut rng).unwrap();
    let [first, second] = [(); 2].map(|()| session.encrypt(b"x").unwrap().bytes);
    let first = KeyExchange::parse(namespace, &first).unwrap();
    let mut budget = ChainBudget::new(SkipLimits::default());
    let step =
        Session::accept(&ResponderKeys::new(&theirs, &signed.pair, &pre_key), &first, &mut budget, &mut rng)
            .unwrap();
    assert!(step.session.was_begun_by(&KeyExchange::parse(namespace, &second).unwrap()));
    // Two ids of two bytes each, tag and length, then the identity key: its last byte holds the sign.
    let mut flipped = second;
    assert_eq!(flipped[6..38], *ours.public().ed());
    flipped[37] ^= 0x80;
    assert!(!step.session.was_begun_by(&KeyExchange::parse(namespace, &flipped).unwrap()));
}
