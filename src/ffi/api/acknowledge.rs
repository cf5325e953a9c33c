//! Section 12 of the header: content that is kept until the client has it safe.

use super::super::boundary::returns::Out;
use super::super::boundary::{args, guard, handles};
use super::super::runtime::calls;
use super::super::runtime::manager_handle::omemo_manager;
use super::decrypt::omemo_decrypted;
use super::status::omemo_status;
use crate::error::{Error, Status};

/// Removes decrypted content that the client has stored safely from the store, in one commit. The same stanza is
/// OMEMO_ERR_DUPLICATE from then on.
///
/// Store the content in your history under account and receipt, commit that, and call this after: whatever happens in
/// between, the content comes again with the same receipt, from omemo_manager_decrypt_xml if the stanza does, and from
/// omemo_manager_unacknowledged in any case (docs/storage.md has an example). Call it as well for results with the status
/// OMEMO_OK of which there is nothing to be stored. Content that is withheld (any other status) is destroyed by it.
///
/// Parameters:
/// - receipt: what omemo_decrypted_receipt has returned.
/// Returns: OMEMO_OK; OMEMO_ERR_NOT_FOUND if nothing is kept under it: it was acknowledged before, or purged; OMEMO_ERR_NULL;
///   OMEMO_ERR_BUSY inside a service; OMEMO_ERR_CANCELLED; OMEMO_ERR_STORAGE*: call again.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_acknowledge(
    manager: *mut omemo_manager,
    receipt: u64,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { calls::enter(manager) }?.manager().acknowledge(receipt)
    })
}

/// Returns the next decrypted content that was not acknowledged, in the order of the receipts, which is that of decryption.
/// Call it after omemo_manager_new, before stanzas of an archive are decrypted: what the client did not store before it ended
/// is listed, also after OMEMO_OPTION_ACKNOWLEDGE was switched off.
///
/// The result has what the result of decrypting had, and the flag OMEMO_DECRYPTED_REPEATED. The trust and
/// OMEMO_DECRYPTED_DEVICE_NOT_LISTED are those of now: content of a sender who is distrusted by now has the status
/// OMEMO_ERR_SENDER_DISTRUSTED and is withheld; go on after it, and it is kept for when the sender is not distrusted any
/// more. If its record cannot be read, the status is OMEMO_ERR_STORAGE_CORRUPT; acknowledge it to be rid of it, or go on
/// after it. If a newer version of the library has written it, the status is OMEMO_ERR_STORAGE_VERSION; go on after it.
///
/// There is nothing of the stanza: no id, no time, and no recipient where this account is the sender (a carbon). What the
/// client cannot store without these, leave unacknowledged: decrypting the stanza again gives it with the same receipt.
///
/// Parameters:
/// - after: a receipt, that of the last result; 0: list from the first one.
/// - decrypted: receives the result.
/// Returns: OMEMO_OK; OMEMO_ERR_NOT_FOUND if there is no more; OMEMO_ERR_NULL; OMEMO_ERR_BUSY inside a service;
///   OMEMO_ERR_CANCELLED; OMEMO_ERR_STORAGE*.
/// Memory: free it with omemo_decrypted_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn omemo_manager_unacknowledged(
    manager: *mut omemo_manager,
    after: u64,
    decrypted: *mut *mut omemo_decrypted,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a place or NULL.
        let out = args::required(unsafe { Out::new(decrypted) })?;
        let kept = manager.manager().unacknowledged(after)?.ok_or(Error::from(Status::NotFound))?;
        out.write(handles::into_handle(omemo_decrypted::new(kept)));
        Ok(())
    })
}
