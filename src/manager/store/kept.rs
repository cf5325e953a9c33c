//! Content that is kept until the client has acknowledged it: an index in buckets that is always in memory, and a record for
//! each content, so that one more message rewrites a part of the index only.

use super::super::model::kept::{KeptChanges, KeptContent, KeptEntry, KeptIndex, MessageDigest};
use super::keys;
use super::records::kept::{KeptBucketRecord, KeptContentRecord, KeptIndexRecord};
use super::records::{self, corrupt};
use super::transaction::Tx;
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use crate::storage::Batch;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// Loads the index.
pub(super) fn load(load: impl Fn(&str) -> Result<Option<Zeroizing<Vec<u8>>>>) -> Result<KeptIndex> {
    let Some(bytes) = load(keys::KEPT)? else { return Ok(KeptIndex::default()) };
    let head: KeptIndexRecord = records::decode(&bytes)?;
    let mut index = KeptIndex::new(head.last_receipt());
    for number in head.buckets()? {
        let bytes = load(&keys::kept_bucket(number))?;
        let bytes = bytes.ok_or_else(|| corrupt("the index of kept content", "lacks a part"))?;
        records::decode::<KeptBucketRecord>(&bytes)?.read_into(number, &mut index)?;
    }
    Ok(index)
}

/// Adds the parts of the index that change to a commit.
pub(super) fn write(index: &KeptIndex, changes: &KeptChanges, batch: &mut Batch) {
    if changes.is_empty() {
        return;
    }
    let mut stored: BTreeSet<u8> = index.buckets().collect();
    let changed: BTreeSet<u8> = changes.keys().map(|receipt| KeptIndex::bucket_of(*receipt)).collect();
    for number in changed {
        let before = index.bucket(number).filter(|(receipt, _)| !changes.contains_key(receipt));
        let here = changes.iter().filter(|(receipt, _)| KeptIndex::bucket_of(**receipt) == number);
        let fresh = here.filter_map(|(receipt, entry)| Some((*receipt, entry.as_ref()?)));
        let mut entries = before.chain(fresh).peekable();
        if entries.peek().is_none() {
            stored.remove(&number);
            batch.delete(keys::kept_bucket(number));
        } else {
            stored.insert(number);
            batch.put(keys::kept_bucket(number), records::encode(KeptBucketRecord::new(entries)));
        }
    }
    let kept = changes.iter().filter(|(_, entry)| entry.is_some()).map(|(receipt, _)| *receipt);
    let last = kept.max().unwrap_or_default().max(index.last_receipt());
    batch.put(keys::KEPT, records::encode(KeptIndexRecord::new(last, stored.into_iter())));
}

impl Tx<'_> {
    /// Returns the index as it was before this transaction, of which a call changes something once, at its end.
    fn kept(&self) -> Result<&KeptIndex> {
        Ok(&self.account.loaded()?.kept)
    }

    /// Returns whether nothing is kept.
    pub(in crate::manager) fn keeps_nothing(&self) -> Result<bool> {
        Ok(self.kept()?.len() == 0)
    }

    /// Returns the receipt of what was decrypted of a message before.
    pub(in crate::manager) fn kept_receipt(&self, message: &MessageDigest) -> Result<Option<u64>> {
        Ok(self.kept()?.find(message))
    }

    /// Returns the first receipt after this one, with what the index says of it.
    pub(in crate::manager) fn kept_after(&self, receipt: u64) -> Result<Option<(u64, KeptEntry)>> {
        let kept = self.kept()?;
        Ok(kept.after(receipt).and_then(|receipt| Some((receipt, *kept.get(receipt)?))))
    }

    /// Loads what is kept under a receipt; `None`: nothing.
    pub(in crate::manager) fn kept_content(&self, receipt: u64) -> Result<Option<KeptContent>> {
        let Some(entry) = self.kept()?.get(receipt) else { return Ok(None) };
        let bytes = self.raw(&keys::kept_content(receipt))?;
        let bytes = bytes.ok_or_else(|| corrupt("kept content", "is missing beside its index"))?;
        let mut record: KeptContentRecord = records::decode(&bytes)?;
        let content = record.content(receipt, entry)?;
        if keys::digest(&content.jid) != entry.whose {
            return Err(corrupt("kept content", "contradicts its index"));
        }
        Ok(Some(content))
    }

    /// Keeps a content until it is acknowledged, and returns its receipt. [`Status::Limit`]: too many are kept already.
    pub(in crate::manager) fn keep(&mut self, message: MessageDigest, content: &KeptContent) -> Result<u64> {
        let standing = self.standing(&content.jid);
        let kept = self.kept()?;
        if kept.is_full_for(standing) {
            return Err(Error::new(Status::Limit, "Too much decrypted content was not acknowledged."));
        }
        let receipt = kept.next_receipt(self.now.wall_ms)?;
        let record = records::encode(KeptContentRecord::new(receipt, content));
        self.put_raw(keys::kept_content(receipt), Some(record));
        let (whose, namespace) = (keys::digest(&content.jid), content.namespace);
        self.staged.kept.insert(receipt, Some(KeptEntry { message, whose, namespace, standing }));
        Ok(receipt)
    }

    /// Forgets a content. False: there is none with this receipt.
    pub(in crate::manager) fn forget_kept(&mut self, receipt: u64) -> Result<bool> {
        let is_kept = self.kept()?.get(receipt).is_some();
        if is_kept {
            self.put_raw(keys::kept_content(receipt), None);
            self.staged.kept.insert(receipt, None);
        }
        Ok(is_kept)
    }

    fn forget_kept_where(&mut self, goes: impl Fn(&KeptEntry) -> bool) -> Result<()> {
        let gone: Vec<u64> =
            self.kept()?.iter().filter(|(_, entry)| goes(entry)).map(|(receipt, _)| receipt).collect();
        gone.into_iter().try_for_each(|receipt| self.forget_kept(receipt).map(|_| ()))
    }

    /// Forgets all content of a JID.
    pub(super) fn forget_kept_of(&mut self, jid: &BareJid) -> Result<()> {
        let whose = keys::digest(jid);
        self.forget_kept_where(|entry| entry.whose == whose)
    }

    /// Forgets all content of a namespace.
    pub(in crate::manager) fn forget_kept_in(&mut self, namespace: Namespace) -> Result<()> {
        self.forget_kept_where(|entry| entry.namespace == namespace)
    }

    /// Forgets all content.
    pub(super) fn forget_all_kept(&mut self) -> Result<()> {
        self.forget_kept_where(|_| true)
    }
}
