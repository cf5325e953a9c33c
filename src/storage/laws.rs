//! What every store must keep, whatever it is made of. Each kind of store is held against these laws by a test beside it.

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)] // a test may panic

use super::{Batch, Storage};

/// The longest key and the largest value that the contract allows.
const KEY_BYTES: usize = 200;
const VALUE_BYTES: usize = 1024 * 1024;

/// Reads a value as bytes that can be compared.
fn value(store: &dyn Storage, key: &str) -> Option<Vec<u8>> {
    store.load(key).unwrap().map(|value| value.to_vec())
}

fn put(store: &dyn Storage, key: &str, value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(key, value.to_vec());
    store.commit(batch).unwrap();
}

/// All laws. `store` is empty.
pub(crate) fn hold(store: &dyn Storage) {
    what_is_not_there_is_nothing(store);
    the_last_value_counts(store);
    a_batch_is_one_change(store);
    sizes_have_no_effect(store);
    keys_are_compared_whole(store);
    many_records_stay_apart(store);
}

fn what_is_not_there_is_nothing(store: &dyn Storage) {
    assert_eq!(value(store, "v1/account"), None);
    store.commit(Batch::default()).unwrap();
    let mut batch = Batch::default();
    batch.delete("v1/never/there");
    store.commit(batch).unwrap();
    assert_eq!(value(store, "v1/never/there"), None);
}

fn the_last_value_counts(store: &dyn Storage) {
    put(store, "v1/a", b"one");
    put(store, "v1/a", b"two");
    assert_eq!(value(store, "v1/a").unwrap(), b"two");
    let mut batch = Batch::default();
    batch.put("v1/a", b"three".to_vec());
    batch.delete("v1/a");
    batch.put("v1/b", b"four".to_vec());
    store.commit(batch).unwrap();
    assert_eq!(value(store, "v1/a"), None);
    assert_eq!(value(store, "v1/b").unwrap(), b"four");
}

fn a_batch_is_one_change(store: &dyn Storage) {
    put(store, "v1/old", b"old");
    let mut batch = Batch::default();
    batch.delete("v1/old");
    for i in 0..100_u8 {
        batch.put(format!("v1/many/{i}"), vec![i; usize::from(i)]);
    }
    store.commit(batch).unwrap();
    assert_eq!(value(store, "v1/old"), None);
    assert!((0..100_u8).all(|i| value(store, &format!("v1/many/{i}")).unwrap() == vec![i; usize::from(i)]));
}

/// A value of no bytes is a value. Bytes come back as they were, zeros included.
fn sizes_have_no_effect(store: &dyn Storage) {
    for size in [0, 1, 200, 1_000, 4_096, 70_000, VALUE_BYTES] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        put(store, "v1/size", &bytes);
        assert!(value(store, "v1/size").unwrap() == bytes, "{size} bytes");
    }
    let longest = "k".repeat(KEY_BYTES);
    put(store, &longest, b"longest");
    assert_eq!(value(store, &longest).unwrap(), b"longest");
}

fn keys_are_compared_whole(store: &dyn Storage) {
    put(store, "v1/key", b"short");
    put(store, "v1/key/", b"long");
    assert_eq!(value(store, "v1/key").unwrap(), b"short");
    assert_eq!(value(store, "v1/ke"), None);
    assert_eq!(value(store, "v1/key%"), None);
}

fn many_records_stay_apart(store: &dyn Storage) {
    let content = |i: u32| vec![(i % 256) as u8; (i % 700) as usize];
    let name = |i: u32| format!("v1/apart/{i}");
    for start in (0..2_000_u32).step_by(50) {
        let mut batch = Batch::default();
        (start..start + 50).for_each(|i| batch.put(name(i), content(i)));
        // Of the fifty before, every seventh goes.
        (start.saturating_sub(50)..start).filter(|i| i % 7 == 0).for_each(|i| batch.delete(name(i)));
        store.commit(batch).unwrap();
    }
    for i in 0..2_000 {
        let expected = (i % 7 != 0 || i >= 1_950).then(|| content(i));
        assert_eq!(value(store, &name(i)), expected, "{i}");
    }
}
