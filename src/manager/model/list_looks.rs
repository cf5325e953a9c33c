//! When each device list was looked at, and with what success: whether it is fresh, and when to look again.
//!
//! Nothing in here is stored, and nothing that strangers cause pushes out what concerns known JIDs.

use super::super::policy;
use super::bounded::ByAcquaintance;
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
    fresh_since: Option<u64>,
    /// Until when nobody looks again for want of devices.
    quiet_until: u64,
    /// When there was none.
    not_found: Option<u64>,
    /// Ids on it that cannot be served.
    unserved: BTreeSet<u32>,
    failure: Option<Failure>,
}

struct Failure {
    error: Error,
    count: u32,
    until: u64,
}

/// See the module. Times are aged milliseconds.
pub(in crate::manager) struct ListLooks(ByAcquaintance<(Namespace, BareJid), Look>);

impl Default for ListLooks {
    fn default() -> ListLooks {
        ListLooks(ByAcquaintance::new(policy::REMEMBERED_LOOKS, policy::REMEMBERED_STRANGER_LOOKS))
    }
}

impl ListLooks {
    fn look(&mut self, known: bool, at: &(Namespace, BareJid)) -> Option<&mut Look> {
        let before = self.0.remove(at).unwrap_or_default();
        self.0.insert(known, at.clone(), before);
        self.0.get_mut(at)
    }

    fn get(&self, namespace: Namespace, jid: &BareJid) -> Option<&Look> {
        self.0.get(&(namespace, jid.clone()))
    }

    /// A list came in this stream.
    pub(in crate::manager) fn seen(
        &mut self,
        known: bool,
        at: &(Namespace, BareJid),
        source: Source,
        unserved: BTreeSet<u32>,
        now: u64,
    ) {
        let quiet = match source {
            Source::Pushed { empty: true } => policy::EMPTY_PUSH_LOOK_MS,
            _ => policy::NO_DEVICES_LOOK_MS,
        };
        if let Some(look) = self.look(known, at) {
            look.fresh_since = Some(now);
            look.quiet_until = now.saturating_add(quiet);
            look.not_found = (source == Source::Fetched { found: false }).then_some(now);
            look.failure = None;
            look.unserved = unserved;
        }
    }

    /// What was seen of a list is not to be relied on.
    pub(in crate::manager) fn outdate(&mut self, at: &(Namespace, BareJid)) {
        if let Some(look) = self.0.get_mut(at) {
            (look.fresh_since, look.quiet_until) = (None, 0);
        }
    }

    /// A list could not be had.
    pub(in crate::manager) fn failed(
        &mut self,
        known: bool,
        at: &(Namespace, BareJid),
        error: Error,
        now: u64,
    ) {
        #[cfg(omemo_planted)]
        if crate::planted::is_planted(6) {
            return;
        }
        if let Some(look) = self.look(known, at) {
            let count = look.failure.as_ref().map_or(0, |failure| failure.count);
            let wait = policy::doubled(policy::LIST_FAILED_MS, count, policy::FAILED_MAX_MS);
            let until = now.saturating_add(wait);
            look.failure = Some(Failure { error, count: count.saturating_add(1), until });
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
    pub(in crate::manager) fn is_fresh(&self, namespace: Namespace, jid: &BareJid, now: u64) -> bool {
        let since = self.get(namespace, jid).and_then(|look| look.fresh_since);
        since.is_some_and(|since| now.saturating_sub(since) < policy::LIST_FRESH_MS)
    }

    /// Returns why a list is not asked for now.
    pub(in crate::manager) fn failure(
        &self,
        namespace: Namespace,
        jid: &BareJid,
        now: u64,
    ) -> Option<&Error> {
        let failure = self.get(namespace, jid)?.failure.as_ref()?;
        (failure.until > now).then_some(&failure.error)
    }

    /// Returns whether it was looked at so lately that looking again for want of devices would tell nothing new.
    pub(in crate::manager) fn is_quiet(&self, namespace: Namespace, jid: &BareJid, now: u64) -> bool {
        self.get(namespace, jid).is_some_and(|look| look.quiet_until > now)
    }

    /// Returns whether an unsolicited fetch would only repeat that there is no list.
    pub(in crate::manager) fn was_not_found(&self, namespace: Namespace, jid: &BareJid, now: u64) -> bool {
        let at = self.get(namespace, jid).and_then(|look| look.not_found);
        at.is_some_and(|at| now.saturating_sub(at) < policy::BACKGROUND_NOT_FOUND_MS)
    }

    /// A new stream: nothing is fresh, and what failed may be tried again.
    pub(in crate::manager) fn new_stream(&mut self) {
        for look in self.0.values_mut() {
            let unserved = std::mem::take(&mut look.unserved);
            *look = Look { not_found: look.not_found, unserved, ..Look::default() };
        }
    }
}
