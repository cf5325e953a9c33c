//! Purging a namespace that is not served any more: keys and sessions are deleted when the account is opened without it,
//! the server hears of it in the next streams. So it is of an id that this device has given up.
//!
//! What the server still has to hear is stored with the account, so that it survives whatever cuts it short. The list
//! goes first: who still finds a device on it would look for a bundle that is not there.

use super::super::api::request::{Answer, Reason, Request, Stamp};
use super::super::api::services::LogLevel;
use super::super::engine::Class;
use super::super::model::address::SessionAddress;
use super::super::model::job::Job;
use super::super::model::own_list::Arrival;
use super::super::store::records::account::PurgeRecord;
use super::super::store::removal;
use super::super::store::transaction::Tx;
use super::announce::{self, Progress};
use super::context::Context;
use super::device_list;
use crate::crypto::convert;
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::device_list::DeviceList;
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
    tx.put_pre_keys(namespace, None);
    let device = tx.account()?.device_id;
    let account = tx.account_mut()?;
    account.namespaces.retain(|served| *served != code);
    if device != 0 {
        account.purges.push(PurgeRecord { namespace: code, device, unlisted: false });
    }
    Ok(())
}

/// Returns what the server still has to hear first of an id in a namespace.
fn first_purge(tx: &Tx<'_>, namespace: Namespace) -> Result<Option<PurgeRecord>> {
    let code = namespace.code();
    Ok(tx.account()?.purges.iter().find(|purge| purge.namespace == code).copied())
}

fn is_same(a: &PurgeRecord, b: &PurgeRecord) -> bool {
    (a.namespace, a.device) == (b.namespace, b.device)
}

/// Takes an id off this account's list, then deletes its bundle; nothing of somebody else's that stands under the same
/// id.
pub(super) async fn purge_id(context: &Context, namespace: Namespace) -> Result<Progress> {
    let Some(purge) = context.transact(|tx| first_purge(tx, namespace))? else { return Ok(Progress::Done) };
    let device = DeviceId::new(purge.device).ok_or(Error::from(Status::StorageCorrupt))?;
    // An id that was given up is not ours any more, wherever it stands, whatever stands under it: who has it announces it
    // again.
    if context.transact(|tx| tx.device_id())? != Some(device)
        && let Some(at) = remove_from_list(context, &purge, namespace).await?
    {
        return Ok(Progress::Delayed(at));
    }
    let request = Request::FetchBundle { namespace, jid: context.config.jid.clone(), device };
    let (ours, has_bundle) = match &context.ask(request, Class::Foreground).await.response.answer {
        Answer::Bundle(bundle) => {
            let identity = convert::ed_to_mont(&bundle.identity_key);
            (context.transact(|tx| Ok(identity.as_ref() == Some(tx.identity()?.public().mont())))?, true)
        }
        Answer::Rejected(Reason::NotFound) => (true, false),
        // What cannot be read serves nobody.
        Answer::Unreadable(_) => (true, true),
        Answer::Rejected(Reason::Timeout) => return Err(Status::Timeout.into()),
        Answer::Refused(error) => return Err(device_list::refused(Status::BundleDownloadFailed, error)),
        _ => return Err(Status::BundleDownloadFailed.into()),
    };
    if ours && let Some(at) = remove_from_list(context, &purge, namespace).await? {
        return Ok(Progress::Delayed(at));
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
        tx.account_mut()?.purges.retain(|other| !is_same(other, &purge));
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
        .transact(|tx| Ok(tx.account()?.purges.iter().any(|other| is_same(other, purge) && other.unlisted)))?
    {
        return Ok(None);
    }
    loop {
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
        purges.find(|other| is_same(other, purge)).ok_or(Error::from(Status::Internal))?.unlisted = true;
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
