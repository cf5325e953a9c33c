//! How to open an account.

use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;

/// How to open an account.
#[derive(Clone)]
pub struct Config {
    /// The own bare JID.
    pub jid: BareJid,
    /// The namespaces to serve, most preferred first.
    pub namespaces: Vec<Namespace>,
    /// The level of keys that nobody has judged.
    pub default_trust_level_name: String,
    /// Milliseconds until a network question ends by itself.
    pub request_timeout_ms: u64,
    /// Fetches open at a time.
    pub max_open_fetches: usize,
    /// Skipped message keys kept for each session.
    pub skipped_per_session: usize,
    /// Message keys that one message may skip.
    pub skipped_per_message: usize,
}
