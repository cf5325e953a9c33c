//! The commit: everything that a transaction staged becomes one batch, and is taken over when that is durable.
//!
//! After a commit that failed or panicked nothing that was loaded before is used again, since only the store knows whether
//! it happened.

use super::super::api::services::LogLevel;
use super::super::engine::Now;
use super::super::policy;
use super::account::{Account, Loaded};
use super::directory::{Changes, Entry};
use super::records::contact::ContactRecord;
use super::records::outbox::OutboxRecord;
use super::records::pre_keys::PreKeysRecord;
use super::staged::Staged;
use super::transaction::{Effects, Released, Tx};
use super::{integrity, kept, keys, records, removal};
use crate::error::{Error, Result, Status};
use crate::storage::Batch;
use std::sync::Arc;

impl Account {
    /// Does some work whose changes are committed together if it succeeds.
    pub(in crate::manager) fn transact<T>(
        &mut self,
        now: Now,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    ) -> (Result<T>, Released) {
        if let Err(error) = self.ensure_loaded() {
            return (Err(error), Released::default());
        }
        let (staged, effects) = (Staged::default(), Effects::default());
        let mut tx = Tx { account: self, lower: Vec::new(), staged, effects, now };
        tx.staged.account =
            tx.account.loaded.as_mut().and_then(|loaded| loaded.created.clone()).map(Arc::new);
        let result = work(&mut tx).and_then(|value| tx.commit().map(|released| (value, released)));
        match result {
            Ok((value, released)) => (Ok(value), released),
            Err(error) => (Err(error), Released::default()),
        }
    }
}

impl Tx<'_> {
    fn commit(mut self) -> Result<Released> {
        let index = self.index_changes()?;
        let batch = self.batch(&index)?;
        let Tx { account, staged, effects, .. } = self;
        if !batch.is_empty() {
            let bytes: usize = batch.changes().filter_map(|(_, value)| Some(value?.len())).sum();
            let line = format!("commit: {} records, {bytes} bytes", batch.changes().len());
            account.services.log(LogLevel::Debug, "omemo::manager", &line);
            // Taken out meanwhile: whatever goes wrong from here on, it is loaded again.
            let mut loaded = account.loaded.take().ok_or(Error::from(Status::Internal))?;
            let committed = account.store.commit(batch);
            #[cfg(omemo_planted)]
            if committed.is_err() && crate::planted::is_planted("failed-commit-remembered") {
                effects.memory.into_iter().for_each(|effect| effect(&mut account.memory));
                return committed.map(|()| Released::default());
            }
            #[cfg(omemo_planted)]
            if committed.is_err() && crate::planted::is_planted("released-before-commit") {
                return Ok(Released { notices: effects.notices, work: effects.work });
            }
            committed?;
            account.erased |= staged.erased;
            if !staged.erased {
                loaded.directory.apply(index);
                loaded.apply(staged);
                account.loaded = Some(loaded);
            }
        }
        effects.memory.into_iter().for_each(|effect| effect(&mut account.memory));
        Ok(Released { notices: effects.notices, work: effects.work })
    }

    /// What the staged records change in the index; strangers make room.
    fn index_changes(&mut self) -> Result<Changes> {
        let changes = |tx: &Tx<'_>| -> Result<Changes> {
            let directory = &tx.account.loaded()?.directory;
            let staged = tx
                .staged
                .contacts
                .iter()
                .map(|(jid, contact)| (jid.clone(), contact.as_deref().map(Entry::of)));
            Ok(staged.filter(|(jid, entry)| directory.get(jid) != entry.as_ref()).collect())
        };
        let wanted = changes(self)?;
        if wanted.is_empty() {
            return Ok(wanted);
        }
        let surplus = self.account.loaded()?.directory.surplus(&wanted);
        if surplus.is_empty() {
            return Ok(wanted);
        }
        for jid in surplus {
            removal::remove_jid(self, &jid)?;
        }
        changes(self)
    }

    fn batch(&mut self, index: &Changes) -> Result<Batch> {
        let mut batch = std::mem::take(&mut self.staged.raw);
        let loaded = self.account.loaded()?;
        if let Some(account) = &self.staged.account {
            integrity::write_account(account, &loaded.account, &mut batch);
        }
        for (namespace, store) in &self.staged.pre_keys {
            match store {
                Some(store) => {
                    let bytes = records::encode(PreKeysRecord::new(store));
                    batch.put(keys::pre_keys(*namespace), bytes);
                }
                None => batch.delete(keys::pre_keys(*namespace)),
            }
        }
        if let Some(outbox) = self.staged.outbox.as_ref().filter(|outbox| **outbox != loaded.outbox) {
            batch.put(keys::OUTBOX, records::encode(OutboxRecord::new(outbox)));
        }
        kept::write(&loaded.kept, &self.staged.kept, &mut batch);
        for (jid, contact) in &self.staged.contacts {
            let before = loaded.contacts.peek(jid).or_else(|| loaded.strangers.peek(jid));
            match contact {
                Some(contact) if before.is_some_and(|before| before == contact) => (),
                Some(contact) => {
                    batch.put(keys::contact(jid), records::encode(ContactRecord::new(contact)));
                }
                None => batch.delete(keys::contact(jid)),
            }
        }
        loaded.directory.write(index, &mut batch)?;
        if self.staged.erased {
            integrity::erase(&mut batch);
        }
        self.account.unknown.add_to(&mut batch);
        let too_large = |value: Option<&[u8]>| value.is_some_and(|value| value.len() > policy::RECORD_BYTES);
        if batch.changes().any(|(_, value)| too_large(value)) {
            return Err(Error::new(Status::Limit, "A record would become too large to be loaded again."));
        }
        self.account.unknown.forget_deleted(&batch);
        Ok(batch)
    }
}

impl Loaded {
    /// Takes over what was committed.
    fn apply(&mut self, staged: Staged) {
        self.created = None;
        if let Some(account) = staged.account {
            self.account = account;
        }
        if let Some(identity) = staged.identity {
            self.identity = identity;
        }
        for (namespace, store) in staged.pre_keys {
            match store {
                Some(store) => self.pre_keys.insert(namespace, store),
                None => self.pre_keys.remove(&namespace),
            };
        }
        if let Some(outbox) = staged.outbox {
            self.outbox = outbox;
        }
        self.kept.apply(staged.kept);
        for (jid, contact) in staged.contacts {
            match contact {
                Some(contact) => self.keep_contact(contact),
                None => {
                    self.contacts.remove(&jid);
                    self.strangers.remove(&jid);
                }
            }
        }
        for (at, session) in staged.sessions {
            self.keep_session(at, session);
        }
    }
}
