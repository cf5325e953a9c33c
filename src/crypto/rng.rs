//! Where randomness comes from: an argument of everything that needs some.

use crate::error::{Error, Result, Status};
use rand::TryRng;

/// A source of randomness. Whoever draws keys from one that can be predicted has no keys.
pub trait Rng: Send {
    /// Fills `out`. Fails where the operating system has none to give.
    fn fill(&mut self, out: &mut [u8]) -> Result<()>;
}

/// The operating system's generator.
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        rand::rngs::SysRng
            .try_fill_bytes(out)
            .map_err(|_| Error::new(Status::Internal, "The operating system did not provide random bytes."))
    }
}

/// `N` random bytes.
pub fn draw<const N: usize>(rng: &mut dyn Rng) -> Result<zeroize::Zeroizing<[u8; N]>> {
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    rng.fill(&mut *bytes)?;
    Ok(bytes)
}
