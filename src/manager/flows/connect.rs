//! The stream comes up and goes down. With each stream this account's lists and bundles on the server are compared with
//! what ought to stand there; the background worker repairs what does not.

use super::super::api::catch_up::CatchUp;
use super::super::api::event::OperationId;
use super::super::api::report::{Outcome, Row};
use super::super::api::services::LogLevel;
use super::super::config::StartMark;
use super::super::engine::{Class, OperationKind};
use super::super::policy;
use super::context::Context;
use super::{announce, catch_up, device_list, own_bundle, own_keys};
use crate::error::{Error, Result, Status};
use crate::protocol::device_list::DeviceList;
use crate::protocol::namespace::Namespace;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The stream is up: see [`super::super::Manager::connected`].
pub(in crate::manager) fn connected(
    context: &Arc<Context>,
    catch_up: CatchUp,
    operation: OperationId,
) -> Result<()> {
    let (stamp, now_ms) = (context.stamp(), context.now().aged_ms);
    context.memory(|memory| {
        // Of two threads that speak of the stream the later one is right.
        if memory.stream_stamp < stamp {
            memory.stream_stamp = stamp;
            memory.new_stream();
            memory.reconcile_again = false;
            match catch_up {
                CatchUp::Expected => memory.catch_up.begin_again(now_ms),
                CatchUp::None => memory.catch_up.end(),
            }
            context.engine.requests().connected();
        }
    })?;
    context.log(LogLevel::Info, "stream: connected");
    context.stream_up.notify();
    context.wake_worker();
    let shared = context.clone();
    context.engine.start(operation, OperationKind::EndsWithStream, async move {
        reconcile(&shared, Until::Published).await.unwrap_or_else(Outcome::bare)
    })
}

/// Compares what the server has with the store once more: see [`super::super::Manager::ensure_consistency`].
pub(in crate::manager) fn ensure_consistency(context: &Arc<Context>, operation: OperationId) -> Result<()> {
    context.need_stream()?;
    let shared = context.clone();
    context.engine.start(operation, OperationKind::EndsWithStream, async move {
        reconcile(&shared, Until::Published).await.unwrap_or_else(Outcome::bare)
    })
}

/// The stream is down: network requests are withdrawn, and asked again in the next one. What was answered and not taken
/// over yet is stored as of its time.
pub(in crate::manager) fn disconnected(context: &Arc<Context>) -> Result<()> {
    let stamp = context.stamp();
    // Of two threads that speak of the stream the later one is right, for the requests as for the memory.
    let down = context.memory(|memory| {
        let down = memory.stream_stamp <= stamp;
        if down {
            (memory.stream_stamp, memory.online) = (stamp, false);
            context.engine.disconnected();
        }
        down
    })?;
    if !down {
        return Ok(());
    }
    context.log(LogLevel::Info, "stream: disconnected");
    context.stream_down.notify();
    context.engine.wake();
    Ok(())
}

/// When a comparison with the server counts as done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// What there is to publish is known; the worker publishes it.
    Compared,
    /// Publishing has succeeded or failed once in each namespace.
    Published,
}

/// Compares what the server has with what ought to stand there, and has it repaired.
pub(super) async fn reconcile(context: &Context, until: Until) -> Result<Outcome> {
    let mut attempt = Attempt { context, stream: context.engine.requests().stream(), again: true };
    // A mark counts when it stands on the server.
    let first = !context.memory(|memory| memory.compared)?;
    let marks = first && context.config.start_mark == StartMark::NewPreKey;
    let until = if marks { Until::Published } else { until };
    let outcome = compare(context, until, &mut attempt).await;
    // What failed by the store is tried again, too.
    attempt.again |= outcome.is_err();
    if marks && outcome.is_ok() {
        note_compared(context, &mut attempt, published(context)?)?;
    }
    outcome
}

/// How much of what stands on the server of this device was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// All that it has to answer.
    Whole,
    /// Something did not come.
    Partial,
}

/// Returns whether the server has the bundles of this device as they ought to be, marks among them.
fn published(context: &Context) -> Result<Sight> {
    context.transact(|tx| {
        for namespace in &tx.config().namespaces {
            if tx.pre_keys(*namespace)?.bundle_pending {
                return Ok(Sight::Partial);
            }
        }
        Ok(Sight::Whole)
    })
}

/// From now on sessions may send, if everything was looked at. A few times it is tried again where it was not; then it is
/// not waited for any more, or a server that answers one request never would keep everybody from writing.
fn note_compared(context: &Context, attempt: &mut Attempt<'_>, sight: Sight) -> Result<()> {
    if attempt.stream != context.engine.requests().stream() {
        return Ok(());
    }
    let compared = context.memory(|memory| {
        memory.blind_comparisons = memory.blind_comparisons.saturating_add((sight == Sight::Partial).into());
        let enough = memory.blind_comparisons >= policy::BLIND_COMPARISONS;
        memory.compared |= sight == Sight::Whole || enough;
        memory.compared
    })?;
    attempt.again |= !compared;
    context.wake_worker();
    context.progress.notify();
    Ok(())
}

/// One comparison. Unless it came to its end it is made again by the worker, whatever ended it.
struct Attempt<'a> {
    context: &'a Context,
    stream: u64,
    again: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.stream != self.context.engine.requests().stream() {
            return;
        }
        // Where the account is closed nothing is compared any more.
        let again = self.context.memory(|memory| {
            memory.reconcile_again = self.again || !memory.compared;
            memory.reconcile_again
        });
        if again.unwrap_or(false) {
            self.context.wake_worker();
        }
    }
}

async fn compare(context: &Context, until: Until, attempt: &mut Attempt<'_>) -> Result<Outcome> {
    context.transact(catch_up::release_used_pre_keys)?;
    let namespaces = context.config.namespaces.clone();
    let (reported, before) = announce::begin_report(context)?;
    let fetches = namespaces
        .iter()
        .map(|namespace| device_list::fetch(context, *namespace, &context.config.jid, Class::Foreground));
    let mut lists: Vec<(Namespace, Result<DeviceList>)> =
        namespaces.iter().copied().zip(join_all(fetches).await).collect();
    let mut again =
        lists.iter().any(|(_, list)| list.as_ref().is_err_and(|error| !is_refused(error.status())));
    let first_run = context.transact(|tx| Ok(tx.device_id()?.is_none()))?;
    if let Some((_, Err(error))) =
        lists.iter().find(|(_, list)| list.as_ref().is_err_and(|error| error.is_storage()))
    {
        return Err(error.clone());
    }
    if first_run && again {
        context.log(
            LogLevel::Info,
            "connect: no device id can be chosen, because a device list could not be fetched",
        );
        return Err(Error::new(
            Status::DeviceListDownloadFailed,
            "A device id can be chosen only when all device lists of this account are known; the library tries again.",
        ));
    }
    if first_run {
        let known = lists.iter().filter_map(|(_, list)| list.as_ref().ok());
        let taken: BTreeSet<u32> = known.flat_map(device_list::ids).collect();
        context.transact(|tx| match tx.device_id()? {
            Some(_) => Ok(()),
            None => own_keys::choose_device_id(tx, &taken).map(|_| ()),
        })?;
    }
    let sight =
        if first_run { Sight::Whole } else { compare_bundles(context, &mut lists, &mut again).await? };
    attempt.again = again;
    let marks = context.config.start_mark == StartMark::NewPreKey && !first_run;
    if marks && !context.memory(|memory| memory.compared)? {
        context.transact(own_keys::mark_start)?;
    } else {
        note_compared(context, attempt, sight)?;
    }
    let again = attempt.again;
    context.memory(|memory| memory.reconcile_again = again)?;
    context.wake_worker();
    let rows = match until {
        Until::Compared => Vec::new(),
        Until::Published => announce::wait(context, &reported, &before).await?,
    };
    Ok(outcome(&namespaces, &lists, &reported, rows))
}

/// Whether a list came that cannot be worked with: looking again would show the same.
fn is_refused(status: Status) -> bool {
    matches!(status, Status::Malformed | Status::Limit)
}

fn outcome(
    namespaces: &[Namespace],
    lists: &[(Namespace, Result<DeviceList>)],
    reported: &[Namespace],
    ends: Vec<Error>,
) -> Outcome {
    let fetched = |namespace: Namespace| lists.iter().find(|(of, _)| *of == namespace).map(|(_, list)| list);
    let row = |(namespace, end): (&Namespace, Error)| {
        let error = match fetched(*namespace) {
            Some(Err(error)) => error.clone(),
            _ => end,
        };
        Row { jid: None, device: 0, namespace: Some(*namespace), error }
    };
    let rows: Vec<Row> = reported.iter().zip(ends).map(row).collect();
    // A publication that a limit delays was preceded by others: the account works.
    let works = |row: &Row| matches!(row.error.status(), Status::Ok | Status::PublishLimit);
    let served = rows.iter().take(namespaces.len()).any(works);
    let error = match rows.first() {
        Some(first) if !served => first.error.clone(),
        _ => Status::Ok.into(),
    };
    Outcome { rows, ..Outcome::bare(error) }
}

/// Where the list names this device, its bundle must be ours. What speaks against that in one namespace is its row, and
/// no reason to leave the others alone. Before anything is sent it is looked at everywhere, whatever the lists say. Returns
/// how much of it was seen.
async fn compare_bundles(
    context: &Context,
    lists: &mut [(Namespace, Result<DeviceList>)],
    again: &mut bool,
) -> Result<Sight> {
    let Some(device) = context.transact(|tx| tx.device_id())? else { return Ok(Sight::Whole) };
    let (first, mut sight) = (!context.memory(|memory| memory.compared)?, Sight::Whole);
    for (namespace, fetched) in lists {
        let listed = fetched.as_ref().ok().map(|list| device_list::ids(list).contains(&device.get()));
        if listed == Some(false) {
            // Who lost the list has lost the bundle, too, more often than not.
            context.transact(|tx| {
                tx.pre_keys_mut(*namespace)?.bundle_pending = true;
                let namespace = *namespace;
                tx.after(move |memory| memory.catch_up.release_bundle(namespace));
                Ok(())
            })?;
        }
        // Publishing looks at what stands there as well.
        if listed != Some(true) && !first {
            continue;
        }
        match own_bundle::check(context, *namespace, device).await {
            Err(error) if error.is_storage() => return Err(error),
            Err(error) if fetched.is_ok() => *fetched = Err(error),
            Err(_) => (),
            // Without an answer nobody knows what stands there: it is looked at again.
            Ok(()) => {
                if !context.memory(|memory| memory.verified_in.contains(*namespace))? {
                    (sight, *again) = (Sight::Partial, true);
                }
            }
        }
    }
    Ok(sight)
}
