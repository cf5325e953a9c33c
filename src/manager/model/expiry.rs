//! How far it has come to look for archived sessions whose time has passed: a few JIDs at a time, so that an account with
//! thousands of them is never busy with it.

use super::super::policy;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct ExpiryLook {
    /// The bucket of JIDs that comes next; `None`: nothing is looked for now.
    bucket: Option<u8>,
    /// When it goes on, by the steady clock.
    not_before_ms: u64,
}

impl ExpiryLook {
    /// Begins, unless it is going on.
    pub(in crate::manager) fn begin(&mut self) {
        self.bucket.get_or_insert(0);
    }

    /// Returns the bucket that is to be looked at now.
    pub(in crate::manager) fn due(&self, steady_ms: u64) -> Option<u8> {
        self.bucket.filter(|_| self.not_before_ms <= steady_ms)
    }

    /// Returns when it goes on.
    pub(in crate::manager) fn next_ms(&self) -> Option<u64> {
        self.bucket.map(|_| self.not_before_ms)
    }

    /// Notes which bucket comes next, after a pause; `None`: all were looked at.
    pub(in crate::manager) fn went_on(&mut self, next: Option<u8>, steady_ms: u64) {
        self.bucket = next;
        self.not_before_ms = steady_ms.saturating_add(policy::EXPIRY_PAUSE_MS);
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
        assert_eq!((look.due(0), look.next_ms()), (Some(0), Some(0)));
        look.went_on(Some(7), 50);
        // What is going on does not begin again.
        look.begin();
        let end = 50 + policy::EXPIRY_PAUSE_MS;
        assert_eq!((look.due(end - 1), look.due(end), look.next_ms()), (None, Some(7), Some(end)));
        look.went_on(None, end);
        assert_eq!((look.due(u64::MAX), look.next_ms()), (None, None));
    }
}
