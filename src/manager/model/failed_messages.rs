//! Messages of a device that could not be decrypted since the last one that could. In memory only: nobody has
//! authenticated them.

use super::super::policy;
use super::address::SessionAddress;
use super::bounded::ByStanding;
use super::standing::Standing;
use std::collections::VecDeque;

/// What two messages are told apart by: the beginning of a hash of their keys.
pub(in crate::manager) type MessageHash = [u8; 8];

/// When a message was sent, as far as the client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum Timeliness {
    /// Just now.
    Live,
    /// Some time ago: it comes from an archive, from offline storage, or while the account catches up.
    Delayed,
}

/// The messages of one session address.
#[derive(Default)]
struct Failed {
    count: u32,
    /// Those of them that were sent just now.
    live: u32,
    /// The last ones, so that a message which is given again is counted once.
    last: VecDeque<MessageHash>,
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
        if self.has(at, hash) {
            return;
        }
        if self.0.get(at).is_none() {
            self.0.insert(standing, at.clone(), Failed::default());
        }
        let Some(failed) = self.0.get_mut(at) else { return };
        failed.count = failed.count.saturating_add(1);
        failed.live = failed.live.saturating_add((timeliness == Timeliness::Live).into());
        failed.last.push_back(hash);
        if failed.last.len() > policy::FAILED_MESSAGES_TOLD_APART {
            failed.last.pop_front();
        }
    }

    /// Returns whether a message was counted.
    pub(in crate::manager) fn has(&self, at: &SessionAddress, hash: MessageHash) -> bool {
        self.0.get(at).is_some_and(|failed| failed.last.contains(&hash))
    }

    /// Returns how many different messages could not be decrypted since the last one that could.
    pub(in crate::manager) fn count(&self, at: &SessionAddress) -> u32 {
        self.0.get(at).map_or(0, |failed| failed.count)
    }

    /// Returns how many of these were sent just now.
    pub(in crate::manager) fn live(&self, at: &SessionAddress) -> u32 {
        self.0.get(at).map_or(0, |failed| failed.live)
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

    /// A message was decrypted, or the session was replaced.
    pub(in crate::manager) fn clear(&mut self, at: &SessionAddress) {
        self.0.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::address::{BareJid, DeviceId};
    use crate::protocol::namespace::Namespace::{Legacy, Omemo2};
    use Timeliness::{Delayed, Live};

    fn romeo() -> SessionAddress {
        let jid = BareJid::from_normalized("romeo@montague.lit");
        SessionAddress { jid, device: DeviceId::new(7).unwrap(), namespace: Omemo2 }
    }

    #[test]
    fn a_message_counts_once_until_one_is_decrypted() {
        for standing in Standing::ALL {
            let (mut failed, at) = (FailedMessages::default(), romeo());
            assert_eq!((failed.count(&at), failed.live(&at)), (0, 0));
            for (number, timeliness) in [(1, Live), (1, Live), (2, Delayed), (1, Delayed), (3, Live)] {
                failed.add(standing, &at, [number; 8], timeliness);
            }
            assert_eq!((failed.count(&at), failed.live(&at)), (3, 2));
            assert!(failed.has(&at, [2; 8]) && !failed.has(&at, [4; 8]));
            assert_eq!(failed.count(&at.in_namespace(Legacy)), 0);
            failed.report(&at);
            assert!(failed.is_reported(&at) && !failed.is_reported(&at.in_namespace(Legacy)));
            failed.clear(&at);
            assert_eq!((failed.count(&at), failed.has(&at, [1; 8])), (0, false));
            failed.report(&at);
            failed.add(standing, &at, [1; 8], Live);
            assert_eq!((failed.count(&at), failed.is_reported(&at)), (1, false));
        }
    }

    #[test]
    fn as_many_messages_are_told_apart_as_the_policy_says() {
        let (mut failed, at) = (FailedMessages::default(), romeo());
        let most = u8::try_from(policy::FAILED_MESSAGES_TOLD_APART).unwrap();
        for number in 0..=most {
            failed.add(Standing::Known, &at, [number; 8], Live);
        }
        assert!(!failed.has(&at, [0; 8]) && failed.has(&at, [1; 8]) && failed.has(&at, [most; 8]));
        assert_eq!(failed.count(&at), u32::from(most) + 1);
    }
}
