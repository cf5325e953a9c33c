//! Deletes sessions whose time has passed, also those with devices of which nothing comes any more: their keys decrypt
//! nothing, and must not lie in the store for ever.

use super::super::model::address::SessionAddress;
use super::super::model::expiry::Place;
use super::super::policy;
use super::super::store::sessions::Sessions;
use super::super::store::transaction::Tx;
use super::context::Context;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};

/// Has all sessions looked at.
pub(super) fn begin(tx: &mut Tx<'_>) {
    tx.after(|memory| memory.expiry.begin());
    tx.wake_worker();
}

/// Looks at those with a few devices, if it is time, in a commit of its own: what a store cannot do here keeps it from nothing
/// else. Returns when to go on.
pub(super) fn go_on(context: &Context) -> Result<Option<u64>> {
    let (look, steady_ms) = (context.memory(|memory| memory.expiry)?, context.now().steady_ms);
    if let Some(from) = look.due(steady_ms)
        && context.transact(|tx| look_at_some(tx, from)).is_err()
    {
        context.memory(|memory| memory.expiry.failed(steady_ms))?;
    }
    context.memory(|memory| memory.expiry.next_ms())
}

fn look_at_some(tx: &mut Tx<'_>, from: Place) -> Result<()> {
    let (mut bucket, mut position) = from;
    let mut devices = 0_usize;
    let next = loop {
        let Some((found, jids)) = tx.jids_from(bucket)? else { break None };
        if found != bucket {
            (bucket, position) = (found, 0);
        }
        for jid in jids.iter().skip(position) {
            if devices >= policy::EXPIRY_DEVICES {
                break;
            }
            devices = devices.saturating_add(discard_expired(tx, jid)?).saturating_add(1);
            position = position.saturating_add(1);
        }
        if position < jids.len() {
            break Some((bucket, position));
        }
        let Some(following) = bucket.checked_add(1) else { break None };
        (bucket, position) = (following, 0);
    };
    let steady_ms = tx.now.steady_ms;
    tx.after(move |memory| memory.expiry.went_on(next, steady_ms));
    Ok(())
}

/// Returns how many devices the JID has.
fn discard_expired(tx: &mut Tx<'_>, jid: &BareJid) -> Result<usize> {
    let devices = tx.indexed_devices(jid)?;
    for device in devices.iter().copied().filter_map(DeviceId::new) {
        for namespace in tx.config().namespaces.clone() {
            let at = SessionAddress { jid: jid.clone(), device, namespace };
            match tx.savepoint(|tx| Sessions::new(tx, &at).discard_expired()) {
                Err(error) if is_failure_of_the_store(&error) => return Err(error),
                // What cannot be read keeps nothing else from going.
                _ => (),
            }
        }
    }
    Ok(devices.len())
}

fn is_failure_of_the_store(error: &Error) -> bool {
    error.is_storage() && !matches!(error.status(), Status::StorageCorrupt | Status::StorageVersion)
}
