//! Purging a device id from the server: one of a namespace that is not served any more, one that this device has given up,
//! another device's that the client wants gone, or this one's when the account is deleted.
//!
//! What the server still has to hear is stored with the account, so that it survives whatever cuts it short. The list
//! goes first: who still finds a device on it would look for a bundle that is not there.

use super::super::api::report::{Outcome, Row};
use super::super::api::request::{Answer, Reason, Request, Stamp};
use super::super::engine::Class;
use super::super::model::job::Job;
use super::super::model::memory::{Memory, PublishFailures};
use super::super::model::own_list::Arrival;
use super::super::policy;
use super::super::store::records::account::PurgeRecord;
use super::super::store::transaction::Tx;
use super::announce::{self, Progress};
use super::context::Context;
use super::device_list;
use crate::crypto::convert;
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::bundle::Bundle;
use crate::protocol::device_list::DeviceList;
use crate::protocol::namespace::Namespace;
use std::collections::BTreeSet;

/// Returns what the server still has to hear first of an id in a namespace.
fn first_purge(tx: &Tx<'_>, namespace: Namespace) -> Result<Option<PurgeRecord>> {
    let code = namespace.code();
    let mut purges = tx.account()?.purges.iter();
    Ok(purges.find(|purge| purge.namespace == code && is_wanted(tx, purge)).cloned())
}

/// Returns a job for each namespace in which an id is to be purged.
pub(super) fn jobs(tx: &Tx<'_>) -> Result<BTreeSet<Job>> {
    let wanted = tx.account()?.purges.iter().filter(|purge| is_wanted(tx, purge));
    Ok(wanted.filter_map(|purge| Namespace::from_code(purge.namespace)).map(Job::PurgeId).collect())
}

/// Returns whether an id is to be purged now: not the one in use in a namespace that is served, unless the account is being
/// deleted. A record of that may be left by a deletion that was cut short.
fn is_wanted(tx: &Tx<'_>, purge: &PurgeRecord) -> bool {
    let served = Namespace::from_code(purge.namespace)
        .is_some_and(|namespace| tx.config().namespaces.contains(&namespace));
    let in_use = tx.device_id().is_ok_and(|device| device.is_some_and(|id| id.get() == purge.device));
    !(served && in_use) || tx.memory().deleting_account.is_some()
}

/// Returns the record of a purge as it is stored now, if it is still to be done.
fn stored(tx: &Tx<'_>, purge: &PurgeRecord) -> Result<Option<PurgeRecord>> {
    let mut purges = tx.account()?.purges.iter();
    Ok(purges.find(|other| other.is_same(purge) && is_wanted(tx, other)).cloned())
}

/// Returns whether a bundle that stands under an id is to be deleted with it: not another device's, unless the client
/// wants that one gone.
fn is_deleted(tx: &Tx<'_>, purge: &PurgeRecord, theirs: &Bundle) -> Result<bool> {
    let shown = convert::ed_to_mont(&theirs.identity_key);
    let current = tx.identity()?.public().mont();
    let announced = if purge.identity.is_empty() { current.as_slice() } else { &purge.identity };
    Ok(purge.foreign || shown.is_some_and(|shown| shown == announced))
}

/// Takes an id off this account's list, then deletes its bundle; nothing of somebody else's that stands under the same
/// id.
pub(super) async fn purge_id(context: &Context, namespace: Namespace) -> Result<Progress> {
    let Some(purge) = context.transact(|tx| first_purge(tx, namespace))? else { return Ok(Progress::Done) };
    let purged = purge_one(context, namespace, &purge).await;
    if let Err(error) = &purged {
        let at = (namespace, purge.device);
        context.memory(|memory| memory.purge_failed(at, error))?;
        // One that cannot be done keeps no other from being done.
        context.transact(|tx| {
            let purges = &mut tx.account_mut()?.purges;
            if let Some(place) = purges.iter().position(|other| other.is_same(&purge)) {
                let failed = purges.remove(place);
                purges.push(failed);
            }
            Ok(())
        })?;
    }
    purged
}

async fn purge_one(context: &Context, namespace: Namespace, purge: &PurgeRecord) -> Result<Progress> {
    let device = DeviceId::new(purge.device).ok_or(Error::from(Status::StorageCorrupt))?;
    // An id that was given up is not ours any more, wherever it stands, whatever stands under it: who has it announces it
    // again.
    if context.transact(|tx| tx.device_id())? != Some(device)
        && let Some(at) = remove_from_list(context, purge, namespace).await?
    {
        return Ok(Progress::Delayed(at));
    }
    let request = Request::FetchBundle { namespace, jid: context.config.jid.clone(), device };
    let (ours, has_bundle) = match &context.ask(request, Class::Foreground).await.response.answer {
        Answer::Bundle(bundle) => {
            // It may have been changed meanwhile.
            let deleted = |tx: &mut Tx<'_>| match stored(tx, purge)? {
                Some(purge) => Ok(Some(is_deleted(tx, &purge, bundle)?)),
                None => Ok(None),
            };
            let Some(deleted) = context.transact(deleted)? else { return Ok(Progress::Done) };
            (deleted, true)
        }
        Answer::Rejected(Reason::NotFound) => (true, false),
        // What cannot be read serves nobody.
        Answer::Unreadable(_) => (true, true),
        Answer::Rejected(Reason::Timeout) => return Err(Status::Timeout.into()),
        Answer::Refused(error) => return Err(device_list::refused(Status::BundleDownloadFailed, error)),
        _ => return Err(Status::BundleDownloadFailed.into()),
    };
    if ours && let Some(at) = remove_from_list(context, purge, namespace).await? {
        return Ok(Progress::Delayed(at));
    }
    if context.transact(|tx| stored(tx, purge))?.is_none() {
        return Ok(Progress::Done);
    }
    if ours && has_bundle {
        let request = Request::DeleteBundle { namespace, device };
        match &context.ask(request, Class::Foreground).await.response.answer {
            Answer::Done | Answer::Rejected(Reason::NotFound | Reason::Declined) => (),
            Answer::Rejected(Reason::Timeout) => return Err(Status::Timeout.into()),
            Answer::Refused(error) => {
                return Err(device_list::refused(Status::BundleDeletionFailed, error));
            }
            _ => return Err(Status::BundleDeletionFailed.into()),
        }
    }
    context.transact(|tx| {
        let done = |other: &PurgeRecord| {
            other.is_same(purge) && (other.foreign, &other.identity) == (purge.foreign, &purge.identity)
        };
        let purges = &mut tx.account_mut()?.purges;
        purges.retain(|other| !done(other));
        // One that was changed meanwhile goes on, and so does the count of its failures.
        if !purges.iter().any(|other| other.is_same(purge)) {
            let at = (namespace, purge.device);
            tx.after(move |memory| memory.purged(at));
        }
        tx.wake_worker();
        Ok(Progress::Done)
    })
}

async fn remove_from_list(
    context: &Context,
    purge: &PurgeRecord,
    namespace: Namespace,
) -> Result<Option<u64>> {
    if context
        .transact(|tx| Ok(tx.account()?.purges.iter().any(|other| other.is_same(purge) && other.unlisted)))?
    {
        return Ok(None);
    }
    loop {
        if context.transact(|tx| stored(tx, purge))?.is_none() {
            return Ok(None);
        }
        let (stamp, mut list) = own_list(context, namespace).await?;
        // Without the id it is published only where one of ours has overwritten it.
        let redo = context.memory(|memory| memory.own_list(namespace).must_redo())?;
        if !list.remove(purge.device) && !redo {
            break;
        }
        if let Some(at) = announce::take_publication(context, &Job::PublishList(namespace), namespace)? {
            return Ok(Some(at));
        }
        if announce::publish(context, list, stamp).await? {
            break;
        }
    }
    context.transact(|tx| {
        let mut purges = tx.account_mut()?.purges.iter_mut();
        if let Some(purge) = purges.find(|other| other.is_same(purge)) {
            purge.unlisted = true;
        }
        Ok(None)
    })
}

/// Returns this account's list, with its stamp; of a namespace that is not served nothing is taken over.
async fn own_list(context: &Context, namespace: Namespace) -> Result<(Stamp, DeviceList)> {
    let seen = context.memory(|memory| memory.own_list(namespace).newest())?;
    if seen.is_none() && !context.config.namespaces.contains(&namespace) {
        let request = Request::FetchDeviceList { namespace, jid: context.config.jid.clone() };
        let settled = context.ask(request, Class::Foreground).await;
        let list = device_list::list_in(namespace, &settled.response.answer)?;
        if settled.response.stream == context.engine.requests().stream() {
            let stamp = settled.response.stamp;
            context.memory(|memory| memory.own_list(namespace).see(&list, stamp, Arrival::Fetched))?;
        }
    }
    let newest = announce::newest_list(context, namespace).await?;
    newest.ok_or(Status::Offline.into())
}

/// Returns how often each of these has failed.
pub(super) fn count_failures(context: &Context, purges: &[PurgeRecord]) -> Result<Vec<u64>> {
    context.memory(|memory| purges.iter().map(|purge| failures(memory, purge).count).collect())
}

fn failures(memory: &Memory, purge: &PurgeRecord) -> PublishFailures {
    let at = Namespace::from_code(purge.namespace).map(|namespace| (namespace, purge.device));
    at.and_then(|at| memory.purge_failures.get(&at)).cloned().unwrap_or_default()
}

/// Returns how the purge of an id in a namespace stands; `None`: it goes on. `before`: how often it had failed when it
/// began.
fn end(tx: &Tx<'_>, purge: &PurgeRecord, before: u64) -> Result<Option<Error>> {
    let Some(namespace) = Namespace::from_code(purge.namespace) else { return Ok(Some(Status::Ok.into())) };
    if !tx.account()?.purges.iter().any(|other| other.is_same(purge)) {
        return Ok(Some(Status::Ok.into()));
    }
    let memory = tx.memory();
    let until_ms = memory.delayed_until_ms.get(&Job::PurgeId(namespace)).copied().unwrap_or_default();
    if until_ms.saturating_sub(tx.now.steady_ms) > policy::PUBLISH_WAIT_MS {
        return Ok(Some(Status::PublishLimit.into()));
    }
    let failures = failures(memory, purge);
    Ok((failures.count > before).then(|| failures.last.unwrap_or_else(|| Status::Internal.into())))
}

/// Waits until the server has heard of all of these, or that has failed once more than `before`. The report has a row for
/// each; the status is that of the first that failed.
pub(super) async fn wait(context: &Context, purges: &[PurgeRecord], before: &[u64]) -> Result<Outcome> {
    loop {
        let seen = context.progress.generation();
        let ends = context.transact(|tx| {
            let ends = purges.iter().zip(before).map(|(purge, before)| end(tx, purge, *before));
            ends.collect::<Result<Option<Vec<_>>>>()
        });
        if let Some(ends) = ends? {
            let row = |(purge, error): (&PurgeRecord, Error)| Row {
                jid: Some(context.config.jid.clone()),
                device: purge.device,
                namespace: Namespace::from_code(purge.namespace),
                error,
            };
            return Ok(Outcome::of_rows(purges.iter().zip(ends).map(row).collect()));
        }
        context.progress.changed(seen).await;
    }
}
