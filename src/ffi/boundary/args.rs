//! What comes in over the boundary: strings, bytes, keys, JIDs and namespaces, each checked and cast in this one place.
//!
//! Knows nothing of what they mean. Everything that comes in is copied or borrowed for the length of one call.

use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use crate::stanza::jid;
use libc::{c_char, strnlen};

/// What must not be NULL.
pub(in crate::ffi) fn required<T>(object: Option<T>) -> Result<T> {
    object.ok_or(Error::from(Status::Null))
}

/// Copies what a call needs of an object that is the client's. A service or a `destroy` that runs later in the same
/// call may free the object, so that no reference to it may live as long as the call: the function takes a pointer.
///
/// # Safety
/// `object` must be NULL or one of ours that has not been freed.
pub(in crate::ffi) unsafe fn copied<T, U>(object: *const T, copy: impl FnOnce(&T) -> U) -> Result<U> {
    // SAFETY: the caller promises an object that is there; the reference ends with this function.
    required(unsafe { object.as_ref() }).map(copy)
}

/// A UTF-8 string with a NUL at its end; `None` for NULL.
///
/// # Safety
/// `text` must be NULL or point to a string that ends with NUL, unless it is longer than `STANZA_BYTES`.
pub(in crate::ffi) unsafe fn optional_text<'a>(text: *const c_char) -> Result<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the same promise.
    let bytes = unsafe { c_bytes(text) }?;
    std::str::from_utf8(bytes).map(Some).map_err(|_| Status::Utf8.into())
}

/// The bytes of a string with a NUL at its end, which must not be NULL: UTF-8 or not, as the names of files.
///
/// # Safety
/// As for `optional_text`.
pub(in crate::ffi) unsafe fn c_bytes<'a>(text: *const c_char) -> Result<&'a [u8]> {
    if text.is_null() {
        return Err(Status::Null.into());
    }
    let limit = limits::STANZA_BYTES;
    // SAFETY: the caller promises a readable string, of which at most `limit` bytes are looked at.
    let len = unsafe { strnlen(text, limit) };
    if len == limit {
        return Err(Status::Limit.into());
    }
    // SAFETY: `strnlen` has just read these bytes.
    Ok(unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) })
}

/// A UTF-8 string with a NUL at its end, which must not be NULL.
///
/// # Safety
/// As for `optional_text`.
pub(in crate::ffi) unsafe fn text<'a>(text: *const c_char) -> Result<&'a str> {
    // SAFETY: the same promise.
    required(unsafe { optional_text(text) }?)
}

/// A bare JID in its normal form, or `None` for NULL.
///
/// # Safety
/// As for `optional_text`.
pub(in crate::ffi) unsafe fn optional_jid(text: *const c_char) -> Result<Option<BareJid>> {
    // SAFETY: the same promise.
    unsafe { optional_text(text) }?.map(jid::bare).transpose()
}

/// A bare JID in its normal form.
///
/// # Safety
/// As for `optional_text`.
pub(in crate::ffi) unsafe fn required_jid(text: *const c_char) -> Result<BareJid> {
    // SAFETY: the same promise.
    required(unsafe { optional_jid(text) }?)
}

/// A namespace, or `None` for NULL.
///
/// # Safety
/// As for `optional_text`.
pub(in crate::ffi) unsafe fn optional_namespace(text: *const c_char) -> Result<Option<Namespace>> {
    // SAFETY: the same promise.
    unsafe { optional_text(text) }?.map(known).transpose()
}

/// A namespace.
///
/// # Safety
/// As for `optional_text`.
pub(in crate::ffi) unsafe fn namespace(text: *const c_char) -> Result<Namespace> {
    // SAFETY: the same promise.
    required(unsafe { optional_namespace(text) }?)
}

/// Namespaces, each once, at least one.
///
/// # Safety
/// `names` must be NULL or point to `count` C strings or NULLs, unless there are more than there are
/// namespaces.
pub(in crate::ffi) unsafe fn namespaces(names: *const *const c_char, count: usize) -> Result<Vec<Namespace>> {
    if names.is_null() {
        return Err(Status::Null.into());
    }
    if !(1..=Namespace::ALL.len()).contains(&count) {
        return Err(Error::new(Status::Argument, "The number of namespaces is 0 or too great."));
    }
    // SAFETY: the caller promises `count` pointers.
    let names = unsafe { std::slice::from_raw_parts(names, count) };
    let mut namespaces = Vec::new();
    for name in names {
        // SAFETY: the caller promises C strings.
        let namespace = unsafe { namespace(*name) }?;
        if namespaces.contains(&namespace) {
            return Err(Error::new(Status::Argument, "A namespace is in the list twice."));
        }
        namespaces.push(namespace);
    }
    Ok(namespaces)
}

fn known(uri: &str) -> Result<Namespace> {
    Namespace::from_uri(uri).ok_or(Status::UnknownNamespace.into())
}

/// Bytes of a pointer and a length, at most `limit` of them.
///
/// # Safety
/// `bytes` must be NULL or point to `len` readable bytes, unless `len` is greater than `limit`.
pub(in crate::ffi) unsafe fn bytes<'a>(bytes: *const u8, len: usize, limit: usize) -> Result<&'a [u8]> {
    if bytes.is_null() {
        return Err(Status::Null.into());
    }
    if isize::try_from(len).is_err() {
        return Err(Error::new(Status::Argument, "The length is greater than any object."));
    }
    if len > limit {
        return Err(Status::Limit.into());
    }
    // SAFETY: the caller promises `len` readable bytes.
    Ok(unsafe { std::slice::from_raw_parts(bytes, len) })
}

/// Characters of a pointer and a length, at most `limit` of them, as bytes.
///
/// # Safety
/// As for `bytes`.
pub(in crate::ffi) unsafe fn characters<'a>(
    characters: *const c_char,
    len: usize,
    limit: usize,
) -> Result<&'a [u8]> {
    // SAFETY: the same promise.
    unsafe { bytes(characters.cast(), len, limit) }
}

/// XML of a pointer and a length, at most as much as a stanza may have.
///
/// # Safety
/// `xml` must be NULL or point to `len` readable bytes, unless `len` is greater than `STANZA_BYTES`.
pub(in crate::ffi) unsafe fn xml<'a>(xml: *const c_char, len: usize) -> Result<&'a [u8]> {
    // SAFETY: the same promise.
    unsafe { characters(xml, len, limits::STANZA_BYTES) }
}

/// An array of exactly `N` bytes, whose length C does not tell.
///
/// # Safety
/// `bytes` must be NULL or point to `N` readable bytes.
pub(in crate::ffi) unsafe fn array<const N: usize>(bytes: *const u8) -> Result<[u8; N]> {
    // SAFETY: the same promise.
    let bytes = unsafe { self::bytes(bytes, N, N) }?;
    bytes.try_into().map_err(|_| Status::Argument.into())
}

/// A signature of 64 bytes.
///
/// # Safety
/// `signature` must be NULL or point to `len` readable bytes, unless `len` is not 64.
pub(in crate::ffi) unsafe fn signature(signature: *const u8, len: usize) -> Result<[u8; 64]> {
    // SAFETY: the same promise.
    let bytes = unsafe { bytes(signature, len, 64) }?;
    bytes.try_into().map_err(|_| Error::new(Status::Argument, "A signature has 64 bytes."))
}

/// A key of 32 bytes.
///
/// # Safety
/// `key` must be NULL or point to `len` readable bytes, unless `len` is not 32.
pub(in crate::ffi) unsafe fn key(key: *const u8, len: usize) -> Result<[u8; 32]> {
    if key.is_null() {
        return Err(Status::Null.into());
    }
    if len != 32 {
        return Err(Error::new(Status::Argument, "A key has 32 bytes."));
    }
    // SAFETY: the caller promises 32 readable bytes.
    unsafe { array(key) }
}

/// A device id.
pub(in crate::ffi) fn device(id: u32) -> Result<DeviceId> {
    DeviceId::new(id).ok_or(Error::new(Status::Argument, "A device id is a number from 1 to 2^31-1."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_lengths_are_refused_unread() {
        let byte = 1_u8;
        for len in [usize::MAX, isize::MAX as usize + 1] {
            // SAFETY: lengths beyond the limit are not read.
            let refused = unsafe { bytes(&raw const byte, len, 10) };
            assert_eq!(refused.expect_err("too long").status(), Status::Argument);
        }
        // SAFETY: as above.
        let refused = unsafe { bytes(&raw const byte, 11, 10) };
        assert_eq!(refused.expect_err("too long").status(), Status::Limit);
    }

    #[test]
    fn strings_are_checked() {
        // SAFETY: these are C strings.
        unsafe {
            assert_eq!(text(c"a".as_ptr()).expect("UTF-8"), "a");
            assert_eq!(text(c"\xff".as_ptr()).expect_err("no UTF-8").status(), Status::Utf8);
            assert_eq!(text(std::ptr::null()).expect_err("NULL").status(), Status::Null);
            assert_eq!(
                namespace(c"urn:xmpp:omemo:1".as_ptr()).expect_err("?").status(),
                Status::UnknownNamespace
            );
        }
    }
}
