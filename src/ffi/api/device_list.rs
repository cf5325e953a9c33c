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

/// What a JID announces in one namespace: ids and labels, as in `<devices/>`.
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

/// ## 10 Device lists, bundles, messages
///
/// All devices of an account share one list, and each publishes it whole. So a list that was read keeps what
/// other clients wrote into it and this library does not understand: attributes, elements, labels that do
/// not count, ids that cannot be served. Only omemo_device_list_xml gives all of it: a client that builds
/// the XML itself from the getters takes other clients' data off the server, and must write
/// omemo_device_list_xml instead.
///
/// Returns an empty device list.
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
        let Ok(namespace) = (unsafe { args::namespace(ns) }) else { return std::ptr::null_mut() };
        handles::into_handle(omemo_device_list::new(DeviceList::new(namespace)))
    })
}

/// Read a device list.
/// Parameters:
/// - xml: `<devices/>`, alone or in an `<item>`, `<items>`, `<event>` or `<message>`.
/// - len: its bytes, without a NUL.
/// - list: gets the list.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT, OMEMO_ERR_MALFORMED (also a list that holds something, but no
///   device: it is not understood, and never empty), OMEMO_ERR_LIMIT (more than 256 devices, or more than
///   64 KiB of what is not understood), OMEMO_ERR_UNKNOWN_NAMESPACE.
/// Memory: free it by omemo_device_list_free.
/// Since: 0.1.0 (XEP-0384 5.3.1)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_parse(
    xml: *const c_char,
    len: usize,
    list: Option<&mut MaybeUninit<*mut omemo_device_list>>,
) -> omemo_status {
    guard::status(|| {
        let out = args::required(list)?;
        // SAFETY: the client gives len bytes or NULL.
        let xml = unsafe { args::bytes(xml.cast(), len, limits::STANZA_BYTES) }?;
        let list = stanza::device_list::parse(xml)?;
        let delayed = stanza::pep::push::is_delayed(xml);
        out.write(handles::into_handle(omemo_device_list { delayed, ..omemo_device_list::new(list) }));
        Ok(())
    })
}

/// Tells whether a push says that there is no device list any more: that its item was retracted, or its node purged or
/// deleted. Give it to omemo_manager_device_list_gone; omemo_device_list_parse says OMEMO_ERR_MALFORMED of such a push.
/// Parameters:
/// - xml: the `<message>` or its `<event>`. Its sender is whose list is gone.
/// - len: its bytes, without a NUL.
/// Returns: OMEMO_NS_*, whose device list is gone; NULL: the push says something else, or cannot be read.
/// Memory: a constant.
/// Since: 0.1.0 (XEP-0060 7.2, 8.4, 8.5)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_gone(xml: *const c_char, len: usize) -> *const c_char {
    guard::call(std::ptr::null(), || {
        // SAFETY: the client gives len bytes or NULL.
        let xml = unsafe { args::bytes(xml.cast(), len, limits::STANZA_BYTES) };
        match xml.and_then(stanza::pep::push::parse).map(|push| push.pushed) {
            Ok(Pushed::Gone(namespace)) => returns::namespace_or_null(Some(namespace)),
            _ => std::ptr::null(),
        }
    })
}

/// Tells whether a list was read from a message that was delayed (XEP-0203): it may be older than what is known, which
/// omemo_manager_update_device_list takes into account by itself.
/// Parameters:
/// - list: the list.
/// Returns: false for NULL, and for a list that was not read from a message.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_is_delayed(list: Option<&omemo_device_list>) -> bool {
    guard::call(false, || list.is_some_and(|list| list.delayed))
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

/// The namespace of a list.
/// Parameters:
/// - list: the list.
/// Returns: OMEMO_NS_*; NULL for NULL.
/// Memory: a constant.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_device_list_namespace(list: Option<&omemo_device_list>) -> *const c_char {
    guard::call(std::ptr::null(), || returns::namespace_or_null(list.map(|list| list.list.namespace)))
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
        returns::or_null(list.and_then(|list| list.labels.get(index)).and_then(Option::as_ref))
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
        returns::give_bytes(signature.map(<[u8; 64]>::as_slice), len)
    })
}

/// Returns the entry of a device as it was read, where it holds more than an id and a label that counts: other
/// attributes, children, a label without a sound signature. For clients that show or copy such data; to publish
/// a list, omemo_device_list_xml is enough, and has what belongs to no device, too.
/// Parameters:
/// - list: the list.
/// - index: of the device.
/// - len: gets its bytes, without the NUL; may be NULL.
/// Returns: `<device/>` with all that it holds; NULL: it holds nothing else, or there is no such one.
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

/// The list as XML, with everything that was read.
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
        let xml = list.xml.get_or_init(|| returns::c_string(&stanza::device_list::write(&list.list)));
        returns::give_text(xml, len)
    })
}

/// Free what omemo_device_list_new or _parse gave; not a list that a callback is given.
/// Parameters:
/// - list: the list; NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_device_list_free(list: *mut omemo_device_list) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(list) });
}
