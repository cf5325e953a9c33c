//! Who may have sent a message, and which of its keys are for this device.

use super::super::super::model::address::SessionAddress;
use super::super::super::store::sessions::Sessions;
use super::super::super::store::transaction::Tx;
use crate::error::Result;
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::limits;
use crate::protocol::message::{Message, MessageKey};

/// How the sender is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// The client names it.
    Named,
    /// It is one of several with this device id; the MAC decides.
    Guessed,
}

/// Returns the keys of a message that are for this device.
pub(super) fn keys_for<'a>(message: &'a Message, own_jid: &BareJid, own_id: DeviceId) -> Vec<&'a MessageKey> {
    let for_us =
        |key: &&MessageKey| key.device == own_id.get() && key.jid.as_ref().is_none_or(|jid| jid == own_jid);
    message.keys.iter().filter(for_us).take(limits::KEYS_TRIED).collect()
}

/// Returns the JIDs that are tried: the one that the client names, or in a room that hides them all that have such a
/// device, those that the client knows first.
pub(super) fn senders(
    tx: &Tx<'_>,
    from: Option<&BareJid>,
    room: Option<&BareJid>,
    device: DeviceId,
) -> Result<Vec<BareJid>> {
    match (from, room) {
        (Some(from), room) if Some(from) != room => Ok(vec![from.clone()]),
        (None, Some(_)) => tx.jids_with_device(device, limits::ATTEMPTS_PER_MESSAGE),
        _ => Ok(Vec::new()),
    }
}

/// Returns what is tried on a message. Known JIDs come first, each with all keys.
pub(super) fn attempts<'a>(
    keys: &'a [&'a MessageKey],
    senders: &'a [BareJid],
) -> impl Iterator<Item = (&'a MessageKey, &'a BareJid)> {
    let attempts = senders.iter().flat_map(move |sender| keys.iter().map(move |key| (*key, sender)));
    attempts.take(limits::ATTEMPTS_PER_MESSAGE)
}

/// Returns whether the sender's device has a session with us in another namespace.
pub(super) fn talks_elsewhere(tx: &mut Tx<'_>, from: &BareJid, message: &Message) -> Result<bool> {
    let Some(device) = DeviceId::new(message.sender_device) else { return Ok(false) };
    for namespace in tx.config().namespaces.clone() {
        let at = SessionAddress { jid: from.clone(), device, namespace };
        if namespace != message.namespace && Sessions::new(tx, &at).session_for_sending()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
