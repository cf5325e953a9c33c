//! Fault matrices: in each of many flows every call of the storage and every request to the server fails in every way,
//! one at a time; then everything must come right again.
//!
//! By default every eighth entry is run, from `OMEMO_OFFSET` on; `OMEMO_FULL=1` runs all, and
//! `OMEMO_ENTRY=flow:n:kind` the one that is named, with the status of each call.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(clippy::print_stdout)] // sizes and entries are for people
#![allow(unreachable_pub)] // one crate, many modules

mod c_face;
mod check;
mod fault;
mod flow;
mod kept;
mod known;
mod matrix;
mod play;
mod spoilt;
mod stage;
#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code)] // crash uses all of it
#[path = "../crash/vfs.rs"]
mod vfs;
mod wire;

use matrix::Face::{C, Rust};

#[test]
fn every_failure_of_the_storage_comes_right_again() {
    matrix::play("storage", matrix::storage(Rust), 1_500);
}

#[test]
fn every_failure_of_the_network_comes_right_again() {
    matrix::play("network", matrix::network(Rust), 3_000);
}

#[test]
fn every_failure_of_the_file_comes_right_again() {
    matrix::play("file", matrix::file(), 10_000);
}

#[test]
fn no_failure_is_lost_between_the_faces() {
    let all: Vec<_> = matrix::storage(C).into_iter().chain(matrix::network(C)).collect();
    matrix::play("C face", all, 5_000);
}
