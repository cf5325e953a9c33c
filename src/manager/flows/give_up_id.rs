//! Giving a device id up: somebody else's bundle stands under it. At most one a day, so that nobody chases this device
//! through all ids; the id that was given up is taken off this account's lists.

use super::super::api::event::{Notice, NoticeKind};
use super::super::policy;
use super::super::store::records::account::PurgeRecord;
use super::super::store::transaction::Tx;
use super::own_keys;
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::namespace::Namespace;
use std::collections::BTreeSet;

/// Takes another id. All sessions are retired, since their peers know this device by the old one.
pub(super) fn give_up_device_id(tx: &mut Tx<'_>, namespace: Namespace, device: DeviceId) -> Result<()> {
    let (wall_ms, last) = (tx.now.wall_ms, tx.account()?.id_given_up_ms);
    if last != 0 && wall_ms.saturating_sub(last) < policy::ID_GIVEN_UP_MS && wall_ms >= last {
        return Err(Error::new(
            Status::IdentityChanged,
            "Another client's bundle is published under this device's id, and this device has already given up an id today.",
        ));
    }
    let jid = tx.config().jid.clone();
    let mut taken: BTreeSet<u32> = tx.contact(&jid)?.devices.iter().map(|device| device.id).collect();
    taken.insert(device.get());
    tx.notify(Notice {
        kind: NoticeKind::IdentityChanged,
        namespace: Some(namespace),
        jid: Some(jid),
        device: device.get(),
        status: Status::IdentityChanged,
    });
    let served = tx.config().namespaces.clone();
    let accumulated_ms = tx.accumulated_ms()?;
    let account = tx.account_mut()?;
    account.retire_sessions(accumulated_ms);
    account.id_given_up_ms = wall_ms.max(1);
    for namespace in served {
        // Nor does a list of many purges keep this device from giving the id up.
        let _ = account.add_purge(PurgeRecord::of(namespace, device));
    }
    own_keys::choose_device_id(tx, &taken)?;
    Ok(())
}
