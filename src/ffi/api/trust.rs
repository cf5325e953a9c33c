//! Section 13 of the header: judging keys.

use super::super::boundary::{args, guard, handles, returns};
use super::super::runtime::manager_handle;
use super::super::runtime::manager_handle::omemo_manager;
use super::devices::fingerprint;
use super::status::omemo_status;
use crate::error::{Error, Status};
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// ## 13 Trust
///
/// Judges a key of a JID, on all its devices and in all namespaces. The JID counts as one that this client has named
/// (docs/limits.md). A decision for this key that was given to omemo_request_decide before, and that no run has
/// committed yet, has no effect any more. At once.
/// Parameters:
/// - manager: the manager.
/// - jid: whose key it is; a bare JID.
/// - key: 32 bytes in Ed25519 form.
/// - key_len: 32.
/// - level: a name of 1 to 256 bytes that your evaluate_trust knows; without one, OMEMO_TRUST_LEVEL_NAME_*.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT (key, length of level), OMEMO_ERR_JID,
///   OMEMO_ERR_UNKNOWN_TRUST_LEVEL, OMEMO_ERR_LIMIT (4,096 keys of this JID were judged), OMEMO_ERR_BUSY inside a
///   service, OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Since: 0.1.0 (XEP-0384 7)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_set_trust(
    manager: *mut omemo_manager,
    jid: *const c_char,
    key: *const u8,
    key_len: usize,
    level: *const c_char,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) }?;
        // SAFETY: the client gives C strings and key_len bytes, or NULL.
        let (jid, key, level) =
            unsafe { (args::required_jid(jid)?, args::key(key, key_len)?, args::text(level)?.to_owned()) };
        manager.manager().set_trust(&jid, &key, &level)
    })
}

/// Accepts that a device shows another key now, the one that the user saw: omemo_devices_conflicting_key. The old key is
/// forgotten. All sessions with it, also earlier ones, stop decrypting at once: messages on them, also such as were
/// on their way, are OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY. The new key starts with the default level, unless another
/// device of the JID has it: then it keeps the level that it has. At once.
/// Parameters:
/// - manager: the manager.
/// - jid: whose device it is; a bare JID.
/// - device: its id.
/// - key: the key that was shown, 32 bytes in Ed25519 form.
/// - key_len: 32.
/// Returns: OMEMO_ERR_IDENTITY_CHANGED: it shows yet another key. OMEMO_ERR_NOT_FOUND: there is no such
///   device, or it shows no other key. OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT (device, key),
///   OMEMO_ERR_JID, OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_accept_identity(
    manager: *mut omemo_manager,
    jid: *const c_char,
    device: u32,
    key: *const u8,
    key_len: usize,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) }?;
        // SAFETY: the client gives a C string and key_len bytes, or NULL.
        let (jid, key) = unsafe { (args::required_jid(jid)?, args::key(key, key_len)?) };
        manager.manager().accept_identity(&jid, args::device(device)?, &key)
    })
}

/// A key as people compare it: 8 groups of 8 lower case hex digits of its Curve25519 form.
/// Parameters:
/// - key: 32 bytes in Ed25519 form.
/// - key_len: 32.
/// - fingerprint: gets the string.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (this is no key).
/// Memory: free it by omemo_string_free.
/// Since: 0.1.0 (XEP-0384 8)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_fingerprint(
    key: *const u8,
    key_len: usize,
    fingerprint: Option<&mut MaybeUninit<*mut c_char>>,
) -> omemo_status {
    guard::status(|| {
        let out = args::required(fingerprint)?;
        // SAFETY: the client gives key_len bytes or NULL.
        let key = unsafe { args::key(key, key_len) }?;
        let fingerprint = self::fingerprint(&key).ok_or(Error::new(Status::Argument, "This is no key."))?;
        out.write(handles::into_string(returns::c_string(&fingerprint)));
        Ok(())
    })
}
