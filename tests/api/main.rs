//! What the C functions do that the manager does not: strings, structures, drafts, rows and codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(unsafe_code)] // it calls C functions

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/sample_bundle.rs"]
mod sample_bundle;

mod answers;
mod decrypt_table;
mod first_login;
mod key_transport;
mod namespaces;
mod options;
mod parsing;
mod trust_policy;
