//! `user_data` of the client and the function that frees it: kept as long as anybody may call with it.

use super::guard;
use std::ffi::c_void;

/// Frees the user_data of a table of callbacks. Runs once, after everything that took the table is gone; no
/// callback of the table runs later.
///
/// It may call any function, as an event may. Where it is a parameter, it may be NULL.
pub type omemo_destroy = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// The client's pointer for each callback. Shared by reference counts; the last one frees it.
pub(in crate::ffi) struct UserData {
    pointer: *mut c_void,
    destroy: omemo_destroy,
}

// SAFETY: the contract says that callbacks may run on any thread, so user_data may be sent there.
unsafe impl Send for UserData {}
// SAFETY: the pointer is never followed here; whoever gets it is told that calls may come from any thread.
unsafe impl Sync for UserData {}

impl UserData {
    pub(in crate::ffi) fn new(pointer: *mut c_void, destroy: omemo_destroy) -> UserData {
        UserData { pointer, destroy }
    }

    pub(in crate::ffi) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        let Some(destroy) = self.destroy.take() else { return };
        let user_data = UserData { pointer: self.pointer, destroy: None };
        // SAFETY: the client's function, which is given the client's pointer.
        guard::later(Box::new(move || guard::event(|| unsafe { destroy(user_data.pointer()) })));
    }
}
