//! Messages as careless clients send them: several in one stanza, and key exchanges that are marked wrongly.

use omemo::protocol::limits;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::stanza::message;
use serde_json::Value;

fn encrypted(namespace: Namespace, sid: &str) -> String {
    format!("<encrypted xmlns='{}'><header sid='{sid}'/></encrypted>", namespace.uri())
}

fn senders(parts: &[String]) -> Vec<u32> {
    let xml = format!("<message xmlns='jabber:client'>{}</message>", parts.concat());
    let found = message::candidates(xml.as_bytes()).expect(&xml).messages;
    let first = message::parse(xml.as_bytes()).unwrap().sender_device;
    assert_eq!(first, found[0].sender_device);
    found.iter().map(|message| message.sender_device).collect()
}

#[test]
fn every_message_that_can_be_read_is_tried_in_order() {
    for (one, other) in [(Omemo2, Legacy), (Legacy, Omemo2)] {
        assert_eq!(senders(&[encrypted(one, "1"), encrypted(one, "2")]), [1, 2]);
        assert_eq!(senders(&[encrypted(one, "x"), encrypted(one, "2")]), [2]);
        assert_eq!(senders(&[encrypted(one, "1"), encrypted(one, "x")]), [1]);
        let mixed = senders(&[
            encrypted(one, "1"),
            encrypted(other, "2"),
            encrypted(one, "3"),
            encrypted(other, "x"),
        ]);
        assert_eq!(mixed, if one == Omemo2 { [1, 3, 2] } else { [2, 1, 3] });
        let twice = format!(
            "<message>{}{}{}</message>",
            encrypted(one, "x"),
            encrypted(one, "4"),
            encrypted(one, "5")
        );
        assert_eq!(message::parse_in(twice.as_bytes(), one).unwrap().unwrap().sender_device, 4);
        assert_eq!(message::parse_in(twice.as_bytes(), other).unwrap(), None);
        let broken = format!("<message>{}{}</message>", encrypted(one, "x"), encrypted(one, "y"));
        assert!(
            message::candidates(broken.as_bytes()).is_err()
                && message::parse_in(broken.as_bytes(), one).is_err()
        );
        // Not without end.
        let many: Vec<_> = (0..20).map(|sid| encrypted(one, &sid.to_string())).collect();
        assert_eq!(senders(&many).len(), limits::MESSAGES_PER_STANZA);
    }
}

#[test]
fn messages_of_components_and_servers_are_read_like_those_of_clients() {
    for namespace in Namespace::ALL {
        for stream in ["jabber:client", "jabber:server", "jabber:component:accept"] {
            let xml = format!("<message xmlns='{stream}'>{}</message>", encrypted(namespace, "5"));
            assert_eq!(message::parse(xml.as_bytes()).unwrap().sender_device, 5, "{stream}");
            let error = xml.replace("<message ", "<message type='error' ");
            assert!(message::parse(error.as_bytes()).is_err());
        }
        let xml = format!("<message xmlns='jabber:iq:private'>{}</message>", encrypted(namespace, "5"));
        assert!(message::parse(xml.as_bytes()).is_err());
    }
}

/// The messages of a recorded conversation, written by python-omemo.
fn flow(namespace: Namespace) -> Vec<String> {
    let text = match namespace {
        Omemo2 => include_str!("../data/vectors/flow_omemo2.json"),
        Legacy => include_str!("../data/vectors/flow_legacy.json"),
    };
    let flow: Value = serde_json::from_str(text).unwrap();
    flow["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|step| step["xml"].as_str())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_bytes_of_a_key_tell_whether_it_is_a_key_exchange() {
    for namespace in Namespace::ALL {
        let mark = if namespace == Omemo2 { "kex" } else { "prekey" };
        let (mut exchanges, mut plain) = (0, 0);
        for xml in flow(namespace) {
            let sound = message::parse(xml.as_bytes()).unwrap();
            let mut bare = xml.clone();
            for value in ["'true'", "\"true\"", "'1'", "\"1\""] {
                bare = bare.replace(&format!(" {mark}={value}"), "");
            }
            for value in ["true", "True", "TRUE", "1", "yes", "", "0", "false", "False", "no", " true "] {
                let marked = bare.replace("<key ", &format!("<key {mark}='{value}' "));
                assert_ne!(marked, bare);
                assert_eq!(message::parse(marked.as_bytes()).unwrap().keys, sound.keys, "{mark}='{value}'");
            }
            assert_eq!(message::parse(bare.as_bytes()).unwrap().keys, sound.keys, "no mark at all");
            exchanges += sound.keys.iter().filter(|key| key.key_exchange).count();
            plain += sound.keys.iter().filter(|key| !key.key_exchange).count();
        }
        assert!(exchanges >= 5 && plain >= 5, "{exchanges} {plain}");
    }
}

#[test]
fn a_message_says_whether_it_was_delayed() {
    let delayed = |beside: &str| {
        let xml = format!("<message xmlns='jabber:client'>{}{beside}</message>", encrypted(Omemo2, "1"));
        message::candidates(xml.as_bytes()).unwrap().delayed
    };
    assert!(delayed("<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>"));
    assert!(delayed("<x xmlns='jabber:x:delay' stamp='20260101T00:00:00'/>"));
    for other in ["", "<delay/>", "<delay xmlns='urn:x'/>", "<a><delay xmlns='urn:xmpp:delay'/></a>"] {
        assert!(!delayed(other), "{other}");
    }
}
