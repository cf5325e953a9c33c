//! The functions of the header: one file for each of its sections, and what its enumerations mean in the core.

pub mod bundle;
pub mod callbacks;
pub mod config;
pub mod core_trust;
pub mod decrypt;
pub mod decrypted;
pub mod device_list;
pub mod device_sessions;
pub mod devices;
pub mod encrypt;
mod enums;
pub mod log;
pub mod manager;
pub mod manager_devices;
pub mod message;
pub mod operations;
pub mod options;
pub mod own_device;
pub mod requests;
pub mod results;
pub mod status;
pub mod storage;
pub mod storage_care;
pub mod storage_sealed;
pub mod strings;
pub mod trust;
pub mod trust_policy;
