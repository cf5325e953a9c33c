//! The signal that wakes the threads that wait for an operation.

use parking_lot::{Condvar, Mutex};
use std::time::Instant;

/// Wakes the threads that wait in `omemo_manager_wait`.
#[derive(Default)]
pub(in crate::ffi) struct WakeupSignal {
    rings: Mutex<u64>,
    ringing: Condvar,
}

impl WakeupSignal {
    /// Returns how often it rang.
    pub(in crate::ffi) fn rings(&self) -> u64 {
        *self.rings.lock()
    }

    pub(in crate::ffi) fn ring(&self) {
        let mut rings = self.rings.lock();
        *rings = rings.wrapping_add(1);
        self.ringing.notify_all();
    }

    /// Waits until it has rung since it had rung `heard` times, or until a time.
    pub(in crate::ffi) fn wait(&self, heard: u64, until: Option<Instant>) {
        let mut rings = self.rings.lock();
        while *rings == heard {
            match until {
                None => self.ringing.wait(&mut rings),
                Some(until) if self.ringing.wait_until(&mut rings, until).timed_out() => return,
                Some(_) => {}
            }
        }
    }
}
