//! Answers and stanzas in XML through the C functions of a whole client.

use crate::support::client::give;
use crate::support::world::{Answer, Answering};
use crate::support::{Client, JULIET, NS_2, NS_LEGACY, ROMEO, Setup, TYBALT, World, abi};

fn iq(kind: &str, from: Option<&str>, content: &str) -> String {
    let from = from.map(|from| format!(" from='{from}'")).unwrap_or_default();
    format!("<iq xmlns='jabber:client' type='{kind}'{from}>{content}</iq>")
}

fn items(node: &str, content: &str) -> String {
    format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items{node}><item>{content}</item></items></pubsub>"
    )
}

const NOT_FOUND: &str =
    "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";

/// What the world answers, as the iq that a server would send in the name of `from`.
fn whole(answer: &Answer, from: Option<&str>) -> String {
    match answer {
        Answer::Xml(xml) => iq("result", from, &items("", xml)),
        Answer::Reject(_) => iq("error", from, NOT_FOUND),
        _ => iq("result", from, ""),
    }
}

/// Runs a client to the end; before each right answer come wrong ones, and none of them is taken.
fn run(world: &World, client: &Client, whose: &str) -> usize {
    let mut answered = 0;
    for _ in 0..200 {
        assert_eq!(client.run(), abi::OK);
        world.advance(1);
        for (request, answer) in world.due_answers() {
            let mut wrong = vec![
                whole(&answer, Some(TYBALT)),
                whole(&answer, Some("")),
                iq("error", Some(TYBALT), NOT_FOUND),
                iq("set", Some(whose), ""),
                iq("get", Some(whose), ""),
            ];
            if let Answer::Xml(xml) = &answer {
                wrong.push(iq("result", Some(whose), &items(" node='urn:xmpp:bookmarks:1'", xml)));
                wrong.push(items(" node='urn:xmpp:bookmarks:1'", xml));
            }
            for xml in wrong {
                assert_eq!(give(request, &Answer::Xml(xml.clone())), abi::ERR_WRONG_ANSWER, "{xml}");
            }
            // This account's own server need not say who it is.
            let own = whose == ROMEO || answer == Answer::Done;
            let from = if own { None } else { Some(whose) };
            assert_eq!(give(request, &Answer::Xml(whole(&answer, from))), abi::OK);
            assert_eq!(give(request, &Answer::Xml(whole(&answer, from))), abi::ERR_STALE);
            answered += 1;
        }
    }
    answered
}

#[test]
fn whole_iqs_are_taken_from_those_who_were_asked_only() {
    for ns in [NS_2, NS_LEGACY] {
        let world = World::speaking(ns, 1);
        let juliet = Client::online(&world, JULIET);
        world.set_answering(Answering::Later { least_ms: 1, most_ms: 1 });
        let romeo = Client::with(&world, ROMEO, Setup::default());
        let op = romeo.start_connect();
        assert!(run(&world, &romeo, ROMEO) >= 3, "a list, its publication and that of a bundle");
        romeo.outcome(op).expect("it is over").ok();
        let op = romeo.start_encrypt(&[JULIET], "But soft", abi::ENCRYPT_WAIT).unwrap();
        assert!(run(&world, &romeo, JULIET) >= 1);
        let outcome = romeo.outcome(op).expect("it is over");
        assert_eq!(outcome.messages.len(), 1);
        let read = juliet.decrypt(ROMEO, &outcome.messages[0]).unwrap();
        assert_eq!(read.body.as_deref(), Some("But soft"));
    }
}

#[test]
fn a_list_that_cannot_be_used_is_a_row_that_says_why() {
    for (ns, tag) in [(NS_2, "devices"), (NS_LEGACY, "list")] {
        for (content, expected) in [
            ((1..=257).map(|id| format!("<device id='{id}'/>")).collect::<String>(), abi::ERR_LIMIT),
            ((1..=1_000).map(|id| format!("<device id='{id}'/>")).collect(), abi::ERR_LIMIT),
            (format!("<device id='1' a='{}'/>", "x".repeat(70_000)), abi::ERR_LIMIT),
            ("<dev id='1'/>".to_owned(), abi::ERR_MALFORMED),
            ("<x xmlns='y'/>".to_owned(), abi::ERR_MALFORMED),
        ] {
            let world = World::speaking(ns, 1);
            world.set_push(false);
            let romeo = Client::online(&world, ROMEO);
            world.publish_list(ns, JULIET, &format!("<{tag} xmlns='{ns}'>{content}</{tag}>"));
            let op = romeo.start_encrypt(&[JULIET], "But soft", abi::ENCRYPT_WAIT).unwrap();
            let outcome = romeo.finish(op);
            assert!(outcome.messages.is_empty());
            let rows: Vec<_> = outcome.rows.iter().map(|row| row.status).collect();
            assert!(rows.contains(&expected), "{expected}: {rows:?}");
        }
    }
}

#[test]
fn of_several_messages_in_a_stanza_ours_is_read() {
    for ns in [NS_2, NS_LEGACY] {
        let world = World::speaking(ns, 1);
        let (romeo, juliet) = (Client::online(&world, ROMEO), Client::online(&world, JULIET));
        let broken = format!("<encrypted xmlns='{ns}'><header sid='x'/></encrypted>");
        let empty = format!("<encrypted xmlns='{ns}'><header sid='{}'/></encrypted>", romeo.id());
        let key = if ns == NS_2 {
            format!("<keys jid='{JULIET}'><key rid='1'>AAAA</key></keys>")
        } else {
            "<key rid='1'>AAAA</key><iv>AAAAAAAAAAAAAAAA</iv>".to_owned()
        };
        let others = format!(
            "<encrypted xmlns='{ns}'><header sid='{}'>{key}</header><payload>AAAA</payload></encrypted>",
            romeo.id()
        );
        for before in [&broken, &empty, &others, &format!("{broken}{others}{empty}{broken}")] {
            let ours = romeo.seal(&[JULIET], "But soft");
            let stanza =
                format!("<message xmlns='jabber:component:accept'>{before}{ours}{broken}{others}</message>");
            let read = juliet.decrypt(ROMEO, &stanza).unwrap();
            assert_eq!((read.action, read.body.as_deref()), (abi::ACTION_SHOW, Some("But soft")), "{stanza}");
        }
    }
}

#[test]
fn key_exchanges_are_read_however_they_are_marked() {
    for (ns, mark) in [(NS_2, "kex"), (NS_LEGACY, "prekey")] {
        for value in ["True", "yes", "", "false", "0"] {
            let world = World::speaking(ns, 1);
            let (romeo, juliet) = (Client::online(&world, ROMEO), Client::online(&world, JULIET));
            let exchange = romeo.seal(&[JULIET], "But soft");
            let marked = exchange.replace(&format!("{mark}='true'"), &format!("{mark}='{value}'"));
            assert_ne!(marked, exchange);
            assert_eq!(juliet.decrypt(ROMEO, &marked).unwrap().body.as_deref(), Some("But soft"), "{value}");
            let answer = juliet.seal(&[ROMEO], "Ay me");
            assert!(!answer.contains(mark));
            let marked = answer.replace("<key ", &format!("<key {mark}='true' "));
            assert_eq!(romeo.decrypt(JULIET, &marked).unwrap().body.as_deref(), Some("Ay me"));
        }
    }
}
