//! Section 3 of the header: strings that the client owns.

use super::super::boundary::{guard, handles};
use std::ffi::c_char;

/// Frees a string that a function wrote to a `char **` parameter.
/// Parameters:
/// - string: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_string_free(string: *mut c_char) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_string(string) });
}
