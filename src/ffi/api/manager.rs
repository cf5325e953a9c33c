//! Section 7 of the header: the life of a manager, its operations, and the only functions that call events.

use super::super::boundary::returns::Out;
use super::super::boundary::{args, guard, handles};
use super::super::runtime::manager_handle;
use super::super::runtime::manager_handle::{Completion, omemo_manager};
use super::config;
use super::config::omemo_config;
use super::results::omemo_result;
use super::status::omemo_status;
use crate::error::{Error, Status};
use std::ffi::c_void;
use std::time::{Duration, Instant};

/// A running operation. 0 is none.
pub type omemo_op = u64;

/// ## 7 Manager
///
/// What omemo_manager_connected is told about messages that wait on the server.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_catch_up {
    /// Nothing to catch up with, or nobody will say when it is over: live at once.
    OMEMO_CATCH_UP_NONE = 0,
}

/// The end of an operation (event), exactly once. result is never NULL and holds status, too; it carries the
/// report when the operation failed, too. It lives until this returns.
pub type omemo_done = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        op: omemo_op,
        status: omemo_status,
        result: *const omemo_result,
    ),
>;

/// ## 7 Manager
///
/// Open the account. Works offline and asks nothing. Identity and keys are made on the first run only.
/// Parameters:
/// - config: the configuration, which may be freed afterwards.
/// - manager: gets the manager.
/// Returns: OMEMO_ERR_NULL; OMEMO_ERR_BUSY inside a service; the first failure of the configuration's
///   setters; OMEMO_ERR_ARGUMENT if one is missing; OMEMO_ERR_UNKNOWN_TRUST_LEVEL of the default level;
///   OMEMO_ERR_STORAGE*. omemo_config_error tells more.
/// Memory: end it by omemo_manager_free.
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

/// End a manager: its operations complete with OMEMO_ERR_CANCELLED, its questions are withdrawn, the store is
/// closed, and then destroy of the configuration runs. Nothing needs saving: every call has committed what it
/// did. Never waits. While omemo_manager_run or any other call of this manager is going on, in this or
/// another thread, the end comes when the last of them returns; until then they, and those that come in
/// callbacks, return OMEMO_ERR_CANCELLED. Inside a service it comes when the call around it returns. destroy
/// is the only sign that it has come.
/// Parameters:
/// - manager: the manager, not to be used by a new call from now on; NULL does nothing.
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

/// Tells the library that the stream is up. The first time it chooses the device id, publishes the bundle, then the
/// device list. Later it compares what the server has with what ought to be there, repairs that, and goes on with what
/// waits, encryptions included. While connected it compares again.
///
/// If it fails you need not call it again: in this stream the library tries again by itself, with pauses that double
/// from a second to five minutes (omemo_manager_timeout has them); the end of the operation is the end of the first
/// try only. Call it once for each new stream. For a stream that was resumed (XEP-0198) call neither
/// omemo_manager_disconnected nor this function; after a resumption that failed call both.
/// Parameters:
/// - manager: the manager.
/// - backlog: an omemo_catch_up.
/// - done: called when it is over. NULL: if op is given, the result waits for omemo_manager_wait.
/// - user_data: goes to done; any pointer. Stays yours if this call fails.
/// - op: gets the number of the operation; may be NULL.
/// Returns: OMEMO_OK: it was started. OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED. It completes with OMEMO_OK also when only some namespaces could be published, and with the
///   first failure when none could; the report has a row for each, whose omemo_result_row_detail also shows what the
///   server said. A list of this account that is not understood (OMEMO_ERR_MALFORMED) or too long (OMEMO_ERR_LIMIT)
///   is such a row, and is not overwritten. OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED without rows: there is no device id
///   yet, for which all lists of this account have to be seen. OMEMO_ERR_OFFLINE: the stream went down meanwhile.
/// Since: 0.1.0 (XEP-0384 5.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_connected(
    manager: *mut omemo_manager,
    backlog: i32,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives a place or NULL.
        let op = unsafe { Out::new(op) };
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) }?;
        if backlog != omemo_catch_up::OMEMO_CATCH_UP_NONE as i32 {
            return Err(Error::new(Status::Argument, "This is no omemo_catch_up."));
        }
        manager.start(Completion::new(done, user_data, op.is_some()), op, |manager, op| manager.connected(op))
    })
}

/// Tells the library that the stream is down. Network questions are withdrawn, and asked again after the next
/// omemo_manager_connected. Operations that need a stream complete with OMEMO_ERR_OFFLINE; encryptions with
/// OMEMO_ENCRYPT_WAIT and OMEMO_ENCRYPT_ALL wait for the next one. Answers that were given before and that no run has
/// committed yet are committed, but make nothing fresh. Do not call it for a stream that is being resumed
/// (XEP-0198), only when the resumption has failed.
/// Parameters:
/// - manager: the manager.
/// Returns: OMEMO_ERR_NULL; OMEMO_ERR_BUSY inside a service; OMEMO_ERR_CANCELLED.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_disconnected(manager: *mut omemo_manager) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { manager_handle::enter(manager) }?.manager().disconnected()
    })
}

/// Do what there is to do now, and call the events. Never waits. After 1,000 events it rings wakeup and
/// returns, so that your loop is not kept from other work.
/// Parameters:
/// - manager: the manager.
/// Returns: OMEMO_ERR_NULL; OMEMO_ERR_BUSY inside a service, inside an event of the same manager, and while
///   another thread runs it; OMEMO_ERR_CANCELLED once it was freed, also in one of the events.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_run(manager: *mut omemo_manager) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { manager_handle::enter(manager) }?.run()
    })
}

/// How long nothing needs to be done, if nobody rings wakeup. Late is harmless.
/// Parameters:
/// - manager: the manager.
/// Returns: milliseconds until omemo_manager_run is wanted; 0 now, -1 never, for NULL, and inside a service.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_timeout(manager: *const omemo_manager) -> i64 {
    guard::call(-1, || {
        if guard::in_service() {
            return -1;
        }
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) };
        let timeout = manager.ok().and_then(|manager| manager.timeout());
        timeout.map_or(-1, |timeout| i64::try_from(timeout).unwrap_or(i64::MAX))
    })
}

/// Tells whether nothing is left that omemo_manager_run would do without new input, now or later in this stream: no
/// operation, no open question, no event, no publication or empty message that waits. For a client that ends: run until
/// it is idle, and nothing of what this device owes to others is left. Offline, publications and empty messages that
/// wait for the next stream do not count; encryptions that wait for it are operations, and do. Give such a loop a
/// limit: what a server refuses is tried again for as long as the stream is up.
/// Parameters:
/// - manager: the manager.
/// Returns: false also for NULL, inside a service, for a manager that was freed, and if the store cannot be read.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_is_idle(manager: *const omemo_manager) -> bool {
    guard::call(false, || {
        if guard::in_service() {
            return false;
        }
        // SAFETY: the client gives one of ours or NULL.
        unsafe { manager_handle::enter(manager) }.is_ok_and(|manager| manager.is_idle())
    })
}

/// Returns the id of this device.
/// Parameters:
/// - manager: the manager.
/// - id: gets the device id.
/// Returns: OMEMO_ERR_NOT_READY: it is chosen by the first omemo_manager_connected. OMEMO_ERR_NULL, OMEMO_ERR_BUSY
///   inside a service, OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
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
        let manager = unsafe { manager_handle::enter(manager) }?;
        id.write(manager.manager().device_id()?.ok_or(Error::from(Status::NotReady))?.get());
        Ok(())
    })
}

/// For blocking programs: run, again and again, until an operation is over. Lets another thread's
/// omemo_manager_run finish. At most 1,000 results that nobody waits for are kept; then the oldest is
/// forgotten. An encryption that was started offline with OMEMO_ENCRYPT_WAIT or OMEMO_ENCRYPT_ALL is not over before
/// another thread, or an event, has called omemo_manager_connected: give a timeout.
/// Parameters:
/// - manager: the manager.
/// - op: an operation that was started with done NULL. One with a done is run to its end, too; then the
///   result is bare: its status, without a report.
/// - timeout_ms: milliseconds to wait, measured by the system's steady clock whatever omemo_callbacks.now
///   says; 0 runs once, -1 waits for ever.
/// Returns: the result, never NULL, so that there is one status to look at: omemo_result_status. It may also
///   be OMEMO_ERR_PENDING (not over yet, wait again), OMEMO_ERR_STALE (no such operation, or its result was
///   taken), OMEMO_ERR_CANCELLED (the manager was freed), OMEMO_ERR_BUSY (inside a service, or an event of
///   the same manager), OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT.
/// Memory: free it by omemo_result_free.
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
            _ => return Err(Error::new(Status::Argument, "A negative time other than -1.")),
        };
        // SAFETY: the client gives one of ours or NULL.
        unsafe { manager_handle::enter(manager) }?.wait(op, deadline)
    });
    guard::call(std::ptr::null_mut(), || handles::into_handle(waited.unwrap_or_else(omemo_result::bare)))
}

/// End an operation with OMEMO_ERR_CANCELLED; it completes in the next run. What it has committed stays.
/// Parameters:
/// - op: the operation.
/// Returns: OMEMO_ERR_STALE when it is over, or there is none; OMEMO_ERR_BUSY inside a service.
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_op_cancel(op: omemo_op) -> omemo_status {
    guard::outside_services(|| manager_handle::enter_by_operation(op)?.manager().cancel(op))
}
