//! A manager behind its handle: its parts and its state. Its calls, operations and events are in the files beside.
//!
//! Every call of a manager is a user of it. Freeing the manager marks it; the last user that leaves ends it, outside of
//! all locks and services. Events are delivered by one thread at a time.

use super::super::api::callbacks::Callbacks;
use super::super::api::log::Log;
use super::super::api::results::omemo_result;
use super::super::api::storage::Store;
use super::super::boundary::handles;
use super::super::boundary::ids::IdRegistry;
use super::client_callbacks::ClientCallbacks;
use super::completion::Operation;
use super::wakeup::WakeupSignal;
use crate::crypto::rng::SystemRng;
use crate::error::{Result, Status};
use crate::manager::api::report::Outcome;
use crate::manager::api::request::Answer;
use crate::manager::api::services::Services;
use crate::manager::api::trust_policy::TrustPolicy;
use crate::manager::{Config, Manager};
use crate::protocol::address::BareJid;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Open requests.
pub(in crate::ffi) static REQUESTS: IdRegistry<omemo_manager> = IdRegistry::new();
/// Running operations.
pub(super) static OPERATIONS: IdRegistry<omemo_manager> = IdRegistry::new();

/// One account, opened on its store.
///
/// Fill in an omemo_config and call omemo_manager_new. Call omemo_manager_connected for each new stream and
/// omemo_manager_disconnected when it is lost. Call omemo_manager_run when wakeup has been called or
/// omemo_manager_timeout has passed: it makes all progress and calls all events. A blocking program calls
/// omemo_manager_wait instead. Pass pushed device lists to omemo_manager_update_device_list and received stanzas to
/// omemo_manager_decrypt_xml; send with omemo_manager_encrypt. End it with omemo_manager_free.
///
/// All its functions may be called from every thread. Several managers are independent of each other.
pub struct omemo_manager {
    pub(super) manager: Manager,
    jid: BareJid,
    pub(super) client: Arc<ClientCallbacks>,
    pub(super) signal: Arc<WakeupSignal>,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) users: usize,
    pub(super) freed: bool,
    pub(super) ended: bool,
    /// The thread that delivers events.
    pub(super) running: Option<usize>,
    /// Another thread tried to deliver events meanwhile.
    pub(super) refused: bool,
    pub(super) operations: HashMap<u64, Operation>,
    /// Ends that were not delivered, because the start had not returned.
    pub(super) early: VecDeque<(u64, Outcome)>,
    pub(super) results: BTreeMap<u64, omemo_result>,
    /// How many wait for an operation.
    pub(super) waiting: HashMap<u64, usize>,
}

/// All that a manager is made of.
pub(in crate::ffi) struct Parts {
    pub(in crate::ffi) config: Config,
    pub(in crate::ffi) storage: Arc<Store>,
    pub(in crate::ffi) callbacks: Arc<Callbacks>,
    /// Without evaluate_trust.
    pub(in crate::ffi) trust_policy: Option<&'static dyn TrustPolicy>,
    pub(in crate::ffi) log: Option<Arc<Log>>,
}

/// Opens an account, for the client.
pub(in crate::ffi) fn open(parts: Parts) -> Result<*mut omemo_manager> {
    let storage = parts.storage.open()?;
    let signal = Arc::new(WakeupSignal::default());
    let client =
        Arc::new(ClientCallbacks::new(parts.callbacks, parts.trust_policy, parts.log, signal.clone()));
    let jid = parts.config.jid.clone();
    let manager = Manager::open(parts.config, storage, client.clone(), Box::new(SystemRng))?;
    let opened = omemo_manager { manager, jid, client, signal, state: Mutex::default() };
    Ok(handles::into_shared_handle(Arc::new(opened)))
}

impl omemo_manager {
    pub(in crate::ffi) fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Returns the JID of the account.
    pub(in crate::ffi) fn jid(&self) -> &BareJid {
        &self.jid
    }

    /// Returns milliseconds since 1970 by the client's clock.
    pub(in crate::ffi) fn now(&self) -> i64 {
        self.client.wall_clock()
    }

    /// Answers a request of this manager.
    pub(in crate::ffi) fn answer(&self, request_id: u64, answer: Answer) -> Result<()> {
        let answered = self.manager.answer(request_id, answer);
        let over = answered.as_ref().err().is_none_or(|error| error.status() == Status::Stale);
        if over {
            REQUESTS.remove(request_id);
        }
        answered
    }

    /// Returns milliseconds until `run` should be called.
    pub(in crate::ffi) fn timeout(&self) -> Option<u64> {
        if self.state.lock().early.is_empty() { self.manager.timeout() } else { Some(0) }
    }

    /// Returns whether nothing is left to do without new input.
    pub(in crate::ffi) fn is_idle(&self) -> bool {
        let delivered = self.state.lock().early.is_empty();
        delivered && self.manager.is_idle()
    }
}
