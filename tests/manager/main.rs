//! What the manager promises, rule by rule, through its Rust face: the R-numbers of the design, each row of the table
//! of decryption, and what a store or a network that fails leaves behind; in both namespaces where it holds in both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(unreachable_pub)] // one crate, many modules

#[macro_use]
#[path = "../support"]
mod support {
    #[macro_use]
    pub mod both;
}

mod chance;
mod crossing;
mod decrypt;
mod encrypt;
mod faults;
mod follow_up;
mod identity;
mod labels;
mod leaving;
mod namespaces;
mod rotation;
mod setup;
mod sign;
mod trouble;
mod world;
