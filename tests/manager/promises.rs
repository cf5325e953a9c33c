//! What is promised about records: fields that a newer version has added survive a rewrite, and a store that this format has
//! written opens and works, with all that was in it.

use super::help::*;
use super::world::*;
use crate::support::world::storage::Records;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::config::Delivery;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace::{self, Legacy};
use omemo::stanza::message;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

in_both_namespaces! {
    fields_that_a_newer_version_has_added_survive,
    fields_of_a_record_that_was_deleted_are_not_given_to_its_successor,
    a_store_that_this_format_has_written_opens_and_works,
}

/// A field that no version knows: number 1,000, ten bytes.
const UNKNOWN: &[u8] = b"\xc2\x3e\x0afrom later";

fn acknowledged(ns: Namespace) -> Config {
    Config { delivery: Delivery::Acknowledged, ..config(ns, ROMEO, "trusted") }
}

/// Romeo, who has an archived session, skipped keys and kept content with Juliet; what of hers he has not read yet, on the
/// archived session, in the place of a skipped key, and next.
fn with_everything(ns: Namespace) -> (Server, RustDevice, RustDevice, [Message; 3]) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::with(acknowledged(ns), &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    both_ways(&romeo, &juliet, &mut server);
    let old = juliet.say(&romeo.jid, "on the old session", &mut server);
    replace_session(&juliet, &romeo, &mut server);
    both_ways(&juliet, &romeo, &mut server);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "custom friend").unwrap();
    let skipped = juliet.say(&romeo.jid, "skipped", &mut server);
    juliet.say(&romeo.jid, "never comes", &mut server);
    let kept = juliet.say(&romeo.jid, "kept", &mut server);
    romeo.read(&juliet.jid, &kept);
    let next = juliet.say(&romeo.jid, "next", &mut server);
    (server, romeo, juliet, [old, skipped, next])
}

/// What a record is, by its key: its path without what differs.
fn kind(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["v1", "kept", "index", _] => "kept/index".to_owned(),
        ["v1", "archive", _, _, _, _] => "archive/slot".to_owned(),
        ["v1", kind] => (*kind).to_owned(),
        ["v1", "todo" | "kept", _] => format!("{}/number", parts[1]),
        _ => parts[1].to_owned(),
    }
}

fn fields_that_a_newer_version_has_added_survive(ns: Namespace) {
    let (mut server, romeo, juliet, [old, skipped, next]) = with_everything(ns);
    // Chains that are over lie in pages by chance: in most of them, and in most of them again below.
    let mut nurse = RawDevice::of(ns, "nurse@capulet.lit", 5);
    nurse.publish(&mut server);
    let friar = RustDevice::new("friar@verona.lit", &mut server);
    (0..20).for_each(|_| both_ways(&romeo, &friar, &mut server));
    // Offline, so that answers wait.
    romeo.manager().disconnected().unwrap();
    let (_, hello) = nurse.greet(&romeo, &server, "hello");
    romeo.read(&nurse.jid, &hello);
    let before: Records = romeo.restart_after(|storage| {
        let mut records = storage.all();
        for (key, value) in &mut records {
            // The waiting messages themselves are no records.
            if kind(key) != "todo/number" {
                value.extend_from_slice(UNKNOWN);
            }
        }
        storage.put_back(records.clone());
        records
    });
    assert_eq!(text(&romeo.read(&juliet.jid, &next)), "next");
    assert_eq!(text(&romeo.read(&juliet.jid, &skipped)), "skipped");
    let with_skipped = romeo.storage.all();
    assert_eq!(text(&romeo.read(&juliet.jid, &old)), "on the old session");
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted").unwrap();
    romeo.connect(&mut server);
    server.settle(&[&romeo, &juliet]);
    // A chain ends, a session is archived, a pre key is used up, keys are rotated, and the client restarts in between.
    (0..20).for_each(|_| both_ways(&romeo, &friar, &mut server));
    both_ways(&romeo, &juliet, &mut server);
    romeo.restart();
    romeo.connect(&mut server);
    replace_session(&juliet, &romeo, &mut server);
    both_ways(&juliet, &romeo, &mut server);
    let (after, mut rewritten) = (romeo.storage.all(), BTreeMap::<String, usize>::new());
    let both = before.iter().flat_map(|(key, value)| [(key, value, &with_skipped), (key, value, &after)]);
    for (key, value, records) in both {
        let Some(now) = records.get(key).filter(|_| kind(key) != "todo/number") else { continue };
        let times = now.windows(UNKNOWN.len()).filter(|part| *part == UNKNOWN).count();
        assert_eq!(times, 1, "{key} holds the field {times} times");
        *rewritten.entry(kind(key)).or_default() += usize::from(now != value);
    }
    rewritten.retain(|_, times| *times > 0);
    let kinds: BTreeSet<&str> = rewritten.keys().map(String::as_str).collect();
    let expected = [
        "account",
        "anchor",
        "archive",
        "archive/slot",
        "chains",
        "jid",
        "kept",
        "own",
        "session",
        "skipped",
        "todo",
    ];
    let missing: Vec<&&str> = expected.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "never written again: {missing:?}; {rewritten:?}");
    romeo.restart();
    assert_eq!(text(&romeo.read(&juliet.jid, &juliet.say(&romeo.jid, "still", &mut server))), "still");
}

fn fields_of_a_record_that_was_deleted_are_not_given_to_its_successor(ns: Namespace) {
    let (mut server, romeo, juliet, _) = with_everything(ns);
    romeo.restart_after(|storage| {
        let mut records = storage.all();
        let of_sessions = records.iter_mut().filter(|(key, _)| key.starts_with("v1/session/"));
        of_sessions.for_each(|(_, value)| value.extend_from_slice(UNKNOWN));
        storage.put_back(records);
    });
    romeo.connect(&mut server);
    romeo.manager().purge_jid(&juliet.jid, omemo::manager::api::keep::Keep::Nothing).unwrap();
    romeo.say(&juliet.jid, "a new one", &mut server);
    let all = romeo.storage.all();
    assert!(all.keys().any(|key| key.starts_with("v1/session/")));
    assert!(!all.values().any(|value| value.windows(UNKNOWN.len()).any(|part| part == UNKNOWN)));
}

// -- a store of this format, written once

fn path(ns: Namespace) -> PathBuf {
    let name = if ns == Legacy { "format-1-legacy.txt" } else { "format-1-omemo2.txt" };
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/stores").join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Writes a store and what was sent to it: a line for each record, with its key and its bytes in hex; `= NAME VALUE` for
/// what must come out of it.
fn write(ns: Namespace) {
    let (_server, romeo, juliet, messages) = with_everything(ns);
    let mut lines: Vec<String> =
        romeo.storage.all().iter().map(|(key, value)| format!("{key} {}", hex(value))).collect();
    lines.push(format!("= device {}", romeo.id()));
    lines.push(format!("= key {}", hex(&romeo.key())));
    lines.push(format!("= peer {} {}", juliet.id(), hex(&juliet.key())));
    for (name, message) in ["old", "skipped", "next"].iter().zip(&messages) {
        lines.push(format!("= {name} {}", message::write(message)));
    }
    std::fs::write(path(ns), lines.join("\n") + "\n").unwrap();
}

fn a_store_that_this_format_has_written_opens_and_works(ns: Namespace) {
    if std::env::var_os("OMEMO_UPDATE_STORES").is_some() {
        write(ns);
    }
    let file = std::fs::read_to_string(path(ns)).unwrap();
    let (mut records, mut facts) = (Records::new(), BTreeMap::new());
    for line in file.lines() {
        let (first, rest) = line.split_once(' ').unwrap();
        match first {
            "=" => facts.extend(rest.split_once(' ')),
            key => drop(records.insert(key.to_owned(), unhex(rest))),
        }
    }
    let kinds: BTreeSet<String> = records.keys().map(|key| kind(key)).collect();
    for wanted in ["skipped", "archive/slot", "chains", "kept/number", "kept/index", "jid", "own"] {
        assert!(kinds.contains(wanted), "the store has no {wanted}");
    }
    let romeo =
        RustDevice::closed(acknowledged(ns), crate::support::world::storage::FaultyStorage::of(records));
    romeo.open().unwrap();
    assert_eq!(
        (romeo.id().to_string(), hex(&romeo.key())),
        (facts["device"].to_owned(), facts["key"].to_owned())
    );
    let (id, key) = facts["peer"].split_once(' ').unwrap();
    let juliet = romeo.device(&jid(JULIET), id.parse().unwrap()).unwrap();
    assert_eq!(
        hex(&as_told(ns, juliet.identity_key.unwrap())),
        hex(&as_told(ns, unhex(key).try_into().unwrap()))
    );
    assert_eq!(juliet.trust_level_name, "custom friend");
    let kept = romeo.manager().unacknowledged(0).unwrap().unwrap();
    let mut texts = vec![];
    let mut after = 0;
    while let Some(kept) = romeo.manager().unacknowledged(after).unwrap() {
        after = kept.receipt;
        texts.extend(kept.plaintext.as_ref().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()));
    }
    assert_eq!(texts.last().map(String::as_str), Some("kept"));
    for (name, expected) in [("next", "next"), ("skipped", "skipped"), ("old", "on the old session")] {
        let message = message::parse(facts[name].as_bytes()).unwrap();
        assert_eq!(text(&romeo.read(&jid(JULIET), &message)), expected);
        assert!(romeo.read(&jid(JULIET), &message).repeated);
    }
    romeo.manager().acknowledge(kept.receipt).unwrap();
    // It goes on as any other: a client that has never heard of it reads what it writes.
    let mut server = Server::of(ns);
    romeo.connect(&mut server);
    let nurse = RustDevice::new("nurse@capulet.lit", &mut server);
    let message = romeo.say(&nurse.jid, "madam", &mut server);
    assert_eq!(text(&nurse.read(&romeo.jid, &message)), "madam");
    romeo.restart();
    assert_eq!(romeo.manager().acknowledge(kept.receipt).unwrap_err().status(), Status::NotFound);
}
