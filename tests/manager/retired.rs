//! Time, sessions that were given up, notices and rows: rules that changed code has broken without a test noticing.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::protocol::session::Session;

in_both_namespaces! {
    a_session_that_was_given_up_never_sends,
    a_session_that_was_given_up_never_sends_although_its_key_is_accepted_again,
    skipped_keys_of_a_given_up_session_are_not_kept_beside_the_next_one,
    waiting_empty_messages_of_a_given_up_session_go,
    a_superseded_session_is_read_for_ninety_days,
    an_archived_session_leaves_the_store_when_its_time_has_passed,
    a_session_whose_time_has_passed_still_knows_what_it_decrypted,
    a_superseded_session_that_is_used_lives_on,
    an_empty_message_that_begins_a_session_is_sent_again_byte_by_byte,
    connected_succeeds_with_rows_when_one_namespace_fails,
    notice_devices_comes_once_a_change,
    an_account_record_that_contradicts_its_anchor_is_corrupt,
    no_bit_of_the_anchor_may_differ,
    a_group_of_skipped_keys_that_is_cut_is_refused,
    a_new_session_with_a_device_on_no_list_has_the_list_looked_at_once,
    pre_keys_of_a_bundle_are_chosen_at_random,
    a_hostile_ratchet_key_does_not_end_the_trying_of_sessions,
}

#[test]
fn a_conflicting_key_survives_that_a_device_leaves_the_other_namespace() {
    let mut server = Server::of(Legacy);
    let mut settings = config(Legacy, ROMEO, "trusted");
    settings.namespaces = vec![Legacy, Omemo2];
    let romeo = RustDevice::with(settings, &mut server);
    let old = RawDevice::of(Legacy, JULIET, 7);
    old.publish(&mut server);
    old.in_namespace(Omemo2).publish(&mut server);
    romeo.refresh(&old.jid, &mut server);
    let mut new = RawDevice::of(Legacy, JULIET, 7);
    show_other_key(&romeo, &mut new, &mut server);
    assert_eq!(romeo.device(&new.jid, 7).unwrap().conflicting_key, Some(new.key()));
    // It leaves omemo:2.
    romeo.manager().update_device_list(&new.jid, &list(Omemo2, &[])).unwrap();
    romeo.step();
    assert_eq!(romeo.device(&new.jid, 7).unwrap().conflicting_key, Some(new.key()));
    let operation = omemo::runtime::next_number();
    let legacy = omemo::manager::api::draft::Draft {
        namespaces: Some(vec![Legacy]),
        ..draft(Legacy, &[&new.jid], "x", EncryptPolicy::Wait)
    };
    romeo.manager().encrypt(operation, legacy).unwrap();
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert!(!serves(&outcome, 7), "it is served nothing until its key is accepted");
    assert_eq!(row(&outcome, &new.jid, 7), Some(Status::IdentityChanged));
}

#[test]
fn a_conflicting_key_survives_that_the_account_leaves_the_other_namespace() {
    for (stays, leaves) in [(Legacy, Omemo2), (Omemo2, Legacy)] {
        let mut server = Server::of(stays);
        let mut settings = config(stays, ROMEO, "trusted");
        settings.namespaces = vec![stays, leaves];
        let romeo = RustDevice::with(settings, &mut server);
        let old = RawDevice::of(stays, JULIET, 7);
        old.publish(&mut server);
        old.in_namespace(leaves).publish(&mut server);
        romeo.refresh(&old.jid, &mut server);
        let mut new = RawDevice::of(stays, JULIET, 7);
        show_other_key(&romeo, &mut new, &mut server);
        romeo.manager.replace(None);
        let romeo = RustDevice::closed(config(stays, ROMEO, "trusted"), romeo.storage.clone());
        romeo.open().unwrap();
        assert_eq!(romeo.device(&new.jid, 7).unwrap().conflicting_key, Some(new.key()), "{stays:?}");
    }
}

/// A known device shows another key, and the user accepts it: the client, the old and the new device.
fn accepted(ns: Namespace) -> (Server, RustDevice, RawDevice, Session, RawDevice) {
    let (mut server, romeo, mut old) = with_raw(ns, ROMEO, (JULIET, 7));
    let message = romeo.say(&old.jid, "hello", &mut server);
    let (mut session, content) = old.take_up(&message).unwrap();
    assert_eq!(content, "hello");
    // From now on what is sent on it is no key exchange.
    let answer = old.write(&mut session, (&romeo.jid, romeo.id()), "welcome");
    assert_eq!(text(&romeo.read(&old.jid, &answer)), "welcome");
    let mut new = RawDevice::of(ns, JULIET, 7);
    show_other_key(&romeo, &mut new, &mut server);
    (server, romeo, old, session, new)
}

fn a_session_that_was_given_up_never_sends(ns: Namespace) {
    let (mut server, romeo, old, _session, mut new) = accepted(ns);
    romeo.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    for _ in 0..2 {
        let message = romeo.say(&new.jid, "to the new one", &mut server);
        assert!(old.bytes(&message).key_exchange, "it goes out on the session of the old key");
        assert_eq!(new.accept(&message).unwrap(), "to the new one");
        romeo.restart();
        romeo.connect(&mut server);
    }
}

fn a_session_that_was_given_up_never_sends_although_its_key_is_accepted_again(ns: Namespace) {
    let (mut server, romeo, mut old, _session, new) = accepted(ns);
    romeo.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    // The bundle is looked at again after an hour.
    romeo.run_hours(2, &mut server);
    show_other_key(&romeo, &mut old, &mut server);
    romeo.manager().accept_identity(&old.jid, id(7), &old.key()).unwrap();
    let message = romeo.say(&old.jid, "to the old one", &mut server);
    assert!(old.bytes(&message).key_exchange, "it goes out on the session that was given up");
    assert_eq!(old.accept(&message).unwrap(), "to the old one");
}

fn skipped_keys_of_a_given_up_session_are_not_kept_beside_the_next_one(ns: Namespace) {
    let (_server, romeo, mut old, mut session, new) = accepted(ns);
    let skipped = || romeo.storage.all().keys().filter(|key| key.starts_with("v1/skipped/")).count();
    old.write(&mut session, (&romeo.jid, romeo.id()), "lost");
    let next = old.write(&mut session, (&romeo.jid, romeo.id()), "next");
    assert_eq!(text(&romeo.read(&old.jid, &next)), "next");
    assert_eq!(skipped(), 1);
    romeo.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    assert_eq!(skipped(), 0);
}

fn waiting_empty_messages_of_a_given_up_session_go(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let mut old = RawDevice::of(ns, JULIET, 7);
    old.publish(&mut server);
    romeo.refresh(&old.jid, &mut server);
    // The answer to her key exchange is encrypted and cannot be sent.
    let (_, hello) = old.greet(&romeo, &server, "hello");
    assert_eq!(text(&romeo.read(&old.jid, &hello)), "hello");
    romeo.run_with(|request| match is_send(request) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&romeo, request)),
    });
    let mut new = RawDevice::of(ns, JULIET, 7);
    show_other_key(&romeo, &mut new, &mut server);
    let waiting = || romeo.storage.all().keys().filter(|key| key.starts_with("v1/todo/")).count();
    let sent = romeo.sent.borrow().len();
    assert_eq!((waiting(), sent), (1, 1));
    romeo.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    assert_eq!(waiting(), 0, "its bytes stay in the store");
    romeo.run_later(&mut server);
    assert_eq!(romeo.sent.borrow().len(), sent, "an empty message on a session that was given up");
}

/// Romeo's session with Juliet is replaced by one that she begins; a message of the old one is kept back.
fn replaced(ns: Namespace) -> (Server, RustDevice, RustDevice, Vec<omemo::protocol::message::Message>) {
    let (mut server, romeo, juliet) = friends(ns);
    let late = (0..4).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    replace_session(&juliet, &romeo, &mut server);
    (server, romeo, juliet, late)
}

fn a_superseded_session_is_read_for_ninety_days(ns: Namespace) {
    for (days, expected) in [(89, Status::Ok), (91, Status::NoSession)] {
        let (mut server, romeo, juliet, late) = replaced(ns);
        romeo.run_days(days, &mut server);
        let status = romeo.read(&juliet.jid, &late[0]).error.status();
        match expected {
            Status::Ok => assert_eq!(status, Status::Ok, "after {days} days"),
            _ => assert!(
                matches!(status, Status::NoSession | Status::DecryptionFailed),
                "after {days} days: {status:?}"
            ),
        }
    }
}

/// Its keys decrypt nothing any more; nothing has to happen with the device for them to go.
fn an_archived_session_leaves_the_store_when_its_time_has_passed(ns: Namespace) {
    let (mut server, romeo, juliet, _) = replaced(ns);
    let tybalt = RustDevice::new(TYBALT, &mut server);
    let hello = romeo.say(&tybalt.jid, "hello", &mut server);
    tybalt.read(&romeo.jid, &hello);
    server.settle(&[&romeo, &juliet, &tybalt]);
    romeo.replace_sessions(Some(&tybalt.jid), 0, &mut server);
    // v1/archive/JID/device/namespace/slot
    let is_session = |key: &&String| key.starts_with("v1/archive/") && key.split('/').count() == 6;
    let archived = || romeo.storage.all().keys().filter(is_session).count();
    let before = archived();
    assert!(before >= 2, "{before}");
    romeo.run_days(29, &mut server);
    assert_eq!(archived(), before);
    // The one with Tybalt was retired, that with Juliet superseded.
    romeo.run_days(3, &mut server);
    assert_eq!(archived(), before - 1);
    romeo.run_days(57, &mut server);
    assert_eq!(archived(), before - 1);
    romeo.run_days(3, &mut server);
    assert_eq!(archived(), 0);
    let hello = romeo.say(&tybalt.jid, "hello again", &mut server);
    assert_eq!(text(&tybalt.read(&romeo.jid, &hello)), "hello again");
}

fn a_superseded_session_that_is_used_lives_on(ns: Namespace) {
    let (mut server, romeo, juliet, late) = replaced(ns);
    for message in &late {
        romeo.run_days(60, &mut server);
        assert_eq!(romeo.read(&juliet.jid, message).error.status(), Status::Ok);
    }
}

fn an_empty_message_that_begins_a_session_is_sent_again_byte_by_byte(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    lose_sessions(&romeo, &mut server);
    romeo.refresh(&juliet.jid, &mut server);
    let message = juliet.say(&romeo.jid, "x", &mut server);
    romeo.refuse(&juliet.jid, &message, Status::NoSession);
    let before = romeo.sent.borrow().len();
    let mut failures = 3;
    for _ in 0..6 {
        romeo.run_with(|request| match is_send(request) && failures > 0 {
            true => {
                failures -= 1;
                Some(Answer::Rejected(Reason::Failed))
            }
            false => Some(server.answer(&romeo, request)),
        });
        romeo.advance(61_000);
    }
    let sent = romeo.sent.borrow();
    let sent = &sent[before..];
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|(_, again)| *again == sent[0].1 && again.keys[0].key_exchange));
}

fn connected_succeeds_with_rows_when_one_namespace_fails(ns: Namespace) {
    for failing in [Legacy, Omemo2] {
        let mut server = Server::of(ns);
        let mut settings = config(ns, ROMEO, "trusted");
        settings.namespaces = if ns == Legacy { vec![Legacy, Omemo2] } else { vec![Omemo2, Legacy] };
        let romeo = RustDevice::closed(settings, std::sync::Arc::default());
        romeo.open().unwrap();
        let operation = romeo.begin_connect();
        romeo.run_with(|request| match request {
            omemo::manager::api::request::Request::PublishBundle { bundle, .. }
                if bundle.namespace == failing =>
            {
                Some(Answer::Rejected(Reason::Failed))
            }
            other => Some(server.answer(&romeo, other)),
        });
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), Status::Ok, "{failing:?}: {:?}", outcome.rows);
        let row = outcome.rows.iter().find(|row| row.namespace == Some(failing)).expect("a row");
        assert_eq!(row.error.status(), Status::BundleUploadFailed);
    }
}

fn notice_devices_comes_once_a_change(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let tybalt = jid(TYBALT);
    let news = || {
        let notices = std::mem::take(&mut *romeo.notices.borrow_mut());
        let of_tybalt = notices.into_iter().filter(|notice| notice.jid.as_ref() == Some(&jid(TYBALT)));
        of_tybalt.map(|notice| (notice.kind, notice.status)).collect::<Vec<_>>()
    };
    push(&romeo, &tybalt, &[5]);
    romeo.step();
    assert!(news().iter().all(|one| *one == (NoticeKind::Devices, Status::Ok)), "a device appeared");
    // Nothing changes.
    for _ in 0..3 {
        push(&romeo, &tybalt, &[5]);
        romeo.step();
    }
    assert_eq!(news(), []);
    // It gets its key; then another appears; then one vanishes.
    RawDevice::of(ns, TYBALT, 5).publish(&mut server);
    romeo.refresh(&tybalt, &mut server);
    assert!(news().contains(&(NoticeKind::Devices, Status::Ok)), "a device got its key");
    romeo.refresh(&tybalt, &mut server);
    assert_eq!(news(), []);
    push(&romeo, &tybalt, &[5, 6]);
    romeo.step();
    assert!(news().contains(&(NoticeKind::Devices, Status::Ok)), "another appeared");
    push(&romeo, &tybalt, &[6]);
    romeo.step();
    assert!(news().contains(&(NoticeKind::Devices, Status::Ok)), "one vanished");
}

fn an_account_record_that_contradicts_its_anchor_is_corrupt(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let early = romeo.storage.all();
    // Pre keys are handed out, signed ones rotated: the highest ids grow.
    for n in 0..20 {
        let mut other = RawDevice::of(ns, &format!("s{n}@x.example"), 5);
        let (_, message) = take_pre_key(&mut other, &romeo, &server, 0);
        romeo.read(&other.jid, &message);
        romeo.advance(2 * DAY);
        romeo.run(&mut server);
        server.mail.clear();
    }
    let late = romeo.storage.all();
    for (mine, theirs) in [(&early, &late), (&late, &early)] {
        let mut mixed = mine.clone();
        mixed.insert("v1/anchor".to_owned(), theirs["v1/anchor"].clone());
        let storage = std::sync::Arc::new(FaultyStorage::default());
        storage.damage();
        storage.put_back(mixed);
        let again = RustDevice::closed(config(ns, ROMEO, "trusted"), storage);
        assert_eq!(again.open().unwrap_err().status(), Status::StorageCorrupt);
    }
    drop(juliet);
}

fn no_bit_of_the_anchor_may_differ(ns: Namespace) {
    let (_, romeo, _) = friends(ns);
    let records = romeo.storage.all();
    for bit in 0..8 * records["v1/anchor"].len() {
        let mut changed = records.clone();
        changed.get_mut("v1/anchor").unwrap()[bit / 8] ^= 1 << (bit % 8);
        let storage = std::sync::Arc::new(FaultyStorage::default());
        storage.damage();
        storage.put_back(changed);
        let status = RustDevice::closed(config(ns, ROMEO, "trusted"), storage).open().unwrap_err().status();
        assert!(matches!(status, Status::StorageCorrupt | Status::StorageVersion), "bit {bit}: {status:?}");
    }
}

fn a_group_of_skipped_keys_that_is_cut_is_refused(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let messages: Vec<_> = (0..50).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    romeo.read(&juliet.jid, &messages[49]);
    let kinds: std::collections::BTreeSet<_> =
        romeo.storage.all().into_keys().filter_map(|key| key.split('/').nth(1).map(str::to_owned)).collect();
    let skipped = kinds.iter().find(|kind| kind.contains("skip")).expect("skipped keys have records");
    assert!(romeo.restart_after(|storage| storage.truncate(skipped, JULIET)) > 0);
    romeo.connect(&mut server);
    let refused = romeo.manager().decrypt(Some(&juliet.jid), None, &messages[3]);
    let status = refused.map_or_else(|error| error.status(), |read| read.error.status());
    assert_eq!(status, Status::StorageCorrupt);
}

fn a_new_session_with_a_device_on_no_list_has_the_list_looked_at_once(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    let (mut session, hello) = tybalt.greet(&romeo, &server, "x");
    romeo.read(&tybalt.jid, &hello);
    romeo.run(&mut server);
    assert_eq!(romeo.count_asked(is_list_of(&tybalt.jid)), 1);
    for _ in 0..5 {
        let more = tybalt.write(&mut session, (&romeo.jid, romeo.id()), "x");
        romeo.read(&tybalt.jid, &more);
        romeo.run(&mut server);
    }
    assert_eq!(romeo.count_asked(is_list_of(&tybalt.jid)), 1);
}

fn pre_keys_of_a_bundle_are_chosen_at_random(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let bundle = server.bundle(&juliet);
    let mut chosen = std::collections::BTreeSet::new();
    for n in 0..30 {
        let romeo = RustDevice::new(&format!("romeo{n}@montague.lit"), &mut server);
        let message = romeo.say(&juliet.jid, "x", &mut server);
        let key = message.keys.iter().find(|key| key.device == juliet.id()).unwrap();
        let exchange =
            omemo::protocol::messages::key_exchange::KeyExchange::parse(ns, key.bytes.as_ref().unwrap())
                .unwrap();
        chosen.insert(exchange.id().pre_key_id);
    }
    assert!(chosen.len() >= 15, "of {} pre keys 30 took {}", bundle.pre_keys.len(), chosen.len());
}

fn a_hostile_ratchet_key_does_not_end_the_trying_of_sessions(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let good = juliet.say(&romeo.jid, "text", &mut server);
    let at = good.keys.iter().position(|key| key.device == romeo.id()).unwrap();
    let bytes = good.keys[at].bytes.clone().unwrap();
    let ratchet = RatchetMessage::parse(ns, &bytes).unwrap();
    let key = *ratchet.header().ratchet_key.as_bytes();
    let place =
        bytes.windows(32).position(|window| window == key).expect("the ratchet key is in the message");
    let mut small_order = vec![[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }];
    // The two points of order 8, and p - 1, p, p + 1 (RFC 7748, 7).
    for hex in [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let byte = |at: usize| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap();
        small_order.push(std::array::from_fn(byte));
    }
    for point in small_order {
        let mut forged = good.clone();
        let bytes = forged.keys[at].bytes.as_mut().unwrap();
        bytes[place..place + 32].copy_from_slice(&point);
        let status = romeo.read(&juliet.jid, &forged).error.status();
        assert!(matches!(status, Status::DecryptionFailed | Status::NoSession), "{point:?}: {status:?}");
    }
    assert_eq!(text(&romeo.read(&juliet.jid, &good)), "text");
}

#[test]
fn what_one_namespace_shows_does_not_hide_what_the_other_one_shows() {
    for legacy_first in [true, false] {
        let mut server = Server::of(Legacy);
        let mut settings = config(Legacy, ROMEO, "trusted");
        settings.namespaces = vec![Legacy, Omemo2];
        let romeo = RustDevice::with(settings, &mut server);
        let old = RawDevice::of(Legacy, JULIET, 7);
        for namespace in [Legacy, Omemo2] {
            old.in_namespace(namespace).publish(&mut server);
        }
        // Only her legacy bundle was looked at.
        let fetch = |namespace: Namespace, server: &mut Server| {
            let operation = omemo::runtime::next_number();
            romeo.manager().refresh_devices(operation, Some(old.jid.clone()), Some(namespace)).unwrap();
            romeo.run(server);
        };
        let say = |server: &mut Server| {
            let operation = omemo::runtime::next_number();
            let text = |namespace| (namespace, zeroize::Zeroizing::new(b"text".to_vec()));
            let both = omemo::manager::api::draft::Draft {
                recipients: vec![old.jid.clone()],
                plaintexts: [Legacy, Omemo2].map(text).into(),
                ..omemo::manager::api::draft::Draft::default()
            };
            romeo.manager().encrypt(operation, both).unwrap();
            romeo.run(server);
            romeo.take(operation)
        };
        assert!(serves(&say(&mut server), 7));
        // She sets her device up anew: a message shows it, then both bundles do.
        let mut new = RawDevice::of(Legacy, JULIET, 7);
        for namespace in [Legacy, Omemo2] {
            new.in_namespace(namespace).publish(&mut server);
        }
        let (_, hello) = new.greet(&romeo, &server, "from the new one");
        if !legacy_first {
            fetch(Omemo2, &mut server);
        }
        romeo.refuse(&new.jid, &hello, Status::PublicDataInconsistency);
        romeo.run(&mut server);
        fetch(Omemo2, &mut server);
        for _ in 0..2 {
            assert!(!serves(&say(&mut server), 7), "{legacy_first}: it is written to the old key");
            romeo.restart();
            romeo.connect(&mut server);
        }
        romeo.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
        assert!(serves(&say(&mut server), 7));
    }
}

fn a_session_whose_time_has_passed_still_knows_what_it_decrypted(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let archive: Vec<_> = (0..3).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    archive.iter().for_each(|message| assert!(romeo.read(&juliet.jid, message).plaintext.is_some()));
    lose_sessions(&juliet, &mut server);
    juliet.refresh(&romeo.jid, &mut server);
    let hello = juliet.say(&romeo.jid, "anew", &mut server);
    assert!(romeo.read(&juliet.jid, &hello).plaintext.is_some());
    romeo.run(&mut server);
    romeo.advance(91 * DAY);
    for message in &archive {
        romeo.refuse(&juliet.jid, message, Status::Duplicate);
    }
}
