//! The signal that wakes the threads that wait for an operation.

use parking_lot::{Condvar, Mutex};
use std::time::Instant;

/// Wakes the threads that wait in `omemo_manager_wait`.
#[derive(Default)]
pub(in crate::ffi) struct WakeupSignal {
    count: Mutex<u64>,
    changed: Condvar,
}

impl WakeupSignal {
    /// Returns how often it was given.
    pub(in crate::ffi) fn count(&self) -> u64 {
        *self.count.lock()
    }

    pub(in crate::ffi) fn notify(&self) {
        let mut count = self.count.lock();
        *count = count.wrapping_add(1);
        self.changed.notify_all();
    }

    /// Waits until it was given once more than `seen` times, or until a time.
    pub(in crate::ffi) fn wait(&self, seen: u64, until: Option<Instant>) {
        let mut count = self.count.lock();
        while *count == seen {
            match until {
                None => self.changed.wait(&mut count),
                Some(until) if self.changed.wait_until(&mut count, until).timed_out() => return,
                Some(_) => {}
            }
        }
    }
}
