//! Content that was decrypted and that the client has not acknowledged: what is kept of each, and the index by receipt and by
//! what was decrypted.

use super::super::policy;
use super::standing::Standing;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::KeyParts;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use zeroize::Zeroizing;

/// The latest moment that a receipt begins with, in milliseconds (the year 2109): so receipts stay below 2^53, which every
/// database and script holds exactly.
const LATEST_MS: u64 = 1 << 42;

/// SHA-256 over all that a message is told apart by: equal bytes are the same message.
pub(in crate::manager) type MessageDigest = [u8; 32];

/// Half a SHA-256 of a JID, as it stands in the names of records.
pub(in crate::manager) type JidDigest = [u8; 16];

/// One content in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) struct KeptEntry {
    pub(in crate::manager) message: MessageDigest,
    /// Whose content it is.
    pub(in crate::manager) whose: JidDigest,
    pub(in crate::manager) namespace: Namespace,
    /// What the sender was to the client when the message came.
    pub(in crate::manager) standing: Standing,
}

/// What is kept of one message: what the ratchet gave, and what cannot be looked up again. Trust and device lists are those
/// of the moment in which it is handed out.
pub(in crate::manager) struct KeptContent {
    pub(in crate::manager) jid: BareJid,
    pub(in crate::manager) device: DeviceId,
    pub(in crate::manager) namespace: Namespace,
    pub(in crate::manager) room: Option<BareJid>,
    /// The identity key that vouches for it, in Curve25519 form.
    pub(in crate::manager) mont: [u8; 32],
    /// The same in Ed25519 form, as it was handed out.
    pub(in crate::manager) ed: Option<[u8; 32]>,
    pub(in crate::manager) plaintext: Option<Zeroizing<Vec<u8>>>,
    pub(in crate::manager) key: Option<KeyParts>,
    pub(in crate::manager) new_session: bool,
    pub(in crate::manager) tag_in_payload: bool,
}

/// What a commit changes in the index: `None` is acknowledged or purged.
pub(in crate::manager) type KeptChanges = BTreeMap<u64, Option<KeptEntry>>;

/// The index.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct KeptIndex {
    last_receipt: u64,
    entries: BTreeMap<u64, KeptEntry>,
    by_message: HashMap<MessageDigest, u64>,
    buckets: BTreeMap<u8, BTreeSet<u64>>,
    /// How many are of known JIDs.
    known: usize,
}

impl KeptIndex {
    /// Makes an empty one in which this receipt was the last.
    pub(in crate::manager) fn new(last_receipt: u64) -> KeptIndex {
        KeptIndex { last_receipt, ..KeptIndex::default() }
    }

    /// Returns the bucket of a receipt. Receipts are numbers of ours, so that nobody who writes to us chooses buckets; both the
    /// moment and the count within it spread them.
    pub(in crate::manager) fn bucket_of(receipt: u64) -> u8 {
        let [count, ..] = receipt.to_le_bytes();
        let [moment, ..] = receipt.checked_div(policy::RECEIPTS_AT_ONCE).unwrap_or_default().to_le_bytes();
        count.wrapping_add(moment)
    }

    /// Returns the receipt for what is kept next. It begins with the time, so that a store that is an older copy does not give
    /// numbers again that the client has seen, and is larger than all before whatever the clock says.
    pub(in crate::manager) fn next_receipt(&self, wall_ms: i64) -> Result<u64> {
        let moment = u64::try_from(wall_ms).unwrap_or_default().min(LATEST_MS);
        let after = self.last_receipt.checked_add(1).ok_or(Error::from(Status::Limit))?;
        Ok(moment.saturating_mul(policy::RECEIPTS_AT_ONCE).max(after))
    }

    pub(in crate::manager) fn last_receipt(&self) -> u64 {
        self.last_receipt
    }

    pub(in crate::manager) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no room for more. What strangers have sent takes no room from known JIDs.
    pub(in crate::manager) fn is_full_for(&self, standing: Standing) -> bool {
        let strangers = self.len().saturating_sub(self.known);
        let taken = if standing.is_known() { self.known } else { strangers };
        taken >= policy::KEPT_CONTENTS
    }

    pub(in crate::manager) fn get(&self, receipt: u64) -> Option<&KeptEntry> {
        self.entries.get(&receipt)
    }

    /// Returns the receipt of what was decrypted of this message.
    pub(in crate::manager) fn find(&self, message: &MessageDigest) -> Option<u64> {
        self.by_message.get(message).copied()
    }

    /// Returns the first receipt after this one.
    pub(in crate::manager) fn after(&self, receipt: u64) -> Option<u64> {
        self.entries.range(receipt.checked_add(1)?..).next().map(|(receipt, _)| *receipt)
    }

    pub(in crate::manager) fn iter(&self) -> impl Iterator<Item = (u64, &KeptEntry)> {
        self.entries.iter().map(|(receipt, entry)| (*receipt, entry))
    }

    /// Returns the buckets that are not empty.
    pub(in crate::manager) fn buckets(&self) -> impl Iterator<Item = u8> {
        self.buckets.keys().copied()
    }

    /// Returns what stands in a bucket.
    pub(in crate::manager) fn bucket(&self, number: u8) -> impl Iterator<Item = (u64, &KeptEntry)> {
        let receipts = self.buckets.get(&number).into_iter().flatten();
        receipts.filter_map(|receipt| Some((*receipt, self.get(*receipt)?)))
    }

    /// Adds one. False: its receipt or its message is there already.
    pub(in crate::manager) fn add(&mut self, receipt: u64, entry: KeptEntry) -> bool {
        if self.entries.contains_key(&receipt) || self.by_message.contains_key(&entry.message) {
            return false;
        }
        self.last_receipt = self.last_receipt.max(receipt);
        self.known = self.known.saturating_add(entry.standing.is_known().into());
        self.by_message.insert(entry.message, receipt);
        self.buckets.entry(KeptIndex::bucket_of(receipt)).or_default().insert(receipt);
        self.entries.insert(receipt, entry);
        true
    }

    fn remove(&mut self, receipt: u64) {
        let Some(entry) = self.entries.remove(&receipt) else { return };
        self.known = self.known.saturating_sub(entry.standing.is_known().into());
        self.by_message.remove(&entry.message);
        let bucket = KeptIndex::bucket_of(receipt);
        if let Some(receipts) = self.buckets.get_mut(&bucket) {
            receipts.remove(&receipt);
            if receipts.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
    }

    /// Takes over what a commit has changed.
    pub(in crate::manager) fn apply(&mut self, changes: KeptChanges) {
        for (receipt, entry) in changes {
            match entry {
                Some(entry) => {
                    self.add(receipt, entry);
                }
                None => self.remove(receipt),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u8) -> KeptEntry {
        let standing = Standing::Known;
        KeptEntry { message: [number; 32], whose: [number; 16], namespace: Namespace::Omemo2, standing }
    }

    #[test]
    fn strangers_take_no_room_from_known_jids() {
        let mut index = KeptIndex::default();
        let mut add = |from: usize, standing: Standing| {
            for number in from..from + policy::KEPT_CONTENTS {
                assert!(!index.is_full_for(standing), "{number}");
                let mut message = [0; 32];
                message[..8].copy_from_slice(&number.to_be_bytes());
                let receipt = number.try_into().unwrap();
                assert!(index.add(receipt, KeptEntry { message, standing, ..entry(0) }));
            }
            assert!(index.is_full_for(standing));
        };
        add(1, Standing::Stranger);
        add(1_000_000, Standing::Known);
        index.apply([(1, None), (1_000_000, None)].into());
        assert!(!index.is_full_for(Standing::Stranger) && !index.is_full_for(Standing::Known));
    }

    #[test]
    fn receipts_grow_whatever_the_clock_says() {
        let mut index = KeptIndex::default();
        let mut before = 0;
        for (number, wall_ms) in [0, -5, 1_000, 1_000, 999, i64::MAX, i64::MIN].into_iter().enumerate() {
            let receipt = index.next_receipt(wall_ms).unwrap();
            assert!(receipt > before && receipt < 1 << 53, "{receipt}");
            assert!(index.add(receipt, entry(number.try_into().unwrap())));
            before = receipt;
        }
        // Also after all of them are gone.
        index.apply(index.iter().map(|(receipt, _)| (receipt, None)).collect());
        assert!(index.len() == 0 && index.buckets().next().is_none());
        assert_eq!(index.next_receipt(0).unwrap(), before + 1);
        assert_eq!(KeptIndex::new(u64::MAX).next_receipt(0).unwrap_err().status(), Status::Limit);
    }

    #[test]
    fn an_older_copy_gives_other_receipts_once_time_has_passed() {
        let copy = KeptIndex::new(5_000 * policy::RECEIPTS_AT_ONCE + 7);
        let original = copy.next_receipt(5_000).unwrap();
        assert_ne!(copy.next_receipt(5_001).unwrap(), original);
    }

    #[test]
    fn receipts_spread_over_the_buckets() {
        let spread = |receipts: &mut dyn Iterator<Item = u64>| {
            let mut counts = [0_usize; 256];
            receipts.for_each(|receipt| counts[usize::from(KeptIndex::bucket_of(receipt))] += 1);
            counts.into_iter().max().unwrap()
        };
        let now = 1_700_000_000_000 * policy::RECEIPTS_AT_ONCE;
        assert!(spread(&mut (now..now + 10_000)) <= 64, "a clock that stands still");
        assert!(spread(&mut (0..10_000).map(|ms| now + ms * policy::RECEIPTS_AT_ONCE)) <= 64);
        // A clock of whole seconds.
        assert!(spread(&mut (0..10_000).map(|s| now + s * 1_000 * policy::RECEIPTS_AT_ONCE)) <= 400);
    }

    #[test]
    fn a_message_and_a_receipt_stand_in_it_once() {
        let mut index = KeptIndex::default();
        assert!(index.add(7, entry(1)) && !index.add(7, entry(2)) && !index.add(8, entry(1)));
        assert_eq!((index.find(&[1; 32]), index.find(&[2; 32])), (Some(7), None));
        assert_eq!(
            (index.after(0), index.after(6), index.after(7), index.after(u64::MAX)),
            (Some(7), Some(7), None, None)
        );
    }
}
