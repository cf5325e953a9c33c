//! What is missing before everybody can be served, as far as is known and was gathered: fresh lists, bundles that show
//! keys, decisions about keys, and bundles to begin sessions on.

use super::super::super::api::device::{CoreTrust, Device};
use super::super::super::api::report::Row;
use super::super::super::model::address::SessionAddress;
use super::super::super::model::contact::Contact;
use super::super::super::model::device::KnownDevice;
use super::super::super::model::fact::FetchedBundle;
use super::super::super::store::sessions::Sessions;
use super::super::super::store::transaction::Tx;
use super::super::{trust, trust_policy};
use super::plan::{EncryptRequest, RecipientDevice, recipient_devices};
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use std::collections::{BTreeMap, HashMap, HashSet};

/// When the first of the failures of an encryption may have happened, at the earliest.
#[derive(Clone, Copy)]
pub(super) struct Since {
    pub(super) stream: u64,
    /// In aged milliseconds.
    pub(super) at_ms: u64,
}

/// What one encryption has learnt so far.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) since: Option<Since>,
    /// Lists that could not be fetched.
    pub(super) lists: BTreeMap<(Namespace, BareJid), Error>,
    pub(super) bundles: HashMap<SessionAddress, std::result::Result<Box<FetchedBundle>, Error>>,
    /// JIDs whose lists were looked at again for want of devices.
    pub(super) looked_again: HashSet<BareJid>,
    pub(super) asked: HashSet<(BareJid, [u8; 32])>,
    /// Rows of devices that the user did not want to judge.
    pub(super) prompted: Vec<Row>,
}

/// What is missing before everybody can be served.
#[derive(Default)]
pub(super) struct Needed {
    pub(super) lists: Vec<(Namespace, BareJid)>,
    /// Bundles of devices whose key is not known or in conflict.
    pub(super) keys: Vec<SessionAddress>,
    /// Keys that nobody has judged, with the namespace that is to serve the device.
    pub(super) undecided: Vec<(Namespace, Device)>,
    /// Bundles to begin sessions on.
    pub(super) sessions: Vec<SessionAddress>,
}

impl Needed {
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.keys.is_empty() && self.undecided.is_empty() && self.sessions.is_empty()
    }

    fn add(&mut self, other: Needed) {
        self.lists.extend(other.lists);
        self.keys.extend(other.keys);
        self.undecided.extend(other.undecided);
        self.sessions.extend(other.sessions);
    }
}

/// Whether a failure is one of the store or of the library, and not of the network or of another device.
pub(super) fn is_fatal(status: Status) -> bool {
    matches!(
        status,
        Status::Storage
            | Status::StorageCorrupt
            | Status::StorageVersion
            | Status::StorageAccount
            | Status::StorageLocked
            | Status::Internal
            | Status::Cancelled
    )
}

/// Returns what is missing.
pub(super) fn needed(tx: &mut Tx<'_>, request: &EncryptRequest, gathered: &Gathered) -> Result<Needed> {
    let mut needed = Needed::default();
    for jid in request.recipients_with_self() {
        needed.add(needed_for(tx, request, &jid, gathered)?);
    }
    Ok(needed)
}

/// Returns whether a list is missing, which costs little to find out.
pub(super) fn needs_lists(tx: &mut Tx<'_>, request: &EncryptRequest, gathered: &Gathered) -> Result<bool> {
    for jid in request.recipients_with_self() {
        match needed_lists(tx, request, &jid, gathered) {
            Err(error) if error.status() == Status::StorageCorrupt => (),
            lists if lists.as_ref().is_ok_and(Vec::is_empty) => (),
            lists => return lists.map(|_| true),
        }
    }
    Ok(false)
}

/// Returns what is missing for a JID.
pub(super) fn needed_for(
    tx: &mut Tx<'_>,
    request: &EncryptRequest,
    jid: &BareJid,
    gathered: &Gathered,
) -> Result<Needed> {
    match look_for_needed(tx, request, jid, gathered) {
        // A record that cannot be read is a row of the report.
        Err(error) if error.status() == Status::StorageCorrupt => Ok(Needed::default()),
        needed => needed,
    }
}

fn look_for_needed(
    tx: &mut Tx<'_>,
    request: &EncryptRequest,
    jid: &BareJid,
    gathered: &Gathered,
) -> Result<Needed> {
    let mut needed = Needed { lists: needed_lists(tx, request, jid, gathered)?, ..Needed::default() };
    let devices = recipient_devices(tx, jid, &request.namespaces)?;
    let hopeless = request.must_serve(jid) && !devices.is_empty() && is_hopeless(tx, &devices, gathered)?;
    let back_off = if hopeless { BackOff::Shortened } else { BackOff::Full };
    for recipient in devices {
        match needed_by(tx, &recipient, gathered, back_off, &mut needed) {
            Err(error) if error.status() != Status::StorageCorrupt => return Err(error),
            _ => (),
        }
    }
    Ok(needed)
}

/// Lists that are not fresh. Where a JID announces no device at all they are looked at once more, unless that was done
/// in the last seconds.
pub(super) fn needed_lists(
    tx: &mut Tx<'_>,
    request: &EncryptRequest,
    jid: &BareJid,
    gathered: &Gathered,
) -> Result<Vec<(Namespace, BareJid)>> {
    let now_ms = tx.now.aged_ms;
    let contact = tx.contact(jid)?;
    let announced = |device: &&KnownDevice| request.namespaces.iter().any(|of| device.is_active(*of));
    let without = request.must_serve(jid)
        && !gathered.looked_again.contains(jid)
        && contact.devices.iter().filter(announced).all(|device| is_out(tx, &contact, device))
        && !request.namespaces.iter().any(|namespace| tx.memory().lists.is_quiet(*namespace, jid, now_ms));
    let looks = &tx.memory().lists;
    let wanted = |namespace: &&Namespace| {
        let untried = !gathered.lists.contains_key(&(**namespace, jid.clone()))
            && looks.failure(**namespace, jid, now_ms).is_none();
        untried && (without || !looks.is_fresh(**namespace, jid, now_ms))
    };
    Ok(request.namespaces.iter().filter(wanted).map(|namespace| (*namespace, jid.clone())).collect())
}

/// Whether the client distrusts a device, so that it gets nothing whatever the network says.
fn is_out(tx: &Tx<'_>, contact: &Contact, device: &KnownDevice) -> bool {
    let info = trust::device_info(tx, contact, device);
    info.identity_key.is_some() && trust::evaluate_or_undecided(tx, &info) == CoreTrust::Distrusted
}

/// Whether there is a session to send on; one that cannot be read is none.
fn has_session(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<bool> {
    match Sessions::new(tx, at).for_sending() {
        Err(error) if error.status() == Status::StorageCorrupt => Ok(false),
        session => Ok(session?.is_some()),
    }
}

/// Returns whether there is a session that is not to be replaced: the other side has answered on it, or may still do so.
/// A session whose record cannot be read counts as one: it is reported, not replaced.
pub(super) fn has_lasting_session(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<bool> {
    match Sessions::new(tx, at).for_sending() {
        Err(error) if error.status() == Status::StorageCorrupt => Ok(true),
        session => Ok(session?.is_some_and(|current| !current.is_unanswered_too_long(tx.now.wall_ms))),
    }
}

/// How long a bundle that failed is left alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BackOff {
    Full,
    /// For seconds where there was none, or none that is usable: its JID would get nothing on any device.
    Shortened,
}

/// Whether every device of a JID fails for want of its bundle: then back-off must not keep it from being reached.
fn is_hopeless(tx: &mut Tx<'_>, devices: &[RecipientDevice], gathered: &Gathered) -> Result<bool> {
    let now_ms = tx.now.aged_ms;
    for RecipientDevice { at, device } in devices {
        let contact = tx.contact(&at.jid)?;
        if is_out(tx, &contact, device) {
            continue;
        }
        if matches!(gathered.bundles.get(at), Some(Ok(_))) {
            return Ok(false);
        }
        let bundle = at.in_namespace(device.bundle_namespace(at.namespace));
        let failed = tx.memory().bundles.failure(&bundle, now_ms).is_some();
        if !failed || (device.identity.is_key_confirmed() && has_session(tx, at)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn needed_by(
    tx: &mut Tx<'_>,
    recipient: &RecipientDevice,
    gathered: &Gathered,
    back_off: BackOff,
    needed: &mut Needed,
) -> Result<()> {
    let RecipientDevice { at, device } = recipient;
    let bundle = at.in_namespace(device.bundle_namespace(at.namespace));
    let now_ms = tx.now.aged_ms;
    let looks = &tx.memory().bundles;
    let held_back = match back_off {
        BackOff::Full => looks.failure(&bundle, now_ms).is_some(),
        BackOff::Shortened => looks.is_quiet(&bundle, now_ms),
    };
    let untried = !held_back && !gathered.bundles.contains_key(&bundle);
    let blocked = device.blocks_sending(at.namespace).is_some();
    if !device.identity.is_key_confirmed() || blocked {
        // A key that nobody vouches for is not judged: its bundle may show the real one.
        if untried {
            needed.keys.push(bundle);
        }
        if !device.identity.is_key_confirmed() {
            return Ok(());
        }
    }
    let contact = tx.contact(&at.jid)?;
    let info = trust::device_info(tx, &contact, device);
    match trust_policy::evaluate(tx, &contact, &info) {
        Ok(CoreTrust::Trusted) => (),
        Ok(CoreTrust::Undecided) if !blocked => {
            let asked = info.identity_key.map(|ed| (at.jid.clone(), ed));
            if asked.is_some_and(|asked| !gathered.asked.contains(&asked)) {
                needed.undecided.push((at.namespace, info));
            }
            return Ok(());
        }
        _ => return Ok(()),
    }
    if !blocked && untried {
        let current = Sessions::new(tx, at).for_sending()?;
        let looks = &tx.memory().bundles;
        let wanted = current.is_none_or(|current| {
            current.is_unanswered_too_long(tx.now.wall_ms) && looks.may_look_at_unanswered(at, now_ms)
        });
        if wanted {
            needed.sessions.push(at.clone());
        }
    }
    Ok(())
}
