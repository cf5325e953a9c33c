//! The decrypt table: who a message seems to be from, what is known of its device and key, and what the message is, against
//! `tests/data/decisions/decrypt.rules`.

use super::rules::{Dimensions, Rules, Words};
use super::situation::{CONTACT, OWN, Situation};
use super::table::{self, Table, short, word, yes_or_no};
use crate::support::{Client, Decrypted, JULIET, Kind, NS_2, NS_LEGACY, ROMEO, TYBALT, abi, edit, settle};
use std::collections::HashMap;

const ROOM: &str = "ball@capulet.lit";
/// Rows that are run by default: one in so many.
const NTH: usize = 8;

const DIMENSIONS: &Dimensions = &[
    ("ns", &["omemo2", "legacy"]),
    ("account", &[CONTACT, OWN]),
    // absent: no list is known; left: the list does not name it any more; given-up: it writes to an id that was this one's.
    ("device", &["listed", "absent", "left", "given-up"]),
    // fetched: its bundle is known, and there is no session.
    ("key", &["unmet", "fetched", "provisional", "confirmed", "changed", "mismatched"]),
    ("level", &["trusted", "undecided", "distrusted", "blindly-trusted", "unknown"]),
    ("policy", &["custom", "ask", "tofu", "btbv"]),
    // Chat and room name the device's account; crossed: the other one of this account and the contact; other: a third
    // account; hidden: a room that does not say who it was; itself: the room as the sender; none: neither sender nor room.
    ("envelope", &["chat", "room", "crossed", "other", "hidden", "itself", "none"]),
    ("message", MESSAGES),
];

const MESSAGES: &[&str] = &[
    "normal",
    "delayed",
    "empty",
    "long-chain",
    "exchange",
    "repeated-exchange",
    "duplicate",
    "duplicate-exchange",
    "forged",
    "forged-payload",
    "forged-exchange",
    "stray",
    "missing-pre-key",
    "impostor-exchange",
    "copied-exchange",
    "conflicting-exchange",
    "other-from-inside",
    "no-key",
    "no-key-empty",
    "own-id",
    "own-id-no-key",
];

/// Messages that need a session with the device.
const ON_A_SESSION: &[&str] = &[
    "normal",
    "delayed",
    "empty",
    "long-chain",
    "repeated-exchange",
    "duplicate",
    "duplicate-exchange",
    "forged",
    "forged-payload",
    "other-from-inside",
];
/// What is looked at where the sender has another name.
const UNDER_ANOTHER_NAME: &[&str] = &[
    "normal",
    "exchange",
    "forged-exchange",
    "missing-pre-key",
    "impostor-exchange",
    "no-key",
    "no-key-empty",
];

/// Why a combination is left out.
fn senseless(row: &Words) -> Option<&'static str> {
    let is = |dimension: &str, values: &[&str]| values.contains(&row[dimension].as_str());
    let first = |dimension: &str, value: &str| is(dimension, &[value]);
    if first("device", "given-up") {
        let some = first("account", OWN) && first("key", "unmet") && first("level", "trusted");
        let some = some && first("policy", "custom") && is("message", &["exchange", "stray", "own-id"]);
        let of_table = some && !is("envelope", &["none"]);
        return (!of_table).then_some("no key is looked at in a message for an id that was given up");
    }
    if first("account", OWN) && !first("device", "listed") {
        return Some("a device of this account that is not listed: as that of a contact");
    }
    if first("device", "absent") && !is("key", &["unmet", "provisional"]) {
        return Some("only what is on a list has a bundle that confirms a key");
    }
    if is("key", &["unmet", "fetched"]) && is("message", ON_A_SESSION) {
        return Some("a message of a session where there is none: stray is such a one");
    }
    if first("key", "unmet") && first("message", "impostor-exchange") {
        return Some("where no key is known there is no other one");
    }
    if first("message", "conflicting-exchange") && !is("key", &["changed", "mismatched"]) {
        return Some("a conflicting key without a conflict");
    }
    if first("message", "other-from-inside") && first("ns", "legacy") {
        return Some("legacy content names no sender");
    }
    if is("envelope", &["crossed", "other"]) && !is("message", UNDER_ANOTHER_NAME) {
        return Some("under another name one message on a session is like another");
    }
    if !first("envelope", "chat") && !first("policy", "custom") {
        return Some("levels are evaluated alike in all envelopes: policies are tried in chats");
    }
    if is("envelope", &["itself", "none"]) && !first("level", "trusted") {
        return Some("no key is judged where there is no sender");
    }
    if is("message", &["no-key", "no-key-empty", "own-id", "own-id-no-key"]) && !first("policy", "custom") {
        return Some("no key is judged where a message holds none of this device's sessions");
    }
    None
}

/// What the message of a row is, as a stanza.
fn stanza(situation: &Situation, message: &str) -> String {
    let of = |name: &str| situation.stanzas[name].clone();
    match message {
        "delayed" => format!(
            "<message xmlns='jabber:client'>{}<delay xmlns='urn:xmpp:delay' stamp='2023-11-14T22:00:00Z'/></message>",
            of("normal")
        ),
        "forged" => edit::flip(&of("normal"), "key", 60),
        "forged-payload" => edit::flip(&of("normal"), "payload", 50),
        "forged-exchange" => edit::flip(&of("exchange"), "key", 90),
        "no-key" => situation.for_nobody("stray"),
        "no-key-empty" => edit::without_payload(&situation.for_nobody("stray")),
        "own-id" => edit::with_sid(&of("stray"), situation.own_id),
        "own-id-no-key" => edit::with_sid(&situation.for_nobody("stray"), situation.own_id),
        message => of(message),
    }
}

/// The sender and the room that an envelope names.
fn names(row: &Words) -> (Option<&'static str>, Option<&'static str>) {
    let (right, crossed) = if row["account"] == OWN { (ROMEO, JULIET) } else { (JULIET, ROMEO) };
    match row["envelope"].as_str() {
        "chat" => (Some(right), None),
        "room" => (Some(right), Some(ROOM)),
        "crossed" => (Some(crossed), None),
        "other" => (Some(TYBALT), None),
        "hidden" => (None, Some(ROOM)),
        "itself" => (Some(ROOM), Some(ROOM)),
        _ => (None, None),
    }
}

fn describe(decrypted: &Result<Decrypted, i32>) -> Words {
    let read = decrypted.as_ref().ok();
    let status = read.map_or_else(|| decrypted.as_ref().err().copied().unwrap(), |read| read.status);
    let action = read.map(|read| ["hide", "show", "warn"][usize::try_from(read.action).unwrap()]);
    let trust = read.map_or(0, |read| usize::try_from(read.trust).unwrap());
    let has_content = read.is_some_and(|read| read.body.is_some() || read.plaintext.is_some());
    let has = |flag: u32| yes_or_no(read.is_some_and(|read| read.flags & flag != 0));
    Words::from([
        word("status", &short(status)),
        word("action", action.unwrap_or("no-result")),
        word("content", yes_or_no(has_content)),
        word("trust", ["undecided", "trusted", "distrusted"][trust]),
        word("new-session", has(abi::DECRYPTED_NEW_SESSION)),
        word("off-the-list", has(abi::DECRYPTED_DEVICE_NOT_LISTED)),
    ])
}

/// What was sent by itself: an empty message on a session that stands, or one that begins another one.
fn sent(client: &Client, situation: &Situation) -> &'static str {
    let journal = client.world.journal();
    let sent: Vec<bool> = journal
        .iter()
        .filter(|request| request.kind == Kind::SendMessage)
        .map(|request| request.xml.as_ref().unwrap().contains(edit::names(situation.ns).exchange))
        .collect();
    match sent.as_slice() {
        [] => "nothing",
        [false] => "answer",
        [true] => "repair",
        _ => "several",
    }
}

fn observe(situation: &Situation, row: &Words) -> Words {
    situation.reset();
    let client = situation.client(row);
    situation.connect(&client);
    settle(&[&client]);
    situation.world.clear_journal();
    let before = client.store.all();
    let (from, room) = names(row);
    let decrypted = client.decrypt_in(from, room, &stanza(situation, &row["message"]));
    let changed = client.store.all() != before;
    settle(&[&client]);
    let mut seen = describe(&decrypted);
    seen.extend([
        word("store", if changed { "changed" } else { "unchanged" }),
        word("sent", sent(&client, situation)),
    ]);
    seen
}

#[test]
fn decrypting_follows_the_rules() {
    let text = include_str!("../data/decisions/decrypt.rules");
    let rules = Rules::parse(text, DIMENSIONS).unwrap();
    let (rows, omitted) = table::rows(DIMENSIONS, senseless);
    assert!(rows.len() >= 10_000, "{} rows", rows.len());
    let mut situations: HashMap<[String; 4], Situation> = HashMap::new();
    let table = Table { name: "decrypt", rules, rows, omitted };
    table.run(table::every(NTH), |row| {
        let about = ["ns", "account", "device", "key"].map(|name| row[name].clone());
        let situation = situations.entry(about.clone()).or_insert_with(|| {
            let ns = if about[0] == "omemo2" { NS_2 } else { NS_LEGACY };
            Situation::new(ns, &about[1], &about[2], &about[3])
        });
        observe(situation, row)
    });
}
