//! Time: the wall clock for due dates that are stored, and two clocks that never go back. Also the stamps that order
//! the calls which bring facts.

use super::{Services, Stamp};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A larger step of the wall clock may be a person who sets it: a deadline must not end because of that.
const LARGEST_STEP_MS: u64 = 3_600_000;
/// The client is to look at the clock sooner than that: what it has slept would count as such a step.
pub(super) const LONGEST_SLEEP_MS: u64 = LARGEST_STEP_MS / 2;

/// All clocks at one moment, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct Now {
    /// Since 1970 (UTC); may jump.
    pub(in crate::manager) wall_ms: i64,
    /// For deadlines and back-off; never goes back, and does not count steps of more than an hour.
    pub(in crate::manager) steady_ms: u64,
    /// For freshness, caches and limits; never goes back, and counts every step forward.
    pub(in crate::manager) aged_ms: u64,
}

/// Makes both monotonic clocks of the client's steady clock, or of its wall clock where it has no other.
#[derive(Default)]
pub(in crate::manager) struct Clock {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wall_ms: Option<i64>,
    steady_ms: u64,
    aged_ms: u64,
}

impl Clock {
    /// Reads the clocks.
    pub(in crate::manager) fn now(&self, services: &dyn Services) -> Now {
        // The client's functions are called before the lock is taken.
        let (wall_ms, steady_ms) = (services.wall_clock(), services.steady_clock());
        let mut state = self.state.lock();
        let last = state.wall_ms.replace(wall_ms).unwrap_or(wall_ms);
        match steady_ms {
            Some(steady_ms) => {
                state.steady_ms = state.steady_ms.max(steady_ms);
                state.aged_ms = state.aged_ms.max(steady_ms);
            }
            None => {
                // A step back is no time that has passed.
                let step = u64::try_from(wall_ms.saturating_sub(last)).unwrap_or(0);
                state.aged_ms = state.aged_ms.saturating_add(step);
                if step <= LARGEST_STEP_MS {
                    state.steady_ms = state.steady_ms.saturating_add(step);
                }
            }
        }
        Now { wall_ms, steady_ms: state.steady_ms, aged_ms: state.aged_ms }
    }
}

/// Gives strictly increasing stamps. A call takes one when it begins; whichever of two calls has the greater stamp
/// knows better, in whatever order their facts are committed.
#[derive(Default)]
pub(in crate::manager) struct Stamps {
    last: AtomicU64,
}

impl Stamps {
    /// Takes the next stamp; the first one is greater than `Stamp::default()`.
    pub(in crate::manager) fn take(&self) -> Stamp {
        Stamp(self.last.fetch_add(1, Ordering::SeqCst).wrapping_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ManualClock;
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn a_step_of_more_than_an_hour_ages_and_moves_no_deadline() {
        let (clock, services) = (Clock::default(), ManualClock::at(1_000_000));
        assert_eq!(clock.now(&services), Now { wall_ms: 1_000_000, steady_ms: 0, aged_ms: 0 });
        services.set(1_000_000 + 60 * MINUTE);
        let now = clock.now(&services);
        assert_eq!((now.steady_ms, now.aged_ms), (3_600_000, 3_600_000), "an hour is no jump");
        // A message every 61 minutes for a week.
        for _ in 0..24 * 7 {
            services.advance(61 * MINUTE);
            clock.now(&services);
        }
        let week = clock.now(&services);
        assert_eq!(week.steady_ms, 3_600_000);
        assert_eq!(week.aged_ms, 3_600_000 + 24 * 7 * 61 * 60_000);
    }

    #[test]
    fn a_step_back_is_no_time_and_the_next_step_forward_counts_again() {
        let (clock, services) = (Clock::default(), ManualClock::at(10_000));
        clock.now(&services);
        for wall in [9_000, -5_000_000_000, i64::MIN] {
            services.set(wall);
            assert_eq!(clock.now(&services), Now { wall_ms: wall, steady_ms: 0, aged_ms: 0 });
        }
        services.set(50);
        services.set(50);
        clock.now(&services);
        services.set(80);
        let (first, before) = (clock.now(&services), clock.now(&services));
        assert_eq!(first, before);
        services.set(100);
        let now = clock.now(&services);
        assert_eq!((now.steady_ms - before.steady_ms, now.aged_ms - before.aged_ms), (20, 20));
        services.set(i64::MAX);
        assert!(clock.now(&services).aged_ms > now.aged_ms);
    }

    #[test]
    fn the_steady_clock_of_the_client_is_both_and_still_never_goes_back() {
        let (clock, services) = (Clock::default(), ManualClock::at(0));
        services.set_steady(Some(7_000));
        assert_eq!(clock.now(&services), Now { wall_ms: 0, steady_ms: 7_000, aged_ms: 7_000 });
        services.set_steady(Some(6_000));
        services.set(99);
        assert_eq!(clock.now(&services), Now { wall_ms: 99, steady_ms: 7_000, aged_ms: 7_000 });
        services.set_steady(Some(90_000_000));
        assert_eq!(clock.now(&services).steady_ms, 90_000_000, "it counts hours by itself");
        services.set_steady(None);
        services.set(100);
        assert_eq!(clock.now(&services).aged_ms, 90_000_001);
    }

    #[test]
    fn stamps_increase_strictly_and_are_all_after_the_default() {
        let stamps = Stamps::default();
        let taken: Vec<Stamp> = (0..100).map(|_| stamps.take()).collect();
        assert!(Stamp::default() < taken[0] && taken.is_sorted_by(|a, b| a < b));
        let threads: Vec<Stamp> = std::thread::scope(|scope| {
            let two = [0, 1].map(|_| scope.spawn(|| (0..1_000).map(|_| stamps.take()).collect::<Vec<_>>()));
            two.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(threads.iter().collect::<std::collections::BTreeSet<_>>().len(), 2_000);
        assert!(threads.iter().all(|stamp| *stamp > taken[99]));
    }
}
