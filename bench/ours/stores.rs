//! What a store on disk costs: a commit against plain SQLite writing the same bytes, a message to many devices against the
//! store in memory, encryption at rest against none, and how much is read when an account with 10,000 sessions is opened.

use crate::print;
use crate::support::world::server::{Server, jid};
use crate::support::world::{RawDevice, RustDevice};
use omemo::error::Result;
use omemo::manager::Manager;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::protocol::address::BareJid;
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::namespace::Namespace::Omemo2;
use omemo::storage::sqlite::SqliteStorage;
use omemo::storage::{Batch, Storage};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;
use zeroize::Zeroizing;

/// Records of a commit that is timed, and bytes of each: a message to one device changes about so much.
const RECORDS: usize = 3;
const BYTES: usize = 700;
const COMMITS: usize = 200;
/// Devices of a JID.
const DEVICES: u32 = 10;
/// Messages of which the median is taken.
const MESSAGES: usize = 9;

/// Files that are gone when this is dropped. Not in the directory for temporary files, which may be in memory.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/bench-stores-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e6
}

/// A commit of ours and one of plain SQLite with the same settings, in turns.
fn commits(folder: &Path) {
    let ours = SqliteStorage::open(&folder.join("ours.db")).unwrap();
    let plain = Connection::open(folder.join("plain.db")).unwrap();
    plain
        .execute_batch(
            "PRAGMA locking_mode = exclusive; PRAGMA journal_mode = wal; PRAGMA synchronous = full; \
             PRAGMA secure_delete = on; PRAGMA wal_autocheckpoint = 256; \
             CREATE TABLE record (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        )
        .unwrap();
    let (mut of_ours, mut of_plain) = (Vec::new(), Vec::new());
    for n in 0..COMMITS {
        let records: Vec<(String, Vec<u8>)> = (0..RECORDS)
            .map(|at| (format!("v1/session/{:032x}/{}/2", at, n % 50), vec![n as u8; BYTES]))
            .collect();
        let mut batch = Batch::default();
        records.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone()));
        of_ours.push(timed(|| ours.commit(batch).unwrap()));
        of_plain.push(timed(|| {
            plain.execute_batch("BEGIN IMMEDIATE").unwrap();
            let mut put = plain.prepare_cached("INSERT OR REPLACE INTO record VALUES (?1, ?2)").unwrap();
            records.iter().for_each(|record| {
                put.execute((&record.0, &record.1)).unwrap();
            });
            plain.execute_batch("COMMIT").unwrap();
        }));
    }
    print("sqlite_commit_us", median(of_ours.clone()), 10_000.0);
    print("sqlite_commit_by_plain", median(of_ours) / median(of_plain), 1.5);
}

/// Counts what is loaded.
struct Counting {
    storage: Arc<dyn Storage>,
    loads: AtomicUsize,
}

impl Storage for Counting {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.loads.fetch_add(1, SeqCst);
        self.storage.load(key)
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        self.storage.commit(batch)
    }
}

/// An account that has written to so many devices, and their JIDs.
fn account(devices: u32) -> (Server, RustDevice, Vec<BareJid>) {
    let mut server = Server::of(Omemo2);
    let device = RustDevice::new("romeo@montague.lit", &mut server);
    let mut jids = Vec::new();
    for n in 0..devices / DEVICES {
        let (name, first) = (format!("friend{n}@capulet.lit"), n * DEVICES + 1);
        let ids = first..first + DEVICES;
        ids.clone().for_each(|id| RawDevice::of(Omemo2, &name, id).publish(&mut server));
        let list = DeviceList::of(Omemo2, ids.map(ListedDevice::new).collect());
        server.lists.insert((Omemo2, jid(&name)), list);
        jids.push(jid(&name));
    }
    write(&device, &jids, &mut server);
    (server, device, jids)
}

fn write(device: &RustDevice, jids: &[BareJid], server: &mut Server) {
    let to: Vec<&BareJid> = jids.iter().collect();
    let outcome = device.encrypt(&to, "text", EncryptPolicy::Wait, server);
    let keys: usize = outcome.messages.iter().map(|message| message.keys.len()).sum();
    assert_eq!(keys, jids.len() * DEVICES as usize);
}

/// Puts the records of an account into another store and goes on with that. How long opening took, and its loads.
fn go_on_with(device: &RustDevice, storage: Arc<dyn Storage>, server: &mut Server) -> (f64, usize) {
    let mut batch = Batch::default();
    device.storage.all().into_iter().for_each(|(key, value)| batch.put(key, value));
    storage.commit(batch).unwrap();
    let storage = Arc::new(Counting { storage, loads: AtomicUsize::new(0) });
    let (config, services) = (device.config.clone(), device.services.clone());
    device.manager.replace(None);
    let mut opened = None;
    let us = timed(|| {
        opened = Some(Manager::open(config, storage.clone(), services, Box::new(device.rng())).unwrap())
    });
    let loads = storage.loads.load(SeqCst);
    device.manager.replace(opened);
    device.connect(server);
    (us, loads)
}

/// A message to so many devices, in microseconds: in memory, in a file, and sealed in a file.
fn messages(folder: &Path, devices: u32) {
    let file = |name: &str| SqliteStorage::open(&folder.join(format!("{name}-{devices}.db"))).unwrap();
    let stores: [(&str, Option<Arc<dyn Storage>>); 2] =
        [("memory", None), ("sqlite", Some(Arc::new(file("plain"))))];
    let mut medians = Vec::new();
    for (_, storage) in stores {
        let (mut server, device, jids) = account(devices);
        if let Some(storage) = storage {
            go_on_with(&device, storage, &mut server);
        }
        // The first one fetches the lists again.
        write(&device, &jids, &mut server);
        let mut write_one = |_| timed(|| write(&device, &jids, &mut server));
        medians.push(median((0..MESSAGES).map(&mut write_one).collect()));
    }
    print(&format!("sqlite_message_{devices}_us"), medians[1], 10_000_000.0);
    print(&format!("sqlite_message_{devices}_by_memory"), medians[1] / medians[0], 3.0);
}

fn open_large(folder: &Path) {
    let (mut server, device, _) = account(10_000);
    let file = Arc::new(SqliteStorage::open(&folder.join("large.db")).unwrap());
    let (us, loads) = go_on_with(&device, file, &mut server);
    print("sqlite_open_10000_sessions_us", us, 100_000.0);
    print("sqlite_open_10000_sessions_loads", loads as f64, 300.0);
}

pub fn run() {
    let folder = Folder::new();
    commits(&folder.0);
    messages(&folder.0, 100);
    messages(&folder.0, 1_000);
    open_large(&folder.0);
}
