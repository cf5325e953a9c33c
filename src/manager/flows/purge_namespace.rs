//! Purging a namespace that is not served any more: keys and sessions are deleted when the account is opened without it,
//! the server hears of it in the next streams (`purge_id`).

use super::super::api::services::LogLevel;
use super::super::model::address::SessionAddress;
use super::super::store::records::account::PurgeRecord;
use super::super::store::removal;
use super::super::store::transaction::Tx;
use crate::error::{Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::namespace::Namespace;

/// Deletes what is stored of the namespaces that were served before and are not any more.
pub(in crate::manager) fn purge_unserved(tx: &mut Tx<'_>) -> Result<()> {
    for namespace in Namespace::ALL {
        let code = namespace.code();
        let served = tx.config().namespaces.contains(&namespace);
        let device = tx.account()?.device_id;
        let back = |purge: &PurgeRecord| purge.namespace == code && purge.device == device;
        if served && tx.account()?.purges.iter().any(back) {
            // It is back before the server heard of it.
            tx.account_mut()?.purges.retain(|purge| !back(purge));
        }
        if !served && tx.account()?.namespaces.contains(&code) {
            purge(tx, namespace)?;
        }
    }
    Ok(())
}

fn purge(tx: &mut Tx<'_>, namespace: Namespace) -> Result<()> {
    let code = namespace.code();
    for jid in tx.all_jids()? {
        let contact = match tx.contact(&jid) {
            // One record that cannot be read must not keep the account from being opened.
            Err(error) if error.status() == Status::StorageCorrupt => {
                tx.log(LogLevel::Warn, "purge namespace: the record of a JID cannot be read");
                continue;
            }
            contact => contact?,
        };
        for device in contact.devices.iter().filter_map(|device| DeviceId::new(device.id)) {
            removal::remove_sessions(tx, &SessionAddress { jid: jid.clone(), device, namespace })?;
        }
        let mut next = (*contact).clone();
        next.listed.remove(namespace);
        next.devices.iter_mut().for_each(|device| device.purge_namespace(namespace));
        if next != *contact {
            *tx.contact_mut(&jid)? = next;
        }
    }
    tx.forget_kept_in(namespace)?;
    tx.put_pre_keys(namespace, None);
    let device = tx.account()?.device_id;
    let account = tx.account_mut()?;
    account.namespaces.retain(|served| *served != code);
    if let Some(device) = DeviceId::new(device)
        && account.add_purge(PurgeRecord::of(namespace, device)).is_err()
    {
        // Nor must that keep the account from being opened.
        tx.log(
            LogLevel::Warn,
            "purge namespace: the server is not told of it, since too much waits to be purged",
        );
    }
    Ok(())
}
