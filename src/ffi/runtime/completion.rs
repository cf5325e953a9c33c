//! What happens with the end of an operation.

use super::super::api::operations::omemo_done;
use super::super::api::results::omemo_result;
use super::super::api::status::omemo_status;
use super::super::boundary::returns::Out;
use super::super::boundary::user_data::UserData;
use crate::manager::api::report::Outcome;
use std::ffi::c_void;

/// An operation that has not ended, or whose end was not delivered.
pub(super) struct Operation {
    pub(super) completion: Completion,
    pub(super) started: bool,
    pub(super) early: Option<Outcome>,
}

/// What happens with the end of an operation.
pub(in crate::ffi) enum Completion {
    /// The client is called.
    Call(unsafe extern "C" fn(*mut c_void, u64, omemo_status, *const omemo_result), UserData),
    /// The result is kept for `omemo_manager_wait`.
    Keep,
    /// The result is dropped.
    Forget,
}

impl Completion {
    /// Returns what the client wants: `number` is where it takes the operation's number to wait for it.
    pub(in crate::ffi) fn new(
        done: omemo_done,
        user_data: *mut c_void,
        number: Option<&Out<u64>>,
    ) -> Completion {
        match (done, number) {
            (Some(done), _) => Completion::Call(done, UserData::new(user_data, None)),
            (None, Some(_)) => Completion::Keep,
            (None, None) => Completion::Forget,
        }
    }
}
