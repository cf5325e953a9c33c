//! Tests of the stores that the library brings: the laws, and of the SQLite file what nobody else can see.

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic)] // a test may panic

use super::memory::MemoryStorage;
use super::sqlite::SqliteStorage;
use super::{Batch, Storage, laws};
use crate::error::Status;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A directory of its own for each test, removed at its end.
struct Room(PathBuf);

impl Room {
    fn new() -> Room {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("omemo-storage-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Room(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("store.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.0.join(format!("store.db{suffix}"))
    }

    fn mode(&self, suffix: &str) -> u32 {
        fs::metadata(self.beside(suffix)).unwrap().permissions().mode() & 0o777
    }

    fn open(&self) -> SqliteStorage {
        SqliteStorage::open(&self.file()).unwrap()
    }

    /// What SQL another program of SQLite does with the file.
    fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.file()).unwrap().execute_batch(sql).unwrap();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn put(store: &dyn Storage, key: &str, value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(key, value.to_vec());
    store.commit(batch).unwrap();
}

fn value(store: &dyn Storage, key: &str) -> Vec<u8> {
    store.load(key).unwrap().unwrap().to_vec()
}

/// Why a file is refused: status and sentence.
fn refusal(path: &Path) -> (Status, String) {
    match SqliteStorage::open(path) {
        Ok(_) => panic!("{} opens", path.display()),
        Err(error) => (error.status(), error.to_string()),
    }
}

/// A store with a record, closed.
fn closed() -> Room {
    let room = Room::new();
    put(&room.open(), "v1/a", b"kept");
    room
}

#[test]
fn the_store_in_memory_keeps_the_laws() {
    laws::hold(&MemoryStorage::new());
}

#[test]
fn the_sqlite_file_keeps_the_laws() {
    laws::hold(&Room::new().open());
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let room = Room::new();
    let store = room.open();
    laws::hold(&store);
    drop(store);
    let store = room.open();
    assert_eq!(value(&store, "v1/b"), b"four");
    assert_eq!(value(&store, "v1/many/99"), vec![99; 99]);
}

#[test]
fn the_file_tells_its_keys() {
    let room = Room::new();
    let store = room.open();
    ["v1/b", "v1/a", "v1/c"].iter().for_each(|key| put(&store, key, b"value"));
    let mut batch = Batch::default();
    batch.delete("v1/b");
    store.commit(batch).unwrap();
    assert_eq!(store.keys().unwrap(), Some(vec!["v1/a".to_owned(), "v1/c".to_owned()]));
}

#[test]
fn a_closed_store_is_one_file() {
    let room = closed();
    assert_eq!(fs::read_dir(&room.0).unwrap().count(), 1);
}

#[test]
fn a_second_opener_is_told_at_once_whatever_name_the_file_has() {
    let room = Room::new();
    let link = room.0.join("link");
    symlink(room.file(), &link).unwrap();
    let store = room.open();
    let start = std::time::Instant::now();
    for path in
        [room.file(), link.clone(), room.0.join("../").join(room.0.file_name().unwrap()).join("store.db")]
    {
        assert_eq!(refusal(&path).0, Status::StorageLocked, "{}", path.display());
    }
    assert!(start.elapsed().as_millis() < 500);
    // And the first one has lost nothing by it: neither another copy of SQLite nor another program gets in.
    let other = rusqlite::Connection::open(room.file()).unwrap();
    other.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert!(other.query_row("SELECT count(*) FROM record", (), |_| Ok(())).is_err());
    put(&store, "v1/a", b"first");
    drop(store);
    assert_eq!(value(&SqliteStorage::open(&link).unwrap(), "v1/a"), b"first");
}

#[test]
fn what_lies_beside_a_link_lies_beside_the_file() {
    let room = Room::new();
    let elsewhere = Room::new();
    let link = elsewhere.0.join("link");
    symlink(room.file(), &link).unwrap();
    let store = SqliteStorage::open(&link).unwrap();
    put(&store, "v1/a", b"kept");
    assert!(room.beside("-wal").exists());
    assert_eq!(fs::read_dir(&elsewhere.0).unwrap().count(), 1);
}

#[test]
fn a_file_with_two_names_is_refused() {
    let room = closed();
    fs::hard_link(room.file(), room.0.join("other")).unwrap();
    let before = fs::read(room.file()).unwrap();
    let (status, text) = refusal(&room.file());
    assert!(status == Status::Storage && text.contains("hard link"), "{text}");
    assert_eq!(fs::read(room.file()).unwrap(), before);
}

#[test]
fn nobody_else_may_read_the_files() {
    let room = Room::new();
    let store = room.open();
    put(&store, "v1/a", b"secret");
    assert_eq!((room.mode(""), room.mode("-wal")), (0o600, 0o600));
}

#[test]
fn a_file_that_others_may_read_is_closed_to_them() {
    let room = closed();
    fs::set_permissions(room.file(), Permissions::from_mode(0o664)).unwrap();
    let store = room.open();
    put(&store, "v1/a", b"secret");
    assert_eq!((room.mode(""), room.mode("-wal")), (0o600, 0o600));
    drop(store);
    // Also what a crash has left: an empty file, and a log.
    let room = Room::new();
    fs::write(room.file(), "").unwrap();
    fs::write(room.beside("-wal"), "").unwrap();
    for suffix in ["", "-wal"] {
        fs::set_permissions(room.beside(suffix), Permissions::from_mode(0o666)).unwrap();
    }
    let store = room.open();
    put(&store, "v1/a", b"secret");
    assert_eq!((room.mode(""), room.mode("-wal")), (0o600, 0o600));
}

#[test]
fn the_file_says_whose_it_is() {
    let room = closed();
    let mut header = [0; 100];
    fs::File::open(room.file()).unwrap().read_exact_at(&mut header, 0).unwrap();
    assert_eq!((&header[..15], &header[68..72]), (&b"SQLite format 3"[..], &b"OMEM"[..]));
    let store = room.open();
    drop(store);
    let connection = rusqlite::Connection::open(room.file()).unwrap();
    let mode: String = connection.query_row("PRAGMA journal_mode", (), |row| row.get(0)).unwrap();
    let version: i64 = connection.query_row("PRAGMA user_version", (), |row| row.get(0)).unwrap();
    assert_eq!((mode.as_str(), version), ("wal", 1));
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let room = closed();
    room.sql("PRAGMA user_version = 7");
    let before = fs::read(room.file()).unwrap();
    let (status, text) = refusal(&room.file());
    assert!(status == Status::StorageVersion && text.contains("version 7"), "{text}");
    assert_eq!(fs::read(room.file()).unwrap(), before);
}

#[test]
fn what_is_no_store_is_refused_and_stays_as_it_is() {
    type Make = Box<dyn Fn(&Room)>;
    let foreign: [(&str, Make); 5] = [
        ("a text", Box::new(|room| fs::write(room.file(), "Two households, both alike in dignity").unwrap())),
        ("zeros", Box::new(|room| fs::write(room.file(), [0; 8192]).unwrap())),
        ("another program's SQLite file", Box::new(|room| room.sql("CREATE TABLE record (key, value)"))),
        ("an empty SQLite file", Box::new(|room| room.sql("PRAGMA user_version = 1"))),
        ("a short one", Box::new(|room| fs::write(room.file(), b"SQLite format 3\0").unwrap())),
    ];
    for (what, make) in foreign {
        let room = Room::new();
        make(&room);
        fs::set_permissions(room.file(), Permissions::from_mode(0o644)).unwrap();
        let before = fs::read(room.file()).unwrap();
        let (status, text) = refusal(&room.file());
        assert!(status == Status::StorageCorrupt && text.contains("no store"), "{what}: {text}");
        assert_eq!(fs::read(room.file()).unwrap(), before, "{what}");
        assert_eq!((room.mode(""), fs::read_dir(&room.0).unwrap().count()), (0o644, 1), "{what}");
    }
}

#[test]
fn a_log_whose_file_is_gone_is_left_as_it_is() {
    for is_missing in [true, false] {
        let (room, crashed) = (Room::new(), Room::new());
        let store = room.open();
        put(&store, "v1/a", b"kept");
        fs::copy(room.beside("-wal"), crashed.beside("-wal")).unwrap();
        if !is_missing {
            fs::write(crashed.file(), "").unwrap();
        }
        let (status, text) = refusal(&crashed.file());
        assert!(status == Status::StorageCorrupt && text.contains("log of commits"), "{text}");
        assert_eq!(crashed.file().exists(), !is_missing);
        // The file comes back, and the commit with it.
        assert_eq!(fs::read(crashed.beside("-wal")).unwrap(), fs::read(room.beside("-wal")).unwrap());
        fs::copy(room.file(), crashed.file()).unwrap();
        assert_eq!(value(&crashed.open(), "v1/a"), b"kept");
    }
}

#[test]
fn a_store_with_more_in_it_than_ours_is_refused() {
    for sql in [
        "CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record; END",
        "CREATE INDEX i ON record (value)",
        "CREATE TABLE other (a)",
        "DROP TABLE record",
        "DROP TABLE record; CREATE VIEW record AS SELECT 'v1/a' AS key, x'00' AS value",
    ] {
        let room = closed();
        room.sql(sql);
        assert_eq!(refusal(&room.file()).0, Status::StorageCorrupt, "{sql}");
    }
}

#[test]
fn a_record_that_is_no_blob_is_corrupt() {
    let room = closed();
    room.sql("INSERT INTO record VALUES ('v1/b', 'text')");
    let store = room.open();
    assert_eq!(store.load("v1/b").unwrap_err().status(), Status::StorageCorrupt);
    assert_eq!(value(&store, "v1/a"), b"kept");
}

#[test]
fn a_path_that_cannot_be_opened_is_refused_in_sqlites_words_and_the_systems() {
    let room = closed();
    let long = "x".repeat(5_000);
    let paths = [
        (room.0.join("missing/store.db"), "No such file"),
        (room.0.clone(), "directory"),
        (room.file().join("store.db"), "Not a directory"),
        (PathBuf::new(), "empty"),
        (room.0.join(long), "too long"),
        (PathBuf::from("/dev/null"), "no regular file"),
    ];
    for (path, why) in paths {
        let error = SqliteStorage::open(&path).err().unwrap();
        let text = error.to_string();
        assert_eq!((error.status(), error.code()), (Status::Storage, Some("SQLITE_CANTOPEN")), "{text}");
        assert!(text.contains("unable to open database file") && text.contains(why), "{text}");
        assert!(!text.contains("store.db"), "a path may hold a JID: {text}");
    }
    // A name that SQLite knows by itself, and an address, are names of files here.
    for name in [":memory:", "file:store?mode=memory"] {
        let path = room.0.join(name);
        drop(SqliteStorage::open(&path).unwrap());
        assert!(path.exists());
    }
}

#[test]
fn a_path_that_only_sqlite_refuses_is_not_named_and_leaves_no_file() {
    let room = Room::new();
    let directory = room.0.join("romeo@montague.example-".repeat(10)).join("x".repeat(250));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("romeo.db");
    let error = SqliteStorage::open(&path).err().unwrap();
    let text = error.to_string();
    assert_eq!(error.status(), Status::Storage, "{text}");
    assert!(text.contains("unable to open database file") && !text.contains("romeo"), "{text}");
    assert!(error.code().unwrap().starts_with("SQLITE_CANTOPEN"));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_taken_away_takes_nothing_more() {
    let room = Room::new();
    let store = room.open();
    put(&store, "v1/a", b"kept");
    fs::rename(room.file(), room.0.join("away")).unwrap();
    let mut batch = Batch::default();
    batch.put("v1/a", b"lost".to_vec());
    let error = store.commit(batch).unwrap_err();
    assert!(error.status() == Status::Storage && error.to_string().contains("moved"), "{error}");
    // To put it back does not help: nobody knows what was done to it in between.
    fs::rename(room.0.join("away"), room.file()).unwrap();
    is_lost(&store);
    drop(store);
    assert_eq!(value(&room.open(), "v1/a"), b"kept");
}

/// How many locks of SQLite's kind this process has on a file.
fn locks_on(path: &Path) -> usize {
    let (process, inode) = (std::process::id().to_string(), fs::metadata(path).unwrap().ino());
    let is_there = |line: &&str| {
        line.contains(" POSIX ")
            && line.split_whitespace().any(|word| word == process)
            && line.contains(&format!(":{inode} "))
    };
    fs::read_to_string("/proc/locks").unwrap().lines().filter(is_there).count()
}

#[test]
#[cfg(target_os = "linux")]
fn a_second_copy_of_the_library_leaves_the_first_its_locks() {
    let room = closed();
    // What another copy in this process has: a lock of its own, and those of its SQLite.
    let other = fs::File::open(room.file()).unwrap();
    other.try_lock().unwrap();
    let connection = rusqlite::Connection::open(room.file()).unwrap();
    connection.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE").unwrap();
    let before = locks_on(&room.file());
    assert!(before > 0);
    for _ in 0..3 {
        assert_eq!(refusal(&room.file()).0, Status::StorageLocked);
        assert_eq!(locks_on(&room.file()), before);
    }
    drop(connection);
    other.unlock().unwrap();
    assert_eq!(value(&room.open(), "v1/a"), b"kept");
}

#[test]
#[cfg(target_os = "linux")]
fn who_closes_a_file_takes_no_locks_from_who_opens_it_next() {
    let room = closed();
    let turns = || {
        for _ in 0..60 {
            let store = loop {
                match SqliteStorage::open(&room.file()) {
                    Ok(store) => break store,
                    Err(error) => assert_eq!(error.status(), Status::StorageLocked),
                }
            };
            // Long enough for a descriptor that the last one has not closed yet.
            std::thread::yield_now();
            assert!(locks_on(&room.file()) > 0);
            drop(store);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(turns);
        scope.spawn(turns);
    });
}

/// Neither commits nor loads succeed any more.
fn is_lost(store: &SqliteStorage) {
    let mut batch = Batch::default();
    batch.put("v1/b", b"lost".to_vec());
    for error in
        [store.commit(batch).unwrap_err(), store.load("v1/a").unwrap_err(), store.keys().unwrap_err()]
    {
        assert!(
            error.status() == Status::Storage && error.to_string().contains("its log, was moved"),
            "{error}"
        );
    }
}

#[test]
fn a_log_that_is_taken_away_takes_nothing_more() {
    type Take = fn(&Room);
    let ways: [(&str, Take); 3] = [
        ("removed", |room| fs::remove_file(room.beside("-wal")).unwrap()),
        ("moved", |room| fs::rename(room.beside("-wal"), room.0.join("away")).unwrap()),
        ("replaced", |room| {
            fs::write(room.0.join("other"), "another one").unwrap();
            fs::rename(room.0.join("other"), room.beside("-wal")).unwrap();
        }),
    ];
    for (what, take) in ways {
        let room = Room::new();
        let store = room.open();
        put(&store, "v1/a", b"kept");
        take(&room);
        is_lost(&store);
        drop(store);
        if what == "replaced" {
            assert_eq!(fs::read(room.beside("-wal")).unwrap(), b"another one", "not ours to remove");
        } else {
            // What was reported as committed before is saved when the store is closed.
            assert_eq!(value(&room.open(), "v1/a"), b"kept", "{what}");
        }
    }
}

#[test]
fn a_log_that_is_put_back_does_not_heal_the_store() {
    let room = Room::new();
    let store = room.open();
    fs::rename(room.beside("-wal"), room.0.join("away")).unwrap();
    is_lost(&store);
    fs::rename(room.0.join("away"), room.beside("-wal")).unwrap();
    is_lost(&store);
}

#[test]
fn the_log_does_not_grow_without_end() {
    let room = Room::new();
    let store = room.open();
    for i in 0..600_u32 {
        put(&store, &format!("v1/{}", i % 10), &vec![1; 8_000]);
    }
    let log = fs::metadata(room.beside("-wal")).unwrap().size();
    assert!(log < 2 * 1024 * 1024, "{log} bytes");
}

#[test]
fn a_store_that_was_not_closed_is_read_from_its_log() {
    let room = Room::new();
    let crashed = Room::new();
    let store = room.open();
    put(&store, "v1/a", b"kept");
    for suffix in ["", "-wal"] {
        fs::copy(room.beside(suffix), crashed.beside(suffix)).unwrap();
    }
    assert_eq!(value(&crashed.open(), "v1/a"), b"kept");
}
