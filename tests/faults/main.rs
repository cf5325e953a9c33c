//! Fault matrices: in each of many flows every call of the storage and every request to the server fails in every way,
//! one at a time; then everything must come right again.
//!
//! By default every eighth entry is run, from `OMEMO_OFFSET` on; `OMEMO_FULL=1` runs all, and
//! `OMEMO_ENTRY=flow:n:kind` the one that is named, with the status of each call.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(clippy::print_stdout)] // sizes and entries are for people
#![allow(unreachable_pub)] // one crate, many modules

mod check;
mod fault;
mod flow;
mod known;
mod matrix;
mod play;
mod stage;
#[macro_use]
#[path = "../support/mod.rs"]
mod support;
mod wire;

#[test]
fn every_failure_of_the_storage_comes_right_again() {
    matrix::play("storage", matrix::storage(), 1_500);
}

#[test]
fn every_failure_of_the_network_comes_right_again() {
    matrix::play("network", matrix::network(), 3_000);
}
