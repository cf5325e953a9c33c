//! The current session with a device, the list of its predecessors, and each of these.

use super::super::super::model::session_set::{Archive, ArchiveReason, Predecessor, SessionOrder};
use super::{corrupt, record};
use crate::crypto::silent::silent;
use crate::error::Result;
use prost::Message;

silent! { SessionRecord OrderRecord ArchiveRecord PredecessorRecord ArchivedRecord }
record!(SessionRecord, "a session", [], wipes session);
record!(ArchiveRecord, "the archive of a session", [3 => 128]);
record!(ArchivedRecord, "an archived session", [], wipes session skipped);

/// The current session with a device.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct SessionRecord {
    #[prost(uint32, tag = "1")]
    pub(in crate::manager::store) version: u32,
    #[prost(string, tag = "2")]
    pub(in crate::manager::store) jid: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(in crate::manager::store) session: Vec<u8>,
    #[prost(uint32, tag = "4")]
    pub(in crate::manager::store) epoch: u32,
    /// The ratchet key for which a heartbeat was caused.
    #[prost(bytes = "vec", tag = "5")]
    pub(in crate::manager::store) heartbeat: Vec<u8>,
    /// When it was begun, in wall-clock milliseconds.
    #[prost(int64, tag = "6")]
    pub(in crate::manager::store) begun_ms: i64,
    /// Since when nothing that we began with the device was answered; 0: something was.
    #[prost(int64, tag = "7")]
    pub(in crate::manager::store) unanswered_ms: i64,
    /// The other side has answered us on it since it became the current one.
    #[prost(bool, tag = "8")]
    pub(in crate::manager::store) answered: bool,
    #[prost(message, optional, tag = "9")]
    pub(in crate::manager::store) order: Option<OrderRecord>,
    /// Messages that were sent to the device since something of it was decrypted.
    #[prost(uint32, tag = "10")]
    pub(in crate::manager::store) unanswered: u32,
    /// When something of the device was last decrypted, in wall-clock milliseconds; 0: never.
    #[prost(int64, tag = "11")]
    pub(in crate::manager::store) last_seen_ms: i64,
}

/// When what happened of a session, by the number of sessions that had been archived with the device.
#[derive(Clone, Copy, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct OrderRecord {
    /// It began.
    #[prost(uint32, tag = "1")]
    began: u32,
    /// It became the current one, the last time.
    #[prost(uint32, tag = "2")]
    became_current: u32,
    /// Something was sent on our ratchet key, at the earliest.
    #[prost(uint32, tag = "3")]
    sent: u32,
}

impl OrderRecord {
    pub(in crate::manager::store) fn new(order: SessionOrder) -> Option<OrderRecord> {
        let SessionOrder { began, became_current, sent } = order;
        Some(OrderRecord { began, became_current, sent })
    }

    pub(in crate::manager::store) fn order(record: Option<OrderRecord>) -> SessionOrder {
        let OrderRecord { began, became_current, sent } = record.unwrap_or_default();
        SessionOrder { began, became_current, sent }
    }
}

const SUPERSEDED: u32 = 1;
const RETIRED: u32 = 2;

/// One predecessor.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct PredecessorRecord {
    #[prost(uint32, tag = "1")]
    slot: u32,
    /// 1: superseded, 2: retired.
    #[prost(uint32, tag = "2")]
    reason: u32,
    /// When it was archived or last decrypted something, in accumulated milliseconds.
    #[prost(uint64, tag = "3")]
    since_ms: u64,
    /// The account's epoch then.
    #[prost(uint32, tag = "4")]
    epoch: u32,
    /// The other side has answered us on it.
    #[prost(bool, tag = "5")]
    answered: bool,
    /// The other side was known to have it when it was archived.
    #[prost(bool, tag = "6")]
    confirmed: bool,
    #[prost(message, optional, tag = "7")]
    order: Option<OrderRecord>,
    /// The other side has answered us on it while it was the current one.
    #[prost(bool, tag = "8")]
    answered_as_current: bool,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct ArchiveRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    jid: String,
    /// The oldest first.
    #[prost(message, repeated, tag = "3")]
    predecessors: Vec<PredecessorRecord>,
    /// The last slot that was used.
    #[prost(uint32, tag = "4")]
    last_slot: u32,
}

impl ArchiveRecord {
    pub(in crate::manager::store) fn new(jid: &str, archive: &Archive) -> ArchiveRecord {
        let record = |predecessor: &Predecessor| PredecessorRecord {
            slot: predecessor.slot,
            reason: match predecessor.reason {
                ArchiveReason::Superseded => SUPERSEDED,
                ArchiveReason::Retired => RETIRED,
            },
            since_ms: predecessor.since_ms,
            epoch: predecessor.epoch,
            answered: predecessor.answered,
            confirmed: predecessor.confirmed,
            order: OrderRecord::new(predecessor.order),
            answered_as_current: predecessor.answered_as_current,
        };
        let predecessors = archive.predecessors.iter().map(record).collect();
        ArchiveRecord { version: 0, jid: jid.to_owned(), predecessors, last_slot: archive.last_slot }
    }

    pub(in crate::manager::store) fn archive(&self, jid: &str) -> Result<Archive> {
        if self.jid != jid {
            return Err(corrupt("the archive of a session", "names another JID"));
        }
        let predecessor = |predecessor: &PredecessorRecord| {
            let reason = match predecessor.reason {
                SUPERSEDED => ArchiveReason::Superseded,
                RETIRED => ArchiveReason::Retired,
                _ => return Err(corrupt("the archive of a session", "names an unknown reason")),
            };
            let (since_ms, epoch, answered) = (predecessor.since_ms, predecessor.epoch, predecessor.answered);
            let (confirmed, answered_as_current, order) = (
                predecessor.confirmed,
                predecessor.answered_as_current,
                OrderRecord::order(predecessor.order),
            );
            Ok(Predecessor {
                slot: predecessor.slot,
                reason,
                since_ms,
                epoch,
                answered,
                confirmed,
                answered_as_current,
                order,
            })
        };
        Ok(Archive {
            predecessors: self.predecessors.iter().map(predecessor).collect::<Result<_>>()?,
            last_slot: self.last_slot,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct ArchivedRecord {
    #[prost(uint32, tag = "1")]
    pub(in crate::manager::store) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::manager::store) session: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(in crate::manager::store) skipped: Vec<u8>,
}
