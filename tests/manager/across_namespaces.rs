//! What happens in one namespace and must not do harm in the other: to the bundles of others, to a device that shows
//! another key there, to the marks of downgrades.

use super::leaving::*;
use super::namespaces::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::runtime::next_number;

#[test]
fn a_connected_that_is_cancelled_at_once_still_lets_the_bundle_out() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::new(ROMEO, &mut server);
    romeo.manager().disconnected().unwrap();
    romeo.run(&mut server);
    let operation = romeo.begin_connect();
    romeo.manager().cancel(operation).unwrap();
    let mut juliet = RawDevice::of(Omemo2, JULIET, 5);
    let (_, message) = juliet.greet(&romeo, &server, "x");
    romeo.asked.borrow_mut().clear();
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "x");
    romeo.run(&mut server);
    romeo.run_later(&mut server);
    assert_eq!(romeo.count_asked(|q| matches!(q, Request::PublishBundle { .. })), 1);
}

#[test]
fn taking_up_never_overwrites_a_foreign_bundle_although_the_list_cannot_be_had() {
    for case in 0..3 {
        let mut server = Server::of(Omemo2);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let old = romeo.id();
        let foreign = RawDevice::of(Legacy, ROMEO, old);
        foreign.publish(&mut server);
        let romeo = reopened(&romeo, &[Legacy, Omemo2]);
        let operation = romeo.begin_connect();
        if case == 2 {
            romeo.step();
            romeo.manager().cancel(operation).unwrap();
        }
        let mut failed = false;
        romeo.run_with(|request| {
            let fails = match request {
                Request::FetchDeviceList { namespace: Legacy, .. } => case == 0,
                Request::FetchBundle { namespace: Legacy, .. } => case == 1,
                _ => false,
            };
            if fails && !failed {
                failed = true;
                return Some(Answer::Rejected(Reason::Failed));
            }
            Some(server.answer(&romeo, request))
        });
        romeo.run_later(&mut server);
        assert!(
            server.bundles[&(Legacy, romeo.jid.clone(), old)] == foreign.bundle(),
            "overwritten, case {case}"
        );
    }
}

#[test]
fn r48_a_device_that_is_known_in_one_namespace_only_is_updated_in_each() {
    for first in [Legacy, Omemo2] {
        let second = if first == Legacy { Omemo2 } else { Legacy };
        let mut server = Server::of(first);
        let romeo =
            RustDevice::with(Config { namespaces: vec![first], ..both([first, second], ROMEO) }, &mut server);
        in_both(&mut server, 5);
        push(&romeo, &server, first);
        romeo.run(&mut server);
        assert_eq!(romeo.device(&jid(JULIET), 5).unwrap().active, [first]);
        // What is stored of the device says nothing of the namespace that is served now as well.
        let romeo = reopened(&romeo, &[first, second]);
        romeo.connect(&mut server);
        push(&romeo, &server, second);
        assert_eq!(romeo.device(&jid(JULIET), 5).unwrap().active.len(), 2, "{first:?}");
        unlist_and_push(&romeo, &mut server, first, 5);
        assert_eq!(romeo.device(&jid(JULIET), 5).unwrap().active, [second]);
        assert_eq!(served(&romeo, &mut server, 5, None), (vec![second], Status::Ok));
    }
}

#[test]
fn no_downgrade_is_told_because_we_ourselves_had_left_omemo2() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::with(both([Omemo2, Legacy], ROMEO), &mut server);
    in_both(&mut server, 5);
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Omemo2], Status::Ok));
    let romeo = reopened(&romeo, &[Legacy]);
    romeo.connect(&mut server);
    let romeo = reopened(&romeo, &[Omemo2, Legacy]);
    romeo.connect(&mut server);
    push(&romeo, &server, Legacy);
    push(&romeo, &server, Omemo2);
    romeo.run(&mut server);
    assert_eq!(romeo.count_notices(NoticeKind::Downgraded), 0);
    assert!(!romeo.device(&jid(JULIET), 5).unwrap().downgraded);
}

#[test]
fn a_key_shown_where_the_device_is_no_more_blocks_it_nowhere() {
    for leave in [false, true] {
        let mut server = Server::of(Legacy);
        let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
        in_both(&mut server, 5);
        assert_eq!(romeo.refresh(&jid(JULIET), &mut server).status(), Status::Ok);
        assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], Status::Ok));
        RawDevice::of(Omemo2, JULIET, 5).publish(&mut server);
        assert_eq!(served(&romeo, &mut server, 5, Some(vec![Omemo2, Legacy])).1, Status::IdentityChanged);
        let romeo = if leave {
            let romeo = reopened(&romeo, &[Legacy]);
            romeo.connect(&mut server);
            romeo
        } else {
            unlist_and_push(&romeo, &mut server, Omemo2, 5);
            romeo
        };
        romeo.advance(301_000);
        romeo.refresh(&jid(JULIET), &mut server);
        romeo.advance(301_000);
        assert_eq!(served(&romeo, &mut server, 5, Some(vec![Legacy])).1, Status::Ok, "leave {leave}");
    }
}

#[test]
fn a_device_that_shows_its_key_again_in_the_other_namespace_is_served_again() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
    let [_, known] = in_both(&mut server, 5);
    assert_eq!(romeo.refresh(&jid(JULIET), &mut server).status(), Status::Ok);
    RawDevice::of(Omemo2, JULIET, 5).publish(&mut server);
    assert_eq!(served(&romeo, &mut server, 5, Some(vec![Omemo2])).1, Status::IdentityChanged);
    known.publish(&mut server);
    romeo.advance(301_000);
    assert_eq!(served(&romeo, &mut server, 5, None).1, Status::Ok);
}

/// Two keys with our rid in one message: somebody else's first.
#[test]
fn a_duplicate_with_a_colliding_rid_is_still_a_duplicate() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let mut juliet = RawDevice::of(Legacy, JULIET, 5);
    let other = RawDevice::of(Legacy, "tybalt@capulet.lit", romeo.id());
    let (_, greeting) = juliet.greet(&romeo, &server, "hello");
    romeo.read(&juliet.jid, &greeting);
    romeo.run(&mut server);
    // The same, for both: the other recipient's key is a key exchange on pre keys of its own.
    let mut bundle = other.bundle();
    bundle.pre_keys = vec![bundle.pre_keys[0].clone()];
    bundle.pre_keys[0].id = 999_999;
    let mut theirs = juliet.initiate(&bundle);
    let foreign = juliet.write(&mut theirs, (&other.jid, other.id), "hi");
    let (_, mine) = juliet.greet(&romeo, &server, "hi");
    let keys = vec![foreign.keys[0].clone(), mine.keys[0].clone()];
    let message = Message { keys, ..mine.clone() };
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "hi");
    let again = romeo.read(&juliet.jid, &message);
    assert_eq!((again.error.status(), again.action), (Status::Duplicate, Action::Hide));
}

#[test]
fn an_own_bundle_whose_sign_was_turned_is_our_own_and_put_right() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let before = romeo.id();
    let at = (Legacy, romeo.jid.clone(), before);
    server.bundles.get_mut(&at).unwrap().identity_key[31] ^= 0x80;
    assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
    assert_eq!(romeo.id(), before);
    assert_eq!(server.bundles[&at].identity_key, romeo.key());
    assert_eq!(romeo.count_notices(NoticeKind::IdentityChanged), 0);
}

#[test]
fn a_foreign_bundle_under_our_id_stays_even_if_no_list_names_it() {
    let (mut server, romeo, foreign) = with_foreign_id();
    let old = romeo.id();
    server.bundles.insert((Legacy, romeo.jid.clone(), old), foreign.bundle());
    let romeo = reopened(&romeo, &[Legacy, Omemo2]);
    assert_eq!(romeo.connect(&mut server).status(), Status::Ok);
    assert!(server.bundles[&(Legacy, romeo.jid.clone(), old)] == foreign.bundle());
    assert!(romeo.id() != old && listed(&server, Legacy, &romeo) && has_bundle(&server, Legacy, &romeo));
}

#[test]
fn a_foreign_bundle_stays_whichever_commit_fails() {
    let (mut server, romeo, foreign) = with_foreign_id();
    let old = romeo.id();
    foreign.publish(&mut server);
    for at in 1..=6 {
        let mut server2 = Server::of(Omemo2);
        server2.lists = server.lists.clone();
        server2.bundles = server.bundles.clone();
        romeo.manager.replace(None);
        let mut config = romeo.config.clone();
        config.namespaces = vec![Legacy, Omemo2];
        let again = RustDevice::closed(config, romeo.storage.copy());
        again.open().unwrap();
        again.storage.fail(at, Fault::Nothing);
        again.begin_connect();
        again.run(&mut server2);
        again.run_later(&mut server2);
        assert!(server2.bundles[&(Legacy, romeo.jid.clone(), old)] == foreign.bundle(), "commit {at}");
    }
}

#[test]
fn a_shown_key_is_accepted_by_either_sign() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::new(ROMEO, &mut server);
    RawDevice::of(Legacy, JULIET, 5).publish(&mut server);
    romeo.refresh(&jid(JULIET), &mut server);
    let other = RawDevice::of(Legacy, JULIET, 5);
    other.publish(&mut server);
    romeo.encrypt(&[&jid(JULIET)], "x", EncryptPolicy::Wait, &mut server);
    let mut turned = other.key();
    turned[31] ^= 0x80;
    romeo.manager().accept_identity(&jid(JULIET), id(5), &turned).unwrap();
    assert_eq!(romeo.device(&jid(JULIET), 5).unwrap().identity_key, Some(other.key()), "as it was shown");
    romeo.say(&jid(JULIET), "x", &mut server);
}

#[test]
fn a_key_that_a_message_shows_can_be_looked_at_and_accepted() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
    in_both(&mut server, 5);
    assert_eq!(romeo.refresh(&jid(JULIET), &mut server).status(), Status::Ok);
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], Status::Ok));
    // A new program under the same id.
    let mut other = RawDevice::of(Omemo2, JULIET, 5);
    other.publish(&mut server);
    other.in_namespace(Legacy).publish(&mut server);
    let bundle = server.bundles[&(Omemo2, romeo.jid.clone(), romeo.id())].clone();
    let mut session = other.initiate(&bundle);
    let message = other.write(&mut session, (&romeo.jid, romeo.id()), "it is me");
    romeo.refuse(&other.jid, &message, Status::PublicDataInconsistency);
    romeo.run(&mut server);
    romeo.refresh(&jid(JULIET), &mut server);
    assert_eq!(romeo.device(&jid(JULIET), 5).unwrap().conflicting_key, Some(other.key()));
    romeo.manager().accept_identity(&jid(JULIET), id(5), &other.key()).unwrap();
    assert_eq!(text(&romeo.read(&other.jid, &message)), "it is me");
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], Status::Ok));
}

#[test]
fn an_own_bundle_whose_signature_was_broken_is_put_right() {
    for namespace in Namespace::ALL {
        let mut server = Server::of(namespace);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let before = server.bundle(&romeo);
        server.bundles.get_mut(&(namespace, romeo.jid.clone(), romeo.id())).unwrap().signature[3] ^= 1;
        assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
        assert!(server.bundle(&romeo) == before);
        // And if nothing is wrong nothing is published.
        romeo.asked.borrow_mut().clear();
        assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
        assert_eq!(romeo.count_asked(is_publish), 0);
    }
}

#[test]
fn a_message_that_is_not_for_us_is_that_whatever_can_be_read_of_the_other_namespace() {
    let mut server = Server::of(Legacy);
    let (romeo, juliet) = romeo_in_both(&mut server);
    RawDevice::of(Omemo2, "tybalt@capulet.lit", 5).publish(&mut server);
    let operation = next_number();
    juliet.manager().encrypt(operation, content(&["tybalt@capulet.lit"], None)).unwrap();
    juliet.run(&mut server);
    let outcome = juliet.take(operation);
    romeo.storage.damage();
    for record in
        romeo.storage.records.lock().unwrap().iter_mut().filter(|(key, _)| key.starts_with("v1/session/"))
    {
        *record.1 = vec![0xff, 1];
    }
    romeo.restart();
    let refused = romeo.refuse(&juliet.jid, &outcome.messages[0], Status::NotForUs);
    assert_eq!(refused.action, Action::Warn);
}
