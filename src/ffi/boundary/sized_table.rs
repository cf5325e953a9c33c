//! Tables of callbacks whose first member is their size, so that old headers work with new libraries and the reverse.
//!
//! A table that is smaller than ours comes from an older header: what it lacks is NULL. One that is larger comes from a
//! newer header: it is taken if everything that we do not know is NULL, so that no request gets lost.

use crate::error::{Error, Result, Status};
use std::mem::MaybeUninit;

/// No table will ever have this many bytes: more is a mistake, and is not read.
const MOST: usize = 1024;

/// A table of callbacks.
///
/// # Safety
/// The type is `repr(C)`, begins with `struct_size: usize`, and may consist of zero bytes.
pub(in crate::ffi) unsafe trait SizedTable: Copy {
    /// Bytes that the oldest header has.
    const LEAST: usize;
}

/// Copies a table.
///
/// # Safety
/// `table` is NULL or points to a `usize` n, and to n bytes unless n is less than `LEAST` or beyond all
/// reason.
pub(in crate::ffi) unsafe fn read<T: SizedTable>(table: *const T) -> Result<T> {
    if table.is_null() {
        return Err(Status::Null.into());
    }
    let bytes = table.cast::<u8>();
    // SAFETY: the caller promises a size at the beginning.
    let size = unsafe { bytes.cast::<usize>().read_unaligned() };
    if !(T::LEAST..=MOST).contains(&size) {
        return Err(Error::new(
            Status::Argument,
            "struct_size of the table is wrong: set it to sizeof of its type.",
        ));
    }
    let known = size.min(size_of::<T>());
    // SAFETY: the caller promises `size` readable bytes.
    let unknown =
        unsafe { std::slice::from_raw_parts(bytes.wrapping_add(known), size.saturating_sub(known)) };
    if unknown.iter().any(|byte| *byte != 0) {
        return Err(Error::new(
            Status::Argument,
            "The table contains a callback that this version does not know.",
        ));
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` bytes can be read there, and fit here; `SizedTable` promises that zeros are fine for the rest.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes, copy.as_mut_ptr().cast::<u8>(), known);
        Ok(copy.assume_init())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Small {
        struct_size: usize,
        first: usize,
    }

    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Large {
        struct_size: usize,
        first: usize,
        second: usize,
    }

    // SAFETY: numbers may be zero.
    unsafe impl SizedTable for Small {
        const LEAST: usize = size_of::<Small>();
    }

    // SAFETY: numbers may be zero.
    unsafe impl SizedTable for Large {
        const LEAST: usize = size_of::<Small>();
    }

    #[test]
    fn what_an_older_header_lacks_is_zero() {
        let old = Small { struct_size: size_of::<Small>(), first: 7 };
        // SAFETY: the table has the size that it says.
        let read: Large = unsafe { read((&raw const old).cast()) }.expect("an older table");
        assert_eq!((read.first, read.second), (7, 0));
    }

    #[test]
    fn what_a_newer_header_adds_must_be_zero() {
        let mut new = Large { struct_size: size_of::<Large>(), first: 7, second: 0 };
        // SAFETY: the table has the size that it says.
        assert!(unsafe { read::<Small>((&raw const new).cast()) }.is_ok());
        new.second = 1;
        // SAFETY: as above.
        assert!(unsafe { read::<Small>((&raw const new).cast()) }.is_err());
    }

    #[test]
    fn sizes_beyond_reason_are_refused() {
        for size in [0, size_of::<Small>() - 1, MOST + 1, usize::MAX] {
            let table = Small { struct_size: size, first: 7 };
            // SAFETY: a size out of bounds is not believed.
            assert!(unsafe { read(&raw const table) }.is_err());
        }
    }
}
