//! What is wrong with the records of the account itself: identity, pre keys, waiting messages.

use super::super::super::model::outbox::Outbox;
use super::super::super::model::pre_keys::{PreKeyStore, SignedKey};
use super::super::integrity;
use super::super::inventory::Place;
use super::super::records::account::{AccountRecord, AnchorRecord, HighestRecord};
use super::super::records::moved::{Moved, MovedRecord};
use super::super::records::outbox::OutboxRecord;
use super::super::records::pre_keys::PreKeysRecord;
use super::super::records::{self, corrupt};
use crate::crypto::identity::IdentityKeyPair;
use crate::crypto::keys::KeyPair;
use crate::error::{Result, Status};
use crate::protocol::namespace::Namespace;
use crate::protocol::pre_key::is_signed_by;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// What was read of the account.
#[derive(Default)]
pub(super) struct AccountCheck {
    account: Option<AccountRecord>,
    pub(super) identity: Option<Box<IdentityKeyPair>>,
    outbox: Outbox,
}

impl AccountCheck {
    /// Returns the epoch of the account, if that is known.
    pub(super) fn epoch(&self) -> Option<u32> {
        self.account.as_ref().map(|account| account.epoch)
    }

    pub(super) fn see(&mut self, place: &Place, bytes: Option<&[u8]>) -> Result<()> {
        match (place, bytes) {
            (Place::PreKeys(namespace), bytes) => self.see_pre_keys(*namespace, bytes),
            (Place::OutboxMessage(id, _), bytes) => self.see_message(*id, bytes),
            // What has to be there is known when all was seen.
            (_, None) => Ok(()),
            (Place::Moved, Some(bytes)) => match records::decode::<MovedRecord>(bytes)?.state()? {
                Moved::Ended => Err(Status::StorageRollback.into()),
                Moved::Unfinished => Err(Status::StorageUnfinished.into()),
                Moved::Arrived => Ok(()),
            },
            (Place::Account, Some(bytes)) => {
                let account: AccountRecord = records::decode(bytes)?;
                account.check()?;
                self.identity = Some(integrity::identity_of(&account)?);
                self.account = Some(account);
                Ok(())
            }
            (Place::Anchor, Some(bytes)) => records::decode::<AnchorRecord>(bytes).map(drop),
            (_, Some(bytes)) => self.see_outbox(bytes),
        }
    }

    fn see_pre_keys(&self, namespace: Namespace, bytes: Option<&[u8]>) -> Result<()> {
        let Some(account) = &self.account else {
            return bytes.map_or(Ok(()), |bytes| records::decode::<PreKeysRecord>(bytes)?.store().map(drop));
        };
        let wrong = |what| Err(corrupt("the pre keys", what));
        match (bytes, account.namespaces.contains(&namespace.code())) {
            (None, false) => Ok(()),
            (None, true) => wrong("is missing beside its account"),
            (Some(_), false) => wrong("is there although its account has none in this namespace"),
            (Some(bytes), true) => {
                let store = records::decode::<PreKeysRecord>(bytes)?.store()?;
                let highest = account.highest.iter().find(|highest| highest.namespace == namespace.code());
                check_ids(&store, highest.copied().unwrap_or_default())?;
                self.check_keys(&store, namespace)
            }
        }
    }

    fn check_keys(&self, store: &PreKeyStore, namespace: Namespace) -> Result<()> {
        let signed = || std::iter::once(&store.signed).chain(&store.previous);
        let pairs = signed().map(|key| &key.pair).chain(store.pre_keys.iter().map(|key| &key.pair));
        for pair in pairs {
            if KeyPair::from_private(Zeroizing::new(*pair.private())).public() != pair.public() {
                return Err(corrupt(
                    "the pre keys",
                    "holds a public key that is not that of its private key",
                ));
            }
        }
        let Some(identity) = &self.identity else { return Ok(()) };
        let fits =
            |key: &SignedKey| is_signed_by(identity.public(), namespace, &key.pair.public(), &key.signature);
        if signed().all(fits) {
            Ok(())
        } else {
            Err(corrupt("the pre keys", "holds a signed pre key that another identity key has signed"))
        }
    }

    fn see_outbox(&mut self, bytes: &[u8]) -> Result<()> {
        self.outbox = records::decode::<OutboxRecord>(bytes)?.outbox()?;
        let ids: BTreeSet<u64> = self.outbox.iter().map(|entry| entry.id).collect();
        let last = self.account.as_ref().map(|account| account.last_outbox_id);
        if ids.len() != self.outbox.iter().len() {
            return Err(corrupt("the outbox", "names a message twice"));
        }
        if last.is_some_and(|last| ids.last().is_some_and(|id| *id > last)) {
            return Err(corrupt("the outbox", "names a message above the last that was given a number"));
        }
        Ok(())
    }

    fn see_message(&self, id: u64, bytes: Option<&[u8]>) -> Result<()> {
        let encrypted = self.outbox.get(id).is_some_and(|entry| entry.encrypted);
        match (bytes, encrypted) {
            (None, true) => Err(corrupt("a waiting message", "is missing although it was encrypted")),
            (Some(_), false) => Err(corrupt("a waiting message", "is there although it was not encrypted")),
            (Some([]), true) => Err(corrupt("a waiting message", "is empty")),
            _ => Ok(()),
        }
    }
}

fn check_ids(store: &PreKeyStore, highest: HighestRecord) -> Result<()> {
    let signed = std::iter::once(&store.signed).chain(&store.previous).map(|key| key.id);
    let ids: BTreeSet<u32> = store.pre_keys.iter().map(|key| key.id).collect();
    if ids.len() != store.pre_keys.len() {
        return Err(corrupt("the pre keys", "holds an id twice"));
    }
    if signed.max() > Some(highest.signed_pre_key) || ids.last() > Some(&highest.pre_key) {
        return Err(corrupt("the pre keys", "holds an id above the highest that was given out"));
    }
    Ok(())
}
