//! What the client sees of a JID's devices, and the namespace that it prefers for one.

use super::super::api::device::{Device, DeviceSession};
use super::super::model::address::SessionAddress;
use super::super::model::contact::Contact;
use super::super::model::device::KnownDevice;
use super::super::store::sessions::Sessions;
use super::super::store::transaction::Tx;
use super::context::Context;
use super::trust;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;
use crate::protocol::session::Session;
use std::sync::Arc;

/// Returns all that is known of a JID's devices; of this account this device first.
pub(in crate::manager) fn devices(context: &Context, jid: Option<&BareJid>) -> Result<Vec<Device>> {
    context.transact(|tx| {
        let own = tx.config().jid.clone();
        let jid = jid.unwrap_or(&own);
        let contact = tx.contact(jid)?;
        let mut devices: Vec<Device> =
            contact.devices.iter().map(|device| trust::device_info(tx, &contact, device)).collect();
        if *jid == own {
            put_own_device_first(tx, &mut devices, &contact)?;
        }
        for device in &mut devices {
            device.core_trust = trust::evaluate_or_undecided(tx, device);
            device.sessions = sessions(tx, device)?;
        }
        Ok(devices)
    })
}

/// Returns what is known of the sessions with a device. One that cannot be read counts as none.
pub(super) fn sessions(tx: &mut Tx<'_>, device: &Device) -> Result<Vec<DeviceSession>> {
    let Some(id) = DeviceId::new(device.id) else { return Ok(Vec::new()) };
    let mut sessions = Vec::new();
    for namespace in tx.config().namespaces.clone() {
        let at = SessionAddress { jid: device.jid.clone(), device: id, namespace };
        let current = match Sessions::new(tx, &at).for_sending() {
            Err(error) if error.status() == Status::StorageCorrupt => None,
            current => current?,
        };
        let session = current.as_ref().and_then(|current| current.session.as_ref());
        sessions.push(DeviceSession {
            namespace,
            is_confirmed: session.is_some_and(Session::is_confirmed),
            sending_chain_length: session.map(Session::sending_chain_length),
            receiving_chain_length: session.and_then(Session::receiving_chain_length),
            last_seen_ms: current.as_ref().map_or(0, |current| current.last_seen_ms),
            failed_messages: tx.memory().failed_messages.count(&at),
        });
    }
    Ok(sessions)
}

/// This device knows its own key without a bundle, and before it stands in any list.
fn put_own_device_first(tx: &Tx<'_>, devices: &mut Vec<Device>, contact: &Contact) -> Result<()> {
    let Some(id) = tx.device_id()? else { return Ok(()) };
    let identity = *tx.identity()?.public();
    let position = devices.iter().position(|device| device.id == id.get());
    let mut this = match position {
        Some(position) => devices.remove(position),
        None => trust::device_info(tx, contact, &KnownDevice::new(id.get())),
    };
    this.identity_key = Some(*identity.ed());
    this.provisional = false;
    this.label = tx.account()?.signed_label().map(Arc::new);
    let level = contact.trust.get(identity.mont()).unwrap_or(&tx.config().default_trust_level_name);
    level.clone_into(&mut this.trust_level_name);
    devices.insert(0, this);
    Ok(())
}

/// Serves a device in a namespace whenever it announces it there; the client has had its word about a downgrade.
pub(in crate::manager) fn prefer_namespace(
    context: &Context,
    jid: &BareJid,
    id: DeviceId,
    namespace: Option<Namespace>,
) -> Result<()> {
    if namespace.is_some_and(|namespace| !context.config.namespaces.contains(&namespace)) {
        return Err(Status::UnknownNamespace.into());
    }
    context.transact(|tx| {
        tx.contact(jid)?.device(id).ok_or(Error::from(Status::NotFound))?;
        let device = tx.contact_mut(jid)?.device_mut(id).ok_or(Error::from(Status::Internal))?;
        device.prefer(namespace);
        Ok(())
    })
}

/// Returns the devices of a JID whose bundle has to be fetched before they can be served or shown whole.
pub(super) fn incomplete_devices(
    tx: &mut Tx<'_>,
    jid: &BareJid,
    namespace: Namespace,
) -> Result<Vec<SessionAddress>> {
    let this = tx.device_id()?.filter(|_| tx.is_own(jid));
    let contact = tx.contact(jid)?;
    let now = tx.now.aged_ms;
    let looks = &tx.memory().bundles;
    let mut addresses = Vec::new();
    for device in contact.devices.iter().filter(|device| device.is_active(namespace)) {
        let Some(id) = DeviceId::new(device.id).filter(|id| Some(*id) != this) else { continue };
        let at = SessionAddress { jid: jid.clone(), device: id, namespace };
        // A device with a bundle in each namespace shows the same key in both, or it is reported. One whose messages
        // show another key is looked at again, so that the key can be accepted.
        let incomplete = !device.identity.confirmed_in().contains(namespace)
            || device.blocks_sending(namespace).is_some()
            || looks.was_reported(&at);
        let conflict = |status: Status| matches!(status, Status::IdentityChanged | Status::IdentityMismatch);
        if incomplete && looks.failure(&at, now).is_none_or(|error| conflict(error.status())) {
            addresses.push(at);
        }
    }
    Ok(addresses)
}
