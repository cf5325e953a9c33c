//! Scenarios of whole clients, on both faces of the library.

use super::world::*;
use crate::support::world::device::{Device, settle};
use crate::support::world::{Answering, Kind, World};
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::protocol::namespace::Namespace;

in_both_namespaces_and_faces! {
    whoever_installs_omemo_after_our_first_try_is_served,
    twelve_turns_given_again_are_silent,
    offline_encryptions_wait,
    a_dead_server_delays_a_room_once,
    a_slow_server_does_not_hold_up_the_list_that_was_pushed,
    an_older_answer_does_not_undo_a_newer_push,
    an_own_message_reflected_in_a_room_is_hidden,
}

/// Strangers, in a room, say: no subscription, no pushes.
fn strangers(ns: Namespace) -> World {
    let world = World::speaking(ns.uri(), 11);
    world.set_push(false);
    world
}

fn whoever_installs_omemo_after_our_first_try_is_served<D: Device>(ns: Namespace) {
    let world = strangers(ns);
    let romeo = D::online(&world, ROMEO);
    let refused = romeo.encrypt(&[JULIET], "1", EncryptPolicy::Wait);
    assert_eq!(refused.rows_of(JULIET), [(0, Status::NoDevices)]);
    let juliet = D::online(&world, JULIET);
    world.advance(6_000);
    let served = romeo.encrypt(&[JULIET], "2", EncryptPolicy::Wait);
    assert_eq!(served.row(JULIET, juliet.own_id()), Some(Status::Ok), "{:?}", served.rows);
}

fn twelve_turns_given_again_are_silent<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 12);
    let (mut romeo, juliet) = (D::online(&world, ROMEO), D::online(&world, JULIET));
    settle(&[&romeo, &juliet]);
    let mut archive = Vec::new();
    for _ in 0..12 {
        for xml in juliet.say(ROMEO, "from Juliet").messages {
            archive.push(xml);
        }
        settle(&[&romeo, &juliet]);
        romeo.say(JULIET, "from Romeo");
        settle(&[&romeo, &juliet]);
    }
    for restarted in [false, true] {
        for (n, xml) in archive.iter().enumerate() {
            let read = romeo.read(JULIET, xml);
            assert_eq!((read.status, read.action), (Status::Duplicate, Action::Hide), "{n} {restarted}");
        }
        romeo.restart();
    }
}

fn offline_encryptions_wait<D: Device>(ns: Namespace) {
    let world = strangers(ns);
    let (mut romeo, juliet) = (D::online(&world, ROMEO), D::online(&world, JULIET));
    romeo.say(JULIET, "1");
    settle(&[&romeo, &juliet]);
    for restarted in [false, true] {
        if restarted {
            romeo.restart();
        } else {
            romeo.disconnect();
        }
        let operation = romeo.begin_encrypt(&[JULIET], "later", EncryptPolicy::Wait).unwrap();
        romeo.go_on();
        world.advance(3_600_000);
        romeo.go_on();
        assert_eq!(romeo.report(operation), None, "it completed offline");
        romeo.connect().ok();
        let report = romeo.finish(operation).ok();
        assert_eq!(juliet.read(ROMEO, &report.messages[0]).text.as_deref(), Some("later"));
    }
}

fn a_dead_server_delays_a_room_once<D: Device>(ns: Namespace) {
    let world = strangers(ns);
    let (romeo, juliet) = (D::online(&world, ROMEO), D::online(&world, JULIET));
    let paris = D::online(&world, "paris@verona.lit");
    let to = [JULIET, "paris@verona.lit"];
    romeo.encrypt(&to, "before", EncryptPolicy::Wait).ok();
    romeo.reconnect().ok();
    world.set_dead("paris@verona.lit", true);
    let start = world.now_ms();
    for _ in 0..5 {
        let report = romeo.encrypt(&to, "text", EncryptPolicy::Wait).ok();
        assert_eq!(report.row("paris@verona.lit", paris.own_id()), Some(Status::Ok), "{:?}", report.rows);
        assert_eq!(report.row(JULIET, juliet.own_id()), Some(Status::Ok));
    }
    let waited = world.now_ms() - start;
    assert!(waited <= 65_000, "five messages waited for {waited} ms");
}

fn a_slow_server_does_not_hold_up_the_list_that_was_pushed<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 13);
    let (romeo, juliet) = (D::online(&world, ROMEO), D::online(&world, JULIET));
    settle(&[&romeo, &juliet]);
    romeo.say(JULIET, "1");
    settle(&[&romeo, &juliet]);
    romeo.reconnect().ok();
    world.set_latency(JULIET, 30_000);
    let operation = romeo.begin_encrypt(&[JULIET], "2", EncryptPolicy::Wait).unwrap();
    romeo.go_on();
    assert_eq!(romeo.report(operation), None, "her list is being fetched");
    // The push brings what was asked for.
    let list = world.list(ns.uri(), JULIET).unwrap();
    assert_eq!(romeo.update_device_list(JULIET, &list), Status::Ok);
    romeo.go_on();
    assert_eq!(romeo.report(operation).map(|report| report.status), Some(Status::Ok));
}

fn an_older_answer_does_not_undo_a_newer_push<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 14);
    let romeo = D::online(&world, ROMEO);
    world.set_answering(Answering::Held);
    let list = |id: u32| {
        let name = if ns == Namespace::Legacy { "list" } else { "devices" };
        format!("<{name} xmlns='{}'><device id='{id}'/></{name}>", ns.uri())
    };
    world.publish_list(ns.uri(), "tybalt@capulet.lit", &list(7));
    romeo.begin_refresh("tybalt@capulet.lit").unwrap();
    romeo.go_on();
    let held = world.take_held(romeo.endpoint(), |request| request.kind == Kind::FetchList).unwrap();
    assert_eq!(romeo.give(held.request_id, &world.serve(&held.request)), Status::Ok);
    assert_eq!(romeo.update_device_list("tybalt@capulet.lit", &list(8)), Status::Ok);
    romeo.go_on();
    let active: Vec<u32> = romeo
        .known(Some("tybalt@capulet.lit"))
        .into_iter()
        .filter(|known| known.active)
        .map(|known| known.id)
        .collect();
    assert_eq!(active, [8]);
}

fn an_own_message_reflected_in_a_room_is_hidden<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 15);
    let (romeo, juliet) = (D::online(&world, ROMEO), D::online(&world, JULIET));
    settle(&[&romeo, &juliet]);
    let own = romeo.seal(JULIET, "text");
    for from in [None, Some(ROMEO)] {
        let read = romeo.decrypt(from, Some("room@rooms.example"), &own).unwrap();
        assert_eq!((read.status, read.action), (Status::OwnEcho, Action::Hide), "{from:?}");
    }
    assert_eq!(juliet.read(ROMEO, &own).text.as_deref(), Some("text"));
}
