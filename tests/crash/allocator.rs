//! SQLite's memory, of which a test can let any piece be missing: counted for each thread.

#![allow(unsafe_code)] // C calls these functions

use rusqlite::ffi;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;

struct Real {
    malloc: unsafe extern "C" fn(c_int) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
}

static REAL: OnceLock<Real> = OnceLock::new();

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// The number of the piece that is missing, and whether all later ones are.
    static MISSING: Cell<Option<(usize, bool)>> = const { Cell::new(None) };
}

/// Counts from 0 again; the `at`th piece from now on (1 is the next) is missing.
pub fn plan(missing: Option<(usize, bool)>) {
    COUNT.set(0);
    MISSING.set(missing);
}

/// How many pieces were wanted since `plan`.
pub fn count() -> usize {
    COUNT.get()
}

fn is_missing() -> bool {
    COUNT.set(COUNT.get() + 1);
    MISSING.get().is_some_and(|(at, stays)| COUNT.get() == at || (stays && COUNT.get() > at))
}

unsafe extern "C" fn malloc(len: c_int) -> *mut c_void {
    match REAL.get() {
        // SAFETY: the arguments that SQLite gives.
        Some(real) if !is_missing() => unsafe { (real.malloc)(len) },
        _ => null_mut(),
    }
}

unsafe extern "C" fn realloc(block: *mut c_void, len: c_int) -> *mut c_void {
    match REAL.get() {
        // SAFETY: the arguments that SQLite gives.
        Some(real) if !is_missing() => unsafe { (real.realloc)(block, len) },
        _ => null_mut(),
    }
}

/// Before SQLite is used. The store under test puts its own functions before these.
pub fn install() {
    // SAFETY: SQLite is not initialised yet; it fills the table, and copies it.
    unsafe {
        let mut table = std::mem::zeroed::<ffi::sqlite3_mem_methods>();
        assert_eq!(ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut table), ffi::SQLITE_OK);
        let _ = REAL.set(Real { malloc: table.xMalloc.unwrap(), realloc: table.xRealloc.unwrap() });
        (table.xMalloc, table.xRealloc) = (Some(malloc as _), Some(realloc as _));
        assert_eq!(ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const table), ffi::SQLITE_OK);
    }
}
