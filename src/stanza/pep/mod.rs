//! Device lists and bundles as PEP nodes (XEP-0163): what an answer to a request means, what was pushed, and how both are
//! found in a stanza.

pub mod answer;
mod find;
pub mod push;

pub(super) use find::{Found, Query, find};
