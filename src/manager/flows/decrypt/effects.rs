//! What a message makes necessary: answers, and looks at lists and bundles.

use super::super::super::api::event::{Notice, NoticeKind};
use super::super::super::model::address::SessionAddress;
use super::super::super::model::failed_messages::{MessageHash, Timeliness};
use super::super::super::model::identity::FromExchange;
use super::super::super::model::job::Job;
use super::super::super::policy;
use super::super::super::store::sessions::Sessions;
use super::super::super::store::transaction::Tx;
use super::super::{answer, repair, replace_sessions, trust};
use super::address::Sender;
use crate::error::{Result, Status};
use crate::protocol::message::MessageKey;
use crate::protocol::session::Session;
use sha2::{Digest, Sha256};

/// Answers a chain that grew long, once for each ratchet key of the sender.
pub(super) fn heartbeat(tx: &mut Tx<'_>, at: &SessionAddress, session: &Session) -> Result<()> {
    if session.receiving_chain_length().is_none_or(|length| length <= policy::HEARTBEAT) {
        return Ok(());
    }
    let current = Sessions::new(tx, at).session_for_sending()?;
    let is_current = current.is_some_and(|current| current.exchange_id() == session.exchange_id());
    if is_current && Sessions::new(tx, at).note_heartbeat(session.ratchet_key().as_bytes())? {
        answer::queue_empty_message(tx, at, session)?;
    }
    Ok(())
}

/// A message was decrypted. If all sessions were retired since, the device is told of a new one: it would hear nothing of us
/// before the client writes to it.
pub(super) fn succeed_retired(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<()> {
    if Sessions::new(tx, at).waits_for_successor()? { repair::schedule(tx, at) } else { Ok(()) }
}

/// A message was decrypted: the device is alive, and its bundle may be there by now.
pub(super) fn after_success(tx: &mut Tx<'_>, at: &SessionAddress) {
    let at = at.clone();
    tx.after(move |memory| {
        memory.bundles.clear_failure(&at);
        memory.failed_messages.clear(&at);
    });
}

/// A key exchange was taken up.
pub(super) fn after_exchange(tx: &mut Tx<'_>, at: &SessionAddress, relation: FromExchange) -> Result<()> {
    after_success(tx, at);
    tx.wake_worker();
    if relation == FromExchange::Rival {
        repair::suggest_bundle(tx, at)?;
    }
    let contact = tx.contact(&at.jid)?;
    let listed = contact.device(at.device).is_some_and(|device| device.is_active(at.namespace));
    if !listed {
        repair::suggest_list(tx, at.namespace, &at.jid)?;
    }
    Ok(())
}

/// A message that was rejected.
pub(super) struct Rejected<'a> {
    pub(super) status: Status,
    /// Those for this device.
    pub(super) keys: &'a [&'a MessageKey],
    pub(super) sender: Sender,
    pub(super) timeliness: Timeliness,
}

impl Rejected<'_> {
    /// Returns whether it says that the session is broken, if it is genuine.
    fn is_undecryptable(&self) -> bool {
        matches!(
            self.status,
            Status::DecryptionFailed | Status::TooManySkipped | Status::NoSession | Status::PreKeyUnknown
        )
    }

    /// Returns what it is told apart by from others.
    fn hash(&self) -> MessageHash {
        let mut hash = Sha256::new();
        self.keys.iter().filter_map(|key| key.bytes.as_ref()).for_each(|bytes| hash.update(bytes));
        let mut short = MessageHash::default();
        short.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        short
    }
}

/// Counts a message of a listed device that cannot be decrypted. Where there is a session all the same, nothing repairs that
/// by itself: the client is told once.
fn count_failure(tx: &mut Tx<'_>, at: &SessionAddress, rejected: &Rejected<'_>) -> Result<()> {
    if !rejected.is_undecryptable() || !repair::is_listed(tx, at)? {
        return Ok(());
    }
    let (standing, hash, timeliness) = (tx.standing(&at.jid), rejected.hash(), rejected.timeliness);
    let counted = at.clone();
    tx.after(move |memory| memory.failed_messages.add(standing, &counted, hash, timeliness));
    let has_session = Sessions::new(tx, at).session_for_sending()?.is_some();
    // What is on its way when a session begins cannot be read on it.
    if !has_session || Sessions::new(tx, at).is_settling()? || trust::is_distrusted(tx, at)? {
        return Ok(());
    }
    if !tx.memory().failed_messages.is_reported(at) {
        tx.notify(Notice {
            kind: NoticeKind::SessionBroken,
            namespace: Some(at.namespace),
            jid: Some(at.jid.clone()),
            device: at.device.get(),
            status: rejected.status,
        });
        let reported = at.clone();
        tx.after(move |memory| memory.failed_messages.report(&reported));
    }
    if timeliness == Timeliness::Live && !tx.memory().failed_messages.has_live(at, hash) {
        let failed = tx.memory().failed_messages.live(at).saturating_add(1);
        replace_sessions::suggest_healing(tx, at, failed)?;
    }
    Ok(())
}

/// What is to be done about a message that was rejected. Nobody has authenticated it: nothing is stored.
pub(super) fn after_rejection(tx: &mut Tx<'_>, at: &SessionAddress, rejected: &Rejected<'_>) -> Result<()> {
    let Rejected { status, keys, .. } = *rejected;
    if rejected.sender == Sender::Named {
        count_failure(tx, at, rejected)?;
    }
    match status {
        Status::NoSession | Status::PreKeyUnknown => repair::schedule(tx, at),
        Status::PublicDataInconsistency => after_other_key(tx, at),
        // Its key exchange was taken up, and its session is gone: it cannot be read before it begins another one.
        Status::DecryptionFailed if keys.iter().any(|key| key.key_exchange) => repair::schedule(tx, at),
        Status::Limit if keys.iter().any(|key| key.key_exchange) => {
            repair::suggest_list(tx, at.namespace, &at.jid)
        }
        _ => Ok(()),
    }
}

/// A message shows another key than the known one. The device's bundle is looked at by itself, so that the other key can
/// be accepted, or turns out to be nobody's.
fn after_other_key(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<()> {
    let standing = tx.standing(&at.jid);
    // Where nobody vouches for a key there is none that could have changed.
    let confirmed =
        tx.contact(&at.jid)?.device(at.device).is_some_and(|device| device.identity.is_key_confirmed());
    if confirmed && !tx.memory().bundles.was_reported(at) {
        tx.notify(Notice {
            kind: NoticeKind::IdentityChanged,
            namespace: Some(at.namespace),
            jid: Some(at.jid.clone()),
            device: at.device.get(),
            status: Status::PublicDataInconsistency,
        });
    }
    let reported = at.clone();
    tx.after(move |memory| {
        memory.bundles.report_once(standing, &reported);
    });
    let contact = tx.contact(&at.jid)?;
    let listed = contact.device(at.device).is_some_and(|device| device.is_active(at.namespace));
    if !listed {
        repair::suggest_list(tx, at.namespace, &at.jid)?;
    }
    // What was looked at before this message came may have changed since.
    let looked = Job::FetchBundle(at.clone());
    if tx.memory().bundles.failure(at, tx.now.aged_ms).is_none() && !tx.memory().unsolicited.waits(&looked) {
        repair::suggest_bundle(tx, at)?;
    }
    Ok(())
}
