//! The protocol, measured: prints `{"op", "us"}` one a line, as the peers in `bench/` do. `scripts/bench` compares.
//!
//! Messages go through their bytes: what is encrypted is serialised, what is decrypted is parsed first.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a program of its own, not the library"
)]

use omemo::crypto::identity::IdentityKeyPair;
use omemo::crypto::keys::KeyPair;
use omemo::crypto::rng::SystemRng;
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace;
use omemo::protocol::pre_key::SignedPreKey;
use omemo::protocol::session::{ChainBudget, EncryptedKey, Session, SkipLimits, Step};
use omemo::protocol::skipped_keys::SkippedKeys;
use omemo::protocol::x3dh::ResponderKeys;
use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

const NAMESPACE: Namespace = Namespace::Omemo2;
/// What is encrypted: a message key and its authentication tag.
const KEY: [u8; 48] = [7; 48];

/// One device: its keys, and what it publishes.
struct Side {
    identity: IdentityKeyPair,
    signed_pre_key: SignedPreKey,
    pre_keys: Vec<KeyPair>,
}

impl Side {
    fn new(pre_keys: usize) -> Side {
        let identity = IdentityKeyPair::generate(&mut SystemRng).unwrap();
        let signed_pre_key = SignedPreKey::generate(NAMESPACE, &identity, 1, &mut SystemRng).unwrap();
        let pre_keys = (0..pre_keys).map(|_| KeyPair::generate(&mut SystemRng).unwrap()).collect();
        Side { identity, signed_pre_key, pre_keys }
    }

    fn bundle(&self) -> Bundle {
        let public = |(id, pair): (u32, &KeyPair)| PublicPreKey { id, key: *pair.public().as_bytes() };
        Bundle {
            namespace: NAMESPACE,
            identity_key: *self.identity.public().ed(),
            signed_pre_key_id: self.signed_pre_key.id,
            signed_pre_key: *self.signed_pre_key.pair.public().as_bytes(),
            signature: self.signed_pre_key.signature,
            pre_keys: (1..).zip(&self.pre_keys).map(public).collect(),
        }
    }

    /// Takes up a session that a message begins.
    fn accept(&self, message: &EncryptedKey) -> Step {
        let exchange = KeyExchange::parse(NAMESPACE, &message.bytes).unwrap();
        let pre_key = &self.pre_keys[exchange.id().pre_key_id as usize - 1];
        let mut steps = ChainBudget::new(SkipLimits::default());
        let signed = &self.signed_pre_key.pair;
        Session::accept(
            &ResponderKeys::new(&self.identity, signed, pre_key),
            &exchange,
            &mut steps,
            &mut SystemRng,
        )
        .unwrap()
    }
}

/// A session, and the keys it skipped.
struct End {
    session: Session,
    skipped: Option<SkippedKeys>,
}

impl End {
    fn encrypt(&mut self) -> EncryptedKey {
        self.session.encrypt(&KEY).unwrap()
    }

    fn decrypt(&mut self, message: &EncryptedKey) {
        let parsed = RatchetMessage::parse(NAMESPACE, &message.bytes).unwrap();
        let mut steps = ChainBudget::new(SkipLimits::default());
        let skipped = self.skipped.as_ref();
        let step =
            self.session.decrypt(&parsed, skipped, &mut |_| Ok(None), &mut steps, &mut SystemRng).unwrap();
        assert_eq!(*step.plaintext, KEY);
        self.session = step.session;
        if step.skipped.is_some() {
            self.skipped = step.skipped;
        }
    }
}

/// A session that is confirmed on both sides.
fn connected(alice: &Side, bob: &Side) -> (End, End) {
    let session = Session::initiate(&alice.identity, &bob.bundle(), &mut SystemRng).unwrap();
    let mut ours = End { session, skipped: None };
    let accepted = bob.accept(&ours.encrypt());
    let mut theirs = End { session: accepted.session, skipped: accepted.skipped };
    ours.decrypt(&theirs.encrypt());
    (ours, theirs)
}

/// Prints the median time of `action`, which gets what `setup` made outside the measured time.
fn measure<T, R>(op: &str, most: usize, mut setup: impl FnMut() -> T, mut action: impl FnMut(T) -> R) {
    let seconds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(0.2);
    let budget = Duration::from_secs_f64(seconds);
    let (mut samples, mut spent) = (Vec::new(), Duration::ZERO);
    while samples.len() < 3 || (spent < budget && samples.len() < most) {
        let given = setup();
        let start = Instant::now();
        let result = action(given);
        let took = start.elapsed();
        black_box(result);
        samples.push(took);
        spent += took;
    }
    samples.sort();
    println!("{{\"op\": \"{op}\", \"us\": {:.3}}}", samples[samples.len() / 2].as_secs_f64() * 1e6);
}

fn main() {
    let (alice, bob) = (Side::new(1), Side::new(100));
    let bundle = bob.bundle();
    let begin = || {
        let mut session = Session::initiate(&alice.identity, &bundle, &mut SystemRng).unwrap();
        session.encrypt(&KEY).unwrap()
    };
    measure("x3dh_active", 2000, || (), |()| begin());
    measure("x3dh_passive", 2000, begin, |message| bob.accept(&message));

    let (ours, theirs) = connected(&alice, &bob);
    let (ours, theirs) = (RefCell::new(ours), RefCell::new(theirs));
    measure("encrypt_key", 2000, || (), |()| ours.borrow_mut().encrypt());
    let (ours, theirs) = {
        drop((ours, theirs));
        let (ours, theirs) = connected(&alice, &bob);
        (RefCell::new(ours), RefCell::new(theirs))
    };
    measure(
        "decrypt_key",
        2000,
        || ours.borrow_mut().encrypt(),
        |message| theirs.borrow_mut().decrypt(&message),
    );
    measure(
        "ping_pong",
        2000,
        || (),
        |()| {
            let (mut ours, mut theirs) = (ours.borrow_mut(), theirs.borrow_mut());
            let ping = ours.encrypt();
            theirs.decrypt(&ping);
            let pong = theirs.encrypt();
            ours.decrypt(&pong);
        },
    );
    measure(
        "skip_1000",
        50,
        || {
            let (mut sender, receiver) = connected(&alice, &bob);
            (0..1000).for_each(|_| drop(sender.encrypt()));
            (sender.encrypt(), receiver)
        },
        |(message, mut receiver)| {
            receiver.decrypt(&message);
            receiver
        },
    );
    measure("bundle_100", 500, || (), |()| Side::new(100).bundle());

    let session = ours.into_inner().session;
    measure("session_store", 2000, || (), |()| session.encode());
    let stored = session.encode();
    measure("session_load", 2000, || (), |()| Session::decode(&stored).unwrap());
}
