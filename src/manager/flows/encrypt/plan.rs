//! Whom an encryption is for: the draft, checked, and the devices of each JID with the one namespace that serves it.

use super::super::super::api::draft::Draft;
use super::super::super::config::Config;
use super::super::super::model::address::SessionAddress;
use super::super::super::model::device::KnownDevice;
use super::super::super::store::transaction::Tx;
use super::super::context::Context;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;
use std::collections::HashSet;

/// One encryption: its draft, and what that asks for.
pub(super) struct EncryptRequest {
    /// Sorted, each once.
    pub(super) recipients: Vec<BareJid>,
    /// Most preferred first.
    pub(super) namespaces: Vec<Namespace>,
    pub(super) draft: Draft,
    own: BareJid,
}

impl EncryptRequest {
    pub(super) fn new(config: &Config, draft: Draft) -> EncryptRequest {
        let mut recipients = draft.recipients.clone();
        recipients.sort();
        recipients.dedup();
        let namespaces = draft.namespaces(&config.namespaces);
        EncryptRequest { recipients, namespaces, draft, own: config.jid.clone() }
    }

    /// Returns all JIDs of the message: the recipients, and this account.
    pub(super) fn recipients_with_self(&self) -> Vec<BareJid> {
        let others = self.recipients.iter().filter(|jid| **jid != self.own).cloned();
        others.chain(std::iter::once(self.own.clone())).collect()
    }

    /// Returns whether a JID has to get something, or the encryption fails.
    pub(super) fn must_serve(&self, jid: &BareJid) -> bool {
        *jid != self.own && self.recipients.binary_search(jid).is_ok()
    }
}

/// Checks a draft.
pub(super) fn check(context: &Context, draft: &Draft) -> Result<()> {
    let namespaces = draft.namespaces(&context.config.namespaces);
    if namespaces.is_empty() {
        return Err(match draft.namespaces {
            Some(_) => Error::new(Status::Argument, "The draft names no namespace."),
            None => Error::new(Status::Plaintext, "No namespace of the account has key transport."),
        });
    }
    for namespace in namespaces {
        if !context.config.namespaces.contains(&namespace) {
            return Err(Status::UnknownNamespace.into());
        }
        draft.check_content(namespace)?;
    }
    context.transact(|tx| tx.own_device().map(|_| ()))
}

/// One device that a message is for, in the namespace that serves it.
pub(super) struct RecipientDevice {
    pub(super) at: SessionAddress,
    pub(super) device: KnownDevice,
}

/// Returns the devices of a JID that these namespaces serve, without this one.
pub(super) fn recipient_devices(
    tx: &mut Tx<'_>,
    jid: &BareJid,
    namespaces: &[Namespace],
) -> Result<Vec<RecipientDevice>> {
    let this = tx.device_id()?.filter(|_| tx.is_own(jid));
    let contact = tx.contact(jid)?;
    let mut devices = Vec::new();
    for device in &contact.devices {
        let served = device.delivery_namespace(namespaces);
        let (Some(namespace), Some(id)) = (served, DeviceId::new(device.id)) else { continue };
        if Some(id) != this
            // Ids that this device has given up are on the list until that is published anew.
            && !(this.is_some() && tx.account()?.is_given_up(device.id))
            && !(this.is_some() && shows_our_key(tx, device)?)
        {
            let at = SessionAddress { jid: jid.clone(), device: id, namespace };
            devices.push(RecipientDevice { at, device: device.clone() });
        }
    }
    Ok(devices)
}

/// Returns whether a device of this account shows our own identity key: an id that this device has given up, or a copy
/// of this device; or one that this device had before, which somebody else may have. A session with it would be one with
/// ourselves, or with a thief.
fn shows_our_key(tx: &Tx<'_>, device: &KnownDevice) -> Result<bool> {
    let (own, former) = (tx.identity()?.public().mont(), &tx.account()?.former_identities);
    Ok(device.identity.key().is_some_and(|key| key.is(own) || former.iter().any(|mont| mont == key.mont())))
}

/// Returns the devices of a JID that get nothing although they are announced, with where, and why: those that are not
/// among the reached ones.
pub(super) fn unreachable_devices(
    tx: &mut Tx<'_>,
    jid: &BareJid,
    namespaces: &[Namespace],
    reached: &[RecipientDevice],
) -> Result<Vec<(u32, Namespace, Error)>> {
    let order = tx.config().namespaces.clone();
    let this = tx.device_id()?.filter(|_| tx.is_own(jid));
    let reached: HashSet<u32> = reached.iter().map(|reached| reached.at.device.get()).collect();
    let contact = tx.contact(jid)?;
    let mut unreachable = Vec::new();
    for device in contact.devices.iter().filter(|device| !reached.contains(&device.id)) {
        let Some(namespace) = device.delivery_namespace(&order) else { continue };
        let given_up = || Ok::<_, Error>(tx.account()?.is_given_up(device.id));
        if this.is_some_and(|this| this.get() == device.id) || (this.is_some() && given_up()?) {
            continue;
        }
        let error = if this.is_some() && shows_our_key(tx, device)? {
            Error::new(Status::BundleBad, "The device shows this device's own identity key.")
        } else {
            Error::new(Status::UnknownNamespace, "The message is for other namespaces than this device's.")
        };
        unreachable.push((device.id, namespace, error));
    }
    for namespace in namespaces {
        for id in tx.memory().lists.unserved(*namespace, jid) {
            let error = Error::new(Status::Malformed, "The device id is outside of 1 to 2147483647.");
            unreachable.push((id, *namespace, error));
        }
    }
    Ok(unreachable)
}
