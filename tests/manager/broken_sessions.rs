//! What counts as a broken session, what replacing one must not do, and what happens when something comes in between.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::config::Healing;
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    each_kind_of_failure_counts,
    rooms_heal_nothing_and_guessed_senders_count_nothing,
    a_stranger_is_told_of_once,
    what_is_on_its_way_when_a_session_begins_is_no_broken_session,
    a_healing_that_was_not_needed_does_not_use_up_the_day,
    older_sessions_are_given_up_as_well,
    what_changes_while_the_bundle_is_fetched_counts,
    a_commit_that_fails_replaces_nothing,
    a_full_outbox_keeps_the_session,
    one_unreadable_record_goes_and_the_others_stay,
    everybody_means_whom_the_client_has_named_and_the_own_devices,
    one_friend_who_cannot_be_read_is_a_row,
}

fn healing(ns: Namespace) -> (Server, RustDevice, RustDevice) {
    friends_with(ns, |config| config.healing = Healing::Automatic)
}

fn each_kind_of_failure_counts(ns: Namespace) {
    let (mut server, romeo, juliet) = friends_with(ns, |config| {
        (config.skipped_per_session, config.skipped_per_message) = (3, 3);
    });
    let message = juliet.say(&romeo.jid, "x", &mut server);
    romeo.refuse(&juliet.jid, &forged(&message, 1), Status::DecryptionFailed);
    let far = (0..9).map(|_| juliet.say(&romeo.jid, "x", &mut server)).last().unwrap();
    romeo.refuse(&juliet.jid, &far, Status::TooManySkipped);
    let mut raw = RawDevice::of(ns, TYBALT, 5);
    let (_, exchange) = raw.greet(&romeo, &server, "x");
    romeo.read(&raw.jid, &exchange);
    romeo.run(&mut server);
    assert_eq!((failed(&romeo, &juliet), broken(&romeo)), (2, 1));
    // Of one that has to be read again, one that was read before, and one that is distrusted, none counts.
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    romeo.refuse(&juliet.jid, &message, Status::SenderDistrusted);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    assert_eq!(failed(&romeo, &juliet), 2);
    romeo.read(&juliet.jid, &message);
    romeo.refuse(&juliet.jid, &message, Status::Duplicate);
    assert_eq!(failed(&romeo, &juliet), 0);
    lose_sessions(&romeo, &mut server);
    romeo.refresh(&juliet.jid, &mut server);
    for n in 1..4 {
        let message = juliet.say(&romeo.jid, "x", &mut server);
        romeo.refuse(&juliet.jid, &message, Status::NoSession);
        assert_eq!(failed(&romeo, &juliet), n);
    }
    assert_eq!(broken(&romeo), 1, "what is repaired by itself is not told");
}

fn rooms_heal_nothing_and_guessed_senders_count_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = healing(ns);
    let (sent, room) = (romeo.count_asked(is_send), jid("balcony@muc.lit"));
    for _ in 0..5 {
        let message = forged(&juliet.say(&romeo.jid, "x", &mut server), 1);
        let read = romeo.manager().decrypt(None, Some(&room), &message).unwrap();
        assert!(read.plaintext.is_none());
    }
    assert_eq!((failed(&romeo, &juliet), broken(&romeo)), (0, 0));
    for _ in 0..5 {
        let message = forged(&juliet.say(&romeo.jid, "x", &mut server), 1);
        let read = romeo.manager().decrypt(Some(&juliet.jid), Some(&room), &message).unwrap();
        assert_eq!(read.error.status(), Status::DecryptionFailed);
    }
    romeo.run_later(&mut server);
    assert_eq!((failed(&romeo, &juliet), broken(&romeo), romeo.count_asked(is_send)), (5, 1, sent));
}

fn a_stranger_is_told_of_once(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    tybalt.publish(&mut server);
    let (mut session, hello) = tybalt.greet(&romeo, &server, "hello");
    romeo.read(&tybalt.jid, &hello);
    romeo.run(&mut server);
    let answer = romeo.sent.borrow().last().unwrap().1.clone();
    tybalt.open(&mut session, &answer);
    romeo.refresh(&tybalt.jid, &mut server);
    for _ in 0..10 {
        let message = tybalt.write(&mut session, (&romeo.jid, romeo.id()), "x");
        romeo.refuse(&tybalt.jid, &forged(&message, 1), Status::DecryptionFailed);
        assert_eq!(romeo.read(&tybalt.jid, &message).error.status(), Status::Ok);
        romeo.run(&mut server);
    }
    assert_eq!(broken(&romeo), 1);
}

fn what_is_on_its_way_when_a_session_begins_is_no_broken_session(ns: Namespace) {
    let (mut server, romeo, juliet) = healing(ns);
    lose_sessions(&romeo, &mut server);
    romeo.refresh(&juliet.jid, &mut server);
    let burst: Vec<_> = (0..5).map(|_| juliet.say(&romeo.jid, "x", &mut server)).collect();
    romeo.refuse(&juliet.jid, &burst[0], Status::NoSession);
    romeo.run(&mut server);
    let sent = romeo.count_asked(is_send);
    for message in &burst[1..] {
        assert!(romeo.read(&juliet.jid, message).plaintext.is_none());
        romeo.run_later(&mut server);
    }
    assert_eq!((broken(&romeo), romeo.count_asked(is_send)), (0, sent));
    server.settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo, &mut server);
}

fn a_healing_that_was_not_needed_does_not_use_up_the_day(ns: Namespace) {
    let (mut server, romeo, juliet) = healing(ns);
    let sent = romeo.count_asked(is_send);
    let message = juliet.say(&romeo.jid, "x", &mut server);
    for number in [1, 2] {
        romeo.refuse(&juliet.jid, &forged(&message, number), Status::DecryptionFailed);
    }
    romeo.read(&juliet.jid, &message);
    romeo.run(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent);
    // On the same day the session breaks for good.
    for _ in 0..2 {
        let message = juliet.say(&romeo.jid, "x", &mut server);
        romeo.refuse(&juliet.jid, &forged(&message, 1), Status::DecryptionFailed);
    }
    romeo.run(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent + 1);
}

fn older_sessions_are_given_up_as_well(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // Written on a session that a loss of Juliet's ends; it comes late.
    let late = juliet.say(&romeo.jid, "late", &mut server);
    replace_session(&juliet, &romeo, &mut server);
    romeo.replace_sessions(Some(&juliet.jid), juliet.id(), &mut server);
    let begun = romeo.say(&juliet.jid, "on the new one", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &late)), "late");
    let next = romeo.say(&juliet.jid, "on the new one", &mut server);
    for message in [&begun, &next] {
        assert!(message.keys.iter().all(|key| key.key_exchange), "the old session came back");
    }
}

fn what_changes_while_the_bundle_is_fetched_counts(ns: Namespace) {
    type Change = fn(&RustDevice, &RustDevice);
    let distrust: Change = |romeo, juliet| {
        romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    };
    let leave: Change = |romeo, juliet| push(romeo, &juliet.jid, &[]);
    for (change, device, status) in
        [(distrust, true, Status::Distrusted), (leave, false, Status::NotFound), (leave, true, Status::Ok)]
    {
        let (mut server, romeo, juliet) = friends(ns);
        let device = if device { Some(id(juliet.id())) } else { None };
        romeo.manager().replace_sessions(7_001, Some(juliet.jid.clone()), device).unwrap();
        let held = romeo.run_holding(&mut server, is_bundle);
        let sent = romeo.count_asked(is_send);
        change(&romeo, &juliet);
        for (request_id, request) in held {
            let answer = server.answer(&romeo, &request);
            romeo.manager().answer(request_id, answer).unwrap();
        }
        romeo.run(&mut server);
        let outcome = romeo.take(7_001);
        assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(status));
        assert_eq!(romeo.count_asked(is_send) - sent, usize::from(status == Status::Ok));
    }
}

fn a_commit_that_fails_replaces_nothing(ns: Namespace) {
    for written in [false, true] {
        let (mut server, romeo, juliet) = friends(ns);
        romeo.manager().replace_sessions(7_001, Some(juliet.jid.clone()), None).unwrap();
        let held = romeo.run_holding(&mut server, is_bundle);
        let before = romeo.storage.all();
        // The next commit is that of the replacement.
        romeo.storage.fail_commit(0, written);
        for (request_id, request) in held {
            let answer = server.answer(&romeo, &request);
            romeo.manager().answer(request_id, answer).unwrap();
        }
        romeo.step();
        assert_eq!(romeo.take(7_001).status(), Status::Storage);
        assert_eq!(romeo.storage.all() == before, !written, "half a replacement");
        romeo.storage.heal();
        romeo.restart();
        romeo.connect(&mut server);
        romeo.refresh(&juliet.jid, &mut server);
        server.settle(&[&romeo, &juliet]);
        both_ways(&romeo, &juliet, &mut server);
    }
}

fn a_full_outbox_keeps_the_session(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // A thousand friends whose messages cannot be answered now.
    for n in 0..1_000 {
        let mut raw = RawDevice::of(ns, &format!("friend{n}@capulet.lit"), 5);
        raw.publish(&mut server);
        romeo.manager().set_trust(&raw.jid, &raw.key(), "trusted").unwrap();
        let (_, message) = raw.greet(&romeo, &server, "hello");
        assert_eq!(romeo.read(&raw.jid, &message).error.status(), Status::Ok, "{n}");
        if n % 50 == 49 {
            // Bundles are published so often and no oftener.
            romeo.advance(2 * HOUR);
            romeo.run_holding(&mut server, is_send);
        }
    }
    romeo.manager().replace_sessions(7_001, Some(juliet.jid.clone()), None).unwrap();
    romeo.run_holding(&mut server, is_send);
    let outcome = romeo.take(7_001);
    assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::Limit));
    let message = romeo.say(&juliet.jid, "on the old one", &mut server);
    assert!(message.keys.iter().all(|key| !key.key_exchange));
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "on the old one");
}

fn one_unreadable_record_goes_and_the_others_stay(ns: Namespace) {
    type Which = fn(&str) -> bool;
    let kinds: [(&str, Which); 4] = [
        ("v1/archive/", |rest| rest.matches('/').count() == 3),
        ("v1/archive/", |rest| rest.matches('/').count() == 2),
        ("v1/skipped/", |_| true),
        ("v1/session/", |_| true),
    ];
    for (kind, which) in kinds {
        let (mut server, romeo, juliet) = friends(ns);
        replace_session(&juliet, &romeo, &mut server);
        let late = juliet.say(&romeo.jid, "late", &mut server);
        let message = juliet.say(&romeo.jid, "leaves a skipped key", &mut server);
        romeo.read(&juliet.jid, &message);
        let cut = romeo.restart_after(|storage| {
            let mut records = storage.all();
            let mut cut = 0;
            for (key, value) in &mut records {
                if key.strip_prefix(kind).is_some_and(which) {
                    value.truncate(value.len() - 3);
                    cut += 1;
                }
            }
            storage.put_back(records);
            cut
        });
        assert!(cut > 0, "there is no {kind}");
        romeo.connect(&mut server);
        romeo.refresh(&juliet.jid, &mut server);
        let outcome = romeo.replace_sessions(Some(&juliet.jid), juliet.id(), &mut server);
        assert!(is_ok(&outcome, &juliet), "{kind}");
        // A current session that can be read is retired and still reads.
        if kind == "v1/archive/" {
            assert_eq!(text(&romeo.read(&juliet.jid, &late)), "late", "{kind}");
        }
        server.settle(&[&romeo, &juliet]);
        both_ways(&romeo, &juliet, &mut server);
        // Nothing that is left keeps a new key exchange from being read.
        replace_session(&juliet, &romeo, &mut server);
    }
}

fn everybody_means_whom_the_client_has_named_and_the_own_devices(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let other = RustDevice::new(ROMEO, &mut server);
    romeo.push(&romeo.jid, &server);
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    tybalt.publish(&mut server);
    let (_, hello) = tybalt.greet(&romeo, &server, "hello");
    romeo.read(&tybalt.jid, &hello);
    romeo.run(&mut server);
    romeo.refresh(&tybalt.jid, &mut server);
    let message = romeo.say(&juliet.jid, "to her and to my other device", &mut server);
    assert_eq!(text(&other.read(&romeo.jid, &message)), "to her and to my other device");
    let outcome = romeo.replace_sessions(None, 0, &mut server);
    assert!(is_ok(&outcome, &juliet) && is_ok(&outcome, &other));
    assert_eq!(outcome.rows.len(), 2, "a stranger, or this device");
    assert_eq!(romeo.replace_sessions(Some(&romeo.jid), 0, &mut server).rows.len(), 1);
    assert_eq!(romeo.replace_sessions(Some(&tybalt.jid), 0, &mut server).rows.len(), 1, "one who is named");
}

fn one_friend_who_cannot_be_read_is_a_row(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let tybalt = RustDevice::new(TYBALT, &mut server);
    let message = romeo.say(&tybalt.jid, "hello", &mut server);
    tybalt.read(&romeo.jid, &message);
    server.settle(&[&romeo, &tybalt]);
    romeo.restart_after(|storage| storage.truncate("jid", JULIET));
    romeo.connect(&mut server);
    romeo.refresh(&tybalt.jid, &mut server);
    let outcome = romeo.replace_sessions(None, 0, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, 0), Some(Status::StorageCorrupt));
    assert!(is_ok(&outcome, &tybalt));
}
