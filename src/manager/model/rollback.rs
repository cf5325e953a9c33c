//! Whether this store is an older copy, or one of two: the bundle that stands on the server under this device's id and
//! identity is compared with what this store has ever published.
//!
//! What another copy has published is evidence: a signed pre key or a pre key that this store never made. What it has
//! taken away is none, since a server may show an older bundle. A pure comparison; what follows from it is a flow's.

use super::pre_keys::{PreKeyStore, SignedKey};
use crate::protocol::bundle::Bundle;

/// What shows that another copy of this store was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum Evidence {
    /// A signed pre key: nobody without this device's private key can have made it.
    SignedPreKey,
    /// A pre key, which nobody signs: whoever can write to the node may have made it.
    PreKey,
}

/// The highest ids that this store has ever handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) struct HighestIds {
    pub(in crate::manager) signed_pre_key: u32,
    pub(in crate::manager) pre_key: u32,
}

/// Looks for evidence in a bundle under this device's id and identity whose signature holds.
pub(in crate::manager) fn evidence(
    theirs: &Bundle,
    store: &PreKeyStore,
    highest: HighestIds,
) -> Option<Evidence> {
    let known = std::iter::once(&store.signed).chain(&store.previous);
    let others = |known: &SignedKey| {
        known.id == theirs.signed_pre_key_id && *known.pair.public().as_bytes() != theirs.signed_pre_key
    };
    if theirs.signed_pre_key_id > highest.signed_pre_key || known.into_iter().any(others) {
        return Some(Evidence::SignedPreKey);
    }
    let foreign = theirs.pre_keys.iter().any(|theirs| {
        // One that is not there any more was used up: its bytes are not known.
        let ours = store.pre_keys.iter().find(|ours| ours.id == theirs.id);
        theirs.id > highest.pre_key || ours.is_some_and(|ours| *ours.pair.public().as_bytes() != theirs.key)
    });
    foreign.then_some(Evidence::PreKey)
}

#[cfg(test)]
mod tests {
    use super::super::pre_keys::OneTimeKey;
    use super::*;
    use crate::crypto::identity::IdentityKeyPair;
    use crate::crypto::keys::KeyPair;
    use crate::crypto::rng::SystemRng;
    use crate::protocol::bundle::PublicPreKey;
    use crate::protocol::namespace::Namespace::Omemo2;
    use crate::protocol::pre_key::SignedPreKey;

    fn signed(identity: &IdentityKeyPair, id: u32) -> SignedKey {
        let SignedPreKey { id, pair, signature } =
            SignedPreKey::generate(Omemo2, identity, id, &mut SystemRng).unwrap();
        SignedKey { id, pair: Box::new(pair), signature, made_ms: 0, made_accumulated_ms: 0 }
    }

    fn key(id: u32) -> OneTimeKey {
        OneTimeKey { id, pair: Box::new(KeyPair::generate(&mut SystemRng).unwrap()), used_ms: None }
    }

    /// A store with signed pre keys 2 and 3 and pre keys 5 to 8, and its bundle.
    fn store() -> (IdentityKeyPair, PreKeyStore, Bundle) {
        let identity = IdentityKeyPair::generate(&mut SystemRng).unwrap();
        let mut store = PreKeyStore::new(signed(&identity, 3));
        store.previous = Some(signed(&identity, 2));
        store.pre_keys = (5..9).map(key).collect();
        let bundle = store.bundle(Omemo2, *identity.public().ed()).unwrap();
        (identity, store, bundle)
    }

    const HIGHEST: HighestIds = HighestIds { signed_pre_key: 3, pre_key: 9 };

    #[test]
    fn what_this_store_has_published_is_no_evidence() {
        let (_, mut store, mut bundle) = store();
        assert_eq!(evidence(&bundle, &store, HIGHEST), None);
        // Used up since, and deleted; 9 was used up before.
        store.pre_keys[0].used_ms = Some(1);
        store.pre_keys.remove(3);
        bundle.pre_keys.push(PublicPreKey { id: 9, key: [9; 32] });
        assert_eq!(evidence(&bundle, &store, HIGHEST), None);
        // An older bundle that the server shows.
        let previous = store.previous.clone().unwrap();
        (bundle.signed_pre_key_id, bundle.signed_pre_key) = (2, *previous.pair.public().as_bytes());
        assert_eq!(evidence(&bundle, &store, HIGHEST), None);
        (bundle.signed_pre_key_id, bundle.signed_pre_key) = (1, [1; 32]);
        assert_eq!(evidence(&bundle, &store, HIGHEST), None);
    }

    #[test]
    fn what_this_store_never_made_is_evidence() {
        let (identity, store, bundle) = store();
        for id in [2, 3, 4, 400] {
            let other = signed(&identity, id);
            let mut theirs = bundle.clone();
            (theirs.signed_pre_key_id, theirs.signed_pre_key) = (id, *other.pair.public().as_bytes());
            assert_eq!(evidence(&theirs, &store, HIGHEST), Some(Evidence::SignedPreKey), "{id}");
        }
        for id in [5, 8, 10, 4_000] {
            let mut theirs = bundle.clone();
            theirs.pre_keys.retain(|key| key.id != id);
            theirs.pre_keys.push(PublicPreKey { id, key: [7; 32] });
            assert_eq!(evidence(&theirs, &store, HIGHEST), Some(Evidence::PreKey), "{id}");
        }
    }
}
