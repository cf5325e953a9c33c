//! A manager's life behind its handle: events, operations and its end; and the client's callbacks as services.

pub(super) mod calls;
pub(super) mod client_callbacks;
pub(super) mod completion;
pub(super) mod events;
pub mod manager_handle;
pub(super) mod operations;
pub(super) mod wakeup;
