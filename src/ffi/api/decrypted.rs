//! Section 12 of the header: decrypting stanzas.

use super::super::boundary::returns::Out;
use super::super::boundary::{args, guard, handles, returns};
use super::super::runtime::manager_handle;
use super::super::runtime::manager_handle::omemo_manager;
use super::core_trust::omemo_core_trust;
use super::key_parts;
use super::message::omemo_message;
use super::status::omemo_status;
use crate::error::{Error, Result, Status};
use crate::manager::api::decrypted::{Action, Decrypted};
use crate::protocol::message::Message;
use crate::protocol::namespace::Namespace;
use crate::stanza;
use crate::stanza::envelope;
use once_cell::sync::OnceCell;
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use zeroize::Zeroizing;

/// Advice about a received stanza: what the client does with it.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_action {
    /// Show nothing: the stanza has no payload, whatever its status, or is a duplicate, or a message of this device
    /// that came back.
    OMEMO_ACTION_HIDE = 0,
    /// Show the content, with its trust. omemo_decrypted_body says what to do if it returns NULL.
    OMEMO_ACTION_SHOW = 1,
    /// Tell the user that a message could not be read; omemo_decrypted_detail says why. Never for a stanza without
    /// payload, which has nothing that a user could miss.
    OMEMO_ACTION_WARN = 2,
}

impl From<Action> for omemo_action {
    fn from(action: Action) -> omemo_action {
        match action {
            Action::Hide => omemo_action::OMEMO_ACTION_HIDE,
            Action::Show => omemo_action::OMEMO_ACTION_SHOW,
            Action::Warn => omemo_action::OMEMO_ACTION_WARN,
        }
    }
}

/// Flags that omemo_decrypted_flags returns.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_decrypted_flag {
    /// The message began a new session.
    OMEMO_DECRYPTED_NEW_SESSION = 1,
    /// The authentication tag stood in the payload, as old clients write it; the recipient's other devices can then
    /// forge content.
    OMEMO_DECRYPTED_TAG_IN_PAYLOAD = 2,
    /// The device list of the sender's JID is known and does not contain the sender's device: it was removed, or
    /// never was on the list. The trust in its key counts as before.
    OMEMO_DECRYPTED_DEVICE_NOT_LISTED = 4,
}

/// Result of decrypting a stanza: what to do with it, the content, the sender, and the trust in the sender's key.
///
/// It comes from omemo_manager_decrypt_xml or omemo_manager_decrypt. Ask omemo_decrypted_action first; for
/// OMEMO_ACTION_SHOW, omemo_decrypted_body returns the text. Free it with omemo_decrypted_free, which wipes the
/// content.
pub struct omemo_decrypted {
    decrypted: Option<Decrypted>,
    error: Error,
    text: CString,
    from: Option<CString>,
    level: CString,
    /// A string with a NUL at its end, wiped like the plaintext that it is a part of.
    body: OnceCell<Option<Zeroizing<Vec<u8>>>>,
}

impl omemo_decrypted {
    fn new(mut decrypted: Decrypted) -> omemo_decrypted {
        check_sender(&mut decrypted);
        omemo_decrypted {
            error: decrypted.error.clone(),
            text: returns::c_string(&decrypted.error.to_string()),
            from: decrypted.from.as_ref().map(|jid| returns::c_string(jid.as_str())),
            level: returns::c_string(&decrypted.trust_level_name),
            decrypted: Some(decrypted),
            body: OnceCell::new(),
        }
    }

    /// A stanza that cannot be read.
    fn unreadable(error: Error, from: Option<&str>) -> omemo_decrypted {
        omemo_decrypted {
            text: returns::c_string(&error.to_string()),
            error,
            from: from.map(returns::c_string),
            level: CString::default(),
            decrypted: None,
            body: OnceCell::new(),
        }
    }

    fn body(&self) -> Option<&[u8]> {
        let body = self.body.get_or_init(|| {
            let decrypted = self.decrypted.as_ref()?;
            let plaintext = decrypted.plaintext.as_deref()?;
            let mut body = match decrypted.namespace {
                Namespace::Omemo2 => {
                    Zeroizing::new(envelope::read_body(plaintext).ok()??.as_bytes().to_vec())
                }
                Namespace::Legacy => Zeroizing::new(std::str::from_utf8(plaintext).ok()?.as_bytes().to_vec()),
            };
            body.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
            body.push(0);
            Some(body)
        });
        body.as_ref().map(|body| body.as_slice())
    }
}

/// Withholds content that names a different sender from that of the message.
fn check_sender(decrypted: &mut Decrypted) {
    let (Namespace::Omemo2, Some(content), Some(from)) =
        (decrypted.namespace, &decrypted.plaintext, &decrypted.from)
    else {
        return;
    };
    if !envelope::is_from(content, from) {
        (decrypted.error, decrypted.action) = (Status::Affix.into(), Action::Warn);
        decrypted.plaintext = None;
    }
}

fn inner(decrypted: Option<&omemo_decrypted>) -> Option<&Decrypted> {
    decrypted?.decrypted.as_ref()
}

fn is_not_for_us(decrypted: &Decrypted) -> bool {
    matches!(decrypted.error.status(), Status::NotForUs | Status::UnknownNamespace)
}

/// What both decrypting functions do. `messages` are tried in their order.
///
/// # Safety
/// `manager` is one of ours or NULL, `from` and `room` are C strings or NULL, `out` can be written or is NULL.
unsafe fn decrypt(
    manager: *mut omemo_manager,
    from: *const c_char,
    room: *const c_char,
    messages: impl FnOnce() -> Result<Result<Vec<Message>>>,
    out: *mut *mut omemo_decrypted,
) -> Result<()> {
    // SAFETY: the same promise.
    let manager = unsafe { manager_handle::enter(manager) }?;
    // SAFETY: the same promise.
    let out = args::required(unsafe { Out::new(out) })?;
    // SAFETY: the same promise.
    let (from, room) = unsafe { (args::optional_jid(from)?, args::optional_jid(room)?) };
    if from.is_none() && room.is_none() {
        return Err(Status::Null.into());
    }
    let decrypted = match messages()? {
        Ok(messages) => {
            let decrypt =
                |message: &Message| manager.manager().decrypt(from.as_ref(), room.as_ref(), message);
            omemo_decrypted::new(first_for_us(&messages, decrypt)?)
        }
        Err(error) => omemo_decrypted::unreadable(error.clone(), from.as_ref().map(|jid| jid.as_str())),
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
        // That its sender talks to us in the other namespace is no reason to hide it: here it did not.
        first.action = Action::Warn;
    }
    Ok(first)
}

/// Decrypts an `<encrypted/>`, at once and without network, in one commit.
///
/// What happens next: omemo_decrypted_action says what to do with the stanza. Work that the message causes, such as
/// an answer or a fetch of the sender's bundle, is stored and done by omemo_manager_run.
///
/// Parameters:
/// - from: the real bare JID of the sender, without resource. Of a carbon (XEP-0280) or an archived message (XEP-0313)
///   check the outer sender, then pass in the inner `<message>` with its own `from` (docs/stanzas.md). In a room it is
///   the JID that presence or the member list shows, never the occupant's; if the room hides it, NULL: the known JIDs
///   that have a device with the sender's device id are tried.
/// - room: the bare JID of the room; NULL outside of rooms. If from is NULL, a message with this device's own id as
///   sender is OMEMO_ERR_OWN_ECHO, except if it has a key for this device: then a device of another member has the same
///   id, and the message is decrypted.
/// - xml: the element, alone or in a `<message>`. If that has several (8 are considered), the one that is for this
///   device and can be read is used. Pass in neither a `<message type='error'>` nor a message without `<encrypted/>`:
///   both are OMEMO_ERR_MALFORMED with OMEMO_ACTION_WARN.
/// - len: bytes of xml, without a NUL.
/// - decrypted: receives the result.
/// Returns: OMEMO_OK if the stanza was processed, with or without success: see omemo_decrypted_action and
///   omemo_decrypted_status. Any other status is not about the stanza, and nothing has changed. Keep the stanza and
///   call again after OMEMO_ERR_BUSY (inside a service), OMEMO_ERR_NOT_READY, OMEMO_ERR_STORAGE* and
///   OMEMO_ERR_CANCELLED (with a manager that is opened again). After OMEMO_ERR_NULL, OMEMO_ERR_UTF8,
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
    let messages = || {
        // SAFETY: the client gives len bytes or NULL.
        match unsafe { args::xml(xml, len) } {
            Ok(xml) => Ok(stanza::message::candidates(xml)),
            Err(error) if error.status() == Status::Limit => Ok(Err(error)),
            Err(error) => Err(error),
        }
    };
    // SAFETY: the client gives one of ours and C strings, or NULL.
    guard::outside_services(|| unsafe { decrypt(manager, from, room, messages, decrypted) })
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
    let messages = || {
        // SAFETY: the client gives one of ours or NULL.
        let message = unsafe { args::copied(message, |message| message.message().clone()) }?;
        Ok(Ok(vec![message]))
    };
    // SAFETY: the client gives one of ours, C strings and a place, or NULL.
    guard::outside_services(|| unsafe { decrypt(manager, from, room, messages, decrypted) })
}

/// Returns what to do with the stanza.
/// Returns: the advice; OMEMO_ACTION_HIDE for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_action(decrypted: Option<&omemo_decrypted>) -> omemo_action {
    guard::call(omemo_action::OMEMO_ACTION_HIDE, || match decrypted {
        None => omemo_action::OMEMO_ACTION_HIDE,
        Some(omemo_decrypted { decrypted: Some(decrypted), .. }) => decrypted.action.into(),
        Some(_) => omemo_action::OMEMO_ACTION_WARN,
    })
}

/// Returns whether the stanza could be decrypted, and if not, why.
/// Returns: OMEMO_OK, also for a message that is meant to have no content. After OMEMO_ERR_SENDER_DISTRUSTED,
///   OMEMO_ERR_NO_SESSION, OMEMO_ERR_PRE_KEY_UNKNOWN and OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY nothing has changed,
///   and the same stanza may be decrypted again later. Other failures: OMEMO_ERR_NOT_FOR_US, OMEMO_ERR_OWN_ECHO,
///   OMEMO_ERR_DUPLICATE, OMEMO_ERR_DECRYPTION_FAILED, OMEMO_ERR_TOO_MANY_SKIPPED, OMEMO_ERR_SENDER_NOT_FOUND,
///   OMEMO_ERR_KEY_EXCHANGE_FAILED, OMEMO_ERR_UNKNOWN_NAMESPACE, OMEMO_ERR_MALFORMED, OMEMO_ERR_LIMIT,
///   OMEMO_ERR_AFFIX. OMEMO_ERR_NULL for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_status(decrypted: Option<&omemo_decrypted>) -> omemo_status {
    guard::call(omemo_status::OMEMO_ERR_INTERNAL, || {
        decrypted.map_or(omemo_status::OMEMO_ERR_NULL, |decrypted| decrypted.error.status().into())
    })
}

/// Returns a sentence without JIDs that says why there is no content.
/// Returns: the sentence; NULL for NULL.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_detail(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(decrypted.map(|decrypted| &decrypted.text)))
}

/// Returns the decrypted bytes of the content: in OMEMO_NS_2 an SCE envelope (XEP-0420).
/// Parameters:
/// - len: receives the number of bytes; may be NULL.
/// Returns: the bytes; NULL unless the action is OMEMO_ACTION_SHOW.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_plaintext(
    decrypted: Option<&omemo_decrypted>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        let plaintext = inner(decrypted).and_then(|decrypted| decrypted.plaintext.as_deref());
        returns::give_bytes(plaintext.map(Vec::as_slice), len)
    })
}

/// Returns the text to show, in every namespace. The `to` and `time` of an envelope are not checked; if its `from`
/// names another bare JID than omemo_decrypted_from, the status is OMEMO_ERR_AFFIX and there is no content.
///
/// If the action is OMEMO_ACTION_SHOW and the text is NULL, the content is something else. In OMEMO_NS_2 process those
/// elements of the envelope in omemo_decrypted_plaintext that the client supports, for example a receipt, as if they
/// were children of the stanza; if there are none, show nothing. In OMEMO_NS_LEGACY the content is not UTF-8: do as for
/// OMEMO_ACTION_WARN.
///
/// Returns: the text; NULL if the content has no text, or there is no content.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0 (XEP-0420)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_body(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || {
        let body = decrypted.and_then(omemo_decrypted::body);
        let body = body.and_then(|body| CStr::from_bytes_with_nul(body).ok());
        body.map_or(std::ptr::null(), CStr::as_ptr)
    })
}

/// Returns the JID of the sender.
/// Returns: a bare JID; NULL if the sender could not be determined.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_from(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::or_null(decrypted.and_then(|decrypted| decrypted.from.as_ref()))
    })
}

/// Returns the device id of the sender.
/// Returns: the device id; 0 if the stanza cannot be parsed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_device(decrypted: Option<&omemo_decrypted>) -> u32 {
    guard::call(0, || inner(decrypted).map_or(0, |decrypted| decrypted.device))
}

/// Returns the namespace of the message.
/// Returns: OMEMO_NS_*; NULL if the stanza cannot be parsed.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_namespace(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::namespace_or_null(inner(decrypted).map(|decrypted| decrypted.namespace))
    })
}

/// Returns the identity key of the sender's device, which authenticates the content.
/// Parameters:
/// - len: receives 32; may be NULL.
/// Returns: 32 bytes in Ed25519 form; NULL unless the status is OMEMO_OK.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_identity_key(
    decrypted: Option<&omemo_decrypted>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        let vouched = inner(decrypted).filter(|decrypted| decrypted.error.status() == Status::Ok);
        let key = vouched.and_then(|decrypted| decrypted.identity_key.as_ref());
        returns::give_bytes(key.map(<[u8; 32]>::as_slice), len)
    })
}

/// Returns the core trust of the sender's key at the time of decryption. A provisional key is never trusted.
/// Returns: the core trust; OMEMO_CORE_UNDECIDED for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_core_trust(decrypted: Option<&omemo_decrypted>) -> omemo_core_trust {
    guard::call(omemo_core_trust::OMEMO_CORE_UNDECIDED, || {
        inner(decrypted)
            .map_or(omemo_core_trust::OMEMO_CORE_UNDECIDED, |decrypted| decrypted.core_trust.into())
    })
}

/// Returns whether the sender's key is provisional, that is, shown by key exchanges only; see
/// omemo_devices_provisional. omemo_decrypted_core_trust is then at most OMEMO_CORE_UNDECIDED.
/// Returns: false also for a stanza without content, and for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_provisional(decrypted: Option<&omemo_decrypted>) -> bool {
    guard::call(false, || inner(decrypted).is_some_and(|decrypted| decrypted.provisional))
}

/// Returns the name of the trust level of the sender's key at the time of decryption.
/// Returns: the name; "" if no key was seen; NULL for NULL.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_trust_level_name(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(decrypted.map(|decrypted| &decrypted.level)))
}

/// Returns flags that say more about the message.
/// Returns: bits of omemo_decrypted_flag. Ignore unknown bits.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_flags(decrypted: Option<&omemo_decrypted>) -> u32 {
    guard::call(0, || {
        let Some(decrypted) = inner(decrypted) else { return 0 };
        let flags = [
            (decrypted.new_session, omemo_decrypted_flag::OMEMO_DECRYPTED_NEW_SESSION),
            (decrypted.tag_in_payload, omemo_decrypted_flag::OMEMO_DECRYPTED_TAG_IN_PAYLOAD),
            (decrypted.not_listed, omemo_decrypted_flag::OMEMO_DECRYPTED_DEVICE_NOT_LISTED),
        ];
        flags.into_iter().filter(|(set, _)| *set).fold(0, |bits, (_, flag)| bits | flag as u32)
    })
}

/// Returns a part of the key that came with a message, for protocols that use OMEMO as key transport. A key
/// transport has the status OMEMO_OK and, since it has nothing to show, the action OMEMO_ACTION_HIDE: ask for its
/// key before you drop it.
///
/// Messages with content have a key, too, and so have the empty messages of OMEMO_NS_LEGACY, which cannot be told
/// apart from key transports: use the key only where another protocol says so. The initialisation vector of a
/// message without content is not authenticated, except by the data that you decrypt with it.
///
/// Parameters:
/// - part: an omemo_key_part.
/// - len: receives the number of bytes; may be NULL.
/// Returns: the bytes: 16 of the key in OMEMO_NS_LEGACY and 32 in OMEMO_NS_2, 16 of the tag, and the whole
///   initialisation vector as sent. NULL if the status is not OMEMO_OK, the message has no such part, or it is an
///   empty message of OMEMO_NS_2.
/// Memory: borrowed from decrypted, and wiped with it.
/// Since: 0.1.0 (XEP-0384 0.3 4.6, XEP-0396)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_key(
    decrypted: Option<&omemo_decrypted>,
    part: i32,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        key_parts::give(inner(decrypted).and_then(|decrypted| decrypted.key.as_ref()), part, len)
    })
}

/// Frees the result of decrypting a stanza, and wipes content and key.
/// Parameters:
/// - decrypted: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_decrypted_free(decrypted: *mut omemo_decrypted) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(decrypted) });
}
