//! What these tests share beside the world of all tests (`support::world`): two friends and short requests.

pub use crate::support::world::rng::Seeded;
pub use crate::support::world::rust::{config, draft};
pub use crate::support::world::server::{Server, id, jid};
pub use crate::support::world::{Fault, FaultyStorage, RawDevice, RustDevice};
pub use crate::support::{JULIET, ROMEO, TYBALT};
use omemo::error::Status;
use omemo::manager::api::decrypted::Decrypted;
use omemo::manager::api::report::Outcome;
use omemo::manager::api::request::Request;
use omemo::protocol::address::BareJid;
use omemo::protocol::namespace::Namespace;

pub fn text(decrypted: &Decrypted) -> String {
    assert_eq!(decrypted.error.status(), Status::Ok);
    String::from_utf8(decrypted.plaintext.as_ref().expect("no content").to_vec()).unwrap()
}

pub fn row(outcome: &Outcome, jid: &BareJid, device: u32) -> Option<Status> {
    let rows = outcome.rows.iter().filter(|row| row.jid.as_ref() == Some(jid) && row.device == device);
    rows.map(|row| row.error.status()).next()
}

/// What a key exchange tells of an identity key in Ed25519 form: legacy does not tell its sign.
pub fn as_told(namespace: Namespace, mut key: [u8; 32]) -> [u8; 32] {
    if namespace == Namespace::Legacy {
        key[31] &= 0x7f;
    }
    key
}

pub fn is_send(request: &Request) -> bool {
    matches!(request, Request::SendMessage { .. })
}

pub fn is_bundle(request: &Request) -> bool {
    matches!(request, Request::FetchBundle { .. })
}

pub fn is_publish(request: &Request) -> bool {
    matches!(request, Request::PublishBundle { .. } | Request::PublishDeviceList { .. })
}

pub const MALLORY: u32 = 4_711;

/// Two clients who have never written to each other.
pub fn two(namespace: Namespace) -> (Server, RustDevice, RustDevice) {
    let mut server = Server::of(namespace);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    (server, romeo, juliet)
}

/// A device of ours and a raw device, whose list and bundle are published.
pub fn with_raw(
    namespace: Namespace,
    ours: &str,
    (name, id): (&str, u32),
) -> (Server, RustDevice, RawDevice) {
    let mut server = Server::of(namespace);
    let ours = RustDevice::new(ours, &mut server);
    let raw = RawDevice::of(namespace, name, id);
    raw.publish(&mut server);
    (server, ours, raw)
}

/// The same; our device has fetched the list and the bundle.
pub fn with_known_raw(namespace: Namespace, ours: &str, raw: (&str, u32)) -> (Server, RustDevice, RawDevice) {
    let (mut server, ours, raw) = with_raw(namespace, ours, raw);
    ours.refresh(&raw.jid, &mut server);
    (server, ours, raw)
}

/// Two clients whose session both have used.
pub fn friends(namespace: Namespace) -> (Server, RustDevice, RustDevice) {
    let (mut server, romeo, juliet) = two(namespace);
    let hello = romeo.say(&juliet.jid, "hello", &mut server);
    assert_eq!(text(&juliet.read(&romeo.jid, &hello)), "hello");
    server.settle(&[&romeo, &juliet]);
    let welcome = juliet.say(&romeo.jid, "welcome", &mut server);
    assert_eq!(text(&romeo.read(&juliet.jid, &welcome)), "welcome");
    server.settle(&[&romeo, &juliet]);
    (server, romeo, juliet)
}

pub fn both_ways(romeo: &RustDevice, juliet: &RustDevice, server: &mut Server) {
    for (from, to) in [(romeo, juliet), (juliet, romeo), (romeo, juliet)] {
        let message = from.say(&to.jid, "still here", server);
        assert_eq!(text(&to.read(&from.jid, &message)), "still here");
        server.settle(&[romeo, juliet]);
    }
}
