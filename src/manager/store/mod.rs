//! What is stored, and how a call commits it: typed records behind one transaction, caches, and the index of JIDs.

pub(super) mod account;
mod cache;
pub(super) mod check;
mod commit;
pub(super) mod copying;
pub(super) mod current_session;
pub(super) mod directory;
mod integrity;
mod inventory;
mod kept;
mod keys;
pub(super) mod opening;
pub(super) mod records;
pub(super) mod removal;
pub(super) mod sealing;
mod session_removal;
pub(super) mod sessions;
mod staged;
pub(super) mod transaction;
mod unknown_fields;
