//! A file system between SQLite and the real one: it fails calls when a test says so, and writes down what a power cut could
//! undo. It is the default one of SQLite in this process, so that the store under test is opened as always.
//!
//! What is planned and what is written down belongs to the thread: SQLite works on the thread that calls it.

#![allow(unsafe_code)] // C calls these functions

use rusqlite::ffi;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::Once;

/// What fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    /// Half of the bytes arrive, then the disk fails.
    ShortRead,
    Write,
    /// There is no room.
    Full,
    /// Half of the bytes are written, then there is no room.
    ShortWrite,
    Sync,
    Truncate,
    Size,
    Lock,
    Busy,
    Open,
    Delete,
}

impl Kind {
    pub const ALL: [Kind; 12] = [
        Kind::Read,
        Kind::ShortRead,
        Kind::Write,
        Kind::Full,
        Kind::ShortWrite,
        Kind::Sync,
        Kind::Truncate,
        Kind::Size,
        Kind::Lock,
        Kind::Busy,
        Kind::Open,
        Kind::Delete,
    ];

    fn call(self) -> Call {
        match self {
            Kind::Read | Kind::ShortRead => Call::Read,
            Kind::Write | Kind::Full | Kind::ShortWrite => Call::Write,
            Kind::Sync => Call::Sync,
            Kind::Truncate => Call::Truncate,
            Kind::Size => Call::Size,
            Kind::Lock | Kind::Busy => Call::Lock,
            Kind::Open => Call::Open,
            Kind::Delete => Call::Delete,
        }
    }

    fn code(self) -> c_int {
        match self {
            Kind::Read | Kind::ShortRead => ffi::SQLITE_IOERR_READ,
            Kind::Write => ffi::SQLITE_IOERR_WRITE,
            Kind::Full | Kind::ShortWrite => ffi::SQLITE_FULL,
            Kind::Sync => ffi::SQLITE_IOERR_FSYNC,
            Kind::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
            Kind::Size => ffi::SQLITE_IOERR_FSTAT,
            Kind::Lock => ffi::SQLITE_IOERR_LOCK,
            Kind::Busy => ffi::SQLITE_BUSY,
            Kind::Open => ffi::SQLITE_CANTOPEN,
            Kind::Delete => ffi::SQLITE_IOERR_DELETE,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Sync,
    Truncate,
    Size,
    Lock,
    Open,
    Delete,
}

/// Which call fails: the `at`th of its kind, 1 is the next one; and whether all later ones do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub kind: Kind,
    pub at: usize,
    pub stays: bool,
}

/// What happened to the files, in order.
#[derive(Clone, Debug)]
pub enum Event {
    Write { file: PathBuf, at: u64, bytes: Vec<u8> },
    Truncate { file: PathBuf, len: u64 },
    Sync { file: PathBuf },
    Delete { file: PathBuf, durable: bool },
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    counts: [usize; 8],
    has_failed: bool,
    events: Option<Vec<Event>>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Whether the call that was planned has failed.
pub fn has_failed() -> bool {
    STATE.with_borrow(|state| state.has_failed)
}

/// From now on, in this thread. The counts begin anew.
pub fn plan(plan: Option<Plan>) {
    STATE.with_borrow_mut(|state| *state = State { plan, events: state.events.take(), ..State::default() });
}

/// Nothing fails any more; whether something did.
pub fn heal() -> bool {
    STATE.with_borrow_mut(|state| {
        state.plan = None;
        state.has_failed
    })
}

/// How many calls of this kind there were since `plan`.
pub fn count(kind: Kind) -> usize {
    STATE.with_borrow(|state| state.counts[kind.call() as usize])
}

/// Begins to write down what happens in this thread.
pub fn record() {
    STATE.with_borrow_mut(|state| state.events = Some(Vec::new()));
}

/// How much was written down.
pub fn recorded() -> usize {
    STATE.with_borrow(|state| state.events.as_ref().map_or(0, Vec::len))
}

/// What was written down; ends it.
pub fn events() -> Vec<Event> {
    STATE.with_borrow_mut(|state| state.events.take().unwrap_or_default())
}

fn note(event: impl FnOnce() -> Event) {
    STATE.with_borrow_mut(|state| {
        if let Some(events) = &mut state.events {
            events.push(event());
        }
    });
}

/// Counts a call; the kind of failure, if it is to fail.
fn failing(call: Call) -> Option<Kind> {
    STATE.with_borrow_mut(|state| {
        state.counts[call as usize] += 1;
        let number = state.counts[call as usize];
        let plan = state.plan.filter(|plan| plan.kind.call() == call)?;
        let fails = number == plan.at || (plan.stays && number > plan.at);
        state.has_failed |= fails;
        fails.then_some(plan.kind)
    })
}

/// Makes this file system the default one, once; `before` is done before SQLite is in use.
pub fn install_after(before: impl FnOnce()) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        before();
        // SAFETY: SQLite is initialised; the tables that are leaked live as long as the process. A copy of a VFS works with
        // its functions, which know the original by `pAppData`, and `xOpen` and `xDelete` are given the original.
        unsafe {
            let real = ffi::sqlite3_vfs_find(null_mut());
            assert!(!real.is_null());
            let mut shim = std::ptr::read(real);
            shim.zName = c"crash".as_ptr();
            shim.szOsFile = (*real).szOsFile + c_int::try_from(size_of::<File>()).unwrap();
            shim.pNext = null_mut();
            shim.xOpen = Some(open);
            shim.xDelete = Some(delete);
            REAL.store(real, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(ffi::sqlite3_vfs_register(Box::into_raw(Box::new(shim)), 1), ffi::SQLITE_OK);
        }
    });
}

static REAL: std::sync::atomic::AtomicPtr<ffi::sqlite3_vfs> = std::sync::atomic::AtomicPtr::new(null_mut());

fn real() -> *mut ffi::sqlite3_vfs {
    REAL.load(std::sync::atomic::Ordering::SeqCst)
}

/// An open file: what SQLite sees, and behind it in memory what the real file system has.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    path: *mut PathBuf,
}

/// Without shared memory and mapped files: the store must not need them.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// The real file behind one of ours, and its functions.
///
/// # Safety
/// `file` must be one that `open` filled.
unsafe fn behind(file: *mut ffi::sqlite3_file) -> (*mut ffi::sqlite3_file, &'static ffi::sqlite3_io_methods) {
    // SAFETY: SQLite gave room for both, and `open` has filled the second.
    unsafe {
        let real = file.cast::<File>().add(1).cast::<ffi::sqlite3_file>();
        (real, &*(*real).pMethods)
    }
}

/// # Safety
/// As for `behind`.
unsafe fn path_of(file: *mut ffi::sqlite3_file) -> PathBuf {
    // SAFETY: `open` has put it there, and `close` has not taken it away.
    unsafe { (*(*file.cast::<File>()).path).clone() }
}

unsafe fn path(name: *const c_char) -> PathBuf {
    if name.is_null() {
        return PathBuf::new();
    }
    // SAFETY: SQLite gives a C string.
    PathBuf::from(unsafe { CStr::from_ptr(name) }.to_str().unwrap())
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives room for `szOsFile` bytes. No methods: nothing to close.
    unsafe {
        (*file).pMethods = std::ptr::null();
        if let Some(kind) = failing(Call::Open) {
            return kind.code();
        }
        let behind = file.cast::<File>().add(1).cast::<ffi::sqlite3_file>();
        let code = (*real()).xOpen.unwrap()(real(), name, behind, flags, out);
        if code == ffi::SQLITE_OK {
            (*file.cast::<File>()).path = Box::into_raw(Box::new(path(name)));
            (*file).pMethods = &raw const METHODS;
        }
        code
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    if let Some(kind) = failing(Call::Delete) {
        return kind.code();
    }
    // SAFETY: what SQLite gives, passed on.
    unsafe {
        let code = (*real()).xDelete.unwrap()(real(), name, sync);
        if code == ffi::SQLITE_OK {
            note(|| Event::Delete { file: path(name), durable: sync != 0 });
        }
        code
    }
}

// SAFETY, of all that follow: SQLite gives a file that `open` filled, and arguments as the real functions expect them.

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: see above; the path is taken away once.
    unsafe {
        let (real, methods) = behind(file);
        drop(Box::from_raw((*file.cast::<File>()).path));
        methods.xClose.unwrap()(real)
    }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, out: *mut c_void, len: c_int, at: i64) -> c_int {
    let kind = failing(Call::Read);
    // SAFETY: see above; half of the room is room.
    unsafe {
        let (real, methods) = behind(file);
        match kind {
            Some(kind) => {
                if kind == Kind::ShortRead {
                    methods.xRead.unwrap()(real, out, len / 2, at);
                }
                kind.code()
            }
            None => methods.xRead.unwrap()(real, out, len, at),
        }
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, len: c_int, at: i64) -> c_int {
    let kind = failing(Call::Write);
    // SAFETY: see above.
    unsafe {
        let (real, methods) = behind(file);
        let len = match kind {
            Some(Kind::ShortWrite) => len / 2,
            Some(kind) => return kind.code(),
            None => len,
        };
        let code = methods.xWrite.unwrap()(real, bytes, len, at);
        if code == ffi::SQLITE_OK {
            let bytes =
                std::slice::from_raw_parts(bytes.cast::<u8>(), usize::try_from(len).unwrap()).to_vec();
            note(|| Event::Write { file: path_of(file), at: u64::try_from(at).unwrap(), bytes });
        }
        kind.map_or(code, Kind::code)
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    if let Some(kind) = failing(Call::Truncate) {
        return kind.code();
    }
    // SAFETY: see above.
    unsafe {
        let (real, methods) = behind(file);
        note(|| Event::Truncate { file: path_of(file), len: u64::try_from(len).unwrap() });
        methods.xTruncate.unwrap()(real, len)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    if let Some(kind) = failing(Call::Sync) {
        return kind.code();
    }
    // SAFETY: see above.
    unsafe {
        let (real, methods) = behind(file);
        note(|| Event::Sync { file: path_of(file) });
        methods.xSync.unwrap()(real, flags)
    }
}

unsafe extern "C" fn size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    if let Some(kind) = failing(Call::Size) {
        return kind.code();
    }
    // SAFETY: see above.
    unsafe {
        let (real, methods) = behind(file);
        methods.xFileSize.unwrap()(real, out)
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    if let Some(kind) = failing(Call::Lock) {
        return kind.code();
    }
    // SAFETY: see above.
    unsafe {
        let (real, methods) = behind(file);
        methods.xLock.unwrap()(real, level)
    }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: see above.
    unsafe {
        let (real, methods) = behind(file);
        methods.xUnlock.unwrap()(real, level)
    }
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: see above.
    unsafe {
        let (real, methods) = behind(file);
        methods.xCheckReservedLock.unwrap()(real, out)
    }
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, op: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: see above.
    unsafe {
        let (real, methods) = behind(file);
        methods.xFileControl.unwrap()(real, op, argument)
    }
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    512
}

/// Promises nothing: writes are neither atomic nor in order.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    0
}
