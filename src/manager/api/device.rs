//! One device of a JID as the client sees it, and what a trust level amounts to.

use crate::protocol::address::BareJid;
use crate::protocol::label::SignedLabel;
use crate::protocol::namespace::Namespace;
use std::sync::Arc;

/// What a trust level comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum CoreTrust {
    /// Nobody has judged the key.
    Undecided = 0,
    /// Content is encrypted to it.
    Trusted = 1,
    /// Nothing is encrypted to it, and what it sends is refused.
    Distrusted = 2,
}

/// One device of a JID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Whose.
    pub jid: BareJid,
    /// Its id.
    pub id: u32,
    /// Its identity key in Ed25519 form (sign bit 0 while it is unknown); `None` until the key is known.
    pub identity_key: Option<[u8; 32]>,
    /// The name of the trust level of that key.
    pub trust_level_name: String,
    /// What the level comes to.
    pub core_trust: CoreTrust,
    /// Only key exchanges show that key: no bundle vouches for it.
    pub provisional: bool,
    /// In which namespaces it is announced now.
    pub active: Vec<Namespace>,
    /// The key that it shows instead of its confirmed one, in Ed25519 form, until that is accepted.
    pub conflicting_key: Option<[u8; 32]>,
    /// The namespace in which it is served whatever the order says.
    pub preferred: Option<Namespace>,
    /// It left omemo:2 and was served by legacy since then.
    pub downgraded: bool,
    /// Its label as announced, not verified: see [`Device::verified_label`].
    pub label: Option<Arc<SignedLabel>>,
    /// What is known of its sessions, one entry for each namespace in use; only in what [`super::super::Manager::devices`]
    /// returns.
    pub sessions: Vec<DeviceSession>,
}

impl Device {
    /// Returns its label, if the holder of its identity key has signed it. Costs as much as a signature check.
    pub fn verified_label(&self) -> Option<&str> {
        let (label, key) = (self.label.as_ref()?, self.identity_key.as_ref()?);
        label.is_signed_by(key).then_some(label.text.as_str())
    }
}

/// The session with a device in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSession {
    /// Where.
    pub namespace: Namespace,
    /// Anything of the device was decrypted with it.
    pub is_confirmed: bool,
    /// Messages sent since the device last answered on the session; `None`: there is no session.
    pub sending_chain_length: Option<u32>,
    /// Messages received in the current receiving chain; `None`: none.
    pub receiving_chain_length: Option<u32>,
    /// When something of the device was last decrypted, in wall-clock milliseconds; 0: never, as far as is known.
    pub last_seen_ms: i64,
    /// Messages of the device that could not be decrypted since the last one that could, in this run of the program.
    pub failed_messages: u32,
}
