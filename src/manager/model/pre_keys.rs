//! This device's pre keys in one namespace, and the key exchanges that used them up.
//!
//! The private half of a used pre key stays until a bundle without it stands on the server: until then others may take
//! the same one, and their key exchanges open, too. A key exchange is remembered for as long, so that it opens once.

use super::super::policy;
use super::standing::Standing;
use crate::crypto::keys::KeyPair;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::bundle::{Bundle, PublicPreKey};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use sha2::{Digest as _, Sha256};

/// A signed pre key.
#[derive(Clone)]
pub(in crate::manager) struct SignedKey {
    pub(in crate::manager) id: u32,
    pub(in crate::manager) pair: Box<KeyPair>,
    pub(in crate::manager) signature: [u8; 64],
    /// When it was made, in wall-clock milliseconds.
    pub(in crate::manager) made_ms: i64,
    /// The same in accumulated time.
    pub(in crate::manager) made_accumulated_ms: u64,
}

/// A one-time pre key.
#[derive(Clone)]
pub(in crate::manager) struct OneTimeKey {
    pub(in crate::manager) id: u32,
    pub(in crate::manager) pair: Box<KeyPair>,
    /// When a key exchange used it up, in accumulated milliseconds (see `rotation`).
    pub(in crate::manager) used_ms: Option<u64>,
}

impl OneTimeKey {
    fn is_too_old(&self, accumulated_ms: u64) -> bool {
        let age_ms = |used_ms: u64| accumulated_ms.saturating_sub(used_ms);
        self.used_ms.is_some_and(|used_ms| age_ms(used_ms) >= policy::USED_PRE_KEY_MS)
    }
}

/// A key exchange that used a pre key up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::manager) struct ProcessedExchange {
    pub(in crate::manager) pre_key_id: u32,
    /// Of whose it is and of its keys.
    pub(in crate::manager) hash: Vec<u8>,
    /// The index of the message that it was opened with.
    pub(in crate::manager) opened: u32,
    /// What its JID is to the client.
    pub(in crate::manager) standing: Standing,
    /// A few bytes of a hash of that JID.
    pub(in crate::manager) whose: u32,
}

impl ProcessedExchange {
    /// Returns what tells whose key exchanges are whose.
    pub(in crate::manager) fn whose(jid: &BareJid) -> u32 {
        let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(jid.as_str()).into();
        u32::from_le_bytes([a, b, c, d])
    }
}

/// See the module.
#[derive(Clone)]
pub(in crate::manager) struct PreKeyStore {
    pub(in crate::manager) signed: SignedKey,
    pub(in crate::manager) previous: Option<SignedKey>,
    pub(in crate::manager) pre_keys: Vec<OneTimeKey>,
    pub(in crate::manager) exchanges: Vec<ProcessedExchange>,
    /// The bundle on the server is not this one.
    pub(in crate::manager) bundle_pending: bool,
}

impl PreKeyStore {
    pub(in crate::manager) fn new(signed: SignedKey) -> PreKeyStore {
        PreKeyStore {
            signed,
            previous: None,
            pre_keys: Vec::new(),
            exchanges: Vec::new(),
            bundle_pending: true,
        }
    }

    /// Returns the signed pre key with this id, if it is the current or the previous one.
    pub(in crate::manager) fn signed_pre_key(&self, id: u32) -> Option<&KeyPair> {
        let both = std::iter::once(&self.signed).chain(&self.previous);
        both.filter(|signed| signed.id == id).map(|signed| &*signed.pair).next()
    }

    /// Returns the one-time pre key with this id, unused or used lately.
    pub(in crate::manager) fn pre_key(&self, id: u32, accumulated_ms: u64) -> Option<&KeyPair> {
        self.pre_keys.iter().find(|key| key.id == id && !key.is_too_old(accumulated_ms)).map(|key| &*key.pair)
    }

    /// Returns whether a used pre key is there that no key exchange may take any more.
    pub(in crate::manager) fn has_old(&self, accumulated_ms: u64) -> bool {
        self.pre_keys.iter().any(|key| key.is_too_old(accumulated_ms))
    }

    /// Has the used pre keys count as used just now.
    pub(in crate::manager) fn keep_another_day(&mut self, accumulated_ms: u64) {
        let used = self.pre_keys.iter_mut().filter_map(|key| key.used_ms.as_mut());
        used.for_each(|used_ms| *used_ms = accumulated_ms);
    }

    /// Returns the key exchange with this hash, if it was processed.
    pub(in crate::manager) fn processed(&self, hash: &[u8]) -> Option<&ProcessedExchange> {
        self.exchanges.iter().find(|exchange| exchange.hash == hash)
    }

    /// Notes that a key exchange has used a pre key up.
    pub(in crate::manager) fn consume(&mut self, exchange: ProcessedExchange, accumulated_ms: u64) {
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("used-pre-key-offered") {
            return self.exchanges.push(exchange);
        }
        if let Some(key) = self.pre_keys.iter_mut().find(|key| key.id == exchange.pre_key_id) {
            key.used_ms.get_or_insert(accumulated_ms);
        }
        self.exchanges.push(exchange);
        self.forget_surplus();
        self.bundle_pending = true;
    }

    /// Returns whether one more key exchange of a stranger may use a pre key up before a bundle without those that are
    /// used up stands on the server. What strangers send deletes no pre key that others may still take.
    pub(in crate::manager) fn has_stranger_room(&self, whose: u32) -> bool {
        let open = |exchange: &&ProcessedExchange| {
            exchange.standing == Standing::Stranger
                && self.pre_keys.iter().any(|key| key.id == exchange.pre_key_id)
        };
        let mut open = self.exchanges.iter().filter(open).map(|exchange| exchange.whose);
        let (mut all, mut own) = (0_usize, 0_usize);
        for of in open.by_ref() {
            all = all.saturating_add(1);
            own = own.saturating_add((of == whose).into());
        }
        all < policy::OPEN_STRANGER_EXCHANGES && own < policy::OPEN_EXCHANGES_OF_A_STRANGER
    }

    /// Deletes the used pre keys that no key exchange may take any more.
    pub(in crate::manager) fn drop_old(&mut self, accumulated_ms: u64) {
        self.pre_keys.retain(|key| !key.is_too_old(accumulated_ms));
    }

    /// Forgets the exchanges that are too many, the oldest first; strangers have half of the places. One that is forgotten
    /// takes its pre key with it: else it would open a second time.
    fn forget_surplus(&mut self) {
        let half = limits::REMEMBERED_EXCHANGES.checked_div(2).unwrap_or(0);
        loop {
            let strangers =
                self.exchanges.iter().filter(|exchange| exchange.standing == Standing::Stranger).count();
            let surplus = self.exchanges.len() > limits::REMEMBERED_EXCHANGES;
            let place = if strangers > half {
                self.exchanges.iter().position(|exchange| exchange.standing == Standing::Stranger)
            } else {
                surplus.then_some(0)
            };
            let Some(place) = place else { break };
            let gone = self.exchanges.remove(place);
            self.pre_keys.retain(|key| key.id != gone.pre_key_id || key.used_ms.is_none());
        }
    }

    /// Has the oldest pre key count as used.
    pub(in crate::manager) fn retire_oldest(&mut self, accumulated_ms: u64) {
        let unused = self.pre_keys.iter_mut().filter(|key| key.used_ms.is_none());
        if let Some(oldest) = unused.min_by_key(|key| key.id) {
            oldest.used_ms = Some(accumulated_ms);
        }
    }

    /// Has all pre keys count as used, so that new ones are made, and takes another signed pre key.
    pub(in crate::manager) fn renew(&mut self, signed: Option<SignedKey>, accumulated_ms: u64) {
        if let Some(signed) = signed {
            self.previous = Some(std::mem::replace(&mut self.signed, signed));
        }
        for key in &mut self.pre_keys {
            key.used_ms.get_or_insert(accumulated_ms);
        }
        self.bundle_pending = true;
    }

    /// Returns whether a used pre key is kept.
    pub(in crate::manager) fn has_used(&self) -> bool {
        self.pre_keys.iter().any(|key| key.used_ms.is_some())
    }

    /// A bundle without the used pre keys stands on the server, and messages that were encrypted with one of them may still
    /// come.
    pub(in crate::manager) fn published_while_catching_up(&mut self) {
        self.bundle_pending = false;
    }

    /// A bundle without the used pre keys stands on the server.
    pub(in crate::manager) fn published(&mut self) {
        self.bundle_pending = false;
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("used-pre-key-kept") {
            return;
        }
        self.pre_keys.retain(|key| key.used_ms.is_none());
    }

    /// Returns how many pre keys a full bundle lacks, if no more than so many are left.
    pub(in crate::manager) fn missing(&self, threshold: usize) -> usize {
        let unused = self.pre_keys.iter().filter(|key| key.used_ms.is_none()).count();
        if unused > threshold { 0 } else { policy::PRE_KEYS.saturating_sub(unused) }
    }

    /// Returns the bundle as it is to be published.
    pub(in crate::manager) fn bundle(&self, namespace: Namespace, identity_key: [u8; 32]) -> Result<Bundle> {
        let unused = self.pre_keys.iter().filter(|key| key.used_ms.is_none());
        let pre_keys: Vec<PublicPreKey> =
            unused.map(|key| PublicPreKey { id: key.id, key: *key.pair.public().as_bytes() }).collect();
        if pre_keys.is_empty() {
            return Err(Error::new(Status::Internal, "The bundle has no pre keys."));
        }
        Ok(Bundle {
            namespace,
            identity_key,
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public().as_bytes(),
            signature: self.signed.signature,
            pre_keys,
        })
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;
    use Standing::{Known, Stranger};
    use zeroize::Zeroizing;

    fn store(count: u32) -> PreKeyStore {
        let pair = |byte: u8| Box::new(KeyPair::from_private(Zeroizing::new([byte; 32])));
        let mut store = PreKeyStore::new(SignedKey {
            id: 1,
            pair: pair(1),
            signature: [0; 64],
            made_ms: 0,
            made_accumulated_ms: 0,
        });
        store.pre_keys = (1..=count).map(|id| OneTimeKey { id, pair: pair(2), used_ms: None }).collect();
        store
    }

    fn exchange(pre_key_id: u32, hash: &[u8], standing: Standing) -> ProcessedExchange {
        ProcessedExchange { pre_key_id, hash: hash.to_vec(), opened: 0, standing, whose: 0 }
    }

    #[test]
    fn a_used_pre_key_opens_others_until_a_bundle_without_it_is_published() {
        let mut store = store(3);
        store.consume(exchange(2, &[7], Known), 1_000);
        assert!(store.pre_key(2, 0).is_some() && store.processed(&[7]).is_some() && store.bundle_pending);
        let ids: Vec<u32> =
            store.bundle(Namespace::Omemo2, [0; 32]).unwrap().pre_keys.iter().map(|key| key.id).collect();
        assert_eq!(ids, [1, 3]);
        store.published();
        assert!(store.pre_key(2, 0).is_none() && store.processed(&[7]).is_some() && !store.bundle_pending);
    }

    #[test]
    fn it_stays_for_a_day_at_most() {
        let mut store = store(3);
        store.consume(exchange(2, &[7], Known), 1_000);
        store.consume(exchange(3, &[8], Known), 1_000 + policy::USED_PRE_KEY_MS - 1);
        store.drop_old(1_000 + policy::USED_PRE_KEY_MS - 1);
        assert!(store.pre_key(2, 0).is_some());
        store.drop_old(1_000 + policy::USED_PRE_KEY_MS);
        assert!(store.pre_key(2, 0).is_none() && store.pre_key(3, 0).is_some());
    }

    #[test]
    fn no_exchange_is_forgotten_while_its_pre_key_is_there() {
        let mut store = store(2);
        for number in 0..5_000_u32 {
            store.consume(exchange(1, &number.to_le_bytes(), Known), 0);
            let forgotten = (0..=number).any(|n| store.processed(&n.to_le_bytes()).is_none());
            assert!(!forgotten || store.pre_key(1, 0).is_none());
            if number > 1_100 {
                break;
            }
        }
        assert!(store.pre_key(1, 0).is_none() && store.pre_key(2, 0).is_some());
    }
    #[test]
    fn strangers_do_not_push_out_what_known_jids_have_sent() {
        let mut store = store(5);
        store.consume(exchange(1, b"friend", Known), 0);
        for number in 0_u32..1_000 {
            store.consume(exchange(1, &number.to_le_bytes(), Stranger), 0);
        }
        assert!(store.processed(b"friend").is_some());
        assert_eq!(store.exchanges.len(), limits::REMEMBERED_EXCHANGES / 2 + 1);
        assert!(store.processed(&999_u32.to_le_bytes()).is_some(), "the youngest of them");
    }

    #[test]
    fn a_used_pre_key_is_old_after_a_day_to_the_millisecond() {
        let mut store = store(2);
        assert!(!store.has_old(u64::MAX));
        store.consume(exchange(2, &[7], Known), 1_000);
        let end = 1_000 + policy::USED_PRE_KEY_MS;
        assert!(store.pre_key(2, end - 1).is_some() && !store.has_old(end - 1));
        assert!(store.pre_key(2, end).is_none() && store.has_old(end));
        // The first use counts.
        store.consume(exchange(2, &[8], Known), 5_000);
        assert!(store.has_old(end));
    }

    #[test]
    fn strangers_have_room_for_so_many_exchanges_in_all_and_each() {
        let open = |count: usize, whose: &dyn Fn(usize) -> u32, standing: Standing| {
            let mut store = store(1);
            store.exchanges = (0..count)
                .map(|number| ProcessedExchange { whose: whose(number), ..exchange(1, &[], standing) })
                .collect();
            store
        };
        let own = policy::OPEN_EXCHANGES_OF_A_STRANGER;
        assert!(open(own - 1, &|_| 7, Stranger).has_stranger_room(7));
        assert!(!open(own, &|_| 7, Stranger).has_stranger_room(7));
        assert!(open(own, &|_| 7, Stranger).has_stranger_room(8));
        let all = policy::OPEN_STRANGER_EXCHANGES;
        let each = |number: usize| u32::try_from(number).unwrap();
        assert!(open(all - 1, &each, Stranger).has_stranger_room(1_000));
        assert!(!open(all, &each, Stranger).has_stranger_room(1_000));
        // Neither known JIDs count nor what used a pre key that is gone.
        assert!(open(all, &each, Known).has_stranger_room(0));
        let mut gone = open(all, &each, Stranger);
        gone.pre_keys.clear();
        assert!(gone.has_stranger_room(0));
    }

    #[test]
    fn whose_an_exchange_is_follows_from_the_jid() {
        let whose = |jid: &str| ProcessedExchange::whose(&BareJid::from_normalized(jid));
        assert_eq!(whose("romeo@montague.lit"), whose("romeo@montague.lit"));
        assert_ne!(whose("romeo@montague.lit"), whose("juliet@capulet.lit"));
        let [a, b, c, d, ..]: [u8; 32] = Sha256::digest("romeo@montague.lit").into();
        assert_eq!(whose("romeo@montague.lit").to_le_bytes(), [a, b, c, d]);
    }

    #[test]
    fn used_pre_keys_are_missing_and_not_published() {
        let mut store = store(3);
        assert_eq!(store.missing(99), policy::PRE_KEYS - 3);
        store.consume(exchange(2, &[7], Known), 1_000);
        assert_eq!(store.missing(99), policy::PRE_KEYS - 2);
        let bundle = store.bundle(Namespace::Legacy, [5; 32]).unwrap();
        assert_eq!(
            (bundle.namespace, bundle.identity_key, bundle.signed_pre_key_id),
            (Namespace::Legacy, [5; 32], 1)
        );
        assert_eq!(bundle.signed_pre_key, *store.signed.pair.public().as_bytes());
        store.pre_keys.iter_mut().for_each(|key| key.used_ms = Some(0));
        assert_eq!(store.bundle(Namespace::Legacy, [5; 32]).unwrap_err().status(), Status::Internal);
    }

    #[test]
    fn the_signed_pre_key_before_is_known_by_its_id_too() {
        let mut store = store(0);
        let pair = |byte: u8| Box::new(KeyPair::from_private(Zeroizing::new([byte; 32])));
        assert!(store.signed_pre_key(1).is_some() && store.signed_pre_key(2).is_none());
        let newer =
            SignedKey { id: 2, pair: pair(9), signature: [0; 64], made_ms: 5, made_accumulated_ms: 0 };
        store.previous = Some(std::mem::replace(&mut store.signed, newer));
        assert_eq!(store.signed_pre_key(1).unwrap().public(), pair(1).public());
        assert_eq!(store.signed_pre_key(2).unwrap().public(), pair(9).public());
        assert!(store.signed_pre_key(3).is_none());
    }

    #[test]
    fn as_many_exchanges_are_remembered_as_the_limit_says() {
        let mut store = store(0);
        for number in 0..1_000_u32 {
            store.consume(exchange(9, &number.to_le_bytes(), Known), 0);
            let count = usize::try_from(number).unwrap() + 1;
            assert_eq!(store.exchanges.len(), count.min(limits::REMEMBERED_EXCHANGES));
        }
        let half = limits::REMEMBERED_EXCHANGES / 2;
        store.exchanges.clear();
        for number in 0..1_000_u32 {
            store.consume(exchange(9, &number.to_le_bytes(), Stranger), 0);
            assert_eq!(store.exchanges.len(), (usize::try_from(number).unwrap() + 1).min(half));
        }
    }
}
