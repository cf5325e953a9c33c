//! The C ABI: thin and boring, and the only place of unsafe code.
//!
//! One file for each section of `include/omemo.h`, which cbindgen makes of them: a doc comment here is the manual there.
//! Every function goes through `guard`; everything that crosses the border is checked and cast in `text` and `table`;
//! `core` holds the contract about events, operations and the end of a manager.

#![allow(unsafe_code)]
#![allow(non_camel_case_types, reason = "types have the names that C knows them by")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract at the top of the header says what a caller promises"
)]
#![allow(clippy::doc_lazy_continuation, reason = "these comments are printed in the header as they stand")]

pub mod bundle;
pub mod callbacks;
pub mod config;
pub mod core;
pub mod decrypted;
pub mod device_list;
pub mod devices;
pub mod draft;
mod guard;
mod host;
pub mod key_parts;
pub mod log;
pub mod manager;
pub mod message;
mod numbers;
pub mod requests;
pub mod results;
pub mod status;
pub mod storage;
pub mod strings;
mod table;
mod text;
pub mod trust;
pub mod user_data;
