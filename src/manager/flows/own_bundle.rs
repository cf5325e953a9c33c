//! What stands on the server under this device's id: its own bundle, nothing, or somebody else's.

use super::super::api::request::{Answer, Reason, Request};
use super::super::engine::{Class, Response};
use super::super::model::address::SessionAddress;
use super::super::model::fact::Fact;
use super::super::model::job::Job;
use super::super::policy;
use super::super::store::transaction::Tx;
use super::context::Context;
use super::{device_list, give_up_id, own_keys, rollback};
use crate::crypto::convert;
use crate::error::{Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::bundle::{Bundle, PublicPreKey};
use crate::protocol::namespace::Namespace;
use std::collections::BTreeSet;

/// Fetches what stands under our id. Without an answer nothing changes.
pub(super) async fn check(context: &Context, namespace: Namespace, device: DeviceId) -> Result<()> {
    let request = Request::FetchBundle { namespace, jid: context.config.jid.clone(), device };
    let settled = context.ask(request, Class::Foreground).await;
    match settled.fact {
        // The other namespace has led to another id meanwhile.
        Fact::Bundle(_) | Fact::None if context.transact(|tx| tx.device_id())? != Some(device) => Ok(()),
        fact => fact.stored(),
    }
}

/// Takes over the answer.
pub(super) fn apply_response(context: &Context, at: &SessionAddress, response: &Response) -> Result<()> {
    if response.stream != context.engine.requests().stream() {
        return Err(Status::Offline.into());
    }
    context.transact(|tx| note_own_bundle(tx, at.namespace, at.device, &response.answer))
}

/// Takes note of the bundle that stands under our id. Another identity's is never overwritten: this device takes another
/// id. One that nobody can use, since its signature does not hold, is nobody's.
fn note_own_bundle(tx: &mut Tx<'_>, namespace: Namespace, device: DeviceId, answer: &Answer) -> Result<()> {
    if tx.device_id()? != Some(device) {
        return Ok(()); // The other namespace has led to another id already.
    }
    let outdated = match answer {
        Answer::Bundle(theirs) => {
            if theirs.verify().is_ok() {
                let identity = convert::ed_to_mont(&theirs.identity_key);
                if identity.as_ref() != Some(tx.identity()?.public().mont()) {
                    return give_up_id::give_up_device_id(tx, namespace, device);
                }
                rollback::check(tx, namespace, theirs)?;
            }
            let ours = own_keys::own_bundle(tx, namespace)?;
            theirs.identity_key != ours.identity_key || !same_keys(theirs, &ours)
        }
        // What cannot be read serves nobody, like a signature that does not hold.
        Answer::Rejected(Reason::NotFound) | Answer::Unreadable(_) => true,
        Answer::Refused(error) => return Err(device_list::refused(Status::BundleDownloadFailed, error)),
        _ => return Ok(()),
    };
    let still_serves = match answer {
        Answer::Bundle(theirs) => serves(tx, namespace, theirs)?,
        _ => false,
    };
    tx.after(move |memory| {
        memory.verified_in.insert(namespace);
        if still_serves {
            memory.catch_up.hold_bundle(namespace);
        } else {
            memory.catch_up.release_bundle(namespace);
        }
        memory.backoff.clear(&Job::PublishBundle(namespace));
    });
    if outdated {
        tx.pre_keys_mut(namespace)?.bundle_pending = true;
        tx.wake_worker();
    }
    Ok(())
}

/// Returns whether sessions can begin on a bundle that stands under our id, although some of its pre keys may be used up.
fn serves(tx: &Tx<'_>, namespace: Namespace, theirs: &Bundle) -> Result<bool> {
    let ours = own_keys::own_bundle(tx, namespace)?;
    let (store, now_ms) = (tx.pre_keys(namespace)?, own_keys::used_keys_ms(tx)?);
    let opens = |pre_key: &&PublicPreKey| {
        store.pre_key(pre_key.id, now_ms).is_some_and(|pair| *pair.public().as_bytes() == pre_key.key)
    };
    Ok(theirs.identity_key == ours.identity_key
        && signed(theirs) == signed(&ours)
        && theirs.pre_keys.iter().filter(opens).count() >= policy::LEAST_PRE_KEYS)
}

/// Returns what identifies the signed pre key of a bundle.
fn signed(bundle: &Bundle) -> (u32, &[u8; 32], &[u8; 64]) {
    (bundle.signed_pre_key_id, &bundle.signed_pre_key, &bundle.signature)
}

fn same_keys(a: &Bundle, b: &Bundle) -> bool {
    let keys = |bundle: &Bundle| -> BTreeSet<(u32, [u8; 32])> {
        bundle.pre_keys.iter().map(|pre_key| (pre_key.id, pre_key.key)).collect()
    };
    signed(a) == signed(b) && keys(a) == keys(b)
}
