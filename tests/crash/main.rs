//! The store in a file, through everything that can happen to a process and its disk: failing calls, no memory, power cuts,
//! `kill -9`, a second process, many threads, files that somebody has damaged. Each test reads afterwards what is there, and
//! compares it with what was reported as done.
//!
//! By default each test runs a part; `OMEMO_FULL=1` runs all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(clippy::print_stdout)] // counts and seeds are for people
#![allow(unreachable_pub)] // one crate, many modules

mod allocator;
mod damaged;
mod failures;
mod killed;
mod power;
mod secrets;
mod stage;
mod threads;
#[allow(dead_code)] // faults uses the rest
mod vfs;
