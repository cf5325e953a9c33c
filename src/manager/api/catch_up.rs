//! What the client says of messages that wait on the server.

/// Whether an archive is going to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// No: all messages count as live.
    None,
    /// Yes, until [`super::super::Manager::catch_up_end`].
    Expected,
}
