//! Rotation of the signed pre keys. The one before stays for a period, since key exchanges on it may be on their way.

use super::super::api::services::LogLevel;
use super::super::model::pre_keys::SignedKey;
use super::super::model::rotation;
use super::super::policy;
use super::super::store::transaction::Tx;
use super::own_keys;
use crate::error::Result;

/// Replaces the signed pre keys whose time has come, and deletes those before them that were kept for long enough. Returns
/// when to look again.
pub(super) fn rotate_due(tx: &mut Tx<'_>) -> Result<u64> {
    let (now, period_ms) = (own_keys::key_time(tx)?, tx.config().signed_pre_key_period_ms);
    // A longer step would not accumulate as a whole.
    let mut next_ms = policy::ACCUMULATED_STORED_MS;
    // What another copy of this store has published must not be overtaken before it is seen.
    if !tx.memory().compared {
        return Ok(next_ms);
    }
    // What waited on the server may have been encrypted with the key that would go.
    if tx.memory().catch_up.is_going_on(tx.now.aged_ms) {
        return Ok(next_ms);
    }
    for namespace in tx.config().namespaces.clone() {
        let store = tx.pre_keys(namespace)?;
        // Others begin sessions with what stands on the server: that must not become older than the previous key.
        if store.bundle_pending {
            continue;
        }
        let due_in_ms = rotation::due_in_ms(&store.signed, now, period_ms);
        let over = store.previous.is_some() && rotation::is_previous_over(&store.signed, now, period_ms);
        if due_in_ms == 0 {
            let signed = own_keys::make_signed_pre_key(tx, namespace, now)?;
            let store = tx.pre_keys_mut(namespace)?;
            let before: SignedKey = std::mem::replace(&mut store.signed, signed);
            (store.previous, store.bundle_pending) = (Some(before), true);
            tx.log(LogLevel::Info, "account: replaced the signed pre key of a namespace");
        } else {
            next_ms = next_ms.min(due_in_ms);
            if over {
                tx.pre_keys_mut(namespace)?.previous = None;
            }
        }
    }
    Ok(next_ms)
}
