//! Files that are cut, changed, mixed or somebody else's: each opens with a named status, or is a store that works. Nothing
//! panics, nothing hangs.

use super::stage::{Room, amount, name, read_all, script, seeded};
use omemo::error::Status;
use omemo::storage::{Batch, Storage};
use rand::{Rng as _, RngExt as _, rngs::StdRng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A store as a crash leaves it: the file, and a log with commits that the file has not.
fn crashed(steps: usize) -> (Vec<u8>, Vec<u8>) {
    let room = Room::new();
    let store = room.open();
    let script = script(11, steps + 10);
    let (first, last) = script.split_at(steps);
    first.iter().for_each(|step| store.commit(step.batch()).unwrap());
    drop(store);
    let store = room.open();
    last.iter().for_each(|step| store.commit(step.batch()).unwrap());
    let files = (std::fs::read(room.file()).unwrap(), std::fs::read(room.beside("-wal")).unwrap());
    drop(store);
    files
}

/// Changes some bytes as a bad disk, or an enemy, would.
fn damage(bytes: &mut Vec<u8>, random: &mut StdRng) {
    let len = bytes.len().max(1);
    // Where it hurts: the headers of file, log and pages, more often than elsewhere.
    let place = |random: &mut StdRng| match random.random_range(0..4) {
        0 => random.random_range(0..len.min(120)),
        1 => (random.random_range(0..len) / 4_096 * 4_096 + random.random_range(0..16)).min(len - 1),
        _ => random.random_range(0..len),
    };
    match random.random_range(0..9) {
        0 => bytes.truncate(random.random_range(0..len)),
        1 => bytes.truncate(random.random_range(0..len) / 512 * 512),
        2 => {
            let more = random.random_range(1..9_000);
            bytes.resize(len + more, random.random());
        }
        3 => {
            let (from, to) = (place(random), place(random));
            let count = random.random_range(1..4_096).min(len - from.max(to)).min(bytes.len());
            let end = bytes.len();
            bytes.copy_within(from.min(end - count)..from.min(end - count) + count, to.min(end - count));
        }
        4 => {
            let start = place(random);
            let end = (start + random.random_range(1..5_000)).min(bytes.len());
            random.fill_bytes(&mut bytes[start.min(end)..end]);
        }
        5 => {
            let start = place(random);
            let end = (start + 4_096).min(bytes.len());
            bytes[start.min(end)..end].fill(0);
        }
        _ => {
            for _ in 0..random.random_range(1..8) {
                let at = place(random);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = if random.random() {
                        *byte ^ (1 << random.random_range(0..8))
                    } else {
                        random.random()
                    };
                }
            }
        }
    }
}

/// Opens, reads, writes, and opens again; how it ended.
fn use_all(room: &Room) -> Status {
    let played = || -> omemo::error::Result<()> {
        let store = room.try_open()?;
        let read = read_all(&store);
        let mut batch = Batch::default();
        batch.put(name(3), vec![3; 3_000]);
        batch.put("v1/other", vec![4; 30]);
        batch.delete(name(5));
        let written = store.commit(batch);
        let again = store.load("v1/other");
        drop(store);
        if written.is_ok() && again.is_ok() {
            room.try_open()?.load("v1/other")?;
        }
        read.map(drop).and(written).and(again.map(drop))
    };
    played().err().map_or(Status::Ok, |error| error.status())
}

#[test]
fn damaged_files_are_a_status_or_a_store() {
    let (file, log) = crashed(30);
    assert!(log.len() > 20_000 && file.len() > 20_000, "{} and {} bytes", file.len(), log.len());
    let mut random = seeded(3);
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..amount(2_000, 100_000) {
        let room = Room::new();
        let (mut bytes, mut log) = (file.clone(), log.clone());
        if number % 3 != 0 {
            damage(&mut bytes, &mut random);
        }
        if number % 3 != 1 {
            damage(&mut log, &mut random);
        }
        std::fs::write(room.file(), &bytes).unwrap();
        std::fs::write(room.beside("-wal"), &log).unwrap();
        let start = Instant::now();
        let status = use_all(&room);
        assert!(start.elapsed() < Duration::from_secs(20), "file {number} takes {:?}", start.elapsed());
        let known = matches!(
            status,
            Status::Ok
                | Status::Storage
                | Status::StorageCorrupt
                | Status::StorageVersion
                | Status::StorageLocked
        );
        assert!(known, "file {number}: {}", status.name());
        *ends.entry(status.name()).or_default() += 1;
    }
    println!("damaged: {ends:?}");
    assert!(ends["OMEMO_OK"] > 100 && ends["OMEMO_ERR_STORAGE_CORRUPT"] > 100, "{ends:?}");
}
