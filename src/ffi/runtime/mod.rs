//! A manager's life behind its handle: events, operations and its end; and the client's callbacks as services.

pub mod core;
pub(super) mod host;
