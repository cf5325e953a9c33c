//! This account's list and bundle are desired state: what others wrote survives us, and we survive what others write.

use super::help::*;
use super::world::*;
use crate::support::world::device::{Device, Options, settle};
use crate::support::world::{Answering, Kind, World};
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::device_list::ListedDevice;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};

in_both_namespaces_and_faces! {
    what_others_wrote_stays_when_we_join_the_list,
    what_others_wrote_stays_when_a_namespace_is_left,
    r47_a_push_that_crosses_our_publication_is_not_undone,
    a_push_behind_the_answer_to_our_publication_is_not_undone,
    a_crossing_is_not_undone_where_others_have_written_more,
    a_list_that_is_too_long_is_a_row_and_stays,
    a_list_that_is_not_understood_is_a_row_and_stays,
    ids_that_nobody_can_serve_stay_on_the_list,
    a_list_of_more_than_64_kib_stays_as_it_is,
}

in_both_namespaces! {
    whoever_overwrites_the_list_right_behind_us_does_not_take_us_off,
    connecting_does_not_wipe_out_a_device_that_was_pushed,
    a_publication_that_failed_is_made_again_from_the_newest_list,
    a_publication_that_was_cut_off_is_made_again_from_the_newest_list,
    whoever_leaves_while_our_list_is_in_doubt_is_not_put_on_again,
    a_list_that_fills_up_is_never_published_beyond_what_is_read,
    a_list_that_is_gone_is_fetched_before_we_write_it,
    a_bundle_that_could_not_be_looked_at_is_not_overwritten,
    an_own_bundle_that_could_not_be_looked_at_is_looked_at_again,
    what_cannot_be_read_under_our_id_is_overwritten,
    a_bundle_that_nobody_can_use_under_our_id_does_not_cost_the_id,
    one_id_a_day_is_given_up_at_most,
    an_id_that_was_given_up_leaves_the_list,
    an_id_that_was_given_up_stops_no_encryption,
    our_entry_is_what_we_want_whatever_others_make_of_it,
    a_bundle_that_changed_while_it_was_published_is_published_again,
    a_publication_that_timed_out_is_said_so,
    a_pushed_own_list_without_us_offline_is_mended_at_the_next_connect,
}

fn other(ns: Namespace) -> Namespace {
    if ns == Legacy { Omemo2 } else { Legacy }
}

fn element(ns: Namespace) -> &'static str {
    if ns == Legacy { "list" } else { "devices" }
}

fn list_xml(ns: Namespace, inside: &str) -> String {
    format!("<{0} xmlns='{1}'>{inside}</{0}>", element(ns), ns.uri())
}

const WRITTEN_BY_OTHERS: &str = "<device id='17' label='phone of mine'/>\
    <device id='18' label='short' labelsig='AAAA'/>\
    <device id='19' colour='blue'><hint xmlns='urn:example:hint'>left &amp; right</hint></device>\
    <device id='20' xmlns:e='urn:example:e' e:mark='yes'/>\
    <extra xmlns='urn:example:extra' a='1'><inside/></extra>";

/// All of that is there, in whatever spelling.
fn assert_untouched(xml: &str) {
    for part in [
        "phone of mine",
        "short",
        "AAAA",
        "colour",
        "blue",
        "urn:example:hint",
        "left &amp; right",
        "urn:example:e",
        "mark",
        "yes",
        "urn:example:extra",
        "inside",
    ] {
        assert!(xml.contains(part), "{part} is gone: {xml}");
    }
    for id in 17..=20 {
        assert!(ids(xml).contains(&id), "{id} is gone: {xml}");
    }
    let long = "l".repeat(300);
    assert!(xml.contains(&long), "the long label is gone");
}

fn ids(xml: &str) -> Vec<u32> {
    let parts = xml.split("<device ").skip(1).map(|part| part.replace('"', "'"));
    let id = |part: String| part.split("id='").nth(1)?.split('\'').next()?.parse().ok();
    parts.filter_map(id).collect()
}

fn written_by_others(ns: Namespace) -> String {
    let long = format!("<device id='21' label='{}'/>", "l".repeat(300));
    list_xml(ns, &format!("{WRITTEN_BY_OTHERS}{long}"))
}

fn what_others_wrote_stays_when_we_join_the_list<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 1);
    world.publish_list(ns.uri(), ROMEO, &written_by_others(ns));
    let mut romeo = D::online(&world, ROMEO);
    let check = |romeo: &D| {
        let xml = world.list(ns.uri(), ROMEO).unwrap();
        assert!(ids(&xml).contains(&romeo.own_id()));
        assert_untouched(&xml);
    };
    check(&romeo);
    // Somebody takes us off; we come back, and nothing else changes.
    world.publish_list(ns.uri(), ROMEO, &written_by_others(ns));
    settle(&[&romeo]);
    check(&romeo);
    world.publish_list(ns.uri(), ROMEO, &written_by_others(ns));
    romeo.restart();
    romeo.connect().ok();
    check(&romeo);
}

fn what_others_wrote_stays_when_a_namespace_is_left<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 2);
    world.publish_list(ns.uri(), ROMEO, &written_by_others(ns));
    let options = Options { namespaces: vec![ns, other(ns)], ..Options::of(&world) };
    let romeo = D::open(&world, ROMEO, options.clone());
    romeo.connect().ok();
    let own = romeo.own_id();
    drop(romeo);
    assert!(ids(&world.list(ns.uri(), ROMEO).unwrap()).contains(&own));
    let romeo = D::open(&world, ROMEO, Options { namespaces: vec![other(ns)], ..options });
    romeo.connect().ok();
    settle(&[&romeo]);
    let xml = world.list(ns.uri(), ROMEO).unwrap();
    assert!(!ids(&xml).contains(&own), "we are still on the list of a namespace that was left");
    assert_untouched(&xml);
}

/// A device whose list was overwritten, and that is about to publish itself again beside 17.
fn about_to_publish<D: Device>(world: &World, ns: Namespace) -> (D, crate::support::world::Held) {
    let romeo = D::online(world, ROMEO);
    world.set_push(false);
    world.set_answering(Answering::Held);
    let theirs = list_xml(ns, "<device id='17'/>");
    world.publish_list(ns.uri(), ROMEO, &theirs);
    assert_eq!(romeo.update_device_list(ROMEO, &theirs), Status::Ok);
    romeo.go_on();
    let held = world.take_held(romeo.endpoint(), |request| request.kind == Kind::PublishList);
    (romeo, held.expect("we do not publish ourselves"))
}

fn assert_all_three<D: Device>(world: &World, ns: Namespace, romeo: &D) {
    while let Some(held) = world.take_held(romeo.endpoint(), |_| true) {
        let _ = romeo.give(held.request_id, &world.serve(&held.request));
    }
    world.set_answering(Answering::InCallback);
    for _ in 0..10 {
        romeo.go_on();
        world.advance(61_000);
    }
    let xml = world.list(ns.uri(), ROMEO).unwrap();
    for id in [17, 18, romeo.own_id()] {
        assert!(ids(&xml).contains(&id), "{id} is not on it: {xml}");
    }
}

fn r47_a_push_that_crosses_our_publication_is_not_undone<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 3);
    let (romeo, held) = about_to_publish::<D>(&world, ns);
    // The new device's list reaches the server first, and is pushed; then ours overwrites it.
    let both = list_xml(ns, "<device id='17'/><device id='18'/>");
    world.publish_list(ns.uri(), ROMEO, &both);
    assert_eq!(romeo.update_device_list(ROMEO, &both), Status::Ok);
    romeo.go_on();
    let answer = world.serve(&held.request);
    let _ = romeo.give(held.request_id, &answer);
    assert_all_three(&world, ns, &romeo);
}

fn a_push_behind_the_answer_to_our_publication_is_not_undone<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 4);
    let (romeo, held) = about_to_publish::<D>(&world, ns);
    let answer = world.serve(&held.request);
    let both = list_xml(ns, "<device id='17'/><device id='18'/>");
    world.publish_list(ns.uri(), ROMEO, &both);
    // The result of our publication, then the push, before the library runs.
    assert_eq!(romeo.give(held.request_id, &answer), Status::Ok);
    assert_eq!(romeo.update_device_list(ROMEO, &both), Status::Ok);
    assert_all_three(&world, ns, &romeo);
}

fn a_list_that_is_too_long_is_a_row_and_stays<D: Device>(ns: Namespace) {
    for count in [257_u32, 300, 1_000] {
        let world = World::speaking(ns.uri(), 5);
        let all: String = (1..=count).map(|id| format!("<device id='{id}'/>")).collect();
        let theirs = list_xml(ns, &all);
        world.publish_list(ns.uri(), ROMEO, &theirs);
        let options = Options { namespaces: vec![ns, other(ns)], ..Options::of(&world) };
        let romeo = D::open(&world, ROMEO, options);
        let report = romeo.connect().ok();
        let row = report.rows.iter().find(|row| row.namespace == Some(ns));
        assert_eq!(row.map(|row| row.status), Some(Status::Limit), "{count}: {:?}", report.rows);
        assert_eq!(world.list(ns.uri(), ROMEO), Some(theirs), "a list that we cannot read was overwritten");
        let id = romeo.own_id();
        assert!(id > count, "an id of the long list was taken");
        assert!(ids(&world.list(other(ns).uri(), ROMEO).unwrap()).contains(&id));
    }
}

fn a_list_that_is_not_understood_is_a_row_and_stays<D: Device>(ns: Namespace) {
    for inside in ["<gadget id='7'/>", "<device ident='7'/>", "<device id='seven'/>"] {
        let world = World::speaking(ns.uri(), 6);
        let theirs = list_xml(ns, inside);
        world.publish_list(ns.uri(), ROMEO, &theirs);
        let options = Options { namespaces: vec![ns, other(ns)], ..Options::of(&world) };
        let romeo = D::open(&world, ROMEO, options);
        let report = romeo.connect().ok();
        let row = report.rows.iter().find(|row| row.namespace == Some(ns));
        assert_eq!(row.map(|row| row.status), Some(Status::Malformed), "{inside}: {:?}", report.rows);
        assert_eq!(
            world.list(ns.uri(), ROMEO),
            Some(theirs),
            "a list that nobody understands is no empty one"
        );
    }
}

fn ids_that_nobody_can_serve_stay_on_the_list<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 7);
    let theirs = "<device id='0'/><device id='3000000000'/><device id='4294967295'/><device id='17'/>";
    world.publish_list(ns.uri(), ROMEO, &list_xml(ns, theirs));
    let romeo = D::online(&world, ROMEO);
    let xml = world.list(ns.uri(), ROMEO).unwrap();
    for id in [0, 3_000_000_000, u32::MAX, 17, romeo.own_id()] {
        assert!(ids(&xml).contains(&id), "{id} is gone: {xml}");
    }
}

fn a_list_of_more_than_64_kib_stays_as_it_is<D: Device>(ns: Namespace) {
    let world = World::speaking(ns.uri(), 8);
    let romeo = D::online(&world, ROMEO);
    let large = format!("<device id='17'/><extra xmlns='urn:example:extra'>{}</extra>", "x".repeat(66_000));
    let theirs = list_xml(ns, &large);
    world.publish_list(ns.uri(), ROMEO, &theirs);
    settle(&[&romeo]);
    assert_eq!(world.list(ns.uri(), ROMEO), Some(theirs), "what others wrote was cut");
    let rows = romeo.reconnect().rows;
    assert!(rows.iter().any(|row| row.status == Status::Limit), "{rows:?}");
}

/// A client that was taken off its list and whose publication is held: its number and the request.
fn publishing(ns: Namespace) -> (Server, RustDevice, u64, Request) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100]));
    push(&romeo, &romeo.jid, &[100]);
    let open = romeo.run_holding(&mut server, is_list_publication);
    let (request_id, request) = open.into_iter().next().expect("no publication");
    (server, romeo, request_id, request)
}

fn whoever_overwrites_the_list_right_behind_us_does_not_take_us_off(ns: Namespace) {
    let (mut server, romeo, request_id, request) = publishing(ns);
    // The server takes our list; another client, which had read the one before, overwrites it, and that is pushed.
    server.answer(&romeo, &request);
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100, 300]));
    romeo.manager().answer(request_id, Answer::Done).unwrap();
    push(&romeo, &romeo.jid, &[100, 300]);
    romeo.run_hours(24, &mut server);
    let ids = server.list(&romeo.jid);
    assert!(ids.contains(&romeo.id()), "a day later we are on no list: nobody writes to us");
    assert!(ids.contains(&100) && ids.contains(&300));
}

fn connecting_does_not_wipe_out_a_device_that_was_pushed(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    romeo.manager().disconnected().unwrap();
    romeo.step();
    // Somebody took us off meanwhile.
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100]));
    romeo.begin_connect();
    for (request_id, request) in romeo.step() {
        let answer = server.answer(&romeo, &request);
        romeo.manager().answer(request_id, answer).unwrap();
    }
    // A new device announces itself; its push comes before `run`.
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100, 300]));
    push(&romeo, &romeo.jid, &[100, 300]);
    romeo.run(&mut server);
    let ids = server.list(&romeo.jid);
    assert!([100, 300, romeo.id()].iter().all(|id| ids.contains(id)), "{ids:?}");
}

fn a_publication_that_failed_is_made_again_from_the_newest_list(ns: Namespace) {
    let (mut server, romeo, request_id, _) = publishing(ns);
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100, 300]));
    push(&romeo, &romeo.jid, &[100, 300]);
    let _ = romeo.manager().answer(request_id, Answer::Rejected(Reason::Failed));
    romeo.run_later(&mut server);
    let ids = server.list(&romeo.jid);
    assert!([100, 300, romeo.id()].iter().all(|id| ids.contains(id)), "{ids:?}");
}

fn whoever_leaves_while_our_list_is_in_doubt_is_not_put_on_again(ns: Namespace) {
    let (mut server, romeo, request_id, request) = publishing(ns);
    // 300 joins; our list overwrites that, and nobody hears of it; then 300 leaves.
    push(&romeo, &romeo.jid, &[100, 300]);
    server.answer(&romeo, &request);
    romeo.manager().answer(request_id, Answer::Rejected(Reason::Timeout)).unwrap();
    romeo.step();
    (0..2).for_each(|_| romeo.push(&romeo.jid, &server));
    romeo.run_later(&mut server);
    assert_eq!(server.list(&romeo.jid), [100, romeo.id()]);
}

fn a_publication_that_was_cut_off_is_made_again_from_the_newest_list(ns: Namespace) {
    // Whether the server had taken it or not.
    for taken in [false, true] {
        let (mut server, romeo, _, request) = publishing(ns);
        if taken {
            server.answer(&romeo, &request);
        }
        romeo.manager().disconnected().unwrap();
        romeo.step();
        server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100, 300]));
        romeo.connect(&mut server);
        let ids = server.list(&romeo.jid);
        assert!([100, 300, romeo.id()].iter().all(|id| ids.contains(id)), "{taken} {ids:?}");
    }
}

fn a_list_that_fills_up_is_never_published_beyond_what_is_read(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    // 256 others: there is no room for us.
    let full: Vec<u32> = (1_000..1_256).collect();
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &full));
    push(&romeo, &romeo.jid, &full);
    romeo.run_hours(3, &mut server);
    assert_eq!(server.list(&romeo.jid), full, "a list was published that we would not read ourselves");
    let outcome = romeo.reconnect(&mut server);
    let rows: Vec<_> = outcome.rows.iter().map(|row| row.error.status()).collect();
    assert!(rows.contains(&Status::Limit), "{rows:?}");
    // As soon as one leaves, we join.
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &full[1..]));
    push(&romeo, &romeo.jid, &full[1..]);
    romeo.run_later(&mut server);
    assert!(server.list(&romeo.jid).contains(&romeo.id()));
}

fn a_bundle_that_could_not_be_looked_at_is_not_overwritten(ns: Namespace) {
    for reason in [Reason::Failed, Reason::Timeout] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        // A key exchange while offline: the bundle is to be published again.
        let mut tybalt = RawDevice::of(ns, TYBALT, 5);
        let (_, hello) = tybalt.greet(&romeo, &server, "x");
        romeo.manager().disconnected().unwrap();
        romeo.read(&tybalt.jid, &hello);
        // Another device of the account has the same id: its bundle stands there now.
        let other = RawDevice::of(ns, ROMEO, romeo.id());
        other.publish(&mut server);
        romeo.begin_connect();
        let own = is_bundle_of(&romeo.jid);
        romeo.run_with(|request| match own(request) {
            true => Some(Answer::Rejected(reason)),
            false => Some(server.answer(&romeo, request)),
        });
        assert_eq!(server.bundle(&romeo).identity_key, other.key(), "somebody else's bundle was overwritten");
    }
}

fn a_bundle_that_nobody_can_use_under_our_id_does_not_cost_the_id(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let own = romeo.id();
    let good = server.bundle(&romeo);
    for change in 0..2 {
        // No signature holds: nobody can use it, and nobody can have made it.
        let mut bundle = good.clone();
        match change {
            0 => bundle.identity_key[3] ^= 1,
            _ => bundle.signature[3] ^= 1,
        }
        server.bundles.insert((ns, romeo.jid.clone(), own), bundle);
        romeo.reconnect(&mut server);
        romeo.run_later(&mut server);
        assert_eq!(romeo.id(), own, "the id was given up, and every session with it");
        assert_eq!(server.bundle(&romeo).identity_key, romeo.key());
    }
    both_ways(&romeo, &juliet, &mut server);
}

/// Somebody sets up another device of the account under the id that this one has now.
fn collide(ns: Namespace, romeo: &RustDevice, server: &mut Server) {
    let other = RawDevice::of(ns, ROMEO, romeo.id());
    other.publish(server);
    romeo.reconnect(server);
    romeo.run_later(server);
}

fn one_id_a_day_is_given_up_at_most(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let mut ids = vec![romeo.id()];
    for _ in 0..5 {
        collide(ns, &romeo, &mut server);
        ids.push(romeo.id());
    }
    ids.dedup();
    assert_eq!(ids.len(), 2, "within an hour the ids were {ids:?}");
    romeo.advance(DAY + HOUR);
    collide(ns, &romeo, &mut server);
    assert!(!ids.contains(&romeo.id()), "a day later the next is given up");
}

fn an_id_that_was_given_up_leaves_the_list(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let old = romeo.id();
    collide(ns, &romeo, &mut server);
    assert_ne!(romeo.id(), old);
    assert_eq!(server.list(&romeo.jid), [romeo.id()], "the other device announces itself, if it is one");
}

fn a_bundle_that_changed_while_it_was_published_is_published_again(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    // Two strangers have read the same bundle, and take different pre keys of it.
    let (mut first, mut second) = (RawDevice::of(ns, TYBALT, 5), RawDevice::of(ns, PARIS, 5));
    let (_, hello) = take_pre_key(&mut first, &romeo, &server, 0);
    let (_, welcome) = take_pre_key(&mut second, &romeo, &server, 1);
    let used = server.bundle(&romeo).pre_keys[1].id;
    romeo.read(&first.jid, &hello);
    let mut open = romeo.run_holding(&mut server, is_bundle_publication);
    for _ in 0..10 {
        if open.is_empty() {
            romeo.advance(61_000);
            open = romeo.run_holding(&mut server, is_bundle_publication);
        }
    }
    let (request_id, request) = open.remove(0);
    // While it is on its way the second pre key is used up; the server has the bundle with it.
    romeo.read(&second.jid, &welcome);
    let answer = server.answer(&romeo, &request);
    romeo.manager().answer(request_id, answer).unwrap();
    romeo.run_later(&mut server);
    let left = server.bundle(&romeo).pre_keys;
    assert!(left.iter().all(|key| key.id != used), "a used pre key stays on the server");
}

fn a_publication_that_timed_out_is_said_so(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::closed(config(ns, ROMEO, "trusted"), std::sync::Arc::default());
    romeo.open().unwrap();
    let operation = romeo.begin_connect();
    romeo.run_holding(&mut server, is_bundle_publication);
    romeo.advance(61_000);
    romeo.run_holding(&mut server, is_bundle_publication);
    let outcome = romeo.take(operation);
    let statuses: Vec<_> = outcome.rows.iter().map(|row| row.error.status()).collect();
    assert!(outcome.status() == Status::Timeout || statuses.contains(&Status::Timeout), "{statuses:?}");
    assert!(romeo.count_notices(NoticeKind::PublishFailed) <= 1);
}

fn a_pushed_own_list_without_us_offline_is_mended_at_the_next_connect(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    romeo.manager().disconnected().unwrap();
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100]));
    push(&romeo, &romeo.jid, &[100]);
    romeo.restart();
    romeo.connect(&mut server);
    assert_eq!(server.list(&romeo.jid), [100, romeo.id()]);
}

/// An account whose bundle the server has lost, and that has begun to connect.
fn connecting_after_a_lost_bundle(ns: Namespace) -> (Server, RustDevice) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    romeo.manager().disconnected().unwrap();
    server.bundles.clear();
    romeo.begin_connect();
    (server, romeo)
}

fn an_own_bundle_that_could_not_be_looked_at_is_looked_at_again(ns: Namespace) {
    let (mut server, romeo) = connecting_after_a_lost_bundle(ns);
    let is_own = is_bundle_of(&romeo.jid);
    // The server is in trouble when it is asked for the bundle.
    let failing = |server: &mut Server, request: &Request| match is_own(request) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&romeo, request)),
    };
    romeo.run_with(|request| failing(&mut server, request));
    for _ in 0..8 {
        romeo.advance(10_000);
        romeo.run(&mut server);
    }
    assert_eq!(server.bundle(&romeo).identity_key, romeo.key());
}

fn an_id_that_was_given_up_stops_no_encryption(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let old = romeo.id();
    // Another identity's bundle stands under our id; the list with the old id cannot be replaced.
    RawDevice::of(ns, ROMEO, old).publish(&mut server);
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[old]));
    romeo.manager().disconnected().unwrap();
    romeo.begin_connect();
    let refuse = |server: &mut Server, request: &Request| match is_list_publication(request) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&romeo, request)),
    };
    romeo.run_with(|request| refuse(&mut server, request));
    assert_ne!(romeo.id(), old);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait);
    romeo.run_with(|request| refuse(&mut server, request));
    let outcome = romeo.take(operation);
    assert!(serves(&outcome, juliet.id()) && !serves(&outcome, old), "{:?}", outcome.rows);
    // A bundle under it that cannot be read keeps it no longer on the list.
    let is_old =
        |request: &Request| matches!(request, Request::FetchBundle { device, .. } if device.get() == old);
    for _ in 0..6 {
        romeo.advance(61_000);
        romeo.run_with(|request| match is_old(request) {
            true => Some(Answer::Unreadable(Status::Malformed.into())),
            false => Some(server.answer(&romeo, request)),
        });
    }
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
}

fn a_crossing_is_not_undone_where_others_have_written_more<D: Device>(ns: Namespace) {
    for more in ["<x xmlns='urn:x'><y/></x>", "<device id='99999999999'/>", "<device id='17' label='again'/>"]
    {
        for echo_first in [true, false] {
            let world = World::speaking(ns.uri(), 6);
            let romeo = D::online(&world, ROMEO);
            world.set_push(false);
            world.set_answering(Answering::Held);
            let theirs = list_xml(ns, &format!("<device id='17'/>{more}"));
            world.publish_list(ns.uri(), ROMEO, &theirs);
            assert_eq!(romeo.update_device_list(ROMEO, &theirs), Status::Ok);
            romeo.go_on();
            let held = world.take_held(romeo.endpoint(), |request| request.kind == Kind::PublishList);
            let held = held.expect("we do not publish ourselves");
            // 18 comes first, then ours overwrites it; its push comes before or behind the answer.
            let both = list_xml(ns, &format!("<device id='17'/><device id='18'/>{more}"));
            assert_eq!(romeo.update_device_list(ROMEO, &both), Status::Ok);
            let answer = world.serve(&held.request);
            let echo = world.list(ns.uri(), ROMEO).unwrap();
            if echo_first {
                assert_eq!(romeo.update_device_list(ROMEO, &echo), Status::Ok);
            }
            let _ = romeo.give(held.request_id, &answer);
            if !echo_first {
                romeo.go_on();
                assert_eq!(romeo.update_device_list(ROMEO, &echo), Status::Ok);
            }
            assert_all_three(&world, ns, &romeo);
        }
    }
}

fn what_cannot_be_read_under_our_id_is_overwritten(ns: Namespace) {
    let (mut server, romeo) = connecting_after_a_lost_bundle(ns);
    let is_own = is_bundle_of(&romeo.jid);
    romeo.run_with(|request| match is_own(request) {
        true => Some(Answer::Unreadable(Status::Malformed.into())),
        false => Some(server.answer(&romeo, request)),
    });
    assert_eq!(server.bundle(&romeo).identity_key, romeo.key());
}

fn a_list_that_is_gone_is_fetched_before_we_write_it(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    // Of several items one is retracted: what the others say stands on the server.
    server.lists.insert((ns, romeo.jid.clone()), list(ns, &[17, 18]));
    romeo.manager().device_list_gone(&romeo.jid, ns).unwrap();
    romeo.run(&mut server);
    let mut ids = server.list(&romeo.jid);
    ids.sort_unstable();
    let mut expected = vec![17, 18, romeo.id()];
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

fn our_entry_is_what_we_want_whatever_others_make_of_it(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let mut theirs = list(ns, &[17]);
    theirs.add(ListedDevice::labelled(romeo.id(), "not ours".into(), [7; 64])).unwrap();
    server.lists.insert((ns, romeo.jid.clone()), theirs);
    romeo.push(&romeo.jid, &server);
    romeo.run_later(&mut server);
    assert_eq!(server.lists[&(ns, romeo.jid.clone())], list(ns, &[17, romeo.id()]));
}
