//! When a signed pre key is replaced, and when the one before it is deleted.
//!
//! Two times count. The wall clock says when it is due. *Accumulated* time is the sum of its steps, none of which counts for
//! less than nothing or more than a day: a clock that jumps by years makes no key old.

use super::super::policy;
use super::pre_keys::SignedKey;

/// Both times at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) struct KeyTime {
    pub(in crate::manager) wall_ms: i64,
    pub(in crate::manager) accumulated_ms: u64,
}

/// Returns how much of the time between two readings of the wall clock accumulates.
pub(in crate::manager) fn accumulating_ms(from_ms: i64, to_ms: i64) -> u64 {
    u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0).min(policy::ACCUMULATED_STEP_MS)
}

/// Returns whether a step of the wall clock is so long that somebody must have set it.
pub(in crate::manager) fn is_clock_set(from_ms: i64, to_ms: i64) -> bool {
    to_ms.saturating_sub(from_ms) > policy::CLOCK_SET_MS
}

/// Returns how much accumulated time has passed since a key was made.
fn age_ms(signed: &SignedKey, now: KeyTime) -> u64 {
    now.accumulated_ms.saturating_sub(signed.made_accumulated_ms)
}

/// Returns the time until a signed pre key is to be replaced; 0: now.
pub(in crate::manager) fn due_in_ms(signed: &SignedKey, now: KeyTime, period_ms: u64) -> u64 {
    let accumulated = period_ms.saturating_sub(age_ms(signed, now));
    // A clock that was put back behind the birth of the key says nothing.
    let wall = u64::try_from(now.wall_ms.saturating_sub(signed.made_ms))
        .map_or(0, |passed| period_ms.saturating_sub(passed));
    accumulated.max(wall)
}

/// Returns whether the signed pre key before this one has been kept for a period.
pub(in crate::manager) fn is_previous_over(signed: &SignedKey, now: KeyTime, period_ms: u64) -> bool {
    age_ms(signed, now) >= period_ms
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // small numbers
mod tests {
    use super::*;
    use crate::crypto::keys::KeyPair;
    use zeroize::Zeroizing;

    const DAY: u64 = 24 * 3_600_000;
    const WEEK: u64 = 7 * DAY;

    fn signed(made_days: i64, made_accumulated_days: u64) -> SignedKey {
        SignedKey {
            id: 1,
            pair: Box::new(KeyPair::from_private(Zeroizing::new([7; 32]))),
            signature: [0; 64],
            made_ms: made_days * 86_400_000,
            made_accumulated_ms: made_accumulated_days * DAY,
        }
    }

    fn now(wall_days: i64, accumulated_days: u64) -> KeyTime {
        KeyTime { wall_ms: wall_days * 86_400_000, accumulated_ms: accumulated_days * DAY }
    }

    #[test]
    fn steps_accumulate_for_a_day_at_most_and_never_back() {
        for (from, to, counts) in [
            (0, 5, 5),
            (5, 5, 0),
            (5, 0, 0),
            (0, i64::MAX, policy::ACCUMULATED_STEP_MS),
            (i64::MIN, i64::MAX, policy::ACCUMULATED_STEP_MS),
            (i64::MAX, i64::MIN, 0),
            (0, 86_400_000, DAY),
            (0, 86_400_001, DAY),
        ] {
            assert_eq!(accumulating_ms(from, to), counts, "{from} {to}");
        }
    }

    #[test]
    fn only_a_step_ahead_of_more_than_a_month_says_that_the_clock_was_set() {
        let month = policy::CLOCK_SET_MS;
        for (from, to, set) in [
            (5, 5 + month, false),
            (5, 6 + month, true),
            (i64::MIN, i64::MAX, true),
            (i64::MAX, i64::MIN, false),
            (7, 7, false),
        ] {
            assert_eq!(is_clock_set(from, to), set, "{from} {to}");
        }
    }

    #[test]
    fn a_key_is_replaced_when_both_times_say_so() {
        let key = signed(100, 50);
        assert_eq!(due_in_ms(&key, now(100, 50), WEEK), WEEK);
        assert_eq!(due_in_ms(&key, now(106, 56), WEEK), DAY);
        assert_eq!(due_in_ms(&key, now(107, 57), WEEK), 0);
        assert_eq!(due_in_ms(&key, now(107, 56), WEEK), DAY, "a clock that has jumped");
        assert_eq!(due_in_ms(&key, now(106, 57), WEEK), DAY, "a clock that was put back a little");
        assert_eq!(due_in_ms(&key, now(3_700, 51), WEEK), 6 * DAY, "ten years ahead");
        assert_eq!(due_in_ms(&key, now(0, 57), WEEK), 0, "1970");
        assert_eq!(due_in_ms(&key, now(-5_000, 56), WEEK), DAY);
    }

    #[test]
    fn the_one_before_it_goes_by_accumulated_time_alone() {
        let key = signed(100, 50);
        assert!(!is_previous_over(&key, now(3_700, 56), WEEK));
        assert!(is_previous_over(&key, now(0, 57), WEEK));
    }
}
