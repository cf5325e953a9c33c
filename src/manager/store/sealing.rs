//! Opens a sealed store, or seals one that is empty. A store that is in use is never sealed: what lies in it unsealed
//! would be lost behind the seal, and readable.

use super::integrity;
use super::inventory;
use crate::crypto::rng::Rng;
use crate::error::{Error, Result, Status};
use crate::storage::Storage;
use crate::storage::sealed::{SealedStorage, Secret};
use std::sync::Arc;

/// Opens a sealed store over another one, which is sealed with the secret if it is empty.
///
/// [`Status::StorageKey`]: it is sealed with something else. [`Status::StorageNotEmpty`]: it is in use, and not sealed.
pub fn open_sealed(
    inner: Arc<dyn Storage>,
    secret: &Secret,
    rng: fn() -> Box<dyn Rng>,
) -> Result<SealedStorage> {
    if let Some(sealed) = SealedStorage::open(inner.clone(), secret, rng())? {
        return Ok(sealed);
    }
    let not_empty = || {
        Error::new(
            Status::StorageNotEmpty,
            "The store has records that are not sealed; copy it to a sealed one.",
        )
    };
    match integrity::identify(&*inner) {
        Ok(None) if inner.keys()?.is_none_or(|keys| keys.is_empty()) => {
            SealedStorage::create(inner, secret, rng())
        }
        Ok(_) => Err(not_empty()),
        Err(error) if inventory::is_about_record(&error) => Err(not_empty()),
        Err(error) => Err(error),
    }
}
