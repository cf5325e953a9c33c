//! The power fails. From what was written and synced, every state is made that the disk may have afterwards, and each must be
//! a store with all that was reported as done, and with the next commit as a whole or not at all.
//!
//! What a write may leave without a sync: nothing, all, some of its sectors, half a sector; in any combination with others.

use super::stage::{Records, Room, Step, amount, read_all, script, seeded, states};
use super::vfs::{self, Event};
use omemo::storage::Storage;
use rand::{RngExt as _, rngs::StdRng};
use rusqlite::{Connection, TransactionBehavior};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SECTOR: u64 = 512;
/// States beside "nothing", "all" and a torn sector, at each point.
const SUBSETS: usize = 20;

/// The files of a disk; one that does not exist is not in it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What was played: what happened to the files, and how far the recording was when each commit was reported as done.
struct Played {
    events: Vec<Event>,
    reported: Vec<usize>,
    states: Vec<Records>,
}

/// How much of what was not synced is on the disk.
enum Cut {
    Nothing,
    Everything,
    Some,
    TornSector,
}

/// Writes some bytes where a file may have ended before.
fn put(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).unwrap();
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Takes over an event as a whole.
fn apply(disk: &mut Files, event: &Event) {
    match event {
        Event::Write { file, at, bytes } => put(disk.entry(file.clone()).or_default(), *at, bytes),
        Event::Truncate { file, len } => {
            disk.entry(file.clone()).or_default().resize(usize::try_from(*len).unwrap(), 0);
        }
        Event::Sync { .. } => {}
        Event::Delete { file, .. } => {
            disk.remove(file);
        }
    }
}

fn file_of(event: &Event) -> &Path {
    match event {
        Event::Write { file, .. }
        | Event::Truncate { file, .. }
        | Event::Sync { file }
        | Event::Delete { file, .. } => file,
    }
}

/// A write in the pieces in which a disk takes it.
fn sectors(at: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut at, mut rest, mut pieces) = (at, bytes, Vec::new());
    while !rest.is_empty() {
        let len = usize::try_from(SECTOR - at % SECTOR).unwrap().min(rest.len());
        let (piece, after) = rest.split_at(len);
        pieces.push((at, piece));
        (at, rest) = (at + len as u64, after);
    }
    pieces
}

/// The disk after a cut: what is durable, and of the rest what the cut leaves.
fn after(durable: &Files, pending: &[Event], cut: &Cut, random: &mut StdRng) -> Files {
    let mut disk = durable.clone();
    // A file whose removal is lost is the old one, whatever was written to a new one of its name.
    let mut old: Vec<&Path> = Vec::new();
    let torn = random.random_range(0..pending.len().max(1));
    for (number, event) in pending.iter().enumerate() {
        if old.contains(&file_of(event)) {
            continue;
        }
        match (cut, event) {
            (Cut::Nothing, _) => {}
            (Cut::Everything, _) => apply(&mut disk, event),
            (Cut::Some, Event::Write { file, at, bytes }) => {
                for (at, piece) in sectors(*at, bytes) {
                    if random.random() {
                        put(disk.entry(file.clone()).or_default(), at, piece);
                    }
                }
            }
            (Cut::TornSector, Event::Write { file, at, bytes }) if number == torn => {
                let pieces = sectors(*at, bytes);
                let last = random.random_range(0..pieces.len());
                for (number, (at, piece)) in pieces.into_iter().enumerate().take(last + 1) {
                    let whole = if number == last { piece.len() / 2 } else { piece.len() };
                    put(disk.entry(file.clone()).or_default(), at, &piece[..whole]);
                }
            }
            (Cut::Some | Cut::TornSector, _) => {
                if random.random() {
                    apply(&mut disk, event);
                } else if matches!(event, Event::Delete { .. }) {
                    old.push(file_of(event));
                }
            }
        }
    }
    disk
}

/// Whether a store opens on this disk, and holds one of the states that it may.
fn check(disk: &Files, played: &Played, done: usize) -> Result<(), String> {
    let room = Room::new();
    // The file itself was there before anything was written to it.
    std::fs::write(room.file(), "").unwrap();
    for (path, content) in disk {
        let name = path.file_name().unwrap();
        std::fs::write(room.0.join(name), content).unwrap();
    }
    let store = room.try_open().map_err(|error| format!("does not open: {error}"))?;
    let found = read_all(&store).map_err(|error| format!("cannot be read: {error}"))?;
    if found != played.states[done] && played.states.get(done + 1) != Some(&found) {
        let step = played.states.iter().position(|state| *state == found);
        return Err(format!("{done} commits were reported as done, and this is the state after {step:?}"));
    }
    drop(store);
    let fine = room.integrity();
    if fine == "ok" { Ok(()) } else { Err(fine) }
}

/// Cuts the power before and after each sync; how many states there were, and what was wrong with some.
fn cut_everywhere(played: &Played, seed: u64) -> (usize, Vec<String>) {
    cut_where(played, seed, |_| true)
}

/// The same at some of the events.
fn cut_where(played: &Played, seed: u64, wanted: impl Fn(usize) -> bool) -> (usize, Vec<String>) {
    let mut random = seeded(seed);
    let (mut durable, mut pending) = (Files::new(), Vec::<Event>::new());
    let (mut count, mut wrong) = (0, Vec::new());
    for (number, event) in played.events.iter().map(Some).chain([None]).enumerate() {
        let syncs = matches!(event, None | Some(Event::Sync { .. } | Event::Delete { durable: true, .. }));
        if (syncs || played.reported.contains(&number)) && wanted(number) {
            let done = played.reported.iter().filter(|reported| **reported <= number).count();
            let mut cuts = vec![Cut::Nothing, Cut::Everything, Cut::TornSector];
            cuts.extend((0..if pending.is_empty() { 0 } else { SUBSETS }).map(|_| Cut::Some));
            for cut in cuts {
                count += 1;
                let disk = after(&durable, &pending, &cut, &mut random);
                if let Err(why) = check(&disk, played, done) {
                    wrong.push(format!("event {number}: {why}"));
                }
            }
        }
        match event {
            // Durable with all that was done to the same file before; its name, too.
            Some(Event::Sync { file }) => {
                let (now, later) = pending.drain(..).partition(|event| file_of(event) == file);
                pending = later;
                let now: Vec<Event> = now;
                now.iter().for_each(|event| apply(&mut durable, event));
                durable.entry(file.clone()).or_default();
            }
            Some(Event::Delete { file, durable: true }) => {
                pending.retain(|event| file_of(event) != file);
                durable.remove(file);
            }
            Some(event) => pending.push(event.clone()),
            None => {}
        }
    }
    (count, wrong)
}

/// Where the log is begun again while the store is open: its start is written after a sync of the database.
fn restarts(events: &[Event]) -> Vec<usize> {
    let is_log = |file: &std::path::Path| file.to_string_lossy().ends_with("-wal");
    let mut checkpointed = false;
    let mut all = Vec::new();
    for (number, event) in events.iter().enumerate() {
        match event {
            Event::Sync { file } if !is_log(file) => checkpointed = true,
            Event::Write { file, at: 0, .. } if is_log(file) && checkpointed => {
                checkpointed = false;
                all.push(number);
            }
            Event::Delete { .. } => checkpointed = false,
            _ => {}
        }
    }
    all
}

/// Commits a script to a store that `open` opens, which is closed and opened again at times.
fn play<S: Storage>(script: &[Step], open: impl Fn(&Room) -> S) -> Played {
    play_closing(script, 13, open)
}

/// The same; it is closed after so many commits.
fn play_closing<S: Storage>(script: &[Step], each: usize, open: impl Fn(&Room) -> S) -> Played {
    let room = Room::new();
    vfs::record();
    let mut store = Some(open(&room));
    let mut reported = Vec::new();
    for (number, step) in script.iter().enumerate() {
        if number % each == each - 1 {
            store = None;
        }
        store.get_or_insert_with(|| open(&room)).commit(step.batch()).unwrap();
        reported.push(vfs::recorded());
    }
    drop(store);
    Played { events: vfs::events(), reported, states: states(script) }
}

#[test]
fn f27_a_power_cut_at_any_point_loses_nothing_that_was_reported() {
    let (mut states, mut syncs) = (0, 0);
    for seed in 0..amount(2, 12) as u64 {
        let played = play(&script(seed, 40), Room::open);
        syncs += played.events.iter().filter(|event| matches!(event, Event::Sync { .. })).count();
        let (count, wrong) = cut_everywhere(&played, seed);
        assert!(
            wrong.is_empty(),
            "seed {seed}: {} of {count}: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(5)]
        );
        states += count;
    }
    println!("power: {states} states after {syncs} syncs");
    assert!(states > 1_500 && syncs > 80, "{states} states, {syncs} syncs");
}

/// A checkpoint in the middle of a session copies the log into the file, and the next commit begins the log again.
#[test]
fn a_power_cut_at_a_checkpoint_loses_nothing_that_was_reported() {
    let script = script(7, 160);
    let played = play_closing(&script, script.len() + 1, Room::open);
    let restarts = restarts(&played.events);
    assert!(restarts.len() >= 2, "the log began again {} times", restarts.len());
    // What comes before the log begins again is the checkpoint; the commits behind it overwrite older ones.
    let near = |number: usize| restarts.iter().any(|at| (at.saturating_sub(60)..at + 40).contains(&number));
    let (count, wrong) = cut_where(&played, 7, near);
    assert!(wrong.is_empty(), "{} of {count}: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    println!("power: {count} states around {} restarts of the log", restarts.len());
    assert!(count > 200, "{count} states");
}

/// The same store with less care: the log is not synced with each commit.
struct Careless(parking_lot::Mutex<Connection>);

impl Careless {
    fn open(room: &Room) -> Careless {
        drop(room.open());
        let connection = Connection::open(room.file()).unwrap();
        connection
            .execute_batch(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 256;",
            )
            .unwrap();
        Careless(parking_lot::Mutex::new(connection))
    }
}

impl Storage for Careless {
    fn load(&self, _: &str) -> omemo::error::Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
        Ok(None)
    }

    fn commit(&self, batch: omemo::storage::Batch) -> omemo::error::Result<()> {
        let mut connection = self.0.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        for (key, value) in batch.changes() {
            match value {
                Some(value) => transaction
                    .execute("INSERT OR REPLACE INTO record VALUES (?1, ?2)", (key, value))
                    .unwrap(),
                None => transaction.execute("DELETE FROM record WHERE key = ?1", [key]).unwrap(),
            };
        }
        transaction.commit().unwrap();
        Ok(())
    }
}

/// Otherwise the test above would prove nothing.
#[test]
fn the_test_of_power_cuts_finds_a_store_that_does_not_sync_each_commit() {
    let played = play(&script(1, 40), Careless::open);
    let (count, wrong) = cut_everywhere(&played, 1);
    println!("power: {} of {count} states are wrong with synchronous=NORMAL", wrong.len());
    assert!(wrong.iter().any(|why| why.contains("were reported as done")), "{count} states, none is wrong");
}
