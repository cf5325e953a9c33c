//! What stands on the server under this device's id: it is looked at before a bundle is published there, an id that is
//! somebody else's is given up, and what cannot be used by anybody is overwritten.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    a_bundle_that_could_not_be_looked_at_is_not_overwritten,
    an_own_bundle_that_could_not_be_looked_at_is_looked_at_again,
    what_cannot_be_read_under_our_id_is_overwritten,
    a_bundle_that_nobody_can_use_under_our_id_does_not_cost_the_id,
    one_id_a_day_is_given_up_at_most,
    an_id_that_was_given_up_leaves_the_list,
    an_id_that_was_given_up_stops_no_encryption,
    a_bundle_that_changed_while_it_was_published_is_published_again,
}

fn a_bundle_that_could_not_be_looked_at_is_not_overwritten(ns: Namespace) {
    for reason in [Reason::Failed, Reason::Timeout] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        // A key exchange while offline: the bundle is to be published again.
        let mut tybalt = RawDevice::of(ns, TYBALT, 5);
        let (_, hello) = tybalt.greet(&romeo, &server, "x");
        romeo.manager().disconnected().unwrap();
        romeo.read(&tybalt.jid, &hello);
        // Another device of the account has the same id: its bundle stands there now.
        let other = RawDevice::of(ns, ROMEO, romeo.id());
        other.publish(&mut server);
        romeo.begin_connect();
        let own = is_bundle_of(&romeo.jid);
        romeo.run_with(|request| match own(request) {
            true => Some(Answer::Rejected(reason)),
            false => Some(server.answer(&romeo, request)),
        });
        assert_eq!(server.bundle(&romeo).identity_key, other.key(), "somebody else's bundle was overwritten");
    }
}

fn a_bundle_that_nobody_can_use_under_our_id_does_not_cost_the_id(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let own = romeo.id();
    let good = server.bundle(&romeo);
    for change in 0..2 {
        // No signature holds: nobody can use it, and nobody can have made it.
        let mut bundle = good.clone();
        match change {
            0 => bundle.identity_key[3] ^= 1,
            _ => bundle.signature[3] ^= 1,
        }
        server.bundles.insert((ns, romeo.jid.clone(), own), bundle);
        romeo.reconnect(&mut server);
        romeo.run_later(&mut server);
        assert_eq!(romeo.id(), own, "the id was given up, and every session with it");
        assert_eq!(server.bundle(&romeo).identity_key, romeo.key());
    }
    both_ways(&romeo, &juliet, &mut server);
}

/// Somebody sets up another device of the account under the id that this one has now.
fn collide(ns: Namespace, romeo: &RustDevice, server: &mut Server) {
    let other = RawDevice::of(ns, ROMEO, romeo.id());
    other.publish(server);
    romeo.reconnect(server);
    romeo.run_later(server);
}

fn one_id_a_day_is_given_up_at_most(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let mut ids = vec![romeo.id()];
    for _ in 0..5 {
        collide(ns, &romeo, &mut server);
        ids.push(romeo.id());
    }
    ids.dedup();
    assert_eq!(ids.len(), 2, "within an hour the ids were {ids:?}");
    romeo.advance(DAY + HOUR);
    collide(ns, &romeo, &mut server);
    assert!(!ids.contains(&romeo.id()), "a day later the next is given up");
}

fn an_id_that_was_given_up_leaves_the_list(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let old = romeo.id();
    collide(ns, &romeo, &mut server);
    assert_ne!(romeo.id(), old);
    assert_eq!(server.list(&romeo.jid), [romeo.id()], "the other device announces itself, if it is one");
}

fn a_bundle_that_changed_while_it_was_published_is_published_again(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    // Two strangers have read the same bundle, and take different pre keys of it.
    let (mut first, mut second) = (RawDevice::of(ns, TYBALT, 5), RawDevice::of(ns, PARIS, 5));
    let (_, hello) = take_pre_key(&mut first, &romeo, &server, 0);
    let (_, welcome) = take_pre_key(&mut second, &romeo, &server, 1);
    let used = server.bundle(&romeo).pre_keys[1].id;
    romeo.read(&first.jid, &hello);
    let mut open = romeo.run_holding(&mut server, is_bundle_publication);
    for _ in 0..10 {
        if open.is_empty() {
            romeo.advance(61_000);
            open = romeo.run_holding(&mut server, is_bundle_publication);
        }
    }
    let (request_id, request) = open.remove(0);
    // While it is on its way the second pre key is used up; the server has the bundle with it.
    romeo.read(&second.jid, &welcome);
    let answer = server.answer(&romeo, &request);
    romeo.manager().answer(request_id, answer).unwrap();
    romeo.run_later(&mut server);
    let left = server.bundle(&romeo).pre_keys;
    assert!(left.iter().all(|key| key.id != used), "a used pre key stays on the server");
}

/// An account whose bundle the server has lost, and that has begun to connect.
fn connecting_after_a_lost_bundle(ns: Namespace) -> (Server, RustDevice) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    romeo.manager().disconnected().unwrap();
    server.bundles.clear();
    romeo.begin_connect();
    (server, romeo)
}

fn an_own_bundle_that_could_not_be_looked_at_is_looked_at_again(ns: Namespace) {
    let (mut server, romeo) = connecting_after_a_lost_bundle(ns);
    let is_own = is_bundle_of(&romeo.jid);
    // The server is in trouble when it is asked for the bundle.
    let failing = |server: &mut Server, request: &Request| match is_own(request) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&romeo, request)),
    };
    romeo.run_with(|request| failing(&mut server, request));
    for _ in 0..8 {
        romeo.advance(10_000);
        romeo.run(&mut server);
    }
    assert_eq!(server.bundle(&romeo).identity_key, romeo.key());
}

fn an_id_that_was_given_up_stops_no_encryption(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let old = romeo.id();
    // Another identity's bundle stands under our id; the list with the old id cannot be replaced.
    RawDevice::of(ns, ROMEO, old).publish(&mut server);
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[old]));
    romeo.manager().disconnected().unwrap();
    romeo.begin_connect();
    let refuse = |server: &mut Server, request: &Request| match is_list_publication(request) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&romeo, request)),
    };
    romeo.run_with(|request| refuse(&mut server, request));
    assert_ne!(romeo.id(), old);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait);
    romeo.run_with(|request| refuse(&mut server, request));
    let outcome = romeo.take(operation);
    assert!(serves(&outcome, juliet.id()) && !serves(&outcome, old), "{:?}", outcome.rows);
    // A bundle under it that cannot be read keeps it no longer on the list.
    let is_old =
        |request: &Request| matches!(request, Request::FetchBundle { device, .. } if device.get() == old);
    for _ in 0..6 {
        romeo.advance(61_000);
        romeo.run_with(|request| match is_old(request) {
            true => Some(Answer::Unreadable(Status::Malformed.into())),
            false => Some(server.answer(&romeo, request)),
        });
    }
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
}

fn what_cannot_be_read_under_our_id_is_overwritten(ns: Namespace) {
    let (mut server, romeo) = connecting_after_a_lost_bundle(ns);
    let is_own = is_bundle_of(&romeo.jid);
    romeo.run_with(|request| match is_own(request) {
        true => Some(Answer::Unreadable(Status::Malformed.into())),
        false => Some(server.answer(&romeo, request)),
    });
    assert_eq!(server.bundle(&romeo).identity_key, romeo.key());
}
