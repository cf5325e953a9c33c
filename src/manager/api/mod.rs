//! The words shared with the client. Imports nothing of the manager.

pub mod catch_up;
pub mod decrypted;
pub mod device;
pub mod draft;
pub mod event;
pub mod keep;
pub mod report;
pub mod request;
pub mod services;
pub mod trust_policy;
