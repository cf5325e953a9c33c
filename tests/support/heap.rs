//! An allocator that counts for each thread alone, so that tests may run beside each other.

#![allow(dead_code, reason = "not every test uses both figures")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

pub(crate) struct Counting;

fn grown(bytes: usize) {
    // A thread that ends may allocate after its counters are gone.
    let _ = TOTAL.try_with(|total| total.set(total.get().wrapping_add(bytes)));
    let _ = NOW.try_with(|now| {
        now.set(now.get().wrapping_add(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

fn shrunk(bytes: usize) {
    let _ = NOW.try_with(|now| now.set(now.get().saturating_sub(bytes)));
}

// SAFETY: everything is handed on to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`, and the memory came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment both may exist.
        grown(size);
        shrunk(layout.size());
        // SAFETY: the caller keeps the contract of `realloc`, and the memory came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `f`, and returns how many bytes more than before this thread's heap had at most.
pub(crate) fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = f();
    (result, PEAK.with(Cell::get) - before)
}

/// Runs `f`, and returns how many bytes this thread has allocated in it, given back or not.
pub(crate) fn allocated<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = TOTAL.with(Cell::get);
    let result = f();
    (result, TOTAL.with(Cell::get).wrapping_sub(before))
}
