//! Both namespaces in one account: who is served where, with which key (R49), and downgrades.

use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::draft::{Draft, EncryptPolicy};
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::request::Request;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::runtime::next_number;
use zeroize::Zeroizing;

pub fn both(order: [Namespace; 2], name: &str) -> Config {
    Config { namespaces: order.to_vec(), ..config(order[0], name, "trusted") }
}

pub fn content(to: &[&str], namespaces: Option<Vec<Namespace>>) -> Draft {
    let plaintext = |namespace: Namespace| (namespace, Zeroizing::new(namespace.uri().as_bytes().to_vec()));
    Draft {
        recipients: to.iter().map(|name| jid(name)).collect(),
        plaintexts: Namespace::ALL.map(plaintext).to_vec(),
        policy: EncryptPolicy::Wait,
        namespaces,
        ..Draft::default()
    }
}

/// Encrypts for Juliet; which namespaces the messages are of, and what became of her device.
pub fn served(
    romeo: &RustDevice,
    server: &mut Server,
    device: u32,
    namespaces: Option<Vec<Namespace>>,
) -> (Vec<Namespace>, Status) {
    let operation = next_number();
    romeo.manager().encrypt(operation, content(&[JULIET], namespaces)).unwrap();
    romeo.run(server);
    let outcome = romeo.take(operation);
    let rows = outcome.rows.iter().filter(|row| row.device == device);
    let rows: Vec<_> = rows.map(|row| row.error.status()).collect();
    assert_eq!(rows.len(), 1, "one row, one namespace: {:?}", outcome.rows);
    for message in &outcome.messages {
        assert!(message.keys.iter().any(|key| key.device == device));
    }
    (outcome.messages.iter().map(|message| message.namespace).collect(), rows[0])
}

/// Juliet's device in both namespaces, with one identity.
pub fn in_both(server: &mut Server, id: u32) -> [RawDevice; 2] {
    let legacy = RawDevice::of(Legacy, JULIET, id);
    let omemo2 = legacy.in_namespace(Omemo2);
    legacy.publish(server);
    omemo2.publish(server);
    [legacy, omemo2]
}

/// Takes a device off Juliet's list.
pub fn unlist(server: &mut Server, namespace: Namespace, id: u32) {
    let list = server.lists.get_mut(&(namespace, jid(JULIET))).unwrap();
    list.devices.retain(|device| device.id != id);
}

/// The same, and the list is pushed to Romeo.
pub fn unlist_and_push(romeo: &RustDevice, server: &mut Server, namespace: Namespace, id: u32) {
    unlist(server, namespace, id);
    push(romeo, server, namespace);
}

pub fn push(romeo: &RustDevice, server: &Server, namespace: Namespace) {
    let list = &server.lists[&(namespace, jid(JULIET))];
    romeo.manager().update_device_list(&jid(JULIET), list).unwrap();
}

#[test]
fn each_device_is_served_in_the_first_namespace_in_which_it_is_announced() {
    for (order, expected) in [([Legacy, Omemo2], Legacy), ([Omemo2, Legacy], Omemo2)] {
        let mut server = Server::of(order[0]);
        let romeo = RustDevice::with(both(order, ROMEO), &mut server);
        in_both(&mut server, 5);
        RawDevice::of(Legacy, JULIET, 6).publish(&mut server);
        RawDevice::of(Omemo2, JULIET, 7).publish(&mut server);
        let operation = next_number();
        romeo.manager().encrypt(operation, content(&[JULIET], None)).unwrap();
        romeo.run(&mut server);
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), Status::Ok, "{:?}", outcome.rows);
        let mut seen: Vec<_> = outcome
            .messages
            .iter()
            .flat_map(|message| message.keys.iter().map(|key| (key.device, message.namespace)))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [(5, expected), (6, Legacy), (7, Omemo2)]);
        assert_eq!(outcome.messages[0].namespace, order[0], "messages come in the order of the namespaces");
        // No bundle was fetched in a namespace that serves nobody there.
        let other = if expected == Legacy { Omemo2 } else { Legacy };
        let needless = |request: &Request| {
            matches!(request, Request::FetchBundle { namespace, device, .. }
                if *namespace == other && device.get() == 5)
        };
        assert_eq!(romeo.count_asked(needless), 0);
    }
}

#[test]
fn the_order_may_be_another_for_a_draft_and_for_a_device() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
    in_both(&mut server, 5);
    let ok = Status::Ok;
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], ok));
    assert_eq!(served(&romeo, &mut server, 5, Some(vec![Omemo2, Legacy])), (vec![Omemo2], ok));
    let manager = romeo.manager();
    manager.prefer_namespace(&jid(JULIET), id(5), Some(Omemo2)).unwrap();
    assert_eq!(romeo.device(&jid(JULIET), 5).unwrap().preferred, Some(Omemo2));
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Omemo2], ok));
    assert_eq!(served(&romeo, &mut server, 5, Some(vec![Legacy, Omemo2])), (vec![Omemo2], ok));
    assert_eq!(
        served(&romeo, &mut server, 5, Some(vec![Legacy])),
        (vec![Legacy], ok),
        "no plaintext, no way"
    );
    romeo.restart();
    romeo.connect(&mut server);
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Omemo2], ok), "the preference is stored");
    unlist_and_push(&romeo, &mut server, Omemo2, 5);
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], ok), "whenever it announces it");
    romeo.manager().prefer_namespace(&jid(JULIET), id(5), None).unwrap();
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], ok));
    let status = |result: omemo::error::Result<()>| result.unwrap_err().status();
    let manager = romeo.manager();
    assert_eq!(status(manager.prefer_namespace(&jid(JULIET), id(6), None)), Status::NotFound);
    let legacy = RustDevice::with(config(Legacy, ROMEO, "trusted"), &mut server);
    legacy.refresh(&jid(JULIET), &mut server);
    let refused = legacy.manager().prefer_namespace(&jid(JULIET), id(5), Some(Omemo2));
    assert_eq!(status(refused), Status::UnknownNamespace);
}

/// Who looks away from a namespace still hears of the devices that are there only.
#[test]
fn a_draft_for_one_namespace_tells_of_devices_that_only_another_reaches() {
    for policy in [EncryptPolicy::Wait, EncryptPolicy::All] {
        let mut server = Server::of(Legacy);
        let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
        in_both(&mut server, 5);
        RawDevice::of(Omemo2, JULIET, 6).publish(&mut server);
        romeo.refresh(&jid(JULIET), &mut server);
        let draft = Draft { policy, ..content(&[JULIET], Some(vec![Legacy])) };
        let operation = next_number();
        romeo.manager().encrypt(operation, draft).unwrap();
        romeo.run(&mut server);
        let outcome = romeo.take(operation);
        let left = outcome.rows.iter().find(|row| row.device == 6).unwrap();
        assert_eq!((left.error.status(), left.namespace), (Status::UnknownNamespace, Some(Omemo2)));
        match policy {
            EncryptPolicy::All => assert_eq!(outcome.status(), Status::UnknownNamespace),
            _ => assert_eq!((outcome.status(), outcome.messages.len()), (Status::Ok, 1)),
        }
    }
    // Nobody but such devices: there are some, and none can be served.
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
    RawDevice::of(Omemo2, JULIET, 6).publish(&mut server);
    romeo.refresh(&jid(JULIET), &mut server);
    let operation = next_number();
    romeo.manager().encrypt(operation, content(&[JULIET], Some(vec![Legacy]))).unwrap();
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::NoEligibleDevices);
    assert_eq!(row(&outcome, &jid(JULIET), 0), Some(Status::NoEligibleDevices));
}

#[test]
fn one_identity_serves_both_namespaces_and_is_judged_once() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
    let [legacy, _] = in_both(&mut server, 5);
    romeo.refresh(&jid(JULIET), &mut server);
    romeo.manager().set_trust(&jid(JULIET), &legacy.key(), "distrusted").unwrap();
    let distrusted = |namespaces| {
        let operation = next_number();
        romeo.manager().encrypt(operation, content(&[JULIET], namespaces)).unwrap();
        romeo.run(&mut Server::of(Legacy));
        row(&romeo.take(operation), &jid(JULIET), 5)
    };
    assert_eq!(distrusted(Some(vec![Legacy])), Some(Status::Distrusted));
    assert_eq!(distrusted(Some(vec![Omemo2])), Some(Status::Distrusted));
    // The other sign of the Edwards form is the same key.
    let mut other_sign = legacy.key();
    other_sign[31] ^= 0x80;
    romeo.manager().set_trust(&jid(JULIET), &other_sign, "trusted").unwrap();
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], Status::Ok));
    assert_eq!(romeo.count_notices(NoticeKind::IdentityChanged), 0);
}

#[test]
fn r49_a_device_with_a_key_for_each_namespace_is_told_and_never_served_with_the_wrong_one() {
    for order in [[Legacy, Omemo2], [Omemo2, Legacy]] {
        let [first, second] = order;
        let mut server = Server::of(first);
        let romeo = RustDevice::with(both(order, ROMEO), &mut server);
        let (known, other) = (RawDevice::of(first, JULIET, 5), RawDevice::of(second, JULIET, 5));
        known.publish(&mut server);
        other.publish(&mut server);
        assert_eq!(served(&romeo, &mut server, 5, None), (vec![first], Status::Ok));
        // Where the other key stands the device gets nothing; where the known one stands it goes on.
        let operation = next_number();
        romeo.manager().encrypt(operation, content(&[JULIET], Some(vec![second]))).unwrap();
        romeo.run(&mut server);
        let outcome = romeo.take(operation);
        assert_eq!(outcome.status(), Status::NoEligibleDevices);
        assert_eq!(row(&outcome, &jid(JULIET), 5), Some(Status::IdentityMismatch));
        let told: Vec<_> = romeo.notices.borrow().iter().filter(|n| n.device == 5).cloned().collect();
        let told: Vec<_> = told.iter().filter(|n| n.kind == NoticeKind::IdentityChanged).collect();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].status, told[0].namespace), (Status::IdentityMismatch, Some(second)));
        assert_eq!(served(&romeo, &mut server, 5, None), (vec![first], Status::Ok));
        let device = romeo.device(&jid(JULIET), 5).unwrap();
        assert_eq!((device.identity_key, device.conflicting_key), (Some(known.key()), Some(other.key())));
        assert_eq!(romeo.count_notices(NoticeKind::IdentityChanged), 1, "told once");
        // Who accepts the other key has the same in the other namespace.
        romeo.manager().accept_identity(&jid(JULIET), id(5), &other.key()).unwrap();
        assert_eq!(served(&romeo, &mut server, 5, Some(vec![second])), (vec![second], Status::Ok));
        let (messages, status) = {
            let operation = next_number();
            romeo.manager().encrypt(operation, content(&[JULIET], Some(vec![first]))).unwrap();
            romeo.run(&mut server);
            let outcome = romeo.take(operation);
            (outcome.messages.len(), row(&outcome, &jid(JULIET), 5))
        };
        assert_eq!((messages, status), (0, Some(Status::IdentityMismatch)));
    }
}

#[test]
fn a_message_with_the_other_key_is_refused() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
    RawDevice::of(Legacy, JULIET, 5).publish(&mut server);
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], Status::Ok));
    let mut other = RawDevice::of(Omemo2, JULIET, 5);
    let bundle = server.bundles[&(Omemo2, romeo.jid.clone(), romeo.id())].clone();
    let mut session = other.initiate(&bundle);
    let message = other.write(&mut session, (&romeo.jid, romeo.id()), "x");
    romeo.refuse(&other.jid, &message, Status::PublicDataInconsistency);
}

#[test]
fn a_key_that_changes_where_it_was_seen_is_a_changed_key_in_both_namespaces() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
    let [known, _] = in_both(&mut server, 5);
    assert_eq!(romeo.refresh(&jid(JULIET), &mut server).status(), Status::Ok);
    let other = RawDevice::of(Legacy, JULIET, 5);
    other.publish(&mut server);
    assert_eq!(served(&romeo, &mut server, 5, None).1, Status::IdentityChanged);
    assert_eq!(served(&romeo, &mut server, 5, Some(vec![Omemo2])).1, Status::IdentityChanged);
    // When it shows the known key again it is served again.
    known.publish(&mut server);
    romeo.advance(301_000);
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], Status::Ok));
}

#[test]
fn who_leaves_omemo2_where_that_is_preferred_is_told_of_once() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::with(both([Omemo2, Legacy], ROMEO), &mut server);
    let devices = in_both(&mut server, 5);
    let downgrades = || romeo.count_notices(NoticeKind::Downgraded);
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Omemo2], Status::Ok));
    assert_eq!(downgrades(), 0);
    unlist_and_push(&romeo, &mut server, Omemo2, 5);
    romeo.run(&mut server);
    let told = |notice: &omemo::manager::api::event::Notice| {
        (notice.namespace, notice.jid.clone(), notice.device, notice.status)
    };
    let notices = romeo.notices.borrow().clone();
    let notice = notices.iter().find(|notice| notice.kind == NoticeKind::Downgraded).map(told);
    assert_eq!(notice, Some((Some(Legacy), Some(jid(JULIET)), 5, Status::Ok)));
    assert_eq!(served(&romeo, &mut server, 5, None), (vec![Legacy], Status::Ok));
    // The mark stays over a restart and while the device comes and goes.
    romeo.restart();
    romeo.connect(&mut server);
    for _ in 0..3 {
        devices[1].publish(&mut server);
        push(&romeo, &server, Omemo2);
        unlist_and_push(&romeo, &mut server, Omemo2, 5);
        romeo.run(&mut server);
    }
    assert_eq!(downgrades(), 1);
    assert!(romeo.device(&jid(JULIET), 5).unwrap().downgraded);
    // Until the client has had its word; then it is news again.
    romeo.manager().prefer_namespace(&jid(JULIET), id(5), None).unwrap();
    assert!(!romeo.device(&jid(JULIET), 5).unwrap().downgraded);
    push(&romeo, &server, Legacy);
    romeo.run(&mut server);
    assert_eq!(downgrades(), 1, "it was no omemo:2 device when the client looked");
    devices[1].publish(&mut server);
    push(&romeo, &server, Omemo2);
    unlist_and_push(&romeo, &mut server, Omemo2, 5);
    romeo.run(&mut server);
    assert_eq!(downgrades(), 2);
}

#[test]
fn no_downgrade_is_told_where_legacy_comes_first_or_the_device_is_simply_gone() {
    for (order, keeps_legacy) in [([Legacy, Omemo2], true), ([Omemo2, Legacy], false)] {
        let mut server = Server::of(order[0]);
        let romeo = RustDevice::with(both(order, ROMEO), &mut server);
        in_both(&mut server, 5);
        assert_eq!(served(&romeo, &mut server, 5, None).1, Status::Ok);
        if !keeps_legacy {
            unlist_and_push(&romeo, &mut server, Legacy, 5);
        }
        unlist_and_push(&romeo, &mut server, Omemo2, 5);
        romeo.run(&mut server);
        assert_eq!(romeo.count_notices(NoticeKind::Downgraded), 0);
        assert!(!romeo.device(&jid(JULIET), 5).unwrap().downgraded);
    }
}

#[test]
fn what_a_device_says_to_others_in_another_namespace_warns_nobody() {
    let mut server = Server::of(Legacy);
    let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
    let juliet = RustDevice::with(both([Legacy, Omemo2], JULIET), &mut server);
    RawDevice::of(Omemo2, JULIET, 5).publish(&mut server);
    let operation = next_number();
    romeo.manager().encrypt(operation, content(&[JULIET], None)).unwrap();
    romeo.run(&mut server);
    let messages = romeo.take(operation).messages;
    let [legacy, omemo2] = &messages[..] else { panic!("{messages:?}") };
    let first = juliet.refuse(&romeo.jid, omemo2, Status::NotForUs);
    assert_eq!(first.action, Action::Warn, "nothing is known of that device yet");
    assert_eq!(text(&juliet.read(&romeo.jid, legacy)), Legacy.uri());
    let again = juliet.refuse(&romeo.jid, omemo2, Status::NotForUs);
    assert_eq!(again.action, Action::Hide, "it is served in legacy");
}

#[test]
fn an_account_of_one_namespace_is_warned_of_nothing_that_its_friends_say_in_the_other() {
    for (spoken, other) in [(Legacy, Omemo2), (Omemo2, Legacy)] {
        let mut server = Server::of(spoken);
        let romeo = RustDevice::with(both([Legacy, Omemo2], ROMEO), &mut server);
        let juliet = RustDevice::with(config(spoken, JULIET, "trusted"), &mut server);
        RawDevice::of(other, JULIET, 5).publish(&mut server);
        let operation = next_number();
        romeo.manager().encrypt(operation, content(&[JULIET], None)).unwrap();
        romeo.run(&mut server);
        let messages = romeo.take(operation).messages;
        let of = |namespace| messages.iter().find(|message| message.namespace == namespace).unwrap();
        let stranger = juliet.refuse(&romeo.jid, of(other), Status::UnknownNamespace);
        assert_eq!(stranger.action, Action::Warn, "nothing is known of that device yet");
        assert_eq!(text(&juliet.read(&romeo.jid, of(spoken))), spoken.uri());
        let friend = juliet.refuse(&romeo.jid, of(other), Status::UnknownNamespace);
        assert_eq!(friend.action, Action::Hide, "it says the same in the namespace that is served");
    }
}
