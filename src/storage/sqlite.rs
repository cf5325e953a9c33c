//! A store in an SQLite file: one commit is one transaction, durable when it returns, and nobody else has the file open.
//!
//! Owns the connection and its settings. `sqlite_file` owns path, lock and mode of the file, `sqlite_schema` what is in
//! it. Knows nothing of what a record means.

use super::sqlite_error::{failure, opening_failure, refused};
use super::sqlite_file::StoreFile;
use super::{Batch, Storage, sqlite_schema};
use crate::error::{Error, Result, Status};
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

const LOAD: &str = "SELECT value FROM record WHERE key = ?1";
const PUT: &str = "INSERT OR REPLACE INTO record (key, value) VALUES (?1, ?2)";
const KEYS: &str = "SELECT key FROM record ORDER BY key";
const DELETE: &str = "DELETE FROM record WHERE key = ?1";

/// Settings that must hold before the file is looked at. An exclusive lock is what lets the write-ahead log do without
/// shared memory, and what tells a second opener at once.
const FIRST: &[(&str, &str)] = &[
    ("locking_mode", "exclusive"),
    // Temporary tables would lie in files of their own.
    ("temp_store", "2"),
    ("mmap_size", "0"),
    ("trusted_schema", "0"),
    ("cell_size_check", "1"),
    ("secure_delete", "1"),
    // What macOS calls durable; nothing elsewhere.
    ("fullfsync", "1"),
    ("checkpoint_fullfsync", "1"),
    // As long as there may be a rollback journal, its removal must be durable, too: a journal that came back with the
    // power would undo the switch to the write-ahead log.
    ("synchronous", "3"),
];

/// Settings that hold from then on.
const THEN: &[(&str, &str)] = &[
    ("journal_mode", "wal"),
    ("synchronous", "2"),
    // In pages of 4 KiB. The log keeps copies of keys that were used up: not more than 1 MiB of what was written.
    ("wal_autocheckpoint", "256"),
    // When the log starts again from its beginning, what stood behind is cut off.
    ("journal_size_limit", "0"),
];

/// Keeps everything in one file.
pub struct SqliteStorage {
    /// Nothing once it is closed. Dropped before `file`, whose lock must outlive it.
    connection: Mutex<Option<Connection>>,
    file: StoreFile,
}

impl SqliteStorage {
    /// Opens the store in the file `path`, which is made if there is none. Errors name SQLite's own words.
    pub fn open(path: &Path) -> Result<SqliteStorage> {
        #[cfg(feature = "bundled-sqlite")]
        super::sqlite_memory::wipe_what_is_freed();
        let file = StoreFile::open(path)?;
        let connection = connect(&file).inspect_err(|_| file.discard())?;
        Ok(SqliteStorage { connection: Mutex::new(Some(connection)), file })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.file.check_process()?;
        self.file.check_lost()?;
        let mut connection = self.connection.lock();
        let connection = connection.as_mut().ok_or(Error::from(Status::Internal))?;
        // After a failure whose own rollback has failed as well: what was begun must neither be read nor be gone on with.
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK").map_err(failure)?;
        }
        work(connection)
    }

    /// Takes a failed commit out of the log, where it would be found after a crash if only its `fsync` has failed: the log is
    /// written back up to the commit before, and cut off. Where that fails, too, the next commit takes its place.
    fn undo(&self, connection: &Connection) {
        if connection.is_autocommit() && self.file.check_place().is_ok() {
            write_back(connection);
        }
    }
}

/// Writes the log into the file, and cuts it off.
fn write_back(connection: &Connection) {
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
}

fn connect(file: &StoreFile) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let mut connection = Connection::open_with_flags(file.path(), flags).map_err(opening_failure)?;
    // A file that is refused below is left as it is, its log included.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failure)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failure)?;
    connection.busy_timeout(Duration::ZERO).map_err(failure)?;
    set(&connection, FIRST)?;
    let version = sqlite_schema::version(&connection)?;
    file.restrict()?;
    sqlite_schema::migrate(&mut connection, version)?;
    set(&connection, THEN)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failure)?;
    // Only now SQLite makes its log.
    sqlite_schema::version(&connection)?;
    file.keep_log()?;
    file.sync_directory()?;
    Ok(connection)
}

/// Makes settings, and sees that they were taken: SQLite ignores what it does not know.
fn set(connection: &Connection, settings: &[(&str, &str)]) -> Result<()> {
    for (name, wanted) in settings {
        let mut value = String::new();
        let mut read = |row: &rusqlite::Row<'_>| {
            value = match row.get_ref(0)? {
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                _ => String::new(),
            };
            Ok(())
        };
        connection.pragma(None, name, wanted, &mut read).map_err(failure)?;
        connection.pragma_query(None, name, &mut read).map_err(failure)?;
        // A build without memory mapping answers nothing; 0 is what it has.
        let is_absent = value.is_empty() && *wanted == "0";
        if !is_absent && !value.eq_ignore_ascii_case(wanted) {
            return Err(refused(format!(
                "SQLite does not take the setting {name} = {wanted}, it stays {value}."
            )));
        }
    }
    Ok(())
}

impl Storage for SqliteStorage {
    fn load(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(LOAD).map_err(failure)?;
            let value = statement.query_row([key], |row| {
                Ok(match row.get_ref(0)? {
                    ValueRef::Blob(bytes) => Some(Zeroizing::new(bytes.to_vec())),
                    _ => None,
                })
            });
            match value.optional().map_err(failure)? {
                Some(None) => Err(Error::new(Status::StorageCorrupt, "A record in the file is no blob.")),
                found => Ok(found.flatten()),
            }
        })
    }

    fn commit(&self, batch: Batch) -> Result<()> {
        self.with(|connection| {
            self.file.check_place()?;
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
            for (key, value) in batch.changes() {
                match value {
                    Some(value) => transaction
                        .prepare_cached(PUT)
                        .and_then(|mut statement| statement.execute((key, value))),
                    None => {
                        transaction.prepare_cached(DELETE).and_then(|mut statement| statement.execute([key]))
                    }
                }
                .map_err(failure)?;
            }
            // Dropped without it, the transaction is rolled back.
            if let Err(error) = transaction.commit() {
                self.undo(connection);
                return Err(failure(error));
            }
            // What was written to a log that nobody will find is not committed.
            self.file.check_place()
        })
    }

    fn keys(&self) -> Result<Option<Vec<String>>> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(KEYS).map_err(failure)?;
            let keys = statement.query_map((), |row| row.get(0)).map_err(failure)?;
            keys.collect::<rusqlite::Result<_>>().map(Some).map_err(failure)
        })
    }
}

impl Drop for SqliteStorage {
    fn drop(&mut self) {
        let Some(connection) = self.connection.get_mut().take() else { return };
        if self.file.check_process().is_err() {
            // A copy of the process that opened it: to close the file is not for this one, which has no lock on it.
            std::mem::forget(connection);
            return;
        }
        if self.file.check_place().is_err() {
            // What lies under the name of the log is not ours to remove.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        if self.file.has_foreign_log() {
            // Somebody else works on the file: ours would be written over it.
            return;
        }
        // Leaves a file without a log, and no key that was used up. Where it fails, the log stays and is read the next
        // time: nothing is lost. A log without a name is saved so, too.
        write_back(&connection);
        drop(connection);
    }
}
