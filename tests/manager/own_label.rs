//! The label of this device: signed, published, never lost to the server or to another client's copy (R8, R26); and the
//! labels of others, which count only with the signature of their key.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::device_list::ListedDevice;
use omemo::protocol::label::SignedLabel;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::runtime::next_number;

const BOTH: [Namespace; 2] = [Legacy, Omemo2];

fn client(namespaces: &[Namespace], server: &mut Server) -> RustDevice {
    RustDevice::with(
        Config { namespaces: namespaces.to_vec(), ..config(namespaces[0], ROMEO, "trusted") },
        server,
    )
}

fn begin(client: &RustDevice, label: Option<&str>) -> u64 {
    let operation = next_number();
    client.manager().set_label(operation, label).unwrap();
    operation
}

/// No more often than publications are allowed.
fn set(client: &RustDevice, label: Option<&str>, server: &mut Server) -> Outcome {
    client.advance(61_000);
    let operation = begin(client, label);
    client.run(server);
    client.take(operation)
}

/// The label of a device as it stands on the server, in omemo:2.
fn on_server(server: &Server, client: &RustDevice) -> Option<String> {
    let list = &server.lists[&(Omemo2, client.jid.clone())];
    let listed = list.devices.iter().find(|device| device.id == client.id()).expect("not on the list");
    let label = listed.signed_label()?;
    assert!(label.is_signed_by(&client.key()), "not signed by its device");
    Some(label.text)
}

fn own(client: &RustDevice) -> Option<String> {
    client.manager().devices(None).unwrap().first()?.verified_label().map(str::to_owned)
}

/// Another client writes the list anew, without the label of ours, and the server pushes that.
fn copy_without_labels(client: &RustDevice, server: &mut Server) {
    let at = (Omemo2, client.jid.clone());
    let ids: Vec<u32> = server.lists[&at].devices.iter().map(|device| device.id).collect();
    let copy = list(Omemo2, &ids);
    server.lists.insert(at, copy.clone());
    client.manager().update_device_list(&client.jid, &copy).unwrap();
}

#[test]
fn a_label_is_published_where_lists_have_labels_and_can_be_changed_and_taken_away() {
    for namespaces in [vec![Omemo2], vec![Legacy, Omemo2], vec![Omemo2, Legacy]] {
        let mut server = Server::of(namespaces[0]);
        let romeo = client(&namespaces, &mut server);
        for label in [Some("Romeo's phone"), Some("\u{1f339} <&'\"> phone"), None, Some("phone")] {
            let outcome = set(&romeo, label, &mut server);
            assert_eq!(outcome.status(), Status::Ok);
            let reported: Vec<_> = outcome.rows.iter().map(|row| (row.namespace, row.device)).collect();
            assert_eq!(reported, [(Some(Omemo2), 0)]);
            assert_eq!((on_server(&server, &romeo).as_deref(), own(&romeo).as_deref()), (label, label));
        }
        if namespaces.contains(&Legacy) {
            let legacy = &server.lists[&(Legacy, romeo.jid.clone())];
            assert!(legacy.devices.iter().all(|device| device.label.is_none() && device.as_read.is_none()));
        }
        // What is set already is not published again, and stays over a restart.
        let before = romeo.count_asked(is_publish);
        assert_eq!(set(&romeo, Some("phone"), &mut server).status(), Status::Ok);
        romeo.restart();
        romeo.connect(&mut server);
        assert_eq!((on_server(&server, &romeo), own(&romeo)), (Some("phone".into()), Some("phone".into())));
        assert_eq!(romeo.count_asked(is_publish), before);
    }
}

#[test]
fn a_label_that_nothing_can_carry_is_refused_before_anything_changes() {
    let mut server = Server::of(Legacy);
    let romeo = client(&[Legacy], &mut server);
    let (commits, before) = (romeo.storage.commits(), romeo.count_asked(is_publish));
    let refused = |client: &RustDevice, label: &str| {
        client.manager().set_label(next_number(), Some(label)).map_err(|error| error.status())
    };
    assert_eq!(refused(&romeo, "phone"), Err(Status::Label));
    assert_eq!((romeo.storage.commits(), romeo.count_asked(is_publish)), (commits, before));
    // None is what it has; there is nothing to publish.
    assert_eq!(set(&romeo, None, &mut server).status(), Status::Ok);

    let mut server = Server::of(Omemo2);
    let juliet = client(&BOTH, &mut server);
    set(&juliet, Some("balcony"), &mut server);
    for bad in ["x".repeat(53), "x".repeat(32), "two\nlines".into(), "nul\u{0}".into()] {
        assert_eq!(refused(&juliet, &bad), Err(Status::Label));
    }
    juliet.run(&mut server);
    assert_eq!(on_server(&server, &juliet).as_deref(), Some("balcony"));
}

#[test]
fn a_label_that_the_server_or_another_client_has_lost_is_published_again() {
    for namespaces in [vec![Omemo2], BOTH.to_vec()] {
        let mut server = Server::of(namespaces[0]);
        let romeo = client(&namespaces, &mut server);
        set(&romeo, Some("phone"), &mut server);
        // A push, an answer after a reconnection, and one after a restart.
        copy_without_labels(&romeo, &mut server);
        romeo.run(&mut server);
        assert_eq!(on_server(&server, &romeo).as_deref(), Some("phone"));
        for restart in [false, true] {
            let at = (Omemo2, romeo.jid.clone());
            server.lists.insert(at, list(Omemo2, &[romeo.id(), 77]));
            romeo.advance(61_000);
            if restart {
                romeo.restart();
                romeo.connect(&mut server);
            } else {
                romeo.reconnect(&mut server);
            }
            assert_eq!(on_server(&server, &romeo).as_deref(), Some("phone"));
            assert!(romeo.is_active(&romeo.jid, 77), "nobody else is lost by it");
        }
        // Somebody else's label under our id, with a signature of his own.
        let mut mallory = RawDevice::of(Omemo2, ROMEO, romeo.id());
        let forged = SignedLabel::sign(&mallory.identity, "evil", &mut mallory.rng).unwrap();
        let mut forgery = server.lists[&(Omemo2, romeo.jid.clone())].clone();
        forgery.set(ListedDevice::labelled(romeo.id(), forged.text, forged.signature)).unwrap();
        server.lists.insert((Omemo2, romeo.jid.clone()), forgery.clone());
        romeo.manager().update_device_list(&romeo.jid, &forgery).unwrap();
        romeo.run_later(&mut server);
        assert_eq!((on_server(&server, &romeo), own(&romeo)), (Some("phone".into()), Some("phone".into())));
    }
}

#[test]
fn two_clients_that_never_agree_about_a_label_do_not_flood_the_server() {
    let mut server = Server::of(Omemo2);
    let romeo = client(&[Omemo2], &mut server);
    set(&romeo, Some("phone"), &mut server);
    let before = romeo.count_asked(is_list_publication);
    for _ in 0..24 * 60 {
        copy_without_labels(&romeo, &mut server);
        romeo.advance(60_000);
        romeo.run(&mut server);
    }
    let published = romeo.count_asked(is_list_publication) - before;
    assert!((5..=31).contains(&published), "{published} publications in a day");
}

#[test]
fn a_label_that_is_set_early_is_published_later() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::closed(config(Omemo2, ROMEO, "trusted"), Default::default());
    romeo.open().unwrap();
    assert_eq!(set(&romeo, Some("phone"), &mut server).status(), Status::Offline);
    assert_eq!(own(&romeo), None, "there is no device yet");
    romeo.restart();
    let connecting = romeo.begin_connect();
    let early = begin(&romeo, Some("telephone"));
    romeo.run(&mut server);
    assert_eq!(romeo.take(connecting).status(), Status::Ok);
    // Whether the id was chosen by then or not: it is published with the first list, once.
    assert!(matches!(romeo.take(early).status(), Status::NotReady | Status::Ok));
    assert_eq!(on_server(&server, &romeo).as_deref(), Some("telephone"));
    assert_eq!(romeo.count_asked(is_list_publication), 1);
    // Offline, and in the middle of it.
    romeo.manager().disconnected().unwrap();
    assert_eq!(set(&romeo, Some("tablet"), &mut server).status(), Status::Offline);
    romeo.connect(&mut server);
    assert_eq!(on_server(&server, &romeo).as_deref(), Some("tablet"));
    let operation = begin(&romeo, Some("laptop"));
    romeo.run_holding(&mut server, is_list_publication);
    assert!(!romeo.is_done(operation));
    romeo.manager().disconnected().unwrap();
    romeo.run(&mut server);
    assert_eq!(romeo.take(operation).status(), Status::Offline);
    romeo.connect(&mut server);
    assert_eq!(on_server(&server, &romeo).as_deref(), Some("laptop"));
}

#[test]
fn a_publication_that_fails_is_reported_and_tried_again() {
    let mut server = Server::of(Omemo2);
    let romeo = client(&[Omemo2], &mut server);
    let operation = begin(&romeo, Some("phone"));
    romeo.run_with(|request| {
        let failed = is_list_publication(request).then_some(Answer::Rejected(Reason::Failed));
        failed.or_else(|| Some(server.answer(&romeo, request)))
    });
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::DeviceListUploadFailed);
    assert_eq!(outcome.rows[0].error.status(), Status::DeviceListUploadFailed);
    romeo.run_later(&mut server);
    assert_eq!(on_server(&server, &romeo).as_deref(), Some("phone"));
}

#[test]
fn a_commit_that_fails_sets_no_label() {
    let mut server = Server::of(Omemo2);
    let romeo = client(&[Omemo2], &mut server);
    romeo.storage.fail_commit(1, false);
    let failed = romeo.manager().set_label(next_number(), Some("phone")).unwrap_err();
    assert!(failed.is_storage());
    romeo.run_later(&mut server);
    assert_eq!((own(&romeo), on_server(&server, &romeo)), (None, None));
    assert_eq!(set(&romeo, Some("phone"), &mut server).status(), Status::Ok);
    assert_eq!(on_server(&server, &romeo).as_deref(), Some("phone"));
}

#[test]
fn labels_of_others_count_with_the_signature_of_their_key_alone() {
    let (mut server, romeo, mut tybalt) = with_raw(Omemo2, ROMEO, (TYBALT, 5));
    let at = (Omemo2, tybalt.jid.clone());
    let shown = |romeo: &RustDevice| {
        let device = romeo.device(&jid(TYBALT), 5).unwrap();
        device.verified_label().map(str::to_owned)
    };
    let announce = |server: &mut Server, romeo: &RustDevice, listed: ListedDevice| {
        server.lists.get_mut(&at).unwrap().set(listed).unwrap();
        let before = romeo.count_notices(NoticeKind::Devices);
        romeo.manager().update_device_list(&jid(TYBALT), &server.lists[&at]).unwrap();
        romeo.run(server);
        romeo.count_notices(NoticeKind::Devices) - before
    };
    let signed = SignedLabel::sign(&tybalt.identity, "Tybalt's sword", &mut tybalt.rng).unwrap();
    let labelled = ListedDevice::labelled(5, signed.text.clone(), signed.signature);
    // Before the key is known nobody can tell; with it the label is there without another list.
    assert_eq!(announce(&mut server, &romeo, labelled.clone()), 1);
    assert_eq!(shown(&romeo), None);
    romeo.refresh(&tybalt.jid, &mut server);
    assert_eq!(shown(&romeo).as_deref(), Some("Tybalt's sword"));
    assert_eq!(announce(&mut server, &romeo, labelled.clone()), 0);
    romeo.restart();
    assert_eq!(shown(&romeo).as_deref(), Some("Tybalt's sword"));
    // Another text, another key's signature, a spoilt signature.
    let mut stranger = RawDevice::of(Omemo2, TYBALT, 6);
    let foreign = SignedLabel::sign(&stranger.identity, "x", &mut stranger.rng).unwrap();
    for (text, signature) in [("Romeo", signed.signature), ("x", foreign.signature), ("x", [0; 64])] {
        let spoilt = ListedDevice::labelled(5, text.to_owned(), signature);
        assert_eq!(announce(&mut server, &romeo, spoilt), 0);
        assert_eq!(shown(&romeo).as_deref(), Some("Tybalt's sword"), "who spoils it has not the last word");
    }
    let signed = SignedLabel::sign(&tybalt.identity, "Excalibur", &mut tybalt.rng).unwrap();
    let labelled = ListedDevice::labelled(5, signed.text.clone(), signed.signature);
    assert_eq!(announce(&mut server, &romeo, labelled.clone()), 1);
    assert_eq!(shown(&romeo).as_deref(), Some("Excalibur"));
    // Its owner takes it away; who leaves keeps the name by which people know the device.
    assert_eq!(announce(&mut server, &romeo, ListedDevice::new(5)), 1);
    assert_eq!(shown(&romeo), None);
    announce(&mut server, &romeo, labelled);
    romeo.manager().set_trust(&tybalt.jid, &tybalt.key(), "trusted").unwrap();
    romeo.manager().update_device_list(&tybalt.jid, &list(Omemo2, &[])).unwrap();
    assert_eq!(shown(&romeo).as_deref(), Some("Excalibur"));
}
