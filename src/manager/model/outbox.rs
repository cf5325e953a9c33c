//! Empty messages that wait to be sent: answers to key exchanges, heartbeats, and beginnings of repaired sessions.
//!
//! One for each ratchet key is enough, and none is needed once anything else was handed out on the same ratchet key.

use super::address::SessionAddress;
use super::standing::Standing;
use crate::crypto::keys::PublicKey;
use crate::protocol::limits;
use crate::protocol::session::Session;

/// One empty message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::manager) struct OutboxEntry {
    pub(in crate::manager) id: u64,
    pub(in crate::manager) at: SessionAddress,
    /// Our ratchet key in the session that it is for.
    pub(in crate::manager) ratchet_key: PublicKey,
    /// When it was caused, in accumulated milliseconds (see `rotation`).
    pub(in crate::manager) since_ms: u64,
    /// It was encrypted: its bytes lie in a record of their own, and every attempt sends the same.
    pub(in crate::manager) encrypted: bool,
    /// It carries the key exchange.
    pub(in crate::manager) key_exchange: bool,
    /// Messages that were sent on that ratchet key before.
    pub(in crate::manager) sent: u32,
    /// What its JID is to the client.
    pub(in crate::manager) standing: Standing,
}

impl OutboxEntry {
    /// Returns whether it still does what it is for: nothing was handed out on its ratchet key since.
    pub(in crate::manager) fn is_needed(&self, session: &Session) -> bool {
        let sent = self.sent.saturating_add(self.encrypted.into());
        session.own_ratchet_key() == self.ratchet_key && session.sending_chain_length() == sent
    }

    fn bytes(&self) -> usize {
        self.at.jid.as_str().len().saturating_add(96)
    }
}

/// The empty messages, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct Outbox(Vec<OutboxEntry>);

impl Outbox {
    pub(in crate::manager) fn from_stored(entries: Vec<OutboxEntry>) -> Outbox {
        Outbox(entries)
    }

    pub(in crate::manager) fn iter(&self) -> impl ExactSizeIterator<Item = &OutboxEntry> {
        self.0.iter()
    }

    pub(in crate::manager) fn get(&self, id: u64) -> Option<&OutboxEntry> {
        self.0.iter().find(|entry| entry.id == id)
    }

    pub(in crate::manager) fn get_mut(&mut self, id: u64) -> Option<&mut OutboxEntry> {
        self.0.iter_mut().find(|entry| entry.id == id)
    }

    /// Returns whether one for this ratchet key waits already.
    pub(in crate::manager) fn has(&self, at: &SessionAddress, ratchet_key: &PublicKey) -> bool {
        self.0.iter().any(|entry| entry.at == *at && entry.ratchet_key == *ratchet_key)
    }

    /// Returns whether one more has room. Strangers have half of it.
    pub(in crate::manager) fn has_room(&self, standing: Standing) -> bool {
        let share = |most: usize| match standing {
            Standing::Known => most,
            Standing::Stranger => most.checked_div(2).unwrap_or(most),
        };
        let counted = self.0.iter().filter(|entry| standing.is_known() || !entry.standing.is_known());
        let (count, bytes) = counted.fold((0_usize, 0_usize), |(n, bytes), entry| {
            (n.saturating_add(1), bytes.saturating_add(entry.bytes()))
        });
        count < share(limits::WAITING_MESSAGES) && bytes < share(limits::WAITING_MESSAGES_BYTES)
    }

    /// Adds one.
    pub(in crate::manager) fn push(&mut self, entry: OutboxEntry) {
        self.0.push(entry);
    }

    /// Returns a stranger's oldest one.
    pub(in crate::manager) fn oldest_of_strangers(&self) -> Option<u64> {
        self.0.iter().find(|entry| entry.standing == Standing::Stranger).map(|entry| entry.id)
    }

    /// Takes one out.
    pub(in crate::manager) fn remove(&mut self, id: u64) -> Option<OutboxEntry> {
        let position = self.0.iter().position(|entry| entry.id == id)?;
        Some(self.0.remove(position))
    }

    /// Returns the ids of those for a device.
    pub(in crate::manager) fn ids_for(&self, at: &SessionAddress) -> Vec<u64> {
        self.0.iter().filter(|entry| entry.at == *at).map(|entry| entry.id).collect()
    }

    /// Returns the ids of those that were caused before a moment.
    pub(in crate::manager) fn ids_before(&self, accumulated_ms: u64) -> Vec<u64> {
        self.0.iter().filter(|entry| entry.since_ms < accumulated_ms).map(|entry| entry.id).collect()
    }
}

#[cfg(test)]
mod tests;
