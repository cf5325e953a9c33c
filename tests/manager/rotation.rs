//! Signed pre keys are replaced when their time has come, the ones before them stay for as long, and pre keys are made anew.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::bundle::Bundle;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};

in_both_namespaces! {
    r54_a_key_exchange_on_the_previous_signed_pre_key_is_accepted_for_one_rotation,
    a_session_outlives_the_signed_pre_key_that_it_began_with,
    a_signed_pre_key_is_replaced_when_its_period_is_over,
    the_period_can_be_set,
    r15_a_publication_that_fails_stops_no_later_rotation,
    a_clock_that_jumps_makes_no_key_old,
    a_clock_that_was_put_back_stops_no_rotation,
    what_has_accumulated_is_stored,
    nobody_is_woken_for_nothing_and_nothing_is_left_undone,
    the_previous_signed_pre_key_goes_after_a_period,
    pre_keys_are_made_anew_below_the_threshold,
}

/// Lets days pass as a client that is online has them: with the runs that the library asks for.
fn days(client: &RustDevice, days: u64, server: &mut Server) {
    for _ in 0..days * 48 {
        client.advance(HOUR / 2);
        client.run(server);
    }
}

/// Lets the period of a signed pre key pass, and has the new bundle published.
fn rotate(client: &RustDevice, server: &mut Server) {
    let before = server.bundle(client);
    days(client, 7, server);
    let after = server.bundle(client);
    after.verify().unwrap();
    assert_eq!(after.signed_pre_key_id, before.signed_pre_key_id + 1);
    assert_ne!(after.signed_pre_key, before.signed_pre_key);
}

fn signed_id(client: &RustDevice, server: &Server) -> u32 {
    server.bundle(client).signed_pre_key_id
}

fn a_signed_pre_key_is_replaced_when_its_period_is_over(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let first = signed_id(&romeo, &server);
    days(&romeo, 6, &mut server);
    romeo.restart();
    romeo.connect(&mut server);
    romeo.advance(DAY - HOUR);
    romeo.run(&mut server);
    assert_eq!(signed_id(&romeo, &server), first);
    romeo.advance(HOUR);
    romeo.run(&mut server);
    assert_eq!(signed_id(&romeo, &server), first + 1);
    romeo.refresh(&juliet.jid, &mut server);
    both_ways(&romeo, &juliet, &mut server);
    for n in 2..5 {
        rotate(&romeo, &mut server);
        assert_eq!(signed_id(&romeo, &server), first + n);
    }
}

fn the_period_can_be_set(ns: Namespace) {
    let mut server = Server::of(ns);
    let often = Config { signed_pre_key_period_ms: DAY, ..config(ns, ROMEO, "trusted") };
    let romeo = RustDevice::with(often, &mut server);
    let first = signed_id(&romeo, &server);
    days(&romeo, 5, &mut server);
    assert_eq!(signed_id(&romeo, &server), first + 5);
}

fn r15_a_publication_that_fails_stops_no_later_rotation(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let (first, published) = (signed_id(&romeo, &server), server.bundle(&romeo));
    let mut tybalt = RawDevice::of(ns, "tybalt@capulet.lit", 5);
    // The server refuses every publication for three weeks.
    for _ in 0..21 * 48 {
        romeo.advance(HOUR / 2);
        romeo.run_with(|request| {
            if is_publish(request) {
                return Some(Answer::Rejected(Reason::Failed));
            }
            Some(server.answer(&romeo, request))
        });
    }
    assert_eq!(signed_id(&romeo, &server), first);
    // Each time it is tried again, but not at each run.
    let tried = romeo.count_asked(is_publish);
    assert!((20..2_000).contains(&tried), "{tried}");
    // What stands on the server all the time can still be used.
    let late = greeting(&mut tybalt, &romeo, &published, 0);
    assert_eq!(text(&romeo.read(&tybalt.jid, &late)), "hello");
    days(&romeo, 1, &mut server);
    assert_eq!(signed_id(&romeo, &server), first + 2);
    rotate(&romeo, &mut server);
}

fn a_clock_that_jumps_makes_no_key_old(ns: Namespace) {
    // Ten years ahead; the end of 32 bit clocks; the end of unsigned ones.
    for years in [10, 38, 106] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let first = server.bundle(&romeo);
        let mut tybalt = RawDevice::of(ns, "tybalt@capulet.lit", 5);
        let mut other = RawDevice::of(ns, "tybalt@capulet.lit", 6);
        let late = greeting(&mut tybalt, &romeo, &first, 0);
        let later = greeting(&mut other, &romeo, &first, 1);
        romeo.services.clock.step_wall(years * 365 * 86_400_000);
        romeo.run(&mut server);
        assert_eq!(signed_id(&romeo, &server), first.signed_pre_key_id);
        // The step counts for a day at most.
        days(&romeo, 5, &mut server);
        assert_eq!(signed_id(&romeo, &server), first.signed_pre_key_id);
        days(&romeo, 2, &mut server);
        assert_eq!(signed_id(&romeo, &server), first.signed_pre_key_id + 1);
        romeo.services.clock.step_wall(years * 365 * 86_400_000);
        romeo.run(&mut server);
        assert_eq!(text(&romeo.read(&tybalt.jid, &late)), "hello");
        days(&romeo, 5, &mut server);
        assert_eq!(text(&romeo.read(&other.jid, &later)), "hello");
    }
}

fn a_clock_that_was_put_back_stops_no_rotation(ns: Namespace) {
    for wall_ms in [-10 * 365 * 86_400_000, -60 * 365 * 86_400_000] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let first = signed_id(&romeo, &server);
        romeo.services.clock.step_wall(wall_ms);
        romeo.run(&mut server);
        days(&romeo, 6, &mut server);
        assert_eq!(signed_id(&romeo, &server), first);
        // Some hours before the step were not looked at.
        days(&romeo, 2, &mut server);
        assert_eq!(signed_id(&romeo, &server), first + 1);
        rotate(&romeo, &mut server);
    }
}

fn what_has_accumulated_is_stored(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let first = signed_id(&romeo, &server);
    // A client that is started once a day, for a moment.
    for _ in 0..6 {
        romeo.advance(DAY);
        romeo.restart();
        romeo.connect(&mut server);
    }
    assert_eq!(signed_id(&romeo, &server), first);
    romeo.advance(DAY);
    romeo.restart();
    romeo.connect(&mut server);
    romeo.run(&mut server);
    assert_eq!(signed_id(&romeo, &server), first + 1);
    // One that is started once a month has aged by a day each time.
    for _ in 0..6 {
        romeo.advance(30 * DAY);
        romeo.restart();
        romeo.connect(&mut server);
        romeo.run(&mut server);
        assert_eq!(signed_id(&romeo, &server), first + 1);
    }
    romeo.advance(30 * DAY);
    romeo.restart();
    romeo.connect(&mut server);
    romeo.run(&mut server);
    assert_eq!(signed_id(&romeo, &server), first + 2);
}

fn nobody_is_woken_for_nothing_and_nothing_is_left_undone(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    assert!(romeo.manager().is_idle() && juliet.manager().is_idle());
    let (commits, asked) = (romeo.storage.commits(), romeo.count_asked(|_| true));
    for _ in 0..48 {
        romeo.advance(HOUR / 2);
        romeo.run(&mut server);
        assert!(romeo.manager().is_idle());
        assert!(romeo.manager().timeout().is_some());
    }
    assert!(romeo.storage.commits() - commits <= 4, "four a day, for the time that has passed");
    assert_eq!(romeo.count_asked(|_| true), asked);
}

fn the_previous_signed_pre_key_goes_after_a_period(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let first = server.bundle(&romeo);
    let mut strangers = (1..=2).map(|id| RawDevice::of(ns, "tybalt@capulet.lit", id)).collect::<Vec<_>>();
    let late = greeting(&mut strangers[0], &romeo, &first, 0);
    let later = greeting(&mut strangers[1], &romeo, &first, 1);
    rotate(&romeo, &mut server);
    // The wall clock is put back by a month, but not behind the birth of the new key: it is not replaced, and the one before
    // it goes all the same.
    days(&romeo, 3, &mut server);
    romeo.services.clock.step_wall(-2 * 86_400_000);
    romeo.run(&mut server);
    days(&romeo, 3, &mut server);
    assert_eq!(text(&romeo.read(&strangers[0].jid, &late)), "hello");
    days(&romeo, 2, &mut server);
    assert_eq!(signed_id(&romeo, &server), first.signed_pre_key_id + 1);
    romeo.refuse(&strangers[1].jid, &later, Status::PreKeyUnknown);
}

fn pre_keys_are_made_anew_below_the_threshold(ns: Namespace) {
    let mut server = Server::of(ns);
    let few = Config { pre_key_threshold: 96, ..config(ns, ROMEO, "trusted") };
    let romeo = RustDevice::with(few, &mut server);
    let mut published = Vec::new();
    for n in 0..5 {
        let mut raw = RawDevice::of(ns, &format!("friend{n}@capulet.lit"), 5);
        raw.publish(&mut server);
        let (_, message) = raw.greet(&romeo, &server, "hello");
        assert_eq!(text(&romeo.read(&raw.jid, &message)), "hello");
        romeo.advance(2 * HOUR);
        romeo.run(&mut server);
        published.push(server.bundle(&romeo).pre_keys.len());
    }
    assert_eq!(published, [99, 98, 97, 100, 99]);
}

/// Each namespace has its own ids and its own time.
#[test]
fn both_namespaces_rotate() {
    let mut server = Server::of(Omemo2);
    let namespaces = vec![Omemo2, Legacy];
    let romeo = RustDevice::with(Config { namespaces, ..config(Omemo2, ROMEO, "trusted") }, &mut server);
    let id_in = |server: &Server, namespace: Namespace| {
        server.bundles[&(namespace, romeo.jid.clone(), romeo.id())].signed_pre_key_id
    };
    let before = Namespace::ALL.map(|namespace| id_in(&server, namespace));
    days(&romeo, 7, &mut server);
    let after = Namespace::ALL.map(|namespace| id_in(&server, namespace));
    assert_eq!(after, before.map(|id| id + 1));
}

/// A first message on this bundle and on its pre key with this number: none of these shares one with another.
fn greeting(from: &mut RawDevice, to: &RustDevice, bundle: &Bundle, pre_key: usize) -> Message {
    let bundle = Bundle { pre_keys: vec![bundle.pre_keys[pre_key].clone()], ..bundle.clone() };
    let mut session = from.initiate(&bundle);
    from.write(&mut session, (&to.jid, to.id()), "hello")
}

fn r54_a_key_exchange_on_the_previous_signed_pre_key_is_accepted_for_one_rotation(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let first = server.bundle(&romeo);
    let mut strangers = (1..=5).map(|id| RawDevice::of(ns, "tybalt@capulet.lit", id)).collect::<Vec<_>>();
    let accept = |from: &RawDevice, message: &Message| {
        let read = romeo.read(&from.jid, message);
        assert_eq!(text(&read), "hello");
        assert_eq!((read.action, read.new_session, read.device), (Action::Show, true, from.id));
    };
    let on_first = greeting(&mut strangers[0], &romeo, &first, 0);
    let late_on_first = greeting(&mut strangers[1], &romeo, &first, 1);
    rotate(&romeo, &mut server);
    let second = server.bundle(&romeo);
    let late_on_second = greeting(&mut strangers[2], &romeo, &second, 2);
    accept(&strangers[0], &on_first);
    let on_second = greeting(&mut strangers[3], &romeo, &second, 3);
    accept(&strangers[3], &on_second);

    rotate(&romeo, &mut server);
    let third = server.bundle(&romeo);
    let refused = romeo.refuse(&strangers[1].jid, &late_on_first, Status::PreKeyUnknown);
    assert_eq!(refused.action, Action::Warn);
    accept(&strangers[2], &late_on_second);
    // It was the signed pre key alone that was missing: the one-time pre key is still there, and opens a new exchange.
    let at = first.pre_keys[1].id;
    let at = third
        .pre_keys
        .iter()
        .position(|pre_key| pre_key.id == at)
        .expect("a pre key was used up for nothing");
    assert_eq!(third.pre_keys[at].key, first.pre_keys[1].key);
    let again = greeting(&mut strangers[1], &romeo, &third, at);
    accept(&strangers[1], &again);
    // What was read before is a duplicate as long as its session lives, not unknown, though its signed pre key is gone.
    romeo.refuse(&strangers[0].jid, &on_first, Status::Duplicate);
}

fn a_session_outlives_the_signed_pre_key_that_it_began_with(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let mut tybalt = RawDevice::of(ns, "tybalt@capulet.lit", 5);
    let (mut session, hello) = tybalt.greet(&romeo, &server, "hello");
    assert_eq!(text(&romeo.read(&tybalt.jid, &hello)), "hello");
    // Unanswered, it goes on repeating its key exchange, whose signed pre key is gone in the end.
    for round in ["once", "twice", "three times"] {
        rotate(&romeo, &mut server);
        let next = tybalt.write(&mut session, (&romeo.jid, romeo.id()), round);
        assert!(next.keys[0].key_exchange);
        let read = romeo.read(&tybalt.jid, &next);
        assert_eq!((text(&read).as_str(), read.new_session), (round, false));
    }
}
