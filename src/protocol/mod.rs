//! The protocol as pure state machines: no storage, no network, no clock; randomness is an argument.

pub mod address;
pub mod bundle;
pub mod device_list;
pub mod limits;
pub mod message;
pub mod namespace;
