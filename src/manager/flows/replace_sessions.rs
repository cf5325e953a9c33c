//! Replacing sessions: with devices whose messages cannot be decrypted, or that cannot decrypt ours. The old session is
//! retired, so that it still decrypts what was on its way, and the new one begins with an empty message.
//!
//! One commit for each device, in which the message is queued as well: after a crash either nothing has happened, or the
//! message is still to be sent.

use super::super::api::report::{Outcome, Row};
use super::super::config::Healing;
use super::super::engine::Class;
use super::super::model::address::SessionAddress;
use super::super::model::fact::Fetched;
use super::super::model::job::Job;
use super::super::policy;
use super::super::store::sessions::Sessions;
use super::super::store::transaction::Tx;
use super::announce::Progress;
use super::context::Context;
use super::{answer, bundle, repair, trust};
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use futures_util::future::join_all;
use std::sync::Arc;

/// The sessions that a call names.
#[derive(Clone, Debug)]
pub(in crate::manager) enum Scope {
    /// Those with all JIDs that the client has named, and with this account's other devices.
    All,
    /// Those with all devices of a JID.
    Jid(BareJid),
    /// Those with one device.
    Device(BareJid, DeviceId),
}

/// See [`super::super::Manager::replace_sessions`].
pub(in crate::manager) async fn replace_sessions(context: Arc<Context>, scope: Scope) -> Outcome {
    let jids = match &scope {
        Scope::All => context.transact(|tx| {
            // Also those that get no new one here: with strangers, and with devices that are not announced. In a store that is
            // an older copy they would use keys again.
            let accumulated_ms = tx.accumulated_ms()?;
            tx.account_mut()?.retire_sessions(accumulated_ms);
            tx.known_jids()
        }),
        Scope::Jid(jid) | Scope::Device(jid, _) => Ok(vec![jid.clone()]),
    };
    let jids = match jids {
        Ok(jids) => jids,
        Err(error) => return Outcome::bare(error),
    };
    let (mut rows, mut addresses) = (Vec::new(), Vec::new());
    for jid in jids {
        match context.transact(|tx| addresses_of(tx, &jid, &scope)) {
            Ok(found) => addresses.extend(found),
            // One record that cannot be read keeps no other session from being replaced.
            Err(error) if matches!(error.status(), Status::StorageCorrupt | Status::NotFound) => {
                let device = if let Scope::Device(_, device) = scope { device.get() } else { 0 };
                rows.push(Row { jid: Some(jid), device, namespace: None, error });
            }
            Err(error) => return Outcome::bare(error),
        }
    }
    let cause = if matches!(scope, Scope::Device(..)) { Cause::Named } else { Cause::Listed };
    let replacements = addresses.iter().map(|at| replace(&context, at, Class::Foreground, cause));
    let mut storage = None;
    for (at, replaced) in addresses.iter().zip(join_all(replacements).await) {
        let error = replaced.err().unwrap_or_else(|| Status::Ok.into());
        if error.is_storage() && error.status() != Status::StorageCorrupt {
            storage.get_or_insert_with(|| error.clone());
        }
        let (jid, device) = (Some(at.jid.clone()), at.device.get());
        rows.push(Row { jid, device, namespace: Some(at.namespace), error });
    }
    let none = !rows.iter().any(|row| row.error.status() == Status::Ok);
    let error = rows.first().filter(|_| none).map_or(Status::Ok.into(), |row| row.error.clone());
    let error = storage.unwrap_or(error);
    Outcome { rows, ..Outcome::bare(error) }
}

/// Returns where a JID has sessions that a call names: those of devices that are announced, and of one that is named
/// whatever is announced. If that one has no session, it gets one in the namespace that serves it.
fn addresses_of(tx: &mut Tx<'_>, jid: &BareJid, scope: &Scope) -> Result<Vec<SessionAddress>> {
    let this = tx.device_id()?.filter(|_| tx.is_own(jid));
    let contact = tx.contact(jid)?;
    let named = |id: DeviceId| match scope {
        Scope::Device(_, device) => *device == id,
        Scope::All | Scope::Jid(_) => true,
    };
    let mut addresses = Vec::new();
    let mut known = false;
    for device in &contact.devices {
        let Some(id) = DeviceId::new(device.id).filter(|id| Some(*id) != this && named(*id)) else {
            continue;
        };
        known = true;
        let alone = matches!(scope, Scope::Device(..));
        for namespace in tx.config().namespaces.clone() {
            let at = SessionAddress { jid: jid.clone(), device: id, namespace };
            if (alone || device.is_active(namespace)) && has_session(tx, &at)? {
                addresses.push(at);
            }
        }
        if alone && addresses.is_empty() {
            let namespace = device.delivery_namespace(&tx.config().namespaces);
            let namespace = namespace.ok_or(Error::new(Status::NotFound, "The device is not announced."))?;
            addresses.push(SessionAddress { jid: jid.clone(), device: id, namespace });
        }
    }
    if !known && !matches!(scope, Scope::All) {
        return Err(Error::new(Status::NotFound, "No such device is known."));
    }
    Ok(addresses)
}

/// Returns whether there is a current session with a device, or a record that cannot be read in its place.
fn has_session(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<bool> {
    match Sessions::new(tx, at).has_current() {
        Err(error) if error.status() == Status::StorageCorrupt => Ok(true),
        found => found,
    }
}

/// Why a session is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The client asks for this device.
    Named,
    /// The client asks for all that are announced.
    Listed,
    /// Its messages cannot be decrypted, and the client leaves this to the library.
    Healing,
}

/// Replaces the session with one device.
async fn replace(context: &Context, at: &SessionAddress, class: Class, cause: Cause) -> Result<()> {
    if context.transact(|tx| trust::is_distrusted(tx, at))? {
        return Err(Status::Distrusted.into());
    }
    let fetched = match bundle::fetch(context, at, class).await? {
        Fetched::Usable(fetched) => fetched,
        Fetched::Failed(error) => return Err(error),
        Fetched::Outdated => {
            let why = "Something newer was said about the device's key meanwhile.";
            return Err(Error::new(Status::BundleDownloadFailed, why));
        }
    };
    context.transact(|tx| {
        if trust::is_distrusted(tx, at)? {
            return Err(Status::Distrusted.into());
        }
        let known = tx.contact(&at.jid)?.device(at.device).cloned();
        let known = known.ok_or(Error::from(Status::NotFound))?;
        if let Some(status) = known.blocks_sending(at.namespace) {
            return Err(status.into());
        }
        if !known.identity.key().is_some_and(|key| key.is(fetched.verified.identity().mont())) {
            return Err(Status::IdentityChanged.into());
        }
        if cause != Cause::Named && !known.is_active(at.namespace) {
            return Err(Error::new(Status::NotFound, "The device has left its list meanwhile."));
        }
        if cause == Cause::Healing {
            if !is_healing_due(tx, at)? {
                return Ok(());
            }
            let wall_ms = tx.now.wall_ms;
            let device = tx.contact_mut(&at.jid)?.device_mut(at.device);
            device.ok_or(Error::from(Status::Internal))?.healed_ms = wall_ms;
        }
        // What cannot be read will never decrypt anything.
        Sessions::new(tx, at).remove_unreadable()?;
        Sessions::new(tx, at).retire_all()?;
        answer::begin_session(tx, at, &fetched.verified)
    })
}

// -- By itself --

/// Notes that a session is to be replaced, where the client leaves that to the library and it is time. `failed` counts the
/// messages that were sent just now and could not be decrypted.
pub(super) fn suggest_healing(tx: &mut Tx<'_>, at: &SessionAddress, failed: usize) -> Result<()> {
    if tx.config().healing == Healing::Automatic && may_heal(tx, at, failed)? {
        repair::suggest_job(tx, Job::Heal(at.clone()))?;
    }
    Ok(())
}

/// Returns whether a session may be replaced by itself: enough messages that were sent just now could not be decrypted, the
/// device is listed and not distrusted, and it was not done within a day.
fn may_heal(tx: &mut Tx<'_>, at: &SessionAddress, failed: usize) -> Result<bool> {
    let contact = tx.contact(&at.jid)?;
    let Some(device) = contact.device(at.device) else { return Ok(false) };
    let since_ms = tx.now.wall_ms.saturating_sub(device.healed_ms);
    // A clock that was put back must not forbid it for years.
    let lately = device.healed_ms != 0 && (0..policy::HEAL_AGAIN_MS).contains(&since_ms);
    let settling = Sessions::new(tx, at).is_settling()?;
    Ok(!lately
        && !settling
        && device.is_active(at.namespace)
        && failed >= policy::HEAL_AFTER_MESSAGES
        && !trust::is_distrusted(tx, at)?)
}

fn is_healing_due(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<bool> {
    let failed = tx.memory().failed_messages.live(at);
    may_heal(tx, at, failed)
}

/// Replaces a session by itself.
pub(super) async fn heal(context: &Context, at: &SessionAddress) -> Result<Progress> {
    if !context.transact(|tx| is_healing_due(tx, at))? {
        // What was the reason is gone: it may come back.
        context.memory(|memory| memory.unsolicited.forget(&Job::Heal(at.clone())))?;
        return Ok(Progress::Done);
    }
    match replace(context, at, repair::class(context, &at.jid)?, Cause::Healing).await {
        // The client has judged it meanwhile, or is told why nothing is sent to it.
        Err(error) if is_settled(error.status()) => Ok(Progress::Done),
        replaced => replaced.map(|()| Progress::Done),
    }
}

/// Whether trying again would not help.
fn is_settled(status: Status) -> bool {
    matches!(
        status,
        Status::Distrusted | Status::IdentityChanged | Status::IdentityMismatch | Status::NotFound
    )
}
