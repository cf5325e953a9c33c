//! Answers to questions: what they mean, and whether they are answers to what was asked.

use crate::sample_bundle;
use omemo::error::Status;
use omemo::protocol::address::BareJid;
use omemo::protocol::bundle::Bundle;
use omemo::protocol::limits;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::protocol::stanza_error::Condition;
use omemo::stanza::pep::answer::{self, Answer, Asked};
use omemo::stanza::{bundle, device_list, jid};

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
const ME: &str = "romeo@montague.example";
const JULIET: &str = "juliet@capulet.example";

/// What was asked of whom, in one namespace.
struct Query {
    namespace: Namespace,
    account: BareJid,
    jid: BareJid,
    node: Option<String>,
    item: Option<String>,
}

impl Query {
    fn list(namespace: Namespace, whose: &str) -> Query {
        let node = Some(namespace.device_list_node().to_owned());
        Query { namespace, account: jid::bare(ME).unwrap(), jid: jid::bare(whose).unwrap(), node, item: None }
    }

    fn bundle(namespace: Namespace, whose: &str, device: u32) -> Query {
        let item = (namespace == Omemo2).then(|| device.to_string());
        Query { node: Some(namespace.bundle_node(device)), item, ..Query::list(namespace, whose) }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            account: &self.account,
            jid: &self.jid,
            node: self.node.as_deref(),
            item: self.item.as_deref(),
        }
    }

    /// The ids of the list in an answer.
    fn ids(&self, xml: &str) -> Answer<Vec<u32>> {
        map(answer::device_list(xml.as_bytes(), self.namespace, &self.asked()), |list| {
            list.devices.iter().map(|device| device.id).collect()
        })
    }

    /// The id of the signed pre key of the bundle in an answer.
    fn keys(&self, xml: &str, device: u32) -> Answer<u32> {
        map(answer::bundle(xml.as_bytes(), self.namespace, device, &self.asked()), |bundle| {
            bundle.signed_pre_key_id
        })
    }

    fn done(&self, xml: &str) -> Answer<()> {
        answer::done(xml.as_bytes(), &self.asked())
    }
}

fn map<T, U>(answer: Answer<T>, to: impl FnOnce(T) -> U) -> Answer<U> {
    match answer {
        Answer::Found(thing) => Answer::Found(to(thing)),
        Answer::NotFound => Answer::NotFound,
        Answer::Refused(error) => Answer::Refused(error),
        Answer::Unreadable(error) => Answer::Unreadable(error),
        Answer::Wrong => Answer::Wrong,
    }
}

fn unreadable<T>(answer: Answer<T>) -> Status {
    match answer {
        Answer::Unreadable(error) => error.status(),
        _ => panic!("it was read"),
    }
}

fn list(namespace: Namespace, ids: &[u32]) -> String {
    let name = if namespace == Omemo2 { "devices" } else { "list" };
    let devices: String = ids.iter().map(|id| format!("<device id='{id}'/>")).collect();
    format!("<{name} xmlns='{}'>{devices}</{name}>", namespace.uri())
}

fn keys(namespace: Namespace, signed_pre_key_id: u32) -> String {
    bundle::write(&Bundle { signed_pre_key_id, ..sample_bundle::with_sign(namespace, 0) }).unwrap()
}

fn items(node: &str, items: &str) -> String {
    format!("<pubsub xmlns='{PUBSUB}'><items node='{node}'>{items}</items></pubsub>")
}

fn item(id: &str, content: &str) -> String {
    format!("<item id='{id}'>{content}</item>")
}

fn result(from: Option<&str>, content: &str) -> String {
    let from = from.map(|from| format!(" from='{from}'")).unwrap_or_default();
    format!("<iq xmlns='jabber:client' type='result' id='1'{from}>{content}</iq>")
}

fn error(from: Option<&str>, content: &str) -> String {
    result(from, content).replace("type='result'", "type='error'")
}

fn condition(name: &str) -> String {
    format!("<error type='cancel'><{name} xmlns='{ERRORS}'/></error>")
}

// ---- who sent it, and what it is about ----

/// Senders that answer for a node, and some that do not.
fn senders(whose: &str) -> (Vec<Option<&'static str>>, Vec<Option<&'static str>>) {
    let own = [None, Some(ME), Some("Romeo@Montague.Example."), Some("romeo@montague.example/orchard")];
    let others = [Some(JULIET), Some("JULIET@capulet.example"), Some("juliet@CAPULET.example")];
    let never = [
        Some("tybalt@capulet.example"),
        Some("tybalt@capulet.example/x"),
        Some("capulet.example"),
        Some("montague.example"),
        Some("juliet@capulet.example.evil.example"),
        Some("juliet@capulet.example@montague.example"),
        Some("juliet@capulet.example/balcony"),
        Some("juliet@capulet.example/"),
        Some(""),
        Some("@"),
    ];
    match whose == ME {
        true => (own.to_vec(), [&never[..], &others[..]].concat()),
        false => (others.to_vec(), [&never[..], &own[..]].concat()),
    }
}

#[test]
fn only_whoever_was_asked_can_answer_in_whatever_way() {
    for namespace in Namespace::ALL {
        for whose in [ME, JULIET] {
            let query = Query::list(namespace, whose);
            let bundle = Query::bundle(namespace, whose, 7);
            let node = namespace.device_list_node();
            let (right, wrong) = senders(whose);
            let found = items(node, &item("current", &list(namespace, &[7])));
            let broken = items(
                node,
                &item(
                    "current",
                    &format!(
                        "<{} xmlns='{}'>text</{0}>",
                        if namespace == Omemo2 { "devices" } else { "list" },
                        namespace.uri()
                    ),
                ),
            );
            let published = items(&namespace.bundle_node(7), &item("7", &keys(namespace, 5)));
            for from in right {
                assert_eq!(query.ids(&result(from, &found)), Answer::Found(vec![7]), "{from:?}");
                assert_eq!(unreadable(query.ids(&result(from, &broken))), Status::Malformed);
                assert_eq!(query.ids(&result(from, &items(node, ""))), Answer::NotFound);
                assert_eq!(query.ids(&error(from, &condition("item-not-found"))), Answer::NotFound);
                assert!(matches!(query.ids(&error(from, &condition("forbidden"))), Answer::Refused(_)));
                assert_eq!(bundle.keys(&result(from, &published), 7), Answer::Found(5));
                for kind in ["get", "set"] {
                    let request = result(from, &found).replace("type='result'", &format!("type='{kind}'"));
                    assert_eq!(query.ids(&request), Answer::Wrong, "{kind}");
                }
            }
            for from in wrong {
                for content in [&found, &broken, &items(node, ""), &String::new()] {
                    assert_eq!(query.ids(&result(from, content)), Answer::Wrong, "{from:?}");
                }
                for name in ["item-not-found", "forbidden", "remote-server-timeout"] {
                    assert_eq!(query.ids(&error(from, &condition(name))), Answer::Wrong, "{from:?}");
                    assert_eq!(bundle.keys(&error(from, &condition(name)), 7), Answer::Wrong, "{from:?}");
                }
                assert_eq!(bundle.keys(&result(from, &published), 7), Answer::Wrong, "{from:?}");
            }
        }
    }
}

#[test]
fn an_answer_about_another_node_or_item_is_none() {
    for namespace in Namespace::ALL {
        let other = Namespace::ALL.into_iter().find(|other| *other != namespace).unwrap();
        for whose in [ME, JULIET] {
            let query = Query::list(namespace, whose);
            let content = item("current", &list(namespace, &[7]));
            for node in [other.device_list_node(), "urn:xmpp:bookmarks:1", "", &namespace.bundle_node(7)] {
                for xml in [
                    result(Some(whose), &items(node, &content)),
                    result(Some(whose), &items(node, "")),
                    items(node, &content),
                    format!("<items node='{node}'>{content}</items>"),
                    // The request that failed was another one.
                    error(Some(whose), &(items(node, "") + &condition("item-not-found"))),
                ] {
                    assert_eq!(query.ids(&xml), Answer::Wrong, "{xml}");
                }
            }
            // Bare payloads, whose way the client knows.
            for xml in [
                list(namespace, &[7]),
                content.clone(),
                format!("<items>{content}</items>"),
                format!("<items node='{}'>{content}</items>", namespace.device_list_node()),
                items(namespace.device_list_node(), &content),
                result(Some(whose), &format!("<pubsub xmlns='{PUBSUB}'><items>{content}</items></pubsub>")),
            ] {
                assert_eq!(query.ids(&xml), Answer::Found(vec![7]), "{xml}");
            }
            let query = Query::bundle(namespace, whose, 7);
            let wrong = match namespace {
                Omemo2 => items(
                    "urn:xmpp:omemo:2:bundles",
                    &(item("6", &keys(namespace, 6)) + &item("8", &keys(namespace, 8))),
                ),
                Legacy => items(&namespace.bundle_node(8), &item("current", &keys(namespace, 8))),
            };
            assert_eq!(query.keys(&result(Some(whose), &wrong), 7), Answer::Wrong);
            assert_eq!(query.keys(&wrong, 7), Answer::Wrong);
            assert_eq!(
                query.keys(&error(Some(whose), &(wrong + &condition("item-not-found"))), 7),
                Answer::Wrong
            );
        }
    }
}

#[test]
fn the_bundle_of_another_device_is_never_taken() {
    let query = Query::bundle(Omemo2, JULIET, 7);
    let of = |id: u32| item(&id.to_string(), &keys(Omemo2, id));
    let answer =
        |content: &str| query.keys(&result(Some(JULIET), &items("urn:xmpp:omemo:2:bundles", content)), 7);
    assert_eq!(answer(&[of(6), of(7), of(8)].concat()), Answer::Found(7));
    assert_eq!(answer(&[of(6), of(8)].concat()), Answer::Wrong);
    assert_eq!(answer(&of(70)), Answer::Wrong);
    assert_eq!(answer(&item("current", &keys(Omemo2, 3))), Answer::Wrong);
    assert_eq!(answer(""), Answer::NotFound);
    // Without an id there is nothing that contradicts.
    assert_eq!(answer(&format!("<item>{}</item>", keys(Omemo2, 3))), Answer::Found(3));
    assert_eq!(query.keys(&keys(Omemo2, 4), 7), Answer::Found(4));
    // The namespaces do not stand in for each other.
    assert_eq!(unreadable(query.keys(&keys(Legacy, 4), 7)), Status::Malformed);
}

#[test]
fn publications_are_done_or_not() {
    for namespace in Namespace::ALL {
        let query = Query::list(namespace, ME);
        let published = |node: &str, id: &str| {
            format!("<pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='{id}'/></publish></pubsub>")
        };
        let own = namespace.device_list_node();
        let (right, wrong) = senders(ME);
        for from in right {
            assert_eq!(query.done(&result(from, "")), Answer::Found(()), "{from:?}");
            assert_eq!(query.done(&result(from, &published(own, "current"))), Answer::Found(()));
            assert_eq!(query.done(&result(from, &published("other", "current"))), Answer::Wrong);
            for condition in [Condition::ItemNotFound, Condition::Conflict] {
                let refused = query.done(&error(from, &self::condition(condition.name())));
                assert!(matches!(refused, Answer::Refused(error) if error.condition == Some(condition)));
            }
            let echo = published("other", "current") + &condition("conflict");
            assert_eq!(query.done(&error(from, &echo)), Answer::Wrong);
        }
        for from in wrong {
            assert_eq!(query.done(&result(from, "")), Answer::Wrong, "{from:?}");
            assert_eq!(query.done(&error(from, &condition("conflict"))), Answer::Wrong, "{from:?}");
        }
        assert_eq!(query.done("<iq type='set'/>"), Answer::Wrong);
        for xml in ["<message/>", "<presence type='result'/>", "<iq", "", "<iq/>"] {
            assert_eq!(unreadable(query.done(xml)), Status::Malformed, "{xml}");
        }
        let bundle = Query::bundle(namespace, ME, 7);
        let node = namespace.bundle_node(7);
        assert_eq!(bundle.done(&result(None, &published(&node, "7"))), Answer::Found(()));
        let other = if namespace == Omemo2 { Answer::Wrong } else { Answer::Found(()) };
        assert_eq!(bundle.done(&result(None, &published(&node, "8"))), other);
        assert_eq!(bundle.done(&result(None, &published(own, "7"))), Answer::Wrong);
    }
}

#[test]
fn a_message_comes_back_from_where_it_went_or_not_at_all() {
    let query = Query { node: None, ..Query::list(Omemo2, JULIET) };
    let bounce = |from: &str| {
        format!(
            "<message xmlns='jabber:client' type='error' from='{from}'>{}</message>",
            condition("service-unavailable")
        )
    };
    for from in [JULIET, "juliet@capulet.example/balcony", "capulet.example", ME, "montague.example"] {
        assert!(matches!(query.done(&bounce(from)), Answer::Refused(_)), "{from}");
    }
    for from in ["tybalt@capulet.example", "evil.example", "juliet@evil.example", ""] {
        assert_eq!(query.done(&bounce(from)), Answer::Wrong, "{from}");
    }
}

#[test]
fn streams_of_components_and_servers_are_read_like_those_of_clients() {
    for namespace in Namespace::ALL {
        let query = Query::list(namespace, JULIET);
        let found = result(
            Some(JULIET),
            &items(namespace.device_list_node(), &item("current", &list(namespace, &[7]))),
        );
        let gone = error(Some(JULIET), &condition("item-not-found"));
        for stream in ["jabber:client", "jabber:server", "jabber:component:accept"] {
            let in_stream = |xml: &str| xml.replace("jabber:client", stream);
            assert_eq!(query.ids(&in_stream(&found)), Answer::Found(vec![7]), "{stream}");
            assert_eq!(query.ids(&in_stream(&gone)), Answer::NotFound, "{stream}");
            assert_eq!(Query::list(namespace, ME).done(&in_stream(&result(None, ""))), Answer::Found(()));
        }
        assert_eq!(
            unreadable(query.ids(&found.replace("jabber:client", "jabber:component:connect"))),
            Status::Malformed
        );
    }
}

// ---- what it means ----

#[test]
fn not_found_is_kept_apart_from_every_other_failure() {
    let query = Query::list(Omemo2, ME);
    let node = Omemo2.device_list_node();
    assert_eq!(
        query.ids(&format!("<error type='cancel'><item-not-found xmlns='{ERRORS}'/></error>")),
        Answer::NotFound
    );
    for (content, expected) in [
        (condition("forbidden"), Some(Condition::Forbidden)),
        (condition("remote-server-timeout"), Some(Condition::RemoteServerTimeout)),
        ("<error><item-not-found xmlns='something:else'/></error>".to_owned(), None),
        (format!("<error><x xmlns='y'><item-not-found xmlns='{ERRORS}'/></x></error>"), None),
        (format!("<item-not-found xmlns='{ERRORS}'/>"), None),
        (String::new(), None),
        // The echo of a request inside of an error is no answer.
        (items(node, &item("current", &list(Omemo2, &[]))), None),
    ] {
        let Answer::Refused(refused) = query.ids(&error(None, &content)) else { panic!("{content}") };
        assert_eq!((refused.condition, refused.text), (expected, None), "{content}");
    }
    for xml in [
        "<iq type='result'/>".to_owned(),
        result(None, &format!("<pubsub xmlns='{PUBSUB}'/>")),
        result(None, &items(node, "<item id='current'/>")),
        result(None, &items(node, "<item><devices xmlns='x'/></item>")),
        format!("<iq type='error'>{}</iq", condition("item-not-found")),
        "no xml".to_owned(),
        String::new(),
    ] {
        assert_eq!(unreadable(query.ids(&xml)), Status::Malformed, "{xml}");
    }
    // An empty list is a list.
    assert_eq!(query.ids(&list(Omemo2, &[])), Answer::Found(Vec::new()));
    // Too many devices: not readable, and certainly not "none".
    for count in [257, 300, 1_000] {
        let ids: Vec<u32> = (1..=count).collect();
        assert_eq!(unreadable(query.ids(&list(Omemo2, &ids))), Status::Limit);
        assert_eq!(
            unreadable(query.ids(&result(None, &items(node, &item("current", &list(Omemo2, &ids)))))),
            Status::Limit
        );
    }
}

#[test]
fn what_the_server_says_is_carried_and_harmless() {
    let query = Query::list(Legacy, JULIET);
    let refused = |content: &str| match query
        .ids(&error(Some(JULIET), &format!("<error type='auth'>{content}</error>")))
    {
        Answer::Refused(error) => error,
        _ => panic!("{content}"),
    };
    for condition in Condition::ALL.iter().filter(|condition| **condition != Condition::ItemNotFound) {
        let error = refused(&format!("<{} xmlns='{ERRORS}'/><x xmlns='y'/>", condition.name()));
        assert_eq!((error.condition, error.text), (Some(*condition), None));
    }
    let error = refused(&format!(
        "<text xmlns='{ERRORS}' xml:lang='en'> Say \u{202e}friend&#10;and <b/>ent&#x65;r &lt;romeo@x&gt; </text>\
         <text xmlns='{ERRORS}' xml:lang='de'>Sprich</text><forbidden xmlns='{ERRORS}'/><conflict xmlns='{ERRORS}'/>"
    ));
    assert_eq!(error.condition, Some(Condition::Forbidden));
    assert_eq!(error.text.unwrap(), "Say \\u{202e}friend\\u{a}and enter <romeo@x>");
    let long = refused(&format!("<text xmlns='{ERRORS}'>{}</text>", "\u{1f600}".repeat(100_000)));
    assert_eq!(long.text.unwrap(), "\u{1f600}".repeat(200));
    let empty = refused(&format!("<text xmlns='{ERRORS}'> </text><unknown xmlns='{ERRORS}'/>"));
    assert_eq!((empty.condition, empty.text), (None, None));
}

// ---- several items ----

#[test]
fn of_others_the_newest_item_counts_and_of_this_account_all() {
    for namespace in Namespace::ALL {
        let node = namespace.device_list_node();
        let of = |id: &str, ids: &[u32]| item(id, &list(namespace, ids));
        let (mine, hers) = (Query::list(namespace, ME), Query::list(namespace, JULIET));
        let both = |content: &str| {
            let content = items(node, content);
            (mine.ids(&result(None, &content)), hers.ids(&result(Some(JULIET), &content)))
        };
        let found =
            |own: &[u32], others: &[u32]| (Answer::Found(own.to_vec()), Answer::Found(others.to_vec()));
        // XEP-0060 has the newest last.
        assert_eq!(both(&(of("a", &[1, 2]) + &of("b", &[2, 3]))), found(&[2, 3, 1], &[2, 3]));
        assert_eq!(both(&(of("a", &[1]) + &of("current", &[2]) + &of("b", &[3]))), found(&[2, 1, 3], &[2]));
        // Together they are too long, whatever comes behind them.
        let many = |first: u32| (first..first + 200).collect::<Vec<u32>>();
        let (own, _) = both(&(of("a", &many(1)) + &of("b", &many(201)) + &of("c", &[1_000])));
        assert_eq!(unreadable(own), Status::Limit);
        assert_eq!(both(&(of("a", &[]) + &of("b", &[]))), found(&[], &[]));
        assert_eq!(both(&(of("a", &[1]) + &of("b", &[]))), found(&[1], &[]));
        // An older item that cannot be read hides nothing; a newer one does.
        let broken = item("x", &list(namespace, &[9]).replace("<device ", "<dev "));
        assert_eq!(both(&(broken.clone() + &of("b", &[1]))), found(&[1], &[1]));
        let (own, others) = both(&(of("a", &[1]) + &broken));
        assert_eq!((unreadable(own), unreadable(others)), (Status::Malformed, Status::Malformed));
        // Together they may be too long.
        let (first, second): (Vec<u32>, Vec<u32>) = ((1..200).collect(), (200..400).collect());
        let (own, others) = both(&(of("a", &first) + &of("b", &second)));
        assert_eq!((unreadable(own), others), (Status::Limit, Answer::Found(second)));
        let kept = |id: &str| {
            let content = format!("<device id='1' a='{}'/>", "x".repeat(limits::FOREIGN_BYTES / 2));
            item(
                id,
                &list(namespace, &[])
                    .replace("></", &format!(">{}</", content.replace("id='1'", &format!("id='{id}'")))),
            )
        };
        let (own, others) = both(&(kept("1") + &kept("2") + &kept("3")));
        assert_eq!((unreadable(own), others), (Status::Limit, Answer::Found(vec![3])));
        // Hundreds of old items, as a server sent them that ignores max_items.
        let many: String = (0..187).map(|i| of(&i.to_string(), &[i % 50])).collect();
        let (own, others) = both(&many);
        assert!(matches!(own, Answer::Found(ids) if ids.len() == 50));
        assert_eq!(others, Answer::Found(vec![36]));
    }
}

#[test]
fn the_union_keeps_what_others_wrote_in_any_item() {
    let query = Query::list(Omemo2, ME);
    let content =
        item("a", "<devices xmlns='urn:xmpp:omemo:2'><device id='1' label='x'/><y xmlns='z'/></devices>")
            + &item("b", "<devices xmlns='urn:xmpp:omemo:2'><device id='2'/></devices>");
    let xml = result(None, &items(Omemo2.device_list_node(), &content));
    let Answer::Found(list) = answer::device_list(xml.as_bytes(), Omemo2, &query.asked()) else { panic!() };
    assert_eq!(
        device_list::write(&list),
        "<devices xmlns='urn:xmpp:omemo:2'><device id='2'/><device id='1' label='x'/><y xmlns='z'/></devices>"
    );
}
