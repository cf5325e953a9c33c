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
    /// When it was caused, in wall-clock milliseconds.
    pub(in crate::manager) since_ms: i64,
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
    pub(in crate::manager) fn ids_before(&self, wall_ms: i64) -> Vec<u64> {
        self.0.iter().filter(|entry| entry.since_ms < wall_ms).map(|entry| entry.id).collect()
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;
    use crate::protocol::address::{BareJid, DeviceId};
    use crate::protocol::namespace::Namespace;
    use crate::test_support::{Met, Seeded};
    use Standing::{Known, Stranger};

    fn entry(id: u64, jid: &str, standing: Standing) -> OutboxEntry {
        let jid = BareJid::from_normalized(jid);
        OutboxEntry {
            id,
            at: SessionAddress { jid, device: DeviceId::new(1).unwrap(), namespace: Namespace::Omemo2 },
            ratchet_key: PublicKey::from_bytes([7; 32]),
            since_ms: i64::try_from(id).unwrap(),
            encrypted: false,
            key_exchange: false,
            sent: 0,
            standing,
        }
    }

    fn filled(count: usize, jid: &str, standing: Standing) -> Outbox {
        Outbox::from_stored((0..count).map(|id| entry(u64::try_from(id).unwrap(), jid, standing)).collect())
    }

    #[test]
    fn strangers_have_room_for_half_and_known_jids_for_all() {
        let half = limits::WAITING_MESSAGES / 2;
        assert!(
            filled(half - 1, "a@b", Stranger).has_room(Stranger)
                && !filled(half, "a@b", Stranger).has_room(Stranger)
        );
        assert!(filled(half, "a@b", Stranger).has_room(Known));
        // What waits for known JIDs takes no room from strangers.
        assert!(filled(limits::WAITING_MESSAGES - 1, "a@b", Known).has_room(Known));
        assert!(!filled(limits::WAITING_MESSAGES, "a@b", Known).has_room(Known));
        assert!(filled(limits::WAITING_MESSAGES, "a@b", Known).has_room(Stranger));
    }

    #[test]
    fn the_bytes_of_long_jids_are_bounded_too() {
        let jid = "x".repeat(2_000);
        let fit = limits::WAITING_MESSAGES_BYTES / (2_000 + 96) + 1;
        assert!(fit < limits::WAITING_MESSAGES / 2, "bytes are what limits here");
        assert!(filled(fit - 1, &jid, Known).has_room(Known) && !filled(fit, &jid, Known).has_room(Known));
        let half = limits::WAITING_MESSAGES_BYTES / 2 / (2_000 + 96) + 1;
        assert!(
            filled(half - 1, &jid, Stranger).has_room(Stranger)
                && !filled(half, &jid, Stranger).has_room(Stranger)
        );
        // Exactly as many bytes as there is room for.
        let jid = "x".repeat(limits::WAITING_MESSAGES_BYTES / 256 - 96);
        assert!(filled(255, &jid, Known).has_room(Known) && !filled(256, &jid, Known).has_room(Known));
    }

    #[test]
    fn it_is_needed_until_something_else_goes_out_on_its_ratchet_key() {
        let mut rng = Seeded::new(4);
        let Met { ours: own, bundle, .. } = Met::new(Namespace::Omemo2, &mut rng);
        let mut session = Session::initiate(&own, &bundle, &mut rng).unwrap();
        let mut entry = entry(1, "a@b", Known);
        assert!(!entry.is_needed(&session), "it is for another ratchet key");
        entry.ratchet_key = session.own_ratchet_key();
        assert!(entry.is_needed(&session));
        // Its own encryption is none of those that make it idle.
        session.encrypt(b"empty").unwrap();
        assert!(!entry.is_needed(&session));
        entry.encrypted = true;
        assert!(entry.is_needed(&session));
        session.encrypt(b"text").unwrap();
        assert!(!entry.is_needed(&session));
    }

    #[test]
    fn entries_are_found_by_all_that_names_them() {
        let mut outbox = Outbox::default();
        for (id, jid, standing) in [(1, "a@b", Known), (2, "c@d", Stranger), (3, "a@b", Stranger)] {
            outbox.push(entry(id, jid, standing));
        }
        let at = entry(0, "a@b", Known).at;
        let key = PublicKey::from_bytes([7; 32]);
        assert!(outbox.has(&at, &key) && !outbox.has(&at, &PublicKey::from_bytes([8; 32])));
        assert!(!outbox.has(&at.in_namespace(Namespace::Legacy), &key));
        assert_eq!((outbox.ids_for(&at), outbox.ids_before(3)), (vec![1, 3], vec![1, 2]));
        assert_eq!((outbox.oldest_of_strangers(), outbox.iter().len()), (Some(2), 3));
        assert_eq!(outbox.get(2).unwrap().at.jid.as_str(), "c@d");
        outbox.get_mut(3).unwrap().sent = 5;
        assert_eq!((outbox.remove(3).unwrap().sent, outbox.remove(3)), (5, None));
        assert_eq!((outbox.ids_for(&at), outbox.get(3)), (vec![1], None));
    }
}
