//! A clock that stands still until a test moves it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

/// Wall time and monotonic time, in milliseconds. Devices of one world share one, or have one each.
pub struct Clock {
    wall: AtomicI64,
    steady: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { wall: AtomicI64::new(1_700_000_000_000), steady: AtomicU64::new(1_000) }
    }
}

impl Clock {
    pub fn wall_ms(&self) -> i64 {
        self.wall.load(SeqCst)
    }

    pub fn steady_ms(&self) -> u64 {
        self.steady.load(SeqCst)
    }

    /// Time passes.
    pub fn advance(&self, ms: u64) {
        self.steady.fetch_add(ms, SeqCst);
        self.wall.fetch_add(i64::try_from(ms).unwrap(), SeqCst);
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn step_wall(&self, ms: i64) {
        self.wall.fetch_add(ms, SeqCst);
    }

    /// The same, to this time.
    pub fn set_wall(&self, ms: i64) {
        self.wall.store(ms, SeqCst);
    }
}
