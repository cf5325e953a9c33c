//! Section 6 of the header: what the library asks and tells.

use super::super::boundary::sized_table;
use super::super::boundary::user_data::UserData;
use super::bundle::omemo_bundle;
use super::device_list::omemo_device_list;
use super::devices::omemo_devices;
use super::message::omemo_message;
use super::status::omemo_status;
use crate::error::Result;
use crate::manager::api::device::CoreTrust;
use crate::manager::api::event::NoticeKind;
use std::ffi::{c_char, c_void};

/// The level of keys to which content is encrypted, known without evaluate_trust.
pub const LEVEL_TRUSTED: &str = "trusted";
/// The level of keys that nobody has judged, known without evaluate_trust.
pub const LEVEL_UNDECIDED: &str = "undecided";
/// The level of keys to which nothing is encrypted, known without evaluate_trust.
pub const LEVEL_DISTRUSTED: &str = "distrusted";

/// What the name of a level comes to without evaluate_trust.
pub(in crate::ffi) fn built_in(level: &str) -> Option<CoreTrust> {
    match level {
        LEVEL_TRUSTED => Some(CoreTrust::Trusted),
        LEVEL_UNDECIDED => Some(CoreTrust::Undecided),
        LEVEL_DISTRUSTED => Some(CoreTrust::Distrusted),
        _ => None,
    }
}

/// An open question. 0 is none.
pub type omemo_request = u64;

/// ## 6 Callbacks
///
/// What the name of a trust level comes to.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_core_trust {
    /// Nobody has judged the key.
    OMEMO_CORE_UNDECIDED = 0,
    /// Content is encrypted to it.
    OMEMO_CORE_TRUSTED = 1,
    /// Nothing is encrypted to it, and what it sends is refused.
    OMEMO_CORE_DISTRUSTED = 2,
}

impl From<CoreTrust> for omemo_core_trust {
    fn from(verdict: CoreTrust) -> omemo_core_trust {
        match verdict {
            CoreTrust::Undecided => omemo_core_trust::OMEMO_CORE_UNDECIDED,
            CoreTrust::Trusted => omemo_core_trust::OMEMO_CORE_TRUSTED,
            CoreTrust::Distrusted => omemo_core_trust::OMEMO_CORE_DISTRUSTED,
        }
    }
}

/// The verdict with this number.
pub(in crate::ffi) fn verdict(number: i32) -> Option<CoreTrust> {
    [CoreTrust::Undecided, CoreTrust::Trusted, CoreTrust::Distrusted]
        .into_iter()
        .find(|verdict| *verdict as i32 == number)
}

/// What omemo_callbacks.notify tells. In brackets: which of its other arguments are set.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_notice {
    /// (ns, jid) A device appeared, vanished, or got its key: omemo_manager_devices has the news.
    OMEMO_NOTICE_DEVICES = 1,
    /// (ns, jid, device, status) It shows another identity key than the one known for it
    /// (OMEMO_ERR_IDENTITY_CHANGED), or shows another one in ns than in the other namespace
    /// (OMEMO_ERR_IDENTITY_MISMATCH), in a bundle or in a message (OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY: its bundle is
    /// then looked at by itself, and if that shows the other key, too, a notice with another status follows). It is
    /// served again after omemo_manager_accept_identity; in case of a mismatch it is meanwhile served in the other
    /// namespace, where that comes first. With this device's own id: somebody else's bundle stood there, and this
    /// device has taken another id.
    OMEMO_NOTICE_IDENTITY_CHANGED = 2,
    /// (ns, jid, device) It left the list of OMEMO_NS_2, which comes first for it by omemo_manager_prefer_namespace
    /// or else by the configuration's order, and stays on that of ns, where it is served now. Told once, until
    /// omemo_manager_prefer_namespace is called for it.
    OMEMO_NOTICE_DOWNGRADED = 3,
    /// (ns, status) This account's bundle or device list cannot be published, or a namespace cannot be left; it is
    /// tried again later. OMEMO_ERR_PUBLISH_LIMIT: it was published so often that it waits now (10 times, then once
    /// in 72 minutes; list and bundle apart), told again only after hours without publications: another client of the
    /// account probably undoes what this one publishes. omemo_result_row_detail shows what the server said, in the
    /// report of omemo_manager_connected.
    OMEMO_NOTICE_PUBLISH_FAILED = 4,
}

impl From<NoticeKind> for omemo_notice {
    fn from(kind: NoticeKind) -> omemo_notice {
        match kind {
            NoticeKind::Devices => omemo_notice::OMEMO_NOTICE_DEVICES,
            NoticeKind::IdentityChanged => omemo_notice::OMEMO_NOTICE_IDENTITY_CHANGED,
            NoticeKind::Downgraded => omemo_notice::OMEMO_NOTICE_DOWNGRADED,
            NoticeKind::PublishFailed => omemo_notice::OMEMO_NOTICE_PUBLISH_FAILED,
        }
    }
}

/// What the library asks and tells. Each may be NULL. A question without callback is rejected at once: the
/// fetches, publishes and delete_bundle as OMEMO_REJECT_FAILED, send_message and decide_trust as
/// OMEMO_REJECT_DECLINED.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct omemo_callbacks {
    /// sizeof(omemo_callbacks). A table that ends behind decide_trust is taken, what it lacks is NULL; what a
    /// newer header adds must be NULL for an older library.
    pub struct_size: usize,

    /// Question (event): which devices does jid announce in ns (XEP-0384 5.3.1)? Ask for one item
    /// (max_items='1') of another JID's node, and for all of this account's own. Answer by
    /// omemo_request_resolve_xml or _resolve_device_list, or reject; OMEMO_REJECT_NOT_FOUND says that it
    /// announces nothing.
    pub fetch_device_list: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            ns: *const c_char,
            jid: *const c_char,
        ),
    >,
    /// Question (event): the bundle of a device (XEP-0384 5.3.2). Ask in OMEMO_NS_2 for the item whose id is the
    /// device id, in OMEMO_NS_LEGACY for one item (max_items='1'). Answer by omemo_request_resolve_xml or
    /// _resolve_bundle, or reject.
    pub fetch_bundle: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            ns: *const c_char,
            jid: *const c_char,
            device: u32,
        ),
    >,
    /// Question (event): replace the own device list by this one, readable for everybody (access model open).
    /// Answer by omemo_request_resolve or _resolve_xml, or reject.
    pub publish_device_list: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            ns: *const c_char,
            list: *const omemo_device_list,
        ),
    >,
    /// Question (event): replace the bundle of this device, readable for everybody (access model open). In
    /// OMEMO_NS_2 the item id is the device id, and the node keeps all items (max_items max). Answer by
    /// omemo_request_resolve or _resolve_xml, or reject.
    pub publish_bundle: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            ns: *const c_char,
            device: u32,
            bundle: *const omemo_bundle,
        ),
    >,
    /// Question (event): send a message that no user sees to jid, with a store hint (XEP-0334). Answer by
    /// omemo_request_resolve when it is sent, or reject; OMEMO_REJECT_DECLINED says that this JID shall not
    /// learn that we are here.
    pub send_message: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            jid: *const c_char,
            message: *const omemo_message,
        ),
    >,
    /// Question (event): judge the keys of all these devices. context is omemo_draft_set_context's, or NULL.
    /// Answer by omemo_request_decide for each device, then omemo_request_resolve; or reject as
    /// OMEMO_REJECT_DECLINED. Has no deadline. To keep the devices for a dialog: omemo_devices_clone.
    pub decide_trust: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            request: omemo_request,
            undecided: *const omemo_devices,
            context: *const c_char,
        ),
    >,

    /// Event: nobody needs the answer to this question any more. Close the dialog, forget the number.
    pub request_withdrawn: Option<unsafe extern "C" fn(user_data: *mut c_void, request: omemo_request)>,
    /// Event: news. Arguments that do not apply are NULL, 0 or OMEMO_OK.
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

    /// Service: what the level name of the device at index comes to: an omemo_core_trust, or
    /// OMEMO_ERR_UNKNOWN_TRUST_LEVEL (so counts any other number, too). NULL: OMEMO_TRUST_LEVEL_NAME_TRUSTED, _UNDECIDED
    /// and _DISTRUSTED are known.
    pub evaluate_trust: Option<
        unsafe extern "C" fn(user_data: *mut c_void, devices: *const omemo_devices, index: usize) -> i32,
    >,
    /// Service: there is work, or omemo_manager_timeout came nearer. Have your loop call omemo_manager_run
    /// soon. Rings once for each sleep (run went home with nothing to do), on any thread, with no lock held,
    /// never after destroy. What it queued in your loop may come later: let it find a NULL manager, which is
    /// harmless. NULL: you call run often, or wait.
    pub wakeup: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    /// Service: milliseconds since 1970 (UTC); deadlines are measured by it, too. NULL: the system's clocks.
    pub now: Option<unsafe extern "C" fn(user_data: *mut c_void) -> i64>,

    /// Question (event): delete the bundle of this device in ns, which the account does not serve any more, or under
    /// an id that this device has given up. In
    /// OMEMO_NS_2 retract the item, in OMEMO_NS_LEGACY delete the node. Answer by omemo_request_resolve or
    /// _resolve_xml, or reject; OMEMO_REJECT_NOT_FOUND and OMEMO_REJECT_DECLINED end the matter as well.
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
