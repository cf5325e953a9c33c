//! The current session with a device, as it is kept in memory and stored.

use super::super::model::address::SessionAddress;
use super::super::model::session_set::SessionOrder;
use super::super::policy;
use super::records::sessions::{OrderRecord, SessionRecord};
use super::records::{self, corrupt};
use crate::error::Result;
use crate::protocol::session::Session;
use zeroize::Zeroizing;

/// The current session with a device, and what is remembered beside it.
#[derive(Clone, Default)]
pub(in crate::manager) struct CurrentSession {
    pub(in crate::manager) session: Option<Session>,
    /// The account's epoch when it last was the current one.
    pub(super) epoch: u32,
    /// The ratchet key for which a heartbeat was caused.
    pub(super) heartbeat: Vec<u8>,
    /// When it was begun, in wall-clock milliseconds.
    pub(in crate::manager) begun_ms: i64,
    /// Since when nothing that was begun here was answered, in wall-clock milliseconds.
    pub(in crate::manager) unanswered_ms: i64,
    /// Messages that were sent to the device since something of it was decrypted, on this session and those before it.
    pub(in crate::manager) unanswered: u32,
    /// When something of the device was last decrypted, in wall-clock milliseconds; 0: never.
    pub(in crate::manager) last_seen_ms: i64,
    /// The other side has answered us on it since it became the current one.
    pub(super) answered: bool,
    pub(super) order: SessionOrder,
}

impl CurrentSession {
    /// About how many bytes one takes in memory.
    pub(super) const BYTES: usize = 1_600;

    pub(super) fn decode(bytes: &[u8], at: &SessionAddress) -> Result<CurrentSession> {
        let record: SessionRecord = records::decode(bytes)?;
        if record.jid != at.jid.as_str() {
            return Err(corrupt("a session", "names another JID"));
        }
        let session = Session::decode(&record.session)?;
        if session.namespace() != at.namespace {
            return Err(corrupt("a session", "is of another namespace"));
        }
        Ok(CurrentSession {
            session: Some(session),
            epoch: record.epoch,
            heartbeat: record.heartbeat.clone(),
            begun_ms: record.begun_ms,
            unanswered_ms: record.unanswered_ms,
            unanswered: record.unanswered,
            last_seen_ms: record.last_seen_ms,
            answered: record.answered,
            order: OrderRecord::order(record.order),
        })
    }

    /// Returns the same with another session.
    pub(super) fn with_session(&self, session: Session) -> CurrentSession {
        CurrentSession { session: Some(session), heartbeat: self.heartbeat.clone(), ..*self }
    }

    /// Writes its record; `None`: there is no session, and nothing is remembered.
    pub(super) fn encode(&self, at: &SessionAddress) -> Option<Zeroizing<Vec<u8>>> {
        let record = SessionRecord {
            jid: at.jid.as_str().to_owned(),
            session: std::mem::take(&mut *self.session.as_ref()?.encode()),
            epoch: self.epoch,
            heartbeat: self.heartbeat.clone(),
            begun_ms: self.begun_ms,
            unanswered_ms: self.unanswered_ms,
            unanswered: self.unanswered,
            last_seen_ms: self.last_seen_ms,
            answered: self.answered,
            order: OrderRecord::new(self.order),
            ..SessionRecord::default()
        };
        Some(records::encode(record))
    }

    /// Returns whether it was begun here lately, and the other side may not have heard of it: what it sends meanwhile may be
    /// of a session that is gone.
    pub(in crate::manager) fn is_settling(&self, wall_ms: i64) -> bool {
        let unconfirmed = |session: &Session| session.is_initiator() && !session.is_confirmed();
        self.session.as_ref().is_some_and(unconfirmed)
            && (0..policy::HEAL_AGAIN_MS).contains(&wall_ms.saturating_sub(self.begun_ms))
    }

    /// Returns whether it was begun here and nothing was answered for so long that its peer may never read it.
    pub(in crate::manager) fn is_unanswered_too_long(&self, wall_ms: i64) -> bool {
        let unanswered = |session: &Session| session.is_initiator() && !session.is_confirmed();
        let since = wall_ms.saturating_sub(self.unanswered_ms);
        self.session.as_ref().is_some_and(unanswered)
            && u64::try_from(since).unwrap_or(0) >= policy::UNANSWERED_MS
    }
}
