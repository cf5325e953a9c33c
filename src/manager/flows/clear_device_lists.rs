//! Clearing this account's lists: what stands there goes, whoever wrote it, and this device is put on again. Devices that
//! still run announce themselves when they see it. The way out where a list cannot be understood, or names the dead.

use super::super::api::event::OperationId;
use super::super::api::report::Outcome;
use super::super::engine::OperationKind;
use super::announce;
use super::context::Context;
use crate::error::Result;
use std::sync::Arc;

/// See [`super::super::Manager::clear_device_lists`].
pub(in crate::manager) fn clear_device_lists(context: &Arc<Context>, operation: OperationId) -> Result<()> {
    context.need_stream()?;
    context.transact(|tx| tx.own_device())?;
    let namespaces = context.config.namespaces.clone();
    let before = announce::count_failures(context, &namespaces)?;
    context
        .memory(|memory| namespaces.iter().for_each(|namespace| memory.lists_to_clear.insert(*namespace)))?;
    context.wake_worker();
    let shared = context.clone();
    context.engine.start(operation, OperationKind::EndsWithStream, async move {
        announce::wait_and_report(&shared, &namespaces, &before).await.unwrap_or_else(Outcome::bare)
    })
}
