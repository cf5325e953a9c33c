//! Section 14 of the header, what a client does about this device and this account's other devices.

use super::super::boundary::{args, guard};
use super::super::runtime::calls;
use super::super::runtime::manager_handle::omemo_manager;
use super::operations::{omemo_done, omemo_op};
use super::status::omemo_status;
use std::ffi::{c_char, c_void};

/// Sets the label of this device: the name by which people know it, for example "Kaidan on the laptop". It is signed with
/// the identity key, stored at once, and published in the device list of OMEMO_NS_2; OMEMO_NS_LEGACY has no labels. Whenever
/// the server or another client has lost it, the list is published again. Everybody can read it.
///
/// Parameters:
/// - label: 1 to 52 code points without control characters, and not 32 or 33 bytes long, since a signed pre key is; NULL or
///   "": no label. The label that is set already changes nothing.
/// - done: called when the list is published. NULL: if op is given, the result is kept for omemo_manager_wait. The status is
///   OMEMO_ERR_OFFLINE or OMEMO_ERR_NOT_READY before omemo_manager_connected: the label is set and published later. The
///   report has a row for the namespace.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the label is set and the operation was started; OMEMO_ERR_NULL; OMEMO_ERR_UTF8; OMEMO_ERR_LABEL for a
///   label that is not allowed, or if the account does not use OMEMO_NS_2; OMEMO_ERR_BUSY inside a service;
///   OMEMO_ERR_CANCELLED; OMEMO_ERR_STORAGE*.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_set_label(
    manager: *mut omemo_manager,
    label: *const c_char,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a C string or NULL.
        let label = unsafe { args::optional_text(label) }?.filter(|label| !label.is_empty());
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.set_label(op, label)) }
    })
}

/// Starts to compare what stands on the server of this device with the store, and to repair what differs: its entry in this
/// account's device lists, and its bundles. omemo_manager_connected has done so in this stream; call it when another client
/// or the user says that something is wrong. No key is made by it.
///
/// Parameters:
/// - done: called when what differs was published, or that has failed. NULL: if op is given, the result is kept for
///   omemo_manager_wait. Status and report as for omemo_manager_connected; OMEMO_ERR_OFFLINE if the stream ended before.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_OFFLINE, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_ensure_consistency(
    manager: *mut omemo_manager,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.ensure_consistency(op)) }
    })
}

/// Starts to clear this account's device lists: whatever stands there is replaced by a list of this device alone. It is the way
/// out if a list cannot be read (OMEMO_ERR_MALFORMED, OMEMO_ERR_LIMIT), or names many devices that are gone. Other
/// devices that still run announce themselves again when they see the new list; until then nobody encrypts for them.
/// What is stored of them stays.
///
/// Parameters:
/// - done: called when the lists are published, or that has failed. NULL: if op is given, the result is kept for
///   omemo_manager_wait. The report has a row for each namespace; the status is that of the first that failed. What failed is
///   tried again; so it is after OMEMO_ERR_OFFLINE, in the next stream of this run of the program.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_NOT_READY, OMEMO_ERR_OFFLINE, OMEMO_ERR_BUSY
///   inside a service, OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Since: 0.1.0 (XEP-0384 5.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_clear_device_lists(
    manager: *mut omemo_manager,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.clear_device_lists(op)) }
    })
}

/// Starts to remove another device of this account that was lost, sold or given up: it is taken off this account's device
/// lists, then its bundles are deleted (delete_bundle), in all namespaces of the account. Contacts then encrypt for it no
/// more. If it still runs it announces itself again. To keep it from reading what this device writes, judge its key as well
/// (omemo_manager_set_trust).
///
/// Parameters:
/// - device: the device id, not this device's.
/// - done: called when that is done, or has failed. NULL: if op is given, the result is kept for omemo_manager_wait. The
///   report has a row for each namespace; the status is that of the first that failed. What failed is tried again, also after
///   OMEMO_ERR_OFFLINE and a restart.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (no device id, or this device's),
///   OMEMO_ERR_LIMIT (64 ids wait to be removed, each in a namespace), OMEMO_ERR_NOT_READY, OMEMO_ERR_OFFLINE, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Since: 0.1.0 (XEP-0384 5.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_remove_own_device(
    manager: *mut omemo_manager,
    device: u32,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        let device = args::device(device)?;
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.remove_own_device(op, device)) }
    })
}

/// Makes a new device of this one, at once: a new identity key, new pre keys, a new device id. Call it if the private key may
/// be known to somebody else. All sessions are deleted: messages for the old device are OMEMO_ERR_NOT_FOR_US from now on. The
/// label and the trust levels of other devices' keys stay; others have to judge the new key. From now on nothing is encrypted
/// for a device of this account that shows the old key. Then the new device is
/// published, and the old one is taken off this account's device lists, and its bundles deleted, also after a restart.
///
/// Parameters:
/// - done: called when the new device is published in all namespaces. NULL: if op is given, the result is kept for
///   omemo_manager_wait. The report has a row for each namespace. OMEMO_ERR_OFFLINE if there is no stream, or it ended
///   before: the device is a new one, and is published after the next omemo_manager_connected.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the device is a new one and the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_LIMIT (80 ids wait
///   to be removed, each in a namespace), OMEMO_ERR_NOT_READY, OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_reset_identity(
    manager: *mut omemo_manager,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.reset_identity(op)) }
    })
}

/// Starts to delete the account here, for a user who leaves OMEMO or removes the account from the client: this device is taken
/// off this account's device lists, its bundles are deleted, and when the server has confirmed that, the store is emptied in
/// one commit. Keys, sessions and trust are lost, and so is content that was not acknowledged: store what
/// omemo_manager_unacknowledged lists before.
///
/// When done is called with OMEMO_OK, all other operations have ended with OMEMO_ERR_CANCELLED, and so does each call with this
/// manager but omemo_manager_run, omemo_manager_wait and omemo_manager_free. A new manager over the same store is a new account.
///
/// Parameters:
/// - done: called when all of it is done, or the first step has failed. NULL: if op is given, the result is kept for
///   omemo_manager_wait. The report has a row for each namespace and id. With any other status than OMEMO_OK nothing is
///   deleted in the store, and the device is announced as before: call again, or delete the store without the server.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started; OMEMO_ERR_PENDING if another deletion is going on, also one that was
///   cancelled until the next omemo_manager_run; OMEMO_ERR_NULL; OMEMO_ERR_LIMIT (80 ids wait to be removed, each in a
///   namespace); OMEMO_ERR_OFFLINE; OMEMO_ERR_BUSY inside a service; OMEMO_ERR_CANCELLED; OMEMO_ERR_STORAGE*.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_delete_account(
    manager: *mut omemo_manager,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.delete_account(op)) }
    })
}

/// Starts to look at everything of a JID's devices, for a user who asks why messages do not arrive. The device lists and all
/// bundles are fetched, and taken over as always; nothing else changes.
///
/// The report has rows for each device list (device 0), then for each announced device in each namespace, then for this device.
/// Each is one row OMEMO_OK, or a row for each finding:
/// - list: OMEMO_ERR_NO_DEVICES, OMEMO_ERR_MALFORMED, or why it could not be fetched;
/// - bundle: OMEMO_ERR_BUNDLE_NOT_FOUND, OMEMO_ERR_BUNDLE_BAD (a signature among others), OMEMO_ERR_IDENTITY_CHANGED,
///   OMEMO_ERR_IDENTITY_MISMATCH (different keys in the two namespaces), or why it could not be fetched;
/// - trust: OMEMO_ERR_UNDECIDED, OMEMO_ERR_DISTRUSTED, OMEMO_ERR_UNKNOWN_TRUST_LEVEL;
/// - session: OMEMO_ERR_NO_SESSION (nothing was exchanged yet), OMEMO_ERR_DECRYPTION_FAILED (its messages cannot be decrypted);
/// - label: OMEMO_ERR_LABEL;
/// - this device: OMEMO_ERR_DEVICE_LIST_UPLOAD_FAILED, OMEMO_ERR_LABEL, OMEMO_ERR_BUNDLE_UPLOAD_FAILED if the server does not
///   have what it ought to, which is published again.
/// omemo_manager_devices has keys, trust and chains as numbers.
///
/// Parameters:
/// - jid: a bare JID; NULL: this account.
/// - done: called at the end of the operation. NULL: if op is given, the result is kept for omemo_manager_wait. The status is
///   that of the first finding, OMEMO_OK without any.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID, OMEMO_ERR_OFFLINE,
///   OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_health(
    manager: *mut omemo_manager,
    jid: *const c_char,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a C string or NULL.
        let jid = unsafe { args::optional_jid(jid) }?;
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.health(op, jid)) }
    })
}
