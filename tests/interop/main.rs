//! With other implementations, each in a process of its own: `scripts/test interop` makes them and names them to the
//! tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout)] // small numbers, told to who runs it
#![allow(unsafe_code)] // drafts are filled by C functions

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod begin;
mod contents;
mod labels;
mod mending;
mod mixed;
mod offline;
mod order;
mod peers;
mod restored;
mod trust;
