//! When the client is woken: only while it sleeps, once each time, and only for work or an earlier time that it does not
//! know of.

use parking_lot::Mutex;

/// What the client knows about the next call that is wanted.
pub(super) struct WakeUp {
    state: Mutex<Sleeping>,
}

#[derive(Clone, Copy)]
struct Sleeping {
    asleep: bool,
    /// When the client comes back by itself.
    until_ms: Option<u64>,
}

impl Default for WakeUp {
    /// A client that has never called yet sleeps without an end.
    fn default() -> WakeUp {
        WakeUp { state: Mutex::new(Sleeping { asleep: true, until_ms: None }) }
    }
}

impl WakeUp {
    /// Returns whether the client has to be woken now, and notes that it will be.
    pub(super) fn should_ring(&self, ready: bool, next_ms: Option<u64>) -> bool {
        let mut state = self.state.lock();
        let earlier = match (next_ms, state.until_ms) {
            (Some(next), Some(until)) => next < until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let ring = state.asleep && (ready || earlier);
        if ring {
            state.asleep = false;
        }
        ring
    }

    /// Notes that the client sleeps, and comes back by itself at `until_ms`.
    pub(super) fn sleep(&self, until_ms: Option<u64>) {
        *self.state.lock() = Sleeping { asleep: true, until_ms };
    }

    /// Notes that the client is awake. Returns whether it slept, that is, whether nobody had woken it.
    pub(super) fn rouse(&self) -> bool {
        std::mem::replace(&mut self.state.lock().asleep, false)
    }

    /// Notes that the client has to be woken by the next `should_ring` that finds work.
    pub(super) fn doze(&self) {
        self.state.lock().asleep = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_woken_once_for_work_or_for_an_earlier_time() {
        let wake = WakeUp::default();
        assert!(!wake.should_ring(false, None));
        assert!(wake.should_ring(true, None) && !wake.should_ring(true, None));
        wake.sleep(Some(100));
        assert!(!wake.should_ring(false, Some(100)) && !wake.should_ring(false, Some(101)));
        assert!(wake.should_ring(false, Some(99)) && !wake.should_ring(false, Some(1)));
        wake.sleep(None);
        assert!(wake.should_ring(false, Some(u64::MAX)));
    }

    #[test]
    fn who_is_awake_is_not_woken() {
        let wake = WakeUp::default();
        assert!(wake.rouse() && !wake.rouse());
        assert!(!wake.should_ring(true, Some(0)));
        wake.doze();
        assert!(wake.should_ring(true, None) && !wake.rouse());
    }
}
