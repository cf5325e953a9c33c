//! What `protocol` and `crypto` promise, without a manager: bytes on the wire, the ratchet, the primitives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers

#[macro_use]
#[path = "../support"]
mod support {
    #[macro_use]
    pub(crate) mod both;
}

mod ratchet;
mod wire;
mod wycheproof;
