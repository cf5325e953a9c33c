//! A client lists the JIDs that are stored, and has one forgotten, with its trust kept or not.

use super::help::*;
use super::world::*;
use crate::support::world::storage::hash_of;
use omemo::error::Status;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::keep::Keep;
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    r16_nothing_of_a_purged_jid_is_left_in_the_store,
    a_purged_jid_is_met_again_like_any_other,
    its_trust_can_be_kept,
    what_cannot_be_read_is_purged_as_well,
    the_account_itself_cannot_be_purged,
    the_jids_are_listed_and_those_first_that_the_client_has_named,
    an_encryption_that_is_going_on_starts_anew,
    a_commit_that_fails_purges_nothing,
}

fn names(device: &RustDevice) -> Vec<String> {
    device.manager().jids().unwrap().iter().map(|jid| jid.as_str().to_owned()).collect()
}

/// Keys of the records that belong to a JID.
fn records_of(device: &RustDevice, name: &str) -> Vec<String> {
    let hash = hash_of(name);
    device.storage.all().into_keys().filter(|key| key.contains(&hash)).collect()
}

/// Two friends whose history has left all kinds of records.
fn old_friends(ns: Namespace) -> (Server, RustDevice, RustDevice) {
    let (mut server, romeo, juliet) = friends(ns);
    replace_session(&juliet, &romeo, &mut server);
    let _late = juliet.say(&romeo.jid, "late", &mut server);
    let message = juliet.say(&romeo.jid, "leaves a skipped key", &mut server);
    romeo.read(&juliet.jid, &message);
    both_ways(&romeo, &juliet, &mut server);
    let message = juliet.say(&romeo.jid, "skips", &mut server);
    drop(message);
    let message = juliet.say(&romeo.jid, "one more", &mut server);
    romeo.read(&juliet.jid, &message);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    (server, romeo, juliet)
}

fn r16_nothing_of_a_purged_jid_is_left_in_the_store(ns: Namespace) {
    let (mut server, romeo, juliet) = old_friends(ns);
    // An answer waits as well.
    romeo.manager().replace_sessions(7_001, Some(juliet.jid.clone()), None).unwrap();
    romeo.run_holding(&mut server, is_send);
    assert!(records_of(&romeo, JULIET).len() >= 4, "{:?}", records_of(&romeo, JULIET));
    let commits = romeo.storage.commits();
    romeo.manager().purge_jid(&juliet.jid, Keep::Nothing).unwrap();
    assert_eq!(romeo.storage.commits(), commits + 1, "one commit");
    assert_eq!(records_of(&romeo, JULIET), [""; 0]);
    let all = romeo.storage.all();
    assert!(!all.keys().any(|key| key.starts_with("v1/todo/")), "an empty message is left");
    assert!(!all.values().any(|value| value.windows(JULIET.len()).any(|part| part == JULIET.as_bytes())));
    assert!(!names(&romeo).contains(&JULIET.to_owned()));
    romeo.restart();
    assert!(romeo.manager().devices(Some(&juliet.jid)).unwrap().is_empty());
    // Twice is once.
    romeo.manager().purge_jid(&juliet.jid, Keep::Nothing).unwrap();
    romeo.manager().purge_jid(&juliet.jid, Keep::Trust).unwrap();
    assert_eq!(records_of(&romeo, JULIET), [""; 0]);
}

fn a_purged_jid_is_met_again_like_any_other(ns: Namespace) {
    let (mut server, romeo, juliet) = old_friends(ns);
    romeo.manager().purge_jid(&juliet.jid, Keep::Nothing).unwrap();
    let message = juliet.say(&romeo.jid, "on a session that is gone", &mut server);
    romeo.refuse(&juliet.jid, &message, Status::NoSession);
    romeo.refresh(&juliet.jid, &mut server);
    let message = juliet.say(&romeo.jid, "on a session that is gone", &mut server);
    romeo.refuse(&juliet.jid, &message, Status::NoSession);
    server.settle(&[&romeo, &juliet]);
    both_ways(&juliet, &romeo, &mut server);
    both_ways(&romeo, &juliet, &mut server);
}

fn its_trust_can_be_kept(ns: Namespace) {
    for (keep, trust) in [(Keep::Trust, CoreTrust::Distrusted), (Keep::Nothing, CoreTrust::Trusted)] {
        let (mut server, romeo, juliet) = old_friends(ns);
        romeo.manager().set_trust(&juliet.jid, &juliet.key(), "distrusted").unwrap();
        romeo.manager().purge_jid(&juliet.jid, keep).unwrap();
        assert!(romeo.manager().devices(Some(&juliet.jid)).unwrap().is_empty());
        assert_eq!(names(&romeo).contains(&JULIET.to_owned()), keep == Keep::Trust);
        romeo.restart();
        romeo.connect(&mut server);
        romeo.refresh(&juliet.jid, &mut server);
        assert_eq!(romeo.device(&juliet.jid, juliet.id()).unwrap().core_trust, trust);
    }
}

fn what_cannot_be_read_is_purged_as_well(ns: Namespace) {
    for kind in ["jid", "session", "archive", "chains", "skipped"] {
        let (mut server, romeo, juliet) = old_friends(ns);
        let cut = romeo.restart_after(|storage| {
            let mut records = storage.all();
            let start = format!("v1/{kind}/{}", hash_of(JULIET));
            let of_kind = records.iter_mut().filter(|(key, _)| key.starts_with(&start));
            let cut = of_kind.map(|(_, value)| value.truncate(value.len() - 3)).count();
            storage.put_back(records);
            cut
        });
        assert!(cut > 0, "there is no {kind}");
        romeo.manager().purge_jid(&juliet.jid, Keep::Trust).unwrap();
        let left: Vec<_> = records_of(&romeo, JULIET);
        let kept = if kind == "jid" { 0 } else { 1 };
        assert_eq!(left.len(), kept, "{kind}: {left:?}");
        romeo.connect(&mut server);
        romeo.refresh(&juliet.jid, &mut server);
        let message = romeo.say(&juliet.jid, "again", &mut server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "again");
    }
}

fn the_account_itself_cannot_be_purged(ns: Namespace) {
    let (_server, romeo, _juliet) = friends(ns);
    let before = romeo.storage.all();
    let refused = romeo.manager().purge_jid(&romeo.jid, Keep::Nothing).unwrap_err();
    assert_eq!(refused.status(), Status::Argument);
    assert!(romeo.storage.all() == before);
}

fn the_jids_are_listed_and_those_first_that_the_client_has_named(ns: Namespace) {
    let (mut server, romeo, _juliet) = friends(ns);
    assert_eq!(names(&romeo), [JULIET, ROMEO]);
    for name in ["abram@montague.lit", "zephyr@sky.lit"] {
        let mut raw = RawDevice::of(ns, name, 5);
        raw.publish(&mut server);
        let (_, message) = raw.greet(&romeo, &server, "hello");
        romeo.read(&raw.jid, &message);
    }
    assert_eq!(names(&romeo), [JULIET, ROMEO, "abram@montague.lit", "zephyr@sky.lit"]);
    romeo.restart();
    assert_eq!(names(&romeo), [JULIET, ROMEO, "abram@montague.lit", "zephyr@sky.lit"]);
}

fn an_encryption_that_is_going_on_starts_anew(ns: Namespace) {
    let (mut server, romeo, juliet) = two(ns);
    let operation =
        romeo.begin_encrypt(&[&juliet.jid], "hello", omemo::manager::api::draft::EncryptPolicy::Wait);
    let held = romeo.run_holding(&mut server, is_bundle);
    assert!(!held.is_empty());
    romeo.manager().purge_jid(&juliet.jid, Keep::Nothing).unwrap();
    for (request_id, request) in held {
        let answer = server.answer(&romeo, &request);
        let _ = romeo.manager().answer(request_id, answer);
    }
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!(outcome.status(), Status::Ok);
    assert_eq!(text(&juliet.read(&romeo.jid, &outcome.messages[0])), "hello");
}

fn a_commit_that_fails_purges_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = old_friends(ns);
    let before = romeo.storage.all();
    romeo.storage.fail_commit(0, false);
    assert_eq!(romeo.manager().purge_jid(&juliet.jid, Keep::Nothing).unwrap_err().status(), Status::Storage);
    assert!(romeo.storage.all() == before);
    romeo.storage.heal();
    both_ways(&romeo, &juliet, &mut server);
}
