//! Traps of the legacy namespace that other implementations fell into, and what old clients write, through the C
//! functions. Traps have their numbers.

use crate::support;
use crate::support::{
    Client, Decrypted, JULIET, NS_LEGACY, ROMEO, RawDevice, Setup, TYBALT, World, abi, settle, status_name,
};

use crate::support::world::raw::gcm;
use omemo::protocol::limits;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace::Legacy;
use omemo::stanza::message;

fn online(world: &World, jid: &str) -> Client {
    let client = Client::with(world, jid, Setup { namespaces: Some(vec![NS_LEGACY]), ..Setup::default() });
    client.connect().ok();
    client
}

fn pair(world: &World) -> (Client, Client) {
    (online(world, ROMEO), online(world, JULIET))
}

/// A raw device that has begun a session with this client.
fn writing_to(world: &World, client: &Client) -> RawDevice {
    let mut raw = RawDevice::of(Legacy, ROMEO, 7);
    raw.begin(world, &client.jid, client.id());
    raw
}

#[track_caller]
fn reads(client: &Client, from: &str, stanza: &str, text: &str) -> Decrypted {
    let read = client.decrypt(from, stanza).unwrap();
    assert_eq!(read.body.as_deref(), Some(text), "{} {}: {stanza}", status_name(read.status), read.text);
    assert_eq!((read.action, read.status), (abi::ACTION_SHOW, abi::OK));
    read
}

/// The next message of a raw device, with a text as everybody sends it.
fn say(raw: &mut RawDevice, to: u32, text: &str) -> Message {
    let (key, iv) = ([3; 16], [4; 12]);
    let (payload, tag) = gcm(key, &iv, text.as_bytes());
    raw.transport(to, &[key, tag].concat(), Some(&payload), Some(&iv))
}

#[test]
fn r27_several_keys_with_our_id_are_each_tried() {
    let world = World::new(1);
    let (romeo, juliet) = pair(&world);
    // By chance a device of Tybalt's has the same id as Juliet's.
    let mut tybalt = RawDevice::of(Legacy, TYBALT, juliet.id());
    tybalt.announce(&world);
    for round in 0..12 {
        let text = format!("to both {round}");
        let stanza = romeo.seal(&[JULIET, TYBALT], &text);
        let mut message = message::parse(stanza.as_bytes()).unwrap();
        assert_eq!(message.keys.iter().filter(|key| key.device == juliet.id()).count(), 2);
        // Whoever's stands first.
        if round % 2 == 1 {
            message.keys.reverse();
        }
        reads(&juliet, ROMEO, &message::write(&message), &text);
        if round % 3 == 0 {
            juliet.say(&[ROMEO], "yes");
            settle(&[&romeo, &juliet]);
            assert!(romeo.read().contains(&"yes".to_owned()));
        }
    }
    assert_eq!(tybalt.accept_xml(&romeo.seal(&[TYBALT], "to him")).len(), 32);
}

#[test]
fn keys_of_any_kind_may_stand_beside_ours() {
    let world = World::new(1);
    let (romeo, juliet) = pair(&world);
    let stranger = online(&world, TYBALT);
    let mut other = writing_to(&world, &stranger);
    let foreign = other.transport(juliet.id(), &[1; 32], None, None).keys.remove(0);
    let noise = |bytes: Option<Vec<u8>>, key_exchange| {
        let mut key = foreign.clone();
        (key.bytes, key.key_exchange) = (bytes, key_exchange);
        key
    };
    let decoys = [
        foreign.clone(),
        noise(Some(vec![0x33]), false),
        noise(Some(Vec::new()), true),
        noise(Some(vec![0xff; 100]), false),
        noise(foreign.bytes.clone(), false),
    ];
    let last = limits::KEYS_TRIED - 1;
    for (round, before) in [0, 1, 2, 5, last, 0, 1, 5].into_iter().enumerate() {
        let text = format!("text {round}");
        let mut message = message::parse(romeo.seal(&[JULIET], &text).as_bytes()).unwrap();
        let ours = message.keys.remove(0);
        message.keys = decoys.iter().cycle().take(before).cloned().collect();
        // Without ours it fails, and that changes nothing.
        if before > 0 {
            let refused = juliet.decrypt(ROMEO, &message::write(&message)).unwrap();
            assert_eq!((refused.action, refused.plaintext), (abi::ACTION_WARN, None));
            assert!(refused.status < 0, "{}", status_name(refused.status));
        }
        message.keys.push(ours);
        message.keys.extend(decoys.iter().cloned());
        reads(&juliet, ROMEO, &message::write(&message), &text);
        if round == 4 {
            // From now on without key exchanges.
            settle(&[&romeo, &juliet]);
            romeo.receive();
        }
    }
}

/// What is odd, what goes through the ratchet, payload and IV, and what that is called.
type Odd<'a> = (&'a str, &'a [u8], &'a [u8], Option<&'a [u8]>, i32);

#[test]
fn r28_odd_keys_tags_and_ivs_have_their_names_and_change_nothing() {
    let world = World::new(1);
    let juliet = online(&world, JULIET);
    let mut raw = writing_to(&world, &juliet);
    let (key, iv) = ([3; 16], [4; 12]);
    let (payload, tag) = gcm(key, &iv, b"text");
    let whole = [payload.as_slice(), &tag].concat();
    let good = [key, tag].concat();
    let long = [good.as_slice(), &[0; 16]].concat();
    let wrong = [key, [0; 16]].concat();
    let odd: Vec<Odd<'_>> = vec![
        ("no key", &[], &payload, Some(&iv), abi::ERR_MALFORMED),
        ("a key of 15 bytes", &good[..15], &payload, Some(&iv), abi::ERR_MALFORMED),
        ("a tag of 1 byte", &good[..17], &payload, Some(&iv), abi::ERR_MALFORMED),
        ("a tag of 12 bytes", &good[..28], &payload, Some(&iv), abi::ERR_MALFORMED),
        ("a tag of 15 bytes", &good[..31], &payload, Some(&iv), abi::ERR_MALFORMED),
        ("a tag of 32 bytes", &long, &payload, Some(&iv), abi::ERR_MALFORMED),
        ("another tag", &wrong, &payload, Some(&iv), abi::ERR_DECRYPTION_FAILED),
        ("no tag anywhere", &key, &payload, Some(&iv), abi::ERR_MALFORMED),
        ("no tag where it should be", &key, &[0; 20], Some(&iv), abi::ERR_DECRYPTION_FAILED),
        ("no payload where a tag should be", &key, &[], Some(&iv), abi::ERR_MALFORMED),
        ("the tag twice", &good, &whole, Some(&iv), abi::ERR_DECRYPTION_FAILED),
        ("no IV", &good, &payload, None, abi::ERR_MALFORMED),
        ("an IV of 0 bytes", &good, &payload, Some(&[]), abi::ERR_MALFORMED),
        ("an IV of 7 bytes", &good, &payload, Some(&[4; 7]), abi::ERR_MALFORMED),
        ("an IV of 8 bytes", &good, &payload, Some(&[4; 8]), abi::ERR_MALFORMED),
        ("an IV of 64 bytes", &good, &payload, Some(&[4; 64]), abi::ERR_MALFORMED),
        ("an IV of 65 bytes", &good, &payload, Some(&[4; 65]), abi::ERR_LIMIT),
        ("an IV of 16 bytes that was none", &good, &payload, Some(&[4; 16]), abi::ERR_DECRYPTION_FAILED),
    ];
    // As a key exchange, and in the session that comes of one.
    for begun in [false, true] {
        if begun {
            reads(&juliet, ROMEO, &message::write(&say(&mut raw, juliet.id(), "begin")), "begin");
        }
        for (what, material, payload, iv, expected) in &odd {
            let commits = juliet.store.commits();
            let stanza = message::write(&raw.transport(juliet.id(), material, Some(payload), *iv));
            for _ in 0..2 {
                let refused = juliet.decrypt(ROMEO, &stanza).unwrap();
                assert_eq!(
                    (refused.status, refused.action),
                    (*expected, abi::ACTION_WARN),
                    "{what}: {}",
                    refused.text
                );
                assert_eq!((&refused.plaintext, &refused.key, refused.flags), (&None, &None, 0), "{what}");
            }
            assert_eq!(juliet.store.commits(), commits, "{what}: nothing is stored");
        }
    }
    let read = reads(&juliet, ROMEO, &message::write(&say(&mut raw, juliet.id(), "after all")), "after all");
    assert_eq!(read.flags, 0);
}

#[test]
fn f14_a_tag_in_the_payload_is_read_and_flagged() {
    let world = World::new(1);
    let juliet = online(&world, JULIET);
    let mut raw = writing_to(&world, &juliet);
    let key = [5; 16];
    for (round, iv) in [&[6; 12][..], &[6; 16], &[7; 12]].into_iter().enumerate() {
        let (payload, tag) = gcm(key, iv, b"an old one");
        let whole = [payload.as_slice(), &tag].concat();
        let old = raw.transport(juliet.id(), &key, Some(&whole), Some(iv));
        let read = reads(&juliet, ROMEO, &message::write(&old), "an old one");
        let new_session = if round == 0 { abi::DECRYPTED_NEW_SESSION } else { 0 };
        assert_eq!(read.flags, abi::DECRYPTED_TAG_IN_PAYLOAD | new_session);
        let parts = read.key.unwrap();
        assert_eq!((parts.key.as_slice(), parts.tag, parts.iv.as_deref()), (&key[..], None, Some(iv)));
        let new = raw.transport(juliet.id(), &[key, tag].concat(), Some(&payload), Some(iv));
        let read = reads(&juliet, ROMEO, &message::write(&new), "an old one");
        assert_eq!(read.flags, 0);
        assert_eq!(read.key.unwrap().tag.as_deref(), Some(&tag[..]));
        // Without payload there is nothing that the tag could be missing from.
        let empty = raw.transport(juliet.id(), &key, None, Some(iv));
        assert_eq!(juliet.decrypt(ROMEO, &message::write(&empty)).unwrap().flags, 0);
    }
}

#[test]
fn recorded_payloads_of_old_clients_are_read() {
    let path = format!("{}/tests/data/vectors/kdf_aead_payload_legacy.json", env!("CARGO_MANIFEST_DIR"));
    let all: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let hex = |case: &str, name: &str| -> Vec<u8> {
        let text = all[case][name].as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let world = World::new(1);
    let juliet = online(&world, JULIET);
    let mut raw = writing_to(&world, &juliet);
    let (long_iv, in_payload) = ("payload_iv16", "payload_tag_in_payload");
    let key_and_tag = [hex(long_iv, "key"), hex(long_iv, "auth_tag")].concat();
    for (case, key, payload, flags) in [
        (long_iv, key_and_tag, "ciphertext", abi::DECRYPTED_NEW_SESSION),
        (
            in_payload,
            hex(in_payload, "key_sent_through_the_ratchet"),
            "payload_element",
            abi::DECRYPTED_TAG_IN_PAYLOAD,
        ),
    ] {
        let (payload, iv) = (hex(case, payload), hex(case, "iv"));
        let stanza = message::write(&raw.transport(juliet.id(), &key, Some(&payload), Some(&iv)));
        let read = juliet.decrypt(ROMEO, &stanza).unwrap();
        assert_eq!((read.action, read.flags), (abi::ACTION_SHOW, flags), "{case}: {}", read.text);
        assert_eq!(read.plaintext, Some(hex(case, "plaintext")), "{case}");
    }
}

#[test]
fn an_empty_text_is_refused_before_anything_happens() {
    use std::ffi::CString;
    use std::ptr::null;
    for namespace in [NS_LEGACY, support::NS_2] {
        let world = World::new(1);
        let setup = || Setup { namespaces: Some(vec![namespace]), ..Setup::default() };
        let (romeo, juliet) = (Client::with(&world, ROMEO, setup()), Client::with(&world, JULIET, setup()));
        romeo.connect().ok();
        juliet.connect().ok();
        let asked = world.journal().len();
        let name = CString::new(namespace).unwrap();
        let ns = name.as_ptr();
        #[expect(unsafe_code, reason = "it calls C functions")]
        let set: [&dyn Fn(*mut abi::Opaque) -> i32; 4] = [
            // SAFETY: a live draft, and strings that live for their calls.
            &|draft| unsafe { abi::omemo_draft_set_body(draft, c"".as_ptr()) },
            // SAFETY: the same.
            &|draft| unsafe { abi::omemo_draft_set_plaintext(draft, ns, b"x".as_ptr(), 0) },
            // SAFETY: the same.
            &|draft| unsafe { abi::omemo_draft_set_plaintext(draft, ns, null(), 0) },
            &|_| abi::ERR_PLAINTEXT, // nothing is set
        ];
        for (number, set) in set.into_iter().enumerate() {
            let started = romeo.start_draft(&[JULIET], |draft| {
                let status = set(draft);
                assert!(status == abi::ERR_PLAINTEXT || status == -1, "{number}: {}", status_name(status));
            });
            let status = started.expect_err("it does not start");
            assert!(status == abi::ERR_PLAINTEXT || status == -1, "{number}: {}", status_name(status));
        }
        assert_eq!(world.journal().len(), asked, "nobody was asked anything");
        assert!(romeo.devices(JULIET).is_empty());
        reads(&juliet, ROMEO, &romeo.seal(&[JULIET], "."), ".");
    }
}

#[test]
fn r30_a_received_key_comes_with_the_iv_that_was_sent() {
    let world = World::new(1);
    let juliet = online(&world, JULIET);
    let mut raw = writing_to(&world, &juliet);
    let (key, iv) = ([8; 16], [9; 16]);
    for tag in [None, Some([10; 16])] {
        let material = [&key[..], tag.as_ref().map_or(&[], |tag| &tag[..])].concat();
        let stanza = message::write(&raw.transport(juliet.id(), &material, None, Some(&iv)));
        let read = juliet.decrypt(ROMEO, &stanza).unwrap();
        assert_eq!((read.status, read.action, &read.plaintext), (abi::OK, 0, &None));
        let parts = read.key.unwrap();
        assert_eq!((parts.key, parts.iv), (key.to_vec(), Some(iv.to_vec())));
        assert_eq!(parts.tag, tag.map(|tag| tag.to_vec()));
    }
}

/// How somebody writes, and what makes that of a stanza of ours.
type Way<'a> = (&'a str, &'a dyn Fn(&str) -> String);

#[test]
fn old_clients_are_read_however_they_arrange_and_mark_a_message() {
    let world = World::new(1);
    let (romeo, juliet) = pair(&world);
    let spaced = |xml: &str| {
        let key = xml.split_once("'>").unwrap().0.len();
        let (head, rest) = xml.split_at(key);
        head.to_owned() + &rest.replace("</", "\n </").replace("'>", "'>\n\t")
    };
    let between = |xml: &str, element: &str| {
        let start = xml.find(&format!("<{element}>")).unwrap();
        let end = xml.find(&format!("</{element}>")).unwrap() + element.len() + 3;
        xml[start..end].to_owned()
    };
    let ways: [Way<'_>; 8] = [
        ("as it stands", &str::to_owned),
        ("prekey 1 and 0", &|xml| {
            let mark = if xml.contains("prekey") { "1" } else { "0" };
            xml.replace(" prekey='true'", "").replace("<key ", &format!("<key prekey='{mark}' "))
        }),
        ("no prekey anywhere", &|xml| xml.replace(" prekey='true'", "")),
        ("the IV first", &|xml| {
            let iv = between(xml, "iv");
            xml.replace(&iv, "").replacen("<key ", &format!("{iv}<key "), 1)
        }),
        ("the payload first", &|xml| {
            let payload = between(xml, "payload");
            xml.replace(&payload, "").replacen("<header ", &format!("{payload}<header "), 1)
        }),
        ("white space", &spaced),
        ("in a message", &|xml| {
            format!("<message xmlns='jabber:client'><body>no</body>{xml}<store/></message>")
        }),
        ("false where it is none", &|xml| match xml.contains("prekey") {
            true => xml.to_owned(),
            false => xml.replace("<key ", "<key prekey='false' "),
        }),
    ];
    for confirmed in [false, true] {
        for (way, change) in &ways {
            let stanza = romeo.seal(&[JULIET], way);
            assert_ne!(stanza.contains("prekey='true'"), confirmed);
            reads(&juliet, ROMEO, &change(&stanza), way);
        }
        settle(&[&romeo, &juliet]);
        romeo.receive();
    }
}

#[test]
fn the_low_half_of_the_version_is_the_senders_affair() {
    let world = World::new(1);
    let juliet = online(&world, JULIET);
    let mut raw = writing_to(&world, &juliet);
    for low in 0..16 {
        let mut message = say(&mut raw, juliet.id(), "text");
        message.keys[0].bytes.as_mut().unwrap()[0] = 0x30 | low;
        reads(&juliet, ROMEO, &message::write(&message), "text");
        message.keys[0].bytes.as_mut().unwrap()[0] = 0x23;
        assert_eq!(juliet.decrypt(ROMEO, &message::write(&message)).unwrap().status, abi::ERR_MALFORMED);
    }
}

#[test]
fn pre_keys_have_any_id_and_a_bundle_any_number_of_them() {
    let world = World::new(1);
    let romeo = online(&world, ROMEO);
    for (device, signed, ids) in [
        (1, 0, &[0][..]),
        (2, u32::MAX, &[u32::MAX]),
        (3, 0x7fff_ffff, &[0x8000_0000]),
        (0x7fff_ffff, 1, &[0, 5, 0x7fff_ffff]),
    ] {
        let mut raw =
            RawDevice::with_pre_keys(Legacy, &format!("device{device}@capulet.lit"), device, signed, ids);
        raw.announce(&world);
        assert_eq!(raw.accept_xml(&romeo.seal(&[raw.jid.as_str()], "text")).len(), 32, "{device}");
    }
}

#[test]
fn a_bundle_without_pre_keys_costs_its_own_device_only() {
    let world = World::new(1);
    let (romeo, juliet) = pair(&world);
    let empty = RawDevice::with_pre_keys(Legacy, TYBALT, 9, 1, &[]);
    empty.announce(&world);
    let refused = romeo.encrypt(&[TYBALT], "text");
    assert_eq!(
        (refused.status, refused.row(TYBALT, 9)),
        (abi::ERR_NO_ELIGIBLE_DEVICES, Some(abi::ERR_BUNDLE_BAD))
    );
    // Beside a sound device of the same account it is a row.
    let sound = online(&world, TYBALT);
    world.publish_list(
        NS_LEGACY,
        TYBALT,
        &format!("<list xmlns='{NS_LEGACY}'><device id='9'/><device id='{}'/></list>", sound.id()),
    );
    romeo.receive();
    let sent = romeo.encrypt(&[TYBALT, JULIET], "text").ok();
    assert_eq!(sent.row(TYBALT, 9), Some(abi::ERR_BUNDLE_BAD));
    assert_eq!(sent.row(TYBALT, sound.id()), Some(abi::OK));
    reads(&sound, ROMEO, &sent.messages[0], "text");
    reads(&juliet, ROMEO, &sent.messages[0], "text");
}

#[test]
fn ids_beyond_the_rules_harm_nobody_else() {
    let world = World::new(1);
    let (romeo, juliet) = pair(&world);
    // In the list of the recipient, and among the keys of a message.
    let list = format!(
        "<list xmlns='{NS_LEGACY}'><device id='2147483648'/><device id='4294967295'/><device id='0'/><device id='{}'/></list>",
        juliet.id()
    );
    world.publish_list(NS_LEGACY, JULIET, &list);
    let stanza = romeo.seal(&[JULIET], "text");
    let more = "<key rid='2147483648'>AA==</key><key rid='-1'>AA==</key><key rid='99999999999'>?</key><key ";
    reads(&juliet, ROMEO, &stanza.replacen("<key ", more, 1), "text");
    // As the sender's it is nobody's.
    let stanza = romeo.seal(&[JULIET], "more");
    for sid in ["2147483648", "4294967295", "0", "4294967296", "-1"] {
        let own = format!("sid='{}'", romeo.id());
        let refused = juliet.decrypt(ROMEO, &stanza.replacen(&own, &format!("sid='{sid}'"), 1)).unwrap();
        assert_eq!((refused.status, refused.action), (abi::ERR_MALFORMED, abi::ACTION_WARN), "{sid}");
    }
    reads(&juliet, ROMEO, &stanza, "more");
}
