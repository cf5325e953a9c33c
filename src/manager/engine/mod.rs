//! How things advance: the clock, open requests, running operations, the order of encryptions, background jobs, and
//! when the client is woken. Knows no OMEMO.
//!
//! Nothing here has a thread of its own. Calls only note what happened; `Engine::next_event` advances the tasks. All
//! locks of this room are leaves: no waker, no client's function and no job runs with one of them held.

mod background;
mod clock;
mod driver;
mod operations;
mod requests;
mod send_order;
mod wake;

// The words shared with the client: the files of this room take them from here.
use super::api::event::{Event, OperationId};
use super::api::report::Outcome;
use super::api::request::{Answer, Reason, Request, RequestId, Stamp};
use super::api::services::Services;

pub(in crate::manager) use background::{Background, Jobs};
pub(in crate::manager) use clock::{Clock, Now, Stamps};
pub(in crate::manager) use driver::Engine;
pub(in crate::manager) use operations::{OperationKind, Operations};
pub(in crate::manager) use requests::{Class, Noted, OpenRequests, RequestKey, Response, Settled};
pub(in crate::manager) use send_order::{SendOrder, Ticket};

#[cfg(test)]
mod tests;
