//! What only the network or a person can answer, and the answers.

use super::device::Device;
use crate::error::Error;
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::bundle::Bundle;
use crate::protocol::device_list::DeviceList;
use crate::protocol::message::Message;
use crate::protocol::namespace::Namespace;
use crate::protocol::stanza_error::StanzaError;

/// The number of an open request; never 0, never used again in this process.
pub type RequestId = u64;

/// Orders the calls that bring facts: a call that began later has a greater one. The default is older than every call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(pub u64);

/// What only the network or a person can answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The device list that `jid` announces in `namespace`.
    FetchDeviceList {
        /// In which namespace.
        namespace: Namespace,
        /// Whose.
        jid: BareJid,
    },
    /// The bundle of one device.
    FetchBundle {
        /// In which namespace.
        namespace: Namespace,
        /// Whose.
        jid: BareJid,
        /// Of which device.
        device: DeviceId,
    },
    /// Replace the own device list.
    PublishDeviceList {
        /// By this one.
        list: DeviceList,
    },
    /// Replace the bundle of this device.
    PublishBundle {
        /// This device.
        device: DeviceId,
        /// By this one.
        bundle: Bundle,
    },
    /// Delete the bundle that this device has published in a namespace which it leaves.
    DeleteBundle {
        /// In which namespace.
        namespace: Namespace,
        /// Under which id.
        device: DeviceId,
    },
    /// Send a message that no user sees.
    SendMessage {
        /// To whom.
        jid: BareJid,
        /// The message.
        message: Message,
    },
    /// Judge the keys of these devices.
    DecideTrust {
        /// All that are undecided, each with its key.
        devices: Vec<Device>,
        /// What the draft says it is about.
        context: Option<String>,
    },
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The server said item-not-found.
    NotFound,
    /// Any other error, or an answer that makes no sense.
    Failed,
    /// No answer came in time.
    Timeout,
    /// The stream broke.
    Offline,
    /// The user closed the dialog, or does not want this message to be sent.
    Declined,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Published, or sent; for a request about trust: the levels noted by `decide` hold.
    Done,
    /// The device list that was asked for.
    DeviceList(DeviceList),
    /// The bundle that was asked for.
    Bundle(Bundle),
    /// The levels of the keys that were judged, in Ed25519 form, each with the stamp of its decision; made by the
    /// manager from `decide`.
    Levels(Vec<(BareJid, [u8; 32], String, Stamp)>),
    /// There is no answer.
    Rejected(Reason),
    /// The server refused, by another condition than item-not-found to a fetch or deletion, which is
    /// `Rejected(Reason::NotFound)`.
    Refused(StanzaError),
    /// What the server sent cannot be read (`Malformed`) or breaks a limit (`Limit`).
    Unreadable(Error),
}
