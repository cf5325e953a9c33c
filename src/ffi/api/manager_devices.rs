//! Section 14 of the header, what a manager knows of devices, and what it is given about them.

use super::super::boundary::returns::Out;
use super::super::boundary::{args, guard, handles};
use super::super::runtime::calls;
use super::super::runtime::manager_handle::omemo_manager;
use super::device_list::omemo_device_list;
use super::devices::omemo_devices;
use super::operations::{omemo_done, omemo_op};
use super::results::omemo_result;
use super::status::omemo_status;
use crate::error::Status;
use crate::manager::api::keep::Keep;
use crate::manager::api::report::{Outcome, Row};
use crate::protocol::address::BareJid;
use std::ffi::{c_char, c_void};

/// Returns all known devices of a JID from the store, at once. omemo_manager_refresh_devices brings them up to date
/// first.
/// Parameters:
/// - jid: a bare JID; NULL: this account, with this device first.
/// - devices: receives the devices.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Memory: free them with omemo_devices_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_devices(
    manager: *mut omemo_manager,
    jid: *const c_char,
    devices: *mut *mut omemo_devices,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a place or NULL.
        let out = args::required(unsafe { Out::new(devices) })?;
        // SAFETY: the client gives a C string or NULL.
        let jid = unsafe { args::optional_jid(jid) }?;
        out.write(handles::into_handle(omemo_devices::new(manager.manager().devices(jid.as_ref())?)));
        Ok(())
    })
}

/// Sets the preferred namespace of a device, for a client that announces two namespaces and can read only one. At
/// once, messages for the device are encrypted in ns whenever the device announces it and the order of the
/// configuration or the draft contains it. The call also clears omemo_devices_downgraded.
/// Parameters:
/// - jid: the bare JID that owns the device.
/// - device: the device id.
/// - ns: a namespace of the account; NULL: follow the order again.
/// Returns: OMEMO_OK; OMEMO_ERR_NOT_FOUND if there is no such device; OMEMO_ERR_NULL; OMEMO_ERR_UTF8;
///   OMEMO_ERR_JID; OMEMO_ERR_ARGUMENT (device); OMEMO_ERR_UNKNOWN_NAMESPACE; OMEMO_ERR_BUSY inside a service;
///   OMEMO_ERR_CANCELLED; OMEMO_ERR_STORAGE*.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_prefer_namespace(
    manager: *mut omemo_manager,
    jid: *const c_char,
    device: u32,
    ns: *const c_char,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives C strings or NULL.
        let (jid, namespace) = unsafe { (args::required_jid(jid)?, args::optional_namespace(ns)?) };
        manager.manager().prefer_namespace(&jid, args::device(device)?, namespace)
    })
}

/// Stores a device list that was pushed (a PEP event) or that you have fetched, at once. The list then counts as
/// fresh for an hour, and an open request for it is withdrawn. If it is this account's list and this device is
/// missing, the library publishes it again with this device, and with everything that other clients wrote into it.
///
/// A list that was read from a delayed message (omemo_device_list_is_delayed) may be outdated: it is stored only if
/// nothing else was learned about this list since omemo_manager_connected, does not become fresh, and leaves an
/// open request open.
///
/// Parameters:
/// - jid: the account that announces the list: the bare JID of the sender of the event, and no other.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID, OMEMO_ERR_UNKNOWN_NAMESPACE, OMEMO_ERR_LIMIT
///   (too many devices; or a stranger, see docs/limits.md, while the store has no room for another one),
///   OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_update_device_list(
    manager: *mut omemo_manager,
    jid: *const c_char,
    list: *const omemo_device_list,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a C string or NULL.
        let jid = unsafe { args::required_jid(jid) }?;
        // SAFETY: the client gives one of ours or NULL.
        let (list, delayed) = unsafe { args::copied(list, |list| (list.list().clone(), list.is_delayed())) }?;
        if delayed {
            manager.manager().update_device_list_from_archive(&jid, &list)
        } else {
            manager.manager().update_device_list(&jid, &list)
        }
    })
}

/// Stores that a JID has no device list in a namespace any more, at once: its item was retracted, or its node
/// purged or deleted. omemo_device_list_gone recognises such a push. All devices of the JID become inactive in the
/// namespace; this account's list is published again with this device.
/// Parameters:
/// - jid: the account whose list is gone: the bare JID of the sender of the event, and no other.
/// - ns: the namespace of the list.
/// Returns: as omemo_manager_update_device_list.
/// Since: 0.1.0 (XEP-0060 7.2, 8.4, 8.5)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_device_list_gone(
    manager: *mut omemo_manager,
    jid: *const c_char,
    ns: *const c_char,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives C strings or NULL.
        let (jid, namespace) = unsafe { (args::required_jid(jid)?, args::namespace(ns)?) };
        manager.manager().device_list_gone(&jid, namespace)
    })
}

/// Returns all JIDs of which anything is stored, those that this client has named (by encrypting for them or judging their
/// keys) first. This account's JID is among them once it has another device or a device list.
/// Parameters:
/// - jids: receives a result with a row for each JID: omemo_result_row_count, omemo_result_row_jid.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Memory: free it with omemo_result_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_jids(
    manager: *mut omemo_manager,
    jids: *mut *mut omemo_result,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a place or NULL.
        let out = args::required(unsafe { Out::new(jids) })?;
        let row = |jid: BareJid| Row { jid: Some(jid), device: 0, namespace: None, error: Status::Ok.into() };
        let rows = manager.manager().jids()?.into_iter().map(row).collect();
        out.write(handles::into_handle(omemo_result::new(Outcome { rows, ..Outcome::bare(Status::Ok) })));
        Ok(())
    })
}

/// Removes what is stored of a JID, at once: device lists, devices, identity keys, sessions, empty messages that wait to be
/// sent to it, and its content that was not acknowledged: store what omemo_manager_unacknowledged lists before. Records
/// that cannot be read (OMEMO_ERR_STORAGE_CORRUPT) are deleted as well; of archived sessions whose list cannot be read, the
/// first 256 (docs/limits.md). For a contact who is removed, or whose state cannot be mended otherwise.
///
/// What comes next: at the next omemo_manager_encrypt its lists and bundles are fetched, and new sessions begin.
/// Messages of its devices that are on their way are OMEMO_ERR_NO_SESSION; those that repeat a key exchange are
/// OMEMO_ERR_DECRYPTION_FAILED or OMEMO_ERR_PRE_KEY_UNKNOWN. A new key exchange is decrypted.
///
/// Parameters:
/// - jid: a bare JID, not this account's.
/// - keep_trust: whether the trust levels of its keys stay, and count when the keys come back; they are lost if the
///   record of the JID cannot be read. Without any the JID is a stranger until it is named.
/// Returns: OMEMO_OK, also if nothing is stored of the JID; OMEMO_ERR_NULL; OMEMO_ERR_UTF8; OMEMO_ERR_JID;
///   OMEMO_ERR_ARGUMENT (this account's JID); OMEMO_ERR_BUSY inside a service; OMEMO_ERR_CANCELLED;
///   OMEMO_ERR_STORAGE*.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_purge_jid(
    manager: *mut omemo_manager,
    jid: *const c_char,
    keep_trust: bool,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a C string or NULL.
        let jid = unsafe { args::required_jid(jid) }?;
        manager.manager().purge_jid(&jid, if keep_trust { Keep::Trust } else { Keep::Nothing })
    })
}

/// Starts to replace sessions: when messages cannot be decrypted (OMEMO_NOTICE_SESSION_BROKEN), or a store was lost or
/// an older copy of it restored on either side. XEP-0384 demands that a user can do this.
///
/// What happens next: for each session the bundle of the device is fetched (fetch_bundle), then the old sessions with
/// the device are retired and a new one begins, in one commit, and its empty message is sent (send_message) by
/// omemo_manager_run, also after a restart. A retired session still decrypts messages that are on their way, for 30
/// days, and never sends. The report has a row for each session; a device that is distrusted or whose bundle cannot
/// be fetched keeps the session it has, unless jid is NULL. Records of a replaced session that cannot be read (OMEMO_ERR_STORAGE_CORRUPT)
/// are removed. During a catch-up the empty messages wait for its end.
///
/// Parameters:
/// - jid: a bare JID; NULL: every JID that this client has named (by encrypting for it or judging its keys), and this
///   account's other devices. NULL retires all sessions of the account at once: nothing is encrypted on one that
///   could not be replaced, and the next message for its device begins a new one.
/// - device: a device id of jid; 0: all of its devices that are announced. A device that is named and announced, but
///   with which there is no session, gets one.
/// - done: called at the end of the operation. NULL: if op is given, the result is kept for omemo_manager_wait. The
///   status is OMEMO_OK if a session was replaced or none had to be, else that of the first row; OMEMO_ERR_OFFLINE,
///   without rows, if the stream ended before all were.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID, OMEMO_ERR_ARGUMENT
///   (no device id, or a device without jid), OMEMO_ERR_OFFLINE, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED.
/// Since: 0.1.0 (XEP-0384 6)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_replace_sessions(
    manager: *mut omemo_manager,
    jid: *const c_char,
    device: u32,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a C string or NULL.
        let jid = unsafe { args::optional_jid(jid) }?;
        let device = if device == 0 { None } else { Some(args::device(device)?) };
        // SAFETY: the client gives a place or NULL.
        unsafe {
            manager.start_for(done, user_data, op, |manager, op| manager.replace_sessions(op, jid, device))
        }
    })
}

/// Starts to fetch the device lists of a JID and the keys that are not known, so that omemo_manager_devices is up
/// to date. The report has a row for each device.
/// Parameters:
/// - jid: a bare JID; NULL: this account.
/// - ns: the namespace; NULL: all namespaces.
/// - done: called at the end of the operation. NULL: if op is given, the result is kept for omemo_manager_wait.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID,
///   OMEMO_ERR_UNKNOWN_NAMESPACE, OMEMO_ERR_OFFLINE, OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED.
/// Since: 0.1.0 (XEP-0384 5.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_refresh_devices(
    manager: *mut omemo_manager,
    jid: *const c_char,
    ns: *const c_char,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives C strings or NULL.
        let (jid, ns) = unsafe { (args::optional_jid(jid)?, args::optional_namespace(ns)?) };
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.refresh_devices(op, jid, ns)) }
    })
}
