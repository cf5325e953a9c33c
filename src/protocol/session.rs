//! A session: one Double Ratchet between two identity keys, and how it was begun.
//!
//! Decryption leaves the session as it is and gives the next one. Knows neither JIDs nor device ids.

use super::closed_chains::{ChainEvent, ChainRecord, Lookup};
use super::limits;
use super::messages::key_exchange::{ExchangeId, KeyExchange};
use super::messages::ratchet_message::{Header, Parties, RatchetMessage};
use super::namespace::Namespace;
use super::profile::Wire;
use super::ranges::Ranges;
use super::ratchet::{PendingReceive, Ratchet, SkippedInChain};
use super::role::Role;
use super::skipped_keys::SkippedKeys;
use crate::crypto::identity::IdentityKey;
use crate::crypto::keys::PublicKey;
use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

mod begin;

pub use super::chain_budget::{ChainBudget, SkipLimits};

/// One session, without its skipped keys. Wiped when dropped.
#[derive(Clone)]
pub struct Session {
    pub(super) namespace: Namespace,
    pub(super) role: Role,
    pub(super) confirmed: bool,
    pub(super) parties: Parties,
    pub(super) peer: [u8; 32],
    pub(super) exchange: ExchangeId,
    pub(super) ratchet: Ratchet,
    pub(super) skipped: u32,
    pub(super) answered: bool,
    /// The indices whose skipped keys were given up, in the current receiving chain.
    pub(super) evicted: Ranges,
}

/// The key of a message for one device.
pub struct EncryptedKey {
    /// What travels.
    pub bytes: Vec<u8>,
    /// Whether it is a key exchange.
    pub key_exchange: bool,
}

/// What a message led to. Nothing has happened yet: whoever stores the session makes it true.
pub struct Step {
    /// The session after the message.
    pub session: Session,
    /// Its skipped keys, if they are other than before.
    pub skipped: Option<SkippedKeys>,
    /// What the message transported.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Whether the message moved the receiving chain forward: false where its key was kept from before.
    pub advanced: bool,
    /// What is to be noted of a chain that is over.
    pub chain: Option<ChainEvent>,
}

impl Session {
    /// Encrypts. As long as a session of our own beginning was not answered, every message repeats the key exchange.
    pub fn encrypt(&mut self, plaintext: &[u8]) -> Result<EncryptedKey> {
        self.encrypt_announcing(|pn| pn, plaintext)
    }

    /// Encrypts, and announces another length of the previous sending chain.
    pub fn encrypt_announcing(&mut self, pn: fn(u32) -> u32, plaintext: &[u8]) -> Result<EncryptedKey> {
        let (mut header, key) = self.ratchet.send()?;
        header.pn = pn(header.pn);
        let bytes = RatchetMessage::seal(self.namespace, header, &key, &self.parties, self.role, plaintext)?;
        let key_exchange = self.role == Role::Initiator && !self.confirmed;
        let bytes = if key_exchange {
            KeyExchange::write(self.namespace, &self.exchange, &self.parties.initiator, bytes)?
        } else {
            bytes
        };
        Ok(EncryptedKey { bytes, key_exchange })
    }

    /// Whether this session has, or can derive without a DH ratchet step, keys of the chain of a message.
    pub fn knows(&self, message: &RatchetMessage, skipped: Option<&SkippedKeys>) -> bool {
        let ratchet_key = message.header().ratchet_key;
        self.ratchet.is_current(&ratchet_key)
            || self.ratchet.is_closed(&ratchet_key)
            || skipped.is_some_and(|skipped| skipped.knows(&ratchet_key))
    }

    /// Whether `decrypt` needs the skipped keys for a message.
    pub fn needs_skipped(&self, message: &RatchetMessage) -> bool {
        let Header { ratchet_key, n, .. } = message.header();
        let next = self.ratchet.receiving.as_ref().map(|chain| chain.length());
        let in_order = self.ratchet.is_current(&ratchet_key) && next == Some(n);
        self.skipped > 0 && !in_order
    }

    /// Opens a message. `skipped` is used only if `needs_skipped` says so. `closed` looks up what is remembered of a
    /// receiving chain that is over; it is called only if the message is not of the current receiving chain and its key is
    /// not kept. `budget` limits the chain steps that the message may still cost.
    pub fn decrypt(
        &self,
        message: &RatchetMessage,
        skipped: Option<&SkippedKeys>,
        closed: &mut Lookup<'_>,
        budget: &mut ChainBudget,
        rng: &mut dyn Rng,
    ) -> Result<Step> {
        if message.namespace() != self.namespace {
            return Err(Status::DecryptionFailed.into());
        }
        let skipped = self.check_skipped(message, skipped)?;
        if let Some(step) = self.open_skipped(message, skipped)? {
            return Ok(step);
        }
        if let Some(step) = self.open_at_pn(message)? {
            return Ok(step);
        }
        self.check_age(&message.header(), closed)?;
        let profile = self.namespace.profile();
        let received: PendingReceive = self.ratchet.receive(profile, &message.header(), budget)?;
        let plaintext = message.open(&received.key, &self.parties, self.role.other())?;
        let dh_step = received.is_dh_step();
        let chain = if dh_step { self.closed_chain(skipped) } else { None };
        let (ratchet, newly_skipped) = received.complete(profile, rng)?;
        let evicted = if dh_step { Ranges::default() } else { self.evicted.clone() };
        let answered = self.answered || dh_step;
        let mut session = Session { confirmed: true, answered, evicted, ratchet, ..self.clone() };
        let skipped = session.keep(skipped, newly_skipped, budget.limits());
        Ok(Step { session, skipped, plaintext, advanced: true, chain })
    }

    /// Returns the skipped keys if they are needed, and checks that they are this session's.
    fn check_skipped<'a>(
        &self,
        message: &RatchetMessage,
        skipped: Option<&'a SkippedKeys>,
    ) -> Result<Option<&'a SkippedKeys>> {
        if !self.needs_skipped(message) {
            return Ok(None);
        }
        let skipped = skipped
            .ok_or(Error::new(Status::Internal, "Skipped message keys are needed and were not loaded."))?;
        if count(skipped) != self.skipped {
            return Err(Error::new(Status::StorageCorrupt, "Skipped keys are of another session."));
        }
        Ok(Some(skipped))
    }

    /// Opens a message whose key was skipped.
    fn open_skipped(&self, message: &RatchetMessage, skipped: Option<&SkippedKeys>) -> Result<Option<Step>> {
        let Header { ratchet_key, n, .. } = message.header();
        let found = skipped.and_then(|skipped| Some((skipped, skipped.get(&ratchet_key, n)?)));
        let Some((skipped, key)) = found else { return Ok(None) };
        let plaintext = message.open(key, &self.parties, self.role.other())?;
        let mut left = skipped.clone();
        left.remove(&ratchet_key, n);
        // The session is confirmed: the message that skipped this key was read.
        let session = Session { skipped: count(&left), ..self.clone() };
        // What is neither skipped nor evicted of the chain that goes on was decrypted: nothing is to be noted of it.
        let chain = (!self.ratchet.is_current(&ratchet_key)).then_some(ChainEvent::Late(ratchet_key, n));
        Ok(Some(Step { session, skipped: Some(left), plaintext, advanced: false, chain }))
    }

    /// Opens a message whose key is the last one of a chain that is over.
    fn open_at_pn(&self, message: &RatchetMessage) -> Result<Option<Step>> {
        let Header { ratchet_key, n, .. } = message.header();
        // The session is confirmed: the message that closed the chain was read.
        let mut session = self.clone();
        let mut closed = session.ratchet.keys_at_pn.iter_mut();
        let at_pn = closed.find(|closed| closed.ratchet_key == ratchet_key && closed.n == n);
        let Some((at_pn, key)) = at_pn.and_then(|at_pn| at_pn.key.clone().map(|key| (at_pn, key))) else {
            return Ok(None);
        };
        // Taken out, the key would stay in the bytes of the place where it was.
        at_pn.key = None;
        let plaintext = message.open(&key, &self.parties, self.role.other())?;
        let chain = Some(ChainEvent::Late(ratchet_key, n));
        Ok(Some(Step { session, skipped: None, plaintext, advanced: false, chain }))
    }

    /// Refuses a message whose key is gone, before anything is computed for it: a duplicate if it was decrypted.
    fn check_age(&self, header: &Header, closed: &mut Lookup<'_>) -> Result<()> {
        let Header { ratchet_key, n, .. } = *header;
        let given_up = Error::new(Status::DecryptionFailed, "The message key no longer exists.");
        if self.ratchet.is_current(&ratchet_key) {
            return if self.receiving_chain_length().is_none_or(|next| n >= next) {
                Ok(())
            } else if self.evicted.contains(n) {
                Err(given_up)
            } else {
                Err(Status::Duplicate.into())
            };
        }
        match closed(&ratchet_key)? {
            Some(chain) if chain.is_decrypted(n) => Err(Status::Duplicate.into()),
            Some(_) => Err(given_up),
            None if self.ratchet.is_closed(&ratchet_key) => Err(given_up),
            None => Ok(()),
        }
    }

    /// Returns what is to be noted of the chain on which new messages come when it is over: at a DH ratchet step, or
    /// when the session is forgotten. `skipped` are the session's skipped keys.
    pub fn closed_chain(&self, skipped: Option<&SkippedKeys>) -> Option<ChainEvent> {
        let next = self.receiving_chain_length()?;
        let mut missing = self.evicted.clone();
        for n in skipped.into_iter().flat_map(|skipped| skipped.indices(&self.ratchet.remote)) {
            missing.add_index(n);
        }
        Some(ChainEvent::Closed(self.ratchet.remote, ChainRecord::new(next, &missing)))
    }

    /// Returns the session without all but the `most` youngest of its skipped keys, and those keys.
    pub fn keep_youngest(&self, skipped: &SkippedKeys, most: usize) -> (Session, SkippedKeys) {
        let (mut session, mut few) = (self.clone(), skipped.clone());
        session.note_evicted(few.add(self.ratchet.remote, Vec::new(), most));
        session.skipped = count(&few);
        (session, few)
    }

    fn note_evicted(&mut self, evicted: impl IntoIterator<Item = (PublicKey, u32)>) {
        for (chain, n) in evicted {
            if chain == self.ratchet.remote {
                self.evicted.add_index(n);
                self.evicted.fill_gaps(limits::CLOSED_CHAIN_RANGES);
            }
        }
    }

    /// Keeps the keys that a message skipped; gives all skipped keys if any were added.
    fn keep(
        &mut self,
        before: Option<&SkippedKeys>,
        newly_skipped: Vec<SkippedInChain>,
        limits: &SkipLimits,
    ) -> Option<SkippedKeys> {
        let newly_skipped: Vec<SkippedInChain> =
            newly_skipped.into_iter().filter(|(_, keys)| !keys.is_empty()).collect();
        if newly_skipped.is_empty() {
            return None;
        }
        let mut skipped = before.cloned().unwrap_or_default();
        for (ratchet_key, keys) in newly_skipped {
            self.note_evicted(skipped.add(ratchet_key, keys, limits.per_session));
        }
        self.skipped = count(&skipped);
        Some(skipped)
    }

    /// Its namespace.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// Whether we began it.
    pub fn is_initiator(&self) -> bool {
        self.role == Role::Initiator
    }

    /// Whether anything of the other side was decrypted with it.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Returns whether the other side has answered what we sent on this session: it made a DH ratchet step on a ratchet
    /// key of ours that only this session has shown it.
    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// The other side's identity key in Curve25519 form, as it stood in the bundle or key exchange.
    pub fn peer_mont(&self) -> &[u8; 32] {
        &self.peer
    }

    /// The same in Ed25519 form, where the namespace authenticates that.
    pub fn peer_ed(&self) -> Option<&[u8; 32]> {
        match (self.namespace.profile().wire, self.role) {
            (Wire::Omemo, Role::Initiator) => Some(&self.parties.responder),
            (Wire::Omemo, Role::Responder) => Some(&self.parties.initiator),
            (Wire::Signal, _) => None,
        }
    }

    /// Returns whether the other side began this session by a key exchange with these keys. The ids of the pre keys do not
    /// count: nobody authenticates them in the messages that repeat the exchange.
    pub fn was_begun_by(&self, exchange: &KeyExchange) -> bool {
        let same_ephemeral = self.exchange.ephemeral.as_bytes().ct_eq(exchange.id().ephemeral.as_bytes());
        self.role == Role::Responder
            && self.namespace == exchange.namespace()
            && bool::from(same_ephemeral)
            && bool::from(self.exchange.identity.ct_eq(exchange.identity_mont()))
            // The session authenticates the sign, too, where this namespace sends it.
            && exchange.identity_ed().is_none_or(|ed| self.peer_ed() == Some(ed))
    }

    /// Returns whether this is the identity key of our side.
    pub fn is_of(&self, own: &IdentityKey) -> bool {
        let ours = match self.role {
            Role::Initiator => &self.parties.initiator,
            Role::Responder => &self.parties.responder,
        };
        let expected = match self.namespace.profile().wire {
            Wire::Omemo => own.ed(),
            Wire::Signal => own.mont(),
        };
        ours.ct_eq(expected).into()
    }

    /// What tells the key exchange that began it from others.
    pub fn exchange_id(&self) -> &ExchangeId {
        &self.exchange
    }

    /// The other side's ratchet key: new with each turn of the conversation.
    pub fn ratchet_key(&self) -> &PublicKey {
        &self.ratchet.remote
    }

    /// Our own ratchet key.
    pub fn own_ratchet_key(&self) -> PublicKey {
        self.ratchet.own.public()
    }

    /// Messages sent since the other side's last turn.
    pub fn sending_chain_length(&self) -> u32 {
        self.ratchet.sending.length()
    }

    /// Index of the next message in the other side's chain; `None` before its first message.
    pub fn receiving_chain_length(&self) -> Option<u32> {
        self.ratchet.receiving.as_ref().map(|chain| chain.length())
    }

    /// How many skipped keys are kept.
    pub fn skipped_keys(&self) -> u32 {
        self.skipped
    }
}

fn count(skipped: &SkippedKeys) -> u32 {
    u32::try_from(skipped.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
