//! No message key twice (R9, R45), and what messages make necessary (R10, R12, R13, R14, R17, R18, R25, R46, R52).

use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::device_list::ListedDevice;
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace::{self};
use omemo::protocol::session::Session;

in_both_namespaces! {
    r9_concurrent_encrypts_never_share_a_message_key,
    r45_what_is_sent_is_stored_first,
    nothing_is_sent_whose_commit_failed,
    a_follow_up_that_fails_sends_the_same_bytes_again,
    a_follow_up_survives_a_crash_and_ends_when_declined,
    an_answer_is_dropped_when_something_else_was_said,
    r10_the_plaintext_is_given_whatever_becomes_of_the_follow_ups,
    r12_one_bad_bundle_is_one_row,
    r13_one_heartbeat_for_each_ratchet_key,
    r14_what_could_not_be_fetched_is_not_fetched_again_at_once,
    r17_this_device_stays_active_while_its_list_is_on_its_way,
    r18_a_message_without_keys_is_none,
    r25_the_last_message_of_a_chain_may_be_late_although_its_sender_counts_wrong,
    r11_a_send_that_fails_takes_no_other_with_it,
    r46_a_repeated_key_exchange_is_answered_once,
    r52_many_key_exchanges_are_one_publication,
}

fn r9_concurrent_encrypts_never_share_a_message_key(ns: Namespace) {
    // `note_headers` refuses any message key that is used twice.
    let (mut server, romeo, juliet) = two(ns);
    let operations: Vec<_> =
        (0..5).map(|n| romeo.begin_encrypt(&[&juliet.jid], &format!("{n}"), EncryptPolicy::Wait)).collect();
    romeo.run(&mut server);
    let messages: Vec<_> =
        operations.iter().map(|operation| romeo.take(*operation).messages.remove(0)).collect();
    for (n, message) in messages.iter().enumerate() {
        assert_eq!(text(&juliet.read(&romeo.jid, message)), n.to_string());
    }
    server.settle(&[&romeo, &juliet]);
    let greeting = juliet.say(&romeo.jid, "hi", &mut server);
    let operations: Vec<_> =
        (0..5).map(|n| romeo.begin_encrypt(&[&juliet.jid], &format!("{n}"), EncryptPolicy::Now)).collect();
    assert_eq!(text(&romeo.read(&juliet.jid, &greeting)), "hi");
    romeo.run(&mut server);
    for (n, operation) in operations.iter().enumerate() {
        let message = romeo.take(*operation).messages.remove(0);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), n.to_string());
    }
    assert_eq!(romeo.count_asked(is_bundle), 1, "the bundle is asked for once for all");
}

fn r45_what_is_sent_is_stored_first(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    // The empty answer is asked to be sent; the process dies at once, and what it stored goes on.
    let open = juliet.run_with(|request| match is_send(request) {
        true => None,
        false => Some(server.answer(&juliet, request)),
    });
    assert_eq!(open.len(), 1);
    let Request::SendMessage { message: first, .. } = &open[0].1 else { panic!("no message") };
    juliet.restart();
    juliet.begin_connect();
    let operation = juliet.begin_encrypt(&[&romeo.jid], "after the crash", EncryptPolicy::Wait);
    juliet.run_with(|request| match is_send(request) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&juliet, request)),
    });
    let message = juliet.take(operation).messages.remove(0);
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "after the crash");
    // If the answer had got out before the crash, it is no copy of anything else.
    let late = romeo.read(&juliet.jid, first);
    assert_eq!(late.error.status(), Status::Ok);
    assert!(late.plaintext.is_none());
}

fn nothing_is_sent_whose_commit_failed(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.storage.fail(1, Fault::Nothing);
    for _ in 0..3 {
        let open = juliet.step();
        let failed = juliet.storage.has_failed();
        assert!(failed || !open.iter().any(|(_, request)| is_send(request)), "sent before it was stored");
        for (request_id, request) in open {
            juliet.manager().answer(request_id, server.answer(&juliet, &request)).unwrap();
        }
    }
    juliet.run_later(&mut server);
    assert!(juliet.storage.has_failed());
    assert_eq!(juliet.sent.borrow().len(), 1);
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

fn a_follow_up_that_fails_sends_the_same_bytes_again(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    let mut failures = 3;
    for _ in 0..4 {
        juliet.run_with(|request| match is_send(request) && failures > 0 {
            true => {
                failures -= 1;
                Some(Answer::Rejected(Reason::Failed))
            }
            false => Some(server.answer(&juliet, request)),
        });
        juliet.advance(10_000);
    }
    let sent = juliet.sent.borrow();
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|(to, message)| *to == romeo.jid && *message == sent[0].1));
}

fn a_follow_up_survives_a_crash_and_ends_when_declined(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.restart();
    let operation = juliet.begin_connect();
    juliet.run_with(|request| match is_send(request) {
        true => Some(Answer::Rejected(Reason::Declined)),
        false => Some(server.answer(&juliet, request)),
    });
    assert_eq!(juliet.take(operation).status(), Status::Ok);
    assert_eq!(juliet.sent.borrow().len(), 1, "the answer was lost in the crash");
    juliet.run_later(&mut server);
    juliet.restart();
    juliet.connect(&mut server);
    juliet.run_later(&mut server);
    assert_eq!(juliet.sent.borrow().len(), 1, "a declined message is sent again");
}

fn an_answer_is_dropped_when_something_else_was_said(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.manager().disconnected().unwrap();
    juliet.step();
    let operation = juliet.begin_encrypt(&[&romeo.jid], "hello yourself", EncryptPolicy::Wait);
    assert_eq!(juliet.connect(&mut server).status(), Status::Ok);
    let reply = juliet.take(operation).messages.remove(0);
    assert_eq!(text(&romeo.read(&juliet.jid, &reply)), "hello yourself");
    juliet.run_later(&mut server);
    let retries = juliet.sent.borrow().len();
    assert!(retries <= 1, "{retries} empty messages");
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

// ---- R10, R12, R13, R18, R25, R46 ----

fn r10_the_plaintext_is_given_whatever_becomes_of_the_follow_ups(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.run_with(|request| match request {
        Request::FetchDeviceList { .. } | Request::FetchBundle { .. } => {
            Some(server.answer(&juliet, request))
        }
        _ => Some(Answer::Rejected(Reason::Failed)),
    });
    assert!(juliet.count_notices(NoticeKind::PublishFailed) >= 1);
    let more = romeo.say(&juliet.jid, "more", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &more)), "more");
    juliet.manager().disconnected().unwrap();
    let offline = romeo.say(&juliet.jid, "offline", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &offline)), "offline");
    // In the end the used pre key is gone from the server, and a full bundle is there.
    let used = KeyExchange::parse(ns, hello.keys[0].bytes.as_ref().unwrap()).unwrap().id().pre_key_id;
    juliet.connect(&mut server);
    juliet.run_later(&mut server);
    let bundle = server.bundle(&juliet);
    assert!(bundle.pre_keys.iter().all(|pre_key| pre_key.id != used));
    assert_eq!(bundle.pre_keys.len(), 100);
}

fn r12_one_bad_bundle_is_one_row(ns: Namespace) {
    let (mut server, romeo, good) = with_raw(ns, ROMEO, (JULIET, 1));
    let mut bundles = Vec::new();
    for id in 2..=7 {
        let device = RawDevice::of(ns, JULIET, id);
        device.publish(&mut server);
        bundles.push(device.bundle());
    }
    bundles[0].identity_key = [0; 32];
    bundles[1].identity_key = [0xff; 32];
    bundles[2].signature = [0; 64];
    bundles[3].pre_keys.clear();
    bundles[4].pre_keys.iter_mut().for_each(|pre_key| pre_key.key = [0; 32]);
    bundles[5].signed_pre_key = [0; 32];
    for (id, bundle) in (2..).zip(bundles) {
        server.bundles.insert((ns, good.jid.clone(), id), bundle);
    }
    server.lists.get_mut(&(ns, good.jid.clone())).unwrap().devices.push(ListedDevice::new(8));
    let outcome = romeo.encrypt(&[&good.jid], "x", EncryptPolicy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::Ok);
    assert_eq!(outcome.messages[0].keys.len(), 1);
    for id in 2..=7 {
        assert_eq!(row(&outcome, &good.jid, id), Some(Status::BundleBad), "device {id}");
    }
    assert_eq!(row(&outcome, &good.jid, 8), Some(Status::BundleNotFound));
    let outcome = romeo.encrypt(&[&good.jid], "x", EncryptPolicy::All, &mut server);
    assert!(outcome.status() != Status::Ok && outcome.messages.is_empty());
}

fn r13_one_heartbeat_for_each_ratchet_key(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let before = juliet.sent.borrow().len();
    for n in 0..120 {
        let message = romeo.say(&juliet.jid, &format!("{n}"), &mut server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), n.to_string());
        juliet.run(&mut server);
        // The heartbeat stays on its way: romeo goes on in the same chain.
        let sent = juliet.sent.borrow().len() - before;
        match n {
            0..=50 => assert_eq!(sent, 0, "message {n}"),
            60.. => assert_eq!(sent, 1, "message {n}"),
            _ => assert!(sent <= 1, "message {n}"),
        }
    }
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
}

fn r14_what_could_not_be_fetched_is_not_fetched_again_at_once(ns: Namespace) {
    let (mut server, romeo, good) = with_raw(ns, ROMEO, (JULIET, 1));
    for device in 2..=20 {
        RawDevice::of(ns, JULIET, device).publish(&mut server);
        server.bundles.remove(&(ns, good.jid.clone(), device));
    }
    for _ in 0..5 {
        assert_eq!(romeo.encrypt(&[&good.jid], "x", EncryptPolicy::Wait, &mut server).status(), Status::Ok);
    }
    assert_eq!(romeo.count_asked(is_bundle), 20);
}

fn r17_this_device_stays_active_while_its_list_is_on_its_way(ns: Namespace) {
    let (server, romeo, _) = two(ns);
    let own = &romeo.manager().devices(None).unwrap()[0];
    assert_eq!(own.active, [ns]);
    assert_eq!(server.list(&romeo.jid), [own.id]);
}

fn r18_a_message_without_keys_is_none(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let nobody = jid("nobody@capulet.lit");
    for policy in [EncryptPolicy::Wait, EncryptPolicy::Now, EncryptPolicy::All] {
        let outcome = romeo.encrypt(&[&nobody], "x", policy, &mut server);
        assert_eq!(outcome.status(), Status::NoEligibleDevices);
        assert!(outcome.messages.is_empty());
        assert!(row(&outcome, &nobody, 0).is_some());
    }
    let outcome = romeo.encrypt(&[], "note to myself", EncryptPolicy::Wait, &mut server);
    assert_eq!((outcome.status(), outcome.messages.len()), (Status::Ok, 0));
}

fn r25_the_last_message_of_a_chain_may_be_late_although_its_sender_counts_wrong(ns: Namespace) {
    let (mut server, juliet, mut romeo) = with_raw(ns, JULIET, (ROMEO, 9));
    let to = (juliet.jid.clone(), juliet.id());
    let (mut session, first) = romeo.greet(&juliet, &server, "0");
    let second = romeo.write(&mut session, (&to.0, to.1), "1");
    let late = romeo.write(&mut session, (&to.0, to.1), "2");
    assert_eq!(text(&juliet.read(&romeo.jid, &first)), "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &second)), "1");
    let reply = juliet.say(&romeo.jid, "yes?", &mut server);
    romeo.open(&mut session, &reply);
    // Field 20 of a session is pn; what comes last holds. It was 3, and libsignal would say 2.
    let mut record = session.encode().to_vec();
    record.extend([0xa0, 0x01, 2]);
    let mut session = Session::decode(&record).unwrap();
    let next = romeo.write(&mut session, (&to.0, to.1), "3");
    assert_eq!(RatchetMessage::parse(ns, next.keys[0].bytes.as_ref().unwrap()).unwrap().header().pn, 2);
    assert_eq!(text(&juliet.read(&romeo.jid, &next)), "3");
    assert_eq!(text(&juliet.read(&romeo.jid, &late)), "2");
    // Its key is gone with it.
    let again = juliet.read(&romeo.jid, &late);
    assert!(matches!(again.error.status(), Status::Duplicate | Status::DecryptionFailed));
}

fn r46_a_repeated_key_exchange_is_answered_once(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let messages: Vec<_> = (0..5).map(|n| romeo.say(&juliet.jid, &format!("{n}"), &mut server)).collect();
    assert!(messages.iter().all(|message| message.keys[0].key_exchange));
    for (n, message) in messages.iter().enumerate() {
        let read = juliet.read(&romeo.jid, message);
        assert_eq!((text(&read), read.new_session), (n.to_string(), n == 0));
    }
    juliet.run(&mut server);
    juliet.run_later(&mut server);
    assert_eq!(juliet.sent.borrow().iter().filter(|(to, _)| *to == romeo.jid).count(), 1);
}

fn r52_many_key_exchanges_are_one_publication(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let published = juliet.count_asked(is_publish);
    for n in 0..3 {
        let mut guest = RawDevice::of(ns, &format!("guest{n}@capulet.lit"), 5);
        let mut bundle = server.bundle(&juliet);
        bundle.pre_keys.retain(|pre_key| pre_key.id % 3 == n);
        let mut session = guest.initiate(&bundle);
        let greeting = guest.write(&mut session, (&juliet.jid, juliet.id()), "hello");
        assert_eq!(text(&juliet.read(&guest.jid, &greeting)), "hello");
    }
    juliet.run(&mut server);
    juliet.run_later(&mut server);
    assert_eq!(juliet.count_asked(is_publish) - published, 1);
}

fn r11_a_send_that_fails_takes_no_other_with_it(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let guests: Vec<_> = (0..3).map(|n| jid(&format!("guest{n}@capulet.lit"))).collect();
    for guest in &guests {
        let mut guest = RawDevice::of(ns, guest.as_str(), 5);
        let (_, greeting) = guest.greet(&juliet, &server, "hello");
        assert_eq!(text(&juliet.read(&guest.jid, &greeting)), "hello");
    }
    // The answer to one of them cannot be sent, and then the process ends.
    juliet.run_with(|request| match request {
        Request::SendMessage { jid, .. } if *jid == guests[1] => Some(Answer::Rejected(Reason::Failed)),
        _ => Some(server.answer(&juliet, request)),
    });
    juliet.restart();
    juliet.connect(&mut server);
    juliet.run_later(&mut server);
    let sent = juliet.sent.borrow();
    let of =
        |guest| sent.iter().filter(|(to, _)| to == guest).map(|(_, message)| message).collect::<Vec<_>>();
    assert_eq!([0, 2].map(|n| of(&guests[n]).len()), [1, 1]);
    let again = of(&guests[1]);
    assert_eq!(again.len(), 2, "it is sent again, once");
    assert_eq!(again[0], again[1]);
}
