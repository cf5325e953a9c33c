//! A storage of callbacks over a map: it outlives the manager, fails when told to, and can be copied byte by byte.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::rc::Rc;

use super::abi;

type Records = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
struct Inner {
    records: RefCell<Records>,
    loads: Cell<u64>,
    commits: Cell<u64>,
    /// Calls until one fails; `None`: none does.
    fail_load_in: Cell<Option<u64>>,
    fail_commit_in: Cell<Option<u64>>,
    /// A commit that fails was done nevertheless.
    fail_after_writing: Cell<bool>,
    fail_from_then_on: Cell<bool>,
    destroyed: Cell<u64>,
}

/// A handle; clones are the same store.
#[derive(Clone, Default)]
pub struct Store(Rc<Inner>);

impl Store {
    pub fn new() -> Self {
        Self::default()
    }

    /// All records, to be compared or kept.
    pub fn snapshot(&self) -> Records {
        self.0.records.borrow().clone()
    }

    /// Another store with the same bytes.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        copy.put_back(self.snapshot());
        copy
    }

    /// Make it hold exactly these records.
    pub fn put_back(&self, records: Records) {
        *self.0.records.borrow_mut() = records;
    }

    pub fn commits(&self) -> u64 {
        self.0.commits.get()
    }

    pub fn loads(&self) -> u64 {
        self.0.loads.get()
    }

    /// How often the library said that it is done with this store.
    pub fn destroyed(&self) -> u64 {
        self.0.destroyed.get()
    }

    /// The `nth` load from now (1 is the next) fails.
    pub fn fail_load(&self, nth: u64) {
        self.0.fail_load_in.set(Some(nth));
    }

    /// The `nth` commit from now (1 is the next) fails; `written`: although everything was stored.
    pub fn fail_commit(&self, nth: u64, written: bool) {
        self.0.fail_commit_in.set(Some(nth));
        self.0.fail_after_writing.set(written);
    }

    /// Whether a failure stays until `heal`, or is over after one call.
    pub fn keep_failing(&self, keep: bool) {
        self.0.fail_from_then_on.set(keep);
    }

    pub fn heal(&self) {
        self.0.fail_load_in.set(None);
        self.0.fail_commit_in.set(None);
    }

    /// The library's handle of it; to be freed by `abi::omemo_storage_free`.
    pub fn open(&self) -> *mut abi::Opaque {
        let callbacks = abi::StorageCallbacks {
            struct_size: size_of::<abi::StorageCallbacks>(),
            load: Some(load),
            commit: Some(commit),
        };
        let mut storage = std::ptr::null_mut();
        let user_data = Rc::into_raw(Rc::clone(&self.0)).cast_mut().cast();
        // SAFETY: the table and the out parameter live for the call; user_data is given back by `destroy`.
        let status =
            unsafe { abi::omemo_storage_callbacks_new(&callbacks, user_data, Some(destroy), &mut storage) };
        assert_eq!(status, abi::OK, "a storage of callbacks opens");
        storage
    }
}

impl Inner {
    /// Count down to a failure.
    fn fails(&self, counter: &Cell<Option<u64>>) -> bool {
        match counter.get() {
            None => false,
            Some(left) if left > 1 => {
                counter.set(Some(left - 1));
                false
            }
            Some(_) => {
                if !self.fail_from_then_on.get() {
                    counter.set(None);
                }
                true
            }
        }
    }
}

unsafe extern "C" fn load(user_data: *mut c_void, key: *const c_char, value: *mut abi::Opaque) -> i32 {
    // SAFETY: user_data is the Inner of `open`, alive until `destroy`.
    let inner = unsafe { &*user_data.cast::<Inner>() };
    inner.loads.set(inner.loads.get() + 1);
    if inner.fails(&inner.fail_load_in) {
        return abi::ERR_STORAGE;
    }
    // SAFETY: the library gives NUL-terminated keys.
    let key = unsafe { CStr::from_ptr(key) }.to_str().expect("keys are ASCII");
    match inner.records.borrow().get(key) {
        None => abi::OK,
        // SAFETY: bytes and length of one vector; value is the library's, for this call.
        Some(bytes) => unsafe { abi::omemo_value_set(value, bytes.as_ptr(), bytes.len()) },
    }
}

unsafe extern "C" fn commit(user_data: *mut c_void, changes: *const abi::Change, count: usize) -> i32 {
    // SAFETY: as in load.
    let inner = unsafe { &*user_data.cast::<Inner>() };
    inner.commits.set(inner.commits.get() + 1);
    let fails = inner.fails(&inner.fail_commit_in);
    if fails && !inner.fail_after_writing.get() {
        return abi::ERR_STORAGE;
    }
    // SAFETY: the library gives `count` changes.
    let changes = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(changes, count) } };
    let mut records = inner.records.borrow_mut();
    for change in changes {
        // SAFETY: NUL-terminated key, value of the stated length or NULL.
        let key = unsafe { CStr::from_ptr(change.key) }.to_str().expect("keys are ASCII").to_owned();
        assert!(key.len() <= 512 && key.is_ascii(), "keys are short and ASCII");
        if change.value.is_null() {
            records.remove(&key);
        } else {
            // SAFETY: see above.
            let value = unsafe { std::slice::from_raw_parts(change.value, change.value_len) };
            assert!(value.len() <= 1 << 20, "values are at most 1 MiB");
            records.insert(key, value.to_vec());
        }
    }
    if fails { abi::ERR_STORAGE } else { abi::OK }
}

unsafe extern "C" fn destroy(user_data: *mut c_void) {
    // SAFETY: the pointer of Rc::into_raw in `open`, given back once.
    let inner = unsafe { Rc::from_raw(user_data.cast::<Inner>()) };
    inner.destroyed.set(inner.destroyed.get() + 1);
}
