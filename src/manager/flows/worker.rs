//! The background worker: which jobs are due, and what their failure means.

use super::super::api::event::{Notice, NoticeKind};
use super::super::api::services::LogLevel;
use super::super::engine::{Background, Jobs, Now};
use super::super::model::backoff::Delays;
use super::super::model::job::Job;
use super::super::model::standing::Standing;
use super::super::policy;
use super::super::store::transaction::Tx;
use super::announce::{self, Progress};
use super::context::Context;
use super::{answer, connect, own_keys, purge_id, repair, replace_sessions, rotation, session_expiry};
use crate::error::{Error, Result, Status};
use crate::protocol::namespace::Namespace;
use futures_util::future::{BoxFuture, Either, FutureExt, select};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

/// The jobs of one account. Does not keep the account alive.
struct AccountJobs(Weak<Context>);

/// Starts the worker.
pub(in crate::manager) fn start(context: &Arc<Context>) {
    let jobs = Arc::new(AccountJobs(Arc::downgrade(context)));
    let background = Background::start(context.engine.runtime(), policy::JOBS, jobs);
    // It is set once: a second one would never be started.
    let _ = context.background.set(background);
}

impl Jobs<Job> for AccountJobs {
    fn now(&self) -> Now {
        self.0.upgrade().map(|context| context.now()).unwrap_or_default()
    }

    fn due(&self, now: Now, busy: &BTreeSet<Job>, _room: usize) -> (Vec<Job>, Option<u64>) {
        let Some(context) = self.0.upgrade().filter(|context| context.is_online()) else {
            return (Vec::new(), None);
        };
        // A store that cannot be read now may be readable soon.
        let later = || (Vec::new(), Some(now.steady_ms.saturating_add(policy::STORE_RETRY_MS)));
        let look = |tx: &mut Tx<'_>| {
            // Time goes on whatever becomes of the keys.
            let _ = tx.savepoint(own_keys::key_time);
            // Whatever keeps a key from being replaced keeps nothing else from being done.
            let rotation_ms = tx.savepoint(rotation::rotate_due).unwrap_or_else(|error| {
                let line = format!("rotate signed pre keys: failed with {}", error.log_name());
                tx.log(LogLevel::Warn, &line);
                policy::RETRY_MAX_MS
            });
            let (jobs, next) = due(tx, busy)?;
            let rotation_at = tx.now.steady_ms.saturating_add(rotation_ms);
            Ok((jobs, next.into_iter().chain([rotation_at]).min()))
        };
        let Ok((jobs, next)) = context.transact(look) else { return later() };
        let expiry_at = session_expiry::go_on(&context).ok().flatten();
        (jobs, next.into_iter().chain(expiry_at).min())
    }

    fn perform(&self, job: Job) -> BoxFuture<'static, ()> {
        match self.0.upgrade() {
            Some(context) => perform(context, job).boxed(),
            None => std::future::ready(()).boxed(),
        }
    }

    fn panicked(&self, job: Job) {
        if let Some(context) = self.0.upgrade() {
            record_end(&context, &job, Err(Status::Internal.into()));
        }
    }
}

/// Returns the jobs that may begin now, and when the next one may.
fn due(tx: &mut Tx<'_>, busy: &BTreeSet<Job>) -> Result<(Vec<Job>, Option<u64>)> {
    answer::discard_old(tx)?;
    own_keys::discard_old(tx)?;
    let mut jobs = Vec::new();
    if tx.memory().reconcile_again {
        jobs.push(Job::Reconcile);
    }
    if tx.device_id()?.is_some() {
        for namespace in tx.config().namespaces.clone() {
            jobs.extend(announce::next_job(tx, namespace)?);
        }
        jobs.extend(purge_id::jobs(tx)?);
        jobs.extend(answer::jobs(tx)?);
    }
    jobs.extend(tx.memory().unsolicited.waiting().cloned());
    let (mut next, mut ready) = (None::<u64>, Vec::new());
    if let Some(left_ms) = tx.memory().catch_up.left_ms(tx.now.aged_ms) {
        let all = jobs.len();
        jobs.retain(|job| !job.waits_for_catch_up());
        let bundle_waits = tx.config().namespaces.iter().any(|namespace| {
            tx.memory().catch_up.holds_bundle(*namespace, tx.now.aged_ms)
                && tx.pre_keys(*namespace).is_ok_and(|store| store.bundle_pending)
        });
        if jobs.len() < all || bundle_waits {
            next = Some(tx.now.steady_ms.saturating_add(left_ms));
        }
    }
    let mut count = |standing: Standing| {
        busy.iter().filter(|job| job.jid().is_some_and(|jid| tx.standing(jid) == standing)).count()
    };
    let (mut of_known, mut of_strangers) = (count(Standing::Known), count(Standing::Stranger));
    for job in jobs {
        // What messages cause leaves half of the places to what the account itself needs, and strangers half of these to
        // known JIDs.
        let standing = job.jid().map(|jid| tx.standing(jid));
        let unsolicited = of_known.saturating_add(of_strangers);
        let crowded = match standing {
            None => false,
            Some(Standing::Known) => unsolicited >= policy::UNSOLICITED_JOBS,
            Some(Standing::Stranger) => {
                unsolicited >= policy::UNSOLICITED_JOBS || of_strangers >= policy::STRANGER_JOBS
            }
        };
        if busy.contains(&job) || crowded || conflicts(&job, busy) || conflicts(&job, &ready) {
            continue;
        }
        let delayed = tx.memory().delayed_until_ms.get(&job).copied().unwrap_or_default();
        let not_before = tx.memory().backoff.not_before(&job).max(delayed);
        if not_before <= tx.now.steady_ms {
            of_known = of_known.saturating_add((standing == Some(Standing::Known)).into());
            of_strangers = of_strangers.saturating_add((standing == Some(Standing::Stranger)).into());
            ready.push(job);
        } else {
            next = Some(next.map_or(not_before, |next| next.min(not_before)));
        }
    }
    Ok((ready, next))
}

/// Returns whether another job that runs would undo this one, or the other way round: two that write the same list, or a bundle.
fn conflicts<'a>(job: &Job, others: impl IntoIterator<Item = &'a Job>) -> bool {
    let of_one_kind = |one: &Job, other: &Job| match (one, other) {
        (Job::PurgeId(purged), Job::PublishList(published) | Job::PublishBundle(published)) => {
            purged == published
        }
        _ => false,
    };
    others.into_iter().any(|running| of_one_kind(job, running) || of_one_kind(running, job))
}

async fn perform(context: Arc<Context>, job: Job) {
    let stream = context.stream_down.generation();
    // A job is of one stream: what it has learnt may not hold in the next one.
    let ended = context.stream_down.changed(stream);
    let result = match select(perform_job(&context, &job).boxed(), ended).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => {
            // It goes on in the next stream; where the account is closed there is none.
            let _ = context.memory(|memory| memory.unsolicited.again(&job));
            return;
        }
    };
    record_end(&context, &job, result);
}

async fn perform_job(context: &Context, job: &Job) -> Result<Progress> {
    if job.jid().is_some() {
        context.memory(|memory| memory.unsolicited.begin(job))?;
    }
    match job {
        Job::Reconcile => reconcile(context).await,
        Job::PublishBundle(namespace) => announce::publish_bundle(context, *namespace).await,
        Job::PublishList(namespace) => announce::publish_list(context, *namespace).await,
        Job::PurgeId(namespace) => purge_id::purge_id(context, *namespace).await,
        Job::Send(id) => answer::send(context, *id).await,
        Job::FetchList(namespace, jid) => repair::fetch_list(context, *namespace, jid).await,
        Job::FetchBundle(at) => repair::fetch_bundle(context, at).await,
        Job::Repair(at) => repair::repair(context, at).await,
        Job::Heal(at) => replace_sessions::heal(context, at).await,
    }
}

/// Tries again what `connected` could not do.
async fn reconcile(context: &Context) -> Result<Progress> {
    let outcome = connect::reconcile(context, connect::Until::Compared).await?;
    match (context.memory(|memory| memory.reconcile_again)?, outcome.error) {
        (false, _) => Ok(Progress::Done),
        (true, error) if error.status() != Status::Ok => Err(error),
        (true, _) => Err(Status::DeviceListDownloadFailed.into()),
    }
}

/// Notes how a job ended.
fn record_end(context: &Context, job: &Job, result: Result<Progress>) {
    let (now_ms, publishes) = (context.now().steady_ms, namespace(job));
    let noted = context.memory(|memory| match &result {
        Ok(Progress::Done) => {
            memory.backoff.clear(job);
            memory.delayed_until_ms.remove(job);
        }
        Ok(Progress::Delayed(at)) => {
            memory.delayed_until_ms.insert(job.clone(), *at);
        }
        Err(error) => {
            let delays = if job.jid().is_some() { Delays::LOOK } else { Delays::RETRY };
            memory.backoff.fail(job, delays, now_ms);
            // What is not there is not asked for again within the hour.
            let not_there = error.status() == Status::BundleNotFound;
            if !not_there && memory.backoff.failures(job) < policy::UNSOLICITED_TRIES {
                memory.unsolicited.again(job);
            }
            if let Some(namespace) = publishes {
                memory.publish_failed(namespace, error);
            }
        }
    });
    if let (Ok(()), Err(error)) = (noted, result) {
        context.log(LogLevel::Info, &format!("{}: failed with {}", job.name(), error.status().name()));
        if let Some(namespace) = publishes {
            notify_failure(context, namespace, &error);
        }
    }
    context.progress.notify();
}

fn namespace(job: &Job) -> Option<Namespace> {
    match job {
        Job::PublishBundle(namespace) | Job::PublishList(namespace) | Job::PurgeId(namespace) => {
            Some(*namespace)
        }
        _ => None,
    }
}

fn notify_failure(context: &Context, namespace: Namespace, error: &Error) {
    let (kind, status) = (NoticeKind::PublishFailed, error.status());
    let notice = Notice { kind, namespace: Some(namespace), jid: None, device: 0, status };
    // Where the store cannot be read this fails, too, and the client hears of the next failure.
    let _ = context.transact(|tx| {
        tx.notify(notice);
        Ok(())
    });
}

/// Returns whether nothing is left to be done without new input: no operation, no open request, no job that is due now
/// or later in this stream.
pub(in crate::manager) fn is_idle(context: &Context) -> bool {
    let busy = BTreeSet::new();
    let idle = |context: &Context| {
        context.transact(|tx| due(tx, &busy)).is_ok_and(|(ready, next)| ready.is_empty() && next.is_none())
    };
    context.engine.is_idle()
        && context.background.get().is_none_or(|background| background.is_idle())
        && (!context.is_online() || idle(context))
}
