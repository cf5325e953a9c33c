//! What the manager asks of the world and tells it: questions that are answered later, services that answer at once,
//! and notices. Knows nothing of who asks whom, and in which language.

use super::devices::{Device, Verdict};
use super::report::Outcome;
use crate::error::{Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::bundle::Bundle;
use crate::protocol::device_list::DeviceList;
use crate::protocol::message::Message;
use crate::protocol::namespace::Namespace;

/// The number of an open question; never 0, never used again in this process.
pub type RequestId = u64;

/// The number of a running operation; never 0, never used again in this process.
pub type OperationId = u64;

/// What only the network or a person can answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
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

/// Why a question has no answer.
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

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Published, or sent; for a question about trust: the levels noted by `decide` hold.
    Done,
    /// The device list that was asked for.
    DeviceList(DeviceList),
    /// The bundle that was asked for.
    Bundle(Bundle),
    /// The levels of the keys that were judged, in Ed25519 form; made by the manager from `decide`.
    Levels(Vec<(BareJid, [u8; 32], String)>),
    /// There is no answer.
    Rejected(Reason),
}

/// News that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub kind: NoticeKind,
    /// Where, if it matters.
    pub namespace: Option<Namespace>,
    /// To whom, if it matters.
    pub jid: Option<BareJid>,
    /// To which device; 0: none.
    pub device: u32,
    /// What went wrong, or `Ok`.
    pub status: Status,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// A device appeared, vanished, or got its key.
    Devices,
    /// A device shows another identity key than the confirmed one.
    IdentityChanged,
    /// A device left omemo:2, which is preferred, and is served by legacy now.
    Downgraded,
    /// The own bundle or list cannot be published; it is tried again later.
    PublishFailed,
}

/// What `next_event` gives.
#[derive(Debug)]
pub enum Event {
    /// A question is asked, once.
    Ask(RequestId, Question),
    /// Nobody needs this answer any more.
    Withdrawn(RequestId),
    /// An operation is over.
    Done(OperationId, Outcome),
    /// News.
    Notify(Notice),
}

/// How important a line of log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum LogLevel {
    /// A bug of this library.
    Error = 1,
    /// Needs a person.
    Warn = 2,
    /// What happens to the account.
    Info = 3,
    /// What happens to single messages.
    Debug = 4,
}

/// What is answered at once. May be called with the account's lock held; must not call the manager.
pub trait Services: Send + Sync {
    /// What a device's level name comes to; `UnknownTrustLevel` if nobody knows that name.
    fn evaluate_trust(&self, device: &Device) -> Result<Verdict>;

    /// Milliseconds since 1970 (UTC). May jump.
    fn wall_clock(&self) -> i64;

    /// Milliseconds of a clock that never goes back, or `None` to have them taken from the steps of `wall_clock`.
    fn steady_clock(&self) -> Option<u64>;

    /// There is work: have `next_event` called soon. Called with no lock held.
    fn wakeup(&self);

    /// A line of log without secrets, texts or JIDs.
    fn log(&self, level: LogLevel, target: &'static str, line: &str);
}
