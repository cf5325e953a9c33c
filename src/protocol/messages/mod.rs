//! The protobuf messages of both namespaces on the wire: OMEMOMessage, OMEMOAuthenticatedMessage and OMEMOKeyExchange of
//! XEP-0384, SignalMessage and PreKeySignalMessage of libsignal. Knows no ratchet.

mod fields;
pub mod key_exchange;
mod omemo2;
pub(super) mod public_key;
pub mod ratchet_message;
pub(super) mod signal;
