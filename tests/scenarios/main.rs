//! Whole devices in the simulated world: the traps that other implementations fell into, long conversations by chance,
//! and the corpora of the fuzz targets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout)] // small numbers, told to who runs it
#![allow(unsafe_code)] // a counting allocator

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;
#[path = "../support/heap.rs"]
mod heap;

mod acknowledged;
mod clock_jumps;
mod corpora;
mod mending;
mod rules;
mod rules_legacy;
mod simulated;
mod trust_policies;
mod world;

// What the fuzz targets call the C functions by.
use support::abi;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;
