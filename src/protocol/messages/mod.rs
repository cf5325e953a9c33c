//! The protobuf messages of both namespaces on the wire: OMEMOMessage, OMEMOAuthenticatedMessage and OMEMOKeyExchange of
//! XEP-0384, SignalMessage and PreKeySignalMessage of libsignal. Knows no ratchet.

pub mod key_exchange;
pub mod ratchet_message;
pub(super) mod wire;
