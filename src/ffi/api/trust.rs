//! Section 13 of the header: judging keys.

use super::super::boundary::{args, guard, handles, returns};
use super::super::runtime::calls;
use super::super::runtime::manager_handle::omemo_manager;
use super::devices::fingerprint;
use super::status::omemo_status;
use crate::error::{Error, Status};
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// Sets the trust level of an identity key of a JID, on all devices of the JID and in all namespaces, at once. The
/// JID becomes a known JID (docs/limits.md). A decision about this key that omemo_request_decide was given before,
/// and that is not committed yet, has no effect any more.
/// Parameters:
/// - jid: the bare JID that owns the key.
/// - key: 32 bytes in Ed25519 form.
/// - key_len: 32.
/// - level: a name of 1 to 256 bytes that your evaluate_trust knows, or without evaluate_trust one of
///   OMEMO_TRUST_LEVEL_NAME_*.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT (key, or length of level), OMEMO_ERR_JID,
///   OMEMO_ERR_UNKNOWN_TRUST_LEVEL, OMEMO_ERR_LIMIT (4,096 keys of this JID have a trust level), OMEMO_ERR_BUSY
///   inside a service, OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
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
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives C strings and key_len bytes, or NULL.
        let (jid, key, level) =
            unsafe { (args::required_jid(jid)?, args::key(key, key_len)?, args::text(level)?.to_owned()) };
        manager.manager().set_trust(&jid, &key, &level)
    })
}

/// Accepts the conflicting key of a device, the one that the user has seen: omemo_devices_conflicting_key becomes
/// its identity key, at once. The old key is deleted, and all sessions with it, current or not, stop decrypting:
/// their messages, even those that are on their way, are OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY. The new key starts
/// with the default trust level, unless another device of the JID has the same key: then it keeps the level that it
/// has.
/// Parameters:
/// - jid: the bare JID that owns the device.
/// - device: the device id.
/// - key: the conflicting key, 32 bytes in Ed25519 form.
/// - key_len: 32.
/// Returns: OMEMO_OK; OMEMO_ERR_IDENTITY_CHANGED if the device shows yet another key; OMEMO_ERR_NOT_FOUND if there
///   is no such device, or it has no conflicting key; OMEMO_ERR_NULL; OMEMO_ERR_UTF8; OMEMO_ERR_ARGUMENT (device,
///   key); OMEMO_ERR_JID; OMEMO_ERR_BUSY inside a service; OMEMO_ERR_CANCELLED; OMEMO_ERR_STORAGE*.
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
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: the client gives a C string and key_len bytes, or NULL.
        let (jid, key) = unsafe { (args::required_jid(jid)?, args::key(key, key_len)?) };
        manager.manager().accept_identity(&jid, args::device(device)?, &key)
    })
}

/// Formats an identity key as people compare it: 8 groups of 8 lower case hex digits of its Curve25519 form.
/// Parameters:
/// - key: 32 bytes in Ed25519 form.
/// - key_len: 32.
/// - fingerprint: receives the string.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (the bytes are no key).
/// Memory: free it with omemo_string_free.
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
        let fingerprint =
            self::fingerprint(&key).ok_or(Error::new(Status::Argument, "The bytes are not a key."))?;
        out.write(handles::into_string(returns::c_string(&fingerprint)));
        Ok(())
    })
}
