//! Messages that come late from peers that count as libsignal does: they announce one message fewer than they sent.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::super::closed_chains::Quota;
use super::super::limits::KEYS_AT_PN;
use super::super::messages::key_exchange::KeyExchange;
use super::super::messages::ratchet_message::RatchetMessage;
use super::super::namespace::Namespace;
use super::super::session::{ChainBudget, Session, SkipLimits};
use super::super::skipped_keys::SkippedKeys;
use super::super::x3dh::ResponderKeys;
use crate::error::{Result, Status};
use crate::test_support::{Met, Pages, Seeded, in_both_namespaces};

struct Side {
    session: Session,
    skipped: SkippedKeys,
    closed: Pages,
    rng: Seeded,
}

impl Side {
    fn send(&mut self, text: &str) -> Vec<u8> {
        self.session.encrypt(text.as_bytes()).unwrap().bytes
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<String> {
        let message = RatchetMessage::parse(self.session.namespace(), bytes)?;
        let skipped = self.session.needs_skipped(&message).then_some(&self.skipped);
        let mut budget = ChainBudget::new(SkipLimits::default());
        let step = self.session.decrypt(
            &message,
            skipped,
            &mut |key| self.closed.find(key),
            &mut budget,
            &mut self.rng,
        )?;
        // What is kept for late messages is kept in the record, too.
        self.session = Session::decode(&step.session.encode()).unwrap();
        self.closed.note(step.chain.as_ref(), Quota::Known);
        if let Some(skipped) = step.skipped {
            self.skipped = SkippedKeys::decode(&skipped.encode()).unwrap();
        }
        Ok(String::from_utf8(step.plaintext.to_vec()).unwrap())
    }

    fn turn(&mut self, peer: &mut Side) {
        let bytes = peer.send("turn");
        assert_eq!(self.receive(&bytes).unwrap(), "turn");
    }
}

/// Two sides with a session that both have used.
fn pair(namespace: Namespace) -> [Side; 2] {
    let mut rng = Seeded::new(21);
    let Met { ours: own, theirs, signed, pre_key, bundle } = Met::new(namespace, &mut rng);
    let mut session = Session::initiate(&own, &bundle, &mut rng).unwrap();
    let first = session.encrypt(b"first").unwrap();
    assert!(first.key_exchange);
    let exchange = KeyExchange::parse(namespace, &first.bytes).unwrap();
    let mut budget = ChainBudget::new(SkipLimits::default());
    let step = Session::accept(
        &ResponderKeys::new(&theirs, &signed.pair, &pre_key),
        &exchange,
        &mut budget,
        &mut rng,
    )
    .unwrap();
    let skipped = SkippedKeys::new;
    let mut initiator = Side { session, skipped: skipped(), closed: Pages::default(), rng: Seeded::new(22) };
    let mut responder =
        Side { session: step.session, skipped: skipped(), closed: Pages::default(), rng: Seeded::new(23) };
    initiator.turn(&mut responder);
    [initiator, responder]
}

/// As `Side::turn`, by a peer that announces one message fewer, as libsignal does.
fn turn_announcing_too_few(receiver: &mut Side, peer: &mut Side) {
    peer.session.ratchet.pn = peer.session.ratchet.pn.saturating_sub(1);
    receiver.turn(peer);
}

fn the_last_message_of_a_chain_may_be_late(namespace: Namespace) {
    for sent in 2..6_usize {
        for missing in 1..sent {
            let [mut us, mut peer] = pair(namespace);
            peer.turn(&mut us);
            let texts: Vec<String> = (0..sent).map(|n| format!("message {n}")).collect();
            let bytes: Vec<Vec<u8>> = texts.iter().map(|text| peer.send(text)).collect();
            let arrived = sent - missing;
            for (bytes, text) in bytes.iter().zip(&texts).take(arrived) {
                assert_eq!(us.receive(bytes).as_ref(), Ok(text));
            }
            peer.turn(&mut us);
            turn_announcing_too_few(&mut us, &mut peer);
            assert_eq!(us.skipped.len(), missing - 1, "the last key is none of the queue");
            for (bytes, text) in bytes.iter().zip(&texts).skip(arrived).rev() {
                assert_eq!(us.receive(bytes).as_ref(), Ok(text));
                let state = us.session.encode();
                assert_eq!(us.receive(bytes).unwrap_err().status(), Status::Duplicate);
                assert!(us.session.encode() == state);
            }
            assert_eq!(us.skipped.len(), 0);
            peer.turn(&mut us);
            us.turn(&mut peer);
        }
    }
}

fn five_chains_are_remembered(namespace: Namespace) {
    let [mut us, mut peer] = pair(namespace);
    let mut late = Vec::new();
    for _ in 0..KEYS_AT_PN + 1 {
        peer.turn(&mut us);
        // The announcement belongs to the first message of a chain, too.
        turn_announcing_too_few(&mut us, &mut peer);
        late.push(peer.send("late"));
    }
    peer.turn(&mut us);
    turn_announcing_too_few(&mut us, &mut peer);
    assert_eq!(us.session.ratchet.keys_at_pn.len(), KEYS_AT_PN);
    assert_eq!(us.skipped.len(), 0);
    let oldest = late.remove(0);
    assert_eq!(us.receive(&oldest).unwrap_err().status(), Status::DecryptionFailed);
    assert_eq!(late.len(), KEYS_AT_PN);
    for bytes in &late {
        assert_eq!(us.receive(bytes).unwrap(), "late");
        assert_eq!(us.receive(bytes).unwrap_err().status(), Status::Duplicate);
    }
}

fn a_forged_late_message_uses_nothing_up(namespace: Namespace) {
    let [mut us, mut peer] = pair(namespace);
    peer.turn(&mut us);
    us.turn(&mut peer);
    let late = peer.send("late");
    peer.turn(&mut us);
    turn_announcing_too_few(&mut us, &mut peer);
    let state = us.session.encode();
    let mut forged = late.clone();
    // Within the MAC of legacy and the ciphertext of omemo:2.
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(us.receive(&forged).unwrap_err().status(), Status::DecryptionFailed);
    assert!(us.session.encode() == state);
    assert_eq!(us.receive(&late).unwrap(), "late");
}

in_both_namespaces! {
    the_last_message_of_a_chain_may_be_late
    five_chains_are_remembered
    a_forged_late_message_uses_nothing_up
}
