//! What a decrypted message says, in either namespace: an envelope in omemo:2, the text itself in legacy.

use super::{affixes, envelope};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use zeroize::Zeroizing;

/// Returns the text to show; `None` if the content is no text.
pub fn text(namespace: Namespace, content: &[u8]) -> Option<Zeroizing<String>> {
    match namespace {
        Namespace::Omemo2 => envelope::read_body(content).ok()?,
        Namespace::Legacy => std::str::from_utf8(content).ok().map(|text| Zeroizing::new(text.to_owned())),
    }
}

/// Returns whether the content names nobody but this JID as its sender. In legacy it names nobody.
pub fn is_from(namespace: Namespace, content: &[u8], sender: &BareJid) -> bool {
    match namespace {
        Namespace::Omemo2 => affixes::is_from(content, sender),
        Namespace::Legacy => true,
    }
}
