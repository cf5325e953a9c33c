//! What is stored, and how a call commits it: typed records behind one transaction, caches, and the index of JIDs.

pub(super) mod account;
mod cache;
mod commit;
pub(super) mod current_session;
pub(super) mod directory;
mod integrity;
mod kept;
mod keys;
pub(super) mod opening;
pub(super) mod records;
pub(super) mod removal;
mod session_removal;
pub(super) mod sessions;
mod staged;
pub(super) mod transaction;
mod unknown_fields;
