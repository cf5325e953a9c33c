//! What reaches the client: requests, ends of operations, notices.

use super::report::Outcome;
use super::request::{Request, RequestId};
use crate::error::Status;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;

/// The number of a running operation; never 0, never used again in this process.
pub type OperationId = u64;

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
    /// Messages of a listed device cannot be decrypted.
    SessionBroken,
    /// This store is an older copy, or one of two: no session sends any more.
    RolledBack,
    /// A trust policy has trusted keys without asking the user.
    BlindlyTrusted,
    /// A message is not for keys about which nobody has decided, and the user was not asked.
    Undecided,
}

/// What `next_event` gives.
#[derive(Debug)]
pub enum Event {
    /// A request is asked, once.
    Request(RequestId, Request),
    /// Nobody needs this answer any more.
    Withdrawn(RequestId),
    /// An operation is over.
    Done(OperationId, Outcome),
    /// News.
    Notify(Notice),
}
