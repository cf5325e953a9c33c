//! Every transition of an identity, and what each state allows.

use super::*;
use crate::crypto::identity::IdentityKeyPair;
use Namespace::{Legacy, Omemo2};
use zeroize::Zeroizing;

fn key(seed: u8) -> IdentityKey {
    *IdentityKeyPair::from_seed(Zeroizing::new([seed; 32])).public()
}

fn both() -> NamespaceSet {
    let mut both = NamespaceSet::of(Omemo2);
    both.insert(Legacy);
    both
}

#[test]
fn a_bundle_confirms_the_first_key_and_a_provisional_one() {
    let (first, other) = (key(1), key(2));
    let mut identity = Identity::Unknown;
    assert_eq!(identity.see_bundle(&first, Omemo2), FromBundle::First);
    assert!(identity.is_key_confirmed() && identity.confirmed_in() == NamespaceSet::of(Omemo2));

    let mut identity = Identity::Unknown;
    identity.see_exchange(first.mont(), Some(first.ed()));
    assert!(identity.is_provisional());
    assert_eq!(identity.see_bundle(&first, Legacy), FromBundle::Same { resolved: false });
    assert!(identity.is_key_confirmed());

    let mut identity = Identity::Unknown;
    identity.see_exchange(first.mont(), None);
    assert_eq!(identity.see_bundle(&other, Legacy), FromBundle::Replaced);
    assert!(identity.key().unwrap().is(other.mont()) && !identity.reads(first.mont()));
}

#[test]
fn nothing_replaces_a_confirmed_key_by_itself() {
    let (first, other) = (key(1), key(2));
    let mut identity = Identity::Unknown;
    identity.see_bundle(&first, Omemo2);
    identity.see_exchange(other.mont(), Some(other.ed()));
    assert!(identity.key().unwrap().is(first.mont()));
    assert_eq!(identity.compare_exchange(other.mont()), FromExchange::Contradicts);
    assert_eq!(identity.compare_exchange(first.mont()), FromExchange::Fits);
    assert_eq!(identity.see_bundle(&other, Omemo2), FromBundle::Conflicting { news: true });
    assert_eq!(identity.see_bundle(&other, Omemo2), FromBundle::Conflicting { news: false });
    assert!(matches!(identity, Identity::Changed(..)));
    // What was written under the first key is still read, and nothing is sent.
    assert!(identity.reads(first.mont()) && !identity.reads(other.mont()));
    for active in [NamespaceSet::of(Omemo2), both()] {
        assert_eq!(identity.blocks_sending(Legacy, active), Some(Status::IdentityChanged));
        assert_eq!(identity.blocked_by(Legacy, active), Some(Omemo2));
    }
    // Where the device does not announce itself any more, that speaks against nothing elsewhere.
    assert_eq!(identity.blocks_sending(Legacy, NamespaceSet::of(Legacy)), None);
    assert_eq!(identity.blocked_by(Legacy, NamespaceSet::of(Legacy)), None);
    assert_eq!(identity.see_bundle(&first, Omemo2), FromBundle::Same { resolved: true });
    assert!(matches!(identity, Identity::Confirmed(..)));
}

#[test]
fn another_key_in_the_other_namespace_counts_only_there() {
    let (first, other) = (key(1), key(2));
    let mut identity = Identity::Unknown;
    identity.see_bundle(&first, Omemo2);
    assert_eq!(identity.see_bundle(&other, Legacy), FromBundle::Conflicting { news: true });
    assert_eq!(identity.blocks_sending(Legacy, both()), Some(Status::IdentityMismatch));
    assert_eq!(identity.blocks_sending(Omemo2, both()), None);
    assert_eq!(
        [Legacy, Omemo2].map(|namespace| identity.blocked_by(namespace, both())),
        [Some(Legacy), None]
    );
    // The known key elsewhere does not resolve it; purging that namespace does.
    assert_eq!(identity.see_bundle(&first, Omemo2), FromBundle::Same { resolved: false });
    assert!(identity.conflict().is_some());
    let mut purged = identity.clone();
    purged.purge_namespace(Omemo2);
    assert!(purged.conflict().is_some());
    purged.purge_namespace(Legacy);
    assert!(purged.conflict().is_none() && purged.is_key_confirmed());
}

#[test]
fn of_two_bundles_that_show_another_key_the_one_of_the_namespace_is_named() {
    let mut identity = Identity::Unknown;
    assert_eq!(identity.compare_exchange(key(1).mont()), FromExchange::Fits);
    identity.see_bundle(&key(1), Omemo2);
    for namespace in [Legacy, Omemo2] {
        identity.see_bundle(&key(2), namespace);
    }
    for namespace in [Legacy, Omemo2] {
        assert_eq!(identity.blocked_by(namespace, both()), Some(namespace));
    }
}

#[test]
fn accepting_takes_the_conflicting_key_and_gives_the_old_one_up() {
    let (first, other) = (key(1), key(2));
    let mut identity = Identity::Unknown;
    identity.see_bundle(&first, Omemo2);
    assert!(identity.accept().is_none());
    identity.see_bundle(&other, Legacy);
    assert!(identity.accept().unwrap().is(other.mont()));
    assert_eq!(identity.confirmed_in(), NamespaceSet::of(Legacy));
    assert!(!identity.reads(first.mont()) && identity.reads(other.mont()));
}

#[test]
fn of_two_provisional_keys_both_are_read_and_neither_takes_the_place() {
    let (first, other) = (key(1), key(2));
    let mut identity = Identity::Unknown;
    identity.see_exchange(first.mont(), None);
    assert_eq!(identity.compare_exchange(first.mont()), FromExchange::Fits);
    assert_eq!(identity.compare_exchange(other.mont()), FromExchange::Rival);
    identity.see_exchange(other.mont(), None);
    assert!(identity.key().unwrap().is(first.mont()));
    assert!(identity.reads(other.mont()) && !identity.sends(other.mont()) && identity.sends(first.mont()));
}

#[test]
fn the_sign_is_learnt_from_a_bundle_and_from_nothing_else() {
    let first = key(1);
    let mut identity = Identity::Unknown;
    identity.see_exchange(first.mont(), None);
    assert!(!identity.key().unwrap().is_sign_known());
    identity.see_bundle(&first, Legacy);
    assert!(identity.key().unwrap().is_sign_known() && identity.key().unwrap().ed() == first.ed());
}
