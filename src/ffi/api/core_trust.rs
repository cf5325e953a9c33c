//! Section 6 of the header, core trust: what a trust level amounts to.

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
