//! Who: bare JIDs and device ids. How a JID is normalised is known to `stanza::jid` alone.

use crate::crypto::silent::silent;
use std::sync::Arc;

/// A bare JID in its normal form. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BareJid(Arc<str>);

impl BareJid {
    /// Takes a string that is known to be a bare JID in its normal form.
    pub fn from_normalized(jid: &str) -> BareJid {
        BareJid(Arc::from(jid))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// JIDs are personal: they do not belong into logs, which are written by `Debug` more often than not.
silent! { BareJid }

/// The number of a device within its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(u32);

impl DeviceId {
    /// The largest id: 2^31-1 (XEP-0384 4.2).
    pub const MAX: u32 = 0x7fff_ffff;

    /// An id of this library's own making or one that is to be served: 1..2^31-1.
    pub fn new(id: u32) -> Option<DeviceId> {
        (1..=DeviceId::MAX).contains(&id).then_some(DeviceId(id))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}
