//! What is written is read again as it was, and bytes of every kind are read without a panic: drawn by proptest.

use crate::reading::{PUBSUB, sound_bundle};
use omemo::protocol::address::BareJid;
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::namespace::Namespace;
use omemo::stanza::envelope;
use omemo::stanza::pep::answer::{self, Asked};
use omemo::stanza::pep::push;
use omemo::stanza::{bundle, device_list, message};
use proptest::prelude::*;

fn namespaces() -> impl Strategy<Value = Namespace> {
    prop_oneof![Just(Namespace::Omemo2), Just(Namespace::Legacy)]
}

/// Public keys in Edwards form: points of the curve, as legacy can only carry these.
fn points() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>().prop_map(|seed| ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes())
}

fn signatures() -> impl Strategy<Value = [u8; 64]> {
    proptest::collection::vec(any::<u8>(), 64).prop_map(|bytes| {
        let mut signature: [u8; 64] = bytes.try_into().unwrap();
        signature[63] &= 0x1f;
        signature
    })
}

fn lists() -> impl Strategy<Value = DeviceList> {
    let label = "[a-zA-Z <>&'\"\n\t\r\u{e9}\u{1f600}]{0,40}";
    let device = (any::<u32>(), proptest::option::of((label, signatures())));
    (namespaces(), proptest::collection::vec(device, 0..20)).prop_map(|(namespace, entries)| {
        let mut devices: Vec<ListedDevice> = Vec::new();
        for (id, label) in entries {
            let (label, label_signature) = label.filter(|_| namespace == Namespace::Omemo2).unzip();
            if devices.iter().all(|device| device.id != id) {
                devices.push(ListedDevice { id, label, label_signature, as_read: None });
            }
        }
        DeviceList::of(namespace, devices)
    })
}

fn bundles() -> impl Strategy<Value = Bundle> {
    let pre_keys = proptest::collection::btree_map(any::<u32>(), any::<[u8; 32]>(), 0..30);
    (namespaces(), points(), any::<u32>(), any::<[u8; 32]>(), signatures(), pre_keys).prop_map(
        |(namespace, identity_key, signed_pre_key_id, signed_pre_key, signature, pre_keys)| Bundle {
            namespace,
            identity_key,
            signed_pre_key_id,
            signed_pre_key,
            signature,
            pre_keys: pre_keys.into_iter().map(|(id, key)| PublicPreKey { id, key }).collect(),
        },
    )
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max)
}

fn messages() -> impl Strategy<Value = Message> {
    let key = (0..3_usize, any::<u32>(), any::<bool>(), bytes(300));
    let keys = proptest::collection::vec(key, 0..20);
    (namespaces(), any::<u32>(), keys, proptest::option::of(bytes(500)), proptest::option::of(bytes(16)))
        .prop_map(|(namespace, sender_device, mut keys, payload, iv)| {
            let new = namespace == Namespace::Omemo2;
            // Written by JID, they come back by JID.
            keys.sort_by_key(|key| if new { key.0 } else { 0 });
            let jids = ["juliet@capulet.example", "stra\u{e7}e@b\u{fc}cher.example", "o\\27hara@x.example"];
            let keys = keys.into_iter().map(|(jid, device, key_exchange, bytes)| MessageKey {
                jid: new.then(|| BareJid::from_normalized(jids[jid])),
                device,
                key_exchange,
                bytes: Some(bytes),
            });
            Message {
                namespace,
                sender_device,
                keys: keys.collect(),
                payload: payload.filter(|payload| !new || !payload.is_empty()),
                iv: iv.filter(|_| !new),
            }
        })
}

/// Everything there is to be fed.
fn feed(xml: &[u8]) {
    let _ = device_list::parse(xml);
    let _ = bundle::parse(xml, Some(1));
    let _ = message::parse(xml);
    let _ = envelope::read_body(xml);
    let account = BareJid::from_normalized("romeo@montague.example");
    let asked = Asked { account: &account, jid: &account, node: None, item: None };
    let _ = answer::done(xml, &asked);
    let _ = push::parse(xml);
    for namespace in Namespace::ALL {
        let _ = answer::device_list(xml, namespace, &asked);
        let _ = answer::bundle(xml, namespace, 1, &asked);
        let _ = message::parse_in(xml, namespace);
    }
    if let Ok(text) = std::str::from_utf8(xml) {
        let _ = omemo::stanza::jid::bare(text);
    }
}

/// A sound stanza, and places to damage it.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let sound = prop_oneof![
        lists().prop_map(|list| device_list::write(&list)),
        bundles().prop_map(|bundle| bundle::write(&bundle).unwrap()),
        messages().prop_map(|message| message::write(&message)),
        Just(format!("<iq type='result'><pubsub xmlns='{PUBSUB}'><items><item id='1'>{}</item></items></pubsub></iq>", sound_bundle(1))),
        Just("<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>a&#13;<![CDATA[b]]><!-- c --></body></content><rpad/></envelope>".to_owned()),
    ];
    let piece = prop_oneof![
        Just("<"),
        Just(">"),
        Just("</"),
        Just("/>"),
        Just("<!"),
        Just("<!--"),
        Just("-->"),
        Just("--"),
        Just("<![CDATA["),
        Just("]]>"),
        Just("<?"),
        Just("?>"),
        Just("<?xml"),
        Just("&"),
        Just(";"),
        Just("&#"),
        Just("&#x"),
        Just("'"),
        Just("\""),
        Just("="),
        Just(" "),
        Just("xmlns"),
        Just(":"),
        Just("xmlns:a='b'"),
        Just("<!DOCTYPE"),
        Just("["),
        Just("]"),
        Just("\u{0}"),
        Just("\u{feff}"),
        Just("é"),
    ];
    (sound, proptest::collection::vec((any::<prop::sample::Index>(), 0..4_usize, piece, any::<u8>()), 1..6))
        .prop_map(|(sound, edits)| {
            let mut xml = sound.into_bytes();
            for (at, kind, piece, byte) in edits {
                let at = at.index(xml.len() + 1);
                let end = xml.len().min(at + usize::from(byte % 16));
                match kind {
                    0 => drop(xml.splice(at..at, piece.bytes())),
                    1 => drop(xml.splice(at..end, piece.bytes())),
                    2 => xml.truncate(at),
                    _ => drop(xml.splice(at..end, [byte])),
                }
            }
            xml
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn device_lists_come_back(list in lists()) {
        prop_assert_eq!(device_list::parse(device_list::write(&list).as_bytes()).unwrap(), list);
    }

    #[test]
    fn bundles_come_back(bundle in bundles()) {
        prop_assert_eq!(bundle::parse(bundle::write(&bundle).unwrap().as_bytes(), None).unwrap(), bundle);
    }

    #[test]
    fn messages_come_back(message in messages()) {
        prop_assert_eq!(message::parse(message::write(&message).as_bytes()).unwrap(), message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn arbitrary_bytes_never_panic(xml in bytes(200)) {
        feed(&xml);
    }

    #[test]
    fn arbitrary_markup_never_panics(xml in "[<>/!?&;#x'\"= :a\\-\\[\\]\\PC]{0,60}") {
        feed(xml.as_bytes());
    }

    #[test]
    fn mutated_stanzas_never_panic(xml in mutated()) {
        feed(&xml);
    }
}
