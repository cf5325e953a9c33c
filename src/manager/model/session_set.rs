//! The sessions with one device: the current one, which alone sends, and its predecessors, which only decrypt what was
//! on its way. Why each was archived decides how long it stays, and whether it may become current again.

use super::super::policy;
use crate::protocol::limits;

/// Why a session is not the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum ArchiveReason {
    /// A key exchange of either side took its place. Decrypts, and may become current again.
    Superseded,
    /// It was given up. Decrypts, and never sends again.
    Retired,
}

/// One predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::manager) struct ArchivedSlot {
    pub(in crate::manager) slot: u32,
    pub(in crate::manager) reason: ArchiveReason,
    /// When it was archived or last decrypted something, in wall-clock milliseconds.
    pub(in crate::manager) since_ms: i64,
    /// The account's epoch then: one of an earlier epoch counts as retired.
    pub(in crate::manager) epoch: u32,
    /// The other side has answered us on it.
    pub(in crate::manager) answered: bool,
    /// The other side was known to have it when it was archived.
    pub(in crate::manager) confirmed: bool,
    /// The other side has answered us on it while it was the current one: no session that it had replaced is chosen again.
    pub(in crate::manager) chosen: bool,
    pub(in crate::manager) order: SessionOrder,
}

/// The order in which things happened to a session. It is no time, but counts the sessions with the device that had been
/// archived before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct SessionOrder {
    /// It began.
    pub(in crate::manager) began: u32,
    /// It became the current one, the last time.
    pub(in crate::manager) became_current: u32,
    /// Something was sent on our ratchet key, at the earliest.
    pub(in crate::manager) sent: u32,
}

impl ArchivedSlot {
    /// Returns why it is not the current one, in an account of this epoch.
    pub(in crate::manager) fn reason_in(&self, epoch: u32) -> ArchiveReason {
        if self.epoch == epoch { self.reason } else { ArchiveReason::Retired }
    }

    /// Returns whether its time has passed.
    fn is_expired(&self, epoch: u32, wall_ms: i64) -> bool {
        let kept = match self.reason_in(epoch) {
            ArchiveReason::Retired => policy::RETIRED_MS,
            ArchiveReason::Superseded => policy::SUPERSEDED_MS,
        };
        self.since_ms < wall_ms.saturating_sub(kept)
    }
}

/// The predecessors, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct Archive {
    pub(in crate::manager) slots: Vec<ArchivedSlot>,
    pub(in crate::manager) last_slot: u32,
}

impl Archive {
    /// Returns those that still decrypt, the youngest first.
    pub(in crate::manager) fn readable(
        &self,
        epoch: u32,
        wall_ms: i64,
    ) -> impl Iterator<Item = &ArchivedSlot> {
        self.slots.iter().rev().filter(move |slot| !slot.is_expired(epoch, wall_ms))
    }

    /// Takes out those whose time has passed and those that are too many: in all, and of those never answered.
    pub(in crate::manager) fn take_surplus(&mut self, epoch: u32, wall_ms: i64) -> Vec<ArchivedSlot> {
        let unanswered = self.slots.iter().filter(|slot| !slot.answered).count();
        let mut few = unanswered.saturating_sub(policy::ARCHIVED_UNANSWERED);
        let mut gone = Vec::new();
        let mut kept = Vec::new();
        for slot in self.slots.drain(..) {
            let surplus = few > 0 && !slot.answered;
            few = few.saturating_sub(surplus.into());
            if surplus || slot.is_expired(epoch, wall_ms) { gone.push(slot) } else { kept.push(slot) }
        }
        let surplus = kept.len().saturating_sub(limits::ARCHIVED_SESSIONS);
        gone.extend(kept.drain(..surplus));
        self.slots = kept;
        gone
    }

    /// Returns whether the other side has answered us on one that was archived after this one.
    pub(in crate::manager) fn is_overtaken(&self, slot: u32) -> bool {
        self.slots.iter().any(|other| other.slot > slot && other.chosen)
    }

    pub(in crate::manager) fn remove(&mut self, slot: u32) {
        self.slots.retain(|other| other.slot != slot);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn slot(number: u32, reason: ArchiveReason, since_days: i64, answered: bool) -> ArchivedSlot {
        let (confirmed, order) = (answered, SessionOrder::default());
        ArchivedSlot {
            slot: number,
            reason,
            since_ms: since_days * DAY,
            epoch: 0,
            answered,
            confirmed,
            chosen: answered,
            order,
        }
    }

    #[test]
    fn each_reason_has_its_age() {
        let archive = Archive {
            slots: vec![
                slot(1, ArchiveReason::Superseded, 0, true),
                slot(2, ArchiveReason::Retired, 0, true),
            ],
            last_slot: 2,
        };
        let readable = |days: i64, epoch: u32| -> Vec<u32> {
            archive.readable(epoch, days * DAY).map(|slot| slot.slot).collect()
        };
        assert_eq!(readable(30, 0), [2, 1]);
        assert_eq!(readable(31, 0), [1]);
        assert_eq!(readable(90, 0), [1]);
        assert_eq!(readable(91, 0), [0_u32; 0]);
        assert_eq!(readable(31, 1), [0_u32; 0], "of an earlier epoch all are retired");
    }

    #[test]
    fn sessions_that_were_never_answered_take_no_room_from_the_others() {
        let mut archive = Archive::default();
        for number in 0..20 {
            archive.slots.push(slot(number, ArchiveReason::Superseded, 0, number < 10));
        }
        let gone: Vec<u32> = archive.take_surplus(0, 0).iter().map(|slot| slot.slot).collect();
        assert_eq!(gone, [10, 11, 12, 13, 14]);
        assert_eq!(archive.slots.len(), 15);
    }
}
