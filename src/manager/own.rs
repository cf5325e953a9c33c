//! This device: its id, its pre keys, and the bundle that is made of them. How they get to the server: `publish`.

use super::account::Account;
use super::clock::Now;
use super::records::{self, AccountRecord, HighestRecord, OwnRecord, PairRecord, SignedRecord};
use crate::crypto::keys::{KeyPair, PublicKey};
use crate::crypto::rng::draw;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::bundle::{Bundle, PublicPreKey};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use crate::protocol::pre_key::SignedPreKey;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Pre keys of a full bundle (XEP-0384 4.2 recommends about 100).
const PRE_KEYS: usize = 100;

fn pair_record(id: u32, pair: &KeyPair) -> PairRecord {
    PairRecord { id, private: pair.private().to_vec(), public: pair.public().as_bytes().to_vec() }
}

fn pair_of(record: &PairRecord) -> Result<KeyPair> {
    let private = records::secret32(&record.private, "a pre key")?;
    let public = PublicKey::from_bytes(records::bytes32(&record.public, "a pre key")?);
    Ok(KeyPair::from_stored(private, public))
}

impl OwnRecord {
    /// The signed pre key with this id, if it is the current or the previous one.
    pub(super) fn signed_pre_key(&self, id: u32) -> Result<Option<KeyPair>> {
        let both = [&self.signed, &self.previous];
        let pairs = both.into_iter().flatten().filter_map(|signed| signed.pair.as_ref());
        pairs.filter(|pair| pair.id == id).map(pair_of).next().transpose()
    }

    /// The one-time pre key with this id.
    pub(super) fn pre_key(&self, id: u32) -> Result<Option<KeyPair>> {
        self.pre_keys.iter().find(|pair| pair.id == id).map(pair_of).transpose()
    }

    /// Forgets a pre key that a key exchange has used up, and remembers the exchange.
    pub(super) fn use_up(&mut self, id: u32, exchange: [u8; 16]) {
        self.pre_keys.retain(|pair| pair.id != id);
        self.processed.push(exchange.to_vec());
        let surplus = self.processed.len().saturating_sub(limits::REMEMBERED_EXCHANGES);
        self.processed.drain(..surplus);
    }

    fn bundle(&self, namespace: Namespace, identity_key: [u8; 32]) -> Result<Bundle> {
        let missing = || records::corrupt("the pre keys", "holds no signed pre key");
        let signed = self.signed.as_ref().ok_or_else(missing)?;
        let pair = signed.pair.as_ref().ok_or_else(missing)?;
        let pre_keys = self
            .pre_keys
            .iter()
            .map(|pair| Ok(PublicPreKey { id: pair.id, key: records::bytes32(&pair.public, "a pre key")? }));
        Ok(Bundle {
            namespace,
            identity_key,
            signed_pre_key_id: pair.id,
            signed_pre_key: records::bytes32(&pair.public, "the signed pre key")?,
            signature: signed.signature.as_slice().try_into().map_err(|_| missing())?,
            pre_keys: pre_keys.collect::<Result<_>>()?,
        })
    }
}

/// What a key exchange is remembered by.
pub(super) fn exchange_hash(identity: &[u8; 32], ephemeral: &[u8; 32]) -> [u8; 16] {
    let full: [u8; 32] = Sha256::new().chain_update(ephemeral).chain_update(identity).finalize().into();
    let mut half = [0; 16];
    half.iter_mut().zip(full).for_each(|(out, byte)| *out = byte);
    half
}

fn highest(account: &mut AccountRecord, namespace: Namespace) -> Result<&mut HighestRecord> {
    let code = namespace.code();
    if !account.highest.iter().any(|highest| highest.namespace == code) {
        account.highest.push(HighestRecord { namespace: code, ..HighestRecord::default() });
    }
    account.highest.iter_mut().find(|highest| highest.namespace == code).ok_or(Error::from(Status::Internal))
}

fn next_id(last: &mut u32) -> Result<u32> {
    let next = last.checked_add(1).filter(|next| *next <= DeviceId::MAX);
    *last = next.ok_or(Error::new(Status::Limit, "All ids of pre keys are used up."))?;
    Ok(*last)
}

/// Fills the pre keys up again. Ids are drawn with the key and never come back.
pub(super) fn refill(account: &mut Account, namespace: Namespace) -> Result<()> {
    let missing = PRE_KEYS.saturating_sub(account.own(namespace)?.pre_keys.len());
    if missing == 0 {
        return Ok(());
    }
    let mut fresh = Vec::with_capacity(missing);
    for _ in 0..missing {
        let pair = KeyPair::generate(&mut *account.rng)?;
        let id = next_id(&mut highest(account.account_mut()?, namespace)?.pre_key)?;
        fresh.push(pair_record(id, &pair));
    }
    let own = account.own_mut(namespace)?;
    own.pre_keys.extend(fresh);
    own.bundle_pending = true;
    Ok(())
}

/// Makes the keys of namespaces that are served for the first time, and fills up those of the others.
pub(super) fn make_namespaces(account: &mut Account, now: Now) -> Result<()> {
    for namespace in account.config.namespaces.clone() {
        if !account.account()?.namespaces.contains(&namespace.code()) {
            let id = next_id(&mut highest(account.account_mut()?, namespace)?.signed_pre_key)?;
            let (identity, rng) = account.identity_and_rng()?;
            let signed = SignedPreKey::generate(namespace, identity, id, rng)?;
            let signed = SignedRecord {
                pair: Some(pair_record(id, &signed.pair)),
                signature: signed.signature.to_vec(),
                made: now.wall,
            };
            let record = OwnRecord {
                signed: Some(signed),
                bundle_pending: true,
                list_pending: true,
                ..OwnRecord::default()
            };
            account.stage_own(namespace, record);
            account.account_mut()?.namespaces.push(namespace.code());
        }
        refill(account, namespace)?;
    }
    Ok(())
}

impl Account {
    /// The own device id, once it was chosen.
    pub(super) fn device_id(&self) -> Result<Option<DeviceId>> {
        Ok(DeviceId::new(self.account()?.device_id))
    }

    /// The own bundle as it is to be published.
    pub(super) fn own_bundle(&self, namespace: Namespace) -> Result<Bundle> {
        self.own(namespace)?.bundle(namespace, *self.identity()?.public().ed())
    }

    /// Draws an id that is not taken; everything has to be published under it.
    pub(super) fn choose_device_id(&mut self, taken: &BTreeSet<u32>) -> Result<DeviceId> {
        loop {
            let id = u32::from_le_bytes(*draw::<4>(&mut *self.rng)?) & DeviceId::MAX;
            if let Some(device) = DeviceId::new(id).filter(|_| !taken.contains(&id)) {
                self.account_mut()?.device_id = id;
                for namespace in self.config.namespaces.clone() {
                    let own = self.own_mut(namespace)?;
                    own.bundle_pending = true;
                    own.list_pending = true;
                    // Nobody has anything under a fresh id.
                    self.connection.own_looked_at.insert(namespace);
                }
                return Ok(device);
            }
        }
    }
}

/// Whether a JID is the own one.
pub(super) fn is_own(account: &Account, jid: &BareJid) -> bool {
    account.config.jid == *jid
}
