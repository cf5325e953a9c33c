//! Runs the body of the same name under libFuzzer.

#![no_main]

#[path = "../../tests/support/abi.rs"]
#[allow(dead_code, unreachable_pub)] // as in the tests
mod abi;
#[path = "../bodies/mod.rs"]
mod bodies;

// What all inputs share is made before the first one, whose time is limited.
libfuzzer_sys::fuzz_target!(init: { bodies::decrypt::fixture(); }, |data: &[u8]| bodies::decrypt::run(data));
