//! When an empty message is needed, how many have room, and by what they are found.
#![allow(clippy::arithmetic_side_effects)] // small numbers

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
        since_ms: id,
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
