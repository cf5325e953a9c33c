//! Section 9 of the header: results of operations.

use super::super::boundary::{guard, handles, returns};
use super::message::omemo_message;
use super::status::omemo_status;
use crate::error::{Error, Status};
use crate::manager::api::report::Outcome;
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::KeyParts;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

/// Parts of the key of a message, for protocols that use OMEMO as key transport (XEP-0396). They are parameters of
/// omemo_result_key for sent messages and of omemo_decrypted_key for received ones.
#[repr(i32)]
pub enum omemo_key_part {
    /// The key itself.
    OMEMO_KEY_PART_KEY = 0,
    /// The authentication tag of the payload, if it came with the key.
    OMEMO_KEY_PART_TAG = 1,
    /// The initialisation vector of OMEMO_NS_LEGACY.
    OMEMO_KEY_PART_IV = 2,
}

/// End of an operation: a status, a report, and the messages to send.
///
/// omemo_done is given a result that lives until it returns; omemo_manager_wait returns one that you free with
/// omemo_result_free. The report has rows: one for each device, JID or namespace that was processed, with a status
/// of its own. A single device that fails does not fail the operation.
pub struct omemo_result {
    status: Status,
    text: CString,
    context: Option<CString>,
    rows: Vec<Row>,
    messages: Vec<omemo_message>,
    keys: Vec<KeyParts>,
}

struct Row {
    jid: Option<CString>,
    device: u32,
    namespace: Option<Namespace>,
    status: Status,
    text: CString,
}

impl omemo_result {
    /// A result with nothing to report.
    pub(in crate::ffi) fn bare(error: Error) -> omemo_result {
        omemo_result::new(Outcome::bare(error))
    }

    pub(in crate::ffi) fn new(outcome: Outcome) -> omemo_result {
        let rows = outcome.rows.into_iter().map(|row| Row {
            jid: row.jid.map(|jid| returns::c_string(jid.as_str())),
            device: row.device,
            namespace: row.namespace,
            status: row.error.status(),
            text: returns::c_string(&row.error.to_string()),
        });
        omemo_result {
            status: outcome.error.status(),
            text: returns::c_string(&outcome.error.to_string()),
            context: outcome.context.as_deref().map(returns::c_string),
            rows: rows.collect(),
            messages: outcome.messages.into_iter().map(omemo_message::new).collect(),
            keys: outcome.keys,
        }
    }

    pub(in crate::ffi) fn status(&self) -> omemo_status {
        self.status.into()
    }
}

/// Returns the part with this number.
pub(in crate::ffi) fn key_part(key: Option<&KeyParts>, part: i32) -> Option<&[u8]> {
    let key = key?;
    match part {
        _ if part == omemo_key_part::OMEMO_KEY_PART_KEY as i32 => Some(key.key.as_slice()),
        _ if part == omemo_key_part::OMEMO_KEY_PART_TAG as i32 => key.tag.as_ref().map(|tag| tag.as_slice()),
        _ if part == omemo_key_part::OMEMO_KEY_PART_IV as i32 => key.iv.as_deref(),
        _ => None,
    }
}

/// The row with this index.
fn row(result: Option<&omemo_result>, index: usize) -> Option<&Row> {
    result?.rows.get(index)
}

/// Returns the status with which an operation ended.
/// Returns: OMEMO_OK, or why it failed; OMEMO_ERR_NULL for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_status(result: Option<&omemo_result>) -> omemo_status {
    guard::call(omemo_status::OMEMO_ERR_INTERNAL, || {
        result.map_or(omemo_status::OMEMO_ERR_NULL, omemo_result::status)
    })
}

/// Returns a sentence about the end of an operation, which may say more than the status. It may include the
/// server's text: see omemo_result_row_detail.
/// Returns: the sentence; NULL for NULL.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_detail(result: Option<&omemo_result>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(result.map(|result| &result.text)))
}

/// Returns the context of an encryption, such as the name of a chat.
/// Returns: the word from omemo_draft_set_context, else the first recipient; NULL if the operation had no draft, or its
///   draft neither of them.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_context(result: Option<&omemo_result>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(result.and_then(|result| result.context.as_ref())))
}

/// Returns the number of rows in the report: one for each device, JID or namespace that was processed.
/// Returns: the number; 0 for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_count(result: Option<&omemo_result>) -> usize {
    guard::call(0, || result.map_or(0, |result| result.rows.len()))
}

/// Returns the JID of a row.
/// Returns: a bare JID; NULL if the row is about a namespace of this account, or there is no such row.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_jid(result: Option<&omemo_result>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(row(result, index).and_then(|row| row.jid.as_ref())))
}

/// Returns the device id of a row.
/// Returns: a device id; 0 if the row is about the whole JID, or there is no such row.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_device(result: Option<&omemo_result>, index: usize) -> u32 {
    guard::call(0, || row(result, index).map_or(0, |row| row.device))
}

/// Returns the namespace of a row.
/// Returns: OMEMO_NS_*; NULL if the row is about all namespaces, or there is no such row.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_namespace(result: Option<&omemo_result>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::namespace_or_null(row(result, index).and_then(|row| row.namespace))
    })
}

/// Returns the status of a row.
/// Returns: OMEMO_OK if the device, JID or namespace was processed, else why not; OMEMO_ERR_NULL for NULL,
///   OMEMO_ERR_ARGUMENT if there is no such row.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_status(result: Option<&omemo_result>, index: usize) -> omemo_status {
    guard::call(omemo_status::OMEMO_ERR_INTERNAL, || {
        let Some(result) = result else { return omemo_status::OMEMO_ERR_NULL };
        row(Some(result), index).map_or(omemo_status::OMEMO_ERR_ARGUMENT, |row| row.status.into())
    })
}

/// Returns a sentence about the status of a row. If the server has refused something, the sentence ends with the
/// server's error condition and text (at most 200 code points, control and direction characters written as
/// \u{...}). Show it to a person, but do not log it: the server's text may contain JIDs. No other sentence does.
/// Returns: the sentence; NULL if there is no such row.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_detail(result: Option<&omemo_result>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(row(result, index).map(|row| &row.text)))
}

/// Returns the number of messages to send: at most one for each namespace, each with at least one key; 0 if there is no
/// recipient device.
///
/// Two messages are one text for different devices: no device has a key in both. Send each in a stanza of its own, with
/// the same `to`, and show the text once. A receiver passes in both stanzas; the one without a key for its device is
/// OMEMO_ERR_NOT_FOR_US, in general with OMEMO_ACTION_HIDE (docs/namespaces.md).
/// Returns: the number; 0 for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_message_count(result: Option<&omemo_result>) -> usize {
    guard::call(0, || result.map_or(0, |result| result.messages.len()))
}

/// Returns a message to send. omemo_message_xml returns its XML.
/// Returns: the message; NULL if there is no such message.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_message(result: Option<&omemo_result>, index: usize) -> *const omemo_message {
    guard::call(std::ptr::null(), || {
        let message = result.and_then(|result| result.messages.get(index));
        message.map_or(std::ptr::null(), std::ptr::from_ref)
    })
}

/// Returns a part of the key that a message transports; see omemo_draft_set_key_transport. Use key and
/// initialisation vector together for one encryption with AES-128-GCM and never again.
/// Parameters:
/// - index: position of the message, from 0.
/// - part: an omemo_key_part.
/// - len: receives the number of bytes: 16 for the key, 12 for the initialisation vector; may be NULL.
/// Returns: the bytes; NULL if the message has content, or there is no such message or part. There is never a tag.
/// Memory: borrowed from result, and wiped with it.
/// Since: 0.1.0 (XEP-0384 0.3 4.6, XEP-0396)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_key(
    result: Option<&omemo_result>,
    index: usize,
    part: i32,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || key_part(result.and_then(|result| result.keys.get(index)), part))
}

/// Frees a result from omemo_manager_wait; not the result that omemo_done receives.
/// Parameters:
/// - result: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_result_free(result: *mut omemo_result) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(result) });
}
