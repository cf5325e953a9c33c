//! The stanzas of `docs/pep.md` are read by the library's parsers, each as what the page says that it is.
//!
//! A fence says what its example is: `xml reply CALLBACK NAMESPACE MEANING`, `xml request CALLBACK NAMESPACE`,
//! `xml message NAMESPACE`, `xml push MEANING`. A bare `xml` is a request without content that the library reads.

use super::read;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::pep::answer::{self, Answer, Asked};
use omemo::stanza::pep::push::{self, Pushed};
use omemo::stanza::{bundle, device_list, jid, message};
use std::collections::BTreeSet;

const OWN: (&str, u32) = ("romeo@montague.example", 27183);
const CONTACT: (&str, u32) = ("juliet@capulet.example", 31415);

/// The examples of a page: what the fence says, and the stanza.
fn examples(page: &str) -> Vec<(Vec<&str>, &str)> {
    let fenced = page.split("```").skip(1).step_by(2).filter_map(|fence| fence.split_once('\n'));
    let xml = fenced.filter_map(|(info, xml)| Some((info.strip_prefix("xml")?, xml)));
    xml.map(|(info, xml)| (info.split_whitespace().collect(), xml)).collect()
}

fn namespace(word: &str) -> Namespace {
    match word {
        "2" => Namespace::Omemo2,
        "legacy" => Namespace::Legacy,
        _ => panic!("no namespace: {word}"),
    }
}

/// The node and the item that a callback is about.
fn node_and_item(callback: &str, namespace: Namespace, device: u32) -> (String, Option<String>) {
    match callback {
        "fetch_device_list" | "publish_device_list" => (namespace.device_list_node().to_owned(), None),
        _ => {
            let item = (namespace == Namespace::Omemo2).then(|| device.to_string());
            (namespace.bundle_node(device), item)
        }
    }
}

fn word<T>(answer: &Answer<T>) -> &'static str {
    match answer {
        Answer::Found(_) => "found",
        Answer::NotFound => "not-found",
        Answer::Refused(_) => "refused",
        Answer::Unreadable(_) => "unreadable",
        Answer::Wrong => "wrong",
    }
}

/// What the library makes of a reply, in the page's words.
fn meaning(callback: &str, namespace: Namespace, xml: &str) -> &'static str {
    let fetch = callback.starts_with("fetch");
    let (whose, device) = if fetch { CONTACT } else { OWN };
    let (node, item) = node_and_item(callback, namespace, device);
    let (account, asked_jid) = (jid::bare(OWN.0).unwrap(), jid::bare(whose).unwrap());
    let asked = Asked { account: &account, jid: &asked_jid, node: Some(&node), item: item.as_deref() };
    match callback {
        "fetch_device_list" => {
            let answer = answer::device_list(xml.as_bytes(), namespace, &asked);
            if let Answer::Found(list) = &answer {
                assert_eq!(list.ids().map(|id| id.get()).collect::<Vec<_>>(), [CONTACT.1], "{xml}");
            }
            word(&answer)
        }
        "fetch_bundle" => {
            let answer = answer::bundle(xml.as_bytes(), namespace, device, &asked);
            if let Answer::Found(bundle) = &answer {
                assert!(bundle.clone().verified().is_ok() && bundle.pre_keys.len() == 2, "{xml}");
            }
            word(&answer)
        }
        _ => match answer::done(xml.as_bytes(), &asked) {
            Answer::Found(()) => "done",
            other => word(&other),
        },
    }
}

/// The element with this name in a stanza, as it is written there.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let start = xml.find(&format!("<{name} xmlns=")).unwrap_or_else(|| panic!("no {name}: {xml}"));
    let close = format!("</{name}>");
    let end = start + xml[start..].find(&close).unwrap() + close.len();
    &xml[start..end]
}

/// A publication has the node, item, options and content that the table of the page names.
fn check_publication(callback: &str, namespace: Namespace, xml: &str) {
    let (node, item) = node_and_item(callback, namespace, OWN.1);
    let item = item.as_deref().unwrap_or("current");
    let max = if callback == "publish_bundle" && namespace == Namespace::Omemo2 { "max" } else { "1" };
    for part in [
        format!("<publish node='{node}'>"),
        format!("<item id='{item}'>"),
        "var='pubsub#access_model'><value>open<".to_owned(),
        "var='pubsub#persist_items'><value>true<".to_owned(),
        format!("var='pubsub#max_items'><value>{max}<"),
    ] {
        assert!(xml.contains(&part), "{part} is missing: {xml}");
    }
    if callback == "publish_bundle" {
        let bundle = bundle::parse(element(xml, "bundle").as_bytes(), None).unwrap();
        assert!(bundle.namespace == namespace && bundle.verified().is_ok(), "{xml}");
    } else {
        let name = if namespace == Namespace::Omemo2 { "devices" } else { "list" };
        let list = device_list::parse(element(xml, name).as_bytes()).unwrap();
        assert_eq!(list.ids().map(|id| id.get()).collect::<Vec<_>>(), [OWN.1], "{xml}");
        assert_eq!(list.namespace, namespace);
    }
}

#[test]
fn the_stanzas_of_the_page_are_what_it_says() {
    let page = read("docs/pep.md");
    let mut seen = BTreeSet::new();
    for (info, xml) in examples(&page) {
        match info[..] {
            ["reply", callback, ns, expected] => {
                assert_eq!(meaning(callback, namespace(ns), xml), expected, "{xml}");
            }
            ["request", callback, ns] => check_publication(callback, namespace(ns), xml),
            ["message", ns] => {
                let message = message::parse(xml.as_bytes()).unwrap();
                assert_eq!((message.namespace, message.sender_device), (namespace(ns), OWN.1), "{xml}");
                assert!(message.keys.iter().all(|key| key.device == CONTACT.1), "{xml}");
                assert_eq!(message.payload.is_some(), xml.contains("<payload>"));
            }
            ["push", expected] => {
                let pushed = push::parse(xml.as_bytes()).unwrap().pushed;
                let found = if matches!(pushed, Pushed::List(_)) { "list" } else { "gone" };
                assert_eq!(found, expected, "{xml}");
            }
            [] => {
                // A question: its node is one that the library would ask for.
                let nodes = [OWN.1, CONTACT.1].map(|device| {
                    Namespace::ALL.map(|ns| [ns.device_list_node().to_owned(), ns.bundle_node(device)])
                });
                let named = |node: &&String| xml.contains(&format!("node='{node}'"));
                assert_eq!(
                    nodes
                        .iter()
                        .flatten()
                        .flatten()
                        .collect::<BTreeSet<_>>()
                        .into_iter()
                        .filter(named)
                        .count(),
                    1,
                    "{xml}"
                );
            }
            _ => panic!("an example of no known kind: {info:?}"),
        }
        seen.insert(info.join(" "));
    }
    for callback in
        ["fetch_device_list", "fetch_bundle", "publish_device_list", "publish_bundle", "delete_bundle"]
    {
        for ns in ["2", "legacy"] {
            let start = format!("reply {callback} {ns} ");
            assert!(seen.iter().any(|info| info.starts_with(&start)), "no example: {start}");
        }
    }
    for info in ["message 2", "message legacy", "push list", "push gone"] {
        assert!(seen.contains(info), "no example: {info}");
    }
}

#[test]
fn a_wrong_example_is_found() {
    let page = read("docs/pep.md");
    let examples = examples(&page);
    let (_, found) = examples
        .iter()
        .find(|(info, _)| info[..] == ["reply", "fetch_device_list", "2", "found"])
        .expect("the example");
    for (from, to, expected) in [
        ("from='juliet@capulet.example'", "from='tybalt@capulet.example'", "wrong"),
        ("node='urn:xmpp:omemo:2:devices'", "node='urn:xmpp:omemo:2:bundles'", "wrong"),
        ("type='result'", "type='error'", "refused"),
        ("<item id='current'>", "<entry>", "unreadable"),
    ] {
        assert!(found.contains(from), "{from}");
        assert_eq!(meaning("fetch_device_list", Namespace::Omemo2, &found.replacen(from, to, 1)), expected);
    }
}
