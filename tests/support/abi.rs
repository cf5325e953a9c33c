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
/// An operation that takes no argument of its own.
pub type Start = unsafe extern "C" fn(*mut Opaque, Done, *mut c_void, *mut u64) -> i32;
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
pub const ERR_ARGUMENT: i32 = -3;
pub const ERR_STALE: i32 = -6;
pub const ERR_WRONG_ANSWER: i32 = -7;
pub const ERR_LIMIT: i32 = -11;
pub const ERR_MALFORMED: i32 = -12;
pub const ERR_STORAGE: i32 = -100;
pub const ERR_UNKNOWN_NAMESPACE: i32 = -200;
pub const ERR_UNKNOWN_TRUST_LEVEL: i32 = -201;
pub const ERR_NO_ELIGIBLE_DEVICES: i32 = -300;
pub const ERR_NO_DEVICES: i32 = -301;
pub const ERR_UNDECIDED: i32 = -302;
pub const ERR_DISTRUSTED: i32 = -303;
pub const ERR_IDENTITY_CHANGED: i32 = -304;
pub const ERR_IDENTITY_MISMATCH: i32 = -305;
pub const ERR_BUNDLE_NOT_FOUND: i32 = -306;
pub const ERR_BUNDLE_BAD: i32 = -307;
pub const ERR_PLAINTEXT: i32 = -309;
pub const ERR_BUNDLE_DELETION_FAILED: i32 = -404;
pub const ERR_DECRYPTION_FAILED: i32 = -500;
pub const ERR_DUPLICATE: i32 = -501;
pub const ERR_TOO_MANY_SKIPPED: i32 = -502;
pub const ERR_NOT_FOR_US: i32 = -503;
pub const ERR_NO_SESSION: i32 = -504;
pub const ERR_SENDER_NOT_FOUND: i32 = -505;
pub const ERR_SENDER_DISTRUSTED: i32 = -506;
pub const ERR_PUBLIC_DATA_INCONSISTENCY: i32 = -507;
pub const ERR_PRE_KEY_UNKNOWN: i32 = -508;
pub const ERR_OWN_ECHO: i32 = -509;
pub const ERR_AFFIX: i32 = -510;
pub const ERR_NOT_FOUND: i32 = -10;

pub const REJECT_NOT_FOUND: i32 = 1;
pub const REJECT_FAILED: i32 = 2;
pub const REJECT_TIMEOUT: i32 = 3;
pub const REJECT_OFFLINE: i32 = 4;
pub const REJECT_DECLINED: i32 = 5;

pub const ACTION_HIDE: i32 = 0;
pub const ACTION_SHOW: i32 = 1;
pub const ACTION_WARN: i32 = 2;

pub const ENCRYPT_WAIT: i32 = 0;
pub const ENCRYPT_NOW: i32 = 1;
pub const ENCRYPT_ALL: i32 = 2;

pub const CORE_UNDECIDED: i32 = 0;
pub const CORE_TRUSTED: i32 = 1;
pub const CORE_DISTRUSTED: i32 = 2;

pub const DECRYPTED_NEW_SESSION: u32 = 1;
pub const DECRYPTED_TAG_IN_PAYLOAD: u32 = 2;
pub const DECRYPTED_DEVICE_NOT_LISTED: u32 = 4;

pub const NOTICE_IDENTITY_CHANGED: i32 = 2;
pub const NOTICE_DOWNGRADED: i32 = 3;
pub const NOTICE_PUBLISH_FAILED: i32 = 4;
pub const NOTICE_ROLLED_BACK: i32 = 8;

pub const CATCH_UP_NONE: i32 = 0;
pub const CATCH_UP_EXPECTED: i32 = 1;

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
    pub fn omemo_storage_sqlite_open(path: *const c_char, storage: *mut *mut Opaque) -> i32;
    pub fn omemo_storage_error(storage: *const Opaque) -> *const c_char;
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
        catch_up: i32,
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
    pub fn omemo_decrypted_room(decrypted: *const Opaque) -> *const c_char;
    pub fn omemo_decrypted_receipt(decrypted: *const Opaque) -> u64;
    pub fn omemo_manager_acknowledge(manager: *mut Opaque, receipt: u64) -> i32;
    pub fn omemo_manager_unacknowledged(manager: *mut Opaque, after: u64, decrypted: *mut *mut Opaque)
    -> i32;
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
    pub fn omemo_manager_purge_jid(manager: *mut Opaque, jid: *const c_char, keep_trust: bool) -> i32;
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
    pub fn omemo_manager_catch_up_begin(manager: *mut Opaque) -> i32;
    pub fn omemo_manager_catch_up_end(
        manager: *mut Opaque,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;
    pub fn omemo_manager_replace_sessions(
        manager: *mut Opaque,
        jid: *const c_char,
        device: u32,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;
    pub fn omemo_manager_reset_identity(
        manager: *mut Opaque,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;
    pub fn omemo_manager_set_label(
        manager: *mut Opaque,
        label: *const c_char,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;
    pub fn omemo_manager_ensure_consistency(
        manager: *mut Opaque,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;
    pub fn omemo_manager_clear_device_lists(
        manager: *mut Opaque,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;
    pub fn omemo_manager_delete_account(
        manager: *mut Opaque,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;
    pub fn omemo_devices_label(devices: *const Opaque, index: usize) -> *const c_char;
    pub fn omemo_devices_failed_messages(devices: *const Opaque, index: usize, ns: *const c_char) -> u32;
    pub fn omemo_devices_sending_chain_length(devices: *const Opaque, index: usize, ns: *const c_char)
    -> i64;
    pub fn omemo_devices_receiving_chain_length(
        devices: *const Opaque,
        index: usize,
        ns: *const c_char,
    ) -> i64;
    pub fn omemo_manager_refresh_devices(
        manager: *mut Opaque,
        jid: *const c_char,
        ns: *const c_char,
        done: Done,
        user_data: *mut c_void,
        op: *mut u64,
    ) -> i32;

    pub fn omemo_device_list_add(
        list: *mut Opaque,
        device: u32,
        label: *const c_char,
        signature: *const u8,
    ) -> i32;
    pub fn omemo_device_list_count(list: *const Opaque) -> usize;
    pub fn omemo_device_list_id(list: *const Opaque, index: usize) -> u32;
    pub fn omemo_device_list_label(list: *const Opaque, index: usize) -> *const c_char;
    pub fn omemo_device_list_other_xml(list: *const Opaque, index: usize, len: *mut usize) -> *const c_char;
    pub fn omemo_device_list_gone(xml: *const c_char, len: usize) -> *const c_char;
    pub fn omemo_device_list_is_delayed(list: *const Opaque) -> bool;
    pub fn omemo_bundle_new(
        ns: *const c_char,
        identity_key: *const u8,
        identity_key_len: usize,
        id: u32,
        signed_pre_key: *const u8,
        signed_pre_key_len: usize,
        signature: *const u8,
        signature_len: usize,
    ) -> *mut Opaque;
    pub fn omemo_bundle_append_pre_key(bundle: *mut Opaque, id: u32, key: *const u8, key_len: usize) -> i32;
    pub fn omemo_bundle_identity_key(bundle: *const Opaque, len: *mut usize) -> *const u8;
    pub fn omemo_bundle_signature(bundle: *const Opaque, len: *mut usize) -> *const u8;
    pub fn omemo_bundle_wire_identity_key(bundle: *const Opaque, len: *mut usize) -> *const u8;
    pub fn omemo_bundle_wire_signature(bundle: *const Opaque, len: *mut usize) -> *const u8;
    pub fn omemo_bundle_free(bundle: *mut Opaque);
}
