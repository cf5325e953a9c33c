//! Section 12 of the header: decrypting stanzas.

use super::super::boundary::returns::Out;
use super::super::boundary::{args, guard, handles, returns};
use super::super::runtime::calls;
use super::super::runtime::manager_handle::omemo_manager;
use super::message::omemo_message;
use super::status::omemo_status;
use crate::error::{Error, Result, Status};
use crate::manager::api::decrypted::{Action, Decrypted};
use crate::protocol::address::BareJid;
use crate::protocol::message::Message;
use crate::stanza::message::Received;
use crate::stanza::{self, content};
use once_cell::sync::OnceCell;
use std::ffi::{CString, c_char};
use zeroize::Zeroizing;

/// Advice about a received stanza: what the client does with it.
#[repr(i32)]
pub enum omemo_action {
    /// Show nothing: the stanza has no payload, whatever its status, or is a duplicate, or a message of this device
    /// that came back, or an error, or no OMEMO message at all.
    OMEMO_ACTION_HIDE = 0,
    /// Show the content, with its trust. omemo_decrypted_body says what to do if it returns NULL.
    OMEMO_ACTION_SHOW = 1,
    /// Tell the user that a message could not be read; omemo_decrypted_detail says why. Never for a stanza without
    /// payload, which has nothing that a user could miss.
    OMEMO_ACTION_WARN = 2,
}

/// Flags that omemo_decrypted_flags returns.
#[repr(i32)]
pub enum omemo_decrypted_flag {
    /// The message began a new session.
    OMEMO_DECRYPTED_NEW_SESSION = 1,
    /// The authentication tag stood in the payload, as old clients write it; the recipient's other devices can then
    /// forge content.
    OMEMO_DECRYPTED_TAG_IN_PAYLOAD = 2,
    /// The device list of the sender's JID is known and does not contain the sender's device: it was removed, or
    /// never was on the list. The trust in its key counts as before.
    OMEMO_DECRYPTED_DEVICE_NOT_LISTED = 4,
    /// The content may have been handed out before, and was not acknowledged (OMEMO_OPTION_ACKNOWLEDGE): if the client has
    /// stored it under its receipt already, show nothing, and acknowledge it.
    OMEMO_DECRYPTED_REPEATED = 8,
}

/// Result of decrypting a stanza: what to do with it, the content, the sender, and the trust in the sender's key.
///
/// It comes from omemo_manager_decrypt_xml or omemo_manager_decrypt. Ask omemo_decrypted_action first; for
/// OMEMO_ACTION_SHOW, omemo_decrypted_body returns the text. Free it with omemo_decrypted_free, which wipes the
/// content.
pub struct omemo_decrypted {
    pub(super) decrypted: Option<Decrypted>,
    pub(super) action: Action,
    pub(super) error: Error,
    pub(super) text: CString,
    pub(super) from: Option<CString>,
    pub(super) room: Option<CString>,
    pub(super) level: CString,
    /// A string with a NUL at its end, wiped like the plaintext that it is a part of.
    body: OnceCell<Option<Zeroizing<Vec<u8>>>>,
}

impl omemo_decrypted {
    pub(super) fn new(decrypted: Decrypted) -> omemo_decrypted {
        omemo_decrypted {
            error: decrypted.error.clone(),
            text: returns::c_string(&decrypted.error.to_string()),
            from: decrypted.from.as_ref().map(|jid| returns::c_string(jid.as_str())),
            room: decrypted.room.as_ref().map(|jid| returns::c_string(jid.as_str())),
            level: returns::c_string(&decrypted.trust_level_name),
            action: decrypted.action,
            decrypted: Some(decrypted),
            body: OnceCell::new(),
        }
    }

    /// A stanza in which there is no message, or none that can be read.
    fn without_message(error: Error, action: Action, from: Option<&BareJid>) -> omemo_decrypted {
        omemo_decrypted {
            action,
            text: returns::c_string(&error.to_string()),
            error,
            from: from.map(|jid| returns::c_string(jid.as_str())),
            room: None,
            level: CString::default(),
            decrypted: None,
            body: OnceCell::new(),
        }
    }

    /// The text to show, with a NUL at its end.
    pub(super) fn body(&self) -> Option<&[u8]> {
        let body = self.body.get_or_init(|| {
            let decrypted = self.decrypted.as_ref()?;
            let plaintext = decrypted.plaintext.as_deref()?;
            let text = content::text(decrypted.namespace, plaintext)?;
            // Room for the NUL at once: a vector that grows leaves a copy behind that nobody wipes.
            let mut body = Zeroizing::new(Vec::with_capacity(text.len().saturating_add(1)));
            body.extend(text.bytes().map(|byte| if byte == 0 { b' ' } else { byte }));
            body.push(0);
            Some(body)
        });
        body.as_ref().map(|body| body.as_slice())
    }
}

fn is_not_for_us(decrypted: &Decrypted) -> bool {
    matches!(decrypted.error.status(), Status::NotForUs | Status::UnknownNamespace)
}

/// What both decrypting functions do.
///
/// # Safety
/// `manager` is one of ours or NULL, `from` and `room` are C strings or NULL, `out` can be written or is NULL.
unsafe fn decrypt(
    manager: *mut omemo_manager,
    from: *const c_char,
    room: *const c_char,
    received: impl FnOnce() -> Result<Result<Received>>,
    out: *mut *mut omemo_decrypted,
) -> Result<()> {
    // SAFETY: the same promise.
    let manager = unsafe { calls::enter(manager) }?;
    // SAFETY: the same promise.
    let out = args::required(unsafe { Out::new(out) })?;
    // SAFETY: the same promise.
    let (from, room) = unsafe { (args::optional_jid(from)?, args::optional_jid(room)?) };
    if from.is_none() && room.is_none() {
        return Err(Status::Null.into());
    }
    let decrypted = match received()? {
        Ok(received) if received.messages.is_empty() => {
            let error = Error::new(
                Status::Malformed,
                "The stanza holds no OMEMO message, or is an error of a server.",
            );
            omemo_decrypted::without_message(error, Action::Hide, from.as_ref())
        }
        Ok(Received { messages, delayed }) => {
            let (manager, from, room) = (manager.manager(), from.as_ref(), room.as_ref());
            let decrypt = |message: &Message| {
                if delayed {
                    manager.decrypt_delayed(from, room, message)
                } else {
                    manager.decrypt(from, room, message)
                }
            };
            omemo_decrypted::new(first_for_us(&messages, decrypt)?)
        }
        // Nobody knows what it held.
        Err(error) => omemo_decrypted::without_message(error, Action::Warn, from.as_ref()),
    };
    out.write(handles::into_handle(decrypted));
    Ok(())
}

/// Decrypts the first message that is for this device. A message that is not has changed nothing, so the next is
/// tried.
fn first_for_us(messages: &[Message], decrypt: impl Fn(&Message) -> Result<Decrypted>) -> Result<Decrypted> {
    let mut first = None;
    for message in messages {
        let decrypted = decrypt(message)?;
        if !is_not_for_us(&decrypted) {
            return Ok(decrypted);
        }
        first = first.or(Some(decrypted));
    }
    let mut first = first.ok_or(Error::from(Status::Malformed))?;
    if messages.len() > 1 && messages.iter().any(|message| message.payload.is_some()) {
        // None is for us, in either namespace: what the sender sends us elsewhere is no reason to hide the stanza.
        first.action = Action::Warn;
    }
    Ok(first)
}

/// Decrypts an `<encrypted/>`, at once and without network, in one commit.
///
/// What happens next: omemo_decrypted_action says what to do with the stanza. Work that the message causes, such as
/// an answer or a fetch of the sender's bundle, is stored and done by omemo_manager_run.
///
/// With OMEMO_OPTION_ACKNOWLEDGE the content is kept until omemo_manager_acknowledge: the same message in the same from and
/// room gives it again, with the same receipt and the flag OMEMO_DECRYPTED_REPEATED, and changes nothing.
///
/// Parameters:
/// - from: the real bare JID of the sender, without resource. Of a carbon (XEP-0280) or an archived message (XEP-0313)
///   check the outer sender, then pass in the inner `<message>` with its own `from` (docs/stanzas.md). In a room it is
///   the JID that presence or the member list shows, never the occupant's; if the room hides it, NULL: every JID that
///   has a device with the sender's device id is tried, those that this client has named first.
/// - room: the bare JID of the room; NULL outside of rooms. If from is NULL, a message with this device's own id as
///   sender is OMEMO_ERR_OWN_ECHO, except if it has a key for this device: then a device of another member has the same
///   id, and the message is decrypted.
/// - xml: the element, alone or, better, in its `<message>`, where a `<delay>` says that the message is not new
///   (docs/sessions.md). If that has several (8 are considered), the one that is for this
///   device and can be read is used. A `<message type='error'>` and a message without `<encrypted/>` are
///   OMEMO_ERR_MALFORMED with OMEMO_ACTION_HIDE: treat it as if it had not been passed in. A carbon passed in whole is
///   OMEMO_ERR_MALFORMED with OMEMO_ACTION_WARN if a message is in it.
/// - len: bytes of xml, without a NUL.
/// - decrypted: receives the result.
/// Returns: OMEMO_OK if the stanza was processed, with or without success: see omemo_decrypted_action and
///   omemo_decrypted_status. Any other status is not about the stanza, and nothing has changed. Keep the stanza and
///   call again after OMEMO_ERR_BUSY (inside a service), OMEMO_ERR_NOT_READY, OMEMO_ERR_STORAGE* and
///   OMEMO_ERR_CANCELLED (with a manager that is opened again), and after OMEMO_ERR_LIMIT, with
///   OMEMO_OPTION_ACKNOWLEDGE, once some of 10,000 kept contents were acknowledged. After OMEMO_ERR_NULL, OMEMO_ERR_UTF8,
///   OMEMO_ERR_ARGUMENT and OMEMO_ERR_JID the arguments are wrong.
/// Memory: free it with omemo_decrypted_free.
/// Since: 0.1.0 (XEP-0384 5.6)
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn omemo_manager_decrypt_xml(
    manager: *mut omemo_manager,
    from: *const c_char,
    room: *const c_char,
    xml: *const c_char,
    len: usize,
    decrypted: *mut *mut omemo_decrypted,
) -> omemo_status {
    let received = || {
        // SAFETY: the client gives len bytes or NULL.
        match unsafe { args::xml(xml, len) } {
            Ok(xml) => Ok(stanza::message::candidates(xml)),
            Err(error) if error.status() == Status::Limit => Ok(Err(error)),
            Err(error) => Err(error),
        }
    };
    // SAFETY: the client gives one of ours and C strings, or NULL.
    guard::outside_services(|| unsafe { decrypt(manager, from, room, received, decrypted) })
}

/// Decrypts a message that the client has parsed, as omemo_manager_decrypt_xml does.
/// Parameters:
/// - from: as in omemo_manager_decrypt_xml; NULL with a room.
/// - room: as in omemo_manager_decrypt_xml; NULL outside of rooms.
/// - decrypted: receives the result.
/// Returns: as omemo_manager_decrypt_xml.
/// Memory: free it with omemo_decrypted_free.
/// Since: 0.1.0 (XEP-0384 5.6)
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn omemo_manager_decrypt(
    manager: *mut omemo_manager,
    from: *const c_char,
    room: *const c_char,
    message: *const omemo_message,
    decrypted: *mut *mut omemo_decrypted,
) -> omemo_status {
    let received = || {
        // SAFETY: the client gives one of ours or NULL.
        let (message, delayed) =
            unsafe { args::copied(message, |message| (message.message().clone(), message.is_delayed())) }?;
        Ok(Ok(Received { messages: vec![message], delayed }))
    };
    // SAFETY: the client gives one of ours, C strings and a place, or NULL.
    guard::outside_services(|| unsafe { decrypt(manager, from, room, received, decrypted) })
}
