//! Section 10 of the header, device lists: as structure and as XML.

use super::status::omemo_status;
use super::{guard, text};
use crate::error::{Error, Status};
use crate::protocol::device_list::{DeviceList, ListedDevice};
use crate::protocol::limits;
use crate::stanza;
use once_cell::sync::OnceCell;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

/// What a JID announces in one namespace: ids and labels, as in `<devices/>`.
pub struct omemo_device_list {
    list: DeviceList,
    labels: Vec<Option<CString>>,
    xml: OnceCell<CString>,
}

impl omemo_device_list {
    pub(super) fn new(list: DeviceList) -> omemo_device_list {
        let labels = list.devices.iter().map(|device| device.label.as_deref().map(text::c_string)).collect();
        omemo_device_list { list, labels, xml: OnceCell::new() }
    }

    pub(super) fn list(&self) -> &DeviceList {
        &self.list
    }

    fn at(list: Option<&omemo_device_list>, index: usize) -> Option<&ListedDevice> {
        list?.list.devices.get(index)
    }
}

/// ## 10 Device lists, bundles, messages
///
/// An empty device list.
/// Parameters:
/// - ns: the namespace it is published in.
/// Returns: the list; NULL if the namespace is not known.
/// Memory: free it by omemo_device_list_free.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn omemo_device_list_new(ns: *const c_char) -> *mut omemo_device_list {
    guard::call(std::ptr::null_mut(), || {
        // SAFETY: the client gives a C string or NULL.
        let Ok(namespace) = (unsafe { text::namespace(ns) }) else { return std::ptr::null_mut() };
        text::hand_over(omemo_device_list::new(DeviceList { namespace, devices: Vec::new() }))
    })
}

/// Read a device list.
/// Parameters:
/// - xml: `<devices/>`, alone or in an `<item>`, `<items>` or `<event>`.
/// - len: its bytes, without a NUL.
/// - list: gets the list.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT, OMEMO_ERR_MALFORMED, OMEMO_ERR_LIMIT,
///   OMEMO_ERR_UNKNOWN_NAMESPACE.
/// Memory: free it by omemo_device_list_free.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_parse(
    xml: *const c_char,
    len: usize,
    list: Option<&mut MaybeUninit<*mut omemo_device_list>>,
) -> omemo_status {
    guard::status(|| {
        let out = text::required(list)?;
        // SAFETY: the client gives len bytes or NULL.
        let xml = unsafe { text::bytes(xml.cast(), len, limits::STANZA_BYTES) }?;
        let list = stanza::device_list::parse(xml)?;
        out.write(text::hand_over(omemo_device_list::new(list)));
        Ok(())
    })
}

/// Add a device.
/// Parameters:
/// - list: the list.
/// - device: its id, which is not yet in the list.
/// - label: its public name, at most 256 code points; NULL: none.
/// - label_signature: 64 bytes; NULL: none.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT (id), OMEMO_ERR_LABEL, OMEMO_ERR_LIMIT (256
///   devices).
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_add(
    list: Option<&mut omemo_device_list>,
    device: u32,
    label: *const c_char,
    label_signature: *const u8,
) -> omemo_status {
    guard::status(|| {
        let list = text::required(list)?;
        let id = text::device(device)?.get();
        // SAFETY: the client gives a C string or NULL.
        let label = unsafe { text::optional_text(label) }?.map(str::to_owned);
        if label.as_ref().is_some_and(|label| label.chars().count() > limits::LABEL_CHARS) {
            return Err(Status::Label.into());
        }
        let label_signature = if label_signature.is_null() {
            None
        } else {
            // SAFETY: the client gives 64 bytes.
            Some(unsafe { text::array(label_signature) }?)
        };
        if list.list.devices.len() >= limits::DEVICES_PER_JID {
            return Err(Status::Limit.into());
        }
        if list.list.devices.iter().any(|device| device.id == id) {
            return Err(Error::new(Status::Argument, "This device is in the list already."));
        }
        list.labels.push(label.as_deref().map(text::c_string));
        list.list.devices.push(ListedDevice { id, label, label_signature });
        list.xml.take();
        Ok(())
    })
}

/// The namespace of a list.
/// Parameters:
/// - list: the list.
/// Returns: OMEMO_NS_*; NULL for NULL.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_namespace(list: Option<&omemo_device_list>) -> *const c_char {
    guard::call(std::ptr::null(), || text::namespace_or_null(list.map(|list| list.list.namespace)))
}

/// How many devices a list has.
/// Parameters:
/// - list: the list.
/// Returns: their number.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_count(list: Option<&omemo_device_list>) -> usize {
    guard::call(0, || list.map_or(0, |list| list.list.devices.len()))
}

/// The id of a device.
/// Parameters:
/// - list: the list.
/// - index: of the device.
/// Returns: its id as announced; 0 if there is no such one.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_id(list: Option<&omemo_device_list>, index: usize) -> u32 {
    guard::call(0, || omemo_device_list::at(list, index).map_or(0, |device| device.id))
}

/// The label of a device, as announced. It is not verified here.
/// Parameters:
/// - list: the list.
/// - index: of the device.
/// Returns: the label; NULL: none.
/// Memory: borrowed from list until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_label(list: Option<&omemo_device_list>, index: usize) -> *const c_char {
    guard::call(std::ptr::null(), || {
        text::or_null(list.and_then(|list| list.labels.get(index)).and_then(Option::as_ref))
    })
}

/// The signature of the label of a device.
/// Parameters:
/// - list: the list.
/// - index: of the device.
/// - len: gets 64; may be NULL.
/// Returns: 64 bytes; NULL: none.
/// Memory: borrowed from list until it changes.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_label_signature(
    list: Option<&omemo_device_list>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    guard::call(std::ptr::null(), || {
        let signature = omemo_device_list::at(list, index).and_then(|device| device.label_signature.as_ref());
        text::give_bytes(signature.map(<[u8; 64]>::as_slice), len)
    })
}

/// The list as XML.
/// Parameters:
/// - list: the list.
/// - len: gets its bytes, without the NUL; may be NULL.
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
        let xml = list.xml.get_or_init(|| text::c_string(&stanza::device_list::write(&list.list)));
        text::give_text(xml, len)
    })
}

/// Free what omemo_device_list_new or _parse gave; not a list that a callback is given.
/// Parameters:
/// - list: the list; NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_free(list: *mut omemo_device_list) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { text::take_back(list) });
}
