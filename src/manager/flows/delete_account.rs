//! Deleting the account here: this device is taken off the lists, its bundles are deleted, and then the store is emptied.
//! What fails on the server leaves everything as it was: the device announces itself again.

use super::super::api::event::OperationId;
use super::super::api::report::Outcome;
use super::super::api::services::LogLevel;
use super::super::engine::OperationKind;
use super::super::model::memory::Memory;
use super::super::store::records::account::PurgeRecord;
use super::super::store::removal;
use super::context::Context;
use super::purge_id;
use crate::error::{Error, Result, Status};
use std::sync::Arc;

/// See [`super::super::Manager::delete_account`].
pub(in crate::manager) fn delete_account(context: &Arc<Context>, operation: OperationId) -> Result<()> {
    context.need_stream()?;
    // One that was cancelled goes on until its task is dropped, in the next run.
    if !context.memory(|memory| *memory.deleting_account.get_or_insert(operation) == operation)? {
        return Err(Error::new(Status::Pending, "The account is being deleted already."));
    }
    let leaving = Leaving(context.clone(), operation);
    let purges = context.transact(|tx| {
        let served = tx.config().namespaces.clone();
        if let Some(device) = tx.device_id()? {
            for namespace in served {
                tx.account_mut()?.add_purge(PurgeRecord::of(namespace, device))?;
            }
        }
        tx.wake_worker();
        Ok(tx.account()?.purges.clone())
    })?;
    context.engine.start(operation, OperationKind::EndsWithStream, async move {
        delete(leaving, &purges).await.unwrap_or_else(Outcome::bare)
    })
}

async fn delete(leaving: Leaving, purges: &[PurgeRecord]) -> Result<Outcome> {
    let (context, operation) = (leaving.0.clone(), leaving.1);
    let before = purge_id::count_failures(&context, purges)?;
    let outcome = purge_id::wait(&context, purges, &before).await?;
    if outcome.status() != Status::Ok {
        return Ok(outcome);
    }
    match context.transact(removal::remove_account) {
        // A commit that is said to have failed may have happened: then the account is gone.
        Err(error) if error.is_storage() => {
            let gone = context.transact(|_| Ok(())).is_err_and(|error| error.status() == Status::Cancelled);
            if !gone {
                return Err(error);
            }
        }
        removed => removed?,
    }
    context.log(LogLevel::Info, "account: deleted");
    // From here on nothing may make a new account in the empty store.
    context.close();
    context.engine.shut_by(operation);
    if let Some(background) = context.background.get() {
        background.stop();
    }
    Ok(outcome)
}

/// The account is being deleted. When this is dropped before the store is empty, however that came about, the device is
/// announced as before.
struct Leaving(Arc<Context>, OperationId);

impl Drop for Leaving {
    fn drop(&mut self) {
        // Where the account is gone there is nothing to be announced.
        let mine = |memory: &mut Memory| {
            memory.deleting_account == Some(self.1) && memory.deleting_account.take().is_some()
        };
        if !self.0.memory(mine).unwrap_or(false) {
            return;
        }
        // If this cannot be stored, the id is not purged all the same: it is in use, and nobody leaves.
        let _ = self.0.transact(|tx| {
            let Some(device) = tx.device_id()? else { return Ok(()) };
            for namespace in tx.config().namespaces.clone() {
                // Its bundle may be gone, whatever was answered.
                tx.pre_keys_mut(namespace)?.bundle_pending = true;
                let purge = PurgeRecord::of(namespace, device);
                tx.account_mut()?.purges.retain(|other| !other.is_same(&purge));
            }
            tx.wake_worker();
            Ok(())
        });
    }
}
