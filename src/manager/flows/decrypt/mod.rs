//! Decryption: at once, without network, one commit.
//!
//! What a message makes necessary is noted in the same commit. A message that is rejected changes nothing, so that it
//! may be given again when the reason is gone. Advice follows content: a stanza without payload warns nobody.

mod address;
mod effects;
mod keep;
mod open;

use super::super::api::decrypted::{Action, Decrypted};
use super::super::api::device::CoreTrust;
use super::super::api::services::LogLevel;
use super::super::model::address::SessionAddress;
use super::super::model::failed_messages::Timeliness;
use super::super::store::transaction::Tx;
use super::context::Context;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::message::{Message, MessageKey};
use crate::protocol::session::ChainBudget;
use address::Sender;
pub(in crate::manager) use keep::restore;

/// A message on its way through this flow.
struct Incoming<'a> {
    from: Option<&'a BareJid>,
    room: Option<&'a BareJid>,
    message: &'a Message,
    timeliness: Timeliness,
}

/// Whether a failure is about the message, and not about the store or the library.
fn is_about_message(status: Status) -> bool {
    matches!(
        status,
        Status::DecryptionFailed
            | Status::Duplicate
            | Status::TooManySkipped
            | Status::NoSession
            | Status::SenderNotFound
            | Status::SenderDistrusted
            | Status::PublicDataInconsistency
            | Status::PreKeyUnknown
            | Status::KeyExchangeFailed
            | Status::Malformed
            | Status::Limit
    )
}

/// Returns how much a failure tells, where several keys or senders were tried.
fn specificity(status: Status) -> u8 {
    match status {
        Status::NoSession | Status::SenderNotFound => 0,
        Status::Malformed => 1,
        Status::DecryptionFailed => 2,
        // Only with a key for this device can a message have been decrypted before; other keys with our id are another's.
        Status::Duplicate => 4,
        _ => 3,
    }
}

/// Decrypts a message; see [`super::super::Manager::decrypt`].
pub(in crate::manager) fn decrypt(
    context: &Context,
    from: Option<&BareJid>,
    room: Option<&BareJid>,
    message: &Message,
    timeliness: Timeliness,
) -> Result<Decrypted> {
    let decrypted = context.transact(|tx| {
        let catching_up = tx.memory().catch_up.is_going_on(tx.now.aged_ms);
        // In a room it is the room that says who has sent a message.
        let doubtful = catching_up || room.is_some();
        let timeliness = if doubtful { Timeliness::Doubtful } else { timeliness };
        Incoming { from, room, message, timeliness }.decrypt(tx)
    })?;
    let (namespace, device) = (message.namespace.uri(), message.sender_device);
    let level = if decrypted.error.status() == Status::Internal { LogLevel::Error } else { LogLevel::Debug };
    let status = decrypted.error.status().name();
    let again = if decrypted.repeated { ", again" } else { "" };
    let kind = if message.payload.is_some() { "message" } else { "empty message" };
    context.log(level, &format!("decrypt: {kind} of device {device} in {namespace}: {status}{again}"));
    Ok(decrypted)
}

impl Incoming<'_> {
    fn told_apart(&self) -> keep::ToldApart<'_> {
        keep::ToldApart { message: self.message, room: self.room }
    }

    fn decrypt(&self, tx: &mut Tx<'_>) -> Result<Decrypted> {
        let own_id = tx.own_device()?;
        if !tx.config().namespaces.contains(&self.message.namespace) {
            return Ok(self.rejected_here(tx, Status::UnknownNamespace));
        }
        let keys = address::keys_for(self.message, &tx.config().jid, own_id);
        let from_us = self.message.sender_device == own_id.get();
        let own_name = self.from == Some(&tx.config().jid);
        // In a room without sender, a key for us shows that another member's device with our id has written, not we.
        if from_us && (own_name || (self.from.is_none() && self.room.is_some() && keys.is_empty())) {
            return Ok(self.rejected(Status::OwnEcho.into(), self.from));
        }
        if keys.is_empty() {
            return Ok(self.rejected_here(tx, Status::NotForUs));
        }
        let Some(device) = DeviceId::new(self.message.sender_device) else {
            let error = Error::new(Status::Malformed, "The sender's device id is not valid.");
            return Ok(self.rejected(error, self.from));
        };
        self.try_keys(tx, &keys, device)
    }

    fn try_keys(&self, tx: &mut Tx<'_>, keys: &[&MessageKey], device: DeviceId) -> Result<Decrypted> {
        let senders = address::senders(tx, self.from, self.room, device)?;
        if let Some(decrypted) = keep::find(tx, self.told_apart(), keys, &senders)? {
            return Ok(decrypted);
        }
        // What all attempts may cost together, however many keys and senders there are.
        let mut budget = ChainBudget::new(open::skip_limits(tx.config()));
        let mut failure: Option<(Error, BareJid)> = None;
        let mut unreadable = None;
        for (key, sender) in address::attempts(keys, &senders) {
            let at = SessionAddress { jid: sender.clone(), device, namespace: self.message.namespace };
            let sender_is = if self.from.is_some() { Sender::Named } else { Sender::Guessed };
            let attempt = open::Attempt { at: &at, message: self.message, sender: sender_is };
            match tx.savepoint(|tx| open::open_key(tx, key, &attempt, &mut budget)) {
                // What cannot be kept is not decrypted: then nothing of this is committed.
                Ok(opened) => return self.opened(tx, key, at, opened),
                Err(error) if is_about_message(error.status()) => {
                    let (status, detail) = (error.status().name(), at.namespace.uri());
                    tx.log(LogLevel::Debug, &format!("decrypt: an attempt in {detail} failed: {status}"));
                    let more = |(other, _): &(Error, BareJid)| {
                        specificity(error.status()) > specificity(other.status())
                    };
                    if failure.as_ref().is_none_or(more) {
                        failure = Some((error, sender.clone()));
                    }
                }
                // One unreadable record keeps nobody else's message from being read.
                Err(error) if error.status() == Status::StorageCorrupt => {
                    unreadable.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = unreadable {
            return Err(error);
        }
        let Some((error, sender)) = failure else {
            return Ok(self.rejected(Status::SenderNotFound.into(), None));
        };
        if self.from.is_none() && specificity(error.status()) == 0 {
            return Ok(self.rejected(Status::SenderNotFound.into(), None));
        }
        let at = SessionAddress { jid: sender, device, namespace: self.message.namespace };
        let sender_is = if self.from.is_some() { Sender::Named } else { Sender::Guessed };
        let rejected = effects::Rejected {
            status: error.status(),
            keys,
            sender: sender_is,
            timeliness: self.timeliness,
        };
        effects::after_rejection(tx, &at, &rejected)?;
        Ok(self.rejected(error, Some(&at.jid)))
    }

    fn opened(
        &self,
        tx: &mut Tx<'_>,
        key: &MessageKey,
        at: SessionAddress,
        opened: open::DecryptedMessage,
    ) -> Result<Decrypted> {
        let open::DecryptedMessage { payload, sender, mont, ed, new_session, not_listed } = opened;
        let mut decrypted = Decrypted {
            error: Status::Ok.into(),
            action: if payload.plaintext.is_some() { Action::Show } else { Action::Hide },
            plaintext: payload.plaintext,
            from: Some(at.jid.clone()),
            device: at.device.get(),
            namespace: at.namespace,
            identity_key: sender.identity_key,
            core_trust: sender.core_trust,
            trust_level_name: sender.trust_level_name,
            provisional: sender.provisional,
            not_listed,
            new_session,
            key: payload.key,
            tag_in_payload: payload.tag_in_payload,
            room: self.room.cloned(),
            receipt: 0,
            repeated: false,
        };
        let plaintext = decrypted.plaintext.as_deref();
        if plaintext.is_some_and(|text| !tx.services().is_content_from(at.namespace, text, &at.jid)) {
            (decrypted.error, decrypted.action) = (Status::Affix.into(), Action::Warn);
            (decrypted.plaintext, decrypted.key) = (None, None);
        }
        let authenticated = keep::Authenticated { key, at, mont, ed };
        keep::keep(tx, self.told_apart(), authenticated, &mut decrypted)?;
        Ok(decrypted)
    }

    fn rejected(&self, error: Error, from: Option<&BareJid>) -> Decrypted {
        let action = match error.status() {
            Status::Duplicate | Status::OwnEcho => Action::Hide,
            // There is nothing in it that a user could miss.
            _ if self.message.payload.is_none() => Action::Hide,
            _ => Action::Warn,
        };
        let core_trust = match error.status() {
            Status::SenderDistrusted => CoreTrust::Distrusted,
            _ => CoreTrust::Undecided,
        };
        let plaintext = None;
        #[cfg(omemo_planted)]
        let plaintext = match self.message.payload.clone() {
            Some(payload) if crate::planted::is_planted("plaintext-fallback") => Some(payload.into()),
            _ => plaintext,
        };
        Decrypted {
            error,
            action,
            plaintext,
            from: from.cloned(),
            device: self.message.sender_device,
            namespace: self.message.namespace,
            identity_key: None,
            core_trust,
            trust_level_name: String::new(),
            provisional: false,
            not_listed: false,
            new_session: false,
            key: None,
            tag_in_payload: false,
            room: self.room.cloned(),
            receipt: 0,
            repeated: false,
        }
    }

    /// Returns how a message that is not for us is rejected. If its sender's device has a session with us in another
    /// namespace it sends everything there as well, so that the client may hide this message.
    fn rejected_here(&self, tx: &mut Tx<'_>, status: Status) -> Decrypted {
        let rejected = self.rejected(status.into(), self.from);
        // A record that cannot be read is no failure of a message that is not for us.
        let elsewhere =
            self.from.map(|from| address::talks_elsewhere(tx, from, self.message).unwrap_or(false));
        match elsewhere {
            Some(true) => Decrypted { action: Action::Hide, ..rejected },
            _ => rejected,
        }
    }
}
