//! Holds the repository together: pages and header against the code, exported symbols, layers and rooms of the source.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers

mod building;
mod docs;
mod header;
mod header_docs;
mod layers;
mod parity;
mod planted;
mod rooms;
mod shape;
mod symbols;
mod words;
