//! Deletes archived sessions whose time has passed, also those with devices of which nothing comes any more: their keys
//! decrypt nothing, and must not lie in the store for ever.

use super::super::model::address::SessionAddress;
use super::super::policy;
use super::super::store::sessions::Sessions;
use super::super::store::transaction::Tx;
use crate::error::{Result, Status};
use crate::protocol::address::{BareJid, DeviceId};

/// Has all archived sessions looked at.
pub(super) fn begin(tx: &mut Tx<'_>) {
    tx.after(|memory| memory.expiry.begin());
    tx.wake_worker();
}

/// Looks at those with a few JIDs, if it is time. Returns when to go on.
pub(super) fn go_on(tx: &mut Tx<'_>) -> Result<Option<u64>> {
    let look = tx.memory().expiry;
    let Some(mut bucket) = look.due(tx.now.steady_ms) else { return Ok(look.next_ms()) };
    let mut looked_at = 0_usize;
    let next = loop {
        if looked_at >= policy::EXPIRY_JIDS {
            break Some(bucket);
        }
        let Some((found, jids)) = tx.jids_from(bucket)? else { break None };
        looked_at = looked_at.saturating_add(jids.len());
        jids.iter().try_for_each(|jid| discard_expired(tx, jid))?;
        match found.checked_add(1) {
            Some(following) => bucket = following,
            None => break None,
        }
    };
    let steady_ms = tx.now.steady_ms;
    tx.after(move |memory| memory.expiry.went_on(next, steady_ms));
    Ok(next.map(|_| steady_ms.saturating_add(policy::EXPIRY_PAUSE_MS)))
}

fn discard_expired(tx: &mut Tx<'_>, jid: &BareJid) -> Result<()> {
    for device in tx.indexed_devices(jid)?.into_iter().filter_map(DeviceId::new) {
        for namespace in tx.config().namespaces.clone() {
            let at = SessionAddress { jid: jid.clone(), device, namespace };
            match tx.savepoint(|tx| Sessions::new(tx, &at).discard_expired()) {
                // One that cannot be read keeps no other from going.
                Err(error) if error.status() == Status::StorageCorrupt => (),
                discarded => discarded?,
            }
        }
    }
    Ok(())
}
