//! Trust: what levels amount to, judging keys, and accepting that a device shows another key.

use super::super::api::device::{CoreTrust, Device};
use super::super::api::request::Stamp;
use super::super::api::services::LogLevel;
use super::super::model::address::SessionAddress;
use super::super::model::contact::Contact;
use super::super::model::device::KnownDevice;
use super::super::model::standing::Standing;
use super::super::policy;
use super::super::store::transaction::Tx;
use super::bundle;
use super::context::Context;
use crate::crypto::convert;
use crate::crypto::identity::IdentityKey;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;

/// Returns a device as it is shown and judged; what its level amounts to is still to be asked.
pub(super) fn device_info(tx: &Tx<'_>, contact: &Contact, device: &KnownDevice) -> Device {
    let default = &tx.config().default_trust_level_name;
    Device {
        jid: contact.jid.clone(),
        id: device.id,
        identity_key: device.identity.key().map(|key| *key.ed()),
        trust_level_name: contact.level_of(&device.identity, default).to_owned(),
        core_trust: CoreTrust::Undecided,
        provisional: device.identity.is_provisional(),
        active: device.active.iter().collect(),
        conflicting_key: device.identity.conflict().map(|conflict| conflict.ed),
        preferred: device.preferred,
        downgraded: device.downgraded,
        label: device.label.clone(),
        sessions: Vec::new(),
    }
}

/// Returns what a device's level amounts to: a provisional key is at most undecided.
pub(super) fn evaluate(tx: &Tx<'_>, device: &Device) -> Result<CoreTrust> {
    let trust = match tx.services().trust_policy() {
        Some(policy) => {
            policy.core_trust(&device.trust_level_name).ok_or(Error::from(Status::UnknownTrustLevel))?
        }
        None => tx.services().evaluate_trust(device)?,
    };
    #[cfg(omemo_planted)]
    if crate::planted::is_planted("provisional-key-trusted") {
        return Ok(trust);
    }
    Ok(match (device.provisional, trust) {
        (true, CoreTrust::Trusted) => CoreTrust::Undecided,
        (_, trust) => trust,
    })
}

/// The same where a level that is not known cannot be reported: nobody has decided.
pub(super) fn evaluate_or_undecided(tx: &Tx<'_>, device: &Device) -> CoreTrust {
    evaluate(tx, device).unwrap_or_else(|_| {
        tx.log(LogLevel::Warn, "trust: a trust level could not be evaluated and counts as undecided");
        CoreTrust::Undecided
    })
}

/// Returns whether the client distrusts the key of a device.
pub(super) fn is_distrusted(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<bool> {
    let contact = tx.contact(&at.jid)?;
    let Some(device) = contact.device(at.device) else { return Ok(false) };
    let info = device_info(tx, &contact, device);
    Ok(info.identity_key.is_some() && evaluate_or_undecided(tx, &info) == CoreTrust::Distrusted)
}

/// Checks a level's name: its length, and that the client knows it.
pub(in crate::manager) fn check_level(tx: &Tx<'_>, level: &str) -> Result<()> {
    if !policy::LEVEL_NAME.contains(&level.len()) {
        return Err(Error::new(
            Status::Argument,
            "The name of a trust level is empty or longer than 256 bytes.",
        ));
    }
    let mut probe = device_info(tx, &Contact::new(&tx.config().jid), &KnownDevice::default());
    level.clone_into(&mut probe.trust_level_name);
    evaluate(tx, &probe).map(|_| ())
}

fn set_level(
    tx: &mut Tx<'_>,
    jid: &BareJid,
    identity: &IdentityKey,
    level: &str,
    stamp: Stamp,
) -> Result<()> {
    let subject = (jid.clone(), *identity.mont());
    if tx.memory().level_stamps.is_outdated(&subject, stamp) {
        return Ok(());
    }
    let contact = tx.contact_mut(jid)?;
    contact.standing = Standing::Known;
    contact.trust.set(identity.mont(), level)?;
    tx.after(move |memory| memory.level_stamps.remember(Standing::Known, subject, stamp));
    Ok(())
}

/// Judges a key of a JID.
pub(in crate::manager) fn set_trust(
    context: &Context,
    jid: &BareJid,
    key: &[u8; 32],
    level: &str,
    stamp: Stamp,
) -> Result<()> {
    context.transact(|tx| {
        check_level(tx, level)?;
        let bad = |_| Error::new(Status::Argument, "This is not an identity key.");
        let identity = IdentityKey::from_ed(key).map_err(bad)?;
        set_level(tx, jid, &identity, level, stamp)?;
        tx.log(LogLevel::Info, "trust: set the trust level of a key");
        Ok(())
    })
}

/// Applies the decisions of an answered request, each unless something newer was said about its key.
pub(super) fn apply_decisions(
    context: &Context,
    decisions: &[(BareJid, [u8; 32], String, Stamp)],
) -> Result<()> {
    context.transact(|tx| {
        for (jid, key, level, stamp) in decisions {
            let identity = IdentityKey::from_ed(key)?;
            set_level(tx, jid, &identity, level, *stamp)?;
        }
        Ok(())
    })
}

/// Accepts that a device shows this key now. Its sessions with the other key are given up and not read any more, and
/// nobody has judged the new key yet.
pub(in crate::manager) fn accept_identity(
    context: &Context,
    jid: &BareJid,
    device: DeviceId,
    key: &[u8; 32],
    stamp: Stamp,
) -> Result<()> {
    context.transact(|tx| {
        let contact = tx.contact(jid)?;
        let known = contact.device(device).ok_or(Error::from(Status::NotFound))?;
        let none = || Error::new(Status::NotFound, "The device shows no other key.");
        let shown = convert::ed_to_mont(&known.identity.conflict().ok_or_else(none)?.ed);
        // The sign of the key that was looked at may be the other one: it is the same key.
        if shown.is_none() || convert::ed_to_mont(key) != shown {
            return Err(Status::IdentityChanged.into());
        }
        let default = tx.config().default_trust_level_name.clone();
        let contact = tx.contact_mut(jid)?;
        contact.standing = Standing::Known;
        let known = contact.device_mut(device).ok_or(Error::from(Status::NotFound))?;
        let accepted = known.identity.accept().ok_or(Error::from(Status::Internal))?;
        // A key that was judged elsewhere keeps its level only if it is on another device.
        let on_another = |other: &KnownDevice| {
            other.id != device.get() && other.identity.key().is_some_and(|key| key.is(accepted.mont()))
        };
        if !contact.devices.iter().any(on_another) && contact.trust.get(accepted.mont()).is_some() {
            contact.trust.set(accepted.mont(), &default)?;
            let subject = (jid.clone(), *accepted.mont());
            tx.after(move |memory| memory.level_stamps.remember(Standing::Known, subject, stamp));
        }
        for namespace in Namespace::ALL {
            let at = SessionAddress { jid: jid.clone(), device, namespace };
            bundle::retire(tx, &at)?;
            tx.after(move |memory| {
                memory.bundles.clear(&at);
                memory.key_stamps.remember(Standing::Known, at, stamp);
            });
        }
        tx.log(LogLevel::Info, "trust: accepted the conflicting key of a device");
        Ok(())
    })
}
