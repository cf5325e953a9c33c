//! Content that was decrypted and not acknowledged: its index in buckets, and each content.

use super::super::super::model::kept::{KeptContent, KeptEntry, KeptIndex};
use super::super::super::model::standing::Standing;
use super::super::super::policy;
use super::{bytes32, corrupt, record};
use crate::crypto::silent::silent;
use crate::error::Result;
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::KeyParts;
use prost::Message;
use zeroize::Zeroizing;

/// What the records are called in errors.
const INDEX: &str = "the index of kept content";
const CONTENT: &str = "kept content";

silent! { KeptIndexRecord KeptBucketRecord KeptEntryRecord KeptContentRecord }
record!(KeptIndexRecord, "the index of kept content", []);
record!(KeptBucketRecord, "the index of kept content", [2 => 2 * policy::KEPT_CONTENTS]);
record!(KeptContentRecord, "kept content", [], wipes plaintext key tag);

/// Which buckets there are.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct KeptIndexRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// The last receipt that was given; it never goes down.
    #[prost(uint64, tag = "2")]
    last_receipt: u64,
    /// 256 bits: bucket n is stored if bit n & 7 of byte n >> 3 is set.
    #[prost(bytes = "vec", tag = "3")]
    buckets: Vec<u8>,
}

impl KeptIndexRecord {
    pub(in crate::manager::store) fn new(last_receipt: u64, buckets: impl Iterator<Item = u8>) -> Self {
        let mut bits = [0_u8; 32];
        for number in buckets {
            if let Some(byte) = bits.get_mut(usize::from(number >> 3)) {
                *byte |= 1 << (number & 7);
            }
        }
        KeptIndexRecord { version: 0, last_receipt, buckets: bits.to_vec() }
    }

    pub(in crate::manager::store) fn last_receipt(&self) -> u64 {
        self.last_receipt
    }

    /// Returns the buckets that are stored.
    pub(in crate::manager::store) fn buckets(&self) -> Result<Vec<u8>> {
        let bits = bytes32(&self.buckets, INDEX)?;
        let is_set = |number: &u8| {
            bits.get(usize::from(*number >> 3)).is_some_and(|byte| byte & (1 << (*number & 7)) != 0)
        };
        Ok((0..=u8::MAX).filter(is_set).collect())
    }
}

/// One content in the index.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct KeptEntryRecord {
    #[prost(uint64, tag = "1")]
    receipt: u64,
    /// SHA-256 over the message.
    #[prost(bytes = "vec", tag = "2")]
    message: Vec<u8>,
    /// Half a SHA-256 of the sender's JID.
    #[prost(bytes = "vec", tag = "3")]
    whose: Vec<u8>,
    #[prost(uint32, tag = "4")]
    namespace: u32,
    /// Whether the client had named the sender when the message came.
    #[prost(bool, tag = "5")]
    known: bool,
}

impl KeptEntryRecord {
    fn new(receipt: u64, entry: &KeptEntry) -> KeptEntryRecord {
        KeptEntryRecord {
            receipt,
            message: entry.message.to_vec(),
            whose: entry.whose.to_vec(),
            namespace: entry.namespace.code(),
            known: entry.standing.is_known(),
        }
    }

    fn entry(&self) -> Result<(u64, KeptEntry)> {
        let bad = || corrupt(INDEX, "holds an entry that cannot be read");
        let entry = KeptEntry {
            message: bytes32(&self.message, INDEX)?,
            whose: self.whose.as_slice().try_into().map_err(|_| bad())?,
            namespace: Namespace::from_code(self.namespace).ok_or_else(bad)?,
            standing: if self.known { Standing::Known } else { Standing::Stranger },
        };
        Ok((self.receipt, entry))
    }
}

/// One bucket of the index.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct KeptBucketRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<KeptEntryRecord>,
}

impl KeptBucketRecord {
    pub(in crate::manager::store) fn new<'a>(
        entries: impl Iterator<Item = (u64, &'a KeptEntry)>,
    ) -> KeptBucketRecord {
        let entries = entries.map(|(receipt, entry)| KeptEntryRecord::new(receipt, entry)).collect();
        KeptBucketRecord { version: 0, entries }
    }

    /// Adds what stands in a bucket to the index.
    pub(in crate::manager::store) fn read_into(&self, number: u8, index: &mut KeptIndex) -> Result<()> {
        let last = index.last_receipt();
        for record in &self.entries {
            let (receipt, entry) = record.entry()?;
            let fits = (1..=last).contains(&receipt) && KeptIndex::bucket_of(receipt) == number;
            if !fits || !index.add(receipt, entry) {
                return Err(corrupt(INDEX, "contradicts itself"));
            }
        }
        let within = !self.entries.is_empty() && index.len() <= 2 * policy::KEPT_CONTENTS;
        if within { Ok(()) } else { Err(corrupt(INDEX, "holds nothing, or too much")) }
    }
}

/// One content.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct KeptContentRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    receipt: u64,
    #[prost(string, tag = "3")]
    jid: String,
    #[prost(uint32, tag = "4")]
    device: u32,
    #[prost(uint32, tag = "5")]
    namespace: u32,
    /// Empty: it did not come in a room.
    #[prost(string, tag = "6")]
    room: String,
    /// The sender's identity key in Curve25519 form.
    #[prost(bytes = "vec", tag = "7")]
    identity: Vec<u8>,
    /// The same in Ed25519 form, as it was handed out.
    #[prost(bytes = "vec", tag = "8")]
    identity_ed: Vec<u8>,
    /// Empty: a key transport.
    #[prost(bytes = "vec", tag = "9")]
    plaintext: Vec<u8>,
    /// Empty: none.
    #[prost(bytes = "vec", tag = "10")]
    key: Vec<u8>,
    /// What authenticates the payload, if it came with the key; empty: none.
    #[prost(bytes = "vec", tag = "11")]
    tag: Vec<u8>,
    /// Empty: none.
    #[prost(bytes = "vec", tag = "12")]
    iv: Vec<u8>,
    #[prost(bool, tag = "13")]
    new_session: bool,
    #[prost(bool, tag = "14")]
    tag_in_payload: bool,
    /// There is a plaintext, though it may be empty.
    #[prost(bool, tag = "15")]
    has_plaintext: bool,
}

impl KeptContentRecord {
    pub(in crate::manager::store) fn new(receipt: u64, content: &KeptContent) -> KeptContentRecord {
        let key = content.key.as_ref();
        let secret = |bytes: Option<&Zeroizing<Vec<u8>>>| bytes.map(|bytes| bytes.to_vec());
        KeptContentRecord {
            version: 0,
            receipt,
            jid: content.jid.as_str().to_owned(),
            device: content.device.get(),
            namespace: content.namespace.code(),
            room: content.room.as_ref().map(|room| room.as_str().to_owned()).unwrap_or_default(),
            identity: content.mont.to_vec(),
            identity_ed: content.ed.map(|ed| ed.to_vec()).unwrap_or_default(),
            plaintext: secret(content.plaintext.as_ref()).unwrap_or_default(),
            key: secret(key.map(|key| &key.key)).unwrap_or_default(),
            tag: secret(key.and_then(|key| key.tag.as_ref())).unwrap_or_default(),
            iv: key.and_then(|key| key.iv.clone()).unwrap_or_default(),
            new_session: content.new_session,
            tag_in_payload: content.tag_in_payload,
            has_plaintext: content.plaintext.is_some(),
        }
    }

    /// Takes the content out.
    pub(in crate::manager::store) fn content(
        &mut self,
        receipt: u64,
        entry: &KeptEntry,
    ) -> Result<KeptContent> {
        let bad = || corrupt(CONTENT, "contradicts its index");
        let namespace = Namespace::from_code(self.namespace).ok_or_else(bad)?;
        if self.receipt != receipt || namespace != entry.namespace {
            return Err(bad());
        }
        let some = |field: &mut Vec<u8>| (!field.is_empty()).then(|| std::mem::take(field));
        let (tag, iv) = (some(&mut self.tag).map(Zeroizing::new), some(&mut self.iv));
        let key = some(&mut self.key).map(|key| KeyParts { key: Zeroizing::new(key), tag, iv });
        let plaintext = self.has_plaintext.then(|| Zeroizing::new(std::mem::take(&mut self.plaintext)));
        let ed = match self.identity_ed.as_slice() {
            [] => None,
            ed => Some(bytes32(ed, CONTENT)?),
        };
        Ok(KeptContent {
            jid: BareJid::from_normalized(&self.jid),
            device: DeviceId::new(self.device).ok_or_else(bad)?,
            namespace,
            room: (!self.room.is_empty()).then(|| BareJid::from_normalized(&self.room)),
            mont: bytes32(&self.identity, CONTENT)?,
            ed,
            plaintext,
            key,
            new_session: self.new_session,
            tag_in_payload: self.tag_in_payload,
        })
    }
}
