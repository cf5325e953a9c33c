//! With whom a session is.

use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;

/// One device of a JID in one namespace: what a session and a bundle belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::manager) struct SessionAddress {
    pub(in crate::manager) jid: BareJid,
    pub(in crate::manager) device: DeviceId,
    pub(in crate::manager) namespace: Namespace,
}

impl SessionAddress {
    /// Returns the same device in another namespace.
    pub(in crate::manager) fn in_namespace(&self, namespace: Namespace) -> SessionAddress {
        SessionAddress { namespace, ..self.clone() }
    }
}

#[cfg(test)]
impl SessionAddress {
    /// Returns device 7 of a JID, for tests.
    pub(in crate::manager) fn example(jid: &str, namespace: Namespace) -> SessionAddress {
        SessionAddress { jid: BareJid::from_normalized(jid), device: DeviceId::new(7).unwrap(), namespace }
    }
}
