//! What an encryption needs before its commit: lists, bundles, and what people think of keys.
//!
//! Reads what is known, asks for the rest, and notes the answers. Touches no session: waiting may take days.

use super::Inner;
use super::account::Account;
use super::api::device::{CoreTrust, Device};
use super::api::draft::Draft;
use super::api::question::{Answer, Question};
use super::api::report::Row;
use super::clock::Now;
use super::devices;
use super::layout::SessionKey;
use super::own;
use super::records::{DeviceRecord, JidRecord};
use super::sessions::Sessions;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::bundle::Bundle;
use crate::protocol::namespace::Namespace;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What one encryption has learnt so far.
#[derive(Default)]
pub(super) struct Gathered {
    /// Lists that could not be fetched.
    pub(super) lists: BTreeMap<(Namespace, BareJid), Error>,
    pub(super) bundles: HashMap<SessionKey, Result<Bundle>>,
    pub(super) asked: HashSet<(BareJid, [u8; 32])>,
    /// Devices that the user did not want to judge.
    pub(super) declined: Vec<Row>,
}

/// What is missing before everybody can be served.
#[derive(Default)]
pub(super) struct Missing {
    pub(super) lists: Vec<(Namespace, BareJid)>,
    pub(super) bundles: Vec<SessionKey>,
    /// With the namespace that is to serve it.
    pub(super) undecided: Vec<(Namespace, Device)>,
}

impl Missing {
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.bundles.is_empty() && self.undecided.is_empty()
    }
}

/// One device that a message is for, and the namespace that serves it.
pub(super) struct Target {
    pub(super) key: SessionKey,
    pub(super) record: DeviceRecord,
}

/// One encryption: its draft, and what that comes to.
pub(super) struct Letter {
    /// Sorted, each once.
    pub(super) recipients: Vec<BareJid>,
    /// Most preferred first.
    pub(super) namespaces: Vec<Namespace>,
    pub(super) draft: Draft,
}

/// Fetches lists, then bundles, then asks about trust, each all at once.
pub(super) async fn gather(inner: &Inner, letter: &Letter, gathered: &mut Gathered) -> Result<()> {
    let missing = |gathered: &Gathered| {
        let now = inner.now();
        let online = inner.desk.is_online();
        inner.account(|account| account.missing(letter, gathered, online, now))
    };
    for (namespace, jid, applied) in devices::fetch_lists(inner, missing(gathered)?.lists).await {
        if let Err(error) = applied {
            if is_ours(error.status()) {
                return Err(error);
            }
            gathered.lists.insert((namespace, jid), error);
        }
    }
    for (key, noted) in devices::fetch_bundles(inner, missing(gathered)?.bundles).await {
        match noted {
            Err(error) if is_ours(error.status()) => return Err(error),
            noted => gathered.bundles.insert(key, noted),
        };
    }
    let undecided = missing(gathered)?.undecided;
    if undecided.is_empty() {
        return Ok(());
    }
    let devices: Vec<Device> = undecided.iter().map(|(_, device)| device.clone()).collect();
    let keys = devices.iter().filter_map(|device| Some((device.jid.clone(), device.identity_key?)));
    gathered.asked.extend(keys);
    let question = Question::DecideTrust { devices, context: letter.draft.context.clone() };
    match inner.desk.ask(question).await {
        Answer::Levels(levels) => inner.account(|account| account.note_levels(&levels)),
        _ => {
            gathered.declined = undecided.into_iter().map(undecided_row).collect();
            Err(Status::TrustDecisionFailed.into())
        }
    }
}

fn undecided_row((namespace, device): (Namespace, Device)) -> Row {
    Row {
        jid: Some(device.jid),
        device: device.id,
        namespace: Some(namespace),
        error: Status::Undecided.into(),
    }
}

/// Whether a failure is ours, and not one of the network or of another device.
pub(super) fn is_ours(status: Status) -> bool {
    matches!(
        status,
        Status::Storage
            | Status::StorageCorrupt
            | Status::StorageVersion
            | Status::StorageAccount
            | Status::Internal
            | Status::Cancelled
    )
}

impl Account {
    /// The active devices of a JID, each with the one namespace that serves it, without this one.
    pub(super) fn targets(&mut self, jid: &BareJid, namespaces: &[Namespace]) -> Result<Vec<Target>> {
        let this = self.device_id()?.filter(|_| own::is_own(self, jid));
        let record = self.jid(jid)?;
        let own_key = *self.identity()?.public().mont();
        let mut targets = Vec::new();
        // An id that shows our own key is one that this device has given up.
        let others = record.devices.iter().filter(|device| this.is_none() || device.identity != own_key);
        for device in others {
            let served = device.served_in(namespaces);
            let (Some(namespace), Some(id)) = (served, DeviceId::new(device.id)) else { continue };
            if Some(id) != this {
                let key = SessionKey { jid: jid.clone(), device: id, namespace };
                targets.push(Target { key, record: device.clone() });
            }
        }
        Ok(targets)
    }

    /// The devices of a JID that the account serves, but not in these namespaces; with where they are announced.
    pub(super) fn left_out(
        &mut self,
        jid: &BareJid,
        namespaces: &[Namespace],
    ) -> Result<Vec<(u32, Namespace)>> {
        let order = self.config.namespaces.clone();
        if order.iter().all(|namespace| namespaces.contains(namespace)) {
            return Ok(Vec::new());
        }
        let reached: HashSet<u32> =
            self.targets(jid, namespaces)?.iter().map(|target| target.key.device.get()).collect();
        let all = self.targets(jid, &order)?.into_iter();
        let left = all.filter(|target| !reached.contains(&target.key.device.get()));
        Ok(left.map(|target| (target.key.device.get(), target.key.namespace)).collect())
    }

    /// All JIDs of a message: the recipients, and the own account.
    pub(super) fn audience(&self, letter: &Letter) -> Vec<BareJid> {
        let own = self.config.jid.clone();
        let others = letter.recipients.iter().filter(|jid| **jid != own).cloned();
        others.chain(std::iter::once(own.clone())).collect()
    }

    /// What has to be fetched or asked.
    pub(super) fn missing(
        &mut self,
        letter: &Letter,
        gathered: &Gathered,
        online: bool,
        now: Now,
    ) -> Result<Missing> {
        let mut missing = Missing::default();
        for jid in self.audience(letter) {
            let record = self.jid(&jid)?;
            for namespace in &letter.namespaces {
                // Without a stream a list that was ever seen has to do.
                let known = match online {
                    true => self.connection.is_fresh(*namespace, &jid, now.steady),
                    false => record.is_listed(*namespace),
                };
                if !known && !gathered.lists.contains_key(&(*namespace, jid.clone())) {
                    missing.lists.push((*namespace, jid.clone()));
                }
            }
            for target in self.targets(&jid, &letter.namespaces)? {
                self.missing_of(&record, target, gathered, &mut missing, now)?;
            }
        }
        Ok(missing)
    }

    fn missing_of(
        &mut self,
        record: &JidRecord,
        target: Target,
        gathered: &Gathered,
        missing: &mut Missing,
        now: Now,
    ) -> Result<()> {
        let Target { key, record: device } = target;
        // A key that nobody vouches for is not judged: its bundle may show the real one.
        let contradiction = device.contradiction(key.namespace);
        if device.is_confirmed() {
            let mut shown = self.describe(&key.jid, record, &device);
            match self.judge(&shown) {
                Ok(CoreTrust::Distrusted) | Err(_) => return Ok(()),
                Ok(CoreTrust::Undecided) if contradiction.is_none() => {
                    let asked = shown.identity_key.map(|ed| (key.jid.clone(), ed));
                    if asked.is_some_and(|asked| !gathered.asked.contains(&asked)) {
                        shown.core_trust = CoreTrust::Undecided;
                        missing.undecided.push((key.namespace, shown));
                    }
                }
                Ok(_) => (),
            }
        }
        let has_session = Sessions::new(self, &key, now).sending(&device.identity)?.is_some();
        // A device that shows another key may show its own again.
        let needed = !device.is_confirmed() || contradiction.is_some() || !has_session;
        let namespace = device.shown_elsewhere(key.namespace).unwrap_or(key.namespace);
        let key = SessionKey { namespace, ..key };
        let tried =
            gathered.bundles.contains_key(&key) || self.connection.bundle_failure(&key, now.steady).is_some();
        if needed && !tried {
            missing.bundles.push(key);
        }
        Ok(())
    }
}
