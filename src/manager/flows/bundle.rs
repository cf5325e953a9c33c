//! Bundles: fetched, verified, and what they say of a device's identity key.

use super::super::api::event::{Notice, NoticeKind};
use super::super::api::request::{Answer, Reason, Request};
use super::super::engine::{Class, Response};
use super::super::model::address::SessionAddress;
use super::super::model::fact::{Fetched, FetchedBundle};
use super::super::model::identity::FromBundle;
use super::super::store::removal;
use super::super::store::sessions::Sessions;
use super::super::store::transaction::Tx;
use super::context::Context;
use super::device_list;
use crate::crypto::identity::IdentityKey;
use crate::error::{Error, Result, Status};
use crate::protocol::bundle::Bundle;
use crate::protocol::namespace::Namespace;

/// Returns the bundle in an answer.
fn bundle_in(answer: &Answer) -> Result<Bundle> {
    match answer {
        Answer::Bundle(bundle) => Ok(bundle.clone()),
        Answer::Rejected(Reason::NotFound) => Err(Status::BundleNotFound.into()),
        Answer::Rejected(Reason::Timeout) => Err(Status::Timeout.into()),
        Answer::Refused(error) => Err(device_list::refused(Status::BundleDownloadFailed, error)),
        Answer::Unreadable(error) => Err(Error::new(Status::BundleBad, error.to_string())),
        _ => Err(Status::BundleDownloadFailed.into()),
    }
}

/// Takes over the answer to a fetch.
pub(super) fn apply_response(context: &Context, at: &SessionAddress, response: &Response) -> Result<Fetched> {
    match apply(context, at, response) {
        // It is a row, and stops nobody else.
        Err(error) if error.status() == Status::StorageCorrupt => Ok(Fetched::Failed(error)),
        applied => applied,
    }
}

fn apply(context: &Context, at: &SessionAddress, response: &Response) -> Result<Fetched> {
    let subject = at.clone();
    let fetched = bundle_in(&response.answer).and_then(|bundle| {
        let (at_ms, stream) = (response.at.aged_ms, response.stream);
        Ok(FetchedBundle { verified: bundle.verified()?, at_ms, stream })
    });
    context.transact(|tx| {
        if tx.memory().key_stamps.is_outdated(&subject, response.stamp) {
            return Ok(Fetched::Outdated);
        }
        let standing = tx.standing(&at.jid);
        let failure = match fetched {
            Err(error) => error,
            Ok(fetched) => {
                let (stamp, blocked) = (response.stamp, see_identity(tx, at, fetched.verified.identity())?);
                tx.after(move |memory| memory.key_stamps.remember(standing, subject, stamp));
                match blocked {
                    None => {
                        let at = at.clone();
                        tx.after(move |memory| memory.bundles.clear_failure(&at));
                        return Ok(Fetched::Usable(Box::new(fetched)));
                    }
                    Some(status) => status.into(),
                }
            }
        };
        if response.stream == context.engine.requests().stream() {
            let (error, at, now_ms) = (failure.clone(), at.clone(), tx.now.aged_ms);
            tx.after(move |memory| memory.bundles.failed(standing, &at, error, now_ms));
        }
        Ok(Fetched::Failed(failure))
    })
}

/// Takes over the identity key of a verified bundle that came from the JID's own node. Returns why the device may not be
/// served all the same: it shows another key than the confirmed one, here or where that counts.
fn see_identity(tx: &mut Tx<'_>, at: &SessionAddress, key: &IdentityKey) -> Result<Option<Status>> {
    let before = tx.contact(&at.jid)?;
    let mut contact = (*before).clone();
    let device = contact.device_or_new(at.device)?;
    let seen = device.identity.see_bundle(key, at.namespace);
    let blocked = device.blocks_sending(at.namespace);
    if contact != *before {
        *tx.contact_mut(&at.jid)? = contact;
    }
    let notice = |kind: NoticeKind, status: Status| Notice {
        kind,
        namespace: Some(at.namespace),
        jid: Some(at.jid.clone()),
        device: at.device.get(),
        status,
    };
    match seen {
        FromBundle::First => tx.notify(notice(NoticeKind::Devices, Status::Ok)),
        FromBundle::Same { resolved: false } => (),
        FromBundle::Same { resolved: true } => {
            // It may be served wherever that spoke against it.
            let at = at.clone();
            tx.after(move |memory| memory.clear_bundle_failures(&at));
        }
        FromBundle::Replaced => {
            retire_others(tx, at, key)?;
            tx.notify(notice(NoticeKind::IdentityChanged, Status::IdentityChanged));
        }
        FromBundle::Conflicting { news } => {
            let status = blocked.unwrap_or(Status::IdentityChanged);
            // Now it can be accepted, whatever a message has told before.
            if news {
                tx.notify(notice(NoticeKind::IdentityChanged, status));
            }
            return Ok(Some(status));
        }
    }
    Ok(blocked)
}

/// Gives up the sessions with another key than this one, in all namespaces, and what waits to be sent on them.
fn retire_others(tx: &mut Tx<'_>, at: &SessionAddress, key: &IdentityKey) -> Result<()> {
    for namespace in Namespace::ALL {
        let at = at.in_namespace(namespace);
        // The device's key is the new one by now: a session with another one may not send any more.
        if Sessions::new(tx, &at)
            .session_for_sending()?
            .is_some_and(|session| session.peer_mont() == key.mont())
        {
            continue;
        }
        retire(tx, &at)?;
    }
    Ok(())
}

/// Gives a session up, with the empty messages that wait to be sent on it.
pub(super) fn retire(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<()> {
    Sessions::new(tx, at).retire_current()?;
    for id in tx.outbox()?.ids_for(at) {
        removal::discard_outbox_message(tx, id)?;
    }
    Ok(())
}

/// Fetches the bundle of a device.
pub(super) async fn fetch(context: &Context, at: &SessionAddress, class: Class) -> Result<Fetched> {
    let request = Request::FetchBundle { namespace: at.namespace, jid: at.jid.clone(), device: at.device };
    context.ask(request, class).await.fact.bundle()
}
