//! XML as real clients and servers send it, and as they should not.
//!
//! Tests that answer for a known failure of another implementation bear its number (R20, R26, ...).

use omemo::error::Status;
use omemo::protocol::address::BareJid;
use omemo::protocol::limits;
use omemo::protocol::message::{Message, MessageKey};
use omemo::protocol::namespace::Namespace;
use omemo::stanza::{bundle, device_list, message};
use serde_json::Value;

const KEY: &str = "m3YBvIoeqwQtgXlq2SNPKjXvZPHaHTmdIah/NVauCBg=";
const SIGNATURE: &str =
    "GdOAcInJMK7Mcy8USBkGlnn2CK6jWC9BaZbF3CKMO4sBWo+eELfpzBIYUnBmtnlRbsV5ladc2DQ9JY/FkA5yDQ==";
pub(crate) const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const EVENT: &str = "http://jabber.org/protocol/pubsub#event";

fn ids(xml: &str) -> Vec<u32> {
    device_list::parse(xml.as_bytes()).expect(xml).devices.iter().map(|device| device.id).collect()
}

fn devices(inner: &str) -> String {
    format!("<devices xmlns='urn:xmpp:omemo:2'>{inner}</devices>")
}

fn bundle_xml(inner: &str) -> String {
    format!("<bundle xmlns='urn:xmpp:omemo:2'>{inner}</bundle>")
}

pub(crate) fn sound_bundle(spk_id: u32) -> String {
    bundle_xml(&format!(
        "<spk id='{spk_id}'>{KEY}</spk><spks>{SIGNATURE}</spks><ik>{KEY}</ik><prekeys><pk id='1'>{KEY}</pk></prekeys>"
    ))
}

fn parse_message(xml: &str) -> Message {
    message::parse(xml.as_bytes()).expect(xml)
}

fn message_status(xml: &str) -> Status {
    message::parse(xml.as_bytes()).expect_err(xml).status()
}

fn encrypted(inner: &str) -> String {
    format!("<encrypted xmlns='urn:xmpp:omemo:2'>{inner}</encrypted>")
}

fn legacy(inner: &str) -> String {
    format!("<encrypted xmlns='eu.siacs.conversations.axolotl'>{inner}</encrypted>")
}

// ---- the way in ----

#[test]
fn the_element_is_found_alone_and_in_every_wrapper() {
    let element = devices("<device id='7'/>");
    let item = format!("<item id='current'>{element}</item>");
    let items = format!("<items node='urn:xmpp:omemo:2:devices'>{item}</items>");
    for xml in [
        element.clone(),
        item.clone(),
        format!("<item xmlns='{PUBSUB}' id='current'>{element}</item>"),
        items.clone(),
        format!("<pubsub xmlns='{PUBSUB}'>{items}</pubsub>"),
        format!("<event xmlns='{EVENT}'>{items}</event>"),
        format!(
            "<iq xmlns='jabber:client' type='result' id='1'><pubsub xmlns='{PUBSUB}'>{items}</pubsub></iq>"
        ),
        format!("<iq type='result'><pubsub xmlns='{PUBSUB}'>{items}</pubsub></iq>"),
        format!(
            "<message xmlns='jabber:client' from='a@b'><x xmlns='y'/><event xmlns='{EVENT}'>{items}</event><addresses xmlns='z'/></message>"
        ),
        format!("<?xml version='1.0'?>\n{element}\n"),
        format!("<p:pubsub xmlns:p='{PUBSUB}'><p:items><p:item>{element}</p:item></p:items></p:pubsub>"),
    ] {
        assert_eq!(ids(&xml), [7], "{xml}");
    }
}

#[test]
fn strangers_and_requests_are_not_looked_into() {
    let element = devices("<device id='7'/>");
    let items = format!("<pubsub xmlns='{PUBSUB}'><items><item>{element}</item></items></pubsub>");
    for xml in [
        format!("<x xmlns='y'>{element}</x>"),
        format!(
            "<message xmlns='jabber:client'><forwarded xmlns='urn:xmpp:forward:0'>{element}</forwarded></message>"
        ),
        format!("<iq type='set'>{items}</iq>"),
        format!("<iq type='get'>{items}</iq>"),
        format!("<iq type='error'>{items}</iq>"),
        format!("<pubsub xmlns='{PUBSUB}'><publish><item>{element}</item></publish></pubsub>"),
        format!("<pubsub xmlns='other'><items><item>{element}</item></items></pubsub>"),
        "<devices xmlns='urn:xmpp:omemo:1'><device id='7'/></devices>".to_owned(),
        "<devices><device id='7'/></devices>".to_owned(),
        "<list xmlns='urn:xmpp:omemo:2'><device id='7'/></list>".to_owned(),
        "<x:devices><x:device id='7'/></x:devices>".to_owned(),
    ] {
        assert_eq!(device_list::parse(xml.as_bytes()).expect_err(&xml).status(), Status::Malformed, "{xml}");
    }
}

#[test]
fn of_several_items_current_counts_else_the_last() {
    let item =
        |id: &str, device: u32| format!("<item{id}>{}</item>", devices(&format!("<device id='{device}'/>")));
    let list = |items: &[String]| {
        ids(&format!("<pubsub xmlns='{PUBSUB}'><items>{}</items></pubsub>", items.concat()))
    };
    assert_eq!(list(&[item(" id='a'", 1), item(" id='current'", 2), item(" id='b'", 3)]), [2]);
    assert_eq!(list(&[item(" id='a'", 1), item(" id='b'", 2)]), [2]);
    assert_eq!(list(&[item("", 1), item("", 2)]), [2]);
    assert_eq!(list(&[item(" id='1'", 9)]), [9]);
    // Hundreds of old items, as a server sent them that ignores max_items.
    let many: Vec<String> = (0..187).map(|i| item(&format!(" id='{i}'"), i)).collect();
    assert_eq!(list(&many), [186]);
    // What is wrong with an item that does not count is nobody's business.
    let broken = format!("<item id='a'>{}</item>", bundle_xml("<spk/>"));
    let sound = format!("<item id='5'>{}</item>", sound_bundle(5));
    let xml = format!("<items>{broken}{sound}</items>");
    assert_eq!(bundle::parse(xml.as_bytes(), Some(5)).unwrap().signed_pre_key_id, 5);
}

// ---- device lists ----

#[test]
fn r20_unknown_attributes_and_children_are_ignored() {
    assert_eq!(
        ids(&devices(
            "<x xmlns='y'><device xmlns='urn:xmpp:omemo:2' id='1'/></x><device id='2' a='b' c:d='e' xmlns:c='f'><g/></device><device xmlns='y' id='3'/>"
        )),
        [2]
    );
    let xml = bundle_xml(&format!(
        "\n<prekeys a='b'><x/><pk id='9' b='c'>\n{KEY}\n</pk><pk xmlns='y' id='8'>!</pk></prekeys><x xmlns='y'/><ik>{KEY}</ik><new>1</new><spks>{SIGNATURE}</spks><spk id='3'>{KEY}<x/></spk>"
    ));
    let bundle = bundle::parse(xml.as_bytes(), None).unwrap();
    assert_eq!((bundle.signed_pre_key_id, bundle.pre_keys.len(), bundle.pre_keys[0].id), (3, 1, 9));
    let message = parse_message(&encrypted(
        "<x xmlns='y'/><header sid='1' v='2'><new/><keys jid='a@b' z='1'><other/><key rid='2' q='r'>AAAA</key></keys></header><opt/>",
    ));
    assert_eq!(message.keys.len(), 1);
}

#[test]
fn device_ids_are_read_once_each_and_bad_ones_passed_over() {
    assert_eq!(
        ids(&devices(
            "<device id='5'/><device id='0'/><device id='4294967295'/><device id='4294967296'/><device id='-1'/><device id='x'/><device/><device id='5'/><device id=' 6 '/>"
        )),
        [5, 0, u32::MAX, 6]
    );
    let all: String =
        (1..=limits::DEVICES_PER_JID).map(|id| format!("<device id='{id}'/><device id='{id}'/>")).collect();
    assert_eq!(ids(&devices(&all)).len(), limits::DEVICES_PER_JID);
    let error = device_list::parse(devices(&(all + "<device id='1000'/>")).as_bytes()).unwrap_err();
    assert_eq!(error.status(), Status::Limit);
}

#[test]
fn labels_count_with_a_sound_signature_only() {
    let label = |attributes: &str| {
        device_list::parse(devices(&format!("<device id='1' {attributes}/>")).as_bytes()).unwrap().devices[0]
            .clone()
    };
    let good = label(&format!("label='Gajim &amp; co' labelsig='{SIGNATURE}'"));
    assert_eq!(good.label.as_deref(), Some("Gajim & co"));
    assert!(good.label_signature.is_some());
    let long = "x".repeat(limits::LABEL_CHARS + 1);
    for attributes in [
        // QXmpp publishes labels without signatures.
        "label='Kaidan'".to_owned(),
        format!("labelsig='{SIGNATURE}'"),
        "label='a' labelsig=''".to_owned(),
        "label='a' labelsig='AAAA'".to_owned(),
        "label='a' labelsig='***'".to_owned(),
        format!("label='a' labelsig='AAAA{SIGNATURE}'"),
        format!("label='{long}' labelsig='{SIGNATURE}'"),
    ] {
        let device = label(&attributes);
        assert_eq!((device.id, device.label, device.label_signature), (1, None, None), "{attributes}");
    }
    let legacy = format!(
        "<list xmlns='eu.siacs.conversations.axolotl'><device id='1' label='a' labelsig='{SIGNATURE}'/></list>"
    );
    assert_eq!(device_list::parse(legacy.as_bytes()).unwrap().devices[0].label, None);
}

// ---- bundles ----

#[test]
fn bundles_without_what_concerns_us_are_malformed() {
    let (spk, spks, ik) =
        (format!("<spk id='1'>{KEY}</spk>"), format!("<spks>{SIGNATURE}</spks>"), format!("<ik>{KEY}</ik>"));
    // 33 bytes with a leading 05, as old QXmpp published them.
    let prefixed = "BaXrPh9SKBs9Jj0abNz7XnlBrA/+OjDxLyY8ign4wQVr";
    for inner in [
        format!("{spks}{ik}"),
        format!("{spk}{ik}"),
        format!("{spk}{spks}"),
        format!("<spk>{KEY}</spk>{spks}{ik}"),
        format!("<spk id='x'>{KEY}</spk>{spks}{ik}"),
        format!("<spk id='1'>{prefixed}</spk>{spks}{ik}"),
        format!("<spk id='1'></spk>{spks}{ik}"),
        format!("<spk id='1'>AAAA</spk>{spks}{ik}"),
        format!("{spk}<spks>{KEY}</spks>{ik}"),
        format!("{spk}{spks}<ik>{prefixed}</ik>"),
        format!("{spk}{spks}<ik>***</ik>"),
        format!("{spk}{spks}{ik}<prekeys><pk id='1'>{prefixed}</pk></prekeys>"),
        format!("{spk}{spks}{ik}<prekeys><pk>{KEY}</pk></prekeys>"),
    ] {
        let error = bundle::parse(bundle_xml(&inner).as_bytes(), None).expect_err(&inner);
        assert_eq!(error.status(), Status::Malformed, "{inner}");
    }
}

#[test]
fn bundles_may_hold_any_number_of_pre_keys_up_to_the_limit() {
    let with = |prekeys: &str| {
        bundle::parse(
            bundle_xml(&format!("<spk id='0'>{KEY}</spk><spks>{SIGNATURE}</spks><ik>{KEY}</ik>{prekeys}"))
                .as_bytes(),
            None,
        )
    };
    assert!(with("").unwrap().pre_keys.is_empty());
    assert!(with("<prekeys/>").unwrap().pre_keys.is_empty());
    // Converse.js counts from 0 and ends its base64 with a line break.
    let converse = with(&format!("<prekeys><pk id='0'>{KEY}\n</pk></prekeys>")).unwrap();
    assert_eq!((converse.signed_pre_key_id, converse.pre_keys[0].id), (0, 0));
    let twice = with(&format!("<prekeys><pk id='1'>{KEY}</pk><pk id='1'>{KEY}</pk></prekeys>")).unwrap();
    assert_eq!(twice.pre_keys.len(), 1);
    let many = |n: usize| (0..n).map(|id| format!("<pk id='{id}'>{KEY}</pk>")).collect::<String>();
    assert_eq!(
        with(&format!("<prekeys>{}</prekeys>", many(limits::PRE_KEYS_PER_BUNDLE))).unwrap().pre_keys.len(),
        limits::PRE_KEYS_PER_BUNDLE
    );
    let first = with(&format!("<prekeys>{}</prekeys>", many(limits::PRE_KEYS_PER_BUNDLE + 1))).unwrap();
    assert_eq!(first.pre_keys.len(), limits::PRE_KEYS_PER_BUNDLE);
    assert_eq!(first.pre_keys.last().unwrap().id, 999);
}

#[test]
fn legacy_keys_need_their_prefix_and_a_point_of_the_curve() {
    let xml = |ik: &str| {
        format!(
            "<bundle xmlns='eu.siacs.conversations.axolotl'><signedPreKeyPublic signedPreKeyId='1'>BaXrPh9SKBs9Jj0abNz7XnlBrA/+OjDxLyY8ign4wQVr</signedPreKeyPublic>\
             <signedPreKeySignature>{SIGNATURE}</signedPreKeySignature><identityKey>{ik}</identityKey><prekeys/></bundle>"
        )
    };
    assert!(bundle::parse(xml("BR9PyCcXsY2G9Iv1g4ggOYjPsoa2239Fv3lacp0+auJj").as_bytes(), None).is_ok());
    // No prefix; another prefix; a u that is on the twist.
    for ik in
        [KEY, "Bh9PyCcXsY2G9Iv1g4ggOYjPsoa2239Fv3lacp0+auJj", "BQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
    {
        assert_eq!(bundle::parse(xml(ik).as_bytes(), None).expect_err(ik).status(), Status::Malformed);
    }
}

// ---- messages ----

#[test]
fn messages_are_read_alone_and_below_a_message_only() {
    let element = encrypted("<header sid='1'/>");
    assert_eq!(parse_message(&element).sender_device, 1);
    assert_eq!(parse_message(&format!("<message xmlns='jabber:client' to='a@b' type='chat'><body>fallback</body>{element}<store xmlns='urn:xmpp:hints'/></message>")).sender_device, 1);
    for xml in [
        format!(
            "<message><forwarded xmlns='urn:xmpp:forward:0'><message>{element}</message></forwarded></message>"
        ),
        format!("<message type='error'>{element}<error type='cancel'/></message>"),
        format!("<iq>{element}</iq>"),
        format!("<x xmlns='y'>{element}</x>"),
        "<message><body>hello</body></message>".to_owned(),
    ] {
        assert_eq!(message_status(&xml), Status::Malformed, "{xml}");
    }
    assert_eq!(message::parse_in(b"<message><body>hello</body></message>", Namespace::Omemo2).unwrap(), None);
}

#[test]
fn a_stanza_without_a_message_is_told_from_one_that_hides_it() {
    let element = encrypted("<header sid='1'/>");
    let count = |xml: &str| message::candidates(xml.as_bytes()).map(|all| all.messages.len()).ok();
    let carbon =
        |inner: &str| format!("<sent xmlns='urn:x'><forwarded><message>{inner}</message></forwarded></sent>");
    for xml in [
        format!("<message type='error'>{element}<error type='cancel'/></message>"),
        "<message><body>hello</body></message>".to_owned(),
        "<message><received xmlns='urn:xmpp:receipts' id='1'/></message>".to_owned(),
        format!("<message>{}</message>", carbon("<body>hello</body>")),
    ] {
        assert_eq!(count(&xml), Some(0), "{xml}");
    }
    let forwarded = format!("<forwarded xmlns='urn:xmpp:forward:0'><message>{element}</message></forwarded>");
    for wrapper in [
        forwarded.clone(),
        carbon(&element),
        format!("<result xmlns='urn:xmpp:mam:2' id='1'>{forwarded}</result>"),
        format!("<x xmlns='urn:x'>{element}</x>"),
        element.replace("urn:xmpp:omemo:2", "urn:xmpp:omemo:1"),
    ] {
        assert_eq!(count(&format!("<message>{wrapper}</message>")), None, "{wrapper}");
        assert_eq!(count(&wrapper), None, "{wrapper}");
        // A message that stands where it is looked for is read, whatever stands beside it.
        for both in [format!("{element}{wrapper}"), format!("{wrapper}{element}")] {
            assert_eq!(count(&format!("<message>{both}</message>")), Some(1), "{both}");
        }
    }
    assert_eq!(count(&format!("<iq>{element}</iq>")), None);
    assert_eq!(count(&format!("<message>{}</message>", encrypted("<header/>"))), None);
}

#[test]
fn of_two_namespaces_omemo2_counts_unless_it_is_broken() {
    let old = legacy("<header sid='1'><key rid='5'>AAAA</key><iv>AAAA</iv></header>");
    let both = |new: &str| format!("<message>{old}{}</message>", encrypted(new));
    assert_eq!(parse_message(&both("<header sid='2'/>")).sender_device, 2);
    assert_eq!(parse_message(&both("<header/>")).sender_device, 1);
    let xml = both("<header sid='2'/>");
    assert_eq!(message::parse_in(xml.as_bytes(), Namespace::Legacy).unwrap().unwrap().sender_device, 1);
    assert_eq!(message::parse_in(old.as_bytes(), Namespace::Omemo2).unwrap(), None);
    assert!(message::parse_in(both("<header/>").as_bytes(), Namespace::Omemo2).is_err());
    // The first of two in one namespace.
    let twice =
        format!("<message>{}{}</message>", encrypted("<header sid='3'/>"), encrypted("<header sid='4'/>"));
    assert_eq!(parse_message(&twice).sender_device, 3);
}

#[test]
fn r33_a_broken_key_of_somebody_else_harms_nobody() {
    let message = parse_message(&encrypted(
        "<header sid='1'><keys jid='Other@Example.org'><key rid='2'>*not base64*</key><key rid='x'>AAAA</key><key>AAAA</key></keys>\
         <keys jid='not a jid'><key rid='3'>AAAA</key></keys><keys><key rid='3'>AAAA</key></keys><key rid='3'>AAAA</key>\
         <keys jid='ME@example.org'><key rid='3' kex='true'>AQID</key></keys></header>",
    ));
    assert_eq!(
        message.keys,
        [
            MessageKey {
                jid: Some(BareJid::from_normalized("other@example.org")),
                device: 2,
                key_exchange: false,
                bytes: None
            },
            MessageKey {
                jid: Some(BareJid::from_normalized("me@example.org")),
                device: 3,
                key_exchange: true,
                bytes: Some(vec![1, 2, 3])
            },
        ]
    );
    // Conversations drops a message with an id above 2^31-1; we read it.
    assert_eq!(
        parse_message(&legacy(
            "<header sid='1'><key rid='4294967295'>AAAA</key><key rid='2'>AAAA</key></header>"
        ))
        .keys
        .len(),
        2
    );
}

#[test]
fn what_concerns_everybody_must_be_sound() {
    for xml in [
        encrypted(""),
        encrypted("<payload>AAAA</payload>"),
        encrypted("<header/>"),
        encrypted("<header sid='x'/>"),
        encrypted("<header sid='-1'/>"),
        encrypted("<header sid='4294967296'/>"),
        encrypted("<header xmlns='y' sid='1'/>"),
        encrypted("<header sid='1'/><payload>***</payload>"),
        legacy("<header sid='1'><iv>***</iv></header>"),
        "<encrypted><header sid='1'/></encrypted>".to_owned(),
    ] {
        assert_eq!(message_status(&xml), Status::Malformed, "{xml}");
    }
    let key = |bytes: usize| {
        encrypted(&format!(
            "<header sid='1'><keys jid='a@b'><key rid='1'>{}</key></keys></header>",
            "AAAA".repeat(bytes / 3)
        ))
    };
    assert!(message::parse(key(4_095).as_bytes()).is_ok());
    assert_eq!(message_status(&key(4_101)), Status::Limit);
    assert_eq!(
        message_status(&legacy(&format!("<header sid='1'><iv>{}</iv></header>", "AAAA".repeat(22)))),
        Status::Limit
    );
    let keys = |n: usize| legacy(&format!("<header sid='1'>{}</header>", "<key rid='1'/>".repeat(n)));
    assert_eq!(parse_message(&keys(limits::KEYS_PER_MESSAGE)).keys.len(), limits::KEYS_PER_MESSAGE);
    assert_eq!(message_status(&keys(limits::KEYS_PER_MESSAGE + 1)), Status::Limit);
}

#[test]
fn booleans_are_true_1_false_0_or_absent() {
    for (attribute, expected) in [
        ("='true'", true),
        ("='1'", true),
        ("='false'", false),
        ("='0'", false),
        ("='yes'", false),
        ("=''", false),
    ] {
        let new = encrypted(&format!(
            "<header sid='1'><keys jid='a@b'><key kex{attribute} rid='2'/></keys></header>"
        ));
        assert_eq!(parse_message(&new).keys[0].key_exchange, expected);
        let old = legacy(&format!("<header sid='1'><key prekey{attribute} rid='2'/></header>"));
        assert_eq!(parse_message(&old).keys[0].key_exchange, expected);
    }
    // Each namespace has its own word.
    assert!(
        !parse_message(&legacy("<header sid='1'><key kex='true' rid='2'/></header>")).keys[0].key_exchange
    );
}

#[test]
fn monal_writes_the_payload_first_and_prekey_on_every_key() {
    let message = parse_message(&legacy(
        "<payload>\n AQID\r\n</payload><header sid='1'><iv>AAAA AAAA\nAAAAAAAA</iv><key rid='2' prekey='1'>AA==</key><key rid='3' prekey='0'>AQ==</key></header>",
    ));
    assert_eq!(message.payload.as_deref(), Some(&[1, 2, 3][..]));
    assert_eq!(message.iv.as_deref(), Some(&[0; 12][..]));
    assert_eq!(message.keys.iter().map(|key| key.key_exchange).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn several_legacy_keys_with_one_rid_are_all_kept() {
    let message = parse_message(&legacy(
        "<header sid='1'><key rid='2'>AA==</key><key rid='2'>AQ==</key><iv>AAAA</iv></header>",
    ));
    assert_eq!(message.keys.iter().map(|key| key.bytes.clone().unwrap()).collect::<Vec<_>>(), [[0], [1]]);
    assert!(message.keys.iter().all(|key| key.jid.is_none()));
}

#[test]
fn an_empty_payload_means_none_where_none_can_be_empty() {
    for payload in ["<payload/>", "<payload></payload>", "<payload>\n</payload>", ""] {
        assert_eq!(parse_message(&encrypted(&format!("<header sid='1'/>{payload}"))).payload, None);
    }
    assert_eq!(parse_message(&legacy("<header sid='1'/><payload/>")).payload.as_deref(), Some(&[][..]));
    assert_eq!(parse_message(&legacy("<header sid='1'/>")).payload, None);
    // A message without keys is a message for nobody, not a broken one.
    assert!(parse_message(&encrypted("<header sid='1'/><payload>AAAA</payload>")).keys.is_empty());
}

#[test]
fn keys_are_written_by_jid_and_what_has_no_content_not_at_all() {
    let key = |jid: Option<&str>, device, key_exchange, bytes: Option<&[u8]>| MessageKey {
        jid: jid.map(BareJid::from_normalized),
        device,
        key_exchange,
        bytes: bytes.map(<[u8]>::to_vec),
    };
    let mut message = Message {
        namespace: Namespace::Omemo2,
        sender_device: 9,
        keys: vec![
            key(Some("a@b"), 1, false, Some(&[0])),
            key(Some("o'c@b"), 2, true, Some(&[1])),
            key(Some("a@b"), 3, true, Some(&[2])),
            key(Some("a@b"), 4, true, None),
            key(None, 5, true, Some(&[3])),
        ],
        payload: Some(vec![255; 3]),
        iv: None,
    };
    assert_eq!(
        message::write(&message),
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='9'><keys jid='a@b'><key rid='1'>AA==</key>\
         <key rid='3' kex='true'>Ag==</key></keys><keys jid='o&apos;c@b'><key rid='2' kex='true'>AQ==</key></keys>\
         </header><payload>////</payload></encrypted>"
    );
    message.namespace = Namespace::Legacy;
    message.iv = Some(vec![0; 12]);
    message.payload = None;
    assert_eq!(
        message::write(&message),
        "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='9'><key rid='1'>AA==</key>\
         <key rid='2' prekey='true'>AQ==</key><key rid='3' prekey='true'>Ag==</key><key rid='5' prekey='true'>Aw==</key>\
         <iv>AAAAAAAAAAAAAAAA</iv></header></encrypted>"
    );
}

// ---- what python-omemo writes ----

fn vectors(name: &str) -> Value {
    let path = format!("{}/tests/data/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The texts and attribute values of an XML text, sorted: all that it says, whatever the order and the prefixes.
/// Knows just enough XML for what python writes.
fn sayings(xml: &str) -> Vec<String> {
    let mut out = Vec::new();
    for tag in xml.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').unwrap();
        let text: String = text.split_whitespace().collect();
        if !text.is_empty() {
            out.push(text);
        }
        let quote = if tag.contains('"') { '"' } else { '\'' };
        let mut parts = tag.split(quote);
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            let name = name.rsplit([' ', ':']).next().unwrap();
            match value {
                _ if name.contains("ns") => {}
                "0" if name.contains("pre") => {}
                "1" if name.contains("kex") || name == "prekey=" => out.push(format!("{name}true")),
                _ => out.push(format!("{name}{value}")),
            }
        }
    }
    out.sort();
    out
}

fn array<const N: usize>(hex: &Value) -> [u8; N] {
    let hex = hex.as_str().unwrap();
    let bytes: Vec<u8> =
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

#[test]
fn bundles_of_python_say_the_same_when_written_again() {
    let mut seen = 0;
    for (name, namespace) in [("x3dh_omemo2", Namespace::Omemo2), ("x3dh_legacy", Namespace::Legacy)] {
        for case in vectors(name)["cases"].as_array().unwrap() {
            let xml = case["responder_bundle_xml"].as_str().unwrap();
            let bundle = bundle::parse(xml.as_bytes(), None).unwrap();
            let responder = &case["responder"];
            assert_eq!(bundle.namespace, namespace);
            assert_eq!(bundle.identity_key, array(&responder["identity_ed25519_pub"]));
            assert_eq!(bundle.signed_pre_key, array(&responder["signed_pre_key_pub"]));
            assert_eq!(u64::from(bundle.signed_pre_key_id), responder["signed_pre_key_id"].as_u64().unwrap());
            assert_eq!(bundle.signature, array(&responder["signature_internal"]));
            let [pre_key] = &bundle.pre_keys[..] else { panic!("one pre key") };
            assert_eq!(pre_key.key, array(&responder["pre_key_pub"]));
            assert_eq!(u64::from(pre_key.id), responder["pre_key_id"].as_u64().unwrap());
            assert_eq!(sayings(&bundle::write(&bundle).unwrap()), sayings(xml));
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
}

#[test]
fn flows_of_python_say_the_same_when_written_again() {
    let (mut messages, mut exchanges, mut signs) = (0, 0, [0, 0]);
    for (name, namespace) in [("flow_omemo2", Namespace::Omemo2), ("flow_legacy", Namespace::Legacy)] {
        let flow = vectors(name);
        for (jid, xml) in flow["device_list_xml"].as_object().unwrap() {
            let xml = xml.as_str().unwrap();
            let list = device_list::parse(xml.as_bytes()).unwrap();
            assert_eq!(list.namespace, namespace);
            for device in &list.devices {
                let announced = flow["devices"]
                    .as_object()
                    .unwrap()
                    .values()
                    .any(|known| known["bare_jid"] == jid.as_str() && known["device_id"] == device.id);
                assert!(announced);
                assert_eq!(device.label.is_some(), namespace == Namespace::Omemo2);
            }
            assert_eq!(sayings(&device_list::write(&list)), sayings(xml));
        }
        let steps = flow["steps"].as_array().unwrap();
        for (who, xml) in flow["bundle_xml"].as_object().unwrap() {
            let xml = xml.as_str().unwrap();
            let bundle = bundle::parse(xml.as_bytes(), None).unwrap();
            assert!(bundle.pre_keys.len() >= 25);
            signs[usize::from(bundle.identity_key[31] >> 7)] += 1;
            for step in steps
                .iter()
                .filter(|step| step["from"] == who.as_str() && step["sender_identity_key"].is_string())
            {
                assert_eq!(bundle.identity_key, array(&step["sender_identity_key"]));
            }
            assert_eq!(sayings(&bundle::write(&bundle).unwrap()), sayings(xml));
        }
        let replies = steps.iter().filter_map(|step| step["automatic_replies"].as_array()).flatten();
        for xml in steps.iter().chain(replies).map(|step| step["xml"].as_str().unwrap()) {
            let message = message::parse(xml.as_bytes()).unwrap();
            assert_eq!(message.namespace, namespace);
            assert!(message.keys.iter().all(|key| key.bytes.is_some()));
            assert_eq!(sayings(&message::write(&message)), sayings(xml));
            messages += 1;
            exchanges += message.keys.iter().filter(|key| key.key_exchange).count();
        }
    }
    assert!(messages >= 40 && exchanges >= 10, "{messages} {exchanges}");
    assert!(signs.iter().all(|&count| count > 0), "{signs:?}: identity keys of both signs");
}
