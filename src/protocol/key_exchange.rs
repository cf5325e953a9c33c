//! A key exchange on the wire: what the responder needs for the agreement, around the first message of the session.

use super::namespace::Namespace;
use super::profile::Wire;
use super::ratchet_message::RatchetMessage;
use super::session::Session;
use super::wire::{self, required};
use crate::crypto::convert;
use crate::crypto::keys::PublicKey;
use crate::error::{Error, Result, Status};
use prost::Message;
use subtle::ConstantTimeEq;

/// What makes two key exchanges the same: compared in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeId {
    /// The initiator's ephemeral key.
    pub ephemeral: PublicKey,
    /// The initiator's identity key in Curve25519 form.
    pub identity: [u8; 32],
    /// The responder's signed pre key.
    pub signed_pre_key_id: u32,
    /// The responder's one-time pre key.
    pub pre_key_id: u32,
}

/// Reads the ephemeral key. No MAC covers how it is written, and it tells key exchanges from each other: in another
/// writing an old one would pass for a new one.
fn read_ephemeral(wire: Wire, field: Option<Vec<u8>>) -> Result<PublicKey> {
    let key = wire::read_key(wire, &required(field)?)?;
    match key.is_canonical() {
        true => Ok(key),
        false => Err(Error::new(Status::KeyExchangeFailed, "An ephemeral key is not in its own form.")),
    }
}

/// Whether a key that is not marked as either holds a key exchange. Old clients of the legacy namespace mark none; there
/// the two cannot be confused, for in a message the field 1 is a key, and in a key exchange a number.
pub fn is_unmarked_exchange(namespace: Namespace, bytes: &[u8]) -> bool {
    namespace.profile().wire == Wire::Versioned
        && wire::strip_version(bytes)
            .and_then(wire::decode::<wire::VersionedKeyExchange>)
            .is_ok_and(|outer| outer.pre_key_id.is_some() && outer.message.is_some())
}

/// A key exchange that was read. Nothing in it is authenticated before its message was opened.
#[derive(Clone, Debug)]
pub struct KeyExchange {
    namespace: Namespace,
    id: ExchangeId,
    identity_ed: Option<[u8; 32]>,
    message: RatchetMessage,
}

impl KeyExchange {
    /// Reads a key exchange.
    pub fn parse(namespace: Namespace, bytes: &[u8]) -> Result<KeyExchange> {
        match namespace.profile().wire {
            Wire::Plain => KeyExchange::parse_plain(namespace, bytes),
            Wire::Versioned => KeyExchange::parse_versioned(namespace, bytes),
        }
    }

    fn parse_plain(namespace: Namespace, bytes: &[u8]) -> Result<KeyExchange> {
        let outer: wire::PlainKeyExchange = wire::decode(bytes)?;
        let ed: [u8; 32] = required(outer.identity_key)?
            .try_into()
            .map_err(|_| wire::malformed("An identity key has the wrong length."))?;
        let identity = convert::ed_to_mont(&ed)
            .ok_or_else(|| Error::new(Status::KeyExchangeFailed, "An identity key is not fit for use."))?;
        let id = ExchangeId {
            ephemeral: read_ephemeral(Wire::Plain, outer.ephemeral_key)?,
            identity,
            signed_pre_key_id: required(outer.signed_pre_key_id)?,
            pre_key_id: required(outer.pre_key_id)?,
        };
        let message = RatchetMessage::from_plain(namespace, required(outer.message)?)?;
        Ok(KeyExchange { namespace, id, identity_ed: Some(ed), message })
    }

    fn parse_versioned(namespace: Namespace, bytes: &[u8]) -> Result<KeyExchange> {
        let outer: wire::VersionedKeyExchange = wire::decode(wire::strip_version(bytes)?)?;
        let identity = *wire::read_key(Wire::Versioned, &required(outer.identity_key)?)?.as_bytes();
        let usable = convert::mont_to_ed(&identity, false).and_then(|ed| convert::ed_to_mont(&ed));
        if usable != Some(identity) {
            return Err(Error::new(Status::KeyExchangeFailed, "An identity key is not fit for use."));
        }
        let id = ExchangeId {
            ephemeral: read_ephemeral(Wire::Versioned, outer.ephemeral_key)?,
            identity,
            signed_pre_key_id: required(outer.signed_pre_key_id)?,
            pre_key_id: required(outer.pre_key_id)?,
        };
        let message = RatchetMessage::parse(namespace, &required(outer.message)?)?;
        Ok(KeyExchange { namespace, id, identity_ed: None, message })
    }

    /// Wraps a message of the session, as long as the responder has not answered.
    pub(super) fn write(
        namespace: Namespace,
        id: &ExchangeId,
        identity_ed: &[u8; 32],
        message: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let wire = namespace.profile().wire;
        let ephemeral_key = Some(wire::write_key(wire, id.ephemeral.as_bytes()));
        let (pre_key_id, signed_pre_key_id) = (Some(id.pre_key_id), Some(id.signed_pre_key_id));
        Ok(match wire {
            Wire::Plain => {
                let (identity_key, message) = (Some(identity_ed.to_vec()), Some(wire::decode(&message)?));
                wire::PlainKeyExchange { pre_key_id, signed_pre_key_id, identity_key, ephemeral_key, message }
                    .encode_to_vec()
            }
            Wire::Versioned => wire::versioned(&wire::VersionedKeyExchange {
                pre_key_id,
                ephemeral_key,
                identity_key: Some(wire::write_key(wire, &id.identity)),
                message: Some(message),
                registration_id: None,
                signed_pre_key_id,
            }),
        })
    }

    /// Its namespace.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// What tells it from others.
    pub fn id(&self) -> &ExchangeId {
        &self.id
    }

    /// The initiator's identity key in Curve25519 form; it is fit for use.
    pub fn identity_mont(&self) -> &[u8; 32] {
        &self.id.identity
    }

    /// The same in Ed25519 form, where the namespace sends that; legacy leaves its sign open.
    pub fn identity_ed(&self) -> Option<&[u8; 32]> {
        self.identity_ed.as_ref()
    }

    /// The message inside.
    pub fn message(&self) -> &RatchetMessage {
        &self.message
    }

    /// Whether this session was begun by this key exchange of the other side's.
    pub fn same_session(&self, session: &Session) -> bool {
        let theirs = session.exchange_id();
        let same_ephemeral: bool = self.id.ephemeral.as_bytes().ct_eq(theirs.ephemeral.as_bytes()).into();
        !session.is_initiator()
            && session.namespace() == self.namespace
            && same_ephemeral
            && bool::from(self.id.identity.ct_eq(&theirs.identity))
            // The session authenticates the sign, too, where this namespace sends it.
            && self.identity_ed.as_ref().is_none_or(|ed| session.peer_ed() == Some(ed))
            && self.id == *theirs
    }
}
