//! The empty messages that wait to be sent.

use super::super::super::model::address::SessionAddress;
use super::super::super::model::outbox::{Outbox, OutboxEntry};
use super::super::super::model::standing::Standing;
use super::{bytes32, corrupt, record};
use crate::crypto::keys::PublicKey;
use crate::crypto::silent::silent;
use crate::error::Result;
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use prost::Message;

silent! { OutboxRecord EntryRecord }
record!(OutboxRecord, "the outbox", [2 => limits::WAITING_MESSAGES + 1]);

/// An empty message.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct EntryRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    jid: String,
    #[prost(uint32, tag = "3")]
    device: u32,
    #[prost(uint32, tag = "4")]
    namespace: u32,
    /// Our ratchet key in the session that it is for.
    #[prost(bytes = "vec", tag = "5")]
    ratchet_key: Vec<u8>,
    /// When it was caused, in accumulated milliseconds.
    #[prost(uint64, tag = "6")]
    since_ms: u64,
    /// It was encrypted: its bytes lie in a record of their own.
    #[prost(bool, tag = "7")]
    encrypted: bool,
    /// Messages that were sent on that ratchet key before.
    #[prost(uint32, tag = "8")]
    sent: u32,
    /// It carries the key exchange.
    #[prost(bool, tag = "9")]
    key_exchange: bool,
    /// The client has named the JID.
    #[prost(bool, tag = "10")]
    known: bool,
}

impl EntryRecord {
    fn new(entry: &OutboxEntry) -> EntryRecord {
        EntryRecord {
            id: entry.id,
            jid: entry.at.jid.as_str().to_owned(),
            device: entry.at.device.get(),
            namespace: entry.at.namespace.code(),
            ratchet_key: entry.ratchet_key.as_bytes().to_vec(),
            since_ms: entry.since_ms,
            encrypted: entry.encrypted,
            sent: entry.sent,
            key_exchange: entry.key_exchange,
            known: entry.standing.is_known(),
        }
    }

    fn entry(&self) -> Result<OutboxEntry> {
        let bad = || corrupt("the outbox", "holds no valid address");
        let at = SessionAddress {
            jid: BareJid::from_normalized(&self.jid),
            device: DeviceId::new(self.device).ok_or_else(bad)?,
            namespace: Namespace::from_code(self.namespace).ok_or_else(bad)?,
        };
        Ok(OutboxEntry {
            id: self.id,
            at,
            ratchet_key: PublicKey::from_bytes(bytes32(&self.ratchet_key, "the outbox")?),
            since_ms: self.since_ms,
            encrypted: self.encrypted,
            key_exchange: self.key_exchange,
            sent: self.sent,
            standing: if self.known { Standing::Known } else { Standing::Stranger },
        })
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(in crate::manager::store) struct OutboxRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<EntryRecord>,
}

impl OutboxRecord {
    pub(in crate::manager::store) fn new(outbox: &Outbox) -> OutboxRecord {
        OutboxRecord { version: 0, entries: outbox.iter().map(EntryRecord::new).collect() }
    }

    pub(in crate::manager::store) fn outbox(&self) -> Result<Outbox> {
        Ok(Outbox::from_stored(self.entries.iter().map(EntryRecord::entry).collect::<Result<_>>()?))
    }
}
