//! What a session says of itself and of a message: answered, advanced, duplicate or lost, and what a message costs.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::*;
use crate::protocol::chain::Chain;
use crate::protocol::closed_chains::Quota;
use crate::protocol::x3dh::ResponderKeys;
use crate::test_support::{Met, Pages, Seeded, in_both_namespaces};

struct Side {
    session: Session,
    skipped: SkippedKeys,
    closed: Pages,
    limits: SkipLimits,
    rng: Seeded,
}

impl Side {
    fn new(session: Session, seed: u64) -> Side {
        let (skipped, closed, limits) = (SkippedKeys::new(), Pages::default(), SkipLimits::default());
        Side { session, skipped, closed, limits, rng: Seeded::new(seed) }
    }

    fn send(&mut self) -> Vec<u8> {
        self.session.encrypt(b"text").unwrap().bytes
    }

    fn send_many(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.send()).collect()
    }

    fn parse(&self, bytes: &[u8]) -> RatchetMessage {
        RatchetMessage::parse(self.session.namespace(), bytes).unwrap()
    }

    fn attempt(&mut self, bytes: &[u8], budget: &mut ChainBudget) -> Result<Step> {
        let message = self.parse(bytes);
        let skipped = self.session.needs_skipped(&message).then_some(&self.skipped);
        self.session.decrypt(&message, skipped, &mut |key| self.closed.find(key), budget, &mut self.rng)
    }

    fn keep(&mut self, step: Step) {
        self.session = Session::decode(&step.session.encode()).unwrap();
        self.closed.note(step.chain.as_ref(), Quota::Known);
        if let Some(skipped) = step.skipped {
            self.skipped = SkippedKeys::decode(&skipped.encode()).unwrap();
        }
    }

    /// Receives a message; gives whether it moved the chain forward.
    fn receive(&mut self, bytes: &[u8]) -> std::result::Result<bool, Status> {
        let step = self.attempt(bytes, &mut ChainBudget::new(self.limits)).map_err(|error| error.status())?;
        let advanced = step.advanced;
        self.keep(step);
        Ok(advanced)
    }

    /// A DH ratchet step: the other side answers, and so do we.
    fn turn(&mut self, peer: &mut Side) {
        let bytes = self.send();
        assert_eq!(peer.receive(&bytes), Ok(true));
        let bytes = peer.send();
        assert_eq!(self.receive(&bytes), Ok(true));
    }
}

/// An initiator whose key exchange was read.
fn begun(namespace: Namespace) -> [Side; 2] {
    let mut rng = Seeded::new(31);
    let Met { ours: own, theirs, signed, pre_key, bundle } = Met::new(namespace, &mut rng);
    let mut session = Session::initiate(&own, &bundle, &mut rng).unwrap();
    let first = KeyExchange::parse(namespace, &session.encrypt(b"first").unwrap().bytes).unwrap();
    let mut budget = ChainBudget::new(SkipLimits::default());
    let step =
        Session::accept(&ResponderKeys::new(&theirs, &signed.pair, &pre_key), &first, &mut budget, &mut rng)
            .unwrap();
    assert!(step.advanced && step.chain.is_none());
    [Side::new(session, 32), Side::new(step.session, 33)]
}

/// Two sides that both have answered; the first one's turn to send on a chain that the other knows.
fn pair(namespace: Namespace) -> [Side; 2] {
    let [mut a, mut b] = begun(namespace);
    b.turn(&mut a);
    let bytes = b.send();
    assert_eq!(a.receive(&bytes), Ok(true));
    let bytes = a.send();
    assert_eq!(b.receive(&bytes), Ok(true));
    [a, b]
}

fn answered_is_who_saw_a_step_on_his_own_ratchet_key(namespace: Namespace) {
    let state = |side: &Side| {
        let stored = Session::decode(&side.session.encode()).unwrap();
        assert_eq!(stored.is_answered(), side.session.is_answered());
        (stored.is_confirmed(), stored.is_answered())
    };
    let [mut initiator, mut responder] = begun(namespace);
    assert_eq!((initiator.session.is_initiator(), responder.session.is_initiator()), (true, false));
    let lengths = [&initiator, &responder].map(|side| side.session.sending_chain_length());
    assert_eq!(lengths, [1, 0], "of the messages on a sending chain");
    assert_eq!((state(&initiator), state(&responder)), ((false, false), (true, false)));
    // What we send, and what the other side sends before it has seen it, answers nothing.
    let sent = responder.send_many(3);
    assert_eq!(state(&responder), (true, false));
    let exchange = initiator.send();
    let again = KeyExchange::parse(namespace, &exchange).unwrap();
    let step = responder.session.decrypt(
        again.message(),
        None,
        &mut |_| Ok(None),
        &mut ChainBudget::new(responder.limits),
        &mut responder.rng,
    );
    responder.keep(step.unwrap());
    assert_eq!(state(&responder), (true, false));
    assert_eq!(initiator.receive(&sent[1]), Ok(true));
    assert_eq!(state(&initiator), (true, true));
    assert_eq!(initiator.receive(&sent[0]), Ok(false), "a skipped key moves no chain");
    let answer = initiator.send();
    assert_eq!(responder.receive(&answer), Ok(true));
    assert_eq!(state(&responder), (true, true));
    assert_eq!(initiator.receive(&sent[2]), Ok(true));
    assert_eq!(state(&initiator), (true, true));
}

/// What a message costs at least: with one step less it is refused.
fn cost(side: &mut Side, bytes: &[u8]) -> usize {
    let mut budget = ChainBudget::new(side.limits);
    let all = budget.left;
    side.attempt(bytes, &mut budget).unwrap();
    let cost = all - budget.left;
    budget.left = cost;
    side.attempt(bytes, &mut budget).unwrap();
    assert_eq!(budget.left, 0);
    if let Some(less) = cost.checked_sub(1) {
        budget.left = less;
        let refused = side.attempt(bytes, &mut budget).err().unwrap();
        assert_eq!((refused.status(), budget.left), (Status::DecryptionFailed, less));
    }
    cost
}

fn a_message_costs_the_keys_that_it_skips(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace);
    let next = a.send();
    assert_eq!(cost(&mut b, &next), 0);
    let current = a.send_many(6);
    assert_eq!(cost(&mut b, &current[5]), 6, "skipped in the current chain");
    assert_eq!(b.receive(&next), Ok(true));
    // The other side knows nothing of seven messages at the end of this chain when the next one is opened.
    a.send();
    let turn = b.send();
    assert_eq!(a.receive(&turn), Ok(true));
    let opened = a.send_many(4);
    assert_eq!(cost(&mut b, &opened[0]), 7, "skipped at the end of the chain that is closed");
    assert_eq!(cost(&mut b, &opened[3]), 7 + 3, "skipped in the chain that is opened, too");
    assert_eq!(b.receive(&opened[0]), Ok(true));
    let turn = b.send();
    assert_eq!(a.receive(&turn), Ok(true));
    for bytes in &opened[1..] {
        assert_eq!(b.receive(bytes), Ok(true));
    }
    let opened = a.send_many(3);
    assert_eq!(cost(&mut b, &opened[2]), 2, "nothing is missing of the chain that is closed");
    assert_eq!(b.receive(&opened[2]), Ok(true));
    assert_eq!(cost(&mut b, &opened[1]), 0, "a key that was kept");
}

fn what_the_limits_allow_a_message_may_cost(namespace: Namespace) {
    for limit in [0, 1, 1_000, 2_000] {
        let [mut a, mut b] = pair(namespace);
        b.limits = SkipLimits { per_session: limit, per_message: limit };
        a.send_many(limit);
        let turn = b.send();
        assert_eq!(a.receive(&turn), Ok(true));
        let opened = a.send_many(limit + 2);
        assert_eq!(cost(&mut b, &opened[limit]), 2 * limit);
        assert_eq!(ChainBudget::new(b.limits).left, 2 * limit);
        assert_eq!(b.receive(&opened[limit + 1]), Err(Status::TooManySkipped));
        assert_eq!(b.receive(&opened[limit]), Ok(true));
    }
}

/// A chain of which only the tail has a key, and one of which only the skipped keys have one, are known.
fn a_session_knows_a_chain_by_its_tail_or_by_skipped_keys(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace);
    let late = a.send_many(2);
    let parsed = late.iter().map(|bytes| b.parse(bytes)).collect::<Vec<_>>();
    let turn = b.send();
    a.receive(&turn).unwrap();
    // As libsignal counts: one message fewer was sent.
    a.session.ratchet.pn -= 1;
    let opening = a.send();
    b.receive(&opening).unwrap();
    assert_eq!(b.skipped.len(), 1);
    assert_eq!(b.receive(&late[0]), Ok(false));
    assert!(b.skipped.is_empty() && b.session.knows(&parsed[1], Some(&b.skipped)));
    assert!(b.session.knows(&parsed[1], None), "its tail has the key");
    assert_eq!(b.receive(&late[1]), Ok(false));

    let late = a.send();
    let parsed = b.parse(&late);
    b.turn(&mut a);
    for _ in 0..limits::KEYS_AT_PN + 1 {
        b.turn(&mut a);
    }
    assert!(!b.session.knows(&parsed, None), "its chain has left the tail");
    assert!(b.session.knows(&parsed, Some(&b.skipped)), "the key was skipped");
    assert_eq!(b.receive(&late), Ok(false));
    assert!(!b.session.knows(&parsed, Some(&b.skipped)));
}

/// Also where nothing was missing of it, and long after it left the tail.
fn a_closed_chain_is_remembered(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace);
    let mut given = Vec::new();
    for turn in 0..60 {
        let sent = a.send_many(1 + turn % 4);
        let arrive = if turn % 3 == 0 { sent.len() } else { sent.len().div_ceil(2) };
        for (n, bytes) in sent.into_iter().enumerate() {
            if n < arrive {
                assert_eq!(b.receive(&bytes), Ok(true));
            }
            given.push((bytes, n < arrive));
        }
        b.turn(&mut a);
        b.turn(&mut a);
    }
    // What was skipped is given up with its keys, as after a thousand more.
    (b.skipped, b.session.skipped) = (SkippedKeys::new(), 0);
    for tail in &mut b.session.ratchet.keys_at_pn {
        tail.key = None;
    }
    let mut budget = ChainBudget::new(SkipLimits { per_session: 0, per_message: 0 });
    for (bytes, decrypted) in &given {
        let status = if *decrypted { Status::Duplicate } else { Status::DecryptionFailed };
        assert_eq!(b.attempt(bytes, &mut budget).err().unwrap().status(), status);
        // Nobody needs the key to say so: it is the position that was decrypted.
        let mut forged = bytes.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(b.attempt(&forged, &mut budget).err().unwrap().status(), status);
    }
    assert!(given.iter().any(|(_, decrypted)| !decrypted));
}

fn a_late_message_is_a_duplicate_from_then_on(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace);
    let late = a.send_many(4);
    assert_eq!(b.receive(&late[3]), Ok(true));
    b.turn(&mut a);
    for (n, bytes) in late.iter().enumerate().take(3) {
        assert_eq!(b.receive(bytes), Ok(false), "{n}");
        assert_eq!(b.receive(bytes), Err(Status::Duplicate), "{n}");
    }
    assert_eq!(b.receive(&late[3]), Err(Status::Duplicate));
}

fn a_key_that_was_given_up_makes_no_duplicate(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace);
    let sent = a.send_many(1_500);
    assert_eq!(b.receive(&sent[900]), Ok(true));
    assert_eq!(b.receive(&sent[1_400]), Ok(true));
    let check = |b: &mut Side| {
        assert_eq!(b.receive(&sent[5]), Err(Status::DecryptionFailed), "never read");
        assert_eq!(b.receive(&sent[398]), Err(Status::DecryptionFailed), "never read");
        assert_eq!(b.receive(&sent[900]), Err(Status::Duplicate));
        assert_eq!(b.receive(&sent[1_400]), Err(Status::Duplicate));
    };
    check(&mut b);
    assert_eq!(b.receive(&sent[399]), Ok(false), "the oldest key that is left");
    assert_eq!(b.receive(&sent[399]), Err(Status::Duplicate));
    b.turn(&mut a);
    check(&mut b);
    assert_eq!(b.receive(&sent[399]), Err(Status::Duplicate));
    assert_eq!(b.receive(&sent[1_399]), Ok(false));
    assert_eq!(b.receive(&sent[1_399]), Err(Status::Duplicate));
}

/// Where more was given up than a record has room for, what was read may warn; what was not never hides.
fn more_gaps_than_fit_hide_nothing(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace);
    b.limits = SkipLimits { per_session: 2, per_message: 2 };
    let sent = a.send_many(40);
    for (n, bytes) in sent.iter().enumerate().skip(1).step_by(2) {
        assert_eq!(b.receive(bytes), Ok(true), "{n}");
    }
    for closed in [false, true] {
        if closed {
            b.turn(&mut a);
        }
        for (n, bytes) in sent.iter().enumerate().take(36) {
            let refused = b.receive(bytes).unwrap_err();
            assert!(refused == Status::DecryptionFailed || (n % 2 == 1 && refused == Status::Duplicate));
        }
    }
}

/// All encodings of points of low order on Curve25519 and its twist, with and without the bit that X25519 ignores.
fn a_ratchet_key_of_low_order_fails_like_any_wrong_one(namespace: Namespace) {
    let mut order_8 = [[0; 32]; 2];
    for (key, text) in order_8.iter_mut().zip([
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ]) {
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        }
    }
    let near_p = |first| {
        let mut key = [0xff; 32];
        (key[0], key[31]) = (first, 0x7f);
        key
    };
    let mut one = [0; 32];
    one[0] = 1;
    let mut keys = vec![[0; 32], one, order_8[0], order_8[1], near_p(0xec), near_p(0xed), near_p(0xee)];
    let high = keys.iter().map(|key| {
        let mut key = *key;
        key[31] |= 0x80;
        key
    });
    keys.extend(high.collect::<Vec<_>>());
    let [mut a, mut b] = pair(namespace);
    let genuine = b.parse(&a.send()).header();
    for key in keys {
        let header = Header { ratchet_key: PublicKey::from_bytes(key), ..genuine };
        let bytes =
            RatchetMessage::seal(namespace, header, &[0; 32], &a.session.parties, Role::Initiator, b"text")
                .unwrap();
        assert_eq!(b.receive(&bytes), Err(Status::DecryptionFailed), "{key:?}");
    }
}

/// The chain that is closed ends with the last index there is, which has no key.
fn a_chain_at_its_very_end_is_closed_like_any_other(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace);
    let turn = b.send();
    assert_eq!(a.receive(&turn), Ok(true));
    let chain = b.session.ratchet.receiving.as_mut().unwrap();
    *chain = Chain::from_stored(chain.key().clone(), u32::MAX - 1);
    a.session.ratchet.pn = u32::MAX;
    let opened = a.send();
    assert_eq!(b.receive(&opened), Ok(true));
    assert_eq!(b.session.skipped_keys(), 1);
    let last = b.session.ratchet.keys_at_pn.last().unwrap();
    assert!(last.n == u32::MAX && last.key.is_none());
}

in_both_namespaces! {
    a_chain_at_its_very_end_is_closed_like_any_other
    answered_is_who_saw_a_step_on_his_own_ratchet_key
    a_message_costs_the_keys_that_it_skips
    what_the_limits_allow_a_message_may_cost
    a_session_knows_a_chain_by_its_tail_or_by_skipped_keys
    a_closed_chain_is_remembered
    a_late_message_is_a_duplicate_from_then_on
    a_key_that_was_given_up_makes_no_duplicate
    more_gaps_than_fit_hide_nothing
    a_ratchet_key_of_low_order_fails_like_any_wrong_one
}
