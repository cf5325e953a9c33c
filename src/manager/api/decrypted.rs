//! What came out of a message, and what a client does with it.

use super::device::CoreTrust;
use crate::error::Error;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::KeyParts;
use zeroize::Zeroizing;

/// What a client does with the stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Action {
    /// Show nothing: no content, a duplicate, an own echo, or not for us and without payload.
    Hide = 0,
    /// Show the content, with its trust.
    Show = 1,
    /// Tell the user that a message could not be read.
    Warn = 2,
}

/// What came out of a message.
#[derive(Clone, PartialEq)]
pub struct Decrypted {
    /// `Ok`, or why there is no content.
    pub error: Error,
    /// What to do.
    pub action: Action,
    /// The content, in messages that have one.
    pub plaintext: Option<Zeroizing<Vec<u8>>>,
    /// Who sent it.
    pub from: Option<BareJid>,
    /// The sender's device.
    pub device: u32,
    /// The namespace of the message.
    pub namespace: Namespace,
    /// The key that vouches for the content, in Ed25519 form (sign bit 0 while it is unknown).
    pub identity_key: Option<[u8; 32]>,
    /// What the level of that key came to.
    pub core_trust: CoreTrust,
    /// The name of that level.
    pub trust_level_name: String,
    /// Only key exchanges show that key: no bundle vouches for it.
    pub provisional: bool,
    /// The sender's device does not stand on its JID's list, or does not any more.
    pub not_listed: bool,
    /// It opened a new session.
    pub new_session: bool,
    /// The key that it was encrypted with, or that it transports.
    pub key: Option<KeyParts>,
    /// The tag stood in the payload.
    pub tag_in_payload: bool,
    /// The room that it came in.
    pub room: Option<BareJid>,
    /// The number under which the content is kept until it is acknowledged; 0: it is not kept.
    pub receipt: u64,
    /// It was handed out before, and not acknowledged.
    pub repeated: bool,
}
