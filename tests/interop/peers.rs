//! The peers in Python with themselves through the world of the tests: what the interoperability tests rely on works
//! without libomemo.

use crate::support::peer::{Heard, Kind};
use crate::support::{JULIET, NS_2, Peer, ROMEO, World, seeds};

const PYTHON: Kind = Kind::Python(&[NS_2]);

fn text(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

#[test]
fn two_accounts_with_two_devices_each_talk() {
    two_accounts_talk(PYTHON);
}

#[test]
fn two_accounts_of_omemo_dr_with_two_devices_each_talk() {
    two_accounts_talk(Kind::OmemoDr);
}

fn two_accounts_talk(kind: Kind) {
    let mut peer = Peer::start(kind);
    seeds::at_most(&format!("{kind:?} with itself"), 3, |seed| {
        let world = World::new(seed);
        peer.begin(&world, seed);
        for (name, jid) in [("r1", ROMEO), ("r2", ROMEO), ("j1", JULIET), ("j2", JULIET)] {
            peer.device(name, jid);
        }
        for name in ["r1", "r2", "j1", "j2"] {
            peer.learn(name, ROMEO);
            peer.learn(name, JULIET);
        }
        peer.say("r1", &[JULIET], "But, soft!");
        for name in ["r2", "j1", "j2"] {
            assert_eq!(peer.read(name), text("But, soft!"), "{name}");
        }
        // Three answers to the key exchanges, all without content.
        assert_eq!(peer.receive("r1").iter().filter(|heard| **heard == Heard::Empty).count(), 3);
        peer.say("j2", &[ROMEO], "Ay me!");
        for name in ["r1", "r2", "j1"] {
            assert_eq!(peer.read(name), text("Ay me!"), "{name}");
        }
    });
}

#[test]
fn the_peer_tells_errors_by_their_class() {
    errors_have_classes(PYTHON);
}

#[test]
fn omemo_dr_tells_errors_by_the_same_classes() {
    errors_have_classes(Kind::OmemoDr);
}

fn errors_have_classes(kind: Kind) {
    let mut peer = Peer::start(kind);
    let world = World::new(1);
    peer.begin(&world, 1);
    peer.device("r", ROMEO);
    let device = peer.device("j", JULIET);
    peer.learn("r", JULIET);
    let stanza = peer.seal("r", &[JULIET], "once");
    assert!(matches!(peer.decrypt("j", ROMEO, &stanza), Heard::Text { text, .. } if text == "once"));
    let again = peer.decrypt("j", ROMEO, &stanza);
    assert!(
        matches!(&again, Heard::Failed { class, cause, .. }
            if class == "DecryptionFailed" && cause == "DuplicateMessageException"),
        "{again:?}"
    );
    world.delete_bundle(kind.namespaces()[0], JULIET, device);
    peer.device("fresh", "tybalt@capulet.lit");
    peer.learn("fresh", JULIET);
    assert_eq!(peer.encrypt("fresh", &[JULIET], "lost"), Err("NoEligibleDevices".to_owned()));
}

#[test]
fn the_same_seed_makes_the_same_devices_and_a_restart_keeps_them() {
    seeds_are_repeated(PYTHON);
}

#[test]
fn the_same_seed_makes_the_same_devices_of_omemo_dr_and_a_restart_keeps_them() {
    seeds_are_repeated(Kind::OmemoDr);
}

fn seeds_are_repeated(kind: Kind) {
    let mut peer = Peer::start(kind);
    let mut stanza = |seed| {
        let world = World::new(seed);
        peer.begin(&world, seed);
        let id = peer.device("r", ROMEO);
        peer.device("j", JULIET);
        peer.learn("r", JULIET);
        peer.restart("r");
        let stanza = peer.seal("r", &[JULIET], "again");
        assert!(stanza.contains(&id.to_string()));
        stanza
    };
    let first = stanza(5);
    assert_eq!(first, stanza(5));
    assert_ne!(first, stanza(6));
}

#[test]
fn trust_is_asked_of_the_parent_and_lost_messages_are_lost() {
    let mut peer = Peer::start(PYTHON);
    let world = World::new(1);
    peer.begin(&world, 1);
    peer.careful_device("r", ROMEO);
    let bad = peer.device("j1", JULIET);
    peer.device("j2", JULIET);
    peer.learn("r", JULIET);
    peer.levels.insert(bad, "distrusted".to_owned());
    peer.say("r", &[JULIET], "only for one");
    assert_eq!(peer.decided, 2);
    let heard = peer.receive("j1");
    assert!(matches!(&heard[..], [Heard::Failed { class, .. }] if class == "MessageNotForUs"), "{heard:?}");
    peer.lose("j2", 1);
    assert_eq!(peer.read("j2"), text("only for one"));
    assert_eq!(world.take(peer.endpoint("r")), None, "the empty answer was lost");
}

#[test]
fn omemo_dr_serves_nobody_whom_it_distrusts() {
    let mut peer = Peer::start(Kind::OmemoDr);
    let world = World::new(1);
    peer.begin(&world, 1);
    peer.device("r", ROMEO);
    let bad = peer.device("j1", JULIET);
    peer.device("j2", JULIET);
    peer.learn("r", JULIET);
    peer.say("r", &[JULIET], "for both");
    assert_eq!((peer.read("j1"), peer.read("j2")), (text("for both"), text("for both")));
    let known = peer.known("r", JULIET);
    let (_, identity) = known.iter().find(|device| device.0 == bad).expect("a known device");
    peer.set_trust("r", JULIET, &bytes(identity), "distrusted");
    peer.say("r", &[JULIET], "only for one");
    let heard = peer.receive("j1");
    assert!(matches!(&heard[..], [Heard::Failed { class, .. }] if class == "MessageNotForUs"), "{heard:?}");
    assert_eq!(peer.read("j2"), text("only for one"));
}

/// The bytes of hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
