//! What the answer to a question means: found, certainly not there, refused, or not to be read; and whether it is an
//! answer to that question at all.
//!
//! Upon "not there" a new list is made, which would wipe out the devices of an old one. So only two things mean it:
//! a stanza error of the condition item-not-found, and items that hold no item.

use super::super::xml::malformed;
use super::super::{bundle, device_list};
pub use super::find::Asked;
use super::find::{Found, Query, find};
use crate::error::{Error, Result};
use crate::protocol::bundle::Bundle;
use crate::protocol::device_list::DeviceList;
use crate::protocol::namespace::Namespace;
use crate::protocol::stanza_error::{Condition, StanzaError};

/// The meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The thing that was asked for.
    Found(T),
    /// The server says that it does not exist.
    NotFound,
    /// The server refused, by any other error.
    Refused(StanzaError),
    /// What was sent cannot be read, or breaks a limit; the error says which.
    Unreadable(Error),
    /// An answer to something else: from another sender, about another node or item, or no answer but a request.
    Wrong,
}

impl<T> Answer<T> {
    fn of(found: Result<Found<T>>) -> Answer<T> {
        match found {
            Ok(Found::Thing(Ok(thing))) => Answer::Found(thing),
            Ok(Found::Empty) => Answer::NotFound,
            Ok(Found::Refused(error)) if error.condition == Some(Condition::ItemNotFound) => Answer::NotFound,
            Ok(Found::Refused(error)) => Answer::Refused(error),
            Ok(Found::Wrong) => Answer::Wrong,
            Ok(Found::Done | Found::Nothing) => {
                Answer::Unreadable(malformed("The answer does not hold what was asked for."))
            }
            Ok(Found::Thing(Err(error))) | Err(error) => Answer::Unreadable(error),
        }
    }
}

/// The answer to the question for a device list in this namespace. Of this account's own list all items count: other
/// devices of it may have published to different ones, and the next publication replaces them all.
pub fn device_list(xml: &[u8], namespace: Namespace, asked: &Asked<'_>) -> Answer<DeviceList> {
    let merge = (asked.jid == asked.account).then_some(DeviceList::merge as fn(&mut _, &_) -> _);
    let found = device_list::find(xml, Some(namespace), &Query { wanted: None, asked: Some(asked), merge });
    match Answer::of(found) {
        Answer::Found(list) => match device_list::check_size(&list) {
            Ok(()) => Answer::Found(list),
            Err(error) => Answer::Unreadable(error),
        },
        other => other,
    }
}

/// The answer to the question for the bundle of this device in this namespace.
pub fn bundle(xml: &[u8], namespace: Namespace, device: u32, asked: &Asked<'_>) -> Answer<Bundle> {
    let query = Query { wanted: Some(device), asked: Some(asked), merge: None };
    Answer::of(bundle::find(xml, Some(namespace), &query))
}

/// The answer to a publication, a deletion, or a message; never `NotFound`: what the server did not find, and what that
/// means, is known to the caller.
pub fn done(xml: &[u8], asked: &Asked<'_>) -> Answer<()> {
    let query = Query { wanted: None, asked: Some(asked), merge: None };
    match find(xml, &query, |_| None, |_, _, _| Ok(())) {
        Ok(Found::Done) => Answer::Found(()),
        Ok(Found::Refused(error)) => Answer::Refused(error),
        Ok(Found::Empty) => Answer::Unreadable(malformed("Items are no answer to a publication.")),
        other => Answer::of(other),
    }
}
