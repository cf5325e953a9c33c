//! What makes two requests the same, which kind a request is of, and which answers fit it.

use super::super::{Answer, Request};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::namespace::Namespace;
use crate::runtime::next_number;

/// Names what a request is about. Two requests with the same key have the same answer and are asked once.
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
    /// Returns the key of a request.
    pub(in crate::manager) fn of(request: &Request) -> RequestKey {
        match request {
            Request::FetchDeviceList { namespace, jid } => RequestKey::List(*namespace, jid.clone()),
            Request::FetchBundle { namespace, jid, device } => {
                RequestKey::Bundle(*namespace, jid.clone(), *device)
            }
            Request::DecideTrust { devices, .. } => {
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

/// For whom a fetch is made, which decides when its turn comes. Requests that are no fetches have no limit and no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum Class {
    /// An operation that the client started: it is served first.
    Foreground,
    /// Work of the library itself: at most half of the places for fetches, and only while no foreground fetch waits.
    Background,
    /// The same for a JID that the client has never named: at most a quarter of the places, and last.
    Stranger,
}

/// Where a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Requests without a limit: publications, messages, and those to a person.
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

    /// Returns where a request of this class waits.
    pub(super) fn of(request: &Request, class: Class) -> Lane {
        match (is_fetch(request), class) {
            (false, _) => Lane::Unlimited,
            (true, Class::Foreground) => Lane::Foreground,
            (true, Class::Background) => Lane::Background,
            (true, Class::Stranger) => Lane::Stranger,
        }
    }
}

/// Returns whether the network answers a request, and not a person.
pub(super) fn is_network(request: &Request) -> bool {
    !matches!(request, Request::DecideTrust { .. })
}

/// Returns whether a request takes one of the limited places.
pub(super) fn is_fetch(request: &Request) -> bool {
    matches!(request, Request::FetchDeviceList { .. } | Request::FetchBundle { .. })
}

/// Returns whether a client may answer a request like this.
pub(super) fn fits(request: &Request, answer: &Answer) -> bool {
    match (request, answer) {
        (_, Answer::Rejected(_) | Answer::Refused(_) | Answer::Unreadable(_)) => true,
        (Request::FetchDeviceList { namespace, .. }, Answer::DeviceList(list)) => {
            list.namespace == *namespace
        }
        (Request::FetchBundle { namespace, .. }, Answer::Bundle(bundle)) => bundle.namespace == *namespace,
        (request, Answer::Done) => !is_fetch(request),
        _ => false,
    }
}
