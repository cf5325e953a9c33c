//! What the tests share: a directory for each, a script of commits whose result is known after each step, randomness from a
//! seed, and processes of their own.

use omemo::error::Result;
use omemo::storage::sqlite::SqliteStorage;
use omemo::storage::{Batch, Storage};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub type Records = BTreeMap<String, Vec<u8>>;

/// Whether everything is run.
pub fn is_full() -> bool {
    std::env::var_os("OMEMO_FULL").is_some()
}

/// A number for a default run, and for a full one.
pub fn amount(default: usize, full: usize) -> usize {
    if is_full() { full } else { default }
}

pub fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A directory that is gone at the end, in memory where there is such a place: `fsync` costs nothing there, and what it is
/// for is played by the file system of `vfs`.
pub struct Room(pub PathBuf);

impl Room {
    pub fn new() -> Room {
        // The store is opened once before, so that it can give SQLite its allocator, which it could not any more afterwards.
        super::vfs::install_after(|| {
            super::allocator::install();
            drop(Room::in_memory().open());
        });
        Room::in_memory()
    }

    /// Before the file system of these tests is there.
    pub fn in_memory() -> Room {
        let memory = Path::new("/dev/shm");
        Room::below(if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() })
    }

    fn below(place: PathBuf) -> Room {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("omemo-crash-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        let path = place.join(name);
        std::fs::create_dir(&path).unwrap();
        Room(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("store")
    }

    pub fn beside(&self, suffix: &str) -> PathBuf {
        self.0.join(format!("store{suffix}"))
    }

    pub fn try_open(&self) -> Result<SqliteStorage> {
        SqliteStorage::open(&self.file())
    }

    #[track_caller]
    pub fn open(&self) -> SqliteStorage {
        self.try_open().unwrap_or_else(|error| panic!("{}: {error}", error.status().name()))
    }

    /// What SQLite says of a store that is closed; "ok" if it is whole.
    pub fn integrity(&self) -> String {
        let connection = Connection::open(self.file()).unwrap();
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE").unwrap();
        connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap()
    }

    /// All bytes of all files, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.0).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One step of a script: what a commit changes.
#[derive(Clone)]
pub struct Step(Vec<(String, Option<Vec<u8>>)>);

impl Step {
    pub fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in &self.0 {
            match value {
                Some(value) => batch.put(key.as_str(), value.clone()),
                None => batch.delete(key.as_str()),
            }
        }
        batch
    }

    pub fn apply(&self, records: &mut Records) {
        for (key, value) in &self.0 {
            match value {
                Some(value) => records.insert(key.clone(), value.clone()),
                None => records.remove(key),
            };
        }
    }
}

const KEYS: u32 = 24;

pub fn name(number: u32) -> String {
    format!("v1/session/{number:02}")
}

/// Commits as an account makes them: some records of some hundred bytes, a large one now and then, and deletions.
pub fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut random = seeded(seed);
    let value = |random: &mut StdRng, most: usize| {
        let mut bytes = vec![0; random.random_range(0..most)];
        random.fill_bytes(&mut bytes);
        bytes
    };
    (0..steps)
        .map(|step| {
            let mut changes = Records::new();
            let mut gone = Vec::new();
            for _ in 0..random.random_range(1..6) {
                let most = if random.random_range(0..12) == 0 { 60_000 } else { 900 };
                changes.insert(name(random.random_range(0..KEYS)), value(&mut random, most));
            }
            if random.random_range(0..3) == 0 {
                gone.push(name(random.random_range(0..KEYS)));
            }
            gone.retain(|key| !changes.contains_key(key));
            let mut changes: Vec<_> = changes.into_iter().map(|(key, value)| (key, Some(value))).collect();
            changes.extend(gone.into_iter().map(|key| (key, None)));
            // Tells every step from every other one.
            changes.push(("v1/step".to_owned(), Some(step.to_be_bytes().to_vec())));
            Step(changes)
        })
        .collect()
}

/// What there is after each step, nothing at all first.
pub fn states(script: &[Step]) -> Vec<Records> {
    let mut records = Records::new();
    let mut states = vec![records.clone()];
    for step in script {
        step.apply(&mut records);
        states.push(records.clone());
    }
    states
}

/// Everything that the script may have put there.
pub fn read_all(store: &dyn Storage) -> Result<Records> {
    let mut records = Records::new();
    for key in (0..KEYS).map(name).chain(["v1/step".to_owned()]) {
        if let Some(value) = store.load(&key)? {
            records.insert(key, value.to_vec());
        }
    }
    Ok(records)
}

/// This program again, for one of its tests, which finds what it is to do in the environment.
pub fn child(test: &str, variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.envs(variables.iter().copied()).stdout(std::process::Stdio::null());
    command.spawn().unwrap()
}

/// What a parent has said; nothing in an ordinary run of the tests.
pub fn told(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}
