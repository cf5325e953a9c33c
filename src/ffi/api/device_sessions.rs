//! Section 14 of the header, the sessions with a known device.

use super::super::boundary::{args, guard};
use super::devices::omemo_devices;
use crate::manager::api::device::DeviceSession;
use std::ffi::c_char;

/// Returns the session with a device in a namespace.
///
/// # Safety
/// `ns` is a C string or NULL.
unsafe fn session(
    devices: Option<&omemo_devices>,
    index: usize,
    ns: *const c_char,
) -> Option<&DeviceSession> {
    // SAFETY: the same promise.
    let namespace = unsafe { args::namespace(ns) }.ok()?;
    omemo_devices::sessions(devices, index).iter().find(|session| session.namespace == namespace)
}

/// State of the session with a device in a namespace.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_session_state {
    /// No session. The next message that is encrypted for the device begins one.
    OMEMO_SESSION_NONE = 0,
    /// A session that this device has begun and on which it received nothing yet: each message carries the key exchange.
    OMEMO_SESSION_UNCONFIRMED = 1,
    /// A session on which something was received.
    OMEMO_SESSION_CONFIRMED = 2,
    /// A session on which the last messages of the device could not be decrypted: omemo_devices_failed_messages, omemo_manager_replace_sessions.
    OMEMO_SESSION_BROKEN = 3,
}

/// Returns the state of the session with a device.
/// Parameters:
/// - index: position of the device, from 0.
/// - ns: the namespace of the session.
/// Returns: the state; OMEMO_SESSION_NONE also if there is no such device or namespace, or the devices were given to a
///   callback.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_devices_session_state(
    devices: Option<&omemo_devices>,
    index: usize,
    ns: *const c_char,
) -> omemo_session_state {
    guard::call(omemo_session_state::OMEMO_SESSION_NONE, || {
        // SAFETY: the client gives a C string or NULL.
        match unsafe { session(devices, index, ns) } {
            Some(session) if session.failed_messages > 0 => omemo_session_state::OMEMO_SESSION_BROKEN,
            Some(session) if session.sending_chain_length.is_none() => {
                omemo_session_state::OMEMO_SESSION_NONE
            }
            Some(session) if session.is_confirmed => omemo_session_state::OMEMO_SESSION_CONFIRMED,
            Some(_) => omemo_session_state::OMEMO_SESSION_UNCONFIRMED,
            None => omemo_session_state::OMEMO_SESSION_NONE,
        }
    })
}

/// Returns how many messages were sent to a device since it last answered, on the session in one namespace: the length
/// of the sending chain. A device that is online answers after 54 messages at the latest (XEP-0384 4.3).
/// Parameters:
/// - index: position of the device, from 0.
/// - ns: the namespace of the session.
/// Returns: the number of messages; -1 if there is no such device, namespace or session, or the devices were given to a
///   callback.
/// Since: 0.1.0 (XEP-0384 4.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_devices_sending_chain_length(
    devices: Option<&omemo_devices>,
    index: usize,
    ns: *const c_char,
) -> i64 {
    guard::call(-1, || {
        // SAFETY: the client gives a C string or NULL.
        let session = unsafe { session(devices, index, ns) };
        session.and_then(|session| session.sending_chain_length).map_or(-1, i64::from)
    })
}

/// Returns how many messages of the current receiving chain of a device have come in, skipped ones included, on the
/// session in one namespace: the length of the receiving chain.
/// Parameters:
/// - index: position of the device, from 0.
/// - ns: the namespace of the session.
/// Returns: the number of messages; -1 if there is no such device, namespace or session, or nothing was received on the
///   session, or the devices were given to a callback.
/// Since: 0.1.0 (XEP-0384 4.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_devices_receiving_chain_length(
    devices: Option<&omemo_devices>,
    index: usize,
    ns: *const c_char,
) -> i64 {
    guard::call(-1, || {
        // SAFETY: the client gives a C string or NULL.
        let session = unsafe { session(devices, index, ns) };
        session.and_then(|session| session.receiving_chain_length).map_or(-1, i64::from)
    })
}

/// Returns how many different messages of a device could not be decrypted since the last one that could, or since its
/// session was replaced. They are counted in memory, while the device is on the device list of its JID; see
/// OMEMO_NOTICE_SESSION_BROKEN.
/// Parameters:
/// - index: position of the device, from 0.
/// - ns: the namespace of the messages; NULL: all namespaces.
/// Returns: the number of messages; 0 if there is no such device or namespace, or the devices were given to a callback.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_devices_failed_messages(
    devices: Option<&omemo_devices>,
    index: usize,
    ns: *const c_char,
) -> u32 {
    guard::call(0, || {
        // SAFETY: the client gives a C string or NULL.
        let Ok(namespace) = (unsafe { args::optional_namespace(ns) }) else { return 0 };
        let counted = omemo_devices::sessions(devices, index)
            .iter()
            .filter(|session| namespace.is_none_or(|namespace| namespace == session.namespace));
        counted.fold(0, |sum, session| sum.saturating_add(session.failed_messages))
    })
}

/// Returns when something of a device was last decrypted, by the wall clock of this client (omemo_callbacks.now). An empty
/// message counts. The time is stored with the session, so that it is lost when that is deleted.
/// Parameters:
/// - index: position of the device, from 0.
/// Returns: milliseconds since 1970 (UTC); 0 if nothing was, or there is no such device or session, or the devices were
///   given to a callback.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_last_seen(devices: Option<&omemo_devices>, index: usize) -> i64 {
    guard::call(0, || {
        let sessions = omemo_devices::sessions(devices, index).iter();
        sessions.map(|session| session.last_seen_ms).max().unwrap_or(0)
    })
}
