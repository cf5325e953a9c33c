//! What makes two questions the same, which kind a question is of, and which answers fit it.

use super::super::{Answer, Question};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;
use crate::runtime::next_number;

/// Names what a question is about. Two questions with the same key have the same answer and are asked once.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::manager) enum RequestKey {
    /// The device list of a JID.
    List(Namespace, BareJid),
    /// The bundle of a device.
    Bundle(Namespace, BareJid, DeviceId),
    /// The trust in these keys: sorted, each once.
    Trust(Vec<(BareJid, [u8; 32])>),
    /// A publication or a message: never the same as another one.
    Alone(u64),
}

impl RequestKey {
    /// Returns the key of a question.
    pub(in crate::manager) fn of(question: &Question) -> RequestKey {
        match question {
            Question::FetchDeviceList { namespace, jid } => RequestKey::List(*namespace, jid.clone()),
            Question::FetchBundle { namespace, jid, device } => {
                RequestKey::Bundle(*namespace, jid.clone(), *device)
            }
            Question::DecideTrust { devices, .. } => {
                let keys = devices.iter().map(|device| {
                    let key = device.identity_key.unwrap_or_default();
                    (device.jid.clone(), key)
                });
                let mut keys: Vec<_> = keys.collect();
                keys.sort();
                keys.dedup();
                RequestKey::Trust(keys)
            }
            _ => RequestKey::Alone(next_number()),
        }
    }
}

/// Who waits for a fetch. Other questions have no limit, so that their class does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum Class {
    /// An operation that the client started: it is served first.
    Foreground,
    /// Work that the library gave itself: it gets at most half of the slots, and only those that nobody else wants.
    Background,
    /// The same for somebody whom the client has never named: at most half of that, and last.
    Stranger,
}

/// Where a question waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Questions without a limit: publications, messages, and those to a person.
    Unlimited,
    /// Fetches of the foreground.
    Foreground,
    /// Fetches of the background.
    Background,
    /// Those for strangers.
    Stranger,
}

impl Lane {
    pub(super) const ALL: [Lane; 4] = [Lane::Unlimited, Lane::Foreground, Lane::Background, Lane::Stranger];

    /// Returns where a question of this class waits.
    pub(super) fn of(question: &Question, class: Class) -> Lane {
        match (is_fetch(question), class) {
            (false, _) => Lane::Unlimited,
            (true, Class::Foreground) => Lane::Foreground,
            (true, Class::Background) => Lane::Background,
            (true, Class::Stranger) => Lane::Stranger,
        }
    }
}

/// Returns whether the network answers a question, and not a person.
pub(super) fn is_network(question: &Question) -> bool {
    !matches!(question, Question::DecideTrust { .. })
}

/// Returns whether a question takes up a slot.
pub(super) fn is_fetch(question: &Question) -> bool {
    matches!(question, Question::FetchDeviceList { .. } | Question::FetchBundle { .. })
}

/// Returns whether a client may answer a question like this.
pub(super) fn fits(question: &Question, answer: &Answer) -> bool {
    match (question, answer) {
        (_, Answer::Rejected(_) | Answer::Refused(_) | Answer::Unreadable(_)) => true,
        (Question::FetchDeviceList { namespace, .. }, Answer::DeviceList(list)) => {
            list.namespace == *namespace
        }
        (Question::FetchBundle { namespace, .. }, Answer::Bundle(bundle)) => bundle.namespace == *namespace,
        (question, Answer::Done) => !is_fetch(question),
        _ => false,
    }
}
