//! Where each record lies. A JID never stands in a key, since it may be longer than a key and is nobody's business;
//! it stands in the record and is compared when that is loaded.

use super::super::model::address::SessionAddress;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use sha2::{Digest, Sha256};

/// The account: identity, device id, highest ids.
pub(super) const ACCOUNT: &str = "v1/account";
/// The same id and numbers once more: one without the other is a store that was tampered with.
pub(super) const ANCHOR: &str = "v1/anchor";
/// Where the account went, or that it has not arrived here yet.
pub(super) const MOVED: &str = "v1/moved";
/// The empty messages that wait to be sent.
pub(super) const OUTBOX: &str = "v1/todo";
/// Which buckets the index of kept content has.
pub(super) const KEPT: &str = "v1/kept";
/// How many buckets the index of JIDs has.
pub(super) const BUCKETS: u8 = u8::MAX;

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Half a SHA-256 of a JID.
pub(super) fn digest(jid: &BareJid) -> [u8; 16] {
    let full: [u8; 32] = Sha256::digest(jid.as_str()).into();
    let mut half = [0; 16];
    half.iter_mut().zip(full).for_each(|(out, byte)| *out = byte);
    half
}

/// The pre keys of one namespace.
pub(super) fn pre_keys(namespace: Namespace) -> String {
    format!("v1/own/{}", namespace.code())
}

/// Devices, keys and trust of a JID.
pub(super) fn contact(jid: &BareJid) -> String {
    format!("v1/jid/{}", hash(jid))
}

/// By what a JID is called in keys.
pub(super) fn hash(jid: &BareJid) -> String {
    hex(&digest(jid))
}

/// The bucket of the index that names a JID.
pub(super) fn bucket_of(jid: &BareJid) -> u8 {
    digest(jid).first().copied().unwrap_or_default()
}

/// One bucket of the index of JIDs.
pub(super) fn bucket(number: u8) -> String {
    format!("v1/index/{number:02x}")
}

fn path(kind: &str, at: &SessionAddress) -> String {
    format!("v1/{kind}/{}/{}/{}", hash(&at.jid), at.device.get(), at.namespace.code())
}

/// The current session with a device.
pub(super) fn session(at: &SessionAddress) -> String {
    path("session", at)
}

/// Its skipped message keys.
pub(super) fn skipped(at: &SessionAddress) -> String {
    path("skipped", at)
}

/// The list of its predecessors.
pub(super) fn archive(at: &SessionAddress) -> String {
    path("archive", at)
}

/// One of its predecessors.
pub(super) fn archived(at: &SessionAddress, slot: u32) -> String {
    format!("{}/{slot}", path("archive", at))
}

/// One page of the chains that are over, of all sessions with the device.
pub(super) fn chains(at: &SessionAddress, page: u8) -> String {
    format!("{}/{page}", path("chains", at))
}

/// A message that waits to be sent.
pub(super) fn outbox_message(id: u64) -> String {
    format!("v1/todo/{id}")
}

/// A bucket of the index of kept content.
pub(super) fn kept_bucket(number: u8) -> String {
    format!("v1/kept/index/{number:02x}")
}

/// A content that is kept until it is acknowledged.
pub(super) fn kept_content(receipt: u64) -> String {
    format!("v1/kept/{receipt}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_plain_and_without_jids() {
        let long = BareJid::from_normalized(&format!("{}@{}", "ä".repeat(511), "example.org".repeat(90)));
        let device = crate::protocol::address::DeviceId::new(0x7fff_ffff).unwrap();
        let at = SessionAddress { jid: long.clone(), device, namespace: Namespace::Omemo2 };
        let paths = [
            session(&at),
            skipped(&at),
            archive(&at),
            archived(&at, u32::MAX),
            chains(&at, u8::MAX),
            contact(&long),
            bucket(bucket_of(&long)),
            pre_keys(Namespace::Legacy),
            outbox_message(u64::MAX),
            kept_bucket(u8::MAX),
            kept_content(u64::MAX),
        ];
        for path in paths {
            assert!(
                path.len() <= 200 && path.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'/')),
                "{path}"
            );
        }
        assert_eq!(contact(&BareJid::from_normalized("juliet@capulet.lit")).len(), 7 + 32);
    }
}
