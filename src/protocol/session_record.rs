//! A session as it is stored: everything but its skipped keys, so that an ordinary message rewrites a few hundred bytes.
//!
//! Public keys stand beside their private ones, so that loading computes nothing.

use super::chain::{Chain, Secret};
use super::limits;
use super::messages::key_exchange::ExchangeId;
use super::messages::ratchet_message::Parties;
use super::namespace::Namespace;
use super::ranges::Ranges;
use super::ratchet::{KeyAtPn, Ratchet};
use super::role::Role;
use super::session::Session;
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::crypto::silent::silent;
use crate::error::{Error, Result, Status};
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

const VERSION: u32 = 1;

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct TailRecord {
    #[prost(bytes = "vec", tag = "1")]
    ratchet_key: Vec<u8>,
    #[prost(uint32, tag = "2")]
    n: u32,
    #[prost(bytes = "vec", optional, tag = "3")]
    key: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct SessionRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint32, tag = "2")]
    namespace: u32,
    #[prost(bool, tag = "3")]
    initiator: bool,
    #[prost(bool, tag = "4")]
    confirmed: bool,
    #[prost(bytes = "vec", tag = "5")]
    initiator_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    responder_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    peer: Vec<u8>,
    /// The identity key in the key exchange, where it is not the peer's: this side began the session.
    #[prost(bytes = "vec", optional, tag = "8")]
    exchange_identity: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "9")]
    ephemeral: Vec<u8>,
    #[prost(uint32, tag = "10")]
    signed_pre_key_id: u32,
    #[prost(uint32, tag = "11")]
    pre_key_id: u32,
    #[prost(bytes = "vec", tag = "12")]
    root: Vec<u8>,
    #[prost(bytes = "vec", tag = "13")]
    own_private: Vec<u8>,
    #[prost(bytes = "vec", tag = "14")]
    own_public: Vec<u8>,
    #[prost(bytes = "vec", tag = "15")]
    remote: Vec<u8>,
    #[prost(bytes = "vec", tag = "16")]
    sending_key: Vec<u8>,
    #[prost(uint32, tag = "17")]
    sending_length: u32,
    #[prost(bytes = "vec", optional, tag = "18")]
    receiving_key: Option<Vec<u8>>,
    #[prost(uint32, tag = "19")]
    receiving_length: u32,
    #[prost(uint32, tag = "20")]
    pn: u32,
    #[prost(message, repeated, tag = "21")]
    tail: Vec<TailRecord>,
    #[prost(uint32, tag = "22")]
    skipped: u32,
    #[prost(bool, tag = "23")]
    answered: bool,
    /// Of each range how far it begins behind the one before, and its length.
    #[prost(uint32, repeated, tag = "24")]
    evicted: Vec<u32>,
}

silent! { TailRecord SessionRecord }

impl Drop for TailRecord {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Drop for SessionRecord {
    fn drop(&mut self) {
        self.root.zeroize();
        self.own_private.zeroize();
        self.sending_key.zeroize();
        self.receiving_key.zeroize();
    }
}

fn corrupt() -> Error {
    Error::new(Status::StorageCorrupt, "The record of a session cannot be read.")
}

fn bytes(field: &[u8]) -> Result<[u8; 32]> {
    field.try_into().map_err(|_| corrupt())
}

fn secret(field: &[u8]) -> Result<Secret> {
    bytes(field).map(Zeroizing::new)
}

fn public(field: &[u8]) -> Result<PublicKey> {
    bytes(field).map(PublicKey::from_bytes)
}

/// Reads the ranges of evicted keys: a few, and below the index of the next message.
fn evicted(record: &SessionRecord) -> Result<Ranges> {
    let (pairs, rest) = record.evicted.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > limits::CLOSED_CHAIN_RANGES {
        return Err(corrupt());
    }
    let ranges = Ranges::from_numbers(0, pairs.len(), &mut record.evicted.iter().copied());
    let ranges = ranges.filter(|ranges| ranges.end().is_none_or(|end| end <= record.receiving_length));
    ranges.ok_or_else(corrupt)
}

impl Session {
    /// The record of the session.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let ratchet = &self.ratchet;
        let keys_at_pn = ratchet.keys_at_pn.iter().map(|tail| TailRecord {
            ratchet_key: tail.ratchet_key.as_bytes().to_vec(),
            n: tail.n,
            key: tail.key.as_ref().map(|key| key.to_vec()),
        });
        let identity = self.exchange.identity;
        let record = SessionRecord {
            version: VERSION,
            namespace: self.namespace.code(),
            initiator: self.role == Role::Initiator,
            confirmed: self.confirmed,
            initiator_key: self.parties.initiator.to_vec(),
            responder_key: self.parties.responder.to_vec(),
            peer: self.peer.to_vec(),
            exchange_identity: (identity != self.peer).then(|| identity.to_vec()),
            ephemeral: self.exchange.ephemeral.as_bytes().to_vec(),
            signed_pre_key_id: self.exchange.signed_pre_key_id,
            pre_key_id: self.exchange.pre_key_id,
            root: ratchet.root.to_vec(),
            own_private: ratchet.own.private().to_vec(),
            own_public: ratchet.own.public().as_bytes().to_vec(),
            remote: ratchet.remote.as_bytes().to_vec(),
            sending_key: ratchet.sending.key().to_vec(),
            sending_length: ratchet.sending.length(),
            receiving_key: ratchet.receiving.as_ref().map(|chain| chain.key().to_vec()),
            receiving_length: ratchet.receiving.as_ref().map_or(0, Chain::length),
            pn: ratchet.pn,
            tail: keys_at_pn.collect(),
            skipped: self.skipped,
            answered: self.answered,
            evicted: self.evicted.to_numbers(0).collect(),
        };
        Zeroizing::new(record.encode_to_vec())
    }

    /// Reads the record.
    pub fn decode(record: &[u8]) -> Result<Session> {
        // An empty entry takes three bytes here and a hundred in memory: this bounds what the decoder can be made to build.
        if record.len() > limits::SESSION_RECORD_BYTES {
            return Err(corrupt());
        }
        let record = SessionRecord::decode(record).map_err(|_| corrupt())?;
        match record.version {
            0 => return Err(corrupt()),
            VERSION => {}
            _ => return Err(Status::StorageVersion.into()),
        }
        let peer = bytes(&record.peer)?;
        let exchange = ExchangeId {
            ephemeral: public(&record.ephemeral)?,
            identity: record.exchange_identity.as_deref().map_or(Ok(peer), bytes)?,
            signed_pre_key_id: record.signed_pre_key_id,
            pre_key_id: record.pre_key_id,
        };
        let receiving = record.receiving_key.as_deref().map(secret).transpose()?;
        let evicted = evicted(&record)?;
        if record.tail.len() > limits::KEYS_AT_PN {
            return Err(corrupt());
        }
        let keys_at_pn = record.tail.iter().map(|tail| {
            let ratchet_key = public(&tail.ratchet_key)?;
            let key = tail.key.as_deref().map(secret).transpose()?;
            Ok(KeyAtPn { ratchet_key, n: tail.n, key })
        });
        let ratchet = Ratchet {
            root: secret(&record.root)?,
            own: KeyPair::from_stored(secret(&record.own_private)?, public(&record.own_public)?),
            remote: public(&record.remote)?,
            sending: Chain::from_stored(secret(&record.sending_key)?, record.sending_length),
            receiving: receiving.map(|key| Chain::from_stored(key, record.receiving_length)),
            pn: record.pn,
            keys_at_pn: keys_at_pn.collect::<Result<_>>()?,
        };
        Ok(Session {
            namespace: Namespace::from_code(record.namespace).ok_or_else(corrupt)?,
            role: if record.initiator { Role::Initiator } else { Role::Responder },
            confirmed: record.confirmed,
            parties: Parties {
                initiator: bytes(&record.initiator_key)?,
                responder: bytes(&record.responder_key)?,
            },
            peer,
            exchange,
            ratchet,
            skipped: record.skipped,
            answered: record.answered,
            evicted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicted_keys_that_cannot_be_are_refused() {
        let read = |numbers: &[u32], length: u32| {
            let mut record = SessionRecord::default();
            (record.evicted, record.receiving_length) = (numbers.to_vec(), length);
            evicted(&record).map(|ranges| ranges.iter().len()).map_err(|error| error.status())
        };
        assert_eq!(read(&[], 0), Ok(0));
        assert_eq!(read(&[0, 2, 1, 1], 4), Ok(2));
        for (numbers, length) in [
            ([0, 2, 1, 1].as_slice(), 3),          // one that has not come yet
            (&[0, 2, 1], 9),                       // half a range
            (&[0, 2, 0, 1], 9),                    // ranges that touch
            (&[0, 0], 9),                          // an empty one
            (&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 99), // five
            (&[u32::MAX, u32::MAX], u32::MAX),
        ] {
            assert_eq!(read(numbers, length), Err(Status::StorageCorrupt), "{numbers:?}");
        }
    }

    #[test]
    fn numbers_that_are_set_aside_are_skipped() {
        let bytes = record(VERSION, 0).encode_to_vec();
        let known = Session::decode(&bytes).map(|session| session.encode().to_vec()).ok();
        assert!(known.is_some());
        // 25: a message; 26 to 39: bytes.
        let later =
            (25..=39).flat_map(|tag: u32| [0x80 | (tag << 3 & 0x7f) as u8 | 2, (tag >> 4) as u8, 1, 8]);
        let bytes: Vec<u8> = bytes.into_iter().chain(later).collect();
        assert_eq!(Session::decode(&bytes).map(|session| session.encode().to_vec()).ok(), known);
    }

    /// The keys that every record has.
    const KEYS: [fn(&mut SessionRecord) -> &mut Vec<u8>; 9] = [
        |record| &mut record.initiator_key,
        |record| &mut record.responder_key,
        |record| &mut record.peer,
        |record| &mut record.ephemeral,
        |record| &mut record.root,
        |record| &mut record.own_private,
        |record| &mut record.own_public,
        |record| &mut record.remote,
        |record| &mut record.sending_key,
    ];

    /// Makes a record that can be read, with so many chains that are over.
    fn record(version: u32, tail: usize) -> SessionRecord {
        let mut record = SessionRecord::default();
        (record.version, record.namespace) = (version, Namespace::Legacy.code());
        KEYS.iter().for_each(|key| *key(&mut record) = vec![9; 32]);
        record.tail = vec![TailRecord { ratchet_key: vec![8; 32], n: 3, key: Some(vec![7; 32]) }; tail];
        record
    }

    fn read(bytes: &[u8]) -> std::result::Result<Session, Status> {
        Session::decode(bytes).map_err(|error| error.status())
    }

    #[test]
    fn as_many_closed_chains_are_read_as_a_session_keeps_and_no_more() {
        for tail in 0..=limits::KEYS_AT_PN {
            let session = read(&record(VERSION, tail).encode_to_vec()).unwrap();
            assert_eq!(session.ratchet.keys_at_pn.len(), tail);
            assert_eq!(*session.encode(), record(VERSION, tail).encode_to_vec());
        }
        let more = record(VERSION, limits::KEYS_AT_PN.saturating_add(1));
        assert_eq!(read(&more.encode_to_vec()).err(), Some(Status::StorageCorrupt));
    }

    #[test]
    fn a_record_of_a_later_version_is_left_alone_and_one_without_refused() {
        assert_eq!(read(&record(0, 0).encode_to_vec()).err(), Some(Status::StorageCorrupt));
        for version in [2, 3, u32::MAX] {
            assert_eq!(read(&record(version, 0).encode_to_vec()).err(), Some(Status::StorageVersion));
        }
    }

    #[test]
    fn a_record_is_read_up_to_its_largest_size() {
        let sized = |size: usize| {
            let mut bytes = record(VERSION, 1).encode_to_vec();
            // A field that nobody knows: its tag, its length in two bytes, and as much as is wanted.
            let rest = u16::try_from(size.saturating_sub(bytes.len()).saturating_sub(4)).unwrap();
            let [low, high] = [(rest & 0x7f) | 0x80, rest >> 7].map(|byte| u8::try_from(byte).unwrap());
            bytes.extend_from_slice(&[0xfa, 0x07, low, high]);
            bytes.resize(size, 0);
            bytes
        };
        assert!(read(&sized(limits::SESSION_RECORD_BYTES)).is_ok());
        let larger = sized(limits::SESSION_RECORD_BYTES.saturating_add(1));
        assert_eq!(read(&larger).err(), Some(Status::StorageCorrupt));
    }

    #[test]
    fn each_key_of_a_record_has_its_length() {
        for (place, key) in KEYS.iter().enumerate() {
            let mut record = record(VERSION, 0);
            key(&mut record).pop();
            assert_eq!(read(&record.encode_to_vec()).err(), Some(Status::StorageCorrupt), "{place}");
        }
    }
}
