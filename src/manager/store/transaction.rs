//! One unit of work: typed reads, staged writes, savepoints, and effects that happen after the commit.
//!
//! Dropping it is the rollback, also when a panic unwinds: nothing that it staged was anywhere else. After a commit that
//! failed or panicked nothing that was loaded before is used again, since only the store knows whether it happened.

use super::super::api::event::Notice;
use super::super::api::services::LogLevel;
use super::super::config::Config;
use super::super::engine::Now;
use super::super::model::address::SessionAddress;
use super::super::model::contact::Contact;
use super::super::model::memory::Memory;
use super::super::model::outbox::Outbox;
use super::super::model::pre_keys::PreKeyStore;
use super::super::model::rotation;
use super::super::model::standing::Standing;
use super::account::{Account, Loaded};
use super::current_session::CurrentSession;
use super::records::account::AccountRecord;
use super::records::contact::ContactRecord;
use super::staged::Staged;
use super::unknown_fields::load_noting;
use super::{keys, records};
use crate::crypto::identity::IdentityKeyPair;
use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;
use std::collections::BTreeSet;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// The bytes of a record, if there is one.
type RawRecord = Option<Zeroizing<Vec<u8>>>;
type MemoryEffect = Box<dyn FnOnce(&mut Memory) + Send>;

/// What happens after the commit.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) memory: Vec<MemoryEffect>,
    pub(super) notices: Vec<Notice>,
    pub(super) work: bool,
}

/// What is to be delivered when the account's lock is released.
#[derive(Default)]
pub(in crate::manager) struct Released {
    pub(in crate::manager) notices: Vec<Notice>,
    /// The background worker has something new to do.
    pub(in crate::manager) work: bool,
}

/// See the module.
pub(in crate::manager) struct Tx<'a> {
    pub(super) account: &'a mut Account,
    /// What was staged before each open savepoint, the innermost last. Reads look at `staged` first, then here from the end.
    pub(super) lower: Vec<Staged>,
    pub(super) staged: Staged,
    pub(super) effects: Effects,
    pub(in crate::manager) now: Now,
}

impl Tx<'_> {
    pub(in crate::manager) fn config(&self) -> &Config {
        &self.account.config
    }

    pub(in crate::manager) fn rng(&mut self) -> &mut dyn Rng {
        &mut *self.account.rng
    }

    /// Returns what is not stored, as it was before this transaction.
    pub(in crate::manager) fn memory(&self) -> &Memory {
        &self.account.memory
    }

    /// Changes what is not stored, once the transaction is committed.
    pub(in crate::manager) fn after(&mut self, effect: impl FnOnce(&mut Memory) + Send + 'static) {
        self.effects.memory.push(Box::new(effect));
    }

    /// Tells the client something, once the transaction is committed.
    pub(in crate::manager) fn notify(&mut self, notice: Notice) {
        if !self.effects.notices.contains(&notice) {
            self.effects.notices.push(notice);
        }
    }

    /// Has the background worker look for jobs, once the transaction is committed.
    pub(in crate::manager) fn wake_worker(&mut self) {
        self.effects.work = true;
    }

    /// Writes a line of log: what happened, never to whom.
    pub(in crate::manager) fn log(&self, level: LogLevel, line: &str) {
        self.account.services.log(level, "omemo::manager", line);
    }

    pub(in crate::manager) fn services(&self) -> &dyn super::super::api::services::Services {
        &*self.account.services
    }

    /// Does some work of which nothing stays if it fails.
    pub(in crate::manager) fn savepoint<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.lower.push(std::mem::take(&mut self.staged));
        let marks = (self.effects.memory.len(), self.effects.notices.len(), self.effects.work);
        let result = work(self);
        let upper = std::mem::replace(&mut self.staged, self.lower.pop().unwrap_or_default());
        match &result {
            Ok(_) => self.staged.merge(upper),
            #[cfg(omemo_planted)]
            Err(_) if crate::planted::is_planted("rejected-message-kept") => self.staged.merge(upper),
            Err(_) => {
                self.effects.memory.truncate(marks.0);
                self.effects.notices.truncate(marks.1);
                self.effects.work = marks.2;
            }
        }
        result
    }

    /// Returns what the topmost layer that knows it has staged.
    fn staged<T>(&self, pick: impl Fn(&Staged) -> Option<&T>) -> Option<&T> {
        pick(&self.staged).or_else(|| self.lower.iter().rev().find_map(pick))
    }

    /// Returns what is staged, else what was loaded.
    fn shared<T>(
        &self,
        staged: impl Fn(&Staged) -> Option<&T>,
        loaded: impl FnOnce(&Loaded) -> &T,
    ) -> Result<&T> {
        match self.staged(staged) {
            Some(staged) => Ok(staged),
            None => self.account.loaded().map(loaded),
        }
    }

    // -- The account --

    fn shared_account(&self) -> Result<&Arc<AccountRecord>> {
        self.shared(|staged| staged.account.as_ref(), |loaded| &loaded.account)
    }

    pub(in crate::manager) fn account(&self) -> Result<&AccountRecord> {
        Ok(self.shared_account()?)
    }

    pub(in crate::manager) fn account_mut(&mut self) -> Result<&mut AccountRecord> {
        let before = self.shared_account()?.clone();
        Ok(Arc::make_mut(self.staged.account.get_or_insert(before)))
    }

    /// Returns accumulated time, by which what is kept for a while ages (see `rotation`).
    pub(in crate::manager) fn accumulated_ms(&self) -> Result<u64> {
        let account = self.account()?;
        let (before_ms, at_ms) = (account.accumulated_ms, account.accumulated_at_ms);
        // Nothing has accumulated before the first reading.
        let step_ms = if at_ms == 0 { 0 } else { rotation::accumulating_ms(at_ms, self.now.wall_ms) };
        Ok(before_ms.saturating_add(step_ms))
    }

    /// Returns this device's id, once it was chosen.
    pub(in crate::manager) fn device_id(&self) -> Result<Option<DeviceId>> {
        Ok(DeviceId::new(self.account()?.device_id))
    }

    /// Returns this device's id, where there has to be one.
    pub(in crate::manager) fn own_device(&self) -> Result<DeviceId> {
        self.device_id()?.ok_or(Error::from(Status::NotReady))
    }

    /// Returns whether a JID is this account's.
    pub(in crate::manager) fn is_own(&self, jid: &BareJid) -> bool {
        self.account.config.jid == *jid
    }

    /// Returns this device's identity.
    pub(in crate::manager) fn identity(&self) -> Result<&IdentityKeyPair> {
        Ok(match self.staged(|staged| staged.identity.as_ref()) {
            Some(identity) => identity,
            None => &self.account.loaded()?.identity,
        })
    }

    /// Stages another identity of this device. All that was made with the one before is the caller's to replace.
    pub(in crate::manager) fn put_identity(&mut self, identity: Box<IdentityKeyPair>) -> Result<()> {
        let seed = identity.seed().ok_or(Error::from(Status::Internal))?.to_vec();
        let account = self.account_mut()?;
        account.secret.zeroize();
        (account.secret, account.secret_is_seed) = (seed, true);
        self.staged.identity = Some(identity);
        Ok(())
    }

    /// Stages that the account is gone. Only records that have no list of their own are deleted by it.
    pub(super) fn erase(&mut self) {
        self.staged.erased = true;
    }

    /// Returns identity and randomness together, since most who need one need both.
    pub(in crate::manager) fn identity_and_rng(&mut self) -> Result<(&IdentityKeyPair, &mut dyn Rng)> {
        let staged = std::iter::once(&self.staged).chain(self.lower.iter().rev());
        let staged = staged.filter_map(|staged| staged.identity.as_deref()).next();
        let loaded = self.account.loaded.as_deref().ok_or(Error::from(Status::Storage))?;
        Ok((staged.unwrap_or(&loaded.identity), &mut *self.account.rng))
    }

    // -- Pre keys --

    pub(in crate::manager) fn pre_keys(&self, namespace: Namespace) -> Result<&PreKeyStore> {
        let found = match self.staged(|staged| staged.pre_keys.get(&namespace)) {
            Some(staged) => staged.as_ref(),
            None => self.account.loaded()?.pre_keys.get(&namespace),
        };
        found.map(|store| &**store).ok_or(Status::UnknownNamespace.into())
    }

    pub(in crate::manager) fn pre_keys_mut(&mut self, namespace: Namespace) -> Result<&mut PreKeyStore> {
        if !self.staged.pre_keys.contains_key(&namespace) {
            let before = match self.staged(|staged| staged.pre_keys.get(&namespace)) {
                Some(staged) => staged.clone(),
                None => self.account.loaded()?.pre_keys.get(&namespace).cloned(),
            };
            self.staged.pre_keys.insert(namespace, before);
        }
        let staged = self.staged.pre_keys.get_mut(&namespace).and_then(Option::as_mut);
        staged.map(Arc::make_mut).ok_or(Status::UnknownNamespace.into())
    }

    /// Stages the pre keys of a namespace that has none; `None`: that they are gone.
    pub(in crate::manager) fn put_pre_keys(&mut self, namespace: Namespace, store: Option<PreKeyStore>) {
        self.staged.pre_keys.insert(namespace, store.map(Arc::new));
    }

    // -- The outbox --

    fn shared_outbox(&self) -> Result<&Arc<Outbox>> {
        self.shared(|staged| staged.outbox.as_ref(), |loaded| &loaded.outbox)
    }

    pub(in crate::manager) fn outbox(&self) -> Result<&Outbox> {
        Ok(self.shared_outbox()?)
    }

    pub(in crate::manager) fn outbox_mut(&mut self) -> Result<&mut Outbox> {
        let before = self.shared_outbox()?.clone();
        Ok(Arc::make_mut(self.staged.outbox.get_or_insert(before)))
    }

    /// Loads the encrypted bytes of an empty message.
    pub(in crate::manager) fn outbox_message(&self, id: u64) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.raw(&keys::outbox_message(id))
    }

    pub(in crate::manager) fn put_outbox_message(&mut self, id: u64, bytes: Option<Zeroizing<Vec<u8>>>) {
        self.put_raw(keys::outbox_message(id), bytes);
    }

    // -- JIDs --

    /// Returns what is known of a JID; nothing, where it was never met.
    pub(in crate::manager) fn contact(&mut self, jid: &BareJid) -> Result<Arc<Contact>> {
        if let Some(staged) = self.staged(|staged| staged.contacts.get(jid)) {
            return Ok(staged.clone().unwrap_or_else(|| Arc::new(Contact::new(jid))));
        }
        if let Some(contact) = self.account.loaded_mut()?.contact(jid) {
            return Ok(contact);
        }
        let stored = self.account.load(&keys::contact(jid))?;
        let contact = match stored {
            Some(bytes) => records::decode::<ContactRecord>(&bytes)?.contact(jid)?,
            None => Contact::new(jid),
        };
        let contact = Arc::new(contact);
        self.account.loaded_mut()?.keep_contact(contact.clone());
        Ok(contact)
    }

    pub(in crate::manager) fn contact_mut(&mut self, jid: &BareJid) -> Result<&mut Contact> {
        if !matches!(self.staged.contacts.get(jid), Some(Some(_))) {
            let before = self.contact(jid)?;
            self.staged.contacts.insert(jid.clone(), Some(before));
        }
        let staged = self.staged.contacts.get_mut(jid).and_then(Option::as_mut);
        staged.map(Arc::make_mut).ok_or(Status::Internal.into())
    }

    /// Stages that a JID's record is gone.
    pub(super) fn remove_contact(&mut self, jid: &BareJid) {
        self.staged.contacts.insert(jid.clone(), None);
    }

    /// Returns what a JID is to the client.
    pub(in crate::manager) fn standing(&mut self, jid: &BareJid) -> Standing {
        if self.is_own(jid) {
            return Standing::Known;
        }
        self.contact(jid).map_or(Standing::Stranger, |contact| contact.standing)
    }

    /// Returns all JIDs that were ever met.
    pub(in crate::manager) fn all_jids(&self) -> Result<Vec<BareJid>> {
        Ok(self.account.loaded()?.directory.all().cloned().collect())
    }

    /// Returns the JIDs of the first bucket of the index from this one on that is not empty, with its number.
    pub(in crate::manager) fn jids_from(&self, bucket: u8) -> Result<Option<(u8, Vec<BareJid>)>> {
        let found = self.account.loaded()?.directory.bucket_from(bucket);
        Ok(found.map(|(number, jids)| (number, jids.to_vec())))
    }

    /// Returns so many JIDs at most that have a device with this id and a key, those that the client knows first.
    pub(in crate::manager) fn jids_with_device(&self, id: DeviceId, most: usize) -> Result<Vec<BareJid>> {
        Ok(self.account.loaded()?.directory.with_device(id).take(most).cloned().collect())
    }

    /// Returns the JIDs that the client has named, and this account's, as the index says: also those whose record cannot
    /// be read.
    pub(in crate::manager) fn known_jids(&self) -> Result<Vec<BareJid>> {
        let directory = &self.account.loaded()?.directory;
        let known = |jid: &&BareJid| directory.standing(jid).is_known() || self.is_own(jid);
        Ok(directory.all().filter(known).cloned().collect())
    }

    /// Returns the device ids that the index has of a JID: those with a key.
    pub(in crate::manager) fn indexed_devices(&self, jid: &BareJid) -> Result<BTreeSet<u32>> {
        Ok(self.account.loaded()?.directory.devices(jid).iter().copied().collect())
    }

    /// Returns so many JIDs at most that may have this key confirmed for a device.
    pub(in crate::manager) fn jids_with_key(&self, mont: &[u8; 32], most: usize) -> Result<Vec<BareJid>> {
        Ok(self.account.loaded()?.directory.with_key(mont).take(most).cloned().collect())
    }

    /// Returns whether a JID that the client never named may be stored without removing anybody else.
    pub(in crate::manager) fn has_stranger_room(&self, jid: &BareJid) -> Result<bool> {
        Ok(self.account.loaded()?.directory.has_stranger_room(jid))
    }

    // -- Sessions --

    /// Returns the current session with a device.
    pub(super) fn current_session(&mut self, at: &SessionAddress) -> Result<Arc<CurrentSession>> {
        if let Some(staged) = self.staged(|staged| staged.sessions.get(at)) {
            return Ok(staged.clone());
        }
        if let Some(session) = self.account.loaded_mut()?.session(at) {
            return Ok(session);
        }
        let session = match self.account.load(&keys::session(at))? {
            Some(bytes) => CurrentSession::decode(&bytes, at)?,
            // Whatever a stranger names is not remembered.
            None if self.standing(&at.jid) == Standing::Stranger => return Ok(Arc::default()),
            None => CurrentSession::default(),
        };
        let session = Arc::new(session);
        self.account.loaded_mut()?.keep_session(at.clone(), session.clone());
        Ok(session)
    }

    /// Stages the current session with a device, and its record at once, while it is at hand.
    pub(super) fn put_current_session(&mut self, at: &SessionAddress, session: CurrentSession) {
        self.put_raw(keys::session(at), session.encode(at));
        self.staged.sessions.insert(at.clone(), Arc::new(session));
    }

    // -- Records without a cache --

    pub(super) fn raw(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        match self.staged(|staged| staged.raw.get(key)) {
            Some(staged) => Ok(staged.clone()),
            None => self.account.load(key),
        }
    }

    pub(super) fn put_raw(&mut self, key: String, value: Option<Zeroizing<Vec<u8>>>) {
        match value {
            Some(value) => self.staged.raw.put(key, value),
            None => self.staged.raw.delete(key),
        }
    }

    /// Returns randomness, and what loads the bytes of a record as `raw` does.
    pub(super) fn rng_and_raw(&mut self) -> (&mut dyn Rng, impl Fn(&str) -> Result<RawRecord>) {
        let (rng, store, unknown) = (&mut *self.account.rng, &self.account.store, &self.account.unknown);
        let (upper, lower) = (&self.staged, &self.lower);
        (rng, move |key: &str| {
            let mut layers = std::iter::once(upper).chain(lower.iter().rev());
            let staged = layers.find_map(|staged| staged.raw.get(key));
            staged.map_or_else(|| load_noting(&**store, unknown, key), |staged| Ok(staged.clone()))
        })
    }
}
