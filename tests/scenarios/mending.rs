//! Stores that were set back to an older copy, and archives that are read, on both faces of the library: the conversation
//! goes on.

use crate::support::world::device::{Device, Options, settle};
use crate::support::{JULIET, Kind, ROMEO, World};
use omemo::error::Status;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::config::Healing;

in_both_namespaces_and_faces! {
    a_restored_store_is_mended_by_one_call_of_either_side,
    a_restored_store_is_mended_by_itself_where_that_is_chosen,
    chain_lengths_and_failed_messages_are_shown,
    answers_to_an_archive_wait_for_its_end,
}

/// Romeo's store is set back by some messages.
fn restored<D: Device>(world: &World, healing: Healing) -> (D, D) {
    let open = |name| {
        let device = D::open(world, name, Options { healing, ..Options::of(world) });
        device.connect().ok();
        device
    };
    let (mut romeo, juliet) = (open(ROMEO), open(JULIET));
    both_ways(&romeo, &juliet);
    let before = romeo.storage().all();
    for _ in 0..3 {
        both_ways(&romeo, &juliet);
    }
    romeo.storage().put_back(before);
    romeo.restart();
    romeo.connect().ok();
    romeo.refresh(JULIET).ok();
    romeo.news();
    (romeo, juliet)
}

#[track_caller]
fn both_ways<D: Device>(romeo: &D, juliet: &D) {
    for (from, to, text) in [(romeo, juliet, "hello"), (juliet, romeo, "welcome"), (romeo, juliet, "well")] {
        from.say(to.name(), text);
        assert_eq!(to.texts(), [text]);
        settle(&[romeo, juliet]);
    }
}

/// Juliet writes, and Romeo cannot read it.
fn unreadable<D: Device>(romeo: &D, juliet: &D) {
    juliet.say(ROMEO, "can you read this?");
    let read = romeo.receive();
    assert_eq!(read.iter().map(|read| read.status).collect::<Vec<_>>(), [Status::DecryptionFailed]);
}

fn a_restored_store_is_mended_by_one_call_of_either_side<D: Device>(ns: &'static str) {
    for by_romeo in [true, false] {
        let world = World::speaking(ns, 1);
        let (romeo, juliet) = restored::<D>(&world, Healing::Manual);
        unreadable(&romeo, &juliet);
        romeo.go_on();
        let news = romeo.news();
        let broken: Vec<_> = news.iter().filter(|news| news.kind == NoticeKind::SessionBroken).collect();
        assert_eq!(broken.len(), 1);
        assert_eq!((broken[0].jid.as_deref(), broken[0].device), (Some(JULIET), juliet.own_id()));
        let (who, other) = if by_romeo { (&romeo, &juliet) } else { (&juliet, &romeo) };
        let report = who.replace_sessions(Some(other.name()), other.own_id()).ok();
        assert_eq!(report.rows_of(other.name()), [(other.own_id(), Status::Ok)]);
        settle(&[&romeo, &juliet]);
        both_ways(&romeo, &juliet);
        both_ways(&juliet, &romeo);
    }
}

fn a_restored_store_is_mended_by_itself_where_that_is_chosen<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = restored::<D>(&world, Healing::Automatic);
    unreadable(&romeo, &juliet);
    unreadable(&romeo, &juliet);
    settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo);
}

fn chain_lengths_and_failed_messages_are_shown<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = restored::<D>(&world, Healing::Manual);
    let shown = || {
        let juliet = romeo.find(JULIET, juliet.own_id()).unwrap();
        (juliet.failed_messages, juliet.chains)
    };
    let (failed, (sending, receiving)) = shown();
    assert_eq!(failed, 0);
    assert!(sending > 0 && receiving > 0);
    for failed in 1..4 {
        unreadable(&romeo, &juliet);
        assert_eq!(shown(), (failed, (sending, receiving)));
    }
    romeo.replace_sessions(None, 0).ok();
    assert_eq!(shown(), (0, (1, -1)), "the empty message");
    settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet);
    romeo.say(JULIET, "one more");
    let (_, (sending, _)) = shown();
    romeo.say(JULIET, "and another one");
    assert_eq!(shown().1.0, sending + 1);
}

fn answers_to_an_archive_wait_for_its_end<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (romeo, juliet) = (D::online(&world, ROMEO), D::online(&world, JULIET));
    assert_eq!(romeo.begin_catch_up(), Status::Ok);
    for n in 0..20 {
        juliet.say(ROMEO, &format!("{n}"));
        assert_eq!(romeo.texts(), [format!("{n}")]);
        romeo.go_on();
    }
    let sent = || world.count(Kind::SendMessage);
    assert_eq!(sent(), 0);
    let report = romeo.finish(romeo.end_catch_up().unwrap()).ok();
    assert_eq!(report.row(JULIET, juliet.own_id()), Some(Status::Ok));
    assert_eq!(sent(), 1);
    settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo);
}
