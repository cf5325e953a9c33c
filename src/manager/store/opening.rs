//! Opening a message: which sessions with a device are tried on it, in which order, and what is stored of the one that
//! wrote it.

use super::super::model::identity::Identity;
use super::super::model::session_set::{ArchiveReason, Predecessor};
use super::keys;
use super::records::corrupt;
use super::sessions::Sessions;
use crate::crypto::keys::PublicKey;
use crate::error::{Error, Result, Status};
use crate::protocol::closed_chains;
use crate::protocol::messages::ratchet_message::RatchetMessage;
use crate::protocol::session::{ChainBudget, Session, Step};
use crate::protocol::skipped_keys::SkippedKeys;
use zeroize::Zeroizing;

/// Sessions with a key that is not the device's any more that are tried on a message.
const EXCLUDED_SESSIONS: usize = crate::protocol::limits::SPECULATIVE_SESSIONS.saturating_add(1);

/// Which of the sessions with a device.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Current,
    Archived(Predecessor),
}

/// A session that may have written a message.
struct Candidate {
    place: Place,
    /// In a place of its own: candidates are moved about, and what is moved leaves a copy behind that nobody wipes.
    session: Box<Session>,
    /// Loaded only where they are needed.
    skipped: Option<SkippedKeys>,
    /// Its identity key is one whose sessions are read.
    readable: bool,
}

impl Candidate {
    fn is_current(&self) -> bool {
        self.place == Place::Current
    }
}

/// What a message opened.
pub(in crate::manager) struct OpenedMessage {
    pub(in crate::manager) step: Step,
    place: Place,
}

/// Whether a failure of one session says nothing about the others.
fn is_miss(status: Status) -> bool {
    // A ratchet key of low order is refused by every session that would have to step, and by none that knows its chain.
    matches!(status, Status::DecryptionFailed | Status::KeyExchangeFailed)
}

impl Sessions<'_, '_> {
    fn current_candidate(&mut self, identity: &Identity) -> Result<Option<Candidate>> {
        let (current, epoch) = (self.tx.current_session(&self.at)?, self.epoch()?);
        let over = epoch.is_over_for(current.epoch, self.tx.accumulated_ms()?);
        Ok(current.session.clone().filter(|_| !over).map(|session| {
            let readable = identity.reads(session.peer_mont());
            Candidate { place: Place::Current, session: Box::new(session), skipped: None, readable }
        }))
    }

    /// Returns the current session, then its predecessors, the youngest first; and why some of these are left out.
    fn candidates(&mut self) -> Result<(Vec<Candidate>, Option<Error>)> {
        let identity = self.identity()?;
        let mut candidates: Vec<Candidate> = self.current_candidate(&identity)?.into_iter().collect();
        let (archive, mut unreadable) = (self.read_archive()?, None);
        for predecessor in archive.readable(self.epoch()?, self.tx.accumulated_ms()?) {
            let (session, skipped) = match self.read_archived(predecessor.slot) {
                Err(error) if error.status() == Status::StorageCorrupt => {
                    unreadable.get_or_insert(error);
                    continue;
                }
                archived => archived?,
            };
            let readable = identity.reads(session.peer_mont());
            let session = Box::new(session);
            candidates.push(Candidate {
                place: Place::Archived(predecessor.clone()),
                session,
                skipped,
                readable,
            });
        }
        Ok((candidates, unreadable))
    }

    fn load_skipped(&self, candidate: &mut Candidate, message: &RatchetMessage) -> Result<()> {
        if candidate.is_current() && candidate.skipped.is_none() && candidate.session.needs_skipped(message) {
            let bytes = self.tx.raw(&keys::skipped(&self.at))?;
            let bytes = bytes.ok_or_else(|| corrupt("skipped message keys", "is missing"))?;
            candidate.skipped = Some(SkippedKeys::decode(&bytes)?);
        }
        Ok(())
    }

    /// Tries the session that a key exchange with these keys began; `None`: there is none. The caller must not rely on the
    /// ids of the pre keys: in a repeated key exchange nobody authenticates them.
    pub(in crate::manager) fn open_begun_by(
        &mut self,
        began: impl Fn(&Session) -> bool,
        message: &RatchetMessage,
        budget: &mut ChainBudget,
    ) -> Result<Option<OpenedMessage>> {
        let (candidates, unreadable) = self.candidates()?;
        let Some(mut candidate) = candidates.into_iter().find(|candidate| began(&candidate.session)) else {
            // It may be of the one that cannot be read.
            return unreadable.map_or(Ok(None), Err);
        };
        self.load_skipped(&mut candidate, message)?;
        self.attempt_readable(&candidate, message, budget).map(Some)
    }

    /// Tries the sessions with this device on a message: first those that know its chain, then, since every attempt
    /// costs a key agreement, the current one and a few that were replaced lately. Sessions that are not read are tried
    /// last, only to tell that it is of one of these.
    pub(in crate::manager) fn open(
        &mut self,
        message: &RatchetMessage,
        budget: &mut ChainBudget,
    ) -> Result<OpenedMessage> {
        // The ordinary case loads nothing but the current session.
        let identity = self.identity()?;
        let mut tried_current = false;
        if let Some(mut current) = self.current_candidate(&identity)?.filter(|current| current.readable) {
            self.load_skipped(&mut current, message)?;
            if current.session.knows(message, current.skipped.as_ref()) {
                tried_current = true;
                match self.attempt(&current, message, budget) {
                    Err(error) if is_miss(error.status()) => (),
                    result => return result,
                }
            }
        }
        if self.was_decrypted(message)? == Some(true) {
            return Err(Status::Duplicate.into());
        }
        let (candidates, unreadable) = self.candidates()?;
        let loaded = candidates.len();
        let (mut readable, others): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| candidate.readable);
        readable.retain(|candidate| !(tried_current && candidate.is_current()));
        let failure = match self.try_all(readable, message, budget) {
            Err(error) if error.status() == Status::NoSession && tried_current => {
                Status::DecryptionFailed.into()
            }
            Err(error) if matches!(error.status(), Status::DecryptionFailed | Status::NoSession) => error,
            result => return result,
        };
        // Sessions whose time has passed, or whose key was replaced, read nothing new. A server's archive that is given again is a duplicate.
        let archived = self.read_archive()?.predecessors.len();
        let more = archived.saturating_add(1) > loaded || !others.is_empty();
        if more && self.was_decrypted_by_any(message)? {
            return Err(Status::Duplicate.into());
        }
        if self.is_of_one(others, message, budget)? {
            Err(Status::PublicDataInconsistency.into())
        } else {
            Err(unreadable.unwrap_or(failure))
        }
    }

    /// Returns whether a message is of one of these sessions, which are not read. All are tried, the retired ones too, but
    /// for a few: what they led to is thrown away.
    fn is_of_one(
        &mut self,
        candidates: Vec<Candidate>,
        message: &RatchetMessage,
        budget: &mut ChainBudget,
    ) -> Result<bool> {
        for mut candidate in candidates.into_iter().take(EXCLUDED_SESSIONS) {
            self.load_skipped(&mut candidate, message)?;
            match self.attempt(&candidate, message, budget) {
                Ok(_) => return Ok(true),
                // Its chain and position are known: it is of this session.
                Err(error) if error.status() == Status::Duplicate => return Ok(true),
                Err(error) if error.is_storage() => return Err(error),
                Err(_) => (),
            }
        }
        Ok(false)
    }

    fn try_all(
        &mut self,
        candidates: Vec<Candidate>,
        message: &RatchetMessage,
        budget: &mut ChainBudget,
    ) -> Result<OpenedMessage> {
        if candidates.is_empty() {
            return Err(Status::NoSession.into());
        }
        let mut stepping = Vec::new();
        for mut candidate in candidates {
            self.load_skipped(&mut candidate, message)?;
            if !candidate.session.knows(message, candidate.skipped.as_ref()) {
                stepping.push(candidate);
                continue;
            }
            match self.attempt(&candidate, message, budget) {
                Err(error) if is_miss(error.status()) => (),
                result => return result,
            }
        }
        let (mut failure, mut archived) = (Error::from(Status::DecryptionFailed), 0_usize);
        for candidate in stepping {
            if !candidate.is_current() {
                // Retired ones as well: the other side may have answered on one before it heard of the next.
                archived = archived.saturating_add(1);
                if archived > crate::protocol::limits::SPECULATIVE_SESSIONS {
                    continue;
                }
            }
            match self.attempt(&candidate, message, budget) {
                Err(error) if is_miss(error.status()) => (),
                Err(error) if error.status() == Status::TooManySkipped => failure = error,
                result => return result,
            }
        }
        Err(failure)
    }

    fn attempt_readable(
        &mut self,
        candidate: &Candidate,
        message: &RatchetMessage,
        budget: &mut ChainBudget,
    ) -> Result<OpenedMessage> {
        let opened = self.attempt(candidate, message, budget)?;
        if candidate.readable { Ok(opened) } else { Err(Status::PublicDataInconsistency.into()) }
    }

    fn attempt(
        &mut self,
        candidate: &Candidate,
        message: &RatchetMessage,
        budget: &mut ChainBudget,
    ) -> Result<OpenedMessage> {
        let (rng, load) = self.tx.rng_and_raw();
        let (at, looked_up) = (&self.at, &mut self.looked_up);
        let mut closed = |ratchet_key: &PublicKey| match &*looked_up {
            Some((key, record)) if key == ratchet_key => Ok(record.clone()),
            _ => {
                let record = closed_chains::find(ratchet_key, &mut |number| load(&keys::chains(at, number)))?;
                *looked_up = Some((*ratchet_key, record.clone()));
                Ok(record)
            }
        };
        let skipped = candidate.skipped.as_ref();
        let step = candidate.session.decrypt(message, skipped, &mut closed, budget, rng)?;
        Ok(OpenedMessage { step, place: candidate.place.clone() })
    }

    /// Stores what a message led to. If the session was superseded and the message moves its chain forward, the other side
    /// still uses it, and it becomes current again. If the other side has answered us on the session that took its place,
    /// the message is only late, and the session stays in the archive. Answers from before the change do not count: they
    /// do not tell which session the other side uses now.
    pub(in crate::manager) fn store(&mut self, opened: OpenedMessage) -> Result<Zeroizing<Vec<u8>>> {
        let Step { session, skipped, plaintext, advanced, chain, .. } = opened.step;
        self.note_chain(chain.as_ref())?;
        match opened.place {
            Place::Current => {
                self.update(session)?;
                if skipped.is_some() {
                    self.put_skipped(skipped.as_ref());
                }
            }
            Place::Archived(predecessor) => {
                let skipped = match skipped {
                    Some(skipped) => Some(skipped),
                    None => self.read_archived(predecessor.slot)?.1,
                };
                if advanced && self.may_promote(&predecessor, &session)? {
                    let mut archive = self.read_archive()?;
                    archive.remove(predecessor.slot);
                    self.tx.put_raw(keys::archived(&self.at, predecessor.slot), None);
                    self.put_archive(&archive);
                    self.replace_by(session, skipped.as_ref(), Some(&predecessor))?;
                } else {
                    self.refresh_archived(predecessor.slot, &session, skipped)?;
                    self.note_alive()?;
                }
            }
        }
        Ok(plaintext)
    }

    fn refresh_archived(&mut self, slot: u32, session: &Session, skipped: Option<SkippedKeys>) -> Result<()> {
        let mut archive = self.read_archive()?;
        let (epoch, accumulated_ms) = (self.epoch()?, self.tx.accumulated_ms()?);
        if let Some(entry) = archive.predecessors.iter_mut().find(|entry| entry.slot == slot) {
            // The age of a retired one counts from when it was given up.
            if entry.reason_in(epoch) == ArchiveReason::Superseded {
                entry.since_ms = accumulated_ms;
            }
            entry.answered |= session.is_answered();
        }
        self.put_archive(&archive);
        self.put_archived(
            slot,
            session,
            skipped.map(|skipped| skipped.encode().to_vec()).unwrap_or_default(),
        );
        Ok(())
    }

    /// Returns whether an archived session may become current again: it was superseded and not retired, under this
    /// device's present id; its key is the peer's, if that is known; and the other side has answered us neither on the
    /// current session, since that became current, nor on one that was archived later.
    fn may_promote(&mut self, predecessor: &Predecessor, session: &Session) -> Result<bool> {
        let fit = predecessor.reason_in(self.epoch()?) == ArchiveReason::Superseded
            && self.identity()?.sends(session.peer_mont());
        let overtaken = self.tx.current_session(&self.at)?.answered
            || self.read_archive()?.is_overtaken(predecessor.slot);
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("retired-session-promoted") {
            return Ok(true);
        }
        Ok(fit && !overtaken)
    }
}
