//! Section 7 of the header: the life of a manager, its operations, and the only functions that call events.

use super::super::boundary::returns::Out;
use super::super::boundary::{args, guard, handles};
use super::super::runtime::manager_handle::omemo_manager;
use super::super::runtime::{calls, manager_handle};
use super::config;
use super::config::omemo_config;
use super::operations::{omemo_done, omemo_op};
use super::results::omemo_result;
use super::status::omemo_status;
use crate::error::{Error, Status};
use std::ffi::c_void;
use std::time::{Duration, Instant};

/// Statement of the client about messages that wait on the server, for omemo_manager_connected.
#[repr(i32)]
pub enum omemo_catch_up {
    /// No messages wait, or the client does not say when it has read them: all messages count as live.
    OMEMO_CATCH_UP_NONE = 0,
    /// Messages wait, in an archive (XEP-0313) or in the server's offline storage. Until omemo_manager_catch_up_end answers
    /// wait: see omemo_manager_catch_up_begin.
    OMEMO_CATCH_UP_EXPECTED = 1,
}

/// Opens an account. Works offline and makes no requests. The first call on an empty store creates the identity and
/// the keys; later calls read them.
///
/// Next, call omemo_manager_connected when the stream is up, and omemo_manager_run.
///
/// Parameters:
/// - config: may be freed after the call.
/// - manager: receives the manager.
/// Returns: OMEMO_OK; OMEMO_ERR_NULL; OMEMO_ERR_BUSY inside a service; the first failure of the configuration's
///   setters; OMEMO_ERR_ARGUMENT if a setting is missing; OMEMO_ERR_UNKNOWN_TRUST_LEVEL for the default trust
///   level; OMEMO_ERR_STORAGE*. omemo_config_error gives the details.
/// Memory: end it with omemo_manager_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_new(
    config: *const omemo_config,
    manager: *mut *mut omemo_manager,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives a place or NULL.
        let manager = args::required(unsafe { Out::new(manager) })?;
        // SAFETY: the client gives one of ours or NULL.
        let config = unsafe { config::shared(config) }?;
        let opened = config.parts().and_then(manager_handle::open);
        config.note_error(opened.as_ref().err());
        manager.write(opened?);
        Ok(())
    })
}

/// Ends a manager: its operations end with OMEMO_ERR_CANCELLED, its requests are withdrawn, the store is closed,
/// and then the destroy function of the configuration runs. Never waits. Nothing needs to be saved, since every call
/// has committed its changes; only the text of an encryption that was still open is not in the store. This device stays
/// on the account's device lists, so that others go on encrypting for it: docs/clients.md says how an account is
/// removed, docs/logging-in.md what may still be called at the end.
///
/// While omemo_manager_run or another call of this manager is running, in this or another thread, the manager ends
/// when the last of them returns; until then these calls, and those made in their callbacks, return
/// OMEMO_ERR_CANCELLED. Inside a service the manager ends when the call around the service returns. Only destroy
/// tells that it has ended.
///
/// Parameters:
/// - manager: must not be passed to a new call from now on; NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_free(manager: *mut omemo_manager) {
    guard::call((), || {
        // SAFETY: the client gives one of ours or NULL.
        if let Some(manager) = unsafe { handles::shared(manager) } {
            manager.free();
        }
    });
}

/// Tells the library that the stream is up, and starts to bring this device's published data up to date. On the
/// first call the library chooses the device id and publishes the bundle, then the device list. Later it compares
/// the data on the server with what should be there and repairs them. Then waiting work continues, encryptions
/// included. While connected the library repeats the comparison.
///
/// What happens next: omemo_manager_run calls fetch_device_list, publish_bundle, publish_device_list and others as
/// needed, then done. If the operation fails you need not call again: the library tries again in this stream, with
/// pauses that double from one second to five minutes (omemo_manager_timeout includes them); done is called after
/// the first try only.
///
/// Call it once for each new stream. For a stream that was resumed (XEP-0198) call neither
/// omemo_manager_disconnected nor this function; after a failed resumption call both.
///
/// Parameters:
/// - catch_up: an omemo_catch_up.
/// - done: called at the end of the operation. NULL: if op is given, the result is kept for omemo_manager_wait.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT, OMEMO_ERR_BUSY inside a
///   service, OMEMO_ERR_CANCELLED. The operation ends with OMEMO_OK if at least one namespace could be published,
///   else with the first failure. The report has a row for each namespace; its omemo_result_row_detail includes the
///   server's answer. A device list of this account that cannot be parsed (OMEMO_ERR_MALFORMED) or is too long
///   (OMEMO_ERR_LIMIT) is such a row, and is not overwritten. OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED without rows:
///   there is no device id yet, because choosing one needs all device lists of this account. OMEMO_ERR_OFFLINE: the
///   stream went down meanwhile.
/// Since: 0.1.0 (XEP-0384 5.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_connected(
    manager: *mut omemo_manager,
    catch_up: i32,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        let catch_up = omemo_catch_up::decode(catch_up)?;
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.connected(op, catch_up)) }
    })
}

/// Tells the library that messages which waited on the server are going to be decrypted: a page of the archive (XEP-0313)
/// is read while the stream is up. omemo_manager_connected with OMEMO_CATCH_UP_EXPECTED says the same of a new stream.
///
/// Until omemo_manager_catch_up_end the library keeps what these messages make necessary, so that many messages of a
/// device cause one answer: empty messages and new sessions wait, and pre keys that were used up stay, in the store,
/// so that a second message which was encrypted with one of them can be decrypted. Encryption works as always. A catch-up
/// ends by itself after 24 hours, or with an omemo_manager_connected that does not expect one. A second call changes
/// nothing.
///
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED.
/// Since: 0.1.0 (XEP-0384 6)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_catch_up_begin(manager: *mut omemo_manager) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { calls::enter(manager) }?.manager().catch_up_begin()
    })
}

/// Starts to do what the messages of a catch-up have made necessary: all of them were given to
/// omemo_manager_decrypt_xml. Answers are sent (send_message) and bundles without the used pre keys published
/// (publish_bundle), once each. Without a catch-up it does the same for what waits.
///
/// Parameters:
/// - done: called when each answer was sent and each bundle published, or that has failed. NULL: if op is given, the
///   result is kept for omemo_manager_wait.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_OFFLINE, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED. The report has a row for each answer and one for each namespace; the operation ends with
///   the status of the first row that failed. What failed stays in the store and is tried again by the library.
///   OMEMO_ERR_OFFLINE: the stream went down meanwhile; the catch-up is over all the same, unless the next
///   omemo_manager_connected expects one.
/// Since: 0.1.0 (XEP-0384 6)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_catch_up_end(
    manager: *mut omemo_manager,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.catch_up_end(op)) }
    })
}

/// Tells the library that the stream is down. Network requests are withdrawn, and repeated after the next
/// omemo_manager_connected. Operations that need a stream end with OMEMO_ERR_OFFLINE; encryptions with
/// OMEMO_ENCRYPT_WAIT and OMEMO_ENCRYPT_ALL wait for the next stream. Answers that were given before and not yet
/// committed by omemo_manager_run are still committed, but do not make a device list fresh.
///
/// Do not call it for a stream that is being resumed (XEP-0198), only after the resumption has failed.
///
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_disconnected(manager: *mut omemo_manager) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { calls::enter(manager) }?.manager().disconnected()
    })
}

/// Does all work that is due and calls the events. Never waits. After 1,000 events it calls wakeup and returns, so
/// that your main loop can do other work.
/// Returns: OMEMO_OK; OMEMO_ERR_NULL; OMEMO_ERR_BUSY inside a service, inside an event of the same manager, and
///   while another thread runs it; OMEMO_ERR_CANCELLED once the manager was freed, also in one of the events.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_run(manager: *mut omemo_manager) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { calls::enter(manager) }?.run()
    })
}

/// Returns how long the manager has no work to do, unless wakeup is called. Coming late is harmless.
/// Returns: milliseconds until omemo_manager_run should be called, at most 1,800,000; 0: now; -1: never, NULL, or inside
///   a service.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_timeout(manager: *const omemo_manager) -> i64 {
    guard::call(-1, || {
        if guard::in_service() {
            return -1;
        }
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) };
        let timeout = manager.ok().and_then(|manager| manager.timeout());
        timeout.map_or(-1, |timeout| i64::try_from(timeout).unwrap_or(i64::MAX))
    })
}

/// Returns whether omemo_manager_run has nothing left to do without new input, now or later in this stream: no
/// operation, no open request, no event, no waiting publication or empty message. A client that is about to exit
/// runs the manager until it is idle, so that this device has sent everything that other devices need.
///
/// Offline, publications and empty messages that wait for the next stream do not count; encryptions that wait for
/// it are operations, and do count. Limit the time of such a loop: the library repeats what a server refuses for as
/// long as the stream is up.
///
/// Returns: false also for NULL, inside a service, for a manager that was freed, and if the store cannot be read.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_is_idle(manager: *const omemo_manager) -> bool {
    guard::call(false, || {
        if guard::in_service() {
            return false;
        }
        // SAFETY: the client gives one of ours or NULL.
        unsafe { calls::enter(manager) }.is_ok_and(|manager| manager.is_idle())
    })
}

/// Returns the id of this device.
/// Parameters:
/// - id: receives the device id.
/// Returns: OMEMO_OK; OMEMO_ERR_NOT_READY before the first omemo_manager_connected has chosen the id;
///   OMEMO_ERR_NULL; OMEMO_ERR_BUSY inside a service; OMEMO_ERR_CANCELLED; OMEMO_ERR_STORAGE*.
/// Since: 0.1.0 (XEP-0384 5.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_device_id(
    manager: *const omemo_manager,
    id: *mut u32,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives a place or NULL.
        let id = args::required(unsafe { Out::new(id) })?;
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        id.write(manager.manager().device_id()?.ok_or(Error::from(Status::NotReady))?.get());
        Ok(())
    })
}

/// Runs the manager again and again until an operation is over, for blocking programs. While another thread is
/// inside omemo_manager_run, it waits for that thread. At most 1,000 results that nobody waits for are kept; then
/// the oldest is deleted.
///
/// An encryption that was started offline with OMEMO_ENCRYPT_WAIT or OMEMO_ENCRYPT_ALL is not over before another
/// thread, or an event, has called omemo_manager_connected: use a timeout.
///
/// Parameters:
/// - op: an operation that was started with done NULL. An operation with a done function is run to its end, too,
///   but its result has a status and no report.
/// - timeout_ms: milliseconds to wait, measured with the system's steady clock even if omemo_callbacks.now is set;
///   0 runs once, -1 waits without limit.
/// Returns: the result, never NULL, so that there is one status to check: omemo_result_status. Besides the end of
///   the operation it can be OMEMO_ERR_PENDING (not over yet, wait again), OMEMO_ERR_STALE (there is no such
///   operation, or its result was taken), OMEMO_ERR_CANCELLED (the manager was freed), OMEMO_ERR_BUSY (inside a
///   service, or inside an event of the same manager), OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT.
/// Memory: free it with omemo_result_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn omemo_manager_wait(
    manager: *mut omemo_manager,
    op: omemo_op,
    timeout_ms: i64,
) -> *mut omemo_result {
    let start = Instant::now();
    let waited = guard::call(Err(Status::Internal.into()), || {
        guard::not_in_service()?;
        let deadline = match timeout_ms {
            -1 => None,
            // A time that no clock can show is never reached.
            0.. => start.checked_add(Duration::from_millis(timeout_ms.unsigned_abs())),
            _ => return Err(Error::new(Status::Argument, "timeout_ms is negative and not -1.")),
        };
        // SAFETY: the client gives one of ours or NULL.
        unsafe { calls::enter(manager) }?.wait(op, deadline)
    });
    guard::call(std::ptr::null_mut(), || handles::into_handle(waited.unwrap_or_else(omemo_result::bare)))
}

/// Cancels an operation: it ends with OMEMO_ERR_CANCELLED in the next omemo_manager_run. What it has committed
/// stays.
/// Parameters:
/// - op: the number of the operation.
/// Returns: OMEMO_OK; OMEMO_ERR_STALE if it is over or there is no such operation; OMEMO_ERR_BUSY inside a service.
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_op_cancel(op: omemo_op) -> omemo_status {
    guard::outside_services(|| calls::enter_by_operation(op)?.manager().cancel(op))
}
