//! How far it has come to look for sessions whose time has passed: a few devices at a time, so that an account with thousands
//! of them is never busy with it.

use super::super::policy;

/// A place in the index: a bucket of JIDs, and how many of it were looked at.
pub(in crate::manager) type Place = (u8, usize);

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct ExpiryLook {
    /// What comes next; `None`: nothing is looked for now.
    next: Option<Place>,
    /// When it goes on, by the steady clock.
    not_before_ms: u64,
}

impl ExpiryLook {
    /// Begins, unless it is going on.
    pub(in crate::manager) fn begin(&mut self) {
        self.next.get_or_insert((0, 0));
    }

    /// Returns where to go on now.
    pub(in crate::manager) fn due(&self, steady_ms: u64) -> Option<Place> {
        self.next.filter(|_| self.not_before_ms <= steady_ms)
    }

    /// Returns when it goes on.
    pub(in crate::manager) fn next_ms(&self) -> Option<u64> {
        self.next.map(|_| self.not_before_ms)
    }

    /// Notes what comes next, after a pause; `None`: all were looked at.
    pub(in crate::manager) fn went_on(&mut self, next: Option<Place>, steady_ms: u64) {
        self.next = next;
        self.not_before_ms = steady_ms.saturating_add(policy::EXPIRY_PAUSE_MS);
    }

    /// Notes that the store has failed: the same again, later.
    pub(in crate::manager) fn failed(&mut self, steady_ms: u64) {
        self.not_before_ms = steady_ms.saturating_add(policy::RETRY_MAX_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_after_a_pause_until_all_were_looked_at() {
        let mut look = ExpiryLook::default();
        assert_eq!((look.due(0), look.next_ms()), (None, None));
        look.begin();
        assert_eq!((look.due(0), look.next_ms()), (Some((0, 0)), Some(0)));
        look.went_on(Some((7, 2)), 50);
        // What is going on does not begin again.
        look.begin();
        let end = 50 + policy::EXPIRY_PAUSE_MS;
        assert_eq!((look.due(end - 1), look.due(end), look.next_ms()), (None, Some((7, 2)), Some(end)));
        look.failed(end);
        let later = end + policy::RETRY_MAX_MS;
        assert_eq!((look.due(later - 1), look.due(later)), (None, Some((7, 2))));
        look.went_on(None, later);
        assert_eq!((look.due(u64::MAX), look.next_ms()), (None, None));
    }
}
