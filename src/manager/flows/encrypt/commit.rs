//! The commit of an encryption: serves every device that can be served now, or nobody.

use super::super::super::api::device::CoreTrust;
use super::super::super::api::draft::EncryptPolicy;
use super::super::super::api::report::{Outcome, Row};
use super::super::super::api::services::LogLevel;
use super::super::super::model::address::SessionAddress;
use super::super::super::model::standing::Standing;
use super::super::super::policy;
use super::super::super::store::sessions::Sessions;
use super::super::super::store::transaction::Tx;
use super::super::context::Context;
use super::super::{answer, trust, trust_policy};
use super::gather::is_stale;
use super::needed::{Gathered, is_fatal, needed_for, needs_lists};
use super::plan::{EncryptRequest, RecipientDevice, recipient_devices, unreachable_devices};
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::message::{Message, MessageKey};
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::{self, EncryptedPayload, KeyParts};
use crate::protocol::session::Session;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// One commit while it is put together.
struct Commit<'a> {
    context: &'a Context,
    request: &'a EncryptRequest,
    gathered: &'a Gathered,
    /// The payload of each namespace, and the keys of its devices.
    encrypted: BTreeMap<Namespace, (EncryptedPayload, Vec<MessageKey>)>,
    rows: Vec<Row>,
    /// Recipients without any device that is served.
    unserved: Vec<Row>,
    /// Recipients of whom nothing but unreadable records keeps the message: they do not stop it for the others.
    unreadable: Vec<Row>,
    /// Recipients with a device that is served.
    served: usize,
    /// Why not every device is served.
    incomplete: Option<Error>,
    /// What is logged once all are served: a device, its namespace, whether a session was begun, and its counter.
    served_devices: Vec<(u32, Namespace, bool, u32)>,
    /// It ends without anything if something is needed that was not gathered.
    stops_if_needed: bool,
    is_stopped: bool,
}

/// Encrypts for everybody who can be served.
pub(super) fn commit(context: &Context, request: &EncryptRequest, gathered: &Gathered) -> Result<Outcome> {
    let mut commit = Commit::new(context, request, gathered);
    let result = context.transact(|tx| commit.run(tx));
    commit.outcome(result)
}

/// The same if nothing has to be gathered before; `None`: something has, and nothing has happened.
pub(super) fn commit_if_complete(context: &Context, request: &EncryptRequest) -> Result<Option<Outcome>> {
    let gathered = Gathered::default();
    let mut commit = Commit { stops_if_needed: true, ..Commit::new(context, request, &gathered) };
    let result = context.transact(|tx| commit.run(tx));
    if commit.is_stopped {
        return Ok(None);
    }
    commit.outcome(result).map(Some)
}

/// The messages, and the key parts of a key transport.
type Encrypted = (Vec<Message>, Vec<KeyParts>);

impl<'a> Commit<'a> {
    fn new(context: &'a Context, request: &'a EncryptRequest, gathered: &'a Gathered) -> Commit<'a> {
        Commit {
            context,
            request,
            gathered,
            encrypted: BTreeMap::new(),
            rows: Vec::new(),
            unserved: Vec::new(),
            unreadable: Vec::new(),
            served: 0,
            incomplete: None,
            served_devices: Vec::new(),
            stops_if_needed: false,
            is_stopped: false,
        }
    }

    fn outcome(self, result: Result<Encrypted>) -> Result<Outcome> {
        let mut rows = self.rows;
        match result {
            Ok((messages, keys)) => Ok(Outcome { rows, messages, keys, ..Outcome::bare(Status::Ok) }),
            Err(error) if is_fatal(error.status()) => Err(error),
            // Nobody gets anything: a row that says "served" would be a lie.
            Err(error) => {
                rows.retain(|row: &Row| row.error.status() != Status::Ok);
                Ok(Outcome { rows, ..Outcome::bare(error) })
            }
        }
    }
}

// The message that makes a client answer is the one with the index HEARTBEAT.
const _: () = assert!(policy::LEAST_UNANSWERED == policy::HEARTBEAT + 1);

impl Commit<'_> {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<Encrypted> {
        let own_id = tx.own_device()?;
        // Lists that are outdated are noticed before anything is encrypted for the others.
        self.stop_if(|commit| needs_lists(tx, commit.request, commit.gathered))?;
        for jid in self.request.recipients_with_self() {
            self.stop_if(|commit| Ok(!needed_for(tx, commit.request, &jid, commit.gathered)?.is_empty()))?;
            match self.serve_jid(tx, &jid) {
                Err(error) if error.status() == Status::StorageCorrupt => {
                    self.unserved_row(&jid, error.clone());
                    self.incomplete.get_or_insert(error);
                }
                result => result?,
            }
        }
        if self.request.draft.policy == EncryptPolicy::All
            && let Some(error) = self.incomplete.take()
        {
            return Err(match error.status() {
                Status::Undecided => Status::StillUndecided.into(),
                _ => error,
            });
        }
        let nobody = self.served == 0 && !self.unreadable.is_empty();
        self.rows.append(&mut self.unreadable);
        if nobody || !self.unserved.is_empty() {
            self.rows.append(&mut self.unserved);
            return Err(Status::NoEligibleDevices.into());
        }
        self.messages(tx, own_id)
    }

    /// Ends the commit if something is needed that was not gathered.
    fn stop_if(&mut self, is_needed: impl FnOnce(&Self) -> Result<bool>) -> Result<()> {
        self.is_stopped = self.stops_if_needed && is_needed(self)?;
        if self.is_stopped { Err(Status::NotReady.into()) } else { Ok(()) }
    }

    /// Puts the messages together, and writes what was done into the log.
    fn messages(&mut self, tx: &Tx<'_>, own_id: DeviceId) -> Result<Encrypted> {
        for (device, namespace, fresh, counter) in &self.served_devices {
            let (kind, uri) = (if *fresh { "new" } else { "known" }, namespace.uri());
            let line = format!("encrypt: for device {device} in {uri}, {kind} session, counter {counter}");
            tx.log(LogLevel::Debug, &line);
        }
        let (mut messages, mut transported) = (Vec::new(), Vec::new());
        for namespace in &self.request.namespaces {
            let Some((sealed, keys)) = self.encrypted.remove(namespace) else { continue };
            tx.log(LogLevel::Debug, &format!("encrypt: {} keys in {}", keys.len(), namespace.uri()));
            if self.request.draft.key_transport {
                let parts = payload::key_parts(*namespace, &sealed.key, sealed.iv.as_deref());
                transported.push(parts.ok_or(Error::from(Status::Internal))?);
            }
            let (namespace, sender_device) = (*namespace, own_id.get());
            messages.push(Message { namespace, sender_device, keys, payload: sealed.payload, iv: sealed.iv });
        }
        Ok((messages, transported))
    }

    fn row(&mut self, jid: &BareJid, device: u32, namespace: Option<Namespace>, error: Error) {
        self.rows.push(Row { jid: Some(jid.clone()), device, namespace, error });
    }

    /// Notes that a JID gets nothing; a recipient that has to get something makes the encryption fail.
    fn unserved_row(&mut self, jid: &BareJid, error: Error) {
        let row = Row { jid: Some(jid.clone()), device: 0, namespace: None, error };
        match (self.request.must_serve(jid), row.error.status()) {
            (true, Status::StorageCorrupt) => self.unreadable.push(row),
            (true, _) => self.unserved.push(row),
            (false, _) => self.rows.push(row),
        }
    }

    fn serve_jid(&mut self, tx: &mut Tx<'_>, jid: &BareJid) -> Result<()> {
        let (mut served, mut devices, mut unreadable) = (0_usize, 0_usize, false);
        let list_failure = self.report_lists(tx, jid);
        let recipients = recipient_devices(tx, jid, &self.request.namespaces)?;
        trust_policy::decide(tx, jid, recipients.iter().map(|recipient| &recipient.device))?;
        for recipient in &recipients {
            devices = devices.saturating_add(1);
            let error = match tx.savepoint(|tx| self.serve(tx, recipient)) {
                Ok(()) => {
                    served = served.saturating_add(1);
                    Error::from(Status::Ok)
                }
                // One unreadable record is the failure of one device.
                Err(error) if error.status() == Status::StorageCorrupt => {
                    unreadable = true;
                    error
                }
                Err(error) if is_fatal(error.status()) => return Err(error),
                Err(error) => error,
            };
            if !matches!(error.status(), Status::Ok | Status::Distrusted | Status::Unresponsive) {
                self.incomplete.get_or_insert_with(|| error.clone());
            }
            self.row(jid, recipient.at.device.get(), Some(recipient.at.namespace), error);
        }
        for (device, namespace, error) in unreachable_devices(tx, jid, &self.request.namespaces, &recipients)?
        {
            devices = devices.saturating_add(1);
            if error.status() != Status::BundleBad {
                self.incomplete.get_or_insert_with(|| error.clone());
            }
            self.row(jid, device, Some(namespace), error);
        }
        if served > 0 && self.request.must_serve(jid) {
            self.served = self.served.saturating_add(1);
            if tx.contact(jid)?.standing == Standing::Stranger {
                tx.contact_mut(jid)?.standing = Standing::Known;
            }
        }
        if served == 0 && self.request.must_serve(jid) {
            let error = match (devices, list_failure) {
                (0, Some(error)) => error,
                (0, None) => Status::NoDevices.into(),
                _ if unreadable => Status::StorageCorrupt.into(),
                _ => Status::NoEligibleDevices.into(),
            };
            self.unserved_row(jid, error);
        }
        Ok(())
    }

    /// A row for each list that is not up to date; returns the last one's failure.
    fn report_lists(&mut self, tx: &Tx<'_>, jid: &BareJid) -> Option<Error> {
        let mut last = None;
        for namespace in &self.request.namespaces {
            let (looks, now) = (&tx.memory().lists, tx.now.aged_ms);
            let failure = self.gathered.lists.get(&(*namespace, jid.clone())).cloned();
            let failure = failure.or_else(|| looks.failure(*namespace, jid, now).cloned());
            let overtakes = self.request.draft.policy == EncryptPolicy::Now;
            let outdated = || match (looks.is_fresh(*namespace, jid, now), self.context.is_online()) {
                (true, false) if overtakes => Some(Status::Offline.into()),
                (true, _) => None,
                (false, false) => Some(Status::Offline.into()),
                (false, true) => {
                    Some(Error::new(Status::DeviceListDownloadFailed, "The device list may be outdated."))
                }
            };
            let Some(error) = failure.filter(|_| !looks.is_fresh(*namespace, jid, now)).or_else(outdated)
            else {
                continue;
            };
            self.rows.push(Row {
                jid: Some(jid.clone()),
                device: 0,
                namespace: Some(*namespace),
                error: error.clone(),
            });
            // Who wants all of them must know all of them.
            self.incomplete.get_or_insert_with(|| error.clone());
            last = Some(error);
        }
        last
    }

    /// Adds the key for one device to the message of its namespace, or says why not.
    fn serve(&mut self, tx: &mut Tx<'_>, recipient: &RecipientDevice) -> Result<()> {
        let RecipientDevice { at, device } = recipient;
        let contact = tx.contact(&at.jid)?;
        let trust = if device.identity.is_key_confirmed() {
            trust::evaluate(tx, &trust::device_info(tx, &contact, device))?
        } else {
            CoreTrust::Undecided
        };
        #[cfg(omemo_planted)]
        let trust = if crate::planted::is_planted("distrusted-served") { CoreTrust::Trusted } else { trust };
        if trust == CoreTrust::Distrusted {
            return Err(Status::Distrusted.into());
        }
        if let Some(status) = device.blocks_sending(at.namespace) {
            return Err(status.into());
        }
        let Some(key) = device.identity.key().filter(|_| device.identity.is_key_confirmed()) else {
            return Err(self.why_no_bundle(tx, at));
        };
        if trust != CoreTrust::Trusted {
            return Err(Status::Undecided.into());
        }
        if self.is_unresponsive(tx, at)? {
            return Err(Status::Unresponsive.into());
        }
        let (mut session, fresh) = match self.session(tx, at, key.mont())? {
            Some(session) => (session, false),
            None => (self.begin(tx, at, key.mont())?, true),
        };
        let (sealed, keys) = match self.encrypted.entry(at.namespace) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                entry.insert((self.request.draft.seal(at.namespace, tx.rng())?, Vec::new()))
            }
        };
        let encrypted = session.encrypt_announcing(tx.config().habits.announced_pn(), &sealed.key)?;
        let counter = session.sending_chain_length();
        let (jid, bytes) = (answer::addressed(at), Some(encrypted.bytes));
        if fresh {
            Sessions::new(tx, at).replace(session, None)?
        } else {
            Sessions::new(tx, at).update(session)?
        }
        answer::discard_for(tx, at)?;
        keys.push(MessageKey { jid, device: at.device.get(), key_exchange: encrypted.key_exchange, bytes });
        self.served_devices.push((at.device.get(), at.namespace, fresh, counter));
        Ok(())
    }

    /// Returns whether a device has not answered for as many messages as the configuration allows.
    fn is_unresponsive(&self, tx: &mut Tx<'_>, at: &SessionAddress) -> Result<bool> {
        let Some(most) = self.context.config.max_unanswered_messages else { return Ok(false) };
        let current = Sessions::new(tx, at).for_sending()?;
        Ok(current.is_some_and(|current| current.unanswered >= most.max(policy::LEAST_UNANSWERED)))
    }

    /// Returns the session to send on; `None`: a new one has to be begun. That replaces a session that was not answered
    /// for too long if the peer's signed pre key has changed since it began, or if it began as long ago.
    fn session(&self, tx: &mut Tx<'_>, at: &SessionAddress, key: &[u8; 32]) -> Result<Option<Session>> {
        let Some(current) = Sessions::new(tx, at).for_sending()? else { return Ok(None) };
        let session = current.session.as_ref().filter(|session| session.peer_mont() == key);
        let Some(session) = session else { return Ok(None) };
        let fetched = self.gathered.bundles.get(at).and_then(|fetched| fetched.as_ref().ok());
        // Without a fresh bundle no session can begin: the old one is used.
        if let Some(fetched) = fetched
            && current.is_unanswered_too_long(tx.now.wall_ms)
            && !is_stale(self.context, fetched, tx.now.aged_ms)
        {
            let tried_ms = tx.now.wall_ms.saturating_sub(current.begun_ms);
            let tried_long_ago = u64::try_from(tried_ms).unwrap_or(0) >= policy::UNANSWERED_MS;
            let other =
                fetched.verified.bundle().signed_pre_key_id != session.exchange_id().signed_pre_key_id;
            if other || tried_long_ago {
                return Ok(None);
            }
        }
        Ok(Some(session.clone()))
    }

    /// Begins a session on a young bundle that shows the key that was judged.
    fn begin(&self, tx: &mut Tx<'_>, at: &SessionAddress, key: &[u8; 32]) -> Result<Session> {
        let Some(Ok(fetched)) = self.gathered.bundles.get(at) else { return Err(self.why_no_bundle(tx, at)) };
        if fetched.verified.identity().mont() != key {
            return Err(Status::IdentityChanged.into());
        }
        if is_stale(self.context, fetched, tx.now.aged_ms) {
            return Err(Error::new(
                Status::BundleDownloadFailed,
                "The bundle is too old to begin a session on.",
            ));
        }
        let (identity, rng) = tx.identity_and_rng()?;
        Session::initiate_verified(identity, &fetched.verified, rng)
    }

    fn why_no_bundle(&self, tx: &Tx<'_>, at: &SessionAddress) -> Error {
        if let Some(Err(error)) = self.gathered.bundles.get(at) {
            return error.clone();
        }
        match tx.memory().bundles.failure(at, tx.now.aged_ms) {
            Some(error) => error.clone(),
            None if self.context.is_online() => {
                Error::new(Status::BundleDownloadFailed, "The bundle was not fetched yet.")
            }
            None => Status::Offline.into(),
        }
    }
}
