//! What is wrong with the index of JIDs, with the records of JIDs, and with those of sessions.

use super::super::super::model::address::SessionAddress;
use super::super::super::model::contact::Contact;
use super::super::super::model::session_set::Archive;
use super::super::current_session::CurrentSession;
use super::super::directory::Entry;
use super::super::keys;
use super::super::records::contact::ContactRecord;
use super::super::records::index::BucketRecord;
use super::super::records::sessions::{ArchiveRecord, ArchivedRecord};
use super::super::records::{self, corrupt};
use super::account::AccountCheck;
use crate::crypto::convert;
use crate::error::Result;
use crate::protocol::address::BareJid;
use crate::protocol::closed_chains;
use crate::protocol::limits;
use crate::protocol::session::Session;
use crate::protocol::skipped_keys::SkippedKeys;
use std::collections::{BTreeMap, BTreeSet};

/// What was read of the JIDs, and of the one and the device that are looked at.
#[derive(Default)]
pub(super) struct PeopleCheck {
    index: BTreeMap<BareJid, Entry>,
    /// Of the JID that is looked at, if it can be read.
    contact: Option<Contact>,
    current: Remembered,
    /// Of the device that is looked at, if it can be read.
    archive: Option<Archive>,
}

/// What is known of the current session of the device that is looked at.
#[derive(Clone, Copy, Default)]
enum Remembered {
    #[default]
    Unreadable,
    None,
    /// With so many skipped keys.
    Session(u32),
}

impl PeopleCheck {
    /// Returns the JIDs that the index names.
    pub(super) fn jids(&self) -> impl Iterator<Item = &BareJid> {
        self.index.keys()
    }

    pub(super) fn see_bucket(&mut self, number: u8, bytes: Option<&[u8]>) -> Result<()> {
        let Some(bytes) = bytes else { return Ok(()) };
        let bucket: BucketRecord = records::decode(bytes)?;
        let mut fits =
            bytes.len() <= limits::INDEX_BUCKET_BYTES.saturating_mul(limits::LARGER_BY_UNKNOWN_FIELDS);
        for record in &bucket.entries {
            let jid = BareJid::from_normalized(&record.jid);
            let entry = Entry::from_record(record)?;
            fits &= keys::bucket_of(&jid) == number;
            fits &= self.index.insert(jid, entry).is_none();
        }
        if fits {
            Ok(())
        } else {
            Err(corrupt("the index", "is too large, or names a JID twice or in another's place"))
        }
    }

    pub(super) fn see_contact(&mut self, jid: &BareJid, bytes: Option<&[u8]>) -> Result<()> {
        self.contact = None;
        let bytes = bytes.ok_or_else(|| corrupt("a JID", "is missing although the index names it"))?;
        let contact = records::decode::<ContactRecord>(bytes)?.contact(jid)?;
        let agrees = self.index.get(jid) == Some(&Entry::of(&contact));
        let contact = self.contact.insert(contact);
        let ids: BTreeSet<u32> = contact.devices.iter().map(|device| device.id).collect();
        if ids.len() != contact.devices.len() {
            return Err(corrupt("a JID", "names a device twice"));
        }
        for key in contact.devices.iter().filter_map(|device| device.identity.key()) {
            if convert::ed_to_mont(key.ed()).is_some_and(|mont| mont != *key.mont()) {
                return Err(corrupt("a JID", "holds an identity key whose two forms are different keys"));
            }
        }
        if agrees { Ok(()) } else { Err(corrupt("a JID", "contradicts the index")) }
    }

    pub(super) fn see_session(
        &mut self,
        at: &SessionAddress,
        bytes: Option<&[u8]>,
        own: &AccountCheck,
    ) -> Result<()> {
        self.current = if bytes.is_some() { Remembered::Unreadable } else { Remembered::None };
        let Some(bytes) = bytes else { return Ok(()) };
        let current = CurrentSession::decode(bytes, at)?;
        let Some(session) = current.session else { return Ok(()) };
        self.current = Remembered::Session(session.skipped_keys());
        is_ours(&session, own, "a session")?;
        if own.epoch().is_some_and(|epoch| current.epoch > epoch) {
            return Err(corrupt("a session", "is of an epoch that has not begun"));
        }
        let Some(contact) = &self.contact else { return Ok(()) };
        let identity = contact.device(at.device).map(|device| &device.identity);
        match identity {
            None => Err(corrupt("a session", "is of a device that its JID does not have")),
            Some(identity) if identity.key().is_none() => {
                Err(corrupt("a session", "is of a device without a key"))
            }
            Some(identity) if !identity.reads(session.peer_mont()) => {
                Err(corrupt("a session", "is of another identity key than its device"))
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn see_skipped(&self, bytes: Option<&[u8]>) -> Result<()> {
        let wrong = |what| Err(corrupt("skipped message keys", what));
        let count = bytes.map(SkippedKeys::decode).transpose()?.map(|skipped| skipped.len());
        match (self.current, count) {
            (Remembered::None, Some(_)) => wrong("is there without its session"),
            (Remembered::Session(1..), None) => wrong("is missing beside its session"),
            (Remembered::Session(wanted), Some(count)) if u32::try_from(count) != Ok(wanted) => {
                wrong("contradicts its session")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn see_archive(&mut self, at: &SessionAddress, bytes: Option<&[u8]>) -> Result<()> {
        self.archive = None;
        let Some(bytes) = bytes else { return Ok(()) };
        let archive = records::decode::<ArchiveRecord>(bytes)?.archive(at.jid.as_str())?;
        let archive = self.archive.insert(archive);
        let slots: BTreeSet<u32> = archive.predecessors.iter().map(|gone| gone.slot).collect();
        let beyond = slots.last().is_some_and(|slot| *slot > archive.last_slot);
        if slots.len() != archive.predecessors.len() || beyond {
            return Err(corrupt(
                "the archive of a session",
                "names a slot twice, or one that was never used",
            ));
        }
        let unknown = self.contact.as_ref().is_some_and(|contact| contact.device(at.device).is_none());
        if unknown {
            Err(corrupt("the archive of a session", "is of a device that its JID does not have"))
        } else {
            Ok(())
        }
    }

    pub(super) fn see_archived(
        &mut self,
        at: &SessionAddress,
        slot: u32,
        bytes: Option<&[u8]>,
        own: &AccountCheck,
    ) -> Result<()> {
        let listed =
            self.archive.iter().flat_map(|archive| &archive.predecessors).any(|gone| gone.slot == slot);
        let Some(bytes) = bytes else {
            let missing = || Err(corrupt("an archived session", "is missing although the archive names it"));
            return if listed { missing() } else { Ok(()) };
        };
        let record: ArchivedRecord = records::decode(bytes)?;
        let session = Session::decode(&record.session)?;
        if session.namespace() != at.namespace {
            return Err(corrupt("an archived session", "is of another namespace"));
        }
        let skipped = match record.skipped.as_slice() {
            [] => 0,
            skipped => SkippedKeys::decode(skipped)?.len(),
        };
        if u32::try_from(skipped) != Ok(session.skipped_keys()) {
            return Err(corrupt("an archived session", "contradicts its skipped keys"));
        }
        is_ours(&session, own, "an archived session")
    }

    pub(super) fn see_chains(&mut self, page: u8, bytes: Option<&[u8]>) -> Result<()> {
        bytes.map_or(Ok(()), |bytes| closed_chains::check_page(page, bytes))
    }
}

fn is_ours(session: &Session, own: &AccountCheck, name: &str) -> Result<()> {
    match &own.identity {
        Some(identity) if !session.is_of(identity.public()) => {
            Err(corrupt(name, "is of another identity key of this device"))
        }
        _ => Ok(()),
    }
}
