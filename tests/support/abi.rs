//! The C functions as a client sees them: declared by hand from the header, linked by name.
//!
//! Every handle is `Opaque`, as it is for a program in C. `omemo as _` makes the linker take the library.

use std::ffi::{c_char, c_void};

use omemo as _;

/// What stands behind any handle.
#[repr(C)]
pub struct Opaque {
    _private: [u8; 0],
}

pub type Destroy = Option<unsafe extern "C" fn(*mut c_void)>;
pub type Done = Option<unsafe extern "C" fn(*mut c_void, u64, i32, *const Opaque)>;
pub type Log = Option<unsafe extern "C" fn(*mut c_void, i32, *const c_char, *const c_char)>;

#[repr(C)]
pub struct Change {
    pub key: *const c_char,
    pub value: *const u8,
    pub value_len: usize,
}

#[repr(C)]
pub struct StorageCallbacks {
    pub struct_size: usize,
    pub load: Option<unsafe extern "C" fn(*mut c_void, *const c_char, *mut Opaque) -> i32>,
    pub commit: Option<unsafe extern "C" fn(*mut c_void, *const Change, usize) -> i32>,
}

pub type Fetch = Option<unsafe extern "C" fn(*mut c_void, u64, *const c_char, *const c_char)>;
pub type FetchBundle = Option<unsafe extern "C" fn(*mut c_void, u64, *const c_char, *const c_char, u32)>;
pub type PublishList = Option<unsafe extern "C" fn(*mut c_void, u64, *const c_char, *const Opaque)>;
pub type PublishBundle = Option<unsafe extern "C" fn(*mut c_void, u64, *const c_char, u32, *const Opaque)>;
pub type Decide = Option<unsafe extern "C" fn(*mut c_void, u64, *const Opaque, *const c_char)>;
pub type Notify = Option<unsafe extern "C" fn(*mut c_void, i32, *const c_char, *const c_char, u32, i32)>;

#[repr(C)]
pub struct Callbacks {
    pub struct_size: usize,
    pub fetch_device_list: Fetch,
    pub fetch_bundle: FetchBundle,
    pub publish_device_list: PublishList,
    pub publish_bundle: PublishBundle,
    pub send_message: PublishList,
    pub decide_trust: Decide,
    pub request_withdrawn: Option<unsafe extern "C" fn(*mut c_void, u64)>,
    pub notify: Notify,
    pub evaluate_trust: Option<unsafe extern "C" fn(*mut c_void, *const Opaque, usize) -> i32>,
    pub wakeup: Option<unsafe extern "C" fn(*mut c_void)>,
    pub now: Option<unsafe extern "C" fn(*mut c_void) -> i64>,
    pub delete_bundle: Option<unsafe extern "C" fn(*mut c_void, u64, *const c_char, u32)>,
}

pub const OK: i32 = 0;
pub const ERR_STORAGE: i32 = -100;

pub const REASON_NOT_FOUND: i32 = 1;
pub const REASON_FAILED: i32 = 2;
pub const REASON_TIMEOUT: i32 = 3;
pub const REASON_OFFLINE: i32 = 4;
pub const REASON_DECLINED: i32 = 5;

pub const ACTION_HIDE: i32 = 0;
pub const ACTION_SHOW: i32 = 1;
pub const ACTION_WARN: i32 = 2;

pub const POLICY_WAIT: i32 = 0;
pub const POLICY_NOW: i32 = 1;
pub const POLICY_ALL: i32 = 2;

pub const UNDECIDED: i32 = 0;
pub const TRUSTED: i32 = 1;
pub const DISTRUSTED: i32 = 2;

pub const NEW_SESSION: u32 = 1;

unsafe extern "C" {
    pub fn omemo_version() -> u32;
    pub fn omemo_status_name(status: i32) -> *const c_char;
    pub fn omemo_status_text(status: i32) -> *const c_char;
    pub fn omemo_string_free(string: *mut c_char);

    pub fn omemo_config_new() -> *mut Opaque;
    pub fn omemo_config_free(config: *mut Opaque);
    pub fn omemo_config_set_jid(config: *mut Opaque, jid: *const c_char) -> i32;
    pub fn omemo_config_set_namespaces(config: *mut Opaque, names: *const *const c_char, count: usize)
    -> i32;
    pub fn omemo_manager_prefer_namespace(
        manager: *mut Opaque,
        jid: *const c_char,
        device: u32,
        ns: *const c_char,
    ) -> i32;
    pub fn omemo_devices_preferred_namespace(devices: *const Opaque, index: usize) -> *const c_char;
    pub fn omemo_devices_downgraded(devices: *const Opaque, index: usize) -> bool;
    pub fn omemo_config_set_storage(config: *mut Opaque, storage: *const Opaque) -> i32;
    pub fn omemo_config_set_callbacks(
        config: *mut Opaque,
        callbacks: *const Callbacks,
        user_data: *mut c_void,
        destroy: Destroy,
    ) -> i32;
    pub fn omemo_config_set_log(
        config: *mut Opaque,
        level: i32,
        log: Log,
        data: *mut c_void,
        destroy: Destroy,
    ) -> i32;
    pub fn omemo_config_set_option(config: *mut Opaque, option: i32, value: u64) -> i32;
    pub fn omemo_config_set_default_trust_level_name(config: *mut Opaque, level: *const c_char) -> i32;
    pub fn omemo_config_error(config: *const Opaque) -> *const c_char;

    pub fn omemo_storage_memory_new(storage: *mut *mut Opaque) -> i32;
    pub fn omemo_storage_callbacks_new(
        callbacks: *const StorageCallbacks,
        user_data: *mut c_void,
        destroy: Destroy,
        storage: *mut *mut Opaque,
    ) -> i32;
    pub fn omemo_storage_free(storage: *mut Opaque);
    pub fn omemo_value_set(value: *mut Opaque, bytes: *const u8, len: usize) -> i32;

    pub fn omemo_manager_new(config: *const Opaque, manager: *mut *mut Opaque) -> i32;
    pub fn omemo_manager_free(manager: *mut Opaque);
    pub fn omemo_manager_connected(
        manager: *mut Opaque,
        backlog: i32,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;
    pub fn omemo_manager_disconnected(manager: *mut Opaque) -> i32;
    pub fn omemo_manager_run(manager: *mut Opaque) -> i32;
    pub fn omemo_manager_timeout(manager: *const Opaque) -> i64;
    pub fn omemo_manager_wait(manager: *mut Opaque, op: u64, timeout_ms: i64) -> *mut Opaque;
    pub fn omemo_op_cancel(op: u64) -> i32;

    pub fn omemo_request_resolve(request: u64) -> i32;
    pub fn omemo_request_resolve_xml(request: u64, xml: *const c_char, len: usize) -> i32;
    pub fn omemo_request_decide(request: u64, index: usize, level: *const c_char) -> i32;
    pub fn omemo_request_reject(request: u64, reason: i32) -> i32;

    pub fn omemo_result_status(result: *const Opaque) -> i32;
    pub fn omemo_result_detail(result: *const Opaque) -> *const c_char;
    pub fn omemo_result_context(result: *const Opaque) -> *const c_char;
    pub fn omemo_result_row_count(result: *const Opaque) -> usize;
    pub fn omemo_result_row_jid(result: *const Opaque, row: usize) -> *const c_char;
    pub fn omemo_result_row_device(result: *const Opaque, row: usize) -> u32;
    pub fn omemo_result_row_namespace(result: *const Opaque, row: usize) -> *const c_char;
    pub fn omemo_result_row_status(result: *const Opaque, row: usize) -> i32;
    pub fn omemo_result_row_detail(result: *const Opaque, row: usize) -> *const c_char;
    pub fn omemo_result_message_count(result: *const Opaque) -> usize;
    pub fn omemo_result_message(result: *const Opaque, index: usize) -> *const Opaque;
    pub fn omemo_result_key(result: *const Opaque, index: usize, part: i32, len: *mut usize) -> *const u8;
    pub fn omemo_result_free(result: *mut Opaque);

    pub fn omemo_device_list_parse(xml: *const c_char, len: usize, list: *mut *mut Opaque) -> i32;
    pub fn omemo_device_list_xml(list: *const Opaque, len: *mut usize) -> *const c_char;
    pub fn omemo_device_list_free(list: *mut Opaque);
    pub fn omemo_bundle_xml(bundle: *const Opaque, len: *mut usize) -> *const c_char;
    pub fn omemo_message_xml(message: *const Opaque, len: *mut usize) -> *const c_char;

    pub fn omemo_draft_new() -> *mut Opaque;
    pub fn omemo_draft_free(draft: *mut Opaque);
    pub fn omemo_draft_add_recipient(draft: *mut Opaque, jid: *const c_char) -> i32;
    pub fn omemo_draft_set_plaintext(
        draft: *mut Opaque,
        ns: *const c_char,
        bytes: *const u8,
        len: usize,
    ) -> i32;
    pub fn omemo_draft_set_body(draft: *mut Opaque, text: *const c_char) -> i32;
    pub fn omemo_draft_set_key_transport(draft: *mut Opaque) -> i32;
    pub fn omemo_draft_set_namespaces(
        draft: *mut Opaque,
        namespaces: *const *const c_char,
        count: usize,
    ) -> i32;
    pub fn omemo_draft_set_policy(draft: *mut Opaque, policy: i32) -> i32;
    pub fn omemo_draft_set_context(draft: *mut Opaque, context: *const c_char) -> i32;
    pub fn omemo_manager_encrypt(
        manager: *mut Opaque,
        draft: *const Opaque,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;

    pub fn omemo_manager_decrypt_xml(
        manager: *mut Opaque,
        from: *const c_char,
        room: *const c_char,
        xml: *const c_char,
        len: usize,
        decrypted: *mut *mut Opaque,
    ) -> i32;
    pub fn omemo_decrypted_action(decrypted: *const Opaque) -> i32;
    pub fn omemo_decrypted_status(decrypted: *const Opaque) -> i32;
    pub fn omemo_decrypted_detail(decrypted: *const Opaque) -> *const c_char;
    pub fn omemo_decrypted_plaintext(decrypted: *const Opaque, len: *mut usize) -> *const u8;
    pub fn omemo_decrypted_from(decrypted: *const Opaque) -> *const c_char;
    pub fn omemo_decrypted_device(decrypted: *const Opaque) -> u32;
    pub fn omemo_decrypted_namespace(decrypted: *const Opaque) -> *const c_char;
    pub fn omemo_decrypted_identity_key(decrypted: *const Opaque, len: *mut usize) -> *const u8;
    pub fn omemo_decrypted_core_trust(decrypted: *const Opaque) -> i32;
    pub fn omemo_decrypted_trust_level_name(decrypted: *const Opaque) -> *const c_char;
    pub fn omemo_decrypted_flags(decrypted: *const Opaque) -> u32;
    pub fn omemo_decrypted_key(decrypted: *const Opaque, part: i32, len: *mut usize) -> *const u8;
    pub fn omemo_decrypted_body(decrypted: *const Opaque) -> *const c_char;
    pub fn omemo_decrypted_free(decrypted: *mut Opaque);

    pub fn omemo_manager_set_trust(
        manager: *mut Opaque,
        jid: *const c_char,
        key: *const u8,
        len: usize,
        level: *const c_char,
    ) -> i32;
    pub fn omemo_manager_accept_identity(
        manager: *mut Opaque,
        jid: *const c_char,
        device: u32,
        key: *const u8,
        len: usize,
    ) -> i32;
    pub fn omemo_fingerprint(key: *const u8, len: usize, fingerprint: *mut *mut c_char) -> i32;

    pub fn omemo_manager_devices(manager: *mut Opaque, jid: *const c_char, devices: *mut *mut Opaque) -> i32;
    pub fn omemo_devices_free(devices: *mut Opaque);
    pub fn omemo_devices_count(devices: *const Opaque) -> usize;
    pub fn omemo_devices_jid(devices: *const Opaque, index: usize) -> *const c_char;
    pub fn omemo_devices_id(devices: *const Opaque, index: usize) -> u32;
    pub fn omemo_devices_identity_key(devices: *const Opaque, index: usize, len: *mut usize) -> *const u8;
    pub fn omemo_devices_fingerprint(devices: *const Opaque, index: usize) -> *const c_char;
    pub fn omemo_devices_core_trust(devices: *const Opaque, index: usize) -> i32;
    pub fn omemo_devices_trust_level_name(devices: *const Opaque, index: usize) -> *const c_char;
    pub fn omemo_devices_active(devices: *const Opaque, index: usize, ns: *const c_char) -> bool;
    pub fn omemo_devices_identity_changed(devices: *const Opaque, index: usize) -> bool;
    pub fn omemo_devices_conflicting_key(devices: *const Opaque, index: usize, len: *mut usize) -> *const u8;
    pub fn omemo_manager_update_device_list(
        manager: *mut Opaque,
        jid: *const c_char,
        list: *const Opaque,
    ) -> i32;
    pub fn omemo_manager_refresh_devices(
        manager: *mut Opaque,
        jid: *const c_char,
        ns: *const c_char,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;
}
