//! Devices that do not answer: how long the chains are, when a device was last seen, and from when on it gets nothing more.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    chain_lengths_are_shown,
    the_last_message_of_a_device_is_remembered,
    an_unresponsive_device_gets_nothing_more_until_it_writes,
    a_rebuilt_session_does_not_make_a_device_responsive,
    any_message_of_a_device_makes_it_responsive,
    crossing_sessions_make_nobody_unresponsive,
    the_count_of_unanswered_messages_is_stored,
}

fn session_of(romeo: &RustDevice, juliet: &RustDevice) -> (Option<u32>, Option<u32>) {
    let device = romeo.device(&juliet.jid, juliet.id()).unwrap();
    let session = device.sessions.first().unwrap();
    (session.sending_chain_length, session.receiving_chain_length)
}

/// A client that gives up on devices after 60 messages.
fn impatient(ns: Namespace) -> (Server, RustDevice, RustDevice) {
    let mut server = Server::of(ns);
    let limited = Config { max_unanswered_messages: Some(60), ..config(ns, ROMEO, "trusted") };
    let romeo = RustDevice::with(limited, &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    juliet.read(&romeo.jid, &hello);
    server.settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo, &mut server);
    (server, romeo, juliet)
}

fn unresponsive(romeo: &RustDevice, juliet: &RustDevice, server: &mut Server) -> bool {
    let outcome = romeo.encrypt(&[&juliet.jid], "are you there?", EncryptPolicy::Wait, server);
    row(&outcome, &juliet.jid, juliet.id()) == Some(Status::Unresponsive)
}

fn chain_lengths_are_shown(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    romeo.refresh(&juliet.jid, &mut server);
    assert_eq!(session_of(&romeo, &juliet), (None, None));
    for sent in 1..4 {
        let message = romeo.say(&juliet.jid, "hello", &mut server);
        assert_eq!(session_of(&romeo, &juliet), (Some(sent), None));
        juliet.read(&romeo.jid, &message);
        assert_eq!(session_of(&juliet, &romeo).1, Some(sent));
    }
    let message = juliet.say(&romeo.jid, "welcome", &mut server);
    romeo.read(&juliet.jid, &message);
    let sent = session_of(&juliet, &romeo).0;
    assert_eq!(session_of(&romeo, &juliet), (Some(0), sent));
    romeo.restart();
    assert_eq!(session_of(&romeo, &juliet), (Some(0), sent));
}

fn the_last_message_of_a_device_is_remembered(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    romeo.refresh(&juliet.jid, &mut server);
    let seen = || romeo.device(&juliet.jid, juliet.id()).unwrap().sessions.first().unwrap().last_seen_ms;
    let now = || romeo.services.clock.wall_ms();
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    juliet.read(&romeo.jid, &hello);
    assert_eq!(seen(), 0, "only we have written");
    romeo.advance(HOUR);
    server.settle(&[&romeo, &juliet]);
    assert_eq!(seen(), now(), "her empty message");
    let late = juliet.say(&romeo.jid, "late", &mut server);
    let before = now();
    romeo.advance(HOUR);
    let message = juliet.say(&romeo.jid, "x", &mut server);
    romeo.refuse(&juliet.jid, &forged(&message, 1), Status::DecryptionFailed);
    assert_eq!(seen(), before, "what cannot be read may be anybody's");
    romeo.restart();
    romeo.connect(&mut server);
    assert_eq!(seen(), before);
    romeo.refresh(&juliet.jid, &mut server);
    romeo.replace_sessions(Some(&juliet.jid), juliet.id(), &mut server);
    assert_eq!(seen(), before, "replacing a session is no message");
    romeo.advance(HOUR);
    romeo.read(&juliet.jid, &late);
    assert_eq!(seen(), now(), "one of a retired session");
    romeo.advance(HOUR);
    server.settle(&[&romeo, &juliet]);
    let message = juliet.say(&romeo.jid, "on the new one", &mut server);
    romeo.read(&juliet.jid, &message);
    assert_eq!(seen(), now());
}

fn an_unresponsive_device_gets_nothing_more_until_it_writes(ns: Namespace) {
    let (mut server, romeo, juliet) = impatient(ns);
    let answer = juliet.say(&romeo.jid, "later", &mut server);
    romeo.read(&juliet.jid, &answer);
    let mut sent = Vec::new();
    for _ in 0..60 {
        sent.push(romeo.say(&juliet.jid, "are you there?", &mut server));
    }
    let refused = romeo.encrypt(&[&juliet.jid], "are you there?", EncryptPolicy::Wait, &mut server);
    assert_eq!(refused.status(), Status::NoEligibleDevices);
    assert_eq!(row(&refused, &juliet.jid, juliet.id()), Some(Status::Unresponsive));
    // Whoever wants all devices has them: one that is not in use is none.
    let second = RustDevice::new(JULIET, &mut server);
    romeo.push(&juliet.jid, &server);
    let all = romeo.encrypt(&[&juliet.jid], "to all", EncryptPolicy::All, &mut server);
    assert_eq!(all.status(), Status::Ok);
    assert_eq!(row(&all, &juliet.jid, juliet.id()), Some(Status::Unresponsive));
    assert_eq!(text(&second.read(&romeo.jid, &all.messages[0])), "to all");
    // She is back.
    for message in &sent {
        assert_eq!(text(&juliet.read(&romeo.jid, message)), "are you there?");
    }
    server.settle(&[&romeo, &juliet]);
    let message = romeo.say(&juliet.jid, "good", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "good");
}

fn a_rebuilt_session_does_not_make_a_device_responsive(ns: Namespace) {
    let mut server = Server::of(ns);
    // Less than what makes a client answer is no limit: the message with index 53 does.
    let limited = Config { max_unanswered_messages: Some(1), ..config(ns, ROMEO, "trusted") };
    let romeo = RustDevice::with(limited, &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut sent = 0;
    for _ in 0..10 {
        for _ in 0..10 {
            let outcome = romeo.encrypt(&[&juliet.jid], "hello", EncryptPolicy::Wait, &mut server);
            sent += usize::from(outcome.status() == Status::Ok);
        }
        // A week later the session is rebuilt.
        romeo.advance(8 * DAY);
        romeo.refresh(&juliet.jid, &mut server);
    }
    assert_eq!(sent, 54);
    // The client may have it tried again.
    assert!(is_ok(&romeo.replace_sessions(Some(&juliet.jid), juliet.id(), &mut server), &juliet));
    let outcome = romeo.encrypt(&[&juliet.jid], "hello", EncryptPolicy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::Ok);
}

fn any_message_of_a_device_makes_it_responsive(ns: Namespace) {
    let (mut server, romeo, juliet) = friends_with(ns, |config| config.max_unanswered_messages = Some(60));
    while !unresponsive(&romeo, &juliet, &mut server) {}
    // She has got none of these: her message goes on the chain that she had before.
    let message = juliet.say(&romeo.jid, "sorry, I was away", &mut server);
    romeo.read(&juliet.jid, &message);
    for _ in 0..60 {
        assert!(!unresponsive(&romeo, &juliet, &mut server));
    }
    assert!(unresponsive(&romeo, &juliet, &mut server));
    // An empty message counts as well, and so does one of a session that was replaced.
    let late = juliet.say(&romeo.jid, "late", &mut server);
    romeo.replace_sessions(Some(&juliet.jid), juliet.id(), &mut server);
    while !unresponsive(&romeo, &juliet, &mut server) {}
    assert_eq!(text(&romeo.read(&juliet.jid, &late)), "late");
    assert!(!unresponsive(&romeo, &juliet, &mut server));
}

fn crossing_sessions_make_nobody_unresponsive(ns: Namespace) {
    let (mut server, romeo, juliet) = friends_with(ns, |config| config.max_unanswered_messages = Some(60));
    // Both replace at the same time.
    for (who, other) in [(&romeo, &juliet), (&juliet, &romeo)] {
        who.manager().replace_sessions(7_001, Some(other.jid.clone()), None).unwrap();
    }
    server.settle(&[&romeo, &juliet]);
    for _ in 0..200 {
        both_ways(&romeo, &juliet, &mut server);
    }
}

fn the_count_of_unanswered_messages_is_stored(ns: Namespace) {
    let (mut server, romeo, juliet) = friends_with(ns, |config| config.max_unanswered_messages = Some(60));
    let answer = juliet.say(&romeo.jid, "later", &mut server);
    romeo.read(&juliet.jid, &answer);
    for n in 0..60 {
        assert!(!unresponsive(&romeo, &juliet, &mut server), "{n}");
        if n % 20 == 10 {
            romeo.restart();
            romeo.connect(&mut server);
        }
    }
    romeo.restart();
    romeo.connect(&mut server);
    assert!(unresponsive(&romeo, &juliet, &mut server));
    romeo.advance(8 * DAY);
    romeo.refresh(&juliet.jid, &mut server);
    assert!(unresponsive(&romeo, &juliet, &mut server), "time alone changes nothing");
}
