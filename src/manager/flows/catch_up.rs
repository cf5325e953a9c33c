//! Reading messages that waited on the server: answers and repairs wait until all are read, so that each device gets one
//! answer instead of one for each message, and used pre keys are kept.

use super::super::api::report::{Outcome, Row};
use super::super::model::job::Job;
use super::super::store::transaction::Tx;
use super::announce;
use super::context::Context;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use std::sync::Arc;

/// Messages that waited on the server are going to be read.
pub(in crate::manager) fn begin(context: &Context) -> Result<()> {
    let now_ms = context.now().aged_ms;
    context.memory(|memory| memory.catch_up.begin(now_ms))
}

/// Where no catch-up goes on any more, bundles without the used pre keys have to be published, so that these can be deleted.
pub(super) fn release_used_pre_keys(tx: &mut Tx<'_>) -> Result<()> {
    if tx.memory().catch_up.is_going_on(tx.now.aged_ms) {
        return Ok(());
    }
    for namespace in tx.config().namespaces.clone() {
        let store = tx.pre_keys(namespace)?;
        if store.has_used() && !store.bundle_pending {
            tx.pre_keys_mut(namespace)?.bundle_pending = true;
        }
    }
    tx.wake_worker();
    Ok(())
}

/// An answer that waits to be sent.
struct Waiting {
    id: u64,
    row: (BareJid, u32, Namespace),
    /// How often sending it had failed before.
    failures: u32,
}

/// See [`super::super::Manager::catch_up_end`].
pub(in crate::manager) async fn end(context: Arc<Context>) -> Outcome {
    match send_all(&context).await {
        Ok(rows) => {
            let failed = rows.iter().map(|row| &row.error).find(|error| error.status() != Status::Ok);
            let error = failed.cloned().unwrap_or_else(|| Status::Ok.into());
            Outcome { rows, ..Outcome::bare(error) }
        }
        Err(error) => Outcome::bare(error),
    }
}

/// Waits until each answer was sent or could not be sent, and each bundle was published or could not be published.
async fn send_all(context: &Context) -> Result<Vec<Row>> {
    let (namespaces, before) = announce::begin_report(context)?;
    let waiting = context.transact(|tx| {
        release_used_pre_keys(tx)?;
        tx.wake_worker();
        let entries: Vec<_> = tx.outbox()?.iter().map(|entry| (entry.id, entry.at.clone())).collect();
        let backoff = &tx.memory().backoff;
        Ok(entries
            .into_iter()
            .map(|(id, at)| Waiting {
                id,
                failures: backoff.failures(&Job::Send(id)),
                row: (at.jid, at.device.get(), at.namespace),
            })
            .collect::<Vec<_>>())
    })?;
    let mut rows = Vec::new();
    for answer in waiting {
        let error = sent(context, &answer).await?;
        let (jid, device, namespace) = answer.row;
        rows.push(Row { jid: Some(jid), device, namespace: Some(namespace), error });
    }
    let ends = announce::wait(context, &namespaces, &before).await?;
    let row = |(namespace, error): (&Namespace, Error)| Row {
        jid: None,
        device: 0,
        namespace: Some(*namespace),
        error,
    };
    rows.extend(namespaces.iter().zip(ends).map(row));
    Ok(rows)
}

/// Waits until an answer was sent, or sending it has failed once more.
async fn sent(context: &Context, answer: &Waiting) -> Result<Error> {
    loop {
        let seen = context.progress.generation();
        let end = context.transact(|tx| {
            let waits = tx.outbox()?.get(answer.id).is_some();
            let failed = tx.memory().backoff.failures(&Job::Send(answer.id)) > answer.failures;
            // Where the next catch-up has begun it waits for the end of that one.
            let held = tx.memory().catch_up.is_going_on(tx.now.aged_ms);
            Ok(match (waits, failed || held) {
                (false, _) => Some(Status::Ok),
                (true, true) => Some(Status::MessageSendingFailed),
                (true, false) => None,
            })
        })?;
        if let Some(end) = end {
            return Ok(end.into());
        }
        context.progress.changed(seen).await;
    }
}
