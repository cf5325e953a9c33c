//! The protocol as pure state machines: no storage, no network, no clock; randomness is an argument.
//!
//! A session begins with a key agreement (`x3dh`) on somebody's `bundle`, announced by a `key_exchange`, and goes on
//! as a Double Ratchet (`ratchet`, `chain`, `skipped_keys`). What it transports is the key of a `payload`. The two
//! namespaces differ in one table, `profile`, and in the bytes of the `messages`.

pub mod address;
pub mod bundle;
pub mod chain;
mod chain_budget;
pub mod closed_chains;
pub mod device_list;
pub mod foreign;
pub mod label;
pub mod limits;
pub mod message;
pub mod messages;
pub mod namespace;
pub mod payload;
pub mod pre_key;
pub mod profile;
mod ranges;
pub mod ratchet;
pub mod role;
pub mod session;
mod session_record;
pub mod skipped_keys;
pub mod stanza_error;
#[cfg(test)]
mod tests;
pub mod x3dh;
