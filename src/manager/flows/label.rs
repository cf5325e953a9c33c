//! This device's label: signed once, stored with the account, and from then on a part of what ought to stand on this
//! account's list (`announce`), whatever the server or other clients make of it.

use super::super::api::event::OperationId;
use super::super::api::report::Outcome;
use super::super::api::services::LogLevel;
use super::super::engine::OperationKind;
use super::announce;
use super::context::Context;
use crate::error::{Error, Result, Status};
use crate::protocol::label::SignedLabel;
use crate::protocol::namespace::Namespace;
use std::sync::Arc;

/// See [`super::super::Manager::set_label`].
pub(in crate::manager) fn set_label(
    context: &Arc<Context>,
    operation: OperationId,
    label: Option<&str>,
) -> Result<()> {
    let namespaces: Vec<Namespace> =
        context.config.namespaces.iter().copied().filter(|namespace| namespace.has_labels()).collect();
    if label.is_some() && namespaces.is_empty() {
        return Err(Error::new(Status::Label, "No namespace of this account can transmit a label."));
    }
    context.transact(|tx| {
        // Signed anew the same label would be published anew.
        if tx.account()?.signed_label().as_ref().map(|known| known.text.as_str()) == label {
            return Ok(());
        }
        let (identity, rng) = tx.identity_and_rng()?;
        let signed = label.map(|label| SignedLabel::sign(identity, label, rng)).transpose()?;
        tx.account_mut()?.set_label(signed);
        tx.log(LogLevel::Info, "account: set the label of this device");
        tx.wake_worker();
        Ok(())
    })?;
    let shared = context.clone();
    context.engine.start(operation, OperationKind::EndsWithStream, async move {
        published(&shared, &namespaces).await.unwrap_or_else(Outcome::bare)
    })
}

/// Waits until the lists that carry the label are published.
async fn published(context: &Context, namespaces: &[Namespace]) -> Result<Outcome> {
    if !context.is_online() {
        return Err(Error::new(Status::Offline, "The label is set; it is published after the next login."));
    }
    if context.transact(|tx| tx.device_id())?.is_none() {
        return Err(Error::new(Status::NotReady, "The label is set; it is published with the device id."));
    }
    let before = announce::count_failures(context, namespaces)?;
    announce::wait_and_report(context, namespaces, &before).await
}
