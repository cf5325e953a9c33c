//! What the callbacks of the target `calls` do: the input says it, from its end.

use super::*;

// -- The storage

pub(super) unsafe extern "C" fn load(data: *mut c_void, key: *const c_char, value: *mut Opaque) -> i32 {
    // SAFETY: a string of the library's, as all pointers that callbacks are given.
    let key = unsafe { CStr::from_ptr(key) }.to_str().unwrap();
    let found = with(|state| state.slots[slot_of(data)].records.get(key).cloned());
    // SAFETY: see above.
    found.map_or(abi::OK, |bytes| unsafe { abi::omemo_value_set(value, bytes.as_ptr(), bytes.len()) })
}

pub(super) unsafe extern "C" fn commit(data: *mut c_void, changes: *const abi::Change, count: usize) -> i32 {
    if choice() % 32 == 31 {
        return abi::ERR_STORAGE;
    }
    // SAFETY: an array of the library's.
    for change in unsafe { std::slice::from_raw_parts(changes, count) } {
        // SAFETY: see above; a value of NULL deletes.
        let (key, value) = unsafe {
            let value = (!change.value.is_null())
                .then(|| std::slice::from_raw_parts(change.value, change.value_len).to_vec());
            (CStr::from_ptr(change.key).to_str().unwrap().to_owned(), value)
        };
        with(|state| match value {
            Some(value) => state.slots[slot_of(data)].records.insert(key, value),
            None => state.slots[slot_of(data)].records.remove(&key),
        });
    }
    abi::OK
}

pub(super) unsafe extern "C" fn forget(_: *mut c_void) {}

// -- The callbacks

pub(super) unsafe extern "C" fn now(_: *mut c_void) -> i64 {
    with(|state| state.now)
}

pub(super) unsafe extern "C" fn wakeup(_: *mut c_void) {}

pub(super) unsafe extern "C" fn log(_: *mut c_void, _: i32, _: *const c_char, line: *const c_char) {
    // SAFETY: a string of the library's.
    let line = unsafe { CStr::from_ptr(line) };
    assert!(!line.to_bytes().contains(&b'@'), "a JID in the log: {line:?}");
}

pub(super) unsafe extern "C" fn destroy(data: *mut c_void) {
    with(|state| state.slots[slot_of(data)].alive -= 1);
}

/// A request: what the input says is done about it.
fn question(data: *mut c_void, request: u64, node: String, xml: Option<CString>) {
    with(|state| state.requests.push(request));
    let found = with(|state| match xml.clone() {
        Some(xml) => state.server.insert(node, xml.clone()).or(Some(xml)),
        None => state.server.get(&node).cloned(),
    });
    // SAFETY: requests may be named at any time.
    unsafe {
        match choice() % 16 {
            0..8 if xml.is_some() => drop(check(abi::omemo_request_resolve(request))),
            0..8 => match found {
                Some(xml) => {
                    check(abi::omemo_request_resolve_xml(request, xml.as_ptr(), xml.as_bytes().len()));
                }
                None => drop(check(abi::omemo_request_reject(request, abi::REJECT_NOT_FOUND))),
            },
            8..10 => drop(check(abi::omemo_request_reject(request, i32::from(choice() % 7)))),
            10..12 => (),
            12 => answer(request),
            13 => {
                free(slot_of(data));
                check(abi::omemo_request_resolve(request));
            }
            _ => again(),
        }
    }
}

/// Calls the library from within an event.
fn again() {
    if with(|state| state.depth < DEPTH) {
        for _ in 0..=choice() % 3 {
            call();
        }
    }
}

pub(super) unsafe extern "C" fn fetch_list(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    jid: *const c_char,
) {
    // SAFETY: strings of the library's, here and below.
    let node = unsafe { format!("{:?} {:?}", string(ns), string(jid)) };
    question(data, request, node, None);
}

pub(super) unsafe extern "C" fn fetch_bundle(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    jid: *const c_char,
    device: u32,
) {
    // SAFETY: see above.
    let node = unsafe { format!("{:?} {:?} {device}", string(ns), string(jid)) };
    question(data, request, node, None);
}

fn own(data: *mut c_void) -> Option<CString> {
    Some(OWN[slot_of(data)].to_owned())
}

pub(super) unsafe extern "C" fn publish_list(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    list: *const Opaque,
) {
    // SAFETY: see above.
    let (node, xml) = unsafe {
        let xml = string(abi::omemo_device_list_xml(list, null_mut()));
        (format!("{:?} {:?}", string(ns), own(data)), xml)
    };
    question(data, request, node, xml);
}

pub(super) unsafe extern "C" fn publish_bundle(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    device: u32,
    bundle: *const Opaque,
) {
    // SAFETY: see above.
    let (node, xml) = unsafe {
        let xml = string(abi::omemo_bundle_xml(bundle, null_mut()));
        (format!("{:?} {:?} {device}", string(ns), own(data)), xml)
    };
    question(data, request, node, xml);
}

pub(super) unsafe extern "C" fn send_message(
    data: *mut c_void,
    request: u64,
    _: *const c_char,
    message: *const Opaque,
) {
    // SAFETY: see above.
    let xml = unsafe { string(abi::omemo_message_xml(message, null_mut())) };
    with(|state| state.stanzas.extend(xml.clone()));
    question(data, request, "sent".to_owned(), xml);
}

pub(super) unsafe extern "C" fn decide_trust(
    data: *mut c_void,
    request: u64,
    devices: *const Opaque,
    _: *const c_char,
) {
    // SAFETY: see above.
    for index in 0..unsafe { abi::omemo_devices_count(devices) }.min(8) {
        let level = LEVELS[usize::from(choice()) % LEVELS.len()];
        // SAFETY: see above.
        check(unsafe { abi::omemo_request_decide(request, index, level.as_ptr()) });
    }
    question(data, request, "trust".to_owned(), Some(c"".to_owned()));
}

pub(super) unsafe extern "C" fn withdrawn(_: *mut c_void, request: u64) {
    if choice() % 4 == 3 {
        answer(request);
    }
}

pub(super) unsafe extern "C" fn notify(
    _: *mut c_void,
    _: i32,
    _: *const c_char,
    _: *const c_char,
    _: u32,
    status: i32,
) {
    check(status);
    if choice() % 4 == 3 {
        again();
    }
}

pub(super) unsafe extern "C" fn done(data: *mut c_void, _: u64, status: i32, result: *const Opaque) {
    check(status);
    // SAFETY: a result of the library's, until this returns.
    unsafe {
        for row in 0..abi::omemo_result_row_count(result) {
            check(abi::omemo_result_row_status(result, row));
        }
        for index in 0..abi::omemo_result_message_count(result) {
            let xml = string(abi::omemo_message_xml(abi::omemo_result_message(result, index), null_mut()));
            with(|state| state.stanzas.extend(xml));
        }
    }
    match choice() % 8 {
        6 => free(slot_of(data)),
        7 => again(),
        _ => (),
    }
}

pub(super) unsafe extern "C" fn fetch_nothing(data: *mut c_void, request: u64, _: *const c_char, _: u32) {
    question(data, request, "deleted".to_owned(), Some(c"".to_owned()));
}
