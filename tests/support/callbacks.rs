//! The callbacks that a `Client` gives the library: they answer from the `World` and note what they are told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};
use std::rc::Rc;

use super::abi;
use super::client::{decide, give};
use super::values::*;
use super::world::{Answer, Kind, Request, World};

/// What the callbacks see; the library's user_data.
pub(super) struct Shared {
    pub(super) world: World,
    pub(super) endpoint: usize,
    pub(super) jid: String,
    pub(super) trust: RefCell<Trust>,
    pub(super) levels: RefCell<BTreeMap<String, i32>>,
    pub(super) held: RefCell<Vec<(u64, Vec<Device>)>>,
    pub(super) asked: Cell<u64>,
    pub(super) outcomes: RefCell<BTreeMap<u64, Outcome>>,
    pub(super) notices: RefCell<Vec<Notice>>,
    pub(super) withdrawn: RefCell<Vec<u64>>,
    pub(super) log: RefCell<Vec<String>>,
    pub(super) wakeups: Cell<u64>,
    pub(super) in_run: Cell<bool>,
    pub(super) outside_run: Cell<u64>,
    pub(super) destroyed: Cell<u64>,
}

/// # Safety
/// `user_data` came from `Client::open` and was not destroyed yet.
pub(super) unsafe fn shared<'a>(user_data: *mut c_void) -> &'a Shared {
    // SAFETY: by contract.
    unsafe { &*user_data.cast::<Shared>() }
}

/// # Safety
/// As `shared`; strings are NULL or NUL-terminated.
pub(super) unsafe fn ask(
    user_data: *mut c_void,
    request: u64,
    kind: Kind,
    ns: *const c_char,
    jid: Option<String>,
    device: u32,
    xml: Option<String>,
) {
    // SAFETY: by contract.
    let (shared, ns) = unsafe { (event(user_data), text(ns).unwrap_or_default()) };
    let asked = Request {
        kind,
        endpoint: shared.endpoint,
        ns,
        jid: jid.unwrap_or_else(|| shared.jid.clone()),
        device,
        xml,
        at_ms: shared.world.now_ms(),
    };
    if let Some(answer) = shared.world.ask(request, asked) {
        give(request, &answer);
    }
}

/// An event, which must come inside run.
///
/// # Safety
/// As `shared`.
pub(super) unsafe fn event<'a>(user_data: *mut c_void) -> &'a Shared {
    // SAFETY: by contract.
    let shared = unsafe { shared(user_data) };
    if !shared.in_run.get() {
        shared.outside_run.set(shared.outside_run.get() + 1);
    }
    shared
}

pub(super) unsafe extern "C" fn fetch_device_list(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    jid: *const c_char,
) {
    // SAFETY: called by the library with our user_data, as are all below.
    unsafe { ask(data, request, Kind::FetchList, ns, text(jid), 0, None) }
}

pub(super) unsafe extern "C" fn fetch_bundle(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    jid: *const c_char,
    device: u32,
) {
    // SAFETY: see above.
    unsafe { ask(data, request, Kind::FetchBundle, ns, text(jid), device, None) }
}

pub(super) unsafe extern "C" fn publish_device_list(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    list: *const abi::Opaque,
) {
    // SAFETY: see above.
    unsafe {
        ask(data, request, Kind::PublishList, ns, None, 0, text(abi::omemo_device_list_xml(list, null_mut())))
    }
}

pub(super) unsafe extern "C" fn publish_bundle(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    device: u32,
    bundle: *const abi::Opaque,
) {
    // SAFETY: see above.
    unsafe {
        ask(
            data,
            request,
            Kind::PublishBundle,
            ns,
            None,
            device,
            text(abi::omemo_bundle_xml(bundle, null_mut())),
        )
    }
}

pub(super) unsafe extern "C" fn delete_bundle(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    device: u32,
) {
    // SAFETY: see above.
    unsafe { ask(data, request, Kind::DeleteBundle, ns, None, device, None) }
}

pub(super) unsafe extern "C" fn send_message(
    data: *mut c_void,
    request: u64,
    jid: *const c_char,
    message: *const abi::Opaque,
) {
    // SAFETY: see above.
    unsafe {
        let xml = text(abi::omemo_message_xml(message, null_mut()));
        ask(data, request, Kind::SendMessage, null(), text(jid), 0, xml);
    }
}

pub(super) unsafe extern "C" fn decide_trust(
    data: *mut c_void,
    request: u64,
    list: *const abi::Opaque,
    _context: *const c_char,
) {
    // SAFETY: see above.
    let (shared, devices) = unsafe { (event(data), read_devices(list)) };
    shared.asked.set(shared.asked.get() + 1);
    // SAFETY: see above; the policy is not borrowed while the library is called.
    unsafe {
        let levels: Vec<Option<&str>> = match &mut *shared.trust.borrow_mut() {
            Trust::All => devices.iter().map(|_| Some("trusted")).collect(),
            Trust::Ask(judge) => devices.iter().map(judge).collect(),
            Trust::LeaveOpen => Vec::new(),
            Trust::Hold => {
                shared.held.borrow_mut().push((request, devices));
                return;
            }
            Trust::Decline => {
                abi::omemo_request_reject(request, abi::REJECT_DECLINED);
                return;
            }
        };
        for (index, level) in levels.iter().enumerate() {
            if let Some(level) = level {
                assert_eq!(abi::omemo_request_decide(request, index, c_string(level).as_ptr()), abi::OK);
            }
        }
        abi::omemo_request_resolve(request);
    }
}

pub(super) unsafe extern "C" fn withdrawn(data: *mut c_void, request: u64) {
    // SAFETY: see above.
    let shared = unsafe { event(data) };
    shared.withdrawn.borrow_mut().push(request);
    shared.world.withdraw(request);
}

pub(super) unsafe extern "C" fn notify(
    data: *mut c_void,
    notice: i32,
    ns: *const c_char,
    jid: *const c_char,
    device: u32,
    status: i32,
) {
    // SAFETY: see above.
    unsafe { event(data).notices.borrow_mut().push((notice, text(ns), text(jid), device, status)) }
}

pub(super) unsafe extern "C" fn evaluate_trust(
    data: *mut c_void,
    devices: *const abi::Opaque,
    index: usize,
) -> i32 {
    // SAFETY: see above.
    unsafe {
        let level = text(abi::omemo_devices_trust_level_name(devices, index)).unwrap_or_default();
        shared(data).levels.borrow().get(&level).copied().unwrap_or(-201)
    }
}

pub(super) unsafe extern "C" fn wakeup(data: *mut c_void) {
    // SAFETY: see above.
    let shared = unsafe { shared(data) };
    shared.wakeups.set(shared.wakeups.get() + 1);
}

pub(super) unsafe extern "C" fn now(data: *mut c_void) -> i64 {
    // SAFETY: see above.
    unsafe { shared(data) }.world.now_ms()
}

pub(super) unsafe extern "C" fn log(
    data: *mut c_void,
    level: i32,
    target: *const c_char,
    line: *const c_char,
) {
    // SAFETY: see above.
    let (shared, target, line) = unsafe { (shared(data), text(target), text(line)) };
    shared.log.borrow_mut().push(format!(
        "{level} {} {}",
        target.unwrap_or_default(),
        line.unwrap_or_default()
    ));
}

pub(super) unsafe extern "C" fn done(data: *mut c_void, op: u64, status: i32, result: *const abi::Opaque) {
    // SAFETY: see above; the result is borrowed until we return.
    unsafe {
        assert_eq!(status, abi::omemo_result_status(result), "the status and its result are one");
        let outcome = Outcome {
            status,
            text: text(abi::omemo_result_detail(result)).unwrap_or_default(),
            context: text(abi::omemo_result_context(result)),
            rows: (0..abi::omemo_result_row_count(result))
                .map(|row| Row {
                    jid: text(abi::omemo_result_row_jid(result, row)),
                    device: abi::omemo_result_row_device(result, row),
                    ns: text(abi::omemo_result_row_namespace(result, row)),
                    status: abi::omemo_result_row_status(result, row),
                })
                .collect(),
            messages: (0..abi::omemo_result_message_count(result))
                .map(|index| {
                    text(abi::omemo_message_xml(abi::omemo_result_message(result, index), null_mut()))
                })
                .map(|xml| xml.expect("a message has its XML"))
                .collect(),
            keys: (0..abi::omemo_result_message_count(result))
                .map(|index| KeyParts::of(|part, len| abi::omemo_result_key(result, index, part, len)))
                .collect(),
        };
        let earlier = event(data).outcomes.borrow_mut().insert(op, outcome);
        assert!(earlier.is_none(), "operation {op} completed twice");
    }
}

pub(super) unsafe extern "C" fn destroy(data: *mut c_void) {
    // SAFETY: the pointer of Rc::into_raw in `open`, given back once.
    let shared = unsafe { Rc::from_raw(data.cast::<Shared>()) };
    shared.destroyed.set(shared.destroyed.get() + 1);
}
