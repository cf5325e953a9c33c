//! One account: policy over traits. Knows no XML and no C.
//!
//! `api` are the words shared with the client, `engine` is how things advance, `store` is what is stored and how a call
//! commits it, `model` is what is known, and `flows` are the use cases. Starting an operation, answering a request and
//! cancelling only take note; `next_event` is where operations advance and where events come out. Decryption and the
//! setters are done at once.

pub mod api;
pub mod config;
mod engine;
mod flows;
mod model;
mod policy;
mod store;

use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::device_list::DeviceList;
use crate::protocol::message::Message;
use crate::protocol::namespace::Namespace;
use crate::storage::Storage;
use api::catch_up::CatchUp;
use api::decrypted::Decrypted;
use api::device::Device;
use api::draft::Draft;
use api::event::{Event, OperationId};
use api::keep::Keep;
use api::request::{Answer, Request, RequestId};
use api::services::{LogLevel, Services};
pub use config::Config;
use engine::{Engine, OperationKind};
use flows::context::Context;
use flows::device_list::Delivery;
use flows::replace_sessions::Scope;
use flows::{
    acknowledge, catch_up, clear_device_lists, connect, decrypt, delete_account, device_list, devices,
    encrypt, health, label, own_keys, purge_jid, purge_namespace, refresh, remove_own_device,
    replace_sessions, reset_identity, take_over, trust, trust_policy, worker,
};
use model::failed_messages::Timeliness;
use std::sync::Arc;
use store::account::Account;
pub use store::check::check;
pub use store::copying::copy;
pub use store::sealing::open_sealed;

/// One account. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Manager {
    context: Arc<Context>,
}

impl Manager {
    /// Opens the account; works offline and asks nothing. Keys are made on the first run only.
    pub fn open(
        config: Config,
        storage: Arc<dyn Storage>,
        services: Arc<dyn Services>,
        rng: Box<dyn Rng>,
    ) -> Result<Manager> {
        let engine = Engine::new(services.clone(), config.request_timeout_ms, config.max_open_fetches);
        let mut account = Account::new(config, storage, services.clone(), rng);
        let opened = account.open().and_then(|()| {
            let (opened, _) = account.transact(engine.now(), |tx| {
                trust::check_level(tx, &tx.config().default_trust_level_name.clone())?;
                trust_policy::check(tx)?;
                purge_namespace::purge_unserved(tx)?;
                own_keys::make_namespaces(tx)
            });
            opened
        });
        if let Err(error) = &opened
            && error.is_storage()
        {
            let line = format!("storage: opening failed with {}", error.log_name());
            services.log(LogLevel::Warn, "omemo::manager", &line);
        }
        opened?;
        let context = Arc::new(Context::new(engine, services, account));
        worker::start(&context);
        Ok(Manager { context })
    }

    /// The stream is up. First time: choose the device id, publish the bundle, then the list; later: compare and
    /// repair. `operation` is a fresh number.
    pub fn connected(&self, operation: OperationId, catch_up: CatchUp) -> Result<()> {
        connect::connected(&self.context, catch_up, operation)
    }

    /// Messages that waited on the server are going to be read.
    pub fn catch_up_begin(&self) -> Result<()> {
        catch_up::begin(&self.context)
    }

    /// All messages that waited on the server are read: what they made necessary is done now.
    pub fn catch_up_end(&self, operation: OperationId) -> Result<()> {
        let context = &self.context;
        context.need_stream()?;
        // Over from now on, whatever becomes of the operation: another one may begin before it runs.
        context.memory(|memory| memory.catch_up.end())?;
        context.engine.start(operation, OperationKind::EndsWithStream, catch_up::end(context.clone()))
    }

    /// The stream is down: network requests are withdrawn, and asked again after the next `connected`.
    pub fn disconnected(&self) -> Result<()> {
        connect::disconnected(&self.context)
    }

    /// Fetches device lists and unknown keys of a JID.
    pub fn refresh_devices(
        &self,
        operation: OperationId,
        jid: Option<BareJid>,
        namespace: Option<Namespace>,
    ) -> Result<()> {
        let context = &self.context;
        if namespace.is_some_and(|namespace| !context.config.namespaces.contains(&namespace)) {
            return Err(Status::UnknownNamespace.into());
        }
        context.need_stream()?;
        let jid = jid.unwrap_or_else(|| context.config.jid.clone());
        context.engine.start(
            operation,
            OperationKind::EndsWithStream,
            refresh::refresh(context.clone(), jid, namespace),
        )
    }

    /// Encrypts; see [`Draft`].
    pub fn encrypt(&self, operation: OperationId, draft: Draft) -> Result<()> {
        encrypt::start(&self.context, operation, draft)
    }

    /// Ends an operation with `Cancelled`. What it has committed stays.
    pub fn cancel(&self, operation: OperationId) -> Result<()> {
        self.context.engine.cancel(operation)
    }

    /// The open request with this number.
    pub fn request(&self, request_id: RequestId) -> Result<Request> {
        self.context.engine.requests().request(request_id)
    }

    /// The bare JID of the account.
    pub fn jid(&self) -> &BareJid {
        &self.context.config.jid
    }

    /// Notes the level of one device of a request about trust. The name of the level is checked at once.
    pub fn decide(&self, request_id: RequestId, index: usize, level: &str) -> Result<()> {
        let stamp = self.context.stamp();
        self.context.engine.requests().check_decision(request_id, index)?;
        self.context.transact(|tx| trust::check_level(tx, level))?;
        self.context.engine.requests().decide(request_id, index, level, stamp)
    }

    /// Answers a request. The answer is noted; `next_event` commits what follows from it.
    pub fn answer(&self, request_id: RequestId, answer: Answer) -> Result<()> {
        let (stamp, now) = (self.context.stamp(), self.context.now());
        self.context.engine.requests().answer(request_id, answer, now, stamp)?;
        self.context.engine.wake();
        Ok(())
    }

    /// Decrypts at once, without network. `from` is the sender's real bare JID.
    pub fn decrypt(
        &self,
        from: Option<&BareJid>,
        room: Option<&BareJid>,
        message: &Message,
    ) -> Result<Decrypted> {
        let decrypted = decrypt::decrypt(&self.context, from, room, message, Timeliness::Live);
        self.context.engine.wake();
        decrypted
    }

    /// The same for a message that was sent some time ago, as its stanza says.
    pub fn decrypt_delayed(
        &self,
        from: Option<&BareJid>,
        room: Option<&BareJid>,
        message: &Message,
    ) -> Result<Decrypted> {
        let decrypted = decrypt::decrypt(&self.context, from, room, message, Timeliness::Doubtful);
        self.context.engine.wake();
        decrypted
    }

    /// Forgets content that the client has safe, by the receipt that came with it. [`Status::NotFound`]: nothing is kept
    /// under it.
    pub fn acknowledge(&self, receipt: u64) -> Result<()> {
        acknowledge::acknowledge(&self.context, receipt)
    }

    /// The next content after this receipt that nobody has acknowledged; 0: the first one.
    pub fn unacknowledged(&self, after: u64) -> Result<Option<Decrypted>> {
        acknowledge::unacknowledged(&self.context, after)
    }

    /// Begins new sessions: with one device, with all devices of a JID, or with everybody.
    pub fn replace_sessions(
        &self,
        operation: OperationId,
        jid: Option<BareJid>,
        device: Option<DeviceId>,
    ) -> Result<()> {
        let scope = match (jid, device) {
            (Some(jid), Some(device)) => Scope::Device(jid, device),
            (Some(jid), None) => Scope::Jid(jid),
            (None, None) => Scope::All,
            (None, Some(_)) => {
                return Err(Error::new(Status::Argument, "A device is named, but not its JID."));
            }
        };
        let context = &self.context;
        context.need_stream()?;
        let replacing = replace_sessions::replace_sessions(context.clone(), scope);
        context.engine.start(operation, OperationKind::EndsWithStream, replacing)
    }

    /// Sets this device's label, or takes it away; the operation ends when that is published.
    pub fn set_label(&self, operation: OperationId, label: Option<&str>) -> Result<()> {
        label::set_label(&self.context, operation, label)
    }

    /// Compares what the server has of this device with the store, and has it repaired.
    pub fn ensure_consistency(&self, operation: OperationId) -> Result<()> {
        connect::ensure_consistency(&self.context, operation)
    }

    /// Clears this account's lists; this device is put on again.
    pub fn clear_device_lists(&self, operation: OperationId) -> Result<()> {
        clear_device_lists::clear_device_lists(&self.context, operation)
    }

    /// Takes another device of this account off its lists, and deletes its bundles.
    pub fn remove_own_device(&self, operation: OperationId, device: DeviceId) -> Result<()> {
        remove_own_device::remove_own_device(&self.context, operation, device)
    }

    /// Becomes a new device with a new identity key.
    pub fn reset_identity(&self, operation: OperationId) -> Result<()> {
        reset_identity::reset_identity(&self.context, operation)
    }

    /// Takes this device off the server, and empties the store. After that every call is `Cancelled`.
    pub fn delete_account(&self, operation: OperationId) -> Result<()> {
        delete_account::delete_account(&self.context, operation)
    }

    /// Looks at everything of a JID's devices; `None`: of this account's.
    pub fn health(&self, operation: OperationId, jid: Option<BareJid>) -> Result<()> {
        let context = &self.context;
        context.need_stream()?;
        let jid = jid.unwrap_or_else(|| context.config.jid.clone());
        let looking = health::health(context.clone(), jid);
        context.engine.start(operation, OperationKind::EndsWithStream, looking)
    }

    /// A device list was pushed, or read by the client.
    pub fn update_device_list(&self, jid: &BareJid, list: &DeviceList) -> Result<()> {
        let stamp = self.context.stamp();
        let updated = device_list::update(&self.context, jid, list, Delivery::Live, stamp);
        self.context.engine.wake();
        updated
    }

    /// Takes over a device list that came in a delayed stanza, unless something newer is known of it in this stream.
    /// The list does not become fresh, and an open request for it stays open.
    pub fn update_device_list_from_archive(&self, jid: &BareJid, list: &DeviceList) -> Result<()> {
        let stamp = self.context.stamp();
        let updated = device_list::update(&self.context, jid, list, Delivery::Delayed, stamp);
        self.context.engine.wake();
        updated
    }

    /// The node of a device list was retracted, purged or deleted.
    pub fn device_list_gone(&self, jid: &BareJid, namespace: Namespace) -> Result<()> {
        let stamp = self.context.stamp();
        let updated = device_list::gone(&self.context, jid, namespace, stamp);
        self.context.engine.wake();
        updated
    }

    /// All that is known of a JID's devices; `None`: the own account, this device first.
    pub fn devices(&self, jid: Option<&BareJid>) -> Result<Vec<Device>> {
        devices::devices(&self.context, jid)
    }

    /// All JIDs of which anything is stored, those that the client has named first.
    pub fn jids(&self) -> Result<Vec<BareJid>> {
        purge_jid::jids(&self.context)
    }

    /// Forgets a JID.
    pub fn purge_jid(&self, jid: &BareJid, keep: Keep) -> Result<()> {
        let purged = purge_jid::purge_jid(&self.context, jid, keep);
        self.context.engine.wake();
        purged
    }

    /// This device's id; `None` before it was chosen.
    pub fn device_id(&self) -> Result<Option<DeviceId>> {
        self.context.transact(|tx| tx.device_id())
    }

    /// Judges a key of a JID, given in Ed25519 form.
    pub fn set_trust(&self, jid: &BareJid, key: &[u8; 32], level: &str) -> Result<()> {
        let stamp = self.context.stamp();
        let set = trust::set_trust(&self.context, jid, key, level, stamp);
        self.context.engine.wake();
        set
    }

    /// Serves a device in a namespace whenever it announces it there, whatever the order says; `None`: by the order.
    pub fn prefer_namespace(
        &self,
        jid: &BareJid,
        device: DeviceId,
        namespace: Option<Namespace>,
    ) -> Result<()> {
        let preferred = devices::prefer_namespace(&self.context, jid, device, namespace);
        self.context.engine.wake();
        preferred
    }

    /// Accepts that a device shows this key (in Ed25519 form) now.
    pub fn accept_identity(&self, jid: &BareJid, device: DeviceId, key: &[u8; 32]) -> Result<()> {
        let stamp = self.context.stamp();
        let accepted = trust::accept_identity(&self.context, jid, device, key, stamp);
        self.context.engine.wake();
        accepted
    }

    /// Lets operations advance until there is news, or nothing that can go on.
    pub fn next_event(&self) -> Option<Event> {
        self.context.engine.next_event(|noted| take_over::take_over(&self.context, noted))
    }

    /// Notes that the client sleeps: from now on `Services::wakeup` is called. False: there is work again, call
    /// `next_event`.
    pub fn sleep(&self) -> bool {
        self.context.engine.sleep()
    }

    /// Notes that the client is awake: `Services::wakeup` is not called until the next `sleep`.
    pub fn mark_awake(&self) {
        self.context.engine.mark_awake();
    }

    /// Calls `Services::wakeup` if there is work: for callers that stop before all of it is done.
    pub fn wake_again(&self) {
        self.context.engine.wake_again();
    }

    /// Milliseconds until `next_event` is wanted although `Services::wakeup` is not called; `None`: never.
    pub fn timeout(&self) -> Option<u64> {
        self.context.engine.timeout()
    }

    /// Whether `next_event` would do nothing without new input, now or later.
    pub fn is_idle(&self) -> bool {
        worker::is_idle(&self.context)
    }

    /// The end begins: every call but `next_event` and `close` fails from now on.
    pub fn shut(&self) {
        self.context.engine.shut();
    }

    /// The end: all operations are cancelled, the store is closed. `next_event` gives the last events. Not to be
    /// called while `next_event` runs.
    pub fn close(&self) {
        if let Some(background) = self.context.background.get() {
            background.stop();
        }
        self.context.engine.close();
        self.context.close();
    }
}
