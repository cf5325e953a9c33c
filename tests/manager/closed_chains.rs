//! What comes twice is silent, however old it is; what was never read warns, however old it is.

use super::world::*;
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::protocol::address::BareJid;
use omemo::protocol::bundle::Bundle;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    an_archive_that_is_read_again_is_silent,
    an_archive_of_before_a_new_session_is_silent,
    a_message_whose_key_was_given_up_warns,
    a_message_whose_key_was_given_up_warns_after_the_session_was_replaced,
    a_chain_of_a_session_that_is_forgotten_stays_known,
    a_message_of_a_forgotten_session_that_was_never_read_warns,
    closed_chains_go_with_the_sessions,
}

fn pages(client: &RustDevice) -> usize {
    client.storage.all().keys().filter(|key| key.starts_with("v1/chains/")).count()
}

/// Each says something and is heard, in turns; gives what the first has heard.
fn talk(turns: usize, server: &mut Server, romeo: &RustDevice, juliet: &RustDevice) -> Vec<Message> {
    let mut heard = Vec::new();
    for n in 0..turns {
        let message = juliet.say(&romeo.jid, &n.to_string(), server);
        assert_eq!(text(&romeo.read(&juliet.jid, &message)), n.to_string());
        heard.push(message);
        let message = romeo.say(&juliet.jid, "go on", server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "go on");
    }
    server.settle(&[romeo, juliet]);
    heard
}

fn all_are_duplicates(romeo: &RustDevice, from: &BareJid, messages: &[Message]) {
    for message in messages {
        assert_eq!(romeo.refuse(from, message, Status::Duplicate).action, Action::Hide);
    }
}

fn an_archive_that_is_read_again_is_silent(ns: Namespace) {
    for turns in [12, 100] {
        let (mut server, romeo, juliet) = friends(ns);
        let heard = talk(turns, &mut server, &romeo, &juliet);
        all_are_duplicates(&romeo, &juliet.jid, &heard);
        romeo.restart();
        romeo.connect(&mut server);
        all_are_duplicates(&romeo, &juliet.jid, &heard);
        assert!(pages(&romeo) > 0 && pages(&romeo) <= 17);
        let largest = romeo.storage.all().into_iter().filter(|(key, _)| key.starts_with("v1/chains/"));
        assert!(largest.map(|(_, value)| value.len()).max().unwrap() <= 2_048);
        both_ways(&romeo, &juliet, &mut server);
    }
}

/// Takes the sessions out of a client's store: it begins anew with its next message.
fn lose_sessions(client: &RustDevice) {
    client.storage.records.lock().unwrap().retain(|key, _| {
        !["v1/session/", "v1/skipped/", "v1/archive/"].iter().any(|kind| key.starts_with(kind))
    });
    client.restart();
}

fn an_archive_of_before_a_new_session_is_silent(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let mut heard = talk(12, &mut server, &romeo, &juliet);
    for _ in 0..2 {
        lose_sessions(&juliet);
        juliet.connect(&mut server);
        heard.extend(talk(8, &mut server, &romeo, &juliet));
    }
    all_are_duplicates(&romeo, &juliet.jid, &heard);
    // Also without any session: the device is not said to need a new one.
    lose_sessions(&romeo);
    let ordinary: Vec<_> =
        heard.into_iter().filter(|message| message.keys.iter().all(|key| !key.key_exchange)).collect();
    let again = ordinary.iter().map(|message| romeo.read(&juliet.jid, message).error.status());
    let again: Vec<_> = again.collect();
    // The last chain of each of the three sessions was not over when they went.
    let unknown = again.iter().filter(|status| **status != Status::Duplicate);
    assert!(ordinary.len() > 20 && unknown.count() <= 3, "{again:?}");
}

fn a_message_whose_key_was_given_up_warns(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let messages: Vec<_> = (0..1_500).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[900])), "900");
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[1_400])), "1400");
    let check = || {
        let lost = romeo.refuse(&juliet.jid, &messages[5], Status::DecryptionFailed);
        assert_eq!(lost.action, Action::Warn);
        all_are_duplicates(&romeo, &juliet.jid, &[messages[900].clone(), messages[1_400].clone()]);
    };
    check();
    romeo.restart();
    romeo.connect(&mut server);
    check();
    talk(1, &mut server, &romeo, &juliet);
    check();
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[1_000])), "1000");
    all_are_duplicates(&romeo, &juliet.jid, &messages[1_000..1_001]);
    talk(8, &mut server, &romeo, &juliet);
    check();
    all_are_duplicates(&romeo, &juliet.jid, &messages[1_000..1_001]);
}

fn a_message_whose_key_was_given_up_warns_after_the_session_was_replaced(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let messages: Vec<_> = (0..1_300).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[900])), "900");
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[1_299])), "1299");
    lose_sessions(&juliet);
    juliet.connect(&mut server);
    talk(2, &mut server, &romeo, &juliet);
    let lost = romeo.refuse(&juliet.jid, &messages[5], Status::DecryptionFailed);
    assert_eq!(lost.action, Action::Warn);
    all_are_duplicates(&romeo, &juliet.jid, &messages[900..901]);
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[899])), "899");
    all_are_duplicates(&romeo, &juliet.jid, &messages[899..901]);
}

/// Begins more sessions than an archive holds; gives two messages of the first: one that was read, and one that was not.
fn forget_the_first_session(
    juliet: &RustDevice,
    romeo: &mut RawDevice,
    server: &Server,
) -> (Message, Message, Vec<Message>) {
    let bundle = server.bundle(juliet);
    let with = |n: usize| Bundle { pre_keys: vec![bundle.pre_keys[n].clone()], ..bundle.clone() };
    let to = (juliet.jid.clone(), juliet.id());
    let mut first = romeo.initiate(&with(0));
    let greeting = romeo.write(&mut first, (&to.0, to.1), "greeting");
    assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "greeting");
    // Of a JID that the client has named more is remembered.
    juliet.manager().set_trust(&romeo.jid, &romeo.key(), "trusted").unwrap();
    let lost = romeo.write(&mut first, (&to.0, to.1), "lost");
    let read = romeo.write(&mut first, (&to.0, to.1), "read");
    assert_eq!(text(&juliet.read(&romeo.jid, &read)), "read");
    let mut greetings = Vec::new();
    for n in 50..95 {
        let mut session = romeo.initiate(&with(n));
        let greeting = romeo.write(&mut session, (&to.0, to.1), "another");
        assert_eq!(text(&juliet.read(&romeo.jid, &greeting)), "another");
        greetings.push(greeting);
    }
    (read, lost, greetings)
}

fn a_chain_of_a_session_that_is_forgotten_stays_known(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 9);
    let (read, _, greetings) = forget_the_first_session(&juliet, &mut romeo, &server);
    all_are_duplicates(&juliet, &romeo.jid, &[read]);
    all_are_duplicates(&juliet, &romeo.jid, &greetings);
}

fn a_message_of_a_forgotten_session_that_was_never_read_warns(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 9);
    let (_, lost, _) = forget_the_first_session(&juliet, &mut romeo, &server);
    assert_eq!(juliet.refuse(&romeo.jid, &lost, Status::DecryptionFailed).action, Action::Warn);
}

/// Nothing of a namespace stays behind when it is left.
fn closed_chains_go_with_the_sessions(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    talk(12, &mut server, &romeo, &juliet);
    assert!(pages(&romeo) > 3);
    let other = if ns == Namespace::Legacy { Namespace::Omemo2 } else { Namespace::Legacy };
    romeo.manager.replace(None);
    let left = RustDevice::closed(config(other, ROMEO, "trusted"), romeo.storage.clone());
    left.open().unwrap();
    assert_eq!(pages(&left), 0);
}
