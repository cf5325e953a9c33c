//! Faults planted in the world, not in the library, so that the oracle is seen to find them.

/// What the world does wrong without telling the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoilt {
    /// A stanza counts as delivered and never is.
    Drop,
    /// A text is shown a second time.
    Again,
    /// An older copy of a store is put back.
    SecretRestore,
    /// A text stands on the wire.
    Leak,
    /// What was refused is written down.
    Trace,
}
