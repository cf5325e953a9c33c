//! Seeds: how many, and which one failed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A small generator of its own, so that a seed means the same with every version of every crate.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits (splitmix64).
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.roll() % end as u64) as usize }
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.roll() % 100 < chance
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Run a case once for each seed: `OMEMO_SEEDS` of them, else 20; the first is `OMEMO_FIRST_SEED`, else 1.
pub fn each(case: &str, run: impl FnMut(u64)) {
    at_most(case, u64::MAX, run);
}

/// As `each`, but with no more than `most` seeds unless `OMEMO_SEEDS` says otherwise: for the heavy cases.
pub fn at_most(case: &str, most: u64, mut run: impl FnMut(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("OMEMO_SEEDS").unwrap_or_else(|| most.min(20));
    let first = number("OMEMO_FIRST_SEED").unwrap_or(1);
    println!("{case}: seeds {first} to {}", first + count - 1);
    for seed in first..first + count {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("{case}: seed {seed} failed; again: OMEMO_FIRST_SEED={seed} OMEMO_SEEDS=1");
            resume_unwind(panic);
        }
    }
}
