//! The target `calls`: a program of C calls in odd order over two accounts. The input's bytes choose the calls, and what
//! the callbacks do: answer, answer wrongly, reject, keep the request for later, call again, or free.
//!
//! It keeps the contract on memory (nothing is used after its free) and breaks every other expectation. No call may
//! panic, hang, or leak; INTERNAL is a bug.

mod callbacks;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use callbacks::*;

use super::bytes::Bytes;
use super::world::Records;
use crate::abi::{self, Opaque};

unsafe extern "C" {
    fn omemo_request_resolve_device_list(request: u64, list: *const Opaque) -> i32;
    fn omemo_message_parse(xml: *const c_char, len: usize, message: *mut *mut Opaque) -> i32;
    fn omemo_message_free(message: *mut Opaque);
    fn omemo_manager_decrypt(
        manager: *mut Opaque,
        from: *const c_char,
        room: *const c_char,
        message: *const Opaque,
        decrypted: *mut *mut Opaque,
    ) -> i32;
}

const INTERNAL: i32 = -99;
const JIDS: [&CStr; 4] =
    [c"romeo@montague.example", c"Juliet@capulet.example", c"orchard@rooms.example", c"a/b"];
/// The JIDs of the two accounts, as they are stored.
const OWN: [&CStr; 2] = [c"romeo@montague.example", c"juliet@capulet.example"];
const NAMESPACES: [&CStr; 3] = [c"urn:xmpp:omemo:2", c"eu.siacs.conversations.axolotl", c"urn:xmpp:omemo:3"];
const LEVELS: [&CStr; 4] = [c"trusted", c"distrusted", c"undecided", c"no such level"];
/// Callbacks that call the library again, one within the other.
const DEPTH: usize = 3;
/// Calls of one input.
const CALLS: usize = 64;

/// One account: where its records lie, and its manager, NULL when there is none.
struct Slot {
    records: Records,
    manager: *mut Opaque,
    /// Managers that were not destroyed yet.
    alive: usize,
}

/// What the program works with. The callbacks reach it by the thread, and borrow it for moments only.
struct State {
    input: Vec<u8>,
    at: usize,
    /// Bytes that callbacks took from the end.
    taken: usize,
    depth: usize,
    slots: [Slot; 2],
    requests: Vec<u64>,
    operations: Vec<u64>,
    stanzas: Vec<CString>,
    keys: Vec<[u8; 32]>,
    drafts: Vec<*mut Opaque>,
    lists: Vec<*mut Opaque>,
    messages: Vec<*mut Opaque>,
    /// What the server holds, by node or item.
    server: BTreeMap<String, CString>,
    now: i64,
}

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

fn with<T>(f: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(|state| f(state.as_mut().expect("within a run")))
}

/// The next byte from the end of the input: what a callback does. So the calls before it keep their meaning whatever
/// the library asks.
fn choice() -> u8 {
    with(|state| {
        state.taken += 1;
        state.input.iter().nth_back(state.taken - 1).copied().unwrap_or_default()
    })
}

/// The next byte of the input.
fn byte() -> u8 {
    with(|state| {
        let byte = state.input.get(state.at).copied().unwrap_or_default();
        state.at += 1;
        byte
    })
}

fn below(count: usize) -> usize {
    usize::from(byte()) % count
}

fn pick<T: Clone>(from: impl Fn(&State) -> &Vec<T>) -> Option<T> {
    let at = byte();
    with(|state| {
        let from = from(state);
        from.get(usize::from(at).checked_rem(from.len())?).cloned()
    })
}

/// Checks what a call returned.
fn check(status: i32) -> i32 {
    assert_ne!(status, INTERNAL, "a bug of the library");
    status
}

/// The store of an account, from the user_data of its callbacks.
fn slot_of(data: *mut c_void) -> usize {
    data as usize - 1
}

/// # Safety
/// The pointer is NULL, or of a string with a NUL at its end.
unsafe fn string(pointer: *const c_char) -> Option<CString> {
    // SAFETY: by contract.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_owned())
}

// -- The accounts

/// The records of two accounts that have been online, and what they put on the server.
fn accounts() -> &'static ([Records; 2], BTreeMap<String, CString>) {
    static ACCOUNTS: OnceLock<([Records; 2], BTreeMap<String, CString>)> = OnceLock::new();
    ACCOUNTS.get_or_init(|| {
        // Without any input every request is answered well.
        STATE.set(Some(State::new(Vec::new(), Default::default(), BTreeMap::new())));
        for index in 0..2 {
            open(index);
            let manager = with(|state| state.slots[index].manager);
            // SAFETY: a live manager.
            unsafe {
                assert_eq!(abi::omemo_manager_connected(manager, 0, None, null_mut(), null_mut()), abi::OK);
                assert_eq!(abi::omemo_manager_run(manager), abi::OK);
            }
            free(index);
        }
        let state = STATE.take().unwrap();
        assert!(state.server.len() >= 8, "two accounts publish a list and a bundle in two namespaces");
        (state.slots.map(|slot| slot.records), state.server)
    })
}

impl State {
    fn new(input: Vec<u8>, records: [Records; 2], server: BTreeMap<String, CString>) -> State {
        State {
            input,
            at: 0,
            taken: 0,
            depth: 0,
            slots: records.map(|records| Slot { records, manager: null_mut(), alive: 0 }),
            requests: Vec::new(),
            operations: Vec::new(),
            stanzas: Vec::new(),
            keys: Vec::new(),
            drafts: Vec::new(),
            lists: Vec::new(),
            messages: Vec::new(),
            server,
            now: 1_700_000_000_000,
        }
    }
}

/// Opens an account that is not open.
fn open(index: usize) {
    if with(|state| state.slots[index].alive > 0) {
        return;
    }
    let callbacks = abi::Callbacks {
        struct_size: size_of::<abi::Callbacks>(),
        fetch_device_list: Some(fetch_list),
        fetch_bundle: Some(fetch_bundle),
        publish_device_list: Some(publish_list),
        publish_bundle: Some(publish_bundle),
        send_message: Some(send_message),
        decide_trust: Some(decide_trust),
        request_withdrawn: Some(withdrawn),
        notify: Some(notify),
        evaluate_trust: None,
        wakeup: Some(wakeup),
        now: Some(now),
        delete_bundle: Some(fetch_nothing),
    };
    let storage_callbacks = abi::StorageCallbacks {
        struct_size: size_of::<abi::StorageCallbacks>(),
        load: Some(load),
        commit: Some(commit),
    };
    let data = (index + 1) as *mut c_void;
    let level = [c"undecided", c"trusted"][below(2)];
    let mut manager = null_mut();
    // SAFETY: all pointers are of live objects; the user_data are numbers.
    unsafe {
        let mut storage = null_mut();
        let made = abi::omemo_storage_callbacks_new(&storage_callbacks, data, Some(forget), &mut storage);
        assert_eq!(made, abi::OK);
        let config = abi::omemo_config_new();
        abi::omemo_config_set_jid(config, OWN[index].as_ptr());
        abi::omemo_config_set_storage(config, storage);
        let set = abi::omemo_config_set_callbacks(config, &callbacks, data, Some(destroy));
        assert_eq!(set, abi::OK);
        with(|state| state.slots[index].alive += 1);
        abi::omemo_config_set_log(config, 4, Some(log), data, None);
        abi::omemo_config_set_default_trust_level_name(config, level.as_ptr());
        check(abi::omemo_manager_new(config, &mut manager));
        abi::omemo_config_free(config);
        abi::omemo_storage_free(storage);
    }
    with(|state| state.slots[index].manager = manager);
}

fn free(index: usize) {
    let manager = with(|state| std::mem::replace(&mut state.slots[index].manager, null_mut()));
    // SAFETY: our own manager, or NULL; nobody has it any more.
    unsafe { abi::omemo_manager_free(manager) };
}

// -- The calls

fn jid() -> *const c_char {
    match byte() % 8 {
        7 => null(),
        other => JIDS[usize::from(other) % JIDS.len()].as_ptr(),
    }
}

fn namespace() -> *const c_char {
    match byte() % 4 {
        3 => null(),
        other => NAMESPACES[usize::from(other)].as_ptr(),
    }
}

/// Answers a request late, twice, or as another one.
fn answer(request: u64) {
    let xml = with(|state| state.server.values().next().cloned());
    let xml = pick(|state| &state.stanzas).or(xml).unwrap_or_default();
    // SAFETY: requests may be named at any time.
    unsafe {
        check(match byte() % 4 {
            0 => abi::omemo_request_resolve(request),
            1 => abi::omemo_request_reject(request, i32::from(byte() % 7)),
            2 => abi::omemo_request_resolve_xml(request, xml.as_ptr(), xml.as_bytes().len()),
            _ => {
                let list = pick(|state| &state.lists).unwrap_or(null_mut());
                omemo_request_resolve_device_list(request, list)
            }
        });
    }
}

/// One call, with its arguments, as the input says.
fn call() {
    with(|state| state.depth += 1);
    let (code, index) = (byte(), below(2));
    let manager = with(|state| state.slots[index].manager);
    let data = (index + 1) as *mut c_void;
    // SAFETY: handles are NULL or live; strings end with a NUL; lengths are those of their arrays.
    unsafe {
        match code % 28 {
            0 if manager.is_null() => open(index),
            1 if below(4) == 0 => free(index),
            2 => operation(|op| {
                abi::omemo_manager_connected(manager, i32::from(byte() % 3), Some(done), data, op)
            }),
            3 => drop(check(abi::omemo_manager_disconnected(manager))),
            4 => operation(|op| abi::omemo_manager_connected(manager, 0, None, null_mut(), op)),
            5 => drop(abi::omemo_manager_timeout(manager)),
            6 => {
                let operation = pick(|state| &state.operations).unwrap_or(7);
                let result = abi::omemo_manager_wait(manager, operation, 0);
                check(abi::omemo_result_status(result));
                abi::omemo_result_free(result);
            }
            7 => drop(check(abi::omemo_op_cancel(pick(|state| &state.operations).unwrap_or(7)))),
            8 => draft(),
            9..12 => {
                let draft = pick(|state| &state.drafts).unwrap_or(null_mut());
                operation(|op| abi::omemo_manager_encrypt(manager, draft, Some(done), data, op));
            }
            12 => free_draft(),
            13..16 => decrypt(manager),
            16 => list(manager),
            17 => devices(manager),
            18 => judge(manager),
            19 => {
                let (jid, device, ns) = (jid(), u32::from(byte()), namespace());
                check(abi::omemo_manager_prefer_namespace(manager, jid, device, ns));
            }
            20 => {
                let (jid, ns) = (jid(), namespace());
                operation(|op| abi::omemo_manager_refresh_devices(manager, jid, ns, Some(done), data, op));
            }
            21 => {
                let step = 1_i64 << (byte() % 36);
                with(|state| state.now += if code < 128 { step } else { -step });
            }
            22 => answer(pick(|state| &state.requests).unwrap_or(7)),
            23 => {
                let node = pick_node();
                with(|state| state.server.remove(&node));
            }
            _ => drop(check(abi::omemo_manager_run(manager))),
        }
    }
    with(|state| state.depth -= 1);
}

fn pick_node() -> String {
    let at = usize::from(byte());
    with(|state| state.server.keys().nth(at % state.server.len().max(1)).cloned().unwrap_or_default())
}

/// Starts an operation, and keeps its number.
fn operation(start: impl FnOnce(*mut u64) -> i32) {
    let mut number = 0;
    if check(start(&mut number)) == abi::OK {
        with(|state| state.operations.push(number));
    }
}

fn free_draft() {
    let at = usize::from(byte());
    let draft = with(|state| {
        let count = state.drafts.len();
        (count > 0).then(|| state.drafts.swap_remove(at % count))
    });
    // SAFETY: a live draft that nobody has any more, or NULL.
    unsafe { abi::omemo_draft_free(draft.unwrap_or(null_mut())) };
}

/// # Safety
/// Drafts are live.
unsafe fn draft() {
    // SAFETY: as in `call`.
    unsafe {
        let draft = match pick(|state| &state.drafts) {
            Some(draft) if below(2) == 0 => draft,
            _ => {
                let draft = abi::omemo_draft_new();
                abi::omemo_draft_add_recipient(draft, OWN[1 - below(2)].as_ptr());
                abi::omemo_draft_set_body(draft, c"a text".as_ptr());
                with(|state| state.drafts.push(draft));
                draft
            }
        };
        for _ in 0..byte() % 3 {
            check(match byte() % 6 {
                0 => abi::omemo_draft_add_recipient(draft, jid()),
                1 => abi::omemo_draft_set_body(draft, c"another".as_ptr()),
                2 => abi::omemo_draft_set_key_transport(draft),
                3 => abi::omemo_draft_set_policy(draft, i32::from(byte() % 4)),
                4 => abi::omemo_draft_set_namespaces(draft, [namespace(), namespace()].as_ptr(), below(3)),
                _ => abi::omemo_draft_set_context(draft, c"a chat".as_ptr()),
            });
        }
    }
}

/// # Safety
/// The manager is live, or NULL.
unsafe fn decrypt(manager: *mut Opaque) {
    let Some(stanza) = pick(|state| &state.stanzas) else { return };
    let mut xml = stanza.into_bytes();
    let edit: Vec<u8> = (0..byte() % 8).map(|_| byte()).collect();
    if !edit.is_empty() {
        Bytes::new(&edit).edit(&mut xml);
    }
    let (from, room) = (jid(), if byte() % 4 == 3 { JIDS[2].as_ptr() } else { null() });
    let mut decrypted = null_mut();
    // SAFETY: as in `call`.
    unsafe {
        let pointer = xml.as_ptr().cast();
        if below(2) == 0 {
            check(abi::omemo_manager_decrypt_xml(manager, from, room, pointer, xml.len(), &mut decrypted));
        } else {
            let mut message = null_mut();
            if check(omemo_message_parse(pointer, xml.len(), &mut message)) == abi::OK {
                with(|state| state.messages.push(message));
            }
            let message = pick(|state| &state.messages).unwrap_or(null_mut());
            check(omemo_manager_decrypt(manager, from, room, message, &mut decrypted));
        }
        if !decrypted.is_null() {
            check(abi::omemo_decrypted_status(decrypted));
            abi::omemo_decrypted_body(decrypted);
            abi::omemo_decrypted_free(decrypted);
        }
    }
}

/// # Safety
/// The manager is live, or NULL.
unsafe fn list(manager: *mut Opaque) {
    let node = pick_node();
    let xml = with(|state| state.server.get(&node).cloned()).unwrap_or_default();
    let mut list = null_mut();
    // SAFETY: as in `call`.
    unsafe {
        if abi::omemo_device_list_parse(xml.as_ptr(), xml.as_bytes().len(), &mut list) == abi::OK {
            with(|state| state.lists.push(list));
        }
        let list = pick(|state| &state.lists).unwrap_or(null_mut());
        check(abi::omemo_manager_update_device_list(manager, jid(), list));
    }
}

/// # Safety
/// The manager is live, or NULL.
unsafe fn devices(manager: *mut Opaque) {
    let mut devices = null_mut();
    // SAFETY: as in `call`; a key has 32 bytes.
    unsafe {
        check(abi::omemo_manager_devices(manager, jid(), &mut devices));
        for index in 0..abi::omemo_devices_count(devices) {
            let mut len = 0;
            let key = abi::omemo_devices_identity_key(devices, index, &mut len);
            if !key.is_null() {
                let key = std::slice::from_raw_parts(key, len).try_into().expect("32 bytes");
                with(|state| state.keys.push(key));
            }
        }
        abi::omemo_devices_free(devices);
    }
}

/// # Safety
/// The manager is live, or NULL.
unsafe fn judge(manager: *mut Opaque) {
    let key = pick(|state| &state.keys).unwrap_or([9; 32]);
    let (jid, len) = (jid(), [32, 32, 32, 0][below(4)]);
    // SAFETY: as in `call`.
    unsafe {
        if below(4) == 0 {
            let device = u32::from(byte());
            check(abi::omemo_manager_accept_identity(manager, jid, device, key.as_ptr(), len));
        } else {
            let level = LEVELS[below(LEVELS.len())].as_ptr();
            check(abi::omemo_manager_set_trust(manager, jid, key.as_ptr(), len, level));
        }
    }
}

pub fn run(input: &[u8]) {
    let (records, server) = accounts();
    STATE.set(Some(State::new(input.to_vec(), records.clone(), server.clone())));
    open(0);
    open(1);
    for _ in 0..CALLS {
        if with(|state| state.at >= state.input.len()) {
            break;
        }
        call();
    }
    // No callback opens one of them again.
    with(|state| state.input.clear());
    free(0);
    free(1);
    let state = STATE.take().unwrap();
    // SAFETY: each was kept until now, and is freed once.
    unsafe {
        state.drafts.iter().for_each(|draft| abi::omemo_draft_free(*draft));
        state.lists.iter().for_each(|list| abi::omemo_device_list_free(*list));
        state.messages.iter().for_each(|message| omemo_message_free(*message));
    }
    assert!(state.slots.iter().all(|slot| slot.alive == 0), "a manager that was freed lives on");
}
