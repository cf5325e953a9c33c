//! What a trust policy does for an encryption: it decides about undecided keys in place of the user.
//!
//! Until the commit a verdict is only looked up, so that nothing is trusted for a message that is never encrypted. The
//! commit stores the verdicts about all keys of a JID at once: each is judged by what was known before the message.

use super::super::api::device::{CoreTrust, Device};
use super::super::api::event::{Notice, NoticeKind};
use super::super::api::services::LogLevel;
use super::super::api::trust_policy::{TrustPolicy, Verdict};
use super::super::model::contact::Contact;
use super::super::model::device::KnownDevice;
use super::super::model::identity::{DeviceKey, Identity};
use super::super::model::namespaces::NamespaceSet;
use super::super::model::standing::Standing;
use super::super::store::transaction::Tx;
use super::trust;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;

/// Returns what a device's level amounts to once the policy has decided.
pub(super) fn evaluate(tx: &Tx<'_>, contact: &Contact, device: &Device) -> Result<CoreTrust> {
    let trust = trust::evaluate(tx, device)?;
    let Some(policy) = tx.services().trust_policy().filter(|_| trust == CoreTrust::Undecided) else {
        return Ok(trust);
    };
    Ok(verdict(policy, contact, device).map_or(trust, |(_, decided)| decided))
}

/// Decides about the undecided keys of these devices of a JID.
///
/// No stamp is compared or remembered: whatever the client says about these keys, before or after, counts more.
pub(super) fn decide<'a>(
    tx: &mut Tx<'_>,
    jid: &BareJid,
    devices: impl Iterator<Item = &'a KnownDevice>,
) -> Result<()> {
    if tx.services().trust_policy().is_none() {
        return Ok(());
    }
    let contact = tx.contact(jid)?;
    let decision = |device: &KnownDevice| {
        let policy = tx.services().trust_policy()?;
        let level = contact.level_of(&device.identity, &tx.config().default_trust_level_name);
        // Of most devices the level says at once that there is nothing to decide.
        policy.core_trust(level).filter(|trust| *trust == CoreTrust::Undecided)?;
        let (level, decided) = verdict(policy, &contact, &trust::device_info(tx, &contact, device))?;
        Some((*device.identity.key()?.mont(), level, decided))
    };
    let mut decisions: Vec<_> = devices.filter_map(decision).collect();
    let of_others = decisions.len();
    if tx.is_own(jid) {
        // The key of this device is one of the first keys of its JID: otherwise a device that somebody adds to an
        // account which had no other one for years would be its first.
        decisions.extend(decision(&this_device(tx)?));
    }
    if decisions.is_empty() {
        return Ok(());
    }
    let contact = tx.contact_mut(jid)?;
    contact.standing = Standing::Known;
    let mut trusted = 0_usize;
    for (index, (key, level, decided)) in decisions.into_iter().enumerate() {
        // Where no more levels have room the key stays undecided, and its device is a row that says so.
        if contact.trust.set(&key, level).is_err() {
            break;
        }
        trusted = trusted.saturating_add((index < of_others && decided == CoreTrust::Trusted).into());
    }
    if trusted > 0 {
        let (kind, jid) = (NoticeKind::BlindlyTrusted, Some(jid.clone()));
        tx.notify(Notice { kind, namespace: None, jid, device: 0, status: Status::Ok });
        tx.log(LogLevel::Info, &format!("trust: the policy trusts {trusted} keys of a JID"));
    }
    Ok(())
}

/// Checks that a policy gets to decide: with a default level that is decided already it never would.
pub(in crate::manager) fn check(tx: &Tx<'_>) -> Result<()> {
    let contact = Contact::new(&tx.config().jid);
    let first = trust::device_info(tx, &contact, &this_device(tx)?);
    let decides =
        tx.services().trust_policy().is_some_and(|policy| verdict(policy, &contact, &first).is_some());
    if decides && trust::evaluate(tx, &first)? != CoreTrust::Undecided {
        return Err(Error::new(
            Status::Argument,
            "A trust policy decides about undecided keys only: the default trust level must be an undecided one.",
        ));
    }
    Ok(())
}

/// Returns this device as others see it once its bundle is published.
fn this_device(tx: &Tx<'_>) -> Result<KnownDevice> {
    let key = DeviceKey::of(tx.identity()?.public());
    Ok(KnownDevice { identity: Identity::Confirmed(key, NamespaceSet::default()), ..KnownDevice::default() })
}

/// Returns the level that a policy gives to the key of a device, and what that amounts to; `None`: the user is asked. A
/// key that nobody vouches for, or that a bundle contradicts, is for the user to judge.
fn verdict(
    policy: &dyn TrustPolicy,
    contact: &Contact,
    device: &Device,
) -> Option<(&'static str, CoreTrust)> {
    if device.identity_key.is_none() || device.provisional || device.conflicting_key.is_some() {
        return None;
    }
    match policy.judge(device, contact.trust.levels()) {
        Verdict::Level(level) => Some((level, policy.core_trust(level)?)),
        Verdict::Ask => None,
    }
}
