//! A key exchange on the wire: what the responder needs for the agreement, around the first message of the session.

use super::super::address::{BareJid, DeviceId};
use super::super::namespace::Namespace;
use super::super::profile::Wire;
use super::fields::{self, required};
use super::ratchet_message::RatchetMessage;
use super::{omemo2, public_key, signal};
use crate::crypto::convert;
use crate::crypto::keys::PublicKey;
use crate::error::{Error, Result, Status};
use prost::Message;
use sha2::{Digest, Sha256};

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

/// What a key exchange is remembered by when its pre key is used up: who sent it, and the two keys of the initiator. The
/// same keys under another name or device id are another key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeHash([u8; 16]);

impl ExchangeHash {
    /// Returns the hash of a key exchange of a device.
    pub fn new(jid: &BareJid, device: DeviceId, exchange: &ExchangeId) -> ExchangeHash {
        // All parts but the last have a fixed length: no two exchanges are the same bytes.
        let full: [u8; 32] = Sha256::new()
            .chain_update(b"libomemo processed key exchange 1\0")
            .chain_update(exchange.ephemeral.as_bytes())
            .chain_update(exchange.identity)
            .chain_update(device.get().to_be_bytes())
            .chain_update(jid.as_str())
            .finalize()
            .into();
        let mut half = [0; 16];
        half.iter_mut().zip(full).for_each(|(out, byte)| *out = byte);
        ExchangeHash(half)
    }

    /// Returns the bytes, to be stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Reads the ephemeral key. No MAC covers how it is written, and it tells key exchanges from each other: in another
/// writing an old one would pass for a new one.
fn read_ephemeral(wire: Wire, field: Option<Vec<u8>>) -> Result<PublicKey> {
    let key = public_key::read_key(wire, &required(field)?)?;
    if key.is_canonical() {
        Ok(key)
    } else {
        Err(Error::new(Status::KeyExchangeFailed, "An ephemeral key is not in canonical form."))
    }
}

/// Whether the bytes of a key hold a key exchange; `None` if they are neither that nor a message. Clients mark key
/// exchanges in many ways, wrongly, or not at all. The bytes cannot be confused: the field 1 of a key exchange is a
/// number, that of a message is a key (legacy) or a MAC.
pub fn holds_exchange(namespace: Namespace, bytes: &[u8]) -> Option<bool> {
    let (exchange, message) = match namespace.profile().wire {
        Wire::Omemo => (
            fields::decode::<omemo2::OmemoKeyExchange>(bytes)
                .is_ok_and(|outer| outer.pre_key_id.is_some() && outer.message.is_some()),
            fields::decode::<omemo2::OmemoAuthenticatedMessage>(bytes)
                .is_ok_and(|outer| outer.mac.is_some() && outer.message.is_some()),
        ),
        Wire::Signal => (
            signal::strip_version(bytes)
                .and_then(fields::decode::<signal::PreKeySignalMessage>)
                .is_ok_and(|outer| outer.pre_key_id.is_some() && outer.message.is_some()),
            RatchetMessage::parse(namespace, bytes).is_ok(),
        ),
    };
    (exchange || message).then_some(exchange)
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
            Wire::Omemo => KeyExchange::parse_plain(namespace, bytes),
            Wire::Signal => KeyExchange::parse_versioned(namespace, bytes),
        }
    }

    fn parse_plain(namespace: Namespace, bytes: &[u8]) -> Result<KeyExchange> {
        let outer: omemo2::OmemoKeyExchange = fields::decode(bytes)?;
        let ed: [u8; 32] = required(outer.identity_key)?
            .try_into()
            .map_err(|_| fields::malformed("An identity key has the wrong length."))?;
        let identity = convert::ed_to_mont(&ed)
            .ok_or_else(|| Error::new(Status::KeyExchangeFailed, "An identity key is not fit for use."))?;
        let id = ExchangeId {
            ephemeral: read_ephemeral(Wire::Omemo, outer.ephemeral_key)?,
            identity,
            signed_pre_key_id: required(outer.signed_pre_key_id)?,
            pre_key_id: required(outer.pre_key_id)?,
        };
        let message = RatchetMessage::from_plain(namespace, required(outer.message)?)?;
        Ok(KeyExchange { namespace, id, identity_ed: Some(ed), message })
    }

    fn parse_versioned(namespace: Namespace, bytes: &[u8]) -> Result<KeyExchange> {
        let outer: signal::PreKeySignalMessage = fields::decode(signal::strip_version(bytes)?)?;
        let identity = *public_key::read_key(Wire::Signal, &required(outer.identity_key)?)?.as_bytes();
        let usable = convert::mont_to_ed(&identity, false).and_then(|ed| convert::ed_to_mont(&ed));
        if usable != Some(identity) {
            return Err(Error::new(Status::KeyExchangeFailed, "An identity key is not fit for use."));
        }
        let id = ExchangeId {
            ephemeral: read_ephemeral(Wire::Signal, outer.ephemeral_key)?,
            identity,
            signed_pre_key_id: required(outer.signed_pre_key_id)?,
            pre_key_id: required(outer.pre_key_id)?,
        };
        let message = RatchetMessage::parse(namespace, &required(outer.message)?)?;
        Ok(KeyExchange { namespace, id, identity_ed: None, message })
    }

    /// Wraps a message of the session, as long as the responder has not answered.
    pub(in crate::protocol) fn write(
        namespace: Namespace,
        id: &ExchangeId,
        identity_ed: &[u8; 32],
        message: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let wire = namespace.profile().wire;
        let ephemeral_key = Some(public_key::write_key(wire, id.ephemeral.as_bytes()));
        let (pre_key_id, signed_pre_key_id) = (Some(id.pre_key_id), Some(id.signed_pre_key_id));
        Ok(match wire {
            Wire::Omemo => {
                let (identity_key, message) = (Some(identity_ed.to_vec()), Some(fields::decode(&message)?));
                omemo2::OmemoKeyExchange {
                    pre_key_id,
                    signed_pre_key_id,
                    identity_key,
                    ephemeral_key,
                    message,
                }
                .encode_to_vec()
            }
            Wire::Signal => signal::versioned(&signal::PreKeySignalMessage {
                pre_key_id,
                ephemeral_key,
                identity_key: Some(public_key::write_key(wire, &id.identity)),
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_exchange_is_remembered_by_all_that_makes_it_another_one() {
        let key = |byte| PublicKey::from_bytes([byte; 32]);
        let id = |ephemeral, identity| ExchangeId {
            ephemeral: key(ephemeral),
            identity: [identity; 32],
            signed_pre_key_id: 1,
            pre_key_id: 2,
        };
        let hash = |jid: &str, device, id: &ExchangeId| {
            ExchangeHash::new(&BareJid::from_normalized(jid), DeviceId::new(device).unwrap(), id)
        };
        let first = hash("romeo@montague.lit", 1, &id(1, 2));
        let all = BTreeSet::from([
            first,
            hash("romeo@montague.li", 1, &id(1, 2)),
            hash("tromeo@montague.lit", 1, &id(1, 2)),
            hash("romeo@montague.lit", 2, &id(1, 2)),
            hash("romeo@montague.lit", 1, &id(2, 2)),
            hash("romeo@montague.lit", 1, &id(1, 1)),
            // The two keys do not stand for each other.
            hash("romeo@montague.lit", 1, &id(2, 1)),
        ]);
        assert_eq!(all.len(), 7);
        // Nobody authenticates the ids before the agreement, and with others it would not succeed.
        let other = ExchangeId { signed_pre_key_id: 3, pre_key_id: 4, ..id(1, 2) };
        assert_eq!(hash("romeo@montague.lit", 1, &other), first);
        let input = [b"libomemo processed key exchange 1\0".as_slice(), &[1; 32], &[2; 32], &[0, 0, 0, 1]];
        let full = Sha256::digest([&input.concat(), b"romeo@montague.lit".as_slice()].concat());
        assert_eq!(first.as_bytes(), &full[..16]);
    }

    #[test]
    fn a_key_exchange_is_told_by_its_pre_key_and_its_message() {
        let halves = [(Some(1), true), (Some(1), false), (None, true), (None, false)];
        for ((pre_key_id, has_message), held) in halves.into_iter().zip([Some(true), None, None, None]) {
            let message = has_message.then(omemo2::OmemoAuthenticatedMessage::default);
            let outer = omemo2::OmemoKeyExchange { pre_key_id, message, ..Default::default() };
            assert_eq!(holds_exchange(Namespace::Omemo2, &outer.encode_to_vec()), held);
            let message = has_message.then(|| vec![7; 40]);
            let outer = signal::PreKeySignalMessage { pre_key_id, message, ..Default::default() };
            let bytes = [&[0x33], outer.encode_to_vec().as_slice()].concat();
            assert_eq!(holds_exchange(Namespace::Legacy, &bytes), held);
        }
        for (mac, message, held) in [(true, true, Some(false)), (true, false, None), (false, true, None)] {
            let [mac, message] = [mac, message].map(|has| has.then(|| vec![7; 16]));
            let inner = omemo2::OmemoAuthenticatedMessage { mac, message };
            assert_eq!(holds_exchange(Namespace::Omemo2, &inner.encode_to_vec()), held);
        }
    }

    #[test]
    fn a_legacy_message_has_version_3_whatever_else_its_sender_can_do() {
        for version in 0..=u8::MAX {
            let stripped = signal::strip_version(&[version, 9]).ok().map(<[u8]>::to_vec);
            assert_eq!(stripped, (version >> 4 == 3).then(|| vec![9]), "{version}");
        }
        assert!(signal::strip_version(&[]).is_err());
    }
}
