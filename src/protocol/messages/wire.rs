//! The protobuf messages of both namespaces and the form of keys in them (XEP-0384 10; libsignal's for legacy).
//!
//! Fields are optional here, so that a zero is written and a missing one is noticed. Knows no ratchet.

use super::super::profile::Wire;
use crate::crypto::keys::PublicKey;
use crate::error::{Error, Result, Status};
use prost::Message;

/// The byte before keys of the legacy namespace.
const KEY_PREFIX: u8 = 0x05;
/// The byte before messages of the legacy namespace: version 3, and a sender that speaks at most version 3.
const VERSION: u8 = 0x33;

#[derive(Clone, PartialEq, Message)]
pub(in crate::protocol) struct PlainMessage {
    #[prost(uint32, optional, tag = "1")]
    pub(in crate::protocol) n: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(in crate::protocol) pn: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(in crate::protocol) ratchet_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(in crate::protocol) ciphertext: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::protocol) struct PlainAuthenticated {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(in crate::protocol) mac: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(in crate::protocol) message: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::protocol) struct PlainKeyExchange {
    #[prost(uint32, optional, tag = "1")]
    pub(in crate::protocol) pre_key_id: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(in crate::protocol) signed_pre_key_id: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(in crate::protocol) identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(in crate::protocol) ephemeral_key: Option<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    pub(in crate::protocol) message: Option<PlainAuthenticated>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::protocol) struct VersionedMessage {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(in crate::protocol) ratchet_key: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "2")]
    pub(in crate::protocol) n: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub(in crate::protocol) pn: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(in crate::protocol) ciphertext: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::protocol) struct VersionedKeyExchange {
    #[prost(uint32, optional, tag = "1")]
    pub(in crate::protocol) pre_key_id: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(in crate::protocol) ephemeral_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(in crate::protocol) identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(in crate::protocol) message: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    pub(in crate::protocol) registration_id: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub(in crate::protocol) signed_pre_key_id: Option<u32>,
}

/// The failure for bytes that are no message of ours.
pub(in crate::protocol) fn malformed(what: &'static str) -> Error {
    Error::new(Status::Malformed, what)
}

/// Reads a protobuf message: any order, unknown fields ignored, the last of several wins.
pub(in crate::protocol) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|_| malformed("A protobuf message cannot be read."))
}

/// A field that must be there.
pub(in crate::protocol) fn required<T>(field: Option<T>) -> Result<T> {
    field.ok_or_else(|| malformed("A required field is missing."))
}

/// Reads a Curve25519 key.
pub(in crate::protocol) fn read_key(wire: Wire, bytes: &[u8]) -> Result<PublicKey> {
    let bare = match wire {
        Wire::Plain => Some(bytes),
        Wire::Versioned => bytes.strip_prefix(&[KEY_PREFIX]),
    };
    let key = bare.and_then(|bare| <[u8; 32]>::try_from(bare).ok());
    key.map(PublicKey::from_bytes).ok_or_else(|| malformed("A key has the wrong length or form."))
}

/// Writes a Curve25519 key.
pub(in crate::protocol) fn write_key(wire: Wire, key: &[u8; 32]) -> Vec<u8> {
    match wire {
        Wire::Plain => key.to_vec(),
        Wire::Versioned => prefixed(key).to_vec(),
    }
}

/// The 33 bytes of a key in the legacy namespace.
pub(in crate::protocol) fn prefixed(key: &[u8; 32]) -> [u8; 33] {
    let mut bytes = [KEY_PREFIX; 33];
    bytes.iter_mut().skip(1).zip(key).for_each(|(out, byte)| *out = *byte);
    bytes
}

/// Puts the version before a message.
pub(in crate::protocol) fn versioned(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.encoded_len().saturating_add(9));
    bytes.push(VERSION);
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}

/// Takes the version off. The low half of the byte says what else the sender can do and is ignored.
pub(in crate::protocol) fn strip_version(bytes: &[u8]) -> Result<&[u8]> {
    match bytes.split_first() {
        Some((version, rest)) if version >> 4 == VERSION >> 4 => Ok(rest),
        _ => Err(malformed("The version of a message is not 3.")),
    }
}
