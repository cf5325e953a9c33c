//! Bundles that could not be had or used: why, and when to look again. Nothing in here is stored.

use super::super::policy;
use super::address::SessionAddress;
use super::bounded::ByStanding;
use super::standing::Standing;
use crate::error::{Error, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;

struct Failure {
    error: Error,
    count: u32,
    at_ms: u64,
    until_ms: u64,
}

/// See the module. Times are aged milliseconds.
pub(in crate::manager) struct BundleLooks {
    failures: ByStanding<SessionAddress, Failure>,
    /// Devices of which something was reported in this run.
    reported: ByStanding<SessionAddress, ()>,
    /// When the bundle of a device that never answered was looked at.
    unanswered_looks_ms: ByStanding<SessionAddress, u64>,
}

impl Default for BundleLooks {
    fn default() -> BundleLooks {
        let (known, strangers) = (policy::REMEMBERED_LOOKS, policy::REMEMBERED_STRANGER_LOOKS);
        BundleLooks {
            failures: ByStanding::new(known, strangers),
            reported: ByStanding::new(known, strangers),
            unanswered_looks_ms: ByStanding::new(known, strangers),
        }
    }
}

impl BundleLooks {
    /// A bundle could not be had.
    pub(in crate::manager) fn failed(
        &mut self,
        standing: Standing,
        at: &SessionAddress,
        error: Error,
        now_ms: u64,
    ) {
        let count = self.failures.get(at).map_or(0, |failure| failure.count);
        let wait = policy::doubled(policy::BUNDLE_FAILED_MS, count, policy::FAILED_MAX_MS);
        let failure = Failure {
            error,
            count: count.saturating_add(1),
            at_ms: now_ms,
            until_ms: now_ms.saturating_add(wait),
        };
        self.failures.insert(standing, at.clone(), failure);
    }

    /// Returns why a bundle is not to be fetched now.
    pub(in crate::manager) fn failure(&self, at: &SessionAddress, now_ms: u64) -> Option<&Error> {
        self.failures.get(at).filter(|failure| failure.until_ms > now_ms).map(|failure| &failure.error)
    }

    /// Returns whether a bundle was missing or bad so lately that looking again, for a JID that would get nothing on
    /// any device, would tell nothing new. Other failures keep to their back-off.
    pub(in crate::manager) fn is_quiet(&self, at: &SessionAddress, now_ms: u64) -> bool {
        self.failures.get(at).is_some_and(|failure| match failure.error.status() {
            Status::BundleNotFound | Status::BundleBad => {
                now_ms.saturating_sub(failure.at_ms) < policy::NO_DEVICES_LOOK_MS
            }
            _ => failure.until_ms > now_ms,
        })
    }

    /// Returns whether an unsolicited fetch would only repeat that there is no bundle.
    pub(in crate::manager) fn was_not_found(&self, at: &SessionAddress, now_ms: u64) -> bool {
        self.failures.get(at).is_some_and(|failure| {
            failure.error.status() == Status::BundleNotFound
                && now_ms.saturating_sub(failure.at_ms) < policy::BACKGROUND_NOT_FOUND_MS
        })
    }

    /// A bundle may be fetched again: what was wrong with it is right now.
    pub(in crate::manager) fn clear_failure(&mut self, at: &SessionAddress) {
        self.failures.remove(at);
    }

    /// The same, and what was reported of the device may be reported again.
    pub(in crate::manager) fn clear(&mut self, at: &SessionAddress) {
        self.failures.remove(at);
        self.reported.remove(at);
    }

    /// Nothing is remembered of a JID any more.
    pub(in crate::manager) fn forget(&mut self, jid: &BareJid) {
        self.failures.retain(|at, _| at.jid != *jid);
        self.reported.retain(|at, ()| at.jid != *jid);
        self.unanswered_looks_ms.retain(|at, _| at.jid != *jid);
    }

    /// A list has come: its devices may have a bundle by now.
    pub(in crate::manager) fn list_changed(&mut self, namespace: Namespace, jid: &BareJid) {
        self.failures.retain(|at, _| at.namespace != namespace || at.jid != *jid);
    }

    /// Returns whether this is the first time in this run that something is reported of a device.
    pub(in crate::manager) fn report_once(&mut self, standing: Standing, at: &SessionAddress) -> bool {
        let first = self.reported.get(at).is_none();
        self.reported.insert(standing, at.clone(), ());
        first
    }

    /// Returns whether something was reported of a device in this run.
    pub(in crate::manager) fn was_reported(&self, at: &SessionAddress) -> bool {
        self.reported.get(at).is_some()
    }

    /// Returns whether the bundle of a device that never answered may be looked at now.
    pub(in crate::manager) fn may_look_at_unanswered(&self, at: &SessionAddress, now_ms: u64) -> bool {
        let last = self.unanswered_looks_ms.get(at);
        last.is_none_or(|last| now_ms.saturating_sub(*last) >= policy::UNANSWERED_LOOK_MS)
    }

    /// It was looked at.
    pub(in crate::manager) fn note_unanswered_look(
        &mut self,
        standing: Standing,
        at: &SessionAddress,
        now_ms: u64,
    ) {
        self.unanswered_looks_ms.insert(standing, at.clone(), now_ms);
    }

    /// A new stream: what failed may be tried again.
    pub(in crate::manager) fn new_stream(&mut self) {
        self.failures.retain(|_, _| false);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;
    use Namespace::{Legacy, Omemo2};

    const NOW: u64 = 1_000_000;

    fn failing(status: Status) -> (BundleLooks, SessionAddress) {
        let (mut looks, at) = (BundleLooks::default(), SessionAddress::example("romeo@montague.lit", Omemo2));
        looks.failed(Standing::Known, &at, status.into(), NOW);
        (looks, at)
    }

    #[test]
    fn a_failure_lasts_a_minute_then_twice_as_long_up_to_an_hour() {
        let (mut looks, at) = failing(Status::BundleNotFound);
        let mut wait = policy::BUNDLE_FAILED_MS;
        for _ in 0..10 {
            assert_eq!(looks.failure(&at, NOW + wait - 1).map(Error::status), Some(Status::BundleNotFound));
            assert!(looks.failure(&at, NOW + wait).is_none(), "{wait}");
            looks.failed(Standing::Known, &at, Status::BundleNotFound.into(), NOW);
            wait = (wait * 2).min(policy::FAILED_MAX_MS);
        }
        assert_eq!(wait, policy::FAILED_MAX_MS);
    }

    #[test]
    fn an_encryption_looks_again_soon_where_there_was_no_usable_bundle() {
        for (status, quiet) in [
            (Status::BundleNotFound, policy::NO_DEVICES_LOOK_MS),
            (Status::BundleBad, policy::NO_DEVICES_LOOK_MS),
            (Status::Timeout, policy::BUNDLE_FAILED_MS),
        ] {
            let (looks, at) = failing(status);
            assert!(looks.is_quiet(&at, NOW) && looks.is_quiet(&at, NOW + quiet - 1), "{status:?}");
            assert!(!looks.is_quiet(&at, NOW + quiet), "{status:?}");
        }
        let (looks, _) = failing(Status::Timeout);
        assert!(!looks.is_quiet(&SessionAddress::example("romeo@montague.lit", Legacy), NOW));
    }

    #[test]
    fn what_was_not_found_is_known_for_an_hour() {
        let (looks, at) = failing(Status::BundleNotFound);
        let end = NOW + policy::BACKGROUND_NOT_FOUND_MS;
        assert!(looks.was_not_found(&at, end - 1) && !looks.was_not_found(&at, end));
        let (looks, at) = failing(Status::BundleBad);
        assert!(!looks.was_not_found(&at, NOW));
    }

    #[test]
    fn a_changed_list_forgets_the_failures_of_its_jid_and_namespace() {
        let all = [
            SessionAddress::example("romeo@montague.lit", Omemo2),
            SessionAddress::example("romeo@montague.lit", Legacy),
            SessionAddress::example("juliet@capulet.lit", Omemo2),
        ];
        let mut looks = BundleLooks::default();
        all.iter().for_each(|at| looks.failed(Standing::Stranger, at, Status::Timeout.into(), NOW));
        looks.list_changed(Omemo2, &all[0].jid);
        assert_eq!(all.each_ref().map(|at| looks.failure(at, NOW).is_some()), [false, true, true]);
        looks.new_stream();
        assert!(all.iter().all(|at| looks.failure(at, NOW).is_none()));
    }

    #[test]
    fn a_failure_is_reported_once_until_all_is_forgotten() {
        let (mut looks, at) = failing(Status::Timeout);
        assert!(!looks.was_reported(&at));
        assert!(
            looks.report_once(Standing::Known, &at)
                && looks.was_reported(&at)
                && !looks.report_once(Standing::Known, &at)
        );
        looks.clear_failure(&at);
        assert!(looks.failure(&at, NOW).is_none() && looks.was_reported(&at));
        looks.failed(Standing::Known, &at, Status::Timeout.into(), NOW);
        looks.clear(&at);
        assert!(looks.failure(&at, NOW).is_none() && !looks.was_reported(&at));
    }

    #[test]
    fn the_bundle_of_a_device_that_never_answered_is_looked_at_once_a_day() {
        let (mut looks, at) = failing(Status::Timeout);
        assert!(looks.may_look_at_unanswered(&at, NOW));
        looks.note_unanswered_look(Standing::Known, &at, NOW);
        let next = NOW + policy::UNANSWERED_LOOK_MS;
        assert!(!looks.may_look_at_unanswered(&at, next - 1) && looks.may_look_at_unanswered(&at, next));
    }
}
