//! Removes sessions with a device: all of them, those whose time has passed, or those that cannot be read.

use super::super::model::session_set::Archive;
use super::super::policy;
use super::current_session::CurrentSession;
use super::keys;
use super::sessions::Sessions;
use crate::error::{Result, Status};
use crate::protocol::closed_chains;
use crate::protocol::session::Session;
use crate::protocol::skipped_keys::SkippedKeys;

impl Sessions<'_, '_> {
    /// Deletes the sessions whose time has passed: archived ones, and the current one if it was retired with all others.
    pub(in crate::manager) fn discard_expired(&mut self) -> Result<()> {
        if self.is_current_over()? {
            self.retire_current()?;
        }
        let mut archive = self.read_archive()?;
        if self.discard_surplus(&mut archive)? {
            self.put_archive(&archive);
        }
        Ok(())
    }

    /// Returns whether the time of the current session has passed because it was retired with all others. What is read here of
    /// all devices takes no place among the sessions that are in use.
    fn is_current_over(&self) -> Result<bool> {
        let (epoch, accumulated_ms) = (self.epoch()?, self.tx.accumulated_ms()?);
        if epoch.number == 0 {
            return Ok(false);
        }
        let Some(bytes) = self.tx.raw(&keys::session(&self.at))? else { return Ok(false) };
        Ok(epoch.is_over_for(CurrentSession::decode(&bytes, &self.at)?.epoch, accumulated_ms))
    }

    /// Takes those out of the archive whose time has passed or that are too many, and deletes them. Returns whether there were
    /// any.
    pub(super) fn discard_surplus(&mut self, archive: &mut Archive) -> Result<bool> {
        let most = self.tx.config().habits.archived_sessions();
        let surplus = archive.take_surplus(self.epoch()?, self.tx.accumulated_ms()?, most);
        for gone in &surplus {
            self.remember_chain(gone.slot)?;
            self.tx.put_raw(keys::archived(&self.at, gone.slot), None);
        }
        Ok(!surplus.is_empty())
    }

    /// What came on the last chain of a predecessor stays known when the predecessor is deleted.
    fn remember_chain(&mut self, slot: u32) -> Result<()> {
        // One that cannot be read must not keep its successors from being archived.
        let Ok((session, skipped)) = self.read_archived(slot) else { return Ok(()) };
        match self.note_chain(session.closed_chain(skipped.as_ref()).as_ref()) {
            // Nor must a page of chains that cannot be read.
            Err(error) if error.status() == Status::StorageCorrupt => Ok(()),
            noted => noted,
        }
    }

    /// Deletes all sessions with the device, and what is remembered of their chains.
    pub(in crate::manager) fn delete_all(&mut self) -> Result<()> {
        // What cannot be read is deleted as well.
        let before = readable(self.tx.current_session(&self.at))?;
        let had_session = before.as_ref().is_none_or(|before| before.session.is_some());
        if had_session {
            self.tx.put_current_session(&self.at, CurrentSession::default());
            self.put_skipped(None);
        }
        let archived = self.tx.raw(&keys::archive(&self.at))?.is_some();
        if archived {
            match readable(self.read_archive())? {
                None => self.delete_archive(0..policy::ARCHIVE_SLOTS_EMPTIED),
                Some(archive) => self.delete_archive(archive.predecessors.iter().map(|gone| gone.slot)),
            }
        }
        if had_session || archived {
            for page in closed_chains::pages() {
                if self.tx.raw(&keys::chains(&self.at, page))?.is_some() {
                    self.tx.put_raw(keys::chains(&self.at, page), None);
                }
            }
        }
        Ok(())
    }

    /// Removes records of the device that cannot be read, with what nobody can use without them.
    pub(in crate::manager) fn remove_unreadable(&mut self) -> Result<()> {
        let current = readable(self.tx.current_session(&self.at).map(|current| current.session.clone()))?;
        let skipped = readable(self.tx.raw(&keys::skipped(&self.at)).and_then(|bytes| {
            let bytes = bytes.map(|bytes| SkippedKeys::decode(&bytes)).transpose()?;
            Ok(bytes.map_or(0, |skipped| skipped.len()))
        }))?;
        let wanted = current.as_ref().and_then(Option::as_ref).map_or(0, Session::skipped_keys);
        if current.is_none() || skipped.is_none_or(|count| u32::try_from(count) != Ok(wanted)) {
            self.tx.put_current_session(&self.at, CurrentSession::default());
            self.put_skipped(None);
        }
        match readable(self.read_archive())? {
            None => self.delete_archive(0..policy::ARCHIVE_SLOTS_EMPTIED),
            Some(mut archive) => {
                for slot in archive.predecessors.iter().map(|gone| gone.slot).collect::<Vec<_>>() {
                    if readable(self.read_archived(slot))?.is_none() {
                        archive.remove(slot);
                        self.tx.put_raw(keys::archived(&self.at, slot), None);
                        self.put_archive(&archive);
                    }
                }
            }
        }
        for page in closed_chains::pages() {
            let key = keys::chains(&self.at, page);
            let Some(bytes) = self.tx.raw(&key)? else { continue };
            if readable(closed_chains::check(&bytes))?.is_none() {
                self.tx.put_raw(key, None);
            }
        }
        Ok(())
    }

    fn delete_archive(&mut self, slots: impl IntoIterator<Item = u32>) {
        for slot in slots {
            self.tx.put_raw(keys::archived(&self.at, slot), None);
        }
        self.tx.put_raw(keys::archive(&self.at), None);
    }
}

/// Returns what a record holds; `None`: it cannot be read.
fn readable<T>(record: Result<T>) -> Result<Option<T>> {
    match record {
        Err(error) if error.status() == Status::StorageCorrupt => Ok(None),
        record => record.map(Some),
    }
}
