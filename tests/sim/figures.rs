//! What a run counts: how much of what happened in it, and which excuses it needed.

use crate::excuse::Excuse;
use std::collections::BTreeMap;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Texts that were encrypted.
    Written,
    /// Texts that could not be encrypted, because a server failed or nobody was trusted.
    Unsent,
    /// Texts that a device had to read and did, once for each device.
    Read,
    Omemo2,
    Legacy,
    RustFace,
    CFace,
    Restarts,
    Duplicates,
    Reorderings,
    Lost,
    Simultaneous,
    /// Last messages of a chain that came after the first of the next one.
    LateLast,
    Judgements,
    Restored,
    /// Older copies that what stood on the server gave away.
    Shown,
    RolledBack,
    Reused,
    Carbons,
    RoomMessages,
    CatchUps,
    Archived,
    Refused,
    FailedRequests,
    Reinstalled,
    Purged,
    Replaced,
    /// Calls that replace the sessions with everybody.
    ReplacedAll,
    /// Older copies that were shown, and found out.
    Noticed,
    /// Empty messages that were delivered and could not be read, with an excuse.
    EmptyUnread,
    /// Messages that were decrypted before and are a failure to decrypt when they come again.
    Unrecognised,
    /// Texts of other implementations that were read.
    OfOthers,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub counts: BTreeMap<Count, usize>,
    pub excuses: BTreeMap<Excuse, usize>,
}

impl Figures {
    pub fn add(&mut self, what: Count) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn set(&mut self, what: Count, number: usize) {
        self.counts.insert(what, number);
    }

    pub fn of(&self, what: Count) -> usize {
        self.counts.get(&what).copied().unwrap_or_default()
    }

    pub fn excused(&self) -> usize {
        self.excuses.values().sum()
    }

    pub fn merge(&mut self, other: &Figures) {
        other.counts.iter().for_each(|(what, number)| *self.counts.entry(*what).or_default() += number);
        other.excuses.iter().for_each(|(what, number)| *self.excuses.entry(*what).or_default() += number);
    }
}
