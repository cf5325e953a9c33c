//! Section 6 of the header, core trust: what a trust level amounts to, and the levels that are known without
//! evaluate_trust.

use crate::manager::api::device::CoreTrust;

/// The level of keys to which content is encrypted, known without evaluate_trust.
pub const LEVEL_TRUSTED: &str = "trusted";

/// The level of keys about which no trust decision was made, known without evaluate_trust.
pub const LEVEL_UNDECIDED: &str = "undecided";

/// The level of keys to which nothing is encrypted, known without evaluate_trust.
pub const LEVEL_DISTRUSTED: &str = "distrusted";

/// Returns the core trust of a level without evaluate_trust.
pub(in crate::ffi) fn built_in(level: &str) -> Option<CoreTrust> {
    match level {
        LEVEL_TRUSTED => Some(CoreTrust::Trusted),
        LEVEL_UNDECIDED => Some(CoreTrust::Undecided),
        LEVEL_DISTRUSTED => Some(CoreTrust::Distrusted),
        _ => None,
    }
}

/// Meaning of a trust level for encryption and decryption: one of three core trust levels. evaluate_trust maps the
/// names of trust levels to them.
#[repr(i32)]
pub enum omemo_core_trust {
    /// No trust decision was made about the key. Nothing is encrypted for it.
    OMEMO_CORE_UNDECIDED = 0,
    /// Messages are encrypted for the key.
    OMEMO_CORE_TRUSTED = 1,
    /// Nothing is encrypted for the key, and messages from it are rejected.
    OMEMO_CORE_DISTRUSTED = 2,
}
