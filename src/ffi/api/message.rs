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

/// OMEMO message: one `<encrypted/>`, with its keys and its payload, encrypted.
///
/// A message to send comes from omemo_result_message or a send_message request and is written with
/// omemo_message_xml. A received message needs no omemo_message: omemo_manager_decrypt_xml takes the XML. Clients
/// with a parser of their own build a message with omemo_message_new, omemo_message_add_key and
/// omemo_message_set_payload for omemo_manager_decrypt. Free a message from omemo_message_new or
/// omemo_message_parse with omemo_message_free; others are borrowed.
pub struct omemo_message {
    message: Message,
    /// Whether it was read from a stanza that says it was delayed.
    delayed: bool,
    /// The JID of each key, made when a getter needs it.
    jids: OnceCell<Vec<Option<CString>>>,
    xml: OnceCell<CString>,
}

impl omemo_message {
    pub(in crate::ffi) fn new(message: Message) -> omemo_message {
        omemo_message { message, delayed: false, jids: OnceCell::new(), xml: OnceCell::new() }
    }

    pub(in crate::ffi) fn message(&self) -> &Message {
        &self.message
    }

    pub(in crate::ffi) fn is_delayed(&self) -> bool {
        self.delayed
    }

    fn at(message: Option<&omemo_message>, index: usize) -> Option<&MessageKey> {
        message?.message.keys.get(index)
    }
}

/// Creates an OMEMO message without keys and payload, for clients with a parser of their own.
/// Parameters:
/// - ns: the namespace of the message.
/// - sender_device: the device id of the sender.
/// Returns: the message; NULL if the namespace is not known.
/// Memory: free it with omemo_message_free.
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

/// Parses an `<encrypted/>`. Keys for other devices may be malformed.
/// Parameters:
/// - xml: the element, alone or in a `<message>`. If that has several, the first readable one of OMEMO_NS_2 is
///   parsed, else the first one of OMEMO_NS_LEGACY, whether or not it is for this device (omemo_manager_decrypt_xml
///   considers all).
/// - len: bytes of xml, without a NUL.
/// - message: receives the message.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT, OMEMO_ERR_MALFORMED, OMEMO_ERR_LIMIT,
///   OMEMO_ERR_UNKNOWN_NAMESPACE.
/// Memory: free it with omemo_message_free.
/// Since: 0.1.0 (XEP-0384 5.5)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_message_parse(
    xml: *const c_char,
    len: usize,
    message: Option<&mut MaybeUninit<*mut omemo_message>>,
) -> omemo_status {
    let read = |xml: &[u8]| {
        let received = stanza::message::candidates(xml)?;
        let (delayed, message) = (received.delayed, received.into_first()?);
        Ok(omemo_message { delayed, ..omemo_message::new(message) })
    };
    // SAFETY: the client gives len bytes or NULL.
    guard::status(|| unsafe { handles::parse(xml, len, message, read) })
}

/// Adds a key to a message.
/// Parameters:
/// - jid: the bare JID of the recipient in OMEMO_NS_2. OMEMO_NS_LEGACY does not transmit it: it is ignored there
///   and may be NULL.
/// - device: the device id of the recipient device.
/// - key_exchange: whether the element is marked as a key exchange (kex, prekey). Clients write this mark in
///   different ways, so that it counts only if the bytes can be parsed neither as a key exchange nor as a message
///   without one.
/// - bytes: the decoded content of the element. Copied.
/// - len: number of bytes, at most 4,096.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID, OMEMO_ERR_ARGUMENT (len), OMEMO_ERR_LIMIT
///   (10,000 keys).
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
        let jid =
            if message.message.namespace.names_recipients() { Some(args::required(jid)?) } else { None };
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

/// Sets the encrypted payload of a message, and in OMEMO_NS_LEGACY the initialisation vector. There, an
/// initialisation vector without payload makes a key transport (XEP-0384 0.3 4.6).
/// Parameters:
/// - payload: the decoded bytes, copied; NULL: no payload.
/// - len: number of bytes of payload; 0 if payload is NULL.
/// - iv: the initialisation vector, copied; NULL in OMEMO_NS_2.
/// - iv_len: bytes of iv, 1 to 64 (12 are written, 12 and 16 are in use); 0 if iv is NULL.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (an initialisation vector in OMEMO_NS_2, or an empty one),
///   OMEMO_ERR_LIMIT.
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

/// Returns the namespace of a message.
/// Returns: OMEMO_NS_*; NULL for NULL.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_namespace(message: Option<&omemo_message>) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::namespace_or_null(message.map(|message| message.message.namespace))
    })
}

/// Returns the device id of the sender of a message.
/// Returns: the device id as in the message; 0 for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_sender_device(message: Option<&omemo_message>) -> u32 {
    guard::call(0, || message.map_or(0, |message| message.message.sender_device))
}

/// Returns the number of keys in a message.
/// Returns: the number; 0 for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_key_count(message: Option<&omemo_message>) -> usize {
    guard::call(0, || message.map_or(0, |message| message.message.keys.len()))
}

/// Returns the JID of the recipient of a key.
/// Returns: a bare JID; NULL if the namespace does not transmit it, or there is no such key.
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

/// Returns the device id of the recipient of a key.
/// Returns: a device id; 0 if there is no such key.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_key_device(message: Option<&omemo_message>, index: usize) -> u32 {
    guard::call(0, || omemo_message::at(message, index).map_or(0, |key| key.device))
}

/// Returns whether a key contains a key exchange.
/// Returns: false if there is no such key.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_key_is_exchange(message: Option<&omemo_message>, index: usize) -> bool {
    guard::call(false, || omemo_message::at(message, index).is_some_and(|key| key.key_exchange))
}

/// Returns the content of a key.
/// Parameters:
/// - index: position of the key, from 0.
/// - len: receives the number of bytes; may be NULL.
/// Returns: the decoded bytes; NULL if they cannot be decoded, or there is no such key.
/// Memory: borrowed from message until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_key_bytes(
    message: Option<&omemo_message>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || {
        let key = omemo_message::at(message, index);
        key.and_then(|key| key.bytes.as_deref())
    })
}

/// Returns the encrypted payload of a message.
/// Parameters:
/// - len: receives the number of bytes; may be NULL.
/// Returns: the decoded bytes; NULL if the message has no payload, and so nothing to show to a user.
/// Memory: borrowed from message until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_payload(
    message: Option<&omemo_message>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || message.and_then(|message| message.message.payload.as_deref()))
}

/// Returns the initialisation vector of a message in OMEMO_NS_LEGACY.
/// Parameters:
/// - len: receives the number of bytes; may be NULL.
/// Returns: the decoded bytes; NULL if there is none, as always in OMEMO_NS_2.
/// Memory: borrowed from message until it changes.
/// Since: 0.1.0 (XEP-0384 0.3 4.4)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_message_iv(
    message: Option<&omemo_message>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || message.and_then(|message| message.message.iv.as_deref()))
}

/// Returns a message as XML. Put it into a `<message>`. Everything beside it is written by the client: always a store
/// hint (XEP-0334); for what a user has written also the encryption tag (XEP-0380) with omemo_message_namespace and, in
/// OMEMO_NS_LEGACY, a `<body>` that tells clients without OMEMO that the message is encrypted. docs/pep.md has
/// examples.
/// Parameters:
/// - len: receives the number of bytes, without the NUL; may be NULL.
/// Returns: `<encrypted/>`; NULL for NULL.
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

/// Frees a message from omemo_message_new or omemo_message_parse; not a message of a result, nor one that a
/// callback receives.
/// Parameters:
/// - message: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_message_free(message: *mut omemo_message) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(message) });
}
