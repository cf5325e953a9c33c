//! The protobuf messages of both namespaces and the form of keys in them (XEP-0384 10; libsignal's for legacy).
//!
//! Fields are optional here, so that a zero is written and a missing one is noticed. Knows no ratchet.

use super::profile::Wire;
use crate::crypto::keys::PublicKey;
use crate::error::{Error, Result, Status};
use prost::Message;

/// The byte before keys of the legacy namespace.
const KEY_PREFIX: u8 = 0x05;
/// The byte before messages of the legacy namespace: version 3, and a sender that speaks at most version 3.
const VERSION: u8 = 0x33;

#[derive(Clone, PartialEq, Message)]
pub(super) struct PlainMessage {
    #[prost(uint32, optional, tag = "1")]
    pub(super) n: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) pn: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) ratchet_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) ciphertext: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PlainAuthenticated {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) mac: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) message: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PlainKeyExchange {
    #[prost(uint32, optional, tag = "1")]
    pub(super) pre_key_id: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) signed_pre_key_id: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) ephemeral_key: Option<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    pub(super) message: Option<PlainAuthenticated>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VersionedMessage {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) ratchet_key: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) n: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub(super) pn: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) ciphertext: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VersionedKeyExchange {
    #[prost(uint32, optional, tag = "1")]
    pub(super) pre_key_id: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) ephemeral_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) message: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    pub(super) registration_id: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub(super) signed_pre_key_id: Option<u32>,
}

/// The failure for bytes that are no message of ours.
pub(super) fn malformed(what: &'static str) -> Error {
    Error::new(Status::Malformed, what)
}

/// Reads a protobuf message: any order, unknown fields ignored, the last of several wins.
pub(super) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|_| malformed("A protobuf message cannot be read."))
}

/// A field that must be there.
pub(super) fn required<T>(field: Option<T>) -> Result<T> {
    field.ok_or_else(|| malformed("A required field is missing."))
}

/// Reads a Curve25519 key.
pub(super) fn read_key(wire: Wire, bytes: &[u8]) -> Result<PublicKey> {
    let bare = match wire {
        Wire::Plain => Some(bytes),
        Wire::Versioned => bytes.strip_prefix(&[KEY_PREFIX]),
    };
    let key = bare.and_then(|bare| <[u8; 32]>::try_from(bare).ok());
    key.map(PublicKey::from_bytes).ok_or_else(|| malformed("A key has the wrong length or form."))
}

/// Writes a Curve25519 key.
pub(super) fn write_key(wire: Wire, key: &[u8; 32]) -> Vec<u8> {
    match wire {
        Wire::Plain => key.to_vec(),
        Wire::Versioned => prefixed(key).to_vec(),
    }
}

/// The 33 bytes of a key in the legacy namespace.
pub(super) fn prefixed(key: &[u8; 32]) -> [u8; 33] {
    let mut bytes = [KEY_PREFIX; 33];
    bytes.iter_mut().skip(1).zip(key).for_each(|(out, byte)| *out = *byte);
    bytes
}

/// Puts the version before a message.
pub(super) fn versioned(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.encoded_len().saturating_add(9));
    bytes.push(VERSION);
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}

/// Takes the version off. The low half of the byte says what else the sender can do and is ignored.
pub(super) fn strip_version(bytes: &[u8]) -> Result<&[u8]> {
    match bytes.split_first() {
        Some((version, rest)) if version >> 4 == VERSION >> 4 => Ok(rest),
        _ => Err(malformed("The version of a message is not 3.")),
    }
}
