//! What the integration tests share: one world, and the devices that live in it.
//!
//! `World` is the server, the clock and the wire; `Device` is a device of ours behind either face of the library:
//! `RustDevice` over the manager, `Client` by the C functions only; `FaultyStorage` is what both store in; `RawDevice`
//! writes what no client does; `Peer` is another implementation in a process of its own.

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
#[macro_use]
pub mod both;
mod callbacks;
pub mod client;
pub mod edit;
#[macro_use]
pub mod interop_run;
pub mod peer;
mod requests;
pub mod seeds;
pub mod store_file;
mod values;
pub mod workers;
pub mod world;

pub use client::{Client, Decrypted, Device, KeyParts, Outcome, Row, Setup, Trust, settle, status_name};
pub use peer::Peer;
pub use world::raw::RawDevice;
pub use world::{Answer, Answering, Kind, Mail, Request, World};

/// What a `Client` stores in.
pub type Store = std::sync::Arc<world::FaultyStorage>;

pub const NS_2: &str = "urn:xmpp:omemo:2";
pub const NS_LEGACY: &str = "eu.siacs.conversations.axolotl";

pub const ROMEO: &str = "romeo@montague.lit";
pub const JULIET: &str = "juliet@capulet.lit";
pub const TYBALT: &str = "tybalt@capulet.lit";
