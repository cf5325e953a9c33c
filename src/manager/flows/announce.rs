//! How this device is announced: its bundle and its entry on this account's lists, as desired state.
//!
//! After every event what was seen last is compared with what ought to stand on the server; what differs is published:
//! the bundle first, or peers would look for a bundle that is not there. So every step can be cut short and is taken up
//! again.

use super::super::api::event::{Notice, NoticeKind};
use super::super::api::report::{Outcome, Row};
use super::super::api::request::{Answer, Reason, Request, Stamp};
use super::super::engine::Class;
use super::super::model::job::Job;
use super::super::model::list_looks::Source;
use super::super::model::memory::{Memory, PublishFailures};
use super::super::policy;
use super::super::store::transaction::Tx;
use super::context::Context;
use super::device_list::{self, ListFact};
use super::{own_bundle, own_keys};
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::device_list::{DeviceList, ListedDevice};
use crate::protocol::namespace::Namespace;

/// How far a job came.
pub(super) enum Progress {
    Done,
    /// A limit delays it until this time of the steady clock.
    Delayed(u64),
}

/// How often a list is published in a row because others published it at the same time.
const ATTEMPTS: usize = 3;
/// How often a list is cleared in a row because somebody wrote the old one at the same time.
const CLEARINGS: usize = 2;

/// Returns this device's entry as it ought to stand on the lists, whatever others have made of it.
fn entry(tx: &Tx<'_>, namespace: Namespace, device: DeviceId) -> Result<ListedDevice> {
    let label = tx.account()?.signed_label().filter(|_| namespace.has_labels());
    Ok(match label {
        Some(label) => ListedDevice::labelled(device.get(), label.text, label.signature),
        None => ListedDevice::new(device.get()),
    })
}

/// Returns whether this device stands on this account's list, as far as was seen.
fn is_listed(memory: &Memory, namespace: Namespace, wanted: &ListedDevice) -> bool {
    memory.own_lists.get(&namespace).is_some_and(|own| {
        let named = own.seen().is_some_and(|list| list.devices.contains(wanted));
        named && !own.must_redo()
    })
}

/// Returns what is wrong with this device's entry on a list of this account; `None`: nothing.
pub(super) fn check_entry(tx: &Tx<'_>, list: &DeviceList, device: DeviceId) -> Result<Option<Error>> {
    let wanted = entry(tx, list.namespace, device)?;
    let listed = list.devices.iter().find(|listed| listed.id == device.get());
    Ok(match listed {
        None => Some(Error::new(
            Status::DeviceListUploadFailed,
            "This device is missing in the list; the list is being published again.",
        )),
        Some(listed) if *listed != wanted => Some(Error::new(
            Status::Label,
            "The list does not have this device's label; the list is being published again.",
        )),
        Some(_) => None,
    })
}

/// Returns the job that brings a namespace nearer to what ought to stand on the server; `None`: it is right.
pub(super) fn next_job(tx: &Tx<'_>, namespace: Namespace) -> Result<Option<Job>> {
    let Some(device) = tx.device_id()? else { return Ok(None) };
    let memory = tx.memory();
    if memory.deleting_account.is_some() {
        return Ok(None);
    }
    if memory.lists_to_clear.contains(namespace) {
        return Ok(Some(Job::PublishList(namespace)));
    }
    let seen = memory.own_lists.get(&namespace).is_some_and(|own| own.seen().is_some());
    let pending = tx.pre_keys(namespace)?.bundle_pending;
    let held = memory.catch_up.holds_bundle(namespace, tx.now.aged_ms);
    Ok(match (seen, pending && !held) {
        (false, _) => Some(Job::PublishList(namespace)),
        (true, true) => Some(Job::PublishBundle(namespace)),
        (true, false) => {
            let wanted = entry(tx, namespace, device)?;
            (!is_listed(memory, namespace, &wanted)).then_some(Job::PublishList(namespace))
        }
    })
}

/// Returns whether the server still has to hear of something in a namespace.
fn is_pending(tx: &Tx<'_>, namespace: Namespace) -> Result<bool> {
    let code = namespace.code();
    // What is not announced while the account is being deleted is announced if that fails.
    if tx.memory().deleting_account.is_some() {
        return Ok(true);
    }
    if tx.config().namespaces.contains(&namespace) {
        Ok(next_job(tx, namespace)?.is_some())
    } else {
        Ok(tx.account()?.purges.iter().any(|purge| purge.namespace == code))
    }
}

fn failures(tx: &Tx<'_>, namespace: Namespace) -> PublishFailures {
    tx.memory().publish_failures.get(&namespace).cloned().unwrap_or_default()
}

/// Returns the namespaces that a report of publishing has a row for, and how often publishing has failed in each.
pub(super) fn begin_report(context: &Context) -> Result<(Vec<Namespace>, Vec<u64>)> {
    context.transact(|tx| {
        let mut reported = tx.config().namespaces.clone();
        let purged = tx.account()?.purges.iter().filter_map(|purge| Namespace::from_code(purge.namespace));
        for namespace in purged.collect::<Vec<_>>() {
            if !reported.contains(&namespace) {
                reported.push(namespace);
            }
        }
        let before = reported.iter().map(|namespace| failures(tx, *namespace).count).collect();
        Ok((reported, before))
    })
}

/// Returns how often publishing has failed in each of these namespaces.
pub(super) fn count_failures(context: &Context, namespaces: &[Namespace]) -> Result<Vec<u64>> {
    context.transact(|tx| Ok(namespaces.iter().map(|namespace| failures(tx, *namespace).count).collect()))
}

/// Waits until each namespace is published, or its publishing has failed once more than `before`.
pub(super) async fn wait(context: &Context, namespaces: &[Namespace], before: &[u64]) -> Result<Vec<Error>> {
    loop {
        let seen = context.progress.generation();
        let ends = context.transact(|tx| {
            let end = |(namespace, before): (&Namespace, &u64)| {
                let failures = failures(tx, *namespace);
                Ok(match (is_pending(tx, *namespace)?, failures.count > *before) {
                    (false, _) => Some(Error::from(Status::Ok)),
                    (true, _) if is_exhausted(tx, *namespace)? => Some(Status::PublishLimit.into()),
                    (true, true) => Some(failures.last.unwrap_or_else(|| Status::Internal.into())),
                    (true, false) => None,
                })
            };
            namespaces.iter().zip(before).map(end).collect::<Result<Option<Vec<_>>>>()
        })?;
        if let Some(ends) = ends {
            return Ok(ends);
        }
        context.progress.changed(seen).await;
    }
}

/// Waits as [`wait`] does. The report has a row for each namespace; the status is that of the first that failed.
pub(super) async fn wait_and_report(
    context: &Context,
    namespaces: &[Namespace],
    before: &[u64],
) -> Result<Outcome> {
    let ends = wait(context, namespaces, before).await?;
    let row = |(namespace, error): (&Namespace, Error)| Row {
        jid: None,
        device: 0,
        namespace: Some(*namespace),
        error,
    };
    Ok(Outcome::of_rows(namespaces.iter().zip(ends).map(row).collect()))
}

/// Returns whether the day's publications of what comes next in a namespace are used up.
fn is_exhausted(tx: &Tx<'_>, namespace: Namespace) -> Result<bool> {
    let next = if tx.config().namespaces.contains(&namespace) {
        next_job(tx, namespace)?
    } else {
        Some(Job::PurgeId(namespace))
    };
    let until = next.and_then(|job| tx.memory().delayed_until_ms.get(&job).copied()).unwrap_or_default();
    Ok(until.saturating_sub(tx.now.steady_ms) > policy::PUBLISH_WAIT_MS)
}

/// Takes one of the publications that a node has; tells the client, once, when they are used up.
pub(super) fn take_publication(context: &Context, job: &Job, namespace: Namespace) -> Result<Option<u64>> {
    let now = context.now();
    let taken = context.memory(|memory| memory.bucket(job.clone()).try_take(now))?;
    let Err(next) = taken else { return Ok(None) };
    if next.newly_exhausted {
        let error = Error::from(Status::PublishLimit);
        context.memory(|memory| memory.publish_failed(namespace, &error))?;
        let (namespace, status) = (Some(namespace), Status::PublishLimit);
        context.transact(|tx| {
            tx.notify(Notice { kind: NoticeKind::PublishFailed, namespace, jid: None, device: 0, status });
            Ok(())
        })?;
        context.progress.notify();
    }
    Ok(Some(next.steady_ms(now)))
}

/// Publishes this device's bundle, never over somebody else's.
pub(super) async fn publish_bundle(context: &Context, namespace: Namespace) -> Result<Progress> {
    let device = context.transact(|tx| tx.own_device())?;
    if !context.memory(|memory| memory.verified_in.contains(namespace))? {
        own_bundle::check(context, namespace, device).await?;
        if !context.memory(|memory| memory.verified_in.contains(namespace))? {
            return Err(Error::new(
                Status::BundleDownloadFailed,
                "The bundle that is published under this device's id could not be checked.",
            ));
        }
    }
    let now_ms = context.now().aged_ms;
    if context.memory(|memory| memory.catch_up.holds_bundle(namespace, now_ms))? {
        return Ok(Progress::Done);
    }
    if let Some(at) = take_publication(context, &Job::PublishBundle(namespace), namespace)? {
        return Ok(Progress::Delayed(at));
    }
    if context.memory(|memory| memory.deleting_account.is_some())? {
        return Ok(Progress::Done);
    }
    let (device, bundle) =
        context.transact(|tx| Ok((tx.own_device()?, own_keys::own_bundle(tx, namespace)?)))?;
    let published = bundle.clone();
    let settled = context.ask(Request::PublishBundle { device, bundle }, Class::Foreground).await;
    match &settled.response.answer {
        Answer::Done => context.transact(|tx| {
            // What changed while the answer was on its way is published next.
            let catching_up = tx.memory().catch_up.is_going_on(tx.now.aged_ms);
            let same = own_keys::own_bundle(tx, namespace)? == published;
            if !same && catching_up {
                // Pre keys were used up meanwhile.
                tx.after(move |memory| memory.catch_up.hold_bundle(namespace));
            }
            if tx.device_id()? == Some(device) && same {
                let store = tx.pre_keys_mut(namespace)?;
                if catching_up { store.published_while_catching_up() } else { store.published() }
            }
            tx.wake_worker();
            Ok(Progress::Done)
        }),
        Answer::Rejected(Reason::Timeout) => Err(Status::Timeout.into()),
        Answer::Refused(error) => Err(device_list::refused(Status::BundleUploadFailed, error)),
        _ => Err(Status::BundleUploadFailed.into()),
    }
}

/// Returns this account's list as it was seen last, with its stamp, or fetches it. `None`: the stream broke meanwhile.
pub(super) async fn newest_list(
    context: &Context,
    namespace: Namespace,
) -> Result<Option<(Stamp, DeviceList)>> {
    let newest = |memory: &mut Memory| memory.own_list(namespace).newest();
    if let Some(newest) = context.memory(newest)? {
        return Ok(Some(newest));
    }
    device_list::fetch(context, namespace, &context.config.jid, Class::Foreground).await?;
    context.memory(newest)
}

/// Puts this device on this account's list, and takes nobody off it, unless the client wants the list cleared.
pub(super) async fn publish_list(context: &Context, namespace: Namespace) -> Result<Progress> {
    if context.memory(|memory| memory.lists_to_clear.contains(namespace))? {
        return clear_list(context, namespace).await;
    }
    let now_ms = context.now().aged_ms;
    for _ in 0..ATTEMPTS {
        let Some((stamp, mut list)) = newest_list(context, namespace).await? else {
            return Err(Status::Offline.into());
        };
        let (wanted, pending) = context.transact(|tx| {
            let wanted = entry(tx, namespace, tx.own_device()?)?;
            Ok((wanted, tx.pre_keys(namespace)?.bundle_pending))
        })?;
        if pending && !context.memory(|memory| memory.catch_up.holds_bundle(namespace, now_ms))? {
            return Ok(Progress::Done);
        }
        if context.memory(|memory| is_listed(memory, namespace, &wanted))? {
            return Ok(Progress::Done);
        }
        list.set(wanted)?;
        if let Some(at) = take_publication(context, &Job::PublishList(namespace), namespace)? {
            return Ok(Progress::Delayed(at));
        }
        if publish(context, list, stamp).await? {
            return Ok(Progress::Done);
        }
    }
    // Others write it as often as we do: the worker goes on as the limits allow.
    Ok(Progress::Done)
}

/// Publishes this account's list with nothing but this device on it, whatever stands there.
async fn clear_list(context: &Context, namespace: Namespace) -> Result<Progress> {
    // A fetch that is under way would show what is to go, and count as news. Whether it can be read makes no difference.
    let _ = device_list::fetch(context, namespace, &context.config.jid, Class::Foreground).await;
    let before = context.memory(|memory| memory.own_list(namespace).newest())?;
    let before = before.map_or_else(Default::default, |(_, list)| device_list::ids(&list));
    for _ in 0..CLEARINGS {
        let mut list = DeviceList::new(namespace);
        context.transact(|tx| {
            // Without its bundle nobody could use it: it comes behind that.
            if tx.pre_keys(namespace)?.bundle_pending {
                return Ok(());
            }
            list.add(entry(tx, namespace, tx.own_device()?)?)
        })?;
        if let Some(at) = take_publication(context, &Job::PublishList(namespace), namespace)? {
            return Ok(Progress::Delayed(at));
        }
        context.memory(|memory| memory.own_list(namespace).publishing_anew(&list))?;
        if send_list(context, list).await? {
            break;
        }
        // What crossed it is another device that announces itself, and is built upon; or, where all that was there is there
        // again, somebody who has written the old list once more.
        let newest = context.memory(|memory| memory.own_list(namespace).newest())?;
        if newest.is_none_or(|(_, list)| !device_list::ids(&list).is_superset(&before)) {
            break;
        }
    }
    context.memory(|memory| memory.lists_to_clear.remove(namespace))?;
    Ok(Progress::Done)
}

/// A publication of this account's list. When this is dropped without an answer, nobody knows what became of it.
struct InFlight<'a>(&'a Context, Namespace);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        // Where the account is closed nothing is published any more.
        let _ = self.0.memory(|memory| memory.own_list(self.1).publication_failed());
    }
}

/// Publishes this account's list, built on the one with this stamp. False: a push came in between, and it has to be
/// looked at again.
pub(super) async fn publish(context: &Context, list: DeviceList, built_on: Stamp) -> Result<bool> {
    let namespace = list.namespace;
    if !context.memory(|memory| memory.own_list(namespace).publishing(&list, built_on))? {
        return Ok(false);
    }
    send_list(context, list).await
}

async fn send_list(context: &Context, list: DeviceList) -> Result<bool> {
    let namespace = list.namespace;
    let _in_flight = InFlight(context, namespace);
    let settled = context.ask(Request::PublishDeviceList { list: list.clone() }, Class::Foreground).await;
    let error: Error = match &settled.response.answer {
        Answer::Done => {
            let stamp = settled.response.stamp;
            if !context.memory(|memory| memory.own_list(namespace).published(stamp))? {
                return Ok(false);
            }
            let jid = context.config.jid.clone();
            let fact =
                ListFact { jid: &jid, list: &list, stamp, source: Some(Source::Fetched { found: true }) };
            if context.config.namespaces.contains(&namespace) {
                context.transact(|tx| device_list::apply(tx, &fact))?;
            }
            return Ok(true);
        }
        Answer::Rejected(Reason::Timeout) => Status::Timeout.into(),
        Answer::Refused(error) => device_list::refused(Status::DeviceListUploadFailed, error),
        _ => Status::DeviceListUploadFailed.into(),
    };
    Err(error)
}
