//! Encryption: gather what is missing, then one commit for all devices.
//!
//! Gathering (lists, bundles, trust) may take days and touches no ratchet. The commit reads everything again, begins the
//! sessions that are missing from the bundles that were gathered, and hands the messages out only when it is durable. A
//! message that needs nothing is not looked at before: its commit is tried at once, and ends without a trace where
//! something turns out to be needed.

mod commit;
mod gather;
mod needed;
mod plan;

use super::super::api::draft::{Draft, EncryptPolicy};
use super::super::api::event::{Notice, NoticeKind, OperationId};
use super::super::api::report::Outcome;
use super::super::engine::{OperationKind, Ticket};
use super::super::policy;
use super::context::Context;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use needed::Gathered;
use plan::EncryptRequest;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Starts an encryption. What fails here has never begun.
pub(in crate::manager) fn start(context: &Arc<Context>, operation: OperationId, draft: Draft) -> Result<()> {
    plan::check(context, &draft)?;
    let request = EncryptRequest::new(&context.config, draft);
    let overtakes = request.draft.policy == EncryptPolicy::Now;
    let ready = context.is_online() && context.memory(|memory| memory.compared)?;
    let waits = (!overtakes && !ready).then(|| Waiting::begin(context)).transpose()?;
    let ticket = context.order.enqueue((!overtakes).then(|| request.recipients.clone()));
    let shared = context.clone();
    context.engine.start(operation, OperationKind::SurvivesStream, async move {
        let outcome = run(&shared, &request, &ticket, waits).await.unwrap_or_else(Outcome::bare);
        Outcome { context: request.draft.context.clone(), ..outcome }
    })
}

/// One encryption that waits for a stream.
struct Waiting(Arc<Context>);

impl Waiting {
    fn begin(context: &Arc<Context>) -> Result<Waiting> {
        let before = context.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(context.clone());
        if before < policy::WAITING_ENCRYPTIONS {
            Ok(waiting)
        } else {
            Err(Error::new(Status::Limit, "Too many encryptions wait for a stream."))
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until the stream is up.
async fn wait_for_stream(context: &Context) {
    loop {
        let seen = context.stream_up.generation();
        if context.is_online() {
            return;
        }
        context.stream_up.changed(seen).await;
    }
}

async fn run(
    context: &Context,
    request: &EncryptRequest,
    ticket: &Ticket,
    mut waiting: Option<Waiting>,
) -> Result<Outcome> {
    let mut gathered = Gathered::default();
    if request.draft.policy == EncryptPolicy::Now {
        let compared = context.memory(|memory| memory.compared)?;
        #[cfg(omemo_planted)]
        let compared = compared || crate::planted::is_planted("sent-before-comparison");
        if !compared {
            return Err(Error::new(
                Status::Offline,
                "Nothing is encrypted before this device was compared with the server, in the first login of a manager.",
            ));
        }
        return commit(context, request, &gathered);
    }
    wait_for_stream(context).await;
    wait_until_compared(context).await?;
    drop(waiting.take());
    // Most messages need nothing and wait for nobody: their devices are gone through once.
    if ticket.is_first()
        && let Some(outcome) = commit::commit_if_complete(context, request)?
    {
        return Ok(outcome);
    }
    for rounds_left in (0..policy::GATHER_ROUNDS).rev() {
        wait_for_stream(context).await;
        let complete = gather::gather(context, request, &mut gathered).await;
        ticket.wait().await; // a failure keeps to the order, too
        if let Err(error) = complete {
            return Ok(Outcome { rows: gathered.prompted, ..Outcome::bare(error) });
        }
        // It may have waited for long: what has changed since is gathered again. What failed in the last round is a row.
        if rounds_left > 0 {
            gather::forget_old_failures(context, &mut gathered)?;
        }
        if context.transact(|tx| needed::needed(tx, request, &gathered))?.is_empty() {
            break;
        }
    }
    gather::renew_bundles(context, request, &mut gathered).await?;
    commit(context, request, &gathered)
}

/// Waits until it is known that the store is no older copy, as far as that can be known.
async fn wait_until_compared(context: &Context) -> Result<()> {
    loop {
        let seen = context.progress.generation();
        if context.memory(|memory| memory.compared)? {
            return Ok(());
        }
        context.progress.changed(seen).await;
    }
}

/// Encrypts for everybody who can be served, and tells whose keys are left out although the user was not asked.
fn commit(context: &Context, request: &EncryptRequest, gathered: &Gathered) -> Result<Outcome> {
    let outcome = commit::commit(context, request, gathered)?;
    let undecided = outcome.rows.iter().filter(|row| row.error.status() == Status::Undecided);
    let mut jids: BTreeSet<BareJid> = undecided.filter_map(|row| row.jid.clone()).collect();
    jids.retain(|jid| !gathered.asked.iter().any(|(asked, _)| asked == jid));
    if !jids.is_empty() {
        let notice = |jid| Notice {
            kind: NoticeKind::Undecided,
            namespace: None,
            jid: Some(jid),
            device: 0,
            status: Status::Ok,
        };
        // A commit that failed has dropped its own notices. Where the store fails now the rows say the same.
        let _ = context.transact(|tx| {
            jids.into_iter().for_each(|jid| tx.notify(notice(jid)));
            Ok(())
        });
    }
    Ok(outcome)
}
