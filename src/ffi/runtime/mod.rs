//! A manager's life behind its handle: events, operations and its end; and the client's callbacks as services.

pub(super) mod client_callbacks;
pub mod manager_handle;
pub(super) mod wakeup;
