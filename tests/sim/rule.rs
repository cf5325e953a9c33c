//! What the oracle holds against a run: the invariants, and what was delivered.

use std::fmt;

/// A rule of the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// I1: no message key for two different plaintexts.
    KeyUsedTwice,
    /// I2: no message is decrypted twice.
    DecryptedTwice,
    /// I2: what was decrypted before is a duplicate when it comes again, and nothing else.
    Duplicate,
    /// I3, and the aim of it all: what the network delivered was read.
    Lost,
    /// I3: what was read is what was written.
    Altered,
    /// An older copy of a store is found out where the server shows it.
    Unnoticed,
    /// I4: when nothing fails any more, everybody reaches everybody.
    Silent,
    /// I5: the store opens again, and no call finds it damaged.
    Store,
    /// I6: no key has a level that nobody gave it; the distrusted are neither served nor read.
    Trust,
    /// I7: no plaintext on the wire, in the log or in a store.
    Leak,
    /// I8: how large a store grows.
    Size,
    /// I9: what was refused left no trace.
    Trace,
    /// I10: pre keys: one id for one key, none again that was used, enough of them, none too old.
    PreKeys,
    /// Who has a device list entry and a bundle is written to.
    Unserved,
    /// Something panicked.
    Panic,
}

/// A rule that was broken, and how.
#[derive(Clone, Debug)]
pub struct Failure {
    pub rule: Rule,
    pub what: String,
}

impl Failure {
    pub fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.rule, self.what)
    }
}
