//! Acknowledged delivery: content is kept in the commit of the step that used its key, and the same message gives it again
//! until the client has acknowledged it.

use super::super::super::api::decrypted::{Action, Decrypted};
use super::super::super::api::device::CoreTrust;
use super::super::super::config::Delivery;
use super::super::super::model::address::SessionAddress;
use super::super::super::model::kept::{KeptContent, MessageDigest};
use super::super::super::store::transaction::Tx;
use super::{address, open};
use crate::error::{Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::message::{Message, MessageKey};
use sha2::{Digest, Sha256};

/// What a message is told apart by, but for its sender and its key for us: these differ between the attempts at one message.
#[derive(Clone, Copy)]
pub(super) struct ToldApart<'a> {
    pub(super) message: &'a Message,
    pub(super) room: Option<&'a BareJid>,
}

/// Who has sent a message, as its key for us shows.
pub(super) struct Authenticated<'a> {
    pub(super) key: &'a MessageKey,
    pub(super) at: SessionAddress,
    /// The identity key in Curve25519 form.
    pub(super) mont: [u8; 32],
}

/// A hash of all but sender and key, which is made once for all attempts.
struct Common(Sha256);

/// Adds a field so that no two lists of fields give the same bytes.
fn field(hash: &mut Sha256, bytes: Option<&[u8]>) {
    hash.update([u8::from(bytes.is_some())]);
    hash.update(bytes.map_or(0, <[u8]>::len).to_be_bytes());
    hash.update(bytes.unwrap_or_default());
}

impl Common {
    fn new(told_apart: ToldApart<'_>) -> Common {
        let ToldApart { message, room } = told_apart;
        let mut hash = Sha256::new();
        hash.update(b"OMEMO kept content 1");
        hash.update(message.namespace.code().to_be_bytes());
        hash.update(message.sender_device.to_be_bytes());
        field(&mut hash, room.map(|room| room.as_str().as_bytes()));
        field(&mut hash, message.iv.as_deref());
        field(&mut hash, message.payload.as_deref());
        Common(hash)
    }

    /// The message as `from` has sent it with this key. Where a room hides its members, that is who it turned out to be.
    fn digest(&self, from: &BareJid, key: &MessageKey) -> MessageDigest {
        let mut hash = self.0.clone();
        field(&mut hash, Some(from.as_str().as_bytes()));
        hash.update([u8::from(key.key_exchange)]);
        field(&mut hash, key.bytes.as_deref());
        hash.finalize().into()
    }
}

/// Returns what was decrypted of the same message, if that is kept. No session is looked at, and nothing changes.
pub(super) fn find(
    tx: &mut Tx<'_>,
    told_apart: ToldApart<'_>,
    keys: &[&MessageKey],
    senders: &[BareJid],
) -> Result<Option<Decrypted>> {
    if tx.keeps_nothing()? {
        return Ok(None);
    }
    let common = Common::new(told_apart);
    for (key, sender) in address::attempts(keys, senders) {
        if let Some(receipt) = tx.kept_receipt(&common.digest(sender, key))? {
            return restore(tx, receipt);
        }
    }
    Ok(None)
}

/// Keeps what came out of a message, if the account wants that and anything did.
pub(super) fn keep(
    tx: &mut Tx<'_>,
    told_apart: ToldApart<'_>,
    authenticated: Authenticated<'_>,
    decrypted: &mut Decrypted,
) -> Result<()> {
    let has_content = decrypted.plaintext.is_some() || decrypted.key.is_some();
    if tx.config().delivery == Delivery::Direct || !has_content {
        return Ok(());
    }
    let Authenticated { key, at, mont } = authenticated;
    let digest = Common::new(told_apart).digest(&at.jid, key);
    let content = KeptContent {
        jid: at.jid,
        device: at.device,
        namespace: at.namespace,
        room: decrypted.room.clone(),
        mont,
        // With the sign as it was known: a session of the legacy namespace has none.
        ed: decrypted.identity_key,
        plaintext: decrypted.plaintext.clone(),
        key: decrypted.key.clone(),
        new_session: decrypted.new_session,
        tag_in_payload: decrypted.tag_in_payload,
    };
    decrypted.receipt = tx.keep(digest, &content)?;
    Ok(())
}

/// Returns what is kept under a receipt as it was handed out first, with trust and lists as they are now; `None`: nothing is
/// kept. Content of a sender who is distrusted by now is withheld, and stays.
pub(in crate::manager) fn restore(tx: &mut Tx<'_>, receipt: u64) -> Result<Option<Decrypted>> {
    let Some(content) = tx.kept_content(receipt)? else { return Ok(None) };
    let (jid, device, namespace) = (content.jid, content.device, content.namespace);
    let at = SessionAddress { jid, device, namespace };
    let (sender, not_listed) = match open::sender(tx, &at, &content.mont, content.ed.as_ref()) {
        Ok(sender) => (sender, open::is_not_listed(tx, &at)?),
        // What is known of the sender cannot be read. The content can, and is all there is of it: nobody has judged it.
        Err(error) if error.status() == Status::StorageCorrupt => {
            (open::unknown_sender(tx, &at, &content.mont, content.ed.as_ref()), false)
        }
        Err(error) => return Err(error),
    };
    let shown = if content.plaintext.is_some() { Action::Show } else { Action::Hide };
    let decrypted = Decrypted {
        error: Status::Ok.into(),
        action: shown,
        plaintext: content.plaintext,
        from: Some(at.jid),
        device: device.get(),
        namespace,
        identity_key: sender.identity_key,
        core_trust: sender.core_trust,
        trust_level_name: sender.trust_level_name,
        provisional: sender.provisional,
        not_listed,
        new_session: content.new_session,
        key: content.key,
        tag_in_payload: content.tag_in_payload,
        room: content.room,
        receipt,
        repeated: true,
    };
    if sender.core_trust != CoreTrust::Distrusted {
        return Ok(Some(decrypted));
    }
    Ok(Some(Decrypted {
        error: Status::SenderDistrusted.into(),
        action: if shown == Action::Show { Action::Warn } else { Action::Hide },
        plaintext: None,
        identity_key: None,
        trust_level_name: String::new(),
        provisional: false,
        key: None,
        ..decrypted
    }))
}
