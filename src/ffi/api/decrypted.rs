//! Section 12 of the header: what came out of a stanza.

use super::super::boundary::returns::Out;
use super::super::boundary::{args, guard, handles, returns};
use super::super::runtime::manager_handle;
use super::super::runtime::manager_handle::omemo_manager;
use super::callbacks::omemo_core_trust;
use super::key_parts;
use super::message::omemo_message;
use super::status::omemo_status;
use crate::error::{Error, Result, Status};
use crate::manager::api::decrypted::{Action, Decrypted};
use crate::protocol::limits;
use crate::protocol::message::Message;
use crate::protocol::namespace::Namespace;
use crate::stanza;
use crate::stanza::envelope;
use once_cell::sync::OnceCell;
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use zeroize::Zeroizing;

/// ## 12 Decrypt
///
/// What a client does with the stanza.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_action {
    /// Show nothing: a stanza without payload, whatever became of it, a duplicate, or an own echo.
    OMEMO_ACTION_HIDE = 0,
    /// Show the content, with its trust.
    OMEMO_ACTION_SHOW = 1,
    /// Tell the user that a message could not be read: omemo_decrypted_detail says why. Never for a stanza without
    /// payload, in which there is nothing that a user could miss.
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

/// Bits of omemo_decrypted_flags.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_decrypted_flag {
    /// It opened a new session.
    OMEMO_DECRYPTED_NEW_SESSION = 1,
    /// An old sender: the tag stood in the payload, where the recipient's other devices can make another.
    OMEMO_DECRYPTED_TAG_IN_PAYLOAD = 2,
    /// The list of the sender's JID is known and does not name the sender's device, or does not any more: somebody has
    /// taken the device off the list, or it was never on it. The trust in its key counts as before.
    OMEMO_DECRYPTED_DEVICE_NOT_LISTED = 4,
}

/// What came out of a stanza.
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

/// Content that names another sender than the one whose key it came with is not given out.
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

/// Decrypts the first message that is for this device. A message that is not has changed nothing, so the next is tried.
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

/// ## 12 Decrypt
///
/// Decrypt an `<encrypted/>`, at once and without network; what it makes necessary is stored, and done by
/// omemo_manager_run. One commit.
/// Parameters:
/// - manager: the manager.
/// - from: the sender's real bare JID; in a room as presence or the member list tells, never the occupant's.
///   NULL with a room: every member with that device id is tried.
/// - room: the bare JID of the room; NULL outside. With from NULL a message with this device's id and without a key
///   for it is OMEMO_ERR_OWN_ECHO; with such a key it may be of another member's device with the same id, and is
///   tried.
/// - xml: the element, alone or in a `<message>`; if that holds several (8 are looked at), the one that is for this
///   device and can be read.
/// - len: its bytes, without a NUL.
/// - decrypted: gets what came out.
/// Returns: OMEMO_OK when the stanza was dealt with, however that went, also when it cannot be read: ask
///   omemo_decrypted_action. Anything else is not about the stanza, nothing happened, keep it and call again:
///   OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT, OMEMO_ERR_JID, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED, OMEMO_ERR_NOT_READY, OMEMO_ERR_STORAGE*.
/// Memory: free it by omemo_decrypted_free.
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
        match unsafe { args::bytes(xml.cast(), len, limits::STANZA_BYTES) } {
            Ok(xml) => Ok(stanza::message::candidates(xml)),
            Err(error) if error.status() == Status::Limit => Ok(Err(error)),
            Err(error) => Err(error),
        }
    };
    // SAFETY: the client gives one of ours and C strings, or NULL.
    guard::outside_services(|| unsafe { decrypt(manager, from, room, messages, decrypted) })
}

/// Decrypt an `<encrypted/>` that was read by the client.
/// Parameters:
/// - manager: the manager.
/// - from: as in omemo_manager_decrypt_xml; NULL with a room.
/// - room: as in omemo_manager_decrypt_xml; NULL outside.
/// - message: what to decrypt.
/// - decrypted: gets what came out.
/// Returns: as omemo_manager_decrypt_xml.
/// Memory: free it by omemo_decrypted_free.
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

/// What to do with the stanza.
/// Parameters:
/// - decrypted: what came out of it.
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

/// Whether there is content, and if not, why.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: OMEMO_OK, also for a message that is meant to have no content. Nothing changed and the same
///   stanza may be given again later: OMEMO_ERR_SENDER_DISTRUSTED, OMEMO_ERR_NO_SESSION,
///   OMEMO_ERR_PRE_KEY_UNKNOWN, OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY. Further: OMEMO_ERR_NOT_FOR_US,
///   OMEMO_ERR_OWN_ECHO, OMEMO_ERR_DUPLICATE, OMEMO_ERR_DECRYPTION_FAILED, OMEMO_ERR_TOO_MANY_SKIPPED,
///   OMEMO_ERR_SENDER_NOT_FOUND, OMEMO_ERR_KEY_EXCHANGE_FAILED, OMEMO_ERR_UNKNOWN_NAMESPACE,
///   OMEMO_ERR_MALFORMED, OMEMO_ERR_LIMIT. OMEMO_ERR_NULL for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_status(decrypted: Option<&omemo_decrypted>) -> omemo_status {
    guard::call(omemo_status::OMEMO_ERR_INTERNAL, || {
        decrypted.map_or(omemo_status::OMEMO_ERR_NULL, |decrypted| decrypted.error.status().into())
    })
}

/// Why there is no content, in a sentence without JIDs.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: the sentence; NULL for NULL.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_detail(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(decrypted.map(|decrypted| &decrypted.text)))
}

/// The content: in OMEMO_NS_2 an SCE envelope (XEP-0420).
/// Parameters:
/// - decrypted: what came out of the stanza.
/// - len: gets the number of bytes; may be NULL.
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

/// The text to show, in every namespace. The envelope's to and time are not checked; where its from names another bare
/// JID than omemo_decrypted_from, the status is OMEMO_ERR_AFFIX and there is no content.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: the text; NULL: the content is no text, or there is none.
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

/// Who sent it.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: a bare JID; NULL if that could not be told.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_from(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::or_null(decrypted.and_then(|decrypted| decrypted.from.as_ref()))
    })
}

/// The device that sent it.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: its id; 0 if the stanza cannot be read.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_device(decrypted: Option<&omemo_decrypted>) -> u32 {
    guard::call(0, || inner(decrypted).map_or(0, |decrypted| decrypted.device))
}

/// The namespace that it came in.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: OMEMO_NS_*; NULL if the stanza cannot be read.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_namespace(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::namespace_or_null(inner(decrypted).map(|decrypted| decrypted.namespace))
    })
}

/// The identity key that vouches for the content.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// - len: gets 32; may be NULL.
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

/// What the trust level of that key came to when the stanza was decrypted. A provisional key is never trusted.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: the verdict; OMEMO_CORE_UNDECIDED for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_core_trust(decrypted: Option<&omemo_decrypted>) -> omemo_core_trust {
    guard::call(omemo_core_trust::OMEMO_CORE_UNDECIDED, || {
        inner(decrypted)
            .map_or(omemo_core_trust::OMEMO_CORE_UNDECIDED, |decrypted| decrypted.core_trust.into())
    })
}

/// Tells whether only key exchanges show the key that vouches for the content: it is provisional, see
/// omemo_devices_provisional, and omemo_decrypted_core_trust is at most OMEMO_CORE_UNDECIDED.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: false also for a stanza without content, and for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_provisional(decrypted: Option<&omemo_decrypted>) -> bool {
    guard::call(false, || inner(decrypted).is_some_and(|decrypted| decrypted.provisional))
}

/// The name of that trust level.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: the name, "" if no key was seen; NULL for NULL.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_trust_level_name(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(decrypted.map(|decrypted| &decrypted.level)))
}

/// What else is to be known of it.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// Returns: bits of omemo_decrypted_flag. Ignore those that you do not know.
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

/// The key that came with a message, for protocols that use OMEMO as key transport. A key transport has the status
/// OMEMO_OK and, since there is nothing to show, the action OMEMO_ACTION_HIDE: ask for the key before you drop it. It
/// is there for messages with content, too, and for the empty messages of OMEMO_NS_LEGACY, which nothing tells from
/// key transports: use it only where another protocol says so. Nothing vouches for the initialisation vector of a
/// message without content but what you decrypt with it.
/// Parameters:
/// - decrypted: what came out of the stanza.
/// - part: an omemo_key_part.
/// - len: gets the number of bytes; may be NULL.
/// Returns: the bytes: of the key 16 in OMEMO_NS_LEGACY and 32 in OMEMO_NS_2, of the tag 16, of the initialisation
///   vector as many as were sent. NULL: the status is not OMEMO_OK, the message has no such part, or it is an empty
///   message of OMEMO_NS_2.
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

/// Free what came out of a stanza. Content and key are wiped.
/// Parameters:
/// - decrypted: what came out of the stanza; NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_decrypted_free(decrypted: *mut omemo_decrypted) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(decrypted) });
}
