//! How this device is announced: its bundle and its entry on the own lists, and what stands on the server under its id.
//!
//! Publishing is desired state: a flag, stored with the change that caused it, says that the bundle or the list on the
//! server is not the right one; the worker publishes the bundle first, then the list, and clears the flags. So every
//! step can be cut short and is taken up again.

use super::Inner;
use super::account::Account;
use super::api::event::{Notice, NoticeKind};
use super::api::question::{Answer, Question, Reason};
use super::api::report::{Outcome, Row};
use super::connection::Job;
use super::devices;
use crate::crypto::convert;
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::bundle::Bundle;
use crate::protocol::device_list::{DeviceList, ListedDevice};
use crate::protocol::namespace::Namespace;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Account {
    /// Takes note of the bundle that stands under our id. Another identity is never overwritten: this device takes
    /// another id.
    fn note_own_bundle(&mut self, namespace: Namespace, device: DeviceId, answer: Answer) -> Result<()> {
        if self.device_id()? != Some(device) {
            return Ok(()); // The other namespace has led to another id already.
        }
        let outdated = match answer {
            Answer::Bundle(theirs) => {
                let ours = self.own_bundle(namespace)?;
                let identity = convert::ed_to_mont(&theirs.identity_key);
                if identity.as_ref() != Some(self.identity()?.public().mont()) {
                    return self.give_up_device_id(namespace, device);
                }
                theirs.identity_key != ours.identity_key || !same_keys(&theirs, &ours)
            }
            Answer::Rejected(Reason::NotFound) => true,
            _ => return Ok(()),
        };
        self.connection.own_looked_at.insert(namespace);
        if outdated {
            self.own_mut(namespace)?.bundle_pending = true;
            self.follow_up();
        }
        Ok(())
    }

    fn give_up_device_id(&mut self, namespace: Namespace, device: DeviceId) -> Result<()> {
        let jid = self.config.jid.clone();
        let mut taken: BTreeSet<u32> = self.jid(&jid)?.devices.iter().map(|device| device.id).collect();
        taken.insert(device.get());
        self.notify(Notice {
            kind: NoticeKind::IdentityChanged,
            namespace: Some(namespace),
            jid: Some(jid),
            device: device.get(),
            status: Status::IdentityChanged,
        });
        let record = self.account_mut()?;
        record.epoch = record.epoch.saturating_add(1);
        self.leave_id(device)?;
        self.choose_device_id(&taken)?;
        self.follow_up();
        Ok(())
    }

    /// Whether a bundle may go to the server: not where this device was never listed and nobody could look whether
    /// somebody else's stands there.
    fn may_publish(&self, namespace: Namespace) -> Result<bool> {
        Ok(self.connection.own_looked_at.contains(&namespace) || !self.own(namespace)?.list_pending)
    }

    /// Whether the server still has to be told of something in a namespace.
    fn is_pending(&self, namespace: Namespace) -> Result<bool> {
        if !self.config.namespaces.contains(&namespace) {
            return Ok(self.leaving(namespace)?.is_some());
        }
        let own = self.own(namespace)?;
        Ok(own.bundle_pending || own.list_pending)
    }

    /// How often telling it has failed, and how at last.
    fn publish_failures(&self, namespace: Namespace) -> (u64, Status) {
        self.connection.publish_failures.get(&namespace).copied().unwrap_or((0, Status::Ok))
    }
}

/// Asks for the own list in each namespace.
async fn fetch_own_lists(inner: &Inner, namespaces: &[Namespace]) -> Vec<(Namespace, Result<DeviceList>)> {
    let asks = namespaces.iter().map(|namespace| {
        inner.desk.ask(Question::FetchDeviceList { namespace: *namespace, jid: inner.config.jid.clone() })
    });
    let answers = join_all(asks).await;
    let lists = namespaces.iter().zip(answers);
    lists.map(|(namespace, answer)| (*namespace, devices::list_answer(*namespace, answer))).collect()
}

/// Lets bundles be published once the comparison is over, however it ends: cancelled as well.
pub(super) struct Comparison {
    inner: Arc<Inner>,
    stream: u64,
}

impl Comparison {
    /// Begins the comparison of the stream that is up.
    pub(super) fn begin(inner: &Arc<Inner>) -> Result<Comparison> {
        let stream = inner.account(|account| Ok(account.connection.stream))?;
        Ok(Comparison { inner: inner.clone(), stream })
    }
}

impl Drop for Comparison {
    fn drop(&mut self) {
        // Where the account is closed already there is nothing to publish.
        let _ = self.inner.account(|account| {
            account.connection.own_compared |= account.connection.stream == self.stream;
            Ok(())
        });
        self.inner.work.notify();
    }
}

/// The stream is up: see [`super::Manager::connected`].
pub(super) async fn connected(inner: Arc<Inner>, comparison: Comparison) -> Outcome {
    match connect(&inner, comparison).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::bare(error),
    }
}

async fn connect(inner: &Arc<Inner>, comparison: Comparison) -> Result<Outcome> {
    let namespaces = inner.config.namespaces.clone();
    let (reported, before) = inner.account(|account| {
        account.ensure_loaded()?;
        let reported: Vec<Namespace> = namespaces
            .iter()
            .copied()
            .chain(account.all_leaving()?.into_iter().filter(|left| !namespaces.contains(left)))
            .collect();
        let before =
            reported.iter().map(|namespace| account.publish_failures(*namespace).0).collect::<Vec<_>>();
        Ok((reported, before))
    })?;
    let lists = fetch_own_lists(inner, &namespaces).await;
    let first_run = inner.account(|account| {
        account.ensure_loaded()?;
        Ok(account.device_id()?.is_none())
    })?;
    if first_run && lists.iter().any(|(_, list)| list.is_err()) {
        return Err(Error::new(
            Status::DeviceListDownloadFailed,
            "The own device lists have to be known before a device id can be chosen.",
        ));
    }
    let taken: BTreeSet<u32> =
        lists.iter().filter_map(|(_, list)| list.as_ref().ok()).flat_map(devices::ids).collect();
    let now = inner.now();
    inner.account(|account| {
        account.transact(|account| {
            if account.device_id()?.is_none() {
                account.choose_device_id(&taken)?;
            }
            for (_, list) in &lists {
                if let Ok(list) = list {
                    let jid = account.config.jid.clone();
                    devices::apply_list(account, &jid, list, now)?;
                }
            }
            Ok(())
        })
    })?;
    if !first_run {
        compare_bundles(inner, &lists).await?;
    }
    drop(comparison);
    let rows = wait_for_publishing(inner, &reported, &before).await?;
    let fetched = |namespace: Namespace| lists.iter().find(|(of, _)| *of == namespace).map(|(_, list)| list);
    let rows: Vec<Row> = reported
        .iter()
        .zip(rows)
        .map(|(namespace, status)| {
            let error = match fetched(*namespace) {
                Some(Err(error)) if status == Status::Ok => error.clone(),
                _ => status.into(),
            };
            Row { jid: None, device: 0, namespace: Some(*namespace), error }
        })
        .collect();
    let served = rows.iter().take(namespaces.len()).any(|row| row.error.status() == Status::Ok);
    let error = match rows.first() {
        Some(first) if !served => first.error.clone(),
        _ => Status::Ok.into(),
    };
    Ok(Outcome { rows, ..Outcome::bare(error) })
}

/// Where the list names this device, its bundle must be ours.
async fn compare_bundles(inner: &Inner, lists: &[(Namespace, Result<DeviceList>)]) -> Result<()> {
    let Some(device) = inner.account(|account| account.device_id())? else { return Ok(()) };
    for (namespace, list) in lists {
        let Ok(list) = list else { continue };
        if devices::ids(list).any(|id| id == device.get()) {
            compare_bundle(inner, *namespace, device).await?;
            continue;
        }
        // Whoever lost the list has lost the bundle, too, more often than not.
        inner.account(|account| {
            account.transact(|account| {
                account.own_mut(*namespace)?.bundle_pending = true;
                Ok(())
            })
        })?;
    }
    Ok(())
}

/// Fetches what stands under our id, and takes note of it. Without an answer nothing changes.
async fn compare_bundle(inner: &Inner, namespace: Namespace, device: DeviceId) -> Result<()> {
    let question = Question::FetchBundle { namespace, jid: inner.config.jid.clone(), device };
    let answer = inner.desk.ask(question).await;
    inner.account(|account| account.transact(|account| account.note_own_bundle(namespace, device, answer)))
}

fn same_keys(a: &Bundle, b: &Bundle) -> bool {
    let keys = |bundle: &Bundle| -> BTreeSet<(u32, [u8; 32])> {
        bundle.pre_keys.iter().map(|pre_key| (pre_key.id, pre_key.key)).collect()
    };
    let signed = |bundle: &Bundle| (bundle.signed_pre_key_id, bundle.signed_pre_key, bundle.signature);
    signed(a) == signed(b) && keys(a) == keys(b)
}

/// Waits until each namespace is published, or its publishing has failed once more than `before`.
async fn wait_for_publishing(inner: &Inner, namespaces: &[Namespace], before: &[u64]) -> Result<Vec<Status>> {
    inner.work.notify();
    loop {
        let seen = inner.progress.generation();
        let states = inner.account(|account| {
            let state = |namespace: &Namespace| {
                Ok((account.is_pending(*namespace)?, account.publish_failures(*namespace)))
            };
            namespaces.iter().map(state).collect::<Result<Vec<_>>>()
        })?;
        let ends = states.iter().zip(before).map(|((pending, (failures, last)), before)| {
            match (pending, failures > before) {
                (false, _) => Some(Status::Ok),
                (true, true) => Some(*last),
                (true, false) => None,
            }
        });
        if let Some(ends) = ends.collect::<Option<Vec<_>>>() {
            return Ok(ends);
        }
        inner.progress.changed(seen).await;
    }
}

/// Publishes the own bundle.
pub(super) async fn publish_bundle(inner: &Inner, namespace: Namespace) -> Result<()> {
    if !inner.account(|account| account.may_publish(namespace))? {
        let device = inner.account(|account| account.device_id())?.ok_or(Error::from(Status::NotReady))?;
        compare_bundle(inner, namespace, device).await?;
        if !inner.account(|account| account.may_publish(namespace))? {
            return Err(Status::BundleDownloadFailed.into());
        }
    }
    let job = Job::PublishBundle(namespace);
    let now = inner.now().steady;
    let (device, bundle) = inner.account(|account| {
        account.connection.publishing(&job, now);
        let device = account.device_id()?.ok_or(Error::from(Status::NotReady))?;
        Ok((device, account.own_bundle(namespace)?))
    })?;
    let published = bundle.clone();
    match inner.desk.ask(Question::PublishBundle { device, bundle }).await {
        Answer::Done => inner.account(|account| {
            account.transact(|account| {
                // What changed while the answer was on its way is published next.
                if account.device_id()? == Some(device) && account.own_bundle(namespace)? == published {
                    account.own_mut(namespace)?.bundle_pending = false;
                }
                Ok(())
            })
        }),
        Answer::Rejected(Reason::Timeout) => Err(Status::Timeout.into()),
        _ => Err(Status::BundleUploadFailed.into()),
    }
}

/// Puts this device on the own list, and never takes anybody off it.
pub(super) async fn publish_list(inner: &Inner, namespace: Namespace) -> Result<()> {
    let jid = inner.config.jid.clone();
    let known = inner.account(|account| Ok(account.connection.own_lists.remove(&namespace)))?;
    let list = match known {
        Some(list) => list,
        None => {
            let question = Question::FetchDeviceList { namespace, jid: jid.clone() };
            devices::list_answer(namespace, inner.desk.ask(question).await)?
        }
    };
    let device = inner.account(|account| account.device_id())?.ok_or(Error::from(Status::NotReady))?;
    let mut merged = list.clone();
    if !devices::ids(&list).any(|id| id == device.get()) {
        merged.devices.push(ListedDevice { id: device.get(), label: None, label_signature: None });
        let now = inner.now().steady;
        inner.account(|account| {
            account.connection.publishing(&Job::PublishList(namespace), now);
            Ok(())
        })?;
        match inner.desk.ask(Question::PublishDeviceList { list: merged.clone() }).await {
            Answer::Done => (),
            Answer::Rejected(Reason::Timeout) => return Err(Status::Timeout.into()),
            _ => return Err(Status::DeviceListUploadFailed.into()),
        }
    }
    let now = inner.now();
    inner.account(|account| {
        account.transact(|account| {
            if account.device_id()? == Some(device) {
                account.own_mut(namespace)?.list_pending = false;
            }
            devices::apply_list(account, &jid, &merged, now)
        })
    })
}
