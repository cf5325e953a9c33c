//! Section 6 of the header: callbacks.

use super::super::boundary::sized_table;
use super::super::boundary::user_data::UserData;
use super::bundle::omemo_bundle;
use super::device_list::omemo_device_list;
use super::devices::omemo_devices;
use super::message::omemo_message;
use super::status::omemo_status;
use crate::error::Result;
use std::ffi::{c_char, c_void};

/// Number of an open request: a callback that asks for something passes it, and an omemo_request function answers
/// it. 0 is no request.
pub type omemo_request = u64;

/// Kinds of news that omemo_callbacks.notify receives. The arguments in brackets are set, the others are not.
#[repr(i32)]
pub enum omemo_notice {
    /// (ns, jid) A device was added or removed, or its key became known. omemo_manager_devices returns the current
    /// state.
    OMEMO_NOTICE_DEVICES = 1,
    /// (ns, jid, device, status) A device shows a different identity key. OMEMO_ERR_IDENTITY_CHANGED: its bundle
    /// shows another key than the known one. OMEMO_ERR_IDENTITY_MISMATCH: its bundle in ns shows another key than
    /// in the other namespace. OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY: a message shows another key; the library then
    /// fetches the bundle, and if that shows the other key, too, a notice with one of the other two statuses
    /// follows. Messages are encrypted for the device again after omemo_manager_accept_identity; before that only
    /// after OMEMO_ERR_IDENTITY_MISMATCH, in the other namespace, if that one is preferred. If jid is this account
    /// and device is the id that this device had until now: another client has published its bundle under that id,
    /// and this device has taken another one.
    OMEMO_NOTICE_IDENTITY_CHANGED = 2,
    /// (ns, jid, device) A device left the device list of OMEMO_NS_2 and is still on that of ns, while OMEMO_NS_2 is
    /// preferred for it, by omemo_manager_prefer_namespace or by the configuration. Messages for it are now encrypted
    /// in ns. This notice is not repeated until omemo_manager_prefer_namespace is called for the device.
    OMEMO_NOTICE_DOWNGRADED = 3,
    /// (ns, status) The bundle or the device list of this account cannot be published, or a namespace cannot be
    /// given up. The library tries again later. OMEMO_ERR_PUBLISH_LIMIT: the node was published so often that
    /// publishing now waits (10 times in a day, then once in 72 minutes; device list and bundle are counted apart).
    /// Probably another client of the account overwrites what this one publishes; this notice is repeated only after
    /// hours without a publication. What the server answered is a row in the report of omemo_manager_connected:
    /// omemo_result_row_detail.
    OMEMO_NOTICE_PUBLISH_FAILED = 4,
    /// (ns, jid, device, status) A message of a device cannot be decrypted although there is a session with it: one of
    /// the two may have lost its store, or have restored an older copy of it, or the message is forged. The status is that
    /// of the message. This notice is not repeated before a message of the device was decrypted or its session was
    /// replaced; of a JID that this client has never named it comes once. It does not come while a session that this
    /// device has begun within a day is unanswered. omemo_devices_failed_messages counts the messages.
    /// omemo_manager_replace_sessions begins a new session, and so does the library itself after a second such message
    /// if OMEMO_OPTION_HEALING is 1.
    OMEMO_NOTICE_SESSION_BROKEN = 5,
    /// (jid) OMEMO_OPTION_TRUST_POLICY has trusted keys of jid without asking the user, when a message was encrypted.
    /// Once for each such message and JID. omemo_manager_devices shows the keys, with the level
    /// OMEMO_TRUST_LEVEL_NAME_BLINDLY_TRUSTED; omemo_manager_set_trust corrects what the policy decided.
    OMEMO_NOTICE_BLINDLY_TRUSTED = 6,
    /// (jid) A message is not encrypted for devices of jid, or not at all, because no trust decision was made about their
    /// keys and nobody was asked: decide_trust is NULL, or the message has OMEMO_ENCRYPT_NOW. Once for each such message
    /// and JID. Ask the user about the devices of omemo_manager_devices that are undecided, and call
    /// omemo_manager_set_trust. With decide_trust, and without OMEMO_ENCRYPT_NOW, decide_trust is called instead.
    OMEMO_NOTICE_UNDECIDED = 7,
    /// (ns) The bundle on the server shows that this store is an older copy, restored from a backup for example, or that
    /// two copies of it are in use. All sessions are retired: they decrypt and do not encrypt any more, and this device
    /// publishes new keys. Messages that the other copy has received are not here. omemo_manager_replace_sessions for
    /// everybody lets contacts write at once; without it each session is replaced at the next message to its device
    /// (docs/sessions.md). Tell the user never to use two copies.
    OMEMO_NOTICE_ROLLED_BACK = 8,
}

/// Callbacks of one account, for omemo_config_set_callbacks. There are three kinds. Requests ask for something;
/// your answer can come inside the callback or later, by the omemo_request functions. Other events tell something.
/// Services return the answer at once.
///
/// Each member may be NULL. A request without callback is rejected at once: the fetch, publish and delete requests
/// with OMEMO_REJECT_FAILED, send_message and decide_trust with OMEMO_REJECT_DECLINED.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct omemo_callbacks {
    /// sizeof(omemo_callbacks). A table may end after decide_trust; missing members count as NULL. Members that a
    /// newer header adds must be NULL for an older library.
    pub struct_size: usize,

    /// Request (event): fetches the device list of jid in ns (XEP-0384 5.3.1). Send the iq to jid; if jid is this
    /// account, `to` may also be missing. Ask for one item (max_items='1') of the node of another JID, and for all items
    /// of this account's own node. Answer with omemo_request_resolve_xml or omemo_request_resolve_device_list, or
    /// reject; OMEMO_REJECT_NOT_FOUND means that jid announces no devices.
    pub fetch_device_list: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            ns: *const c_char,
            jid: *const c_char,
        ),
    >,
    /// Request (event): fetches the bundle of a device (XEP-0384 5.3.2). Send the iq to jid, which can be this account,
    /// as for fetch_device_list. In OMEMO_NS_2 ask for the item whose id is the device id, in OMEMO_NS_LEGACY for one
    /// item (max_items='1'). Answer with omemo_request_resolve_xml or omemo_request_resolve_bundle, or reject.
    pub fetch_bundle: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            ns: *const c_char,
            jid: *const c_char,
            device: u32,
        ),
    >,
    /// Request (event): publishes list as the device list of this account, in place of the old one, readable for
    /// everybody (access model open). Answer with omemo_request_resolve or omemo_request_resolve_xml, or reject.
    pub publish_device_list: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            ns: *const c_char,
            list: *const omemo_device_list,
        ),
    >,
    /// Request (event): publishes bundle as the bundle of this device, in place of the old one, readable for
    /// everybody (access model open). In OMEMO_NS_2 the item id is the device id, and the node keeps all items
    /// (max_items='max'). Answer with omemo_request_resolve or omemo_request_resolve_xml, or reject.
    pub publish_bundle: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            ns: *const c_char,
            device: u32,
            bundle: *const omemo_bundle,
        ),
    >,
    /// Request (event): sends to jid an empty message of the library, which no user sees, with a store hint
    /// (XEP-0334). What users write comes from omemo_manager_encrypt instead. Answer with omemo_request_resolve when
    /// it is sent, or reject; OMEMO_REJECT_DECLINED means that jid must not learn that this account is online.
    pub send_message: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            jid: *const c_char,
            message: *const omemo_message,
        ),
    >,
    /// Request (event): asks the user for a trust decision about the keys of all these devices. context is as in
    /// omemo_result_context. Answer with omemo_request_decide for each device, then omemo_request_resolve; or reject
    /// with OMEMO_REJECT_DECLINED. There is no deadline. A dialog that outlives the callback keeps a copy from
    /// omemo_devices_clone. Keys that OMEMO_OPTION_TRUST_POLICY decides about are not among them. NULL: an encryption
    /// that meets an undecided key ends with OMEMO_ERR_TRUST_DECISION_FAILED, and OMEMO_NOTICE_UNDECIDED comes; with
    /// OMEMO_ENCRYPT_NOW, under which nobody is asked, the device is a row with OMEMO_ERR_UNDECIDED. A client without
    /// dialogs sets OMEMO_OPTION_TRUST_POLICY, or another default trust level
    /// (omemo_config_set_default_trust_level_name).
    pub decide_trust: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            undecided: *const omemo_devices,
            context: *const c_char,
        ),
    >,

    /// Event: a request needs no answer any more. Close its dialog and forget its number.
    pub request_withdrawn: Option<unsafe extern "C" fn(user_data: *mut c_void, request: omemo_request)>,
    /// Event: reports news. Arguments that a notice does not use are NULL, 0 or OMEMO_OK.
    pub notify: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            notice: omemo_notice,
            ns: *const c_char,
            jid: *const c_char,
            device: u32,
            status: omemo_status,
        ),
    >,

    /// Service: returns the omemo_core_trust of the trust level of the device at index, or
    /// OMEMO_ERR_UNKNOWN_TRUST_LEVEL; any other number counts as the latter. NULL: the known names are
    /// OMEMO_TRUST_LEVEL_NAME_*, and OMEMO_OPTION_TRUST_POLICY says what OMEMO_TRUST_LEVEL_NAME_BLINDLY_TRUSTED amounts
    /// to: undecided under OMEMO_TRUST_POLICY_ASK, trusted under the others.
    pub evaluate_trust: Option<
        unsafe extern "C" fn(user_data: *mut c_void, devices: *const omemo_devices, index: usize) -> i32,
    >,
    /// Service: tells that there is work, or that omemo_manager_timeout has become shorter. Make your main loop
    /// call omemo_manager_run soon. After each omemo_manager_run that found nothing more to do, wakeup is called at
    /// most once, on any thread, with no lock held, and never after destroy. A call of omemo_manager_run that you
    /// have queued in your loop may come after omemo_manager_free: set your pointer to NULL when you free the
    /// manager; omemo_manager_run of NULL is harmless. NULL: you call omemo_manager_run often, or omemo_manager_wait.
    pub wakeup: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    /// Service: returns the time in milliseconds since 1970-01-01 (UTC). Deadlines are measured with it, too. NULL:
    /// the clocks of the system are used.
    pub now: Option<unsafe extern "C" fn(user_data: *mut c_void) -> i64>,

    /// Request (event): deletes the bundle that stands in ns under the id device of this account: after the account has
    /// given up that namespace or this device that id, and for omemo_manager_remove_own_device,
    /// omemo_manager_reset_identity and omemo_manager_delete_account. In OMEMO_NS_2 retract the item, in OMEMO_NS_LEGACY delete
    /// the node. Answer with omemo_request_resolve or omemo_request_resolve_xml, or reject; the request is repeated
    /// neither after OMEMO_REJECT_NOT_FOUND nor after OMEMO_REJECT_DECLINED.
    pub delete_bundle: Option<
        unsafe extern "C" fn(user_data: *mut c_void, request: omemo_request, ns: *const c_char, device: u32),
    >,
}

// SAFETY: made of a number and of optional functions, all of which may be zero.
unsafe impl sized_table::SizedTable for omemo_callbacks {
    const LEAST: usize = std::mem::offset_of!(omemo_callbacks, request_withdrawn);
}

impl omemo_callbacks {
    /// Copies the client's table.
    ///
    /// # Safety
    /// See `sized_table::read`.
    pub(in crate::ffi) unsafe fn read(table: *const omemo_callbacks) -> Result<omemo_callbacks> {
        // SAFETY: the same promise.
        unsafe { sized_table::read(table) }
    }
}

/// A table of callbacks, and what each of them gets.
pub(in crate::ffi) struct Callbacks {
    pub(in crate::ffi) table: omemo_callbacks,
    pub(in crate::ffi) user_data: UserData,
}
