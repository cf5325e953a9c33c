//! An allocator that remembers of each block whether it was asked for inside `counted`: what one device out of many holds,
//! whoever frees it. It counts for each thread alone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

pub(crate) struct Tagging;

/// The owner of a block stands in the eight bytes before it.
const OWNER: usize = 8;

fn add(bytes: isize) {
    // A thread that ends may free after its counter is gone.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

/// The layout with room for the owner in front, and how much that is.
fn with_owner(layout: Layout, size: usize) -> Option<(Layout, usize)> {
    let front = layout.align().max(OWNER);
    let whole = Layout::from_size_align(size.checked_add(front)?, front).ok()?;
    Some((whole, front))
}

// SAFETY: blocks come from the system's allocator, moved on by the same distance each time for a given alignment, which is
// a multiple of that alignment; counting allocates nothing.
unsafe impl GlobalAlloc for Tagging {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((whole, front)) = with_owner(layout, layout.size()) else { return std::ptr::null_mut() };
        // SAFETY: the size is greater than nothing.
        let block = unsafe { System.alloc(whole) };
        if block.is_null() {
            return block;
        }
        let counts = INSIDE.try_with(Cell::get).unwrap_or(false);
        // SAFETY: `front` bytes lie before what is given out, at least eight, aligned to eight.
        let given = unsafe {
            let given = block.add(front);
            given.sub(OWNER).cast::<u64>().write(counts.into());
            given
        };
        if counts {
            add(layout.size().cast_signed());
        }
        given
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some((whole, front)) = with_owner(layout, layout.size()) else { return };
        // SAFETY: `alloc` or `realloc` gave it out with this layout, and wrote the owner.
        unsafe {
            if pointer.sub(OWNER).cast::<u64>().read() == 1 {
                add(-layout.size().cast_signed());
            }
            System.dealloc(pointer.sub(front), whole);
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some((before, front)) = with_owner(layout, layout.size()) else { return std::ptr::null_mut() };
        let Some((after, _)) = with_owner(layout, size) else { return std::ptr::null_mut() };
        // SAFETY: as in dealloc; what stands in front is copied with the rest.
        unsafe {
            let block = System.realloc(pointer.sub(front), before, after.size());
            if block.is_null() {
                return block;
            }
            let given = block.add(front);
            // Whoever began a block owns it, whoever makes it longer.
            if given.sub(OWNER).cast::<u64>().read() == 1 {
                add(size.cast_signed() - layout.size().cast_signed());
            }
            given
        }
    }
}

fn switched<T>(inside: bool, f: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            INSIDE.with(|now| now.set(self.0));
        }
    }
    let _back = Back(INSIDE.with(|now| now.replace(inside)));
    f()
}

/// Runs `f`; what it allocates counts until it is freed.
pub(crate) fn counted<T>(f: impl FnOnce() -> T) -> T {
    switched(true, f)
}

/// Returns how many bytes are live of what this thread allocated inside `counted`.
pub(crate) fn live() -> isize {
    LIVE.with(Cell::get)
}
