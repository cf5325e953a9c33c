//! What a client does about its own account: repair it, clear its lists, remove a device; and the report on a JID's health.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::address::BareJid;
use omemo::protocol::device_list::ListedDevice;
use omemo::protocol::namespace::Namespace;
use omemo::runtime::next_number;

in_both_namespaces! {
    what_the_server_has_lost_is_put_back_on_demand,
    a_cleared_list_names_this_device_alone_and_who_still_runs_comes_back,
    a_list_that_nobody_can_read_is_cleared,
    a_removed_device_is_off_the_list_with_its_bundle_and_comes_back_if_it_runs,
    a_removal_that_is_cut_short_is_done_later,
    the_health_report_names_what_is_wrong,
    a_removal_that_the_server_refuses_keeps_no_other_from_being_done,
}

/// Starts an operation, runs it to its end, and gives that.
pub(super) fn finish(client: &RustDevice, server: &mut Server, start: impl FnOnce(u64)) -> Outcome {
    let operation = next_number();
    client.advance(61_000);
    start(operation);
    client.run(server);
    client.take(operation)
}

pub(super) fn own_rows(outcome: &Outcome) -> Vec<(u32, Status)> {
    outcome.rows.iter().map(|row| (row.device, row.error.status())).collect()
}

pub(super) fn is_deletion(request: &Request) -> bool {
    matches!(request, Request::DeleteBundle { .. })
}

pub(super) fn at(client: &RustDevice) -> (Namespace, BareJid) {
    (client.config.namespaces[0], client.jid.clone())
}

/// Hands a device of this account the list that stands on the server.
pub(super) fn push_own(client: &RustDevice, server: &mut Server) {
    client.push(&client.jid, server);
    client.run(server);
}

fn what_the_server_has_lost_is_put_back_on_demand(ns: Namespace) {
    let (mut server, romeo, _) = friends(ns);
    let ensure = |server: &mut Server| {
        finish(&romeo, server, |operation| romeo.manager().ensure_consistency(operation).unwrap())
    };
    let before = romeo.count_asked(is_publish);
    assert_eq!(ensure(&mut server).status(), Status::Ok);
    assert_eq!(romeo.count_asked(is_publish), before, "nothing was wrong");
    let published = server.bundle(&romeo);
    // The bundle, the list, both, and a bundle that is older than it ought to be.
    for (list, bundle) in [(false, true), (true, false), (true, true)] {
        if list {
            server.lists.remove(&at(&romeo));
        }
        if bundle {
            server.bundles.clear();
        }
        assert_eq!(ensure(&mut server).status(), Status::Ok);
        assert_eq!((server.list(&romeo.jid), server.bundle(&romeo)), (vec![romeo.id()], published.clone()));
    }
    let mut old = published.clone();
    old.pre_keys.truncate(30);
    server.bundles.insert((ns, romeo.jid.clone(), romeo.id()), old);
    assert_eq!(ensure(&mut server).status(), Status::Ok);
    assert_eq!(server.bundle(&romeo), published);
    romeo.manager().disconnected().unwrap();
    let offline = romeo.manager().ensure_consistency(next_number()).unwrap_err();
    assert_eq!(offline.status(), Status::Offline);
}

fn a_cleared_list_names_this_device_alone_and_who_still_runs_comes_back(ns: Namespace) {
    let (mut server, romeo, _) = friends(ns);
    let phone = RustDevice::new(ROMEO, &mut server);
    push_own(&romeo, &mut server);
    let mut full = server.lists[&at(&romeo)].clone();
    (1_000..1_100).for_each(|id| full.set(ListedDevice::new(id)).unwrap());
    server.lists.insert(at(&romeo), full);
    push_own(&romeo, &mut server);
    let clear =
        |server: &mut Server| finish(&romeo, server, |op| romeo.manager().clear_device_lists(op).unwrap());
    let outcome = clear(&mut server);
    assert_eq!((outcome.status(), own_rows(&outcome)), (Status::Ok, vec![(0, Status::Ok)]));
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    assert!(!romeo.is_active(&romeo.jid, 1_000) && !romeo.is_active(&romeo.jid, phone.id()));
    push_own(&phone, &mut server);
    assert_eq!(server.list(&romeo.jid), [romeo.id(), phone.id()]);
    push_own(&romeo, &mut server);
    assert!(romeo.is_active(&romeo.jid, phone.id()));
    // The old list is pushed once more while the new one is on its way, or somebody writes it once more with himself on it:
    // it is cleared all the same, and who still runs comes back.
    for late in [false, true] {
        romeo.advance(HOUR * 2);
        let old = server.lists[&at(&romeo)].clone();
        let operation = next_number();
        romeo.manager().clear_device_lists(operation).unwrap();
        let held = romeo.run_holding(&mut server, is_list_publication);
        let mut pushed = old.clone();
        if late {
            pushed.set(ListedDevice::new(77)).unwrap();
        }
        romeo.manager().update_device_list(&romeo.jid, &pushed).unwrap();
        romeo.run_holding(&mut server, is_list_publication);
        for (request_id, request) in held {
            romeo.manager().answer(request_id, server.answer(&romeo, &request)).unwrap();
        }
        romeo.run_later(&mut server);
        assert_eq!(romeo.take(operation).status(), Status::Ok);
        assert_eq!(server.list(&romeo.jid), [romeo.id()], "{late}");
        phone.advance(61_000);
        push_own(&phone, &mut server);
        assert_eq!(server.list(&romeo.jid), [romeo.id(), phone.id()]);
        push_own(&romeo, &mut server);
    }
    romeo.advance(HOUR * 2);
    // What fails is tried again, also in the next stream.
    let operation = next_number();
    romeo.manager().clear_device_lists(operation).unwrap();
    romeo.run_with(|request| {
        let failed = is_list_publication(request).then_some(Answer::Rejected(Reason::Failed));
        failed.or_else(|| Some(server.answer(&romeo, request)))
    });
    assert_eq!(romeo.take(operation).status(), Status::DeviceListUploadFailed);
    romeo.reconnect(&mut server);
    romeo.run_later(&mut server);
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
}

fn a_list_that_nobody_can_read_is_cleared(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::closed(config(ns, ROMEO, "trusted"), Default::default());
    romeo.open().unwrap();
    let mut readable = false;
    let run = |server: &mut Server, readable: &mut bool| {
        romeo.run_with(|request| {
            *readable |= is_list_publication(request);
            let own_list = is_list_of(&romeo.jid)(request) && !*readable;
            let unreadable = || Answer::Unreadable(Status::Malformed.into());
            Some(if own_list { unreadable() } else { server.answer(&romeo, request) })
        });
    };
    let connecting = romeo.begin_connect();
    run(&mut server, &mut readable);
    assert_eq!(romeo.take(connecting).status(), Status::Malformed);
    assert!(server.lists.is_empty() && !readable);
    let operation = next_number();
    romeo.manager().clear_device_lists(operation).unwrap();
    for _ in 0..4 {
        run(&mut server, &mut readable);
        romeo.advance(61_000);
    }
    assert_eq!(romeo.take(operation).status(), Status::Ok);
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    server.bundle(&romeo).verify().unwrap();
}

fn a_removed_device_is_off_the_list_with_its_bundle_and_comes_back_if_it_runs(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let phone = RustDevice::new(ROMEO, &mut server);
    push_own(&romeo, &mut server);
    assert!(is_served(&romeo, &juliet.jid, phone.id(), &mut server), "an own device reads along");
    let remove = |server: &mut Server, id: u32| {
        finish(&romeo, server, |op| romeo.manager().remove_own_device(op, super::world::id(id)).unwrap())
    };
    let outcome = remove(&mut server, phone.id());
    assert_eq!((outcome.status(), own_rows(&outcome)), (Status::Ok, vec![(phone.id(), Status::Ok)]));
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    assert!(!server.bundles.contains_key(&(ns, romeo.jid.clone(), phone.id())));
    assert!(!is_served(&romeo, &juliet.jid, phone.id(), &mut server));
    // One that is on no list is removed as well, and one without a bundle.
    assert_eq!(remove(&mut server, 4_711).status(), Status::Ok);
    // It still runs, and says so.
    push_own(&phone, &mut server);
    phone.reconnect(&mut server);
    phone.run_later(&mut server);
    assert_eq!(server.list(&romeo.jid), [romeo.id(), phone.id()]);
    server.bundle(&phone).verify().unwrap();
    push_own(&romeo, &mut server);
    assert!(is_served(&romeo, &juliet.jid, phone.id(), &mut server));
    // Not oneself, and not more than wait at a time.
    let refused = |id: u32| {
        let removed = romeo.manager().remove_own_device(next_number(), super::world::id(id));
        removed.map_err(|error| error.status())
    };
    assert_eq!(refused(romeo.id()), Err(Status::Argument));
    let accepted = (1..=65).take_while(|id| refused(*id).is_ok()).count();
    assert_eq!(accepted, 64);
    romeo.restart();
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
}

fn a_removal_that_is_cut_short_is_done_later(ns: Namespace) {
    // After each of its requests: the process ends, or the stream.
    for restart in [false, true] {
        for cut in 0..3 {
            let (mut server, romeo, _) = friends(ns);
            let phone = RustDevice::new(ROMEO, &mut server);
            push_own(&romeo, &mut server);
            romeo.advance(61_000);
            let operation = next_number();
            romeo.manager().remove_own_device(operation, id(phone.id())).unwrap();
            let mut answered = 0;
            romeo.run_with(|request| {
                answered += 1;
                (answered <= cut).then(|| server.answer(&romeo, request))
            });
            assert!(!romeo.is_done(operation), "there are {answered} requests");
            if restart {
                romeo.restart();
            } else {
                romeo.manager().disconnected().unwrap();
                romeo.run(&mut server);
                assert_eq!(romeo.take(operation).status(), Status::Offline);
            }
            romeo.connect(&mut server);
            romeo.run_later(&mut server);
            assert_eq!(server.list(&romeo.jid), [romeo.id()], "cut after {cut}");
            assert!(!server.bundles.contains_key(&(ns, romeo.jid.clone(), phone.id())), "cut after {cut}");
        }
    }
}

fn the_health_report_names_what_is_wrong(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let look = |server: &mut Server, of: Option<&BareJid>| {
        finish(&romeo, server, |operation| romeo.manager().health(operation, of.cloned()).unwrap())
    };
    let own = look(&mut server, None);
    assert_eq!(own_rows(&own), [(0, Status::Ok), (romeo.id(), Status::Ok)]);
    let fine = look(&mut server, Some(&juliet.jid));
    assert_eq!(
        (fine.status(), own_rows(&fine)),
        (Status::Ok, vec![(0, Status::Ok), (juliet.id(), Status::Ok)])
    );
    assert!(fine.rows.iter().all(|row| row.jid.as_ref() == Some(&juliet.jid) && row.namespace == Some(ns)));
    // A device that nobody has written to, one without a bundle, one with a spoilt signature, one that is no device.
    let paris = RawDevice::of(ns, PARIS, 7);
    paris.publish(&mut server);
    let mut bad = paris.bundle();
    bad.signature[3] ^= 1;
    server.bundles.insert((ns, paris.jid.clone(), 9), bad);
    let listed = server.lists.get_mut(&(ns, paris.jid.clone())).unwrap();
    [8, 9, 0].into_iter().for_each(|id| listed.set(ListedDevice::new(id)).unwrap());
    let report = look(&mut server, Some(&paris.jid));
    let expected = [
        (0, Status::Malformed),
        (7, Status::NoSession),
        (8, Status::BundleNotFound),
        (8, Status::NoSession),
        (9, Status::BundleBad),
        (9, Status::NoSession),
    ];
    assert_eq!((report.status(), own_rows(&report)), (Status::Malformed, expected.to_vec()));
    // Trust, another key, and messages that cannot be read.
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
    assert_eq!(own_rows(&look(&mut server, Some(&juliet.jid)))[1], (juliet.id(), Status::Distrusted));
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "undecided").unwrap();
    assert_eq!(own_rows(&look(&mut server, Some(&juliet.jid)))[1], (juliet.id(), Status::Undecided));
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    let message = juliet.say(&romeo.jid, "text", &mut server);
    romeo.refuse(&juliet.jid, &forged(&message, 1), Status::DecryptionFailed);
    assert_eq!(own_rows(&look(&mut server, Some(&juliet.jid)))[1], (juliet.id(), Status::DecryptionFailed));
    romeo.read(&juliet.jid, &message);
    let mallory = RawDevice::of(ns, JULIET, juliet.id());
    server.bundles.insert((ns, juliet.jid.clone(), juliet.id()), mallory.bundle());
    assert_eq!(own_rows(&look(&mut server, Some(&juliet.jid)))[1], (juliet.id(), Status::IdentityChanged));
    // Nothing is announced, and nothing can be asked.
    let nobody = look(&mut server, Some(&jid("nobody@verona.lit")));
    assert_eq!(own_rows(&nobody), [(0, Status::NoDevices)]);
    let operation = next_number();
    romeo.manager().health(operation, Some(paris.jid.clone())).unwrap();
    romeo.run_with(|_| Some(Answer::Rejected(Reason::Failed)));
    assert_eq!(own_rows(&romeo.take(operation)), [(0, Status::DeviceListDownloadFailed)]);
    romeo.run_later(&mut server);
    // What the server has lost of this device.
    server.bundles.remove(&(ns, romeo.jid.clone(), romeo.id()));
    server.lists.remove(&at(&romeo));
    let lost = own_rows(&look(&mut server, None));
    assert_eq!(lost[0], (0, Status::NoDevices));
    assert_eq!(lost[1], (romeo.id(), Status::DeviceListUploadFailed));
    assert_eq!(lost[2], (romeo.id(), Status::BundleUploadFailed));
    romeo.run_later(&mut server);
    assert_eq!(own_rows(&look(&mut server, None)), [(0, Status::Ok), (romeo.id(), Status::Ok)]);
    romeo.manager().disconnected().unwrap();
    assert_eq!(romeo.manager().health(next_number(), None).unwrap_err().status(), Status::Offline);
}

fn a_removal_that_the_server_refuses_keeps_no_other_from_being_done(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let (old_id, phone) = (romeo.id(), RustDevice::new(ROMEO, &mut server));
    push_own(&romeo, &mut server);
    romeo.advance(61_000);
    let (removal, reset) = (next_number(), next_number());
    romeo.manager().remove_own_device(removal, id(phone.id())).unwrap();
    romeo.manager().reset_identity(reset).unwrap();
    let refuse = |romeo: &RustDevice, server: &mut Server| {
        romeo.run_with(|request| match request {
            Request::DeleteBundle { device, .. } if device.get() == phone.id() => {
                Some(Answer::Rejected(Reason::Failed))
            }
            _ => Some(server.answer(romeo, request)),
        });
    };
    for _ in 0..8 {
        refuse(&romeo, &mut server);
        romeo.advance(61_000);
    }
    assert_eq!(romeo.take(removal).status(), Status::BundleDeletionFailed);
    assert_eq!(romeo.take(reset).status(), Status::Ok);
    assert!(!server.bundles.contains_key(&(ns, romeo.jid.clone(), old_id)), "the old device is gone");
    assert!(server.bundles.contains_key(&(ns, romeo.jid.clone(), phone.id())), "refused");
    // A device that is not wanted and still runs is served as long as it is announced.
    push_own(&phone, &mut server);
    phone.run_later(&mut server);
    romeo.push(&romeo.jid, &server);
    refuse(&romeo, &mut server);
    let message = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait);
    refuse(&romeo, &mut server);
    let outcome = romeo.take(message);
    assert!(
        serves(&outcome, phone.id()),
        "{:?} {:?} {:?}",
        outcome.rows,
        server.list(&romeo.jid),
        romeo.device(&romeo.jid, phone.id())
    );
}
