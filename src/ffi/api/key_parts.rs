//! Section 9 of the header: parts of a message's key, for protocols that use OMEMO to transport keys.

use super::super::boundary::returns;
use crate::protocol::payload::KeyParts;
use std::mem::MaybeUninit;

/// Parts of the key of a message, for protocols that use OMEMO as key transport (XEP-0396). They are parameters of
/// omemo_result_key for sent messages and of omemo_decrypted_key for received ones.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_key_part {
    /// The key itself.
    OMEMO_KEY_PART_KEY = 0,
    /// The authentication tag of the payload, if it came with the key.
    OMEMO_KEY_PART_TAG = 1,
    /// The initialisation vector of OMEMO_NS_LEGACY.
    OMEMO_KEY_PART_IV = 2,
}

/// Returns the part with this number.
pub(in crate::ffi) fn give(
    key: Option<&KeyParts>,
    part: i32,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    let bytes = key.and_then(|key| match part {
        _ if part == omemo_key_part::OMEMO_KEY_PART_KEY as i32 => Some(key.key.as_slice()),
        _ if part == omemo_key_part::OMEMO_KEY_PART_TAG as i32 => key.tag.as_ref().map(|tag| tag.as_slice()),
        _ if part == omemo_key_part::OMEMO_KEY_PART_IV as i32 => key.iv.as_deref(),
        _ => None,
    });
    returns::give_bytes(bytes, len)
}
