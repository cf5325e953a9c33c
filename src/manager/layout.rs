//! Where each record lies. A JID never stands in a key, since it may be longer than a key and is nobody's business;
//! it stands in the record and is compared when that is loaded.

use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;
use sha2::{Digest, Sha256};

/// The account: identity, device id, highest ids.
pub(super) const ACCOUNT: &str = "v1/account";
/// The same id and numbers once more: one without the other is a store that was tampered with.
pub(super) const ANCHOR: &str = "v1/anchor";
/// The list of what is to be sent.
pub(super) const TODO: &str = "v1/todo";
/// How many buckets the index of JIDs has.
pub(super) const BUCKETS: u8 = u8::MAX;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(jid: &BareJid) -> [u8; 16] {
    let full: [u8; 32] = Sha256::digest(jid.as_str()).into();
    let mut half = [0; 16];
    half.iter_mut().zip(full).for_each(|(out, byte)| *out = byte);
    half
}

/// The pre keys of one namespace.
pub(super) fn own(namespace: Namespace) -> String {
    format!("v1/own/{}", namespace.code())
}

/// Devices, keys and trust of a JID.
pub(super) fn jid(jid: &BareJid) -> String {
    format!("v1/jid/{}", hex(&digest(jid)))
}

/// The bucket of the index that names a JID.
pub(super) fn bucket_of(jid: &BareJid) -> u8 {
    digest(jid).first().copied().unwrap_or_default()
}

/// One bucket of the index of JIDs.
pub(super) fn bucket(number: u8) -> String {
    format!("v1/index/{number:02x}")
}

/// With whom a session is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionKey {
    pub(super) jid: BareJid,
    pub(super) device: DeviceId,
    pub(super) namespace: Namespace,
}

impl SessionKey {
    fn path(&self, kind: &str) -> String {
        format!("v1/{kind}/{}/{}/{}", hex(&digest(&self.jid)), self.device.get(), self.namespace.code())
    }

    /// The current session.
    pub(super) fn session(&self) -> String {
        self.path("session")
    }

    /// Its skipped message keys.
    pub(super) fn skipped(&self) -> String {
        self.path("skipped")
    }

    /// The list of its predecessors.
    pub(super) fn archive(&self) -> String {
        self.path("archive")
    }

    /// One of its predecessors.
    pub(super) fn archived(&self, slot: u32) -> String {
        format!("{}/{slot}", self.path("archive"))
    }
}

/// A message that waits to be sent.
pub(super) fn todo_message(id: u64) -> String {
    format!("v1/todo/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_plain_and_without_jids() {
        let long = BareJid::from_normalized(&format!("{}@{}", "ä".repeat(511), "example.org".repeat(90)));
        let device = DeviceId::new(DeviceId::MAX).unwrap();
        let key = SessionKey { jid: long.clone(), device, namespace: Namespace::Omemo2 };
        let paths = [
            key.session(),
            key.skipped(),
            key.archive(),
            key.archived(u32::MAX),
            jid(&long),
            bucket(bucket_of(&long)),
            own(Namespace::Legacy),
            todo_message(u64::MAX),
        ];
        for path in paths {
            assert!(
                path.len() <= 200 && path.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'/')),
                "{path}"
            );
        }
        assert_eq!(jid(&BareJid::from_normalized("juliet@capulet.lit")).len(), 7 + 32);
    }
}
