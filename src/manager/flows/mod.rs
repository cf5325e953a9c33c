//! The use cases, one a file: each reads the model, writes through a transaction, and asks the engine.

pub(super) mod announce;
pub(super) mod answer;
pub(super) mod bundle;
pub(super) mod catch_up;
pub(super) mod connect;
pub(super) mod context;
pub(super) mod decrypt;
pub(super) mod device_list;
pub(super) mod devices;
pub(super) mod encrypt;
pub(super) mod give_up_id;
mod own_bundle;
pub(super) mod own_keys;
pub(super) mod purge_jid;
pub(super) mod purge_namespace;
pub(super) mod refresh;
pub(super) mod repair;
pub(super) mod replace_sessions;
pub(super) mod rotation;
pub(super) mod take_over;
pub(super) mod trust;
pub(super) mod trust_policy;
pub(super) mod worker;
