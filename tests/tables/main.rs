//! Decision tables: every sensible combination of what may stand before a message, through the C functions, against
//! ordered rules for people (`tests/data/decisions/`) that the library does not know.
//!
//! A part of the rows runs unless `OMEMO_FULL` is set. Every rule is also turned round once, and some row must then be
//! red.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(clippy::print_stdout, clippy::print_stderr)] // figures and wrong rows are for people
#![allow(unsafe_code)] // it calls C functions
#![allow(unreachable_pub)] // one crate, many modules

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod decrypt;
mod encrypt;
mod rules;
mod situation;
mod table;
