//! What goes on after a failure elsewhere: a server that lost its items, a store that fails for a while, keys that are
//! distrusted or given up, and what many devices cost.

use super::setup::assert_set_up;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::limits;
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::messages::key_exchange::KeyExchange;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use std::sync::atomic::Ordering::SeqCst;

in_both_namespaces! {
    a_device_that_shows_its_key_again_is_served_again,
    a_heartbeat_comes_although_something_was_said_in_the_chain,
    a_server_that_lost_everything_is_repaired,
    a_distrusted_key_that_nobody_vouches_for_keeps_nobody_from_the_real_one,
    a_session_of_a_key_that_was_given_up_takes_no_place,
    a_follow_up_goes_on_when_the_store_can_be_read_again,
    a_forged_message_costs_no_more_for_holding_many_keys,
    a_commit_that_fails_elsewhere_ends_no_encryption,
    a_list_that_was_refused_is_not_taken_for_the_newest,
    a_new_device_id_gives_all_sessions_up_the_archived_ones_too,
    a_thousand_new_devices_cost_ten_times_a_hundred,
}

fn a_device_that_shows_its_key_again_is_served_again(ns: Namespace) {
    let (mut server, romeo, mut juliet) = with_known_raw(ns, ROMEO, (JULIET, 77));
    RawDevice::of(ns, JULIET, 77).publish(&mut server);
    let outcome = romeo.encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, 77), Some(Status::IdentityChanged));
    // The swap is undone: nobody should have to accept a key that is not there any more.
    juliet.publish(&mut server);
    romeo.reconnect(&mut server);
    romeo.refresh(&juliet.jid, &mut server);
    assert_eq!(romeo.device(&juliet.jid, 77).unwrap().conflicting_key, None);
    let message = romeo.say(&juliet.jid, "y", &mut server);
    assert_eq!(juliet.accept(&message).unwrap(), "y");
}

fn a_heartbeat_comes_although_something_was_said_in_the_chain(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let first = romeo.say(&juliet.jid, "0", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &first)), "0");
    // This reply is lost on its way.
    juliet.say(&romeo.jid, "lost", &mut server);
    let before = juliet.sent.borrow().len();
    for n in 1..80 {
        let message = romeo.say(&juliet.jid, &format!("{n}"), &mut server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), n.to_string());
        juliet.run(&mut server);
    }
    assert_eq!(juliet.sent.borrow().len() - before, 1, "the sender's ratchet would never turn");
}

fn a_server_that_lost_everything_is_repaired(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let mut empty = Server::of(ns);
    assert_eq!(romeo.reconnect(&mut empty).status(), Status::Ok);
    romeo.run_later(&mut empty);
    assert_set_up(&romeo, &mut empty, 0);
    // The list alone is lost, and the bundle alone.
    server.lists.clear();
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    server.bundles.clear();
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    romeo.run_later(&mut server);
    assert_set_up(&romeo, &mut server, 0);
}

#[test]
fn a_foreign_device_under_our_id_in_both_namespaces_costs_one_new_id() {
    let mut server = Server::of(Omemo2);
    let config = Config { namespaces: vec![Omemo2, Legacy], ..config(Omemo2, ROMEO, "trusted") };
    let romeo = RustDevice::with(config, &mut server);
    let old = romeo.id();
    for namespace in [Omemo2, Legacy] {
        RawDevice::of(namespace, ROMEO, old).publish(&mut server);
    }
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    romeo.run_later(&mut server);
    for namespace in [Omemo2, Legacy] {
        let list = &server.lists[&(namespace, romeo.jid.clone())];
        let ids: Vec<_> = list.devices.iter().map(|device| device.id).collect();
        assert_eq!(ids, [romeo.id()], "{namespace:?}");
        assert_ne!(romeo.id(), old);
    }
}

fn a_distrusted_key_that_nobody_vouches_for_keeps_nobody_from_the_real_one(ns: Namespace) {
    let (mut server, juliet, mut romeo) = with_raw(ns, JULIET, (ROMEO, MALLORY));
    let mut mallory = RawDevice::of(ns, ROMEO, MALLORY);
    let (_, relayed) = mallory.greet(&juliet, &server, "I am Romeo");
    assert_eq!(text(&juliet.read(&romeo.jid, &relayed)), "I am Romeo");
    juliet.manager().set_trust(&romeo.jid, &mallory.key(), "distrusted").unwrap();
    let message = juliet.say(&romeo.jid, "I know you are not", &mut server);
    assert_eq!(romeo.accept(&message).unwrap(), "I know you are not");
}

fn a_session_of_a_key_that_was_given_up_takes_no_place(ns: Namespace) {
    let (mut server, juliet, mut romeo) = with_raw(ns, JULIET, (ROMEO, MALLORY));
    let mut mallory = RawDevice::of(ns, ROMEO, MALLORY);
    let mut bundle = server.bundle(&juliet);
    let to = (juliet.jid.clone(), juliet.id());
    let mut sessions = Vec::new();
    for n in 0..2 {
        let mut session = mallory.initiate(&bundle);
        let message = mallory.write(&mut session, (&to.0, to.1), "I am Romeo");
        let used = KeyExchange::parse(ns, message.keys[0].bytes.as_ref().unwrap()).unwrap().id().pre_key_id;
        bundle.pre_keys.retain(|pre_key| pre_key.id != used);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "I am Romeo", "{n}");
        // She answers, and whoever relays his messages reads that, too: what follows is no key exchange.
        juliet.run(&mut server);
        let answer = juliet.sent.borrow().last().unwrap().1.clone();
        mallory.open(&mut session, &answer);
        sessions.push(session);
    }
    // The bundle of his own node shows another key: both sessions are given up.
    let first = juliet.say(&romeo.jid, "one", &mut server);
    assert_eq!(romeo.accept(&first).unwrap(), "one");
    let bundles = juliet.count_asked(is_bundle);
    for session in &mut sessions {
        let late = mallory.write(session, (&to.0, to.1), "still Romeo");
        let _ = juliet.read(&romeo.jid, &late);
        juliet.run(&mut server);
        let message = juliet.say(&romeo.jid, "two", &mut server);
        let id =
            |message: &Message| *KeyExchange::parse(ns, &romeo.bytes(message).bytes.unwrap()).unwrap().id();
        assert!(id(&message) == id(&first), "the session with the real device lost its place");
    }
    // A message under the other key has his bundle looked at once more, and no more than that.
    assert!(juliet.count_asked(is_bundle) <= bundles + 1);
}

fn a_follow_up_goes_on_when_the_store_can_be_read_again(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    juliet.storage.fail(1, Fault::Nothing);
    juliet.storage.unreadable.store(true, SeqCst);
    juliet.run(&mut server);
    juliet.advance(5_000);
    juliet.run(&mut server);
    juliet.storage.unreadable.store(false, SeqCst);
    juliet.run_later(&mut server);
    assert!(juliet.storage.has_failed());
    assert_eq!(juliet.sent.borrow().len(), 1, "nobody comes back for it");
}

fn a_forged_message_costs_no_more_for_holding_many_keys(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 9);
    let (mut session, greeting) = romeo.greet(&juliet, &server, "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "0");
    // As one who was answered writes: no key exchange, and far ahead in its chain.
    let reply = Message { keys: juliet_answer(&juliet, &mut server, &romeo), ..greeting.clone() };
    romeo.open(&mut session, &reply);
    let to = (juliet.jid.clone(), juliet.id());
    let messages: Vec<_> =
        (0..990).map(|n| romeo.write(&mut session, (&to.0, to.1), &n.to_string())).collect();
    let with_forged = |genuine: &Message, forged: &Message, keys: usize| {
        let mut bad = forged.keys[0].clone();
        *bad.bytes.as_mut().unwrap().last_mut().unwrap() ^= 1;
        let mut keys = vec![bad; keys];
        keys.push(genuine.keys[0].clone());
        Message { keys, ..genuine.clone() }
    };
    // Keys that skip much share what a message may cost: after three of them nothing is left for the real one.
    juliet.refuse(&romeo.jid, &with_forged(&messages[989], &messages[989], 3), Status::DecryptionFailed);
    // Keys that cost little are few: the 17th is not looked at.
    juliet.refuse(&romeo.jid, &with_forged(&messages[0], &messages[0], 16), Status::DecryptionFailed);
    assert_eq!(text(&juliet.read(&romeo.jid, &with_forged(&messages[0], &messages[0], 15))), "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &with_forged(&messages[989], &messages[989], 1))), "989");
}

fn a_commit_that_fails_elsewhere_ends_no_encryption(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let benvolio = jid("benvolio@montague.lit");
    let mut other = RawDevice::of(ns, benvolio.as_str(), 7);
    other.publish(&mut server);
    let operation = romeo.begin_encrypt(&[&benvolio], "x", EncryptPolicy::Wait);
    let open = romeo.step();
    let message = juliet.say(&romeo.jid, "in between", &mut server);
    romeo.storage.fail(1, Fault::Nothing);
    assert!(romeo.manager().decrypt(Some(&juliet.jid), None, &message).is_err());
    for (request_id, request) in open {
        romeo.manager().answer(request_id, server.answer(&romeo, &request)).unwrap();
    }
    // What is read anew between the answers may fail, too: here only the commit in between did.
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::Ok, "{:?}", outcome.rows);
    assert_eq!(other.accept(&outcome.messages[0]).unwrap(), "x");
    // The same while everything is there and only the turn is waited for.
    let first = romeo.begin_encrypt(&[&benvolio, &juliet.jid], "1", EncryptPolicy::Wait);
    romeo.storage.fail(1, Fault::Nothing);
    assert!(romeo.manager().set_trust(&juliet.jid, &juliet.key(), "undecided").is_err());
    romeo.run(&mut server);
    assert_eq!(romeo.take(first).status(), Status::Ok);
}

fn a_list_that_was_refused_is_not_taken_for_the_newest(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let most = u32::try_from(limits::DEVICES_PER_JID).unwrap();
    let list = DeviceList::of(ns, (1..most + 2).map(ListedDevice::new).collect());
    romeo.reconnect(&mut server);
    let kept = server.lists.insert((ns, juliet.jid.clone()), list).unwrap();
    for _ in 0..2 {
        let outcome = romeo.encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait, &mut server);
        assert_eq!(outcome.status(), Status::Ok);
        assert_eq!(
            row(&outcome, &juliet.jid, 0),
            Some(Status::Limit),
            "nobody says that an old list was used"
        );
    }
    server.lists.insert((ns, juliet.jid.clone()), kept);
    romeo.advance(61_000); // as long as a list that was refused is not asked for again
    let outcome = romeo.encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, 0), None);
}

fn a_new_device_id_gives_all_sessions_up_the_archived_ones_too(ns: Namespace) {
    let (mut server, juliet, mut romeo) = with_raw(ns, JULIET, (ROMEO, 9));
    let to = (juliet.jid.clone(), juliet.id());
    let (mut old, greeting) = romeo.greet(&juliet, &server, "0");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "0");
    let reply = Message { keys: juliet_answer(&juliet, &mut server, &romeo), ..greeting };
    romeo.open(&mut old, &reply);
    let next = romeo.write(&mut old, (&to.0, to.1), "in the same chain");
    assert_eq!(text(&juliet.read(&romeo.jid, &next)), "in the same chain");
    let (_, again) = romeo.greet(&juliet, &server, "1");
    assert_eq!(text(&juliet.read(&romeo.jid, &again)), "1");
    juliet.run_later(&mut server);
    // Somebody else has her id: whoever that is may hold a copy of what she had.
    RawDevice::of(ns, JULIET, to.1).publish(&mut server);
    juliet.reconnect(&mut server);
    juliet.run_later(&mut server);
    assert!(juliet.id() != to.1);
    let late = romeo.write(&mut old, (&juliet.jid, juliet.id()), "late");
    assert!(!late.keys[0].key_exchange);
    assert_eq!(text(&juliet.read(&romeo.jid, &late)), "late");
    let message = juliet.say(&romeo.jid, "anew", &mut server);
    assert_eq!(romeo.accept(&message).unwrap(), "anew");
}

fn a_thousand_new_devices_cost_ten_times_a_hundred(ns: Namespace) {
    let cost = |count: u32| {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let name = |n: u32| format!("friend{}@capulet.lit", n % 10);
        (0..count).for_each(|n| RawDevice::of(ns, &name(n), n + 1).publish(&mut server));
        let recipients: Vec<_> = (0..10).map(|n| jid(&name(n))).collect();
        let recipients: Vec<_> = recipients.iter().collect();
        let before = romeo.storage.commits();
        let first = romeo.encrypt(&recipients, "x", EncryptPolicy::Wait, &mut server);
        let fetched = romeo.storage.commits() - before;
        assert_eq!(first.messages[0].keys.len(), count as usize);
        let before = (romeo.storage.commits(), romeo.storage.written.load(SeqCst));
        romeo.encrypt(&recipients, "x", EncryptPolicy::Wait, &mut server);
        assert_eq!(romeo.storage.commits() - before.0, 1);
        (fetched, romeo.storage.written.load(SeqCst) - before.1)
    };
    let (few, many) = (cost(100), cost(1_000));
    // One commit for each answer, and for the message what its sessions take.
    assert!(many.0 <= few.0 * 10, "commits of the first message: {few:?}, {many:?}");
    assert!(many.1 <= few.1 * 11, "written for the second message: {few:?}, {many:?}");
}

/// The empty answer to a key exchange.
fn juliet_answer(juliet: &RustDevice, server: &mut Server, romeo: &RawDevice) -> Vec<MessageKey> {
    juliet.run(server);
    let sent = juliet.sent.borrow();
    vec![romeo.bytes(&sent.last().unwrap().1)]
}
