//! Section 9 of the header: how an operation ended.

use super::super::boundary::{guard, handles, returns};
use super::key_parts;
use super::message::omemo_message;
use super::status::omemo_status;
use crate::error::{Error, Status};
use crate::manager::api::report::Outcome;
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::KeyParts;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

/// How an operation ended: status, report, messages.
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

/// The row with this index.
fn row(result: Option<&omemo_result>, index: usize) -> Option<&Row> {
    result?.rows.get(index)
}

/// ## 9 Results
///
/// How an operation ended.
/// Parameters:
/// - result: the result.
/// Returns: OMEMO_OK, or why it failed; OMEMO_ERR_NULL for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_status(result: Option<&omemo_result>) -> omemo_status {
    guard::call(omemo_status::OMEMO_ERR_INTERNAL, || {
        result.map_or(omemo_status::OMEMO_ERR_NULL, omemo_result::status)
    })
}

/// Returns how an operation ended, in a sentence that may say more than the status. It may show what the server said:
/// see omemo_result_row_detail.
/// Parameters:
/// - result: the result.
/// Returns: the sentence; NULL for NULL.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_detail(result: Option<&omemo_result>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(result.map(|result| &result.text)))
}

/// Which chat this was about.
/// Parameters:
/// - result: the result.
/// Returns: the word of omemo_draft_set_context, else the first recipient; NULL where there was no draft.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_context(result: Option<&omemo_result>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(result.and_then(|result| result.context.as_ref())))
}

/// Rows of the report: one for each device, JID or namespace that was dealt with.
/// Parameters:
/// - result: the result.
/// Returns: their number.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_count(result: Option<&omemo_result>) -> usize {
    guard::call(0, || result.map_or(0, |result| result.rows.len()))
}

/// Whom a row is about.
/// Parameters:
/// - result: the result.
/// - index: of the row.
/// Returns: a bare JID; NULL: the account's namespace as such, or there is no such row.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_jid(result: Option<&omemo_result>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(row(result, index).and_then(|row| row.jid.as_ref())))
}

/// Which device a row is about.
/// Parameters:
/// - result: the result.
/// - index: of the row.
/// Returns: a device id; 0: the whole JID, or there is no such row.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_device(result: Option<&omemo_result>, index: usize) -> u32 {
    guard::call(0, || row(result, index).map_or(0, |row| row.device))
}

/// Which namespace a row is about.
/// Parameters:
/// - result: the result.
/// - index: of the row.
/// Returns: OMEMO_NS_*; NULL: all, or there is no such row.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_namespace(result: Option<&omemo_result>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::namespace_or_null(row(result, index).and_then(|row| row.namespace))
    })
}

/// What happened to it.
/// Parameters:
/// - result: the result.
/// - index: of the row.
/// Returns: OMEMO_OK: done or served. OMEMO_ERR_NULL for NULL, OMEMO_ERR_ARGUMENT if there is no such row.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_status(result: Option<&omemo_result>, index: usize) -> omemo_status {
    guard::call(omemo_status::OMEMO_ERR_INTERNAL, || {
        let Some(result) = result else { return omemo_status::OMEMO_ERR_NULL };
        row(Some(result), index).map_or(omemo_status::OMEMO_ERR_ARGUMENT, |row| row.status.into())
    })
}

/// Returns what happened to it, in a sentence. Where the server has refused something, the sentence ends with the
/// condition and the text that the server gave (at most 200 code points, control and direction characters as \u{...}):
/// show it to a person, but do not log it, for the server's text may name JIDs. All other sentences name none.
/// Parameters:
/// - result: the result.
/// - index: of the row.
/// Returns: the sentence; NULL if there is no such row.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_row_detail(result: Option<&omemo_result>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(row(result, index).map(|row| &row.text)))
}

/// Messages to send: at most one for each namespace, none without keys; 0 if there is nobody to send to.
/// Parameters:
/// - result: the result.
/// Returns: their number.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_message_count(result: Option<&omemo_result>) -> usize {
    guard::call(0, || result.map_or(0, |result| result.messages.len()))
}

/// A message to send.
/// Parameters:
/// - result: the result.
/// - index: of the message.
/// Returns: the message; NULL if there is no such one.
/// Memory: borrowed from result.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_message(result: Option<&omemo_result>, index: usize) -> *const omemo_message {
    guard::call(std::ptr::null(), || {
        let message = result.and_then(|result| result.messages.get(index));
        message.map_or(std::ptr::null(), std::ptr::from_ref)
    })
}

/// The key that a message to send transports; see omemo_draft_set_key_transport. It goes with the initialisation
/// vector: encrypt by AES-128-GCM with these two once, and nothing else ever.
/// Parameters:
/// - result: the result.
/// - index: of the message.
/// - part: an omemo_key_part.
/// - len: gets the number of bytes: 16 of the key, 12 of the initialisation vector; may be NULL.
/// Returns: the bytes; NULL: the message has content, there is no such message, or no such part. No tag is sent.
/// Memory: borrowed from result, and wiped with it.
/// Since: 0.1.0 (XEP-0384 0.3 4.6, XEP-0396)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_result_key(
    result: Option<&omemo_result>,
    index: usize,
    part: i32,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        key_parts::give(result.and_then(|result| result.keys.get(index)), part, len)
    })
}

/// Free a result that omemo_manager_wait gave; not the one that omemo_done is given.
/// Parameters:
/// - result: the result; NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_result_free(result: *mut omemo_result) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(result) });
}
