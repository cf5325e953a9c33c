//! SQLite's own memory, wiped when it is given back: pages and values that it has read hold secrets.
//!
//! Only in the build that brings its own SQLite: the system's is shared with the rest of the program, whose memory is
//! not for this library to manage. The one place outside of `ffi` with `unsafe`: the allocator that SQLite is given, and
//! the two functions of it that differ from SQLite's default.
#![allow(unsafe_code)]

use rusqlite::ffi;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::{Once, OnceLock};
use zeroize::Zeroize;

/// What is used of SQLite's default allocator.
struct DefaultAllocator {
    malloc: unsafe extern "C" fn(c_int) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    size: unsafe extern "C" fn(*mut c_void) -> c_int,
}

static DEFAULT: OnceLock<DefaultAllocator> = OnceLock::new();

/// Has SQLite wipe each block before it frees it. What comes first counts: if something else in this process has begun to
/// use this copy of SQLite (a Rust program with `rusqlite` in it), SQLite refuses, and nothing changes.
pub(super) fn wipe_what_is_freed() {
    static FIRST: Once = Once::new();
    // SAFETY: `sqlite3_config` wants to be called by one thread before SQLite is initialised, and refuses later calls by
    // itself. `Once` lets one thread of this library in, and each use of SQLite here comes after. The arguments have the
    // types that SQLite's manual names for each option: a pointer to a table, which it fills or copies; two ints. A table
    // of zeros is one without functions. The functions that it is given live as long as this copy of SQLite, which is
    // linked into the same library (build.rs lets no other one be taken); those that are not replaced are SQLite's own.
    FIRST.call_once(|| unsafe {
        let mut table = std::mem::zeroed::<ffi::sqlite3_mem_methods>();
        if ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut table) != ffi::SQLITE_OK {
            return;
        }
        let (Some(malloc), Some(free), Some(size)) = (table.xMalloc, table.xFree, table.xSize) else {
            return;
        };
        let _ = DEFAULT.set(DefaultAllocator { malloc, free, size });
        table.xFree = Some(free_wiped);
        table.xRealloc = Some(move_wiped);
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const table);
        // Small pieces would otherwise come from blocks that live as long as a connection, and be used again unwiped.
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_LOOKASIDE, 0 as c_int, 0 as c_int);
    });
}

/// Frees a block of SQLite's default allocator, wiped.
unsafe extern "C" fn free_wiped(block: *mut c_void) {
    let Some(default) = DEFAULT.get().filter(|_| !block.is_null()) else { return };
    // SAFETY: SQLite gives a block that `xMalloc` or `xRealloc` of its table returned and that was not freed; it is not
    // NULL. Both return blocks of the default allocator, whose `size` says how many bytes are writable. Nobody else has a
    // reference to a block that is being freed.
    unsafe {
        let len = usize::try_from((default.size)(block)).unwrap_or(0);
        std::slice::from_raw_parts_mut(block.cast::<MaybeUninit<u8>>(), len).zeroize();
        (default.free)(block);
    }
}

/// Moves a block to one of another size, and wipes the old one: the default allocator would move without wiping.
unsafe extern "C" fn move_wiped(block: *mut c_void, len: c_int) -> *mut c_void {
    let Some(default) = DEFAULT.get() else { return std::ptr::null_mut() };
    // SAFETY: as above. The new block has at least `len` bytes and does not overlap the old one; no more bytes are copied
    // than either has. When there is no memory the old block stays as it is, which SQLite expects.
    unsafe {
        let moved = (default.malloc)(len);
        if !moved.is_null() && !block.is_null() {
            let common = usize::try_from((default.size)(block).min(len)).unwrap_or(0);
            std::ptr::copy_nonoverlapping(block.cast::<u8>(), moved.cast::<u8>(), common);
            free_wiped(block);
        }
        moved
    }
}
