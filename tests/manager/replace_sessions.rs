//! Sessions on which one side cannot read the other are said to be broken, and replaced: by one call, or by themselves.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason};
use omemo::manager::config::Healing;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};

in_both_namespaces! {
    one_call_mends_what_a_restored_store_has_broken,
    a_replaced_session_still_reads_what_is_on_its_way,
    a_replaced_session_never_comes_back,
    r44_a_replacement_survives_a_crash_before_its_message_is_sent,
    r34_an_unknown_device_is_a_row,
    everybody_and_all_devices_have_a_row_each,
    a_call_for_everybody_leaves_no_session_that_sends,
    a_device_without_session_gets_one_when_it_is_named,
    what_cannot_be_replaced_keeps_its_session,
    an_unreadable_session_is_removed,
    replacing_ends_with_the_stream,
    a_broken_session_is_told_once,
    failed_messages_are_counted_once_each,
    forged_messages_of_a_distrusted_or_unlisted_device_tell_nothing,
    nothing_is_replaced_by_itself_unless_it_is_chosen,
    a_broken_session_is_replaced_by_itself_once_a_day,
    one_message_replaces_nothing,
    delayed_messages_replace_nothing,
    what_was_read_meanwhile_replaces_nothing,
    the_day_of_a_replacement_is_stored,
}

/// Romeo's store is set back to what it was some messages ago; Juliet's messages cannot be read.
fn restored(ns: Namespace, healing: Healing) -> (Server, RustDevice, RustDevice) {
    let (mut server, romeo, juliet) = friends_with(ns, |config| config.healing = healing);
    let before = romeo.storage.all();
    for _ in 0..3 {
        both_ways(&romeo, &juliet, &mut server);
    }
    romeo.restart_after(|storage| storage.put_back(before));
    romeo.connect(&mut server);
    romeo.refresh(&juliet.jid, &mut server);
    server.mail.clear();
    romeo.notices.borrow_mut().clear();
    (server, romeo, juliet)
}

fn unreadable(romeo: &RustDevice, juliet: &RustDevice, server: &mut Server) {
    let message = juliet.say(&romeo.jid, "can you read this?", server);
    romeo.refuse(&juliet.jid, &message, Status::DecryptionFailed);
}

fn one_call_mends_what_a_restored_store_has_broken(ns: Namespace) {
    // The side whose store is old mends it, or the other one.
    for by_romeo in [true, false] {
        let (mut server, romeo, juliet) = restored(ns, Healing::Manual);
        unreadable(&romeo, &juliet, &mut server);
        let (who, other) = if by_romeo { (&romeo, &juliet) } else { (&juliet, &romeo) };
        assert!(is_ok(&who.replace_sessions(Some(&other.jid), other.id(), &mut server), other));
        server.settle(&[&romeo, &juliet]);
        both_ways(&romeo, &juliet, &mut server);
        both_ways(&juliet, &romeo, &mut server);
        assert_eq!((failed(&romeo, &juliet), failed(&juliet, &romeo)), (0, 0));
    }
}

fn a_replaced_session_still_reads_what_is_on_its_way(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let late: Vec<_> = (0..3).map(|_| juliet.say(&romeo.jid, "late", &mut server)).collect();
    romeo.replace_sessions(Some(&juliet.jid), juliet.id(), &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &late[1])), "late");
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &late[0])), "late");
    romeo.run_days(31, &mut server);
    romeo.refuse(&juliet.jid, &late[2], Status::DecryptionFailed);
}

fn a_replaced_session_never_comes_back(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // There is an older one still, which might be promoted.
    replace_session(&juliet, &romeo, &mut server);
    let late = juliet.say(&romeo.jid, "late", &mut server);
    romeo.replace_sessions(Some(&juliet.jid), 0, &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &late)), "late");
    let sent = romeo.say(&juliet.jid, "on the new one", &mut server);
    assert!(sent.keys.iter().any(|key| key.key_exchange), "the old session sends");
}

fn r44_a_replacement_survives_a_crash_before_its_message_is_sent(ns: Namespace) {
    let (mut server, romeo, juliet) = restored(ns, Healing::Manual);
    romeo.manager().replace_sessions(7_001, Some(juliet.jid.clone()), None).unwrap();
    // The message is handed out, and nobody says whether it was sent.
    let open = romeo.run_holding(&mut server, is_send);
    assert!(open.iter().any(|(_, request)| is_send(request)) && romeo.is_done(7_001));
    romeo.restart();
    romeo.connect(&mut server);
    server.settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo, &mut server);
}

fn r34_an_unknown_device_is_a_row(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let sent = romeo.count_asked(is_send);
    for (jid, device) in
        [(&juliet.jid, 4_711), (&jid(TYBALT), 0), (&jid(TYBALT), 5), (&romeo.jid, romeo.id())]
    {
        let outcome = romeo.replace_sessions(Some(jid), device, &mut server);
        assert_eq!(
            (outcome.status(), row(&outcome, jid, device)),
            (Status::NotFound, Some(Status::NotFound))
        );
    }
    let nobody = romeo.manager().replace_sessions(7_001, None, Some(id(5)));
    assert_eq!(nobody.unwrap_err().status(), Status::Argument);
    assert_eq!(romeo.count_asked(is_send), sent);
}

fn everybody_and_all_devices_have_a_row_each(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let second = RustDevice::new(JULIET, &mut server);
    let tybalt = RustDevice::new(TYBALT, &mut server);
    romeo.push(&juliet.jid, &server);
    for (to, devices) in [(&juliet.jid, vec![&juliet, &second]), (&tybalt.jid, vec![&tybalt])] {
        let message = romeo.say(to, "hello", &mut server);
        devices.iter().for_each(|device| drop(device.read(&romeo.jid, &message)));
    }
    server.settle(&[&romeo, &juliet, &second, &tybalt]);
    let of_juliet = romeo.replace_sessions(Some(&juliet.jid), 0, &mut server);
    assert_eq!(of_juliet.rows.len(), 2);
    assert!(is_ok(&of_juliet, &juliet) && is_ok(&of_juliet, &second));
    server.settle(&[&romeo, &juliet, &second, &tybalt]);
    let all = romeo.replace_sessions(None, 0, &mut server);
    assert_eq!(all.rows.len(), 3);
    assert!([&juliet, &second, &tybalt].iter().all(|device| is_ok(&all, device)));
    server.settle(&[&romeo, &juliet, &second, &tybalt]);
    let message = romeo.say(&juliet.jid, "to both", &mut server);
    assert_eq!(
        (text(&juliet.read(&romeo.jid, &message)), text(&second.read(&romeo.jid, &message))),
        ("to both".into(), "to both".into())
    );
    // One that left is not bothered, unless it is named.
    server.lists.insert((ns, juliet.jid.clone()), list(ns, &[juliet.id()]));
    romeo.push(&juliet.jid, &server);
    assert_eq!(romeo.replace_sessions(Some(&juliet.jid), 0, &mut server).rows.len(), 1);
    assert!(is_ok(&romeo.replace_sessions(Some(&juliet.jid), second.id(), &mut server), &second));
}

/// In a store that is an older copy any session may have been used since: also one that gets no successor now.
fn a_call_for_everybody_leaves_no_session_that_sends(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let tybalt = RustDevice::new(TYBALT, &mut server);
    let hello = tybalt.say(&romeo.jid, "a stranger", &mut server);
    romeo.read(&tybalt.jid, &hello);
    server.settle(&[&romeo, &juliet, &tybalt]);
    let bundle = server.bundles.remove(&(ns, juliet.jid.clone(), juliet.id())).unwrap();
    let late = juliet.say(&romeo.jid, "on its way", &mut server);
    let all = romeo.replace_sessions(None, 0, &mut server);
    assert_eq!(row(&all, &juliet.jid, juliet.id()), Some(Status::BundleNotFound));
    assert_eq!(row(&all, &tybalt.jid, tybalt.id()), None, "a stranger is not told of it");
    // Nor does a restart bring one back.
    romeo.restart();
    romeo.connect(&mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &late)), "on its way");
    server.bundles.insert((ns, juliet.jid.clone(), juliet.id()), bundle);
    romeo.run_later(&mut server);
    for other in [&juliet, &tybalt] {
        let message = romeo.say(&other.jid, "a new session", &mut server);
        let key = message.keys.iter().find(|key| key.device == other.id()).unwrap();
        assert!(key.key_exchange, "an old session was used");
        assert_eq!(text(&other.read(&romeo.jid, &message)), "a new session");
    }
}

fn a_device_without_session_gets_one_when_it_is_named(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    romeo.refresh(&juliet.jid, &mut server);
    assert_eq!(
        romeo.replace_sessions(Some(&juliet.jid), 0, &mut server).rows.len(),
        0,
        "there is no session"
    );
    assert!(is_ok(&romeo.replace_sessions(Some(&juliet.jid), juliet.id(), &mut server), &juliet));
    server.settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo, &mut server);
}

fn what_cannot_be_replaced_keeps_its_session(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let key = (ns, juliet.jid.clone(), juliet.id());
    let bundle = server.bundles.remove(&key).unwrap();
    let sent = romeo.count_asked(is_send);
    let outcome = romeo.replace_sessions(Some(&juliet.jid), 0, &mut server);
    assert_eq!(outcome.status(), Status::BundleNotFound);
    assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::BundleNotFound));
    server.bundles.insert(key.clone(), bundle.clone());
    // Distrusted: not even asked for.
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    let asked = romeo.count_asked(is_bundle);
    let outcome = romeo.replace_sessions(Some(&juliet.jid), 0, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::Distrusted));
    assert_eq!(romeo.count_asked(is_bundle), asked);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    // A bundle with another key.
    let other = RawDevice::of(ns, JULIET, juliet.id());
    server.bundles.insert(key.clone(), other.bundle());
    let outcome = romeo.replace_sessions(Some(&juliet.jid), 0, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::IdentityChanged));
    assert_eq!(romeo.count_asked(is_send), sent, "something was sent");
    server.bundles.insert(key, bundle);
    romeo.refresh(&juliet.jid, &mut server);
    both_ways(&romeo, &juliet, &mut server);
}

fn an_unreadable_session_is_removed(ns: Namespace) {
    for kind in ["session", "archive"] {
        let (mut server, romeo, juliet) = friends(ns);
        replace_session(&juliet, &romeo, &mut server);
        let spoilt = romeo.restart_after(|storage| storage.truncate(kind, JULIET));
        assert!(spoilt > 0, "there is no {kind}");
        romeo.connect(&mut server);
        romeo.refresh(&juliet.jid, &mut server);
        assert!(
            is_ok(&romeo.replace_sessions(Some(&juliet.jid), juliet.id(), &mut server), &juliet),
            "{kind}"
        );
        server.settle(&[&romeo, &juliet]);
        both_ways(&romeo, &juliet, &mut server);
    }
}

fn replacing_ends_with_the_stream(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.manager().replace_sessions(7_001, None, None).unwrap();
    romeo.run_holding(&mut server, is_bundle);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    assert_eq!(romeo.take(7_001).status(), Status::Offline);
    let offline = romeo.manager().replace_sessions(7_002, None, None);
    assert_eq!(offline.unwrap_err().status(), Status::Offline);
    romeo.reconnect(&mut server);
    both_ways(&romeo, &juliet, &mut server);
}

fn a_broken_session_is_told_once(ns: Namespace) {
    let (mut server, romeo, juliet) = restored(ns, Healing::Manual);
    for _ in 0..3 {
        unreadable(&romeo, &juliet, &mut server);
        romeo.run(&mut server);
        assert_eq!(broken(&romeo), 1);
    }
    let notices = romeo.notices.borrow().clone();
    let notice = notices.iter().find(|notice| notice.kind == NoticeKind::SessionBroken).unwrap();
    assert_eq!((notice.namespace, notice.jid.as_ref()), (Some(ns), Some(&juliet.jid)));
    assert_eq!((notice.device, notice.status), (juliet.id(), Status::DecryptionFailed));
    // What was mended may break again.
    romeo.replace_sessions(Some(&juliet.jid), 0, &mut server);
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
    let forged = forged(&juliet.say(&romeo.jid, "x", &mut server), 1);
    romeo.refuse(&juliet.jid, &forged, Status::DecryptionFailed);
    romeo.run(&mut server);
    assert_eq!(broken(&romeo), 2);
}

fn failed_messages_are_counted_once_each(ns: Namespace) {
    let (mut server, romeo, juliet) = restored(ns, Healing::Manual);
    let message = juliet.say(&romeo.jid, "again and again", &mut server);
    for _ in 0..3 {
        romeo.refuse(&juliet.jid, &message, Status::DecryptionFailed);
    }
    assert_eq!(failed(&romeo, &juliet), 1);
    unreadable(&romeo, &juliet, &mut server);
    assert_eq!(failed(&romeo, &juliet), 2);
    let (before, commits) = (romeo.storage.all(), romeo.storage.commits());
    unreadable(&romeo, &juliet, &mut server);
    assert_eq!((failed(&romeo, &juliet), romeo.storage.commits()), (3, commits));
    assert!(romeo.storage.all() == before);
    // An empty message counts, and nothing of another status does.
    let mut empty = juliet.say(&romeo.jid, "x", &mut server);
    empty.payload = None;
    romeo.refuse(&juliet.jid, &empty, Status::DecryptionFailed);
    assert_eq!(failed(&romeo, &juliet), 4);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    assert_eq!(failed(&romeo, &juliet), 4);
}

fn forged_messages_of_a_distrusted_or_unlisted_device_tell_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = restored(ns, Healing::Automatic);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    let sent = romeo.count_asked(is_send);
    for _ in 0..3 {
        let message = juliet.say(&romeo.jid, "x", &mut server);
        romeo.read(&juliet.jid, &message);
    }
    romeo.run_later(&mut server);
    assert_eq!((broken(&romeo), romeo.count_asked(is_send)), (0, sent));
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    server.lists.insert((ns, juliet.jid.clone()), list(ns, &[]));
    romeo.push(&juliet.jid, &server);
    romeo.advance(2 * DAY);
    for _ in 0..3 {
        let message = juliet.say(&romeo.jid, "x", &mut server);
        romeo.read(&juliet.jid, &message);
    }
    romeo.run_later(&mut server);
    assert_eq!((broken(&romeo), romeo.count_asked(is_send)), (0, sent));
}

fn nothing_is_replaced_by_itself_unless_it_is_chosen(ns: Namespace) {
    let (mut server, romeo, juliet) = restored(ns, Healing::Manual);
    let sent = romeo.count_asked(is_send);
    for _ in 0..5 {
        unreadable(&romeo, &juliet, &mut server);
        romeo.run_later(&mut server);
        romeo.advance(DAY);
    }
    assert_eq!(romeo.count_asked(is_send), sent);
}

fn a_broken_session_is_replaced_by_itself_once_a_day(ns: Namespace) {
    let (mut server, romeo, juliet) = restored(ns, Healing::Automatic);
    unreadable(&romeo, &juliet, &mut server);
    unreadable(&romeo, &juliet, &mut server);
    server.settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo, &mut server);
    let sent = romeo.count_asked(is_send);
    // It breaks again on the same day: nothing but a notice; and on the next day it is replaced again.
    for (hours, more) in [(0, 0), (23, 0), (1, 1)] {
        romeo.advance(hours * HOUR);
        for _ in 0..2 {
            let forged = forged(&juliet.say(&romeo.jid, "x", &mut server), 1);
            romeo.refuse(&juliet.jid, &forged, Status::DecryptionFailed);
        }
        romeo.run_later(&mut server);
        assert_eq!(romeo.count_asked(is_send), sent + more, "{hours}");
    }
}

fn one_message_replaces_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = restored(ns, Healing::Automatic);
    let sent = romeo.count_asked(is_send);
    let message = juliet.say(&romeo.jid, "x", &mut server);
    for _ in 0..5 {
        romeo.refuse(&juliet.jid, &message, Status::DecryptionFailed);
        romeo.run_later(&mut server);
    }
    assert_eq!((romeo.count_asked(is_send), broken(&romeo)), (sent, 1));
}

fn delayed_messages_replace_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = restored(ns, Healing::Automatic);
    let sent = romeo.count_asked(is_send);
    for n in 0..300 {
        let message = juliet.say(&romeo.jid, "from the archive", &mut server);
        let read = romeo.manager().decrypt_delayed(Some(&juliet.jid), None, &message).unwrap();
        assert_eq!(read.error.status(), Status::DecryptionFailed, "{n}");
    }
    // One that comes just now is the first.
    unreadable(&romeo, &juliet, &mut server);
    romeo.run_later(&mut server);
    assert_eq!((romeo.count_asked(is_send), failed(&romeo, &juliet), broken(&romeo)), (sent, 301, 1));
    unreadable(&romeo, &juliet, &mut server);
    romeo.run_later(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent + 1);
}

fn what_was_read_meanwhile_replaces_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = friends_with(ns, |config| config.healing = Healing::Automatic);
    let sent = romeo.count_asked(is_send);
    // A forger is at work; Juliet's messages are read all the same.
    for _ in 0..10 {
        let message = juliet.say(&romeo.jid, "genuine", &mut server);
        romeo.refuse(&juliet.jid, &forged(&message, 1), Status::DecryptionFailed);
        assert_eq!(text(&romeo.read(&juliet.jid, &message)), "genuine");
    }
    romeo.run_later(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent);
    // Noted, but read before it is done.
    let message = juliet.say(&romeo.jid, "genuine", &mut server);
    for bytes in [1, 2] {
        romeo.refuse(&juliet.jid, &forged(&message, bytes), Status::DecryptionFailed);
    }
    romeo.read(&juliet.jid, &message);
    romeo.run_later(&mut server);
    assert_eq!(romeo.count_asked(is_send), sent);
}

fn the_day_of_a_replacement_is_stored(ns: Namespace) {
    let (mut server, romeo, juliet) = restored(ns, Healing::Automatic);
    unreadable(&romeo, &juliet, &mut server);
    unreadable(&romeo, &juliet, &mut server);
    romeo.run(&mut server);
    // What replaces it is lost on its way, and the program starts again.
    server.mail.clear();
    let sent = romeo.count_asked(is_send);
    romeo.restart();
    romeo.connect(&mut server);
    romeo.refresh(&juliet.jid, &mut server);
    for _ in 0..3 {
        let message = juliet.say(&romeo.jid, "x", &mut server);
        assert!(romeo.read(&juliet.jid, &message).plaintext.is_none());
        romeo.run_later(&mut server);
    }
    assert_eq!(romeo.count_asked(is_send), sent);
    // A clock that is put back by years does not forbid it for years.
    romeo.services.clock.step_wall(-20 * 365 * 86_400_000);
    for _ in 0..3 {
        let message = juliet.say(&romeo.jid, "x", &mut server);
        assert!(romeo.read(&juliet.jid, &message).plaintext.is_none());
        romeo.run_later(&mut server);
    }
    assert_eq!(romeo.count_asked(is_send), sent + 1);
}

/// Sessions of both namespaces are replaced, each with a row.
#[test]
fn sessions_of_both_namespaces_are_replaced() {
    let mut server = Server::of(Omemo2);
    let both = |order: [Namespace; 2], name: &str| Config {
        namespaces: order.to_vec(),
        ..config(order[0], name, "trusted")
    };
    let romeo = RustDevice::with(both([Omemo2, Legacy], ROMEO), &mut server);
    let juliet = RustDevice::with(both([Omemo2, Legacy], JULIET), &mut server);
    for namespace in Namespace::ALL {
        romeo.refresh(&juliet.jid, &mut server);
        romeo.manager().prefer_namespace(&juliet.jid, id(juliet.id()), Some(namespace)).unwrap();
        let mut draft = draft(namespace, &[&juliet.jid], "hello", EncryptPolicy::Wait);
        draft.namespaces = Some(vec![namespace]);
        romeo.manager().encrypt(7_000 + u64::from(namespace.code()), draft).unwrap();
        romeo.run(&mut server);
        let outcome = romeo.take(7_000 + u64::from(namespace.code()));
        assert_eq!(outcome.status(), Status::Ok);
        juliet.read(&romeo.jid, &outcome.messages[0]);
        server.settle(&[&romeo, &juliet]);
    }
    let outcome = romeo.replace_sessions(Some(&juliet.jid), 0, &mut server);
    let mut replaced: Vec<_> = outcome.rows.iter().map(|row| (row.namespace, row.error.status())).collect();
    replaced.sort();
    let mut wanted = [(Some(Omemo2), Status::Ok), (Some(Legacy), Status::Ok)];
    wanted.sort();
    assert_eq!(replaced, wanted);
}

/// A request that fails is the row of its device, and no other's.
#[test]
fn a_bundle_that_times_out_is_the_row_of_its_device() {
    let (mut server, romeo, juliet) = friends(Omemo2);
    romeo.manager().replace_sessions(7_001, None, None).unwrap();
    romeo.run_with(|request| {
        if is_bundle(request) {
            return Some(Answer::Rejected(Reason::Timeout));
        }
        Some(server.answer(&romeo, request))
    });
    let outcome = romeo.take(7_001);
    assert_eq!(
        (outcome.status(), row(&outcome, &juliet.jid, juliet.id())),
        (Status::Timeout, Some(Status::Timeout))
    );
}
