//! Messages that waited on the server are read in a catch-up: answers wait for its end, and used pre keys stay.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::catch_up::CatchUp;
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::manager::config::Healing;
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    answers_wait_and_are_one_for_many_messages,
    r4_a_used_pre_key_opens_a_second_message_until_the_end,
    used_pre_keys_outlive_a_restart,
    used_pre_keys_are_deleted_at_the_end,
    used_pre_keys_go_although_catch_ups_never_end,
    what_cannot_be_sent_stays_queued_and_keeps_nothing_else,
    it_ends_by_itself_after_a_day,
    a_stream_without_catch_up_ends_it,
    a_stream_that_expects_one_begins_it_again,
    what_is_encrypted_meanwhile_takes_the_place_of_an_answer,
    the_bundle_is_published_once_at_the_end,
    a_lost_bundle_is_published_at_once,
    repairs_wait_for_the_end,
    nothing_is_healed_by_what_is_read_in_it,
    its_end_needs_the_stream,
    an_end_without_a_catch_up_does_what_waits,
    what_is_used_up_while_it_begins_publishes_nothing,
    one_that_begins_after_the_end_is_another_one,
    its_end_does_not_wait_for_an_answer_that_is_gone,
    nothing_rotates_in_it,
}

fn expect(device: &RustDevice, server: &mut Server) {
    device.manager().disconnected().unwrap();
    device.step();
    device.manager().connected(7_100, CatchUp::Expected).unwrap();
    device.run(server);
    assert_eq!(device.take(7_100).status(), Status::Ok);
}

fn end(device: &RustDevice, server: &mut Server) -> Outcome {
    device.manager().catch_up_end(7_200).unwrap();
    device.run(server);
    device.take(7_200)
}

fn publications(device: &RustDevice) -> usize {
    device.count_asked(|request| matches!(request, Request::PublishBundle { .. }))
}

fn answers_wait_and_are_one_for_many_messages(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    tybalt.publish(&mut server);
    let archive: Vec<_> = (0..200).map(|n| juliet.say(&romeo.jid, &format!("{n}"), &mut server)).collect();
    let (_, other) = tybalt.greet(&romeo, &server, "I hate the word");
    expect(&romeo, &mut server);
    for (n, message) in archive.iter().enumerate() {
        assert_eq!(text(&romeo.read(&juliet.jid, message)), format!("{n}"));
        romeo.run(&mut server);
    }
    romeo.read(&tybalt.jid, &other);
    romeo.run(&mut server);
    assert_eq!(romeo.count_asked(is_send), 0);
    assert!(!romeo.manager().is_idle(), "answers wait");
    let outcome = end(&romeo, &mut server);
    assert_eq!((outcome.status(), romeo.count_asked(is_send)), (Status::Ok, 2));
    assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::Ok));
    assert_eq!(row(&outcome, &tybalt.jid, 5), Some(Status::Ok));
    assert_eq!(outcome.rows.len(), 3, "two answers, one bundle");
    assert!(romeo.manager().is_idle());
    server.settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo, &mut server);
}

/// Two people have taken the same pre key.
fn taken_twice(ns: Namespace) -> (Server, RustDevice, [(RawDevice, omemo::protocol::message::Message); 2]) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let messages = [JULIET, TYBALT].map(|name| {
        let mut raw = RawDevice::of(ns, name, 5);
        let (_, message) = take_pre_key(&mut raw, &romeo, &server, 0);
        (raw, message)
    });
    (server, romeo, messages)
}

fn r4_a_used_pre_key_opens_a_second_message_until_the_end(ns: Namespace) {
    let (mut server, romeo, [(juliet, first), (tybalt, second)]) = taken_twice(ns);
    expect(&romeo, &mut server);
    assert_eq!(romeo.read(&juliet.jid, &first).error.status(), Status::Ok);
    romeo.run(&mut server);
    for _ in 0..23 {
        romeo.advance(HOUR);
        romeo.run(&mut server);
    }
    assert_eq!(romeo.read(&tybalt.jid, &second).error.status(), Status::Ok);
}

/// A client whose stream breaks before the end of each catch-up.
fn used_pre_keys_go_although_catch_ups_never_end(ns: Namespace) {
    for (hours, status) in [(46, Status::Ok), (50, Status::PreKeyUnknown)] {
        let (mut server, romeo, [(juliet, first), (tybalt, second)]) = taken_twice(ns);
        expect(&romeo, &mut server);
        assert_eq!(romeo.read(&juliet.jid, &first).error.status(), Status::Ok);
        for _ in 0..hours / 2 {
            romeo.advance(2 * HOUR);
            expect(&romeo, &mut server);
        }
        assert_eq!(romeo.read(&tybalt.jid, &second).error.status(), status, "{hours} hours");
    }
}

fn used_pre_keys_outlive_a_restart(ns: Namespace) {
    let (mut server, romeo, [(juliet, first), (tybalt, second)]) = taken_twice(ns);
    expect(&romeo, &mut server);
    assert_eq!(romeo.read(&juliet.jid, &first).error.status(), Status::Ok);
    romeo.run(&mut server);
    romeo.restart();
    // The bundle on the server is not the one in the store, but it still serves: its pre keys are all kept.
    let before = publications(&romeo);
    romeo.manager().connected(7_100, CatchUp::Expected).unwrap();
    romeo.run(&mut server);
    assert_eq!((romeo.take(7_100).status(), publications(&romeo)), (Status::Ok, before));
    assert_eq!(romeo.read(&tybalt.jid, &second).error.status(), Status::Ok);
}

fn used_pre_keys_are_deleted_at_the_end(ns: Namespace) {
    let (mut server, romeo, [(juliet, first), (tybalt, second)]) = taken_twice(ns);
    expect(&romeo, &mut server);
    assert_eq!(romeo.read(&juliet.jid, &first).error.status(), Status::Ok);
    assert_eq!(end(&romeo, &mut server).status(), Status::Ok);
    romeo.refuse(&tybalt.jid, &second, Status::PreKeyUnknown);
}

fn what_cannot_be_sent_stays_queued_and_keeps_nothing_else(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    expect(&romeo, &mut server);
    let senders: Vec<_> = (0..4)
        .map(|n| {
            let mut raw = RawDevice::of(ns, &format!("friend{n}@capulet.lit"), 5);
            raw.publish(&mut server);
            let (_, message) = raw.greet(&romeo, &server, "hello");
            romeo.read(&raw.jid, &message);
            raw
        })
        .collect();
    romeo.run(&mut server);
    let bad = senders[1].jid.clone();
    romeo.manager().catch_up_end(7_200).unwrap();
    romeo.run_with(|request| match request {
        Request::SendMessage { jid, .. } if *jid == bad => Some(Answer::Rejected(Reason::Failed)),
        request => Some(server.answer(&romeo, request)),
    });
    let outcome = romeo.take(7_200);
    assert_eq!(outcome.status(), Status::MessageSendingFailed);
    for (n, sender) in senders.iter().enumerate() {
        let expected = if n == 1 { Status::MessageSendingFailed } else { Status::Ok };
        assert_eq!(row(&outcome, &sender.jid, 5), Some(expected));
    }
    let to_bad = |request: &Request| matches!(request, Request::SendMessage { jid, .. } if *jid == bad);
    let before = romeo.count_asked(to_bad);
    romeo.restart();
    romeo.connect(&mut server);
    assert_eq!(romeo.count_asked(to_bad), before + 1, "it was kept");
}

fn it_ends_by_itself_after_a_day(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let message = juliet.say(&romeo.jid, "hello", &mut server);
    expect(&romeo, &mut server);
    romeo.advance(HOUR);
    romeo.manager().catch_up_begin().unwrap();
    romeo.read(&juliet.jid, &message);
    romeo.run(&mut server);
    assert!(romeo.manager().timeout().is_some(), "the client must come back");
    for hours in 1..23 {
        romeo.advance(HOUR);
        romeo.run(&mut server);
        assert_eq!(romeo.count_asked(is_send), 0, "after {hours} hours");
    }
    romeo.advance(HOUR);
    romeo.run(&mut server);
    assert_eq!(romeo.count_asked(is_send), 1);
}

fn a_stream_without_catch_up_ends_it(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let message = juliet.say(&romeo.jid, "hello", &mut server);
    romeo.manager().catch_up_begin().unwrap();
    romeo.read(&juliet.jid, &message);
    romeo.run(&mut server);
    assert_eq!(romeo.count_asked(is_send), 0);
    romeo.reconnect(&mut server);
    assert_eq!(romeo.count_asked(is_send), 1);
}

fn a_stream_that_expects_one_begins_it_again(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let message = juliet.say(&romeo.jid, "hello", &mut server);
    expect(&romeo, &mut server);
    romeo.read(&juliet.jid, &message);
    romeo.advance(20 * HOUR);
    expect(&romeo, &mut server);
    romeo.advance(20 * HOUR);
    romeo.run(&mut server);
    assert_eq!(romeo.count_asked(is_send), 0);
    // The archive was not read to its end: the operation says so, and nothing is sent in the next one either.
    romeo.manager().catch_up_end(7_201).unwrap();
    romeo.run_holding(&mut server, is_send);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    assert_eq!(romeo.take(7_201).status(), Status::Offline);
    romeo.manager().connected(7_202, CatchUp::Expected).unwrap();
    let sent = romeo.count_asked(is_send);
    romeo.run(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent);
    assert_eq!(end(&romeo, &mut server).status(), Status::Ok);
    assert_eq!(romeo.count_asked(is_send), sent + 1);
}

fn what_is_encrypted_meanwhile_takes_the_place_of_an_answer(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let message = juliet.say(&romeo.jid, "hello", &mut server);
    expect(&romeo, &mut server);
    romeo.read(&juliet.jid, &message);
    let answer = romeo.say(&juliet.jid, "welcome", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &answer)), "welcome");
    let outcome = end(&romeo, &mut server);
    assert_eq!((outcome.status(), romeo.count_asked(is_send)), (Status::Ok, 0));
    both_ways(&juliet, &romeo, &mut server);
}

fn the_bundle_is_published_once_at_the_end(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    expect(&romeo, &mut server);
    let before = publications(&romeo);
    for n in 0..30 {
        let mut raw = RawDevice::of(ns, &format!("friend{n}@capulet.lit"), 5);
        raw.publish(&mut server);
        let (_, message) = raw.greet(&romeo, &server, "hello");
        assert_eq!(text(&romeo.read(&raw.jid, &message)), "hello");
        romeo.run(&mut server);
    }
    assert_eq!(publications(&romeo), before);
    assert!(!romeo.manager().is_idle(), "a bundle waits");
    assert_eq!(end(&romeo, &mut server).status(), Status::Ok);
    assert_eq!(publications(&romeo), before + 1);
    assert_eq!(server.bundle(&romeo).pre_keys.len(), 100);
}

fn a_lost_bundle_is_published_at_once(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let message = juliet.say(&romeo.jid, "hello", &mut server);
    server.bundles.remove(&(ns, romeo.jid.clone(), romeo.id()));
    expect(&romeo, &mut server);
    assert!(server.bundles.contains_key(&(ns, romeo.jid.clone(), romeo.id())));
    // Also if it is found out after a pre key was used up.
    romeo.read(&juliet.jid, &message);
    romeo.run(&mut server);
    server.bundles.remove(&(ns, romeo.jid.clone(), romeo.id()));
    expect(&romeo, &mut server);
    assert!(server.bundles.contains_key(&(ns, romeo.jid.clone(), romeo.id())));
}

fn repairs_wait_for_the_end(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    lose_sessions(&romeo, &mut server);
    romeo.refresh(&juliet.jid, &mut server);
    let sent = romeo.count_asked(is_send);
    romeo.manager().catch_up_begin().unwrap();
    for _ in 0..5 {
        let message = juliet.say(&romeo.jid, "x", &mut server);
        romeo.refuse(&juliet.jid, &message, Status::NoSession);
        romeo.run(&mut server);
    }
    assert_eq!(romeo.count_asked(is_send), sent);
    end(&romeo, &mut server);
    server.settle(&[&romeo, &juliet]);
    assert_eq!(romeo.count_asked(is_send), sent + 1);
    both_ways(&juliet, &romeo, &mut server);
}

fn nothing_is_healed_by_what_is_read_in_it(ns: Namespace) {
    let (mut server, romeo, juliet) = friends_with(ns, |config| config.healing = Healing::Automatic);
    let sent = romeo.count_asked(is_send);
    romeo.manager().catch_up_begin().unwrap();
    for _ in 0..10 {
        let forged = forged(&juliet.say(&romeo.jid, "x", &mut server), 1);
        romeo.refuse(&juliet.jid, &forged, Status::DecryptionFailed);
    }
    end(&romeo, &mut server);
    romeo.run_later(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent);
}

fn its_end_needs_the_stream(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let message = juliet.say(&romeo.jid, "hello", &mut server);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    // What was stored while offline is read before the stream is up.
    romeo.manager().catch_up_begin().unwrap();
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "hello");
    assert_eq!(romeo.manager().catch_up_end(7_300).unwrap_err().status(), Status::Offline);
    romeo.connect(&mut server);
    assert_eq!(romeo.count_asked(is_send), 1);
}

fn an_end_without_a_catch_up_does_what_waits(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    assert_eq!(end(&romeo, &mut server).status(), Status::Ok);
    let message = juliet.say(&romeo.jid, "hello", &mut server);
    romeo.read(&juliet.jid, &message);
    let outcome = end(&romeo, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::Ok));
    assert_eq!(romeo.count_asked(is_send), 1);
}

fn what_is_used_up_while_it_begins_publishes_nothing(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let before = publications(&romeo);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    romeo.manager().connected(7_100, CatchUp::Expected).unwrap();
    // The archive is read while lists and bundles are still fetched, and whatever is asked is answered late.
    let mut held = Vec::new();
    for n in 0..30 {
        let mut raw = RawDevice::of(ns, &format!("friend{n}@capulet.lit"), 5);
        raw.publish(&mut server);
        let (_, message) = raw.greet(&romeo, &server, "hello");
        assert_eq!(text(&romeo.read(&raw.jid, &message)), "hello");
        for (request_id, request) in held.drain(..) {
            let answer = server.answer(&romeo, &request);
            romeo.manager().answer(request_id, answer).unwrap();
        }
        held = romeo.step();
    }
    romeo.run(&mut server);
    assert_eq!(publications(&romeo), before);
    assert_eq!(end(&romeo, &mut server).status(), Status::Ok);
    assert_eq!(publications(&romeo), before + 1);
}

fn one_that_begins_after_the_end_is_another_one(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let message = juliet.say(&romeo.jid, "hello", &mut server);
    romeo.manager().catch_up_begin().unwrap();
    romeo.read(&juliet.jid, &message);
    romeo.manager().catch_up_end(7_200).unwrap();
    // The next page, before anything has run.
    romeo.manager().catch_up_begin().unwrap();
    romeo.run(&mut server);
    assert_eq!(romeo.count_asked(is_send), 0, "the second one goes on");
    assert_eq!(romeo.take(7_200).status(), Status::MessageSendingFailed, "what waits again is said");
    assert_eq!(end(&romeo, &mut server).status(), Status::Ok);
    assert_eq!(romeo.count_asked(is_send), 1);
    // An end whose stream goes down before it runs is an end as well.
    romeo.manager().catch_up_begin().unwrap();
    romeo.manager().catch_up_end(7_201).unwrap();
    romeo.manager().disconnected().unwrap();
    romeo.step();
    assert_eq!(romeo.take(7_201).status(), Status::Offline);
    romeo.manager().catch_up_begin().unwrap();
    romeo.connect(&mut server);
}

fn its_end_does_not_wait_for_an_answer_that_is_gone(ns: Namespace) {
    for purge in [true, false] {
        let (mut server, romeo, juliet) = two(ns);
        let message = juliet.say(&romeo.jid, "hello", &mut server);
        romeo.manager().catch_up_begin().unwrap();
        romeo.read(&juliet.jid, &message);
        romeo.manager().catch_up_end(7_200).unwrap();
        let held = romeo.run_holding(&mut server, is_send);
        // Sending fails once, and waits for its next try.
        for (request_id, _) in held {
            romeo.manager().answer(request_id, Answer::Rejected(Reason::Offline)).unwrap();
        }
        if purge {
            romeo.manager().purge_jid(&juliet.jid, omemo::manager::api::keep::Keep::Nothing).unwrap();
        } else {
            romeo.say(&juliet.jid, "instead", &mut server);
        }
        romeo.run(&mut server);
        assert!(romeo.is_done(7_200));
    }
}

fn nothing_rotates_in_it(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let message = juliet.say(&romeo.jid, "hello", &mut server);
    let first = server.bundle(&romeo).signed_pre_key_id;
    // Away for long, and back: the archive is read before the key goes that it may need.
    for _ in 0..8 {
        romeo.advance(23 * HOUR);
        romeo.restart();
    }
    expect(&romeo, &mut server);
    romeo.run(&mut server);
    assert_eq!(server.bundle(&romeo).signed_pre_key_id, first);
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "hello");
    end(&romeo, &mut server);
    for _ in 0..8 * 48 {
        romeo.advance(HOUR / 2);
        romeo.run(&mut server);
    }
    assert_eq!(server.bundle(&romeo).signed_pre_key_id, first + 1);
}
