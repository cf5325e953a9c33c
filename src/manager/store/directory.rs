//! The index of JIDs: which there are, which the client knows, and by which device ids and identity keys they are
//! found. It is loaded as a whole, follows from the records of the JIDs, and is written with them.

use super::super::model::contact::Contact;
use super::super::model::standing::Standing;
use super::super::policy;
use super::keys;
use super::records;
use super::records::index::{BucketRecord, EntryRecord, KEY_BYTES};
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::limits;
use crate::storage::Batch;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use zeroize::Zeroizing;

type KeyPrefix = [u8; KEY_BYTES];

/// How a JID is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    standing: Standing,
    ids: Vec<u32>,
    keys: Vec<KeyPrefix>,
}

impl Entry {
    pub(super) fn of(contact: &Contact) -> Entry {
        let with_key = contact.devices.iter().filter(|device| device.identity.key().is_some());
        let confirmed = contact.devices.iter().filter(|device| device.identity.is_key_confirmed());
        let keys: BTreeSet<KeyPrefix> =
            confirmed.filter_map(|device| device.identity.key()?.mont().first_chunk().copied()).collect();
        Entry {
            standing: contact.standing,
            ids: with_key.map(|device| device.id).collect(),
            keys: keys.into_iter().collect(),
        }
    }

    pub(super) fn from_record(record: &EntryRecord) -> Result<Entry> {
        let standing = if record.known { Standing::Known } else { Standing::Stranger };
        Ok(Entry { standing, ids: record.ids.clone(), keys: record.keys()?.to_vec() })
    }

    fn record(&self, jid: &BareJid) -> EntryRecord {
        let (known, ids, keys) = (self.standing.is_known(), self.ids.clone(), self.keys.concat());
        EntryRecord { jid: jid.as_str().to_owned(), known, ids, keys }
    }
}

/// JIDs that share something, those that the client knows apart.
#[derive(Default)]
struct Found {
    known: BTreeSet<BareJid>,
    strangers: BTreeSet<BareJid>,
}

impl Found {
    fn iter(&self) -> impl Iterator<Item = &BareJid> {
        self.known.iter().chain(&self.strangers)
    }

    fn add(&mut self, jid: &BareJid, standing: Standing) {
        match standing {
            Standing::Known => self.known.insert(jid.clone()),
            Standing::Stranger => self.strangers.insert(jid.clone()),
        };
    }

    fn remove(&mut self, jid: &BareJid) -> bool {
        self.known.remove(jid);
        self.strangers.remove(jid);
        self.known.is_empty() && self.strangers.is_empty()
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Directory {
    entries: HashMap<BareJid, Entry>,
    by_id: HashMap<u32, Found>,
    by_key: HashMap<KeyPrefix, Found>,
    /// The JIDs of each bucket, the longest known first.
    buckets: BTreeMap<u8, Vec<BareJid>>,
}

/// What a commit changes in the index: `None` is a JID that is removed.
pub(super) type Changes = BTreeMap<BareJid, Option<Entry>>;

impl Directory {
    /// Loads all buckets.
    pub(super) fn load(load: impl Fn(&str) -> Result<Option<Zeroizing<Vec<u8>>>>) -> Result<Directory> {
        let mut directory = Directory::default();
        for number in 0..=keys::BUCKETS {
            let Some(bytes) = load(&keys::bucket(number))? else { continue };
            // An id takes a few bytes here and a hundred in memory, and no larger bucket was ever written.
            if bytes.len() > limits::INDEX_BUCKET_BYTES.saturating_mul(limits::LARGER_BY_UNKNOWN_FIELDS) {
                return Err(records::corrupt("the index", "is too large"));
            }
            let bucket: BucketRecord = records::decode(&bytes)?;
            for record in &bucket.entries {
                directory.put(&BareJid::from_normalized(&record.jid), Entry::from_record(record)?);
            }
        }
        Ok(directory)
    }

    fn put(&mut self, jid: &BareJid, entry: Entry) {
        let known_before = self.take(jid);
        for id in &entry.ids {
            self.by_id.entry(*id).or_default().add(jid, entry.standing);
        }
        for key in &entry.keys {
            self.by_key.entry(*key).or_default().add(jid, entry.standing);
        }
        if !known_before {
            self.buckets.entry(keys::bucket_of(jid)).or_default().push(jid.clone());
        }
        self.entries.insert(jid.clone(), entry);
    }

    /// Takes a JID out of the maps, and leaves it in its bucket. True: it was there.
    fn take(&mut self, jid: &BareJid) -> bool {
        let Some(entry) = self.entries.remove(jid) else { return false };
        for id in &entry.ids {
            if self.by_id.get_mut(id).is_some_and(|found| found.remove(jid)) {
                self.by_id.remove(id);
            }
        }
        for key in &entry.keys {
            if self.by_key.get_mut(key).is_some_and(|found| found.remove(jid)) {
                self.by_key.remove(key);
            }
        }
        true
    }

    /// Takes over what a commit has changed.
    pub(super) fn apply(&mut self, changes: Changes) {
        for (jid, entry) in changes {
            match entry {
                Some(entry) => self.put(&jid, entry),
                None => {
                    self.take(&jid);
                    if let Some(bucket) = self.buckets.get_mut(&keys::bucket_of(&jid)) {
                        bucket.retain(|other| *other != jid);
                    }
                }
            }
        }
    }

    pub(super) fn get(&self, jid: &BareJid) -> Option<&Entry> {
        self.entries.get(jid)
    }

    /// Returns the ids of a JID's devices that have a key.
    pub(super) fn devices(&self, jid: &BareJid) -> &[u32] {
        self.get(jid).map_or(&[], |entry| &entry.ids)
    }

    /// Returns what a JID is to the client.
    pub(super) fn standing(&self, jid: &BareJid) -> Standing {
        self.get(jid).map_or(Standing::Stranger, |entry| entry.standing)
    }

    /// Returns the first bucket from this one on that is not empty, and the JIDs in it.
    pub(super) fn bucket_from(&self, number: u8) -> Option<(u8, &[BareJid])> {
        let mut rest = self.buckets.range(number..).filter(|(_, jids)| !jids.is_empty());
        rest.next().map(|(number, jids)| (*number, jids.as_slice()))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &BareJid> {
        self.entries.keys()
    }

    /// Returns JIDs that have a device with this id and a key, those that the client knows first.
    pub(super) fn with_device(&self, id: DeviceId) -> impl Iterator<Item = &BareJid> {
        self.by_id.get(&id.get()).into_iter().flat_map(Found::iter)
    }

    /// Returns JIDs that may have this key confirmed for a device: their records tell for certain.
    pub(super) fn with_key(&self, mont: &[u8; 32]) -> impl Iterator<Item = &BareJid> {
        let prefix: Option<&KeyPrefix> = mont.first_chunk();
        prefix.and_then(|prefix| self.by_key.get(prefix)).into_iter().flat_map(Found::iter)
    }

    /// Returns whether a stranger's JID that is not there yet has room beside those that are.
    pub(super) fn has_stranger_room(&self, jid: &BareJid) -> bool {
        let size =
            |jid: &BareJid| self.get(jid).map_or(jid.as_str().len(), |entry| entry.record(jid).encoded_len());
        let strangers = self.strangers(keys::bucket_of(jid));
        let bytes = strangers.fold(0_usize, |bytes, jid| bytes.saturating_add(size(jid)).saturating_add(8));
        self.get(jid).is_some() || bytes.saturating_add(size(jid)) < policy::STRANGER_BUCKET_BYTES
    }

    /// Returns the strangers of a bucket, the longest known first.
    fn strangers(&self, bucket: u8) -> impl Iterator<Item = &BareJid> {
        let jids = self.buckets.get(&bucket).into_iter().flatten();
        jids.filter(|jid| self.get(jid).is_some_and(|entry| entry.standing == Standing::Stranger))
    }

    /// Returns strangers that have to go so that the changes have room in their buckets, none of those that change.
    pub(super) fn surplus(&self, changes: &Changes) -> Vec<BareJid> {
        let mut surplus = Vec::new();
        for number in self.grown_buckets(changes) {
            let entries = self.bucket_with(number, changes);
            let bytes = |entry: &EntryRecord| entry.encoded_len().saturating_add(4);
            let of_all: usize = entries.iter().map(bytes).sum();
            let of_strangers: usize = entries.iter().filter(|entry| !entry.known).map(bytes).sum();
            let over = of_strangers.saturating_sub(policy::STRANGER_BUCKET_BYTES);
            let mut over = over.max(of_all.saturating_sub(limits::INDEX_BUCKET_BYTES));
            for jid in self.strangers(number).filter(|jid| !changes.contains_key(*jid)) {
                if over == 0 {
                    break;
                }
                let size = self.get(jid).map_or(0, |entry| entry.record(jid).encoded_len());
                over = over.saturating_sub(size.saturating_add(4));
                surplus.push(jid.clone());
            }
        }
        surplus
    }

    fn grown_buckets(&self, changes: &Changes) -> BTreeSet<u8> {
        let grown = changes.iter().filter(|(jid, entry)| entry.is_some() && self.get(jid) != entry.as_ref());
        grown.map(|(jid, _)| keys::bucket_of(jid)).collect()
    }

    fn bucket_with(&self, number: u8, changes: &Changes) -> Vec<EntryRecord> {
        let before = self.buckets.get(&number).into_iter().flatten();
        let kept = before.filter_map(|jid| match changes.get(jid) {
            Some(changed) => changed.as_ref().map(|entry| entry.record(jid)),
            None => self.get(jid).map(|entry| entry.record(jid)),
        });
        let fresh =
            changes.iter().filter(|(jid, _)| keys::bucket_of(jid) == number && self.get(jid).is_none());
        kept.chain(fresh.filter_map(|(jid, entry)| Some(entry.as_ref()?.record(jid)))).collect()
    }

    /// Adds the buckets that change to a commit.
    pub(super) fn write(&self, changes: &Changes, batch: &mut Batch) -> Result<()> {
        let changed = changes.iter().filter(|(jid, entry)| self.get(jid) != entry.as_ref());
        let numbers: BTreeSet<u8> = changed.map(|(jid, _)| keys::bucket_of(jid)).collect();
        for number in numbers {
            let entries = self.bucket_with(number, changes);
            let bytes = records::encode(BucketRecord { entries, ..BucketRecord::default() });
            if bytes.len() > limits::INDEX_BUCKET_BYTES {
                return Err(Error::new(Status::Limit, "The index of JIDs is full."));
            }
            batch.put(keys::bucket(number), bytes);
        }
        Ok(())
    }
}
