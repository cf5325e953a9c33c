//! The bodies of the fuzz targets: plain functions that take the fuzzer's bytes and panic where something is wrong.
//!
//! `fuzz/targets` runs them under libFuzzer, `tests/scenarios/corpora.rs` runs them on the committed corpora. Both crates
//! have the module `abi` of the tests beside this one: the C functions as a client sees them.

#![allow(dead_code, unreachable_pub)] // each crate uses its own part
#![allow(unsafe_code)] // the target `calls` calls C functions
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)] // a finding is a panic

pub mod bytes;
pub mod calls;
pub mod decrypt;
pub mod peer;
pub mod records;
pub mod stanza;
#[allow(clippy::duplicate_mod, reason = "tests replay these bodies beside the world that has it, too")]
#[path = "../../tests/support/world/storage.rs"]
pub mod storage;
pub mod world;
