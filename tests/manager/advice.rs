//! What a client does with a stanza follows from its content: nothing without content alarms, no content is hidden.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::decrypted::{Action, Decrypted};
use omemo::manager::api::device::CoreTrust;
use omemo::protocol::address::BareJid;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    a_message_without_payload_that_fails_is_hidden,
    the_same_messages_with_payload_warn,
    r22_an_own_message_reflected_in_a_room_is_an_own_echo,
    an_own_message_in_a_room_that_holds_a_key_for_us_is_no_echo,
    a_message_for_others_in_a_room_is_hidden_only_without_payload,
    a_refused_distrusted_message_says_distrusted,
    content_of_a_device_that_left_the_list_keeps_its_trust,
    f21_what_is_hidden_has_a_status_and_a_line_of_log,
}

const ROOM: &str = "room@rooms.example";

fn flip(message: &Message) -> Message {
    let mut message = message.clone();
    for key in &mut message.keys {
        let bytes = key.bytes.as_mut().unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    }
    message
}

fn garbage(message: &Message) -> Message {
    let mut message = message.clone();
    message.keys.iter_mut().for_each(|key| key.bytes = Some(vec![0xff; 7]));
    message
}

fn unreadable(message: &Message) -> Message {
    let mut message = message.clone();
    message.keys.iter_mut().for_each(|key| key.bytes = None);
    message
}

/// Messages that cannot be read, with payload: what is wrong, from whom, and the message.
fn failing(ns: Namespace) -> (Server, RustDevice, RustDevice, Vec<(&'static str, BareJid, Message)>) {
    let (mut server, romeo, juliet) = friends(ns);
    let good = juliet.say(&romeo.jid, "text", &mut server);
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    let (_, hello) = tybalt.greet(&romeo, &server, "text");
    let all = vec![
        ("wrong MAC", juliet.jid.clone(), flip(&good)),
        ("no session", tybalt.jid.clone(), inner(&hello)),
        ("no session with this device", juliet.jid.clone(), with_sid(&good, 4_711)),
        ("garbage", juliet.jid.clone(), garbage(&good)),
        ("unreadable", juliet.jid.clone(), unreadable(&good)),
        ("unknown pre key", tybalt.jid.clone(), with_pre_key_id(&hello, 1_000_000)),
        ("wrong MAC of a key exchange", tybalt.jid.clone(), flip(&hello)),
    ];
    (server, romeo, juliet, all)
}

fn a_message_without_payload_that_fails_is_hidden(ns: Namespace) {
    let (_server, romeo, _juliet, all) = failing(ns);
    for (what, from, message) in all {
        let message = without_payload(&message);
        for room in [None, Some(jid(ROOM))] {
            let read = romeo.manager().decrypt(Some(&from), room.as_ref(), &message).unwrap();
            assert_ne!(read.error.status(), Status::Ok, "{what}");
            assert_eq!(read.action, Action::Hide, "{what}: {:?}", read.error.status());
        }
    }
    // Of somebody whose key is distrusted, or another than the one known.
    let (mut server, romeo, juliet) = friends(ns);
    let good = juliet.say(&romeo.jid, "text", &mut server);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    let read = romeo.refuse(&juliet.jid, &without_payload(&good), Status::SenderDistrusted);
    assert_eq!(read.action, Action::Hide);
    let mut mallory = RawDevice::of(ns, JULIET, juliet.id());
    let (_, forged) = mallory.greet(&romeo, &server, "x");
    let read = romeo.refuse(&juliet.jid, &without_payload(&forged), Status::PublicDataInconsistency);
    assert_eq!(read.action, Action::Hide);
}

fn the_same_messages_with_payload_warn(ns: Namespace) {
    let (_server, romeo, _juliet, all) = failing(ns);
    for (what, from, message) in all {
        let read = romeo.read(&from, &message);
        assert_eq!(read.action, Action::Warn, "{what}: {:?}", read.error.status());
    }
}

fn in_room(client: &RustDevice, from: Option<&BareJid>, message: &Message) -> Decrypted {
    client.manager().decrypt(from, Some(&jid(ROOM)), message).unwrap()
}

fn r22_an_own_message_reflected_in_a_room_is_an_own_echo(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // With and without another device of our own.
    for other in [false, true] {
        if other {
            RawDevice::of(ns, ROMEO, 77).publish(&mut server);
            push(&romeo, &romeo.jid, &[romeo.id(), 77]);
        }
        let own = romeo.say(&juliet.jid, "text", &mut server);
        for message in [&own, &without_payload(&own)] {
            for from in [None, Some(&romeo.jid)] {
                let read = in_room(&romeo, from, message);
                assert_eq!((read.error.status(), read.action), (Status::OwnEcho, Action::Hide), "{from:?}");
            }
        }
    }
    romeo.restart();
    romeo.connect(&mut server);
    romeo.manager().disconnected().unwrap();
    let own = romeo.begin_encrypt(&[&juliet.jid], "text", omemo::manager::api::draft::EncryptPolicy::Now);
    romeo.step();
    let own = romeo.take(own).messages.remove(0);
    assert_eq!(in_room(&romeo, None, &own).error.status(), Status::OwnEcho);
}

fn an_own_message_in_a_room_that_holds_a_key_for_us_is_no_echo(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    // By chance her device has written with the id that is ours, too.
    let message = juliet.say(&romeo.jid, "text", &mut server);
    let read = in_room(&romeo, None, &with_sid(&message, romeo.id()));
    assert_ne!(read.error.status(), Status::OwnEcho, "a message for us is hidden as our own");
    assert_eq!(text(&in_room(&romeo, None, &message)), "text");
}

fn a_message_for_others_in_a_room_is_hidden_only_without_payload(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let paris = RustDevice::new(PARIS, &mut server);
    let message = juliet.say(&paris.jid, "text", &mut server);
    for from in [None, Some(&juliet.jid)] {
        let read = in_room(&romeo, from, &message);
        assert_eq!((read.error.status(), read.action), (Status::NotForUs, Action::Warn));
        let read = in_room(&romeo, from, &without_payload(&message));
        assert_eq!((read.error.status(), read.action), (Status::NotForUs, Action::Hide));
    }
}

fn a_refused_distrusted_message_says_distrusted(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let message = juliet.say(&romeo.jid, "text", &mut server);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    let read = romeo.refuse(&juliet.jid, &message, Status::SenderDistrusted);
    assert_eq!((read.core_trust, read.action), (CoreTrust::Distrusted, Action::Warn));
}

fn content_of_a_device_that_left_the_list_keeps_its_trust(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let message = juliet.say(&romeo.jid, "text", &mut server);
    push(&romeo, &juliet.jid, &[77]);
    let read = romeo.read(&juliet.jid, &message);
    assert_eq!((text(&read), read.core_trust), ("text".to_owned(), CoreTrust::Trusted));
}

fn f21_what_is_hidden_has_a_status_and_a_line_of_log(ns: Namespace) {
    let (_server, romeo, _juliet, all) = failing(ns);
    for (what, from, message) in all {
        romeo.services.lines.lock().unwrap().clear();
        let read = romeo.read(&from, &without_payload(&message));
        assert_ne!(read.error.status(), Status::Ok);
        let lines = romeo.services.lines.lock().unwrap();
        assert!(!lines.is_empty(), "{what}: nothing is logged");
        assert!(lines.iter().all(|line| !line.contains("capulet")));
    }
}
