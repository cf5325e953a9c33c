//! Acknowledged delivery at its edges: how much is kept, what is content, what deletes it, and records that are damaged.

use super::care::finish;
use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::decrypted::{Action, Decrypted};
use omemo::manager::api::device::CoreTrust;
use omemo::manager::config::Delivery;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};

in_both_namespaces! {
    on_two_threads_one_message_is_one_content,
    key_transports_are_content,
    a_new_identity_keeps_what_the_old_one_has_read,
    a_deleted_account_leaves_nothing,
    a_device_that_shows_another_key_by_now_is_at_most_undecided,
    content_that_cannot_be_read_is_a_row,
    content_of_a_jid_that_cannot_be_read_is_not_lost,
    content_of_a_newer_version_does_not_end_the_list,
    an_index_that_cannot_be_read_is_no_account,
    what_is_kept_survives_strangers_that_make_room,
}

/// Romeo, and Juliet who acknowledges; nothing is kept yet.
fn pair(ns: Namespace) -> (Server, RustDevice, RustDevice) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let juliet = RustDevice::with(acknowledged(ns), &mut server);
    (server, romeo, juliet)
}

fn acknowledged(ns: Namespace) -> Config {
    Config { delivery: Delivery::Acknowledged, ..config(ns, JULIET, "trusted") }
}

fn kept(juliet: &RustDevice) -> Vec<Decrypted> {
    let mut all: Vec<Decrypted> = Vec::new();
    while let Some(next) = juliet.manager().unacknowledged(all.last().map_or(0, |last| last.receipt)).unwrap()
    {
        all.push(next);
    }
    all
}

fn kept_records(juliet: &RustDevice) -> usize {
    juliet.storage.all().keys().filter(|key| key.starts_with("v1/kept/")).count()
}

#[test]
fn ten_thousand_contents_are_kept_and_then_nothing_moves() {
    let (mut server, romeo, juliet) = pair(Omemo2);
    let mut first = None;
    for n in 0..10_000 {
        let message = romeo.say(&juliet.jid, "again", &mut server);
        if n % 100 == 0 {
            juliet.advance(1);
        }
        let read = juliet.read(&romeo.jid, &message);
        assert!(read.receipt > 0, "message {n}");
        first.get_or_insert((message, read.receipt));
    }
    let (repeated, first) = first.unwrap();
    let message = romeo.say(&juliet.jid, "one too many", &mut server);
    let all = juliet.storage.all();
    let refused = || juliet.manager().decrypt(Some(&romeo.jid), None, &message).map(|_| ()).unwrap_err();
    assert_eq!(refused().status(), Status::Limit);
    assert!(juliet.storage.all() == all);
    assert!(juliet.read(&romeo.jid, &repeated).repeated, "what is kept comes again");
    // All of it was sent by somebody whom she does not know: that takes no room from a friend.
    let friend = RustDevice::new(PARIS, &mut server);
    juliet.manager().set_trust(&friend.jid, &friend.key(), "trusted").unwrap();
    let hello = friend.say(&juliet.jid, "from a friend", &mut server);
    let of_friend = juliet.read(&friend.jid, &hello).receipt;
    juliet.manager().acknowledge(of_friend).unwrap();
    juliet.restart();
    assert_eq!(refused().status(), Status::Limit);
    juliet.manager().acknowledge(first).unwrap();
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "one too many");
    let commits = juliet.storage.commits();
    juliet.manager().purge_jid(&romeo.jid, omemo::manager::api::keep::Keep::Trust).unwrap();
    assert_eq!((juliet.storage.commits(), kept_records(&juliet)), (commits + 1, 0));
}

fn on_two_threads_one_message_is_one_content(ns: Namespace) {
    let (mut server, romeo, juliet) = pair(ns);
    for _ in 0..50 {
        let message = romeo.say(&juliet.jid, "at once", &mut server);
        let manager = juliet.manager();
        let read = |message: &Message| manager.decrypt(Some(&romeo.jid), None, message).unwrap();
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| read(&message));
            (read(&message), one.join().unwrap())
        });
        assert_eq!((text(&one).as_str(), text(&other).as_str()), ("at once", "at once"));
        assert!(one.receipt == other.receipt && one.receipt > 0 && one.repeated != other.repeated);
    }
    assert_eq!(kept(&juliet).len(), 50);
}

fn key_transports_are_content(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::with(acknowledged(ns), &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 9);
    romeo.begin_with(&server.bundle(&juliet));
    let (length, iv) = if ns == Legacy { (16, Some([7; 12])) } else { (32, None) };
    let iv = iv.as_ref().map(|iv| iv.as_slice());
    let transport = romeo.transport(juliet.id(), &vec![5; length], None, iv);
    let read = juliet.read(&romeo.jid, &transport);
    assert!(read.action == Action::Hide && read.plaintext.is_none() && read.receipt > 0 && read.new_session);
    juliet.restart();
    for again in [juliet.read(&romeo.jid, &transport), kept(&juliet).remove(0)] {
        assert!(again.repeated && again.key == read.key && again.key.is_some() && again.new_session);
        assert!(again.action == Action::Hide && again.plaintext.is_none());
    }
    juliet.manager().acknowledge(read.receipt).unwrap();
    // An empty message is no content, but in legacy nobody can tell it from a key transport.
    let empty = romeo.transport(juliet.id(), &vec![0; length], None, iv);
    let read = juliet.read(&romeo.jid, &empty);
    assert_eq!((read.error.status(), read.receipt != 0), (Status::Ok, ns == Legacy));
    assert_eq!(kept(&juliet).len(), usize::from(ns == Legacy));
}

fn a_new_identity_keeps_what_the_old_one_has_read(ns: Namespace) {
    let (mut server, romeo, juliet) = pair(ns);
    let message = romeo.say(&juliet.jid, "before", &mut server);
    let receipt = juliet.read(&romeo.jid, &message).receipt;
    finish(&juliet, &mut server, |operation| juliet.manager().reset_identity(operation).unwrap());
    juliet.restart();
    let all = kept(&juliet);
    assert_eq!((all.len(), all[0].receipt, text(&all[0]).as_str()), (1, receipt, "before"));
    juliet.refuse(&romeo.jid, &message, Status::NotForUs);
}

fn a_deleted_account_leaves_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = pair(ns);
    for n in 0..5 {
        let message = romeo.say(&juliet.jid, "before", &mut server);
        let receipt = juliet.read(&romeo.jid, &message).receipt;
        if n == 0 {
            juliet.manager().acknowledge(receipt).unwrap();
        }
    }
    let deleted =
        finish(&juliet, &mut server, |operation| juliet.manager().delete_account(operation).unwrap());
    assert_eq!(deleted.status(), Status::Ok);
    assert_eq!(juliet.storage.all().into_keys().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_namespace_that_is_not_served_any_more_takes_its_content_along() {
    for (stays, leaves) in [(Legacy, Omemo2), (Omemo2, Legacy)] {
        let mut server = Server::of(stays);
        let both = Config { namespaces: vec![stays, leaves], ..acknowledged(stays) };
        let juliet = RustDevice::with(both, &mut server);
        let mut romeo = RawDevice::of(stays, ROMEO, 9);
        let mut other = RawDevice::of(leaves, "nurse@capulet.lit", 9);
        for (raw, ns) in [(&mut romeo, stays), (&mut other, leaves)] {
            let bundle = server.bundles[&(ns, juliet.jid.clone(), juliet.id())].clone();
            let mut session = raw.initiate(&bundle);
            let message = raw.write(&mut session, (&juliet.jid, juliet.id()), "hello");
            assert!(juliet.read(&raw.jid, &message).receipt > 0);
        }
        assert_eq!(kept(&juliet).len(), 2);
        juliet.manager.replace(None);
        let juliet = RustDevice::closed(acknowledged(stays), juliet.storage.clone());
        juliet.open().unwrap();
        let left = kept(&juliet);
        assert_eq!((left.len(), left[0].namespace, kept_records(&juliet)), (1, stays, 2));
    }
}

fn a_device_that_shows_another_key_by_now_is_at_most_undecided(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::with(acknowledged(ns), &mut server);
    let mut old = RawDevice::of(ns, ROMEO, 7);
    old.publish(&mut server);
    juliet.refresh(&old.jid, &mut server);
    let (_, message) = old.greet(&juliet, &server, "hello");
    let first = juliet.read(&old.jid, &message);
    assert_eq!(first.core_trust, CoreTrust::Trusted);
    let mut new = RawDevice::of(ns, ROMEO, 7);
    show_other_key(&juliet, &mut new, &mut server);
    juliet.manager().accept_identity(&new.jid, id(7), &new.key()).unwrap();
    for again in [juliet.read(&old.jid, &message), kept(&juliet).remove(0)] {
        assert_eq!((text(&again).as_str(), again.core_trust), ("hello", CoreTrust::Undecided));
        // It is still the key that wrote it.
        assert_eq!((again.identity_key, again.receipt), (first.identity_key, first.receipt));
    }
}

fn content_that_cannot_be_read_is_a_row(ns: Namespace) {
    for missing in [true, false] {
        let (mut server, romeo, juliet) = pair(ns);
        let messages: Vec<Message> = (0..3).map(|_| romeo.say(&juliet.jid, "hello", &mut server)).collect();
        let receipts: Vec<u64> =
            messages.iter().map(|message| juliet.read(&romeo.jid, message).receipt).collect();
        juliet.restart_after(|storage| {
            let (mut records, key) = (storage.all(), format!("v1/kept/{}", receipts[1]));
            match missing {
                true => assert!(records.remove(&key).is_some()),
                false => records.get_mut(&key).unwrap().truncate(20),
            }
            storage.put_back(records);
        });
        let listed = kept(&juliet);
        let rows: Vec<(u64, Status)> = listed.iter().map(|row| (row.receipt, row.error.status())).collect();
        let statuses = [Status::Ok, Status::StorageCorrupt, Status::Ok];
        assert_eq!(rows, receipts.iter().copied().zip(statuses).collect::<Vec<_>>());
        assert!(listed[1].plaintext.is_none() && listed[1].action == Action::Warn);
        let unreadable = juliet.manager().decrypt(Some(&romeo.jid), None, &messages[1]);
        assert_eq!(unreadable.map(|_| ()).unwrap_err().status(), Status::StorageCorrupt);
        juliet.manager().acknowledge(receipts[1]).unwrap();
        assert_eq!(kept(&juliet).len(), 2);
        juliet.refuse(&romeo.jid, &messages[1], Status::Duplicate);
    }
}

fn content_of_a_jid_that_cannot_be_read_is_not_lost(ns: Namespace) {
    let (mut server, romeo, juliet) = pair(ns);
    let message = romeo.say(&juliet.jid, "only here", &mut server);
    let receipt = juliet.read(&romeo.jid, &message).receipt;
    juliet.restart_after(|storage| storage.truncate("jid", ROMEO));
    for again in [kept(&juliet).remove(0), juliet.read(&romeo.jid, &message)] {
        assert_eq!((text(&again).as_str(), again.receipt), ("only here", receipt));
        assert!(again.core_trust == CoreTrust::Undecided && again.provisional && again.repeated);
    }
}

fn content_of_a_newer_version_does_not_end_the_list(ns: Namespace) {
    let (mut server, romeo, juliet) = pair(ns);
    let receipts = [(); 2].map(|()| {
        let message = romeo.say(&juliet.jid, "hello", &mut server);
        juliet.read(&romeo.jid, &message).receipt
    });
    juliet.restart_after(|storage| {
        storage.damage();
        // Field 1 is the version; what comes last holds.
        let key = format!("v1/kept/{}", receipts[0]);
        storage.records.lock().unwrap().get_mut(&key).unwrap().extend([0x08, 99]);
    });
    let listed = kept(&juliet);
    let rows: Vec<_> = listed.iter().map(|row| (row.receipt, row.error.status())).collect();
    assert_eq!(rows, [(receipts[0], Status::StorageVersion), (receipts[1], Status::Ok)]);
}

fn an_index_that_cannot_be_read_is_no_account(ns: Namespace) {
    let (mut server, romeo, juliet) = pair(ns);
    let message = romeo.say(&juliet.jid, "hello", &mut server);
    juliet.read(&romeo.jid, &message);
    juliet.manager.replace(None);
    let good = juliet.storage.all();
    let bucket = good.keys().find(|key| key.starts_with("v1/kept/index/")).unwrap().clone();
    let mut damages: Vec<(String, Option<Vec<u8>>)> = vec![(bucket.clone(), None)];
    for key in ["v1/kept".to_owned(), bucket] {
        let value = &good[&key];
        damages.extend((0..value.len()).map(|len| (key.clone(), Some(value[..len].to_vec()))));
        damages.push((key, Some([value.as_slice(), value.as_slice()].concat())));
    }
    let mut refused = 0;
    for (key, value) in damages {
        let mut records = good.clone();
        match value {
            Some(value) => records.insert(key, value),
            None => records.remove(&key),
        };
        juliet.storage.put_back(records);
        match juliet.open() {
            Ok(()) => juliet.manager.replace(None).unwrap().close(),
            Err(error) => {
                assert_eq!(error.status(), Status::StorageCorrupt);
                refused += 1;
            }
        }
    }
    assert!(refused > 60, "{refused}");
    juliet.storage.put_back(good);
    juliet.open().unwrap();
    assert_eq!(kept(&juliet).len(), 1);
}

fn what_is_kept_survives_strangers_that_make_room(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::with(acknowledged(ns), &mut server);
    let mut stranger = RawDevice::of(ns, ROMEO, 7);
    stranger.publish(&mut server);
    let (_, message) = stranger.greet(&juliet, &server, "hello");
    let first = juliet.read(&stranger.jid, &message);
    // Seventeen devices that only key exchanges vouch for; the fresh list names none of them, so the oldest one goes.
    juliet.refresh(&stranger.jid, &mut server);
    push(&juliet, &stranger.jid, &[]);
    for n in 100..120 {
        let mut other = RawDevice::of(ns, ROMEO, n);
        let (_, message) = other.greet(&juliet, &server, "one of many");
        juliet.read(&other.jid, &message);
    }
    let again = juliet.read(&stranger.jid, &message);
    assert_eq!((text(&again).as_str(), again.receipt, again.repeated), ("hello", first.receipt, true));
}
