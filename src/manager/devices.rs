//! The devices of a JID: which it announces, which keys they have, and how that is learnt.
//!
//! Only a list from the JID's own node makes a device active, and only a bundle from there, with a signature that
//! verifies, confirms its key. Devices are never forgotten: one that left keeps its key and its trust.

use super::Inner;
use super::account::Account;
use super::api::device::Device;
use super::api::event::{Notice, NoticeKind};
use super::api::question::{Answer, Question, Reason};
use super::api::report::{Outcome, Row};
use super::clock::Now;
use super::connection::Job;
use super::layout::SessionKey;
use super::own;
use super::records::{DeviceRecord, JidRecord};
use super::sessions::Sessions;
use crate::crypto::convert;
use crate::crypto::identity::IdentityKey;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::bundle::Bundle;
use crate::protocol::device_list::DeviceList;
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use futures_util::future::join_all;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// The ids of a list that are valid; the others cannot be ours to serve.
pub(super) fn ids(list: &DeviceList) -> impl Iterator<Item = u32> {
    list.devices.iter().map(|device| device.id).filter(|id| DeviceId::new(*id).is_some())
}

/// The list in an answer; a JID without a list announces nothing.
pub(super) fn list_answer(namespace: Namespace, answer: Answer) -> Result<DeviceList> {
    match answer {
        Answer::DeviceList(list) => Ok(list),
        Answer::Rejected(Reason::NotFound) => Ok(DeviceList { namespace, devices: Vec::new() }),
        Answer::Rejected(Reason::Timeout) => Err(Status::Timeout.into()),
        _ => Err(Status::DeviceListDownloadFailed.into()),
    }
}

impl JidRecord {
    /// Whether the JID's own list was ever seen in a namespace.
    pub(super) fn is_listed(&self, namespace: Namespace) -> bool {
        self.listed.contains(&namespace.code())
    }
}

impl DeviceRecord {
    /// Whether it is announced in a namespace now.
    pub(super) fn is_active(&self, namespace: Namespace) -> bool {
        self.active.contains(&namespace.code())
    }

    /// Whether a bundle vouches for its key, in whichever namespace.
    pub(super) fn is_confirmed(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Whether its bundle in a namespace was seen to show its key.
    fn was_seen(&self, namespace: Namespace) -> bool {
        self.seen.contains(&namespace.code())
    }

    /// Why it cannot be served in a namespace as long as nobody accepts the key that it shows: its key changed, or it
    /// has had another one in that namespace all along.
    pub(super) fn contradiction(&self, namespace: Namespace) -> Option<Status> {
        if self.shown.is_empty() {
            return None;
        }
        let (changed, here) = (self.seen.contains(&self.shown_in), self.shown_in == namespace.code());
        // What it showed where it is not announced any more speaks against nothing elsewhere.
        match (changed, here || (changed && self.active.contains(&self.shown_in))) {
            (true, true) => Some(Status::IdentityChanged),
            (false, true) => Some(Status::IdentityMismatch),
            (_, false) => None,
        }
    }

    /// Where it shows another key, if that is not the namespace in which this is asked.
    pub(super) fn shown_elsewhere(&self, namespace: Namespace) -> Option<Namespace> {
        let contradicts = self.contradiction(namespace).is_some();
        Namespace::from_code(self.shown_in).filter(|shown_in| contradicts && *shown_in != namespace)
    }

    /// The account does not serve a namespace any more, and what the device does there is not heard of.
    pub(super) fn leave(&mut self, namespace: Namespace) {
        self.active.retain(|active| *active != namespace.code());
        if self.shown_in == namespace.code() {
            self.shown.clear();
        }
        self.had_omemo2 &= namespace != Namespace::Omemo2;
    }

    /// The namespace that serves it: the first of these in which it is announced, unless the client prefers one.
    pub(super) fn served_in(&self, order: &[Namespace]) -> Option<Namespace> {
        let preferred = Namespace::from_code(self.preferred).filter(|preferred| order.contains(preferred));
        let order = preferred.into_iter().chain(order.iter().copied());
        order.into_iter().find(|namespace| self.is_active(*namespace))
    }

    /// Whether omemo:2 is where it is served when it announces both.
    fn prefers_omemo2(&self, order: &[Namespace]) -> bool {
        let both = DeviceRecord { active: Namespace::ALL.map(Namespace::code).to_vec(), ..self.clone() };
        both.served_in(order) == Some(Namespace::Omemo2)
    }

    /// Notes that it left omemo:2 for legacy. True: for the first time since the client had a word about it.
    fn note_downgrade(&mut self, order: &[Namespace]) -> bool {
        self.had_omemo2 |= self.is_active(Namespace::Omemo2);
        let left = self.had_omemo2 && self.served_in(order) == Some(Namespace::Legacy);
        let news = left && !self.downgraded && self.prefers_omemo2(order);
        self.downgraded |= news;
        news
    }
}

/// Takes over a list that came from the JID's own node.
pub(super) fn apply_list(account: &mut Account, jid: &BareJid, list: &DeviceList, now: Now) -> Result<()> {
    let namespace = list.namespace;
    let code = namespace.code();
    let mut announced: Vec<u32> = ids(list).collect();
    announced.sort_unstable();
    announced.dedup();
    if announced.len() > limits::DEVICES_PER_JID {
        return Err(Error::new(Status::Limit, "A device list names too many devices."));
    }
    let record = account.jid(jid)?;
    // Memory of vanished devices is bounded, too: those that nobody has judged go first.
    let mut next = JidRecord::clone(&record);
    if !next.is_listed(namespace) {
        next.listed.push(code);
    }
    for device in &mut next.devices {
        let active = announced.binary_search(&device.id).is_ok();
        if active != device.is_active(namespace) {
            device.active.retain(|other| *other != code);
            if active {
                device.active.push(code);
            }
        }
    }
    for id in announced {
        if !next.devices.iter().any(|device| device.id == id) {
            next.devices.push(DeviceRecord { id, active: vec![code], ..DeviceRecord::default() });
        }
    }
    let order = account.config.namespaces.clone();
    let this = account.device_id()?.filter(|_| own::is_own(account, jid));
    let mut downgraded = Vec::new();
    for device in &mut next.devices {
        if this.is_none_or(|this| this.get() != device.id) && device.note_downgrade(&order) {
            downgraded.push(device.id);
        }
    }
    let surplus = next.devices.len().saturating_sub(limits::KNOWN_DEVICES_PER_JID);
    if surplus > 0 {
        let mut left = surplus;
        next.devices.retain(|device| {
            let known = !device.identity.is_empty() || device.preferred != 0;
            let forget = left > 0 && device.active.is_empty() && !known;
            left = left.saturating_sub(forget.into());
            !forget
        });
        if left > 0 {
            return Err(Error::new(Status::Limit, "A JID has announced too many devices."));
        }
    }
    account.connection.list_seen(namespace, jid, now.steady);
    if next != *record {
        let changed = next.devices != record.devices;
        *account.jid_mut(jid)? = next;
        if changed {
            account.notify(Notice {
                kind: NoticeKind::Devices,
                namespace: Some(namespace),
                jid: Some(jid.clone()),
                device: 0,
                status: Status::Ok,
            });
        }
    }
    for device in downgraded {
        account.notify(Notice {
            kind: NoticeKind::Downgraded,
            namespace: Some(Namespace::Legacy),
            jid: Some(jid.clone()),
            device,
            status: Status::Ok,
        });
    }
    if own::is_own(account, jid) && account.config.namespaces.contains(&namespace) {
        check_own_list(account, list)?;
    }
    // Only now: a list that was refused is no fresh one.
    account.connection.list_seen(namespace, jid, now.steady);
    Ok(())
}

/// Whoever took this device off the own list did not know of it: it is put back.
fn check_own_list(account: &mut Account, list: &DeviceList) -> Result<()> {
    let namespace = list.namespace;
    account.connection.own_lists.insert(namespace, list.clone());
    let Some(device) = account.device_id()? else { return Ok(()) };
    if !ids(list).any(|id| id == device.get()) && !account.own(namespace)?.list_pending {
        account.own_mut(namespace)?.list_pending = true;
        account.follow_up();
    }
    Ok(())
}

/// Takes over the identity key of a verified bundle that came from the JID's own node. Gives what speaks against serving
/// the device with that bundle: another key than the confirmed one.
fn note_identity(
    account: &mut Account,
    key: &SessionKey,
    identity: &IdentityKey,
    now: Now,
) -> Result<Option<Status>> {
    let mut record = JidRecord::clone(&*account.jid(&key.jid)?);
    let id = key.device.get();
    if !record.devices.iter().any(|device| device.id == id) {
        record.devices.push(DeviceRecord { id, ..DeviceRecord::default() });
    }
    let Some(device) = record.devices.iter_mut().find(|device| device.id == id) else {
        return Err(Status::Internal.into());
    };
    let same: bool = device.identity.as_slice().ct_eq(identity.mont().as_slice()).into();
    let (known, confirmed) = (!device.identity.is_empty(), device.is_confirmed());
    let code = key.namespace.code();
    let changed = Notice {
        kind: NoticeKind::IdentityChanged,
        namespace: Some(key.namespace),
        jid: Some(key.jid.clone()),
        device: id,
        status: Status::IdentityChanged,
    };
    if known && !same && confirmed {
        let shown = device.shown.as_slice().try_into().ok().and_then(convert::ed_to_mont);
        let told = shown.as_ref() == Some(identity.mont()) && device.shown_in == code;
        device.shown = identity.ed().to_vec();
        device.shown_in = code;
        let status = device.contradiction(key.namespace).unwrap_or(Status::IdentityChanged);
        if !told {
            *account.jid_mut(&key.jid)? = record;
            account.notify(Notice { status, ..changed });
        }
        return Ok(Some(status));
    }
    if !same || device.sign == super::trust::SIGN_UNKNOWN {
        let seen = if same { device.seen.clone() } else { Vec::new() };
        device.set_identity(identity.mont(), Some(identity.ed()));
        device.seen = seen;
    }
    if !device.seen.contains(&code) {
        device.seen.push(code);
    }
    if device.shown_in == code || !confirmed {
        // It shows its confirmed key (again), and may be served wherever that spoke against it.
        if !device.shown.is_empty() {
            for namespace in Namespace::ALL {
                account.connection.forgive(&SessionKey { namespace, ..key.clone() });
            }
        }
        device.shown.clear();
    }
    let contradiction = device.contradiction(key.namespace);
    let news = record != *account.jid(&key.jid)?;
    if news {
        *account.jid_mut(&key.jid)? = record;
    }
    if known && !same {
        // A key exchange had shown another key, for which nobody vouched: that session is given up.
        for namespace in Namespace::ALL {
            let key = SessionKey { namespace, ..key.clone() };
            Sessions::new(account, &key, now).retire()?;
        }
        account.notify(changed);
    } else if !known {
        account.notify(Notice { kind: NoticeKind::Devices, status: Status::Ok, ..changed });
    }
    Ok(contradiction)
}

/// Takes over the answer to a question for a bundle: the bundle, if its device may be served with it.
pub(super) fn note_bundle(
    account: &mut Account,
    key: &SessionKey,
    answer: Answer,
    now: Now,
) -> Result<Bundle> {
    let failure = match answer {
        Answer::Bundle(bundle) => match bundle.verify() {
            Ok(identity) => match account.transact(|account| note_identity(account, key, &identity, now))? {
                None => return Ok(bundle),
                Some(status) => status,
            },
            Err(error) => error.status(),
        },
        Answer::Rejected(Reason::NotFound) => Status::BundleNotFound,
        Answer::Rejected(Reason::Timeout) => Status::Timeout,
        _ => Status::BundleDownloadFailed,
    };
    account.connection.bundle_failed(key.clone(), failure, now.steady);
    Err(failure.into())
}

impl Account {
    /// A list was pushed, or read by the client.
    pub(super) fn update_device_list(&mut self, jid: &BareJid, list: &DeviceList, now: Now) -> Result<()> {
        if !self.config.namespaces.contains(&list.namespace) {
            return Err(Status::UnknownNamespace.into());
        }
        self.transact(|account| apply_list(account, jid, list, now))
    }

    /// Serves a device in a namespace whenever it announces it there; the client has had its word about a downgrade.
    pub(super) fn prefer_namespace(
        &mut self,
        jid: &BareJid,
        id: DeviceId,
        namespace: Option<Namespace>,
    ) -> Result<()> {
        if namespace.is_some_and(|namespace| !self.config.namespaces.contains(&namespace)) {
            return Err(Status::UnknownNamespace.into());
        }
        self.transact(|account| {
            account.jid(jid)?.device(id).ok_or(Error::from(Status::NotFound))?;
            let devices = &mut account.jid_mut(jid)?.devices;
            let device = devices.iter_mut().find(|device| device.id == id.get());
            let device = device.ok_or(Error::from(Status::Internal))?;
            device.preferred = namespace.map_or(0, Namespace::code);
            device.downgraded = false;
            device.had_omemo2 = device.is_active(Namespace::Omemo2);
            Ok(())
        })
    }

    /// All that is known of a JID's devices; of the own account this device first.
    pub(super) fn devices(&mut self, jid: Option<&BareJid>) -> Result<Vec<Device>> {
        self.ensure_loaded()?;
        let own = self.config.jid.clone();
        let jid = jid.unwrap_or(&own);
        let record = self.jid(jid)?;
        let mut devices: Vec<Device> =
            record.devices.iter().map(|device| self.describe(jid, &record, device)).collect();
        if *jid == own {
            self.put_own_device_first(&mut devices, &record)?;
        }
        for device in &mut devices {
            device.core_trust = self.judge_or_undecided(device);
        }
        Ok(devices)
    }

    /// This device knows its own key without a bundle, and before it stands in any list.
    fn put_own_device_first(&self, devices: &mut Vec<Device>, record: &JidRecord) -> Result<()> {
        let Some(id) = self.device_id()? else { return Ok(()) };
        let identity = *self.identity()?.public();
        let position = devices.iter().position(|device| device.id == id.get());
        let mut this = match position {
            Some(position) => devices.remove(position),
            None => self.describe(
                &self.config.jid,
                record,
                &DeviceRecord { id: id.get(), ..DeviceRecord::default() },
            ),
        };
        this.identity_key = Some(*identity.ed());
        let level = record.level(identity.mont()).unwrap_or(&self.config.default_trust_level_name);
        level.clone_into(&mut this.trust_level_name);
        devices.insert(0, this);
        Ok(())
    }

    /// Devices of a JID whose bundle has to be fetched before they can be served or shown whole.
    fn unknown_devices(&mut self, jid: &BareJid, namespace: Namespace, now: Now) -> Result<Vec<SessionKey>> {
        let own = self.device_id()?.filter(|_| own::is_own(self, jid));
        let record = self.jid(jid)?;
        // A device with a bundle in each namespace shows the same key in both, or is told of.
        // One whose messages show another key is looked at again, so that the key can be accepted.
        let told = |id: u32| {
            let device = DeviceId::new(id);
            device.is_some_and(|device| {
                self.connection.was_told(&SessionKey { jid: jid.clone(), device, namespace })
            })
        };
        let incomplete = |device: &&DeviceRecord| {
            !device.was_seen(namespace) || device.contradiction(namespace).is_some() || told(device.id)
        };
        let unknown = record.devices.iter().filter(|device| device.is_active(namespace)).filter(incomplete);
        let ids = unknown.filter_map(|device| DeviceId::new(device.id)).filter(|id| Some(*id) != own);
        let keys = ids.map(|device| SessionKey { jid: jid.clone(), device, namespace });
        let again = |key: &SessionKey| {
            matches!(
                self.connection.bundle_failure(key, now.steady),
                None | Some(Status::IdentityChanged | Status::IdentityMismatch)
            )
        };
        Ok(keys.filter(again).collect())
    }

    /// Notes that the list of a sender is worth a look, since its device is not on it.
    pub(super) fn suspect_list(&mut self, namespace: Namespace, jid: &BareJid, now: Now) {
        if self.connection.suggest(Job::FetchList(namespace, jid.clone()), now.steady) {
            self.follow_up();
        }
    }
}

/// Fetches bundles all at once, and takes over what they say.
pub(super) async fn fetch_bundles(inner: &Inner, keys: Vec<SessionKey>) -> Vec<(SessionKey, Result<Bundle>)> {
    let fetches = keys.into_iter().map(|key| {
        let ask = inner.desk.ask(Question::FetchBundle {
            namespace: key.namespace,
            jid: key.jid.clone(),
            device: key.device,
        });
        async move {
            let answer = ask.await;
            let now = inner.now();
            let noted = inner.account(|account| note_bundle(account, &key, answer, now));
            (key, noted)
        }
    });
    join_all(fetches).await
}

/// Fetches lists all at once, and takes them over.
pub(super) async fn fetch_lists(
    inner: &Inner,
    lists: Vec<(Namespace, BareJid)>,
) -> Vec<(Namespace, BareJid, Result<()>)> {
    let fetches = lists.into_iter().map(|(namespace, jid)| {
        let ask = inner.desk.ask(Question::FetchDeviceList { namespace, jid: jid.clone() });
        async move {
            let answer = ask.await;
            let now = inner.now();
            let applied = list_answer(namespace, answer).and_then(|list| {
                inner.account(|account| account.transact(|account| apply_list(account, &jid, &list, now)))
            });
            (namespace, jid, applied)
        }
    });
    join_all(fetches).await
}

/// Fetches the lists and the unknown keys of a JID: see [`super::Manager::refresh_devices`].
pub(super) async fn refresh(inner: Arc<Inner>, jid: BareJid, namespace: Option<Namespace>) -> Outcome {
    let namespaces = namespace.map_or_else(|| inner.config.namespaces.clone(), |namespace| vec![namespace]);
    let lists = namespaces.iter().map(|namespace| (*namespace, jid.clone())).collect();
    let mut rows = Vec::new();
    let mut error = Error::from(Status::Ok);
    for (namespace, jid, applied) in fetch_lists(&inner, lists).await {
        let row = applied.err().unwrap_or_else(|| Status::Ok.into());
        if row.status() != Status::Ok {
            error = row.clone();
        }
        rows.push(Row { jid: Some(jid), device: 0, namespace: Some(namespace), error: row });
    }
    let now = inner.now();
    let mut unknown = Vec::new();
    for namespace in namespaces {
        match inner.account(|account| account.unknown_devices(&jid, namespace, now)) {
            Ok(keys) => unknown.extend(keys),
            Err(error) => return Outcome { rows, ..Outcome::bare(error) },
        }
    }
    for (key, noted) in fetch_bundles(&inner, unknown).await {
        let error = noted.err().unwrap_or_else(|| Status::Ok.into());
        rows.push(Row {
            jid: Some(key.jid),
            device: key.device.get(),
            namespace: Some(key.namespace),
            error,
        });
    }
    Outcome { rows, ..Outcome::bare(error) }
}
