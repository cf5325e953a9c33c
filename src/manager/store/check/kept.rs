//! What is wrong with content that is kept until it is acknowledged.

use super::super::super::model::kept::KeptIndex;
use super::super::keys;
use super::super::records::kept::{KeptBucketRecord, KeptContentRecord, KeptIndexRecord};
use super::super::records::{self, corrupt};
use crate::error::Result;

/// What was read of the index.
pub(super) struct KeptCheck(KeptIndex);

impl Default for KeptCheck {
    fn default() -> KeptCheck {
        KeptCheck(KeptIndex::new(0))
    }
}

impl KeptCheck {
    pub(super) fn see_head(&mut self, bytes: Option<&[u8]>) -> Result<()> {
        let Some(bytes) = bytes else { return Ok(()) };
        let head: KeptIndexRecord = records::decode(bytes)?;
        self.0 = KeptIndex::new(head.last_receipt());
        head.buckets().map(drop)
    }

    pub(super) fn see_bucket(&mut self, number: u8, bytes: Option<&[u8]>) -> Result<()> {
        let bytes = bytes.ok_or_else(|| corrupt("the index of kept content", "lacks a part"))?;
        records::decode::<KeptBucketRecord>(bytes)?.read_into(number, &mut self.0)
    }

    pub(super) fn see_content(&self, receipt: u64, bytes: Option<&[u8]>) -> Result<()> {
        let bytes = bytes.ok_or_else(|| corrupt("kept content", "is missing beside its index"))?;
        let Some(entry) = self.0.get(receipt) else { return Ok(()) };
        let mut record: KeptContentRecord = records::decode(bytes)?;
        let content = record.content(receipt, entry)?;
        if keys::digest(&content.jid) == entry.whose {
            Ok(())
        } else {
            Err(corrupt("kept content", "contradicts its index"))
        }
    }
}
