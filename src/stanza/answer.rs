//! What the answer to a question means: found, certainly not there, or anybody's guess.
//!
//! Upon "not there" a new list is made, which would wipe out the devices of an old one. So only two things mean it:
//! a stanza error of the condition item-not-found, and items that hold no item.

use super::pep::{self, Found};
use super::{bundle, device_list};
use crate::error::Result;
use crate::protocol::bundle::Bundle;
use crate::protocol::device_list::DeviceList;
use crate::protocol::namespace::Namespace;

/// The meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The thing that was asked for.
    Found(T),
    /// The server says that it does not exist.
    NotFound,
    /// Anything else: another error, or what cannot be read.
    Failed,
}

impl<T> Answer<T> {
    fn of(found: Result<Found<T>>) -> Answer<T> {
        match found {
            Ok(Found::Thing(Ok(thing))) => Answer::Found(thing),
            Ok(Found::Empty | Found::Refused(true)) => Answer::NotFound,
            Ok(Found::Thing(Err(_)) | Found::Refused(false) | Found::Done | Found::Nothing) | Err(_) => {
                Answer::Failed
            }
        }
    }
}

/// The answer to the question for a device list in this namespace.
pub fn device_list(xml: &[u8], namespace: Namespace) -> Answer<DeviceList> {
    Answer::of(device_list::find(xml, Some(namespace)))
}

/// The answer to the question for the bundle of this device in this namespace.
pub fn bundle(xml: &[u8], namespace: Namespace, device: u32) -> Answer<Bundle> {
    Answer::of(bundle::find(xml, Some(namespace), Some(device)))
}

/// The answer to a publication or deletion.
pub fn done(xml: &[u8]) -> Answer<()> {
    match pep::find(xml, None, |_| None, |_, _, _| Ok(())) {
        Ok(Found::Done) => Answer::Found(()),
        other => Answer::of(other),
    }
}
