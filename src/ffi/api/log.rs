//! Section 2 of the header: lines of log, without secrets, texts and JIDs.

use super::super::boundary::user_data::UserData;
use super::super::boundary::{guard, returns};
use crate::manager::api::services::LogLevel;
use std::ffi::{c_char, c_void};

/// Severity of a log line. No level ever contains secrets, message texts or JIDs.
#[repr(i32)]
pub enum omemo_log_level {
    /// A bug in this library.
    OMEMO_LOG_ERROR = 1,
    /// A problem that a person has to look at.
    OMEMO_LOG_WARN = 2,
    /// An event of the account, such as a new device id.
    OMEMO_LOG_INFO = 3,
    /// An event of a single message or request.
    OMEMO_LOG_DEBUG = 4,
}

/// Receives one line of the log (a service); see omemo_config_set_log. target is the part of the library that wrote
/// the line, such as "omemo::manager". Both strings live until the function returns.
pub type omemo_log = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        level: omemo_log_level,
        target: *const c_char,
        line: *const c_char,
    ),
>;

/// Where lines go.
pub(in crate::ffi) struct Log {
    pub(in crate::ffi) level: LogLevel,
    pub(in crate::ffi) log: unsafe extern "C" fn(*mut c_void, omemo_log_level, *const c_char, *const c_char),
    pub(in crate::ffi) user_data: UserData,
}

impl Log {
    pub(in crate::ffi) fn write(&self, level: LogLevel, target: &str, line: &str) {
        if level > self.level {
            return;
        }
        let (target, line) = (returns::c_string(target), returns::c_string(line));
        // SAFETY: the client's function; both strings live until it returns.
        guard::service(|| unsafe {
            (self.log)(self.user_data.pointer(), level.into(), target.as_ptr(), line.as_ptr());
        });
    }
}
