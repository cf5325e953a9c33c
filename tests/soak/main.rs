//! Soak: two virtual years of one device among devices that come and go, strangers, and a client that takes it off its own
//! list again and again. Publish limits hold, no pre key is published twice, keys are replaced on time, no text is lost,
//! and neither memory nor store grow.
//!
//! A program of its own, because its allocator counts what one device out of many holds. `OMEMO_SEED` is the seed of the
//! life, `OMEMO_DAYS` its length; with `OMEMO_FULL` each face lives in each namespace.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(clippy::arithmetic_side_effects)] // small numbers
#![allow(clippy::print_stdout)] // figures are for people
#![allow(unreachable_pub)] // one crate, many modules

mod life;
mod memory;
mod people;
#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[allow(unsafe_code, reason = "a counting allocator")]
#[path = "../support/tagged_heap.rs"]
mod tagged_heap;
mod tested;
mod watch;

use life::Life;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use support::world::{CDevice, RustDevice};
use tested::Tested;

#[global_allocator]
static ALLOCATOR: tagged_heap::Tagging = tagged_heap::Tagging;

/// The bounds of the option: the bundle is kept full, or filled up when so few pre keys are left.
const MOST: usize = 99;
const LEAST: usize = 25;

fn number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

/// Lives two years, and checks what its samples say.
fn soak<D: Tested>(face: &str, namespace: Namespace, pre_key_threshold: usize) {
    let days = number("OMEMO_DAYS").unwrap_or(2 * life::YEAR);
    let seed = number("OMEMO_SEED").unwrap_or(1);
    let before_ms = memory::cpu_ms();
    let mut life = Life::<D>::begin(namespace, seed.into(), pre_key_threshold);
    life.live(days);
    println!("{face}, {namespace:?}, seed {seed}: {}", life.figures());
    println!("{face}, {namespace:?}: {} ms of CPU time in this thread", memory::cpu_ms() - before_ms);
    life.check();
}

/// One after the other: two at a time would share what numbers are drawn from, and no seed would give the same life again.
#[test]
fn two_years_on_each_face() {
    soak::<RustDevice>("Rust", Omemo2, MOST);
    soak::<CDevice>("C", Legacy, LEAST);
    if std::env::var_os("OMEMO_FULL").is_some() {
        soak::<RustDevice>("Rust", Legacy, LEAST);
        soak::<CDevice>("C", Omemo2, MOST);
    }
}
