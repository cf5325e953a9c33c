//! This device's pre keys in one namespace.

use super::super::super::model::pre_keys::{OneTimeKey, PreKeyStore, ProcessedExchange, SignedKey};
use super::super::super::model::standing::Standing;
use super::{bytes32, corrupt, record, secret32};
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::crypto::silent::silent;
use crate::error::Result;
use crate::protocol::limits;
use prost::Message;
use zeroize::Zeroize;

silent! { PreKeysRecord PairRecord SignedRecord ExchangeRecord }
record!(PreKeysRecord, "the pre keys", [4 => 2 * limits::PRE_KEYS_PER_BUNDLE, 5 => 2 * limits::REMEMBERED_EXCHANGES]);

/// A key pair with its id.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct PairRecord {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(bytes = "vec", tag = "2")]
    private: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    public: Vec<u8>,
    /// When it was used up, in accumulated milliseconds; 0: it was not.
    #[prost(uint64, tag = "4")]
    used_ms: u64,
}

impl Drop for PairRecord {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

impl PairRecord {
    fn new(id: u32, pair: &KeyPair, used_ms: Option<u64>) -> PairRecord {
        let (private, public) = (pair.private().to_vec(), pair.public().as_bytes().to_vec());
        // At the very beginning used and unused still differ.
        PairRecord { id, private, public, used_ms: used_ms.map_or(0, |used_ms| used_ms.max(1)) }
    }

    fn pair(&self) -> Result<Box<KeyPair>> {
        let private = secret32(&self.private, "a pre key")?;
        let public = PublicKey::from_bytes(bytes32(&self.public, "a pre key")?);
        Ok(Box::new(KeyPair::from_stored(private, public)))
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct SignedRecord {
    #[prost(message, optional, tag = "1")]
    pair: Option<PairRecord>,
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
    /// When it was made, in wall-clock milliseconds.
    #[prost(int64, tag = "3")]
    made_ms: i64,
    /// The same in accumulated time.
    #[prost(uint64, tag = "4")]
    made_accumulated_ms: u64,
}

impl SignedRecord {
    fn new(key: &SignedKey) -> SignedRecord {
        let pair = Some(PairRecord::new(key.id, &key.pair, None));
        let (made_ms, made_accumulated_ms) = (key.made_ms, key.made_accumulated_ms);
        SignedRecord { pair, signature: key.signature.to_vec(), made_ms, made_accumulated_ms }
    }

    fn key(&self) -> Result<SignedKey> {
        let bad = || corrupt("the pre keys", "holds no signed pre key");
        let pair = self.pair.as_ref().ok_or_else(bad)?;
        let signature = self.signature.as_slice().try_into().map_err(|_| bad())?;
        let (made_ms, made_accumulated_ms) = (self.made_ms, self.made_accumulated_ms);
        Ok(SignedKey { id: pair.id, pair: pair.pair()?, signature, made_ms, made_accumulated_ms })
    }
}

/// A key exchange that used a pre key up.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct ExchangeRecord {
    #[prost(uint32, tag = "1")]
    pre_key_id: u32,
    #[prost(bytes = "vec", tag = "2")]
    hash: Vec<u8>,
    /// The index of the message that it was opened with.
    #[prost(uint32, tag = "3")]
    opened: u32,
    /// It was a known JID's.
    #[prost(bool, tag = "4")]
    known: bool,
    /// A few bytes of a hash of that JID.
    #[prost(fixed32, tag = "5")]
    whose: u32,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct PreKeysRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, optional, tag = "2")]
    signed: Option<SignedRecord>,
    #[prost(message, optional, tag = "3")]
    previous: Option<SignedRecord>,
    #[prost(message, repeated, tag = "4")]
    pre_keys: Vec<PairRecord>,
    #[prost(message, repeated, tag = "5")]
    exchanges: Vec<ExchangeRecord>,
    /// The bundle on the server is not this one.
    #[prost(bool, tag = "6")]
    bundle_pending: bool,
}

impl PreKeysRecord {
    pub(in crate::manager::store) fn new(store: &PreKeyStore) -> PreKeysRecord {
        let exchange = |exchange: &ProcessedExchange| ExchangeRecord {
            pre_key_id: exchange.pre_key_id,
            hash: exchange.hash.clone(),
            opened: exchange.opened,
            known: exchange.standing.is_known(),
            whose: exchange.whose,
        };
        PreKeysRecord {
            version: 0,
            signed: Some(SignedRecord::new(&store.signed)),
            previous: store.previous.as_ref().map(SignedRecord::new),
            pre_keys: store
                .pre_keys
                .iter()
                .map(|key| PairRecord::new(key.id, &key.pair, key.used_ms))
                .collect(),
            exchanges: store.exchanges.iter().map(exchange).collect(),
            bundle_pending: store.bundle_pending,
        }
    }

    pub(in crate::manager::store) fn store(&self) -> Result<PreKeyStore> {
        let missing = || corrupt("the pre keys", "holds no signed pre key");
        let used = |pair: &PairRecord| (pair.used_ms != 0).then_some(pair.used_ms);
        let one_time =
            |pair: &PairRecord| Ok(OneTimeKey { id: pair.id, pair: pair.pair()?, used_ms: used(pair) });
        let exchange = |exchange: &ExchangeRecord| ProcessedExchange {
            pre_key_id: exchange.pre_key_id,
            hash: exchange.hash.clone(),
            opened: exchange.opened,
            standing: if exchange.known { Standing::Known } else { Standing::Stranger },
            whose: exchange.whose,
        };
        Ok(PreKeyStore {
            signed: self.signed.as_ref().ok_or_else(missing)?.key()?,
            previous: self.previous.as_ref().map(SignedRecord::key).transpose()?,
            pre_keys: self.pre_keys.iter().map(one_time).collect::<Result<_>>()?,
            exchanges: self.exchanges.iter().map(exchange).collect(),
            bundle_pending: self.bundle_pending,
        })
    }
}
