//! Section 5 of the header, continued: stores that are encrypted at rest.

use super::super::boundary::{args, guard};
use super::status::omemo_status;
use super::storage::{give_sealed_store, omemo_storage};
use crate::crypto::passphrase::Cost;
use crate::crypto::rng::SystemRng;
use crate::error::{Error, Result, Status};
use crate::manager;
use crate::storage::sealed::Secret;
use std::ffi::c_char;
use std::mem::MaybeUninit;
use zeroize::Zeroizing;

/// Bytes that a passphrase may have.
const PASSPHRASE_BYTES: usize = 1024;

/// Opens a sealed store over another one.
///
/// # Safety
/// `inner` must be NULL or one of ours.
unsafe fn open(
    inner: *const omemo_storage,
    secret: impl FnOnce() -> Result<Secret>,
    storage: Option<&mut MaybeUninit<*mut omemo_storage>>,
) -> Result<()> {
    let storage = args::required(storage)?;
    // SAFETY: the caller's promise.
    let inner = unsafe { args::copied(inner, omemo_storage::store) }?;
    let secret = secret()?;
    if inner.sealed().is_some() {
        return Err(Error::new(Status::Argument, "The store is a sealed one already."));
    }
    let sealed = manager::open_sealed(inner.open()?, &secret, || Box::new(SystemRng))?;
    give_sealed_store(sealed, storage);
    Ok(())
}

/// Gives a sealed store another secret.
///
/// # Safety
/// `sealed` must be NULL or one of ours.
unsafe fn rekey(sealed: *const omemo_storage, secret: impl FnOnce() -> Result<Secret>) -> Result<()> {
    // SAFETY: the caller's promise.
    let store = unsafe { args::copied(sealed, omemo_storage::store) }?;
    let secret = secret()?;
    let not_sealed = || Error::new(Status::Argument, "The store is not a sealed one.");
    store.sealed().ok_or_else(not_sealed)?.rekey(&secret)
}

/// # Safety
/// `key` must be NULL or point to 32 readable bytes.
unsafe fn key(key: *const u8) -> Result<Secret> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { args::bytes(key, 32, 32) }?;
    // Copied once, to where it is wiped.
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(bytes);
    Ok(Secret::Key(key))
}

/// # Safety
/// `passphrase` must be NULL or point to `len` readable bytes, unless there are more than a passphrase may have.
unsafe fn passphrase(passphrase: *const c_char, len: usize) -> Result<Secret> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { args::characters(passphrase, len, PASSPHRASE_BYTES) }?;
    if bytes.is_empty() {
        return Err(Error::new(Status::Argument, "The passphrase is empty."));
    }
    Ok(Secret::Passphrase(Zeroizing::new(bytes.to_vec()), Cost::DEFAULT))
}

/// Opens a store that encrypts names and values and keeps them in another store, with a key of 32 bytes.
///
/// If inner is empty, it is sealed with the key. As long as the sealed store is in use, nobody else can open inner. What a
/// sealed store protects from is in docs/storage.md.
/// Parameters:
/// - inner: any store that is not sealed. You may free your reference to it at once.
/// - key: 32 bytes, as good as random. Copied, and wiped at the end of this call.
/// - storage: receives the store.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (inner is a sealed store), OMEMO_ERR_STORAGE_KEY (inner is
///   sealed with another key, or with a passphrase; nothing was written), OMEMO_ERR_STORAGE_NOT_EMPTY (inner has records
///   that are not sealed: copy it to a sealed store), OMEMO_ERR_STORAGE_LOCKED (inner is in use), another
///   OMEMO_ERR_STORAGE*, OMEMO_ERR_BUSY inside a service.
/// Memory: free it with omemo_storage_free; configurations and managers that use it keep it alive.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_storage_sealed_open_key(
    inner: *const omemo_storage,
    key: *const u8,
    storage: Option<&mut MaybeUninit<*mut omemo_storage>>,
) -> omemo_status {
    // SAFETY: the client gives a store and 32 bytes, or NULL.
    guard::outside_services(|| unsafe { open(inner, || self::key(key), storage) })
}

/// Opens a store that encrypts names and values and keeps them in another store, with a passphrase.
///
/// Works as omemo_storage_sealed_open_key. From the passphrase a key is derived by Argon2id with 64 MiB of memory, which
/// takes some tenths of a second: do not call it where a user would notice.
/// Parameters:
/// - inner: any store that is not sealed. You may free your reference to it at once.
/// - passphrase: bytes, usually UTF-8; they are taken as they are, so normalise what a user types. Copied, and wiped at
///   the end of this call.
/// - len: number of bytes, 1 to 1024.
/// - storage: receives the store.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_LIMIT, OMEMO_ERR_ARGUMENT (inner is a sealed store, or the passphrase is
///   empty), OMEMO_ERR_STORAGE_KEY (inner is sealed with another passphrase, or with a key; nothing was written),
///   OMEMO_ERR_STORAGE_NOT_EMPTY (inner has records that are not sealed: copy it to a sealed store),
///   OMEMO_ERR_STORAGE_LOCKED (inner is in use), another OMEMO_ERR_STORAGE*, OMEMO_ERR_BUSY inside a service.
/// Memory: free it with omemo_storage_free; configurations and managers that use it keep it alive.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_storage_sealed_open_passphrase(
    inner: *const omemo_storage,
    passphrase: *const c_char,
    len: usize,
    storage: Option<&mut MaybeUninit<*mut omemo_storage>>,
) -> omemo_status {
    // SAFETY: the client gives a store and len bytes, or NULL.
    guard::outside_services(|| unsafe { open(inner, || self::passphrase(passphrase, len), storage) })
}

/// Sets a new key of 32 bytes for a sealed store, in place of its key or passphrase.
///
/// One record is replaced in one commit; the data are not encrypted again. A manager may have the store open. If the call
/// fails with OMEMO_ERR_STORAGE*, either the old or the new key opens the store: make the same call again.
/// Parameters:
/// - sealed: a store from omemo_storage_sealed_open_key or omemo_storage_sealed_open_passphrase.
/// - key: 32 bytes, as good as random. Copied, and wiped at the end of this call.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (the store is not a sealed one), OMEMO_ERR_STORAGE*,
///   OMEMO_ERR_BUSY inside a service.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_storage_rekey(sealed: *const omemo_storage, key: *const u8) -> omemo_status {
    // SAFETY: the client gives a store and 32 bytes, or NULL.
    guard::outside_services(|| unsafe { rekey(sealed, || self::key(key)) })
}

/// Sets a new passphrase for a sealed store, in place of its key or passphrase.
///
/// Works as omemo_storage_rekey.
/// Parameters:
/// - sealed: a store from omemo_storage_sealed_open_key or omemo_storage_sealed_open_passphrase.
/// - passphrase: bytes, taken as they are. Copied, and wiped at the end of this call.
/// - len: number of bytes, 1 to 1024.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_LIMIT, OMEMO_ERR_ARGUMENT (the store is not a sealed one, or the
///   passphrase is empty), OMEMO_ERR_STORAGE*, OMEMO_ERR_BUSY inside a service.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_storage_rekey_passphrase(
    sealed: *const omemo_storage,
    passphrase: *const c_char,
    len: usize,
) -> omemo_status {
    // SAFETY: the client gives a store and len bytes, or NULL.
    guard::outside_services(|| unsafe { rekey(sealed, || self::passphrase(passphrase, len)) })
}
