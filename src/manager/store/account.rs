//! What lies under the account's lock: the configuration, the store with what is loaded of it, randomness, and memory.

use super::super::api::services::Services;
use super::super::config::Config;
use super::super::model::address::SessionAddress;
use super::super::model::contact::Contact;
use super::super::model::kept::KeptIndex;
use super::super::model::memory::Memory;
use super::super::model::outbox::Outbox;
use super::super::model::pre_keys::PreKeyStore;
use super::super::model::standing::Standing;
use super::super::policy;
use super::cache::Cache;
use super::current_session::CurrentSession;
use super::directory::Directory;
use super::records::account::AccountRecord;
use super::unknown_fields::{UnknownFields, load_noting};
use crate::crypto::identity::IdentityKeyPair;
use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use crate::storage::Storage;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// One account.
pub(in crate::manager) struct Account {
    pub(in crate::manager) config: Config,
    pub(in crate::manager) services: Arc<dyn Services>,
    pub(in crate::manager) rng: Box<dyn Rng>,
    pub(in crate::manager) memory: Memory,
    pub(super) store: Arc<dyn Storage>,
    pub(super) unknown: UnknownFields,
    /// `None`: nothing may be used before it was loaded again, since a commit failed or panicked.
    pub(super) loaded: Option<Box<Loaded>>,
    /// The store was emptied: nothing may make a new account in it.
    pub(super) erased: bool,
}

/// What was loaded and is as it is stored.
pub(super) struct Loaded {
    pub(super) account: Arc<AccountRecord>,
    /// In a place of its own: what is moved leaves a copy behind that nobody wipes.
    pub(super) identity: Box<IdentityKeyPair>,
    pub(super) pre_keys: BTreeMap<Namespace, Arc<PreKeyStore>>,
    pub(super) outbox: Arc<Outbox>,
    /// Content that the client has not acknowledged.
    pub(super) kept: KeptIndex,
    pub(super) directory: Directory,
    pub(super) contacts: Cache<BareJid, Contact>,
    pub(super) strangers: Cache<BareJid, Contact>,
    sessions: Cache<SessionAddress, CurrentSession>,
    stranger_sessions: Cache<SessionAddress, CurrentSession>,
    /// The record of an account that was just made and is not stored yet.
    pub(super) created: Option<AccountRecord>,
}

impl Loaded {
    pub(super) fn new(account: AccountRecord, identity: Box<IdentityKeyPair>) -> Loaded {
        Loaded {
            account: Arc::new(account),
            identity,
            pre_keys: BTreeMap::new(),
            outbox: Arc::default(),
            kept: KeptIndex::default(),
            directory: Directory::default(),
            contacts: Cache::new(policy::CACHED_CONTACT_BYTES),
            strangers: Cache::new(policy::CACHED_STRANGER_BYTES),
            sessions: Cache::new(policy::CACHED_SESSION_BYTES),
            stranger_sessions: Cache::new(policy::CACHED_STRANGER_SESSION_BYTES),
            created: None,
        }
    }

    /// Keeps a JID's record decoded.
    pub(super) fn keep_contact(&mut self, contact: Arc<Contact>) {
        let (jid, bytes) = (contact.jid.clone(), contact.bytes());
        let (to, other) = match contact.standing {
            Standing::Known => (&mut self.contacts, &mut self.strangers),
            Standing::Stranger => (&mut self.strangers, &mut self.contacts),
        };
        other.remove(&jid);
        to.insert(jid, contact, bytes);
    }

    /// Returns a JID's record, if it is decoded.
    pub(super) fn contact(&mut self, jid: &BareJid) -> Option<Arc<Contact>> {
        self.contacts.get(jid).or_else(|| self.strangers.get(jid))
    }

    /// Keeps the current session with a device decoded. Strangers' ones take nobody else's room.
    pub(super) fn keep_session(&mut self, at: SessionAddress, session: Arc<CurrentSession>) {
        let (to, other) = match self.standing(&at.jid) {
            Standing::Known => (&mut self.sessions, &mut self.stranger_sessions),
            Standing::Stranger => (&mut self.stranger_sessions, &mut self.sessions),
        };
        other.remove(&at);
        to.insert(at, session, CurrentSession::BYTES);
    }

    /// Returns the current session with a device, if it is decoded.
    pub(super) fn session(&mut self, at: &SessionAddress) -> Option<Arc<CurrentSession>> {
        if let Some(session) = self.sessions.get(at) {
            return Some(session);
        }
        let session = self.stranger_sessions.get(at)?;
        // The client may have named the JID since.
        if self.standing(&at.jid).is_known() {
            self.keep_session(at.clone(), session.clone());
        }
        Some(session)
    }

    fn standing(&self, jid: &BareJid) -> Standing {
        if jid.as_str() == self.account.jid { Standing::Known } else { self.directory.standing(jid) }
    }
}

impl Account {
    /// Makes an account of which nothing is loaded yet.
    pub(in crate::manager) fn new(
        config: Config,
        store: Arc<dyn Storage>,
        services: Arc<dyn Services>,
        rng: Box<dyn Rng>,
    ) -> Account {
        let (memory, unknown) = (Memory::default(), UnknownFields::default());
        Account { config, services, rng, memory, store, unknown, loaded: None, erased: false }
    }

    /// Loads the bytes of a record, past all caches.
    pub(super) fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        load_noting(&*self.store, &self.unknown, key)
    }

    pub(super) fn loaded(&self) -> Result<&Loaded> {
        self.loaded.as_deref().ok_or(Error::from(Status::Storage))
    }

    pub(super) fn loaded_mut(&mut self) -> Result<&mut Loaded> {
        self.loaded.as_deref_mut().ok_or(Error::from(Status::Storage))
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::Entry;
    use super::*;
    use crate::crypto::rng::SystemRng;
    use crate::protocol::address::DeviceId;

    #[test]
    fn strangers_sessions_take_nobody_elses_room() {
        let mut record = AccountRecord::default();
        record.jid = "romeo@montague.example".into();
        let identity = IdentityKeyPair::generate(&mut SystemRng).unwrap();
        let mut loaded = Loaded::new(record, Box::new(identity));
        let at = |jid: &str, device: u32| SessionAddress {
            jid: BareJid::from_normalized(jid),
            device: DeviceId::new(device).unwrap(),
            namespace: Namespace::Omemo2,
        };
        let own = at("romeo@montague.example", 7);
        loaded.keep_session(own.clone(), Arc::default());
        // A stranger whom the client names is one no longer.
        let friend = at("juliet@capulet.example", 1);
        loaded.keep_session(friend.clone(), Arc::default());
        let mut contact = Contact::new(&friend.jid);
        contact.standing = Standing::Known;
        loaded.directory.apply([(friend.jid.clone(), Some(Entry::of(&contact)))].into());
        assert!(loaded.session(&friend).is_some());
        for device in 1..=40_000 {
            loaded.keep_session(at("tybalt@capulet.example", device), Arc::default());
        }
        assert!(loaded.session(&own).is_some() && loaded.session(&friend).is_some());
        assert!(loaded.session(&at("tybalt@capulet.example", 1)).is_none());
        assert!(loaded.session(&at("tybalt@capulet.example", 40_000)).is_some());
    }
}
