//! Sessions that were retired all at once: how long they are read, when they leave the store, and what takes their place.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace;
use omemo::runtime::next_number;

in_both_namespaces! {
    a_superseded_session_is_read_for_thirty_days_more,
    a_session_without_successor_is_read_for_thirty_days_and_goes,
    use_does_not_make_a_retired_session_live_longer,
    who_writes_on_a_retired_session_gets_a_new_one,
    what_was_not_answered_before_counts_no_more,
    a_text_that_is_on_its_way_while_all_are_retired_reaches_everybody,
    a_record_that_cannot_be_read_keeps_no_other_session_from_going,
    a_device_whose_bundle_was_missing_is_served_again,
}

/// The records of sessions with a device, current and archived.
fn stored(romeo: &RustDevice) -> usize {
    let is_session = |key: &&String| {
        key.starts_with("v1/session/") || (key.starts_with("v1/archive/") && key.split('/').count() == 6)
    };
    romeo.storage.all().keys().filter(is_session).count()
}

/// Retires all sessions of Romeo's while Juliet's bundle cannot be had; gives messages of hers that are on their way.
fn retired(ns: Namespace) -> (Server, RustDevice, RustDevice, Vec<Message>) {
    let (mut server, romeo, juliet) = friends(ns);
    let late = (0..4).map(|number| juliet.say(&romeo.jid, &format!("late {number}"), &mut server)).collect();
    retire_all(&romeo, &juliet, &mut server);
    (server, romeo, juliet, late)
}

fn retire_all(romeo: &RustDevice, juliet: &RustDevice, server: &mut Server) {
    let operation = next_number();
    romeo.manager().replace_sessions(operation, None, None).unwrap();
    let fails = is_bundle_of(&juliet.jid);
    romeo.run_with(|request| match fails(request) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(romeo, request)),
    });
    let outcome = romeo.take(operation);
    assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::BundleDownloadFailed));
}

fn a_superseded_session_is_read_for_thirty_days_more(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let late: Vec<Message> = (0..2).map(|_| juliet.say(&romeo.jid, "late", &mut server)).collect();
    juliet.replace_sessions(Some(&romeo.jid), 0, &mut server);
    server.settle(&[&romeo, &juliet]);
    romeo.run_days(60, &mut server);
    retire_all(&romeo, &juliet, &mut server);
    romeo.run_days(29, &mut server);
    assert_eq!(romeo.read(&juliet.jid, &late[0]).error.status(), Status::Ok);
    romeo.run_days(2, &mut server);
    assert_ne!(romeo.read(&juliet.jid, &late[1]).error.status(), Status::Ok);
}

fn a_session_without_successor_is_read_for_thirty_days_and_goes(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let late: Vec<Message> = (0..2).map(|_| juliet.say(&romeo.jid, "late", &mut server)).collect();
    romeo.read(&juliet.jid, &late[0]);
    retire_all(&romeo, &juliet, &mut server);
    romeo.run_days(29, &mut server);
    assert_eq!(stored(&romeo), 1);
    romeo.run_days(2, &mut server);
    assert_eq!(stored(&romeo), 0);
    // What was read of it is still known.
    romeo.refuse(&juliet.jid, &late[0], Status::Duplicate);
    assert_ne!(romeo.read(&juliet.jid, &late[1]).error.status(), Status::Ok);
    let message = romeo.say(&juliet.jid, "a new beginning", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "a new beginning");
}

fn use_does_not_make_a_retired_session_live_longer(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let late: Vec<Message> = (0..3).map(|_| juliet.say(&romeo.jid, "late", &mut server)).collect();
    juliet.replace_sessions(Some(&romeo.jid), 0, &mut server);
    server.settle(&[&romeo, &juliet]);
    retire_all(&romeo, &juliet, &mut server);
    for (days, expected) in [(20, true), (9, true), (2, false)] {
        romeo.run_days(days, &mut server);
        let message = &late[[20, 9, 2].iter().position(|other| *other == days).unwrap()];
        assert_eq!(romeo.read(&juliet.jid, message).error.status() == Status::Ok, expected, "{days}");
    }
}

/// She would hear nothing of him before he writes: no heartbeat, no answer.
fn who_writes_on_a_retired_session_gets_a_new_one(ns: Namespace) {
    let (mut server, romeo, juliet, late) = retired(ns);
    let sent = romeo.count_asked(is_send);
    assert_eq!(text(&romeo.read(&juliet.jid, &late[0])), "late 0");
    romeo.run_later(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent + 1);
    server.settle(&[&romeo, &juliet]);
    assert_eq!(text(&romeo.read(&juliet.jid, &late[1])), "late 1");
    romeo.run_later(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent + 1, "once");
    let message = juliet.say(&romeo.jid, "on the new one", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "on the new one");
    // Nobody who is distrusted hears of it.
    retire_all(&romeo, &juliet, &mut server);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    romeo.refuse(&juliet.jid, &late[2], Status::SenderDistrusted);
    romeo.run_later(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent + 1);
}

fn what_was_not_answered_before_counts_no_more(ns: Namespace) {
    let (mut server, romeo, juliet) = friends_with(ns, |config| config.max_unanswered_messages = Some(60));
    let ask = |server: &mut Server| {
        let outcome = romeo.encrypt(&[&juliet.jid], "are you there?", EncryptPolicy::Wait, server);
        row(&outcome, &juliet.jid, juliet.id())
    };
    while ask(&mut server) != Some(Status::Unresponsive) {}
    retire_all(&romeo, &juliet, &mut server);
    romeo.advance(HOUR);
    for _ in 0..60 {
        assert_eq!(ask(&mut server), Some(Status::Ok));
    }
}

fn a_text_that_is_on_its_way_while_all_are_retired_reaches_everybody(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let tybalt = RustDevice::new(TYBALT, &mut server);
    romeo.refresh(&tybalt.jid, &mut server);
    // The text waits for Tybalt's bundle; Juliet has a session.
    let operation = romeo.begin_encrypt(&[&juliet.jid, &tybalt.jid], "to both", EncryptPolicy::Wait);
    let held = romeo.run_holding(&mut server, is_bundle_of(&tybalt.jid));
    assert_eq!(held.len(), 1);
    romeo.manager().replace_sessions(next_number(), None, None).unwrap();
    let later = romeo.run_holding(&mut server, is_bundle_of(&juliet.jid));
    assert_eq!(later.len(), 1);
    for (request_id, request) in held.into_iter().chain(later) {
        romeo.manager().answer(request_id, server.answer(&romeo, &request)).unwrap();
        romeo.run_holding(&mut server, is_bundle_of(&juliet.jid));
    }
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::Ok, "{:?}", outcome.rows);
    for other in [&juliet, &tybalt] {
        assert_eq!(row(&outcome, &other.jid, other.id()), Some(Status::Ok));
        assert_eq!(text(&other.read(&romeo.jid, &outcome.messages[0])), "to both");
    }
}

fn a_record_that_cannot_be_read_keeps_no_other_session_from_going(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let others: Vec<RustDevice> =
        (0..5).map(|number| RustDevice::new(&format!("friend{number}@verona.lit"), &mut server)).collect();
    for other in &others {
        let hello = romeo.say(&other.jid, "hello", &mut server);
        other.read(&romeo.jid, &hello);
    }
    server.settle(&[&romeo, &juliet]);
    let all: Vec<_> = others.iter().chain([&juliet]).collect();
    let replaced = romeo.replace_sessions(None, 0, &mut server);
    assert!(all.iter().all(|other| is_ok(&replaced, other)));
    // Six that send, and six that are archived.
    assert_eq!(stored(&romeo), 12);
    // One record is cut, so that it cannot be read.
    assert_eq!(romeo.restart_after(|storage| storage.truncate("archive", others[2].jid.as_str())), 2);
    romeo.connect(&mut server);
    romeo.run_days(31, &mut server);
    assert_eq!(stored(&romeo), 7, "all but the one behind the record");
}

fn a_device_whose_bundle_was_missing_is_served_again(ns: Namespace) {
    for offline in [false, true] {
        let (mut server, romeo, juliet) = friends(ns);
        let second = RustDevice::new(JULIET, &mut server);
        romeo.push(&juliet.jid, &server);
        let hello = romeo.say(&juliet.jid, "hello", &mut server);
        second.read(&romeo.jid, &hello);
        server.settle(&[&romeo, &juliet, &second]);
        let at = (ns, juliet.jid.clone(), juliet.id());
        let bundle = server.bundles.remove(&at).unwrap();
        let outcome = romeo.replace_sessions(None, 0, &mut server);
        assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::BundleNotFound));
        romeo.say(&juliet.jid, "still missing", &mut server);
        server.bundles.insert(at, bundle);
        romeo.manager().disconnected().unwrap();
        let operation = offline.then(|| romeo.begin_encrypt(&[&juliet.jid], "early", EncryptPolicy::Wait));
        romeo.step();
        romeo.advance(2 * HOUR);
        romeo.connect(&mut server);
        if let Some(operation) = operation {
            let outcome = romeo.take(operation);
            assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::Ok), "offline");
        }
        let message = romeo.say(&juliet.jid, "back again", &mut server);
        assert!(message.keys.iter().any(|key| key.device == juliet.id()), "offline: {offline}");
    }
}
