//! The client's callbacks as the manager sees them: events that the manager has delivered, and services that answer at once.

use super::super::api::bundle::omemo_bundle;
use super::super::api::callbacks::Callbacks;
use super::super::api::core_trust::omemo_core_trust;
use super::super::api::device_list::omemo_device_list;
use super::super::api::devices::omemo_devices;
use super::super::api::log::Log;
use super::super::api::message::omemo_message;
use super::super::boundary::{guard, returns};
use super::wakeup::WakeupSignal;
use crate::error::{Error, Result, Status};
use crate::manager::api::device::{CoreTrust, Device};
use crate::manager::api::event::{Notice, NoticeKind};
use crate::manager::api::request::{Reason, Request, RequestId};
use crate::manager::api::services::{LogLevel, Services};
use crate::manager::api::trust_policy::TrustPolicy;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use crate::stanza::content;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The client's tables.
#[derive(Clone)]
struct Tables {
    callbacks: Arc<Callbacks>,
    log: Option<Arc<Log>>,
}

/// The client.
pub(in crate::ffi) struct ClientCallbacks {
    /// Gone when the manager is: then `destroy` has run.
    tables: Mutex<Option<Tables>>,
    trust_policy: Option<&'static dyn TrustPolicy>,
    signal: Arc<WakeupSignal>,
    start: Instant,
}

impl ClientCallbacks {
    pub(in crate::ffi) fn new(
        callbacks: Arc<Callbacks>,
        trust_policy: Option<&'static dyn TrustPolicy>,
        log: Option<Arc<Log>>,
        signal: Arc<WakeupSignal>,
    ) -> ClientCallbacks {
        let tables = Mutex::new(Some(Tables { callbacks, log }));
        ClientCallbacks { tables, trust_policy, signal, start: Instant::now() }
    }

    /// Drops the client's tables; the last user of them frees user_data.
    pub(in crate::ffi) fn close(&self) {
        let tables = self.tables.lock().take();
        drop(tables);
    }

    fn tables(&self) -> Option<Tables> {
        self.tables.lock().clone()
    }

    /// Asks the client. The failure is the rejection that a missing callback stands for.
    pub(in crate::ffi) fn ask(&self, id: RequestId, request: Request) -> std::result::Result<(), Reason> {
        let tables = self.tables().ok_or(Reason::Failed)?;
        let table = &tables.callbacks.table;
        let user_data = tables.callbacks.user_data.pointer();
        match request {
            Request::FetchDeviceList { namespace, jid } => {
                let ask = table.fetch_device_list.ok_or(Reason::Failed)?;
                let (ns, jid) = (returns::c_namespace(namespace), returns::c_string(jid.as_str()));
                // SAFETY: the client's function; what it is given lives until it returns.
                guard::event(|| unsafe { ask(user_data, id, ns.as_ptr(), jid.as_ptr()) });
            }
            Request::FetchBundle { namespace, jid, device } => {
                let ask = table.fetch_bundle.ok_or(Reason::Failed)?;
                let (ns, jid) = (returns::c_namespace(namespace), returns::c_string(jid.as_str()));
                // SAFETY: as above.
                guard::event(|| unsafe { ask(user_data, id, ns.as_ptr(), jid.as_ptr(), device.get()) });
            }
            Request::PublishDeviceList { list } => {
                let ask = table.publish_device_list.ok_or(Reason::Failed)?;
                let ns = returns::c_namespace(list.namespace);
                let list = omemo_device_list::new(list);
                // SAFETY: as above.
                guard::event(|| unsafe { ask(user_data, id, ns.as_ptr(), &raw const list) });
            }
            Request::PublishBundle { device, bundle } => {
                let ask = table.publish_bundle.ok_or(Reason::Failed)?;
                let ns = returns::c_namespace(bundle.namespace);
                let bundle = omemo_bundle::new(bundle);
                // SAFETY: as above.
                guard::event(|| unsafe { ask(user_data, id, ns.as_ptr(), device.get(), &raw const bundle) });
            }
            Request::DeleteBundle { namespace, device } => {
                let ask = table.delete_bundle.ok_or(Reason::Failed)?;
                let ns = returns::c_namespace(namespace);
                // SAFETY: as above.
                guard::event(|| unsafe { ask(user_data, id, ns.as_ptr(), device.get()) });
            }
            Request::SendMessage { jid, message } => {
                let ask = table.send_message.ok_or(Reason::Declined)?;
                let (jid, message) = (returns::c_string(jid.as_str()), omemo_message::new(message));
                // SAFETY: as above.
                guard::event(|| unsafe { ask(user_data, id, jid.as_ptr(), &raw const message) });
            }
            Request::DecideTrust { devices, context } => {
                let Some(ask) = table.decide_trust else {
                    self.notify_undecided(&devices);
                    return Err(Reason::Declined);
                };
                let (devices, context) =
                    (omemo_devices::new(devices), context.as_deref().map(returns::c_string));
                let context = returns::or_null(context.as_ref());
                // SAFETY: as above.
                guard::event(|| unsafe { ask(user_data, id, &raw const devices, context) });
            }
        }
        Ok(())
    }

    /// Tells the client that a request needs no answer any more.
    pub(in crate::ffi) fn withdrawn(&self, request_id: RequestId) {
        let Some(tables) = self.tables() else { return };
        if let Some(withdrawn) = tables.callbacks.table.request_withdrawn {
            // SAFETY: the client's function, which is given a number.
            guard::event(|| unsafe { withdrawn(tables.callbacks.user_data.pointer(), request_id) });
        }
    }

    /// Tells a client that cannot be asked whose keys it has to decide about.
    fn notify_undecided(&self, devices: &[Device]) {
        let jids: BTreeSet<&BareJid> = devices.iter().map(|device| &device.jid).collect();
        for jid in jids {
            let (kind, jid) = (NoticeKind::Undecided, Some(jid.clone()));
            self.notify(&Notice { kind, namespace: None, jid, device: 0, status: Status::Ok });
        }
    }

    /// Tells the client the news.
    pub(in crate::ffi) fn notify(&self, notice: &Notice) {
        let Some(tables) = self.tables() else { return };
        let Some(notify) = tables.callbacks.table.notify else { return };
        let jid = notice.jid.as_ref().map(|jid| returns::c_string(jid.as_str()));
        let (ns, jid) = (returns::namespace_or_null(notice.namespace), returns::or_null(jid.as_ref()));
        let (kind, device, status) = (notice.kind.into(), notice.device, notice.status.into());
        let user_data = tables.callbacks.user_data.pointer();
        // SAFETY: the client's function; what it is given lives until it returns.
        guard::event(|| unsafe { notify(user_data, kind, ns, jid, device, status) });
    }
}

impl Services for ClientCallbacks {
    fn evaluate_trust(&self, device: &Device) -> Result<CoreTrust> {
        let tables = self.tables().ok_or(Error::from(Status::Cancelled))?;
        // Without evaluate_trust there is a policy.
        let evaluate = tables.callbacks.table.evaluate_trust.ok_or(Error::from(Status::Internal))?;
        let devices = omemo_devices::new([device.clone()]);
        let user_data = tables.callbacks.user_data.pointer();
        // SAFETY: the client's function; the devices live until it returns.
        let verdict = guard::service(|| unsafe { evaluate(user_data, &raw const devices, 0) });
        omemo_core_trust::decode(verdict).map_err(|_| Status::UnknownTrustLevel.into())
    }

    fn trust_policy(&self) -> Option<&dyn TrustPolicy> {
        self.trust_policy
    }

    fn is_content_from(&self, namespace: Namespace, plaintext: &[u8], from: &BareJid) -> bool {
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("sender-not-compared") {
            return true;
        }
        content::is_from(namespace, plaintext, from)
    }

    fn wall_clock(&self) -> i64 {
        let tables = self.tables();
        let callbacks = tables.as_ref().map(|tables| &tables.callbacks);
        if let Some((callbacks, now)) =
            callbacks.and_then(|callbacks| Some((callbacks, callbacks.table.now?)))
        {
            // SAFETY: the client's function.
            return guard::service(|| unsafe { now(callbacks.user_data.pointer()) });
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn steady_clock(&self) -> Option<u64> {
        let own_clock =
            self.tables.lock().as_ref().is_some_and(|tables| tables.callbacks.table.now.is_some());
        if own_clock {
            return None;
        }
        Some(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn wakeup(&self) {
        self.signal.notify();
        let Some(tables) = self.tables() else { return };
        if let Some(wakeup) = tables.callbacks.table.wakeup {
            // SAFETY: the client's function.
            guard::service(|| unsafe { wakeup(tables.callbacks.user_data.pointer()) });
        }
    }

    fn log(&self, level: LogLevel, target: &'static str, line: &str) {
        if let Some(log) = self.tables().and_then(|tables| tables.log) {
            log.write(level, target, line);
        }
    }
}
