//! Loads what is always in memory, and refuses a store that contradicts itself: an identity is never made beside what an
//! older one has left.

use super::account::{Account, Loaded};
use super::directory::Directory;
use super::records::account::{AccountRecord, AnchorRecord};
use super::records::outbox::OutboxRecord;
use super::records::pre_keys::PreKeysRecord;
use super::records::{self, Record, corrupt};
use super::{kept, keys};
use crate::crypto::identity::IdentityKeyPair;
use crate::crypto::rng::draw;
use crate::error::{Error, Result, Status};
use crate::protocol::namespace::Namespace;
use crate::storage::Batch;
use std::sync::Arc;

impl Account {
    fn read<R: Record>(&self, key: &str) -> Result<Option<R>> {
        self.load(key)?.map(|bytes| records::decode(&bytes)).transpose()
    }

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
        let account: Option<AccountRecord> = self.read(keys::ACCOUNT)?;
        let anchor: Option<AnchorRecord> = self.read(keys::ANCHOR)?;
        let (account, anchor) = match (account, anchor) {
            (Some(account), Some(anchor)) => (account, anchor),
            (None, None) => return self.check_empty().map(|()| false),
            (None, Some(_)) => return Err(corrupt("the account", "is missing beside its anchor")),
            (Some(_), None) => return Err(corrupt("the anchor", "is missing beside its account")),
        };
        if account.store_id != anchor.store_id
            || account.jid != anchor.jid
            || account.highest != anchor.highest
        {
            return Err(corrupt("the account", "contradicts its anchor"));
        }
        account.check()?;
        if account.jid != self.config.jid.as_str() {
            return Err(Status::StorageAccount.into());
        }
        let secret = records::secret32(&account.secret, "the account")?;
        let identity = Box::new(if account.secret_is_seed {
            IdentityKeyPair::from_seed(secret)
        } else {
            IdentityKeyPair::from_private(&secret)
        });
        let mut loaded = Loaded::new(account, identity);
        for namespace in loaded.account.namespaces.iter().filter_map(|code| Namespace::from_code(*code)) {
            let record: Option<PreKeysRecord> = self.read(&keys::pre_keys(namespace))?;
            let record = record.ok_or_else(|| corrupt("the pre keys", "is missing beside its account"))?;
            loaded.pre_keys.insert(namespace, Arc::new(record.store()?));
        }
        let outbox: Option<OutboxRecord> = self.read(keys::OUTBOX)?;
        loaded.outbox = Arc::new(outbox.map_or_else(|| Ok(Default::default()), |outbox| outbox.outbox())?);
        loaded.kept = kept::load(self)?;
        loaded.directory = Directory::load(|key| self.load(key))?;
        self.loaded = Some(Box::new(loaded));
        Ok(true)
    }

    fn check_empty(&self) -> Result<()> {
        for key in fixed_keys() {
            if self.load(&key)?.is_some() {
                return Err(corrupt("the account", "is missing beside other records"));
            }
        }
        Ok(())
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
    let buckets = (0..=keys::BUCKETS).map(keys::bucket);
    let others = Namespace::ALL
        .map(keys::pre_keys)
        .into_iter()
        .chain([keys::OUTBOX.to_owned(), keys::KEPT.to_owned()]);
    buckets.chain(others)
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
