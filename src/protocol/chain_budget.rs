//! The limits on skipped message keys that are in force, and the chain steps that one message may still cost.

use super::limits;
use crate::error::{Error, Result, Status};

/// How many message keys are kept and may be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkipLimits {
    /// Skipped keys kept for each session.
    pub per_session: usize,
    /// Keys that one message may skip in one chain.
    pub per_message: usize,
}

impl Default for SkipLimits {
    fn default() -> SkipLimits {
        SkipLimits { per_session: limits::SKIPPED_PER_SESSION, per_message: limits::SKIPPED_PER_MESSAGE }
    }
}

impl SkipLimits {
    /// Returns `gap` if one message may skip so many keys of one chain.
    pub(super) fn within_limit(&self, gap: u32) -> Option<usize> {
        usize::try_from(gap).ok().filter(|gap| *gap <= self.per_message)
    }
}

/// The limits in force, and the message keys that one message may still skip over all sessions, keys and senders that
/// are tried. A forged message cannot be told from a genuine one before its key was derived, so this bounds what it
/// costs: whatever is tried, no more chain steps than the dearest genuine message needs.
#[derive(Debug)]
pub struct ChainBudget {
    limits: SkipLimits,
    pub(super) left: usize,
}

impl ChainBudget {
    /// Returns the budget of one message: it may close one chain and open another, and skip the limit in each.
    pub fn new(limits: SkipLimits) -> ChainBudget {
        ChainBudget { limits, left: limits.per_message.saturating_mul(limits::CHAINS_PER_MESSAGE) }
    }

    /// Returns the limits in force.
    pub fn limits(&self) -> &SkipLimits {
        &self.limits
    }

    /// Takes the keys to be skipped off the budget, or fails and takes nothing.
    pub(super) fn spend(&mut self, steps: usize) -> Result<()> {
        let left = self.left.checked_sub(steps);
        self.left = left.ok_or(Error::new(
            Status::DecryptionFailed,
            "Decrypting the message needs too many chain steps.",
        ))?;
        Ok(())
    }
}
