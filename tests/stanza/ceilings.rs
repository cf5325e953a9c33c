//! What a hostile stanza may cost: heap, stack and time, counted for each call.
//!
//! The allocator counts for each thread alone, so that tests may run beside each other. Time is a guard against work
//! that grows with the square of the input: generous, as debug builds and busy machines are slow.

use crate::heap;
use std::time::{Duration, Instant};

use omemo::error::{Result, Status};
use omemo::protocol::address::BareJid;
use omemo::protocol::limits;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::envelope;
use omemo::stanza::pep::answer::{self, Answer, Asked};
use omemo::stanza::pep::push;
use omemo::stanza::{bundle, device_list, jid, message};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Nothing here takes a tenth of this on an idle machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `f`; fails if its heap ever has more than `ceiling` bytes more than before.
fn within<T>(ceiling: usize, f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let (result, cost) = heap::peak(f);
    let took = start.elapsed();
    assert!(cost <= ceiling, "{cost} bytes of heap, at most {ceiling} wanted");
    assert!(took < PATIENCE, "took {took:?}");
    result
}

fn status<T>(result: Result<T>) -> Option<Status> {
    result.err().map(|error| error.status())
}

/// Feeds one input to every reader, each under the same ceiling.
fn everywhere(ceiling: usize, xml: &[u8]) -> [Option<Status>; 4] {
    let account = BareJid::from_normalized("romeo@montague.example");
    let asked = Asked { account: &account, jid: &account, node: None, item: None };
    for namespace in Namespace::ALL {
        within(ceiling, || answer::device_list(xml, namespace, &asked));
        within(ceiling, || answer::bundle(xml, namespace, 1, &asked));
    }
    within(ceiling, || answer::done(xml, &asked));
    within(ceiling, || push::parse(xml).is_ok());
    [
        within(ceiling, || status(device_list::parse(xml))),
        within(ceiling, || status(bundle::parse(xml, None))),
        within(ceiling, || status(message::parse(xml))),
        within(ceiling, || status(envelope::read_body(xml))),
    ]
}

const LIMIT: [Option<Status>; 4] = [Some(Status::Limit); 4];
const MALFORMED: [Option<Status>; 4] = [Some(Status::Malformed); 4];

#[test]
fn the_allocator_counts() {
    let result = std::panic::catch_unwind(|| within(KIB, || vec![0_u8; 2 * KIB].len()));
    assert!(result.is_err());
    assert_eq!(within(3 * KIB, || vec![0_u8; 2 * KIB].len()), 2 * KIB);
}

#[test]
fn a_stanza_of_100_mb_is_refused_unread() {
    let mut xml = b"<devices xmlns='urn:xmpp:omemo:2'>".to_vec();
    xml.resize(100 * MIB, b' ');
    assert_eq!(everywhere(KIB, &xml), LIMIT);
}

#[test]
fn entities_and_document_types_are_refused() {
    let bomb = "<!DOCTYPE lolz [<!ENTITY lol 'lol'><!ENTITY lol2 '&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;'>\
                <!ENTITY lol3 '&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;'>]>\
                <devices xmlns='urn:xmpp:omemo:2'>&lol3;</devices>";
    assert_eq!(everywhere(64 * KIB, bomb.as_bytes()), MALFORMED);
    assert_eq!(everywhere(64 * KIB, b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>"), MALFORMED);
    assert_eq!(everywhere(64 * KIB, b"<a>&lol;</a>"), MALFORMED);
    let long = format!("<!DOCTYPE a [{}]><a/>", "<!ENTITY a 'b'>".repeat(60_000));
    assert_eq!(everywhere(64 * KIB, long.as_bytes()), MALFORMED);
}

#[test]
fn nesting_costs_neither_heap_nor_stack() {
    let deep = "<a>".repeat(1_000_000);
    assert_eq!(everywhere(64 * KIB, deep.as_bytes()), LIMIT);
    let fits = "<a>".repeat(limits::STANZA_BYTES / 3);
    let encrypted = format!("<encrypted xmlns='urn:xmpp:omemo:2'>{}", "<header>".repeat(100_000));
    let list = format!("<devices xmlns='urn:xmpp:omemo:2'>{}", "<device>".repeat(100_000));
    // A stack of 64 KiB, as far as the platform gives so little.
    let small = std::thread::Builder::new().stack_size(64 * KIB);
    let run = move || {
        let no_envelope = Some(Status::Malformed);
        let found = everywhere(64 * KIB, fits.as_bytes());
        assert_eq!(found, [LIMIT[0], LIMIT[1], LIMIT[2], no_envelope]);
        assert_eq!(within(64 * KIB, || status(message::parse(encrypted.as_bytes()))), Some(Status::Limit));
        assert_eq!(within(64 * KIB, || status(device_list::parse(list.as_bytes()))), Some(Status::Limit));
    };
    small.spawn(run).unwrap().join().unwrap();
}

#[test]
fn attributes_and_namespaces_by_the_thousand_are_refused() {
    for kind in ["a", "xmlns:a"] {
        let attributes: String = (0..60_000).map(|i| format!(" {kind}{i}=''")).collect();
        assert_eq!(everywhere(256 * KIB, format!("<a{attributes}/>").as_bytes()), LIMIT);
        let within_a_device =
            format!("<devices xmlns='urn:xmpp:omemo:2'><device id='1'{attributes}/></devices>");
        assert_eq!(
            within(256 * KIB, || status(device_list::parse(within_a_device.as_bytes()))),
            Some(Status::Limit)
        );
    }
    // As many declarations as allowed, and then as many elements as fit, each of which looks its prefix up.
    let declarations: String = (0..2)
        .map(|level| {
            let spaces: String = (0..60).map(|i| format!(" xmlns:p{level}_{i}='x'")).collect();
            format!("<a{spaces}>")
        })
        .collect();
    let xml = format!("{declarations}{}</a></a>", "<q:b/>".repeat(170_000));
    assert_eq!(within(64 * KIB, || status(device_list::parse(xml.as_bytes()))), Some(Status::Malformed));
    // Elements that declare and close again.
    let xml = format!("<devices xmlns='urn:xmpp:omemo:2'>{}</devices>", "<a xmlns='b'/>".repeat(70_000));
    // Each is kept, until there are too many.
    assert_eq!(within(2 * MIB, || status(device_list::parse(xml.as_bytes()))), Some(Status::Limit));
}

#[test]
fn device_lists_by_the_thousand_are_refused() {
    let list = |devices: String| format!("<devices xmlns='urn:xmpp:omemo:2'>{devices}</devices>");
    let many = list((0..1_000_000).map(|id| format!("<device id='{id}'/>")).collect());
    assert_eq!(within(KIB, || status(device_list::parse(many.as_bytes()))), Some(Status::Limit));
    let fits = list((0..50_000).map(|id| format!("<device id='{id}'/>")).collect());
    assert_eq!(within(256 * KIB, || status(device_list::parse(fits.as_bytes()))), Some(Status::Limit));
    let account = BareJid::from_normalized("romeo@montague.example");
    let asked = Asked { account: &account, jid: &account, node: None, item: None };
    let answer = answer::device_list(fits.as_bytes(), Namespace::Omemo2, &asked);
    assert!(matches!(answer, Answer::Unreadable(error) if error.status() == Status::Limit));
    // The same ids over and over: what is kept of them is limited in bytes.
    let again = list((0..50_000).map(|id| format!("<device id='{}'/>", id % 256)).collect());
    assert_eq!(within(MIB, || status(device_list::parse(again.as_bytes()))), Some(Status::Limit));
    let label = list(format!(
        "<device id='1' label='{}' labelsig='{}'/>",
        "&amp;".repeat(100_000),
        "A".repeat(500_000)
    ));
    assert_eq!(within(3 * MIB, || status(device_list::parse(label.as_bytes()))), Some(Status::Limit));
}

#[test]
fn of_many_pre_keys_the_first_are_read() {
    let key = "m3YBvIoeqwQtgXlq2SNPKjXvZPHaHTmdIah/NVauCBg=";
    let with =
        |prekeys: &str| format!("<bundle xmlns='urn:xmpp:omemo:2'><prekeys>{prekeys}</prekeys></bundle>");
    let many = with(&(0..100_000).map(|id| format!("<pk id='{id}'>{key}</pk>")).collect::<String>());
    assert_eq!(within(KIB, || status(bundle::parse(many.as_bytes(), None))), Some(Status::Limit));
    // Of what fits as many are kept as allowed; what is missing in these bundles is everything else.
    let fits = with(&(0..15_000).map(|id| format!("<pk id='{id}'>{key}</pk>")).collect::<String>());
    assert_eq!(within(MIB, || status(bundle::parse(fits.as_bytes(), None))), Some(Status::Malformed));
    let unreadable = with(&"<pk id='1'>!</pk>".repeat(50_000));
    assert_eq!(
        within(64 * KIB, || status(bundle::parse(unreadable.as_bytes(), None))),
        Some(Status::Malformed)
    );
    // One id over and over.
    let same = with(&format!("<pk id='1'>{key}</pk>").repeat(15_000));
    assert_eq!(within(MIB, || status(bundle::parse(same.as_bytes(), None))), Some(Status::Malformed));
}

#[test]
fn base64_is_refused_by_its_length() {
    let message = |key: &str| {
        format!(
            "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'><keys jid='a@b'><key rid='1'>{key}</key></keys></header></encrypted>"
        )
    };
    let huge = message(&"A".repeat(50 * MIB));
    assert_eq!(within(KIB, || status(message::parse(huge.as_bytes()))), Some(Status::Limit));
    for key in ["A".repeat(1_000_000), "A ".repeat(500_000), "&#65;".repeat(200_000), "A<b/>".repeat(200_000)]
    {
        let xml = message(&key);
        assert_eq!(within(64 * KIB, || status(message::parse(xml.as_bytes()))), Some(Status::Limit));
    }
    let bundle = format!("<bundle xmlns='urn:xmpp:omemo:2'><ik>{}</ik></bundle>", "A".repeat(1_000_000));
    assert_eq!(within(64 * KIB, || status(bundle::parse(bundle.as_bytes(), None))), Some(Status::Limit));
}

#[test]
fn the_largest_honest_message_fits() {
    let payload = "A".repeat(1_000_000);
    let xml = format!(
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/><payload>{payload}</payload></encrypted>"
    );
    assert_eq!(within(4 * MIB, || message::parse(xml.as_bytes()).unwrap().payload.unwrap().len()), 750_000);
    let keys: String = (0..10_000).map(|rid| format!("<key rid='{rid}'>{}</key>", "A".repeat(60))).collect();
    let xml = format!(
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'><keys jid='a@b'>{keys}</keys></header></encrypted>"
    );
    assert_eq!(within(4 * MIB, || message::parse(xml.as_bytes()).unwrap().keys.len()), 10_000);
}

#[test]
fn keys_by_the_hundred_thousand_are_refused() {
    let message = |keys: &str| {
        format!(
            "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'>{keys}</header></encrypted>"
        )
    };
    let ours = "<key rid='7'>AAAA</key>";
    let many = message(&("<key rid='1'/>".repeat(100_000) + ours));
    assert_eq!(within(256 * KIB, || status(message::parse(many.as_bytes()))), Some(Status::Limit));
    let fits = message(&("<key rid='1'/>".repeat(70_000) + ours));
    assert_eq!(within(2 * MIB, || status(message::parse(fits.as_bytes()))), Some(Status::Limit));
    let unreadable = message(&("<key rid='x'/>".repeat(70_000) + ours));
    assert_eq!(within(256 * KIB, || message::parse(unreadable.as_bytes()).unwrap().keys.len()), 1);
}

#[test]
fn jids_that_grow_are_counted_as_they_are_kept() {
    // 56 times U+3316, 168 bytes, becomes 1,008 bytes of kana.
    let long = "\u{3316}".repeat(56);
    assert_eq!(jid::bare(&format!("{long}@b")).unwrap().as_str().len(), 1_010);
    let keys: String = (0..4_900).map(|i| format!("<keys jid='{long}@b{i}'><key rid='1'/></keys>")).collect();
    let xml = format!("<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'>{keys}</header></encrypted>");
    assert!(xml.len() <= limits::STANZA_BYTES);
    assert_eq!(within(2 * MIB, || status(message::parse(xml.as_bytes()))), Some(Status::Limit));
    let jid = "a".repeat(10 * MIB);
    assert_eq!(within(KIB, || status(jid::bare(&jid))), Some(Status::Jid));
}

#[test]
fn many_items_are_read_one_after_the_other() {
    let key = "m3YBvIoeqwQtgXlq2SNPKjXvZPHaHTmdIah/NVauCBg=";
    let item = format!(
        "<item><bundle xmlns='urn:xmpp:omemo:2'><spk id='1'>{key}</spk><spks>{key}</spks><ik>{key}</ik></bundle></item>"
    );
    let xml = format!("<items>{}</items>", item.repeat(4_500));
    assert_eq!(within(64 * KIB, || status(bundle::parse(xml.as_bytes(), None))), Some(Status::Malformed));
    let lists = "<item><devices xmlns='urn:xmpp:omemo:2'><device id='1'/></devices></item>".repeat(13_000);
    let xml = format!("<items>{lists}</items>");
    assert_eq!(within(64 * KIB, || device_list::parse(xml.as_bytes()).unwrap().devices.len()), 1);
}

#[test]
fn envelopes_cost_a_few_times_their_size() {
    let envelope = |body: &str| {
        format!(
            "<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>{body}</body></content></envelope>"
        )
    };
    for (body, len) in [
        ("x".repeat(1_000_000), 1_000_000),
        ("&#65;".repeat(200_000), 200_000),
        ("\r".repeat(1_000_000), 1_000_000),
        ("<!---->".repeat(140_000), 0),
        ("a<b/>".repeat(200_000), 200_000),
    ] {
        let xml = envelope(&body);
        assert_eq!(within(3 * MIB, || envelope::read_body(xml.as_bytes()).unwrap().unwrap().len()), len);
    }
}

#[test]
fn inherited_namespaces_take_no_memory_of_their_own() {
    let uri = "u".repeat(32 * KIB);
    for (open, child) in
        [(format!("<x xmlns='{uri}'>"), "<y/>"), (format!("<p:x xmlns:p='{uri}'>"), "<p:y/>")]
    {
        let close = if child == "<y/>" { "</x>" } else { "</p:x>" };
        let children = child.repeat(4_000);
        for root in [
            format!("<devices xmlns='urn:xmpp:omemo:2'><device id='1'/>{open}{children}{close}</devices>"),
            format!(
                "<list xmlns='eu.siacs.conversations.axolotl'><device id='1'/>{open}{children}{close}</list>"
            ),
        ] {
            within(4 * MIB, || status(device_list::parse(root.as_bytes())));
        }
    }
}
