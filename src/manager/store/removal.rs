//! Removes a device or a JID with all that is stored of it.

use super::super::model::address::SessionAddress;
use super::sessions::Sessions;
use super::transaction::Tx;
use crate::error::{Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;

/// Deletes a device's sessions and what waits to be sent on them, in one namespace.
pub(in crate::manager) fn remove_sessions(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<()> {
    Sessions::new(tx, at).delete_all()?;
    for id in tx.outbox()?.ids_for(at) {
        discard_outbox_message(tx, id)?;
    }
    Ok(())
}

/// Takes an empty message out of the outbox.
pub(in crate::manager) fn discard_outbox_message(tx: &mut Tx<'_>, id: u64) -> Result<()> {
    if tx.outbox_mut()?.remove(id).is_some_and(|entry| entry.encrypted) {
        tx.put_outbox_message(id, None);
    }
    tx.wake_worker();
    Ok(())
}

/// Forgets a device of a JID.
pub(in crate::manager) fn remove_device(tx: &mut Tx<'_>, jid: &BareJid, device: DeviceId) -> Result<()> {
    for namespace in Namespace::ALL {
        remove_sessions(tx, &SessionAddress { jid: jid.clone(), device, namespace })?;
    }
    tx.contact_mut(jid)?.devices.retain(|other| other.id != device.get());
    Ok(())
}

/// Deletes the sessions with everybody, and what waits to be sent on them.
pub(in crate::manager) fn remove_all_sessions(tx: &mut Tx<'_>) -> Result<()> {
    for jid in tx.all_jids()? {
        for device in stored_devices(tx, &jid)? {
            for namespace in Namespace::ALL {
                remove_sessions(tx, &SessionAddress { jid: jid.clone(), device, namespace })?;
            }
        }
    }
    Ok(())
}

/// Deletes everything: the store is as empty as a new one.
pub(in crate::manager) fn remove_account(tx: &mut Tx<'_>) -> Result<()> {
    for jid in tx.all_jids()? {
        remove_records_of(tx, &jid)?;
    }
    let waiting: Vec<u64> = tx.outbox()?.iter().map(|entry| entry.id).collect();
    for id in waiting {
        tx.put_outbox_message(id, None);
    }
    tx.forget_all_kept()?;
    tx.erase();
    Ok(())
}

/// Returns the devices of a JID that may have sessions, also if its record cannot be read: the index still tells.
fn stored_devices(tx: &mut Tx<'_>, jid: &BareJid) -> Result<Vec<DeviceId>> {
    let mut ids = tx.indexed_devices(jid)?;
    match tx.contact(jid) {
        Err(error) if error.status() == Status::StorageCorrupt => (),
        contact => ids.extend(contact?.devices.iter().map(|device| device.id)),
    }
    Ok(ids.into_iter().filter_map(DeviceId::new).collect())
}

/// Forgets a JID because the client wants it: all records of it are deleted, also those that cannot be read.
pub(in crate::manager) fn purge_jid(tx: &mut Tx<'_>, jid: &BareJid) -> Result<()> {
    remove_records_of(tx, jid)?;
    tx.forget_kept_of(jid)
}

/// Removes all records of a JID but for the content that was kept of it.
fn remove_records_of(tx: &mut Tx<'_>, jid: &BareJid) -> Result<()> {
    for device in stored_devices(tx, jid)? {
        for namespace in Namespace::ALL {
            remove_sessions(tx, &SessionAddress { jid: jid.clone(), device, namespace })?;
        }
    }
    tx.remove_contact(jid);
    Ok(())
}

/// Forgets a JID to make room for another: content that the client has not acknowledged stays. What of it cannot be read stays in the store, unreachable.
pub(super) fn remove_jid(tx: &mut Tx<'_>, jid: &BareJid) -> Result<()> {
    if let Ok(contact) = tx.contact(jid) {
        let with_key = contact.devices.iter().filter(|device| device.identity.key().is_some());
        for device in with_key.filter_map(|device| DeviceId::new(device.id)) {
            for namespace in Namespace::ALL {
                let at = SessionAddress { jid: jid.clone(), device, namespace };
                // A record that cannot be read keeps nobody from making room.
                let _ = tx.savepoint(|tx| remove_sessions(tx, &at));
            }
        }
    }
    tx.remove_contact(jid);
    Ok(())
}
