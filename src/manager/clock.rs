//! Time: the wall clock for due dates that are stored, a steady one for deadlines.

use super::api::services::Services;
use parking_lot::Mutex;

/// A step of the wall clock beyond this is somebody setting it, and no time that has passed.
const LARGEST_STEP_MS: i64 = 3_600_000;

/// Both clocks at one moment, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since 1970 (UTC); may jump.
    pub wall: i64,
    /// Since some moment; never goes back.
    pub steady: u64,
}

/// Makes a steady clock of the wall clock where there is no other.
#[derive(Default)]
pub struct Clock {
    state: Mutex<(Option<i64>, u64)>,
}

impl Clock {
    /// What time it is.
    pub fn now(&self, services: &dyn Services) -> Now {
        let wall = services.wall_clock();
        if let Some(steady) = services.steady_clock() {
            return Now { wall, steady };
        }
        let mut state = self.state.lock();
        let step = state.0.map_or(0, |last| wall.saturating_sub(last));
        let passed = if (0..=LARGEST_STEP_MS).contains(&step) { step.unsigned_abs() } else { 0 };
        *state = (Some(wall), state.1.saturating_add(passed));
        Now { wall, steady: state.1 }
    }
}
