//! The protobuf messages of `urn:xmpp:omemo:2` (XEP-0384 10). Fields are optional here, so that a zero is written and a
//! missing one is noticed.

use prost::Message;

/// A message of the Double Ratchet: OMEMOMessage.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OmemoMessage {
    #[prost(uint32, optional, tag = "1")]
    pub(super) n: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) pn: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) ratchet_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) ciphertext: Option<Vec<u8>>,
}

/// The same with its MAC: OMEMOAuthenticatedMessage.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OmemoAuthenticatedMessage {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) mac: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) message: Option<Vec<u8>>,
}

/// A key exchange with the first message: OMEMOKeyExchange.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OmemoKeyExchange {
    #[prost(uint32, optional, tag = "1")]
    pub(super) pre_key_id: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) signed_pre_key_id: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) ephemeral_key: Option<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    pub(super) message: Option<OmemoAuthenticatedMessage>,
}
