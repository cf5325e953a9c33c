//! The sessions with one device: the current one, which alone sends, and its predecessors, which only decrypt what was
//! on its way. Why each was archived decides how long it stays, and whether it may become current again.

use super::super::policy;

/// How often all sessions of the account were retired at once, and when that was done last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct Epoch {
    pub(in crate::manager) number: u32,
    /// In accumulated milliseconds (see `rotation`).
    pub(in crate::manager) since_ms: u64,
}

impl Epoch {
    /// Returns whether the time of a session has passed that was retired when this epoch began.
    pub(in crate::manager) fn is_over_for(&self, session_epoch: u32, accumulated_ms: u64) -> bool {
        session_epoch != self.number && accumulated_ms.saturating_sub(self.since_ms) > policy::RETIRED_MS
    }
}

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
pub(in crate::manager) struct Predecessor {
    pub(in crate::manager) slot: u32,
    pub(in crate::manager) reason: ArchiveReason,
    /// When it was archived or last decrypted something, in accumulated milliseconds (see `rotation`).
    pub(in crate::manager) since_ms: u64,
    /// The account's epoch then: one of an earlier epoch counts as retired.
    pub(in crate::manager) epoch: u32,
    /// The other side has answered us on it.
    pub(in crate::manager) answered: bool,
    /// The other side was known to have it when it was archived.
    pub(in crate::manager) confirmed: bool,
    /// The other side has answered us on it while it was the current one: none that it had replaced becomes current again.
    pub(in crate::manager) answered_as_current: bool,
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

impl Predecessor {
    /// Returns why it is not the current one, in an account of this epoch.
    pub(in crate::manager) fn reason_in(&self, epoch: Epoch) -> ArchiveReason {
        if self.epoch == epoch.number { self.reason } else { ArchiveReason::Retired }
    }

    /// Returns whether its time has passed.
    fn is_expired(&self, epoch: Epoch, accumulated_ms: u64) -> bool {
        let (since_ms, kept_ms) = match (self.reason_in(epoch), self.reason) {
            (ArchiveReason::Superseded, _) => (self.since_ms, policy::SUPERSEDED_MS),
            // It was retired when the epoch began.
            (_, ArchiveReason::Superseded) => (self.since_ms.max(epoch.since_ms), policy::RETIRED_MS),
            (..) => (self.since_ms, policy::RETIRED_MS),
        };
        accumulated_ms.saturating_sub(since_ms) > kept_ms
    }
}

/// The predecessors, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct Archive {
    pub(in crate::manager) predecessors: Vec<Predecessor>,
    pub(in crate::manager) last_slot: u32,
}

impl Archive {
    /// Returns those that still decrypt, the youngest first.
    pub(in crate::manager) fn readable(
        &self,
        epoch: Epoch,
        accumulated_ms: u64,
    ) -> impl Iterator<Item = &Predecessor> {
        self.predecessors
            .iter()
            .rev()
            .filter(move |predecessor| !predecessor.is_expired(epoch, accumulated_ms))
    }

    /// Takes out those whose time has passed and those that are too many: in all (`most`), and of those never answered.
    pub(in crate::manager) fn take_surplus(
        &mut self,
        epoch: Epoch,
        accumulated_ms: u64,
        most: usize,
    ) -> Vec<Predecessor> {
        let unanswered = self.predecessors.iter().filter(|predecessor| !predecessor.answered).count();
        let mut few = unanswered.saturating_sub(policy::ARCHIVED_UNANSWERED);
        let mut gone = Vec::new();
        let mut kept = Vec::new();
        for predecessor in self.predecessors.drain(..) {
            let surplus = few > 0 && !predecessor.answered;
            few = few.saturating_sub(surplus.into());
            if surplus || predecessor.is_expired(epoch, accumulated_ms) {
                gone.push(predecessor)
            } else {
                kept.push(predecessor)
            }
        }
        let surplus = kept.len().saturating_sub(most);
        gone.extend(kept.drain(..surplus));
        self.predecessors = kept;
        gone
    }

    /// Returns whether the other side has answered us on one that was archived after this one.
    pub(in crate::manager) fn is_overtaken(&self, slot: u32) -> bool {
        self.predecessors.iter().any(|other| other.slot > slot && other.answered_as_current)
    }

    /// Gives all of them up. Returns whether that changes any.
    pub(in crate::manager) fn retire_all(&mut self, epoch: Epoch, accumulated_ms: u64) -> bool {
        let mut changed = false;
        for predecessor in &mut self.predecessors {
            if predecessor.reason_in(epoch) == ArchiveReason::Superseded {
                (predecessor.reason, predecessor.since_ms) = (ArchiveReason::Retired, accumulated_ms);
                changed = true;
            }
        }
        changed
    }

    pub(in crate::manager) fn remove(&mut self, slot: u32) {
        self.predecessors.retain(|other| other.slot != slot);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;
    use crate::protocol::limits;

    const DAY: u64 = 86_400_000;
    const FIRST: Epoch = Epoch { number: 0, since_ms: 0 };

    fn predecessor(number: u32, reason: ArchiveReason, since_days: u64, answered: bool) -> Predecessor {
        let (confirmed, order) = (answered, SessionOrder::default());
        Predecessor {
            slot: number,
            reason,
            since_ms: since_days * DAY,
            epoch: 0,
            answered,
            confirmed,
            answered_as_current: answered,
            order,
        }
    }

    #[test]
    fn each_reason_has_its_age() {
        let archive = Archive {
            predecessors: vec![
                predecessor(1, ArchiveReason::Superseded, 0, true),
                predecessor(2, ArchiveReason::Retired, 0, true),
            ],
            last_slot: 2,
        };
        let readable = |days: u64, number: u32| -> Vec<u32> {
            let epoch = Epoch { number, since_ms: 5 * DAY };
            archive.readable(epoch, days * DAY).map(|predecessor| predecessor.slot).collect()
        };
        assert_eq!(readable(30, 0), [2, 1]);
        assert_eq!(readable(31, 0), [1]);
        assert_eq!(readable(90, 0), [1]);
        assert_eq!(readable(91, 0), [0_u32; 0]);
        // Of an earlier epoch all are retired: the one that was not yet, since the epoch began.
        assert_eq!(readable(31, 1), [1]);
        assert_eq!(readable(35, 1), [1]);
        assert_eq!(readable(36, 1), [0_u32; 0]);
    }

    #[test]
    fn sessions_that_were_never_answered_take_no_room_from_the_others() {
        let mut archive = Archive::default();
        for number in 0..20 {
            archive.predecessors.push(predecessor(number, ArchiveReason::Superseded, 0, number < 10));
        }
        let gone: Vec<u32> = archive
            .take_surplus(FIRST, 0, limits::ARCHIVED_SESSIONS)
            .iter()
            .map(|predecessor| predecessor.slot)
            .collect();
        assert_eq!(gone, [10, 11, 12, 13, 14]);
        assert_eq!(archive.predecessors.len(), 15);
    }

    #[test]
    fn sessions_that_are_given_up_stay_for_as_long_from_then_on() {
        let predecessors = vec![
            predecessor(1, ArchiveReason::Superseded, 0, true),
            predecessor(2, ArchiveReason::Retired, 5, true),
        ];
        let mut archive = Archive { predecessors, last_slot: 2 };
        assert!(
            !archive.retire_all(Epoch { number: 1, since_ms: 0 }, 60 * DAY),
            "of an earlier epoch all are retired already"
        );
        assert!(archive.retire_all(FIRST, 60 * DAY) && !archive.retire_all(FIRST, 61 * DAY));
        let retired: Vec<_> = archive.predecessors.iter().map(|gone| (gone.reason, gone.since_ms)).collect();
        assert_eq!(retired, [(ArchiveReason::Retired, 60 * DAY), (ArchiveReason::Retired, 5 * DAY)]);
    }

    #[test]
    fn an_age_is_exact_to_the_millisecond() {
        for (reason, kept) in
            [(ArchiveReason::Superseded, policy::SUPERSEDED_MS), (ArchiveReason::Retired, policy::RETIRED_MS)]
        {
            let mut archive = Archive { predecessors: vec![predecessor(1, reason, 0, true)], last_slot: 1 };
            assert_eq!(archive.readable(FIRST, kept).count(), 1);
            assert_eq!(archive.readable(FIRST, kept + 1).count(), 0);
            assert!(archive.take_surplus(FIRST, kept, limits::ARCHIVED_SESSIONS).is_empty());
            assert_eq!(archive.take_surplus(FIRST, kept + 1, limits::ARCHIVED_SESSIONS).len(), 1);
            assert!(archive.predecessors.is_empty());
        }
    }

    #[test]
    fn no_more_sessions_are_archived_than_the_limit_says_and_the_oldest_go() {
        let most = u32::try_from(limits::ARCHIVED_SESSIONS).unwrap();
        let predecessors =
            (0..most).map(|number| predecessor(number, ArchiveReason::Superseded, 0, true)).collect();
        let mut archive = Archive { predecessors, last_slot: most };
        assert!(archive.take_surplus(FIRST, 0, limits::ARCHIVED_SESSIONS).is_empty());
        archive.predecessors.push(predecessor(most, ArchiveReason::Superseded, 0, true));
        let gone = archive.take_surplus(FIRST, 0, limits::ARCHIVED_SESSIONS);
        assert_eq!((gone.len(), gone[0].slot, archive.predecessors.len()), (1, 0, limits::ARCHIVED_SESSIONS));
    }

    #[test]
    fn as_many_unanswered_sessions_stay_as_the_policy_says() {
        for (count, gone) in [(5, 0), (6, 1)] {
            let predecessors =
                (0..count).map(|number| predecessor(number, ArchiveReason::Retired, 0, false)).collect();
            let mut archive = Archive { predecessors, last_slot: count };
            assert_eq!(archive.take_surplus(FIRST, 0, limits::ARCHIVED_SESSIONS).len(), gone);
        }
    }

    #[test]
    fn a_session_is_overtaken_by_a_later_one_that_was_chosen() {
        let mut archive = Archive { predecessors: Vec::new(), last_slot: 3 };
        archive.predecessors.push(predecessor(1, ArchiveReason::Superseded, 0, true));
        archive.predecessors.push(predecessor(2, ArchiveReason::Superseded, 0, true));
        archive.predecessors.push(predecessor(3, ArchiveReason::Superseded, 0, false));
        assert_eq!([1, 2, 3].map(|number| archive.is_overtaken(number)), [true, false, false]);
        archive.remove(2);
        assert_eq!(
            archive.predecessors.iter().map(|predecessor| predecessor.slot).collect::<Vec<_>>(),
            [1, 3]
        );
        assert!(!archive.is_overtaken(1));
    }
}
