//! The end of an identity: a client becomes another device, or deletes its account, whatever cuts that short.

use super::care::{at, finish, is_deletion, own_rows, push_own};
use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::device_list::ListedDevice;
use omemo::protocol::namespace::Namespace;
use omemo::runtime::next_number;

in_both_namespaces! {
    a_new_identity_is_a_new_device_and_the_old_one_goes,
    a_new_identity_offline_or_in_the_middle_of_a_crash_is_published_later,
    a_deleted_account_leaves_nothing_behind,
    a_deletion_that_fails_leaves_everything_as_it_was,
    two_deletions_never_empty_the_store_without_the_server,
    nothing_is_encrypted_for_an_identity_that_this_device_had_before,
}

fn a_new_identity_is_a_new_device_and_the_old_one_goes(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "custom friend").unwrap();
    let late = juliet.say(&romeo.jid, "too late", &mut server);
    let (old_id, old_key, old_bundle) = (romeo.id(), romeo.key(), server.bundle(&romeo));
    let outcome = finish(&romeo, &mut server, |operation| romeo.manager().reset_identity(operation).unwrap());
    assert_eq!((outcome.status(), own_rows(&outcome)), (Status::Ok, vec![(0, Status::Ok)]));
    romeo.run_later(&mut server);
    assert!(romeo.id() != old_id && romeo.key() != old_key);
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    assert!(!server.bundles.contains_key(&(ns, romeo.jid.clone(), old_id)));
    let bundle = server.bundle(&romeo);
    bundle.verify().unwrap();
    assert!(bundle.identity_key == romeo.key() && bundle.signed_pre_key != old_bundle.signed_pre_key);
    // Ids go on where they were, so that nobody takes a new key for an old one.
    assert!(bundle.pre_keys.iter().all(|key| old_bundle.pre_keys.iter().all(|old| old.id < key.id)));
    assert!(bundle.signed_pre_key_id > old_bundle.signed_pre_key_id);
    romeo.refuse(&juliet.jid, &late, Status::NotForUs);
    let friend = romeo.device(&juliet.jid, juliet.id()).unwrap();
    assert_eq!(friend.trust_level_name, "custom friend");
    assert!(friend.sessions.iter().all(|session| session.sending_chain_length.is_none()));
    for _ in 0..2 {
        juliet.push(&romeo.jid, &server);
        juliet.refresh(&romeo.jid, &mut server);
        both_ways(&romeo, &juliet, &mut server);
        romeo.restart();
        romeo.connect(&mut server);
    }
    assert_eq!((server.list(&romeo.jid), romeo.key()), (vec![romeo.id()], bundle.identity_key));
}

fn a_new_identity_offline_or_in_the_middle_of_a_crash_is_published_later(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let old_id = romeo.id();
    romeo.manager().disconnected().unwrap();
    // A commit that fails changes nothing; one that fails although it was stored is read again.
    romeo.storage.fail_commit(1, false);
    assert!(romeo.manager().reset_identity(next_number()).unwrap_err().is_storage());
    assert_eq!(romeo.id(), old_id);
    romeo.storage.fail_commit(1, true);
    assert!(romeo.manager().reset_identity(next_number()).unwrap_err().is_storage());
    let (id, key) = (romeo.id(), romeo.key());
    assert_ne!(id, old_id);
    romeo.restart();
    assert_eq!((romeo.id(), romeo.key()), (id, key));
    // And once more, before the first one was heard of.
    let outcome = finish(&romeo, &mut server, |operation| romeo.manager().reset_identity(operation).unwrap());
    assert_eq!(outcome.status(), Status::Offline);
    romeo.connect(&mut server);
    romeo.run_later(&mut server);
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
    assert!(!server.bundles.contains_key(&(ns, romeo.jid.clone(), old_id)));
    juliet.push(&romeo.jid, &server);
    juliet.refresh(&romeo.jid, &mut server);
    both_ways(&romeo, &juliet, &mut server);
}

fn a_deleted_account_leaves_nothing_behind(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let phone = RustDevice::new(ROMEO, &mut server);
    push_own(&romeo, &mut server);
    // Sessions, archived ones, skipped keys, and an empty message that waits.
    converse(&romeo, &juliet, 2, &mut server);
    juliet.say(&romeo.jid, "lost", &mut server);
    let after = juliet.say(&romeo.jid, "skipped", &mut server);
    romeo.read(&juliet.jid, &after);
    replace_session(&juliet, &romeo, &mut server);
    romeo.replace_sessions(Some(&juliet.jid), 0, &mut server);
    romeo.advance(61_000);
    let nobody = jid("nobody@verona.lit");
    let waiting = romeo.begin_encrypt(&[&nobody], "text", EncryptPolicy::Wait);
    romeo.run_holding(&mut server, is_list_of(&nobody));
    let (size, old_id) = (romeo.storage.size(), romeo.id());
    assert!(size > 15, "{size} records");
    let operation = next_number();
    romeo.manager().delete_account(operation).unwrap();
    romeo.run_holding(&mut server, is_list_of(&nobody));
    let outcome = romeo.take(operation);
    assert_eq!((outcome.status(), outcome.rows.len()), (Status::Ok, 1));
    assert_eq!(romeo.storage.size(), 0);
    assert_eq!(romeo.take(waiting).status(), Status::Cancelled);
    for namespace in Namespace::ALL {
        let listed = server.lists.get(&(namespace, romeo.jid.clone()));
        assert!(listed.is_none_or(|list| !list.contains(old_id)));
        assert!(!server.bundles.contains_key(&(namespace, romeo.jid.clone(), old_id)));
    }
    assert_eq!(server.list(&romeo.jid), [phone.id()], "the other device stays");
    // The manager is over, and makes no account of its own accord.
    let manager = romeo.manager();
    assert_eq!(manager.devices(None).unwrap_err().status(), Status::Cancelled);
    let decrypted = manager.decrypt(Some(&juliet.jid), None, &after).map(|_| ());
    assert_eq!(decrypted.unwrap_err().status(), Status::Cancelled);
    assert_eq!(manager.delete_account(next_number()).unwrap_err().status(), Status::Cancelled);
    assert_eq!(
        (manager.timeout(), manager.disconnected().map_err(|e| e.status())),
        (None, Err(Status::Cancelled))
    );
    romeo.advance(HOUR);
    romeo.run(&mut server);
    manager.shut();
    manager.close();
    assert_eq!(romeo.storage.size(), 0);
    // The same store is a new account.
    drop(manager);
    romeo.restart();
    romeo.connect(&mut server);
    assert_ne!(romeo.id(), old_id);
    assert_eq!(server.list(&romeo.jid), [phone.id(), romeo.id()]);
}

fn a_deletion_that_fails_leaves_everything_as_it_was(ns: Namespace) {
    type Cut = fn(&Request) -> bool;
    let cuts: [Cut; 3] = [is_list_publication, is_bundle, is_deletion];
    for cut in cuts {
        for how in ["fails", "stream", "restart"] {
            let (mut server, romeo, juliet) = friends(ns);
            romeo.advance(61_000);
            let operation = next_number();
            romeo.manager().delete_account(operation).unwrap();
            let mut cuts = 0;
            romeo.run_with(|request| {
                if cut(request) && cuts == 0 {
                    cuts += 1;
                    return (how == "fails").then_some(Answer::Rejected(Reason::Failed));
                }
                Some(server.answer(&romeo, request))
            });
            assert_eq!(cuts, 1);
            match how {
                "fails" => assert_ne!(romeo.take(operation).status(), Status::Ok),
                "stream" => {
                    romeo.reconnect(&mut server);
                    assert_eq!(romeo.take(operation).status(), Status::Offline);
                }
                _ => {
                    romeo.restart();
                    romeo.connect(&mut server);
                }
            }
            romeo.run_later(&mut server);
            assert_eq!(server.list(&romeo.jid), [romeo.id()], "{how}");
            server.bundle(&romeo).verify().unwrap();
            both_ways(&romeo, &juliet, &mut server);
            // And then it goes.
            let outcome =
                finish(&romeo, &mut server, |operation| romeo.manager().delete_account(operation).unwrap());
            assert_eq!((outcome.status(), romeo.storage.size()), (Status::Ok, 0), "{how}");
        }
    }
    // The store fails: the server has forgotten the device, and hears of it again. Where the commit has happened although it
    // is said to have failed, the account is gone.
    for written in [false, true] {
        let (mut server, romeo, juliet) = friends(ns);
        romeo.advance(61_000);
        let operation = next_number();
        romeo.manager().delete_account(operation).unwrap();
        romeo.run_with(|request| {
            let answer = server.answer(&romeo, request);
            if is_deletion(request) {
                // The answer is one commit, the end the other.
                romeo.storage.fail_commit(2, written);
            }
            Some(answer)
        });
        let outcome = romeo.take(operation);
        if written {
            assert_eq!((outcome.status(), romeo.storage.size()), (Status::Ok, 0));
            assert_eq!(romeo.manager().devices(None).unwrap_err().status(), Status::Cancelled);
            continue;
        }
        assert!(outcome.error.is_storage());
        romeo.run_later(&mut server);
        assert_eq!(server.list(&romeo.jid), [romeo.id()]);
        both_ways(&romeo, &juliet, &mut server);
    }
}

fn two_deletions_never_empty_the_store_without_the_server(ns: Namespace) {
    for begin in ["cancelled", "stream", "both"] {
        let (mut server, romeo, juliet) = friends(ns);
        romeo.advance(61_000);
        let (first, second) = (next_number(), next_number());
        let manager = romeo.manager();
        manager.delete_account(first).unwrap();
        match begin {
            "cancelled" => manager.cancel(first).unwrap(),
            "stream" => {
                manager.disconnected().unwrap();
                romeo.begin_connect();
            }
            _ => (),
        }
        // The first one is there until its task is dropped, in the next run.
        assert_eq!(manager.delete_account(second).unwrap_err().status(), Status::Pending, "{begin}");
        romeo.run_with(|request| {
            let refused =
                (is_publish(request) || is_deletion(request)).then_some(Answer::Rejected(Reason::Failed));
            refused.or_else(|| Some(server.answer(&romeo, request)))
        });
        assert!(romeo.storage.size() > 2, "{begin}");
        romeo.run_later(&mut server);
        assert_eq!(server.list(&romeo.jid), [romeo.id()], "{begin}");
        server.bundle(&romeo).verify().unwrap();
        both_ways(&romeo, &juliet, &mut server);
        let outcome = finish(&romeo, &mut server, |operation| manager.delete_account(operation).unwrap());
        assert_eq!((outcome.status(), romeo.storage.size()), (Status::Ok, 0), "{begin}");
    }
}

fn nothing_is_encrypted_for_an_identity_that_this_device_had_before(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let (old_id, thief) = (romeo.id(), server.bundle(&romeo));
    romeo.manager().set_trust(&romeo.jid, &romeo.key(), "trusted").unwrap();
    finish(&romeo, &mut server, |operation| romeo.manager().reset_identity(operation).unwrap());
    romeo.run_later(&mut server);
    for id in [old_id, 4_711] {
        server.bundles.insert((ns, romeo.jid.clone(), id), thief.clone());
        server.lists.get_mut(&at(&romeo)).unwrap().set(ListedDevice::new(id)).unwrap();
        push_own(&romeo, &mut server);
        romeo.refresh(&romeo.jid, &mut server);
        assert!(!is_served(&romeo, &juliet.jid, id, &mut server), "{id}");
        assert_eq!(romeo.device(&romeo.jid, id).unwrap().trust_level_name, "trusted", "the default level");
    }
    romeo.restart();
    romeo.connect(&mut server);
    assert!(!is_served(&romeo, &juliet.jid, old_id, &mut server));
}
