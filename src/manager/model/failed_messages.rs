//! Messages of a device that could not be decrypted since the last one that could. In memory only: nobody has
//! authenticated them.

use super::super::policy;
use super::address::SessionAddress;
use super::bounded::ByStanding;
use super::standing::Standing;
use crate::protocol::address::BareJid;
use std::collections::VecDeque;

/// What two messages are told apart by: the beginning of a hash of their keys.
pub(in crate::manager) type MessageHash = [u8; 8];

/// Whether a message tells something about the session as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum Timeliness {
    /// It was sent just now, as far as the client says.
    Live,
    /// It was sent some time ago, or read in a catch-up, or a room says who has sent it.
    Doubtful,
}

/// The messages of one session address.
#[derive(Default)]
struct Failed {
    count: u32,
    /// The last ones, so that a message which is given again is counted once.
    last: VecDeque<MessageHash>,
    /// The last ones of those that were sent just now.
    live: VecDeque<MessageHash>,
    /// The client was told that the session is broken.
    reported: bool,
}

/// See the module.
pub(in crate::manager) struct FailedMessages(ByStanding<SessionAddress, Failed>);

impl Default for FailedMessages {
    fn default() -> FailedMessages {
        FailedMessages(ByStanding::new(policy::REMEMBERED_LOOKS, policy::REMEMBERED_STRANGER_LOOKS))
    }
}

impl FailedMessages {
    /// Counts a message, unless it was counted before.
    pub(in crate::manager) fn add(
        &mut self,
        standing: Standing,
        at: &SessionAddress,
        hash: MessageHash,
        timeliness: Timeliness,
    ) {
        if self.0.get(at).is_none() {
            self.0.insert(standing, at.clone(), Failed::default());
        }
        let Some(failed) = self.0.get_mut(at) else { return };
        failed.count = failed.count.saturating_add(remember(&mut failed.last, hash).into());
        if timeliness == Timeliness::Live {
            remember(&mut failed.live, hash);
        }
    }

    /// Returns whether a message that was sent just now was counted.
    pub(in crate::manager) fn has_live(&self, at: &SessionAddress, hash: MessageHash) -> bool {
        self.0.get(at).is_some_and(|failed| failed.live.contains(&hash))
    }

    /// Returns how many different messages could not be decrypted since the last one that could.
    pub(in crate::manager) fn count(&self, at: &SessionAddress) -> u32 {
        self.0.get(at).map_or(0, |failed| failed.count)
    }

    /// Returns how many of these were sent just now, of the last ones.
    pub(in crate::manager) fn live(&self, at: &SessionAddress) -> usize {
        self.0.get(at).map_or(0, |failed| failed.live.len())
    }

    /// Returns whether the client was told of these.
    pub(in crate::manager) fn is_reported(&self, at: &SessionAddress) -> bool {
        self.0.get(at).is_some_and(|failed| failed.reported)
    }

    /// The client is told of these.
    pub(in crate::manager) fn report(&mut self, at: &SessionAddress) {
        if let Some(failed) = self.0.get_mut(at) {
            failed.reported = true;
        }
    }

    /// Nothing is remembered of a JID any more.
    pub(in crate::manager) fn forget(&mut self, jid: &BareJid) {
        self.0.retain(|at, _| at.jid != *jid);
    }

    /// A message was decrypted, or the session was replaced. Of a stranger, who could cause a notice for each message, the
    /// client is not told again.
    pub(in crate::manager) fn clear(&mut self, at: &SessionAddress) {
        match (self.0.standing(at), self.0.get_mut(at)) {
            (Some(Standing::Stranger), Some(failed)) if failed.reported => {
                *failed = Failed { reported: true, ..Failed::default() };
            }
            _ => {
                self.0.remove(at);
            }
        }
    }
}

/// Adds a message to the last ones. Returns false if it is there already.
fn remember(last: &mut VecDeque<MessageHash>, hash: MessageHash) -> bool {
    if last.contains(&hash) {
        return false;
    }
    last.push_back(hash);
    if last.len() > policy::FAILED_MESSAGES_TOLD_APART {
        last.pop_front();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::namespace::Namespace::{Legacy, Omemo2};
    use Timeliness::{Doubtful, Live};

    fn romeo() -> SessionAddress {
        SessionAddress::example("romeo@montague.lit", Omemo2)
    }

    #[test]
    fn a_message_counts_once_until_one_is_decrypted() {
        for standing in Standing::ALL {
            let (mut failed, at) = (FailedMessages::default(), romeo());
            assert_eq!((failed.count(&at), failed.live(&at)), (0, 0));
            for (number, timeliness) in [(1, Live), (1, Live), (2, Doubtful), (1, Doubtful), (3, Live)] {
                failed.add(standing, &at, [number; 8], timeliness);
            }
            assert_eq!((failed.count(&at), failed.live(&at)), (3, 2));
            assert!(failed.has_live(&at, [3; 8]) && !failed.has_live(&at, [2; 8]));
            assert_eq!(failed.count(&at.in_namespace(Legacy)), 0);
            failed.report(&at);
            assert!(failed.is_reported(&at) && !failed.is_reported(&at.in_namespace(Legacy)));
            failed.clear(&at);
            assert_eq!((failed.count(&at), failed.has_live(&at, [1; 8])), (0, false));
            assert_eq!(failed.is_reported(&at), !standing.is_known(), "a stranger is told once");
            failed.add(standing, &at, [1; 8], Live);
            assert_eq!(failed.count(&at), 1);
        }
    }

    #[test]
    fn a_message_that_is_given_again_after_many_others_is_still_one_that_was_sent_just_now() {
        let (mut failed, at) = (FailedMessages::default(), romeo());
        failed.add(Standing::Known, &at, [0; 8], Live);
        for number in 1..200 {
            failed.add(Standing::Known, &at, [number; 8], Doubtful);
        }
        failed.add(Standing::Known, &at, [0; 8], Live);
        assert_eq!((failed.count(&at), failed.live(&at)), (201, 1));
    }

    #[test]
    fn as_many_messages_are_told_apart_as_the_policy_says() {
        let (mut failed, at) = (FailedMessages::default(), romeo());
        let most = u8::try_from(policy::FAILED_MESSAGES_TOLD_APART).unwrap();
        for number in 0..=most {
            failed.add(Standing::Known, &at, [number; 8], Live);
        }
        assert!(
            !failed.has_live(&at, [0; 8]) && failed.has_live(&at, [1; 8]) && failed.has_live(&at, [most; 8])
        );
        assert_eq!((failed.count(&at), failed.live(&at)), (u32::from(most) + 1, usize::from(most)));
    }
}
