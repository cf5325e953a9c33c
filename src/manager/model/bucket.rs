//! A token bucket: how often something may be done, in bursts and in the long run.

use super::super::engine::Now;
use std::collections::VecDeque;

const MINUTE_MS: u64 = 60_000;

/// How much a bucket allows.
#[derive(Clone, Copy, Debug)]
pub(in crate::manager) struct BucketLimits {
    /// Tokens in a full bucket.
    pub(in crate::manager) capacity: u32,
    /// Milliseconds until one token is back.
    pub(in crate::manager) refill_ms: u64,
    /// Tokens that may be taken within a minute.
    pub(in crate::manager) per_minute: usize,
}

/// Says when a token can be taken, after one was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) struct NextAt {
    /// The time by `Now::aged_ms`.
    pub(in crate::manager) aged_ms: u64,
    /// Whether the bucket was found empty for the first time since it was full. A minute's limit is no exhaustion.
    pub(in crate::manager) newly_exhausted: bool,
}

impl NextAt {
    /// Returns the same time by `Now::steady_ms`, for a timer. It may come late, never early.
    pub(in crate::manager) fn steady_ms(&self, now: Now) -> u64 {
        now.steady_ms.saturating_add(self.aged_ms.saturating_sub(now.aged_ms))
    }
}

/// Tokens for one thing.
pub(in crate::manager) struct Bucket {
    limits: BucketLimits,
    tokens: u32,
    /// When the last token came back, or the first one of a full bucket was taken.
    refilled_ms: u64,
    /// When tokens were taken within the last minute, oldest first.
    taken_ms: VecDeque<u64>,
    reported: bool,
}

impl Bucket {
    /// Makes a full bucket.
    pub(in crate::manager) fn new(limits: BucketLimits) -> Bucket {
        let tokens = limits.capacity;
        Bucket { limits, tokens, refilled_ms: 0, taken_ms: VecDeque::new(), reported: false }
    }

    /// Takes a token, or says when the next one can be taken.
    pub(in crate::manager) fn try_take(&mut self, now: Now) -> Result<(), NextAt> {
        let now_ms = now.aged_ms;
        self.refill(now_ms);
        #[cfg(omemo_planted)]
        if crate::planted::is_planted("publications-unlimited") {
            return Ok(());
        }
        if self.tokens == 0 {
            let newly_exhausted = !std::mem::replace(&mut self.reported, true);
            let aged_ms = self.refilled_ms.saturating_add(self.limits.refill_ms.max(1));
            return Err(NextAt { aged_ms, newly_exhausted });
        }
        while self.taken_ms.front().is_some_and(|taken| taken.saturating_add(MINUTE_MS) <= now_ms) {
            self.taken_ms.pop_front();
        }
        if let Some(oldest) = self.taken_ms.front()
            && self.taken_ms.len() >= self.limits.per_minute.max(1)
        {
            return Err(NextAt { aged_ms: oldest.saturating_add(MINUTE_MS), newly_exhausted: false });
        }
        self.tokens = self.tokens.saturating_sub(1);
        self.taken_ms.push_back(now_ms);
        Ok(())
    }

    /// Puts back the tokens that time has earned.
    fn refill(&mut self, now_ms: u64) {
        let period = self.limits.refill_ms.max(1);
        let earned = now_ms.saturating_sub(self.refilled_ms).checked_div(period).unwrap_or(0);
        let room = self.limits.capacity.saturating_sub(self.tokens);
        if earned >= room.into() {
            self.tokens = self.limits.capacity;
            self.refilled_ms = now_ms;
            self.reported = false;
        } else {
            self.tokens = self.tokens.saturating_add(u32::try_from(earned).unwrap_or(room));
            self.refilled_ms = self.refilled_ms.saturating_add(earned.saturating_mul(period));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

    fn at(aged_ms: u64) -> Now {
        Now { aged_ms, ..Now::default() }
    }

    fn bucket() -> Bucket {
        Bucket::new(BucketLimits { capacity: 10, refill_ms: 72 * MINUTE_MS, per_minute: 3 })
    }

    #[test]
    fn at_most_thirty_are_taken_in_any_day_and_three_in_any_minute() {
        for (step, start) in [(1_000, 0), (17_000, 5 * DAY_MS), (71 * MINUTE_MS, 123), (59_999, 1)] {
            let mut bucket = bucket();
            let mut taken = Vec::new();
            let mut now = start;
            while now < start + 4 * DAY_MS {
                if bucket.try_take(at(now)).is_ok() {
                    taken.push(now);
                }
                now += step;
            }
            let within = |length: u64| {
                let count =
                    |from: &u64| taken.iter().filter(|at| (*from..from + length).contains(at)).count();
                taken.iter().map(count).max().unwrap()
            };
            assert!(within(DAY_MS) <= 30 && within(MINUTE_MS) <= 3, "every {step} ms");
            assert!(taken.len() >= 55, "every {step} ms: {} in four days", taken.len());
        }
    }

    #[test]
    fn a_refusal_says_when_and_that_moment_is_right() {
        let mut bucket = bucket();
        let mut now = 1_000;
        let mut taken = 0;
        while taken < 40 {
            match bucket.try_take(at(now)) {
                Ok(()) => taken += 1,
                Err(next) => {
                    assert!(next.aged_ms > now);
                    assert!(bucket.try_take(at(next.aged_ms - 1)).is_err(), "not earlier");
                    assert!(bucket.try_take(at(next.aged_ms)).is_ok(), "and not later");
                    (now, taken) = (next.aged_ms, taken + 1);
                }
            }
        }
        let now = Now { steady_ms: 5, aged_ms: 100, wall_ms: 0 };
        assert_eq!(NextAt { aged_ms: 150, newly_exhausted: false }.steady_ms(now), 55);
        assert_eq!(NextAt { aged_ms: 50, newly_exhausted: false }.steady_ms(now), 5);
    }

    #[test]
    fn exhaustion_is_told_once_until_the_bucket_was_full_again() {
        let mut bucket = bucket();
        let mut told = 0;
        let mut run = |bucket: &mut Bucket, from: u64, to: u64| {
            for now in (from..to).step_by(30_000) {
                told += u32::from(bucket.try_take(at(now)).is_err_and(|next| next.newly_exhausted));
            }
            told
        };
        assert_eq!(run(&mut bucket, 0, MINUTE_MS), 0, "a minute's limit is no exhaustion");
        assert_eq!(run(&mut bucket, MINUTE_MS, DAY_MS), 1);
        assert_eq!(run(&mut bucket, 2 * DAY_MS, 3 * DAY_MS), 2);
    }
}
