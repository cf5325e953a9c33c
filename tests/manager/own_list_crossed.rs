//! A publication of this account's list that crosses another device's: what it has overwritten is restored, whatever
//! becomes of the publication that restores it, and nothing else is.

use super::help::*;
use super::leaving::reopened;
use super::world::*;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};

in_both_namespaces! {
    a_restoration_that_is_cut_off_is_made_again,
    what_was_overwritten_is_left_where_somebody_has_written_since,
    a_push_between_the_answer_and_the_next_run_crosses_nothing,
    a_list_that_is_gone_is_not_restored,
    what_was_overwritten_is_restored_in_a_namespace_that_is_left,
}

/// When the push of the publication that has overwritten a list comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Echo {
    Never,
    BeforeRestoring,
    WhileRestoring,
}

/// How the publication that restores the list ends, without the server having taken it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Fails,
    TimesOut,
    StreamBreaks,
}

const ALL: [(Echo, End); 9] = [
    (Echo::Never, End::Fails),
    (Echo::Never, End::TimesOut),
    (Echo::Never, End::StreamBreaks),
    (Echo::BeforeRestoring, End::Fails),
    (Echo::BeforeRestoring, End::TimesOut),
    (Echo::BeforeRestoring, End::StreamBreaks),
    (Echo::WhileRestoring, End::Fails),
    (Echo::WhileRestoring, End::TimesOut),
    (Echo::WhileRestoring, End::StreamBreaks),
];

/// A device that stands beside 100 on no list any more, and whose publication is held.
fn publishing(ns: Namespace) -> (Server, RustDevice, u64, Request) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    write(&mut server, &romeo, &[100]);
    let (request_id, request) = held(&mut server, &romeo);
    (server, romeo, request_id, request)
}

/// Another device writes the list, and that is pushed.
fn write(server: &mut Server, romeo: &RustDevice, ids: &[u32]) {
    server
        .lists
        .insert((romeo.config.namespaces[0], romeo.jid.clone()), list(romeo.config.namespaces[0], ids));
    push(romeo, &romeo.jid, ids);
}

fn held(server: &mut Server, romeo: &RustDevice) -> (u64, Request) {
    let open = romeo.run_holding(server, is_list_publication);
    open.into_iter().next().expect("no publication")
}

/// The server takes the publication of `[100, own]` behind the list `[100, 300]`, which crosses it; the publication that
/// restores 300 is cut off.
fn cut_off(ns: Namespace, echo: Echo, end: End) -> (Server, RustDevice) {
    let (mut server, romeo, first, request) = publishing(ns);
    write(&mut server, &romeo, &[100, 300]);
    server.answer(&romeo, &request);
    if echo == Echo::BeforeRestoring {
        romeo.push(&romeo.jid, &server);
    }
    romeo.manager().answer(first, Answer::Done).unwrap();
    let (second, _) = held(&mut server, &romeo);
    if echo == Echo::WhileRestoring {
        romeo.push(&romeo.jid, &server);
    }
    match end {
        End::Fails => romeo.manager().answer(second, Answer::Rejected(Reason::Failed)).unwrap(),
        End::TimesOut => romeo.advance(61_000),
        End::StreamBreaks => romeo.manager().disconnected().unwrap(),
    }
    romeo.step();
    (server, romeo)
}

fn go_on(server: &mut Server, romeo: &RustDevice, end: End) {
    if end == End::StreamBreaks {
        romeo.begin_connect();
        romeo.run(server);
    }
    // A list is published three times a minute at most.
    romeo.run_later(server);
}

fn a_restoration_that_is_cut_off_is_made_again(ns: Namespace) {
    for (echo, end) in ALL {
        let (mut server, romeo) = cut_off(ns, echo, end);
        go_on(&mut server, &romeo, end);
        let ids = server.list(&romeo.jid);
        assert!([100, 300, romeo.id()].iter().all(|id| ids.contains(id)), "{echo:?} {end:?}: {ids:?}");
    }
}

fn what_was_overwritten_is_left_where_somebody_has_written_since(ns: Namespace) {
    for (echo, end) in ALL {
        let (mut server, romeo) = cut_off(ns, echo, end);
        let written = list(ns, &[100, 400, romeo.id()]);
        server.lists.insert((ns, romeo.jid.clone()), written.clone());
        go_on(&mut server, &romeo, end);
        assert_eq!(server.lists[&(ns, romeo.jid.clone())], written, "{echo:?} {end:?}: 300 came back");
    }
}

fn a_push_between_the_answer_and_the_next_run_crosses_nothing(ns: Namespace) {
    let (mut server, romeo, request_id, request) = publishing(ns);
    server.answer(&romeo, &request);
    romeo.manager().answer(request_id, Answer::Done).unwrap();
    // Written behind ours, with us on it.
    write(&mut server, &romeo, &[100, romeo.id(), 300]);
    let open = romeo.run_holding(&mut server, is_list_publication);
    assert!(open.is_empty(), "nothing was overwritten, and the list is published again: {open:?}");
    // 300 leaves while the stream is down: what stands there looks like our old publication.
    romeo.manager().disconnected().unwrap();
    romeo.step();
    server.answer(&romeo, &request);
    romeo.connect(&mut server);
    romeo.run_later(&mut server);
    assert_eq!(server.list(&romeo.jid), [100, romeo.id()], "300 came back");
}

fn a_list_that_is_gone_is_not_restored(ns: Namespace) {
    for fails in [false, true] {
        let (mut server, romeo, request_id, request) = publishing(ns);
        // The node is deleted; then the server takes our list.
        romeo.manager().device_list_gone(&romeo.jid, ns).unwrap();
        server.answer(&romeo, &request);
        let answer = if fails { Answer::Rejected(Reason::Failed) } else { Answer::Done };
        romeo.manager().answer(request_id, answer).unwrap();
        romeo.run_hours(3, &mut server);
        assert_eq!(server.list(&romeo.jid), [100, romeo.id()]);
        assert_eq!(
            romeo.count_notices(NoticeKind::PublishFailed),
            usize::from(fails),
            "publishing never ends"
        );
    }
}

fn what_was_overwritten_is_restored_in_a_namespace_that_is_left(ns: Namespace) {
    for fails in [false, true] {
        let mut server = Server::of(ns);
        let romeo = RustDevice::new(ROMEO, &mut server);
        server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100, romeo.id()]));
        let other = if ns == Legacy { Omemo2 } else { Legacy };
        let romeo = reopened(&romeo, &[other]);
        romeo.begin_connect();
        let leaves = |request: &Request| matches!(request, Request::PublishDeviceList { list } if list.namespace == ns);
        let (first, request) = romeo.run_holding(&mut server, leaves).remove(0);
        // 300 joins and takes us off itself; then the server takes our list.
        let _ = romeo.manager().update_device_list(&romeo.jid, &list(ns, &[100, 300]));
        server.answer(&romeo, &request);
        romeo.manager().answer(first, Answer::Done).unwrap();
        if fails {
            let (second, _) = romeo.run_holding(&mut server, leaves).remove(0);
            romeo.manager().answer(second, Answer::Rejected(Reason::Failed)).unwrap();
        }
        romeo.run_later(&mut server);
        assert_eq!(server.lists[&(ns, romeo.jid.clone())], list(ns, &[100, 300]), "{fails}: 300 is lost");
    }
}
