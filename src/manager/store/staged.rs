//! What a transaction changes, before it is committed: a layer for each savepoint.

use super::super::model::address::SessionAddress;
use super::super::model::contact::Contact;
use super::super::model::kept::KeptChanges;
use super::super::model::outbox::Outbox;
use super::super::model::pre_keys::PreKeyStore;
use super::current_session::CurrentSession;
use super::records::account::AccountRecord;
use crate::crypto::identity::IdentityKeyPair;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use crate::storage::Batch;
use indexmap::IndexMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a call changes. A savepoint is a layer of its own above the others.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) account: Option<Arc<AccountRecord>>,
    /// Another identity than the one that is loaded; its secret stands in `account`.
    pub(super) identity: Option<Box<IdentityKeyPair>>,
    /// `None`: of a namespace that was purged.
    pub(super) pre_keys: BTreeMap<Namespace, Option<Arc<PreKeyStore>>>,
    pub(super) outbox: Option<Arc<Outbox>>,
    pub(super) kept: KeptChanges,
    /// `None`: removed. These two keep the order in which they came, so that a message to thousands of devices goes
    /// through memory the same way each time.
    pub(super) contacts: IndexMap<BareJid, Option<Arc<Contact>>>,
    pub(super) sessions: IndexMap<SessionAddress, Arc<CurrentSession>>,
    /// Records as they are stored, those of sessions among them.
    pub(super) raw: Batch,
    /// The store is emptied.
    pub(super) erased: bool,
}

impl Staged {
    /// Takes over what a layer above has staged.
    pub(super) fn merge(&mut self, upper: Staged) {
        self.account = upper.account.or(self.account.take());
        self.identity = upper.identity.or(self.identity.take());
        self.outbox = upper.outbox.or(self.outbox.take());
        self.erased |= upper.erased;
        self.kept.extend(upper.kept);
        self.pre_keys.extend(upper.pre_keys);
        self.contacts.extend(upper.contacts);
        self.sessions.extend(upper.sessions);
        self.raw.append(upper.raw);
    }
}
