//! One bucket of the index of JIDs: which there are, and by which device ids and keys they are found.

use super::{corrupt, record};
use crate::crypto::silent::silent;
use crate::error::Result;
use prost::Message;

silent! { BucketRecord EntryRecord }
record!(BucketRecord, "the index", [2 => 8_192]);

/// Bytes of a key by which a JID is found: the beginning of its Curve25519 form, which is as good as random.
pub(in crate::manager::store) const KEY_BYTES: usize = 8;

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct EntryRecord {
    #[prost(string, tag = "1")]
    pub(in crate::manager::store) jid: String,
    #[prost(bool, tag = "2")]
    pub(in crate::manager::store) known: bool,
    /// Ids of devices with an identity key.
    #[prost(uint32, repeated, tag = "3")]
    pub(in crate::manager::store) ids: Vec<u32>,
    /// Confirmed identity keys, `KEY_BYTES` of each, one behind the other.
    #[prost(bytes = "vec", tag = "4")]
    pub(in crate::manager::store) keys: Vec<u8>,
}

impl EntryRecord {
    pub(in crate::manager::store) fn keys(&self) -> Result<&[[u8; KEY_BYTES]]> {
        match self.keys.as_chunks::<KEY_BYTES>() {
            (keys, []) => Ok(keys),
            _ => Err(corrupt("the index", "holds half a key")),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct BucketRecord {
    #[prost(uint32, tag = "1")]
    pub(in crate::manager::store) version: u32,
    /// The longest known first.
    #[prost(message, repeated, tag = "2")]
    pub(in crate::manager::store) entries: Vec<EntryRecord>,
}
