//! Section 7 of the header, operations: their numbers and their end.

use super::results::omemo_result;
use super::status::omemo_status;
use std::ffi::c_void;

/// Number of an operation: something that one call starts and that has exactly one end. 0 is no operation.
pub type omemo_op = u64;

/// Receives the end of an operation (event), exactly once. result is never NULL; it holds the same status, and the
/// report even if the operation failed. result lives until the function returns.
pub type omemo_done = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        op: omemo_op,
        status: omemo_status,
        result: *const omemo_result,
    ),
>;
