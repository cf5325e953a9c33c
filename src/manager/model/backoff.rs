//! Back-off: what failed is tried again later, twice as late after each further failure.

use super::super::policy;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// How long to wait after failures.
#[derive(Clone, Copy, Debug)]
pub(in crate::manager) struct Delays {
    /// After the first failure, in milliseconds.
    pub(in crate::manager) first_ms: u64,
    /// After many failures, in milliseconds.
    pub(in crate::manager) longest_ms: u64,
}

impl Delays {
    /// From a second to five minutes: for publications, messages, and commits that fail.
    pub(in crate::manager) const RETRY: Delays =
        Delays { first_ms: policy::RETRY_FIRST_MS, longest_ms: policy::RETRY_MAX_MS };
    /// For lists and bundles that messages have us look at: those of servers that are down are no hurry.
    pub(in crate::manager) const LOOK: Delays =
        Delays { first_ms: policy::LIST_FAILED_MS, longest_ms: policy::FAILED_MAX_MS };

    /// Returns the delay after this many failures in a row.
    fn after(self, failures: u32) -> u64 {
        let factor = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        self.first_ms.saturating_mul(factor).min(self.longest_ms)
    }
}

struct Failure {
    failures: u32,
    not_before_ms: u64,
    /// The place among all failures, by time.
    order: u64,
}

/// Remembers what failed, of a limited number of things: the one whose last failure is the oldest is forgotten first.
///
/// Times are of whichever monotonic clock the caller uses throughout.
pub(in crate::manager) struct Backoff<K> {
    limit: usize,
    failures: HashMap<K, Failure>,
    by_age: BTreeMap<u64, K>,
    last: u64,
}

impl<K: Clone + Eq + Hash> Backoff<K> {
    /// Makes an empty memory of at most `limit` things.
    pub(in crate::manager) fn new(limit: usize) -> Backoff<K> {
        Backoff { limit, failures: HashMap::new(), by_age: BTreeMap::new(), last: 0 }
    }

    /// Notes a failure. Returns when the thing may be tried again.
    pub(in crate::manager) fn fail(&mut self, key: &K, delays: Delays, now_ms: u64) -> u64 {
        let failures = self.clear(key).saturating_add(1);
        let not_before_ms = now_ms.saturating_add(delays.after(failures));
        while self.failures.len() >= self.limit.max(1) {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.failures.remove(&oldest);
        }
        self.last = self.last.saturating_add(1);
        self.failures.insert(key.clone(), Failure { failures, not_before_ms, order: self.last });
        self.by_age.insert(self.last, key.clone());
        not_before_ms
    }

    /// Forgets the failures of a thing. Returns how many there were in a row.
    pub(in crate::manager) fn clear(&mut self, key: &K) -> u32 {
        let Some(failure) = self.failures.remove(key) else { return 0 };
        self.by_age.remove(&failure.order);
        failure.failures
    }

    /// Forgets everything.
    pub(in crate::manager) fn clear_all(&mut self) {
        self.failures.clear();
        self.by_age.clear();
    }

    /// Returns when a thing may be tried again; 0 if it has not failed.
    pub(in crate::manager) fn not_before(&self, key: &K) -> u64 {
        self.failures.get(key).map_or(0, |failure| failure.not_before_ms)
    }

    /// Returns how often a thing has failed in a row.
    pub(in crate::manager) fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).map_or(0, |failure| failure.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_a_second_to_five_minutes() {
        let mut backoff = Backoff::new(10);
        let mut now = 0;
        let mut delays = Vec::new();
        for _ in 0..100 {
            let next = backoff.fail(&"x", Delays::RETRY, now);
            assert_eq!(backoff.not_before(&"x"), next);
            delays.push((next - now) / 1_000);
            now = next;
        }
        assert_eq!(delays[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert!(delays[10..].iter().all(|delay| *delay == 300));
        assert_eq!((backoff.failures(&"x"), backoff.clear(&"x")), (100, 100));
        assert_eq!((backoff.not_before(&"x"), backoff.failures(&"x"), backoff.clear(&"x")), (0, 0, 0));
        assert_eq!(backoff.fail(&"x", Delays::RETRY, u64::MAX), u64::MAX);
    }

    #[test]
    fn what_failed_longest_ago_is_forgotten_first_and_nothing_else() {
        let mut backoff = Backoff::new(3);
        for key in [1, 2, 3] {
            backoff.fail(&key, Delays::RETRY, 0);
        }
        backoff.fail(&1, Delays::RETRY, 5);
        backoff.fail(&4, Delays::RETRY, 6);
        assert_eq!([1, 2, 3, 4].map(|key| backoff.failures(&key)), [2, 0, 1, 1]);
        for key in 10..10_000 {
            backoff.fail(&key, Delays::RETRY, 7);
            assert!(backoff.failures.len() == 3 && backoff.by_age.len() == 3);
        }
        assert_eq!([9_997, 9_998, 9_999].map(|key| backoff.failures(&key)), [1, 1, 1]);
        backoff.clear_all();
        assert_eq!((backoff.failures(&9_999), backoff.by_age.len()), (0, 0));
    }

    #[test]
    fn a_memory_for_nothing_remembers_one_thing() {
        let mut backoff = Backoff::new(0);
        backoff.fail(&1, Delays::LOOK, 0);
        assert_eq!(backoff.fail(&2, Delays::LOOK, 7), 7 + policy::LIST_FAILED_MS);
        assert_eq!([1, 2].map(|key| backoff.failures(&key)), [0, 1]);
    }
}
