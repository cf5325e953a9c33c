//! What real clients of the legacy namespace write is read, and what we write is what the strictest of them reads.

use omemo::error::Status;
use omemo::protocol::limits;
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::messages::key_exchange::{KeyExchange, holds_exchange};
use omemo::protocol::messages::ratchet_message::RatchetMessage;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::stanza::{bundle, device_list, message};
use proptest::prelude::*;
use serde_json::Value;

fn parse(inner: &str) -> Message {
    let xml = format!("<encrypted xmlns='eu.siacs.conversations.axolotl'>{inner}</encrypted>");
    message::parse(xml.as_bytes()).unwrap_or_else(|error| panic!("{error}: {xml}"))
}

/// The stanzas of a recorded conversation.
fn stanzas(namespace: Namespace) -> Vec<String> {
    let name = if namespace == Legacy { "flow_legacy" } else { "flow_omemo2" };
    let path = format!("{}/tests/data/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let flow: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let steps = flow["steps"].as_array().unwrap();
    let replies = steps.iter().filter_map(|step| step["automatic_replies"].as_array()).flatten();
    steps.iter().chain(replies).map(|step| step["xml"].as_str().unwrap().to_owned()).collect()
}

/// The stanza with every mark of a key exchange taken off, or put on every key.
fn marked(xml: &str, mark: Option<&str>) -> String {
    let mut xml = xml.to_owned();
    for name in ["prekey", "kex"] {
        for value in ["true", "1", "false", "0"] {
            for quote in ['"', '\''] {
                xml = xml.replace(&format!(" {name}={quote}{value}{quote}"), "");
            }
        }
    }
    assert!(!xml.contains("prekey=") && !xml.contains("kex="));
    match mark {
        Some(mark) => xml.replace("<key ", &format!("<key prekey='{mark}' kex='{mark}' ")),
        None => xml,
    }
}

fn exchanges(xml: &str) -> Vec<bool> {
    message::parse(xml.as_bytes()).unwrap().keys.iter().map(|key| key.key_exchange).collect()
}

#[test]
fn a_mark_says_nothing_that_the_bytes_contradict() {
    for namespace in [Legacy, Omemo2] {
        let mut seen = [0, 0];
        for xml in stanzas(namespace) {
            let real = exchanges(&xml);
            for mark in [None, Some("1"), Some("true"), Some("0"), Some("false"), Some("True"), Some("")] {
                assert_eq!(exchanges(&marked(&xml, mark)), real, "{mark:?}: {xml}");
            }
            real.iter().for_each(|exchange| seen[usize::from(*exchange)] += 1);
        }
        assert!(seen.iter().all(|count| *count > 5), "{seen:?}: both kinds");
    }
}

/// All keys of the recorded conversation: those that are messages, and those that are key exchanges.
fn keys(exchange: bool) -> Vec<Vec<u8>> {
    let messages = stanzas(Legacy).into_iter().map(|xml| message::parse(xml.as_bytes()).unwrap());
    let keys = messages.flat_map(|message| message.keys);
    keys.filter(|key| key.key_exchange == exchange).map(|key| key.bytes.unwrap()).collect()
}

/// The fields of a protobuf message, whole.
fn fields(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    while let [tag, rest @ ..] = bytes {
        let mut len = rest.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        if tag & 7 == 2 {
            assert_eq!(len, 1, "short fields only");
            len += usize::from(rest[0]);
        }
        fields.push(bytes[..=len].to_vec());
        bytes = &bytes[len + 1..];
    }
    fields
}

#[test]
fn neither_order_nor_more_fields_mislead_about_a_key() {
    let more = b"\x7a\x03new";
    for key in keys(false) {
        let (inside, mac) = key[1..].split_at(key.len() - 9);
        let mut fields = fields(inside);
        assert_eq!(fields.len(), 4);
        for _ in 0..4 {
            fields.rotate_left(1);
            let bytes = [&[0x33], fields.concat().as_slice(), more, mac].concat();
            assert!(RatchetMessage::parse(Legacy, &bytes).is_ok());
            assert!(
                holds_exchange(Legacy, &bytes) != Some(true),
                "a message is never taken for a key exchange"
            );
        }
    }
    for key in keys(true) {
        let fields_of = fields(&key[1..]);
        let mut order = fields_of.clone();
        for _ in 0..fields_of.len() {
            order.rotate_left(1);
            let bytes = [&[0x33], order.concat().as_slice(), more].concat();
            assert!(KeyExchange::parse(Legacy, &bytes).is_ok());
            assert_eq!(holds_exchange(Legacy, &bytes), Some(true));
        }
        assert!(holds_exchange(Omemo2, &key) != Some(true));
        // Neither without a number of the pre key, nor without a message inside, nor of another version.
        for tag in [0x08, 0x22] {
            let fewer: Vec<Vec<u8>> = fields_of.iter().filter(|field| field[0] != tag).cloned().collect();
            assert_eq!(fewer.len() + 1, fields_of.len());
            assert!(holds_exchange(Legacy, &[&[0x33], fewer.concat().as_slice()].concat()) != Some(true));
        }
        assert!(holds_exchange(Legacy, &[&[0x23], &key[1..]].concat()) != Some(true));
    }
}

#[test]
fn children_come_in_any_order() {
    let key = "<key rid='2'>AA==</key>";
    let (iv, payload) = ("<iv>AAAAAAAAAAAAAAAA</iv>", "<payload>AQID</payload>");
    let read = parse(&format!("<header sid='1'>{key}{iv}</header>{payload}"));
    assert_eq!((read.payload.as_deref(), read.iv.as_deref()), (Some(&[1, 2, 3][..]), Some(&[0; 12][..])));
    for other in [
        format!("<header sid='1'>{iv}{key}</header>{payload}"),
        format!("{payload}<header sid='1'>{key}{iv}</header>"),
        format!("{payload}<header sid='1'>{iv}{key}</header>"),
        format!("<store/>\n{payload}\n<header sid=' 1 '>\n<x/>{iv}\n{key}\n</header>"),
    ] {
        assert_eq!(parse(&other), read, "{other}");
    }
}

#[test]
fn white_space_stands_anywhere_in_base64() {
    let spaced = |text: &str| text.chars().map(|c| format!("\r\n\t {c}")).collect::<String>() + " \n";
    let (key, iv, payload) = ("MwohBQ==", "AAECAwQFBgcICQoL", "AQID");
    let plain = parse(&format!(
        "<header sid='1'><key rid='2'>{key}</key><iv>{iv}</iv></header><payload>{payload}</payload>"
    ));
    let (key, iv, payload) = (spaced(key), spaced(iv), spaced(payload));
    let airy = parse(&format!(
        "<header sid='1'><key rid='2'>{key}</key><iv>{iv}</iv></header><payload>{payload}</payload>"
    ));
    assert_eq!(plain, airy);
    assert_eq!(plain.iv, Some((0..12).collect()));
}

#[test]
fn ivs_of_any_length_are_read_and_judged_later() {
    for bytes in [0, 1, 7, 12, 16, limits::MESSAGE_IV_BYTES] {
        let read = message::write(&Message { iv: Some(vec![9; bytes]), ..parse("<header sid='1'/>") });
        assert_eq!(message::parse(read.as_bytes()).unwrap().iv, Some(vec![9; bytes]));
    }
    // Of two the first counts.
    assert_eq!(parse("<header sid='1'><iv>AAAA</iv><iv>AQEB</iv></header>").iv.as_deref(), Some(&[0; 3][..]));
}

#[test]
fn ids_have_32_bits_and_other_ones_are_nobodys() {
    let read = parse(
        "<header sid='4294967295'><key rid='0'>AA==</key><key rid='2147483648'>AQ==</key>\
         <key rid='4294967295'>Ag==</key><key rid='4294967296'>Aw==</key><key rid='-1'>BA==</key>\
         <key rid='x'>BQ==</key><key>Bg==</key><key rid='7'>Bw==</key></header>",
    );
    assert_eq!(read.sender_device, u32::MAX);
    let ids: Vec<u32> = read.keys.iter().map(|key| key.device).collect();
    assert_eq!(ids, [0, 0x8000_0000, u32::MAX, 7]);
    let list =
        "<list xmlns='eu.siacs.conversations.axolotl'><device id='2147483648'/><device id='x'/></list>";
    let list = device_list::parse(list.as_bytes()).unwrap();
    assert_eq!(list.devices.iter().map(|device| device.id).collect::<Vec<_>>(), [0x8000_0000]);
}

#[test]
fn bundles_hold_any_ids_and_any_number_of_pre_keys() {
    // The base point of the curve, behind its 05.
    let point = "BQkAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let signature = "A".repeat(86) + "==";
    for (signed_id, ids) in [
        (0, vec![]),
        (0, vec![0]),
        (u32::MAX, vec![u32::MAX]),
        (1, vec![0, 0x7fff_ffff, 0x8000_0000]),
        (1, (1..=100).collect()),
    ] {
        let pre_keys: String =
            ids.iter().map(|id| format!("<preKeyPublic preKeyId='{id}'>{point}</preKeyPublic>")).collect();
        let xml = format!(
            "<bundle xmlns='eu.siacs.conversations.axolotl'><prekeys>{pre_keys}</prekeys>\
             <identityKey>{point}</identityKey><signedPreKeySignature>{signature}</signedPreKeySignature>\
             <signedPreKeyPublic signedPreKeyId='{signed_id}'>{point}</signedPreKeyPublic></bundle>"
        );
        let bundle = bundle::parse(xml.as_bytes(), None).unwrap();
        assert_eq!(bundle.signed_pre_key_id, signed_id);
        assert_eq!(bundle.pre_keys.iter().map(|key| key.id).collect::<Vec<_>>(), ids);
        assert_eq!(bundle.verify().unwrap_err().status(), Status::BundleBad, "it is read, and not believed");
    }
}

#[test]
fn what_is_written_is_what_the_strictest_client_reads() {
    let key =
        |device, key_exchange, byte| MessageKey { jid: None, device, key_exchange, bytes: Some(vec![byte]) };
    let message = Message {
        namespace: Legacy,
        sender_device: 27_183,
        keys: vec![key(31_415, false, 0), key(12_321, true, 1)],
        payload: Some(vec![2; 60]),
        iv: Some(vec![3; 12]),
    };
    assert_eq!(
        message::write(&message),
        format!(
            "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='27183'><key rid='31415'>AA==</key>\
             <key rid='12321' prekey='true'>AQ==</key><iv>AwMDAwMDAwMDAwMD</iv></header>\
             <payload>{}</payload></encrypted>",
            "AgIC".repeat(20)
        )
    );
    let empty = message::write(&Message { payload: None, ..message });
    assert!(empty.contains("<iv>") && !empty.contains("payload"), "{empty}");
}

proptest! {
    #[test]
    fn no_key_makes_the_search_for_marks_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..400_usize) {
        let _ = holds_exchange(Legacy, &bytes);
        for mut key in keys(true).into_iter().take(2) {
            key.truncate(cut);
            let _ = holds_exchange(Legacy, &key);
            if let Some(byte) = bytes.first() {
                let at = cut % key.len().max(1);
                key.iter_mut().skip(at).take(1).for_each(|there| *there = *byte);
                let _ = holds_exchange(Legacy, &key);
            }
        }
    }
}
