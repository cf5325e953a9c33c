//! This store turns out to be an older copy, or one of two: no session may send any more, since the other copy may have
//! used its keys, and this device publishes keys that no other copy has.

use super::super::api::event::{Notice, NoticeKind};
use super::super::api::services::LogLevel;
use super::super::model::rollback::{Evidence, HighestIds, evidence};
use super::super::policy;
use super::super::store::transaction::Tx;
use super::own_keys;
use crate::error::{Result, Status};
use crate::protocol::bundle::Bundle;
use crate::protocol::namespace::Namespace;

/// Compares the bundle under this device's id and identity, whose signature holds, with the store. Sessions are retired
/// where it shows that this store is an older copy.
pub(super) fn check(tx: &mut Tx<'_>, namespace: Namespace, theirs: &Bundle) -> Result<()> {
    let found = evidence(theirs, tx.pre_keys(namespace)?, own_keys::highest_ids(tx, namespace)?);
    let Some(found) = found else { return Ok(()) };
    let (wall_ms, last_ms) = (tx.now.wall_ms, tx.account()?.rolled_back_ms);
    let lately = last_ms != 0 && (last_ms..last_ms.saturating_add(policy::ROLLBACK_MS)).contains(&wall_ms);
    // Nobody signs pre keys: who can write to the node must not be able to end all sessions again and again.
    if found == Evidence::SignedPreKey || !lately {
        let accumulated_ms = tx.accumulated_ms()?;
        let account = tx.account_mut()?;
        account.retire_sessions(accumulated_ms);
        account.rolled_back_ms = wall_ms.max(1);
        tx.notify(Notice {
            kind: NoticeKind::RolledBack,
            namespace: Some(namespace),
            jid: None,
            device: 0,
            status: Status::Ok,
        });
        tx.log(LogLevel::Warn, "rollback: the store is an older copy; all sessions are retired");
    } else {
        tx.log(LogLevel::Warn, "rollback: unknown pre keys stand on the server, again today");
    }
    // Whatever becomes of that: no session may send.
    if tx.savepoint(|tx| renew_keys(tx, namespace, theirs, found)).is_err() {
        tx.log(LogLevel::Warn, "rollback: no new keys could be made");
        tx.pre_keys_mut(namespace)?.bundle_pending = true;
    }
    tx.wake_worker();
    Ok(())
}

/// Makes other keys than the other copy may have, under ids that it has not handed out. Those that are there may be known
/// to peers: what was encrypted with them can still be read for a while.
fn renew_keys(tx: &mut Tx<'_>, namespace: Namespace, theirs: &Bundle, found: Evidence) -> Result<()> {
    let seen = HighestIds {
        signed_pre_key: theirs.signed_pre_key_id,
        pre_key: theirs.pre_keys.iter().map(|key| key.id).max().unwrap_or(0),
    };
    own_keys::raise_ids(tx, namespace, seen)?;
    let now = own_keys::key_time(tx)?;
    // Of the signed pre key that both copies have only the other one's successor is evidence.
    let signed = match found {
        Evidence::SignedPreKey => Some(own_keys::make_signed_pre_key(tx, namespace, now)?),
        Evidence::PreKey => None,
    };
    tx.pre_keys_mut(namespace)?.renew(signed, now.accumulated_ms);
    own_keys::top_up(tx, namespace)
}
