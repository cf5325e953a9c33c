//! The table of what differs between the two namespaces. Whatever has no row here is the same in both.

use super::namespace::Namespace;

/// How keys and messages look on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Bare keys; protobuf with the MAC in a field; identity keys in Ed25519 form.
    Omemo,
    /// Keys behind a byte 05; a version byte before, the MAC behind; identity keys in Curve25519 form.
    Signal,
}

/// Which identity keys authenticate a message, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssociatedData {
    /// Ed25519 forms: who began the session, then the other.
    InitiatorFirst,
    /// Curve25519 forms behind a byte 05: who sends this message, then the other.
    SenderFirst,
}

/// How a payload is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadCipher {
    /// A key of 32 bytes, AES-256-CBC with HMAC-SHA-256 under keys derived with this info.
    CbcHmac {
        /// HKDF info.
        info: &'static str,
    },
    /// A key of 16 bytes, AES-128-GCM with an IV beside it.
    Gcm,
}

/// One row of the table.
#[derive(Debug)]
pub struct Profile {
    /// HKDF info of the key agreement.
    pub agreement_info: &'static str,
    /// HKDF info of the root chain.
    pub root_info: &'static str,
    /// HKDF info of message keys.
    pub message_info: &'static str,
    /// Bytes of the MAC of a ratchet message.
    pub mac_bytes: usize,
    /// The form of keys and messages.
    pub wire: Wire,
    /// What a MAC covers besides the message.
    pub associated_data: AssociatedData,
    /// The cipher of the payload.
    pub payload: PayloadCipher,
    /// Whether a message without payload may hand a key to the other side's client.
    pub key_transport: bool,
}

static OMEMO_2: Profile = Profile {
    agreement_info: "OMEMO X3DH",
    root_info: "OMEMO Root Chain",
    message_info: "OMEMO Message Key Material",
    mac_bytes: 16,
    wire: Wire::Omemo,
    associated_data: AssociatedData::InitiatorFirst,
    payload: PayloadCipher::CbcHmac { info: "OMEMO Payload" },
    key_transport: false,
};

static LEGACY: Profile = Profile {
    agreement_info: "WhisperText",
    root_info: "WhisperRatchet",
    message_info: "WhisperMessageKeys",
    mac_bytes: 8,
    wire: Wire::Signal,
    associated_data: AssociatedData::SenderFirst,
    payload: PayloadCipher::Gcm,
    key_transport: true,
};

impl Namespace {
    /// Its row.
    pub fn profile(self) -> &'static Profile {
        match self {
            Namespace::Omemo2 => &OMEMO_2,
            Namespace::Legacy => &LEGACY,
        }
    }
}
