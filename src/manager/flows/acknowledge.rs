//! What the client does about content that is kept: it lists it, and says that it has it safe.

use super::super::api::decrypted::{Action, Decrypted};
use super::super::api::device::CoreTrust;
use super::context::Context;
use super::decrypt;
use crate::error::{Result, Status};

/// Forgets content that the client has safe.
pub(in crate::manager) fn acknowledge(context: &Context, receipt: u64) -> Result<()> {
    context.transact(|tx| if tx.forget_kept(receipt)? { Ok(()) } else { Err(Status::NotFound.into()) })
}

/// Returns the next content after a receipt that nobody has acknowledged; `None`: there is no more. One that cannot be read,
/// or that a newer version has written, is told, so that the client can go on after it, or acknowledge it.
pub(in crate::manager) fn unacknowledged(context: &Context, after: u64) -> Result<Option<Decrypted>> {
    context.transact(|tx| {
        let Some((receipt, entry)) = tx.kept_after(after)? else { return Ok(None) };
        match decrypt::restore(tx, receipt) {
            Err(error) if matches!(error.status(), Status::StorageCorrupt | Status::StorageVersion) => {
                Ok(Some(Decrypted {
                    error,
                    action: Action::Warn,
                    plaintext: None,
                    from: None,
                    device: 0,
                    namespace: entry.namespace,
                    identity_key: None,
                    core_trust: CoreTrust::Undecided,
                    trust_level_name: String::new(),
                    provisional: false,
                    not_listed: false,
                    new_session: false,
                    key: None,
                    tag_in_payload: false,
                    room: None,
                    receipt,
                    repeated: true,
                }))
            }
            restored => restored,
        }
    })
}
