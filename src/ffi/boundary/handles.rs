//! Who owns what stands behind a handle: objects of one owner, which the client frees, and objects that calls share.

use super::args;
use crate::error::Result;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::Arc;

/// Gives an object to the client, who owns it from now on.
pub(in crate::ffi) fn into_handle<T>(object: T) -> *mut T {
    Box::into_raw(Box::new(object))
}

/// Parses XML and gives the object to the client.
///
/// # Safety
/// `xml` must be NULL or point to `len` readable bytes, unless `len` is greater than `STANZA_BYTES`.
pub(in crate::ffi) unsafe fn parse<T>(
    xml: *const c_char,
    len: usize,
    object: Option<&mut MaybeUninit<*mut T>>,
    read: impl FnOnce(&[u8]) -> Result<T>,
) -> Result<()> {
    let out = args::required(object)?;
    // SAFETY: the same promise.
    let xml = unsafe { args::xml(xml, len) }?;
    out.write(into_handle(read(xml)?));
    Ok(())
}

/// Frees what `into_handle` gave; NULL is allowed.
///
/// # Safety
/// `object` must be NULL or come from `into_handle`, and must not be used again.
pub(in crate::ffi) unsafe fn free_handle<T>(object: *mut T) {
    if !object.is_null() {
        // SAFETY: the caller promises that it is one of ours, and freed for the first time.
        drop(unsafe { Box::from_raw(object) });
    }
}

/// Gives a string to the client, who frees it with `omemo_string_free`.
pub(in crate::ffi) fn into_string(text: CString) -> *mut c_char {
    text.into_raw()
}

/// Frees what `into_string` gave; NULL is allowed.
///
/// # Safety
/// `text` must be NULL or come from `into_string`, and must not be used again.
pub(in crate::ffi) unsafe fn free_string(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: the caller promises a string of ours, freed for the first time.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// Gives a share of an object to the client.
pub(in crate::ffi) fn into_shared_handle<T>(object: Arc<T>) -> *mut T {
    Arc::into_raw(object).cast_mut()
}

/// The object behind a handle that `into_shared_handle` gave, for the length of a call; `None` for NULL.
///
/// # Safety
/// `handle` must be NULL or come from `into_shared_handle`, and not have been given to `free_shared_handle`.
pub(in crate::ffi) unsafe fn shared<T>(handle: *const T) -> Option<Arc<T>> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: the caller promises a pointer from `Arc::into_raw` whose reference is still held.
    unsafe {
        Arc::increment_strong_count(handle);
        Some(Arc::from_raw(handle))
    }
}

/// Takes back the client's share of an object.
///
/// # Safety
/// `handle` must come from `into_shared_handle`, and must not be used again.
pub(in crate::ffi) unsafe fn free_shared_handle<T>(handle: *const T) {
    // SAFETY: the caller promises that the client's reference is still held, and gives it up.
    drop(unsafe { Arc::from_raw(handle) });
}
