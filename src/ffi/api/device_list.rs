//! Section 10 of the header, device lists: as structure and as XML.

use super::super::boundary::{args, guard, handles, returns};
use super::status::omemo_status;
use crate::error::Status;
use crate::protocol::device_list::{DeviceList, ListedDevice};
use crate::protocol::limits;
use crate::stanza;
use crate::stanza::pep::push::Pushed;
use once_cell::sync::OnceCell;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

/// Device list as a JID announces it in one namespace: device ids and labels, as in `<devices/>`. What the library
/// knows about devices, with keys and trust, is an omemo_devices.
///
/// Read a pushed list with omemo_device_list_parse and pass it to omemo_manager_update_device_list; write the list
/// of a publish_device_list request with omemo_device_list_xml. Free a list from omemo_device_list_new or
/// omemo_device_list_parse with omemo_device_list_free; a list that a callback receives lives until the callback
/// returns.
///
/// All devices of an account share one list, and each of them publishes it whole. So a list that was read keeps
/// everything that other clients wrote into it, even if this library does not understand it: attributes, elements,
/// invalid labels, ids out of range. Only omemo_device_list_xml returns all of it: a client that builds the XML
/// from the getters deletes other clients' data from the server.
pub struct omemo_device_list {
    list: DeviceList,
    labels: Vec<Option<CString>>,
    /// Entries that hold more than an id and a sound label, made when somebody asks.
    entries: OnceCell<Vec<Option<CString>>>,
    /// Whether it was read from a message that says it was delayed.
    delayed: bool,
    xml: OnceCell<CString>,
}

impl omemo_device_list {
    pub(in crate::ffi) fn new(list: DeviceList) -> omemo_device_list {
        let labels =
            list.devices.iter().map(|device| device.label.as_deref().map(returns::c_string)).collect();
        omemo_device_list { list, labels, entries: OnceCell::new(), delayed: false, xml: OnceCell::new() }
    }

    pub(in crate::ffi) fn list(&self) -> &DeviceList {
        &self.list
    }

    pub(in crate::ffi) fn is_delayed(&self) -> bool {
        self.delayed
    }

    fn at(list: Option<&omemo_device_list>, index: usize) -> Option<&ListedDevice> {
        list?.list.devices.get(index)
    }
}

/// Creates an empty device list.
/// Parameters:
/// - ns: the namespace of the list.
/// Returns: the list; NULL if the namespace is not known.
/// Memory: free it with omemo_device_list_free.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn omemo_device_list_new(ns: *const c_char) -> *mut omemo_device_list {
    guard::call(std::ptr::null_mut(), || {
        // SAFETY: the client gives a C string or NULL.
        let Ok(namespace) = (unsafe { args::namespace(ns) }) else { return std::ptr::null_mut() };
        handles::into_handle(omemo_device_list::new(DeviceList::new(namespace)))
    })
}

/// Parses a device list.
/// Parameters:
/// - xml: `<devices/>`, alone or in an `<item>`, `<items>`, `<event>` or `<message>`.
/// - len: bytes of xml, without a NUL.
/// - list: receives the list.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT, OMEMO_ERR_MALFORMED (also for a list with content but
///   without any device: it is not taken for an empty list), OMEMO_ERR_LIMIT (more than 256 devices, or more than
///   64 KiB of content that is not understood), OMEMO_ERR_UNKNOWN_NAMESPACE.
/// Memory: free it with omemo_device_list_free.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_parse(
    xml: *const c_char,
    len: usize,
    list: Option<&mut MaybeUninit<*mut omemo_device_list>>,
) -> omemo_status {
    let read = |xml: &[u8]| {
        let (list, delayed) = (stanza::device_list::parse(xml)?, stanza::pep::push::is_delayed(xml));
        Ok(omemo_device_list { delayed, ..omemo_device_list::new(list) })
    };
    // SAFETY: the client gives len bytes or NULL.
    guard::status(|| unsafe { handles::parse(xml, len, list, read) })
}

/// Returns the namespace whose device list a push reports as gone: its item was retracted, or its node purged or
/// deleted. Pass the namespace to omemo_manager_device_list_gone, with the bare JID of the sender of the push;
/// omemo_device_list_parse returns OMEMO_ERR_MALFORMED for such a push.
/// Parameters:
/// - xml: the `<message>` or its `<event>`.
/// - len: bytes of xml, without a NUL.
/// Returns: OMEMO_NS_*; NULL if the push reports something else, or cannot be parsed.
/// Memory: a constant.
/// Since: 0.1.0 (XEP-0060 7.2, 8.4, 8.5)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_gone(xml: *const c_char, len: usize) -> *const c_char {
    guard::call(std::ptr::null(), || {
        // SAFETY: the client gives len bytes or NULL.
        let xml = unsafe { args::xml(xml, len) };
        match xml.and_then(stanza::pep::push::parse).map(|push| push.pushed) {
            Ok(Pushed::Gone(namespace)) => returns::namespace_or_null(Some(namespace)),
            _ => std::ptr::null(),
        }
    })
}

/// Returns whether a list was read from a delayed message (XEP-0203). Such a list may be outdated;
/// omemo_manager_update_device_list takes that into account.
/// Returns: false for NULL, and for a list that was not read from a message.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_is_delayed(list: Option<&omemo_device_list>) -> bool {
    guard::call(false, || list.is_some_and(|list| list.delayed))
}

/// Adds a device to a list.
/// Parameters:
/// - device: a device id that is not in the list.
/// - label: the public name of the device, at most 256 code points; NULL: none.
/// - label_signature: the signature of label, always 64 bytes, without a length parameter; NULL: none. It is not
///   verified. A label without signature is not written to the XML, nor is any in OMEMO_NS_LEGACY.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT (device), OMEMO_ERR_LABEL, OMEMO_ERR_LIMIT
///   (256 devices).
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_add(
    list: Option<&mut omemo_device_list>,
    device: u32,
    label: *const c_char,
    label_signature: *const u8,
) -> omemo_status {
    guard::status(|| {
        let list = args::required(list)?;
        let id = args::device(device)?.get();
        // SAFETY: the client gives a C string or NULL.
        let label = unsafe { args::optional_text(label) }?.map(str::to_owned);
        if label.as_ref().is_some_and(|label| label.chars().count() > limits::LABEL_CHARS) {
            return Err(Status::Label.into());
        }
        let label_signature = if label_signature.is_null() {
            None
        } else {
            // SAFETY: the client gives 64 bytes.
            Some(unsafe { args::array(label_signature) }?)
        };
        let shown = label.as_deref().map(returns::c_string);
        list.list.add(ListedDevice { id, label, label_signature, as_read: None })?;
        list.labels.push(shown);
        list.entries.take();
        list.xml.take();
        Ok(())
    })
}

/// Returns the namespace of a list.
/// Returns: OMEMO_NS_*; NULL for NULL.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_namespace(list: Option<&omemo_device_list>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::namespace_or_null(list.map(|list| list.list.namespace)))
}

/// Returns the number of devices in a list.
/// Returns: the number; 0 for NULL.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_count(list: Option<&omemo_device_list>) -> usize {
    guard::call(0, || list.map_or(0, |list| list.list.devices.len()))
}

/// Returns the id of a device.
/// Returns: the device id as announced; 0 if there is no such device.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_id(list: Option<&omemo_device_list>, index: usize) -> u32 {
    guard::call(0, || omemo_device_list::at(list, index).map_or(0, |device| device.id))
}

/// Returns the label of a device as announced. The signature is not verified.
/// Returns: the label; NULL: none.
/// Memory: borrowed from list until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_label(list: Option<&omemo_device_list>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || {
        returns::or_null(list.and_then(|list| list.labels.get(index)).and_then(Option::as_ref))
    })
}

/// Returns the signature of the label of a device.
/// Parameters:
/// - len: receives 64; may be NULL.
/// Returns: 64 bytes; NULL: none.
/// Memory: borrowed from list until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_label_signature(
    list: Option<&omemo_device_list>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::bytes(len, || {
        let signature = omemo_device_list::at(list, index).and_then(|device| device.label_signature.as_ref());
        signature.map(<[u8; 64]>::as_slice)
    })
}

/// Returns the element of a device as it was read, if it has more than an id and a valid label: other attributes,
/// children, a label without a valid signature. It is for clients that show or copy such data;
/// omemo_device_list_xml is enough to publish a list, and includes data that belong to no device.
/// Parameters:
/// - len: receives the number of bytes, without the NUL; may be NULL.
/// Returns: `<device/>` with all its content; NULL if it has no other content, or there is no such device.
/// Memory: borrowed from list until it changes.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_other_xml(
    list: Option<&omemo_device_list>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    guard::call(std::ptr::null(), || {
        let Some(list) = list else { return std::ptr::null() };
        let entries = list.entries.get_or_init(|| {
            let entries = list.list.devices.iter().map(stanza::device_list::write_entry);
            entries.map(|entry| entry.as_deref().map(returns::c_string)).collect()
        });
        let entry = entries.get(index).and_then(Option::as_ref);
        entry.map_or(std::ptr::null(), |entry| returns::give_text(entry, len))
    })
}

/// Returns a device list as XML, with everything that was read.
/// Parameters:
/// - len: receives the number of bytes, without the NUL; may be NULL.
/// Returns: `<devices/>`; NULL for NULL.
/// Memory: borrowed from list until it changes.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_xml(
    list: Option<&omemo_device_list>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    guard::call(std::ptr::null(), || {
        let Some(list) = list else { return std::ptr::null() };
        let xml = list.xml.get_or_init(|| returns::c_string(&stanza::device_list::write(&list.list)));
        returns::give_text(xml, len)
    })
}

/// Frees a list from omemo_device_list_new or omemo_device_list_parse; not a list that a callback receives.
/// Parameters:
/// - list: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_free(list: *mut omemo_device_list) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(list) });
}
