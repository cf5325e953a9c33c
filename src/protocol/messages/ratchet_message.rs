//! One message of the Double Ratchet on the wire: its header, its ciphertext and its MAC.

use super::super::namespace::Namespace;
use super::super::profile::{AssociatedData, Wire};
use super::super::role::Role;
use super::fields::{self, malformed, required};
use super::{omemo2, public_key, signal};
use crate::crypto::aead::CbcHmacKeys;
use crate::crypto::keys::PublicKey;
use crate::error::{Result, Status};
use prost::Message;
use zeroize::Zeroizing;

/// The header of a message (Double Ratchet 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender's ratchet key.
    pub ratchet_key: PublicKey,
    /// Messages in the sender's previous chain.
    pub pn: u32,
    /// Index of this message in its chain.
    pub n: u32,
}

/// A message that was read; nothing in it is authenticated before `open` says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatchetMessage {
    namespace: Namespace,
    header: Header,
    ciphertext: Vec<u8>,
    /// The bytes that the MAC covers, as they came.
    authenticated: Vec<u8>,
    mac: Vec<u8>,
}

/// The identity keys of a session in the form that its namespace authenticates, as they stood in the key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties {
    /// Of who began the session.
    pub initiator: [u8; 32],
    /// Of the other.
    pub responder: [u8; 32],
}

impl Parties {
    /// What a MAC covers besides the message.
    fn associated_data(&self, kind: AssociatedData, sender: Role) -> Vec<u8> {
        match (kind, sender) {
            (AssociatedData::InitiatorFirst, _) => [self.initiator, self.responder].concat(),
            (AssociatedData::SenderFirst, Role::Initiator) => {
                [signal::prefixed(&self.initiator), signal::prefixed(&self.responder)].concat()
            }
            (AssociatedData::SenderFirst, Role::Responder) => {
                [signal::prefixed(&self.responder), signal::prefixed(&self.initiator)].concat()
            }
        }
    }
}

impl RatchetMessage {
    /// Reads a message.
    pub fn parse(namespace: Namespace, bytes: &[u8]) -> Result<RatchetMessage> {
        match namespace.profile().wire {
            Wire::Omemo => RatchetMessage::from_plain(namespace, fields::decode(bytes)?),
            Wire::Signal => RatchetMessage::from_versioned(namespace, bytes),
        }
    }

    pub(super) fn from_plain(
        namespace: Namespace,
        outer: omemo2::OmemoAuthenticatedMessage,
    ) -> Result<RatchetMessage> {
        let authenticated = required(outer.message)?;
        let inner: omemo2::OmemoMessage = fields::decode(&authenticated)?;
        let ratchet_key = public_key::read_key(Wire::Omemo, &required(inner.ratchet_key)?)?;
        let header = Header { ratchet_key, pn: required(inner.pn)?, n: required(inner.n)? };
        let (ciphertext, mac) = (inner.ciphertext.unwrap_or_default(), required(outer.mac)?);
        RatchetMessage { namespace, header, ciphertext, authenticated, mac }.checked()
    }

    fn from_versioned(namespace: Namespace, bytes: &[u8]) -> Result<RatchetMessage> {
        let split = bytes.len().checked_sub(namespace.profile().mac_bytes);
        let parts = split.and_then(|split| bytes.split_at_checked(split));
        let (authenticated, mac) = parts.ok_or_else(|| malformed("A message is too short."))?;
        let inner: signal::SignalMessage = fields::decode(signal::strip_version(authenticated)?)?;
        let ratchet_key = public_key::read_key(Wire::Signal, &required(inner.ratchet_key)?)?;
        let header = Header { ratchet_key, pn: required(inner.pn)?, n: required(inner.n)? };
        let ciphertext = inner.ciphertext.unwrap_or_default();
        let (authenticated, mac) = (authenticated.to_vec(), mac.to_vec());
        RatchetMessage { namespace, header, ciphertext, authenticated, mac }.checked()
    }

    fn checked(self) -> Result<RatchetMessage> {
        if self.mac.len() == self.namespace.profile().mac_bytes {
            Ok(self)
        } else {
            Err(malformed("A MAC has the wrong length."))
        }
    }

    /// Its header.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Its namespace.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// Encrypts under a message key and writes the message.
    pub(in crate::protocol) fn seal(
        namespace: Namespace,
        header: Header,
        message_key: &[u8; 32],
        parties: &Parties,
        sender: Role,
        plaintext: &[u8],
    ) -> Result<Vec<u8>> {
        let profile = namespace.profile();
        let keys = CbcHmacKeys::derive(message_key, profile.message_info.as_bytes())?;
        let data = parties.associated_data(profile.associated_data, sender);
        let ratchet_key = Some(public_key::write_key(profile.wire, header.ratchet_key.as_bytes()));
        let (n, pn, ciphertext) = (Some(header.n), Some(header.pn), Some(keys.encrypt(plaintext)));
        Ok(match profile.wire {
            Wire::Omemo => {
                let message = omemo2::OmemoMessage { n, pn, ratchet_key, ciphertext }.encode_to_vec();
                let mac = keys.mac::<16>(&[&data, &message])?;
                omemo2::OmemoAuthenticatedMessage { mac: Some(mac.to_vec()), message: Some(message) }
                    .encode_to_vec()
            }
            Wire::Signal => {
                let mut message =
                    signal::versioned(&signal::SignalMessage { ratchet_key, n, pn, ciphertext });
                let mac = keys.mac::<8>(&[&data, &message])?;
                message.extend_from_slice(&mac);
                message
            }
        })
    }

    /// Checks the MAC over the bytes as they came, then decrypts.
    pub(in crate::protocol) fn open(
        &self,
        message_key: &[u8; 32],
        parties: &Parties,
        sender: Role,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let profile = self.namespace.profile();
        let keys = CbcHmacKeys::derive(message_key, profile.message_info.as_bytes())?;
        let data = parties.associated_data(profile.associated_data, sender);
        let covered: [&[u8]; 2] = [&data, &self.authenticated];
        match profile.mac_bytes {
            16 => keys.verify::<16>(&covered, &self.mac)?,
            8 => keys.verify::<8>(&covered, &self.mac)?,
            _ => return Err(Status::Internal.into()),
        }
        keys.decrypt(&self.ciphertext)
    }
}
