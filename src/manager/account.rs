//! The state of one account: what is stored, what of it is in memory, and how a change is committed.
//!
//! A call stages what it changes; `transact` writes all of it in one commit or forgets it. After a failed commit
//! nothing that was loaded before is used again: the store decides whether it happened.

use super::Config;
use super::api::event::Notice;
use super::api::services::{LogLevel, Services};
use super::clock::Now;
use super::connection::Connection;
use super::layout::{self, SessionKey};
use super::leaving;
use super::own;
use super::records::{self, AccountRecord, AnchorRecord, BucketRecord, JidRecord, OwnRecord, TodoRecord};
use super::sessions::Stored;
use crate::crypto::identity::IdentityKeyPair;
use crate::crypto::rng::{Rng, draw};
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use crate::storage::{Batch, Storage};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Records kept in memory, of each kind. More and they are loaded anew.
const CACHED: usize = 4_096;

/// One account.
pub(crate) struct Account {
    pub(super) config: Config,
    pub(super) services: Arc<dyn Services>,
    pub(super) rng: Box<dyn Rng>,
    pub(super) connection: Connection,
    store: Arc<dyn Storage>,
    loaded: Option<Loaded>,
    staged: Staged,
    notices: Vec<Notice>,
    new_work: bool,
}

/// What was loaded and is as it is stored.
struct Loaded {
    account: Arc<AccountRecord>,
    /// In a place of its own: what is moved leaves a copy behind that nobody wipes.
    identity: Box<IdentityKeyPair>,
    own: BTreeMap<Namespace, Arc<OwnRecord>>,
    todo: Arc<TodoRecord>,
    jids: HashMap<BareJid, Arc<JidRecord>>,
    sessions: HashMap<SessionKey, Arc<Stored>>,
}

/// What a call changes.
#[derive(Default)]
struct Staged {
    account: Option<AccountRecord>,
    /// `None`: of a namespace that was left.
    own: BTreeMap<Namespace, Option<OwnRecord>>,
    todo: Option<TodoRecord>,
    jids: HashMap<BareJid, JidRecord>,
    sessions: HashMap<SessionKey, Stored>,
    raw: BTreeMap<String, Option<Zeroizing<Vec<u8>>>>,
    notices: Vec<Notice>,
    new_work: bool,
}

impl Account {
    /// Opens the account, or makes it where the store is empty.
    pub(super) fn open(
        config: Config,
        store: Arc<dyn Storage>,
        services: Arc<dyn Services>,
        rng: Box<dyn Rng>,
        now: Now,
    ) -> Result<Account> {
        let mut account = Account {
            config,
            services,
            rng,
            connection: Connection::default(),
            store,
            loaded: None,
            staged: Staged::default(),
            notices: Vec::new(),
            new_work: false,
        };
        account.check_level(&account.config.default_trust_level_name.clone())?;
        if !account.reload()? {
            account.create(now)?;
        }
        account.transact(|account| {
            leaving::forget_namespaces(account, now)?;
            own::make_namespaces(account, now)
        })?;
        Ok(account)
    }

    /// Loads what is always in memory. False: the store is empty.
    fn reload(&mut self) -> Result<bool> {
        let account: Option<AccountRecord> = self.load(layout::ACCOUNT)?;
        let anchor: Option<AnchorRecord> = self.load(layout::ANCHOR)?;
        let (account, anchor) = match (account, anchor) {
            (Some(account), Some(anchor)) => (account, anchor),
            (None, None) => return self.check_empty().map(|()| false),
            (None, Some(_)) => return Err(records::corrupt("the account", "is missing beside its anchor")),
            (Some(_), None) => return Err(records::corrupt("the anchor", "is missing beside its account")),
        };
        if account.store_id != anchor.store_id
            || account.jid != anchor.jid
            || account.highest != anchor.highest
        {
            return Err(records::corrupt("the account", "contradicts its anchor"));
        }
        if account.jid != self.config.jid.as_str() {
            return Err(Status::StorageAccount.into());
        }
        let secret = records::secret32(&account.secret, "the account")?;
        let identity = Box::new(match account.secret_is_seed {
            true => IdentityKeyPair::from_seed(secret),
            false => IdentityKeyPair::from_private(&secret),
        });
        let mut own = BTreeMap::new();
        for code in &account.namespaces {
            let namespace = Namespace::from_code(*code);
            let namespace =
                namespace.ok_or_else(|| records::corrupt("the account", "names an unknown namespace"))?;
            let record: Option<OwnRecord> = self.load(&layout::own(namespace))?;
            let record =
                record.ok_or_else(|| records::corrupt("the pre keys", "is missing beside its account"))?;
            own.insert(namespace, Arc::new(record));
        }
        let todo = self.load(layout::TODO)?.unwrap_or_default();
        self.loaded = Some(Loaded {
            account: Arc::new(account),
            identity,
            own,
            todo: Arc::new(todo),
            jids: HashMap::new(),
            sessions: HashMap::new(),
        });
        Ok(true)
    }

    /// An identity is never made beside what an older one has left.
    fn check_empty(&self) -> Result<()> {
        let mut keys: Vec<String> = (0..=layout::BUCKETS).map(layout::bucket).collect();
        keys.extend(Namespace::ALL.map(layout::own));
        keys.push(layout::TODO.to_owned());
        for key in keys {
            if self.store.load(&key)?.is_some() {
                return Err(records::corrupt("the account", "is missing beside other records"));
            }
        }
        Ok(())
    }

    /// The first run: an identity and an account without device id.
    fn create(&mut self, _now: Now) -> Result<()> {
        let identity = Box::new(IdentityKeyPair::generate(&mut *self.rng)?);
        let seed = identity.seed().ok_or(Error::from(Status::Internal))?.to_vec();
        let record = AccountRecord {
            store_id: draw::<16>(&mut *self.rng)?.to_vec(),
            jid: self.config.jid.as_str().to_owned(),
            secret: seed,
            secret_is_seed: true,
            version: 0,
            device_id: 0,
            namespaces: Vec::new(),
            highest: Vec::new(),
            epoch: 0,
            last_todo: 0,
            leaving: Vec::new(),
        };
        self.loaded = Some(Loaded {
            account: Arc::default(),
            identity,
            own: BTreeMap::new(),
            todo: Arc::default(),
            jids: HashMap::new(),
            sessions: HashMap::new(),
        });
        self.staged.account = Some(record);
        Ok(())
    }

    /// Runs a call whose changes are committed together, if it succeeds.
    pub(super) fn transact<T>(&mut self, work: impl FnOnce(&mut Account) -> Result<T>) -> Result<T> {
        if self.loaded.is_none() && !self.reload()? {
            return Err(records::corrupt("the account", "has vanished"));
        }
        let result = work(self).and_then(|value| self.commit().map(|()| value));
        if let Err(error) = &result {
            self.staged = Staged::default();
            if error.is_storage() {
                // A list that was fetched, and not stored, is to be fetched again.
                self.connection.forget();
            }
        }
        result
    }

    fn commit(&mut self) -> Result<()> {
        let staged = std::mem::take(&mut self.staged);
        let batch = self.batch(&staged)?;
        let written = if batch.is_empty() { Ok(()) } else { self.store.commit(&batch) };
        if let Err(error) = written {
            self.loaded = None;
            return Err(error);
        }
        let loaded = self.loaded.as_mut().ok_or(Error::from(Status::Internal))?;
        if let Some(account) = staged.account {
            loaded.account = Arc::new(account);
        }
        for (namespace, own) in staged.own {
            match own {
                Some(own) => loaded.own.insert(namespace, Arc::new(own)),
                None => loaded.own.remove(&namespace),
            };
        }
        if let Some(todo) = staged.todo {
            loaded.todo = Arc::new(todo);
        }
        if loaded.jids.len().saturating_add(staged.jids.len()) > CACHED {
            loaded.jids.clear();
        }
        if loaded.sessions.len().saturating_add(staged.sessions.len()) > CACHED {
            loaded.sessions.clear();
        }
        for (jid, mut record) in staged.jids {
            // It is stored now, and stands in the index.
            record.version = records::VERSION;
            loaded.jids.insert(jid, Arc::new(record));
        }
        loaded.sessions.extend(staged.sessions.into_iter().map(|(key, stored)| (key, Arc::new(stored))));
        self.notices.extend(staged.notices);
        self.new_work |= staged.new_work;
        Ok(())
    }

    fn batch(&self, staged: &Staged) -> Result<Batch> {
        let loaded = self.loaded.as_ref().ok_or(Error::from(Status::Internal))?;
        let mut batch = Batch::default();
        if let Some(account) = staged.account.as_ref().filter(|account| **account != *loaded.account) {
            batch.put(layout::ACCOUNT, records::encode(account));
            let anchor = AnchorRecord {
                store_id: account.store_id.clone(),
                jid: account.jid.clone(),
                highest: account.highest.clone(),
                ..AnchorRecord::default()
            };
            if account.highest != loaded.account.highest || account.store_id != loaded.account.store_id {
                batch.put(layout::ANCHOR, records::encode(&anchor));
            }
        }
        for (namespace, own) in &staged.own {
            match own {
                Some(own) if loaded.own.get(namespace).is_none_or(|before| **before != *own) => {
                    batch.put(layout::own(*namespace), records::encode(own));
                }
                Some(_) => (),
                None => batch.delete(layout::own(*namespace)),
            }
        }
        if let Some(todo) = staged.todo.as_ref().filter(|todo| **todo != *loaded.todo) {
            batch.put(layout::TODO, records::encode(todo));
        }
        let mut buckets: BTreeMap<u8, BucketRecord> = BTreeMap::new();
        for (jid, record) in &staged.jids {
            let before = loaded.jids.get(jid);
            if before.is_some_and(|before| **before == *record) {
                continue;
            }
            if record.version == 0 {
                let number = layout::bucket_of(jid);
                if let std::collections::btree_map::Entry::Vacant(slot) = buckets.entry(number) {
                    slot.insert(self.load(&layout::bucket(number))?.unwrap_or_default());
                }
                if let Some(bucket) = buckets.get_mut(&number) {
                    bucket.jids.push(jid.as_str().to_owned());
                }
            }
            batch.put(layout::jid(jid), records::encode(record));
        }
        for (number, bucket) in &buckets {
            let bytes = records::encode(bucket);
            if bytes.len() > limits::INDEX_BUCKET_BYTES {
                return Err(Error::new(Status::Limit, "The index holds no more JIDs."));
            }
            batch.put(layout::bucket(*number), bytes);
        }
        for (key, stored) in &staged.sessions {
            stored.write(key, loaded.sessions.get(key).map(|before| &**before), &mut batch);
        }
        for (key, value) in &staged.raw {
            match value {
                Some(value) => batch.put(key.clone(), value.to_vec()),
                None => batch.delete(key.clone()),
            }
        }
        Ok(batch)
    }

    /// Loads and decodes a record, past all caches.
    pub(super) fn load<R: records::Record>(&self, key: &str) -> Result<Option<R>> {
        self.store.load(key)?.map(|bytes| records::decode(&bytes)).transpose()
    }

    /// Loads the bytes of a record, past all caches.
    pub(super) fn load_raw(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        if let Some(staged) = self.staged.raw.get(key) {
            return Ok(staged.clone());
        }
        self.store.load(key)
    }

    /// Stages a record that has no cache.
    pub(super) fn stage_raw(&mut self, key: String, value: Option<Zeroizing<Vec<u8>>>) {
        self.staged.raw.insert(key, value);
    }

    fn loaded(&self) -> Result<&Loaded> {
        self.loaded.as_ref().ok_or(Error::from(Status::Storage))
    }

    /// Whether everything is loaded; the call that failed to commit has left nothing.
    pub(super) fn ensure_loaded(&mut self) -> Result<()> {
        match self.loaded {
            Some(_) => Ok(()),
            None => self.transact(|_| Ok(())),
        }
    }

    /// The own identity.
    pub(super) fn identity(&self) -> Result<&IdentityKeyPair> {
        Ok(&self.loaded()?.identity)
    }

    /// Identity and randomness together, since most who need one need both.
    pub(super) fn identity_and_rng(&mut self) -> Result<(&IdentityKeyPair, &mut dyn Rng)> {
        let loaded = self.loaded.as_ref().ok_or(Error::from(Status::Storage))?;
        Ok((&loaded.identity, &mut *self.rng))
    }

    /// The account's record.
    pub(super) fn account(&self) -> Result<&AccountRecord> {
        Ok(match &self.staged.account {
            Some(account) => account,
            None => &self.loaded()?.account,
        })
    }

    /// The account's record, to be changed.
    pub(super) fn account_mut(&mut self) -> Result<&mut AccountRecord> {
        let before = match self.staged.account.take() {
            Some(staged) => staged,
            None => AccountRecord::clone(&self.loaded()?.account),
        };
        Ok(self.staged.account.insert(before))
    }

    /// The pre keys of a namespace.
    pub(super) fn own(&self, namespace: Namespace) -> Result<&OwnRecord> {
        match self.staged.own.get(&namespace) {
            Some(own) => own.as_ref().ok_or(Status::UnknownNamespace.into()),
            None => self
                .loaded()?
                .own
                .get(&namespace)
                .map(|own| &**own)
                .ok_or(Error::from(Status::UnknownNamespace)),
        }
    }

    /// The pre keys of a namespace, to be changed.
    pub(super) fn own_mut(&mut self, namespace: Namespace) -> Result<&mut OwnRecord> {
        if !self.staged.own.contains_key(&namespace) {
            let before = self.own(namespace)?.clone();
            self.staged.own.insert(namespace, Some(before));
        }
        let staged = self.staged.own.get_mut(&namespace).and_then(Option::as_mut);
        staged.ok_or(Status::UnknownNamespace.into())
    }

    /// Stages the pre keys of a namespace that has none yet.
    pub(super) fn stage_own(&mut self, namespace: Namespace, record: OwnRecord) {
        self.staged.own.insert(namespace, Some(record));
    }

    /// Stages that the pre keys of a namespace are gone.
    pub(super) fn stage_own_gone(&mut self, namespace: Namespace) {
        self.staged.own.insert(namespace, None);
    }

    /// The follow-ups that send.
    pub(super) fn todo(&self) -> Result<&TodoRecord> {
        Ok(match &self.staged.todo {
            Some(todo) => todo,
            None => &self.loaded()?.todo,
        })
    }

    /// The follow-ups that send, to be changed.
    pub(super) fn todo_mut(&mut self) -> Result<&mut TodoRecord> {
        let before = match self.staged.todo.take() {
            Some(staged) => staged,
            None => TodoRecord::clone(&self.loaded()?.todo),
        };
        Ok(self.staged.todo.insert(before))
    }

    /// What is known of a JID; nothing, where it was never met.
    pub(super) fn jid(&mut self, jid: &BareJid) -> Result<Arc<JidRecord>> {
        if let Some(staged) = self.staged.jids.get(jid) {
            return Ok(Arc::new(staged.clone()));
        }
        if let Some(record) = self.loaded()?.jids.get(jid) {
            return Ok(record.clone());
        }
        let stored: Option<JidRecord> = self.load(&layout::jid(jid))?;
        let record = match stored {
            Some(record) if record.jid != jid.as_str() => {
                return Err(records::corrupt("a JID", "names another one"));
            }
            Some(record) => record,
            None => JidRecord { jid: jid.as_str().to_owned(), ..JidRecord::default() },
        };
        let record = Arc::new(record);
        if let Some(loaded) = self.loaded.as_mut() {
            if loaded.jids.len() >= CACHED {
                loaded.jids.clear();
            }
            loaded.jids.insert(jid.clone(), record.clone());
        }
        Ok(record)
    }

    /// What is known of a JID, to be changed.
    pub(super) fn jid_mut(&mut self, jid: &BareJid) -> Result<&mut JidRecord> {
        if !self.staged.jids.contains_key(jid) {
            let before = JidRecord::clone(&*self.jid(jid)?);
            self.staged.jids.insert(jid.clone(), before);
        }
        self.staged.jids.get_mut(jid).ok_or(Error::from(Status::Internal))
    }

    /// All JIDs that were ever met.
    pub(super) fn all_jids(&self) -> Result<Vec<BareJid>> {
        let mut jids = Vec::new();
        for number in 0..=layout::BUCKETS {
            let bucket: Option<BucketRecord> = self.load(&layout::bucket(number))?;
            let names = bucket.iter().flat_map(|bucket| bucket.jids.iter());
            jids.extend(names.map(|jid| BareJid::from_normalized(jid)));
        }
        Ok(jids)
    }

    /// The session with a device.
    pub(super) fn session(&mut self, key: &SessionKey) -> Result<Arc<Stored>> {
        if let Some(staged) = self.staged.sessions.get(key) {
            return Ok(Arc::new(staged.clone()));
        }
        if let Some(stored) = self.loaded()?.sessions.get(key) {
            return Ok(stored.clone());
        }
        let stored = Arc::new(Stored::load(self, key)?);
        if let Some(loaded) = self.loaded.as_mut() {
            if loaded.sessions.len() >= CACHED {
                loaded.sessions.clear();
            }
            loaded.sessions.insert(key.clone(), stored.clone());
        }
        Ok(stored)
    }

    /// Stages the session with a device.
    pub(super) fn stage_session(&mut self, key: SessionKey, stored: Stored) {
        self.staged.sessions.insert(key, stored);
    }

    /// Tells the client something, once the call is committed.
    pub(super) fn notify(&mut self, notice: Notice) {
        if !self.staged.notices.contains(&notice) {
            self.staged.notices.push(notice);
        }
    }

    /// There is something to follow up, once the call is committed.
    pub(super) fn follow_up(&mut self) {
        self.staged.new_work = true;
    }

    /// What is to be told.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether there is something new to follow up.
    pub(super) fn take_new_work(&mut self) -> bool {
        std::mem::take(&mut self.new_work)
    }

    /// A line of log: what happened, never to whom.
    pub(super) fn log(&self, level: LogLevel, line: &str) {
        self.services.log(level, "omemo::manager", line);
    }

    /// The stream is up.
    pub(super) fn connected(&mut self) {
        self.connection.begin();
    }
}
