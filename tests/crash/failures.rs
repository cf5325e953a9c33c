//! Each call of the file system fails in every way, and each piece of SQLite's memory is missing, once and for good. What
//! fails is a status of the storage, nothing moves by it, and when it is over the same store works again.

use super::allocator;
use super::stage::{Records, Room, Step, is_full, read_all, script};
use super::vfs::{self, Kind, Plan};
use omemo::error::Error;
use omemo::storage::Storage;
use omemo::storage::sqlite::SqliteStorage;

/// By default every so manieth entry is played, others with another `OMEMO_OFFSET`.
const SAMPLE: usize = 2;

/// Looks at a failure: it must be one of the storage, and say something.
fn is_named(error: &Error) {
    assert!(error.is_storage() && !error.to_string().is_empty(), "{}: {error}", error.status().name());
}

/// A store and what it must hold.
///
/// A commit that failed may have reached the log: then it has happened once the file is opened again, unless another commit
/// has taken its place. Nothing was handed out on its account, so that this does no harm. While the store stays open it must
/// not come and go.
struct Watched<'a> {
    room: &'a Room,
    store: Option<SqliteStorage>,
    /// What was read or committed last.
    now: Records,
    /// What there would be after each of the commits that have failed since the last one that did not.
    failed: Vec<Records>,
    /// Something has failed or was opened since the last look.
    is_uncertain: bool,
    failures: usize,
}

impl<'a> Watched<'a> {
    fn new(room: &'a Room) -> Watched<'a> {
        let (now, failed) = (Records::new(), Vec::new());
        Watched { room, store: None, now, failed, is_uncertain: true, failures: 0 }
    }

    /// Whether it is open now.
    fn open(&mut self) -> bool {
        if self.store.is_none() {
            match self.room.try_open() {
                Ok(store) => {
                    self.store = Some(store);
                    self.is_uncertain = true;
                }
                Err(error) => self.note(&error),
            }
        }
        self.store.is_some()
    }

    fn note(&mut self, error: &Error) {
        is_named(error);
        self.failures += 1;
    }

    /// Reads everything, as the library does after a failure.
    fn settle(&mut self) {
        if !self.open() {
            return;
        }
        match read_all(self.store.as_ref().unwrap()) {
            Ok(found) => {
                let is_known = found == self.now || (self.is_uncertain && self.failed.contains(&found));
                let step = |records: &Records| records.get("v1/step").cloned();
                assert!(
                    is_known,
                    "found {} records of step {:?}, not {} of {:?}, nor what {} failed commits would have made",
                    found.len(),
                    step(&found),
                    self.now.len(),
                    step(&self.now),
                    self.failed.len()
                );
                self.now = found;
                self.is_uncertain = false;
            }
            Err(error) => self.note(&error),
        }
    }

    fn commit(&mut self, step: &Step) {
        // A commit whose end is unknown is looked at first: nothing is built on what may not be there.
        if !self.open() {
            return;
        }
        if self.is_uncertain {
            self.settle();
        }
        if self.is_uncertain {
            return;
        }
        let mut after = self.now.clone();
        step.apply(&mut after);
        match self.store.as_ref().unwrap().commit(step.batch()) {
            Ok(()) => {
                self.now = after;
                self.failed.clear();
            }
            Err(error) => {
                self.failed.push(after);
                self.is_uncertain = true;
                self.note(&error);
            }
        }
    }
}

/// What is played with each failure: a new file, commits up to the first checkpoint and beyond, closed and opened again.
fn play(watched: &mut Watched<'_>, steps: &[Step]) {
    for (number, step) in steps.iter().enumerate() {
        watched.commit(step);
        if number % 5 == 1 {
            watched.settle();
        }
        if number % 9 == 8 {
            watched.store = None;
        }
    }
}

/// Plays with one failure; afterwards all must be well with the same store, and with the file.
fn survives(steps: &[Step], heal: impl FnOnce()) -> usize {
    let room = Room::new();
    let mut watched = Watched::new(&room);
    play(&mut watched, steps);
    heal();
    let failures = watched.failures;
    watched.settle();
    for step in &steps[..3] {
        watched.commit(step);
    }
    watched.settle();
    assert_eq!(watched.failures, failures, "it still fails");
    let expected = watched.now.clone();
    watched.store = None;
    let store = room.open();
    assert!(read_all(&store).unwrap() == expected, "another state after opening again");
    drop(store);
    assert_eq!(room.integrity(), "ok");
    failures
}

fn steps() -> Vec<Step> {
    script(7, 20)
}

/// Which of so many entries are played.
fn sampled(count: usize, number: usize) -> impl Iterator<Item = usize> {
    let offset = std::env::var("OMEMO_OFFSET").ok().and_then(|text| text.parse().ok()).unwrap_or(0_usize);
    let stride = if is_full() { 1 } else { SAMPLE };
    // The first calls of each kind make the file, and are played always.
    (1..=count).filter(move |at| *at <= 6 || (at + number + offset).is_multiple_of(stride))
}

#[test]
fn every_call_of_the_file_system_may_fail() {
    let steps = steps();
    vfs::plan(None);
    survives(&steps, || ());
    let counts: Vec<(Kind, usize)> = Kind::ALL.iter().map(|kind| (*kind, vfs::count(*kind))).collect();
    let (mut entries, mut effects) = (0, 0);
    for (kind, count) in counts {
        assert!(count > 0, "{kind:?} is never called");
        for stays in [false, true] {
            for at in sampled(count, kind as usize) {
                let plan = Plan { kind, at, stays };
                vfs::plan(Some(plan));
                let played = std::panic::catch_unwind(|| {
                    survives(&steps, || {
                        vfs::heal();
                    })
                });
                let Ok(failures) = played else { panic!("with {plan:?}") };
                entries += 1;
                effects += usize::from(failures > 0);
            }
        }
    }
    vfs::plan(None);
    println!("failures: {entries} of the file system, of which {effects} came to light");
    assert!(effects * 2 > entries, "{effects} of {entries}");
}

#[test]
fn a_commit_that_was_not_synced_does_not_happen_after_a_crash() {
    let steps = steps();
    let (room, crashed) = (Room::new(), Room::new());
    let store = room.open();
    let mut expected = Records::new();
    for step in &steps[..2] {
        store.commit(step.batch()).unwrap();
        step.apply(&mut expected);
    }
    vfs::plan(Some(Plan { kind: Kind::Sync, at: 1, stays: false }));
    is_named(&store.commit(steps[2].batch()).unwrap_err());
    vfs::plan(None);
    for suffix in ["", "-wal"] {
        std::fs::copy(room.beside(suffix), crashed.beside(suffix)).unwrap();
    }
    assert!(read_all(&crashed.open()).unwrap() == expected, "the failed commit has happened");
}

#[test]
fn every_piece_of_memory_may_be_missing() {
    let steps = &steps()[..6];
    allocator::plan(None);
    survives(steps, || ());
    let count = allocator::count();
    assert!(count > 300, "{count} pieces");
    let (mut entries, mut effects) = (0, 0);
    for stays in [false, true] {
        for at in sampled(count, usize::from(stays)) {
            allocator::plan(Some((at, stays)));
            let played = std::panic::catch_unwind(|| survives(steps, || allocator::plan(None)));
            let Ok(failures) = played else { panic!("with the missing piece {at}, {stays}") };
            entries += 1;
            effects += usize::from(failures > 0);
        }
    }
    allocator::plan(None);
    println!("failures: {entries} pieces of memory, of which {effects} came to light");
    // SQLite does without many of them: a smaller cache, a slower way.
    assert!(effects * 4 > entries, "{effects} of {entries}");
}
