//! The two roles in a session.

/// Who began a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that began the session with a key exchange.
    Initiator,
    /// The side whose bundle the key exchange used.
    Responder,
}

impl Role {
    /// The role of the other side.
    pub fn other(self) -> Role {
        match self {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        }
    }
}
