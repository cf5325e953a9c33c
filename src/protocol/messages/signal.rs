//! The protobuf messages of the legacy namespace, which are those of libsignal: SignalMessage and PreKeySignalMessage, each
//! behind a byte with its version; and its form of keys. Fields are optional here, so that a zero is written and a missing
//! one is noticed.

use super::fields::malformed;
use crate::error::Result;
use prost::Message;

/// The byte before keys.
pub(super) const KEY_PREFIX: u8 = 0x05;
/// The byte before messages: version 3, and a sender that speaks at most version 3.
const VERSION: u8 = 0x33;

/// A message of the Double Ratchet.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SignalMessage {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) ratchet_key: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) n: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub(super) pn: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) ciphertext: Option<Vec<u8>>,
}

/// A key exchange with the first message.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PreKeySignalMessage {
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

/// The 33 bytes of a key in the legacy namespace.
pub(in crate::protocol) fn prefixed(key: &[u8; 32]) -> [u8; 33] {
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
