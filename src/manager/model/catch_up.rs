//! A catch-up: the client reads messages that waited on the server. Until it is over answers wait, and used pre keys stay, so
//! that a second message which was encrypted with one of them can be read as well.

use super::super::policy;
use super::namespaces::NamespaceSet;
use crate::protocol::namespace::Namespace;

/// See the module.
#[derive(Default)]
pub(in crate::manager) struct CatchUpState {
    /// Since when, in aged milliseconds.
    since_ms: Option<u64>,
    /// Where a bundle is to be published only because pre keys were used up.
    held_bundles: NamespaceSet,
}

impl CatchUpState {
    /// It begins; one that is going on goes on.
    pub(in crate::manager) fn begin(&mut self, aged_ms: u64) {
        if !self.is_going_on(aged_ms) {
            self.begin_again(aged_ms);
        }
    }

    /// It begins, whatever was before.
    pub(in crate::manager) fn begin_again(&mut self, aged_ms: u64) {
        *self = CatchUpState { since_ms: Some(aged_ms), ..CatchUpState::default() };
    }

    /// It is over.
    pub(in crate::manager) fn end(&mut self) {
        *self = CatchUpState::default();
    }

    /// Returns how long it goes on at most, where it does.
    pub(in crate::manager) fn left_ms(&self, aged_ms: u64) -> Option<u64> {
        let until = self.since_ms?.saturating_add(policy::CATCH_UP_MS);
        until.checked_sub(aged_ms).filter(|left| *left > 0)
    }

    pub(in crate::manager) fn is_going_on(&self, aged_ms: u64) -> bool {
        self.left_ms(aged_ms).is_some()
    }

    /// A bundle has become outdated because a pre key was used up: that can wait.
    pub(in crate::manager) fn hold_bundle(&mut self, namespace: Namespace) {
        self.held_bundles.insert(namespace);
    }

    /// A bundle is outdated for another reason: that cannot wait.
    pub(in crate::manager) fn release_bundle(&mut self, namespace: Namespace) {
        self.held_bundles.remove(namespace);
    }

    /// Returns whether the publication of a bundle waits.
    pub(in crate::manager) fn holds_bundle(&self, namespace: Namespace, aged_ms: u64) -> bool {
        self.is_going_on(aged_ms) && self.held_bundles.contains(namespace)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;
    use Namespace::{Legacy, Omemo2};

    #[test]
    fn it_goes_on_until_it_is_ended_or_a_day_has_passed() {
        let mut state = CatchUpState::default();
        assert!(!state.is_going_on(0));
        state.begin(1_000);
        assert_eq!(state.left_ms(1_001), Some(policy::CATCH_UP_MS - 1));
        state.begin(5_000);
        assert!(state.is_going_on(999 + policy::CATCH_UP_MS), "twice is once");
        assert!(!state.is_going_on(1_000 + policy::CATCH_UP_MS));
        state.begin(1_000 + policy::CATCH_UP_MS);
        assert!(state.is_going_on(1_001 + policy::CATCH_UP_MS));
        state.end();
        assert!(!state.is_going_on(1_001 + policy::CATCH_UP_MS));
    }

    #[test]
    fn another_stream_begins_it_again() {
        let mut state = CatchUpState::default();
        state.begin(0);
        state.begin_again(7);
        assert_eq!(state.left_ms(7), Some(policy::CATCH_UP_MS));
    }

    #[test]
    fn a_bundle_waits_only_as_long_as_it_goes_on_and_nothing_else_makes_it_outdated() {
        let mut state = CatchUpState::default();
        state.hold_bundle(Omemo2);
        assert!(!state.holds_bundle(Omemo2, 0));
        state.begin(0);
        assert!(!state.holds_bundle(Omemo2, 1), "that was before");
        state.hold_bundle(Omemo2);
        assert!(state.holds_bundle(Omemo2, 1) && !state.holds_bundle(Legacy, 1));
        state.release_bundle(Omemo2);
        assert!(!state.holds_bundle(Omemo2, 1));
        state.hold_bundle(Legacy);
        assert!(!state.holds_bundle(Legacy, policy::CATCH_UP_MS));
        state.end();
        state.begin(0);
        assert!(!state.holds_bundle(Legacy, 1));
    }
}
