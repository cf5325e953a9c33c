//! Section 12 of the header: what became of a stanza that was decrypted.

use super::super::boundary::{guard, handles, returns};
use super::core_trust::omemo_core_trust;
use super::decrypt::{omemo_action, omemo_decrypted, omemo_decrypted_flag};
use super::results;
use super::status::omemo_status;
use crate::error::Status;
use crate::manager::api::decrypted::Decrypted;
use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;

/// The message, unless the stanza could not be read.
fn message(decrypted: Option<&omemo_decrypted>) -> Option<&Decrypted> {
    decrypted?.decrypted.as_ref()
}

/// Returns what to do with the stanza.
/// Returns: the advice; OMEMO_ACTION_HIDE for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_action(decrypted: Option<&omemo_decrypted>) -> omemo_action {
    guard::call(omemo_action::OMEMO_ACTION_HIDE, || {
        decrypted.map_or(omemo_action::OMEMO_ACTION_HIDE, |decrypted| decrypted.action.into())
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
    guard::bytes(len, || {
        let plaintext = message(decrypted).and_then(|decrypted| decrypted.plaintext.as_deref());
        plaintext.map(Vec::as_slice)
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

/// Returns the room that the message came in.
/// Returns: the bare JID that was passed in when it was decrypted; NULL outside of rooms, and if the stanza cannot be parsed.
/// Memory: borrowed from decrypted.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_room(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::or_null(decrypted.and_then(|decrypted| decrypted.room.as_ref()))
    })
}

/// Returns the number under which the content is kept until omemo_manager_acknowledge is called with it. Acknowledge results
/// with the status OMEMO_OK, once there is nothing of them left to be stored, also those with OMEMO_ACTION_HIDE: key
/// transports are content, too, and so are the empty messages of OMEMO_NS_LEGACY, which cannot be told apart from them. With
/// any other status the content is withheld, and acknowledging destroys it.
///
/// Receipts grow, are less than 2^63, and are never used again, by this or another manager on the same store. Stores of other
/// accounts may use the same ones, and so may an older copy of the store, if the clock was ahead when they were given.
///
/// Returns: the receipt; 0 unless OMEMO_OPTION_ACKNOWLEDGE was on when the message was decrypted first, and there is content
///   that was not acknowledged.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_receipt(decrypted: Option<&omemo_decrypted>) -> u64 {
    guard::call(0, || message(decrypted).map_or(0, |decrypted| decrypted.receipt))
}

/// Returns the device id of the sender.
/// Returns: the device id; 0 if the stanza cannot be parsed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_device(decrypted: Option<&omemo_decrypted>) -> u32 {
    guard::call(0, || message(decrypted).map_or(0, |decrypted| decrypted.device))
}

/// Returns the namespace of the message.
/// Returns: OMEMO_NS_*; NULL if the stanza cannot be parsed.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_namespace(decrypted: Option<&omemo_decrypted>) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::namespace_or_null(message(decrypted).map(|decrypted| decrypted.namespace))
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
    guard::bytes(len, || {
        let vouched = message(decrypted).filter(|decrypted| decrypted.error.status() == Status::Ok);
        let key = vouched.and_then(|decrypted| decrypted.identity_key.as_ref());
        key.map(<[u8; 32]>::as_slice)
    })
}

/// Returns the core trust of the sender's key at the time of decryption. A provisional key is never trusted.
/// Returns: the core trust; OMEMO_CORE_UNDECIDED for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_core_trust(decrypted: Option<&omemo_decrypted>) -> omemo_core_trust {
    guard::call(omemo_core_trust::OMEMO_CORE_UNDECIDED, || {
        message(decrypted)
            .map_or(omemo_core_trust::OMEMO_CORE_UNDECIDED, |decrypted| decrypted.core_trust.into())
    })
}

/// Returns whether the sender's key is provisional, that is, shown by key exchanges only; see
/// omemo_devices_provisional. omemo_decrypted_core_trust is then at most OMEMO_CORE_UNDECIDED.
/// Returns: false also for a stanza without content, and for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_decrypted_provisional(decrypted: Option<&omemo_decrypted>) -> bool {
    guard::call(false, || message(decrypted).is_some_and(|decrypted| decrypted.provisional))
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
        let Some(decrypted) = message(decrypted) else { return 0 };
        let flags = [
            (decrypted.new_session, omemo_decrypted_flag::OMEMO_DECRYPTED_NEW_SESSION),
            (decrypted.tag_in_payload, omemo_decrypted_flag::OMEMO_DECRYPTED_TAG_IN_PAYLOAD),
            (decrypted.not_listed, omemo_decrypted_flag::OMEMO_DECRYPTED_DEVICE_NOT_LISTED),
            (decrypted.repeated, omemo_decrypted_flag::OMEMO_DECRYPTED_REPEATED),
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
    guard::bytes(len, || {
        results::key_part(message(decrypted).and_then(|decrypted| decrypted.key.as_ref()), part)
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
