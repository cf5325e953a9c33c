//! Encryption: gather what is missing, then one commit for all devices.
//!
//! Gathering (lists, bundles, trust) may take days and touches no ratchet. The commit reads everything anew, begins the
//! sessions that are missing from the bundles that were gathered, and hands the messages out only when it is durable.

use super::Inner;
use super::account::Account;
use super::api::device::CoreTrust;
use super::api::draft::{Draft, EncryptPolicy};
use super::api::report::{Outcome, Row};
use super::clock::Now;
use super::gather::{Gathered, Letter, Target, gather, is_ours};
use super::layout::SessionKey;
use super::records::{DeviceRecord, Reason};
use super::sessions::Sessions;
use super::turns::Turn;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::message::{Message, MessageKey};
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::{self, KeyParts, Sealed};
use crate::protocol::session::Session;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// How often what is missing is gathered before it is reported.
const ROUNDS: usize = 3;

/// Checks a draft, and takes its place in the order. What fails here has never begun.
pub(super) fn prepare(inner: &Arc<Inner>, draft: &Draft) -> Result<Turn> {
    let namespaces = draft.namespaces(&inner.config.namespaces);
    if namespaces.is_empty() {
        return Err(match draft.namespaces {
            Some(_) => Error::new(Status::Argument, "The draft names no namespace."),
            None => Error::new(Status::Plaintext, "No namespace of the account has key transport."),
        });
    }
    for namespace in namespaces {
        if !inner.config.namespaces.contains(&namespace) {
            return Err(Status::UnknownNamespace.into());
        }
        draft.check_content(namespace)?;
    }
    inner.account(|account| {
        account.ensure_loaded()?;
        account.device_id()?.map(|_| ()).ok_or(Error::from(Status::NotReady))
    })?;
    Ok(Turn::take(inner, draft))
}

/// Encrypts: see [`super::Manager::encrypt`].
pub(super) async fn run(inner: Arc<Inner>, draft: Draft, turn: Turn) -> Outcome {
    let context = draft.context.clone();
    let namespaces = draft.namespaces(&inner.config.namespaces);
    let mut recipients = draft.recipients.clone();
    recipients.sort();
    recipients.dedup();
    let letter = Letter { recipients, namespaces, draft };
    let outcome = gather_and_commit(&inner, &letter, &turn).await;
    let outcome = outcome.unwrap_or_else(Outcome::bare);
    Outcome { context, ..outcome }
}

async fn gather_and_commit(inner: &Inner, letter: &Letter, turn: &Turn) -> Result<Outcome> {
    let mut gathered = Gathered::default();
    if letter.draft.policy == EncryptPolicy::Now {
        let now = inner.now();
        let online = inner.desk.is_online();
        return inner.account(|account| account.encrypt(letter, &gathered, online, now));
    }
    for _ in 0..ROUNDS {
        let complete = gather(inner, letter, &mut gathered).await;
        turn.come().await; // a failure keeps to the order, too
        if let Err(error) = complete {
            return Ok(Outcome { rows: gathered.declined, ..Outcome::bare(error) });
        }
        // Others may have waited for long: what has changed since is gathered again.
        let now = inner.now();
        let online = inner.desk.is_online();
        let missing = inner.account(|account| account.missing(letter, &gathered, online, now))?;
        if missing.is_empty() {
            break;
        }
    }
    let now = inner.now();
    let online = inner.desk.is_online();
    inner.account(|account| account.encrypt(letter, &gathered, online, now))
}

impl Account {
    /// The commit: serves every device that can be served now, or nobody.
    fn encrypt(&mut self, letter: &Letter, gathered: &Gathered, online: bool, now: Now) -> Result<Outcome> {
        let mut rows = Vec::new();
        let result =
            self.transact(|account| account.encrypt_staged(letter, gathered, online, now, &mut rows));
        match result {
            Ok((messages, keys)) => Ok(Outcome { rows, messages, keys, ..Outcome::bare(Status::Ok) }),
            Err(error) if is_ours(error.status()) => Err(error),
            // Nobody gets anything: a row that says "served" would be a lie.
            Err(error) => {
                rows.retain(|row: &Row| row.error.status() != Status::Ok);
                Ok(Outcome { rows, ..Outcome::bare(error) })
            }
        }
    }

    fn encrypt_staged(
        &mut self,
        letter: &Letter,
        gathered: &Gathered,
        online: bool,
        now: Now,
        rows: &mut Vec<Row>,
    ) -> Result<(Vec<Message>, Vec<KeyParts>)> {
        let own = self.config.jid.clone();
        let own_id = self.device_id()?.ok_or(Error::from(Status::NotReady))?;
        let mut sealed: BTreeMap<Namespace, (Sealed, Vec<MessageKey>)> = BTreeMap::new();
        let mut unserved = Vec::new();
        let mut incomplete = None;
        let recipients: BTreeSet<&BareJid> = letter.recipients.iter().collect();
        for jid in self.audience(letter) {
            let mut served = 0_usize;
            let mut devices = 0_usize;
            let mut list_failure = None;
            for namespace in &letter.namespaces {
                let failure = gathered.lists.get(&(*namespace, jid.clone())).cloned();
                let unfetched = || {
                    let fresh = self.connection.is_fresh(*namespace, &jid, now.steady);
                    (letter.draft.policy == EncryptPolicy::Now && !fresh).then(|| match online {
                        true => Error::new(
                            Status::DeviceListDownloadFailed,
                            "The device list was not fetched yet.",
                        ),
                        false => Status::Offline.into(),
                    })
                };
                if let Some(error) = failure.or_else(unfetched) {
                    rows.push(Row {
                        jid: Some(jid.clone()),
                        device: 0,
                        namespace: Some(*namespace),
                        error: error.clone(),
                    });
                    // Whoever wants all of them must know all of them.
                    incomplete = incomplete.or_else(|| Some(error.clone()));
                    list_failure = Some(error);
                }
            }
            for target in self.targets(&jid, &letter.namespaces)? {
                devices = devices.saturating_add(1);
                let key = target.key.clone();
                let served_by = self.serve(letter, &target, gathered, online, now, &mut sealed);
                let error = match served_by {
                    Ok(()) => {
                        served = served.saturating_add(1);
                        Error::from(Status::Ok)
                    }
                    Err(error) if is_ours(error.status()) => return Err(error),
                    Err(error) => error,
                };
                if !matches!(error.status(), Status::Ok | Status::Distrusted) && incomplete.is_none() {
                    incomplete = Some(error.clone());
                }
                let (device, namespace) = (key.device.get(), Some(key.namespace));
                rows.push(Row { jid: Some(key.jid), device, namespace, error });
            }
            for (device, namespace) in self.left_out(&jid, &letter.namespaces)? {
                devices = devices.saturating_add(1);
                let error = Error::new(
                    Status::UnknownNamespace,
                    "The message is for other namespaces than this device's.",
                );
                incomplete = incomplete.or_else(|| Some(error.clone()));
                rows.push(Row { jid: Some(jid.clone()), device, namespace: Some(namespace), error });
            }
            if served == 0 && recipients.contains(&jid) && jid != own {
                let error = match (devices, list_failure) {
                    (0, Some(error)) => error,
                    (0, None) => Status::NoDevices.into(),
                    _ => Status::NoEligibleDevices.into(),
                };
                unserved.push(Row { jid: Some(jid), device: 0, namespace: None, error });
            }
        }
        if letter.draft.policy == EncryptPolicy::All {
            match incomplete {
                Some(error) if error.status() == Status::Undecided => {
                    return Err(Status::StillUndecided.into());
                }
                Some(error) => return Err(error),
                None => (),
            }
        }
        if !unserved.is_empty() {
            rows.extend(unserved);
            return Err(Status::NoEligibleDevices.into());
        }
        let (mut messages, mut transported) = (Vec::new(), Vec::new());
        for namespace in &letter.namespaces {
            let Some((sealed, keys)) = sealed.remove(namespace) else { continue };
            if letter.draft.key_transport {
                let parts = payload::parts(*namespace, &sealed.key, sealed.iv.as_deref());
                transported.push(parts.ok_or(Error::from(Status::Internal))?);
            }
            messages.push(Message {
                namespace: *namespace,
                sender_device: own_id.get(),
                keys,
                payload: sealed.payload,
                iv: sealed.iv,
            });
        }
        Ok((messages, transported))
    }

    /// Adds the key for one device to the message of its namespace, or says why not.
    fn serve(
        &mut self,
        letter: &Letter,
        target: &Target,
        gathered: &Gathered,
        online: bool,
        now: Now,
        sealed: &mut BTreeMap<Namespace, (Sealed, Vec<MessageKey>)>,
    ) -> Result<()> {
        let Target { key, record: device } = target;
        let record = self.jid(&key.jid)?;
        let verdict = match device.is_confirmed() {
            true => self.judge(&self.describe(&key.jid, &record, device))?,
            false => CoreTrust::Undecided,
        };
        if verdict == CoreTrust::Distrusted {
            return Err(Status::Distrusted.into());
        }
        if let Some(status) = device.contradiction(key.namespace) {
            return Err(status.into());
        }
        if !device.is_confirmed() {
            return Err(self.why_no_bundle(key, gathered, online, now));
        }
        if verdict != CoreTrust::Trusted {
            return Err(Status::Undecided.into());
        }
        let current = Sessions::new(self, key, now).sending(&device.identity)?;
        let (mut session, fresh) = match current {
            Some(session) => (session, false),
            None => (self.begin(key, device, gathered, online, now)?, true),
        };
        let namespace = key.namespace;
        let (payload, keys) = match sealed.entry(namespace) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert((letter.draft.seal(namespace, &mut *self.rng)?, Vec::new())),
        };
        let encrypted = session.encrypt(&payload.key)?;
        let jid = match namespace {
            Namespace::Omemo2 => Some(key.jid.clone()),
            Namespace::Legacy => None,
        };
        let (key_exchange, bytes) = (encrypted.key_exchange, Some(encrypted.bytes));
        keys.push(MessageKey { jid, device: key.device.get(), key_exchange, bytes });
        let mut sessions = Sessions::new(self, key, now);
        match fresh {
            true => sessions.replace(session, None, Reason::Superseded)?,
            false => sessions.update(session)?,
        }
        self.drop_messages(key)
    }

    /// Begins a session on a bundle that shows the key that was judged.
    fn begin(
        &mut self,
        key: &SessionKey,
        device: &DeviceRecord,
        gathered: &Gathered,
        online: bool,
        now: Now,
    ) -> Result<Session> {
        let Some(Ok(bundle)) = gathered.bundles.get(key) else {
            return Err(self.why_no_bundle(key, gathered, online, now));
        };
        let shown = bundle.verify()?;
        if !bool::from(shown.mont().as_slice().ct_eq(&device.identity)) {
            return Err(Status::IdentityChanged.into());
        }
        let (identity, rng) = self.identity_and_rng()?;
        Session::initiate(identity, bundle, rng)
    }

    fn why_no_bundle(&self, key: &SessionKey, gathered: &Gathered, online: bool, now: Now) -> Error {
        match gathered.bundles.get(key) {
            Some(Err(error)) => error.clone(),
            _ => match self.connection.bundle_failure(key, now.steady) {
                Some(status) => status.into(),
                None if online => Error::new(Status::BundleDownloadFailed, "The bundle was not fetched yet."),
                None => Status::Offline.into(),
            },
        }
    }
}
