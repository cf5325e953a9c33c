//! Empty messages: the answer to a key exchange, a heartbeat, the beginning of a repaired session. Queued in the commit
//! that caused them, encrypted once in a commit of their own, and sent as the same bytes until they are sent.

use super::super::api::request::{Answer, Reason, Request};
use super::super::engine::Class;
use super::super::model::address::SessionAddress;
use super::super::model::job::Job;
use super::super::model::outbox::OutboxEntry;
use super::super::policy;
use super::super::store::removal;
use super::super::store::sessions::Sessions;
use super::super::store::transaction::Tx;
use super::announce::Progress;
use super::context::Context;
use super::trust;
use crate::error::{Error, Result, Status};
use crate::protocol::address::DeviceId;
use crate::protocol::bundle::VerifiedBundle;
use crate::protocol::message::{Message, MessageKey};
use crate::protocol::payload;
use crate::protocol::session::Session;
use zeroize::Zeroizing;

/// Queues an empty message on the current session with a device. One for each ratchet key is enough. Returns false if
/// there is no room for it.
pub(super) fn queue_empty_message(tx: &mut Tx<'_>, at: &SessionAddress, session: &Session) -> Result<bool> {
    let (standing, ratchet_key) = (tx.standing(&at.jid), session.own_ratchet_key());
    if tx.outbox()?.has(at, &ratchet_key) {
        return Ok(true);
    }
    discard_for(tx, at)?;
    if standing.is_known() && !tx.outbox()?.has_room(standing) {
        // A stranger's message makes room.
        if let Some(id) = tx.outbox()?.oldest_of_strangers() {
            removal::discard_outbox_message(tx, id)?;
        }
    }
    if !tx.outbox()?.has_room(standing) {
        return Ok(false);
    }
    let accumulated_ms = tx.accumulated_ms()?;
    let account = tx.account_mut()?;
    account.last_outbox_id = account.last_outbox_id.saturating_add(1);
    let entry = OutboxEntry {
        id: account.last_outbox_id,
        at: at.clone(),
        ratchet_key,
        since_ms: accumulated_ms,
        encrypted: false,
        key_exchange: false,
        sent: session.sending_chain_length(),
        standing,
    };
    tx.outbox_mut()?.push(entry);
    tx.wake_worker();
    Ok(true)
}

/// Begins a session with a device by an empty message, which is queued in the same commit. Without room for that nothing
/// begins: the other side would not hear of the session.
pub(super) fn begin_session(tx: &mut Tx<'_>, at: &SessionAddress, bundle: &VerifiedBundle) -> Result<()> {
    let (identity, rng) = tx.identity_and_rng()?;
    let session = Session::initiate_verified(identity, bundle, rng)?;
    if !queue_empty_message(tx, at, &session)? {
        return Err(Error::new(Status::Limit, "Too many empty messages wait to be sent."));
    }
    Sessions::new(tx, at).replace(session, None)?;
    let at = at.clone();
    tx.after(move |memory| memory.failed_messages.clear(&at));
    Ok(())
}

/// A message to this device was handed out: empty ones that wait for it have lost their purpose.
pub(super) fn discard_for(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<()> {
    tx.outbox()?.ids_for(at).into_iter().try_for_each(|id| removal::discard_outbox_message(tx, id))
}

/// Discards messages that could not be sent for too long.
pub(super) fn discard_old(tx: &mut Tx<'_>) -> Result<()> {
    let oldest = tx.accumulated_ms()?.saturating_sub(policy::OUTBOX_KEPT_MS);
    tx.outbox()?.ids_before(oldest).into_iter().try_for_each(|id| removal::discard_outbox_message(tx, id))
}

/// Returns an empty message as it is sent, encrypted now or before; `None`: it is not needed any more.
fn prepare(tx: &mut Tx<'_>, id: u64) -> Result<Option<(SessionAddress, Message)>> {
    let Some(entry) = tx.outbox()?.get(id).cloned() else { return Ok(None) };
    let at = entry.at.clone();
    // Nothing is sent by itself to a key that the client distrusts, nor to one that a bundle contradicts.
    let contact = tx.contact(&at.jid)?;
    let blocked =
        contact.device(at.device).is_some_and(|device| device.blocks_sending(at.namespace).is_some());
    if blocked || trust::is_distrusted(tx, &at)? {
        removal::discard_outbox_message(tx, id)?;
        return Ok(None);
    }
    let session = Sessions::new(tx, &at).session_for_sending()?;
    let Some(mut session) = session.filter(|session| entry.is_needed(session)) else {
        removal::discard_outbox_message(tx, id)?;
        return Ok(None);
    };
    let bytes = if entry.encrypted { tx.outbox_message(id)? } else { None };
    let stored = match bytes {
        Some(bytes) => StoredMessage { bytes, key_exchange: entry.key_exchange },
        None => {
            let empty = payload::empty_key(at.namespace, tx.rng())?;
            let encrypted = session.encrypt_announcing(tx.config().habits.announced_pn(), &empty)?;
            Sessions::new(tx, &at).update(session)?;
            // Every attempt sends the same bytes, those of the IV included.
            let mut bytes = payload::empty_iv(at.namespace, tx.rng())?.unwrap_or_default();
            bytes.extend_from_slice(&encrypted.bytes);
            let bytes = Zeroizing::new(bytes);
            tx.put_outbox_message(id, Some(bytes.clone()));
            if let Some(entry) = tx.outbox_mut()?.get_mut(id) {
                (entry.encrypted, entry.key_exchange) = (true, encrypted.key_exchange);
            }
            StoredMessage { bytes, key_exchange: encrypted.key_exchange }
        }
    };
    let own = tx.own_device()?;
    let message = empty_message(&at, own, &stored)?;
    Ok(Some((at, message)))
}

/// An empty message as it is stored: its IV, where the namespace has one, and behind it the key.
struct StoredMessage {
    bytes: Zeroizing<Vec<u8>>,
    key_exchange: bool,
}

fn empty_message(at: &SessionAddress, own: DeviceId, stored: &StoredMessage) -> Result<Message> {
    let split = stored.bytes.split_at_checked(payload::empty_iv_bytes(at.namespace));
    let (iv, bytes) = split.ok_or(Error::from(Status::StorageCorrupt))?;
    let (jid, key_exchange) = (addressed(at), stored.key_exchange);
    let keys = vec![MessageKey { jid, device: at.device.get(), key_exchange, bytes: Some(bytes.to_vec()) }];
    let iv = (!iv.is_empty()).then(|| iv.to_vec());
    Ok(Message { namespace: at.namespace, sender_device: own.get(), keys, payload: None, iv })
}

/// Returns the JID that stands beside a key; legacy has none there.
pub(super) fn addressed(at: &SessionAddress) -> Option<crate::protocol::address::BareJid> {
    at.namespace.names_recipients().then(|| at.jid.clone())
}

/// Returns a job for each empty message, once it is known that the store is no older copy.
pub(super) fn jobs(tx: &Tx<'_>) -> Result<Vec<Job>> {
    let outbox = tx.outbox()?.iter().filter(|_| tx.memory().compared);
    Ok(outbox.map(|entry| Job::Send(entry.id)).collect())
}

/// Sends an empty message.
pub(super) async fn send(context: &Context, id: u64) -> Result<Progress> {
    let prepared = context.transact(|tx| prepare(tx, id))?;
    let Some((at, message)) = prepared else { return Ok(Progress::Done) };
    let request = Request::SendMessage { jid: at.jid, message };
    match context.ask(request, Class::Background).await.response.answer {
        Answer::Done | Answer::Rejected(Reason::Declined) => {
            context.transact(|tx| removal::discard_outbox_message(tx, id))?;
            Ok(Progress::Done)
        }
        Answer::Rejected(Reason::Timeout) => Err(Status::Timeout.into()),
        _ => Err(Status::MessageSendingFailed.into()),
    }
}
