//! The encrypt table: what is known of one device of a recipient or of this account, how the message is sent, and what the
//! user says, against `tests/data/decisions/encrypt.rules`.

use super::rules::{Dimensions, Rules, Words};
use super::situation::{CONTACT, OWN, SENDER, Situation, push};
use super::table::{self, Table, short, word, yes_or_no};
use crate::support::{
    Answer, Client, JULIET, Kind, NS_2, NS_LEGACY, Outcome, ROMEO, TYBALT, Trust, abi, settle,
};
use std::collections::HashMap;

/// Rows that are run by default: one in so many.
const NTH: usize = 4;

const DIMENSIONS: &Dimensions = &[
    ("ns", &["omemo2", "legacy"]),
    // Whose device it is; a message to a third account is also for those of this account.
    ("account", &[CONTACT, OWN]),
    // given-up: an id that was this device's, which is still on the list; absent: there is no list; left: the list is empty by now; no-bundle: listed without a bundle.
    // fetched: its bundle is known, and there is no session.
    (
        "key",
        &[
            "absent",
            "left",
            "no-bundle",
            "unmet",
            "fetched",
            "provisional",
            "confirmed",
            "changed",
            "mismatched",
            "given-up",
        ],
    ),
    ("level", &["trusted", "undecided", "distrusted", "blindly-trusted", "unknown"]),
    ("policy", &["custom", "ask", "tofu", "btbv"]),
    // The encrypt policy, online unless said; outdated: the contact's list cannot be fetched, the stored one is used.
    ("send", &["wait", "all", "now", "offline-wait", "offline-now", "outdated-wait", "outdated-all"]),
    // What the user says to decide_trust.
    ("reply", &["trusts", "leaves-open", "declines"]),
];

/// Why a combination is left out.
fn senseless(row: &Words) -> Option<&'static str> {
    let is = |dimension: &str, values: &[&str]| values.contains(&row[dimension].as_str());
    if is("key", &["given-up"]) {
        let some = is("account", &[OWN]) && is("level", &["trusted"]) && is("policy", &["custom"]);
        let of_table = some && is("send", &["wait", "all", "offline-wait"]) && is("reply", &["trusts"]);
        return (!of_table)
            .then_some("an id that was given up has no key, and a new identity no session for NOW");
    }
    if is("account", &[OWN]) && is("key", &["absent", "left"]) {
        return Some("a device of this account that is not listed is no device");
    }
    if is("account", &[OWN]) && is("send", &["outdated-wait", "outdated-all"]) {
        return Some("the list of this account is fetched when it connects");
    }
    if !is("reply", &["trusts"]) && is("level", &["trusted", "distrusted", "unknown"]) {
        return Some("nobody is asked about a key that is decided, or whose level is not known");
    }
    if !is("reply", &["trusts"]) && is("send", &["now", "offline-wait", "offline-now"]) {
        return Some("nobody is asked before an encryption that overtakes, or that has not begun");
    }
    if is("key", &["absent", "left", "no-bundle"]) && !is("policy", &["custom"]) {
        return Some("where there is no key there is nothing for a policy to judge");
    }
    None
}

fn situation_of(row: &Words) -> Situation {
    let ns = if row["ns"] == "omemo2" { NS_2 } else { NS_LEGACY };
    let (device, key) = match row["key"].as_str() {
        "absent" => ("absent", "unmet"),
        "left" => ("left", "confirmed"),
        "no-bundle" => ("listed", "unmet"),
        "given-up" => ("given-up", "unmet"),
        key => ("listed", key),
    };
    Situation::new(ns, &row["account"], device, key)
}

fn reply(row: &Words) -> Trust {
    match row["reply"].as_str() {
        "trusts" => Trust::Ask(Box::new(|_| Some("trusted"))),
        "leaves-open" => Trust::LeaveOpen,
        _ => Trust::Decline,
    }
}

/// Puts the client where the row begins: its lists fresh or not, online or not.
fn begin(situation: &Situation, row: &Words, subject: &'static str) -> Client {
    situation.reset();
    let client = situation.client(row);
    client.set_trust_policy(reply(row));
    situation.connect(&client);
    if !row["send"].starts_with("outdated") {
        for jid in [subject, TYBALT] {
            push(&client, situation.ns, jid);
        }
        if row["key"] == "absent" {
            client.refresh(subject).ok();
        }
    }
    settle(&[&client]);
    let (outdated, no_bundle) = (row["send"].starts_with("outdated"), row["key"] == "no-bundle");
    client.world.set_fault(move |request| match request.kind {
        Kind::FetchList if outdated && request.jid == subject => Some(Answer::Reject(abi::REJECT_FAILED)),
        Kind::FetchBundle if no_bundle && request.device == SENDER => Some(Answer::Reject(1)),
        _ => None,
    });
    if row["send"].starts_with("offline") {
        client.disconnect();
    }
    client
}

/// Encrypts, and waits for the end if there will be one.
fn encrypt(client: &Client, row: &Words, to: &str) -> Option<Outcome> {
    let policy = match row["send"].as_str() {
        "all" | "outdated-all" => abi::ENCRYPT_ALL,
        "now" | "offline-now" => abi::ENCRYPT_NOW,
        _ => abi::ENCRYPT_WAIT,
    };
    let operation = client.start_encrypt(&[to], "a text", policy).unwrap();
    if row["send"] == "offline-wait" {
        settle(&[client]);
        return client.outcome(operation);
    }
    Some(client.finish(operation))
}

fn observe(situation: &Situation, row: &Words) -> Words {
    let (subject, to) = if row["account"] == OWN { (ROMEO, TYBALT) } else { (JULIET, JULIET) };
    let client = begin(situation, row, subject);
    let outcome = encrypt(&client, row, to);
    client.world.clear_fault();
    let status = outcome.as_ref().map_or_else(|| "PENDING".to_owned(), |outcome| short(outcome.status));
    let device = if row["key"] == "given-up" { situation.own_id } else { SENDER };
    let of_device = outcome.as_ref().and_then(|outcome| outcome.row(subject, device));
    let key = format!("rid='{device}'");
    let served = outcome.iter().flat_map(|outcome| &outcome.messages).any(|xml| xml.contains(&key));
    Words::from([
        word("prompt", yes_or_no(client.asked() > 0)),
        // A row that says OK is one of a device that is served.
        word("row", &of_device.filter(|status| *status != abi::OK).map_or("none".to_owned(), short)),
        word("operation", &status),
        word("served", yes_or_no(served)),
    ])
}

#[test]
fn encrypting_follows_the_rules() {
    let text = include_str!("../data/decisions/encrypt.rules");
    let rules = Rules::parse(text, DIMENSIONS).unwrap();
    let (rows, omitted) = table::rows(DIMENSIONS, senseless);
    let mut situations: HashMap<[String; 3], Situation> = HashMap::new();
    let table = Table { name: "encrypt", rules, rows, omitted };
    table.run(table::every(NTH), |row| {
        let about = ["ns", "account", "key"].map(|name| row[name].clone());
        observe(situations.entry(about).or_insert_with(|| situation_of(row)), row)
    });
}
