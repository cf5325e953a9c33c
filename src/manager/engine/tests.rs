//! What the tests of this room share: a client with clocks that are set by hand, JIDs, and keys.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::Services;
use crate::error::Result;
use crate::manager::api::device::{CoreTrust, Device};
use crate::manager::api::services::LogLevel;
use crate::protocol::address::BareJid;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A client whose clocks stand still until they are set, and which counts how often it is woken.
pub(super) struct ManualClock {
    clocks: Mutex<(i64, Option<u64>)>,
    wakeups: AtomicUsize,
}

impl ManualClock {
    pub(super) fn at(wall_ms: i64) -> ManualClock {
        ManualClock { clocks: Mutex::new((wall_ms, None)), wakeups: AtomicUsize::new(0) }
    }

    pub(super) fn set(&self, wall_ms: i64) {
        self.clocks.lock().0 = wall_ms;
    }

    pub(super) fn advance(&self, step_ms: i64) {
        self.clocks.lock().0 += step_ms;
    }

    pub(super) fn set_steady(&self, steady_ms: Option<u64>) {
        self.clocks.lock().1 = steady_ms;
    }

    /// How often it was woken since the last look.
    pub(super) fn wakeups(&self) -> usize {
        self.wakeups.swap(0, Ordering::SeqCst)
    }
}

impl Services for ManualClock {
    fn evaluate_trust(&self, _: &Device) -> Result<CoreTrust> {
        Ok(CoreTrust::Trusted)
    }

    fn wall_clock(&self) -> i64 {
        self.clocks.lock().0
    }

    fn steady_clock(&self) -> Option<u64> {
        self.clocks.lock().1
    }

    fn wakeup(&self) {
        self.wakeups.fetch_add(1, Ordering::SeqCst);
    }

    fn log(&self, _: LogLevel, _: &'static str, _: &str) {}
}

pub(super) fn jid(name: &str) -> BareJid {
    BareJid::from_normalized(name)
}

pub(super) fn key_of(name: &str, key: u8) -> Device {
    Device {
        jid: jid(name),
        id: 1,
        identity_key: Some([key; 32]),
        trust_level_name: "undecided".into(),
        core_trust: CoreTrust::Undecided,
        active: Vec::new(),
        conflicting_key: None,
        provisional: false,
        preferred: None,
        label: None,
        downgraded: false,
        sessions: Vec::new(),
    }
}
