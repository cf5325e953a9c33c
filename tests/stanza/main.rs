//! XML in and out through `stanza`, and what a hostile stanza may cost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(unsafe_code)] // a counting allocator

mod answers;
mod bundles;
mod ceilings;
mod legacy;
mod lists;
mod messages;
mod properties;
mod push;
mod reading;

#[path = "../support/heap.rs"]
mod heap;
#[path = "../support/sample_bundle.rs"]
mod sample_bundle;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;
