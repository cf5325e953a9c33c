//! What the numbers of the header's enumerations mean in the core: one table for both directions.

use super::callbacks::omemo_notice;
use super::core_trust::omemo_core_trust;
use super::decrypt::omemo_action;
use super::encrypt::omemo_encrypt_policy;
use super::log::omemo_log_level;
use super::manager::omemo_catch_up;
use super::requests::omemo_reject_reason;
use crate::error::{Error, Result, Status};
use crate::manager::api::catch_up::CatchUp;
use crate::manager::api::decrypted::Action;
use crate::manager::api::device::CoreTrust;
use crate::manager::api::draft::EncryptPolicy;
use crate::manager::api::event::NoticeKind;
use crate::manager::api::request::Reason;
use crate::manager::api::services::LogLevel;

/// Translates between an enumeration of the header, which cbindgen needs to see as it is, and one of the core: into the
/// header (`to_c`), from a number that a client gave (`from_c`), or both.
macro_rules! translate {
    (to_c $c:ident, $core:ident: $($variant:ident = $name:ident),+) => {
        impl From<$core> for $c {
            fn from(value: $core) -> $c {
                match value { $($core::$variant => $c::$name,)+ }
            }
        }
    };
    (from_c $c:ident, $core:ident: $($variant:ident = $name:ident),+) => {
        impl $c {
            /// Returns what a number of this enumeration means in the core.
            pub(in crate::ffi) fn decode(number: i32) -> Result<$core> {
                match number {
                    $(number if number == $c::$name as i32 => Ok($core::$variant),)+
                    _ => {
                        let text = concat!("The number is not an ", stringify!($c), ".");
                        Err(Error::new(Status::Argument, text))
                    }
                }
            }
        }
    };
    (both $($table:tt)+) => {
        translate!(to_c $($table)+);
        translate!(from_c $($table)+);
    };
}

translate!(to_c omemo_action, Action:
    Hide = OMEMO_ACTION_HIDE, Show = OMEMO_ACTION_SHOW, Warn = OMEMO_ACTION_WARN);
translate!(to_c omemo_notice, NoticeKind:
    Devices = OMEMO_NOTICE_DEVICES, IdentityChanged = OMEMO_NOTICE_IDENTITY_CHANGED,
    Downgraded = OMEMO_NOTICE_DOWNGRADED, PublishFailed = OMEMO_NOTICE_PUBLISH_FAILED,
    SessionBroken = OMEMO_NOTICE_SESSION_BROKEN, BlindlyTrusted = OMEMO_NOTICE_BLINDLY_TRUSTED,
    Undecided = OMEMO_NOTICE_UNDECIDED, RolledBack = OMEMO_NOTICE_ROLLED_BACK);
translate!(both omemo_core_trust, CoreTrust:
    Undecided = OMEMO_CORE_UNDECIDED, Trusted = OMEMO_CORE_TRUSTED, Distrusted = OMEMO_CORE_DISTRUSTED);
translate!(both omemo_log_level, LogLevel:
    Error = OMEMO_LOG_ERROR, Warn = OMEMO_LOG_WARN, Info = OMEMO_LOG_INFO, Debug = OMEMO_LOG_DEBUG);
translate!(from_c omemo_catch_up, CatchUp:
    None = OMEMO_CATCH_UP_NONE, Expected = OMEMO_CATCH_UP_EXPECTED);
translate!(from_c omemo_encrypt_policy, EncryptPolicy:
    Wait = OMEMO_ENCRYPT_WAIT, Now = OMEMO_ENCRYPT_NOW, All = OMEMO_ENCRYPT_ALL);
translate!(from_c omemo_reject_reason, Reason:
    NotFound = OMEMO_REJECT_NOT_FOUND, Failed = OMEMO_REJECT_FAILED, Timeout = OMEMO_REJECT_TIMEOUT,
    Offline = OMEMO_REJECT_OFFLINE, Declined = OMEMO_REJECT_DECLINED);
