//! What cannot work is healed or said: sessions that one side lost, pre keys that are gone, sessions never answered.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    r32_a_lost_session_is_repaired,
    strangers_do_not_keep_a_friends_session_from_repair,
    a_distrusted_device_is_not_written_to_by_itself,
    a_repair_that_is_lost_is_not_made_at_each_message,
    a_device_that_left_its_list_meanwhile_is_not_repaired,
    a_repair_whose_bundle_cannot_be_had_at_first_is_made_later,
    f34_a_pre_key_that_is_gone_is_healed,
    r55_an_unknown_pre_key_in_a_listed_devices_name_replaces_no_session,
    an_unknown_pre_key_of_an_unlisted_device_is_not_repaired,
    an_unknown_pre_key_of_a_distrusted_device_is_not_repaired,
    a_used_pre_key_still_opens_what_was_begun_on_it,
    a_used_pre_key_ends_after_a_day,
    after_a_long_prompt_the_message_can_be_read,
    a_bundle_of_another_stream_is_fetched_anew,
    a_bundle_that_cannot_be_fetched_again_is_a_row,
    r38_a_session_that_was_never_answered_is_rebuilt_after_a_week,
    a_session_that_was_answered_is_not_rebuilt,
    a_session_that_was_never_answered_does_where_its_bundle_is_of_an_old_stream,
    crossing_key_exchanges_end_in_one_session,
    a_withheld_message_does_not_choose_the_session,
    late_messages_of_a_session_that_was_lost_do_not_choose_the_session,
    late_messages_of_a_session_that_was_lost_long_ago_do_not_either,
}

/// Romeo loses his sessions; a message of Juliet's cannot be read.
fn after_a_loss(ns: Namespace) -> (Server, RustDevice, RustDevice) {
    let (mut server, romeo, juliet) = friends(ns);
    lose_sessions(&romeo, &mut server);
    romeo.refresh(&juliet.jid, &mut server);
    (server, romeo, juliet)
}

fn fails_with(romeo: &RustDevice, juliet: &RustDevice, server: &mut Server, status: Status) {
    let message = juliet.say(&romeo.jid, "are you there?", server);
    romeo.refuse(&juliet.jid, &message, status);
}

fn r32_a_lost_session_is_repaired(ns: Namespace) {
    let (mut server, romeo, juliet) = after_a_loss(ns);
    fails_with(&romeo, &juliet, &mut server, Status::NoSession);
    server.settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo, &mut server);
}

fn strangers_do_not_keep_a_friends_session_from_repair(ns: Namespace) {
    let (mut server, romeo, juliet) = after_a_loss(ns);
    for n in 0..300 {
        let mut stranger = RawDevice::of(ns, &format!("s{n}@evil.example"), 5);
        let (_, message) = stranger.greet(&romeo, &server, "x");
        romeo.refuse(&stranger.jid, &inner(&message), Status::NoSession);
    }
    romeo.run(&mut server);
    fails_with(&romeo, &juliet, &mut server, Status::NoSession);
    server.settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo, &mut server);
}

fn a_distrusted_device_is_not_written_to_by_itself(ns: Namespace) {
    let (mut server, romeo, juliet) = after_a_loss(ns);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    let before = romeo.sent.borrow().len();
    let message = juliet.say(&romeo.jid, "text", &mut server);
    romeo.read(&juliet.jid, &message);
    romeo.run_later(&mut server);
    assert_eq!(romeo.sent.borrow().len(), before, "a session and a message for a distrusted key");
    // Judged after the repair was noted, before it is made.
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    romeo.advance(2 * DAY);
    let message = juliet.say(&romeo.jid, "text", &mut server);
    romeo.read(&juliet.jid, &message);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    romeo.run_later(&mut server);
    assert_eq!(romeo.sent.borrow().len(), before, "a session and a message for a distrusted key");
}

fn a_repair_that_is_lost_is_not_made_at_each_message(ns: Namespace) {
    let (mut server, romeo, juliet) = after_a_loss(ns);
    let before = romeo.sent.borrow().len();
    for hours in 0..23 {
        fails_with_anything(&romeo, &juliet, &mut server);
        romeo.run(&mut server);
        // What repairs the session is lost on its way.
        server.mail.clear();
        assert!(romeo.sent.borrow().len() <= before + 1, "after {hours} hours");
        romeo.advance(HOUR);
    }
    assert_eq!(romeo.sent.borrow().len(), before + 1);
}

fn fails_with_anything(romeo: &RustDevice, juliet: &RustDevice, server: &mut Server) {
    let message = juliet.say(&romeo.jid, "are you there?", server);
    assert!(romeo.read(&juliet.jid, &message).plaintext.is_none());
}

fn f34_a_pre_key_that_is_gone_is_healed(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    juliet.refresh(&romeo.jid, &mut server);
    // Two have read the bundle when it had one pre key left; the other's message came a week earlier.
    let bundle = with_one_pre_key(&server, &romeo, 0);
    let published = server.bundles.insert((ns, romeo.jid.clone(), romeo.id()), bundle).unwrap();
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    let (_, taken) = take_pre_key(&mut tybalt, &romeo, &server, 0);
    let hers = juliet.say(&romeo.jid, "hello", &mut server);
    server.bundles.insert((ns, romeo.jid.clone(), romeo.id()), published);
    assert_eq!(romeo.read(&tybalt.jid, &taken).error.status(), Status::Ok);
    romeo.run_hours(48, &mut server);
    romeo.refresh(&juliet.jid, &mut server);
    server.mail.clear();
    let mut lost = usize::from(romeo.read(&juliet.jid, &hers).plaintext.is_none());
    for n in 0..100 {
        romeo.advance(HOUR);
        juliet.advance(HOUR);
        server.settle(&[&romeo, &juliet]);
        let message = juliet.say(&romeo.jid, &format!("{n}"), &mut server);
        lost += usize::from(romeo.read(&juliet.jid, &message).plaintext.is_none());
    }
    assert!(lost < 10, "{lost} of 101 messages were lost, in 100 hours, both being online");
}

fn r55_an_unknown_pre_key_in_a_listed_devices_name_replaces_no_session(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.refresh(&juliet.jid, &mut server);
    let mut mallory = RawDevice::of(ns, JULIET, juliet.id());
    let (_, hello) = mallory.greet(&romeo, &server, "x");
    let (before, sent) = (romeo.storage.all(), romeo.sent.borrow().len());
    for n in 0..50 {
        let forged = with_pre_key_id(&hello, 1_000_000 + n);
        let status = romeo.read(&juliet.jid, &forged).error.status();
        assert!(matches!(status, Status::PreKeyUnknown | Status::PublicDataInconsistency), "{status:?}");
        romeo.run(&mut server);
    }
    assert!(romeo.storage.all() == before, "a forged key exchange changed the store");
    assert_eq!(romeo.sent.borrow().len(), sent, "a forged key exchange had something sent");
    both_ways(&romeo, &juliet, &mut server);
}

/// A device that is known, with no session; and a key exchange of it on a pre key that was never there.
fn with_unknown_pre_key(
    ns: Namespace,
    listed: bool,
) -> (Server, RustDevice, RawDevice, omemo::protocol::message::Message) {
    let (mut server, romeo, _juliet) = friends(ns);
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    if listed {
        tybalt.publish(&mut server);
        romeo.refresh(&tybalt.jid, &mut server);
        romeo.manager().set_trust(&tybalt.jid, &tybalt.key(), "trusted").unwrap();
    }
    let (_, hello) = tybalt.greet(&romeo, &server, "x");
    let forged = with_pre_key_id(&hello, 1_000_000);
    (server, romeo, tybalt, forged)
}

fn an_unknown_pre_key_of_an_unlisted_device_is_not_repaired(ns: Namespace) {
    let (mut server, romeo, tybalt, forged) = with_unknown_pre_key(ns, false);
    let sent = romeo.sent.borrow().len();
    romeo.refuse(&tybalt.jid, &forged, Status::PreKeyUnknown);
    romeo.run_later(&mut server);
    assert_eq!(romeo.sent.borrow().len(), sent);
    // A listed one is, once a day.
    let (mut server, romeo, tybalt, forged) = with_unknown_pre_key(ns, true);
    let sent = romeo.sent.borrow().len();
    for _ in 0..3 {
        romeo.read(&tybalt.jid, &forged);
        romeo.run_later(&mut server);
    }
    assert_eq!(romeo.sent.borrow().len(), sent + 1, "a device that took a pre key of ours too late");
}

fn an_unknown_pre_key_of_a_distrusted_device_is_not_repaired(ns: Namespace) {
    let (mut server, romeo, tybalt, forged) = with_unknown_pre_key(ns, true);
    romeo.manager().set_trust(&tybalt.jid, &tybalt.key(), "distrusted").unwrap();
    let sent = romeo.sent.borrow().len();
    romeo.read(&tybalt.jid, &forged);
    romeo.run_later(&mut server);
    assert_eq!(romeo.sent.borrow().len(), sent);
}

fn a_used_pre_key_still_opens_what_was_begun_on_it(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let (mut first, mut second) = (RawDevice::of(ns, TYBALT, 5), RawDevice::of(ns, PARIS, 5));
    let (_, hello) = take_pre_key(&mut first, &romeo, &server, 0);
    let (_, welcome) = take_pre_key(&mut second, &romeo, &server, 0);
    assert_eq!(text(&romeo.read(&first.jid, &hello)), "x");
    // The bundle without it does not reach the server.
    for _ in 0..3 {
        romeo.advance(HOUR);
        romeo.run_with(|request| match is_publish(request) {
            true => Some(Answer::Rejected(Reason::Failed)),
            false => Some(server.answer(&romeo, request)),
        });
    }
    romeo.restart();
    assert_eq!(text(&romeo.read(&second.jid, &welcome)), "x");
    // What was processed is not processed again.
    for (from, message) in [(&first, &hello), (&second, &welcome)] {
        let read = romeo.read(&from.jid, message);
        assert_eq!((read.error.status(), read.plaintext), (Status::Duplicate, None));
    }
}

fn a_used_pre_key_ends_after_a_day(ns: Namespace) {
    for reaches in [true, false] {
        used_pre_key_ends(ns, reaches);
    }
}

fn used_pre_key_ends(ns: Namespace, reaches: bool) {
    let (mut server, romeo, _) = two(ns);
    let (mut first, mut second) = (RawDevice::of(ns, TYBALT, 5), RawDevice::of(ns, PARIS, 5));
    let (_, hello) = take_pre_key(&mut first, &romeo, &server, 0);
    let (_, welcome) = take_pre_key(&mut second, &romeo, &server, 0);
    romeo.read(&first.jid, &hello);
    // Whether the bundle without it reaches the server or not.
    for _ in 0..26 {
        romeo.advance(HOUR);
        romeo.run_with(|request| match is_publish(request) && !reaches {
            true => Some(Answer::Rejected(Reason::Failed)),
            false => Some(server.answer(&romeo, request)),
        });
    }
    romeo.refuse(&second.jid, &welcome, Status::PreKeyUnknown);
}

fn after_a_long_prompt_the_message_can_be_read(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = careful(ns, ROMEO, &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "hello", EncryptPolicy::Wait);
    let open = romeo.run_holding(&mut server, is_prompt);
    // Three days pass; others use up all pre keys that Romeo has seen.
    for n in 0..100 {
        let mut other = RawDevice::of(ns, &format!("s{n}@x.example"), 5);
        let (_, message) = take_pre_key(&mut other, &juliet, &server, 0);
        assert_eq!(juliet.read(&other.jid, &message).error.status(), Status::Ok);
        juliet.advance(HOUR);
        juliet.run(&mut server);
        server.mail.clear();
    }
    romeo.advance(100 * HOUR);
    romeo.manager().decide(open[0].0, 0, "trusted").unwrap();
    romeo.manager().answer(open[0].0, Answer::Done).unwrap();
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::Ok);
    assert_eq!(text(&juliet.read(&romeo.jid, &outcome.messages[0])), "hello");
}

fn a_bundle_of_another_stream_is_fetched_anew(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = careful(ns, ROMEO, &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "hello", EncryptPolicy::Wait);
    let open = romeo.run_holding(&mut server, is_prompt);
    romeo.manager().disconnected().unwrap();
    romeo.begin_connect();
    romeo.run_holding(&mut server, is_prompt);
    let before = romeo.count_asked(is_bundle_of(&juliet.jid));
    romeo.manager().decide(open[0].0, 0, "trusted").unwrap();
    romeo.manager().answer(open[0].0, Answer::Done).unwrap();
    romeo.run(&mut server);
    assert_eq!(romeo.take(operation).status(), Status::Ok);
    let fetched = romeo.count_asked(is_bundle_of(&juliet.jid)) - before;
    assert_eq!(fetched, 1, "a session was begun on a bundle of another stream");
}

fn a_bundle_that_cannot_be_fetched_again_is_a_row(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = careful(ns, ROMEO, &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "hello", EncryptPolicy::Wait);
    let open = romeo.run_holding(&mut server, is_prompt);
    romeo.advance(HOUR / 2);
    romeo.manager().decide(open[0].0, 0, "trusted").unwrap();
    romeo.manager().answer(open[0].0, Answer::Done).unwrap();
    romeo.run_with(|request| match is_bundle(request) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&romeo, request)),
    });
    let outcome = romeo.take(operation);
    assert_eq!(
        row(&outcome, &juliet.jid, juliet.id()),
        Some(Status::BundleDownloadFailed),
        "{:?}",
        outcome.rows
    );
    assert!(outcome.messages.is_empty());
}

/// Romeo writes to a device that is set up anew before it read anything: the same key, other pre keys.
fn never_answered(ns: Namespace) -> (Server, RustDevice, RawDevice) {
    let (mut server, romeo, _) = two(ns);
    let tybalt = RawDevice::of(ns, TYBALT, 5);
    tybalt.publish(&mut server);
    romeo.say(&tybalt.jid, "lost", &mut server);
    let anew = tybalt.twin(ns, TYBALT, 5);
    anew.publish(&mut server);
    (server, romeo, anew)
}

fn r38_a_session_that_was_never_answered_is_rebuilt_after_a_week(ns: Namespace) {
    let (mut server, romeo, mut tybalt) = never_answered(ns);
    for day in 0..6 {
        romeo.advance(DAY);
        let message = romeo.say(&tybalt.jid, "text", &mut server);
        let key = tybalt.bytes(&message);
        assert!(key.key_exchange, "day {day}");
    }
    romeo.advance(DAY + HOUR);
    let message = romeo.say(&tybalt.jid, "anew", &mut server);
    assert_eq!(tybalt.accept(&message).ok().as_deref(), Some("anew"), "on the signed pre key of today");
}

fn a_session_that_was_answered_is_not_rebuilt(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.advance(30 * DAY);
    juliet.advance(30 * DAY);
    let message = romeo.say(&juliet.jid, "text", &mut server);
    assert!(message.keys.iter().all(|key| !key.key_exchange));
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "text");
}

fn crossing_key_exchanges_end_in_one_session(ns: Namespace) {
    for romeo_first in [false, true] {
        let (mut server, romeo, juliet) = two(ns);
        let his = romeo.say(&juliet.jid, "his", &mut server);
        let hers = juliet.say(&romeo.jid, "hers", &mut server);
        if romeo_first {
            assert_eq!(text(&juliet.read(&romeo.jid, &his)), "his");
            assert_eq!(text(&romeo.read(&juliet.jid, &hers)), "hers");
        } else {
            assert_eq!(text(&romeo.read(&juliet.jid, &hers)), "hers");
            assert_eq!(text(&juliet.read(&romeo.jid, &his)), "his");
        }
        server.settle(&[&romeo, &juliet]);
        both_ways(&romeo, &juliet, &mut server);
        both_ways(&juliet, &romeo, &mut server);
        let last = romeo.say(&juliet.jid, "last", &mut server);
        assert!(last.keys.iter().all(|key| !key.key_exchange), "it still begins sessions");
    }
}

fn a_withheld_message_does_not_choose_the_session(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // The server withholds two messages of the session that Juliet is about to lose.
    let withheld: Vec<_> = (0..2).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    replace_session(&juliet, &romeo, &mut server);
    // Now it delivers them: they are read, and the session that both use stays.
    for (n, message) in withheld.iter().enumerate() {
        assert_eq!(text(&romeo.read(&juliet.jid, message)), n.to_string());
    }
    server.settle(&[&romeo, &juliet]);
    let message = romeo.say(&juliet.jid, "which session?", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "which session?");
}

fn late_messages_of_a_session_that_was_lost_do_not_choose_the_session(ns: Namespace) {
    // Among the late ones, when the first one comes of the session that was made anew.
    for (place, turned) in (0..=4).flat_map(|place| [(place, false), (place, true)]) {
        let (mut server, romeo, juliet) = friends(ns);
        if turned {
            // The late ones answer Romeo for the first time.
            let message = romeo.say(&juliet.jid, "your turn", &mut server);
            assert_eq!(text(&juliet.read(&romeo.jid, &message)), "your turn");
        }
        let late: Vec<_> = (0..4).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
        lose_sessions(&juliet, &mut server);
        juliet.refresh(&romeo.jid, &mut server);
        let hello = juliet.say(&romeo.jid, "anew", &mut server);
        assert_eq!(text(&romeo.read(&juliet.jid, &hello)), "anew");
        // Romeo's answer comes without content: Juliet has it, and goes on.
        server.settle(&[&romeo, &juliet]);
        let fresh = juliet.say(&romeo.jid, "fresh", &mut server);
        let mut all = late;
        all.insert(place, fresh);
        for message in &all {
            text(&romeo.read(&juliet.jid, message));
        }
        server.settle(&[&romeo, &juliet]);
        // What came last may have been of the session that is lost; her next word tells which one she uses.
        let here = juliet.say(&romeo.jid, "here I am", &mut server);
        assert_eq!(text(&romeo.read(&juliet.jid, &here)), "here I am");
        let message = romeo.say(&juliet.jid, "which session?", &mut server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "which session?", "fresh at {place}, {turned}");
    }
}

fn a_repair_whose_bundle_cannot_be_had_at_first_is_made_later(ns: Namespace) {
    for stream_breaks in [false, true] {
        let (mut server, romeo, juliet) = after_a_loss(ns);
        fails_with(&romeo, &juliet, &mut server, Status::NoSession);
        let wanted = is_bundle_of(&juliet.jid);
        if stream_breaks {
            let open = romeo.run_holding(&mut server, &wanted);
            assert_eq!(open.len(), 1);
            romeo.reconnect(&mut server);
        } else {
            romeo.run_with(|request| match wanted(request) {
                true => Some(Answer::Rejected(Reason::Failed)),
                false => Some(server.answer(&romeo, request)),
            });
            let asked = romeo.count_asked(&wanted);
            romeo.advance(30_000);
            romeo.run(&mut server);
            assert_eq!(romeo.count_asked(&wanted), asked, "a server that is down is given no rest");
            romeo.advance(31_000);
        }
        server.settle(&[&romeo, &juliet]);
        both_ways(&juliet, &romeo, &mut server);
    }
}

fn a_session_that_was_never_answered_does_where_its_bundle_is_of_an_old_stream(ns: Namespace) {
    for fetched_again in [true, false] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let juliet = RawDevice::of(ns, JULIET, 7);
        juliet.publish(&mut server);
        romeo.say(&juliet.jid, "hello", &mut server);
        // A week later she has another signed pre key, and the stream breaks while another bundle is waited for.
        romeo.advance(8 * DAY);
        server.bundles.get_mut(&(ns, juliet.jid.clone(), 7)).unwrap().signed_pre_key_id += 1;
        let tybalt = RawDevice::of(ns, TYBALT, 8);
        tybalt.publish(&mut server);
        let operation = romeo.begin_encrypt(&[&juliet.jid, &tybalt.jid], "text", EncryptPolicy::Wait);
        romeo.run_holding(&mut server, is_bundle_of(&tybalt.jid));
        romeo.manager().disconnected().unwrap();
        romeo.begin_connect();
        romeo.run_with(|request| match is_bundle_of(&juliet.jid)(request) && !fetched_again {
            true => Some(Answer::Rejected(Reason::Failed)),
            false => Some(server.answer(&romeo, request)),
        });
        let outcome = romeo.take(operation);
        assert!(serves(&outcome, 7) && serves(&outcome, 8), "{:?}", outcome.rows);
    }
}

fn late_messages_of_a_session_that_was_lost_long_ago_do_not_either(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let late = juliet.say(&romeo.jid, "late", &mut server);
    for word in ["first", "second"] {
        lose_sessions(&juliet, &mut server);
        juliet.refresh(&romeo.jid, &mut server);
        let hello = juliet.say(&romeo.jid, word, &mut server);
        assert_eq!(text(&romeo.read(&juliet.jid, &hello)), word);
        if word == "first" {
            server.settle(&[&romeo, &juliet]);
            both_ways(&romeo, &juliet, &mut server);
        }
    }
    // She has answered on the session that replaced its one, and begun another one since.
    assert_eq!(text(&romeo.read(&juliet.jid, &late)), "late");
    let message = romeo.say(&juliet.jid, "which session?", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "which session?");
}

fn a_device_that_left_its_list_meanwhile_is_not_repaired(ns: Namespace) {
    for answered in [false, true] {
        let (mut server, romeo, juliet) = after_a_loss(ns);
        fails_with(&romeo, &juliet, &mut server, Status::NoSession);
        let sent = romeo.count_asked(is_send);
        // It was stolen, and is taken off before its bundle comes, or before anybody has asked for it.
        if answered {
            let open = romeo.run_holding(&mut server, is_bundle_of(&juliet.jid));
            push(&romeo, &juliet.jid, &[]);
            romeo.manager().answer(open[0].0, Answer::Bundle(server.bundle(&juliet))).unwrap();
        } else {
            push(&romeo, &juliet.jid, &[]);
        }
        romeo.run_later(&mut server);
        assert_eq!(romeo.count_asked(is_send), sent, "it is written to although it was taken off");
    }
}
