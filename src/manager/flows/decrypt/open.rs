//! Opening one key of a message in one sender's name, on staged changes.

use super::super::super::api::device::{CoreTrust, Device};
use super::super::super::api::services::LogLevel;
use super::super::super::config::Config;
use super::super::super::model::address::SessionAddress;
use super::super::super::model::contact::Contact;
use super::super::super::model::device::KnownDevice;
use super::super::super::model::identity::{DeviceKey, FromExchange, Identity};
use super::super::super::model::pre_keys::ProcessedExchange;
use super::super::super::store::opening;
use super::super::super::store::removal;
use super::super::super::store::sessions::Sessions;
use super::super::super::store::transaction::Tx;
use super::super::{own_keys, trust};
use super::address::Sender;
use super::effects;
use crate::error::{Error, Result, Status};
use crate::protocol::limits;
use crate::protocol::message::{Message, MessageKey};
use crate::protocol::messages::key_exchange::{ExchangeHash, KeyExchange};
use crate::protocol::messages::ratchet_message::RatchetMessage;
use crate::protocol::payload::{self, KeyParts};
use crate::protocol::session::{ChainBudget, Session, SkipLimits, Step};
use crate::protocol::x3dh::ResponderKeys;
use zeroize::Zeroizing;

/// One sender in whose name the keys of a message are tried.
pub(super) struct Attempt<'a> {
    pub(super) at: &'a SessionAddress,
    pub(super) message: &'a Message,
    pub(super) sender: Sender,
}

/// What stands in a message.
pub(super) struct Payload {
    pub(super) plaintext: Option<Zeroizing<Vec<u8>>>,
    pub(super) key: Option<KeyParts>,
    pub(super) tag_in_payload: bool,
}

/// What a key of a message led to.
pub(super) struct DecryptedMessage {
    pub(super) payload: Payload,
    pub(super) sender: Device,
    /// The key that vouches for it, in Curve25519 form.
    pub(super) mont: [u8; 32],
    pub(super) new_session: bool,
    /// The device is not on its JID's list (any more).
    pub(super) not_listed: bool,
}

pub(super) fn skip_limits(config: &Config) -> SkipLimits {
    SkipLimits { per_session: config.skipped_per_session, per_message: config.skipped_per_message }
}

/// Opens a key. Nobody has authenticated anything before the MAC was checked, and what is staged before is dropped if
/// that fails.
pub(super) fn open_key(
    tx: &mut Tx<'_>,
    key: &MessageKey,
    attempt: &Attempt<'_>,
    budget: &mut ChainBudget,
) -> Result<DecryptedMessage> {
    let at = attempt.at;
    let bytes =
        key.bytes.as_ref().ok_or(Error::new(Status::Malformed, "The key for this device cannot be read."))?;
    if key.key_exchange {
        let exchange = KeyExchange::parse(at.namespace, bytes)?;
        return open_exchange(tx, &exchange, attempt, budget);
    }
    let ratchet_message = RatchetMessage::parse(at.namespace, bytes)?;
    let opened = Sessions::new(tx, at).open(&ratchet_message, budget)?;
    store_opened(tx, attempt, opened)
}

/// Stores the step of a session that exists.
fn store_opened(
    tx: &mut Tx<'_>,
    attempt: &Attempt<'_>,
    opened: opening::OpenedMessage,
) -> Result<DecryptedMessage> {
    let at = attempt.at;
    let session = opened.step.session.clone();
    let sender = sender(tx, at, session.peer_mont(), session.peer_ed())?;
    if sender.core_trust == CoreTrust::Distrusted {
        return Err(Status::SenderDistrusted.into());
    }
    let transported = Sessions::new(tx, at).store(opened)?;
    log_step(tx, "known session", &session);
    effects::heartbeat(tx, at, &session)?;
    effects::succeed_retired(tx, at)?;
    let payload = open_payload(attempt.message, &transported)?;
    effects::after_success(tx, at);
    let (mont, not_listed) = (*session.peer_mont(), is_not_listed(tx, at)?);
    Ok(DecryptedMessage { payload, sender, mont, new_session: false, not_listed })
}

fn open_exchange(
    tx: &mut Tx<'_>,
    exchange: &KeyExchange,
    attempt: &Attempt<'_>,
    budget: &mut ChainBudget,
) -> Result<DecryptedMessage> {
    let at = attempt.at;
    let mont = *exchange.identity_mont();
    let recorded = device(tx, at)?;
    // Where the sender is guessed a stranger's key must not be put on somebody's device, nor be said to be its.
    if attempt.sender == Sender::Guessed && !recorded.identity.key().is_some_and(|key| key.is(&mont)) {
        return Err(Status::SenderNotFound.into());
    }
    let sender = sender(tx, at, &mont, exchange.identity_ed())?;
    if sender.core_trust == CoreTrust::Distrusted {
        return Err(Status::SenderDistrusted.into());
    }
    let relation = recorded.identity.compare_exchange(&mont);
    if relation == FromExchange::Contradicts {
        // An old archive that is given again, of a key that was replaced since, is silent.
        let decrypted = Sessions::new(tx, at).was_decrypted_by_any(exchange.message())?;
        return Err(if decrypted { Status::Duplicate } else { Status::PublicDataInconsistency }.into());
    }
    let began = |session: &Session| session.was_begun_by(exchange);
    if let Some(opened) = Sessions::new(tx, at).open_begun_by(began, exchange.message(), budget)? {
        return store_opened(tx, attempt, opened);
    }
    let hash = ExchangeHash::new(&at.jid, at.device, exchange.id());
    #[cfg(omemo_planted)]
    let hash = if crate::planted::is_planted("relayed-exchange-is-duplicate") {
        ExchangeHash::new(&tx.config().jid, tx.own_device()?, exchange.id())
    } else {
        hash
    };
    check_processed(tx, exchange, at, &hash)?;
    if !recorded.identity.is_key_confirmed() && is_confirmed_elsewhere(tx, at, &mont)? {
        return Err(Status::PublicDataInconsistency.into());
    }
    make_provisional_room(tx, at)?;
    check_stranger_room(tx, at)?;
    let step = accept(tx, exchange, at, budget)?;
    let payload = open_payload(attempt.message, &step.plaintext)?;
    begin_session(tx, exchange, at, &step, relation)?;
    consume_pre_key(tx, exchange, at, &hash)?;
    log_step(tx, "new session", &step.session);
    effects::after_exchange(tx, at, relation)?;
    let not_listed = is_not_listed(tx, at)?;
    Ok(DecryptedMessage { payload, sender, mont, new_session: true, not_listed })
}

/// Uses up the pre key of a key exchange that was taken up, and fills the pre keys up again.
fn consume_pre_key(
    tx: &mut Tx<'_>,
    exchange: &KeyExchange,
    at: &SessionAddress,
    hash: &ExchangeHash,
) -> Result<()> {
    let whose = ProcessedExchange::whose(&at.jid);
    let accumulated_ms = tx.accumulated_ms()?;
    let (pre_key_id, opened) = (exchange.id().pre_key_id, exchange.message().header().n);
    let exchange = ProcessedExchange {
        pre_key_id,
        hash: hash.as_bytes().to_vec(),
        opened,
        standing: tx.standing(&at.jid),
        whose,
    };
    if !tx.pre_keys(at.namespace)?.bundle_pending {
        let namespace = at.namespace;
        tx.after(move |memory| memory.catch_up.hold_bundle(namespace));
    }
    tx.pre_keys_mut(at.namespace)?.consume(exchange, accumulated_ms);
    own_keys::top_up(tx, at.namespace)
}

/// Refuses the key exchange of a stranger if strangers have used their share of the published pre keys.
fn check_stranger_room(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<()> {
    let whose = ProcessedExchange::whose(&at.jid);
    if tx.standing(&at.jid).is_known() || tx.pre_keys(at.namespace)?.has_stranger_room(whose) {
        return Ok(());
    }
    Err(Error::new(Status::Limit, "Strangers have used too many pre keys of the published bundle."))
}

/// Refuses a key exchange that was processed and whose session is deleted. Only what is known to have been decrypted is a
/// duplicate; the rest is lost.
fn check_processed(
    tx: &mut Tx<'_>,
    exchange: &KeyExchange,
    at: &SessionAddress,
    hash: &ExchangeHash,
) -> Result<()> {
    let message = exchange.message();
    let Some(first) = tx.pre_keys(at.namespace)?.processed(hash.as_bytes()).map(|processed| processed.opened)
    else {
        return Ok(());
    };
    let decrypted = first == message.header().n || Sessions::new(tx, at).was_decrypted_by_any(message)?;
    #[cfg(omemo_planted)]
    let decrypted = decrypted || crate::planted::is_planted("relayed-exchange-is-duplicate");
    Err(if decrypted { Status::Duplicate } else { Status::DecryptionFailed }.into())
}

/// Puts the session in its place, and the key on the device if that has none.
fn begin_session(
    tx: &mut Tx<'_>,
    exchange: &KeyExchange,
    at: &SessionAddress,
    step: &Step,
    relation: FromExchange,
) -> Result<()> {
    if relation == FromExchange::Rival {
        // Of two keys that nobody vouches for neither takes the other's place.
        return Sessions::new(tx, at).add_beside(&step.session, step.skipped.as_ref());
    }
    let device = tx.contact_mut(&at.jid)?.device_or_new(at.device)?;
    device.identity.see_exchange(exchange.identity_mont(), exchange.identity_ed());
    super::super::answer::queue_empty_message(tx, at, &step.session)?;
    Sessions::new(tx, at).replace(step.session.clone(), step.skipped.as_ref())
}

fn accept(
    tx: &mut Tx<'_>,
    exchange: &KeyExchange,
    at: &SessionAddress,
    budget: &mut ChainBudget,
) -> Result<Step> {
    let (store, now_ms) = (tx.pre_keys(at.namespace)?, own_keys::used_keys_ms(tx)?);
    let signed = store.signed_pre_key(exchange.id().signed_pre_key_id).cloned();
    let pre_key = store.pre_key(exchange.id().pre_key_id, now_ms).cloned();
    let (Some(signed), Some(pre_key)) = (signed, pre_key) else {
        // That it was processed may be forgotten; what was decrypted is remembered for longer.
        let decrypted = Sessions::new(tx, at).was_decrypted_by_any(exchange.message())?;
        return Err(if decrypted { Status::Duplicate } else { Status::PreKeyUnknown }.into());
    };
    let (identity, rng) = tx.identity_and_rng()?;
    Session::accept(&ResponderKeys::new(identity, &signed, &pre_key), exchange, budget, rng)
}

/// Returns whether a key is confirmed for another JID: then somebody may have copied a key exchange under this name, and
/// only a bundle of this JID's own node says otherwise.
fn is_confirmed_elsewhere(tx: &mut Tx<'_>, at: &SessionAddress, mont: &[u8; 32]) -> Result<bool> {
    #[cfg(omemo_planted)]
    if crate::planted::is_planted("key-of-another-jid") {
        return Ok(false);
    }
    for jid in tx.jids_with_key(mont, limits::ATTEMPTS_PER_MESSAGE)? {
        let confirmed = |device: &KnownDevice| {
            device.identity.is_key_confirmed() && device.identity.key().is_some_and(|key| key.is(mont))
        };
        let here = jid == at.jid;
        let shows = tx.contact(&jid).is_ok_and(|contact| contact.devices.iter().any(confirmed));
        // On another device of the same JID it is vouched for as well.
        if shows && !here {
            let own_too = tx.contact(&at.jid)?.devices.iter().any(confirmed);
            return Ok(!own_too);
        }
    }
    Ok(false)
}

/// Makes room for one more device that nobody vouches for: the oldest one that a fresh list does not name goes.
fn make_provisional_room(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<()> {
    let contact = tx.contact(&at.jid)?;
    let counts = contact
        .device(at.device)
        .is_none_or(|device| device.identity == Identity::Unknown && device.active.is_empty());
    if !counts || contact.has_provisional_room() {
        return Ok(());
    }
    let (now_ms, namespaces) = (tx.now.aged_ms, tx.config().namespaces.clone());
    let fresh = namespaces.iter().any(|namespace| tx.memory().lists.is_fresh(*namespace, &at.jid, now_ms));
    match contact.unlisted_provisional().first() {
        Some(oldest) if fresh && tx.memory().online => removal::remove_device(tx, &at.jid, *oldest),
        _ => {
            Err(Error::new(Status::Limit, "Too many devices of this JID are known from key exchanges only."))
        }
    }
}

fn device(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<KnownDevice> {
    let contact = tx.contact(&at.jid)?;
    Ok(contact.device(at.device).cloned().unwrap_or_else(|| KnownDevice::new(at.device.get())))
}

/// Returns the device that a key belongs to, judged by that key.
pub(super) fn sender(
    tx: &mut Tx<'_>,
    at: &SessionAddress,
    mont: &[u8; 32],
    ed: Option<&[u8; 32]>,
) -> Result<Device> {
    let contact = tx.contact(&at.jid)?;
    let mut device = device(tx, at)?;
    if !device.identity.key().is_some_and(|key| key.is(mont)) {
        device.identity = Identity::Provisional(DeviceKey::from_exchange(mont, ed));
    }
    let mut sender = trust::device_info(tx, &contact, &device);
    if let Some(ed) = ed.filter(|_| device.identity.key().is_some_and(|key| !key.is_sign_known())) {
        sender.identity_key = Some(*ed);
    }
    sender.core_trust = trust::evaluate_or_undecided(tx, &sender);
    Ok(sender)
}

/// Returns the device that a key belongs to where nothing can be read of its JID: nobody has judged the key.
pub(super) fn unknown_sender(
    tx: &Tx<'_>,
    at: &SessionAddress,
    mont: &[u8; 32],
    ed: Option<&[u8; 32]>,
) -> Device {
    let mut device = KnownDevice::new(at.device.get());
    device.identity = Identity::Provisional(DeviceKey::from_exchange(mont, ed));
    trust::device_info(tx, &Contact::new(&at.jid), &device)
}

/// Returns whether a JID's list is known and does not name a device.
pub(super) fn is_not_listed(tx: &mut Tx<'_>, at: &SessionAddress) -> Result<bool> {
    let contact = tx.contact(&at.jid)?;
    let active = contact.device(at.device).is_some_and(|device| device.is_active(at.namespace));
    Ok(contact.is_listed(at.namespace) && !active)
}

fn log_step(tx: &Tx<'_>, which: &str, session: &Session) {
    let counter = session.receiving_chain_length().unwrap_or_default();
    let answered = if session.is_answered() { "answered" } else { "not answered" };
    let namespace = session.namespace().uri();
    tx.log(LogLevel::Debug, &format!("decrypt: {which} in {namespace}, {answered}, counter {counter}"));
}

/// Opens the payload, where there is one, with what came through the ratchet. A message without one is a key transport or
/// an empty message; where these look alike, the key is there for whoever expects one.
fn open_payload(message: &Message, transported: &[u8]) -> Result<Payload> {
    let (namespace, iv) = (message.namespace, message.iv.as_deref());
    let payload = message.payload.as_deref();
    let plaintext =
        payload.map(|payload| payload::decrypt(namespace, transported, payload, iv)).transpose()?;
    let tag_in_payload = plaintext.is_some() && payload::is_tag_in_payload(namespace, transported);
    Ok(Payload { plaintext, key: payload::key_parts(namespace, transported, iv), tag_in_payload })
}
