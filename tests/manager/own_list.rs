//! This account's list is desired state: what others wrote survives us, and we survive what others write.

use super::help::*;
use super::world::*;
use crate::support::world::device::{Device, Options, settle};
use crate::support::world::{Answering, Kind, World};
use omemo::error::Status;
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
    our_entry_is_what_we_want_whatever_others_make_of_it,
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
