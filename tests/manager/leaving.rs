//! How a namespace is taken up and left, whatever cuts it short, and nothing of a foreign device is touched.

use super::namespaces::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::runtime::next_number;
use std::sync::Arc;

pub fn listed(server: &Server, namespace: Namespace, client: &RustDevice) -> bool {
    let list = server.lists.get(&(namespace, client.jid.clone()));
    list.is_some_and(|list| list.devices.iter().any(|device| device.id == client.id()))
}

pub fn has_bundle(server: &Server, namespace: Namespace, client: &RustDevice) -> bool {
    server.bundles.contains_key(&(namespace, client.jid.clone(), client.id()))
}

/// The same account with other namespaces.
pub fn reopened(client: &RustDevice, namespaces: &[Namespace]) -> RustDevice {
    client.manager.replace(None);
    let config = Config { namespaces: namespaces.to_vec(), ..client.config.clone() };
    let again = RustDevice::closed(config, client.storage.clone());
    again.open().unwrap();
    again
}

/// Records of a namespace in a store.
pub fn records_of(client: &RustDevice, namespace: Namespace) -> Vec<String> {
    let code = namespace.code().to_string();
    let keys = client.storage.all().into_keys();
    keys.filter(|key| {
        let parts: Vec<_> = key.split('/').collect();
        match parts[1] {
            "own" => parts[2] == code,
            "session" | "skipped" | "archive" => parts[4] == code,
            _ => false,
        }
    })
    .collect()
}

/// A device that speaks omemo:2 only, and a foreign one that has its id in legacy.
pub fn with_foreign_id() -> (Server, RustDevice, RawDevice) {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let foreign = RawDevice::of(Legacy, ROMEO, romeo.id());
    (server, romeo, foreign)
}

#[test]
fn a_namespace_more_is_taken_up_under_the_same_id_and_identity() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let (before, key) = (romeo.id(), romeo.key());
    let romeo = reopened(&romeo, &[Legacy, Omemo2]);
    assert_eq!((romeo.id(), romeo.key()), (before, key));
    let outcome = romeo.connect(&mut server);
    assert_eq!(outcome.status(), Status::Ok);
    let namespaces: Vec<_> = outcome.rows.iter().map(|row| row.namespace).collect();
    assert_eq!(namespaces, [Some(Legacy), Some(Omemo2)]);
    for namespace in Namespace::ALL {
        assert!(listed(&server, namespace, &romeo) && has_bundle(&server, namespace, &romeo));
        let bundle = &server.bundles[&(namespace, romeo.jid.clone(), before)];
        assert_eq!((bundle.identity_key, bundle.pre_keys.len()), (key, 100));
    }
}

#[test]
fn a_foreign_bundle_under_our_id_in_a_new_namespace_is_never_overwritten() {
    let (mut server, romeo, foreign) = with_foreign_id();
    let old = romeo.id();
    foreign.publish(&mut server);
    let romeo = reopened(&romeo, &[Legacy, Omemo2]);
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    assert_eq!(server.bundles[&(Legacy, romeo.jid.clone(), old)], foreign.bundle());
    assert_ne!(romeo.id(), old);
    for namespace in Namespace::ALL {
        assert!(listed(&server, namespace, &romeo) && has_bundle(&server, namespace, &romeo));
    }
}

/// Romeo speaks both and has sessions in both, one of them with a predecessor.
pub fn romeo_in_both(server: &mut Server) -> (RustDevice, RustDevice) {
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), server);
    let juliet = RustDevice::with(both([Legacy, Omemo2], JULIET), server);
    for namespace in Namespace::ALL {
        for _ in 0..2 {
            let operation = next_number();
            romeo.manager().encrypt(operation, content(&[JULIET], Some(vec![namespace]))).unwrap();
            romeo.run(server);
            let outcome = romeo.take(operation);
            juliet.read(&romeo.jid, &outcome.messages[0]);
        }
        server.settle(&[&romeo, &juliet]);
        let mut stranger = RawDevice::of(namespace, "tybalt@capulet.lit", 9);
        for _ in 0..2 {
            let bundle = server.bundles[&(namespace, romeo.jid.clone(), romeo.id())].clone();
            let mut session = stranger.initiate(&bundle);
            let message = stranger.write(&mut session, (&romeo.jid, romeo.id()), "x");
            assert_eq!(text(&romeo.read(&stranger.jid, &message)), "x");
            romeo.run(server);
        }
    }
    (romeo, juliet)
}

fn assert_left(server: &Server, romeo: &RustDevice, gone: Namespace, kept: Namespace) {
    assert_eq!(records_of(romeo, gone), Vec::<String>::new());
    assert!(records_of(romeo, kept).len() > 3);
    assert!(!listed(server, gone, romeo) && !has_bundle(server, gone, romeo));
    assert!(listed(server, kept, romeo) && has_bundle(server, kept, romeo));
}

#[test]
fn a_namespace_less_is_left_here_at_once_and_on_the_server_at_the_next_stream() {
    for (gone, kept) in [(Legacy, Omemo2), (Omemo2, Legacy)] {
        let mut server = Server::of(kept);
        let (romeo, juliet) = romeo_in_both(&mut server);
        let other = ListedDevice::new(77);
        server.lists.get_mut(&(gone, romeo.jid.clone())).unwrap().devices.push(other);
        assert!(records_of(&romeo, gone).iter().any(|key| key.contains("/archive/")));
        let romeo = reopened(&romeo, &[kept]);
        assert_eq!(records_of(&romeo, gone), Vec::<String>::new(), "at once");
        assert!(listed(&server, gone, &romeo), "the server was not asked yet");
        let outcome = romeo.connect(&mut server);
        assert_eq!(outcome.status(), Status::Ok);
        let rows: Vec<_> = outcome.rows.iter().map(|row| (row.namespace, row.error.status())).collect();
        assert_eq!(rows, [(Some(kept), Status::Ok), (Some(gone), Status::Ok)]);
        assert_left(&server, &romeo, gone, kept);
        let left = &server.lists[&(gone, romeo.jid.clone())];
        assert_eq!(left.devices.len(), 1, "nobody else is taken off the list");
        assert!(romeo.device(&juliet.jid, juliet.id()).unwrap().active == [kept]);
        // It is over: nothing is asked about the other namespace ever again.
        romeo.asked.borrow_mut().clear();
        romeo.reconnect(&mut server);
        let about = |request: &Request| match request {
            Request::FetchDeviceList { namespace, .. } | Request::DeleteBundle { namespace, .. } => {
                *namespace == gone
            }
            Request::PublishDeviceList { list } => list.namespace == gone,
            _ => false,
        };
        assert_eq!(romeo.count_asked(about), 0);
        // What is kept works on.
        let message = romeo.say(&juliet.jid, "still here", &mut server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "still here");
        // Taken up again it has new keys, whose ids were never used before.
        let again = reopened(&romeo, &[kept, gone]);
        assert_eq!(again.connect(&mut server).status(), Status::Ok);
        let (signed, lowest) = {
            let bundle = &server.bundles[&(gone, again.jid.clone(), again.id())];
            (bundle.signed_pre_key_id, bundle.pre_keys.iter().map(|key| key.id).min().unwrap())
        };
        assert!(signed >= 2 && lowest > 100, "{signed} {lowest}");
    }
}

#[test]
fn leaving_is_taken_up_again_wherever_it_was_cut_short() {
    // The fetch of the bundle and of the list, its publication and the deletion fail in turn, by rejection or by the end
    // of the process.
    for failing in 0..4 {
        for crash in [false, true] {
            let mut server = Server::of(Omemo2);
            let (romeo, _) = romeo_in_both(&mut server);
            let romeo = reopened(&romeo, &[Omemo2]);
            let operation = romeo.begin_connect();
            let mut failed = 0;
            let fails = |request: &Request| match request {
                Request::FetchBundle { namespace: Legacy, .. } => failing == 0,
                Request::FetchDeviceList { namespace: Legacy, .. } => failing == 1,
                Request::PublishDeviceList { list } => failing == 2 && list.namespace == Legacy,
                Request::DeleteBundle { .. } => failing == 3,
                _ => false,
            };
            romeo.run_with(|request| {
                if fails(request) {
                    failed += 1;
                    return (!crash).then_some(Answer::Rejected(Reason::Failed));
                }
                Some(server.answer(&romeo, request))
            });
            assert_eq!(failed, 1);
            if crash {
                romeo.restart();
                assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
            } else {
                let outcome = romeo.take(operation);
                assert_eq!(outcome.status(), Status::Ok, "the namespace that is served is published");
                let status = outcome.rows[1].error.status();
                let expected = [
                    Status::BundleDownloadFailed,
                    Status::DeviceListDownloadFailed,
                    Status::DeviceListUploadFailed,
                    Status::BundleDeletionFailed,
                ];
                assert_eq!(status, expected[failing]);
                assert_eq!(romeo.count_notices(NoticeKind::PublishFailed), 1);
                romeo.run_later(&mut server);
            }
            assert_left(&server, &romeo, Legacy, Omemo2);
        }
    }
}

#[test]
fn leaving_survives_a_store_that_fails_and_coming_back_calls_it_off() {
    // Each commit of opening and of the first stream fails once, before or after it was written.
    for fault in [Fault::Nothing, Fault::Everything] {
        for at in 1..=3 {
            let mut server = Server::of(Omemo2);
            let (romeo, _) = romeo_in_both(&mut server);
            romeo.manager.replace(None);
            romeo.storage.fail(at, fault);
            let config = Config { namespaces: vec![Omemo2], ..romeo.config.clone() };
            let again = RustDevice::closed(config, romeo.storage.clone());
            if again.open().is_err() {
                again.open().unwrap();
            }
            again.begin_connect();
            again.run(&mut server);
            again.run_later(&mut server);
            assert!(romeo.storage.has_failed(), "commit {at} failed");
            assert_left(&server, &again, Legacy, Omemo2);
        }
    }
    let mut server = Server::of(Omemo2);
    let (romeo, _) = romeo_in_both(&mut server);
    let romeo = reopened(&romeo, &[Omemo2]);
    let romeo = reopened(&romeo, &[Omemo2, Legacy]);
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    for namespace in Namespace::ALL {
        assert!(listed(&server, namespace, &romeo) && has_bundle(&server, namespace, &romeo));
    }
    let deletes = |request: &Request| matches!(request, Request::DeleteBundle { .. });
    assert_eq!(romeo.count_asked(deletes), 0);
}

#[test]
fn nothing_of_a_foreign_device_is_deleted_when_a_namespace_is_left() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
    let old = romeo.id();
    // Another program has come under the same id in both namespaces.
    let foreign = RawDevice::of(Omemo2, ROMEO, old);
    foreign.publish(&mut server);
    foreign.in_namespace(Legacy).publish(&mut server);
    let theirs = server.bundles[&(Legacy, romeo.jid.clone(), old)].clone();
    let romeo = reopened(&romeo, &[Omemo2]);
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    romeo.run_later(&mut server);
    assert_ne!(romeo.id(), old);
    assert_eq!(server.bundles[&(Legacy, romeo.jid.clone(), old)], theirs);
    assert!(server.lists[&(Legacy, romeo.jid.clone())].devices.iter().any(|device| device.id == old));
}

#[test]
fn leaving_what_was_never_published_takes_nobody_else_off() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::new(ROMEO, &mut server);
    RawDevice::of(Legacy, ROMEO, romeo.id()).publish(&mut server);
    let romeo = reopened(&romeo, &[Legacy, Omemo2]);
    let romeo = reopened(&romeo, &[Omemo2]);
    romeo.connect(&mut server);
    romeo.run_later(&mut server);
    assert!(has_bundle(&server, Legacy, &romeo), "a foreign bundle was deleted");
    assert!(listed(&server, Legacy, &romeo), "a foreign device was taken off the list");
}

#[test]
fn an_id_that_was_given_up_is_no_own_device() {
    let (mut server, romeo, foreign) = with_foreign_id();
    let old = romeo.id();
    foreign.publish(&mut server);
    let romeo = reopened(&romeo, &[Omemo2, Legacy]);
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    romeo.run_later(&mut server);
    assert_ne!(romeo.id(), old);
    // The old id is gone from both lists, and its bundle where it was ours; the new one is in both.
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    assert!(!server.bundles.contains_key(&(Omemo2, romeo.jid.clone(), old)));
    assert_eq!(server.bundles[&(Legacy, romeo.jid.clone(), old)], foreign.bundle());
    let ids: Vec<_> =
        server.lists[&(Legacy, romeo.jid.clone())].devices.iter().map(|device| device.id).collect();
    assert_eq!(ids, [romeo.id()]);
    RawDevice::of(Omemo2, JULIET, 5).publish(&mut server);
    let operation = next_number();
    romeo.manager().encrypt(operation, content(&[JULIET], Some(vec![Omemo2]))).unwrap();
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    // Of this account there is no other device any more.
    assert!(outcome.rows.iter().all(|row| row.jid.as_ref() != Some(&romeo.jid)), "{:?}", outcome.rows);
}

#[test]
fn a_client_that_never_had_an_id_has_nothing_to_leave() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::closed(both([Legacy, Omemo2], ROMEO), Arc::default());
    romeo.open().unwrap();
    let romeo = reopened(&romeo, &[Omemo2]);
    let list = DeviceList::new(Legacy);
    server.lists.insert((Legacy, romeo.jid.clone()), list);
    let outcome = romeo.connect(&mut server);
    assert_eq!((outcome.status(), outcome.rows.len()), (Status::Ok, 1));
    assert!(!listed(&server, Legacy, &romeo) && listed(&server, Omemo2, &romeo));
}
