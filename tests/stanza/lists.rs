//! Device lists that several clients write: what this library does not understand stays as it is.

use omemo::error::Status;
use omemo::protocol::device_list::{DeviceList, ListedDevice, Unserveable};
use omemo::protocol::foreign::Node;
use omemo::protocol::limits;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::device_list;
use proptest::prelude::*;
use std::fmt::Write as _;

const SIGNATURE: &str =
    "GdOAcInJMK7Mcy8USBkGlnn2CK6jWC9BaZbF3CKMO4sBWo+eELfpzBIYUnBmtnlRbsV5ladc2DQ9JY/FkA5yDQ==";

fn list(namespace: Namespace, inner: &str) -> String {
    let name = if namespace == Namespace::Omemo2 { "devices" } else { "list" };
    format!("<{name} xmlns='{}'>{inner}</{name}>", namespace.uri())
}

fn parse(xml: &str) -> DeviceList {
    device_list::parse(xml.as_bytes()).unwrap_or_else(|error| panic!("{error}: {xml}"))
}

fn status(xml: &str) -> Status {
    device_list::parse(xml.as_bytes()).expect_err(xml).status()
}

/// Reads, adds this device and writes, as a manager does.
fn joined(xml: &str, device: u32) -> String {
    let mut list = parse(xml);
    list.add(ListedDevice::new(device)).unwrap();
    device_list::write(&list)
}

/// Entries as others write them, each of which stays as it is.
fn entries() -> Vec<String> {
    let long = "x".repeat(300);
    vec![
        "<device id='5' label='Kaidan'/>".to_owned(),
        "<device id='5' label='Kaidan' labelsig='AAAA'/>".to_owned(),
        "<device id='5' label='Kaidan' labelsig='***'/>".to_owned(),
        "<device id='5' label='' labelsig=''/>".to_owned(),
        format!("<device id='5' labelsig='{SIGNATURE}'/>"),
        format!("<device id='5' label='{long}' labelsig='{SIGNATURE}'/>"),
        format!("<device id='5' label='a' labelsig='{}'/>", SIGNATURE.trim_end_matches('=')),
        format!("<device id='5' label='a&amp;&lt;&#10;&apos;' labelsig='{SIGNATURE}'/>"),
        "<device id='5' last='2026-11-27'/>".to_owned(),
        "<device xmlns:n0='urn:x' n0:last='1' id='5'/>".to_owned(),
        "<device id='5' xml:lang='de'/>".to_owned(),
        "<device id='5'><seen>1</seen></device>".to_owned(),
        "<device id='5'><x xmlns='urn:x' a='&lt;'>a<b/> c &amp; <c xmlns=''>d</c></x></device>".to_owned(),
        "<device id='5'>text</device>".to_owned(),
        "<device id=' 5 '/>".to_owned(),
        "<device id='005'/>".to_owned(),
        "<device id='5'/><device id='5' a='b'/>".to_owned(),
        "<device xmlns='' id='5'/>".to_owned(),
        "<device id='0'/>".to_owned(),
        "<device id='2147483648'/>".to_owned(),
        "<device id='3000000000' a='b'/>".to_owned(),
        "<device id='4294967296'/>".to_owned(),
        "<device id='99999999999999999999999'/>".to_owned(),
        "<device id='-1'/>".to_owned(),
        "<device id='x'/>".to_owned(),
        "<device id=''/>".to_owned(),
        "<device/>".to_owned(),
        "<device label='no id'/>".to_owned(),
        "<x xmlns='urn:x' a='b'><device id='9'/></x>".to_owned(),
        "<device xmlns='urn:x' id='9'/>".to_owned(),
        "<\u{e9}l\u{e9}ment xmlns='urn:x'/>".to_owned(),
    ]
}

#[test]
fn what_others_wrote_stays_in_its_place_when_a_device_is_added_or_taken_off() {
    for namespace in Namespace::ALL {
        for entry in entries() {
            let before = list(namespace, &format!("<device id='7'/>{entry}<device id='8'/>"));
            assert_eq!(device_list::write(&parse(&before)), before);
            let after = list(namespace, &format!("<device id='7'/>{entry}<device id='8'/><device id='9'/>"));
            assert_eq!(joined(&before, 9), after);
            let mut left = parse(&after);
            assert!(left.remove(9) && !left.remove(9));
            assert_eq!(device_list::write(&left), before);
            assert!(left.remove(7));
            assert_eq!(
                device_list::write(&left),
                list(namespace, &format!("{entry}<device id='8'/>")),
                "the order of what is left"
            );
        }
    }
}

#[test]
fn attributes_of_the_list_stay() {
    let xml = "<devices xmlns='urn:xmpp:omemo:2' xmlns:n0='urn:x' rev='4' n0:by='\"&lt;'><device id='1'/></devices>";
    assert_eq!(device_list::write(&parse(xml)), xml);
}

#[test]
fn prefixes_are_chosen_anew_and_declared_where_they_are_used() {
    let xml = "<p:devices xmlns:p='urn:xmpp:omemo:2' xmlns:q='urn:q' xmlns:r='urn:r'>\
               <p:device id='1' q:a='1' r:b='2' q:c='3'><r:x q:a='2'/></p:device>\n <q:y><p:z/></q:y></p:devices>";
    assert_eq!(
        device_list::write(&parse(xml)),
        "<devices xmlns='urn:xmpp:omemo:2'>\
         <device xmlns:n0='urn:q' xmlns:n1='urn:r' id='1' n0:a='1' n1:b='2' n0:c='3'>\
         <x xmlns='urn:r' xmlns:n0='urn:q' n0:a='2'/></device>\
         <y xmlns='urn:q'><z xmlns='urn:xmpp:omemo:2'/></y></devices>"
    );
    // Unprefixed children of a prefixed parent are devices all the same.
    let bare = "<o:devices xmlns:o='urn:xmpp:omemo:2'><device id='1'/><device id='2'/></o:devices>";
    assert_eq!(parse(bare).ids().map(|id| id.get()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_device_that_leaves_takes_all_its_entries_along_and_nobody_elses() {
    let mut list = parse(&list(
        Namespace::Omemo2,
        "<device id='5' a='b'/><x xmlns='y'/><device id='5'/><device id='6' label='z'/>",
    ));
    assert!(list.remove(5));
    assert_eq!(
        device_list::write(&list),
        "<devices xmlns='urn:xmpp:omemo:2'><x xmlns='y'/><device id='6' label='z'/></devices>"
    );
    // Nothing of the old entry comes back with the id.
    list.add(ListedDevice::new(5)).unwrap();
    assert!(device_list::write(&list).ends_with("<device id='6' label='z'/><device id='5'/></devices>"));
}

#[test]
fn a_list_that_is_not_understood_is_never_empty() {
    for namespace in Namespace::ALL {
        for inner in [
            "text",
            "<device id='1'/>text",
            "&#65;<device id='1'/>",
            "<![CDATA[x]]>",
            "<Device id='1'/>",
            "<devices/>",
            "<device id='1'/><dev/>",
            "<item id='1'/>",
            "<x xmlns='y'/>",
            "<device xmlns='y' id='1'/>",
            "<device xmlns='urn:xmpp:omemo:1' id='1'/>",
            // What could not be written again.
            "<device id='1'/><p:x/>",
            "<device id='1' p:a='b'/>",
            "<device id='1'><a:b:c/></device>",
            "<device id='1' a='1' b='&#1;'/>",
            "<device id='1' xmlns:p='u' xmlns:q='u' p:a='1' q:a='2'/>",
            "<device id='1'/><x\"y xmlns='y'/>",
            "<device id='1'/><1 xmlns='y'/>",
        ] {
            assert_eq!(status(&list(namespace, inner)), Status::Malformed, "{inner}");
        }
        for inner in ["", " \n\t", "<!-- none -->", "&#32;", "<![CDATA[ ]]>"] {
            let list = parse(&list(namespace, inner));
            assert_eq!((list.devices.len(), list.unserveable().count()), (0, 0), "{inner}");
        }
    }
}

#[test]
fn devices_that_cannot_be_served_are_told_from_those_that_can() {
    for namespace in Namespace::ALL {
        let list = parse(&list(
            namespace,
            "<device id='0'/><device id='1'/><device id='2147483647'/><device id='2147483648'/>\
             <device id='4294967295'/><device id='4294967296'/><device id='-1'/><device id='1e3'/><device/><device id='1'/>",
        ));
        assert_eq!(list.ids().map(|id| id.get()).collect::<Vec<_>>(), [1, 0x7fff_ffff]);
        assert_eq!(
            list.unserveable().collect::<Vec<_>>(),
            [
                Unserveable::Id(0),
                Unserveable::Id(0x8000_0000),
                Unserveable::Id(u32::MAX),
                Unserveable::OutOfRange,
                Unserveable::OutOfRange,
                Unserveable::NoNumber,
                Unserveable::NoNumber
            ]
        );
        assert!(list.contains(u32::MAX) && !list.contains(2));
    }
}

#[test]
fn lists_are_as_long_when_written_as_when_read_and_longer_ones_say_so() {
    for namespace in Namespace::ALL {
        let of = |count: usize| {
            list(namespace, &(1..=count).map(|id| format!("<device id='{id}'/>")).collect::<String>())
        };
        let mut most = parse(&of(limits::DEVICES_PER_JID));
        assert_eq!(most.add(ListedDevice::new(9_999)).unwrap_err().status(), Status::Limit);
        assert_eq!(device_list::write(&most), of(limits::DEVICES_PER_JID));
        for count in [257, 300, 1_000] {
            assert_eq!(status(&of(count)), Status::Limit, "{count}");
        }
        most.remove(1);
        assert_eq!(most.add(ListedDevice::new(2)).unwrap_err().status(), Status::Argument);
        most.add(ListedDevice::new(9_999)).unwrap();
    }
}

#[test]
fn what_is_kept_is_limited_in_bytes_and_depth() {
    let of = |bytes: usize| {
        list(Namespace::Omemo2, &format!("<device id='1'/><x xmlns='y'>{}</x>", "z".repeat(bytes)))
    };
    let room =
        (0..limits::FOREIGN_BYTES).rev().find(|bytes| device_list::parse(of(*bytes).as_bytes()).is_ok());
    let room = room.unwrap();
    assert!(room > limits::FOREIGN_BYTES - 100, "{room}");
    assert_eq!(status(&of(room + 1)), Status::Limit);
    // Plain devices and sound labels do not count.
    let plain: String = (2..250)
        .map(|id| format!("<device id='{id}' label='{}' labelsig='{SIGNATURE}'/>", "l".repeat(200)))
        .collect();
    assert!(plain.len() > limits::FOREIGN_BYTES);
    let full = of(room).replace("</devices>", &format!("{plain}</devices>"));
    assert_eq!(device_list::write(&parse(&full)), full);
    // What is escaped counts as it is written.
    let escaped = list(Namespace::Omemo2, &format!("<device id='1' a='{}'/>", "&apos;".repeat(room / 5)));
    assert_eq!(status(&escaped), Status::Limit);
    for (kind, parts) in [
        ("devices", "<device id='1' label='no signature'/>".repeat(3_000)),
        ("elements", "<x xmlns='y'/>".repeat(6_000) + "<device id='1'/>"),
        ("bad ids", "<device id='x'/>".repeat(6_000)),
        ("attributes", format!("<device id='1' a='{}'/>", "a".repeat(70_000))),
    ] {
        assert_eq!(status(&list(Namespace::Omemo2, &parts)), Status::Limit, "{kind}");
    }
    let nested = |depth: usize| {
        list(
            Namespace::Legacy,
            &format!("<device id='1'/>{}{}", "<a xmlns='y'>".repeat(depth), "</a>".repeat(depth)),
        )
    };
    assert!(device_list::parse(nested(limits::FOREIGN_DEPTH).as_bytes()).is_ok());
    assert_eq!(status(&nested(limits::FOREIGN_DEPTH + 1)), Status::Limit);
    // Whatever is kept can be published, and read where it is published.
    let deep = device_list::write(&parse(&nested(limits::FOREIGN_DEPTH)));
    let published = format!(
        "<iq xmlns='jabber:client' type='result'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
         <items><item>{deep}</item></items></pubsub></iq>"
    );
    assert_eq!(parse(&published), parse(&deep));
    // Namespaces of attributes become declarations, which count as attributes when they are read.
    let many = |count: usize| {
        let declared: String = (0..count).fold(String::new(), |mut all, n| {
            write!(all, " xmlns:p{n}='urn:{n}'").unwrap();
            all
        });
        let used: String = (0..count).fold(String::new(), |mut all, n| {
            write!(all, " p{n}:a='1'").unwrap();
            all
        });
        format!("<devices xmlns='urn:xmpp:omemo:2'{declared}><device id='1'{used}/></devices>")
    };
    assert_eq!(device_list::write(&parse(&many(30))).matches("xmlns:").count(), 30);
    assert_eq!(status(&many(40)), Status::Limit);
}

#[test]
fn several_lists_become_one_that_has_everything() {
    let mut newest =
        parse(&list(Namespace::Omemo2, "<x xmlns='y'/><device id='3'/><device id='1' a='new'/>"));
    let older = parse(&list(
        Namespace::Omemo2,
        "<device id='1' a='old'/><z xmlns='y'/><device id='2' a='b'/><device id='x'/><x xmlns='y'/>",
    ));
    newest.merge(&older).unwrap();
    assert_eq!(
        device_list::write(&newest),
        "<devices xmlns='urn:xmpp:omemo:2'><x xmlns='y'/><device id='3'/><device id='1' a='new'/><device id='2' a='b'/>\
         <z xmlns='y'/><device id='x'/></devices>"
    );
    let full =
        |from: u32| DeviceList::of(Namespace::Legacy, (from..from + 200).map(ListedDevice::new).collect());
    assert_eq!(full(1).merge(&full(300)).unwrap_err().status(), Status::Limit);
    assert!(full(1).merge(&full(50)).is_ok());
}

// ---- the same infoset ----

/// XML of others: an element with attributes, text and children, with prefixes and without.
fn elements() -> impl Strategy<Value = String> {
    let text = "[a-zA-Z <>&'\"\n\t\r\u{e9}\u{1f600}]{0,12}";
    let namespace = prop_oneof![Just(""), Just("urn:a"), Just("urn:b"), Just("jabber:client")];
    let attribute = (prop_oneof![Just("a"), Just("b:c"), Just("d:e"), Just("xml:lang")], text);
    let attributes = proptest::collection::btree_map("[a-z]{1,4}", text, 0..3)
        .prop_flat_map(move |plain| (Just(plain), proptest::option::of(attribute.clone())));
    let shell = move |inner: BoxedStrategy<String>| {
        ("[a-z\u{e9}_][a-z0-9.-]{0,6}", namespace.clone(), attributes.clone(), inner).prop_map(
            |(name, namespace, (plain, other), inner)| {
                let mut tag = format!("{name} xmlns='{namespace}' xmlns:b='urn:b' xmlns:d='urn:d&amp;'");
                for (name, value) in plain.iter().filter(|(name, _)| *name != "a" && *name != "xmlns") {
                    write!(tag, " {name}='{}'", escape(value)).unwrap();
                }
                if let Some((name, value)) = other {
                    write!(tag, " {name}='{}'", escape(&value)).unwrap();
                }
                format!("<{tag}>{inner}</{name}>")
            },
        )
    };
    let leaf = text.prop_map(|text| escape(&text)).boxed();
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let content = proptest::collection::vec(inner, 0..4).prop_map(|parts| parts.concat());
        shell(content.boxed()).boxed()
    })
    .prop_filter("text alone is no element", |xml| xml.starts_with('<') && xml.ends_with('>'))
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\'' | '\r' | '\n' | '\t' => write!(out, "&#{};", u32::from(c)).unwrap(),
            c => out.push(c),
        }
    }
    out
}

/// The infoset of a document, by another parser than the library's wrapper around it: names with namespaces, sorted
/// attributes, and text.
fn infoset(xml: &str) -> Vec<String> {
    use quick_xml::NsReader;
    use quick_xml::events::Event;
    use quick_xml::name::ResolveResult;
    let mut reader = NsReader::from_str(xml);
    reader.config_mut().expand_empty_elements = true;
    let mut story: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        let event = reader.read_event().unwrap();
        if !matches!(event, Event::Text(_) | Event::GeneralRef(_)) && !text.is_empty() {
            story.push(format!("text {text:?}"));
            text.clear();
        }
        match event {
            Event::Start(start) => {
                let resolved = |(namespace, local): (ResolveResult<'_>, quick_xml::name::LocalName<'_>)| {
                    let namespace = match namespace {
                        ResolveResult::Bound(namespace) => format!("{namespace:?}"),
                        _ => String::new(),
                    };
                    format!("{{{}}}{}", namespace.replace("Namespace(\"\")", ""), local.into_inner())
                };
                let mut attributes: Vec<String> = start
                    .attributes()
                    .map(|attribute| attribute.unwrap())
                    .filter(|attribute| !attribute.key.into_inner().starts_with("xmlns"))
                    .map(|attribute| {
                        let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap();
                        format!("{}={value:?}", resolved(reader.resolver().resolve_attribute(attribute.key)))
                    })
                    .collect();
                attributes.sort();
                story.push(format!(
                    "<{} {attributes:?}",
                    resolved(reader.resolver().resolve_element(start.name()))
                ));
            }
            Event::End(_) => story.push(">".to_owned()),
            Event::Text(piece) => text.push_str(&piece.into_inner()),
            Event::GeneralRef(reference) => text.push(match reference.resolve_char_ref().unwrap() {
                Some(c) => c,
                None => match &*reference.into_inner() {
                    "lt" => '<',
                    "gt" => '>',
                    "amp" => '&',
                    "apos" => '\'',
                    "quot" => '"',
                    other => panic!("{other}"),
                },
            }),
            Event::Eof => return story,
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn what_was_read_and_written_is_the_same_infoset(
        namespace in prop_oneof![Just(Namespace::Omemo2), Just(Namespace::Legacy)],
        parts in proptest::collection::vec(prop_oneof![
            elements(),
            proptest::sample::select(entries()),
            any::<u32>().prop_map(|id| format!("<device id='{id}'/>")),
            elements().prop_map(|inner| format!("<device id='77'>{inner}</device>")),
        ], 0..8),
    ) {
        let xml = list(namespace, &format!("<device id='1'/>{}", parts.concat()));
        let list = parse(&xml);
        let written = device_list::write(&list);
        prop_assert_eq!(infoset(&written), infoset(&xml));
        prop_assert_eq!(parse(&written), list);
    }
}

#[test]
fn the_tree_can_be_looked_at() {
    let list = parse(&list(
        Namespace::Omemo2,
        "<device id='1' a='b'><x xmlns='y' z='1'>t</x></device><device id='2'/>",
    ));
    assert_eq!(list.devices[1].as_read, None);
    assert_eq!(device_list::write_entry(&list.devices[1]), None);
    let entry = list.devices[0].as_read.as_ref().unwrap();
    assert_eq!((entry.name().namespace(), entry.name().local()), ("urn:xmpp:omemo:2", "device"));
    assert_eq!(entry.attributes()[1].name().local(), "a");
    assert_eq!(entry.attributes()[1].value(), "b");
    let Node::Element(child) = &entry.children()[0] else { panic!("{entry:?}") };
    assert_eq!(child.children(), [Node::Text("t".to_owned())]);
    assert_eq!(
        device_list::write_entry(&list.devices[0]).unwrap(),
        "<device xmlns='urn:xmpp:omemo:2' id='1' a='b'><x xmlns='y' z='1'>t</x></device>"
    );
}
