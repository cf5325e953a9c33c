//! Section 14 of the header: the known devices of a JID.

use super::super::boundary::{args, guard, handles, returns};
use super::core_trust::omemo_core_trust;
use crate::crypto::{self, convert};
use crate::manager::api::device::{Device, DeviceSession};
use once_cell::sync::OnceCell;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

/// Devices as the library knows them: an array, read by getters with an index, of ids, keys, trust and state. The
/// list that a JID announces on the server is an omemo_device_list.
///
/// It comes from omemo_manager_devices, or is given to decide_trust and evaluate_trust, where it lives until the
/// callback returns; omemo_devices_clone makes a copy that lives longer. It does not change when the manager does.
/// Free yours with omemo_devices_free.
#[derive(Clone)]
pub struct omemo_devices {
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    device: Device,
    jid: CString,
    level: CString,
    /// Made when a getter needs it: it takes more time than all the rest.
    fingerprint: OnceCell<Option<CString>>,
    /// The same.
    label: OnceCell<Option<CString>>,
}

impl omemo_devices {
    pub(in crate::ffi) fn new(devices: impl IntoIterator<Item = Device>) -> omemo_devices {
        let rows = devices.into_iter().map(|device| Row {
            jid: returns::c_string(device.jid.as_str()),
            level: returns::c_string(&device.trust_level_name),
            fingerprint: OnceCell::new(),
            label: OnceCell::new(),
            device,
        });
        omemo_devices { rows: rows.collect() }
    }

    fn at(devices: Option<&omemo_devices>, index: usize) -> Option<&Row> {
        devices?.rows.get(index)
    }

    /// Returns what is known of the sessions with a device.
    pub(super) fn sessions(devices: Option<&omemo_devices>, index: usize) -> &[DeviceSession] {
        omemo_devices::at(devices, index).map(|row| row.device.sessions.as_slice()).unwrap_or_default()
    }
}

impl Row {
    fn fingerprint(&self) -> Option<&CString> {
        let make =
            || self.device.identity_key.as_ref().and_then(fingerprint).as_deref().map(returns::c_string);
        self.fingerprint.get_or_init(make).as_ref()
    }

    fn label(&self) -> Option<&CString> {
        self.label.get_or_init(|| self.device.verified_label().map(returns::c_string)).as_ref()
    }
}

/// A key as people compare it; `None` if it is no point of the curve.
pub(in crate::ffi) fn fingerprint(key: &[u8; 32]) -> Option<String> {
    convert::ed_to_mont(key).map(|mont| crypto::fingerprint::fingerprint(&mont))
}

/// Copies devices, to keep those that a callback receives.
/// Returns: the copy; NULL for NULL.
/// Memory: free it with omemo_devices_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn omemo_devices_clone(devices: Option<&omemo_devices>) -> *mut omemo_devices {
    guard::call(std::ptr::null_mut(), || {
        devices.map_or(std::ptr::null_mut(), |devices| handles::into_handle(devices.clone()))
    })
}

/// Frees devices from omemo_manager_devices or omemo_devices_clone; not devices that a callback receives.
/// Parameters:
/// - devices: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_devices_free(devices: *mut omemo_devices) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(devices) });
}

/// Returns the number of devices.
/// Returns: the number; 0 for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_count(devices: Option<&omemo_devices>) -> usize {
    guard::call(0, || devices.map_or(0, |devices| devices.rows.len()))
}

/// Returns the JID of a device.
/// Returns: a bare JID; NULL if there is no such device.
/// Memory: borrowed from devices.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_jid(devices: Option<&omemo_devices>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(omemo_devices::at(devices, index).map(|row| &row.jid)))
}

/// Returns the id of a device.
/// Returns: a device id; 0 if there is no such device, or it has no id yet.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_id(devices: Option<&omemo_devices>, index: usize) -> u32 {
    guard::call(0, || omemo_devices::at(devices, index).map_or(0, |row| row.device.id))
}

/// Returns the identity key of a device.
/// Parameters:
/// - len: receives 32; may be NULL.
/// Returns: 32 bytes in Ed25519 form; NULL until the key is known.
/// Memory: borrowed from devices.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_identity_key(
    devices: Option<&omemo_devices>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || {
        let key = omemo_devices::at(devices, index).and_then(|row| row.device.identity_key.as_ref());
        key.map(<[u8; 32]>::as_slice)
    })
}

/// Returns the fingerprint of a device: its identity key as people compare it; see omemo_fingerprint.
/// Returns: 8 groups of 8 hex digits; NULL until the key is known.
/// Memory: borrowed from devices.
/// Since: 0.1.0 (XEP-0384 8)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_fingerprint(devices: Option<&omemo_devices>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::or_null(omemo_devices::at(devices, index).and_then(Row::fingerprint))
    })
}

/// Returns the label of a device: the name that its owner gave it, signed with its identity key. The owner chooses any text of
/// at most 216 bytes: show it as a name that somebody claims, escaped. A label without a valid signature counts as
/// none. Of this device it is the label of omemo_manager_set_label.
/// Returns: the label; NULL if there is none, the key is not known, or there is no such device.
/// Memory: borrowed from devices.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_label(devices: Option<&omemo_devices>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(omemo_devices::at(devices, index).and_then(Row::label)))
}

/// Returns the core trust of the identity key of a device.
/// Returns: the core trust; OMEMO_CORE_UNDECIDED if there is no such device.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_core_trust(
    devices: Option<&omemo_devices>,
    index: usize,
) -> omemo_core_trust {
    guard::call(omemo_core_trust::OMEMO_CORE_UNDECIDED, || {
        let row = omemo_devices::at(devices, index);
        row.map_or(omemo_core_trust::OMEMO_CORE_UNDECIDED, |row| row.device.core_trust.into())
    })
}

/// Returns the name of the trust level of the identity key of a device.
/// Returns: the name; NULL if there is no such device.
/// Memory: borrowed from devices.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_trust_level_name(
    devices: Option<&omemo_devices>,
    index: usize,
) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::or_null(omemo_devices::at(devices, index).map(|row| &row.level))
    })
}

/// Returns whether the identity key of a device is provisional, that is, shown by key exchanges only. Anybody can
/// relay a key exchange under another name, so the core trust of such a key is at most OMEMO_CORE_UNDECIDED,
/// whatever its trust level, and nothing is encrypted for it. A bundle from the JID's own node confirms the key, or
/// shows a different one.
/// Returns: false also if the key is not known, or there is no such device.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_provisional(devices: Option<&omemo_devices>, index: usize) -> bool {
    guard::call(false, || omemo_devices::at(devices, index).is_some_and(|row| row.device.provisional))
}

/// Returns whether a device is announced now.
/// Parameters:
/// - index: position of the device, from 0.
/// - ns: the namespace of the announcement; NULL: any namespace.
/// Returns: false also if there is no such device or namespace.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_devices_active(
    devices: Option<&omemo_devices>,
    index: usize,
    ns: *const c_char,
) -> bool {
    guard::call(false, || {
        // SAFETY: the client gives a C string or NULL.
        let Ok(namespace) = (unsafe { args::optional_namespace(ns) }) else { return false };
        omemo_devices::at(devices, index).is_some_and(|row| match namespace {
            Some(namespace) => row.device.active.contains(&namespace),
            None => !row.device.active.is_empty(),
        })
    })
}

/// Returns whether a device shows a different identity key from its known one, and the new key was not accepted.
/// Until omemo_manager_accept_identity messages are encrypted for it only in a namespace in which it shows the
/// known key (docs/namespaces.md).
/// Returns: false also if there is no such device.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_identity_changed(devices: Option<&omemo_devices>, index: usize) -> bool {
    guard::call(false, || {
        omemo_devices::at(devices, index).is_some_and(|row| row.device.conflicting_key.is_some())
    })
}

/// Returns the conflicting key of a device: the key that it shows instead of its known one; for omemo_fingerprint
/// and omemo_manager_accept_identity.
/// Parameters:
/// - len: receives 32; may be NULL.
/// Returns: 32 bytes in Ed25519 form; NULL unless omemo_devices_identity_changed.
/// Memory: borrowed from devices.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_conflicting_key(
    devices: Option<&omemo_devices>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || {
        let key = omemo_devices::at(devices, index).and_then(|row| row.device.conflicting_key.as_ref());
        key.map(<[u8; 32]>::as_slice)
    })
}

/// Returns the namespace that omemo_manager_prefer_namespace has set for a device. It stays set while the order in use
/// does not contain it, and has no effect then.
/// Returns: OMEMO_NS_*; NULL if the device follows the order of the configuration or the draft, or there is no such
///   device.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_preferred_namespace(
    devices: Option<&omemo_devices>,
    index: usize,
) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::namespace_or_null(omemo_devices::at(devices, index).and_then(|row| row.device.preferred))
    })
}

/// Returns whether a device has left OMEMO_NS_2 for OMEMO_NS_LEGACY while OMEMO_NS_2 was preferred for it: see
/// OMEMO_NOTICE_DOWNGRADED. It stays true, whatever the device announces, until omemo_manager_prefer_namespace is
/// called for the device.
/// Returns: false also if there is no such device.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_downgraded(devices: Option<&omemo_devices>, index: usize) -> bool {
    guard::call(false, || omemo_devices::at(devices, index).is_some_and(|row| row.device.downgraded))
}
