//! One transaction a call: what failed, or panicked, leaves nothing behind; one record that cannot be read costs its own
//! device only.

use super::help::*;
use super::world::*;
use crate::support::world::storage::Records;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::namespace::Namespace;
use std::panic::{AssertUnwindSafe, catch_unwind};

in_both_namespaces! {
    a_panic_leaves_nothing_staged,
    a_decrypt_that_panicked_leaves_nothing_staged,
    an_operation_that_panicked_is_over,
    the_background_goes_on_after_a_panic,
    one_unreadable_session_does_not_stop_a_room,
    one_unreadable_list_of_devices_does_not_stop_a_room,
    an_unreadable_record_stays_as_it_is,
    an_unreadable_archived_session_keeps_the_others_readable,
    an_unreadable_record_keeps_no_other_member_of_a_room_from_being_read,
    the_order_of_encryptions_holds_although_one_fails,
    an_encryption_that_fails_early_ends_in_its_order,
    rows_of_a_failed_operation_say_nothing_of_served,
    a_level_name_is_bounded,
    a_commit_that_failed_is_seen_by_nobody,
}

fn with_paris(ns: Namespace) -> (Server, RustDevice, RustDevice, RustDevice) {
    let (mut server, romeo, juliet) = friends(ns);
    let paris = RustDevice::new(PARIS, &mut server);
    romeo.say(&paris.jid, "hello", &mut server);
    (server, romeo, juliet, paris)
}

fn plan_panic(client: &RustDevice, jid: &str) {
    *client.services.panics_at.lock().unwrap() = Some(jid.to_owned());
}

/// Lets the client advance until a planned panic unwinds out of it.
fn run_into_panic(client: &RustDevice) {
    let manager = client.manager();
    let run = || while manager.next_event().is_some() {};
    // Whether the panic passes the call or is caught inside is the library's affair.
    let _ = catch_unwind(AssertUnwindSafe(run));
    assert!(client.services.panics_at.lock().unwrap().is_none(), "the panic did not happen");
}

fn changed_kinds(client: &RustDevice, before: &std::collections::BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let after = client.storage.all();
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    changed.map(|(key, _)| key.split('/').nth(1).unwrap().to_owned()).collect()
}

/// The next call that commits brings no step of a session that a failed call left.
fn assert_no_session_is_staged(ns: Namespace, romeo: &RustDevice, before: &Records) {
    let tybalt = RawDevice::of(ns, TYBALT, 1);
    romeo.manager().set_trust(&tybalt.jid, &tybalt.key(), "trusted").unwrap();
    let changed = changed_kinds(romeo, before);
    assert!(
        !changed.iter().any(|kind| kind == "session"),
        "a step of a failed call was committed: {changed:?}"
    );
}

fn a_panic_leaves_nothing_staged(ns: Namespace) {
    let (mut server, romeo, juliet, paris) = with_paris(ns);
    romeo.restart();
    romeo.connect(&mut server);
    let before = romeo.storage.all();
    // Two devices; the evaluation of the second one's trust panics.
    romeo.begin_encrypt(&[&juliet.jid, &paris.jid], "text", EncryptPolicy::Now);
    plan_panic(&romeo, "paris");
    run_into_panic(&romeo);
    assert_no_session_is_staged(ns, &romeo, &before);
}

fn a_decrypt_that_panicked_leaves_nothing_staged(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let message = juliet.say(&romeo.jid, "text", &mut server);
    let before = romeo.storage.all();
    plan_panic(&romeo, JULIET);
    let decrypted =
        catch_unwind(AssertUnwindSafe(|| romeo.manager().decrypt(Some(&juliet.jid), None, &message)));
    assert!(!matches!(decrypted, Ok(Ok(read)) if read.plaintext.is_some()));
    assert_no_session_is_staged(ns, &romeo, &before);
    assert_eq!(text(&romeo.read(&juliet.jid, &message)), "text");
}

fn an_operation_that_panicked_is_over(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let operation = romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Now);
    plan_panic(&romeo, JULIET);
    run_into_panic(&romeo);
    romeo.run(&mut server);
    assert!(romeo.is_done(operation), "it never ends");
    assert_eq!(romeo.take(operation).status(), Status::Internal);
    // What waited behind it goes on.
    assert!(is_served(&romeo, &juliet.jid, juliet.id(), &mut server));
}

fn the_background_goes_on_after_a_panic(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let tybalt = RustDevice::new(TYBALT, &mut server);
    // Answers to both first messages are background work; the first one's panics.
    let first = juliet.say(&romeo.jid, "first", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &first)), "first");
    plan_panic(&romeo, JULIET);
    let manager = romeo.manager();
    let _ = catch_unwind(AssertUnwindSafe(|| while manager.next_event().is_some() {}));
    romeo.services.panics_at.lock().unwrap().take();
    let second = tybalt.say(&romeo.jid, "second", &mut server);
    assert_eq!(text(&romeo.read(&tybalt.jid, &second)), "second");
    romeo.run_later(&mut server);
    let sent = romeo.sent.borrow();
    assert!(sent.iter().any(|(to, _)| *to == tybalt.jid), "no answer is ever sent again");
}

fn one_unreadable_session_does_not_stop_a_room(ns: Namespace) {
    let (mut server, romeo, juliet, paris) = with_paris(ns);
    assert_eq!(romeo.restart_after(|storage| storage.truncate("session", PARIS)), 1);
    romeo.connect(&mut server);
    let outcome = romeo.encrypt(&[&juliet.jid, &paris.jid], "text", EncryptPolicy::Wait, &mut server);
    assert_eq!(row(&outcome, &paris.jid, paris.id()), Some(Status::StorageCorrupt), "{:?}", outcome.rows);
    assert!(serves(&outcome, juliet.id()));
    // Paris is served on no device, and that is said; the message for everybody else is there.
    assert!(matches!(outcome.status(), Status::Ok | Status::NoEligibleDevices), "{:?}", outcome.status());
}

fn one_unreadable_list_of_devices_does_not_stop_a_room(ns: Namespace) {
    let (mut server, romeo, juliet, paris) = with_paris(ns);
    // Whatever else is stored about one JID.
    for kind in ["archive", "device", "devices", "jid"] {
        romeo.restart_after(|storage| storage.truncate(kind, PARIS));
    }
    romeo.connect(&mut server);
    let outcome = romeo.encrypt(&[&juliet.jid, &paris.jid], "text", EncryptPolicy::Wait, &mut server);
    assert!(serves(&outcome, juliet.id()), "{:?} {:?}", outcome.status(), outcome.rows);
    assert!(rows(&outcome, &paris.jid).iter().any(|(_, status)| *status == Status::StorageCorrupt));
}

fn an_unreadable_record_stays_as_it_is(ns: Namespace) {
    let (mut server, romeo, juliet, paris) = with_paris(ns);
    romeo.restart_after(|storage| storage.truncate("session", PARIS));
    let broken = |client: &RustDevice| -> Vec<_> {
        let all = client.storage.all();
        let hash = crate::support::world::storage::hash_of(PARIS);
        all.into_iter().filter(|(key, _)| key.starts_with("v1/session/") && key.contains(&hash)).collect()
    };
    let before = broken(&romeo);
    romeo.connect(&mut server);
    for _ in 0..3 {
        romeo.encrypt(&[&juliet.jid, &paris.jid], "text", EncryptPolicy::Wait, &mut server);
        romeo.run_hours(2, &mut server);
    }
    assert_eq!(broken(&romeo), before, "something was made beside a record that cannot be read");
}

fn the_order_of_encryptions_holds_although_one_fails(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.reconnect(&mut server);
    let operations: Vec<_> =
        (0..4).map(|n| romeo.begin_encrypt(&[&juliet.jid], &n.to_string(), EncryptPolicy::Wait)).collect();
    romeo.storage.fail(2, Fault::Nothing);
    romeo.run(&mut server);
    let ended: Vec<_> =
        romeo.order.borrow().iter().copied().filter(|operation| operations.contains(operation)).collect();
    assert_eq!(ended, operations, "they end in the order in which they began");
    let mut expected = Vec::new();
    let mut read = Vec::new();
    for (n, operation) in operations.iter().enumerate() {
        let outcome = romeo.take(*operation);
        if outcome.status() == Status::Ok {
            expected.push(n.to_string());
            read.push(text(&juliet.read(&romeo.jid, &outcome.messages[0])));
        }
    }
    assert_eq!(read, expected);
    assert!(romeo.storage.has_failed());
}

fn rows_of_a_failed_operation_say_nothing_of_served(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.storage.fail(1, Fault::Nothing);
    let outcome = romeo.encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::Storage);
    assert!(outcome.messages.is_empty());
    assert!(outcome.rows.iter().all(|row| row.error.status() != Status::Ok), "{:?}", outcome.rows);
    // And where a recipient cannot be served at all under the strictest policy.
    let nobody = RawDevice::of(ns, "nobody@verona.lit", 1);
    let outcome = romeo.encrypt(&[&juliet.jid, &nobody.jid], "text", EncryptPolicy::All, &mut server);
    assert_ne!(outcome.status(), Status::Ok);
    assert!(outcome.rows.iter().all(|row| row.error.status() != Status::Ok), "{:?}", outcome.rows);
}

fn a_level_name_is_bounded(ns: Namespace) {
    let (_server, romeo, juliet) = friends(ns);
    // The services know all names that begin so.
    let name = |len: usize| format!("custom{}", "x".repeat(len - 6));
    let set = |name: &str| romeo.manager().set_trust(&juliet.jid, &juliet.key(), name);
    set(&name(256)).unwrap();
    for len in [257, 1 << 20] {
        let refused = set(&name(len)).expect_err("a name of any length is taken").status();
        assert!(matches!(refused, Status::Argument | Status::Limit), "{refused:?}");
    }
    assert_eq!(romeo.device(&juliet.jid, juliet.id()).unwrap().trust_level_name, name(256));
    romeo.restart();
    assert_eq!(romeo.device(&juliet.jid, juliet.id()).unwrap().trust_level_name, name(256));
}

fn a_commit_that_failed_is_seen_by_nobody(ns: Namespace) {
    let (mut server, romeo, _juliet) = friends(ns);
    let tybalt = jid(TYBALT);
    romeo.storage.fail(1, Fault::Nothing);
    assert!(
        romeo.manager().update_device_list(&tybalt, &list(ns, &[7])).is_err() || {
            romeo.step();
            true
        }
    );
    assert!(romeo.storage.has_failed());
    let stored = romeo.storage.all();
    let shown = romeo.is_active(&tybalt, 7);
    romeo.restart();
    assert_eq!(romeo.is_active(&tybalt, 7), shown, "memory and store differ");
    assert!(romeo.storage.all() == stored);
    // A list that was not stored is no fresh one.
    romeo.connect(&mut server);
    RawDevice::of(ns, TYBALT, 7).publish(&mut server);
    assert!(is_served(&romeo, &tybalt, 7, &mut server));
}

fn an_unreadable_record_keeps_no_other_member_of_a_room_from_being_read(ns: Namespace) {
    for kind in ["session", "jid", "archive"] {
        let (mut server, romeo, juliet) = friends(ns);
        // Another member of the room announces a device with her id; what is stored of it is cut.
        let mut paris = RawDevice::of(ns, PARIS, juliet.id());
        paris.publish(&mut server);
        romeo.refresh(&paris.jid, &mut server);
        for content in ["hello", "anew"] {
            let (_, message) = paris.greet(&romeo, &server, content);
            assert_eq!(text(&romeo.read(&paris.jid, &message)), content);
            romeo.run(&mut server);
        }
        let message = juliet.say(&romeo.jid, "text", &mut server);
        assert!(romeo.restart_after(|storage| storage.truncate(kind, PARIS)) > 0, "{kind}");
        let read = romeo.manager().decrypt(None, Some(&jid("room@rooms.lit")), &message).unwrap();
        assert_eq!((text(&read), read.from.as_ref()), ("text".to_owned(), Some(&juliet.jid)), "{kind}");
    }
}

fn an_unreadable_archived_session_keeps_the_others_readable(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    lose_sessions(&juliet, &mut server);
    juliet.refresh(&romeo.jid, &mut server);
    let hello = juliet.say(&romeo.jid, "anew", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &hello)), "anew");
    server.settle(&[&romeo, &juliet]);
    // What is archived, not the list of it.
    let cut = romeo.restart_after(|storage| {
        storage.damage();
        let mut records = storage.records.lock().unwrap();
        let archived = records
            .iter_mut()
            .filter(|(key, _)| key.starts_with("v1/archive/") && key.matches('/').count() == 5);
        archived.map(|(_, value)| value.truncate(value.len() / 2)).count()
    });
    assert!(cut > 0);
    romeo.connect(&mut server);
    for _ in 0..3 {
        both_ways(&romeo, &juliet, &mut server);
    }
}

fn an_encryption_that_fails_early_ends_in_its_order(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::with(config(ns, ROMEO, "undecided"), &mut server);
    let juliet = RawDevice::of(ns, JULIET, 1);
    juliet.publish(&mut server);
    romeo.refresh(&juliet.jid, &mut server);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    // The first one waits for a bundle; the second one asks about a device that came meanwhile, and nobody decides.
    let first = romeo.begin_encrypt(&[&juliet.jid], "first", EncryptPolicy::Wait);
    let open = romeo.run_holding(&mut server, is_bundle);
    assert_eq!(open.len(), 1);
    RawDevice::of(ns, JULIET, 2).publish(&mut server);
    romeo.push(&juliet.jid, &server);
    let second = romeo.begin_encrypt(&[&juliet.jid], "second", EncryptPolicy::Wait);
    romeo.run_with(|request| match request {
        Request::DecideTrust { .. } => Some(Answer::Rejected(Reason::Declined)),
        _ => Some(server.answer(&romeo, request)),
    });
    assert!(!romeo.is_done(second), "it has overtaken the first one");
    romeo.manager().answer(open[0].0, server.answer(&romeo, &open[0].1)).unwrap();
    romeo.run_with(|request| match request {
        Request::DecideTrust { .. } => Some(Answer::Done),
        _ => Some(server.answer(&romeo, request)),
    });
    assert_eq!(romeo.order.borrow()[romeo.order.borrow().len() - 2..], [first, second]);
    assert_eq!(romeo.take(first).status(), Status::Ok);
    assert_eq!(romeo.take(second).status(), Status::TrustDecisionFailed);
}
