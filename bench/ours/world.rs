//! What is measured in the simulated world of the tests: rooms, a catch-up, and acknowledged delivery.
//!
//! Prints `{"op", "value", "limit"}` one a line. `scripts/bench` shows them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    unreachable_pub,
    reason = "a program of its own, not the library"
)]

#[macro_use]
#[path = "../../tests/support/mod.rs"]
#[allow(unused_macros, reason = "shared with the tests")]
mod support;

mod acknowledged;
mod catch_up;
mod room;

fn print(op: &str, value: f64, limit: f64) {
    println!("{{\"op\": \"{op}\", \"value\": {value:.1}, \"limit\": {limit:.1}}}");
}

fn main() {
    room::run();
    catch_up::run();
    acknowledged::run();
}
