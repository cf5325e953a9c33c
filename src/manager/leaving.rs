//! Leaving a namespace: keys and sessions are forgotten when the account is opened without it, the server is told of it
//! at the next streams. So it is of an id that this device has given up.
//!
//! What the server still has to be told is stored with the account, so that it survives whatever cuts it short. The list
//! goes first: who still finds a device on it would look for a bundle that is not there.

use super::Inner;
use super::account::Account;
use super::api::question::{Answer, Question, Reason};
use super::clock::Now;
use super::connection::Job;
use super::devices;
use super::layout::SessionKey;
use super::records::{JidRecord, LeavingRecord};
use super::sessions::Sessions;
use crate::crypto::convert;
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::namespace::Namespace;
use std::collections::BTreeSet;

/// Forgets the namespaces that were served before and are not any more.
pub(super) fn forget_namespaces(account: &mut Account, now: Now) -> Result<()> {
    for namespace in Namespace::ALL {
        let code = namespace.code();
        let served = account.config.namespaces.contains(&namespace);
        let device = account.account()?.device_id;
        let back = |leaving: &LeavingRecord| leaving.namespace == code && leaving.device == device;
        if served && account.account()?.leaving.iter().any(back) {
            // It is back before the server heard of it.
            account.account_mut()?.leaving.retain(|leaving| !back(leaving));
        }
        if !served && account.account()?.namespaces.contains(&code) {
            forget(account, namespace, now)?;
        }
    }
    Ok(())
}

fn forget(account: &mut Account, namespace: Namespace, now: Now) -> Result<()> {
    let code = namespace.code();
    for jid in account.all_jids()? {
        let record = account.jid(&jid)?;
        for device in record.devices.iter().filter_map(|device| DeviceId::new(device.id)) {
            let key = SessionKey { jid: jid.clone(), device, namespace };
            Sessions::new(account, &key, now).forget()?;
            account.drop_messages(&key)?;
        }
        let mut next = JidRecord::clone(&record);
        next.listed.retain(|listed| *listed != code);
        for device in &mut next.devices {
            device.leave(namespace);
        }
        if next != *record {
            *account.jid_mut(&jid)? = next;
        }
    }
    account.stage_own_gone(namespace);
    let device = account.account()?.device_id;
    let record = account.account_mut()?;
    record.namespaces.retain(|served| *served != code);
    if device != 0 {
        record.leaving.push(LeavingRecord { namespace: code, device, unlisted: false });
    }
    Ok(())
}

impl Account {
    /// Has the server told that an id was given up, in all namespaces that are served.
    pub(super) fn leave_id(&mut self, device: DeviceId) -> Result<()> {
        for namespace in self.config.namespaces.clone() {
            let leaving =
                LeavingRecord { namespace: namespace.code(), device: device.get(), unlisted: false };
            self.account_mut()?.leaving.push(leaving);
        }
        Ok(())
    }

    /// What the server still has to be told first of an id in a namespace.
    pub(super) fn leaving(&self, namespace: Namespace) -> Result<Option<LeavingRecord>> {
        let code = namespace.code();
        Ok(self.account()?.leaving.iter().find(|leaving| leaving.namespace == code).copied())
    }

    /// The namespaces in which an id is still to be left.
    pub(super) fn all_leaving(&self) -> Result<BTreeSet<Namespace>> {
        let codes = self.account()?.leaving.iter().map(|leaving| leaving.namespace);
        Ok(codes.filter_map(Namespace::from_code).collect())
    }
}

/// Takes this device off the own list of a namespace, then deletes its bundle there; nothing of somebody else's that
/// stands under the same id.
pub(super) async fn leave(inner: &Inner, namespace: Namespace) -> Result<()> {
    let Some(leaving) = inner.account(|account| account.leaving(namespace))? else { return Ok(()) };
    let Some(device) = DeviceId::new(leaving.device) else { return Err(Status::Internal.into()) };
    let question = Question::FetchBundle { namespace, jid: inner.config.jid.clone(), device };
    let (ours, has_bundle) = match inner.desk.ask(question).await {
        Answer::Bundle(bundle) => {
            let identity = convert::ed_to_mont(&bundle.identity_key);
            (
                inner
                    .account(|account| Ok(identity.as_ref() == Some(account.identity()?.public().mont())))?,
                true,
            )
        }
        Answer::Rejected(Reason::NotFound) => (true, false),
        Answer::Rejected(Reason::Timeout) => return Err(Status::Timeout.into()),
        _ => return Err(Status::BundleDownloadFailed.into()),
    };
    if ours && !leaving.unlisted {
        unlist(inner, &leaving, namespace).await?;
    }
    if ours && has_bundle {
        match inner.desk.ask(Question::DeleteBundle { namespace, device }).await {
            Answer::Done | Answer::Rejected(Reason::NotFound | Reason::Declined) => (),
            Answer::Rejected(Reason::Timeout) => return Err(Status::Timeout.into()),
            _ => return Err(Status::BundleDeletionFailed.into()),
        }
    }
    change(inner, |account| {
        account.account_mut()?.leaving.retain(|other| !is_same(other, &leaving));
        Ok(())
    })
}

fn is_same(a: &LeavingRecord, b: &LeavingRecord) -> bool {
    (a.namespace, a.device) == (b.namespace, b.device)
}

async fn unlist(inner: &Inner, leaving: &LeavingRecord, namespace: Namespace) -> Result<()> {
    let jid = inner.config.jid.clone();
    let question = Question::FetchDeviceList { namespace, jid: jid.clone() };
    let mut list = devices::list_answer(namespace, inner.desk.ask(question).await)?;
    let before = list.devices.len();
    list.devices.retain(|listed| listed.id != leaving.device);
    if list.devices.len() != before {
        let now = inner.now().steady;
        inner.account(|account| {
            account.connection.publishing(&Job::Leave(namespace), now);
            Ok(())
        })?;
        match inner.desk.ask(Question::PublishDeviceList { list: list.clone() }).await {
            Answer::Done => (),
            Answer::Rejected(Reason::Timeout) => return Err(Status::Timeout.into()),
            _ => return Err(Status::DeviceListUploadFailed.into()),
        }
    }
    let now = inner.now();
    change(inner, |account| {
        let records = &mut account.account_mut()?.leaving;
        let record = records.iter_mut().find(|other| is_same(other, leaving));
        record.ok_or(Error::from(Status::Internal))?.unlisted = true;
        match account.config.namespaces.contains(&namespace) {
            true => devices::apply_list(account, &jid, &list, now),
            false => Ok(()),
        }
    })
}

fn change(inner: &Inner, work: impl FnOnce(&mut Account) -> Result<()>) -> Result<()> {
    inner.account(|account| account.transact(work))
}
