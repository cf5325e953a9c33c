//! A store of callbacks, held against the laws of every store.

#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::*;
use crate::storage::laws;
use std::ffi::CStr;

/// What a client would write: the callbacks of a store in memory.
unsafe extern "C" fn load(user_data: *mut c_void, key: *const c_char, value: *mut omemo_value) -> i32 {
    // SAFETY: the store outlives the callbacks, and the library gives a C string and its own object.
    let (store, key) = unsafe { (&*user_data.cast::<MemoryStorage>(), CStr::from_ptr(key)) };
    match store.load(key.to_str().unwrap()).unwrap() {
        // SAFETY: the same.
        Some(bytes) => unsafe { omemo_value_set(value.as_mut(), bytes.as_ptr(), bytes.len()) as i32 },
        None => 0,
    }
}

unsafe extern "C" fn commit(user_data: *mut c_void, changes: *const omemo_change, count: usize) -> i32 {
    // SAFETY: the store outlives the callbacks.
    let store = unsafe { &*user_data.cast::<MemoryStorage>() };
    let mut batch = Batch::default();
    for i in 0..count {
        // SAFETY: the library gives `count` changes, whose keys are C strings and whose values have the length beside.
        unsafe {
            let change = &*changes.add(i);
            let key = CStr::from_ptr(change.key).to_str().unwrap();
            match change.value.is_null() {
                true => batch.delete(key),
                false => {
                    batch.put(key, std::slice::from_raw_parts(change.value, change.value_len).to_vec());
                }
            }
        }
    }
    store.commit(batch).unwrap();
    0
}

#[test]
fn a_store_of_callbacks_keeps_the_laws() {
    let mut memory = MemoryStorage::new();
    let user_data = Mutex::new(UserData::new((&raw mut memory).cast(), None));
    laws::hold(&CallbackStorage { load, commit, user_data });
}
