//! Section 5 of the header, continued: a store as a whole is moved to another one, or checked.

use super::super::boundary::{args, guard, handles};
use super::results::omemo_result;
use super::status::omemo_status;
use super::storage::omemo_storage;
use crate::crypto::rng::SystemRng;
use crate::error::{Error, Status};
use crate::manager;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// Copies an account from one store to another, whatever their kinds, and ends the first: the account moves.
///
/// Afterwards from cannot be opened any more: omemo_manager_new returns OMEMO_ERR_STORAGE_ROLLBACK, because two copies of
/// one account would use the same keys twice. If the call fails, at most one of the two stores can be opened: as long as
/// omemo_manager_new does not return OMEMO_ERR_STORAGE_ROLLBACK for from, the account lives there. Make the same call again
/// to go on; a store in which a copy was begun and not completed returns OMEMO_ERR_STORAGE_UNFINISHED until then. The whole
/// store is held in memory for the time of the call.
/// Parameters:
/// - from: the store of the account.
/// - to: another store, which is empty, or in which the same copy was begun before.
/// Returns: OMEMO_OK (also if the same copy was completed before), OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (from and to are the
///   same), OMEMO_ERR_NOT_FOUND (from has no account), OMEMO_ERR_STORAGE_NOT_EMPTY (to has records; nothing has changed),
///   OMEMO_ERR_STORAGE_ROLLBACK (from was moved to another store before), OMEMO_ERR_STORAGE_LOCKED (one of them is in
///   use), OMEMO_ERR_STORAGE_CORRUPT (from has records that cannot be read; nothing has changed), another
///   OMEMO_ERR_STORAGE*, OMEMO_ERR_BUSY inside a service.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_storage_copy(
    from: *const omemo_storage,
    to: *const omemo_storage,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives stores of ours, or NULL.
        let from = unsafe { args::copied(from, omemo_storage::store) }?;
        // SAFETY: as above.
        let to = unsafe { args::copied(to, omemo_storage::store) }?;
        if Arc::ptr_eq(&from, &to) {
            return Err(Error::new(Status::Argument, "A store cannot be copied to itself."));
        }
        let (from, to) = (from.open()?, to.open()?);
        manager::copy(&*from, &*to, &mut SystemRng)
    })
}

/// Tells what is wrong with a store. It is read as a whole, and nothing is changed.
///
/// Each row of the result is one finding: JID, device and namespace say what the record belongs to, as far as that is
/// known, the status and the sentence what is wrong. No row: the store is healthy, or empty. docs/storage.md lists what is
/// looked at, and what can be done.
/// Parameters:
/// - storage: a store that no manager has open.
/// - result: receives the result, whose status is OMEMO_OK if the store could be read, whatever was found.
/// Returns: OMEMO_OK (also with findings), OMEMO_ERR_NULL, OMEMO_ERR_STORAGE_LOCKED (the store is in use),
///   OMEMO_ERR_STORAGE_KEY (the store is sealed: open it as a sealed store), OMEMO_ERR_STORAGE (it cannot be read),
///   OMEMO_ERR_BUSY inside a service.
/// Memory: free the result with omemo_result_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_storage_check(
    storage: *const omemo_storage,
    result: Option<&mut MaybeUninit<*mut omemo_result>>,
) -> omemo_status {
    guard::outside_services(|| {
        let result = args::required(result)?;
        // SAFETY: the client gives a store of ours, or NULL.
        let store = unsafe { args::copied(storage, omemo_storage::store) }?;
        let outcome = manager::check(&*store.open()?)?;
        result.write(handles::into_handle(omemo_result::new(outcome)));
        Ok(())
    })
}
