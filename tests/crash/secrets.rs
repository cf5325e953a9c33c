//! A key that was used up is nowhere any more: not in the file, not in the log.

use super::stage::{Room, amount, seeded};
use omemo::storage::{Batch, Storage};
use rand::{Rng as _, RngExt as _};
use std::collections::{BTreeSet, HashMap};

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
