//! Bundles as careless clients publish them, and their two forms of keys.

use crate::sample_bundle;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use omemo::error::Status;
use omemo::protocol::bundle::{Bundle, PublicPreKey};
use omemo::protocol::limits;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::bundle;

const NAMESPACES: [Namespace; 2] = Namespace::ALL;

/// A bundle whose identity key has this sign, with this many pre keys.
fn sample(namespace: Namespace, sign: u8, count: u32) -> Bundle {
    let pre_keys = (0..count).map(|id| PublicPreKey { id, key: [id as u8; 32] }).collect();
    Bundle { pre_keys, ..sample_bundle::with_sign(namespace, sign) }
}

fn pre_key(namespace: Namespace, id: &str, key: &str) -> String {
    match namespace {
        Namespace::Omemo2 => format!("<pk{id}>{key}</pk>"),
        Namespace::Legacy => format!("<preKeyPublic{}>{key}</preKeyPublic>", id.replace("id=", "preKeyId=")),
    }
}

fn key(namespace: Namespace, byte: u8) -> String {
    let mut bytes = vec![byte; 32];
    if namespace == Namespace::Legacy {
        bytes.insert(0, 5);
    }
    STANDARD.encode(bytes)
}

/// The sample with its pre keys replaced.
fn with(namespace: Namespace, pre_keys: &str) -> String {
    let xml = bundle::write(&sample(namespace, 0, 0)).unwrap();
    xml.replace("<prekeys/>", &format!("<prekeys>{pre_keys}</prekeys>"))
}

fn parse(xml: &str) -> Bundle {
    bundle::parse(xml.as_bytes(), None).unwrap_or_else(|error| panic!("{error}: {xml}"))
}

/// Pre keys that cannot be read.
fn unreadable(namespace: Namespace) -> Vec<String> {
    let good = key(namespace, 7);
    let bytes = STANDARD.decode(&good).unwrap();
    let mut list = vec![
        pre_key(namespace, " id='7'", "***"),
        pre_key(namespace, " id='7'", &format!("b'{good}'")),
        pre_key(namespace, " id='7'", ""),
        pre_key(namespace, " id='7'", &STANDARD.encode(&bytes[1..])),
        pre_key(namespace, " id='7'", &STANDARD.encode([bytes.clone(), vec![0]].concat())),
        pre_key(namespace, " id='7'", &"A".repeat(10_000)),
        pre_key(namespace, " id='7'", "\u{e9}"),
        pre_key(namespace, " id='-1'", &good),
        pre_key(namespace, " id='4294967296'", &good),
        pre_key(namespace, " id='x'", &good),
        pre_key(namespace, " id=''", &good),
        pre_key(namespace, "", &good),
    ];
    if namespace == Namespace::Legacy {
        // Without the type byte, and with another one.
        list.push(pre_key(namespace, " id='7'", &STANDARD.encode([7; 32])));
        list.push(pre_key(namespace, " id='7'", &STANDARD.encode([[6; 1].to_vec(), vec![7; 32]].concat())));
    }
    list
}

#[test]
fn f17_one_unreadable_pre_key_is_passed_over_wherever_it_stands() {
    for namespace in NAMESPACES {
        let good: Vec<String> =
            (100..200).map(|id| pre_key(namespace, &format!(" id='{id}'"), &key(namespace, 1))).collect();
        for bad in unreadable(namespace) {
            for place in [0, 50, 100] {
                let mut pre_keys = good.clone();
                pre_keys.insert(place, bad.clone());
                let read = parse(&with(namespace, &pre_keys.concat()));
                let ids: Vec<u32> = read.pre_keys.iter().map(|pre_key| pre_key.id).collect();
                assert_eq!(ids, (100..200).collect::<Vec<_>>(), "{bad}");
            }
            // Alone it leaves nothing to begin a session with.
            let error = bundle::parse(with(namespace, &bad).as_bytes(), None).expect_err(&bad);
            assert_eq!(error.status(), Status::Malformed);
        }
        let all_bad = unreadable(namespace).concat();
        assert!(bundle::parse(with(namespace, &all_bad).as_bytes(), None).is_err());
        assert_eq!(parse(&with(namespace, &(all_bad + &good[0]))).pre_keys.len(), 1);
        // XML that cannot be read is no single key.
        let broken = with(namespace, &format!("{}{}", good[0], pre_key(namespace, " id='1'", "&x;")));
        assert_eq!(bundle::parse(broken.as_bytes(), None).unwrap_err().status(), Status::Malformed);
    }
}

#[test]
fn of_more_pre_keys_than_the_limit_the_first_readable_ones_are_taken() {
    for namespace in NAMESPACES {
        let many = |count: usize| -> String {
            (0..count).map(|id| pre_key(namespace, &format!(" id='{id}'"), &key(namespace, 1))).collect()
        };
        for count in [limits::PRE_KEYS_PER_BUNDLE, 1_001, 2_500] {
            let bad = unreadable(namespace).concat();
            let read = parse(&with(namespace, &(bad + &many(count))));
            assert_eq!(read.pre_keys.len(), limits::PRE_KEYS_PER_BUNDLE);
            assert_eq!(read.pre_keys[999].id, 999);
            // What comes after the pre keys is read all the same.
            let parts = bundle::write(&sample(namespace, 0, 0)).unwrap();
            let (start, rest) = parts.split_once('>').unwrap();
            let rest = rest.replace("<prekeys/>", "");
            let first = parse(&format!("{start}><prekeys>{}</prekeys>{rest}", many(count)));
            assert_eq!((first.pre_keys.len(), first.signed_pre_key_id), (limits::PRE_KEYS_PER_BUNDLE, 4));
        }
    }
}

#[test]
fn a_prefixed_bundle_may_have_children_without_prefix() {
    for namespace in NAMESPACES {
        let bundle = sample(namespace, 1, 3);
        let plain = bundle::write(&bundle).unwrap();
        let prefixed = plain
            .replace(
                &format!("<bundle xmlns='{}'>", namespace.uri()),
                &format!("<o:bundle xmlns:o='{}'>", namespace.uri()),
            )
            .replace("</bundle>", "</o:bundle>");
        for xml in [
            prefixed.clone(),
            // Unprefixed, the children are in the namespace of what is around them.
            format!("<item xmlns='http://jabber.org/protocol/pubsub'>{prefixed}</item>"),
            format!("<items xmlns='http://jabber.org/protocol/pubsub#event'><item>{prefixed}</item></items>"),
            format!("<items xmlns='jabber:client'><item>{prefixed}</item></items>"),
            plain.replace("<prekeys>", "<prekeys xmlns=''>"),
        ] {
            assert_eq!(parse(&xml), bundle, "{xml}");
        }
        // Children of another namespace are none of ours.
        let foreign = plain.replace("<prekeys>", "<prekeys xmlns='urn:x'>");
        assert!(parse(&foreign).pre_keys.is_empty());
    }
}

#[test]
fn the_forms_of_keys_belong_together() {
    for namespace in NAMESPACES {
        for sign in [0, 1] {
            let bundle = sample(namespace, sign, 2);
            let (key, signature) = (bundle.published_identity_key().unwrap(), bundle.published_signature());
            match namespace {
                Namespace::Omemo2 => {
                    assert_eq!((key.as_slice(), signature), (&bundle.identity_key[..], bundle.signature))
                }
                Namespace::Legacy => {
                    assert_eq!((key.len(), key[0], signature[63] >> 7), (33, 5, sign));
                    assert_eq!(signature[..63], bundle.signature[..63]);
                }
            }
            let xml = bundle::write(&bundle).unwrap();
            assert!(xml.contains(&STANDARD.encode(&key)) && xml.contains(&STANDARD.encode(signature)));
        }
    }
}
