//! Section 14 of the header: what is known of the devices of a JID.

use super::super::boundary::returns::Out;
use super::super::boundary::{args, guard, handles, returns};
use super::super::runtime::manager_handle;
use super::super::runtime::manager_handle::{Completion, omemo_manager};
use super::callbacks::omemo_core_trust;
use super::device_list::omemo_device_list;
use super::manager::{omemo_done, omemo_op};
use super::status::omemo_status;
use crate::crypto::{self, convert};
use crate::manager::api::device::Device;
use once_cell::sync::OnceCell;
use std::ffi::{CString, c_char, c_void};
use std::mem::MaybeUninit;

/// What is known of devices: an array with getters by index.
#[derive(Clone)]
pub struct omemo_devices {
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    device: Device,
    jid: CString,
    level: CString,
    /// Made when somebody asks: it takes more time than all the rest.
    fingerprint: OnceCell<Option<CString>>,
}

impl omemo_devices {
    pub(in crate::ffi) fn new(devices: impl IntoIterator<Item = Device>) -> omemo_devices {
        let rows = devices.into_iter().map(|device| Row {
            jid: returns::c_string(device.jid.as_str()),
            level: returns::c_string(&device.trust_level_name),
            fingerprint: OnceCell::new(),
            device,
        });
        omemo_devices { rows: rows.collect() }
    }

    fn at(devices: Option<&omemo_devices>, index: usize) -> Option<&Row> {
        devices?.rows.get(index)
    }
}

impl Row {
    fn fingerprint(&self) -> Option<&CString> {
        let make =
            || self.device.identity_key.as_ref().and_then(fingerprint).as_deref().map(returns::c_string);
        self.fingerprint.get_or_init(make).as_ref()
    }
}

/// A key as people compare it; `None` if it is no point of the curve.
pub(in crate::ffi) fn fingerprint(key: &[u8; 32]) -> Option<String> {
    convert::ed_to_mont(key).map(|mont| crypto::fingerprint::fingerprint(&mont))
}

/// ## 14 Devices
///
/// All that is known of the devices of a JID, from the store, at once.
/// Parameters:
/// - manager: the manager.
/// - jid: a bare JID; NULL: the own account, this device first.
/// - devices: gets the devices.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Memory: free them by omemo_devices_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_devices(
    manager: *mut omemo_manager,
    jid: *const c_char,
    devices: *mut *mut omemo_devices,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) }?;
        // SAFETY: the client gives a place or NULL.
        let out = args::required(unsafe { Out::new(devices) })?;
        // SAFETY: the client gives a C string or NULL.
        let jid = unsafe { args::optional_jid(jid) }?;
        out.write(handles::into_handle(omemo_devices::new(manager.manager().devices(jid.as_ref())?)));
        Ok(())
    })
}

/// Keep devices that a callback is given.
/// Parameters:
/// - devices: the devices.
/// Returns: a copy; NULL for NULL.
/// Memory: free it by omemo_devices_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn omemo_devices_clone(devices: Option<&omemo_devices>) -> *mut omemo_devices {
    guard::call(std::ptr::null_mut(), || {
        devices.map_or(std::ptr::null_mut(), |devices| handles::into_handle(devices.clone()))
    })
}

/// Free what omemo_manager_devices or omemo_devices_clone gave; not devices that a callback is given.
/// Parameters:
/// - devices: the devices; NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_devices_free(devices: *mut omemo_devices) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(devices) });
}

/// How many devices there are.
/// Parameters:
/// - devices: the devices.
/// Returns: their number.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_count(devices: Option<&omemo_devices>) -> usize {
    guard::call(0, || devices.map_or(0, |devices| devices.rows.len()))
}

/// Whose device it is.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// Returns: a bare JID; NULL if there is no such device.
/// Memory: borrowed from devices.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_jid(devices: Option<&omemo_devices>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || returns::or_null(omemo_devices::at(devices, index).map(|row| &row.jid)))
}

/// The id of a device.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// Returns: its id; 0 if there is no such device, or it has none yet.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_id(devices: Option<&omemo_devices>, index: usize) -> u32 {
    guard::call(0, || omemo_devices::at(devices, index).map_or(0, |row| row.device.id))
}

/// The identity key of a device.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// - len: gets 32; may be NULL.
/// Returns: 32 bytes in Ed25519 form; NULL until it is known.
/// Memory: borrowed from devices.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_identity_key(
    devices: Option<&omemo_devices>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        let key = omemo_devices::at(devices, index).and_then(|row| row.device.identity_key.as_ref());
        returns::give_bytes(key.map(<[u8; 32]>::as_slice), len)
    })
}

/// The identity key of a device as people compare it; see omemo_fingerprint.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// Returns: 8 groups of 8 hex digits; NULL until the key is known.
/// Memory: borrowed from devices.
/// Since: 0.1.0 (XEP-0384 8)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_fingerprint(devices: Option<&omemo_devices>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::or_null(omemo_devices::at(devices, index).and_then(Row::fingerprint))
    })
}

/// What the trust level of a device's key comes to.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// Returns: the verdict; OMEMO_CORE_UNDECIDED if there is no such device.
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

/// The name of the trust level of a device's key.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
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

/// Tells whether only key exchanges show the key of a device. Such a key is provisional: anybody can relay a key
/// exchange in another's name, so that its verdict is at most OMEMO_CORE_UNDECIDED, whatever its level, and nothing is
/// encrypted to it. A bundle from the node of the JID confirms the key, or shows another one.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// Returns: false also if the key is not known, or there is no such device.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_provisional(devices: Option<&omemo_devices>, index: usize) -> bool {
    guard::call(false, || omemo_devices::at(devices, index).is_some_and(|row| row.device.provisional))
}

/// Whether a device is announced now.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// - ns: in which namespace; NULL: in any.
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

/// Whether a device shows another key than its known one, which was not accepted yet. Until then it is served at most
/// in a namespace in which it shows the known one (docs/namespaces.md).
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// Returns: false also if there is no such device.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_identity_changed(devices: Option<&omemo_devices>, index: usize) -> bool {
    guard::call(false, || {
        omemo_devices::at(devices, index).is_some_and(|row| row.device.conflicting_key.is_some())
    })
}

/// The key that a device shows instead of its known one; for omemo_fingerprint and
/// omemo_manager_accept_identity.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// - len: gets 32; may be NULL.
/// Returns: 32 bytes in Ed25519 form; NULL unless omemo_devices_identity_changed.
/// Memory: borrowed from devices.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_conflicting_key(
    devices: Option<&omemo_devices>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        let key = omemo_devices::at(devices, index).and_then(|row| row.device.conflicting_key.as_ref());
        returns::give_bytes(key.map(<[u8; 32]>::as_slice), len)
    })
}

/// What omemo_manager_prefer_namespace has set for a device, also while the account does not serve it: it counts
/// whenever the order in use names it.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// Returns: OMEMO_NS_*; NULL: it follows the order of the configuration or the draft, or there is no such device.
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

/// Whether a device has left OMEMO_NS_2 for OMEMO_NS_LEGACY while the former came first for it: see
/// OMEMO_NOTICE_DOWNGRADED. Stays so, whatever the device announces, until omemo_manager_prefer_namespace.
/// Parameters:
/// - devices: the devices.
/// - index: of the device.
/// Returns: false also if there is no such device.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_devices_downgraded(devices: Option<&omemo_devices>, index: usize) -> bool {
    guard::call(false, || omemo_devices::at(devices, index).is_some_and(|row| row.device.downgraded))
}

/// Serve a device in one namespace whenever it announces it there, whatever the order of the configuration or the
/// draft says, as long as that order names it; for a client that announces both and can read one. The mark of a
/// downgrade is taken away, too. At once.
/// Parameters:
/// - manager: the manager.
/// - jid: whose device it is; a bare JID.
/// - device: its id.
/// - ns: one that the account serves; NULL: follow the order again.
/// Returns: OMEMO_ERR_NOT_FOUND: no such device is known. OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID,
///   OMEMO_ERR_ARGUMENT (device), OMEMO_ERR_UNKNOWN_NAMESPACE, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED, OMEMO_ERR_STORAGE*.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_prefer_namespace(
    manager: *mut omemo_manager,
    jid: *const c_char,
    device: u32,
    ns: *const c_char,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) }?;
        // SAFETY: the client gives C strings or NULL.
        let (jid, namespace) = unsafe { (args::required_jid(jid)?, args::optional_namespace(ns)?) };
        manager.manager().prefer_namespace(&jid, args::device(device)?, namespace)
    })
}

/// Takes over a device list that was pushed (a PEP event), or that you have read. The list is fresh for an hour, and an
/// open question about it is withdrawn. This account's list is published again if this device is missing on it, with
/// everything that other clients wrote into it. At once.
///
/// A list that was read from a delayed message (omemo_device_list_is_delayed) may be older than what is known: it is
/// taken only if nothing else was said of this list since omemo_manager_connected, does not become fresh, and leaves
/// an open question open.
/// Parameters:
/// - manager: the manager.
/// - jid: the account that announces it: the bare JID of the sender of the event, and no other.
/// - list: the list.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID, OMEMO_ERR_UNKNOWN_NAMESPACE, OMEMO_ERR_LIMIT (too many
///   devices; or a JID to which this client has never encrypted and whose keys it has never judged, while the store
///   has no room for another one of these), OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED,
///   OMEMO_ERR_STORAGE*.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_update_device_list(
    manager: *mut omemo_manager,
    jid: *const c_char,
    list: *const omemo_device_list,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) }?;
        // SAFETY: the client gives a C string or NULL.
        let jid = unsafe { args::required_jid(jid) }?;
        // SAFETY: the client gives one of ours or NULL.
        let (list, delayed) = unsafe { args::copied(list, |list| (list.list().clone(), list.is_delayed())) }?;
        if delayed {
            manager.manager().update_device_list_from_archive(&jid, &list)
        } else {
            manager.manager().update_device_list(&jid, &list)
        }
    })
}

/// Takes over that a JID has no device list in a namespace any more: its item was retracted, or its node purged or
/// deleted. omemo_device_list_gone tells this of a push. All devices of the JID become inactive there; if it is this
/// account's list, it is published again with this device. At once.
/// Parameters:
/// - manager: the manager.
/// - jid: the account whose list is gone: the bare JID of the sender of the event, and no other.
/// - ns: the namespace of the list.
/// Returns: as omemo_manager_update_device_list.
/// Since: 0.1.0 (XEP-0060 7.2, 8.4, 8.5)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_device_list_gone(
    manager: *mut omemo_manager,
    jid: *const c_char,
    ns: *const c_char,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) }?;
        // SAFETY: the client gives C strings or NULL.
        let (jid, namespace) = unsafe { (args::required_jid(jid)?, args::namespace(ns)?) };
        manager.manager().device_list_gone(&jid, namespace)
    })
}

/// Fetch the device lists of a JID and the keys that are not known, so that omemo_manager_devices is fresh.
/// Parameters:
/// - manager: the manager.
/// - jid: a bare JID; NULL: the own account.
/// - ns: in which namespace; NULL: in all.
/// - done: called when it is over. NULL: if op is given, the result waits for omemo_manager_wait.
/// - user_data: goes to done; any pointer. Stays yours if this call fails.
/// - op: gets the number of the operation; may be NULL.
/// Returns: OMEMO_OK: it was started. OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID,
///   OMEMO_ERR_UNKNOWN_NAMESPACE, OMEMO_ERR_OFFLINE, OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED.
///   The report has a row for each device.
/// Since: 0.1.0 (XEP-0384 5.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_refresh_devices(
    manager: *mut omemo_manager,
    jid: *const c_char,
    ns: *const c_char,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) }?;
        // SAFETY: the client gives C strings or NULL.
        let (jid, ns) = unsafe { (args::optional_jid(jid)?, args::optional_namespace(ns)?) };
        // SAFETY: the client gives a place or NULL.
        let op = unsafe { Out::new(op) };
        let completion = Completion::new(done, user_data, op.is_some());
        manager.start(completion, op, |manager, op| manager.refresh_devices(op, jid, ns))
    })
}
