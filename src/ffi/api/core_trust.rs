//! Section 6 of the header, core trust: what a trust level amounts to.

use crate::manager::api::device::CoreTrust;

/// Meaning of a trust level for encryption and decryption: one of three core trust levels. evaluate_trust maps the
/// names of trust levels to them.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_core_trust {
    /// No trust decision was made about the key. Nothing is encrypted for it.
    OMEMO_CORE_UNDECIDED = 0,
    /// Messages are encrypted for the key.
    OMEMO_CORE_TRUSTED = 1,
    /// Nothing is encrypted for the key, and messages from it are rejected.
    OMEMO_CORE_DISTRUSTED = 2,
}

impl From<CoreTrust> for omemo_core_trust {
    fn from(verdict: CoreTrust) -> omemo_core_trust {
        match verdict {
            CoreTrust::Undecided => omemo_core_trust::OMEMO_CORE_UNDECIDED,
            CoreTrust::Trusted => omemo_core_trust::OMEMO_CORE_TRUSTED,
            CoreTrust::Distrusted => omemo_core_trust::OMEMO_CORE_DISTRUSTED,
        }
    }
}

/// Returns the core trust with this number.
pub(in crate::ffi) fn verdict(number: i32) -> Option<CoreTrust> {
    [CoreTrust::Undecided, CoreTrust::Trusted, CoreTrust::Distrusted]
        .into_iter()
        .find(|verdict| *verdict as i32 == number)
}
