//! A store that is an older copy, restored or cloned: it is found out before it encrypts anything with keys that the other
//! copy has used; and the window that remains.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason};
use omemo::manager::config::StartMark;
use omemo::protocol::namespace::Namespace;
use std::sync::Arc;

in_both_namespaces! {
    f20_each_copy_is_found_out_before_it_encrypts_if_the_original_has_published_since,
    with_the_option_each_copy_is_found_out_if_the_original_was_started_since,
    the_window_that_remains_is_a_copy_of_a_store_whose_bundle_has_not_changed_since,
    nothing_is_encrypted_before_the_comparison_with_the_server,
    a_server_that_does_not_answer_keeps_nobody_from_writing,
    unknown_pre_keys_alone_end_the_sessions_once_a_day,
    an_older_bundle_of_this_device_is_no_evidence,
    ids_from_far_away_use_up_no_ids,
    two_copies_in_use_never_use_a_key_twice,
    an_empty_message_of_an_older_copy_is_not_sent,
    a_connected_that_is_cancelled_while_it_publishes_has_compared,
    a_list_that_cannot_be_had_does_not_hide_an_older_copy,
}

/// A copy of a client's store, opened as another process.
fn open_copy(original: &RustDevice, storage: Arc<FaultyStorage>) -> RustDevice {
    let copy = RustDevice::closed(original.config.clone(), storage);
    // What any of them ever encrypted counts for all.
    copy.headers.replace(original.headers.borrow().clone());
    copy.services.clock.step_wall(original.services.clock.wall_ms() - copy.services.clock.wall_ms());
    copy.open().unwrap();
    copy
}

fn rolled_back(client: &RustDevice) -> usize {
    client.count_notices(NoticeKind::RolledBack)
}

/// Another account begins a session with a client, which uses a pre key up and has a new bundle published.
fn publish_by_use(client: &RustDevice, number: u32, server: &mut Server) {
    let mut tybalt = RawDevice::of(client.config.namespaces[0], TYBALT, number);
    let (_, hello) = tybalt.greet(client, server, "hello");
    client.read(&tybalt.jid, &hello);
    client.advance(61_000 * 80);
    client.run(server);
}

/// Has a copy connect and write, with the message begun before the comparison is over; gives the message.
fn write_at_once(
    copy: &RustDevice,
    to: &RustDevice,
    server: &mut Server,
) -> omemo::protocol::message::Message {
    let early = copy.begin_encrypt(&[&to.jid], "early", EncryptPolicy::Wait);
    copy.run(server);
    assert!(!copy.is_done(early), "offline");
    let connecting = copy.begin_connect();
    let held = copy.run_holding(server, is_bundle_of(&copy.jid));
    assert!(!copy.is_done(early) && copy.sent.borrow().is_empty(), "nothing was compared yet");
    for (request_id, request) in held {
        copy.manager().answer(request_id, server.answer(copy, &request)).unwrap();
    }
    copy.run(server);
    assert_eq!(copy.take(connecting).status(), Status::Ok);
    let outcome = copy.take(early);
    assert_eq!(outcome.status(), Status::Ok);
    outcome.messages[0].clone()
}

/// A copy that has written in a world of its own.
struct Found {
    server: Server,
    juliet: RustDevice,
    copy: RustDevice,
    message: omemo::protocol::message::Message,
}

/// Opens a copy of a client's store beside a copy of Juliet's, and has it write to her at once.
fn find_out(server: &Server, juliet: &RustDevice, copied: (&RustDevice, Arc<FaultyStorage>)) -> Found {
    let mut server = Server { nodes: server.nodes.clone(), ..Server::of(server.namespace) };
    let juliet = open_copy(juliet, juliet.storage.copy());
    juliet.connect(&mut server);
    let copy = open_copy(copied.0, copied.1);
    let message = write_at_once(&copy, &juliet, &mut server);
    Found { server, juliet, copy, message }
}

/// Copies of a store at 25 points of a conversation.
fn copies(romeo: &RustDevice, juliet: &RustDevice, server: &mut Server) -> Vec<Arc<FaultyStorage>> {
    let mut copies = Vec::new();
    for turn in 0..25 {
        copies.push(romeo.storage.copy());
        match turn % 5 {
            0 => drop(romeo.say(&juliet.jid, "lost", server)),
            1 => {
                let message = juliet.say(&romeo.jid, "text", server);
                romeo.read(&juliet.jid, &message);
            }
            2 => both_ways(romeo, juliet, server),
            3 => drop(romeo.replace_sessions(Some(&juliet.jid), 0, server)),
            _ => romeo.advance(HOUR),
        }
    }
    copies
}

fn f20_each_copy_is_found_out_before_it_encrypts_if_the_original_has_published_since(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let copies = copies(&romeo, &juliet, &mut server);
    publish_by_use(&romeo, 1, &mut server);
    both_ways(&romeo, &juliet, &mut server);
    romeo.manager().disconnected().unwrap();
    for (number, storage) in copies.into_iter().enumerate() {
        let Found { mut server, juliet, copy, message } = find_out(&server, &juliet, (&romeo, storage));
        assert_eq!(rolled_back(&copy), 1, "copy {number}");
        // One session is begun, and the conversation goes on; what is published is new.
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "early");
        server.settle(&[&copy, &juliet]);
        both_ways(&copy, &juliet, &mut server);
        let before = server.bundle(&copy);
        copy.restart();
        copy.connect(&mut server);
        assert_eq!((rolled_back(&copy), server.bundle(&copy)), (1, before), "it is not found out again");
    }
}

fn with_the_option_each_copy_is_found_out_if_the_original_was_started_since(ns: Namespace) {
    let mut server = Server::of(ns);
    let marked = Config { start_mark: StartMark::NewPreKey, ..config(ns, ROMEO, "trusted") };
    let romeo = RustDevice::with(marked, &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    juliet.read(&romeo.jid, &hello);
    server.settle(&[&romeo, &juliet]);
    let copies = copies(&romeo, &juliet, &mut server);
    let before = server.bundle(&romeo);
    romeo.advance(HOUR * 24);
    romeo.restart();
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    let after = server.bundle(&romeo);
    assert_eq!(after.pre_keys.len(), before.pre_keys.len());
    assert_eq!(after.pre_keys.iter().filter(|key| !before.pre_keys.contains(key)).count(), 1);
    both_ways(&romeo, &juliet, &mut server);
    for (number, storage) in copies.into_iter().enumerate() {
        let Found { juliet, copy, message, .. } = find_out(&server, &juliet, (&romeo, storage));
        assert_eq!(rolled_back(&copy), 1, "copy {number}");
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "early");
    }
    // The original itself is none, however often it starts.
    for _ in 0..3 {
        romeo.advance(HOUR * 24);
        romeo.restart();
        romeo.connect(&mut server);
        both_ways(&romeo, &juliet, &mut server);
    }
    assert_eq!(rolled_back(&romeo), 0);
}

fn the_window_that_remains_is_a_copy_of_a_store_whose_bundle_has_not_changed_since(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let storage = romeo.storage.copy();
    let first = romeo.say(&juliet.jid, "from the original", &mut server);
    romeo.manager().disconnected().unwrap();
    let copy = open_copy(&romeo, storage);
    copy.headers.borrow_mut().clear();
    copy.connect(&mut server);
    let second = copy.say(&juliet.jid, "from the copy", &mut server);
    assert_eq!(rolled_back(&copy), 0);
    // A key was used for both: this is what a copy can do, and why there must be none.
    let header = |client: &RustDevice| {
        let mut headers: Vec<_> = client.headers.borrow().keys().copied().collect();
        headers.sort_unstable_by_key(|(_, _, key, n)| (*key, *n));
        headers
    };
    let originals = header(&romeo);
    assert!(header(&copy).iter().all(|header| originals.contains(header)));
    juliet.read(&romeo.jid, &first);
    assert_ne!(juliet.manager().decrypt(Some(&romeo.jid), None, &second).unwrap().error.status(), Status::Ok);
}

fn nothing_is_encrypted_before_the_comparison_with_the_server(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.restart();
    let now = |client: &RustDevice, server: &mut Server| {
        client.encrypt(&[&juliet.jid], "text", EncryptPolicy::Now, server)
    };
    let outcome = now(&romeo, &mut server);
    assert_eq!((outcome.status(), outcome.messages.len()), (Status::Offline, 0));
    romeo.connect(&mut server);
    assert_eq!(now(&romeo, &mut server).status(), Status::Ok);
    // Once in the life of a manager: what it has written since is its own.
    romeo.manager().disconnected().unwrap();
    assert_eq!(now(&romeo, &mut server).status(), Status::Ok);
    let connecting = romeo.begin_connect();
    romeo.run_holding(&mut server, |_| true);
    assert!(!romeo.is_done(connecting));
    assert_eq!(now(&romeo, &mut server).status(), Status::Ok);
    // A stream that breaks in the middle of the comparison has compared nothing.
    romeo.restart();
    romeo.begin_connect();
    romeo.run_holding(&mut server, is_bundle_of(&romeo.jid));
    romeo.manager().disconnected().unwrap();
    romeo.run(&mut server);
    assert_eq!(now(&romeo, &mut server).status(), Status::Offline);
}

fn a_server_that_does_not_answer_keeps_nobody_from_writing(ns: Namespace) {
    for reason in [Reason::Failed, Reason::Timeout, Reason::NotFound] {
        let (mut server, romeo, juliet) = friends(ns);
        romeo.restart();
        let text = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait);
        romeo.begin_connect();
        let (own, mut tries) = (romeo.jid.clone(), 0);
        for _ in 0..4 {
            romeo.run_with(|request| {
                tries += usize::from(is_bundle_of(&own)(request));
                let own = is_bundle_of(&own)(request) || is_list_of(&own)(request);
                let rejected = || Answer::Rejected(reason);
                Some(if own { rejected() } else { server.answer(&romeo, request) })
            });
            // What is not there was looked at; otherwise it is tried three times.
            assert_eq!(romeo.is_done(text), tries >= 3 || reason == Reason::NotFound, "{reason:?}, {tries}");
            romeo.advance(8_000);
        }
        assert_eq!(romeo.take(text).status(), Status::Ok, "{reason:?}");
        assert_eq!(rolled_back(&romeo), 0);
    }
}

/// The bundle with a pre key that this device never made.
fn with_unknown_pre_key(server: &mut Server, client: &RustDevice, id: u32) {
    let at = (server.namespace, client.jid.clone(), client.id());
    let bundle = server.bundles.get_mut(&at).unwrap();
    bundle.pre_keys[0].id = id;
    bundle.pre_keys[0].key = [9; 32];
}

fn unknown_pre_keys_alone_end_the_sessions_once_a_day(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let mut id = 200;
    let mut login = |hours: u64, server: &mut Server| {
        romeo.advance(hours * HOUR);
        id += 200;
        with_unknown_pre_key(server, &romeo, id);
        let before = rolled_back(&romeo);
        romeo.reconnect(server);
        romeo.run_later(server);
        // Whatever it is, it does not stay there.
        assert!(server.bundle(&romeo).pre_keys.iter().all(|key| key.key != [9; 32]));
        rolled_back(&romeo) - before
    };
    assert_eq!(login(1, &mut server), 1);
    both_ways(&romeo, &juliet, &mut server);
    let session = romeo.device(&juliet.jid, juliet.id()).unwrap().sessions[0];
    assert_eq!((login(1, &mut server), login(20, &mut server)), (0, 0));
    assert_eq!(romeo.device(&juliet.jid, juliet.id()).unwrap().sessions[0], session);
    assert_eq!(login(4, &mut server), 1);
    both_ways(&romeo, &juliet, &mut server);
}

fn an_older_bundle_of_this_device_is_no_evidence(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let mut old = vec![server.bundle(&romeo)];
    for number in 1..4 {
        publish_by_use(&romeo, number, &mut server);
        romeo.run_hours(24 * 8, &mut server);
        old.push(server.bundle(&romeo));
    }
    let newest = old.pop().unwrap();
    for bundle in old {
        server.bundles.insert((ns, romeo.jid.clone(), romeo.id()), bundle);
        romeo.restart();
        romeo.connect(&mut server);
        romeo.run_later(&mut server);
        assert_eq!((rolled_back(&romeo), server.bundle(&romeo)), (0, newest.clone()));
        romeo.advance(HOUR * 5);
    }
    // A bundle that nobody signed is nobody's.
    let mut forged = newest.clone();
    (forged.signed_pre_key_id, forged.signature) = (77, [3; 64]);
    server.bundles.insert((ns, romeo.jid.clone(), romeo.id()), forged);
    romeo.reconnect(&mut server);
    romeo.run_later(&mut server);
    assert_eq!((rolled_back(&romeo), server.bundle(&romeo)), (0, newest));
    both_ways(&romeo, &juliet, &mut server);
}

fn ids_from_far_away_use_up_no_ids(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    with_unknown_pre_key(&mut server, &romeo, 0x7fff_ffff);
    server.bundles.get_mut(&(ns, romeo.jid.clone(), romeo.id())).unwrap().signed_pre_key_id = 0x7fff_ffff;
    romeo.reconnect(&mut server);
    romeo.run_later(&mut server);
    assert_eq!(rolled_back(&romeo), 1);
    let bundle = server.bundle(&romeo);
    bundle.verify().unwrap();
    assert!(bundle.pre_keys.iter().all(|key| key.id < 1_000) && bundle.signed_pre_key_id < 10);
    both_ways(&romeo, &juliet, &mut server);
}

fn two_copies_in_use_never_use_a_key_twice(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let clone = open_copy(&romeo, romeo.storage.copy());
    publish_by_use(&romeo, 1, &mut server);
    for turn in 0..6 {
        let (one, other) = if turn % 2 == 0 { (&clone, &romeo) } else { (&romeo, &clone) };
        one.headers.borrow_mut().extend(other.headers.borrow().clone());
        one.advance(2 * HOUR);
        one.restart();
        one.connect(&mut server);
        one.run_later(&mut server);
        let message = one.say(&juliet.jid, "text", &mut server);
        assert_eq!(text(&juliet.read(&one.jid, &message)), "text", "turn {turn}");
        server.settle(&[one, &juliet]);
    }
    assert!(rolled_back(&clone) >= 1 && rolled_back(&romeo) >= 1);
}

fn an_empty_message_of_an_older_copy_is_not_sent(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // A new session asks for an answer; the process ends before it is sent.
    juliet.replace_sessions(Some(&romeo.jid), 0, &mut server);
    let (from, _, message) = server.mail.pop().unwrap();
    romeo.manager().decrypt(Some(&from), None, &message).unwrap();
    let storage = romeo.storage.copy();
    romeo.run(&mut server);
    publish_by_use(&romeo, 1, &mut server);
    let copy = open_copy(&romeo, storage);
    let connecting = copy.begin_connect();
    let held = copy.run_holding(&mut server, is_bundle_of(&copy.jid));
    assert!(copy.sent.borrow().is_empty());
    for (request_id, request) in held {
        copy.manager().answer(request_id, server.answer(&copy, &request)).unwrap();
    }
    copy.run_later(&mut server);
    copy.take(connecting);
    assert_eq!((rolled_back(&copy), copy.sent.borrow().len()), (1, 0));
}

fn a_connected_that_is_cancelled_while_it_publishes_has_compared(ns: Namespace) {
    for marks in [StartMark::None, StartMark::NewPreKey] {
        let (mut server, mut romeo, juliet) = friends(ns);
        romeo.config.start_mark = marks;
        romeo.restart();
        let mut old = server.bundle(&romeo);
        old.pre_keys.pop();
        server.bundles.insert((ns, romeo.jid.clone(), romeo.id()), old);
        let text = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait);
        let connecting = romeo.begin_connect();
        let held = romeo.run_holding(&mut server, is_bundle_publication);
        assert_eq!(held.len(), 1);
        // Without a mark nobody waits for the publication.
        assert_eq!(romeo.is_done(text), marks == StartMark::None);
        romeo.manager().cancel(connecting).unwrap();
        romeo.run_holding(&mut server, is_bundle_publication);
        for (request_id, request) in held {
            let _ = romeo.manager().answer(request_id, server.answer(&romeo, &request));
        }
        romeo.run_later(&mut server);
        assert_eq!(romeo.take(text).status(), Status::Ok, "{marks:?}");
    }
}

fn a_list_that_cannot_be_had_does_not_hide_an_older_copy(ns: Namespace) {
    for answer in [Answer::Unreadable(Status::Malformed.into()), Answer::Rejected(Reason::Failed)] {
        let (mut server, romeo, juliet) = friends(ns);
        let storage = romeo.storage.copy();
        publish_by_use(&romeo, 1, &mut server);
        both_ways(&romeo, &juliet, &mut server);
        let copy = open_copy(&romeo, storage);
        let early = copy.begin_encrypt(&[&juliet.jid], "early", EncryptPolicy::Wait);
        copy.begin_connect();
        let own = copy.jid.clone();
        copy.run_with(|request| {
            let own_list = is_list_of(&own)(request).then(|| answer.clone());
            own_list.or_else(|| Some(server.answer(&copy, request)))
        });
        assert_eq!((rolled_back(&copy), copy.take(early).status()), (1, Status::Ok));
    }
}
