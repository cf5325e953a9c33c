//! What an answer of the client amounted to when it was taken over.

use crate::error::{Error, Result, Status};
use crate::protocol::bundle::VerifiedBundle;
use crate::protocol::device_list::DeviceList;

/// See the module.
#[derive(Clone, Default)]
pub(in crate::manager) enum Fact {
    /// A device list; a JID without one announces nothing.
    List(Result<DeviceList>),
    /// What a bundle says of its device's identity key.
    Bundle(Result<Fetched>),
    /// What stands under this device's own id, or what a person has decided, was stored.
    Stored(Result<()>),
    /// Only who asked knows what the answer means. Also what those get whose answer could not be taken over.
    #[default]
    None,
}

/// What became of the fetch of a bundle.
#[derive(Clone)]
pub(in crate::manager) enum Fetched {
    /// The device may be served with it.
    Usable(Box<FetchedBundle>),
    /// It may not, or there is none.
    Failed(Error),
    /// The client has said something newer about the device's key: the answer tells nothing any more.
    Outdated,
}

/// A bundle, with when it came.
#[derive(Clone)]
pub(in crate::manager) struct FetchedBundle {
    pub(in crate::manager) verified: VerifiedBundle,
    /// In aged milliseconds.
    pub(in crate::manager) at_ms: u64,
    pub(in crate::manager) stream: u64,
}

fn lost<T>() -> Result<T> {
    Err(Error::new(Status::Internal, "The answer to a request was lost."))
}

impl Fact {
    /// Returns the list that was asked for.
    pub(in crate::manager) fn list(self) -> Result<DeviceList> {
        match self {
            Fact::List(list) => list,
            _ => lost(),
        }
    }

    /// Returns the bundle that was asked for.
    pub(in crate::manager) fn bundle(self) -> Result<Fetched> {
        match self {
            Fact::Bundle(bundle) => bundle,
            // The id has become this device's own meanwhile.
            Fact::Stored(_) => Ok(Fetched::Outdated),
            _ => lost(),
        }
    }

    /// Returns whether what was asked for was stored.
    pub(in crate::manager) fn stored(self) -> Result<()> {
        match self {
            Fact::Stored(stored) => stored,
            _ => lost(),
        }
    }
}
