//! What the client answers at once: trust levels, clocks, the log, and the wake-up signal.

use super::device::{CoreTrust, Device};
use super::trust_policy::TrustPolicy;
use crate::error::Result;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;

/// How important a line of log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum LogLevel {
    /// A bug of this library.
    Error = 1,
    /// Needs a person.
    Warn = 2,
    /// What happens to the account.
    Info = 3,
    /// What happens to single messages.
    Debug = 4,
}

/// What is answered at once. May be called with the account's lock held; must not call the manager.
pub trait Services: Send + Sync {
    /// What a device's level name comes to; `UnknownTrustLevel` if nobody knows that name. Not called where there is a
    /// `trust_policy`.
    fn evaluate_trust(&self, device: &Device) -> Result<CoreTrust>;

    /// The policy that takes the place of `evaluate_trust`, always the same one. `None`: there is none, and the user is
    /// asked about every undecided key.
    fn trust_policy(&self) -> Option<&dyn TrustPolicy> {
        None
    }

    /// Whether content may be given out in its sender's name: it names no other one.
    fn is_content_from(&self, _namespace: Namespace, _plaintext: &[u8], _from: &BareJid) -> bool {
        true
    }

    /// Milliseconds since 1970 (UTC). May jump.
    fn wall_clock(&self) -> i64;

    /// Milliseconds of a clock that never goes back, or `None` to have them taken from the steps of `wall_clock`.
    fn steady_clock(&self) -> Option<u64>;

    /// There is work: have `next_event` called soon. Called with no lock held.
    fn wakeup(&self);

    /// A line of log without secrets, texts or JIDs.
    fn log(&self, level: LogLevel, target: &'static str, line: &str);
}
