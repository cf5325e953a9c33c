//! Taking another device of this account off its lists, with its bundles: one that was lost, sold or given up. It announces
//! itself again if it still runs; this device neither trusts nor distrusts it by that.

use super::super::api::event::OperationId;
use super::super::api::report::Outcome;
use super::super::engine::OperationKind;
use super::super::store::records::account::PurgeRecord;
use super::context::Context;
use super::purge_id;
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use std::sync::Arc;

/// See [`super::super::Manager::remove_own_device`].
pub(in crate::manager) fn remove_own_device(
    context: &Arc<Context>,
    operation: OperationId,
    device: DeviceId,
) -> Result<()> {
    context.need_stream()?;
    let namespaces = context.config.namespaces.clone();
    let purges: Vec<PurgeRecord> = namespaces
        .iter()
        .map(|namespace| PurgeRecord { foreign: true, ..PurgeRecord::of(*namespace, device) })
        .collect();
    let before = purge_id::count_failures(context, &purges)?;
    context.transact(|tx| {
        if tx.own_device()? == device {
            return Err(Error::new(Status::Argument, "This is the id of this device itself."));
        }
        purges.iter().try_for_each(|purge| tx.account_mut()?.add_purge(purge.clone()))?;
        tx.wake_worker();
        Ok(())
    })?;
    let shared = context.clone();
    context.engine.start(operation, OperationKind::EndsWithStream, async move {
        purge_id::wait(&shared, &purges, &before).await.unwrap_or_else(Outcome::bare)
    })
}
