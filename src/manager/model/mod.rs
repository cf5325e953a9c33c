//! What the manager knows, as values: identities, devices, trust, own keys, the outbox, freshness. Pure: no store, no
//! network, no waiting.

pub(super) mod address;
pub(super) mod backoff;
pub(super) mod bounded;
pub(super) mod bucket;
pub(super) mod bundle_looks;
pub(super) mod catch_up;
pub(super) mod contact;
pub(super) mod device;
pub(super) mod expiry;
pub(super) mod fact;
pub(super) mod failed_messages;
pub(super) mod identity;
pub(super) mod job;
pub(super) mod kept;
pub(super) mod list_looks;
pub(super) mod memory;
pub(super) mod namespaces;
pub(super) mod outbox;
pub(super) mod own_list;
pub(super) mod pre_keys;
pub(super) mod rollback;
pub(super) mod rotation;
pub(super) mod session_set;
pub(super) mod stamps;
pub(super) mod standing;
pub(super) mod trust;
pub(super) mod unsolicited;
