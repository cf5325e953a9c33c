//! Loads what is always in memory, and refuses a store that contradicts itself: an identity is never made beside what an
//! older one has left.

use super::account::{Account, Loaded};
use super::directory::Directory;
use super::inventory::Place;
use super::records::account::{AccountRecord, AnchorRecord};
use super::records::moved::{Moved, MovedRecord};
use super::records::outbox::OutboxRecord;
use super::records::pre_keys::PreKeysRecord;
use super::records::{self, Record, corrupt};
use super::unknown_fields::Noting;
use super::{kept, keys};
use crate::crypto::identity::IdentityKeyPair;
use crate::crypto::rng::draw;
use crate::error::{Error, Result, Status};
use crate::protocol::namespace::Namespace;
use crate::storage::{Batch, Storage, sealed};
use std::sync::Arc;

fn read<R: Record>(store: &dyn Storage, key: &str) -> Result<Option<R>> {
    store.load(key)?.map(|bytes| records::decode(&bytes)).transpose()
}

/// Refuses a store whose records are hidden behind a seal: it would look empty.
pub(super) fn refuse_sealed(store: &dyn Storage) -> Result<()> {
    match store.load(sealed::SEAL)? {
        Some(_) => {
            Err(Error::new(Status::StorageKey, "The store is sealed: open it with its key or passphrase."))
        }
        None => Ok(()),
    }
}

/// Returns how far a copy has come that this store took part in last, and which one.
pub(super) fn moved(store: &dyn Storage) -> Result<Option<(Moved, Vec<u8>)>> {
    let record: Option<MovedRecord> = read(store, keys::MOVED)?;
    record.map(|record| Ok((record.state()?, record.copy))).transpose()
}

/// Returns the account of a store, if its anchor agrees; `None`: the store is empty.
pub(super) fn identify(store: &dyn Storage) -> Result<Option<AccountRecord>> {
    let account: Option<AccountRecord> = read(store, keys::ACCOUNT)?;
    let anchor: Option<AnchorRecord> = read(store, keys::ANCHOR)?;
    let (account, anchor) = match (account, anchor) {
        (Some(account), Some(anchor)) => (account, anchor),
        (None, None) => return check_empty(store).map(|()| None),
        (None, Some(_)) => return Err(corrupt("the account", "is missing beside its anchor")),
        (Some(_), None) => return Err(corrupt("the anchor", "is missing beside its account")),
    };
    if account.store_id != anchor.store_id || account.jid != anchor.jid || account.highest != anchor.highest {
        return Err(corrupt("the account", "contradicts its anchor"));
    }
    account.check()?;
    Ok(Some(account))
}

fn check_empty(store: &dyn Storage) -> Result<()> {
    for key in fixed_keys().chain([sealed::SEAL_ID.to_owned()]) {
        if store.load(&key)?.is_some() {
            return Err(corrupt("the account", "is missing beside other records"));
        }
    }
    let hidden = |keys: Vec<String>| keys.iter().any(|key| key.starts_with(sealed::HIDDEN));
    if store.keys()?.is_some_and(hidden) {
        return Err(corrupt("the seal", "is missing beside sealed records"));
    }
    Ok(())
}

/// Returns the identity key pair of an account.
pub(super) fn identity_of(account: &AccountRecord) -> Result<Box<IdentityKeyPair>> {
    let secret = records::secret32(&account.secret, "the account")?;
    Ok(Box::new(if account.secret_is_seed {
        IdentityKeyPair::from_seed(secret)
    } else {
        IdentityKeyPair::from_private(&secret)
    }))
}

impl Account {
    /// Loads the account, if it is not loaded.
    pub(super) fn ensure_loaded(&mut self) -> Result<()> {
        if self.erased {
            return Err(Status::Cancelled.into());
        }
        if self.loaded.is_some() || self.reload()? {
            return Ok(());
        }
        if self.memory.deleting_account.is_some() {
            // The commit that emptied the store has succeeded, although it was said to have failed.
            self.erased = true;
            return Err(Status::Cancelled.into());
        }
        Err(corrupt("the account", "has vanished"))
    }

    /// Loads the account, or makes an identity where the store is empty.
    pub(in crate::manager) fn open(&mut self) -> Result<()> {
        if self.reload()? { Ok(()) } else { self.create() }
    }

    /// Loads what is always in memory. False: the store is empty.
    fn reload(&mut self) -> Result<bool> {
        let store = &Noting { store: &*self.store, unknown: &self.unknown };
        refuse_sealed(store)?;
        match moved(store)? {
            Some((Moved::Ended, _)) => return Err(Status::StorageRollback.into()),
            Some((Moved::Unfinished, _)) => return Err(Status::StorageUnfinished.into()),
            Some((Moved::Arrived, _)) | None => (),
        }
        let Some(account) = identify(store)? else { return Ok(false) };
        if account.jid != self.config.jid.as_str() {
            return Err(Status::StorageAccount.into());
        }
        let identity = identity_of(&account)?;
        let mut loaded = Loaded::new(account, identity);
        for namespace in loaded.account.namespaces.iter().filter_map(|code| Namespace::from_code(*code)) {
            let record: Option<PreKeysRecord> = read(store, &keys::pre_keys(namespace))?;
            let record = record.ok_or_else(|| corrupt("the pre keys", "is missing beside its account"))?;
            loaded.pre_keys.insert(namespace, Arc::new(record.store()?));
        }
        let outbox: Option<OutboxRecord> = read(store, keys::OUTBOX)?;
        loaded.outbox = Arc::new(outbox.map_or_else(|| Ok(Default::default()), |outbox| outbox.outbox())?);
        loaded.kept = kept::load(|key| store.load(key))?;
        loaded.directory = Directory::load(|key| store.load(key))?;
        self.loaded = Some(Box::new(loaded));
        Ok(true)
    }

    /// The first run: an identity, and an account without device id. The first transaction stores it.
    fn create(&mut self) -> Result<()> {
        let identity = Box::new(IdentityKeyPair::generate(&mut *self.rng)?);
        let seed = identity.seed().ok_or(Error::from(Status::Internal))?.to_vec();
        let mut record = AccountRecord::default();
        record.store_id = draw::<16>(&mut *self.rng)?.to_vec();
        self.config.jid.as_str().clone_into(&mut record.jid);
        (record.secret, record.secret_is_seed) = (seed, true);
        // What is in memory differs from it: so the first commit writes it, whatever else it changes.
        let mut loaded = Loaded::new(AccountRecord::default(), identity);
        loaded.created = Some(record);
        self.loaded = Some(Box::new(loaded));
        Ok(())
    }
}

/// Returns the keys that lie where they lie whatever is stored, but for the account and its anchor.
fn fixed_keys() -> impl Iterator<Item = String> {
    let others = Place::fixed().filter(|place| !matches!(place, Place::Account | Place::Anchor));
    others.map(|place| place.key())
}

/// Deletes these records by a commit, the account and its anchor among them.
pub(super) fn erase(batch: &mut Batch) {
    let account = [keys::ACCOUNT.to_owned(), keys::ANCHOR.to_owned()];
    fixed_keys().chain(account).for_each(|key| batch.delete(key));
}

/// Adds the account to a commit, and its anchor where that changes.
pub(super) fn write_account(account: &AccountRecord, before: &AccountRecord, batch: &mut Batch) {
    if account == before {
        return;
    }
    batch.put(keys::ACCOUNT, records::encode(account.clone()));
    if account.highest != before.highest || account.store_id != before.store_id {
        let (store_id, jid) = (account.store_id.clone(), account.jid.clone());
        let anchor = AnchorRecord { version: 0, store_id, jid, highest: account.highest.clone() };
        batch.put(keys::ANCHOR, records::encode(anchor));
    }
}
