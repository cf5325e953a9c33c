//! The sessions with one device in one namespace, as a view of a transaction: the current one, its skipped keys, its
//! predecessors, and what was decrypted of the chains that are over.

use super::super::model::address::SessionAddress;
use super::super::model::identity::Identity;
use super::super::model::session_set::{Archive, ArchiveReason, Epoch, Predecessor, SessionOrder};
use super::super::model::standing::Standing;
use super::super::policy;
use super::current_session::CurrentSession;
use super::keys;
use super::records::sessions::{ArchiveRecord, ArchivedRecord};
use super::records::{self, corrupt};
use super::transaction::Tx;
use crate::crypto::keys::PublicKey;
use crate::error::{Error, Result, Status};
use crate::protocol::closed_chains::{self, ChainEvent, ChainRecord, Quota};
use crate::protocol::messages::ratchet_message::RatchetMessage;
use crate::protocol::session::Session;
use crate::protocol::skipped_keys::SkippedKeys;
use std::sync::Arc;
use zeroize::Zeroizing;

/// See the module.
pub(in crate::manager) struct Sessions<'t, 'a> {
    pub(super) tx: &'t mut Tx<'a>,
    pub(super) at: SessionAddress,
    /// What is remembered of the chain that was looked up last.
    pub(super) looked_up: Option<(PublicKey, Option<ChainRecord>)>,
}

impl<'t, 'a> Sessions<'t, 'a> {
    pub(in crate::manager) fn new(tx: &'t mut Tx<'a>, at: &SessionAddress) -> Sessions<'t, 'a> {
        Sessions { tx, at: at.clone(), looked_up: None }
    }

    pub(super) fn epoch(&self) -> Result<Epoch> {
        Ok(self.tx.account()?.epoch())
    }

    pub(super) fn identity(&mut self) -> Result<Identity> {
        let contact = self.tx.contact(&self.at.jid)?;
        Ok(contact.device(self.at.device).map(|device| device.identity.clone()).unwrap_or_default())
    }

    /// Returns the current session with what is remembered beside it, if it may send: one of an earlier epoch, or with
    /// another key than the device's, may not.
    pub(in crate::manager) fn for_sending(&mut self) -> Result<Option<Arc<CurrentSession>>> {
        let (epoch, identity) = (self.epoch()?, self.identity()?);
        let current = self.tx.current_session(&self.at)?;
        let usable = |current: &Arc<CurrentSession>| {
            let session = current.session.as_ref();
            current.epoch == epoch.number
                && session.is_some_and(|session| identity.sends(session.peer_mont()))
        };
        Ok(Some(current).filter(usable))
    }

    /// Returns the session that may send.
    pub(in crate::manager) fn session_for_sending(&mut self) -> Result<Option<Session>> {
        Ok(self.for_sending()?.and_then(|current| current.session.clone()))
    }

    /// Returns whether there is a current session, whether or not it may send.
    pub(in crate::manager) fn has_current(&mut self) -> Result<bool> {
        Ok(self.tx.current_session(&self.at)?.session.is_some())
    }

    /// Returns whether the current session was retired with all others, and none has taken its place.
    pub(in crate::manager) fn waits_for_successor(&mut self) -> Result<bool> {
        let (current, epoch) = (self.tx.current_session(&self.at)?, self.epoch()?);
        Ok(current.session.is_some() && current.epoch != epoch.number)
    }

    /// Returns whether the current session was begun here lately and the other side may not have heard of it.
    pub(in crate::manager) fn is_settling(&mut self) -> Result<bool> {
        let (current, epoch) = (self.tx.current_session(&self.at)?, self.epoch()?);
        Ok(current.epoch == epoch.number && current.is_settling(self.tx.now.wall_ms))
    }

    /// Stores the current session after a step of its ratchet.
    pub(in crate::manager) fn update(&mut self, session: Session) -> Result<()> {
        let before = self.tx.current_session(&self.at)?;
        let key = before.session.as_ref().map(Session::own_ratchet_key);
        let moved_on = key.is_some_and(|key| key != session.own_ratchet_key());
        let SessionOrder { became_current, sent, .. } = before.order;
        // A step on what was sent before it became the current one may be as old as that.
        let answered = before.answered || (moved_on && sent >= became_current);
        let order = SessionOrder { sent: if moved_on { became_current } else { sent }, ..before.order };
        let sent_before = before.session.as_ref().map_or(0, Session::sending_chain_length);
        let sent_now = session.sending_chain_length().saturating_sub(sent_before);
        // Sending makes the sending chain longer, and nothing else does.
        let (unanswered, last_seen_ms) = if moved_on || sent_now == 0 {
            (0, self.tx.now.wall_ms)
        } else {
            (before.unanswered.saturating_add(sent_now), before.last_seen_ms)
        };
        let before = before.with_session(session);
        let current = CurrentSession { answered, order, unanswered, last_seen_ms, ..before };
        self.tx.put_current_session(&self.at, current);
        Ok(())
    }

    /// Notes that something of the device was decrypted on another session than the current one.
    pub(super) fn note_alive(&mut self) -> Result<()> {
        let before = CurrentSession::clone(&*self.tx.current_session(&self.at)?);
        let last_seen_ms = self.tx.now.wall_ms;
        self.tx.put_current_session(&self.at, CurrentSession { unanswered: 0, last_seen_ms, ..before });
        Ok(())
    }

    /// Notes that a heartbeat was caused for the other side's ratchet key. False: it was before.
    pub(in crate::manager) fn note_heartbeat(&mut self, ratchet_key: &[u8; 32]) -> Result<bool> {
        let before = CurrentSession::clone(&*self.tx.current_session(&self.at)?);
        if before.heartbeat == ratchet_key {
            return Ok(false);
        }
        let current = CurrentSession { heartbeat: ratchet_key.to_vec(), ..before };
        self.tx.put_current_session(&self.at, current);
        Ok(true)
    }

    /// Puts a new session in the place of the current one, which is archived as superseded.
    pub(in crate::manager) fn replace(
        &mut self,
        session: Session,
        skipped: Option<&SkippedKeys>,
    ) -> Result<()> {
        self.replace_by(session, skipped, None)
    }

    /// The same with one that was archived, as `predecessor` says.
    pub(super) fn replace_by(
        &mut self,
        session: Session,
        skipped: Option<&SkippedKeys>,
        predecessor: Option<&Predecessor>,
    ) -> Result<()> {
        let before = self.tx.current_session(&self.at)?;
        self.archive_current(ArchiveReason::Superseded)?;
        let wall_ms = self.tx.now.wall_ms;
        // What was not answered on a session that was given up counts no more.
        let epoch = self.epoch()?;
        let unanswered_before = if before.epoch == epoch.number { before.unanswered } else { 0 };
        let unconfirmed = |old: &Session| before.epoch == epoch.number && !old.is_confirmed();
        let goes_on = session.is_initiator() && before.session.as_ref().is_some_and(unconfirmed);
        let became_current = match before.session {
            Some(_) => self.read_archive()?.last_slot,
            None => 0,
        };
        let order = match predecessor.map(|predecessor| predecessor.order) {
            Some(order) if session.sending_chain_length() > 0 => SessionOrder { became_current, ..order },
            Some(order) => SessionOrder { became_current, sent: became_current, ..order },
            None => SessionOrder { began: became_current, became_current, sent: became_current },
        };
        let answered = predecessor.is_some_and(|predecessor| is_answer(predecessor, &session, before.order));
        // Whoever begins a session, or uses an older one, is there.
        let (unanswered, last_seen_ms) = match predecessor {
            None if session.is_initiator() => {
                (unanswered_before.saturating_add(session.sending_chain_length()), before.last_seen_ms)
            }
            _ => (0, wall_ms),
        };
        let current = CurrentSession {
            session: Some(session),
            answered,
            order,
            epoch: epoch.number,
            heartbeat: Vec::new(),
            begun_ms: wall_ms,
            unanswered_ms: if goes_on { before.unanswered_ms } else { wall_ms },
            unanswered,
            last_seen_ms,
        };
        self.tx.put_current_session(&self.at, current);
        self.put_skipped(skipped);
        Ok(())
    }

    /// Archives a session that was begun with a key for which the device's other key does not vouch: it is read, and
    /// takes no other session's place.
    pub(in crate::manager) fn add_beside(
        &mut self,
        session: &Session,
        skipped: Option<&SkippedKeys>,
    ) -> Result<()> {
        let never_current = CurrentSession { epoch: self.epoch()?.number, ..CurrentSession::default() };
        let skipped = skipped.map(|skipped| skipped.encode().to_vec()).unwrap_or_default();
        self.archive(session, skipped, ArchiveReason::Superseded, &never_current)
    }

    /// Gives the current session up: it still decrypts, and never sends again; what waits to be sent on it does not.
    pub(in crate::manager) fn retire_current(&mut self) -> Result<()> {
        self.archive_current(ArchiveReason::Retired)?;
        let before = self.tx.current_session(&self.at)?;
        if before.session.is_some() {
            // What begins next goes on from there.
            let last_seen_ms = before.last_seen_ms;
            let current = CurrentSession { last_seen_ms, ..CurrentSession::default() };
            self.tx.put_current_session(&self.at, current);
            self.put_skipped(None);
        }
        Ok(())
    }

    /// Gives up all sessions with the device: they still decrypt, and none of them becomes current again.
    pub(in crate::manager) fn retire_all(&mut self) -> Result<()> {
        self.retire_current()?;
        let mut archive = self.read_archive()?;
        let discarded = self.discard_surplus(&mut archive)?;
        if archive.retire_all(self.epoch()?, self.tx.accumulated_ms()?) || discarded {
            self.put_archive(&archive);
        }
        Ok(())
    }

    pub(super) fn put_skipped(&mut self, skipped: Option<&SkippedKeys>) {
        let value = skipped.filter(|skipped| !skipped.is_empty()).map(SkippedKeys::encode);
        self.tx.put_raw(keys::skipped(&self.at), value);
    }

    // -- The archive --

    pub(super) fn read_archive(&self) -> Result<Archive> {
        match self.tx.raw(&keys::archive(&self.at))? {
            Some(bytes) => records::decode::<ArchiveRecord>(&bytes)?.archive(self.at.jid.as_str()),
            None => Ok(Archive::default()),
        }
    }

    pub(super) fn put_archive(&mut self, archive: &Archive) {
        let record = ArchiveRecord::new(self.at.jid.as_str(), archive);
        self.tx.put_raw(keys::archive(&self.at), Some(records::encode(record)));
    }

    fn archive_current(&mut self, reason: ArchiveReason) -> Result<()> {
        let current = self.tx.current_session(&self.at)?;
        let Some(session) = &current.session else { return Ok(()) };
        let skipped = match session.skipped_keys() {
            0 => Vec::new(),
            _ => self.tx.raw(&keys::skipped(&self.at))?.map(|bytes| bytes.to_vec()).unwrap_or_default(),
        };
        self.archive(session, skipped, reason, &current)
    }

    fn archive(
        &mut self,
        session: &Session,
        skipped: Vec<u8>,
        reason: ArchiveReason,
        current: &CurrentSession,
    ) -> Result<()> {
        let mut archive = self.read_archive()?;
        let slot = archive.last_slot.checked_add(1).ok_or(Error::from(Status::Limit))?;
        archive.last_slot = slot;
        // One of an earlier epoch was retired when this one began.
        let (epoch, accumulated_ms) = (self.epoch()?, self.tx.accumulated_ms()?);
        let since_ms = if current.epoch == epoch.number { accumulated_ms } else { epoch.since_ms };
        let answered = session.is_answered();
        let confirmed = session.is_confirmed();
        archive.predecessors.push(Predecessor {
            slot,
            reason,
            since_ms,
            epoch: current.epoch,
            answered,
            confirmed,
            answered_as_current: current.answered,
            order: current.order,
        });
        let (session, skipped) = if answered { (session.clone(), skipped) } else { slim(session, skipped)? };
        self.put_archived(slot, &session, skipped);
        self.discard_surplus(&mut archive)?;
        self.put_archive(&archive);
        Ok(())
    }

    pub(super) fn put_archived(&mut self, slot: u32, session: &Session, skipped: Vec<u8>) {
        let record =
            ArchivedRecord { session: session.encode().to_vec(), skipped, ..ArchivedRecord::default() };
        self.tx.put_raw(keys::archived(&self.at, slot), Some(records::encode(record)));
    }

    pub(super) fn read_archived(&self, slot: u32) -> Result<(Session, Option<SkippedKeys>)> {
        let bytes = self.tx.raw(&keys::archived(&self.at, slot))?;
        let bytes = bytes.ok_or_else(|| corrupt("an archived session", "is missing"))?;
        let record: ArchivedRecord = records::decode(&bytes)?;
        let skipped =
            if record.skipped.is_empty() { None } else { Some(SkippedKeys::decode(&record.skipped)?) };
        Ok((Session::decode(&record.session)?, skipped))
    }

    // -- What was decrypted --

    /// Notes what a message changed of a chain that is over.
    pub(super) fn note_chain(&mut self, event: Option<&ChainEvent>) -> Result<()> {
        let Some(event) = event else { return Ok(()) };
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("closed-chain-forgotten") {
            return Ok(());
        }
        let quota = match self.tx.standing(&self.at.jid) {
            Standing::Known => Quota::Known,
            Standing::Stranger => Quota::Stranger,
        };
        let load = &mut |number| self.tx.raw(&keys::chains(&self.at, number));
        let page = closed_chains::note(event, quota, load)?;
        self.tx.put_raw(keys::chains(&self.at, page.number), Some(Zeroizing::new(page.bytes)));
        Ok(())
    }

    /// Returns whether a message was decrypted, as far as is remembered of its chain; `None`: nothing is.
    pub(in crate::manager) fn was_decrypted(&mut self, message: &RatchetMessage) -> Result<Option<bool>> {
        let header = message.header();
        let record = match &self.looked_up {
            Some((key, record)) if *key == header.ratchet_key => record,
            _ => {
                let load = &mut |number| self.tx.raw(&keys::chains(&self.at, number));
                let found = closed_chains::find(&header.ratchet_key, load)?;
                &self.looked_up.insert((header.ratchet_key, found)).1
            }
        };
        Ok(record.as_ref().map(|record| record.is_decrypted(header.n)))
    }
}

impl Sessions<'_, '_> {
    /// Returns whether a message was decrypted by any session that is stored, or that is remembered: also by those that are
    /// not read any more.
    pub(in crate::manager) fn was_decrypted_by_any(&mut self, message: &RatchetMessage) -> Result<bool> {
        if self.was_decrypted(message)? == Some(true) {
            return Ok(true);
        }
        let current = self.tx.current_session(&self.at)?;
        if let Some(session) = &current.session {
            let bytes = match session.skipped_keys() {
                0 => None,
                _ => self.tx.raw(&keys::skipped(&self.at))?,
            };
            let skipped = bytes.map(|bytes| SkippedKeys::decode(&bytes)).transpose()?;
            if has_decrypted(session, skipped.as_ref(), message) {
                return Ok(true);
            }
        }
        for predecessor in self.read_archive()?.predecessors {
            // One that cannot be read knows nothing.
            if let Ok((session, skipped)) = self.read_archived(predecessor.slot)
                && has_decrypted(&session, skipped.as_ref(), message)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns whether a session has decrypted a message on the chain on which new messages come.
fn has_decrypted(session: &Session, skipped: Option<&SkippedKeys>, message: &RatchetMessage) -> bool {
    let header = message.header();
    matches!(session.closed_chain(skipped), Some(ChainEvent::Closed(chain, record))
        if chain == header.ratchet_key && record.is_decrypted(header.n))
}

/// Returns whether the other side has answered us, by the message that makes an archived session the current one again, on
/// what we sent after the session began that it replaces: then it uses this one. What was sent before says so only where
/// the other side was not known to have it: who has a session and begins another one has lost it.
fn is_answer(predecessor: &Predecessor, session: &Session, replaced: SessionOrder) -> bool {
    let moved_on = session.is_answered() && session.sending_chain_length() == 0;
    moved_on && (predecessor.order.sent >= replaced.began || !predecessor.confirmed)
}

/// What is kept of a session that was never answered: few of its skipped keys, the youngest.
fn slim(session: &Session, skipped: Vec<u8>) -> Result<(Session, Vec<u8>)> {
    if skipped.is_empty()
        || usize::try_from(session.skipped_keys()).unwrap_or(usize::MAX) <= policy::SKIPPED_UNANSWERED
    {
        return Ok((session.clone(), skipped));
    }
    let (session, few) = session.keep_youngest(&SkippedKeys::decode(&skipped)?, policy::SKIPPED_UNANSWERED);
    Ok((session, few.encode().to_vec()))
}
