//! What the library tells, as values of Rust: devices, rows, outcomes, what was decrypted; and how C values are read.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};

use super::abi;
use omemo::protocol::namespace::Namespace;

/// Judges one device: a level, or none.
pub type Judge = Box<dyn FnMut(&Device) -> Option<&'static str>>;

/// How `decide_trust` is answered.
pub enum Trust {
    /// Everybody is trusted.
    All,
    /// Answered, but nothing is decided.
    LeaveOpen,
    /// The dialog is closed.
    Decline,
    /// The request is kept in `Client::held` for the test to answer.
    Hold,
    /// A level for each device, or none.
    Ask(Judge),
}

/// A row of a device list of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub jid: String,
    pub id: u32,
    pub identity: Option<Vec<u8>>,
    pub fingerprint: Option<String>,
    pub trust: i32,
    pub level: String,
    pub label: Option<String>,
    pub active: bool,
    pub identity_changed: bool,
    pub conflicting_key: Option<Vec<u8>>,
    pub preferred: Option<String>,
    pub downgraded: bool,
    pub failed_messages: u32,
    /// The lengths of the sending and the receiving chain, the longest of all namespaces; -1: none.
    pub chains: (i64, i64),
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub jid: Option<String>,
    pub device: u32,
    pub ns: Option<String>,
    pub status: i32,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: i32,
    pub text: String,
    pub context: Option<String>,
    pub rows: Vec<Row>,
    pub messages: Vec<String>,
    /// What each of these transports.
    pub keys: Vec<Option<KeyParts>>,
}

/// The key of a message, in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts {
    pub key: Vec<u8>,
    pub tag: Option<Vec<u8>>,
    pub iv: Option<Vec<u8>>,
}

impl KeyParts {
    /// Asks for one part after the other.
    pub(super) fn of(part: impl Fn(i32, *mut usize) -> *const u8) -> Option<Self> {
        let [key, tag, iv] = [0, 1, 2].map(|number| bytes(|len| part(number, len)));
        assert_eq!((part(3, null_mut()), part(-1, null_mut())), (null(), null()), "there are three parts");
        key.map(|key| Self { key, tag, iv })
    }
}

impl Outcome {
    /// The status of a device's row.
    pub fn row(&self, jid: &str, device: u32) -> Option<i32> {
        self.rows
            .iter()
            .find(|row| row.jid.as_deref() == Some(jid) && row.device == device)
            .map(|row| row.status)
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, abi::OK, "{} {} {:?}", status_name(self.status), self.text, self.rows);
        self
    }
}

/// What came out of a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decrypted {
    pub action: i32,
    pub status: i32,
    pub text: String,
    pub plaintext: Option<Vec<u8>>,
    pub body: Option<String>,
    pub from: Option<String>,
    pub device: u32,
    pub namespace: Option<String>,
    pub identity: Option<Vec<u8>>,
    pub trust: i32,
    pub level: Option<String>,
    pub flags: u32,
    pub key: Option<KeyParts>,
    pub room: Option<String>,
    pub receipt: u64,
}

impl Decrypted {
    /// Reads what came out of a stanza, and frees it.
    ///
    /// # Safety
    /// `out` is a live omemo_decrypted, which is not used again.
    pub(super) unsafe fn take(out: *mut abi::Opaque) -> Self {
        // SAFETY: by contract; what is borrowed is copied before it is freed.
        unsafe {
            let decrypted = Self {
                action: abi::omemo_decrypted_action(out),
                status: abi::omemo_decrypted_status(out),
                text: text(abi::omemo_decrypted_detail(out)).unwrap_or_default(),
                plaintext: bytes(|len| abi::omemo_decrypted_plaintext(out, len)),
                body: text(abi::omemo_decrypted_body(out)),
                from: text(abi::omemo_decrypted_from(out)),
                device: abi::omemo_decrypted_device(out),
                namespace: text(abi::omemo_decrypted_namespace(out)),
                identity: bytes(|len| abi::omemo_decrypted_identity_key(out, len)),
                trust: abi::omemo_decrypted_core_trust(out),
                level: text(abi::omemo_decrypted_trust_level_name(out)),
                flags: abi::omemo_decrypted_flags(out),
                key: KeyParts::of(|part, len| abi::omemo_decrypted_key(out, part, len)),
                room: text(abi::omemo_decrypted_room(out)),
                receipt: abi::omemo_decrypted_receipt(out),
            };
            abi::omemo_decrypted_free(out);
            decrypted
        }
    }
}

/// A notice: number, namespace, JID, device, status.
pub type Notice = (i32, Option<String>, Option<String>, u32, i32);

/// The name of a status.
pub fn status_name(status: i32) -> String {
    // SAFETY: a constant string.
    unsafe { text(abi::omemo_status_name(status)) }.unwrap_or_default()
}

pub(super) fn c_string(text: &str) -> CString {
    CString::new(text).expect("no NUL in a string for C")
}

/// # Safety
/// `pointer` is NULL or a NUL-terminated string.
pub(super) unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: by contract.
    (!pointer.is_null())
        .then(|| unsafe { CStr::from_ptr(pointer) }.to_str().expect("UTF-8 from the library").to_owned())
}

pub(super) fn bytes(get: impl FnOnce(*mut usize) -> *const u8) -> Option<Vec<u8>> {
    let mut len = 0;
    let pointer = get(&mut len);
    // SAFETY: the library says how many bytes there are.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer, len) }.to_vec())
}

/// # Safety
/// `list` is a live omemo_devices.
unsafe fn chains(list: *const abi::Opaque, index: usize) -> (i64, i64) {
    let namespaces = Namespace::ALL.map(|namespace| CString::new(namespace.uri()).unwrap());
    let longest = |of: &dyn Fn(*const c_char) -> i64| namespaces.iter().map(|ns| of(ns.as_ptr())).max();
    // SAFETY: by contract; the getters check the index.
    let sending = longest(&|ns| unsafe { abi::omemo_devices_sending_chain_length(list, index, ns) });
    // SAFETY: the same.
    let receiving = longest(&|ns| unsafe { abi::omemo_devices_receiving_chain_length(list, index, ns) });
    (sending.unwrap_or(-1), receiving.unwrap_or(-1))
}

/// # Safety
/// `list` is a live omemo_devices.
pub(super) unsafe fn read_devices(list: *const abi::Opaque) -> Vec<Device> {
    // SAFETY: by contract; the getters check the index.
    unsafe {
        (0..abi::omemo_devices_count(list))
            .map(|index| Device {
                jid: text(abi::omemo_devices_jid(list, index)).unwrap_or_default(),
                id: abi::omemo_devices_id(list, index),
                identity: bytes(|len| abi::omemo_devices_identity_key(list, index, len)),
                fingerprint: text(abi::omemo_devices_fingerprint(list, index)),
                trust: abi::omemo_devices_core_trust(list, index),
                level: text(abi::omemo_devices_trust_level_name(list, index)).unwrap_or_default(),
                label: text(abi::omemo_devices_label(list, index)),
                active: abi::omemo_devices_active(list, index, null()),
                identity_changed: abi::omemo_devices_identity_changed(list, index),
                conflicting_key: bytes(|len| abi::omemo_devices_conflicting_key(list, index, len)),
                preferred: text(abi::omemo_devices_preferred_namespace(list, index)),
                downgraded: abi::omemo_devices_downgraded(list, index),
                failed_messages: abi::omemo_devices_failed_messages(list, index, null()),
                chains: chains(list, index),
            })
            .collect()
    }
}
