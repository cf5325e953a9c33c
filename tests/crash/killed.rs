//! A process is killed at any moment, one alone or two that take turns. What it had reported outside of the store is in the
//! store, with the commit that was going on as a whole or not at all; and the next process opens it at once.

use super::stage::{Room, amount, child, seeded, told};
use omemo::error::Status;
use omemo::storage::{Batch, Storage};
use rand::RngExt as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const STORE: &str = "OMEMO_CRASH_STORE";
/// How many commits a child makes, and `0`: until it is killed.
const COMMITS: &str = "OMEMO_CRASH_COMMITS";

/// How many records say the same number, each in bytes of its own.
const RECORDS: u64 = 12;
const COUNTER: &str = "v1/counter";

fn content(number: u64, record: u64) -> Vec<u8> {
    let len = (number * 37 + record * 101) % 1_300;
    (0..len).map(|i| (number.wrapping_mul(31) ^ record ^ i) as u8).collect()
}

fn name(record: u64) -> String {
    format!("v1/record/{record}")
}

fn counter(store: &dyn Storage) -> u64 {
    store.load(COUNTER).unwrap().map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap()))
}

fn count_up(store: &dyn Storage) -> u64 {
    let number = counter(store) + 1;
    let mut batch = Batch::default();
    batch.put(COUNTER, number.to_be_bytes().to_vec());
    (0..RECORDS).for_each(|record| batch.put(name(record), content(number, record)));
    store.commit(batch).unwrap();
    number
}

/// All records are of the commit that the counter names.
fn is_whole(store: &dyn Storage) -> u64 {
    let number = counter(store);
    for record in 0..RECORDS {
        let found = store.load(&name(record)).unwrap();
        let expected = (number != 0).then(|| content(number, record));
        assert_eq!(found.map(|bytes| bytes.to_vec()), expected, "record {record} of commit {number}");
    }
    number
}

/// The store, as soon as nobody else has it open.
fn wait_for(path: &Path) -> omemo::storage::sqlite::SqliteStorage {
    let start = Instant::now();
    loop {
        match omemo::storage::sqlite::SqliteStorage::open(path) {
            Ok(store) => return store,
            Err(error)
                if error.status() == Status::StorageLocked && start.elapsed() < Duration::from_secs(60) =>
            {
                std::thread::sleep(Duration::from_micros(300));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// What children do: commit after commit, each reported in a log beside, in turns with others of their kind.
#[test]
fn a_child_that_commits() {
    let Some(path) = told(STORE).map(PathBuf::from) else { return };
    let commits: u64 = told(COMMITS).unwrap().parse().unwrap();
    let mut log = OpenOptions::new().append(true).create(true).open(path.with_extension("log")).unwrap();
    let mut made = 0;
    while commits == 0 || made < commits {
        let store = wait_for(&path);
        for _ in 0..25 {
            let number = count_up(&store);
            log.write_all(&number.to_be_bytes()).unwrap();
            made += 1;
        }
        drop(store);
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// The highest number that was reported.
fn reported(path: &Path) -> u64 {
    let log = std::fs::read(path.with_extension("log")).unwrap_or_default();
    let numbers = log.chunks_exact(8).map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    numbers.max().unwrap_or(0)
}

fn kill_often(children: usize, times: usize, seed: u64) {
    let room = Room::new();
    let path = room.file();
    let mut random = seeded(seed);
    let (mut commits, mut unreported) = (0, 0);
    for _ in 0..times {
        let variables = [(STORE, path.to_str().unwrap()), (COMMITS, "0")];
        let mut all: Vec<_> =
            (0..children).map(|_| child("killed::a_child_that_commits", &variables)).collect();
        std::thread::sleep(Duration::from_micros(random.random_range(3_000..25_000)));
        for one in &mut all {
            one.kill().unwrap();
            one.wait().unwrap();
        }
        // Nobody is left: whoever had it open blocks nobody.
        let store = room.open();
        let (number, least) = (is_whole(&store), reported(&path));
        assert!(number >= least, "{number} is stored, {least} was reported");
        // Each child may have died between its commit and its report.
        assert!(number <= least + children as u64, "{number} is stored, {least} was reported");
        unreported += number - least;
        commits = number;
        // The next ones begin with what is there, and not with what is missing in the log.
        let mut log = OpenOptions::new().append(true).create(true).open(path.with_extension("log")).unwrap();
        log.write_all(&number.to_be_bytes()).unwrap();
    }
    println!("killed: {times} times {children}: {commits} commits, {unreported} of them not reported");
    assert!(commits as usize > times, "{commits} commits: killed too early to prove anything");
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_reported() {
    kill_often(1, amount(350, 7_000), 1);
}

#[test]
fn two_processes_that_are_killed_lose_nothing_that_they_reported() {
    kill_often(2, amount(150, 3_000), 2);
}

#[test]
fn r43_two_processes_at_one_store_lose_no_update() {
    let room = Room::new();
    let (path, each) = (room.file(), 5_000);
    let variables = [(STORE, path.to_str().unwrap()), (COMMITS, &*each.to_string())];
    let mut all: Vec<_> = (0..2).map(|_| child("killed::a_child_that_commits", &variables)).collect();
    for one in &mut all {
        assert!(one.wait().unwrap().success());
    }
    let store = room.open();
    assert_eq!(is_whole(&store), 2 * each as u64);
    // Both had their turns.
    let log = std::fs::read(path.with_extension("log")).unwrap();
    assert_eq!(log.len(), 8 * 2 * each);
}
