//! Records stay within what a store takes, and what stands in a store costs no more than its size.

use super::help::*;
use super::world::*;
use omemo::crypto::identity::IdentityKeyPair;
use omemo::error::Status;
use omemo::protocol::namespace::Namespace;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

in_both_namespaces! {
    judged_keys_of_one_jid_are_bounded,
    records_of_empty_fields_take_little_memory_and_time,
    a_record_that_is_cut_anywhere_never_panics,
}

fn judged_keys_of_one_jid_are_bounded(ns: Namespace) {
    let (_server, romeo, _) = two(ns);
    let tybalt = jid(TYBALT);
    let name = format!("custom{}", "x".repeat(250));
    let mut rng = Seeded::fresh();
    let mut refused = None;
    for n in 0..6_000 {
        let key = IdentityKeyPair::generate(&mut rng).unwrap();
        // The storage takes no value of more than 1 MiB.
        if let Err(error) = romeo.manager().set_trust(&tybalt, key.public().ed(), &name) {
            refused = Some((n, error.status()));
            break;
        }
    }
    let (n, status) = refused.expect("keys are judged without end");
    assert_eq!(status, Status::Limit);
    assert!(n >= 256, "only {n} keys of a JID can be judged");
    romeo.restart();
    romeo.manager().devices(Some(&tybalt)).unwrap();
}

/// The most memory that this process ever held.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

/// One record of each kind of a client that has talked to a friend and skipped some messages.
fn one_of_each_kind(
    ns: Namespace,
) -> (RustDevice, RustDevice, omemo::protocol::message::Message, Vec<String>) {
    let (mut server, romeo, juliet) = friends(ns);
    for _ in 0..3 {
        juliet.say(&romeo.jid, "x", &mut server);
    }
    let fourth = juliet.say(&romeo.jid, "x", &mut server);
    romeo.read(&juliet.jid, &fourth);
    let next = juliet.say(&romeo.jid, "next", &mut server);
    romeo.manager().disconnected().unwrap();
    let kinds: BTreeMap<String, String> =
        romeo.storage.all().into_keys().map(|key| (key.split('/').nth(1).unwrap().to_owned(), key)).collect();
    (romeo, juliet, next, kinds.into_values().collect())
}

/// Opens a copy of a store in which one record has another value, and uses it.
fn use_store(
    romeo: &RustDevice,
    juliet: &RustDevice,
    next: &omemo::protocol::message::Message,
    key: &str,
    value: Vec<u8>,
) {
    let mut records = romeo.storage.all();
    records.insert(key.to_owned(), value);
    let storage = Arc::new(FaultyStorage::default());
    storage.damage();
    storage.put_back(records);
    let again = RustDevice::closed(romeo.config.clone(), storage);
    if again.open().is_err() {
        return;
    }
    let manager = again.manager();
    let _ = manager.devices(None);
    let _ = manager.devices(Some(&juliet.jid));
    let _ = manager.decrypt(Some(&juliet.jid), None, next);
    let _ = manager.connected(omemo::runtime::next_number(), omemo::manager::api::catch_up::CatchUp::None);
    again.step();
}

fn records_of_empty_fields_take_little_memory_and_time(ns: Namespace) {
    alone(|| measure_empty_fields(ns));
}

fn measure_empty_fields(ns: Namespace) {
    let (romeo, juliet, next, keys) = one_of_each_kind(ns);
    let all = romeo.storage.all();
    for key in keys {
        for field in 1..=12_u8 {
            let before = peak();
            let start = Instant::now();
            let mut value = all[&key].clone();
            while value.len() + 2 <= 1 << 20 {
                value.extend([field << 3 | 2, 0]);
            }
            use_store(&romeo, &juliet, &next, &key, value);
            let (grown, took) = (peak() - before, start.elapsed());
            assert!(grown < 50_000_000, "field {field} of {key}: {grown} bytes of memory");
            assert!(took < Duration::from_secs(5), "field {field} of {key}: {took:?}");
        }
    }
}

fn a_record_that_is_cut_anywhere_never_panics(ns: Namespace) {
    let (romeo, juliet, next, keys) = one_of_each_kind(ns);
    let all = romeo.storage.all();
    for key in keys {
        let value = &all[&key];
        let step = value.len() / 12 + 1;
        for len in (0..value.len()).step_by(step) {
            use_store(&romeo, &juliet, &next, &key, value[..len].to_vec());
            let mut flipped = value.clone();
            flipped[len] ^= 0xff;
            use_store(&romeo, &juliet, &next, &key, flipped);
        }
    }
}
