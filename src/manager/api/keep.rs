//! What stays of a JID that is purged.

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// The trust levels of its keys.
    Trust,
}
