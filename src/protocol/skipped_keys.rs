//! Message keys of messages that did not come (yet): a bounded queue, the oldest goes first (XEP-0384 4.3).
//!
//! Grouped by ratchet key, since many keys of one chain are skipped at a time: 34 bytes a key when stored.

use super::chain::Secret;
use crate::crypto::keys::PublicKey;
use crate::crypto::silent::silent;
use crate::error::{Error, Result, Status};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use zeroize::{Zeroize, Zeroizing};

const VERSION: u32 = 1;
/// The tag of `SkippedRecord::groups`.
const GROUPS: u32 = 2;
/// Bytes of a ratchet key and a message key, which every group has.
const SMALLEST_GROUP: usize = 64;

/// Keys of one chain, by ascending index.
#[derive(Clone)]
struct Group {
    ratchet_key: PublicKey,
    keys: Vec<(u32, Secret)>,
}

/// The skipped message keys of one session.
#[derive(Clone, Default)]
pub struct SkippedKeys {
    groups: Vec<Group>,
    count: usize,
}

impl SkippedKeys {
    /// None.
    pub fn new() -> SkippedKeys {
        SkippedKeys::default()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a key of this chain is here.
    pub fn knows(&self, ratchet_key: &PublicKey) -> bool {
        self.groups.iter().any(|group| group.ratchet_key == *ratchet_key)
    }

    /// The key of one message.
    pub fn get(&self, ratchet_key: &PublicKey, n: u32) -> Option<&Secret> {
        let (group, position) = self.find(ratchet_key, n)?;
        self.groups.get(group)?.keys.get(position).map(|(_, key)| key)
    }

    /// Where the key of one message lies. A ratchet key that came back has several groups: the youngest counts.
    fn find(&self, ratchet_key: &PublicKey, n: u32) -> Option<(usize, usize)> {
        let groups = self.groups.iter().enumerate().rev();
        let mut groups = groups.filter(|(_, group)| group.ratchet_key == *ratchet_key);
        groups.find_map(|(at, group)| Some((at, group.keys.binary_search_by_key(&n, |(n, _)| *n).ok()?)))
    }

    /// Takes a used key out.
    pub fn remove(&mut self, ratchet_key: &PublicKey, n: u32) {
        let Some((at, position)) = self.find(ratchet_key, n) else { return };
        if let Some(group) = self.groups.get_mut(at) {
            group.keys.remove(position);
            self.count = self.count.saturating_sub(1);
            self.groups.retain(|group| !group.keys.is_empty());
        }
    }

    /// Returns the indices of one chain whose keys are here, in ascending order unless the ratchet key came back.
    pub fn indices(&self, ratchet_key: &PublicKey) -> impl Iterator<Item = u32> {
        let groups = self.groups.iter().filter(move |group| group.ratchet_key == *ratchet_key);
        groups.flat_map(|group| group.keys.iter().map(|(n, _)| *n))
    }

    /// Adds keys of one chain, whose indices ascend, then drops the oldest until no more than `limit` are left. Returns
    /// the chain and index of each key that was dropped.
    pub fn add(
        &mut self,
        ratchet_key: PublicKey,
        keys: Vec<(u32, Secret)>,
        limit: usize,
    ) -> Vec<(PublicKey, u32)> {
        if let Some((first, _)) = keys.first() {
            self.count = self.count.saturating_add(keys.len());
            // A peer that comes back with an old ratchet key begins the chain anew, and a group of its own.
            let goes_on = |group: &&mut Group| {
                group.ratchet_key == ratchet_key && group.keys.last().is_some_and(|(last, _)| last < first)
            };
            match self.groups.last_mut().filter(goes_on) {
                Some(group) => group.keys.extend(keys),
                None => self.groups.push(Group { ratchet_key, keys }),
            }
        }
        let mut surplus = self.count.saturating_sub(limit);
        self.count = self.count.saturating_sub(surplus);
        let mut dropped = Vec::with_capacity(surplus);
        for group in &mut self.groups {
            let count = surplus.min(group.keys.len());
            dropped.extend(group.keys.drain(..count).map(|(n, _)| (group.ratchet_key, n)));
            surplus = surplus.saturating_sub(count);
        }
        self.groups.retain(|group| !group.keys.is_empty());
        dropped
    }

    /// All keys, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&PublicKey, u32, &Secret)> {
        self.groups.iter().flat_map(|group| group.keys.iter().map(|(n, key)| (&group.ratchet_key, *n, key)))
    }

    /// The record of a session's skipped keys.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let groups = self.groups.iter().map(|group| {
            let mut keys = Vec::with_capacity(group.keys.len().saturating_mul(32));
            group.keys.iter().for_each(|(_, key)| keys.extend_from_slice(&**key));
            let indices = group.keys.iter().map(|(n, _)| *n).collect();
            GroupRecord { ratchet_key: group.ratchet_key.as_bytes().to_vec(), indices, keys }
        });
        let record = SkippedRecord { version: VERSION, groups: groups.collect() };
        Zeroizing::new(record.encode_to_vec())
    }

    /// Reads the record.
    pub fn decode(bytes: &[u8]) -> Result<SkippedKeys> {
        let corrupt =
            || Error::new(Status::StorageCorrupt, "A record of skipped message keys cannot be read.");
        if !groups_are_large(bytes) {
            return Err(corrupt());
        }
        let record = SkippedRecord::decode(bytes).map_err(|_| corrupt())?;
        if record.version == 0 {
            return Err(corrupt());
        }
        if record.version > VERSION {
            return Err(Status::StorageVersion.into());
        }
        let mut skipped = SkippedKeys::new();
        for group in &record.groups {
            let ratchet_key = <[u8; 32]>::try_from(group.ratchet_key.as_slice()).map_err(|_| corrupt())?;
            let (keys, rest) = group.keys.as_chunks::<32>();
            let ascending = group.indices.is_sorted_by(|a, b| a < b);
            if !rest.is_empty() || keys.len() != group.indices.len() || keys.is_empty() || !ascending {
                return Err(corrupt());
            }
            let keys: Vec<_> =
                group.indices.iter().copied().zip(keys.iter().map(|key| Zeroizing::new(*key))).collect();
            skipped.count = skipped.count.saturating_add(keys.len());
            skipped.groups.push(Group { ratchet_key: PublicKey::from_bytes(ratchet_key), keys });
        }
        Ok(skipped)
    }
}

/// Returns whether each group is as large as one of a single key. An empty one takes two bytes in the record and a hundred
/// in memory: this bounds what the decoder can be made to build.
fn groups_are_large(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Ok((tag, wire_type)) = decode_key(&mut bytes) else { return false };
        let before = bytes.len();
        let skipped = skip_field(wire_type, tag, &mut bytes, DecodeContext::default());
        let is_small = tag == GROUPS && before.saturating_sub(bytes.len()) < SMALLEST_GROUP;
        if skipped.is_err() || is_small {
            return false;
        }
    }
    true
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct GroupRecord {
    #[prost(bytes = "vec", tag = "1")]
    ratchet_key: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    indices: Vec<u32>,
    #[prost(bytes = "vec", tag = "3")]
    keys: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct SkippedRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, repeated, tag = "2")]
    groups: Vec<GroupRecord>,
}

silent! { GroupRecord SkippedRecord }

impl Drop for GroupRecord {
    fn drop(&mut self) {
        self.keys.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Secret {
        Zeroizing::new([byte; 32])
    }

    fn chain(byte: u8) -> PublicKey {
        PublicKey::from_bytes([byte; 32])
    }

    #[test]
    fn the_oldest_go_first_across_chains() {
        let mut skipped = SkippedKeys::new();
        skipped.add(chain(1), vec![(3, key(3)), (4, key(4))], 4);
        skipped.add(chain(2), vec![(0, key(10)), (1, key(11)), (2, key(12))], 4);
        let left: Vec<_> = skipped.iter().map(|(chain, n, _)| (*chain, n)).collect();
        assert_eq!(left, [(chain(1), 4), (chain(2), 0), (chain(2), 1), (chain(2), 2)]);
        skipped.add(chain(2), vec![(5, key(15))], 3);
        let left: Vec<_> = skipped.iter().map(|(_, n, _)| n).collect();
        assert_eq!(left, [1, 2, 5]);
        assert_eq!(skipped.len(), 3);
    }

    #[test]
    fn a_chain_that_begins_anew_has_a_group_of_its_own() {
        let mut skipped = SkippedKeys::new();
        skipped.add(chain(1), vec![(0, key(10)), (1, key(11))], 9);
        skipped.add(chain(2), vec![(0, key(20))], 9);
        skipped.add(chain(1), vec![(1, key(31)), (2, key(32))], 9);
        let again = SkippedKeys::decode(&skipped.encode()).unwrap();
        let all = |skipped: &SkippedKeys| skipped.iter().map(|(_, n, key)| (n, key[0])).collect::<Vec<_>>();
        assert_eq!(all(&again), [(0, 10), (1, 11), (0, 20), (1, 31), (2, 32)]);
        assert_eq!((again.get(&chain(1), 1).unwrap()[0], again.get(&chain(1), 0).unwrap()[0]), (31, 10));
        skipped.remove(&chain(1), 1);
        assert_eq!(skipped.get(&chain(1), 1).unwrap()[0], 11);
        skipped.add(chain(3), vec![(0, key(40))], 3);
        assert_eq!(all(&skipped), [(0, 20), (2, 32), (0, 40)]);
    }

    #[test]
    fn a_limit_of_zero_keeps_none() {
        let mut skipped = SkippedKeys::new();
        skipped.add(chain(1), vec![(0, key(0)), (1, key(1))], 0);
        assert!(skipped.is_empty());
        assert_eq!(skipped.iter().count(), 0);
    }

    #[test]
    fn a_used_key_is_gone_and_the_record_says_the_same() {
        let mut skipped = SkippedKeys::new();
        skipped.add(chain(1), vec![(3, key(3)), (4, key(4))], 10);
        skipped.add(chain(2), vec![(7, key(7))], 10);
        skipped.remove(&chain(1), 3);
        skipped.remove(&chain(2), 7);
        skipped.remove(&chain(2), 7);
        assert!(skipped.get(&chain(1), 3).is_none() && !skipped.knows(&chain(2)));
        let again = SkippedKeys::decode(&skipped.encode()).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(**again.get(&chain(1), 4).unwrap(), [4; 32]);
    }

    #[test]
    fn a_thousand_keys_take_at_most_45_kb() {
        let mut skipped = SkippedKeys::new();
        skipped.add(chain(1), (0..1000).map(|n| (n, key(1))).collect(), 1000);
        assert!(skipped.encode().len() <= 45_000, "{}", skipped.encode().len());
    }

    #[test]
    fn a_record_that_contradicts_itself_is_refused() {
        let read = |key: usize, indices: &[u32], keys: usize| {
            let group =
                GroupRecord { ratchet_key: vec![1; key], indices: indices.to_vec(), keys: vec![0; keys] };
            let record = SkippedRecord { version: 1, groups: vec![group] };
            SkippedKeys::decode(&record.encode_to_vec()).map_err(|error| error.status())
        };
        assert_eq!(read(32, &[1, 2], 64).unwrap().len(), 2);
        for (key, indices, keys) in [
            (31, [1, 2].as_slice(), 64), // a ratchet key that is too short
            (32, &[1, 1], 64),           // an index twice
            (32, &[2, 1], 64),           // indices that descend
            (32, &[1], 64),              // a key without index
            (32, &[1, 2, 3], 64),        // an index without key
            (32, &[1, 2], 65),           // half a key at the end
            (32, &[], 0),                // nothing
        ] {
            assert_eq!(read(key, indices, keys).err(), Some(Status::StorageCorrupt), "{indices:?} {keys}");
        }
        // No key, but large by a field that is unknown here.
        let empty = GroupRecord { ratchet_key: vec![1; 32], indices: Vec::new(), keys: Vec::new() };
        let group = [empty.encode_to_vec(), vec![0x22, 40], vec![0; 40]].concat();
        let record = [&[8, 1, 0x12, group.len() as u8], group.as_slice()].concat();
        assert!(groups_are_large(&record));
        assert_eq!(SkippedKeys::decode(&record).err().unwrap().status(), Status::StorageCorrupt);
        let newer = SkippedRecord { version: 2, groups: Vec::new() };
        assert_eq!(
            SkippedKeys::decode(&newer.encode_to_vec()).err().unwrap().status(),
            Status::StorageVersion
        );
    }

    #[test]
    fn a_chain_whose_indices_do_not_ascend_begins_anew() {
        let mut skipped = SkippedKeys::new();
        skipped.add(chain(1), vec![(3, key(10)), (4, key(11))], 9);
        skipped.add(chain(1), vec![(4, key(12)), (5, key(13))], 9);
        skipped.add(chain(1), vec![(6, key(14))], 9);
        assert_eq!(skipped.groups.len(), 2);
        let again = SkippedKeys::decode(&skipped.encode()).unwrap();
        assert_eq!((again.len(), again.get(&chain(1), 4).unwrap()[0]), (5, 12));
        assert_eq!(again.indices(&chain(1)).collect::<Vec<_>>(), [3, 4, 4, 5, 6]);
        assert_eq!(again.indices(&chain(2)).count(), 0);
    }

    #[test]
    fn what_is_dropped_is_told_by_chain_and_index() {
        let mut skipped = SkippedKeys::new();
        assert!(skipped.add(chain(1), vec![(3, key(3)), (4, key(4))], 3).is_empty());
        let dropped = skipped.add(chain(2), vec![(0, key(0)), (1, key(1)), (2, key(2))], 2);
        assert_eq!(dropped, [(chain(1), 3), (chain(1), 4), (chain(2), 0)]);
        assert!(!skipped.is_empty() && skipped.knows(&chain(2)) && !skipped.knows(&chain(1)));
    }

    #[test]
    fn groups_that_are_too_small_to_be_any_are_not_decoded() {
        let group = |length: u8| [vec![0x12, length], vec![0; length.into()]].concat();
        // A group's length stands in a byte of its own.
        assert!(groups_are_large(&[]) && groups_are_large(&[8, 1]) && groups_are_large(&group(63)));
        for length in [0, 1, 34, 62] {
            assert!(!groups_are_large(&group(length)), "{length}");
        }
        assert!(!groups_are_large(&[&[8, 1], group(62).as_slice(), &group(63)].concat()));
        // What is no protobuf message at all.
        assert!(!groups_are_large(&[0]) && !groups_are_large(&[0x12]) && !groups_are_large(&[8]));
        let status = |bytes: &[u8]| SkippedKeys::decode(bytes).err().map(|error| error.status());
        assert_eq!(status(&[]), Some(Status::StorageCorrupt), "a record without version");
        assert_eq!(status(&[8, 3]), Some(Status::StorageVersion));
        assert_eq!(status(&[8, 1]), None);
    }
}
