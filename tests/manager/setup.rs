//! Setting up and publishing (R6, R7).

use super::world::*;
use omemo::error::Status;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::namespace::Namespace::{self};
use std::sync::Arc;

in_both_namespaces! {
    r6_an_identity_is_never_made_anew_beside_what_an_older_one_left,
    opening_works_offline_and_the_identity_stays,
    the_device_id_waits_for_the_own_list,
    f23_the_bundle_is_published_before_the_list_and_nobody_is_taken_off,
    r7_every_step_resumes_after_a_failed_commit,
    every_step_resumes_after_a_failed_answer_and_after_a_crash,
    publishing_that_fails_is_told_and_done_later,
    r23_connecting_goes_on_by_itself_whatever_commit_fails,
    r24_a_pre_key_id_never_names_two_keys,
    r37_this_device_is_known_although_no_list_names_it,
    a_foreign_bundle_under_our_id_is_never_overwritten,
    an_own_list_without_us_is_repaired_but_not_for_ever,
}

fn r6_an_identity_is_never_made_anew_beside_what_an_older_one_left(ns: Namespace) {
    let (_, romeo, _) = friends(ns);
    let open = |storage: Arc<FaultyStorage>, name: &str| {
        storage.damage();
        let before = storage.all();
        let client = RustDevice::closed(config(ns, name, "trusted"), storage.clone());
        let status = client.open().unwrap_err().status();
        assert!(storage.all() == before, "a store that was refused was changed");
        status
    };
    let pre_keys = format!("v1/own/{}", ns.code());
    for missing in ["v1/account", "v1/anchor", &pre_keys] {
        let storage = romeo.storage.copy();
        storage.records.lock().unwrap().remove(missing).unwrap();
        assert_eq!(open(storage, ROMEO), Status::StorageCorrupt, "{missing}");
        let storage = romeo.storage.copy();
        storage.records.lock().unwrap().insert(missing.to_owned(), vec![0xff, 1]);
        assert_eq!(open(storage, ROMEO), Status::StorageCorrupt, "{missing}");
        let storage = romeo.storage.copy();
        // Field 1 of each record is its version; what comes last holds.
        storage.records.lock().unwrap().get_mut(missing).unwrap().extend([0x08, 99]);
        assert_eq!(open(storage, ROMEO), Status::StorageVersion, "{missing}");
    }
    let storage = romeo.storage.copy();
    storage.records.lock().unwrap().retain(|key, _| !matches!(key.as_str(), "v1/account" | "v1/anchor"));
    assert_eq!(open(storage, ROMEO), Status::StorageCorrupt);
    assert_eq!(open(romeo.storage.copy(), JULIET), Status::StorageAccount);
}

fn opening_works_offline_and_the_identity_stays(ns: Namespace) {
    let romeo = RustDevice::closed(config(ns, ROMEO, "trusted"), Arc::default());
    romeo.open().unwrap();
    assert!(romeo.step().is_empty(), "something is asked before connected");
    let stored = romeo.storage.all();
    romeo.restart();
    assert!(romeo.storage.all() == stored, "keys are made on the first run only");
    let mut server = Server::of(ns);
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    let key = romeo.key();
    romeo.restart();
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    assert_eq!(romeo.key(), key);
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    assert_eq!(server.bundle(&romeo).pre_keys.len(), 100);
}

fn the_device_id_waits_for_the_own_list(ns: Namespace) {
    for reason in [Reason::Failed, Reason::Timeout] {
        let romeo = RustDevice::closed(config(ns, ROMEO, "trusted"), Arc::default());
        romeo.open().unwrap();
        let operation = romeo.begin_connect();
        romeo.run_with(|_| Some(Answer::Rejected(reason)));
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), Status::DeviceListDownloadFailed);
        assert_eq!(romeo.count_asked(is_publish), 0);
        let mut server = Server::of(ns);
        assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
        assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    }
}

fn f23_the_bundle_is_published_before_the_list_and_nobody_is_taken_off(ns: Namespace) {
    let mut server = Server::of(ns);
    let other = ListedDevice::labelled(99, "Gajim".to_owned(), [7; 64]);
    let list = DeviceList::of(ns, vec![other.clone()]);
    server.lists.insert((ns, jid(ROMEO)), list);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let publishes: Vec<_> =
        romeo.asked.borrow().iter().filter(|request| is_publish(request)).cloned().collect();
    assert!(matches!(publishes[..], [Request::PublishBundle { .. }, Request::PublishDeviceList { .. }]));
    let devices = &server.lists[&(ns, romeo.jid.clone())].devices;
    assert_eq!(devices.len(), 2);
    assert!(devices.contains(&other), "a label was lost");
}

pub fn assert_set_up(romeo: &RustDevice, server: &mut Server, others: usize) {
    let list = server.list(&romeo.jid);
    assert_eq!(list.len(), others + 1, "more than one id was announced");
    assert!(list.contains(&romeo.id()));
    let bundle = server.bundle(romeo);
    assert_eq!(bundle.identity_key, romeo.key());
    assert!(bundle.verify().is_ok());
    assert_eq!(bundle.pre_keys.len(), 100);
    let mut ids: Vec<_> = bundle.pre_keys.iter().map(|pre_key| pre_key.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100, "an id of a pre key was used twice");
    let mut stranger = RawDevice::of(server.namespace, "tybalt@capulet.lit", 5);
    let (_, greeting) = stranger.greet(romeo, server, "hello");
    assert_eq!(text(&romeo.read(&stranger.jid, &greeting)), "hello");
}

/// An account that is not open yet, and has another device.
fn beside_another_device(ns: Namespace) -> (Server, RustDevice) {
    let mut server = Server::of(ns);
    RawDevice::of(ns, ROMEO, 99).publish(&mut server);
    (server, RustDevice::closed(config(ns, ROMEO, "trusted"), Arc::default()))
}

fn r7_every_step_resumes_after_a_failed_commit(ns: Namespace) {
    for fault in [Fault::Nothing, Fault::Everything] {
        for restart in [false, true] {
            let mut n = 0;
            loop {
                n += 1;
                assert!(n < 50);
                let (mut server, romeo) = beside_another_device(ns);
                romeo.storage.fail(n, fault);
                if romeo.open().is_ok() {
                    let operation = romeo.begin_connect();
                    romeo.run(&mut server);
                    romeo.run_later(&mut server);
                    assert!(romeo.is_done(operation), "commit {n}, {fault:?}: connected never ended");
                }
                let failed = romeo.storage.has_failed();
                if !failed {
                    romeo.storage.fault.lock().unwrap().take();
                }
                if restart || romeo.manager.borrow().is_none() {
                    romeo.restart();
                }
                let again = romeo.begin_connect();
                romeo.run(&mut server);
                romeo.run_later(&mut server);
                assert_eq!(romeo.take(again).status(), Status::Ok, "commit {n}, {fault:?}");
                assert_set_up(&romeo, &mut server, 1);
                if !failed {
                    assert!(n > 3, "the first run makes {n} commits");
                    break;
                }
            }
        }
    }
}

fn every_step_resumes_after_a_failed_answer_and_after_a_crash(ns: Namespace) {
    for reason in [Some(Reason::Failed), Some(Reason::Timeout), None] {
        let mut n = 0;
        loop {
            n += 1;
            assert!(n < 50);
            let (mut server, romeo) = beside_another_device(ns);
            romeo.open().unwrap();
            let operation = romeo.begin_connect();
            let mut count = 0;
            let open = romeo.run_with(|request| {
                count += 1;
                match (count == n, reason) {
                    (false, _) => Some(server.answer(&romeo, request)),
                    (true, Some(reason)) => Some(Answer::Rejected(reason)),
                    (true, None) => None,
                }
            });
            match reason {
                Some(_) => {
                    assert!(romeo.is_done(operation), "question {n}: connected never ended");
                    romeo.reconnect(&mut server);
                }
                None => {
                    assert!(count < n || !open.is_empty());
                    romeo.restart();
                    romeo.connect(&mut server);
                }
            }
            romeo.run_later(&mut server);
            assert_set_up(&romeo, &mut server, 1);
            if count < n {
                assert!(n > 3, "the first run asks {n} questions");
                break;
            }
        }
    }
}

fn publishing_that_fails_is_told_and_done_later(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::closed(config(ns, ROMEO, "trusted"), Arc::default());
    romeo.open().unwrap();
    let operation = romeo.begin_connect();
    romeo.run_with(|request| match is_publish(request) {
        true => Some(Answer::Rejected(Reason::Failed)),
        false => Some(server.answer(&romeo, request)),
    });
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::BundleUploadFailed);
    assert_eq!(outcome.rows.len(), 1);
    assert_eq!(outcome.rows[0].namespace, Some(ns));
    assert!(romeo.count_notices(NoticeKind::PublishFailed) >= 1);
    assert!(romeo.manager().timeout().is_some_and(|ms| ms > 0 && ms <= 5_000), "it is not tried again");
    romeo.run_later(&mut server);
    assert_set_up(&romeo, &mut server, 0);
}

fn a_foreign_bundle_under_our_id_is_never_overwritten(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let old = romeo.id();
    let mut other = RawDevice::of(ns, ROMEO, old);
    other.id = old;
    other.publish(&mut server);
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    romeo.run_later(&mut server);
    assert_eq!(server.bundles[&(ns, romeo.jid.clone(), old)].identity_key, other.key());
    assert!(romeo.id() != old);
    let list = server.list(&romeo.jid);
    // Who has the id now announces it again by itself, if it is a device.
    assert_eq!(list, [romeo.id()]);
    assert_eq!(server.bundle(&romeo).identity_key, romeo.key());
    assert!(romeo.count_notices(NoticeKind::IdentityChanged) >= 1);
}

fn an_own_list_without_us_is_repaired_but_not_for_ever(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let empty = DeviceList::new(ns);
    let is_list = |request: &Request| matches!(request, Request::PublishDeviceList { .. });
    let before = romeo.count_asked(is_list);
    // Another client takes us off the list each time, twenty times in a minute.
    for _ in 0..20 {
        server.lists.insert((ns, romeo.jid.clone()), empty.clone());
        romeo.push(&romeo.jid, &server);
        romeo.run(&mut server);
        romeo.advance(2_500);
        romeo.run(&mut server);
    }
    let published = romeo.count_asked(is_list) - before;
    assert!((1..=4).contains(&published), "{published} publishes in less than a minute");
    romeo.run_later(&mut server);
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
}

fn r23_connecting_goes_on_by_itself_whatever_commit_fails(ns: Namespace) {
    for fault in [Fault::Nothing, Fault::Everything] {
        for n in 1..8 {
            let mut server = Server::of(ns);
            let romeo = RustDevice::closed(config(ns, ROMEO, "trusted"), Default::default());
            romeo.open().unwrap();
            romeo.storage.fail(n, fault);
            romeo.begin_connect();
            romeo.run(&mut server);
            romeo.run_later(&mut server);
            let own = romeo.manager().device_id().unwrap().expect("it never gets an id").get();
            assert_eq!(server.list(&romeo.jid), [own], "commit {n}");
            assert_eq!(server.bundle(&romeo).identity_key, romeo.key(), "commit {n}");
        }
    }
}

fn r24_a_pre_key_id_never_names_two_keys(ns: Namespace) {
    for fault in [Fault::Nothing, Fault::Everything] {
        let mut server = Server::of(ns);
        let juliet = RustDevice::new(JULIET, &mut server);
        let mut named = std::collections::BTreeMap::new();
        for n in 0..8 {
            for pre_key in server.bundle(&juliet).pre_keys {
                assert_eq!(*named.entry(pre_key.id).or_insert(pre_key.key), pre_key.key, "{fault:?}");
            }
            let mut guest = RawDevice::of(ns, &format!("guest{n}@montague.lit"), 5);
            let (_, greeting) = guest.greet(&juliet, &server, "hello");
            juliet.storage.fail(1 + n % 3, fault);
            // It may fail by the store: then the message may be given again.
            let _ = juliet.manager().decrypt(Some(&guest.jid), None, &greeting);
            juliet.run(&mut server);
            juliet.storage.heal();
            juliet.restart();
            juliet.connect(&mut server);
            juliet.read(&guest.jid, &greeting);
            juliet.run_hours(3, &mut server);
        }
        assert!(named.len() >= 105, "{} pre keys were published", named.len());
    }
}

fn r37_this_device_is_known_although_no_list_names_it(ns: Namespace) {
    let (mut server, romeo, _) = two(ns);
    let (own, key) = (romeo.id(), romeo.key());
    server.lists.insert((ns, romeo.jid.clone()), DeviceList::new(ns));
    romeo.push(&romeo.jid, &server);
    romeo.step();
    for _ in 0..2 {
        let devices = romeo.manager().devices(None).unwrap();
        assert_eq!((devices[0].id, devices[0].identity_key), (own, Some(key)));
        romeo.restart();
    }
}
