//! SQLite's own memory, wiped when it is given back: pages and values that it has read hold secrets.
//!
//! Only in the build that brings its own SQLite: the system's is shared with the rest of the program, whose memory is
//! not for this library to manage. The one place outside of `ffi` with `unsafe`.

/// Has SQLite wipe each block before it frees it. What comes first counts: if something else in this process has begun to
/// use this copy of SQLite (a Rust program with `rusqlite` in it), SQLite refuses, and nothing changes.
#[cfg(feature = "bundled-sqlite")]
#[allow(unsafe_code)]
pub(super) fn wipe_what_is_freed() {
    use rusqlite::ffi;
    use std::ffi::{c_int, c_void};
    use std::sync::{Once, OnceLock};
    use zeroize::Zeroize;

    struct Default {
        malloc: unsafe extern "C" fn(c_int) -> *mut c_void,
        free: unsafe extern "C" fn(*mut c_void),
        size: unsafe extern "C" fn(*mut c_void) -> c_int,
    }
    static DEFAULT: OnceLock<Default> = OnceLock::new();
    static FIRST: Once = Once::new();

    /// Frees a block of SQLite's default allocator, wiped.
    unsafe extern "C" fn free(block: *mut c_void) {
        let Some(default) = DEFAULT.get().filter(|_| !block.is_null()) else { return };
        // SAFETY: SQLite gives a block that `malloc` or `realloc` of this table returned, and that is in use; it is not
        // NULL. Both return blocks of the default allocator, whose `size` says how many bytes are writable. Nobody else
        // has a reference to a block that is being freed.
        unsafe {
            let len = usize::try_from((default.size)(block)).unwrap_or(0);
            std::slice::from_raw_parts_mut(block.cast::<std::mem::MaybeUninit<u8>>(), len).zeroize();
            (default.free)(block);
        }
    }

    /// Moves a block to one of another size; the old one is wiped. The default allocator would move without wiping.
    unsafe extern "C" fn realloc(block: *mut c_void, len: c_int) -> *mut c_void {
        let Some(default) = DEFAULT.get() else { return std::ptr::null_mut() };
        // SAFETY: as above; the new block has at least `len` bytes, does not overlap the old one, and no more bytes are
        // copied than either has. When there is no memory the old block stays as it is, as SQLite expects.
        unsafe {
            let moved = (default.malloc)(len);
            if !moved.is_null() && !block.is_null() {
                let common = (default.size)(block).min(len);
                let common = usize::try_from(common).unwrap_or(0);
                std::ptr::copy_nonoverlapping(block.cast::<u8>(), moved.cast::<u8>(), common);
                free(block);
            }
            moved
        }
    }

    // SAFETY: `sqlite3_config` wants to be called by one thread before SQLite is initialised, and refuses later calls by
    // itself. `Once` lets one thread of this library in, and each use of SQLite here comes after. The arguments have the
    // types that SQLite's manual names for each option: a pointer to a table, which it fills or copies; two ints. The
    // functions of the table live as long as the process; those that are not replaced are SQLite's own.
    FIRST.call_once(|| unsafe {
        let mut table = std::mem::zeroed::<ffi::sqlite3_mem_methods>();
        if ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut table) != ffi::SQLITE_OK {
            return;
        }
        let (Some(malloc), Some(default_free), Some(size)) = (table.xMalloc, table.xFree, table.xSize) else {
            return;
        };
        let _ = DEFAULT.set(Default { malloc, free: default_free, size });
        table.xFree = Some(free);
        table.xRealloc = Some(realloc);
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const table);
        // Small pieces would otherwise come from blocks that live as long as a connection, and be used again unwiped.
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_LOOKASIDE, 0 as c_int, 0 as c_int);
    });
}

/// The system's SQLite keeps its own allocator.
#[cfg(not(feature = "bundled-sqlite"))]
pub(super) fn wipe_what_is_freed() {}
