//! Removes sessions with a device: all of them, or those that cannot be read.

use super::super::policy;
use super::current_session::CurrentSession;
use super::keys;
use super::sessions::Sessions;
use crate::error::{Result, Status};
use crate::protocol::closed_chains;
use crate::protocol::session::Session;
use crate::protocol::skipped_keys::SkippedKeys;

impl Sessions<'_, '_> {
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
