//! When each device list was looked at, and with what success: whether it is fresh, and when to look again.
//!
//! Nothing in here is stored, and nothing that strangers cause pushes out what concerns known JIDs.

use super::super::policy;
use super::bounded::ByStanding;
use super::standing::Standing;
use crate::error::Error;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use std::collections::BTreeSet;

/// How a list came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum Source {
    /// It was fetched; `found`: there was one.
    Fetched { found: bool },
    /// It was pushed; `empty`: without devices.
    Pushed { empty: bool },
}

#[derive(Default)]
struct Look {
    /// When it was seen in this stream.
    fresh_since_ms: Option<u64>,
    /// Until when nobody looks again for want of devices.
    quiet_until_ms: u64,
    /// When there was none.
    not_found_ms: Option<u64>,
    /// Ids on it that cannot be served.
    unserved: BTreeSet<u32>,
    failure: Option<Failure>,
}

struct Failure {
    error: Error,
    count: u32,
    until_ms: u64,
}

/// See the module. Times are aged milliseconds.
pub(in crate::manager) struct ListLooks(ByStanding<(Namespace, BareJid), Look>);

impl Default for ListLooks {
    fn default() -> ListLooks {
        ListLooks(ByStanding::new(policy::REMEMBERED_LOOKS, policy::REMEMBERED_STRANGER_LOOKS))
    }
}

impl ListLooks {
    fn look(&mut self, standing: Standing, at: &(Namespace, BareJid)) -> Option<&mut Look> {
        let before = self.0.remove(at).unwrap_or_default();
        self.0.insert(standing, at.clone(), before);
        self.0.get_mut(at)
    }

    fn get(&self, namespace: Namespace, jid: &BareJid) -> Option<&Look> {
        self.0.get(&(namespace, jid.clone()))
    }

    /// A list came in this stream.
    pub(in crate::manager) fn seen(
        &mut self,
        standing: Standing,
        at: &(Namespace, BareJid),
        source: Source,
        unserved: BTreeSet<u32>,
        now_ms: u64,
    ) {
        let quiet = match source {
            Source::Pushed { empty: true } => policy::EMPTY_PUSH_LOOK_MS,
            _ => policy::NO_DEVICES_LOOK_MS,
        };
        if let Some(look) = self.look(standing, at) {
            look.fresh_since_ms = Some(now_ms);
            look.quiet_until_ms = now_ms.saturating_add(quiet);
            look.not_found_ms = (source == Source::Fetched { found: false }).then_some(now_ms);
            look.failure = None;
            look.unserved = unserved;
        }
    }

    /// What was seen of a list is not to be relied on.
    pub(in crate::manager) fn outdate(&mut self, at: &(Namespace, BareJid)) {
        if let Some(look) = self.0.get_mut(at) {
            (look.fresh_since_ms, look.quiet_until_ms) = (None, 0);
        }
    }

    /// A list could not be had.
    pub(in crate::manager) fn failed(
        &mut self,
        standing: Standing,
        at: &(Namespace, BareJid),
        error: Error,
        now_ms: u64,
    ) {
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("failed-list-asked-again") {
            return;
        }
        if let Some(look) = self.look(standing, at) {
            let count = look.failure.as_ref().map_or(0, |failure| failure.count);
            let wait = policy::doubled(policy::LIST_FAILED_MS, count, policy::FAILED_MAX_MS);
            let until_ms = now_ms.saturating_add(wait);
            look.failure = Some(Failure { error, count: count.saturating_add(1), until_ms });
        }
    }

    /// Returns the ids on a list that cannot be served.
    pub(in crate::manager) fn unserved(
        &self,
        namespace: Namespace,
        jid: &BareJid,
    ) -> impl Iterator<Item = u32> {
        self.get(namespace, jid).into_iter().flat_map(|look| look.unserved.iter().copied())
    }

    /// Returns whether a list needs no fetch.
    pub(in crate::manager) fn is_fresh(&self, namespace: Namespace, jid: &BareJid, now_ms: u64) -> bool {
        let since = self.get(namespace, jid).and_then(|look| look.fresh_since_ms);
        since.is_some_and(|since| now_ms.saturating_sub(since) < policy::LIST_FRESH_MS)
    }

    /// Returns why a list is not asked for now.
    pub(in crate::manager) fn failure(
        &self,
        namespace: Namespace,
        jid: &BareJid,
        now_ms: u64,
    ) -> Option<&Error> {
        let failure = self.get(namespace, jid)?.failure.as_ref()?;
        (failure.until_ms > now_ms).then_some(&failure.error)
    }

    /// Returns whether it was looked at so lately that looking again for want of devices would tell nothing new.
    pub(in crate::manager) fn is_quiet(&self, namespace: Namespace, jid: &BareJid, now_ms: u64) -> bool {
        self.get(namespace, jid).is_some_and(|look| look.quiet_until_ms > now_ms)
    }

    /// Nothing is remembered of a JID any more.
    pub(in crate::manager) fn forget(&mut self, jid: &BareJid) {
        self.0.retain(|(_, of), _| of != jid);
    }

    /// Returns whether an unsolicited fetch would only repeat that there is no list.
    pub(in crate::manager) fn was_not_found(&self, namespace: Namespace, jid: &BareJid, now_ms: u64) -> bool {
        let at = self.get(namespace, jid).and_then(|look| look.not_found_ms);
        at.is_some_and(|at| now_ms.saturating_sub(at) < policy::BACKGROUND_NOT_FOUND_MS)
    }

    /// A new stream: nothing is fresh, and what failed may be tried again.
    pub(in crate::manager) fn new_stream(&mut self) {
        for look in self.0.values_mut() {
            let unserved = std::mem::take(&mut look.unserved);
            *look = Look { not_found_ms: look.not_found_ms, unserved, ..Look::default() };
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;
    use crate::error::Status;
    use Namespace::{Legacy, Omemo2};

    const NOW: u64 = 10_000_000;
    const FOUND: Source = Source::Fetched { found: true };

    fn romeo() -> BareJid {
        BareJid::from_normalized("romeo@montague.lit")
    }

    fn seen(source: Source) -> ListLooks {
        let mut looks = ListLooks::default();
        looks.seen(Standing::Known, &(Omemo2, romeo()), source, BTreeSet::from([5, 7]), NOW);
        looks
    }

    #[test]
    fn a_list_is_fresh_for_an_hour_in_its_namespace() {
        let mut looks = seen(FOUND);
        let end = NOW + policy::LIST_FRESH_MS;
        assert!(looks.is_fresh(Omemo2, &romeo(), end - 1) && !looks.is_fresh(Omemo2, &romeo(), end));
        assert!(!looks.is_fresh(Legacy, &romeo(), NOW));
        looks.outdate(&(Omemo2, romeo()));
        assert!(!looks.is_fresh(Omemo2, &romeo(), NOW) && !looks.is_quiet(Omemo2, &romeo(), NOW));
    }

    #[test]
    fn an_empty_push_is_quiet_for_longer_than_all_else() {
        for (source, quiet) in [
            (FOUND, policy::NO_DEVICES_LOOK_MS),
            (Source::Fetched { found: false }, policy::NO_DEVICES_LOOK_MS),
            (Source::Pushed { empty: false }, policy::NO_DEVICES_LOOK_MS),
            (Source::Pushed { empty: true }, policy::EMPTY_PUSH_LOOK_MS),
        ] {
            let looks = seen(source);
            assert!(looks.is_quiet(Omemo2, &romeo(), NOW + quiet - 1), "{source:?}");
            assert!(!looks.is_quiet(Omemo2, &romeo(), NOW + quiet), "{source:?}");
        }
    }

    #[test]
    fn what_was_not_found_is_known_for_an_hour_and_in_the_next_stream() {
        let mut looks = seen(Source::Fetched { found: false });
        let end = NOW + policy::BACKGROUND_NOT_FOUND_MS;
        looks.new_stream();
        assert!(
            looks.was_not_found(Omemo2, &romeo(), end - 1) && !looks.was_not_found(Omemo2, &romeo(), end)
        );
        assert!(!seen(FOUND).was_not_found(Omemo2, &romeo(), NOW));
        assert!(!seen(Source::Pushed { empty: true }).was_not_found(Omemo2, &romeo(), NOW));
    }

    #[test]
    fn a_failure_lasts_a_minute_then_twice_as_long_until_the_list_is_seen() {
        let mut looks = ListLooks::default();
        let mut wait = policy::LIST_FAILED_MS;
        for _ in 0..10 {
            looks.failed(Standing::Stranger, &(Omemo2, romeo()), Status::Timeout.into(), NOW);
            let status = |now_ms| looks.failure(Omemo2, &romeo(), now_ms).map(Error::status);
            assert_eq!((status(NOW + wait - 1), status(NOW + wait)), (Some(Status::Timeout), None), "{wait}");
            wait = (wait * 2).min(policy::FAILED_MAX_MS);
        }
        looks.seen(Standing::Known, &(Omemo2, romeo()), FOUND, BTreeSet::new(), NOW);
        assert!(looks.failure(Omemo2, &romeo(), NOW).is_none());
    }

    #[test]
    fn a_new_stream_relies_on_nothing_and_remembers_what_cannot_be_served() {
        let mut looks = seen(FOUND);
        looks.failed(Standing::Known, &(Omemo2, romeo()), Status::Timeout.into(), NOW);
        assert!(looks.is_fresh(Omemo2, &romeo(), NOW), "a failure makes nothing older");
        looks.new_stream();
        assert!(!looks.is_fresh(Omemo2, &romeo(), NOW) && !looks.is_quiet(Omemo2, &romeo(), NOW));
        assert!(looks.failure(Omemo2, &romeo(), NOW).is_none());
        assert_eq!(looks.unserved(Omemo2, &romeo()).collect::<Vec<_>>(), [5, 7]);
        assert_eq!(looks.unserved(Legacy, &romeo()).count(), 0);
    }
}
