//! Conversations by chance between two sessions: loss, reordering, repetition, forgery and reloading, with a model of
//! what must come of each message beside them. The same bodies run for both namespaces.

use omemo::crypto::identity::IdentityKeyPair;
use omemo::crypto::keys::{KeyPair, PublicKey};
use omemo::crypto::rng::Rng;
use omemo::error::{Result, Status};
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::closed_chains::{self, Quota};
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::{Header, RatchetMessage};
use omemo::protocol::namespace::Namespace;
use omemo::protocol::pre_key::SignedPreKey;
use omemo::protocol::session::{ChainBudget, Session, SkipLimits};
use omemo::protocol::skipped_keys::SkippedKeys;
use omemo::protocol::x3dh::ResponderKeys;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use zeroize::Zeroizing;

/// Randomness that tests can repeat: a counter, or private keys that were named before.
struct Dice {
    next: u64,
    named: VecDeque<u8>,
}

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice { next: seed << 32, named: VecDeque::new() }
    }
}

impl Rng for Dice {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        if let Some(byte) = self.named.pop_front() {
            out.fill(byte);
            return Ok(());
        }
        for chunk in out.chunks_mut(8) {
            self.next += 1;
            let mut z = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

/// One side, with its session and the skipped keys beside it.
struct Peer {
    own: IdentityKeyPair,
    signed: SignedPreKey,
    pre_key: KeyPair,
    session: Option<Session>,
    skipped: SkippedKeys,
    /// Pages of closed chains.
    closed: BTreeMap<u8, Vec<u8>>,
    rng: Dice,
}

/// Everything that a side stores.
type State = (Option<Vec<u8>>, Vec<u8>, BTreeMap<u8, Vec<u8>>);

impl Peer {
    fn new(namespace: Namespace, seed: u64) -> Peer {
        let mut rng = Dice::new(seed);
        let own = IdentityKeyPair::generate(&mut rng).unwrap();
        let signed = SignedPreKey::generate(namespace, &own, 7, &mut rng).unwrap();
        let pre_key = KeyPair::generate(&mut rng).unwrap();
        Peer {
            own,
            signed,
            pre_key,
            session: None,
            skipped: SkippedKeys::new(),
            closed: BTreeMap::new(),
            rng,
        }
    }

    fn bundle(&self, namespace: Namespace) -> Bundle {
        Bundle {
            namespace,
            identity_key: *self.own.public().ed(),
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public().as_bytes(),
            signature: self.signed.signature,
            pre_keys: vec![PublicPreKey { id: 0, key: *self.pre_key.public().as_bytes() }],
        }
    }

    fn state(&self) -> State {
        let session = self.session.as_ref().map(|session| session.encode().to_vec());
        (session, self.skipped.encode().to_vec(), self.closed.clone())
    }

    fn reload(&mut self) {
        let (session, skipped, _) = self.state();
        self.session = session.map(|record| Session::decode(&record).unwrap());
        self.skipped = SkippedKeys::decode(&skipped).unwrap();
        assert_eq!(self.session.as_ref().map_or(0, |s| s.skipped_keys()) as usize, self.skipped.len());
    }

    fn send(&mut self, text: &[u8]) -> (Vec<u8>, bool) {
        let sent = self.session.as_mut().unwrap().encrypt(text).unwrap();
        (sent.bytes, sent.key_exchange)
    }

    fn receive(
        &mut self,
        namespace: Namespace,
        bytes: &[u8],
        key_exchange: bool,
        limits: &SkipLimits,
    ) -> Result<Vec<u8>> {
        let (message, exchange) = read(namespace, bytes, key_exchange)?;
        let known = |session: &&Session| {
            exchange.as_ref().is_none_or(|e| session.was_begun_by(e) && e.id() == session.exchange_id())
        };
        let step = match (self.session.as_ref().filter(known), &exchange) {
            (Some(session), _) => {
                // What is not asked for is not given.
                let skipped = session.needs_skipped(&message).then_some(&self.skipped);
                let mut closed =
                    |key: &PublicKey| closed_chains::find(key, &mut |number| page(&self.closed, number));
                let mut budget = ChainBudget::new(*limits);
                session.decrypt(&message, skipped, &mut closed, &mut budget, &mut self.rng)?
            }
            (None, Some(exchange)) => {
                if exchange.id().signed_pre_key_id != self.signed.id || exchange.id().pre_key_id != 0 {
                    return Err(Status::PreKeyUnknown.into());
                }
                let (signed, mut budget) = (&self.signed.pair, ChainBudget::new(*limits));
                Session::accept(
                    &ResponderKeys::new(&self.own, signed, &self.pre_key),
                    exchange,
                    &mut budget,
                    &mut self.rng,
                )?
            }
            (None, None) => return Err(Status::NoSession.into()),
        };
        let advanced = step.advanced;
        let next = |session: &Session| (*session.ratchet_key(), session.receiving_chain_length());
        assert_eq!(advanced, self.session.as_ref().map(next) != Some(next(&step.session)));
        if let Some(event) = &step.chain {
            let page = closed_chains::note(event, Quota::Known, &mut |number| page(&self.closed, number))?;
            self.closed.insert(page.number, page.bytes);
        }
        self.session = Some(step.session);
        if let Some(skipped) = step.skipped {
            self.skipped = skipped;
        }
        Ok(step.plaintext.to_vec())
    }
}

/// Loads a page of closed chains.
fn page(pages: &BTreeMap<u8, Vec<u8>>, number: u8) -> Result<Option<Zeroizing<Vec<u8>>>> {
    Ok(pages.get(&number).map(|bytes| Zeroizing::new(bytes.clone())))
}

fn read(namespace: Namespace, bytes: &[u8], exchange: bool) -> Result<(RatchetMessage, Option<KeyExchange>)> {
    match exchange {
        true => {
            let exchange = KeyExchange::parse(namespace, bytes)?;
            Ok((exchange.message().clone(), Some(exchange)))
        }
        false => Ok((RatchetMessage::parse(namespace, bytes)?, None)),
    }
}

/// The two of them, the first having begun.
fn pair(namespace: Namespace, seed: u64) -> [Peer; 2] {
    let [mut a, b] = [Peer::new(namespace, 2 * seed + 2), Peer::new(namespace, 2 * seed + 3)];
    a.session = Some(Session::initiate(&a.own, &b.bundle(namespace), &mut a.rng).unwrap());
    [a, b]
}

/// What a receiver must do with genuine messages, in a few lines that know no keys.
#[derive(Default)]
struct Model {
    current: Option<[u8; 32]>,
    next: u32,
    closed: Vec<[u8; 32]>,
    queue: Vec<([u8; 32], u32)>,
    read: HashSet<([u8; 32], u32)>,
    /// Chains of which more ranges were read, at some time, than a record has room for: then what was read may fail
    /// instead, also when later messages have filled the gaps.
    scattered: HashSet<[u8; 32]>,
}

impl Model {
    fn note_read(&mut self, chain: [u8; 32], n: u32) {
        self.read.insert((chain, n));
        let begins = |(of, n): &&([u8; 32], u32)| {
            *of == chain && n.checked_sub(1).is_none_or(|before| !self.read.contains(&(chain, before)))
        };
        if self.read.iter().filter(begins).count() > 4 {
            self.scattered.insert(chain);
        }
    }

    fn receive(&mut self, header: Header, limits: &SkipLimits) -> std::result::Result<(), Status> {
        let Header { ratchet_key, pn, n } = header;
        let chain = *ratchet_key.as_bytes();
        let most = limits.per_message as u32;
        if let Some(at) = self.queue.iter().position(|key| *key == (chain, n)) {
            self.queue.remove(at);
            self.note_read(chain, n);
            return Ok(());
        }
        let old = self.closed.contains(&chain) || (self.current == Some(chain) && n < self.next);
        if old {
            let read = self.read.contains(&(chain, n));
            return Err(if read { Status::Duplicate } else { Status::DecryptionFailed });
        }
        if self.current == Some(chain) {
            if n - self.next > most {
                return Err(Status::TooManySkipped);
            }
        } else {
            if n > most {
                return Err(Status::TooManySkipped);
            }
            if let Some(old) = self.current.replace(chain) {
                if pn >= self.next && pn - self.next <= most {
                    self.queue.extend((self.next..pn).map(|n| (old, n)));
                }
                self.closed.push(old);
            }
            self.next = 0;
        }
        self.queue.extend((self.next..n).map(|n| (chain, n)));
        let surplus = self.queue.len().saturating_sub(limits.per_session);
        self.queue.drain(..surplus);
        self.next = n + 1;
        self.note_read(chain, n);
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A side says something.
    Send(bool),
    /// One of the messages arrives, for the first time or again.
    Deliver(usize),
    /// One of them arrives with one bit changed.
    Forge(usize, usize, u8),
    /// A side is written and read.
    Reload(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => any::<bool>().prop_map(Event::Send),
        6 => any::<usize>().prop_map(Event::Deliver),
        1 => any::<(usize, usize, u8)>().prop_map(|(a, b, c)| Event::Forge(a, b, c)),
        1 => any::<bool>().prop_map(Event::Reload),
    ];
    prop::collection::vec(event, 1..120)
}

struct Sent {
    to: usize,
    bytes: Vec<u8>,
    key_exchange: bool,
    text: Vec<u8>,
    read: bool,
}

/// Plays the events; gives how many messages were read, how many were refused, and how many of these had been read and
/// were not known as such any more.
fn play(
    namespace: Namespace,
    seed: u64,
    events: &[Event],
    limits: &SkipLimits,
    complete: bool,
) -> (usize, usize, usize) {
    let mut sides = pair(namespace, seed);
    let mut models = [Model::default(), Model::default()];
    let mut mail: Vec<Sent> = Vec::new();
    let (mut read_count, mut refused, mut guessed) = (0, 0, 0);
    for event in events {
        match event {
            Event::Send(second) => {
                let from = usize::from(*second);
                if sides[from].session.is_some() {
                    let text = format!("message {}", mail.len()).into_bytes();
                    let (bytes, key_exchange) = sides[from].send(&text);
                    mail.push(Sent { to: 1 - from, bytes, key_exchange, text, read: false });
                }
            }
            Event::Deliver(index) if !mail.is_empty() => {
                let at = index % mail.len();
                let Sent { to, bytes, key_exchange, .. } = &mail[at];
                let (side, model) = (&mut sides[*to], &mut models[*to]);
                let header = read(namespace, bytes, *key_exchange).unwrap().0.header();
                let before = side.state();
                let result = side.receive(namespace, bytes, *key_exchange, limits);
                let expected = model.receive(header, limits);
                match result {
                    Ok(text) => {
                        assert_eq!(expected, Ok(()), "a message was read that must not be");
                        assert_eq!(text, mail[at].text);
                        assert!(!mail[at].read, "a message was read twice");
                        mail[at].read = true;
                        read_count += 1;
                    }
                    Err(error) => {
                        let scattered = expected == Err(Status::Duplicate)
                            && error.status() == Status::DecryptionFailed
                            && model.scattered.contains(header.ratchet_key.as_bytes());
                        assert!(scattered || expected == Err(error.status()), "{error:?}, not {expected:?}");
                        assert!(side.state() == before, "a refused message changed the state");
                        assert!(mail[at].read || !complete, "a message was lost");
                        refused += 1;
                        guessed += usize::from(scattered);
                    }
                }
                assert_eq!(side.skipped.len(), model.queue.len());
                let held: Vec<_> = side.skipped.iter().map(|(chain, n, _)| (*chain.as_bytes(), n)).collect();
                assert_eq!(held, model.queue);
                let next = side.session.as_ref().and_then(Session::receiving_chain_length);
                assert_eq!(next.unwrap_or(0), model.next);
            }
            Event::Forge(index, byte, bit) if !mail.is_empty() => {
                let Sent { to, bytes, key_exchange, .. } = &mail[index % mail.len()];
                let (mut bytes, at, bit) = (bytes.clone(), byte % bytes.len(), bit % 8);
                // What else a sender can do, around a key exchange, is the one thing that nobody authenticates.
                if namespace == Namespace::Legacy && *key_exchange && at == 0 && bit < 4 {
                    continue;
                }
                bytes[at] ^= 1 << bit;
                let side = &mut sides[*to];
                let before = side.state();
                assert!(
                    side.receive(namespace, &bytes, *key_exchange, limits).is_err(),
                    "byte {at}, bit {bit}"
                );
                assert!(side.state() == before, "a forged message changed the state");
            }
            Event::Reload(second) => sides[usize::from(*second)].reload(),
            Event::Deliver(_) | Event::Forge(..) => (),
        }
    }
    (read_count, refused, guessed)
}

fn nothing_is_lost(namespace: Namespace) {
    let (refused, forgotten) = (Cell::new(0), Cell::new(0));
    proptest!(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() },
        |(seed in 0_u64..1 << 20, events in events())| {
            let (_, more_refused, more_forgotten) = play(namespace, seed, &events, &SkipLimits::default(), true);
            refused.set(refused.get() + more_refused);
            forgotten.set(forgotten.get() + more_forgotten);
        }
    );
    // It takes a chain of which every other message is missing; these games are too short for more than a few of them.
    let (refused, forgotten) = (refused.get(), forgotten.get());
    assert!(forgotten * 20 <= refused, "{forgotten} of {refused} were forgotten");
}

fn small_limits_are_those_of_the_model(namespace: Namespace) {
    let limits = (0_usize..6, 0_usize..6)
        .prop_map(|(a, b)| SkipLimits { per_session: a.max(b), per_message: a.min(b) });
    proptest!(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() },
        |(seed in 0_u64..1 << 20, events in events(), limits in limits)| {
            play(namespace, seed, &events, &limits, false);
        }
    );
}

/// That the games above are no empty ones.
fn a_long_game_has_everything_in_it(namespace: Namespace) {
    let mut dice = Dice::new(99);
    let mut roll = || {
        let mut bytes = [0; 4];
        dice.fill(&mut bytes).unwrap();
        bytes
    };
    let index = |bytes: [u8; 4]| u32::from_le_bytes(bytes) as usize;
    // What arrives is one of the last dozen, so that much is late and little too late.
    let mut sent = 0_usize;
    let events: Vec<Event> = (0..3_000)
        .map(|_| match roll()[1] % 8 {
            0..3 => {
                sent += 1;
                Event::Send(roll()[2].is_multiple_of(2))
            }
            3..7 => Event::Deliver(sent.saturating_sub(1 + index(roll()) % 12)),
            _ => Event::Reload(roll()[3].is_multiple_of(2)),
        })
        .collect();
    let (read, refused, _) =
        play(namespace, 5, &events, &SkipLimits { per_session: 8, per_message: 4 }, false);
    assert!(read > 400 && refused > 200, "{read} read, {refused} refused");
}

/// A peer whose generator of randomness repeats itself (a virtual machine set back), or that wants to harm, comes back
/// with a ratchet key of an old chain. Its own messages may suffer; what we store must be readable.
fn a_ratchet_key_that_comes_back_spoils_no_record(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace, 7);
    let limits = SkipLimits::default();
    a.rng.named = [0x51, 0x00, 0x52].into();
    // The draws of X3DH: the ephemeral key and the choice of a pre key, then the ratchet key.
    a.session = Some(Session::initiate(&a.own, &b.bundle(namespace), &mut a.rng).unwrap());
    let first_key = a.session.as_ref().unwrap().own_ratchet_key();
    let first: Vec<_> = (0..3).map(|_| a.send(b"first")).collect();
    b.receive(namespace, &first[2].0, first[2].1, &limits).unwrap();
    assert_eq!(b.skipped.len(), 2);
    // Of the last five chains it is remembered that they are over.
    for named in 0x70..0x76 {
        a.rng.named = [named].into();
        let reply = b.send(b"reply");
        a.receive(namespace, &reply.0, reply.1, &limits).unwrap();
        let next = a.send(b"next");
        b.receive(namespace, &next.0, next.1, &limits).unwrap();
    }
    a.rng.named = [0x52].into();
    let reply = b.send(b"reply");
    a.receive(namespace, &reply.0, reply.1, &limits).unwrap();
    assert_eq!(a.session.as_ref().unwrap().own_ratchet_key(), first_key, "the key did not come back");
    let third: Vec<_> = (0..5).map(|_| a.send(b"third")).collect();
    // As long as the old chain is remembered, this one is taken for it.
    let before = b.state();
    for (n, status) in [(1, Status::DecryptionFailed), (4, Status::DecryptionFailed)] {
        let refused = b.receive(namespace, &third[n].0, third[n].1, &limits).unwrap_err();
        assert_eq!(refused.status(), status);
    }
    assert!(b.state() == before);
    b.closed.clear();
    assert_eq!(b.receive(namespace, &third[4].0, third[4].1, &limits).unwrap(), b"third");
    // Writing and reading must hold, and so must what follows.
    b.reload();
    let reply = b.send(b"reply");
    a.receive(namespace, &reply.0, reply.1, &limits).unwrap();
    let fourth = a.send(b"fourth");
    assert_eq!(b.receive(namespace, &fourth.0, fourth.1, &limits).unwrap(), b"fourth");
    b.reload();
    // The late ones of the last life of the chain are still there.
    assert_eq!(b.receive(namespace, &third[2].0, third[2].1, &limits).unwrap(), b"third");
    b.reload();
}

/// Each limit is for one chain: a message may use both up.
fn a_message_may_skip_the_limit_in_both_chains(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace, 8);
    let limits = SkipLimits::default();
    let opening = a.send(b"opening");
    b.receive(namespace, &opening.0, opening.1, &limits).unwrap();
    for _ in 0..limits.per_message {
        a.send(b"lost");
    }
    let reply = b.send(b"reply");
    a.receive(namespace, &reply.0, reply.1, &limits).unwrap();
    let mut last = a.send(b"lost");
    for _ in 0..limits.per_message {
        last = a.send(b"last");
    }
    assert_eq!(b.receive(namespace, &last.0, last.1, &limits).unwrap(), b"last");
    assert_eq!(b.skipped.len(), limits.per_session);
}

fn the_largest_limit_can_be_used(namespace: Namespace) {
    let limits = SkipLimits { per_session: 2_000, per_message: 2_000 };
    let [mut a, mut b] = pair(namespace, 9);
    let opening = a.send(b"opening");
    b.receive(namespace, &opening.0, opening.1, &limits).unwrap();
    for _ in 0..2_000 {
        a.send(b"lost");
    }
    let last = a.send(b"last");
    assert_eq!(b.receive(namespace, &last.0, last.1, &limits).unwrap(), b"last");
}

fn a_fresh_session_takes_at_most_400_bytes(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace, 10);
    let sizes = |side: &Peer| side.session.as_ref().unwrap().encode().len();
    assert!(sizes(&a) <= 400, "{}", sizes(&a));
    let opening = a.send(b"opening");
    b.receive(namespace, &opening.0, opening.1, &SkipLimits::default()).unwrap();
    assert!(sizes(&b) <= 400, "{}", sizes(&b));
    let reply = b.send(b"reply");
    a.receive(namespace, &reply.0, reply.1, &SkipLimits::default()).unwrap();
    assert!(sizes(&a) <= 400, "{}", sizes(&a));
}

fn records_and_messages_of_chance_are_refused(namespace: Namespace) {
    proptest!(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() },
        |(bytes in prop::collection::vec(any::<u8>(), 0..300))| {
            prop_assert!(KeyExchange::parse(namespace, &bytes).is_err());
            prop_assert!(RatchetMessage::parse(namespace, &bytes).is_err());
            prop_assert!(Session::decode(&bytes).is_err());
        }
    );
}

/// Skipped keys are a record of their own: one that was cut short, or is of another time, is noticed.
fn skipped_keys_that_are_not_the_sessions_are_refused(namespace: Namespace) {
    let [mut a, mut b] = pair(namespace, 11);
    let limits = SkipLimits::default();
    let late: Vec<_> = (0..3).map(|_| a.send(b"late")).collect();
    let opening = a.send(b"opening");
    b.receive(namespace, &opening.0, opening.1, &limits).unwrap();
    let genuine = b.skipped.encode();
    for end in 0..genuine.len() {
        match SkippedKeys::decode(&genuine[..end]) {
            Err(error) => assert_eq!(error.status(), Status::StorageCorrupt),
            Ok(fewer) => {
                b.skipped = fewer;
                let result = b.receive(namespace, &late[1].0, late[1].1, &limits);
                assert_eq!(result.unwrap_err().status(), Status::StorageCorrupt, "{end}");
            }
        }
    }
    b.skipped = SkippedKeys::decode(&genuine).unwrap();
    assert_eq!(b.receive(namespace, &late[1].0, late[1].1, &limits).unwrap(), b"late");
}

/// Always the same two, before or after the first answer.
fn replay(namespace: Namespace, answered: bool) -> [Peer; 2] {
    let limits = SkipLimits::default();
    let [mut a, mut b] = pair(namespace, 12);
    if answered {
        let opening = a.send(b"opening");
        b.receive(namespace, &opening.0, opening.1, &limits).unwrap();
        let reply = b.send(b"reply");
        a.receive(namespace, &reply.0, reply.1, &limits).unwrap();
    }
    [a, b]
}

/// Every single bit of every kind of message, one after the other.
fn every_bit_is_authentic(namespace: Namespace) {
    let limits = SkipLimits::default();
    let mut opened = Vec::new();
    for answered in [false, true] {
        let [mut a, mut b] = replay(namespace, answered);
        let (bytes, key_exchange) = a.send(b"text");
        assert_eq!(key_exchange, !answered);
        let before = b.state();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            if b.receive(namespace, &forged, key_exchange, &limits).is_ok() {
                // Back to before, for the next bit.
                opened.push((key_exchange, bit));
                [_, b] = replay(namespace, answered);
            }
            assert!(b.state() == before);
        }
    }
    // What else a sender can do is nobody's secret and tells nothing apart.
    let version = if namespace == Namespace::Legacy { 0..4 } else { 0..0 };
    assert_eq!(opened, version.map(|bit| (true, bit)).collect::<Vec<_>>());
}

in_both_namespaces! {
    nothing_is_lost,
    small_limits_are_those_of_the_model,
    every_bit_is_authentic,
    a_long_game_has_everything_in_it,
    a_ratchet_key_that_comes_back_spoils_no_record,
    a_message_may_skip_the_limit_in_both_chains,
    the_largest_limit_can_be_used,
    a_fresh_session_takes_at_most_400_bytes,
    records_and_messages_of_chance_are_refused,
    skipped_keys_that_are_not_the_sessions_are_refused,
}
