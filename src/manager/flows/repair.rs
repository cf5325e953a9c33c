//! Repairing: a listed device uses a session that we do not have, or a pre key that is gone. It hears of it by a new
//! session, begun with an empty message. At most once a device and day, and never towards a distrusted key.

use super::super::engine::Class;
use super::super::model::address::SessionAddress;
use super::super::model::fact::Fetched;
use super::super::model::job::Job;
use super::super::model::standing::Standing;
use super::super::store::sessions::Sessions;
use super::super::store::transaction::Tx;
use super::announce::Progress;
use super::bundle;
use super::context::Context;
use super::{answer, device_list, trust};
use crate::error::{Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;

/// Causes a repair after a message that could not be read, if it may help: nobody has authenticated that message.
pub(super) fn schedule(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<()> {
    if Sessions::new(tx, at).session_for_sending()?.is_some() {
        return Ok(());
    }
    if !is_listed(tx, at)? {
        return suggest_list(tx, at.namespace, &at.jid);
    }
    if trust::is_distrusted(tx, at)? {
        return Ok(());
    }
    if tx.memory().bundles.was_not_found(at, tx.now.aged_ms) {
        return Ok(());
    }
    suggest_job(tx, Job::Repair(at.clone()))
}

/// Returns whether a device stands on its JID's list.
pub(super) fn is_listed(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<bool> {
    let contact = tx.contact(&at.jid)?;
    Ok(contact.device(at.device).is_some_and(|device| device.is_active(at.namespace)))
}

/// Causes a look at a JID's list: one of its devices does not stand on it, or shows another key.
pub(super) fn suggest_list(tx: &mut Tx<'_>, namespace: Namespace, jid: &BareJid) -> Result<()> {
    if tx.memory().lists.was_not_found(namespace, jid, tx.now.aged_ms) {
        return Ok(());
    }
    suggest_job(tx, Job::FetchList(namespace, jid.clone()))
}

/// Causes a look at a device's bundle.
pub(super) fn suggest_bundle(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<()> {
    if tx.memory().bundles.was_not_found(at, tx.now.aged_ms) {
        return Ok(());
    }
    suggest_job(tx, Job::FetchBundle(at.clone()))
}

pub(super) fn suggest_job(tx: &mut Tx<'_>, job: Job) -> Result<()> {
    let standing = job.jid().map_or(Standing::Stranger, |jid| tx.standing(jid));
    let now_ms = tx.now.aged_ms;
    tx.after(move |memory| {
        memory.unsolicited.cause(job, standing, now_ms);
    });
    tx.wake_worker();
    Ok(())
}

/// Returns how urgent a look is that messages have caused.
pub(super) fn class(context: &Context, jid: &BareJid) -> Result<Class> {
    Ok(match context.transact(|tx| Ok(tx.standing(jid)))? {
        Standing::Known => Class::Background,
        Standing::Stranger => Class::Stranger,
    })
}

/// Looks whether a sender's device stands on its JID's list by now.
pub(super) async fn fetch_list(context: &Context, namespace: Namespace, jid: &BareJid) -> Result<Progress> {
    device_list::fetch(context, namespace, jid, class(context, jid)?).await?;
    Ok(Progress::Done)
}

/// Looks which key the bundle of a device shows.
pub(super) async fn fetch_bundle(context: &Context, at: &SessionAddress) -> Result<Progress> {
    match bundle::fetch(context, at, class(context, &at.jid)?).await? {
        // It has told what it shows.
        Fetched::Failed(error)
            if !matches!(error.status(), Status::IdentityChanged | Status::IdentityMismatch) =>
        {
            Err(error)
        }
        _ => Ok(Progress::Done),
    }
}

/// Begins a new session with a device, by an empty message.
pub(super) async fn repair(context: &Context, at: &SessionAddress) -> Result<Progress> {
    if !context.transact(|tx| is_listed(tx, at))? {
        return Ok(Progress::Done);
    }
    let fetched = match bundle::fetch(context, at, class(context, &at.jid)?).await? {
        Fetched::Usable(fetched) => fetched,
        Fetched::Failed(error) => return Err(error),
        Fetched::Outdated => return Ok(Progress::Done),
    };
    context.transact(|tx| {
        // What has changed since it was caused counts.
        let has_session = Sessions::new(tx, at).session_for_sending()?.is_some();
        if has_session || trust::is_distrusted(tx, at)? || !is_listed(tx, at)? {
            return Ok(Progress::Done);
        }
        answer::begin_session(tx, at, &fetched.verified)?;
        Ok(Progress::Done)
    })
}
