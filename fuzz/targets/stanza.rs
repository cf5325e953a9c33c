//! Runs the body of the same name under libFuzzer.

#![no_main]

#[path = "../../tests/support/abi.rs"]
#[allow(dead_code, unreachable_pub)] // as in the tests
mod abi;
#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::stanza::run(data));
