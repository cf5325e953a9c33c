//! Every record that a store can hold, found one from another: the contract of a store has no listing. A new kind of
//! record is added here once, and then it is copied, checked and counted.
//!
//! Knows where records lie and which records name others; what is wrong with one is for others to say.

use super::super::model::address::SessionAddress;
use super::super::model::kept::KeptIndex;
use super::super::policy;
use super::records::contact::ContactRecord;
use super::records::index::BucketRecord;
use super::records::kept::{KeptBucketRecord, KeptIndexRecord};
use super::records::outbox::OutboxRecord;
use super::records::sessions::ArchiveRecord;
use super::{keys, records};
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::closed_chains;
use crate::protocol::namespace::Namespace;
use crate::storage::Storage;
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

/// Where a record lies, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Moved,
    Account,
    Anchor,
    PreKeys(Namespace),
    Outbox,
    Bucket(u8),
    OutboxMessage(u64, SessionAddress),
    Kept,
    KeptBucket(u8),
    KeptContent(u64),
    Contact(BareJid),
    Session(SessionAddress),
    Skipped(SessionAddress),
    Archive(SessionAddress),
    Archived(SessionAddress, u32),
    Chains(SessionAddress, u8),
}

impl Place {
    /// Returns the places that are there whatever is stored.
    pub(super) fn fixed() -> impl Iterator<Item = Place> {
        let first = [Place::Moved, Place::Account, Place::Anchor];
        let others = Namespace::ALL.map(Place::PreKeys).into_iter().chain([Place::Outbox, Place::Kept]);
        first.into_iter().chain(others).chain((0..=keys::BUCKETS).map(Place::Bucket))
    }

    pub(super) fn key(&self) -> String {
        match self {
            Place::Moved => keys::MOVED.to_owned(),
            Place::Account => keys::ACCOUNT.to_owned(),
            Place::Anchor => keys::ANCHOR.to_owned(),
            Place::PreKeys(namespace) => keys::pre_keys(*namespace),
            Place::Outbox => keys::OUTBOX.to_owned(),
            Place::Bucket(number) => keys::bucket(*number),
            Place::OutboxMessage(id, _) => keys::outbox_message(*id),
            Place::Kept => keys::KEPT.to_owned(),
            Place::KeptBucket(number) => keys::kept_bucket(*number),
            Place::KeptContent(receipt) => keys::kept_content(*receipt),
            Place::Contact(jid) => keys::contact(jid),
            Place::Session(at) => keys::session(at),
            Place::Skipped(at) => keys::skipped(at),
            Place::Archive(at) => keys::archive(at),
            Place::Archived(at, slot) => keys::archived(at, *slot),
            Place::Chains(at, page) => keys::chains(at, *page),
        }
    }
}

/// What lies in a place: nothing, bytes, or a record of which the store itself says that it cannot be read.
pub(super) type Found<'a> = Result<Option<&'a [u8]>>;
/// Is shown each place that can hold a record, in the order of `walk`.
pub(super) type Visit<'a> = dyn FnMut(&Place, Found<'_>) -> Result<()> + 'a;

/// Returns whether a failure is about one record, and not about the store as a whole.
pub(super) fn is_about_record(error: &Error) -> bool {
    matches!(error.status(), Status::StorageCorrupt | Status::StorageVersion)
}

/// Shows every place that can hold a record, and what it holds: first the fixed ones, then the waiting messages and kept
/// contents, then each JID that the index names with its devices. A record that cannot be read names nothing.
pub(super) fn walk(store: &dyn Storage, visit: &mut Visit<'_>) -> Result<()> {
    let mut walk = Walk { store, visit };
    let (mut messages, mut people) = (Vec::new(), BTreeMap::<BareJid, BTreeSet<u32>>::new());
    let mut kept = None;
    for place in Place::fixed() {
        let Some(bytes) = walk.read(&place)? else { continue };
        match place {
            Place::Outbox => messages = waiting(&bytes),
            Place::Bucket(_) => people.extend(named(&bytes)),
            Place::Kept => kept = records::decode::<KeptIndexRecord>(&bytes).ok(),
            _ => (),
        }
    }
    for place in messages {
        walk.read(&place)?;
    }
    if let Some(kept) = kept {
        walk.kept(&kept)?;
    }
    for (jid, mut devices) in people {
        if let Some(bytes) = walk.read(&Place::Contact(jid.clone()))? {
            let contact = records::decode::<ContactRecord>(&bytes).and_then(|record| record.contact(&jid));
            let known = contact.into_iter().flat_map(|contact| contact.devices);
            devices.extend(known.map(|device| device.id));
        }
        for device in devices.into_iter().filter_map(DeviceId::new) {
            for namespace in Namespace::ALL {
                walk.device(&SessionAddress { jid: jid.clone(), device, namespace })?;
            }
        }
    }
    Ok(())
}

fn waiting(bytes: &[u8]) -> Vec<Place> {
    let outbox = records::decode::<OutboxRecord>(bytes).and_then(|record| record.outbox());
    let place = |outbox: super::super::model::outbox::Outbox| -> Vec<Place> {
        outbox.iter().map(|entry| Place::OutboxMessage(entry.id, entry.at.clone())).collect()
    };
    outbox.map(place).unwrap_or_default()
}

fn named(bytes: &[u8]) -> Vec<(BareJid, BTreeSet<u32>)> {
    let Ok(bucket) = records::decode::<BucketRecord>(bytes) else { return Vec::new() };
    let entries = bucket.entries.iter();
    entries.map(|entry| (BareJid::from_normalized(&entry.jid), entry.ids.iter().copied().collect())).collect()
}

struct Walk<'w, 'v> {
    store: &'w dyn Storage,
    visit: &'w mut Visit<'v>,
}

impl Walk<'_, '_> {
    fn read(&mut self, place: &Place) -> Result<Option<Zeroizing<Vec<u8>>>> {
        match self.store.load(&place.key()) {
            Err(error) if is_about_record(&error) => (self.visit)(place, Err(error)).map(|()| None),
            Err(error) => Err(error),
            Ok(bytes) => {
                (self.visit)(place, Ok(bytes.as_ref().map(|bytes| bytes.as_slice())))?;
                Ok(bytes)
            }
        }
    }

    /// The index of kept content and what it names.
    fn kept(&mut self, head: &KeptIndexRecord) -> Result<()> {
        let mut index = KeptIndex::new(head.last_receipt());
        for number in head.buckets().unwrap_or_default() {
            let Some(bytes) = self.read(&Place::KeptBucket(number))? else { continue };
            let bucket = records::decode::<KeptBucketRecord>(&bytes);
            // What stands in it before the entry that cannot be read is named all the same.
            let _ = bucket.and_then(|bucket| bucket.read_into(number, &mut index));
        }
        for (receipt, _) in index.iter() {
            self.read(&Place::KeptContent(receipt))?;
        }
        Ok(())
    }

    /// The records of the sessions with a device.
    fn device(&mut self, at: &SessionAddress) -> Result<()> {
        self.read(&Place::Session(at.clone()))?;
        self.read(&Place::Skipped(at.clone()))?;
        for slot in self.slots(at)? {
            self.read(&Place::Archived(at.clone(), slot))?;
        }
        for page in closed_chains::pages() {
            self.read(&Place::Chains(at.clone(), page))?;
        }
        Ok(())
    }

    fn slots(&mut self, at: &SessionAddress) -> Result<Vec<u32>> {
        let Some(bytes) = self.read(&Place::Archive(at.clone()))? else { return Ok(Vec::new()) };
        let archive =
            records::decode::<ArchiveRecord>(&bytes).and_then(|record| record.archive(at.jid.as_str()));
        Ok(match archive {
            Ok(archive) => archive.predecessors.iter().map(|gone| gone.slot).collect(),
            Err(_) => (0..policy::ARCHIVE_SLOTS_EMPTIED).collect(),
        })
    }
}
