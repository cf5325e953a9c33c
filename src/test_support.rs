//! What unit tests share: reading vectors, and randomness that was recorded or comes from a seed.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use crate::crypto::identity::IdentityKeyPair;
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};
use crate::protocol::bundle::{Bundle, PublicPreKey};
use crate::protocol::closed_chains::{self, ChainEvent, ChainRecord, Quota};
use crate::protocol::namespace::Namespace;
use crate::protocol::pre_key::SignedPreKey;
use rand::{Rng as _, SeedableRng};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use zeroize::Zeroizing;

/// Two sides before their first session: the identities, and what stands in the bundle of the second.
pub(crate) struct Met {
    pub(crate) ours: IdentityKeyPair,
    pub(crate) theirs: IdentityKeyPair,
    pub(crate) signed: SignedPreKey,
    pub(crate) pre_key: KeyPair,
    pub(crate) bundle: Bundle,
}

impl Met {
    pub(crate) fn new(namespace: Namespace, rng: &mut dyn Rng) -> Met {
        let [ours, theirs] = [(); 2].map(|()| IdentityKeyPair::generate(rng).unwrap());
        let signed = SignedPreKey::generate(namespace, &theirs, 1, rng).unwrap();
        let pre_key = KeyPair::generate(rng).unwrap();
        let bundle = Bundle {
            namespace,
            identity_key: *theirs.public().ed(),
            signed_pre_key_id: 1,
            signed_pre_key: *signed.pair.public().as_bytes(),
            signature: signed.signature,
            pre_keys: vec![PublicPreKey { id: 1, key: *pre_key.public().as_bytes() }],
        };
        Met { ours, theirs, signed, pre_key, bundle }
    }
}

/// Tests, each for both namespaces.
macro_rules! in_both_namespaces {
    ($($test:ident)*) => {$(
        mod $test {
            use $crate::protocol::namespace::Namespace;

            #[test]
            fn omemo_2() {
                super::$test(Namespace::Omemo2);
            }

            #[test]
            fn legacy() {
                super::$test(Namespace::Legacy);
            }
        }
    )*};
}
pub(crate) use in_both_namespaces;

/// A file of `tests/data/vectors`.
pub(crate) fn vectors(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A list of a vector file.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap()
}

/// Bytes in hexadecimal.
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    assert_eq!(text.len() % 2, 0);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// `N` bytes in hexadecimal.
pub(crate) fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

/// 32 secret bytes in hexadecimal.
pub(crate) fn secret(value: &Value) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(fixed(value))
}

/// Randomness that was recorded: each draw must have the length of the next record.
#[derive(Default)]
pub(crate) struct Recorded(pub(crate) VecDeque<Vec<u8>>);

impl Recorded {
    pub(crate) fn new(draws: impl IntoIterator<Item = Vec<u8>>) -> Recorded {
        Recorded(draws.into_iter().collect())
    }
}

impl Rng for Recorded {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        let next =
            self.0.pop_front().ok_or(Error::new(Status::Internal, "More was drawn than was recorded."))?;
        assert_eq!(next.len(), out.len());
        out.copy_from_slice(&next);
        Ok(())
    }
}

/// The pages of closed chains of one device.
#[derive(Default)]
pub(crate) struct Pages(pub(crate) BTreeMap<u8, Vec<u8>>);

impl Pages {
    pub(crate) fn load(&self, number: u8) -> Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(self.0.get(&number).map(|bytes| Zeroizing::new(bytes.clone())))
    }

    pub(crate) fn find(&self, ratchet_key: &PublicKey) -> Result<Option<ChainRecord>> {
        closed_chains::find(ratchet_key, &mut |number| self.load(number))
    }

    pub(crate) fn note(&mut self, event: Option<&ChainEvent>, quota: Quota) {
        if let Some(event) = event {
            let page = closed_chains::note(event, quota, &mut |number| self.load(number)).unwrap();
            self.0.insert(page.number, page.bytes);
        }
    }
}

/// Randomness from a seed.
pub(crate) struct Seeded(rand::rngs::StdRng);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Seeded {
        Seeded(rand::rngs::StdRng::seed_from_u64(seed))
    }
}

impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        self.0.fill_bytes(out);
        Ok(())
    }
}
