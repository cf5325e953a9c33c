//! Section 10 of the header, messages: `<encrypted/>` as structure and as XML.

use super::super::boundary::{args, guard, handles, returns};
use super::status::omemo_status;
use crate::error::{Error, Status};
use crate::protocol::limits;
use crate::protocol::message::{Message, MessageKey};
use crate::protocol::messages::key_exchange::holds_exchange;
use crate::protocol::namespace::Namespace;
use crate::stanza;
use once_cell::sync::OnceCell;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

/// One `<encrypted/>`.
pub struct omemo_message {
    message: Message,
    /// Whom each key is for, made when somebody asks.
    jids: OnceCell<Vec<Option<CString>>>,
    xml: OnceCell<CString>,
}

impl omemo_message {
    pub(in crate::ffi) fn new(message: Message) -> omemo_message {
        omemo_message { message, jids: OnceCell::new(), xml: OnceCell::new() }
    }

    pub(in crate::ffi) fn message(&self) -> &Message {
        &self.message
    }

    fn at(message: Option<&omemo_message>, index: usize) -> Option<&MessageKey> {
        message?.message.keys.get(index)
    }
}

/// An `<encrypted/>` from its parts, for clients with a parser of their own.
/// Parameters:
/// - ns: its namespace.
/// - sender_device: the device that sent it.
/// Returns: the message; NULL if the namespace is not known.
/// Memory: free it by omemo_message_free.
/// Since: 0.1.0 (XEP-0384 5.5)
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn omemo_message_new(ns: *const c_char, sender_device: u32) -> *mut omemo_message {
    guard::call(std::ptr::null_mut(), || {
        // SAFETY: the client gives a C string or NULL.
        let Ok(namespace) = (unsafe { args::namespace(ns) }) else { return std::ptr::null_mut() };
        let message = Message { namespace, sender_device, keys: Vec::new(), payload: None, iv: None };
        handles::into_handle(omemo_message::new(message))
    })
}

/// Read an `<encrypted/>`. Keys for others may be broken.
/// Parameters:
/// - xml: the element, alone or in a `<message>`; if that holds several, the first one of OMEMO_NS_2 that can be read,
///   else the first one of OMEMO_NS_LEGACY, whomever it is for (omemo_manager_decrypt_xml looks at all).
/// - len: its bytes, without a NUL.
/// - message: gets the message.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT, OMEMO_ERR_MALFORMED, OMEMO_ERR_LIMIT,
///   OMEMO_ERR_UNKNOWN_NAMESPACE.
/// Memory: free it by omemo_message_free.
/// Since: 0.1.0 (XEP-0384 5.5)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_message_parse(
    xml: *const c_char,
    len: usize,
    message: Option<&mut MaybeUninit<*mut omemo_message>>,
) -> omemo_status {
    guard::status(|| {
        let out = args::required(message)?;
        // SAFETY: the client gives len bytes or NULL.
        let xml = unsafe { args::bytes(xml.cast(), len, limits::STANZA_BYTES) }?;
        let message = stanza::message::parse(xml)?;
        out.write(handles::into_handle(omemo_message::new(message)));
        Ok(())
    })
}

/// Add a key.
/// Parameters:
/// - message: the message.
/// - jid: whom it is for in OMEMO_NS_2; OMEMO_NS_LEGACY does not say: NULL, or it is dropped.
/// - device: which device it is for.
/// - key_exchange: whether it is marked as a key exchange (kex, prekey). Clients write the mark in many ways: what
///   counts are the bytes, if they are either.
/// - bytes: its decoded content.
/// - len: their number, at most 4096.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID, OMEMO_ERR_ARGUMENT (length), OMEMO_ERR_LIMIT
///   (10,000 keys).
/// Memory: the bytes are copied.
/// Since: 0.1.0 (XEP-0384 5.5)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_message_add_key(
    message: Option<&mut omemo_message>,
    jid: *const c_char,
    device: u32,
    key_exchange: bool,
    bytes: *const u8,
    len: usize,
) -> omemo_status {
    guard::status(|| {
        let message = args::required(message)?;
        // SAFETY: the client gives a C string or NULL.
        let jid = unsafe { args::optional_jid(jid) }?;
        let jid = match message.message.namespace {
            Namespace::Omemo2 => Some(args::required(jid)?),
            Namespace::Legacy => None,
        };
        // SAFETY: the client gives len bytes or NULL.
        let bytes = unsafe { args::bytes(bytes, len, limits::MESSAGE_KEY_BYTES) }?.to_vec();
        if message.message.keys.len() >= limits::KEYS_PER_MESSAGE {
            return Err(Status::Limit.into());
        }
        let held = holds_exchange(message.message.namespace, &bytes);
        let key_exchange = held.unwrap_or(key_exchange);
        message.message.keys.push(MessageKey { jid, device, key_exchange, bytes: Some(bytes) });
        message.jids.take();
        message.xml.take();
        Ok(())
    })
}

/// Set the encrypted payload, and in OMEMO_NS_LEGACY the initialisation vector. There, a payload of NULL with an
/// initialisation vector is a key transport (XEP-0384 0.3 4.6).
/// Parameters:
/// - message: the message.
/// - payload: its decoded bytes; NULL: none.
/// - len: their number; 0 where payload is NULL.
/// - iv: the initialisation vector; NULL in OMEMO_NS_2.
/// - iv_len: its bytes, 1 to 64 (12 are written, 12 and 16 are in use); 0 where iv is NULL.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (an initialisation vector in OMEMO_NS_2, or an empty one),
///   OMEMO_ERR_LIMIT.
/// Memory: the bytes are copied.
/// Since: 0.1.0 (XEP-0384 5.5)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_message_set_payload(
    message: Option<&mut omemo_message>,
    payload: *const u8,
    len: usize,
    iv: *const u8,
    iv_len: usize,
) -> omemo_status {
    guard::status(|| {
        let message = args::required(message)?;
        let iv = match (iv.is_null(), message.message.namespace) {
            (true, _) if iv_len != 0 => return Err(Status::Null.into()),
            (true, _) => None,
            (false, Namespace::Omemo2) => {
                return Err(Error::new(Status::Argument, "This namespace has no initialisation vector."));
            }
            (false, Namespace::Legacy) if iv_len == 0 => {
                return Err(Error::new(Status::Argument, "An initialisation vector is not empty."));
            }
            (false, Namespace::Legacy) => {
                // SAFETY: the client gives iv_len bytes.
                Some(unsafe { args::bytes(iv, iv_len, limits::MESSAGE_IV_BYTES) }?.to_vec())
            }
        };
        let payload = if payload.is_null() {
            if len != 0 {
                return Err(Status::Null.into());
            }
            None
        } else {
            // SAFETY: the client gives len bytes.
            Some(unsafe { args::bytes(payload, len, limits::STANZA_BYTES) }?.to_vec())
        };
        message.message.payload = payload;
        message.message.iv = iv;
        message.xml.take();
        Ok(())
    })
}

/// The namespace of a message.
/// Parameters:
/// - message: the message.
/// Returns: OMEMO_NS_*; NULL for NULL.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_namespace(message: Option<&omemo_message>) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::namespace_or_null(message.map(|message| message.message.namespace))
    })
}

/// The device that sent a message.
/// Parameters:
/// - message: the message.
/// Returns: its id as it stands in the message; 0 for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_sender_device(message: Option<&omemo_message>) -> u32 {
    guard::call(0, || message.map_or(0, |message| message.message.sender_device))
}

/// How many keys a message has.
/// Parameters:
/// - message: the message.
/// Returns: their number.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_key_count(message: Option<&omemo_message>) -> usize {
    guard::call(0, || message.map_or(0, |message| message.message.keys.len()))
}

/// Whom a key is for.
/// Parameters:
/// - message: the message.
/// - index: of the key.
/// Returns: a bare JID; NULL: the namespace does not say, or there is no such key.
/// Memory: borrowed from message until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_key_jid(message: Option<&omemo_message>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || {
        let Some(message) = message else { return std::ptr::null() };
        let jids = message.jids.get_or_init(|| {
            let keys = message.message.keys.iter();
            keys.map(|key| key.jid.as_ref().map(|jid| returns::c_string(jid.as_str()))).collect()
        });
        returns::or_null(jids.get(index).and_then(Option::as_ref))
    })
}

/// Which device a key is for.
/// Parameters:
/// - message: the message.
/// - index: of the key.
/// Returns: a device id; 0 if there is no such key.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_key_device(message: Option<&omemo_message>, index: usize) -> u32 {
    guard::call(0, || omemo_message::at(message, index).map_or(0, |key| key.device))
}

/// Whether a key carries a key exchange.
/// Parameters:
/// - message: the message.
/// - index: of the key.
/// Returns: false if there is no such key.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_key_is_exchange(message: Option<&omemo_message>, index: usize) -> bool {
    guard::call(false, || omemo_message::at(message, index).is_some_and(|key| key.key_exchange))
}

/// The content of a key.
/// Parameters:
/// - message: the message.
/// - index: of the key.
/// - len: gets the number of bytes; may be NULL.
/// Returns: the decoded bytes; NULL: they cannot be decoded, or there is no such key.
/// Memory: borrowed from message until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_key_bytes(
    message: Option<&omemo_message>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        let key = omemo_message::at(message, index);
        returns::give_bytes(key.and_then(|key| key.bytes.as_deref()), len)
    })
}

/// The encrypted payload.
/// Parameters:
/// - message: the message.
/// - len: gets the number of bytes; may be NULL.
/// Returns: the decoded bytes; NULL: there is none, and nothing to show to anybody.
/// Memory: borrowed from message until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_payload(
    message: Option<&omemo_message>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        returns::give_bytes(message.and_then(|message| message.message.payload.as_deref()), len)
    })
}

/// The initialisation vector of a message in OMEMO_NS_LEGACY.
/// Parameters:
/// - message: the message.
/// - len: gets the number of bytes; may be NULL.
/// Returns: the decoded bytes; NULL: there is none, as always in OMEMO_NS_2.
/// Memory: borrowed from message until it changes.
/// Since: 0.1.0 (XEP-0384 0.3 4.4)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_iv(
    message: Option<&omemo_message>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        returns::give_bytes(message.and_then(|message| message.message.iv.as_deref()), len)
    })
}

/// `<encrypted/>`. Put it into a `<message>`, with a store hint (XEP-0334) beside it.
/// Parameters:
/// - message: the message.
/// - len: gets its bytes, without the NUL; may be NULL.
/// Returns: the element; NULL for NULL.
/// Memory: borrowed from message until it changes.
/// Since: 0.1.0 (XEP-0384 5.5)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_xml(
    message: Option<&omemo_message>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    guard::call(std::ptr::null(), || {
        let Some(message) = message else { return std::ptr::null() };
        let xml = message.xml.get_or_init(|| returns::c_string(&stanza::message::write(&message.message)));
        returns::give_text(xml, len)
    })
}

/// Free what omemo_message_new or _parse gave; not a message of a result, nor one that a callback is given.
/// Parameters:
/// - message: the message; NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_message_free(message: *mut omemo_message) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(message) });
}
