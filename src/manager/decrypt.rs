//! Decryption: at once, without network, one commit.
//!
//! What a message makes necessary is noted in the same commit. A message that is refused changes nothing, so that it
//! may be given again when the reason is gone.

use super::account::Account;
use super::api::decrypted::{Action, Decrypted};
use super::api::device::{CoreTrust, Device};
use super::api::event::{Notice, NoticeKind};
use super::clock::Now;
use super::connection::Job;
use super::layout::SessionKey;
use super::own::{self, exchange_hash};
use super::records::{DeviceRecord, Reason};
use super::sessions::Sessions;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::key_exchange::KeyExchange;
use crate::protocol::limits;
use crate::protocol::message::{Message, MessageKey};
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::{self, KeyParts};
use crate::protocol::ratchet_message::RatchetMessage;
use crate::protocol::session::{Limits, Session, Step};
use zeroize::Zeroizing;

/// A chain that is this long makes us answer, so that the sender's ratchet turns (XEP-0384 4.3, 53 messages).
const HEARTBEAT: u32 = 53;

/// What stands inside a message.
struct Inside {
    plaintext: Option<Zeroizing<Vec<u8>>>,
    key: Option<KeyParts>,
    tag_in_payload: bool,
}

/// What a key of a message led to.
struct Content {
    inside: Inside,
    sender: Device,
    new_session: bool,
}

/// Whether a failure is about the message, and not about us.
fn is_verdict(status: Status) -> bool {
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

/// How much a failure tells, when several keys or senders were tried.
fn weight(status: Status) -> u8 {
    match status {
        Status::NoSession | Status::SenderNotFound => 0,
        Status::Malformed => 1,
        Status::DecryptionFailed => 2,
        // Only a key that is ours can be known already; the others with our id are somebody else's.
        Status::Duplicate => 4,
        _ => 3,
    }
}

impl Account {
    /// Decrypts a message; see [`super::Manager::decrypt`].
    pub(super) fn decrypt(
        &mut self,
        from: Option<&BareJid>,
        room: Option<&BareJid>,
        message: &Message,
        now: Now,
    ) -> Result<Decrypted> {
        self.ensure_loaded()?;
        let own_id = self.device_id()?.ok_or(Error::from(Status::NotReady))?;
        let refused = |error: Error, from: Option<&BareJid>| {
            let action = match error.status() {
                Status::Duplicate | Status::OwnEcho => Action::Hide,
                Status::NotForUs | Status::UnknownNamespace if message.payload.is_none() => Action::Hide,
                _ => Action::Warn,
            };
            let verdict = match error.status() {
                Status::SenderDistrusted => CoreTrust::Distrusted,
                _ => CoreTrust::Undecided,
            };
            Decrypted {
                error,
                action,
                plaintext: None,
                from: from.cloned(),
                device: message.sender_device,
                namespace: message.namespace,
                identity_key: None,
                core_trust: verdict,
                trust_level_name: String::new(),
                new_session: false,
                key: None,
                tag_in_payload: false,
            }
        };
        if !self.config.namespaces.contains(&message.namespace) {
            let refusal = refused(Status::UnknownNamespace.into(), from);
            return Ok(self.hide_if_served_elsewhere(refusal, from, message, now));
        }
        if from == Some(&self.config.jid) && message.sender_device == own_id.get() {
            return Ok(refused(Status::OwnEcho.into(), from));
        }
        let own_jid = self.config.jid.clone();
        let for_us = |key: &&MessageKey| {
            key.device == own_id.get() && key.jid.as_ref().is_none_or(|jid| *jid == own_jid)
        };
        let keys: Vec<&MessageKey> = message.keys.iter().filter(for_us).take(limits::KEYS_TRIED).collect();
        if keys.is_empty() {
            let refusal = refused(Status::NotForUs.into(), from);
            return Ok(self.hide_if_served_elsewhere(refusal, from, message, now));
        }
        let Some(device) = DeviceId::new(message.sender_device) else {
            return Ok(refused(Error::new(Status::Malformed, "The sender's device id is not valid."), from));
        };
        let senders = match (from, room) {
            (Some(from), room) if Some(from) != room => vec![from.clone()],
            (None, Some(_)) => self.members_with(device)?,
            _ => Vec::new(),
        };
        // What all attempts may cost together, however many keys and senders there are.
        let mut budget = limits::CHAIN_STEPS_PER_MESSAGE;
        let mut failure: Option<(Error, BareJid)> = None;
        let attempts = keys.iter().flat_map(|key| senders.iter().map(move |sender| (*key, sender)));
        for (key, sender) in attempts.take(limits::ATTEMPTS_PER_MESSAGE) {
            let at = SessionKey { jid: sender.clone(), device, namespace: message.namespace };
            match self
                .transact(|account| account.open_key(key, &at, message, from.is_none(), &mut budget, now))
            {
                Ok(content) => {
                    let Inside { plaintext, key, tag_in_payload } = content.inside;
                    let action = if plaintext.is_some() { Action::Show } else { Action::Hide };
                    return Ok(Decrypted {
                        error: Status::Ok.into(),
                        action,
                        plaintext,
                        from: Some(sender.clone()),
                        device: device.get(),
                        namespace: message.namespace,
                        identity_key: content.sender.identity_key,
                        core_trust: content.sender.core_trust,
                        trust_level_name: content.sender.trust_level_name,
                        new_session: content.new_session,
                        key,
                        tag_in_payload,
                    });
                }
                Err(error) if is_verdict(error.status()) => {
                    let heavier = failure
                        .as_ref()
                        .is_none_or(|(other, _)| weight(error.status()) > weight(other.status()));
                    if heavier {
                        failure = Some((error, sender.clone()));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let Some((error, sender)) = failure else {
            return Ok(refused(Status::SenderNotFound.into(), None));
        };
        if from.is_none() && weight(error.status()) == 0 {
            return Ok(refused(Status::SenderNotFound.into(), None));
        }
        let at = SessionKey { jid: sender, device, namespace: message.namespace };
        // An empty commit writes nothing, and lets the notices out.
        self.transact(|account| account.refused(&at, error.status(), now))?;
        Ok(refused(error, Some(&at.jid)))
    }

    /// A message that is not for us is no news if its sender's device talks to us in another namespace.
    fn hide_if_served_elsewhere(
        &mut self,
        refusal: Decrypted,
        from: Option<&BareJid>,
        message: &Message,
        now: Now,
    ) -> Decrypted {
        // A record that cannot be read is no failure of a message that is not for us.
        let served = from.map(|from| self.serves_us_elsewhere(from, message, now).unwrap_or(false));
        match served {
            Some(true) => Decrypted { action: Action::Hide, ..refusal },
            _ => refusal,
        }
    }

    /// Whether the sender's device talks to us in another namespace: then it says everything there, too, and what it
    /// says here is for others.
    fn serves_us_elsewhere(&mut self, from: &BareJid, message: &Message, now: Now) -> Result<bool> {
        let Some(device) = DeviceId::new(message.sender_device) else { return Ok(false) };
        for namespace in self.config.namespaces.clone() {
            let key = SessionKey { jid: from.clone(), device, namespace };
            if namespace != message.namespace && Sessions::new(self, &key, now).current()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is to be done about a message that was refused. Nobody has authenticated it: nothing is stored.
    fn refused(&mut self, at: &SessionKey, status: Status, now: Now) -> Result<()> {
        match status {
            Status::NoSession => {
                let active = {
                    let record = self.jid(&at.jid)?;
                    record.device(at.device).is_some_and(|device| device.is_active(at.namespace))
                };
                if !active {
                    self.suspect_list(at.namespace, &at.jid, now);
                } else if self.connection.suggest(Job::Repair(at.clone()), now.steady) {
                    self.follow_up();
                }
            }
            Status::PublicDataInconsistency if self.connection.first_time(at) => self.notify(Notice {
                kind: NoticeKind::IdentityChanged,
                namespace: Some(at.namespace),
                jid: Some(at.jid.clone()),
                device: at.device.get(),
                status,
            }),
            _ => (),
        }
        Ok(())
    }

    /// Known JIDs that have a device with this id.
    fn members_with(&mut self, device: DeviceId) -> Result<Vec<BareJid>> {
        let mut members = Vec::new();
        for jid in self.all_jids()?.into_iter().take(limits::ROOM_JIDS_LOOKED_AT) {
            if self.jid(&jid)?.device(device).is_some() {
                members.push(jid);
            }
            if members.len() >= limits::ATTEMPTS_PER_MESSAGE {
                break;
            }
        }
        Ok(members)
    }

    fn limits(&self) -> Limits {
        Limits { per_session: self.config.skipped_per_session, per_message: self.config.skipped_per_message }
    }

    /// The device that a key belongs to, judged by that key.
    fn sender(&mut self, at: &SessionKey, mont: &[u8; 32], ed: Option<&[u8; 32]>) -> Result<Device> {
        let record = self.jid(&at.jid)?;
        let known = record
            .device(at.device)
            .cloned()
            .unwrap_or_else(|| DeviceRecord { id: at.device.get(), ..DeviceRecord::default() });
        let mut shown = known.clone();
        if known.identity != mont {
            shown.set_identity(mont, ed);
        }
        let mut sender = self.describe(&at.jid, &record, &shown);
        if let Some(ed) = ed.filter(|_| shown.sign == super::trust::SIGN_UNKNOWN) {
            sender.identity_key = Some(*ed);
        }
        sender.core_trust = self.judge_or_undecided(&sender);
        Ok(sender)
    }

    fn open_key(
        &mut self,
        key: &MessageKey,
        at: &SessionKey,
        message: &Message,
        guessing: bool,
        budget: &mut usize,
        now: Now,
    ) -> Result<Content> {
        let bytes = key.bytes.as_ref().ok_or(Error::new(Status::Malformed, "Our key cannot be read."))?;
        if key.key_exchange {
            let exchange = KeyExchange::parse(at.namespace, bytes)?;
            self.open_exchange(&exchange, at, message, guessing, budget, now)
        } else {
            let ratchet_message = RatchetMessage::parse(at.namespace, bytes)?;
            let limits = self.limits();
            let opened = Sessions::new(self, at, now).open(&ratchet_message, &limits, budget)?;
            let (peer, ed) = (*opened.step.session.peer_mont(), opened.step.session.peer_ed().copied());
            let sender = self.sender(at, &peer, ed.as_ref())?;
            if sender.core_trust == CoreTrust::Distrusted {
                return Err(Status::SenderDistrusted.into());
            }
            let session = opened.step.session.clone();
            let transported = Sessions::new(self, at, now).keep(opened)?;
            self.heartbeat(at, &session, now)?;
            let inside = open_payload(message, &transported)?;
            Ok(Content { inside, sender, new_session: false })
        }
    }

    fn open_exchange(
        &mut self,
        exchange: &KeyExchange,
        at: &SessionKey,
        message: &Message,
        guessing: bool,
        budget: &mut usize,
        now: Now,
    ) -> Result<Content> {
        let mont = *exchange.identity_mont();
        let sender = self.sender(at, &mont, exchange.identity_ed())?;
        if sender.core_trust == CoreTrust::Distrusted {
            return Err(Status::SenderDistrusted.into());
        }
        let record = self.jid(&at.jid)?;
        let known = record.device(at.device).cloned().unwrap_or_default();
        if known.is_confirmed() && known.identity != mont {
            return Err(Status::PublicDataInconsistency.into());
        }
        // Whoever guesses the sender may not put a stranger's key on somebody's device.
        if guessing && known.identity != mont {
            return Err(Status::SenderNotFound.into());
        }
        let limits = self.limits();
        if Sessions::new(self, at, now).begun_by(exchange)?.is_some() {
            let mut sessions = Sessions::new(self, at, now);
            let opened = sessions.open_exchange(exchange, &limits, budget)?;
            let session = opened.step.session.clone();
            let transported = sessions.keep(opened)?;
            self.heartbeat(at, &session, now)?;
            let inside = open_payload(message, &transported)?;
            return Ok(Content { inside, sender, new_session: false });
        }
        let hash = exchange_hash(&mont, exchange.id().ephemeral.as_bytes());
        if self.own(at.namespace)?.processed.iter().any(|processed| processed.as_slice() == hash) {
            return Err(Status::Duplicate.into());
        }
        let Step { session, skipped, plaintext: transported } =
            self.accept(exchange, at.namespace, &limits, budget)?;
        let inside = open_payload(message, &transported)?;

        self.cause_message(at, &session, now)?;
        Sessions::new(self, at, now).replace(session, skipped.as_ref(), Reason::Superseded)?;
        self.own_mut(at.namespace)?.use_up(exchange.id().pre_key_id, hash);
        own::refill(self, at.namespace)?;
        self.own_mut(at.namespace)?.bundle_pending = true;
        self.learn_identity(at, exchange)?;
        self.follow_up();
        if !known.is_active(at.namespace) {
            self.suspect_list(at.namespace, &at.jid, now);
        }
        Ok(Content { inside, sender, new_session: true })
    }

    fn accept(
        &mut self,
        exchange: &KeyExchange,
        namespace: Namespace,
        limits: &Limits,
        budget: &mut usize,
    ) -> Result<Step> {
        let own = self.own(namespace)?;
        let signed = own.signed_pre_key(exchange.id().signed_pre_key_id)?;
        let pre_key = own.pre_key(exchange.id().pre_key_id)?;
        let signed = signed.ok_or(Error::from(Status::PreKeyUnknown))?;
        let pre_key = pre_key.ok_or(Error::from(Status::PreKeyUnknown))?;
        let (identity, rng) = self.identity_and_rng()?;
        Session::accept(identity, &signed, &pre_key, exchange, limits, budget, rng)
    }

    /// A key that only its own messages vouch for is enough to read and to show them, and for nothing else.
    fn learn_identity(&mut self, at: &SessionKey, exchange: &KeyExchange) -> Result<()> {
        let record = self.jid_mut(&at.jid)?;
        let id = at.device.get();
        if !record.devices.iter().any(|device| device.id == id) {
            if record.devices.len() >= limits::KNOWN_DEVICES_PER_JID {
                return Err(Error::new(Status::Limit, "A JID has shown too many devices."));
            }
            record.devices.push(DeviceRecord { id, ..DeviceRecord::default() });
        }
        let device = record.devices.iter_mut().find(|device| device.id == id);
        let device = device.ok_or(Error::from(Status::Internal))?;
        if !device.is_confirmed() && device.identity != exchange.identity_mont() {
            device.set_identity(exchange.identity_mont(), exchange.identity_ed());
        }
        Ok(())
    }

    /// Answers a chain that grew long, once for each ratchet key of the sender.
    fn heartbeat(&mut self, at: &SessionKey, session: &Session, now: Now) -> Result<()> {
        if session.receiving_chain_length().is_none_or(|length| length <= HEARTBEAT) {
            return Ok(());
        }
        let mut sessions = Sessions::new(self, at, now);
        let current = sessions.current()?;
        let is_current = current.is_some_and(|current| current.exchange_id() == session.exchange_id());
        if is_current && sessions.note_heartbeat(session.ratchet_key().as_bytes())? {
            self.cause_message(at, session, now)?;
            self.follow_up();
        }
        Ok(())
    }
}

/// Opens the payload, where there is one, with what came through the ratchet. A message without one is a key transport or
/// an empty message; where these look alike, the key is there for whoever expects one.
fn open_payload(message: &Message, transported: &[u8]) -> Result<Inside> {
    let (namespace, iv) = (message.namespace, message.iv.as_deref());
    let payload = message.payload.as_deref();
    let plaintext =
        payload.map(|payload| payload::decrypt(namespace, transported, payload, iv)).transpose()?;
    let tag_in_payload = plaintext.is_some() && payload::is_tag_in_payload(namespace, transported);
    Ok(Inside { plaintext, key: payload::parts(namespace, transported, iv), tag_in_payload })
}
