//! The sessions with one device in one namespace: the current one, its skipped keys, and its predecessors.
//!
//! Only the current one sends. Predecessors decrypt what was on its way: those that a key exchange replaced become
//! current again when they did (that is how a simultaneous beginning heals), those that were given up never do.

use super::account::Account;
use super::clock::Now;
use super::layout::SessionKey;
use super::records::{self, ArchiveEntry, ArchiveRecord, ArchivedRecord, Reason, SessionRecord};
use crate::error::{Error, Result, Status};
use crate::protocol::key_exchange::KeyExchange;
use crate::protocol::limits;
use crate::protocol::ratchet_message::RatchetMessage;
use crate::protocol::session::{Limits, Session, Step};
use crate::protocol::skipped::SkippedKeys;
use crate::storage::Batch;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// How long a retired session decrypts: 30 days.
const RETIRED_MS: i64 = 30 * 24 * 3_600_000;

/// What is stored of the current session.
#[derive(Clone, Default)]
pub(super) struct Stored {
    /// The current session.
    pub(super) session: Option<Session>,
    /// The account's epoch when it was last the current one.
    pub(super) epoch: u32,
    /// The ratchet key for which a heartbeat was caused.
    pub(super) heartbeat: Vec<u8>,
    revision: u64,
}

impl Stored {
    /// Loads the current session.
    pub(super) fn load(account: &Account, key: &SessionKey) -> Result<Stored> {
        let Some(record) = account.load::<SessionRecord>(&key.session())? else {
            return Ok(Stored::default());
        };
        if record.jid != key.jid.as_str() {
            return Err(records::corrupt("a session", "names another JID"));
        }
        let session = Session::decode(&record.session)?;
        if session.namespace() != key.namespace {
            return Err(records::corrupt("a session", "is of another namespace"));
        }
        let heartbeat = record.heartbeat.clone();
        Ok(Stored { session: Some(session), epoch: record.epoch, heartbeat, revision: 0 })
    }

    /// Makes a change visible to `write`.
    fn changed(mut self) -> Stored {
        self.revision = self.revision.wrapping_add(1);
        self
    }

    /// Adds what changed to a commit.
    pub(super) fn write(&self, key: &SessionKey, before: Option<&Stored>, batch: &mut Batch) {
        if before.is_some_and(|before| before.revision == self.revision) {
            return;
        }
        match &self.session {
            Some(session) => {
                let record = SessionRecord {
                    jid: key.jid.as_str().to_owned(),
                    session: session.encode().to_vec(),
                    epoch: self.epoch,
                    heartbeat: self.heartbeat.clone(),
                    ..SessionRecord::default()
                };
                batch.put(key.session(), records::encode(&record));
            }
            None => batch.delete(key.session()),
        }
    }
}

/// Which of the sessions with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Current,
    Archived(u32, Reason),
}

/// A session, its skipped keys if they were needed, and where it lies.
struct Candidate {
    which: Which,
    session: Session,
    skipped: Option<SkippedKeys>,
}

/// What a message opened.
pub(super) struct Opened {
    pub(super) step: Step,
    which: Which,
}

/// A view of the sessions with one device, during one call.
pub(super) struct Sessions<'a> {
    account: &'a mut Account,
    key: SessionKey,
    now: Now,
}

impl<'a> Sessions<'a> {
    pub(super) fn new(account: &'a mut Account, key: &SessionKey, now: Now) -> Sessions<'a> {
        Sessions { account, key: key.clone(), now }
    }

    /// The session that may send: of this epoch, and with the identity key that was judged.
    pub(super) fn sending(&mut self, identity: &[u8]) -> Result<Option<Session>> {
        let epoch = self.account.account()?.epoch;
        let stored = self.account.session(&self.key)?;
        let usable = |session: &&Session| bool::from(session.peer_mont().as_slice().ct_eq(identity));
        Ok(stored.session.as_ref().filter(|_| stored.epoch == epoch).filter(usable).cloned())
    }

    /// Whether there is a session that may send, whoever it is with.
    pub(super) fn current(&mut self) -> Result<Option<Session>> {
        let epoch = self.account.account()?.epoch;
        let stored = self.account.session(&self.key)?;
        Ok(stored.session.as_ref().filter(|_| stored.epoch == epoch).cloned())
    }

    /// Stores the current session after a step of its ratchet.
    pub(super) fn update(&mut self, session: Session) -> Result<()> {
        let before = Stored::clone(&*self.account.session(&self.key)?);
        let stored = Stored { session: Some(session), ..before }.changed();
        self.account.stage_session(self.key.clone(), stored);
        Ok(())
    }

    /// Notes that a heartbeat was caused for the other side's ratchet key. False: it was before.
    pub(super) fn note_heartbeat(&mut self, ratchet_key: &[u8; 32]) -> Result<bool> {
        let before = Stored::clone(&*self.account.session(&self.key)?);
        if before.heartbeat == ratchet_key {
            return Ok(false);
        }
        let stored = Stored { heartbeat: ratchet_key.to_vec(), ..before }.changed();
        self.account.stage_session(self.key.clone(), stored);
        Ok(true)
    }

    /// Puts a session in the place of the current one, which is archived.
    pub(super) fn replace(
        &mut self,
        session: Session,
        skipped: Option<&SkippedKeys>,
        reason: Reason,
    ) -> Result<()> {
        self.archive_current(reason)?;
        let epoch = self.account.account()?.epoch;
        let stored = Stored { session: Some(session), epoch, heartbeat: Vec::new(), revision: 0 };
        let revision = self.account.session(&self.key)?.revision;
        self.account.stage_session(self.key.clone(), Stored { revision, ..stored }.changed());
        self.stage_skipped(skipped);
        Ok(())
    }

    /// Gives the current session up: it still decrypts, and never sends again.
    pub(super) fn retire(&mut self) -> Result<()> {
        self.archive_current(Reason::Retired)?;
        let before = Stored::clone(&*self.account.session(&self.key)?);
        if before.session.is_some() {
            self.account.stage_session(self.key.clone(), Stored { session: None, ..before }.changed());
            self.account.stage_raw(self.key.skipped(), None);
        }
        Ok(())
    }

    /// Forgets all sessions with the device.
    pub(super) fn forget(&mut self) -> Result<()> {
        let before = Stored::clone(&*self.account.session(&self.key)?);
        if before.session.is_some() {
            self.account.stage_session(self.key.clone(), Stored { session: None, ..before }.changed());
            self.account.stage_raw(self.key.skipped(), None);
        }
        if self.account.load_raw(&self.key.archive())?.is_some() {
            for entry in self.archive()?.entries {
                self.account.stage_raw(self.key.archived(entry.slot), None);
            }
            self.account.stage_raw(self.key.archive(), None);
        }
        Ok(())
    }

    fn stage_skipped(&mut self, skipped: Option<&SkippedKeys>) {
        let value = skipped.filter(|skipped| !skipped.is_empty()).map(SkippedKeys::encode);
        self.account.stage_raw(self.key.skipped(), value);
    }

    fn archive(&self) -> Result<ArchiveRecord> {
        let bytes = self.account.load_raw(&self.key.archive())?;
        let Some(bytes) = bytes else {
            return Ok(ArchiveRecord { jid: self.key.jid.as_str().to_owned(), ..ArchiveRecord::default() });
        };
        let archive: ArchiveRecord = records::decode(&bytes)?;
        if archive.jid != self.key.jid.as_str() {
            return Err(records::corrupt("the archive of a session", "names another JID"));
        }
        Ok(archive)
    }

    fn stage_archive(&mut self, archive: &ArchiveRecord) {
        self.account.stage_raw(self.key.archive(), Some(Zeroizing::new(records::encode(archive))));
    }

    fn archive_current(&mut self, reason: Reason) -> Result<()> {
        let stored = self.account.session(&self.key)?;
        let Some(session) = &stored.session else { return Ok(()) };
        // A session of an earlier epoch was given up, whatever takes its place now.
        let reason = if stored.epoch == self.account.account()?.epoch { reason } else { Reason::Retired };
        let skipped = match session.skipped_keys() {
            0 => Vec::new(),
            _ => self.account.load_raw(&self.key.skipped())?.map(|bytes| bytes.to_vec()).unwrap_or_default(),
        };
        let record =
            ArchivedRecord { session: session.encode().to_vec(), skipped, ..ArchivedRecord::default() };
        let mut archive = self.archive()?;
        let slot = archive.last_slot.checked_add(1).ok_or(Error::from(Status::Limit))?;
        archive.last_slot = slot;
        archive.entries.push(ArchiveEntry {
            slot,
            reason: reason.code(),
            since: self.now.wall,
            epoch: stored.epoch,
        });
        self.account.stage_raw(self.key.archived(slot), Some(Zeroizing::new(records::encode(&record))));
        let surplus = archive.entries.len().saturating_sub(limits::ARCHIVED_SESSIONS);
        let oldest = self.now.wall.saturating_sub(RETIRED_MS);
        let epoch = self.account.account()?.epoch;
        let gone = |position: usize, entry: &ArchiveEntry| {
            position < surplus || (entry.reason_now(epoch) == Reason::Retired && entry.since < oldest)
        };
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for (position, entry) in archive.entries.drain(..).enumerate() {
            if gone(position, &entry) { dropped.push(entry) } else { kept.push(entry) }
        }
        archive.entries = kept;
        for entry in dropped {
            self.account.stage_raw(self.key.archived(entry.slot), None);
        }
        self.stage_archive(&archive);
        Ok(())
    }

    /// The current session, then its predecessors, the youngest first.
    fn candidates(&mut self) -> Result<Vec<Candidate>> {
        let mut candidates: Vec<Candidate> = self.current_candidate()?.into_iter().collect();
        let oldest = self.now.wall.saturating_sub(RETIRED_MS);
        let epoch = self.account.account()?.epoch;
        for entry in self.archive()?.entries.iter().rev() {
            let reason = entry.reason_now(epoch);
            if reason == Reason::Retired && entry.since < oldest {
                continue;
            }
            let bytes = self.account.load_raw(&self.key.archived(entry.slot))?;
            let bytes = bytes.ok_or_else(|| records::corrupt("an archived session", "is missing"))?;
            let record: ArchivedRecord = records::decode(&bytes)?;
            let session = Session::decode(&record.session)?;
            let skipped = match record.skipped.is_empty() {
                true => None,
                false => Some(SkippedKeys::decode(&record.skipped)?),
            };
            candidates.push(Candidate { which: Which::Archived(entry.slot, reason), session, skipped });
        }
        Ok(candidates)
    }

    fn current_candidate(&mut self) -> Result<Option<Candidate>> {
        let stored = self.account.session(&self.key)?;
        Ok(stored.session.clone().map(|session| Candidate { which: Which::Current, session, skipped: None }))
    }

    fn load_skipped(&self, candidate: &mut Candidate, message: &RatchetMessage) -> Result<()> {
        if candidate.which == Which::Current
            && candidate.skipped.is_none()
            && candidate.session.needs_skipped(message)
        {
            let bytes = self.account.load_raw(&self.key.skipped())?;
            let bytes = bytes.ok_or_else(|| records::corrupt("skipped message keys", "is missing"))?;
            candidate.skipped = Some(SkippedKeys::decode(&bytes)?);
        }
        Ok(())
    }

    /// The session that this key exchange began, if there is one.
    pub(super) fn begun_by(&mut self, exchange: &KeyExchange) -> Result<Option<[u8; 32]>> {
        let candidates = self.candidates()?;
        let same = candidates.iter().find(|candidate| exchange.same_session(&candidate.session));
        Ok(same.map(|candidate| *candidate.session.peer_mont()))
    }

    /// Tries the one session that this key exchange began.
    pub(super) fn open_exchange(
        &mut self,
        exchange: &KeyExchange,
        limits: &Limits,
        budget: &mut usize,
    ) -> Result<Opened> {
        for mut candidate in self.candidates()? {
            if exchange.same_session(&candidate.session) {
                self.load_skipped(&mut candidate, exchange.message())?;
                return self.attempt(&candidate, exchange.message(), limits, budget);
            }
        }
        Err(Status::NoSession.into())
    }

    /// Tries the sessions with this device on a message: first those that know its chain, then, since every attempt
    /// costs a key agreement, the current one and a few that were replaced lately.
    pub(super) fn open(
        &mut self,
        message: &RatchetMessage,
        limits: &Limits,
        budget: &mut usize,
    ) -> Result<Opened> {
        // The ordinary case loads nothing but the current session.
        let current = self.current_candidate()?;
        if let Some(mut current) = current {
            self.load_skipped(&mut current, message)?;
            if current.session.knows(message, current.skipped.as_ref()) {
                match self.attempt(&current, message, limits, budget) {
                    Err(error) if error.status() == Status::DecryptionFailed => (),
                    result => return result,
                }
            }
        }
        let mut candidates = self.candidates()?;
        if candidates.is_empty() {
            return Err(Status::NoSession.into());
        }
        let mut speculative = 0_usize;
        let mut unknown = Vec::new();
        for mut candidate in candidates.drain(..) {
            self.load_skipped(&mut candidate, message)?;
            if candidate.session.knows(message, candidate.skipped.as_ref()) {
                if candidate.which == Which::Current {
                    continue;
                }
                match self.attempt(&candidate, message, limits, budget) {
                    Err(error) if error.status() == Status::DecryptionFailed => (),
                    result => return result,
                }
            } else {
                unknown.push(candidate);
            }
        }
        let mut failure = Error::from(Status::DecryptionFailed);
        for candidate in unknown {
            let superseded = matches!(candidate.which, Which::Archived(_, Reason::Superseded));
            speculative = speculative.saturating_add(superseded.into());
            let tried = candidate.which == Which::Current
                || (superseded && speculative <= limits::SPECULATIVE_SESSIONS);
            if !tried {
                continue;
            }
            match self.attempt(&candidate, message, limits, budget) {
                Err(error) if error.status() == Status::DecryptionFailed => (),
                Err(error) if error.status() == Status::TooManySkipped => failure = error,
                result => return result,
            }
        }
        Err(failure)
    }

    fn attempt(
        &mut self,
        candidate: &Candidate,
        message: &RatchetMessage,
        limits: &Limits,
        budget: &mut usize,
    ) -> Result<Opened> {
        let rng = &mut *self.account.rng;
        let step = candidate.session.decrypt(message, candidate.skipped.as_ref(), limits, budget, rng)?;
        Ok(Opened { step, which: candidate.which })
    }

    /// Stores what a message led to. A session that was replaced and still decrypts is current again.
    pub(super) fn keep(&mut self, opened: Opened) -> Result<Zeroizing<Vec<u8>>> {
        let Step { session, skipped, plaintext } = opened.step;
        match opened.which {
            Which::Current => {
                self.update(session)?;
                if skipped.is_some() {
                    self.stage_skipped(skipped.as_ref());
                }
            }
            Which::Archived(slot, Reason::Superseded) if self.may_send(&session)? => {
                let skipped = match skipped {
                    Some(skipped) => Some(skipped),
                    None => self.archived_skipped(slot)?,
                };
                self.remove(slot)?;
                self.replace(session, skipped.as_ref(), Reason::Superseded)?;
            }
            Which::Archived(slot, _) => {
                let skipped = match skipped {
                    Some(skipped) => Some(skipped),
                    None => self.archived_skipped(slot)?,
                };
                let skipped = skipped.map(|skipped| skipped.encode().to_vec()).unwrap_or_default();
                let record = ArchivedRecord {
                    session: session.encode().to_vec(),
                    skipped,
                    ..ArchivedRecord::default()
                };
                let bytes = Zeroizing::new(records::encode(&record));
                self.account.stage_raw(self.key.archived(slot), Some(bytes));
            }
        }
        Ok(plaintext)
    }

    /// Whether a session is with the identity key that is confirmed for the device, if one is.
    fn may_send(&mut self, session: &Session) -> Result<bool> {
        let record = self.account.jid(&self.key.jid)?;
        let device = record.device(self.key.device);
        Ok(device.is_none_or(|device| !device.is_confirmed() || device.identity == session.peer_mont()))
    }

    fn archived_skipped(&self, slot: u32) -> Result<Option<SkippedKeys>> {
        let Some(bytes) = self.account.load_raw(&self.key.archived(slot))? else { return Ok(None) };
        let record: ArchivedRecord = records::decode(&bytes)?;
        match record.skipped.is_empty() {
            true => Ok(None),
            false => SkippedKeys::decode(&record.skipped).map(Some),
        }
    }

    fn remove(&mut self, slot: u32) -> Result<()> {
        let mut archive = self.archive()?;
        archive.entries.retain(|entry| entry.slot != slot);
        self.account.stage_raw(self.key.archived(slot), None);
        self.stage_archive(&archive);
        Ok(())
    }
}
