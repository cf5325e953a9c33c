//! The storage of both faces: it counts, fails when a test says so, outlives the manager, and is copied byte by byte.
//! The Rust face takes it as a `Storage`, the C face as a storage of callbacks.

use super::super::abi;
use omemo::error::{Result, Status};
use omemo::manager::api::report::Row;
use omemo::storage::memory::MemoryStorage;
use omemo::storage::{Batch, Storage};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use zeroize::Zeroizing;

pub type Records = BTreeMap<String, Vec<u8>>;

/// What a commit that fails leaves in the store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Nothing,
    Everything,
}

#[derive(Default)]
pub struct FaultyStorage {
    pub records: Mutex<Records>,
    pub loads: AtomicUsize,
    pub commits: AtomicUsize,
    /// Bytes of all values committed.
    pub written: AtomicUsize,
    /// The number of the commit that fails, and how.
    pub fault: Mutex<Option<(usize, Fault)>>,
    /// The number of the load that fails.
    pub load_fault: Mutex<Option<usize>>,
    /// A failure stays until `heal`.
    pub keeps_failing: AtomicBool,
    /// What fails says that somebody else has the store open.
    pub locked: AtomicBool,
    /// No load succeeds.
    pub unreadable: AtomicBool,
    /// See `damage`.
    pub damaged: AtomicBool,
    /// How often the library said that it is done with it (C face).
    destroyed: AtomicUsize,
    /// What it loads from and commits to, instead of `records`, which are then what was committed.
    behind: OnceLock<Box<dyn Storage>>,
}

/// What the index and the keys of records call a JID: 16 bytes of its SHA-256 in hex.
pub fn hash_of(jid: &str) -> String {
    Sha256::digest(jid)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl FaultyStorage {
    /// Returns a storage with these records.
    pub fn of(records: Records) -> Arc<FaultyStorage> {
        Arc::new(FaultyStorage { records: Mutex::new(records), ..FaultyStorage::default() })
    }

    /// From now on everything goes to another storage, which is empty as this one.
    pub fn put_before(&self, behind: impl Storage + 'static) {
        assert!(self.behind.set(Box::new(behind)).is_ok() && self.size() == 0);
    }

    /// Another storage with the same records.
    pub fn copy(&self) -> Arc<FaultyStorage> {
        Self::of(self.all())
    }

    /// All records, to be compared or kept.
    pub fn all(&self) -> Records {
        self.records.lock().unwrap().clone()
    }

    /// Makes it hold exactly these records.
    pub fn put_back(&self, records: Records) {
        *self.records.lock().unwrap() = records;
    }

    /// All bytes of all values.
    pub fn size(&self) -> usize {
        self.records.lock().unwrap().values().map(Vec::len).sum()
    }

    pub fn commits(&self) -> usize {
        self.commits.load(SeqCst)
    }

    pub fn loads(&self) -> usize {
        self.loads.load(SeqCst)
    }

    pub fn destroyed(&self) -> usize {
        self.destroyed.load(SeqCst)
    }

    /// The `n`th commit from now on (1 is the next) fails.
    pub fn fail(&self, n: usize, fault: Fault) {
        *self.fault.lock().unwrap() = Some((self.commits() + n, fault));
    }

    /// The same; `written`: although everything was stored.
    pub fn fail_commit(&self, n: usize, written: bool) {
        self.fail(n, if written { Fault::Everything } else { Fault::Nothing });
    }

    /// The `n`th load from now on fails.
    pub fn fail_load(&self, n: usize) {
        *self.load_fault.lock().unwrap() = Some(self.loads() + n);
    }

    /// Whether a failure stays until `heal`, or is over after one call.
    pub fn keep_failing(&self, keep: bool) {
        self.keeps_failing.store(keep, SeqCst);
    }

    pub fn heal(&self) {
        *self.fault.lock().unwrap() = None;
        *self.load_fault.lock().unwrap() = None;
    }

    /// Whether the commit that was to fail did.
    pub fn has_failed(&self) -> bool {
        self.fault.lock().unwrap().is_none()
    }

    fn records_of(&self, kind: &str, jid: &str) -> Vec<String> {
        let (start, hash) = (format!("v1/{kind}/"), hash_of(jid));
        let records = self.records.lock().unwrap();
        records.keys().filter(|key| key.starts_with(&start) && key.contains(&hash)).cloned().collect()
    }

    /// Cuts all records of a kind and a JID in half; how many.
    pub fn truncate(&self, kind: &str, jid: &str) -> usize {
        self.damage();
        let keys = self.records_of(kind, jid);
        let mut records = self.records.lock().unwrap();
        for key in &keys {
            let value = records.get_mut(key).unwrap();
            value.truncate(value.len() / 2);
        }
        keys.len()
    }

    /// Puts a record in that the library has not written.
    pub fn plant(&self, key: &str, value: Vec<u8>) {
        self.damage();
        self.records.lock().unwrap().insert(key.to_owned(), value);
    }

    /// Says that the records are damaged, or over: nobody expects them to be healthy in the end.
    pub fn damage(&self) {
        self.damaged.store(true, SeqCst);
    }

    /// Removes all records of a kind; how many.
    pub fn remove_kind(&self, kind: &str) -> usize {
        self.damage();
        let start = format!("v1/{kind}/");
        let mut records = self.records.lock().unwrap();
        let before = records.len();
        records.retain(|key, _| !key.starts_with(&start));
        before - records.len()
    }

    /// What a check finds in a store with these records that can tell all its keys.
    pub fn findings(&self) -> Vec<Row> {
        let store = MemoryStorage::new();
        let mut batch = Batch::default();
        self.all().into_iter().for_each(|(key, value)| batch.put(key, value));
        store.commit(batch).unwrap();
        omemo::manager::check(&store).unwrap().rows
    }

    fn fails_to_load(&self) -> bool {
        let number = self.loads.fetch_add(1, SeqCst) + 1;
        let mut fault = self.load_fault.lock().unwrap();
        let fails = fault.is_some_and(|at| number >= at);
        if fails && !self.keeps_failing.load(SeqCst) {
            *fault = None;
        }
        fails || self.unreadable.load(SeqCst)
    }

    fn failure(&self) -> Status {
        if self.locked.load(SeqCst) { Status::StorageLocked } else { Status::Storage }
    }

    fn next_commit(&self) -> Option<Fault> {
        let number = self.commits.fetch_add(1, SeqCst) + 1;
        let mut fault = self.fault.lock().unwrap();
        let now = fault.filter(|(at, _)| number >= *at).map(|(_, fault)| fault);
        if now.is_some() && !self.keeps_failing.load(SeqCst) {
            *fault = None;
        }
        now
    }

    fn change(&self, key: &str, value: Option<&[u8]>) {
        assert!(key.len() <= 512 && key.is_ascii(), "keys are short and ASCII");
        let mut records = self.records.lock().unwrap();
        match value {
            None => records.remove(key),
            Some(value) => {
                assert!(value.len() <= 1 << 20, "values are at most 1 MiB");
                self.written.fetch_add(value.len(), SeqCst);
                records.insert(key.to_owned(), value.to_vec())
            }
        };
    }

    /// The library's handle of it; to be freed by `abi::omemo_storage_free`.
    pub fn open(self: &Arc<Self>) -> *mut abi::Opaque {
        let callbacks = abi::StorageCallbacks {
            struct_size: size_of::<abi::StorageCallbacks>(),
            load: Some(load),
            commit: Some(commit),
        };
        let mut storage = std::ptr::null_mut();
        let user_data = Arc::into_raw(Arc::clone(self)).cast_mut().cast();
        // SAFETY: the table and the out parameter live for the call; user_data is given back by `destroy`.
        let status =
            unsafe { abi::omemo_storage_callbacks_new(&callbacks, user_data, Some(destroy), &mut storage) };
        assert_eq!(status, abi::OK, "a storage of callbacks opens");
        storage
    }
}

impl Storage for FaultyStorage {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        if self.fails_to_load() {
            return Err(self.failure().into());
        }
        if let Some(behind) = self.behind.get() {
            return behind.load(key);
        }
        Ok(self.records.lock().unwrap().get(key).cloned().map(Zeroizing::new))
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        let fault = self.next_commit();
        if let Some(behind) = self.behind.get() {
            let mut same = Batch::default();
            for (key, value) in batch.changes() {
                match value {
                    Some(value) => same.put(key, value.to_vec()),
                    None => same.delete(key),
                }
            }
            behind.commit(same)?;
        }
        if fault != Some(Fault::Nothing) {
            for (key, value) in batch.changes() {
                self.change(key, value);
            }
        }
        if fault.is_some() { Err(self.failure().into()) } else { Ok(()) }
    }
}

unsafe extern "C" fn load(user_data: *mut c_void, key: *const c_char, value: *mut abi::Opaque) -> i32 {
    // SAFETY: user_data is the storage of `open`, alive until `destroy`.
    let storage = unsafe { &*user_data.cast::<FaultyStorage>() };
    if storage.fails_to_load() {
        return abi::ERR_STORAGE;
    }
    // SAFETY: the library gives NUL-terminated keys.
    let key = unsafe { CStr::from_ptr(key) }.to_str().expect("keys are ASCII");
    match storage.records.lock().unwrap().get(key) {
        None => abi::OK,
        // SAFETY: bytes and length of one vector; value is the library's, for this call.
        Some(bytes) => unsafe { abi::omemo_value_set(value, bytes.as_ptr(), bytes.len()) },
    }
}

unsafe extern "C" fn commit(user_data: *mut c_void, changes: *const abi::Change, count: usize) -> i32 {
    // SAFETY: as in load.
    let storage = unsafe { &*user_data.cast::<FaultyStorage>() };
    let fault = storage.next_commit();
    if fault == Some(Fault::Nothing) {
        return abi::ERR_STORAGE;
    }
    // SAFETY: the library gives `count` changes.
    let changes = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(changes, count) } };
    for change in changes {
        // SAFETY: NUL-terminated key.
        let key = unsafe { CStr::from_ptr(change.key) }.to_str().expect("keys are ASCII");
        // SAFETY: a value has the stated length, or is NULL.
        let value = (!change.value.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(change.value, change.value_len) });
        storage.change(key, value);
    }
    if fault.is_some() { abi::ERR_STORAGE } else { abi::OK }
}

unsafe extern "C" fn destroy(user_data: *mut c_void) {
    // SAFETY: the pointer of Arc::into_raw in `open`, given back once.
    let storage = unsafe { Arc::from_raw(user_data.cast::<FaultyStorage>()) };
    storage.destroyed.fetch_add(1, SeqCst);
}
