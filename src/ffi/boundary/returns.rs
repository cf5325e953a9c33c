//! What goes out over the boundary: strings and bytes that are borrowed or owned, and the places that a call writes to.

use crate::protocol::namespace::Namespace;
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Where a call that reaches a service puts what it gives. It is no reference, for the service may read the place.
#[derive(Clone, Copy)]
pub(in crate::ffi) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// Takes the client's place; `None` for NULL.
    ///
    /// # Safety
    /// `place` must be NULL or can be written until the call ends, and the result must not be kept longer.
    pub(in crate::ffi) unsafe fn new(place: *mut T) -> Option<Out<T>> {
        NonNull::new(place).map(Out)
    }

    /// Writes what the place gets. What was in it is not looked at.
    pub(in crate::ffi) fn write(self, value: T) {
        // SAFETY: `new` was promised that the place can be written.
        unsafe { self.0.write(value) }
    }
}

/// A string for C. NUL, which no C string can hold, becomes the replacement character.
pub(in crate::ffi) fn c_string(text: &str) -> CString {
    let clean = if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() };
    CString::new(clean).unwrap_or_default()
}

/// The name of a namespace as a C string.
pub(in crate::ffi) fn c_namespace(namespace: Namespace) -> &'static CStr {
    match namespace {
        Namespace::Omemo2 => c"urn:xmpp:omemo:2",
        Namespace::Legacy => c"eu.siacs.conversations.axolotl",
    }
}

/// The name of a namespace, or NULL.
pub(in crate::ffi) fn namespace_or_null(namespace: Option<Namespace>) -> *const c_char {
    namespace.map_or(std::ptr::null(), |namespace| c_namespace(namespace).as_ptr())
}

/// A constant string that ends with a NUL; empty if it does not.
pub(in crate::ffi) fn constant(text: &'static str) -> *const c_char {
    CStr::from_bytes_with_nul(text.as_bytes()).unwrap_or_default().as_ptr()
}

/// A borrowed string, or NULL.
pub(in crate::ffi) fn or_null(text: Option<&CString>) -> *const c_char {
    text.map_or(std::ptr::null(), |text| text.as_ptr())
}

/// A borrowed string and, if asked for, its length.
pub(in crate::ffi) fn give_text(text: &CStr, len: Option<&mut MaybeUninit<usize>>) -> *const c_char {
    if let Some(len) = len {
        len.write(text.count_bytes());
    }
    text.as_ptr()
}

/// Borrowed bytes and, if asked for, their number. NULL leaves the number as it is.
pub(in crate::ffi) fn give_bytes(bytes: Option<&[u8]>, len: Option<&mut MaybeUninit<usize>>) -> *const u8 {
    let Some(bytes) = bytes else { return std::ptr::null() };
    if let Some(len) = len {
        len.write(bytes.len());
    }
    if bytes.is_empty() { c"".as_ptr().cast() } else { bytes.as_ptr() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_inside_a_string_is_replaced() {
        assert_eq!(c_string("a\0b").to_bytes(), "a\u{fffd}b".as_bytes());
    }
}
