//! Becoming a new device: another identity key, other pre keys, another device id. What peers and other devices know of the
//! old one is purged from the server; trust in others is kept.

use super::super::api::event::OperationId;
use super::super::api::report::Outcome;
use super::super::api::services::LogLevel;
use super::super::engine::OperationKind;
use super::super::model::pre_keys::PreKeyStore;
use super::super::store::records::account::PurgeRecord;
use super::super::store::removal;
use super::super::store::transaction::Tx;
use super::context::Context;
use super::{announce, own_keys};
use crate::crypto::identity::IdentityKeyPair;
use crate::error::{Error, Result, Status};
use crate::protocol::label::SignedLabel;
use std::collections::BTreeSet;
use std::sync::Arc;

/// See [`super::super::Manager::reset_identity`].
pub(in crate::manager) fn reset_identity(context: &Arc<Context>, operation: OperationId) -> Result<()> {
    context.transact(reset)?;
    let shared = context.clone();
    context.engine.start(operation, OperationKind::EndsWithStream, async move {
        published(&shared).await.unwrap_or_else(Outcome::bare)
    })
}

fn reset(tx: &mut Tx<'_>) -> Result<()> {
    let (old_device, old_identity) = (tx.own_device()?, *tx.identity()?.public().mont());
    let (own, namespaces) = (tx.config().jid.clone(), tx.config().namespaces.clone());
    let mut taken: BTreeSet<u32> = tx.contact(&own)?.devices.iter().map(|device| device.id).collect();
    taken.insert(old_device.get());
    // A peer knows the old sessions by the old id and key: nothing can come on them any more.
    removal::remove_all_sessions(tx)?;
    let accumulated_ms = tx.accumulated_ms()?;
    let account = tx.account_mut()?;
    account.retire_sessions(accumulated_ms);
    account.add_former_identity(&old_identity);
    for purge in account.purges.iter_mut().filter(|purge| !purge.foreign && purge.identity.is_empty()) {
        purge.identity = old_identity.to_vec();
    }
    for namespace in &namespaces {
        let identity = old_identity.to_vec();
        account.add_purge(PurgeRecord { identity, ..PurgeRecord::of(*namespace, old_device) })?;
    }
    // Whoever has the old key is not this device any more.
    tx.contact_mut(&own)?.trust.remove(&old_identity);
    let identity = Box::new(IdentityKeyPair::generate(tx.rng())?);
    tx.put_identity(identity)?;
    for namespace in &namespaces {
        let now = own_keys::key_time(tx)?;
        let signed = own_keys::make_signed_pre_key(tx, *namespace, now)?;
        tx.put_pre_keys(*namespace, Some(PreKeyStore::new(signed)));
        own_keys::top_up(tx, *namespace)?;
    }
    if let Some(label) = tx.account()?.signed_label() {
        let (identity, rng) = tx.identity_and_rng()?;
        let label = SignedLabel::sign(identity, &label.text, rng)?;
        tx.account_mut()?.set_label(Some(label));
    }
    own_keys::choose_device_id(tx, &taken)?;
    tx.log(LogLevel::Info, "account: created a new identity");
    Ok(())
}

/// Waits until the new device is published in all namespaces.
async fn published(context: &Context) -> Result<Outcome> {
    if !context.is_online() {
        return Err(Error::new(
            Status::Offline,
            "The identity is new; it is published after the next login.",
        ));
    }
    let namespaces = context.config.namespaces.clone();
    let before = announce::count_failures(context, &namespaces)?;
    announce::wait_and_report(context, &namespaces, &before).await
}
