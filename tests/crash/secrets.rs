//! A key that was used up is nowhere any more: not in the file, not in the log, not in memory that was given back.

use super::stage::{Room, amount, child, seeded, told};
use omemo::storage::{Batch, Storage};
use rand::{Rng as _, RngExt as _};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::FileExt as _;

const KEY: usize = 32;

/// Which of these keys lie in the bytes, with either half.
fn found_in(bytes: &[u8], keys: &[[u8; KEY]]) -> BTreeSet<usize> {
    // Each half by its first eight bytes, which no two of them share.
    let halves: HashMap<[u8; 8], (usize, &[u8])> = (0..)
        .zip(keys)
        .flat_map(|(number, key)| {
            key.chunks(KEY / 2).map(move |half| (half[..8].try_into().unwrap(), (number, half)))
        })
        .collect();
    (0..bytes.len().saturating_sub(KEY / 2 - 1))
        .filter_map(|at| {
            let start: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
            let (number, half) = halves.get(&start)?;
            bytes[at..].starts_with(half).then_some(*number)
        })
        .collect()
}

/// Records with keys in them come, are replaced by shorter and longer ones, and go. Keys that are in no record any more must
/// be gone from the disk once the log is written back; those that are in one must be found, or the search proves nothing.
#[test]
fn used_keys_are_neither_in_the_file_nor_in_the_log() {
    for seed in 0..amount(3, 30) as u64 {
        let room = Room::new();
        let mut random = seeded(seed);
        let mut living: Vec<Option<[u8; KEY]>> = vec![None; 40];
        let mut used: Vec<[u8; KEY]> = Vec::new();
        let mut store = room.open();
        for step in 0..400 {
            let mut batch = Batch::default();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..living.len());
                used.extend(living[at].take());
                let name = format!("v1/session/{at}");
                if random.random_range(0..5) == 0 {
                    batch.delete(name);
                    continue;
                }
                let mut key = [0; KEY];
                random.fill_bytes(&mut key);
                let most = if random.random_range(0..15) == 0 { 30_000 } else { 1_200 };
                let mut value = vec![7; random.random_range(0..most)];
                value.extend(key);
                value.resize(value.len() + random.random_range(0..most), 9);
                living[at] = Some(key);
                batch.put(name, value);
            }
            store.commit(batch).unwrap();
            if step % 80 == 79 {
                // Closing writes the log back.
                drop(store);
                let bytes = room.bytes();
                let found = found_in(&bytes, &used);
                assert!(found.is_empty(), "seed {seed}: {found:?} of {} keys that were used up", used.len());
                let there: Vec<_> = living.iter().flatten().copied().collect();
                assert_eq!(found_in(&bytes, &there).len(), there.len(), "the search finds what is there");
                store = room.open();
            }
        }
        assert!(used.len() > 300);
    }
}

/// Eight bytes of the key with this number.
fn word_of(key: u64, word: u64) -> u64 {
    let mut mixed = (key * 4 + word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Writes a key where it belongs: no copy of it lies anywhere else.
fn write_key(place: &mut [u8], key: u64) {
    (0..)
        .zip(place.chunks_mut(8))
        .for_each(|(word, bytes)| bytes.copy_from_slice(&word_of(key, word).to_le_bytes()));
}

/// Which of the first `count` keys stand in memory of this process that can be written, with either half.
fn keys_in_memory(count: u64) -> BTreeSet<u64> {
    let starts: HashMap<u64, (u64, u64)> =
        (0..count).flat_map(|key| [0, 2].map(|word| (word_of(key, word), (key, word)))).collect();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0_u8; 1 << 20];
    let ours = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
    let mut found = BTreeSet::new();
    for line in
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw")))
    {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [mut from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        while from < to {
            let len = memory.read_at(&mut buffer[..(to - from).min(1 << 20) as usize], from).unwrap_or(0);
            for at in 0..len.saturating_sub(15) {
                let word = |at: usize| u64::from_le_bytes(buffer[at..at + 8].try_into().unwrap());
                if let Some((key, first)) = starts.get(&word(at))
                    && word(at + 8) == word_of(*key, first + 1)
                    && !ours.contains(&(from + at as u64))
                {
                    found.insert(*key);
                }
            }
            // A key may lie across the end of what was read.
            from += if len < 32 { to - from } else { len as u64 - 15 };
        }
    }
    buffer.fill(0);
    found
}

const MEMORY: &str = "OMEMO_CRASH_MEMORY";

/// In a process of its own, so that the memory of other tests is not searched.
#[test]
fn a_child_that_handles_keys() {
    if told(MEMORY).is_none() {
        return;
    }
    const KEYS: u64 = 120;
    const RECORDS: u64 = 30;
    let room = Room::in_memory();
    let is_wiped = told(MEMORY).as_deref() == Some("wiped");
    if !is_wiped {
        // SQLite is in use already: it takes no other allocator.
        drop(rusqlite::Connection::open_in_memory().unwrap());
    }
    let store = room.open();
    for key in 0..KEYS {
        let mut batch = Batch::default();
        let mut value = vec![0; 200 + usize::try_from(key * 97 % 3_000).unwrap()];
        let at = value.len() / 2;
        write_key(&mut value[at..at + KEY], key);
        batch.put(format!("v1/session/{}", key % RECORDS), value);
        store.commit(batch).unwrap();
        drop(store.load(&format!("v1/session/{}", key % RECORDS)).unwrap());
    }
    let left = keys_in_memory(KEYS);
    assert!(left.contains(&(KEYS - 1)), "the search finds what is there");
    let used: Vec<_> = left.range(..KEYS - RECORDS).collect();
    println!("secrets: {} keys that were used up are in memory while the store is open", used.len());
    drop(store);
    let left = keys_in_memory(KEYS);
    assert_eq!(left.is_empty(), is_wiped, "in memory after the store was closed: {left:?}");
}

/// With the SQLite that the library brings along; and without the library's allocator they are found.
#[test]
fn no_key_is_left_in_memory_when_the_store_is_closed() {
    if cfg!(feature = "bundled-sqlite") {
        for how in ["wiped", "not"] {
            let mut handled = child("secrets::a_child_that_handles_keys", &[(MEMORY, how)]);
            assert!(handled.wait().unwrap().success(), "{how}");
        }
    }
}
