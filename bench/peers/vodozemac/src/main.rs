//! vodozemac's Olm sessions, measured: the same ratchet idea with other keys. Prints {"op", "us"} one a line.
//!
//! Comparable: a key on an existing session, ping-pong, skipped keys, one-time keys, serialising. Not comparable: Olm's
//! key exchange, which has three DH computations and no signature to verify, where X3DH has four and one.

use std::time::{Duration, Instant};
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig, SessionPickle};

/// What is encrypted: a message key and its authentication tag.
const KEY: [u8; 48] = [7; 48];

fn budget() -> Duration {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0.2);
    Duration::from_secs_f64(seconds)
}

/// Prints the median time of `action`, which gets what `setup` made outside the measured time.
fn measure<T, R>(op: &str, most: usize, mut setup: impl FnMut() -> T, mut action: impl FnMut(T) -> R) {
    let (mut samples, mut spent) = (Vec::new(), Duration::ZERO);
    while samples.len() < 3 || (spent < budget() && samples.len() < most) {
        let given = setup();
        let start = Instant::now();
        let result = action(given);
        let took = start.elapsed();
        std::hint::black_box(result);
        samples.push(took);
        spent += took;
    }
    samples.sort();
    println!("{{\"op\": \"{op}\", \"us\": {:.3}}}", samples[samples.len() / 2].as_secs_f64() * 1e6);
}

fn outbound(alice: &Account, bob: &mut Account) -> Session {
    bob.generate_one_time_keys(1);
    let key = *bob.one_time_keys().values().next().expect("a one-time key");
    bob.mark_keys_as_published();
    alice.create_outbound_session(SessionConfig::version_1(), bob.curve25519_key(), key).expect("a session")
}

fn inbound(alice: &Account, bob: &mut Account, message: &OlmMessage) -> Session {
    let OlmMessage::PreKey(message) = message else { panic!("not a pre key message") };
    bob.create_inbound_session(SessionConfig::version_1(), alice.curve25519_key(), message)
        .expect("a session")
        .session
}

/// A session that is confirmed on both sides.
fn connected(alice: &Account, bob: &mut Account) -> (Session, Session) {
    let mut ours = outbound(alice, bob);
    let first = ours.encrypt(KEY).expect("a message");
    let mut theirs = inbound(alice, bob, &first);
    let reply = theirs.encrypt(KEY).expect("a message");
    ours.decrypt(&reply).expect("a plaintext");
    (ours, theirs)
}

fn main() {
    let alice = Account::new();
    let mut bob = Account::new();

    let (mut ours, mut theirs) = connected(&alice, &mut bob);
    measure("encrypt_key", 2000, || (), |()| ours.encrypt(KEY).expect("a message"));
    let (mut sender, mut receiver) = connected(&alice, &mut bob);
    measure(
        "decrypt_key",
        2000,
        || sender.encrypt(KEY).expect("a message"),
        |message| receiver.decrypt(&message).expect("a plaintext"),
    );
    drop((ours, theirs));

    (ours, theirs) = connected(&alice, &mut bob);
    measure(
        "ping_pong",
        2000,
        || (),
        |()| {
            let ping = ours.encrypt(KEY).expect("a message");
            theirs.decrypt(&ping).expect("a plaintext");
            let pong = theirs.encrypt(KEY).expect("a message");
            ours.decrypt(&pong).expect("a plaintext")
        },
    );

    measure(
        "skip_1000",
        50,
        || {
            let (mut sender, receiver) = connected(&alice, &mut bob);
            for _ in 0..1000 {
                sender.encrypt(KEY).expect("a message");
            }
            (sender.encrypt(KEY).expect("a message"), receiver)
        },
        |(message, mut receiver)| receiver.decrypt(&message).expect("a plaintext"),
    );

    // The account keeps at most 50 keys unpublished at a time.
    measure("bundle_100", 500, Account::new, |mut account| {
        account.generate_one_time_keys(50);
        account.generate_one_time_keys(50);
        account
    });

    let (session, _) = connected(&alice, &mut bob);
    measure("session_store", 2000, || (), |()| serde_json::to_vec(&session.pickle()).expect("a pickle"));
    let stored = serde_json::to_vec(&session.pickle()).expect("a pickle");
    measure(
        "session_load",
        2000,
        || (),
        |()| {
            let pickle: SessionPickle = serde_json::from_slice(&stored).expect("a pickle");
            Session::from_pickle(pickle)
        },
    );
}
