//! One scenario, both faces of the library, both namespaces: a conversation, a second device, a store that fails.

use super::world::*;
use crate::support::world::device::{Device, Options, settle};
use crate::support::world::{Answering, Kind, World};
use omemo::error::Status;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::protocol::namespace::Namespace;

in_both_namespaces_and_faces! {
    a_conversation_goes_both_ways_and_over_a_restart,
    a_prompt_is_answered,
    answers_come_in_the_order_that_the_test_wants,
    two_devices_of_strangers_are_served,
    a_store_that_fails_now_and_then_loses_nothing,
}

fn a_conversation_goes_both_ways_and_over_a_restart<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 21);
    let (mut romeo, juliet) = (D::online(&world, ROMEO), D::online(&world, JULIET));
    settle(&[&romeo, &juliet]);
    for n in 0..3 {
        romeo.say(JULIET, &format!("to her {n}"));
        assert_eq!(juliet.texts(), [format!("to her {n}")]);
        settle(&[&romeo, &juliet]);
        juliet.say(ROMEO, &format!("to him {n}"));
        assert_eq!(romeo.texts(), [format!("to him {n}")]);
        settle(&[&romeo, &juliet]);
        romeo.restart();
        romeo.connect().ok();
    }
    let known = romeo.find(JULIET, juliet.own_id()).unwrap();
    assert_eq!((known.key, known.active), (Some(juliet.own_key()), true));
    assert_eq!(known.core_trust, CoreTrust::Trusted);
    assert!(!romeo.log_lines().iter().any(|line| line.contains("to her")));
}

fn a_prompt_is_answered<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 22);
    let juliet = D::online(&world, JULIET);
    let romeo = D::open(&world, ROMEO, Options { default_level: "undecided", ..Options::of(&world) });
    romeo.connect().ok();
    let operation = romeo.begin_encrypt(&[JULIET], "text", EncryptPolicy::Wait).unwrap();
    romeo.go_on();
    let prompt = romeo.prompts().remove(0);
    assert_eq!(prompt.devices, [(JULIET.to_owned(), juliet.own_id())]);
    assert_eq!(romeo.decide(prompt.request_id, 0, "trusted"), Status::Ok);
    assert_eq!(romeo.give(prompt.request_id, &crate::support::Answer::Done), Status::Ok);
    let report = romeo.finish(operation).ok();
    assert_eq!(juliet.read(ROMEO, &report.messages[0]).text.as_deref(), Some("text"));
    assert_eq!(romeo.set_trust(JULIET, &juliet.own_key(), "distrusted"), Status::Ok);
    let report = romeo.encrypt(&[JULIET], "more", EncryptPolicy::Wait);
    assert_eq!(report.row(JULIET, juliet.own_id()), Some(Status::Distrusted));
}

fn answers_come_in_the_order_that_the_test_wants<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 23);
    let juliet = D::online(&world, JULIET);
    let paris = D::online(&world, "paris@verona.lit");
    let romeo = D::online(&world, ROMEO);
    world.set_answering(Answering::Held);
    let operation = romeo.begin_encrypt(&[JULIET, "paris@verona.lit"], "text", EncryptPolicy::Wait).unwrap();
    romeo.go_on();
    // The later request first.
    while let Some(held) = world.held().into_iter().rfind(|held| held.request.endpoint == romeo.endpoint()) {
        let held = world.take_held(romeo.endpoint(), |request| *request == held.request).unwrap();
        assert!(matches!(held.request.kind, Kind::FetchList | Kind::FetchBundle), "{:?}", held.request);
        assert_eq!(romeo.give(held.request_id, &world.serve(&held.request)), Status::Ok);
        romeo.go_on();
    }
    let report = romeo.report(operation).expect("all is answered").ok();
    assert_eq!(report.row(JULIET, juliet.own_id()), Some(Status::Ok));
    assert_eq!(report.row("paris@verona.lit", paris.own_id()), Some(Status::Ok));
}

/// Strangers, in a room, say: no subscription, no pushes.
fn strangers(ns: Namespace) -> World {
    let world = World::speaking(ns.uri(), 11);
    world.set_push(false);
    world
}

fn two_devices_of_strangers_are_served<D: Device>(ns: Namespace) {
    let world = strangers(ns);
    let (romeo, juliet) = (D::online(&world, ROMEO), D::online(&world, JULIET));
    romeo.say(JULIET, "1");
    settle(&[&romeo, &juliet]);
    let phone = D::online(&world, JULIET);
    let mut served = false;
    for _ in 0..4 {
        world.advance(21 * 60_000);
        served |= romeo.say(JULIET, "2").keys_for(phone.own_id()) == 1;
        settle(&[&romeo, &juliet, &phone]);
    }
    assert!(served, "an hour later the second device is not known");
}

fn a_store_that_fails_now_and_then_loses_nothing<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 16);
    let romeo = D::open(&world, ROMEO, Options::of(&world));
    romeo.connect().ok();
    let juliet = D::online(&world, JULIET);
    settle(&[&romeo, &juliet]);
    for n in 0..12 {
        for (from, to) in [(&romeo, &juliet), (&juliet, &romeo)] {
            let text = n.to_string();
            let xml = from.seal(to.name(), &text);
            to.storage().fail_commit(1, n % 2 == 0);
            let failed = to.decrypt(Some(from.name()), None, &xml);
            let failed = failed.map_or_else(|status| status, |read| read.status);
            assert_eq!(failed, Status::Storage, "{n}");
            to.storage().heal();
            let read = to.read(from.name(), &xml);
            // A commit that failed although everything was stored has taken the message.
            let done = (read.text.as_deref() == Some(text.as_str())) || (n % 2 == 0 && read.text.is_none());
            assert!(done, "{n}: {:?}", read.status);
            assert_ne!(read.core_trust, CoreTrust::Distrusted);
            settle(&[&romeo, &juliet]);
        }
    }
}
