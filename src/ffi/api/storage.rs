//! Section 5 of the header: where everything is kept, and the store that calls the client's own functions.

use super::super::boundary::user_data::{UserData, omemo_destroy};
use super::super::boundary::{args, guard, handles, returns, sized_table};
use super::status::omemo_status;
use crate::error::{Error, Result, Status};
use crate::storage::memory::MemoryStorage;
use crate::storage::sealed::SealedStorage;
use crate::storage::sqlite::SqliteStorage;
use crate::storage::{Batch, Storage};
use parking_lot::Mutex;
use std::ffi::{CString, OsStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// Bytes of one value that a store may return.
const VALUE_BYTES: usize = 1024 * 1024;

/// Reference to a store, which holds everything that one account keeps: keys, sessions, device lists and trust.
///
/// Create it with omemo_storage_sqlite_open, or with omemo_storage_memory_new or omemo_storage_callbacks_new. Give it to
/// omemo_config_set_storage, and free your reference with omemo_storage_free. The store stays open as long as a
/// configuration, a manager or a sealed store uses it. A store belongs to one account, and one manager at a time may have it open.
pub struct omemo_storage {
    store: Arc<Store>,
    /// Why it could not be opened; empty if it is open.
    error: CString,
}

impl omemo_storage {
    pub(in crate::ffi) fn store(&self) -> Arc<Store> {
        self.store.clone()
    }
}

/// A store that could not be opened: whoever uses it learns why.
struct FailedStorage(Error);

impl Storage for FailedStorage {
    fn load(&self, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        Err(self.0.clone())
    }

    fn commit(&self, _: Batch) -> Result<()> {
        Err(self.0.clone())
    }
}

/// A store, and whether somebody has it open.
pub(in crate::ffi) struct Store {
    storage: Arc<dyn Storage>,
    /// The same, where it is a sealed one.
    sealed: Option<Arc<SealedStorage>>,
    open: AtomicBool,
}

impl Store {
    /// Returns the store as a sealed one, if it is that. It need not be open for its seal to be replaced.
    pub(super) fn sealed(&self) -> Option<&Arc<SealedStorage>> {
        self.sealed.as_ref()
    }

    /// Opens the store for one manager, one sealed store or one call. Dropping the result closes it.
    pub(in crate::ffi) fn open(self: &Arc<Self>) -> Result<Arc<dyn Storage>> {
        if self.open.swap(true, Ordering::SeqCst) {
            return Err(Status::StorageLocked.into());
        }
        Ok(Arc::new(OpenStore(self.clone())))
    }
}

struct OpenStore(Arc<Store>);

impl Storage for OpenStore {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.0.storage.load(key)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        self.0.storage.commit(batch)
    }

    fn keys(&self) -> Result<Option<Vec<String>>> {
        self.0.storage.keys()
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::SeqCst);
    }
}

/// Destination of the bytes that the load callback of a store has found. Lives until the callback returns; see
/// omemo_value_set.
pub struct omemo_value {
    bytes: Option<Result<Zeroizing<Vec<u8>>>>,
}

/// One change in a commit. This structure never changes its shape, because it is the element of an array.
#[repr(C)]
pub struct omemo_change {
    /// The key to be changed.
    pub key: *const c_char,
    /// The bytes to be stored under key; NULL: the key is to be deleted.
    pub value: *const u8,
    /// Number of bytes in value.
    pub value_len: usize,
}

/// Services of a store of your own, for omemo_storage_callbacks_new. The library never calls two of them at the
/// same time. Keys are ASCII, `[a-z0-9/]`, at most 200 bytes long; values have at most 1 MiB and contain secrets.
/// Both services return OMEMO_OK or one of OMEMO_ERR_STORAGE*; any other number counts as OMEMO_ERR_STORAGE.
/// docs/storage.md says what a store must guarantee.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct omemo_storage_callbacks {
    /// sizeof(omemo_storage_callbacks). Never smaller than in 0.1.0; members that a newer header adds must be 0 for
    /// an older library.
    pub struct_size: usize,
    /// Passes the value of key to omemo_value_set, once. If there is no such key, returns OMEMO_OK without that
    /// call. Required.
    pub load: Option<
        unsafe extern "C" fn(user_data: *mut c_void, key: *const c_char, value: *mut omemo_value) -> i32,
    >,
    /// Makes all count changes, in their order, or none of them; they are durable when it returns OMEMO_OK. After
    /// any other return value the library reads what it needs again. If the changes were made all the same, the content
    /// of a message that was being decrypted is lost unless OMEMO_OPTION_ACKNOWLEDGE is on. Required.
    pub commit: Option<
        unsafe extern "C" fn(user_data: *mut c_void, changes: *const omemo_change, count: usize) -> i32,
    >,
}

// SAFETY: made of a number and of optional functions, all of which may be zero.
unsafe impl sized_table::SizedTable for omemo_storage_callbacks {
    const LEAST: usize = size_of::<omemo_storage_callbacks>();
}

struct CallbackStorage {
    load: unsafe extern "C" fn(*mut c_void, *const c_char, *mut omemo_value) -> i32,
    commit: unsafe extern "C" fn(*mut c_void, *const omemo_change, usize) -> i32,
    /// Held while a callback runs.
    user_data: Mutex<UserData>,
}

/// Converts what a storage callback returned.
fn outcome(code: i32) -> Result<()> {
    match Status::from_number(code) {
        Some(Status::Ok) => Ok(()),
        Some(status) if Error::from(status).is_storage() => Err(status.into()),
        _ => Err(Status::Storage.into()),
    }
}

impl Storage for CallbackStorage {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let key = returns::c_string(key);
        let mut value = omemo_value { bytes: None };
        let user_data = self.user_data.lock();
        // SAFETY: the client's function; key and value live until it returns.
        let code =
            guard::service(|| unsafe { (self.load)(user_data.pointer(), key.as_ptr(), &raw mut value) });
        drop(user_data);
        outcome(code)?;
        value.bytes.transpose()
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        let keys: Vec<_> = batch.changes().map(|(key, _)| returns::c_string(key)).collect();
        let changes: Vec<_> = std::iter::zip(&keys, batch.changes())
            .map(|(key, (_, value))| omemo_change {
                key: key.as_ptr(),
                value: returns::give_bytes(value, None),
                value_len: value.map_or(0, <[u8]>::len),
            })
            .collect();
        let user_data = self.user_data.lock();
        // SAFETY: the client's function; the changes and what they point to live until it returns.
        let code =
            guard::service(|| unsafe { (self.commit)(user_data.pointer(), changes.as_ptr(), changes.len()) });
        drop(user_data);
        outcome(code)
    }
}

fn give_store(storage: impl Storage + 'static, out: &mut MaybeUninit<*mut omemo_storage>) {
    give(
        Store { storage: Arc::new(storage), sealed: None, open: AtomicBool::new(false) },
        CString::default(),
        out,
    );
}

pub(super) fn give_sealed_store(storage: SealedStorage, out: &mut MaybeUninit<*mut omemo_storage>) {
    let storage = Arc::new(storage);
    let store = Store { storage: storage.clone(), sealed: Some(storage), open: AtomicBool::new(false) };
    give(store, CString::default(), out);
}

fn give(store: Store, error: CString, out: &mut MaybeUninit<*mut omemo_storage>) {
    out.write(handles::into_handle(omemo_storage { store: Arc::new(store), error }));
}

/// Opens a store in an SQLite file, which is the default choice. If there is no such file, or an empty one, it is
/// created; its directory must exist. Only the user may read it (mode 0600), which is also made so of a file that others
/// may read. While the store is open, SQLite's log lies beside the file (-wal): never copy one without the other.
///
/// A commit is durable when it returns, so that a crash or a power cut loses nothing that was reported as done. Nobody
/// else can open the file meanwhile: neither this process nor another one, by whatever name of the file. A process that
/// crashed leaves no lock. A child process that was forked must not use the store. docs/storage.md says more.
///
/// Parameters:
/// - path: name of the file, as the system has it; need not be UTF-8. ":memory:" and "file:" have no special meaning.
/// - storage: receives the store. If the file could not be opened it receives a store too, as in SQLite, which
///   can do nothing but tell why: omemo_storage_error returns the reason, and omemo_manager_new with this store fails
///   with the same status and reason.
/// Returns: OMEMO_OK; OMEMO_ERR_STORAGE_LOCKED at once if the store is open elsewhere; OMEMO_ERR_STORAGE_VERSION for
///   the file of a newer library; OMEMO_ERR_STORAGE_CORRUPT for a file that is damaged or no store of this library;
///   these files are not changed. OMEMO_ERR_STORAGE if the file cannot be opened, created, read or written.
///   OMEMO_ERR_NULL, OMEMO_ERR_LIMIT (path) and OMEMO_ERR_BUSY inside a service: storage receives nothing.
/// Memory: free it with omemo_storage_free, also after a failure of the file; configurations and managers that use it
///   keep it open.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_storage_sqlite_open(
    path: *const c_char,
    storage: Option<&mut MaybeUninit<*mut omemo_storage>>,
) -> omemo_status {
    guard::outside_services(|| {
        let storage = args::required(storage)?;
        // SAFETY: the client gives a C string or NULL.
        let path = unsafe { args::c_bytes(path) }?;
        match SqliteStorage::open(Path::new(OsStr::from_bytes(path))) {
            Ok(opened) => {
                give_store(opened, storage);
                Ok(())
            }
            Err(error) => {
                let text = returns::c_string(&error.to_string());
                let failed = Arc::new(FailedStorage(error.clone()));
                give(Store { storage: failed, sealed: None, open: AtomicBool::new(false) }, text, storage);
                Err(error)
            }
        }
    })
}

/// Returns why a store could not be opened: a sentence with SQLite's own words, or those of the system. It holds no path.
/// Returns: "" if the store is open, and for NULL.
/// Memory: borrowed from storage until omemo_storage_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_storage_error(storage: Option<&omemo_storage>) -> *const c_char {
    guard::call(c"".as_ptr(), || storage.map_or(c"".as_ptr(), |storage| storage.error.as_ptr()))
}

/// Creates a store in memory, for tests and for clients that want to be a new device at each start.
/// Parameters:
/// - storage: receives the store.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_BUSY inside a service.
/// Memory: free it with omemo_storage_free; configurations and managers that use it keep it alive.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_storage_memory_new(
    storage: Option<&mut MaybeUninit<*mut omemo_storage>>,
) -> omemo_status {
    guard::outside_services(|| {
        give_store(MemoryStorage::new(), args::required(storage)?);
        Ok(())
    })
}

/// Creates a store that keeps its data through your callbacks.
/// Parameters:
/// - callbacks: the table, with struct_size set. It is copied.
/// - user_data: any pointer; passed to each callback.
/// - destroy: called with user_data when the store and the configurations and managers that use it are gone; may be
///   NULL. Does not run if this call fails.
/// - storage: receives the store.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL (also for a callback that is NULL), OMEMO_ERR_ARGUMENT (wrong struct_size),
///   OMEMO_ERR_BUSY inside a service.
/// Memory: free it with omemo_storage_free; configurations and managers that use it keep it alive.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_storage_callbacks_new(
    callbacks: *const omemo_storage_callbacks,
    user_data: *mut c_void,
    destroy: omemo_destroy,
    storage: Option<&mut MaybeUninit<*mut omemo_storage>>,
) -> omemo_status {
    guard::outside_services(|| {
        let storage = args::required(storage)?;
        // SAFETY: the client gives a table whose first member tells its size, or NULL.
        let table: omemo_storage_callbacks = unsafe { sized_table::read(callbacks) }?;
        let (load, commit) = (args::required(table.load)?, args::required(table.commit)?);
        let user_data = Mutex::new(UserData::new(user_data, destroy));
        give_store(CallbackStorage { load, commit, user_data }, storage);
        Ok(())
    })
}

/// Frees your reference to a store. The store is closed when the configurations, managers and sealed stores that use it
/// are gone, too.
/// Parameters:
/// - storage: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_storage_free(storage: *mut omemo_storage) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(storage) });
}

/// Passes stored bytes to the library, from inside the load callback of a store.
/// Parameters:
/// - value: the parameter of the callback.
/// - bytes: the stored bytes. Copied.
/// - len: number of bytes, at most 1 MiB.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_LIMIT (the load fails then), OMEMO_ERR_ARGUMENT (the second call).
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_value_set(
    value: Option<&mut omemo_value>,
    bytes: *const u8,
    len: usize,
) -> omemo_status {
    guard::status(|| {
        let place = &mut args::required(value)?.bytes;
        if place.is_some() {
            return Err(Error::new(Status::Argument, "omemo_value_set was called twice."));
        }
        // SAFETY: the client gives len bytes or NULL.
        let bytes = unsafe { args::bytes(bytes, len, VALUE_BYTES) };
        *place = Some(match &bytes {
            Ok(bytes) => Ok(Zeroizing::new(bytes.to_vec())),
            Err(_) => Err(Error::new(Status::Storage, "The store returned a value that no record can have.")),
        });
        bytes.map(drop)
    })
}

#[cfg(test)]
mod tests;
