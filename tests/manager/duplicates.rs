//! What was decrypted before is silent; what was not is never hidden, whoever sent it on.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    a_key_exchange_relayed_under_another_name_hides_nothing,
    a_key_exchange_relayed_under_another_device_hides_nothing,
    a_message_relayed_under_another_name_hides_nothing,
    a_flipped_device_id_hides_nothing,
    a_message_whose_key_was_evicted_is_not_hidden,
    an_evicted_key_of_a_closed_chain_is_not_hidden,
    an_old_conversation_given_again_is_silent,
    an_old_conversation_given_again_after_a_restart_is_silent,
    an_old_conversation_of_a_session_that_was_replaced_is_silent,
    f24_an_archive_of_many_key_exchanges_given_again_changes_nothing,
    a_late_message_of_a_closed_chain_is_read_once,
    late_messages_of_an_old_session_are_read_in_any_order,
    a_closed_chain_of_which_nothing_is_missing_is_remembered,
    a_message_that_was_never_read_is_no_duplicate,
}

fn is_hidden(client: &RustDevice, from: &str, message: &Message) -> bool {
    let read = client.read(&jid(from), message);
    read.action == Action::Hide && read.plaintext.is_none()
}

/// Juliet writes 21 messages; a copy of the first reached Romeo as somebody else's before. How many were hidden.
fn hidden_after(ns: Namespace, relay: impl Fn(&RustDevice, &RustDevice, &Message)) -> usize {
    let (mut server, romeo, juliet) = two(ns);
    let first = juliet.say(&romeo.jid, "first", &mut server);
    relay(&romeo, &juliet, &first);
    let mut hidden = usize::from(is_hidden(&romeo, JULIET, &first));
    for n in 0..20 {
        romeo.run(&mut server);
        server.mail.clear();
        let message = juliet.say(&romeo.jid, &format!("message {n}"), &mut server);
        hidden += usize::from(is_hidden(&romeo, JULIET, &message));
    }
    hidden
}

fn a_key_exchange_relayed_under_another_name_hides_nothing(ns: Namespace) {
    let hidden = hidden_after(ns, |romeo, _, first| {
        romeo.read(&jid("mallory@evil.example"), first);
    });
    assert_eq!(hidden, 0, "of 21 messages");
    // Twice, by two of them, and in a room that does not say who it was.
    let hidden = hidden_after(ns, |romeo, _, first| {
        for name in ["mallory@evil.example", "malvolio@evil.example"] {
            romeo.read(&jid(name), first);
            romeo.read(&jid(name), first);
        }
        romeo.manager().decrypt(None, Some(&jid("room@rooms.example")), first).unwrap();
    });
    assert_eq!(hidden, 0, "of 21 messages");
}

fn a_key_exchange_relayed_under_another_device_hides_nothing(ns: Namespace) {
    let hidden = hidden_after(ns, |romeo, juliet, first| {
        romeo.read(&juliet.jid, &with_sid(first, 4_711));
    });
    assert_eq!(hidden, 0, "of 21 messages");
}

fn a_message_relayed_under_another_name_hides_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    for n in 0..5 {
        let message = juliet.say(&romeo.jid, &format!("{n}"), &mut server);
        for name in ["mallory@evil.example", ROMEO, TYBALT] {
            let read = romeo.read(&jid(name), &message);
            assert!(read.plaintext.is_none());
        }
        assert_eq!(text(&romeo.read(&juliet.jid, &message)), format!("{n}"));
    }
}

fn a_flipped_device_id_hides_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let message = juliet.say(&romeo.jid, "text", &mut server);
    for bit in 0..31 {
        let flipped = with_sid(&message, juliet.id() ^ (1 << bit));
        let read = romeo.read(&juliet.jid, &flipped);
        assert!(read.plaintext.is_none());
        assert_ne!(read.error.status(), Status::Duplicate, "bit {bit}");
    }
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "text");
}

fn a_message_whose_key_was_evicted_is_not_hidden(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let messages: Vec<_> = (0..1_500).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[900])), "900");
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[1_400])), "1400");
    for late in [5, 100] {
        let read = romeo.read(&juliet.jid, &messages[late]);
        assert_eq!((read.error.status(), read.action), (Status::DecryptionFailed, Action::Warn), "{late}");
    }
    // What was read is a duplicate; what is still kept is read, once.
    assert!(is_hidden(&romeo, JULIET, &messages[900]));
    assert!(is_hidden(&romeo, JULIET, &messages[1_400]));
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[1_399])), "1399");
    assert!(is_hidden(&romeo, JULIET, &messages[1_399]));
    // After a restart, too.
    romeo.restart();
    let read = romeo.read(&juliet.jid, &messages[5]);
    assert_eq!((read.error.status(), read.action), (Status::DecryptionFailed, Action::Warn));
    assert!(is_hidden(&romeo, JULIET, &messages[900]));
}

fn an_evicted_key_of_a_closed_chain_is_not_hidden(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let messages: Vec<_> = (0..1_500).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    for at in [900, 1_400] {
        romeo.read(&juliet.jid, &messages[at]);
    }
    converse(&romeo, &juliet, 2, &mut server);
    let read = romeo.read(&juliet.jid, &messages[5]);
    assert_eq!((read.error.status(), read.action), (Status::DecryptionFailed, Action::Warn));
    for at in [900, 1_400] {
        assert!(is_hidden(&romeo, JULIET, &messages[at]), "{at}");
    }
}

/// All messages of a conversation are given again to who has read them.
fn give_again(romeo: &RustDevice, juliet: &RustDevice, all: &[(omemo::protocol::address::BareJid, Message)]) {
    for (n, (from, message)) in all.iter().enumerate() {
        let reader = if *from == juliet.jid { romeo } else { juliet };
        let (before, commits) = (reader.storage.all(), reader.storage.commits());
        let read = reader.read(from, message);
        assert_eq!((read.error.status(), read.action), (Status::Duplicate, Action::Hide), "message {n}");
        assert!(
            reader.storage.all() == before && reader.storage.commits() == commits,
            "message {n} left a trace"
        );
    }
}

fn an_old_conversation_given_again_is_silent(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let all = converse(&romeo, &juliet, 24, &mut server);
    give_again(&romeo, &juliet, &all);
    give_again(&romeo, &juliet, &all);
    both_ways(&romeo, &juliet, &mut server);
}

fn an_old_conversation_given_again_after_a_restart_is_silent(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let all = converse(&romeo, &juliet, 24, &mut server);
    romeo.restart();
    juliet.restart();
    give_again(&romeo, &juliet, &all);
    romeo.connect(&mut server);
    juliet.connect(&mut server);
    both_ways(&romeo, &juliet, &mut server);
}

fn an_old_conversation_of_a_session_that_was_replaced_is_silent(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let all = converse(&romeo, &juliet, 6, &mut server);
    lose_sessions(&juliet, &mut server);
    juliet.refresh(&romeo.jid, &mut server);
    let hello = juliet.say(&romeo.jid, "anew", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &hello)), "anew");
    server.settle(&[&romeo, &juliet]);
    for (from, message) in all.iter().filter(|(from, _)| *from == juliet.jid) {
        let read = romeo.read(from, message);
        assert_eq!((read.error.status(), read.action), (Status::Duplicate, Action::Hide));
    }
}

fn f24_an_archive_of_many_key_exchanges_given_again_changes_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // A client that began a session for each of its messages.
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    tybalt.publish(&mut server);
    romeo.refresh(&tybalt.jid, &mut server);
    let mut archive = Vec::new();
    for _ in 0..60 {
        let (_, message) = tybalt.greet(&romeo, &server, "text");
        assert_eq!(text(&romeo.read(&tybalt.jid, &message)), "text");
        archive.push(message);
        romeo.advance(HOUR);
        romeo.run(&mut server);
        server.mail.clear();
    }
    romeo.advance(2 * DAY);
    romeo.run(&mut server);
    server.mail.clear();
    let (before, sent) = (romeo.storage.all(), romeo.sent.borrow().len());
    for (n, message) in archive.iter().enumerate() {
        let read = romeo.read(&tybalt.jid, message);
        assert!(read.plaintext.is_none(), "message {n} was shown twice");
    }
    assert!(romeo.storage.all() == before, "an archive changed the store");
    romeo.run_hours(3, &mut server);
    assert_eq!(romeo.sent.borrow().len(), sent, "an archive had something sent");
    both_ways(&romeo, &juliet, &mut server);
}

fn a_late_message_of_a_closed_chain_is_read_once(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let messages: Vec<_> = (0..6).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    for at in [0, 2, 5] {
        assert_eq!(text(&romeo.read(&juliet.jid, &messages[at])), at.to_string());
    }
    converse(&romeo, &juliet, 3, &mut server);
    for at in [1, 4, 3] {
        assert_eq!(text(&romeo.read(&juliet.jid, &messages[at])), at.to_string());
        assert!(is_hidden(&romeo, JULIET, &messages[at]), "{at}");
    }
    for (at, message) in messages.iter().enumerate() {
        assert!(is_hidden(&romeo, JULIET, message), "{at}");
    }
}

fn late_messages_of_an_old_session_are_read_in_any_order(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // The last one of the first chain is late, and those of the next as well; then a new session takes over.
    let first: Vec<_> = (0..3).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    romeo.read(&juliet.jid, &first[0]);
    converse(&romeo, &juliet, 1, &mut server);
    let second: Vec<_> = (3..6).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    romeo.read(&juliet.jid, &second[0]);
    lose_sessions(&juliet, &mut server);
    juliet.refresh(&romeo.jid, &mut server);
    let hello = juliet.say(&romeo.jid, "anew", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &hello)), "anew");
    for (late, expected) in [(&second[2], "5"), (&first[2], "2"), (&second[1], "4"), (&first[1], "1")] {
        assert_eq!(text(&romeo.read(&juliet.jid, late)), expected);
        romeo.restart();
    }
}

fn a_closed_chain_of_which_nothing_is_missing_is_remembered(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let mut all = Vec::new();
    for _ in 0..12 {
        let message = juliet.say(&romeo.jid, "text", &mut server);
        romeo.read(&juliet.jid, &message);
        all.push(message);
        converse(&romeo, &juliet, 1, &mut server);
    }
    for (n, message) in all.iter().enumerate() {
        let read = romeo.read(&juliet.jid, message);
        assert_eq!((read.error.status(), read.action), (Status::Duplicate, Action::Hide), "{n} chains ago");
    }
}

fn a_message_that_was_never_read_is_no_duplicate(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // Beyond what may be skipped: never derived.
    let messages: Vec<_> = (0..1_100).map(|n| juliet.say(&romeo.jid, &n.to_string(), &mut server)).collect();
    let read = romeo.read(&juliet.jid, &messages[1_090]);
    assert_eq!(read.error.status(), Status::TooManySkipped);
    assert_eq!(text(&romeo.read(&juliet.jid, &messages[0])), "0");
    // Its chain is closed with most of it missing.
    converse(&romeo, &juliet, 8, &mut server);
    for at in [500, 1_050] {
        let read = romeo.read(&juliet.jid, &messages[at]);
        assert!(
            read.plaintext.is_some() || read.action == Action::Warn,
            "{at} was never read, and is hidden as {:?}",
            read.error.status()
        );
    }
}
