//! When the client is woken: only while it sleeps, once each time, and only for work or an earlier time that it does not
//! know of.

use parking_lot::Mutex;

/// When the client is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Now,
    /// At this time by the steady clock; `None`: not by itself.
    Later(Option<u64>),
}

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
    pub(super) fn should_wake(&self, work: Work) -> bool {
        let mut state = self.state.lock();
        let wanted = match (work, state.until_ms) {
            (Work::Now, _) => true,
            (Work::Later(Some(next)), Some(until)) => next < until,
            (Work::Later(Some(_)), None) => true,
            (Work::Later(None), _) => false,
        };
        let wake = state.asleep && wanted;
        if wake {
            state.asleep = false;
        }
        wake
    }

    /// Notes that the client sleeps, and comes back by itself at `until_ms`.
    pub(super) fn sleep(&self, until_ms: Option<u64>) {
        *self.state.lock() = Sleeping { asleep: true, until_ms };
    }

    /// Notes that the client is awake. Returns whether it slept, that is, whether nobody had woken it.
    pub(super) fn mark_awake(&self) -> bool {
        std::mem::replace(&mut self.state.lock().asleep, false)
    }

    /// Notes that the client has to be woken by the next `should_wake` that finds work.
    pub(super) fn mark_asleep(&self) {
        self.state.lock().asleep = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_woken_once_for_work_or_for_an_earlier_time() {
        let wake = WakeUp::default();
        assert!(!wake.should_wake(Work::Later(None)));
        assert!(wake.should_wake(Work::Now) && !wake.should_wake(Work::Now));
        wake.sleep(Some(100));
        assert!(!wake.should_wake(Work::Later(Some(100))) && !wake.should_wake(Work::Later(Some(101))));
        assert!(wake.should_wake(Work::Later(Some(99))) && !wake.should_wake(Work::Later(Some(1))));
        wake.sleep(None);
        assert!(wake.should_wake(Work::Later(Some(u64::MAX))));
    }

    #[test]
    fn who_is_awake_is_not_woken() {
        let wake = WakeUp::default();
        assert!(wake.mark_awake() && !wake.mark_awake());
        assert!(!wake.should_wake(Work::Now));
        wake.mark_asleep();
        assert!(wake.should_wake(Work::Now) && !wake.mark_awake());
    }
}
