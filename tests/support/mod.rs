//! What the integration tests and benches share: a client over the C ABI and the world it lives in.
//!
//! `World` is the server, the clock and the wire; `Client` is one device that reaches the library only by its C
//! functions; `Store` is a storage of callbacks that can fail and be copied; `Peer` is another
//! implementation in a process of its own; `Hand` writes what no client does. Nothing else here looks into the library.

#![allow(dead_code, unused_imports, unreachable_pub)] // each test binary uses its own part
#![allow(unsafe_code)] // it calls C functions, that is what it is for
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::print_stderr
)] // a test fails by panicking

pub mod abi;
pub mod both;
mod callbacks;
pub mod client;
pub mod edit;
pub mod hand;
pub mod peer;
pub mod scene;
pub mod seeds;
pub mod store;
mod values;
pub mod world;

pub use client::{Client, Decrypted, Device, KeyParts, Outcome, Row, Setup, Trust, settle, status_name};
pub use hand::Hand;
pub use peer::Peer;
pub use store::Store;
pub use world::{Answer, Answering, Kind, Mail, Question, World};

pub const NS_2: &str = "urn:xmpp:omemo:2";
pub const NS_LEGACY: &str = "eu.siacs.conversations.axolotl";
