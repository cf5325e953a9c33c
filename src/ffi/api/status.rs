//! Section 1 of the header: version and status.

use super::super::boundary::{guard, returns};
use crate::error::{Status, for_each_status};
use std::ffi::c_char;

/// Status of a call, of an operation, or of one row in a report. 0 is success, failures are negative, and a number
/// never changes its meaning. The name in square brackets is the exception of python-omemo in the same case;
/// docs/errors.md says what a client does in each case.
///
/// The numbers are in groups: to -99 use of the library, from -100 storage, from -200 account and trust, from -300
/// encryption (of an operation, or of one device in its report), from -400 network, from -500 decryption (the
/// values of omemo_decrypted_status).
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the header has the sentences of src/error.rs")]
pub enum omemo_status {
    OMEMO_OK = 0,
    OMEMO_ERR_NULL = -1,
    OMEMO_ERR_UTF8 = -2,
    OMEMO_ERR_ARGUMENT = -3,
    OMEMO_ERR_JID = -4,
    OMEMO_ERR_BUSY = -5,
    OMEMO_ERR_STALE = -6,
    OMEMO_ERR_WRONG_ANSWER = -7,
    OMEMO_ERR_CANCELLED = -8,
    OMEMO_ERR_PENDING = -9,
    OMEMO_ERR_NOT_FOUND = -10,
    OMEMO_ERR_LIMIT = -11,
    OMEMO_ERR_MALFORMED = -12,
    OMEMO_ERR_NOT_READY = -13,
    OMEMO_ERR_INTERNAL = -99,
    OMEMO_ERR_STORAGE = -100,
    OMEMO_ERR_STORAGE_LOCKED = -101,
    OMEMO_ERR_STORAGE_CORRUPT = -102,
    OMEMO_ERR_STORAGE_KEY = -103,
    OMEMO_ERR_STORAGE_VERSION = -104,
    OMEMO_ERR_STORAGE_ACCOUNT = -105,
    OMEMO_ERR_STORAGE_ROLLBACK = -106,
    OMEMO_ERR_STORAGE_NOT_EMPTY = -107,
    OMEMO_ERR_STORAGE_UNFINISHED = -108,
    OMEMO_ERR_UNKNOWN_NAMESPACE = -200,
    OMEMO_ERR_UNKNOWN_TRUST_LEVEL = -201,
    OMEMO_ERR_TRUST_DECISION_FAILED = -202,
    OMEMO_ERR_STILL_UNDECIDED = -203,
    OMEMO_ERR_LABEL = -204,
    OMEMO_ERR_NO_ELIGIBLE_DEVICES = -300,
    OMEMO_ERR_NO_DEVICES = -301,
    OMEMO_ERR_UNDECIDED = -302,
    OMEMO_ERR_DISTRUSTED = -303,
    OMEMO_ERR_IDENTITY_CHANGED = -304,
    OMEMO_ERR_IDENTITY_MISMATCH = -305,
    OMEMO_ERR_BUNDLE_NOT_FOUND = -306,
    OMEMO_ERR_BUNDLE_BAD = -307,
    OMEMO_ERR_KEY_EXCHANGE_FAILED = -308,
    OMEMO_ERR_PLAINTEXT = -309,
    OMEMO_ERR_UNRESPONSIVE = -310,
    OMEMO_ERR_TIMEOUT = -400,
    OMEMO_ERR_OFFLINE = -401,
    OMEMO_ERR_BUNDLE_UPLOAD_FAILED = -402,
    OMEMO_ERR_BUNDLE_DOWNLOAD_FAILED = -403,
    OMEMO_ERR_BUNDLE_DELETION_FAILED = -404,
    OMEMO_ERR_DEVICE_LIST_UPLOAD_FAILED = -405,
    OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED = -406,
    OMEMO_ERR_MESSAGE_SENDING_FAILED = -407,
    OMEMO_ERR_PUBLISH_LIMIT = -408,
    OMEMO_ERR_DECRYPTION_FAILED = -500,
    OMEMO_ERR_DUPLICATE = -501,
    OMEMO_ERR_TOO_MANY_SKIPPED = -502,
    OMEMO_ERR_NOT_FOR_US = -503,
    OMEMO_ERR_NO_SESSION = -504,
    OMEMO_ERR_SENDER_NOT_FOUND = -505,
    OMEMO_ERR_SENDER_DISTRUSTED = -506,
    OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY = -507,
    OMEMO_ERR_PRE_KEY_UNKNOWN = -508,
    OMEMO_ERR_OWN_ECHO = -509,
    OMEMO_ERR_AFFIX = -510,
}

macro_rules! conversion {
    ($($variant:ident = $number:literal, $name:ident, $text:literal, $python:literal;)*) => {
        impl From<Status> for omemo_status {
            fn from(status: Status) -> omemo_status {
                match status { $(Status::$variant => omemo_status::$name,)* }
            }
        }

        // cbindgen needs to see the enumeration as it is; its numbers are those of the table.
        const _: () = { $(assert!(omemo_status::$name as i32 == $number);)* };
    };
}
for_each_status!(conversion);

/// Returns the version of the library in use: MAJOR * 10000 + MINOR * 100 + PATCH.
/// Returns: the number, to be compared with OMEMO_VERSION_MAJOR, OMEMO_VERSION_MINOR and OMEMO_VERSION_PATCH.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_version() -> u32 {
    const fn number(text: &str) -> u32 {
        match u32::from_str_radix(text, 10) {
            Ok(number) => number,
            Err(_) => 0,
        }
    }
    const MAJOR: u32 = number(env!("CARGO_PKG_VERSION_MAJOR"));
    const MINOR: u32 = number(env!("CARGO_PKG_VERSION_MINOR"));
    const PATCH: u32 = number(env!("CARGO_PKG_VERSION_PATCH"));
    const VERSION: u32 =
        MAJOR.saturating_mul(10_000).saturating_add(MINOR.saturating_mul(100)).saturating_add(PATCH);
    VERSION
}

/// Returns the name of a status, such as "OMEMO_ERR_STALE".
/// Parameters:
/// - status: any number; the name for an unknown number says that it is unknown.
/// Returns: the name, never NULL.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_status_name(status: i32) -> *const c_char {
    let unknown = c"OMEMO_ERR_(unknown)".as_ptr();
    guard::call(unknown, || {
        Status::from_number(status).map_or(unknown, |status| returns::constant(status.c_name()))
    })
}

/// Returns one English sentence that explains a status.
/// Parameters:
/// - status: any number; the sentence for an unknown number says that it is unknown.
/// Returns: the sentence, never NULL.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_status_text(status: i32) -> *const c_char {
    let unknown = c"This number is no status of this version of the library.".as_ptr();
    guard::call(unknown, || {
        Status::from_number(status).map_or(unknown, |status| returns::constant(status.c_text()))
    })
}
