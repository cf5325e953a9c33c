//! What servers tell by themselves, and what real clients put on the wire.

use omemo::error::Status;
use omemo::protocol::address::BareJid;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::stanza::pep::answer::{self, Answer, Asked};
use omemo::stanza::pep::push::{self, Push, Pushed};
use omemo::stanza::{bundle, device_list, message};
use std::path::PathBuf;

const EVENT: &str = "http://jabber.org/protocol/pubsub#event";

fn list(namespace: Namespace) -> String {
    let name = if namespace == Omemo2 { "devices" } else { "list" };
    format!("<{name} xmlns='{}'><device id='7'/></{name}>", namespace.uri())
}

/// An event, alone and in messages of every kind of stream.
fn ways(event: &str) -> Vec<String> {
    let event = format!("<event xmlns='{EVENT}'>{event}</event>");
    let mut ways = vec![event.clone()];
    for stream in ["jabber:client", "jabber:server", "jabber:component:accept"] {
        ways.push(format!(
            "<message xmlns='{stream}' from='a@b' type='headline'>{event}<addresses xmlns='http://jabber.org/protocol/address'/></message>"
        ));
    }
    ways
}

fn parse(xml: &str) -> Push {
    push::parse(xml.as_bytes()).unwrap_or_else(|error| panic!("{error}: {xml}"))
}

#[test]
fn a_node_that_is_gone_is_told_from_a_list() {
    for namespace in Namespace::ALL {
        let node = namespace.device_list_node();
        for event in [
            format!("<items node='{node}'><retract id='current'/></items>"),
            format!("<items node='{node}'><retract id='a'/><retract id='b'/></items>"),
            format!("<purge node='{node}'/>"),
            format!("<delete node='{node}'/>"),
            format!("<delete node='{node}'><redirect uri='xmpp:a@c?;node={node}'/></delete>"),
        ] {
            for xml in ways(&event) {
                assert_eq!(parse(&xml), Push { pushed: Pushed::Gone(namespace), delayed: false }, "{xml}");
                assert_eq!(device_list::parse(xml.as_bytes()).unwrap_err().status(), Status::Malformed);
            }
        }
        for event in [
            format!("<items node='{node}'><item id='current'>{}</item></items>", list(namespace)),
            // An old item goes when a new one comes.
            format!(
                "<items node='{node}'><item id='current'>{}</item><retract id='a'/></items>",
                list(namespace)
            ),
            format!(
                "<items node='{node}'><retract id='a'/><item id='current'>{}</item></items>",
                list(namespace)
            ),
        ] {
            for xml in ways(&event) {
                let Pushed::List(found) = parse(&xml).pushed else { panic!("{xml}") };
                assert_eq!((found.namespace, found.devices[0].id), (namespace, 7));
            }
        }
        for event in [
            String::new(),
            "<items node='urn:xmpp:bookmarks:1'><retract id='current'/></items>".to_owned(),
            "<items><retract id='current'/></items>".to_owned(),
            "<purge/>".to_owned(),
            "<delete node='urn:xmpp:omemo:2:bundles'/>".to_owned(),
            format!("<configuration node='{node}'/>"),
            format!("<items node='{node}'/>"),
            format!("<items node='{node}'><x xmlns='y'><retract id='current'/></x></items>"),
            format!("<items node='{node}'><item id='current'/></items>"),
        ] {
            for xml in ways(&event) {
                assert_eq!(push::parse(xml.as_bytes()).expect_err(&xml).status(), Status::Malformed, "{xml}");
            }
        }
        let gone = format!("<event xmlns='{EVENT}'><purge node='{node}'/></event>");
        for xml in [
            format!("<message type='error'>{gone}</message>"),
            format!("<iq type='result'>{gone}</iq>"),
            format!(
                "<message><forwarded xmlns='urn:xmpp:forward:0'><message>{gone}</message></forwarded></message>"
            ),
            format!("<message>{gone}"),
        ] {
            assert!(push::parse(xml.as_bytes()).is_err(), "{xml}");
        }
    }
}

#[test]
fn a_push_says_whether_it_was_delayed() {
    for namespace in Namespace::ALL {
        let node = namespace.device_list_node();
        for event in [
            format!(
                "<event xmlns='{EVENT}'><items node='{node}'><item>{}</item></items></event>",
                list(namespace)
            ),
            format!("<event xmlns='{EVENT}'><purge node='{node}'/></event>"),
        ] {
            for delay in [
                "<delay xmlns='urn:xmpp:delay' stamp='2026-11-27T13:36:56Z'/>",
                "<d:delay xmlns:d='urn:xmpp:delay' from='b' stamp='2026-11-27T13:36:56Z'>Offline</d:delay>",
                "<x xmlns='jabber:x:delay' stamp='20261127T13:36:56'/>",
            ] {
                for xml in [
                    format!("<message>{event}{delay}</message>"),
                    format!("<message>{delay}{event}</message>"),
                ] {
                    assert!(parse(&xml).delayed && push::is_delayed(xml.as_bytes()), "{xml}");
                }
                // Somebody else's word inside of something else.
                let inside = format!("<message>{event}<x xmlns='y'>{delay}</x></message>");
                assert!(!parse(&inside).delayed);
            }
            for other in ["<delay xmlns='urn:x'/>", "<delay/>", "<x xmlns='urn:xmpp:delay'/>"] {
                assert!(!parse(&format!("<message>{event}{other}</message>")).delayed, "{other}");
            }
        }
    }
}

// ---- what Gajim 1.7 and Dino 0.4 wrote, as Prosody and ejabberd passed it on ----

/// The recorded stanzas: server, client, kind, and the stanza.
fn wire() -> Vec<(String, String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut parts = name.splitn(3, '-');
            let client = parts.nth(1).unwrap().to_owned();
            (client, parts.next().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn what_gajim_and_dino_write_is_read() {
    let account = BareJid::from_normalized("theirs@localhost");
    let (mut lists, mut bundles, mut messages) = (0, 0, 0);
    for (client, kind, xml) in wire() {
        if let Some(start) =
            xml.find("<list ").filter(|_| kind.starts_with("publish") || kind == "devicelist")
        {
            let end = xml.find("</list>").unwrap() + "</list>".len();
            let list = device_list::parse(&xml.as_bytes()[start..end]).unwrap();
            assert_eq!((list.namespace, list.ids().count(), list.unserveable().count()), (Legacy, 1, 0));
            assert!(list.devices[0].as_read.is_none(), "{client} writes nothing but ids");
            if kind == "devicelist" {
                let asked = Asked {
                    account: &account,
                    jid: &account,
                    node: Some(Legacy.device_list_node()),
                    item: None,
                };
                assert_eq!(answer::device_list(xml.as_bytes(), Legacy, &asked), Answer::Found(list));
            }
            lists += 1;
        } else if let Some(start) = xml.find("<bundle ") {
            let end = xml.find("</bundle>").unwrap() + "</bundle>".len();
            let found = bundle::parse(&xml.as_bytes()[start..end], None).unwrap();
            assert_eq!(found.pre_keys.len(), 100, "{client}");
            found.verify().expect("the signature is theirs");
            if client == "dino" {
                assert!(found.pre_keys.windows(2).any(|pair| pair[0].id > pair[1].id), "ids in mixed order");
            }
            // In the form in which it was published it is published again.
            let written = bundle::write(&found).unwrap();
            assert_eq!(bundle::parse(written.as_bytes(), None).unwrap(), found);
            if kind == "bundle" {
                let device: u32 =
                    xml.split(".bundles:").nth(1).unwrap().split('\'').next().unwrap().parse().unwrap();
                let node = Legacy.bundle_node(device);
                let asked = Asked { account: &account, jid: &account, node: Some(&node), item: None };
                assert_eq!(answer::bundle(xml.as_bytes(), Legacy, device, &asked), Answer::Found(found));
                let stranger = BareJid::from_normalized("stranger@localhost");
                let asked = Asked { jid: &stranger, ..asked };
                assert_eq!(answer::bundle(xml.as_bytes(), Legacy, device, &asked), Answer::Wrong);
            }
            bundles += 1;
        } else {
            let found = message::parse(xml.as_bytes()).unwrap();
            assert_eq!((found.namespace, found.iv.as_ref().map(Vec::len)), (Legacy, Some(12)));
            // Dino encrypts for its own sending device, too.
            let own = found.keys.iter().filter(|key| key.device == found.sender_device).count();
            assert_eq!(own, usize::from(client == "dino"));
            // The first key exchange of Gajim has no payload: it is sent as soon as there is a session.
            assert_eq!(found.payload.is_none(), client == "gajim" && kind == "message-0");
            let marked = xml.matches("prekey=").count();
            assert_eq!(found.keys.iter().filter(|key| key.key_exchange).count(), marked);
            messages += 1;
        }
    }
    assert_eq!((lists, bundles, messages), (4, 6, 4));
}

#[test]
fn what_gajim_and_dino_write_cut_off_anywhere_is_an_error() {
    for (_, kind, xml) in wire() {
        let xml = xml.trim_end();
        for end in (0..xml.len()).step_by(if xml.len() > 2_000 { 97 } else { 3 }) {
            let cut = &xml.as_bytes()[..end];
            assert!(bundle::parse(cut, None).is_err() && device_list::parse(cut).is_err(), "{kind}: {end}");
            assert!(message::parse(cut).is_err() && push::parse(cut).is_err(), "{kind}: {end}");
        }
    }
}
