//! Short words for the tests by subject: lists, requests, rows, and messages that somebody changed on the way.

use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::Request;
use omemo::protocol::address::BareJid;
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace::{self, Legacy};
use omemo::protocol::session::Session;

pub const PARIS: &str = "paris@verona.lit";
pub const HOUR: u64 = 3_600_000;
pub const DAY: u64 = 24 * HOUR;

/// A list of these devices without labels.
pub fn list(namespace: Namespace, ids: &[u32]) -> DeviceList {
    DeviceList::of(namespace, ids.iter().copied().map(ListedDevice::new).collect())
}

pub fn push(client: &RustDevice, jid: &BareJid, ids: &[u32]) {
    client.manager().update_device_list(jid, &list(client.config.namespaces[0], ids)).unwrap();
}

pub fn is_list_of(jid: &BareJid) -> impl Fn(&Request) -> bool {
    let wanted = jid.clone();
    move |request| matches!(request, Request::FetchDeviceList { jid, .. } if *jid == wanted)
}

pub fn is_bundle_of(jid: &BareJid) -> impl Fn(&Request) -> bool {
    let wanted = jid.clone();
    move |request| matches!(request, Request::FetchBundle { jid, .. } if *jid == wanted)
}

pub fn is_prompt(request: &Request) -> bool {
    matches!(request, Request::DecideTrust { .. })
}

pub fn is_list_publication(request: &Request) -> bool {
    matches!(request, Request::PublishDeviceList { .. })
}

pub fn is_bundle_publication(request: &Request) -> bool {
    matches!(request, Request::PublishBundle { .. })
}

/// Device and status of the rows of a JID.
pub fn rows(outcome: &Outcome, jid: &BareJid) -> Vec<(u32, Status)> {
    let of_jid = outcome.rows.iter().filter(|row| row.jid.as_ref() == Some(jid));
    of_jid.map(|row| (row.device, row.error.status())).collect()
}

/// Whether a message holds a key for a device with this id.
pub fn has_key(message: &Message, id: u32) -> bool {
    message.keys.iter().any(|key| key.device == id)
}

pub fn serves(outcome: &Outcome, id: u32) -> bool {
    outcome.messages.iter().any(|message| has_key(message, id))
}

/// A client whose unjudged keys are undecided.
pub fn careful(namespace: Namespace, name: &str, server: &mut Server) -> RustDevice {
    RustDevice::with(config(namespace, name, "undecided"), server)
}

/// The bundle of a client as if this pre key alone were left.
pub fn with_one_pre_key(
    server: &Server,
    client: &RustDevice,
    index: usize,
) -> omemo::protocol::bundle::Bundle {
    let mut bundle = server.bundle(client);
    bundle.pre_keys = vec![bundle.pre_keys[index].clone()];
    bundle
}

/// A session that somebody begins on one pre key of a client, and its first message.
pub fn take_pre_key(
    raw: &mut RawDevice,
    client: &RustDevice,
    server: &Server,
    index: usize,
) -> (Session, Message) {
    let mut session = raw.initiate(&with_one_pre_key(server, client, index));
    let message = raw.write(&mut session, (&client.jid, client.id()), "x");
    (session, message)
}

/// The message without its content.
pub fn without_payload(message: &Message) -> Message {
    Message { payload: None, iv: None, ..message.clone() }
}

/// The message as if another device had sent it.
pub fn with_sid(message: &Message, id: u32) -> Message {
    Message { sender_device: id, ..message.clone() }
}

/// The inner message of each key exchange, as if the session had been answered.
pub fn inner(message: &Message) -> Message {
    let mut message = message.clone();
    for key in &mut message.keys {
        // The field of the inner message: 5 in omemo:2, 4 in legacy, where a version byte stands before it.
        let (wanted, start) = if message.namespace == Legacy { (4, 1) } else { (5, 0) };
        key.bytes = key.bytes.take().and_then(|bytes| field(&bytes[start..], wanted));
        key.key_exchange = false;
    }
    message
}

/// Replaces the pre key id of each key exchange.
pub fn with_pre_key_id(message: &Message, id: u32) -> Message {
    let mut message = message.clone();
    for key in &mut message.keys {
        let start = usize::from(message.namespace == Legacy);
        let mut bytes = key.bytes.take().unwrap();
        // Field 1 in both: taken out where it stands, written at the end.
        let mut at = start;
        while at < bytes.len() {
            let (tag, wire, end) = step(&bytes, at);
            if (tag, wire) == (1, 0) {
                bytes.drain(at..end);
            } else {
                at = end;
            }
        }
        bytes.push(1 << 3);
        let mut rest = id;
        while rest > 0x7f {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        key.bytes = Some(bytes);
    }
    message
}

/// Number and wire type of the field that begins at `at`, and where it ends.
fn step(bytes: &[u8], at: usize) -> (u8, u8, usize) {
    let (tag, wire) = (bytes[at] >> 3, bytes[at] & 7);
    let (value, next) = varint(bytes, at + 1);
    (tag, wire, if wire == 2 { next + value } else { next })
}

fn varint(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[at];
        at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return (value, at);
        }
    }
}

fn field(bytes: &[u8], wanted: u8) -> Option<Vec<u8>> {
    let mut at = 0;
    while at < bytes.len() {
        let (tag, wire, end) = step(bytes, at);
        if (tag, wire) == (wanted, 2) {
            let (_, start) = varint(bytes, at + 1);
            return Some(bytes[start..end].to_vec());
        }
        at = end;
    }
    None
}

/// Writes both ways until the session is used by both.
pub fn converse(
    a: &RustDevice,
    b: &RustDevice,
    turns: usize,
    server: &mut Server,
) -> Vec<(BareJid, Message)> {
    let mut all = Vec::new();
    for _ in 0..turns {
        for (from, to) in [(a, b), (b, a)] {
            let message = from.say(&to.jid, "turn", server);
            assert_eq!(text(&to.read(&from.jid, &message)), "turn");
            server.settle(&[a, b]);
            all.push((from.jid.clone(), message));
        }
    }
    all
}

/// Encrypts to one JID; whether a device is served.
pub fn is_served(client: &RustDevice, jid: &BareJid, id: u32, server: &mut Server) -> bool {
    serves(&client.encrypt(&[jid], "text", EncryptPolicy::Wait, server), id)
}

/// Throws all sessions of a client away and connects it again.
pub fn lose_sessions(client: &RustDevice, server: &mut Server) {
    client.restart_after(|storage| storage.remove_kind("session") + storage.remove_kind("archive"));
    client.connect(server);
}

/// A device loses its sessions and begins a new one with the other, which both use.
pub fn replace_session(juliet: &RustDevice, romeo: &RustDevice, server: &mut Server) {
    lose_sessions(juliet, server);
    juliet.refresh(&romeo.jid, server);
    let hello = juliet.say(&romeo.jid, "anew", server);
    assert_eq!(text(&romeo.read(&juliet.jid, &hello)), "anew");
    server.settle(&[romeo, juliet]);
    both_ways(romeo, juliet, server);
}

/// Sets a device up anew, with another key under the same id: a first message shows the key, then the bundle does.
pub fn show_other_key(client: &RustDevice, new: &mut RawDevice, server: &mut Server) -> Message {
    new.publish(server);
    let (_, hello) = new.greet(client, server, "from the new one");
    client.refuse(&new.jid, &hello, Status::PublicDataInconsistency);
    client.run(server);
    hello
}

/// Runs a test in a process of its own: what it measures is its own then.
pub fn alone(body: impl FnOnce()) {
    const VARIABLE: &str = "OMEMO_TEST_ALONE";
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    // With one thread all tests run in the main one: alone already.
    if std::env::var_os(VARIABLE).is_some() || !name.contains("::") {
        return body();
    }
    let test = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new(test);
    child.args([&name, "--exact", "--test-threads=1", "--nocapture"]).env(VARIABLE, "1");
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("1 passed"), "{told}");
}

/// The message with other last bytes in its keys: nobody can authenticate it.
pub fn forged(message: &Message, number: u8) -> Message {
    let mut forged = message.clone();
    forged.keys.iter_mut().for_each(|key| *key.bytes.as_mut().unwrap().last_mut().unwrap() ^= number);
    forged
}

/// Two friends, the first of whom is set up so.
pub fn friends_with(ns: Namespace, change: impl FnOnce(&mut Config)) -> (Server, RustDevice, RustDevice) {
    let mut server = Server::of(ns);
    let mut settings = config(ns, ROMEO, "trusted");
    change(&mut settings);
    let romeo = RustDevice::with(settings, &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    juliet.read(&romeo.jid, &hello);
    server.settle(&[&romeo, &juliet]);
    both_ways(&romeo, &juliet, &mut server);
    (server, romeo, juliet)
}

/// How many messages of a device could not be decrypted.
pub fn failed(device: &RustDevice, sender: &RustDevice) -> u32 {
    device.device(&sender.jid, sender.id()).unwrap().sessions.iter().map(|of| of.failed_messages).sum()
}

/// How often a session was said to be broken.
pub fn broken(device: &RustDevice) -> usize {
    device.count_notices(NoticeKind::SessionBroken)
}

/// Whether a report says that the session with a device was replaced.
pub fn is_ok(outcome: &Outcome, device: &RustDevice) -> bool {
    outcome.status() == Status::Ok && row(outcome, &device.jid, device.id()) == Some(Status::Ok)
}
