//! One `<encrypted/>` in the same form for both namespaces.

use super::address::BareJid;
use super::namespace::Namespace;

/// The key of a message for one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageKey {
    /// Whom it is for; legacy names none. Shared between the keys of one JID.
    pub jid: Option<BareJid>,
    /// Which device it is for.
    pub device: u32,
    /// Whether it carries a key exchange.
    pub key_exchange: bool,
    /// Its decoded content; `None` where it could not be decoded.
    pub bytes: Option<Vec<u8>>,
}

/// A message as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its namespace.
    pub namespace: Namespace,
    /// The device that sent it.
    pub sender_device: u32,
    /// One key for each device that may read it.
    pub keys: Vec<MessageKey>,
    /// The encrypted payload; `None` in an empty message.
    pub payload: Option<Vec<u8>>,
    /// The initialisation vector of legacy.
    pub iv: Option<Vec<u8>>,
}
