//! What fails: the kinds, and how one of them is brought about in a store or in place of an answer.

use crate::support::world::{Fault, FaultyStorage};
use omemo::error::Status;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::bundle::Bundle;
use omemo::protocol::device_list::DeviceList;
use omemo::protocol::namespace::Namespace::{Legacy, Omemo2};
use omemo::protocol::stanza_error::{Condition, StanzaError};
use std::sync::atomic::Ordering::SeqCst;

/// What goes wrong with a call of the storage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StorageKind {
    CommitNothing,
    CommitEverything,
    /// Fails until it is healed, at the end of the flow.
    CommitForEver,
    CommitLocked,
    /// The process ends right after that commit.
    CommitEnds,
    LoadOnce,
    LoadForEver,
    LoadLocked,
}

impl StorageKind {
    pub const COMMITS: [StorageKind; 5] = [
        Self::CommitNothing,
        Self::CommitEverything,
        Self::CommitForEver,
        Self::CommitLocked,
        Self::CommitEnds,
    ];
    pub const LOADS: [StorageKind; 3] = [Self::LoadOnce, Self::LoadForEver, Self::LoadLocked];

    pub fn name(self) -> &'static str {
        match self {
            Self::CommitNothing => "commit-stores-nothing",
            Self::CommitEverything => "commit-stores-everything",
            Self::CommitForEver => "commit-fails-for-ever",
            Self::CommitLocked => "commit-locked",
            Self::CommitEnds => "process-ends-after-commit",
            Self::LoadOnce => "load-fails",
            Self::LoadForEver => "load-fails-for-ever",
            Self::LoadLocked => "load-locked",
        }
    }

    /// Whether a step was stored of which the library said that it failed.
    pub fn stores(self) -> bool {
        matches!(self, Self::CommitEverything | Self::CommitEnds)
    }

    /// Has the `n`th call from now on fail.
    pub fn plant(self, storage: &FaultyStorage, n: usize) {
        storage.locked.store(matches!(self, Self::CommitLocked | Self::LoadLocked), SeqCst);
        storage.keep_failing(matches!(self, Self::CommitForEver | Self::CommitEnds | Self::LoadForEver));
        match self {
            Self::CommitNothing | Self::CommitForEver | Self::CommitLocked => storage.fail(n, Fault::Nothing),
            Self::CommitEverything | Self::CommitEnds => storage.fail(n, Fault::Everything),
            Self::LoadOnce | Self::LoadForEver | Self::LoadLocked => storage.fail_load(n),
        }
    }
}

/// What comes in place of the answer to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NetworkKind {
    Rejected(Reason),
    Refused(Option<Condition>),
    Unreadable(Status),
    /// Nothing at all.
    Silence,
    /// The stream breaks before the server has done anything, or after it has.
    Breaks,
    BreaksAfter,
    /// It is done, but the client hears of a timeout.
    Lost,
    /// The stream breaks, and the answer comes in the next one.
    Late,
    Twice,
    WrongAnswer,
    /// Something of the right form that is of no use: an empty list, a bundle with a wrong signature, a success of
    /// which nothing stays.
    Hollow,
}

impl NetworkKind {
    pub fn all() -> Vec<NetworkKind> {
        let reasons = [Reason::NotFound, Reason::Failed, Reason::Timeout, Reason::Offline, Reason::Declined];
        let mut all: Vec<NetworkKind> = reasons.into_iter().map(Self::Rejected).collect();
        all.extend(Condition::ALL.iter().map(|condition| Self::Refused(Some(*condition))));
        all.extend([
            Self::Refused(None),
            Self::Unreadable(Status::Malformed),
            Self::Unreadable(Status::Limit),
            Self::Silence,
            Self::Breaks,
            Self::BreaksAfter,
            Self::Lost,
            Self::Late,
            Self::Twice,
            Self::WrongAnswer,
            Self::Hollow,
        ]);
        all
    }

    pub fn name(self) -> String {
        match self {
            Self::Rejected(Reason::NotFound) => "item-is-not-found".into(),
            Self::Rejected(reason) => format!("{reason:?}").to_lowercase(),
            Self::Refused(Some(condition)) => condition.name().into(),
            Self::Refused(None) => "refused".into(),
            Self::Unreadable(Status::Limit) => "too-long".into(),
            Self::Unreadable(_) => "malformed".into(),
            Self::Silence => "silence".into(),
            Self::Breaks => "stream-breaks".into(),
            Self::BreaksAfter => "stream-breaks-after".into(),
            Self::Lost => "answer-lost".into(),
            Self::Late => "answer-late".into(),
            Self::Twice => "answer-twice".into(),
            Self::WrongAnswer => "wrong-answer".into(),
            Self::Hollow => "hollow".into(),
        }
    }

    /// Whether it is right that what was to be taken off the server stays there: the client was told that it was gone,
    /// or that its user does not want it to go.
    pub fn leaves(self) -> bool {
        matches!(
            self,
            Self::Rejected(Reason::NotFound | Reason::Declined)
                | Self::Refused(Some(Condition::ItemNotFound))
                | Self::Hollow
        )
    }
}

/// An error of the server.
pub fn refusal(condition: Option<Condition>) -> Answer {
    Answer::Refused(StanzaError { condition, text: Some("the text of a server".into()) })
}

/// An answer that no such request has.
pub fn wrong_answer(request: &Request) -> Answer {
    match request {
        Request::FetchDeviceList { namespace, .. } => {
            let other = if *namespace == Omemo2 { Legacy } else { Omemo2 };
            Answer::DeviceList(DeviceList::new(other))
        }
        Request::FetchBundle { .. } => Answer::Done,
        _ => Answer::DeviceList(DeviceList::new(Omemo2)),
    }
}

/// An answer of the right form that is of no use; `truth`: what the server has.
pub fn hollow(request: &Request, truth: Option<Bundle>) -> Answer {
    match (request, truth) {
        (Request::FetchDeviceList { namespace, .. }, _) => Answer::DeviceList(DeviceList::new(*namespace)),
        (Request::FetchBundle { .. }, Some(mut bundle)) => {
            bundle.signature[5] ^= 1;
            Answer::Bundle(bundle)
        }
        (Request::FetchBundle { .. }, None) => Answer::Rejected(Reason::NotFound),
        _ => Answer::Done,
    }
}
