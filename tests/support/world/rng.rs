//! Randomness for the library from a seed.

use omemo::crypto::rng::Rng;
use omemo::error::Result;
use omemo::runtime::next_number;
use rand::{Rng as _, SeedableRng};

/// A generator that starts with a seed.
pub struct Seeded(rand::rngs::StdRng);

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded(rand::rngs::StdRng::seed_from_u64(seed))
    }

    /// Another one each time.
    pub fn fresh() -> Seeded {
        Seeded::new(next_number())
    }
}

impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        self.0.fill_bytes(out);
        Ok(())
    }
}
