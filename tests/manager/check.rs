//! What a check finds in stores that somebody has damaged. That it finds nothing in those that nobody has damaged, each
//! device of these tests shows when it ends (`RustDevice::drop`).

use super::copying::rich;
use super::world::*;
use crate::support::world::storage::{Records, hash_of};
use omemo::error::Status;
use omemo::manager::api::report::Row;
use omemo::protocol::namespace::Namespace;
use std::collections::BTreeMap;

in_both_namespaces! {
    a_record_that_is_gone_is_found,
    a_record_that_is_cut_is_found,
    a_flipped_byte_is_found_or_does_no_harm,
    a_record_in_anothers_place_is_found,
    what_nothing_names_is_found,
    findings_name_whose_record_it_is,
}

fn kind(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        [_, "archive", _, _, _, _] => "archived".to_owned(),
        [_, "todo", _] => "message".to_owned(),
        [_, kind, ..] => (*kind).to_owned(),
        _ => key.to_owned(),
    }
}

fn findings_of(records: Records) -> Vec<Row> {
    FaultyStorage::of(records).findings()
}

/// Each key of a store that is changed in some way, and what is found then.
fn damaged(ns: Namespace, change: impl Fn(&mut Records, &str)) -> BTreeMap<String, Vec<Row>> {
    let (_, romeo, _) = rich(ns);
    let all = romeo.storage.all();
    let one = |key: &String| {
        let mut records = all.clone();
        change(&mut records, key);
        (key.clone(), findings_of(records))
    };
    all.keys().map(one).collect()
}

fn unnoticed(found: &BTreeMap<String, Vec<Row>>) -> Vec<String> {
    let mut kinds: Vec<_> =
        found.iter().filter(|(_, rows)| rows.is_empty()).map(|(key, _)| kind(key)).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn a_record_that_is_gone_is_found(ns: Namespace) {
    let found = damaged(ns, |records, key| drop(records.remove(key)));
    // Without a session with a device a new one is begun; without a page of chains an old message warns.
    for kind in unnoticed(&found) {
        assert!(["session", "chains"].contains(&kind.as_str()), "nobody misses {kind}");
    }
    for rows in found.values() {
        assert!(rows.iter().all(|row| row.error.status() == Status::StorageCorrupt));
    }
}

fn a_record_that_is_cut_is_found(ns: Namespace) {
    let cut = |records: &mut Records, key: &str| {
        let value = records.get_mut(key).unwrap();
        value.truncate(value.len() / 2);
    };
    // A waiting message is what goes over the wire, and nobody but its reader can tell.
    assert!(unnoticed(&damaged(ns, cut)).iter().all(|kind| kind == "message"));
    let empty = |records: &mut Records, key: &str| records.get_mut(key).unwrap().clear();
    assert_eq!(unnoticed(&damaged(ns, empty)), [""; 0]);
}

fn a_flipped_byte_is_found_or_does_no_harm(ns: Namespace) {
    let (_, romeo, juliet) = rich(ns);
    let all = romeo.storage.all();
    let mut quiet = 0;
    for (key, value) in &all {
        let step = value.len() / 6 + 1;
        for at in (0..value.len()).step_by(step) {
            let mut records = all.clone();
            records.get_mut(key).unwrap()[at] ^= 0xff;
            if !findings_of(records.clone()).is_empty() {
                continue;
            }
            quiet += 1;
            let storage = FaultyStorage::of(records);
            storage.damage();
            let again = RustDevice::closed(romeo.config.clone(), storage);
            again.open().unwrap_or_else(|error| panic!("{key} {at}: {error}, and the check found nothing"));
            let _ = again.manager().devices(Some(&juliet.jid)).unwrap();
        }
    }
    assert!(quiet > 0, "a store without checksums cannot notice everything");
}

fn a_record_in_anothers_place_is_found(ns: Namespace) {
    let (_, romeo, _) = rich(ns);
    let all = romeo.storage.all();
    for a in all.keys() {
        for b in all.keys().filter(|b| *b > a) {
            if all[a] == all[b] {
                continue;
            }
            let mut records = all.clone();
            records.insert(a.clone(), all[b].clone());
            records.insert(b.clone(), all[a].clone());
            let found = !findings_of(records).is_empty();
            // Nothing in them says whose they are.
            let anonymous = kind(a) == kind(b)
                && ["skipped", "archived", "chains", "message"].contains(&kind(a).as_str());
            assert!(found || anonymous, "{a} and {b} are exchanged, and nobody notices");
        }
    }
}

fn what_nothing_names_is_found(ns: Namespace) {
    let (_, romeo, juliet) = rich(ns);
    let hash = hash_of(juliet.jid.as_str());
    let code = ns.code();
    let stray = [
        (format!("v1/session/{hash}/77/{code}"), (Some(&juliet.jid), 77, Some(ns))),
        (format!("v1/skipped/{hash}/77/{code}"), (Some(&juliet.jid), 77, Some(ns))),
        (format!("v1/archive/{hash}/77/{code}/3"), (Some(&juliet.jid), 77, Some(ns))),
        (format!("v1/chains/{hash}/77/{code}/0"), (Some(&juliet.jid), 77, Some(ns))),
        (format!("v1/jid/{}", "0".repeat(32)), (None, 0, None)),
        ("v1/todo/99999".to_owned(), (None, 0, None)),
        ("v1/unheard/of".to_owned(), (None, 0, None)),
        ("something".to_owned(), (None, 0, None)),
    ];
    for (key, (jid, device, namespace)) in stray {
        let mut records = romeo.storage.all();
        records.insert(key.clone(), vec![1]);
        let found = findings_of(records);
        let [row] = found.as_slice() else { panic!("{key}: {found:?}") };
        assert_eq!((row.jid.as_ref(), row.device, row.namespace), (jid, device, namespace), "{key}");
        assert_eq!(row.error.status(), Status::StorageCorrupt);
    }
}

fn findings_name_whose_record_it_is(ns: Namespace) {
    let (_, romeo, juliet) = rich(ns);
    let device = juliet.id();
    let hash = hash_of(juliet.jid.as_str());
    let code = ns.code();
    let expected = [
        ("v1/account".to_owned(), (None, 0, None)),
        (format!("v1/own/{code}"), (None, 0, Some(ns))),
        (format!("v1/jid/{hash}"), (Some(&juliet.jid), 0, None)),
        (format!("v1/session/{hash}/{device}/{code}"), (Some(&juliet.jid), device, Some(ns))),
    ];
    for (key, whose) in expected {
        let mut records = romeo.storage.all();
        records.insert(key.clone(), vec![0xff, 1]);
        let found = findings_of(records);
        assert!(
            found.iter().any(|row| (row.jid.as_ref(), row.device, row.namespace) == whose),
            "{key}: {found:?}"
        );
        let mut records = romeo.storage.all();
        // Field 1 of each record is its version; what comes last holds.
        records.get_mut(&key).unwrap().extend([0x08, 99]);
        let found = findings_of(records);
        assert!(found.iter().any(|row| row.error.status() == Status::StorageVersion), "{key}: {found:?}");
        assert!(found.iter().all(|row| !row.error.to_string().contains('@')), "a JID in a sentence");
    }
}
